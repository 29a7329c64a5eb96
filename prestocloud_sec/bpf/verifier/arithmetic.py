# SPDX-License-Identifier: Apache-2.0
"""What arithmetic does to what is known of numbers: one abstract operation for each of BPF's.

Each takes what is known of both operands and gives what is then known of the result, as Linux 6.18 does
(``adjust_scalar_min_max_vals``), no more and no less. Where the kernel gives up, the result is unknown: division and
remainder, shifts by a number that is not known. Bits are followed through byte swaps as Linux 6.18.44 does.

All ranges are ranges of the *operation without a wrap*; beside each stands what is done where a result can wrap, which
is what its soundness rests on. The upper half of a 32-bit operation's result is zero (`Scalar.keep_low`).
"""

from __future__ import annotations

from collections.abc import Callable

from prestocloud_sec.bpf.isa import AluOp
from prestocloud_sec.bpf.verifier.scalar import (
    S32_MAX,
    S32_MIN,
    S64_MAX,
    S64_MIN,
    Scalar,
    signed,
    signed32,
)
from prestocloud_sec.bpf.verifier.tnum import U32, U64, Tnum

__all__ = ["alu", "negate", "sign_extend", "swap"]


def alu(op: AluOp, bits: int, left: Scalar, right: Scalar) -> Scalar:
    """Return what is known of ``left op right`` in 32 or 64 bits.

    Parameters
    ----------
    op : AluOp
        Any but ``MOV``.
    bits : {32, 64}
        Width of the operation.
    left, right : Scalar
        What is known of the operands; neither is changed.
    """
    operation = _OPERATIONS.get((op, bits))
    if operation is None or (op in _SHIFTS and not _known_shift(right, bits)):
        return Scalar.unknown()  # of all 64 bits, even where the operation clears the upper ones: the kernel gives up
    if left.is_const and right.is_const:
        result = Scalar.const(_EXACT[op](left.tnum.value, right.tnum.value, bits))
    else:
        result = left.copy()
        operation(result, right)
    if bits == 32:
        result.keep_low()
    else:
        result.sync()
    return result


def _known_shift(right: Scalar, bits: int) -> bool:
    if bits == 32:
        return right.is_const32 and right.umax32 < 32
    return right.is_const and right.umax < 64


def negate(bits: int, value: Scalar) -> Scalar:
    """Return what is known of ``-value``: it is ``0 - value``."""
    return alu(AluOp.SUB, bits, Scalar.const(0), value)


def swap(size: int, value: Scalar) -> Scalar:
    """Return what is known of the low `size` bytes in the reverse order: of ranges nothing is left, of bits all."""
    found = Scalar.unknown()
    found.tnum = value.tnum.swapped(size)
    found.sync()
    return found


# --- Sums.


def _add(to: Scalar, other: Scalar) -> None:
    to.umin, to.umax = _sum(to.umin, to.umax, other.umin, other.umax, U64)
    to.umin32, to.umax32 = _sum(to.umin32, to.umax32, other.umin32, other.umax32, U32)
    to.smin, to.smax = _within(to.smin + other.smin, to.smax + other.smax, S64_MIN, S64_MAX)
    to.smin32, to.smax32 = _within(to.smin32 + other.smin32, to.smax32 + other.smax32, S32_MIN, S32_MAX)
    to.tnum = to.tnum + other.tnum


def _sub(to: Scalar, other: Scalar) -> None:
    to.umin, to.umax = _difference(to.umin, to.umax, other.umin, other.umax, U64)
    to.umin32, to.umax32 = _difference(to.umin32, to.umax32, other.umin32, other.umax32, U32)
    to.smin, to.smax = _within(to.smin - other.smax, to.smax - other.smin, S64_MIN, S64_MAX)
    to.smin32, to.smax32 = _within(to.smin32 - other.smax32, to.smax32 - other.smin32, S32_MIN, S32_MAX)
    to.tnum = to.tnum - other.tnum


def _within(least: int, most: int, low: int, high: int) -> tuple[int, int]:
    """Return a signed range, or the whole one if an end does not fit: some results may wrap then."""
    return (least, most) if low <= least and most <= high else (low, high)


def _sum(a: int, b: int, c: int, d: int, limit: int) -> tuple[int, int]:
    """Add unsigned ranges a..b and c..d. If all sums wrap, or none, the ends are in order; else they are not."""
    least, most = a + c, b + d
    return (0, limit) if least <= limit < most else (least & limit, most & limit)


def _difference(a: int, b: int, c: int, d: int, limit: int) -> tuple[int, int]:
    """Subtract c..d from a..b; as `_sum`."""
    least, most = a - d, b - c
    return (0, limit) if least < 0 <= most else (least & limit, most & limit)


# --- Products.


def _mul(to: Scalar, other: Scalar) -> None:
    """Multiply. The greatest product of unsigned ranges is that of their upper ends, so if it fits all do.

    The extreme products of signed ranges are among those of their ends.
    """
    to.umin, to.umax = _product(to.umin, to.umax, other.umin, other.umax, U64)
    to.umin32, to.umax32 = _product(to.umin32, to.umax32, other.umin32, other.umax32, U32)
    ends = [a * b for a in (to.smin, to.smax) for b in (other.smin, other.smax)]
    to.smin, to.smax = _within(min(ends), max(ends), S64_MIN, S64_MAX)
    ends = [a * b for a in (to.smin32, to.smax32) for b in (other.smin32, other.smax32)]
    to.smin32, to.smax32 = _within(min(ends), max(ends), S32_MIN, S32_MAX)
    to.tnum = to.tnum * other.tnum


def _product(a: int, b: int, c: int, d: int, limit: int) -> tuple[int, int]:
    most = b * d
    return (0, limit) if most > limit else (a * c, most)


# --- Bits.


def _and(to: Scalar, other: Scalar) -> None:
    """Conjunction: at least the bits known to be 1, at most the smaller operand, since bits only vanish."""
    to.tnum = to.tnum & other.tnum
    to.umin, to.umax = to.tnum.value, min(to.umax, other.umax)
    to.umin32, to.umax32 = to.tnum.value & U32, min(to.umax32, other.umax32)
    _signs_from_unsigned(to)


def _or(to: Scalar, other: Scalar) -> None:
    """Disjunction: at least the greater operand, since bits only come, at most all that may be 1."""
    to.tnum = to.tnum | other.tnum
    to.umin, to.umax = max(to.umin, other.umin), to.tnum.most
    to.umin32, to.umax32 = max(to.umin32, other.umin32), to.tnum.most & U32
    _signs_from_unsigned(to)


def _xor(to: Scalar, other: Scalar) -> None:
    """Exclusive disjunction: what the bits say, and no more."""
    to.tnum = to.tnum ^ other.tnum
    to.umin, to.umax = to.tnum.value, to.tnum.most
    to.umin32, to.umax32 = to.tnum.value & U32, to.tnum.most & U32
    _signs_from_unsigned(to)


def _signs_from_unsigned(to: Scalar) -> None:
    """Take the signed ranges from the unsigned ones, where these do not cross the sign; else nothing is known."""
    if signed(to.umin) <= signed(to.umax):
        to.smin, to.smax = signed(to.umin), signed(to.umax)
    else:
        to.smin, to.smax = S64_MIN, S64_MAX
    if signed32(to.umin32) <= signed32(to.umax32):
        to.smin32, to.smax32 = signed32(to.umin32), signed32(to.umax32)
    else:
        to.smin32, to.smax32 = S32_MIN, S32_MAX


# --- Shifts, by a known number less than the width.


def _lsh(to: Scalar, other: Scalar) -> None:
    """Shift left. Unsigned ends stay in order where no 1 is shifted out of the greater.

    A shift by 32 keeps the order of low halves as signed numbers, too: C code extends 32-bit numbers so.
    """
    shift = other.umax
    to.smin, to.smax = (to.smin32 << 32, to.smax32 << 32) if shift == 32 else (S64_MIN, S64_MAX)
    _shift_ends(to, shift)
    if shift > 31:
        to.unbound32()
    else:
        _shift_ends32(to, shift)
    to.tnum = to.tnum.lsh(shift)


def _lsh32(to: Scalar, other: Scalar) -> None:
    _shift_ends32(to, other.umax32)
    to.tnum = to.tnum.low.lsh(other.umax32)
    to.unbound()


def _shift_ends(to: Scalar, shift: int) -> None:
    fits = to.umax <= 1 << 63 - shift
    to.umin, to.umax = (to.umin << shift, to.umax << shift) if fits else (0, U64)


def _shift_ends32(to: Scalar, shift: int) -> None:
    fits = to.umax32 <= 1 << 31 - shift
    to.umin32, to.umax32 = (to.umin32 << shift, to.umax32 << shift) if fits else (0, U32)
    to.smin32, to.smax32 = S32_MIN, S32_MAX


def _rsh(to: Scalar, other: Scalar) -> None:
    """Shift right, zeros from the left: ends stay in order. What came into the low half only its bits say."""
    shift = other.umax
    to.tnum = to.tnum.rsh(shift)
    to.umin, to.umax = to.umin >> shift, to.umax >> shift
    to.smin, to.smax = S64_MIN, S64_MAX
    to.unbound32()


def _rsh32(to: Scalar, other: Scalar) -> None:
    shift = other.umax32
    to.tnum = to.tnum.low.rsh(shift)
    to.umin32, to.umax32 = to.umin32 >> shift, to.umax32 >> shift
    to.smin32, to.smax32 = S32_MIN, S32_MAX
    to.unbound()


def _arsh(to: Scalar, other: Scalar) -> None:
    """Shift right, the sign from the left: signed ends stay in order."""
    shift = other.umax
    to.tnum = to.tnum.arsh(shift)
    to.smin, to.smax = to.smin >> shift, to.smax >> shift
    to.umin, to.umax = 0, U64
    to.unbound32()


def _arsh32(to: Scalar, other: Scalar) -> None:
    shift = other.umax32
    to.tnum = to.tnum.arsh(shift, 32)
    to.smin32, to.smax32 = to.smin32 >> shift, to.smax32 >> shift
    to.umin32, to.umax32 = 0, U32
    to.unbound()


# --- Signs.


def sign_extend(size: int, bits: int, value: Scalar) -> Scalar:
    """Return what is known of the low `size` bytes of a number with their sign in all bits of 32 or 64 above.

    If the ends of the signed range have the same bits above those bytes, the range holds no wrap of the bytes but where
    their sign changes; if it does not change, the ends stay in order. Else only what any such number keeps to is known.
    """
    width = 8 * size
    if value.is_const if bits == 64 else value.is_const32:
        result = Scalar.const(_extended(value.tnum.value, width))
    else:
        least, most = (value.smin, value.smax) if bits == 64 else (value.smin32, value.smax32)
        ends = sorted((_extended(least, width), _extended(most, width)))
        result = Scalar.unknown()
        if least >> width != most >> width or (ends[0] < 0 <= ends[1]):
            ends = [-(1 << width - 1), (1 << width - 1) - 1]
            result.smin, result.smax = ends
            result.smin32, result.smax32 = max(ends[0], S32_MIN), min(ends[1], S32_MAX)
        else:
            result.smin, result.smax = ends
            result.umin, result.umax = ends[0] & U64, ends[1] & U64
            result.smin32, result.smax32 = signed32(ends[0]), signed32(ends[1])
            result.umin32, result.umax32 = ends[0] & U32, ends[1] & U32
            result.tnum = Tnum.range(ends[0] & U64, ends[1] & U64)
    if bits == 32:
        result.keep_low()
    else:
        result.sync()
    return result


def _extended(word: int, width: int) -> int:
    low = word & (1 << width) - 1
    return low - (1 << width) if low >> width - 1 else low


_SHIFTS = frozenset({AluOp.LSH, AluOp.RSH, AluOp.ARSH})
_OPERATIONS: dict[tuple[AluOp, int], Callable[[Scalar, Scalar], None]] = {
    **{
        (op, bits): operation
        for bits in (32, 64)
        for op, operation in (
            (AluOp.ADD, _add),
            (AluOp.SUB, _sub),
            (AluOp.MUL, _mul),
            (AluOp.AND, _and),
            (AluOp.OR, _or),
            (AluOp.XOR, _xor),
        )
    },
    (AluOp.LSH, 64): _lsh,
    (AluOp.RSH, 64): _rsh,
    (AluOp.ARSH, 64): _arsh,
    (AluOp.LSH, 32): _lsh32,
    (AluOp.RSH, 32): _rsh32,
    (AluOp.ARSH, 32): _arsh32,
}
_EXACT: dict[AluOp, Callable[[int, int, int], int]] = {
    AluOp.ADD: lambda a, b, _: a + b,
    AluOp.SUB: lambda a, b, _: a - b,
    AluOp.MUL: lambda a, b, _: a * b,
    AluOp.AND: lambda a, b, _: a & b,
    AluOp.OR: lambda a, b, _: a | b,
    AluOp.XOR: lambda a, b, _: a ^ b,
    AluOp.LSH: lambda a, b, bits: a << (b & bits - 1),
    AluOp.RSH: lambda a, b, bits: (a & (1 << bits) - 1) >> (b & bits - 1),
    AluOp.ARSH: lambda a, b, bits: (signed(a) if bits == 64 else signed32(a)) >> (b & bits - 1),
}
"""What the operations do to words that are known."""
