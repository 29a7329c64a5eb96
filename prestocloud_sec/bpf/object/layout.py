# SPDX-License-Identifier: Apache-2.0
"""How each kind of type is laid out in BTF, as a table, and what can be wrong with the words of one.

Sources: Linux 6.18, ``Documentation/bpf/btf.rst``, section "BTF Type and String Encoding";
``include/uapi/linux/btf.h``.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from prestocloud_sec.bpf.object.kinds import Encoding, Kind, Linkage
from prestocloud_sec.bpf.words import signed

__all__ = [
    "BITFIELD_OFFSETS",
    "ENCODINGS",
    "FLAG",
    "HEADER",
    "LINKAGES",
    "LONGEST_STRING",
    "MAGIC",
    "MOST_PARTS",
    "ROWS",
    "UNUSED",
    "VERSION",
    "Row",
    "Wrong",
]

MAGIC, VERSION = 0xEB9F, 1
"""What BTF begins with."""
HEADER = struct.Struct("<HBBIIIII")
"""The header: magic, version, flags, its size; place and bytes of the types, and of the strings, behind it."""
FLAG = 31
"""The bit of the info word that holds a flag; the kind begins at bit 24."""
MOST_PARTS = (1 << 16) - 1
"""The bits of the info word that count a type's parts."""
UNUSED = 0x60FF0000
"""The bits of the info word that are 0."""
BITFIELD_OFFSETS = 1 << 24
"""Where members begin lies below this, in a struct with bit fields."""
LONGEST_STRING = 1023
"""Bytes of a string that are read, twice what Linux allows in a name: names that share their ends cannot be long."""

Wrong: TypeAlias = tuple[str, str] | None
"""What is wrong, and what is expected."""


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
    refers : tuple of int
        Which words are types, counted from the name.
    flag : bool
        Whether the flag in the info word has a meaning.
    name, type : int or None
        Which of the words of a part is a name, and a type.
    linkage : bool
        Whether what the info word counts are no parts, but says who can see it.
    wrong : callable
        Takes the words, where they begin and the count; returns what is wrong with them and what is expected.
    """

    fixed: int = 0
    each: int = 0
    named: bool = True
    refers: tuple[int, ...] = ()
    flag: bool = False
    name: int | None = None
    type: int | None = None
    linkage: bool = False
    wrong: Callable[[array[int], int, int], Wrong] | None = None


def _wrong_int(words: array[int], at: int, _: int) -> Wrong:
    size, word = words[at + 2], words[at + 3]
    bits, offset, encoding = word & 0xFF, word >> 16 & 0xFF, word >> 24
    if word & 0xFF00 or encoding not in ENCODINGS:
        return f"{word:#x} says nothing of an integer", "at most one of signed, char and bool"
    if bits + offset > min(128, 8 * size):
        return f"{bits} bits from bit {offset} of {size} bytes", "bits that the integer has, 128 at most"
    return None


def _wrong_array(words: array[int], at: int, _: int) -> Wrong:
    size = words[at + 2]
    return (f"its size is {size}", "0: an array is as large as its elements") if size else None


def _wrong_forward(words: array[int], at: int, _: int) -> Wrong:
    type = words[at + 2]
    return (f"a forward declaration refers to type {type}", "0") if type else None


def _wrong_enum(words: array[int], at: int, _: int) -> Wrong:
    size = words[at + 2]
    return None if size in {1, 2, 4, 8} else (f"an enumeration of {size} bytes", "1, 2, 4 or 8")


def _wrong_float(words: array[int], at: int, _: int) -> Wrong:
    size = words[at + 2]
    return None if size in {2, 4, 8, 12, 16} else (f"a floating-point number of {size} bytes", "2, 4, 8, 12 or 16")


def _wrong_function(_words: array[int], _at: int, count: int) -> Wrong:
    return None if count in LINKAGES else (f"linkage {count}", "0 to 2")


def _wrong_variable(words: array[int], at: int, _: int) -> Wrong:
    return None if words[at + 3] in LINKAGES else (f"linkage {words[at + 3]}", "0 to 2")


def _wrong_tag(words: array[int], at: int, _: int) -> Wrong:
    component = signed(words[at + 3], 32)
    return None if component >= -1 else (f"component {component}", "-1 or more")


ENCODINGS = {int(encoding): encoding for encoding in Encoding}
LINKAGES = {int(linkage): linkage for linkage in Linkage}
_MEMBERS = Row(each=3, flag=True, name=0, type=1)
_REFERS = Row(named=False, refers=(2,))
ROWS: dict[int, Row] = {
    Kind.INT: Row(fixed=1, wrong=_wrong_int),
    Kind.PTR: _REFERS,
    Kind.ARRAY: Row(fixed=3, named=False, refers=(3, 4), wrong=_wrong_array),
    Kind.STRUCT: _MEMBERS,
    Kind.UNION: _MEMBERS,
    Kind.ENUM: Row(each=2, flag=True, name=0, wrong=_wrong_enum),
    Kind.FWD: Row(flag=True, wrong=_wrong_forward),
    Kind.TYPEDEF: Row(refers=(2,)),
    Kind.VOLATILE: _REFERS,
    Kind.CONST: _REFERS,
    Kind.RESTRICT: _REFERS,
    Kind.FUNC: Row(refers=(2,), linkage=True, wrong=_wrong_function),
    Kind.FUNC_PROTO: Row(each=2, named=False, refers=(2,), name=0, type=1),
    Kind.VAR: Row(fixed=1, refers=(2,), wrong=_wrong_variable),
    Kind.DATASEC: Row(each=3, type=0),
    Kind.FLOAT: Row(wrong=_wrong_float),
    Kind.DECL_TAG: Row(fixed=1, refers=(2,), flag=True, wrong=_wrong_tag),
    Kind.TYPE_TAG: Row(refers=(2,), flag=True),
    Kind.ENUM64: Row(each=3, flag=True, name=0, wrong=_wrong_enum),
}
"""The layout of each kind."""
