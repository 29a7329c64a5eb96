# SPDX-License-Identifier: Apache-2.0
"""What instructions are made of: operations, registers, immediates, and the checks that every instruction makes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import ClassVar, TypeAlias

from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.wire import shown

__all__ = [
    "ALWAYS_FETCH",
    "FRAME_POINTER",
    "REGISTERS",
    "SLOT_SIZE",
    "AluOp",
    "AtomicOp",
    "BranchOp",
    "Imm",
    "ImmKind",
    "InstructionBase",
    "Reg",
    "SwapKind",
]

SLOT_SIZE = 8
"""Bytes of one slot (RFC 9669, section 3.1)."""
REGISTERS = 11
"""Number of registers, r0 to r10 (RFC 9669, section 2)."""
FRAME_POINTER = 10
"""The read-only register that points at the end of the stack frame."""

Reg: TypeAlias = int
"""A register number, 0..10."""


class AluOp(StrEnum):
    """Two-operand arithmetic and logic (RFC 9669, section 4.1); the value is the mnemonic."""

    ADD = "add"
    SUB = "sub"
    MUL = "mul"
    DIV = "div"
    SDIV = "sdiv"
    MOD = "mod"
    SMOD = "smod"
    OR = "or"
    AND = "and"
    XOR = "xor"
    LSH = "lsh"
    RSH = "rsh"
    ARSH = "arsh"
    MOV = "mov"


class BranchOp(StrEnum):
    """Conditions of jumps (RFC 9669, section 4.3); the value is the mnemonic."""

    EQ = "jeq"
    NE = "jne"
    GT = "jgt"
    GE = "jge"
    LT = "jlt"
    LE = "jle"
    SET = "jset"
    SGT = "jsgt"
    SGE = "jsge"
    SLT = "jslt"
    SLE = "jsle"


class AtomicOp(StrEnum):
    """Read-modify-write operations (RFC 9669, section 5.3)."""

    ADD = "add"
    OR = "or"
    AND = "and"
    XOR = "xor"
    XCHG = "xchg"
    CMPXCHG = "cmpxchg"


ALWAYS_FETCH = frozenset({AtomicOp.XCHG, AtomicOp.CMPXCHG})
"""Those that return the old value, whether asked or not."""


class SwapKind(StrEnum):
    """Byte swaps (RFC 9669, section 4.2): to little-endian, to big-endian, or unconditionally."""

    LE = "le"
    BE = "be"
    BSWAP = "bswap"


class ImmKind(IntEnum):
    """What a 64-bit immediate load loads (RFC 9669, section 5.4); the value is its ``src`` field."""

    INTEGER = 0
    MAP_FD = 1
    MAP_VALUE_FD = 2
    BTF_VARIABLE = 3
    FUNCTION = 4
    MAP_INDEX = 5
    MAP_VALUE_INDEX = 6


def _fits(value: object, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


def _misfit(owner: object, name: str, low: int, high: int) -> BpfMisuseError:
    return BpfMisuseError(
        f"{shown(getattr(owner, name))} does not fit",
        where=f"{type(owner).__name__}.{name}",
        expected=f"an integer {low}..{high}",
    )


_SIGNED = {bits: (-(1 << bits - 1), (1 << bits - 1) - 1) for bits in (16, 32)}


@dataclass(frozen=True, slots=True)
class Imm:
    """A 32-bit signed immediate operand; 64-bit operations sign-extend it, 32-bit ones take it as it is."""

    value: int

    def __post_init__(self) -> None:
        if not _fits(self.value, *_SIGNED[32]):
            raise _misfit(self, "value", *_SIGNED[32])

    def __int__(self) -> int:
        return self.value

    def __repr__(self) -> str:
        return f"Imm({self.value})"


class InstructionBase:
    """What all instructions share."""

    __slots__ = ()
    slots: ClassVar[int] = 1
    """Slots of eight bytes that the instruction takes."""

    def encode(self) -> bytes:
        """Return the instruction's 8 (or 16) bytes, little-endian (RFC 9669, section 3.1)."""
        from prestocloud_sec.bpf.isa.codec import encode_one

        return encode_one(self)  # type: ignore[arg-type]

    def _whole(self, name: str, low: int, high: int) -> None:
        if not _fits(getattr(self, name), low, high):
            raise _misfit(self, name, low, high)

    def _register(self, name: str) -> None:
        self._whole(name, 0, REGISTERS - 1)

    def _operand(self) -> None:
        if type(self.src) is not Imm:  # type: ignore[attr-defined]
            self._register("src")

    def _signed(self, name: str, bits: int) -> None:
        self._whole(name, *_SIGNED[bits])

    def _choice(self, name: str, *allowed: object) -> None:
        value = getattr(self, name)
        if type(value) is not type(allowed[0]) or value not in allowed:
            raise BpfMisuseError(
                f"{shown(value)} is not possible",
                where=f"{type(self).__name__}.{name}",
                expected=" or ".join(map(repr, allowed)),
            )

    def _member(self, name: str, kind: type) -> None:
        value = getattr(self, name)
        if type(value) is not kind:
            raise BpfMisuseError(
                f"{shown(value)} is a {type(value).__name__}",
                where=f"{type(self).__name__}.{name}",
                expected=f"a {kind.__name__}",
            )
