# SPDX-License-Identifier: Apache-2.0
"""The opcode table of classic BPF: one row for each encoding, from which decoding and encoding are both derived.

A row says which attribute of the instruction each of the fields jt, jf and k carries, or that it carries none. The rows
are exactly the opcodes that Linux accepts (Linux 6.18, ``net/core/filter.c``, ``chk_code_allowed``; their bits,
``include/uapi/linux/bpf_common.h``); no other bit of the 16 is tolerated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from prestocloud_sec.bpf.classic.instructions import (
    Alu,
    Branch,
    ClassicInstruction,
    Condition,
    Copy,
    Jump,
    LoadConstant,
    LoadHeaderLength,
    LoadLength,
    LoadMemory,
    LoadPacket,
    Negate,
    Operation,
    Register,
    Return,
    Store,
)

__all__ = ["ROWS", "Row"]


@dataclass(frozen=True, slots=True)
class Row:
    """One encoding of one instruction.

    Attributes
    ----------
    code : int
        The opcode, 16 bits.
    make : type
        The class of the instruction.
    fixed : mapping
        The attributes that the opcode implies.
    jt, jf, k : str or None
        The attribute that the field carries.
    """

    code: int
    make: type[ClassicInstruction]
    fixed: Mapping[str, object] = field(default_factory=dict)
    jt: str | None = None
    jf: str | None = None
    k: str | None = None


_LD, _LDX, _ST, _STX, _ALU, _JMP, _RET, _MISC = range(8)
_IMM, _ABS, _IND, _MEM, _LEN, _MSH = 0x00, 0x20, 0x40, 0x60, 0x80, 0xA0
_SIZES = {4: 0x00, 2: 0x08, 1: 0x10}
_X, _A = 0x08, 0x10
_TO_A = 0x80
_OPERATIONS = {
    Operation.ADD: 0x00,
    Operation.SUB: 0x10,
    Operation.MUL: 0x20,
    Operation.DIV: 0x30,
    Operation.OR: 0x40,
    Operation.AND: 0x50,
    Operation.LSH: 0x60,
    Operation.RSH: 0x70,
    Operation.MOD: 0x90,
    Operation.XOR: 0xA0,
}
_NEG = 0x80
_CONDITIONS = {Condition.EQ: 0x10, Condition.GT: 0x20, Condition.GE: 0x30, Condition.SET: 0x40}


def _rows() -> Iterator[Row]:
    for size, bits in _SIZES.items():
        for indirect, mode in ((False, _ABS), (True, _IND)):
            yield Row(_LD | mode | bits, LoadPacket, {"size": size, "indirect": indirect}, k="offset")
    for register, load, store in ((Register.A, _LD, _ST), (Register.X, _LDX, _STX)):
        fixed = {"register": register}
        yield Row(load | _IMM, LoadConstant, fixed, k="value")
        yield Row(load | _LEN, LoadLength, fixed)
        yield Row(load | _MEM, LoadMemory, fixed, k="index")
        yield Row(store, Store, fixed, k="index")
    yield Row(_LDX | _MSH | _SIZES[1], LoadHeaderLength, k="offset")
    for op, bits in _OPERATIONS.items():
        yield Row(_ALU | bits, Alu, {"op": op}, k="operand")
        yield Row(_ALU | bits | _X, Alu, {"op": op, "operand": Register.X})
    yield Row(_ALU | _NEG, Negate)
    yield Row(_JMP, Jump, k="distance")
    for condition, bits in _CONDITIONS.items():
        yield Row(_JMP | bits, Branch, {"op": condition}, jt="jt", jf="jf", k="operand")
        yield Row(_JMP | bits | _X, Branch, {"op": condition, "operand": Register.X}, jt="jt", jf="jf")
    yield Row(_RET, Return, k="value")
    yield Row(_RET | _A, Return, {"value": Register.A})
    yield Row(_MISC, Copy, {"to": Register.X})
    yield Row(_MISC | _TO_A, Copy, {"to": Register.A})


ROWS: tuple[Row, ...] = tuple(_rows())
"""All rows."""
