# SPDX-License-Identifier: Apache-2.0
"""Which slots of the stack are read later, and which instructions are in loops: against oracles that try everything."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.bpf import Program, ProgramType, assemble, verify
from prestocloud_sec.bpf.isa import Branch, BranchOp, Exit, Imm, Instruction, Jump, MayGoto
from prestocloud_sec.bpf.verifier.live_stack import LiveStack, called_alike, slots
from prestocloud_sec.bpf.verifier.loops import components
from prestocloud_sec.bpf.verifier.state import Frame, State

PLAIN, BRANCH, JUMP, MAY, EXIT = range(5)
SLOTS = 4


@dataclass(frozen=True)
class Flow:
    """Instructions of which only it matters where they lead to."""

    kinds: tuple[int, ...]
    targets: tuple[int | None, ...]

    @property
    def instructions(self) -> list[Instruction]:
        made: dict[int, Instruction] = {
            PLAIN: assemble("r0 = 0").instructions[0],
            BRANCH: Branch(BranchOp.EQ, 64, 0, Imm(0), 0),
            JUMP: Jump(0),
            MAY: MayGoto(0),
            EXIT: Exit(),
        }
        return [made[kind] for kind in self.kinds]

    def after(self, index: int) -> set[int]:
        kind, target = self.kinds[index], self.targets[index]
        found = {index + 1} if kind in {PLAIN, BRANCH, MAY} and index + 1 < len(self.kinds) else set()
        return found if target is None else found | {target}


@st.composite
def flows(draw: st.DrawFn, most: int = 14) -> Flow:
    count = draw(st.integers(1, most))
    kinds = tuple(draw(st.sampled_from([PLAIN, PLAIN, BRANCH, JUMP, MAY, EXIT])) for _ in range(count))
    targets = tuple(draw(st.integers(0, count - 1)) if kind in {BRANCH, JUMP, MAY} else None for kind in kinds)
    return Flow(kinds, targets)


class TestSlots:
    @pytest.mark.parametrize(
        ("start", "end", "numbers"),
        [
            (-8, 0, {-1}),
            (-1, 0, {-1}),
            (-9, -7, {-2, -1}),
            (-20, -8, {-3, -2}),
            (-512, 0, set(range(-64, 0))),
            (-512, -504, {-64}),
            (-8, -8, set()),
            (-8, -9, set()),
        ],
    )
    def test_examples(self, start: int, end: int, numbers: set[int]) -> None:
        assert slots(start, end) == sum(1 << (-number - 1) for number in numbers)

    @given(st.integers(-512, -1), st.integers(0, 512))
    def test_a_bit_for_each_slot_that_a_byte_lies_in(self, start: int, size: int) -> None:
        end = min(start + size, 0)
        assert slots(start, end) == sum(1 << (-number - 1) for number in {place // 8 for place in range(start, end)})


class TestComponents:
    @given(flows(), st.sets(st.integers(0, 13)))
    def test_instructions_of_a_loop_reach_each_other(self, flow: Flow, repeating: set[int]) -> None:
        count = len(flow.kinds)
        reached = [flow.after(index) for index in range(count)]
        for _ in range(count):
            reached = [found.union(*(reached[other] for other in found)) for found in reached]
        loop = components(flow.instructions, flow.targets, lambda index: index in repeating)
        assert [bool(number) for number in loop] == [
            index in reached[index] or index in repeating for index in range(count)
        ]
        for one in range(count):
            for other in range(count):
                together = one == other or (other in reached[one] and one in reached[other])
                if loop[one]:
                    assert (loop[one] == loop[other]) is together

    def test_calls_do_not_count(self) -> None:
        program = assemble("r6 = 3\nagain:\ncall f\nr6 += -1\nif r6 != 0 goto again\nr0 = 0\nexit\nf:\nr0 = 0\nexit")
        loop = components(program.instructions, program.targets, lambda _: False)
        assert [bool(number) for number in loop] == [False, True, True, True, False, False, False, False]

    def test_a_long_program_needs_no_stack(self) -> None:
        count = 5000
        flow = Flow((PLAIN,) * (count - 1) + (JUMP,), (None,) * (count - 1) + (0,))
        assert set(components(flow.instructions, flow.targets, lambda _: False)) == {1}


def outermost() -> State:
    return State([Frame(0, 0)])


def inner(state: State, entry: int, returns_to: int) -> State:
    return State([*state.frames, Frame(len(state.frames), entry, returns_to)])


def live_by_ways(flow: Flow, reads: list[int], writes: list[int]) -> list[int]:
    """Return what is read later before it is written, before each instruction, by going on until nothing changes."""
    live = [0] * len(reads)
    while True:
        later = [0] * len(reads)
        for index in range(len(reads)):
            for other in flow.after(index):
                later[index] |= live[other]
        now = [reads[i] | (later[i] & ~writes[i]) for i in range(len(reads))]
        if now == live:
            return live
        live = now


def check(flow: Flow, found: list[list[int]], expected: list[int], *, settled: bool) -> None:
    """Compare what is live; what was worked out too early may stay in a loop, which keeps more than need be."""
    assert [mask | wanted for (mask,), wanted in zip(found, expected, strict=True)] == [mask for (mask,) in found]
    if not settled or not any(components(flow.instructions, flow.targets, lambda _: False)):
        assert found == [[mask] for mask in expected]


class TestLive:
    @given(st.data(), st.booleans())
    def test_of_one_function(self, data: st.DataObject, settled: bool) -> None:
        flow = data.draw(flows())
        count = len(flow.kinds)
        masks = st.one_of(st.just(0), st.integers(0, (1 << SLOTS) - 1))
        reads, writes = ([data.draw(masks) for _ in range(count)] for _ in range(2))
        uses, state = LiveStack(flow.instructions, flow.targets, range(count)), outermost()
        for index in data.draw(st.permutations(range(count))):
            if reads[index]:
                uses.read(state, index, 0, reads[index])
            uses.written(state, index, 0, writes[index])
            if settled and data.draw(st.booleans()):
                uses.settle(state)
        uses.settle(state)
        found = [uses.live(state, index) for index in range(count)]
        check(flow, found, live_by_ways(flow, reads, writes), settled=settled)

    @given(st.data(), st.booleans())
    def test_what_is_not_always_written_is_not_written(self, data: st.DataObject, settled: bool) -> None:
        flow = data.draw(flows(8))
        count = len(flow.kinds)
        masks = st.integers(0, (1 << SLOTS) - 1)
        times = data.draw(st.lists(st.tuples(st.integers(0, count - 1), masks, masks), max_size=20))
        uses, state = LiveStack(flow.instructions, flow.targets, range(count)), outermost()
        reads, writes, seen = [0] * count, [0] * count, set()
        for index, read, written in times:
            uses.read(state, index, 0, read)
            uses.written(state, index, 0, written)
            reads[index] |= read
            writes[index] = writes[index] & written if index in seen else written
            seen.add(index)
            if settled and data.draw(st.booleans()):
                uses.settle(state)
        uses.settle(state)
        found = [uses.live(state, index) for index in range(count)]
        check(flow, found, live_by_ways(flow, reads, writes), settled=settled)

    def test_of_a_function_that_is_called(self) -> None:
        text = "r0 = 0\ncall f\nr0 = 1\nexit\nf:\nr0 = 2\nr0 = 3\nexit"
        program = assemble(text)
        uses = LiveStack(program.instructions, program.targets, range(7))
        caller = outermost()
        uses.read(caller, 2, 0, 0b0001)
        called = inner(caller, 4, 2)
        uses.moved()
        uses.read(called, 4, 0, 0b0110)  # of the caller's frame
        uses.read(called, 5, 1, 0b1000)  # of its own
        uses.written(called, 5, 0, 0b0001)
        uses.settle(called)
        assert uses.live(called, 4) == [0b0111, 0b1000]  # the caller goes on, whatever was written here
        assert uses.live(called, 6) == [0b0001, 0]
        uses.settle(caller)
        assert uses.live(caller, 1) == [0b0110]  # the call writes what it returns to
        assert uses.live(caller, 2) == [0b0001]

    def test_calls_from_two_places_are_apart(self) -> None:
        program = assemble("call f\ncall f\nexit\nf:\nr0 = 2\nexit")
        uses = LiveStack(program.instructions, program.targets, range(5))
        caller = outermost()
        first, second = inner(caller, 3, 1), inner(caller, 3, 2)
        assert not called_alike(first, second)
        assert called_alike(first, inner(outermost(), 3, 1))
        uses.read(first, 3, 0, 0b01)
        uses.moved()
        uses.read(second, 3, 0, 0b10)
        for state in (first, second, caller):
            uses.settle(state)
        assert uses.live(first, 3) == [0b11, 0]
        assert uses.live(second, 3) == [0b10, 0]
        assert (uses.live(caller, 0), uses.live(caller, 1)) == ([0b11], [0b10])


def straight(accesses: list[tuple[bool, int]]) -> Program:
    """Return loads (True) and stores of slots, one after the other."""
    lines = [
        f"r1 = *(u64 *)(r10 - {8 * number})" if load else f"*(u64 *)(r10 - {8 * number}) = 0"
        for load, number in accesses
    ]
    return assemble("\n".join([*lines, "r0 = 0", "exit"]), type=ProgramType.XDP)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, SLOTS)), max_size=8), st.integers(1, SLOTS))
def test_what_is_not_read_later_is_not_compared(accesses: list[tuple[bool, int]], slot: int) -> None:
    """Two ways that differ in one slot come together: the second is gone on with if the slot is read before written."""
    tail = straight(accesses).instructions
    head = assemble(
        "r7 = 0\n" * 8  # enough for a state to be kept where the ways come together
        + f"""
        r6 = r1
        call bpf_get_prandom_u32
        if r0 == 1 goto one
        *(u64 *)(r10 - {8 * slot}) = r6
        goto both
    one:
        *(u64 *)(r10 - {8 * slot}) = 0
        goto both
    both:""",
        type=ProgramType.XDP,
    ).instructions
    program = Program([*head, *tail], type=ProgramType.XDP)
    verdict = verify(program)
    assert verdict.accepted
    read = next((load for load, number in accesses if number == slot), False)
    assert verdict.processed == len(program.instructions) + (len(tail) if read else 1)
