# SPDX-License-Identifier: Apache-2.0
"""Iterators in a watched run (`prestocloud_sec.bpf.verifier.watching`): where they are, and who may touch them.

To the machine an iterator is memory of the program like any other. Here its place is known, so that what only a
verifier minds is seen: a read of it, a call that finds none, one that is never ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from prestocloud_sec.bpf.helpers.ids import KfuncId
from prestocloud_sec.bpf.verifier.expressions import constant
from prestocloud_sec.bpf.verifier.iterators import ITERATOR_KFUNCS, Does, IteratorKfunc
from prestocloud_sec.bpf.verifier.registers import Kind
from prestocloud_sec.bpf.verifier.rejection import Rule
from prestocloud_sec.bpf.verifier.shadows import NOTHING, Shadow, as_number
from prestocloud_sec.bpf.verifier.state import STACK_SIZE

if TYPE_CHECKING:
    from prestocloud_sec.bpf.verifier.watching import Watch

__all__ = ["Iterators", "after_call", "before_call", "row_of"]

_ROWS = {int(number): ITERATOR_KFUNCS[number.kfunc_name] for number in KfuncId}


class _Held(NamedTuple):
    """An iterator: its kind, which call made it, and its bytes."""

    type: str
    token: int
    size: int


class Iterators:
    """The iterators of a run, by address."""

    def __init__(self) -> None:
        self._at: dict[int, _Held] = {}
        self.unended: dict[int, int] = {}
        """Which are not ended, by the call that made them: the instruction."""

    def at(self, address: int) -> _Held | None:
        """Return the iterator that begins at an address."""
        return self._at.get(address)

    def touched(self, address: int, size: int) -> list[int]:
        """Return where the iterators begin that bytes belong to."""
        return [at for at, held in self._at.items() if at < address + size and address < at + held.size]

    def forget(self, address: int, size: int) -> None:
        """Let iterators be none any more of which bytes are overwritten, or gone with their frame."""
        for at in self.touched(address, size):
            del self._at[at]

    def add(self, address: int, held: _Held, instruction: int) -> None:
        """Note a new one."""
        self._at[address] = held
        self.unended[held.token] = instruction

    def end(self, address: int) -> int:
        """Note that one is ended; return the call that had made it."""
        held = self._at.pop(address)
        self.unended.pop(held.token, None)
        return held.token

    def leave(self, top: int) -> None:
        """Note that a frame ends, of which this is the upper end."""
        self.forget(top - STACK_SIZE, STACK_SIZE)


def row_of(number: int) -> IteratorKfunc | None:
    """Return the kernel function that a machine calls by this number."""
    return _ROWS.get(number)


def before_call(run: Watch, row: IteratorKfunc) -> None:
    """Look at a call that is about to be made."""
    held, address = run.read(1), run.registers[1]
    if held.kind is not Kind.STACK:
        raise run.violated(Rule.ARGUMENT, f"r1 does not point at the stack, where an iterator of {row.type} is wanted")
    if row.does is Does.NEW:
        if address % 8 or run.iterators.touched(address, 8 * row.slots):
            raise run.violated(Rule.ARGUMENT, f"there is no place for an iterator at {address:#x}")
        for name in range(2, row.parameters + 1):
            if row.takes_number(name) and run.read(name).kind is not Kind.NUMBER:
                raise run.violated(Rule.ARGUMENT, f"r{name} is an address, where a number is wanted")
        return
    found = run.iterators.at(address)
    if found is None or found.type != row.type:
        raise run.violated(Rule.ARGUMENT, f"there is no iterator of {row.type} at {address:#x}")


def after_call(run: Watch, row: IteratorKfunc, address: int, instruction: int) -> None:
    """Keep what a call did.

    Parameters
    ----------
    run : Watch
    row : IteratorKfunc
    address : int
        Of its iterator.
    instruction : int
        The call.
    """
    run.opaque = True
    now = run.registers[0]
    size = 8 * row.slots
    run.shadows[0] = as_number(constant(now))
    run.shadows[1:6] = [NOTHING] * 5
    for place in range(address, address + size):
        run.bytes.pop(place, None)
        run.kept.pop(place, None)
    if row.does is Does.NEW:
        run.iterators.add(address, _Held(row.type, len(run.order), size), instruction)
    elif row.does is Does.DESTROY:
        run.given_back(run.iterators.end(address))
        run.shadows[0] = NOTHING
    elif now:
        found = run.iterators.at(address)
        run.shadows[0] = Shadow(Kind.MEMORY, constant(now), token=found.token if found is not None else 0, base=now)
