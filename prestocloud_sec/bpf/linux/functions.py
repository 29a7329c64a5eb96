# SPDX-License-Identifier: Apache-2.0
"""The BTF that the kernel is given with a program: its own, or the least that the kernel wants.

Programs that hand functions to helpers are refused without any. What is made here says that each function is one, and
returns a number; it says nothing of arguments, so the verifier goes through the functions from their calls, as it does
without BTF.

Sources: Linux 6.18, ``Documentation/bpf/btf.rst`` (sections "BTF Type and String Encoding", "BPF_PROG_LOAD").
"""

from __future__ import annotations

import struct

from prestocloud_sec.bpf.errors import KernelError
from prestocloud_sec.bpf.isa import CallLocal, ImmKind, LoadImm64
from prestocloud_sec.bpf.linux.attr import Attr, Buffer, Command, make_buffer
from prestocloud_sec.bpf.linux.syscall import KernelObject, bpf
from prestocloud_sec.bpf.program import Program

__all__ = ["FUNCTION_RECORD", "KernelBtf", "describe_functions", "needs_btf"]

_MAGIC, _HEADER = 0xEB9F, 24
_INT, _FUNC, _FUNC_PROTO = 1 << 24, 12 << 24, 13 << 24
_SIGNED_32 = 1 << 24 | 32
_RECORD = struct.Struct("<II")
FUNCTION_RECORD = _RECORD.size
"""Bytes of an entry of the list of functions (``struct bpf_func_info``)."""


class KernelBtf(KernelObject):
    """Descriptions of types that the kernel has taken."""

    __slots__ = ()

    @classmethod
    def of(cls, data: bytes) -> KernelBtf:
        """Hand BTF to the kernel.

        Raises
        ------
        KernelError
            If the kernel refuses it.
        """
        descriptor = bpf(Command.BTF_LOAD, Attr(Command.BTF_LOAD, btf=make_buffer(data), btf_size=len(data)))
        if descriptor < 0:
            raise KernelError(-descriptor, "the kernel does not take these types", where="BTF")
        return cls(descriptor)


def needs_btf(program: Program) -> bool:
    """Whether a program has BTF of its own, or takes the address of a function."""
    return program.func_info is not None or any(
        isinstance(i, LoadImm64) and i.kind is ImmKind.FUNCTION for i in program.instructions
    )


def describe_functions(program: Program) -> tuple[KernelBtf, Buffer, int]:
    """Return types in the kernel, the list of functions that refers to them, and how many there are.

    Raises
    ------
    JumpTargetError
        If a call leads to no instruction.
    KernelError
        If the kernel refuses the types.
    """
    if program.func_info is not None:
        given = program.func_info
        return KernelBtf.of(given.btf.to_bytes()), make_buffer(given.records()), len(given.functions)
    entries = {0}
    for i, target in zip(program.instructions, program.targets, strict=True):
        refers = isinstance(i, CallLocal) or (isinstance(i, LoadImm64) and i.kind is ImmKind.FUNCTION)
        if refers and target is not None:
            entries.add(target)
    names = [f"f{number}" for number in range(len(entries))]
    strings = b"\0int\0" + b"".join(name.encode() + b"\0" for name in names)
    types = struct.pack("<IIII", 1, _INT, 4, _SIGNED_32) + struct.pack("<III", 0, _FUNC_PROTO, 1)
    place = 5
    for name in names:
        types += struct.pack("<III", place, _FUNC, 2)
        place += len(name) + 1
    header = struct.pack("<HBBIIIII", _MAGIC, 1, 0, _HEADER, 0, len(types), len(types), len(strings))
    records = [_RECORD.pack(program.slot_of(entry), 3 + number) for number, entry in enumerate(sorted(entries))]
    return KernelBtf.of(header + types + strings), make_buffer(b"".join(records)), len(records)
