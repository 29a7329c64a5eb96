# SPDX-License-Identifier: Apache-2.0
"""Hypothesis strategies for the ground: bytes in every guise, sequences of binary fields, arenas of packets.

>>> from hypothesis import find
>>> find(fields(), lambda chosen: any(f.size == 2 for f in chosen))
[Field(size=2, value=0)]
"""

from __future__ import annotations

import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import strategies as st

from prestocloud_sec.arena import PacketArena

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["Field", "arenas", "buffers", "fields", "packets"]


@dataclass(frozen=True, slots=True)
class Field:
    """One big-endian unsigned integer.

    Attributes
    ----------
    size : int
        Width in bytes, 1 to 16.
    value : int
        What it holds; fits `size` bytes.
    """

    size: int
    value: int


def fields(*, max_size: int = 8) -> st.SearchStrategy[list[Field]]:
    """Return a strategy of lists of up to `max_size` integer fields, each 1 to 16 bytes wide."""
    one = st.integers(1, 16).flatmap(
        lambda size: st.builds(Field, size=st.just(size), value=st.integers(0, (1 << (8 * size)) - 1))
    )
    return st.lists(one, max_size=max_size)


def _guises(data: bytes) -> st.SearchStrategy[BytesLike]:
    return st.sampled_from(
        (
            data,
            bytearray(data),
            memoryview(data),
            memoryview(b"\x00" + data + b"\xff")[1:-1],
            array.array("B", data),
            np.frombuffer(data, dtype=np.uint8),
        )
    )


def buffers(*, min_size: int = 0, max_size: int = 64) -> st.SearchStrategy[BytesLike]:
    """Return a strategy of contiguous bytes-like objects of all kinds.

    ``bytes``, ``bytearray``, ``memoryview`` (whole, and of part of a buffer), ``array.array`` and numpy arrays of
    uint8, `min_size` to `max_size` bytes long.
    """
    return st.binary(min_size=min_size, max_size=max_size).flatmap(_guises)


def packets(*, max_count: int = 8, max_length: int = 64) -> st.SearchStrategy[list[bytes]]:
    """Return a strategy of up to `max_count` packets of up to `max_length` bytes, empty ones among them."""
    return st.lists(st.binary(max_size=max_length), max_size=max_count)


@st.composite
def arenas(draw: st.DrawFn, *, max_count: int = 8, max_length: int = 64, overlapping: bool = False) -> PacketArena:
    """Draw an arena of up to `max_count` packets of up to `max_length` bytes, in any order in the buffer.

    Parameters
    ----------
    draw : callable
        Given by Hypothesis.
    max_count, max_length : int
        Bounds on the number of packets and on the bytes of each.
    overlapping : bool
        Let packets share bytes, which an arena allows for reading; otherwise each packet has its own.
    """
    if overlapping:
        data = draw(st.binary(max_size=4 * max_length))
        spans = st.integers(0, len(data)).flatmap(
            lambda start: st.tuples(st.just(start), st.integers(0, min(max_length, len(data) - start)))
        )
        chosen = draw(st.lists(spans, max_size=max_count))
        offsets = np.array([start for start, _ in chosen], dtype=np.int64)
        lengths = np.array([length for _, length in chosen], dtype=np.int64)
        return PacketArena(np.frombuffer(data, dtype=np.uint8).copy(), offsets, lengths)
    contents = draw(packets(max_count=max_count, max_length=max_length))
    packed = PacketArena.pack(contents, headroom=draw(st.integers(0, 8)), tailroom=draw(st.integers(0, 8)))
    order = np.array(draw(st.permutations(range(len(packed)))), dtype=np.int64)
    return PacketArena(packed.buffer, packed.offsets[order], packed.lengths[order])
