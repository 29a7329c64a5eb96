# SPDX-License-Identifier: Apache-2.0
"""What is true before each instruction of an accepted program, whatever it is run over.

A verdict itself merges states that differ in numbers no check depended on, so that what it saw of such a number is not
all that the number can be. For facts the program is gone through again, and states are merged only where one says all
that the other says; every number on every way then lies in the ranges that are reported. That can take longer than the
verdict did: where it takes too long, numbers are given up, and kinds of registers, which never are merged, stay.

Registers that nothing reads any more are left out: nothing is known of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.bpf.isa import Atomic, Instruction, Load, LoadAcquire, Store, StoreRelease
from prestocloud_sec.bpf.verifier.environment import Environment
from prestocloud_sec.bpf.verifier.explore import Explorer
from prestocloud_sec.bpf.verifier.precision import Checkpoint
from prestocloud_sec.bpf.verifier.pruning import Exactly
from prestocloud_sec.bpf.verifier.registers import NAMES, Kind, Register
from prestocloud_sec.bpf.verifier.rejection import Rejected
from prestocloud_sec.bpf.verifier.scalar import Scalar
from prestocloud_sec.bpf.verifier.state import State
from prestocloud_sec.bpf.verifier.tnum import Tnum
from prestocloud_sec.bpf.verifier.wording import register_text
from prestocloud_sec.wire import whole

__all__ = ["AccessFact", "Facts", "Held", "facts_of"]

_ACCESSES = (Load, LoadAcquire, Store, StoreRelease, Atomic)
_TIMES, _MORE = 4, 10_000
"""How many times as long as the verdict the second exploration may take, and how many instructions besides."""


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """What a register holds before an instruction, on all ways that come by.

    Attributes
    ----------
    kinds : frozenset of str
        What it can be, in the kernel's words: ``scalar``, ``pkt``, ``map_value_or_null``, ...
    number : Scalar or None
        Of a number, what it can be; of a pointer, the varying part of its offset. None where it can be several kinds,
        or where numbers were given up.
    offset : int or None
        The fixed part of a pointer's offset, if it is the same on all ways.
    text : str
        The same as the kernel's log would say it.
    """

    kinds: frozenset[str]
    number: Scalar | None
    offset: int | None
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class AccessFact:
    """Where the access of an instruction goes, on all ways.

    Attributes
    ----------
    kind : Kind
        What it is made through; it lies in that memory.
    own_frame : bool
        Of the stack, whether it is the frame of the function that runs.
    map : object or None
        Of a map's value, the `MapSpec` of the map (by identity).
    inner : bool
        Whether that map was found in a map of maps.
    """

    kind: Kind
    own_frame: bool = False
    map: Any = None
    inner: bool = False


class Facts:
    """What is true of an accepted program; a sequence over its instructions.

    Attributes
    ----------
    complete : bool
        Whether numbers have ranges; otherwise only the kinds of registers are known.
    accesses : mapping of int to AccessFact
        By instruction: accesses that go to one kind of memory, and were proved to lie in it.
    """

    __slots__ = ("_held", "accesses", "complete")

    def __init__(
        self, held: tuple[Mapping[str, Held] | None, ...], accesses: Mapping[int, AccessFact], complete: bool
    ) -> None:
        self._held = held
        self.accesses = accesses
        self.complete = complete

    def __len__(self) -> int:
        return len(self._held)

    def __getitem__(self, index: int) -> Mapping[str, Held] | None:
        """Return what registers hold before an instruction, by name; None where no way comes by it.

        Raises
        ------
        BpfMisuseError
            If there is no such instruction.
        """
        count = len(self)
        return self._held[whole(index, "Facts", -count, count - 1, error=BpfMisuseError)]

    def __iter__(self) -> Iterator[Mapping[str, Held] | None]:
        return iter(self._held)

    def __repr__(self) -> str:
        reached = sum(held is not None for held in self._held)
        return f"<Facts of {reached} of {len(self)} instructions, {len(self.accesses)} accesses proved>"


class _TooLongError(Exception):
    """The exploration took longer than it may."""


class _Exact(Explorer):
    """Merges states only where one says all that the other says."""

    def __init__(self, env: Environment, observe: Callable[[int, State], None], limit: int) -> None:
        super().__init__(env, observe=self._count)
        self._told, self._limit = observe, limit

    def _count(self, index: int, state: State) -> None:
        if self.processed > self._limit:
            raise _TooLongError
        self._told(index, state)

    def _covers(self, old: Checkpoint, state: State, exactly: int) -> bool:
        return super()._covers(old, state, Exactly.WITHIN if exactly == Exactly.COVERS else exactly)


class _Collector:
    """Joins what is seen before each instruction."""

    def __init__(self, env: Environment, live: list[int]) -> None:
        self.live = live
        self.instructions = env.instructions
        self.seen: list[dict[int, list[Register]] | None] = [None] * len(env.instructions)
        self.accesses: dict[int, AccessFact | None] = {}

    def note(self, index: int, state: State) -> None:
        registers = state.registers
        found = self.seen[index]
        if found is None:
            found = self.seen[index] = {}
        live = self.live[index]
        for number in range(11):
            if number < 10 and not live >> number & 1:
                continue
            self._join(found.setdefault(number, []), registers[number])
        instruction = self.instructions[index]
        if isinstance(instruction, _ACCESSES):
            self._access(index, state, instruction)

    @staticmethod
    def _join(known: list[Register], register: Register) -> None:
        for position, other in enumerate(known):
            if other is register:
                return
            if other.kind is register.kind and other.nullable == register.nullable:
                known[position] = _joined(other, register)
                return
        known.append(register)

    def _access(self, index: int, state: State, i: Instruction) -> None:
        base = state.registers[i.base]  # type: ignore[union-attr]
        own = base.kind is Kind.STACK and base.frame == len(state.frames) - 1
        fact = AccessFact(base.kind, own, base.map, bool(base.map_id))
        before = self.accesses.get(index, fact)
        same = (
            before is not None
            and (before.kind, before.own_frame, before.inner) == (fact.kind, fact.own_frame, fact.inner)
            and before.map is fact.map
        )
        self.accesses[index] = fact if same else None


def _joined(a: Register, b: Register) -> Register:
    """Return what holds of both; where their fixed offsets differ, they go into the number."""
    common: dict[str, Any] = {
        "id": 0,
        "delta": 0,
        "reference": 0,
        "map": a.map if a.map is b.map else None,
        "size": min(a.size, b.size),
    }
    if a.offset == b.offset:
        number = a.number if a.number == b.number else _either(a.number, b.number)
        return a.but(number=number, range=min(a.range, b.range), **common)
    return a.but(number=_either(_moved(a), _moved(b)), offset=0, range=0, **common)


def _moved(register: Register) -> Scalar:
    from prestocloud_sec.bpf.isa import AluOp
    from prestocloud_sec.bpf.verifier import arithmetic

    return arithmetic.alu(AluOp.ADD, 64, register.number, Scalar.const(register.offset))


def _either(a: Scalar, b: Scalar) -> Scalar:
    """Return what stands for all words that one of the two stands for."""
    made = a.copy()
    mask = a.tnum.mask | b.tnum.mask | (a.tnum.value ^ b.tnum.value)
    made.tnum = Tnum(a.tnum.value & ~mask, mask)
    for name in ("umin", "smin", "umin32", "smin32"):
        setattr(made, name, min(getattr(a, name), getattr(b, name)))
    for name in ("umax", "smax", "umax32", "smax32"):
        setattr(made, name, max(getattr(a, name), getattr(b, name)))
    return made


def _held(known: list[Register], complete: bool) -> Held:
    kinds = frozenset(NAMES[r.kind] + ("_or_null" if r.nullable else "") for r in known)
    if len(known) > 1 or not complete:
        return Held(kinds, None, None, " or ".join(sorted(kinds)))
    register = known[0]
    plain = register.but(id=0, delta=0, reference=0)
    return Held(kinds, register.number, register.offset, register_text(plain, register.frame))


def facts_of(again: Callable[[], Environment], processed: int) -> Facts:
    """Return what is true of an accepted program.

    Parameters
    ----------
    again : callable
        Gives a new environment for it.
    processed : int
        Instructions that its verdict took.
    """
    found = _collect(again, _TIMES * processed + _MORE)
    complete = found is not None
    if found is None:
        found = _collect_kinds(again)
    held = tuple(
        None
        if seen is None
        else MappingProxyType({f"r{number}": _held(known, complete) for number, known in sorted(seen.items())})
        for seen in found.seen
    )
    accesses = {index: fact for index, fact in sorted(found.accesses.items()) if fact is not None}
    return Facts(held, MappingProxyType(accesses), complete)


def _collect(again: Callable[[], Environment], limit: int) -> _Collector | None:
    env = again()
    collector: list[_Collector] = []
    explorer = _Exact(env, lambda index, state: collector[0].note(index, state), limit)
    collector.append(_Collector(env, explorer.live))
    try:
        explorer.run()
    except (_TooLongError, Rejected):  # a limit of complexity that the verdict did not reach
        return None
    return collector[0]


def _collect_kinds(again: Callable[[], Environment]) -> _Collector:
    env = again()
    collector: list[_Collector] = []
    explorer = Explorer(env, observe=lambda index, state: collector[0].note(index, state))
    collector.append(_Collector(env, explorer.live))
    explorer.run()
    return collector[0]
