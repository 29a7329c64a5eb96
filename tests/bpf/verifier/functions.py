# SPDX-License-Identifier: Apache-2.0
"""Programs of two functions, the second of which BTF describes: what several tests of such programs begin with."""

from __future__ import annotations

from typing import Any

from prestocloud_sec.bpf import ProgramType
from tests.bpf.verifier.answers import XDP, Case

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
