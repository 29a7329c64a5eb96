# SPDX-License-Identifier: Apache-2.0
"""Pieces of generated programs that compute, and let numbers be within a range."""

from __future__ import annotations

from prestocloud_sec.bpf.isa import (
    AluOp,
    BranchOp,
    Extend,
    Imm,
    ImmKind,
    LoadImm64,
    Negate,
    Swap,
    SwapKind,
)
from prestocloud_sec.bpf.verifier.generator.writer import Label, Writer

__all__ = ["SIZES", "arithmetic", "constant", "copy", "index", "narrow", "surprise", "unary", "unknown"]

SIZES = (1, 2, 4, 8)
_ARITHMETIC = tuple(op for op in AluOp if op is not AluOp.MOV)

# --- Numbers.


def arithmetic(w: Writer) -> None:
    """Compute with numbers."""
    for _ in range(w.rng.randint(1, 3)):
        dst, bits = w.some(), w.rng.choice((64, 64, 32))
        if dst == 6 and not w.slips():
            continue
        op = w.rng.choice(_ARITHMETIC)
        src: int | Imm = w.some() if w.chance(0.5) else Imm(w.constant())
        if isinstance(src, Imm) and not w.slips(0.3):
            if op in (AluOp.LSH, AluOp.RSH, AluOp.ARSH):
                src = Imm(w.rng.randrange(bits))
            elif op in (AluOp.DIV, AluOp.MOD, AluOp.SDIV, AluOp.SMOD) and not src.value:
                src = Imm(3)
        w.alu(op, dst, src, bits)


def unary(w: Writer) -> None:
    """Negate, swap, extend, move."""
    dst, src, rng = w.some(), w.some(), w.rng
    match rng.randrange(4):
        case 0:
            w.add(Negate(rng.choice((32, 64)), dst))
        case 1:
            w.add(Swap(rng.choice(tuple(SwapKind)), rng.choice((16, 32, 64)), dst))
        case 2:
            bits = rng.choice((32, 64))
            w.add(Extend(bits, dst, src, rng.choice((8, 16, 32) if bits == 64 else (8, 16))))
        case _:
            dst = w.free()
            w.mov(dst, src, rng.choice((32, 64, 64)))
            w.ready.add(dst)


def constant(w: Writer) -> None:
    """Load a number."""
    dst = w.free()
    if w.chance(0.3):
        w.add(LoadImm64(dst, ImmKind.INTEGER, w.rng.getrandbits(64) >> w.rng.randrange(64)))
    else:
        w.mov(dst, Imm(w.constant()), w.rng.choice((64, 64, 32)))
    w.ready.add(dst)


def unknown(w: Writer, dst: int) -> int:
    """Make a register hold something that only a run tells; return the greatest number it may be, -1 for any."""
    rng = w.rng
    match rng.randrange(4):
        case 0:
            w.call("get_prandom_u32")
            if dst:
                w.mov(dst, 0)
            most = -1
        case 1 | 2 if w.target.fields:
            offset, size = rng.choice(w.target.fields)
            w.load(size, dst, 6, offset)
            most = (1 << 8 * size) - 1 if size < 8 else -1
        case _:
            size = rng.choice(SIZES)
            offset = -8 * rng.randint(1, 8)
            w.call("get_prandom_u32")
            w.store(8, 10, offset, 0)
            w.written.update(range(offset, offset + 8))
            w.load(size, dst, 10, offset + rng.choice((0, 0, 8 - size)), signed=w.chance(0.2))
            most = (1 << 8 * size) - 1 if size < 8 else -1
    w.ready.add(dst)
    return most


def surprise(w: Writer) -> None:
    """Let r7 or r8 hold something unknown."""
    unknown(w, w.rng.choice((7, 8)))


def narrow(w: Writer, register: int, most: int, end: Label) -> None:
    """Let a register be within 0 to `most`, or leave to `end`; carelessly by one too much, or not quite."""
    rng = w.rng
    wrong = w.slips()
    limit = most + (rng.choice((1, 1, 2, 8, most)) if wrong else 0)
    bits = rng.choice((64, 64, 32)) if w.chance(0.25 if wrong else 0.05) else 64
    match rng.randrange(10):
        case 0 | 1:
            mask = (1 << limit.bit_length()) - 1 if wrong else (1 << (limit + 1).bit_length() - 1) - 1
            w.alu(AluOp.AND, register, Imm(mask & 0x7FFFFFFF), rng.choice((64, 32)))
        case 2:
            keep = max((limit + 1).bit_length() - 1, 0)
            w.alu(AluOp.LSH, register, Imm(32), 64)
            w.alu(AluOp.RSH, register, Imm(min(64 - keep, 63)), 64)
        case 3:
            w.alu(AluOp.MOD, register, Imm(limit + 1), rng.choice((64, 32)))
        case 4:
            w.branch(BranchOp.GT, register, Imm(limit), end, bits)
        case 5:
            w.branch(BranchOp.GE, register, Imm(limit + 1), end, bits)
        case 6:
            w.branch(BranchOp.SGT, register, Imm(limit), end, bits)
            if not w.slips(2):
                w.branch(BranchOp.SLT, register, Imm(0), end, bits)
        case 7:
            inside = Label()
            w.branch(BranchOp.LE, register, Imm(limit), inside, bits)
            w.jump(end)
            w.place(inside)
        case 8:
            inside = Label()
            w.mov(4 if register != 4 else 5, Imm(limit + 1))
            w.branch(BranchOp.LT, register, 4 if register != 4 else 5, inside, bits)
            w.jump(end)
            w.place(inside)
        case _:  # below 32 bits first, then exactly
            w.mov(register, register, 32)
            w.branch(BranchOp.GT, register, Imm(limit), end, 64)


def index(w: Writer, register: int, most: int, end: Label) -> None:
    """Let a register be an unknown number within 0 to `most`, by some way that a person may go."""
    rng = w.rng
    unknown(w, register)
    parts = rng.choice((1, 1, 1, 2))
    if parts == 2 and most >= 4:
        narrow(w, register, most // 2 if w.chance(0.7) else most, end)
        match rng.randrange(5):
            case 0:
                w.alu(AluOp.ADD, register, Imm(most - most // 2 if not w.slips() else most))
            case 1:
                w.alu(AluOp.LSH, register, Imm(1))
            case 2:
                w.alu(AluOp.MUL, register, Imm(2))
            case 3:
                other = 3 if register != 3 else 2
                w.mov(other, register)
                w.alu(rng.choice((AluOp.ADD, AluOp.OR, AluOp.XOR, AluOp.SUB)), register, other)
            case _:
                w.alu(AluOp.RSH, register, Imm(rng.randrange(3)))
    else:
        if w.chance(0.2):
            w.alu(rng.choice((AluOp.ADD, AluOp.SUB, AluOp.AND, AluOp.OR, AluOp.RSH)), register, Imm(rng.randint(0, 9)))
        narrow(w, register, most, end)
    if w.chance(0.1) and most >= 16:
        w.alu(AluOp.AND, register, Imm(~(rng.choice((1, 3, 7)))))
    if w.chance(0.1):
        copy(w, register)


def copy(w: Writer, register: int) -> None:
    """Put a register on the stack, and get it back."""
    offset = -8 * w.rng.randint(1, 8)
    size = 8 if not w.slips(3) else w.rng.choice((4, 2, 1))
    w.store(size, 10, offset, register)
    w.written.update(range(offset, offset + size))
    w.load(size, register, 10, offset)
