# SPDX-License-Identifier: Apache-2.0
"""Switch, data and route headers against the C structures, and any bytes in place of them."""

from __future__ import annotations

import dataclasses
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.cjdns.errors import CjdnsError, CjdnsMisuseError, HeaderError
from prestocloud_sec.cjdns.headers import (
    TUN_MTU,
    ContentType,
    DataHeader,
    RouteFlags,
    RouteHeader,
    SwitchHeader,
    content_name,
    datagram_overhead,
    label_text,
)
from prestocloud_sec.testing.ground import buffers
from prestocloud_sec.testing.headers import data_headers, route_headers, switch_headers

KINDS = [(SwitchHeader, 12), (DataHeader, 4), (RouteHeader, 68)]


@pytest.mark.parametrize(("kind", "size"), KINDS)
def test_sizes(kind, size):
    assert kind.SIZE == kind.LAYOUT.size == size


@given(st.one_of(switch_headers(), data_headers(), route_headers()))
def test_decode_undoes_encode(header):
    raw = header.encode()
    assert len(raw) == header.SIZE
    assert type(header).decode(raw) == header


@pytest.mark.parametrize(("kind", "size"), KINDS)
@given(data=st.data())
def test_encode_undoes_decode_for_any_bytes_of_the_right_length(kind, size, data):
    raw = data.draw(st.binary(min_size=size, max_size=size))
    assert kind.decode(raw).encode() == raw


@pytest.mark.parametrize(("kind", "size"), KINDS)
@given(data=buffers(max_size=140))
def test_any_bytes_give_a_value_or_a_header_error(kind, size, data):
    length = memoryview(data).nbytes
    if length == size:
        kind.decode(data)
    else:
        with pytest.raises(HeaderError) as caught:
            kind.decode(data)
        assert kind.__name__ in str(caught.value)
        assert isinstance(caught.value, CjdnsError)


@given(switch_headers())
def test_switch_header_is_where_the_c_structure_has_it(header):
    label, eight, nine, traffic_class = struct.unpack(">QBBH", header.encode())
    assert label == header.label
    assert (eight >> 1, bool(eight & 1)) == (header.congestion, header.suppress_errors)
    assert (nine >> 6, nine & 63) == (header.version, header.label_shift)
    assert traffic_class == header.traffic_class


@given(data_headers())
def test_data_header_is_where_the_c_structure_has_it(header):
    zero, one, content_type = struct.unpack(">BBH", header.encode())
    assert (zero >> 4, zero & 15, one) == (header.version, header.flags, header.unused)
    assert content_type == header.content_type


@given(route_headers())
def test_route_header_is_where_the_c_structure_has_it(header):
    raw = header.encode()
    key, switch, version, flags, unused, ip6 = struct.unpack(">32s12sIB3s16s", raw)
    assert key == header.public_key
    assert switch == header.switch_header.encode()
    assert (version, flags, unused, ip6) == (header.version, header.flags, header.unused, header.ip6)


def test_a_fresh_header_is_what_nodes_send():
    assert SwitchHeader(0x13).encode().hex() == "00000000000000130040ffff"
    assert DataHeader(58).encode().hex() == "1000003a"


@pytest.mark.parametrize(("asked", "stored"), [(0, 1), (1, 1), (2, 2), (127, 127)])
def test_the_congestion_setter_never_stores_zero(asked, stored):
    before = SwitchHeader(0x13, 5, True, 0, 9, 7)
    assert before.with_congestion(asked) == dataclasses.replace(before, congestion=stored)


@given(switch_headers(), st.binary(max_size=20))
def test_split_takes_the_header_and_leaves_the_rest(header, rest):
    taken, left = SwitchHeader.split(header.encode() + rest)
    assert (taken, bytes(left)) == (header, rest)


@given(data_headers(canonical=True), st.binary(max_size=20))
def test_split_of_a_data_header(header, rest):
    taken, left = DataHeader.split(header.encode() + rest)
    assert (taken, bytes(left)) == (header, rest)


@pytest.mark.parametrize("split", [SwitchHeader.split, DataHeader.split])
def test_split_of_too_little(split):
    with pytest.raises(HeaderError, match="3 bytes"):
        split(bytes(3))
    with pytest.raises(CjdnsMisuseError):
        split("text")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("label", -1),
        ("label", 1 << 64),
        ("label", "0000.0000.0000.0013"),
        ("label", None),
        ("label", 1.0),
        ("congestion", 128),
        ("suppress_errors", 2),
        ("suppress_errors", "yes"),
        ("version", 4),
        ("label_shift", 64),
        ("traffic_class", 1 << 16),
    ],
)
def test_a_value_that_does_not_fit_is_misuse_and_names_the_field(field, value):
    with pytest.raises(CjdnsMisuseError, match=f"SwitchHeader.{field}"):
        SwitchHeader(**{"label": 1, field: value})


@pytest.mark.parametrize(
    "change",
    [
        {"public_key": bytes(31)},
        {"public_key": "k" * 32},
        {"switch_header": bytes(12)},
        {"version": 1 << 32},
        {"flags": 256},
        {"ip6": bytes(17)},
        {"unused": b""},
    ],
)
def test_route_header_misuse(change):
    good = {
        "public_key": bytes(32),
        "switch_header": SwitchHeader(1),
        "version": 21,
        "flags": RouteFlags(0),
        "ip6": bytes(16),
    }
    with pytest.raises(CjdnsMisuseError, match=f"RouteHeader.{next(iter(change))}"):
        RouteHeader(**{**good, **change})


@pytest.mark.parametrize("kind", [SwitchHeader, DataHeader, RouteHeader])
@pytest.mark.parametrize("wrong", ["text", 12, None, object()])
def test_decode_of_other_types_is_misuse(kind, wrong):
    with pytest.raises(CjdnsMisuseError):
        kind.decode(wrong)


def test_values_are_frozen_hashable_and_hold_bytes():
    header = RouteHeader(bytearray(32), SwitchHeader(1), 21, 1, memoryview(bytes(16)))
    assert type(header.public_key) is type(header.ip6) is bytes
    assert header.flags is RouteFlags.INCOMING
    assert hash(header) == hash(RouteHeader(bytes(32), SwitchHeader(1), 21, RouteFlags.INCOMING, bytes(16)))
    with pytest.raises(dataclasses.FrozenInstanceError):
        header.version = 20
    with pytest.raises(AttributeError):
        object.__setattr__(header, "other", 1)


def test_known_content_types_have_names_and_others_stay_numbers():
    assert DataHeader.decode(bytes.fromhex("10000100")).content_type is ContentType.CJDHT
    assert DataHeader.decode(bytes.fromhex("10008001")).content_type == 0x8001
    assert [content_name(n) for n in (58, 0, 143, 257, 258, 0x7FFF, 0x8000)] == [
        "ICMPV6",
        "HOP_BY_HOP",
        "IPv6 next header 143",
        "IPTUN",
        "reserved 0x0102",
        "reserved 0x7fff",
        "available 0x8000",
    ]


@given(st.integers(0, (1 << 64) - 1))
def test_label_text_is_the_number_in_four_groups(label):
    text = label_text(label)
    assert int(text.replace(".", ""), 16) == label
    assert [len(group) for group in text.split(".")] == [4, 4, 4, 4]


def test_overhead_of_a_datagram():
    # outer 20 or 120, switch header 12, handle 4, inner 20 or 120, data header 4
    assert datagram_overhead() == 20 + 12 + 4 + 20 + 4 == 60
    assert datagram_overhead(outer_handshake=True) == 160
    assert datagram_overhead(inner_handshake=True) == 160
    assert datagram_overhead(outer_handshake=True, inner_handshake=True) == 260
    assert TUN_MTU == 1304
