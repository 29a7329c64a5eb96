# SPDX-License-Identifier: Apache-2.0
"""What may end a function besides its exit: a load of a packet's word, and a tail call."""

from __future__ import annotations

import pytest

from tests.bpf.linux.kernel import as_recorded, needs_kernel
from tests.bpf.verifier.answers import Case, check_ours, check_theirs
from tests.bpf.verifier.functions import CTX, END, PACKET, SKB, TAIL_CALL, WORD, case

PRECISE = """
    r6 = r1
    r8 = *(u32 *)(r1 + 16)
    r8 &= 7
    call f
    r1 = r10
    r1 += -16
    r1 += r8
    *(u8 *)(r1 + 0) = 0
    r0 = 0
    exit
"""
"""What r8 is matters for the store, and f stands between: the kernel looks back over it for r8."""

CASES = {
    "a number that matters behind a word of the packet": case(
        PRECISE, f"{WORD}exit", "int f(struct __sk_buff *s)", kind=SKB
    ),  # a static f is another thing, see test_function_differences.py
    **{
        f"a number that matters behind a tail call, {how}": case(
            PRECISE, TAIL_CALL, f"{how}int f(struct __sk_buff *s)", kind=SKB
        )
        for how in ("static ", "")
    },
    **{
        f"a word of the packet, {how}": case(
            f"r6 = r1\ncall f\nr0 = *(u8 *)skb[0]\n{END}",
            f"{WORD}exit",
            f"{how}int f(struct __sk_buff *s)",
            kind=SKB,
        )
        for how in ("static ", "")
    },
    "a word of the packet may end a function with 0": case(
        "call f\nif r0 == 7 goto out\nif r0 == 0 goto out\nr0 = r9\nout:\nr0 = 0\nexit",
        f"{WORD}r0 = 7\nexit",
        "static int f(struct __sk_buff *s)",
        kind=SKB,
    ),
    "a word of the packet where nothing is given back": case(
        f"r6 = r1\ncall f\n{END}",
        f"{WORD}exit",
        "static void f(struct __sk_buff *s)",
        "EINVAL",
        "LD_ABS is only allowed in functions that return 'int'.",
        kind=SKB,
    ),
    "a tail call where nothing is given back": case(
        f"call f\n{END}",
        TAIL_CALL,
        "static void f(struct xdp_md *c)",
        "EINVAL",
        "tail_call is only allowed in functions that return 'int'.",
    ),
    **{f"a tail call, {how}": case(f"r6 = r1\ncall f\n{END}", TAIL_CALL, f"{how}{CTX}") for how in ("static ", "")},
    "a tail call may end a function with anything": case(
        "call f\nif r0 == 7 goto out\nr0 = r9\nout:\nexit", TAIL_CALL, f"static {CTX}", "EACCES", "R9 !read_ok"
    ),
    **{
        f"a packet behind a tail call, {how}": case(
            PACKET, TAIL_CALL, f"{how}{CTX}", "EACCES", "R7 invalid mem access 'scalar'"
        )
        for how in ("static ", "")
    },
    **{
        f"a packet behind a tail call that failed, {how}": case(
            f"call f\n{END}",
            "r6 = r1\nr7 = *(u32 *)(r1 + 0)\nr8 = *(u32 *)(r1 + 4)\nr9 = r7\nr9 += 8\nr0 = 0\nif r9 > r8 goto out\n"
            "r2 = map[programs] ll\nr3 = 0\ncall bpf_tail_call\nr0 = *(u8 *)(r7 + 0)\nr0 = 0\nout:\nexit",
            f"{how}{CTX}",
        )
        for how in ("static ", "")
    },
    "a packet behind a tail call of the program that failed": Case(
        "r6 = r1\nr7 = *(u32 *)(r1 + 0)\nr8 = *(u32 *)(r1 + 4)\nr9 = r7\nr9 += 8\nr0 = 0\nif r9 > r8 goto out\n"
        f"r2 = map[programs] ll\nr3 = 0\ncall bpf_tail_call\nr0 = *(u8 *)(r7 + 0)\nout:\n{END}"
    ),
    **{
        f"{bytes} bytes before a tail call, {how}": case(
            f"*(u64 *)(r10 - {bytes}) = 0\nr6 = r1\ncall f\n{END}",
            TAIL_CALL,
            f"{how}{CTX}",
            *(("EACCES", f"when call stack of previous frames is {used} bytes. Too large") if used else ()),
        )
        for how, bytes, used in (("static ", 264, 272), ("static ", 256, 256), ("static ", 240, 0), ("", 264, 272))
    },
}


@pytest.mark.parametrize("name", CASES)
def test_verdicts(name: str) -> None:
    check_ours(CASES[name])


@as_recorded
@needs_kernel
@pytest.mark.parametrize("name", CASES)
def test_the_kernel_says_the_same(name: str) -> None:
    check_theirs(CASES[name])
