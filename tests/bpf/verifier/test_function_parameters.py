# SPDX-License-Identifier: Apache-2.0
"""What a function that BTF describes takes, and what a call hands it, tags included."""

from __future__ import annotations

import pytest

from tests.bpf.linux.kernel import as_recorded, needs_kernel
from tests.bpf.verifier.answers import Case, check_ours, check_theirs
from tests.bpf.verifier.functions import BAD, CTX, END, PAIR, SKB, called, case

TAGGED = {
    # what the tag stands behind: verdict and reason of a call with such an argument
    "pair": (PAIR, "struct pair *p"),
    "void": ("", "void *p"),
    "ctx": ("", "struct xdp_md *p"),
    "int": ("r1 = 1\n", "int p"),
}
NO_SUCH_TAGS = "arg#0 has invalid combination of tags"
NO_POINTER = "arg#0 has pointer tag, but is not a pointer type"
REFUSED_TAGS: dict[tuple[str, str], str] = {
    ("__arg_ctx", "pair"): "arg#0 should be `struct xdp_md *`",
    ("__arg_nullable", "pair"): NO_SUCH_TAGS,
    ("__arg_nullable", "void"): NO_SUCH_TAGS,
    **{(f"__arg_{tag}", "ctx"): NO_SUCH_TAGS for tag in ("nullable", "nonnull", "trusted", "untrusted", "arena")},
    **{(f"__arg_{tag}", "int"): NO_POINTER for tag in ("ctx", "nullable", "nonnull", "trusted", "untrusted", "arena")},
    ("__arg_nonnull __arg_ctx", "pair"): NO_SUCH_TAGS,
    ("__arg_nonnull __arg_ctx", "void"): NO_SUCH_TAGS,
    ("__arg_nonnull __arg_ctx", "ctx"): NO_SUCH_TAGS,
}
CASES: dict[str, Case] = {
    "a number": case("r1 = 1\ncall f\nexit", "r0 = r1\nr0 &= 1\nexit", "int f(int a)"),
    "a number is anything": case(
        "r1 = 1\ncall f\nr0 = 0\nexit",
        "r2 = r10\nr2 += r1\n*(u8 *)(r2 - 9) = 1\nr0 = 0\nexit",
        "int f(int a)",
        "EINVAL",
        "math between fp pointer and register with unbounded min value is not allowed",
    ),
    "a pointer for a number": called("", "int f(int a)", "EINVAL", f"R1 is not a scalar{BAD}"),
    "nothing for a number": called(f"r6 = r1\n{PAIR}", "int f(int a, int b)", "EINVAL", f"R1 is not a scalar{BAD}"),
    "an enumeration": called("r1 = 1\n", "int f(enum colour a)"),
    "a wide number": called("r1 = 1\n", "int f(__int128 a)"),
    "a number of 64 bits given back": case("r1 = 1\ncall f\nr0 &= 1\nexit", "r0 = r1\nexit", "u64 f(u64 a)"),
    "the context": case(f"r2 = 1\ncall f\n{END}", "r0 = *(u32 *)(r1 + 12)\nexit", "int f(struct xdp_md *c, int a)"),
    "the context by the kernel's name": case(
        f"call f\n{END}", "r0 = *(u32 *)(r1 + 12)\nexit", "int f(struct xdp_buff { char c; } *c)"
    ),
    "a number for the context": called("r1 = 5\n", CTX, "EINVAL", f"arg#0 expects pointer to ctx{BAD}"),
    "the context, moved": called(
        "r1 += 4\n", CTX, "EACCES", f"dereference of modified ctx ptr R1 off=4 disallowed{BAD}"
    ),
    "another's context": called(
        "", "int f(struct __sk_buff *c)", "EINVAL", "R1 type=ctx expected=fp", told=f"R1 type=ctx expected=fp{BAD}"
    ),
    "memory, if it is there": case(
        f"{PAIR}call f\n{END}",
        "r0 = 0\nif r1 == 0 goto out\nr0 = *(u64 *)(r1 + 8)\n*(u64 *)(r1 + 0) = r0\nout:\nexit",
        "int f(struct pair *p)",
    ),
    "memory that may not be there": case(
        f"{PAIR}call f\n{END}",
        "r0 = *(u64 *)(r1 + 8)\nexit",
        "int f(struct pair *p)",
        "EACCES",
        "R1 invalid mem access 'mem_or_null'",
    ),
    "memory that is there": case(
        f"{PAIR}call f\n{END}",
        "r0 = *(u64 *)(r1 + 8)\n*(u64 *)(r1 + 0) = r0\nexit",
        "int f(struct pair *p __arg_nonnull)",
    ),
    "more than the memory": case(
        f"{PAIR}call f\n{END}",
        "r0 = *(u64 *)(r1 + 16)\nexit",
        "int f(struct pair *p __arg_nonnull)",
        "EACCES",
        "size=16 off=16 size=8",
        told="invalid access to memory, mem_size=16 off=16 size=8",
    ),
    "no memory": called("r1 = 0\n", "int f(struct pair *p)"),
    "memory behind qualifiers": called(PAIR, "int f(const volatile struct pair *const p)"),
    "a pointer to a pointer": called(PAIR, "int f(void **p)"),
    "an array of nothing": called(PAIR, "int f(struct none { char c[0]; } *p)"),
    "too little stack": called(
        "r1 = r10\nr1 += -8\n", "int f(struct pair *p)", "EINVAL", f"invalid read from stack R1 off=-8 size=16{BAD}"
    ),
    "a number for memory": called(
        "r1 = 5\n", "int f(struct pair *p)", "EINVAL", "R1 type=scalar expected=fp", told=f"R1 type=scalar{BAD}"
    ),
    "the context for memory": called(
        "", "int f(struct pair *p)", "EINVAL", "R1 type=ctx expected=fp", told=f"R1 type=ctx{BAD}"
    ),
    "nothing for memory": called(
        "r1 = 5\ncall bpf_get_prandom_u32\n", "int f(struct pair *p)", "EACCES", f"R1 !read_ok{BAD}", told=BAD[2:]
    ),
    "what an iterator gave, for memory": case(
        "r1 = r10\nr1 += -8\nr2 = 0\nr3 = 10\ncall kfunc bpf_iter_num_new\nr1 = r10\nr1 += -8\n"
        "call kfunc bpf_iter_num_next\nif r0 == 0 goto out\nr1 = r0\ncall f\nout:\nr1 = r10\nr1 += -8\n"
        f"call kfunc bpf_iter_num_destroy\n{END}",
        "r0 = 1\nexit",
        "int f(int *p)",
        "EINVAL",
        f"R1 cannot write into rdonly_mem{BAD}",
    ),
    "an iterator for memory": case(
        "r1 = r10\nr1 += -8\nr2 = 0\nr3 = 10\ncall kfunc bpf_iter_num_new\nr1 = r10\nr1 += -8\ncall f\n"
        f"r1 = r10\nr1 += -8\ncall kfunc bpf_iter_num_destroy\n{END}",
        END,
        "int f(struct small *p)",
        "EINVAL",
        BAD[2:],
    ),
    "a packet for memory": case(
        f"r2 = *(u32 *)(r1 + 76)\nr3 = *(u32 *)(r1 + 80)\nr4 = r2\nr4 += 16\nif r4 > r3 goto out\nr1 = r2\ncall f\n"
        f"out:\n{END}",
        "r0 = 1\n*(u8 *)(r1 + 0) = 1\nexit",
        "int f(struct pair *p __arg_nonnull)",
        kind=SKB,
    ),
    "a type by name only": called(
        PAIR,
        "int f(struct other *p)",
        "EINVAL",
        f"arg#0 reference type('FWD other') size cannot be determined: -22{BAD}",
    ),
    "no type": called(
        PAIR, "int f(void *p)", "EINVAL", f"arg#0 reference type('UNKNOWN ') size cannot be determined: -22{BAD}"
    ),
    "memory itself": called(
        PAIR, "int f(struct pair p)", "EINVAL", f"Arg#0 type STRUCT in f() is not supported yet.{BAD}"
    ),
    "six numbers": called(
        PAIR,
        "int f(int a, int b, int c, int d, int e, int g)",
        "EINVAL",
        f"Global function f() with 6 > 5 args. Buggy compiler.{BAD}",
    ),
    # --- Tags.
    **{
        f"{tags} {what}": called(TAGGED[what][0], f"int f({TAGGED[what][1]} {tags})", "EINVAL", said + BAD)
        for (tags, what), said in REFUSED_TAGS.items()
    },
    "__arg_ctx void": called("", "int f(void *p __arg_ctx)"),
    "__arg_ctx ctx": called("", "int f(struct xdp_md *p __arg_ctx)"),
    **{
        f"static, {tag}": called(PAIR, f"static int f(struct pair *p {tag})")
        for tag in ("__arg_ctx", "__arg_nullable", "__arg_trusted", "__arg_untrusted", "__arg_arena")
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
