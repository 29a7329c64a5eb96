# SPDX-License-Identifier: Apache-2.0
"""What expressions of the builder are made of: registers, cells of memory, conditions, values.

These objects are made by a `prestocloud_sec.bpf.builder.Builder`; operators on them either emit an instruction
(``b.r0 += 5``) or stand for a part of one (``b.r1 + 4`` is an address, ``b.r1 == 5`` a condition).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn, TypeAlias

from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.bpf.isa import Alu, AluOp, Branch, BranchOp, Extend, Imm, Load, Negate, Reg, Store
from prestocloud_sec.bpf.linking import Statement
from prestocloud_sec.wire import shown

__all__ = [
    "Address",
    "Cell",
    "Condition",
    "Memory",
    "Register",
    "Value",
    "Wide",
    "Written",
    "immediate",
    "sized_register",
    "unsigned_cell",
    "whole_register",
]

Emit: TypeAlias = Callable[[Statement], None]


def immediate(value: int, bits: int) -> Imm:
    """Wrap a number for an operation of some width; up to 32 bits, unsigned numbers are taken as their bits."""
    if type(value) is not int:
        raise BpfMisuseError(f"{shown(value)} is no operand", expected="a register of the builder or an int")
    if bits <= 32 and 1 << 31 <= value < 1 << 32:
        value -= 1 << 32
    if not -(1 << 31) <= value < 1 << 31:
        raise BpfMisuseError(
            f"{shown(value)} does not fit the 32-bit operand",
            expected=f"{-(1 << 31)}..{(1 << 31) - 1}",
            hint="b.rN = b.imm64(value) loads 64 bits",
        )
    return Imm(value)


@dataclass(frozen=True, slots=True)
class Address:
    """A register and a number of bytes."""

    base: Reg
    offset: int


@dataclass(frozen=True, slots=True)
class Condition:
    """A comparison; ``goto(..., when=condition)`` makes a branch of it."""

    op: BranchOp
    bits: int
    left: Reg
    right: Reg | Imm

    def branch(self, offset: int) -> Branch:
        """Return the branch that is taken where the condition holds."""
        return Branch(self.op, self.bits, self.left, self.right, offset)

    def __bool__(self) -> NoReturn:
        raise BpfMisuseError(
            "a condition is known when the program runs, not when it is built",
            expected="b.goto(target, when=condition)",
            hint="comparisons do not chain, and Python's if, and, or, not cannot take them",
        )


@dataclass(frozen=True, slots=True)
class Extended:
    """The low bits of a register, sign-extended."""

    source: Reg
    bits: int
    width: int

    def into(self, dst: Reg, bits: int) -> Extend:
        """Return the instruction that puts it into a register."""
        if bits != self.bits:
            raise _mixed()
        return Extend(bits, dst, self.source, self.width)


@dataclass(frozen=True, slots=True)
class Negated:
    """A register with its sign turned."""

    source: Reg
    bits: int

    def into(self, dst: Reg, bits: int) -> Negate:
        """Return the instruction that puts it into a register, which must be the same."""
        if (dst, bits) != (self.source, self.bits):
            raise BpfMisuseError("negation is in place", expected=f"b.r{dst} = -b.r{dst}, or w on both sides")
        return Negate(bits, dst)


@dataclass(frozen=True, slots=True)
class Cell:
    """Bytes of memory at an address, read as a number."""

    size: int
    signed: bool
    address: Address

    def into(self, dst: Reg, bits: int) -> Load:
        """Return the load; one that is assigned to a ``w`` register writes all 64 bits nevertheless."""
        if bits == 32 and (self.signed or self.size == 8):
            raise BpfMisuseError("the load writes 64 bits", expected=f"b.r{dst} on the left")
        return Load(self.size, self.signed, dst, self.address.base, self.address.offset)


@dataclass(frozen=True, slots=True)
class Wide:
    """A 64-bit number, or the address of a map, a map's value, a variable or a function."""

    make: Callable[[Reg], Statement]

    def into(self, dst: Reg, bits: int) -> Statement:
        """Return the load."""
        if bits != 64:
            raise BpfMisuseError("the load writes 64 bits", expected=f"b.r{dst} on the left")
        return self.make(dst)


def _mixed() -> BpfMisuseError:
    return BpfMisuseError("r and w registers in one instruction", expected="all r (64 bits) or all w (32 bits)")


class Register:
    """``b.r3``, or ``b.w3`` for its low 32 bits."""

    __slots__ = ("_emit", "bits", "number")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, number: int, bits: int, emit: Emit) -> None:
        self.number = number
        self.bits = bits
        self._emit = emit

    def __repr__(self) -> str:
        return f"{'r' if self.bits == 64 else 'w'}{self.number}"

    def operand(self, other: object) -> Reg | Imm:
        """Return the other operand of an instruction with this register."""
        if not isinstance(other, Register):
            return immediate(other, self.bits)  # type: ignore[arg-type]
        if other.bits != self.bits:
            raise _mixed()
        return other.number

    def into(self, dst: Reg, bits: int) -> Alu:
        """Return the move to another register."""
        if bits != self.bits:
            raise _mixed()
        return Alu(AluOp.MOV, bits, dst, self.number)

    def _apply(self, op: AluOp, other: object) -> Written:
        self._emit(Alu(op, self.bits, self.number, self.operand(other)))
        return Written(self.number, self.bits, self._emit)

    def __iadd__(self, other: Register | int) -> Written:
        return self._apply(AluOp.ADD, other)

    def __isub__(self, other: Register | int) -> Written:
        return self._apply(AluOp.SUB, other)

    def __imul__(self, other: Register | int) -> Written:
        return self._apply(AluOp.MUL, other)

    def __itruediv__(self, other: Register | int) -> Written:
        return self._apply(AluOp.DIV, other)

    def __ifloordiv__(self, other: Register | int) -> Written:
        return self._apply(AluOp.DIV, other)

    def __imod__(self, other: Register | int) -> Written:
        return self._apply(AluOp.MOD, other)

    def __ior__(self, other: Register | int) -> Written:
        return self._apply(AluOp.OR, other)

    def __iand__(self, other: Register | int) -> Written:
        return self._apply(AluOp.AND, other)

    def __ixor__(self, other: Register | int) -> Written:
        return self._apply(AluOp.XOR, other)

    def __ilshift__(self, other: Register | int) -> Written:
        return self._apply(AluOp.LSH, other)

    def __irshift__(self, other: Register | int) -> Written:
        return self._apply(AluOp.RSH, other)

    def sdiv(self, other: Register | int) -> None:
        """Emit ``s/=``."""
        self._apply(AluOp.SDIV, other)

    def smod(self, other: Register | int) -> None:
        """Emit ``s%=``."""
        self._apply(AluOp.SMOD, other)

    def arsh(self, other: Register | int) -> None:
        """Emit ``s>>=``."""
        self._apply(AluOp.ARSH, other)

    def __add__(self, offset: int) -> Address:
        return self._address(offset)

    def __sub__(self, offset: int) -> Address:
        return self._address(-offset if type(offset) is int else offset)

    def _address(self, offset: int) -> Address:
        if self.bits != 64 or type(offset) is not int:
            raise BpfMisuseError("this makes no address", expected="an r register and a number of bytes")
        return Address(self.number, offset)

    def __neg__(self) -> Negated:
        return Negated(self.number, self.bits)

    @property
    def s8(self) -> Extended:
        """The low 8 bits, sign-extended."""
        return Extended(self.number, self.bits, 8)

    @property
    def s16(self) -> Extended:
        """The low 16 bits, sign-extended."""
        return Extended(self.number, self.bits, 16)

    @property
    def s32(self) -> Extended:
        """The low 32 bits, sign-extended."""
        return Extended(self.number, self.bits, 32)

    def _compare(self, op: BranchOp, other: object) -> Condition:
        return Condition(op, self.bits, self.number, self.operand(other))

    def __eq__(self, other: object) -> Condition:  # type: ignore[override]
        return self._compare(BranchOp.EQ, other)

    def __ne__(self, other: object) -> Condition:  # type: ignore[override]
        return self._compare(BranchOp.NE, other)

    def __gt__(self, other: Register | int) -> Condition:
        return self._compare(BranchOp.GT, other)

    def __ge__(self, other: Register | int) -> Condition:
        return self._compare(BranchOp.GE, other)

    def __lt__(self, other: Register | int) -> Condition:
        return self._compare(BranchOp.LT, other)

    def __le__(self, other: Register | int) -> Condition:
        return self._compare(BranchOp.LE, other)

    def __and__(self, other: Register | int) -> Condition:
        return self._compare(BranchOp.SET, other)

    def sgt(self, other: Register | int) -> Condition:
        """Signed ``>``."""
        return self._compare(BranchOp.SGT, other)

    def sge(self, other: Register | int) -> Condition:
        """Signed ``>=``."""
        return self._compare(BranchOp.SGE, other)

    def slt(self, other: Register | int) -> Condition:
        """Signed ``<``."""
        return self._compare(BranchOp.SLT, other)

    def sle(self, other: Register | int) -> Condition:
        """Signed ``<=``."""
        return self._compare(BranchOp.SLE, other)


class Written(Register):
    """A register that an operator with assignment has already written: assigning it to itself emits nothing more."""

    __slots__ = ()
    __hash__ = None


Value: TypeAlias = Register | Extended | Negated | Cell | Wide | int
"""What can be assigned to a register."""


class Memory:
    """``b.u32``: memory seen as numbers of one size; ``b.u32[b.r1 + 4]`` is a cell."""

    __slots__ = ("_emit", "_signed", "_size")

    def __init__(self, size: int, signed: bool, emit: Emit) -> None:
        self._size = size
        self._signed = signed
        self._emit = emit

    def __getitem__(self, address: Address | Register) -> Cell:
        if isinstance(address, Register):
            address = address + 0
        if not isinstance(address, Address):
            raise BpfMisuseError(f"{shown(address)} is no address", expected="b.rN or b.rN + offset")
        return Cell(self._size, self._signed, address)

    def __setitem__(self, address: Address | Register, value: Register | int) -> None:
        at = self[address].address
        if self._signed:
            raise BpfMisuseError("stores have no sign", expected=f"b.u{self._size * 8}[...]")
        if isinstance(value, Register):
            if value.bits == 32 and self._size == 8:
                raise _mixed()
            src: Reg | Imm = value.number
        else:
            src = immediate(value, self._size * 8)
        self._emit(Store(self._size, at.base, at.offset, src))


def whole_register(register: Register) -> int:
    """Return the number of a register of 64 bits."""
    if not isinstance(register, Register) or register.bits != 64:
        raise BpfMisuseError(f"{shown(register)} is not a whole register", expected="an r register of the builder")
    return register.number


def sized_register(register: Register, size: int) -> int:
    """Return the number of a register that has as many bytes."""
    if not isinstance(register, Register) or (size == 8 and register.bits != 64):
        raise BpfMisuseError(f"{shown(register)} has not {size * 8} bits", expected="a register of the builder")
    return register.number


def unsigned_cell(cell: Cell) -> Cell:
    """Return a cell whose number has no sign."""
    if not isinstance(cell, Cell) or cell.signed:
        raise BpfMisuseError(f"{shown(cell)} is no memory for this", expected="b.u8, b.u16, b.u32 or b.u64 [address]")
    return cell
