# SPDX-License-Identifier: Apache-2.0
"""Where a map keeps what it holds: storage by slots, and the descriptor that tells compiled code of it.

Neither storage nor descriptor ever moves. A value as system calls have it is, of a per-CPU map, that of each processor
in turn, each rounded up to 8 bytes (Linux ``kernel/bpf/syscall.c``, ``bpf_map_value_size``); in storage each stands at
a multiple of `Stored.value_stride`.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from prestocloud_sec.bpf.maps.hooks import Hooks
from prestocloud_sec.bpf.maps.kinds import MapFlag, MapType
from prestocloud_sec.bpf.maps.layout import DELETE, DESCRIPTOR_WORDS, UPDATE, Descriptor
from prestocloud_sec.bpf.maps.storage import WINDOW, address_of, rounded, stride_of, view, zeros

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Stored"]


class Stored(Hooks):
    """The part of a `prestocloud_sec.bpf.maps.base.Map` that owns memory; its attributes are told there."""

    type: ClassVar[MapType]
    _row_extra: ClassVar[int] = 0
    """Bytes behind each stored key that kernels use."""
    key_size: int
    value_size: int
    flags: MapFlag
    cpus: int

    def _set_up(self) -> None:
        """Make the descriptor, and room for a key and a value on their way to a kernel; sizes and flags are known."""
        self.value_stride = stride_of(self.value_size)
        self.key_stride = stride_of(self.key_size + self._row_extra)
        self.values: NDArray[np.uint8] | None = None
        self.keys: NDArray[np.uint8] | None = None
        self.descriptor: NDArray[np.int64] = np.zeros(DESCRIPTOR_WORDS, np.int64)
        self._at = address_of(self.descriptor)
        self._words = view(self.descriptor)
        self._block = self.cpus * rounded(self.value_size) if self.per_cpu else self.value_size
        """Bytes of a value as system calls have it."""
        self._scratch = zeros(rounded(self.key_size) + self._block)
        self._scratch_view = view(self._scratch)
        self._key_at = address_of(self._scratch)
        self._value_at = self._key_at + rounded(self.key_size)
        self._lock = threading.RLock()
        for word, value in {
            Descriptor.TYPE: int(self.type),
            Descriptor.KEY_SIZE: self.key_size,
            Descriptor.VALUE_SIZE: self.value_size,
            Descriptor.MAX_ENTRIES: self.max_entries,
            Descriptor.FLAGS: int(self.flags),
            Descriptor.STRIDE: self.value_stride,
            Descriptor.KEY_STRIDE: self.key_stride,
            Descriptor.CPUS: self.cpus,
        }.items():
            self._words[word] = value

    def _keep_values(self, slots: int) -> None:
        """Make storage for the values of so many slots."""
        self._all_values = zeros(slots * self.cpus * self.value_stride)
        self._value_view = view(self._all_values)
        self.values = self._all_values[:WINDOW]
        self._words[Descriptor.VALUES_AT] = address_of(self._all_values)

    def _keep_keys(self, slots: int) -> None:
        """Make storage for the keys of so many slots."""
        self.keys = zeros(slots * self.key_stride)
        self._key_view = view(self.keys)
        self._words[Descriptor.KEYS_AT] = address_of(self.keys)

    def _natively(self, operations: int) -> None:
        """Say what kernels can do; not what the flags keep programs from.

        A lookup is answered where programs may not read, too, as in Linux: its verifier sees to it that they do not.
        """
        if self.flags & MapFlag.RDONLY_PROG:
            operations &= ~(UPDATE | DELETE)
        self._words[Descriptor.NATIVE] = operations

    def _put(self, key: bytes, value: bytes = b"") -> None:
        """Lay key and value where kernels find them; the lock has to be held."""
        self._scratch_view[: len(key)] = key
        if value:
            start = self._value_at - self._key_at
            self._scratch_view[start : start + len(value)] = value

    def _value(self, slot: int) -> bytes:
        """Return the value of a slot as system calls have it."""
        stride, size = self.value_stride, self.value_size
        if not self.per_cpu:
            start = slot * stride
            return bytes(self._value_view[start : start + size])
        start, wide = slot * self.cpus * stride, rounded(size)
        return b"".join(
            bytes(self._value_view[place : place + size]).ljust(wide, b"\0")
            for place in range(start, start + self.cpus * stride, stride)
        )

    def _cut(self, data: bytes) -> bytes:
        """Return a value as system calls have it without what rounds each processor's part up."""
        wide = rounded(self.value_size)
        if not self.per_cpu or wide == self.value_size:
            return data
        return b"".join(data[start : start + self.value_size] for start in range(0, len(data), wide))
