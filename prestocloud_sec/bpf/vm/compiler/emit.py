# SPDX-License-Identifier: Apache-2.0
"""From programs to LLVM IR: one LLVM function for each program, and one for each local function it has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prestocloud_sec.bpf.helpers.ids import HelperId
from prestocloud_sec.bpf.isa import (
    Alu,
    Atomic,
    AtomicOp,
    Branch,
    CallHelper,
    CallLocal,
    CallRegister,
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
from prestocloud_sec.bpf.vm.compiler import access, arithmetic, calls, classic, flow, helpers
from prestocloud_sec.bpf.vm.compiler.function import Function
from prestocloud_sec.bpf.vm.compiler.lookups import KEY_SIZES, bucket_search
from prestocloud_sec.bpf.vm.compiler.packetloop import Begin, loop_text
from prestocloud_sec.bpf.vm.compiler.plan import Plan, needs_rows
from prestocloud_sec.bpf.vm.compiler.runtime import atomics, runtime, state_word
from prestocloud_sec.bpf.vm.context import LINK_LAYER_TYPES, ContextKind
from prestocloud_sec.bpf.vm.layout import State

__all__ = ["module_text"]

_EMITTERS: dict[type, Callable[[Function, Any], None]] = {
    Alu: arithmetic.alu,
    Negate: arithmetic.negate,
    Extend: arithmetic.extend,
    Swap: arithmetic.swap,
    Load: access.load,
    LoadAcquire: access.load_acquire,
    Store: access.store,
    StoreRelease: access.store,
    Atomic: access.atomic,
    LoadImm64: access.load_imm64,
    LegacyLoad: classic.legacy_load,
    Jump: flow.jump,
    Branch: flow.branch,
    MayGoto: flow.may_goto,
    CallHelper: helpers.call_helper,
    CallLocal: calls.call_local,
    CallRegister: helpers.call_register,
    Exit: flow.exit_,
}


def _emit(f: Function, instruction: Instruction) -> None:
    _EMITTERS[type(instruction)](f, instruction)


def _callback(plan: Plan) -> str:
    """Return the function through which helpers in Python call functions of the program."""
    arguments = ", ".join(f"i64 %a{number}" for number in range(1, 6))
    head = f"define i64 @callback{plan.tag}(ptr %state, i64 %depth, i64 %function, {arguments}) nounwind {{\n"
    loads = [
        state_word(f"p{number}", State.R0 + number) + f"  %a{number} = load i64, ptr %p{number}, align 8\n"
        for number in (0, *range(6, 10))
    ]
    given = ", ".join(f"i64 %a{number}" for number in range(10))
    table = " ".join(f"i64 {entry}, label %c{entry}" for entry in plan.functions)
    choice = f"  switch i64 %function, label %none [ {table} ]\nnone:\n  ret i64 0\n"
    cases = [
        f"c{entry}:\n  %v{entry} = call i64 @f{entry}{plan.tag}(ptr %state, i64 %depth, {given})\n  ret i64 %v{entry}\n"
        for entry in plan.functions
    ]
    return "".join([head, *loads, choice, *cases, "}\n"])


def _native_numbers(plan: Plan) -> set[int]:
    return {i.number for i in plan.program.instructions if isinstance(i, CallHelper)}


def _packet_loop(plan: Plan, kind: ContextKind, used: set[tuple[AtomicOp, int]]) -> str:
    """Return the program written into a loop over packets."""
    rows = needs_rows(plan)
    body = Function(plan, 0, main=True, rows=rows, emit=_emit, atomics_used=used, body=True)
    text = body.text()
    helpers = _native_numbers(plan)
    calls = any(isinstance(i, CallHelper | CallLocal | LegacyLoad) for i in plan.program.instructions)
    begin = Begin(
        kind=kind,
        link_layer=plan.program.type in LINK_LAYER_TYPES,
        raw=plan.program.type is None,
        regions=rows,
        words=calls,
        fuel=body.counts or calls,
        random=HelperId.GET_PRANDOM_U32 in helpers,
        redirects=HelperId.REDIRECT in helpers,
    )
    return text + loop_text(begin)


def module_text(*plans: Plan, loop: ContextKind | None = None) -> str:
    """Return the LLVM IR of programs: of each ``i64 main(ptr state, i64 depth, i64 r1, i64 r2)`` and what it needs.

    With `loop`, the kind of the context of the only program, there is its `packetloop` besides.
    """
    used: set[tuple[AtomicOp, int]] = set()
    bodies: list[str] = []
    for plan in plans:
        rows = needs_rows(plan)
        functions = [Function(plan, 0, main=True, rows=rows, emit=_emit, atomics_used=used)]
        functions += [
            Function(plan, entry, main=False, rows=rows, emit=_emit, atomics_used=used) for entry in plan.functions
        ]
        bodies += [function.text() for function in functions]
        bodies.append(_callback(plan))
        if loop is not None:
            bodies.append(_packet_loop(plan, loop, used))
    weights = '!0 = !{!"branch_weights", i32 1, i32 100000}\n!1 = !{!"branch_weights", i32 100000, i32 1}\n'
    searches = "".join(
        bucket_search(size) for size in KEY_SIZES if any(f.key == size for p in plans for f in p.maps.values())
    )
    return runtime() + atomics(used) + searches + "".join(bodies) + weights
