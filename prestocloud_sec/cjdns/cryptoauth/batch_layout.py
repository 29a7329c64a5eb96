# SPDX-License-Identifier: Apache-2.0
"""Whether the results of a batch fit where they shall be written, and what is said if not.

The compiled kernels check the same in the pass before they write, and report it by the numbers below; `check_layout` is
their readable twin, and does it for packets that go one by one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from prestocloud_sec.arena import PacketArena
from prestocloud_sec.cjdns.errors import CjdnsMisuseError

__all__ = [
    "NEED",
    "NO_ROOM",
    "OUTSIDE",
    "OVERLAP",
    "OutsideError",
    "check_layout",
    "check_output",
    "not_an_arena",
    "refusal",
    "same_memory",
]

OUTSIDE, OVERLAP, NO_ROOM, NEED = -1, -2, -3, -4
"""What a kernel refuses; `NEED` - n says that the output buffer must have n bytes.

The kernels are compiled with these numbers; what is kept on disk is renewed when *their* file changes, not this one.
"""


class OutsideError(CjdnsMisuseError):
    """A packet does not lie in its buffer: the arrays were changed after the arena was made, perhaps by the results."""


def check_output(out: PacketArena, count: int) -> None:
    """Check that `out` is an arena of `count` packets that can be written to."""
    if not isinstance(out, PacketArena):
        raise not_an_arena("out", out)
    if len(out.offsets) != count:
        raise CjdnsMisuseError(f"{len(out.offsets)} packets", where="out", expected=f"{count}, as in the batch")
    if not (out.buffer.flags.writeable and out.offsets.flags.writeable and out.lengths.flags.writeable):
        raise CjdnsMisuseError("a read-only array", where="out", expected="three arrays to write to")


def same_memory(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> bool:
    """Return whether two buffers are the same bytes, so that work is done in place."""
    return a is b or (len(a) == len(b) and bool(a.ctypes.data == b.ctypes.data))


def check_layout(arena: PacketArena, target: NDArray[np.uint8], grow: int) -> None:
    """Check that all results fit; the readable twin of the kernels' check.

    Parameters
    ----------
    arena : PacketArena
        The packets.
    target : ndarray of uint8
        Where results go.
    grow : int
        How many bytes longer than its packet a result is at most (negative: shorter at least).
    """
    inside = (arena.offsets >= 0) & (arena.lengths >= 0) & (arena.offsets <= len(arena.buffer))
    if not (inside & (arena.lengths <= len(arena.buffer) - arena.offsets)).all():
        raise refusal(OUTSIDE)
    if same_memory(arena.buffer, target):
        ends = arena.offsets + arena.lengths
        before = np.concatenate((np.zeros(min(len(ends), 1), np.int64), ends[:-1]))
        if (arena.offsets - max(grow, 0) < before).any():
            raise refusal(NO_ROOM)
        return
    if np.may_share_memory(arena.buffer, target):
        raise refusal(OVERLAP)
    need = int(np.maximum(arena.lengths + grow, 0).sum())
    if need > len(target):
        raise refusal(NEED - need)


def refusal(code: int) -> CjdnsMisuseError:
    """Say what a kernel, or `check_layout`, refused."""
    if code <= NEED:
        return CjdnsMisuseError("too little room", where="out.buffer", expected=f"{NEED - code} bytes")
    if code == OUTSIDE:
        return OutsideError(
            "a packet lies outside the buffer", where="arena", expected="arrays that nobody changes meanwhile"
        )
    what, expected = {
        OVERLAP: ("shares memory with the packets' buffer", "memory of its own, or the same arena to work in place"),
        NO_ROOM: (
            "in place, packets overlap, do not ascend, or leave no room for a header",
            "ascending packets with headroom",
        ),
    }[code]
    return CjdnsMisuseError(what, where="out.buffer", expected=expected)


def not_an_arena(name: str, value: object) -> CjdnsMisuseError:
    """Say that an argument is no batch."""
    return CjdnsMisuseError(
        f"{type(value).__name__}", where=name, expected="a PacketArena", hint="PacketArena.pack(packets)"
    )
