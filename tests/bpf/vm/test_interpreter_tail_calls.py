# SPDX-License-Identifier: Apache-2.0
"""Tail calls of the fast interpreter, each answer by the rules and equal to the readable engine's."""

from __future__ import annotations

from typing import Any

import pytest

from prestocloud_sec.bpf import Program, assemble
from prestocloud_sec.bpf.maps.array import ArrayMap
from prestocloud_sec.bpf.maps.progarray import ProgArray
from prestocloud_sec.bpf.vm import interpreter, layout, reference
from prestocloud_sec.bpf.vm.fault import FaultKind
from prestocloud_sec.bpf.vm.machine import Machine
from prestocloud_sec.bpf.vm.result import Result

GO = "r2 = map[id:0]\nr3 = {slot}\ncall 12\nr0 += 1000\nexit"


def program(text: str) -> Program:
    return assemble(text.replace(";", "\n"))


def run(text: str, programs: dict[int, str], size: int = 8, packet: bytes = b"", **options: Any) -> Result:
    results = []
    for engine in (reference, interpreter):
        array = ProgArray(size)
        for slot, other in programs.items():
            array[slot] = program(other)
        machine = Machine(program(text), maps=[array, ArrayMap(8, 2)], seed=1, now=1, **options)
        for _ in range(2):
            machine.start(packet)
            engine.execute(machine)
        results.append(machine.finish())
    assert results[0] == results[1]
    return results[1]


def fault_of(result: Result) -> tuple[FaultKind, int]:
    assert result.fault is not None
    return result.fault.kind, result.fault.instruction


@pytest.mark.parametrize("slot", [0, 5, 4095, 4096, 70000, 99999])
def test_a_tail_call_goes_on_elsewhere(slot: int) -> None:
    """Also in places beyond those that the kernel is told."""
    assert run(GO.format(slot=slot), {slot: "r0 = 7; exit"}, 100_000).value == 7


@pytest.mark.parametrize("slot", [1, 7, 8, 100, -1])
def test_an_empty_place_or_none_is_passed_by(slot: int) -> None:
    assert run(GO.format(slot=slot), {0: "r0 = 7; exit"}).value == 1000
    assert run(GO.format(slot=slot), {}, 1 << 30).value == 1000


def test_only_the_low_half_of_the_number_counts() -> None:
    assert run(GO.format(slot="4294967301 ll"), {5: "r0 = 7; exit"}).value == 7


def test_registers_and_frame_are_new_but_for_the_context() -> None:
    text = f"""
        r6 = 6
        r0 = 9
        *(u64 *)(r10 - 8) = 5
        {GO.format(slot=1)}
    """
    other = """
        r2 = *(u64 *)(r10 - 8)
        r0 = r0
        r0 += r2
        r0 += r6
        r0 <<= 8
        r3 = *(u8 *)(r1 + 0)
        r0 |= r3
        exit
    """
    assert run(text, {1: other}, packet=b"x").value == ord("x")


def test_a_chain_ends_after_33() -> None:
    again = "r2 = map[id:0]; r3 = 0; r5 = map[id:1]; call 12; r0 = 77; exit"
    assert run(again, {0: again}).value == 77
    assert run(again, {0: again}, limit=33).charged == 33
    assert fault_of(run(again, {0: again}, limit=32)) == (FaultKind.LIMIT, 3)


def test_a_function_s_tail_call_returns_to_its_caller() -> None:
    text = f"""
        r6 = 3
        call inner
        r0 += r6
        r0 += r1
        exit
    inner:
        {GO.format(slot=2)}
    """
    assert run(text, {2: "r6 = 50; r1 = 9; r0 = 7; exit"}).value == 10


def test_a_callback_may_end_elsewhere_and_comes_again() -> None:
    """The frame, its windows and the running program are right again each time."""
    text = f"""
        *(u64 *)(r10 - 8) = 0
        r1 = 5
        r2 = back ll
        r3 = r10
        r4 = 0
        call 181
        r1 = *(u64 *)(r10 - 8)
        r0 <<= 8
        r0 |= r1
        exit
    back:
        r3 = *(u64 *)(r2 - 8)
        r3 += 1
        *(u64 *)(r2 - 8) = r3
        r4 = r10
        *(u64 *)(r4 - 16) = 3
        {GO.format(slot=0)}
    """
    other = "call inner; exit; inner: r2 = r10; r0 = *(u64 *)(r2 - 16); exit"
    assert run(text, {0: other}).value == 5 << 8 | 5


@pytest.mark.parametrize("limit", range(1, 30, 3))
def test_limits_within_a_tail_call_in_a_callback(limit: int) -> None:
    """Wherever fuel runs out, the program and instruction that are blamed are the same."""
    text = f"""
        r1 = 5
        r2 = back ll
        r3 = 0
        r4 = 0
        call 181
        exit
    back:
        {GO.format(slot=0)}
    """
    other = "r0 = 3; again: r0 += -1; if r0 != 0 goto again; exit"
    run(text, {0: other}, limit=limit)
    run(text, {0: other}, limit=limit, time_limit=1000.0)


@pytest.mark.parametrize(
    "handle", ["5", "map[id:1]", f"{layout.MAP_HANDLES + 99 - (1 << 64)} ll", "map[id:0]; r2 += 64"]
)
def test_what_is_no_array_of_programs_is_a_fault(handle: str) -> None:
    text = f"r1 = map[id:1]; r2 = {handle}; r3 = 0; call 12; r0 = 0; exit"
    assert fault_of(run(text, {})) == (FaultKind.MAP, 3 + handle.count(";"))


def test_a_helper_may_change_where_a_call_leads() -> None:
    values = []
    for engine in (reference, interpreter):
        array = ProgArray(4)
        array[0] = program("r0 = 1; exit")

        def change(*_: int, array: ProgArray = array) -> int:
            array[0] = program("r0 = 2; call 1000; r0 = 3; exit")
            array[1] = program("r0 = 4; exit")
            return 0

        machine = Machine(program("call 1000;" + GO.format(slot=0)), maps=[array], helpers={1000: change})
        machine.start()
        engine.execute(machine)
        values.append(machine.finish().value)
    assert values == [3, 3]


def test_a_run_that_others_began_is_taken_to_its_end() -> None:
    """What a loop over packets does where the kernel pauses; one run leaves nothing to the next."""
    from prestocloud_sec.bpf.vm.interpreter_kernel import begin, interpret
    from prestocloud_sec.bpf.vm.interpreter_layout import Status
    from prestocloud_sec.bpf.vm.layout import State

    array = ProgArray(100_000)
    array[99_999] = program("r0 = 7; exit")
    machine = Machine(
        program(f"call 1000; r1 = 0; {GO.format(slot=99_999)}"), maps=[array], helpers={1000: lambda *_: 1}
    )
    machine.start()
    ours = interpreter.interpreter_of(machine)
    ours.refresh(machine)
    state, ends = machine.state, []
    for fuel in (0, 1, 0, 1):
        begin(ours.state_at)
        state[State.FUEL] = fuel
        status = interpret(ours.state_at, ours.desk_at)
        assert status == Status.HELPER
        ours.resume(machine, status)
        ends.append((int(state[State.FAULT]), int(state[State.RESULT])))
    assert ends == [(FaultKind.LIMIT, 0), (0, 7)] * 2
