# SPDX-License-Identifier: Apache-2.0
"""Kinds of maps that came after Linux 4.11.

What operations answer was asked of Linux 6.18 through bpf(2), directly. Ring buffers, which are read through shared
memory, follow ``kernel/bpf/ringbuf.c``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from prestocloud_sec import bpf
from prestocloud_sec.bpf import MapType, create_map
from prestocloud_sec.bpf.errors import BpfMisuseError, MapError, MissingKeyError
from prestocloud_sec.bpf.maps.ringbuf import AVAILABLE, CONSUMER, FORCE_WAKEUP, NO_WAKEUP, PRODUCER, SIZE

XDP = bpf.Program(bpf.assemble("exit").instructions, type=bpf.ProgramType.XDP)
FILTER = bpf.Program(bpf.assemble("exit").instructions, type=bpf.ProgramType.SOCKET_FILTER)


def answer(call: Callable[[], Any]) -> Any:
    try:
        result = call()
    except MapError as error:
        return error.symbol
    return "ok" if result is None else result


def by_flag(there: Any, key: Any, value: Any, flags: tuple[int, ...]) -> list[Any]:
    return [answer(lambda flag=flag: there.update(key, value, flag)) for flag in flags]


# --- Queues and stacks.


@pytest.mark.parametrize(("kind", "order"), [(bpf.QueueMap, [1, 3, 77]), (bpf.StackMap, [77, 3, 1])])
def test_queues_and_stacks(kind: Any, order: list[int]) -> None:
    there = kind("u4", 3)
    assert answer(there.peek) == answer(there.pop) == "ENOENT"
    assert answer(lambda: there.delete(b"")) == answer(there.next_key) == "EINVAL"
    flags = (0, 1, 2, 3, 4, 5, 6, 8, 1 << 32)
    pushed = [answer(lambda flag=flag: there.push(flag + 1 & 0xFF, flag)) for flag in flags]
    assert pushed == ["ok", "EINVAL", "ok", *["EINVAL"] * 6]
    assert answer(lambda: there.push(77)) == "ok"
    assert answer(lambda: there.push(78)) == "E2BIG"
    assert list(there) == there.to_numpy().tolist() == order
    there.push(78, 2)
    assert sorted(there) == [3, 77, 78]
    assert [there.pop() for _ in range(3)] == ([3, 77, 78] if kind is bpf.QueueMap else [78, 77, 3])
    assert answer(there.pop) == "ENOENT"
    assert there.to_numpy().shape == (0,)


@pytest.mark.parametrize("kind", [bpf.QueueMap, bpf.StackMap])
@pytest.mark.parametrize("take", ["pop", "peek"])
def test_an_empty_one_says_so(kind: type[bpf.QueueMap], take: str) -> None:
    with pytest.raises(MissingKeyError, match=r"it is empty \[ENOENT\]; expected a value that was pushed"):
        getattr(kind(4, 1), take)()


def test_programs_use_queues() -> None:
    there = bpf.QueueMap(4, 1)
    assert there.program_pop() == there.program_peek() == -2
    assert there.program_push(b"abcd", 0) == 0
    assert there.program_push(b"efgh", 0) == -7
    assert there.program_push(b"efgh", 1) == there.program_push(b"efgh", 4) == -22
    assert there.program_peek() == there.program_pop() == b"abcd"
    assert bpf.QueueMap(4, 1, bpf.MapFlag.RDONLY_PROG).program_push(b"abcd", 0) == -1


# --- Bloom filters.


def test_bloom_filters() -> None:
    there = bpf.BloomFilter("u4", 10)
    assert [answer(lambda flag=flag: there.push(flag, flag)) for flag in (0, 1, 2, 4, 8)] == ["ok", *["EINVAL"] * 4]
    assert 0 in there
    assert answer(lambda: there.lookup_and_delete(b"")) == "ENOTSUPP"
    assert answer(lambda: there.delete(b"")) == answer(there.next_key) == "EOPNOTSUPP"
    assert (there.program_test(bytes(4)), there.program_pop()) == (0, -95)
    assert answer(lambda: bpf.BloomFilter(4, 10, map_extra=16) and None) == "EINVAL"
    assert bpf.BloomFilter(4, 10, map_extra=15).hashes == 15


def test_bloom_filters_say_no_to_most() -> None:
    there = bpf.BloomFilter("u4", 1000)
    for number in range(1000):
        there.push(number)
    assert all(number in there for number in range(1000))
    # Five functions and 8192 bits: (1 - exp(-5000 / 8192)) ** 5 = 2.0 %.
    assert sum(number in there for number in range(1000, 21000)) < 800


# --- Ring buffers.


def test_sizes_of_ring_buffers() -> None:
    for size in (0, 1, 4095, 4097, 12288, 2048):
        assert answer(lambda size=size: bpf.RingBuffer(size) and None) == "EINVAL"
    assert answer(lambda: bpf.RingBuffer(4096, 8) and None) == "EINVAL"
    there = bpf.RingBuffer(4096)
    for call in (lambda: there.lookup(b""), lambda: there.update(b"", b""), lambda: there.delete(b""), there.next_key):
        assert answer(call) == "ENOTSUPP"


def test_records_come_in_the_order_in_which_they_were_reserved() -> None:
    there = bpf.RingBuffer(4096)
    first, second, third = (there.reserve(size) for size in (5, 8, 9))
    assert [there.query(what) for what in (AVAILABLE, SIZE, CONSUMER, PRODUCER, 4)] == [56, 4096, 0, 56, 0]
    for record, byte in ((first, 1), (second, 2), (third, 3)):
        record.view[:] = byte
    there.submit(third)
    there.discard(second)
    assert there.read() is None
    there.submit(first)
    assert list(there) == [b"\1" * 5, b"\3" * 9]
    assert there.query(CONSUMER) == there.query(PRODUCER) == 56
    with pytest.raises(BpfMisuseError, match="once"):
        there.submit(first)
    with pytest.raises(BpfMisuseError):
        there.discard(bpf.RingBuffer(4096).reserve(4))
    with pytest.raises(BpfMisuseError):
        there.submit(5)  # type: ignore[arg-type]


def test_a_ring_is_full_one_byte_before_its_end() -> None:
    there = bpf.RingBuffer(4096)
    assert there.reserve(4096 - 8) is None
    assert there.reserve(4096 - 16) is not None
    assert there.reserve(0) is None
    again = bpf.RingBuffer(4096)
    assert again.reserve(2040) is not None
    assert again.reserve(2040) is None
    assert again.reserve(2032) is not None


def test_records_go_over_the_end() -> None:
    there = bpf.RingBuffer(4096)
    for step in range(40):
        data = bytes([step]) * 1000
        assert there.output(data) == 0
        assert there.read() == data
    assert there.query(PRODUCER) == 40 * 1008


def test_a_record_that_stays_reserved_keeps_the_ring_from_going_round() -> None:
    there = bpf.RingBuffer(4096)
    held = there.reserve(8)
    for _ in range(3):
        assert there.output(bytes(1000)) == 0
    assert there.output(bytes(1100)) == -11
    there.discard(held)
    assert len(list(there)) == 3
    assert there.output(bytes(1100)) == 0


def test_readers_are_told() -> None:
    there = bpf.RingBuffer(4096)
    told = []
    for flags in (0, 0, FORCE_WAKEUP, NO_WAKEUP):
        assert there.output(b"x", flags) == 0
        told.append(there.wakeups)
    assert told == [1, 1, 2, 2]
    assert there.output(b"x", 4) == -22
    assert there.consume(lambda record: None) == 4
    assert there.output(b"x", NO_WAKEUP) == 0
    assert there.wakeups == 2


@pytest.mark.parametrize("size", [-1, 1 << 30, 1 << 31, 1 << 32, (1 << 64) - 8, 1 << 80])
def test_no_room_for_what_is_huge(size: int) -> None:
    there = bpf.RingBuffer(4096)
    found = there.reserve(size)
    assert found is None if size & (1 << 64) - 1 else found is not None


# --- Devices and processors.

FLAGS = (2, 1, 0, 1, 2, 3, 4, 8)


def test_devices_by_index() -> None:
    there = bpf.DevMap(2, interfaces={1, 2})
    assert answer(lambda: there.lookup(0)) == answer(lambda: there.lookup(2)) == "ENOENT"
    assert [answer(lambda key=key: there.delete(key)) for key in (0, 2)] == ["ok", "EINVAL"]
    assert [answer(lambda key=key: there.next_key(key)) for key in (None, 0, 1, 99)] == [0, 1, "ENOENT", 0]
    assert answer(lambda: there.update(0, 9999)) == "EINVAL"
    assert answer(lambda: there.update(2, 1)) == answer(lambda: there.update(8, 1)) == "E2BIG"
    assert by_flag(there, 0, 1, FLAGS) == ["ok", "EEXIST", "ok", "EEXIST", "ok", "EINVAL", "EINVAL", "EINVAL"]
    assert by_flag(there, 1, 1, (2, 1)) == ["ok", "EEXIST"]
    assert (there.lookup(0), there.target(0), there.target(5)) == (1, 1, None)
    assert answer(lambda: there.update(0, 0)) == "ok"
    assert answer(lambda: there.lookup(0)) == "ENOENT"
    assert by_flag(there, 1, 0, (1, 2, 3)) == ["EEXIST", "ok", "EINVAL"]
    assert answer(lambda: there.lookup_and_delete(1)) == "ENOTSUPP"


def test_devices_by_number() -> None:
    there = bpf.DevMapHash(2, interfaces={1, 2})
    assert [answer(lambda key=key: there.delete(key)) for key in (0, 2)] == ["ENOENT", "ENOENT"]
    assert answer(there.next_key) == "ENOENT"
    assert answer(lambda: there.update(0, 9999)) == answer(lambda: there.update(0, 0)) == "EINVAL"
    assert answer(lambda: there.update(2, 1)) == "ok"
    assert by_flag(there, 0, 1, FLAGS) == ["ok", "EEXIST", "ok", "EEXIST", "ok", "EINVAL", "EINVAL", "EINVAL"]
    assert by_flag(there, 1, 1, (2, 1)) == ["E2BIG", "E2BIG"]
    assert [answer(lambda key=key: there.delete(key)) for key in (0, 0)] == ["ok", "ENOENT"]
    assert [there.next_key(key) for key in (0, 1, 99)] == [2, 2, 2]
    assert by_flag(there, 1, 0, (1, 2, 3)) == ["EINVAL"] * 3
    assert answer(lambda: there.update(7, 2)) == "ok"
    assert there.items() == [(2, 1), (7, 2)]


@pytest.mark.parametrize("kind", [bpf.DevMap, bpf.DevMapHash])
def test_devices_with_programs(kind: Any) -> None:
    there = kind(2, value=8)
    assert answer(lambda: there.update(0, (1, 999))) == "EINVAL"
    assert answer(lambda: there.update(0, (1, -1))) == "ok"
    assert answer(lambda: there.update(0, (0, 5))) == "EINVAL"
    assert answer(lambda: there.update(1, (1, FILTER))) == "EINVAL"
    assert answer(lambda: there.update(1, (1, XDP))) == "ok"
    assert there.program_for(1) is XDP
    assert there.lookup(0).tolist() == (1, 0)
    assert answer(lambda: there.update(1, 2)) == "ok"
    assert there.program_for(1) is None
    assert bytes(there.values[there.program_lookup((1).to_bytes(4, "little")) :][:8]) == b"\2" + bytes(7)


def test_processors() -> None:
    there = bpf.CpuMap(3, cpus=2)
    assert [answer(lambda key=key: there.delete(key)) for key in (0, 3)] == ["ok", "EINVAL"]
    assert by_flag(there, 0, 64, FLAGS) == ["ok", "EEXIST", "ok", "EEXIST", "ok", "EINVAL", "EINVAL", "EINVAL"]
    assert answer(lambda: there.update(0, 16384)) == "ok"
    assert answer(lambda: there.update(0, 16385)) == answer(lambda: there.update(2, 99999)) == "EOVERFLOW"
    assert answer(lambda: there.update(2, 1)) == answer(lambda: there.update(2, 0)) == "ENODEV"
    assert [answer(lambda n=n, f=f: there.update(3, n, f)) for n, f in ((1, 0), (1, 1), (99999, 0))] == ["E2BIG"] * 3
    assert (there.lookup(0), there.target(0)) == (16384, 0)
    assert answer(lambda: there.update(0, 0)) == "ok"
    assert answer(lambda: there.lookup(0)) == "ENOENT"
    assert [answer(lambda key=key: there.next_key(key)) for key in (2, 9)] == ["ENOENT", 0]
    wide = bpf.CpuMap(3, value=8, cpus=2)
    assert [answer(lambda value=value: wide.update(0, value)) for value in ((1, 999), (0, 999))] == ["ENOMEM", "ok"]


# --- Maps of maps.

OTHER_LENGTH = {MapType.ARRAY: "EINVAL"}
INNER = {
    MapType.HASH: (4, 4, 4, 0),
    MapType.ARRAY: (4, 4, 4, 0),
    MapType.PERF_EVENT_ARRAY: (4, 4, 4, 0),
    MapType.PERCPU_HASH: (4, 4, 4, 0),
    MapType.PERCPU_ARRAY: (4, 4, 4, 0),
    MapType.STACK_TRACE: (4, 8, 4, 0),
    MapType.CGROUP_ARRAY: (4, 4, 4, 0),
    MapType.LRU_HASH: (4, 4, 4, 0),
    MapType.LRU_PERCPU_HASH: (4, 4, 4, 0),
    MapType.LPM_TRIE: (8, 4, 4, 1),
    MapType.DEVMAP: (4, 4, 4, 0),
    MapType.CPUMAP: (4, 4, 2, 0),
    MapType.QUEUE: (0, 4, 4, 0),
    MapType.STACK: (0, 4, 4, 0),
    MapType.DEVMAP_HASH: (4, 4, 4, 0),
    MapType.RINGBUF: (0, 0, 4096, 0),
    MapType.BLOOM_FILTER: (0, 4, 4, 0),
}


@pytest.mark.parametrize("kind", INNER)
def test_what_can_be_held(kind: MapType) -> None:
    key, value, entries, flags = INNER[kind]
    model = create_map(kind, key, value, entries, flags)
    there = bpf.ArrayOfMaps(model, 2)
    other = create_map(kind, key, value, 2 * entries, flags)
    assert answer(lambda: there.update(0, other)) == OTHER_LENGTH.get(kind, "ok")
    assert answer(lambda: there.update(0, model)) == "ok"
    assert there[0] is model


def test_what_cannot_be_held() -> None:
    assert answer(lambda: bpf.ArrayOfMaps(bpf.ProgArray(4), 2)) == "ENOTSUPP"
    assert answer(lambda: bpf.ArrayOfMaps(bpf.ArrayOfMaps(bpf.ArrayMap(4, 4), 2), 2)) == "EINVAL"
    assert answer(lambda: bpf.ArrayOfMaps(None, 2)) == answer(lambda: create_map(12, 4, 4, 2)) == "EINVAL"
    with pytest.raises(BpfMisuseError):
        bpf.HashOfMaps(4, 5, 2)  # type: ignore[arg-type]
    inner = bpf.MapFlag.INNER_MAP
    there = bpf.ArrayOfMaps(bpf.ArrayMap(4, 4, inner), 2)
    assert answer(lambda: there.update(0, bpf.ArrayMap(4, 9, inner))) == "ok"
    for other in (bpf.ArrayMap(4, 9), bpf.ArrayMap(8, 4, inner), bpf.HashMap(4, 4, 4)):
        assert answer(lambda other=other: there.update(0, other)) == "EINVAL"


def test_maps_by_number() -> None:
    model = bpf.ArrayMap(4, 4)
    there = bpf.ArrayOfMaps(model, 2)
    assert answer(lambda: there.lookup(0)) == answer(lambda: there.lookup(2)) == "ENOENT"
    assert [answer(lambda key=key: there.delete(key)) for key in (0, 2)] == ["ENOENT", "E2BIG"]
    expected = ["EINVAL", "EINVAL", "ok", "EINVAL", "EINVAL", "EINVAL", "EINVAL", "EINVAL"]
    assert by_flag(there, 0, model, FLAGS) == expected
    assert answer(lambda: there.update(0, 9999)) == "EBADF"
    assert answer(lambda: there.update(0, XDP)) == "EINVAL"
    assert answer(lambda: there.update(2, model)) == "E2BIG"
    assert answer(lambda: there.lookup_and_delete(0)) == "ENOTSUPP"
    assert (there.inner(bytes(4)), there.inner(b"\1\0\0\0"), there.inner(b"\xff" * 4)) == (model, None, None)
    assert there.to_numpy()["value"][0] is model
    assert [answer(lambda: there.delete(0)) for _ in range(2)] == ["ok", "ENOENT"]


def test_maps_by_key() -> None:
    model = bpf.ArrayMap(4, 4)
    there = bpf.HashOfMaps("u4", model, 2)
    expected = ["ENOENT", "ok", "ok", "EEXIST", "ok", "EINVAL", "EINVAL", "EINVAL"]
    assert by_flag(there, 0, model, FLAGS) == expected
    assert answer(lambda: there.update(0, 9999)) == "EBADF"
    assert by_flag(there, 2, model, (0,)) + by_flag(there, 3, model, (0,)) == ["ok", "E2BIG"]
    assert answer(lambda: there.lookup_and_delete(0)) == "ENOTSUPP"
    assert there[0] is model
    assert sorted(there) == [0, 2]
    assert there.inner(bytes(4)) is model
    assert there.program_lookup(bytes(4)) is None
    assert [answer(lambda: there.delete(0)) for _ in range(2)] == ["ok", "ENOENT"]
    assert there.program_update(bytes(4), bytes(4), 0) == there.program_delete(bytes(4)) == -22
    assert there.to_numpy()["key"].tolist() == [2]


def test_many_maps_by_key() -> None:
    there = bpf.HashOfMaps("u4", bpf.ArrayMap(4, 4), 50)
    maps = {}
    chance = np.random.default_rng(1)
    for key in chance.integers(0, 60, 500).tolist():
        if key in maps and chance.random() < 0.4:
            del there[key], maps[key]
        elif len(maps) < 50 or key in maps:
            there[key] = maps[key] = bpf.ArrayMap(4, 4)
    assert dict(there.items()) == maps


# --- Perf events, control groups, stack traces.


def test_perf_events() -> None:
    events = bpf.PerfEventArray(3)
    events[0], events[2] = bpf.PerfBuffer(cpu=0, pages=1), bpf.PerfBuffer(cpu=2, pages=1)
    here = 0xFFFF_FFFF
    assert [events.output(cpu, here, b"") for cpu in (0, 1, 2, 3)] == [0, -2, 0, -7]
    assert [events.output(0, index, b"") for index in (0, 1, 2, 3)] == [0, -2, -95, -7]
    found = events.buffer(0)
    assert len(found) == 2
    assert list(found.records()) == [bytes([9, 0, 0, 0, 0, 0, 16, 0, 4, 0, 0, 0, 0, 0, 0, 0])] * 2
    assert events.output(0, here, b"abcde") == 0
    assert next(found.records()) == bytes([9, 0, 0, 0, 0, 0, 24, 0, 12, 0, 0, 0]) + b"abcde" + bytes(7)
    assert found.write(bytes(1 << 16)) == -7
    assert [found.write(bytes(1004)) for _ in range(5)] == [0, 0, 0, 0, -28]
    assert found.lost == 1
    assert len(list(found.samples())) == 4
    for bad in ((-1, 1), (0, 3), (0, 0), ("a", 1)):
        with pytest.raises(BpfMisuseError):
            bpf.PerfBuffer(*bad)


def test_control_groups() -> None:
    root = bpf.Cgroup(1)
    leaf = bpf.Cgroup(3, bpf.Cgroup(2, root))
    groups = bpf.CgroupArray(4)
    groups[0], groups[1] = root, bpf.Cgroup(9)
    assert [groups.under(index, leaf) for index in (0, 1, 2, 4)] == [1, 0, -11, -7]
    with pytest.raises(BpfMisuseError):
        bpf.Cgroup(-1)


def test_stack_traces_get_numbers() -> None:
    there = bpf.StackTraceMap(8 * 3, 4)
    number = there.record([1, 2, 3, 4])
    assert 0 <= number < 4
    assert there[number].tolist() == [1, 2, 3]
    assert there.record([1, 2, 3]) == number == there.record([9, 1, 2, 3], 1)
    assert there.record([], 0) == there.record([1], 1) == -14
    assert there.record([1], 1 << 11) == -22
    assert there.pop(number) is not None
    assert number not in there
    assert answer(lambda: there.delete(4)) == "E2BIG"


def test_stacks_with_the_same_number() -> None:
    there = bpf.StackTraceMap(8, 3)
    numbers = {address: bpf.StackTraceMap(8, 3).record([address]) for address in range(20)}
    same = [address for address in numbers if numbers[address] == numbers[0]]
    first, second = same[:2]
    assert there.record([first]) == numbers[0]
    assert there.record([second]) == there.record([second], 512) == -17
    assert there.record([second], 1024) == numbers[0]
    assert there[numbers[0]].tolist() == [second]
    rest = [next(a for a in numbers if numbers[a] == n) for n in set(numbers.values()) - {numbers[0]}]
    assert len(rest) == 3
    assert [there.record([address]) for address in rest] == [numbers[rest[0]], numbers[rest[1]], -12]


def test_stack_traces_with_build_ids() -> None:
    there = bpf.StackTraceMap(32 * 2, 4, bpf.MapFlag.STACK_BUILD_ID)
    number = there.record([0x1234])
    assert there[number] == b"\2" + bytes(23) + (0x1234).to_bytes(8, "little") + bytes(32)


def test_a_record_of_no_bytes_is_one() -> None:
    """It has no bytes that could tell whose it is; the ring's own header does."""
    there = bpf.RingBuffer(4096)
    assert there.output(b"") == 0
    empty = there.reserve(0)
    assert empty is not None
    there.submit(empty)
    with pytest.raises(BpfMisuseError):
        there.submit(empty)
    assert list(there) == [b"", b""]
