# SPDX-License-Identifier: Apache-2.0
"""What no engine will begin to run: programs refused as a whole, before their first instruction."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from prestocloud_sec.bpf.cfg import ControlFlowGraph
from prestocloud_sec.bpf.errors import DecodeError, ProgramError
from prestocloud_sec.bpf.isa import (
    FRAME_POINTER,
    AddressSpaceCast,
    Alu,
    Atomic,
    AtomicOp,
    CallHelper,
    CallKfunc,
    Exit,
    Extend,
    ImmKind,
    Instruction,
    Jump,
    Load,
    LoadAcquire,
    LoadImm64,
    Negate,
    Swap,
)
from prestocloud_sec.bpf.program import Program
from prestocloud_sec.wire import shown

__all__ = ["as_run", "check_runnable"]

_MOST_NAMED = 16
"""Kernel functions that an error lists."""
_WRITES = (Alu, Negate, Extend, Swap, Load, LoadAcquire, LoadImm64)


def _written(instruction: Instruction) -> int | None:
    """Return the register that an instruction names and writes, or None."""
    if isinstance(instruction, _WRITES):
        return instruction.dst
    if isinstance(instruction, Atomic) and instruction.fetch and instruction.op is not AtomicOp.CMPXCHG:
        return instruction.src
    return None


def _foreign(instruction: Instruction) -> str | None:
    """Return what an instruction needs that only a kernel has, or None."""
    match instruction:
        case AddressSpaceCast():
            return "arenas"
        case LoadImm64(kind=ImmKind.BTF_VARIABLE):
            return "kernel variables"
        case _:
            return None


def _runs_off(program: Program) -> bool:
    """Whether the end of the program can be run into; what nothing reaches does not count."""
    if isinstance(program.instructions[-1], Exit | Jump):
        return False
    graph = ControlFlowGraph(program)
    return any(number in graph.reachable for number in graph.falls_off)


def _check_kfunc(program: Program, index: int, kfuncs: Mapping[str, int]) -> None:
    """Refuse the call of a kernel function that has no name, or one that nothing here stands for."""
    name = program.symbols.kfuncs.get(index)
    if name in kfuncs:
        return
    raise DecodeError(
        "it calls a kernel function by number" if name is None else f"there is no kernel function {shown(name)} here",
        instruction=program.slot_of(index),
        expected="one of " + ", ".join(map(shown, itertools.islice(kfuncs, _MOST_NAMED))),
        hint="only the kernel that it was made for knows the number"
        if name is None
        else f"helpers={{{shown(name)}: function}} gives it, if the program that runs begin with calls it, too",
    )


def check_runnable(program: Program, kfuncs: Mapping[str, int]) -> None:
    """Refuse a program that cannot be run.

    Parameters
    ----------
    program : Program
        What to look at.
    kfuncs : mapping
        The kernel functions that may be called by name.

    Raises
    ------
    JumpTargetError
        If a jump or call leads outside the program, or into the second half of a 64-bit load.
    DecodeError
        If an instruction writes r10, or needs what only a kernel has, a kernel function without a name among it.
    ProgramError
        If the program is empty, or its end can be run into.
    """
    if not program.instructions:
        raise ProgramError("no instructions", where="program", expected="at least an exit")
    for index, instruction in enumerate(program.instructions):
        if _written(instruction) == FRAME_POINTER:
            raise DecodeError(
                "it writes r10",
                instruction=program.slot_of(index),
                expected="r0 to r9",
                hint="r10 only points at the frame",
            )
        if isinstance(instruction, CallKfunc):
            _check_kfunc(program, index, kfuncs)
        foreign = _foreign(instruction)
        if foreign is not None:
            raise DecodeError(
                f"it needs {foreign}", instruction=program.slot_of(index), hint="only a kernel can run this program"
            )
    _ = program.targets
    if _runs_off(program):
        raise ProgramError(
            "the program can run on behind its last instruction",
            where=f"instruction {program.slot_of(len(program.instructions) - 1)}",
            expected="an exit or a jump as the last instruction",
        )


def as_run(program: Program, kfuncs: Mapping[str, int]) -> Program:
    """Return a program with calls of helpers in the place of those of kernel functions; itself if it has none.

    Parameters
    ----------
    program : Program
        One that `check_runnable` lets pass.
    kfuncs : mapping
        The number of the helper for each name.
    """
    if not program.symbols.kfuncs:
        return program
    instructions = list(program.instructions)
    for index, name in program.symbols.kfuncs.items():
        instructions[index] = CallHelper(kfuncs[name])
    return Program(instructions, type=program.type, name=program.name, license=program.license)
