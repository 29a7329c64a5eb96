# SPDX-License-Identifier: Apache-2.0
"""Whether a watched run may do what it is about to do (`prestocloud_sec.bpf.verifier.watching`).

One function for each class of instruction. Each raises `Violated` for what the machine of user space lets pass and no
verifier does; what the machine stops itself is left to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from prestocloud_sec.bpf.helpers.prototypes import Argument
from prestocloud_sec.bpf.isa import (
    Alu,
    AluOp,
    Atomic,
    AtomicOp,
    Branch,
    CallHelper,
    Extend,
    LegacyLoad,
    Load,
    LoadAcquire,
    Negate,
    Store,
    StoreRelease,
    Swap,
)
from prestocloud_sec.bpf.verifier.contexts import SOCKETS, allowed
from prestocloud_sec.bpf.verifier.expressions import operation
from prestocloud_sec.bpf.verifier.inputs import SOCKET
from prestocloud_sec.bpf.verifier.iterators import ELEMENT_SIZE
from prestocloud_sec.bpf.verifier.maps import MapSpec
from prestocloud_sec.bpf.verifier.memory import packet_writable
from prestocloud_sec.bpf.verifier.registers import NAMES, Kind
from prestocloud_sec.bpf.verifier.rejection import Rule
from prestocloud_sec.bpf.verifier.shadows import Shadow
from prestocloud_sec.bpf.verifier.watching_iterators import before_call, row_of
from prestocloud_sec.bpf.vm import layout
from prestocloud_sec.bpf.vm.layout import State
from prestocloud_sec.bpf.words import signed

if TYPE_CHECKING:
    from prestocloud_sec.bpf.verifier.watching import Watch

__all__ = ["BEFORE"]

_U64 = (1 << 64) - 1
_MOST_OFFSET = 1 << 29
_LOOKED_AT = {6: 2}
"""Helpers whose last arguments may be anything, nothing too: what ``trace_printk`` prints."""
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


# --- Accesses to memory.


def check_access(run: Watch, base: int, offset: int, size: int, *, write: bool, atomic: bool = False) -> None:
    """Look at an access before it is made."""
    held = run.read(base)
    address = (run.registers[base] + offset) & _U64
    if run.following == run.target:
        run.goals.append((operation("add", 64, address, held.node, offset & _U64), size))
    what = f"{'write' if write else 'read'} of {size} bytes"
    kind = held.kind
    if kind in (Kind.NUMBER, Kind.PACKET_END, Kind.FUNCTION):
        raise run.violated(Rule.MEMORY, f"{what} through r{base}, which is no pointer to memory: {address:#x}")
    if atomic and kind in _NO_ATOMICS:
        raise run.violated(Rule.MEMORY, f"an atomic operation on the {NAMES[kind]}")
    _check_alignment(run, kind, address, size, atomic=atomic)
    if kind is Kind.CONTEXT:
        _check_context(run, address, size, write=write)
    elif kind in (Kind.PACKET, Kind.PACKET_META):
        if write and not packet_writable(run.env.type):
            raise run.violated(Rule.READ_ONLY, f"{what} at {address:#x} in a packet that may not be written")
        data = int(run.state[State.DATA])
        if kind is Kind.PACKET_META and address + size > data:
            raise run.violated(Rule.PACKET, f"{what} in the metadata, {address + size - data} beyond its end")
    elif kind is Kind.MAP_VALUE and held.spec is not None:
        _check_value(run, held, address, size, write=write)
    elif kind.is_socket and address >> layout.REGION_SHIFT == SOCKET >> layout.REGION_SHIFT:
        if write:
            raise run.violated(Rule.READ_ONLY, f"{what} in a socket")
        if not allowed(SOCKETS[kind], address - SOCKET, size, write=False, attach=0):
            raise run.violated(Rule.MEMORY, f"{what} at {address - SOCKET} of a {NAMES[kind]}, which has no such field")
    elif kind is Kind.STACK:
        if not write:
            _check_fill(run, address, size)
        _check_iterators(run, address, size, write=write)
    elif kind is Kind.MEMORY and held.base and (write or not 0 <= address - held.base <= ELEMENT_SIZE - size):
        rule = Rule.READ_ONLY if write else Rule.MEMORY
        raise run.violated(rule, f"{what} at {address - held.base} of what an iterator gave")


def _check_alignment(run: Watch, kind: Kind, address: int, size: int, *, atomic: bool) -> None:
    place = address - layout.PACKET_DATA + 2 if kind in (Kind.PACKET, Kind.PACKET_META) else address
    strict = run.env.strict_alignment or kind is Kind.STACK or (atomic and kind is not Kind.PACKET)
    if strict and place % size:
        raise run.violated(Rule.ALIGNMENT, f"an access of {size} bytes at {address:#x}, which is not aligned")


def _check_context(run: Watch, address: int, size: int, *, write: bool) -> None:
    place = signed(address - (layout.CONTEXT << layout.REGION_SHIFT) & _U64, 64)
    access = run.env.context
    if access is not None and allowed(access, place, size, write=write, attach=run.env.attach) is False:
        raise run.violated(
            Rule.CONTEXT,
            f"{'write' if write else 'read'} of {size} bytes at {place} of the context: "
            f"programs of type {run.env.type.name} have nothing there",
        )


def _check_value(run: Watch, held: Shadow, address: int, size: int, *, write: bool) -> None:
    """Look at an access to a map's value: the machine knows where elements are, but not which one is meant."""
    spec = held.spec
    if spec is None:
        return
    if not spec.program_may_read and not write:
        raise run.violated(Rule.READ_ONLY, "a read of a map that may only be written")
    within = signed(address - held.base & _U64, 64)
    if held.base and not 0 <= within <= spec.value_size - size:
        raise run.violated(Rule.MAP_VALUE, f"{size} bytes at {within} of a value of {spec.value_size} bytes")
    for name, start, length in (("lock", spec.spin_lock, 4), ("timer", spec.timer, 16)):
        if start is not None and within < start + length and start < within + size:
            raise run.violated(Rule.LOCK, f"an access to the bytes of a {name}")


def _check_iterators(run: Watch, address: int, size: int, *, write: bool) -> None:
    """Look at an access to the stack: what is written over is no iterator any more, and none is read."""
    if write:
        run.iterators.forget(address, size)
    elif run.iterators.touched(address, size):
        raise run.violated(Rule.UNINITIALISED, f"a read of {size} bytes of an iterator at {address:#x}")


def _check_fill(run: Watch, address: int, size: int) -> None:
    for place in range(address - 7, address + size):
        if place in run.kept and (place != address or size != 8):
            told = f"a read of {size} bytes of an address that is kept there"
            raise run.violated(Rule.POINTER_LEAK, told, at_a_place=True)


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
    if a and b and i.op is not AluOp.SUB:
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
    if run.following == run.target and not -_MOST_OFFSET < signed(number, 64) < _MOST_OFFSET:
        raise run.violated(Rule.POINTER_ARITHMETIC, f"{told}: an address is moved by {signed(number, 64)}")


def _before_unary(run: Watch, i: Negate | Swap) -> None:
    run.read(i.dst)


def _before_extend(run: Watch, i: Extend) -> None:
    if run.read(i.src).kind is not Kind.NUMBER and not run.env.privileged:
        raise run.violated(Rule.POINTER_LEAK, "the sign of a part of an address is extended")


def _before_load(run: Watch, i: Load | LoadAcquire) -> None:
    check_access(run, i.base, i.offset, i.size, write=False, atomic=isinstance(i, LoadAcquire))


def _before_store(run: Watch, i: Store | StoreRelease) -> None:
    run.read(i.base)
    run.source(i.src)
    check_access(run, i.base, i.offset, i.size, write=True, atomic=isinstance(i, StoreRelease))


def _before_atomic(run: Watch, i: Atomic) -> None:
    run.read(i.src)
    run.read(i.base)
    if i.op is AtomicOp.CMPXCHG:
        run.read(0)
    check_access(run, i.base, i.offset, i.size, write=True, atomic=True)


def _before_legacy(run: Watch, i: LegacyLoad) -> None:
    if run.read(6).kind is not Kind.CONTEXT:
        raise run.violated(Rule.CONTEXT, "r6 is not the context")
    if i.indirect:
        run.read(i.src)


def _before_branch(run: Watch, i: Branch) -> None:
    run.source(i.src)
    run.read(i.dst)


def _before_call(run: Watch, i: CallHelper) -> None:
    called = row_of(i.number)
    if called is not None:
        before_call(run, called)
        return
    row = run.env.prototype(i.number)
    if row is None:
        return
    spec: MapSpec | None = None
    for place, argument in enumerate(row.arguments[: _LOOKED_AT.get(i.number)]):
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
        _check_value(run, held, now, size, write=write)
    _locate(run, now, size, layout.WRITABLE if write else layout.READABLE)


BEFORE: dict[type, Callable[[Watch, Any], None]] = {
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
"""By class of instruction."""
