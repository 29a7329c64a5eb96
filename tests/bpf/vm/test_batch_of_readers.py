# SPDX-License-Identifier: Apache-2.0
"""Programs that only read, in batches: the loop in compiled code, and the one that calls it, against one by one."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from prestocloud_sec.arena import PacketArena
from prestocloud_sec.bpf import ArrayMap, HashMap, Program, ProgramType, assemble
from prestocloud_sec.bpf.isa import Alu, AluOp, Atomic, CallHelper, CallRegister, Imm, Instruction, MayGoto, Store
from prestocloud_sec.bpf.isa.instructions import StoreRelease
from prestocloud_sec.bpf.vm import batch
from prestocloud_sec.bpf.vm.compiler import engine
from prestocloud_sec.bpf.vm.machine import Machine
from prestocloud_sec.bpf.vm.runs import one_by_one
from prestocloud_sec.testing.bpf_generate import generate

READ_ONLY = (1, 1, 7, 8, 28)
"""Helpers that write nothing: a map's value, chance, the processor, a sum of differences."""


def only_reads(rng: random.Random, i: Instruction) -> Instruction:
    """Return an instruction, or another where it could write to anything but the frame."""
    if isinstance(i, Store | Atomic | StoreRelease) and not (i.base == 10 and -512 <= i.offset < 0):
        return Alu(AluOp.ADD, 64, 3, Imm(5))
    if isinstance(i, CallHelper) and i.number not in READ_ONLY:
        return CallHelper(rng.choice(READ_ONLY))
    if isinstance(i, CallRegister | MayGoto):
        return Alu(AluOp.ADD, 64, 4, Imm(1))
    return i


def arena_of(rng: random.Random, least: bytes) -> PacketArena:
    """Return packets of all lengths, some with the headers that contexts are made from."""
    packets = [least, *(rng.randbytes(rng.choice((0, 1, 13, 14, 20, 60, 100))) for _ in range(rng.choice((4, 16))))]
    for index, packet in enumerate(packets):
        if len(packet) > 20 and rng.random() < 0.5:
            packets[index] = bytes(12) + rng.choice((b"\x08\0\x45", b"\x86\xdd\x60", b"\x81\0\0")) + packet[15:]
    return PacketArena.pack(packets)


def outcome(program: Program, arena: PacketArena, limit: int, how: str) -> dict[str, Any]:
    array, table = ArrayMap(16, 4), HashMap(4, 8, 8)
    table.update(bytes(4), bytes(range(8)))
    machine = Machine(program, maps=[array, table], limit=limit, seed=3, now=77)
    run = one_by_one if how == "reference" else batch.run_batch
    result = run(machine, arena, how)
    names = ("values", "faults", "instructions", "addresses", "sizes", "changed")
    return {name: getattr(result, name).tolist() for name in names} | {"packets": [bytes(p) for p in result.packets]}


def differences(seed: int, programs: int) -> tuple[list[int], int]:
    """Return the numbers of programs that differ from one by one, and how many went through the loop."""
    differ, looped = [], 0
    for number in range(programs):
        rng = random.Random(f"{seed} {number}")
        made = generate(rng)
        program = Program([only_reads(rng, i) for i in made.program.instructions], type=made.program.type)
        arena = arena_of(rng, made.packet)
        limit = min(made.limit, 2000)
        before = arena.buffer.tobytes()
        expected = outcome(program, arena, limit, "reference")
        looped += batch._plain(program) and not batch.can_write(program)
        if outcome(program, arena, limit, "compiled") != expected or arena.buffer.tobytes() != before:
            differ.append(number)
    return differ, looped


@pytest.mark.parametrize("many", [0, 1 << 30], ids=["loop", "calls"])
def test_as_one_by_one(monkeypatch: pytest.MonkeyPatch, many: int) -> None:
    monkeypatch.setattr(engine, "MANY", many)
    differ, looped = differences(seed=5, programs=60)
    assert differ == []
    assert looped > 30


def test_a_big_batch_changes_over_to_the_loop() -> None:
    """From one batch to the next, and in results nothing is seen of it."""
    program = assemble(
        """
        r2 = *(u32 *)(r1 + 76)
        r3 = *(u32 *)(r1 + 80)
        r0 = 0
        r4 = r2
        r4 += 2
        if r4 > r3 goto out
        r0 = *(u16 *)(r2 + 0)
    out:
        exit
        """,
        type=ProgramType.SCHED_CLS,
    )
    packets = np.random.default_rng(1).integers(0, 256, (engine.MANY + 10, 20), np.uint8)
    arena = PacketArena.pack([bytes(row) for row in packets])
    machine = Machine(program)
    first, second = (batch.run_batch(machine, arena, "compiled") for _ in range(2))
    expected = packets[:, 0].astype(np.uint64) | packets[:, 1].astype(np.uint64) << np.uint64(8)
    assert (first.values == expected).all()
    assert (second.values == expected).all()
