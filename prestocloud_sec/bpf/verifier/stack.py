# SPDX-License-Identifier: Apache-2.0
"""Reads and writes of stack frames: registers that are kept and found again, bytes, places that vary.

Follows Linux 6.18 (``check_stack_write``, ``check_stack_read``, ``check_stack_range_initialized``). A program loaded
with all privileges may read stack bytes that were never written; one without may not, nor overwrite part of a kept
pointer.
"""

from __future__ import annotations

from prestocloud_sec.bpf.verifier.registers import NUMBER, Kind, Register, known
from prestocloud_sec.bpf.verifier.rejection import Rejected, Rule
from prestocloud_sec.bpf.verifier.state import EMPTY, STACK_SIZE, Byte, Frame, Slot, State

__all__ = ["bounds", "initialised", "load", "mark_written", "restored", "store", "zeroed"]

_UNPRIVILEGED_VARYING = "a place on the stack that varies is for privileged programs"


def bounds(register: Register, offset: int, size: int, *, write: bool, name: str) -> tuple[int, int]:
    """Return the least and the greatest place of an access, from r10, having checked that it stays in the frame.

    Raises
    ------
    Rejected
        If it does not.
    """
    number = register.number
    if number.is_const:
        least = most = register.offset + number.smin + offset
    else:
        if number.smax >= 1 << 29 or number.smin <= -(1 << 29):
            raise Rejected(
                Rule.STACK,
                f"invalid unbounded variable-offset {_verb(write)} stack R{name}",
                hint="bound the offset first",
            )
        least = register.offset + number.smin + offset
        most = register.offset + number.smax + offset
    if not -STACK_SIZE <= least < 0 or most + size > 0:
        where = f"off={least}" if least == most else f"var_off={number.tnum}"
        raise Rejected(
            Rule.STACK,
            f"invalid {'variable-offset ' if least != most else ''}{_verb(write)} stack R{name} {where} size={size}",
            "EINVAL" if -STACK_SIZE <= least < 0 else "EACCES",
            hint=f"the frame is the {STACK_SIZE} bytes below r10",
        )
    return least, most


def _verb(write: bool) -> str:
    return "write to" if write else "read from"


# --- Writing.


def store(
    state: State, pointer: Register, offset: int, size: int, value: Register | None, *, privileged: bool, name: str
) -> None:
    """Write `size` bytes of a register, or (None) something unknown, to where a stack pointer points."""
    least, most = bounds(pointer, offset, size, write=True, name=name)
    frame = state.frames[pointer.frame]
    if least != most:
        if not privileged:
            raise Rejected(Rule.PRIVILEGE, f"R{name} {_UNPRIVILEGED_VARYING}")
        if value is not None and value.is_pointer and not privileged:
            raise Rejected(Rule.POINTER_LEAK, f"R{name} leaks an address to a place that varies")
        zero = value is not None and value.is_null
        _mark_varying(frame, least, most + size, zero)
        return
    if value is not None and value.kind is not Kind.NUMBER:
        _keep_pointer(state, frame, pointer.frame, least, size, value)
        return
    number, part = divmod(least, 8)
    old = frame.slot(number)
    if not privileged and old.register is not None and old.register.is_pointer and size != 8:
        raise Rejected(Rule.POINTER_LEAK, "attempt to corrupt spilled pointer on stack", hint="write all eight bytes")
    if value is not None and not part and privileged:
        kept = value if _fits(value, size) else value.but(id=0, delta=0, narrow=False)
        kinds = bytes([Byte.SPILL]) * size + _misc(old.bytes[size:])
        frame.stack[number] = Slot(kinds, kept)
        return
    kind = Byte.ZERO if value is not None and value.is_null else Byte.MISC
    if size == 8 and not part and value is not None and not value.is_null:
        frame.stack[number] = Slot(bytes([Byte.SPILL]) * 8, value)
        return
    mark_written(frame, least, least + size, kind)


def _fits(value: Register, size: int) -> bool:
    return value.number.umax < 1 << 8 * size


def _misc(kinds: bytes) -> bytes:
    """Return what bytes beside a kept number hold: a zero or nothing stays that, all else is something."""
    return Slot(kinds, None).scrubbed().bytes


def _keep_pointer(state: State, frame: Frame, depth: int, least: int, size: int, value: Register) -> None:
    if value.kind is Kind.NOTHING:
        raise Rejected(Rule.UNINITIALISED, "a register that holds nothing is stored")
    if size != 8 or least % 8:
        raise Rejected(
            Rule.POINTER_LEAK if size != 8 else Rule.ALIGNMENT,
            "invalid size of register spill" if size != 8 else f"misaligned stack access off {least} size {size}",
            hint="a pointer is kept in eight aligned bytes",
        )
    if value.kind is Kind.STACK and depth != len(state.frames) - 1:
        raise Rejected(Rule.POINTER_LEAK, "cannot spill pointers to stack into stack frame of the caller", "EINVAL")
    frame.stack[least // 8] = Slot(bytes([Byte.SPILL]) * 8, value)


def mark_written(frame: Frame, start: int, end: int, kind: int) -> None:
    """Let the bytes from `start` to before `end` hold something, or zero; nothing is kept there any more."""
    for number in range(start // 8, (end - 1) // 8 + 1):
        slot = frame.slot(number)
        kinds = bytearray(slot.scrubbed().bytes if slot.whole else slot.bytes)
        first, last = max(start - 8 * number, 0), min(end - 8 * number, 8)
        kinds[first:last] = bytes([kind]) * (last - first)
        frame.stack[number] = Slot(bytes(kinds), None)


def _mark_varying(frame: Frame, start: int, end: int, zero: bool) -> None:
    """Let any of the bytes be written: a zero is known only where zeros are written over zeros."""
    for number in range(start // 8, (end - 1) // 8 + 1):
        slot = frame.slot(number)
        parts = range(max(start - 8 * number, 0), min(end - 8 * number, 8))
        kinds = bytearray(slot.scrubbed().bytes if slot.register is not None else slot.bytes)
        kept_zero = zero and slot.register is not None and slot.register.is_null
        if kept_zero and all(slot.bytes[part] == Byte.SPILL for part in parts):
            continue  # the register that is kept is what is written
        for part in parts:
            if not (zero and kinds[part] == Byte.ZERO):
                kinds[part] = Byte.MISC
        frame.stack[number] = Slot(bytes(kinds), None)


# --- Reading.


def load(state: State, pointer: Register, offset: int, size: int, *, privileged: bool, name: str) -> Register:
    """Return what a load of `size` bytes from where a stack pointer points gives (not yet narrowed to them)."""
    least, most = bounds(pointer, offset, size, write=False, name=name)
    frame = state.frames[pointer.frame]
    if least != most:
        if not privileged:
            raise Rejected(Rule.PRIVILEGE, f"R{name} {_UNPRIVILEGED_VARYING}")
        frame.stack.setdefault(least // 8, EMPTY)
        initialised(frame, least, most + size, privileged=privileged)
        return _unkept(frame, least, most + size)
    slot = frame.stack.setdefault(least // 8, EMPTY)
    kept = slot.register
    if kept is not None and slot.spilled and kept.is_pointer and (size != 8 or slot.spilled != 8):
        raise Rejected(
            Rule.POINTER_LEAK, "invalid size of register fill", hint="a kept pointer is read with eight bytes"
        )
    if kept is not None and restored(slot, least % 8, size):
        if size == 8:
            return kept
        if least % 8:
            return known(0)
        return kept if _fits(kept, size) else kept.but(id=0, delta=0, narrow=False)
    initialised(frame, least, least + size, privileged=privileged)
    return _unkept(frame, least, least + size)


def restored(slot: Slot, part: int, size: int) -> bool:
    """Whether a load from byte `part` of a slot gives the register that is kept there, or its low bytes.

    Of a register that is zero any bytes are.
    """
    kept = slot.register
    if kept is None or not slot.spilled:
        return False
    return size <= slot.spilled if not part else kept.is_null and part + size <= slot.spilled


def zeroed(state: State, pointer: Register, offset: int, size: int) -> bool:
    """Whether a store of a zero left zeros that no register is kept for, so that what is read relies on the zero."""
    number = pointer.number
    start, end = pointer.offset + number.smin + offset, pointer.offset + number.smax + offset + size
    frame = state.frames[pointer.frame]
    for place in range(start, end):
        slot = frame.slot(place // 8)
        kind = slot.bytes[place % 8]
        if kind == Byte.ZERO:
            return True
        if kind == Byte.SPILL and not number.is_const and slot.register is not None and slot.register.is_null:
            return True
    return False


def initialised(frame: Frame, start: int, end: int, *, privileged: bool) -> None:
    """Check that the bytes from `start` to before `end` may be read.

    Raises
    ------
    Rejected
        If one was never written, unless the program is privileged, or belongs to an iterator.
    """
    for place in range(start, end):
        kind = frame.stack.get(place // 8, EMPTY).bytes[place % 8]
        if kind == Byte.ITERATOR or (kind == Byte.INVALID and not privileged):
            raise Rejected(
                Rule.UNINITIALISED, f"invalid read from stack off {start}+{place - start} size {end - start}"
            )


def _unkept(frame: Frame, start: int, end: int) -> Register:
    """Return what bytes hold of which no register is found again: a zero if each was written as one.

    A zero that is kept as a register does not count (Linux 6.18, ``mark_reg_stack_read``).
    """
    zero = all(frame.stack.get(place // 8, EMPTY).bytes[place % 8] == Byte.ZERO for place in range(start, end))
    return known(0) if zero else NUMBER
