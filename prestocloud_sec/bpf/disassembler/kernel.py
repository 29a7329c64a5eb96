# SPDX-License-Identifier: Apache-2.0
"""Instructions as clang, llvm-objdump and bpftool print them: ``r0 = *(u32 *)(r1 + 4)``."""

from __future__ import annotations

from typing import assert_never

from prestocloud_sec.bpf.isa import (
    AddressSpaceCast,
    Alu,
    Atomic,
    AtomicOp,
    Branch,
    CallHelper,
    CallKfunc,
    CallLocal,
    CallRegister,
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
    Reg,
    Store,
    StoreRelease,
    Swap,
)
from prestocloud_sec.bpf.syntax import ALU_SIGNS, ATOMIC_SIGNS, BRANCH_SIGNS, SIGNED_TYPES, TYPES, displacement
from prestocloud_sec.bpf.words import signed

__all__ = ["write"]


def _letter(bits: int) -> str:
    return "r" if bits == 64 else "w"


def _at(base: Reg, offset: int) -> str:
    return f"r{base} {displacement(offset, ' ')}"


def _operand(src: Reg | Imm, bits: int) -> str:
    return str(src.value) if isinstance(src, Imm) else f"{_letter(bits)}{src}"


def write(instruction: Instruction, target: str | None, name: str | None) -> str:
    """Return an instruction as text; see `prestocloud_sec.bpf.disassembler.instruction_text`."""
    match instruction:
        case Alu(op, bits, dst, src):
            return f"{_letter(bits)}{dst} {ALU_SIGNS[op]} {_operand(src, bits)}"
        case Negate(bits, dst):
            return f"{_letter(bits)}{dst} = -{_letter(bits)}{dst}"
        case Extend(bits, dst, src, width):
            return f"{_letter(bits)}{dst} = (s{width}){_letter(bits)}{src}"
        case Swap(kind, width, dst):
            return f"r{dst} = {kind}{width} r{dst}"
        case AddressSpaceCast(dst, src, to, source):
            return f"r{dst} = addr_space_cast(r{src}, {to}, {source})"
        case Load(size, signed, dst, base, offset):
            return f"r{dst} = *({(SIGNED_TYPES if signed else TYPES)[size]} *)({_at(base, offset)})"
        case Store(size, base, offset, src):
            return f"*({TYPES[size]} *)({_at(base, offset)}) = {_operand(src, 64)}"
        case Atomic():
            return _atomic(instruction)
        case LoadAcquire(size, dst, base, offset):
            return f"{_letter(size * 8)}{dst} = load_acquire(({TYPES[size]} *)({_at(base, offset)}))"
        case StoreRelease(size, base, offset, src):
            return f"store_release(({TYPES[size]} *)({_at(base, offset)}), {_letter(size * 8)}{src})"
        case LoadImm64():
            return _immediate(instruction, target, name)
        case LegacyLoad(size, indirect, src, imm):
            register = f"r{src} {displacement(imm, ' ')}" if imm else f"r{src}"
            return f"r0 = *({TYPES[size]} *)skb[{register if indirect else imm}]"
        case Jump(offset, wide):
            return f"{'gotol' if wide else 'goto'} {target or displacement(offset)}"
        case Branch(op, bits, dst, src, offset):
            condition = f"{_letter(bits)}{dst} {BRANCH_SIGNS[op]} {_operand(src, bits)}"
            return f"if {condition} goto {target or displacement(offset)}"
        case MayGoto(offset):
            return f"may_goto {target or displacement(offset)}"
        case CallHelper(number):
            return f"call {number}"
        case CallLocal(offset):
            return f"call {target or 'pc' + displacement(offset)}"
        case CallKfunc(number, off):
            return f"call kfunc {name or number}" + (f", {off}" if off else "")
        case CallRegister(register, encoding):
            return f"callx r{register}" + (", imm" if encoding == "imm" else "")
        case Exit():
            return "exit"
        case _:
            assert_never(instruction)


def _atomic(instruction: Atomic) -> str:
    op, size, letter = instruction.op, instruction.size, _letter(instruction.size * 8)
    at, src = _at(instruction.base, instruction.offset), f"{letter}{instruction.src}"
    width = "_64" if size == 8 else "32_32"
    if op is AtomicOp.XCHG:
        return f"{src} = xchg{width}({at}, {src})"
    if op is AtomicOp.CMPXCHG:
        return f"{letter}0 = cmpxchg{width}({at}, {letter}0, {src})"
    if instruction.fetch:
        return f"{src} = atomic_fetch_{op}(({TYPES[size]} *)({at}), {src})"
    return f"lock *({TYPES[size]} *)({at}) {ATOMIC_SIGNS[op]} {src}"


def _immediate(instruction: LoadImm64, target: str | None, name: str | None) -> str:
    value, second = instruction.value, instruction.second
    match instruction.kind:
        case ImmKind.INTEGER:
            right = f"{signed(value)} ll"
        case ImmKind.MAP_FD:
            right = f"map[{name or f'id:{value}'}]"
        case ImmKind.MAP_VALUE_FD:
            right = f"map[{name or f'id:{value}'}][0]+{second}"
        case ImmKind.MAP_INDEX:
            right = f"map[idx:{value}]"
        case ImmKind.MAP_VALUE_INDEX:
            right = f"map[idx:{value}][0]+{second}"
        case ImmKind.BTF_VARIABLE:
            right = f"btf[id:{value}, fd:{second}]" if second else f"btf[id:{value}]"
        case ImmKind.FUNCTION:
            right = f"{target} ll" if target else f"subprog[{displacement(value)}]"
        case _:
            assert_never(instruction.kind)
    return f"r{instruction.dst} = {right}"
