# SPDX-License-Identifier: Apache-2.0
"""The words and signs of both assembler syntaxes, shared by the assembler and the disassembler.

The *kernel* syntax is the one that clang, llvm-objdump and bpftool print (LLVM, ``lib/Target/BPF/BPFInstrInfo.td``;
Linux, ``kernel/bpf/disasm.c``). The *mnemonic* syntax is the older one of ubpf, rbpf and the bpf_conformance suite.
"""

from __future__ import annotations

import re

from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.bpf.isa import AluOp, AtomicOp, BranchOp, SwapKind
from prestocloud_sec.wire import shown

__all__ = [
    "ALU_SIGNS",
    "ATOMIC_SIGNS",
    "BRANCH_SIGNS",
    "SIGNED_TYPES",
    "SIZE_SUFFIXES",
    "SWAPS",
    "SYNTAXES",
    "TYPES",
    "WORD",
    "check_symbol",
    "check_syntax",
    "displacement",
    "is_symbol",
]

SYNTAXES = ("kernel", "mnemonic")
"""What both are called."""

ALU_SIGNS: dict[AluOp, str] = {
    AluOp.ADD: "+=",
    AluOp.SUB: "-=",
    AluOp.MUL: "*=",
    AluOp.DIV: "/=",
    AluOp.SDIV: "s/=",
    AluOp.MOD: "%=",
    AluOp.SMOD: "s%=",
    AluOp.OR: "|=",
    AluOp.AND: "&=",
    AluOp.XOR: "^=",
    AluOp.LSH: "<<=",
    AluOp.RSH: ">>=",
    AluOp.ARSH: "s>>=",
    AluOp.MOV: "=",
}
BRANCH_SIGNS: dict[BranchOp, str] = {
    BranchOp.EQ: "==",
    BranchOp.NE: "!=",
    BranchOp.GT: ">",
    BranchOp.GE: ">=",
    BranchOp.LT: "<",
    BranchOp.LE: "<=",
    BranchOp.SET: "&",
    BranchOp.SGT: "s>",
    BranchOp.SGE: "s>=",
    BranchOp.SLT: "s<",
    BranchOp.SLE: "s<=",
}
ATOMIC_SIGNS: dict[AtomicOp, str] = {AtomicOp.ADD: "+=", AtomicOp.OR: "|=", AtomicOp.AND: "&=", AtomicOp.XOR: "^="}
"""The atomic operations that the kernel syntax writes with a sign where the old value is not fetched."""

TYPES: dict[int, str] = {1: "u8", 2: "u16", 4: "u32", 8: "u64"}
SIGNED_TYPES: dict[int, str] = {1: "s8", 2: "s16", 4: "s32"}
"""Types of the kernel syntax by size in bytes."""
SIZE_SUFFIXES: dict[int, str] = {1: "b", 2: "h", 4: "w", 8: "dw"}
"""Ends of mnemonics by size in bytes."""

SWAPS: dict[str, tuple[SwapKind, int]] = {
    f"{kind}{width}": (kind, width) for kind in SwapKind for width in (16, 32, 64)
}
"""Byte swaps and their widths in bits, by the word for them: ``le16`` to ``bswap64``."""

WORD = r"[A-Za-z_.$][A-Za-z0-9_.$]*"
_SYMBOL = re.compile(WORD, re.ASCII)
_REGISTER = re.compile(r"[rw][0-9]+", re.ASCII)


def displacement(offset: int, blank: str = "") -> str:
    """Write a distance with its sign apart.

    >>> displacement(4, " "), displacement(-4)
    ('+ 4', '-4')
    """
    return f"{'-' if offset < 0 else '+'}{blank}{abs(offset)}"


def is_symbol(name: str) -> bool:
    """Tell whether a name can stand for a place, a function or a map in text: a word that reads as no register."""
    return bool(_SYMBOL.fullmatch(name)) and not _REGISTER.fullmatch(name)


def check_symbol(name: object) -> None:
    """Refuse what can be no such name."""
    if not isinstance(name, str) or not is_symbol(name):
        raise BpfMisuseError(f"{shown(name)} is no name", expected="a word that is no register")


def check_syntax(syntax: str, *, auto: bool = False) -> None:
    """Refuse the name of a syntax that does not exist."""
    allowed = ("auto", *SYNTAXES) if auto else SYNTAXES
    if not isinstance(syntax, str) or syntax not in allowed:
        raise BpfMisuseError(f"{shown(syntax)} is no syntax", where="syntax", expected=" or ".join(map(repr, allowed)))
