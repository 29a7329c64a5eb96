# SPDX-License-Identifier: Apache-2.0
"""Classic BPF: the filters of tcpdump, of packet sockets and of seccomp.

`ClassicProgram` is a program, from bytes, from what tcpdump prints, or from text (`assemble`). It is checked with the
kernel's rules, run over packets or system calls by a readable interpreter, and translated to eBPF, which the machines
of `prestocloud_sec.bpf` then run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestocloud_sec._lazy import lazy

if TYPE_CHECKING:
    from prestocloud_sec.bpf.classic.ancillary import Ancillary as Ancillary
    from prestocloud_sec.bpf.classic.assembler import assemble as assemble
    from prestocloud_sec.bpf.classic.disassembler import disassemble as disassemble
    from prestocloud_sec.bpf.classic.instructions import Alu as Alu
    from prestocloud_sec.bpf.classic.instructions import Branch as Branch
    from prestocloud_sec.bpf.classic.instructions import ClassicInstruction as ClassicInstruction
    from prestocloud_sec.bpf.classic.instructions import Condition as Condition
    from prestocloud_sec.bpf.classic.instructions import Copy as Copy
    from prestocloud_sec.bpf.classic.instructions import Jump as Jump
    from prestocloud_sec.bpf.classic.instructions import LoadConstant as LoadConstant
    from prestocloud_sec.bpf.classic.instructions import LoadHeaderLength as LoadHeaderLength
    from prestocloud_sec.bpf.classic.instructions import LoadLength as LoadLength
    from prestocloud_sec.bpf.classic.instructions import LoadMemory as LoadMemory
    from prestocloud_sec.bpf.classic.instructions import LoadPacket as LoadPacket
    from prestocloud_sec.bpf.classic.instructions import Negate as Negate
    from prestocloud_sec.bpf.classic.instructions import Operation as Operation
    from prestocloud_sec.bpf.classic.instructions import Register as Register
    from prestocloud_sec.bpf.classic.instructions import Return as Return
    from prestocloud_sec.bpf.classic.instructions import Store as Store
    from prestocloud_sec.bpf.classic.metadata import PacketMetadata as PacketMetadata
    from prestocloud_sec.bpf.classic.private import PrivateHelper as PrivateHelper
    from prestocloud_sec.bpf.classic.program import ClassicProgram as ClassicProgram
    from prestocloud_sec.bpf.classic.program import check as check
    from prestocloud_sec.bpf.classic.seccomp import SeccompAction as SeccompAction
    from prestocloud_sec.bpf.classic.seccomp import SeccompData as SeccompData
    from prestocloud_sec.bpf.classic.seccomp import decide as decide
    from prestocloud_sec.bpf.classic.seccomp import run_filters as run_filters

_HOMES: dict[str, str] = {
    "Alu": "instructions",
    "Ancillary": "ancillary",
    "Branch": "instructions",
    "ClassicInstruction": "instructions",
    "ClassicProgram": "program",
    "Condition": "instructions",
    "Copy": "instructions",
    "Jump": "instructions",
    "LoadConstant": "instructions",
    "LoadHeaderLength": "instructions",
    "LoadLength": "instructions",
    "LoadMemory": "instructions",
    "LoadPacket": "instructions",
    "Negate": "instructions",
    "Operation": "instructions",
    "PacketMetadata": "metadata",
    "PrivateHelper": "private",
    "Register": "instructions",
    "Return": "instructions",
    "SeccompAction": "seccomp",
    "SeccompData": "seccomp",
    "Store": "instructions",
    "assemble": "assembler",
    "check": "program",
    "decide": "seccomp",
    "disassemble": "disassembler",
    "run_filters": "seccomp",
}

__all__ = list(_HOMES)

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(__name__, _HOMES)
