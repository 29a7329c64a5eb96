# SPDX-License-Identifier: Apache-2.0
"""Whether a state need not be gone on with, because one that covers it was (Linux 6.18, ``states_equal``).

A state covers another if every way from the other on that breaks a rule would have broken it from the first. A number
that no check depended on covers any other; one that did (it is *precise*) covers those in its range.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prestocloud_sec.bpf.verifier.live_stack import call_site
from prestocloud_sec.bpf.verifier.registers import NUMBER, Kind, Register
from prestocloud_sec.bpf.verifier.state import EMPTY, Byte, Frame, Slot, StackIterator, State

__all__ = ["Exactly", "covers", "widened"]


class Exactly:
    """How states are compared."""

    COVERS = 0
    """What was not needed may differ."""
    WITHIN = 1
    """Numbers have to lie in the range of the others, needed or not."""
    SAME = 2


class _Names:
    """Which identifiers of one state are which of the other."""

    __slots__ = ("known", "spare", "taken")

    def __init__(self) -> None:
        self.known: dict[int, int] = {}
        self.taken: dict[int, int] = {}
        self.spare = 1 << 40

    def match(self, old: int, new: int) -> bool:
        """Whether identifiers can stand for each other."""
        if bool(old) != bool(new):
            return False
        return not old or self._pair(old, new)

    def match_number(self, old: int, new: int) -> bool:
        """Match those of numbers: one that has no copies may have some."""
        if not old:
            return True
        if not new:
            self.spare += 1
            new = self.spare
        return self._pair(old, new)

    def _pair(self, old: int, new: int) -> bool:
        known = self.known.get(old)
        if known is not None:
            return known == new
        if new in self.taken:
            return False
        self.known[old] = new
        self.taken[new] = old
        return True


def covers(
    old: State,
    new: State,
    live: Sequence[int],
    precise: set[tuple[int, int]],
    exactly: int,
    index: int,
    *,
    privileged: bool = True,
) -> bool:
    """Whether `old` covers `new`.

    Parameters
    ----------
    old, new : State
        Both before instruction `index`.
    live : sequence of int
        Registers read later, by instruction.
    precise : set of (int, int)
        What checks after `old` depended on: frame, and register, or slot of the stack (negative).
    exactly : int
        See `Exactly`.
    index : int
    privileged : bool
        Whether bytes of the stack that were never written may be read.
    """
    if len(old.frames) != len(new.frames) or len(old.references) != len(new.references):
        return False
    names = _Names()
    if (old.lock is None) != (new.lock is None):
        return False
    if (
        old.lock is not None
        and new.lock is not None
        and (old.lock[0] is not new.lock[0] or not names.match(old.lock[1], new.lock[1]))
    ):
        return False
    for before, now in zip(old.frames, new.frames, strict=True):
        if before.entry != now.entry or before.returns_to != now.returns_to:
            return False
        if (before.callback is None) != (now.callback is None) or before.turns > now.turns:
            return False
    # The frames that run last, and registers, first: there states differ most.
    last = len(old.frames) - 1
    for depth in range(last, -1, -1):
        was, has = old.frames[depth].registers, new.frames[depth].registers
        needed = live[index if depth == last else call_site(old.frames[depth + 1])]
        for number in range(10):
            if not needed >> number & 1 and exactly != Exactly.SAME:
                continue
            if not _register(was[number], has[number], names, (depth, number) in precise, exactly):
                return False
    for depth in range(last, -1, -1):
        if not _stack(old.frames[depth], new.frames[depth], names, precise, depth, exactly, privileged):
            return False
    return all(names.match(a[0], b[0]) for a, b in zip(old.references, new.references, strict=True))


def _stack(
    before: Frame,
    now: Frame,
    names: _Names,
    precise: set[tuple[int, int]],
    depth: int,
    exactly: int,
    privileged: bool,
) -> bool:
    if exactly != Exactly.COVERS and any(
        before.slot(number).bytes != now.slot(number).bytes for number in range(min(before.stack, default=0), 0)
    ):
        return False  # bytes of another kind, though they may be read as the others: Linux 6.18, ``stacksafe``
    lowest = min(now.stack, default=0)
    for number, slot in before.stack.items():
        if number < lowest and (Byte.SPILL in slot.bytes or Byte.ZERO in slot.bytes or Byte.ITERATOR in slot.bytes):
            return False  # the stack was never that deep
        other = now.stack.get(number, EMPTY)
        kept = slot.register
        if other is slot and slot.iterator is None and (kept is None or not (kept.id or kept.reference or kept.map_id)):
            continue
        if not _slot(slot, other, names, (depth, number) in precise, exactly, privileged):
            return False
    return True


def widened(old: State, new: State, precise: set[tuple[int, int]], needed: Mapping[int, Register]) -> None:
    """Give up numbers of `new` that are others than in `old`, unless a check depended on one of the two.

    Parameters
    ----------
    old, new : State
        Before an earlier and a later turn of a loop, in the same functions.
    precise : set of (int, int)
        What checks after `old` depended on.
    needed : mapping of int to Register
        Registers of `new` that checks depended on, by identity.
    """
    names = _Names()

    def changed(was: Register, now: Register, place: tuple[int, int]) -> bool:
        return (
            was.kind is Kind.NUMBER
            and now.kind is Kind.NUMBER
            and place not in precise
            and id(now) not in needed
            and not (was.same(now) and names.match(was.id, now.id))
        )

    for depth, (before, frame) in enumerate(zip(old.frames, new.frames, strict=True)):
        for number in range(10):
            if changed(before.registers[number], frame.registers[number], (depth, number)):
                frame.registers[number] = NUMBER
        for number, slot in before.stack.items():
            held = frame.stack.get(number, EMPTY)
            both = slot.spilled and held.spilled and slot.register is not None and held.register is not None
            if both and changed(slot.register or NUMBER, held.register or NUMBER, (depth, number)):
                frame.stack[number] = held._replace(register=NUMBER)


def _register(old: Register, new: Register, names: _Names, precise: bool, exactly: int) -> bool:
    if old is new and not old.id and not old.reference:
        return True
    if exactly == Exactly.SAME:
        return old.same(new) and names.match(old.id, new.id) and names.match(old.reference, new.reference)
    kind = old.kind
    if kind is Kind.NOTHING and (exactly == Exactly.COVERS or new.kind is Kind.NOTHING):
        return True
    if kind is not new.kind or old.nullable != new.nullable or old.read_only != new.read_only or old.ring != new.ring:
        return False
    if kind is Kind.NUMBER:
        if not precise and exactly == Exactly.COVERS:
            return True
        if old.id and old.delta != new.delta:
            return False
        return old.number.covers(new.number) and names.match_number(old.id, new.id)
    if kind in (Kind.MAP_KEY, Kind.MAP_VALUE, Kind.MEMORY, Kind.BUFFER):
        return (
            old.offset == new.offset
            and old.map is new.map
            and old.size == new.size
            and old.number.covers(new.number)
            and names.match(old.id, new.id)
            and names.match(old.reference, new.reference)
            and names.match(old.map_id, new.map_id)
        )
    if kind in (Kind.PACKET, Kind.PACKET_META):
        return (
            (old.range == new.range if old.range < 0 or new.range < 0 else old.range <= new.range)
            and old.offset == new.offset
            and names.match(old.id, new.id)
            and old.number.covers(new.number)
        )
    same_map = old.map is new.map  # equal ones are still two
    return same_map and old.same(new) and names.match(old.id, new.id) and names.match(old.reference, new.reference)


def _slot(old: Slot, new: Slot, names: _Names, precise: bool, exactly: int, privileged: bool) -> bool:
    if exactly == Exactly.COVERS:
        if old.spilled == 8 and old.register is not None and old.register.kind is Kind.NUMBER:
            other = _whole_number(new, privileged)
            if other is not None:
                return _register(old.register, other, names, precise, exactly)
        for was, now in zip(old.bytes, new.bytes, strict=True):
            if was == Byte.INVALID:
                continue  # it was not read
            if was == Byte.MISC:
                pointer = now == Byte.SPILL and new.register is not None and new.register.is_pointer
                if pointer or now == Byte.ITERATOR or (now == Byte.INVALID and not privileged):
                    return False
                continue  # anything may be read where anything was
            if was != now:
                return False
    if old.iterator is not None:
        return new.iterator is not None and _iterator(old.iterator, new.iterator, names)
    if old.register is None or old.bytes[0] != Byte.SPILL:
        return True
    return new.register is not None and _register(old.register, new.register, names, precise, exactly)


def _iterator(old: StackIterator, new: StackIterator, names: _Names) -> bool:
    """Whether iterators can stand for each other: how often one has given something does not matter."""
    return (old.type, old.active) == (new.type, new.active) and names.match(old.reference, new.reference)


def _whole_number(slot: Slot, privileged: bool) -> Register | None:
    """Return what a load of all of a slot gives, where that is a number that is kept, or unknown."""
    register = slot.register
    if slot.spilled == 8:
        return register if register is not None and register.kind is Kind.NUMBER else None
    unknown = slot.bytes.count(Byte.MISC) + (slot.bytes.count(Byte.INVALID) if privileged else 0)
    return NUMBER if unknown == 8 else None
