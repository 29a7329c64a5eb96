# SPDX-License-Identifier: Apache-2.0
"""eBPF instructions as values: one closed set of frozen dataclasses that every later stage works from.

The set follows RFC 9669 and Linux 6.18. What is one opcode with many meanings on the wire is several classes here
(``mov`` with an offset is `Extend`), and what is many opcodes is one class with attributes (all two-operand arithmetic
is `Alu`). No opcode bit is visible: those stand in `prestocloud_sec.bpf.isa.table`, and `encode` looks them up there.

Conventions: a register is a plain int 0..10; an immediate operand is an `Imm`, so that ``src`` tells which it is; jump
offsets count slots of eight bytes from the end of the jumping instruction; memory offsets count bytes; sizes are in
bytes, widths in bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

from prestocloud_sec.bpf.isa.operands import (
    ALWAYS_FETCH,
    REGISTERS,
    AluOp,
    AtomicOp,
    BranchOp,
    Imm,
    ImmKind,
    InstructionBase,
    Reg,
    SwapKind,
)

__all__ = [
    "AddressSpaceCast",
    "Alu",
    "Atomic",
    "Branch",
    "CallHelper",
    "CallKfunc",
    "CallLocal",
    "CallRegister",
    "Exit",
    "Extend",
    "Instruction",
    "Jump",
    "LegacyLoad",
    "Load",
    "LoadAcquire",
    "LoadImm64",
    "MayGoto",
    "Negate",
    "Store",
    "StoreRelease",
    "Swap",
]


@dataclass(frozen=True, slots=True)
class Alu(InstructionBase):
    """``dst = dst op src``; 32-bit results are zero-extended (RFC 9669, section 4.1).

    Attributes
    ----------
    op : AluOp
        What to do; ``MOV`` does not read ``dst``.
    bits : {32, 64}
        Width of the operation.
    dst : int
        Register.
    src : int or Imm
        Register or immediate.
    """

    op: AluOp
    bits: int
    dst: Reg
    src: Reg | Imm

    def __post_init__(self) -> None:
        self._member("op", AluOp)
        self._choice("bits", 32, 64)
        self._register("dst")
        self._operand()


@dataclass(frozen=True, slots=True)
class Negate(InstructionBase):
    """``dst = -dst`` in `bits` bits (32 or 64)."""

    bits: int
    dst: Reg

    def __post_init__(self) -> None:
        self._choice("bits", 32, 64)
        self._register("dst")


@dataclass(frozen=True, slots=True)
class Extend(InstructionBase):
    """``dst = (s8|s16|s32)src``: sign-extend the low `width` bits to `bits` (``movsx``); 32 to 32 does not exist."""

    bits: int
    dst: Reg
    src: Reg
    width: int

    def __post_init__(self) -> None:
        self._choice("bits", 32, 64)
        self._register("dst")
        self._register("src")
        self._choice("width", *((8, 16, 32) if self.bits == 64 else (8, 16)))


@dataclass(frozen=True, slots=True)
class Swap(InstructionBase):
    """Byte swap of the low `width` bits (16, 32, 64) of `dst`; the result is zero-extended (RFC 9669, section 4.2)."""

    kind: SwapKind
    width: int
    dst: Reg

    def __post_init__(self) -> None:
        self._member("kind", SwapKind)
        self._choice("width", 16, 32, 64)
        self._register("dst")


@dataclass(frozen=True, slots=True)
class AddressSpaceCast(InstructionBase):
    """``dst = addr_space_cast(src, target, source)``: between the kernel (0) and an arena (1), Linux 6.9."""

    dst: Reg
    src: Reg
    target: int
    source: int

    def __post_init__(self) -> None:
        self._register("dst")
        self._register("src")
        self._choice("target", 0, 1)
        self._choice("source", 1 - self.target)


@dataclass(frozen=True, slots=True)
class Load(InstructionBase):
    """``dst = *(size *)(base + offset)``, zero-extended, or sign-extended (sizes 1, 2, 4) where `signed`."""

    size: int
    signed: bool
    dst: Reg
    base: Reg
    offset: int

    def __post_init__(self) -> None:
        self._choice("signed", False, True)
        self._choice("size", *((1, 2, 4) if self.signed else (1, 2, 4, 8)))
        self._register("dst")
        self._register("base")
        self._signed("offset", 16)


@dataclass(frozen=True, slots=True)
class Store(InstructionBase):
    """``*(size *)(base + offset) = src``; an immediate is sign-extended to the size."""

    size: int
    base: Reg
    offset: int
    src: Reg | Imm

    def __post_init__(self) -> None:
        self._choice("size", 1, 2, 4, 8)
        self._register("base")
        self._signed("offset", 16)
        self._operand()


@dataclass(frozen=True, slots=True)
class Atomic(InstructionBase):
    """Read-modify-write of 4 or 8 bytes at ``base + offset`` (RFC 9669, section 5.3).

    With `fetch` the old value goes to `src`, or to r0 for ``CMPXCHG``, which compares with r0. ``XCHG`` and ``CMPXCHG``
    always fetch.
    """

    op: AtomicOp
    fetch: bool
    size: int
    base: Reg
    offset: int
    src: Reg

    def __post_init__(self) -> None:
        self._member("op", AtomicOp)
        self._choice("fetch", *((True,) if self.op in ALWAYS_FETCH else (False, True)))
        self._choice("size", 4, 8)
        self._register("base")
        self._signed("offset", 16)
        self._register("src")


@dataclass(frozen=True, slots=True)
class LoadAcquire(InstructionBase):
    """``dst = load_acquire(*(size *)(base + offset))``, zero-extended (Linux 6.15)."""

    size: int
    dst: Reg
    base: Reg
    offset: int

    def __post_init__(self) -> None:
        self._choice("size", 1, 2, 4, 8)
        self._register("dst")
        self._register("base")
        self._signed("offset", 16)


@dataclass(frozen=True, slots=True)
class StoreRelease(InstructionBase):
    """``store_release(*(size *)(base + offset), src)`` (Linux 6.15)."""

    size: int
    base: Reg
    offset: int
    src: Reg

    def __post_init__(self) -> None:
        self._choice("size", 1, 2, 4, 8)
        self._register("base")
        self._signed("offset", 16)
        self._register("src")


@dataclass(frozen=True, slots=True)
class LoadImm64(InstructionBase):
    """``dst = value``, an integer or the address of something, in two slots (RFC 9669, section 5.4).

    Attributes
    ----------
    dst : int
        Register.
    kind : ImmKind
        What the value means.
    value : int
        ``INTEGER``: 0..2**64 - 1. Otherwise signed 32 bits: a map's descriptor or index, a BTF identifier, or, for
        ``FUNCTION``, the distance in slots from this load's second slot to the function.
    second : int
        0..2**32 - 1: the offset into the map's value, or the descriptor of a module's BTF; 0 for the other kinds.
    """

    slots: ClassVar[int] = 2

    dst: Reg
    kind: ImmKind
    value: int
    second: int = 0

    def __post_init__(self) -> None:
        self._register("dst")
        self._member("kind", ImmKind)
        if self.kind is ImmKind.INTEGER:
            self._whole("value", 0, (1 << 64) - 1)
        else:
            self._signed("value", 32)
        has_second = self.kind in {ImmKind.MAP_VALUE_FD, ImmKind.MAP_VALUE_INDEX, ImmKind.BTF_VARIABLE}
        self._whole("second", 0, (1 << 32) - 1 if has_second else 0)


@dataclass(frozen=True, slots=True)
class LegacyLoad(InstructionBase):
    """``r0 = *(size *)skb[imm]`` or ``skb[src + imm]`` from the packet of the context in r6, to host byte order.

    Sizes 1, 2, 4; `src` is 0 where not `indirect`; r1 to r5 are lost; a load outside the packet ends its function,
    which returns 0 as from an exit (RFC 9669, section 5.5; Linux ``Documentation/bpf/classic_vs_extended.rst`` and
    ``net/core/filter.c``, ``bpf_gen_ld_abs``).
    """

    size: int
    indirect: bool
    src: Reg
    imm: int

    def __post_init__(self) -> None:
        self._choice("size", 1, 2, 4)
        self._choice("indirect", False, True)
        self._whole("src", 0, REGISTERS - 1 if self.indirect else 0)
        self._signed("imm", 32)


@dataclass(frozen=True, slots=True)
class Jump(InstructionBase):
    """``goto``: 16-bit offset, or 32-bit where `wide` (``gotol``)."""

    offset: int
    wide: bool = False

    def __post_init__(self) -> None:
        self._choice("wide", False, True)
        self._signed("offset", 32 if self.wide else 16)


@dataclass(frozen=True, slots=True)
class Branch(InstructionBase):
    """``if dst op src goto``: compares 64 bits, or the low 32 (RFC 9669, section 4.3)."""

    op: BranchOp
    bits: int
    dst: Reg
    src: Reg | Imm
    offset: int

    def __post_init__(self) -> None:
        self._member("op", BranchOp)
        self._choice("bits", 32, 64)
        self._register("dst")
        self._operand()
        self._signed("offset", 16)


@dataclass(frozen=True, slots=True)
class MayGoto(InstructionBase):
    """``may_goto``: jumps once the loop budget is used up (Linux 6.9)."""

    offset: int

    def __post_init__(self) -> None:
        self._signed("offset", 16)


@dataclass(frozen=True, slots=True)
class CallHelper(InstructionBase):
    """Call of the helper with this number (signed 32 bits; real ones are positive)."""

    number: int

    def __post_init__(self) -> None:
        self._signed("number", 32)


@dataclass(frozen=True, slots=True)
class CallLocal(InstructionBase):
    """Call of a function of the same program, `offset` slots after this instruction's end."""

    offset: int

    def __post_init__(self) -> None:
        self._signed("offset", 32)


@dataclass(frozen=True, slots=True)
class CallKfunc(InstructionBase):
    """Call of the kernel function with BTF identifier `id`; `off`: index of the BTF descriptor, 0 for vmlinux."""

    id: int
    off: int = 0

    def __post_init__(self) -> None:
        self._signed("id", 32)
        self._signed("off", 16)


@dataclass(frozen=True, slots=True)
class CallRegister(InstructionBase):
    """``callx``: call what a register holds; Linux refuses it, the bpf_conformance suite and other machines have it.

    Attributes
    ----------
    register : int
        The register.
    encoding : {"dst", "imm"}
        Where the bytes say which: ``dst`` (GCC, LLVM 19 and later, bpf_conformance) or ``imm`` (LLVM before 19). r0 is
        always ``dst``, as the bytes would be the same.
    """

    register: Reg
    encoding: Literal["dst", "imm"] = "dst"

    def __post_init__(self) -> None:
        self._register("register")
        self._choice("encoding", *(("dst", "imm") if self.register else ("dst",)))


@dataclass(frozen=True, slots=True)
class Exit(InstructionBase):
    """Return from the function; from the outermost one, end the program with r0 as its result."""


Instruction: TypeAlias = (
    Alu
    | Negate
    | Extend
    | Swap
    | AddressSpaceCast
    | Load
    | Store
    | Atomic
    | LoadAcquire
    | StoreRelease
    | LoadImm64
    | LegacyLoad
    | Jump
    | Branch
    | MayGoto
    | CallHelper
    | CallLocal
    | CallKfunc
    | CallRegister
    | Exit
)
"""Any instruction."""
