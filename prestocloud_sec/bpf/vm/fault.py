# SPDX-License-Identifier: Apache-2.0
"""How a run can end other than by its exit instruction: faults as values.

Every engine reports the same fault for the same program and input. `prestocloud_sec.bpf.errors.FaultError` is the same
as an exception, for callers that prefer one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from prestocloud_sec.bpf.errors import FaultError

__all__ = ["Fault", "FaultKind"]


class FaultKind(IntEnum):
    """What happened; the numbers are those of `State.FAULT`."""

    READ = 1
    """A read of memory that is not there, or may not be read."""
    WRITE = 2
    """A write to memory that is not there, or may not be written."""
    LIMIT = 3
    """The limit of instructions is used up.

    Instructions are counted where a program can repeat them: a jump from instruction i back to instruction j <= i
    counts i - j + 1, a local call, a callback's start and a tail call count 1 each. So all engines stop at the same
    place, and code without loops costs nothing to count.
    """
    TIME = 4
    """The limit of time is used up; looked at whenever 2**16 instructions were counted (`machine.PORTION`)."""
    DEPTH = 5
    """More than eight functions are active."""
    HELPER = 6
    """There is no helper of that number here, or it raised an error."""
    MAP = 7
    """An argument that should be a map is none, or one of a kind the helper does not work on."""
    CALL = 8
    """A call through a register, or a callback, that leads to no function that the program names."""
    ARGUMENT = 9
    """An argument that the kernel's verifier would never let a helper see, such as a length beyond its memory."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a program was stopped.

    Attributes
    ----------
    kind : FaultKind
        What happened.
    instruction : int
        Index of the instruction.
    program : str
        Name of the program it belongs to, after tail calls; may be empty.
    address : int or None
        What the program tried to touch, as it sees addresses.
    size : int or None
        Bytes it tried to touch.
    region : str or None
        The region that the address is in or next to, such as ``"packet"``.
    offset : int or None
        Place in that region; negative or beyond its size where the address is outside.
    message : str
        One sentence for people.
    slot : int or None
        Where the instruction begins, in units of eight bytes: the number that texts say, as listings and the kernel do.
        None where the program is not known; texts say the index then.
    """

    kind: FaultKind
    instruction: int
    program: str = ""
    address: int | None = None
    size: int | None = None
    region: str | None = None
    offset: int | None = None
    message: str = ""
    slot: int | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return f"instruction {self.instruction if self.slot is None else self.slot}: {self.message}"

    def error(self) -> FaultError:
        """Return the same as an exception, for `raise`."""
        return FaultError(
            self.message,
            kind=self.kind.name.lower(),
            instruction=self.instruction,
            slot=self.slot,
            region=self.region,
            offset=self.offset,
            size=self.size,
        )
