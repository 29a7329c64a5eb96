# SPDX-License-Identifier: Apache-2.0
"""The helpers ``loop`` and ``for_each_map_elem`` for the interpreter: frames that are entered again and again.

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
    leave,
    record_of,
    select,
)
from prestocloud_sec.bpf.vm.interpreter_layout import LOOP, Desk, Frame
from prestocloud_sec.bpf.vm.layout import State

__all__ = ["begin_loop", "go_on"]

_U = types.uint64
_REGISTERS = 8 * State.R0
_U32 = _U(0xFFFFFFFF)
_MAX_LOOPS = _U(8 * 1024 * 1024)
_EINVAL, _E2BIG = _U(-22 % (1 << 64)), _U(-7 % (1 << 64))


@kernel()
def _give(state_at: Any, at: Any, value: Any) -> Any:
    """Let the helper called at row `at` return a value; return the row behind it."""
    store64(state_at + _REGISTERS, value)
    drop_arguments(state_at)
    return at + ROW


@kernel()
def begin_loop(state_at: Any, desk_at: Any, at: Any) -> Any:
    """Step: call the helper ``loop`` (Linux ``kernel/bpf/bpf_iter.c``, ``bpf_loop``)."""
    total = load64(state_at + _REGISTERS + 8) & _U32
    callback, context = load64(state_at + _REGISTERS + 16), load64(state_at + _REGISTERS + 24)
    if load64(state_at + _REGISTERS + 32) != _U(0):
        return _give(state_at, at, _EINVAL)
    if total > _MAX_LOOPS:
        return _give(state_at, at, _E2BIG)
    if total == _U(0):
        return _give(state_at, at, _U(0))
    index = callback - _U(layout.FUNCTION_HANDLES)
    if index >= load64(desk_at + 8 * Desk.CODE_COUNT):
        return fail(state_at, desk_at, at, types.int64(FaultKind.CALL), _U(0), _U(0))
    if load64(state_at + 8 * State.DEPTH) + _U(1) >= _U(layout.MAX_FRAMES):
        return fail(state_at, desk_at, at, types.int64(FaultKind.DEPTH), _U(0), _U(0))
    if not charge(state_at, desk_at, at, 1, at):
        return types.int64(0)
    target = types.int64(load64(desk_at + 8 * Desk.CODE_AT)) + types.int64(index) * ROW
    enter(state_at, desk_at, at, target, LOOP)
    record = record_of(desk_at, types.int64(load64(state_at + 8 * State.DEPTH)))
    store64(record + 8 * Frame.CALLBACK_AT, _U(target))
    store64(record + 8 * Frame.CONTEXT, context)
    store64(record + 8 * Frame.DONE, _U(0))
    store64(record + 8 * Frame.TOTAL, total)
    _arguments(state_at, record)
    return target


@kernel()
def _arguments(state_at: Any, record: Any) -> Any:
    """Set r1 to r5 for a callback: the number of those before, and the context."""
    drop_arguments(state_at)
    store64(state_at + _REGISTERS + 8, load64(record + 8 * Frame.DONE))
    store64(state_at + _REGISTERS + 16, load64(record + 8 * Frame.CONTEXT))


@kernel()
def go_on(state_at: Any, desk_at: Any, at: Any, record: Any) -> Any:
    """Step for the exit of a callback, at row `at`, whose frame has this record."""
    done = load64(record + 8 * Frame.DONE) + _U(1)
    call_at = types.int64(load64(record + 8 * Frame.RETURN_AT)) - ROW
    if load64(state_at + _REGISTERS) != _U(0) or done == load64(record + 8 * Frame.TOTAL):
        leave(state_at, desk_at)
        return _give(state_at, call_at, done)
    program = types.int64(load64(record + 8 * Frame.PROGRAM))
    fuel = types.int64(load64(state_at + 8 * State.FUEL))
    if fuel < 1 and types.int64(load64(state_at + 8 * State.RESERVE)) <= 0:
        select(state_at, desk_at, program)  # the call is to blame, which may be in another program by now
    if not charge(state_at, desk_at, at, 1, call_at):
        return types.int64(0)
    select(state_at, desk_at, program)
    store64(record + 8 * Frame.DONE, done)
    clear(types.int64(load64(desk_at + 8 * Desk.FRAME_AT)) - layout.FRAME_SIZE, layout.FRAME_SIZE)
    for i in range(4):
        store64(state_at + _REGISTERS + 48 + 8 * i, load64(record + 8 * (Frame.R6 + i)))
    _arguments(state_at, record)
    return types.int64(load64(record + 8 * Frame.CALLBACK_AT))
