# SPDX-License-Identifier: Apache-2.0
"""What generated programs are made for: types of programs with their contexts, maps, and declarations of functions."""

from __future__ import annotations

from dataclasses import dataclass

from prestocloud_sec.bpf.maps.kinds import MapFlag, MapType
from prestocloud_sec.bpf.program_type import ProgramType
from prestocloud_sec.bpf.verifier.maps import MapSpec

__all__ = ["DECLARATIONS", "ENDING", "GLOBAL", "MAPS", "PAIR", "TYPES", "Target"]

ARRAY, HASH, PER_CPU, LRU, CONSTANTS, RING, PROGRAMS, GLOBALS, QUEUE, TRIE, NESTED, WRITE_ONLY, ODD, EVENTS = range(14)
MAPS: tuple[MapSpec, ...] = (
    MapSpec(MapType.ARRAY, 4, 48, 4),
    MapSpec(MapType.HASH, 8, 24, 8),
    MapSpec(MapType.PERCPU_ARRAY, 4, 24, 2),
    MapSpec(MapType.LRU_HASH, 4, 12, 8),
    MapSpec(MapType.ARRAY, 4, 32, 1, MapFlag.RDONLY_PROG),
    MapSpec(MapType.RINGBUF, 0, 0, 4096),
    MapSpec(MapType.PROG_ARRAY, 4, 4, 4),
    MapSpec(MapType.ARRAY, 4, 64, 1),
    MapSpec(MapType.QUEUE, 0, 8, 4),
    MapSpec(MapType.LPM_TRIE, 8, 12, 4, MapFlag.NO_PREALLOC),
    MapSpec(MapType.ARRAY_OF_MAPS, 4, 4, 2, inner=MapSpec(MapType.ARRAY, 4, 8, 1)),
    MapSpec(MapType.ARRAY, 4, 20, 2, MapFlag.WRONLY_PROG),
    MapSpec(MapType.HASH, 4, 13, 4),
    MapSpec(MapType.PERF_EVENT_ARRAY, 4, 4, 4),
)
"""The maps that generated programs refer to, by the number in the load."""


@dataclass(frozen=True, slots=True)
class Target:
    """A type of program that is generated.

    Attributes
    ----------
    type : ProgramType
    attach : int
        ``expected_attach_type``.
    size : int
        Bytes of the context.
    fields : tuple of (int, int)
        Offset and size of fields that may be read.
    writes : tuple of (int, int)
        And of some that may be written.
    packet : (int, int) or None
        Where the context has the packet's first byte, and the one after its last.
    writable : bool
        Whether packet bytes may be written.
    results : (int, int)
        What may be returned.
    """

    type: ProgramType
    attach: int
    size: int
    fields: tuple[tuple[int, int], ...]
    writes: tuple[tuple[int, int], ...] = ()
    packet: tuple[int, int] | None = None
    writable: bool = False
    results: tuple[int, int] = (0, 7)


_SKB = ((0, 4), (4, 4), (8, 4), (12, 4), (16, 4), (20, 4), (32, 4), (36, 4), (40, 4), (48, 4), (64, 4), (68, 4), (0, 1))
_CB = ((48, 4), (52, 4), (64, 4), (48, 8))
P = ProgramType
TYPES: tuple[Target, ...] = (
    Target(P.XDP, 0, 24, ((12, 4), (16, 4)), (), (0, 4), True),
    Target(P.SCHED_CLS, 0, 192, _SKB, ((8, 4), (44, 4), *_CB), (76, 80), True),
    Target(P.SOCKET_FILTER, 0, 192, _SKB, _CB),
    Target(P.CGROUP_SKB, 0, 192, _SKB, ((8, 4), *_CB), (76, 80), False, (0, 1)),
    Target(P.CGROUP_SKB, 1, 192, _SKB, ((8, 4), *_CB), (76, 80), False, (0, 3)),
    Target(P.LWT_XMIT, 0, 192, _SKB, ((8, 4), *_CB), (76, 80), True),
    Target(P.LWT_IN, 0, 192, _SKB, ((8, 4), *_CB), (76, 80), False),
    Target(P.SK_SKB, 0, 192, ((0, 4), (16, 4), (32, 4)), ((32, 4), (44, 4)), (76, 80), True, (0, 1)),
    Target(P.KPROBE, 0, 168, ((0, 8), (8, 8), (16, 8), (160, 8))),
    Target(P.TRACEPOINT, 0, 64, ((8, 8), (16, 8), (24, 4), (10, 2))),
    Target(P.RAW_TRACEPOINT, 0, 96, ((0, 8), (8, 8), (16, 8))),
    Target(P.PERF_EVENT, 0, 184, ((0, 8), (8, 8), (168, 8), (176, 8))),
    Target(P.CGROUP_SOCK, 2, 80, ((4, 4), (8, 4), (12, 4)), ((16, 4), (20, 4)), None, False, (0, 1)),
    Target(P.CGROUP_SOCK_ADDR, 10, 72, ((0, 4), (4, 4), (24, 4), (28, 4)), ((4, 4), (24, 4)), None, False, (0, 1)),
    Target(P.SOCK_OPS, 0, 224, ((0, 4), (4, 4), (20, 4), (64, 4)), ((4, 4), (8, 4)), None, False, (0, 1)),
    Target(P.CGROUP_DEVICE, 0, 12, ((0, 4), (4, 4), (8, 4)), (), None, False, (0, 1)),
    Target(P.CGROUP_SYSCTL, 18, 8, ((0, 4), (4, 4)), ((4, 4),), None, False, (0, 1)),
    Target(P.SK_LOOKUP, 36, 72, ((8, 4), (12, 4), (16, 4)), (), None, False, (0, 1)),
    Target(P.SK_MSG, 0, 80, ((16, 4), (20, 4), (68, 4)), (), None, False, (0, 1)),
)
"""The types of programs that are generated; the first ones most."""

PAIR = "struct pair { u64 a; u64 b; };"
"""The struct that the declarations name."""
DECLARATIONS = {
    "sum": "int sum(u64 a, u64 b, u64 c)",
    "fill": "int fill(struct pair *into __arg_nonnull, u64 value)",
    "maybe": "int maybe(struct pair *into, u64 value)",
    "read": "int read(void *ctx __arg_ctx)",
    "word": "int word(void *ctx __arg_ctx)",
    "other": "int other(void *ctx __arg_ctx)",
    "take": "int take(u64 *iterator)",
    "turn": "int turn(u32 index, void *ctx)",
    "element": "int element(void *map, void *key, void *value, void *ctx)",
}
"""The functions of generated programs, as C has them."""
GLOBAL = frozenset({"sum", "fill", "maybe", "read", "word", "other"})
"""Those that may be judged by themselves."""
ENDING = frozenset({"word", "other"})
"""Those that may end elsewhere than at their exit; they are never static, as Linux can crash over such."""
