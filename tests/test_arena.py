# SPDX-License-Identifier: Apache-2.0
"""Arenas hold packets as given, and refuse any that reaches outside the buffer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.arena import PacketArena
from prestocloud_sec.errors import MisuseError
from prestocloud_sec.testing.ground import arenas, packets

rooms = st.integers(0, 16)


@given(packets(), rooms, rooms)
def test_packing_keeps_the_packets_and_the_room(contents: list[bytes], head: int, tail: int) -> None:
    arena = PacketArena.pack(contents, headroom=head, tailroom=tail)
    assert [bytes(p) for p in arena] == contents
    assert [bytes(arena[i - len(contents)]) for i in range(len(contents))] == contents
    assert len(arena.buffer) == sum(len(p) + head + tail for p in contents)
    last = 0
    for start, length in zip(arena.offsets.tolist(), arena.lengths.tolist(), strict=True):
        assert start - last == head
        last = start + length + tail


@given(st.integers(0, 20), st.integers(0, 50), rooms, rooms)
def test_uniform_arenas(count: int, length: int, head: int, tail: int) -> None:
    arena = PacketArena.uniform(count, length, headroom=head, tailroom=tail)
    assert [bytes(p) for p in arena] == [bytes(length)] * count
    assert len(arena.buffer) == count * (head + length + tail)


@given(arenas() | arenas(overlapping=True))
def test_packets_are_views(arena: PacketArena) -> None:
    for index, view in enumerate(arena):
        start, length = int(arena.offsets[index]), int(arena.lengths[index])
        assert bytes(view) == arena.buffer[start : start + length].tobytes()
        if length:
            view[0] ^= 0xFF
            assert arena.buffer[start] == view[0]
    for index in (len(arena), -len(arena) - 1):
        with pytest.raises(MisuseError):
            arena[index]
    assert str(len(arena)) in repr(arena)


edges = st.sampled_from([-(2**63), -1, 0, 1, 7, 8, 9, 2**31, 2**62, 2**63 - 9, 2**63 - 1]) | st.integers(-10, 10)


@given(st.lists(st.tuples(edges, edges), min_size=1, max_size=4))
def test_a_packet_outside_the_buffer_is_refused(spans: list[tuple[int, int]]) -> None:
    size = 8
    inside = all(start >= 0 and length >= 0 and start + length <= size for start, length in spans)
    offsets, lengths = (np.array(column, dtype=np.int64) for column in zip(*spans, strict=True))
    buffer = np.zeros(size, dtype=np.uint8)
    if inside:
        assert [len(p) for p in PacketArena(buffer, offsets, lengths)] == lengths.tolist()
    else:
        with pytest.raises(MisuseError):
            PacketArena(buffer, offsets, lengths)


BYTES, INTS = np.zeros(8, np.uint8), np.zeros(2, np.int64)


@pytest.mark.parametrize(
    "parts",
    [
        (bytes(8), INTS, INTS),
        (BYTES.astype(np.int8), INTS, INTS),
        (BYTES.reshape(2, 4), INTS, INTS),
        (np.zeros(16, np.uint8)[::2], INTS, INTS),
        (BYTES, INTS.astype(np.int32), INTS),
        (BYTES, INTS.astype(np.uint64), INTS),
        (BYTES, [0, 0], INTS),
        (BYTES, INTS, INTS[:1]),
        (BYTES, INTS, np.zeros(4, np.int64)[::2]),
    ],
)
def test_wrong_arrays_are_misuse(parts: tuple[Any, Any, Any]) -> None:
    with pytest.raises(MisuseError):
        PacketArena(*parts)


@pytest.mark.parametrize("name", ["headroom", "tailroom"])
def test_negative_room_is_misuse(name: str) -> None:
    with pytest.raises(MisuseError):
        PacketArena.pack([b"x"], **{name: -1})
    with pytest.raises(MisuseError):
        PacketArena.uniform(1, 1, **{name: -1})


def test_what_is_no_packet_is_misuse() -> None:
    with pytest.raises(MisuseError):
        PacketArena.pack(["text"])  # type: ignore[list-item]
    with pytest.raises(MisuseError):
        PacketArena.uniform(-1, 4)
