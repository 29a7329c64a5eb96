# SPDX-License-Identifier: Apache-2.0
"""The memory that a program can touch: regions of numpy buffers, found by address.

The region table (`prestocloud_sec.bpf.vm.layout`) is the one truth about what exists where; native engines read it, and
so does this class. A refused access raises `Trap`, which the engine that runs turns into a fault of the program.
"""

from __future__ import annotations

import ctypes
import html
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from prestocloud_sec.bpf.vm import layout
from prestocloud_sec.bpf.vm.fault import FaultKind
from prestocloud_sec.bpf.vm.layout import BASE, ELEMENT, FLAGS, HOST, MASK, READABLE, REGION_WORDS, SIZE, WRITABLE

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Memory", "Trap"]

_U64 = (1 << 64) - 1


class Trap(Exception):  # noqa: N818 - it ends a program, and is no error of ours
    """The program did what no program may; never leaves `prestocloud_sec.bpf.vm`.

    Attributes
    ----------
    kind : FaultKind
        What it did.
    address, size : int
        The bytes it asked for, 0 where that does not apply.
    message : str
        What to tell beyond that; may be empty.
    """

    def __init__(self, kind: FaultKind, address: int = 0, size: int = 0, message: str = "") -> None:
        super().__init__(kind, address, size, message)
        self.kind = kind
        self.address = address
        self.size = size
        self.message = message


class Memory:
    """Regions by number.

    Attributes
    ----------
    table : ndarray of uint64, shape (REGIONS * REGION_WORDS,)
        The region table; it never moves.
    """

    def __init__(self) -> None:
        self.table: NDArray[np.uint64] = np.zeros(layout.REGIONS * REGION_WORDS, np.uint64)
        self._words = self.table.data.cast("B").cast("Q")
        self._buffers: list[NDArray[np.uint8] | None] = [None] * layout.REGIONS
        self._names: list[str] = [""] * layout.REGIONS

    def __repr__(self) -> str:
        return f"<Memory: {', '.join(name for name, *_ in self._shown()) or 'nothing'}>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(name)}</td><td>{address:#x}</td><td>{size}</td><td>{rights}</td></tr>"
            for name, address, size, rights in self._shown()
        )
        return f"<table><tr><th>region</th><th>address</th><th>bytes</th><th>a program may</th></tr>{rows}</table>"

    def _shown(self) -> Iterator[tuple[str, int, int, str]]:
        """Yield name, address, size and rights of every region that is there."""
        for number, name in enumerate(self._names):
            at = number * REGION_WORDS
            if name and self._words[at + SIZE]:
                rights = "read, write" if self._words[at + FLAGS] & WRITABLE else "read"
                yield name, self._words[at + BASE], self._words[at + SIZE], rights

    def show(
        self,
        number: int,
        buffer: NDArray[np.uint8],
        name: str,
        *,
        place: int = 0,
        element: int | None = None,
        stride: int | None = None,
        writable: bool = True,
    ) -> None:
        """Make a buffer a region.

        Parameters
        ----------
        number : int
            Which region.
        buffer : ndarray of uint8, C-contiguous
            Its bytes; kept alive, never copied.
        name : str
            For people.
        place : int
            Offset of the first byte in its region's address space.
        element, stride : int, optional
            Bytes of an element that may be touched, and from one element to the next (a power of two); without them
            the buffer is one element.
        writable : bool
            Whether programs may write to it.
        """
        at = number * REGION_WORDS
        size = len(buffer)
        self._buffers[number] = buffer
        self._names[number] = name
        words = self._words
        words[at + BASE] = (number << layout.REGION_SHIFT) + place
        words[at + SIZE] = size
        words[at + HOST] = buffer.ctypes.data
        words[at + MASK] = layout.WHOLE if stride is None else stride - 1
        words[at + ELEMENT] = size if element is None else element
        words[at + FLAGS] = READABLE | WRITABLE if writable else READABLE

    def hide(self, number: int) -> None:
        """Let a region not exist until it is shown again."""
        self._words[number * REGION_WORDS + SIZE] = 0

    def forget(self, number: int) -> None:
        """Let a region be none: hide it, and let go of its buffer and its name."""
        self.hide(number)
        self._buffers[number], self._names[number] = None, ""

    def reveal(self, number: int, size: int) -> None:
        """Give a region that was hidden its size again."""
        self._words[number * REGION_WORDS + SIZE] = size

    def bound(self, number: int, first: int, size: int) -> None:
        """Let a region of one element be `size` bytes of its buffer, from byte `first` on; addresses stay.

        The buffer must have been shown whole before.
        """
        at = number * REGION_WORDS
        buffer = self._buffers[number]
        host = 0 if buffer is None else buffer.ctypes.data
        base = layout.PACKET_BUFFER if number == layout.PACKET else number << layout.REGION_SHIFT
        words = self._words
        words[at + BASE] = base + first
        words[at + SIZE] = words[at + ELEMENT] = size
        words[at + HOST] = host + first

    def locate(self, address: int, size: int, flag: int) -> tuple[int, int]:
        """Return region and offset of `size` bytes at `address`.

        Raises
        ------
        Trap
            If they may not be touched: ``READ`` or ``WRITE`` by `flag`.
        """
        number = address >> layout.REGION_SHIFT
        if number < layout.REGIONS:
            at = number * REGION_WORDS
            words = self._words
            offset = (address - words[at + BASE]) & _U64
            element = words[at + ELEMENT]
            if (
                offset < words[at + SIZE]
                and size <= element
                and (offset & words[at + MASK]) <= element - size
                and words[at + FLAGS] & flag
            ):
                return number, offset
        raise Trap(FaultKind.READ if flag == READABLE else FaultKind.WRITE, address, size)

    def read(self, address: int, size: int) -> bytes:
        """Return `size` bytes at a program's `address` (none where `size` is 0).

        Raises
        ------
        Trap
            If they may not be read.
        """
        if not size:
            return b""
        number, offset = self.locate(address, size, READABLE)
        return ctypes.string_at(self._words[number * REGION_WORDS + HOST] + offset, size)

    def write(self, address: int, data: bytes) -> None:
        """Write bytes at a program's `address`.

        Raises
        ------
        Trap
            If they may not be written.
        """
        if not data:
            return
        number, offset = self.locate(address, len(data), WRITABLE)
        ctypes.memmove(self._words[number * REGION_WORDS + HOST] + offset, data, len(data))

    def check_write(self, address: int, size: int) -> None:
        """Raise what `write` would for so many bytes."""
        if size:
            self.locate(address, size, WRITABLE)

    def describe(self, address: int) -> tuple[str | None, int | None]:
        """Return the name of the region that an address is in or next to, and the place in it; None where none is.

        That is the region of its number, or, for an address in the upper half of what a number has room for and beyond
        that region's end, the one after it, if there is one. What a null pointer leads to, and a little behind, is
        next to none.
        """
        number = self._nearest(address)
        if number is None:
            return None, None
        offset = self._offset(number, address)
        return self._names[number], offset - (1 << 64) if offset >> 63 else offset

    def explain(self, address: int, size: int, *, writes: bool) -> str:
        """Return what is at an address where `size` bytes were refused, in words that follow a colon."""
        number = self._nearest(address)
        if number is None:
            return _nothing(address)
        region, offset = self.describe(address)
        place = f"offset {offset} of the {region}"
        if layout.STACK <= number < layout.STACK + layout.MAX_FRAMES and offset is not None:
            place += f" (r10 {'-' if offset < layout.FRAME_SIZE else '+'} {abs(offset - layout.FRAME_SIZE)})"
        at = number * REGION_WORDS
        words = self._words
        room, element, mask = words[at + SIZE], words[at + ELEMENT], words[at + MASK]
        if not room:
            return f"{place}, which is {'empty' if number == layout.PACKET else 'not there'}"
        if offset is None or not 0 <= offset < room:
            return f"{place}, which ha{'s' if mask == layout.WHOLE else 've'} {room} bytes"
        within = offset & mask
        if within + size > element and mask != layout.WHOLE:
            return f"{place}, byte {within} of an entry of {element} bytes"
        if within + size > element:
            return f"{place}, which has {room} bytes"
        return f"{place}, which may not be {'written' if writes else 'read'}"

    def _nearest(self, address: int) -> int | None:
        """Return the region that an address is in or next to."""
        number = address >> layout.REGION_SHIFT
        if number >= layout.REGIONS or address < layout.PACKET_BUFFER:
            return None
        if self._offset(number, address) >= self._words[number * REGION_WORDS + SIZE] and address >> 31 & 1:
            number = number + 1 if number + 1 < layout.REGIONS and self._names[number + 1] else number
        return number if self._names[number] else None

    def _offset(self, number: int, address: int) -> int:
        """Return the distance from a region's first byte, modulo 2**64."""
        return (address - self._words[number * REGION_WORDS + BASE]) & _U64


def _nothing(address: int) -> str:
    """Return why there is no memory at an address that is next to no region."""
    if address < layout.PACKET_BUFFER:
        return "a null pointer leads to no memory"
    if layout.MAP_HANDLES <= address < layout.MAP_HANDLES + (1 << 32):
        return "a map is no memory; a lookup gives the address of a value"
    if layout.FUNCTION_HANDLES <= address < layout.FUNCTION_HANDLES + (1 << 32):
        return "a function is no memory"
    return "no memory is there"
