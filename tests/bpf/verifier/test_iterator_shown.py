# SPDX-License-Identifier: Apache-2.0
"""What verdicts show of programs with iterators: facts, the way to a fault, and pictures."""

from __future__ import annotations

import pytest

from prestocloud_sec.bpf import assemble
from tests.bpf.verifier.answers import XDP, judged, pictured
from tests.bpf.verifier.iterators import SUM
from tests.bpf.verifier.test_iterators import CASES


def test_facts() -> None:
    facts = judged(assemble(SUM, type=XDP)).facts
    assert facts is not None
    tested, given, number = facts[9], facts[10], facts[11]
    assert tested is not None
    assert given is not None
    assert number is not None
    assert tested["r0"].kinds == {"mem", "scalar"}
    assert given["r0"].kinds == {"mem"}
    assert number["r1"].number is not None
    assert (number["r1"].number.umin, number["r1"].number.umax) == (0, 0xFFFF_FFFF)


def test_the_way_to_a_fault_goes_round() -> None:
    """72 bytes lie between the array and the iterator; the turn after writes over it, and the next call finds that."""
    verdict = judged(CASES["written over at a place that varies"].program)
    turn = list(range(6, 16))
    assert [step.index for step in verdict.path] == [*range(6), *turn * 73, 6, 7, 8]
    assert verdict.instruction == 8
    assert "fp-8=iter_num(ref_id=1,state=active,depth=0)" in verdict.path[5].known
    assert verdict.path[-4].registers["r6"] == "73"


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("a sum", ("10", "r1 = *(u32 *)(r0 + 0)", "r0=rdonly_mem(sz=4), r6=scalar(), r10=fp0")),
        ("bits in XDP", ("7", "call kfunc bpf_iter_bits_next", "r1=fp-16, r10=fp0")),
    ],
)
def test_pictures(name: str, row: tuple[str, str, str]) -> None:
    verdict = judged(CASES[name].program)
    rows, lines = pictured(verdict)
    assert [found for found in rows if found[0] == row[0]] == [row]
    assert "{}: {} ; {}".format(*row) in lines
    assert str(verdict).startswith(f"accepted: {verdict.processed} instructions")
    assert verdict.to_json()["message"] is None


@pytest.mark.parametrize(
    ("name", "row", "says", "rule"),
    [
        (
            "written over",
            ("5", "*(u64 *)(r10 - 8) = 1", "R0=scalar() R10=fp0 fp-8=iter_num(ref_id=1,state=active,depth=0) refs=1"),
            "[EINVAL]: instruction 8: expected an initialized iter_num as arg #0\n",
            "ARGUMENT",
        ),
        (
            "left behind in a function",
            ("7", "call kfunc bpf_iter_num_new", "frame1: R1=fp-8 R2=0 R3=10 R10=fp0"),
            "[EINVAL]: instruction 2: Unreleased reference id=1 alloc_insn=7\n",
            "REFERENCE",
        ),
    ],
)
def test_pictures_of_refusals(name: str, row: tuple[str, str, str], says: str, rule: str) -> None:
    verdict = judged(CASES[name].program)
    rows, lines = pictured(verdict)
    assert row in rows
    assert "{}: {} ; {}".format(*row) in lines
    assert says in str(verdict)
    assert verdict.to_json()["rule"] == rule
    assert verdict.to_json()["message"] in says
