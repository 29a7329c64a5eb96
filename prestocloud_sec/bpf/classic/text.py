# SPDX-License-Identifier: Apache-2.0
"""Tokens of bpf_asm's syntax, each with its place. Lines mean nothing there but the end of a comment."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from prestocloud_sec.bpf.assembler.text import shown
from prestocloud_sec.bpf.errors import AssemblyError

__all__ = ["Reader", "Token"]

_TOKEN = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<comment>;[^\n]*|/\*.*?\*/|^\#[^\n]*)
  | (?P<number>(?:0[xX][0-9A-Fa-f]+|0[bB][01]+|[0-9]+)(?![A-Za-z0-9_]))
  | (?P<sign>[][():,#%+*&-])
  | (?P<word>\.?[A-Za-z_][A-Za-z0-9_.]*)
  | (?P<other>/\*|[0-9A-Za-z_.]+|.)
    """,
    re.VERBOSE | re.ASCII | re.DOTALL | re.MULTILINE,
)
_LONGEST_NUMBER = 40
_LOW, _HIGH = -(1 << 31), (1 << 32) - 1
_OCTAL = re.compile(r"0[0-7]+", re.ASCII)


class Token(NamedTuple):
    """One word, number or sign, and where in the text it begins and ends."""

    kind: str
    text: str
    start: int
    end: int


class Reader:
    """The tokens of a text, read from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._scanned = self._scan()
        self._ahead: list[Token] = []
        self._last = 0
        """Where the last token that was read ends."""
        self.begun = 0
        """Where the instruction begins that is being read."""

    def _scan(self) -> Iterator[Token]:
        for found in _TOKEN.finditer(self._text):  # every character begins some token
            kind = str(found.lastgroup)
            if kind not in {"space", "comment"}:
                yield Token(kind, found.group(), found.start(), found.end())

    def peek(self, ahead: int = 0) -> Token:
        """Return the next token, or one after it, without reading it; of kind ``end`` behind the last."""
        while len(self._ahead) <= ahead:
            end = len(self._text)
            self._ahead.append(next(self._scanned, None) or Token("end", "", end, end))
        return self._ahead[ahead]

    def take(self) -> Token:
        """Read a token."""
        token = self.peek()
        del self._ahead[0]
        self._last = token.end
        return token

    def accept(self, *texts: str) -> bool:
        """Read these tokens, which are given in small letters, if exactly they come next."""
        if any(self.peek(ahead).text.lower() != text for ahead, text in enumerate(texts)):
            return False
        for _ in texts:
            self.take()
        return True

    def expect(self, *texts: str, expected: str | None = None) -> None:
        """Read tokens that must be these."""
        for text in texts:
            if not self.accept(text):
                raise self.unexpected(expected or repr(text))

    def place(self, at: int) -> tuple[int, int]:
        """Return line and column of a position, both from 1."""
        return self._text.count("\n", 0, at) + 1, at - self._text.rfind("\n", 0, at)

    def error(self, at: int, what: str, *, expected: str | None = None, hint: str | None = None) -> AssemblyError:
        """Make the error for a position."""
        line, column = self.place(at)
        return AssemblyError(what, line=line, column=column, expected=expected, hint=hint)

    def unexpected(self, expected: str, hint: str | None = None) -> AssemblyError:
        """Make the error for the next token, which is not what is `expected`.

        Where it stands on a later line than the instruction, the line's end is what is wrong.
        """
        token = self.peek()
        if token.text == "/*":
            return self.error(token.start, "the comment does not end", expected="'*/'")
        if token.kind == "end" or "\n" in self._text[self.begun : token.start]:
            return self.error(self._last, "the line ends", expected=expected, hint=hint)
        return self.error(token.start, f"unexpected {shown(token.text)}", expected=expected, hint=hint)

    def number(self, low: int = _LOW, high: int = _HIGH) -> int:
        """Read a number with an optional sign: decimal, 0x hexadecimal, 0b binary, 0 octal; negative ones wrap.

        Returns
        -------
        int
            Its low 32 bits.
        """
        start = self.peek().start
        minus = self.accept("-")
        if not minus:
            self.accept("+")
        if self.peek().kind != "number":
            raise self.unexpected("a number")
        text = self.take().text
        value = self._value(text, start)
        value = -value if minus else value
        if not low <= value <= high:
            raise self.error(start, f"{shown(('-' if minus else '') + text)} does not fit", expected=f"{low}..{high}")
        return value & _HIGH

    def _value(self, text: str, start: int) -> int:
        if len(text) > _LONGEST_NUMBER:
            raise self.error(start, f"{shown(text)} is too large", expected="32 bits")
        base = {"x": 16, "b": 2}.get(text[1:2].lower())
        if base is not None:
            return int(text[2:], base)
        if text[0] != "0" or len(text) == 1:
            return int(text)
        if not _OCTAL.fullmatch(text):
            raise self.error(start, f"{shown(text)} is no number", expected="digits 0..7", hint="0 begins an octal one")
        return int(text, 8)
