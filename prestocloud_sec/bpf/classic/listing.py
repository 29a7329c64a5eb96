# SPDX-License-Identifier: Apache-2.0
"""The two lists of numbers that tcpdump writes: ``-ddd``, decimal behind a count, and ``-dd``, C initialisers.

Sources: libpcap 1.10, ``bpf_dump.c`` (behaviour); tcpdump(8), ``-dd`` and ``-ddd``. The form with commas for line ends
is that of iptables' bpf match (iptables-extensions(8)).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from prestocloud_sec.bpf.classic.codec import Fields
from prestocloud_sec.bpf.errors import AssemblyError, BpfMisuseError
from prestocloud_sec.wire import shown

__all__ = ["read_dd", "read_ddd", "write_dd", "write_ddd"]

_MOST = (0xFFFF, 0xFF, 0xFF, 0xFFFF_FFFF)
_NAMES = ("code", "jt", "jf", "k")
_LONGEST = 24
_OTHER_FORMS = {
    "{": "this looks like tcpdump -dd, which from_dd reads",
    "0": "this looks like tcpdump -ddd, which from_ddd reads",
    "(": "this looks like tcpdump -d, which is for people; from_ddd reads what tcpdump -ddd prints",
}
"""Hints for a text that does not even begin as it should, by its first character; 0 is any digit."""
_WORDS = r"(?P<number>0[xX][0-9A-Fa-f]+|[0-9]+)(?![A-Za-z0-9_])|(?P<sign>[{},])|(?P<other>[^\s{},]+)"
_COMMENT = r"(?P<comment>/\*(?s:.*?)\*/|//[^\n]*)"
_DECIMAL = re.compile(_WORDS, re.ASCII)
_IN_C = re.compile(f"{_COMMENT}|{_WORDS}", re.ASCII)


class _Reader:
    """Reads numbers and signs, and knows where it is."""

    def __init__(self, text: str, what: str, words: re.Pattern[str]) -> None:
        if not isinstance(text, str):
            raise BpfMisuseError(f"{type(text).__name__} is no text", where=what, expected="a str")
        self._text = text
        # One by one, so that a comment without an end is looked through once: it is the token of an error.
        self._tokens = (found for found in words.finditer(text) if found.lastgroup != "comment")
        self._next = next(self._tokens, None)

    def error(self, what: str | None = None, *, expected: str, hint: str | None = None) -> AssemblyError:
        """Make the error that points at the next token."""
        found = self._next
        at = len(self._text.rstrip()) if found is None else found.start()
        if found is not None and found.re is _IN_C and found.group().startswith("/*"):
            what, expected, hint = "the comment does not end", "'*/'", None
        if what is None:
            what = "the text ends" if found is None else f"unexpected {shown(found.group())}"
            if found is not None and not self._text[:at].strip():
                hint = _OTHER_FORMS.get("0" if found["number"] else found.group()[0])
        line = self._text.count("\n", 0, at) + 1
        column = at - self._text.rfind("\n", 0, at)
        return AssemblyError(what, line=line, column=column, expected=expected, hint=hint)

    @property
    def done(self) -> bool:
        """Whether all is read."""
        return self._next is None

    def accept(self, sign: str) -> bool:
        """Read this sign if it comes next."""
        if self._next is None or self._next.group() != sign:
            return False
        self._next = next(self._tokens, None)
        return True

    def expect(self, sign: str) -> None:
        """Read a sign that must be there."""
        if not self.accept(sign):
            raise self.error(expected=repr(sign))

    def number(self, name: str, most: int, *, decimal: bool) -> int:
        """Read a number up to `most`."""
        found = self._next
        text = found["number"] if found is not None else None
        if not text or (decimal and text[1:2] in {"x", "X"}):
            raise self.error(expected=f"{name}, a {'decimal ' if decimal else ''}number")
        value = int(text, 16 if text[1:2] in {"x", "X"} else 10) if len(text) <= _LONGEST else most + 1
        if value > most:
            raise self.error(f"{name} {shown(text)} does not fit", expected=f"0..{most}")
        self._next = next(self._tokens, None)
        return value

    def fields(self, *, decimal: bool, comma: bool) -> Fields:
        """Read code, jt, jf and k."""
        values = []
        for at, (name, most) in enumerate(zip(_NAMES, _MOST, strict=True)):
            if at and comma:
                self.expect(",")
            values.append(self.number(name, most, decimal=decimal))
        return (values[0], values[1], values[2], values[3])


def read_ddd(text: str) -> list[Fields]:
    """Read the output of ``tcpdump -ddd``.

    Raises
    ------
    AssemblyError
        If it is none; with line and column.
    """
    reader = _Reader(text, "from_ddd", _DECIMAL)
    count = reader.number("the count of instructions", _MOST[0], decimal=True)
    found = []
    for index in range(count):
        reader.accept(",")
        if reader.done:
            raise reader.error(f"the text ends after {index} instructions", expected=f"the {count} it begins with")
        found.append(reader.fields(decimal=True, comma=False))
    reader.accept(",")
    if not reader.done:
        raise reader.error(expected=f"the end, after {count} instructions")
    return found


def read_dd(text: str) -> list[Fields]:
    """Read the output of ``tcpdump -dd``.

    Raises
    ------
    AssemblyError
        If it is none; with line and column.
    """
    reader = _Reader(text, "from_dd", _IN_C)
    found = []
    while not reader.done:
        reader.expect("{")
        found.append(reader.fields(decimal=False, comma=True))
        reader.accept(",")
        reader.expect("}")
        if not reader.done:
            reader.expect(",")
    return found


def write_ddd(rows: Iterable[Fields]) -> str:
    """Return the text that ``tcpdump -ddd`` prints."""
    lines = [f"{code} {jt} {jf} {k}\n" for code, jt, jf, k in rows]
    return f"{len(lines)}\n" + "".join(lines)


def write_dd(rows: Iterable[Fields]) -> str:
    """Return the text that ``tcpdump -dd`` prints."""
    return "".join(_initialisers(rows))


def _initialisers(rows: Iterable[Fields]) -> Iterator[str]:
    for code, jt, jf, k in rows:
        yield f"{{ {code:#x}, {jt}, {jf}, 0x{k:08x} }},\n"
