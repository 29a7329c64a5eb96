# SPDX-License-Identifier: Apache-2.0
"""How much stack chains of calls use (Linux 6.18, ``check_max_stack_depth``)."""

from __future__ import annotations

from typing import NamedTuple

from prestocloud_sec.bpf.isa import CallLocal, ImmKind, LoadImm64
from prestocloud_sec.bpf.verifier.rejection import Rejected, Rule
from prestocloud_sec.bpf.verifier.state import MAX_FRAMES, STACK_SIZE
from prestocloud_sec.bpf.verifier.walk import Walk

__all__ = ["check_depth"]


def check_depth(walk: Walk) -> None:
    """Check that no chain of calls uses more stack than there is, or is too long.

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
    deepest: dict[int, _Depth] = {}
    _measure(0, [-(-used // 16) * 16 for used in walk.depth_used], calls_of, deepest, [])
    depth = deepest[0]
    if depth.bytes > STACK_SIZE:
        raise _at(
            depth.call,
            f"combined stack size of {depth.frames} calls is {depth.bytes}. Too large",
            hint="all functions of a chain of calls share 512 bytes",
        )
    if depth.frames > MAX_FRAMES:
        raise _at(depth.call, f"the call stack of {depth.frames} frames is too deep !", "E2BIG")


class _Depth(NamedTuple):
    """What the calls of a function need at most: bytes of stack, and frames; and the call that leads there."""

    bytes: int
    frames: int
    call: int


def _measure(
    function: int, used: list[int], calls_of: list[dict[int, int]], deepest: dict[int, _Depth], chain: list[int]
) -> None:
    """Find what a function and all that it calls need, each function once."""
    chain.append(function)
    most, frames, call = 0, 0, 0
    for callee, index in calls_of[function].items():
        if callee in chain:
            raise _at(index, "recursive call", "EINVAL")
        if callee not in deepest:
            _measure(callee, used, calls_of, deepest, chain)
        below = deepest[callee]
        if below.bytes > most or not frames:
            most, call = max(most, below.bytes), index
        frames = max(frames, below.frames)
    chain.pop()
    deepest[function] = _Depth(used[function] + most, frames + 1, call)


def _at(index: int, what: str, errno: str = "EACCES", hint: str = "") -> Rejected:
    made = Rejected(Rule.STACK_DEPTH, what, errno, hint=hint)
    made.instruction = index
    return made
