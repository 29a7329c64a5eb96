# SPDX-License-Identifier: Apache-2.0
"""Runs one after the other: nothing of a run is left for the next, and each gets the options that it was given."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

from prestocloud_sec.arena import PacketArena
from prestocloud_sec.bpf import ArrayMap, FaultKind, Machine, Program, ProgramType, RingBuffer, assemble
from prestocloud_sec.bpf.errors import BpfMisuseError, ProgramError
from prestocloud_sec.bpf.maps.progarray import ProgArray
from prestocloud_sec.bpf.vm import reference
from prestocloud_sec.bpf.vm.layout import CONTEXT, REGION_SHIFT
from prestocloud_sec.bpf.vm.trace import Trace

each_engine = pytest.mark.parametrize("engine", ["reference", "interpreter", "compiled"])


class TestOptions:
    @each_engine
    def test_numbers_of_numpy_are_told_apart(self, engine: str) -> None:
        """Each is gone when the next is made, so that their identities are the same."""
        program = assemble("call 8\nexit")
        values = [program.run(cpu=np.uint64(number), engine=engine).value for number in range(20)]
        assert values == list(range(20))

    @each_engine
    def test_helpers_are_told_apart(self, engine: str) -> None:
        program = assemble("call 1000\nexit")

        def answer(number: int) -> Any:
            return lambda *_: number

        assert [program.run(helpers={1000: answer(n)}, engine=engine).value for n in range(20)] == list(range(20))

    def test_maps_are_told_apart(self) -> None:
        program = assemble("r0 = map[id:0][0]+0\nr0 = *(u64 *)(r0 + 0)\nexit")
        values = []
        for number in range(20):
            table = ArrayMap(8, 1)
            table[0] = number.to_bytes(8, "little")
            values.append(program.run(maps=[table]).value)
        assert values == list(range(20))

    def test_one_is_not_true(self) -> None:
        program = assemble("r0 = 0\nexit")
        assert program.run(limit=1).value == 0
        with pytest.raises(BpfMisuseError):
            program.run(limit=True)


GROWS = """
    r6 = r1
    r2 = -8
    call {helper}
    r2 = *(u32 *)(r6 + {field})
    r0 = *(u64 *)(r2 + 0)
    *(u64 *)(r2 + 0) = 77
    exit"""


class TestHeadroom:
    """What a run wrote before its packet is not there for the next."""

    @each_engine
    @pytest.mark.parametrize(("helper", "field"), [(44, 0), (54, 8)])
    def test_it_begins_as_zeros(self, engine: str, helper: int, field: int) -> None:
        program = assemble(GROWS.format(helper=helper, field=field), type=ProgramType.XDP)
        assert [program.run(bytes(20), engine=engine).value for _ in range(3)] == [0, 0, 0]
        arena = PacketArena.pack([b"\xff" * 20] * 4)
        assert program.run_batch(arena, engine=engine).values.tolist() == [0, 0, 0, 0]
        assert program.run(bytes(20), engine=engine).value == 0

    @each_engine
    def test_within_a_run_it_keeps_what_was_there(self, engine: str) -> None:
        """A header that is taken off and put on again is still there, as in the kernel."""
        text = """
            r6 = r1
            r2 = 4
            call 44
            r1 = r6
            r2 = -4
            call 44
            r2 = *(u32 *)(r6 + 0)
            r0 = *(u32 *)(r2 + 0)
            exit"""
        program = assemble(text, type=ProgramType.XDP)
        assert program.run(b"\1\2\3\4" + bytes(20), engine=engine).value == 0x04030201

    @each_engine
    def test_growing_at_the_end_shows_zeros(self, engine: str) -> None:
        text = """
            r6 = r1
            r2 = 8
            call 65
            r2 = *(u32 *)(r6 + 4)
            r0 = *(u64 *)(r2 - 8)
            *(u64 *)(r2 - 8) = 77
            exit"""
        program = assemble(text, type=ProgramType.XDP)
        assert [program.run(b"\xff" * size, engine=engine).value for size in (60, 20, 20)] == [0, 0, 0]


RESERVES = """
    r1 = map[ring]
    r2 = 16
    r3 = 0
    call 131
    if r0 == 0 goto out
    *(u64 *)(r0 + 0) = {value}
    {then}
out:
    r0 = 0
    exit"""


class TestRecords:
    """A reader of a ring stops at a record that is reserved: one that a run kept would stop it for ever."""

    @each_engine
    @pytest.mark.parametrize("end", ["", "r0 = *(u8 *)(r10 + 0)"])
    def test_one_that_was_kept_is_discarded(self, engine: str, end: str) -> None:
        ring = RingBuffer(4096)
        assemble(RESERVES.format(value=1, then=end)).run(maps={"ring": ring}, engine=engine)
        submits = "r1 = r0\nr2 = 0\ncall 132"
        assemble(RESERVES.format(value=2, then=submits)).run(maps={"ring": ring}, engine=engine)
        assert list(ring) == [(2).to_bytes(8, "little") + bytes(8)]

    @each_engine
    def test_so_it_is_in_a_batch(self, engine: str) -> None:
        ring = RingBuffer(4096)
        program = assemble(RESERVES.format(value=1, then=""))
        for _ in range(3):
            program.run_batch(PacketArena.pack([b"x"] * 100), maps={"ring": ring}, engine=engine)
            assert list(ring) == []

    def test_the_fault_of_a_record_names_it(self) -> None:
        ring = RingBuffer(4096)
        fault = assemble(RESERVES.format(value=1, then="r0 = *(u64 *)(r0 + 9)")).run(maps={"ring": ring}).fault
        assert fault is not None
        assert (fault.kind, fault.region, fault.offset) == (FaultKind.READ, "ring buffer record", 9)


class TestPrograms:
    GO = "r2 = map[id:0]\nr3 = 0\ncall 12\nr0 = 5\nexit"

    @each_engine
    def test_tail_calls_stay_within_a_type(self, engine: str) -> None:
        """The kernel refuses a program whose program array belongs to another type."""
        array = ProgArray(2)
        array[0] = assemble("r0 = 7\nexit", type=ProgramType.SCHED_CLS)
        other = assemble(self.GO, type=ProgramType.XDP)
        for _ in range(2):
            with pytest.raises(ProgramError, match="SCHED_CLS"):
                other.run(bytes(14), maps=[array], engine=engine)
        same = assemble(self.GO, type=ProgramType.SCHED_CLS)
        assert same.run(bytes(14), maps=[array], engine=engine).value == 7

    @each_engine
    def test_a_program_that_cannot_run_is_refused_each_time(self, engine: str) -> None:
        array = ProgArray(2)
        program = assemble(self.GO)
        assert program.run(maps=[array], engine=engine).value == 5
        array[0] = assemble("r1 = map[id:9]\nexit")
        for _ in range(2):
            with pytest.raises(ProgramError, match="map 9"):
                program.run(maps=[array], engine=engine)
        array[0] = assemble("r0 = 7\nexit")
        assert program.run(maps=[array], engine=engine).value == 7


class TestMemory:
    def test_a_context_that_is_gone_is_forgotten(self) -> None:
        program = assemble(f"r2 = {CONTEXT << REGION_SHIFT:#x} ll\nr0 = *(u8 *)(r2 + 9)\nexit")
        fresh = program.run(b"x").fault
        named = program.run(ctx=bytes(4)).fault
        assert named is not None
        assert named.region == "context"
        assert program.run(b"x").fault == fresh
        assert fresh is not None
        assert fresh.region is None

    def test_a_run_keeps_no_list_of_what_it_touched(self) -> None:
        program = assemble("r1 = 20000\nagain:\n*(u64 *)(r10 - 8) = r1\nr1 -= 1\nif r1 != 0 goto again\nr0 = 0\nexit")
        machine = Machine(program)
        machine.start()
        tracemalloc.start()
        reference.execute(machine)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 200_000


class TestTraces:
    def test_callbacks_are_told_behind_their_call(self) -> None:
        text = "r1 = 2\nr2 = step ll\nr3 = 0\nr4 = 0\ncall 181\nexit\nstep:\nr0 = 0\nexit"
        trace = assemble(text).run(trace=True).trace
        assert trace is not None
        assert [step.instruction for step in trace] == [0, 1, 2, 3, 4, 6, 7, 6, 7, 5]
        assert [step.depth for step in trace] == [0, 0, 0, 0, 0, 1, 1, 1, 1, 0]
        assert (0, 2) in trace[4].registers

    def test_functions_and_tail_calls_have_their_places(self) -> None:
        array = ProgArray(1)
        array[0] = assemble("r0 = 3\nexit")
        trace = assemble("call f\nexit\nf:\nr2 = map[id:0]\nr3 = 0\ncall 12\nexit").run(maps=[array], trace=True).trace
        assert trace is not None
        places = [(step.program, step.depth, step.instruction) for step in trace]
        assert places == [(0, 0, 0), (0, 1, 2), (0, 1, 3), (0, 1, 4), (1, 1, 0), (1, 1, 1), (0, 0, 1)]

    def test_what_faulted_is_not_among_the_steps(self) -> None:
        result = assemble("r0 = 1\nr0 = *(u8 *)(r0 + 0)\nexit").run(trace=True)
        assert result.trace is not None
        assert [step.instruction for step in result.trace] == [0]

    def test_a_long_run_is_cut(self) -> None:
        program: Program = assemble("r1 = 100\nagain:\nr1 -= 1\nif r1 != 0 goto again\nr0 = 0\nexit")
        machine = Machine(program)
        machine.start()
        trace = Trace(50)
        reference.execute(machine, trace)
        assert machine.finish().value == 0
        assert (len(trace), trace.complete) == (50, False)
        assert str(trace).endswith("...")
        assert "and more" in repr(trace)
        assert "the first 50 steps" in trace._repr_html_()
