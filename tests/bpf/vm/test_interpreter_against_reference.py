# SPDX-License-Identifier: Apache-2.0
"""The fast interpreter against the readable one on generated programs: equal results, faults, memory and maps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.bpf import Program, ProgramType
from prestocloud_sec.bpf.isa import (
    Alu,
    AluOp,
    Atomic,
    AtomicOp,
    Branch,
    BranchOp,
    CallHelper,
    CallLocal,
    CallRegister,
    Exit,
    Extend,
    Imm,
    ImmKind,
    Instruction,
    Jump,
    LegacyLoad,
    Load,
    LoadAcquire,
    LoadImm64,
    MayGoto,
    Negate,
    Store,
    StoreRelease,
    Swap,
    SwapKind,
)
from prestocloud_sec.bpf.maps.array import ArrayMap, PerCpuArray
from prestocloud_sec.bpf.maps.hash import HashMap
from prestocloud_sec.bpf.maps.kinds import MapFlag
from prestocloud_sec.bpf.vm import interpreter, layout, reference, reference_run
from prestocloud_sec.bpf.vm.layout import State
from prestocloud_sec.bpf.vm.machine import Machine
from prestocloud_sec.testing.bpf_isa import immediates

MAPS = 4
Piece = Callable[[Callable[[int], int]], list[Instruction]]
"""A few instructions, for what makes the number of a piece the distance to it in slots."""

written = st.sampled_from([0, 1, 2, 3, 4, 5, 8])
read = st.integers(0, 10)
sizes = st.sampled_from([1, 2, 4, 8])
operands = read | immediates() | st.sampled_from([0, 1, -1, 31, 63, -8]).map(Imm)
places = st.one_of(
    st.tuples(st.just(10), st.integers(-64, -8)),
    st.tuples(st.just(10), st.sampled_from([-512, -513, -8, -7, 0])),
    st.tuples(st.just(7), st.integers(-40, 32)),
    st.tuples(st.just(9), st.integers(-1, 34)),
    st.tuples(read, st.integers(-8, 8)),
)
addresses = st.sampled_from(
    [layout.PACKET_DATA, layout.stack_top(0), layout.stack_top(1) - 8, layout.stack_top(7) - 8]
    + [region << 32 for region in (1, layout.MAP_VALUES, layout.MAP_VALUES + 1, layout.MAP_KEYS, 255, 256)]
    + [layout.MAP_HANDLES, layout.FUNCTION_HANDLES, layout.FUNCTION_HANDLES + 3, (1 << 64) - 1, 0]
)


def plain(strategy: st.SearchStrategy[Instruction]) -> st.SearchStrategy[Piece]:
    return strategy.map(lambda instruction: lambda _distance: [instruction])


def atomics() -> st.SearchStrategy[Instruction]:
    return st.tuples(st.sampled_from(AtomicOp), st.booleans(), st.sampled_from([4, 8]), places, written).map(
        lambda v: Atomic(v[0], v[1] or v[0] in {AtomicOp.XCHG, AtomicOp.CMPXCHG}, v[2], *v[3], v[4])
    )


def accesses() -> st.SearchStrategy[Instruction]:
    return st.one_of(
        st.tuples(sizes, st.booleans(), written, places).map(lambda v: Load(v[0], v[1] and v[0] < 8, v[2], *v[3])),
        st.tuples(sizes, places, operands).map(lambda v: Store(v[0], *v[1], v[2])),
        st.tuples(sizes, written, places).map(lambda v: LoadAcquire(v[0], v[1], *v[2])),
        st.tuples(sizes, places, read).map(lambda v: StoreRelease(v[0], *v[1], v[2])),
        atomics(),
    )


def computations() -> st.SearchStrategy[Instruction]:
    bits = st.sampled_from([32, 64])
    return st.one_of(
        st.builds(Alu, st.sampled_from(AluOp), bits, written, operands),
        st.builds(Alu, st.sampled_from(AluOp), bits, written, operands),
        st.builds(Negate, bits, written),
        st.builds(Extend, st.just(64), written, read, st.sampled_from([8, 16, 32])),
        st.builds(Extend, st.just(32), written, read, st.sampled_from([8, 16])),
        st.builds(Swap, st.sampled_from(SwapKind), st.sampled_from([16, 32, 64]), written),
        st.builds(LoadImm64, written, st.just(ImmKind.INTEGER), addresses | st.integers(0, (1 << 64) - 1)),
        st.builds(LoadImm64, written, st.just(ImmKind.MAP_FD), st.integers(0, MAPS - 1)),
    )


def jumps(count: int) -> st.SearchStrategy[Piece]:
    to = st.integers(0, count - 1)
    return st.one_of(
        st.tuples(st.sampled_from(BranchOp), st.sampled_from([32, 64]), read, operands, to).map(
            lambda v: lambda distance: [Branch(*v[:4], distance(v[4]))]
        ),
        to.map(lambda v: lambda distance: [Jump(distance(v), True)]),
        to.map(lambda v: lambda distance: [MayGoto(distance(v))]),
        to.map(lambda v: lambda distance: [CallLocal(distance(v))]),
        st.tuples(written, to).map(lambda v: lambda distance: [LoadImm64(v[0], ImmKind.FUNCTION, distance(v[1]))]),
    )


def on_maps() -> st.SearchStrategy[Piece]:
    """Map helpers with key and value on the stack, and a look at what a lookup found."""

    def make(values: tuple[int, int, int, int, int]) -> Piece:
        helper, number, key, flags, cpu = values
        return lambda _distance: [
            Store(8, 10, -16, Imm(key)),
            Store(8, 10, -24, Imm(flags)),
            LoadImm64(1, ImmKind.MAP_FD, number),
            Alu(AluOp.MOV, 64, 2, 10),
            Alu(AluOp.ADD, 64, 2, Imm(-16)),
            Alu(AluOp.MOV, 64, 3, 10 if helper != 195 else Imm(cpu)),
            *([Alu(AluOp.ADD, 64, 3, Imm(-24))] if helper != 195 else []),
            Alu(AluOp.MOV, 64, 4, Imm(flags)),
            CallHelper(helper),
            Branch(BranchOp.LT, 64, 0, Imm(1), 2),
            Load(4, False, 5, 0, 0),
            Store(4, 0, 0, 9),
        ]

    return st.tuples(
        st.sampled_from([1, 1, 2, 2, 3, 195]), st.integers(0, MAPS - 1), st.integers(0, 5), st.integers(0, 3), read
    ).map(make)


def callbacks(count: int) -> st.SearchStrategy[Piece]:
    """``loop`` or ``for_each_map_elem`` over a function that is some place of the program."""

    def make(values: tuple[bool, int, int, int, int]) -> Piece:
        loop, times, number, to, flags = values
        return lambda distance: [
            Alu(AluOp.MOV, 64, 1, Imm(times)) if loop else LoadImm64(1, ImmKind.MAP_FD, number),
            LoadImm64(2, ImmKind.FUNCTION, distance(to)),
            Alu(AluOp.MOV, 64, 3, 10),
            Alu(AluOp.MOV, 64, 4, Imm(flags)),
            CallHelper(181 if loop else 164),
        ]

    return st.tuples(
        st.booleans(),
        st.sampled_from([0, 1, 2, 5, 1 << 24]),
        st.integers(0, MAPS - 1),
        st.integers(0, count - 1),
        st.sampled_from([0, 0, 0, 1]),
    ).map(make)


def pieces(count: int) -> st.SearchStrategy[Piece]:
    return st.one_of(
        plain(computations()),
        plain(accesses()),
        plain(accesses()),
        jumps(count),
        on_maps(),
        callbacks(count),
        plain(st.builds(CallHelper, st.sampled_from([5, 7, 8, 12, 23, 26, 28, 65, 44, 1000, 1001, 300, -1]))),
        plain(st.builds(CallRegister, read)),
        plain(st.builds(LegacyLoad, st.sampled_from([1, 2, 4]), st.just(False), st.just(0), st.integers(-1, 34))),
        plain(st.builds(LegacyLoad, st.sampled_from([1, 2, 4]), st.just(True), read, st.integers(-0x10_0000, 34))),
        plain(st.just(Exit())),
    )


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """Programs that often get far: r7 points into the frame, r9 at the packet, and both stay."""
    kind = draw(st.sampled_from([None, ProgramType.XDP, ProgramType.SCHED_CLS]))
    count = draw(st.integers(1, 16))
    chosen = [draw(pieces(count)) for _ in range(count)]
    packet: dict[ProgramType | None, Instruction] = {
        None: Alu(AluOp.MOV, 64, 9, 1),
        ProgramType.XDP: Load(4, False, 9, 1, 0),
    }
    first: list[Instruction] = [
        Alu(AluOp.MOV, 64, 6, 1),
        Alu(AluOp.MOV, 64, 7, 10),
        Alu(AluOp.ADD, 64, 7, Imm(-32)),
        packet.get(kind, Load(4, False, 9, 1, 76)),
    ]
    starts = [sum(i.slots for i in first)]
    for piece in chosen:
        starts.append(starts[-1] + sum(i.slots for i in piece(lambda _number: 0)))
    instructions: list[Instruction] = [*first]
    for piece in chosen:
        sized = piece(lambda _number: 0)
        for place in range(len(sized)):
            slot = sum(i.slots for i in instructions)
            instructions.append(piece(lambda number, slot=slot: starts[number] - slot - 1)[place])  # type: ignore[misc]
    return Program([*instructions, Exit()], type=kind)


def maps() -> list[Any]:
    made = [
        HashMap(4, 8, 3, MapFlag.ZERO_SEED),
        ArrayMap(4, 3),
        PerCpuArray(8, 2, cpus=2),
        ArrayMap(8, 2, MapFlag.RDONLY_PROG),
    ]
    made[0][b"\1\0\0\0"] = b"one bits"
    return made


def called_back(machine: Machine, handle: int, *registers: int) -> int:
    """Call a callback from Python."""
    return 5 if machine.caller is None else machine.caller(handle, registers) + 1


called_back.machine = True  # type: ignore[attr-defined]
HELPERS: dict[Any, Callable[..., int]] = {1000: lambda *registers: sum(registers), 1001: called_back}


def outcome(engine: Any, program: Program, packet: bytes, **options: Any) -> dict[str, Any]:
    """Run a program twice on one machine; return all that can be seen afterwards."""
    made = maps()
    machine = Machine(program, maps=made, helpers=HELPERS, seed=3, **options)
    for _ in range(2):
        machine.start(packet)
        engine.execute(machine)
    result = machine.finish()
    words = (State.RANDOM, State.TAIL_CALLS, State.MAY_GOTO, State.CHANGED, State.REDIRECT_TARGET, State.FUEL)
    return {
        "result": result,
        "words": [int(machine.state[word]) for word in words],
        "values": [found.values.tobytes() for found in made],
        "frame": machine.frames[: layout.FRAME_SIZE].tobytes() if result.fault is None else None,
    }


@given(programs(), st.binary(max_size=40), st.sampled_from([1, 30, 500]), st.sampled_from([None, 9]), st.integers(0, 2))
def test_both_engines_say_the_same(program: Program, packet: bytes, limit: int, now: int | None, cpu: int) -> None:
    options: dict[str, Any] = {"limit": limit, "now": now or 1, "cpu": cpu}
    assert outcome(interpreter, program, packet, **options) == outcome(reference, program, packet, **options)


@given(programs(), st.binary(max_size=40))
def test_fuel_in_portions_changes_nothing(program: Program, packet: bytes) -> None:
    """With a time limit that is far away, the same faults and counts; the portion is made small so that it matters."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (interpreter, reference_run):
            patch.setattr(module, "PORTION", 3)
        patch.setattr("prestocloud_sec.bpf.vm.machine.PORTION", 3)
        whole = outcome(reference, program, packet, limit=200, now=1)
        portioned = outcome(interpreter, program, packet, limit=200, now=1, time_limit=1e6)
    del whole["words"][-1], portioned["words"][-1]
    assert whole == portioned
