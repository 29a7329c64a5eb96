# SPDX-License-Identifier: Apache-2.0
"""Kernel functions by name: the iterators on every engine against what they must give, and against the kernel's own."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from prestocloud_sec.arena import PacketArena
from prestocloud_sec.bpf import Builder, Program, ProgramType, assemble
from prestocloud_sec.bpf.errors import BpfMisuseError, DecodeError
from prestocloud_sec.bpf.helpers.ids import KfuncId
from prestocloud_sec.bpf.helpers.registry import implementations
from prestocloud_sec.bpf.linux import KernelMap, KernelProgram, available
from prestocloud_sec.bpf.maps.array import ArrayMap
from prestocloud_sec.bpf.maps.kinds import MapFlag
from prestocloud_sec.bpf.maps.progarray import ProgArray
from prestocloud_sec.bpf.vm import FaultKind
from prestocloud_sec.bpf.vm.layout import PACKET_DATA, stack_top

needs_kernel = pytest.mark.skipif(not available(), reason="kernel lacks bpf(2) for this user")

ENGINES = ("reference", "interpreter", "compiled")
TYPES = (ProgramType.XDP, ProgramType.SOCKET_FILTER, ProgramType.SCHED_CLS)
U32, U64 = (1 << 32) - 1, (1 << 64) - 1
MAX_LOOPS = 8 * 1024 * 1024
EINVAL, E2BIG, EFAULT, ENOMEM = (1 << 32) - 22, (1 << 32) - 7, (1 << 32) - 14, (1 << 32) - 12
TURNS = 40
s32 = st.sampled_from([-(1 << 31), -(1 << 31) + 1, -1, 0, 1, (1 << 31) - 2, (1 << 31) - 1]) | st.integers(
    -(1 << 31), (1 << 31) - 1
)


@st.composite
def spans(draw: st.DrawFn, longest: int = 2 * TURNS) -> tuple[int, int]:
    """Make starts and ends of all kinds, most of them near each other."""
    start = draw(s32)
    near = st.integers(max(start - 2, -(1 << 31)), min(start + longest, (1 << 31) - 1))
    edge = [end for end in (start + MAX_LOOPS, start + MAX_LOOPS + 1) if end < 1 << 31] or [start]
    return start, draw(near | s32 | st.sampled_from(edge))


def outcome(start: int, end: int) -> tuple[int, range]:
    """Return what `bpf_iter_num_new` does, and which numbers follow."""
    if start > end:
        return EINVAL, range(0)
    return (E2BIG, range(0)) if end - start > MAX_LOOPS else (0, range(start, end))


def folded(first: int, values: Iterator[int]) -> int:
    """Return what programs here make of the numbers that they are given."""
    for value in values:
        first = (first * 31 + value) & U64
    return first


def counting(start: int, end: int, high: int = 0, turns: int = 0) -> str:
    """Return a program over the numbers from start to end; of as many turns at most, if given."""
    return f"""
        r7 = 0
        r1 = r10
        r1 += -8
        r2 = {high << 32 | start & U32} ll
        r3 = {(high ^ U32) << 32 | end & U32} ll
        call kfunc bpf_iter_num_new
        r6 = r0
    again:
        r1 = r10
        r1 += -8
        call kfunc bpf_iter_num_next
        if r0 == 0 goto done
        r0 = *(u32 *)(r0 + 0)
        r6 *= 31
        r6 += r0
        {f"r7 += 1{chr(10)}if r7 >= {turns} goto done" if turns else ""}
        goto again
    done:
        r1 = r10
        r1 += -8
        call kfunc bpf_iter_num_destroy
        r0 = r6
        r0 >>= 32
        r0 ^= r6
        exit"""


def on_all(program: Program, packet: bytes = b"", **options: Any) -> Any:
    """Run a program on every engine; return the result they agree on."""
    results = [program.run(packet, engine=engine, **options) for engine in ENGINES]
    for result in results[1:]:
        assert (result.value, result.fault, result.packet) == (results[0].value, results[0].fault, results[0].packet)
        assert result.charged == results[0].charged
    return results[0]


def numbers_of(start: int, end: int, turns: int) -> int:
    error, values = outcome(start, end)
    r6 = folded(error, (value & U32 for value in values[:turns]))
    return r6 ^ r6 >> 32


class TestNumbers:
    @given(spans(), st.sampled_from([0, 1, U32]))
    @example((-(1 << 31), -(1 << 31) + 3), 0)
    @example(((1 << 31) - 3, (1 << 31) - 1), 0)
    @example((5, 5), 0)
    def test_every_engine_counts(self, span: tuple[int, int], high: int) -> None:
        program = assemble(counting(*span, high=high, turns=TURNS))
        assert on_all(program).value == numbers_of(*span, TURNS)

    @needs_kernel
    @settings(max_examples=40)
    @given(spans(200), st.sampled_from(TYPES))
    @example((-(1 << 31), -(1 << 31) + 3), ProgramType.XDP)
    @example(((1 << 31) - 3, (1 << 31) - 1), ProgramType.XDP)
    @example((0, MAX_LOOPS + 1), ProgramType.XDP)
    def test_the_kernel_counts_the_same(self, span: tuple[int, int], type_: ProgramType) -> None:
        if len(outcome(*span)[1]) > 1000:  # a million turns take long
            span = (span[0], span[0] + 1000)
        program = assemble(counting(*span), type=type_)
        with KernelProgram.load(program) as loaded:
            assert loaded.test_run(bytes(64)).value == numbers_of(*span, 1000) & U32
        assert on_all(program, bytes(64)).retval == numbers_of(*span, 1000) & U32

    def test_a_long_one_ends(self) -> None:
        """To the last number of the longest that there can be."""
        text = counting(-5, MAX_LOOPS - 5).replace("r6 *= 31", "r6 = 0")
        assert assemble(text).run(engine="compiled").value == MAX_LOOPS - 6

    def test_what_was_destroyed_or_used_up_has_nothing(self) -> None:
        step = "r1 = r10\nr1 += -8\ncall kfunc bpf_iter_num_{}\n"
        new = "r1 = r10\nr1 += -8\nr2 = 3\nr3 = 4\ncall kfunc bpf_iter_num_new\n"
        for steps in (["next", "next", "next"], ["destroy", "next"], ["next", "next", "destroy", "destroy", "next"]):
            program = assemble(new + "".join(map(step.format, steps)) + "r1 = *(u64 *)(r10 - 8)\nr0 |= r1\nexit")
            assert on_all(program).value == 0

    def test_the_number_is_in_the_iterator(self) -> None:
        new = "r1 = r10\nr1 += -8\nr2 = 3\nr3 = 5\ncall kfunc bpf_iter_num_new\nr1 = r10\nr1 += -8\n"
        assert on_all(assemble(new + "call kfunc bpf_iter_num_next\nexit")).value == stack_top(0) - 8

    @given(st.binary(min_size=8, max_size=8), st.sampled_from(["next", "destroy"]), st.integers(0, 3))
    def test_memory_that_never_was_one(self, data: bytes, what: str, shift: int) -> None:
        """The packet, at any alignment: what is there is taken for the two numbers."""
        packet = bytes(shift) + data + b"end"
        text = f"r1 += {shift}\ncall kfunc bpf_iter_num_{what}\nexit"
        last, end = struct.unpack("<ii", data)
        following = (last + 1 + (1 << 31)) % (1 << 32) - (1 << 31)
        more = what == "next" and following < end
        result = on_all(assemble(text), packet)
        assert result.value == (PACKET_DATA + shift if more else 0)
        assert result.packet[shift : shift + 8] == (struct.pack("<ii", following, end) if more else bytes(8))
        assert result.packet[shift + 8 :] == b"end"

    @needs_kernel
    def test_a_half_of_r0_is_zero(self) -> None:
        program = assemble(counting(5, 3).replace("r6 = r0", "r6 = r0\nr6 >>= 32\nr6 += 7"), type=ProgramType.XDP)
        with KernelProgram.load(program) as loaded:
            assert loaded.test_run(bytes(64)).value == 7
        assert on_all(program, bytes(64)).value == 7


def going_through(words: list[int], count: int, size: int) -> str:
    """Return a program over the bits of words that lie on its stack, of which it says that there are `count`."""
    stores = [
        f"r1 = {word} ll\n*(u64 *)(r10 - {size - 8 * place}) = r1" for place, word in enumerate([*words, *[0] * 64])
    ]
    return f"""
        {chr(10).join(stores[: (size - 16) // 8])}
        r1 = r10
        r1 += -16
        r2 = r10
        r2 += -{size}
        r3 = {count & U64} ll
        call kfunc bpf_iter_bits_new
        r6 = r0
    again:
        r1 = r10
        r1 += -16
        call kfunc bpf_iter_bits_next
        if r0 == 0 goto done
        r0 = *(u32 *)(r0 + 0)
        r6 *= 31
        r6 += r0
        goto again
    done:
        r1 = r10
        r1 += -16
        call kfunc bpf_iter_bits_destroy
        r0 = r6
        r0 >>= 32
        r0 ^= r6
        exit"""


def bits_of(words: list[int], count: int) -> int:
    count &= U32
    error = EINVAL if not count else E2BIG if count > 511 else 0
    used = [] if error else words[:count]
    found = (64 * place + bit for place, word in enumerate(used) for bit in range(64) if word >> bit & 1)
    r6 = folded(error, found)
    return r6 ^ r6 >> 32


words64 = st.sampled_from([0, 1, 1 << 63, U64, 0xFF00]) | st.integers(0, U64)
counts = st.integers(0, 4) | st.sampled_from([512, 1 << 29, U32, 1 << 32, (1 << 32) + 1])


class TestBits:
    @given(st.lists(words64, min_size=4, max_size=4), counts)
    def test_every_engine_goes_through_them(self, words: list[int], count: int) -> None:
        assert on_all(assemble(going_through(words, count, 48))).value == bits_of(words, count)

    @needs_kernel
    @settings(max_examples=40)
    @given(st.lists(words64, min_size=4, max_size=4), counts, st.sampled_from(TYPES))
    def test_the_kernel_does_the_same(self, words: list[int], count: int, type_: ProgramType) -> None:
        program = assemble(going_through(words, count, 48), type=type_)
        with KernelProgram.load(program) as loaded:
            assert loaded.test_run(bytes(64)).value == bits_of(words, count) & U32
        assert on_all(program, bytes(64)).retval == bits_of(words, count) & U32

    @pytest.mark.parametrize("count", [1, 2, 510, 511, 512])
    def test_as_many_as_there_can_be(self, count: int) -> None:
        """The first word of a map's value, the last that can be, and none beyond."""
        text = f"""
            r1 = map[words]
            r2 = r10
            r2 += -8
            *(u64 *)(r10 - 8) = 0
            call bpf_map_lookup_elem
            if r0 == 0 goto none
            r2 = r0
        {going_through([], count, 16).replace("r2 = r10", "").replace("r2 += -16", "")}
        none:
            r0 = 0
            exit"""
        words = [1 << 63, *[0] * 509, 1 << 5, 1]
        value = struct.pack("<512Q", *words)
        program = assemble(text, type=ProgramType.XDP)
        ours = ArrayMap(4096, 1)
        ours[0] = value
        assert on_all(program, bytes(64), maps={"words": ours}).value == bits_of(words, count)
        if available():
            with KernelMap.like(ours) as theirs:
                theirs.update(bytes(4), value)
                with KernelProgram.load(program, maps={"words": theirs}) as loaded:
                    assert loaded.test_run(bytes(64)).value == bits_of(words, count) & U32

    @needs_kernel
    def test_where_the_number_is(self) -> None:
        text = going_through([4, 0], 2, 32).replace("r0 = *(u32 *)(r0 + 0)", "r7 = r10\nr0 -= r7")
        program = assemble(text, type=ProgramType.XDP)
        with KernelProgram.load(program) as loaded:
            assert loaded.test_run(bytes(64)).value == on_all(program, bytes(64)).retval

    def test_words_that_cannot_be_read(self) -> None:
        for place, error in (("r2 = 0", EINVAL), ("r2 = 1", EFAULT), ("r2 = r10", EFAULT), ("r2 += -8", EFAULT)):
            text = f"r2 = r10\n{place}\nr1 = r10\nr1 += -16\nr3 = 2\ncall kfunc bpf_iter_bits_new\n"
            rest = "r6 = r0\nr1 = r10\nr1 += -16\ncall kfunc bpf_iter_bits_next\nr0 += r6\nexit"
            assert on_all(assemble(text + rest)).value == error

    @given(st.integers(-3, 66) | s32, st.integers(-3, 66) | s32, words64)
    def test_memory_that_never_was_one(self, count: int, last: int, kept: int) -> None:
        """64 bits are their own word; of others, somebody must have made them."""
        packet = struct.pack("<Qii", kept, count, last)
        for what in ("next", "destroy"):
            result = on_all(assemble(f"call kfunc bpf_iter_bits_{what}\nexit"), packet)
            if count != 64 and (count > 64 if what == "destroy" else count and last < count):
                assert result.fault.kind is FaultKind.ARGUMENT
                assert "no iterator of bits" in result.fault.message
                continue
            found = [bit for bit in range(64) if kept >> bit & 1 and bit > last] if last >= -1 else []
            more = what == "next" and count == 64 and bool(found)
            assert result.value == (PACKET_DATA + 12 if more else 0)
            ended = what == "next" and count == 64 > last
            now = found[0] if more else 64 if ended else last
            assert result.packet == struct.pack("<Qii", kept, count, now)

    def test_destroyed_twice(self) -> None:
        again = "r1 = r10\nr1 += -16\ncall kfunc bpf_iter_bits_destroy\nr0 = r6\n"
        text = going_through([1, 2], 2, 48).replace("r0 = r6\n", again)
        assert on_all(assemble(text)).fault.kind is FaultKind.ARGUMENT

    FORGED = """
        r0 = *(u8 *)(r1 + 0)
        if r0 != 0 goto forge
        r1 = r10
        r1 += -16
        r2 = r10
        r2 += -32
        r3 = 2
        call kfunc bpf_iter_bits_new
        r0 = *(u64 *)(r10 - 16)
        exit
    forge:
        *(u64 *)(r10 - 16) = r0
        *(u32 *)(r10 - 8) = 128
        *(u32 *)(r10 - 4) = -1
        r1 = r10
        r1 += -16
        call kfunc bpf_iter_bits_next
        exit"""
    """Makes an iterator and keeps it; or looks for one under a handle that another run was given."""

    @pytest.mark.parametrize("engine", ENGINES)
    def test_nothing_is_kept_for_the_next_run(self, engine: str) -> None:
        program = assemble(self.FORGED)
        assert program.run(b"\0", engine=engine).value == 1
        assert program.run(b"\0", engine=engine).value == 1
        fault = program.run(b"\1", engine=engine).fault
        assert fault is not None
        assert fault.kind is FaultKind.ARGUMENT

    @pytest.mark.parametrize("engine", ENGINES)
    def test_nor_for_the_next_packet(self, engine: str) -> None:
        batch = assemble(self.FORGED).run_batch(PacketArena.pack([b"\0", b"\1", b"\0"]), engine=engine)
        assert batch.values.tolist() == [1, 0, 1]
        assert batch.faults.tolist() == [0, FaultKind.ARGUMENT, 0]

    def test_no_more_are_kept_than_a_stack_has_room_for(self) -> None:
        text = """
            r7 = 0
        more:
            r1 = r10
            r1 += -16
            r2 = r10
            r2 += -32
            r3 = 2
            call kfunc bpf_iter_bits_new
            r7 += 1
            if r0 == 0 goto more
            r0 <<= 32
            r0 |= r7
            exit"""
        assert on_all(assemble(text)).value == ENOMEM << 32 | 513


@pytest.mark.parametrize("name", [number.name.lower() for number in KfuncId])
@pytest.mark.parametrize(
    "place", ["r1 = 0", "r1 = r10", "r1 = r10\nr1 += -4", "r1 = -8", "r1 = map[read]\nr1 += 0", "r1 = map[read][0]+0"]
)
def test_an_iterator_where_nothing_may_be_written(name: str, place: str) -> None:
    program = assemble(f"{place}\nr2 = r10\nr2 += -8\nr3 = 1\ncall kfunc {name}\nexit")
    size = 16 if "bits" in name else 8
    fault = on_all(program, maps={"read": ArrayMap(16, 1, MapFlag.RDONLY_PROG)} if "map" in place else None).fault
    assert (fault.kind, fault.size) == (FaultKind.WRITE, size)
    assert isinstance(program.instructions[fault.instruction], type(assemble("call kfunc a\nexit").instructions[0]))


def test_all_that_have_a_number_work() -> None:
    assert implementations().keys() >= set(KfuncId)


@given(st.lists(spans(), min_size=1, max_size=5), st.sampled_from(ENGINES))
def test_batches(given_spans: list[tuple[int, int]], engine: str) -> None:
    """From the packet, so that every run counts otherwise."""
    text = counting(0, 0, turns=TURNS).replace("r2 = 0 ll", "r2 = *(u32 *)(r1 + 0)")
    text = text.replace(f"r3 = {U32 << 32} ll", "r3 = *(u32 *)(r1 + 4)").replace("r1 = r10\n        r1 += -8\n", "", 1)
    text = text.replace("call kfunc bpf_iter_num_new", "r1 = r10\nr1 += -8\ncall kfunc bpf_iter_num_new")
    packets = PacketArena.pack([struct.pack("<ii", *span) for span in given_spans])
    batch = assemble(text).run_batch(packets, engine=engine)
    assert batch.values.tolist() == [numbers_of(*span, TURNS) for span in given_spans]
    assert not batch.changed.any()


class TestNames:
    def test_programs_of_the_same_bytes_call_what_they_name(self) -> None:
        """Nothing that is kept by bytes, in memory or on disk, may be mixed up."""
        text = "r1 = r10\nr1 += -8\n*(u64 *)(r10 - 8) = 7\nr2 = 1\nr3 = 2\ncall kfunc {}\nr0 = *(u64 *)(r10 - 8)\nexit"
        expected = {"bpf_iter_num_new": 2 << 32, "bpf_iter_num_next": 0, "bpf_iter_num_destroy": 0, "mine": 7}
        programs = {name: assemble(text.format(name)) for name in expected}
        assert len({program.to_bytes() for program in programs.values()}) == 1
        for _ in range(2):
            for name, value in expected.items():
                helpers = {"mine": lambda *_: 0} if name == "mine" else None
                assert on_all(programs[name], helpers=helpers).value == value

    def test_a_trace_says_the_name(self) -> None:
        trace = assemble(counting(1, 2)).run(trace=True).trace
        assert trace is not None
        told = [(step.text, dict(step.registers)) for step in trace.steps if "kfunc" in step.text]
        assert [text for text, _ in told[:2]] == ["call kfunc bpf_iter_num_new", "call kfunc bpf_iter_num_next"]
        assert told[0][1][0] == 0
        assert told[1][1][0] == stack_top(0) - 8

    def test_functions_of_a_user(self) -> None:
        program = assemble("r1 = 5\nr2 = 6\ncall kfunc mine\nr6 = r0\ncall kfunc yours\nr0 += r6\nexit")
        helpers = {"mine": lambda a, b, *_: a * b, "yours": lambda *_: 12}
        assert on_all(program, helpers=helpers).value == 42
        assert program.run_batch(PacketArena.pack([b"a", b"b"]), helpers=helpers).values.tolist() == [42, 42]

    def test_others_for_those_that_are_here(self) -> None:
        helpers = {"bpf_iter_num_new": lambda *_: 9, "bpf_iter_num_next": lambda *_: 0}
        program = assemble("r1 = 0\ncall kfunc bpf_iter_num_new\nexit")
        assert on_all(program, helpers=helpers).value == 9

    def test_one_that_fails(self) -> None:
        fault = on_all(assemble("r0 = 0\ncall kfunc mine\nexit"), helpers={"mine": lambda *_: 1 // 0}).fault
        assert (fault.kind, fault.instruction) == (FaultKind.HELPER, 1)
        assert "kernel function 'mine' raised ZeroDivisionError" in fault.message

    def test_one_that_nobody_gave(self) -> None:
        with pytest.raises(DecodeError, match=r"instruction 1: there is no kernel function 'mine' here") as refused:
            assemble("r0 = 0\ncall kfunc mine\nexit").run()
        assert "bpf_iter_num_new" in str(refused.value.expected)
        assert "helpers=" in str(refused.value.hint)

    def test_one_without_a_name(self) -> None:
        with pytest.raises(DecodeError, match="it calls a kernel function by number"):
            assemble("r0 = 0\ncall kfunc 7\nexit").run()

    def test_a_name_that_the_program_does_not_call(self) -> None:
        with pytest.raises(BpfMisuseError, match="no helper 'mine'"):
            assemble("exit").run(helpers={"mine": lambda *_: 0})

    def test_after_a_tail_call(self) -> None:
        programs = ProgArray(2)
        programs[0] = assemble(counting(2, 6))
        caller = assemble("r1 = 0\nr2 = map[programs]\nr3 = 0\ncall bpf_tail_call\nr0 = 0\nexit")
        assert on_all(caller, maps={"programs": programs}).value == numbers_of(2, 6, TURNS)
        programs[1] = assemble("call kfunc mine\nexit")
        with pytest.raises(DecodeError, match="no kernel function 'mine'"):
            caller.run(maps={"programs": programs})


class TestBuilder:
    def test_by_name(self) -> None:
        b = Builder()
        b.call_kfunc("bpf_iter_num_new")
        b.call_kfunc(7, 2)
        b.exit()
        program = b.program()
        assert program.symbols.kfuncs == {0: "bpf_iter_num_new"}
        assert program == assemble("call kfunc bpf_iter_num_new\ncall kfunc 7, 2\nexit")

    @pytest.mark.parametrize("arguments", [("r1",), ("two words",), ("name", 1), ("name", None), (None,)])
    def test_what_is_no_name(self, arguments: tuple[Any, ...]) -> None:
        with pytest.raises(BpfMisuseError) as refused:
            Builder().call_kfunc(*arguments)
        assert refused.value.expected
