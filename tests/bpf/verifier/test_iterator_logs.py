# SPDX-License-Identifier: Apache-2.0
"""Logs of programs with iterators: lines by hand, and whole logs beside the kernel's."""

from __future__ import annotations

import re

import pytest

from prestocloud_sec.bpf import assemble, verify
from prestocloud_sec.bpf.linux.kernel_types import kfunc_id
from tests.bpf.linux.kernel import as_recorded, needs_kernel
from tests.bpf.verifier.answers import XDP, asked, judged, plain
from tests.bpf.verifier.iterators import KFUNCS, SUM, numbers_for
from tests.bpf.verifier.test_iterators import ACCEPTED, CASES


class TestLog:
    def test_lines(self) -> None:
        """As Linux 6.18.44 writes them, but for the functions' numbers."""
        lines = judged(assemble(SUM, type=XDP)).log(2).splitlines()
        held = "fp-8=iter_num(ref_id=1,state={},depth={}) refs=1"
        for line in (
            "  1   8: .1....6... (85) call bpf_iter_num_next",
            f"4: (85) call bpf_iter_num_new         ; R0=scalar() {held.format('active', 0)}",
            "5: (b7) r6 = 0                        ; R6=0 refs=1",
            f"8: (85) call bpf_iter_num_next        ; R0=0 {held.format('drained', 0)}",
            f"from 8 to 9: R0=rdonly_mem(id=2,ref_obj_id=1,sz=4) R6=0 R10=fp0 {held.format('active', 1)}",
            "15: (85) call bpf_iter_num_destroy    ;",
            "8: safe",
        ):
            assert line in lines

    @as_recorded
    @needs_kernel
    @pytest.mark.parametrize("level", [1, 2])
    @pytest.mark.parametrize(
        "text",
        [
            SUM,
            ACCEPTED["two within each other"],
            ACCEPTED["a function asks the caller's"],
            ACCEPTED["an array filled by a count with an end"],
            CASES["a byte written over"].text,
            CASES["what it gave is written"].text,
        ],
        ids=["sum", "nested", "function", "array", "written over", "read only"],
    )
    def test_whole_logs(self, text: str, level: int) -> None:
        numbers = {name: kfunc_id(name) for name in KFUNCS}
        program = assemble(numbers_for(text, numbers), type=XDP)
        verdict = verify(program, kfuncs={number: name for name, number in numbers.items()})
        ours, theirs = (plain(_unmeasured(log)) for log in (verdict.log(level), asked(program, level).log))
        if verdict.accepted:
            assert ours == theirs
        else:  # the kernel has more lines of the reason, and a last line of its own
            assert ours[:-2] == theirs[: len(ours) - 2]
            assert verdict.message.rpartition("; ")[2] in theirs


def _unmeasured(log: str) -> str:
    """Return a log without ``peak_states``, in which the kernel counts the turns of loops that it looks back over."""
    return re.sub(r"peak_states \d+", "peak_states N", log)
