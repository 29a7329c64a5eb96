# SPDX-License-Identifier: Apache-2.0
"""What is known of numbers stays true: a million pairs for each operation, comparison and width."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from prestocloud_sec.bpf.isa import AluOp, BranchOp
from prestocloud_sec.bpf.verifier.arithmetic import alu, negate, sign_extend, swap
from prestocloud_sec.bpf.verifier.refine import foreseen, refined
from prestocloud_sec.bpf.verifier.scalar import S32_MAX, S32_MIN, Scalar
from prestocloud_sec.bpf.verifier.tnum import U32, U64
from tests.bpf.verifier.members import PAIRS, Words, all_in, drawn_scalars, interesting

LOW = np.uint64(U32)
WIDTHS = pytest.mark.parametrize("bits", [32, 64])


def _shifted(bits: int, shift: Callable[[Any, Any], Any], signs: bool) -> Callable[[Words, Words], Words]:
    unsigned, signed = (np.uint64, np.int64) if bits == 64 else (np.uint32, np.int32)

    def run(a: Words, b: Words) -> Words:
        count = (b & np.uint64(bits - 1)).astype(unsigned)
        narrow = a.astype(unsigned)
        if signs:
            return shift(narrow.view(signed), count.view(signed)).view(unsigned).astype(np.uint64)
        return shift(narrow, count).astype(np.uint64)

    return run


def concrete(op: AluOp, bits: int) -> Callable[[Words, Words], Words]:
    """Return what an operation does to words, written anew with numpy (RFC 9669, 4.1)."""
    plain: dict[AluOp, Callable[[Any, Any], Any]] = {
        AluOp.ADD: lambda a, b: a + b,
        AluOp.SUB: lambda a, b: a - b,
        AluOp.MUL: lambda a, b: a * b,
        AluOp.AND: lambda a, b: a & b,
        AluOp.OR: lambda a, b: a | b,
        AluOp.XOR: lambda a, b: a ^ b,
        AluOp.DIV: lambda a, b: np.where(b == 0, 0, a // np.where(b == 0, 1, b)),
        AluOp.MOD: lambda a, b: np.where(b == 0, a, a % np.where(b == 0, 1, b)),
    }
    shifts = {AluOp.LSH: (np.left_shift, False), AluOp.RSH: (np.right_shift, False), AluOp.ARSH: (np.right_shift, True)}
    if op in shifts:
        return _shifted(bits, *shifts[op])
    if bits == 64:
        return plain[op]
    return lambda a, b: plain[op](a & LOW, b & LOW) & LOW


@WIDTHS
@pytest.mark.parametrize("op", [op for op in AluOp if op not in {AluOp.MOV, AluOp.SDIV, AluOp.SMOD}])
def test_arithmetic(op: AluOp, bits: int) -> None:
    rng = np.random.default_rng(bits + len(str(op)))
    left, a = drawn_scalars(rng)
    right, b = drawn_scalars(rng)
    if op in {AluOp.LSH, AluOp.RSH, AluOp.ARSH}:  # half of them by what is known
        counts = rng.integers(0, bits, PAIRS).astype(np.uint64)
        right = [
            Scalar.const(int(count)) if at % 2 else one
            for at, (count, one) in enumerate(zip(counts, right, strict=True))
        ]
        b[1::2] = counts[1::2, None]
    found = [alu(op, bits, x, y) for x, y in zip(left, right, strict=True)]
    assert all_in(found, concrete(op, bits)(a, rng.permuted(b, axis=1)))


@WIDTHS
def test_negation(bits: int) -> None:
    scalars, words = drawn_scalars(np.random.default_rng(4))
    expected = ~words + np.uint64(1)
    assert all_in([negate(bits, s) for s in scalars], expected if bits == 64 else expected & LOW)


@WIDTHS
@pytest.mark.parametrize("size", [1, 2, 4])
def test_sign_extension(size: int, bits: int) -> None:
    scalars, words = drawn_scalars(np.random.default_rng(size))
    kinds = {1: (np.uint8, np.int8), 2: (np.uint16, np.int16), 4: (np.uint32, np.int32)}
    expected = words.astype(kinds[size][0]).view(kinds[size][1]).astype(np.int64).view(np.uint64)
    assert all_in([sign_extend(size, bits, s) for s in scalars], expected if bits == 64 else expected & LOW)


@pytest.mark.parametrize("kind", [np.uint16, np.uint32, np.uint64])
def test_byte_swaps(kind: type[np.unsignedinteger[Any]]) -> None:
    scalars, words = drawn_scalars(np.random.default_rng(8))
    found = [swap(np.dtype(kind).itemsize, scalar) for scalar in scalars]
    assert all_in(found, words.astype(kind).byteswap().astype(np.uint64))
    assert any(scalar.is_const for scalar in found)
    assert swap(4, Scalar.const(0x11_2233_4455)) == Scalar.const(0x5544_3322)


def test_ranges_and_bits_teach_each_other_nothing_false() -> None:
    scalars, words = drawn_scalars(np.random.default_rng(5))
    readably = [s.copy() for s in scalars]
    for scalar, other in zip(scalars, readably, strict=True):
        scalar.sync()
        other.sync_readably()
    assert scalars == readably
    assert all_in(scalars, words)
    for size, kind in ((1, np.uint8), (2, np.uint16), (4, np.uint32), (8, np.uint64)):
        narrowed = [s.copy() for s in scalars]
        for scalar in narrowed:
            scalar.truncate(size)
        assert all_in(narrowed, words.astype(kind).astype(np.uint64))
    for scalar in scalars:
        scalar.keep_low()
    assert all_in(scalars, words & LOW)


def holds(op: BranchOp, bits: int, a: Words, b: Words) -> Any:
    """Return which pairs make a comparison true, written anew with numpy (RFC 9669, 4.3)."""
    unsigned, signed = (np.uint64, np.int64) if bits == 64 else (np.uint32, np.int32)
    a, b = a.astype(unsigned), b.astype(unsigned)
    if op in {BranchOp.SGT, BranchOp.SGE, BranchOp.SLT, BranchOp.SLE}:
        a, b = a.view(signed), b.view(signed)
    compare: dict[BranchOp, Callable[[Any, Any], Any]] = {
        BranchOp.EQ: np.equal,
        BranchOp.NE: np.not_equal,
        BranchOp.GT: np.greater,
        BranchOp.GE: np.greater_equal,
        BranchOp.LT: np.less,
        BranchOp.LE: np.less_equal,
        BranchOp.SGT: np.greater,
        BranchOp.SGE: np.greater_equal,
        BranchOp.SLT: np.less,
        BranchOp.SLE: np.less_equal,
        BranchOp.SET: lambda x, y: (x & y) != 0,
    }
    return compare[op](a, b)


@WIDTHS
@pytest.mark.parametrize("op", list(BranchOp))
def test_comparisons(op: BranchOp, bits: int) -> None:
    rng = np.random.default_rng(bits + len(str(op)))
    left, a = drawn_scalars(rng)
    right, b = drawn_scalars(rng)
    constants = interesting(rng, PAIRS)
    shared = rng.integers(0, 3, PAIRS)
    for at in range(PAIRS):  # a third compare with a known word, and half of those with one that is near
        if shared[at] == 0:
            constant = constants[at] if at % 2 else a[at, 7]
            right[at], b[at] = Scalar.const(int(constant)), constant
        elif shared[at] == 1:
            right[at], b[at] = left[at].copy(), a[at]
    b = np.where((shared == 0)[:, None], b, rng.permuted(b, axis=1))
    true = holds(op, bits, a, b)
    for at in range(PAIRS):
        told = foreseen(op, bits, left[at], right[at])
        assert told is None or (true[at] == told).all()
    for taken in (True, False):
        found = [refined(op, bits, x, y, taken) for x, y in zip(left, right, strict=True)]
        assert all_in([pair[0] for pair in found], a, true == taken)
        assert all_in([pair[1] for pair in found], b, true == taken)


class TestExactly:
    """What the kernel's logs show for the same steps."""

    def test_a_mask_bounds(self) -> None:
        found = alu(AluOp.AND, 64, Scalar.unknown(), Scalar.const(7))
        assert (found.umin, found.umax, found.smin, found.smax) == (0, 7, 0, 7)

    def test_sums_that_all_wrap_or_none(self) -> None:
        top = Scalar.bounded(U64 - 5, U64)
        found = alu(AluOp.ADD, 64, top, Scalar.const(10))
        assert (found.umin, found.umax) == (4, 9)
        assert alu(AluOp.ADD, 64, top, Scalar.const(3)).umax == U64

    def test_the_upper_half_of_a_narrow_result_is_zero(self) -> None:
        found = alu(AluOp.ADD, 32, Scalar.unknown(), Scalar.const(1))
        assert (found.umin, found.umax, found.smin, found.smax) == (0, U32, 0, U32)
        assert (found.smin32, found.smax32) == (S32_MIN, S32_MAX)

    def test_a_comparison_bounds_both(self) -> None:
        low, high = refined(BranchOp.LT, 64, Scalar.bounded(3, 20), Scalar.bounded(0, 10), True)
        assert (low.umin, low.umax, high.umin, high.umax) == (3, 9, 4, 10)

    def test_what_cannot_be(self) -> None:
        low, _ = refined(BranchOp.LT, 64, Scalar.bounded(12, 20), Scalar.const(5), True)
        assert not low.possible
        assert foreseen(BranchOp.LT, 64, Scalar.bounded(12, 20), Scalar.const(5)) is False

    @pytest.mark.parametrize("op", [AluOp.DIV, AluOp.MOD, AluOp.SDIV, AluOp.SMOD])
    def test_nothing_is_known_of_quotients(self, op: AluOp) -> None:
        assert alu(op, 64, Scalar.bounded(1, 9), Scalar.const(2)).is_unknown

    def test_a_shift_by_what_is_not_known(self) -> None:
        assert alu(AluOp.LSH, 64, Scalar.const(1), Scalar.bounded(0, 3)).is_unknown
        assert alu(AluOp.LSH, 64, Scalar.const(1), Scalar.const(64)).is_unknown
