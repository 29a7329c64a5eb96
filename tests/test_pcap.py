# SPDX-License-Identifier: Apache-2.0
"""Pcap files: both byte orders and resolutions, exact both ways, and whatever else a file may hold."""

from __future__ import annotations

import contextlib
import copy
import struct
from importlib import resources
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.arena import PacketArena
from prestocloud_sec.bpf.classic import assemble
from prestocloud_sec.errors import InputError, MisuseError, TruncatedError
from prestocloud_sec.pcap import LONGEST, RAW_IP, Capture

ORDERS = st.sampled_from("<>")
MAGICS = st.sampled_from([0xA1B2C3D4, 0xA1B23C4D])
U32 = st.integers(0, (1 << 32) - 1)


def shipped() -> bytes:
    return (resources.files("prestocloud_sec.demo") / "data" / "conversation.pcap").read_bytes()


def header(order: str = "<", magic: int = 0xA1B2C3D4, link: int = 1) -> bytes:
    return struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 65535, link)


def record(order: str, seconds: int, fraction: int, on_the_wire: int, data: bytes) -> bytes:
    return struct.pack(f"{order}IIII", seconds, fraction, len(data), on_the_wire) + data


@given(ORDERS, MAGICS, U32, st.lists(st.tuples(U32, U32, U32, st.binary(max_size=40)), max_size=5))
def test_every_field_of_every_form(order: str, magic: int, link: int, rows: list[tuple[int, int, int, bytes]]) -> None:
    data = header(order, magic, link) + b"".join(record(order, *row) for row in rows)
    capture = Capture(data)
    unit = 1000 if magic == 0xA1B2C3D4 else 1
    assert capture.data == data
    assert capture.link_type == link & 0x0FFFFFFF
    assert [bytes(packet) for packet in capture.packets] == [row[3] for row in rows]
    assert capture.times.tolist() == [seconds * 10**9 + fraction * unit for seconds, fraction, _, _ in rows]
    assert capture.lengths.tolist() == [row[2] for row in rows]
    assert len(capture) == len(rows)
    assert str(len(rows)) in repr(capture)


@given(st.lists(st.binary(max_size=30), max_size=6), st.data())
def test_what_is_packed_is_read_again(packets: list[bytes], data: st.DataObject) -> None:
    moments = data.draw(st.lists(st.integers(0, (1 << 32) * 10**9 - 1), min_size=len(packets), max_size=len(packets)))
    capture = Capture.pack(PacketArena.pack(packets), times=moments, link_type=RAW_IP)
    assert [bytes(packet) for packet in capture.packets] == packets
    assert capture.times.tolist() == moments
    assert capture.lengths.tolist() == capture.packets.lengths.tolist()
    assert capture.link_type == RAW_IP
    assert Capture(bytearray(capture.data)) == capture
    assert copy.deepcopy(capture) == capture
    keep = np.array(data.draw(st.lists(st.booleans(), min_size=len(packets), max_size=len(packets))), np.bool_)
    chosen = capture.select(keep)
    kept = [index for index, yes in enumerate(keep) if yes]
    assert chosen == Capture.pack([packets[i] for i in kept], times=[moments[i] for i in kept], link_type=RAW_IP)


def test_a_filter_selects_the_shipped_capture() -> None:
    capture = Capture(shipped())
    assert repr(capture) == "<Capture: 87 packets of Ethernet in 0.086 s>"
    coap = assemble(
        "ldb [20]\njne #17, drop\nldh [54]\njeq #5683, keep\nldh [56]\njeq #5683, keep\ndrop: ret #0\nkeep: ret #-1"
    )
    kept = capture.select(coap.run_batch(capture.packets).values != 0)
    assert len(kept) == 40
    assert all(bytes(packet[20:21]) == b"\x11" for packet in kept.packets)
    assert capture.select(np.ones(87, np.bool_)) == capture
    assert len(capture.select(np.zeros(87, np.bool_))) == 0


def test_a_change_of_the_callers_bytes_changes_nothing() -> None:
    data = bytearray(header() + record("<", 1, 2, 3, b"abc"))
    capture = Capture(data)  # type: ignore[arg-type]
    data[-3:] = b"xyz"
    assert bytes(capture.packets[0]) == b"abc"


@pytest.mark.parametrize(
    ("data", "kind", "words"),
    [
        (b"", TruncatedError, "24 bytes"),
        (header()[:23], TruncatedError, "24 bytes"),
        (bytes(24), InputError, "magic"),
        (struct.pack("<II", 0x0A0D0D0A, 28) + bytes(20), InputError, "pcapng file; editcap"),
        (header() + bytes(15), TruncatedError, "offset 24"),
        (header() + struct.pack("<IIII", 0, 0, 9, 9) + bytes(8), TruncatedError, "offset 40"),
        (header() + struct.pack("<IIII", 0, 0, LONGEST + 1, 9), InputError, "offset 32"),
        (header() + struct.pack("<IIII", 0, 0, (1 << 32) - 1, 9), InputError, "4294967295"),
    ],
)
def test_broken_files(data: bytes, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        Capture(data)


@given(st.binary(max_size=80) | st.binary(max_size=60).map(lambda tail: header() + tail))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(InputError):
        assert Capture(data).data == data


@pytest.mark.parametrize(
    "call",
    [
        lambda: Capture("text"),  # type: ignore[arg-type]
        lambda: Capture.pack(5),  # type: ignore[arg-type]
        lambda: Capture.pack(["text"]),  # type: ignore[list-item]
        lambda: Capture.pack([b"x"], times=[]),
        lambda: Capture.pack([b"x"], times=[-1]),
        lambda: Capture.pack([b"x"], times=[(1 << 32) * 10**9]),
        lambda: Capture.pack([b"x"], times=[0.5]),  # type: ignore[list-item]
        lambda: Capture.pack([b"x"], link_type=1 << 28),
        lambda: Capture.pack([bytes(LONGEST + 1)]),
        lambda: Capture(shipped()).select([True]),
        lambda: Capture(shipped()).select(np.ones(86, np.bool_)),
        lambda: Capture(shipped()).select(np.ones(87, np.uint8)),
    ],
)
def test_misuse(call: Any) -> None:
    with pytest.raises(MisuseError):
        call()
