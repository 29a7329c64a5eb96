# SPDX-License-Identifier: Apache-2.0
"""Runnable eBPF programs by the million, for comparing engines: plain random numbers instead of strategies.

A program is made of pieces that do something to registers, the stack, the packet or maps; jumps stay within it, loops
end, and most pointers are good, though some are not. It begins by saving its arguments and ends by mixing all registers
into r0, so that a difference anywhere shows in the result. `generate` makes one from a `random.Random`; the same seed
gives the same programs everywhere.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from prestocloud_sec.bpf.helpers.ids import HelperId
from prestocloud_sec.bpf.program import Program, ProgramType

__all__ = ["Generated", "generate"]

_slot = struct.Struct("<BBhi").pack

# Opcodes (RFC 9669), written out: instructions as values would take most of the time that a million programs take.
_MOV_IMM, _MOV_REG, _MOV32_REG = 0xB7, 0xBF, 0xBC
_ADD_IMM, _ADD_REG, _SUB_IMM, _SUB_REG = 0x07, 0x0F, 0x17, 0x1F
_AND_IMM, _XOR_REG, _LSH_IMM, _RSH_IMM = 0x57, 0xAF, 0x67, 0x77
_NEGATIONS, _SWAPS = (0x84, 0x87), (0xD4, 0xDC, 0xD7)
_JEQ_IMM, _JNE_IMM, _JGT_REG, _JLT_IMM, _MAY_GOTO = 0x15, 0x55, 0x2D, 0xA5, 0xE5
_LDX, _ST, _STX, _ATOMIC = 0x61, 0x62, 0x63, 0xC3
"""With bits of `_SIZES`; without any, for four bytes."""
_LDXW, _LDXB, _LDXDW, _STW, _STXW, _STXDW, _ATOMIC64 = 0x61, 0x71, 0x79, 0x62, 0x63, 0x7B, 0xDB
_LDXS = (0x91, 0x89, 0x81)
_LEGACY, _LD_IND = (0x20, 0x28, 0x30, 0x40, 0x48, 0x50), 0x40
_LDDW, _CALL, _EXIT = 0x18, 0x85, _slot(0x95, 0, 0, 0)
_ALU_CODES = (0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0x90, 0xA0, 0xB0, 0xC0)
_DIVISIONS = (0x30, 0x90)
_JUMP_CODES = (0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0xA0, 0xB0, 0xC0, 0xD0)
_SIZES = {1: 0x10, 2: 0x08, 4: 0x00, 8: 0x18}
_ATOMICS = (0x00, 0x01, 0x40, 0x41, 0x50, 0x51, 0xA0, 0xA1, 0xE1, 0xF1)
_HELPERS = (HelperId.KTIME_GET_NS, HelperId.GET_PRANDOM_U32, HelperId.GET_SMP_PROCESSOR_ID)
_INTERESTING = (0, 1, -1, 2, 7, 31, 32, 63, 64, 0x7FFFFFFF, -0x80000000, 0xFF, 0x10000, 0x101)


@dataclass(frozen=True, slots=True)
class Generated:
    """A program and what to run it on.

    Attributes
    ----------
    program : Program
        Refers to maps 0 (an array of four values of 16 bytes) and 1 (a hash map of 8, keys of 4 bytes, values of 8).
    packet : bytes
        0 to 96 bytes.
    limit : int
        Instructions that it may count.
    """

    program: Program
    packet: bytes
    limit: int


class _Writer:
    """A program under construction; registers r6 (packet or context), r7 and r8 are kept for the pieces."""

    def __init__(self, rng: random.Random, type_: ProgramType | None) -> None:
        self.rng = rng
        self.type = type_
        self.slots: list[bytes] = []
        self.functions: list[tuple[int, int]] = []
        """Calls that wait for a function: their slot, and which function."""

    def add(self, op: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> None:
        self.slots.append(_slot(op, src << 4 | dst, off, imm))

    def wide(self, dst: int, value: int, src: int = 0) -> None:
        value &= (1 << 64) - 1
        low, high = value & 0xFFFFFFFF, value >> 32
        self.add(_LDDW, dst, src, 0, low - (1 << 32) if low >> 31 else low)
        self.add(0, 0, 0, 0, high - (1 << 32) if high >> 31 else high)

    def number(self) -> int:
        rng = self.rng
        return rng.choice(_INTERESTING) if rng.random() < 0.5 else rng.randint(-(1 << 31), (1 << 31) - 1)

    def scratch(self) -> int:
        return self.rng.choice((0, 1, 2, 3, 4, 5, 9))

    # --- Pieces.

    def alu(self) -> None:
        rng = self.rng
        for _ in range(rng.randint(1, 4)):
            code, group = rng.choice(_ALU_CODES), rng.choice((4, 7))
            off = 1 if code in _DIVISIONS and rng.random() < 0.4 else 0
            if rng.random() < 0.5:
                self.add(group | code | 8, self.scratch(), rng.choice((0, 1, 2, 3, 4, 5, 7, 8, 9)), off)
            else:
                self.add(group | code, self.scratch(), 0, off, self.number())

    def unary(self) -> None:
        rng = self.rng
        match rng.randrange(4):
            case 0:
                self.add(rng.choice(_NEGATIONS), self.scratch())
            case 1:
                self.add(rng.choice(_SWAPS), self.scratch(), 0, 0, rng.choice((16, 32, 64)))
            case 2:
                self.add(_MOV_REG, self.scratch(), self.scratch(), rng.choice((8, 16, 32)))
            case _:
                self.add(_MOV32_REG, self.scratch(), self.scratch(), rng.choice((8, 16)))

    def constant(self) -> None:
        self.wide(self.scratch(), self.rng.getrandbits(64))

    def stack(self) -> None:
        rng = self.rng
        size = rng.choice((1, 2, 4, 8))
        off = -rng.randint(size, 512) if rng.random() < 0.97 else rng.choice((-513, -512 - size, 1, 0, -1))
        match rng.randrange(4):
            case 0:
                self.add(_ST | _SIZES[size], 10, 0, off, self.number())
            case 1:
                self.add(_STX | _SIZES[size], 10, self.scratch(), off)
            case 2:
                self.add(_LDX | _SIZES[size], self.scratch(), 10, off)
            case _:
                size = rng.choice((4, 8))
                off = -8 * rng.randint(1, 64)
                self.add(_ATOMIC | _SIZES[size], 10, self.scratch(), off, rng.choice(_ATOMICS))

    def stack_pointer(self) -> None:
        """Access the stack at a place that is only known at run time."""
        rng = self.rng
        self.add(_MOV_REG, 4, 7)
        self.add(_AND_IMM, 4, 0, 0, rng.choice((0x38, 0x78, 0x1F8)))
        self.add(_MOV_REG, 3, 10)
        self.add(_ADD_IMM, 3, 0, 0, -512)
        self.add(_ADD_REG, 3, 4)
        self.add(rng.choice((_LDXDW, _LDXW, _LDXB)), 5, 3, 0)
        self.add(_STXDW, 3, 8, 0)

    def packet(self) -> None:
        rng = self.rng
        size = rng.choice((1, 2, 4, 8))
        off = rng.randint(0, 40) if rng.random() < 0.9 else rng.randint(-4, 100)
        if self.type is not None:
            self.context_packet(size, off)
            return
        if rng.random() < 0.7:  # as a careful program does
            self.add(_JLT_IMM, 7, 0, 1, off + size if off + size > 0 else 1)
        else:
            self.add(_MOV_IMM, self.scratch(), 0, 0, 0)
        if rng.random() < 0.7:
            self.add(_LDX | _SIZES[size], self.scratch(), 6, off)
        elif rng.random() < 0.5:
            self.add(_STX | _SIZES[size], 6, self.scratch(), off)
        else:
            self.add(rng.choice(_LDXS), self.scratch(), 6, off)

    def context_packet(self, size: int, off: int) -> None:
        data, end = (0, 4) if self.type is ProgramType.XDP else (76, 80)
        self.add(_LDXW, 2, 6, data)
        self.add(_LDXW, 3, 6, end)
        self.add(_MOV_REG, 4, 2)
        self.add(_ADD_IMM, 4, 0, 0, max(off, 0) + size)
        self.add(_JGT_REG, 4, 3, 1)
        self.add(
            (_LDX if self.rng.random() < 0.7 else _STX) | _SIZES[size],
            2 if self.rng.random() < 0.3 else 5,
            2,
            max(off, 0),
        )

    def legacy(self) -> None:
        rng = self.rng
        if self.type is None:
            return
        op = rng.choice(_LEGACY)
        self.add(_MOV_IMM, 2, 0, 0, rng.randint(0, 12))
        off = rng.randint(0, 20) if rng.random() < 0.95 else rng.choice((-0x100000 + 2, -0x200000, -5, 300))
        self.add(op, 0, 2 if op >= _LD_IND else 0, 0, off)

    def array(self) -> None:
        """Look a value of the array up, and use it if it is there."""
        rng = self.rng
        self.add(_STW, 10, 0, -4, rng.randint(0, 4))
        self.add(_MOV_REG, 2, 10)
        self.add(_ADD_IMM, 2, 0, 0, -4)
        self.wide(1, 0, 1)
        self.add(_CALL, 0, 0, 0, HelperId.MAP_LOOKUP_ELEM)
        self.use_value(16)

    def hash(self) -> None:
        rng = self.rng
        self.add(_STW, 10, 0, -4, rng.randint(0, 9))
        self.add(_MOV_REG, 2, 10)
        self.add(_ADD_IMM, 2, 0, 0, -4)
        self.wide(1, 1, 1)
        match rng.randrange(3):
            case 0:
                self.add(_STXDW, 10, 8, -16)
                self.add(_MOV_REG, 3, 10)
                self.add(_ADD_IMM, 3, 0, 0, -16)
                self.add(_MOV_IMM, 4, 0, 0, rng.choice((0, 0, 1, 2, 3)))
                self.add(_CALL, 0, 0, 0, HelperId.MAP_UPDATE_ELEM)
            case 1:
                self.add(_CALL, 0, 0, 0, HelperId.MAP_DELETE_ELEM)
            case _:
                self.add(_CALL, 0, 0, 0, HelperId.MAP_LOOKUP_ELEM)
                self.use_value(8)

    def use_value(self, size: int) -> None:
        rng = self.rng
        width = rng.choice((1, 2, 4, 8))
        off = rng.randrange(0, size - width + 1) if rng.random() < 0.95 else rng.choice((size, -1, size - width + 1))
        if rng.random() < 0.97:
            self.add(_JEQ_IMM, 0, 0, 1, 0)
        match rng.randrange(3):
            case 0:
                self.add(_LDX | _SIZES[width], self.scratch(), 0, off)
            case 1:
                self.add(_STX | _SIZES[width], 0, rng.choice((7, 8)), off)
            case _:
                self.add(_ATOMIC64, 0, rng.choice((8, 9)), 0, rng.choice(_ATOMICS))
        self.add(_MOV_IMM, 0, 0, 0, rng.randint(0, 9))

    def helper(self) -> None:
        self.add(_CALL, 0, 0, 0, self.rng.choice(_HELPERS))

    def checksum(self) -> None:
        self.add(_MOV_REG, 1, 10)
        self.add(_ADD_IMM, 1, 0, 0, -64)
        self.add(_MOV_IMM, 2, 0, 0, self.rng.choice((0, 4, 16, 20, 6)))
        self.add(_MOV_REG, 3, 10)
        self.add(_ADD_IMM, 3, 0, 0, -128)
        self.add(_MOV_IMM, 4, 0, 0, self.rng.choice((0, 8, 64)))
        self.add(_MOV_REG, 5, 7)
        self.add(_CALL, 0, 0, 0, HelperId.CSUM_DIFF)

    def wild(self) -> None:
        """Use something as a pointer that is hardly one."""
        rng = self.rng
        op = rng.choice((_LDXW, _LDXDW, _LDXB, _STXW, _STXDW))
        if rng.random() < 0.5:
            self.wide(5, rng.choice((0, 0x10100, 1 << 32, 2 << 32 | 504, 16 << 32, 3 << 32, (1 << 64) - 4, 300 << 32)))
        self.add(op, rng.choice((3, 5)), 5, rng.randint(-8, 8))

    def branch(self) -> None:
        """Jump over a piece, or not."""
        rng = self.rng
        at = len(self.slots)
        self.slots.append(b"")
        self.piece(simple=True)
        over = len(self.slots) - at - 1
        group, code = rng.choice((5, 6)), rng.choice(_JUMP_CODES)
        if rng.random() < 0.5:
            self.slots[at] = _slot(group | code, rng.choice((0, 3, 7, 8, 9)), over, self.number())
        else:
            self.slots[at] = _slot(group | code | 8, rng.choice((7, 8, 9)) | self.scratch() << 4, over, 0)

    def loop(self) -> None:
        """Repeat a piece a few times; the counter is in r9 and, over calls, nowhere else."""
        rng = self.rng
        self.add(_MOV_IMM, 9, 0, 0, rng.randint(3, 20) if rng.random() < 0.97 else 5000)
        start = len(self.slots)
        self.alu_on(rng.choice((0, 3, 4, 8)))
        if rng.random() < 0.6:
            self.stack_counted()
        self.add(_SUB_IMM, 9, 0, 0, 1)
        self.add(_JNE_IMM, 9, 0, start - len(self.slots) - 1, 0)

    def alu_on(self, register: int) -> None:
        rng = self.rng
        code = rng.choice((0x00, 0x20, 0xA0, 0x10))
        self.add(rng.choice((4, 7)) | code, register, 0, 0, self.number())
        self.add(_ADD_REG, register, 9)

    def stack_counted(self) -> None:
        self.add(_MOV_REG, 3, 10)
        self.add(_LSH_IMM, 9, 0, 0, 3)
        self.add(_SUB_REG, 3, 9)
        self.add(_RSH_IMM, 9, 0, 0, 3)
        self.add(self.rng.choice((_LDXDW, _STXDW)), 3, 3, -8)

    def call(self) -> None:
        """Call one of the functions behind the program."""
        self.add(_MOV_REG, 1, 6)
        self.functions.append((len(self.slots), self.rng.randrange(2)))
        self.slots.append(b"call")

    def callback(self) -> None:
        """Let a helper call a function several times."""
        rng = self.rng
        self.add(_MOV_IMM, 1, 0, 0, rng.randint(0, 6))
        self.functions.append((len(self.slots), 2))
        self.slots += [b"function", _slot(0, 0, 0, 0)]
        self.add(_MOV_REG, 3, 10)
        self.add(_ADD_IMM, 3, 0, 0, -32)
        self.add(_STXDW, 3, 6, 0)
        self.add(_MOV_IMM, 4, 0, 0, 0 if rng.random() < 0.9 else 1)
        self.add(_CALL, 0, 0, 0, HelperId.LOOP)

    def may_goto(self) -> None:
        self.add(_MAY_GOTO, 0, 0, 1)
        self.add(_ADD_IMM, 8, 0, 0, 3)

    def piece(self, *, simple: bool = False) -> None:
        choices = _SIMPLE if simple else _PIECES
        self.rng.choice(choices)(self)

    # --- The whole.

    def write(self, pieces: int) -> bytes:
        self.add(_MOV_REG, 6, 1)
        self.add(_MOV_REG, 7, 2)
        self.add(_MOV_IMM, 8, 0, 0, self.number())
        for _ in range(pieces):
            self.piece()
            if self.rng.random() < _REPEATS:
                self.loop()
        for register in (1, 2, 3, 4, 5, 8, 9):
            self.add(_XOR_REG if register & 1 else _ADD_REG, 0, register)
        self.slots.append(_EXIT)
        if self.functions:
            self.write_functions()
        return b"".join(self.slots)

    def write_functions(self) -> None:
        starts = []
        waiting, self.functions = self.functions, []
        for number in range(3):
            starts.append(len(self.slots))
            reads = self.rng.random() < _READS
            if reads:  # r6 has to be the context
                self.add(_LDXDW, 6, 2, 0) if number == 2 else self.add(_MOV_REG, 6, 1)
            for _ in range(self.rng.randint(1, 3)):
                self.rng.choice(_SIMPLE)(self)
                if reads:
                    self.legacy()
            self.add(_MOV_IMM if number == 2 else _ADD_IMM, 0, 0, 0, 1 if self.rng.random() < 0.1 else 0)
            self.slots.append(_EXIT)
        for at, which in waiting:
            distance = starts[which] - at - 1
            if self.slots[at] == b"call":
                self.slots[at] = _slot(_CALL, 0x10, 0, distance)
            else:
                self.slots[at] = _slot(_LDDW, 0x42, 0, distance)


Piece = Callable[[_Writer], None]
_SIMPLE: Sequence[Piece] = (
    _Writer.alu,
    _Writer.alu,
    _Writer.unary,
    _Writer.stack,
    _Writer.constant,
    _Writer.stack_pointer,
)
_PIECES: Sequence[Piece] = (
    *_SIMPLE,
    _Writer.stack,
    _Writer.packet,
    _Writer.packet,
    _Writer.packet,
    _Writer.legacy,
    _Writer.array,
    _Writer.array,
    _Writer.hash,
    _Writer.hash,
    _Writer.helper,
    _Writer.checksum,
    _Writer.branch,
    _Writer.branch,
    _Writer.branch,
    _Writer.loop,
    _Writer.loop,
    _Writer.call,
    _Writer.callback,
    _Writer.may_goto,
)
_TYPES = (None, None, None, ProgramType.XDP, ProgramType.SCHED_CLS)
_WILD, _REPEATS, _READS = 0.02, 0.5, 0.4


def generate(rng: random.Random) -> Generated:
    """Return a random program and a packet.

    Examples
    --------
    >>> first, again = generate(random.Random(1)), generate(random.Random(1))
    >>> first == again
    True
    """
    type_ = rng.choice(_TYPES)
    writer = _Writer(rng, type_)
    if rng.random() < _WILD:
        writer.wild()
    program = Program.from_bytes(writer.write(rng.randint(1, 5)), type=type_)
    return Generated(
        program, rng.randbytes(rng.choice((0, 14, 20, 40, 64, 96))), rng.choice((1 << 20, 1 << 20, 200, 40))
    )
