# SPDX-License-Identifier: Apache-2.0
"""One declaration of a header gives its decoder, its encoder, its checks and its picture.

A `Layout` is a row of fields in wire order, each with its width in bits. There are no gaps, so the offset of a field is
the sum of the widths before it; everything is big-endian. A `Tail`, where there is one, takes what follows the fixed
part. `Structure` is the base of the frozen dataclasses that hold such fields: one that exists can always be encoded.

Nothing here knows a protocol.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from prestocloud_sec.cjdns.errors import CjdnsMisuseError, HeaderError
from prestocloud_sec.errors import MisuseError
from prestocloud_sec.wire import shown, view_of, whole

if TYPE_CHECKING:
    from typing import Self

    from prestocloud_sec.wire import BytesLike

__all__ = [
    "Cell",
    "Field",
    "Fixed",
    "Flag",
    "Layout",
    "Nested",
    "Number",
    "Octets",
    "Structure",
    "Tail",
    "octets",
    "view",
]


def view(data: BytesLike, name: str) -> memoryview:
    """Return a flat view of `data`; CjdnsMisuseError if it has none."""
    try:
        return view_of(data, name=name)
    except MisuseError as error:
        raise CjdnsMisuseError(error.what, where=error.where, expected=error.expected) from error


def octets(data: BytesLike, name: str, size: int | None = None) -> bytes:
    """Return `data` as bytes; CjdnsMisuseError unless bytes-like and, where `size` is given, that long."""
    raw = data if type(data) is bytes else bytes(view(data, name))
    if size is not None and len(raw) != size:
        raise CjdnsMisuseError(f"{len(raw)} bytes", where=name, expected=f"{size} bytes")
    return raw


class Cell(NamedTuple):
    """A field as a human reads it: name, first bit counted from the start of the structure, width, text."""

    name: str
    first_bit: int
    bits: int
    text: str


@dataclass(frozen=True, slots=True)
class Field(ABC):
    """A field of a layout.

    Attributes
    ----------
    name : str
        The attribute of the structure that holds it.
    bits : int
        Width on the wire.
    show : callable, optional
        Turns the value into text for a human.
    """

    name: str
    bits: int
    show: Callable[[Any], str] | None = field(default=None, kw_only=True)

    @abstractmethod
    def take(self, raw: int, where: str, offset: int) -> Any:
        """Return the value of the bits `raw`; HeaderError, naming `where` and `offset`, if there is none."""

    @abstractmethod
    def give(self, value: Any) -> int:
        """Return the bits of a value that `admit` let in."""

    @abstractmethod
    def admit(self, value: Any, where: str) -> Any:
        """Return `value` as the structure is to hold it; CjdnsMisuseError if it cannot be held."""

    def text(self, value: Any) -> str:
        """Return the value as a human reads it."""
        return self.show(value) if self.show is not None else str(value)

    def literal(self, value: Any) -> str:
        """Return the value as the `repr` of its structure shows it."""
        return repr(value)

    def cells(self, value: Any, first_bit: int, prefix: str) -> Iterator[Cell]:
        """Yield what there is to show of the value."""
        yield Cell(prefix + self.name, first_bit, self.bits, self.text(value))


@dataclass(frozen=True, slots=True)
class Number(Field):
    """An unsigned integer; `kind` gives the numbers it knows a name (an enumeration), others stay plain."""

    kind: Callable[[int], int] | None = field(default=None, kw_only=True)

    def take(self, raw: int, where: str, offset: int) -> int:  # noqa: ARG002
        if self.kind is None:
            return raw
        try:
            return self.kind(raw)
        except ValueError:
            return raw

    def give(self, value: int) -> int:
        return int(value)

    def admit(self, value: Any, where: str) -> int:
        if not isinstance(value, int):
            value = whole(value, where, None, error=CjdnsMisuseError)
        if not 0 <= value < 1 << self.bits:
            raise CjdnsMisuseError(f"{shown(value)} does not fit", where=where, expected=f"0..{(1 << self.bits) - 1}")
        return value if self.kind is None else self.take(value, where, 0)

    def text(self, value: Any) -> str:
        if self.show is not None:
            return self.show(value)
        name = getattr(value, "name", None)
        return f"{int(value)} ({name})" if name else str(int(value))


@dataclass(frozen=True, slots=True)
class Flag(Field):
    """A single bit."""

    bits: int = 1

    def take(self, raw: int, where: str, offset: int) -> bool:  # noqa: ARG002
        return bool(raw)

    def give(self, value: bool) -> int:
        return int(value)

    def admit(self, value: Any, where: str) -> bool:
        if not isinstance(value, int) or value not in (0, 1):
            raise CjdnsMisuseError(f"{shown(value)} is not a flag", where=where, expected="True or False")
        return bool(value)

    def text(self, value: Any) -> str:
        return "yes" if value else "no"


@dataclass(frozen=True, slots=True)
class Octets(Field):
    """A fixed number of bytes."""

    def take(self, raw: int, where: str, offset: int) -> bytes:  # noqa: ARG002
        return raw.to_bytes(self.bits // 8, "big")

    def give(self, value: bytes) -> int:
        return int.from_bytes(value, "big")

    def admit(self, value: Any, where: str) -> bytes:
        return octets(value, where, self.bits // 8)

    def text(self, value: Any) -> str:
        return self.show(value) if self.show is not None else bytes(value).hex()


@dataclass(frozen=True, slots=True)
class Fixed(Field):
    """Bits that are always the same (a magic, a version): no attribute of the structure, refused when different."""

    number: int

    def _hex(self, number: int) -> str:
        return f"{number:0{-(-self.bits // 4)}x}"

    def take(self, raw: int, where: str, offset: int) -> None:
        if raw != self.number:
            raise HeaderError(self._hex(raw), where=where, offset=offset, expected=self._hex(self.number))

    def give(self, value: Any) -> int:  # noqa: ARG002
        return self.number

    def admit(self, value: Any, where: str) -> None:  # noqa: ARG002
        return None

    def text(self, value: Any) -> str:  # noqa: ARG002
        return self._hex(self.number)


@dataclass(frozen=True, slots=True)
class Nested(Field):
    """Another structure, without a tail."""

    structure: type[Structure]

    def take(self, raw: int, where: str, offset: int) -> Structure:  # noqa: ARG002
        return self.structure.decode(raw.to_bytes(self.bits // 8, "big"))

    def give(self, value: Structure) -> int:
        return int.from_bytes(value.encode(), "big")

    def admit(self, value: Any, where: str) -> Structure:
        if not isinstance(value, self.structure):
            raise CjdnsMisuseError(f"{type(value).__name__}", where=where, expected=self.structure.__name__)
        return value

    def cells(self, value: Any, first_bit: int, prefix: str) -> Iterator[Cell]:
        yield from self.structure.LAYOUT.cells(value, first_bit, f"{prefix}{self.name}.")


@dataclass(frozen=True, slots=True)
class Tail:
    """What follows the fixed fields: the attribute that holds it, and its most bytes where a receiver has a limit."""

    name: str
    most: int | None = None


class Layout:
    """Fields in wire order, and perhaps a tail.

    Parameters
    ----------
    name : str
        What errors call the structure.
    placed_fields : Field
        Fixed fields; together a whole number of bytes.
    tail : Tail, optional
        Where the bytes after the fixed fields go. Without it there must be none.
    """

    __slots__ = ("_fields", "name", "size", "tail")

    def __init__(self, name: str, *placed_fields: Field, tail: Tail | None = None) -> None:
        bits = sum(f.bits for f in placed_fields)
        self.name = name
        self.tail = tail
        self.size = bits // 8
        placed = []
        for f in placed_fields:
            bits -= f.bits
            placed.append((f, bits, (1 << f.bits) - 1, f"{name}.{f.name}"))
        self._fields = tuple(placed)

    def unpack(self, data: BytesLike, *, offset: int = 0) -> dict[str, Any]:
        """Return the values by name; `offset` is where `data` starts in what the error is to speak of."""
        raw = view(data, self.name)
        if len(raw) < self.size:
            least = f"at least {self.size}" if self.tail is not None else f"{self.size}"
            raise HeaderError(f"{len(raw)} bytes", where=self.name, offset=offset, expected=least)
        number = int.from_bytes(raw[: self.size], "big")
        values = {}
        for f, shift, mask, where in self._fields:
            value = f.take(number >> shift & mask, where, offset + self.size - (shift + f.bits + 7) // 8)
            if not isinstance(f, Fixed):
                values[f.name] = value
        rest = raw[self.size :]
        if self.tail is not None:
            self._limit(len(rest), HeaderError)
            values[self.tail.name] = bytes(rest)
        elif rest:
            raise HeaderError(
                f"{len(rest)} bytes too many",
                where=self.name,
                offset=offset + self.size,
                expected=f"{self.size} bytes",
                hint="cut the header off first",
            )
        return values

    def pack(self, value: object) -> bytes:
        """Return the bytes of a structure whose attributes went through `admit`."""
        number = 0
        for f, shift, _mask, _where in self._fields:
            number |= f.give(getattr(value, f.name, None)) << shift
        fixed = number.to_bytes(self.size, "big")
        return fixed if self.tail is None else fixed + getattr(value, self.tail.name)

    def admit(self, value: object) -> None:
        """Bring the attributes of a structure into the form they are held in; CjdnsMisuseError if one does not fit."""
        for f, _shift, _mask, where in self._fields:
            if not isinstance(f, Fixed):
                given = getattr(value, f.name)
                held = f.admit(given, where)
                if held is not given:
                    object.__setattr__(value, f.name, held)
        if self.tail is not None:
            rest = octets(getattr(value, self.tail.name), f"{self.name}.{self.tail.name}")
            self._limit(len(rest), CjdnsMisuseError)
            object.__setattr__(value, self.tail.name, rest)

    def cells(self, value: object, first_bit: int = 0, prefix: str = "") -> Iterator[Cell]:
        """Yield every field of a structure as a human reads it, in wire order."""
        for f, _shift, _mask, _where in self._fields:
            yield from f.cells(getattr(value, f.name, None), first_bit, prefix)
            first_bit += f.bits
        if self.tail is not None:
            rest: bytes = getattr(value, self.tail.name)
            if rest:
                yield Cell(prefix + self.tail.name, first_bit, 8 * len(rest), rest.hex())

    def literals(self, value: object) -> dict[str, str]:
        """Return the fixed fields of a structure as its `repr` shows them, by name."""
        return {f.name: f.literal(getattr(value, f.name, None)) for f, _shift, _mask, _where in self._fields}

    def _limit(self, size: int, kind: type[HeaderError | CjdnsMisuseError]) -> None:
        if self.tail is not None and self.tail.most is not None and size > self.tail.most:
            where = f"{self.name}.{self.tail.name}"
            raise kind(f"{size} bytes", where=where, expected=f"at most {self.tail.most}")


class Structure:
    """Base of the dataclasses whose fields are on the wire as their `LAYOUT` says."""

    __slots__ = ()

    LAYOUT: ClassVar[Layout]

    def __post_init__(self) -> None:
        self.LAYOUT.admit(self)

    def __repr__(self) -> str:
        """Show the fields as a dataclass does, those apart whose numbers people write in a way of their own."""
        literals = self.LAYOUT.literals(self)
        shown_fields = [f.name for f in fields(self) if f.repr]  # type: ignore[arg-type]
        texts = (f"{name}={literals.get(name) or repr(getattr(self, name))}" for name in shown_fields)
        return f"{type(self).__name__}({', '.join(texts)})"

    def encode(self) -> bytes:
        """Return the bytes on the wire."""
        return self.LAYOUT.pack(self)

    @classmethod
    def decode(cls, data: BytesLike) -> Self:
        """Return the value that `data`, from first to last byte, encodes.

        Raises
        ------
        HeaderError
            If a length, magic or version is wrong; says which and where.
        CjdnsMisuseError
            If `data` is not bytes-like.
        """
        return cls(**cls.LAYOUT.unpack(data))
