# SPDX-License-Identifier: Apache-2.0
"""Loops that are left because a state comes again: what is needed in them is known only when all ways are gone.

A state in a loop that a state before it covers is not gone on with, though not all that comes after the earlier one is
known yet: what a check on another way will need, the later state needs, too. So such states are kept until the loop was
gone through on all ways, and then what is needed is carried back over them until nothing changes (Linux 6.18,
``bpf_scc_visit``, ``propagate_backedges``). Until then a state in the loop covers only what lies in its ranges.

A loop is a strongly connected part of a function's control flow, as it was called. A call of a helper that calls back
is one, too, here; in Linux 6.18 it is not, so that there what a turn of such a loop will need can be overlooked. There,
too, nothing is asked, back through the end of such a function, of what the helper was given; here it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prestocloud_sec.bpf.isa import Branch, Exit, Instruction, Jump, MayGoto
from prestocloud_sec.bpf.verifier.live_stack import call_site
from prestocloud_sec.bpf.verifier.precision import Checkpoint, Step, mark, mark_everything
from prestocloud_sec.bpf.verifier.state import State

__all__ = ["Loops", "components"]

_MOST_ROUNDS = 64
"""After so many rounds over the states of a loop all numbers are taken as needed."""


def components(
    instructions: Sequence[Instruction], targets: Sequence[int | None], repeats: Callable[[int], bool]
) -> list[int]:
    """Return the number of the loop that each instruction lies in, 0 for none.

    Parameters
    ----------
    instructions : sequence of Instruction
    targets : sequence of int or None
        Where each may jump to; what a call leads to does not count.
    repeats : callable
        Whether an instruction is a loop by itself: a helper that calls back.
    """
    count = len(instructions)
    ways_back = any(
        target is not None and target <= index and isinstance(instructions[index], Jump | Branch | MayGoto)
        for index, target in enumerate(targets)
    )
    if not ways_back:
        loop = [0] * count
        for number, index in enumerate(filter(repeats, range(count)), 1):
            loop[index] = number
        return loop

    def following(index: int) -> tuple[int, ...]:
        i, target = instructions[index], targets[index]
        if isinstance(i, Exit):
            return ()
        if isinstance(i, Jump):
            return () if target is None else (target,)
        if target is not None and isinstance(i, Branch | MayGoto):
            return (index + 1, target) if index + 1 < count else (target,)
        return (index + 1,) if index + 1 < count else ()

    loop = [0] * count
    order, low = [0] * count, [0] * count  # Tarjan's algorithm, without recursion
    open_, numbers, found = [], 0, 0
    for root in range(count):
        if order[root]:
            continue
        path = [(root, iter(following(root)))]
        numbers += 1
        order[root] = low[root] = numbers
        open_.append(root)
        while path:
            index, ways = path[-1]
            for other in ways:
                if not order[other]:
                    numbers += 1
                    order[other] = low[other] = numbers
                    open_.append(other)
                    path.append((other, iter(following(other))))
                    break
                if low[other] <= count and order[other] < low[index]:
                    low[index] = order[other]
            else:
                path.pop()
                if path and low[index] < low[path[-1][0]]:
                    low[path[-1][0]] = low[index]
                if low[index] == order[index]:
                    members = []
                    while True:
                        member = open_.pop()
                        low[member] = count + 1  # in no part that is still open
                        members.append(member)
                        if member == index:
                            break
                    if len(members) > 1 or index in following(index) or repeats(index):
                        found += 1
                        for member in members:
                            loop[member] = found
    return loop


class _Visit:
    """A loop that is being gone through."""

    __slots__ = ("entry", "left")

    def __init__(self) -> None:
        self.entry: Checkpoint | None = None
        """The state that came into it first."""
        self.left: list[tuple[Checkpoint, Checkpoint | None, list[Step]]] = []
        """The states that covered others, and the ways to the others."""


class Loops:
    """The loops of a program while it is gone through."""

    def __init__(self, instructions: Sequence[Instruction], number: Sequence[int]) -> None:
        self._instructions = instructions
        self._number = number
        self._visits: dict[tuple[int, ...], _Visit] = {}

    def _key(self, state: State, index: int) -> tuple[int, ...] | None:
        sites: list[int] = []
        for depth in range(len(state.frames)):
            last = depth == len(state.frames) - 1
            at = index if last else call_site(state.frames[depth + 1])
            if self._number[at]:
                return (*sites, -self._number[at])
            sites.append(at)
        return None

    def enter(self, made: Checkpoint) -> None:
        """Note a state that is kept."""
        key = self._key(made.state, made.index)
        if key is None:
            return
        visit = self._visits.setdefault(key, _Visit())
        if visit.entry is None:
            visit.entry = made

    def unfinished(self, old: Checkpoint) -> bool:
        """Whether what is needed of a state may not all be known."""
        key = self._key(old.state, old.index)
        visit = None if key is None else self._visits.get(key)
        return visit is not None and bool(visit.left)

    def leave(self, old: Checkpoint, parent: Checkpoint | None, steps: list[Step]) -> None:
        """Note that a way ends because `old`, in a loop, covers its state."""
        key = self._key(old.state, old.index)
        visit = None if key is None else self._visits.get(key)
        if visit is not None:
            visit.left.append((old, parent, steps))

    def ended(self, checkpoint: Checkpoint) -> None:
        """Note that all ways from a state are gone."""
        key = self._key(checkpoint.state, checkpoint.index)
        visit = None if key is None else self._visits.get(key)
        if visit is None or visit.entry is not checkpoint:
            return
        visit.entry = None
        for _ in range(_MOST_ROUNDS):
            changed = False
            for old, parent, steps in visit.left:
                changed |= mark(self._instructions, parent, steps, old.precise)
            if not changed:
                break
        else:
            for _old, parent, _steps in visit.left:
                mark_everything(parent)
        visit.left.clear()
