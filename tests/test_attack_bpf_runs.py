# SPDX-License-Identifier: Apache-2.0
"""Runs whose helpers, maps and limits are against them: on every engine the same end, and nothing left for the next."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import resource
import signal
import time
import weakref
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from prestocloud_sec.arena import PacketArena
from prestocloud_sec.bpf import (
    ArrayMap,
    ArrayOfMaps,
    FaultKind,
    HashMap,
    Machine,
    ProgArray,
    Program,
    ProgramType,
    Result,
    RingBuffer,
    assemble,
    helpers,
)
from prestocloud_sec.bpf.errors import BpfMisuseError, ProgramError
from prestocloud_sec.bpf.vm import maptable

ENGINES = pytest.mark.parametrize("engine", ["reference", "interpreter", "compiled"])
MINE = 1 << 20
"""The number of a helper that nobody else has."""
CALL = assemble(f"call {MINE}\nexit")
TWICE = assemble(f"r6 = 0\nagain:\ncall {MINE}\nr6 += 1\nif r6 < 5 goto again\nr0 = 9\nexit")
EACH = "r1 = map[m]\nr2 = visit ll\nr3 = 0\nr4 = 0\ncall 164\nexit\nvisit:\n{}\nexit"


def kind_of(result: Result) -> FaultKind | None:
    return None if result.fault is None else result.fault.kind


@ENGINES
@pytest.mark.parametrize("error", [ValueError("x"), RecursionError(), MemoryError(), StopIteration(), OSError()])
def test_a_helper_that_raises_ends_the_program_alone(engine: str, error: Exception) -> None:
    def fail(*_: int) -> int:
        raise error

    result = TWICE.run(helpers={MINE: fail}, engine=engine)
    assert kind_of(result) is FaultKind.HELPER
    assert type(error).__name__ in str(result.fault)
    assert TWICE.run(helpers={MINE: lambda *_: 1}, engine=engine).value == 9


class Escape(BaseException):
    """What is no error of a program's."""


@ENGINES
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError, Escape])
def test_an_interrupt_within_a_helper_is_the_callers(engine: str, error: type[BaseException]) -> None:
    calls = []

    def interrupt(*_: int) -> int:
        calls.append(1)
        raise error

    with pytest.raises(error):
        TWICE.run(helpers={MINE: interrupt}, engine=engine)
    with pytest.raises(error):
        TWICE.run_batch(PacketArena.pack([b"a", b"b"]), helpers={MINE: interrupt}, engine=engine)
    assert len(calls) == 2
    assert TWICE.run(engine=engine, helpers={MINE: lambda *_: 1}).value == 9


@ENGINES
@pytest.mark.parametrize("swallows", [False, True])
def test_an_interrupt_within_a_callback_ends_the_helper_that_called_back(engine: str, swallows: bool) -> None:
    calls = []

    def back(machine: Machine, handle: int, *_: int) -> int:
        assert machine.caller is not None
        try:
            return machine.caller(handle, (1,))
        except Exception:
            calls.append("seen")
            if not swallows:
                raise
        return 1

    def interrupt(*_: int) -> int:
        calls.append("raised")
        raise Escape

    def harmless(*_: int) -> int:
        return 1

    back.machine = True  # type: ignore[attr-defined]
    program = assemble(f"r1 = visit ll\ncall {MINE}\nr0 = 9\nexit\nvisit:\ncall {MINE + 1}\nexit")
    with pytest.raises(Escape):
        program.run(helpers={MINE: back, MINE + 1: interrupt}, engine=engine)
    assert calls == ["raised", "seen"]
    assert program.run(helpers={MINE: back, MINE + 1: harmless}, engine=engine).value == 9
    stray = assemble(f"r1 = visit ll\ncall {MINE}\nr0 = 9\nexit\nvisit:\nr0 = *(u8 *)(r1 + 5)\nexit")
    fault = stray.run(helpers={MINE: back}, engine=engine).fault
    assert fault is not None
    assert (fault.kind, fault.instruction, fault.address) == (FaultKind.READ, 4, 6)


@ENGINES
@pytest.mark.parametrize("count", [3, 3000])
def test_an_interrupt_within_a_helper_of_ours_ends_a_batch(
    engine: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a Ctrl-C that comes while it runs; batches go on without Python between packets."""
    calls = []

    def interrupt(*_: object) -> int:
        calls.append(1)
        if len(calls) < 2:
            return 0
        raise Escape

    program = assemble("r1 = 0\nr2 = 0\ncall 6\nr0 = 9\nexit")  # trace_printk
    arena = PacketArena.pack([b"packet"] * count)
    with monkeypatch.context() as patched:
        patched.setattr(helpers, "implementations", lambda: {6: interrupt})
        with pytest.raises(Escape):
            program.run_batch(arena, engine=engine)
    assert len(calls) == 2
    assert program.run_batch(arena, engine=engine).values.tolist() == [9] * count


@ENGINES
@pytest.mark.parametrize("asked", ["a tail call", "a walk over elements"])
def test_an_interrupt_where_no_helper_runs(engine: str, asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes while a map is asked for what a tail call or ``for_each_map_elem`` leads to."""

    def interrupt(*_: object) -> Any:
        raise Escape

    found: Any
    if asked == "a tail call":
        program, found = assemble("r2 = map[m]\nr3 = 0\ncall 12\nr0 = 9\nexit"), ProgArray(1)
        assert program.run(maps={"m": found}, engine=engine).value == 9
        found[0] = assemble("r0 = 4\nexit")
        patch = partial(monkeypatch.setattr, ProgArray, "program_at", interrupt)
    else:
        program, found = assemble(EACH.format("r0 = 0")), ArrayMap("u4", 3)
        assert program.run(maps={"m": found}, engine=engine).value == 3
        patch = partial(monkeypatch.setattr, Machine, "elements", interrupt)
    patch()
    with pytest.raises(Escape):
        program.run(maps={"m": found}, engine=engine)
    with pytest.raises(Escape):
        program.run_batch(PacketArena.pack([b"a", b"b"]), maps={"m": found}, engine=engine)
    monkeypatch.undo()
    assert program.run(maps={"m": found}, engine=engine).value in {3, 4}


@ENGINES
def test_a_helper_that_runs_the_program_again_for_ever(engine: str) -> None:
    helpers: dict[int, Any] = {}
    depth = []

    def again(*_: int) -> int:
        depth.append(1)
        return CALL.run(helpers=helpers, engine=engine).unwrap()

    helpers[MINE] = again
    result = CALL.run(helpers=helpers, engine=engine)
    assert kind_of(result) is FaultKind.HELPER
    assert len(depth) > 5
    assert CALL.run(helpers={MINE: lambda *_: 4}, engine=engine).value == 4


@ENGINES
def test_a_helper_that_starts_its_own_machine_anew(engine: str) -> None:
    def start(machine: Machine, *_: int) -> int:
        machine.start(b"other")
        return 1

    start.machine = True  # type: ignore[attr-defined]
    result = CALL.run(b"mine", helpers={MINE: start}, engine=engine)
    assert kind_of(result) is FaultKind.HELPER
    assert "BpfMisuseError" in str(result.fault)
    assert result.packet == b"mine"


@ENGINES
def test_slow_helpers_do_not_outlast_a_limit_of_time(engine: str) -> None:
    def slow(*_: int) -> int:
        time.sleep(0.02)
        return 0

    loop = assemble(f"again:\ncall {MINE}\ngoto again\nexit")
    start = time.monotonic()
    result = loop.run(helpers={MINE: slow}, time_limit=0.1, engine=engine)
    assert kind_of(result) is FaultKind.TIME
    assert time.monotonic() - start < 5


@ENGINES
@pytest.mark.parametrize("text", ["again:\ngoto again\nexit", "r6 = 1\nagain:\nr6 += 2\nif r6 != 0 goto again\nexit"])
def test_endless_loops_end_in_time(engine: str, text: str) -> None:
    program = assemble(text)
    program.run(limit=10, engine=engine)  # compiled and warm
    start = time.monotonic()
    assert kind_of(program.run(time_limit=0.1, limit=1 << 60, engine=engine)) is FaultKind.TIME
    assert time.monotonic() - start < 10


@ENGINES
@pytest.mark.parametrize("text", ["f:\ncall f\nexit", "call f\nexit\nf:\ncall g\nexit\ng:\ncall f\nexit"])
def test_calls_that_never_return(engine: str, text: str) -> None:
    assert kind_of(assemble(text).run(engine=engine)) is FaultKind.DEPTH


@ENGINES
def test_tail_calls_in_a_circle(engine: str) -> None:
    stages = ProgArray(2)
    program = assemble("r2 = map[stages]\nr3 = 0\ncall 12\nr0 = 77\nexit")
    stages[0] = program
    assert program.run(maps={"stages": stages}, engine=engine).value == 77
    stages[0] = assemble("r1 = map[missing]\nexit")
    with pytest.raises(ProgramError, match="missing"):
        program.run(maps={"stages": stages}, engine=engine)


@ENGINES
def test_loops_of_helpers_are_bounded(engine: str) -> None:
    loop = "r1 = {}\nr2 = f ll\nr3 = 0\nr4 = 0\ncall 181\nexit\nf:\n{}\nexit"
    assert assemble(loop.format(-1, "r0 = 0")).run(engine=engine).value == (-7) & (1 << 64) - 1
    nested = assemble(loop.format(8 << 20, "r1 = 8388608\nr2 = f ll\nr3 = 0\nr4 = 0\ncall 181"))
    assert kind_of(nested.run(engine=engine)) is FaultKind.DEPTH


@ENGINES
def test_maps_that_change_while_a_program_goes_over_them(engine: str) -> None:
    seen = HashMap("u4", "u4", 64)

    def change(*_: int) -> int:
        if len(seen) > 4:
            seen.clear()
        else:
            seen.merge((number, number) for number in range(64))
        return 0

    seen.merge((number, number) for number in range(32))
    program = assemble(EACH.format(f"call {MINE}\nr0 = 0"))
    assert program.run(maps={"m": seen}, helpers={MINE: change}, engine=engine).value == 32


@ENGINES
def test_what_is_too_large_to_go_over_is_not_written_down(engine: str) -> None:
    program = assemble(EACH.format("r0 = 1"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    large = ArrayMap("u1", 1 << 28)
    result = program.run(maps={"m": large}, engine=engine)
    assert kind_of(result) is FaultKind.ARGUMENT
    assert str(maptable.MOST_ELEMENTS) in str(result.fault)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000
    assert program.run(maps={"m": ArrayMap("u1", 9)}, engine=engine).value == 1
    assert kind_of(program.run(maps={"m": RingBuffer(4096)}, engine=engine)) is FaultKind.MAP


@pytest.mark.parametrize("fake", [SimpleNamespace(descriptor=np.full(32, -1, np.int64)), SimpleNamespace(descriptor=1)])
def test_what_only_looks_like_a_map_is_none(fake: object) -> None:
    program = assemble("r1 = map[m]\nexit")
    for maps in ([fake], {"m": fake}):
        with pytest.raises(BpfMisuseError, match="no map"):
            program.run(maps=maps)


def test_more_maps_than_a_machine_has_numbers_for() -> None:
    text = "\n".join(f"r1 = map[m{number}]" for number in range(65))
    program: Program = assemble(f"{text}\nexit")
    with pytest.raises(ProgramError, match="64 maps"):
        program.run(maps={f"m{number}": ArrayMap("u4", 1) for number in range(65)})


LOOKUP = """
    *(u32 *)(r10 - 4) = 0
    r1 = map[outer]
    r2 = r10
    r2 += -4
    call 1
    if r0 == 0 goto none
    r1 = r0
    r2 = r10
    r2 += -4
    call 1
    if r0 == 0 goto none
    r0 = *(u32 *)(r0 + 0)
    exit
none:
    r0 = -1
    exit
"""


@ENGINES
def test_maps_in_a_map_may_be_replaced_for_ever(engine: str) -> None:
    outer = ArrayOfMaps(ArrayMap("u4", 1), 1)
    program = assemble(LOOKUP)
    for number in range(150):
        inner = ArrayMap("u4", 1)
        inner[0] = number
        outer[0] = inner
        assert program.run(maps={"outer": outer}, engine=engine).value == number


@pytest.mark.parametrize("engine", ["reference", "interpreter"])
def test_programs_in_an_array_may_be_replaced_for_ever(engine: str) -> None:
    stages = ProgArray(1)
    program = assemble("r2 = map[stages]\nr3 = 0\ncall 12\nr0 = -1\nexit")
    alive = []
    for number in range(1000):
        stages[0] = following = assemble(f"r0 = {number}\nexit")
        alive.append(weakref.ref(following))
        assert program.run(maps={"stages": stages}, engine=engine).value == number
    del following
    gc.collect()
    assert sum(reference() is not None for reference in alive) < 600


def test_a_machine_takes_time_in_proportion_to_the_maps_that_a_program_loads() -> None:
    program = assemble("r1 = map[m]\n" * 20_000 + "exit")
    start = time.process_time()
    assert program.run(maps={"m": ArrayMap("u4", 1)}, engine="reference").fault is None
    assert time.process_time() - start < 10


@pytest.mark.parametrize("made", [ArrayMap("u4", 1), RingBuffer(4096), Machine(assemble("exit"))])
def test_what_has_addresses_is_not_copied(made: object) -> None:
    for call in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(BpfMisuseError, match="neither copied nor pickled"):
            call(made)


def _interrupted_after(seconds: float, call: Callable[[], object]) -> None:
    """Call something that has a timer's signal raise Ctrl-C's error within."""
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        with pytest.raises(KeyboardInterrupt):
            call()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@ENGINES
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # C says what it drops
@pytest.mark.parametrize("helped", [False, True])
def test_an_interrupt_while_a_program_runs_is_the_callers(engine: str, helped: bool) -> None:
    """Machine code does not hear it; Python does when it is asked for more time or for a helper."""
    program = assemble(f"again:\ncall {MINE}\ngoto again\nexit" if helped else "again:\nr2 += 1\ngoto again\nexit")
    mine = {MINE: lambda *_: 1} if helped else None
    program.run(limit=10, helpers=mine, engine=engine)  # compiled and warm
    for attempt in range(10):
        start = time.monotonic()
        _interrupted_after(
            0.005 + attempt / 1000,
            lambda: program.run(time_limit=20, limit=1 << 60, helpers=mine, engine=engine),
        )
        assert time.monotonic() - start < 10
    assert kind_of(program.run(limit=1000, helpers=mine, engine=engine)) is FaultKind.LIMIT


WRITES = assemble("*(u8 *)(r1 + 0) = 3\nr0 = 2\nexit")


def altered(offset: int = 0, length: int = 8) -> PacketArena:
    """Return an arena of 300 packets whose arrays were changed after it was made."""
    arena = PacketArena.pack([b"x" * 8] * 300)
    arena.offsets[250] += offset
    arena.lengths[250:252] = length
    return arena


@ENGINES
@pytest.mark.parametrize("place", [{"length": 1 << 40}, {"length": 1 << 62}, {"length": -5}, {"length": -(1 << 63)}])
@pytest.mark.parametrize("offset", [0, 1 << 40, -(1 << 40), (1 << 63) - 1 - 2000])
def test_an_arena_that_was_changed_takes_no_memory(engine: str, place: dict[str, int], offset: int) -> None:
    with pytest.raises(BpfMisuseError, match="packet 250 lies outside the buffer"):
        WRITES.run_batch(altered(offset, **place), engine=engine)
    assert WRITES.run_batch(altered(), engine=engine).values.tolist() == [2] * 300


@ENGINES
def test_packets_that_overlap_are_not_copied_beyond_the_memory_there_is(engine: str) -> None:
    size, count = 1 << 24, 1 << 16  # a terabyte
    arena = PacketArena(np.zeros(size, np.uint8), np.zeros(count, np.int64), np.full(count, size, np.int64))
    start = time.monotonic()
    with pytest.raises(BpfMisuseError, match=rf"{size * count} bytes"):
        WRITES.run_batch(arena, engine=engine)
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("engine", ["interpreter", "compiled"])
def test_packets_that_grow_beyond_the_memory_there_is(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results are given more room whenever it is used up; 500 packets become 2000 bytes long here."""
    grow = assemble("r6 = r1\nr2 = 1992\ncall 65\nr0 = 2\nexit", type=ProgramType.XDP)
    arena = PacketArena.pack([b"x" * 64] * 500)
    assert grow.run_batch(arena, engine=engine).packets.lengths.tolist() == [2056] * 500
    monkeypatch.setattr("prestocloud_sec.bpf.vm.batch_room._most", lambda: 300_000)
    with pytest.raises(BpfMisuseError, match="what fits into memory"):
        grow.run_batch(arena, engine=engine)
    monkeypatch.undo()
    assert grow.run_batch(arena, engine=engine).packets.lengths.tolist() == [2056] * 500


@ENGINES
def test_a_packet_that_is_too_long_to_be_copied(engine: str) -> None:
    size = (1 << 24) + 1
    arena = PacketArena(np.zeros(size, np.uint8), np.zeros(300, np.int64), np.full(300, 8, np.int64))
    arena.lengths[7] = size
    with pytest.raises(BpfMisuseError, match=rf"packet 7 has {size} bytes"):
        WRITES.run_batch(arena, engine=engine)
