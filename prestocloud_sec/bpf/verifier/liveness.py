# SPDX-License-Identifier: Apache-2.0
"""Which registers are read later: others need not be compared (Linux 6.18, ``compute_live_registers``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestocloud_sec.bpf.helpers.prototypes import Prototype, prototype
from prestocloud_sec.bpf.isa import (
    Alu,
    AluOp,
    Atomic,
    AtomicOp,
    Branch,
    CallHelper,
    CallLocal,
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
from prestocloud_sec.bpf.verifier.arguments import CHECKED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["live_before"]

_ALL = (1 << 10) - 1
_CLOBBERED = 0b11_1111


def _bit(register: object) -> int:
    return 1 << register if type(register) is int and register < 10 else 0


def _use_and_define(i: Instruction, helper: Callable[[int], Prototype | None]) -> tuple[int, int]:
    """Return the registers that an instruction reads, and those that it writes, as bits."""
    match i:
        case Alu(AluOp.MOV, _, dst, src):
            return _bit(src), _bit(dst)
        case Alu(_, _, dst, src):
            return _bit(dst) | _bit(src), _bit(dst)
        case Negate(_, dst) | Swap(_, _, dst):
            return _bit(dst), _bit(dst)
        case Extend(_, dst, src):
            return _bit(src), _bit(dst)
        case Load(_, _, dst, base) | LoadAcquire(_, dst, base):
            return _bit(base), _bit(dst)
        case LoadImm64(dst):
            return 0, _bit(dst)
        case Store(_, base, _, src) | StoreRelease(_, base, _, src):
            return _bit(base) | _bit(src), 0
        case Atomic(op, fetch, _, base, _, src):
            if op is AtomicOp.CMPXCHG:
                return _bit(base) | _bit(src) | 1, 1
            return _bit(base) | _bit(src), _bit(src) if fetch else 0
        case LegacyLoad():
            return _ALL, 0  # as the kernel sees it
        case Branch(_, _, dst, src):
            return _bit(dst) | _bit(src), 0
        case Exit():
            return 1, 0
        case CallHelper(number):
            found = helper(number)
            count = 5 if found is None else CHECKED.get(number, len(found.arguments))
            return ((1 << count) - 1) << 1, _CLOBBERED
        case CallLocal():
            return 0b11_1110, _CLOBBERED
        case _:
            return 0, 0


def live_before(
    instructions: Sequence[Instruction],
    targets: Sequence[int | None],
    helper: Callable[[int], Prototype | None] = prototype,
    parameters: Mapping[int, int] | None = None,
) -> list[int]:
    """Return, as bits, the registers that may be read before they are written, from before each instruction on.

    Parameters
    ----------
    instructions : sequence of Instruction
    targets : sequence of int or None
        Where each may jump to.
    helper : callable
        From the number of a helper to what it takes.
    parameters : mapping of int to int, optional
        How many registers calls of kernel functions take, by instruction.
    """
    count = len(instructions)
    sets = [_use_and_define(i, helper) for i in instructions]
    for index, taken in (parameters or {}).items():
        sets[index] = ((1 << taken) - 1) << 1, _CLOBBERED
    goes_on = [not isinstance(i, Exit | Jump) for i in instructions]
    jumps = [t if isinstance(i, Jump | Branch | MayGoto) else None for i, t in zip(instructions, targets, strict=True)]
    sources: dict[int, list[int]] = {}
    for index, target in enumerate(jumps):
        if target is not None:
            sources.setdefault(target, []).append(index)
    live = [0] * (count + 1)
    # Backwards once, then again only what comes before a change: a register becomes live at an instruction once.
    waiting = list(range(count))
    while waiting:
        index = waiting.pop()
        target = jumps[index]
        after = live[index + 1] if goes_on[index] else 0
        if target is not None:
            after |= live[target]
        use, define = sets[index]
        now = use | (after & ~define)
        if now != live[index]:
            live[index] = now
            waiting += sources.get(index, ())
            if index and goes_on[index - 1]:
                waiting.append(index - 1)
    return live[:count]
