# SPDX-License-Identifier: Apache-2.0
"""The readable interpreter, instruction by instruction, against numpy's fixed-width arithmetic and values by hand."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.bpf import Program, assemble
from prestocloud_sec.bpf.isa import (
    Alu,
    AluOp,
    Branch,
    BranchOp,
    Exit,
    Extend,
    Imm,
    ImmKind,
    Instruction,
    LoadImm64,
    Negate,
    Swap,
    SwapKind,
)

U64 = (1 << 64) - 1
EDGES = [0, 1, 2, 31, 32, 63, 64, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 32, 1 << 63, U64]
words = st.sampled_from(EDGES) | st.integers(0, U64)


def load(register: int, value: int) -> LoadImm64:
    return LoadImm64(register, ImmKind.INTEGER, value & U64)


def value_of(*instructions: Instruction) -> int:
    result = Program([*instructions, Exit()]).run(engine="reference")
    assert result.fault is None
    assert result.value is not None
    return result.value


def fixed(op: AluOp, bits: int, a: int, b: int) -> int:
    """Return what two registers give, computed by numpy in so many bits."""
    unsigned, signed = (np.uint64, np.int64) if bits == 64 else (np.uint32, np.int32)
    mask = (1 << bits) - 1
    x, y = np.array(a & mask, unsigned), np.array(b & mask, unsigned)
    shift = y % unsigned(bits)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        match op:
            case AluOp.ADD:
                result = x + y
            case AluOp.SUB:
                result = x - y
            case AluOp.MUL:
                result = x * y
            case AluOp.OR:
                result = x | y
            case AluOp.AND:
                result = x & y
            case AluOp.XOR:
                result = x ^ y
            case AluOp.LSH:
                result = x << shift
            case AluOp.RSH:
                result = x >> shift
            case AluOp.ARSH:
                result = (x.astype(signed) >> shift.astype(signed)).astype(unsigned)
            case AluOp.MOV:
                result = y
            case AluOp.DIV:
                result = x // y if y else unsigned(0)
            case AluOp.MOD:
                result = x % y if y else x
            case AluOp.SDIV:
                result = truncated(x, y, signed, unsigned)[0]
            case AluOp.SMOD:
                result = truncated(x, y, signed, unsigned)[1]
    return int(np.asarray(result).astype(unsigned))


def truncated(x: np.ndarray, y: np.ndarray, signed: type, unsigned: type) -> tuple[np.ndarray, np.ndarray]:
    """Return quotient and remainder as C has them, from numpy's, which round down."""
    if not y:
        return np.array(0, unsigned), x
    if y.astype(signed) == -1:
        return (np.array(0, unsigned) - x).astype(unsigned), np.array(0, unsigned)
    quotient, rest = divmod(x.astype(signed), y.astype(signed))
    if rest and (rest < 0) != (x.astype(signed) < 0):
        quotient, rest = quotient + 1, rest - y.astype(signed)
    return np.asarray(quotient).astype(unsigned), np.asarray(rest).astype(unsigned)


@given(st.sampled_from(list(AluOp)), st.sampled_from([32, 64]), words, words)
def test_arithmetic_of_registers(op: AluOp, bits: int, a: int, b: int) -> None:
    assert value_of(load(0, a), load(1, b), Alu(op, bits, 0, 1)) == fixed(op, bits, a, b)


@given(st.sampled_from(list(AluOp)), st.sampled_from([32, 64]), words, st.integers(-(1 << 31), (1 << 31) - 1))
def test_arithmetic_with_an_immediate(op: AluOp, bits: int, a: int, immediate: int) -> None:
    assert value_of(load(0, a), Alu(op, bits, 0, Imm(immediate))) == fixed(op, bits, a, immediate & U64)


@given(words, st.sampled_from([(64, 8), (64, 16), (64, 32), (32, 8), (32, 16)]))
def test_sign_extension(a: int, widths: tuple[int, int]) -> None:
    bits, width = widths
    signed = {8: np.int8, 16: np.int16, 32: np.int32}[width]
    wide = np.array(a, np.uint64).astype(signed).astype(np.int64)
    expected = int(wide.astype(np.uint64 if bits == 64 else np.uint32))
    assert value_of(load(1, a), Extend(bits, 0, 1, width)) == expected


@given(words, st.sampled_from([32, 64]))
def test_negation(a: int, bits: int) -> None:
    assert value_of(load(0, a), Negate(bits, 0)) == fixed(AluOp.SUB, bits, 0, a)


@given(words, st.sampled_from(list(SwapKind)), st.sampled_from([16, 32, 64]))
def test_byte_swaps(a: int, kind: SwapKind, width: int) -> None:
    low = np.array(a, np.uint64).astype({16: np.uint16, 32: np.uint32, 64: np.uint64}[width])
    expected = int(low if kind is SwapKind.LE and np.little_endian else low.byteswap())
    assert value_of(load(0, a), Swap(kind, width, 0)) == expected


COMPARISONS = {
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
    BranchOp.SET: lambda x, y: x & y != 0,
}
SIGNED = {BranchOp.SGT, BranchOp.SGE, BranchOp.SLT, BranchOp.SLE}


@given(st.sampled_from(list(BranchOp)), st.sampled_from([32, 64]), words, words, st.booleans())
def test_conditions(op: BranchOp, bits: int, a: int, b: int, alike: bool) -> None:
    b = a if alike else b
    kinds = (np.uint32, np.int32) if bits == 32 else (np.uint64, np.int64)
    x, y = (np.array(n & (1 << bits) - 1, kinds[0]).astype(kinds[op in SIGNED]) for n in (a, b))
    taken = value_of(
        load(1, a),
        load(2, b),
        Alu(AluOp.MOV, 64, 0, Imm(1)),
        Branch(op, bits, 1, 2, 1),
        Alu(AluOp.MOV, 64, 0, Imm(0)),
    )
    assert taken == int(bool(COMPARISONS[op](x, y)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("*(u8 *)(r10 - 1) = 255\nr0 = *(s8 *)(r10 - 1)", U64),
        ("*(u16 *)(r10 - 2) = -2\nr0 = *(u16 *)(r10 - 2)", 0xFFFE),
        ("*(u32 *)(r10 - 4) = -2\nr0 = *(s32 *)(r10 - 4)", U64 - 1),
        ("*(u64 *)(r10 - 8) = -2\nr0 = *(u64 *)(r10 - 8)", U64 - 1),
        ("r1 = 7\n*(u64 *)(r10 - 8) = r1\nr0 = *(u8 *)(r10 - 8)", 7),
        ("r0 = *(u64 *)(r10 - 512)", 0),
        ("*(u64 *)(r10 - 8) = 5\nr1 = 3\nr1 = atomic_fetch_add((u64 *)(r10 - 8), r1)\nr0 = r1", 5),
        ("*(u64 *)(r10 - 8) = 5\nr1 = 3\nlock *(u64 *)(r10 - 8) += r1\nr0 = *(u64 *)(r10 - 8)", 8),
        ("*(u64 *)(r10 - 8) = -1\nr1 = 3\nlock *(u32 *)(r10 - 8) += r1\nr0 = *(u64 *)(r10 - 8)", 0xFFFFFFFF00000002),
        ("*(u64 *)(r10 - 8) = -1\nr1 = 9\nw1 = xchg32_32(r10 - 8, w1)\nr0 = r1", 0xFFFFFFFF),
        ("*(u64 *)(r10 - 8) = 4\nr0 = 4\nr1 = 9\nr0 = cmpxchg_64(r10 - 8, r0, r1)\nr0 = *(u64 *)(r10 - 8)", 9),
        ("*(u64 *)(r10 - 8) = 4\nr0 = 5\nr1 = 9\nr0 = cmpxchg_64(r10 - 8, r0, r1)", 4),
        ("r0 = 2 ll", 2),
        ("r0 = -1\nw0 += 0", 0xFFFFFFFF),
        (
            "r6 = 1\nr7 = 2\nr1 = 5\ncall f\ngoto end\nf:\nr0 = r1\nr0 += r6\nr6 = 9\nexit\nend:\nr0 += r6\nr0 += r7",
            9,
        ),
        ("r1 = 5\ncall f\nr0 = r1\ngoto end\nf:\nr1 = 7\nr0 = 1\nexit\nend:", 0),
    ],
)
def test_programs_by_hand(text: str, expected: int) -> None:
    """What is stored is loaded, callees keep r6 to r9, r1 to r5 are 0 behind a call."""
    program = assemble(f"{text}\nexit")
    for engine in ("reference", "interpreter", "compiled"):
        result = program.run(engine=engine)
        assert result.fault is None, (engine, result)
        assert result.value == expected, engine
