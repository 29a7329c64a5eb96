# SPDX-License-Identifier: Apache-2.0
"""Whatever a caller hands to BPF programs, builders and runs is refused with an error of the package, in few words."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from prestocloud_sec.arena import PacketArena
from prestocloud_sec.bpf import (
    Builder,
    ControlFlowGraph,
    Machine,
    Program,
    ProgramType,
    Symbols,
    assemble,
    classic,
    isa,
    verify,
)
from prestocloud_sec.bpf.classic.codec import encode as encode_classic
from prestocloud_sec.bpf.classic.disassembler import instruction_text as classic_text
from prestocloud_sec.bpf.disassembler import disassemble, instruction_text
from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.bpf.vm import run, run_batch
from prestocloud_sec.errors import PrestoCloudError

BIG = 10**5000  # Python refuses to write it out
LONGEST_MESSAGE = 600


class Awkward:
    """Refuses everything that an object can be asked for."""

    def _refuse(self, *_: object) -> Any:
        raise RuntimeError("awkward")

    __repr__ = __str__ = __eq__ = __iter__ = __len__ = __index__ = __bool__ = __getitem__ = __call__ = __array__ = (
        _refuse
    )
    __hash__ = object.__hash__


class AwkwardMapping(Mapping[Any, Any]):
    __getitem__ = __iter__ = __len__ = Awkward._refuse


class AwkwardSequence(Sequence[Any]):
    __getitem__ = __len__ = Awkward._refuse


def failing() -> Iterator[int]:
    yield 1
    raise RuntimeError("no more")


def released() -> memoryview:
    view = memoryview(bytearray(16))
    view.release()
    return view


def hostile() -> list[Any]:
    """Return fresh values of every kind that does not belong there."""
    return [
        *(None, True, -1, 3, 1 << 64, BIG, -BIG, 1.5, float("nan"), 1j, "x" * 100_000, "\ud800", "\0", ""),
        *(b"", b"x", bytearray(8), bytes(256), memoryview(bytes(32))[::2], np.zeros((2, 8), np.uint8).data),
        *(
            released(),
            [],
            [BIG],
            (BIG,),
            {},
            {BIG: BIG},
            {"x": BIG},
            set(),
            object(),
            int,
            failing(),
            range(-1, 1 << 60),
        ),
        *(np.array(3), np.arange(8, dtype=np.uint8)[::-1], np.arange(4, dtype=">u4"), np.array([1, None], object)),
        *(np.zeros(2, "u4,u2"), np.zeros(0, np.uint8), np.array([1, 2]), np.bool_(True), np.void(b"abcd")),
        *(Awkward(), [Awkward()], {"x": Awkward()}, {Awkward(): 1}, AwkwardMapping(), AwkwardSequence()),
    ]


def survives(call: Callable[[Any], object]) -> None:
    """Call with each hostile value; what it raises is an error of the package with a short text."""
    messages = []
    for value in hostile():
        try:
            call(value)
        except PrestoCloudError as error:
            messages.append(str(error))
    assert max(map(len, messages), default=0) < LONGEST_MESSAGE


PROGRAM = assemble("r0 = 1\nexit")
FILTER = assemble("r0 = *(u32 *)(r1 + 8)\nexit", type=ProgramType.SCHED_CLS)
ARENA = PacketArena.pack([b"ab", b"cdef"])
GRAPH = ControlFlowGraph(PROGRAM)
EXIT = isa.Exit()

PROGRAMS: dict[str, Callable[[Any], object]] = {
    "Program": Program,
    "Program of one": lambda v: Program([v]),
    "Program.type": lambda v: Program([EXIT], type=v),
    "Program.name": lambda v: Program([EXIT], name=v),
    "Program.symbols": lambda v: Program([EXIT], symbols=v),
    "from_bytes": Program.from_bytes,
    "slot_of": PROGRAM.slot_of,
    "index_at": PROGRAM.index_at,
    "labels": lambda v: Symbols(labels=v),
    "a label": lambda v: Program([EXIT], symbols=Symbols({"x": v})),
    "functions": lambda v: Symbols(functions=v),
    "maps": lambda v: Symbols(maps=v),
    "a map": lambda v: Program([EXIT], symbols=Symbols(maps={0: v})),
    "kfuncs": lambda v: Symbols(kfuncs=v),
    "a kfunc": lambda v: Program([EXIT], symbols=Symbols(kfuncs={0: v})),
    "assemble": assemble,
    "syntax": lambda v: assemble("exit", syntax=v),
    "disassemble": disassemble,
    "disassemble, syntax": lambda v: disassemble(PROGRAM, syntax=v),
    "disassemble, labels": lambda v: disassemble(PROGRAM, labels=v),
    "instruction_text": instruction_text,
    "instruction_text, target": lambda v: instruction_text(isa.Jump(0), target=v),
    "instruction_text, map": lambda v: instruction_text(isa.LoadImm64(0, isa.ImmKind.MAP_FD, 0), map_name=v),
    "decode": isa.decode,
    "encode": isa.encode,
    "graph": ControlFlowGraph,
    "successors": GRAPH.successors,
    "predecessors": GRAPH.predecessors,
    "instructions": GRAPH.instructions,
}

INSTRUCTIONS: list[tuple[type, tuple[Any, ...]]] = [
    (isa.Alu, (isa.AluOp.MOV, 64, 0, 1)),
    (isa.Negate, (64, 1)),
    (isa.Extend, (64, 1, 1, 8)),
    (isa.Swap, (isa.SwapKind.LE, 16, 1)),
    (isa.AddressSpaceCast, (1, 2, 0, 1)),
    (isa.Load, (4, False, 0, 1, 0)),
    (isa.Store, (4, 1, 0, 2)),
    (isa.Atomic, (isa.AtomicOp.ADD, False, 8, 1, 0, 2)),
    (isa.LoadAcquire, (8, 0, 1, 0)),
    (isa.StoreRelease, (8, 1, 0, 2)),
    (isa.LoadImm64, (0, isa.ImmKind.INTEGER, 5, 0)),
    (isa.LegacyLoad, (4, False, 0, 0)),
    (isa.Jump, (0, False)),
    (isa.Branch, (isa.BranchOp.EQ, 64, 0, 1, 0)),
    (isa.MayGoto, (0,)),
    (isa.CallHelper, (1,)),
    (isa.CallLocal, (0,)),
    (isa.CallKfunc, (1, 0)),
    (isa.CallRegister, (1, "dst")),
    (isa.Imm, (1,)),
]

STATEMENTS = """
b.r0 = v
b.w0 = v
b.r0 += v
b.w1 <<= v
b.goto(0, when=b.r0 == v)
b.goto(0, when=b.r0.slt(v))
b.r0 = b.u32[v]
b.r0 = b.u32[b.r1 + v]
b.u32[b.r1] = v
b.u64[b.r1] = v
b.r0 = b.imm64(v)
b.r0 = b.map(v)
b.r0 = b.map_value(v)
b.r0 = b.map_value(1, v)
b.r0 = b.function(v)
b.label(v)
b.goto(v)
b.goto(0, when=v)
b.goto(0, wide=v)
b.may_goto(v)
b.call(v)
b.call_local(v)
b.call_kfunc(v)
b.call_kfunc(1, v)
b.call_kfunc("f", v)
b.call_register(v)
b.swap(v, b.r0)
b.swap("be16", v)
b.cast(b.r0, b.r1, target=v, source=1)
b.atomic(v, b.u64[b.r1], b.r2)
b.atomic("add", v, b.r2)
b.atomic("add", b.u64[b.r1], v)
b.atomic("add", b.u64[b.r1], b.r2, fetch=v)
b.load_acquire(b.r0, v)
b.store_release(v, b.r0)
b.load_packet(v, 0)
b.load_packet(4, v)
b.emit(v)
b.program(name=v)
""".strip().splitlines()

RUNS: dict[str, Callable[[Any], object]] = {
    "a program": run,
    "a program for a batch": lambda v: run_batch(v, ARENA),
    "packet": PROGRAM.run,
    "context": lambda v: PROGRAM.run(ctx=v),
    "named context": lambda v: FILTER.run(ctx=v),
    "a field": lambda v: FILTER.run(ctx={"mark": v}),
    "a wide field": lambda v: FILTER.run(ctx={"remote_ip6": v}),
    "maps": lambda v: PROGRAM.run(maps=v),
    "a map": lambda v: PROGRAM.run(maps=[v]),
    "a named map": lambda v: PROGRAM.run(maps={"x": v}),
    "engine": lambda v: PROGRAM.run(engine=v),
    "trace": lambda v: PROGRAM.run(trace=v),
    "helpers": lambda v: PROGRAM.run(helpers=v),
    "a helper": lambda v: PROGRAM.run(helpers={1: v}),
    "limit": lambda v: PROGRAM.run(limit=v),
    "time": lambda v: PROGRAM.run(time_limit=v),
    "seed": lambda v: PROGRAM.run(seed=v),
    "now": lambda v: PROGRAM.run(now=v),
    "cpu": lambda v: PROGRAM.run(cpu=v),
    "network offset": lambda v: PROGRAM.run(network_offset=v),
    "unknown": lambda v: PROGRAM.run(unknown=v),
    "arena": lambda v: PROGRAM.run_batch(v),
    "arena's engine": lambda v: PROGRAM.run_batch(ARENA, engine=v),
    "arena's maps": lambda v: PROGRAM.run_batch(ARENA, maps=v),
    "machine": Machine,
    "machine's packet": lambda v: Machine(PROGRAM).start(v),
    "machine's context": lambda v: Machine(FILTER).start(b"", v),
    "context's field": lambda v: Machine(FILTER).context.update(mark=v),
    "fault": lambda v: PROGRAM.run_batch(ARENA).fault(v),
}


RETURN = classic.assemble("ld rand\nret a")

CLASSIC: dict[str, Callable[[Any], object]] = {
    "program": classic.ClassicProgram,
    "program of one": lambda v: classic.ClassicProgram([v]),
    "from_bytes": classic.ClassicProgram.from_bytes,
    "from_dd": classic.ClassicProgram.from_dd,
    "from_ddd": classic.ClassicProgram.from_ddd,
    "assemble": classic.assemble,
    "encode": encode_classic,
    "instruction_text": classic_text,
    "check": lambda v: RETURN.check(v),
    "to_ebpf": lambda v: RETURN.to_ebpf(v),
    "packet": RETURN.run,
    "metadata": lambda v: RETURN.run(b"", metadata=v),
    "a field": lambda v: classic.PacketMetadata(mark=v),
    "an unknown field": lambda v: classic.PacketMetadata.of_frame(b"", unknown=v),
    "what random gives": lambda v: RETURN.run(b"", metadata=classic.PacketMetadata(random=lambda: v)),
    "a constant": lambda v: classic.ClassicProgram([classic.Return(v)]).disassemble(),
    "unused": lambda v: classic.ClassicProgram([classic.Negate(unused=v)]).disassemble(),
    "a call": lambda v: classic.SeccompData(v),
    "arguments of a call": lambda v: classic.SeccompData(1, args=v),
    "call to run over": RETURN.run_seccomp,
    "decide": classic.decide,
    "decide one": lambda v: classic.decide([v]),
    "filters": lambda v: classic.run_filters(v, bytes(64)),
    "a filter": lambda v: classic.run_filters([v], bytes(64)),
}


@pytest.mark.parametrize("name", CLASSIC)
def test_classic_programs(name: str) -> None:
    survives(CLASSIC[name])


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(name: str) -> None:
    survives(PROGRAMS[name])


@pytest.mark.parametrize(("kind", "good"), INSTRUCTIONS, ids=lambda part: getattr(part, "__name__", ""))
def test_instructions(kind: type, good: tuple[Any, ...]) -> None:
    for place in range(len(good)):

        def make(value: Any, place: int = place) -> None:
            made = kind(*good[:place], value, *good[place + 1 :])
            if kind is not isa.Imm:
                Program([made]).disassemble(syntax="mnemonic")

        survives(make)


@pytest.mark.parametrize("statement", STATEMENTS)
def test_statements_of_the_builder(statement: str) -> None:
    def write(value: Any) -> None:
        builder = Builder()
        with contextlib.suppress(PrestoCloudError):
            exec(statement, {"b": builder, "v": value})  # noqa: S102 - the statements are above
            return
        assert len(builder.program()) == 0
        exec(statement, {"b": builder, "v": value})  # noqa: S102

    survives(write)


@pytest.mark.parametrize(
    "name",
    [
        *("type", "maps", "profile", "attach", "license", "context", "helpers"),
        *("privileged", "strict_alignment", "compare_with_kernel", "witness"),
    ],
)
def test_judging(name: str) -> None:
    program = assemble("r0 = r3\nexit", type=ProgramType.SOCKET_FILTER)  # refused, so that a witness is looked for
    survives(lambda value: verify(program, **{name: value}))
    survives(verify)


@pytest.mark.parametrize("name", ["privileged", "strict_alignment", "compare_with_kernel", "witness"])
@pytest.mark.parametrize("value", [np.zeros(2), np.bool_(True), 1, 0, None, "no", []])
def test_what_is_neither_true_nor_false(name: str, value: object) -> None:
    with pytest.raises(BpfMisuseError, match=f"{name}.*True or False"):
        verify(PROGRAM, type=ProgramType.SOCKET_FILTER, **{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", RUNS)
def test_runs(name: str) -> None:
    survives(RUNS[name])


def test_an_option_that_does_not_exist_is_told_with_those_that_do() -> None:
    with pytest.raises(BpfMisuseError, match=r"'limits'.*time_limit"):
        PROGRAM.run(limits=3)
    with pytest.raises(BpfMisuseError, match="'trace'"):
        PROGRAM.run_batch(ARENA, trace=True)


def test_a_context_that_is_refused_changes_nothing() -> None:
    machine = Machine(FILTER)
    machine.context.fill({"mark": 7})
    for wrong in ({"mark": 1, "len": -1}, {"mark": 1, "nothing": 1}, bytes(1000)):
        with pytest.raises(BpfMisuseError):
            machine.context.fill(wrong)
        assert machine.context["mark"] == 7
    with pytest.raises(BpfMisuseError):
        machine.context.update(mark=1, len="x")  # type: ignore[arg-type]
    assert machine.context["mark"] == 7


@pytest.mark.parametrize("engine", ["reference", "interpreter"])
def test_what_a_helper_returns(engine: str) -> None:
    program = assemble("call 1\nexit")

    def answer(value: Any) -> None:
        result = program.run(helpers={1: lambda *_: value}, engine=engine)
        assert (result.value is None) != (result.fault is None)

    survives(answer)
