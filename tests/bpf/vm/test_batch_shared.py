# SPDX-License-Identifier: Apache-2.0
"""A batch shared among threads gives what one thread gives, packet for packet, and is shared only where it may be."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.arena import PacketArena
from prestocloud_sec.bpf import ArrayMap, HashMap, LpmTrie, LruHashMap, Program, assemble
from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.bpf.vm import batch, batch_shared
from prestocloud_sec.bpf.vm.compiler import engine
from prestocloud_sec.bpf.vm.machine import Machine

READS = """
r0 = *(u8 *)(r1 + 0)
r3 = *(u8 *)(r1 + 7)
r0 <<= 8
r0 |= r3
exit
"""
"""Faults on packets of less than 8 bytes."""
LOOKS_UP = """
r6 = *(u32 *)(r1 + 0)
*(u32 *)(r10 - 4) = r6
r2 = r10
r2 += -4
r1 = map[idx:0] ll
call 1
if r0 == 0 goto out
r0 = *(u64 *)(r0 + 0)
out:
exit
"""


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small batches be shared, in the loop that is written for large ones."""
    monkeypatch.setattr(batch_shared, "LEAST", 4)
    monkeypatch.setattr(engine, "MANY", 1)


def machine_of(program: Program, *maps: object) -> Machine:
    return Machine(program, maps=list(maps) or None, seed=5)


READER, TABLE = machine_of(assemble(READS)), HashMap(4, 8, 16)
FINDER = machine_of(assemble(LOOKS_UP), TABLE)
"""Compiled once for all examples."""


def seen(machine: Machine, arena: PacketArena, workers: int) -> dict[str, list[int]]:
    result = batch.run_batch(machine, arena, "compiled", workers)
    names = ("values", "faults", "instructions", "addresses", "sizes", "changed")
    good = result.faults == 0
    return {name: getattr(result, name).tolist() for name in names[1:]} | {"values": result.values[good].tolist()}


@given(st.lists(st.binary(max_size=12), min_size=8, max_size=60), st.integers(2, 7))
def test_what_several_threads_give_is_what_one_gives(packets: list[bytes], workers: int) -> None:
    arena = PacketArena.pack(packets)
    assert seen(READER, arena, workers) == seen(READER, arena, 1)


@given(st.lists(st.integers(0, 9), min_size=8, max_size=60), st.integers(2, 7))
def test_lookups_in_shared_maps(keys: list[int], workers: int) -> None:
    for key in range(0, 10, 2):
        TABLE.update(key.to_bytes(4, "little"), (key + 100).to_bytes(8, "little"))
    arena = PacketArena.pack([key.to_bytes(4, "little") for key in keys])
    result = batch.run_batch(FINDER, arena, "compiled", workers)
    assert result.values.tolist() == [key + 100 if key % 2 == 0 else 0 for key in keys]
    assert not result.faults.any()


def test_more_faults_than_there_is_room_for_at_first() -> None:
    arena = PacketArena.pack([b"1234567"] * 5000 + [b"12345678"] * 10)
    result = batch.run_batch(machine_of(assemble(READS)), arena, "compiled", 3)
    assert (result.faults[:5000] != 0).all()
    assert not result.faults[5000:].any()
    assert set(result.instructions[:5000].tolist()) == {1}
    assert result.values[5000:].tolist() == [0x3138] * 10


def test_a_packet_outside_is_told_by_its_own_number() -> None:
    lengths = np.full(100, 8, np.int64)
    arena = PacketArena(np.zeros(800, np.uint8), np.arange(100, dtype=np.int64) * 8, lengths)
    lengths[77] = 900
    with pytest.raises(BpfMisuseError, match="packet 77 lies outside"):
        batch.run_batch(machine_of(assemble(READS)), arena, "compiled", 4)


@pytest.mark.parametrize(
    "text",
    ["call 7\nexit", "call 8\nexit", "call 5\nexit"],
    ids=["chance", "processor", "clock"],
)
def test_other_helpers_keep_a_batch_together(text: str) -> None:
    assert batch_shared.workers_for(machine_of(assemble(text)), 1000, 4) == 1


def test_only_maps_that_lookups_do_not_change() -> None:
    program = assemble(LOOKS_UP)
    for shared, table in (
        (True, ArrayMap(8, 4)),
        (True, HashMap(4, 8, 4)),
        (True, LpmTrie(8, 8, 4)),
        (False, LruHashMap(4, 8, 4)),
    ):
        assert (batch_shared.workers_for(machine_of(program, table), 1000, 4) > 1) is shared


def test_how_many_threads() -> None:
    machine = machine_of(assemble(READS))
    assert batch_shared.workers_for(machine, 7, 9) == 1
    assert batch_shared.workers_for(machine, 8, 9) == 2
    assert batch_shared.workers_for(machine, 1000, 1) == 1
    assert batch_shared.workers_for(machine, 1 << 20, 500) == batch_shared.MOST
    assert batch_shared.workers_for(machine, 1 << 20, None) == min(len(os.sched_getaffinity(0)), batch_shared.MOST)


@pytest.mark.parametrize("workers", [0, -1, 1.5, "2", 1 << 70])
def test_no_number_of_threads(workers: object) -> None:
    with pytest.raises(BpfMisuseError, match="workers"):
        assemble(READS).run_batch(PacketArena.pack([b"x"]), workers=workers)


def test_every_part_is_run_by_another_thread_and_errors_wait_for_all() -> None:
    done: list[int] = []
    together = threading.Barrier(3, timeout=20)

    def work(item: int) -> None:
        together.wait()
        if item == 1:
            raise BpfMisuseError("this one", where="test")
        done.append(item)

    with pytest.raises(BpfMisuseError, match="this one"):
        batch_shared.each(work, [0, 1, 2])
    assert sorted(done) == [0, 2]
