# SPDX-License-Identifier: Apache-2.0
"""What the annotations of a declaration mean: fields, each of one of seven kinds.

`layout_of` reads a class of `prestocloud_sec.tpm.spec` once. Everything else in this package, the plain walk and the
derived text alike, works from its result.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from struct import calcsize
from types import NoneType, UnionType
from typing import Any, TypeAlias, get_args

from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.tpm.spec.constants import TPM_RC, TPM_RH
from prestocloud_sec.tpm.spec.declare import (
    CONSTANTS,
    NULL,
    NULL_IF_ASKED,
    SECRET,
    Allowed,
    AtLeast,
    Attributes,
    AuthRole,
    Boxed,
    Declared,
    Fixed,
    Listed,
    Number,
    Sized,
    Specifier,
    Union,
)

__all__ = ["Array", "Blob", "Box", "Choice", "Digest", "Field", "Kind", "Layout", "Nested", "Scalar", "layout_of"]

_HANDLES: Mapping[int, int] = {int(member): member for member in TPM_RH}
_BOOLS: Mapping[int, int] = {0: False, 1: True}


@dataclass(frozen=True, eq=False)
class Scalar:
    """An integer, an enumeration, an attribute word, or one of these restricted by an interface type.

    Attributes
    ----------
    code : str
        Its character in `struct`.
    kind : type
        ``int``, ``bool``, or the enumeration or attribute word that its numbers belong to.
    allowed : Allowed or None
        The numbers of the interface type.
    null, null_if_asked : bool
        Whether NULL of the interface type is a value: always, or where the use of the structure asks for it.
    rc : int or None
        What a TPM answers to another number; None where all are taken.
    reserved : int
        Bits that have to be zero.
    """

    code: str
    kind: type
    allowed: Allowed | None = None
    null: bool = False
    null_if_asked: bool = False
    rc: int | None = None
    reserved: int = 0

    @cached_property
    def size(self) -> int:
        """Bytes on the wire."""
        return calcsize(f">{self.code}")

    @cached_property
    def members(self) -> Mapping[int, int]:
        """What a number is held as, where it is not held as it is."""
        if self.kind is bool:
            return _BOOLS
        if self.kind is int:
            return _HANDLES if self.allowed is not None and self.code == "I" else {}
        if issubclass(self.kind, Attributes):
            return {}
        return {int(member): member for member in self.kind.__members__.values()}  # type: ignore[attr-defined]

    @property
    def is_attributes(self) -> bool:
        """Whether it is an attribute word."""
        return issubclass(self.kind, Attributes)

    @property
    def is_handle(self) -> bool:
        """Whether it is a handle."""
        return self.members is _HANDLES

    def takes(self, number: int, *, asked: bool) -> bool:
        """Tell whether a TPM takes the number here."""
        if self.allowed is not None:
            return number in self.allowed or (self.nullable(asked=asked) and number == self.allowed.null)
        if self.is_attributes:
            return not number & self.reserved
        return self.rc is None or number in self.members

    def nullable(self, *, asked: bool) -> bool:
        """Tell whether NULL is a value here."""
        return self.null or (asked and self.null_if_asked)

    def held(self, number: int) -> int:
        """Return what a number that is taken is held as."""
        return self.kind(number) if self.is_attributes else self.members.get(number, number)

    def words(self, number: int) -> str:
        """Return a number as an error shows it: in hexadecimal where it is no plain number, with its name if any."""
        digits = f"0x{number:0{2 * self.size}x}" if number >= 0 and (self.kind is not int or self.is_handle) else number
        name = getattr(self.members.get(number), "name", None)
        return f"{name} ({digits})" if name is not None else str(digits)

    @cached_property
    def expected(self) -> str:
        """What an error says it expected."""
        if self.allowed is not None:
            names = [_number_text(self.members.get(v, v), self) for v in self.allowed.values]
            names += [f"0x{first:x} to 0x{last:x}" for first, last in self.allowed.ranges]
            return " or ".join(names) if len(names) < 3 else f"one of {', '.join(names)}"
        if self.is_attributes:
            return f"zero in the reserved bits 0x{self.reserved:x}"
        return f"one of {', '.join(dict.fromkeys(m.name for m in self.kind))}"  # type: ignore[attr-defined]


@dataclass(frozen=True, eq=False)
class Blob:
    """Bytes after their size."""

    sized: Sized
    secret: bool


@dataclass(frozen=True, eq=False)
class Digest:
    """A fixed number of bytes."""

    size: int


@dataclass(frozen=True, eq=False)
class Nested:
    """A structure; `null` tells whether its NULL was asked for."""

    structure: type[Declared]
    null: bool


@dataclass(frozen=True, eq=False)
class Box:
    """A structure after its size; `absent` tells whether there may be none."""

    structure: type[Declared]
    name: str
    absent: bool
    null: bool


@dataclass(frozen=True, eq=False)
class Array:
    """Elements after their number."""

    element: Kind
    name: str
    most: int
    least: int


@dataclass(frozen=True, eq=False)
class Choice:
    """A union: what is there depends on an earlier field."""

    selector: str
    union: Union
    kinds: Mapping[int, Kind | None]


Kind: TypeAlias = Scalar | Blob | Digest | Nested | Box | Array | Choice


@dataclass(frozen=True, eq=False)
class Field:
    """One field of a declaration.

    Attributes
    ----------
    name : str
        Its name.
    kind : Kind
        What it is on the wire.
    text : str
        Its type in the notation of Part 2: ``TPMI_ALG_HASH+``.
    secret : bool
        Whether texts leave its value out.
    is_handle : bool
        Whether it is in the handle area of a command or response.
    auth : AuthRole or None
        How the handle is authorized.
    """

    name: str
    kind: Kind
    text: str
    secret: bool
    is_handle: bool
    auth: AuthRole | None


@dataclass(frozen=True, eq=False)
class Layout:
    """All fields of a declaration.

    Attributes
    ----------
    name : str
        What errors call it.
    handles : tuple of Field
        The handle area; none for a structure.
    fields : tuple of Field
        What comes after it, in wire order.
    """

    name: str
    handles: tuple[Field, ...]
    fields: tuple[Field, ...]

    @cached_property
    def all(self) -> tuple[Field, ...]:
        """Handles, then the rest: the order of the constructor."""
        return self.handles + self.fields

    @cached_property
    def by_name(self) -> Mapping[str, Field]:
        """The fields by name."""
        return {field.name: field for field in self.all}

    @cached_property
    def conditional(self) -> tuple[str, int, int | None] | None:
        """Name, NULL and response code of the field whose NULL depends on the use of the structure, if it has one."""
        for field in self.fields:
            kind = field.kind
            if isinstance(kind, Scalar) and kind.null_if_asked and kind.allowed is not None:
                return field.name, kind.allowed.null or 0, kind.allowed.rc
        return None


@cache
def layout_of(cls: type[Declared]) -> Layout:
    """Return what the declaration of a structure, command or response says."""
    space = vars(sys.modules[cls.__module__])
    annotations = vars(cls).get("__annotations__", {})
    fields = []
    for name in cls.__match_args__:
        text = annotations[name]
        # The text is an annotation of a class of ours, and names types of its own module.
        hint = eval(text, space)  # noqa: S307
        noted = cls._specifiers.get(name, Specifier())
        marks = getattr(hint, "__metadata__", ())
        kind = _kind(hint, noted.selector)
        secret = SECRET in marks or (isinstance(kind, Blob) and kind.secret)
        fields.append(Field(name, kind, _notation(text), secret, noted.is_handle, noted.auth))
    title = cls.__qualname__
    return Layout(title, tuple(f for f in fields if f.is_handle), tuple(f for f in fields if not f.is_handle))


_MARKS = (("OrNull[", "", "+"), ("OrNullIfAsked[", "+", ""), ("Secret[", "", ""))


def _notation(text: str) -> str:
    """Return the text of an annotation as Part 2 writes it."""
    for head, before, after in _MARKS:
        if text.startswith(head):
            return before + _notation(text[len(head) : -1]) + after
    return text[len("Annotated[") :].partition(",")[0] if text.startswith("Annotated[") else text


def _kind(hint: Any, selector: str | None = None) -> Kind:
    """Return what an annotation means."""
    if isinstance(hint, Fixed):
        return Digest(hint.size)
    marks = getattr(hint, "__metadata__", ())
    bare = getattr(hint, "__origin__", hint) if marks else hint
    null, asked = NULL in marks, NULL_IF_ASKED in marks
    least = next((mark.least for mark in marks if isinstance(mark, AtLeast)), 0)
    for mark in marks:
        match mark:
            case Number():
                return Scalar(mark.code, bare)
            case Allowed():
                code = CONSTANTS[bare].code if bare in CONSTANTS else mark.code
                return Scalar(code, bare, mark, null, asked, mark.rc)
            case Sized():
                return Blob(mark, mark.secret or SECRET in marks)
            case Boxed():
                inner = [t for t in get_args(bare) if t is not NoneType] if isinstance(bare, UnionType) else [bare]
                return Box(inner[0], mark.name, isinstance(bare, UnionType), null)
            case Listed():
                return Array(_kind(get_args(bare)[0]), mark.name, mark.most, least)
            case Union() if selector is not None:
                kinds = {
                    int(number): None if member.type is None else _kind(member.type)
                    for number, member in mark.by_selector.items()
                }
                return Choice(selector, mark, kinds)
            case _:
                pass
    if isinstance(bare, type) and issubclass(bare, Declared):
        return Nested(bare, null)
    number = CONSTANTS.get(bare)
    if number is None:
        raise TpmMisuseError(f"{bare!r}", where="declaration", expected="a type of the specification")
    reserved = number.reserved
    return Scalar(number.code, bare, rc=int(TPM_RC.RESERVED_BITS) if reserved else number.rc, reserved=reserved)


def _number_text(number: int, scalar: Scalar) -> str:
    """Return a number as a message shows it: by name, a handle in hexadecimal."""
    name = getattr(number, "name", None)
    if name is not None:
        return str(name)
    return f"0x{number:08x}" if scalar.is_handle else str(number)
