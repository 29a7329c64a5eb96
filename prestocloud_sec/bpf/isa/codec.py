# SPDX-License-Identifier: Apache-2.0
"""Bytes to instructions and back, derived from the opcode table.

Decoding narrows the rows of an opcode field by field; the first field that fits no row left is the one the error names.
Encoding finds the one row with the same class, the same kind of operand and the same fixed attributes.
``encode(decode(b)) == b`` for every `b` that `decode` accepts.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from prestocloud_sec.bpf.errors import BpfMisuseError, DecodeError
from prestocloud_sec.bpf.isa.instructions import REGISTERS, SLOT_SIZE, Imm, Instruction
from prestocloud_sec.bpf.isa.table import ROWS, Carries, Kind, Row
from prestocloud_sec.wire import view_of

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["decode", "encode", "encode_one"]

_SLOT = struct.Struct("<BBhi")
_FIELDS = ("src", "off", "imm", "dst")
"""The order in which fields select among rows: the earlier, the more it changes what an instruction is."""

_BY_OPCODE: dict[int, list[Row]] = {}
for _row in ROWS:
    _BY_OPCODE.setdefault(_row.opcode, []).append(_row)


def decode(data: BytesLike) -> tuple[Instruction, ...]:
    """Decode a whole program.

    Parameters
    ----------
    data : bytes-like
        Slots of eight bytes, little-endian.

    Raises
    ------
    DecodeError
        If the length is no multiple of eight, an opcode is unknown, a register does not exist, a field that is reserved
        is not 0, or a 64-bit load lacks its second slot. Whether jumps lead anywhere is not judged here.
    """
    view = view_of(data, name="program")
    if len(view) % SLOT_SIZE:
        raise DecodeError(
            f"{len(view)} bytes are no whole number of instructions",
            instruction=len(view) // SLOT_SIZE,
            expected=f"a multiple of {SLOT_SIZE} bytes",
        )
    instructions: list[Instruction] = []
    known: dict[bytes, Instruction] = {}  # instructions are values, and programs repeat themselves
    at, end = 0, len(view)
    while at < end:
        slot = bytes(view[at : at + SLOT_SIZE])
        instruction = known.get(slot)
        if instruction is None:
            index = at // SLOT_SIZE
            row = _select(slot, index)
            if row.next_imm is None:
                instruction = known[slot] = _build(row, slot, 0)
            else:
                instruction = _build(row, slot, _second_imm(view, row, index))
        instructions.append(instruction)
        at += SLOT_SIZE * instruction.slots
    return tuple(instructions)


def _values(slot: bytes) -> dict[str, int]:
    _, registers, off, imm = _SLOT.unpack(slot)
    return {"dst": registers & 0x0F, "src": registers >> 4, "off": off, "imm": imm}


def _select(slot: bytes, index: int) -> Row:
    """Find the row of a slot."""
    rows = _BY_OPCODE.get(slot[0])
    if rows is None:
        raise DecodeError(
            f"{slot[0]:#04x} is no opcode",
            instruction=index,
            field="opcode",
            expected="one of RFC 9669 or Linux 6.18",
            hint="the bytes may be of another machine, big-endian, or not start at an instruction",
        )
    values = _values(slot)
    for field in _FIELDS:
        value = values[field]
        left = [row for row in rows if _fits(getattr(row, field), value)]
        if not left:
            raise _refusal(field, value, [getattr(row, field) for row in rows], index, rows[0])
        rows = left
    return rows[0]


def _fits(carried: Carries | int, value: int) -> bool:
    if isinstance(carried, int):
        return carried == value
    return carried.kind is not Kind.REGISTER or 0 <= value < REGISTERS


def _refusal(field: str, value: int, carried: Sequence[Carries | int], index: int, row: Row) -> DecodeError:
    name = row.make.__name__
    constants = sorted({c for c in carried if isinstance(c, int)})
    if len(constants) < len(set(carried)):
        what = f"there is no register r{value}"
        expected = f"a register, 0..{REGISTERS - 1}"
    elif constants == [0]:
        what = f"{value} where {name} (opcode {row.opcode:#04x}) has a reserved field"
        expected = "0"
    else:
        what = f"{value} makes no instruction of opcode {row.opcode:#04x}"
        expected = " or ".join(f"{c:#x}" if constants[-1] > 64 else str(c) for c in constants)
    return DecodeError(what, instruction=index, field=field, expected=expected)


def _second_imm(view: memoryview, row: Row, index: int) -> int:
    """Check the second slot of a 64-bit load, and return its ``imm``, unsigned."""
    at = (index + 1) * SLOT_SIZE
    if at == len(view):
        raise DecodeError(
            "the program ends within a 64-bit load",
            instruction=index,
            field="next",
            expected="a second slot with the high 32 bits",
        )
    slot = bytes(view[at : at + SLOT_SIZE])
    for field, value in {"opcode": slot[0], **_values(slot)}.items():
        if value and (field != "imm" or row.next_imm == 0):
            raise DecodeError(
                f"{value} in the second slot of a 64-bit load",
                instruction=index,
                field=f"next {field}",
                expected="0",
                hint="a jump into the second half of a load, or bytes cut within one, look the same",
            )
    return int.from_bytes(slot[4:], "little")


def _build(row: Row, slot: bytes, next_imm: int) -> Instruction:
    attributes = dict(row.fixed)
    values = _values(slot)
    for field in _FIELDS:
        carried = getattr(row, field)
        if isinstance(carried, Carries):
            value = values[field]
            if carried.kind is Kind.OPERAND:
                attributes[carried.attribute] = Imm(value)
            elif carried.kind is Kind.LOW:
                attributes[carried.attribute] = value & 0xFFFFFFFF | next_imm << 32
            else:
                attributes[carried.attribute] = value
    if isinstance(row.next_imm, Carries) and row.next_imm.kind is Kind.UNSIGNED:
        attributes[row.next_imm.attribute] = next_imm
    return row.make(**attributes)  # type: ignore[arg-type]


_SHAPES: dict[type, tuple[tuple[str, ...], bool]] = {}
"""For each class: the attributes whose values tell its rows apart, and whether ``src`` may be an immediate."""
_BY_SHAPE: dict[tuple[object, ...], Row] = {}


def _key(kind: type, attributes: Iterable[object], immediate: bool | None) -> tuple[object, ...]:
    return (kind, *attributes, immediate)


def _index_rows() -> None:
    for row in ROWS:
        mixed = any(r.make is row.make and r.imm == Carries("src", Kind.OPERAND) for r in ROWS)
        common = set.intersection(*(set(r.fixed) for r in ROWS if r.make is row.make))
        names = tuple(sorted(common))
        _SHAPES[row.make] = (names, mixed)
        immediate = row.imm == Carries("src", Kind.OPERAND) if mixed else None
        _BY_SHAPE[_key(row.make, (row.fixed[name] for name in names), immediate)] = row


_index_rows()


def encode_one(instruction: Instruction) -> bytes:
    """Encode one instruction as its 8 or 16 bytes.

    Raises
    ------
    BpfMisuseError
        If it is not an instruction.
    """
    kind = type(instruction)
    if kind not in _SHAPES:
        raise BpfMisuseError(f"{instruction!r} is not an instruction", expected="an object of prestocloud_sec.bpf.isa")
    names, mixed = _SHAPES[kind]
    immediate = isinstance(instruction.src, Imm) if mixed else None  # type: ignore[union-attr]
    row = _BY_SHAPE[_key(kind, (getattr(instruction, name) for name in names), immediate)]
    values = {field: _wire(getattr(row, field), instruction) for field in _FIELDS}
    first = _SLOT.pack(row.opcode, values["dst"] | values["src"] << 4, values["off"], values["imm"])
    if row.next_imm is None:
        return first
    return first + _SLOT.pack(0, 0, 0, _wire(row.next_imm, instruction))


def _wire(carried: Carries | int, instruction: Instruction) -> int:
    """Return what a field holds, as the signed number that is packed."""
    if isinstance(carried, int):
        return carried
    value = getattr(instruction, carried.attribute)
    if carried.kind is Kind.OPERAND:
        return int(value)
    if carried.kind in {Kind.LOW, Kind.HIGH, Kind.UNSIGNED}:
        value = value >> 32 if carried.kind is Kind.HIGH else value & 0xFFFFFFFF
        return int(value - (1 << 32) if value >> 31 else value)
    return int(value)


def encode(instructions: Iterable[Instruction]) -> bytes:
    """Encode a whole program; the inverse of `decode`.

    Raises
    ------
    BpfMisuseError
        If an element is not an instruction.
    """
    return b"".join(map(encode_one, instructions))
