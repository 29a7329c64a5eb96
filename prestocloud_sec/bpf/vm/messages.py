# SPDX-License-Identifier: Apache-2.0
"""Faults in words."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from prestocloud_sec.bpf.isa import CallHelper, CallRegister
from prestocloud_sec.bpf.program import Program
from prestocloud_sec.bpf.vm.fault import FaultKind
from prestocloud_sec.wire import shown

if TYPE_CHECKING:
    from prestocloud_sec.bpf.vm.memory import Memory

__all__ = ["fault_message"]

_VM = Path(__file__).parent
_CALLERS = {_VM / "machine.py", _VM.parent / "helpers" / "registry.py"}
"""What calls a helper: an exception from there says that it could not be called, or what it returned."""


def fault_message(
    kind: FaultKind,
    program: Program,
    index: int,
    address: int | None,
    size: int | None,
    memory: Memory,
    failure: BaseException | None,
    limit: int,
) -> str:
    """Return one sentence about a fault."""
    match kind:
        case FaultKind.READ | FaultKind.WRITE:
            at, count, writes = address or 0, size or 0, kind is FaultKind.WRITE
            told = f"{'write' if writes else 'read'} of {count} byte{'' if count == 1 else 's'} at {at:#x}"
            return f"{told}: {memory.explain(at, count, writes=writes)}"
        case FaultKind.LIMIT:
            return f"the limit of {limit} counted instructions is used up"
        case FaultKind.TIME:
            return "the time is up"
        case FaultKind.DEPTH:
            return "more than eight functions are active"
        case FaultKind.CALL:
            return "the call leads to no function of the program"
        case FaultKind.HELPER:
            return _helper_message(program, index, failure)
        case FaultKind.MAP:
            return "no such map" if failure is None else getattr(failure, "message", "") or "no such map"
        case FaultKind.ARGUMENT:
            return "a bad argument" if failure is None else getattr(failure, "message", "") or "a bad argument"


def _helper_message(program: Program, index: int, failure: BaseException | None) -> str:
    from prestocloud_sec.bpf.helpers.prototypes import prototype

    instruction = program.instructions[index]
    if isinstance(instruction, CallHelper):
        row = prototype(instruction.number)
        name = f"helper {instruction.number}" + (f" ({row.name})" if row is not None else "")
    elif index in program.symbols.kfuncs:
        name = f"kernel function {shown(program.symbols.kfuncs[index])}"
    else:
        name = "the helper in a register" if isinstance(instruction, CallRegister) else "a helper"
    if failure is not None:
        return f"{name} raised {_raised(failure)}"
    return f"{name} does not exist here; give it with helpers="


def _raised(failure: BaseException) -> str:
    """Return what a user's helper raised, and where in his file; not its text, which may tell a secret."""
    last = traceback.extract_tb(failure.__traceback__)[-1]
    if Path(last.filename) not in _CALLERS:
        return f"{type(failure).__name__} ({Path(last.filename).name}, line {last.lineno})"
    return f"{type(failure).__name__}; it is a function of r1 to r5 that returns an integer"
