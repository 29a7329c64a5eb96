# SPDX-License-Identifier: Apache-2.0
"""What both syntaxes have in common: where jumps lead, calls, and names that wait for their numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

from prestocloud_sec.bpf.assembler.text import Cursor, Token, shown, suggestion
from prestocloud_sec.bpf.errors import AssemblyError
from prestocloud_sec.bpf.helpers.ids import KfuncId
from prestocloud_sec.bpf.isa import CallHelper, CallKfunc, CallLocal, CallRegister, Exit, Instruction, MayGoto
from prestocloud_sec.bpf.linking import Named, Reference, Statement

__all__ = ["call", "call_register", "exit_", "jump", "may_goto", "named", "to_place"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _NamedInText(Named):
    """A name with its place in the text."""

    token: Token
    line: Cursor

    def _error(self, what: str, *, expected: str | None = None, hint: str | None = None) -> AssemblyError:
        return self.line.error(self.token, what, expected=expected, hint=hint)

    def too_far(self, number: int, expected: str | None) -> AssemblyError:
        """Make the error for a place that the instruction cannot reach."""
        hint = "gotol (ja32) reaches further; a conditional jump can lead to one"
        return self._error(f"{shown(self.name)} is {number} slots away", expected=expected, hint=hint)

    def unknown(self, known: Iterable[str]) -> AssemblyError:
        """Make the error for a name that nothing defines."""
        kind = "function" if self.refers is Reference.FUNCTION else "label"
        hint = suggestion(self.name, known) or "a name and a colon before an instruction define it"
        return self._error(f"there is no {kind} {shown(self.name)}", hint=hint)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Called(_NamedInText):
    """A name that is called: a function of the program, or, where there is none of that name, a helper."""

    def instead(self) -> Instruction | None:
        """Return the call of the helper with this name."""
        number = _helpers().get(self.name)
        return None if number is None else CallHelper(number)

    def unknown(self, known: Iterable[str]) -> AssemblyError:
        """Make the error for a name that is neither."""
        hint = f"write call kfunc {self.name}" if _is_kfunc(self.name) else None
        hint = hint or suggestion(self.name, (*known, *_helpers()))
        return self._error(
            f"there is no function {shown(self.name)}",
            expected="a function of the program, or a helper, as a number or bpf_...",
            hint=hint or "a name and a colon before an instruction define a function",
        )


@cache
def _helpers() -> dict[str, int]:
    """Return the numbers of the kernel's helpers by their names in C."""
    from prestocloud_sec.bpf.helpers.prototypes import by_name

    return {f"bpf_{name}": row.number for name, row in by_name().items()}


def _is_kfunc(name: str) -> bool:
    """Whether a kernel function that is known here has this name."""
    return name.upper() in KfuncId.__members__ and name.islower()


def named(
    line: Cursor, token: Token, refers: Reference, make: Callable[[int], Instruction], *, slots: int = 1
) -> Statement:
    """Return an instruction that refers to the name in `token`."""
    return _NamedInText(make, refers, token.text, slots, token=token, line=line)


def to_place(
    line: Cursor, make: Callable[[int], Instruction], bits: int, refers: Reference = Reference.PLACE, slots: int = 1
) -> Statement:
    """Read where a jump or call leads: ``+3``, ``-2``, ``pc+3`` or a name."""
    if line.next.text in {"+", "-"} or (line.next.text == "pc" and line.peek(1) in {"+", "-"}):
        line.accept("pc")
        return make(line.signed(bits))
    if line.next.kind == "number":
        raise line.error(line.next, expected="+N, -N or a label", hint="jumps count from the next instruction")
    return named(line, line.symbol("+N, -N or a label"), refers, make, slots=slots)


def may_goto(line: Cursor) -> Statement:
    """Read what follows ``may_goto``."""
    return to_place(line, MayGoto, 16)


def exit_(_line: Cursor) -> Statement:
    """Read what follows ``exit``: nothing."""
    return Exit()


_CALL_WORDS = ("local", "helper", "runtime", "kfunc")


def call(line: Cursor) -> Statement:
    """Read what follows ``call``, in the forms of either syntax.

    ``call 7``, ``call helper 7``, ``call name#7``: a helper, or the kernel function of that name. ``call pc+3``, ``call
    name``, ``call local name``: a function of the program. ``call bpf_redirect``: a helper of the kernel, where no
    function has that name. ``call kfunc bpf_iter_num_new``, ``call runtime bpf_iter_num_new``: a kernel function.
    ``call kfunc 7``, ``call runtime 7``, with ``, 2`` for an index of BTF descriptors: one by its number. ``call r3``,
    ``call helper r3``: what a register holds.
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
        if line.next.kind == "word":
            return named(line, line.symbol("the name or number of a kernel function"), Reference.KFUNC, CallKfunc)
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
        if _is_kfunc(name):  # as a kernel's log has it; the number is one of that kernel's
            return _NamedInText(CallKfunc, Reference.KFUNC, name, token=word, line=line)
        return CallHelper(int(number_text))
    token = line.symbol("the number of a helper, or the name of a function")
    return _Called(CallLocal, Reference.FUNCTION, token.text, token=token, line=line)


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
