# SPDX-License-Identifier: Apache-2.0
"""Everything that decides what a program is compiled to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from prestocloud_sec.bpf.helpers.ids import HelperId
from prestocloud_sec.bpf.isa import (
    FRAME_POINTER,
    Alu,
    Atomic,
    CallHelper,
    CallLocal,
    CallRegister,
    Load,
    LoadAcquire,
    Store,
    StoreRelease,
)
from prestocloud_sec.bpf.program import Program
from prestocloud_sec.bpf.vm import layout
from prestocloud_sec.bpf.vm.compiler.lookups import MapFacts
from prestocloud_sec.bpf.vm.compiler.provenance import Kind, Origin

__all__ = ["WRITTEN_OUT", "Plan", "needs_rows"]

WRITTEN_OUT = (HelperId.TAIL_CALL, HelperId.LOOP, HelperId.FOR_EACH_MAP_ELEM)
"""Helpers that are written out wherever a user did not replace them."""


@dataclass(frozen=True)
class Plan:
    """Everything that decides what a program is compiled to.

    Attributes
    ----------
    program : Program
    origins : sequence
        Registers before each instruction, or None where they were not looked for; see `provenance`.
    loads : mapping of int to int
        What 64-bit loads of maps and functions give, by index.
    maps : mapping of int to MapFacts
        By number.
    functions : tuple of int
        Instructions that local functions begin with, sorted.
    native : frozenset of int
        Helpers that may be called without Python.
    foreign : frozenset of int
        Helpers that a user gave, which may call functions of the program.
    special : frozenset of int
        Of `WRITTEN_OUT`, those that a user did not replace.
    context : tuple of (int, bool)
        Size of the context, and whether it may be written; (0, False) if unknown.
    checks : bool
        Whether accesses are tested. Without, a program can touch anything: only for measuring what tests cost.
    facts : frozenset of int
        Instructions whose access was proved to lie in the region that `origins` says.
    tag : str
        Added to every name, so that one module can hold several programs.
    """

    program: Program
    origins: Sequence[Any]
    loads: dict[int, int]
    maps: dict[int, MapFacts]
    functions: tuple[int, ...]
    native: frozenset[int]
    foreign: frozenset[int]
    special: frozenset[int]
    context: tuple[int, bool]
    checks: bool = True
    facts: frozenset[int] = field(default_factory=frozenset)
    tag: str = ""


def needs_rows(plan: Plan) -> bool:
    """Whether anything but proved accesses can reach a stack frame: then frames must be in the region table."""
    for index, i in enumerate(plan.program.instructions):
        if type(i) is Alu:
            continue
        if isinstance(i, CallHelper | CallRegister | CallLocal):
            return True
        if isinstance(i, Load | Store | Atomic | LoadAcquire | StoreRelease):
            state = plan.origins[index] if plan.origins else None
            origin = state[i.base] if state is not None else Origin(Kind.UNKNOWN)
            if i.base == FRAME_POINTER:
                origin = Origin(Kind.FRAME, 0, 0)
            place = layout.FRAME_SIZE + (origin.offset or 0) + i.offset
            proved = origin.kind is Kind.FRAME and origin.offset is not None
            if not proved or not 0 <= place <= layout.FRAME_SIZE - i.size:
                return True
    return False
