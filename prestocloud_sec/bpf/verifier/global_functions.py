# SPDX-License-Identifier: Apache-2.0
"""Functions that are judged by themselves: what a call has to give them, and what they begin with.

Sources: Linux 6.18, ``kernel/bpf/verifier.c`` (``btf_check_func_arg_match``, ``check_mem_reg``, ``do_check_common``,
``merge_callee_effects``). Two calls are refused here that Linux 6.18.44 takes, since they go wrong when they run: a
plain 0 for memory that the function takes for granted (``__arg_nonnull``), and a pointer into a packet that programs of
this type may only read, which the function may write to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestocloud_sec.bpf.isa import CallHelper, CallLocal, LoadImm64
from prestocloud_sec.bpf.program_type import ProgramType
from prestocloud_sec.bpf.verifier.arguments import StackUses, memory
from prestocloud_sec.bpf.verifier.function_types import ArgumentSpec, Passed
from prestocloud_sec.bpf.verifier.pointers import check_given
from prestocloud_sec.bpf.verifier.registers import NUMBER, ZERO_NUMBER, Kind, Register
from prestocloud_sec.bpf.verifier.rejection import Rejected, Rule
from prestocloud_sec.bpf.verifier.state import Frame, State
from prestocloud_sec.bpf.verifier.structure import is_tail_call

if TYPE_CHECKING:
    from prestocloud_sec.bpf.verifier.environment import Environment
    from prestocloud_sec.bpf.verifier.function_types import FunctionTypes
    from prestocloud_sec.bpf.verifier.structure import Functions

__all__ = ["changing_packets", "check_call", "first_frame"]

_PLAIN_CONTEXTS = frozenset(
    {
        ProgramType.KPROBE,
        ProgramType.TRACEPOINT,
        ProgramType.RAW_TRACEPOINT,
        ProgramType.RAW_TRACEPOINT_WRITABLE,
        ProgramType.CGROUP_DEVICE,
        ProgramType.NETFILTER,
    }
)
"""Types whose context is memory as it is; no byte of it may be written, so no more than nothing may be asked of it."""


def check_call(env: Environment, types: FunctionTypes, state: State, number: int) -> StackUses:
    """Check that what a call gives is what a global function takes.

    Parameters
    ----------
    env : Environment
    types : FunctionTypes
        Those of the environment.
    state : State
    number : int
        Of the function.

    Returns
    -------
    StackUses
        What the function may do to the stack.

    Raises
    ------
    Rejected
    """
    uses = StackUses()
    try:
        for name, parameter in enumerate(types.arguments(number), 1):
            _argument(env, state, uses, name, parameter)
    except Rejected as rejected:
        hint = rejected.hint or f"see what {types.name(number)} is declared to take"
        said = f"{rejected.what}; Caller passes invalid args into func#{number} ('{types.name(number)}')"
        raise Rejected(rejected.rule, said, rejected.errno, hint=hint, register=rejected.register) from None
    return uses


def _argument(env: Environment, state: State, uses: StackUses, name: int, parameter: ArgumentSpec) -> None:
    held = state.registers[name]
    if parameter.passed is Passed.NUMBER:
        if held.kind is not Kind.NUMBER:
            raise Rejected(Rule.ARGUMENT, f"R{name} is not a scalar", "EINVAL", register=name)
        return
    check_given(name, held)
    if parameter.passed is Passed.CONTEXT:
        if held.kind is not Kind.CONTEXT:
            raise Rejected(Rule.ARGUMENT, f"arg#{name - 1} expects pointer to ctx", "EINVAL", register=name)
        return
    if not parameter.nullable and (held.nullable or held.is_null):
        raise Rejected(
            Rule.NULL,
            f"arg#{name - 1} is expected to be non-NULL",
            "EINVAL",
            hint=f"compare r{name} with 0 before the call"
            if held.nullable
            else f"r{name} is 0, and the function uses it as it is (Linux 6.18 lets a plain 0 pass)",
            register=name,
        )
    if not held.is_null:
        _memory(env, state, uses, name, parameter.size)


def _memory(env: Environment, state: State, uses: StackUses, name: int, size: int) -> None:
    """Check memory that a function may read and write; that it may be null is no matter."""
    held = state.registers[name]
    if held.kind is Kind.CONTEXT and not size and env.type in _PLAIN_CONTEXTS:
        return
    if held.nullable:
        state.registers[name] = held.but(nullable=False)
    try:
        memory(env, state, uses, name, size, write=False, raw=False, zero=True)
        memory(env, state, uses, name, size, write=True, raw=False, zero=True)
    except Rejected as rejected:
        hint = f"the function may read and write {size} bytes from r{name} on: give it so many"
        raise Rejected(rejected.rule, rejected.what, "EINVAL", hint=hint, register=name) from None
    finally:
        state.registers[name] = held


def first_frame(env: Environment, number: int, entry: int) -> Frame:
    """Return what a function is judged with.

    Parameters
    ----------
    env : Environment
    number : int
        Which one.
    entry : int
        The instruction that it begins with.

    Raises
    ------
    Rejected
    """
    frame = Frame(0, entry)
    if not number or env.function_types is None:
        frame.registers[1] = Register(Kind.CONTEXT, ZERO_NUMBER)
        return frame
    for name, parameter in enumerate(env.function_types.arguments(number), 1):
        if parameter.passed is Passed.NUMBER:
            frame.registers[name] = NUMBER
        elif parameter.passed is Passed.CONTEXT:
            frame.registers[name] = Register(Kind.CONTEXT, ZERO_NUMBER)
        else:
            identifier = env.new_id() if parameter.nullable else 0
            frame.registers[name] = Register(
                Kind.MEMORY, ZERO_NUMBER, size=parameter.size, nullable=parameter.nullable, id=identifier
            )
    return frame


def changing_packets(env: Environment, functions: Functions) -> frozenset[int]:
    """Return the functions that may change the packet, they or what they call, so that no pointer into it is left.

    One that hands a function to a helper may let it be called.
    """
    changing: set[int] = set()
    callers: dict[int, set[int]] = {}
    for index, i in enumerate(env.instructions):
        number, target = functions.of(index), env.targets[index]
        if isinstance(i, CallHelper):
            found = env.prototype(i.number)
            if is_tail_call(i) or (found is not None and found.changes_packet):
                changing.add(number)
        elif isinstance(i, CallLocal | LoadImm64) and target is not None:
            callers.setdefault(functions.of(target), set()).add(number)
    waiting = list(changing)
    while waiting:
        for caller in callers.get(waiting.pop(), ()):
            if caller not in changing:
                changing.add(caller)
                waiting.append(caller)
    return frozenset(changing)
