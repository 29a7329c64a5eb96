# SPDX-License-Identifier: Apache-2.0
"""Hash maps and arrays: storage that stays where it is, keys chosen to collide, a million entries, both sides."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestocloud_sec import bpf
from prestocloud_sec.bpf.errors import BpfMisuseError, MapError, MissingKeyError
from prestocloud_sec.bpf.maps.base import address_of
from prestocloud_sec.bpf.maps.hash_layout import HashWord
from prestocloud_sec.bpf.maps.jhash import jhash
from prestocloud_sec.bpf.maps.kinds import RULES
from prestocloud_sec.bpf.maps.layout import DESCRIPTOR_WORDS, Descriptor

KINDS = [
    (bpf.MapType.HASH, 4, 1),
    (bpf.MapType.ARRAY, 4, 1),
    (bpf.MapType.PERCPU_HASH, 4, 3),
    (bpf.MapType.PERCPU_ARRAY, 4, 3),
    (bpf.MapType.LRU_HASH, 4, 1),
    (bpf.MapType.LRU_PERCPU_HASH, 4, 3),
    (bpf.MapType.LPM_TRIE, 8, 1),
]


def make(kind: bpf.MapType, key: int = 4, value: int = 4, entries: int = 8, flags: int = 0) -> Any:
    return bpf.create_map(kind, key, value, entries, flags | int(kind is bpf.MapType.LPM_TRIE), cpus=3)


# --- A mapping.


def test_a_mapping() -> None:
    there = bpf.HashMap("u4", "u8", 10, name="ports")
    there[5] = 7
    there.merge({6: 8, 7: 9})
    there.merge([(8, 10)])
    assert (there[5], there.get(9), there.get(9, 1), 5 in there, 9 in there, len(there)) == (7, None, 1, True, False, 4)
    assert sorted(there) == [5, 6, 7, 8]
    assert dict(there.items()) == {5: 7, 6: 8, 7: 9, 8: 10}
    assert there.pop(5) == 7
    assert there.pop(5, None) is None
    with pytest.raises(KeyError) as missing:
        there.pop(5)
    assert isinstance(missing.value, MissingKeyError)
    assert (missing.value.errno, missing.value.symbol) == (2, "ENOENT")
    assert "5" in str(missing.value)
    del there[6]
    with pytest.raises(MissingKeyError):
        del there[6]
    assert repr(there) == "<HashMap 'ports': uint32 -> uint64, 2 of 10 entries>"
    there.clear()
    assert len(there) == 0
    assert bool(there)
    assert there.to_numpy().shape == (0,)
    for bad in (5, [5], [(1, 2, 3)], [None]):
        with pytest.raises(BpfMisuseError):
            there.merge(bad)


@pytest.mark.parametrize("kind", sorted(set(bpf.MapType) & set(RULES)))
def test_every_kind_is_shown_empty(kind: bpf.MapType) -> None:
    rules = RULES[kind]
    key = 8 if kind is bpf.MapType.LPM_TRIE else rules.key[0] and 4
    entries = 4096 if kind is bpf.MapType.RINGBUF else 4
    value = rules.value[0] if rules.value else 8
    there = bpf.create_map(kind, key, value, entries, int(rules.required), inner=bpf.ArrayMap(4, 4), cpus=2)
    assert there.type is kind
    assert repr(there).startswith(f"<{type(there).__name__}: ")
    if hasattr(there, "to_numpy") and "ARRAY" not in kind.name:
        assert there.to_numpy().shape == (0,)
    if hasattr(there, "items") and kind not in {bpf.MapType.ARRAY, bpf.MapType.PERCPU_ARRAY}:
        assert there.items() == list(there) == []
        assert "<table>" in there._repr_html_()
    assert (there.program_lookup(bytes(key)) is None) is (kind not in {bpf.MapType.ARRAY, bpf.MapType.PERCPU_ARRAY})


def test_keys_may_be_removed_while_they_are_gone_through() -> None:
    there = bpf.HashMap("u4", "u4", 100)
    there.merge((key, key) for key in range(100))
    for key in there:
        del there[key]
    assert not len(there)


def test_tables() -> None:
    there = bpf.PerCpuHashMap("u2", [("a", "u1"), ("b", "f4")], 10, cpus=2)
    there[3] = [(1, 1.5), (2, 2.5)]
    table = there.to_numpy()
    assert table["key"].tolist() == [3]
    assert table["value"]["a"].tolist() == [[1, 2]]
    assert table["value"]["b"].tolist() == [[1.5, 2.5]]
    nested = bpf.ArrayMap("(2,3)u2", 4)
    nested[1] = [[1, 2, 3], [4, 5, 6]]
    assert nested.array.shape == (4, 2, 3)
    assert nested.to_numpy()["value"][1].tolist() == nested[1].tolist() == [[1, 2, 3], [4, 5, 6]]


def test_arrays_without_a_copy() -> None:
    there = bpf.ArrayMap("u4", 4)
    there.array[2] = 9
    assert there[2] == 9
    there[1] = 5
    assert there.array.tolist() == [0, 5, 9, 0]
    assert np.shares_memory(there.array, there.values)
    spread = bpf.PerCpuArray("u4", 4, cpus=3)
    spread[1] = [1, 2, 3]
    assert spread.array[1].tolist() == [1, 2, 3]
    there.clear()
    assert there.array.tolist() == [0, 0, 0, 0]
    there.freeze()
    with pytest.raises(ValueError, match="read-only"):
        there.array[0] = 1
    with pytest.raises(MapError, match="EPERM"):
        there[0] = 1
    with pytest.raises(MapError, match="EPERM"):
        there.clear()


def test_what_notebooks_show() -> None:
    there = bpf.HashMap("S8", "u4", 100)
    there[b"<b>\0\0\0\0\0"] = 1
    shown = there._repr_html_()
    assert "&lt;b&gt;" in shown
    assert "<b>" not in shown
    there.merge((f"{number:08}".encode(), number) for number in range(30))
    assert "and 21 more" in there._repr_html_()
    assert "<table>" not in bpf.HashMap(4, 4, 4, bpf.MapFlag.WRONLY)._repr_html_()
    assert "<td>" not in bpf.ProgArray(1 << 31)._repr_html_()


# --- Storage.


@pytest.mark.parametrize(("kind", "key", "cpus"), KINDS)
def test_descriptors(kind: bpf.MapType, key: int, cpus: int) -> None:
    there = make(kind, key, 5)
    words = there.descriptor
    assert words.dtype == np.int64
    assert len(words) == DESCRIPTOR_WORDS
    assert [words[word] for word in (Descriptor.TYPE, Descriptor.KEY_SIZE, Descriptor.VALUE_SIZE)] == [kind, key, 5]
    assert (words[Descriptor.STRIDE], words[Descriptor.CPUS]) == (8, cpus)
    assert words[Descriptor.VALUES_AT] == address_of(there.values)
    assert words[Descriptor.VALUES_AT] % 8 == 0
    if there.keys is not None:
        assert words[Descriptor.KEYS_AT] == address_of(there.keys)
    native = 7 if kind is bpf.MapType.LPM_TRIE else 15
    assert words[Descriptor.NATIVE] == native
    assert make(kind, key, 5, flags=bpf.MapFlag.RDONLY_PROG).descriptor[Descriptor.NATIVE] == native & ~6
    assert make(kind, key, 5, flags=bpf.MapFlag.WRONLY_PROG).descriptor[Descriptor.NATIVE] == native


@pytest.mark.parametrize("size", [1, 3, 4, 5, 7, 8, 12, 13, 16, 20, 64, 600])
@settings(max_examples=40)
@given(data=st.data())
def test_keys_of_any_size(size: int, data: st.DataObject) -> None:
    keys = data.draw(st.lists(st.binary(min_size=size, max_size=size), min_size=1, max_size=40, unique=True))
    there = bpf.HashMap(size, "u4", 40)
    for number, key in enumerate(keys):
        there[key] = number
    assert dict(there.items()) == {key: number for number, key in enumerate(keys)}
    for key in keys[::2]:
        del there[key]
    assert {key: there.get(key) for key in keys} == {
        key: number if number % 2 else None for number, key in enumerate(keys)
    }


def test_values_stay_where_they_are() -> None:
    there = bpf.HashMap("u4", "u4", 50)
    there.merge((key, key) for key in range(50))
    places = {key: there.program_lookup(key.to_bytes(4, "little")) for key in range(50)}
    for key in range(0, 50, 2):
        del there[key]
    for key in range(1, 50, 2):
        assert there.program_lookup(key.to_bytes(4, "little")) == places[key]
        assert int.from_bytes(there.values[places[key] :][:4].tobytes(), "little") == key


def test_an_update_leaves_the_old_value_to_who_looked_it_up() -> None:
    """As in the kernel, whose program holds an address of the old element."""
    there = bpf.HashMap("u4", "u4", 4)
    there[1] = 10
    old = there.program_lookup(b"\1\0\0\0")
    assert there.program_update(b"\1\0\0\0", b"\x14\0\0\0", 0) == 0
    assert there[1] == 20
    assert there.values[old] == 10
    spread = bpf.PerCpuHashMap("u4", "u4", 4, cpus=2)
    spread[1] = [10, 11]
    old = spread.program_lookup(b"\1\0\0\0", 1)
    assert spread.program_update(b"\1\0\0\0", b"\x14\0\0\0", 0, 1) == 0
    assert spread.values[old] == 20
    assert spread[1].tolist() == [10, 20]


def test_a_program_sees_its_own_processor() -> None:
    for there in (bpf.PerCpuHashMap("u4", "u4", 4, cpus=2), bpf.PerCpuArray("u4", 4, cpus=2)):
        assert there.program_update(bytes(4), b"\5\0\0\0", 0, 1) == 0
        assert there[0].tolist() == [0, 5]
        assert there.program_lookup(bytes(4), 2) is None
        assert there.program_lookup(bytes(4), -1) is None
        assert there.program_update(bytes(4), b"\5\0\0\0", 0, 2) == -22
    again = bpf.PerCpuHashMap("u4", "u4", 1, cpus=2)
    again[0] = [7, 8]
    del again[0]
    assert again.program_update(bytes(4), b"\5\0\0\0", 0, 0) == 0
    assert again[0].tolist() == [5, 0]  # what the slot held before is gone


def test_programs_may_be_kept_out() -> None:
    reads, writes = (make(bpf.MapType.HASH, flags=flag) for flag in (128, 256))
    reads[b"aaaa"] = b"bbbb"
    assert reads.program_reads_only
    assert reads.program_update(b"aaaa", b"cccc", 0) == reads.program_delete(b"aaaa") == -1
    assert reads.program_lookup(b"aaaa") is not None
    assert writes.program_update(b"aaaa", b"cccc", 0) == 0
    assert writes.program_lookup(b"aaaa") is not None  # Linux answers, and its verifier forbids to read


@pytest.mark.parametrize(("kind", "key", "cpus"), KINDS)
def test_kernels_answer_by_one_name(kind: bpf.MapType, key: int, cpus: int) -> None:
    from prestocloud_sec.bpf.maps import native_kernel

    there = make(kind, key, 4)
    cpu = cpus - 1
    descriptor = address_of(there.descriptor)
    is_array = kind in {bpf.MapType.ARRAY, bpf.MapType.PERCPU_ARRAY}
    raw = np.zeros(key, np.uint8)
    raw[0] = 32 if kind is bpf.MapType.LPM_TRIE else 3
    value = np.frombuffer(b"wxyz", np.uint8).copy()
    key_at, value_at = address_of(raw), address_of(value)
    assert native_kernel.update(descriptor, key_at, value_at, 2, cpu) == (0 if is_array else -2)
    assert native_kernel.update(descriptor, key_at, value_at, 0, cpu) == 0
    assert native_kernel.update(descriptor, key_at, value_at, 1, cpu) == -17
    assert native_kernel.update(descriptor, key_at, value_at, -1, cpu) == -22
    place = native_kernel.lookup(descriptor, key_at, cpu)
    assert place == there.program_lookup(raw.tobytes(), cpu)
    assert there.values[place : place + 4].tobytes() == b"wxyz"
    if kind is not bpf.MapType.LPM_TRIE:
        slots, slot = [], native_kernel.step(descriptor, -1)
        while slot >= 0:
            slots.append(slot)
            slot = native_kernel.step(descriptor, slot)
        assert len(slots) == len(there) == len(list(there.iterate(cpu)))
        assert place in {value for _, value in there.iterate(cpu)}
    assert native_kernel.delete(descriptor, key_at) == (-22 if is_array else 0)
    assert (native_kernel.lookup(descriptor, key_at, cpu) < 0) is not is_array


def test_the_keys_of_arrays_for_callbacks() -> None:
    keys = bpf.ArrayMap("u8", 3).index_keys()
    assert keys.view(np.uint32)[::2].tolist() == [0, 1, 2]


# --- Hostile keys.


def test_bytes_chosen_against_a_known_hash_do_not_collide() -> None:
    """Keys of one bucket of the kernel's function without a seed; chains of the map with one stay short."""
    chosen = [key for key in (number.to_bytes(4, "little") for number in range(200_000)) if not jhash(key) & 255]
    weak, strong = (bpf.HashMap(4, 4, 1024, flags) for flags in (bpf.MapFlag.ZERO_SEED, 0))
    for key in chosen[:700]:
        weak[key] = strong[key] = bytes(4)
    assert longest_chain(weak) > 100
    assert longest_chain(strong) < 12


@pytest.mark.parametrize("step", [1, 2, 256, 4096, 65536, 1 << 20])
def test_regular_keys_spread(step: int) -> None:
    there = bpf.HashMap("u4", "u4", 4096)
    there.merge((key * step & 0xFFFF_FFFF, 0) for key in range(4096))
    assert longest_chain(there) < 16


def longest_chain(there: bpf.HashMap) -> int:
    heads = there._tables[HashWord.BUCKETS_AT].view(np.uint32)
    chain = there._tables[HashWord.CHAIN_AT].view(np.uint32)
    longest = 0
    for head in heads[heads > 0].tolist():
        length, slot = 0, head
        while slot:
            length, slot = length + 1, int(chain[slot - 1])
        longest = max(longest, length)
    return longest


def test_seeds_differ_and_can_be_done_without() -> None:
    orders = set()
    for _ in range(4):
        there = bpf.HashMap("u4", "u4", 64)
        there.merge((key, key) for key in range(64))
        orders.add(tuple(there))
    assert len(orders) > 1
    plain = bpf.HashMap("u4", "u4", 64, bpf.MapFlag.ZERO_SEED)
    plain.merge((key, key) for key in range(64))
    expected = sorted(range(64), key=lambda key: (jhash(key.to_bytes(4, "little")) & 63, -key))
    assert list(plain) == expected


@given(st.binary(max_size=70), st.integers(0, 2**32 - 1))
def test_the_kernels_hash_in_compiled_code(data: bytes, seed: int) -> None:
    from prestocloud_sec.bpf.maps.jhash_kernel import jhash as compiled

    raw = np.frombuffer(data + b"\xee", np.uint8).copy()
    assert compiled(address_of(raw), len(data), np.uint64(seed)) == jhash(data, seed)


def test_the_kernels_hash_is_lookup3() -> None:
    """What the author's self-test prints for this text (``lookup3.c``, driver5)."""
    text = b"Four score and seven years ago"
    assert [jhash(text, seed) for seed in (0, 1)] == [0x17770551, 0xCD628161]
    assert jhash(b"") == 0xDEADBEEF


# --- Size.


def test_a_million_entries() -> None:
    from prestocloud_sec.bpf.maps import native_kernel

    there = bpf.HashMap("u8", "u8", 1_000_000)
    keys = np.random.default_rng(3).permutation(1_000_000).astype(np.uint64)
    descriptor, start = address_of(there.descriptor), address_of(keys)
    for place in range(0, 1_000_000, 4):
        native_kernel.update(descriptor, start + 8 * place, start + 8 * place, 0, 0)
    assert len(there) == 250_000
    table = there.to_numpy()
    assert np.array_equal(table["key"], table["value"])
    assert np.array_equal(np.sort(table["key"]), np.sort(keys[::4]))
    assert (int(keys[0]) in there, int(keys[1]) in there) == (True, False)


def test_what_is_declared_costs_nothing() -> None:
    there = bpf.HashMap(8, 8, 1 << 27, bpf.MapFlag.NO_PREALLOC)
    there[bytes(8)] = bytes(8)
    assert len(there) == 1
    assert len(bpf.ArrayMap(1 << 30, 4).values) == 1 << 32
    tries = bpf.LpmTrie(8, 8, 1 << 31)
    tries["10.0.0.0/8"] = bytes(8)
    assert len(tries) == 1


def test_what_programs_could_not_address_is_refused() -> None:
    with pytest.raises(MapError) as refused:
        bpf.HashMap(4, 4096, 1 << 21)
    assert refused.value.symbol == "ENOMEM"
    there = bpf.HashMap(4, 4 << 19, 4096, bpf.MapFlag.NO_PREALLOC)
    there.merge((key.to_bytes(4, "little"), bytes(4 << 19)) for key in range(3))
    assert len(there) == 3
    large = bpf.ArrayMap("u8", 1 << 30)
    large[(1 << 30) - 1] = 5
    assert large[(1 << 30) - 1] == 5
    assert len(large.values) == 1 << 32
    assert large.descriptor[Descriptor.NATIVE] == 0
    assert large.program_lookup(b"\0\0\0\x20") is None
    assert large.program_lookup(b"\xff\xff\xff\x1f") == (1 << 32) - 8


def test_no_more_slots_than_can_be_addressed() -> None:
    there = bpf.HashMap("u4", 4, 1 << 27, bpf.MapFlag.NO_PREALLOC)
    there.descriptor[HashWord.SLOTS] = 2
    there[1] = there[2] = bytes(4)
    with pytest.raises(MapError) as refused:
        there[3] = bytes(4)
    assert refused.value.symbol == "ENOMEM"


# --- Wrong arguments.

BAD_NUMBERS = [-1, 1 << 32, 1 << 64, 1.5, float("nan"), "5", None, [], b"abc", object(), 10**5000]


@pytest.mark.parametrize("bad", BAD_NUMBERS, ids=lambda value: type(value).__name__)
def test_bad_arguments(bad: Any) -> None:
    for position in range(4):
        arguments: list[Any] = ["u4", "u4", 4, 0]
        if position < 2 and bad == "5":
            continue
        arguments[position] = bad
        with pytest.raises(BpfMisuseError):
            bpf.HashMap(*arguments)
    with pytest.raises(BpfMisuseError):
        bpf.HashMap(4, 4, 4, name=5)  # type: ignore[arg-type]
    for cpus in (0, -1, "2", 1 << 40):
        with pytest.raises(BpfMisuseError):
            bpf.PerCpuArray(4, 4, cpus=cpus)  # type: ignore[arg-type]
    there = bpf.HashMap("u4", "u4", 4)
    for call in (there.lookup, there.delete, there.get, there.__contains__, there.lookup_and_delete, there.pop):
        with pytest.raises(BpfMisuseError):
            call(bad)
    with pytest.raises(BpfMisuseError):
        there.update(1, bad)
    with pytest.raises(BpfMisuseError):
        there.update(bad, 1)
    with pytest.raises((BpfMisuseError, MapError)):
        there.update(1, 1, bad)
    assert len(there) == 0


@pytest.mark.parametrize("size", [0, 1, 3, 5, 100])
def test_keys_and_values_of_a_wrong_size(size: int) -> None:
    there = bpf.HashMap(4, 4, 4)
    with pytest.raises(BpfMisuseError, match=f"{size} bytes; expected 4"):
        there[bytes(size)] = bytes(4)
    with pytest.raises(BpfMisuseError, match=f"{size} bytes; expected 4"):
        there[bytes(4)] = bytearray(size)
    assert len(there) == 0


def test_values_for_other_numbers_of_processors() -> None:
    there = bpf.PerCpuArray("u4", 4, cpus=2)
    for bad in ([1], [1, 2, 3], 5, None, bytes(8), ["a", "b"], [1, -1]):
        with pytest.raises(BpfMisuseError):
            there[0] = bad
    assert not there.array.any()


# --- Threads.


def test_threads_on_one_map() -> None:
    there = bpf.HashMap("u4", "u4", 64)
    spread = bpf.LruHashMap("u4", "u4", 64, cpus=2)
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        chance = np.random.default_rng(seed)
        try:
            for key in chance.integers(0, 100, 1500).tolist():
                spread[key] = key
                if key % 3:
                    with contextlib.suppress(MapError):  # it may be full
                        there[key] = key
                else:
                    there.pop(key, None)
                assert there.get(key, key) == key
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(there) == len(there.items()) == len(set(there)) <= 64
    assert len(spread) == len(spread.items()) <= 64
