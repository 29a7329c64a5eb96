# SPDX-License-Identifier: Apache-2.0
"""Inputs for which a run comes to an instruction, and does there what it must not.

A run on some inputs says which comparisons it made, and how what they compared depends on the inputs. If it left the
way that the verifier went, the comparison where it left is turned, and inputs for which all earlier ones stay as they
are and this one is otherwise are run next; if it came to the instruction and nothing happened, what the instruction
worked on is pushed beyond its limits. That is repeated, the most promising inputs first, until a run does it, nothing
is left to try, or the effort is spent.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

from prestocloud_sec.bpf.errors import BpfError
from prestocloud_sec.bpf.isa import BranchOp
from prestocloud_sec.bpf.verifier.environment import Environment
from prestocloud_sec.bpf.verifier.expressions import Node, constant, holds, numbers_near, solve, value
from prestocloud_sec.bpf.verifier.inputs import Inputs, Stage, context_size, put
from prestocloud_sec.bpf.verifier.rejection import Rule
from prestocloud_sec.bpf.verifier.shadows import Decision, Stopped, Violated
from prestocloud_sec.bpf.verifier.watching import Watch
from prestocloud_sec.bpf.vm import layout
from prestocloud_sec.bpf.vm.machine import Machine
from prestocloud_sec.bpf.vm.memory import Trap

__all__ = ["Found", "Search"]

_U64 = (1 << 64) - 1
_MOST_STEPS = 1_000_000
"""Instructions of all runs of a search together, beyond which no further one is made: some seconds."""
_LENGTHS = (64, 0, 14, 34, 1, 40, 200)
_BYTES = (0, 0xFF, 1, 0x80)
_CONSIDERED = 128
"""Bytes of a packet that patterns fill."""
_LOOKUPS = 8
_LONGEST = 1 << 16
_REPAIRS = 4
_PROPOSALS = 24
_FLIPS = 24
"""Comparisons that are turned of a run that is on no known way."""
_FOLLOWED = 128
"""Instructions up to which nothing that depends on an input can be lost (see `expressions.operation`)."""
_EXTREMES = (0, 1, 1 << 31, (1 << 32) - 1, 1 << 63, _U64, 1 << 29, 513, 0xFFFF, 0x10000)

Values = dict[Hashable, int]


class Found(NamedTuple):
    """A run that did it.

    Attributes
    ----------
    inputs : Inputs
    registers : tuple of int
        r0 to r10 when the instruction began.
    violated : Violated or None
        What was seen; None where the machine itself stopped the run.
    """

    inputs: Inputs
    registers: tuple[int, ...]
    violated: Violated | None


class _Outcome(NamedTuple):
    run: Watch
    found: Found | None


class Search:
    """A search for one instruction of a program.

    Parameters
    ----------
    stage : Stage
    env : Environment
    target : int
        The instruction.
    rule : Rule or None
        What it is said to break.
    way : sequence of int
        Instructions that lead there, as the verifier went; empty where that is not known.
    seed : int
        Of what is left to chance.

    Attributes
    ----------
    tried : int
        Runs so far.
    complete : bool
        Whether there is nothing else that a run could do: the inputs that were tried are all there are.
    """

    def __init__(
        self, stage: Stage, env: Environment, target: int, rule: Rule | None, way: Sequence[int], *, seed: int = 0
    ) -> None:
        self.stage = stage
        self.env = env
        self.target = target
        self.rule = rule
        self.way = way
        self.tried = 0
        self.complete = False
        self._rng = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
        self._heap: list[tuple[int, int, Values]] = []
        self._count = itertools.count()
        self._seen: set[frozenset[tuple[Hashable, int]]] = set()
        self._turned: set[tuple[int, ...]] = set()
        self._depends = False

    def go(self, runs: int) -> Found | None:
        """Search until `runs` runs were made, or all of them together took too many steps.

        Raises
        ------
        BpfError
            If the program cannot be run at all.
        """
        for values in self._first():
            self._push(0, values)
        steps = 0
        while self._heap and self.tried < runs and steps < _MOST_STEPS:
            _, _, values = heapq.heappop(self._heap)
            outcome = self._run(values)
            if outcome is None:
                continue
            steps += len(outcome.run.order)
            if outcome.found is not None:
                return outcome.found
            for score, following in self._next(values, outcome.run):
                self._push(score, following)
        self.complete = not self._heap and not self._depends
        return None

    def _push(self, score: int, values: Values) -> None:
        told = frozenset(values.items())
        if told not in self._seen:
            self._seen.add(told)
            heapq.heappush(self._heap, (score, next(self._count), values))

    def _first(self) -> Iterator[Values]:
        """Return what is tried first: lengths of packets, patterns, elements that are there or not."""
        size = context_size(self.stage.program)
        for number, (length, fill) in enumerate(zip(_LENGTHS, itertools.cycle(_BYTES), strict=False)):
            values: Values = {"length": length}
            if fill:
                values |= {("packet", n): fill for n in range(_CONSIDERED)}
                values |= {("context", n): fill for n in range(size)}
                values |= {("return", n): fill for n in range(_LOOKUPS)}
            if number % 2 == 0:
                values |= {("there", n): 1 for n in range(_LOOKUPS)}
            yield values
        for _ in range(3):
            values = {"length": self._rng.randrange(80)}
            values |= {("packet", n): self._rng.randrange(256) for n in range(_CONSIDERED)}
            values |= {("context", n): self._rng.randrange(256) for n in range(size)}
            values |= {("there", n): self._rng.randrange(2) for n in range(_LOOKUPS)}
            yield values

    # --- One run.

    def _run(self, values: Values) -> _Outcome | None:
        self.tried += 1
        length = min(values.get("length", 0), _LONGEST)
        values["length"] = length
        packet = bytes(values.get(("packet", n), 0) & 0xFF for n in range(length))
        context = bytes(values.get(("context", n), 0) & 0xFF for n in range(context_size(self.stage.program)))
        metadata = values.get("metadata", 0)
        metadata = values["metadata"] = min(metadata - metadata % 4, 252)
        machine = self.stage.machine(Inputs(packet, context, metadata=metadata))
        elements = _fill(machine, len(self.stage.specs), values)
        run = Watch(machine, self.stage, self.env, values, self.target)
        violated: Violated | None = None
        try:
            run.go()
        except Stopped:
            return _Outcome(run, None)
        except Violated as seen:
            violated = seen
        except Trap:
            pass
        else:
            return _Outcome(run, None)
        at = violated.instruction if violated is not None else run.blamed
        if at != self.target or (violated is not None and not self._fits(violated)):
            return _Outcome(run, None)
        inputs = Inputs(packet, context, (*elements, *run.elements), tuple(run.results), metadata)
        return _Outcome(run, Found(inputs, tuple(run.registers), violated))

    def _fits(self, violated: Violated) -> bool:
        """Whether what was seen is what the verifier says."""
        return self.rule is None or violated.rule is self.rule or violated.rule in _KIN.get(self.rule, ())

    # --- What to try next.

    def _next(self, values: Values, run: Watch) -> Iterator[tuple[int, Values]]:
        self._depends |= run.opaque or len(run.order) > _FOLLOWED
        self._depends |= bool(run.decisions) or any(node.varies for node, _ in run.goals)
        decisions = run.decisions
        common = _common(run.order, self.way)
        if run.goals:
            for constraint in self._beyond(run):
                found = _satisfy(values, [*decisions, constraint], _REPAIRS)
                if found is not None:
                    yield -1_000_000, found
        for at, decision in enumerate(decisions):
            if decision.position == common:
                found = self._turn(values, decisions, at)
                if found is not None:
                    yield -common, found
        for at in range(len(decisions) - 1, max(len(decisions) - _FLIPS, -1), -1):
            key = (*(hash((d.position, d.taken)) for d in decisions[:at]), at, int(decisions[at].taken))
            if key in self._turned:
                continue
            self._turned.add(key)
            found = self._turn(values, decisions, at)
            if found is not None:
                yield -min(common, decisions[at].position) + 1, found

    def _turn(self, values: Values, decisions: Sequence[Decision], at: int) -> Values | None:
        """Return inputs for which a run comes to a comparison and finds it otherwise."""
        turned = decisions[at]._replace(taken=not decisions[at].taken)
        return _satisfy(values, [*decisions[:at], turned], _REPAIRS)

    def _beyond(self, run: Watch) -> Iterator[Decision]:
        """Return what would make the target instruction do what it must not."""
        for node, size in run.goals:
            now = value(node, run.values)
            for op, limit in _limits(run.machine, now, size):
                if node.varies:
                    yield Decision(0, op, 64, node, constant(limit), True)
            if now >> layout.REGION_SHIFT == layout.PACKET and now >= layout.PACKET_BUFFER:
                length = Node("input", 32, "length")
                needed = max(now - layout.PACKET_DATA + max(size, 1), 0)
                yield Decision(0, BranchOp.LT, 64, length, constant(needed), True)
            if node.varies:
                for wanted in _EXTREMES:
                    yield Decision(0, BranchOp.EQ, 64, node, constant(wanted), True)


_KIN: dict[Rule, frozenset[Rule]] = {
    Rule.MEMORY: frozenset({Rule.NULL, Rule.UNINITIALISED, Rule.MAP_VALUE}),
    Rule.NULL: frozenset({Rule.MEMORY, Rule.ARGUMENT}),
    Rule.ARGUMENT: frozenset({Rule.NULL, Rule.MEMORY}),
    Rule.PACKET: frozenset({Rule.ARGUMENT, Rule.READ_ONLY}),
    Rule.READ_ONLY: frozenset({Rule.PACKET}),
    Rule.MAP: frozenset({Rule.MEMORY, Rule.ARGUMENT}),
    Rule.MAP_VALUE: frozenset({Rule.ARGUMENT, Rule.POINTER_ARITHMETIC}),
}
"""Rules that say the same of different things; which of them is named depends on how much is known."""


def _limits(machine: Machine, now: int, size: int) -> Iterator[tuple[BranchOp, int]]:
    """Return comparisons with the ends of the memory that an address is in."""
    region = now >> layout.REGION_SHIFT
    if region >= layout.REGIONS or now < layout.PACKET_BUFFER or not size:
        yield BranchOp.SGE, 1 << 29
        yield BranchOp.SLT, 0
        yield BranchOp.SLE, -(1 << 29) & _U64
        yield BranchOp.GT, 511
        return
    at = region * layout.REGION_WORDS
    words = machine.memory.table
    base, mask, element = int(words[at + layout.BASE]), int(words[at + layout.MASK]), int(words[at + layout.ELEMENT])
    start = base + (now - base & ~mask & _U64 if mask != layout.WHOLE else 0)
    yield BranchOp.GT, start + element - size
    yield BranchOp.LT, start
    yield BranchOp.GE, start + element


def _fill(machine: Machine, count: int, values: Values) -> list[tuple[int, bytes, bytes]]:
    """Put what `values` says into maps whose elements are always there; return these elements."""
    elements: list[tuple[int, bytes, bytes]] = []
    for number in range(min(count, len(machine.maps))):
        found = machine.maps[number]
        if found.values is None or found.key_size != 4 or found.program_lookup(bytes(4), 0) is None:
            continue
        given = {name[2]: byte for name, byte in values.items() if type(name) is tuple and name[:2] == ("map", number)}
        for index in sorted({place // found.value_stride for place in given}):
            start = index * found.value_stride
            data = bytes(given.get(start + n, 0) & 0xFF for n in range(found.value_size))
            key = index.to_bytes(4, "little")
            try:
                put(found, key, data)
            except BpfError:
                continue
            elements.append((number, key, data))
    return elements


def _common(order: Sequence[int], way: Sequence[int]) -> int:
    """Return how many instructions of the way a run carried out."""
    for count, (done, wanted) in enumerate(zip(order, way, strict=False)):
        if done != wanted:
            return count
    return min(len(order), len(way))


# --- Solving.


def _kept(decision: Decision, values: Values, known: dict[int, int]) -> bool:
    return holds(decision.op, decision.bits, decision.left, decision.right, values, known) is decision.taken


def _satisfy(values: Values, wanted: Sequence[Decision], repairs: int) -> Values | None:
    """Return inputs near these for which all comparisons come out as wanted, or None."""
    known: dict[int, int] = {}
    broken = next((d for d in reversed(wanted) if not _kept(d, values, known)), None)
    if broken is None:
        return values
    if not repairs:
        return None
    proposals: list[Values] = []
    for change in itertools.islice(_changes(broken, values), _PROPOSALS):
        proposal = values | change
        known = {}
        if not _kept(broken, proposal, known):
            continue
        if all(_kept(d, proposal, known) for d in wanted):
            return proposal
        proposals.append(proposal)
    for proposal in proposals[:6]:
        found = _satisfy(proposal, wanted, repairs - 1)
        if found is not None:
            return found
    return None


def _changes(decision: Decision, values: Values) -> Iterator[Values]:
    """Propose changes of inputs that let a comparison come out as wanted."""
    mask = (1 << decision.bits) - 1
    known: dict[int, int] = {}
    left, right = value(decision.left, values, known), value(decision.right, values, known)
    for node, now, other in ((decision.left, left, right), (decision.right, right, left)):
        if not node.varies:
            continue
        for wanted in numbers_near(other & mask, decision.bits):
            yield from solve(node, now & ~mask & _U64 | wanted, values)
            if decision.bits == 32:
                yield from solve(node, wanted, values)
    if decision.op is BranchOp.SET:
        for bit in range(decision.bits):
            if right >> bit & 1:
                yield from solve(decision.left, left ^ 1 << bit, values)
