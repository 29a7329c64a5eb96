# SPDX-License-Identifier: Apache-2.0
"""The reference interpreter, watched: what each register is of, how it came about, and what no program may do.

The machine itself stops what would touch memory that is not there. What it lets pass, since it harms nobody in user
space, is seen here, on the very run: a register that is read before anything was written to it, a field of the context
that its type of program does not have, arithmetic with addresses, a misaligned access where these matter. Such a run
ends with `Violated`, which says which rule and where.

Theory of operation
-------------------
`Watch` is the interpreter's own `Run`; each of its steps is one of the interpreter's with a look before and after. Of
every register and byte of memory it keeps a `Shadow` or `Node`. Inputs have names: ``("packet", offset)``,
``("context", offset)`` and ``("map", number, offset)`` are bytes, ``"length"`` is that of the packet, ``("there", n)``
says whether the n-th lookup finds something, ``("return", n)`` is what the n-th played helper returns.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

from prestocloud_sec.bpf.helpers.prototypes import Argument, Returns, prototypes
from prestocloud_sec.bpf.isa import (
    Alu,
    AluOp,
    Atomic,
    AtomicOp,
    Branch,
    BranchOp,
    CallHelper,
    Extend,
    Imm,
    ImmKind,
    Instruction,
    LegacyLoad,
    Load,
    LoadAcquire,
    LoadImm64,
    Negate,
    Store,
    StoreRelease,
    Swap,
    SwapKind,
)
from prestocloud_sec.bpf.verifier.contexts import SOCKETS, Pointer, allowed
from prestocloud_sec.bpf.verifier.environment import Environment
from prestocloud_sec.bpf.verifier.expressions import Node, constant, joined, operation, part, value
from prestocloud_sec.bpf.verifier.inputs import SOCKET, Stage, put
from prestocloud_sec.bpf.verifier.maps import MapSpec
from prestocloud_sec.bpf.verifier.memory import packet_writable
from prestocloud_sec.bpf.verifier.registers import NAMES, Kind
from prestocloud_sec.bpf.verifier.rejection import Rule
from prestocloud_sec.bpf.vm import layout
from prestocloud_sec.bpf.vm.context import ContextKind
from prestocloud_sec.bpf.vm.layout import State
from prestocloud_sec.bpf.vm.machine import Machine
from prestocloud_sec.bpf.vm.memory import Trap
from prestocloud_sec.bpf.vm.reference import STEPS
from prestocloud_sec.bpf.vm.reference_run import Run
from prestocloud_sec.bpf.words import signed

__all__ = ["Decision", "Shadow", "Stopped", "Violated", "Watch"]

_U64 = (1 << 64) - 1
_MOST_STEPS = 20_000
_MOST_OFFSET = 1 << 29
_LOOKUP, _LOOP = 1, 181
_RELEASES = frozenset({86, 132, 133})
"""Helpers that take back what was acquired: ``sk_release``, ``ringbuf_submit``, ``ringbuf_discard``."""
_DERIVES = frozenset({95, 96, 98, 136, 137, 138, 139, 140})
"""Helpers that give another view of the socket they are handed."""
_FIXED = frozenset({Kind.MAP, Kind.PACKET_END, Kind.FUNCTION})
_NO_ATOMICS = frozenset({Kind.CONTEXT, Kind.PACKET, Kind.PACKET_META})
_MEMORIES = frozenset(
    {Kind.STACK, Kind.PACKET, Kind.PACKET_META, Kind.MAP_VALUE, Kind.MAP_KEY, Kind.MEMORY, Kind.BUFFER}
)
_ARGUMENTS: Mapping[Argument, frozenset[Kind]] = {
    Argument.CONTEXT: frozenset({Kind.CONTEXT}),
    Argument.MAP: frozenset({Kind.MAP}),
    **dict.fromkeys(
        (
            Argument.MAP_KEY,
            Argument.MAP_VALUE,
            Argument.MAP_VALUE_OUT,
            Argument.MAP_VALUE_OR_NULL,
            Argument.MEMORY,
            Argument.MEMORY_OR_NULL,
            Argument.MEMORY_OUT,
            Argument.MEMORY_OUT_OR_NULL,
            Argument.NUMBER_OUT,
        ),
        _MEMORIES,
    ),
    Argument.SOCKET: frozenset({Kind.SOCKET, Kind.TCP_SOCKET}),
    Argument.SOCKET_COMMON: frozenset({Kind.SOCKET, Kind.TCP_SOCKET, Kind.SOCKET_COMMON}),
    Argument.SOCKET_ANY: frozenset({Kind.SOCKET, Kind.TCP_SOCKET, Kind.SOCKET_COMMON, Kind.XDP_SOCKET}),
    Argument.SPIN_LOCK: frozenset({Kind.MAP_VALUE}),
    Argument.TIMER: frozenset({Kind.MAP_VALUE}),
    Argument.RING_RECORD: frozenset({Kind.MEMORY}),
    Argument.FUNCTION: frozenset({Kind.FUNCTION}),
}
_MAY_BE_NULL = frozenset(
    {Argument.MAP_VALUE_OR_NULL, Argument.MEMORY_OR_NULL, Argument.MEMORY_OUT_OR_NULL, Argument.CALLBACK_CONTEXT}
)
_GIVES: Mapping[Returns, Kind] = {
    Returns.MAP_VALUE_OR_NULL: Kind.MAP_VALUE,
    Returns.MAP_VALUE: Kind.MAP_VALUE,
    Returns.RING_RECORD_OR_NULL: Kind.MEMORY,
    Returns.SOCKET_OR_NULL: Kind.SOCKET,
    Returns.SOCKET_COMMON_OR_NULL: Kind.SOCKET_COMMON,
    Returns.TCP_SOCKET_OR_NULL: Kind.TCP_SOCKET,
}


class Violated(BaseException):
    """What no program may do was done; never leaves this package's search for witnesses.

    Attributes
    ----------
    rule : Rule
    instruction : int
    what : str
        One sentence.
    """

    def __init__(self, rule: Rule, instruction: int, what: str) -> None:
        super().__init__(what)
        self.rule = rule
        self.instruction = instruction
        self.what = what


class Stopped(BaseException):
    """A run took too many steps."""


class Shadow(NamedTuple):
    """What a register holds on a run.

    Attributes
    ----------
    kind : Kind
    node : Node
        Its number, by the inputs.
    spec : MapSpec or None
        Of a map, or memory of one.
    token : int
        Of what is acquired, which call gave it; shared by what was made from it.
    """

    kind: Kind
    node: Node
    spec: MapSpec | None = None
    token: int = 0


class Decision(NamedTuple):
    """A branch that a run came to.

    Attributes
    ----------
    position : int
        How many instructions were carried out before.
    op, bits, left, right
        The comparison.
    taken : bool
    """

    position: int
    op: BranchOp
    bits: int
    left: Node
    right: Node
    taken: bool


_ZERO = constant(0)
_NOTHING = Shadow(Kind.NOTHING, _ZERO)


def _number(node: Node) -> Shadow:
    return Shadow(Kind.NUMBER, node)


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
        super().__init__(machine, _WATCHED, None)
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
        self.shadows = [_NOTHING] * 10 + [Shadow(Kind.STACK, constant(self.registers[10]))]
        self.shadows[1] = Shadow(Kind.CONTEXT, constant(self.registers[1]))
        self.hidden: list[list[Shadow]] = []
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
        if self.shadows[0].kind is Kind.NOTHING:
            raise Violated(Rule.UNINITIALISED, self.following, "the program ends, and nothing was written to r0")

    def violated(self, rule: Rule, what: str) -> Violated:
        """Return the exception for the instruction that is carried out."""
        return Violated(rule, self.following, what)

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

    def forget(self, token: int) -> None:
        """Let nothing be held any more that came from an acquisition."""
        for shadows in (self.shadows, *self.hidden):
            shadows[:] = [_NOTHING if s.token == token else s for s in shadows]
        for place in [p for p, s in self.kept.items() if s.token == token]:
            del self.kept[place]

    # --- Frames.

    def enter(self, target: int, back: int) -> int:
        """Call a function; it sees r1 to r5."""
        following = super().enter(target, back)
        self.hidden.append(self.shadows)
        self.shadows = [_NOTHING, *self.shadows[1:6], *[_NOTHING] * 4, Shadow(Kind.STACK, constant(self.registers[10]))]
        return following

    def leave(self) -> int:
        """Return from a function; r0 is its result."""
        result = self.shadows[0]
        self.shadows = [result, *[_NOTHING] * 5, *self.hidden.pop()[6:]]
        return super().leave()

    def callback(self, handle: int, arguments: Sequence[int], index: int) -> int:
        """Let a helper call a function."""
        i = self.instructions[index]
        caller = self.shadows
        given = [_number(constant(a)) for a in arguments]
        if isinstance(i, CallHelper) and i.number == _LOOP:
            given[1] = caller[3]
        else:
            spec = caller[1].spec
            kinds = (Kind.MAP, Kind.MAP_KEY, Kind.MAP_VALUE)
            given[:3] = [Shadow(k, g.node, spec) for k, g in zip(kinds, given, strict=False)]
            given[3] = caller[3]
        self.shadows = [caller[0], *given, *[_NOTHING] * (5 - len(given)), *caller[6:]]
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
        check = _BEFORE.get(type(i))
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
        return _number(constant(source.value)) if isinstance(source, Imm) else self.read(source)

    def check_access(self, base: int, offset: int, size: int, *, write: bool, atomic: bool = False) -> None:
        """Look at an access before it is made."""
        held = self.read(base)
        address = (self.registers[base] + offset) & _U64
        if self.following == self.target:
            self.goals.append((operation("add", 64, address, held.node, offset & _U64), size))
        what = f"{'write' if write else 'read'} of {size} bytes"
        kind = held.kind
        if kind in (Kind.NUMBER, Kind.PACKET_END, Kind.FUNCTION):
            raise self.violated(Rule.MEMORY, f"{what} through r{base}, which is no pointer to memory: {address:#x}")
        if atomic and kind in _NO_ATOMICS:
            raise self.violated(Rule.MEMORY, f"an atomic operation on the {NAMES[kind]}")
        self._check_alignment(kind, address, size, atomic=atomic)
        if kind is Kind.CONTEXT:
            self._check_context(address, size, write=write)
        elif kind in (Kind.PACKET, Kind.PACKET_META):
            if write and not packet_writable(self.env.type):
                raise self.violated(Rule.READ_ONLY, f"{what} at {address:#x} in a packet that may not be written")
            data = int(self.state[State.DATA])
            if kind is Kind.PACKET_META and address + size > data:
                raise self.violated(Rule.PACKET, f"{what} in the metadata, {address + size - data} beyond its end")
        elif kind is Kind.MAP_VALUE and held.spec is not None:
            self._check_value(held.spec, address, size, write=write)
        elif kind.is_socket and address >> layout.REGION_SHIFT == SOCKET >> layout.REGION_SHIFT:
            if write:
                raise self.violated(Rule.READ_ONLY, f"{what} in a socket")
            if not allowed(SOCKETS[kind], address - SOCKET, size, write=False, attach=0):
                raise self.violated(
                    Rule.MEMORY, f"{what} at {address - SOCKET} of a {NAMES[kind]}, which has no such field"
                )
        elif kind is Kind.STACK and not write:
            self._check_fill(address, size)

    def _check_alignment(self, kind: Kind, address: int, size: int, *, atomic: bool) -> None:
        place = address - layout.PACKET_DATA + 2 if kind in (Kind.PACKET, Kind.PACKET_META) else address
        strict = self.env.strict_alignment or kind is Kind.STACK or (atomic and kind is not Kind.PACKET)
        if strict and place % size:
            raise self.violated(Rule.ALIGNMENT, f"an access of {size} bytes at {address:#x}, which is not aligned")

    def _check_context(self, address: int, size: int, *, write: bool) -> None:
        place = signed(address - (layout.CONTEXT << layout.REGION_SHIFT) & _U64, 64)
        access = self.env.context
        if access is not None and allowed(access, place, size, write=write, attach=self.env.attach) is False:
            raise self.violated(
                Rule.CONTEXT,
                f"{'write' if write else 'read'} of {size} bytes at {place} of the context: "
                f"programs of type {self.env.type.name} have nothing there",
            )

    def _check_value(self, spec: MapSpec, address: int, size: int, *, write: bool) -> None:
        if not spec.program_may_read and not write:
            raise self.violated(Rule.READ_ONLY, "a read of a map that may only be written")
        place = address & 0xFFFF_FFFF
        found = self.machine.maps[(address >> layout.REGION_SHIFT) - layout.MAP_VALUES] if address >> 32 >= 16 else None
        within = place % found.value_stride if found is not None and found.value_stride else place
        for name, start, length in (("lock", spec.spin_lock, 4), ("timer", spec.timer, 16)):
            if start is not None and within < start + length and start < within + size:
                raise self.violated(Rule.LOCK, f"an access to the bytes of a {name}")

    def _check_fill(self, address: int, size: int) -> None:
        for place in range(address - 7, address + size):
            if place in self.kept and (place != address or size != 8):
                raise self.violated(Rule.POINTER_LEAK, f"a read of {size} bytes of an address that is kept there")


def _locate(run: Watch, address: int, size: int, flag: int) -> None:
    if size:
        run.memory.locate(address, size, flag)


# --- Before a step: whether it may be done.


def _before_alu(run: Watch, i: Alu) -> None:
    source = run.source(i.src)
    if i.op is AluOp.MOV:
        return
    held = run.read(i.dst)
    a, b = held.kind is not Kind.NUMBER, source.kind is not Kind.NUMBER
    if not a and not b:
        return
    told = f"{i.op} of {NAMES[held.kind]} and {NAMES[source.kind]}"
    if a and b and not (i.op is AluOp.SUB and i.bits == 64):
        raise run.violated(Rule.POINTER_ARITHMETIC, f"{told}: two addresses")
    if a and b:
        return
    if i.bits == 32 and i.op is not AluOp.SUB:
        raise run.violated(Rule.POINTER_ARITHMETIC, f"{told} in 32 bits: addresses have 64")
    if i.bits == 32:
        return
    pointer, number = (held, run.operand(i.src, 64)) if a else (source, run.registers[i.dst])
    where = run.registers[i.dst] if a else run.registers[i.src] if isinstance(i.src, int) else 0
    if where < layout.PACKET_BUFFER:
        raise run.violated(Rule.NULL, f"{told}: the address is null")
    fixed = pointer.kind in _FIXED or pointer.kind.is_socket
    if fixed or i.op not in (AluOp.ADD, AluOp.SUB) or (i.op is AluOp.SUB and not a):
        raise run.violated(Rule.POINTER_ARITHMETIC, f"{told}: such an address cannot be changed so")
    if i.op is AluOp.SUB and pointer.kind is Kind.STACK and isinstance(i.src, int):
        raise run.violated(Rule.POINTER_ARITHMETIC, f"{told}: r10 goes down by adding")
    if run.following == run.target:
        run.goals.append((run.source(i.src).node if a else held.node, 0))
    if not -_MOST_OFFSET < signed(number, 64) < _MOST_OFFSET:
        raise run.violated(Rule.POINTER_ARITHMETIC, f"{told}: an address is moved by {signed(number, 64)}")


def _before_unary(run: Watch, i: Negate | Swap) -> None:
    run.read(i.dst)


def _before_extend(run: Watch, i: Extend) -> None:
    if run.read(i.src).kind is not Kind.NUMBER:
        raise run.violated(Rule.POINTER_LEAK, "the sign of a part of an address is extended")


def _before_load(run: Watch, i: Load | LoadAcquire) -> None:
    run.check_access(i.base, i.offset, i.size, write=False, atomic=isinstance(i, LoadAcquire))


def _before_store(run: Watch, i: Store | StoreRelease) -> None:
    run.read(i.base)
    run.source(i.src)
    run.check_access(i.base, i.offset, i.size, write=True, atomic=isinstance(i, StoreRelease))


def _before_atomic(run: Watch, i: Atomic) -> None:
    run.read(i.src)
    run.read(i.base)
    if i.op is AtomicOp.CMPXCHG:
        run.read(0)
    run.check_access(i.base, i.offset, i.size, write=True, atomic=True)


def _before_legacy(run: Watch, i: LegacyLoad) -> None:
    if run.read(6).kind is not Kind.CONTEXT:
        raise run.violated(Rule.CONTEXT, "r6 is not the context")
    if i.indirect:
        run.read(i.src)


def _before_branch(run: Watch, i: Branch) -> None:
    run.source(i.src)
    run.read(i.dst)


def _before_call(run: Watch, i: CallHelper) -> None:
    row = prototypes().get(i.number)
    if row is None:
        return
    spec: MapSpec | None = None
    for place, argument in enumerate(row.arguments):
        name = place + 1
        held = run.read(name)
        now = run.registers[name]
        if run.following == run.target:
            run.goals.append((held.node, 1))
        if argument in (Argument.SIZE, Argument.SIZE_OR_ZERO):
            _check_size(run, name, held, zero=argument is Argument.SIZE_OR_ZERO)
            _check_memory(run, row.arguments[place - 1], name - 1, now & 0xFFFF_FFFF)
            continue
        wanted = _ARGUMENTS.get(argument)
        if argument is Argument.MAP:
            spec = held.spec
        if wanted is None or (not now and argument in _MAY_BE_NULL):
            continue
        if held.kind not in wanted or now < layout.PACKET_BUFFER:
            missing = now < layout.PACKET_BUFFER and held.kind in wanted
            rule = Rule.NULL if missing else Rule.ARGUMENT
            raise run.violated(
                rule, f"r{name} is {'null' if missing else NAMES[held.kind]}, where {argument} is wanted"
            )
        if argument is Argument.CONTEXT and now != layout.CONTEXT << layout.REGION_SHIFT:
            raise run.violated(Rule.ARGUMENT, f"r{name} is {now:#x}, beside the context")
        following = row.arguments[place + 1] if place + 1 < len(row.arguments) else None
        size = _size_of(run, argument, spec, name, following)
        _check_memory(run, argument, name, size)


def _size_of(run: Watch, argument: Argument, spec: MapSpec | None, name: int, following: Argument | None) -> int:
    if argument is Argument.MAP_KEY:
        return spec.key_size if spec is not None else 0
    if argument in (Argument.MAP_VALUE, Argument.MAP_VALUE_OUT, Argument.MAP_VALUE_OR_NULL):
        return spec.value_size if spec is not None else 0
    if argument is Argument.NUMBER_OUT:
        return 8
    if following in (Argument.SIZE, Argument.SIZE_OR_ZERO):
        return run.registers[name + 1] & 0xFFFF_FFFF
    return 0


def _check_size(run: Watch, name: int, held: Shadow, *, zero: bool) -> None:
    now = run.registers[name]
    if held.kind is not Kind.NUMBER:
        raise run.violated(Rule.ARGUMENT, f"r{name} is {NAMES[held.kind]}, where a length is wanted")
    if not 0 <= signed(now, 64) < _MOST_OFFSET:
        raise run.violated(Rule.ARGUMENT, f"r{name} is {signed(now, 64)}, where a length is wanted")
    if not now and not zero:
        raise run.violated(Rule.ARGUMENT, f"r{name} is 0, where a length of 1 or more is wanted")


_OUT = frozenset({Argument.MEMORY_OUT, Argument.MEMORY_OUT_OR_NULL, Argument.MAP_VALUE_OUT, Argument.NUMBER_OUT})


def _check_memory(run: Watch, argument: Argument, name: int, size: int) -> None:
    """Look at memory that a helper is handed: the machine stops what is not there, here is what may not be used."""
    held, now = run.shadows[name], run.registers[name]
    if not now or not size:
        return
    write = argument in _OUT
    if held.kind in (Kind.PACKET, Kind.PACKET_META) and write and not packet_writable(run.env.type):
        raise run.violated(Rule.READ_ONLY, f"r{name}: a helper writes a packet that may not be written")
    if held.kind in (Kind.PACKET, Kind.PACKET_META) and not packet_writable(run.env.type):
        raise run.violated(Rule.PACKET, f"r{name}: a helper is handed memory of the packet")
    if held.kind is Kind.MAP_VALUE and held.spec is not None:
        run._check_value(held.spec, now, size, write=write)
    _locate(run, now, size, layout.WRITABLE if write else layout.READABLE)


_BEFORE: dict[type, Callable[[Watch, Any], None]] = {
    Alu: _before_alu,
    Negate: _before_unary,
    Swap: _before_unary,
    Extend: _before_extend,
    Load: _before_load,
    LoadAcquire: _before_load,
    Store: _before_store,
    StoreRelease: _before_store,
    Atomic: _before_atomic,
    LegacyLoad: _before_legacy,
    Branch: _before_branch,
    CallHelper: _before_call,
}


# --- The step itself, and what it makes of registers and memory.


def _alu(run: Watch, i: Alu, index: int) -> int:
    held, source = run.shadows[i.dst], run.source(i.src)
    following = STEPS[Alu](run, i, index)
    now = run.registers[i.dst]
    if i.op is AluOp.MOV:
        if i.bits == 64:
            run.shadows[i.dst] = source
        else:
            run.shadows[i.dst] = _number(part(source.node, 0, 32, now))
        return following
    node = operation(i.op, i.bits, now, held.node, source.node)
    pointers = [s for s in (held, source) if s.kind is not Kind.NUMBER]
    moved = len(pointers) == 1 and i.bits == 64
    run.shadows[i.dst] = pointers[0]._replace(node=node) if moved else _number(node)
    return following


def _negate(run: Watch, i: Negate, index: int) -> int:
    node = run.shadows[i.dst].node
    following = STEPS[Negate](run, i, index)
    run.shadows[i.dst] = _number(operation("negate", i.bits, run.registers[i.dst], node))
    return following


def _extend(run: Watch, i: Extend, index: int) -> int:
    node = run.shadows[i.src].node
    following = STEPS[Extend](run, i, index)
    run.shadows[i.dst] = _number(operation("extend", i.bits, run.registers[i.dst], node, i.width))
    return following


def _swap(run: Watch, i: Swap, index: int) -> int:
    node = run.shadows[i.dst].node
    following = STEPS[Swap](run, i, index)
    now = run.registers[i.dst]
    made = part(node, 0, i.width, now) if i.kind is SwapKind.LE else operation("swap", i.width, now, node)
    run.shadows[i.dst] = _number(made)
    return following


def _load(run: Watch, i: Load | LoadAcquire, index: int) -> int:
    base = run.shadows[i.base]
    address = (run.registers[i.base] + i.offset) & _U64
    data = run.memory.read(address, i.size)
    following = STEPS[type(i)](run, i, index)
    now = run.registers[i.dst]
    kept = run.kept.get(address) if i.size == 8 else None
    if kept is not None:
        run.shadows[i.dst] = kept
        return following
    node = run.remembered(address, data)
    if isinstance(i, Load) and i.signed:
        node = operation("extend", 64, now, node, 8 * i.size)
    made = _number(node)
    if base.kind is Kind.CONTEXT:
        made = _of_context(run, address, i.size, made, now)
    run.shadows[i.dst] = made
    return following


def _of_context(run: Watch, address: int, size: int, made: Shadow, now: int) -> Shadow:
    """Return what a load from the context gives."""
    access = run.env.context
    place = address - (layout.CONTEXT << layout.REGION_SHIFT)
    found = allowed(access, place, size, write=False, attach=run.env.attach) if access is not None else True
    if not isinstance(found, Pointer):
        if run.machine.context.kind is ContextKind.SKB and not place and size == 4:
            return _number(_length(now))
        return made
    if found.kind is Kind.PACKET_END:
        return Shadow(Kind.PACKET_END, operation("add", 64, now, _length(now - layout.PACKET_DATA), layout.PACKET_DATA))
    if found.kind is Kind.PACKET_META:
        metadata = Node("input", 32, "metadata")
        return Shadow(Kind.PACKET_META, operation("sub", 64, now, constant(layout.PACKET_DATA), metadata))
    if found.kind.is_socket:
        there = Node("input", 8, ("context", place))
        return Shadow(found.kind, operation("there", 64, now, there, SOCKET))
    return Shadow(found.kind, constant(now))


def _length(_: int) -> Node:
    return Node("input", 32, "length")


def _store(run: Watch, i: Store | StoreRelease, index: int) -> int:
    address = (run.registers[i.base] + i.offset) & _U64
    source = run.source(i.src)
    following = STEPS[type(i)](run, i, index)
    run.remember(address, i.size, source.node, run.operand(i.src, 64))
    if i.size == 8 and source.kind is not Kind.NUMBER:
        run.kept[address] = source
    return following


def _atomic(run: Watch, i: Atomic, index: int) -> int:
    address = (run.registers[i.base] + i.offset) & _U64
    following = STEPS[Atomic](run, i, index)
    run.opaque = True
    data = run.memory.read(address, i.size)
    run.remember(address, i.size, constant(int.from_bytes(data, "little")), int.from_bytes(data, "little"))
    if i.op is AtomicOp.CMPXCHG:
        run.shadows[0] = _number(constant(run.registers[0]))
    elif i.fetch:
        run.shadows[i.src] = _number(constant(run.registers[i.src]))
    return following


def _load_imm64(run: Watch, i: LoadImm64, index: int) -> int:
    following = STEPS[LoadImm64](run, i, index)
    node = constant(run.registers[i.dst])
    spec = run.stage.specs[i.value] if i.kind in (ImmKind.MAP_FD, ImmKind.MAP_VALUE_FD) else None
    kind = {
        ImmKind.MAP_FD: Kind.MAP,
        ImmKind.MAP_VALUE_FD: Kind.MAP_VALUE,
        ImmKind.FUNCTION: Kind.FUNCTION,
    }.get(i.kind, Kind.NUMBER)
    run.shadows[i.dst] = Shadow(kind, node, spec)
    return following


def _legacy_load(run: Watch, i: LegacyLoad, index: int) -> int:
    following = STEPS[LegacyLoad](run, i, index)
    now = run.registers[0]
    if not i.indirect and i.imm >= 0:
        parts = [Node("input", 8, ("packet", i.imm + n)) for n in reversed(range(i.size))]
        node = joined(parts, now)
        run.shadows[0] = _number(node if value(node, run.values) == now else constant(now))
    else:
        run.opaque = True
        run.shadows[0] = _number(constant(now))
    run.shadows[1:6] = [_NOTHING] * 5
    return following


def _branch(run: Watch, i: Branch, index: int) -> int:
    left, right = run.shadows[i.dst].node, run.source(i.src).node
    following = STEPS[Branch](run, i, index)
    if left.varies or right.varies:
        taken = following != index + 1
        run.decisions.append(Decision(len(run.order), i.op, i.bits, left, right, taken))
    return following


def _call_helper(run: Watch, i: CallHelper, index: int) -> int:
    row = prototypes().get(i.number)
    spec, token = run.shadows[1].spec, run.shadows[1].token
    wanted = run.values.get(("there", run.lookups), 0)
    placed = _place_element(run, spec) if i.number == _LOOKUP and run.free and wanted else False
    calls = len(run.results)
    run.opaque |= i.number != _LOOKUP and i.number not in run.stage.played
    following = STEPS[CallHelper](run, i, index)
    now = run.registers[0]
    kind = _GIVES.get(row.returns, Kind.NUMBER) if row is not None else Kind.NUMBER
    node = constant(now)
    if row is not None and row.returns is Returns.VOID:
        kind = Kind.NOTHING
    elif i.number == _LOOKUP:
        if placed or not now:
            address = now or layout.MAP_VALUES << layout.REGION_SHIFT
            node = operation("there", 64, now, Node("input", 1, ("there", run.lookups)), address)
        run.lookups += 1
        if spec is not None and spec.inner is not None:
            kind, spec = Kind.MAP, spec.inner
    elif i.number in run.stage.played:
        given = Node("input", 64, ("return", calls))
        node = given if kind is Kind.NUMBER else operation("there", 64, now, given, SOCKET)
        if value(node, run.values) != now:
            node = constant(now)
    if token and i.number in _RELEASES:
        run.forget(token)
    made = token if i.number in _DERIVES else len(run.order)
    run.shadows[0] = Shadow(kind, node, spec if kind in (Kind.MAP_VALUE, Kind.MAP) else None, made)
    run.shadows[1:6] = [_NOTHING] * 5
    return following


def _place_element(run: Watch, spec: MapSpec | None) -> bool:
    """Let the element that is about to be looked up be there; whether it was not before."""
    if spec is None or run.registers[1] < layout.MAP_HANDLES:
        return False
    try:
        found = run.machine.map_of(run.registers[1])
        key = run.memory.read(run.registers[2], found.key_size)
        if found.values is None or found.program_lookup(key, 0) is not None:
            return False
        put(found, key, b"")
    except (Trap, ArithmeticError, LookupError, OSError):
        return False
    place = found.program_lookup(key, 0)
    number = run.machine.number_of(found)
    if place is None:
        return False
    data = bytes(run.values.get(("map", number, place + n), 0) for n in range(found.value_size))
    put(found, key, data)
    run.elements.append((number, key, data))
    return True


def _plain(run: Watch, i: Instruction, index: int) -> int:
    return STEPS[type(i)](run, i, index)


_AROUND: dict[type, Callable[[Any, Any, int], int]] = {
    Alu: _alu,
    Negate: _negate,
    Extend: _extend,
    Swap: _swap,
    Load: _load,
    LoadAcquire: _load,
    Store: _store,
    StoreRelease: _store,
    Atomic: _atomic,
    LoadImm64: _load_imm64,
    LegacyLoad: _legacy_load,
    Branch: _branch,
    CallHelper: _call_helper,
}


def _watched(kind: type) -> Callable[..., int]:
    around = _AROUND.get(kind, _plain)

    def step(run: Watch, i: Instruction, index: int) -> int:
        run.before(i, index)
        following = around(run, i, index)
        run.following = following
        return following

    return step


_WATCHED: dict[type, Callable[..., int]] = {kind: _watched(kind) for kind in STEPS}
