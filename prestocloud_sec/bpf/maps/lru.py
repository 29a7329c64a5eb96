# SPDX-License-Identifier: Apache-2.0
"""Hash maps that make room by themselves (``kernel/bpf/hashtab.c``, ``kernel/bpf/bpf_lru_list.c``).

Which elements go is told in `prestocloud_sec.bpf.maps.lru_layout`. A lookup from user space does not count as use.
"""

from __future__ import annotations

from functools import cached_property
from types import SimpleNamespace
from typing import Any

import numpy as np

from prestocloud_sec.bpf.maps.base import processors
from prestocloud_sec.bpf.maps.hash import HashMap
from prestocloud_sec.bpf.maps.hash_layout import HashWord
from prestocloud_sec.bpf.maps.kinds import MapFlag, MapType
from prestocloud_sec.bpf.maps.layout import Descriptor
from prestocloud_sec.bpf.maps.lru_layout import FIRST_LIST_WORD, LOCAL_TARGET, OWN_TARGET, LruWord
from prestocloud_sec.bpf.maps.storage import address_of, zeros

__all__ = ["LruHashMap", "LruPerCpuHashMap"]


class LruHashMap(HashMap):
    """Values by key; where there is no room for a new one, some that were not used of late go.

    An update of a key that is there needs room too, and may cost another its place, as in the kernel. Every slot is in
    a list from the start, so that some 16 bytes of each cost memory before the first key.

    Parameters
    ----------
    key, value, max_entries, flags, name
        As for every `Map`. With ``NO_COMMON_LRU`` the processors share `max_entries` out, which is rounded up for that.
    cpus : int, optional
        Processors that use the map; as many as this machine has if not given. User space is on the first.

    Examples
    --------
    >>> recent = LruHashMap("u4", "u4", 4, cpus=2)
    >>> for number in range(6):
    ...     recent[number] = number
    >>> sorted(recent)
    [2, 3, 4, 5]
    """

    type = MapType.LRU_HASH

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
        self.processors = processors(cpus)
        super().__init__(key, value, max_entries, flags, name=name, cpus=cpus)

    def _spares(self) -> int:
        return 0

    def _keep(self) -> None:
        common = not self.flags & MapFlag.NO_COMMON_LRU
        if not common:
            up = -(-self.max_entries // self.processors) * self.processors
            self.max_entries = up if up < 1 << 32 else up - self.processors
            self._words[Descriptor.MAX_ENTRIES] = self.max_entries
        super()._keep()
        cpus, slots = self.processors, self.max_entries
        nodes = slots + (3 + 2 * cpus if common else 3 * cpus)
        sets = 1 if common else cpus
        steal = FIRST_LIST_WORD + 3 * sets
        self._lru = np.zeros(steal + cpus, np.int64)
        self._lists = {
            LruWord.BEFORE_AT: zeros(4 * nodes),
            LruWord.AFTER_AT: zeros(4 * nodes),
            LruWord.HELD_AT: zeros(slots),
            LruWord.SEEN_AT: zeros(slots),
            LruWord.OWNER_AT: zeros(4 * slots),
        }
        for word, table in self._lists.items():
            self._lru[word] = address_of(table)
        self._lru[LruWord.COMMON] = common
        self._lru[LruWord.CPUS] = cpus
        self._lru[LruWord.HEADS] = slots
        self._lru[LruWord.STEAL] = steal
        self._lru[LruWord.SCANS] = LOCAL_TARGET if common else OWN_TARGET
        self._lru[LruWord.TARGET] = min(max(slots // cpus // 2, 1), LOCAL_TARGET) if common else OWN_TARGET
        self._lru[steal:] = np.arange(cpus)
        self._words[HashWord.LRU_AT] = address_of(self._lru)
        self._kernels.prepare(self._at)

    @cached_property
    def _kernels(self) -> Any:
        from prestocloud_sec.bpf.maps import hash_kernel, lru_kernel

        return SimpleNamespace(
            collect=hash_kernel.collect,
            find=hash_kernel.find,
            step=hash_kernel.step,
            delete=lru_kernel.delete,
            lookup=lru_kernel.lookup,
            prepare=lru_kernel.prepare,
            store=lru_kernel.store,
            update=lru_kernel.update,
        )


class LruPerCpuHashMap(LruHashMap):
    """The same with a value for each processor; user space sees all of them, a program its own.

    Examples
    --------
    >>> recent = LruPerCpuHashMap("u4", "u4", 4, cpus=2)
    >>> recent[1] = [5, 6]
    >>> recent[1].tolist()
    [5, 6]
    """

    type = MapType.LRU_PERCPU_HASH
    per_cpu = True
