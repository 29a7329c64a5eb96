# SPDX-License-Identifier: Apache-2.0
"""The data of an event, read as what its type says it is.

`decode_payload` never fails: data that a profile leaves to the firmware comes back as `Opaque`, data that is not of the
form its type asks for as `Unreadable`, which says why. Whether the digest beside it is the digest of that data is
another question (`prestocloud_sec.tpm.eventlog.origins`).

Source: TCG PC Client Platform Firmware Profile 1.06, section 10.4.1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from prestocloud_sec.tpm._banks import bank_name
from prestocloud_sec.tpm._given import octets
from prestocloud_sec.tpm.errors import TpmFormatError, TpmMisuseError
from prestocloud_sec.tpm.eventlog import firmware, uefi, variables
from prestocloud_sec.tpm.eventlog._layout import FirmwareStructure
from prestocloud_sec.tpm.eventlog.constants import EventType
from prestocloud_sec.tpm.eventlog.guid import Guid
from prestocloud_sec.wire import whole

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["Opaque", "Payload", "Separator", "Text", "Unreadable", "decode_payload", "summary"]

_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Text:
    """Text in ASCII or UTF-8, or in UTF-16, with or without a terminator.

    Attributes
    ----------
    data : bytes
        As it stands in the log.
    """

    data: bytes

    def encode(self) -> bytes:
        """Return the bytes."""
        return self.data

    @property
    def text(self) -> str:
        """The text; bytes that are none are escaped."""
        found = _decoded(self.data)
        return self.data.rstrip(b"\0").decode("utf-8", "backslashreplace") if found is None else found


def _decoded(data: bytes) -> str | None:
    """Return what `data` reads as in UTF-8, else in UTF-16; None if it is printable in neither."""
    for raw, encoding in ((data.rstrip(b"\0"), "utf-8"), (data, "utf-16-le")):
        try:
            found = raw.decode(encoding).rstrip("\0")
        except UnicodeDecodeError:
            continue
        if all(character.isprintable() or character in "\t\n\r" for character in found):
            return found
    return None


@dataclass(frozen=True, slots=True)
class Separator:
    """The end of what firmware measures into a PCR before it hands over.

    Attributes
    ----------
    data : bytes
        All zero or all ones where all went well; else what failed.
    """

    data: bytes

    def encode(self) -> bytes:
        """Return the bytes."""
        return self.data

    @property
    def is_error(self) -> bool:
        """Whether the firmware says that something went wrong."""
        return self.data not in (bytes(4), b"\xff" * 4)


@dataclass(frozen=True, slots=True)
class Opaque:
    """Data that has no form of its own, or one that its maker alone knows."""

    data: bytes

    def encode(self) -> bytes:
        """Return the bytes."""
        return self.data


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Data that is not of the form its type asks for.

    Attributes
    ----------
    data : bytes
        As it stands in the log.
    problem : str
        What is wrong with it, and where.
    """

    data: bytes
    problem: str

    def encode(self) -> bytes:
        """Return the bytes."""
        return self.data


Payload: TypeAlias = FirmwareStructure | Guid | Opaque | Separator | Text | Unreadable
"""Whatever `decode_payload` returns; each has ``encode``."""

_Decoder = Callable[[bytes], Payload]


def _text(data: bytes) -> Text:
    if _decoded(data) is None:
        raise TpmFormatError("no text", where="event data", expected="printable characters")
    return Text(data)


def _version(data: bytes) -> Guid | Text:
    return Guid.decode(data) if len(data) == 16 and _decoded(data) is None else _text(data)


def _separator(data: bytes) -> Separator:
    if len(data) < 4:
        raise TpmFormatError(f"{len(data)} bytes", where="separator", expected="at least 4")
    return Separator(data)


def _by_signature(structures: dict[bytes, type[FirmwareStructure]]) -> _Decoder:
    def decode(data: bytes) -> Payload:
        structure = structures.get(data[:16])
        return Opaque(data) if structure is None else structure.decode(data)

    return decode


_PAYLOADS: dict[int, tuple[_Decoder, ...]] = {
    EventType.NO_ACTION: (_by_signature(firmware.NO_ACTION),),
    EventType.POST_CODE: (_text, uefi.FirmwareBlob.decode),
    EventType.POST_CODE2: (uefi.FirmwareBlob2.decode, _text),
    EventType.SEPARATOR: (_separator,),
    EventType.ACTION: (_text,),
    EventType.EVENT_TAG: (firmware.TaggedEvent.decode,),
    EventType.S_CRTM_CONTENTS: (uefi.FirmwareBlob.decode, uefi.FirmwareBlob2.decode, _text),
    EventType.S_CRTM_VERSION: (_version,),
    EventType.COMPACT_HASH: (_text, Opaque),
    EventType.IPL: (_text, Opaque),  # boot loaders write what they like
    EventType.IPL_PARTITION_DATA: (_text, Opaque),
    EventType.OMIT_BOOT_DEVICE_EVENTS: (_text,),
    EventType.EFI_VARIABLE_DRIVER_CONFIG: (variables.UefiVariable.decode,),
    EventType.EFI_VARIABLE_BOOT: (variables.UefiVariable.decode,),
    EventType.EFI_VARIABLE_BOOT2: (variables.UefiVariable.decode,),
    EventType.EFI_VARIABLE_AUTHORITY: (variables.UefiAuthority.decode,),
    EventType.EFI_SPDM_DEVICE_POLICY: (variables.UefiVariable.decode,),
    EventType.EFI_SPDM_DEVICE_AUTHORITY: (variables.UefiAuthority.decode,),
    EventType.EFI_BOOT_SERVICES_APPLICATION: (uefi.ImageLoad.decode,),
    EventType.EFI_BOOT_SERVICES_DRIVER: (uefi.ImageLoad.decode,),
    EventType.EFI_RUNTIME_SERVICES_DRIVER: (uefi.ImageLoad.decode,),
    EventType.EFI_GPT_EVENT: (uefi.GptEvent.decode,),
    EventType.EFI_GPT_EVENT2: (uefi.GptEvent.decode,),
    EventType.EFI_ACTION: (_text,),
    EventType.EFI_PLATFORM_FIRMWARE_BLOB: (uefi.FirmwareBlob.decode,),
    EventType.EFI_PLATFORM_FIRMWARE_BLOB2: (uefi.FirmwareBlob2.decode,),
    EventType.EFI_HANDOFF_TABLES: (uefi.HandoffTables.decode,),
    EventType.EFI_HANDOFF_TABLES2: (uefi.HandoffTables2.decode,),
    EventType.EFI_HCRTM_EVENT: (_text,),
    EventType.EFI_SPDM_FIRMWARE_BLOB: (_by_signature(firmware.DEVICE_SECURITY),),
    EventType.EFI_SPDM_FIRMWARE_CONFIG: (_by_signature(firmware.DEVICE_SECURITY),),
}
"""What the data of each type may be, tried in this order; a type without a row is opaque."""


def decode_payload(event_type: int, data: BytesLike) -> Payload:
    """Return the data of an event as what the type says it is.

    Parameters
    ----------
    event_type : int
        One of `EventType`, or any other number of 32 bits.
    data : bytes-like
        The data of the event.

    Raises
    ------
    TpmMisuseError
        If the arguments are of the wrong type; never because of what `data` holds.
    """
    number = whole(event_type, "event_type", 0, 0xFFFFFFFF, error=TpmMisuseError)
    raw = octets(data, "data")
    problem: TpmFormatError | None = None
    for decode in _PAYLOADS.get(number, ()):
        try:
            return decode(raw)
        except TpmFormatError as error:
            problem = problem or error
    return Opaque(raw) if problem is None else Unreadable(raw, str(problem))


def _variable(payload: variables.UefiVariable) -> str:
    contents = payload.contents
    if not payload.data:
        words = " is not set"
    elif isinstance(payload, variables.UefiAuthority):
        entry = payload.entry
        words = "" if entry is None else f" entry of {len(entry.data)} bytes"
    elif isinstance(contents, bool):
        words = " = on" if contents else " = off"
    elif isinstance(contents, variables.SignatureDatabase):
        words = f" = {len(contents.entries)} entries"
    elif isinstance(contents, variables.BootOrder):
        words = f" = {', '.join(f'{number:04X}' for number in contents.options)}"
    elif isinstance(contents, variables.LoadOption):
        words = f" = {contents.description}"
    else:
        words = f" = {len(payload.data)} bytes"
    return f"{payload.name}{words}"


_SUMMARIES: dict[type, Callable[..., str]] = {
    Text: lambda p: p.text,
    Guid: str,
    Separator: lambda p: f"error: {p.data.hex()}" if p.is_error else p.data.hex(),
    Opaque: lambda p: f"{len(p.data)} bytes",
    Unreadable: lambda p: f"{len(p.data)} bytes; {p.problem}",
    variables.UefiVariable: _variable,
    variables.UefiAuthority: _variable,
    uefi.ImageLoad: lambda p: str(p.device_path) or f"{p.length} bytes in memory",
    uefi.GptEvent: lambda p: f"disk {p.header.disk_guid}: {', '.join(part.name for part in p.partitions)}",
    uefi.FirmwareBlob: lambda p: f"{p.length} bytes at {p.base:#x}",
    uefi.FirmwareBlob2: lambda p: f"{Text(p.description).text}: {p.length} bytes at {p.base:#x}",
    uefi.HandoffTables: lambda p: ", ".join(table.guid.name or str(table.guid) for table in p.tables),
    uefi.HandoffTables2: lambda p: Text(p.description).text,
    firmware.SpecIdEvent: lambda p: f"crypto-agile log of {', '.join(bank_name(a.algorithm) for a in p.algorithms)}",
    firmware.SpecIdEventLegacy: lambda p: f"SHA-1 log, specification {p.version_major}.{p.version_minor}",
    firmware.StartupLocality: lambda p: f"started from locality {p.locality}",
    firmware.PlatformId: lambda p: f"reference manifest {p.manifest}",
    firmware.PlatformId2: lambda p: f"reference manifest {p.manifest} of {Text(p.platform_model).text}",
    firmware.PlatformId3: lambda p: f"reference manifest {p.manifest} of {Text(p.platform_model).text}",
    firmware.TaggedEvent: lambda p: f"tag {p.tag:#010x}: {Text(p.data).text}",
    firmware.NvIndexInstance: lambda p: f"{len(p.data)} bytes of a device's identity",
    firmware.NvIndexDynamic: lambda p: Text(p.description).text,
    firmware.DeviceSecurity: lambda p: f"measurement of a device of type {p.device_type}",
    firmware.DeviceSecurity2: lambda p: f"measurement of {p.device_path}",
}


def summary(payload: Payload) -> str:
    """Return one short line about a payload; what it holds beyond that is in its attributes."""
    describe = _SUMMARIES.get(type(payload))
    if describe is None:
        raise TpmMisuseError(f"{type(payload).__name__} is no payload", where="payload")
    line = "".join(c if c.isprintable() else " " for c in describe(payload))
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."
