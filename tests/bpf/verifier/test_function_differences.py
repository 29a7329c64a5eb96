# SPDX-License-Identifier: Apache-2.0
"""Functions: where ours and the kernel's verdicts differ, and what cannot be judged; see docs/bpf/verifier.md."""

from __future__ import annotations

import pytest

from prestocloud_sec.bpf import ProgramType
from prestocloud_sec.bpf.verifier.rejection import Rule
from tests.bpf.linux.kernel import as_recorded, needs_kernel
from tests.bpf.verifier.answers import Case, asked, judged
from tests.bpf.verifier.functions import BAD, END, PAIR, SKB, WORD, called, case
from tests.bpf.verifier.test_function_ends import PRECISE

NONNULL = "int f(struct pair *p __arg_nonnull)"


@as_recorded
@needs_kernel
class TestTheKernelAccepts:
    """Calls that are refused here: the functions go wrong when they run, or cannot be judged."""

    def differ(self, case: Case, says: str, rule: Rule) -> None:
        verdict, answer = judged(case.program), asked(case.program)
        assert (verdict.accepted, verdict.errno, verdict.reason) == (False, "EINVAL", rule)
        assert verdict.message == says + BAD
        assert answer.accepted, answer.log

    def test_a_plain_0_for_memory_that_is_there(self) -> None:
        """Linux 6.18.44 looks only for pointers that may be null; the function then reads at address 8."""
        program = case(f"r1 = 0\ncall f\n{END}", "r0 = *(u64 *)(r1 + 8)\nexit", NONNULL)
        self.differ(program, "arg#0 is expected to be non-NULL", Rule.NULL)

    def test_a_packet_that_may_only_be_read(self) -> None:
        """Linux 6.18.44 asks of a pointer into a packet only whether it may be read; the function may write."""
        main = (
            "r2 = *(u32 *)(r1 + 76)\nr3 = *(u32 *)(r1 + 80)\nr4 = r2\nr4 += 16\nr0 = 0\nif r4 > r3 goto out\nr1 = r2\n"
            f"call f\nout:\n{END}"
        )
        program = case(main, "r0 = 1\n*(u8 *)(r1 + 0) = 1\nexit", NONNULL, kind=ProgramType.CGROUP_SKB)
        self.differ(program, "cannot write into packet", Rule.READ_ONLY)

    def test_memory_that_may_not_be_there(self) -> None:
        self.differ(called(PAIR, "int f(void *p __arg_untrusted)"), "arg#0 is tagged as untrusted", Rule.ARGUMENT)


@pytest.mark.parametrize("tag", ["trusted", "untrusted", "arena"])
@pytest.mark.parametrize("what", ["struct pair *p", "void *p"])
def test_parameters_that_cannot_be_judged(tag: str, what: str) -> None:
    verdict = judged(called(PAIR, f"int f({what} __arg_{tag})").program)
    assert (verdict.errno, verdict.reason) == ("EINVAL", Rule.ARGUMENT)
    assert f"arg#0 is tagged as {tag}" in verdict.message
    assert "static" in verdict.hint


def test_dynptrs_cannot_be_judged() -> None:
    verdict = judged(called(PAIR, "int f(struct bpf_dynptr { u64 a, b; } *p)").program)
    assert (verdict.errno, verdict.reason) == ("EINVAL", Rule.ARGUMENT)
    assert "arg#0 is a dynptr" in verdict.message


@as_recorded
@needs_kernel
def test_the_kernel_foresees_32_bits_of_a_pointer() -> None:
    """It takes ``w1 == 0`` for false where r1 is a pointer: the low half of one may be 0, so here both ways go."""
    program = case(f"{PAIR}call f\n{END}", "r0 = 0\nif w1 == 0 goto out\nr0 = 1\nout:\nexit", NONNULL).program
    verdict, answer = judged(program), asked(program)
    assert verdict.accepted
    assert answer.accepted
    assert verdict.processed > answer.counts[0]


STOPS = {
    "a load of a packet's word, and a number of the caller's": case(
        PRECISE, f"{WORD}exit", "static int f(struct __sk_buff *s)", kind=SKB
    ),
    "a load of a packet's word in a function that a helper calls": case(
        f"*(u64 *)(r10 - 8) = r1\nr1 = 4\nr2 = f ll\nr3 = r10\nr3 += -8\nr4 = 0\ncall bpf_loop\n{END}",
        f"r6 = *(u64 *)(r2 + 0)\nr0 = *(u8 *)skb[0]\n{END}",
        "static int f(int n, void *c)",
        kind=SKB,
    ),
    "a function behind another, of which only the address is taken": Case(
        f"r2 = 1\ncall g\nr2 = f ll\nexit\ng:\nr0 = r2\nexit\nf:\n{END}"
    ),
}
"""Programs that Linux 6.18.44 stops over with a bug of its own."""


@pytest.mark.parametrize("name", STOPS)
def test_what_the_kernel_stops_over_is_judged(name: str) -> None:
    assert judged(STOPS[name].program)


@as_recorded
@needs_kernel
@pytest.mark.parametrize("name", STOPS)
def test_the_kernel_stops(name: str) -> None:
    answer = asked(STOPS[name].program)
    assert (answer.accepted, answer.errno) == (False, "EFAULT")
    assert "verifier bug" in answer.log
