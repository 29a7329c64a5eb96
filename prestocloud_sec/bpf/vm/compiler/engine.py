# SPDX-License-Identifier: Apache-2.0
"""The compiled engine's Python side: keeps machines' code, runs it, and does what it asks for."""

from __future__ import annotations

import ctypes
import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.bpf.helpers.native import NATIVE, NATIVE_PLACES, native_address, native_place
from prestocloud_sec.bpf.isa import CallHelper
from prestocloud_sec.bpf.vm import layout
from prestocloud_sec.bpf.vm.compiler.emit import module_text
from prestocloud_sec.bpf.vm.compiler.llvm import MIDDLE, Code, compile_object, load_object
from prestocloud_sec.bpf.vm.compiler.planning import compile_program, plan_of
from prestocloud_sec.bpf.vm.compiler.runtime import INTERRUPTED, PACKET_WORD, SERVICE, Service
from prestocloud_sec.bpf.vm.fault import FaultKind
from prestocloud_sec.bpf.vm.layout import FUNCTION_HANDLES, MAX_FRAMES, MAX_TAIL_CALLS, State
from prestocloud_sec.bpf.vm.machine import PORTION, Machine
from prestocloud_sec.bpf.vm.memory import Trap

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MANY", "Compiled", "compile_together", "compiled_of", "execute"]

_U64 = (1 << 64) - 1
_NO_INSTRUCTION = -1
_FAULT = int(State.FAULT)
MANY = 1 << 14
"""Packets in batches after which it is worth it to write a program into a loop over packets."""

_HELP = ctypes.CFUNCTYPE(ctypes.c_uint64, *[ctypes.c_uint64] * 7)
_MAIN = ctypes.CFUNCTYPE(ctypes.c_uint64, *[ctypes.c_uint64] * 4)
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_uint64, *[ctypes.c_uint64] * 8)


def _signed(word: int) -> int:
    word &= _U64
    return word - (1 << 64) if word >> 63 else word


def compile_together(machines: Sequence[Machine], level: int) -> None:
    """Compile the programs of many machines in one go, at one level of optimisation, without the cache on disk.

    For running very many programs once, as comparing engines does: most of the time that LLVM takes for a small program
    is the same for a hundred of them.
    """
    tags = [f"_{number}" for number in range(len(machines))]
    plans = [replace(plan_of(machine, 0, checks=True), tag=tag) for machine, tag in zip(machines, tags, strict=True)]
    codes = load_object(compile_object(module_text(*plans), level), tags)
    for machine, code in zip(machines, codes, strict=True):
        compiled_of(machine).take(code)


# --- The table of helpers, one for the process; filled as programs need them.

_TABLE: NDArray[np.uint64] = np.zeros(NATIVE_PLACES, np.uint64)
_MACHINES: weakref.WeakValueDictionary[int, Compiled] = weakref.WeakValueDictionary()
_LOCK = threading.Lock()


def _help(state_at: int, number: int, *registers: int) -> int:
    """Run a helper for compiled code; called by address."""
    compiled = _MACHINES.get(state_at)
    if compiled is None:
        return 0
    try:
        return compiled.help(number, registers)
    except BaseException as error:  # C would drop it, and go on with whatever is in a register
        compiled.words[_FAULT] = INTERRUPTED  # first, and without a call that another Ctrl-C could end
        return compiled.fail(error)


def _serve(state_at: int, what: int, *arguments: int) -> int:
    """Do something else for compiled code; called by address."""
    compiled = _MACHINES.get(state_at)
    if compiled is None:
        return 0
    try:
        return compiled.serve(what, arguments)
    except BaseException as error:  # as above; also a program in an array that cannot be run
        compiled.words[_FAULT] = INTERRUPTED
        return compiled.fail(error)


_HELP_ENTRY, _SERVICE_ENTRY = _HELP(_help), _HELP(_serve)


@cache
def _fill_table() -> None:
    from prestocloud_sec.bpf.vm.compiler.packet_kernel import packet_word_address

    _TABLE[PACKET_WORD] = packet_word_address()
    _TABLE[SERVICE] = ctypes.cast(_SERVICE_ENTRY, ctypes.c_void_p).value or 0


class Compiled:
    """What the compiled engine keeps for a machine: the code of its programs."""

    def __init__(self, machine: Machine) -> None:
        _fill_table()
        self._machine = weakref.ref(machine)
        self.state_at = machine.state.ctypes.data
        self.words = machine.state.data
        self.codes: list[Code | None] = []
        self.generation = -1
        self.elements: dict[int, Any] = {}
        """What is gone through by a function at each depth."""
        self.frame_hosts = machine.frames.ctypes.data
        self.depth_of_call = 0
        self.main: Any = None
        self.batched = 0
        self.loop: Code | None = None
        self.taken: Code | None = None
        self.siblings: list[Machine] = []
        """Machines for the same program, each for a thread that takes part in a batch."""
        _MACHINES[self.state_at] = self

    @property
    def machine(self) -> Machine:
        """The machine."""
        found = self._machine()
        if found is None:  # only while the interpreter shuts down
            raise BpfMisuseError("the machine is gone", where="Compiled.machine")
        return found

    def code(self, number: int) -> Code:
        """Return the code of a program."""
        while len(self.codes) < len(self.machine.programs):
            self.codes.append(None)
        found = self.codes[number]
        if found is None:
            self._fill_natives(number)
            found = self.codes[number] = compile_program(self.machine, number)
        return found

    def packets(self, count: int) -> int:
        """Return the address of the first program's loop over packets for a batch of `count`, 0 if not worth it."""
        self.batched += count
        code = self.code(0)
        if self.loop is None:
            if self.batched < MANY or code is self.taken or len(self.machine.program.instructions) > MIDDLE:
                return 0
            self.loop = compile_program(self.machine, loop=True)
        return self.loop.packets

    def take(self, code: Code) -> None:
        """Use code that was compiled elsewhere for the first program."""
        self.taken = code
        self._fill_natives(0)
        self.codes[:] = [code]

    def share(self, other: Compiled) -> None:
        """Use the code of another machine for the same program, maps and options."""
        if other is not self:
            self.codes[:], self.loop, self.batched = other.codes, other.loop, MANY

    def _fill_natives(self, number: int) -> None:
        for instruction in self.machine.runnable[number].instructions:
            if isinstance(instruction, CallHelper) and instruction.number in NATIVE:
                _TABLE[native_place(instruction.number)] = native_address(instruction.number)

    def prepare(self) -> int:
        """Make ready what code needs of the state; return the address of the program's code."""
        words = self.words
        words[State.HELPERS_AT] = _TABLE.ctypes.data
        words[State.TRAMPOLINE_AT] = ctypes.cast(_HELP_ENTRY, ctypes.c_void_p).value or 0
        return self.code(0).main

    def restore_frames(self) -> None:
        """Let the frames' regions show the machine's own memory again."""
        table = self.machine.memory.table
        for frame in range(MAX_FRAMES):
            at = (layout.STACK + frame) * layout.REGION_WORDS + layout.HOST
            table[at] = self.frame_hosts + frame * layout.FRAME_SIZE

    def run(self) -> None:
        """Run the machine, which was started; leave `State.RESULT`, or the words of a fault."""
        words = self.words
        address = self.prepare()
        if self.main is None:
            self.main = _MAIN(address)
        try:
            value = self.main(self.state_at, 0, words[State.R0 + 1] & _U64, words[State.R0 + 2] & _U64)
        finally:
            self.restore_frames()
        fault = words[State.FAULT]
        if fault == INTERRUPTED:
            self.miss()
        words[State.RESULT] = _signed(value)
        self.elements.clear()

    # --- What code asks for.

    def fail(self, error: BaseException) -> int:
        """End the run for what Python raised where only C is on the way out; a fault is left without an instruction."""
        self.words[State.FAULT_INSTRUCTION] = _NO_INSTRUCTION
        self.machine.fail(error)
        return self.interrupt()

    def interrupt(self) -> int:
        """Let a run that was interrupted be known for one, also to the loop that goes on to the next packet."""
        if self.machine.interrupted:
            self.words[State.FAULT] = INTERRUPTED
        return 0

    def miss(self) -> None:
        """Let the caller of a run that ended as interrupted be told so where C dropped the reason.

        That is what a signal's handler raised, most often the KeyboardInterrupt of Ctrl-C.
        """
        if not self.machine.interrupted:
            self.machine.fail(KeyboardInterrupt("a signal's handler raised an error while machine code ran"))
            self.interrupt()

    def help(self, number: int, registers: Sequence[int]) -> int:
        """Run a helper; a fault is left without an instruction."""
        words = self.words
        words[State.FAULT_INSTRUCTION] = _NO_INSTRUCTION
        machine = self.machine
        with machine.calling(self.call):
            value = machine.run_helper(_signed32(number), registers)
        return self.interrupt() if value is None else value

    def call(self, handle: int, arguments: Sequence[int]) -> int:
        """Run a function of the program for a helper in Python."""
        words = self.words
        number, depth = words[State.PROGRAM], words[State.DEPTH] + 1
        function = handle ^ FUNCTION_HANDLES
        if function not in self.machine.functions[number]:
            raise Trap(FaultKind.CALL)
        if depth >= MAX_FRAMES:
            raise Trap(FaultKind.DEPTH)
        self.refuel(1)
        given = [*arguments, 0, 0, 0, 0, 0][:5]
        entry = _CALLBACK(self.code(number).callback)
        value: int = entry(self.state_at, depth, function, *(word & _U64 for word in given))
        words[State.DEPTH] = depth - 1
        fault = words[State.FAULT]
        if fault == INTERRUPTED:
            self.miss()
            raise Trap(FaultKind.HELPER)
        if fault:
            address, size = words[State.FAULT_ADDRESS] & _U64, words[State.FAULT_SIZE] & _U64
            raise Trap(FaultKind(fault), address, size)
        words[State.R0] = _signed(value)
        words[State.PROGRAM] = number  # the function may have gone on to another
        return value

    def refuel(self, cost: int) -> None:
        """Take `cost` from the fuel in the state, in portions from the reserve."""
        words = self.words
        while words[State.FUEL] < cost:
            reserve = words[State.RESERVE]
            if not reserve:
                raise Trap(FaultKind.LIMIT)
            if time.monotonic_ns() >= words[State.DEADLINE]:
                raise Trap(FaultKind.TIME)
            portion = min(reserve, PORTION)
            words[State.FUEL] += portion
            words[State.RESERVE] = reserve - portion
        words[State.FUEL] -= cost

    def serve(self, what: int, arguments: Sequence[int]) -> int:
        """Do one of the things of `Service`; a fault is left without an instruction."""
        self.words[State.FAULT_INSTRUCTION] = _NO_INSTRUCTION
        try:
            if what == Service.REFUEL:
                self.refuel(arguments[0])
                return 0
            if what == Service.TAIL_CALL:
                return self.tail_call(*arguments[1:4])
            return self.elements_of(*arguments[:3])
        except Trap as trap:
            self.machine.leave_fault(trap)
        return 0

    def tail_call(self, handle: int, slot: int, depth: int) -> int:
        """Return the address of the program that a tail call leads to, or 0."""
        machine, words = self.machine, self.words
        found = machine.map_of(handle)
        if not found.holds_programs:
            raise machine.wrong_map(found, "a program array")
        program = found.program_at(slot & 0xFFFF_FFFF)
        if program is None or words[State.TAIL_CALLS] >= MAX_TAIL_CALLS:
            return 0
        self.refuel(1)
        words[State.TAIL_CALLS] += 1
        number = machine.program_number(program)
        address = self.code(number).main
        words[State.PROGRAM] = number
        at = (layout.STACK + depth) * layout.REGION_WORDS + layout.HOST
        machine.memory.table[at] = self.frame_hosts + depth * layout.FRAME_SIZE
        machine.enter_frame(depth)
        return address

    def elements_of(self, handle: int, flags: int, depth: int) -> int:
        """Return the address of the number of a map's elements, which those of keys and values follow."""
        machine = self.machine
        found = machine.map_of(handle)
        if not found.iterates:
            raise machine.wrong_map(found, "a map with elements to go through")
        pairs = [] if flags else list(machine.elements(found))
        flat = np.array([len(pairs), *(word for pair in pairs for word in pair)], np.uint64)
        self.elements[depth] = flat
        return int(flat.ctypes.data)


def _signed32(number: int) -> int:
    """Return a helper's number as instructions hold it: those of registers beyond 32 bits stay as they are."""
    return number - (1 << 64) if number >= (1 << 64) - (1 << 31) else number


_COMPILED: weakref.WeakKeyDictionary[Machine, Compiled] = weakref.WeakKeyDictionary()


def compiled_of(machine: Machine) -> Compiled:
    """Return the machine's code, made at the first call."""
    with _LOCK:
        found = _COMPILED.get(machine)
        if found is None:
            found = _COMPILED[machine] = Compiled(machine)
    return found


def execute(machine: Machine) -> None:
    """Run a machine that was started (`Machine.start`); leave `State.RESULT`, or the words of a fault."""
    compiled_of(machine).run()
