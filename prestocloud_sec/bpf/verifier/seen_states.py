# SPDX-License-Identifier: Apache-2.0
"""States that are kept, and whether a way has come to what one of them covers (Linux 6.18, ``is_state_visited``).

Before an instruction that several ways come by, the state is compared with those that were there: one that is covered
ends the way, one that is the same as one on this very way is a loop that does not end. Callbacks are gone through as
often as their states differ.
"""

from __future__ import annotations

from prestocloud_sec.bpf.isa import MayGoto
from prestocloud_sec.bpf.verifier.environment import Environment
from prestocloud_sec.bpf.verifier.iterators import iterator_at, place_of
from prestocloud_sec.bpf.verifier.live_stack import call_site, called_alike
from prestocloud_sec.bpf.verifier.liveness import live_before
from prestocloud_sec.bpf.verifier.loops import Loops, components
from prestocloud_sec.bpf.verifier.precision import Checkpoint, mark
from prestocloud_sec.bpf.verifier.pruning import Exactly, covers
from prestocloud_sec.bpf.verifier.rejection import Rejected, Rule
from prestocloud_sec.bpf.verifier.state import EMPTY, State
from prestocloud_sec.bpf.verifier.walk import Walk

__all__ = ["SeenStates"]

_LONG_HISTORY = 40
"""Steps after which a state is kept in any case: going back over them takes time."""


class SeenStates(Walk):
    """What was seen before.

    Attributes
    ----------
    live : list of int
        Registers that are read later, by instruction.
    loops : Loops
        The loops that are not gone to their end.
    processed : int
        Instructions gone through, on all ways.
    states : int
        States that were kept.
    jumps : int
        Instructions gone through that count when it is decided whether a state is worth keeping.
    jumps_before, processed_before : int
        How many there were when the last state was kept.
    """

    def __init__(self, env: Environment) -> None:
        super().__init__(env)
        taken = {index: row.parameters for index, row in env.kfuncs.items()}
        self.live = live_before(env.instructions, env.targets, env.prototype, taken)
        self.loops = Loops(
            self.followed,
            components(env.instructions, env.targets, lambda index: index in self.stops.repeating),
        )
        self.processed = self.states = 0
        self.jumps = self.jumps_before = self.processed_before = 0

    def seen(self, state: State, index: int) -> bool:
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
        """Whether the iterator that is about to be asked may give one more.

        A state that covers this one went through the call, and was not refused, so r1 points at the stack in both.
        """
        held = iterator_at(state, place_of(state.registers[1]))
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

    def ended(self) -> None:
        """Count a way as gone to its end, and those before it of which it was the last."""
        checkpoint = self.parent
        while checkpoint is not None:
            checkpoint.branches -= 1
            if checkpoint.branches:
                return
            self.loops.ended(checkpoint)
            checkpoint = checkpoint.parent


def _went_on(old: State, new: State) -> bool:
    """Whether an iterator gave something between two states that are the same otherwise."""
    for before, now in zip(old.frames, new.frames, strict=True):
        for number, slot in before.stack.items():
            was, held = slot.iterator, now.slot(number).iterator
            if was is not None and was.active and (held is None or held.depth != was.depth):
                return True
    return False
