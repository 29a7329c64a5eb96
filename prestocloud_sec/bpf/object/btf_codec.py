# SPDX-License-Identifier: Apache-2.0
"""BTF as bytes: reading with every bound checked, one type at a time where it is asked for, and a builder that writes.

What is read is little-endian: a header, then the types, then the strings, and nothing between or behind, as compilers
and Linux write it. A header of 24 bytes is the canonical one; a longer one, with zeros at its end, is read as well, as
Linux does, and written as the canonical one. Types and strings are kept as they are, in their order, so that canonical
bytes come back byte for byte.

Reading checks once that every type lies in its section, that its fields can be what they are, that each name is a
string and each reference leads to a type; nothing that is made of it later can fail for want of bytes. What types make
of each other (whether a function's prototype is one) is the affair of who asks.

Sources: Linux 6.18, ``Documentation/bpf/btf.rst``, section "BTF Type and String Encoding";
``include/uapi/linux/btf.h``.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from prestocloud_sec.bpf.errors import BpfMisuseError, BtfError
from prestocloud_sec.bpf.object.btf import (
    Array,
    Btf,
    Const,
    DeclTag,
    Encoding,
    Enum,
    Enum64,
    Enumerator,
    Float,
    Forward,
    Function,
    Int,
    Kind,
    Linkage,
    Member,
    Parameter,
    Placement,
    Pointer,
    Prototype,
    Restrict,
    Section,
    Struct,
    Type,
    Typedef,
    TypeTag,
    Union,
    Variable,
    Void,
    Volatile,
)
from prestocloud_sec.wire import items_of, shown, view_of, whole

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["LONGEST_STRING", "Builder", "Image", "read", "row_of", "string_of"]

_MAGIC, _VERSION = 0xEB9F, 1
_HEADER = struct.Struct("<HBBIIIII")
_U32 = (1 << 32) - 1
_MOST_PARTS = (1 << 16) - 1
_UNUSED = 0x60FF0000  # bits of the info word
_FLAG = 31
_BITFIELD_OFFSETS = 1 << 24
LONGEST_STRING = 1023
"""Bytes of a string that are read, twice what Linux allows in a name: names that share their ends cannot be long."""


class Row(NamedTuple):
    """How a kind is laid out behind the three words that all types begin with: name, info, and size or type.

    Attributes
    ----------
    fixed : int
        Words that follow.
    each : int
        Words of each of the parts that the info word counts.
    named : bool
        Whether the first word can be other than 0.
    refers : bool
        Whether the third word is a type.
    flag : bool
        Whether the flag in the info word has a meaning.
    name, type : int or None
        Which of the words of a part is a name, and a type.
    wrong : callable
        Takes the words, where they begin and the count; returns what is wrong with them and what is expected.
    """

    fixed: int = 0
    each: int = 0
    named: bool = True
    refers: bool = False
    flag: bool = False
    name: int | None = None
    type: int | None = None
    wrong: Callable[[array[int], int, int], tuple[str, str] | None] | None = None


Wrong = tuple[str, str] | None


def _wrong_int(words: array[int], at: int, _: int) -> Wrong:
    size, word = words[at + 2], words[at + 3]
    bits, offset, encoding = word & 0xFF, word >> 16 & 0xFF, word >> 24
    if word & 0xFF00 or encoding not in _ENCODINGS:
        return f"{word:#x} says nothing of an integer", "at most one of signed, char and bool"
    if bits + offset > min(128, 8 * size):
        return f"{bits} bits from bit {offset} of {size} bytes", "bits that the integer has, 128 at most"
    return None


def _wrong_array(words: array[int], at: int, _: int) -> Wrong:
    return ("an array with a size", "0") if words[at + 2] else None


def _wrong_forward(words: array[int], at: int, _: int) -> Wrong:
    return ("a struct without members has a type", "0") if words[at + 2] else None


def _wrong_enum(words: array[int], at: int, _: int) -> Wrong:
    size = words[at + 2]
    return None if size in {1, 2, 4, 8} else (f"an enumeration of {size} bytes", "1, 2, 4 or 8")


def _wrong_float(words: array[int], at: int, _: int) -> Wrong:
    size = words[at + 2]
    return None if size in {2, 4, 8, 12, 16} else (f"a floating-point number of {size} bytes", "2, 4, 8, 12 or 16")


def _wrong_function(_words: array[int], _at: int, count: int) -> Wrong:
    return None if count in _LINKAGES else (f"linkage {count}", "0 to 2")


def _wrong_variable(words: array[int], at: int, _: int) -> Wrong:
    return None if words[at + 3] in _LINKAGES else (f"linkage {words[at + 3]}", "0 to 2")


def _wrong_tag(words: array[int], at: int, _: int) -> Wrong:
    component = _signed(words[at + 3], 32)
    return None if component >= -1 else (f"component {component}", "-1 or more")


_ENCODINGS = {int(encoding): encoding for encoding in Encoding}
_LINKAGES = {int(linkage): linkage for linkage in Linkage}
_MEMBERS = Row(each=3, flag=True, name=0, type=1)
_REFERS = Row(named=False, refers=True)
ROWS: dict[int, Row] = {
    Kind.INT: Row(fixed=1, wrong=_wrong_int),
    Kind.PTR: _REFERS,
    Kind.ARRAY: Row(fixed=3, named=False, wrong=_wrong_array),
    Kind.STRUCT: _MEMBERS,
    Kind.UNION: _MEMBERS,
    Kind.ENUM: Row(each=2, flag=True, name=0, wrong=_wrong_enum),
    Kind.FWD: Row(flag=True, wrong=_wrong_forward),
    Kind.TYPEDEF: Row(refers=True),
    Kind.VOLATILE: _REFERS,
    Kind.CONST: _REFERS,
    Kind.RESTRICT: _REFERS,
    Kind.FUNC: Row(refers=True, wrong=_wrong_function),
    Kind.FUNC_PROTO: Row(each=2, named=False, refers=True, name=0, type=1),
    Kind.VAR: Row(fixed=1, refers=True, wrong=_wrong_variable),
    Kind.DATASEC: Row(each=3, type=0),
    Kind.FLOAT: Row(wrong=_wrong_float),
    Kind.DECL_TAG: Row(fixed=1, refers=True, flag=True, wrong=_wrong_tag),
    Kind.TYPE_TAG: Row(refers=True, flag=True),
    Kind.ENUM64: Row(each=3, flag=True, name=0, wrong=_wrong_enum),
}
"""The layout of each kind."""
_KINDS = tuple(Kind)


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> bits - 1 else value


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
        return _HEADER.pack(_MAGIC, _VERSION, 0, _HEADER.size, *sizes) + types + self.strings

    def kind_at(self, id: int) -> Kind:
        """Return what a type is."""
        return _KINDS[self.words[self.starts[id] + 1] >> 24 & 0x1F] if id else Kind.VOID

    def count_at(self, id: int) -> int:
        """Return how many parts a type has."""
        return self.words[self.starts[id] + 1] & _MOST_PARTS if id else 0

    def third_word(self, id: int) -> int:
        """Return the size of a type, or the type that it refers to."""
        return self.words[self.starts[id] + 2]

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

    def type_at(self, id: int, most: int = _MOST_PARTS) -> Type:
        """Make the object of a type, with no more than its first `most` parts."""
        if not id:
            return Void()
        words, at = self.words, self.starts[id]
        place, info, third = words[at : at + 3]
        name, count, flag = self.string(place), min(info & _MOST_PARTS, most), bool(info >> _FLAG)
        match _KINDS[info >> 24 & 0x1F]:
            case Kind.INT:
                word = words[at + 3]
                return Int(name, third, word & 0xFF, _ENCODINGS[word >> 24], word >> 16 & 0xFF)
            case Kind.ARRAY:
                return Array(words[at + 3], words[at + 5], words[at + 4])
            case Kind.STRUCT:
                return Struct(name, third, self._members(at + 3, count, flag))
            case Kind.UNION:
                return Union(name, third, self._members(at + 3, count, flag))
            case Kind.ENUM:
                return Enum(name, third, flag, self._values(at + 3, count, flag))
            case Kind.ENUM64:
                return Enum64(name, third, flag, self._wide_values(at + 3, count, flag))
            case Kind.FWD:
                return Forward(name, flag)
            case Kind.FUNC:
                return Function(name, third, _LINKAGES[info & _MOST_PARTS])
            case Kind.FUNC_PROTO:
                pairs = self._by_part(at + 3, count, 2)
                return Prototype(third, tuple(Parameter(self.string(place), type) for place, type in pairs))
            case Kind.VAR:
                return Variable(name, third, _LINKAGES[words[at + 3]])
            case Kind.DATASEC:
                return Section(name, third, tuple(Placement(*part) for part in self._by_part(at + 3, count, 3)))
            case Kind.FLOAT:
                return Float(name, third)
            case Kind.DECL_TAG:
                return DeclTag(name, third, _signed(words[at + 3], 32), flag)
            case Kind.TYPE_TAG:
                return TypeTag(name, third, flag)
            case Kind.TYPEDEF:
                return Typedef(name, third)
            case kind:
                return _POINTING[kind](third)

    def _by_part(self, at: int, count: int, each: int) -> Iterable[tuple[int, ...]]:
        part = iter(self.words[at : at + count * each])
        return zip(*[part] * each, strict=True)

    def _members(self, at: int, count: int, flag: bool) -> tuple[Member, ...]:
        parts = self._by_part(at, count, 3)
        if not flag:
            return tuple(Member(self.string(place), type, offset) for place, type, offset in parts)
        return tuple(Member(self.string(place), type, word & 0xFFFFFF, word >> 24) for place, type, word in parts)

    def _values(self, at: int, count: int, signed: bool) -> tuple[Enumerator, ...]:
        parts = self._by_part(at, count, 2)
        return tuple(Enumerator(self.string(place), _signed(value, 32) if signed else value) for place, value in parts)

    def _wide_values(self, at: int, count: int, signed: bool) -> tuple[Enumerator, ...]:
        parts = ((place, low | high << 32) for place, low, high in self._by_part(at, count, 3))
        return tuple(Enumerator(self.string(place), _signed(value, 64) if signed else value) for place, value in parts)


_POINTING: dict[Kind, Callable[[int], Type]] = {
    Kind.PTR: Pointer,
    Kind.VOLATILE: Volatile,
    Kind.CONST: Const,
    Kind.RESTRICT: Restrict,
}


def _text(data: bytes) -> str:
    return data.decode(errors="surrogateescape")


def _swapped(words: array[int]) -> array[int]:
    other = array("I", words)
    other.byteswap()
    return other


def read(data: BytesLike) -> Image:
    """Check bytes as a whole, and find where each type begins.

    Raises
    ------
    BtfError
        If they are no little-endian BTF that Linux 6.18 could read; with the offset and the type.
    """
    view = view_of(data, name="BTF")
    types, strings = _sections(view)
    words = array("I", bytes(view[types:strings]))
    if sys.byteorder == "big":
        words.byteswap()
    text = bytes(view[strings:])
    _check_strings(text, strings)
    return Image(words, _starts(words, len(text), types), text)


def _sections(view: memoryview) -> tuple[int, int]:
    """Return where the types begin, and where the strings do."""
    if len(view) < _HEADER.size:
        raise BtfError(f"{len(view)} bytes in all", offset=0, expected=f"a header of {_HEADER.size} bytes")
    magic, version, flags, size, type_off, type_len, str_off, str_len = _HEADER.unpack_from(view)
    if magic == int.from_bytes(_MAGIC.to_bytes(2, "big"), "little"):
        raise BtfError("this BTF is big-endian", offset=0, expected="little-endian", hint="compile for bpfel")
    if magic != _MAGIC:
        raise BtfError(f"{magic:#06x} does not begin BTF", offset=0, expected=f"{_MAGIC:#x}")
    if (version, flags) != (_VERSION, 0):
        raise BtfError(f"version {version} with flags {flags:#x}", offset=2, expected="version 1 without flags")
    if not _HEADER.size <= size <= len(view):
        raise BtfError(f"a header of {size} bytes", offset=4, expected=f"{_HEADER.size}..{len(view)}")
    if any(view[_HEADER.size : size]):
        raise BtfError("the header says more than is known", offset=_HEADER.size, expected="zeros")
    if type_off or str_off != type_len or size + str_off + str_len != len(view):
        raise BtfError(
            f"{type_len} bytes at {type_off} and {str_len} at {str_off} of {len(view) - size}",
            offset=8,
            expected="types behind the header, strings behind them up to the end",
        )
    if type_len % 4:
        raise BtfError(f"types of {type_len} bytes", offset=12, expected="a multiple of 4")
    return size, size + type_len


def _check_strings(text: bytes, offset: int) -> None:
    if not text or text[0] or text[-1]:
        raise BtfError("the strings do not begin and end with a zero", offset=offset, expected="an empty string first")
    at = 0
    while at < len(text):
        end = text.rfind(0, at, at + LONGEST_STRING + 1)
        if end < 0:
            raise BtfError("a string is too long", offset=offset + at, expected=f"{LONGEST_STRING} bytes at most")
        at = end + 1


def _starts(words: array[int], names: int, offset: int) -> array[int]:
    """Return where each type begins; `names` is the size of the strings, `offset` the place of the types."""
    starts, at, end = array("I", [0]), 0, len(words)
    farthest, farthest_id = 0, 0

    def wrong(what: str, expected: str) -> BtfError:
        return BtfError(what, offset=offset + 4 * at, type_id=len(starts), expected=expected)

    while at < end:
        if end - at < 3:
            raise wrong(f"{4 * (end - at)} bytes left", "12 bytes of a type")
        info, third = words[at + 1], words[at + 2]
        row = ROWS.get(info >> 24 & 0x1F)
        if row is None or info & _UNUSED:
            raise wrong(f"{info:#010x} describes no type", "a kind from 1 to 19")
        count = info & _MOST_PARTS
        body = at + 3 + row.fixed
        after = body + row.each * count
        if after > end:
            raise wrong(f"{4 * (end - at)} bytes left", f"{4 * (after - at)} bytes")
        if info >> _FLAG and not row.flag:
            raise wrong("the flag of the kind has no meaning here", "0")
        if count and not row.each and row.wrong is not _wrong_function:
            raise wrong(f"{count} parts", "none of this kind")
        told = row.wrong(words, at, count) if row.wrong is not None else None
        if told is not None:
            raise wrong(*told)
        if words[at] and not (row.named and words[at] < names):
            raise wrong(f"its name is at {words[at]}", f"less than {names}" if row.named else "0, for it has no name")
        if row.refers and third > farthest:
            farthest, farthest_id = third, len(starts)
        if row.fixed == 3:  # an array, the only one whose types are behind the first three words
            nearest = max(words[at + 3], words[at + 4])
            if nearest > farthest:
                farthest, farthest_id = nearest, len(starts)
        if count and row.each:
            if row.name is not None and max(words[body + row.name : after : row.each]) >= names:
                raise wrong("a part's name lies outside the strings", f"less than {names}")
            if row.type is not None:
                nearest = max(words[body + row.type : after : row.each])
                if nearest > farthest:
                    farthest, farthest_id = nearest, len(starts)
        starts.append(at)
        at = after
    if farthest >= len(starts):
        raise BtfError(
            f"refers to type {farthest}",
            type_id=farthest_id,
            offset=offset + 4 * starts[farthest_id],
            expected=f"0..{len(starts) - 1}",
            hint="types of kernel modules go on where those of the kernel end",
        )
    return starts


# --- Writing -----------------------------------------------------------------------------------------------


def string_of(name: str, where: str) -> bytes:
    """Return a name as its bytes.

    Raises
    ------
    BpfMisuseError
        If it is no string, is too long, or holds a zero.
    """
    try:
        data = name.encode(errors="surrogateescape") if isinstance(name, str) else None
    except UnicodeEncodeError:
        data = None
    if data is None or len(data) > LONGEST_STRING or 0 in data:
        raise BpfMisuseError(
            f"{shown(name)} is no name", where=where, expected=f"a str of {LONGEST_STRING} bytes at most, without zeros"
        )
    return data


def _number(value: int, where: str, high: int = _U32, low: int = 0) -> int:
    return whole(value, where, low, high, error=BpfMisuseError)


def _parts(values: Iterable[Any], of: type[Any], where: str) -> list[Any]:
    parts = list(items_of(values, where, f"each a {of.__name__}", error=BpfMisuseError))
    if len(parts) > _MOST_PARTS or not all(type(part) is of for part in parts):
        raise BpfMisuseError(
            f"{len(parts)} parts", where=where, expected=f"{_MOST_PARTS} at most, each a {of.__name__}"
        )
    return parts


Written = tuple[int | bytes, ...]
"""The words of a type, with a string wherever the place of one belongs."""


def row_of(type: Type) -> Written:
    """Return the words of a type.

    Raises
    ------
    BpfMisuseError
        If it is none, or a field does not hold what it says.
    """
    kind, where = getattr(type, "kind", None), type.__class__.__name__
    count, flag, third, behind = 0, False, 0, list[int | bytes]()
    match type:
        case Int():
            third, bits = type.size, _number(type.bits, "bits", 255)
            encoding, offset = _number(type.encoding, "encoding", 15), _number(type.offset, "offset", 255)
            behind = [encoding << 24 | offset << 16 | bits]
        case Array():
            behind = [
                _number(type.element, "element"),
                _number(type.index, "index"),
                _number(type.count, "count"),
            ]
        case Struct() | Union():
            third, members = type.size, _parts(type.members, Member, f"{where}.members")
            count, flag = len(members), any(member.bits for member in members)
            for member in members:
                offset = _number(member.bit_offset, "bit_offset", (_BITFIELD_OFFSETS if flag else _U32 + 1) - 1)
                bits = _number(member.bits, "bits", 255)
                behind += [string_of(member.name, "name"), _number(member.type, "type"), bits << 24 | offset]
        case Enum() | Enum64():
            third, values = type.size, _parts(type.values, Enumerator, f"{where}.values")
            count, flag, width = len(values), bool(type.signed), 32 if kind is Kind.ENUM else 64
            low, high = (-(1 << width - 1), (1 << width - 1) - 1) if flag else (0, (1 << width) - 1)
            for value in values:
                number = _number(value.value, "value", high, low)
                halves = [number & _U32] if width == 32 else [number & _U32, number >> 32 & _U32]
                behind += [string_of(value.name, "name"), *halves]
        case Forward():
            flag = bool(type.union)
        case Function():
            count, third = _number(type.linkage, "linkage", 2), type.prototype
        case Prototype():
            third, parameters = type.result, _parts(type.parameters, Parameter, f"{where}.parameters")
            count = len(parameters)
            for parameter in parameters:
                behind += [string_of(parameter.name, "name"), _number(parameter.type, "type")]
        case Variable():
            third, behind = type.type, [_number(type.linkage, "linkage", 2)]
        case Section():
            third, variables = type.size, _parts(type.variables, Placement, f"{where}.variables")
            count = len(variables)
            for one in variables:
                behind += [_number(one.type, "type"), _number(one.offset, "offset"), _number(one.size, "size")]
        case Float():
            third = type.size
        case DeclTag():
            third, flag = type.type, bool(type.attribute)
            behind = [_number(type.component, "component", (1 << 31) - 1, -1) & _U32]
        case TypeTag():
            third, flag = type.type, bool(type.attribute)
        case Pointer() | Typedef() | Volatile() | Const() | Restrict():
            third = type.type
        case _:
            raise BpfMisuseError(f"{shown(type)} is no type that can be added", expected="one of those of BTF")
    name = string_of(getattr(type, "name", getattr(type, "value", "")), f"{where}.name")
    info = flag << _FLAG | int(type.kind) << 24 | count
    return (name, info, _number(third, f"{where}.{'type' if ROWS[type.kind].refers else 'size'}"), *behind)


class Builder:
    """Collects types, and gives each its id; equal types are one.

    A type may refer to ids that are not there yet: `reserve` gives an id to a type that `define` says later, which is
    how a struct comes to point to itself.

    Examples
    --------
    >>> builder = Builder()
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
        if isinstance(type, Void):
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
        number = _number(id, "id")
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
        width = 8 * _number(size, "size", 16) if bits is None else bits
        return self.add(Int(name, size, width, encoding, offset))

    def pointer(self, type: int) -> int:
        """Add a pointer."""
        return self.add(Pointer(type))

    def array(self, element: int, count: int, index: int | None = None) -> int:
        """Add an array; `index` is the type that counts its elements, the one that clang uses if not given."""
        if index is None:
            index = self.int_("__ARRAY_SIZE_TYPE__", 4)
        return self.add(Array(element, count, index))

    def struct(self, name: str, size: int, members: Iterable[Member] = ()) -> int:
        """Add a struct."""
        return self.add(Struct(name, size, tuple(_parts(members, Member, "members"))))

    def union(self, name: str, size: int, members: Iterable[Member] = ()) -> int:
        """Add a union."""
        return self.add(Union(name, size, tuple(_parts(members, Member, "members"))))

    def enum(self, name: str, values: Mapping[str, int], *, size: int = 4) -> int:
        """Add an enumeration; it is signed if one of its numbers is."""
        each = _values(values)
        return self.add(Enum(name, size, any(one.value < 0 for one in each), each))

    def enum64(self, name: str, values: Mapping[str, int], *, size: int = 8) -> int:
        """Add an enumeration of numbers of 64 bits; it is signed if one of its numbers is."""
        each = _values(values)
        return self.add(Enum64(name, size, any(one.value < 0 for one in each), each))

    def forward(self, name: str, *, union: bool = False) -> int:
        """Add a struct or union of which only the name is known."""
        return self.add(Forward(name, union))

    def typedef(self, name: str, type: int) -> int:
        """Add another name for a type."""
        return self.add(Typedef(name, type))

    def volatile(self, type: int) -> int:
        """Add the volatile form of a type."""
        return self.add(Volatile(type))

    def const(self, type: int) -> int:
        """Add the constant form of a type."""
        return self.add(Const(type))

    def restrict(self, type: int) -> int:
        """Add the restricted form of a type."""
        return self.add(Restrict(type))

    def function(self, name: str, prototype: int, linkage: Linkage = Linkage.GLOBAL) -> int:
        """Add a function with a prototype."""
        return self.add(Function(name, prototype, linkage))

    def prototype(self, result: int, parameters: Iterable[Parameter] = ()) -> int:
        """Add what a function takes and returns."""
        return self.add(Prototype(result, tuple(_parts(parameters, Parameter, "parameters"))))

    def variable(self, name: str, type: int, linkage: Linkage = Linkage.GLOBAL) -> int:
        """Add a variable."""
        return self.add(Variable(name, type, linkage))

    def section(self, name: str, size: int, variables: Iterable[Placement] = ()) -> int:
        """Add a section of data."""
        return self.add(Section(name, size, tuple(_parts(variables, Placement, "variables"))))

    def float_(self, name: str, size: int) -> int:
        """Add a floating-point number."""
        return self.add(Float(name, size))

    def decl_tag(self, value: str, type: int, component: int = -1, *, attribute: bool = False) -> int:
        """Add a note on a declaration, or on one of its parameters or members."""
        return self.add(DeclTag(value, type, component, attribute))

    def type_tag(self, value: str, type: int, *, attribute: bool = False) -> int:
        """Add a note on a type."""
        return self.add(TypeTag(value, type, attribute))

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
            return Btf(Image(words, _starts(words, len(strings), _HEADER.size), strings))
        except BtfError as error:
            raise BpfMisuseError(error.what, where=error.where, expected=error.expected) from error


def _values(values: Mapping[str, int]) -> tuple[Enumerator, ...]:
    if not isinstance(values, Mapping):
        raise BpfMisuseError(f"{shown(values)} enumerates nothing", where="values", expected="a mapping of str to int")
    pairs = items_of(values.items(), "values", "a mapping of str to int", error=BpfMisuseError)
    return tuple(Enumerator(name, _number(value, "value", (1 << 64) - 1, -(1 << 63))) for name, value in pairs)
