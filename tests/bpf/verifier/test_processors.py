# SPDX-License-Identifier: Apache-2.0
"""How many processors a machine has bounds what ``bpf_get_smp_processor_id`` gives; by hand, and as the kernel does."""

from __future__ import annotations

import pytest

from prestocloud_sec.bpf import assemble, linux, verify
from prestocloud_sec.bpf.verifier.rejection import Rule
from tests.bpf.linux.kernel import as_recorded, needs_kernel
from tests.bpf.verifier.answers import XDP, asked


def above(most: int) -> str:
    """Return a program that reads what was never written, if its processor has a number above that."""
    return f"call bpf_get_smp_processor_id\nif r0 > {most} goto bad\nr0 = 0\nexit\nbad:\nr0 = r9\nexit"


@pytest.mark.parametrize(
    ("processors", "most", "accepted"),
    [(2, 1, True), (2, 0, False), (2, 5, True), (1, 0, True), (8, 7, True), (8, 6, False), (None, 1, False)],
)
def test_verdicts(processors: int | None, most: int, *, accepted: bool) -> None:
    verdict = verify(assemble(above(most), type=XDP), processors=processors)
    assert verdict.accepted is accepted
    assert verdict.reason is (None if accepted else Rule.UNINITIALISED)


def test_other_helpers_give_what_they_gave() -> None:
    text = above(1).replace("bpf_get_smp_processor_id", "bpf_get_prandom_u32")
    assert verify(assemble(text, type=XDP), processors=2).reason is Rule.UNINITIALISED


@as_recorded
@needs_kernel
@pytest.mark.parametrize("more", [-1, 0, 1])
def test_the_kernel_says_the_same(more: int) -> None:
    """Of its own machine, for which it was told how many there can be."""
    processors = linux.possible_cpus()
    most = processors - 1 + more
    if most < 0:
        pytest.skip("kernel lacks a second processor")
    program = assemble(above(most), type=XDP)
    verdict, answer = verify(program, processors=processors), asked(program)
    assert verdict.accepted is answer.accepted is (more >= 0)
    assert verdict.errno == answer.errno
    if answer.accepted:
        assert (verdict.processed, verdict.states) == answer.counts
