# SPDX-License-Identifier: Apache-2.0
"""The iterator over numbers: on every engine against what it must give, and against the kernel's own."""

from __future__ import annotations

import struct

from hypothesis import example, given, settings
from hypothesis import strategies as st

from prestocloud_sec.arena import PacketArena
from prestocloud_sec.bpf import ProgramType, assemble
from prestocloud_sec.bpf.linux import KernelProgram
from prestocloud_sec.bpf.vm.layout import PACKET_DATA, stack_top
from tests.bpf.helpers.iterations import MAX_LOOPS, TURNS, TYPES, U32, counting, numbers_of, on_all, outcome, spans
from tests.bpf.linux.kernel import needs_kernel
from tests.bpf.vm.engines import ENGINES


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
