# SPDX-License-Identifier: Apache-2.0
"""What is known of maps before the kernel is asked, and what it tells of one.

Source: Linux 6.18, ``kernel/bpf/syscall.c`` (``bpf_map_value_size``, ``bpf_map_get_info_by_fd``).
"""

from __future__ import annotations

import errno
from dataclasses import dataclass

from prestocloud_sec.bpf.errors import ENOTSUPP
from prestocloud_sec.bpf.maps.kinds import MapType
from prestocloud_sec.wire import shown

__all__ = ["HINTS", "HOLDS_DESCRIPTORS", "KINDS", "PER_CPU", "MapInfo", "map_label"]

PER_CPU = frozenset({MapType.PERCPU_HASH, MapType.PERCPU_ARRAY, MapType.LRU_PERCPU_HASH, MapType.PERCPU_CGROUP_STORAGE})
"""The kinds with a value for each processor."""
HOLDS_DESCRIPTORS = frozenset(
    {
        MapType.PROG_ARRAY,
        MapType.PERF_EVENT_ARRAY,
        MapType.CGROUP_ARRAY,
        MapType.ARRAY_OF_MAPS,
        MapType.HASH_OF_MAPS,
        MapType.SOCKMAP,
        MapType.SOCKHASH,
        MapType.XSKMAP,
        MapType.REUSEPORT_SOCKARRAY,
    }
)
"""The kinds whose value is written as a descriptor (and, where it can be read, read as an identifier)."""

KINDS = frozenset(map(int, MapType))
"""Numbers that are kinds."""

HINTS = {
    errno.EPERM: "the map's flags or `freeze` forbid it, or the process lacks a right",
    ENOTSUPP: "this kind of map has no such operation",
    errno.EBADF: "the value is the descriptor of nothing that this kind of map holds",
}
"""What a refusal may come from, by errno."""


def map_label(kind: int, name: str) -> str:
    """Return what an error calls a map."""
    return f"{MapType(kind).name if kind in KINDS else f'map of kind {kind}'}{f' {shown(name)}' if name else ''}"


@dataclass(frozen=True, slots=True)
class MapInfo:
    """What the kernel knows of a map: its identifier, and what it was made with; sizes in bytes."""

    id: int
    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    name: str
    extra: int
