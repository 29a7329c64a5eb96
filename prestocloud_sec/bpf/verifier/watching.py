# SPDX-License-Identifier: Apache-2.0
"""The reference interpreter, watched: what each register is of, how it came about, and what no program may do.

The machine itself stops what would touch memory that is not there. What it lets pass, since it harms nobody in user
space, is seen here, on the very run: a register that is read before anything was written to it, a field of the context
that its type of program does not have, arithmetic with addresses, a misaligned access where these matter. Such a run
ends with `Violated`, which says which rule and where.

How a run is watched
--------------------
`Watch` is the interpreter's own `Run`; each of its steps is one of the interpreter's with a look before and after. Of
every register and byte of memory it keeps a `Shadow` or `Node`. Inputs have names: ``("packet", offset)``,
``("context", offset)`` and ``("map", number, offset)`` are bytes, ``"length"`` is that of the packet, ``("there", n)``
says whether the n-th lookup finds something, ``("return", n)`` is what the n-th played helper returns.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from prestocloud_sec.bpf.helpers.ids import HelperId
from prestocloud_sec.bpf.isa import CallHelper, Imm, Instruction
from prestocloud_sec.bpf.verifier.environment import Environment
from prestocloud_sec.bpf.verifier.expressions import Node, constant, joined, part, value
from prestocloud_sec.bpf.verifier.function_types import Passed
from prestocloud_sec.bpf.verifier.inputs import Stage
from prestocloud_sec.bpf.verifier.registers import Kind
from prestocloud_sec.bpf.verifier.rejection import Rule
from prestocloud_sec.bpf.verifier.shadows import NOTHING, Decision, Shadow, Stopped, Violated, as_number
from prestocloud_sec.bpf.verifier.structure import check
from prestocloud_sec.bpf.verifier.watching_iterators import Iterators
from prestocloud_sec.bpf.verifier.watching_rules import BEFORE
from prestocloud_sec.bpf.verifier.watching_steps import WATCHED
from prestocloud_sec.bpf.vm import layout
from prestocloud_sec.bpf.vm.machine import Machine
from prestocloud_sec.bpf.vm.reference_run import Run

__all__ = ["Watch"]

_MOST_STEPS = 20_000


class Watch(Run):
    """See the head of this module.

    Parameters
    ----------
    machine : Machine
        Started.
    stage : Stage
        What it was made by.
    env : Environment
        What the program was judged in.
    values : mapping
        What inputs are, by name.
    target : int
        The instruction that is looked for; what it works on is kept in `goals`.
    free : bool
        Whether lookups put elements into maps where `values` says that they are there.

    Attributes
    ----------
    order : list of int
        The instructions that were carried out.
    decisions : list of Decision
    goals : list of (Node, int)
        Addresses and numbers that the target instruction worked on last, and how many bytes there.
    elements : list of (int, bytes, bytes)
        What lookups put into maps.
    results : list of int
        What played helpers returned.
    spans : Functions or None
        Where the program's functions are, if BTF says what they are.
    opaque : bool
        Whether something was computed in a way that is not followed, so that inputs may matter where none seems to.
    """

    def __init__(
        self,
        machine: Machine,
        stage: Stage,
        env: Environment,
        values: dict[Hashable, int],
        target: int = -1,
        *,
        free: bool = True,
    ) -> None:
        super().__init__(machine, WATCHED, None)
        self.env = env
        self.stage = stage
        self.values = values
        self.target = target
        self.free = free
        self.order: list[int] = []
        self.decisions: list[Decision] = []
        self.goals: list[tuple[Node, int]] = []
        self.elements: list[tuple[int, bytes, bytes]] = []
        self.results: list[int] = []
        self.opaque = False
        self.lookups = 0
        self.following = 0
        self.bytes: dict[int, Node] = {}
        self.kept: dict[int, Shadow] = {}
        self.shadows = [NOTHING] * 10 + [Shadow(Kind.STACK, constant(self.registers[10]))]
        self.shadows[1] = Shadow(Kind.CONTEXT, constant(self.registers[1]))
        self.hidden: list[list[Shadow]] = []
        self.iterators = Iterators()
        self.spans = check(env) if env.function_types is not None else None
        if free:
            stage.at_call = self._result

    def go(self) -> None:
        """Run to the end.

        Raises
        ------
        Violated
            Where the program does what none may.
        Trap
            Where the machine stops it; `blamed` is the instruction.
        Stopped
            After too many steps.
        """
        try:
            self.run(0)
        finally:
            self.stage.at_call = None
        if self.iterators.unended:
            made = min(self.iterators.unended.values())
            raise Violated(Rule.REFERENCE, self.following, f"the iterator that instruction {made} made is not ended")
        if self.shadows[0].kind is Kind.NOTHING:
            raise Violated(Rule.UNINITIALISED, self.following, "the program ends, and nothing was written to r0")

    def violated(self, rule: Rule, what: str, *, at_a_place: bool = False) -> Violated:
        """Return the exception for the instruction that is carried out."""
        return Violated(rule, self.following, what, at_a_place=at_a_place)

    def _result(self, _: int) -> int:
        found = self.values.get(("return", len(self.results)), 0)
        self.results.append(found)
        return found

    # --- Memory.

    def _initial(self, address: int, now: int) -> Node:
        """Return the node of a byte that nothing on this run has written."""
        region, place = address >> layout.REGION_SHIFT, address & 0xFFFF_FFFF
        name: Hashable
        if region == layout.PACKET:
            name = ("packet", address - layout.PACKET_DATA)
        elif region == layout.CONTEXT:
            name = ("context", place)
        elif layout.MAP_VALUES <= region < layout.MAP_KEYS:
            name = ("map", region - layout.MAP_VALUES, place)
        else:
            return constant(now)
        return Node("input", 8, name)

    def remembered(self, address: int, data: bytes) -> Node:
        """Return the node of memory that was read."""
        now = int.from_bytes(data, "little")
        parts = [self.bytes.get(address + n) or self._initial(address + n, byte) for n, byte in enumerate(data)]
        node = joined(parts, now)
        return node if value(node, self.values) == now else constant(now)

    def remember(self, address: int, size: int, node: Node, now: int) -> None:
        """Keep the node of memory that was written."""
        for n in range(size):
            self.bytes[address + n] = part(node, 8 * n, 8, now >> 8 * n & 0xFF)
        for place in range(address - 7, address + size):
            self.kept.pop(place, None)

    def forget(self, token: int, instead: Shadow) -> None:
        """Let everything that came from a call be something else."""
        for shadows in (self.shadows, *self.hidden):
            shadows[:] = [instead if s.token == token else s for s in shadows]
        for place in [p for p, s in self.kept.items() if s.token == token]:
            self.kept[place] = instead

    def given_back(self, token: int) -> None:
        """Let everything that came from a call be a number for those who may see addresses, and nothing for others."""
        privileged = self.env.privileged
        for shadows in (self.shadows, *self.hidden):
            shadows[:] = [(as_number(s.node) if privileged else NOTHING) if s.token == token else s for s in shadows]
        for place in [p for p, s in self.kept.items() if s.token == token]:
            del self.kept[place]

    # --- Frames.

    def enter(self, target: int, back: int) -> int:
        """Call a function; it sees r1 to r5."""
        following = super().enter(target, back)
        self.hidden.append(self.shadows)
        given = self._passed(target)
        self.shadows = [NOTHING, *given, *[NOTHING] * 4, Shadow(Kind.STACK, constant(self.registers[10]))]
        return following

    def _passed(self, target: int) -> list[Shadow]:
        """Return what a function sees in r1 to r5: of pointers, one that is judged by itself sees memory."""
        given, types = self.shadows[1:6], self.env.function_types
        if types is None or self.spans is None or not types.is_global(self.spans.of(target)):
            return given
        seen = [NOTHING] * 5
        for n, spec in enumerate(types.arguments(self.spans.of(target))):
            seen[n] = given[n]
            if spec.passed is Passed.MEMORY and given[n].kind is not Kind.NUMBER:
                seen[n] = Shadow(Kind.MEMORY, given[n].node)
                for place in range(self.registers[n + 1] - 7, self.registers[n + 1] + spec.size):
                    self.kept.pop(place, None)  # it may be written there
        return seen

    def leave(self) -> int:
        """Return from a function; r0 is its result."""
        result = self.shadows[0]
        self.iterators.leave(self.registers[10])
        self.shadows = [result, *[NOTHING] * 5, *self.hidden.pop()[6:]]
        return super().leave()

    def callback(self, handle: int, arguments: Sequence[int], index: int) -> int:
        """Let a helper call a function."""
        i = self.instructions[index]
        caller = self.shadows
        given = [as_number(constant(a)) for a in arguments]
        if isinstance(i, CallHelper) and i.number == HelperId.LOOP:
            given[1] = caller[3]
        else:
            spec = caller[1].spec
            kinds = (Kind.MAP, Kind.MAP_KEY, Kind.MAP_VALUE)
            given[:3] = [Shadow(k, g.node, spec) for k, g in zip(kinds, given, strict=False)]
            given[2] = given[2]._replace(base=arguments[2])
            given[3] = caller[3]
        self.shadows = [caller[0], *given, *[NOTHING] * (5 - len(given)), *caller[6:]]
        try:
            return super().callback(handle, arguments, index)
        finally:
            self.shadows = caller

    # --- Before and after each step.

    def before(self, i: Instruction, index: int) -> None:
        """Look at an instruction that is about to be carried out."""
        self.following = index
        self.order.append(index)
        if len(self.order) > _MOST_STEPS:
            raise Stopped
        check = BEFORE.get(type(i))
        if index == self.target:
            self.goals = []
        if check is not None:
            check(self, i)

    def read(self, register: int) -> Shadow:
        """Return what a register holds that is read."""
        found = self.shadows[register]
        if found.kind is Kind.NOTHING:
            raise self.violated(Rule.UNINITIALISED, f"r{register} is read, and nothing was written to it")
        return found

    def source(self, source: int | Imm) -> Shadow:
        """Return what an operand is."""
        return as_number(constant(source.value)) if isinstance(source, Imm) else self.read(source)
