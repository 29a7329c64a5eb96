# SPDX-License-Identifier: Apache-2.0
"""Beacons and Ethernet frames against the C structures, and any bytes in place of them."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.cjdns.beacon import (
    BEACON_PORT,
    BROADCAST_MAC,
    ETHERTYPE,
    Beacon,
    EthernetFrame,
    EthernetPayload,
    UdpBeacon,
    is_udp_beacon,
)
from prestocloud_sec.cjdns.errors import CjdnsMisuseError, HeaderError
from prestocloud_sec.testing.ground import buffers
from prestocloud_sec.testing.headers import beacons, ethernet_frames, ethernet_payloads, udp_beacons

PASSWORD, KEY = bytes(range(20)), bytes(range(100, 132))
VALUES = st.one_of(
    beacons(max_more=10), udp_beacons(max_more=10), ethernet_payloads(max_content=40), ethernet_frames(max_content=40)
)


def test_layouts_of_the_c_structures():
    beacon = Beacon(21, PASSWORD, KEY)
    assert beacon.encode() == struct.pack(">I20s32s", 21, PASSWORD, KEY)
    assert len(beacon.encode()) == Beacon.SIZE == 56
    udp = UdpBeacon(9000, beacon)
    assert udp.encode() == struct.pack(">IBBH", 0xFFFFFFFC, 0, 0, 9000) + beacon.encode()
    assert len(udp.encode()) == UdpBeacon.SIZE == 64
    payload = EthernetPayload(beacon.encode(), padding=bytes(3))
    assert payload.encode() == struct.pack(">BBHH", 0, 0, 62, 0xFC00) + beacon.encode() + bytes(3)
    assert payload.length == 62
    frame = EthernetFrame(BROADCAST_MAC, b"\2\0\0\0\0\1", payload)
    assert frame.encode() == struct.pack(">6s6sH", b"\xff" * 6, b"\2\0\0\0\0\1", 0xFC00) + payload.encode()
    assert (BEACON_PORT, ETHERTYPE) == (64512, 0xFC00)
    assert frame.is_broadcast
    assert not EthernetFrame(b"\2\0\0\0\0\2", b"\2\0\0\0\0\1", payload).is_broadcast


@given(VALUES)
def test_decode_undoes_encode(value):
    assert type(value).decode(value.encode()) == value


@pytest.mark.parametrize("kind", [Beacon, UdpBeacon, EthernetPayload, EthernetFrame])
@given(data=buffers(max_size=100))
def test_any_bytes_give_a_value_or_a_header_error(kind, data):
    try:
        value = kind.decode(data)
    except HeaderError:
        return
    assert value.encode() == bytes(memoryview(data).cast("B"))


@given(VALUES, st.data())
def test_cut_short_is_refused_or_ends_in_the_open_part(value, data):
    raw = value.encode()
    cut = data.draw(st.integers(0, len(raw) - 1))
    try:
        short = type(value).decode(raw[:cut])
    except HeaderError:
        return
    assert short.encode() == raw[:cut]


@pytest.mark.parametrize(
    ("kind", "start"),
    [
        (UdpBeacon, "fffffffd00002328"),
        (UdpBeacon, "fffffffc01002328"),  # version
        (UdpBeacon, "fffffffc00012328"),  # a node of today wants zero there
        (EthernetPayload, "01000010fc00"),  # version
        (EthernetPayload, "00000010fc01"),  # magic
        (EthernetPayload, "00000047fc00"),  # longer than the frame
        (EthernetPayload, "00000005fc00"),  # does not hold its own header
        (EthernetPayload, "00000000fc00"),
        (EthernetFrame, "ffffffffffff02000000000186dd00000010fc00"),  # Ethernet type
    ],
)
def test_what_a_receiver_refuses(kind, start):
    with pytest.raises(HeaderError, match=kind.__name__):
        kind.decode(bytes.fromhex(start) + bytes(64))


@pytest.mark.parametrize(("kind", "size"), [(Beacon, 55), (UdpBeacon, 63), (EthernetPayload, 5), (EthernetFrame, 19)])
def test_too_short(kind, size):
    good = {
        Beacon: Beacon(21, PASSWORD, KEY),
        UdpBeacon: UdpBeacon(1, Beacon(21, PASSWORD, KEY)),
        EthernetPayload: EthernetPayload(b""),
        EthernetFrame: EthernetFrame(bytes(6), bytes(6), EthernetPayload(b"")),
    }[kind].encode()
    assert len(good) == size + 1
    with pytest.raises(HeaderError, match="bytes; expected"):
        kind.decode(good[:-1])


def test_what_a_receiver_does_not_look_at_is_kept():
    beacon = Beacon(21, PASSWORD, KEY, b"later versions")
    assert Beacon.decode(beacon.encode()) == beacon
    assert EthernetPayload.decode(bytes.fromhex("00070006fc00")).zero == 7
    padded = EthernetPayload.decode(bytes.fromhex("00000008fc00") + b"ab" + bytes(10))
    assert (padded.content, padded.padding) == (b"ab", bytes(10))


@given(st.binary(max_size=70))
def test_beacons_are_told_by_their_first_four_bytes(data):
    assert is_udp_beacon(data) == data.startswith(b"\xff\xff\xff\xfc")
    assert is_udp_beacon(b"\xff\xff\xff\xfc" + data)


def test_the_password_stays_out_of_repr():
    beacon = Beacon(21, PASSWORD, KEY)
    for value in (beacon, UdpBeacon(9000, beacon)):
        assert repr(PASSWORD) not in repr(value)
        assert "password" not in repr(value)
        assert repr(KEY) in repr(value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Beacon(21, bytes(19), KEY),
        lambda: Beacon(21, PASSWORD, bytes(31)),
        lambda: Beacon(1 << 32, PASSWORD, KEY),
        lambda: Beacon("21", PASSWORD, KEY),
        lambda: UdpBeacon(65536, Beacon(21, PASSWORD, KEY)),
        lambda: UdpBeacon(9000, bytes(56)),
        lambda: EthernetPayload("text"),
        lambda: EthernetPayload(bytes(65530)),
        lambda: EthernetPayload(b"", zero=256),
        lambda: EthernetFrame(bytes(5), bytes(6), EthernetPayload(b"")),
        lambda: EthernetFrame(bytes(6), bytes(6), b""),
        lambda: Beacon.decode("text"),
        lambda: UdpBeacon.decode(None),
        lambda: EthernetPayload.decode(5),
        lambda: EthernetFrame.decode("text"),
        lambda: is_udp_beacon("text"),
    ],
)
def test_misuse(make):
    with pytest.raises(CjdnsMisuseError):
        make()


def test_the_longest_content():
    longest = EthernetPayload(bytes(65529))
    assert longest.encode()[2:4] == b"\xff\xff"
    assert EthernetPayload.decode(longest.encode()) == longest
