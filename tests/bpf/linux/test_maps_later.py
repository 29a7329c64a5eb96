# SPDX-License-Identifier: Apache-2.0
"""Kinds of maps after Linux 4.11: queues, stacks, bloom filters, ring buffers, maps of maps, devices, processors.

Expected are the rules of the kernel's sources, named at each test; the running kernel must agree.
"""

from __future__ import annotations

import mmap
import socket
import struct
from typing import Any

import pytest

from prestocloud_sec import bpf
from prestocloud_sec.bpf.errors import BpfMisuseError, MapError
from prestocloud_sec.bpf.linux import KernelMap, KernelProgram
from prestocloud_sec.bpf.maps.kinds import MapFlag, MapType
from tests.bpf.linux.kernel import done, key_of, needs_kernel, outcome, standard

pytestmark = needs_kernel

KEYLESS = {"key_size": 0, "value_size": 4, "max_entries": 3}


def word(number: int) -> bytes:
    return struct.pack("<I", number)


@pytest.mark.parametrize("kind", [MapType.QUEUE, MapType.STACK])
def test_queues_and_stacks(kind: MapType) -> None:
    """Linux ``kernel/bpf/queue_stack_maps.c``."""
    with KernelMap(kind, **KEYLESS) as there:
        assert there.pop() is None
        assert there.peek() is None
        for number in range(3):
            there.push(word(number))
        assert done(lambda: there.push(word(3))) == "E2BIG"
        there.push(word(9), 2)  # BPF_EXIST: the oldest gives way
        order = [1, 2, 9] if kind is MapType.QUEUE else [9, 2, 1]
        assert there.peek() == word(order[0])
        assert [there.pop() for _ in range(4)] == [word(number) for number in order] + [None]
        assert done(lambda: there.push(word(1), 1)) == "EINVAL"
        assert done(lambda: there.push(word(1), 3)) == "EINVAL"
        assert done(lambda: there.delete(b"")) == "EINVAL"
        assert outcome(there.next_key) == "EINVAL"
        with pytest.raises(BpfMisuseError, match="value: 5 bytes; expected 4 bytes"):
            there.push(bytes(5))
        with pytest.raises(BpfMisuseError, match="key: 4 bytes; expected 0 bytes"):
            there.lookup(bytes(4))


@pytest.mark.parametrize("kind", [MapType.QUEUE, MapType.STACK])
@pytest.mark.parametrize(
    ("changed", "answer"),
    [
        ({}, "ok"),
        ({"key_size": 4}, "EINVAL"),
        ({"value_size": 0}, "EINVAL"),
        ({"max_entries": 0}, "EINVAL"),
        ({"flags": MapFlag.NO_PREALLOC}, "EINVAL"),
        ({"flags": MapFlag.RDONLY | MapFlag.WRONLY}, "EINVAL"),
        ({"flags": MapFlag.RDONLY}, "ok"),
        ({"value_size": 1 << 30}, "E2BIG"),
    ],
)
def test_making_queues_and_stacks(kind: MapType, changed: dict[str, int], answer: str) -> None:
    assert outcome(lambda: KernelMap(kind, **(KEYLESS | changed))) == answer


def test_bloom_filters() -> None:
    """Linux ``kernel/bpf/bloom_filter.c``."""
    with KernelMap(MapType.BLOOM_FILTER, value_size=4, max_entries=1000, extra=5) as there:
        for number in range(0, 1000, 10):
            there.push(word(number))
        assert all(there.contains(word(number)) for number in range(0, 1000, 10))
        assert sum(there.contains(word(number)) for number in range(10_000, 20_000)) < 1000
        assert there.info().extra == 5
        assert done(lambda: there.push(word(1), 1)) == "EINVAL"
        assert done(lambda: there.push(word(1), 2)) == "EINVAL"
        assert outcome(there.pop) == "ENOTSUPP"  # by bpf(2) itself, which pops from queues and stacks only
        assert done(lambda: there.delete(b"")) == "EOPNOTSUPP"
        assert outcome(there.next_key) == "EOPNOTSUPP"
        with pytest.raises(BpfMisuseError, match="value: 3 bytes"):
            there.contains(bytes(3))
    for changed in ({"key_size": 4}, {"value_size": 0}, {"max_entries": 0}, {"extra": 16}, {"flags": 1}):
        arguments = {"value_size": 4, "max_entries": 10} | changed
        assert outcome(lambda a=arguments: KernelMap(MapType.BLOOM_FILTER, **a)) == "EINVAL"
    with standard("HASH") as other, pytest.raises(BpfMisuseError, match="no bloom filter"):
        other.contains(bytes(8))


def test_ring_buffers() -> None:
    """Linux ``kernel/bpf/ringbuf.c``."""
    page = mmap.PAGESIZE
    with KernelMap(MapType.RINGBUF, max_entries=2 * page) as there:
        assert outcome(lambda: there.lookup(b"")) == "ENOTSUPP"
        assert done(lambda: there.update(b"", b"")) == "ENOTSUPP"
        assert done(lambda: there.delete(b"")) == "ENOTSUPP"
        assert outcome(there.next_key) == "ENOTSUPP"
        shown = mmap.mmap(there.fileno(), page, mmap.MAP_SHARED, mmap.PROT_READ, offset=page)
        assert shown[:8] == bytes(8)  # the producer has written nothing
        shown.close()
    wrong = [{"max_entries": n} for n in (0, 100, 3 * page, page // 2)]
    wrong += [{"key_size": 4}, {"value_size": 4}, {"flags": MapFlag.NO_PREALLOC}]
    for changed in wrong:
        arguments = {"max_entries": page} | changed
        assert outcome(lambda a=arguments: KernelMap(MapType.RINGBUF, **a)) == "EINVAL"


@pytest.mark.parametrize("kind", [MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS])
def test_maps_of_maps(kind: MapType) -> None:
    """Linux ``kernel/bpf/map_in_map.c``."""
    outer = {"key_size": 4, "value_size": 4, "max_entries": 2}
    with (
        standard("HASH") as template,
        standard("HASH") as first,
        standard("HASH", value_size=16) as wider,
        KernelMap(kind, **outer, inner=template) as there,
    ):
        key = word(1)
        assert there.lookup(key) is None
        there.update(key, first)
        assert there.lookup(key) == word(first.info().id)
        first.update(b"deep", b"in there")
        found = there.lookup(key)
        assert found is not None
        with KernelMap.from_id(int.from_bytes(found, "little")) as again:
            assert again.lookup(b"deep") == b"in there"
        assert done(lambda: there.update(key, wider)) == "EINVAL"
        assert done(lambda: there.update(key, word(0xFFFF))) == "EBADF"
        assert list(there.items()) == [(key, word(first.info().id))]
        there.delete(key)
        assert there.lookup(key) is None
        assert done(lambda: there.delete(key)) == "ENOENT"
        assert outcome(lambda: KernelMap(kind, **outer, inner=there)) == "EINVAL"  # one level only
        assert outcome(lambda: KernelMap(kind, **(outer | {"value_size": 8}), inner=template)) == "EINVAL"
        template.close()
        with pytest.raises(BpfMisuseError, match="it was closed"):
            KernelMap(kind, **outer, inner=template)


def test_maps_of_maps_need_a_map_to_be_like() -> None:
    with pytest.raises(MapError) as refused:
        KernelMap(MapType.ARRAY_OF_MAPS, key_size=4, value_size=4, max_entries=1)
    assert refused.value.symbol in {"EBADF", "EINVAL"}  # descriptor 0 is whatever it is, but no map


@pytest.mark.parametrize("kind", [MapType.DEVMAP, MapType.DEVMAP_HASH])
@pytest.mark.parametrize("value_size", [4, 8])
def test_devices(kind: MapType, value_size: int) -> None:
    """Linux ``kernel/bpf/devmap.c``; the loopback device is in every network namespace."""
    loopback = word(socket.if_nametoindex("lo")).ljust(value_size, b"\0")
    none = word(0x7FFFFFF0).ljust(value_size, b"\0")
    with KernelMap(kind, key_size=4, value_size=value_size, max_entries=2) as there:
        assert there.lookup(word(1)) is None
        there.update(word(1), loopback)
        assert there.lookup(word(1)) == loopback
        held = [word(1)] if kind is MapType.DEVMAP_HASH else [word(0), word(1)]
        assert there.keys() == held
        assert done(lambda: there.update(word(0), none)) == ("EINVAL")
        assert done(lambda: there.update(word(1), loopback, 1)) == "EEXIST"
        assert done(lambda: there.update(word(1), loopback, 4)) == "EINVAL"
        if kind is MapType.DEVMAP:
            assert done(lambda: there.update(word(2), loopback)) == "E2BIG"
        there.delete(word(1))
        assert there.lookup(word(1)) is None
    for changed in ({"key_size": 8}, {"value_size": 5}, {"max_entries": 0}, {"flags": 1}):
        arguments = {"key_size": 4, "value_size": value_size, "max_entries": 2} | changed
        assert outcome(lambda a=arguments: KernelMap(kind, **a)) == "EINVAL"


def test_processors_to_hand_packets_to() -> None:
    """Linux ``kernel/bpf/cpumap.c``; the value is the length of a queue."""
    with KernelMap(MapType.CPUMAP, key_size=4, value_size=4, max_entries=1) as there:
        assert there.lookup(word(0)) in {None, word(0)}
        there.update(word(0), word(192))
        assert there.lookup(word(0)) == word(192)
        assert done(lambda: there.update(word(1), word(192))) == "E2BIG"
        assert done(lambda: there.update(word(0), word(192), 1)) == "EEXIST"
        assert done(lambda: there.update(word(0), word(16385))) == "EOVERFLOW"
        there.delete(word(0))
        assert there.lookup(word(0)) in {None, word(0)}
    for changed in ({"key_size": 8}, {"value_size": 5}, {"max_entries": 0}, {"flags": 1}):
        arguments = {"key_size": 4, "value_size": 4, "max_entries": 1} | changed
        assert outcome(lambda a=arguments: KernelMap(MapType.CPUMAP, **a)) == "EINVAL"


def test_a_device_of_another_kind_of_key() -> None:
    with KernelMap(MapType.DEVMAP_HASH, key_size=4, value_size=4, max_entries=4) as there:
        loopback = word(socket.if_nametoindex("lo"))
        there.update(key_of("HASH", 0xFFFFFFFF), loopback)
        assert dict(there.items()) == {key_of("HASH", 0xFFFFFFFF): loopback}


@pytest.mark.parametrize(
    "model",
    [
        bpf.HashMap("u4", "u8", 10, name="seen"),
        bpf.LpmTrie(8, "u4", 10, name="routes"),
        bpf.ArrayMap([("a", "u4"), ("b", "u2")], 3, bpf.MapFlag.RDONLY_PROG),
        bpf.PerCpuArray("u8", 4),
        bpf.QueueMap(4, 10),
        bpf.BloomFilter(4, 10, map_extra=3),
        bpf.RingBuffer(4096),
    ],
    ids=lambda model: type(model).__name__,
)
def test_a_map_like_one_of_user_space(model: Any) -> None:
    with KernelMap.like(model) as there:
        info = there.info()
        assert (info.type, info.key_size, info.value_size) == (model.type, model.key_size, model.value_size)
        assert (info.max_entries, info.flags, info.name) == (model.max_entries, model.flags, model.name)
        assert info.extra == getattr(model, "map_extra", 0)


def test_a_program_that_is_given_a_map_of_user_space_says_how_to_make_one() -> None:
    seen = bpf.HashMap("u4", "u8", 10, name="seen")
    program = bpf.assemble("r1 = map[seen]\nr0 = 0\nexit", type=bpf.ProgramType.XDP)
    with pytest.raises(BpfMisuseError, match=r"KernelMap\.like\(map\)"):
        KernelProgram.load(program, maps={"seen": seen})  # type: ignore[dict-item]
    with KernelMap.like(seen) as there, KernelProgram.load(program, maps={"seen": there}) as loaded:
        assert loaded.test_run(bytes(14)).value == 0
    with pytest.raises(BpfMisuseError, match=r"KernelMap\.like"):
        KernelMap.like({})  # type: ignore[arg-type]
