# SPDX-License-Identifier: Apache-2.0
"""Refusals whose errno is EINVAL where that of their neighbours is EACCES: each by hand, and as the kernel does."""

from __future__ import annotations

import pytest

from prestocloud_sec.bpf import ProgramType
from tests.bpf.linux.kernel import as_recorded, needs_kernel
from tests.bpf.verifier.answers import Case, check_ours, check_theirs

END = "r0 = 0\nexit"
TIME = f"r6 = r1\ncall bpf_ktime_get_ns\n{{}}\n{END}"
"""A number of which nothing is known is added to a pointer, or taken from it."""
UNBOUNDED = "math between {} pointer and register with unbounded min value is not allowed"


def checksum(place: int) -> Case:
    """Return a program whose helper reads 8 bytes of the stack."""
    text = f"*(u64 *)(r10 - 8) = 0\nr1 = r10\nr1 += {place}\nr2 = 8\nr3 = 0\nr4 = 0\nr5 = 0\ncall bpf_csum_diff\n{END}"
    says = f"invalid read from stack R1 off={place} size=8"
    if place == -8:
        return Case(text, kind=ProgramType.SCHED_CLS)
    return Case(text, "EINVAL" if place < 0 else "EACCES", says, kind=ProgramType.SCHED_CLS)


def name_of_the_task(place: int) -> Case:
    """Return a program whose helper writes 16 bytes of the stack."""
    text = f"r1 = r10\nr1 += {place}\nr2 = 16\ncall bpf_get_current_comm\n{END}"
    if -512 <= place <= -16:
        return Case(text, kind=ProgramType.KPROBE)
    errno = "EINVAL" if -16 < place < 0 else "EACCES"
    return Case(text, errno, f"invalid write to stack R1 off={place} size=16", kind=ProgramType.KPROBE)


CASES = {
    "too long a shift of nothing": Case(f"r7 >>= -8\n{END}", "EACCES", "R7 !read_ok"),
    "too long a shift": Case(f"r7 = 1\nr7 >>= -8\n{END}", "EINVAL", "invalid shift -8"),
    "a division of nothing by 0": Case(f"r7 /= 0\n{END}", "EACCES", "R7 !read_ok"),
    "a frame, and any number": Case(TIME.format("r7 = r10\nr7 += r0"), "EINVAL", UNBOUNDED.format("fp")),
    "a frame, less any number": Case(TIME.format("r7 = r10\nr7 -= r0"), "EINVAL", UNBOUNDED.format("fp")),
    "a context, and any number": Case(TIME.format("r6 += r0"), "EINVAL", UNBOUNDED.format("ctx")),
    "a packet, and any number": Case(TIME.format("r7 = *(u32 *)(r6 + 0)\nr7 += r0"), "EINVAL", UNBOUNDED.format("pkt")),
    "any number, and a packet": Case(TIME.format("r7 = *(u32 *)(r6 + 0)\nr0 += r7"), "EINVAL", UNBOUNDED.format("pkt")),
    "a map, and any number": Case(
        TIME.format("r7 = map[programs] ll\nr7 += r0"), "EACCES", "R7 pointer arithmetic on map_ptr prohibited"
    ),
    "a packet's end, and any number": Case(
        TIME.format("r7 = *(u32 *)(r6 + 4)\nr7 += r0"), "EACCES", "R7 pointer arithmetic on pkt_end prohibited"
    ),
    **{f"8 bytes read at {place}": checksum(place) for place in (-8, -7, -4, -1, 0, 4, 8)},
    **{f"16 bytes written at {place}": name_of_the_task(place) for place in (-520, -512, -16, -15, -8, -1, 0, 8)},
}


@pytest.mark.parametrize("name", CASES)
def test_verdicts(name: str) -> None:
    check_ours(CASES[name])


@as_recorded
@needs_kernel
@pytest.mark.parametrize("name", CASES)
def test_the_kernel_says_the_same(name: str) -> None:
    check_theirs(CASES[name])
