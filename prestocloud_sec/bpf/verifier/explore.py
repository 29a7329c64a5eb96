# SPDX-License-Identifier: Apache-2.0
"""Every way through a program, instruction by instruction, with what is known on it (Linux 6.18, ``do_check``).

Ways part at branches that cannot be foreseen; one of the two waits on a stack. A way ends where what it came to is
covered by a state that was there before (`prestocloud_sec.bpf.verifier.seen_states`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prestocloud_sec.bpf.isa import (
    AddressSpaceCast,
    Alu,
    Atomic,
    Branch,
    CallHelper,
    CallKfunc,
    CallLocal,
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
from prestocloud_sec.bpf.verifier import branches
from prestocloud_sec.bpf.verifier.environment import MOST_INSTRUCTIONS, Environment
from prestocloud_sec.bpf.verifier.global_functions import first_frame
from prestocloud_sec.bpf.verifier.live_stack import call_site
from prestocloud_sec.bpf.verifier.precision import Step
from prestocloud_sec.bpf.verifier.registers import Kind, Register
from prestocloud_sec.bpf.verifier.rejection import Rejected, Rule
from prestocloud_sec.bpf.verifier.seen_states import SeenStates
from prestocloud_sec.bpf.verifier.stack_depth import check_depth
from prestocloud_sec.bpf.verifier.state import Byte, State
from prestocloud_sec.bpf.verifier.steps_arithmetic import ArithmeticSteps
from prestocloud_sec.bpf.verifier.steps_calls import CallSteps
from prestocloud_sec.bpf.verifier.steps_memory import MemorySteps
from prestocloud_sec.bpf.verifier.walk import Way

__all__ = ["MOST_INSTRUCTIONS", "Explorer"]

_MOST_LINKED = 6
"""Copies of a number that learn what a comparison tells of it (Linux 6.18, ``LINKED_REGS_MAX``)."""

_JUMPING = frozenset({Jump, Branch, MayGoto, CallHelper, CallLocal, CallKfunc, Exit})
"""Instructions that count when it is decided whether a state is worth keeping."""


class Explorer(SeenStates, ArithmeticSteps, MemorySteps, CallSteps):
    """Goes through a program; afterwards says what was seen.

    Attributes
    ----------
    at : int
        The instruction that is gone through.
    observe : callable or None
        What is told of every instruction, with the state before it.
    """

    def __init__(self, env: Environment, *, observe: Callable[[int, State], None] | None = None) -> None:
        super().__init__(env)
        self.at = 0
        self.observe = observe

    # --- The whole.

    def run(self) -> None:
        """Go every way.

        Raises
        ------
        Rejected
            With the instruction to blame.
        """
        self._explore(0)
        judged = {0}
        while self.called - judged:
            for number in range(1, len(self.functions.entries)):  # each that was called by now, in their order
                if number in self.called and number not in judged:
                    judged.add(number)
                    self._explore(number)
        self._check_stack()

    def _explore(self, number: int) -> None:
        """Go every way through a function that is judged by itself, or from the program's beginning on."""
        entry = self.functions.entries[number]
        self.at = entry
        self.kept.clear()
        self.waiting.append(Way(State([first_frame(self.env, number, entry)]), entry, None, [], 0, 0))
        while self.waiting:
            state, index, self.parent, self.steps, self.unroll, self.history = self.waiting.pop()
            self.uses.settle(state)
            self.needed.clear()
            self.asked.clear()
            try:
                self._go(state, index)
            except Rejected as rejected:
                if rejected.instruction is None:
                    rejected.instruction = self.at
                raise
            self.uses.settle(state)  # the way may have ended in a function that another was called by
            self.ended()

    def _check_stack(self) -> None:
        check_depth(self)

    def _go(self, state: State, index: int) -> None:
        instructions = self.env.instructions
        count = len(instructions)
        compared, landings = self.stops.compared, self.stops.landings
        following: int | None = index
        while following is not None:
            index = following
            self.at = index
            if not 0 <= index < count:
                raise Rejected(Rule.STRUCTURE, f"invalid insn idx {index} insn_cnt {count}", "EFAULT")
            self.processed += 1
            if self.processed > self.env.limit:
                raise Rejected(
                    Rule.COMPLEXITY,
                    f"BPF program is too large. Processed {self.processed} insn",
                    "E2BIG",
                    hint="make loops shorter or states alike",
                )
            if index in compared and self.seen(state, index):
                return
            if index in landings:
                self.history += 1
            if self.observe is not None:
                self.observe(index, state)
            instruction = instructions[index]
            kind = type(instruction)
            if kind in _JUMPING:
                self.jumps += 1
            following = _STEPS[kind](self, state, instruction, index)

    # --- Ways.

    def jump(self, state: State, _: Jump, index: int) -> int | None:
        """Go on elsewhere."""
        self.step(state, index)
        return self.env.targets[index]

    def may_goto(self, state: State, _: MayGoto, index: int) -> int | None:
        """Go on, and elsewhere: the run decides."""
        self.step(state, index)
        other = state.copy()
        other.may_goto += 1
        if self.parent is not None:
            self.widen(other, index, self.parent.depth)
        self.push(other, index + 1)
        return self.env.targets[index]

    def branch(self, state: State, i: Branch, index: int) -> int | None:
        """Go on where the comparison leads, or on both ways."""
        if isinstance(i.src, int):
            source = self.read(state, i.src)
            if source.is_pointer and not source.kind.is_packet and not self.env.privileged:
                raise Rejected(Rule.POINTER_LEAK, f"R{i.src} pointer comparison prohibited")
        self.read(state, i.dst)
        left, right = branches.operands(state, i)
        told = branches.foreseen(i, left, right)
        target = self.env.targets[index]
        if told is not None:
            self.need(state, i.dst, *((i.src,) if isinstance(i.src, int) else ()))
            self.step(state, index)
            return target if told else index + 1
        linked = self._linked(state, left, right)
        other = state.copy()
        can_be_taken, can_go_on = branches.learn(self.env, i, other, state)
        if not (can_be_taken and can_go_on):  # foreseen after all, from what is known of both
            self.need(state, i.dst, *((i.src,) if isinstance(i.src, int) else ()))
        self.steps.append(Step(index, len(state.frames) - 1, None, linked))
        if len(linked) > 1 and index not in self.stops.landings:
            self.history += 1
        if can_be_taken and can_go_on:
            self.push(other, target or 0)
        elif can_be_taken:
            state.frames, state.references, state.lock = other.frames, other.references, other.lock
            return target
        return index + 1 if can_go_on else None

    def _linked(self, state: State, left: Register, right: Register) -> tuple[tuple[int, int], ...]:
        """Return where copies of what is compared are, as far as these are still read: of few, others are none more."""
        found: list[tuple[int, int]] = []
        for identifier in dict.fromkeys(r.id for r in (right, left) if r.id and r.kind is Kind.NUMBER):
            at = self.at
            for depth in range(len(state.frames) - 1, -1, -1):
                frame = state.frames[depth]
                places: list[tuple[int, Register]] = [
                    (n, frame.registers[n]) for n in range(10) if self.live[at] >> n & 1
                ]
                for n in sorted(frame.stack, reverse=True):
                    register = frame.stack[n].register
                    if register is not None and frame.stack[n].bytes[0] == Byte.SPILL:
                        places.append((n, register))
                for n, register in places:
                    if register.id != identifier or register.kind is not Kind.NUMBER:
                        continue
                    if len(found) < _MOST_LINKED:
                        found.append((depth, n))
                    else:
                        state.put(frame.registers if n >= 0 else frame.stack, n, register.but(id=0, delta=0))
                if depth:
                    at = call_site(frame)
        return tuple(found)


_STEPS: dict[type[Instruction], Callable[[Explorer, State, Any, int], int | None]] = {
    Alu: Explorer.alu,
    AddressSpaceCast: Explorer.cast,
    Negate: Explorer.negate,
    Extend: Explorer.extend,
    Swap: Explorer.swap,
    Load: Explorer.load,
    LoadAcquire: Explorer.load,
    Store: Explorer.store,
    StoreRelease: Explorer.store,
    Atomic: Explorer.atomic,
    LoadImm64: Explorer.load_imm64,
    LegacyLoad: Explorer.legacy_load,
    Jump: Explorer.jump,
    Branch: Explorer.branch,
    MayGoto: Explorer.may_goto,
    CallHelper: Explorer.call_helper,
    CallLocal: Explorer.call_local,
    CallKfunc: Explorer.call_kfunc,
    Exit: Explorer.exit,
}
