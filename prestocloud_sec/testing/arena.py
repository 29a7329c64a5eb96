# SPDX-License-Identifier: Apache-2.0
"""Hypothesis strategies for batches: given packets laid out in a buffer in every way that an arena allows.

>>> from hypothesis import find
>>> arena = find(laid_out([b"ab", b"c"]), lambda arena: int(arena.offsets[0]) > int(arena.offsets[1]))
>>> [bytes(packet) for packet in arena]
[b'ab', b'c']
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from prestocloud_sec.arena import PacketArena

__all__ = ["empty_arena", "laid_out"]


@st.composite
def laid_out(
    draw: st.DrawFn, packets: Sequence[bytes], *, headroom: int = 0, ascending: bool = False, writable: bool = False
) -> PacketArena:
    """Draw an arena that holds `packets`.

    Parameters
    ----------
    draw : callable
        Given by Hypothesis.
    packets : sequence of bytes
        The contents, in this order.
    headroom : int
        Least number of bytes that are free before each packet.
    ascending : bool
        Keep the packets in order in the buffer, too; otherwise they lie in any order.
    writable : bool
        Give a buffer that can be written to; otherwise it may be read-only.
    """
    order = list(range(len(packets)))
    if not ascending:
        order = draw(st.permutations(order))
    gaps = draw(st.lists(st.integers(0, 9), min_size=len(packets) + 1, max_size=len(packets) + 1))
    offsets = np.zeros(len(packets), dtype=np.int64)
    parts, end = [], 0
    for gap, index in zip(gaps, order, strict=False):
        start = end + gap + headroom
        parts += [b"\xee" * (gap + headroom), packets[index]]
        offsets[index] = start
        end = start + len(packets[index])
    parts.append(b"\xee" * gaps[-1])
    buffer = np.frombuffer(b"".join(parts), dtype=np.uint8)
    if writable or draw(st.booleans()):
        buffer = buffer.copy()
    return PacketArena(buffer, offsets, np.array([len(packet) for packet in packets], dtype=np.int64))


def empty_arena(count: int, room: int) -> PacketArena:
    """Make an arena to write `count` packets of `room` bytes in all to; its bytes are 0xdd."""
    none = np.zeros(count, dtype=np.int64)
    return PacketArena(np.full(room, 0xDD, dtype=np.uint8), none, none.copy())
