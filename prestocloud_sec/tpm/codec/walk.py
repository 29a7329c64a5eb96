# SPDX-License-Identifier: Apache-2.0
"""The plain walk over a declaration: the readable codec, and the oracle of the derived one.

It takes one field after the other, checks everything where it stands, and knows at any time where it is: when the
derived text refuses bytes, it is this walk that says why. What is refused, and with which response code, is what
Part 2 tells a TPM to check when it unmarshals (clause 4.5 and the ``#TPM_RC`` rows of the tables).
"""

from __future__ import annotations

from collections.abc import Mapping
from struct import pack
from typing import Any

from prestocloud_sec.tpm.codec.fields import Array, Blob, Box, Choice, Digest, Kind, Layout, Nested, Scalar, layout_of
from prestocloud_sec.tpm.errors import TpmFormatError, TpmMisuseError, TpmTrailingBytesError, TpmTruncatedError
from prestocloud_sec.tpm.spec.constants import TPM_RC
from prestocloud_sec.tpm.spec.declare import Declared
from prestocloud_sec.wire import shown, whole

__all__ = [
    "Cursor",
    "build",
    "decode_fields",
    "decode_kind",
    "encode_fields",
    "walk_decode",
    "walk_encode",
    "walk_parameters",
]

RC_SIZE = int(TPM_RC.SIZE)
RC_SELECTOR = int(TPM_RC.SELECTOR)
RC_INSUFFICIENT = int(TPM_RC.INSUFFICIENT)
"""What a TPM answers (Part 2, 6.6.3): to a size or count that is wrong, an unknown selector, too few bytes."""


class Cursor:
    """Where the walk is: in the bytes, and in the declaration.

    Parameters
    ----------
    data : bytes
        What is read.
    name : str
        What errors call it.
    lenient : bool
        Whether numbers that no table has, and more bytes or elements than any table allows, are kept.
    """

    __slots__ = ("at", "data", "end", "lenient", "trail")

    def __init__(self, data: bytes, name: str, *, lenient: bool = False) -> None:
        self.data = data
        self.at = 0
        self.end = len(data)
        self.lenient = lenient
        self.trail = [name]

    @property
    def where(self) -> str:
        """The path to the field that is being read."""
        return ".".join(self.trail)

    def take(self, size: int) -> bytes:
        """Take bytes; TpmTruncatedError where there are not so many."""
        start, stop = self.at, self.at + size
        if stop > self.end:
            raise TpmTruncatedError(
                f"{self.end - start} bytes left",
                where=self.where,
                offset=start,
                expected=str(size),
                rc=RC_INSUFFICIENT,
            )
        self.at = stop
        return self.data[start:stop]

    def number(self, code: str, size: int) -> int:
        """Take an integer; a small letter stands for a signed one."""
        return int.from_bytes(self.take(size), "big", signed=code.islower())

    def refuse(self, what: str, offset: int, expected: str | None, rc: int | None) -> TpmFormatError:
        """Return the error for a value that is not allowed where it is."""
        return TpmFormatError(what, where=self.where, offset=offset, expected=expected, rc=rc)

    def finish(self) -> None:
        """Refuse bytes after the last field."""
        if self.at != self.end:
            raise TpmTrailingBytesError(
                f"{self.end - self.at} bytes too many", where=self.where, offset=self.at, rc=RC_SIZE
            )


def decode_kind(kind: Kind, cursor: Cursor, values: Mapping[str, Any], *, asked: bool) -> Any:
    """Take one value.

    Parameters
    ----------
    kind : Kind
        What it is.
    cursor : Cursor
        Where it starts; stands behind it afterwards.
    values : mapping
        The fields before it, by name: a union looks for its selector there.
    asked : bool
        Whether the structure around it may be NULL.

    Raises
    ------
    TpmFormatError
        If what is there is not such a value: with the path to the field, its offset, and what a TPM would answer.
    """
    start = cursor.at
    match kind:
        case Scalar():
            number = cursor.number(kind.code, kind.size)
            if kind.takes(number, asked=asked):
                return kind.held(number)
            if cursor.lenient:
                return number
            what = f"reserved bits 0x{number & kind.reserved:x}" if kind.is_attributes else kind.words(number)
            raise cursor.refuse(what, start, kind.expected, kind.rc)
        case Blob():
            sized = kind.sized
            size = cursor.number(sized.code, 2 if sized.code == "H" else 1)
            if not cursor.lenient and not sized.least <= size <= sized.most:
                raise cursor.refuse(f"a size of {size}", start, f"{sized.least} to {sized.most}", sized.rc)
            return cursor.take(size)
        case Digest():
            return cursor.take(kind.size)
        case Nested():
            return build(kind.structure, decode_fields(layout_of(kind.structure), cursor, asked=kind.null))
        case Box():
            return _decode_box(kind, cursor)
        case Array():
            return _decode_array(kind, cursor)
        case Choice():
            selector = values[kind.selector]
            if int(selector) not in kind.kinds:
                raise cursor.refuse(
                    f"nothing is known for {kind.selector} {shown(selector)}",
                    start,
                    f"{kind.selector} one of {', '.join(f'0x{number:x}' for number in kind.kinds)}",
                    RC_SELECTOR,
                )
            member = kind.kinds[int(selector)]
            return None if member is None else decode_kind(member, cursor, values, asked=False)


def _decode_box(kind: Box, cursor: Cursor) -> Any:
    start = cursor.at
    size = cursor.number("H", 2)
    if size == 0:
        if kind.absent:
            return None
        raise cursor.refuse("a size of 0", start, "the structure", RC_SIZE)
    if size > cursor.end - cursor.at:
        cursor.take(size)
    outer, cursor.end = cursor.end, cursor.at + size
    wire = cursor.data[cursor.at : cursor.end]
    values = decode_fields(layout_of(kind.structure), cursor, asked=kind.null)
    if cursor.at != cursor.end:
        used = cursor.at - start - 2
        raise cursor.refuse(f"a size of {size}", start, f"{used}, as long as the structure is", RC_SIZE)
    cursor.end = outer
    return build(kind.structure, values, wire)


def _decode_array(kind: Array, cursor: Cursor) -> tuple[Any, ...]:
    start = cursor.at
    count = cursor.number("I", 4)
    if not cursor.lenient and not kind.least <= count <= kind.most:
        raise cursor.refuse(f"{count} elements", start, f"{kind.least} to {kind.most}", RC_SIZE)
    elements = []
    name = cursor.trail[-1]
    for index in range(count):
        cursor.trail[-1] = f"{name}[{index}]"
        elements.append(decode_kind(kind.element, cursor, {}, asked=False))
    cursor.trail[-1] = name
    return tuple(elements)


def decode_fields(layout: Layout, cursor: Cursor, *, asked: bool) -> dict[str, Any]:
    """Take the fields of a structure (or the parameters of a command), and return them by name."""
    values: dict[str, Any] = {}
    for field in layout.fields:
        cursor.trail.append(field.name)
        values[field.name] = decode_kind(field.kind, cursor, values, asked=asked)
        cursor.trail.pop()
    return values


def build(cls: type[Declared], values: Mapping[str, Any], wire: bytes | None = None) -> Any:
    """Return a value of a declared class whose fields are known to be right."""
    made: Any = object.__new__(cls)
    for name, value in values.items():
        object.__setattr__(made, name, value)
    object.__setattr__(made, "_wire", wire)
    return made


def walk_decode(cls: type[Declared], data: bytes, *, lenient: bool = False) -> Any:
    """Return the value that `data` encodes from first to last byte; the plain twin of `Structure.decode`."""
    layout = layout_of(cls)
    cursor = Cursor(data, layout.name, lenient=lenient)
    values = decode_fields(layout, cursor, asked=True)
    cursor.finish()
    return build(cls, values, data)


def walk_parameters(cls: type[Declared], data: bytes, handles: tuple[int, ...], *, lenient: bool = False) -> Any:
    """Return the command or response with these handles and this parameter area; the plain twin of
    `Command.decode_parameters`.
    """  # noqa: D205
    layout = layout_of(cls)
    if not isinstance(handles, tuple | list) or len(handles) != len(layout.handles):
        count = len(layout.handles)
        raise TpmMisuseError(
            f"{len(handles)} handles" if isinstance(handles, tuple | list) else f"{type(handles).__name__}",
            where=layout.name,
            expected=f"{count} ({', '.join(f.name for f in layout.handles)})" if count else "no handle",
        )
    cursor = Cursor(b"".join(_handle_bytes(h, layout.name) for h in handles), layout.name, lenient=lenient)
    values: dict[str, Any] = {}
    for field in layout.handles:
        cursor.trail.append(field.name)
        values[field.name] = decode_kind(field.kind, cursor, values, asked=True)
        cursor.trail.pop()
    cursor = Cursor(data, layout.name, lenient=lenient)
    values |= decode_fields(layout, cursor, asked=True)
    cursor.finish()
    return build(cls, values, data)


def _handle_bytes(handle: Any, where: str) -> bytes:
    return whole(handle, f"handle of {where}", 0, 0xFFFFFFFF, error=TpmMisuseError).to_bytes(4, "big")


def encode_fields(layout: Layout, value: Declared, out: bytearray) -> None:
    """Append the fields of a structure (or the parameters of a command)."""
    for field in layout.fields:
        _encode(field.kind, getattr(value, field.name), value, out)


def _encode(kind: Kind, value: Any, owner: Declared, out: bytearray) -> None:
    match kind:
        case Scalar():
            out += pack(f">{kind.code}", value)
        case Blob():
            out += pack(f">{kind.sized.code}", len(value))
            out += value
        case Digest():
            out += value
        case Nested():
            encode_fields(layout_of(kind.structure), value, out)
        case Box():
            start = len(out)
            out += b"\0\0"
            if value is not None:
                encode_fields(layout_of(kind.structure), value, out)
            out[start : start + 2] = pack(">H", len(out) - start - 2)
        case Array():
            out += pack(">I", len(value))
            for element in value:
                _encode(kind.element, element, owner, out)
        case Choice():
            member = kind.kinds[int(getattr(owner, kind.selector))]
            if member is not None:
                _encode(member, value, owner, out)


def walk_encode(value: Declared) -> bytes:
    """Return the bytes of a structure, or of a parameter area; the plain twin of `Structure.encode`."""
    out = bytearray()
    encode_fields(layout_of(type(value)), value, out)
    return bytes(out)
