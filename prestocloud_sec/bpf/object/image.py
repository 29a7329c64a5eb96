# SPDX-License-Identifier: Apache-2.0
"""Types as they lie in a file, each made where it is asked for.

An `Image` was checked as a whole by what made it, `prestocloud_sec.bpf.object.reading` or a builder; nothing that is
made of it can fail for want of bytes. Types and strings are kept as they are, in their order, so that canonical bytes
come back byte for byte.

Sources: Linux 6.18, ``Documentation/bpf/btf.rst``, section "BTF Type and String Encoding";
``include/uapi/linux/btf.h``.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Iterable, Iterator

from prestocloud_sec.bpf.object import types as t
from prestocloud_sec.bpf.object.kinds import SEEN_THROUGH, Kind
from prestocloud_sec.bpf.object.layout import ENCODINGS, FLAG, HEADER, LINKAGES, MAGIC, MOST_PARTS, VERSION
from prestocloud_sec.bpf.object.types import Type
from prestocloud_sec.bpf.words import signed

__all__ = ["LONGEST_CHAIN", "Image"]

LONGEST_CHAIN = 256
"""References that are followed from a type to what it stands for; the kernel follows 32."""

_KINDS = tuple(Kind)


class Image:
    """Types and strings as they lie in a file, and where each type begins.

    Attributes
    ----------
    words : array of int
        The section of types, in words of 32 bits.
    starts : array of int
        The word that each type begins with, by its id; that of ``void`` says nothing.
    strings : bytes
        The section of strings.
    """

    __slots__ = ("starts", "strings", "words")

    def __init__(self, words: array[int], starts: array[int], strings: bytes) -> None:
        self.words = words
        self.starts = starts
        self.strings = strings

    @property
    def parts(self) -> tuple[array[int], bytes]:
        """What two that are equal have in common."""
        return self.words, self.strings

    def to_bytes(self) -> bytes:
        """Return the canonical bytes."""
        types = self.words.tobytes() if sys.byteorder == "little" else _swapped(self.words).tobytes()
        sizes = (0, len(types), len(types), len(self.strings))
        return HEADER.pack(MAGIC, VERSION, 0, HEADER.size, *sizes) + types + self.strings

    def kind_at(self, id: int) -> Kind:
        """Return what a type is."""
        return _KINDS[self.words[self.starts[id] + 1] >> 24 & 0x1F] if id else Kind.VOID

    def count_at(self, id: int) -> int:
        """Return how many parts a type has."""
        return self.words[self.starts[id] + 1] & MOST_PARTS if id else 0

    def third_word(self, id: int) -> int:
        """Return the size of a type, or the type that it refers to."""
        return self.words[self.starts[id] + 2]

    def behind(self, id: int) -> Iterator[int]:
        """Yield a type's id, and those of the types that it stands for, one behind the other.

        The last is of no typedef and no modifier, unless there are `LONGEST_CHAIN` in a row.
        """
        for _ in range(LONGEST_CHAIN):
            yield id
            if self.kind_at(id) not in SEEN_THROUGH:
                return
            id = self.third_word(id)

    def string_at(self, id: int) -> bytes:
        """Return a type's name as its bytes."""
        return self._bytes(self.words[self.starts[id]]) if id else b""

    def name_at(self, id: int) -> str:
        """Return a type's name."""
        return _text(self.string_at(id))

    def _bytes(self, place: int) -> bytes:
        return self.strings[place : self.strings.index(0, place)]

    def string(self, place: int) -> str:
        """Return the string that begins at a place."""
        return _text(self._bytes(place)) if place else ""

    def type_at(self, id: int, most: int = MOST_PARTS) -> Type:
        """Make the object of a type, with no more than its first `most` parts."""
        if not id:
            return t.Void()
        words, at = self.words, self.starts[id]
        place, info, third = words[at : at + 3]
        name, count, flag = self.string(place), min(info & MOST_PARTS, most), bool(info >> FLAG)
        match _KINDS[info >> 24 & 0x1F]:
            case Kind.INT:
                word = words[at + 3]
                return t.Int(name, third, word & 0xFF, ENCODINGS[word >> 24], word >> 16 & 0xFF)
            case Kind.ARRAY:
                return t.Array(words[at + 3], words[at + 5], words[at + 4])
            case Kind.STRUCT:
                return t.Struct(name, third, self._members(at + 3, count, flag))
            case Kind.UNION:
                return t.Union(name, third, self._members(at + 3, count, flag))
            case Kind.ENUM:
                return t.Enum(name, third, flag, self._values(at + 3, count, flag))
            case Kind.ENUM64:
                return t.Enum64(name, third, flag, self._wide_values(at + 3, count, flag))
            case Kind.FWD:
                return t.Forward(name, flag)
            case Kind.FUNC:
                return t.Function(name, third, LINKAGES[info & MOST_PARTS])
            case Kind.FUNC_PROTO:
                pairs = self._by_part(at + 3, count, 2)
                return t.Prototype(third, tuple(t.Parameter(self.string(place), type) for place, type in pairs))
            case Kind.VAR:
                return t.Variable(name, third, LINKAGES[words[at + 3]])
            case Kind.DATASEC:
                return t.Section(name, third, tuple(t.Placement(*part) for part in self._by_part(at + 3, count, 3)))
            case Kind.FLOAT:
                return t.Float(name, third)
            case Kind.DECL_TAG:
                return t.DeclTag(name, third, signed(words[at + 3], 32), flag)
            case Kind.TYPE_TAG:
                return t.TypeTag(name, third, flag)
            case Kind.TYPEDEF:
                return t.Typedef(name, third)
            case kind:
                return _POINTING[kind](third)

    def _by_part(self, at: int, count: int, each: int) -> Iterable[tuple[int, ...]]:
        part = iter(self.words[at : at + count * each])
        return zip(*[part] * each, strict=True)

    def _members(self, at: int, count: int, flag: bool) -> tuple[t.Member, ...]:
        parts = self._by_part(at, count, 3)
        if not flag:
            return tuple(t.Member(self.string(place), type, offset) for place, type, offset in parts)
        return tuple(t.Member(self.string(place), type, word & 0xFFFFFF, word >> 24) for place, type, word in parts)

    def _values(self, at: int, count: int, flag: bool) -> tuple[t.Enumerator, ...]:
        parts = self._by_part(at, count, 2)
        return tuple(t.Enumerator(self.string(place), signed(value, 32) if flag else value) for place, value in parts)

    def _wide_values(self, at: int, count: int, flag: bool) -> tuple[t.Enumerator, ...]:
        parts = ((place, low | high << 32) for place, low, high in self._by_part(at, count, 3))
        return tuple(t.Enumerator(self.string(place), signed(value, 64) if flag else value) for place, value in parts)


_POINTING: dict[Kind, Callable[[int], Type]] = {
    Kind.PTR: t.Pointer,
    Kind.VOLATILE: t.Volatile,
    Kind.CONST: t.Const,
    Kind.RESTRICT: t.Restrict,
}


def _text(data: bytes) -> str:
    return data.decode(errors="surrogateescape")


def _swapped(words: array[int]) -> array[int]:
    other = array("I", words)
    other.byteswap()
    return other
