# SPDX-License-Identifier: Apache-2.0
"""Lines and tokens: where the text of a program turns into words with a place."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from prestocloud_sec.bpf.errors import AssemblyError
from prestocloud_sec.bpf.isa import REGISTERS, Imm
from prestocloud_sec.bpf.syntax import WORD

__all__ = ["Cursor", "Token", "cursors", "shown", "suggestion"]

_TOKEN = re.compile(
    rf"""
    (?P<space>[ \t\r\f\v]+)
  | (?P<comment>;.*|\#.*|//.*)
  | (?P<number>0[xX][0-9A-Fa-f]+|[0-9]+)(?![A-Za-z0-9_])
  | (?P<sign>s(?:>>=|/=|%=|<=|>=|<|>) | <<=|>>=|[-+*/%|&^=!<>]= | [-+*/%|&^=<>()\[\],:%])
  | (?P<word>{WORD})
  | (?P<other>[0-9][A-Za-z0-9_.]*|.)
    """,
    re.VERBOSE | re.ASCII,
)
_HELPER_NUMBER = re.compile(r"\#[0-9]+", re.ASCII)
_DUMP_PREFIX = re.compile(r"[ \t]*[0-9]+:[ \t]*\((?P<opcode>[0-9a-f]{2})\)", re.ASCII)
_LONGEST_NUMBER = 24
_LONGEST_SHOWN = 40
_MOST_COMPARED = 500


def suggestion(word: str, known: Iterable[str]) -> str | None:
    """Return a hint that names the nearest of the known words, if one is near."""
    if len(word) > _LONGEST_SHOWN:
        return None
    near = difflib.get_close_matches(word, itertools.islice(known, _MOST_COMPARED), n=1)
    return f"did you mean {near[0]!r}?" if near else None


def shown(text: str) -> str:
    """Quote a word for a message, shortened where it is long."""
    return repr(text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 3] + "...")


class Token(NamedTuple):
    """One word, number or sign; `column` counts from 1."""

    kind: str
    text: str
    column: int


class Cursor:
    """The tokens of one line, read from left to right.

    Attributes
    ----------
    line : int
        Its number, from 1.
    dump_opcode : int or None
        The opcode that a line of bpftool's dump (``3: (18) r1 = ...``) begins with.
    """

    __slots__ = ("_at", "_end", "_scanned", "_tokens", "dump_opcode", "line")

    def __init__(self, text: str, line: int) -> None:
        self.line = line
        self._at = 0
        self._end = len(text) + 1
        prefix = _DUMP_PREFIX.match(text)
        self.dump_opcode = int(prefix["opcode"], 16) if prefix else None
        self._tokens: list[Token] = []
        self._scanned = self._scan(text, prefix.end() if prefix else 0)

    def _scan(self, text: str, at: int) -> Iterator[Token]:
        """Yield tokens as they are asked for, so that an error early in a long line comes early."""
        after_call = False
        while found := _TOKEN.match(text, at):  # every character begins some token
            kind, word, column = str(found.lastgroup), found.group(), at + 1
            at = found.end()
            if kind == "comment":
                self._end = column
                return
            if kind == "space":
                continue
            number = _HELPER_NUMBER.match(text, at) if after_call and kind == "word" else None
            if number is not None:  # `call name#7`, as bpftool prints it; elsewhere `#` begins a comment
                word, at = word + number.group(), number.end()
            after_call = word == "call"
            yield Token(kind, word, column)

    def _token(self, at: int) -> Token:
        tokens = self._tokens
        while at >= len(tokens):
            token = next(self._scanned, None)
            if token is None:
                return Token("end", "", self._end)
            tokens.append(token)
        return tokens[at]

    @property
    def next(self) -> Token:
        """The next token; one of kind ``end`` after the last."""
        return self._token(self._at)

    @property
    def done(self) -> bool:
        """Whether all tokens are read."""
        return self.next.kind == "end"

    def peek(self, ahead: int) -> str:
        """Return the text of a token after the next one; empty beyond the last."""
        return self._token(self._at + ahead).text

    def take(self) -> Token:
        """Read a token."""
        token = self.next
        self._at += 1
        return token

    def accept(self, *texts: str) -> bool:
        """Read these tokens if exactly they come next."""
        if all(self.peek(ahead) == text for ahead, text in enumerate(texts)):
            self._at += len(texts)
            return True
        return False

    def expect(self, text: str, hint: str | None = None) -> Token:
        """Read a token that must be this one."""
        if self.next.text != text:
            raise self.error(self.next, expected=repr(text), hint=hint)
        return self.take()

    def end(self) -> None:
        """Refuse anything more on the line."""
        if not self.done:
            raise self.error(self.next, expected="the end of the line", hint="one instruction to a line")

    def error(
        self, token: Token, what: str | None = None, *, expected: str | None = None, hint: str | None = None
    ) -> AssemblyError:
        """Make the error that points at a token."""
        if what is None:
            what = "the line ends" if token.kind == "end" else f"unexpected {shown(token.text)}"
        return AssemblyError(what, line=self.line, column=token.column, expected=expected, hint=hint)

    def number(self, low: int, high: int, *, unsigned_hex_bits: int | None = None) -> int:
        """Read a decimal or hexadecimal integer with an optional sign.

        With `unsigned_hex_bits`, a hexadecimal number without a minus may use all bits of its field: 0xffffffff is -1
        in 32 bits.
        """
        first = self.next
        sign = self.take().text if first.text in {"+", "-"} else ""
        token = self.next
        if token.kind != "number":
            raise self.error(token, expected="a number")
        self.take()
        if len(token.text) > _LONGEST_NUMBER:
            raise self.error(first, f"{shown(token.text)} is too large", expected=f"{low}..{high}")
        is_hex = token.text[:2].lower() == "0x"
        value = int(token.text, 16 if is_hex else 10)
        if sign == "-":
            value = -value
        elif is_hex and unsigned_hex_bits and value >> unsigned_hex_bits - 1 == 1:
            value -= 1 << unsigned_hex_bits
        if not low <= value <= high:
            raise self.error(first, f"{sign}{token.text} does not fit", expected=f"{low}..{high}")
        return value

    def signed(self, bits: int) -> int:
        """Read a number that fits a signed field of the wire."""
        return self.number(-(1 << bits - 1), (1 << bits - 1) - 1, unsigned_hex_bits=bits)

    def register(self, prefixes: str) -> tuple[Token, int, int]:
        """Read a register whose first letter is one of `prefixes`; return its token, number and width in bits."""
        token = self.next
        if not self.at_register():
            raise self.error(token, expected=f"a register, such as {prefixes[0]}0", hint=None)
        if token.text[0] not in prefixes:
            right = prefixes[0] + token.text[1:]
            raise self.error(token, expected=right, hint="w0..w10 are the low 32 bits of r0..r10; they do not mix")
        number = int(token.text[1:]) if len(token.text) <= 4 else REGISTERS
        if number >= REGISTERS or token.text != f"{token.text[0]}{number}":
            raise self.error(
                token, f"there is no register {shown(token.text)}", expected=f"{token.text[0]}0..{token.text[0]}10"
            )
        self.take()
        return token, number, 64 if token.text[0] == "r" else 32

    def at_register(self) -> bool:
        """Tell whether a register (of any number) comes next."""
        return self.register_after(0)

    def register_after(self, ahead: int) -> bool:
        """Tell whether a token after the next one is a register (of any number)."""
        text = self.peek(ahead)
        return text[:1] in {"r", "w"} and text[1:].isdigit() and text.isascii()

    def operand(self, prefixes: str) -> int | Imm:
        """Read a register or a 32-bit immediate."""
        if self.at_register():
            return self.register(prefixes)[1]
        if self.next.kind not in {"number"} and self.next.text not in {"+", "-"}:
            raise self.error(self.next, expected="a register or a number")
        return Imm(self.signed(32))

    def symbol(self, what: str) -> Token:
        """Read the name of a place, a function or a map."""
        token = self.next
        if token.kind != "word" or self.at_register():
            raise self.error(token, expected=what)
        return self.take()


def cursors(text: str) -> Iterator[Cursor]:
    """Yield a cursor for every line that is not empty."""
    for line, content in enumerate(text.split("\n"), 1):
        cursor = Cursor(content, line)
        if not cursor.done:
            yield cursor
