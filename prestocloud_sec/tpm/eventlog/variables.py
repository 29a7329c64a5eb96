# SPDX-License-Identifier: Apache-2.0
"""UEFI variables as firmware measures them: switches, signature databases, boot options.

Every structure here decodes to a value and encodes back to the same bytes; numbers are little-endian.

Sources: TCG PC Client Platform Firmware Profile 1.06, section 10.2.6 (UEFI_VARIABLE_DATA); UEFI Specification 2.10,
sections 3.1.3 (boot options) and 32.4.1 (signature lists).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from prestocloud_sec.tpm._given import octets
from prestocloud_sec.tpm.errors import TpmFormatError, TpmMisuseError
from prestocloud_sec.tpm.eventlog._layout import (
    Count,
    Counted,
    Field,
    FirmwareStructure,
    Items,
    Octets,
    Rest,
    Source,
    Text16,
    Uint,
)
from prestocloud_sec.tpm.eventlog.device_path import DevicePath
from prestocloud_sec.tpm.eventlog.guid import Guid
from prestocloud_sec.wire import items_of

if TYPE_CHECKING:
    from typing import Self

    from prestocloud_sec.wire import BytesLike

__all__ = [
    "BootOrder",
    "LoadOption",
    "SignatureData",
    "SignatureDatabase",
    "SignatureList",
    "UefiAuthority",
    "UefiVariable",
]

_LIST_HEADER = 28
_DATABASES = {"PK", "KEK", "db", "dbx", "dbt", "dbr", "MokList", "MokListX", "devdb"}
_SWITCHES = {"SecureBoot", "SetupMode", "AuditMode", "DeployedMode"}


@dataclass(frozen=True, slots=True)
class UefiVariable(FirmwareStructure):
    """A UEFI variable as it is measured (UEFI_VARIABLE_DATA).

    Attributes
    ----------
    guid : Guid
        Whose variable it is; with `name` it identifies the variable.
    name : str
        Its name, such as ``SecureBoot``, without a terminator.
    data : bytes
        Its value. `contents` reads those whose form is known.
    """

    LAYOUT: ClassVar[tuple[Field, ...]] = (
        Octets("guid", 16, Guid),
        Count("name", 8),
        Count("data", 8),
        Text16("name"),
        Counted("data"),
    )

    guid: Guid
    name: str
    data: bytes

    @property
    def contents(self) -> bool | SignatureDatabase | BootOrder | LoadOption | None:
        """The value as what its name says it is; None where the name says nothing, or the value is not of that form.

        A switch such as SecureBoot that is not set at all (firmware measures it with no value) has no contents either.
        """
        try:
            return _contents(self)
        except TpmFormatError:
            return None


@dataclass(frozen=True, slots=True)
class UefiAuthority(UefiVariable):
    """The entry of a signature database that let an image run (UEFI_VARIABLE_DATA with one EFI_SIGNATURE_DATA).

    shim also measures values under this type that are no entries, such as ``SbatLevel``; `entry` is None for those.
    """

    @property
    def entry(self) -> SignatureData | None:
        """The entry, where the variable is a signature database."""
        if self.name not in _DATABASES:
            return None
        try:
            return SignatureData.decode(self.data)
        except TpmFormatError:
            return None


@dataclass(frozen=True, slots=True)
class SignatureData(FirmwareStructure):
    """One entry of a signature list, and all there is in the event of an authority (EFI_SIGNATURE_DATA).

    Attributes
    ----------
    owner : Guid
        Who put the entry there.
    data : bytes
        A digest, or a certificate in DER, as the list's type says.
    """

    LAYOUT: ClassVar[tuple[Field, ...]] = (Octets("owner", 16, Guid), Rest("data"))

    owner: Guid
    data: bytes


@dataclass(frozen=True, slots=True)
class SignatureList(FirmwareStructure):
    """Entries of one type and one size (EFI_SIGNATURE_LIST).

    Attributes
    ----------
    type : Guid
        What the entries are (``EFI_CERT_X509``, ``EFI_CERT_SHA256``, ...).
    header : bytes
        Empty for all types in use.
    size : int
        Bytes of each entry, its owner included.
    entries : tuple of SignatureData
        All of that size.
    """

    type: Guid
    header: bytes
    size: int
    entries: tuple[SignatureData, ...]

    def __post_init__(self) -> None:
        where = "SignatureList"
        object.__setattr__(self, "type", Octets("type", 16, Guid).admit(self.type, f"{where}.type"))
        object.__setattr__(self, "header", octets(self.header, f"{where}.header"))
        object.__setattr__(self, "size", Uint("size", 4).admit(self.size, f"{where}.size"))
        object.__setattr__(self, "entries", Items("entries", SignatureData).admit(self.entries, f"{where}.entries"))
        if self.size < 16 or any(16 + len(entry.data) != self.size for entry in self.entries):
            raise TpmMisuseError("not all entries are of that size", where=f"{where}.size", expected="16 + their data")
        if len(self.header) > 0xFFFFFFFF or len(self.encode()) > 0xFFFFFFFF:
            raise TpmMisuseError("too many entries", where=where, expected="a list of 32 bits' size")

    def encode(self) -> bytes:
        """Return the bytes of the list."""
        body = self.header + b"".join(entry.encode() for entry in self.entries)
        sizes = (_LIST_HEADER + len(body), len(self.header), self.size)
        return self.type.encode() + b"".join(size.to_bytes(4, "little") for size in sizes) + body

    @classmethod
    def take_from(cls, source: Source) -> Self:
        """Take the structure from a cursor, and leave what comes after it."""
        start = source.offset
        kind = Guid.decode(source.take(16, "type"))
        total, header_size, size = (source.uint(4, f"{name} size") for name in ("list", "header", "signature"))
        body = total - _LIST_HEADER - header_size
        if body < 0 or size < 16 or body % size:
            raise source.refuse(
                f"a list of {total} bytes with a header of {header_size} and entries of {size}",
                "sizes",
                "a whole number of entries of at least 16 bytes",
                offset=start,
            )
        header = source.take(header_size, "header")
        raw = source.take(body, "entries")
        entries = tuple(SignatureData.decode(raw[at : at + size]) for at in range(0, body, size))
        return cls(kind, header, size, entries)


@dataclass(frozen=True, slots=True)
class SignatureDatabase(FirmwareStructure):
    """The value of PK, KEK, db, dbx and their like: signature lists one after the other."""

    LAYOUT: ClassVar[tuple[Field, ...]] = (Items("lists", SignatureList, counted=False),)

    lists: tuple[SignatureList, ...]

    @property
    def entries(self) -> tuple[tuple[Guid, SignatureData], ...]:
        """Every entry of every list, with the type of its list."""
        return tuple((found.type, entry) for found in self.lists for entry in found.entries)


@dataclass(frozen=True, slots=True)
class BootOrder:
    """The value of BootOrder: numbers of boot options, in the order in which they are tried."""

    options: tuple[int, ...]

    def __post_init__(self) -> None:
        where = "BootOrder.options"
        held = items_of(self.options, where, "an iterable of numbers", error=TpmMisuseError)
        object.__setattr__(self, "options", tuple(Uint("options", 2).admit(number, where) for number in held))

    def encode(self) -> bytes:
        """Return two bytes for each option."""
        return b"".join(number.to_bytes(2, "little") for number in self.options)

    @classmethod
    def decode(cls, data: BytesLike) -> Self:
        """Return the order of `data`; TpmFormatError if that is no whole number of 16-bit numbers."""
        raw = octets(data, "BootOrder")
        if len(raw) % 2:
            raise TpmFormatError(f"{len(raw)} bytes", where="BootOrder", expected="an even number")
        return cls(tuple(int.from_bytes(raw[at : at + 2], "little") for at in range(0, len(raw), 2)))


@dataclass(frozen=True, slots=True)
class LoadOption(FirmwareStructure):
    """The value of Boot0000 and its like (EFI_LOAD_OPTION).

    Attributes
    ----------
    attributes : int
        Bit 0: the option is active (UEFI Specification 2.10, section 3.1.3).
    description : str
        What the boot menu shows.
    path : bytes
        The packed device paths; `device_path` reads the first.
    optional_data : bytes
        What is handed to the image.
    """

    attributes: int
    description: str
    path: bytes
    optional_data: bytes = b""

    def __post_init__(self) -> None:
        where = "LoadOption"
        object.__setattr__(self, "attributes", Uint("attributes", 4).admit(self.attributes, f"{where}.attributes"))
        held = Text16("description").admit(self.description, f"{where}.description")
        if "\0" in held:
            raise TpmMisuseError("text with a terminator inside", where=f"{where}.description")
        object.__setattr__(self, "description", held)
        object.__setattr__(self, "path", octets(self.path, f"{where}.path", most=0xFFFF))
        object.__setattr__(self, "optional_data", octets(self.optional_data, f"{where}.optional_data"))

    def encode(self) -> bytes:
        """Return the bytes of the option."""
        head = self.attributes.to_bytes(4, "little") + len(self.path).to_bytes(2, "little")
        return head + Text16("description").write(self.description) + b"\0\0" + self.path + self.optional_data

    @classmethod
    def take_from(cls, source: Source) -> Self:
        """Take the structure from a cursor, and leave what comes after it."""
        attributes, size = source.uint(4, "attributes"), source.uint(2, "path size")
        units = []
        while (unit := source.take(2, "description")) != b"\0\0":
            units.append(unit)
        description = b"".join(units).decode("utf-16-le", "surrogatepass")
        return cls(attributes, description, source.take(size, "path"), source.rest())

    @property
    def device_path(self) -> DevicePath | None:
        """The first of the device paths; None if it is none."""
        try:
            return DevicePath.decode(self.path)
        except TpmFormatError:
            return None


def _contents(variable: UefiVariable) -> bool | SignatureDatabase | BootOrder | LoadOption | None:
    name, data = variable.name, variable.data
    if name in _DATABASES:
        return SignatureDatabase.decode(data)
    if name in _SWITCHES and len(data) == 1 and data[0] < 2:
        return bool(data[0])
    if name == "BootOrder":
        return BootOrder.decode(data)
    if name.startswith("Boot") and len(name) == 8 and all(digit in "0123456789ABCDEF" for digit in name[4:]):
        return LoadOption.decode(data)
    return None
