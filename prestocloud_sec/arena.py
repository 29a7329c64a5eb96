# SPDX-License-Identifier: Apache-2.0
"""Many packets in one numpy buffer: what batch operations take and return.

A `PacketArena` is one byte buffer and, for each packet, where it starts and how long it is. Kernels walk over it
without making a Python object for a packet; slices handed to Python are views.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from prestocloud_sec.errors import MisuseError
from prestocloud_sec.wire import items_of, view_of, whole

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["PacketArena"]

_MOST = 1 << 48
"""Bytes, or packets: more than any machine has room for, and so few that three sizes added do not overflow."""


@dataclass(frozen=True, slots=True, eq=False)
class PacketArena:
    """A batch of packets in one buffer.

    Attributes
    ----------
    buffer : ndarray of uint8, shape (n,), C-contiguous
        The bytes of all packets, with whatever room lies between them.
    offsets : ndarray of int64, shape (k,)
        First byte of each packet in `buffer`.
    lengths : ndarray of int64, shape (k,)
        Number of bytes of each packet.

    Raises
    ------
    MisuseError
        If a shape or dtype is wrong, or a packet does not lie within the buffer.

    Examples
    --------
    >>> arena = PacketArena.pack([b"ab", b"cde"])
    >>> len(arena), bytes(arena[1])
    (2, b'cde')
    """

    buffer: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    lengths: NDArray[np.int64]

    def __post_init__(self) -> None:
        buffer, offsets, lengths = self.buffer, self.offsets, self.lengths
        for name, array, dtype in (
            ("buffer", buffer, np.uint8),
            ("offsets", offsets, np.int64),
            ("lengths", lengths, np.int64),
        ):
            if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != 1:
                raise MisuseError(
                    "wrong array", where=f"PacketArena.{name}", expected=f"one dimension of {dtype.__name__}"
                )
            if not array.flags.c_contiguous:
                raise MisuseError("not contiguous", where=f"PacketArena.{name}", expected="a C-contiguous array")
        if len(offsets) != len(lengths):
            raise MisuseError(f"{len(offsets)} offsets but {len(lengths)} lengths", where="PacketArena")
        # Written so that no addition can wrap: an offset near 2**63 is refused, not folded back into the buffer.
        if len(offsets) and (
            int(offsets.min()) < 0
            or int(lengths.min()) < 0
            or int(offsets.max()) > len(buffer)
            or bool((lengths > len(buffer) - offsets).any())
        ):
            raise MisuseError("a packet lies outside the buffer", where="PacketArena", expected=f"0 to {len(buffer)}")

    @classmethod
    def pack(cls, packets: Iterable[BytesLike], *, headroom: int = 0, tailroom: int = 0) -> PacketArena:
        """Copy packets one after another into a new buffer, leaving room around each (in bytes)."""
        before = _size(headroom, "headroom")
        room = before + _size(tailroom, "tailroom")
        views = [view_of(p, name="packet") for p in items_of(packets, "PacketArena.pack", "packets")]
        lengths = np.fromiter((len(v) for v in views), dtype=np.int64, count=len(views))
        slots = lengths + room
        ends = np.cumsum(slots, dtype=np.int64)
        offsets = ends - slots + before
        buffer = _zeros(sum(map(len, views)) + room * len(views))
        flat = buffer.data
        for start, view in zip(offsets.tolist(), views, strict=True):
            flat[start : start + len(view)] = view
        return cls(buffer, offsets, lengths)

    @classmethod
    def uniform(cls, count: int, length: int, *, headroom: int = 0, tailroom: int = 0) -> PacketArena:
        """Make `count` zeroed packets of `length` bytes each, with room around each."""
        count, length = _size(count, "count"), _size(length, "length")
        before = _size(headroom, "headroom")
        slot = before + length + _size(tailroom, "tailroom")
        try:
            offsets = np.arange(count, dtype=np.int64)
        except (MemoryError, ValueError) as error:
            raise _too_large(f"{count} packets") from error
        buffer = _zeros(count * slot)
        return cls(buffer, offsets * slot + before, np.full(count, length, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.offsets)

    def __getitem__(self, index: int) -> memoryview:
        """Return packet `index` as a view of the buffer."""
        count = len(self.offsets)
        if type(index) is not int or not -count <= index < count:
            index = whole(index, "PacketArena index", -count, count - 1)
        start = int(self.offsets[index])
        return self.buffer.data[start : start + int(self.lengths[index])]

    def __iter__(self) -> Iterator[memoryview]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        total = int(self.lengths.sum())
        return f"PacketArena({len(self)} packets, {total} bytes in a buffer of {len(self.buffer)})"


def _size(value: object, name: str) -> int:
    return whole(value, f"PacketArena {name}", 0, _MOST)


def _zeros(size: int) -> NDArray[np.uint8]:
    try:
        return np.zeros(size, dtype=np.uint8)
    except (MemoryError, ValueError, OverflowError) as error:
        raise _too_large(f"{size} bytes") from error


def _too_large(what: str) -> MisuseError:
    return MisuseError(what, where="PacketArena", expected="what fits into memory")


class _Unchecked:
    """Has the memory layout of a `PacketArena`, but can be filled."""

    __slots__ = ("buffer", "lengths", "offsets")


def trusted_arena(buffer: NDArray[np.uint8], offsets: NDArray[np.int64], lengths: NDArray[np.int64]) -> PacketArena:
    """Make an arena without the checks, from arrays that a kernel has just made and checked itself.

    The checks take longer than a kernel needs for a dozen small packets. Nothing from outside may come this way.
    """
    arena: Any = _Unchecked()
    arena.buffer = buffer
    arena.offsets = offsets
    arena.lengths = lengths
    arena.__class__ = PacketArena
    return cast("PacketArena", arena)
