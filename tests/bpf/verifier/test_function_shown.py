# SPDX-License-Identifier: Apache-2.0
"""What verdicts show of functions that are judged by themselves: the way to a fault, facts, pictures, and proofs."""

from __future__ import annotations

import pytest

from prestocloud_sec.bpf import Machine
from prestocloud_sec.bpf.verifier.proofs import proved
from prestocloud_sec.bpf.vm.compiler import compile_program
from prestocloud_sec.bpf.vm.compiler.engine import compiled_of, execute
from tests.bpf.verifier.answers import Case, judged, pictured
from tests.bpf.verifier.functions import END, GLOBAL, ITERATING, PAIR, called, case

FAULTY = case(f"{PAIR}call f\n{END}", "r0 = *(u64 *)(r1 + 16)\nexit", "int f(struct pair *p __arg_nonnull)")
NOTHING = called("r1 = 1\n", "void f(int a)")


def test_the_way_to_a_fault_begins_in_the_function() -> None:
    verdict = judged(FAULTY.program)
    assert [step.index for step in verdict.path] == [5]
    assert verdict.instruction == 5
    assert verdict.path[0].registers == {"r1": "mem(sz=16)", "r10": "fp0"}
    assert "the way there, in f, which is judged by itself:" in verdict.explain().splitlines()


def test_facts_of_the_function_and_of_what_is_before_it() -> None:
    facts = judged(GLOBAL.program).facts
    assert facts is not None
    first, behind, inside = facts[0], facts[4], facts[13]
    assert first is not None
    assert behind is not None
    assert inside is not None
    assert first["r10"].kinds == {"fp"}
    assert behind["r0"].kinds == {"scalar"}
    assert inside["r1"].kinds == {"mem"}


def test_nothing_is_known_where_no_way_goes() -> None:
    main = "r0 = 0\nif r0 == 0 goto out\nr1 = 1\ncall f\nout:\nexit"
    facts = judged(case(main, "r0 = *(u8 *)(r1 + 0)\nexit", "int f(int a)").program).facts
    assert facts is not None
    assert [index for index in range(len(facts)) if facts[index] is None] == [2, 3, 5, 6]


@pytest.mark.parametrize(
    ("case", "row"),
    [
        (GLOBAL, ("13", "r0 = *(u64 *)(r1 + 8)", "r1=mem(sz=16), r2=scalar(), r10=fp0")),
        (ITERATING, ("14", "r1 = *(u32 *)(r0 + 0)", "r0=rdonly_mem(sz=4), r6=scalar(), r10=fp0")),
    ],
    ids=["two", "loop"],
)
def test_pictures(case: Case, row: tuple[str, str, str]) -> None:
    verdict = judged(case.program)
    rows, lines = pictured(verdict)
    assert [found for found in rows if found[0] == row[0]] == [row]
    assert "{}: {} ; {}".format(*row) in lines
    assert len(lines) == len(case.program.instructions)
    assert str(verdict).startswith(f"accepted: {verdict.processed} instructions")
    assert verdict.to_json()["message"] is None


@pytest.mark.parametrize(
    ("case", "row", "says", "rule"),
    [
        (
            FAULTY,
            ("5", "r0 = *(u64 *)(r1 + 16)", "R1=mem(sz=16) R10=fp0"),
            "[EACCES]: instruction 5: invalid access to mem, size=16 off=16 size=8\n",
            "MEMORY",
        ),
        (
            NOTHING,
            ("1", "call pc+2", "R1=1 R10=fp0"),
            "[EINVAL]: instruction 1: Global function f() doesn't return scalar. Only those are supported.; Caller",
            "ARGUMENT",
        ),
    ],
    ids=["bad", "void"],
)
def test_pictures_of_refusals(case: Case, row: tuple[str, str, str], says: str, rule: str) -> None:
    verdict = judged(case.program)
    rows, lines = pictured(verdict)
    assert rows[-1] == row
    (line,) = (line for line in lines if " ; " in line and verdict.message[:60] in line)
    assert line.startswith(f"{row[0]}: {row[1]} ; ")
    assert says in str(verdict)
    assert verdict.to_json()["rule"] == rule
    assert verdict.to_json()["instruction"] == int(row[0])


SUM = case(
    """
    r6 = *(u32 *)(r1 + 0)
    r7 = *(u32 *)(r1 + 4)
    r8 = r6
    r8 += 1
    r0 = 0
    if r8 > r7 goto out
    r6 = *(u8 *)(r6 + 0)
    r1 = 3
    call f
    r0 += r6
out:
    exit""",
    """
    r3 = r1
    r1 = r10
    r1 += -8
    r2 = 0
    call kfunc bpf_iter_num_new
    r6 = 0
again:
    r1 = r10
    r1 += -8
    call kfunc bpf_iter_num_next
    if r0 == 0 goto done
    r1 = *(u32 *)(r0 + 0)
    r2 = r1
    r2 &= 7
    r3 = r10
    r3 += -24
    r3 += r2
    *(u8 *)(r3 + 0) = r1
    r1 = *(u8 *)(r3 + 0)
    r6 += r1
    goto again
done:
    r1 = r10
    r1 += -8
    call kfunc bpf_iter_num_destroy
    r0 = r6
    exit""",
    "int f(int n)",
)
"""The packet's first byte, and what f makes of 0, 1 and 2, which it puts into its frame and takes out again."""


def test_proofs_hold_when_it_runs() -> None:
    verdict = judged(SUM.program)
    machine = Machine(SUM.program)
    needless = proved(verdict, machine)
    assert needless == {0, 1, 6, 27, 28}  # the context, the packet, and the frame of f
    compiled_of(machine).take(compile_program(machine, facts=needless, keep=False))
    machine.start(bytes([7]) * 14)
    execute(machine)
    assert machine.finish("compiled").value == 7 + 0 + 1 + 2
    assert SUM.program.run(bytes([7]) * 14, engine="reference").value == 7 + 0 + 1 + 2
