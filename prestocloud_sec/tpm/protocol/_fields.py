# SPDX-License-Identifier: Apache-2.0
"""Messages of the attestation protocol as rows of fields: one declaration gives decoder, encoder, checks and limits.

A message is ``PSRA``, a version, a type, and its fields one after the other, big-endian; whatever varies in length has
its length in front, and a limit. There is one way to write each value, and nothing may follow the last field. A length
or a number of elements is compared with its limit, and with what is left, before anything is taken.

Nothing here knows what the messages are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from prestocloud_sec.errors import TrailingBytesError, TruncatedError
from prestocloud_sec.tpm._given import octets
from prestocloud_sec.tpm._given import text as a_text
from prestocloud_sec.tpm.errors import TpmFormatError, TpmMisuseError, TpmTrailingBytesError, TpmTruncatedError
from prestocloud_sec.wire import Reader, Writer, items_of, shown, whole

if TYPE_CHECKING:
    from typing import Self

    from prestocloud_sec.wire import BytesLike

__all__ = ["MAGIC", "VERSION", "Blob", "Field", "Fixed", "Listing", "Message", "Number", "Row", "Text"]

MAGIC = b"PSRA"
"""The first bytes of every message."""

VERSION = 1
"""The version of the protocol; a message of another is refused."""


@dataclass(frozen=True, slots=True)
class Field(ABC):
    """A field of a message; `name` is the attribute that holds it."""

    name: str

    @abstractmethod
    def read(self, reader: Reader) -> Any:
        """Take the field; TpmFormatError if it breaks its limits."""

    @abstractmethod
    def write(self, writer: Writer, value: Any) -> None:
        """Append a value that `admit` let in."""

    @abstractmethod
    def admit(self, value: Any, where: str) -> Any:
        """Return `value` as the message is to hold it; TpmMisuseError if it cannot be held."""

    def _refuse(self, reader: Reader, found: str, expected: str) -> TpmFormatError:
        return TpmFormatError(found, where=self.name, offset=reader.offset, expected=expected)


@dataclass(frozen=True, slots=True)
class Number(Field):
    """An unsigned integer of `size` bytes; `kind` makes something of it, and refuses others with ValueError."""

    size: int
    kind: Callable[[int], Any] | None = None

    def read(self, reader: Reader) -> Any:
        number = reader.uint(self.size, self.name)
        if self.kind is None:
            return number
        try:
            return self.kind(number)
        except ValueError as error:
            raise self._refuse(reader, str(number), "one that is known") from error

    def write(self, writer: Writer, value: Any) -> None:
        writer.uint(int(value), self.size, self.name)

    def admit(self, value: Any, where: str) -> Any:
        number = whole(value, where, 0, (1 << 8 * self.size) - 1, error=TpmMisuseError)
        if self.kind is None:
            return number
        try:
            return self.kind(number)
        except ValueError as error:
            raise TpmMisuseError(shown(value), where=where, expected="one that is known") from error


@dataclass(frozen=True, slots=True)
class Fixed(Field):
    """A fixed number of bytes."""

    size: int

    def read(self, reader: Reader) -> bytes:
        return reader.take(self.size, self.name)

    def write(self, writer: Writer, value: bytes) -> None:
        writer.put(value, self.size, self.name)

    def admit(self, value: Any, where: str) -> bytes:
        return octets(value, where, self.size)


@dataclass(frozen=True, slots=True)
class Blob(Field):
    """Up to `most` bytes, with their number in four bytes in front."""

    most: int

    def read(self, reader: Reader) -> bytes:
        size = reader.u32(f"size of {self.name}")
        if size > self.most:
            raise self._refuse(reader, f"{size} bytes", f"at most {self.most}")
        return reader.take(size, self.name)

    def write(self, writer: Writer, value: bytes) -> None:
        writer.u32(len(value), f"size of {self.name}").put(value, None, self.name)

    def admit(self, value: Any, where: str) -> bytes:
        return octets(value, where, most=self.most)


@dataclass(frozen=True, slots=True)
class Text(Field):
    """Text of up to `most` bytes in UTF-8, with their number in two bytes in front."""

    most: int

    def read(self, reader: Reader) -> str:
        size = reader.u16(f"size of {self.name}")
        if size > self.most:
            raise self._refuse(reader, f"{size} bytes", f"at most {self.most}")
        try:
            return reader.take(size, self.name).decode("utf-8")
        except UnicodeDecodeError as error:
            raise self._refuse(reader, "bytes that are no text", "UTF-8") from error

    def write(self, writer: Writer, value: str) -> None:
        raw = value.encode("utf-8")
        writer.u16(len(raw), f"size of {self.name}").put(raw, None, self.name)

    def admit(self, value: Any, where: str) -> str:
        held = a_text(value, where)
        try:
            size = len(held.encode("utf-8"))
        except UnicodeEncodeError as error:
            raise TpmMisuseError("half a character", where=where, expected="text") from error
        if size > self.most:
            raise TpmMisuseError(f"{size} bytes", where=where, expected=f"at most {self.most}")
        return held


@dataclass(frozen=True, slots=True)
class Listing(Field):
    """Up to `most` elements, with their number in two bytes in front."""

    most: int
    element: Field

    def read(self, reader: Reader) -> tuple[Any, ...]:
        count = reader.u16(f"number of {self.name}")
        if count > self.most:
            raise self._refuse(reader, f"{count} of them", f"at most {self.most}")
        return tuple(self.element.read(reader) for _ in range(count))

    def write(self, writer: Writer, value: Any) -> None:
        writer.u16(len(value), f"number of {self.name}")
        for item in value:
            self.element.write(writer, item)

    def admit(self, value: Any, where: str) -> tuple[Any, ...]:
        if isinstance(value, bytes | bytearray | memoryview | str):
            raise TpmMisuseError(shown(value), where=where, expected="a list")
        held = tuple(
            self.element.admit(item, where) for item in items_of(value, where, "an iterable", error=TpmMisuseError)
        )
        if len(held) > self.most:
            raise TpmMisuseError(f"{len(held)} of them", where=where, expected=f"at most {self.most}")
        return held


@dataclass(frozen=True, slots=True)
class Row(Field):
    """Fields that belong together, held as an object of `kind`."""

    kind: type
    parts: tuple[Field, ...]

    def read(self, reader: Reader) -> Any:
        return self.kind(*(part.read(reader) for part in self.parts))

    def write(self, writer: Writer, value: Any) -> None:
        for part in self.parts:
            part.write(writer, getattr(value, part.name))

    def admit(self, value: Any, where: str) -> Any:
        if not isinstance(value, self.kind):
            raise TpmMisuseError(shown(value), where=where, expected=f"a {self.kind.__name__}")
        return self.kind(*(part.admit(getattr(value, part.name), f"{where}.{part.name}") for part in self.parts))


class Message:
    """Base of the frozen dataclasses that are messages."""

    __slots__ = ()

    TYPE: ClassVar[int]
    FIELDS: ClassVar[tuple[Field, ...]]

    def __post_init__(self) -> None:
        for field in self.FIELDS:
            held = field.admit(getattr(self, field.name), f"{type(self).__name__}.{field.name}")
            object.__setattr__(self, field.name, held)
        problem = self.problem()
        if problem is not None:
            raise TpmMisuseError(problem, where=type(self).__name__)

    def problem(self) -> str | None:
        """Return what is wrong with fields that are right one by one; None if nothing is."""
        return None

    def encode(self) -> bytes:
        """Return the bytes of the message."""
        writer = Writer(type(self).__name__)
        writer.put(MAGIC, 4, "magic").u8(VERSION, "version").u8(self.TYPE, "type")
        for field in self.FIELDS:
            field.write(writer, getattr(self, field.name))
        return writer.finish()

    @classmethod
    def decode(cls, data: BytesLike) -> Self:
        """Return the message that `data` holds from its first to its last byte.

        Raises
        ------
        TpmFormatError
            If it is none of this type and version, or breaks a limit; says which field and where.
        TpmMisuseError
            If `data` is not bytes-like.
        """
        name = cls.__name__
        reader = Reader(octets(data, name), name=name)
        try:
            head = reader.take(4, "magic"), reader.u8("version"), reader.u8("type")
            if head != (MAGIC, VERSION, cls.TYPE):
                raise TpmFormatError(
                    f"{head[0].hex()}, version {head[1]}, type {head[2]}",
                    where=name,
                    offset=0,
                    expected=f"{MAGIC.hex()}, version {VERSION}, type {cls.TYPE}",
                )
            values = {field.name: field.read(reader) for field in cls.FIELDS}
            reader.end()
            return cls(**values)
        except TruncatedError as error:
            raise TpmTruncatedError(error.what, where=error.where, expected=error.expected) from error
        except TrailingBytesError as error:
            raise TpmTrailingBytesError(error.what, where=error.where) from error
        except TpmMisuseError as error:
            raise TpmFormatError(error.what, where=error.where, expected=error.expected) from error


def type_of(data: BytesLike) -> int:
    """Return the type of a message, without a look at its fields; TpmFormatError if it is none."""
    raw = octets(data, "message")
    if len(raw) < 6 or raw[:4] != MAGIC or raw[4] != VERSION:
        raise TpmFormatError(
            shown(raw[:6]), where="message", offset=0, expected=f"{MAGIC.hex()}, version {VERSION} and a type"
        )
    return raw[5]
