# SPDX-License-Identifier: Apache-2.0
"""Where all turns of a short loop read and write the packet, so that one test before them stands for theirs.

A register that points into the packet, and that the loop moves by constants alone, stays within a span around where it
was before the first turn. If all of the span lies in the packet, so does every access through it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from prestocloud_sec.bpf.isa import (
    Alu,
    AluOp,
    Atomic,
    AtomicOp,
    Extend,
    Imm,
    Instruction,
    Load,
    LoadAcquire,
    LoadImm64,
    Negate,
    Store,
    StoreRelease,
    Swap,
)
from prestocloud_sec.bpf.vm.compiler.loops import ShortLoop
from prestocloud_sec.bpf.vm.compiler.provenance import Kind, State

__all__ = ["Span", "spans"]

_LONGEST = 1 << 15


class Span(NamedTuple):
    """What lies between the lowest and the highest byte that all turns touch through a register.

    Attributes
    ----------
    register : int
    low, size : int
        Where it begins, from where the register points before the first turn, and its bytes.
    accesses : frozenset of int
        The instructions that it is of.
    """

    register: int
    low: int
    size: int
    accesses: frozenset[int]


def spans(instructions: Sequence[Instruction], origins: Sequence[State | None], loop: ShortLoop) -> tuple[Span, ...]:
    """Return the spans of a loop, by register.

    Parameters
    ----------
    instructions : sequence of Instruction
    origins : sequence
        What registers hold before each, as `provenance` guesses; a wrong guess costs time and nothing else.
    loop : ShortLoop
    """
    inside = range(loop.head, loop.last + 1)
    back, on = [0] * 10, [0] * 10
    written: set[int] = set()
    for index in inside:
        i = instructions[index]
        if isinstance(i, Alu) and i.bits == 64 and i.op in (AluOp.ADD, AluOp.SUB) and isinstance(i.src, Imm):
            moved = i.src.value if i.op is AluOp.ADD else -i.src.value
            if moved < 0:
                back[i.dst] += moved
            else:
                on[i.dst] += moved
        else:
            written |= _written(i)
    found = []
    for register in range(10):
        reached = [index for index in inside if _base(instructions[index]) == register]
        if register in written or not reached or not all(_in_packet(origins[index], register) for index in reached):
            continue
        low = min(instructions[index].offset for index in reached)  # type: ignore[union-attr]
        high = max(instructions[index].offset + instructions[index].size for index in reached)  # type: ignore[union-attr]
        low, high = low + loop.turns * back[register], high + loop.turns * on[register]
        if high - low <= _LONGEST:
            found.append(Span(register, low, high - low, frozenset(reached)))
    return tuple(found)


def _base(i: Instruction) -> int | None:
    return i.base if isinstance(i, Load | LoadAcquire | Store | StoreRelease | Atomic) else None


def _in_packet(state: State | None, register: int) -> bool:
    return state is not None and state[register].kind is Kind.PACKET


def _written(i: Instruction) -> set[int]:
    """Return the registers that an instruction of a short loop writes."""
    if isinstance(i, Alu | Negate | Extend | Swap | Load | LoadAcquire | LoadImm64):
        return {i.dst}
    if isinstance(i, Atomic):
        return {0} if i.op is AtomicOp.CMPXCHG else {i.src} if i.fetch else set()
    return set()
