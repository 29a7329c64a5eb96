# SPDX-License-Identifier: Apache-2.0
"""Writes the straight-line text of a codec from a declaration.

The walk asks of every field what it is each time it meets one. The text written here has asked beforehand: neighbouring
fields of fixed width are one call of `struct`, nested structures stand in line, a union is one chain of branches for
all fields with the same selector, and what a number is held as is one look into a dictionary.

The text checks everything that the walk checks, but says nothing: whatever is not right raises some error, and the walk
is then asked what it is. A truncated input needs no check on the way. A slice that is too short moves the position
behind the end, where either the next number finds nothing or the comparison with the length at the end fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from struct import Struct, calcsize
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
from prestocloud_sec.tpm.codec.walk import build
from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.tpm.spec.declare import Declared

__all__ = ["Text", "write_decoder", "write_encoder", "write_maker"]

_NOTHING = "b''"
_USUAL = (0x10, 0x06, 0x23, 0x01, 0x0B)
"""NULL, AES, ECC, RSA and SHA-256: selectors that are tried before others."""
_KEPT_WORDS = 1024  # attribute words kept ready; there are far fewer in use


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
        if len(self) < _KEPT_WORDS:
            self[number] = made
        return made


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
        made = self.fresh("x")
        self.add(f"{made} = {self.draft(cls)}()")
        self.add(f"{made}._wire = {wire}")
        for name, value in values.items():
            self.add(f"{made}.{name} = {value}")
        self.add(f"{made}.__class__ = {self.of(cls)}")
        return made


def _ranges(scalar: Scalar, number: str) -> str:
    """Return the condition that a number is in a range of its interface type."""
    ranges = scalar.allowed.ranges if scalar.allowed is not None else ()
    return " or ".join(f"0x{first:x} <= {number} <= 0x{last:x}" for first, last in ranges)


def _is_total(scalar: Scalar) -> bool:
    return scalar.allowed is not None and any(r == (0, 0xFFFFFFFF) for r in scalar.allowed.ranges)


def _same(kind: Kind | None) -> Any:
    """Return what two kinds have in common if they are the same on the wire and in the value."""
    match kind:
        case Nested():
            return (Nested, kind.structure, kind.null)
        case Blob():
            return (Blob, kind.sized)
        case Digest():
            return (Digest, kind.size)
        case Array():
            return (Array, _same(kind.element), kind.most, kind.least)
        case _:
            return kind


def _runs(fields: tuple[Field, ...]) -> Iterable[list[Field]]:
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


def _form(kind: Kind | None) -> Any:
    """Return what two kinds have in common if they are the same on the wire."""
    match kind:
        case Scalar():
            return (Scalar, kind.code)
        case Blob():
            return (Blob, kind.sized.code)
        case _:
            return _same(kind)


def _branches(
    choices: list[Choice], same: Callable[[Kind | None], Any] = _same
) -> list[tuple[list[int], list[Kind | None]]]:
    """Return the selectors with the kinds they choose, selectors that choose the same together.

    The first branches are those that TPMs meet most; see `_USUAL`.
    """
    found: dict[Any, tuple[list[int], list[Kind | None]]] = {}
    for selector in sorted(choices[0].kinds, key=lambda n: _USUAL.index(n) if n in _USUAL else len(_USUAL)):
        kinds = [choice.kinds.get(selector) for choice in choices]
        if any(selector not in choice.kinds for choice in choices):
            continue
        found.setdefault(tuple(same(kind) for kind in kinds), ([], kinds))[0].append(selector)
    return list(found.values())


def _test(text: Text, number: str, selectors: list[int]) -> str:
    return f"{number} == 0x{selectors[0]:x}" if len(selectors) == 1 else f"{number} in {text.numbers(selectors)}"


def _scheme(layout: Layout) -> tuple[str, Scalar, list[Choice]] | None:
    """Return name and kind of the selector, and the unions, of a structure that consists of these alone."""
    if not layout.fields:
        return None
    first, *others = layout.fields
    choices = [field.kind for field in others if isinstance(field.kind, Choice)]
    is_one = choices and len(choices) == len(others) and all(choice.selector == first.name for choice in choices)
    return (first.name, first.kind, choices) if is_one and isinstance(first.kind, Scalar) else None


# --- decoding ---------------------------------------------------------------------------------------------------------


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
        """Write the reading of the fixed fields met so far."""
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
        for run in _runs(layout.fields):
            first = run[0].kind
            if isinstance(first, Choice):
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
        scheme = _scheme(layout)
        if scheme is None:
            held = self.fields(layout, asked=kind.null)
            self.flush()
            return self.text.make(kind.structure, held)
        name, selector, choices = scheme
        names = [field.name for field in layout.fields[1:]]
        member, number = self.scalar(selector, asked=kind.null)
        made = self.text.fresh("v")

        def finish(selectors: list[int], values: list[str]) -> None:
            if len(selectors) == 1 and all(value == "None" for value in values):
                empty = {name: selector.held(selectors[0]), **dict.fromkeys(names)}
                one = self.text.name("N", (kind, selectors[0]), lambda: build(kind.structure, empty))
                self.text.add(f"{made} = {one}")
                return
            held = {name: member, **dict(zip(names, values, strict=True))}
            self.text.add(f"{made} = {self.text.make(kind.structure, held)}")

        self.flush()
        self.branch(choices, number, finish)
        return made

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
        ranges = _ranges(kind, number)
        if closed and not ranges:
            self.after.append(f"{held} = {self.text.table(kind, asked=asked)}[{number}]")
            return held, number
        table = self.text.table(kind, asked=asked)
        if ranges and not _is_total(kind):
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
        self.text.add(f"{value} = []")
        self.text.add(f"for _ in range({count}):")
        self.text.depth += 1
        element, _ = self.value(kind.element)
        self.settle()
        self.text.add(f"{value}.append({element})")
        self.text.depth -= 1
        self.text.add(f"{value} = tuple({value})")
        return value

    def choice(self, choices: list[Choice], selector: str) -> list[str]:
        """Write the reading of unions with one selector, and return what holds them."""
        names = [self.text.fresh("v") for _ in choices]

        def finish(_: list[int], values: list[str]) -> None:
            for name, value in zip(names, values, strict=True):
                self.text.add(f"{name} = {value}")

        self.branch(choices, selector, finish)
        return names

    def branch(self, choices: list[Choice], selector: str, finish: Callable[[list[int], list[str]], None]) -> None:
        """Write one chain of branches; `finish` writes what is done with the values of one."""
        word, base, plus = "if", self.base, self.plus
        for selectors, kinds in _branches(choices):
            self.text.add(f"{word} {_test(self.text, selector, selectors)}:")
            self.text.depth += 1
            self.base, self.plus = base, plus
            values = ["None" if kind is None else self.value(kind)[0] for kind in kinds]
            self.settle()
            finish(selectors, values)
            self.text.depth -= 1
            word = "elif"
        self.text.add("raise Refused" if word == "if" else "else: raise Refused")
        self.base, self.plus = "o", 0
        if word == "if":  # nothing is defined for any selector; what follows is never reached
            finish([], ["None" for _ in choices])


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
                table, ranges = text.table(kind, asked=True), _ranges(kind, number)
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


# --- encoding ---------------------------------------------------------------------------------------------------------


class _Encoding:
    """Writes the collecting of bytes in ``w``."""

    def __init__(self, text: Text) -> None:
        self.text = text
        self.run: list[tuple[str, str]] = []
        self.parts: list[str] = []
        self.started = False

    def pack(self) -> None:
        if self.run:
            codes = "".join(code for code, _ in self.run)
            self.parts.append(f"{self.text.packer(codes)}({', '.join(value for _, value in self.run)})")
            self.run = []

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
        for run in _runs(layout.fields):
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
                self.pack()
                self.parts.append(inner)
            case Digest():
                self.pack()
                self.parts.append(value)
            case Nested():
                self.fields(layout_of(kind.structure), self.local(value))
            case Box():
                inner = self.local(value)
                encoded = self.text.fresh("e")
                absent = f" if {inner} is not None else b''" if kind.absent else ""
                self.text.add(f"{encoded} = {inner}.encode(){absent}")
                self.run.append(("H", f"len({encoded})"))
                self.pack()
                self.parts.append(encoded)
            case Array():
                inner = self.local(value)
                self.run.append(("I", f"len({inner})"))
                self.pack()
                self.parts.append(self.elements(kind.element, inner))
            case Choice():
                raise TpmMisuseError("a union in a union", hint="declare the selector and the union in one structure")

    def elements(self, kind: Kind, values: str) -> str:
        match kind:
            case Scalar():
                pack = self.text.packer(kind.code)
                return f"b''.join([{pack}(e) for e in {values}])"
            case Blob():
                pack = self.text.packer(kind.sized.code)
                return f"b''.join([{pack}(len(e)) + e for e in {values}])"
            case Nested():
                return f"b''.join([e.encode() for e in {values}])"
            case Box():
                pack = self.text.packer("H")
                empty = self.text.name("B", b"", lambda: b"\0\0")
                return f"b''.join([{empty} if e is None else {pack}(len(e.encode())) + e.encode() for e in {values}])"
            case _:
                raise TpmMisuseError("a union in a union", hint="declare the selector and the union in one structure")

    def local(self, value: str) -> str:
        """Give a name to an expression, and return it."""
        if value.isidentifier():
            return value
        name = self.text.fresh("y")
        self.text.add(f"{name} = {value}")
        return name

    def choice(self, fields: list[tuple[str, Choice]], owner: str) -> None:
        """Write one chain of branches; each starts with what was met before it, so that fixed fields come together."""
        selector = self.local(f"{owner}.{fields[0][1].selector}")
        run, parts, started = self.run, self.parts, self.started
        word, is_whole = "if", True
        for selectors, kinds in _branches([kind for _, kind in fields], _form):
            pairs = [(name, kind) for (name, _), kind in zip(fields, kinds, strict=True) if kind is not None]
            if not pairs:
                is_whole = False
                continue
            self.text.add(f"{word} {_test(self.text, selector, selectors)}:")
            self.text.depth += 1
            self.run, self.parts, self.started = run[:], parts[:], started
            for name, kind in pairs:
                self.value(kind, f"{owner}.{name}")
            self.collect()
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


# --- making -----------------------------------------------------------------------------------------------------------


def write_maker(text: Text, cls: type[Declared]) -> None:
    """Write the body of a constructor whose parameters are the fields: check, bring into form, make."""
    layout = layout_of(cls)
    held: dict[str, str] = {}
    for field in layout.all:
        name, kind = field.name, field.kind
        known = text.name("K", field, lambda kind=kind: kind)  # type: ignore[misc]
        before = f"{{{kind.selector!r}: {kind.selector}}}" if isinstance(kind, Choice) else "{}"
        call = f"{name} = admit({known}, {name}, {layout.name + '.' + name!r}, {before}, asked=True)"
        usual = _usual(text, kind, name)
        if usual is None:
            text.add(call)
        else:
            text.add(f"if not ({usual}):")
            text.add(f"    {call}")
        held[name] = name
    text.add(f"return {text.make(cls, held)}")


def _usual(text: Text, kind: Kind, name: str) -> str | None:
    """Return the condition that a value is already as the field holds it; None where only `admit` can tell."""
    match kind:
        case Scalar():
            return _usual_scalar(text, kind, name)
        case Blob():
            least = f"{kind.sized.least} <= " if kind.sized.least else ""
            return f"typeof({name}) is bytes and {least}len({name}) <= {kind.sized.most}"
        case Nested() | Box():
            is_one = f"typeof({name}) is {text.of(kind.structure)}"
            conditional = layout_of(kind.structure).conditional
            if conditional is not None and not kind.null:
                is_one += f" and {name}.{conditional[0]} != 0x{conditional[1]:x}"
            return f"{name} is None or {is_one}" if isinstance(kind, Box) and kind.absent else is_one
        case Array():
            return f"{name} == () and typeof({name}) is tuple" if not kind.least else None
        case Choice():
            kinds = list(kind.kinds.items())
            if not all(
                k is None or (isinstance(k, Nested) and not layout_of(k.structure).conditional) for _, k in kinds
            ):
                return None
            types = {number: k.structure if isinstance(k, Nested) else type(None) for number, k in kinds}
            table = text.name("T", kind, lambda: types)
            return f"{table}.get({kind.selector}) is typeof({name})"
        case _:
            return None


def _usual_scalar(text: Text, kind: Scalar, name: str) -> str:
    if kind.kind is bool:
        return f"{name} is True or {name} is False"
    if kind.is_attributes:
        return f"typeof({name}) is {text.of(kind.kind)} and not {name}._value_ & 0x{kind.reserved:x}"
    if kind.kind is not int:
        return f"typeof({name}) is {text.of(kind.kind)} and {name} in {text.table(kind, asked=True)}"
    if kind.allowed is not None:
        ranges = _ranges(kind, name)
        plain = (
            [f"typeof({name}) is int and ({ranges}) and {name} not in {text.table(kind, asked=True)}"] if ranges else []
        )
        table = text.table(kind, asked=True)
        if kind.is_handle:
            plain.append(f"typeof({name}) is {text.of(_enum_of_handles())} and {name} in {table}")
        else:
            plain.append(f"typeof({name}) is int and {name} in {table}")
        return " or ".join(f"({part})" for part in plain)
    bits = 8 * kind.size
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if kind.code.islower() else (0, (1 << bits) - 1)
    return f"typeof({name}) is int and {low} <= {name} <= {high}"


def _enum_of_handles() -> type:
    from prestocloud_sec.tpm.spec.constants import TPM_RH

    return TPM_RH
