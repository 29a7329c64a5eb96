# SPDX-License-Identifier: Apache-2.0
"""Calls of helpers: who may call what, with which maps, and what a call leaves (Linux 6.18, ``check_helper_call``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestocloud_sec.bpf.helpers.ids import HelperId
from prestocloud_sec.bpf.helpers.prototypes import Prototype, Returns
from prestocloud_sec.bpf.maps.kinds import MapType
from prestocloud_sec.bpf.verifier.arguments import Call, check_arguments, limited
from prestocloud_sec.bpf.verifier.registers import NOTHING, NUMBER, ZERO_NUMBER, Kind, Register
from prestocloud_sec.bpf.verifier.rejection import Rejected, Rule
from prestocloud_sec.bpf.verifier.state import Callback, Frame, State, cleared

if TYPE_CHECKING:
    from prestocloud_sec.bpf.verifier.environment import Environment

__all__ = ["call_helper", "callback_frame"]

_LOCKING = frozenset({93, 94})
_RELEASES = frozenset({86, 132, 133})
_ACQUIRES = frozenset({84, 85, 99, 131})
_SOCKET_MAPS = frozenset({MapType.SOCKMAP, MapType.SOCKHASH})
_CASTS = frozenset({95, 96, 136, 137, 138, 139, 140})
_GETS_TEXT = frozenset({45, 67, 114, 115, 141})
_MAX_ERRNO = 4095

M = MapType
_PER_CPU = (M.PERCPU_ARRAY, M.PERCPU_HASH, M.LRU_PERCPU_HASH)
_OF_MAP: dict[MapType, frozenset[int]] = {
    M.PROG_ARRAY: frozenset({HelperId.TAIL_CALL}),
    M.PERF_EVENT_ARRAY: frozenset({22, 25, 55, 111, 121}),
    M.RINGBUF: frozenset({130, 131, 132, 133, 134, 198, 199, 200}),
    M.USER_RINGBUF: frozenset({HelperId.USER_RINGBUF_DRAIN}),
    M.STACK_TRACE: frozenset({27}),
    M.CGROUP_ARRAY: frozenset({33, 37}),
    M.CGROUP_STORAGE: frozenset({81}),
    M.PERCPU_CGROUP_STORAGE: frozenset({81}),
    M.DEVMAP: frozenset({1, 51}),
    M.DEVMAP_HASH: frozenset({1, 51}),
    M.CPUMAP: frozenset({51}),
    M.XSKMAP: frozenset({1, 51}),
    M.ARRAY_OF_MAPS: frozenset({1}),
    M.HASH_OF_MAPS: frozenset({1}),
    M.SOCKMAP: frozenset({1, 3, 52, 53, 60, 82}),
    M.SOCKHASH: frozenset({1, 3, 70, 71, 72, 82}),
    M.REUSEPORT_SOCKARRAY: frozenset({82}),
    M.QUEUE: frozenset({87, 88, 89}),
    M.STACK: frozenset({87, 88, 89}),
    M.SK_STORAGE: frozenset({107, 108, 194}),
    M.INODE_STORAGE: frozenset({145, 146, 194}),
    M.TASK_STORAGE: frozenset({156, 157, 194}),
    M.CGRP_STORAGE: frozenset({210, 211, 194}),
    M.BLOOM_FILTER: frozenset({87, 89}),
}
"""Maps that only some helpers take."""
_OF_HELPER: dict[int, frozenset[MapType]] = {
    HelperId.TAIL_CALL: frozenset({M.PROG_ARRAY}),
    **dict.fromkeys((22, 25, 55, 111, 121), frozenset({M.PERF_EVENT_ARRAY})),
    **dict.fromkeys((130, 131, 132, 133, 134, 198, 199, 200), frozenset({M.RINGBUF})),
    HelperId.USER_RINGBUF_DRAIN: frozenset({M.USER_RINGBUF}),
    27: frozenset({M.STACK_TRACE}),
    **dict.fromkeys((33, 37), frozenset({M.CGROUP_ARRAY})),
    51: frozenset({M.DEVMAP, M.DEVMAP_HASH, M.CPUMAP, M.XSKMAP}),
    **dict.fromkeys((52, 53, 60), frozenset({M.SOCKMAP})),
    **dict.fromkeys((70, 71, 72), frozenset({M.SOCKHASH})),
    81: frozenset({M.CGROUP_STORAGE, M.PERCPU_CGROUP_STORAGE}),
    82: frozenset({M.REUSEPORT_SOCKARRAY, M.SOCKMAP, M.SOCKHASH}),
    88: frozenset({M.QUEUE, M.STACK}),
    **dict.fromkeys((87, 89), frozenset({M.QUEUE, M.STACK, M.BLOOM_FILTER})),
    HelperId.MAP_LOOKUP_PERCPU_ELEM: frozenset(_PER_CPU),
    **dict.fromkeys((107, 108), frozenset({M.SK_STORAGE})),
    **dict.fromkeys((145, 146), frozenset({M.INODE_STORAGE})),
    **dict.fromkeys((156, 157), frozenset({M.TASK_STORAGE})),
    **dict.fromkeys((210, 211), frozenset({M.CGRP_STORAGE})),
}
"""Helpers that take only some maps."""
_GONE_THROUGH = frozenset({M.HASH, M.ARRAY, M.PERCPU_HASH, M.PERCPU_ARRAY, M.LRU_HASH, M.LRU_PERCPU_HASH})
"""Maps whose elements bpf_for_each_map_elem goes through, as Linux 6.18 answers for each type."""


def _prototype_of(env: Environment, number: int) -> Prototype:
    found = env.prototype(number)
    if found is None:
        raise Rejected(Rule.HELPER, f"invalid func unknown#{number}", "EINVAL")
    if env.type not in found.types and number not in env.helpers:
        raise Rejected(
            Rule.HELPER,
            f"program of this type cannot use helper bpf_{found.name}#{number}",
            "EINVAL",
            hint=f"{env.type.name} programs do not have it",
        )
    if found.gpl and not env.gpl:
        raise Rejected(
            Rule.HELPER,
            "cannot call GPL-restricted function from non-GPL compatible program",
            "EINVAL",
            hint='give the program the licence "GPL"',
        )
    return found


def _check_map(call: Call) -> None:
    spec, number = call.map, call.prototype.number
    if spec is None:
        return
    helpers, maps = _OF_MAP.get(spec.type), _OF_HELPER.get(number)
    if (helpers is not None and number not in helpers) or (maps is not None and spec.type not in maps):
        raise Rejected(
            Rule.MAP,
            f"cannot pass map_type {int(spec.type)} into func {call.name}",
            "EINVAL",
            hint=f"a {spec.type.name} is not for this helper",
        )
    if number in _CHANGES_MAP and not spec.program_may_write:
        raise Rejected(Rule.READ_ONLY, "write into map forbidden", hint="the map was made with BPF_F_RDONLY_PROG")


_CHANGES_MAP = frozenset({2, 3, 87, 88})
"""Helpers that change what a map holds."""


def call_helper(env: Environment, state: State, number: int, index: int) -> Call:
    """Check a call of a helper and let the state be what it leaves; callbacks are the caller's work.

    Raises
    ------
    Rejected
    """
    found = _prototype_of(env, number)
    call = Call(found)
    if state.lock is not None and number not in _LOCKING:
        raise Rejected(Rule.LOCK, "function calls are not allowed while holding a lock", "EINVAL")
    check_arguments(env, state, call)
    _check_map(call)
    if number == HelperId.TAIL_CALL:
        if state.references and len(state.frames) == 1:  # elsewhere it leads back to the caller
            raise Rejected(Rule.REFERENCE, "tail_call would lead to reference leak", "EINVAL")
        which = state.registers[3].number
        if call.map is not None and which.is_const and which.umin < call.map.max_entries:
            call.precise.append(3)  # where the call leads is written into the program
    if number in _RELEASES:
        _release(env, state, call)
    if number == HelperId.GET_LOCAL_STORAGE and not state.registers[2].is_null:
        raise Rejected(Rule.ARGUMENT, "get_local_storage() doesn't support non-zero flags", "EINVAL")
    registers = state.registers
    size = registers[3].number if number in _GETS_TEXT and number != 67 else None
    if number in (67, 45, 114, 115):
        size = registers[2 if number != 67 else 3].number
    cleared(registers)
    registers[0] = _result(env, state, call, index)
    if size is not None and registers[0].kind is Kind.NUMBER:
        registers[0] = limited(-_MAX_ERRNO, size.smax)
    if found.changes_packet and number != HelperId.TAIL_CALL:  # which comes back only where nothing was called
        forget_packets(state, privileged=env.privileged)
    return call


def _release(env: Environment, state: State, call: Call) -> None:
    """Give back what was acquired; who may see addresses finds a number where the pointer was."""
    if not call.reference:
        if not state.registers[1].is_null:
            raise Rejected(
                Rule.REFERENCE,
                "R1 must be referenced when passed to release function",
                "EINVAL",
                hint="release what was acquired",
            )
        return
    if not state.release(call.reference):
        raise Rejected(Rule.REFERENCE, "release of something that is not held", "EINVAL")
    for where, index, register in state.places():
        if register.reference == call.reference:
            state.put(where, index, NUMBER if env.privileged or not isinstance(where, list) else NOTHING)


def _result(env: Environment, state: State, call: Call, index: int) -> Register:
    """Return what a call leaves in r0."""
    number, spec = call.prototype.number, call.map
    match call.prototype.returns:
        case Returns.VOID:
            return NOTHING
        case Returns.INTEGER:
            known = number == HelperId.GET_SMP_PROCESSOR_ID and env.processors
            return limited(0, env.processors - 1) if known else NUMBER
        case Returns.MAP_VALUE_OR_NULL | Returns.MAP_VALUE as returns:
            nullable = returns is Returns.MAP_VALUE_OR_NULL and not _is_there(call)
            reference = 0
            if number == HelperId.MAP_LOOKUP_ELEM and spec is not None and spec.type in _SOCKET_MAPS:
                reference = _acquire(env, state, index)
            identifier = reference or (
                env.new_id() if nullable or (spec is not None and spec.spin_lock is not None) else 0
            )
            return Register(
                Kind.MAP_VALUE,
                ZERO_NUMBER,
                nullable=nullable,
                id=identifier,
                reference=reference,
                map=spec,
                map_id=call.map_id,
            )
        case Returns.RING_RECORD_OR_NULL:
            reference = _acquire(env, state, index)
            return Register(
                Kind.MEMORY, ZERO_NUMBER, nullable=True, id=reference, reference=reference, size=call.size, ring=True
            )
        case Returns.SOCKET_OR_NULL | Returns.SOCKET_COMMON_OR_NULL | Returns.TCP_SOCKET_OR_NULL as returns:
            kind = {
                Returns.SOCKET_OR_NULL: Kind.SOCKET,
                Returns.SOCKET_COMMON_OR_NULL: Kind.SOCKET_COMMON,
                Returns.TCP_SOCKET_OR_NULL: Kind.TCP_SOCKET,
            }[returns]
            if number in _ACQUIRES:
                reference = identifier = _acquire(env, state, index)
            else:  # another view of the same socket, if that was given
                reference, identifier = call.reference if number in _CASTS else 0, env.new_id()
            return Register(kind, ZERO_NUMBER, nullable=True, id=identifier, reference=reference)
        case Returns.BTF_OBJECT | Returns.PER_CPU:
            return Register(Kind.BTF, ZERO_NUMBER)
        case _:
            return Register(Kind.BTF, ZERO_NUMBER, nullable=True, id=env.new_id(), reference=call.reference)


def _is_there(call: Call) -> bool:
    """Whether a lookup cannot fail: arrays have every element, so an index that is known and small enough is there."""
    spec = call.map
    return (
        call.prototype.number == HelperId.MAP_LOOKUP_ELEM
        and spec is not None
        and spec.type in (MapType.ARRAY, MapType.PERCPU_ARRAY)
        and call.key is not None
        and call.key < spec.max_entries
    )


def _acquire(env: Environment, state: State, index: int) -> int:
    env.new_id()  # that of a pointer that may be null, which the reference's takes the place of
    reference = env.new_id()
    state.references = (*state.references, (reference, index))
    return reference


def forget_packets(state: State, *, privileged: bool) -> None:
    """Let nothing point into the packet any more: it may be another now."""
    gone = NUMBER if privileged else NOTHING
    for where, index, register in state.places():
        if register.kind.is_packet:
            state.put(where, index, gone)


def callback_frame(env: Environment, state: State, call: Call, before: list[Register], index: int) -> Frame:
    """Return the frame of a function that a helper calls, with what it is given.

    Parameters
    ----------
    env, state
    call : Call
    before : list of Register
        The caller's registers before the call.
    index : int
        The instruction that calls the helper.
    """
    helper = call.prototype.number
    frame = Frame(len(state.frames), call.function, index, Callback(helper, index))
    registers = frame.registers
    spec = before[1].map
    if helper == HelperId.LOOP:
        registers[1], registers[2] = NUMBER, before[3]
    elif helper == HelperId.FOR_EACH_MAP_ELEM:
        if spec is None or spec.type not in _GONE_THROUGH:
            raise Rejected(
                Rule.MAP,
                "callback function not allowed for map",
                "ENOTSUPP",
                hint="only arrays and hashes, per CPU or not, can be gone through",
            )
        registers[1] = Register(Kind.MAP, ZERO_NUMBER, map=spec)
        registers[2] = Register(Kind.MAP_KEY, ZERO_NUMBER, map=spec)
        registers[3] = Register(Kind.MAP_VALUE, ZERO_NUMBER, map=spec)
        registers[4] = before[3]
    elif helper == HelperId.TIMER_SET_CALLBACK:
        registers[1] = Register(Kind.MAP, ZERO_NUMBER, map=spec)
        registers[2] = Register(Kind.MAP_KEY, ZERO_NUMBER, map=spec)
        registers[3] = Register(Kind.MAP_VALUE, ZERO_NUMBER, map=spec)
    else:
        raise Rejected(Rule.HELPER, f"callbacks of {call.name} cannot be judged here", "EINVAL")
    del env
    return frame
