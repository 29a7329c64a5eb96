# SPDX-License-Identifier: Apache-2.0
"""A run of the readable interpreter: registers, frames, fuel, and the calls that lead to other code.

What each instruction does stands in `prestocloud_sec.bpf.vm.reference`. A `Trap` ends the run as a fault of the
instruction that raised it; a callback of a helper runs in a nested loop, and a trap in it keeps the instruction it came
from.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prestocloud_sec.bpf.helpers.ids import HelperId
from prestocloud_sec.bpf.helpers.numbers import fail, u32
from prestocloud_sec.bpf.isa import CallHelper, Exit, Imm
from prestocloud_sec.bpf.vm.fault import FaultKind
from prestocloud_sec.bpf.vm.layout import (
    FUNCTION_HANDLES,
    MAX_FRAMES,
    MAX_LOOPS,
    MAX_TAIL_CALLS,
    State,
    stack_top,
)
from prestocloud_sec.bpf.vm.machine import PORTION, Machine
from prestocloud_sec.bpf.vm.memory import Trap
from prestocloud_sec.bpf.vm.trace import Step, Trace

if TYPE_CHECKING:
    from prestocloud_sec.bpf.program import Program

__all__ = ["MASKS", "Run"]

_U64 = (1 << 64) - 1
MASKS = {32: (1 << 32) - 1, 64: _U64}
"""All bits of a number, by how many it has."""


@dataclass(slots=True)
class _Frame:
    """What a local call comes back to."""

    program: int
    index: int
    saved: list[int]


class Run:
    """One run: registers, frames, and what is left of the limits.

    Parameters
    ----------
    machine : Machine
        Started.
    steps : mapping
        For each class of instruction, the function of a run, an instruction and its index that carries it out and
        returns the index that follows.
    trace : Trace, optional
        What records every step.
    """

    def __init__(self, machine: Machine, steps: Mapping[type, Callable[..., int]], trace: Trace | None) -> None:
        self.steps = steps
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
        self.trap: Trap | None = None
        self.ends = False
        """Whether the running function ends with the instruction that is carried out, which is no exit."""

    def select(self, number: int) -> None:
        """Make a program of the machine the running one."""
        self.number = number
        self.program: Program = self.machine.programs[number]
        self.instructions = self.machine.runnable[number].instructions
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
                following = self.steps[type(instruction)](self, instruction, index)
            except Trap as trap:
                if self.blamed is None:
                    self.blamed, self.trap = index, trap
                    self.state[State.PROGRAM] = self.number
                    if self.trace is not None:
                        slot = self.program.slot_of(index)
                        self.trace.stopped = Step(index, self.number, len(self.frames), self.text(index), (), (), slot)
                raise
            over = False
            if self.ends:
                self.ends = False
                over = len(self.frames) == base
                if not over:
                    following = self.leave()
            if self.trace is not None:
                self.record(self.trace, index, before, place)
            if over:
                return self.registers[0]
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
        program = self.machine.programs[number]
        called = isinstance(self.machine.runnable[number].instructions[index], CallHelper)
        changed = tuple(
            (register, value)
            for register, (old, value) in enumerate(zip(before, self.registers, strict=True))
            if old != value or (called and register == 0)
        )
        text, touched = self.text(index, number), tuple(self.touched)
        trace.add(Step(index, number, depth, text, changed, touched, program.slot_of(index)), position)
        self.touched.clear()

    def text(self, index: int, number: int | None = None) -> str:
        """Return an instruction of a program as a trace shows it."""
        place = (self.number if number is None else number, index)
        found = self.texts.get(place)
        if found is None:
            from prestocloud_sec.bpf.disassembler import line_text

            found = self.texts[place] = line_text(self.machine.programs[place[0]], index)
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
        """Return the number of `size` bytes, little-endian, at an address."""
        data = self.memory.read(address & _U64, size)
        if self.trace is not None:
            self.touched.append(("read", address & _U64, size))
        return int.from_bytes(data, "little")

    def store(self, address: int, size: int, value: int) -> None:
        """Write the low `size` bytes of a number, little-endian, to an address."""
        self.memory.write(address & _U64, (value & (1 << 8 * size) - 1).to_bytes(size, "little"))
        if self.trace is not None:
            self.touched.append(("write", address & _U64, size))

    def operand(self, source: int | Imm, bits: int) -> int:
        """Return an operand as an unsigned number of `bits` bits."""
        value = source.value if isinstance(source, Imm) else self.registers[source]
        return value & MASKS[bits]

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

    def end_function(self, index: int) -> int:
        """Let the running function return 0 once the instruction `index` is carried out; return `index`.

        That is what a classic load does that finds nothing (Linux ``net/core/filter.c``, ``bpf_gen_ld_abs``).
        """
        self.registers[0] = 0
        self.ends = True
        return index

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
        """Call the helper with this number from `index`; return the next instruction."""
        special = _SPECIAL.get(number)
        if special is not None and not self.machine.overrides(number):
            return special(self, index)
        with self.machine.calling(lambda handle, arguments: self.callback(handle, arguments, index)):
            value = self.machine.run_helper(number, self.registers[1:6])
        if value is None:
            state = self.state
            kind = FaultKind(int(state[State.FAULT]))
            raise Trap(kind, int(state[State.FAULT_ADDRESS]) & _U64, int(state[State.FAULT_SIZE]) & _U64)
        if self.trap is not None:  # a callback's, and the helper caught it: the run is over nevertheless
            raise self.trap
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
        if flags or count > MAX_LOOPS:
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


_SPECIAL: dict[int, Callable[[Run, int], int]] = {
    HelperId.TAIL_CALL: Run.tail_call,
    HelperId.LOOP: Run.loop,
    HelperId.FOR_EACH_MAP_ELEM: Run.for_each,
}
