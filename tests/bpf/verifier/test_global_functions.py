# SPDX-License-Identifier: Apache-2.0
"""Functions that BTF describes: judged by themselves or from their calls; by hand, and as the kernel does."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest

from prestocloud_sec.bpf import Program, ProgramType, Verdict
from prestocloud_sec.bpf.verifier.rejection import Rule
from tests.bpf.linux.kernel import as_recorded, needs_kernel
from tests.bpf.verifier.answers import XDP, Case, asked, check_ours, check_theirs, judged, plain

SKB = ProgramType.SCHED_CLS
CONTEXTS = {XDP: "xdp_md", SKB: "__sk_buff", ProgramType.CGROUP_SKB: "__sk_buff"}
END = "r0 = 0\nexit"
BAD = "; Caller passes invalid args into func#1 ('f')"
PAIR = "r1 = r10\nr1 += -16\n"
"""Room for two words."""
PACKET = """
    r6 = r1
    r7 = *(u32 *)(r1 + 0)
    r8 = *(u32 *)(r1 + 4)
    r9 = r7
    r9 += 8
    r0 = 0
    if r9 > r8 goto out
    call f
    r0 = *(u8 *)(r7 + 0)
    r0 = 0
out:
    exit
"""
ADJUST = f"r2 = 0\ncall bpf_xdp_adjust_head\n{END}"
TAIL_CALL = "r2 = map[programs] ll\nr3 = 0\ncall bpf_tail_call\nr0 = 7\nexit"
WORD = "r6 = r1\nr0 = *(u8 *)skb[0]\n"


def case(
    main: str,
    f: str,
    declared: str,
    errno: str | None = None,
    says: str = "",
    *,
    kind: ProgramType = XDP,
    told: str = "",
    more: dict[str | int, str] | None = None,
) -> Case:
    """Return a program of two functions, the second declared so."""
    functions = {0: f"int main(struct {CONTEXTS[kind]} *ctx)", "f": declared, **(more or {})}
    return Case(f"{main}\nf:\n{f}", errno, says, told, kind, functions)


def called(call: str, declared: str, errno: str | None = None, says: str = "", **options: Any) -> Case:
    """Return a program that calls a function which does nothing."""
    return case(f"{call}call f\n{END}", END, declared, errno, says, **options)


CTX = "int f(struct xdp_md *ctx)"
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

CASES = {
    # --- What a function takes.
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
    # --- What ends a function.
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


class TestElsewhere:
    """Where ours and the kernel's verdicts differ."""

    def differ(self, program: Program, says: str) -> Verdict:
        """Check that a call is refused here, and taken by the kernel."""
        verdict, answer = judged(program), asked(program)
        assert (verdict.accepted, verdict.errno) == (False, "EINVAL")
        assert verdict.message == says + BAD
        assert answer.accepted, answer.log
        return verdict

    @as_recorded
    @needs_kernel
    def test_the_kernel_lets_a_plain_0_pass_for_memory_that_is_there(self) -> None:
        """Linux 6.18.44 looks only for pointers that may be null; the function then reads at address 8."""
        f = "r0 = *(u64 *)(r1 + 8)\nexit"
        program = case(f"r1 = 0\ncall f\n{END}", f, "int f(struct pair *p __arg_nonnull)").program
        verdict = self.differ(program, "arg#0 is expected to be non-NULL")
        assert verdict.reason is Rule.NULL

    @as_recorded
    @needs_kernel
    def test_the_kernel_lets_a_packet_pass_that_may_only_be_read(self) -> None:
        """Linux 6.18.44 asks of a pointer into a packet only whether it may be read; the function may write."""
        main = (
            "r2 = *(u32 *)(r1 + 76)\nr3 = *(u32 *)(r1 + 80)\nr4 = r2\nr4 += 16\nr0 = 0\nif r4 > r3 goto out\nr1 = r2\n"
            f"call f\nout:\n{END}"
        )
        f = "r0 = 1\n*(u8 *)(r1 + 0) = 1\nexit"
        kind = ProgramType.CGROUP_SKB
        self.differ(case(main, f, "int f(struct pair *p __arg_nonnull)", kind=kind).program, "cannot write into packet")

    @pytest.mark.parametrize(
        ("tag", "what"),
        [(tag, what) for tag in ("trusted", "untrusted", "arena") for what in ("struct pair *p", "void *p")],
    )
    def test_parameters_that_cannot_be_judged(self, tag: str, what: str) -> None:
        verdict = judged(called(PAIR, f"int f({what} __arg_{tag})").program)
        assert (verdict.errno, verdict.reason) == ("EINVAL", Rule.ARGUMENT)
        assert f"arg#0 is tagged as {tag}" in verdict.message
        assert "static" in verdict.hint

    def test_nor_can_dynptrs(self) -> None:
        verdict = judged(called(PAIR, "int f(struct bpf_dynptr { u64 a, b; } *p)").program)
        assert (verdict.errno, verdict.reason) == ("EINVAL", Rule.ARGUMENT)
        assert "arg#0 is a dynptr" in verdict.message

    @as_recorded
    @needs_kernel
    def test_the_kernel_takes_memory_that_may_not_be_there(self) -> None:
        self.differ(called(PAIR, "int f(void *p __arg_untrusted)").program, "arg#0 is tagged as untrusted")

    @as_recorded
    @needs_kernel
    def test_the_kernel_foresees_32_bits_of_a_pointer(self) -> None:
        """It takes ``w1 == 0`` for false where r1 is a pointer: the low half of one may be 0, so here both ways go."""
        program = case(
            f"{PAIR}call f\n{END}",
            "r0 = 0\nif w1 == 0 goto out\nr0 = 1\nout:\nexit",
            "int f(struct pair *p __arg_nonnull)",
        ).program
        verdict, answer = judged(program), asked(program)
        assert verdict.accepted
        assert answer.accepted
        assert verdict.processed > answer.counts[0]


GLOBAL = case(
    f"{PAIR}r2 = 5\ncall f\nr6 = r0\nr1 = 0\nr2 = 6\ncall f\nr0 += r6\nr0 &= 1\nexit",
    "r0 = r2\nif r1 == 0 goto out\nr0 = *(u64 *)(r1 + 8)\n*(u64 *)(r1 + 0) = r2\nout:\nexit",
    "int f(struct pair *p, int n)",
)
ITERATING = case(
    "r1 = 3\ncall f\nr0 = 0\nexit",
    "r3 = r1\nr1 = r10\nr1 += -8\nr2 = 0\ncall kfunc bpf_iter_num_new\nr6 = 0\nagain:\nr1 = r10\nr1 += -8\n"
    "call kfunc bpf_iter_num_next\nif r0 == 0 goto out\nr1 = *(u32 *)(r0 + 0)\nr6 += r1\ngoto again\nout:\n"
    "r1 = r10\nr1 += -8\ncall kfunc bpf_iter_num_destroy\nr0 = r6\nexit",
    "int f(int n)",
)
FAULTY = CASES["more than the memory"]


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

    @as_recorded
    @needs_kernel
    def test_two_calls_of_one(self) -> None:
        assert plain(judged(GLOBAL.program).log(2)) == plain(asked(GLOBAL.program, 2).log)


class TestShown:
    def test_the_way_to_a_fault_begins_in_the_function(self) -> None:
        program = FAULTY.program
        verdict = judged(program)
        entry = program.index_at(program.symbols.functions.get("f", program.symbols.labels.get("f", -1)))
        assert [step.index for step in verdict.path] == [entry]
        assert verdict.instruction == entry
        assert verdict.path[0].registers == {"r1": "mem(sz=16)", "r10": "fp0"}

    def test_facts_of_the_function_and_of_what_is_before_it(self) -> None:
        facts = judged(GLOBAL.program).facts
        assert facts is not None
        first, inside, behind = facts[0], facts[13], facts[4]
        assert first is not None
        assert inside is not None
        assert behind is not None
        assert first["r10"].kinds == {"fp"}
        assert inside["r1"].kinds == {"mem"}
        assert behind["r0"].kinds == {"scalar"}

    def test_nothing_is_known_where_no_way_goes(self) -> None:
        facts = judged(CASES["one that no way calls"].program).facts
        assert facts is not None
        assert [index for index in range(len(facts)) if facts[index] is None] == [2, 3, 5, 6]

    @pytest.mark.parametrize("case", [GLOBAL, ITERATING, FAULTY, CASES["nothing"]], ids=["two", "loop", "bad", "void"])
    def test_pictures(self, case: Case) -> None:
        verdict = judged(case.program)
        ElementTree.fromstring(verdict.to_svg())  # noqa: S314 - our own
        assert "<table" in verdict._repr_html_()
        assert str(verdict)
        assert verdict.to_json()["accepted"] is verdict.accepted

    def test_proofs_hold_when_it_runs(self) -> None:
        verdict = judged(ITERATING.program)
        assert verdict.accepted
        assert ITERATING.program.run(b"\0" * 14).value == 0
