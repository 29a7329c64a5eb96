# SPDX-License-Identifier: Apache-2.0
"""UEFI device paths: where an image was loaded from, as bytes and as the text that UEFI shells print.

A path is a row of nodes, each with a type, a subtype, a size of 16 bits that counts its own four bytes, and data; the
last node has type 0x7f. Nodes of a kind that has no row in `_TEXTS` are written ``Path(type,subtype,data)``, as the
specification has it.

Source: UEFI Specification 2.10, chapter 10; section 10.6.1 for the text.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from prestocloud_sec.tpm._given import octets
from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.tpm.eventlog._layout import Source
from prestocloud_sec.tpm.eventlog.guid import Guid
from prestocloud_sec.wire import items_of, shown, whole

if TYPE_CHECKING:
    from typing import Self

    from prestocloud_sec.wire import BytesLike

__all__ = ["DevicePath", "DevicePathNode"]

_HEADER = 4
_END = 0x7F
_END_ENTIRE = 0xFF
_LARGEST = 0xFFFF - _HEADER


def _number(data: bytes, start: int, size: int) -> int:
    return int.from_bytes(data[start : start + size], "little")


def _utf16(data: bytes) -> str:
    return data[: len(data) & ~1].decode("utf-16-le", "replace").partition("\0")[0]


def _eisa(number: int) -> str:
    letters = "".join(chr(0x40 + (number >> shift & 0x1F)) for shift in (10, 5, 0))
    return f"{letters}{number >> 16:04X}"


def _acpi(data: bytes) -> str:
    kind, uid = _eisa(_number(data, 0, 4)), _number(data, 4, 4)
    roots = {"PNP0A03": "PciRoot", "PNP0A08": "PcieRoot", "PNP0604": "Floppy"}
    return f"{roots[kind]}(0x{uid:x})" if kind in roots else f"Acpi({kind},0x{uid:x})"


def _hard_drive(data: bytes) -> str:
    number, start, blocks, kind = _number(data, 0, 4), _number(data, 4, 8), _number(data, 12, 8), data[37]
    if kind == 2:
        disk = f"GPT,{Guid.decode(data[20:36])}"
    elif kind == 1:
        disk = f"MBR,0x{_number(data, 20, 4):08x}"
    else:
        disk = f"{kind},{data[20:36].hex()}"
    return f"HD({number},{disk},0x{start:x},0x{blocks:x})"


def _mac(data: bytes) -> str:
    kind = data[32]
    return f"MAC({data[: 6 if kind in (0, 1) else 32].hex()},0x{kind:x})"


def _usb_class(data: bytes) -> str:
    return f"UsbClass(0x{_number(data, 0, 2):x},0x{_number(data, 2, 2):x},0x{data[4]:x},0x{data[5]:x},0x{data[6]:x})"


def _nvme(data: bytes) -> str:
    return f"NVMe(0x{_number(data, 0, 4):x},{'-'.join(f'{byte:02X}' for byte in reversed(data[4:12]))})"


_Text = Callable[[bytes], str]

_TEXTS: dict[tuple[int, int], tuple[int, _Text]] = {
    (1, 1): (2, lambda d: f"Pci(0x{d[1]:x},0x{d[0]:x})"),
    (1, 3): (20, lambda d: f"MemoryMapped(0x{_number(d, 0, 4):x},0x{_number(d, 4, 8):x},0x{_number(d, 12, 8):x})"),
    (1, 4): (16, lambda d: f"VenHw({Guid.decode(d[:16])}{',' if d[16:] else ''}{d[16:].hex()})"),
    (1, 5): (4, lambda d: f"Ctrl(0x{_number(d, 0, 4):x})"),
    (2, 1): (8, _acpi),
    (3, 1): (
        4,
        lambda d: f"Ata({'Secondary' if d[0] else 'Primary'},{'Slave' if d[1] else 'Master'},0x{_number(d, 2, 2):x})",
    ),
    (3, 2): (4, lambda d: f"Scsi(0x{_number(d, 0, 2):x},0x{_number(d, 2, 2):x})"),
    (3, 5): (2, lambda d: f"USB(0x{d[0]:x},0x{d[1]:x})"),
    (3, 10): (16, lambda d: f"VenMsg({Guid.decode(d[:16])}{',' if d[16:] else ''}{d[16:].hex()})"),
    (3, 11): (33, _mac),
    (3, 12): (15, lambda d: f"IPv4({IPv4Address(d[4:8])})"),
    (3, 13): (35, lambda d: f"IPv6({IPv6Address(d[16:32])})"),
    (3, 15): (7, _usb_class),
    (3, 17): (1, lambda d: f"Unit(0x{d[0]:x})"),
    (3, 18): (6, lambda d: f"Sata(0x{_number(d, 0, 2):x},0x{_number(d, 2, 2):x},0x{_number(d, 4, 2):x})"),
    (3, 23): (12, _nvme),
    (3, 24): (0, lambda d: f"Uri({d.decode('ascii', 'backslashreplace')})"),
    (3, 26): (1, lambda d: f"SD(0x{d[0]:x})"),
    (3, 29): (1, lambda d: f"eMMC(0x{d[0]:x})"),
    (4, 1): (38, _hard_drive),
    (4, 2): (20, lambda d: f"CDROM(0x{_number(d, 0, 4):x},0x{_number(d, 4, 8):x},0x{_number(d, 12, 8):x})"),
    (4, 3): (16, lambda d: f"VenMedia({Guid.decode(d[:16])}{',' if d[16:] else ''}{d[16:].hex()})"),
    (4, 4): (0, _utf16),
    (4, 5): (16, lambda d: f"Media({Guid.decode(d[:16])})"),
    (4, 6): (16, lambda d: f"FvFile({Guid.decode(d[:16])})"),
    (4, 7): (16, lambda d: f"Fv({Guid.decode(d[:16])})"),
    (4, 8): (20, lambda d: f"Offset(0x{_number(d, 4, 8):x},0x{_number(d, 12, 8):x})"),
    (4, 9): (
        34,
        lambda d: f"RamDisk(0x{_number(d, 0, 8):x},0x{_number(d, 8, 8):x},{_number(d, 32, 2)},{Guid.decode(d[16:32])})",
    ),
    (5, 1): (
        4,
        lambda d: f"BBS(0x{_number(d, 0, 2):x},{d[4:].partition(bytes(1))[0].decode('ascii', 'backslashreplace')})",
    ),
}
"""By type and subtype: the least number of bytes of the node's data, and its text."""


@dataclass(frozen=True, slots=True)
class DevicePathNode:
    """One node of a device path.

    Attributes
    ----------
    type, subtype : int
        What the node is (UEFI Specification 2.10, section 10.3).
    data : bytes
        What follows the four bytes of its header.
    """

    type: int
    subtype: int
    data: bytes = b""

    def __post_init__(self) -> None:
        for name in ("type", "subtype"):
            number = whole(getattr(self, name), f"DevicePathNode.{name}", 0, 0xFF, error=TpmMisuseError)
            object.__setattr__(self, name, number)
        object.__setattr__(self, "data", octets(self.data, "DevicePathNode.data", most=_LARGEST))

    def encode(self) -> bytes:
        """Return the node with its header."""
        return bytes((self.type, self.subtype)) + (_HEADER + len(self.data)).to_bytes(2, "little") + self.data

    @property
    def is_end(self) -> bool:
        """Whether the node ends an instance, or the path."""
        return self.type == _END

    def __str__(self) -> str:
        least, text = _TEXTS.get((self.type, self.subtype), (0, None))
        if text is None or len(self.data) < least:
            return f"Path({self.type},{self.subtype}{',' if self.data else ''}{self.data.hex()})"
        return text(self.data)


@dataclass(frozen=True, slots=True)
class DevicePath:
    """A device path: its nodes in order, those that end an instance or the path included.

    Firmware measures paths of no bytes at all for images that come from no device; they have no nodes.

    Examples
    --------
    >>> str(DevicePath.decode(bytes.fromhex("02010c00d041030a00000000 010106000002 7fff0400")))
    'PciRoot(0x0)/Pci(0x2,0x0)'
    """

    nodes: tuple[DevicePathNode, ...] = ()

    def __post_init__(self) -> None:
        held = tuple(items_of(self.nodes, "DevicePath.nodes", "an iterable of DevicePathNode", error=TpmMisuseError))
        for node in held:
            if not isinstance(node, DevicePathNode):
                raise TpmMisuseError(shown(node), where="DevicePath.nodes", expected="a DevicePathNode")
        if any((n.type, n.subtype) == (_END, _END_ENTIRE) for n in held[:-1]):
            raise TpmMisuseError("nodes after the end of the path", where="DevicePath.nodes")
        object.__setattr__(self, "nodes", held)

    @classmethod
    def decode(cls, data: BytesLike) -> Self:
        """Return the path of `data`, from first to last byte.

        Raises
        ------
        TpmFormatError
            If a node goes past the end, says less than its own header, or anything follows the end of the path.
        TpmMisuseError
            If `data` is not bytes-like.
        """
        return cls.read_from(octets(data, "DevicePath"), "DevicePath", 0)

    @classmethod
    def read_from(cls, data: bytes, where: str, base: int) -> Self:
        """Decode bytes that lie at `base` of what errors call `where`."""
        source = Source(data, where, base)
        nodes: list[DevicePathNode] = []
        while source.left:
            place = f"nodes[{len(nodes)}]"
            kind, subtype = source.take(2, f"{place}.type")
            size = source.uint(2, f"{place}.length")
            if size < _HEADER:
                raise source.refuse(str(size), f"{place}.length", f"at least {_HEADER}", offset=source.offset - 2)
            nodes.append(DevicePathNode(kind, subtype, source.take(size - _HEADER, f"{place}.data")))
            if (kind, subtype) == (_END, _END_ENTIRE):
                source.end()
        return cls(tuple(nodes))

    def encode(self) -> bytes:
        """Return the bytes of all nodes."""
        return b"".join(node.encode() for node in self.nodes)

    def __str__(self) -> str:
        instances: list[list[str]] = [[]]
        for node in self.nodes:
            if node.is_end:
                instances.append([])
            else:
                instances[-1].append(str(node))
        return ",".join("/".join(parts) for parts in instances if parts)
