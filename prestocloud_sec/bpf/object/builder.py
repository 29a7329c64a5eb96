# SPDX-License-Identifier: Apache-2.0
"""Lists of types that are made one by one: a builder that gives each its id.

Sources: Linux 6.18, ``Documentation/bpf/btf.rst`` and ``include/uapi/linux/btf.h``.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from typing import TypeVar

from prestocloud_sec.bpf.errors import BpfMisuseError, BtfError
from prestocloud_sec.bpf.object import types as t
from prestocloud_sec.bpf.object.btf import Btf
from prestocloud_sec.bpf.object.image import Image
from prestocloud_sec.bpf.object.kinds import Encoding, Linkage
from prestocloud_sec.bpf.object.layout import HEADER
from prestocloud_sec.bpf.object.reading import starts_of
from prestocloud_sec.bpf.object.types import Member, Parameter, Placement, Type
from prestocloud_sec.bpf.object.writing import Written, checked_number, row_of
from prestocloud_sec.wire import items_of, shown

__all__ = ["BtfBuilder"]

T = TypeVar("T")


class BtfBuilder:
    """Collects types, and gives each its id; equal types are one.

    A type may refer to ids that are not there yet: `reserve` gives an id to a type that `define` says later, which is
    how a struct comes to point to itself.

    Examples
    --------
    >>> from prestocloud_sec.bpf.object import BtfBuilder
    >>> from prestocloud_sec.bpf.object.types import Member, Struct
    >>> builder = BtfBuilder()
    >>> node = builder.reserve()
    >>> builder.define(node, Struct("node", 8, (Member("next", builder.pointer(node), 0),)))
    >>> builder.build().describe(node)
    'struct node { struct node *next; }'
    """

    def __init__(self) -> None:
        self._rows: list[tuple[int, ...] | None] = []
        self._ids: dict[Written, int] = {}
        self._places: dict[bytes, int] = {b"": 0}
        self._end = 1

    def __len__(self) -> int:
        """Return how many types there are, ``void`` among them."""
        return len(self._rows) + 1

    def add(self, type: Type) -> int:
        """Add a type, and return its id: that of an equal one, if there is one, 0 for ``void``.

        Raises
        ------
        BpfMisuseError
            If it is no type, or a field does not hold what it says.
        """
        if isinstance(type, t.Void):
            return 0
        row = row_of(type)
        found = self._ids.get(row)
        if found is None:
            found = self._ids[row] = self.reserve()
            self._rows[found - 1] = self._placed(row)
        return found

    def reserve(self) -> int:
        """Return an id for a type that `define` is to say."""
        self._rows.append(None)
        return len(self._rows)

    def define(self, id: int, type: Type) -> None:
        """Say what a reserved id is; it stays a type of its own.

        Raises
        ------
        BpfMisuseError
            If the id is not reserved or was defined before, or as `add` does.
        """
        number = checked_number(id, "id")
        if not 0 < number < len(self) or self._rows[number - 1] is not None:
            raise BpfMisuseError(f"{number} waits for no type", where="define", expected="an id of reserve()")
        row = row_of(type)
        self._ids.setdefault(row, number)
        self._rows[number - 1] = self._placed(row)

    def _placed(self, row: Written) -> tuple[int, ...]:
        return tuple(self._place(word) if isinstance(word, bytes) else word for word in row)

    def _place(self, string: bytes) -> int:
        place = self._places.setdefault(string, self._end)
        if place == self._end:
            self._end += len(string) + 1
        return place

    def int_(
        self, name: str, size: int, *, encoding: Encoding = Encoding.NONE, bits: int | None = None, offset: int = 0
    ) -> int:
        """Add an integer of `size` bytes; it has all their bits, if `bits` says nothing else."""
        width = 8 * checked_number(size, "size", 16) if bits is None else bits
        return self.add(t.Int(name, size, width, encoding, offset))

    def pointer(self, type: int) -> int:
        """Add a pointer."""
        return self.add(t.Pointer(type))

    def array(self, element: int, count: int, index: int | None = None) -> int:
        """Add an array; `index` is the type that counts its elements, the one that clang uses if not given."""
        if index is None:
            index = self.int_("__ARRAY_SIZE_TYPE__", 4)
        return self.add(t.Array(element, count, index))

    def struct(self, name: str, size: int, members: Iterable[Member] = ()) -> int:
        """Add a struct."""
        return self.add(t.Struct(name, size, _parts(members, "members")))

    def union(self, name: str, size: int, members: Iterable[Member] = ()) -> int:
        """Add a union."""
        return self.add(t.Union(name, size, _parts(members, "members")))

    def enum(self, name: str, values: Mapping[str, int], *, size: int = 4) -> int:
        """Add an enumeration; it is signed if one of its numbers is."""
        each = _values(values)
        return self.add(t.Enum(name, size, any(one.value < 0 for one in each), each))

    def enum64(self, name: str, values: Mapping[str, int], *, size: int = 8) -> int:
        """Add an enumeration of numbers of 64 bits; it is signed if one of its numbers is."""
        each = _values(values)
        return self.add(t.Enum64(name, size, any(one.value < 0 for one in each), each))

    def forward(self, name: str, *, union: bool = False) -> int:
        """Add a struct or union of which only the name is known."""
        return self.add(t.Forward(name, union))

    def typedef(self, name: str, type: int) -> int:
        """Add another name for a type."""
        return self.add(t.Typedef(name, type))

    def volatile(self, type: int) -> int:
        """Add the volatile form of a type."""
        return self.add(t.Volatile(type))

    def const(self, type: int) -> int:
        """Add the constant form of a type."""
        return self.add(t.Const(type))

    def restrict(self, type: int) -> int:
        """Add the restricted form of a type."""
        return self.add(t.Restrict(type))

    def function(self, name: str, prototype: int, linkage: Linkage = Linkage.GLOBAL) -> int:
        """Add a function with a prototype."""
        return self.add(t.Function(name, prototype, linkage))

    def prototype(self, result: int, parameters: Iterable[Parameter] = ()) -> int:
        """Add what a function takes and returns."""
        return self.add(t.Prototype(result, _parts(parameters, "parameters")))

    def variable(self, name: str, type: int, linkage: Linkage = Linkage.GLOBAL) -> int:
        """Add a variable."""
        return self.add(t.Variable(name, type, linkage))

    def section(self, name: str, size: int, variables: Iterable[Placement] = ()) -> int:
        """Add a section of data."""
        return self.add(t.Section(name, size, _parts(variables, "variables")))

    def float_(self, name: str, size: int) -> int:
        """Add a floating-point number."""
        return self.add(t.Float(name, size))

    def decl_tag(self, value: str, type: int, component: int = -1, *, attribute: bool = False) -> int:
        """Add a note on a declaration, or on one of its parameters or members."""
        return self.add(t.DeclTag(value, type, component, attribute))

    def type_tag(self, value: str, type: int, *, attribute: bool = False) -> int:
        """Add a note on a type."""
        return self.add(t.TypeTag(value, type, attribute))

    def build(self) -> Btf:
        """Return the types so far.

        Raises
        ------
        BpfMisuseError
            If a reserved id was not defined, a reference leads nowhere, or a type's fields contradict each other.
        """
        words = array("I")
        for number, row in enumerate(self._rows, 1):
            if row is None:
                raise BpfMisuseError(f"type {number} was reserved and not defined", where="build", expected="define()")
            words.extend(row)
        strings = b"".join(string + b"\0" for string in self._places)
        try:
            return Btf(Image(words, starts_of(words, len(strings), HEADER.size), strings))
        except BtfError as error:
            raise BpfMisuseError(error.what, where=error.where, expected=error.expected) from error


def _parts(parts: Iterable[T], where: str) -> tuple[T, ...]:
    """Return parts of a type as it holds them; what each is, `row_of` checks."""
    return tuple(items_of(parts, where, "the parts of a type", error=BpfMisuseError))


def _values(values: Mapping[str, int]) -> tuple[t.Enumerator, ...]:
    if not isinstance(values, Mapping):
        raise BpfMisuseError(f"{shown(values)} enumerates nothing", where="values", expected="a mapping of str to int")
    pairs = items_of(values.items(), "values", "a mapping of str to int", error=BpfMisuseError)
    return tuple(t.Enumerator(name, checked_number(value, "value", (1 << 64) - 1, -(1 << 63))) for name, value in pairs)
