# SPDX-License-Identifier: Apache-2.0
"""Whether an access through a register is allowed, and what a load gives (Linux 6.18, ``check_mem_access``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestocloud_sec.bpf.program_type import ProgramType
from prestocloud_sec.bpf.verifier import stack
from prestocloud_sec.bpf.verifier.contexts import FLOW_KEYS_SIZE, SOCKETS, Pointer, allowed
from prestocloud_sec.bpf.verifier.registers import NAMES, NUMBER, ZERO_NUMBER, Kind, Register, known
from prestocloud_sec.bpf.verifier.rejection import Rejected, Rule
from prestocloud_sec.bpf.verifier.scalar import Scalar

if TYPE_CHECKING:
    from prestocloud_sec.bpf.verifier.environment import Environment
    from prestocloud_sec.bpf.verifier.state import State

__all__ = ["access", "check_alignment", "check_region", "packet_writable"]

_MOST_VARYING = 1 << 29
_MAX_PACKET_OFFSET = 0xFFFF
_READS_PACKETS = frozenset(
    {
        ProgramType.LWT_IN,
        ProgramType.LWT_OUT,
        ProgramType.LWT_SEG6LOCAL,
        ProgramType.SK_REUSEPORT,
        ProgramType.FLOW_DISSECTOR,
        ProgramType.CGROUP_SKB,
    }
)
_WRITES_PACKETS = frozenset(
    {
        ProgramType.SCHED_CLS,
        ProgramType.SCHED_ACT,
        ProgramType.XDP,
        ProgramType.LWT_XMIT,
        ProgramType.SK_SKB,
        ProgramType.SK_MSG,
        ProgramType.CGROUP_SOCKOPT,
    }
)


def packet_readable(kind: ProgramType) -> bool:
    """Whether programs of a type may read packets through pointers."""
    return kind in _READS_PACKETS or kind in _WRITES_PACKETS


def packet_writable(kind: ProgramType) -> bool:
    """Whether they may write them."""
    return kind in _WRITES_PACKETS


def access(
    env: Environment,
    state: State,
    base: int,
    offset: int,
    size: int,
    *,
    write: bool,
    value: Register | None = None,
) -> Register:
    """Check an access; return what a load gives, narrowed to its size, or NUMBER for a store.

    Parameters
    ----------
    env, state
    base : int
        The register that holds the address.
    offset, size : int
        Bytes.
    write : bool
    value : Register, optional
        What a store writes; None for something unknown.

    Raises
    ------
    Rejected
    """
    pointer = state.registers[base]
    kind = pointer.kind
    check_alignment(env, pointer, offset, size)
    if kind is Kind.STACK:
        if write:
            stack.store(state, pointer, offset, size, value, privileged=env.privileged, name=str(base))
            return NUMBER
        return _narrowed(stack.load(state, pointer, offset, size, privileged=env.privileged, name=str(base)), size)
    if kind is Kind.MAP_VALUE and not pointer.nullable:
        return _map_value(env, pointer, base, offset, size, write=write, value=value)
    if kind in (Kind.PACKET, Kind.PACKET_META):
        return _packet(env, pointer, base, offset, size, write=write, value=value)
    if kind is Kind.CONTEXT:
        return _context(env, pointer, base, offset, size, write=write, value=value)
    if kind is Kind.MEMORY and not pointer.nullable:
        if write and pointer.read_only:
            raise Rejected(Rule.READ_ONLY, f"R{base} cannot write into rdonly_mem")
        _no_leak(env, value, "mem")
        check_region(pointer, base, offset, size, pointer.size, NAMES[Kind.MEMORY])
        return _number_of(size)
    if kind is Kind.MAP_KEY:
        if write:
            raise Rejected(Rule.READ_ONLY, "write to change key R" + f"{base} not allowed")
        check_region(pointer, base, offset, size, pointer.map.key_size if pointer.map else 0, NAMES[kind])
        return _number_of(size)
    if kind.is_socket and not pointer.nullable:
        return _socket(pointer, base, offset, size, write=write)
    if kind is Kind.FLOW_KEYS:
        _no_leak(env, value, "flow keys")
        _fixed(pointer, base, "flow_keys")
        place = pointer.offset + offset
        if not 0 <= place <= FLOW_KEYS_SIZE - size:
            raise Rejected(Rule.MEMORY, f"invalid access to flow keys off={place} size={size}")
        return _number_of(size)
    if kind is Kind.BUFFER and not pointer.nullable:
        return _buffer(pointer, base, offset, size)
    if kind is Kind.MAP:
        return _map(env, pointer, base, offset, size, write=write)
    name = NAMES[kind] + ("_or_null" if pointer.nullable else "")
    if pointer.nullable:
        raise Rejected(
            Rule.NULL, f"R{base} invalid mem access '{name}'", hint=f"compare r{base} with 0 before it is used"
        )
    raise Rejected(
        Rule.UNINITIALISED if kind is Kind.NOTHING else Rule.MEMORY,
        f"R{base} invalid mem access '{'inv' if kind is Kind.NOTHING else name}'",
        hint=f"r{base} is null here: compare it with 0 first" if pointer.is_null else "it is no pointer to memory",
        register=base,
    )


def _number_of(size: int) -> Register:
    return _narrowed(NUMBER, size)


_ANY_OF: dict[int, Register] = {}


def _narrowed(value: Register, size: int) -> Register:
    """Return what a load of `size` bytes leaves of a number: its low bytes."""
    if size == 8 or value.kind is not Kind.NUMBER:
        return value
    if value is NUMBER:
        found = _ANY_OF.get(size)
        if found is None:
            scalar = Scalar.unknown()
            scalar.truncate(size)
            found = _ANY_OF[size] = Register(Kind.NUMBER, scalar)
        return found
    scalar = value.number.copy()
    scalar.truncate(size)
    return value.but(number=scalar)


def _no_leak(env: Environment, value: Register | None, where: str) -> None:
    if value is not None and value.is_pointer and not env.privileged:
        raise Rejected(Rule.POINTER_LEAK, f"a register leaks addr into {where}")


def _fixed(pointer: Register, base: int, name: str) -> None:
    """Check that where a pointer points is known."""
    number = pointer.number
    if not number.is_const or number.tnum.value:
        raise Rejected(
            Rule.POINTER_ARITHMETIC,
            f"variable {name} access var_off={number.tnum} disallowed",
            hint="move it by constants only",
            register=base,
        )


def check_alignment(env: Environment, pointer: Register, offset: int, size: int) -> None:
    """Check that an access is aligned to its size: on the stack always, elsewhere where that is asked for."""
    strict = env.strict_alignment
    kind = pointer.kind
    if kind is Kind.STACK:
        strict = True
    if not strict or size == 1:
        return
    fixed = pointer.offset + offset
    if kind in (Kind.PACKET, Kind.PACKET_META):
        fixed += 2  # packets are laid out so that what follows an Ethernet header is aligned
    tnum = pointer.number.tnum
    total = type(tnum).const(fixed) + tnum
    if not total.aligned(size):
        what = "stack" if kind is Kind.STACK else NAMES[kind]
        raise Rejected(Rule.ALIGNMENT, f"misaligned {what} access off {tnum}+{pointer.offset}+{offset} size {size}")


def check_region(
    pointer: Register, base: int, offset: int, size: int, limit: int, name: str, *, zero: bool = False
) -> None:
    """Check that every place an access can have lies between 0 and `limit`.

    The least place it can have counts by the signed range, the greatest by the unsigned one.
    """
    number = pointer.number
    fixed = pointer.offset + offset
    if number.smin < 0 and (number.smin == -(1 << 63) or not 0 <= fixed + number.smin < 1 << 31):
        raise Rejected(
            _rule_of(pointer),
            f"R{base} min value is negative, either use unsigned index or do a if (index >=0) check.",
            hint="compare the index with 0, or use an unsigned one",
        )
    _inside(pointer, base, number.smin + fixed, size, limit, name, "min", zero=zero)
    if number.umax >= _MOST_VARYING:
        raise Rejected(
            _rule_of(pointer),
            f"R{base} unbounded memory access, make sure to bounds check any such access",
            hint="compare the index with the size, or mask it",
        )
    _inside(pointer, base, number.umax + fixed, size, limit, name, "max", zero=zero)


def _rule_of(pointer: Register) -> Rule:
    if pointer.kind is Kind.MAP_VALUE:
        return Rule.MAP_VALUE
    return Rule.PACKET if pointer.kind.is_packet else Rule.MEMORY


def _inside(
    pointer: Register, base: int, place: int, size: int, limit: int, name: str, end: str, *, zero: bool
) -> None:
    if place >= 0 and (size or zero) and place + size <= limit:
        return
    fixed = pointer.number.is_const and not pointer.number.tnum.value
    where = f"invalid access to {name}, size={limit} off={place} size={size}"
    if not fixed:
        where = f"R{base} {end} value is outside of the allowed memory range"
    raise Rejected(_rule_of(pointer), where, hint=f"{limit} bytes are there")


def _map_value(
    env: Environment, pointer: Register, base: int, offset: int, size: int, *, write: bool, value: Register | None
) -> Register:
    spec = pointer.map
    if spec is None:  # what made the pointer gave it
        raise Rejected(Rule.MAP, f"R{base} points to a value of no map")
    _no_leak(env, value, "map")
    if write and not spec.program_may_write:
        raise Rejected(
            Rule.READ_ONLY, f"write into map forbidden, value_size={spec.value_size} off={offset} size={size}"
        )
    if not write and not spec.program_may_read:
        raise Rejected(
            Rule.READ_ONLY, f"read from map forbidden, value_size={spec.value_size} off={offset} size={size}"
        )
    check_region(pointer, base, offset, size, spec.value_size, "map value")
    check_special(pointer, offset, size)
    if not write and spec.frozen is not None and not spec.program_may_write and pointer.number.is_const:
        place = pointer.offset + pointer.number.smin + offset
        if size <= 8 and place + size <= len(spec.frozen):
            return known(int.from_bytes(spec.frozen[place : place + size], "little"))
    return _number_of(size)


_BPF_MAP_SIZE = 256
"""Bytes of the kernel's ``struct bpf_map``, which privileged programs may read."""


def _map(env: Environment, pointer: Register, base: int, offset: int, size: int, *, write: bool) -> Register:
    """Check an access to a map itself: its description in the kernel."""
    place = pointer.offset + offset
    if not env.privileged or write or not pointer.number.is_const:
        raise Rejected(Rule.MAP, f"only read from bpf_map is supported, R{base}", hint="look an element up instead")
    if not 0 <= place <= _BPF_MAP_SIZE - size:
        raise Rejected(Rule.MAP, f"R{base} is bpf_map invalid access off={place} size={size}")
    return _number_of(size)


def check_special(pointer: Register, offset: int, size: int) -> None:
    """Check that an access does not touch what only helpers may: a lock, a timer."""
    spec = pointer.map
    if spec is None:
        return
    least = pointer.offset + pointer.number.smin + offset
    most = pointer.offset + pointer.number.umax + offset + size
    for name, place, length in (("bpf_spin_lock", spec.spin_lock, 4), ("bpf_timer", spec.timer, 16)):
        if place is not None and least < place + length and place < most:
            raise Rejected(Rule.LOCK, f"{name} cannot be accessed directly by load/store")


def _packet(
    env: Environment, pointer: Register, base: int, offset: int, size: int, *, write: bool, value: Register | None
) -> Register:
    if write and not packet_writable(env.type):
        raise Rejected(Rule.READ_ONLY, "cannot write into packet")
    _no_leak(env, value, "packet")
    check_packet(pointer, base, offset, size)
    return _number_of(size)


def check_packet(pointer: Register, base: int, offset: int, size: int, *, zero: bool = False) -> None:
    """Check that an access lies in the part of a packet that was compared with its end."""
    number = pointer.number
    if number.smin < 0:
        raise Rejected(
            Rule.PACKET,
            f"R{base} min value is negative, either use unsigned index or do a if (index >=0) check.",
            hint="compare the offset with 0, or use an unsigned one",
        )
    place = pointer.offset + offset
    if place < 0 or (not size and not zero) or place + size > pointer.range:
        raise Rejected(
            Rule.PACKET,
            f"invalid access to packet, off={place} size={size}, "
            f"R{base}(id={pointer.id},off={place},r={pointer.range})",
            hint=_packet_hint(number, place, size),
        )


def _packet_hint(number: Scalar, place: int, size: int) -> str:
    most = number.umax + place + size
    if number.is_const or most <= _MAX_PACKET_OFFSET:
        return "compare the pointer plus what is read with data_end first"
    return (
        f"what was added to the pointer may be up to {number.umax}, and a comparison with data_end tells of a pointer "
        f"only while that is at most {_MAX_PACKET_OFFSET}: bound the number first, then compare"
    )


def _context(
    env: Environment, pointer: Register, base: int, offset: int, size: int, *, write: bool, value: Register | None
) -> Register:
    if env.context is None:
        raise Rejected(Rule.TYPE, f"programs of type {env.type.name} cannot be judged here", "EINVAL")
    if write:
        _no_leak(env, value, "ctx")
    if pointer.offset < 0:
        raise Rejected(Rule.CONTEXT, f"negative offset ctx ptr R{base} off={pointer.offset} disallowed")
    if pointer.offset:
        raise Rejected(
            Rule.CONTEXT,
            f"dereference of modified ctx ptr R{base} off={pointer.offset} disallowed",
            hint="use r1 as it is",
        )
    number = pointer.number
    if not number.is_const or number.tnum.value:
        raise Rejected(Rule.CONTEXT, f"variable ctx access var_off={number.tnum} disallowed")
    place = pointer.offset + offset
    found = allowed(env.context, place, size, write=write, attach=env.attach)
    if found is False:
        raise Rejected(
            Rule.CONTEXT,
            f"invalid bpf_context access off={place} size={size}",
            hint=f"programs of type {env.type.name} cannot {'write' if write else 'read'} that",
        )
    if isinstance(found, Pointer):
        if found.kind is Kind.SOCKET or found.kind is Kind.SOCKET_COMMON:
            return Register(found.kind, ZERO_NUMBER, nullable=found.nullable, id=env.new_id() if found.nullable else 0)
        return Register(found.kind, ZERO_NUMBER, nullable=found.nullable)
    return NUMBER if write else _number_of(size)


def _socket(pointer: Register, base: int, offset: int, size: int, *, write: bool) -> Register:
    name = NAMES[pointer.kind]
    if write:
        raise Rejected(Rule.READ_ONLY, f"R{base} cannot write into {name}")
    if pointer.number.smin < 0:
        raise Rejected(Rule.MEMORY, f"R{base} min value is negative")
    place = pointer.offset + offset
    if not allowed(SOCKETS[pointer.kind], place, size, write=False, attach=0):
        raise Rejected(Rule.MEMORY, f"R{base} invalid {name} access off={place} size={size}")
    return _number_of(size)


def _buffer(pointer: Register, base: int, offset: int, size: int) -> Register:
    place = pointer.offset + offset
    if place < 0:
        raise Rejected(Rule.MEMORY, f"R{base} invalid tracepoint buffer access: off={place}, size={size}")
    _fixed(pointer, base, "buffer")
    return _number_of(size)
