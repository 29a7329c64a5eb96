# SPDX-License-Identifier: Apache-2.0
"""Iterators on the stack: what may be done with them, and how loops over them end; by hand, and as the kernel does."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestocloud_sec.bpf import MapType, ProgramType, assemble, verify
from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.bpf.linux.kernel_types import kfunc_id
from prestocloud_sec.bpf.verifier.kernel_functions import KERNEL_FUNCTIONS
from prestocloud_sec.bpf.verifier.maps import MapSpec
from prestocloud_sec.bpf.verifier.rejection import Rule
from prestocloud_sec.bpf.verifier.trials import TooLong, Trial
from prestocloud_sec.testing.bpf_verify import mutated, numbered, trials
from tests.bpf.linux.kernel import as_recorded, needs_kernel
from tests.bpf.verifier.answers import XDP, Case, asked, check_ours, check_theirs, judged, plain


def at(place: int, name: str, *before: str) -> str:
    """Return a call with a pointer to a place in the frame, and lines between."""
    return "\n".join(["r1 = r10", f"r1 += {place}", *before, f"call kfunc bpf_iter_{name}", ""])


NEW, NEXT, DESTROY = at(-8, "num_new", "r2 = 0", "r3 = 10"), at(-8, "num_next"), at(-8, "num_destroy")
BITS = at(-16, "bits_new", "r2 = 0", "r3 = 1")
END = "r0 = 0\nexit"


def loop(turn: str, result: str = END) -> str:
    """Return a loop over the numbers from 0 to 9, with r6 from 0 on."""
    return f"{NEW}r6 = 0\nagain:\n{NEXT}if r0 == 0 goto out\n{turn}\ngoto again\nout:\n{DESTROY}{result}"


SUM = loop("r1 = *(u32 *)(r0 + 0)\nr6 += r1", "r0 = r6\nr0 &= 1\nexit")
ENDLESS = f"{NEW}again:\n{NEXT}r6 = 0\nif r6 == 0 goto again\n{DESTROY}{END}"
UNMADE, MADE = "expected an initialized iter_{} as arg #0", "expected uninitialized iter_{} as arg #0"
NO_NUM, A_NUM = UNMADE.format("num"), MADE.format("num")
LEFT = "Unreleased reference id=1 alloc_insn="


def new_at(place: int, written: str = "") -> str:
    return f"{written}{at(place, 'num_new', 'r2 = 0', 'r3 = 0')}{END}"


ACCEPTED = {
    "a sum": SUM,
    "two within each other": f"""
        {NEW}
    outer:
        {NEXT}
        if r0 == 0 goto out
        r6 = *(u32 *)(r0 + 0)
        {at(-16, "num_new", "r2 = 0", "r3 = r6")}
    inner:
        {at(-16, "num_next")}
        if r0 == 0 goto end
        r7 = *(u32 *)(r0 + 0)
        r7 &= 7
        goto inner
    end:
        {at(-16, "num_destroy")}
        goto outer
    out:
        {DESTROY}{END}""",
    "an array filled by what it gives": loop(
        "r1 = *(u32 *)(r0 + 0)\nif r1 > 7 goto again\nr1 <<= 3\nr2 = r10\nr2 += -80\nr2 += r1\n"
        "*(u64 *)(r2 + 0) = r6\nr6 += 1"
    ),
    "an array filled by a count with an end": loop(
        "if r6 > 7 goto out\nr2 = r10\nr2 += -80\nr2 += r6\n*(u8 *)(r2 + 0) = r6\nr6 += 1"
    ),
    "a function asks the caller's": f"{NEW}again:\nr1 = r10\nr1 += -8\ncall f\nif r0 != 0 goto again\n{DESTROY}{END}\n"
    "f:\ncall kfunc bpf_iter_num_next\nif r0 == 0 goto out\nr0 = 1\nout:\nexit",
    "a function makes the caller's": f"r1 = r10\nr1 += -8\ncall f\n{DESTROY}{END}\n"
    f"f:\nr2 = 0\nr3 = 5\ncall kfunc bpf_iter_num_new\n{END}",
    "asked behind its end": loop("r7 = 0", f"{NEW}{NEXT}{NEXT}{DESTROY}{END}"),
    "two loops over one": f"{NEW}a:\n{NEXT}if r0 != 0 goto a\nb:\n{NEXT}if r0 != 0 goto b\n{DESTROY}{END}",
    "bits, at the deepest place": f"{at(-512, 'bits_new', 'r2 = 0', 'r3 = 1')}{at(-512, 'bits_destroy')}{END}",
    "bits, of what was never written": f"{at(-16, 'bits_new', 'r3 = 1')}{at(-16, 'bits_destroy')}{END}",
    "made over what was there": f"*(u64 *)(r10 - 8) = 7\n{NEW}{DESTROY}{END}",
    "its place used again": f"{NEW}{DESTROY}*(u64 *)(r10 - 8) = 7\nr0 = *(u64 *)(r10 - 8)\nr0 = 0\nexit",
}
CASES = {
    **{name: Case(text) for name, text in ACCEPTED.items()},
    **{
        f"a loop in {kind.name}": Case(loop("r1 = *(u32 *)(r0 + 0)\nr6 += r1"), kind=kind)
        for kind in (ProgramType.SOCKET_FILTER, ProgramType.KPROBE, ProgramType.CGROUP_SKB, ProgramType.SCHED_CLS)
    },
    **{
        f"bits in {kind.name}": Case(
            f"{BITS}again:\n{at(-16, 'bits_next')}if r0 != 0 goto again\n{at(-16, 'bits_destroy')}{END}", kind=kind
        )
        for kind in (XDP, ProgramType.SOCKET_FILTER, ProgramType.KPROBE, ProgramType.CGROUP_SKB)
    },
    "left behind": Case(f"{NEW}{NEXT}{END}", "EINVAL", f"{LEFT}4"),
    "left behind in a function": Case(f"call f\n{END}\nf:\n{NEW}{END}", "EINVAL", f"{LEFT}7"),
    "left behind deep down": Case(new_at(-512), "EINVAL", f"{LEFT}4"),
    "left behind over what was there": Case(new_at(-504, "*(u64 *)(r10 - 16) = 0\n"), "EINVAL", f"{LEFT}5"),
    "asked before it is made": Case(f"{NEXT}{END}", "EINVAL", NO_NUM),
    "made twice": Case(f"{NEW}{NEW}{DESTROY}{END}", "EINVAL", A_NUM),
    "ended twice": Case(f"{NEW}{DESTROY}{DESTROY}{END}", "EINVAL", NO_NUM),
    "not aligned": Case(new_at(-4), "EINVAL", f"cannot pass in iter at an offset=-4; {A_NUM}"),
    "above the frame": Case(new_at(8), "EINVAL", f"cannot pass in iter at an offset=8; {A_NUM}"),
    "above the frame, not aligned": Case(new_at(4), "EINVAL", f"cannot pass in iter at an offset=4; {A_NUM}"),
    "at the frame's end": Case(new_at(0), "EACCES", "invalid write to stack R1 off=0 size=8"),
    "below the frame": Case(new_at(-520), "EACCES", "invalid write to stack R1 off=-520 size=8"),
    "asked elsewhere": Case(f"{NEW}{at(-16, 'num_next')}{DESTROY}{END}", "EINVAL", NO_NUM),
    "asked below the frame": Case(f"{NEW}{at(-520, 'num_next')}{DESTROY}{END}", "EINVAL", NO_NUM),
    "ended above the frame": Case(f"{NEW}{at(8, 'num_destroy')}{END}", "EINVAL", f"offset=8; {NO_NUM}"),
    "at a place that varies": Case(
        f"r7 = *(u32 *)(r1 + 12)\nr7 &= 8\nr1 = r10\nr1 += -16\nr1 += r7\nr2 = 0\nr3 = 0\n"
        f"call kfunc bpf_iter_num_new\n{END}",
        "EINVAL",
        f"at a constant offset; {A_NUM}",
        told=A_NUM,
    ),
    "no place on the stack": Case(
        f"r2 = 0\nr3 = 0\ncall kfunc bpf_iter_num_new\n{END}",
        "EINVAL",
        "arg#0 expected pointer to an iterator on stack",
    ),
    "from what was never written": Case(f"{at(-8, 'num_new', 'r3 = 0')}{END}", "EINVAL", "R2 is not a scalar"),
    "from a pointer on": Case(f"{at(-8, 'num_new', 'r3 = 0', 'r2 = r1')}{END}", "EINVAL", "R2 is not a scalar"),
    "written over": Case(f"{NEW}*(u64 *)(r10 - 8) = 1\n{DESTROY}{END}", "EINVAL", NO_NUM),
    "a byte written over": Case(f"{NEW}*(u8 *)(r10 - 8) = 1\n{DESTROY}{END}", "EINVAL", NO_NUM),
    "written over and left behind": Case(f"{NEW}*(u8 *)(r10 - 1) = 1\n{END}", "EINVAL", f"{LEFT}4"),
    "read": Case(f"{NEW}r0 = *(u64 *)(r10 - 8)\n{DESTROY}{END}", "EACCES", "invalid read from stack off -8+0 size 8"),
    "written over at a place that varies": Case(
        loop("r2 = r10\nr2 += -80\nr2 += r6\n*(u8 *)(r2 + 0) = r6\nr6 += 1"), "EINVAL", NO_NUM
    ),
    "what it gave, behind its end": Case(
        f"{NEW}{NEXT}r7 = r0\n{DESTROY}r0 = 0\nif r7 == 0 goto out\nr0 = *(u32 *)(r7 + 0)\nout:\nexit",
        "EACCES",
        "R7 invalid mem access 'scalar'",
    ),
    "what it gave, and more": Case(
        f"{NEW}{NEXT}if r0 == 0 goto out\nr6 = *(u64 *)(r0 + 0)\nout:\n{DESTROY}{END}",
        "EACCES",
        "size=4 off=0 size=8",
        told="invalid access to memory, mem_size=4 off=0 size=8; R0 min value is outside of the allowed memory range",
    ),
    "what it gave is written": Case(
        f"{NEW}{NEXT}if r0 == 0 goto out\n*(u32 *)(r0 + 0) = 1\nout:\n{DESTROY}{END}",
        "EACCES",
        "R0 cannot write into rdonly_mem",
    ),
    "what it may not have given": Case(
        f"{NEW}{NEXT}r6 = *(u32 *)(r0 + 0)\n{DESTROY}{END}", "EACCES", "R0 invalid mem access 'scalar'"
    ),
    "arguments behind a call": Case(f"{NEW}{DESTROY}r0 = r1\nexit", "EACCES", "R1 !read_ok"),
    "no result of an end": Case(f"{NEW}{DESTROY}exit", "EACCES", "R0 !read_ok"),
    "no way out": Case(f"{NEW}again:\n{NEXT}goto again\n{DESTROY}{END}", "EINVAL", "unreachable insn 9"),
    "bits without room": Case(
        f"{at(-8, 'bits_new', 'r2 = 0', 'r3 = 1')}{END}", "EINVAL", f"offset=-8; {MADE.format('bits')}"
    ),
    "bits at the frame's end": Case(
        f"{at(0, 'bits_new', 'r2 = 0', 'r3 = 1')}{END}", "EINVAL", f"offset=0; {MADE.format('bits')}"
    ),
    "the upper half of bits": Case(
        f"{at(-24, 'bits_new', 'r2 = 0', 'r3 = 1')}{at(-16, 'bits_destroy')}{END}", "EINVAL", UNMADE.format("bits")
    ),
    "bits asked for a number": Case(f"{BITS}{at(-16, 'num_next')}{END}", "EINVAL", NO_NUM),
    "made over the upper half of bits": Case(f"{BITS}{NEW}{END}", "EINVAL", A_NUM),
}
BEYOND = {
    "asked": f"{NEW}{at(0, 'num_next')}{DESTROY}{END}",
    "ended": f"{NEW}{at(0, 'num_destroy')}{END}",
}
"""Programs that Linux 6.18.44 takes and that are refused here; they are not to be run."""


@pytest.mark.parametrize("name", CASES)
def test_verdicts(name: str) -> None:
    check_ours(CASES[name])


@as_recorded
@needs_kernel
@pytest.mark.parametrize("name", CASES)
def test_the_kernel_says_the_same(name: str) -> None:
    check_theirs(CASES[name])


class TestElsewhere:
    """Where ours and the kernel's verdicts differ, or cannot be compared."""

    @as_recorded
    @needs_kernel
    @pytest.mark.parametrize("name", BEYOND)
    def test_at_the_frames_end_the_kernel_finds_the_iterator_below_it(self, name: str) -> None:
        """Linux takes r10+0 for the slot at r10-8, though the function works on what lies above the frame."""
        program = assemble(BEYOND[name], type=XDP)
        verdict, answer = judged(program), asked(program)
        assert (verdict.accepted, verdict.errno, verdict.reason) == (False, "EINVAL", Rule.ARGUMENT)
        assert f"offset=0; {NO_NUM}" in verdict.message
        assert answer.accepted

    def test_a_loop_that_forgets_what_it_was_given_is_gone_round_until_it_is_too_long(self) -> None:
        verdict = verify(assemble(ENDLESS, type=XDP), limit=5_000)
        assert (verdict.accepted, verdict.errno, verdict.reason) == (False, "E2BIG", Rule.COMPLEXITY)
        assert "Processed 5001 insn" in verdict.message

    @as_recorded
    @needs_kernel
    def test_so_it_is_in_the_kernel(self) -> None:
        answer = asked(assemble(ENDLESS, type=XDP), level=1)
        assert (answer.accepted, answer.errno) == (False, "E2BIG")
        assert "BPF program is too large. Processed 1000001 insn" in answer.log

    @as_recorded
    @needs_kernel
    def test_programs_of_another_licence_call_no_functions_of_the_kernel(self) -> None:
        program = assemble(SUM, type=XDP, license="Proprietary")
        verdict, answer = verify(program), asked(program, licence="Proprietary")
        assert (verdict.accepted, answer.accepted, verdict.errno) == (False, False, answer.errno)
        assert verdict.message in answer.log

    def test_nor_do_those_without_privileges(self) -> None:
        """``add_subprog_and_kfunc`` asks for CAP_BPF."""
        verdict = verify(assemble(SUM, type=ProgramType.SOCKET_FILTER), privileged=False)
        assert (verdict.errno, verdict.reason) == ("EPERM", Rule.PRIVILEGE)

    def test_while_a_lock_is_held_only_numbers_are_gone_through(self) -> None:
        """``check_kfunc_call`` lets those pass that ``is_bpf_iter_num_api_kfunc`` names."""
        spec = MapSpec(MapType.ARRAY, 4, 16, 1, spin_lock=0)
        text = (
            "*(u32 *)(r10 - 4) = 0\nr1 = map[id:0]\nr2 = r10\nr2 += -4\ncall bpf_map_lookup_elem\n"
            "if r0 == 0 goto out\nr6 = r0\nr1 = r6\ncall bpf_spin_lock\n{}r1 = r6\ncall bpf_spin_unlock\nout:\n" + END
        )
        numbers = at(-16, "num_new", "r2 = 0", "r3 = 1") + at(-16, "num_next") + at(-16, "num_destroy")
        bits = at(-32, "bits_new", "r2 = 0", "r3 = 1") + at(-32, "bits_destroy")
        assert verify(assemble(text.format(numbers), type=ProgramType.SCHED_CLS), maps=[spec])
        refused = verify(assemble(text.format(bits), type=ProgramType.SCHED_CLS), maps=[spec])
        assert (refused.errno, refused.reason) == ("EINVAL", Rule.LOCK)
        assert "function calls are not allowed while holding a lock" in refused.message

    def test_functions_that_are_not_known_here_are_refused_with_what_is(self) -> None:
        verdict = verify(assemble(f"call kfunc bpf_rcu_read_lock\n{END}", type=XDP))
        assert (verdict.errno, verdict.reason, verdict.instruction) == ("EACCES", Rule.HELPER, 0)
        assert "bpf_rcu_read_lock" in verdict.message
        assert all(name in verdict.hint for name in KERNEL_FUNCTIONS)


NUMBERS = {name: 1000 + position for position, name in enumerate(KERNEL_FUNCTIONS)}
NAMES = {number: name for name, number in NUMBERS.items()}


def numbers_for(text: str, numbers: dict[str, int]) -> str:
    return re.sub(r"call kfunc (\w+)", lambda found: f"call kfunc {numbers[found[1]]}", text)


class TestNumbers:
    """Calls that have a number instead of a name."""

    def test_are_judged_by_what_the_caller_says_they_stand_for(self) -> None:
        program = assemble(numbers_for(SUM, NUMBERS), type=XDP)
        named, verdict = verify(assemble(SUM, type=XDP)), verify(program, kfuncs=NAMES)
        assert (verdict.accepted, verdict.processed, verdict.states) == (True, named.processed, named.states)
        unsaid = verify(program)
        assert (unsaid.errno, unsaid.reason) == ("EACCES", Rule.HELPER)
        assert "kfuncs=" in unsaid.hint
        assert "#1000" in unsaid.message

    def test_names_go_before_what_the_caller_says(self) -> None:
        assert verify(assemble(SUM, type=XDP), kfuncs={0: "bpf_iter_bits_new"})

    @pytest.mark.parametrize(
        "kfuncs",
        [5, "x", b"x", [1], [(1, "x")], {"x": "x"}, {1: 2}, {1: b"x"}, {1: None}, {None: "x"}, {True: "x"}, {1.0: "x"}],
        ids=repr,
    )
    def test_what_says_nothing(self, kfuncs: Any) -> None:
        with pytest.raises(BpfMisuseError, match="kfuncs"):
            verify(assemble(SUM, type=XDP), kfuncs=kfuncs)

    def test_the_log_has_them(self) -> None:
        lines = verify(assemble(numbers_for(SUM, NUMBERS), type=XDP), kfuncs=NAMES).log(2).splitlines()
        assert "      4: .123...... (85) call bpf_iter_num_new#1000" in lines
        assert "4: (85) call kernel-function" in verify(assemble(numbers_for(SUM, NUMBERS), type=XDP)).log(1)


class TestLog:
    def test_lines(self) -> None:
        """As Linux 6.18.44 writes them, but for the functions' numbers."""
        lines = judged(assemble(SUM, type=XDP)).log(2).splitlines()
        held = "fp-8=iter_num(ref_id=1,state={},depth={}) refs=1"
        for line in (
            "  1   8: .1....6... (85) call bpf_iter_num_next",
            f"4: (85) call bpf_iter_num_new         ; R0=scalar() {held.format('active', 0)}",
            "5: (b7) r6 = 0                        ; R6=0 refs=1",
            f"8: (85) call bpf_iter_num_next        ; R0=0 {held.format('drained', 0)}",
            f"from 8 to 9: R0=rdonly_mem(id=2,ref_obj_id=1,sz=4) R6=0 R10=fp0 {held.format('active', 1)}",
            "15: (85) call bpf_iter_num_destroy    ;",
            "8: safe",
        ):
            assert line in lines

    @as_recorded
    @needs_kernel
    @pytest.mark.parametrize("level", [1, 2])
    @pytest.mark.parametrize(
        "text",
        [
            SUM,
            ACCEPTED["two within each other"],
            ACCEPTED["a function asks the caller's"],
            ACCEPTED["an array filled by a count with an end"],
            CASES["a byte written over"].text,
            CASES["what it gave is written"].text,
        ],
        ids=["sum", "nested", "function", "array", "written over", "read only"],
    )
    def test_whole_logs(self, text: str, level: int) -> None:
        numbers = {name: kfunc_id(name) for name in KERNEL_FUNCTIONS}
        program = assemble(numbers_for(text, numbers), type=XDP)
        verdict = verify(program, kfuncs={number: name for name, number in numbers.items()})
        ours, theirs = (plain(_unmeasured(log)) for log in (verdict.log(level), asked(program, level).log))
        if verdict.accepted:
            assert ours == theirs
        else:  # the kernel has more lines of the reason, and a last line of its own
            assert ours[:-2] == theirs[: len(ours) - 2]
            assert verdict.message.rpartition("; ")[2] in theirs


def _unmeasured(log: str) -> str:
    """Return a log without ``peak_states``, in which the kernel counts the turns of loops that it looks back over."""
    return re.sub(r"peak_states \d+", "peak_states N", log)


class TestShown:
    def test_facts(self) -> None:
        facts = judged(assemble(SUM, type=XDP)).facts
        assert facts is not None
        given = facts[9]
        assert given is not None
        assert given["r0"].kinds == {"mem", "scalar"}
        asked_for, number = facts[10], facts[11]
        assert asked_for is not None
        assert number is not None
        assert asked_for["r0"].kinds == {"mem"}
        assert number["r1"].number is not None
        assert (number["r1"].number.umin, number["r1"].number.umax) == (0, 0xFFFF_FFFF)

    def test_the_way_to_a_fault_goes_round(self) -> None:
        verdict = judged(CASES["written over at a place that varies"].program)
        steps = [step.index for step in verdict.path]
        assert verdict.instruction == steps[-1]
        assert steps[:5] == [0, 1, 2, 3, 4]
        assert steps.count(8) >= 1
        assert "iter_num" in "".join(step.known for step in verdict.path)

    @pytest.mark.parametrize("name", ["a sum", "bits in XDP", "written over", "left behind in a function"])
    def test_pictures(self, name: str) -> None:
        verdict = judged(CASES[name].program)
        ElementTree.fromstring(verdict.to_svg())  # noqa: S314 - our own
        assert "bpf_iter_" in verdict._repr_html_()
        assert str(verdict)
        assert verdict.to_json()["accepted"] is verdict.accepted


class TestTrials:
    @given(trials())
    @settings(max_examples=60, deadline=None)
    def test_come_back_from_json(self, trial: Trial) -> None:
        again = Trial.from_json(trial.to_json())
        assert again.program == trial.program
        assert again.program.symbols.kfuncs == trial.program.symbols.kfuncs
        assert again.program.func_info == trial.program.func_info
        assert (again.attach, again.used) == (trial.attach, trial.used)

    @given(st.integers(0, 1 << 32), st.randoms(use_true_random=False))
    @settings(max_examples=60, deadline=None)
    def test_spoiled_ones_are_judged(self, number: int, rng: Any) -> None:
        trial = mutated(rng, numbered(11, number))
        try:
            rule = trial.rule(2_000)
        except TooLong:
            return
        assert rule is None or isinstance(rule, Rule)
        verdict = trial.judge()
        assert verdict.reason is rule or verdict.reason in (Rule.TYPE, Rule.STRUCTURE)

    def test_many_have_iterators_or_types(self) -> None:
        made = [numbered(11, number).program for number in range(200)]
        assert sum(bool(program.symbols.kfuncs) for program in made) >= 20
        assert sum(program.func_info is not None for program in made) >= 20
