# SPDX-License-Identifier: Apache-2.0
"""Packets taken apart for people: every byte is shown once, whatever the bytes are."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.cjdns.errors import CjdnsMisuseError, HeaderError
from prestocloud_sec.cjdns.headers import DataHeader, SwitchHeader
from prestocloud_sec.cjdns.layers import Layers, decode_layers, packet_kind
from prestocloud_sec.testing.headers import (
    control_frames,
    data_headers,
    ethernet_frames,
    ipv6_packets,
    switch_headers,
    udp_beacons,
)

RUN = b"\0\0\0\x09" + bytes(16)
HELLO = bytes(120)


def names(layers: Layers) -> list[str]:
    return [layer.name for layer in layers]


def texts(layers: Layers, name: str) -> dict[str, str]:
    layer = layers.find(name)
    assert layer is not None
    return {f.name: f.text for f in layer.fields}


def assert_covers(layers: Layers, buffers: dict[str, bytes]) -> None:
    """Layers of a buffer follow each other without a gap, and so do the fields of a layer."""
    for name, data in buffers.items():
        at = 0
        for layer in (layer for layer in layers if layer.buffer == name):
            assert layer.offset == at
            at += layer.size
            bit = 8 * layer.offset
            for f in layer.fields:
                assert 8 * f.offset + f.bit == bit
                bit += f.bits
            if not layer.problem:
                assert bit == 8 * at
        assert at == len(data)


@given(switch_headers(), control_frames())
def test_a_control_frame(header, frame):
    outer = header.encode() + b"\xff" * 4 + frame.encode()
    layers = decode_layers(RUN + b"sealed", outer=outer)
    kind = f"control {type(frame).__name__}"
    assert names(layers) == ["outer CryptoAuth, data", "sealed", "switch header", "control mark", kind]
    assert layers[2].value == header
    assert layers[4].value == frame
    assert_covers(layers, {"datagram": RUN + b"sealed", "outer plaintext": outer})
    assert texts(layers, kind)["checksum"] == frame.encode()[:2].hex()


@given(switch_headers(), data_headers(), st.integers(4, 0xFFFFFFFE), st.binary(max_size=60))
def test_a_data_packet(header, data, handle, payload):
    outer = header.encode() + handle.to_bytes(4, "big") + RUN + b"x"
    inner = data.encode() + payload
    layers = decode_layers(outer=outer, inner=inner)
    assert names(layers)[:4] == ["switch header", "session handle", "inner CryptoAuth, data", "sealed"]
    assert texts(layers, "session handle") == {"handle": str(handle)}
    found = layers.find("data header")
    assert found is not None
    assert found.value == data
    assert_covers(layers, {"outer plaintext": outer, "inner plaintext": inner})


@pytest.mark.parametrize("state", range(4))
def test_an_inner_handshake_offers_a_handle(state):
    outer = SwitchHeader(0x13).encode() + state.to_bytes(4, "big") + bytes(116) + b"sealed"
    inner = (40157).to_bytes(4, "big") + DataHeader(256).encode() + b"d1:q2:pne"
    layers = decode_layers(outer=outer, inner=inner)
    kind = ["hello", "repeat hello", "key", "repeat key"][state]
    assert names(layers) == [
        "switch header",
        f"inner CryptoAuth, {kind}",
        "sealed",
        "offered handle",
        "data header",
        "payload, CJDHT",
    ]
    assert texts(layers, "offered handle") == {"handle": "40157"}
    assert texts(layers, "payload, CJDHT") == {"bytes": "d1:q2:pne"}
    assert_covers(layers, {"outer plaintext": outer, "inner plaintext": inner})
    alone = decode_layers(inner=inner, inner_handshake=True)
    assert alone.layers == layers.layers[3:]
    assert decode_layers(inner=inner)[0].name == "data header"


@given(udp_beacons(max_more=4))
def test_a_udp_beacon(beacon):
    raw = beacon.encode()
    layers = decode_layers(raw)
    assert names(layers) == ["UDP beacon", "beacon"]
    assert (layers[0].value, layers[1].value) == (beacon, beacon.beacon)
    assert_covers(layers, {"datagram": raw})


@given(ethernet_frames(max_content=140))
def test_an_ethernet_frame(frame):
    raw = frame.encode()
    layers = decode_layers(raw, link="ethernet")
    assert names(layers)[:2] == ["Ethernet", "cjdns over Ethernet"]
    assert (layers[0].value, layers[1].value) == (frame, frame.payload)
    end = ["padding"] if frame.payload.padding else []
    assert [n for n in names(layers) if n == "padding"] == end
    assert_covers(layers, {"datagram": raw})


def test_an_ethernet_beacon():
    frame = bytes.fromhex(
        "ffffffffffff3aeeab576451fc000000003efc00000000150d30219f32565f8c282ab77187d3efa08f31b23d"
        "710a0948b293008d2562523ac4b7b5d6d1814f376767ba931e6a12a04203ea0c"
    )
    layers = decode_layers(frame, link="ethernet")
    assert names(layers) == ["Ethernet", "cjdns over Ethernet", "beacon"]
    assert texts(layers, "Ethernet")["source"] == "3a:ee:ab:57:64:51"
    assert texts(layers, "beacon")["version"] == "21"


@pytest.mark.parametrize(
    ("content_type", "payload", "expected"),
    [
        (6, "c001005000000001000000025002ffff00000000", {"TCP": {"source_port": "49153", "destination_port": "80"}}),
        (17, "c00016330009abcd41", {"UDP": {"source_port": "49152", "length": "9", "checksum": "43981"}}),
        (58, "80004be42b3b0001", {"ICMPv6": {"type": "128", "code": "0"}}),
        (17, "c0001633", {"payload, UDP": {"bytes": "...3"}}),
        (99, "00", {"payload, IPv6 next header 99": {}}),
    ],
)
def test_the_beginning_of_payloads(content_type, payload, expected):
    inner = DataHeader(content_type).encode() + bytes.fromhex(payload)
    layers = decode_layers(inner=inner)
    for name, fields in expected.items():
        assert fields.items() <= texts(layers, name).items()
    assert_covers(layers, {"inner plaintext": inner})


@given(ipv6_packets())
def test_a_tunnelled_packet_shows_its_header(packet):
    inner = DataHeader(257).encode() + packet
    layers = decode_layers(inner=inner)
    assert layers[1].name == "IPv6"
    assert layers[1].value.encode() == packet[:40]
    assert_covers(layers, {"inner plaintext": inner})


BYTES = st.none() | st.binary(max_size=200) | st.binary(max_size=80).map(lambda b: bytes(15) + b)


@given(BYTES, BYTES, BYTES, st.booleans(), st.sampled_from(["udp", "ethernet"]))
def test_any_bytes_give_layers_that_cover_them(datagram, outer, inner, handshake, link):
    layers = decode_layers(datagram, outer=outer, inner=inner, inner_handshake=handshake, link=link)
    given_buffers = {"datagram": datagram, "outer plaintext": outer, "inner plaintext": inner}
    assert_covers(layers, {name: data for name, data in given_buffers.items() if data is not None})
    assert len(layers) == len(list(layers)) == len(layers.as_list())
    assert json.loads(json.dumps(layers.as_list())) == layers.as_list()
    for layer in layers:
        assert layer.name in str(layers)
        assert bool(layer.problem) == (layer.problem in str(layers) and layer.problem != "")
    html = layers._repr_html_()
    assert html.startswith("<table>")
    assert html.count("<tr>") == sum(1 + len(layer.fields) + bool(layer.problem) for layer in layers)


def test_a_problem_says_what_and_where():
    layers = decode_layers(bytes(30), outer=bytes(5))
    assert names(layers) == ["outer CryptoAuth, hello", "switch header"]
    assert "30 bytes; expected 120" in layers[0].problem
    assert "5 bytes; expected 12" in layers[1].problem
    assert "! SwitchHeader (offset 0): 5 bytes; expected 12" in str(layers)


def test_html_is_escaped():
    html = decode_layers(inner=DataHeader(256).encode() + b"<script>&")._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;&amp;" in html


def test_long_payloads_are_shown_in_part():
    text = texts(decode_layers(inner=DataHeader(256).encode() + b"a" * 5000), "payload, CJDHT")["bytes"]
    assert text == "a" * 72 + "... (5000 bytes)"


@pytest.mark.parametrize(
    ("first", "kind"),
    [(0, "hello"), (1, "repeat hello"), (2, "key"), (3, "repeat key"), (4, "data"), (0xFFFFFFFF, "data")],
)
def test_kind_by_the_first_four_bytes(first, kind):
    assert packet_kind(first.to_bytes(4, "big")) == kind
    assert packet_kind(first.to_bytes(4, "big") + bytes(200)) == kind


@given(st.integers(4, 2**32 - 1))
def test_every_number_above_three_is_data(first):
    assert packet_kind(first.to_bytes(4, "big")) == "data"


def test_misuse():
    with pytest.raises(HeaderError, match="at least 4"):
        packet_kind(b"\0\0\0")
    for call in (
        lambda: packet_kind("text"),
        lambda: decode_layers("text"),
        lambda: decode_layers(outer=5),
        lambda: decode_layers(inner=object()),
        lambda: decode_layers(link="token ring"),
        lambda: decode_layers(bytes(20))[7],
        lambda: decode_layers(bytes(20))["sealed"],
    ):
        with pytest.raises(CjdnsMisuseError):
            call()
    assert decode_layers().find("sealed") is None
