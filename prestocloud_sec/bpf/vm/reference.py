# SPDX-License-Identifier: Apache-2.0
"""The readable interpreter: what every other engine must agree with.

It follows RFC 9669 instruction by instruction on Python integers. A register is an unsigned 64-bit number. Where the
RFC leaves something open, Linux decides; where Linux leaves it open (what r1 to r5 hold after a call), this machine
does: they are 0, frames begin as zeros, and a callee finds r0 and r6 to r9 as its caller left them.

Theory of operation
-------------------
`execute` runs a machine that `Machine.start` prepared. Each class of instruction has one function, which returns the
index of the next instruction. A `Trap` ends the run as a fault of the instruction that raised it; a callback of a
helper runs in a nested loop, and a trap in it keeps the instruction it came from. What instructions compute stands in
`prestocloud_sec.bpf.vm.arithmetic`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prestocloud_sec.bpf.helpers.numbers import fail, u32
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
    Imm,
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
from prestocloud_sec.bpf.vm.fault import FaultKind
from prestocloud_sec.bpf.vm.layout import (
    FUNCTION_HANDLES,
    MAX_FRAMES,
    MAX_TAIL_CALLS,
    MAY_GOTO_LOOPS,
    State,
    stack_top,
)
from prestocloud_sec.bpf.vm.machine import PORTION, Machine
from prestocloud_sec.bpf.vm.memory import Trap
from prestocloud_sec.bpf.vm.trace import Step, Trace, step_text

if TYPE_CHECKING:
    from prestocloud_sec.bpf.program import Program

__all__ = ["execute"]

_U32, _U64 = (1 << 32) - 1, (1 << 64) - 1
_MASKS = {32: _U32, 64: _U64}
_TAIL_CALL, _LOOP, _FOR_EACH = 12, 181, 164
_MOST_LOOPS = 8 * 1024 * 1024
_NETWORK, _LINK = -0x10_0000, -0x20_0000
"""``SKF_NET_OFF`` and ``SKF_LL_OFF`` (Linux ``include/uapi/linux/filter.h``)."""


class _Ended(BaseException):
    """A classic load found nothing: the whole program ends with 0, whatever helper is in between."""


@dataclass(slots=True)
class _Frame:
    """What a local call comes back to."""

    program: int
    index: int
    saved: list[int]


class _Run:
    """One run: registers, frames, and what is left of the limits."""

    def __init__(self, machine: Machine, trace: Trace | None) -> None:
        self.machine = machine
        self.memory = machine.memory
        self.trace = trace
        self.touched: list[tuple[str, int, int]] = []
        self.texts: dict[tuple[int, int], str] = {}
        state = machine.state
        self.state = state
        self.registers = [int(state[State.R0 + number]) & _U64 for number in range(11)]
        self.frames: list[_Frame] = []
        self.fuel, self.reserve = int(state[State.FUEL]), int(state[State.RESERVE])
        self.select(0)
        self.blamed: int | None = None

    def select(self, number: int) -> None:
        """Make a program of the machine the running one."""
        self.number = number
        self.program: Program = self.machine.programs[number]
        self.instructions = self.program.instructions
        self.targets = self.program.targets
        self.functions = self.machine.functions[number]
        self.state[State.PROGRAM] = number

    # --- The loop.

    def run(self, index: int, base: int = 0) -> int:
        """Run from an instruction until the frame at depth `base` returns; return r0.

        Raises
        ------
        Trap
            For a fault; `blamed` is the instruction.
        """
        while True:
            instruction = self.instructions[index]
            if isinstance(instruction, Exit) and len(self.frames) == base:
                if self.trace is not None:
                    self.record(self.trace, index, self.registers, (self.number, base, len(self.trace)))
                return self.registers[0]
            try:
                if self.trace is not None:
                    before = list(self.registers)
                    place = (self.number, len(self.frames), len(self.trace))
                following = _STEPS[type(instruction)](self, instruction, index)
            except Trap:
                if self.blamed is None:
                    self.blamed = index
                    self.state[State.PROGRAM] = self.number
                    if self.trace is not None:
                        self.trace.stopped = Step(index, self.number, len(self.frames), self.text(index), (), ())
                raise
            if self.trace is not None:
                self.record(self.trace, index, before, place)
            index = following

    def record(self, trace: Trace, index: int, before: Sequence[int], place: tuple[int, int, int]) -> None:
        """Record the instruction that was carried out; its place is its program, its depth and where it was begun.

        A helper's callbacks are over before the call is, and are told after it nevertheless.
        """
        if trace.full:
            trace.complete = False
            self.touched.clear()
            return
        number, depth, position = place
        called = isinstance(self.machine.programs[number].instructions[index], CallHelper)
        changed = tuple(
            (register, value)
            for register, (old, value) in enumerate(zip(before, self.registers, strict=True))
            if old != value or (called and register == 0)
        )
        trace.add(Step(index, number, depth, self.text(index, number), changed, tuple(self.touched)), position)
        self.touched.clear()

    def text(self, index: int, number: int | None = None) -> str:
        """Return an instruction of a program as a trace shows it."""
        place = (self.number if number is None else number, index)
        found = self.texts.get(place)
        if found is None:
            found = self.texts[place] = step_text(self.machine.programs[place[0]], index)
        return found

    def charge(self, cost: int) -> None:
        """Count instructions; trap where there are more than allowed."""
        while cost > self.fuel:
            if not self.reserve:
                raise Trap(FaultKind.LIMIT)
            if time.monotonic_ns() >= int(self.state[State.DEADLINE]):
                raise Trap(FaultKind.TIME)
            portion = min(self.reserve, PORTION)
            self.fuel, self.reserve = self.fuel + portion, self.reserve - portion
        self.fuel -= cost

    def jump(self, index: int) -> int:
        """Return where the jump at `index` leads, having paid for the way back."""
        target = self.targets[index]
        if target is None:  # no jump without a target is ever run: `check_runnable` asked for all
            raise Trap(FaultKind.CALL)
        if target <= index:
            self.charge(index - target + 1)
        return target

    # --- Memory.

    def load(self, address: int, size: int) -> int:
        data = self.memory.read(address & _U64, size)
        if self.trace is not None:
            self.touched.append(("read", address & _U64, size))
        return int.from_bytes(data, "little")

    def store(self, address: int, size: int, value: int) -> None:
        self.memory.write(address & _U64, (value & (1 << 8 * size) - 1).to_bytes(size, "little"))
        if self.trace is not None:
            self.touched.append(("write", address & _U64, size))

    def operand(self, source: int | Imm, bits: int) -> int:
        """Return an operand as an unsigned number of `bits` bits."""
        value = source.value if isinstance(source, Imm) else self.registers[source]
        return value & _MASKS[bits]

    def clobber(self) -> None:
        """Set r1 to r5 to 0, as every call leaves them."""
        self.registers[1:6] = [0] * 5

    # --- Calls.

    def enter(self, target: int, back: int) -> int:
        """Call a function of the running program."""
        if len(self.frames) + 1 >= MAX_FRAMES:
            raise Trap(FaultKind.DEPTH)
        self.charge(1)
        self.frames.append(_Frame(self.number, back, self.registers[6:10]))
        depth = len(self.frames)
        self.machine.enter_frame(depth)
        self.registers[10] = stack_top(depth)
        return target

    def leave(self) -> int:
        """Return from a function."""
        self.machine.leave_frame(len(self.frames))
        frame = self.frames.pop()
        self.registers[6:10] = frame.saved
        self.registers[10] = stack_top(len(self.frames))
        self.clobber()
        if frame.program != self.number:
            self.select(frame.program)
        return frame.index

    def callback(self, handle: int, arguments: Sequence[int], index: int) -> int:
        """Run a function of the program from within the helper call at `index`; return its r0."""
        function = handle ^ FUNCTION_HANDLES
        if function not in self.functions:
            raise Trap(FaultKind.CALL)
        self.enter(function, index)
        self.registers[1:6] = [*arguments, *[0] * (5 - len(arguments))]
        value = self.run(function, len(self.frames))
        self.leave()
        return value

    def helper(self, number: int, index: int) -> int:
        special = _SPECIAL.get(number)
        if special is not None and not self.machine.overrides(number):
            return special(self, index)
        with self.machine.calling(lambda handle, arguments: self.callback(handle, arguments, index)):
            value = self.machine.run_helper(number, self.registers[1:6])
        if value is None:
            state = self.state
            kind = FaultKind(int(state[State.FAULT]))
            raise Trap(kind, int(state[State.FAULT_ADDRESS]) & _U64, int(state[State.FAULT_SIZE]) & _U64)
        return self.give(value, index)

    def give(self, value: int, index: int) -> int:
        """Let the helper called at `index` return a value; return the next instruction."""
        self.registers[0] = value & _U64
        self.clobber()
        return index + 1

    def tail_call(self, index: int) -> int:
        """Go on in another program (Linux ``bpf_tail_call``); behind the call where there is none."""
        context, handle, slot = self.registers[1], self.registers[2], u32(self.registers[3])
        found = self.machine.map_of(handle)
        if not found.holds_programs:
            raise self.machine.wrong_map(found, "a program array")
        program = found.program_at(slot)
        if program is None or int(self.state[State.TAIL_CALLS]) >= MAX_TAIL_CALLS:
            return self.give(0, index)
        self.charge(1)
        self.state[State.TAIL_CALLS] += 1
        self.select(self.machine.program_number(program))
        self.machine.enter_frame(len(self.frames))
        self.registers[:] = [0] * 11
        self.registers[1], self.registers[10] = context, stack_top(len(self.frames))
        return 0

    def loop(self, index: int) -> int:
        """Call a function r1 times, or until it returns other than 0 (Linux ``kernel/bpf/bpf_iter.c``)."""
        count, callback, context, flags = self.registers[1:5]
        count = u32(count)
        if flags or count > _MOST_LOOPS:
            return self.give(fail("EINVAL" if flags else "E2BIG"), index)
        done = 0
        while done < count:
            done += 1
            if self.callback(callback, (done - 1, context), index):
                break
        return self.give(done, index)

    def for_each(self, index: int) -> int:
        """Call a function for every element of a map, or until it returns other than 0."""
        handle, callback, context, flags = self.registers[1:5]
        found = self.machine.map_of(handle)
        if not found.iterates:
            raise self.machine.wrong_map(found, "a map with elements to go through")
        if flags:
            return self.give(fail("EINVAL"), index)
        done = 0
        for key, value in list(self.machine.elements(found)):
            done += 1
            if self.callback(callback, (handle, key, value, context), index):
                break
        return self.give(done, index)


# --- One function for each class of instruction: what it does, and the index that follows.


def _alu(run: _Run, i: Alu, index: int) -> int:
    a, b = run.operand(i.dst, i.bits), run.operand(i.src, i.bits)
    run.registers[i.dst] = ALU[i.op](a, b, i.bits) & _MASKS[i.bits]
    return index + 1


def _negate(run: _Run, i: Negate, index: int) -> int:
    run.registers[i.dst] = -run.registers[i.dst] & _MASKS[i.bits]
    return index + 1


def _extend(run: _Run, i: Extend, index: int) -> int:
    run.registers[i.dst] = signed(run.registers[i.src], i.width) & _MASKS[i.bits]
    return index + 1


def _swap(run: _Run, i: Swap, index: int) -> int:
    size = i.width // 8
    low = run.registers[i.dst] & (1 << i.width) - 1
    order: Any = "little" if i.kind is SwapKind.LE else "big"
    run.registers[i.dst] = int.from_bytes(low.to_bytes(size, "little"), order)
    return index + 1


def _load(run: _Run, i: Load | LoadAcquire, index: int) -> int:
    value = run.load(run.registers[i.base] + i.offset, i.size)
    if isinstance(i, Load) and i.signed:
        value = signed(value, 8 * i.size) & _U64
    run.registers[i.dst] = value
    return index + 1


def _store(run: _Run, i: Store | StoreRelease, index: int) -> int:
    run.store(run.registers[i.base] + i.offset, i.size, run.operand(i.src, 64))
    return index + 1


def _atomic(run: _Run, i: Atomic, index: int) -> int:
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


def _load_imm64(run: _Run, i: LoadImm64, index: int) -> int:
    run.registers[i.dst] = run.machine.load_value(run.number, index) & _U64
    return index + 1


def _legacy_load(run: _Run, i: LegacyLoad, index: int) -> int:
    offset = signed(i.imm + (run.registers[i.src] if i.indirect else 0), 32)
    start: int | None = 0
    if offset < 0:
        start, offset = _negative(run.machine, offset)
    data = None if start is None else run.machine.packet_bytes(start + offset, i.size)
    if data is None:
        raise _Ended
    run.registers[0] = int.from_bytes(data, "big")
    run.clobber()
    return index + 1


def _negative(machine: Machine, offset: int) -> tuple[int | None, int]:
    """Return the header that a negative offset counts from, and the distance to it."""
    if offset >= _NETWORK:
        return machine.network_offset, offset - _NETWORK
    if offset >= _LINK:
        return machine.mac_offset, offset - _LINK
    return None, 0


def _jump(run: _Run, i: Jump, index: int) -> int:  # noqa: ARG001
    return run.jump(index)


def _branch(run: _Run, i: Branch, index: int) -> int:
    holds = COMPARE[i.op](run.operand(i.dst, i.bits), run.operand(i.src, i.bits), i.bits)
    return run.jump(index) if holds else index + 1


def _may_goto(run: _Run, i: MayGoto, index: int) -> int:  # noqa: ARG001
    passes = int(run.state[State.MAY_GOTO])
    if passes < MAY_GOTO_LOOPS:
        run.state[State.MAY_GOTO] = passes + 1
        return index + 1
    return run.jump(index)


def _call_helper(run: _Run, i: CallHelper, index: int) -> int:
    return run.helper(i.number, index)


def _call_local(run: _Run, i: CallLocal, index: int) -> int:  # noqa: ARG001
    target = run.targets[index]
    return run.enter(0 if target is None else target, index + 1)


def _call_register(run: _Run, i: CallRegister, index: int) -> int:
    value = run.registers[i.register]
    function = value ^ FUNCTION_HANDLES
    if function in run.functions:
        return run.enter(function, index + 1)
    return run.helper(value, index)


def _exit(run: _Run, i: Exit, index: int) -> int:  # noqa: ARG001
    return run.leave()


_STEPS: dict[type, Callable[..., int]] = {
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
_SPECIAL: dict[int, Callable[[_Run, int], int]] = {
    _TAIL_CALL: _Run.tail_call,
    _LOOP: _Run.loop,
    _FOR_EACH: _Run.for_each,
}


def execute(machine: Machine, trace: Trace | None = None) -> None:
    """Run a machine that was started; leave `State.RESULT`, or the words of a fault."""
    run = _Run(machine, trace)
    state = machine.state
    try:
        state[State.RESULT] = signed(run.run(0), 64)
    except _Ended:
        state[State.RESULT] = 0
    except Trap as trap:
        machine.leave_fault(trap)
        state[State.FAULT_INSTRUCTION] = -1 if run.blamed is None else run.blamed
    state[State.FUEL], state[State.RESERVE] = run.fuel, run.reserve
