# SPDX-License-Identifier: Apache-2.0
"""Instructions in the older syntax of ubpf, rbpf and the bpf_conformance suite: ``ldxw r0, [r1+4]``."""

from __future__ import annotations

from typing import assert_never

from prestocloud_sec.bpf.isa import (
    ALWAYS_FETCH,
    AddressSpaceCast,
    Alu,
    Atomic,
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
    SwapKind,
)
from prestocloud_sec.bpf.syntax import SIZE_SUFFIXES, displacement
from prestocloud_sec.bpf.words import signed

__all__ = ["write"]


def _operand(src: Reg | Imm) -> str:
    return str(src.value) if isinstance(src, Imm) else f"r{src}"


def _cell(base: Reg, offset: int) -> str:
    return f"[r{base}{displacement(offset) if offset else ''}]"


def _half(bits: int) -> str:
    return "" if bits == 64 else "32"


def write(instruction: Instruction, target: str | None, name: str | None) -> str:
    """Return an instruction as text; see `prestocloud_sec.bpf.disassembler.instruction_text`."""
    match instruction:
        case Alu(op, bits, dst, src):
            return f"{op}{_half(bits)} r{dst}, {_operand(src)}"
        case Negate(bits, dst):
            return f"neg{_half(bits)} r{dst}"
        case Extend(bits, dst, src, width):
            return f"movsx{width}{bits} r{dst}, r{src}"
        case Swap(kind, width, dst):
            return f"{'swap' if kind is SwapKind.BSWAP else kind}{width} r{dst}"
        case AddressSpaceCast(dst, src, to, source):
            return f"addr_space_cast r{dst}, r{src}, {to}, {source}"
        case Load(size, signed, dst, base, offset):
            return f"ldx{'s' if signed else ''}{SIZE_SUFFIXES[size]} r{dst}, {_cell(base, offset)}"
        case Store(size, base, offset, src):
            name = "st" if isinstance(src, Imm) else "stx"
            return f"{name}{SIZE_SUFFIXES[size]} {_cell(base, offset)}, {_operand(src)}"
        case Atomic(op, fetch, size, base, offset, src):
            name = f"lock {'fetch ' if fetch and op not in ALWAYS_FETCH else ''}{op}{_half(size * 8)}"
            return f"{name} {_cell(base, offset)}, r{src}"
        case LoadAcquire(size, dst, base, offset):
            return f"ldacq{SIZE_SUFFIXES[size]} r{dst}, {_cell(base, offset)}"
        case StoreRelease(size, base, offset, src):
            return f"strel{SIZE_SUFFIXES[size]} {_cell(base, offset)}, r{src}"
        case LoadImm64():
            return _immediate(instruction, target, name)
        case LegacyLoad(size, indirect, src, imm):
            return f"ld{'ind' if indirect else 'abs'}{SIZE_SUFFIXES[size]} {f'r{src}, ' if indirect else ''}{imm}"
        case Jump(offset, wide):
            return f"{'ja32' if wide else 'ja'} {target or displacement(offset)}"
        case Branch(op, bits, dst, src, offset):
            return f"{op}{_half(bits)} r{dst}, {_operand(src)}, {target or displacement(offset)}"
        case MayGoto(offset):
            return f"may_goto {target or displacement(offset)}"
        case CallHelper(number):
            return f"call {number}"
        case CallLocal(offset):
            return f"call local {target or displacement(offset)}"
        case CallKfunc(number, off):
            return f"call runtime {name or number}" + (f", {off}" if off else "")
        case CallRegister(register, encoding):
            return f"call r{register}" + (", imm" if encoding == "imm" else "")
        case Exit():
            return "exit"
        case _:
            assert_never(instruction)


def _immediate(instruction: LoadImm64, target: str | None, name: str | None) -> str:
    value, second = instruction.value, instruction.second
    match instruction.kind:
        case ImmKind.INTEGER:
            right = str(signed(value))
        case ImmKind.MAP_FD:
            right = f"map {name or value}"
        case ImmKind.MAP_VALUE_FD:
            right = f"map_value {name or value}, {second}"
        case ImmKind.MAP_INDEX:
            right = f"map_index {value}"
        case ImmKind.MAP_VALUE_INDEX:
            right = f"map_index_value {value}, {second}"
        case ImmKind.BTF_VARIABLE:
            right = f"btf {value}, {second}" if second else f"btf {value}"
        case ImmKind.FUNCTION:
            right = f"function {target or displacement(value)}"
        case _:
            assert_never(instruction.kind)
    return f"lddw r{instruction.dst}, {right}"
