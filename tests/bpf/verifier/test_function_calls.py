# SPDX-License-Identifier: Apache-2.0
"""Calls of functions that BTF describes: what these give back and leave, and which are judged when."""

from __future__ import annotations

import pytest

from tests.bpf.linux.kernel import as_recorded, needs_kernel
from tests.bpf.verifier.answers import check_ours, check_theirs
from tests.bpf.verifier.functions import ADJUST, BAD, CTX, END, PACKET, called, case

CASES = {
    # --- What it gives back.
    "nothing": called(
        "r1 = 1\n",
        "void f(int a)",
        "EINVAL",
        f"Global function f() doesn't return scalar. Only those are supported.{BAD}",
    ),
    "a pointer": called(
        "r1 = 1\n",
        "void *f(int a)",
        "EINVAL",
        f"Global function f() doesn't return scalar. Only those are supported.{BAD}",
    ),
    "no number": case(
        f"r1 = 0\ncall f\n{END}",
        "r0 = r1\nexit",
        "int f(struct pair *p)",
        "EINVAL",
        "At subprogram exit the register R0 is not a scalar value (mem_or_null)",
    ),
    "a packet given back": case(
        f"call f\n{END}",
        "r0 = *(u32 *)(r1 + 0)\nexit",
        CTX,
        "EINVAL",
        "At subprogram exit the register R0 is not a scalar value (pkt)",
    ),
    "r0 never written": case(f"r1 = 0\ncall f\n{END}", "r1 = 1\nexit", "int f(int a)", "EACCES", "R0 !read_ok"),
    "nothing is known of the result": case(
        "r1 = 1\ncall f\nif r0 == 7 goto out\nr0 = r9\nout:\nexit",
        "r0 = 7\nexit",
        "int f(int a)",
        "EACCES",
        "R9 !read_ok",
    ),
    "the result of a static function is known": case(
        "r1 = 1\ncall f\nif r0 == 7 goto out\nr0 = r9\nout:\nr0 = 0\nexit", "r0 = 7\nexit", "static int f(int a)"
    ),
    # --- What a call leaves.
    "a packet behind one that changes it": case(PACKET, ADJUST, CTX, "EACCES", "R7 invalid mem access 'scalar'"),
    "a packet behind one that does not": case(PACKET, END, CTX),
    "a packet behind one that calls one that changes it": case(
        PACKET,
        f"call g\n{END}\ng:\n{ADJUST}",
        CTX,
        "EACCES",
        "R7 invalid mem access 'scalar'",
        more={"g": "static int g(struct xdp_md *ctx)"},
    ),
    "a pointer kept where it writes": case(
        "r1 = r10\nr1 += -8\n*(u64 *)(r10 - 8) = r1\ncall f\nr1 = *(u64 *)(r10 - 8)\nr0 = *(u8 *)(r1 + 0)\nexit",
        END,
        "int f(struct small *p)",
        "EACCES",
        "R1 invalid mem access 'scalar'",
    ),
    "a number kept where it writes": case(
        "r6 = 7\n*(u64 *)(r10 - 8) = r6\nr1 = r10\nr1 += -8\ncall f\nr0 = *(u64 *)(r10 - 8)\nif r0 == 7 goto out\n"
        "r0 = r9\nout:\nexit",
        END,
        "int f(struct small *p)",
        "EACCES",
        "R9 !read_ok",
    ),
    "registers of the caller's": case("r6 = 5\nr1 = 1\ncall f\nr0 = r6\nr0 &= 1\nexit", END, "int f(int a)"),
    # --- Which are judged, and when.
    "one that no way calls": case(
        "r0 = 0\nif r0 == 0 goto out\nr1 = 1\ncall f\nout:\nexit", "r0 = *(u8 *)(r1 + 0)\nexit", "int f(int a)"
    ),
    "a static one that is declared otherwise": case(
        "r1 = 1\ncall f\nexit",
        "r1 = r10\ncall g\nr0 = 0\nexit\ng:\nr0 = 1\nexit",
        "int f(int a)",
        more={"g": "static int g(int a)"},
    ),
    "one that itself calls": case(
        "r1 = 1\ncall f\nexit", "call f\nexit", "int f(int a)", "E2BIG", "the call stack of 8 frames is too deep !"
    ),
    "one that is called only by another goes first where it stands first": case(
        f"r1 = 1\ncall f\nr1 = 1\ncall h\n{END}",
        f"r1 = 1\ncall g\n{END}\ng:\nr0 = r9\nexit\nh:\nr0 = r8\nexit",
        "int f(int a)",
        "EACCES",
        "R9 !read_ok",
        more={"g": "int g(int a)", "h": "int h(int a)"},
    ),
    "one that is called later, and stands before, goes last": case(
        f"r1 = 1\ncall h\n{END}",
        "r0 = r9\nexit\nh:\nr1 = 1\ncall f\nr0 = r8\nexit",
        "int f(int a)",
        "EACCES",
        "R8 !read_ok",
        more={"h": "int h(int a)"},
    ),
    "stacks of a chain": case(
        "*(u64 *)(r10 - 304) = 1\nr1 = 1\ncall f\nexit",
        "*(u64 *)(r10 - 304) = 1\nr0 = 1\nexit",
        "int f(int a)",
        "EACCES",
        "combined stack size of 2 calls is 608. Too large",
    ),
    "one that a helper calls": case(
        f"r1 = 4\nr2 = f ll\nr3 = 0\nr4 = 0\ncall bpf_loop\n{END}",
        END,
        "int f(int a, void *c)",
        "EINVAL",
        "callback function not static",
    ),
    "a static one that a helper calls": case(
        f"r1 = 4\nr2 = f ll\nr3 = 0\nr4 = 0\ncall bpf_loop\n{END}", END, "static int f(int a, void *c)"
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_verdicts(name: str) -> None:
    check_ours(CASES[name])


@as_recorded
@needs_kernel
@pytest.mark.parametrize("name", CASES)
def test_the_kernel_says_the_same(name: str) -> None:
    check_theirs(CASES[name])
