# SPDX-License-Identifier: Apache-2.0
"""Where the functions of a program begin, besides the first: where something calls them or takes their address.

Source: Linux 6.18, ``kernel/bpf/verifier.c`` (``add_subprog_and_kfunc``).
"""

from __future__ import annotations

from prestocloud_sec.bpf.isa import CallLocal, ImmKind, LoadImm64
from prestocloud_sec.bpf.program import Program

__all__ = ["functions_of", "takes_address"]


def functions_of(program: Program) -> frozenset[int]:
    """Return the instructions that functions begin with: those that the program calls, or takes the address of.

    No register leads anywhere else: a handle of another instruction is no function.

    Raises
    ------
    JumpTargetError
        If some target is no instruction.
    """
    return frozenset(
        target
        for instruction, target in zip(program.instructions, program.targets, strict=True)
        if target is not None and isinstance(instruction, CallLocal | LoadImm64)
    )


def takes_address(program: Program) -> bool:
    """Whether a program takes the address of a function; Linux wants BTF of one that does."""
    return any(isinstance(i, LoadImm64) and i.kind is ImmKind.FUNCTION for i in program.instructions)
