# SPDX-License-Identifier: Apache-2.0
"""The helpers that lead to other code: ``tail_call``, ``loop`` and ``for_each_map_elem``.

A callback runs in the frame above its caller's. Where it returns, `go_on` decides from the frame's record whether it
runs once more or the helper is done; so a run can be left for Python within a callback as anywhere else. Everything is
blamed on the row of the call, which stands before `Frame.RETURN_AT`.
"""

from __future__ import annotations

from typing import Any

from numba import types

from prestocloud_sec._jit import kernel
from prestocloud_sec.bpf._raw_kernel import clear, load64, store64
from prestocloud_sec.bpf.vm import layout
from prestocloud_sec.bpf.vm.decoded import ROW
from prestocloud_sec.bpf.vm.fault import FaultKind
from prestocloud_sec.bpf.vm.interpreter_frames_kernel import (
    charge,
    drop_arguments,
    enter,
    fail,
    is_function,
    leave,
    pause,
    record_of,
    select,
)
from prestocloud_sec.bpf.vm.interpreter_layout import FOR_EACH, LOOP, Desk, Frame, Status
from prestocloud_sec.bpf.vm.layout import State

__all__ = ["begin_for_each", "begin_loop", "go_on", "tail_call"]

_U = types.uint64
_REGISTERS = 8 * State.R0
_U32 = _U(0xFFFFFFFF)
_MAX_LOOPS = _U(layout.MAX_LOOPS)
_EINVAL, _E2BIG = _U(-22 % (1 << 64)), _U(-7 % (1 << 64))


@kernel()
def _give(state_at: Any, at: Any, value: Any) -> Any:
    """Let the helper called at row `at` return a value; return the row behind it."""
    store64(state_at + _REGISTERS, value)
    drop_arguments(state_at)
    return at + ROW


@kernel()
def tail_call(state_at: Any, desk_at: Any, at: Any) -> Any:
    """Step: go on in another program, or behind the call where there is none."""
    number = load64(state_at + _REGISTERS + 16) - _U(layout.MAP_HANDLES)
    slot = load64(state_at + _REGISTERS + 24) & _U32
    table = types.int64(0)
    if number < _U(layout.MAX_MAPS):
        table = types.int64(load64(types.int64(load64(desk_at + 8 * Desk.TAILS_AT)) + 8 * types.int64(number)))
    found = types.int64(load64(desk_at + 8 * Desk.TAIL))
    if table != 0 and slot < load64(table):
        program = types.int64(load64(table + 8 + 8 * types.int64(slot)))
    elif found == 0:
        return pause(state_at, desk_at, at, types.int64(Status.TAIL_CALL))
    else:
        program = found - 1
    calls = load64(state_at + 8 * State.TAIL_CALLS)
    if program < 0 or calls >= _U(layout.MAX_TAIL_CALLS):
        store64(desk_at + 8 * Desk.TAIL, _U(0))
        return _give(state_at, at, _U(0))
    if not charge(state_at, desk_at, at, 1, at):
        return types.int64(0)
    store64(desk_at + 8 * Desk.TAIL, _U(0))
    store64(state_at + 8 * State.TAIL_CALLS, calls + _U(1))
    select(state_at, desk_at, program)
    clear(types.int64(load64(desk_at + 8 * Desk.FRAME_AT)) - layout.FRAME_SIZE, layout.FRAME_SIZE)
    context = load64(state_at + _REGISTERS + 8)
    clear(state_at + _REGISTERS, 80)
    store64(state_at + _REGISTERS + 8, context)
    return types.int64(load64(desk_at + 8 * Desk.CODE_AT))


@kernel()
def _call_back(state_at: Any, desk_at: Any, at: Any, kind: Any, total: Any) -> Any:
    """Enter the callback in r2, with the context in r3, the first of `total` times; return its frame's record, or 0."""
    index = load64(state_at + _REGISTERS + 16) - _U(layout.FUNCTION_HANDLES)
    if not is_function(desk_at, index):
        return fail(state_at, desk_at, at, types.int64(FaultKind.CALL), _U(0), _U(0))
    if load64(state_at + 8 * State.DEPTH) + _U(1) >= _U(layout.MAX_FRAMES):
        return fail(state_at, desk_at, at, types.int64(FaultKind.DEPTH), _U(0), _U(0))
    if not charge(state_at, desk_at, at, 1, at):
        return types.int64(0)
    target = types.int64(load64(desk_at + 8 * Desk.CODE_AT)) + types.int64(index) * ROW
    enter(state_at, desk_at, at, target, kind)
    record = record_of(desk_at, types.int64(load64(state_at + 8 * State.DEPTH)))
    store64(record + 8 * Frame.CALLBACK_AT, _U(target))
    store64(record + 8 * Frame.CONTEXT, load64(state_at + _REGISTERS + 24))
    store64(record + 8 * Frame.DONE, _U(0))
    store64(record + 8 * Frame.TOTAL, total)
    return record


@kernel()
def begin_loop(state_at: Any, desk_at: Any, at: Any) -> Any:
    """Step: call the helper ``loop`` (Linux ``kernel/bpf/bpf_iter.c``, ``bpf_loop``)."""
    total = load64(state_at + _REGISTERS + 8) & _U32
    if load64(state_at + _REGISTERS + 32) != _U(0):
        return _give(state_at, at, _EINVAL)
    if total > _MAX_LOOPS:
        return _give(state_at, at, _E2BIG)
    if total == _U(0):
        return _give(state_at, at, _U(0))
    record = _call_back(state_at, desk_at, at, LOOP, total)
    return record if record == 0 else _arguments(state_at, record)


@kernel()
def begin_for_each(state_at: Any, desk_at: Any, at: Any) -> Any:
    """Step: call the helper ``for_each_map_elem``; Python says first what the elements are, or that there is no map."""
    elements = load64(desk_at + 8 * Desk.ELEMENTS_AT)
    if elements == _U(0):
        return pause(state_at, desk_at, at, types.int64(Status.ITERATE))
    total = load64(desk_at + 8 * Desk.ELEMENTS)
    if load64(state_at + _REGISTERS + 32) != _U(0) or total == _U(0):
        store64(desk_at + 8 * Desk.ELEMENTS_AT, _U(0))
        return _give(state_at, at, _EINVAL if load64(state_at + _REGISTERS + 32) != _U(0) else _U(0))
    handle = load64(state_at + _REGISTERS + 8)
    record = _call_back(state_at, desk_at, at, FOR_EACH, total)
    if record == 0:
        return record
    store64(desk_at + 8 * Desk.ELEMENTS_AT, _U(0))
    store64(record + 8 * Frame.MAP, handle)
    store64(record + 8 * Frame.ELEMENTS_AT, elements)
    return _arguments(state_at, record)


@kernel()
def _arguments(state_at: Any, record: Any) -> Any:
    """Set r1 to r5 for a callback, and return its first row."""
    drop_arguments(state_at)
    done = load64(record + 8 * Frame.DONE)
    context = load64(record + 8 * Frame.CONTEXT)
    if load64(record + 8 * Frame.KIND) == _U(LOOP):
        store64(state_at + _REGISTERS + 8, done)
        store64(state_at + _REGISTERS + 16, context)
    else:
        element = types.int64(load64(record + 8 * Frame.ELEMENTS_AT)) + 16 * types.int64(done)
        store64(state_at + _REGISTERS + 8, load64(record + 8 * Frame.MAP))
        store64(state_at + _REGISTERS + 16, load64(element))
        store64(state_at + _REGISTERS + 24, load64(element + 8))
        store64(state_at + _REGISTERS + 32, context)
    return types.int64(load64(record + 8 * Frame.CALLBACK_AT))


@kernel()
def go_on(state_at: Any, desk_at: Any, at: Any, record: Any) -> Any:
    """Step for the exit of a callback, at row `at`, whose frame has this record."""
    done = load64(record + 8 * Frame.DONE) + _U(1)
    call_at = types.int64(load64(record + 8 * Frame.RETURN_AT)) - ROW
    if load64(state_at + _REGISTERS) != _U(0) or done == load64(record + 8 * Frame.TOTAL):
        leave(state_at, desk_at)
        return _give(state_at, call_at, done)
    called, caller = types.int64(load64(state_at + 8 * State.PROGRAM)), types.int64(load64(record + 8 * Frame.PROGRAM))
    index = (at - types.int64(load64(desk_at + 8 * Desk.CODE_AT))) // ROW
    select(state_at, desk_at, caller)
    if not charge(state_at, desk_at, at, 1, call_at):
        if load64(state_at + 8 * State.FAULT) == _U(0):  # a pause: the exit, perhaps of another program, comes again
            select(state_at, desk_at, called)
            store64(state_at + 8 * State.RESUME, _U(index))
        return types.int64(0)
    store64(record + 8 * Frame.DONE, done)
    clear(types.int64(load64(desk_at + 8 * Desk.FRAME_AT)) - layout.FRAME_SIZE, layout.FRAME_SIZE)
    for i in range(4):
        store64(state_at + _REGISTERS + 48 + 8 * i, load64(record + 8 * (Frame.R6 + i)))
    return _arguments(state_at, record)
