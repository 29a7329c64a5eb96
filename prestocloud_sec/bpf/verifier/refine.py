# SPDX-License-Identifier: Apache-2.0
"""What a comparison says about the numbers compared: whether it can be foreseen, and what is known on either way.

Both follow Linux 6.18 (``is_scalar_branch_taken``, ``regs_refine_cond_op``). A refinement is sound because it only
takes away words with which the comparison would have gone the other way. If none is left, that way cannot be gone, and
`Scalar.possible` says so.
"""

from __future__ import annotations

from collections.abc import Callable

from prestocloud_sec.bpf.isa import BranchOp
from prestocloud_sec.bpf.verifier.scalar import Scalar, signed, signed32
from prestocloud_sec.bpf.verifier.tnum import U32, U64, Tnum

__all__ = ["foreseen", "refined"]


class _Range:
    """How the ranges that a comparison is about are called."""

    __slots__ = ("least", "most")

    def __init__(self, least: str, most: str) -> None:
        self.least, self.most = least, most


_UNSIGNED = {64: _Range("umin", "umax"), 32: _Range("umin32", "umax32")}
_SIGNED = {64: _Range("smin", "smax"), 32: _Range("smin32", "smax32")}

_ORDER: dict[BranchOp, tuple[dict[int, _Range], bool, bool]] = {
    BranchOp.LT: (_UNSIGNED, True, False),
    BranchOp.LE: (_UNSIGNED, False, False),
    BranchOp.GT: (_UNSIGNED, True, True),
    BranchOp.GE: (_UNSIGNED, False, True),
    BranchOp.SLT: (_SIGNED, True, False),
    BranchOp.SLE: (_SIGNED, False, False),
    BranchOp.SGT: (_SIGNED, True, True),
    BranchOp.SGE: (_SIGNED, False, True),
}
"""Which ranges are compared, whether equal operands fail, and whether the operands change places to make it `<`."""


def foreseen(op: BranchOp, bits: int, left: Scalar, right: Scalar) -> bool | None:
    """Return whether every pair of words makes the comparison true (or false), or None if it depends on the words."""
    if op is BranchOp.EQ:
        return _equal(bits, left, right)
    if op is BranchOp.NE:
        equal = _equal(bits, left, right)
        return None if equal is None else not equal
    if op is BranchOp.SET:
        return _bits_set(bits, left, right)
    ranges, strict, turned = _ORDER[op]
    if turned:
        left, right = right, left
    names = ranges[bits]
    least, most = getattr(left, names.least), getattr(left, names.most)
    other_least, other_most = getattr(right, names.least), getattr(right, names.most)
    if most < other_least or (not strict and most == other_least):
        return True
    if least > other_most or (strict and least == other_most):
        return False
    return None


def _equal(bits: int, left: Scalar, right: Scalar) -> bool | None:
    a, b = (left.tnum, right.tnum) if bits == 64 else (left.tnum.low, right.tnum.low)
    if not a.mask and not b.mask:
        return a.value == b.value
    if (a.value ^ b.value) & ~a.mask & ~b.mask:  # a bit that both know differs
        return False
    if bits == 64 and (
        left.umin > right.umax or left.umax < right.umin or left.smin > right.smax or left.smax < right.smin
    ):
        return False
    if (
        left.umin32 > right.umax32
        or left.umax32 < right.umin32
        or left.smin32 > right.smax32
        or left.smax32 < right.smin32
    ):
        return False
    return None


def _bits_set(bits: int, left: Scalar, right: Scalar) -> bool | None:
    a, b = (left.tnum, right.tnum) if bits == 64 else (left.tnum.low, right.tnum.low)
    if b.mask:
        a, b = b, a
        if b.mask:
            return None
    if a.value & b.value:
        return True
    return None if a.most & b.value else False


# --- What is known afterwards.


def refined(op: BranchOp, bits: int, left: Scalar, right: Scalar, taken: bool) -> tuple[Scalar, Scalar]:
    """Return what is known of both operands on the way where the comparison is true (or, not `taken`, false)."""
    a, b = left.copy(), right.copy()
    if op is BranchOp.SET:
        (_has_bits if taken else _has_no_bits)(bits, a, b)
    elif (op is BranchOp.EQ) == taken and op in (BranchOp.EQ, BranchOp.NE):
        _are_equal(bits, a, b)
    elif op in (BranchOp.EQ, BranchOp.NE):
        _differ(bits, a, b)
    else:
        ranges, strict, turned = _ORDER[op]
        if turned != (not taken):  # "not a < b" is "b <= a"
            _in_order(ranges[bits], strict == taken, b, a)
        else:
            _in_order(ranges[bits], strict == taken, a, b)
    for one in (a, b):
        if one.settled:
            continue
        if one.possible:  # ranges that are empty would teach each other anything
            one.sync()
        if not one.possible:
            one.unbound()
            one.unbound32()
            one.umin, one.umax = 1, 0
    return a, b


def _in_order(names: _Range, strict: bool, low: Scalar, high: Scalar) -> None:
    """Keep the words with ``low < high`` (or, not `strict`, ``low <= high``)."""
    setattr(low, names.most, min(getattr(low, names.most), getattr(high, names.most) - strict))
    setattr(high, names.least, max(getattr(high, names.least), getattr(low, names.least) + strict))


def _are_equal(bits: int, a: Scalar, b: Scalar) -> None:
    """Keep the words that both stand for."""
    for names in (_UNSIGNED[bits], _SIGNED[bits]):
        least = max(getattr(a, names.least), getattr(b, names.least))
        most = min(getattr(a, names.most), getattr(b, names.most))
        for one in (a, b):
            setattr(one, names.least, least)
            setattr(one, names.most, most)
    if bits == 64:
        a.tnum = b.tnum = a.tnum.intersect(b.tnum)
    else:
        low = a.tnum.low.intersect(b.tnum.low)
        a.tnum, b.tnum = a.tnum.with_low(low), b.tnum.with_low(low)


def _differ(bits: int, a: Scalar, b: Scalar) -> None:
    """Take a word that is known off the ends of the other operand's ranges."""
    if not (b.is_const if bits == 64 else b.is_const32):
        a, b = b, a
    if not (b.is_const if bits == 64 else b.is_const32):
        return
    word = b.tnum.value
    ends = (word, signed(word)) if bits == 64 else (word & U32, signed32(word))
    for names, end in zip((_UNSIGNED[bits], _SIGNED[bits]), ends, strict=True):
        if getattr(a, names.least) == end:
            setattr(a, names.least, end + 1)
        if getattr(a, names.most) == end:
            setattr(a, names.most, end - 1)


def _known_bits(bits: int, a: Scalar, b: Scalar) -> tuple[Scalar, int] | None:
    """Return the operand that is not known and the word that is."""
    for one, known in ((a, b), (b, a)):
        if known.is_const if bits == 64 else known.is_const32:
            return one, known.tnum.value & (U64 if bits == 64 else U32)
    return None


def _learn(bits: int, one: Scalar, change: Callable[[Tnum], Tnum]) -> None:
    one.tnum = change(one.tnum) if bits == 64 else one.tnum.with_low(change(one.tnum.low))


def _has_bits(bits: int, a: Scalar, b: Scalar) -> None:
    """One of the bits is 1; if there is only one, that is known."""
    found = _known_bits(bits, a, b)
    if found is not None and found[1].bit_count() == 1:
        _learn(bits, found[0], lambda tnum: tnum | Tnum.const(found[1]))


def _has_no_bits(bits: int, a: Scalar, b: Scalar) -> None:
    """All of the bits are 0. Linux forgets the ranges then, lest they contradict the bits."""
    found = _known_bits(bits, a, b)
    if found is not None:
        found[0].unbound()
        found[0].unbound32()
        _learn(bits, found[0], lambda tnum: tnum & Tnum.const(~found[1]))
