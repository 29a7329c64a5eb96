# SPDX-License-Identifier: Apache-2.0
"""Ring buffers (``kernel/bpf/ringbuf.c``): records that programs of all processors write in one order.

Theory of operation
-------------------
Positions of producer and consumer only grow; a record lies at its position modulo the size. It begins with 8 bytes: a
uint32 with its length and, in the two highest bits, *busy* (reserved, not yet handed over) and *discarded*; and a
uint32 that the kernel uses itself (the page of the record in its memory). Records are padded to multiples of 8 bytes.
A reader stops at the first that is busy, so that records come out in the order in which they were reserved.

The kernel maps its pages twice in a row, so that a record that goes over the end is in one piece. Here the buffer is
twice as long, and such a record lies in the second half.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from prestocloud_sec.bpf.errors import ENOTSUPP, BpfMisuseError
from prestocloud_sec.bpf.maps.base import Map
from prestocloud_sec.bpf.maps.codec import plain_bytes
from prestocloud_sec.bpf.maps.kinds import PAGE, MapType
from prestocloud_sec.bpf.maps.storage import rounded, view, zeros
from prestocloud_sec.wire import whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from prestocloud_sec.wire import BytesLike

__all__ = ["AVAILABLE", "CONSUMER", "FORCE_WAKEUP", "NO_WAKEUP", "PRODUCER", "SIZE", "RingBuffer", "RingRecord"]

NO_WAKEUP, FORCE_WAKEUP = 1, 2
"""Flags of submit, discard and output: whether the reader is told; else if it had read everything before."""
AVAILABLE, SIZE, CONSUMER, PRODUCER = 0, 1, 2, 3
"""What `RingBuffer.query` can be asked for."""
HEADER = 8
BUSY, DISCARDED = 1 << 31, 1 << 30
_LENGTH = DISCARDED - 1
_U64_MAX = (1 << 64) - 1
_LARGEST = 0xFFFF_FFFF // 4
_EXTRA_PAGES = 3
"""Pages of the kernel's structure before the data: what the second word of a record counts from."""


class RingRecord:
    """A reserved record.

    Attributes
    ----------
    view : ndarray of uint8, shape (size,)
        Its bytes, in the ring's own memory.
    position : int
        Where its header is.
    """

    __slots__ = ("done", "position", "view")

    def __init__(self, position: int, data: NDArray[np.uint8]) -> None:
        self.position = position
        self.view = data
        self.done = False

    def __len__(self) -> int:
        return len(self.view)

    def __repr__(self) -> str:
        return f"<RingRecord of {len(self)} bytes at {self.position}>"


class RingBuffer(Map):
    """Records from programs to user space.

    Parameters
    ----------
    max_entries : int
        Bytes of the ring: a power of two, 4096 or more.
    flags, name
        As for every `Map`.

    Attributes
    ----------
    wakeups : int
        How often a reader that waits would have been told.

    Examples
    --------
    >>> ring = RingBuffer(4096)
    >>> ring.output(b"one")
    0
    >>> record = ring.reserve(4)
    >>> record.view[:] = list(b"more")
    >>> ring.submit(record)
    >>> list(ring)
    [b'one', b'more']
    """

    type = MapType.RINGBUF
    is_ring = True

    def __init__(self, max_entries: int, flags: int = 0, *, key: Any = 0, value: Any = 0, name: str = "") -> None:
        super().__init__(key, value, max_entries, flags, name=name)
        self._memory = zeros(2 * self.max_entries)
        self._view = view(self._memory)
        self._headers = view(self._memory.view(np.uint32))
        self._mask = self.max_entries - 1
        self.consumer_position = 0
        self.producer_position = 0
        self._pending_position = 0
        self.wakeups = 0

    # --- Writing, as programs do.

    def reserve(self, size: int) -> RingRecord | None:
        """Return room for a record of `size` bytes, or None where there is none.

        What was in that memory before is still there, as in the kernel.

        Raises
        ------
        BpfMisuseError
            If `size` is no integer.
        """
        size = whole(size, "size", None, error=BpfMisuseError) & _U64_MAX
        if size > _LARGEST:
            return None
        length = rounded(size + HEADER)
        if length > self.max_entries:
            return None
        with self._lock:
            position = self.producer_position
            while self._pending_position < position:
                header = self._headers[(self._pending_position & self._mask) >> 2]
                if header & BUSY:
                    break
                self._pending_position += rounded((header & _LENGTH) + HEADER)
            following = position + length
            if following - self.consumer_position > self._mask or following - self._pending_position > self._mask:
                return None
            start = position & self._mask
            self._headers[start >> 2] = size | BUSY
            self._headers[(start >> 2) + 1] = _EXTRA_PAGES + start // PAGE
            self.producer_position = following
        return RingRecord(position, self._memory[start + HEADER : start + HEADER + size])

    def submit(self, record: RingRecord, flags: int = 0) -> None:
        """Hand a reserved record over.

        Raises
        ------
        BpfMisuseError
            If it was handed over or discarded before, or `flags` is no integer.
        """
        self._finish(record, flags, 0)

    def discard(self, record: RingRecord, flags: int = 0) -> None:
        """Let a reserved record be skipped.

        Raises
        ------
        BpfMisuseError
            If it was handed over or discarded before, or `flags` is no integer.
        """
        self._finish(record, flags, DISCARDED)

    def _finish(self, record: RingRecord, flags: int, mark: int) -> None:
        if not isinstance(record, RingRecord):
            raise BpfMisuseError(type(record).__name__, where="record", expected="a RingRecord")
        flags = whole(flags, "flags", 0, _U64_MAX, error=BpfMisuseError)
        with self._lock:
            place = (record.position & self._mask) >> 2
            ours = isinstance(record.view, np.ndarray) and np.may_share_memory(record.view, self._memory)
            if isinstance(record.view, np.ndarray) and not record.view.size:  # no bytes tell whose they are
                ours = bool(self._headers[place] & BUSY)
            if record.done or not ours:
                raise BpfMisuseError("it is not reserved", where="record", expected="one that reserve() gave, once")
            record.done = True
            self._headers[place] = self._headers[place] & ~BUSY | mark
            if flags & FORCE_WAKEUP or (record.position == self.consumer_position and not flags & NO_WAKEUP):
                self.wakeups += 1

    def output(self, data: BytesLike, flags: int = 0) -> int:  # type: ignore[override]  # unlike that of a perf event array
        """Write a record in one go.

        Returns
        -------
        int
            0; -EINVAL for unknown flags; -EAGAIN if there is no room.
        """
        if whole(flags, "flags", 0, _U64_MAX, error=BpfMisuseError) & ~(NO_WAKEUP | FORCE_WAKEUP):
            return -errno.EINVAL
        content = plain_bytes(data, "data")
        record = self.reserve(len(content))
        if record is None:
            return -errno.EAGAIN
        if content:
            record.view[:] = np.frombuffer(content, np.uint8)
        self.submit(record, flags)
        return 0

    def query(self, flags: int) -> int:
        """Return a number of the ring.

        Parameters
        ----------
        flags : int
            `AVAILABLE` bytes that were reserved and not read, `SIZE`, or the position of `CONSUMER` or `PRODUCER`;
            0 is returned for others.

        Raises
        ------
        BpfMisuseError
            If `flags` is no integer.
        """
        flags = whole(flags, "flags", 0, _U64_MAX, error=BpfMisuseError)
        if flags == AVAILABLE:
            return self.producer_position - self.consumer_position
        known = {SIZE: self.max_entries, CONSUMER: self.consumer_position, PRODUCER: self.producer_position}
        return known.get(flags, 0)

    # --- Reading, as user space does.

    def read(self) -> bytes | None:
        """Take the next record out; None if there is none, or if the next is still reserved."""
        with self._lock:
            while self.consumer_position < self.producer_position:
                start = self.consumer_position & self._mask
                header = self._headers[start >> 2]
                if header & BUSY:
                    return None
                size = header & _LENGTH
                content = bytes(self._view[start + HEADER : start + HEADER + size])
                self.consumer_position += rounded(size + HEADER)
                if not header & DISCARDED:
                    return content
        return None

    def __iter__(self) -> Iterator[bytes]:
        """Take out all records that can be read."""
        record = self.read()
        while record is not None:
            yield record
            record = self.read()

    def consume(self, callback: Callable[[bytes], Any]) -> int:
        """Call a function with each record that can be read; return how many there were.

        Raises
        ------
        BpfMisuseError
            If `callback` is no function; no record is lost then.
        """
        if not callable(callback):
            raise BpfMisuseError(type(callback).__name__, where="callback", expected="a function of a record")
        count = 0
        for record in self:
            callback(record)
            count += 1
        return count

    def __len__(self) -> int:
        """Return how many bytes were reserved and not read, headers included."""
        return self.query(AVAILABLE)

    def __repr__(self) -> str:
        return f"<{self._title()}: {len(self)} of {self.max_entries} bytes>"

    # --- What it does not have.

    def _find(self, key: bytes) -> Any:  # noqa: ARG002
        return -ENOTSUPP

    def _store(self, key: bytes, value: Any, flags: int) -> int:  # noqa: ARG002
        return -ENOTSUPP

    def _remove(self, key: bytes) -> int:  # noqa: ARG002
        return -ENOTSUPP

    def _following(self, key: bytes | None) -> bytes | int:  # noqa: ARG002
        return -ENOTSUPP
