# SPDX-License-Identifier: Apache-2.0
"""Which loops of a program are worth writing out several times.

Fuel is counted at every jump back. In a short loop that test costs as much as the work, and LLVM does not unroll loops
with several ways out. So the innermost short loops are written a few times over: if there is fuel for all the turns,
they run without a test in between, counting all the same; otherwise the plain loop runs, which tests at every turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prestocloud_sec.bpf.isa import Branch, CallHelper, CallLocal, CallRegister, Instruction, Jump, LegacyLoad, MayGoto

__all__ = ["ShortLoop", "short_loops"]

_LONGEST = 48
_MOST_TEXT = 64
_MOST_TURNS = 8
_LEAVES = (CallHelper, CallLocal, CallRegister, LegacyLoad, MayGoto)


@dataclass(frozen=True, slots=True)
class ShortLoop:
    """Instructions `head` to `last`, entered at `head` alone, with every jump back leading there.

    Attributes
    ----------
    head, last : int
        The first instruction and the last jump back.
    turns : int
        How often it is written out.
    """

    head: int
    last: int
    turns: int

    @property
    def fuel(self) -> int:
        """What all turns together can cost at most."""
        return self.turns * (self.last - self.head + 1)

    def __contains__(self, index: int) -> bool:
        return self.head <= index <= self.last


def short_loops(
    instructions: Sequence[Instruction], targets: Sequence[int | None], order: Sequence[int]
) -> Mapping[int, ShortLoop]:
    """Return the loops worth it by their head.

    Parameters
    ----------
    instructions, targets : sequence
        Those of a program.
    order : sequence of int
        The instructions that the function reaches, ascending.
    """
    jumps = [
        (index, target)
        for index in order
        if isinstance(instructions[index], Jump | Branch | MayGoto) and (target := targets[index]) is not None
    ]
    last: dict[int, int] = {}
    for index, target in jumps:
        if target <= index:
            last[target] = max(last.get(target, 0), index)
    reached = set(order)
    found = {}
    for head, end in last.items():
        size = end - head + 1
        if size > _LONGEST or not reached.issuperset(range(head, end + 1)):
            continue
        if any(isinstance(instructions[index], _LEAVES) for index in range(head, end + 1)):
            continue
        if any(_spoils(index, target, head, end) for index, target in jumps):
            continue
        found[head] = ShortLoop(head, end, max(2, min(_MOST_TURNS, _MOST_TEXT // size)))
    return found


def _spoils(index: int, target: int, head: int, end: int) -> bool:
    """Whether a jump enters a loop other than at its head, or jumps back within it to elsewhere."""
    inside = head <= index <= end
    return head < target <= end and (not inside or target <= index)
