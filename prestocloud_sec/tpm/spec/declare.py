# SPDX-License-Identifier: Apache-2.0
"""The language that the structures and commands of TPM 2.0 are declared in.

A structure is a class below `Structure`, a command a class below `Command`; their annotations are the fields in wire
order, with the type names of the specification (TPM 2.0 Library, Part 2). What an annotation can say is in `notation`,
whose names are here as well, so that a declaration has one place to import from. Nothing is computed when a class is
made: its fields are looked at when it is first used, and `prestocloud_sec.tpm.codec` then derives its constructor, its
decoder and its encoder from them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, dataclass_transform

from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.tpm.spec.notation import (
    CONSTANTS,
    NULL,
    NULL_IF_ASKED,
    SECRET,
    Allowed,
    AtLeast,
    Attributes,
    AuthRole,
    Boxed,
    Fixed,
    Listed,
    Member,
    Number,
    OrNull,
    OrNullIfAsked,
    Range,
    Secret,
    SessionUse,
    Sized,
    Specifier,
    Union,
    constant,
    handle,
    selected_by,
)

if TYPE_CHECKING:
    from typing import Self

    from prestocloud_sec.wire import BytesLike

__all__ = [
    "CONSTANTS",
    "NULL",
    "NULL_IF_ASKED",
    "SECRET",
    "Allowed",
    "AtLeast",
    "Attributes",
    "AuthRole",
    "Boxed",
    "Command",
    "Declared",
    "Fixed",
    "Listed",
    "Member",
    "Number",
    "OrNull",
    "OrNullIfAsked",
    "Range",
    "Secret",
    "SessionUse",
    "Sized",
    "Specifier",
    "Structure",
    "Union",
    "constant",
    "handle",
    "selected_by",
]


class DeclaredType(type):
    """Makes a class of annotated fields frozen and slotted, without looking at what the annotations mean."""

    _specifiers: dict[str, Specifier]

    def __new__(mcs, name: str, bases: tuple[type, ...], space: dict[str, Any]) -> DeclaredType:
        annotations: dict[str, str] = space.get("__annotations__", {})
        names = tuple(n for n, text in annotations.items() if not text.startswith("ClassVar"))
        specifiers = {n: space.pop(n) for n in names if n in space}
        space.setdefault("__slots__", names)
        space.setdefault("__match_args__", names)
        made = super().__new__(mcs, name, bases, space)
        made._specifiers = specifiers
        return made

    def __dir__(cls) -> list[str]:
        return [name for name in super().__dir__() if not name.startswith("_") or name.startswith("__")]

    @property
    def __signature__(cls) -> Any:
        from inspect import Parameter, Signature

        annotations = vars(cls).get("__annotations__", {})
        names = vars(cls).get("__match_args__", ())
        return Signature([Parameter(n, Parameter.POSITIONAL_OR_KEYWORD, annotation=annotations[n]) for n in names])


class _NotUsedYet(DeclaredType):
    """A declared class before its first use; the constructor is not there yet, so that a call leads to the codec."""

    def __call__(cls, *values: Any, **named: Any) -> Any:
        _codec(cls)  # type: ignore[arg-type]
        return cls(*values, **named)


def _codec(cls: type[Declared]) -> None:
    """Derive what a class does from its declaration; the first use of the class comes through here."""
    from prestocloud_sec.tpm.codec.install import install

    install(cls)


class Declared(metaclass=_NotUsedYet):
    """What structures, commands and responses have in common: frozen values with the fields that they declare."""

    __slots__ = ("_wire",)
    __match_args__: ClassVar[tuple[str, ...]] = ()
    _wire: bytes | None  # the encoding, once it is known
    _specifiers: ClassVar[dict[str, Specifier]]

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__}.{name} is frozen; use replace()")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{type(self).__name__}.{name} is frozen")

    def _fields(self) -> Iterator[tuple[str, Any]]:
        """Yield name and value of every field, in order."""
        for name in type(self).__match_args__:
            yield name, getattr(self, name)

    def replace(self, **changes: Any) -> Self:
        """Return a copy with other values in some fields.

        Raises
        ------
        TpmMisuseError
            If there is no such field, or it cannot hold the value.
        """
        values = dict(self._fields())
        for name in changes:
            if name not in values:
                raise TpmMisuseError(
                    f"no field {name!r}", where=type(self).__name__, expected=", ".join(values) or "no field at all"
                )
        return type(self)(**{**values, **changes})

    def __repr__(self) -> str:
        from prestocloud_sec.tpm.codec.text import literal

        return literal(self)

    def _repr_html_(self) -> str:
        from prestocloud_sec.tpm.codec.text import html_of

        return html_of(self)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[object, ...]:
        return (_revive, (type(self), tuple(value for _, value in self._fields())))

    @classmethod
    def codec_source(cls) -> str:
        """Return the Python text that was derived from the declaration, and that constructs, decodes and encodes."""
        from prestocloud_sec.tpm.codec.install import source_of

        return source_of(cls)


def _revive(cls: type[Declared], values: tuple[Any, ...]) -> object:
    """Make a pickled value again, whether or not its numbers are known here."""
    from prestocloud_sec.tpm.codec.install import draft_of

    made = draft_of(cls)()
    made._wire = None
    for name, value in zip(cls.__match_args__, values, strict=True):
        setattr(made, name, value)
    made.__class__ = cls
    return made


@dataclass_transform(frozen_default=True, field_specifiers=(selected_by,))
class Structure(Declared):
    """Base of the structures of Part 2: a frozen value that decodes from bytes and encodes to the same bytes."""

    __slots__ = ()

    @classmethod
    def decode(cls, data: BytesLike, *, lenient: bool = False) -> Self:
        """Return the value that `data`, from first to last byte, encodes.

        Parameters
        ----------
        data : bytes-like
            The structure as Part 2 marshals it, without a size in front.
        lenient : bool
            Whether numbers that no table has (of a vendor, or of a later revision), and reserved bits, are kept as
            plain integers instead of refused, and limits of sizes and counts are not looked at.

        Raises
        ------
        TpmFormatError
            If `data` is not such a structure: says which field, where, and what a TPM would answer.
        TpmMisuseError
            If `data` is not bytes-like.
        """
        _codec(cls)
        return cls.decode(data, lenient=lenient)

    def encode(self) -> bytes:
        """Return the bytes of the structure; where it was decoded, the very bytes that were received."""
        _codec(type(self))
        return self.encode()

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self is other or self.encode() == other.encode()

    def __hash__(self) -> int:
        return hash((type(self), self.encode()))


class _Parameters(Declared):
    """What a command and its response have in common: handles, and parameters after them."""

    __slots__ = ()

    first_parameter_is_2b: ClassVar[bool]
    """Whether the first parameter has a size in front, so that a session can encrypt it."""
    handle_names: ClassVar[tuple[str, ...]]
    """The names of the handles, in order."""

    @property
    def handles(self) -> tuple[int, ...]:
        """The handles, in order."""
        return tuple(getattr(self, name) for name in type(self).handle_names)

    def encode_parameters(self) -> bytes:
        """Return the parameter area: what comes after handles and sessions."""
        _codec(type(self))
        return self.encode_parameters()

    @classmethod
    def decode_parameters(cls, data: BytesLike, *, handles: tuple[int, ...] = (), lenient: bool = False) -> Self:
        """Return the value that a parameter area and the handles before it encode.

        Parameters
        ----------
        data : bytes-like
            The parameter area, decrypted.
        handles : tuple of int
            As many as the declaration has.
        lenient : bool
            Whether numbers that no table has are kept as plain integers instead of refused.

        Raises
        ------
        TpmFormatError
            If `data` or the handles are not what the command says.
        TpmMisuseError
            If `data` is not bytes-like, or the number of handles is wrong.
        """
        _codec(cls)
        return cls.decode_parameters(data, handles=handles, lenient=lenient)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.handles == other.handles and self.encode_parameters() == other.encode_parameters()

    def __hash__(self) -> int:
        return hash((type(self), self.handles, self.encode_parameters()))


class _ByDeclaration:
    """A class attribute that is derived from the declaration when it is first asked for."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type) -> Any:
        _codec(owner)
        return owner.__dict__[self._name]


for _name in ("first_parameter_is_2b", "handle_names"):
    _attribute = _ByDeclaration()
    _attribute.__set_name__(_Parameters, _name)
    setattr(_Parameters, _name, _attribute)


@dataclass_transform(frozen_default=True, field_specifiers=(handle, selected_by))
class Command(_Parameters):
    """Base of the commands of Part 3: their handles and parameters, and in `Response` what comes back."""

    __slots__ = ()

    code: ClassVar[int]
    """The command code."""
    sessions: ClassVar[SessionUse]
    """Whether sessions have to, can or must not come with it."""
    handle_auths: ClassVar[tuple[AuthRole | None, ...]]
    """For each handle the authorization that it needs; those that need one come first."""
    nv: ClassVar[bool] = False
    """Whether it may write to non-volatile memory."""
    extensive: ClassVar[bool] = False
    """Whether it may flush any number of loaded objects."""
    flushed: ClassVar[bool] = False
    """Whether the transient object that it uses is gone afterwards."""

    @dataclass_transform(frozen_default=True, field_specifiers=(handle, selected_by))
    class Response(_Parameters):
        """What the TPM gives back: its handle, if any, and parameters."""

        __slots__ = ()


for _name in ("sessions", "handle_auths"):
    _attribute = _ByDeclaration()
    _attribute.__set_name__(Command, _name)
    setattr(Command, _name, _attribute)
del _name, _attribute
