# SPDX-License-Identifier: Apache-2.0
"""Every way through a program, instruction by instruction, with what is known on it (Linux 6.18, ``do_check``).

Ways part at branches that cannot be foreseen; one of the two waits on a stack. Before an instruction that several ways
come by, the state is compared with those that were there: one that is covered ends the way, one that is the same as one
on this very way is a loop that does not end. Callbacks are gone through as often as their states differ.
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
from prestocloud_sec.bpf.verifier.kernel_functions import Place, iterator_at
from prestocloud_sec.bpf.verifier.live_stack import call_site, called_alike
from prestocloud_sec.bpf.verifier.liveness import live_before
from prestocloud_sec.bpf.verifier.loops import Loops, components
from prestocloud_sec.bpf.verifier.precision import Checkpoint, Step, mark
from prestocloud_sec.bpf.verifier.pruning import Exactly, covers
from prestocloud_sec.bpf.verifier.registers import Kind, Register
from prestocloud_sec.bpf.verifier.rejection import Rejected, Rule
from prestocloud_sec.bpf.verifier.stack_depth import check_depth
from prestocloud_sec.bpf.verifier.state import EMPTY, Byte, State
from prestocloud_sec.bpf.verifier.steps_arithmetic import ArithmeticSteps
from prestocloud_sec.bpf.verifier.steps_calls import CallSteps
from prestocloud_sec.bpf.verifier.steps_memory import MemorySteps
from prestocloud_sec.bpf.verifier.walk import Way

__all__ = ["MOST_INSTRUCTIONS", "Explorer"]

_LONG_HISTORY = 40
"""Steps after which a state is kept in any case: going back over them takes time."""

_MOST_LINKED = 6
"""Copies of a number that learn what a comparison tells of it (Linux 6.18, ``LINKED_REGS_MAX``)."""

_JUMPING = frozenset({Jump, Branch, MayGoto, CallHelper, CallLocal, CallKfunc, Exit})
"""Instructions that count when it is decided whether a state is worth keeping."""


class Explorer(ArithmeticSteps, MemorySteps, CallSteps):
    """Goes through a program; afterwards says what was seen.

    Attributes
    ----------
    processed : int
        Instructions gone through, on all ways.
    states : int
        States that were kept.
    at : int
        The instruction that is gone through.
    """

    def __init__(self, env: Environment, *, observe: Callable[[int, State], None] | None = None) -> None:
        super().__init__(env)
        taken = {index: row.parameters for index, row in env.kernel_functions.items()}
        self.live = live_before(env.instructions, env.targets, env.prototype, taken)
        self.processed = 0
        self.states = 0
        self.at = 0
        self.observe = observe
        self.loops = Loops(
            self.followed,
            components(env.instructions, env.targets, lambda index: index in self.stops.repeating),
        )
        self.jumps = self.jumps_before = self.processed_before = 0

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
        while self.called.keys() - judged:
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
            self._ended()

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
            if index in compared and self._seen(state, index):
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

    # --- States that were here before.

    def _seen(self, state: State, index: int) -> bool:
        """Whether a state that was here covers this one; otherwise keep it, if it is worth it."""
        forced = index in self.stops.forced or self.history > _LONG_HISTORY
        jumps, processed = self.jumps - self.jumps_before, self.processed - self.processed_before
        add = forced or (jumps >= 2 and processed >= 8)
        kept = self.kept.get((index, call_site(state.frame)), [])
        for old in reversed(kept.copy()):  # the newest first
            if old.branches:
                if self._comes_again(old, state, index):
                    self._leave(old)
                    return True
                if not forced and jumps < 20 and processed < 100:
                    add = False
            else:
                self._clean(old, state)
                unfinished = self.loops.unfinished(old)
                if self._covers(old, state, Exactly.WITHIN if unfinished else Exactly.COVERS):
                    self._leave(old, unfinished)
                    return True
            if add:
                old.misses += 1
            allowance = 64 if index in self.stops.forced and old.branches else 3
            if old.misses > old.hits * allowance + allowance:
                kept.remove(old)  # it never helped; a state like it will come again if it could
        if add:
            self._keep(state, index)
        return False

    def _comes_again(self, old: Checkpoint, state: State, index: int) -> bool:
        """Whether a state on this very way covers this one, where loops end by themselves.

        Raises
        ------
        Rejected
            If the two are the same where they do not.
        """
        if isinstance(self.env.instructions[index], MayGoto):
            if old.state.may_goto != state.may_goto and self._covers(old, state, Exactly.WITHIN):
                return True
        elif index in self.stops.repeating:
            return self._covers(old, state, Exactly.WITHIN)
        elif index in self.stops.iterating:
            return self._covers(old, state, Exactly.WITHIN) and self._goes_on(state)
        if self._same(old, state):
            raise Rejected(
                Rule.LOOP,
                f"infinite loop detected at insn {self.env.program.slot_of(index)}",
                "EINVAL",
                hint="let a turn of the loop change what its end depends on",
            )
        return False

    def _leave(self, old: Checkpoint, unfinished: bool = True) -> None:
        """End the way, as `old` covers what it came to."""
        old.hits += 1
        mark(self.followed, self.parent, self.steps, old.precise)
        if unfinished:
            self.loops.leave(old, self.parent, self.steps)

    def _clean(self, old: Checkpoint, state: State) -> None:
        """Take what is not read later out of a state whose ways were all gone."""
        if old.cleaned or not called_alike(old.state, state) or self.loops.unfinished(old):
            return
        old.cleaned = True
        for frame, live in zip(old.state.frames, self.uses.live(old.state, old.index), strict=True):
            for number in [number for number in frame.stack if not live >> (-number - 1) & 1]:
                frame.stack[number] = EMPTY

    def _covers(self, old: Checkpoint, state: State, exactly: int) -> bool:
        return covers(old.state, state, self.live, old.precise, exactly, old.index, privileged=self.env.privileged)

    def _same(self, old: Checkpoint, state: State) -> bool:
        return (
            old.state.may_goto == state.may_goto
            and old.unroll == self.unroll
            and self._covers(old, state, Exactly.SAME)
            and not _went_on(old.state, state)
        )

    @staticmethod
    def _goes_on(state: State) -> bool:
        """Whether the iterator that is about to be asked may give one more."""
        pointer = state.registers[1]
        place = Place(pointer.frame, (pointer.offset + pointer.number.smin) // 8)
        held = iterator_at(state, place)
        return held is not None and held.active

    def _keep(self, state: State, index: int) -> None:
        made = Checkpoint(state.copy(), index, self.parent, self.steps)
        made.branches = 1
        made.unroll = self.unroll
        self.kept.setdefault((index, call_site(state.frame)), []).append(made)
        self.loops.enter(made)
        self.states += 1
        self.parent, self.steps, self.history = made, [], 0
        self.needed.clear()
        self.asked.clear()
        self.jumps_before, self.processed_before = self.jumps, self.processed

    def _ended(self) -> None:
        """Count a way as gone to its end, and those before it of which it was the last."""
        checkpoint = self.parent
        while checkpoint is not None:
            checkpoint.branches -= 1
            if checkpoint.branches:
                return
            self.loops.ended(checkpoint)
            checkpoint = checkpoint.parent

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


def _went_on(old: State, new: State) -> bool:
    """Whether an iterator gave something between two states that are the same otherwise."""
    for before, now in zip(old.frames, new.frames, strict=True):
        for number, slot in before.stack.items():
            was, held = slot.iterator, now.slot(number).iterator
            if was is not None and was.active and (held is None or held.depth != was.depth):
                return True
    return False


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
    CallKfunc: Explorer.call_kernel,
    Exit: Explorer.exit,
}
