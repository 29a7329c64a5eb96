# SPDX-License-Identifier: Apache-2.0
"""Instructions as the kernel's log writes them (Linux 6.18, ``kernel/bpf/disasm.c``).

Two things differ: maps have the name that the program gives them instead of an address, and kernel functions that are
called by name have no number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestocloud_sec.bpf.helpers.prototypes import prototype
from prestocloud_sec.bpf.isa import (
    Alu,
    AluOp,
    Atomic,
    AtomicOp,
    Branch,
    CallHelper,
    CallKfunc,
    CallLocal,
    Exit,
    Extend,
    Imm,
    ImmKind,
    Instruction,
    Jump,
    LegacyLoad,
    Load,
    LoadAcquire,
    LoadImm64,
    MayGoto,
    Negate,
    Store,
    StoreRelease,
    Swap,
    SwapKind,
)
from prestocloud_sec.bpf.syntax import ALU_SIGNS, ATOMIC_SIGNS, BRANCH_SIGNS, TYPES
from prestocloud_sec.bpf.verifier.tnum import U32

if TYPE_CHECKING:
    from prestocloud_sec.bpf.program import Program

__all__ = ["instruction_text", "touched"]

_SWAPS = {SwapKind.LE: "le", SwapKind.BE: "be", SwapKind.BSWAP: "bswap"}


def instruction_text(program: Program, index: int, kfunc_name: str = "") -> str:
    r"""Return an instruction as the kernel's log has it: its opcode, and what it does.

    Parameters
    ----------
    program : Program
    index : int
    kfunc_name : str
        The kernel function that it calls, where the program has only its number.

    Examples
    --------
    >>> from prestocloud_sec.bpf import assemble
    >>> instruction_text(assemble("if r0 > 10 goto +0\nexit"), 0)
    '(25) if r0 > 0xa goto pc+0'
    """
    opcode, i = program.to_bytes()[8 * program.slot_of(index)], program.instructions[index]
    if isinstance(i, CallKfunc):
        return f"({opcode:02x}) {_kfunc_call(i, kfunc_name or program.symbols.kfuncs.get(index, ''))}"
    return f"({opcode:02x}) {_body(program, index, i)}"


def _kfunc_call(i: CallKfunc, name: str) -> str:
    if not name:
        return "call kernel-function"
    return f"call {name}#{i.id}" if i.id else f"call {name}"


def _letter(bits: int) -> str:
    return "w" if bits == 32 else "r"


def _at(size: int, base: int, offset: int, sign: str = "u") -> str:
    return f"*({sign}{TYPES[size][1:]} *)(r{base} {offset:+d})"


def _source(source: int | Imm, bits: int = 64) -> str:
    return str(source.value) if isinstance(source, Imm) else f"{_letter(bits)}{source}"


def _body(program: Program, index: int, i: Instruction) -> str:
    match i:
        case Alu(op, bits, dst, src):
            return f"{_letter(bits)}{dst} {ALU_SIGNS[op]} {_source(src, bits)}"
        case Negate(bits, dst):
            return f"{_letter(bits)}{dst} = -{_letter(bits)}{dst}"
        case Extend(bits, dst, src, width):
            return f"{_letter(bits)}{dst} = (s{width}){_letter(bits)}{src}"
        case Swap(kind, width, dst):
            return f"r{dst} = {_SWAPS[kind]}{width} r{dst}"
        case Load(size, signed, dst, base, offset):
            return f"r{dst} = {_at(size, base, offset, 's' if signed else 'u')}"
        case LoadAcquire(size, dst, base, offset):
            return f"r{dst} = load_acquire(({TYPES[size]} *)(r{base} {offset:+d}))"
        case Store(size, base, offset, src):
            return f"{_at(size, base, offset)} = {_source(src)}"
        case StoreRelease(size, base, offset, src):
            return f"store_release(({TYPES[size]} *)(r{base} {offset:+d}), r{src})"
        case Atomic():
            return _atomic(i)
        case LoadImm64():
            return f"r{i.dst} = {_loaded(program, index, i)}"
        case LegacyLoad(size, indirect, src, imm):
            return f"r0 = *({TYPES[size]} *)skb[{f'r{src} + ' if indirect else ''}{imm}]"
        case _:
            return _control(i)


def _control(i: Instruction) -> str:
    match i:
        case Jump(offset, wide):
            return f"goto{'l' if wide else ''} pc{offset:+d}"
        case MayGoto(offset):
            return f"may_goto pc{offset:+d}"
        case Branch(op, bits, dst, src, offset):
            right = hex(src.value & U32) if isinstance(src, Imm) else f"{_letter(bits)}{src}"
            return f"if {_letter(bits)}{dst} {BRANCH_SIGNS[op]} {right} goto pc{offset:+d}"
        case CallHelper(number):
            row = prototype(number)
            return f"call {f'bpf_{row.name}' if row is not None else 'unknown'}#{number}"
        case CallLocal(offset):
            return f"call pc{offset:+d}"
        case Exit():
            return "exit"
        case _:
            return str(i)


def _atomic(i: Atomic) -> str:
    place, wide = f"({TYPES[i.size]} *)(r{i.base} {i.offset:+d})", "64" if i.size == 8 else ""
    if i.op is AtomicOp.CMPXCHG:
        return f"r0 = atomic{wide}_cmpxchg({place}, r0, r{i.src})"
    if i.op is AtomicOp.XCHG:
        return f"r{i.src} = atomic{wide}_xchg({place}, r{i.src})"
    if i.fetch:
        return f"r{i.src} = atomic{wide}_fetch_{i.op}({place}, r{i.src})"
    return f"lock *{place} {ATOMIC_SIGNS[i.op]} r{i.src}"


def _loaded(program: Program, index: int, i: LoadImm64) -> str:
    if i.kind in (ImmKind.INTEGER, ImmKind.FUNCTION):
        return hex(i.value)
    name = program.symbols.maps.get(index) or str(i.value)
    return f"map[{name}]" + (f"+{i.second}" if i.kind in (ImmKind.MAP_VALUE_FD, ImmKind.MAP_VALUE_INDEX) else "")


def touched(i: Instruction) -> frozenset[int]:
    """Return the registers that an instruction reads or writes: the ones that the log tells of behind it."""
    match i:
        case Alu(op, _, dst, src):
            found = {dst, src} if op is not AluOp.MOV or type(src) is int else {dst}
        case Branch(_, _, dst, src) | Extend(_, dst, src):
            found = {dst, src}
        case Negate(_, dst) | Swap(_, _, dst) | LoadImm64(dst):
            found = {dst}
        case Load(_, _, dst, base) | LoadAcquire(_, dst, base):
            found = {dst, base}
        case Store(_, base, _, src) | StoreRelease(_, base, _, src):
            found = {base, src}
        case Atomic(op, _, _, base, _, src):
            found = {base, src, 0} if op is AtomicOp.CMPXCHG else {base, src}
        case CallHelper() | CallKfunc() | CallLocal():
            found = {0, 1, 2, 3, 4, 5}
        case LegacyLoad(_, indirect, src):
            found = {0, 6, src} if indirect else {0, 6}
        case _:
            found = set()
    return frozenset(register for register in found if type(register) is int)
