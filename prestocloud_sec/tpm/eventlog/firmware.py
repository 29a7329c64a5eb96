# SPDX-License-Identifier: Apache-2.0
"""What firmware says about itself and its log in events that are not extended, and the other small structures.

The first 16 bytes of an EV_NO_ACTION event are a signature that tells which structure it is. Each decodes to a value
and encodes back to the same bytes; numbers are little-endian.

Sources: TCG PC Client Platform Firmware Profile 1.06, section 10.4.5 (EV_NO_ACTION), 10.2.7 (device security events),
10.4.2.1 (tagged events); TCG EFI Platform Specification for TPM 1.2 1.22, section 7.4 ("Spec ID Event02").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from prestocloud_sec.tpm._banks import bank_name, known_bank
from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.tpm.eventlog._layout import (
    Count,
    Counted,
    Field,
    FirmwareStructure,
    Items,
    Mark,
    Octets,
    Rest,
    Source,
    Uint,
)
from prestocloud_sec.tpm.eventlog.device_path import DevicePath
from prestocloud_sec.tpm.eventlog.guid import Guid
from prestocloud_sec.wire import shown

if TYPE_CHECKING:
    from typing import Self

__all__ = [
    "AlgorithmSize",
    "DeviceSecurity",
    "DeviceSecurity2",
    "NvIndexDynamic",
    "NvIndexInstance",
    "PlatformId",
    "PlatformId2",
    "PlatformId3",
    "SpecIdEvent",
    "SpecIdEventLegacy",
    "StartupLocality",
    "TaggedEvent",
]

SPEC_ID_03 = b"Spec ID Event03\0"
"""The signature that makes a log a crypto-agile one."""

_LEGACY_SPEC_IDS = (b"Spec ID Event00\0", b"Spec ID Event02\0")


@dataclass(frozen=True, slots=True)
class AlgorithmSize(FirmwareStructure):
    """A bank of the log: its TCG algorithm number, and the bytes of its digests."""

    LAYOUT: ClassVar[tuple[Field, ...]] = (Uint("algorithm", 2), Uint("size", 2))

    algorithm: int
    size: int

    def check(self) -> None:
        """Refuse a size that contradicts a known algorithm."""
        known = known_bank(self.algorithm)
        if self.size == 0 or (known is not None and known.size != self.size):
            raise TpmMisuseError(
                f"digests of {self.size} bytes for {bank_name(self.algorithm)}",
                where="AlgorithmSize.size",
                expected=str(known.size) if known is not None else "1 or more",
            )

    @classmethod
    def take_from(cls, source: Source) -> Self:
        """Take the structure from a cursor, and leave what comes after it."""
        start = source.offset
        algorithm, size = source.uint(2, "algorithm"), source.uint(2, "size")
        try:
            return cls(algorithm, size)
        except TpmMisuseError as error:
            raise source.refuse(error.what, "size", error.expected or "another", offset=start) from error


@dataclass(frozen=True, slots=True)
class SpecIdEvent(FirmwareStructure):
    """The first event of a crypto-agile log (TCG_EfiSpecIDEvent, "Spec ID Event03").

    Attributes
    ----------
    platform_class : int
        0 for a client, 1 for a server.
    version_minor, version_major, errata : int
        Of the profile that the firmware follows.
    uintn_size : int
        1 where lengths of native width have 32 bits, 2 where they have 64.
    algorithms : tuple of AlgorithmSize
        The banks: every digest of the log belongs to one of them. At least one, each once.
    vendor_info : bytes
        Up to 255 bytes without a meaning of their own.
    """

    LAYOUT: ClassVar[tuple[Field, ...]] = (
        Mark("signature", SPEC_ID_03),
        Uint("platform_class", 4),
        Uint("version_minor", 1),
        Uint("version_major", 1),
        Uint("errata", 1),
        Uint("uintn_size", 1),
        Count("algorithms", 4),
        Items("algorithms", AlgorithmSize),
        Count("vendor_info", 1),
        Counted("vendor_info"),
    )

    algorithms: tuple[AlgorithmSize, ...]
    platform_class: int = 0
    version_minor: int = 0
    version_major: int = 2
    errata: int = 0
    uintn_size: int = 2
    vendor_info: bytes = b""

    def check(self) -> None:
        """Refuse a log without banks, or with one bank twice."""
        numbers = [bank.algorithm for bank in self.algorithms]
        if not numbers or len(set(numbers)) != len(numbers):
            raise TpmMisuseError(
                f"{len(numbers)} algorithms, {len(set(numbers))} of them different",
                where="SpecIdEvent.algorithms",
                expected="at least one, each once",
            )


@dataclass(frozen=True, slots=True)
class SpecIdEventLegacy(FirmwareStructure):
    """The same for logs of TPM 1.2: "Spec ID Event02" of UEFI and "Spec ID Event00" of conventional BIOS.

    Attributes
    ----------
    signature : bytes
        Which of the two, with its terminator.
    uintn_size : int
        As in `SpecIdEvent`; reserved in "Spec ID Event00".
    """

    LAYOUT: ClassVar[tuple[Field, ...]] = (
        Octets("signature", 16),
        Uint("platform_class", 4),
        Uint("version_minor", 1),
        Uint("version_major", 1),
        Uint("errata", 1),
        Uint("uintn_size", 1),
        Count("vendor_info", 1),
        Counted("vendor_info"),
    )

    signature: bytes
    platform_class: int
    version_minor: int
    version_major: int
    errata: int
    uintn_size: int
    vendor_info: bytes

    def check(self) -> None:
        """Refuse a signature that is neither."""
        if self.signature not in _LEGACY_SPEC_IDS:
            raise TpmMisuseError(shown(self.signature), where="SpecIdEventLegacy.signature", expected="one of the two")


@dataclass(frozen=True, slots=True)
class StartupLocality(FirmwareStructure):
    """From which locality the TPM was started; PCR 0 then started with that number in its last byte.

    3 is a start by the CRTM from locality 3, 4 one by a hardware CRTM (H-CRTM) before TPM2_Startup.
    """

    LAYOUT: ClassVar[tuple[Field, ...]] = (Mark("signature", b"StartupLocality\0"), Uint("locality", 1))

    locality: int


@dataclass(frozen=True, slots=True)
class PlatformId(FirmwareStructure):
    """Which reference manifest describes the platform ("SP800-155 Event").

    Attributes
    ----------
    vendor_id : int
        IANA enterprise number of the platform's manufacturer.
    manifest : Guid
        Identifies the manifest.
    """

    LAYOUT: ClassVar[tuple[Field, ...]] = (
        Mark("signature", b"SP800-155 Event\0"),
        Uint("vendor_id", 4),
        Octets("manifest", 16, Guid),
    )

    vendor_id: int
    manifest: Guid


_NAMES = ("platform_manufacturer", "platform_model", "platform_version", "firmware_manufacturer")


@dataclass(frozen=True, slots=True)
class PlatformId2(FirmwareStructure):
    """The same with names of platform and firmware ("SP800-155 Event2"); each is text with a terminator."""

    LAYOUT: ClassVar[tuple[Field, ...]] = (
        Mark("signature", b"SP800-155 Event2"),
        Uint("vendor_id", 4),
        Octets("manifest", 16, Guid),
        *(field for name in _NAMES for field in (Count(name, 1), Counted(name))),
        Uint("firmware_manufacturer_id", 4),
        Count("firmware_version", 1),
        Counted("firmware_version"),
    )

    vendor_id: int
    manifest: Guid
    platform_manufacturer: bytes
    platform_model: bytes
    platform_version: bytes
    firmware_manufacturer: bytes
    firmware_manufacturer_id: int
    firmware_version: bytes


@dataclass(frozen=True, slots=True)
class PlatformId3(FirmwareStructure):
    """The same with where to find manifest and platform certificate ("SP800-155 Event3").

    Attributes
    ----------
    rim_locator_type, certificate_locator_type : int
        What the locator is: 0 the thing itself, 1 a URI, 2 a device path, 3 a UEFI variable.
    """

    LAYOUT: ClassVar[tuple[Field, ...]] = (
        Mark("signature", b"SP800-155 Event3"),
        *PlatformId2.LAYOUT[1:],
        Uint("rim_locator_type", 4),
        Count("rim_locator", 4),
        Counted("rim_locator"),
        Uint("certificate_locator_type", 4),
        Count("certificate_locator", 4),
        Counted("certificate_locator"),
    )

    vendor_id: int
    manifest: Guid
    platform_manufacturer: bytes
    platform_model: bytes
    platform_version: bytes
    firmware_manufacturer: bytes
    firmware_manufacturer_id: int
    firmware_version: bytes
    rim_locator_type: int
    rim_locator: bytes
    certificate_locator_type: int
    certificate_locator: bytes


@dataclass(frozen=True, slots=True)
class NvIndexInstance(FirmwareStructure):
    """What was extended into the NV index of device instances ("NvIndexInstance"): mostly a certificate chain."""

    LAYOUT: ClassVar[tuple[Field, ...]] = (
        Mark("signature", b"NvIndexInstance\0"),
        Uint("version", 2),
        Octets("reserved", 6),
        Rest("data"),
    )

    version: int
    reserved: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class NvIndexDynamic(FirmwareStructure):
    """What was extended into the NV index of things that change with every boot ("NvIndexDynamic "): mostly nonces."""

    LAYOUT: ClassVar[tuple[Field, ...]] = (
        Mark("signature", b"NvIndexDynamic \0"),
        Uint("version", 2),
        Octets("reserved", 6),
        Uint("uid", 8),
        Count("description", 2),
        Counted("description"),
        Count("data", 2),
        Counted("data"),
    )

    version: int
    reserved: bytes
    uid: int
    description: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class DeviceSecurity(FirmwareStructure):
    """A measurement that a device gave of itself over SPDM, version 1 (DEVICE_SECURITY_EVENT_DATA).

    Attributes
    ----------
    version, length : int
        Of the structure; `length` counts all of it.
    spdm_hash : int
        The device's hash algorithm, as SPDM numbers them.
    device_type : int
        0 none, 1 PCI, 2 USB.
    rest : bytes
        The SPDM measurement block, the device path and what the type of device adds.
    """

    LAYOUT: ClassVar[tuple[Field, ...]] = (
        Mark("signature", b"SPDM Device Sec\0"),
        Uint("version", 2),
        Uint("length", 2),
        Uint("spdm_hash", 4),
        Uint("device_type", 4),
        Rest("rest"),
    )

    version: int
    length: int
    spdm_hash: int
    device_type: int
    rest: bytes


@dataclass(frozen=True, slots=True)
class DeviceSecurity2(FirmwareStructure):
    """The same, version 2 (DEVICE_SECURITY_EVENT_DATA2).

    Attributes
    ----------
    auth_state : int
        How the device was authenticated: 0 with success, 1 not, 2 without binding, 3 without a signature, 4 wrongly,
        255 the device speaks no SPDM.
    length : int
        Bytes of all that follows the field.
    sub_header_type : int
        0 a measurement block, 1 a certificate chain.
    sub_header_uid : int
        Ties together sub-headers that belong together.
    device_path : DevicePath
        Which device.
    sub_header : bytes
        What `sub_header_type` says.
    device_context : bytes
        What `device_type` says: for PCI and USB, the identity of the device.
    """

    LAYOUT: ClassVar[tuple[Field, ...]] = (
        Mark("signature", b"SPDM Device Sec2"),
        Uint("version", 2),
        Uint("auth_state", 1),
        Uint("reserved", 1),
        Uint("length", 4),
        Uint("device_type", 4),
        Uint("sub_header_type", 4),
        Count("sub_header", 4),
        Uint("sub_header_uid", 8),
        Count("device_path", 8),
        Counted("device_path", DevicePath),
        Counted("sub_header"),
        Rest("device_context"),
    )

    version: int
    auth_state: int
    reserved: int
    length: int
    device_type: int
    sub_header_type: int
    sub_header_uid: int
    device_path: DevicePath
    sub_header: bytes
    device_context: bytes


@dataclass(frozen=True, slots=True)
class TaggedEvent(FirmwareStructure):
    """A number that says what the data is (TCG_PCClientTaggedEvent)."""

    LAYOUT: ClassVar[tuple[Field, ...]] = (Uint("tag", 4), Count("data", 4), Counted("data"))

    tag: int
    data: bytes


NO_ACTION: dict[bytes, type[FirmwareStructure]] = {
    SPEC_ID_03: SpecIdEvent,
    **dict.fromkeys(_LEGACY_SPEC_IDS, SpecIdEventLegacy),
    b"StartupLocality\0": StartupLocality,
    b"SP800-155 Event\0": PlatformId,
    b"SP800-155 Event2": PlatformId2,
    b"SP800-155 Event3": PlatformId3,
    b"NvIndexInstance\0": NvIndexInstance,
    b"NvIndexDynamic \0": NvIndexDynamic,
}
"""The structure of an EV_NO_ACTION event, by its first 16 bytes."""

DEVICE_SECURITY: dict[bytes, type[FirmwareStructure]] = {
    b"SPDM Device Sec\0": DeviceSecurity,
    b"SPDM Device Sec2": DeviceSecurity2,
}
"""The structure of a device security event, by its first 16 bytes."""
