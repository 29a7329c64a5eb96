# SPDX-License-Identifier: Apache-2.0
"""Bytes to instructions and back, derived from the opcode table.

Decoding narrows the rows of an opcode field by field; the first field that fits no row left is the one the error names.
Encoding finds the one row with the same class, the same kind of operand and the same fixed attributes.
``encode(decode(b)) == b`` for every `b` that `decode` accepts.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

from prestocloud_sec.bpf.errors import BpfMisuseError, DecodeError
from prestocloud_sec.bpf.isa.instructions import Instruction
from prestocloud_sec.bpf.isa.operands import REGISTERS, SLOT_SIZE, Imm
from prestocloud_sec.bpf.isa.table import OPERAND, ROWS, Carries, Kind, Row
from prestocloud_sec.wire import items_of, shown, view_of

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["decode", "encode", "encode_one"]

Values: TypeAlias = tuple[int, int, int, int]
"""The fields of a slot, in the order of `_FIELDS`."""

_SLOT = struct.Struct("<BBhi")
_FIELDS = ("src", "off", "imm", "dst")
"""The order in which fields select among rows: the earlier, the more it changes what an instruction is."""


class _Plan:
    """A row made ready for decoding: which fields must hold what, and where each attribute comes from."""

    __slots__ = ("constants", "registers", "row", "sources")

    def __init__(self, row: Row) -> None:
        fields = [getattr(row, name) for name in _FIELDS]
        self.row = row
        self.constants = [(at, field) for at, field in enumerate(fields) if isinstance(field, int)]
        carried = [(at, field) for at, field in enumerate(fields) if isinstance(field, Carries)]
        self.registers = [at for at, field in carried if field.kind is Kind.REGISTER]
        self.sources = [(field.attribute, at, field.kind is Kind.OPERAND) for at, field in carried]

    def fits(self, values: Values) -> bool:
        """Tell whether a slot is of this row."""
        for at, constant in self.constants:
            if values[at] != constant:
                return False
        return all(0 <= values[at] < REGISTERS for at in self.registers)

    def build(self, values: Values) -> Instruction:
        """Return the instruction of a slot that fits, of which there is no second one."""
        attributes = dict(self.row.fixed)
        for attribute, at, operand in self.sources:
            attributes[attribute] = Imm(values[at]) if operand else values[at]
        return self.row.make(**attributes)  # type: ignore[arg-type]

    def build_wide(self, values: Values, next_imm: int) -> Instruction:
        """Return the 64-bit load of a slot that fits and the ``imm`` of the one after it, unsigned."""
        attributes = dict(self.row.fixed, dst=values[_FIELDS.index("dst")])
        value = values[_FIELDS.index("imm")]
        if isinstance(self.row.next_imm, Carries) and self.row.next_imm.kind is Kind.HIGH:
            attributes["value"] = value & 0xFFFFFFFF | next_imm << 32
        else:
            attributes.update(value=value, second=next_imm)
        return self.row.make(**attributes)  # type: ignore[arg-type]


_BY_OPCODE: dict[int, list[_Plan]] = {}
for _row in ROWS:
    _BY_OPCODE.setdefault(_row.opcode, []).append(_Plan(_row))


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
    if bytes(view[:4]) == b"\x7fELF":  # which begins no instruction
        raise DecodeError(
            "an ELF object",
            instruction=0,
            expected="the instructions of one program",
            hint="llvm-objcopy -O binary --only-section=NAME takes them out of it",
        )
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
            values = _values(slot)
            plan = _plan(slot[0], values, at // SLOT_SIZE)
            if plan.row.next_imm is None:
                instruction = known[slot] = plan.build(values)
            else:
                instruction = plan.build_wide(values, _second_imm(view, plan.row, at // SLOT_SIZE))
        instructions.append(instruction)
        at += SLOT_SIZE * instruction.slots
    return tuple(instructions)


def _values(slot: bytes) -> Values:
    """Return the fields of a slot in the order of `_FIELDS`."""
    _, registers, off, imm = _SLOT.unpack(slot)
    return registers >> 4, off, imm, registers & 0x0F


def _plan(opcode: int, values: Values, index: int) -> _Plan:
    """Find the row of a slot."""
    plans = _BY_OPCODE.get(opcode, ())
    for plan in plans:
        if plan.fits(values):
            return plan
    if not plans:
        raise DecodeError(
            f"{opcode:#04x} is no opcode",
            instruction=index,
            field="opcode",
            expected="one of RFC 9669 or Linux 6.18",
            hint="the bytes may be of another machine, big-endian, or not start at an instruction",
        )
    raise _no_row(values, [plan.row for plan in plans], index)


def _no_row(values: Values, rows: list[Row], index: int) -> DecodeError:
    """Blame the first field that alone is at fault; where several are, the first that fits none of the rows left."""
    for at, field in enumerate(_FIELDS):
        near = [row for row in rows if all(_fits(getattr(row, f), values[i]) for i, f in enumerate(_FIELDS) if i != at)]
        if near:
            return _refusal(field, values[at], near, index)
    for field, value in zip(_FIELDS, values, strict=True):
        left = [row for row in rows if _fits(getattr(row, field), value)]
        if not left:
            break
        rows = left
    return _refusal(field, value, rows, index)


def _fits(carried: Carries | int, value: int) -> bool:
    if isinstance(carried, int):
        return carried == value
    return carried.kind is not Kind.REGISTER or 0 <= value < REGISTERS


def _refusal(field: str, value: int, rows: list[Row], index: int) -> DecodeError:
    carried, row = [getattr(row, field) for row in rows], rows[0]
    constants = sorted({c for c in carried if isinstance(c, int)})
    if len(constants) < len(set(carried)):
        what = f"there is no register r{value}"
        expected = f"a register, 0..{REGISTERS - 1}"
    elif constants == [0]:
        what = f"{value} where {row.make.__name__} (opcode {row.opcode:#04x}) has a reserved field"
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
    for field, value in zip(("opcode", *_FIELDS), (slot[0], *_values(slot)), strict=True):
        if value and (field != "imm" or row.next_imm == 0):
            raise DecodeError(
                f"{value} in the second slot of a 64-bit load",
                instruction=index,
                field=f"next {field}",
                expected="0",
                hint="a jump into the second half of a load, or bytes cut within one, look the same",
            )
    return int.from_bytes(slot[4:], "little")


_SHAPES: dict[type, tuple[tuple[str, ...], bool]] = {}
"""For each class: the attributes whose values tell its rows apart, and whether ``src`` may be an immediate."""
_BY_SHAPE: dict[tuple[object, ...], Row] = {}


def _index_rows() -> None:
    by_class: dict[type, list[Row]] = {}
    for row in ROWS:
        by_class.setdefault(row.make, []).append(row)
    for kind, rows in by_class.items():
        mixed = any(row.imm == OPERAND for row in rows)
        names = tuple(sorted(set.intersection(*(set(row.fixed) for row in rows))))
        _SHAPES[kind] = (names, mixed)
        for row in rows:
            immediate = row.imm == OPERAND if mixed else None
            _BY_SHAPE[kind, *(row.fixed[name] for name in names), immediate] = row


_index_rows()


def encode_one(instruction: Instruction) -> bytes:
    """Encode one instruction as its 8 or 16 bytes.

    Raises
    ------
    BpfMisuseError
        If it is not an instruction.
    """
    if type(instruction) not in _SHAPES:
        raise BpfMisuseError(
            f"{shown(instruction)} is not an instruction", expected="an object of prestocloud_sec.bpf.isa"
        )
    return _encoded(instruction)


@lru_cache(maxsize=1 << 14)
def _encoded(instruction: Instruction) -> bytes:
    """Encode one; the same come again and again."""
    kind = type(instruction)
    names, mixed = _SHAPES[kind]
    immediate = isinstance(instruction.src, Imm) if mixed else None  # type: ignore[union-attr]
    row = _BY_SHAPE[kind, *(getattr(instruction, name) for name in names), immediate]
    src, off, imm, dst = (_wire(getattr(row, field), instruction) for field in _FIELDS)
    first = _SLOT.pack(row.opcode, dst | src << 4, off, imm)
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
    if not isinstance(instructions, Iterable):
        raise BpfMisuseError(
            f"{shown(instructions)} is no program", where="encode", expected="an iterable of instructions"
        )
    return b"".join(map(encode_one, items_of(instructions, "encode", "instructions", error=BpfMisuseError)))
