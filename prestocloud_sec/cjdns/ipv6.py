# SPDX-License-Identifier: Apache-2.0
"""The IPv6 header, which cjdns takes off before a packet is encrypted and makes anew where it comes out.

Layout and rules are those of RFC 8200 (section 3 for the header, 8.1 for the checksum of upper layers). What cjdns does
with it is in cjdns v21.1, ``net/TUNAdapter.c``: the next-header number travels as the content type of the data header,
the addresses follow from the keys of the session, and the rest is lost. At the far end the header comes back with
traffic class and flow label 0 and hop limit 42.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeAlias

from prestocloud_sec.cjdns._layout import Fixed, Layout, Number, Octets, Structure, octets, view
from prestocloud_sec.cjdns.checksum import checksum_holds, internet_checksum
from prestocloud_sec.cjdns.errors import HeaderError

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

    class Packed(Protocol):
        """An address that knows its 16 bytes: `prestocloud_sec.cjdns.keys.Address`, `ipaddress.IPv6Address`."""

        @property
        def packed(self) -> bytes:
            """The bytes in network order."""

    AddressLike: TypeAlias = Packed | BytesLike

__all__ = [
    "REBUILT_HOP_LIMIT",
    "IPv6Header",
    "pseudo_header",
    "rebuild_header",
    "split_packet",
    "upper_layer_checksum",
    "upper_layer_checksum_holds",
]

REBUILT_HOP_LIMIT = 42
"""Hop limit of every packet that comes out of cjdns."""

_UDP = 17


def _sixteen(address: AddressLike, name: str) -> bytes:
    packed: BytesLike = getattr(address, "packed", address)  # type: ignore[arg-type]
    return octets(packed, name, 16)


def _group_text(address: bytes) -> str:
    return address.hex(":", 2)


@dataclass(frozen=True, slots=True)
class IPv6Header(Structure):
    """The 40 bytes every IPv6 packet begins with (RFC 8200, section 3). The version, 4 bits, is always 6.

    Attributes
    ----------
    source, destination : bytes
        16 bytes each, at offsets 8 and 24.
    next_header : int
        Byte 6: protocol number of what follows.
    payload_length : int
        16 bits at offset 4: bytes that follow the header.
    hop_limit : int
        Byte 7.
    traffic_class : int
        8 bits from bit 4 on.
    flow_label : int
        20 bits from bit 12 on.
    """

    SIZE: ClassVar[int] = 40
    LAYOUT: ClassVar[Layout] = Layout(
        "IPv6Header",
        Fixed("version", 4, 6),
        Number("traffic_class", 8),
        Number("flow_label", 20, show="{:05x}".format),
        Number("payload_length", 16),
        Number("next_header", 8),
        Number("hop_limit", 8),
        Octets("source", 128, show=_group_text),
        Octets("destination", 128, show=_group_text),
    )

    source: bytes
    destination: bytes
    next_header: int
    payload_length: int
    hop_limit: int = REBUILT_HOP_LIMIT
    traffic_class: int = 0
    flow_label: int = 0


def split_packet(packet: BytesLike) -> tuple[IPv6Header, memoryview]:
    """Return the header of an IPv6 packet and a view of its payload; bytes that the link added after it are left out.

    Raises
    ------
    HeaderError
        If there are fewer than 40 bytes, the version is not 6, or the packet is shorter than its header says.
    CjdnsMisuseError
        If `packet` is not bytes-like.
    """
    raw = view(packet, "IPv6 packet")
    header = IPv6Header.decode(raw[: IPv6Header.SIZE])
    payload = raw[IPv6Header.SIZE : IPv6Header.SIZE + header.payload_length]
    if len(payload) < header.payload_length:
        raise HeaderError(
            f"{len(payload)} bytes follow the header",
            where="IPv6Header.payload_length",
            offset=4,
            expected=f"{header.payload_length}",
        )
    return header, payload


def rebuild_header(source: AddressLike, destination: AddressLike, content_type: int, payload_length: int) -> bytes:
    """Return the header that cjdns puts before a payload that came out of an inner session.

    Parameters
    ----------
    source, destination : Address, ipaddress.IPv6Address or 16 bytes
        Of the session: the far end, and this node.
    content_type : int
        Of the data header: 0 to 255, the next-header number.
    payload_length : int
        Bytes of the payload.

    Raises
    ------
    CjdnsMisuseError
        If an address is not 16 bytes, or a number out of range.

    Examples
    --------
    >>> rebuild_header(bytes(16), bytes(16), 58, 64)[:8].hex()
    '6000000000403a2a'
    """
    protocol = Number("content_type", 8).admit(content_type, "content_type")
    return IPv6Header(
        _sixteen(source, "source"), _sixteen(destination, "destination"), protocol, payload_length
    ).encode()


def pseudo_header(source: AddressLike, destination: AddressLike, protocol: int, length: int) -> bytes:
    """Return the 40 bytes that upper layers add to their checksum (RFC 8200, section 8.1).

    Parameters
    ----------
    source, destination : Address, ipaddress.IPv6Address or 16 bytes
        Of the packet; with a routing header, the final destination.
    protocol : int
        Number of the upper layer: 6 TCP, 17 UDP, 58 ICMPv6.
    length : int
        Bytes of the upper layer, header included.

    Raises
    ------
    CjdnsMisuseError
        If an address is not 16 bytes, or a number out of range.
    """
    number = Number("length", 32).admit(length, "length") << 32 | Number("protocol", 8).admit(protocol, "protocol")
    return _sixteen(source, "source") + _sixteen(destination, "destination") + number.to_bytes(8, "big")


def upper_layer_checksum(source: AddressLike, destination: AddressLike, protocol: int, segment: BytesLike) -> int:
    """Return the checksum for a TCP, UDP or ICMPv6 segment whose checksum field is zero.

    A UDP checksum that comes out as 0 is ffff on the wire, since 0 would say that there is none.

    Raises
    ------
    CjdnsMisuseError
        If an argument has the wrong type or size.
    """
    raw = octets(segment, "segment")
    value = internet_checksum(pseudo_header(source, destination, protocol, len(raw)) + raw)
    return 0xFFFF if value == 0 and protocol == _UDP else value


def upper_layer_checksum_holds(
    source: AddressLike, destination: AddressLike, protocol: int, segment: BytesLike
) -> bool:
    """Whether the checksum inside a TCP, UDP or ICMPv6 segment is right; a UDP checksum of 0 never is (RFC 8200, 8.1).

    Raises
    ------
    CjdnsMisuseError
        If an argument has the wrong type or size.
    """
    raw = octets(segment, "segment")
    summed = pseudo_header(source, destination, protocol, len(raw)) + raw
    if protocol == _UDP and raw[6:8] == b"\0\0":
        return False
    return checksum_holds(summed)
