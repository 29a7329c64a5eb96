# SPDX-License-Identifier: Apache-2.0
"""Verifiers of other times: what an older kernel had not learnt yet is refused first, the rest is judged as today.

``linux-4.11`` is the kernel that the PrEstoCloud deliverable describes: programs of at most 4096 instructions, no way
back (so no loops), no calls within a program, the helpers, kinds of maps and types of programs of that time, and the
instructions of ISA v1. What is judged after that, and how precisely numbers are known, is of Linux 6.18: a program that
this profile accepts keeps to the limits of the old one, though the old verifier may have known too little of it.

Sources: Linux 4.11, ``include/uapi/linux/bpf.h``, ``kernel/bpf/syscall.c`` (``bpf_prog_load``),
``kernel/bpf/verifier.c`` (``check_cfg``, ``do_check``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from prestocloud_sec.bpf.isa import (
    AddressSpaceCast,
    Alu,
    AluOp,
    Atomic,
    AtomicOp,
    Branch,
    BranchOp,
    CallHelper,
    CallKfunc,
    CallLocal,
    CallRegister,
    Extend,
    ImmKind,
    Instruction,
    Jump,
    Load,
    LoadAcquire,
    LoadImm64,
    MayGoto,
    StoreRelease,
    Swap,
    SwapKind,
)
from prestocloud_sec.bpf.program_type import ProgramType
from prestocloud_sec.bpf.verifier.environment import Environment
from prestocloud_sec.bpf.verifier.rejection import Rejected, Rule

__all__ = ["Profile", "restrict"]


class Profile(StrEnum):
    """Whose judgement is asked for."""

    KERNEL = "kernel"
    """Linux 6.18."""
    LINUX_4_11 = "linux-4.11"
    """What Linux 4.11 could be given."""


@dataclass(frozen=True, slots=True)
class _Limits:
    """What a kernel had.

    Attributes
    ----------
    instructions : int
        Units of eight bytes of the longest program.
    helpers : int
        The last one's number.
    maps : int
        The last kind's number.
    types : int
        The last type's number.
    """

    instructions: int
    helpers: int
    maps: int
    types: int


_LIMITS = {Profile.LINUX_4_11: _Limits(instructions=4096, helpers=45, maps=11, types=int(ProgramType.LWT_XMIT))}
_LATER_BRANCHES = frozenset({BranchOp.LT, BranchOp.LE, BranchOp.SLT, BranchOp.SLE})
_CALLS = "no calls within a program before Linux 4.16: every function but the first has to be inlined"

_LATER: dict[type[Instruction], Callable[[Any], str | None]] = {
    CallLocal: lambda _: _CALLS,
    CallRegister: lambda _: _CALLS,
    CallKfunc: lambda _: "no functions of the kernel before Linux 5.13",
    MayGoto: lambda _: "may_goto came with Linux 6.9",
    LoadAcquire: lambda _: "load_acquire came with Linux 6.15",
    StoreRelease: lambda _: "store_release came with Linux 6.15",
    AddressSpaceCast: lambda _: "arenas came with Linux 6.9",
    Extend: lambda _: "moves that extend the sign came with Linux 6.6",
    Swap: lambda i: "bswap came with Linux 6.6" if i.kind is SwapKind.BSWAP else None,
    Jump: lambda i: "gotol came with Linux 6.6" if i.wide else None,
    Load: lambda i: "loads that extend the sign came with Linux 6.6" if i.signed else None,
    Alu: lambda i: "signed division came with Linux 6.6" if i.op in (AluOp.SDIV, AluOp.SMOD) else None,
    Branch: lambda i: (
        "comparisons of 32 bits came with Linux 5.1"
        if i.bits == 32
        else "less-than comparisons came with Linux 4.14"
        if i.op in _LATER_BRANCHES
        else None
    ),
    Atomic: lambda i: (
        None if i.op is AtomicOp.ADD and not i.fetch else "atomic operations but addition came with Linux 5.12"
    ),
    LoadImm64: lambda i: (
        None
        if i.kind in (ImmKind.INTEGER, ImmKind.MAP_FD)
        else "64-bit loads of anything but numbers and maps came later"
    ),
}


def restrict(env: Environment, profile: Profile) -> None:
    """Refuse what an older kernel could not have been given.

    Raises
    ------
    Rejected
        With `Rejected.instruction` set where one is to blame.
    """
    limits = _LIMITS.get(profile)
    if limits is None:
        return
    slots = len(env.program)
    if slots > limits.instructions:
        raise Rejected(
            Rule.COMPLEXITY,
            f"a program of {slots} instructions",
            "E2BIG",
            hint=f"at most {limits.instructions} are allowed",
        )
    if env.type > limits.types:
        raise Rejected(Rule.TYPE, f"there is no type {env.type.name} in {profile}", "EINVAL")
    for index, instruction in enumerate(env.instructions):
        try:
            _check(env, limits, index, instruction)
        except Rejected as rejected:
            rejected.instruction = index
            raise


def _check(env: Environment, limits: _Limits, index: int, i: Instruction) -> None:
    later = _LATER.get(type(i))
    missing = later(i) if later is not None else None
    if missing is not None:
        raise Rejected(Rule.STRUCTURE, missing, "EINVAL")
    if isinstance(i, CallHelper) and i.number > limits.helpers:
        raise Rejected(Rule.HELPER, f"invalid func unknown#{i.number}", "EINVAL", hint="it came later")
    spec = env.maps.get(index)
    if spec is not None and spec.type > limits.maps:
        raise Rejected(Rule.MAP, f"there are no maps of kind {spec.type.name}", "EINVAL", hint="they came later")
    target = env.targets[index]
    if isinstance(i, Jump | Branch) and target is not None and target <= index:
        slot, back = env.program.slot_of(index), env.program.slot_of(target)
        raise Rejected(
            Rule.LOOP,
            f"back-edge from insn {slot} to {back}",
            "EINVAL",
            hint="write the loop out: nothing may lead back",
        )
