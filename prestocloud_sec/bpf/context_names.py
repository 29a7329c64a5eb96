# SPDX-License-Identifier: Apache-2.0
"""The structs of C that contexts are, by which Linux knows a parameter for the context.

Sources: Linux 6.18, ``include/linux/bpf_types.h`` (the struct of a program, and the kernel's own), and
``kernel/bpf/btf.c`` (``btf_is_prog_ctx_type``).
"""

from __future__ import annotations

from prestocloud_sec.bpf.program_type import ProgramType

__all__ = ["CONTEXT_STRUCTS", "PT_REGS_TYPEDEF"]

P = ProgramType
_SK_BUFF = (
    P.SOCKET_FILTER,
    P.SCHED_CLS,
    P.SCHED_ACT,
    P.CGROUP_SKB,
    P.LWT_IN,
    P.LWT_OUT,
    P.LWT_XMIT,
    P.LWT_SEG6LOCAL,
    P.SK_SKB,
    P.FLOW_DISSECTOR,
)
CONTEXT_STRUCTS: dict[ProgramType, tuple[str, ...]] = {
    **dict.fromkeys(_SK_BUFF, ("__sk_buff", "sk_buff")),
    P.XDP: ("xdp_md", "xdp_buff"),
    P.CGROUP_SOCK: ("bpf_sock",),
    P.CGROUP_SOCK_ADDR: ("bpf_sock_addr",),
    P.SOCK_OPS: ("bpf_sock_ops",),
    P.SK_MSG: ("sk_msg_md",),
    P.KPROBE: ("pt_regs",),
    P.PERF_EVENT: ("bpf_perf_event_data",),
    P.RAW_TRACEPOINT: ("bpf_raw_tracepoint_args",),
    P.RAW_TRACEPOINT_WRITABLE: ("bpf_raw_tracepoint_args",),
    P.CGROUP_DEVICE: ("bpf_cgroup_dev_ctx",),
    P.CGROUP_SYSCTL: ("bpf_sysctl",),
    P.CGROUP_SOCKOPT: ("bpf_sockopt",),
    P.SK_REUSEPORT: ("sk_reuseport_md",),
    P.SK_LOOKUP: ("bpf_sk_lookup",),
    P.NETFILTER: ("bpf_nf_ctx",),
}
"""The struct that a context is to programs, and, where that is a view, the kernel's own, which stands for it as well.
Types that are not here have none of their own."""
PT_REGS_TYPEDEF = "bpf_user_pt_regs_t"
"""The typedef, of ``struct pt_regs``, by which Linux knows the context of a kprobe."""
