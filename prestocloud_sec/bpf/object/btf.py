# SPDX-License-Identifier: Apache-2.0
"""The types of BTF, in which compilers and Linux describe what C declares, and how to look things up in them.

A `Btf` is a list of types. Each has a number, its *id*, by which others refer to it; id 0 is ``void``. It is read from
bytes, which are checked once and as a whole, and makes the objects of its types when they are asked for, so that the
hundred thousand types of a kernel cost no more than those that are looked at. Types can refer to each other in circles,
as in C; what follows references here goes a bounded way.

Sources: Linux 6.18, ``Documentation/bpf/btf.rst`` and ``include/uapi/linux/btf.h``.
"""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from prestocloud_sec.bpf.errors import BpfMisuseError, BtfError
from prestocloud_sec.wire import shown, whole

if TYPE_CHECKING:
    from prestocloud_sec.bpf.object.btf_codec import Image
    from prestocloud_sec.wire import BytesLike

__all__ = [
    "Array",
    "Btf",
    "Const",
    "DeclTag",
    "Encoding",
    "Enum",
    "Enum64",
    "Enumerator",
    "Float",
    "Forward",
    "Function",
    "Int",
    "Kind",
    "Linkage",
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

POINTER_SIZE = 8
"""Bytes of a pointer: BPF is a machine of 64 bits."""
_LARGEST = (1 << 32) - 1
_LONGEST_CHAIN = 256
"""References that are followed from a type to what it stands for; the kernel follows 32."""
_SHOWN = 4
_SHOWN_IN_HTML = 20


class Kind(IntEnum):
    """What a type is, by its number in BTF (``BTF_KIND_*``)."""

    VOID = 0
    INT = 1
    PTR = 2
    ARRAY = 3
    STRUCT = 4
    UNION = 5
    ENUM = 6
    FWD = 7
    TYPEDEF = 8
    VOLATILE = 9
    CONST = 10
    RESTRICT = 11
    FUNC = 12
    FUNC_PROTO = 13
    VAR = 14
    DATASEC = 15
    FLOAT = 16
    DECL_TAG = 17
    TYPE_TAG = 18
    ENUM64 = 19


class Linkage(IntEnum):
    """Who can see a function or a variable (``enum btf_func_linkage``)."""

    STATIC = 0
    GLOBAL = 1
    EXTERN = 2


class Encoding(IntEnum):
    """What the bits of an integer mean (``BTF_INT_*``)."""

    NONE = 0
    SIGNED = 1
    CHAR = 2
    BOOL = 4


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
        """Whether any further arguments can follow."""
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
_SEEN_THROUGH = frozenset({Kind.TYPEDEF, Kind.VOLATILE, Kind.CONST, Kind.RESTRICT, Kind.TYPE_TAG})


class Btf:
    """Types, each with an id.

    ``btf[id]`` is a type, ``len(btf)`` how many there are (``void``, whose id is 0, among them), and iteration yields
    them in the order of their ids. Two are equal if their types are, id by id, and the same strings stand behind them.

    Examples
    --------
    >>> from prestocloud_sec.bpf.object import Builder
    >>> builder = Builder()
    >>> number = builder.int_("int", 4, encoding=Encoding.SIGNED)
    >>> _ = builder.function("half", builder.prototype(number, [Parameter("of", number)]))
    >>> btf = builder.build()
    >>> btf.find("half"), btf.describe(3), btf.size_of(number)
    (3, 'int half(int of)', 4)
    >>> Btf.from_bytes(btf.to_bytes()) == btf
    True
    """

    __slots__ = ("_by_name", "_image", "_tags")

    def __init__(self, image: Image) -> None:
        self._image = image
        self._by_name: dict[int, list[int]] | None = None
        self._tags: dict[tuple[int, int], list[int]] | None = None

    @classmethod
    def from_bytes(cls, data: BytesLike) -> Btf:
        """Read types; see `prestocloud_sec.bpf.object.btf_codec` for what is accepted.

        Raises
        ------
        BtfError
            If the bytes are no BTF, with the offset and the type that is wrong.
        """
        from prestocloud_sec.bpf.object.btf_codec import read

        return cls(read(data))

    def to_bytes(self) -> bytes:
        """Return the bytes of all types and names, in the canonical layout.

        That is a header of 24 bytes, the types, and the strings as they were read, with nothing between or behind.
        Bytes that were so when they were read come back as they were.
        """
        return self._image.to_bytes()

    def __len__(self) -> int:
        return len(self._image.starts)

    def __iter__(self) -> Iterator[Type]:
        return map(self._image.type_at, range(len(self)))

    def __getitem__(self, id: int) -> Type:
        return self._image.type_at(self._checked(id))

    def _checked(self, id: int) -> int:
        number = whole(id, "type", error=BpfMisuseError)
        if number >= len(self):
            raise BtfError(f"there is no type {shown(number)}", expected=f"0..{len(self) - 1}")
        return number

    def kind(self, id: int) -> Kind:
        """Return what a type is.

        Raises
        ------
        BtfError
            If there is no such type.
        """
        return self._image.kind_at(self._checked(id))

    def name(self, id: int) -> str:
        """Return a type's name, or what a tag says; empty where there is none, and for ``void``.

        Raises
        ------
        BtfError
            If there is no such type.
        """
        return self._image.name_at(self._checked(id))

    def find(self, name: str, kind: Kind | None = None) -> int:
        """Return the id of the first type with a name.

        Parameters
        ----------
        name : str
            The name, in C without the word ``struct``, ``union`` or ``enum``.
        kind : Kind, optional
            What it has to be; anything, if not given.

        Raises
        ------
        BtfError
            If there is none.
        """
        from prestocloud_sec.bpf.object.btf_codec import string_of

        wanted = string_of(name, "name")
        if kind is not None and not isinstance(kind, Kind):
            raise BpfMisuseError(f"{shown(kind)} is no kind", where="kind", expected="a Kind")
        if self._by_name is None:
            # By the hash of the name, so that names which share their ends in the file are not written out.
            found: dict[int, list[int]] = {}
            for id in range(1, len(self)):
                found.setdefault(hash(self._image.string_at(id)), []).append(id)
            self._by_name = found
        for id in self._by_name.get(hash(wanted), ()) if wanted else ():
            if (kind is None or self._image.kind_at(id) is kind) and self._image.string_at(id) == wanted:
                return id
        raise BtfError(f"nothing is called {shown(name)}", where=kind.name if kind is not None else None)

    def resolved(self, id: int) -> int:
        """Return the id of what a type is behind typedefs and modifiers (``const`` and such, and type tags).

        Raises
        ------
        BtfError
            If there is no such type, or its typedefs lead round in a circle.
        """
        at = self._checked(id)
        for _ in range(_LONGEST_CHAIN):
            if self._image.kind_at(at) not in _SEEN_THROUGH:
                return at
            at = self._image.third_word(at)
        raise _circle(id)

    def size_of(self, id: int) -> int:
        """Return the bytes that something of a type takes.

        Typedefs, modifiers and variables are as large as what they stand for, pointers have eight bytes.

        Raises
        ------
        BtfError
            If there is no such type, it has no size (``void``, functions, structs of which only the name is known),
            or one of 4 GiB and more, or its references lead round in a circle.
        """
        at, count = id, 1
        for _ in range(_LONGEST_CHAIN):
            at = self.resolved(at)
            match self._image.type_at(at, 0):
                case Array(element, elements):
                    count *= elements
                    at = element
                    if count > _LARGEST:
                        raise BtfError("too many elements", type_id=id, expected="less than 4 GiB")
                case Variable(_, type):
                    at = type
                case Pointer():
                    return self._whole_size(id, count, POINTER_SIZE)
                case Int() | Struct() | Union() | Enum() | Enum64() | Float() | Section() as sized:
                    return self._whole_size(id, count, sized.size)
                case other:
                    raise BtfError(f"{_WORDS[other.kind]} has no size", type_id=id, expected="a type of data")
        raise _circle(id)

    def _whole_size(self, id: int, count: int, size: int) -> int:
        if count * size > _LARGEST:
            raise BtfError(f"{count} elements of {size} bytes", type_id=id, expected="less than 4 GiB")
        return count * size

    def tags(self, id: int, component: int = -1) -> tuple[str, ...]:
        """Return the notes on a declaration, in their order.

        Parameters
        ----------
        id : int
            What is declared, such as a function (not its prototype).
        component : int
            Position of one of its parameters or members; -1 for the notes on the whole.

        Raises
        ------
        BtfError
            If there is no such type.
        """
        key = self._checked(id), whole(component, "component", -1, error=BpfMisuseError)
        if self._tags is None:
            found: dict[tuple[int, int], list[int]] = {}
            for at in range(1, len(self)):
                tag = self._image.type_at(at) if self._image.kind_at(at) is Kind.DECL_TAG else None
                if isinstance(tag, DeclTag):
                    found.setdefault((tag.type, tag.component), []).append(at)
            self._tags = found
        return tuple(map(self._image.name_at, self._tags.get(key, ())))

    def describe(self, id: int) -> str:
        """Return a type as C would declare it, on one line; ``...`` stands for what is too much to show.

        Raises
        ------
        BtfError
            If there is no such type.

        Examples
        --------
        >>> from prestocloud_sec.bpf.object import declare
        >>> btf = declare({0: "static const char *name(struct task *of, int nr)"}).btf
        >>> btf.describe(btf.find("name"))
        'const char *name(struct task *of, int nr)'
        """
        text = _Text(self._image).of(self._checked(id))
        return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}..."

    def __eq__(self, other: object) -> bool:
        return self._image.parts == other._image.parts if isinstance(other, Btf) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.to_bytes())

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (self.to_bytes(),))

    def __repr__(self) -> str:
        parts = [self.describe(id) for id in range(1, min(len(self), _SHOWN + 1))]
        short = [text if len(text) <= _LONGEST_NAME else f"{text[:_LONGEST_NAME]}..." for text in parts]
        if len(self) > _SHOWN + 1:
            short.append("...")
        return f"<Btf, {len(self)} types{': ' * bool(short)}{'; '.join(short)}>"

    def _repr_html_(self) -> str:
        lines = [f"[{id}] {self.describe(id)}" for id in range(1, min(len(self), _SHOWN_IN_HTML + 1))]
        if len(self) > _SHOWN_IN_HTML + 1:
            lines.append(f"... {len(self)} types")
        return f"<pre>{html.escape(chr(10).join(lines))}</pre>"


def _rebuild(data: bytes) -> Btf:
    return Btf.from_bytes(data)


def _circle(id: int) -> BtfError:
    return BtfError(f"more than {_LONGEST_CHAIN} types in a row", type_id=id, hint="they may lead round in a circle")


_WORDS: dict[Kind, str] = {
    Kind.VOID: "void",
    Kind.FWD: "a struct or union of which only the name is known",
    Kind.FUNC: "a function",
    Kind.FUNC_PROTO: "a function",
    Kind.DECL_TAG: "a tag",
}
"""What has no size."""

_LONGEST_TEXT = 4000
_LONGEST_NAME = 80
_MOST_TYPES = 200
"""Types that a description goes through, and parts of any one of them that it shows."""
_DEEPEST = 24
_QUALIFIERS = {Kind.VOLATILE: "volatile", Kind.CONST: "const", Kind.RESTRICT: "restrict"}
_TAGS = {Kind.STRUCT: "struct", Kind.UNION: "union", Kind.ENUM: "enum", Kind.ENUM64: "enum"}
_LINKAGES = {Linkage.STATIC: "static ", Linkage.GLOBAL: "", Linkage.EXTERN: "extern "}


class _Text:
    """Writes C; what is left of the number of types that it may look at bounds its work."""

    def __init__(self, image: Image) -> None:
        self._image = image
        self._left = _MOST_TYPES

    def of(self, id: int) -> str:
        """Return what a type, or what is none in C, looks like where it is declared."""
        match self._image.type_at(id, 0):
            case Function(name, prototype):
                return self._declare(prototype, _cut(name), 1)
            case Struct(name) | Union(name) | Enum(name) | Enum64(name) as body:
                return f"{_TAGS[body.kind]} {_cut(name)}{' ' * bool(name)}{self._body(id, 1)}"
            case Typedef(name, type):
                return f"typedef {self._declare(type, _cut(name), 1)}"
            case Variable(name, type, linkage):
                return _LINKAGES[linkage] + self._declare(type, _cut(name), 1)
            case Section(name, size):
                return f"section {_cut(name)} of {size} bytes with {self._image.count_at(id)} variables"
            case DeclTag(value, type, component):
                place = "" if component < 0 else f"component {component} of "
                return f'"{_cut(value)}" on {place}{self._declare(type, "", 1)}'
            case _:
                return self._declare(id, "", 0)

    def _declare(self, id: int, name: str, depth: int) -> str:
        """Return the declaration of something of a type; `name` is what is declared, with what is around it so far."""
        self._left -= 1
        if self._left < 0 or depth > _DEEPEST:
            return _beside("...", name)
        takes = self._image.kind_at(id) is Kind.FUNC_PROTO
        match self._image.type_at(id, _MOST_TYPES * takes):
            case Pointer(type):
                if self._image.kind_at(self._unqualified(type)) in {Kind.ARRAY, Kind.FUNC_PROTO}:
                    return self._declare(type, f"(*{name})", depth + 1)
                return self._declare(type, f"*{name}", depth + 1)
            case Array(element, count):
                return self._declare(element, f"{name}[{count}]", depth + 1)
            case Prototype(result, parameters):
                listed = self._listed([(p.name, p.type, "") for p in parameters], id, depth)
                return self._declare(result, f"{name}({', '.join(listed) or 'void'})", depth + 1)
            case Volatile(type) | Const(type) | Restrict(type) | TypeTag(_, type) as modifier:
                word = _QUALIFIERS.get(modifier.kind) or f'__attribute__((btf_type_tag("{self._name(id)}")))'
                if self._image.kind_at(self._unqualified(type)) is Kind.PTR:
                    return self._declare(type, _beside(word, name), depth + 1)
                return f"{word} {self._declare(type, name, depth + 1)}"
            case other:
                return _beside(self._base(other, id, depth), name)

    def _base(self, type: Type, id: int, depth: int) -> str:
        match type:
            case Void():
                return "void"
            case Struct(name) | Union(name) | Enum(name) | Enum64(name):
                return f"{_TAGS[type.kind]} {_cut(name) if name else self._body(id, depth + 1)}"
            case Forward(name, union):
                return f"{'union' if union else 'struct'} {_cut(name)}"
            case _:
                return self._name(id) or "..."

    def _body(self, id: int, depth: int) -> str:
        match self._image.type_at(id, _MOST_TYPES):
            case Struct(_, _, members) | Union(_, _, members):
                fields = [(m.name, m.type, f" : {m.bits}" * bool(m.bits)) for m in members]
                parts = [f"{text};" for text in self._listed(fields, id, depth)]
                return f"{{ {' '.join(parts)} }}" if parts else "{ }"
            case Enum(_, _, _, values) | Enum64(_, _, _, values):
                shown_values = [f"{_cut(v.name)} = {v.value}" for v in values[: max(self._left, 0)]]
                self._left -= len(values)
                more = ["..."] * (len(shown_values) < self._image.count_at(id))
                return f"{{ {', '.join(shown_values + more)} }}" if values else "{ }"
            case _:
                return "..."

    def _listed(self, parts: list[tuple[str, int, str]], id: int, depth: int) -> list[str]:
        """Return the declarations of members or parameters, and ``...`` for those that are too many."""
        listed = []
        for name, type, behind in parts:
            if self._left <= 0:
                break
            further = not (name or type)
            listed.append("..." if further else self._declare(type, _cut(name), depth + 1) + behind)
        if len(listed) < self._image.count_at(id):
            listed.append("...")
        return listed

    def _unqualified(self, id: int) -> int:
        """Return what a type is behind its modifiers; typedefs stay, for C names them."""
        for _ in range(_DEEPEST):
            kind = self._image.kind_at(id)
            if kind is Kind.TYPEDEF or kind not in _SEEN_THROUGH:
                break
            id = self._image.third_word(id)
        return id

    def _name(self, id: int) -> str:
        return _cut(self._image.name_at(id))


def _beside(base: str, name: str) -> str:
    return f"{base} {name}" if name else base


def _cut(name: str) -> str:
    """Return a name as a terminal can show it."""
    text = name if name.isprintable() else ascii(name)[1:-1]
    return text if len(text) <= _LONGEST_NAME else f"{text[:_LONGEST_NAME]}..."
