# SPDX-License-Identifier: Apache-2.0
"""Which places of the stack are read later: others need not be compared (Linux 6.18, ``kernel/bpf/liveness.c``).

What an instruction reads and writes on the stack is only seen while states go by it, and depends on who called its
function. So marks are kept for every function *as it was called* (a `_Called`): what each instruction may read grows,
what it always writes shrinks. From them follows, as for any liveness, what is read from an instruction on before it is
written; a function's own entry tells its caller what the call reads and writes of the frames outside.

A state whose ways were all gone to their end has left all its marks, so of it this can be asked.

The marks of instructions lie in *stretches*, which ways enter at their first instruction only and leave at their last;
what is live is worked out by stretch.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from heapq import heapify, heappop, heappush

from prestocloud_sec.bpf.isa import Branch, Exit, Instruction, Jump, MayGoto
from prestocloud_sec.bpf.verifier.state import Frame, State

__all__ = ["LiveStack", "call_site", "called_alike", "slots"]

_EVERYTHING = (1 << 64) - 1


def slots(start: int, end: int) -> int:
    """Return a bit for every slot that the bytes from `start` to before `end` lie in; the highest slot has bit 0.

    >>> bin(slots(-8, 0)), bin(slots(-20, -8))
    ('0b1', '0b110')
    """
    if end <= start:
        return 0
    lowest, highest = start // 8, (end - 1) // 8
    return ((1 << (highest - lowest + 1)) - 1) << (-highest - 1)


def call_site(frame: Frame) -> int:
    """Return the instruction that called a frame's function; for a callback, the call of the helper."""
    return frame.callback.call if frame.callback is not None else frame.returns_to - 1


def called_alike(a: State, b: State) -> bool:
    """Whether two states are in the same functions, called from the same places."""
    return len(a.frames) == len(b.frames) and all(
        one.entry == other.entry and call_site(one) == call_site(other)
        for one, other in zip(a.frames, b.frames, strict=True)
    )


class _Stretches:
    """Where ways come in and go out."""

    def __init__(
        self,
        instructions: Sequence[Instruction],
        targets: Sequence[int | None],
        stops: Iterable[int],
        early_ends: Mapping[int, int],
    ) -> None:
        count = len(instructions)
        cuts = {0, *stops, *early_ends.values(), *(index + 1 for index in early_ends)}
        leaves = []
        for index, i in enumerate(instructions):
            target = targets[index]
            if isinstance(i, Exit | Jump | Branch | MayGoto):
                cuts.add(index + 1)
                leaves.append(index)
                if target is not None:
                    cuts.add(target)
        self.starts = sorted(cut for cut in cuts if 0 <= cut < count)
        at = {start: number for number, start in enumerate(self.starts)}
        leaving = set(leaves)
        self.after: list[tuple[int, ...]] = []
        self.before: list[list[int]] = [[] for _ in self.starts]
        for number in range(len(self.starts)):
            last = (self.starts[number + 1] if number + 1 < len(self.starts) else count) - 1
            i, target = instructions[last], targets[last]
            following = []
            if not (last in leaving and isinstance(i, Exit | Jump)) and last + 1 < count:
                following.append(at[last + 1])
            if isinstance(i, Jump | Branch | MayGoto) and target is not None:
                following.append(at[target])
            if last in early_ends:
                following.append(at[early_ends[last]])
            self.after.append(tuple(following))
            for other in following:
                self.before[other].append(number)

    def of(self, index: int) -> int:
        """Return the stretch that an instruction lies in."""
        return bisect_right(self.starts, index) - 1


class _Marks:
    """What is known of one frame's slots in a function."""

    __slots__ = ("always", "live", "reads", "writes")

    def __init__(self) -> None:
        self.reads: dict[int, dict[int, int]] = {}
        """By stretch and instruction: slots that it may read."""
        self.writes: dict[int, dict[int, int]] = {}
        """Slots that it writes whenever it is come by."""
        self.live: dict[int, int] = {}
        """By stretch: slots that are read from its start on before they are written."""
        self.always: dict[int, int] = {}
        """Slots that are written from its start to the end of the function on every way."""


class _Called:
    """A function as it was called; marks of its own frame, and of those outside."""

    __slots__ = ("dirty", "dropped", "frames", "seen")

    def __init__(self, depth: int) -> None:
        self.frames = [_Marks() for _ in range(depth + 1)]
        self.seen: set[int] = set()
        self.dirty: set[tuple[int, int]] = set()
        self.dropped = False


class LiveStack:
    """The marks of a whole exploration.

    Parameters
    ----------
    instructions : sequence of Instruction
    targets : sequence of int or None
        Where each may jump to.
    stops : iterable of int
        Instructions that may be asked about.
    early_ends : mapping of int to int, optional
        Instructions that may end their function, and the exit of it that they are taken to go on at.
    """

    def __init__(
        self,
        instructions: Sequence[Instruction],
        targets: Sequence[int | None],
        stops: Iterable[int],
        early_ends: Mapping[int, int] | None = None,
    ) -> None:
        self._stretches = _Stretches(instructions, targets, stops, early_ends or {})
        self._called: dict[tuple[tuple[int, int], ...], _Called] = {}
        self._current: _Called | None = None

    def moved(self) -> None:
        """Note that another function runs now, or another way is gone on with."""
        self._current = None

    def _of(self, state: State, depth: int) -> _Called:
        key = tuple((frame.entry, call_site(frame)) for frame in state.frames[: depth + 1])
        found = self._called.get(key)
        if found is None:
            found = self._called[key] = _Called(depth)
        return found

    def _now(self, state: State) -> _Called:
        if self._current is None:
            self._current = self._of(state, len(state.frames) - 1)
        return self._current

    def read(self, state: State, index: int, frame: int, mask: int) -> None:
        """Note that an instruction may read slots of a frame."""
        self._read(self._now(state), index, frame, mask)

    def _read(self, called: _Called, index: int, frame: int, mask: int) -> None:
        if not mask:
            return
        stretch = self._stretches.of(index)
        marks = called.frames[frame].reads.setdefault(stretch, {})
        before = marks.get(index, 0)
        if before | mask != before:
            marks[index] = before | mask
            called.dirty.add((frame, stretch))

    def written(self, state: State, index: int, frame: int, mask: int) -> None:
        """Note which slots of a frame an instruction has written whole, this time; none, too, is to be noted."""
        self._written(self._now(state), index, {frame: mask} if mask else {})

    def _written(self, called: _Called, index: int, masks: dict[int, int]) -> None:
        first = index not in called.seen
        if first:
            called.seen.add(index)
            if not masks:
                return
        stretch = self._stretches.of(index)
        for frame, marks in enumerate(called.frames):
            row = marks.writes.get(stretch)
            before = row.get(index, 0) if row is not None else 0
            now = masks.get(frame, 0) if first else masks.get(frame, 0) & before
            if now != before:
                marks.writes.setdefault(stretch, {})[index] = now
                called.dirty.add((frame, stretch))
                called.dropped = called.dropped or bool(before & ~now)

    # --- What follows from the marks.

    def settle(self, state: State) -> None:
        """Work out what is live in all functions that run, the innermost first."""
        self._current = None
        for depth in range(len(state.frames) - 1, -1, -1):
            called = self._of(state, depth)
            if not called.dirty:
                continue
            for frame, marks in enumerate(called.frames):
                waiting = {stretch for where, stretch in called.dirty if where == frame}
                if called.dropped:
                    waiting.update(marks.always)
                    marks.always.clear()
                self._spread(marks, waiting, outside=frame < depth)
            called.dirty.clear()
            called.dropped = False
            if depth:
                self._tell_caller(state, depth, called)

    def _spread(self, marks: _Marks, waiting: set[int], *, outside: bool) -> None:
        """Carry what changed in some stretches to those before them; what is always written matters to callers only."""
        after, before = self._stretches.after, self._stretches.before
        live, always = marks.live, marks.always
        heap = [-stretch for stretch in waiting]  # the last ones first, as changes go backwards
        heapify(heap)
        while heap:
            stretch = -heappop(heap)
            waiting.discard(stretch)
            following = after[stretch]
            read, kept = 0, _EVERYTHING if following else 0
            for other in following:
                read |= live.get(other, 0)
                if outside:
                    kept &= always.get(other, 0)
            reads, writes = marks.reads.get(stretch), marks.writes.get(stretch)
            if reads or writes:
                reads, writes = reads or {}, writes or {}
                for index in sorted(reads.keys() | writes.keys(), reverse=True):
                    mask = writes.get(index, 0)
                    kept |= mask
                    read = read & ~mask | reads.get(index, 0)
            if live.get(stretch, 0) != read or (outside and always.get(stretch, 0) != kept):
                live[stretch] = read
                if outside:
                    always[stretch] = kept
                for other in before[stretch]:
                    if other not in waiting:
                        waiting.add(other)
                        heappush(heap, -other)

    def _tell_caller(self, state: State, depth: int, called: _Called) -> None:
        frame = state.frames[depth]
        site, entry = call_site(frame), self._stretches.of(frame.entry)
        caller = self._of(state, depth - 1)
        for outer in range(depth):
            self._read(caller, site, outer, called.frames[outer].live.get(entry, 0))
        self._written(caller, site, {outer: called.frames[outer].always.get(entry, 0) for outer in range(depth)})

    def live(self, state: State, index: int) -> list[int]:
        """Return, for each frame of a state before an instruction, which slots may still be read, as bits."""
        deepest = len(state.frames) - 1
        innermost, here = self._of(state, deepest), self._stretches.of(index)
        found = [marks.live.get(here, 0) for marks in innermost.frames]
        for depth in range(deepest):
            called, inner = self._of(state, depth), state.frames[depth + 1]
            back = call_site(inner) if inner.callback is not None else inner.returns_to
            stretch = self._stretches.of(back)
            for frame in range(depth + 1):
                found[frame] |= called.frames[frame].live.get(stretch, 0)
        return found
