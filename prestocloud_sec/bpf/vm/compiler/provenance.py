# SPDX-License-Identifier: Apache-2.0
"""Where pointers come from: a forward walk over a function that guesses what each register points at.

The compiler uses it to test an access against one region first. Whatever fails that test is looked up in the whole
region table, so a wrong guess costs time and nothing else. Only what is said of `Origin.FRAME` with a known offset is
relied upon: r10 cannot be written, and the walk follows exact copies and sums of it alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

from prestocloud_sec.bpf.helpers.ids import HelperId, KfuncId
from prestocloud_sec.bpf.isa import (
    Alu,
    AluOp,
    Atomic,
    AtomicOp,
    Branch,
    CallHelper,
    CallLocal,
    CallRegister,
    Exit,
    Imm,
    Instruction,
    Jump,
    LegacyLoad,
    Load,
    LoadAcquire,
    LoadImm64,
    MayGoto,
    Store,
    StoreRelease,
)
from prestocloud_sec.bpf.program import Program

__all__ = ["PACKET", "SCALAR", "UNKNOWN", "Environment", "Kind", "Origin", "origins"]

_LOOKUPS = (HelperId.MAP_LOOKUP_ELEM, HelperId.MAP_LOOKUP_PERCPU_ELEM)
_ITERATIONS = (KfuncId.BPF_ITER_NUM_NEXT, KfuncId.BPF_ITER_BITS_NEXT)
"""Kernel functions that return a place in what their argument points at, or 0."""
_MOST_VISITS = 24
"""Visits of an instruction after which everything is unknown there; joins only ever lose, so few need more than two."""


class Kind(Enum):
    """What a register holds."""

    UNKNOWN = auto()
    SCALAR = auto()
    PACKET = auto()
    FRAME = auto()
    CONTEXT = auto()
    MAP = auto()
    """The handle of map `number`."""
    VALUE = auto()
    """A place in a value of map `number`."""
    FUNCTION = auto()
    """The handle of the function at instruction `number`."""


class Origin(NamedTuple):
    """What a register holds, and where it points if that is known.

    Attributes
    ----------
    kind : Kind
    number : int
        The map or function; 0 for other kinds.
    offset : int or None
        Bytes from r10 (FRAME) or from the start (CONTEXT); None where it varies.
    """

    kind: Kind
    number: int = 0
    offset: int | None = None


UNKNOWN, SCALAR, PACKET = Origin(Kind.UNKNOWN), Origin(Kind.SCALAR), Origin(Kind.PACKET)
State = tuple[Origin, ...]


@dataclass(frozen=True, slots=True)
class Environment:
    """What the walk has to know of a program's surroundings.

    Attributes
    ----------
    entry : tuple of Origin
        Registers at the program's beginning.
    loads : mapping of int to Origin
        What 64-bit loads give, by index.
    packet_fields : frozenset of int
        Offsets of the context's fields that hold addresses of the packet.
    """

    entry: State
    loads: Mapping[int, Origin]
    packet_fields: frozenset[int]


def _join(a: State, b: State) -> State:
    return tuple(x if x == y else _either(x, y) for x, y in zip(a, b, strict=True))


def _either(a: Origin, b: Origin) -> Origin:
    if a.kind is b.kind and a.number == b.number:
        return Origin(a.kind, a.number)
    return UNKNOWN


def _sum(a: Origin, b: Origin, constant: int | None) -> Origin:
    """Return the origin of the sum of two registers, or of one and a constant."""
    if a.kind in {Kind.SCALAR, Kind.UNKNOWN} and b.kind not in {Kind.SCALAR, Kind.UNKNOWN, Kind.MAP, Kind.FUNCTION}:
        return Origin(b.kind, b.number)
    if a.kind in {Kind.MAP, Kind.FUNCTION}:
        return SCALAR
    if a.offset is not None and constant is not None:
        return a._replace(offset=a.offset + constant)
    return a._replace(offset=None)


_MOV, _ADD, _SUB = AluOp.MOV, AluOp.ADD, AluOp.SUB


def _alu(i: Alu, state: State) -> Origin:
    op = i.op
    if i.bits == 32 or (op is not _ADD and op is not _MOV and op is not _SUB):
        return SCALAR
    source = SCALAR if isinstance(i.src, Imm) else state[i.src]
    if op is _MOV:
        return source
    old = state[i.dst]
    if old is SCALAR and source is SCALAR:
        return SCALAR
    if op is _ADD:
        return _sum(old, source, i.src.value if isinstance(i.src, Imm) else None)
    if source.kind in {Kind.SCALAR, Kind.UNKNOWN}:
        return _sum(old, SCALAR, -i.src.value if isinstance(i.src, Imm) else None)
    return SCALAR


_ENDS = frozenset({Exit, Jump, Branch, MayGoto})
_SILENT = frozenset({Store, StoreRelease})
"""Instructions that end a straight line, and such as change no register."""


class _Walk:
    """The registers before every instruction of one program, all functions together."""

    def __init__(self, program: Program, environment: Environment) -> None:
        self.instructions: Sequence[Instruction] = program.instructions
        self.targets = program.targets
        self.environment = environment
        self.before: list[State | None] = [None] * len(self.instructions)
        self.visits = [0] * len(self.instructions)
        self.queue: list[int] = []

    def reach(self, index: int, state: State) -> None:
        """Let registers arrive before an instruction."""
        known = self.before[index]
        joined = state if known is None else _join(known, state)
        if joined == known:
            return
        self.visits[index] += 1
        if self.visits[index] > _MOST_VISITS:
            joined = (*[UNKNOWN] * 10, Origin(Kind.FRAME, 0, 0))
            if joined == known:
                return
        self.before[index] = joined
        self.queue.append(index)

    def run(self, entries: Sequence[int]) -> list[State | None]:
        self.reach(0, self.environment.entry)
        while self.queue:
            self.follow(self.queue.pop())
        unknown = (*[UNKNOWN] * 10, Origin(Kind.FRAME, 0, 0))
        for entry in entries:
            self.reach(entry, unknown)
            while self.queue:
                self.follow(self.queue.pop())
        return self.before

    def follow(self, index: int) -> None:
        """Walk from an instruction to the end of its straight line."""
        state = self.before[index]
        if state is None:
            return
        instructions, before = self.instructions, self.before
        last = len(instructions)
        while True:
            instruction = instructions[index]
            kind = type(instruction)
            if kind in _ENDS:
                self.end(instruction, index, state)
                return
            if isinstance(instruction, Alu):  # most instructions, and most of them change no origin
                found = _alu(instruction, state)
                if found is not state[instruction.dst]:
                    state = (*state[: instruction.dst], found, *state[instruction.dst + 1 :])
            elif kind not in _SILENT:
                if isinstance(instruction, CallLocal):
                    self.reach(self.targets[index] or 0, self.arguments(state))
                changed = list(state)
                self.transfer(instruction, index, changed)
                state = tuple(changed)
            index += 1
            if index >= last:
                return
            if before[index] is not None:
                self.reach(index, state)
                return
            before[index] = state

    def end(self, instruction: Instruction, index: int, state: State) -> None:
        """Hand on the registers where a straight line ends."""
        if isinstance(instruction, Exit):
            return
        self.reach(self.targets[index] or 0, state)
        if not isinstance(instruction, Jump) and index + 1 < len(self.instructions):
            self.reach(index + 1, state)

    @staticmethod
    def arguments(state: State) -> State:
        """Return what a callee finds: the caller's frame is not its own."""
        seen = [UNKNOWN if origin.kind is Kind.FRAME else origin for origin in state[:10]]
        return (*seen, Origin(Kind.FRAME, 0, 0))

    def transfer(self, instruction: Instruction, index: int, state: list[Origin]) -> None:
        match instruction:
            case Load():
                state[instruction.dst] = self.loaded(instruction, state[instruction.base])
            case LoadAcquire():
                state[instruction.dst] = UNKNOWN if instruction.size == 8 else SCALAR
            case LoadImm64():
                state[instruction.dst] = self.environment.loads.get(index, SCALAR)
            case CallHelper(number):
                state[0] = self.returned(number, state[1])
                state[1:6] = [SCALAR] * 5
            case CallLocal() | CallRegister():
                state[0] = UNKNOWN
                state[1:6] = [SCALAR] * 5
            case LegacyLoad():
                state[0:6] = [SCALAR] * 6
            case Atomic(op, fetch):
                if op is AtomicOp.CMPXCHG:
                    state[0] = UNKNOWN
                elif fetch:
                    state[instruction.src] = UNKNOWN
            case _:
                state[instruction.dst] = SCALAR  # type: ignore[union-attr]

    def loaded(self, i: Load, base: Origin) -> Origin:
        if base.kind is Kind.CONTEXT and base.offset is not None and i.size == 4:
            return PACKET if base.offset + i.offset in self.environment.packet_fields else SCALAR
        return UNKNOWN if i.size == 8 else SCALAR

    @staticmethod
    def returned(number: int, first: Origin) -> Origin:
        if number in _ITERATIONS:
            return first._replace(offset=None)
        if number in _LOOKUPS and first.kind is Kind.MAP:
            return Origin(Kind.VALUE, first.number)
        return UNKNOWN if number in _LOOKUPS else SCALAR


def origins(program: Program, environment: Environment, entries: Sequence[int]) -> list[State | None]:
    """Return what each register holds before each instruction; None for instructions that nothing reaches.

    Parameters
    ----------
    program : Program
        One whose targets are all known.
    environment : Environment
        See there.
    entries : sequence of int
        The functions that may also be entered from elsewhere than by a local call, with anything in their registers.
    """
    return _Walk(program, environment).run(entries)
