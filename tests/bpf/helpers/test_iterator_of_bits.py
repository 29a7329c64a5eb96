# SPDX-License-Identifier: Apache-2.0
"""The iterator over bits: on every engine against what it must give, and against the kernel's own."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestocloud_sec.arena import PacketArena
from prestocloud_sec.bpf import ProgramType, assemble
from prestocloud_sec.bpf.linux import KernelMap, KernelProgram, available
from prestocloud_sec.bpf.maps.array import ArrayMap
from prestocloud_sec.bpf.vm import FaultKind
from prestocloud_sec.bpf.vm.layout import PACKET_DATA
from tests.bpf.helpers.iterations import E2BIG, EFAULT, EINVAL, ENOMEM, TYPES, U32, U64, folded, on_all, s32
from tests.bpf.linux.kernel import needs_kernel
from tests.bpf.vm.engines import ENGINES


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
    """Return what such a program gives."""
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
