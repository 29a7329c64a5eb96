# SPDX-License-Identifier: Apache-2.0
"""Numbers as functions of inputs: computed forwards they are what arithmetic gives, and backwards they lead there."""

from __future__ import annotations

from collections.abc import Hashable

from hypothesis import example, given
from hypothesis import strategies as st

from prestocloud_sec.bpf.isa import AluOp, BranchOp
from prestocloud_sec.bpf.verifier.expressions import (
    Node,
    constant,
    holds,
    joined,
    numbers_near,
    operation,
    part,
    solve,
    value,
)
from prestocloud_sec.bpf.vm.arithmetic import ALU

U64 = (1 << 64) - 1
WORDS = st.integers(0, U64) | st.integers(0, 70) | st.sampled_from([1 << 31, 1 << 32, 1 << 63, U64])
OPS = st.sampled_from([op for op in AluOp if op is not AluOp.MOV])
A, B = Node("input", 64, "a"), Node("input", 64, "b")


@given(OPS, st.sampled_from([32, 64]), WORDS, WORDS)
def test_an_operation_computes_what_the_machine_does(op: AluOp, bits: int, a: int, b: int) -> None:
    mask = (1 << bits) - 1
    expected = ALU[op](a & mask, b & mask, bits) & mask
    assert value(operation(op, bits, expected, A, B), {"a": a, "b": b}) == expected


@given(WORDS, st.sampled_from([(0, 8), (8, 8), (0, 32), (32, 32), (16, 16)]))
def test_a_part_is_those_bits(a: int, place: tuple[int, int]) -> None:
    start, bits = place
    assert value(part(A, start, bits, 0), {"a": a}) == a >> start & (1 << bits) - 1


@given(st.binary(min_size=1, max_size=8))
def test_bytes_join_to_a_little_endian_number(data: bytes) -> None:
    names: list[Hashable] = [("byte", n) for n in range(len(data))]
    node = joined([Node("input", 8, name) for name in names], 0)
    assert value(node, dict(zip(names, data, strict=True))) == int.from_bytes(data, "little")


@given(WORDS)
def test_parts_of_one_number_join_to_it_again(a: int) -> None:
    node = joined([part(A, 8 * n, 8, a >> 8 * n & 0xFF) for n in range(8)], a)
    assert node is A
    assert (
        value(joined([part(A, 8 * n, 8, a >> 8 * n & 0xFF) for n in range(2, 6)], 0), {"a": a}) == a >> 16 & U64 >> 32
    )


@given(WORDS, st.sampled_from([8, 16, 32]))
def test_signs_are_extended_and_bytes_swapped(a: int, width: int) -> None:
    low = a & (1 << width) - 1
    signed = low - (1 << width) if low >> width - 1 else low
    assert value(operation("extend", 64, 0, A, width), {"a": a}) == signed & U64
    if width > 8:
        swapped = int.from_bytes(low.to_bytes(width // 8, "little"), "big")
        assert value(operation("swap", width, 0, A), {"a": a}) == swapped


def test_what_depends_on_nothing_is_a_constant() -> None:
    node = operation("add", 64, 5, constant(2), constant(3))
    assert not node.varies
    assert value(node, {"a": 9}) == 5


def test_numbers_of_too_many_operations_are_taken_as_they_are() -> None:
    node, now = A, 1
    for _ in range(400):
        now = now + 1 & U64
        node = operation("add", 64, now, node, constant(1))
    assert node.depth < 200
    assert value(node, {"a": 1}) == 401


INVERTIBLE = st.sampled_from(["add", "sub", "xor", "and", "or", "lsh", "rsh", "mul", "div", "mod"])


@given(INVERTIBLE, st.sampled_from([32, 64]), WORDS, WORDS, st.integers(1, 1 << 40))
@example("mul", 32, 0, 234340, 18328)
@example("mul", 32, 0, 1, 1 << 32)
@example("div", 32, 0, 1, 1 << 32)
@example("mod", 32, 0, 1, 1 << 32)
def test_solving_leads_to_numbers_that_can_be_had(op: str, bits: int, old: int, new: int, other: int) -> None:
    """The wanted number is had for some input, so that an answer exists; every answer is checked."""
    mask = (1 << bits) - 1
    node = operation(op, bits, 0, A, constant(other))
    wanted = ALU[AluOp(op)](new & mask, other & mask, bits) & mask
    answers = list(solve(node, wanted, {"a": old}))
    assert any(value(node, {"a": old} | answer) == wanted for answer in answers)


@given(WORDS, WORDS)
def test_solving_goes_through_several_operations(old: int, wanted: int) -> None:
    node = operation("xor", 64, 0, operation("add", 64, 0, operation("sub", 64, 0, A, constant(77)), B), constant(5))
    answers = list(solve(node, wanted, {"a": old, "b": 3}))
    assert {value(node, {"a": old, "b": 3} | answer) for answer in answers} == {wanted}


def test_solving_says_nothing_where_nothing_helps() -> None:
    masked = operation("and", 64, 0, A, constant(7))
    assert list(solve(masked, 8, {"a": 0})) == []
    assert list(solve(constant(3), 4, {})) == []
    assert list(solve(Node("input", 8, "byte"), 256, {})) == []


@given(st.sampled_from(list(BranchOp)), st.sampled_from([32, 64]), WORDS)
def test_near_numbers_decide_every_comparison_both_ways(op: BranchOp, bits: int, limit: int) -> None:
    mask = (1 << bits) - 1
    seen = {holds(op, bits, A, constant(limit), {"a": near}, {}) for near in numbers_near(limit & mask, bits)}
    trivial = {
        BranchOp.SET: not limit & mask,
        BranchOp.LT: not limit & mask,
        BranchOp.GE: not limit & mask,
        BranchOp.GT: limit & mask == mask,
        BranchOp.LE: limit & mask == mask,
        BranchOp.SLT: limit & mask == mask + 1 >> 1,
        BranchOp.SGE: limit & mask == mask + 1 >> 1,
        BranchOp.SGT: limit & mask == mask >> 1,
        BranchOp.SLE: limit & mask == mask >> 1,
    }
    if not trivial.get(op, False) and op is not BranchOp.SET:
        assert seen == {False, True}
