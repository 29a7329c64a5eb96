# SPDX-License-Identifier: Apache-2.0
"""The fast interpreter: one compiled function that runs any program at once.

`interpret` goes on where the state says until the run is over or Python is needed. The inner loop
(`interpreter_core_kernel`) does most rows; what it leaves is done here, a step at a time (`interpreter_frames_kernel`
says what a step is), and by `interpreter_callbacks_kernel`. Nothing is kept outside the state and the desk, so that a
run can be left and taken up again at any call.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from prestocloud_sec._jit import kernel
from prestocloud_sec.bpf._raw_kernel import clear, load8, load16, load32, load64, store64
from prestocloud_sec.bpf.helpers.ids import FIRST_KFUNC
from prestocloud_sec.bpf.helpers.native import NATIVE_HELPERS, NATIVE_KFUNCS
from prestocloud_sec.bpf.helpers.native_kernel import packet_word
from prestocloud_sec.bpf.vm import layout
from prestocloud_sec.bpf.vm.access_kernel import host_of
from prestocloud_sec.bpf.vm.decoded import FIRST_BRANCH, FIRST_CONTROL, NUMBERS, ROW
from prestocloud_sec.bpf.vm.fault import FaultKind
from prestocloud_sec.bpf.vm.interpreter_atomic_kernel import FIRST_ATOMIC, exchange
from prestocloud_sec.bpf.vm.interpreter_callbacks_kernel import begin_for_each, begin_loop, go_on, tail_call
from prestocloud_sec.bpf.vm.interpreter_core_kernel import run_core
from prestocloud_sec.bpf.vm.interpreter_frames_kernel import (
    charge,
    close_windows,
    drop_arguments,
    enter,
    fail,
    is_function,
    leave,
    open_window,
    pause,
    record_of,
    select,
    show_frame,
)
from prestocloud_sec.bpf.vm.interpreter_layout import (
    LOCAL,
    LOOP,
    NESTED,
    OURS,
    TAIL_CALL,
    Desk,
    Frame,
    Status,
)
from prestocloud_sec.bpf.vm.layout import State

__all__ = ["begin", "interpret"]

_U = types.uint64
_REGISTERS = 8 * State.R0
_EXIT, _CALL_HELPER, _CALL_LOCAL = NUMBERS["exit",], NUMBERS["call_helper",], NUMBERS["call_local",]
_CALL_REGISTER, _MAY_GOTO, _LEGACY = NUMBERS["call_register",], NUMBERS["may_goto",], NUMBERS["legacy",]
_CMPXCHG = NUMBERS["atomic", "cmpxchg"]


def _call_at(_typing: Any, _at: Any, _state: Any, _r1: Any, _r2: Any, _r3: Any, _r4: Any, _r5: Any) -> Any:
    """Call a native helper (`prestocloud_sec.bpf.helpers.native`) at an address."""
    word = ir.IntType(64)
    function = ir.FunctionType(word, [word] * 6)

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.call(builder.inttoptr(arguments[0], function.as_pointer()), arguments[1:])

    return types.uint64(types.int64, types.int64, *[types.uint64] * 5), generate


call_at: Any = intrinsic(_call_at)


@kernel()
def _displacement(at: Any) -> Any:
    """Return a row's displacement, signed."""
    return types.int64(load64(at)) >> 32


@kernel()
def _out_of_fuel(state_at: Any, desk_at: Any, at: Any) -> Any:
    """Step for a backward branch that costs more than there is."""
    charge(state_at, desk_at, at, 1 - (_displacement(at) >> 4), at)
    return types.int64(0)


@kernel()
def _may_goto(state_at: Any, desk_at: Any, at: Any) -> Any:
    """Step: go on, or jump once there were enough passes."""
    passes = load64(state_at + 8 * State.MAY_GOTO)
    if passes < _U(layout.MAY_GOTO_LOOPS):
        store64(state_at + 8 * State.MAY_GOTO, passes + _U(1))
        return at + ROW
    displacement = _displacement(at)
    if displacement <= 0 and not charge(state_at, desk_at, at, 1 - (displacement >> 4), at):
        return types.int64(0)
    return at + displacement


@kernel()
def _atomic(state_at: Any, desk_at: Any, at: Any, operation: Any) -> Any:
    """Step: an atomic read-modify-write."""
    access = load32(at + 4)
    size = access & _U(0xFF)
    source = state_at + _REGISTERS + types.int64(load8(at + 3))
    address = load64(state_at + _REGISTERS + types.int64(load8(at + 2))) + load64(at + 8)
    host = host_of(types.int64(load64(state_at + 8 * State.REGIONS_AT)), address, size, _U(layout.WRITABLE))
    if host == 0:
        return fail(state_at, desk_at, at, types.int64(FaultKind.WRITE), address, size)
    old = exchange(operation - FIRST_ATOMIC, size, host, load64(source), load64(state_at + _REGISTERS))
    if operation == _CMPXCHG:
        store64(state_at + _REGISTERS, old)
    elif access >> _U(17) & _U(1):
        store64(source, old)
    return at + ROW


@kernel()
def _finish(state_at: Any, desk_at: Any, value: Any) -> Any:
    """End the run with a value; return 0."""
    store64(state_at + 8 * State.RESULT, _U(value))
    store64(desk_at + 8 * Desk.STATUS, _U(Status.DONE))
    return types.int64(0)


@kernel()
def _exit(state_at: Any, desk_at: Any, at: Any) -> Any:
    """Step: return from a function, or end the run."""
    depth = types.int64(load64(state_at + 8 * State.DEPTH))
    if depth == 0:
        return _finish(state_at, desk_at, load64(state_at + _REGISTERS))
    record = record_of(desk_at, depth)
    kind = load64(record + 8 * Frame.KIND)
    if kind == _U(LOCAL):
        return leave(state_at, desk_at)
    if kind == _U(NESTED):
        leave(state_at, desk_at)
        store64(desk_at + 8 * Desk.STATUS, _U(Status.RETURNED))
        return types.int64(0)
    return go_on(state_at, desk_at, at, record)


@kernel()
def _return_nothing(state_at: Any, desk_at: Any, at: Any) -> Any:
    """Step: return 0 from a function, or end the run with it, where the load at this row finds nothing."""
    before = load64(state_at + _REGISTERS)
    store64(state_at + _REGISTERS, _U(0))
    following = _exit(state_at, desk_at, at)
    if following == 0 and load64(desk_at + 8 * Desk.STATUS) == _U(Status.FUEL):
        store64(state_at + _REGISTERS, before)  # the load comes again, and its offset may be in r0
    return following


@kernel()
def _legacy(state_at: Any, desk_at: Any, at: Any) -> Any:
    """Step: a load from the packet in network order, which returns from the function where there is nothing."""
    size, indirect = load8(at + 4), load8(at + 5)
    offset = types.int64(load64(at + 8))
    if indirect:
        offset += types.int64(types.int32(load64(state_at + _REGISTERS + types.int64(load8(at + 3)))))
    value = packet_word(state_at, types.int64(types.int32(offset)), types.int64(size))
    if value < 0:
        return _return_nothing(state_at, desk_at, at)
    store64(state_at + _REGISTERS, _U(value))
    drop_arguments(state_at)
    return at + ROW


@kernel()
def _call_function(state_at: Any, desk_at: Any, at: Any, target: Any) -> Any:
    """Step: call a function of the running program."""
    if load64(state_at + 8 * State.DEPTH) + _U(1) >= _U(layout.MAX_FRAMES):
        return fail(state_at, desk_at, at, types.int64(FaultKind.DEPTH), _U(0), _U(0))
    if not charge(state_at, desk_at, at, 1, at):
        return types.int64(0)
    return enter(state_at, desk_at, at, target, 0)


@kernel()
def _call_helper(state_at: Any, desk_at: Any, at: Any, number: Any) -> Any:
    """Step: call a helper, by itself or by Python."""
    native, table = types.int64(0), types.int64(load64(desk_at + 8 * Desk.NATIVE_AT))
    if number < _U(NATIVE_HELPERS):
        native = types.int64(load64(table + 8 * types.int64(number)))
    elif number - _U(FIRST_KFUNC) < _U(NATIVE_KFUNCS):
        native = types.int64(load64(table + 8 * (NATIVE_HELPERS + types.int64(number - _U(FIRST_KFUNC)))))
    if native == OURS:
        if number == _U(TAIL_CALL):
            return tail_call(state_at, desk_at, at)
        if number == _U(LOOP):
            return begin_loop(state_at, desk_at, at)
        return begin_for_each(state_at, desk_at, at)
    if native != 0:
        arguments = state_at + _REGISTERS
        store64(state_at + 8 * State.HELPER, _U(0))
        value = call_at(
            native,
            state_at,
            load64(arguments + 8),
            load64(arguments + 16),
            load64(arguments + 24),
            load64(arguments + 32),
            load64(arguments + 40),
        )
        if load64(state_at + 8 * State.FAULT) != _U(0):
            index = (at - types.int64(load64(desk_at + 8 * Desk.CODE_AT))) // ROW
            store64(state_at + 8 * State.FAULT_INSTRUCTION, _U(index))
            store64(desk_at + 8 * Desk.STATUS, _U(Status.DONE))
            return types.int64(0)
        if load64(state_at + 8 * State.HELPER) == _U(0):
            store64(state_at + _REGISTERS, value)
            drop_arguments(state_at)
            return at + ROW
    store64(state_at + 8 * State.HELPER, number)
    return pause(state_at, desk_at, at + ROW, types.int64(Status.HELPER))


@kernel()
def _call_register(state_at: Any, desk_at: Any, at: Any) -> Any:
    """Step: call what a register holds."""
    value = load64(state_at + _REGISTERS + types.int64(load8(at + 3)))
    index = value - _U(layout.FUNCTION_HANDLES)
    if is_function(desk_at, index):
        target = types.int64(load64(desk_at + 8 * Desk.CODE_AT)) + types.int64(index) * ROW
        return _call_function(state_at, desk_at, at, target)
    return _call_helper(state_at, desk_at, at, value)


@kernel()
def _control(state_at: Any, desk_at: Any, at: Any) -> Any:
    """Step for a row that the inner loop does not do."""
    operation = types.int64(load16(at))
    if operation < FIRST_BRANCH:
        return open_window(state_at, desk_at, at)
    if operation < FIRST_CONTROL:
        return _out_of_fuel(state_at, desk_at, at)
    if operation == _CALL_HELPER:
        return _call_helper(state_at, desk_at, at, load64(at + 8))
    if operation == _EXIT:
        return _exit(state_at, desk_at, at)
    if operation == _CALL_LOCAL:
        return _call_function(state_at, desk_at, at, at + _displacement(at))
    if operation == _LEGACY:
        return _legacy(state_at, desk_at, at)
    if operation == _MAY_GOTO:
        return _may_goto(state_at, desk_at, at)
    if operation == _CALL_REGISTER:
        return _call_register(state_at, desk_at, at)
    if operation >= FIRST_ATOMIC:
        return _atomic(state_at, desk_at, at, operation)
    return fail(state_at, desk_at, at, types.int64(FaultKind.CALL), _U(0), _U(0))


@kernel()
def begin(state_at: Any) -> Any:
    """Make a machine's state that of a run that has not begun, but for fuel, packet, context and arguments.

    For loops over packets, which afterwards set `State.FUEL`, r1 and r2 and call `interpret`. Clears the registers, the
    outermost frame and the counters, and hides the frames that a fault may have left.
    """
    for word in (
        State.FAULT,
        State.FAULT_INSTRUCTION,
        State.FAULT_ADDRESS,
        State.FAULT_SIZE,
        State.PROGRAM,
        State.DEPTH,
        State.TAIL_CALLS,
        State.MAY_GOTO,
        State.RESULT,
        State.REDIRECT,
        State.CHANGED,
        State.HELPER,
        State.RESUME,
    ):
        store64(state_at + 8 * types.int64(word), _U(0))
    clear(state_at + _REGISTERS, 88)
    regions = types.int64(load64(state_at + 8 * State.REGIONS_AT)) + 8 * layout.REGION_WORDS * layout.STACK
    for frame in range(1, layout.MAX_FRAMES):
        store64(regions + frame * (8 * layout.REGION_WORDS) + 8 * layout.SIZE, _U(0))
    clear(types.int64(load64(regions + 8 * layout.HOST)), layout.FRAME_SIZE)


@kernel()
def interpret(state_at: Any, desk_at: Any) -> Any:
    """Run a machine's program from `State.RESUME` of program `State.PROGRAM` on.

    Parameters
    ----------
    state_at : int64
        The machine's state, its registers `State.R0` and on included.
    desk_at : int64
        Its desk (`prestocloud_sec.bpf.vm.interpreter.Interpreter.desk`).

    Returns
    -------
    int64
        A `Status`. All that a run is made of is in the two arrays, so it can be called again to go on.
    """
    program, index = types.int64(load64(state_at + 8 * State.PROGRAM)), load64(state_at + 8 * State.RESUME)
    depth = types.int64(load64(state_at + 8 * State.DEPTH))
    if not (0 <= program < types.int64(load64(desk_at + 8 * Desk.PROGRAM_COUNT)) and 0 <= depth < layout.MAX_FRAMES):
        return types.int64(Status.DONE)
    close_windows(desk_at)
    select(state_at, desk_at, program)
    show_frame(state_at, desk_at, depth)
    if index >= load64(desk_at + 8 * Desk.CODE_COUNT):
        return types.int64(Status.DONE)
    at = types.int64(load64(desk_at + 8 * Desk.CODE_AT)) + types.int64(index) * ROW
    while at != 0:
        at = _control(state_at, desk_at, run_core(state_at, desk_at, at))
    return types.int64(load64(desk_at + 8 * Desk.STATUS))
