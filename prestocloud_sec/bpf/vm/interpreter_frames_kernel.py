# SPDX-License-Identifier: Apache-2.0
"""What the interpreter's other kernels share: faults, fuel, windows, frames.

A *step* is a function that carries out the row at an address and returns the address of the row that comes next, or
0 if the kernel is to return; why stands in `Desk.STATUS`. A step that returns 0 with `Status.FUEL` has done nothing, so
it can be carried out again.
"""

from __future__ import annotations

from typing import Any

from numba import types

from prestocloud_sec._jit import kernel
from prestocloud_sec.bpf._raw_kernel import clear, load8, load32, load64, store32, store64
from prestocloud_sec.bpf.vm import layout
from prestocloud_sec.bpf.vm.decoded import ROW
from prestocloud_sec.bpf.vm.fault import FaultKind
from prestocloud_sec.bpf.vm.interpreter_layout import (
    FRAME_WORDS,
    PROGRAM_WORDS,
    WINDOW,
    Desk,
    Frame,
    Status,
    Window,
)
from prestocloud_sec.bpf.vm.layout import State

__all__ = [
    "charge",
    "close_windows",
    "drop_arguments",
    "enter",
    "fail",
    "is_function",
    "leave",
    "open_window",
    "pause",
    "record_of",
    "select",
    "show_frame",
]

_U = types.uint64
_WINDOWS = 8 * Desk.WINDOWS
_ALL_WINDOWS = 11 * WINDOW
_FRAME = 8 * FRAME_WORDS
_REGION = 8 * layout.REGION_WORDS
_REGISTERS = 8 * State.R0


@kernel()
def fail(state_at: Any, desk_at: Any, at: Any, kind: Any, address: Any, size: Any) -> Any:
    """Leave a fault at the row `at` of the running program, and forget what Python prepared for it; return 0."""
    store64(desk_at + 8 * Desk.ELEMENTS_AT, _U(0))
    store64(desk_at + 8 * Desk.TAIL, _U(0))
    index = (at - types.int64(load64(desk_at + 8 * Desk.CODE_AT))) // ROW
    store64(state_at + 8 * State.FAULT, _U(kind))
    store64(state_at + 8 * State.FAULT_INSTRUCTION, _U(index))
    store64(state_at + 8 * State.FAULT_ADDRESS, _U(address))
    store64(state_at + 8 * State.FAULT_SIZE, _U(size))
    store64(desk_at + 8 * Desk.STATUS, _U(Status.DONE))
    return types.int64(0)


@kernel()
def pause(state_at: Any, desk_at: Any, at: Any, status: Any) -> Any:
    """Let Python do something and go on at the row `at`; return 0."""
    index = (at - types.int64(load64(desk_at + 8 * Desk.CODE_AT))) // ROW
    store64(state_at + 8 * State.RESUME, _U(index))
    store64(desk_at + 8 * Desk.STATUS, _U(status))
    return types.int64(0)


@kernel()
def charge(state_at: Any, desk_at: Any, at: Any, cost: Any, blamed_at: Any) -> Any:
    """Take `cost` from the fuel; where it is too little, fail at row `blamed_at` or pause at row `at`; tell which."""
    fuel = types.int64(load64(state_at + 8 * State.FUEL))
    if fuel >= cost:
        store64(state_at + 8 * State.FUEL, _U(fuel - cost))
        return True
    if types.int64(load64(state_at + 8 * State.RESERVE)) > 0:
        pause(state_at, desk_at, at, types.int64(Status.FUEL))
        index = (blamed_at - types.int64(load64(desk_at + 8 * Desk.CODE_AT))) // ROW
        store64(desk_at + 8 * Desk.BLAMED, _U(index))
        store64(desk_at + 8 * Desk.BLAMED_PROGRAM, load64(state_at + 8 * State.PROGRAM))
    else:
        fail(state_at, desk_at, blamed_at, types.int64(FaultKind.LIMIT), _U(0), _U(0))
    return False


@kernel()
def close_windows(desk_at: Any) -> Any:
    """Forget where accesses were allowed."""
    clear(desk_at + _WINDOWS, _ALL_WINDOWS)
    store64(desk_at + 8 * Desk.INNER, _U(0))


@kernel()
def _limit(room: Any, size: Any) -> Any:
    """Return how many places there are for `size` bytes in `room` bytes, as far as a u32 can say."""
    if size > room:
        return _U(0)
    return min(room - size + _U(1), _U(0xFFFFFFFF))


@kernel()
def open_window(state_at: Any, desk_at: Any, at: Any) -> Any:
    """Step for an access that no window covers: open one, by the region table, and stay at the row."""
    access = load32(at + 4)
    size, flag = access & _U(0xFF), access >> _U(8) & _U(0xFF)
    operand = types.int64(load64(at + 8))
    writes = flag == _U(layout.WRITABLE)
    register = types.int64(load8(at + 2) if writes else load8(at + 3))
    offset = operand >> 32 if access >> _U(16) & _U(1) else operand
    address = load64(state_at + _REGISTERS + register) + _U(offset)
    number = address >> _U(layout.REGION_SHIFT)
    row = types.int64(load64(state_at + 8 * State.REGIONS_AT))
    found = number < _U(layout.REGIONS)
    if found:
        row += types.int64(number) * _REGION
        place = address - load64(row + 8 * layout.BASE)
        mask, element, total = (
            load64(row + 8 * layout.MASK),
            load64(row + 8 * layout.ELEMENT),
            load64(row + 8 * layout.SIZE),
        )
        inside = place & mask
        found = (
            place < total
            and size <= element
            and inside <= element - size
            and load64(row + 8 * layout.FLAGS) & flag != _U(0)
        )
    if not found:
        kind = types.int64(FaultKind.WRITE) if writes else types.int64(FaultKind.READ)
        return fail(state_at, desk_at, at, kind, address, size)
    first, room = place - inside, element
    if room > total - first:  # an access may begin before the region's end and reach behind it, so show this one alone
        first, room = place, size
    window = desk_at + _WINDOWS + register * (WINDOW // 8)
    if writes:
        window += Window.WRITES
    store64(window + Window.BASE, load64(row + 8 * layout.BASE) + first)
    store64(window + Window.DELTA, load64(row + 8 * layout.HOST) - load64(row + 8 * layout.BASE))
    store32(window + Window.LIMITS, _limit(room, _U(1)))
    store32(window + Window.LIMITS + 4, _limit(room, _U(2)))
    store32(window + Window.LIMITS + 8, _limit(room, _U(4)))
    store32(window + Window.LIMITS + 12, _limit(room, _U(8)))
    if _U(layout.STACK) < number < _U(layout.STACK + layout.MAX_FRAMES):
        store64(desk_at + 8 * Desk.INNER, _U(1))
    return at


@kernel()
def drop_arguments(state_at: Any) -> Any:
    """Set r1 to r5 to 0, as every return does."""
    clear(state_at + _REGISTERS + 8, 40)


@kernel()
def select(state_at: Any, desk_at: Any, program: Any) -> Any:
    """Make a program, whose number must exist, the running one."""
    row = types.int64(load64(desk_at + 8 * Desk.PROGRAMS_AT)) + program * (8 * PROGRAM_WORDS)
    store64(state_at + 8 * State.PROGRAM, _U(program))
    store64(desk_at + 8 * Desk.CODE_AT, load64(row))
    store64(desk_at + 8 * Desk.CODE_COUNT, load64(row + 8))
    store64(desk_at + 8 * Desk.FUNCTIONS_AT, load64(row + 16))


@kernel()
def is_function(desk_at: Any, index: Any) -> Any:
    """Whether a function of the running program begins at an instruction."""
    if index >= load64(desk_at + 8 * Desk.CODE_COUNT):
        return False
    return load8(types.int64(load64(desk_at + 8 * Desk.FUNCTIONS_AT)) + types.int64(index)) != _U(0)


@kernel()
def record_of(desk_at: Any, depth: Any) -> Any:
    """Return the address of a frame's record."""
    return desk_at + 8 * Desk.FRAMES + depth * _FRAME


@kernel()
def show_frame(state_at: Any, desk_at: Any, depth: Any) -> Any:
    """Let r10 and `Desk.FRAME_AT` be those of the frame at this depth; return its row of the region table."""
    row = types.int64(load64(state_at + 8 * State.REGIONS_AT)) + (layout.STACK + depth) * _REGION
    store64(state_at + 8 * State.DEPTH, _U(depth))
    store64(state_at + _REGISTERS + 80, load64(row + 8 * layout.BASE) + _U(layout.FRAME_SIZE))
    store64(desk_at + 8 * Desk.FRAME_AT, load64(row + 8 * layout.HOST) + _U(layout.FRAME_SIZE))
    return row


@kernel()
def enter(state_at: Any, desk_at: Any, at: Any, target: Any, kind: Any) -> Any:
    """Call the function whose first row is `target` from the row `at`, which has room (`State.DEPTH`) and is paid for.

    Its record is filled as for a local call; returns `target`.
    """
    depth = types.int64(load64(state_at + 8 * State.DEPTH)) + 1
    record = record_of(desk_at, depth)
    store64(record + 8 * Frame.KIND, _U(kind))
    store64(record + 8 * Frame.RETURN_AT, _U(at + ROW))
    store64(record + 8 * Frame.PROGRAM, load64(state_at + 8 * State.PROGRAM))
    for i in range(4):
        store64(record + 8 * (Frame.R6 + i), load64(state_at + _REGISTERS + 48 + 8 * i))
    row = show_frame(state_at, desk_at, depth)
    store64(row + 8 * layout.SIZE, _U(layout.FRAME_SIZE))
    clear(types.int64(load64(row + 8 * layout.HOST)), layout.FRAME_SIZE)
    return target


@kernel()
def leave(state_at: Any, desk_at: Any) -> Any:
    """Go back from the active frame, not the outermost, to the one before; return the row behind the call."""
    depth = types.int64(load64(state_at + 8 * State.DEPTH))
    record = record_of(desk_at, depth)
    for i in range(4):
        store64(state_at + _REGISTERS + 48 + 8 * i, load64(record + 8 * (Frame.R6 + i)))
    drop_arguments(state_at)
    program = load64(record + 8 * Frame.PROGRAM)
    if program != load64(state_at + 8 * State.PROGRAM):
        select(state_at, desk_at, types.int64(program))
    regions = types.int64(load64(state_at + 8 * State.REGIONS_AT))
    store64(regions + (layout.STACK + depth) * _REGION + 8 * layout.SIZE, _U(0))
    show_frame(state_at, desk_at, depth - 1)
    if load64(desk_at + 8 * Desk.INNER) != _U(0):
        close_windows(desk_at)
    return types.int64(load64(record + 8 * Frame.RETURN_AT))
