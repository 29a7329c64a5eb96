# SPDX-License-Identifier: Apache-2.0
"""The readable interpreter: what every other engine must agree with.

It follows RFC 9669 instruction by instruction on Python integers. A register is an unsigned 64-bit number. Where the
RFC leaves something open, Linux decides; where Linux leaves it open (what r1 to r5 hold after a call), this machine
does: they are 0, frames begin as zeros, and a callee finds r0 and r6 to r9 as its caller left them.

Theory of operation
-------------------
`execute` runs a machine that `Machine.start` prepared. Each class of instruction has one function here, which returns
the index of the next instruction; `prestocloud_sec.bpf.vm.reference_run` goes from one to the next, and has the calls.
What instructions compute stands in `prestocloud_sec.bpf.vm.arithmetic`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
    SwapKind,
)
from prestocloud_sec.bpf.vm.arithmetic import ALU, ATOMIC, COMPARE, signed
from prestocloud_sec.bpf.vm.layout import FUNCTION_HANDLES, MAY_GOTO_LOOPS, SKF_LL_OFF, SKF_NET_OFF, State
from prestocloud_sec.bpf.vm.machine import Machine
from prestocloud_sec.bpf.vm.memory import Trap
from prestocloud_sec.bpf.vm.reference_run import MASKS, Run
from prestocloud_sec.bpf.vm.trace import Trace

__all__ = ["STEPS", "execute"]

_U64 = (1 << 64) - 1


# --- One function for each class of instruction: what it does, and the index that follows.


def _alu(run: Run, i: Alu, index: int) -> int:
    a, b = run.operand(i.dst, i.bits), run.operand(i.src, i.bits)
    run.registers[i.dst] = ALU[i.op](a, b, i.bits) & MASKS[i.bits]
    return index + 1


def _negate(run: Run, i: Negate, index: int) -> int:
    run.registers[i.dst] = -run.registers[i.dst] & MASKS[i.bits]
    return index + 1


def _extend(run: Run, i: Extend, index: int) -> int:
    run.registers[i.dst] = signed(run.registers[i.src], i.width) & MASKS[i.bits]
    return index + 1


def _swap(run: Run, i: Swap, index: int) -> int:
    size = i.width // 8
    low = run.registers[i.dst] & (1 << i.width) - 1
    order: Any = "little" if i.kind is SwapKind.LE else "big"
    run.registers[i.dst] = int.from_bytes(low.to_bytes(size, "little"), order)
    return index + 1


def _load(run: Run, i: Load | LoadAcquire, index: int) -> int:
    value = run.load(run.registers[i.base] + i.offset, i.size)
    if isinstance(i, Load) and i.signed:
        value = signed(value, 8 * i.size) & _U64
    run.registers[i.dst] = value
    return index + 1


def _store(run: Run, i: Store | StoreRelease, index: int) -> int:
    run.store(run.registers[i.base] + i.offset, i.size, run.operand(i.src, 64))
    return index + 1


def _atomic(run: Run, i: Atomic, index: int) -> int:
    address = (run.registers[i.base] + i.offset) & _U64
    run.memory.check_write(address, i.size)
    old = run.load(address, i.size)
    mask = (1 << 8 * i.size) - 1
    if i.op is AtomicOp.CMPXCHG:
        if old == run.registers[0] & mask:
            run.store(address, i.size, run.registers[i.src])
        run.registers[0] = old
        return index + 1
    run.store(address, i.size, ATOMIC[i.op](old, run.registers[i.src]))
    if i.fetch:
        run.registers[i.src] = old
    return index + 1


def _load_imm64(run: Run, i: LoadImm64, index: int) -> int:
    run.registers[i.dst] = run.machine.load_value(run.number, index) & _U64
    return index + 1


def _legacy_load(run: Run, i: LegacyLoad, index: int) -> int:
    offset = signed(i.imm + (run.registers[i.src] if i.indirect else 0), 32)
    start: int | None = 0
    if offset < 0:
        start, offset = _negative(run.machine, offset)
    data = None if start is None else run.machine.packet_bytes(start + offset, i.size)
    if data is None:
        return run.end_function(index)
    run.registers[0] = int.from_bytes(data, "big")
    run.clobber()
    return index + 1


def _negative(machine: Machine, offset: int) -> tuple[int | None, int]:
    """Return the header that a negative offset counts from, and the distance to it."""
    if offset >= SKF_NET_OFF:
        return machine.network_offset, offset - SKF_NET_OFF
    if offset >= SKF_LL_OFF:
        return machine.mac_offset, offset - SKF_LL_OFF
    return None, 0


def _jump(run: Run, i: Jump, index: int) -> int:  # noqa: ARG001
    return run.jump(index)


def _branch(run: Run, i: Branch, index: int) -> int:
    holds = COMPARE[i.op](run.operand(i.dst, i.bits), run.operand(i.src, i.bits), i.bits)
    return run.jump(index) if holds else index + 1


def _may_goto(run: Run, i: MayGoto, index: int) -> int:  # noqa: ARG001
    passes = int(run.state[State.MAY_GOTO])
    if passes < MAY_GOTO_LOOPS:
        run.state[State.MAY_GOTO] = passes + 1
        return index + 1
    return run.jump(index)


def _call_helper(run: Run, i: CallHelper, index: int) -> int:
    return run.helper(i.number, index)


def _call_local(run: Run, i: CallLocal, index: int) -> int:  # noqa: ARG001
    target = run.targets[index]
    return run.enter(0 if target is None else target, index + 1)


def _call_register(run: Run, i: CallRegister, index: int) -> int:
    value = run.registers[i.register]
    function = value ^ FUNCTION_HANDLES
    if function in run.functions:
        return run.enter(function, index + 1)
    return run.helper(value, index)


def _exit(run: Run, i: Exit, index: int) -> int:  # noqa: ARG001
    return run.leave()


STEPS: dict[type, Callable[..., int]] = {
    Alu: _alu,
    Negate: _negate,
    Extend: _extend,
    Swap: _swap,
    Load: _load,
    LoadAcquire: _load,
    Store: _store,
    StoreRelease: _store,
    Atomic: _atomic,
    LoadImm64: _load_imm64,
    LegacyLoad: _legacy_load,
    Jump: _jump,
    Branch: _branch,
    MayGoto: _may_goto,
    CallHelper: _call_helper,
    CallLocal: _call_local,
    CallRegister: _call_register,
    Exit: _exit,
}


def execute(machine: Machine, trace: Trace | None = None) -> None:
    """Run a machine that was started; leave `State.RESULT`, or the words of a fault."""
    run = Run(machine, STEPS, trace)
    state = machine.state
    try:
        state[State.RESULT] = signed(run.run(0), 64)
    except Trap as trap:
        machine.leave_fault(trap)
        state[State.FAULT_INSTRUCTION] = -1 if run.blamed is None else run.blamed
    state[State.FUEL], state[State.RESERVE] = run.fuel, run.reserve
