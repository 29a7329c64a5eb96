# SPDX-License-Identifier: Apache-2.0
"""Where states are compared with earlier ones, and where ways come together (Linux 6.18, ``visit_insn``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from prestocloud_sec.bpf.helpers.ids import HelperId
from prestocloud_sec.bpf.isa import (
    Branch,
    CallHelper,
    CallKfunc,
    CallLocal,
    ImmKind,
    Instruction,
    Jump,
    LoadImm64,
    MayGoto,
)

__all__ = ["CALLBACKS", "Stops", "stops_of"]

CALLBACKS = frozenset(
    {
        HelperId.FOR_EACH_MAP_ELEM,
        HelperId.TIMER_SET_CALLBACK,
        HelperId.FIND_VMA,
        HelperId.LOOP,
        HelperId.USER_RINGBUF_DRAIN,
    }
)
"""Helpers that call a function of the program."""


class Stops(NamedTuple):
    """Places in a program.

    Attributes
    ----------
    compared : frozenset of int
        Instructions before which states are compared.
    landings : frozenset of int
        Those that ways come to from elsewhere than the instruction before.
    forced : frozenset of int
        Those before which every state is kept, as loops go on there for as long as states differ.
    repeating : frozenset of int
        Calls of helpers that may call a function again and again.
    iterating : frozenset of int
        Calls that ask an iterator for one more.
    """

    compared: frozenset[int]
    landings: frozenset[int]
    forced: frozenset[int]
    repeating: frozenset[int]
    iterating: frozenset[int] = frozenset()


def stops_of(
    instructions: Sequence[Instruction], targets: Sequence[int | None], iterating: frozenset[int] = frozenset()
) -> Stops:
    """Return where a program is stopped at.

    Parameters
    ----------
    instructions : sequence of Instruction
    targets : sequence of int or None
        Where each leads to, calls too.
    iterating : frozenset of int
        Calls that ask an iterator for one more.
    """
    compared, landings, forced, repeating = set(), set(), set(), set()
    for index, i in enumerate(instructions):
        target = targets[index]
        match i:
            case Branch() | MayGoto():
                compared.add(index)
            case CallLocal() | LoadImm64(_, ImmKind.FUNCTION):
                compared.update((index, index + 1))
                landings.add(index + 1)
            case CallHelper() | CallKfunc():
                compared.add(index + 1)
                landings.add(index + 1)
            case Jump():
                pass
            case _:
                continue
        if target is not None:
            compared.add(target)
            landings.add(target)
        if isinstance(i, MayGoto):
            forced.add(index)
        if isinstance(i, CallHelper) and i.number in CALLBACKS:
            compared.add(index)
            if i.number != HelperId.TIMER_SET_CALLBACK:  # whose function runs some other time, and once
                forced.add(index)
                repeating.add(index)
    compared |= iterating
    forced |= iterating
    return Stops(frozenset(compared), frozenset(landings), frozenset(forced), frozenset(repeating), iterating)
