# SPDX-License-Identifier: Apache-2.0
"""The eBPF instruction set: instructions as values, and their bytes (RFC 9669, Linux 6.18).

`decode` turns bytes into a tuple of instructions, `encode` turns them back. Nothing outside this package knows an
opcode bit.

>>> decode(bytes.fromhex("0700000005000000"))
(Alu(op=<AluOp.ADD: 'add'>, bits=64, dst=0, src=Imm(5)),)
>>> encode([Exit()]).hex()
'9500000000000000'
"""

from __future__ import annotations

from prestocloud_sec.bpf.isa.codec import decode, encode
from prestocloud_sec.bpf.isa.instructions import (
    AddressSpaceCast,
    Alu,
    Atomic,
    Branch,
    CallHelper,
    CallKfunc,
    CallLocal,
    CallRegister,
    Exit,
    Extend,
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
)
from prestocloud_sec.bpf.isa.operands import (
    ALWAYS_FETCH,
    FRAME_POINTER,
    REGISTERS,
    SLOT_SIZE,
    AluOp,
    AtomicOp,
    BranchOp,
    Imm,
    ImmKind,
    Reg,
    SwapKind,
)

__all__ = [
    "ALWAYS_FETCH",
    "FRAME_POINTER",
    "REGISTERS",
    "SLOT_SIZE",
    "AddressSpaceCast",
    "Alu",
    "AluOp",
    "Atomic",
    "AtomicOp",
    "Branch",
    "BranchOp",
    "CallHelper",
    "CallKfunc",
    "CallLocal",
    "CallRegister",
    "Exit",
    "Extend",
    "Imm",
    "ImmKind",
    "Instruction",
    "Jump",
    "LegacyLoad",
    "Load",
    "LoadAcquire",
    "LoadImm64",
    "MayGoto",
    "Negate",
    "Reg",
    "Store",
    "StoreRelease",
    "Swap",
    "SwapKind",
    "decode",
    "encode",
]
