# SPDX-License-Identifier: Apache-2.0
"""Logs of programs with functions that are judged by themselves: lines by hand, and whole logs beside the kernel's."""

from __future__ import annotations

import pytest

from tests.bpf.linux.kernel import as_recorded, needs_kernel
from tests.bpf.verifier import test_function_calls, test_function_ends, test_function_parameters
from tests.bpf.verifier.answers import asked, judged, plain
from tests.bpf.verifier.functions import GLOBAL

CASES = test_function_parameters.CASES | test_function_calls.CASES | test_function_ends.CASES


class TestLog:
    def test_lines(self) -> None:
        """As Linux 6.18.44 writes them."""
        log = judged(GLOBAL.program).log(2)
        assert "3: (85) call pc+7\nFunc#1 ('f') is global and assumed valid.\n4: R0=scalar()\n" in log
        assert "Validating f() func#1...\n11: R1=mem_or_null(id=2,sz=16) R2=scalar() R10=fp0\n" in log
        assert "exit\nFunc#1 ('f') is safe for any args that match its prototype\nprocessed " in log
        assert judged(GLOBAL.program).log(1).splitlines()[:-1] == [
            "Func#1 ('f') is safe for any args that match its prototype"
        ]

    @as_recorded
    @needs_kernel
    @pytest.mark.parametrize("level", [1, 2])
    @pytest.mark.parametrize(
        "name",
        [
            "memory, if it is there",
            "more than the memory",
            "r0 never written",
            "a packet behind one that calls one that changes it",
            "a packet behind one that does not",
            "a pointer kept where it writes",
            "one that is called later, and stands before, goes last",
            "stacks of a chain",
            "a word of the packet, static ",
            "a word of the packet, ",
            "a word of the packet may end a function with 0",
        ],
    )
    def test_whole_logs(self, name: str, level: int) -> None:
        program = CASES[name].program
        verdict, answer = judged(program), asked(program, level)
        ours, theirs = plain(verdict.log(level)), plain(answer.log)
        if verdict.accepted:
            assert ours == theirs
        else:  # the kernel may have more lines of the reason
            assert ours[:-2] == theirs[: len(ours) - 2]
            assert ours[-1] == theirs[-1]

    @as_recorded
    @needs_kernel
    def test_two_calls_of_one(self) -> None:
        assert plain(judged(GLOBAL.program).log(2)) == plain(asked(GLOBAL.program, 2).log)
