# SPDX-License-Identifier: Apache-2.0
"""Bytes to classic instructions and back, derived from the opcode table.

``encode(decode(b)) == b`` for every `b` that `decode` accepts, and what it refuses is refused for its opcode or length:
whether a program makes sense is judged by `prestocloud_sec.bpf.classic.checker`.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from prestocloud_sec.bpf.classic.instructions import NOTHING, ClassicInstruction, InstructionBase
from prestocloud_sec.bpf.classic.table import ROWS, Row
from prestocloud_sec.bpf.errors import BpfMisuseError, ClassicError
from prestocloud_sec.wire import items_of, shown, view_of

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["SIZE", "Fields", "decode", "decode_fields", "encode", "fields_of"]

SIZE = 8
"""Bytes of an instruction (Linux ``include/uapi/linux/filter.h``, ``struct sock_filter``)."""
_FORMAT = struct.Struct("<HBBI")
_BY_CODE = {row.code: row for row in ROWS}

Fields = tuple[int, int, int, int]
"""code, jt, jf, k."""


def _names(row: Row) -> tuple[str | None, str | None, str | None]:
    return row.jt, row.jf, row.k


_NUMBERS: dict[type, frozenset[str]] = {}
"""For each class, the attributes that some field carries."""
for _row in ROWS:
    _NUMBERS[_row.make] = _NUMBERS.get(_row.make, frozenset()) | {name for name in _names(_row) if name}
_ATTRIBUTES = {
    make: tuple(item.name for item in dataclasses.fields(make) if item.name != "unused") for make in _NUMBERS
}
_BY_KEY = {(row.make, *(row.fixed.get(name) for name in _ATTRIBUTES[row.make])): row for row in ROWS}


def _row_of(instruction: ClassicInstruction) -> Row:
    make = type(instruction)
    values: list[Any] = [getattr(instruction, name) for name in _ATTRIBUTES[make]]
    numbers = _NUMBERS[make]
    chosen = (
        None if type(value) is int and name in numbers else value
        for name, value in zip(_ATTRIBUTES[make], values, strict=True)
    )
    return _BY_KEY[(make, *chosen)]


def decode_fields(fields: Fields, index: int = 0) -> ClassicInstruction:
    """Return the instruction of four fields, each of which fits its width; `index` is for the error.

    Raises
    ------
    ClassicError
        If there is no such opcode.
    """
    code, *rest = fields
    row = _BY_CODE.get(code)
    if row is None:
        raise ClassicError(
            f"{code:#x} is no opcode", instruction=index, field="code", expected="one of those that Linux accepts"
        )
    attributes = dict(row.fixed)
    unused = list(NOTHING)
    for at, name in enumerate(_names(row)):
        if name is None:
            unused[at] = rest[at]
        else:
            attributes[name] = rest[at]
    return row.make(**attributes, unused=tuple(unused) if any(unused) else NOTHING)  # type: ignore[arg-type]


def decode(data: BytesLike) -> tuple[ClassicInstruction, ...]:
    """Decode a program.

    Parameters
    ----------
    data : bytes-like
        Eight bytes for each instruction: code (u16), jt (u8), jf (u8), k (u32), little-endian.

    Raises
    ------
    ClassicError
        If the length is no multiple of eight, or an opcode is unknown; with the instruction and the field.
    """
    view = view_of(data, name="program")
    if len(view) % SIZE:
        raise ClassicError(
            f"{len(view)} bytes are no whole number of instructions",
            instruction=len(view) // SIZE,
            expected=f"a multiple of {SIZE} bytes",
        )
    known: dict[Fields, ClassicInstruction] = {}  # instructions are values, and programs repeat themselves
    instructions = []
    for index, fields in enumerate(_FORMAT.iter_unpack(view)):
        instruction = known.get(fields)
        if instruction is None:
            instruction = known[fields] = decode_fields(fields, index)
        instructions.append(instruction)
    return tuple(instructions)


def fields_of(instruction: ClassicInstruction) -> Fields:
    """Return code, jt, jf and k of an instruction.

    Raises
    ------
    BpfMisuseError
        If it is no instruction, or its ``unused`` names a field that it uses.
    """
    if not isinstance(instruction, InstructionBase) or type(instruction) not in _NUMBERS:
        raise BpfMisuseError(f"{shown(instruction)} is no instruction", expected="a classic instruction")
    row = _row_of(instruction)
    values = []
    for at, name in enumerate(_names(row)):
        if name is not None and instruction.unused[at]:
            raise BpfMisuseError(
                f"{shown(instruction)} uses the field {('jt', 'jf', 'k')[at]}", where="unused", expected="0 there"
            )
        values.append(instruction.unused[at] if name is None else getattr(instruction, name))
    return (row.code, values[0], values[1], values[2])


def encode(instructions: Iterable[ClassicInstruction]) -> bytes:
    """Return the bytes of a program; the inverse of `decode`.

    Raises
    ------
    BpfMisuseError
        If an element is no instruction, or its ``unused`` names a field that it uses.
    """
    if not isinstance(instructions, Iterable):
        raise BpfMisuseError(f"{shown(instructions)} is no program", where="encode", expected="instructions")
    each = items_of(instructions, "encode", "instructions", error=BpfMisuseError)
    return b"".join(_FORMAT.pack(*fields_of(instruction)) for instruction in each)
