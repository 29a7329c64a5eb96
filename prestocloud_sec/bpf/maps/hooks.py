# SPDX-License-Identifier: Apache-2.0
"""What a kind of map can answer, each with the answer of one that cannot.

A kind overrides the hooks that begin with an underscore for user space, and the others for programs, which give
negative errnos as helpers return them. So whoever has a map, a helper above all, need not ask of what class it is.
"""
# ruff: noqa: ARG002  (a default looks at none of its arguments)

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from prestocloud_sec.bpf.maps.base import Map

__all__ = ["Hooks"]


class Hooks:
    """Defaults of everything that a kind of map may override."""

    max_entries: int
    takes_out: ClassVar[bool] = False
    """Whether user space can look up and delete in one step."""
    per_cpu: ClassVar[bool] = False
    """Whether there is a value for each processor."""
    holds_maps: ClassVar[bool] = False
    holds_programs: ClassVar[bool] = False
    is_ring: ClassVar[bool] = False
    is_perf: ClassVar[bool] = False
    is_filter: ClassVar[bool] = False
    """Whether peeking asks if a value is there (Bloom filters)."""
    redirects: ClassVar[bool] = False
    """Whether ``redirect_map`` takes it."""
    broadcasts: ClassVar[bool] = False
    """Whether ``redirect_map`` can send to all of its entries."""
    generation: int = 0
    """Grows whenever a program of the map changes."""

    # --- What user space asks.

    def _find(self, key: bytes) -> Any:
        """Return the value of a key as system calls have it, or a negative errno; the lock is held.

        Maps of objects give the object.
        """
        return -errno.EOPNOTSUPP

    def _store(self, key: bytes, value: Any, flags: int) -> int:
        """Store a value; return 0 or a negative errno."""
        return -errno.EINVAL

    def _remove(self, key: bytes) -> int:
        """Remove a key; return 0 or a negative errno."""
        return -errno.EINVAL

    def _take_out(self, key: bytes) -> Any:
        """Return what `_find` does and remove it, or a negative errno."""
        found = self._find(key)
        return found if isinstance(found, int) else self._remove(key) or found

    def _following(self, key: bytes | None) -> bytes | int:
        """Return the next key, or a negative errno."""
        return -errno.EOPNOTSUPP

    def _pairs(self) -> list[tuple[bytes, Any]]:
        """Return all elements."""
        return []

    # --- What programs ask.

    def program_lookup(self, key: bytes, cpu: int = 0) -> int | None:
        """Return the offset of the value in `values` that a program on a processor sees, or None."""
        return None

    def program_update(self, key: bytes, value: bytes, flags: int, cpu: int = 0) -> int:
        """Store a value; return 0 or a negative errno."""
        return -errno.EINVAL

    def program_delete(self, key: bytes) -> int:
        """Remove a key; return 0 or a negative errno."""
        return -errno.EINVAL

    def program_push(self, value: bytes, flags: int) -> int:
        """Put a value into a queue, a stack or a Bloom filter; return 0 or a negative errno."""
        return -errno.EINVAL

    def program_pop(self) -> bytes | int:
        """Take the next value of a queue or a stack; a negative errno where there is none."""
        return -errno.EINVAL

    def program_peek(self) -> bytes | int:
        """Return the next value of a queue or a stack; a negative errno where there is none."""
        return -errno.EINVAL

    def program_test(self, value: bytes) -> int:
        """Return 0 if a Bloom filter may hold a value, -ENOENT if it does not."""
        return -errno.EINVAL

    def iterate(self, cpu: int = 0) -> Iterator[tuple[int, int]]:
        """Yield the offsets of key and value of each element, as ``for_each_map_elem`` goes over them."""
        return iter(())

    @property
    def iterates(self) -> bool:
        """Whether ``for_each_map_elem`` takes the map: whether its kind says what there is to go over."""
        return type(self).iterate is not Hooks.iterate

    def index_keys(self) -> NDArray[np.uint8]:
        """Return storage of the keys of a map that has none of its own: its indexes, 4 bytes at each multiple of 8."""
        keys = np.zeros((self.max_entries, 2), np.uint32)
        keys[:, 0] = np.arange(self.max_entries, dtype=np.uint32)
        return keys.view(np.uint8).reshape(-1)

    def inner(self, key: bytes) -> Map | None:
        """Return the map that a map of maps has under a key, or None."""
        return None

    def target(self, key: int) -> int | None:
        """Return where ``redirect_map`` sends a packet by a key, or None."""
        return None

    def output(self, cpu: int, index: int, data: bytes) -> int:
        """Write a record to a perf event; return 0 or a negative errno."""
        return -errno.EINVAL
