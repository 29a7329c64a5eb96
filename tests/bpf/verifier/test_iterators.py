# SPDX-License-Identifier: Apache-2.0
"""Iterators on the stack: what may be done with them, and how loops over them end; by hand, and as the kernel does."""

from __future__ import annotations

import pytest

from prestocloud_sec.bpf import ProgramType
from tests.bpf.linux.kernel import as_recorded, needs_kernel
from tests.bpf.verifier.answers import XDP, Case, check_ours, check_theirs
from tests.bpf.verifier.iterators import A_NUM, BITS, DESTROY, END, MADE, NEW, NEXT, NO_NUM, SUM, UNMADE, at, loop

LEFT = "Unreleased reference id=1 alloc_insn="


def new_at(place: int, written: str = "") -> str:
    return f"{written}{at(place, 'num_new', 'r2 = 0', 'r3 = 0')}{END}"


ACCEPTED = {
    "a sum": SUM,
    "two within each other": f"""
        {NEW}
    outer:
        {NEXT}
        if r0 == 0 goto out
        r6 = *(u32 *)(r0 + 0)
        {at(-16, "num_new", "r2 = 0", "r3 = r6")}
    inner:
        {at(-16, "num_next")}
        if r0 == 0 goto end
        r7 = *(u32 *)(r0 + 0)
        r7 &= 7
        goto inner
    end:
        {at(-16, "num_destroy")}
        goto outer
    out:
        {DESTROY}{END}""",
    "an array filled by what it gives": loop(
        "r1 = *(u32 *)(r0 + 0)\nif r1 > 7 goto again\nr1 <<= 3\nr2 = r10\nr2 += -80\nr2 += r1\n"
        "*(u64 *)(r2 + 0) = r6\nr6 += 1"
    ),
    "an array filled by a count with an end": loop(
        "if r6 > 7 goto out\nr2 = r10\nr2 += -80\nr2 += r6\n*(u8 *)(r2 + 0) = r6\nr6 += 1"
    ),
    "a function asks the caller's": f"{NEW}again:\nr1 = r10\nr1 += -8\ncall f\nif r0 != 0 goto again\n{DESTROY}{END}\n"
    "f:\ncall kfunc bpf_iter_num_next\nif r0 == 0 goto out\nr0 = 1\nout:\nexit",
    "a function makes the caller's": f"r1 = r10\nr1 += -8\ncall f\n{DESTROY}{END}\n"
    f"f:\nr2 = 0\nr3 = 5\ncall kfunc bpf_iter_num_new\n{END}",
    "asked behind its end": loop("r7 = 0", f"{NEW}{NEXT}{NEXT}{DESTROY}{END}"),
    "two loops over one": f"{NEW}a:\n{NEXT}if r0 != 0 goto a\nb:\n{NEXT}if r0 != 0 goto b\n{DESTROY}{END}",
    "bits, at the deepest place": f"{at(-512, 'bits_new', 'r2 = 0', 'r3 = 1')}{at(-512, 'bits_destroy')}{END}",
    "bits, of what was never written": f"{at(-16, 'bits_new', 'r3 = 1')}{at(-16, 'bits_destroy')}{END}",
    "made over what was there": f"*(u64 *)(r10 - 8) = 7\n{NEW}{DESTROY}{END}",
    "its place used again": f"{NEW}{DESTROY}*(u64 *)(r10 - 8) = 7\nr0 = *(u64 *)(r10 - 8)\nr0 = 0\nexit",
}
CASES = {
    **{name: Case(text) for name, text in ACCEPTED.items()},
    **{
        f"a loop in {kind.name}": Case(loop("r1 = *(u32 *)(r0 + 0)\nr6 += r1"), kind=kind)
        for kind in (ProgramType.SOCKET_FILTER, ProgramType.KPROBE, ProgramType.CGROUP_SKB, ProgramType.SCHED_CLS)
    },
    **{
        f"bits in {kind.name}": Case(
            f"{BITS}again:\n{at(-16, 'bits_next')}if r0 != 0 goto again\n{at(-16, 'bits_destroy')}{END}", kind=kind
        )
        for kind in (XDP, ProgramType.SOCKET_FILTER, ProgramType.KPROBE, ProgramType.CGROUP_SKB)
    },
    "left behind": Case(f"{NEW}{NEXT}{END}", "EINVAL", f"{LEFT}4"),
    "left behind in a function": Case(f"call f\n{END}\nf:\n{NEW}{END}", "EINVAL", f"{LEFT}7"),
    "left behind deep down": Case(new_at(-512), "EINVAL", f"{LEFT}4"),
    "left behind over what was there": Case(new_at(-504, "*(u64 *)(r10 - 16) = 0\n"), "EINVAL", f"{LEFT}5"),
    "asked before it is made": Case(f"{NEXT}{END}", "EINVAL", NO_NUM),
    "made twice": Case(f"{NEW}{NEW}{DESTROY}{END}", "EINVAL", A_NUM),
    "ended twice": Case(f"{NEW}{DESTROY}{DESTROY}{END}", "EINVAL", NO_NUM),
    "not aligned": Case(new_at(-4), "EINVAL", f"cannot pass in iter at an offset=-4; {A_NUM}"),
    "above the frame": Case(new_at(8), "EINVAL", f"cannot pass in iter at an offset=8; {A_NUM}"),
    "above the frame, not aligned": Case(new_at(4), "EINVAL", f"cannot pass in iter at an offset=4; {A_NUM}"),
    "at the frame's end": Case(new_at(0), "EACCES", "invalid write to stack R1 off=0 size=8"),
    "below the frame": Case(new_at(-520), "EACCES", "invalid write to stack R1 off=-520 size=8"),
    "asked elsewhere": Case(f"{NEW}{at(-16, 'num_next')}{DESTROY}{END}", "EINVAL", NO_NUM),
    "asked below the frame": Case(f"{NEW}{at(-520, 'num_next')}{DESTROY}{END}", "EINVAL", NO_NUM),
    "ended above the frame": Case(f"{NEW}{at(8, 'num_destroy')}{END}", "EINVAL", f"offset=8; {NO_NUM}"),
    "at a place that varies": Case(
        f"r7 = *(u32 *)(r1 + 12)\nr7 &= 8\nr1 = r10\nr1 += -16\nr1 += r7\nr2 = 0\nr3 = 0\n"
        f"call kfunc bpf_iter_num_new\n{END}",
        "EINVAL",
        f"at a constant offset; {A_NUM}",
        told=A_NUM,
    ),
    "no place on the stack": Case(
        f"r2 = 0\nr3 = 0\ncall kfunc bpf_iter_num_new\n{END}",
        "EINVAL",
        "arg#0 expected pointer to an iterator on stack",
    ),
    "from what was never written": Case(f"{at(-8, 'num_new', 'r3 = 0')}{END}", "EINVAL", "R2 is not a scalar"),
    "from a pointer on": Case(f"{at(-8, 'num_new', 'r3 = 0', 'r2 = r1')}{END}", "EINVAL", "R2 is not a scalar"),
    "written over": Case(f"{NEW}*(u64 *)(r10 - 8) = 1\n{DESTROY}{END}", "EINVAL", NO_NUM),
    "a byte written over": Case(f"{NEW}*(u8 *)(r10 - 8) = 1\n{DESTROY}{END}", "EINVAL", NO_NUM),
    "written over and left behind": Case(f"{NEW}*(u8 *)(r10 - 1) = 1\n{END}", "EINVAL", f"{LEFT}4"),
    "read": Case(f"{NEW}r0 = *(u64 *)(r10 - 8)\n{DESTROY}{END}", "EACCES", "invalid read from stack off -8+0 size 8"),
    "written over at a place that varies": Case(
        loop("r2 = r10\nr2 += -80\nr2 += r6\n*(u8 *)(r2 + 0) = r6\nr6 += 1"), "EINVAL", NO_NUM
    ),
    "what it gave, behind its end": Case(
        f"{NEW}{NEXT}r7 = r0\n{DESTROY}r0 = 0\nif r7 == 0 goto out\nr0 = *(u32 *)(r7 + 0)\nout:\nexit",
        "EACCES",
        "R7 invalid mem access 'scalar'",
    ),
    "what it gave, and more": Case(
        f"{NEW}{NEXT}if r0 == 0 goto out\nr6 = *(u64 *)(r0 + 0)\nout:\n{DESTROY}{END}",
        "EACCES",
        "size=4 off=0 size=8",
        told="invalid access to memory, mem_size=4 off=0 size=8; R0 min value is outside of the allowed memory range",
    ),
    "what it gave is written": Case(
        f"{NEW}{NEXT}if r0 == 0 goto out\n*(u32 *)(r0 + 0) = 1\nout:\n{DESTROY}{END}",
        "EACCES",
        "R0 cannot write into rdonly_mem",
    ),
    "what it may not have given": Case(
        f"{NEW}{NEXT}r6 = *(u32 *)(r0 + 0)\n{DESTROY}{END}", "EACCES", "R0 invalid mem access 'scalar'"
    ),
    "arguments behind a call": Case(f"{NEW}{DESTROY}r0 = r1\nexit", "EACCES", "R1 !read_ok"),
    "no result of an end": Case(f"{NEW}{DESTROY}exit", "EACCES", "R0 !read_ok"),
    "no way out": Case(f"{NEW}again:\n{NEXT}goto again\n{DESTROY}{END}", "EINVAL", "unreachable insn 9"),
    "bits without room": Case(
        f"{at(-8, 'bits_new', 'r2 = 0', 'r3 = 1')}{END}", "EINVAL", f"offset=-8; {MADE.format('bits')}"
    ),
    "bits at the frame's end": Case(
        f"{at(0, 'bits_new', 'r2 = 0', 'r3 = 1')}{END}", "EINVAL", f"offset=0; {MADE.format('bits')}"
    ),
    "the upper half of bits": Case(
        f"{at(-24, 'bits_new', 'r2 = 0', 'r3 = 1')}{at(-16, 'bits_destroy')}{END}", "EINVAL", UNMADE.format("bits")
    ),
    "bits asked for a number": Case(f"{BITS}{at(-16, 'num_next')}{END}", "EINVAL", NO_NUM),
    "made over the upper half of bits": Case(f"{BITS}{NEW}{END}", "EINVAL", A_NUM),
}


@pytest.mark.parametrize("name", CASES)
def test_verdicts(name: str) -> None:
    check_ours(CASES[name])


@as_recorded
@needs_kernel
@pytest.mark.parametrize("name", CASES)
def test_the_kernel_says_the_same(name: str) -> None:
    check_theirs(CASES[name])
