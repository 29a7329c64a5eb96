# SPDX-License-Identifier: Apache-2.0
"""What the writers of decoders, encoders and constructors have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from struct import Struct
from typing import Any

from prestocloud_sec.tpm.codec.fields import (
    Array,
    Blob,
    Choice,
    Digest,
    Field,
    Kind,
    Layout,
    Nested,
    Scalar,
)
from prestocloud_sec.tpm.spec.declare import Declared

__all__ = [
    "Heads",
    "Interned",
    "Known",
    "Refused",
    "Text",
    "Words",
    "alike",
    "alike_on_wire",
    "branches_of",
    "in_ranges",
    "is_any",
    "is_finite",
    "runs_of",
    "scheme_of",
    "selects",
]

_USUAL = (0x10, 0x06, 0x23, 0x01, 0x0B)
"""NULL, AES, ECC, RSA and SHA-256: selectors that are tried before others."""
_KEPT = 1024  # attribute words and small structures kept ready; there are far fewer in use


class Refused(Exception):  # noqa: N818
    """Something is not right; the walk knows what."""


class Words(dict[int, int]):
    """Attribute words by number; one that is not there yet is made, unless it has a reserved bit."""

    def __init__(self, kind: Callable[[int], int], reserved: int) -> None:
        super().__init__()
        self._kind = kind
        self._reserved = reserved

    def __missing__(self, number: int) -> int:
        if number & self._reserved:
            raise Refused
        made = self._kind(number)
        if len(self) < _KEPT:
            self[number] = made
        return made


class Interned(dict[Any, Any]):
    """Structures of few numbers each, by these numbers: a value is made and checked once, and then found."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, key: Any) -> Any:
        made = self._make(key)
        if len(self) < _KEPT:
            self[key] = made
        return made


class Known(dict[bytes, tuple[Any, int]]):
    """Small structures by the bytes that they start with, each with its length."""

    def keep(self, start: bytes, value: Any, size: int) -> None:
        """Keep a structure, if `start` holds all of it, and there is room."""
        if size <= len(start) and len(self) < _KEPT:
            self[start] = value, size


class Heads:
    """Bytes of numbers that stand together, found by these numbers.

    Parameters
    ----------
    most : int
        How many bytes may come after them, where their number is one of these; else 0.

    Attributes
    ----------
    by_size : tuple of dict
        For each size a dictionary by the first number, of dictionaries by the second, and so on.
    """

    def __init__(self, most: int) -> None:
        self.by_size: tuple[dict[Any, Any], ...] = tuple({} for _ in range(most + 1))
        self._kept = 0

    def keep(self, packed: bytes, size: int, *numbers: int) -> bytes:
        """Return what was packed, and keep it if there is room."""
        if size < len(self.by_size) and self._kept < _KEPT:
            table = self.by_size[size]
            for number in numbers[:-1]:
                table = table.setdefault(number, {})
            table[numbers[-1]] = packed
            self._kept += 1
        return packed


class Text:
    """Lines of Python, and the objects that they speak of.

    Parameters
    ----------
    draft_of : callable
        The class that values of a declared class are made in.
    """

    def __init__(self, draft_of: Callable[[type[Declared]], type]) -> None:
        self.lines: list[str] = []
        self.names: dict[str, Any] = {"Refused": Refused, "typeof": type}
        self.depth = 0
        self._draft_of = draft_of
        self._known: dict[Any, str] = {}
        self._fresh = 0

    def __str__(self) -> str:
        return "\n".join(self.lines) + "\n"

    def add(self, line: str) -> None:
        """Append a line at the current depth."""
        self.lines.append("    " * self.depth + line)

    def fresh(self, letter: str) -> str:
        """Return a name that is not in use."""
        self._fresh += 1
        return f"{letter}{self._fresh}"

    def name(self, letter: str, key: Any, make: Callable[[], Any]) -> str:
        """Return the name of an object, made when it is first asked for."""
        if (letter, key) not in self._known:
            self._known[letter, key] = self.fresh(letter)
            self.names[self._known[letter, key]] = make()
        return self._known[letter, key]

    def unpacker(self, codes: str) -> str:
        """Return the name of a function that reads these codes."""
        return self.name("U", codes, lambda: Struct(f">{codes}").unpack_from)

    def packer(self, codes: str) -> str:
        """Return the name of a function that writes these codes."""
        return self.name("P", codes, lambda: Struct(f">{codes}").pack)

    def of(self, thing: type) -> str:
        """Return the name of a class."""
        if thing.__name__ not in self.names:
            self.names[thing.__name__] = thing
        return thing.__name__ if self.names[thing.__name__] is thing else self.name("C", thing, lambda: thing)

    def draft(self, thing: type[Declared]) -> str:
        """Return the name of the class that a value is made in."""
        return self.name("D", thing, lambda: self._draft_of(thing))

    def numbers(self, values: Iterable[int]) -> str:
        """Return the name of a set of numbers."""
        kept = frozenset(int(v) for v in values)
        return self.name("S", kept, lambda: kept)

    def table(self, scalar: Scalar, *, asked: bool) -> str:
        """Return the name of the dictionary from the numbers that are taken to what they are held as."""
        taken = {n: m for n, m in scalar.members.items() if scalar.takes(n, asked=asked)}
        if scalar.allowed is not None:
            more = [*scalar.allowed.values, *([scalar.allowed.null] if scalar.nullable(asked=asked) else [])]
            taken |= {int(n): scalar.held(int(n)) for n in more if n is not None}
        return self.name("T", (scalar.kind, tuple(sorted(taken))), lambda: taken)

    def make(self, cls: type[Declared], values: dict[str, str], wire: str = "None") -> str:
        """Write the making of a value, and return its name."""
        made, lines = self.making(cls, values, wire)
        for line in lines:
            self.add(line)
        return made

    def making(self, cls: type[Declared], values: dict[str, str], wire: str = "None") -> tuple[str, list[str]]:
        """Return the name of a value, and the lines that make it."""
        made = self.fresh("x")
        lines = [f"{made} = {self.draft(cls)}()", f"{made}._wire = {wire}"]
        lines += [f"{made}.{name} = {value}" for name, value in values.items()]
        return made, [*lines, f"{made}.__class__ = {self.of(cls)}"]


def in_ranges(scalar: Scalar, number: str) -> str:
    """Return the condition that a number is in a range of its interface type."""
    ranges = scalar.allowed.ranges if scalar.allowed is not None else ()
    return " or ".join(f"0x{first:x} <= {number} <= 0x{last:x}" for first, last in ranges)


def is_finite(kind: Kind) -> bool:
    """Tell whether a kind is a number of which a table has all values."""
    if not isinstance(kind, Scalar) or kind.is_attributes:
        return False
    return kind.rc is not None if kind.allowed is None else not kind.allowed.ranges


def is_any(scalar: Scalar) -> bool:
    """Tell whether any number is in a range of the interface type."""
    return scalar.allowed is not None and any(r == (0, 0xFFFFFFFF) for r in scalar.allowed.ranges)


def alike(kind: Kind | None) -> Any:
    """Return what two kinds have in common if they are the same on the wire and in the value."""
    match kind:
        case Nested():
            return (Nested, kind.structure, kind.null)
        case Blob():
            return (Blob, kind.sized)
        case Digest():
            return (Digest, kind.size)
        case Array():
            return (Array, alike(kind.element), kind.most, kind.least)
        case _:
            return kind


def runs_of(fields: tuple[Field, ...]) -> Iterable[list[Field]]:
    """Yield the fields one by one, but neighbouring unions with the same selector together."""
    run: list[Field] = []
    for field in fields:
        together = run and isinstance(field.kind, Choice) and isinstance(run[-1].kind, Choice)
        if together and isinstance(field.kind, Choice) and field.kind.selector == run[-1].kind.selector:  # type: ignore[union-attr]
            run.append(field)
            continue
        if run:
            yield run
        run = [field]
    if run:
        yield run


def alike_on_wire(kind: Kind | None) -> Any:
    """Return what two kinds have in common if they are the same on the wire."""
    match kind:
        case Scalar():
            return (Scalar, kind.code)
        case Blob():
            return (Blob, kind.sized.code)
        case Digest():
            return Digest
        case _:
            return alike(kind)


def branches_of(
    choices: list[Choice], alike_by: Callable[[Kind | None], Any] = alike
) -> list[tuple[list[int], list[Kind | None]]]:
    """Return the selectors with the kinds they choose, selectors that choose the same together.

    The first branches are those that TPMs meet most; see `_USUAL`.
    """
    found: dict[Any, tuple[list[int], list[Kind | None]]] = {}
    for selector in sorted(choices[0].kinds, key=lambda n: _USUAL.index(n) if n in _USUAL else len(_USUAL)):
        kinds = [choice.kinds.get(selector) for choice in choices]
        if any(selector not in choice.kinds for choice in choices):
            continue
        found.setdefault(tuple(alike_by(kind) for kind in kinds), ([], kinds))[0].append(selector)
    return list(found.values())


def selects(text: Text, number: str, selectors: list[int]) -> str:
    """Return the condition that a number is one of some selectors."""
    return f"{number} == 0x{selectors[0]:x}" if len(selectors) == 1 else f"{number} in {text.numbers(selectors)}"


def scheme_of(layout: Layout) -> tuple[str, Scalar, list[Choice]] | None:
    """Return name and kind of the selector, and the unions, of a structure that consists of these alone."""
    if not layout.fields:
        return None
    first, *others = layout.fields
    choices = [field.kind for field in others if isinstance(field.kind, Choice)]
    is_one = choices and len(choices) == len(others) and all(choice.selector == first.name for choice in choices)
    return (first.name, first.kind, choices) if is_one and isinstance(first.kind, Scalar) else None
