# SPDX-License-Identifier: Apache-2.0
"""Classic programs to text, in the syntax of bpf_asm that `prestocloud_sec.bpf.classic.assembler` reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from prestocloud_sec.bpf.classic.ancillary import NAMES
from prestocloud_sec.bpf.classic.codec import fields_of
from prestocloud_sec.bpf.classic.instructions import (
    NOTHING,
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
    Register,
    Return,
    Store,
)
from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.wire import shown

if TYPE_CHECKING:
    from prestocloud_sec.bpf.classic.program import ClassicProgram

__all__ = ["disassemble", "instruction_text"]

_LOADS = {4: "ld", 2: "ldh", 1: "ldb"}
_OF_REGISTER = {Register.A: ("ld", "st"), Register.X: ("ldx", "stx")}
_OPPOSITES = {Condition.EQ: "jne", Condition.GT: "jle", Condition.GE: "jlt"}
_LARGE = 0x8000_0000

Place = Callable[[int], str]
"""Writes where a jump leads, from its distance."""


def _relative(distance: int) -> str:
    return f"+{distance}"


def _operand(operand: int | Register) -> str:
    return operand.value if isinstance(operand, Register) else f"#{operand:#x}"


def _offset(offset: int) -> str:
    return str(offset) if offset < _LARGE else f"{offset:#x}"


def _load_packet(i: LoadPacket, _place: Place) -> str:
    which = i.ancillary
    if which in NAMES:
        return f"{_LOADS[i.size]} {NAMES[which]}"
    return f"{_LOADS[i.size]} [{'x + ' if i.indirect else ''}{_offset(i.offset)}]"


def _branch(i: Branch, place: Place) -> str:
    if i.jf and not i.jt and i.op in _OPPOSITES:
        return f"{_OPPOSITES[i.op]} {_operand(i.operand)}, {place(i.jf)}"
    other = f", {place(i.jf)}" if i.jf else ""
    return f"{i.op} {_operand(i.operand)}, {place(i.jt)}{other}"


_TEXTS: dict[type, Callable[[Any, Place], str]] = {
    LoadPacket: _load_packet,
    LoadConstant: lambda i, _: f"{_OF_REGISTER[i.register][0]} #{i.value:#x}",
    LoadLength: lambda i, _: f"{_OF_REGISTER[i.register][0]} #len",
    LoadMemory: lambda i, _: f"{_OF_REGISTER[i.register][0]} M[{i.index}]",
    LoadHeaderLength: lambda i, _: f"ldxb 4*([{_offset(i.offset)}]&0xf)",
    Store: lambda i, _: f"{_OF_REGISTER[i.register][1]} M[{i.index}]",
    Alu: lambda i, _: f"{i.op} {_operand(i.operand)}",
    Negate: lambda _i, _: "neg",
    Jump: lambda i, place: f"jmp {place(i.distance)}",
    Branch: _branch,
    Return: lambda i, _: f"ret {_operand(i.value)}",
    Copy: lambda i, _: "tax" if i.to is Register.X else "txa",
}


def instruction_text(instruction: ClassicInstruction, place: Place = _relative) -> str:
    """Return an instruction as text; where it jumps to is written by `place`.

    Raises
    ------
    BpfMisuseError
        If it is no instruction.

    Examples
    --------
    >>> instruction_text(Branch(Condition.EQ, 6, 0, 3))
    'jne #0x6, +3'
    """
    write = _TEXTS.get(type(instruction))
    if write is None:
        raise BpfMisuseError(f"{shown(instruction)} is no instruction", expected="a classic instruction")
    text = write(instruction, place)
    if instruction.unused == NOTHING:
        return text
    code, jt, jf, k = fields_of(instruction)
    return f".insn {code:#x}, {jt}, {jf}, {k:#x}  ; {text}"


def disassemble(program: ClassicProgram) -> str:
    """Return a program as text that assembles to the same bytes.

    Raises
    ------
    BpfMisuseError
        If it is no program.

    Examples
    --------
    >>> from prestocloud_sec.bpf.classic import ClassicProgram
    >>> print(disassemble(ClassicProgram.from_ddd("4,40 0 0 12,21 0 1 2048,6 0 0 65535,6 0 0 0")))
        ldh [12]
        jne #0x800, L3
        ret #0xffff
    L3:
        ret #0x0
    """
    from prestocloud_sec.bpf.classic.program import ClassicProgram

    if not isinstance(program, ClassicProgram):
        raise BpfMisuseError(f"{shown(program)} is no program", where="disassemble", expected="a ClassicProgram")
    count = len(program)
    labels: set[int] = set()
    lines = []
    for index, instruction in enumerate(program):

        def place(distance: int, at: int = index + 1) -> str:
            target = at + distance
            if target >= count:
                return _relative(distance)
            labels.add(target)
            return f"L{target}"

        lines.append(instruction_text(instruction, place))
    return "\n".join(
        line
        for index, text in enumerate(lines)
        for line in ([f"L{index}:"] if index in labels else []) + [f"    {text}"]
    )
