# SPDX-License-Identifier: Apache-2.0
"""The language that the structures and commands of TPM 2.0 are declared in.

A structure is a class below `Structure`, a command a class below `Command`; their annotations are the fields in wire
order, with the type names of the specification (TPM 2.0 Library, Part 2). Nothing is computed when a class is made:
its fields are looked at when it is first used, and `prestocloud_sec.tpm.codec` then derives its constructor, its
decoder and its encoder from them.

How the notation of Part 2 is written here:

====================================  ==========================================================================
Part 2                                here
====================================  ==========================================================================
``UINT16``                            ``Annotated[int, Number("H")]``
``TPM_ALG_ID`` and other constants    an ``IntEnum`` marked with `constant`
``TPMA_...``                          an `Attributes`, marked with `constant` too
``TPMI_...`` interface type           ``Annotated[<what it restricts>, Allowed(...)]``
``TPM2B_...`` around bytes            ``Annotated[bytes, Sized(...)]``
``TPM2B_...`` around a structure      ``Annotated[<structure>, Boxed(...)]``, or ``<structure> | None``
``TPML_...``                          ``Annotated[tuple[<element>, ...], Listed(...)]``
``TPMU_...``                          ``Annotated[<all its members>, Union(...)]``, used with `selected_by`
a type with ``+`` behind it           ``OrNull[<type>]``
a type with ``+`` in front of it      ``OrNullIfAsked[<type>]``: NULL where the use of the structure is `OrNull`
====================================  ==========================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum, IntFlag
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple, NoReturn, TypeVar, dataclass_transform

from prestocloud_sec.tpm.errors import TpmMisuseError

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
    "Structure",
    "Union",
    "constant",
    "handle",
    "selected_by",
]

T = TypeVar("T")


# --- what an annotation can say ---------------------------------------------------------------------------------------


class Number(NamedTuple):
    """An integer of fixed width, big-endian.

    Attributes
    ----------
    code : str
        The character of `struct` for it: ``B``, ``H``, ``I``, ``Q``, or the small letter for a signed one.
    rc : int or None
        What a TPM answers to a number outside of the enumeration; None where others may occur.
    reserved : int
        The bits of an attribute word that have to be zero.
    """

    code: str
    rc: int | None = None
    reserved: int = 0


class Range(NamedTuple):
    """Numbers from `first` to `last`, both included."""

    first: int
    last: int


class Allowed:
    """The numbers that an interface type lets through.

    Parameters
    ----------
    values : int or Range
        The numbers and ranges of its table.
    null : int, optional
        What NULL is for this type, where the table has it as conditional.
    rc : int, optional
        What a TPM answers to other numbers.
    code : str, optional
        The character of `struct`, where the type restricts a plain integer; ``I`` (a handle) if not given.
    """

    __slots__ = ("code", "null", "ranges", "rc", "values")

    def __init__(self, *values: int | Range, null: int | None = None, rc: int | None = None, code: str = "I") -> None:
        self.values = tuple(v for v in values if isinstance(v, int))
        self.ranges = tuple(v for v in values if isinstance(v, Range))
        self.null = null
        self.rc = rc
        self.code = code

    def __contains__(self, number: int) -> bool:
        return number in self.values or any(first <= number <= last for first, last in self.ranges)


class Sized(NamedTuple):
    """Bytes after their size.

    Attributes
    ----------
    most : int
        The most bytes that the specification, or a TPM known today, puts there.
    name : str
        What Part 2 calls the bytes.
    code : str
        The width of the size: ``H``, or ``B`` in a PCR selection.
    secret : bool
        Whether the bytes are kept out of texts.
    least : int
        The fewest bytes.
    size_name : str
        What Part 2 calls the size.
    rc : int
        What a TPM answers to another size (TPM_RC_SIZE, in a PCR selection TPM_RC_VALUE).
    """

    most: int
    name: str = "buffer"
    code: str = "H"
    secret: bool = False
    least: int = 0
    size_name: str = "size"
    rc: int = 0x095


class Boxed(NamedTuple):
    """A structure after its size (UINT16), which has to be exactly its length.

    Attributes
    ----------
    name : str
        What Part 2 calls the structure.
    """

    name: str


class Listed(NamedTuple):
    """Elements after their number (UINT32).

    Attributes
    ----------
    most : int
        The most elements.
    name : str
        What Part 2 calls them.
    """

    most: int
    name: str


class AtLeast(NamedTuple):
    """The fewest elements of a list, where a command wants some."""

    least: int


class Fixed(NamedTuple):
    """A fixed number of bytes without a size: the digest of a known algorithm."""

    size: int


class Member(NamedTuple):
    """One member of a union.

    Attributes
    ----------
    name : str
        What Part 2 calls it.
    type : object
        Its type; None where it has no bytes.
    selectors : tuple of int
        The numbers of the selector that choose it; none where the specification never selects it.
    """

    name: str
    type: Any
    selectors: tuple[int, ...] = ()


class Union:
    """Members, one of which a selector chooses.

    Parameters
    ----------
    members : Member
        In the order of the table.
    """

    __slots__ = ("by_selector", "members")

    def __init__(self, *members: Member) -> None:
        self.members = members
        self.by_selector = {selector: member for member in members for selector in member.selectors}


class Mark(Enum):
    """What a use of a type adds to it."""

    NULL = "NULL is a value too"
    NULL_IF_ASKED = "NULL is a value where the use of the structure says so"
    SECRET = "the value is kept out of texts"  # noqa: S105


NULL, NULL_IF_ASKED = Mark.NULL, Mark.NULL_IF_ASKED
SECRET = Mark.SECRET

OrNull = Annotated[T, NULL]
"""A type with a ``+`` behind it: its NULL is a value here."""

OrNullIfAsked = Annotated[T, NULL_IF_ASKED]
"""A type with a ``+`` in front of it: its NULL is a value where the structure around it is used as `OrNull`."""

Secret = Annotated[T, SECRET]
"""A value that no `repr` and no text shows."""


CONSTANTS: dict[type, Number] = {}
"""How each enumeration and attribute word is marshalled."""

E = TypeVar("E", bound=type)


def constant(code: str, *, rc: int | None = None, reserved: int = 0) -> Callable[[E], E]:
    """Return a decorator that says how an enumeration is marshalled.

    Parameters
    ----------
    code : str
        The character of `struct` for its width.
    rc : int, optional
        What a TPM answers to a number that the enumeration does not have. Without it the enumeration is open: other
        numbers (of a vendor, or of a later revision) are values as well, and stay plain integers.
    reserved : int
        The bits of an attribute word that have to be zero.
    """

    def mark(kind: E) -> E:
        CONSTANTS[kind] = Number(code, rc, reserved)
        return kind

    return mark


class AuthRole(Enum):
    """How a handle of a command is authorized (Part 1, 19.2; Part 3, the decorations of the handle tables)."""

    USER = "user"
    """By the authValue where userWithAuth is set, or by a policy."""
    ADMIN = "admin"
    """By the authValue where adminWithPolicy is clear; else only by a policy that names the command."""
    DUP = "dup"
    """Only by a policy that names the command."""


class SessionUse(Enum):
    """Whether a command can carry sessions."""

    REQUIRED = "required"
    OPTIONAL = "optional"
    NEVER = "never"


class Specifier(NamedTuple):
    """What `selected_by` and `handle` note about a field."""

    selector: str | None = None
    is_handle: bool = False
    auth: AuthRole | None = None


def selected_by(selector: str) -> Any:
    """Say that the union of this field is chosen by an earlier field of the structure."""
    return Specifier(selector=selector)


def handle(*, auth: AuthRole | None = None) -> Any:
    """Say that this field of a command is in its handle area, and which authorization it needs."""
    return Specifier(is_handle=True, auth=auth)


# --- the classes ------------------------------------------------------------------------------------------------------


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


class Attributes(IntFlag):
    """Base of the attribute words (TPMA): single bits, and fields of several bits, under the names of Part 2.

    A field of several bits is a member whose value is its mask; `field` reads it, and `with_field` sets it.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the single bits that are set, lowest first."""
        return tuple(
            name
            for name, member in type(self).__members__.items()
            if member.value
            and not member.value & (member.value - 1)
            and member.value & self.value
            and name == member.name
        )

    def field(self, name: str) -> int:
        """Return the number that a field of several bits holds (of a single bit: 0 or 1)."""
        mask = self._mask(name)
        return (self.value & mask) // (mask & -mask)

    def with_field(self, name: str, number: int) -> Self:
        """Return the attributes with another number in a field."""
        mask = self._mask(name)
        if not isinstance(number, int) or not 0 <= number <= mask // (mask & -mask):
            raise TpmMisuseError(
                f"{number!r}", where=f"{type(self).__name__}.{name}", expected=f"0 to {mask // (mask & -mask)}"
            )
        return type(self)((self.value & ~mask) | number * (mask & -mask))

    @classmethod
    def _mask(cls, name: str) -> int:
        member = cls.__members__.get(name)
        if member is None:
            raise TpmMisuseError(f"no field {name!r}", where=cls.__name__, expected=", ".join(cls.__members__))
        return member.value

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.text()})"

    def text(self) -> str:
        """Return the names of what is set, as people write it; ``0`` for nothing."""
        rest = self.value
        words = []
        for name, member in type(self).__members__.items():
            mask = member.value
            if name == member.name and mask & self.value:
                single = not mask & (mask - 1)
                words.append(name if single else f"{name}={self.field(name)}")
                rest &= ~mask
        if rest:
            words.append(f"0x{rest:x}")
        return "|".join(words) or "0"
