# SPDX-License-Identifier: Apache-2.0
"""What instructions compute, as tables of functions on Python integers: the readable interpreter's arithmetic.

Operands are unsigned numbers of 32 or 64 bits; results are any integers, of which the engine keeps that many bits.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import eq, ge, gt, le, lt, ne

from prestocloud_sec.bpf.isa import AluOp, AtomicOp, BranchOp
from prestocloud_sec.bpf.words import signed

__all__ = ["ALU", "ATOMIC", "COMPARE", "signed"]


def _quotient(a: int, b: int) -> int:
    """Divide towards zero."""
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def _sdiv(a: int, b: int, bits: int) -> int:
    return _quotient(signed(a, bits), signed(b, bits)) if b else 0


def _smod(a: int, b: int, bits: int) -> int:
    x, y = signed(a, bits), signed(b, bits)
    return x - y * _quotient(x, y) if y else a


ALU: dict[AluOp, Callable[[int, int, int], int]] = {
    AluOp.ADD: lambda a, b, _: a + b,
    AluOp.SUB: lambda a, b, _: a - b,
    AluOp.MUL: lambda a, b, _: a * b,
    AluOp.DIV: lambda a, b, _: a // b if b else 0,
    AluOp.SDIV: _sdiv,
    AluOp.MOD: lambda a, b, _: a % b if b else a,
    AluOp.SMOD: _smod,
    AluOp.OR: lambda a, b, _: a | b,
    AluOp.AND: lambda a, b, _: a & b,
    AluOp.XOR: lambda a, b, _: a ^ b,
    AluOp.LSH: lambda a, b, bits: a << (b & bits - 1),
    AluOp.RSH: lambda a, b, bits: a >> (b & bits - 1),
    AluOp.ARSH: lambda a, b, bits: signed(a, bits) >> (b & bits - 1),
    AluOp.MOV: lambda _, b, __: b,
}
"""Operations on numbers of `bits` bits; the result is cut to them (RFC 9669, section 4.1)."""

_UNSIGNED: dict[BranchOp, Callable[[int, int], bool]] = {
    BranchOp.EQ: eq,
    BranchOp.NE: ne,
    BranchOp.GT: gt,
    BranchOp.GE: ge,
    BranchOp.LT: lt,
    BranchOp.LE: le,
    BranchOp.SET: lambda a, b: bool(a & b),
}
_SIGNED: dict[BranchOp, Callable[[int, int], bool]] = {
    BranchOp.SGT: gt,
    BranchOp.SGE: ge,
    BranchOp.SLT: lt,
    BranchOp.SLE: le,
}


def _signed_comparison(compare: Callable[[int, int], bool]) -> Callable[[int, int, int], bool]:
    return lambda a, b, bits: compare(signed(a, bits), signed(b, bits))


def _plain_comparison(compare: Callable[[int, int], bool]) -> Callable[[int, int, int], bool]:
    return lambda a, b, _: compare(a, b)


COMPARE: dict[BranchOp, Callable[[int, int, int], bool]] = {
    **{op: _plain_comparison(compare) for op, compare in _UNSIGNED.items()},
    **{op: _signed_comparison(compare) for op, compare in _SIGNED.items()},
}
"""Conditions on numbers of `bits` bits (RFC 9669, section 4.3)."""

ATOMIC: dict[AtomicOp, Callable[[int, int], int]] = {
    AtomicOp.ADD: lambda old, value: old + value,
    AtomicOp.OR: lambda old, value: old | value,
    AtomicOp.AND: lambda old, value: old & value,
    AtomicOp.XOR: lambda old, value: old ^ value,
    AtomicOp.XCHG: lambda _, value: value,
}
"""What an atomic operation leaves in memory, from what was there and its register (RFC 9669, section 5.3)."""
