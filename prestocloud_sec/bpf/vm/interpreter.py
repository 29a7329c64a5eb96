# SPDX-License-Identifier: Apache-2.0
"""The fast interpreter's Python side: makes a machine's desk, and does what its kernel leaves to Python.

The kernel (`prestocloud_sec.bpf.vm.interpreter_kernel`) is compiled once and runs any program; here programs become
rows, helpers written in Python are called, time is looked at, and program arrays and the elements of maps are written
down for the kernel to read.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from prestocloud_sec.bpf.helpers.native import NATIVE, NATIVE_PLACES, native_address, native_place
from prestocloud_sec.bpf.isa import CallHelper, ImmKind, LoadImm64
from prestocloud_sec.bpf.vm import layout
from prestocloud_sec.bpf.vm.decoded import Decoded, decode
from prestocloud_sec.bpf.vm.fault import FaultKind
from prestocloud_sec.bpf.vm.interpreter_layout import (
    DESK_WORDS,
    FOR_EACH,
    FRAME_WORDS,
    LOOP,
    NESTED,
    OURS,
    TAIL_CALL,
    Desk,
    Frame,
    Status,
)
from prestocloud_sec.bpf.vm.layout import FUNCTION_HANDLES, MAX_FRAMES, State
from prestocloud_sec.bpf.vm.machine import PORTION, Machine
from prestocloud_sec.bpf.vm.memory import Trap
from prestocloud_sec.bpf.words import signed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from prestocloud_sec.bpf.program import Program

__all__ = ["Interpreter", "execute", "interpreter_of"]

_U32, _U64 = (1 << 32) - 1, (1 << 64) - 1
_R0, _HELPER, _RESUME = int(State.R0), int(State.HELPER), int(State.RESUME)
_ARGUMENTS = slice(_R0 + 1, _R0 + 6)
_ELEMENTS_AT, _TAIL = int(Desk.ELEMENTS_AT), int(Desk.TAIL)
_PLACES = 1 << 12
"""Places of a program array that are written down for the kernel."""


@lru_cache(maxsize=128)
def _rows(program: Program, loads: tuple[tuple[int, int], ...]) -> Decoded:
    """Return a program's rows, for what its loads of maps give, by index."""
    return decode(program, dict(loads).__getitem__)


class Interpreter:
    """What the interpreter keeps for a machine.

    Attributes
    ----------
    desk : ndarray of int64
        See `prestocloud_sec.bpf.vm.interpreter_layout`.
    state_at, desk_at : int
        Addresses of the machine's state and of the desk, which is what the kernel is called with.
    """

    def __init__(self, machine: Machine) -> None:
        self.desk: NDArray[np.int64] = np.zeros(DESK_WORDS, np.int64)
        self._native: NDArray[np.int64] = np.zeros(NATIVE_PLACES, np.int64)
        self._tails: NDArray[np.int64] = np.zeros(layout.MAX_MAPS, np.int64)
        self._words, self._desk = machine.state.data, self.desk.data
        self.state_at, self.desk_at = machine.state.ctypes.data, self.desk.ctypes.data
        self._generation = -1
        self._arrays: list[tuple[Any, int]] = []
        self._decoded: list[Decoded] = []
        self._kept: tuple[Any, ...] = ()
        self._elements: list[Any] = [None] * (MAX_FRAMES + 1)
        self._blamed = False
        from prestocloud_sec.bpf.vm.interpreter_kernel import interpret

        self._interpret = interpret
        for number in (TAIL_CALL, LOOP, FOR_EACH):
            self._native[number] = 0 if machine.overrides(number) else OURS
        self.desk[Desk.NATIVE_AT] = self._native.ctypes.data
        self.desk[Desk.TAILS_AT] = self._tails.ctypes.data

    def refresh(self, machine: Machine) -> None:
        """Take over what has changed of the machine's programs and program arrays; precedes every use of the kernel."""
        if machine.generation == self._generation:
            for array, generation in self._arrays:
                if array.generation != generation:
                    break
            else:
                return
        tables = [self._table(machine, number) for number in range(len(machine.maps))]
        self._tails[: len(tables)] = [0 if table is None else table.ctypes.data for table in tables]
        for number in range(len(self._decoded), len(machine.programs)):  # rows that frames return to never move
            self._decoded.append(_rows(machine.runnable[number], _loads(machine, number)))
        functions = [_flags(machine, number) for number in range(len(self._decoded))]
        programs = np.array(
            [(d.rows.ctypes.data, d.count, f.ctypes.data) for d, f in zip(self._decoded, functions, strict=True)],
            np.int64,
        )
        self.desk[Desk.PROGRAMS_AT], self.desk[Desk.PROGRAM_COUNT] = programs.ctypes.data, len(programs)
        self._kept = (tables, programs, functions)
        self._arrays = [(found, found.generation) for found in machine.maps if found.holds_programs]
        self._generation = machine.generation

    def _table(self, machine: Machine, number: int) -> NDArray[np.int64] | None:
        """Return how many of a program array's places are written down, and the number of the program in each."""
        found = machine.maps[number]
        if not found.holds_programs:
            return None
        entries = map(found.program_at, range(min(found.max_entries, _PLACES)))
        numbers = [-1 if program is None else machine.program_number(program) for program in entries]
        return np.array([len(numbers), *numbers], np.int64)

    def run(self, machine: Machine) -> None:
        """Run a machine that was started; leave `State.RESULT`, or the words of a fault."""
        self.refresh(machine)
        self._blamed = False
        self._go(machine)

    def resume(self, machine: Machine, status: int) -> None:
        """Do what a kernel paused for that was not called by `run`, and take the run to its end.

        Parameters
        ----------
        machine : Machine
            The machine, whose state is as the kernel left it.
        status : int
            What the kernel returned, a `Status` other than ``DONE``.
        """
        self._blamed = False
        if _ANSWERS[status](self, machine):
            self._go(machine)

    def _go(self, machine: Machine) -> None:
        """Run from where the state says until the run is over, or a callback of a helper in Python has returned."""
        interpret, state_at, desk_at = self._interpret, self.state_at, self.desk_at
        while True:
            status: int = interpret(state_at, desk_at)
            answer = _ANSWERS.get(status)
            if answer is None or not answer(self, machine):
                return

    # --- What the kernel asks for. Each returns whether the program goes on.

    def _fault(self, machine: Machine, trap: Trap, index: int) -> bool:
        self._desk[_ELEMENTS_AT] = self._desk[_TAIL] = 0
        machine.leave_fault(trap)
        self._words[State.FAULT_INSTRUCTION] = index
        return False

    def _help(self, machine: Machine) -> bool:
        """Run a helper in Python, or find the native one, which is called from then on."""
        words = self._words
        number, index = words[_HELPER], words[_RESUME] - 1
        if number in NATIVE and not self._native[native_place(number)] and not machine.overrides(number):
            self._native[native_place(number)] = native_address(number)
            words[_RESUME] = index
            return True
        if number < 0:  # a number in an instruction is signed, one in a register is not
            instruction = machine.runnable[words[State.PROGRAM]].instructions[index]
            number = number if isinstance(instruction, CallHelper) else number & _U64
        registers = [word & _U64 for word in words[_ARGUMENTS]]
        with machine.calling(lambda handle, arguments: self._call(machine, handle, arguments)):
            value = machine.run_helper(number, registers)
        if value is None or words[State.FAULT]:
            if not self._blamed:
                words[State.FAULT_INSTRUCTION] = index
            return False
        words[_R0] = signed(value)
        machine.state[_ARGUMENTS] = 0
        self.refresh(machine)
        return True

    def _refuel(self, machine: Machine) -> bool:
        """Hand out the next portion of fuel, if there is time."""
        words = self._words
        try:
            self._portion()
        except Trap as trap:
            words[State.PROGRAM] = self.desk[Desk.BLAMED_PROGRAM]
            return self._fault(machine, trap, int(self.desk[Desk.BLAMED]))
        return True

    def _portion(self) -> None:
        words = self._words
        reserve = words[State.RESERVE]
        if not reserve:
            raise Trap(FaultKind.LIMIT)
        if time.monotonic_ns() >= words[State.DEADLINE]:
            raise Trap(FaultKind.TIME)
        portion = min(reserve, PORTION)
        words[State.FUEL] += portion
        words[State.RESERVE] = reserve - portion

    def _place_of(self, machine: Machine) -> bool:
        """Say what a place of a program array holds that is not written down; a fault if there is no such array."""
        words = self._words
        try:
            found = machine.map_of(words[_R0 + 2] & _U64)
            if not found.holds_programs:
                raise machine.wrong_map(found, "a program array")
        except Trap as trap:
            return self._fault(machine, trap, words[_RESUME])
        program = found.program_at(words[_R0 + 3] & _U32)
        self._desk[_TAIL] = -1 if program is None else machine.program_number(program) + 1
        self.refresh(machine)
        return True

    def _elements_of(self, machine: Machine) -> bool:
        """Write down the elements of a map; a fault if the call names none that has such."""
        words = self._words
        try:
            found = machine.map_of(words[_R0 + 1] & _U64)
            if not found.iterates:
                raise machine.wrong_map(found, "a map with elements to go through")
            elements = [] if words[_R0 + 4] else list(machine.elements(found))
        except Trap as trap:
            return self._fault(machine, trap, words[_RESUME])
        table = np.array([*elements, (0, 0)], np.uint64)
        self._elements[words[State.DEPTH] + 1] = table
        self.desk[Desk.ELEMENTS_AT], self.desk[Desk.ELEMENTS] = table.ctypes.data, len(elements)
        self.refresh(machine)
        return True

    # --- What helpers in Python ask for.

    def _call(self, machine: Machine, handle: int, arguments: Sequence[int]) -> int:
        """Run a function of the program for the helper that runs now; return its r0."""
        words = self._words
        depth, resume, program = words[State.DEPTH] + 1, words[_RESUME], words[State.PROGRAM]
        function = handle ^ FUNCTION_HANDLES
        if function not in machine.functions[program]:
            raise Trap(FaultKind.CALL)
        if depth >= MAX_FRAMES:
            raise Trap(FaultKind.DEPTH)
        while words[State.FUEL] < 1:
            self._portion()
        words[State.FUEL] -= 1
        machine.enter_frame(depth)
        record = Desk.FRAMES + depth * FRAME_WORDS
        self.desk[record + Frame.KIND], self.desk[record + Frame.PROGRAM] = NESTED, program
        self.desk[record + Frame.RETURN_AT] = 0
        self.desk[record + Frame.R6 : record + Frame.R6 + 4] = machine.state[_R0 + 6 : _R0 + 10]
        given = [*arguments, 0, 0, 0, 0, 0][:5]
        machine.state[_ARGUMENTS] = [signed(argument) for argument in given]
        words[State.DEPTH], words[_RESUME] = depth, function
        self._go(machine)
        if words[State.FAULT]:
            self._blamed = True
            address, size = words[State.FAULT_ADDRESS] & _U64, words[State.FAULT_SIZE] & _U64
            raise Trap(FaultKind(words[State.FAULT]), address, size)
        words[_RESUME] = resume
        return words[_R0] & _U64


def _flags(machine: Machine, number: int) -> NDArray[np.uint8]:
    """Return a byte for each instruction of a program: 1 where a function begins."""
    flags = np.zeros(len(machine.programs[number].instructions), np.uint8)
    flags[list(machine.functions[number])] = 1
    return flags


def _loads(machine: Machine, number: int) -> tuple[tuple[int, int], ...]:
    """Return the indexes of a program's 64-bit loads that mean something of the machine, and what they give."""
    return tuple(
        (index, machine.load_value(number, index))
        for index, instruction in enumerate(machine.programs[number].instructions)
        if isinstance(instruction, LoadImm64) and instruction.kind is not ImmKind.INTEGER
    )


_ANSWERS: dict[int, Callable[[Interpreter, Machine], bool]] = {
    Status.HELPER: Interpreter._help,
    Status.FUEL: Interpreter._refuel,
    Status.TAIL_CALL: Interpreter._place_of,
    Status.ITERATE: Interpreter._elements_of,
}
_INTERPRETERS: weakref.WeakKeyDictionary[Machine, Interpreter] = weakref.WeakKeyDictionary()


def interpreter_of(machine: Machine) -> Interpreter:
    """Return the machine's interpreter, made at the first call."""
    found = _INTERPRETERS.get(machine)
    if found is None:
        found = _INTERPRETERS[machine] = Interpreter(machine)
    return found


def execute(machine: Machine) -> None:
    """Run a machine that was started (`Machine.start`); leave `State.RESULT`, or the words of a fault."""
    interpreter_of(machine).run(machine)
