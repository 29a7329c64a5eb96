# SPDX-License-Identifier: Apache-2.0
"""The BTF that the kernel is given with a program: its own, or the least that the kernel wants.

Programs that hand functions to helpers are refused without any. What is made here says that each function is one, and
returns a number; it says nothing of arguments, so the verifier goes through the functions from their calls, as it does
without BTF.

Source: Linux 6.18, ``Documentation/bpf/btf.rst`` (section "BPF_PROG_LOAD").
"""

from __future__ import annotations

from prestocloud_sec.bpf.entries import functions_of, takes_address
from prestocloud_sec.bpf.errors import KernelError
from prestocloud_sec.bpf.linux.attr import Attr, Buffer, Command, make_buffer
from prestocloud_sec.bpf.linux.syscall import KernelObject, bpf
from prestocloud_sec.bpf.object import BtfBuilder, Encoding, FuncInfo, Linkage
from prestocloud_sec.bpf.program import Program

__all__ = ["KernelBtf", "describe_functions", "needs_btf"]


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
    return program.func_info is not None or takes_address(program)


def describe_functions(program: Program) -> tuple[KernelBtf, Buffer, int]:
    """Return types in the kernel, the list of functions that refers to them, and how many there are.

    Raises
    ------
    JumpTargetError
        If a call leads to no instruction.
    KernelError
        If the kernel refuses the types.
    """
    told = program.func_info if program.func_info is not None else _least(program)
    return KernelBtf.of(told.btf.to_bytes()), make_buffer(told.records()), len(told.functions)


def _least(program: Program) -> FuncInfo:
    """Return what says no more than where functions begin, and that each returns a number."""
    types = BtfBuilder()
    prototype = types.prototype(types.int_("int", 4, encoding=Encoding.SIGNED))
    functions = {
        program.slot_of(entry): types.function(f"f{number}", prototype, Linkage.STATIC)
        for number, entry in enumerate(sorted({0} | functions_of(program)))
    }
    return FuncInfo(types.build(), functions)
