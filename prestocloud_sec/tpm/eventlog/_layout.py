# SPDX-License-Identifier: Apache-2.0
"""One declaration of a little-endian structure of firmware gives its decoder, its encoder and its checks.

A layout is a row of fields in the order of the bytes. Where a size or a number of elements stands apart from what it
counts, as UEFI likes it, a `Count` names the field it counts; there is no attribute for it, so the two cannot
disagree. Nothing is taken before the bytes are there: a count of four billion allocates nothing.

`Source` is the cursor, and `FirmwareStructure` the base of the frozen dataclasses. Nothing here knows an event log.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from prestocloud_sec.tpm._given import octets
from prestocloud_sec.tpm.errors import TpmFormatError, TpmMisuseError, TpmTrailingBytesError, TpmTruncatedError
from prestocloud_sec.wire import items_of, shown, whole

if TYPE_CHECKING:
    from typing import Self

    from prestocloud_sec.wire import BytesLike

__all__ = [
    "Count",
    "Counted",
    "Field",
    "FirmwareStructure",
    "Items",
    "Mark",
    "Octets",
    "Rest",
    "Source",
    "Text16",
    "Uint",
]


class Source:
    """A cursor over bytes; a short input is told with the field and the offset.

    Parameters
    ----------
    data : bytes
        What is read.
    where : str
        What errors call it.
    base : int
        Where `data` starts in what errors are to speak of.
    byteorder : str
        Of numbers.
    """

    __slots__ = ("_data", "at", "base", "byteorder", "where")

    def __init__(self, data: bytes, where: str, base: int = 0, byteorder: Literal["little", "big"] = "little") -> None:
        self._data = data
        self.byteorder = byteorder
        self.at = 0
        self.base = base
        self.where = where

    @property
    def left(self) -> int:
        """Number of bytes not yet read."""
        return len(self._data) - self.at

    @property
    def offset(self) -> int:
        """Where the next byte is in what errors speak of."""
        return self.base + self.at

    def take(self, size: int, field: str) -> bytes:
        """Take `size` bytes."""
        start, end = self.at, self.at + size
        if end > len(self._data):
            raise TpmTruncatedError(
                f"{self.left} bytes left", where=f"{self.where}.{field}", offset=self.offset, expected=str(size)
            )
        self.at = end
        return self._data[start:end]

    def uint(self, size: int, field: str) -> int:
        """Take an unsigned integer of `size` bytes."""
        return int.from_bytes(self.take(size, field), self.byteorder)

    def rest(self) -> bytes:
        """Take all that is left."""
        return self.take(self.left, "rest")

    def peek(self, size: int | None = None) -> bytes:
        """Return the next `size` bytes, or as many as there are, and leave them."""
        return self._data[self.at :] if size is None else self._data[self.at : self.at + size]

    def refuse(self, what: str, field: str, expected: str, *, offset: int | None = None) -> TpmFormatError:
        """Return the error for a field that was just read, or lies at `offset`."""
        place = f"{self.where}.{field}"
        return TpmFormatError(what, where=place, offset=self.offset if offset is None else offset, expected=expected)

    def end(self) -> None:
        """Refuse bytes after the last field."""
        if self.left:
            raise TpmTrailingBytesError(f"{self.left} bytes too many", where=self.where, offset=self.offset)


@dataclass(frozen=True, slots=True)
class Field(ABC):
    """A field of a layout; `name` is the attribute of the structure that holds it."""

    name: str

    @abstractmethod
    def read(self, source: Source, counts: dict[str, int]) -> Any:
        """Take the field; `counts` holds what fields before it said of those to come."""

    def write(self, value: Any) -> bytes:  # noqa: ARG002
        """Return the bytes of a value that `admit` let in."""
        return b""

    def admit(self, value: Any, where: str) -> Any:  # noqa: ARG002
        """Return `value` as the structure is to hold it; TpmMisuseError if it cannot be held."""
        return value

    def count(self, value: Any) -> int:
        """Return what a `Count` of this field says of `value`."""
        return len(value)


@dataclass(frozen=True, slots=True)
class Uint(Field):
    """An unsigned integer of `size` bytes; `kind` gives the numbers it knows a name, others stay plain."""

    size: int
    kind: Callable[[int], int] | None = None

    def read(self, source: Source, counts: dict[str, int]) -> int:  # noqa: ARG002
        return self._named(source.uint(self.size, self.name))

    def write(self, value: int) -> bytes:
        return int(value).to_bytes(self.size, "little")

    def admit(self, value: Any, where: str) -> int:
        return self._named(whole(value, where, 0, (1 << 8 * self.size) - 1, error=TpmMisuseError))

    def _named(self, number: int) -> int:
        if self.kind is None:
            return number
        try:
            return self.kind(number)
        except ValueError:
            return number


@dataclass(frozen=True, slots=True)
class Octets(Field):
    """A fixed number of bytes; `kind`, where given, is the value they are held as (it has `encode`)."""

    size: int
    kind: Any = None

    def read(self, source: Source, counts: dict[str, int]) -> Any:  # noqa: ARG002
        raw = source.take(self.size, self.name)
        return raw if self.kind is None else self.kind.decode(raw)

    def write(self, value: Any) -> bytes:
        encoded: bytes = value if self.kind is None else value.encode()
        return encoded

    def admit(self, value: Any, where: str) -> Any:
        if self.kind is None:
            return octets(value, where, self.size)
        return value if isinstance(value, self.kind) else self.kind(value)


@dataclass(frozen=True, slots=True)
class Mark(Field):
    """Bytes that are always the same (a signature): no attribute of the structure, refused when different."""

    value: bytes

    def read(self, source: Source, counts: dict[str, int]) -> None:  # noqa: ARG002
        offset = source.offset
        found = source.take(len(self.value), self.name)
        if found != self.value:
            raise source.refuse(shown(found), self.name, shown(self.value), offset=offset)

    def write(self, value: Any) -> bytes:  # noqa: ARG002
        return self.value


@dataclass(frozen=True, slots=True)
class Count(Field):
    """The size or number of a field to come, `size` bytes wide; no attribute of the structure."""

    size: int

    def read(self, source: Source, counts: dict[str, int]) -> None:
        counts[self.name] = source.uint(self.size, f"size of {self.name}")


@dataclass(frozen=True, slots=True)
class Counted(Field):
    """As many bytes as a `Count` before it says; `kind`, where given, is the value they are held as."""

    kind: Any = None

    def read(self, source: Source, counts: dict[str, int]) -> Any:
        offset = source.offset
        raw = source.take(counts[self.name], self.name)
        return raw if self.kind is None else self.kind.read_from(raw, f"{source.where}.{self.name}", offset)

    def write(self, value: Any) -> bytes:
        encoded: bytes = value if self.kind is None else value.encode()
        return encoded

    def admit(self, value: Any, where: str) -> Any:
        if self.kind is None:
            return octets(value, where)
        if not isinstance(value, self.kind):
            raise TpmMisuseError(shown(value), where=where, expected=f"a {self.kind.__name__}")
        return value

    def count(self, value: Any) -> int:
        return len(self.write(value))


@dataclass(frozen=True, slots=True)
class Text16(Field):
    """UTF-16 text without a terminator; its `Count` counts units of two bytes.

    Halves of surrogate pairs that firmware leaves alone are kept as they are.
    """

    def read(self, source: Source, counts: dict[str, int]) -> str:
        return source.take(2 * counts[self.name], self.name).decode("utf-16-le", "surrogatepass")

    def write(self, value: str) -> bytes:
        return value.encode("utf-16-le", "surrogatepass")

    def admit(self, value: Any, where: str) -> str:
        if not isinstance(value, str):
            raise TpmMisuseError(shown(value), where=where, expected="text")
        # Two halves side by side are one character on the wire.
        return self.write(value).decode("utf-16-le", "surrogatepass")

    def count(self, value: Any) -> int:
        return len(self.write(value)) // 2


@dataclass(frozen=True, slots=True)
class Items(Field):
    """As many structures as a `Count` before it says, or, where there is none, as many as fill the rest."""

    structure: type[FirmwareStructure]
    counted: bool = True

    def read(self, source: Source, counts: dict[str, int]) -> tuple[Any, ...]:
        found: list[Any] = []
        while len(found) < counts[self.name] if self.counted else source.left:
            found.append(self.structure.take_from(source))
        return tuple(found)

    def write(self, value: Any) -> bytes:
        return b"".join(item.encode() for item in value)

    def admit(self, value: Any, where: str) -> tuple[Any, ...]:
        name = self.structure.__name__
        held = tuple(items_of(value, where, f"an iterable of {name}", error=TpmMisuseError))
        for item in held:
            if not isinstance(item, self.structure):
                raise TpmMisuseError(shown(item), where=where, expected=f"only {name} in it")
        return held


@dataclass(frozen=True, slots=True)
class Nested(Field):
    """Another structure."""

    structure: type[FirmwareStructure]

    def read(self, source: Source, counts: dict[str, int]) -> Any:  # noqa: ARG002
        return self.structure.take_from(source)

    def write(self, value: Any) -> bytes:
        encoded: bytes = value.encode()
        return encoded

    def admit(self, value: Any, where: str) -> Any:
        if not isinstance(value, self.structure):
            raise TpmMisuseError(shown(value), where=where, expected=f"a {self.structure.__name__}")
        return value


@dataclass(frozen=True, slots=True)
class Rest(Field):
    """All bytes that are left."""

    def read(self, source: Source, counts: dict[str, int]) -> bytes:  # noqa: ARG002
        return source.rest()

    def write(self, value: bytes) -> bytes:
        return value

    def admit(self, value: Any, where: str) -> bytes:
        return octets(value, where)


_UNHELD = (Mark, Count)  # fields that are on the wire alone


class FirmwareStructure:
    """Base of the frozen dataclasses whose fields are in memory as their `LAYOUT` says."""

    __slots__ = ()

    LAYOUT: ClassVar[tuple[Field, ...]] = ()

    def __post_init__(self) -> None:
        sizes = {field.name: field.size for field in self.LAYOUT if isinstance(field, Count)}
        for field in self.LAYOUT:
            if isinstance(field, _UNHELD):
                continue
            where = f"{type(self).__name__}.{field.name}"
            given = getattr(self, field.name)
            held = field.admit(given, where)
            if held is not given:
                object.__setattr__(self, field.name, held)
            most = (1 << 8 * sizes.get(field.name, 8)) - 1
            if field.name in sizes and field.count(held) > most:
                raise TpmMisuseError(f"{field.count(held)} of them", where=where, expected=f"at most {most}")
        self.check()

    def check(self) -> None:
        """Refuse fields that are right one by one but not together, with TpmMisuseError."""

    def encode(self) -> bytes:
        """Return the bytes of the structure."""
        by_name = {field.name: field for field in self.LAYOUT if not isinstance(field, Count)}
        parts: list[bytes] = []
        for field in self.LAYOUT:
            if isinstance(field, Count):
                number = by_name[field.name].count(getattr(self, field.name))
                parts.append(number.to_bytes(field.size, "little"))
            else:
                parts.append(field.write(getattr(self, field.name, None)))
        return b"".join(parts)

    @classmethod
    def take_from(cls, source: Source) -> Self:
        """Take the structure from a cursor, and leave what comes after it."""
        counts: dict[str, int] = {}
        values = {}
        for field in cls.LAYOUT:
            value = field.read(source, counts)
            if not isinstance(field, _UNHELD):
                values[field.name] = value
        try:
            return cls(**values)
        except TpmMisuseError as error:
            raise TpmFormatError(error.what, where=error.where, expected=error.expected) from error

    @classmethod
    def decode(cls, data: BytesLike) -> Self:
        """Return the value that `data`, from first to last byte, holds.

        Raises
        ------
        TpmFormatError
            If a size, a signature or a number is wrong; says which and where.
        TpmMisuseError
            If `data` is not bytes-like.
        """
        return cls.read_from(octets(data, cls.__name__), cls.__name__, 0)

    @classmethod
    def read_from(cls, data: bytes, where: str, base: int) -> Self:
        """Decode bytes that lie at `base` of what errors call `where`."""
        source = Source(data, where, base)
        found = cls.take_from(source)
        source.end()
        return found
