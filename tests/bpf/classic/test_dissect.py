# SPDX-License-Identifier: Apache-2.0
"""Payload offsets, and what else of a frame's metadata the kernel fills in: by hand, and live on the loopback device.

Frames that a packet socket sends to ``lo`` come back from it. They are not for this host's address there, so that
nothing but packet sockets looks at what is in them.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from prestocloud_sec.bpf.classic import PacketMetadata, assemble
from prestocloud_sec.bpf.classic.dissect import payload_offset
from prestocloud_sec.bpf.linux import attach_classic

MACS = bytes.fromhex("020000000001020000000002")
IP, IPV6, VLAN, AD, PPPOE, MPLS = 0x0800, 0x86DD, 0x8100, 0x88A8, 0x8864, 0x8847
TCP, UDP, GRE = 6, 17, 47


def u16(*values: int) -> bytes:
    return b"".join(value.to_bytes(2, "big") for value in values)


def ipv4(protocol: int, *, fragment: int = 0, words: int = 5, body: bytes = b"") -> bytes:
    head = bytes([0x40 | words, 0]) + u16(20 + len(body), 0, fragment) + bytes([64, protocol]) + bytes(10)
    return head + bytes(4 * max(words - 5, 0)) + body


def ipv6(protocol: int, body: bytes = b"") -> bytes:
    return b"\x60" + bytes(5) + bytes([protocol, 64]) + bytes(32) + body


def tcp(words: int = 5) -> bytes:
    return bytes(12) + bytes([words << 4]) + bytes(7)


# --- By hand: Ethernet is 14 bytes; the header sizes are those of the protocols' own documents.


@pytest.mark.parametrize(
    ("protocol", "packet", "offset"),
    [
        (IP, ipv4(TCP, body=tcp(5)), 40),
        (IP, ipv4(TCP, body=tcp(8)), 52),
        (IP, ipv4(TCP, body=tcp(0)), 40),  # less than a TCP header is taken for one
        (IP, ipv4(TCP), 20),  # no room for the offset
        (IP, ipv4(UDP, words=7, body=bytes(8)), 36),
        (IP, ipv4(1, body=bytes(8)), 28),
        (IP, ipv4(132, body=bytes(12)), 32),
        (IP, ipv4(99, body=bytes(12)), 20),
        (IP, ipv4(UDP, fragment=0x2000, body=bytes(8)), 28),  # the first fragment has the header
        (IP, ipv4(UDP, fragment=0x0005, body=bytes(8)), 20),  # later ones have not
        (IP, ipv4(UDP, words=4), 0),
        (IP, ipv4(UDP)[:19], 0),
        (IPV6, ipv6(UDP, bytes(8)), 48),
        (IPV6, ipv6(0, bytes([60, 0]) + bytes(6) + bytes([UDP, 1]) + bytes(14) + bytes(8)), 72),
        (IPV6, ipv6(44, bytes([UDP, 0, 0, 1]) + bytes(12)), 56),
        (IPV6, ipv6(44, bytes([UDP, 0, 0, 8]) + bytes(12)), 48),
        (VLAN, u16(7, IP) + ipv4(UDP, body=bytes(8)), 32),
        (AD, u16(7, VLAN, 8, IP) + ipv4(UDP, body=bytes(8)), 36),
        (PPPOE, b"\x11\0\0\1" + u16(30, 0x21) + ipv4(UDP, body=bytes(8)), 36),
        (PPPOE, b"\x11\0\0\1" + u16(30, 0x2145), 0),
        (PPPOE, b"\x11\0\0\1" + u16(30, 0xC021), 8),
        (PPPOE, b"\x11\7\0\1" + u16(30, 0x21) + ipv4(UDP, body=bytes(8)), 0),
        (IP, ipv4(4, body=ipv4(TCP, body=tcp(5))), 60),
        (IP, ipv4(41, body=ipv6(UDP, bytes(8))), 68),
        (IP, ipv4(GRE, body=u16(0xB000, IP) + bytes(12) + ipv4(UDP, body=bytes(8))), 64),
        (IP, ipv4(GRE, body=u16(0, 0x6558) + MACS + u16(IP) + ipv4(UDP, body=bytes(8))), 66),
        (MPLS, bytes(4) + ipv4(UDP, body=bytes(8)), 4),
        (0x0806, bytes(28), 0),
        (0x1234, ipv4(UDP, body=bytes(8)), 0),
        (0, ipv4(UDP, body=bytes(8)), 0),
    ],
)
def test_by_hand(protocol: int, packet: bytes, offset: int) -> None:
    assert payload_offset(packet, protocol=protocol, network_offset=0) == offset
    framed = MACS + u16(protocol) + packet
    if offset:
        assert payload_offset(framed, protocol=protocol, network_offset=14) == 14 + offset
        assert assemble("ld poff\nret a").run(framed) == 14 + offset


def test_a_tag_beside_the_packet() -> None:
    packet = ipv4(UDP, body=bytes(8))
    assert payload_offset(packet, protocol=IP, network_offset=0, vlan_tpid=VLAN) == 28
    assert payload_offset(u16(1, IP) + packet, protocol=VLAN, network_offset=0, vlan_tpid=AD) == 32


def test_so_many_headers_that_it_ends() -> None:
    assert payload_offset(u16(1, VLAN) * 40, protocol=VLAN, network_offset=0) == 64
    assert payload_offset(ipv4(4) * 40, protocol=IP, network_offset=0) == 16 * 20


# --- Live.


class Loopback:
    """Two packet sockets on ``lo``: one sends, the other has a filter."""

    def __init__(self) -> None:
        self.sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.receiver = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.sender.bind(("lo", 0))
        self.receiver.bind(("lo", 0x0003))
        self.receiver.settimeout(5)

    def kept(self, text: str, frame: bytes) -> int:
        """Return how much of a frame is kept as it comes in; nothing but packet sockets sees it."""
        attach_classic(self.receiver, assemble(text).to_bytes())
        self.receiver.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                self.receiver.recv(1 << 17)
        self.receiver.settimeout(5)
        self.sender.send(frame)
        while True:
            data, (_, _, kind, _, _) = self.receiver.recvfrom(1 << 17)
            # Other traffic on lo is for this host; what is sent here comes out (4), then in, for another host (3).
            if kind == 3 and data[:1] == frame[:1]:
                return len(data)


def refusal() -> str | None:
    try:
        loopback = Loopback()
    except OSError as error:
        return f"kernel lacks packet sockets for this user: {error}"
    with loopback.sender, loopback.receiver:
        return None


REFUSAL = refusal()
live = pytest.mark.skipif(REFUSAL is not None, reason=str(REFUSAL))


@pytest.fixture(scope="module")
def lo() -> Iterator[Loopback]:
    loopback = Loopback()
    with loopback.sender, loopback.receiver:
        yield loopback


def received(frame: bytes) -> tuple[bytes, PacketMetadata]:
    """Return a frame as it comes in, and its metadata: the kernel takes a VLAN tag out of it first."""
    protocol = int.from_bytes(frame[12:14], "big")
    device = {"ifindex": 1, "hatype": 772, "pkt_type": 3}
    if protocol not in {VLAN, AD}:
        return frame, PacketMetadata.of_frame(frame, **device)
    rest = frame[:12] + frame[16:]
    tag = {"vlan_present": True, "vlan_tci": int.from_bytes(frame[14:16], "big"), "vlan_tpid": protocol}
    return rest, PacketMetadata.of_frame(rest, **device, **tag)


def check(lo: Loopback, load: str, frame: bytes) -> None:
    text = f"{load}\nadd #1\nret a"
    data, known = received(frame)
    assert min(assemble(text).run(data, metadata=known), len(data)) == lo.kept(text, frame), (load, frame.hex())


LENGTH = 1200
NAMES = ["proto", "type", "ifidx", "hatype", "vlan_avail", "vlan_tci", "vlan_tpid", "poff"]
STARTS = [
    u16(0x0123),  # lengths, not types
    u16(0x0123, 0xFFFF),
    u16(0x0600),
    u16(VLAN, 0x0123, 0x0045),
    u16(AD, 0x0045, VLAN, 0x1064, IP),
]


@live
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("start", STARTS)
def test_the_kernels_metadata(lo: Loopback, name: str, start: bytes) -> None:
    check(lo, f"ld {name}\nmod #1000", (MACS + start).ljust(LENGTH, b"\x45"))


@live
@pytest.mark.parametrize("offset", ["0xfff00000", "0xfff00003", "0xffe00000", "0xffe0000d", "0xfff00050"])
def test_the_kernels_headers(lo: Loopback, offset: str) -> None:
    for start in (u16(IP), u16(VLAN, 9, IP)):
        check(lo, f"ldb [{offset}]", MACS + start + bytes(range(255)))


_OTHER_TYPES = [PPPOE, MPLS, 0x8848, 0x0806, 0x8035, 0x88CA, 0x8906, 0x4305, 0x88F7, 0x88FB, 0x892F, 0x8902]
TYPES = st.sampled_from([IP, IPV6, VLAN, AD]) | st.sampled_from(_OTHER_TYPES) | st.integers(0x0600, 0xFFFF)
_TRANSPORT = [1, 2, 6, 17, 33, 43, 50, 51, 58, 99, 132, 136, 137]
PROTOCOLS = st.sampled_from([4, 41, 47, 44, 0, 60]) | st.sampled_from(_TRANSPORT)
PPP = st.sampled_from([0x21, 0x57, 0x281, 0x283, 0xC021, 0x20]) | st.integers(0, 0xFFFF).map(lambda ppp: ppp & ~0x0100)
"""PPP protocols of two bytes: those of one are understood by some kernels."""
_SOME_FLAGS = [0, 0x8000, 0x2000, 0x1000, 0xB000, 0x4000, 0x2001, 0x3081, 0xA001, 2]
GRE_FLAGS = st.sampled_from(_SOME_FLAGS) | st.integers(0, 0xFFFF)

Header = tuple[bytes, int, bool]
"""Its bytes, and what follows: an IP protocol, or if the last is true an EtherType."""


@st.composite
def header(draw: st.DrawFn, kind: int, is_type: bool) -> Header:
    """Draw a header of some kind: often as it should be, now and then with something odd."""
    if not is_type:
        return draw(_ip_header(kind))
    if kind == IP:
        protocol = draw(PROTOCOLS)
        fragment = draw(st.sampled_from([0, 0, 0, 0, 0x4000, 0x2000, 0x2001, 0x0007]))
        return ipv4(protocol, fragment=fragment, words=draw(st.sampled_from([5, 5, 6, 15, 4]))), protocol, False
    if kind == IPV6:
        protocol = draw(PROTOCOLS)
        return ipv6(protocol), protocol, False
    following = draw(TYPES)
    if kind in {VLAN, AD}:
        return u16(5, following), following, True
    if kind == PPPOE:
        ppp = draw(PPP)
        first = bytes([draw(st.sampled_from([0x11, 0x11, 0x11, 0x12])), draw(st.sampled_from([0, 0, 0, 1]))])
        return first + u16(1, 9, ppp), {0x21: IP, 0x57: IPV6}.get(ppp, following), True
    if kind in {0x88FB, 0x892F}:
        return bytes(4) + u16(following), following, True
    if kind == 0x4305:
        return bytes([draw(st.sampled_from([0x40, 0x40, 0x41])), 15]) + bytes(20) + u16(following), following, True
    return draw(st.binary(max_size=40)), following, True


@st.composite
def _ip_header(draw: st.DrawFn, kind: int) -> Header:
    protocol, following = draw(PROTOCOLS), draw(TYPES)
    if kind in {0, 43, 60}:
        size = draw(st.sampled_from([0, 0, 1, 3]))
        return bytes([protocol, size]) + bytes(8 * size + 6), protocol, False
    if kind == 44:
        return bytes([protocol, 0]) + u16(draw(st.sampled_from([0, 1, 6, 8, 0xFFF8]))) + bytes(4), protocol, False
    if kind in {4, 41}:
        return draw(header(IP if kind == 4 else IPV6, True))
    if kind == GRE:
        return draw(_gre_header(following))
    return tcp(draw(st.integers(0, 15))), protocol, False


@st.composite
def _gre_header(draw: st.DrawFn, following: int) -> Header:
    flags = draw(GRE_FLAGS)
    kind = draw(st.sampled_from([following, following, 0x6558, 0x880B]))
    text = u16(flags, kind) + bytes(4 * sum(bool(flags & bit) for bit in (0x8000, 0x2000, 0x1000)))
    if flags & 7 == 1:
        ppp = draw(PPP)
        text += bytes(4 if flags & 0x80 else 0) + bytes(2) + u16(ppp)
        return text, {0x21: IP, 0x57: IPV6}.get(ppp, following), True
    return (text + MACS + u16(following) if kind == 0x6558 else text), following, True


@st.composite
def headers(draw: st.DrawFn) -> bytes:
    """Draw headers one in the other, each naming the next, from the EtherType on; cut off somewhere."""
    kind, is_type = draw(TYPES), True
    parts = [u16(kind)]
    for _ in range(draw(st.integers(1, 7))):
        part, kind, is_type = draw(header(kind, is_type))
        parts.append(part)
    whole = b"".join(parts)
    return whole[: len(whole) - draw(st.sampled_from([0, 0, 0, 1, 2, 5, 9, 14]))]


@live
@settings(max_examples=300)
@given(headers(), st.booleans())
@example(u16(VLAN, 1) + u16(VLAN, 2) * 40, False)
@example(u16(IP) + ipv4(4) * 20, False)
@example(u16(IP) + ipv4(137) + bytes(20), True)
def test_the_kernel_finds_the_same_payload(lo: Loopback, chain: bytes, padded: bool) -> None:
    frame = MACS + chain
    if padded:
        frame = frame.ljust(LENGTH, b"\0")
    if len(frame) >= 34:  # less is not sent
        check(lo, "ld poff", frame)


def test_any_packet_ends() -> None:
    for kind in (0, 4, 41, 43, 47, 60):
        packet = struct.pack("B", kind) * 4000
        for protocol in (IP, IPV6, VLAN, AD, PPPOE, 0x892F, 0x4305):
            assert 0 <= payload_offset(packet, protocol=protocol, network_offset=0) <= len(packet) + 60
