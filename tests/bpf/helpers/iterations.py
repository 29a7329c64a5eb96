# SPDX-License-Identifier: Apache-2.0
"""Programs that go through numbers, run on every engine: what several tests of the kernel's functions begin with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from prestocloud_sec.bpf import Program, ProgramType
from tests.bpf.vm.engines import ENGINES

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
    """Return what such a program gives."""
    error, values = outcome(start, end)
    r6 = folded(error, (value & U32 for value in values[:turns]))
    return r6 ^ r6 >> 32
