# SPDX-License-Identifier: Apache-2.0
"""Maps by type and sizes, as the system call and ELF files name them."""

from __future__ import annotations

import errno
import importlib
from typing import TYPE_CHECKING, Any

from prestocloud_sec.bpf.errors import BpfMisuseError, MapError
from prestocloud_sec.bpf.maps.kinds import RULES, MapType
from prestocloud_sec.wire import whole

if TYPE_CHECKING:
    from prestocloud_sec.bpf.maps.base import Map

__all__ = ["create_map"]

_CLASSES: dict[MapType, tuple[str, str]] = {
    MapType.HASH: ("hash", "HashMap"),
    MapType.ARRAY: ("array", "ArrayMap"),
    MapType.PROG_ARRAY: ("progarray", "ProgArray"),
    MapType.PERF_EVENT_ARRAY: ("perf", "PerfEventArray"),
    MapType.PERCPU_HASH: ("hash", "PerCpuHashMap"),
    MapType.PERCPU_ARRAY: ("array", "PerCpuArray"),
    MapType.STACK_TRACE: ("stacktrace", "StackTraceMap"),
    MapType.CGROUP_ARRAY: ("cgroup", "CgroupArray"),
    MapType.LRU_HASH: ("lru", "LruHashMap"),
    MapType.LRU_PERCPU_HASH: ("lru", "LruPerCpuHashMap"),
    MapType.LPM_TRIE: ("lpm", "LpmTrie"),
    MapType.ARRAY_OF_MAPS: ("nested", "ArrayOfMaps"),
    MapType.HASH_OF_MAPS: ("nested", "HashOfMaps"),
    MapType.DEVMAP: ("devmap", "DevMap"),
    MapType.DEVMAP_HASH: ("devmap", "DevMapHash"),
    MapType.CPUMAP: ("devmap", "CpuMap"),
    MapType.QUEUE: ("queue", "QueueMap"),
    MapType.STACK: ("queue", "StackMap"),
    MapType.BLOOM_FILTER: ("bloom", "BloomFilter"),
    MapType.RINGBUF: ("ringbuf", "RingBuffer"),
}
"""Module and class of each type."""
_WITH_CPUS = {
    MapType.PERCPU_HASH,
    MapType.PERCPU_ARRAY,
    MapType.LRU_HASH,
    MapType.LRU_PERCPU_HASH,
    MapType.CPUMAP,
}
_NESTED = {MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS}


def create_map(
    type: int,
    key_size: Any,
    value_size: Any,
    max_entries: int,
    flags: int = 0,
    *,
    name: str = "",
    map_extra: int = 0,
    inner: Map | None = None,
    cpus: int | None = None,
) -> Map:
    """Make a map of any type.

    Parameters
    ----------
    type : MapType or int
        Its type.
    key_size, value_size : int, dtype, str or struct.Struct
        Bytes of a key and of a value, or what they are.
    max_entries, flags, name
        As for every `Map`.
    map_extra : int
        Hash functions of a Bloom filter; 0 for all others.
    inner : Map, optional
        The model of a map of maps.
    cpus : int, optional
        Processors, for the maps that know of them.

    Raises
    ------
    MapError
        Where the kernel would not create such a map, with its errno; EINVAL for types that do not exist, or not here.
    BpfMisuseError
        If an argument is of the wrong type.

    Examples
    --------
    >>> create_map(MapType.LPM_TRIE, 8, 4, 100, 1)
    <LpmTrie: prefix of 32 bits -> 4 bytes, 0 of 100 entries, NO_PREALLOC>
    """
    number = whole(type, "type", 0, 0xFFFF_FFFF, error=BpfMisuseError)
    found = next((kind for kind in _CLASSES if kind == number), None)
    if found is None:
        known = next((kind.name for kind in MapType if kind == number), str(number))
        raise MapError(
            errno.EINVAL, f"no maps of type {known}", where="type", expected=", ".join(k.name for k in RULES)
        )
    module, title = _CLASSES[found]
    kind = getattr(importlib.import_module(f"prestocloud_sec.bpf.maps.{module}"), title)
    given: dict[str, Any] = {
        "key": key_size,
        "value": value_size,
        "max_entries": max_entries,
        "flags": flags,
        "name": name,
    }
    if found in _WITH_CPUS:
        given["cpus"] = cpus
    if found in _NESTED:
        given["inner"] = inner
    if found is MapType.BLOOM_FILTER:
        given["map_extra"] = map_extra
    elif whole(map_extra, "map_extra", 0, (1 << 64) - 1, error=BpfMisuseError):
        raise MapError(errno.EINVAL, f"map_extra {map_extra}", where=found.name, expected="0")
    made: Map = kind(**given)
    return made
