# SPDX-License-Identifier: Apache-2.0
"""What UEFI firmware measures besides variables: loaded images, partition tables, pieces of itself, tables of others.

Every structure here decodes to a value and encodes back to the same bytes. Numbers are little-endian. Lengths of
native width (UINTN) are 64 bits wide, as the PC Client profile has had them since TPM 2.0.

Sources: TCG PC Client Platform Firmware Profile 1.06, section 10.2 (and 10.4.1 for who uses what); UEFI Specification
2.10, sections 5.3.2 and 5.3.3 (GUID partition table).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from prestocloud_sec.tpm.eventlog._layout import (
    Count,
    Counted,
    Field,
    FirmwareStructure,
    Items,
    Mark,
    Nested,
    Octets,
    Uint,
)
from prestocloud_sec.tpm.eventlog.device_path import DevicePath
from prestocloud_sec.tpm.eventlog.guid import Guid

if TYPE_CHECKING:
    pass

__all__ = [
    "FirmwareBlob",
    "FirmwareBlob2",
    "GptEvent",
    "GptHeader",
    "GptPartition",
    "HandoffTable",
    "HandoffTables",
    "HandoffTables2",
    "ImageLoad",
]


@dataclass(frozen=True, slots=True)
class ImageLoad(FirmwareStructure):
    """An image that was loaded (UEFI_IMAGE_LOAD_EVENT); the digest beside it is the image's Authenticode digest.

    Attributes
    ----------
    address, length, link_time_address : int
        Where the image lay in memory, its bytes, and the address it was linked for.
    device_path : DevicePath
        Where it came from.
    """

    LAYOUT: ClassVar[tuple[Field, ...]] = (
        Uint("address", 8),
        Uint("length", 8),
        Uint("link_time_address", 8),
        Count("device_path", 8),
        Counted("device_path", DevicePath),
    )

    address: int
    length: int
    link_time_address: int
    device_path: DevicePath


@dataclass(frozen=True, slots=True)
class GptHeader(FirmwareStructure):
    """The header of a GUID partition table, 92 bytes (EFI_PARTITION_TABLE_HEADER)."""

    LAYOUT: ClassVar[tuple[Field, ...]] = (
        Mark("signature", b"EFI PART"),
        Uint("revision", 4),
        Uint("header_size", 4),
        Uint("header_crc32", 4),
        Uint("reserved", 4),
        Uint("my_lba", 8),
        Uint("alternate_lba", 8),
        Uint("first_usable_lba", 8),
        Uint("last_usable_lba", 8),
        Octets("disk_guid", 16, Guid),
        Uint("partition_entry_lba", 8),
        Uint("partition_entries", 4),
        Uint("partition_entry_size", 4),
        Uint("partition_entries_crc32", 4),
    )

    revision: int
    header_size: int
    header_crc32: int
    reserved: int
    my_lba: int
    alternate_lba: int
    first_usable_lba: int
    last_usable_lba: int
    disk_guid: Guid
    partition_entry_lba: int
    partition_entries: int
    partition_entry_size: int
    partition_entries_crc32: int


@dataclass(frozen=True, slots=True)
class GptPartition(FirmwareStructure):
    """One partition, 128 bytes (EFI_PARTITION_ENTRY)."""

    LAYOUT: ClassVar[tuple[Field, ...]] = (
        Octets("type", 16, Guid),
        Octets("guid", 16, Guid),
        Uint("first_lba", 8),
        Uint("last_lba", 8),
        Uint("attributes", 8),
        Octets("raw_name", 72),
    )

    type: Guid
    guid: Guid
    first_lba: int
    last_lba: int
    attributes: int
    raw_name: bytes

    @property
    def name(self) -> str:
        """What the partition is called."""
        return self.raw_name.decode("utf-16-le", "replace").partition("\0")[0]


@dataclass(frozen=True, slots=True)
class GptEvent(FirmwareStructure):
    """The partition table of the disk that is booted from (UEFI_GPT_DATA): its header, and the partitions in use."""

    LAYOUT: ClassVar[tuple[Field, ...]] = (
        Nested("header", GptHeader),
        Count("partitions", 8),
        Items("partitions", GptPartition),
    )

    header: GptHeader
    partitions: tuple[GptPartition, ...]


@dataclass(frozen=True, slots=True)
class FirmwareBlob(FirmwareStructure):
    """A piece of firmware that was measured where it lay (UEFI_PLATFORM_FIRMWARE_BLOB)."""

    LAYOUT: ClassVar[tuple[Field, ...]] = (Uint("base", 8), Uint("length", 8))

    base: int
    length: int


@dataclass(frozen=True, slots=True)
class FirmwareBlob2(FirmwareStructure):
    """A piece of firmware with words about it (UEFI_PLATFORM_FIRMWARE_BLOB2)."""

    LAYOUT: ClassVar[tuple[Field, ...]] = (
        Count("description", 1),
        Counted("description"),
        Uint("base", 8),
        Uint("length", 8),
    )

    description: bytes
    base: int
    length: int


@dataclass(frozen=True, slots=True)
class HandoffTable(FirmwareStructure):
    """A configuration table: what it is, and where it lay (EFI_CONFIGURATION_TABLE)."""

    LAYOUT: ClassVar[tuple[Field, ...]] = (Octets("guid", 16, Guid), Uint("address", 8))

    guid: Guid
    address: int


@dataclass(frozen=True, slots=True)
class HandoffTables(FirmwareStructure):
    """The configuration tables that were measured (UEFI_HANDOFF_TABLE_POINTERS)."""

    LAYOUT: ClassVar[tuple[Field, ...]] = (Count("tables", 8), Items("tables", HandoffTable))

    tables: tuple[HandoffTable, ...]


@dataclass(frozen=True, slots=True)
class HandoffTables2(FirmwareStructure):
    """Configuration tables with words about them (UEFI_HANDOFF_TABLE_POINTERS2)."""

    LAYOUT: ClassVar[tuple[Field, ...]] = (
        Count("description", 1),
        Counted("description"),
        Count("tables", 8),
        Items("tables", HandoffTable),
    )

    description: bytes
    tables: tuple[HandoffTable, ...]
