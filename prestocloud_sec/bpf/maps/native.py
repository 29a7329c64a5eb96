# SPDX-License-Identifier: Apache-2.0
"""Maps whose rules are compiled: what Python does around their kernels is the same for all of them.

A kernel (`prestocloud_sec.bpf.maps.native_kernel`) is given addresses: of the map's descriptor, of a key, of a value.
So whatever calls one from here first lays both where the map has room for them, and holds the lock.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

import numpy as np

from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.bpf.maps.codec import sized_bytes
from prestocloud_sec.bpf.maps.keyed import KeyedMap
from prestocloud_sec.bpf.maps.storage import WINDOW
from prestocloud_sec.bpf.words import signed
from prestocloud_sec.wire import whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["NativeMap", "RowMap"]


_CPUS, _U64_MAX = (1 << 32) - 1, (1 << 64) - 1


class NativeMap(KeyedMap):
    """A map that programs look up and update through its kernel."""

    _kernels: Any
    """The compiled functions of this kind; imported where they are first used, as numba takes long to import."""

    def _remove(self, key: bytes) -> int:
        self._put(key)
        return int(self._kernels.delete(self._at, self._key_at))

    def program_lookup(self, key: bytes, cpu: int = 0) -> int | None:
        """Return the offset of the value in `values` that a program on a processor sees, or None."""
        key = sized_bytes(key, self.key_size, "key")
        cpu = whole(cpu, "cpu", -_CPUS, _CPUS, error=BpfMisuseError)
        with self._lock:
            self._put(key)
            offset = int(self._kernels.lookup(self._at, self._key_at, cpu))
        return offset if 0 <= offset < WINDOW else None

    def program_update(self, key: bytes, value: bytes, flags: int, cpu: int = 0) -> int:
        """Store a value; return 0 or a negative errno."""
        if self.program_reads_only:
            return -errno.EPERM
        key, value = sized_bytes(key, self.key_size, "key"), sized_bytes(value, self.value_size, "value")
        flags = whole(flags, "flags", 0, _U64_MAX, error=BpfMisuseError)
        cpu = whole(cpu, "cpu", -_CPUS, _CPUS, error=BpfMisuseError)
        with self._lock:
            self._put(key, value)
            return int(self._kernels.update(self._at, self._key_at, self._value_at, signed(flags), cpu))


class RowMap(NativeMap):
    """A native map that stores its keys, that of a slot in the row of the same number."""

    def _stored_key(self, slot: int) -> bytes:
        start = slot * self.key_stride
        return bytes(self._key_view[start : start + self.key_size])

    def _slots(self) -> NDArray[np.int64]:
        """Return the slots in use, in the map's order."""
        slots = np.zeros(len(self), np.int64)
        return slots[: int(self._kernels.collect(self._at, slots))]

    def _pairs(self) -> list[tuple[bytes, bytes]]:
        with self._lock:
            return [(self._stored_key(slot), self._value(slot)) for slot in self._slots().tolist()]

    def to_numpy(self) -> NDArray[Any]:
        """Return a copy of all elements: fields ``key`` and ``value``, as for every `Map`."""
        self._may_read()
        with self._lock:
            slots = self._slots()
            keys = self.keys.reshape(-1, self.key_stride)[slots, : self.key_size]  # type: ignore[union-attr]
            rows = self.values.reshape(-1, self.cpus, self.value_stride)[slots, :, : self.value_size]  # type: ignore[union-attr]
        return self._table(keys, rows)

    def program_delete(self, key: bytes) -> int:
        """Remove a key; return 0 or a negative errno."""
        if self.program_reads_only:
            return -errno.EPERM
        key = sized_bytes(key, self.key_size, "key")
        with self._lock:
            return self._remove(key)
