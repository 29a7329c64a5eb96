# SPDX-License-Identifier: Apache-2.0
"""The words that a type is written as, each field held against what it can be.

Sources: Linux 6.18, ``Documentation/bpf/btf.rst``, section "BTF Type and String Encoding";
``include/uapi/linux/btf.h``.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any, TypeAlias

from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.bpf.object import types as t
from prestocloud_sec.bpf.object.kinds import Kind
from prestocloud_sec.bpf.object.layout import BITFIELD_OFFSETS, FLAG, LONGEST_STRING, MOST_PARTS, ROWS
from prestocloud_sec.bpf.object.types import Type
from prestocloud_sec.wire import items_of, shown, whole

__all__ = ["Written", "checked_number", "checked_parts", "row_of", "string_of"]

_U32 = (1 << 32) - 1


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


def checked_number(value: int, where: str, high: int = _U32, low: int = 0) -> int:
    """Return a number of 32 bits, or one between `low` and `high`.

    Raises
    ------
    BpfMisuseError
        If it is none.
    """
    return whole(value, where, low, high, error=BpfMisuseError)


def checked_parts(values: Iterable[Any], of: type[Any], where: str) -> list[Any]:
    """Return the parts of a type as a list.

    Raises
    ------
    BpfMisuseError
        If they are too many, or one is not of the class `of`.
    """
    given = items_of(values, where, f"each a {of.__name__}", error=BpfMisuseError)
    parts = list(islice(given, MOST_PARTS + 1))  # who gives them may never end
    if len(parts) > MOST_PARTS:
        raise BpfMisuseError("more parts than a type has", where=where, expected=f"{MOST_PARTS} at most")
    if not all(type(part) is of for part in parts):
        raise BpfMisuseError(f"{len(parts)} parts", where=where, expected=f"each a {of.__name__}")
    return parts


Written: TypeAlias = tuple[int | bytes, ...]
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
        case t.Int():
            third, bits = type.size, checked_number(type.bits, "bits", 255)
            encoding, offset = checked_number(type.encoding, "encoding", 15), checked_number(type.offset, "offset", 255)
            behind = [encoding << 24 | offset << 16 | bits]
        case t.Array():
            behind = [
                checked_number(type.element, "element"),
                checked_number(type.index, "index"),
                checked_number(type.count, "count"),
            ]
        case t.Struct() | t.Union():
            third, members = type.size, checked_parts(type.members, t.Member, f"{where}.members")
            count, flag = len(members), any(member.bits for member in members)
            for member in members:
                offset = checked_number(member.bit_offset, "bit_offset", (BITFIELD_OFFSETS if flag else _U32 + 1) - 1)
                bits = checked_number(member.bits, "bits", 255)
                behind += [string_of(member.name, "name"), checked_number(member.type, "type"), bits << 24 | offset]
        case t.Enum() | t.Enum64():
            third, values = type.size, checked_parts(type.values, t.Enumerator, f"{where}.values")
            count, flag, width = len(values), bool(type.signed), 32 if kind is Kind.ENUM else 64
            low, high = (-(1 << width - 1), (1 << width - 1) - 1) if flag else (0, (1 << width) - 1)
            for value in values:
                number = checked_number(value.value, "value", high, low)
                halves = [number & _U32] if width == 32 else [number & _U32, number >> 32 & _U32]
                behind += [string_of(value.name, "name"), *halves]
        case t.Forward():
            flag = bool(type.union)
        case t.Function():
            count, third = checked_number(type.linkage, "linkage", 2), type.prototype
        case t.Prototype():
            third, parameters = type.result, checked_parts(type.parameters, t.Parameter, f"{where}.parameters")
            count = len(parameters)
            for parameter in parameters:
                behind += [string_of(parameter.name, "name"), checked_number(parameter.type, "type")]
        case t.Variable():
            third, behind = type.type, [checked_number(type.linkage, "linkage", 2)]
        case t.Section():
            third, variables = type.size, checked_parts(type.variables, t.Placement, f"{where}.variables")
            count = len(variables)
            for one in variables:
                behind += [
                    checked_number(one.type, "type"),
                    checked_number(one.offset, "offset"),
                    checked_number(one.size, "size"),
                ]
        case t.Float():
            third = type.size
        case t.DeclTag():
            third, flag = type.type, bool(type.attribute)
            behind = [checked_number(type.component, "component", (1 << 31) - 1, -1) & _U32]
        case t.TypeTag():
            third, flag = type.type, bool(type.attribute)
        case t.Pointer() | t.Typedef() | t.Volatile() | t.Const() | t.Restrict():
            third = type.type
        case _:
            raise BpfMisuseError(f"{shown(type)} is no type that can be added", expected="one of those of BTF")
    name = string_of(getattr(type, "name", getattr(type, "value", "")), f"{where}.name")
    info = flag << FLAG | int(type.kind) << 24 | count
    return (name, info, checked_number(third, f"{where}.{'type' if ROWS[type.kind].refers else 'size'}"), *behind)
