# SPDX-License-Identifier: Apache-2.0
"""The IPv6 header and the checksums of upper layers, against RFC 8200 and packets that Linux made."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from prestocloud_sec.cjdns.errors import CjdnsMisuseError, HeaderError
from prestocloud_sec.cjdns.ipv6 import (
    IPv6Header,
    pseudo_header,
    rebuild_header,
    split_packet,
    upper_layer_checksum,
    upper_layer_checksum_holds,
)
from prestocloud_sec.testing.ground import buffers
from prestocloud_sec.testing.headers import ipv6_headers, ipv6_packets, udp_packets

# Two packets that Linux made (ping6 through a TUN device); every checksum in them is the kernel's.
ECHO = bytes.fromhex(
    "6002d53200403a40fc37d440dbddbe06c9ac5c4f71eb1ddcfc83230635706c1d4eaf0ac741d7a1af"
    "80004be42b3b0001c1df036b000000005a110c0000000000101112131415161718191a1b1c1d1e1f"
    "202122232425262728292a2b2c2d2e2f3031323334353637"
)


def ones_sum(source: bytes, destination: bytes, protocol: int, segment: bytes) -> int:
    """RFC 8200, 8.1, by `struct`, in 32-bit lengths, word after word."""
    data = struct.pack(">16s16sIHBB", source, destination, len(segment), 0, 0, protocol) + segment
    total = 0
    for (word,) in struct.iter_unpack(">H", data + bytes(len(data) % 2)):
        total += word
        total = (total & 0xFFFF) + (total >> 16)
    return total


@given(ipv6_headers())
def test_header_is_where_rfc_8200_has_it(header):
    first, length, protocol, hops, source, destination = struct.unpack(">IHBB16s16s", header.encode())
    assert first == 6 << 28 | header.traffic_class << 20 | header.flow_label
    assert (length, protocol, hops) == (header.payload_length, header.next_header, header.hop_limit)
    assert (source, destination) == (header.source, header.destination)
    assert IPv6Header.decode(header.encode()) == header


@given(buffers(max_size=60))
def test_any_bytes_give_a_header_or_a_header_error(data):
    raw = bytes(memoryview(data).cast("B"))
    if len(raw) == 40 and raw[0] >> 4 == 6:
        assert IPv6Header.decode(data).encode() == raw
    else:
        with pytest.raises(HeaderError, match="IPv6Header"):
            IPv6Header.decode(data)


@given(st.binary(min_size=39, max_size=39), st.integers(0, 15))
def test_only_version_6(rest, version):
    raw = bytes([version << 4]) + rest
    if version == 6:
        IPv6Header.decode(raw)
    else:
        with pytest.raises(HeaderError, match=f"version.*offset 0.*{version:x}; expected 6"):
            IPv6Header.decode(raw)


@given(ipv6_packets(), st.binary(max_size=20))
def test_split_takes_what_the_header_says(packet, added):
    header, payload = split_packet(packet + added)
    assert header.encode() + bytes(payload) == packet


@given(ipv6_packets(), st.data())
def test_a_packet_cut_short_is_refused(packet, data):
    cut = data.draw(st.integers(0, len(packet) - 1))
    with pytest.raises(HeaderError):
        split_packet(packet[:cut])


@given(st.binary(max_size=80))
def test_split_of_any_bytes(data):
    try:
        header, payload = split_packet(data)
    except HeaderError:
        return
    assert data.startswith(header.encode() + bytes(payload))


@given(st.ip_addresses(v=6), st.ip_addresses(v=6), st.integers(0, 255), st.integers(0, 65535))
def test_rebuilt_header(source, destination, protocol, length):
    raw = rebuild_header(source, destination, protocol, length)
    assert raw == struct.pack(">IHBB", 6 << 28, length, protocol, 42) + source.packed + destination.packed
    assert raw == rebuild_header(source.packed, bytearray(destination.packed), protocol, length)


@given(st.ip_addresses(v=6), st.ip_addresses(v=6), st.integers(0, 255), st.binary(max_size=200))
def test_checksum_is_that_of_rfc_8200(source, destination, protocol, segment):
    total = ones_sum(source.packed, destination.packed, protocol, segment)
    value = upper_layer_checksum(source, destination, protocol, segment)
    if protocol == 17 and total == 0xFFFF:
        assert value == 0xFFFF
    else:
        assert value == total ^ 0xFFFF
    holds = total == 0xFFFF and not (protocol == 17 and segment[6:8] == b"\0\0")
    assert upper_layer_checksum_holds(source, destination, protocol, segment) == holds


def test_checksum_that_linux_made():
    header, payload = split_packet(ECHO)
    assert ipaddress.IPv6Address(header.source) == ipaddress.IPv6Address("fc37:d440:dbdd:be06:c9ac:5c4f:71eb:1ddc")
    assert (header.next_header, header.hop_limit, header.flow_label) == (58, 64, 0x2D532)
    blank = bytes(payload[:2]) + bytes(2) + bytes(payload[4:])
    assert upper_layer_checksum(header.source, header.destination, 58, blank) == 0x4BE4
    assert upper_layer_checksum_holds(header.source, header.destination, 58, payload)


def test_a_udp_checksum_of_zero_is_written_as_ones_and_never_holds():
    source, destination = bytes(16), bytes(16)
    # ports and length so that all words of pseudo header and segment sum to ffff without the checksum
    segment = bytearray(struct.pack(">HHHH", 0, 0, 8, 0))
    total = ones_sum(source, destination, 17, bytes(segment))
    segment[0:2] = (0xFFFF - total).to_bytes(2, "big")
    assert ones_sum(source, destination, 17, bytes(segment)) == 0xFFFF
    assert upper_layer_checksum(source, destination, 17, segment) == 0xFFFF
    assert upper_layer_checksum(source, destination, 58, bytes(segment)) in range(0x10000)
    assert not upper_layer_checksum_holds(source, destination, 17, segment)
    segment[6:8] = b"\xff\xff"
    assert upper_layer_checksum_holds(source, destination, 17, segment)


@given(udp_packets(), st.data())
def test_a_changed_byte_of_a_datagram_or_its_addresses_is_seen(packet, data):
    header, segment = split_packet(packet)
    assert upper_layer_checksum_holds(header.source, header.destination, 17, segment)
    whole = bytearray(header.source + header.destination + bytes(segment))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    assert not upper_layer_checksum_holds(whole[:16], whole[16:32], 17, whole[32:])


@given(udp_packets())
def test_a_packet_that_went_through_cjdns_keeps_its_checksum(packet):
    """Hop limit and flow label change, but they are in no checksum."""
    header, segment = split_packet(packet)
    assume(header.hop_limit != 42)
    rebuilt = rebuild_header(header.source, header.destination, header.next_header, len(segment)) + bytes(segment)
    again, same = split_packet(rebuilt)
    assert upper_layer_checksum_holds(again.source, again.destination, again.next_header, same)
    assert rebuilt[8:] == packet[8:]


def test_pseudo_header_layout():
    # RFC 8200, 8.1: source, destination, 32-bit length, 3 zero bytes, next header
    assert pseudo_header(b"\1" * 16, b"\2" * 16, 58, 0x12345).hex() == "01" * 16 + "02" * 16 + "00012345" + "0000003a"


@pytest.mark.parametrize(
    "make",
    [
        lambda: rebuild_header(bytes(15), bytes(16), 58, 0),
        lambda: rebuild_header(bytes(16), "fc00::1", 58, 0),
        lambda: rebuild_header(ipaddress.IPv4Address("10.0.0.1"), bytes(16), 58, 0),
        lambda: rebuild_header(bytes(16), bytes(16), 256, 0),
        lambda: rebuild_header(bytes(16), bytes(16), "58", 0),
        lambda: rebuild_header(bytes(16), bytes(16), 58, 65536),
        lambda: upper_layer_checksum(bytes(16), bytes(16), 256, b""),
        lambda: upper_layer_checksum(bytes(16), bytes(16), 17, "text"),
        lambda: upper_layer_checksum_holds(16, bytes(16), 17, b""),
        lambda: split_packet("text"),
        lambda: IPv6Header(bytes(16), bytes(16), 58, 0, flow_label=1 << 20),
    ],
)
def test_misuse(make):
    with pytest.raises(CjdnsMisuseError):
        make()
