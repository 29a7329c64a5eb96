# SPDX-License-Identifier: Apache-2.0
"""Verdicts: what they say of programs by hand, and that what they say of accepted programs is true when these run."""

from __future__ import annotations

import copy
import pickle
import random
import re
import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestocloud_sec import bpf
from prestocloud_sec.bpf import (
    ArrayMap,
    HashMap,
    Machine,
    MapType,
    Program,
    ProgramType,
    Verdict,
    assemble,
    create_map,
    verify,
)
from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.bpf.helpers.prototypes import Argument, Prototype, Returns
from prestocloud_sec.bpf.isa import Alu, AluOp, CallHelper, CallLocal, Exit, Imm, ImmKind, Instruction, Jump, LoadImm64
from prestocloud_sec.bpf.verifier.contexts import Access, Field, Layout, Pointer
from prestocloud_sec.bpf.verifier.maps import MapSpec
from prestocloud_sec.bpf.verifier.proofs import proved
from prestocloud_sec.bpf.verifier.registers import Kind
from prestocloud_sec.bpf.verifier.rejection import Rule
from prestocloud_sec.bpf.vm.compiler import compile_program
from prestocloud_sec.bpf.vm.compiler.engine import compiled_of
from prestocloud_sec.bpf.vm.layout import State as Word
from prestocloud_sec.errors import PrestoCloudError
from prestocloud_sec.testing.bpf_verify import MAPS, generate
from tests.bpf.linux.kernel import needs_kernel

XDP = ProgramType.XDP
PACKET = """
    r2 = *(u32 *)(r1 + 0)
    r3 = *(u32 *)(r1 + 4)
    r4 = r2
    r4 += 14
    r0 = 1
    if r4 > r3 goto out
    r0 = *(u8 *)(r2 + {offset})
    r0 &= 1
out:
    exit"""
COUNT = """
    *(u32 *)(r10 - 4) = 0
    r1 = map[seen] ll
    r2 = r10
    r2 += -4
    call 1
    {test}
    r1 = *(u64 *)(r0 + 0)
    r1 += 1
    *(u64 *)(r0 + 0) = r1
out:
    r0 = 2
    exit"""


def judged(text: str, kind: ProgramType = XDP, **options: Any) -> Verdict:
    return verify(assemble(text, type=kind), **options)


def pickled(verdict: Verdict) -> Verdict:
    found = pickle.loads(pickle.dumps(verdict))  # noqa: S301 - our own
    assert isinstance(found, Verdict)
    return found


class TestRefused:
    def test_says_which_rule_where_and_what_would_mend_it(self) -> None:
        verdict = judged(PACKET.format(offset=14))
        assert not verdict
        assert (verdict.accepted, verdict.reason, verdict.errno) == (False, Rule.PACKET, "EACCES")
        assert (verdict.instruction, verdict.slot) == (6, 6)
        assert "data_end" in verdict.hint
        assert verdict.facts is None

    def test_shows_the_way_there_and_the_state_at_each_step(self) -> None:
        path = judged(PACKET.format(offset=14)).path
        assert [step.index for step in path] == [0, 1, 2, 3, 4, 5, 6]
        assert path[6].text == "r0 = *(u8 *)(r2 + 14)"
        assert path[0].registers == {"r1": "ctx()", "r10": "fp0"}
        assert path[5].registers["r4"] == "pkt(off=14,r=0)"
        assert path[6].registers == {
            "r0": "1",
            "r1": "ctx()",
            "r2": "pkt(r=14)",
            "r3": "pkt_end()",
            "r4": "pkt(off=14,r=14)",
            "r10": "fp0",
        }

    def test_the_way_is_the_one_that_leads_there(self) -> None:
        """Of two ways the second one is at fault; what was gone through before it is not on it."""
        path = judged("if r1 == 5 goto bad\nr0 = 0\nexit\nbad:\nr3 = 7\nr0 = *(u64 *)(r3 + 0)\nexit").path
        assert [step.index for step in path] == [0, 3, 4]
        assert path[-1].registers["r3"] == "7"

    def test_the_way_goes_through_calls_and_back(self) -> None:
        verdict = judged("r6 = 1\ncall f\nr0 = *(u8 *)(r6 + 0)\nexit\nf:\nr0 = 5\nexit")
        assert [(step.index, step.depth) for step in verdict.path] == [(0, 0), (1, 0), (4, 1), (5, 1), (2, 0)]

    def test_the_way_goes_round_a_loop(self) -> None:
        text = "r6 = 0\nagain:\nr6 += 1\nif r6 < 3 goto again\nr0 = *(u8 *)(r6 + 0)\nexit"
        assert [step.index for step in judged(text).path] == [0, 1, 2, 1, 2, 1, 2, 3]

    def test_a_broken_structure_has_the_instruction_and_no_state(self) -> None:
        verdict = judged("r0 = 0\nr0 = 1")
        assert (verdict.reason, verdict.errno) == (Rule.STRUCTURE, "EINVAL")
        assert [(step.index, step.state) for step in verdict.path] == [(1, None)]

    def test_a_jump_to_nowhere(self) -> None:
        verdict = verify(Program.from_bytes(bytes.fromhex("0500090000000000" + "9500000000000000")), type=XDP)
        assert (verdict.reason, verdict.errno, verdict.instruction) == (Rule.STRUCTURE, "EINVAL", 0)
        assert verdict.path[0].index == 0
        with pytest.raises(BpfMisuseError):
            verdict.to_svg()

    def test_bytes_that_are_no_program(self) -> None:
        verdict = verify(b"\xff" * 16, type=XDP)
        assert (verdict.program, verdict.reason, verdict.errno) == (None, Rule.STRUCTURE, "EINVAL")
        assert (verdict.path, verdict.slot) == ((), 0)
        assert verdict.explain().startswith("refused [EINVAL]")
        assert verify(b"\xff" * 7, type=XDP).errno == "EINVAL"
        assert verify(b"", type=XDP).errno == "E2BIG"

    def test_stack_that_all_functions_use_together_is_nobodys_way(self) -> None:
        deep = "*(u64 *)(r10 - 400) = 0\n"
        verdict = judged(f"{deep}call f\nr0 = 0\nexit\nf:\n{deep}r0 = 0\nexit")
        assert verdict.reason is Rule.STACK_DEPTH
        assert len(verdict.path) <= 1

    def test_a_way_without_end_is_cut_at_its_beginning(self) -> None:
        from prestocloud_sec.bpf.verifier.paths import MOST_STEPS

        text = f"r6 = 0\nagain:\nr6 += 1\nif r6 < {MOST_STEPS} goto again\nr0 = *(u8 *)(r6 + 0)\nexit"
        path = judged(text).path
        assert len(path) == MOST_STEPS
        assert path[-1].registers["r6"] == str(MOST_STEPS)


class TestAccepted:
    def test_has_no_reason_and_no_way(self) -> None:
        verdict = judged(PACKET.format(offset=13))
        assert verdict
        assert (verdict.reason, verdict.errno, verdict.instruction, verdict.path) == (None, None, None, ())

    def test_facts(self) -> None:
        facts = judged(PACKET.format(offset=13)).facts
        assert facts is not None
        assert facts.complete
        before_and = facts[7]
        assert before_and is not None
        number = before_and["r0"].number
        assert number is not None
        assert (before_and["r0"].kinds, number.umin, number.umax) == (frozenset({"scalar"}), 0, 255)
        last = facts[8]
        assert last is not None
        assert last["r0"].number is not None
        assert (last["r0"].number.umin, last["r0"].number.umax) == (0, 1)
        assert {index: fact.kind for index, fact in facts.accesses.items()} == {
            0: Kind.CONTEXT,
            1: Kind.CONTEXT,
            6: Kind.PACKET,
        }

    def test_a_number_that_no_check_needed_is_not_what_one_way_had(self) -> None:
        """The verdict goes on from the join once; the facts are true of both ways."""
        text = """
            r2 = *(u32 *)(r1 + 12)
            r3 = 5
            if r2 == 1 goto join
            r3 = 7
        join:
            r0 = 0
            r0 += 1
            r0 += 1
            r0 += 1
            r0 += 1
            r0 += 1
            r0 += 1
            r0 += 1
            if r2 == 3 goto end
            r0 = r3
        end:
            exit"""
        facts = judged(text).facts
        assert facts is not None
        held = facts[len(facts) - 2]
        assert held is not None
        assert held["r3"].number is not None
        assert 5 in held["r3"].number
        assert 7 in held["r3"].number

    def test_what_is_never_reached_and_what_is_several_things(self) -> None:
        text = "r2 = 0\nif r2 == 0 goto on\nr2 = r10\non:\nr0 = 0\nexit"
        facts = judged(text).facts
        assert facts is not None
        assert facts[2] is None
        text = "r2 = *(u32 *)(r1 + 12)\nr3 = 0\nif r2 == 0 goto on\nr3 = r10\non:\n*(u64 *)(r10 - 8) = r3\nr0 = 0\nexit"
        facts = judged(text).facts
        assert facts is not None
        held = facts[4]
        assert held is not None
        assert held["r3"].kinds == frozenset({"scalar", "fp"})
        assert (held["r3"].number, str(held["r3"])) == (None, "fp or scalar")


def made(spec: MapSpec) -> Any:
    if spec.inner is not None:
        return create_map(
            spec.type, spec.key_size, spec.value_size, spec.max_entries, spec.flags, inner=made(spec.inner)
        )
    return create_map(spec.type, spec.key_size, spec.value_size, spec.max_entries, spec.flags)


def accepted_program(seed: int) -> tuple[Program, Verdict, list[Any]] | None:
    """Return a generated program that is accepted, can be run here, and has one function."""
    case = generate(random.Random(seed), mutate=0.2)
    if case.type not in (XDP, ProgramType.SCHED_CLS, ProgramType.SOCKET_FILTER):
        return None
    if any(isinstance(i, CallLocal) or (isinstance(i, LoadImm64) and i.kind is ImmKind.FUNCTION) for i in case.program):
        return None
    loads = [i for i in case.program if isinstance(i, LoadImm64) and i.kind is ImmKind.MAP_FD]
    if any(0 <= i.value < len(MAPS) and not MAPS[i.value].program_may_read for i in loads):
        return None  # the machine finds nothing in a write-only map, where the kernel finds its elements
    maps = [made(spec) for spec in MAPS]
    verdict = verify(case.program, maps=maps, attach=case.attach)
    return (case.program, verdict, maps) if verdict else None


class TestTruth:
    @settings(max_examples=150, deadline=None)
    @given(st.integers(0, 1 << 32), st.binary(min_size=14, max_size=96))
    def test_numbers_lie_in_their_ranges(self, seed: int, packet: bytes) -> None:
        found = accepted_program(seed)
        if found is None:
            return
        program, verdict, maps = found
        facts = verdict.facts
        assert facts is not None
        run = program.run(packet, maps=maps, engine="reference", trace=True)
        assert run.fault is None, program.disassemble()
        registers: dict[int, int] = {}
        assert run.trace is not None
        for step in run.trace.steps:
            if step.program:
                break
            held = facts[step.instruction]
            assert held is not None, step
            for name, what in held.items():
                value = registers.get(int(name[1:]))
                if what.kinds == {"scalar"} and what.number is not None and value is not None:
                    assert value in what.number, f"{name}={value:#x} before {step}: {what}\n{program.disassemble()}"
            registers.update(step.registers)

    @settings(max_examples=40, deadline=None)
    @given(st.integers(0, 1 << 32), st.binary(min_size=14, max_size=96))
    def test_compiled_with_what_is_proved_it_does_the_same(self, seed: int, packet: bytes) -> None:
        found = accepted_program(seed)
        if found is None:
            return
        program, verdict, maps = found
        if any(isinstance(i, CallHelper) and i.number in {5, 7, 12} for i in program):
            return  # the time, chance, and other programs
        machine = Machine(program, maps=maps)
        compiled_of(machine).take(compile_program(machine, facts=proved(verdict, machine), keep=False))
        machine.start(packet)
        compiled_of(machine).run()
        told = program.run(packet, maps=[made(spec) for spec in MAPS], engine="reference")
        assert int(machine.state[Word.RESULT]) & (1 << 64) - 1 == told.value, program.disassemble()

    def test_generated_programs_are_accepted_often_enough(self) -> None:
        assert sum(accepted_program(seed) is not None for seed in range(60)) >= 5


class TestProved:
    def test_accesses_of_all_kinds(self) -> None:
        seen = ArrayMap("u8", 4)
        program = assemble(COUNT.format(test="if r0 == 0 goto out"), type=XDP)
        verdict = verify(program, maps=[seen])
        machine = Machine(program, maps=[seen])
        assert proved(verdict, machine) >= {6, 8}
        packets = assemble(PACKET.format(offset=3), type=XDP)
        assert proved(verify(packets), Machine(packets)) == {0, 1, 6}

    def test_nothing_where_the_verdict_is_of_something_else(self) -> None:
        program = assemble(PACKET.format(offset=3), type=XDP)
        machine = Machine(program)
        assert proved(judged(PACKET.format(offset=4)), machine) == frozenset()
        assert proved(verify(program, type=ProgramType.SCHED_CLS), machine) == frozenset()
        assert proved(judged(PACKET.format(offset=20)), Machine(assemble(PACKET.format(offset=20), type=XDP))) == set()

    def test_nothing_of_a_map_that_is_shorter_than_the_one_that_was_judged(self) -> None:
        program = assemble(COUNT.format(test="if r0 == 0 goto out").replace("(r0 + 0)", "(r0 + 8)"), type=XDP)
        verdict = verify(program, maps=[MapSpec(MapType.ARRAY, 4, 16, 4)])
        assert verdict
        assert proved(verdict, Machine(program, maps=[ArrayMap(8, 4)])).isdisjoint({6, 8})
        assert proved(verdict, Machine(program, maps=[ArrayMap(16, 4)])) >= {6, 8}

    def test_nothing_where_a_user_put_his_own_helper_in_the_place_of_one(self) -> None:
        seen = ArrayMap("u8", 4)
        program = assemble(COUNT.format(test="if r0 == 0 goto out"), type=XDP)
        machine = Machine(program, maps=[seen], helpers={1: lambda *_: 77})
        assert proved(verify(program, maps=[seen]), machine) == frozenset()

    @pytest.mark.parametrize("given", [None, 5, "x"])
    def test_misuse(self, given: Any) -> None:
        program = assemble(PACKET.format(offset=3), type=XDP)
        with pytest.raises(BpfMisuseError):
            proved(given, Machine(program))
        with pytest.raises(BpfMisuseError):
            proved(verify(program), given)
        with pytest.raises(BpfMisuseError):
            proved(verify(program), Machine(program), 1)


class TestCompiling:
    PROGRAM = assemble("r0 = *(u32 *)(r1 + 12)\nexit", type=XDP)

    @pytest.mark.parametrize("facts", [{99}, {-1}, {1}, {"0"}, {True}, [0], None, "all"])
    def test_what_is_no_fact_is_refused(self, facts: Any) -> None:
        with pytest.raises(BpfMisuseError, match="facts"):
            compile_program(Machine(self.PROGRAM), keep=False, facts=facts)

    def test_facts_of_a_verdict_are_compared_with_the_machine_first(self) -> None:
        with pytest.raises(BpfMisuseError, match=r"proved\(verdict, machine\)"):
            compile_program(Machine(self.PROGRAM), facts=verify(self.PROGRAM).facts)  # type: ignore[arg-type]

    @pytest.mark.parametrize("given", [PACKET, assemble("exit"), None, 5])
    def test_it_takes_a_machine(self, given: Any) -> None:
        with pytest.raises(BpfMisuseError, match="Machine"):
            compile_program(given)
        with pytest.raises(BpfMisuseError):
            compile_program(Machine(self.PROGRAM), 1)


class TestMaps:
    def test_by_number_by_name_as_maps_and_as_specs(self) -> None:
        program = assemble(COUNT.format(test="if r0 == 0 goto out"), type=XDP)
        spec = MapSpec(MapType.HASH, 4, 8, 10)
        for maps in ([HashMap("u4", "u8", 10)], [spec], {0: spec}, {"seen": spec}, (spec,)):
            assert verify(program, maps=maps)
        assert verify(program, maps={"seen": MapSpec(MapType.HASH, 4, 4, 10)}).reason is Rule.MAP_VALUE
        assert verify(program, maps={"seen": MapSpec(MapType.HASH, 8, 8, 10)}).errno == "EINVAL"  # above the frame

    def test_null_has_to_be_looked_for(self) -> None:
        verdict = judged(COUNT.format(test=""), maps=[MapSpec(MapType.HASH, 4, 8, 10)])
        assert (verdict.reason, verdict.instruction) == (Rule.NULL, 5)

    def test_a_map_that_is_missing(self) -> None:
        verdict = judged(COUNT.format(test=""))
        assert (verdict.reason, verdict.errno) == (Rule.MAP, "EINVAL")

    def test_constants_are_read_from_maps_that_do_not_change(self) -> None:
        from prestocloud_sec.bpf import MapFlag

        constants = ArrayMap("u8", 1, MapFlag.RDONLY_PROG)
        constants[0] = 1
        program = assemble("r1 = map[c][0]+0\nr0 = *(u64 *)(r1 + 0)\nexit", type=ProgramType.CGROUP_SOCK)
        assert verify(program, maps=[constants]).reason is Rule.RETURN
        constants.freeze()
        assert verify(program, maps=[constants])

    def test_equal_maps_are_two_maps(self) -> None:
        """Unlocking another map than the one that was locked is refused, however alike they are."""
        text = """
            r1 = map[a] ll
            r2 = r10
            r2 += -4
            *(u32 *)(r10 - 4) = 0
            call 1
            if r0 == 0 goto out
            r6 = r0
            r1 = map[{}] ll
            r2 = r10
            r2 += -4
            call 1
            if r0 == 0 goto out
            r7 = r0
            r1 = r6
            call 93
            r1 = r{}
            call 94
        out:
            r0 = 0
            exit"""
        spec = MapSpec(MapType.ARRAY, 4, 8, 1, spin_lock=0)
        for other, register, good in (("b", 7, False), ("b", 6, True), ("a", 6, True), ("a", 7, False)):
            verdict = judged(text.format(other, register), ProgramType.SCHED_CLS, maps={"a": spec, "b": spec})
            assert bool(verdict) is good, verdict


class TestProfile:
    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("r6 = 3\nagain:\nr6 += -1\nif r6 != 0 goto again\nr0 = 0\nexit", "back-edge from insn 2 to 1"),
            ("call f\nexit\nf:\nr0 = 0\nexit", "inlined"),
            ("r0 = 0\nif w0 == 1 goto +0\nexit", "5.1"),
            ("r0 = 0\nif r0 < 1 goto +0\nexit", "4.14"),
            ("r2 = 1\nr0 = (s8)r2\nexit", "6.6"),
            ("r0 = 8\nr0 s/= 2\nexit", "6.6"),
            ("r0 = 8\nr0 = bswap16 r0\nexit", "6.6"),
            ("gotol +0\nr0 = 0\nexit", "6.6"),
            ("r0 = 1\n*(u64 *)(r10 - 8) = r0\nlock *(u64 *)(r10 - 8) |= r0\nexit", "5.12"),
            ("r0 = 1\n*(u64 *)(r10 - 8) = r0\nr0 = atomic_fetch_add((u64 *)(r10 - 8), r0)\nexit", "5.12"),
            ("call 125\nexit", "unknown#125"),
        ],
    )
    def test_what_linux_4_11_had_not_learnt(self, text: str, why: str) -> None:
        verdict = judged(text, profile="linux-4.11")
        assert not verdict
        assert why in verdict.message + verdict.hint
        assert verdict.errno == "EINVAL"
        assert judged(text)

    def test_4096_instructions_and_no_more(self) -> None:
        text = "r0 = 0\n" * 4095 + "exit"
        assert judged(text, profile="linux-4.11")
        longer = judged("r0 = 0\n" + text, profile="linux-4.11")
        assert (longer.reason, longer.errno) == (Rule.COMPLEXITY, "E2BIG")
        assert judged("r0 = 0\n" + text)

    def test_maps_and_types_of_its_time(self) -> None:
        nested = MapSpec(MapType.ARRAY_OF_MAPS, 4, 4, 1, inner=MapSpec(MapType.ARRAY, 4, 8, 1))
        program = assemble(COUNT.format(test="r0 = 0\ngoto out"), type=XDP)
        text = "r1 = map[m] ll\nr0 = 0\nexit"
        assert judged(text, profile="linux-4.11", maps=[MapSpec(MapType.LPM_TRIE, 8, 8, 1, 1)])
        assert judged(text, profile="linux-4.11", maps=[nested]).reason is Rule.MAP
        assert judged(text, maps=[nested])
        assert program
        assert judged("r0 = 0\nexit", ProgramType.LWT_XMIT, profile="linux-4.11")
        assert judged("r0 = 0\nexit", ProgramType.SOCK_OPS, profile="linux-4.11").reason is Rule.TYPE

    def test_the_stack_has_512_bytes(self) -> None:
        for profile in ("kernel", "linux-4.11"):
            assert judged("*(u64 *)(r10 - 512) = 0\nr0 = 0\nexit", profile=profile)
            assert judged("*(u8 *)(r10 - 513) = 0\nr0 = 0\nexit", profile=profile).reason is Rule.STACK


class TestLoader:
    def test_privileges(self) -> None:
        text = "r0 = r10\nexit"
        assert judged(text, ProgramType.SOCKET_FILTER)
        assert judged(text, ProgramType.SOCKET_FILTER, privileged=False).reason is Rule.POINTER_LEAK
        refused = judged("r0 = 0\nexit", XDP, privileged=False)
        assert (refused.reason, refused.errno) == (Rule.PRIVILEGE, "EPERM")
        assert judged("r0 = 0\nexit", ProgramType.CGROUP_SKB, privileged=False)

    def test_alignment(self) -> None:
        text = PACKET.format(offset=2).replace("u8", "u32")
        assert judged(text)
        assert judged(text.replace("r2 + 2)", "r2 + 3)"), strict_alignment=True).reason is Rule.ALIGNMENT

    def test_a_limit_of_ones_own(self) -> None:
        text = "r6 = 0\nagain:\nr6 += 1\nif r6 < 300 goto again\nr0 = 0\nexit"
        assert judged(text, limit=603).processed == 603
        refused = judged(text, limit=602)
        assert (refused.reason, refused.errno) == (Rule.COMPLEXITY, "E2BIG")
        assert "(limit 602)" in refused.log()
        assert refused.path[-1].index == refused.instruction
        for limit in (0, 1_000_001, 2.5, None):
            with pytest.raises(BpfMisuseError):
                judged(text, limit=limit)

    def test_a_type_by_name(self) -> None:
        text = "r0 = *(u32 *)(r1 + 4)\nexit"
        assert verify(assemble(text), type="xdp").type is verify(assemble(text), type="Xdp").type is XDP
        for name in ("unspec", "raw", ""):
            with pytest.raises(BpfMisuseError, match="type"):
                verify(assemble(text), type=name)

    def test_the_rules_are_public(self) -> None:
        from prestocloud_sec.bpf import verifier

        assert bpf.Rule is verifier.Rule is Rule

    def test_licence(self) -> None:
        text = "*(u64 *)(r10 - 8) = 0\nr1 = r10\nr1 += -8\nr2 = 8\ncall 6\nr0 = 0\nexit"
        assert judged(text, license="GPL")
        assert judged(text)
        assert judged(text, license="Proprietary").reason is Rule.HELPER
        assert verify(assemble(text, type=XDP, license="MIT")).reason is Rule.HELPER

    def test_attach(self) -> None:
        text = "r0 = 3\nexit"
        assert judged(text, ProgramType.CGROUP_SKB, attach=1)
        assert judged(text, ProgramType.CGROUP_SKB, attach=0).reason is Rule.RETURN


WORDS = Access(
    Layout((Field("kind", 0, 4, "n"), Field("begin", 8, 8, "p"), Field("end", 16, 8, "p")), 24),
    writable=frozenset({"kind"}),
    pointers={"begin": Pointer(Kind.PACKET), "end": Pointer(Kind.PACKET_END)},
)
SIX = Prototype(900, "mark", (Argument.CONTEXT, Argument.ANYTHING), Returns.INTEGER, False, False, frozenset())


class TestOwnMachine:
    def test_a_context_of_ones_own(self) -> None:
        text = """
            r2 = *(u64 *)(r1 + 8)
            r3 = *(u64 *)(r1 + 16)
            r4 = r2
            r4 += 8
            r0 = 0
            if r4 > r3 goto out
            r0 = *(u64 *)(r2 + {})
            *(u32 *)(r1 + 0) = 1
        out:
            exit"""
        assert verify(assemble(text.format(0)), context=WORDS)
        assert verify(assemble(text.format(1)), context=WORDS).reason is Rule.PACKET
        assert verify(assemble("r0 = *(u32 *)(r1 + 4)\nexit"), context=WORDS).reason is Rule.CONTEXT
        assert verify(assemble(text.format(0)), type=XDP).reason is Rule.CONTEXT

    def test_a_helper_of_ones_own(self) -> None:
        good = assemble("r2 = 5\ncall 900\nr0 = 0\nexit")
        assert verify(good, context=WORDS, helpers={900: SIX})
        assert verify(good, type=XDP, helpers={900: SIX})
        assert verify(good, context=WORDS).reason is Rule.HELPER
        assert verify(assemble("call 900\nexit"), context=WORDS, helpers={900: SIX}).reason is Rule.UNINITIALISED

    def test_it_goes_before_the_kernels(self) -> None:
        """Number 1 takes five numbers here: what is read by it must stay apart at a join."""
        five = Prototype(1, "five", (Argument.ANYTHING,) * 5, Returns.INTEGER, False, False, frozenset())
        text = "r2 = 0\nr3 = 0\nr4 = 0\nr5 = 0\ncall 1\nexit"
        assert verify(assemble(text), context=WORDS, helpers={1: five})
        assert not verify(assemble(text.replace("r5 = 0\n", "")), context=WORDS, helpers={1: five})


class TestShown:
    def test_for_people(self) -> None:
        text = judged(PACKET.format(offset=14)).explain()
        assert "refused [EACCES]: instruction 6" in text
        assert re.search(r"6: r0 = \*\(u8 \*\)\(r2 \+ 14\) +; R0=1 R2=pkt\(r=14\)", text)
        assert "to mend it: compare" in text
        assert str(judged(PACKET.format(offset=13))).startswith("accepted: ")

    def test_for_machines(self) -> None:
        import json

        told = json.loads(json.dumps(judged(PACKET.format(offset=14)).to_json()))
        assert (told["accepted"], told["rule"], told["errno"], told["slot"]) == (False, "PACKET", "EACCES", 6)
        assert told["path"][-1]["registers"]["r2"] == "pkt(r=14)"
        assert json.loads(json.dumps(judged(PACKET.format(offset=13)).to_json()))["path"] == []

    def test_copies(self) -> None:
        seen = HashMap("u4", "u8", 10)
        accepted = verify(assemble(COUNT.format(test="if r0 == 0 goto out"), type=XDP), maps=[seen])
        refused = judged("r0 = r3\nexit", witness=True)
        for verdict in (accepted, refused, verify(b"x", type=XDP)):
            for found in (pickled(verdict), copy.deepcopy(verdict), copy.copy(verdict)):
                assert (found.accepted, found.message, str(found.log())) == (
                    verdict.accepted,
                    verdict.message,
                    str(verdict.log()),
                )
                assert found.witness is None
                assert [str(step) for step in found.path] == [str(step) for step in verdict.path]
        again = pickled(accepted).facts
        assert again is not None
        assert accepted.facts is not None
        assert [str(row) for row in again] == [str(row) for row in accepted.facts]

    def test_facts_are_as_many_as_instructions(self) -> None:
        facts = judged("r0 = 0\nexit").facts
        assert facts is not None
        assert facts[-1] == facts[1]
        for index in (2, -3, "r0", None):
            with pytest.raises(BpfMisuseError):
                facts[index]  # type: ignore[index]

    def test_repr(self) -> None:
        assert repr(judged(PACKET.format(offset=14))).startswith("<Verdict: refused as XDP [EACCES] at instruction 6: ")
        assert repr(judged(PACKET.format(offset=13))).startswith("<Verdict: accepted as XDP, ")

    @pytest.mark.parametrize("offset", [13, 14])
    def test_pictures(self, offset: int) -> None:
        verdict = judged(PACKET.format(offset=offset))
        ElementTree.fromstring(f"<div>{verdict._repr_html_()}</div>")  # noqa: S314 - our own
        picture = verdict._repr_svg_()
        assert picture is not None
        ElementTree.fromstring(picture)  # noqa: S314 - our own
        assert ("invalid access to packet" in picture) is (offset == 14)
        assert "pkt(off=14" in picture

    def test_it_does_not_change(self) -> None:
        verdict = judged("r0 = 0\nexit")
        with pytest.raises(AttributeError):
            verdict.accepted = False


class TestMisuse:
    @pytest.mark.parametrize(
        "options",
        [
            {"type": 6},
            {"type": "XDB"},
            {"maps": 5},
            {"maps": [5]},
            {"maps": {2.5: MapSpec(MapType.ARRAY, 4, 4, 1)}},
            {"maps": "ab"},
            {"profile": "linux"},
            {"profile": 4},
            {"attach": -1},
            {"attach": "x"},
            {"license": 5},
            {"context": 5},
            {"helpers": 5},
            {"helpers": {5: 5}},
            {"helpers": {901: SIX}},
            {"processors": 0},
            {"processors": ""},
            {"processors": False},
        ],
    )
    def test_arguments(self, options: dict[str, Any]) -> None:
        with pytest.raises(BpfMisuseError):
            judged("r0 = 0\nexit", **options)

    @pytest.mark.parametrize("given", [None, 5, "r0 = 0", [1], object()])
    def test_programs(self, given: Any) -> None:
        with pytest.raises(PrestoCloudError):
            verify(given, type=XDP)

    def test_what_has_to_be_made_a_program_first(self) -> None:
        with pytest.raises(BpfMisuseError, match="to_ebpf"):
            verify(bpf.ClassicProgram.from_ddd("1,6 0 0 0"), type=XDP)  # type: ignore[arg-type]
        with pytest.raises(BpfMisuseError, match="assemble"):
            verify("r0 = 0; exit", type=XDP)  # type: ignore[arg-type]

    def test_a_type_is_needed(self) -> None:
        with pytest.raises(BpfMisuseError):
            verify(assemble("r0 = 0\nexit"))

    @settings(max_examples=200, deadline=None)
    @given(st.binary(max_size=256), st.sampled_from(list(ProgramType)), st.booleans())
    def test_any_bytes(self, code: bytes, kind: ProgramType, privileged: bool) -> None:
        verdict = verify(code, type=kind, privileged=privileged)
        assert verdict.explain()
        assert verdict.log(2)
        assert (verdict.facts is not None) is verdict.accepted

    def test_a_long_chain_of_ways_back(self) -> None:
        """What is read at its end is live through all of it: in time that grows with the program, not its square."""
        links = 20_000
        chain: list[Instruction] = [
            Alu(AluOp.MOV, 64, 6, Imm(1)),
            Jump(2 * links, wide=True),
            Alu(AluOp.MOV, 64, 0, 6),
            Exit(),
        ]
        chain += [Alu(AluOp.MOV, 64, 7, Imm(0)), Jump(-4, wide=True)] * links
        verdict = verify(Program(chain, type=XDP))
        assert verdict
        assert verdict.processed == 2 * links + 4

    @settings(max_examples=100, deadline=None)
    @given(st.integers(0, 1 << 32), st.data())
    def test_mutated_bytes(self, seed: int, data: st.DataObject) -> None:
        case = generate(random.Random(seed))
        code = bytearray(case.program.to_bytes())
        for _ in range(3):
            code[data.draw(st.integers(0, len(code) - 1))] ^= data.draw(st.integers(1, 255))
        verdict = verify(bytes(code), type=case.type, maps=list(MAPS))
        assert verdict.path or verdict.accepted or verdict.program is None or verdict.instruction is None


class TestKernel:
    @needs_kernel
    def test_compared(self) -> None:
        refused = judged(PACKET.format(offset=14), compare_with_kernel=True)
        assert refused.kernel is not None
        assert (refused.kernel.agrees, refused.kernel.errno) == (True, "EACCES")
        assert "packet" in refused.kernel.log
        accepted = judged(
            COUNT.format(test="if r0 == 0 goto out"), maps=[HashMap("u4", "u8", 3)], compare_with_kernel=True
        )
        assert accepted.kernel is not None
        assert (accepted.kernel.agrees, accepted.kernel.accepted, accepted.kernel.errno) == (True, True, None)
        assert "as here" in refused.explain()

    @needs_kernel
    def test_nested_maps(self) -> None:
        nested = MapSpec(MapType.ARRAY_OF_MAPS, 4, 4, 1, inner=MapSpec(MapType.ARRAY, 4, 8, 1))
        verdict = judged("r1 = map[m] ll\nr0 = 0\nexit", maps=[nested], compare_with_kernel=True)
        assert verdict.kernel is not None
        assert verdict.kernel.agrees

    def test_what_cannot_be_asked(self) -> None:
        from prestocloud_sec.errors import UnavailableError

        lock = MapSpec(MapType.ARRAY, 4, 8, 1, spin_lock=0)
        with pytest.raises(UnavailableError):
            judged("r1 = map[m] ll\nr0 = 0\nexit", maps=[lock], compare_with_kernel=True)


FAR = "r0 = *(u64 *)(r2 + 1000)"
ENDS = """
    r2 = *(u32 *)(r1 + 0)
    r3 = *(u32 *)(r1 + 4)
    r4 = r2
    r4 += 14
    r0 = 0
    {}
    if r4 > r3 goto out
    {}
out:
    r0 = 1
    exit"""


class TestBeyondTheEnd:
    """What was found to lie behind a packet's end must not let another way, or another place, be judged by it."""

    def test_a_way_that_is_not_there_is_not_covered_by_one_that_is(self) -> None:
        wait = "r0 += 1\n" * 9
        text = ENDS.format(f"{wait}if r4 <= r3 goto +9\n{wait}r0 = 7", FAR)
        verdict = judged(text)
        assert verdict.reason is Rule.PACKET
        assert verdict.program is not None
        assert verdict.program.run(bytes(64)).fault is not None

    @pytest.mark.parametrize("back", ["r4 -= 14", "r4 += -14", "r5 = *(u32 *)(r1 + 12)\nr5 &= 15\nr4 -= r5"])
    def test_moved_back_it_may_lie_in_the_packet(self, back: str) -> None:
        text = ENDS.format(f"if r4 > r3 goto +2\nr0 = 3\nexit\n{back}", FAR)
        verdict = judged(text)
        assert verdict.reason is Rule.PACKET
        assert verdict.program is not None
        if back.startswith("r4"):
            assert verdict.program.run(bytes(14)[:10]).fault is not None
