# SPDX-License-Identifier: Apache-2.0
"""The compiler's parts: where pointers come from, which loops are written out, and what is left out of the text."""

from __future__ import annotations

import resource
from dataclasses import replace
from pathlib import Path

import pytest

from prestocloud_sec.bpf import ArrayMap, HashMap, Program, ProgramType, assemble
from prestocloud_sec.bpf.vm.compiler.emit import module_text
from prestocloud_sec.bpf.vm.compiler.engine import compile_together, compiled_of, execute
from prestocloud_sec.bpf.vm.compiler.llvm import LARGE, MIDDLE, compile_object, level_for, load_object
from prestocloud_sec.bpf.vm.compiler.loops import short_loops
from prestocloud_sec.bpf.vm.compiler.plan import needs_rows
from prestocloud_sec.bpf.vm.compiler.planning import compile_program, plan_of
from prestocloud_sec.bpf.vm.compiler.provenance import PACKET, SCALAR, UNKNOWN, Environment, Kind, Origin, origins
from prestocloud_sec.bpf.vm.fault import FaultKind
from prestocloud_sec.bpf.vm.machine import Machine

FRAME = Origin(Kind.FRAME, 0, 0)
CONTEXT = Origin(Kind.CONTEXT, 0, 0)
ENTRY = (SCALAR, CONTEXT, *[SCALAR] * 8, FRAME)


def before(text: str, *, fields: frozenset[int] = frozenset(), loads: dict[int, Origin] | None = None) -> list[object]:
    """Return the origins before each instruction of a program whose r1 is a context."""
    return list(origins(assemble(text), Environment(ENTRY, loads or {}, fields), ()))


def held(text: str, index: int, register: int, **more: object) -> Origin | None:
    state = before(text, **more)[index]  # type: ignore[arg-type]
    return None if state is None else state[register]  # type: ignore[index]


class TestProvenance:
    def test_a_sum_with_a_constant_keeps_the_place(self) -> None:
        text = "r2 = r10\nr2 += -16\nr2 -= 8\nr3 = r2\nexit"
        assert held(text, 4, 3) == Origin(Kind.FRAME, 0, -24)

    def test_a_sum_with_a_register_loses_the_place_alone(self) -> None:
        text = "r2 = r10\nr2 += r7\nr3 = r1\nr7 += r3\nexit"
        assert held(text, 4, 2) == Origin(Kind.FRAME, 0, None)
        assert held(text, 4, 7) == Origin(Kind.CONTEXT, 0, None)

    def test_what_is_no_sum_is_a_number(self) -> None:
        text = "r2 = r10\nr2 *= 1\nr3 = r10\nw3 += 1\nr4 = r10\nr4 ^= r1\nexit"
        assert [held(text, 6, register) for register in (2, 3, 4)] == [SCALAR] * 3

    def test_fields_of_the_context_that_hold_addresses(self) -> None:
        text = "r2 = *(u32 *)(r1 + 0)\nr3 = *(u32 *)(r1 + 4)\nr4 = *(u64 *)(r1 + 0)\nr2 += 14\nexit"
        fields = frozenset({0})
        assert held(text, 4, 2, fields=fields) == PACKET
        assert held(text, 4, 3, fields=fields) == SCALAR
        assert held(text, 4, 4, fields=fields) == UNKNOWN

    def test_where_ways_meet_only_what_both_say_is_known(self) -> None:
        text = """
            r2 = r10
            r3 = r10
            if r4 == 0 goto other
            r2 += -8
            goto join
        other:
            r2 += -16
            r3 = r1
        join:
            exit
        """
        assert held(text, 7, 2) == Origin(Kind.FRAME, 0, None)
        assert held(text, 7, 3) == UNKNOWN
        assert held(text, 7, 10) == FRAME

    def test_a_loop_that_moves_a_pointer_comes_to_rest(self) -> None:
        text = "r2 = r10\nr3 = 0\nloop:\nr2 += -8\nr3 += 1\nif r3 < 9 goto loop\nexit"
        assert held(text, 2, 2) == Origin(Kind.FRAME, 0, None)

    def test_a_call_leaves_no_arguments(self) -> None:
        loads = {0: Origin(Kind.MAP, 3)}
        text = "r1 = map[idx:0] ll\nr2 = r10\ncall 1\nr6 = r0\nexit"
        assert held(text, 4, 6, loads=loads) == Origin(Kind.VALUE, 3)
        assert held(text, 4, 2, loads=loads) == SCALAR

    def test_a_callee_does_not_have_its_callers_frame(self) -> None:
        text = "r1 = r10\nr2 = 5\ncall sub\nexit\nsub:\nr0 = r1\nexit"
        assert held(text, 5, 0) == UNKNOWN
        assert held(text, 5, 2) == SCALAR
        assert held(text, 5, 10) == FRAME

    def test_what_nothing_reaches(self) -> None:
        assert before("goto +1\nr0 = 1\nexit")[1] is None

    def test_an_entry_from_elsewhere_has_anything_in_its_registers(self) -> None:
        found = origins(assemble("exit\nr0 = r1\nexit"), Environment(ENTRY, {}, frozenset()), (1,))[1]
        assert found == (*[UNKNOWN] * 10, FRAME)


def loops_of(text: str) -> dict[int, tuple[int, int, int]]:
    program = assemble(text)
    found = short_loops(program.instructions, program.targets, range(len(program.instructions)))
    return {head: (loop.head, loop.last, loop.turns) for head, loop in found.items()}


class TestShortLoops:
    def test_a_loop_with_one_way_in(self) -> None:
        assert loops_of("r3 = 0\nl:\nr3 += 1\nif r3 < r2 goto l\nexit") == {1: (1, 2, 8)}

    def test_a_longer_one_is_written_out_less_often(self) -> None:
        body = "r4 += r3\n" * 30
        assert loops_of(f"r3 = 0\nl:\nr3 += 1\n{body}if r3 < r2 goto l\nexit") == {1: (1, 32, 2)}

    def test_none_of_calls_of_two_ways_in_or_that_is_long(self) -> None:
        assert loops_of("l:\ncall 7\nif r0 < 5 goto l\nexit") == {}
        assert loops_of("if r2 > 3 goto m\nl:\nr3 += 1\nm:\nr3 += 2\nif r3 < r2 goto l\nexit") == {}
        assert loops_of("l:\n" + "r3 += 1\n" * 60 + "if r3 < r2 goto l\nexit") == {}


READS = "r2 = *(u32 *)(r1 + 0)\nr0 = *(u8 *)(r2 + 3)\nexit"


class TestText:
    def test_an_unproved_access_is_looked_up_and_a_proved_one_is_not(self) -> None:
        plan = plan_of(Machine(assemble(READS, type=ProgramType.XDP)))
        finds = "call preserve_mostcc i64 @find("
        assert module_text(plan).count(finds) == 2
        assert module_text(replace(plan, facts=frozenset({1}))).count(finds) == 1
        assert finds not in module_text(replace(plan, checks=False))

    def test_a_place_in_the_frame_that_is_known_needs_no_test(self) -> None:
        plan = plan_of(Machine(assemble("*(u64 *)(r10 - 8) = 7\nr0 = *(u64 *)(r10 - 8)\nexit")))
        assert "call preserve_mostcc i64 @find(" not in module_text(plan)
        assert not needs_rows(plan)

    @pytest.mark.parametrize("line", ["*(u64 *)(r10 - 516) = 7", "*(u64 *)(r10 - 4) = 7", "*(u8 *)(r10 + 0) = 7"])
    def test_a_place_beside_the_frame_does(self, line: str) -> None:
        machine = Machine(assemble(f"{line}\nr0 = 0\nexit"))
        assert needs_rows(plan_of(machine))
        machine.start(b"")
        execute(machine)
        fault = machine.finish("compiled").fault
        assert fault is not None
        assert fault.kind is FaultKind.WRITE

    @pytest.mark.parametrize(
        ("made", "written"),
        [(ArrayMap(8, 4), "icmp ult i64 %t"), (HashMap(4, 8, 4), "call i64 @search4(")],
        ids=["array", "hash"],
    )
    def test_a_lookup_in_a_known_map_is_written_out(self, made: ArrayMap | HashMap, written: str) -> None:
        program = assemble("r2 = r10\nr2 += -4\n*(u32 *)(r10 - 4) = 0\nr1 = map[idx:0] ll\ncall 1\nr0 = 0\nexit")
        plan = plan_of(Machine(program, maps=[made]))
        assert plan.origins[4][1] == Origin(Kind.MAP, 0)
        unknown = replace(plan, maps={})
        assert written in module_text(plan)
        assert written not in module_text(unknown)


def value_of(machine: Machine, packet: bytes = b"") -> int | None:
    machine.start(packet)
    execute(machine)
    return machine.finish("compiled").value


def straight(size: int) -> Program:
    return assemble("\n".join(["r0 = r2", *["r0 += 3"] * (size - 2), "exit"]))


@pytest.mark.parametrize("size", [2, MIDDLE, MIDDLE + 1, LARGE, LARGE + 1])
def test_every_level_of_optimisation_gives_the_same(size: int) -> None:
    assert level_for(size) == (2 if size <= MIDDLE else 1 if size <= LARGE else 0)
    assert value_of(Machine(straight(size)), b"12345") == 5 + 3 * (size - 2)


def test_many_programs_in_one_module_keep_apart() -> None:
    machines = [Machine(assemble(f"r0 = r2\nr0 += {number}\nexit")) for number in range(20)]
    compile_together(machines, 0)
    assert [value_of(machine, b"ab") for machine in machines] == [2 + number for number in range(20)]


def test_code_compiled_elsewhere_is_used() -> None:
    machine = Machine(assemble("r0 = 1\nexit"))
    compiled_of(machine).take(compile_program(Machine(assemble("r0 = 2\nexit")), keep=False))
    assert value_of(machine) == 2


def test_text_is_the_same_whenever_it_is_made() -> None:
    """Names of what is kept on disk are made from what decides the text, so nothing else may."""
    program = assemble(READS, type=ProgramType.XDP)
    texts = {module_text(plan_of(Machine(program, seed=seed, now=seed + 1))) for seed in range(3)}
    assert len(texts) == 1
    assert len(load_object(compile_object(texts.pop(), 1))) == 1


@pytest.mark.parametrize("level", [0, 1, 2])
def test_compiling_keeps_no_memory(level: int) -> None:
    """48 KB for each that is optimised was kept once: 14 MB here."""
    text = module_text(plan_of(Machine(assemble("r0 = r2\nexit"))))

    def kilobytes_after(count: int) -> int:
        for _ in range(count):
            compile_object(text, level)
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
        return pages * resource.getpagesize() // 1024

    warm = kilobytes_after(50)
    assert kilobytes_after(300) - warm < 5000
