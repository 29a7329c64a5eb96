# SPDX-License-Identifier: Apache-2.0
"""What the annotations of a declaration can say: the notation of TPM 2.0 Library, Part 2, in Python.

Everything here is a note that is read by `prestocloud_sec.tpm.codec.fields`, and does nothing by itself.

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

from collections.abc import Callable
from enum import Enum, IntFlag
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeVar

from prestocloud_sec.tpm.errors import TpmMisuseError

if TYPE_CHECKING:
    from typing import Self

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
    "Union",
    "constant",
    "handle",
    "selected_by",
]

T = TypeVar("T")


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
        """Return the number that a field of several bits holds (of a single bit: 0 or 1).

        Raises
        ------
        TpmMisuseError
            If there is no such field.
        """
        mask = self._mask(name)
        return (self.value & mask) // (mask & -mask)

    def with_field(self, name: str, number: int) -> Self:
        """Return the attributes with another number in a field.

        Raises
        ------
        TpmMisuseError
            If there is no such field, or it cannot hold the number.
        """
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
