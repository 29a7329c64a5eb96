# SPDX-License-Identifier: Apache-2.0
"""A state of the symbolic execution: frames with registers and stack, what was acquired, which lock is held."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from prestocloud_sec.bpf.verifier.registers import NOTHING, Kind, Register, known
from prestocloud_sec.bpf.verifier.scalar import Scalar

__all__ = ["Byte", "Callback", "Frame", "Slot", "StackIterator", "State"]

MAX_FRAMES = 8
STACK_SIZE = 512


class Byte:
    """What a byte of the stack holds (Linux ``include/linux/bpf_verifier.h``, ``enum bpf_stack_slot_type``)."""

    INVALID = 0
    """Never written."""
    SPILL = 1
    """Part of the register that the slot keeps."""
    MISC = 2
    """Something."""
    ZERO = 3
    ITERATOR = 4
    """Part of an iterator, which only kernel functions may touch."""


_SCRUBBED = bytes.maketrans(bytes([Byte.SPILL, Byte.ITERATOR]), bytes([Byte.MISC, Byte.MISC]))


class StackIterator(NamedTuple):
    """What is known of an iterator that is kept on the stack (Linux ``struct bpf_reg_state``, ``iter``).

    Attributes
    ----------
    type : str
        What it goes through: ``num``, ``bits``.
    reference : int
        Which acquisition it is; 0 in all its slots but the lowest.
    active : bool
        Whether it may give one more; it was found to be at its end otherwise.
    depth : int
        How often it has given one on this way.
    """

    type: str
    reference: int
    active: bool = True
    depth: int = 0


class Slot(NamedTuple):
    """Eight aligned bytes of a stack frame.

    Attributes
    ----------
    bytes : bytes
        A `Byte` for each, by address.
    register : Register or None
        What its bytes from the lowest on keep, as many as are `Byte.SPILL`.
    iterator : StackIterator or None
        What its bytes are part of, if they are `Byte.ITERATOR`.
    """

    bytes: bytes
    register: Register | None
    iterator: StackIterator | None = None

    @property
    def spilled(self) -> int:
        """How many of its bytes keep the register."""
        return self.bytes.count(Byte.SPILL) if self.bytes[0] == Byte.SPILL and self.register is not None else 0

    @property
    def whole(self) -> bool:
        """Whether its bytes mean something together, so that a write to one of them ends that."""
        return self.register is not None or self.bytes[0] == Byte.ITERATOR

    def scrubbed(self) -> Slot:
        """Return the same with nothing kept: of what was, something remains."""
        return Slot(self.bytes.translate(_SCRUBBED), None)


EMPTY = Slot(bytes(8), None)


class Callback(NamedTuple):
    """A function that a helper calls.

    Attributes
    ----------
    helper : int
        Which helper.
    call : int
        The instruction that calls it.
    """

    helper: int
    call: int


class Frame:
    """A function that runs.

    Attributes
    ----------
    registers : list of Register
        r0 to r10.
    stack : dict of int to Slot
        By ``offset // 8`` from r10, so from -64 to -1; what is not there was never written.
    entry : int
        The instruction that the function begins with.
    returns_to : int
        The instruction after the call, -1 for the outermost.
    callback : Callback or None
        If a helper called it.
    turns : int
        How often a helper that was called here has called back so far.
    """

    __slots__ = ("callback", "entry", "registers", "returns_to", "stack", "turns")

    def __init__(self, number: int, entry: int, returns_to: int = -1, callback: Callback | None = None) -> None:
        self.registers = [NOTHING] * 10
        self.registers.append(Register(Kind.STACK, Scalar.const(0), frame=number))
        self.stack: dict[int, Slot] = {}
        self.entry = entry
        self.returns_to = returns_to
        self.callback = callback
        self.turns = 0

    def copy(self) -> Frame:
        """Return a frame that says the same."""
        made = Frame.__new__(Frame)
        made.registers = self.registers.copy()
        made.stack = self.stack.copy()
        made.entry, made.returns_to, made.callback = self.entry, self.returns_to, self.callback
        made.turns = self.turns
        return made

    def slot(self, number: int) -> Slot:
        """Return a slot of the stack."""
        return self.stack.get(number, EMPTY)


class State:
    """Everything known at a point of a way through the program.

    Attributes
    ----------
    frames : list of Frame
        The outermost first.
    references : tuple of (int, int)
        What has to be released: identifier, and the instruction that acquired it.
    lock : tuple of (MapSpec or int) or None
        Which spin lock is held.
    """

    __slots__ = ("frames", "lock", "may_goto", "references")

    def __init__(self, frames: list[Frame]) -> None:
        self.frames = frames
        self.references: tuple[tuple[int, int], ...] = ()
        self.lock: tuple[object, int] | None = None
        self.may_goto = 0

    def copy(self) -> State:
        """Return a state that says the same."""
        made = State([frame.copy() for frame in self.frames])
        made.references, made.lock, made.may_goto = self.references, self.lock, self.may_goto
        return made

    @property
    def frame(self) -> Frame:
        """The function that runs."""
        return self.frames[-1]

    @property
    def registers(self) -> list[Register]:
        """Its registers."""
        return self.frames[-1].registers

    def places(self) -> Iterator[tuple[list[Register] | dict[int, Slot], int, Register]]:
        """Yield every register, in all frames and kept on stacks, with where it is: list or dictionary, and index."""
        for frame in self.frames:
            registers = frame.registers
            for index in range(10):
                yield registers, index, registers[index]
            stack = frame.stack
            for index, slot in list(stack.items()):
                if slot.register is not None and slot.bytes[0] == Byte.SPILL:
                    yield stack, index, slot.register

    def put(self, where: list[Register] | dict[int, Slot], index: int, register: Register) -> None:
        """Put a register in a place that `places` gave."""
        if isinstance(where, list):
            where[index] = register
        else:
            where[index] = where[index]._replace(register=register)

    def release(self, reference: int) -> bool:
        """Forget an acquisition; whether there was one."""
        kept = tuple(pair for pair in self.references if pair[0] != reference)
        found = len(kept) != len(self.references)
        self.references = kept
        return found


def cleared(registers: list[Register]) -> None:
    """Let r1 to r5 hold nothing, as after a call."""
    registers[1:6] = [NOTHING] * 5


ZERO = known(0)
