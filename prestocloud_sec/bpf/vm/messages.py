# SPDX-License-Identifier: Apache-2.0
"""Faults in words."""

from __future__ import annotations

from prestocloud_sec.bpf.isa import CallHelper, CallRegister
from prestocloud_sec.bpf.program import Program
from prestocloud_sec.bpf.vm.fault import FaultKind

__all__ = ["fault_message"]


def fault_message(
    kind: FaultKind,
    program: Program,
    index: int,
    address: int | None,
    size: int | None,
    region: str | None,
    offset: int | None,
    failure: BaseException | None,
    limit: int,
) -> str:
    """Return one sentence about a fault."""
    match kind:
        case FaultKind.READ | FaultKind.WRITE:
            place = "memory that does not exist" if region is None else f"offset {offset} of the {region}"
            what = "read" if kind is FaultKind.READ else "write"
            return f"{what} of {size} bytes at {address:#x}: {place}, where that is not allowed"
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
    else:
        name = "the helper in a register" if isinstance(instruction, CallRegister) else "a helper"
    if failure is not None:
        return f"{name} raised {type(failure).__name__}"
    return f"{name} does not exist here; give it with helpers="
