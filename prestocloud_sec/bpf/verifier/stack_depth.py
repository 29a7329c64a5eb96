# SPDX-License-Identifier: Apache-2.0
"""How much stack chains of calls use (Linux 6.18, ``check_max_stack_depth``)."""

from __future__ import annotations

from typing import NamedTuple

from prestocloud_sec.bpf.isa import CallLocal, ImmKind, LoadImm64
from prestocloud_sec.bpf.verifier.rejection import Rejected, Rule
from prestocloud_sec.bpf.verifier.state import MAX_FRAMES, STACK_SIZE
from prestocloud_sec.bpf.verifier.structure import is_tail_call
from prestocloud_sec.bpf.verifier.walk import Walk

__all__ = ["check_depth"]


def check_depth(walk: Walk) -> None:
    """Check that no chain of calls uses more stack than there is, or is too long.

    Chains are gone through in the order of the calls, and the first that is too much is refused. A function that calls
    itself, if only where nothing ever comes, is a chain without an end.

    Raises
    ------
    Rejected
    """
    calls_of: list[dict[int, int]] = [{} for _ in walk.depth_used]
    for index, i in enumerate(walk.env.instructions):
        target = walk.env.targets[index]
        refers = isinstance(i, CallLocal) or (isinstance(i, LoadImm64) and i.kind is ImmKind.FUNCTION)
        if refers and target is not None:
            calls_of[walk.functions.of(index)].setdefault(walk.functions.of(target), index)
    tails = {walk.functions.of(index) for index, i in enumerate(walk.env.instructions) if is_tail_call(i)} - {0}
    used = [-(-bytes // 16) * 16 for bytes in walk.depth_used]
    deepest: dict[int, _Need] = {}
    _measure(0, used, tails, calls_of, deepest, set())
    if not deepest[0].fits(0, 0):
        raise _first(used, tails, calls_of, deepest)


class _Need(NamedTuple):
    """What a function and all that it calls need.

    Attributes
    ----------
    bytes : int
        Of stack, at most.
    frames : int
        At most.
    before : int
        Bytes that may be in use already where it is called, at most: tail calls leave room for what they lead to.
    """

    bytes: int
    frames: int
    before: int = STACK_SIZE

    def fits(self, bytes: int, frames: int) -> bool:
        """Whether there is so much beside what is in use."""
        return bytes + self.bytes <= STACK_SIZE and frames + self.frames <= MAX_FRAMES and bytes <= self.before


_ENDLESS = _Need(0, MAX_FRAMES + 1)
_BEFORE_TAIL_CALL = 255
_TAIL = "bpf_tail_call"


def _measure(
    function: int,
    used: list[int],
    tails: set[int],
    calls_of: list[dict[int, int]],
    deepest: dict[int, _Need],
    chain: set[int],
) -> None:
    """Find what a function and all that it calls need, each function once."""
    chain.add(function)
    most, frames, before = 0, 0, _BEFORE_TAIL_CALL if function in tails else STACK_SIZE
    for callee in calls_of[function]:
        if callee not in deepest and callee not in chain:
            _measure(callee, used, tails, calls_of, deepest, chain)
        below = deepest.get(callee, _ENDLESS)
        most, frames = max(most, below.bytes), max(frames, below.frames)
        before = min(before, below.before - used[function])
    chain.remove(function)
    deepest[function] = _Need(used[function] + most, frames + 1, before)


def _first(used: list[int], tails: set[int], calls_of: list[dict[int, int]], deepest: dict[int, _Need]) -> Rejected:
    """Return why the first chain of calls is refused that is too much."""
    function, bytes, frames, call = 0, used[0], 1, 0
    while bytes <= STACK_SIZE:
        for callee, index in calls_of[function].items():
            if not deepest[callee].fits(bytes, frames):
                function, call = callee, index
                break
        if frames == MAX_FRAMES:
            return _at(call, f"the call stack of {frames} frames is too deep !", "E2BIG")
        if function in tails and bytes > _BEFORE_TAIL_CALL:
            what = f"tail_calls are not allowed when call stack of previous frames is {bytes} bytes. Too large"
            return _at(call, what, hint=f"callers of what calls {_TAIL} share less than 256 bytes of stack")
        bytes, frames = bytes + used[function], frames + 1
    hint = "all functions of a chain of calls share 512 bytes"
    return _at(call, f"combined stack size of {frames} calls is {bytes}. Too large", hint=hint)


def _at(index: int, what: str, errno: str = "EACCES", hint: str = "") -> Rejected:
    made = Rejected(Rule.STACK_DEPTH, what, errno, hint=hint)
    made.instruction = index
    return made
