# SPDX-License-Identifier: Apache-2.0
"""The types of BTF, in which compilers and Linux describe what C declares: each a value with the fields that it has.

Types refer to each other by ids, which are their places in the list that they stand in; id 0 is ``void``.

Sources: Linux 6.18, ``Documentation/bpf/btf.rst`` and ``include/uapi/linux/btf.h``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from prestocloud_sec.bpf.object.kinds import Encoding as Encoding
from prestocloud_sec.bpf.object.kinds import Kind as Kind
from prestocloud_sec.bpf.object.kinds import Linkage as Linkage

__all__ = [
    "Array",
    "Const",
    "DeclTag",
    "Enum",
    "Enum64",
    "Enumerator",
    "Float",
    "Forward",
    "Function",
    "Int",
    "Member",
    "Parameter",
    "Placement",
    "Pointer",
    "Prototype",
    "Restrict",
    "Section",
    "Struct",
    "Type",
    "TypeTag",
    "Typedef",
    "Union",
    "Variable",
    "Void",
    "Volatile",
]


@dataclass(frozen=True, slots=True)
class Void:
    """No type: that with id 0."""

    kind: ClassVar[Kind] = Kind.VOID


@dataclass(frozen=True, slots=True)
class Int:
    """An integer.

    Attributes
    ----------
    name : str
        Its name.
    size : int
        Its bytes.
    bits : int
        How many bits of them it has.
    encoding : Encoding
        What they mean.
    offset : int
        The first of them; compilers write 0.
    """

    kind: ClassVar[Kind] = Kind.INT
    name: str
    size: int
    bits: int
    encoding: Encoding = Encoding.NONE
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Pointer:
    """A pointer to something of another type."""

    kind: ClassVar[Kind] = Kind.PTR
    type: int


@dataclass(frozen=True, slots=True)
class Array:
    """An array: the type of its elements, how many there are, and an integer type that counts them."""

    kind: ClassVar[Kind] = Kind.ARRAY
    element: int
    count: int
    index: int


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a struct or union.

    Attributes
    ----------
    name : str
        Its name; empty where it has none.
    type : int
        Id of its type.
    bit_offset : int
        Where it begins, in bits from the start.
    bits : int
        Bits of a bit field; 0 if it is none.
    """

    name: str
    type: int
    bit_offset: int
    bits: int = 0


@dataclass(frozen=True, slots=True)
class Struct:
    """A struct: name, bytes, members."""

    kind: ClassVar[Kind] = Kind.STRUCT
    name: str
    size: int
    members: tuple[Member, ...] = ()


@dataclass(frozen=True, slots=True)
class Union:
    """A union: name, bytes, members."""

    kind: ClassVar[Kind] = Kind.UNION
    name: str
    size: int
    members: tuple[Member, ...] = ()


@dataclass(frozen=True, slots=True)
class Enumerator:
    """A name for a number."""

    name: str
    value: int


@dataclass(frozen=True, slots=True)
class Enum:
    """An enumeration of numbers of up to 32 bits: name, bytes, whether they are signed, and the numbers."""

    kind: ClassVar[Kind] = Kind.ENUM
    name: str
    size: int
    signed: bool = False
    values: tuple[Enumerator, ...] = ()


@dataclass(frozen=True, slots=True)
class Enum64:
    """An enumeration of numbers of 64 bits: name, bytes, whether they are signed, and the numbers."""

    kind: ClassVar[Kind] = Kind.ENUM64
    name: str
    size: int
    signed: bool = False
    values: tuple[Enumerator, ...] = ()


@dataclass(frozen=True, slots=True)
class Forward:
    """A struct, or a union, of which only the name is known."""

    kind: ClassVar[Kind] = Kind.FWD
    name: str
    union: bool = False


@dataclass(frozen=True, slots=True)
class Typedef:
    """Another name for a type."""

    kind: ClassVar[Kind] = Kind.TYPEDEF
    name: str
    type: int


@dataclass(frozen=True, slots=True)
class Volatile:
    """A type that is ``volatile``."""

    kind: ClassVar[Kind] = Kind.VOLATILE
    type: int


@dataclass(frozen=True, slots=True)
class Const:
    """A type that is ``const``."""

    kind: ClassVar[Kind] = Kind.CONST
    type: int


@dataclass(frozen=True, slots=True)
class Restrict:
    """A type that is ``restrict``."""

    kind: ClassVar[Kind] = Kind.RESTRICT
    type: int


@dataclass(frozen=True, slots=True)
class Function:
    """A function: its name, the id of its prototype, and who can see it."""

    kind: ClassVar[Kind] = Kind.FUNC
    name: str
    prototype: int
    linkage: Linkage = Linkage.STATIC


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a function; one without name and type, at the end, stands for any further arguments."""

    name: str
    type: int


@dataclass(frozen=True, slots=True)
class Prototype:
    """What a function takes and returns."""

    kind: ClassVar[Kind] = Kind.FUNC_PROTO
    result: int
    parameters: tuple[Parameter, ...] = ()

    @property
    def variadic(self) -> bool:
        """Whether any further arguments can follow, as those of the kernel's ``_printk`` do."""
        return bool(self.parameters) and self.parameters[-1] == _FURTHER


_FURTHER = Parameter("", 0)


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable: name, type, and who can see it."""

    kind: ClassVar[Kind] = Kind.VAR
    name: str
    type: int
    linkage: Linkage = Linkage.STATIC


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a variable lies in its section: the id of the `Variable`, and its first byte and how many, in bytes."""

    type: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Section:
    """A section of data: name, bytes (0 in files that compilers write), and the variables in it."""

    kind: ClassVar[Kind] = Kind.DATASEC
    name: str
    size: int
    variables: tuple[Placement, ...] = ()


@dataclass(frozen=True, slots=True)
class Float:
    """A floating-point number: name and bytes."""

    kind: ClassVar[Kind] = Kind.FLOAT
    name: str
    size: int


@dataclass(frozen=True, slots=True)
class DeclTag:
    """A note on a declaration.

    Attributes
    ----------
    value : str
        What it says.
    type : int
        Id of what is declared: a struct, union, function, variable or typedef.
    component : int
        Position of the member or parameter that is meant; -1 for the whole.
    attribute : bool
        Whether it is an attribute of C, rather than a tag of BTF.
    """

    kind: ClassVar[Kind] = Kind.DECL_TAG
    value: str
    type: int
    component: int = -1
    attribute: bool = False


@dataclass(frozen=True, slots=True)
class TypeTag:
    """A note on a type: what it says, the type, and whether it is an attribute of C, rather than a tag of BTF."""

    kind: ClassVar[Kind] = Kind.TYPE_TAG
    value: str
    type: int
    attribute: bool = False


Modifier: TypeAlias = Volatile | Const | Restrict | TypeTag
Type: TypeAlias = (
    Void
    | Int
    | Pointer
    | Array
    | Struct
    | Union
    | Enum
    | Forward
    | Typedef
    | Modifier
    | Function
    | Prototype
    | Variable
    | Section
    | Float
    | DeclTag
    | Enum64
)
