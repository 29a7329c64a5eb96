# SPDX-License-Identifier: Apache-2.0
"""Maps under a caller who gives them anything: as user space does, as helpers do, and as creators."""

from __future__ import annotations

import contextlib
import inspect
import itertools
import resource
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from prestocloud_sec.bpf import (
    ArrayMap,
    ArrayOfMaps,
    BloomFilter,
    Cgroup,
    CgroupArray,
    CpuMap,
    DevMap,
    DevMapHash,
    HashMap,
    HashOfMaps,
    LpmTrie,
    LruHashMap,
    LruPerCpuHashMap,
    MapType,
    PerCpuArray,
    PerCpuHashMap,
    PerfBuffer,
    PerfEventArray,
    ProgArray,
    QueueMap,
    RingBuffer,
    StackMap,
    StackTraceMap,
    assemble,
    create_map,
)
from prestocloud_sec.bpf.errors import BpfError, BpfMisuseError
from prestocloud_sec.bpf.maps.codec import codec_of
from tests.test_attack_bpf import survives

RECORD = [("a", "u4"), ("b", "u2", (3,)), ("c", "S3"), ("d", "U2"), ("e", "?"), ("f", "c8")]

MAKERS: dict[str, Callable[[], Any]] = {
    "hash": lambda: HashMap("u4", "u4", 4),
    "hash of bytes": lambda: HashMap(5, 7, 4),
    "hash of structs": lambda: HashMap("<IH", "4s", 4),
    "hash of records": lambda: HashMap(RECORD, RECORD, 4),
    "hash of arrays": lambda: HashMap("(3,)u4", "(2,2)i2", 4),
    "hash of texts": lambda: HashMap("U2", "U3", 4),
    "hash of floats": lambda: HashMap("f8", "f2", 4),
    "array": lambda: ArrayMap("u4", 4),
    "array per processor": lambda: PerCpuArray("u4", 4, cpus=3),
    "hash per processor": lambda: PerCpuHashMap(4, 3, 4, cpus=2),
    "recent": lambda: LruHashMap("u4", "u4", 4),
    "recent per processor": lambda: LruPerCpuHashMap("u4", "u4", 4, cpus=2),
    "trie": lambda: LpmTrie(8, "u4", 4),
    "trie of IPv6": lambda: LpmTrie(20, "u4", 4),
    "queue": lambda: QueueMap("u4", 4),
    "stack": lambda: StackMap("u4", 4),
    "Bloom filter": lambda: BloomFilter("u4", 4),
    "ring": lambda: RingBuffer(4096),
    "perf events": lambda: PerfEventArray(4),
    "programs": lambda: ProgArray(4),
    "groups": lambda: CgroupArray(4),
    "devices": lambda: DevMap(4),
    "devices with programs": lambda: DevMap(4, value=8),
    "devices by hash": lambda: DevMapHash(4, value=8),
    "processors": lambda: CpuMap(4),
    "traces": lambda: StackTraceMap(8, 4),
    "array of maps": lambda: ArrayOfMaps(ArrayMap("u4", 1), 4),
    "hash of maps": lambda: HashOfMaps("u4", ArrayMap("u4", 1), 4),
    "perf buffer": lambda: PerfBuffer(0, 1),
    "group": lambda: Cgroup(1),
}
GOOD: dict[str, Any] = {
    **dict.fromkeys(("key", "value", "index", "size", "cpu", "pages", "id", "max_entries"), 1),
    "flags": 0,
    "pairs": {1: 1},
    "data": b"abcd",
    "callback": lambda _: None,
    "group": Cgroup(1),
    "other": Cgroup(1),
}
OPERATORS = ("__getitem__", "__setitem__", "__delitem__", "__contains__")


def methods(made: Any) -> list[tuple[str, Callable[..., Any], list[str]]]:
    """Return the methods that take something, each with the names of what it takes."""
    found = []
    for name in dir(made):
        if not name.startswith("_") or name in OPERATORS:
            method = getattr(made, name)
            if inspect.ismethod(method):
                parameters = inspect.signature(method).parameters.values()
                found.append((name, method, [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]))
    return [row for row in found if row[2]]


@pytest.mark.parametrize("kind", MAKERS)
def test_every_method_of_every_kind(kind: str) -> None:
    found = methods(MAKERS[kind]())
    assert found
    for (_, method, names), place in ((row, place) for row in found for place in range(len(row[2]))):
        given = [GOOD.get(name) for name in names]

        calls = names == ["callback"]  # what a function raises is its own

        def call(value: Any, method: Any = method, given: Any = given, place: int = place, calls: bool = calls) -> None:
            if not (calls and callable(value)):
                method(*given[:place], value, *given[place + 1 :])

        survives(call)


CREATORS: dict[str, Callable[..., Any]] = {
    "hash": lambda v, **more: HashMap(v, v, 4, **more),
    "array": lambda v, **more: ArrayMap(v, 4, **more),
    "entries": lambda v, **more: ArrayMap("u4", v, **more),
    "queue": lambda v, **more: QueueMap(v, 4, **more),
    "trie": lambda v, **more: LpmTrie(v, "u4", 4, **more),
    "traces": lambda v, **more: StackTraceMap(v, 4, **more),
    "devices": lambda v, **more: DevMap(4, value=v, **more),
    "maps": lambda v, **more: ArrayOfMaps(v, 4, **more),
}


@pytest.mark.parametrize("kind", CREATORS)
def test_what_maps_are_made_of(kind: str) -> None:
    survives(CREATORS[kind])


@pytest.mark.parametrize("name", ["flags", "name", "key"])
def test_how_maps_are_made(name: str) -> None:
    for make in (lambda **more: ArrayMap("u4", 1, **more), lambda **more: StackTraceMap(8, 1, **more)):
        survives(lambda value, make=make: make(**{name: value}))  # type: ignore[misc]


@pytest.mark.parametrize(
    "name", ["type", "key_size", "value_size", "max_entries", "flags", "name", "map_extra", "cpus"]
)
def test_create_map(name: str) -> None:
    good = {"type": 2, "key_size": 4, "value_size": 4, "max_entries": 1}
    survives(lambda value: create_map(**{**good, name: value}))


LISTED = {MapType.LRU_HASH, MapType.LRU_PERCPU_HASH}
"""Kinds that keep every slot in a list from the start, as the kernel does."""
SIZES = (0, 1, 4, 8, 1 << 22, 1 << 31, (1 << 32) - 1)


@pytest.mark.parametrize("kind", range(34))
def test_sizes_that_no_machine_has_are_refused_or_cost_nothing(kind: int) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    most = 1 << 20 if kind in LISTED else 1 << 27
    for key, value, entries in itertools.product(SIZES, SIZES, (1, most, (1 << 32) - 1)):
        for flags in (0, 1):
            with contextlib.suppress(BpfError):
                create_map(kind, key, value, entries, flags)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000


def test_formats_and_iterables_without_end_are_not_followed() -> None:
    for text in ("2147483647s", "999999999999999999999s"):
        with pytest.raises(BpfMisuseError):
            codec_of(text, "value")
    with pytest.raises(BpfMisuseError, match="at most"):
        codec_of(struct.Struct("2147483647s"), "value")
    endless: list[tuple[Any, Any]] = [
        (HashMap(4, "(2,)u4", 2), itertools.count()),
        (HashMap(4, [("a", "u4"), ("b", "u4")], 2), itertools.count()),
        (HashMap(4, "<II", 2), itertools.count()),
        (PerCpuHashMap(4, "u4", 2, cpus=2), itertools.count()),
        (LpmTrie(8, "u4", 2), itertools.count()),
    ]
    for made, values in endless:
        with pytest.raises(BpfMisuseError):
            made.update(b"abcd", values)
        assert len(made) == 0


def test_a_view_of_wider_numbers_is_counted_in_bytes() -> None:
    counters = PerCpuArray("u4", 1, cpus=4)
    with pytest.raises(BpfMisuseError, match="128 bytes"):
        counters[0] = np.zeros(32, "u4").data
    counters[0] = np.arange(8, dtype="u4").data
    assert counters[0].tolist() == [0, 2, 4, 6]


def test_text_that_a_program_spoilt_is_told() -> None:
    names = HashMap("u4", "U2", 2)
    names.program_update(bytes(4), b"\xff" * 8, 0)
    with pytest.raises(BpfError, match="no text"):
        names.lookup(0)


def test_large_arrays_are_gone_over_and_cleared_without_their_memory() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    large = ArrayMap("u8", 1 << 27)  # 1 GiB, if it were there
    large[5], large[(1 << 27) - 1] = 7, 8
    assert list(itertools.islice(large, 3)) == [0, 1, 2]
    large.clear()
    assert (large[5], large[(1 << 27) - 1]) == (0, 0)
    assert len(BloomFilter("u4", 1 << 27)) == 0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000


def test_a_ring_keeps_its_records_where_nobody_can_take_them() -> None:
    ring = RingBuffer(4096)
    ring.output(b"kept")
    with pytest.raises(BpfMisuseError):
        ring.consume(None)  # type: ignore[arg-type]
    assert list(ring) == [b"kept"]


def test_maps_of_maps_do_not_nest() -> None:
    inner = ArrayOfMaps(ArrayMap("u4", 1), 1)
    for make in (lambda: ArrayOfMaps(inner, 1), lambda: HashOfMaps(4, inner, 1)):
        with pytest.raises(BpfError):
            make()
    with pytest.raises(BpfError):
        inner[0] = inner


def test_maps_may_change_while_somebody_goes_over_them() -> None:
    seen = HashMap("u4", "u4", 8)
    seen.merge((number, number) for number in range(8))
    for number in seen:
        del seen[number]
    assert len(seen) == 0
    stages = ProgArray(4)
    for number in range(4):
        stages[number] = assemble("exit")
    for number in stages:
        del stages[number]
    assert len(stages) == 0
