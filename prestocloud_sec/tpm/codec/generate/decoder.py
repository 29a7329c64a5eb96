# SPDX-License-Identifier: Apache-2.0
"""The writer of decoders."""

from __future__ import annotations

from struct import calcsize
from typing import Any

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
    Interned,
    Known,
    Refused,
    Text,
    Words,
    branches_of,
    in_ranges,
    is_any,
    is_finite,
    runs_of,
    scheme_of,
    selects,
)
from prestocloud_sec.tpm.codec.walk import build
from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.tpm.spec.declare import Declared

__all__ = ["write_decoder"]


def usual_size(layout: Layout) -> int:
    """Return how long a structure mostly is of which few values are in use; 0 for any other structure.

    These are the parameters of keys (two or more schemes, and numbers), where mostly there is one block cipher or one
    scheme, and PCR selections, mostly of 24 PCRs.
    """
    size = schemes = 0
    for field in layout.fields:
        kind = field.kind
        scheme = scheme_of(layout_of(kind.structure)) if isinstance(kind, Nested) else None
        if scheme is not None:
            schemes += 1
            size += 2 + sum(2 for choice in scheme[2] if any(isinstance(k, Scalar) for k in choice.kinds.values()))
        elif isinstance(kind, Scalar):
            size += kind.size
        elif isinstance(kind, Blob) and kind.sized.code == "B":
            size += 4
            schemes += 2
        else:
            return 0
    return size if schemes > 1 else 0


class _Decoding:
    """Writes the reading of fields from ``d``; the position is ``o`` plus a number, or a number alone."""

    def __init__(self, text: Text) -> None:
        self.text = text
        self.base = ""
        self.plus = 0
        self.run: list[tuple[str, str]] = []
        self.after: list[str] = []

    def at(self) -> str:
        if not self.base:
            return str(self.plus)
        return f"{self.base} + {self.plus}" if self.plus else self.base

    def flush(self) -> None:
        """Write the reading of the fixed fields met so far, and what is made of them."""
        if self.run:
            codes = "".join(code for code, _ in self.run)
            names = "".join(f"{name}, " for _, name in self.run)
            self.text.add(f"{names.rstrip(' ')} = {self.text.unpacker(codes)}(d, {self.at()})")
            self.plus += calcsize(f">{codes}")
        for line in self.after:
            self.text.add(line)
        self.run, self.after = [], []

    def settle(self) -> None:
        """Bring the position into ``o``."""
        self.flush()
        if not self.base:
            self.text.add(f"o = {self.plus}")
        elif self.plus:
            self.text.add(f"o += {self.plus}")
        self.base, self.plus = "o", 0

    def number(self, code: str) -> str:
        name = self.text.fresh("n")
        self.run.append((code, name))
        return name

    def fields(self, layout: Layout, *, asked: bool) -> dict[str, str]:
        """Write the reading of all fields, and return by name what holds them."""
        held: dict[str, str] = {}
        raw: dict[str, str] = {}
        for run in runs_of(layout.fields):
            first = run[0].kind
            if isinstance(first, Choice):
                if raw[first.selector] in [name for _, name in self.run]:
                    self.flush()
                choices = [f.kind for f in run if isinstance(f.kind, Choice)]
                values = self.choice(choices, raw[first.selector])
                held |= {field.name: value for field, value in zip(run, values, strict=True)}
            else:
                name = run[0].name
                held[name], raw[name] = self.value(first, asked=asked)
        return held

    def value(self, kind: Kind, *, asked: bool = False) -> tuple[str, str]:
        """Write the reading of one value; return what holds it, and what holds its number."""
        match kind:
            case Scalar():
                return self.scalar(kind, asked=asked)
            case Blob():
                value = self.blob(kind)
            case Digest():
                value = self.text.fresh("v")
                self.run.append((f"{kind.size}s", value))
            case Nested():
                value = self.nested(kind)
            case Box():
                value = self.box(kind)
            case Array():
                value = self.array(kind)
            case Choice():
                raise TpmMisuseError("a union in a union", hint="declare the selector and the union in one structure")
        return value, value

    def nested(self, kind: Nested) -> str:
        """Write the reading of a structure inside of another.

        A scheme is a selector and what it chooses; where that is nothing, there is one value for all of them.
        """
        layout = layout_of(kind.structure)
        if layout.fields and all(is_finite(field.kind) for field in layout.fields):
            return self.interned(kind.structure, [(field.name, field.kind) for field in layout.fields], {}, kind.null)
        usual = usual_size(layout)
        if usual:
            return self.known(kind, usual)
        scheme = scheme_of(layout)
        if scheme is None:
            held = self.fields(layout, asked=kind.null)
            made, lines = self.text.making(kind.structure, held)
            self.after += lines
            if not self.run:
                self.flush()
            return made
        name, selector, choices = scheme
        names = [field.name for field in layout.fields[1:]]
        member, number = self.scalar(selector, asked=kind.null)
        made = self.text.fresh("v")
        self.flush()
        word, base, plus = "if", self.base, self.plus
        for selectors, kinds in branches_of(choices):
            self.text.add(f"{word} {selects(self.text, number, selectors)}:")
            self.text.depth += 1
            self.base, self.plus = base, plus
            pairs = [(n, k) for n, k in zip(names, kinds, strict=True) if k is not None]
            if len(selectors) == 1 and all(is_finite(k) for _, k in pairs):
                known = {name: selector.held(selectors[0]), **dict.fromkeys(names)}
                value = self.interned(kind.structure, pairs, known, asked=False)
                self.settle()
            else:
                values = {n: "None" if k is None else self.value(k)[0] for n, k in zip(names, kinds, strict=True)}
                self.settle()
                value = self.text.make(kind.structure, {name: member, **values})
            self.text.add(f"{made} = {value}")
            self.text.depth -= 1
            word = "elif"
        self.text.add("else: raise Refused")
        self.base, self.plus = "o", 0
        return made

    def known(self, kind: Nested, usual: int) -> str:
        """Write the reading of a structure of which few values are in use: mostly it was met before."""
        start, begin, value, size = (self.text.fresh(letter) for letter in "ksvl")
        found = self.text.name("M", (kind.structure, kind.null), Known)
        self.flush()
        self.text.add(f"{begin} = {self.at()}")
        self.text.add(f"{start} = d[{begin}:{begin} + {usual}]")
        self.text.add(f"{value} = {found}.get({start})")
        self.text.add(f"if {value} is not None:")
        self.text.add(f"    {value}, {size} = {value}")
        self.text.add(f"    o = {begin} + {size}")
        self.text.add("else:")
        self.text.depth += 1
        held = self.fields(layout_of(kind.structure), asked=kind.null)
        self.settle()
        self.text.add(f"{value} = {self.text.make(kind.structure, held)}")
        self.text.add(f"{found}.keep({start}, {value}, o - {begin})")
        self.text.depth -= 1
        return value

    def interned(self, cls: type[Declared], fields: list[tuple[str, Kind]], known: dict[str, Any], asked: bool) -> str:
        """Write the reading of a structure of a few numbers that have few values each: there is one value for each."""

        def make(key: Any) -> Any:
            numbers = key if len(fields) > 1 else (key,)
            values = dict(known)
            for (name, kind), number in zip(fields, numbers, strict=True):
                if not isinstance(kind, Scalar) or not kind.takes(number, asked=asked):
                    raise Refused
                values[name] = kind.held(number)
            return build(cls, values)

        what = (cls, asked, tuple(known.values()), tuple(name for name, _ in fields))
        if not fields:
            return self.text.name("N", what, lambda: build(cls, known))
        numbers = [self.number(kind.code) for _, kind in fields if isinstance(kind, Scalar)]
        self.flush()
        value = self.text.fresh("v")
        self.text.add(f"{value} = {self.text.name('I', what, lambda: Interned(make))}[{', '.join(numbers)}]")
        return value

    def scalar(self, kind: Scalar, *, asked: bool) -> tuple[str, str]:
        number = self.number(kind.code)
        if kind.is_attributes:
            words = self.text.name("W", kind.kind, lambda: Words(kind.kind, kind.reserved))
            held = self.text.fresh("v")
            self.after.append(f"{held} = {words}[{number}]")
            return held, number
        if not kind.members and kind.allowed is None:
            return number, number
        held = self.text.fresh("v")
        closed = kind.allowed is not None or kind.rc is not None
        ranges = in_ranges(kind, number)
        if closed and not ranges:
            self.after.append(f"{held} = {self.text.table(kind, asked=asked)}[{number}]")
            return held, number
        table = self.text.table(kind, asked=asked)
        if ranges and not is_any(kind):
            self.after.append(f"if not ({ranges} or {number} in {table}): raise Refused")
        self.after.append(f"{held} = {table}.get({number}, {number})")
        return held, number

    def blob(self, kind: Blob) -> str:
        size, value = self.number(kind.sized.code), self.text.fresh("v")
        self.flush()
        if kind.sized.most < 0xFFFF:
            self.text.add(f"if {size} > {kind.sized.most}: raise Refused")
        if kind.sized.least:
            self.text.add(f"if {size} < {kind.sized.least}: raise Refused")
        self.text.add(f"s = {self.at()}")
        self.text.add(f"o = s + {size}")
        self.text.add(f"{value} = d[s:o]")
        self.base, self.plus = "o", 0
        return value

    def box(self, kind: Box) -> str:
        size, value, stop, start = self.number("H"), *(self.text.fresh(c) for c in "vts")
        self.flush()
        self.text.add(f"{start} = {self.at()}")
        self.text.add(f"{stop} = {start} + {size}")
        if kind.absent:
            self.settle()
            self.text.add(f"if {size} == 0:")
            self.text.add(f"    {value} = None")
            self.text.add("else:")
            self.text.depth += 1
        held = self.fields(layout_of(kind.structure), asked=kind.null)
        self.settle()
        self.text.add(f"if o != {stop}: raise Refused")
        made = self.text.make(kind.structure, held, wire=f"d[{start}:o]")
        self.text.add(f"{value} = {made}")
        if kind.absent:
            self.text.depth -= 1
        return value

    def array(self, kind: Array) -> str:
        count, value = self.number("I"), self.text.fresh("v")
        self.flush()
        self.text.add(f"if {count} > {kind.most}: raise Refused")
        if kind.least:
            self.text.add(f"if {count} < {kind.least}: raise Refused")
        self.settle()
        self.text.add(f"if {count} == 1:")  # most lists have one element
        self.text.depth += 1
        element, _ = self.value(kind.element)
        self.settle()
        self.text.add(f"{value} = ({element},)")
        self.text.depth -= 1
        self.text.add("else:")
        self.text.depth += 1
        self.text.add(f"{value} = []")
        self.text.add(f"for _ in range({count}):")
        self.text.depth += 1
        element, _ = self.value(kind.element)
        self.settle()
        self.text.add(f"{value}.append({element})")
        self.text.depth -= 1
        self.text.add(f"{value} = tuple({value})")
        self.text.depth -= 1
        return value

    def choice(self, choices: list[Choice], selector: str) -> list[str]:
        """Write the reading of unions with one selector, and return what holds them."""
        names = [self.text.fresh("v") for _ in choices]
        word, base, plus, run, after = "if", self.base, self.plus, self.run, self.after
        for selectors, kinds in branches_of(choices):
            self.text.add(f"{word} {selects(self.text, selector, selectors)}:")
            self.text.depth += 1
            self.base, self.plus, self.run, self.after = base, plus, run[:], after[:]
            values = ["None" if kind is None else self.value(kind)[0] for kind in kinds]
            self.settle()
            for name, value in zip(names, values, strict=True):
                self.text.add(f"{name} = {value}")
            self.text.depth -= 1
            word = "elif"
        self.text.add("raise Refused" if word == "if" else "else: raise Refused")
        self.base, self.plus, self.run, self.after = "o", 0, [], []
        return names


def write_decoder(text: Text, cls: type[Declared], handles: tuple[Field, ...] = ()) -> None:
    """Write the body of a decoder: from ``d`` (and the handles ``h``) to a value, which it returns."""
    decoding = _Decoding(text)
    held: dict[str, str] = {}
    if handles:
        numbers = [text.fresh("h") for _ in handles]
        text.add(f"{', '.join(numbers)}, = h")
        for field, number in zip(handles, numbers, strict=True):
            kind = field.kind
            if isinstance(kind, Scalar):
                table, ranges = text.table(kind, asked=True), in_ranges(kind, number)
                condition = f"{ranges} or {number} in {table}" if ranges else f"{number} in {table}"
                text.add(f"if not ({condition}): raise Refused")
                held[field.name] = f"{table}.get({number}, {number})"
    else:
        text.add("if h: raise Refused") if layout_of(cls).handles == () and _has_handles(cls) else None
    held |= decoding.fields(layout_of(cls), asked=True)
    decoding.flush()
    text.add(f"if len(d) != {decoding.at()}: raise Refused")
    text.add(f"return {text.make(cls, held, wire='d')}")


def _has_handles(cls: type[Declared]) -> bool:
    return not hasattr(cls, "decode")
