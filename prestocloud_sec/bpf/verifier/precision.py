# SPDX-License-Identifier: Apache-2.0
"""Which numbers a check depended on: back along the way from the register that was checked.

Follows Linux 6.18 (``mark_chain_precision``, ``backtrack_insn``).

A way is a chain of `Checkpoint` objects, each with the instructions from the one before. Going back over an instruction
turns what was needed after it into what was needed before it; at a checkpoint what is needed there is noted, so that
states are compared with it by that. What cannot be followed (a callback, a packet word) makes all numbers needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from prestocloud_sec.bpf.isa import (
    Alu,
    AluOp,
    Atomic,
    AtomicOp,
    Branch,
    CallHelper,
    CallKfunc,
    CallLocal,
    Exit,
    Extend,
    Instruction,
    LegacyLoad,
    Load,
    LoadAcquire,
    LoadImm64,
    Store,
    StoreRelease,
)
from prestocloud_sec.bpf.verifier.registers import Kind
from prestocloud_sec.bpf.verifier.state import Byte, State

__all__ = ["Checkpoint", "Step", "mark", "mark_everything"]


class Step(NamedTuple):
    """An instruction on a way.

    Attributes
    ----------
    at : int
        Its index.
    depth : int
        Frames before it.
    place : tuple of (int, int) or None
        For an access to the stack: frame and slot.
    linked : tuple of (int, int)
        For a branch on numbers with copies: where these are, as `Checkpoint.precise` has it. For the end of a function
        that a helper calls: what its caller had given the helper, which is needed where that was called already.
    """

    at: int
    depth: int
    place: tuple[int, int] | None = None
    linked: tuple[tuple[int, int], ...] = ()


class Checkpoint:
    """A state that was reached, kept to compare later ones with.

    Attributes
    ----------
    state : State
    index : int
        The instruction before which it is.
    parent : Checkpoint or None
    steps : list of Step
        From the parent to here.
    branches : int
        Ways from here that are not gone to their end.
    precise : set of (int, int)
        What is needed: frame, and register, or slot (negative).
    hits, misses : int
        How often a later state was covered, and was not.
    unroll : int
        Turns of loops of helpers that led here.
    depth : int
        How many states were kept on the way here.
    cleaned : bool
        Whether what is not read later was taken out of the state.
    """

    __slots__ = (
        "branches",
        "cleaned",
        "depth",
        "hits",
        "index",
        "misses",
        "parent",
        "precise",
        "state",
        "steps",
        "unroll",
    )

    def __init__(self, state: State, index: int, parent: Checkpoint | None, steps: list[Step]) -> None:
        self.state = state
        self.index = index
        self.parent = parent
        self.steps = steps
        self.branches = self.hits = self.misses = 0
        self.precise: set[tuple[int, int]] = set()
        self.unroll = 0
        self.cleaned = False
        self.depth: int = 0 if parent is None else parent.depth + 1


def mark(
    instructions: Sequence[Instruction],
    parent: Checkpoint | None,
    steps: list[Step],
    needed: Iterable[tuple[int, int]],
    asked: dict[int, set[tuple[int, int]]] | None = None,
) -> bool:
    """Note at every checkpoint of a way what is needed there so that `needed` is known at its end.

    Parameters
    ----------
    instructions, parent, steps
        The way: what was kept on it last, and its steps since.
    needed : iterable of (int, int)
    asked : dict of int to set of (int, int), optional
        What was asked before on this way, by how many steps there were, and need not be asked again. This is added.

    Returns
    -------
    bool
        Whether something was needed that was not before.
    """
    wanted = set(needed)
    changed = False
    known = {} if asked is None else asked
    if asked is not None:
        wanted -= asked.get(len(steps), set())
        asked.setdefault(len(steps), set()).update(wanted)
    while wanted:
        for before in range(len(steps) - 1, -1, -1):
            step = steps[before]
            i = instructions[step.at]
            over = _BACK.get(type(i))
            if over is not None and not over(i, step, wanted):
                mark_everything(parent)
                return changed
            if before in known:
                wanted -= known[before]
            if not wanted:
                return changed
        known = {}
        if parent is None:
            return changed
        wanted = _note(parent, wanted)
        changed = changed or bool(wanted)
        steps, parent = parent.steps, parent.parent
    return changed


def _note(checkpoint: Checkpoint, wanted: set[tuple[int, int]]) -> set[tuple[int, int]]:
    """Note what is needed at a checkpoint; return what was not yet."""
    fresh = set()
    for depth, number in wanted:
        if depth >= len(checkpoint.state.frames) or (depth, number) in checkpoint.precise:
            continue
        frame = checkpoint.state.frames[depth]
        held = frame.registers[number] if number >= 0 else frame.slot(number).register
        if number < 0 and frame.slot(number).bytes[0] != Byte.SPILL:
            continue
        if held is not None and held.kind is Kind.NUMBER:
            checkpoint.precise.add((depth, number))
            fresh.add((depth, number))
    return fresh


def mark_everything(checkpoint: Checkpoint | None) -> None:
    """Let every number be needed at all checkpoints of a way."""
    while checkpoint is not None:
        for depth, frame in enumerate(checkpoint.state.frames):
            checkpoint.precise.update((depth, number) for number in range(10))
            checkpoint.precise.update((depth, number) for number in frame.stack)
        checkpoint = checkpoint.parent


# --- Back over one instruction: what is needed after it becomes what is needed before it; False if that cannot be told.

_Wanted = set[tuple[int, int]]


def _over_alu(i: Alu, step: Step, wanted: _Wanted) -> bool:
    here = (step.depth, i.dst)
    if here in wanted:
        if i.op is AluOp.MOV:
            wanted.discard(here)
        _add(wanted, step.depth, i.src)
    return True


def _over_extend(i: Extend, step: Step, wanted: _Wanted) -> bool:
    here = (step.depth, i.dst)
    if here in wanted:
        wanted.discard(here)
        _add(wanted, step.depth, i.src)
    return True


def _over_load(i: Load | LoadAcquire, step: Step, wanted: _Wanted) -> bool:
    _loaded(step, wanted, i.dst)
    return True


def _over_load_imm64(i: LoadImm64, step: Step, wanted: _Wanted) -> bool:
    wanted.discard((step.depth, i.dst))
    return True


def _over_store(i: Store | StoreRelease, step: Step, wanted: _Wanted) -> bool:
    if (step.depth, i.base) in wanted:
        return False
    if step.place is not None and step.place in wanted:
        wanted.discard(step.place)
        _add(wanted, step.depth, i.src)
    return True


def _over_atomic(i: Atomic, step: Step, wanted: _Wanted) -> bool:
    if (step.depth, i.base) in wanted:
        return False
    if i.op is AtomicOp.CMPXCHG:
        _loaded(step, wanted, 0)
    elif i.fetch:
        _loaded(step, wanted, i.src)
    return step.place not in wanted


def _over_branch(i: Branch, step: Step, wanted: _Wanted) -> bool:
    depth, src = step.depth, i.src
    if step.linked and not wanted.isdisjoint(step.linked):
        wanted.update(step.linked)
    if type(src) is int and ((depth, i.dst) in wanted or (depth, src) in wanted):
        _add(wanted, depth, i.dst)
        _add(wanted, depth, src)
    if step.linked and not wanted.isdisjoint(step.linked):
        wanted.update(step.linked)
    return True


def _over_helper(_: CallHelper | CallKfunc, step: Step, wanted: _Wanted) -> bool:
    wanted.difference_update([(step.depth, number) for number in range(6)])
    return True


def _over_call(_: CallLocal, step: Step, wanted: _Wanted) -> bool:
    depth = step.depth
    for number in range(1, 6):
        if (depth + 1, number) in wanted:
            wanted.discard((depth + 1, number))
            wanted.add((depth, number))
    return not any(where == depth + 1 for where, _ in wanted)


def _over_exit(_: Exit, step: Step, wanted: _Wanted) -> bool:
    depth = step.depth
    if depth and (depth - 1, 0) in wanted:
        wanted.discard((depth - 1, 0))
        wanted.add((depth, 0))
    return True


def _over_legacy_load(_: LegacyLoad, step: Step, wanted: _Wanted) -> bool:
    return not any((step.depth, number) in wanted for number in range(6))


_BACK: dict[type[Instruction], Callable[[Any, Step, _Wanted], bool]] = {
    Alu: _over_alu,
    Extend: _over_extend,
    Load: _over_load,
    LoadAcquire: _over_load,
    LoadImm64: _over_load_imm64,
    Store: _over_store,
    StoreRelease: _over_store,
    Atomic: _over_atomic,
    Branch: _over_branch,
    CallHelper: _over_helper,
    CallKfunc: _over_helper,
    CallLocal: _over_call,
    Exit: _over_exit,
    LegacyLoad: _over_legacy_load,
}
"""What an instruction that is not here writes is needed no less before it."""


def _add(wanted: set[tuple[int, int]], depth: int, register: object) -> None:
    if type(register) is int and register < 10:
        wanted.add((depth, register))


def _loaded(step: Step, wanted: set[tuple[int, int]], dst: int) -> None:
    if (step.depth, dst) in wanted:
        wanted.discard((step.depth, dst))
        if step.place is not None:
            wanted.add(step.place)
