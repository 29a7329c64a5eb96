# SPDX-License-Identifier: Apache-2.0
"""The words and signs of a declaration in C, with their places, and errors that name these."""

from __future__ import annotations

import re
from typing import NamedTuple

from prestocloud_sec.bpf.errors import DeclarationError
from prestocloud_sec.bpf.object.words import TAKEN
from prestocloud_sec.wire import shown

__all__ = ["Token", "Tokens"]

_TOKEN = re.compile(
    r"(?P<space>\s+|/\*.*?\*/|//[^\n]*)|(?P<word>[A-Za-z_]\w*)|(?P<number>\d\w*)|(?P<sign>\.\.\.|[^\w\s])|(?P<other>.)",
    re.ASCII | re.DOTALL,
)
_LONGEST_TEXT = 1 << 16
_LONGEST_NAME = 511
"""Characters of a name that Linux takes."""


class Token(NamedTuple):
    """A word, number or sign (or the end), its text, and where it begins."""

    kind: str
    text: str
    start: int


class Tokens:
    """The words and signs of a text, read from left to right.

    Parameters
    ----------
    text : str
    slot : int or None
        The slot of the function that it declares, for errors.

    Raises
    ------
    DeclarationError
        If the text is too long.
    """

    def __init__(self, text: str, slot: int | None) -> None:
        self._text = text
        self._slot = slot
        if len(text) > _LONGEST_TEXT:
            raise self.error(0, f"{len(text)} characters", expected=f"{_LONGEST_TEXT} at most")
        self._all = [
            Token(str(found.lastgroup), found.group(), found.start())
            for found in _TOKEN.finditer(text)  # every character is in some token
            if found.lastgroup != "space"
        ]
        self._all.append(Token("end", "", len(text)))
        self._at = 0

    def peek(self) -> Token:
        """Return what comes next, and stay before it."""
        return self._all[self._at]

    def take(self) -> Token:
        """Return what comes next, and go behind it; the end stays."""
        token = self._all[self._at]
        self._at = min(self._at + 1, len(self._all) - 1)
        return token

    def accept(self, text: str) -> bool:
        """Take what comes next if it is this, and tell whether it is."""
        found = self.peek().text == text
        if found:
            self.take()
        return found

    def expect(self, text: str, expected: str | None = None) -> None:
        """Take what comes next, which has to be this."""
        if not self.accept(text):
            raise self.unexpected(expected or repr(text))

    def name(self, expected: str) -> Token:
        """Take a name that means nothing else."""
        token = self.peek()
        if token.kind != "word" or token.text in TAKEN:
            raise self.unexpected(expected)
        if len(token.text) > _LONGEST_NAME:
            raise self.error(token.start, "the name is too long", expected=f"{_LONGEST_NAME} characters at most")
        return self.take()

    def error(self, at: int, what: str, *, expected: str | None = None, hint: str | None = None) -> DeclarationError:
        """Return an error about a place in the text."""
        line = self._text.count("\n", 0, at) + 1 if "\n" in self._text else None
        column = at - self._text.rfind("\n", 0, at)
        return DeclarationError(what, slot=self._slot, line=line, column=column, expected=expected, hint=hint)

    def unexpected(self, expected: str, hint: str | None = None) -> DeclarationError:
        """Return an error about what comes next."""
        token = self.peek()
        what = "the declaration ends" if token.kind == "end" else f"unexpected {shown(token.text)}"
        return self.error(token.start, what, expected=expected, hint=hint)
