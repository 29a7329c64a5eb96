# SPDX-License-Identifier: Apache-2.0
"""Calls of kernel functions (kfuncs) that make, ask and end an open-coded iterator on the stack.

An iterator lies in slots of the stack that the program may do nothing else with. It is acquired when it is made, and
has to be released on every way. Asking it for one more gives a pointer to what it came to, or null; so the way parts
there, and the way on which it gave something is the next turn of a loop (`prestocloud_sec.bpf.verifier.steps_calls`).

Sources: Linux 6.18, ``Documentation/bpf/kfuncs.rst``, ``kernel/bpf/verifier.c`` (``process_iter_arg``,
``mark_stack_slots_iter``, ``is_iter_reg_valid_init``), ``kernel/bpf/helpers.c`` for who may call what.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from prestocloud_sec.bpf.helpers.ids import KfuncId
from prestocloud_sec.bpf.verifier import stack
from prestocloud_sec.bpf.verifier.pointers import check_given
from prestocloud_sec.bpf.verifier.registers import NOTHING, NUMBER, ZERO, ZERO_NUMBER, Kind, Register
from prestocloud_sec.bpf.verifier.rejection import Rejected, Rule
from prestocloud_sec.bpf.verifier.state import Byte, Slot, StackIterator, State, cleared

if TYPE_CHECKING:
    from prestocloud_sec.bpf.verifier.environment import Environment

__all__ = [
    "ELEMENT_SIZE",
    "ITERATOR_KFUNCS",
    "Called",
    "Does",
    "IteratorKfunc",
    "Place",
    "advanced",
    "call",
    "iterator_at",
    "place_of",
]


class Does(Enum):
    """What a function does with the iterator that r1 points at."""

    NEW = auto()
    NEXT = auto()
    DESTROY = auto()


class Argument(Enum):
    """What a function takes besides."""

    NUMBER = auto()
    ANYTHING = auto()
    """It is not looked at; the kernel copes with any address."""


class IteratorKfunc(NamedTuple):
    """A row of the table.

    Attributes
    ----------
    type : str
        What the iterator goes through.
    does : Does
    slots : int
        Of the stack, that the iterator takes.
    arguments : tuple of Argument
        r2 and on.
    while_locked : bool
        Whether it may be called while a lock is held.
    """

    type: str
    does: Does
    slots: int
    arguments: tuple[Argument, ...] = ()
    while_locked: bool = False

    @property
    def parameters(self) -> int:
        """How many registers it is given."""
        return 1 + len(self.arguments)

    def takes_number(self, register: int) -> bool:
        """Whether a register, r2 or a later one, has to hold a number."""
        return self.arguments[register - 2] is Argument.NUMBER


ITERATOR_KFUNCS = {
    KfuncId.BPF_ITER_NUM_NEW.kfunc_name: IteratorKfunc(
        "num", Does.NEW, 1, (Argument.NUMBER, Argument.NUMBER), while_locked=True
    ),
    KfuncId.BPF_ITER_NUM_NEXT.kfunc_name: IteratorKfunc("num", Does.NEXT, 1, while_locked=True),
    KfuncId.BPF_ITER_NUM_DESTROY.kfunc_name: IteratorKfunc("num", Does.DESTROY, 1, while_locked=True),
    KfuncId.BPF_ITER_BITS_NEW.kfunc_name: IteratorKfunc("bits", Does.NEW, 2, (Argument.ANYTHING, Argument.NUMBER)),
    KfuncId.BPF_ITER_BITS_NEXT.kfunc_name: IteratorKfunc("bits", Does.NEXT, 2),
    KfuncId.BPF_ITER_BITS_DESTROY.kfunc_name: IteratorKfunc("bits", Does.DESTROY, 2),
}
"""By name: the kernel functions that programs of every type may call and that are judged here."""

ELEMENT_SIZE = 4
"""Bytes of what an iterator gives a pointer to: a C ``int``."""


class Place(NamedTuple):
    """Where an iterator is: the frame, and its lowest slot."""

    frame: int
    slot: int


def place_of(pointer: Register) -> Place:
    """Return the slot that a pointer to a known place of the stack points into."""
    return Place(pointer.frame, (pointer.offset + pointer.number.smin) // 8)


class Called(NamedTuple):
    """What a call does.

    Attributes
    ----------
    place : Place
        Where its iterator is.
    gives : StackIterator or None
        An iterator that may give one more, as it was before.
    """

    place: Place
    gives: StackIterator | None = None


def call(env: Environment, state: State, row: IteratorKfunc, index: int) -> Called:
    """Check a call, and let the state be what it leaves where an iterator that is asked has nothing more.

    Raises
    ------
    Rejected
    """
    if state.lock is not None and not row.while_locked:
        raise Rejected(Rule.LOCK, "function calls are not allowed while holding a lock", "EINVAL")
    place = _iterator(env, state, row, index)
    for name in range(2, row.parameters + 1):
        if row.takes_number(name) and state.registers[name].kind is not Kind.NUMBER:
            raise Rejected(Rule.ARGUMENT, f"R{name} is not a scalar", "EINVAL", register=name)
    cleared(state.registers)
    state.registers[0] = NUMBER if row.does is Does.NEW else NOTHING
    if row.does is not Does.NEXT:
        return Called(place)
    state.registers[0] = ZERO
    held = iterator_at(state, place)
    if held is None or not held.active:
        return Called(place)
    _put(state, place, row.slots, held._replace(active=False))
    return Called(place, held)


def advanced(env: Environment, state: State, row: IteratorKfunc, place: Place, before: StackIterator) -> None:
    """Let a state be that in which an iterator that was asked gave something."""
    _put(state, place, row.slots, before._replace(depth=before.depth + 1))
    state.registers[0] = Register(
        Kind.MEMORY, ZERO_NUMBER, id=env.new_id(), reference=before.reference, size=ELEMENT_SIZE, read_only=True
    )


def iterator_at(state: State, place: Place) -> StackIterator | None:
    """Return what is known of an iterator; None where there is none."""
    return state.frames[place.frame].slot(place.slot).iterator


# --- The argument.


def _iterator(env: Environment, state: State, row: IteratorKfunc, index: int) -> Place:
    pointer = state.registers[1]
    check_given(1, pointer)
    if pointer.kind is not Kind.STACK:
        raise Rejected(
            Rule.ARGUMENT,
            "arg#0 expected pointer to an iterator on stack",
            "EINVAL",
            hint=f"let r1 point at {8 * row.slots} bytes of the stack",
            register=1,
        )
    if row.does is Does.NEW:
        return _new(env, state, row, pointer, index)
    wrong = f"expected an initialized iter_{row.type} as arg #0"
    place = _placed(pointer, row, wrong)
    if not _is_one(state, place, row):
        raise Rejected(
            Rule.ARGUMENT,
            wrong,
            "EINVAL",
            hint=f"make it with bpf_iter_{row.type}_new first, and write nothing over it",
            register=1,
        )
    if row.does is Does.DESTROY:
        _destroy(env, state, row, place)
    return place


def _placed(pointer: Register, row: IteratorKfunc, wrong: str) -> Place:
    """Return where a pointer points, which has to be one place, and room enough below the end of the frame."""
    hint = f"give it {8 * row.slots} bytes, aligned to 8, at a place that is known"
    if not pointer.number.is_const:
        raise Rejected(Rule.ARGUMENT, f"iter has to be at a constant offset; {wrong}", "EINVAL", hint=hint)
    place = pointer.offset + pointer.number.smin
    if place % 8 or place + 8 * row.slots > 0:
        raise Rejected(Rule.ARGUMENT, f"cannot pass in iter at an offset={place}; {wrong}", "EINVAL", hint=hint)
    return place_of(pointer)


def _new(env: Environment, state: State, row: IteratorKfunc, pointer: Register, index: int) -> Place:
    wrong = f"expected uninitialized iter_{row.type} as arg #0"
    if row.slots == 1 and pointer.number.is_const and not pointer.offset + pointer.number.smin:
        # Linux takes the place for slot 0, which holds one slot, and finds out where it looks at the memory: EACCES
        stack.bounds(pointer, 0, 8, write=True, name="1")
    place = _placed(pointer, row, wrong)
    frame = state.frames[place.frame]
    if any(Byte.ITERATOR in frame.slot(place.slot + n).bytes for n in range(row.slots)):
        raise Rejected(
            Rule.ARGUMENT,
            wrong,
            "EINVAL",
            hint=f"end the iterator that is there first, with bpf_iter_{row.type}_destroy",
            register=1,
        )
    for n in range(row.slots):
        stack.store(state, pointer, 8 * n, 8, None, privileged=env.privileged, name="1")
    reference = env.new_id()
    state.references = (*state.references, (reference, index))
    _put(state, place, row.slots, StackIterator(row.type, reference))
    return place


def _put(state: State, place: Place, slots: int, held: StackIterator) -> None:
    frame = state.frames[place.frame]
    for n in range(slots):
        part = held if not n else held._replace(reference=0)
        frame.stack[place.slot + n] = Slot(bytes([Byte.ITERATOR]) * 8, None, part)


def _is_one(state: State, place: Place, row: IteratorKfunc) -> bool:
    frame = state.frames[place.frame]
    for n in range(row.slots):
        slot = frame.slot(place.slot + n)
        held = slot.iterator
        if held is None or held.type != row.type or bool(held.reference) != (not n):
            return False
        if slot.bytes.count(Byte.ITERATOR) != 8:
            return False
    return True


def _destroy(env: Environment, state: State, row: IteratorKfunc, place: Place) -> None:
    """End an iterator: what it gave pointers to is gone, and its slots are as never written."""
    held = iterator_at(state, place)
    reference = 0 if held is None else held.reference
    state.release(reference)
    for where, at, register in state.places():
        if register.reference == reference:
            state.put(where, at, NUMBER if env.privileged or not isinstance(where, list) else NOTHING)
    frame = state.frames[place.frame]
    for n in range(row.slots):
        frame.stack[place.slot + n] = Slot(bytes(8), None)
