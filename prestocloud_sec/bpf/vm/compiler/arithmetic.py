# SPDX-License-Identifier: Apache-2.0
"""Arithmetic, comparisons and byte swaps as LLVM IR (RFC 9669, sections 4.1 to 4.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestocloud_sec.bpf.isa import Alu, AluOp, Branch, BranchOp, Extend, Imm, Negate, Swap, SwapKind
from prestocloud_sec.bpf.vm.compiler.runtime import LITTLE

if TYPE_CHECKING:
    from prestocloud_sec.bpf.vm.compiler.function import Function

__all__ = ["alu", "condition", "extend", "negate", "swap"]

_PLAIN = {
    AluOp.ADD: "add",
    AluOp.SUB: "sub",
    AluOp.MUL: "mul",
    AluOp.OR: "or",
    AluOp.AND: "and",
    AluOp.XOR: "xor",
}
_SHIFTS = {AluOp.LSH: "shl", AluOp.RSH: "lshr", AluOp.ARSH: "ashr"}
_DIVISIONS = {AluOp.DIV: "udiv", AluOp.MOD: "urem", AluOp.SDIV: "sdiv", AluOp.SMOD: "srem"}
_SIGNED = {AluOp.SDIV, AluOp.SMOD}
_COMPARISONS = {
    BranchOp.EQ: "eq",
    BranchOp.NE: "ne",
    BranchOp.GT: "ugt",
    BranchOp.GE: "uge",
    BranchOp.LT: "ult",
    BranchOp.LE: "ule",
    BranchOp.SGT: "sgt",
    BranchOp.SGE: "sge",
    BranchOp.SLT: "slt",
    BranchOp.SLE: "sle",
}


def _read(f: Function, source: int | Imm, bits: int) -> str:
    """Return an operand of 32 or 64 bits."""
    if isinstance(source, Imm):
        return str(source.value)
    value = f.get(source)
    return f.op(f"trunc i64 {value} to i32") if bits == 32 else value


def _write(f: Function, register: int, value: str, bits: int) -> None:
    f.put(register, f.op(f"zext i32 {value} to i64") if bits == 32 else value)


def alu(f: Function, i: Alu) -> None:
    """Two-operand arithmetic."""
    plain = _PLAIN.get(i.op)
    if plain is not None:
        _plain(f, i, plain)
        return
    kind = f"i{i.bits}"
    source = _read(f, i.src, i.bits)
    if i.op is AluOp.MOV:
        if isinstance(i.src, Imm):
            f.put(i.dst, i.src.value & 0xFFFF_FFFF if i.bits == 32 else i.src.value)
        else:
            _write(f, i.dst, source, i.bits)
        return
    old = _read(f, i.dst, i.bits)
    if i.op in _SHIFTS:
        masked = str(i.src.value & i.bits - 1) if isinstance(i.src, Imm) else f.op(f"and {kind} {source}, {i.bits - 1}")
        value = f.op(f"{_SHIFTS[i.op]} {kind} {old}, {masked}")
    else:
        value = _divide(f, i.op, kind, old, source)
    _write(f, i.dst, value, i.bits)


def _plain(f: Function, i: Alu, word: str) -> None:
    """Write what is one instruction of LLVM too, in one go: programs consist of these."""
    n = f.count = f.count + 1
    dst, src = i.dst, i.src
    if isinstance(src, Imm):
        load, operand, narrow = "", str(src.value), ""
    else:
        load, operand, narrow = f"  %s{n} = load i64, ptr %r{src}\n", f"%s{n}", f"  %m{n} = trunc i64 %s{n} to i32\n"
    if i.bits == 64:
        f.lines.append(
            f"  %d{n} = load i64, ptr %r{dst}\n{load}  %t{n} = {word} i64 %d{n}, {operand}\n"
            f"  store i64 %t{n}, ptr %r{dst}\n"
        )
        return
    f.lines.append(
        f"  %d{n} = load i64, ptr %r{dst}\n  %l{n} = trunc i64 %d{n} to i32\n{load}{narrow}"
        f"  %t{n} = {word} i32 %l{n}, {f'%m{n}' if narrow else operand}\n"
        f"  %z{n} = zext i32 %t{n} to i64\n  store i64 %z{n}, ptr %r{dst}\n"
    )


def _divide(f: Function, op: AluOp, kind: str, old: str, divisor: str) -> str:
    """Divide with a divisor that never traps: 0 and (signed) -1 are replaced by 1, their results chosen afterwards."""
    zero = f.op(f"icmp eq {kind} {divisor}, 0")
    modulo = op in {AluOp.MOD, AluOp.SMOD}
    if op not in _SIGNED:
        safe = f.op(f"select i1 {zero}, {kind} 1, {kind} {divisor}")
        value = f.op(f"{_DIVISIONS[op]} {kind} {old}, {safe}")
    else:
        minus = f.op(f"icmp eq {kind} {divisor}, -1")
        either = f.op(f"or i1 {zero}, {minus}")
        safe = f.op(f"select i1 {either}, {kind} 1, {kind} {divisor}")
        plain = f.op(f"{_DIVISIONS[op]} {kind} {old}, {safe}")
        opposite = "0" if modulo else f.op(f"sub {kind} 0, {old}")
        value = f.op(f"select i1 {minus}, {kind} {opposite}, {kind} {plain}")
    return f.op(f"select i1 {zero}, {kind} {old if modulo else '0'}, {kind} {value}")


def negate(f: Function, i: Negate) -> None:
    """Change the sign."""
    _write(f, i.dst, f.op(f"sub i{i.bits} 0, {_read(f, i.dst, i.bits)}"), i.bits)


def extend(f: Function, i: Extend) -> None:
    """Sign-extend the low bits."""
    low = f.op(f"trunc i64 {f.get(i.src)} to i{i.width}")
    _write(f, i.dst, f.op(f"sext i{i.width} {low} to i{i.bits}"), i.bits)


def swap(f: Function, i: Swap) -> None:
    """Swap or cut off bytes."""
    value = f.get(i.dst)
    swaps = i.kind is SwapKind.BSWAP or (i.kind is SwapKind.BE) is LITTLE
    if i.width == 64:
        f.put(i.dst, f.op(f"call i64 @llvm.bswap.i64(i64 {value})") if swaps else value)
        return
    kind = f"i{i.width}"
    low = f.op(f"trunc i64 {value} to {kind}")
    if swaps:
        low = f.op(f"call {kind} @llvm.bswap.{kind}({kind} {low})")
    f.put(i.dst, f.op(f"zext {kind} {low} to i64"))


def condition(f: Function, i: Branch) -> str:
    """Return a branch's condition as an i1."""
    kind = f"i{i.bits}"
    a, b = _read(f, i.dst, i.bits), _read(f, i.src, i.bits)
    if i.op is BranchOp.SET:
        return f.op(f"icmp ne {kind} {f.op(f'and {kind} {a}, {b}')}, 0")
    return f.op(f"icmp {_COMPARISONS[i.op]} {kind} {a}, {b}")
