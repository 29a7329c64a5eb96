# SPDX-License-Identifier: Apache-2.0
"""How each instruction of bpf_asm's syntax is read: a table from its first word to the function for the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from prestocloud_sec.bpf.assembler.text import suggestion
from prestocloud_sec.bpf.classic.ancillary import SPELLINGS
from prestocloud_sec.bpf.classic.codec import decode_fields
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
from prestocloud_sec.bpf.classic.text import Reader, Token
from prestocloud_sec.bpf.errors import ClassicError

__all__ = ["MNEMONICS", "RESERVED", "Statement", "Target"]

_U8, _U32 = 0xFF, 0xFFFF_FFFF
_LENGTHS = frozenset({"len", "pktlen"})
RESERVED = frozenset({"a", "x", "m"})
"""Words that stand for registers and memory, in small letters, so that no label can have them."""

Resolve = Callable[["Target", int], int]
Statement = ClassicInstruction | Callable[[Resolve], ClassicInstruction]
"""An instruction, or what makes it once all labels are known."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a jump leads: so many instructions on, or to a label."""

    token: Token
    distance: int | None


_HERE = Target(Token("end", "", 0, 0), 0)


# --- Operands.


def _x(reader: Reader) -> bool:
    """Read the index register if it comes next."""
    return reader.accept("x") or reader.accept("%", "x")


def _packet(reader: Reader, size: int) -> LoadPacket:
    """Read what stands in brackets: an offset, or X and one."""
    reader.expect("[")
    indirect = _x(reader)
    offset = 0
    if not indirect or reader.peek().text != "]":
        if indirect and reader.peek().text not in {"+", "-"}:
            raise reader.unexpected("'+'")
        reader.accept("+")
        offset = reader.number()
    reader.expect("]")
    return LoadPacket(size, indirect, offset)


def _word(reader: Reader) -> str | None:
    """Return the word that comes next, with or without a ``#`` before it, in small letters."""
    token = reader.peek(1) if reader.peek().text == "#" else reader.peek()
    return token.text.lower() if token.kind == "word" else None


def _take_word(reader: Reader) -> str:
    reader.accept("#")
    return reader.take().text.lower()


def _memory(reader: Reader) -> int:
    reader.expect("m", expected="M[0]..M[15]")
    reader.expect("[")
    index = reader.number(0)
    reader.expect("]")
    return index


def _constant_or_x(reader: Reader) -> int | Register:
    if _x(reader):
        return Register.X
    reader.expect("#", expected="#number or x")
    return reader.number()


def _target(reader: Reader, most: int) -> Target:
    token = reader.peek()
    if reader.accept("+"):
        return Target(token, reader.number(0, most))
    if token.kind != "word" or token.text.lower() in RESERVED:
        named = token.kind == "word"
        raise reader.unexpected(
            "a label, or +N" + (" (a, x and m are registers and memory, not labels)" if named else "")
        )
    return Target(reader.take(), None)


# --- Instructions, by the word they begin with.

Parse = Callable[[Reader], Statement]


def _load(size: int) -> Parse:
    def parse(reader: Reader) -> Statement:
        word = _word(reader)
        if word is None and reader.peek().text == "[":
            return _packet(reader, size)
        if word in SPELLINGS:
            return LoadPacket(size, False, SPELLINGS[_take_word(reader)].offset)
        if size == 4:
            return _load_word(reader, word)
        raise reader.unexpected("[offset], [x + offset] or the name of ancillary data", _near(word))

    return parse


def _load_word(reader: Reader, word: str | None) -> Statement:
    if word in _LENGTHS:
        _take_word(reader)
        return LoadLength(Register.A)
    if word == "m" and reader.peek().kind == "word":
        return LoadMemory(Register.A, _memory(reader))
    if reader.peek().text == "#" and word is None:
        reader.take()
        return LoadConstant(Register.A, reader.number())
    raise reader.unexpected("[offset], #number, #len, M[index] or the name of ancillary data", _near(word))


def _near(word: str | None) -> str | None:
    return None if word is None else suggestion(word, [*SPELLINGS, *_LENGTHS])


def _load_constant(register: Register) -> Parse:
    def parse(reader: Reader) -> Statement:
        reader.accept("#")
        return LoadConstant(register, reader.number())

    return parse


def _load_index(reader: Reader) -> Statement:
    word = _word(reader)
    if word in _LENGTHS:
        _take_word(reader)
        return LoadLength(Register.X)
    if word == "m" and reader.peek().kind == "word":
        return LoadMemory(Register.X, _memory(reader))
    if word == "msh":
        reader.take()
        reader.expect("[")
        offset = reader.number()
        reader.expect("]")
        return LoadHeaderLength(offset)
    if reader.peek().kind == "number":
        return _header_length(reader)
    if reader.accept("#"):
        return LoadConstant(Register.X, reader.number())
    raise reader.unexpected("#number, #len, M[index] or 4*([offset]&0xf)")


def _header_length(reader: Reader) -> Statement:
    """Read ``4*([offset]&0xf)``."""
    start = reader.peek().start
    factor = reader.number()
    reader.expect("*", "(", "[")
    offset = reader.number()
    reader.expect("]", "&")
    mask = reader.number()
    reader.expect(")")
    if (factor, mask) != (4, 15):
        raise reader.error(start, f"{factor}*(...&{mask}) cannot be computed", expected="4*([offset]&0xf)")
    return LoadHeaderLength(offset)


def _store(register: Register) -> Parse:
    return lambda reader: Store(register, _memory(reader))


def _alu(op: Operation) -> Parse:
    return lambda reader: Alu(op, _constant_or_x(reader))


def _jump(reader: Reader) -> Statement:
    target = _target(reader, _U32)
    return lambda resolve: Jump(resolve(target, _U32))


def _branch(op: Condition) -> Parse:
    """Return the reader of a comparison with one label, or two: of the second, where it does not hold."""

    def parse(reader: Reader) -> Statement:
        operand = _constant_or_x(reader)
        reader.expect(",")
        taken = _target(reader, _U8)
        other = _target(reader, _U8) if reader.accept(",") else _HERE
        return lambda resolve: Branch(op, operand, resolve(taken, _U8), resolve(other, _U8))

    return parse


def _inverted(op: Condition) -> Parse:
    """Return the reader of the opposite of a comparison, which has one label."""

    def parse(reader: Reader) -> Statement:
        operand = _constant_or_x(reader)
        reader.expect(",")
        other = _target(reader, _U8)
        return lambda resolve: Branch(op, operand, 0, resolve(other, _U8))

    return parse


def _return(reader: Reader) -> Statement:
    if reader.accept("a") or reader.accept("%", "a"):
        return Return(Register.A)
    if reader.peek().text in {"x", "X", "%"}:
        raise reader.unexpected("#number or a", "the kernel has no ret x; txa copies X to A")
    reader.expect("#", expected="#number or a")
    return Return(reader.number())


def _raw(reader: Reader) -> Statement:
    """Read the four fields of an instruction."""
    start = reader.peek().start
    code = reader.number(0, 0xFFFF)
    values = []
    for most in (_U8, _U8, _U32):
        reader.expect(",")
        values.append(reader.number(0, most))
    try:
        return decode_fields((code, values[0], values[1], values[2]))
    except ClassicError as error:
        raise reader.error(start, error.what, expected=error.expected) from error


MNEMONICS: dict[str, Parse] = {
    "ld": _load(4),
    "ldh": _load(2),
    "ldb": _load(1),
    "ldi": _load_constant(Register.A),
    "ldx": _load_index,
    "ldxi": _load_constant(Register.X),
    "ldxb": _header_length,
    "st": _store(Register.A),
    "stx": _store(Register.X),
    **{op.value: _alu(op) for op in Operation},
    "neg": lambda _: Negate(),
    "jmp": _jump,
    "ja": _jump,
    **{op.value: _branch(op) for op in Condition},
    "jne": _inverted(Condition.EQ),
    "jneq": _inverted(Condition.EQ),
    "jle": _inverted(Condition.GT),
    "jlt": _inverted(Condition.GE),
    "ret": _return,
    "tax": lambda _: Copy(Register.X),
    "txa": lambda _: Copy(Register.A),
    ".insn": _raw,
}
"""What reads the rest of an instruction, by its first word."""
