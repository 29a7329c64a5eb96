# SPDX-License-Identifier: Apache-2.0
"""Lists of types as programs and kernels carry them, BTF, and how to look things up in them.

A `Btf` is read from bytes, which are checked once and as a whole, and makes the objects of its types when they are
asked for, so that the hundred thousand types of a kernel cost no more than those that are looked at. Types can refer to
each other in circles, as in C; what follows references here goes a bounded way.

Sources: Linux 6.18, ``Documentation/bpf/btf.rst`` and ``include/uapi/linux/btf.h``.
"""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prestocloud_sec.bpf.errors import BpfMisuseError, BtfError
from prestocloud_sec.bpf.object import types as t
from prestocloud_sec.bpf.object.image import LONGEST_CHAIN, Image
from prestocloud_sec.bpf.object.kinds import SEEN_THROUGH, Kind
from prestocloud_sec.bpf.object.reading import read
from prestocloud_sec.bpf.object.text import LONGEST_NAME, description
from prestocloud_sec.bpf.object.types import Type
from prestocloud_sec.bpf.object.writing import string_of
from prestocloud_sec.wire import shown, whole

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["POINTER_SIZE", "Btf"]

POINTER_SIZE = 8
"""Bytes of a pointer: BPF is a machine of 64 bits."""
_LARGEST = (1 << 32) - 1
_SHOWN = 4
_SHOWN_IN_HTML = 20

_WORDS: dict[Kind, str] = {
    Kind.VOID: "void",
    Kind.FWD: "a struct or union of which only the name is known",
    Kind.FUNC: "a function",
    Kind.FUNC_PROTO: "a function",
    Kind.DECL_TAG: "a tag",
}
"""What has no size."""


class Btf:
    """Types, each with an id.

    ``btf[id]`` is a type, ``len(btf)`` how many there are (``void``, whose id is 0, among them), and iteration yields
    them in the order of their ids. Two are equal if their canonical bytes (`to_bytes`) are. An id that is
    too large is refused with a `BtfError`, and what is no id of any type, such as -1, with a `BpfMisuseError`.

    Examples
    --------
    >>> from prestocloud_sec.bpf.object import BtfBuilder, Encoding
    >>> from prestocloud_sec.bpf.object.types import Parameter
    >>> builder = BtfBuilder()
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
        if not isinstance(image, Image):
            raise BpfMisuseError(
                f"{shown(image)} holds no types", where="Btf", expected="an Image", hint="Btf.from_bytes reads bytes"
            )
        self._image = image
        self._by_name: dict[int, list[int]] | None = None
        self._tags: dict[tuple[int, int], list[int]] | None = None

    @classmethod
    def from_bytes(cls, data: BytesLike) -> Btf:
        """Read types; see `prestocloud_sec.bpf.object.reading` for what is accepted.

        Raises
        ------
        BtfError
            If the bytes are no BTF, with the offset and the type that is wrong.
        MisuseError
            If they are no bytes.
        """
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
        BpfMisuseError
            If `id` is no integer, or negative.
        """
        return self._image.kind_at(self._checked(id))

    def name(self, id: int) -> str:
        """Return a type's name, or what a tag says; empty where there is none, and for ``void``.

        Raises
        ------
        BtfError
            If there is no such type.
        BpfMisuseError
            If `id` is no integer, or negative.
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
        BpfMisuseError
            If `name` can be no name, or `kind` is no `Kind`.
        """
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
        BpfMisuseError
            If `id` is no integer, or negative.
        """
        *_, last = self._image.behind(self._checked(id))
        if self._image.kind_at(last) in SEEN_THROUGH:
            raise _circle(id)
        return last

    def behind(self, id: int) -> Iterator[int]:
        """Yield a type's id, and then those of the types that it stands for, as typedefs and modifiers do.

        The last is what `resolved` returns; of those that lead round in a circle, this yields the first 256.

        Raises
        ------
        BtfError
            If there is no such type.
        BpfMisuseError
            If `id` is no integer, or negative.

        Examples
        --------
        >>> from prestocloud_sec.bpf.object import declare
        >>> btf = declare({}, "struct box { const u8 kind; };").btf
        >>> [btf.kind(at).name for at in btf.behind(btf[btf.find("box")].members[0].type)]
        ['CONST', 'TYPEDEF', 'INT']
        """
        return self._image.behind(self._checked(id))

    def size_of(self, id: int) -> int:
        """Return the bytes that something of a type takes.

        Typedefs, modifiers and variables are as large as what they stand for, pointers have eight bytes.

        Raises
        ------
        BtfError
            If there is no such type, it has no size (``void``, functions, structs of which only the name is known),
            or one of 4 GiB and more, or its references lead round in a circle.
        BpfMisuseError
            If `id` is no integer, or negative.
        """
        at, count = id, 1
        for _ in range(LONGEST_CHAIN):
            at = self.resolved(at)
            match self._image.type_at(at, 0):
                case t.Array(element, elements):
                    count *= elements
                    at = element
                    if count > _LARGEST:
                        raise BtfError("too many elements", type_id=id, expected="less than 4 GiB")
                case t.Variable(_, type):
                    at = type
                case t.Pointer():
                    return self._whole_size(id, count, POINTER_SIZE)
                case t.Int() | t.Struct() | t.Union() | t.Enum() | t.Enum64() | t.Float() | t.Section() as sized:
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
        BpfMisuseError
            If `id` is no integer, or negative, or `component` no integer from -1.
        """
        key = self._checked(id), whole(component, "component", -1, error=BpfMisuseError)
        if self._tags is None:
            found: dict[tuple[int, int], list[int]] = {}
            for at in range(1, len(self)):
                tag = self._image.type_at(at) if self._image.kind_at(at) is Kind.DECL_TAG else None
                if isinstance(tag, t.DeclTag):
                    found.setdefault((tag.type, tag.component), []).append(at)
            self._tags = found
        return tuple(map(self._image.name_at, self._tags.get(key, ())))

    def describe(self, id: int) -> str:
        """Return a type as C would declare it, on one line; ``...`` stands for what is too much to show.

        Raises
        ------
        BtfError
            If there is no such type.
        BpfMisuseError
            If `id` is no integer, or negative.

        Examples
        --------
        >>> from prestocloud_sec.bpf.object import declare
        >>> btf = declare({0: "static const char *name(struct task *of, int nr)"}).btf
        >>> btf.describe(btf.find("name"))
        'static const char *name(struct task *of, int nr)'
        """
        return description(self._image, self._checked(id))

    def __eq__(self, other: object) -> bool:
        return self._image.parts == other._image.parts if isinstance(other, Btf) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.to_bytes())

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (self.to_bytes(),))

    def __repr__(self) -> str:
        parts = [self.describe(id) for id in range(1, min(len(self), _SHOWN + 1))]
        short = [text if len(text) <= LONGEST_NAME else f"{text[:LONGEST_NAME]}..." for text in parts]
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
    return BtfError(f"more than {LONGEST_CHAIN} types in a row", type_id=id, hint="they may lead round in a circle")
