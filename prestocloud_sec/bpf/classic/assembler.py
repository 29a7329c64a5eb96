# SPDX-License-Identifier: Apache-2.0
"""Text to classic programs, in the syntax of bpf_asm.

Source: Linux ``Documentation/networking/filter.rst``, "BPF engine and instruction set", and what ``tools/bpf/bpf_asm``
takes: capital letters are as good as small ones but in labels. Besides, a jump may lead ``+N`` instructions on, and
``.insn code, jt, jf, k`` gives the four fields of an instruction that no other text would give.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from prestocloud_sec.bpf.assembler.text import shown, suggestion
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
from prestocloud_sec.bpf.classic.program import ClassicProgram
from prestocloud_sec.bpf.classic.text import Reader, Token
from prestocloud_sec.bpf.errors import BpfMisuseError, ClassicError

__all__ = ["MNEMONICS", "assemble"]

_U8, _U32 = 0xFF, 0xFFFF_FFFF
_LENGTHS = frozenset({"len", "pktlen"})
_RESERVED = frozenset({"a", "x", "m"})

Resolve = Callable[["_Target", int], int]
Statement = ClassicInstruction | Callable[[Resolve], ClassicInstruction]
"""An instruction, or what makes it once all labels are known."""


@dataclass(frozen=True, slots=True)
class _Target:
    """Where a jump leads: so many instructions on, or to a label."""

    token: Token
    distance: int | None


_HERE = _Target(Token("end", "", 0, 0), 0)


def assemble(text: str) -> ClassicProgram:
    """Assemble a classic program.

    Parameters
    ----------
    text : str
        Instructions; comments begin with ``;`` or stand between ``/*`` and ``*/``; a label is a name and a colon.

    Returns
    -------
    ClassicProgram
        Whether the kernel would take it is not judged; see `ClassicProgram.check`.

    Raises
    ------
    AssemblyError
        If something is no instruction, a number does not fit, a label is not defined or out of reach; it has the line
        and column.
    BpfMisuseError
        If `text` is no str.

    Examples
    --------
    >>> program = assemble('''
    ...     ldh [12]              ; EtherType
    ...     jne #0x800, drop
    ...     ret #-1
    ... drop:
    ...     ret #0
    ... ''')
    >>> program.to_bytes().hex(" ", 8)
    '280000000c000000 1500000100080000 06000000ffffffff 0600000000000000'
    >>> assemble("ldh [12")
    Traceback (most recent call last):
    ...
    prestocloud_sec.bpf.errors.AssemblyError: line 1, column 8: the line ends; expected ']'
    """
    if not isinstance(text, str):
        raise BpfMisuseError(f"{type(text).__name__} is no text", where="assemble", expected="a str")
    return ClassicProgram(_Draft(Reader(text)).read())


@dataclass
class _Draft:
    """The program as far as it is read."""

    reader: Reader
    statements: list[Statement] = field(default_factory=list)
    labels: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Each label's instruction, and the position in the text."""

    def read(self) -> list[ClassicInstruction]:
        """Read everything."""
        reader = self.reader
        while reader.peek().kind != "end":
            token = reader.peek()
            reader.begun = token.start
            if token.kind == "word" and reader.peek(1).text == ":":
                self.label()
                continue
            parse = MNEMONICS.get(token.text.lower())
            if parse is None:
                near = suggestion(token.text.lower(), MNEMONICS) if token.kind == "word" else None
                raise reader.unexpected("an instruction, such as ldh [12]", near)
            reader.take()
            self.statements.append(parse(reader))
        return [self.finish(index, statement) for index, statement in enumerate(self.statements)]

    def label(self) -> None:
        """Read a name and a colon."""
        token = self.reader.take()
        self.reader.take()
        if token.text.lower() in _RESERVED or token.text.startswith("."):
            raise self.reader.error(token.start, f"{shown(token.text)} cannot be a label", expected="another name")
        if token.text in self.labels:
            line, _ = self.reader.place(self.labels[token.text][1])
            raise self.reader.error(
                token.start,
                f"{shown(token.text)} is already defined",
                expected="a name of its own",
                hint=f"line {line} defines it",
            )
        self.labels[token.text] = (len(self.statements), token.start)

    def finish(self, index: int, statement: Statement) -> ClassicInstruction:
        """Return an instruction with its distances filled in."""
        if not callable(statement):
            return statement

        def resolve(target: _Target, most: int) -> int:
            return self.distance(index, target, most)

        return statement(resolve)

    def distance(self, index: int, target: _Target, most: int) -> int:
        """Return how many instructions are between a jump and its target."""
        if target.distance is not None:
            return target.distance
        token, name = target.token, target.token.text
        if name not in self.labels:
            hint = suggestion(name, self.labels) or "a name and a colon before an instruction define it"
            raise self.reader.error(token.start, f"there is no label {shown(name)}", hint=hint)
        found = self.labels[name][0] - index - 1
        if found < 0:
            raise self.reader.error(
                token.start, f"{shown(name)} is behind", expected="a label further on", hint="jumps only lead forwards"
            )
        if found > most:
            raise self.reader.error(
                token.start,
                f"{shown(name)} is {found} instructions away",
                expected=f"up to {most}",
                hint="jmp reaches further; a conditional jump can lead to one",
            )
        return found


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


def _target(reader: Reader, most: int) -> _Target:
    token = reader.peek()
    if reader.accept("+"):
        return _Target(token, reader.number(0, most))
    if token.kind != "word" or token.text.lower() in _RESERVED:
        raise reader.unexpected("a label, or +N")
    return _Target(reader.take(), None)


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
