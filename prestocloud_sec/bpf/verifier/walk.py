# SPDX-License-Identifier: Apache-2.0
"""What every step through a program needs: the way that is gone, its registers, and those that wait."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from prestocloud_sec.bpf.isa import CallHelper, CallLocal, Imm, Instruction
from prestocloud_sec.bpf.verifier import global_functions
from prestocloud_sec.bpf.verifier.environment import Environment
from prestocloud_sec.bpf.verifier.iterators import Does
from prestocloud_sec.bpf.verifier.live_stack import LiveStack, call_site, called_alike
from prestocloud_sec.bpf.verifier.precision import Checkpoint, Step, mark
from prestocloud_sec.bpf.verifier.pruning import widened
from prestocloud_sec.bpf.verifier.registers import Kind, Register, known
from prestocloud_sec.bpf.verifier.rejection import Rejected, Rule
from prestocloud_sec.bpf.verifier.state import State
from prestocloud_sec.bpf.verifier.stops import Stops, stops_of
from prestocloud_sec.bpf.verifier.structure import Functions, check

__all__ = ["Walk", "Way"]

_MOST_WAITING = 8192
_LAST_ARGUMENT = 5
_GLOBAL_CALL = CallHelper(0)
"""What stands for a call of a function that is judged by itself where that is gone back over: no way leads into the
function, and behind it r0 to r5 are new, as behind any helper; which one it is does not matter."""


class Way(NamedTuple):
    """A way that waits to be gone on with."""

    state: State
    at: int
    parent: Checkpoint | None
    steps: list[Step]
    unroll: int
    history: int


class Walk:
    """The way that is gone, and those that wait.

    Attributes
    ----------
    env : Environment
    functions : Functions
    parent : Checkpoint or None
        The last state that was kept on this way.
    steps : list of Step
        What was gone through since.
    waiting : list of Way
    depth_used : list of int
        How many bytes of stack each function uses.
    unroll : int
        Turns of loops of helpers on this way.
    history : int
        Steps since the last state was kept that are not one instruction after the other, or touch the stack.
    kept : dict of (int, int) to list of Checkpoint
        States that later ones are compared with, by instruction and what called its function, the newest last.
    needed : dict of int to Register
        Registers that a check depended on since the last state was kept, by identity.
    asked : dict of int to set of (int, int)
        What was asked of this way since the last state was kept, see `mark`.
    stops : Stops
        Where states are compared.
    uses : LiveStack
        What is read of the stack.
    followed : sequence of Instruction
        The program as `mark` goes back over it: functions that are judged by themselves are called as helpers are.
    called : set of int
        Functions that are judged by themselves and were called, by number.
    changing : frozenset of int
        Functions that may change the packet, where some are judged by themselves.
    pointers : dict of int to Kind
        What each access was made through, where the kernel rewrites it by that.
    """

    def __init__(self, env: Environment) -> None:
        self.env = env
        self.functions: Functions = check(env)
        self.waiting: list[Way] = []
        self.depth_used = [0] * len(self.functions.entries)
        self.parent: Checkpoint | None = None
        self.steps: list[Step] = []
        self.unroll = self.history = 0
        self.kept: dict[tuple[int, int], list[Checkpoint]] = {}
        self.needed: dict[int, Register] = {}
        self.asked: dict[int, set[tuple[int, int]]] = {}
        asking = frozenset(index for index, row in env.kfuncs.items() if row.does is Does.NEXT)
        self.stops: Stops = stops_of(env.instructions, env.targets, asking)
        self.uses = LiveStack(env.instructions, env.targets, self.stops.compared, self.functions.early_ends)
        self.followed: Sequence[Instruction] = self._followed()
        self.called: set[int] = set()
        self.changing = global_functions.changing_packets(env, self.functions) if env.function_types else frozenset()
        self.pointers: dict[int, Kind] = {}

    def _followed(self) -> Sequence[Instruction]:
        instructions = self.env.instructions
        if self.env.function_types is None:
            return instructions
        return [
            _GLOBAL_CALL if isinstance(i, CallLocal) and self.is_global(index) else i
            for index, i in enumerate(instructions)
        ]

    def is_global(self, index: int) -> bool:
        """Whether a call leads to a function that is judged by itself."""
        types, target = self.env.function_types, self.env.targets[index]
        return types is not None and target is not None and types.is_global(self.functions.of(target))

    def push(self, state: State, index: int, unroll: int | None = None) -> None:
        """Let a way wait."""
        if len(self.waiting) >= _MOST_WAITING:
            raise Rejected(Rule.COMPLEXITY, f"The sequence of {len(self.waiting)} jumps is too complex.", "E2BIG")
        if self.parent is not None:
            self.parent.branches += 1
        self.waiting.append(
            Way(state, index, self.parent, self.steps.copy(), self.unroll if unroll is None else unroll, self.history)
        )

    def need(self, state: State, *registers: int) -> None:
        """Note that the verdict depends on what these registers hold exactly."""
        depth = len(state.frames) - 1
        wanted = [(depth, r) for r in registers if r < 10 and state.registers[r].kind is Kind.NUMBER]
        self.needed.update((id(state.registers[r]), state.registers[r]) for _, r in wanted)
        if wanted:
            mark(self.followed, self.parent, self.steps, wanted, self.asked)

    def widen(self, state: State, index: int, depth: int) -> None:
        """Give up numbers that change from turn to turn of a loop and that nothing needed yet, so that it can end.

        Parameters
        ----------
        state : State
            What the next turn begins with.
        index : int
            Where turns begin.
        depth : int
            Only states that were kept before so many others on this way begin an earlier turn.
        """
        for old in reversed(self.kept.get((index, call_site(state.frame)), ())):
            if old.branches and old.depth < depth and called_alike(old.state, state):
                widened(old.state, state, old.precise, self.needed)
                return

    def read(self, state: State, register: int) -> Register:
        """Return a register that an instruction reads."""
        found = state.registers[register]
        if found.kind is Kind.NOTHING:
            hint = f"r{register} holds nothing here"
            if 1 <= register <= _LAST_ARGUMENT:
                hint += "; after a call r1 to r5 do not: keep what is needed in r6 to r9"
            raise Rejected(Rule.UNINITIALISED, f"R{register} !read_ok", hint=hint, register=register)
        return found

    def write(self, register: int) -> None:
        """Check that an instruction may write a register."""
        if register == 10:
            raise Rejected(Rule.STRUCTURE, "frame pointer is read only")

    def operand(self, state: State, source: int | Imm) -> Register:
        """Return an operand."""
        return known(source.value) if isinstance(source, Imm) else self.read(state, source)

    def step(self, state: State, index: int, place: tuple[int, int] | None = None, *, depth: int | None = None) -> None:
        """Note an instruction on the way."""
        self.steps.append(Step(index, len(state.frames) - 1 if depth is None else depth, place))
        if place is not None and index not in self.stops.landings:
            self.history += 1

    def shared(self, state: State, register: int, held: Register) -> Register:
        """Return a number with an identifier, so that what is learnt of a copy is learnt of it."""
        if held.kind is not Kind.NUMBER or held.number.is_const:
            return held
        held = self.identified(held)
        state.registers[register] = held
        return held

    def identified(self, held: Register) -> Register:
        """Return a number with an identifier of its own, unless it is known; it is no sum with another's any more."""
        if held.number.is_const:
            return held
        if held.delta:
            held = held.but(id=0, delta=0, narrow=False)
        return held if held.id else held.but(id=self.env.new_id())

    def note_stack(self, state: State, base: int, offset: int) -> None:
        """Note how deep a function's stack is used through a register."""
        pointer = state.registers[base]
        if pointer.kind is Kind.STACK:
            self.note_depth(state, pointer.frame, pointer.offset + pointer.number.smin + offset)

    def note_depth(self, state: State, frame: int, lowest: int) -> None:
        """Note that the stack of a frame's function is used down to a place."""
        at = self.functions.of(state.frames[frame].entry)
        self.depth_used[at] = max(self.depth_used[at], -lowest)
