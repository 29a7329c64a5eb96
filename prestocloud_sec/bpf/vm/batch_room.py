# SPDX-License-Identifier: Apache-2.0
"""What a batch looks at before it asks for memory: where an arena's packets lie, and how much their copies take.

An arena's arrays can be changed after it was made, and its packets may overlap, so that copies of all take far more
than the arena itself. A kernel looks at each packet again; this is for those who copy.
"""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.bpf.vm.packet import LARGEST

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from prestocloud_sec.arena import PacketArena

__all__ = ["copies_of", "outside", "room"]


@cache
def _most() -> int:
    """Return the bytes of memory that this machine has."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def outside(index: int) -> BpfMisuseError:
    """Return the error for a packet that does not lie within the arena's buffer."""
    return BpfMisuseError(
        f"packet {index} lies outside the buffer", where="run_batch", hint="do not change an arena meanwhile"
    )


def copies_of(arena: PacketArena) -> tuple[int, int]:
    """Return the bytes of all packets, and those of the longest, for who copies each.

    Raises
    ------
    BpfMisuseError
        If a packet does not lie within the buffer, is longer than `LARGEST`, or all of them together are more than the
        machine's memory.
    """
    offsets, lengths, size = arena.offsets, arena.lengths, len(arena.buffer)
    if not len(lengths):
        return 0, 0
    longest = int(lengths.max())
    if int(offsets.min()) < 0 or int(lengths.min()) < 0 or bool((lengths > size - offsets).any()):
        wrong = (offsets < 0) | (lengths < 0) | (offsets > size) | (lengths > size - offsets)
        raise outside(int(wrong.argmax()))
    if longest > LARGEST:
        index = int(lengths.argmax())
        raise BpfMisuseError(
            f"packet {index} has {longest} bytes", where="run_batch", expected=f"at most {LARGEST}, where it is copied"
        )
    total = int(lengths.sum())  # does not overflow: at most 2**24 bytes each
    _check(total)
    return total, longest


def room(size: int) -> NDArray[np.uint8]:
    """Return memory for `size` bytes of packets.

    Raises
    ------
    BpfMisuseError
        If there is none.
    """
    _check(size)
    try:
        return np.empty(size, np.uint8)
    except MemoryError as error:
        raise _too_much(size) from error


def _check(size: int) -> None:
    if size > _most():
        raise _too_much(size)


def _too_much(size: int) -> BpfMisuseError:
    return BpfMisuseError(
        f"a copy of each packet takes {size} bytes",
        where="run_batch",
        expected="what fits into memory",
        hint="run the arena in parts, or a program that only reads",
    )
