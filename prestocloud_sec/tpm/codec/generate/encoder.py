# SPDX-License-Identifier: Apache-2.0
"""The writer of encoders.

A nested structure keeps its own encoding, so that a public area made from a template packs little more than its first
fields; only structures of plain numbers stand in line, where they are packed together with their neighbours.

Of algorithms and attributes few combinations are in use. Where some of these, and perhaps the size of what follows,
come together, the bytes of each combination are kept in a `Heads`: finding them costs less than packing them again.
"""

from __future__ import annotations

from struct import pack
from typing import NamedTuple

from prestocloud_sec.tpm.codec.fields import (
    Array,
    Blob,
    Box,
    Choice,
    Digest,
    Field,
    Kind,
    Layout,
    Nested,
    Scalar,
    layout_of,
)
from prestocloud_sec.tpm.codec.generate.writing import (
    Heads,
    Text,
    alike_on_wire,
    branches_of,
    is_finite,
    runs_of,
    selects,
)
from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.tpm.spec.declare import Declared

__all__ = ["write_encoder"]

_NOTHING = "b''"
_LARGE = 64
"""The size of the largest digest: for each size up to it, heads are kept."""
_MOST_KEYS = 3
"""Each is a look into a dictionary; packing takes as long as four of these."""


def _is_plain(kind: Nested) -> bool:
    """Tell whether a structure consists of numbers alone."""
    return all(isinstance(field.kind, Scalar) for field in layout_of(kind.structure).fields)


def _is_few(kind: Kind) -> bool:
    """Tell whether a kind is a number of which few values are in use."""
    return isinstance(kind, Scalar) and (kind.is_attributes or is_finite(kind))


def _most_of(kind: Blob | Array) -> int:
    """Return how many bytes or elements there may be."""
    return kind.sized.most if isinstance(kind, Blob) else kind.most


class _Number(NamedTuple):
    """A number that is packed together with its neighbours."""

    code: str
    value: str
    """The expression that gives it."""
    kind: Kind
    """What it is, or what it is the size or count of."""


class _Encoding:
    """Writes the collecting of bytes in ``w``."""

    def __init__(self, text: Text) -> None:
        self.text = text
        self.run: list[_Number] = []
        self.parts: list[str] = []
        self.started = False
        self.selectors: dict[str, str] = {}  # the names that the expressions for selectors have
        self.chosen: dict[str, int] = {}  # the numbers of those of which a branch says what they are
        self._names = 0

    def fresh(self, letter: str) -> str:
        """Return a local name; branches use the same ones, as a call has less to set up where there are few."""
        self._names += 1
        return f"{letter}_{self._names}"

    def pack(self) -> None:
        """Make one part of the numbers met so far."""
        if self.run:
            codes = "".join(number.code for number in self.run)
            packed = f"{self.text.packer(codes)}({', '.join(number.value for number in self.run)})"
            self.parts.append(self.head(codes, packed) or packed)
            self.run = []

    def head(self, codes: str, packed: str) -> str | None:
        """Write the finding of bytes that were packed before, and return what holds them; None if none are kept."""
        known = [self.chosen.get(number.value) for number in self.run]
        left = [number for number, value in zip(self.run, known, strict=True) if value is None]
        if not left:
            return repr(pack(f">{codes}", *known))
        sizes = [(number.value, _most_of(number.kind)) for number in left if isinstance(number.kind, Blob | Array)]
        keys = [number.value for number in left if _is_few(number.kind)]
        size, most = sizes[0] if sizes else ("0", 0)
        if len(keys) > _MOST_KEYS or len(sizes) > 1 or len(keys) + len(sizes) < len(left) or most > _LARGE:
            return None
        what = codes, tuple(known), tuple(number.value == size for number in self.run), most
        if not keys:
            return self.sized(codes, packed, known, size, most)
        heads = self.text.name("H", what, lambda: Heads(most))
        kept: Heads = self.text.names[heads]
        if sizes:
            table = f"{self.text.name('L', what, lambda: kept.by_size)}[{size}]"
        else:
            table = self.text.name("L", what, lambda: kept.by_size[0])
        name = self.fresh("h")
        self.text.add(f"try: {name} = {table}{''.join(f'[{key}]' for key in keys)}")
        self.text.add(f"except LookupError: {name} = {heads}.keep({packed}, {size}, {', '.join(keys)})")
        return name

    def sized(self, codes: str, packed: str, known: list[int | None], size: str, most: int) -> str:
        """Write the finding of bytes in which only a size or count is not known beforehand: there are all of them."""

        def every() -> tuple[bytes, ...]:
            return tuple(
                pack(f">{codes}", *(number if value is None else value for value in known))
                for number in range(most + 1)
            )

        table, name = self.text.name("A", (codes, tuple(known), most), every), self.fresh("h")
        self.text.add(f"try: {name} = {table}[{size}]")
        self.text.add(f"except LookupError: {name} = {packed}")
        return name

    def part(self, expression: str) -> None:
        """Add bytes behind the numbers met so far."""
        self.pack()
        self.parts.append(expression)

    def collect(self, empty: str = "") -> None:
        """Write everything met so far into ``w``; `empty` is written where there is nothing to do."""
        self.pack()
        if self.parts or not self.started:
            sign = "+=" if self.started else "="
            together = " + ".join(self.parts) or _NOTHING
            if len(self.parts) > 2:  # each sum is a copy
                together = f"b''.join(({', '.join(self.parts)}))"
            self.text.add(f"w {sign} {together}")
        elif empty:
            self.text.add(empty)
        self.started, self.parts = True, []

    def fields(self, layout: Layout, owner: str) -> None:
        """Write the encoding of all fields of a value.

        What comes before the first union stands in its branches, which know the selector: one number less to pack.
        """
        before: list[Field] | None = []
        for run in runs_of(layout.fields):
            unions = [(f.name, f.kind) for f in run if isinstance(f.kind, Choice)]
            if not unions:
                self.value(run[0].kind, f"{owner}.{run[0].name}") if before is None else before.append(run[0])
                continue
            self.choice(unions, owner, before or [])
            before = None
        for field in before or []:
            self.value(field.kind, f"{owner}.{field.name}")

    def value(self, kind: Kind, value: str) -> None:
        """Write the encoding of the value that an expression gives."""
        match kind:
            case Scalar():
                self.run.append(_Number(kind.code, self.selectors.get(value, value), kind))
            case Blob():
                inner = self.local(value)
                self.run.append(_Number(kind.sized.code, f"len({inner})", kind))
                self.part(inner)
            case Digest():
                self.part(value)
            case Nested() if _is_plain(kind):
                self.fields(layout_of(kind.structure), self.local(value))
            case Nested():
                self.part(self.kept(value))
            case Box():
                encoded = self.kept(value, absent=kind.absent)
                self.run.append(_Number("H", f"len({encoded})", kind))
                self.part(encoded)
            case Array():
                inner = self.local(value)
                self.run.append(_Number("I", f"len({inner})", kind))
                self.part(self.elements(kind.element, inner))
            case Choice():
                raise TpmMisuseError("a union in a union", hint="declare the selector and the union in one structure")

    def elements(self, kind: Kind, values: str) -> str:
        """Return the expression for the elements of a list; most lists have one."""
        one, each = self.element(kind, f"{values}[0]"), self.element(kind, "e")
        return f"({one} if len({values}) == 1 else b''.join([{each} for e in {values}]))"

    def element(self, kind: Kind, value: str) -> str:
        """Return the expression for an element of a list."""
        match kind:
            case Scalar():
                return f"{self.text.packer(kind.code)}({value})"
            case Blob():
                return f"{self.text.packer(kind.sized.code)}(len({value})) + {value}"
            case Nested():
                return f"({value}._wire or {value}.encode())"
            case Box():
                there = f"{self.text.packer('H')}(len({value}.encode())) + {value}.encode()"
                return f"(b'\\0\\0' if {value} is None else {there})"
            case _:
                raise TpmMisuseError("a list of unions or lists", hint="put a structure around each")

    def local(self, value: str) -> str:
        """Give a name to an expression, and return it."""
        if value.isidentifier():
            return value
        name = self.fresh("y")
        self.text.add(f"{name} = {value}")
        return name

    def kept(self, value: str, *, absent: bool = False) -> str:
        """Write the taking of a structure's own encoding, and return the name that holds it."""
        if absent:
            value = self.local(value)
        encoded = self.fresh("e")
        self.text.add(f"{encoded} = {f'{_NOTHING} if {value} is None else ' if absent else ''}{value}._wire")
        self.text.add(f"if {encoded} is None: {encoded} = {value}.encode()")
        return encoded

    def choice(self, fields: list[tuple[str, Choice]], owner: str, before: list[Field]) -> None:
        """Write unions with one selector, after what is before them; a union of structures does not ask which it is."""
        for _, kind in fields:
            members = [member for member in kind.kinds.values() if member is not None]
            if not all(isinstance(member, Nested) and not _is_plain(member) for member in members):
                self.branch(fields, owner, before)
                return
        for field in before:
            self.value(field.kind, f"{owner}.{field.name}")
        for name, kind in fields:
            self.part(self.kept(f"{owner}.{name}", absent=None in kind.kinds.values()))

    def branch(self, fields: list[tuple[str, Choice]], owner: str, before: list[Field]) -> None:
        """Write one chain of branches; each starts with what was met before it, so that fixed fields come together."""
        choosing = fields[0][1].selector
        asked = f"{owner}.{choosing}"
        scalar = next((field.kind for field in before if field.name == choosing), None)
        selector = self.selectors[asked] = self.local(asked)
        met, parts, started, chosen, names = self.run, self.parts, self.started, self.chosen, self._names
        word = "if"

        def write(condition: str, pairs: list[tuple[str, Kind]], **known: int) -> None:
            self.run, self.parts, self.started, self._names = met[:], parts[:], started, names
            self.chosen = {**chosen, **known}
            self.text.add(condition)
            self.text.depth += 1
            for name, kind in [*((field.name, field.kind) for field in before), *pairs]:
                self.value(kind, f"{owner}.{name}")
            self.collect(empty="pass")
            self.text.depth -= 1

        is_whole = True
        for selectors, kinds in branches_of([kind for _, kind in fields], alike_on_wire):
            pairs = [(name, kind) for (name, _), kind in zip(fields, kinds, strict=True) if kind is not None]
            if not pairs:
                is_whole = False
                continue
            known = {selector: selectors[0]} if len(selectors) == 1 else {}
            condition = selects(self.text, selector, selectors)
            if known and word == "if" and isinstance(scalar, Scalar):
                usual = scalar.held(selectors[0])  # the very object, as a rule; and quicker to tell
                condition = f"{selector} is {self.text.name('N', (scalar, usual), lambda it=usual: it)} or {condition}"  # type: ignore[misc]
            write(f"{word} {condition}:", pairs, **known)
            word = "elif"
        if not is_whole or word == "if":
            write("if True:" if word == "if" else "else:", [])
        self.run, self.parts, self.started, self.chosen = [], [], True, chosen


def write_encoder(text: Text, cls: type[Declared], owner: str) -> None:
    """Write the encoding of the fields of ``owner`` into ``w``."""
    encoding = _Encoding(text)
    encoding.fields(layout_of(cls), owner)
    encoding.collect()
