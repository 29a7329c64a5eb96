# SPDX-License-Identifier: Apache-2.0
"""The verdict as a log of the kernel's form, for people and tools that are used to it.

Level 1 has the way that was refused, and of an accepted program only what it took; level 2 has all ways with all that
is known where they begin, and the registers that are read at all later. Lines are those of Linux 6.18
(``kernel/bpf/verifier.c``, ``do_check``), except that what it tells of its own looking back (``mark_precise: ...``) and
of its list of stack slots is left out, that a refusal has our one line of reason, and that maps have names instead of
addresses. Like the kernel's, a log that grows too long keeps its end.

The program is gone through once more for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.bpf.isa import Atomic, Instruction, Store, StoreRelease
from prestocloud_sec.bpf.verifier.explore import MOST_INSTRUCTIONS, Explorer
from prestocloud_sec.bpf.verifier.registers import Kind
from prestocloud_sec.bpf.verifier.rejection import Rejected
from prestocloud_sec.bpf.verifier.wording import frame_text, instruction_text, touched
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
        try:
            recorder.run()
        except Rejected:
            pass
        else:
            if level == 1:
                recorder.lines.clear()
        lines = recorder.lines
        kept = max((len(kept) for kept in recorder.kept.values()), default=0)
        most = max(kept, recorder.most_kept, 1) - 1  # not counted: the newest
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
    """

    def __init__(self, env: Environment, level: int) -> None:
        super().__init__(env, observe=self._note)
        self.all_ways = level == 2
        self.lines: list[str] = []
        self._cut = 0
        self._on: State | None = None
        self._before = -1
        self._depth = 0
        self._leaving = ""
        self._parted: dict[int, tuple[int, int, str]] = {}
        if self.all_ways:
            self._head()

    def _head(self) -> None:
        program = self.env.program
        for number, entry in enumerate(self.functions.entries):
            self.lines.append(f"func#{number} @{program.slot_of(entry)}")
        self.lines.append("Live regs before insn:")
        for index, live in enumerate(self.live):
            shown = "".join(str(register) if live >> register & 1 else "." for register in range(10))
            self.lines.append(f"{program.slot_of(index):>7}: {shown} {instruction_text(program, index)}")

    def push(self, state: State, index: int, unroll: int | None = None) -> None:
        last = self.lines[-1] if self.lines else ""
        self._parted[id(state)] = (self._before, self._cut + len(self.lines), last)
        super().push(state, index, unroll)

    def _seen(self, state: State, index: int) -> bool:
        found = super()._seen(state, index)
        if found and self.all_ways:
            slot = self.env.program.slot_of(index)
            if state is not self._on:
                before, _, _ = self._parted.pop(id(state), (-1, 0, ""))
                self.lines += ["", f"from {self._slot(before)} to {slot}: safe"]
            else:
                self._tell_change(state)
                self.lines.append(f"{slot}: safe")
            self._on = state
        return found

    def _slot(self, index: int) -> int:
        return self.env.program.slot_of(index) if index >= 0 else 0

    def _note(self, index: int, state: State) -> None:
        slot = self.env.program.slot_of(index)
        if state is not self._on:
            self._begin(slot, state)
            self._on = state
        else:
            self._tell_change(state)
        self._before, self._depth = index, len(state.frames)
        self._leaving = frame_text(state)
        self.lines.append(f"{slot}: {instruction_text(self.env.program, index)}")
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

    def _tell_change(self, state: State) -> None:
        """Write what the instruction before did."""
        depth = len(state.frames)
        slot = self.env.program.slot_of(self.at)
        if depth > self._depth:
            self.lines += ["caller:", " " + frame_text(state, -2), "callee:", " " + frame_text(state)]
            self.lines.append(f"{slot}: {frame_text(state)}")
            return
        if depth < self._depth:
            known = frame_text(state)
            self.lines += ["returning from callee:", " " + self._leaving, f"to caller at {slot}:", " " + known]
            if self.all_ways:
                self.lines += ["", f"from {self._slot(self._before)} to {slot}: {known}"]
            return
        if not self.lines:
            return
        instruction = self.env.instructions[self._before]
        registers = touched(instruction)
        known = frame_text(state, registers=registers, slots=self._slots(instruction, state))
        if known and known != f"frame{depth - 1}:":
            line = self.lines[-1]
            column = max(len(line) + _STEP // 2, _COLUMN)
            column += -column % _STEP
            self.lines[-1] = f"{line:<{column - 2}}; {known}" if column > len(line) + 2 else f"{line} ; {known}"

    def _slots(self, i: Instruction, state: State) -> frozenset[int]:
        """Return the slots of the stack that an instruction wrote."""
        if not isinstance(i, Store | StoreRelease | Atomic):
            return frozenset()
        base = state.registers[i.base]
        if base.kind is not Kind.STACK or not base.number.is_const or base.frame != len(state.frames) - 1:
            return frozenset()
        first = base.offset + base.number.smin + i.offset
        return frozenset(range(first // 8, (first + i.size - 1) // 8 + 1))
