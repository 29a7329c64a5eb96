# SPDX-License-Identifier: Apache-2.0
"""The writer of encoders.

A nested structure keeps its own encoding, so that a public area made from a template packs little more than its first
fields; only structures of plain numbers stand in line, where they are packed together with their neighbours.
"""

from __future__ import annotations

from prestocloud_sec.tpm.codec.fields import Array, Blob, Box, Choice, Digest, Kind, Layout, Nested, Scalar, layout_of
from prestocloud_sec.tpm.codec.generate.writing import Text, alike_on_wire, branches_of, runs_of, selects
from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.tpm.spec.declare import Declared

__all__ = ["write_encoder"]

_NOTHING = "b''"


def _is_plain(kind: Nested) -> bool:
    """Tell whether a structure consists of numbers alone."""
    return all(isinstance(field.kind, Scalar) for field in layout_of(kind.structure).fields)


class _Encoding:
    """Writes the collecting of bytes in ``w``."""

    def __init__(self, text: Text) -> None:
        self.text = text
        self.run: list[tuple[str, str]] = []
        self.parts: list[str] = []
        self.started = False

    def pack(self) -> None:
        """Make one part of the numbers met so far."""
        if self.run:
            codes = "".join(code for code, _ in self.run)
            self.parts.append(f"{self.text.packer(codes)}({', '.join(value for _, value in self.run)})")
            self.run = []

    def part(self, expression: str) -> None:
        """Add bytes behind the numbers met so far."""
        self.pack()
        self.parts.append(expression)

    def collect(self, empty: str = "") -> None:
        """Write everything met so far into ``w``; `empty` is written where there is nothing to do."""
        self.pack()
        if self.parts or not self.started:
            sign = "+=" if self.started else "="
            self.text.add(f"w {sign} {' + '.join(self.parts) or _NOTHING}")
        elif empty:
            self.text.add(empty)
        self.started, self.parts = True, []

    def fields(self, layout: Layout, owner: str) -> None:
        """Write the encoding of all fields of a value."""
        for run in runs_of(layout.fields):
            first = run[0].kind
            if isinstance(first, Choice):
                self.choice([(f.name, f.kind) for f in run if isinstance(f.kind, Choice)], owner)
            else:
                self.value(first, f"{owner}.{run[0].name}")

    def value(self, kind: Kind, value: str) -> None:
        """Write the encoding of the value that an expression gives."""
        match kind:
            case Scalar():
                self.run.append((kind.code, value))
            case Blob():
                inner = self.local(value)
                self.run.append((kind.sized.code, f"len({inner})"))
                self.part(inner)
            case Digest():
                self.part(value)
            case Nested() if _is_plain(kind):
                self.fields(layout_of(kind.structure), self.local(value))
            case Nested():
                self.part(self.kept(value))
            case Box():
                encoded = self.kept(value, absent=kind.absent)
                self.run.append(("H", f"len({encoded})"))
                self.part(encoded)
            case Array():
                inner = self.local(value)
                self.run.append(("I", f"len({inner})"))
                self.part(self.elements(kind.element, inner))
            case Choice():
                raise TpmMisuseError("a union in a union", hint="declare the selector and the union in one structure")

    def elements(self, kind: Kind, values: str) -> str:
        """Return the expression for the elements of a list."""
        match kind:
            case Scalar():
                return f"b''.join([{self.text.packer(kind.code)}(e) for e in {values}])"
            case Blob():
                return f"b''.join([{self.text.packer(kind.sized.code)}(len(e)) + e for e in {values}])"
            case Nested():
                return f"b''.join([e.encode() for e in {values}])"
            case Box():
                pack = self.text.packer("H")
                empty = self.text.name("B", b"", lambda: b"\0\0")
                return f"b''.join([{empty} if e is None else {pack}(len(e.encode())) + e.encode() for e in {values}])"
            case _:
                raise TpmMisuseError("a list of unions or lists", hint="put a structure around each")

    def local(self, value: str) -> str:
        """Give a name to an expression, and return it."""
        if value.isidentifier():
            return value
        name = self.text.fresh("y")
        self.text.add(f"{name} = {value}")
        return name

    def kept(self, value: str, *, absent: bool = False) -> str:
        """Write the taking of a structure's own encoding, and return the name that holds it."""
        inner, encoded = self.local(value), self.text.fresh("e")
        if absent:
            self.text.add(f"{encoded} = {_NOTHING} if {inner} is None else {inner}._wire")
        else:
            self.text.add(f"{encoded} = {inner}._wire")
        self.text.add(f"if {encoded} is None: {encoded} = {inner}.encode()")
        return encoded

    def choice(self, fields: list[tuple[str, Choice]], owner: str) -> None:
        """Write unions with one selector; a union of structures does not ask which one it is."""
        for _, kind in fields:
            members = [member for member in kind.kinds.values() if member is not None]
            if not all(isinstance(member, Nested) and not _is_plain(member) for member in members):
                self.branch(fields, owner)
                return
        for name, kind in fields:
            self.part(self.kept(f"{owner}.{name}", absent=None in kind.kinds.values()))

    def branch(self, fields: list[tuple[str, Choice]], owner: str) -> None:
        """Write one chain of branches; each starts with what was met before it, so that fixed fields come together."""
        selector = self.local(f"{owner}.{fields[0][1].selector}")
        run, parts, started = self.run, self.parts, self.started
        word, is_whole = "if", True
        for selectors, kinds in branches_of([kind for _, kind in fields], alike_on_wire):
            pairs = [(name, kind) for (name, _), kind in zip(fields, kinds, strict=True) if kind is not None]
            if not pairs:
                is_whole = False
                continue
            self.text.add(f"{word} {selects(self.text, selector, selectors)}:")
            self.text.depth += 1
            self.run, self.parts, self.started = run[:], parts[:], started
            for name, kind in pairs:
                self.value(kind, f"{owner}.{name}")
            self.collect(empty="pass")
            self.text.depth -= 1
            word = "elif"
        self.run, self.parts, self.started = run, parts, started
        if word == "if":
            return
        if not is_whole:
            self.text.add("else:")
            self.text.depth += 1
            self.collect(empty="pass")
            self.text.depth -= 1
        self.run, self.parts, self.started = [], [], True


def write_encoder(text: Text, cls: type[Declared], owner: str) -> None:
    """Write the encoding of the fields of ``owner`` into ``w``."""
    encoding = _Encoding(text)
    encoding.fields(layout_of(cls), owner)
    encoding.collect()
