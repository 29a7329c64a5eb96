# SPDX-License-Identifier: Apache-2.0
"""The conversation that the demo plays: a small capture file of IPv6 packets, its reader, and how it was made.

Of a pcap file (`prestocloud_sec.pcap`) with Ethernet frames or raw IP packets, the IPv6 packets are taken.
``make_conversation`` builds the shipped file byte for byte, so that nothing
in it has to be taken on trust: an edge device (2001:db8::e) and a gateway (2001:db8::6a) exchange ICMPv6 echoes, a
CoAP-like reading over UDP, and a small HTTP request over TCP.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from prestocloud_sec.cjdns._layout import octets
from prestocloud_sec.cjdns.ipv6 import IPv6Header, upper_layer_checksum
from prestocloud_sec.errors import InputError, TruncatedError
from prestocloud_sec.pcap import ETHERNET, RAW_IP, Capture
from prestocloud_sec.wire import view_of

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["CAPTURE_EDGE", "CAPTURE_GATEWAY", "Packet", "conversation", "make_conversation", "read_pcap", "readdress"]

CAPTURE_EDGE = bytes.fromhex("20010db800000000000000000000000e")
"""Address of the edge device in the shipped capture (documentation prefix, RFC 3849)."""

CAPTURE_GATEWAY = bytes.fromhex("20010db800000000000000000000006a")
"""Address of the gateway in the shipped capture."""

_CHECKSUM_AT = {6: 16, 17: 6, 58: 2}


@dataclass(frozen=True, slots=True)
class Packet:
    """One captured IPv6 packet.

    Attributes
    ----------
    time : float
        Seconds since the epoch.
    data : bytes
        The packet from its IPv6 header on, without the link layer.
    """

    time: float
    data: bytes

    @property
    def source(self) -> bytes:
        """The 16-byte source address."""
        return self.data[8:24]

    @property
    def next_header(self) -> int:
        """Protocol number of what follows the IPv6 header."""
        return self.data[6]


def read_pcap(data: BytesLike) -> Iterator[Packet]:
    """Yield the IPv6 packets of a pcap file, in order.

    Raises
    ------
    InputError
        If the file is not pcap, has another link type, or a packet's length cannot be right.
    TruncatedError
        If the file ends within a header or a packet.
    """
    capture = Capture(data)  # type: ignore[arg-type]
    if capture.link_type not in (ETHERNET, RAW_IP):
        raise InputError(
            f"link type {capture.link_type}",
            where="pcap file header",
            offset=20,
            expected=f"{ETHERNET} (Ethernet) or {RAW_IP} (raw IP)",
        )
    for time, frame in zip(capture.times.tolist(), capture.packets, strict=True):
        if capture.link_type == ETHERNET:
            if bytes(frame[12:14]) != b"\x86\xdd":
                continue
            frame = frame[14:]
        if len(frame) >= 40 and frame[0] >> 4 == 6:
            size = 40 + int.from_bytes(frame[4:6], "big")
            if size <= len(frame):
                yield Packet(time / 1e9, bytes(frame[:size]))


def conversation() -> list[Packet]:
    """Return the packets of the capture that is shipped with the demo."""
    path = resources.files("prestocloud_sec.demo") / "data" / "conversation.pcap"
    return list(read_pcap(path.read_bytes()))


def readdress(packet: bytes, source: bytes, destination: bytes) -> bytes:
    """Return the IPv6 packet with other addresses and its TCP, UDP or ICMPv6 checksum made right for them.

    Raises
    ------
    TruncatedError
        If the packet is shorter than its header.
    MisuseError
        If an argument is not bytes-like, or an address not 16 bytes.
    """
    changed = bytearray(view_of(packet, name="packet"))
    if len(changed) < IPv6Header.SIZE:
        raise TruncatedError(f"{len(changed)} bytes", where="IPv6 packet", expected=f"at least {IPv6Header.SIZE}")
    source, destination = octets(source, "source", 16), octets(destination, "destination", 16)
    changed[8:24], changed[24:40] = source, destination
    protocol = changed[6]
    at = _CHECKSUM_AT.get(protocol)
    if at is not None and len(changed) >= 40 + at + 2:
        changed[40 + at : 42 + at] = b"\0\0"
        value = upper_layer_checksum(source, destination, protocol, changed[40:])
        changed[40 + at : 42 + at] = value.to_bytes(2, "big")
    return bytes(changed)


def _ipv6(outward: bool, protocol: int, payload: bytes) -> bytes:
    source, destination = (CAPTURE_EDGE, CAPTURE_GATEWAY) if outward else (CAPTURE_GATEWAY, CAPTURE_EDGE)
    header = struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64)
    return readdress(header + source + destination + payload, source, destination)


def _echo(outward: bool, number: int) -> bytes:
    kind = 128 if outward else 129
    return _ipv6(outward, 58, struct.pack("!BBHHH", kind, 0, 0, 0xE06A, number) + bytes(range(56)))


def _udp(outward: bool, payload: bytes) -> bytes:
    ports = (49152, 5683) if outward else (5683, 49152)
    return _ipv6(outward, 17, struct.pack("!HHHH", *ports, 8 + len(payload), 0) + payload)


class _Tcp:
    """Sequence numbers of one TCP connection, both directions."""

    _SYN, _ACK, _PUSH, _FIN = 2, 16, 8, 1

    def __init__(self) -> None:
        self._next = {True: 1000, False: 5000}

    def segment(self, outward: bool, flags: int, payload: bytes = b"") -> bytes:
        ports = (49153, 80) if outward else (80, 49153)
        sequence, acknowledged = self._next[outward], self._next[not outward] if flags & self._ACK else 0
        self._next[outward] += len(payload) + bool(flags & (self._SYN | self._FIN))
        header = struct.pack("!HHIIBBHHH", *ports, sequence, acknowledged, 5 << 4, flags, 65535, 0, 0)
        return _ipv6(outward, 6, header + payload)

    def exchange(self, request: bytes, response: bytes, segment_size: int) -> Iterator[bytes]:
        yield self.segment(True, self._SYN)
        yield self.segment(False, self._SYN | self._ACK)
        yield self.segment(True, self._ACK)
        yield self.segment(True, self._ACK | self._PUSH, request)
        for start in range(0, len(response), segment_size):
            yield self.segment(False, self._ACK | self._PUSH, response[start : start + segment_size])
            yield self.segment(True, self._ACK)
        yield self.segment(True, self._ACK | self._FIN)
        yield self.segment(False, self._ACK | self._FIN)
        yield self.segment(True, self._ACK)


def make_conversation() -> bytes:
    """Build the shipped capture: a pcap file of Ethernet frames, the same bytes at every call."""
    packets: list[tuple[bool, bytes]] = []
    for number in range(1, 11):
        packets += [(True, _echo(True, number)), (False, _echo(False, number))]
    for number in range(20):
        reading = f'{{"device":"edge-7","celsius":{18 + number / 4:.2f},"sample":{number}}}'.encode()
        packets += [(True, _udp(True, reading)), (False, _udp(False, b"stored %d" % number))]
    body = b"".join(b"%04d the quick brown fox jumps over the lazy dog\n" % line for line in range(240))
    request = b"GET /measurements HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer edge-7-plaintext-marker\r\n\r\n"
    response = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    packets += [(p[8:24] == CAPTURE_EDGE, p) for p in _Tcp().exchange(request, response, 1200)]
    edge_mac, gateway_mac = bytes.fromhex("02000000000e"), bytes.fromhex("02000000006a")
    file = bytearray(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, ETHERNET))
    for number, (outward, packet) in enumerate(packets):
        macs = gateway_mac + edge_mac if outward else edge_mac + gateway_mac
        frame = macs + b"\x86\xdd" + packet
        file += struct.pack("<IIII", 1_600_000_000, number * 1000, len(frame), len(frame)) + frame
    return bytes(file)
