# SPDX-License-Identifier: Apache-2.0
"""Types, flags and creation rules of BPF maps, as Linux 6.18 has them (``include/uapi/linux/bpf.h``).

What may be created is a table: one row for each type, checked in the kernel's order, so that the errno is the kernel's
too. Where a row was tried on a running kernel, the tests say so.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from enum import IntEnum, IntFlag

from prestocloud_sec.bpf.errors import ENOTSUPP, MapError

__all__ = [
    "ANY",
    "EXIST",
    "LOCK",
    "NOEXIST",
    "PAGE",
    "RULES",
    "Limit",
    "MapFlag",
    "MapType",
    "Rules",
    "check_creation",
]


class MapType(IntEnum):
    """Kinds of maps, by the kernel's number (``enum bpf_map_type``)."""

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
    INSN_ARRAY = 34


class MapFlag(IntFlag):
    """Flags a map is created with (``BPF_F_*``)."""

    NO_PREALLOC = 1
    NO_COMMON_LRU = 2
    NUMA_NODE = 4
    RDONLY = 8
    """User space may read only."""
    WRONLY = 16
    """User space may write only."""
    STACK_BUILD_ID = 32
    ZERO_SEED = 64
    """The hash has no secret: the same order each time, and no defence against keys that were chosen to collide."""
    RDONLY_PROG = 128
    WRONLY_PROG = 256
    CLONE = 512
    MMAPABLE = 1024
    PRESERVE_ELEMS = 2048
    INNER_MAP = 4096


ANY, NOEXIST, EXIST, LOCK = 0, 1, 2, 4
"""Flags of an update: whatever was there; only if the key is absent; only if it is present; under its spin lock."""

_F = MapFlag
_USER = _F.RDONLY | _F.WRONLY
_ACCESS = _USER | _F.RDONLY_PROG | _F.WRONLY_PROG
_HASH = _F.NO_PREALLOC | _F.NO_COMMON_LRU | _F.NUMA_NODE | _ACCESS | _F.ZERO_SEED
_ARRAY = _F.NUMA_NODE | _ACCESS
_NO_FLAGS = MapFlag(0)
_U32_MAX = 0xFFFF_FFFF

LARGEST_ALLOCATION = 4 << 20
"""Bytes that one allocation of the kernel can have (``KMALLOC_MAX_SIZE`` with pages of 4 KiB)."""
LARGEST_PER_CPU = 32 << 10
"""Bytes of one value of a per-CPU map (``PCPU_MIN_UNIT_SIZE``)."""
MOST_STACK_FRAMES = 127
"""``kernel.perf_event_max_stack``, unless an administrator changed it."""
HASH_ELEMENT = 48
"""Bytes that the kernel keeps with each element of a hash map."""
LARGEST_PREFIX = 256
"""Bytes of the longest prefix of a trie (``LPM_DATA_SIZE_MAX``)."""
LPM_NODE = 40
"""Bytes that the kernel keeps with each node of a trie."""
MOST_BUCKETS = 1 << 27
"""Buckets that a hash map can have: their table must be shorter than 4 GiB, at 16 bytes each."""
MOST_PROCESSORS = 8192
"""``NR_CPUS`` of the kernels that distributions ship for servers; a kernel built for fewer refuses more."""
PAGE = 4096
"""Bytes of a page of memory; ring buffers and perf buffers are made of them."""


@dataclass(frozen=True, slots=True)
class Limit:
    """The greatest number that is allowed, and the errno for a greater one."""

    most: int
    errno: int = errno.E2BIG


@dataclass(frozen=True, slots=True)
class Rules:
    """What a map of one type may be created with.

    Attributes
    ----------
    flags : MapFlag
        Flags that are allowed.
    key : tuple of int
        Least and greatest size of a key, in bytes.
    value : tuple of int
        Sizes of a value that are allowed; empty for all above 0.
    required : MapFlag
        Flags that must be given.
    most_value : Limit
        Of the size of a value, in bytes.
    most_entries : Limit
        Of the number of elements.
    """

    flags: MapFlag
    key: tuple[int, int] = (4, 4)
    value: tuple[int, ...] = ()
    required: MapFlag = _NO_FLAGS
    most_value: Limit = Limit(_U32_MAX)
    most_entries: Limit = Limit(_U32_MAX)


_ANY_KEY = (1, _U32_MAX)
_NO_KEY = (0, 0)
_BUCKETS = Limit(MOST_BUCKETS)
_OF_EACH_CPU = Limit(LARGEST_PER_CPU)
_ONE_ALLOCATION = Limit(LARGEST_ALLOCATION)
_ONE_NODE = Limit(LARGEST_ALLOCATION - LARGEST_PREFIX - LPM_NODE, errno.EINVAL)

RULES: dict[MapType, Rules] = {
    MapType.HASH: Rules(_HASH & ~_F.NO_COMMON_LRU, _ANY_KEY, most_entries=_BUCKETS),
    MapType.PERCPU_HASH: Rules(_HASH & ~_F.NO_COMMON_LRU, _ANY_KEY, most_value=_OF_EACH_CPU, most_entries=_BUCKETS),
    MapType.LRU_HASH: Rules(_HASH, _ANY_KEY, most_entries=_BUCKETS),
    MapType.LRU_PERCPU_HASH: Rules(_HASH, _ANY_KEY, most_value=_OF_EACH_CPU, most_entries=_BUCKETS),
    MapType.HASH_OF_MAPS: Rules(_HASH & ~_F.NO_COMMON_LRU, _ANY_KEY, (4,), most_entries=_BUCKETS),
    MapType.ARRAY: Rules(_ARRAY | _F.MMAPABLE | _F.INNER_MAP, most_value=Limit(0x7FFF_FFFF)),
    MapType.PERCPU_ARRAY: Rules(_ARRAY, most_value=_OF_EACH_CPU),
    MapType.PROG_ARRAY: Rules(_F.NUMA_NODE | _USER, value=(4,)),
    MapType.PERF_EVENT_ARRAY: Rules(_F.NUMA_NODE | _USER | _F.PRESERVE_ELEMS, value=(4,)),
    MapType.CGROUP_ARRAY: Rules(_F.NUMA_NODE | _USER, value=(4,)),
    MapType.ARRAY_OF_MAPS: Rules(_F.NUMA_NODE | _USER, value=(4,)),
    MapType.STACK_TRACE: Rules(_F.NUMA_NODE | _USER | _F.STACK_BUILD_ID),
    MapType.LPM_TRIE: Rules(
        _F.NO_PREALLOC | _F.NUMA_NODE | _ACCESS,
        (5, 4 + LARGEST_PREFIX),
        required=_F.NO_PREALLOC,
        most_value=_ONE_NODE,
    ),
    MapType.DEVMAP: Rules(_F.NUMA_NODE | _USER, value=(4, 8)),
    MapType.DEVMAP_HASH: Rules(_F.NUMA_NODE | _USER, value=(4, 8), most_entries=Limit(1 << 31, errno.EINVAL)),
    MapType.CPUMAP: Rules(_F.NUMA_NODE, value=(4, 8), most_entries=Limit(MOST_PROCESSORS)),
    MapType.QUEUE: Rules(_F.NUMA_NODE | _ACCESS, _NO_KEY, most_value=_ONE_ALLOCATION),
    MapType.STACK: Rules(_F.NUMA_NODE | _ACCESS, _NO_KEY, most_value=_ONE_ALLOCATION),
    MapType.BLOOM_FILTER: Rules(_F.NUMA_NODE | _F.ZERO_SEED | _ACCESS, _NO_KEY, most_value=_ONE_ALLOCATION),
    MapType.RINGBUF: Rules(_F.NUMA_NODE, _NO_KEY, (0,)),
}
"""The rules of every type that can be created here."""

_HASHES = {
    MapType.HASH,
    MapType.PERCPU_HASH,
    MapType.LRU_HASH,
    MapType.LRU_PERCPU_HASH,
    MapType.HASH_OF_MAPS,
}
_LRU = {MapType.LRU_HASH, MapType.LRU_PERCPU_HASH}


def _refused(number: int, kind: MapType, what: str, expected: str | None = None) -> MapError:
    return MapError(number, what, where=kind.name, expected=expected)


def check_creation(kind: MapType, key_size: int, value_size: int, max_entries: int, flags: int) -> None:
    """Raise what the kernel gives where a map may not be created like this.

    Parameters
    ----------
    kind : MapType
        A type that `RULES` has.
    key_size, value_size : int
        Bytes of a key and of a value.
    max_entries : int
        Elements; of a ring buffer, bytes.
    flags : int
        Bits of `MapFlag`.

    Raises
    ------
    MapError
        With the kernel's errno.
    """
    rules = RULES[kind]
    invalid = errno.EINVAL
    if flags & ~int(rules.flags):
        raise _refused(invalid, kind, f"flags {flags:#x}", f"bits of {int(rules.flags):#x}")
    if int(rules.required) & ~flags:
        raise _refused(invalid, kind, f"flags {flags:#x}", f"{rules.required.name} among them")
    for pair in (_USER, _F.RDONLY_PROG | _F.WRONLY_PROG):
        if flags & pair == pair:
            raise _refused(invalid, kind, "neither reading nor writing would be allowed", "one of the flags")
    if kind in _LRU and flags & _F.NO_PREALLOC:
        raise _refused(ENOTSUPP, kind, "NO_PREALLOC", "storage made beforehand, which it evicts from")
    if not rules.key[0] <= key_size <= rules.key[1]:
        raise _refused(invalid, kind, f"key of {key_size} bytes", f"{rules.key[0]} to {rules.key[1]}")
    if rules.value and value_size not in rules.value:
        raise _refused(invalid, kind, f"value of {value_size} bytes", " or ".join(map(str, rules.value)))
    if value_size == 0 and kind is not MapType.RINGBUF:
        raise _refused(invalid, kind, "value of 0 bytes", "1 or more")
    if max_entries == 0:
        raise _refused(invalid, kind, "room for no entries", "max_entries of 1 or more")
    if value_size > rules.most_value.most:
        raise _refused(rules.most_value.errno, kind, f"value of {value_size} bytes", f"{rules.most_value.most} at most")
    if max_entries > rules.most_entries.most:
        raise _refused(rules.most_entries.errno, kind, f"{max_entries} entries", f"{rules.most_entries.most} at most")
    _check_shape(kind, key_size, value_size, max_entries, flags)


def _check_shape(kind: MapType, key_size: int, value_size: int, max_entries: int, flags: int) -> None:
    """Check what depends on more than one number."""
    if kind in _HASHES and key_size + value_size >= LARGEST_ALLOCATION - HASH_ELEMENT:
        raise _refused(errno.E2BIG, kind, f"elements of {key_size + value_size} bytes", "4 MiB at most")
    if kind is MapType.STACK_TRACE:
        entry = 32 if flags & _F.STACK_BUILD_ID else 8
        if value_size < 8 or value_size % entry or value_size // entry > MOST_STACK_FRAMES:
            raise _refused(errno.EINVAL, kind, f"value of {value_size} bytes", f"{entry} for each of 1 to 127 frames")
    if kind is MapType.RINGBUF and (max_entries & (max_entries - 1) or max_entries % PAGE):
        raise _refused(errno.EINVAL, kind, f"{max_entries} bytes", f"a power of two, {PAGE} or more")
