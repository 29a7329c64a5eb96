# SPDX-License-Identifier: Apache-2.0
"""The opcode table: one row for each encoding, from which decoding and encoding are both derived.

A slot is ``opcode:8 dst:4 src:4 off:16 imm:32``, little-endian (RFC 9669, section 3.1). A row says for each of the four
fields either which attribute of the instruction it carries, or which constant it must hold; a constant 0 is a reserved
field. Several rows may share an opcode: they differ in a constant, as ``div`` and ``sdiv`` do in ``off``. The second
slot of a 64-bit load is part of its row.

Sources: RFC 9669, sections 4 and 5, and its appendix A; Linux 6.18, ``kernel/bpf/verifier.c`` and
``include/uapi/linux/bpf.h`` for what is newer (address space casts, ``may_goto``, load-acquire, store-release).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from prestocloud_sec.bpf.isa.instructions import (
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
)
from prestocloud_sec.bpf.isa.operands import ALWAYS_FETCH, AluOp, AtomicOp, BranchOp, ImmKind, SwapKind

__all__ = ["OPERAND", "ROWS", "Carries", "Kind", "Row"]


class Kind(Enum):
    """How a field of the wire becomes an attribute's value."""

    REGISTER = auto()
    """A register number, 0..10; larger ones are refused."""
    SIGNED = auto()
    """A signed integer as wide as the field."""
    UNSIGNED = auto()
    """An unsigned integer as wide as the field."""
    OPERAND = auto()
    """A signed immediate operand, wrapped as `Imm`."""
    LOW = auto()
    """The low 32 bits of the attribute."""
    HIGH = auto()
    """The high 32 bits of the attribute."""


@dataclass(frozen=True, slots=True)
class Carries:
    """A field of the wire that holds an attribute of the instruction."""

    attribute: str
    kind: Kind


Field = Carries | int


@dataclass(frozen=True, slots=True)
class Row:
    """One encoding of one instruction.

    Attributes
    ----------
    opcode : int
        The first byte.
    make : type
        The class of the instruction.
    fixed : mapping
        The attributes that the encoding implies.
    dst, src, off, imm : Carries or int
        What each field carries, or the constant it holds.
    next_imm : Carries or int or None
        ``imm`` of the second slot, whose other fields are 0; None for one-slot instructions.
    """

    opcode: int
    make: type[Instruction]
    fixed: Mapping[str, object] = field(default_factory=dict)
    dst: Field = 0
    src: Field = 0
    off: Field = 0
    imm: Field = 0
    next_imm: Field | None = None


_DST = Carries("dst", Kind.REGISTER)
_SRC = Carries("src", Kind.REGISTER)
_BASE = Carries("base", Kind.REGISTER)
_OFFSET = Carries("offset", Kind.SIGNED)
OPERAND = Carries("src", Kind.OPERAND)

# Classes, source bit, sizes and modes: RFC 9669, sections 3.2, 4.1 and 5.1.
_LD, _LDX, _ST, _STX, _ALU, _JMP, _JMP32, _ALU64 = range(8)
_REGISTER_SOURCE = 0x08
_SIZES = {4: 0x00, 2: 0x08, 1: 0x10, 8: 0x18}
_IMM, _ABS, _IND, _MEM, _MEMSX, _ATOMIC = 0x00, 0x20, 0x40, 0x60, 0x80, 0xC0

# Operation codes with the value of `off` where it tells two operations apart: RFC 9669, section 4.1.
_ALU_CODES: dict[AluOp, tuple[int, int]] = {
    AluOp.ADD: (0x00, 0),
    AluOp.SUB: (0x10, 0),
    AluOp.MUL: (0x20, 0),
    AluOp.DIV: (0x30, 0),
    AluOp.SDIV: (0x30, 1),
    AluOp.OR: (0x40, 0),
    AluOp.AND: (0x50, 0),
    AluOp.LSH: (0x60, 0),
    AluOp.RSH: (0x70, 0),
    AluOp.MOD: (0x90, 0),
    AluOp.SMOD: (0x90, 1),
    AluOp.XOR: (0xA0, 0),
    AluOp.MOV: (0xB0, 0),
    AluOp.ARSH: (0xC0, 0),
}
_NEG, _MOVE, _END = 0x80, 0xB0, 0xD0
_CAST_OFF = 1

# RFC 9669, section 4.3.
_BRANCH_CODES: dict[BranchOp, int] = {
    BranchOp.EQ: 0x10,
    BranchOp.GT: 0x20,
    BranchOp.GE: 0x30,
    BranchOp.SET: 0x40,
    BranchOp.NE: 0x50,
    BranchOp.SGT: 0x60,
    BranchOp.SGE: 0x70,
    BranchOp.LT: 0xA0,
    BranchOp.LE: 0xB0,
    BranchOp.SLT: 0xC0,
    BranchOp.SLE: 0xD0,
}
_JA, _CALL, _EXIT, _JCOND = 0x00, 0x80, 0x90, 0xE0

# RFC 9669, section 5.3; the last two since Linux 6.15.
_ATOMIC_CODES: dict[AtomicOp, int] = {
    AtomicOp.ADD: 0x00,
    AtomicOp.OR: 0x40,
    AtomicOp.AND: 0x50,
    AtomicOp.XOR: 0xA0,
    AtomicOp.XCHG: 0xE0,
    AtomicOp.CMPXCHG: 0xF0,
}
_FETCH = 0x01
_LOAD_ACQUIRE, _STORE_RELEASE = 0x100, 0x110


def _alu_rows() -> Iterator[Row]:
    for bits, group in ((32, _ALU), (64, _ALU64)):
        for op, (code, off) in _ALU_CODES.items():
            fixed = {"op": op, "bits": bits}
            yield Row(group | code, Alu, fixed, dst=_DST, off=off, imm=OPERAND)
            yield Row(group | code | _REGISTER_SOURCE, Alu, fixed, dst=_DST, src=_SRC, off=off)
        yield Row(group | _NEG, Negate, {"bits": bits}, dst=_DST)
        for width in (8, 16, 32)[: bits // 32 + 1]:
            fixed = {"bits": bits, "width": width}
            yield Row(group | _MOVE | _REGISTER_SOURCE, Extend, fixed, dst=_DST, src=_SRC, off=width)
    for target, source in ((0, 1), (1, 0)):
        fixed = {"target": target, "source": source}
        imm = target << 16 | source
        yield Row(
            _ALU64 | _MOVE | _REGISTER_SOURCE, AddressSpaceCast, fixed, dst=_DST, src=_SRC, off=_CAST_OFF, imm=imm
        )


def _swap_rows() -> Iterator[Row]:
    opcodes = {
        SwapKind.LE: _ALU | _END,
        SwapKind.BE: _ALU | _END | _REGISTER_SOURCE,
        SwapKind.BSWAP: _ALU64 | _END,
    }
    for kind, opcode in opcodes.items():
        for width in (16, 32, 64):
            yield Row(opcode, Swap, {"kind": kind, "width": width}, dst=_DST, imm=width)


def _memory_rows() -> Iterator[Row]:
    for size, bits in _SIZES.items():
        for signed, mode in ((False, _MEM), (True, _MEMSX)):
            if not (signed and size == 8):
                fixed = {"size": size, "signed": signed}
                yield Row(_LDX | mode | bits, Load, fixed, dst=_DST, src=_BASE, off=_OFFSET)
        yield Row(_ST | _MEM | bits, Store, {"size": size}, dst=_BASE, off=_OFFSET, imm=OPERAND)
        yield Row(_STX | _MEM | bits, Store, {"size": size}, dst=_BASE, src=_SRC, off=_OFFSET)


def _atomic_rows() -> Iterator[Row]:
    for size, bits in _SIZES.items():
        opcode = _STX | _ATOMIC | bits
        if size >= 4:
            for op, code in _ATOMIC_CODES.items():
                for fetch in (True,) if op in ALWAYS_FETCH else (False, True):
                    fixed = {"op": op, "fetch": fetch, "size": size}
                    imm = code | _FETCH if fetch else code
                    yield Row(opcode, Atomic, fixed, dst=_BASE, src=_SRC, off=_OFFSET, imm=imm)
        yield Row(opcode, LoadAcquire, {"size": size}, dst=_DST, src=_BASE, off=_OFFSET, imm=_LOAD_ACQUIRE)
        yield Row(opcode, StoreRelease, {"size": size}, dst=_BASE, src=_SRC, off=_OFFSET, imm=_STORE_RELEASE)


def _immediate_rows() -> Iterator[Row]:
    opcode = _LD | _IMM | _SIZES[8]
    for kind in ImmKind:
        fixed: dict[str, object] = {"kind": kind}
        imm, next_imm = Carries("value", Kind.SIGNED), Carries("second", Kind.UNSIGNED)
        if kind is ImmKind.INTEGER:
            fixed["second"] = 0
            imm, next_imm = Carries("value", Kind.LOW), Carries("value", Kind.HIGH)
        elif kind in {ImmKind.MAP_FD, ImmKind.MAP_INDEX, ImmKind.FUNCTION}:
            fixed["second"] = 0
            yield Row(opcode, LoadImm64, fixed, dst=_DST, src=kind.value, imm=imm, next_imm=0)
            continue
        yield Row(opcode, LoadImm64, fixed, dst=_DST, src=kind.value, imm=imm, next_imm=next_imm)


def _legacy_rows() -> Iterator[Row]:
    imm = Carries("imm", Kind.SIGNED)
    for size in (4, 2, 1):
        opcode = _LD | _SIZES[size]
        yield Row(opcode | _ABS, LegacyLoad, {"size": size, "indirect": False, "src": 0}, imm=imm)
        yield Row(opcode | _IND, LegacyLoad, {"size": size, "indirect": True}, src=_SRC, imm=imm)


def _jump_rows() -> Iterator[Row]:
    yield Row(_JMP | _JA, Jump, {"wide": False}, off=_OFFSET)
    yield Row(_JMP32 | _JA, Jump, {"wide": True}, imm=_OFFSET)
    for bits, group in ((64, _JMP), (32, _JMP32)):
        for op, code in _BRANCH_CODES.items():
            fixed = {"op": op, "bits": bits}
            yield Row(group | code, Branch, fixed, dst=_DST, off=_OFFSET, imm=OPERAND)
            yield Row(group | code | _REGISTER_SOURCE, Branch, fixed, dst=_DST, src=_SRC, off=_OFFSET)
    yield Row(_JMP | _JCOND, MayGoto, off=_OFFSET)
    yield Row(_JMP | _EXIT, Exit)


def _call_rows() -> Iterator[Row]:
    opcode = _JMP | _CALL
    yield Row(opcode, CallHelper, src=0, imm=Carries("number", Kind.SIGNED))
    yield Row(opcode, CallLocal, src=1, imm=_OFFSET)
    yield Row(opcode, CallKfunc, src=2, off=Carries("off", Kind.SIGNED), imm=Carries("id", Kind.SIGNED))
    # Not in Linux; GCC, LLVM since version 19 and bpf_conformance name the register in `dst`, older LLVM in `imm`.
    register = Carries("register", Kind.REGISTER)
    yield Row(opcode | _REGISTER_SOURCE, CallRegister, {"encoding": "dst"}, dst=register)
    yield Row(opcode | _REGISTER_SOURCE, CallRegister, {"encoding": "imm"}, imm=register)


ROWS: tuple[Row, ...] = (
    *_alu_rows(),
    *_swap_rows(),
    *_memory_rows(),
    *_atomic_rows(),
    *_immediate_rows(),
    *_legacy_rows(),
    *_jump_rows(),
    *_call_rows(),
)
"""Every encoding; where two fit the same bytes (``callx r0``), the earlier one counts."""
