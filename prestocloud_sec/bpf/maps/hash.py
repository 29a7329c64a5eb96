# SPDX-License-Identifier: Apache-2.0
"""Hash maps (``kernel/bpf/hashtab.c``); how they work stands in `prestocloud_sec.bpf.maps.hash_layout`."""

from __future__ import annotations

import errno
import secrets
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np

from prestocloud_sec.bpf.maps.base import no_room
from prestocloud_sec.bpf.maps.hash_layout import HashWord
from prestocloud_sec.bpf.maps.kinds import MapFlag, MapType
from prestocloud_sec.bpf.maps.layout import DELETE, ITERATE, LOOKUP, UPDATE
from prestocloud_sec.bpf.maps.native import RowMap
from prestocloud_sec.bpf.maps.storage import WINDOW, address_of, power_of_two, rounded, zeros
from prestocloud_sec.bpf.words import signed

__all__ = ["HashMap", "PerCpuHashMap"]

_MOST_SLOTS = (1 << 32) - 2


class HashMap(RowMap):
    """Values by key.

    Storage for `max_entries` is set aside at once, and costs memory as it is used. With the flag ``NO_PREALLOC`` a map
    may be declared larger than what programs can address (4 GiB of values); what does not fit in there is refused with
    ENOMEM when it comes.

    Examples
    --------
    >>> ports = HashMap("u4", "u8", 1000)
    >>> ports[5] = 7
    >>> ports[5], 6 in ports, len(ports)
    (7, False, 1)
    """

    type = MapType.HASH
    takes_out = True

    def __init__(
        self,
        key: Any,
        value: Any,
        max_entries: int,
        flags: int = 0,
        *,
        name: str = "",
        cpus: int | None = None,
    ) -> None:
        super().__init__(key, value, max_entries, flags, name=name, cpus=cpus)
        self._keep()
        self._natively(LOOKUP | UPDATE | DELETE | ITERATE)

    def _spares(self) -> int:
        """Slots beyond those that elements can have."""
        return 0 if self.per_cpu else 1

    def _keep(self) -> None:
        """Set storage up, and describe it."""
        spares = self._spares()
        room = WINDOW // (self.cpus * self.value_stride) - spares
        slots = min(self.max_entries, room, WINDOW // self.key_stride - spares, _MOST_SLOTS)
        if slots < self.max_entries and not self.flags & MapFlag.NO_PREALLOC:
            raise no_room(self)
        self._keep_values(slots + spares)
        self._keep_keys(slots + spares)
        buckets = power_of_two(self.max_entries)
        self._tables = {
            HashWord.BUCKETS_AT: zeros(4 * buckets),
            HashWord.CHAIN_AT: zeros(4 * (slots + spares)),
            HashWord.FREE_AT: zeros(4 * (slots + spares)),
        }
        words = self._words
        for word, table in self._tables.items():
            words[word] = address_of(table)
        words[HashWord.SHIFT] = 32 - (buckets.bit_length() - 1)
        words[HashWord.SLOTS] = slots
        words[HashWord.SPARE] = slots if spares else -1
        if not self.flags & MapFlag.ZERO_SEED:
            count = 1 + 2 * (rounded(self.key_size) // 8)
            self._seeds = np.frombuffer(secrets.token_bytes(8 * count), np.uint64).copy()
            words[HashWord.SEEDS_AT] = address_of(self._seeds)

    @cached_property
    def _kernels(self) -> Any:
        from prestocloud_sec.bpf.maps import hash_kernel

        return hash_kernel

    def _slot(self, key: bytes) -> int:
        """Return the slot of a key, or -1."""
        self._put(key)
        return int(self._kernels.find(self._at, self._key_at))

    def _find(self, key: bytes) -> bytes | int:
        slot = self._slot(key)
        return -errno.ENOENT if slot < 0 else self._value(slot)

    def _store(self, key: bytes, value: bytes, flags: int) -> int:
        self._put(key, value)
        return int(self._kernels.store(self._at, self._key_at, self._value_at, signed(flags), -1))

    def _following(self, key: bytes | None) -> bytes | int:
        slot = -1 if key is None else self._slot(key)
        slot = int(self._kernels.step(self._at, slot))
        return -errno.ENOENT if slot < 0 else self._stored_key(slot)

    def iterate(self, cpu: int = 0) -> Iterator[tuple[int, int]]:
        """Yield the offsets of key and value of each element, as ``for_each_map_elem`` goes over them."""
        slot = int(self._kernels.step(self._at, -1))
        while slot >= 0:
            yield slot * self.key_stride, (slot * self.cpus + (cpu if self.per_cpu else 0)) * self.value_stride
            slot = int(self._kernels.step(self._at, slot))


class PerCpuHashMap(HashMap):
    """Values by key, one for each processor; user space sees all of them, a program its own.

    Examples
    --------
    >>> seen = PerCpuHashMap("u4", "u8", 100, cpus=2)
    >>> seen[9] = [3, 4]
    >>> seen[9]
    array([3, 4], dtype=uint64)
    """

    type = MapType.PERCPU_HASH
    per_cpu = True
