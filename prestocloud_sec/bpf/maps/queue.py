# SPDX-License-Identifier: Apache-2.0
"""Queues and stacks (``kernel/bpf/queue_stack_maps.c``): values without keys.

Where system calls want a key, it is ``b""``: a lookup is `peek`, an update `push`, a lookup that deletes `pop`.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from prestocloud_sec.bpf.errors import BpfMisuseError, MapError, MissingKeyError
from prestocloud_sec.bpf.maps.base import Map
from prestocloud_sec.bpf.maps.codec import sized_bytes
from prestocloud_sec.bpf.maps.kinds import ANY, EXIST, NOEXIST, MapType
from prestocloud_sec.bpf.maps.layout import Descriptor
from prestocloud_sec.bpf.maps.storage import stride_of, view, zeros
from prestocloud_sec.wire import whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["QueueMap", "StackMap"]

_U64_MAX = (1 << 64) - 1


class QueueMap(Map):
    """Values that come out in the order in which they went in.

    Parameters
    ----------
    value : int, dtype, str or struct.Struct
        What the values are.
    max_entries, flags, name
        As for every `Map`.

    Examples
    --------
    >>> waiting = QueueMap("u4", 2)
    >>> waiting.push(1)
    >>> waiting.push(2)
    >>> waiting.push(3, EXIST)
    >>> waiting.pop(), list(waiting)
    (2, [3])
    """

    type = MapType.QUEUE
    takes_out = True
    _last_first = False

    def __init__(self, value: Any, max_entries: int, flags: int = 0, *, key: Any = 0, name: str = "") -> None:
        super().__init__(key, value, max_entries, flags, name=name)
        self._stride = stride_of(self.value_size)
        self._ring = zeros(self._stride * self.max_entries)
        self._ring_view = view(self._ring)
        self._oldest = 0

    def _error(self, result: int, operation: str, key: Any) -> MapError:
        if -result == errno.ENOENT:
            return MissingKeyError(errno.ENOENT, "it is empty", where=self._title(), expected="a value that was pushed")
        return super()._error(result, operation, key)

    # --- User space.

    def push(self, value: Any, flags: int = ANY) -> None:
        """Put a value in.

        Parameters
        ----------
        value : object
            As the map declares it.
        flags : int
            `EXIST` to let the oldest value go if the map is full.

        Raises
        ------
        MapError
            E2BIG if the map is full; EINVAL for other flags; EPERM if user space may not write.
        """
        self.update(b"", value, flags)

    def pop(self) -> Any:
        """Take the next value out.

        Raises
        ------
        MissingKeyError
            If there is none.
        """
        return self.lookup_and_delete(b"")

    def peek(self) -> Any:
        """Return the next value.

        Raises
        ------
        MissingKeyError
            If there is none.
        """
        return self.lookup(b"")

    def __iter__(self) -> Iterator[Any]:
        """Yield the values there are now, the next to come out first."""
        self._may_read()
        with self._lock:
            found = [self._at_place(place) for place in self._places()]
        return iter([self.value_codec.decode(value) for value in found])

    def to_numpy(self) -> NDArray[Any]:
        """Return a copy of the values, the next to come out first, as an array of their dtype."""
        self._may_read()
        with self._lock:
            data = b"".join(self._at_place(place) for place in self._places())
        rows = np.frombuffer(bytearray(data), np.uint8).reshape(-1, self.value_size)
        return self.value_codec.column(rows)

    # --- What is behind it.

    def _places(self) -> list[int]:
        count = len(self)
        places = [(self._oldest + place) % self.max_entries for place in range(count)]
        return places[::-1] if self._last_first else places

    def _at_place(self, place: int) -> bytes:
        start = place * self._stride
        return bytes(self._ring_view[start : start + self.value_size])

    def _next_place(self) -> int:
        """Return the place of the next value to come out."""
        return (self._oldest + (len(self) - 1 if self._last_first else 0)) % self.max_entries

    def _find(self, key: bytes) -> Any:  # noqa: ARG002
        return self._at_place(self._next_place()) if len(self) else -errno.ENOENT

    def _remove(self, key: bytes) -> int:  # noqa: ARG002
        return -errno.EINVAL

    def _take_out(self, key: bytes) -> Any:
        found = self._find(key)
        if not isinstance(found, int):
            self._words[Descriptor.COUNT] -= 1
            if not self._last_first:
                self._oldest = (self._oldest + 1) % self.max_entries
        return found

    def _store(self, key: bytes, value: Any, flags: int) -> int:  # noqa: ARG002
        if flags & NOEXIST or flags > EXIST:
            return -errno.EINVAL
        if len(self) == self.max_entries:
            if flags != EXIST:
                return -errno.E2BIG
            self._oldest = (self._oldest + 1) % self.max_entries
            self._words[Descriptor.COUNT] -= 1
        start = (self._oldest + len(self)) % self.max_entries * self._stride
        self._ring_view[start : start + self.value_size] = value
        self._words[Descriptor.COUNT] += 1
        return 0

    def _following(self, key: bytes | None) -> bytes | int:  # noqa: ARG002
        return -errno.EINVAL

    def program_push(self, value: bytes, flags: int) -> int:
        """Put a value in; return 0 or a negative errno."""
        if self.program_reads_only:
            return -errno.EPERM
        value = sized_bytes(value, self.value_size, "value")
        flags = whole(flags, "flags", 0, _U64_MAX, error=BpfMisuseError)
        with self._lock:
            return self._store(b"", value, flags)

    def program_pop(self) -> bytes | int:
        """Take the next value out; -ENOENT where there is none."""
        if self.program_reads_only:
            return -errno.EPERM
        with self._lock:
            found: bytes | int = self._take_out(b"")
        return found

    def program_peek(self) -> bytes | int:
        """Return the next value; -ENOENT where there is none."""
        with self._lock:
            found: bytes | int = self._find(b"")
        return found


class StackMap(QueueMap):
    """Values of which the last in is the first out.

    Examples
    --------
    >>> pile = StackMap("u4", 2)
    >>> pile.push(1)
    >>> pile.push(2)
    >>> pile.pop()
    2
    """

    type = MapType.STACK
    _last_first = True
