# SPDX-License-Identifier: Apache-2.0
"""Kinds of maps and the flags of maps and updates, by the kernel's numbers.

Source: Linux 6.18, ``include/uapi/linux/bpf.h``: ``enum bpf_map_type``, ``BPF_F_*`` for ``BPF_MAP_CREATE`` and for
``BPF_MAP_UPDATE_ELEM``.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

__all__ = ["PER_CPU", "MapFlag", "MapType", "UpdateFlag"]


class MapType(IntEnum):
    """Kinds of maps (``enum bpf_map_type``)."""

    UNSPEC = 0
    HASH = 1
    ARRAY = 2
    PROG_ARRAY = 3
    PERF_EVENT_ARRAY = 4
    PERCPU_HASH = 5
    PERCPU_ARRAY = 6
    STACK_TRACE = 7
    CGROUP_ARRAY = 8
    LRU_HASH = 9
    LRU_PERCPU_HASH = 10
    LPM_TRIE = 11
    ARRAY_OF_MAPS = 12
    HASH_OF_MAPS = 13
    DEVMAP = 14
    SOCKMAP = 15
    CPUMAP = 16
    XSKMAP = 17
    SOCKHASH = 18
    CGROUP_STORAGE = 19
    REUSEPORT_SOCKARRAY = 20
    PERCPU_CGROUP_STORAGE = 21
    QUEUE = 22
    STACK = 23
    SK_STORAGE = 24
    DEVMAP_HASH = 25
    STRUCT_OPS = 26
    RINGBUF = 27
    INODE_STORAGE = 28
    TASK_STORAGE = 29
    BLOOM_FILTER = 30
    USER_RINGBUF = 31
    CGRP_STORAGE = 32
    ARENA = 33


PER_CPU = frozenset({MapType.PERCPU_HASH, MapType.PERCPU_ARRAY, MapType.LRU_PERCPU_HASH, MapType.PERCPU_CGROUP_STORAGE})
"""The kinds with a value for each processor."""


class MapFlag(IntFlag):
    """Flags that a map is made with (``BPF_F_*``)."""

    NO_PREALLOC = 1 << 0
    NO_COMMON_LRU = 1 << 1
    NUMA_NODE = 1 << 2
    RDONLY = 1 << 3
    """User space may not write."""
    WRONLY = 1 << 4
    """User space may not read."""
    STACK_BUILD_ID = 1 << 5
    ZERO_SEED = 1 << 6
    """The hash is not seeded: the same order in every map. For tests."""
    RDONLY_PROG = 1 << 7
    """Programs may not write."""
    WRONLY_PROG = 1 << 8
    """Programs may not read."""
    CLONE = 1 << 9
    MMAPABLE = 1 << 10
    PRESERVE_ELEMS = 1 << 11
    INNER_MAP = 1 << 12
    """An array whose size may differ from that of the map it stands in for inside a map of maps."""


class UpdateFlag(IntFlag):
    """Flags of an update."""

    ANY = 0
    """Write, whether the element exists or not."""
    NOEXIST = 1 << 0
    """Only where the element does not exist."""
    EXIST = 1 << 1
    """Only where it does."""
    LOCK = 1 << 2
    """Under the value's spin lock."""
