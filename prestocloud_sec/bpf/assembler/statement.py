# SPDX-License-Identifier: Apache-2.0
"""What one line says, and how the names in it become numbers once all lines are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from prestocloud_sec.bpf.assembler.text import Cursor, Token, shown, suggestion
from prestocloud_sec.bpf.errors import AssemblyError, BpfMisuseError
from prestocloud_sec.bpf.isa import CallHelper, CallKfunc, CallLocal, CallRegister, Exit, Instruction, MayGoto

__all__ = [
    "Named",
    "Reference",
    "Statement",
    "call",
    "call_register",
    "exit_",
    "jump",
    "may_goto",
    "to_place",
    "unknown_place",
]


class Reference(Enum):
    """What a name stands for."""

    PLACE = auto()
    """Where a jump leads: its offset in slots."""
    FUNCTION = auto()
    """The start of a local function: its offset in slots."""
    MAP = auto()
    """A map: its position among the names of maps."""


@dataclass(frozen=True, slots=True)
class Named:
    """An instruction that lacks a number, to be had from a name.

    Attributes
    ----------
    make : callable
        Takes the number, returns the instruction.
    refers : Reference
        What the number counts.
    name : Token
        The name, with its place.
    line : Cursor
        The line, for errors.
    slots : int
        Slots that the instruction takes.
    """

    make: Callable[[int], Instruction]
    refers: Reference
    name: Token
    line: Cursor
    slots: int = 1

    def build(self, number: int) -> Instruction:
        """Return the instruction.

        Raises
        ------
        AssemblyError
            If the number does not fit.
        """
        try:
            return self.make(number)
        except BpfMisuseError as error:
            raise self.line.error(
                self.name,
                f"{shown(self.name.text)} is {number} slots away",
                expected=error.expected,
                hint="gotol (ja32) reaches further; a conditional jump can lead to one",
            ) from error


Statement = Instruction | Named


def to_place(
    line: Cursor, make: Callable[[int], Instruction], bits: int, refers: Reference = Reference.PLACE, slots: int = 1
) -> Statement:
    """Read where a jump or call leads: ``+3``, ``-2``, ``pc+3`` or a name."""
    if line.next.text in {"+", "-"} or (line.next.text == "pc" and line.peek(1) in {"+", "-"}):
        line.accept("pc")
        return make(line.signed(bits))
    if line.next.kind == "number":
        raise line.error(line.next, expected="+N, -N or a label", hint="jumps count from the next instruction")
    name = line.symbol("+N, -N or a label")
    return Named(make, refers, name, line, slots)


def may_goto(line: Cursor) -> Statement:
    """Read what follows ``may_goto``."""
    return to_place(line, MayGoto, 16)


def exit_(_line: Cursor) -> Statement:
    """Read what follows ``exit``: nothing."""
    return Exit()


_CALL_WORDS = ("local", "helper", "runtime", "kfunc")


def call(line: Cursor) -> Statement:
    """Read what follows ``call``, in the forms of either syntax.

    ``call 7``, ``call helper 7``, ``call name#7``: a helper. ``call pc+3``, ``call name``, ``call local name``: a
    function of the program. ``call kfunc 7``, ``call runtime 7``, with ``, 2`` for an index of BTF descriptors: a
    kernel function. ``call r3``, ``call helper r3``: what a register holds.
    """
    line.accept("%")
    if line.at_register():
        return call_register(line)
    word, following = line.next, line.peek(1)
    if word.text == "local" and following:
        line.take()
        return to_place(line, CallLocal, 32, Reference.FUNCTION)
    if word.text in {"runtime", "kfunc"} and following:
        line.take()
        number = line.signed(32)
        return CallKfunc(number, line.signed(16) if line.accept(",") else 0)
    if word.text == "helper" and following:
        line.take()
        line.accept("%")
        return call_register(line) if line.at_register() else CallHelper(line.signed(32))
    if word.kind == "number" or (word.text == "-" and line.peek(2) == ""):
        return CallHelper(line.signed(32))
    if word.text == "pc" and following in {"+", "-"}:
        return to_place(line, CallLocal, 32, Reference.FUNCTION)
    name, hash_, number_text = word.text.partition("#")
    if hash_:
        line.take()
        if len(number_text) > 9:
            raise line.error(word, f"there is no helper {name}", expected="a number of 32 bits")
        return CallHelper(int(number_text))
    name_token = line.symbol("the number of a helper, or the name of a function")
    return Named(CallLocal, Reference.FUNCTION, name_token, line)


def call_register(line: Cursor) -> Statement:
    """Read the register of a ``callx``, and with ``, imm`` where the bytes keep it."""
    token, register, _ = line.register("r")
    if not line.accept(","):
        return CallRegister(register)
    line.expect("imm")
    if register == 0:
        raise line.error(token, "r0 is the same in both encodings", expected="callx r0")
    return CallRegister(register, "imm")


def jump(make: Callable[[int], Instruction], bits: int) -> Callable[[Cursor], Statement]:
    """Return the reader of a jump whose offset has this many bits."""
    return lambda line: to_place(line, make, bits)


def unknown_place(named: Named, known: list[str]) -> AssemblyError:
    """Make the error for a name that nothing defines."""
    kind = "function" if named.refers is Reference.FUNCTION else "label"
    hint = suggestion(named.name.text, known) or "a name and a colon before an instruction define it"
    return named.line.error(named.name, f"there is no {kind} {shown(named.name.text)}", hint=hint)
