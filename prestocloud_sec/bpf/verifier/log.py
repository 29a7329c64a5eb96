# SPDX-License-Identifier: Apache-2.0
"""The verdict as a log of the kernel's form, for people and tools that are used to it.

Level 1 has the way that was refused, and of an accepted program only what it took; level 2 has all ways with all that
is known where they begin, and the registers that are read at all later. Lines are those of Linux 6.18
(``kernel/bpf/verifier.c``, ``do_check``, ``do_check_common``) but for what the page on the verifier lists; their words
are those of `prestocloud_sec.bpf.verifier.wording` and `prestocloud_sec.bpf.verifier.wording_instructions`. Like the
kernel's, a log that grows too long keeps its end.

The program is gone through once more for it.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING

from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.bpf.isa import Atomic, CallKfunc, CallLocal, Exit, Load, LoadAcquire, Store, StoreRelease
from prestocloud_sec.bpf.verifier.explore import MOST_INSTRUCTIONS, Explorer
from prestocloud_sec.bpf.verifier.iterators import place_of
from prestocloud_sec.bpf.verifier.live_stack import call_site
from prestocloud_sec.bpf.verifier.loops import components
from prestocloud_sec.bpf.verifier.registers import Kind
from prestocloud_sec.bpf.verifier.rejection import Rejected
from prestocloud_sec.bpf.verifier.state import STACK_SIZE
from prestocloud_sec.bpf.verifier.tnum import U32
from prestocloud_sec.bpf.verifier.wording import changed_text, frame_text
from prestocloud_sec.bpf.verifier.wording_instructions import instruction_text, touched
from prestocloud_sec.wire import whole

if TYPE_CHECKING:
    from prestocloud_sec.bpf.verifier.environment import Environment
    from prestocloud_sec.bpf.verifier.state import State
    from prestocloud_sec.bpf.verifier.verdict import Verdict

__all__ = ["log_of"]

_COLUMN, _STEP = 40, 8
"""Where what is known begins, and by how much later it does behind a long instruction (``BPF_LOG_ALIGNMENT``)."""
_MOST_LINES = 1 << 17
"""Lines that a log keeps, the last ones."""


def log_of(verdict: Verdict, level: int) -> str:
    """Return the log of a verdict.

    Parameters
    ----------
    verdict : Verdict
    level : {1, 2}

    Raises
    ------
    BpfMisuseError
        If there is no such level.
    """
    whole(level, "level", 1, 2, error=BpfMisuseError)
    lines: list[str] = []
    most, limit = 0, MOST_INSTRUCTIONS
    if verdict.again is not None:
        recorder = _Recorder(verdict.again(), level)
        limit = recorder.env.limit
        with suppress(Rejected):
            recorder.run()
        lines = recorder.lines
        most = recorder.most
    if not verdict.accepted:
        lines.append(verdict.message)
    lines.append(
        f"processed {verdict.processed} insns (limit {limit}) max_states_per_insn {most} "
        f"total_states {verdict.states} peak_states {verdict.states} mark_read 0"
    )
    return "\n".join(lines) + "\n"


class _Recorder(Explorer):
    """Goes through a program once more and writes down what it sees.

    Attributes
    ----------
    lines : list of str
        The log, without what was cut off at its beginning.
    most : int
        The longest list of states that Linux went through without finding one that covers.

    Of the instruction before, `_before` is the index, `_depth` the frames before it, and `_used` the slots of the stack
    that it was about to read or write; `_left` is whether it was an exit that went back to a caller, and `_leaving` is
    what was known in the function that it left. `_parted` says of each state that waits where its way parted: after
    which instruction, and how long the log was, with which last line.
    """

    def __init__(self, env: Environment, level: int) -> None:
        super().__init__(env, observe=self._note)
        self.all_ways = level == 2
        self.lines: list[str] = []
        self.most = 0
        self._buckets: defaultdict[int, set[tuple[int, int]]] = defaultdict(set)
        self._cut = 0
        self._on: State | None = None
        self._before = -1
        self._depth = 0
        self._leaving = ""
        self._left = False
        self._used: frozenset[int] = frozenset()
        self._parted: dict[int, tuple[int, int, str]] = {}
        if self.all_ways:
            self._head()

    def _head(self) -> None:
        program = self.env.program
        for number, entry in enumerate(self.functions.entries):
            self.lines.append(f"func#{number} @{program.slot_of(entry)}")
        self.lines.append("Live regs before insn:")
        loops = components(self.env.instructions, self.env.targets, lambda _: False)
        for index, live in enumerate(self.live):
            shown = "".join(str(register) if live >> register & 1 else "." for register in range(10))
            loop = f"{loops[index]:>3}" if loops[index] else "   "
            self.lines.append(f"{loop} {program.slot_of(index):>3}: {shown} {self._text(index)}")

    def _text(self, index: int) -> str:
        i = self.env.instructions[index]
        name = self.env.kfunc_name(i, index) if isinstance(i, CallKfunc) else ""
        return instruction_text(self.env.program, index, name)

    def _explore(self, number: int) -> None:
        types = self.env.function_types
        name = types.name(number) if number and types is not None else ""
        if number:
            self.lines.append(f"Validating {name}() func#{number}...")
        super()._explore(number)
        if not self.all_ways:
            self.lines.clear()
        if number:
            self.lines.append(f"Func#{number} ('{name}') is safe for any args that match its prototype")

    def push(self, state: State, index: int, unroll: int | None = None) -> None:
        last = self.lines[-1] if self.lines else ""
        self._parted[id(state)] = (self._before, self._cut + len(self.lines), last)
        super().push(state, index, unroll)

    def seen(self, state: State, index: int) -> bool:
        key = index, call_site(state.frame)
        alike = self._buckets[self._bucket(state, index)]
        known = sum(len(self.kept.get(other, ())) for other in alike)
        found = super().seen(state, index)
        if not found:
            self.most = max(self.most, known)
            alike.add(key)
        elif self.all_ways:
            slot = self.env.program.slot_of(index)
            waited = state is not self._on
            before = self._parted.pop(id(state), (-1, 0, ""))[0] if waited else self._before
            if not waited:
                self._tell_call(state)
            if waited or self._left:
                self.lines += ["", f"from {self._slot(before)} to {slot}: safe"]
            else:
                self.lines.append(f"{slot}: safe")
            self._on = state
        return found

    def _bucket(self, state: State, index: int) -> int:
        """Return the list that Linux keeps a state in: it counts all in the list, also those for other instructions."""
        caller = self._slot(call_site(state.frame)) if len(state.frames) > 1 else -1
        return ((self._slot(index) ^ caller) & U32) % len(self.env.program)

    def _slot(self, index: int) -> int:
        return self.env.program.slot_of(index) if index >= 0 else 0

    def _note(self, index: int, state: State) -> None:
        slot = self.env.program.slot_of(index)
        if state is not self._on:
            self._begin(slot, state)
            self._on = state
        else:
            self._tell_call(state)
            self._tell_change(state)
        self._before, self._depth, self._left = index, len(state.frames), False
        self._used = self._slots(index, state)
        self.lines.append(f"{slot}: {self._text(index)}")
        if len(self.lines) > 2 * _MOST_LINES:
            self._cut += len(self.lines) - _MOST_LINES
            del self.lines[:-_MOST_LINES]

    def _begin(self, slot: int, state: State) -> None:
        """Write how a way begins that waited."""
        parted = self._parted.pop(id(state), None)
        known = f"{slot}: {frame_text(state)}"
        if parted is None:
            self.lines.append(known)
        elif self.all_ways:
            self.lines += ["", f"from {self._slot(parted[0])} to {known}", known]
        else:
            _, position, last = parted
            del self.lines[max(position - 1 - self._cut, 0) :]
            self.lines.append(f"{last} {known}".lstrip())

    def _return(self, state: State, index: int, depth: int | None = None) -> int | None:
        self._leaving = frame_text(state)
        return super()._return(state, index, depth)

    def _tell_call(self, state: State) -> None:
        """Write that the instruction before called a function or left one."""
        depth, before = len(state.frames), self.env.instructions[self._before]
        if depth > self._depth:
            self.lines += ["caller:", " " + frame_text(state, -2), "callee:", " " + frame_text(state)]
        elif depth < self._depth:
            place = self.env.program.slot_of(self.at)
            self.lines += ["returning from callee:", " " + self._leaving, f"to caller at {place}:"]
            self.lines.append(" " + frame_text(state))
            self._left = isinstance(before, Exit)
        elif isinstance(before, CallLocal) and self.env.function_types is not None:
            number = self.functions.of(self.env.targets[self._before] or 0)
            self.lines.append(f"Func#{number} ('{self.env.function_types.name(number)}') is global and assumed valid.")

    def _tell_change(self, state: State) -> None:
        """Write what the instruction before did."""
        before = self.env.instructions[self._before]
        registers, slot = touched(before), self.env.program.slot_of(self.at)
        if self._left:
            if self.all_ways:
                self.lines += ["", f"from {self._slot(self._before)} to {slot}: {frame_text(state)}"]
        elif len(state.frames) > self._depth:
            self.lines.append(f"{slot}: {frame_text(state)}")
        elif self.lines and (registers or self._used):
            known, line = changed_text(state, registers, self._used), self.lines[-1]
            if isinstance(before, CallLocal) or len(state.frames) < self._depth:
                self.lines.append(f"{slot}: {known}")
                return
            column = max(len(line) + _STEP // 2, _COLUMN)
            column += -column % _STEP
            told = f"{line:<{column - 2}}; {known}" if column > len(line) + 2 else f"{line} ; {known}"
            self.lines[-1] = told.rstrip()

    def _slots(self, index: int, state: State) -> frozenset[int]:
        """Return the slots of the stack that an instruction is about to read or write.

        Linux notes them without their frame, and tells of those of the function that runs.
        """
        i, row = self.env.instructions[index], self.env.kfuncs.get(index)
        if row is not None:
            pointer = state.registers[1]
            if pointer.kind is not Kind.STACK or not pointer.number.is_const:
                return frozenset()
            lowest = place_of(pointer).slot
            return frozenset(range(lowest, lowest + row.slots))
        if not isinstance(i, Load | LoadAcquire | Store | StoreRelease | Atomic):
            return frozenset()
        base = state.registers[i.base]
        if base.kind is not Kind.STACK or not (base.number.is_const or isinstance(i, Store)):
            return frozenset()
        first, last = (base.offset + end + i.offset for end in (base.number.smin, base.number.smax))
        return frozenset(range(max(first // 8, -STACK_SIZE // 8), min((last + i.size - 1) // 8 + 1, 0)))
