# SPDX-License-Identifier: Apache-2.0
"""Lines to a program: labels are noted while lines are read, names become numbers when all are."""

from __future__ import annotations

from collections.abc import Callable

from prestocloud_sec.bpf.assembler import kernel, mnemonic
from prestocloud_sec.bpf.assembler.statement import Named, Reference, Statement, unknown_place
from prestocloud_sec.bpf.assembler.text import Cursor, cursors, shown, suggestion
from prestocloud_sec.bpf.isa import Exit, Instruction
from prestocloud_sec.bpf.program import Symbols

__all__ = ["link"]

_IGNORED_DIRECTIVES = frozenset(
    {
        ".text",
        ".globl",
        ".global",
        ".p2align",
        ".align",
        ".type",
        ".size",
        ".file",
        ".ident",
        ".addrsig",
        ".addrsig_sym",
    }
)
"""What clang writes around the code of one section, and what changes no byte of it; besides ``.cfi_...``."""


def link(text: str, syntax: str) -> tuple[list[Instruction], Symbols]:
    """Assemble the text of a program.

    Raises
    ------
    AssemblyError
        With line and column.
    """
    draft = _Draft(_PARSERS[syntax])
    for line in cursors(text):
        draft.read(line)
    return draft.finish()


def _either(line: Cursor) -> Statement:
    if kernel.starts(line):
        return kernel.parse(line)
    if mnemonic.starts(line):
        return mnemonic.parse(line)
    word = line.next
    raise line.error(
        word,
        expected="an instruction, such as r0 = 1 or mov r0, 1",
        hint=suggestion(word.text, (*kernel.FIRST_WORDS, *mnemonic.MNEMONICS)) if word.kind == "word" else None,
    )


def _kernel(line: Cursor) -> Statement:
    if mnemonic.starts(line) and not kernel.starts(line):
        raise line.error(line.next, expected="the kernel syntax", hint="this is a line of the mnemonic syntax")
    return kernel.parse(line)


def _mnemonic(line: Cursor) -> Statement:
    if kernel.starts(line) and not mnemonic.starts(line):
        raise line.error(line.next, expected="the mnemonic syntax", hint="this is a line of the kernel syntax")
    return mnemonic.parse(line)


_PARSERS: dict[str, Callable[[Cursor], Statement]] = {"auto": _either, "kernel": _kernel, "mnemonic": _mnemonic}


class _Draft:
    """Statements and labels as they are read; slots are known, targets are not."""

    def __init__(self, parse: Callable[[Cursor], Statement]) -> None:
        self._parse = parse
        self._statements: list[Statement] = []
        self._slots: list[int] = []
        self._end = 0
        self._labels: dict[str, int] = {}
        self._lines: dict[str, int] = {}
        self._called: set[str] = set()
        self._maps: dict[int, str] = {}
        self._map_numbers: dict[str, int] = {}

    def read(self, line: Cursor) -> None:
        """Read a line: labels, then an instruction or nothing; or a directive that changes nothing."""
        while line.peek(1) == ":" and line.next.kind == "word":
            self._label(line)
        if line.done or self._directive(line):
            return
        statement = self._parse(line)
        self._statements.append(statement)
        self._slots.append(self._end)
        self._end += statement.slots

    def _label(self, line: Cursor) -> None:
        token = line.symbol("a name, as labels are")
        line.take()
        if token.text in self._labels:
            raise line.error(
                token,
                f"{shown(token.text)} is already defined",
                expected="a name of its own",
                hint=f"line {self._lines[token.text]} defines it",
            )
        self._labels[token.text] = self._end
        self._lines[token.text] = line.line

    def _directive(self, line: Cursor) -> bool:
        word = line.next.text
        if not word.startswith("."):
            return False
        if word not in _IGNORED_DIRECTIVES and not word.startswith(".cfi_"):
            raise line.error(
                line.next,
                f"the directive {shown(word)} is not known",
                hint="a program is one section of code; an object file with several is read by another tool",
            )
        return True

    def finish(self) -> tuple[list[Instruction], Symbols]:
        """Give every name its number."""
        self._define_exit()
        instructions = [
            self._resolve(index, statement) if isinstance(statement, Named) else statement
            for index, statement in enumerate(self._statements)
        ]
        functions = {name: slot for name, slot in self._labels.items() if name in self._called}
        labels = {name: slot for name, slot in self._labels.items() if name not in self._called}
        return instructions, Symbols(labels, functions, self._maps)

    def _define_exit(self) -> None:
        """Let the name ``exit``, used but not defined, stand for the first exit, as in bpf_conformance."""
        used = any(isinstance(s, Named) and s.name.text == "exit" for s in self._statements)
        if used and "exit" not in self._labels:
            for slot, statement in zip(self._slots, self._statements, strict=True):
                if isinstance(statement, Exit):
                    self._labels["exit"] = slot
                    return

    def _resolve(self, index: int, named: Named) -> Instruction:
        name = named.name.text
        if named.refers is Reference.MAP:
            self._maps[index] = name
            return named.build(self._map_numbers.setdefault(name, len(self._map_numbers)))
        if name not in self._labels:
            raise unknown_place(named, list(self._labels))
        if named.refers is Reference.FUNCTION:
            self._called.add(name)
        return named.build(self._labels[name] - self._slots[index] - 1)
