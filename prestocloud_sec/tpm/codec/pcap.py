# SPDX-License-Identifier: Apache-2.0
"""Packet captures, as far as traffic of a TPM over TCP needs them: pcap and pcapng, Ethernet or IP, version 4 and 6.

Sources: the libpcap file format (pcap-savefile(5)), the pcapng draft (draft-ietf-opsawg-pcapng), the list of link-layer
header types of tcpdump.org, RFC 791, RFC 8200 and RFC 9293.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from struct import Struct

from prestocloud_sec.tpm.errors import TpmFormatError, TpmTruncatedError

__all__ = ["conversations", "is_capture"]

_PCAP = {
    b"\xa1\xb2\xc3\xd4": ">",
    b"\xd4\xc3\xb2\xa1": "<",
    b"\xa1\xb2\x3c\x4d": ">",
    b"\x4d\x3c\xb2\xa1": "<",
}
"""First bytes of a pcap file, with microseconds or nanoseconds, in both byte orders."""
_SECTION = b"\x0a\x0d\x0d\x0a"
_ORDERS = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}

_LINKS: Mapping[int, tuple[int, int | None]] = {
    0: (4, None),  # loopback: family
    1: (14, 12),  # Ethernet: two addresses, type
    12: (0, None),  # IP
    14: (0, None),
    101: (0, None),
    113: (16, 14),  # Linux "cooked"
    228: (0, None),
    229: (0, None),
    276: (20, 0),  # Linux "cooked", version 2
}
"""Link-layer types: length of their header, and where in it the EtherType is."""
_IP_TYPES = (0x0800, 0x86DD)
_VLAN = 0x8100
_TCP = 6


def is_capture(data: bytes) -> bool:
    """Tell whether bytes are a packet capture."""
    return data[:4] in _PCAP or (data[:4] == _SECTION and data[8:12] in _ORDERS)


def conversations(data: bytes) -> list[bytes]:
    """Return what was said over each TCP connection, both directions in the order of the packets.

    Bytes that were sent again are left out; where some are missing the rest follows without them.

    Raises
    ------
    TpmFormatError
        If the file is cut off, or has a link layer that is not known here.
    """
    said: dict[frozenset[tuple[bytes, int]], bytearray] = {}
    expected: dict[tuple[tuple[bytes, int], tuple[bytes, int]], int] = {}
    for link, packet in _packets(data):
        segment = _tcp(_network(link, packet))
        if segment is None:
            continue
        source, target, sequence, is_start, payload = segment
        way = (source, target)
        if is_start:
            expected[way] = sequence + 1 & 0xFFFFFFFF
            continue
        if not payload:
            continue
        known = expected.get(way, sequence)
        again = known - sequence & 0xFFFFFFFF
        if 0 < again < 1 << 31:
            if again >= len(payload):
                continue
            payload, sequence = payload[again:], known
        expected[way] = sequence + len(payload) & 0xFFFFFFFF
        said.setdefault(frozenset(way), bytearray()).extend(payload)
    return [bytes(words) for words in said.values()]


def _packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the link-layer type and the bytes of every packet."""
    if data[:4] in _PCAP:
        order = _PCAP[data[:4]]
        yield from _pcap_packets(data, order)
    else:
        yield from _pcapng_packets(data)


def _pcap_packets(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    if len(data) < 24:
        raise TpmTruncatedError(f"{len(data)} bytes", where="pcap header", offset=0, expected="24")
    link = Struct(order + "I").unpack_from(data, 20)[0] & 0x0FFFFFFF
    record, at = Struct(order + "IIII"), 24
    while at < len(data):
        if len(data) - at < 16:
            raise TpmTruncatedError(f"{len(data) - at} bytes", where="pcap record", offset=at, expected="16")
        size = record.unpack_from(data, at)[2]
        if size > len(data) - at - 16:
            raise TpmTruncatedError(f"{len(data) - at - 16} bytes", where="pcap packet", offset=at, expected=str(size))
        yield link, data[at + 16 : at + 16 + size]
        at += 16 + size


def _pcapng_packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    order, at = ">", 0
    links: list[int] = []
    while at < len(data):
        if len(data) - at < 12:
            raise TpmTruncatedError(f"{len(data) - at} bytes", where="pcapng block", offset=at, expected="12 or more")
        if data[at : at + 4] == _SECTION:
            order, links = _ORDERS.get(data[at + 8 : at + 12], order), []
        kind, size = Struct(order + "II").unpack_from(data, at)
        if not 12 <= size <= len(data) - at or size % 4:
            raise TpmTruncatedError(
                f"a size of {size}", where="pcapng block", offset=at + 4, expected=f"12 to {len(data) - at}"
            )
        body = data[at + 8 : at + size - 4]
        if kind == 1 and len(body) >= 2:
            links.append(Struct(order + "H").unpack_from(body)[0])
        elif kind == 6 and len(body) >= 20:
            interface, _, _, captured, _ = Struct(order + "IIIII").unpack_from(body)
            if interface >= len(links):
                raise TpmFormatError(
                    f"interface {interface}", where="pcapng packet", offset=at, expected="one described"
                )
            yield links[interface], body[20 : 20 + captured]
        elif kind == 3 and links and len(body) >= 4:
            yield links[0], body[4:]
        at += size


def _network(link: int, packet: bytes) -> bytes:
    """Return the IP packet inside of a frame; nothing where there is none."""
    if link not in _LINKS:
        raise TpmFormatError(f"link-layer type {link}", where="capture", expected=f"one of {sorted(_LINKS)}")
    header, place = _LINKS[link]
    if place is None:
        return packet[header:]
    kind = int.from_bytes(packet[place : place + 2], "big")
    if kind == _VLAN:
        kind = int.from_bytes(packet[place + 4 : place + 6], "big")
        header += 4
    return packet[header:] if kind in _IP_TYPES else b""


def _tcp(packet: bytes) -> tuple[tuple[bytes, int], tuple[bytes, int], int, bool, bytes] | None:
    """Return source, target, sequence number, whether it opens the connection, and payload; None if it is not TCP."""
    version = packet[0] >> 4 if packet else 0
    if version == 4 and len(packet) >= 20:
        at, protocol, end = 4 * (packet[0] & 15), packet[9], int.from_bytes(packet[2:4], "big")
        addresses = packet[12:16], packet[16:20]
        if int.from_bytes(packet[6:8], "big") & 0x3FFF:
            return None  # a fragment
    elif version == 6 and len(packet) >= 40:
        at, protocol, end = 40, packet[6], 40 + int.from_bytes(packet[4:6], "big")
        addresses = packet[8:24], packet[24:40]
    else:
        return None
    segment = packet[at : end or len(packet)]  # a length of 0: the network card cut the packet later
    if protocol != _TCP or len(segment) < 20:
        return None
    ports = int.from_bytes(segment[:2], "big"), int.from_bytes(segment[2:4], "big")
    payload = segment[4 * (segment[12] >> 4) :]
    sequence = int.from_bytes(segment[4:8], "big")
    return (addresses[0], ports[0]), (addresses[1], ports[1]), sequence, bool(segment[13] & 2), payload
