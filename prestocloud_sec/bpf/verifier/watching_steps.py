# SPDX-License-Identifier: Apache-2.0
"""What the steps of a watched run make of registers and memory (`prestocloud_sec.bpf.verifier.watching`).

One function for each class of instruction that changes any: it lets the interpreter carry the instruction out, and
keeps how the result came about.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from prestocloud_sec.bpf.errors import BpfError
from prestocloud_sec.bpf.helpers.ids import HelperId
from prestocloud_sec.bpf.helpers.prototypes import Returns, prototypes
from prestocloud_sec.bpf.isa import (
    Alu,
    AluOp,
    Atomic,
    AtomicOp,
    Branch,
    BranchOp,
    CallHelper,
    Extend,
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
from prestocloud_sec.bpf.verifier.contexts import Pointer, allowed
from prestocloud_sec.bpf.verifier.expressions import Node, constant, joined, operation, part, value
from prestocloud_sec.bpf.verifier.inputs import SOCKET, put
from prestocloud_sec.bpf.verifier.maps import MapSpec
from prestocloud_sec.bpf.verifier.registers import Kind
from prestocloud_sec.bpf.verifier.shadows import NOTHING, Decision, Shadow, as_number
from prestocloud_sec.bpf.verifier.watching_iterators import after_call, row_of
from prestocloud_sec.bpf.vm import layout
from prestocloud_sec.bpf.vm.context import ContextKind
from prestocloud_sec.bpf.vm.memory import Trap
from prestocloud_sec.bpf.vm.reference import STEPS

if TYPE_CHECKING:
    from prestocloud_sec.bpf.verifier.watching import Watch

__all__ = ["WATCHED"]

_U64 = (1 << 64) - 1
_RELEASES = frozenset({86, 132, 133})
"""Helpers that take back what was acquired: ``sk_release``, ``ringbuf_submit``, ``ringbuf_discard``."""
_DERIVES = frozenset({95, 96, 98, 136, 137, 138, 139, 140})
"""Helpers that give another view of the socket they are handed."""
_GIVES: Mapping[Returns, Kind] = {
    Returns.MAP_VALUE_OR_NULL: Kind.MAP_VALUE,
    Returns.MAP_VALUE: Kind.MAP_VALUE,
    Returns.RING_RECORD_OR_NULL: Kind.MEMORY,
    Returns.SOCKET_OR_NULL: Kind.SOCKET,
    Returns.SOCKET_COMMON_OR_NULL: Kind.SOCKET_COMMON,
    Returns.TCP_SOCKET_OR_NULL: Kind.TCP_SOCKET,
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
            run.shadows[i.dst] = as_number(part(source.node, 0, 32, now))
        return following
    node = operation(i.op, i.bits, now, held.node, source.node)
    pointers = [s for s in (held, source) if s.kind is not Kind.NUMBER]
    moved = len(pointers) == 1 and i.bits == 64
    run.shadows[i.dst] = pointers[0]._replace(node=node) if moved else as_number(node)
    return following


def _negate(run: Watch, i: Negate, index: int) -> int:
    node = run.shadows[i.dst].node
    following = STEPS[Negate](run, i, index)
    run.shadows[i.dst] = as_number(operation("negate", i.bits, run.registers[i.dst], node))
    return following


def _extend(run: Watch, i: Extend, index: int) -> int:
    node = run.shadows[i.src].node
    following = STEPS[Extend](run, i, index)
    run.shadows[i.dst] = as_number(operation("extend", i.bits, run.registers[i.dst], node, i.width))
    return following


def _swap(run: Watch, i: Swap, index: int) -> int:
    node = run.shadows[i.dst].node
    following = STEPS[Swap](run, i, index)
    now = run.registers[i.dst]
    made = part(node, 0, i.width, now) if i.kind is SwapKind.LE else operation("swap", i.width, now, node)
    run.shadows[i.dst] = as_number(made)
    return following


def _load(run: Watch, i: Load | LoadAcquire, index: int) -> int:
    base = run.shadows[i.base]
    address = (run.registers[i.base] + i.offset) & _U64
    data = run.memory.read(address, i.size)
    following = STEPS[type(i)](run, i, index)
    now = run.registers[i.dst]
    kept = run.kept.get(address) if i.size == 8 else None
    if kept is not None and value(kept.node, run.values) == now:  # no helper wrote over it
        run.shadows[i.dst] = kept
        return following
    node = run.remembered(address, data)
    if isinstance(i, Load) and i.signed:
        node = operation("extend", 64, now, node, 8 * i.size)
    made = as_number(node)
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
        if (
            run.machine.context.kind is ContextKind.SKB
            and not place
            and size == 4
            and run.values.get("length", 0) == now
        ):
            return as_number(_length())
        return made
    node = constant(now)
    if found.kind is Kind.PACKET_END:
        node = operation("add", 64, now, _length(), constant(layout.PACKET_DATA))
    elif found.kind is Kind.PACKET_META:
        node = operation("sub", 64, now, constant(layout.PACKET_DATA), Node("input", 32, "metadata"))
    elif found.kind.is_socket:
        node = operation("there", 64, now, Node("input", 8, ("context", place)), SOCKET)
    return Shadow(found.kind, node if value(node, run.values) == now else constant(now))


def _length() -> Node:
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
    kept = run.kept.get(address) if i.size == 8 else None
    following = STEPS[Atomic](run, i, index)
    run.opaque = True
    data = run.memory.read(address, i.size)
    run.remember(address, i.size, constant(int.from_bytes(data, "little")), int.from_bytes(data, "little"))
    if i.op is AtomicOp.CMPXCHG or i.fetch:
        into = 0 if i.op is AtomicOp.CMPXCHG else i.src
        now = run.registers[into]
        fetched = kept is not None and value(kept.node, run.values) == now  # what was kept there comes out
        run.shadows[into] = kept if kept is not None and fetched else as_number(constant(now))
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
    base = run.registers[i.dst] - i.second if kind is Kind.MAP_VALUE else 0
    run.shadows[i.dst] = Shadow(kind, node, spec, base=base)
    return following


def _legacy_load(run: Watch, i: LegacyLoad, index: int) -> int:
    following = STEPS[LegacyLoad](run, i, index)
    now = run.registers[0]
    if run.ends:  # the packet has no such word
        run.shadows[0] = as_number(constant(now))
    elif not i.indirect and i.imm >= 0:
        parts = [Node("input", 8, ("packet", i.imm + n)) for n in reversed(range(i.size))]
        node = joined(parts, now)
        run.shadows[0] = as_number(node if value(node, run.values) == now else constant(now))
    else:
        run.opaque = True
        run.shadows[0] = as_number(constant(now))
    run.shadows[1:6] = [NOTHING] * 5
    return following


def _branch(run: Watch, i: Branch, index: int) -> int:
    held, other = run.shadows[i.dst], run.source(i.src)
    left, right = held.node, other.node
    following = STEPS[Branch](run, i, index)
    if left.varies or right.varies:
        taken = following != index + 1
        run.decisions.append(Decision(len(run.order), i.op, i.bits, left, right, taken))
    if held.token and i.op in (BranchOp.EQ, BranchOp.NE) and not run.registers[i.dst] and not run.operand(i.src, 64):
        run.forget(held.token, as_number(constant(0)))  # it is known to be null from now on: a number
    return following


def _call_helper(run: Watch, i: CallHelper, index: int) -> int:
    called = row_of(i.number)
    if called is not None:
        address = run.registers[1]
        following = STEPS[CallHelper](run, i, index)
        after_call(run, called, address, index)
        return following
    row = prototypes().get(i.number)
    spec, token = run.shadows[1].spec, run.shadows[1].token
    wanted = run.values.get(("there", run.lookups), 0)
    placed = _place_element(run, spec) if i.number == HelperId.MAP_LOOKUP_ELEM and run.free and wanted else False
    calls = len(run.results)
    run.opaque |= i.number != HelperId.MAP_LOOKUP_ELEM and i.number not in run.stage.played
    following = STEPS[CallHelper](run, i, index)
    now = run.registers[0]
    kind = _GIVES.get(row.returns, Kind.NUMBER) if row is not None else Kind.NUMBER
    node = constant(now)
    if row is not None and row.returns is Returns.VOID:
        kind = Kind.NOTHING
    elif i.number == HelperId.MAP_LOOKUP_ELEM:
        if placed or not now:
            address = now or layout.MAP_VALUES << layout.REGION_SHIFT
            node = operation("there", 64, now, Node("input", 1, ("there", run.lookups)), address)
            if value(node, run.values) != now:
                node = constant(now)
        run.lookups += 1
        if spec is not None and spec.inner is not None:
            kind, spec = Kind.MAP, spec.inner
    elif i.number in run.stage.played:
        given = Node("input", 64, ("return", calls))
        node = given if kind is Kind.NUMBER else operation("there", 64, now, given, SOCKET)
        if value(node, run.values) != now:
            node = constant(now)
    if token and i.number in _RELEASES:
        run.given_back(token)
    made = token if i.number in _DERIVES else len(run.order)
    base = now if kind is Kind.MAP_VALUE else 0
    run.shadows[0] = Shadow(kind, node, spec if kind in (Kind.MAP_VALUE, Kind.MAP) else None, made, base)
    run.shadows[1:6] = [NOTHING] * 5
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
    except (Trap, BpfError):  # there is no such key, or nobody may put elements there
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


WATCHED: dict[type, Callable[..., int]] = {kind: _watched(kind) for kind in STEPS}
"""The interpreter's steps, watched."""
