# SPDX-License-Identifier: Apache-2.0
"""The way that leads to an instruction that is refused, with what is known before each step of it.

A verdict is reached without keeping the way. Whoever asks for it pays for it: the exploration is repeated twice, since
it does the same every time. The first repetition finds which of all the steps lie on the way (a way is a chain of
steps; ways that wait keep the step they parted from), the second keeps the states of those.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from prestocloud_sec.bpf.isa import Exit, Instruction
from prestocloud_sec.bpf.verifier.environment import Environment
from prestocloud_sec.bpf.verifier.explore import Explorer
from prestocloud_sec.bpf.verifier.registers import Kind
from prestocloud_sec.bpf.verifier.rejection import Rejected
from prestocloud_sec.bpf.verifier.state import State
from prestocloud_sec.bpf.verifier.wording import frame_text, register_text
from prestocloud_sec.bpf.verifier.wording_instructions import touched

__all__ = ["MOST_STEPS", "PathStep", "way_to_fault"]

MOST_STEPS = 4096
"""Steps of a way that are kept, the last ones."""


@dataclass(frozen=True, slots=True, eq=False)
class PathStep:
    """One instruction on a way, and what is known before it.

    Attributes
    ----------
    index, slot : int
        The instruction, and its first unit of eight bytes.
    instruction : Instruction
    text : str
        The same as text.
    state : State or None
        What is known before it; None where the program was refused before any way was gone.
    """

    index: int
    slot: int
    instruction: Instruction = field(repr=False)
    text: str
    state: State | None = field(repr=False)

    @property
    def depth(self) -> int:
        """How many functions called each other to get here; 0 in the outermost."""
        return len(self.state.frames) - 1 if self.state is not None else 0

    @property
    def registers(self) -> Mapping[str, str]:
        """What each register holds that holds something, in the kernel's words."""
        if self.state is None:
            return {}
        depth = self.depth
        return {
            f"r{number}": register_text(register, depth)
            for number, register in enumerate(self.state.registers)
            if register.kind is not Kind.NOTHING
        }

    @property
    def known(self) -> str:
        """All that is known in the function that runs, registers and stack, in one line."""
        return "" if self.state is None else frame_text(self.state)

    @property
    def relevant(self) -> str:
        """What is known of the registers that the instruction names, in one line."""
        if self.state is None:
            return ""
        named = {0} if isinstance(self.instruction, Exit) else touched(self.instruction)
        return frame_text(self.state, registers=named, slots=())

    def __str__(self) -> str:
        return f"{self.slot}: {self.text}"


_Node = tuple[int, int, "_Node | None"]
"""Number of the step, its instruction, and the step before it."""


class _Following(Explorer):
    """Goes the same ways again, and knows how it came to where it is."""

    def __init__(self, env: Environment) -> None:
        super().__init__(env, observe=self._note)
        self.last: _Node | None = None
        self._count = 0
        self._on: State | None = None
        self._parted: dict[int, _Node | None] = {}

    def push(self, state: State, index: int, unroll: int | None = None) -> None:
        self._parted[id(state)] = self.last
        super().push(state, index, unroll)

    def _note(self, index: int, state: State) -> None:
        if state is not self._on:  # a way that waited
            self.last = self._parted.pop(id(state), None)
            self._on = state
        self._count += 1
        self.last = (self._count, index, self.last)

    def _check_stack(self) -> None:
        self.last = None  # all ways were gone to their ends: it is none of them that is to blame
        super()._check_stack()


def way_to_fault(again: Callable[[], Environment], instruction: int | None) -> list[tuple[int, State | None]]:
    """Return the instructions that lead to a fault, the faulty one last, each with what is known before it.

    Parameters
    ----------
    again : callable
        Gives a new environment for the program that was refused.
    instruction : int or None
        The instruction that was blamed.
    """
    numbers = _numbers(again)
    wanted = dict(numbers[-MOST_STEPS:])
    states = _states(again, frozenset(wanted))
    way: list[tuple[int, State | None]] = [(index, states.get(number)) for number, index in wanted.items()]
    if instruction is not None and (not way or way[-1][0] != instruction):
        way.append((instruction, None))
    return way


def _numbers(again: Callable[[], Environment]) -> list[tuple[int, int]]:
    try:
        following = _Following(again())
    except Rejected:
        return []
    with suppress(Rejected):
        following.run()
    found = []
    node = following.last
    while node is not None:
        number, index, node = node
        found.append((number, index))
    return found[::-1]


def _states(again: Callable[[], Environment], wanted: frozenset[int]) -> dict[int, State]:
    kept: dict[int, State] = {}
    if not wanted:
        return kept
    count = 0

    def note(_: int, state: State) -> None:
        nonlocal count
        count += 1
        if count in wanted:
            kept[count] = state.copy()

    with suppress(Rejected):
        Explorer(again(), observe=note).run()
    return kept
