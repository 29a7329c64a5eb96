# SPDX-License-Identifier: Apache-2.0
"""Contexts as parameters of global functions: by which declarations the running kernel knows them, and the verifier."""

from __future__ import annotations

import pytest

from prestocloud_sec.bpf import Program, ProgramType, assemble, verify
from prestocloud_sec.bpf.errors import DeclarationError, LoadError
from prestocloud_sec.bpf.linux import KernelProgram
from prestocloud_sec.bpf.object import BtfBuilder, Encoding, FuncInfo, Kind, declare
from prestocloud_sec.bpf.object.types import Parameter
from prestocloud_sec.bpf.object.words import CONTEXTS
from tests.bpf.linux.kernel import needs_kernel

P = ProgramType
PLACES = {P.CGROUP_SOCK_ADDR: 8, P.CGROUP_SOCKOPT: 21, P.SK_LOOKUP: 36, P.NETFILTER: 45}
"""Where programs of types that ask for it are meant to be attached (``enum bpf_attach_type``)."""

STRUCTS: list[tuple[ProgramType, str, str]] = [
    (P.SOCKET_FILTER, "__sk_buff", "u32"),
    (P.SCHED_CLS, "__sk_buff", "u32"),
    (P.SCHED_CLS, "sk_buff", "u32"),
    (P.XDP, "xdp_md", "u32"),
    (P.XDP, "xdp_buff", "u32"),
    (P.CGROUP_SOCK, "bpf_sock", "u32"),
    (P.CGROUP_SOCK_ADDR, "bpf_sock_addr", "u32"),
    (P.SOCK_OPS, "bpf_sock_ops", "u32"),
    (P.SK_MSG, "sk_msg_md", "u64"),
    (P.KPROBE, "pt_regs", "u64"),
    (P.PERF_EVENT, "bpf_perf_event_data", "u64"),
    (P.RAW_TRACEPOINT, "bpf_raw_tracepoint_args", "u64"),
    (P.CGROUP_DEVICE, "bpf_cgroup_dev_ctx", "u32"),
    (P.CGROUP_SYSCTL, "bpf_sysctl", "u32"),
    (P.CGROUP_SOCKOPT, "bpf_sockopt", "u64"),
    (P.SK_REUSEPORT, "sk_reuseport_md", "u64"),
    (P.SK_LOOKUP, "bpf_sk_lookup", "u64"),
    (P.NETFILTER, "bpf_nf_ctx", "u64"),
]
"""Types of programs, the struct that is their context, and its first field's size (``include/uapi/linux/bpf.h``)."""


def reading(kind: ProgramType, size: str) -> Program:
    """Return a program whose second function reads the first field of the context, or, without a size, nothing."""
    read = f"r0 = *({size} *)(r1 + 0)\n" if size else ""
    return assemble(f"call first\nr0 = 0\nexit\nfirst:\n{read}r0 = 0\nexit", type=kind)


def ours(program: Program) -> bool:
    assert program.type is not None
    return verify(program, attach=PLACES.get(program.type, 0)).accepted


def theirs(program: Program) -> bool:
    """Tell whether the running kernel takes a program; where it has no such programs, there is nothing to compare."""
    assert program.type is not None
    place = PLACES.get(program.type, 0)
    try:
        KernelProgram.load(assemble("r0 = 0\nexit", type=program.type), expected_attach_type=place).close()
    except LoadError as error:
        pytest.skip(f"kernel lacks programs of the type {program.type.name} [{error.symbol}]")
    try:
        KernelProgram.load(program, expected_attach_type=place).close()
    except LoadError as error:
        if error.symbol not in {"EINVAL", "EACCES"}:
            raise
        return False
    return True


def test_every_context_has_a_program() -> None:
    assert {name for _, name, _ in STRUCTS} == CONTEXTS


@needs_kernel
@pytest.mark.parametrize(("kind", "name", "size"), STRUCTS, ids=lambda value: getattr(value, "name", value))
def test_contexts_are_known_by_the_structs_name(kind: ProgramType, name: str, size: str) -> None:
    declared: dict[str | int, str] = {0: "int main(void *ctx)", "first": f"int first(struct {name} *ctx)"}
    assert theirs(reading(kind, size).declaring(declared))
    # What netfilter's context holds cannot be judged here; passed on it can be, and memory it could not be.
    assert ours(reading(kind, size if kind is not P.NETFILTER else "").declaring(declared))


@needs_kernel
@pytest.mark.parametrize(
    ("kind", "declared", "is_known"),
    [
        (P.XDP, "const volatile struct xdp_md *const ctx", True),
        (P.XDP, "void *ctx __arg_ctx", True),
        (P.XDP, "struct xdp_md *ctx __arg_ctx", True),
        (P.XDP, "struct __sk_buff *ctx", False),
        (P.XDP, "struct mine *ctx", False),
        (P.XDP, "struct xdp_md **ctx", False),
        (P.KPROBE, "bpf_user_pt_regs_t *ctx", True),
        (P.KPROBE, "const bpf_user_pt_regs_t *ctx __arg_ctx", True),
        (P.PERF_EVENT, "bpf_user_pt_regs_t *ctx", False),
        (P.PERF_EVENT, "bpf_user_pt_regs_t *ctx __arg_ctx", True),
    ],
)
def test_declarations_of_contexts(kind: ProgramType, declared: str, is_known: bool) -> None:
    program = reading(kind, "u32" if kind is P.XDP else "u64")
    program = program.declaring({0: "int main(void *ctx)", "first": f"int first({declared})"})
    assert ours(program) is is_known
    assert theirs(program) is is_known


@needs_kernel
def test_a_forward_declaration_is_no_context() -> None:
    """Why a struct of which nothing is said becomes one without members."""
    b = BtfBuilder()
    number = b.int_("int", 4, encoding=Encoding.SIGNED)
    prototype = b.prototype(number, [Parameter("ctx", b.pointer(b.forward("xdp_md")))])
    ids = {0: b.function("main", prototype), 3: b.function("first", prototype)}
    bare = reading(P.XDP, "u32")
    program = Program(bare.instructions, type=P.XDP, func_info=FuncInfo(b.build(), ids))
    assert not ours(program)
    assert not theirs(program)


@needs_kernel
def test_the_main_function_runs_with_its_functions() -> None:
    program = assemble(
        """
            call length
            exit
        length:
            r2 = *(u32 *)(r1 + 0)
            r0 = *(u32 *)(r1 + 4)
            r0 -= r2
            exit
        """,
        type=P.XDP,
    ).declaring({0: "int main(struct xdp_md *ctx)", "length": "int length(struct xdp_md *ctx)"})
    with KernelProgram.load(program) as loaded:
        assert loaded.test_run(bytes(60)).value == program.run(bytes(60)).value == 60


def test_what_a_name_alone_becomes() -> None:
    btf = declare({0: "int f(struct xdp_md *ctx, struct task_struct *t, bpf_user_pt_regs_t *r)"}).btf
    kinds = {name: btf.kind(btf.find(name)) for name in ("xdp_md", "task_struct", "bpf_user_pt_regs_t", "pt_regs")}
    assert kinds == {
        "xdp_md": Kind.STRUCT,
        "task_struct": Kind.FWD,
        "bpf_user_pt_regs_t": Kind.TYPEDEF,
        "pt_regs": Kind.STRUCT,
    }
    assert btf.resolved(btf.find("bpf_user_pt_regs_t")) == btf.find("pt_regs")
    assert btf.describe(btf.find("f")) == "int f(struct xdp_md *ctx, struct task_struct *t, bpf_user_pt_regs_t *r)"


def test_members_that_are_said_are_kept() -> None:
    text = "struct xdp_md { u32 data, data_end; }; struct pt_regs { long r[21]; };"
    btf = declare({0: "int f(struct xdp_md *ctx, bpf_user_pt_regs_t *r)"}, text).btf
    assert btf.size_of(btf.find("xdp_md")) == 8
    assert btf.size_of(btf.find("bpf_user_pt_regs_t")) == 168
    union = declare({}, "union xdp_md;").btf
    assert union.kind(union.find("xdp_md")) is Kind.FWD


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("int f(struct xdp_md ctx)", "size is not known"),
        ("int f(bpf_user_pt_regs_t ctx)", "size is not known"),
        ("int f(struct s { struct xdp_md m; } *s)", "size is not known"),
        ("int f(union pt_regs *a, bpf_user_pt_regs_t *b)", "column 25: pt_regs is a union"),
        ("int f(int bpf_user_pt_regs_t)", "unexpected 'bpf_user_pt_regs_t'"),
        ("int f(unsigned bpf_user_pt_regs_t *b)", "unexpected 'bpf_user_pt_regs_t'"),
    ],
)
def test_declarations_that_are_none(text: str, what: str) -> None:
    with pytest.raises(DeclarationError, match=what):
        declare({0: text})
