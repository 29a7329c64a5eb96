# SPDX-License-Identifier: Apache-2.0
"""Arrays whose elements are objects, not bytes: programs, perf buffers, control groups, maps.

In the kernel user space writes descriptors into such maps; here it writes the objects themselves. What is no object of
the right kind is refused as a bad descriptor is, with EBADF. The rules are those of ``bpf_fd_array_map_update_elem``
(``kernel/bpf/arraymap.c``).
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from prestocloud_sec.bpf.errors import ENOTSUPP
from prestocloud_sec.bpf.maps.array import INDEX, ORDER, Indexed
from prestocloud_sec.bpf.maps.kinds import ANY
from prestocloud_sec.bpf.maps.layout import Descriptor

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Holder"]


class Holder(Indexed):
    """An array of objects, of which each place may be empty.

    Parameters
    ----------
    max_entries : int
        Places.
    flags, name
        As for every `Map`.
    key, value : optional
        Sizes of index and descriptor; others than 4 are refused.
    """

    _readable: ClassVar[bool] = True
    """Whether user space can look elements up."""
    _holds: ClassVar[str]
    """What its elements are, for people."""

    def __init__(self, max_entries: int, flags: int = 0, *, key: Any = INDEX, value: Any = 4, name: str = "") -> None:
        super().__init__(key, value, max_entries, flags, name=name)
        self._objects: dict[int, Any] = {}

    def _acceptable(self, value: Any) -> int:  # noqa: ARG002
        """Return 0 if an object may be stored, else a negative errno."""
        return -errno.EBADF

    def _data(self, value: Any) -> Any:
        return value

    def _value_of(self, data: Any) -> Any:
        return data

    def _columns(self) -> str:
        return self._holds

    def _find(self, key: bytes) -> Any:
        if not self._readable:
            return -ENOTSUPP
        return self._objects.get(self._index(key), -errno.ENOENT)

    def _store(self, key: bytes, value: Any, flags: int) -> int:
        if flags != ANY:
            return -errno.EINVAL
        index = self._index(key)
        if index >= self.max_entries:
            return -errno.E2BIG
        refused = self._acceptable(value)
        if not refused:
            self._objects[index] = value
            self._changed()
        return refused

    def _remove(self, key: bytes) -> int:
        index = self._index(key)
        if index >= self.max_entries:
            return -errno.E2BIG
        if self._objects.pop(index, None) is None:
            return -errno.ENOENT
        self._changed()
        return 0

    def _changed(self) -> None:
        self.generation += 1
        self._words[Descriptor.COUNT] = len(self._objects)

    def _pairs(self) -> list[tuple[bytes, Any]]:
        if not self._readable:
            return []
        with self._lock:
            return [(index.to_bytes(4, ORDER), value) for index, value in sorted(self._objects.items())]

    def __contains__(self, key: Any) -> bool:
        return self._index(self._key(key)) in self._objects

    def _first(self, count: int) -> list[tuple[Any, Any]]:
        return [(index, self._objects[index]) for index in sorted(self._objects)[:count]]

    def to_numpy(self) -> NDArray[Any]:
        """Return a table of all elements: fields ``key``, and ``value``, which holds the objects."""
        self._may_read()
        pairs = self.items()
        table = np.empty(len(pairs), [("key", INDEX), ("value", object)])
        for row, (key, value) in enumerate(pairs):
            table["key"][row], table["value"][row] = key, value
        return table
