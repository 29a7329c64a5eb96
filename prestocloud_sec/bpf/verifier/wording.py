# SPDX-License-Identifier: Apache-2.0
"""Registers and stack slots as the kernel's log writes them.

The forms are those of Linux 6.18 (``kernel/bpf/log.c``, ``print_verifier_state``): ranges that are equal share a number
(``smin=smin32=0``), what is not known is left out, numbers of 16 bits are decimal and larger ones hexadecimal. Only the
``P`` for *precise* is not there, which the kernel adds to numbers when it looks back.
"""

from __future__ import annotations

from collections.abc import Collection

from prestocloud_sec.bpf.verifier.registers import NAMES, Kind, Register
from prestocloud_sec.bpf.verifier.scalar import S32_MAX, S32_MIN, S64_MAX, S64_MIN, Scalar
from prestocloud_sec.bpf.verifier.state import Byte, Frame, Slot, State
from prestocloud_sec.bpf.verifier.tnum import U32, U64

__all__ = ["changed_text", "frame_text", "ranges_text", "register_text", "slot_text"]

_S16_MIN, _S16_MAX, _U16_MAX = -(1 << 15), (1 << 15) - 1, (1 << 16) - 1
_BOUNDS: tuple[tuple[str, int], ...] = (
    ("smin", S64_MIN),
    ("smax", S64_MAX),
    ("umin", 0),
    ("umax", U64),
    ("smin32", S32_MIN),
    ("smax32", S32_MAX),
    ("umin32", 0),
    ("umax32", U32),
)
"""The ends of ranges in the kernel's order, and what each is where nothing is known."""
_HAS_MAP = frozenset({Kind.MAP, Kind.MAP_KEY, Kind.MAP_VALUE})
_HAS_RANGE = frozenset({Kind.PACKET, Kind.PACKET_META})
_BYTES = {Byte.INVALID: "?", Byte.SPILL: "r", Byte.MISC: "m", Byte.ZERO: "0", Byte.ITERATOR: "i"}


def _signed(number: int) -> str:
    return str(number) if _S16_MIN <= number <= _S16_MAX else hex(number & U64)


def _unsigned(number: int) -> str:
    return str(number) if number <= _U16_MAX else hex(number)


def _told(name: str, number: int) -> int:
    """Return an end of a range as the kernel compares and prints it: what is long, of 32 bits, has these bits only."""
    return number & U32 if name in {"smin32", "smax32"} and not _S16_MIN <= number <= _S16_MAX else number


def ranges_text(scalar: Scalar) -> str:
    """Return what is known of a number that is not a single one; empty where nothing is.

    >>> ranges_text(Scalar.bounded(0, 10))
    'smin=smin32=0,smax=umax=smax32=umax32=10,var_off=(0x0; 0xf)'
    """
    left = {name: _told(name, getattr(scalar, name)) for name, most in _BOUNDS if getattr(scalar, name) != most}
    said = []
    for position, (name, _) in enumerate(_BOUNDS):
        if name not in left:
            continue
        value = left.pop(name)
        names = [name]
        for other, _ in _BOUNDS[position + 2 :: 2]:  # of the same end: the least, or the greatest
            if left.get(other) == value:
                del left[other]
                names.append(other)
        said.append(f"{'='.join(names)}={_signed(value) if name[0] == 's' else _unsigned(value)}")
    if not scalar.tnum.is_unknown:
        said.append(f"var_off=({scalar.tnum.value:#x}; {scalar.tnum.mask:#x})")
    return ",".join(said)


def register_text(register: Register, depth: int = 0) -> str:
    """Return what a register holds.

    Parameters
    ----------
    register : Register
    depth : int
        The frame it is seen from: pointers into another frame name it.
    """
    kind, scalar = register.kind, register.number
    if kind is Kind.NOTHING:
        return "?"
    if kind is Kind.NUMBER and scalar.is_const:
        return _signed(scalar.smin)
    name = NAMES[kind] + ("_or_null" if register.nullable else "")
    if kind is Kind.STACK:
        name += f"[{register.frame}]" if register.frame != depth else ""
        if scalar.is_const:
            return f"{name}{register.offset + scalar.smin}"
    if register.ring:
        name = "ringbuf_" + name
    elif register.read_only:
        name = "rdonly_" + name
    return f"{name}({','.join(_parts(register))})"


def _parts(register: Register) -> list[str]:
    kind, scalar = register.kind, register.number
    said = []
    if register.id:
        said.append(f"id={register.id}" + (f"{register.delta:+d}" if register.delta else ""))
    if register.reference:
        said.append(f"ref_obj_id={register.reference}")
    if kind in _HAS_MAP and register.map is not None:
        said.append(f"ks={register.map.key_size},vs={register.map.value_size}")
    if kind is not Kind.NUMBER and register.offset:
        said.append(f"off={_signed(register.offset)}")
    if kind in _HAS_RANGE:
        said.append(f"r={_unsigned(register.range & U64)}")
    if kind is Kind.MEMORY:
        said.append(f"sz={register.size}")
    if not scalar.is_const:
        ranges = ranges_text(scalar)
        said += [ranges] if ranges else []
    elif scalar.tnum.value:
        said.append(f"imm={_signed(scalar.smin)}")
    return said


def slot_text(slot: Slot, depth: int = 0) -> str:
    """Return what a slot of the stack holds: its bytes from the highest down, and the register that it keeps."""
    if slot.iterator is not None:
        held = slot.iterator
        state = "active" if held.active else "drained"
        return f"iter_{held.type}(ref_id={held.reference},state={state},depth={held.depth})"
    kinds = "".join(_BYTES[byte] for byte in reversed(slot.bytes))
    if slot.register is not None and slot.bytes[0] == Byte.SPILL:
        return kinds.partition("r")[0] + register_text(slot.register, depth)
    return kinds


def frame_text(
    state: State, depth: int = -1, *, registers: Collection[int] | None = None, slots: Collection[int] | None = None
) -> str:
    """Return what is known in a frame, in one line; empty where nothing is.

    Parameters
    ----------
    state : State
    depth : int
        Which frame; -1 for the function that runs.
    registers, slots : collection of int, optional
        What to tell of (slots by ``offset // 8``); None for all.
    """
    depth %= len(state.frames)
    frame: Frame = state.frames[depth]
    said = [f"frame{depth}:"] if depth else []
    for number, register in enumerate(frame.registers):
        if register.kind is not Kind.NOTHING and (registers is None or number in registers):
            said.append(f"R{number}={register_text(register, depth)}")
    for number in sorted(frame.stack, reverse=True):
        slot = frame.stack[number]
        upper = slot.iterator is not None and not slot.iterator.reference  # told with its lowest slot
        if any(slot.bytes) and not upper and (slots is None or number in slots):
            said.append(f"fp{8 * number}={slot_text(slot, depth)}")
    if slots is None:
        said += _held(state, frame)
    return " ".join(said)


def changed_text(state: State, registers: Collection[int], slots: Collection[int]) -> str:
    """Return what an instruction changed, as the log has it behind the instruction: what is held is always told."""
    known = frame_text(state, registers=registers, slots=slots)
    return " ".join(filter(None, [known, *_held(state, state.frame)]))


def _held(state: State, frame: Frame) -> list[str]:
    """Return what has to be released, and whether a helper called the function."""
    said = []
    if state.references:
        said.append("refs=" + ",".join(str(reference) for reference, _ in state.references))
    if frame.callback is not None:
        said.append("cb")
    return said
