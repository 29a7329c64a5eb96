# SPDX-License-Identifier: Apache-2.0
"""The demo's capture: what is shipped, how it is read, and broken files."""

from __future__ import annotations

import ipaddress
import struct
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.cjdns.ipv6 import upper_layer_checksum_holds
from prestocloud_sec.demo.capture import (
    CAPTURE_EDGE,
    CAPTURE_GATEWAY,
    conversation,
    make_conversation,
    read_pcap,
    readdress,
)
from prestocloud_sec.errors import InputError, TruncatedError


def shipped() -> bytes:
    return (resources.files("prestocloud_sec.demo") / "data" / "conversation.pcap").read_bytes()


def test_the_shipped_file_is_what_its_maker_makes():
    assert shipped() == make_conversation()


def test_every_packet_is_between_the_two_and_its_checksum_holds():
    packets = conversation()
    assert len(packets) > 60
    for packet in packets:
        ends = {packet.data[8:24], packet.data[24:40]}
        assert ends == {CAPTURE_EDGE, CAPTURE_GATEWAY}
        assert upper_layer_checksum_holds(packet.data[8:24], packet.data[24:40], packet.next_header, packet.data[40:])


def test_readdress_changes_addresses_and_keeps_checksums_right():
    source, destination = (ipaddress.IPv6Address(text).packed for text in ("fc00::1", "fc00::2"))
    for packet in conversation():
        changed = readdress(packet.data, source, destination)
        assert (changed[8:24], changed[24:40]) == (source, destination)
        assert upper_layer_checksum_holds(source, destination, packet.next_header, changed[40:])


def raw_pcap(order: str, magic: int, link_type: int, *frames: bytes) -> bytes:
    file = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 65535, link_type)
    return file + b"".join(struct.pack(f"{order}IIII", 1, 5, len(f), len(f)) + f for f in frames)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "seconds"), [(0xA1B2C3D4, 1.000005), (0xA1B23C4D, 1.000000005)])
def test_both_byte_orders_and_resolutions(order: str, magic: int, seconds: float):
    packet = conversation()[0].data
    (read,) = read_pcap(raw_pcap(order, magic, 101, packet))
    assert read.data == packet
    assert read.time == pytest.approx(seconds, abs=1e-12)


def test_what_is_not_ipv6_is_left_out():
    ipv4 = b"\0" * 12 + b"\x08\x00" + b"\x45" + b"\0" * 60
    assert list(read_pcap(raw_pcap("<", 0xA1B2C3D4, 1, ipv4))) == []


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", TruncatedError),
        (b"\0" * 24, InputError),
        (raw_pcap("<", 0xA1B2C3D4, 105), InputError),
        (raw_pcap("<", 0xA1B2C3D4, 1) + b"\0" * 3, TruncatedError),
        (raw_pcap("<", 0xA1B2C3D4, 1) + struct.pack("<IIII", 0, 0, 9, 9), TruncatedError),
        (raw_pcap("<", 0xA1B2C3D4, 1) + struct.pack("<IIII", 0, 0, 1 << 31, 0), InputError),
    ],
)
def test_broken_files_are_refused_by_type(data: bytes, kind: type[InputError]):
    with pytest.raises(kind):
        list(read_pcap(data))


@given(st.binary(max_size=300), st.integers(0, 400))
def test_any_bytes_give_packets_or_a_typed_error(noise: bytes, cut: int):
    for data in (noise, shipped()[:24] + noise, shipped()[:cut]):
        try:
            packets = list(read_pcap(data))
        except InputError:
            continue
        assert all(len(packet.data) >= 40 for packet in packets)
