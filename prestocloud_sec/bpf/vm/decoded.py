# SPDX-License-Identifier: Apache-2.0
"""A program as the fast interpreter reads it: one row of two int64 words for each instruction.

A row is little-endian bytes: operation (u16), destination and source register times eight (u8 each), displacement
(i32), operand (i64). Operations are numbered densely in `OPERATIONS`; what several encodings have in common became one
operation, and what needs no decision at run time has none left:

- immediates are extended to 64 bits, 64-bit loads are moves, and a map or function that one names is its handle;
- the displacement of a jump is the distance in bytes from its row to the row it leads to, so 0 or less is backward;
- an access through r10 that lies within the frame is an operation of its own, which needs no check; the displacement of
  the other accesses holds size and right (`access_word`).

Behind the last row stands one of operation ``END``, which no program that a machine accepts ever reaches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from prestocloud_sec.bpf.errors import ProgramError
from prestocloud_sec.bpf.isa import (
    FRAME_POINTER,
    Alu,
    AluOp,
    Atomic,
    AtomicOp,
    Branch,
    BranchOp,
    CallHelper,
    CallLocal,
    CallRegister,
    Exit,
    Extend,
    Imm,
    ImmKind,
    Instruction,
    Jump,
    LegacyLoad,
    Load,
    LoadAcquire,
    LoadImm64,
    MayGoto,
    Negate,
    Store,
    StoreRelease,
    Swap,
    SwapKind,
)
from prestocloud_sec.bpf.vm.layout import FRAME_SIZE, FUNCTION_HANDLES, READABLE, WRITABLE
from prestocloud_sec.bpf.words import signed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from prestocloud_sec.bpf.program import Program

__all__ = [
    "FIRST_BRANCH",
    "FIRST_CHECKED",
    "FIRST_CONTROL",
    "MAX_INSTRUCTIONS",
    "NUMBERS",
    "OPERATIONS",
    "ROW",
    "Decoded",
    "MapAddress",
    "access_word",
    "decode",
]

ROW = 16
"""Bytes of a row."""
MAX_INSTRUCTIONS = (1 << 31) // ROW - 1
"""Instructions whose distances fit a displacement."""

Operation: TypeAlias = tuple[Any, ...]
"""A family, and what tells its members apart."""
MapAddress: TypeAlias = Callable[[int], int]
"""What the instruction with this index, a 64-bit load of a map or of an address in one, loads."""

SIZES = (1, 2, 4, 8)
FORMS = ("register", "immediate")


def _computing() -> Iterator[Operation]:
    for bits in (64, 32):
        for op in AluOp:
            for form in FORMS:
                yield ("alu", op, bits, form)
        yield ("negate", bits)
        yield from (("extend", bits, width) for width in (8, 16, 32) if width < bits)
    yield from (("truncate", width) for width in (16, 32, 64))
    yield from (("swap", width) for width in (16, 32, 64))


def _accessing(place: str) -> Iterator[Operation]:
    for size in SIZES:
        yield ("load", place, size, False)
        if size < 8:
            yield ("load", place, size, True)
        for form in FORMS:
            yield ("store", place, size, form)


def _branching() -> Iterator[Operation]:
    yield ("jump",)
    for bits in (64, 32):
        for op in BranchOp:
            for form in FORMS:
                yield ("branch", op, bits, form)


def _controlling() -> Iterator[Operation]:
    for name in ("end", "exit", "call_helper", "call_local", "call_register", "may_goto", "legacy"):
        yield (name,)
    for op in AtomicOp:
        yield ("atomic", op)


_STRAIGHT = (*_computing(), *_accessing("frame"))
_CHECKED = tuple(_accessing("anywhere"))
_JUMPS = tuple(_branching())

OPERATIONS: tuple[Operation, ...] = (*_STRAIGHT, *_CHECKED, *_JUMPS, *_controlling())
"""Every operation; its place here is its number. Those before `FIRST_CONTROL` make up the interpreter's inner loop."""
NUMBERS = {operation: number for number, operation in enumerate(OPERATIONS)}
FIRST_CHECKED = len(_STRAIGHT)
"""Operations from here on look at memory that may not be there."""
FIRST_BRANCH = FIRST_CHECKED + len(_CHECKED)
"""Operations from here on may go elsewhere, and pay for it if that is backward."""
FIRST_CONTROL = FIRST_BRANCH + len(_JUMPS)
"""Operations from here on leave the inner loop."""


def access_word(size: int, flag: int, *, split: bool = False, fetch: bool = False) -> int:
    """Return what the displacement of an access holds.

    Bytes in bits 0 to 7; ``READABLE`` or ``WRITABLE`` in bits 8 to 15; in bit 16 whether the operand is split, with the
    offset in its high half and the value to store in its low half; in bit 17 whether an atomic operation fetches.
    """
    return size | flag << 8 | split << 16 | fetch << 17


@dataclass(frozen=True, slots=True)
class Decoded:
    """A program's rows.

    Attributes
    ----------
    rows : ndarray of int64, shape (instructions + 1, 2)
        See the module; contiguous, and never written again.
    count : int
        Instructions.
    """

    rows: NDArray[np.int64]
    count: int


def decode(program: Program, map_address: MapAddress) -> Decoded:
    """Decode a program that a machine has accepted (`prestocloud_sec.bpf.vm.machine`).

    Parameters
    ----------
    program : Program
        The program, as a machine runs it (`Machine.runnable`).
    map_address : callable
        Returns what a 64-bit load of a map loads, 0..2**64 - 1, by the index of the instruction.

    Raises
    ------
    JumpTargetError
        If a jump leads nowhere.
    ProgramError
        If an instruction cannot run here, or there are more than `MAX_INSTRUCTIONS`.
    """
    instructions = program.instructions
    if len(instructions) > MAX_INSTRUCTIONS:
        raise ProgramError(f"{len(instructions)} instructions", expected=f"at most {MAX_INSTRUCTIONS}")
    targets = program.targets
    words: list[int] = []
    known: dict[Instruction, tuple[int, int]] = {}
    for index, instruction in enumerate(instructions):
        target = targets[index]
        row = known.get(instruction) if target is None else None
        if row is None:
            made = _row(instruction, index, target, map_address)
            row = (_word(*made[:4]), signed(made[4]))
            if target is None:
                known[instruction] = row
        words += row
    words += (NUMBERS["end",], 0)
    rows = np.array(words, dtype=np.int64).reshape(-1, 2)
    rows.flags.writeable = False
    return Decoded(rows, len(instructions))


Fields: TypeAlias = tuple[Operation, int, int, int, int]
"""Operation, destination, source, displacement, operand."""


def _word(operation: Operation, dst: int, src: int, displacement: int) -> int:
    return signed(NUMBERS[operation] | dst << 19 | src << 27 | (displacement & 0xFFFFFFFF) << 32)


def _row(instruction: Instruction, index: int, target: int | None, map_address: MapAddress) -> Fields:
    make = _MAKERS.get(type(instruction))
    if make is not None:
        return make(instruction)
    distance = 0 if target is None else (target - index) * ROW
    match instruction:
        case Jump():
            return ("jump",), 0, 0, distance, 0
        case Branch(op, bits, dst, src):
            form, register, value = _operand(src, bits)
            return ("branch", op, bits, form), dst, register, distance, value
        case MayGoto():
            return ("may_goto",), 0, 0, distance, 0
        case CallLocal():
            return ("call_local",), 0, 0, distance, 0
        case LoadImm64(dst, ImmKind.INTEGER, value):
            return ("alu", AluOp.MOV, 64, "immediate"), dst, 0, 0, value
        case LoadImm64(dst, ImmKind.FUNCTION) if target is not None:
            return ("alu", AluOp.MOV, 64, "immediate"), dst, 0, 0, FUNCTION_HANDLES | target
        case LoadImm64(dst, kind) if kind is not ImmKind.BTF_VARIABLE:
            return ("alu", AluOp.MOV, 64, "immediate"), dst, 0, 0, map_address(index)
    raise ProgramError(
        f"{type(instruction).__name__} cannot run here",
        where=f"instruction {index}",
        hint="this machine has no kernel variables or arenas, and kernel functions only by name",
    )


def _operand(src: int | Imm, bits: int) -> tuple[str, int, int]:
    """Return form, register and value of an operand."""
    if isinstance(src, Imm):
        return "immediate", 0, src.value if bits == 64 else src.value & 0xFFFFFFFF
    return "register", src, 0


def _alu(i: Alu) -> Fields:
    form, register, value = _operand(i.src, i.bits)
    return ("alu", i.op, i.bits, form), i.dst, register, 0, value


def _swap(i: Swap) -> Fields:
    kind = "truncate" if i.kind is SwapKind.LE else "swap"
    return (kind, i.width), i.dst, 0, 0, 0


def _load(i: Load | LoadAcquire) -> Fields:
    extends = isinstance(i, Load) and i.signed
    place = _place(i.base, i.offset, i.size)
    return ("load", place, i.size, extends), i.dst, i.base, access_word(i.size, READABLE), i.offset


def _store(i: Store | StoreRelease) -> Fields:
    form, register, value = _operand(i.src, 64)
    place = _place(i.base, i.offset, i.size)
    split = form == "immediate"
    operand = i.offset << 32 | value & 0xFFFFFFFF if split else i.offset
    return ("store", place, i.size, form), i.base, register, access_word(i.size, WRITABLE, split=split), operand


def _place(base: int, offset: int, size: int) -> str:
    return "frame" if base == FRAME_POINTER and -FRAME_SIZE <= offset <= -size else "anywhere"


def _atomic(i: Atomic) -> Fields:
    return ("atomic", i.op), i.base, i.src, access_word(i.size, WRITABLE, fetch=i.fetch), i.offset


_MAKERS: dict[type, Callable[[Any], Fields]] = {
    Alu: _alu,
    Negate: lambda i: (("negate", i.bits), i.dst, 0, 0, 0),
    Extend: lambda i: (("extend", i.bits, i.width), i.dst, i.src, 0, 0),
    Swap: _swap,
    Load: _load,
    LoadAcquire: _load,
    Store: _store,
    StoreRelease: _store,
    Atomic: _atomic,
    LegacyLoad: lambda i: (("legacy",), 0, i.src, i.size | i.indirect << 8, i.imm),
    CallHelper: lambda i: (("call_helper",), 0, 0, 0, i.number),
    CallRegister: lambda i: (("call_register",), 0, i.register, 0, 0),
    Exit: lambda _: (("exit",), 0, 0, 0, 0),
}
"""How the instructions that stand for themselves become rows; the others depend on where they are or on the machine."""
