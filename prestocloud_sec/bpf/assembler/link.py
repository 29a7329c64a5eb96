# SPDX-License-Identifier: Apache-2.0
"""Lines to instructions: which syntax a line is of, labels, and the directives that clang writes around code."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prestocloud_sec.bpf.assembler import kernel, mnemonic
from prestocloud_sec.bpf.assembler.text import Cursor, cursors, shown, suggestion
from prestocloud_sec.bpf.isa import Instruction
from prestocloud_sec.bpf.linking import Draft, Statement
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


def link(text: str, syntax: str) -> tuple[Sequence[Instruction], Symbols]:
    """Assemble the text of a program.

    Raises
    ------
    AssemblyError
        With line and column.
    """
    reader = _Reader(_PARSERS[syntax])
    for line in cursors(text):
        reader.read(line)
    reader.draft.define_exit()
    return reader.draft.finish()


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


class _Reader:
    """Puts lines into a draft."""

    def __init__(self, parse: Callable[[Cursor], Statement]) -> None:
        self.draft = Draft()
        self._parse = parse
        self._defined: dict[str, int] = {}

    def read(self, line: Cursor) -> None:
        """Read a line: labels, then an instruction or nothing; or a directive that changes nothing."""
        while line.peek(1) == ":" and line.next.kind == "word":
            self._label(line)
        if not line.done and not _directive(line):
            self.draft.add(self._parse(line))

    def _label(self, line: Cursor) -> None:
        token = line.symbol("a name, as labels are")
        line.take()
        if token.text in self._defined:
            raise line.error(
                token,
                f"{shown(token.text)} is already defined",
                expected="a name of its own",
                hint=f"line {self._defined[token.text]} defines it",
            )
        self._defined[token.text] = line.line
        self.draft.label(token.text)


def _directive(line: Cursor) -> bool:
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
