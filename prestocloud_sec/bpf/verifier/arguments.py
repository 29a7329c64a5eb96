# SPDX-License-Identifier: Apache-2.0
"""What a helper is given, against what it takes (Linux 6.18, ``check_func_arg``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from prestocloud_sec.bpf.helpers.prototypes import Argument, Prototype
from prestocloud_sec.bpf.verifier import stack
from prestocloud_sec.bpf.verifier.maps import MapSpec
from prestocloud_sec.bpf.verifier.memory import (
    check_packet,
    check_region,
    check_special,
    packet_readable,
    packet_writable,
)
from prestocloud_sec.bpf.verifier.registers import NAMES, Kind, Register, number
from prestocloud_sec.bpf.verifier.rejection import Rejected, Rule
from prestocloud_sec.bpf.verifier.scalar import Scalar
from prestocloud_sec.bpf.verifier.state import Byte, Slot

if TYPE_CHECKING:
    from prestocloud_sec.bpf.verifier.environment import Environment
    from prestocloud_sec.bpf.verifier.state import Frame, State

__all__ = ["CHECKED", "Call", "StackUses", "check_arguments", "limited", "memory"]

_MOST_SIZE = 1 << 29
_READS_PACKET = frozenset({1, 2, 3, 28, 84, 85, 87, 88, 89, 99, 100, 110, 195})
"""Helpers that take pointers into packets as memory."""
_MEMORY = (Kind.STACK, Kind.PACKET, Kind.PACKET_META, Kind.MAP_KEY, Kind.MAP_VALUE, Kind.MEMORY, Kind.BUFFER)
_SOCKETS = (Kind.SOCKET_COMMON, Kind.SOCKET, Kind.TCP_SOCKET, Kind.XDP_SOCKET)
A = Argument
_KINDS: dict[Argument, tuple[Kind, ...]] = {
    A.CONTEXT: (Kind.CONTEXT,),
    A.MAP: (Kind.MAP,),
    A.MAP_KEY: _MEMORY,
    A.MAP_VALUE: _MEMORY,
    A.MAP_VALUE_OUT: _MEMORY,
    A.MAP_VALUE_OR_NULL: _MEMORY,
    A.MEMORY: _MEMORY,
    A.MEMORY_OR_NULL: _MEMORY,
    A.MEMORY_OUT: _MEMORY,
    A.MEMORY_OUT_OR_NULL: _MEMORY,
    A.NUMBER_OUT: _MEMORY,
    A.RING_RECORD: (Kind.MEMORY,),
    A.FUNCTION: (Kind.FUNCTION,),
    A.CALLBACK_CONTEXT: (Kind.STACK,),
    A.STRING: (Kind.MAP_VALUE,),
    A.SPIN_LOCK: (Kind.MAP_VALUE,),
    A.TIMER: (Kind.MAP_VALUE,),
    A.KPTR: (Kind.MAP_VALUE,),
    A.SOCKET: (Kind.SOCKET,),
    A.SOCKET_COMMON: _SOCKETS,
    A.SOCKET_ANY: (*_SOCKETS, Kind.BTF),
    A.BTF_OBJECT: (Kind.BTF, *_SOCKETS),
    A.BTF_PER_CPU: (Kind.BTF,),
    A.DYNPTR: (Kind.STACK,),
    A.DYNPTR_OUT: (Kind.STACK,),
    A.DYNPTR_RING_RECORD: (Kind.STACK,),
}
_HEADERS = {(204, 1): 20, (205, 1): 40, (206, 1): 20, (206, 2): 20, (207, 1): 40, (207, 2): 20}
"""By helper and argument: bytes of the header that the raw SYN cookie helpers read, IPv4, IPv6 or TCP."""
_UNKNOWN = frozenset({A.DYNPTR, A.DYNPTR_OUT, A.DYNPTR_RING_RECORD, A.KPTR})
_NULLABLE = frozenset({A.MAP_VALUE_OR_NULL, A.MEMORY_OR_NULL, A.MEMORY_OUT_OR_NULL, A.CALLBACK_CONTEXT})
_SIZES = frozenset({A.SIZE, A.SIZE_OR_ZERO})
_WRITTEN = frozenset({A.MEMORY_OUT, A.MEMORY_OUT_OR_NULL, A.MAP_VALUE_OUT, A.NUMBER_OUT})
_NO_CONTEXT = frozenset({122})
"""Helpers that take 0 instead of a context."""
CHECKED = {6: 2}
"""Helpers whose last arguments may be anything, nothing too: what ``trace_printk`` prints."""
_FIXED = frozenset({A.CONTEXT, A.SOCKET, A.SOCKET_COMMON, A.SOCKET_ANY, A.RING_RECORD})
"""Pointers that must be given as they were got."""


class StackUses:
    """What a call may do to the stack.

    Attributes
    ----------
    touched : list of (int, int)
        Where it is used: the frame, and the lowest place.
    reads : list of (int, int, int)
        Bytes that may be read: the frame, the first, and the one behind the last.
    """

    __slots__ = ("reads", "touched")

    def __init__(self) -> None:
        self.touched: list[tuple[int, int]] = []
        self.reads: list[tuple[int, int, int]] = []


class Call:
    """What is found out about a call from its arguments.

    Attributes
    ----------
    prototype : Prototype
    map : MapSpec or None
    map_id : int
    reference : int
        Of an argument that refers to something acquired.
    size : int
        A size that is known (of an allocation).
    function : int
        The instruction that a callback begins with; -1 without one.
    key : int or None
        A key that is known.
    precise : list of int
        Registers whose exact value the verdict depends on.
    places : list of (int, int)
        Slots of the stack of which the same holds: frame and slot.
    stack : StackUses
    """

    def __init__(self, prototype: Prototype) -> None:
        self.prototype = prototype
        self.map: MapSpec | None = None
        self.map_id = 0
        self.reference = 0
        self.size = 0
        self.function = -1
        self.precise: list[int] = []
        self.places: list[tuple[int, int]] = []
        self.stack = StackUses()
        self.key: int | None = None

    @property
    def name(self) -> str:
        """The helper's name and number, as the kernel writes it."""
        return f"bpf_{self.prototype.name}#{self.prototype.number}"


def check_arguments(env: Environment, state: State, call: Call) -> None:
    """Check the arguments of a call, in order.

    Raises
    ------
    Rejected
    """
    arguments = call.prototype.arguments[: CHECKED.get(call.prototype.number)]
    for index, argument in enumerate(arguments):
        following = arguments[index + 1] if index + 1 < len(arguments) else None
        _check(env, state, call, index + 1, argument, following)


def _check(
    env: Environment, state: State, call: Call, name: int, argument: Argument, following: Argument | None
) -> None:
    register = state.registers[name]
    if register.kind is Kind.NOTHING:
        raise Rejected(
            Rule.UNINITIALISED, f"R{name} !read_ok", hint=f"{call.prototype.name} takes r{name}", register=name
        )
    if argument is A.ANYTHING:
        if register.is_pointer and not env.privileged:
            raise Rejected(Rule.POINTER_LEAK, f"R{name} leaks addr into helper function")
        return
    if argument in _SIZES:
        _size(env, state, call, name, zero=argument is A.SIZE_OR_ZERO)
        return
    if argument is A.ALLOCATION_SIZE:
        _constant(call, name, register)
        return
    if register.kind in (Kind.PACKET, Kind.PACKET_META) and not (
        call.prototype.number in _READS_PACKET and packet_readable(env.type)
    ):
        raise Rejected(Rule.PACKET, "helper access to the packet is not allowed", hint="copy it to the stack first")
    if register.is_null and (argument in _NULLABLE or (argument is A.CONTEXT and call.prototype.number in _NO_CONTEXT)):
        call.precise.append(name)  # another number would not do
        return
    if argument in _UNKNOWN:
        raise Rejected(
            Rule.HELPER, f"arguments of {call.name} cannot be judged here", "EINVAL", hint="dynptrs are not judged"
        )
    _kind(name, register, argument)
    if argument in _FIXED:
        _unmoved(name, register, argument)
    check = _CHECKS.get(argument)
    if check is not None:
        check(env, state, call, name)
    if register.reference:
        if call.reference and call.reference != register.reference:
            raise Rejected(Rule.ARGUMENT, f"more than one arg with ref_obj_id R{name}", "EFAULT")
        call.reference = register.reference
    if argument in (A.MEMORY, A.MEMORY_OUT, A.MEMORY_OR_NULL, A.MEMORY_OUT_OR_NULL) and following not in _SIZES:
        size = _HEADERS.get((call.prototype.number, name), 1)
        memory(env, state, call.stack, name, size, write=argument in _WRITTEN, raw=argument in _WRITTEN, zero=False)


def _kind(name: int, register: Register, argument: Argument) -> None:
    wanted = _KINDS.get(argument, ())
    good = register.kind in wanted and not register.nullable
    if argument is A.RING_RECORD:
        good = good and register.ring
    if not good:
        given = NAMES[register.kind] + ("_or_null" if register.nullable else "")
        raise Rejected(
            Rule.NULL if register.nullable and register.kind in wanted else Rule.ARGUMENT,
            f"R{name} type={given} expected={', '.join(NAMES[kind] for kind in wanted)}",
            hint="compare it with 0 first" if register.nullable else "",
            register=name,
        )


def _unmoved(name: int, register: Register, argument: Argument) -> None:
    moved = register.offset or not register.number.is_const or register.number.tnum.value
    if moved:
        if argument is A.RING_RECORD:
            raise Rejected(Rule.ARGUMENT, f"R{name} must have zero offset when passed to release func", "EINVAL")
        raise Rejected(
            Rule.ARGUMENT,
            f"dereference of modified {NAMES[register.kind]} ptr R{name} off={register.offset} disallowed",
            hint="give the pointer as it was got",
        )


# --- One kind of argument each.


def _map(_: Environment, state: State, call: Call, name: int) -> None:
    register = state.registers[name]
    call.map, call.map_id = register.map, register.map_id


def _map_of(call: Call) -> MapSpec:
    if call.map is None:
        raise Rejected(Rule.MAP, "invalid map_ptr to access map->key")
    return call.map


def _key(env: Environment, state: State, call: Call, name: int) -> None:
    size = _map_of(call).key_size
    memory(env, state, call.stack, name, size, write=False, raw=False, zero=False)
    _known_key(state, call, state.registers[name], size)


def _known_key(state: State, call: Call, pointer: Register, size: int) -> None:
    """Note a key on the stack that is known, as the kernel sees it: zeros, or what was kept of just that size.

    Four bytes that are not the lowest of a kept number are taken for all of it (as ``get_constant_map_key`` does); that
    does no harm, as a number that is an index of an array has zeros there, and so has another element of it.
    """
    if pointer.kind is not Kind.STACK or not pointer.number.is_const or size != 4:
        return
    number, part = divmod(pointer.offset + pointer.number.smin, 8)
    slot = state.frames[pointer.frame].slot(number)
    bytes_ = slot.bytes[part:]
    if bytes_.startswith(bytes([Byte.ZERO]) * size):
        call.key = 0
        return
    kept = slot.register
    spilled = len(bytes_) - len(bytes_.lstrip(bytes([Byte.SPILL])))
    if kept is None or kept.kind is not Kind.NUMBER or not slot.spilled or spilled != size or not kept.number.is_const:
        return
    call.key = kept.number.umin
    call.places.append((pointer.frame, number))


def _value(env: Environment, state: State, call: Call, name: int) -> None:
    memory(env, state, call.stack, name, _map_of(call).value_size, write=False, raw=False, zero=False)


def _value_out(env: Environment, state: State, call: Call, name: int) -> None:
    memory(env, state, call.stack, name, _map_of(call).value_size, write=True, raw=True, zero=False)


def _number_out(env: Environment, state: State, call: Call, name: int) -> None:
    size = 4 if call.prototype.name == "check_mtu" else 8
    pointer = state.registers[name]
    if pointer.kind is Kind.STACK and (pointer.offset + pointer.number.smin) % size:
        raise Rejected(Rule.ALIGNMENT, f"misaligned stack access off {pointer.offset} size {size}")
    memory(env, state, call.stack, name, size, write=True, raw=True, zero=False)


def _function(_: Environment, state: State, call: Call, name: int) -> None:
    call.function = state.registers[name].function


def _lock(_: Environment, state: State, call: Call, name: int) -> None:
    register = state.registers[name]
    spec = register.map
    if not register.number.is_const:
        raise Rejected(
            Rule.LOCK, f"R{name} doesn't have constant offset. bpf_spin_lock has to be at the constant offset", "EINVAL"
        )
    if spec is None or spec.spin_lock is None:
        raise Rejected(Rule.LOCK, "map doesn't have bpf_spin_lock", "EINVAL")
    place = register.offset + register.number.smin
    if place != spec.spin_lock:
        raise Rejected(
            Rule.LOCK, f"off {place} doesn't point to 'struct bpf_spin_lock' that is at {spec.spin_lock}", "EINVAL"
        )
    which = (spec, register.id)
    if call.prototype.name == "spin_lock":
        if state.lock is not None:
            raise Rejected(Rule.LOCK, "Locking two bpf_spin_locks are not allowed", "EINVAL")
        state.lock = which
    else:
        if state.lock is None:
            raise Rejected(Rule.LOCK, "bpf_spin_unlock without taking a lock", "EINVAL")
        if state.lock[0] is not spec or state.lock[1] != register.id:
            raise Rejected(Rule.LOCK, "bpf_spin_unlock of different lock", "EINVAL")
        state.lock = None


def _timer(_: Environment, state: State, _call: Call, name: int) -> None:
    register = state.registers[name]
    spec = register.map
    if not register.number.is_const:
        raise Rejected(
            Rule.ARGUMENT, f"R{name} doesn't have constant offset. bpf_timer has to be at the constant offset", "EINVAL"
        )
    if spec is None or spec.timer is None:
        raise Rejected(Rule.ARGUMENT, "map doesn't have bpf_timer", "EINVAL")
    if register.offset + register.number.smin != spec.timer:
        raise Rejected(
            Rule.ARGUMENT,
            f"off {register.offset} doesn't point to 'struct bpf_timer' that is at {spec.timer}",
            "EINVAL",
        )


def _string(_: Environment, state: State, _call: Call, name: int) -> None:
    register = state.registers[name]
    spec = register.map
    if spec is None or spec.frozen is None:
        raise Rejected(Rule.ARGUMENT, f"R{name} does not point to a readonly map'")
    if not register.number.is_const:
        raise Rejected(Rule.ARGUMENT, f"R{name} is not a constant address'")
    place = register.offset + register.number.smin
    if b"\0" not in spec.frozen[max(place, 0) :]:
        raise Rejected(Rule.ARGUMENT, "string is not zero-terminated", "EINVAL")


_CHECKS: dict[Argument, Callable[[Environment, State, Call, int], None]] = {
    A.MAP: _map,
    A.MAP_KEY: _key,
    A.MAP_VALUE: _value,
    A.MAP_VALUE_OR_NULL: _value,
    A.MAP_VALUE_OUT: _value_out,
    A.NUMBER_OUT: _number_out,
    A.FUNCTION: _function,
    A.SPIN_LOCK: _lock,
    A.TIMER: _timer,
    A.STRING: _string,
}


# --- Sizes.


def _constant(call: Call, name: int, register: Register) -> None:
    if register.kind is not Kind.NUMBER or not register.number.is_const:
        raise Rejected(Rule.ARGUMENT, f"R{name} is not a known constant", hint="the size must be a number")
    call.size = register.number.umin
    call.precise.append(name)


def _size(env: Environment, state: State, call: Call, name: int, *, zero: bool) -> None:
    """Check memory by the register after it, which says how long it is."""
    register = state.registers[name]
    if register.kind is not Kind.NUMBER:
        raise Rejected(Rule.ARGUMENT, f"R{name} type={NAMES[register.kind]} expected=scalar")
    size = register.number
    if size.smin < 0:
        raise Rejected(
            Rule.ARGUMENT,
            f"R{name} min value is negative, either use unsigned or 'var &= const'",
            hint="compare the length with 0, or mask it",
        )
    if not size.umin and not zero:
        raise Rejected(Rule.ARGUMENT, f"R{name} invalid zero-sized read: u64=[{size.umin},{size.umax}]")
    if size.umax >= _MOST_SIZE:
        raise Rejected(
            Rule.ARGUMENT,
            f"R{name} unbounded memory access, use 'var &= const' or 'if (var < const)'",
            hint="compare the length with the size of the memory",
        )
    written = call.prototype.arguments[name - 2] in _WRITTEN
    memory(env, state, call.stack, name - 1, size.umax, write=written, raw=written and size.is_const, zero=zero)
    call.precise.append(name)


def memory(
    env: Environment, state: State, uses: StackUses, name: int, size: int, *, write: bool, raw: bool, zero: bool
) -> None:
    """Check memory that a helper reads or writes; with `raw`, bytes of the stack need not have been written before."""
    pointer = state.registers[name]
    kind = pointer.kind
    if kind in (Kind.PACKET, Kind.PACKET_META):
        if write and not packet_writable(env.type):
            raise Rejected(Rule.READ_ONLY, "cannot write into packet")
        check_packet(pointer, name, 0, size, zero=zero)
    elif kind is Kind.MAP_VALUE and not pointer.nullable:
        spec = pointer.map
        if spec is None:
            return
        if (write and not spec.program_may_write) or (not write and not spec.program_may_read):
            raise Rejected(
                Rule.READ_ONLY, f"{'write into' if write else 'read from'} map forbidden, value_size={spec.value_size}"
            )
        check_region(pointer, name, 0, size, spec.value_size, "map value", zero=zero)
        check_special(pointer, 0, size)
    elif kind is Kind.MAP_KEY:
        if write:
            raise Rejected(Rule.READ_ONLY, f"R{name} cannot write into map_key")
        check_region(pointer, name, 0, size, pointer.map.key_size if pointer.map else 0, "map key", zero=zero)
    elif kind is Kind.MEMORY and not pointer.nullable:
        if write and pointer.read_only:
            raise Rejected(Rule.READ_ONLY, f"R{name} cannot write into rdonly_mem")
        check_region(pointer, name, 0, size, pointer.size, "memory", zero=zero)
    elif kind is Kind.STACK:
        _stack(env, state, uses, pointer, name, size, write=write, raw=raw, zero=zero)
    elif not (zero and not size and pointer.is_null):
        given = NAMES[kind] + ("_or_null" if pointer.nullable else "")
        raise Rejected(Rule.ARGUMENT, f"R{name} type={given} expected=fp, pkt, map_value, mem", register=name)


def _stack(
    env: Environment,
    state: State,
    uses: StackUses,
    pointer: Register,
    name: int,
    size: int,
    *,
    write: bool,
    raw: bool,
    zero: bool,
) -> None:
    if not size:
        if not zero:
            raise Rejected(Rule.ARGUMENT, f"invalid zero-sized read from stack R{name} off={pointer.offset} size=0")
        least, _ = stack.bounds(pointer, 0, 0, write=write, name=str(name))
        uses.touched.append((pointer.frame, least))
        return
    least, most = stack.bounds(pointer, 0, size, write=write, name=str(name))
    uses.touched.append((pointer.frame, least))
    frame = state.frames[pointer.frame]
    if least != most and not env.privileged:
        raise Rejected(Rule.PRIVILEGE, f"R{name} variable offset stack access prohibited for !root")
    if raw and least == most:
        for number in range(least // 8, (least + size - 1) // 8 + 1):
            kept = frame.slot(number).register
            if kept is not None and kept.is_pointer and not env.privileged:
                raise Rejected(Rule.POINTER_LEAK, "attempt to corrupt spilled pointer on stack")
        stack.mark_written(frame, least, least + size, Byte.MISC)
        return
    uses.reads.append((pointer.frame, least, most + size))
    _read(env, frame, name, least, most + size, write=write)


def _read(env: Environment, frame: Frame, name: int, start: int, end: int, *, write: bool) -> None:
    """Check bytes that a helper reads; what it writes, it may write any of."""
    for place in range(start, end):
        slot = frame.slot(place // 8)
        kind = slot.bytes[place % 8]
        kept = slot.register
        if kind == Byte.ITERATOR or (kind == Byte.INVALID and not env.privileged):
            raise Rejected(
                Rule.UNINITIALISED, f"invalid read from stack R{name} off {start}+{place - start} size {end - start}"
            )
        if kind == Byte.SPILL and kept is not None and kept.is_pointer and not env.privileged:
            raise Rejected(
                Rule.POINTER_LEAK, f"invalid read from stack R{name} off {start}+{place - start} size {end - start}"
            )
    if write:
        for index in range(start // 8, (end - 1) // 8 + 1):
            slot = frame.slot(index)
            kinds = bytearray(slot.scrubbed().bytes)
            for part in range(max(start - 8 * index, 0), min(end - 8 * index, 8)):
                kinds[part] = Byte.MISC
            frame.stack[index] = Slot(bytes(kinds), None)


def limited(least: int, most: int) -> Register:
    """Return a number between two signed ends."""
    scalar = Scalar.unknown()
    scalar.smin, scalar.smax = least, most
    scalar.smin32, scalar.smax32 = least, most
    scalar.sync()
    return number(scalar)
