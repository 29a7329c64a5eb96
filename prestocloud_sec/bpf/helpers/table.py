# SPDX-License-Identifier: Apache-2.0
"""The kernel's helpers as text: what `prestocloud_sec.bpf.helpers.prototypes` makes its objects of.

Sources: numbers, names and arguments are those of Linux 6.18, ``include/uapi/linux/bpf.h``. Which type may call what,
and which helpers are for GPL-compatible programs only, is what a running 6.18 kernel says of each helper in each type;
of types with several places to attach to, those of all are here. Types that could not be asked there (tracing, LSM,
struct_ops, extensions, syscall and infrared programs) have the helpers common to all that could. Two helpers that
kernel was built without (``probe_write_user``, ``override_return``) belong to no type.

Lists of helpers are numbers and ranges of numbers.
"""

from __future__ import annotations

from prestocloud_sec.bpf.program_type import ProgramType

__all__ = ["CHANGES_PACKET", "COMMON", "FURTHER", "GPL", "TABLE"]

TABLE = """\
1 map_lookup_elem map key -> value?
2 map_update_elem map key value any -> int
3 map_delete_elem map key -> int
4 probe_read mem_out size0 any -> int
5 ktime_get_ns -> int
6 trace_printk mem size any any any -> int
7 get_prandom_u32 -> int
8 get_smp_processor_id -> int
9 skb_store_bytes ctx any mem size any -> int
10 l3_csum_replace ctx any any any any -> int
11 l4_csum_replace ctx any any any any -> int
12 tail_call ctx map any -> void
13 clone_redirect ctx any any -> int
14 get_current_pid_tgid -> int
15 get_current_uid_gid -> int
16 get_current_comm mem_out size -> int
17 get_cgroup_classid ctx -> int
18 skb_vlan_push ctx any any -> int
19 skb_vlan_pop ctx -> int
20 skb_get_tunnel_key ctx mem_out size any -> int
21 skb_set_tunnel_key ctx mem size any -> int
22 perf_event_read map any -> int
23 redirect any any -> int
24 get_route_realm ctx -> int
25 perf_event_output ctx map any mem size0 -> int
26 skb_load_bytes ctx any mem_out size -> int
27 get_stackid ctx map any -> int
28 csum_diff mem? size0 mem? size0 any -> int
29 skb_get_tunnel_opt ctx mem_out size -> int
30 skb_set_tunnel_opt ctx mem size -> int
31 skb_change_proto ctx any any -> int
32 skb_change_type ctx any -> int
33 skb_under_cgroup ctx map any -> int
34 get_hash_recalc ctx -> int
35 get_current_task -> int
36 probe_write_user any mem size -> int
37 current_task_under_cgroup map any -> int
38 skb_change_tail ctx any any -> int
39 skb_pull_data ctx any -> int
40 csum_update ctx any -> int
41 set_hash_invalid ctx -> int
42 get_numa_node_id -> int
43 skb_change_head ctx any any -> int
44 xdp_adjust_head ctx any -> int
45 probe_read_str mem_out size0 any -> int
46 get_socket_cookie ctx -> int
47 get_socket_uid ctx -> int
48 set_hash ctx any -> int
49 setsockopt ctx any any mem size -> int
50 skb_adjust_room ctx any any any -> int
51 redirect_map map any any -> int
52 sk_redirect_map ctx map any any -> int
53 sock_map_update ctx map key any -> int
54 xdp_adjust_meta ctx any -> int
55 perf_event_read_value map any mem_out size -> int
56 perf_prog_read_value ctx mem_out size -> int
57 getsockopt ctx any any mem_out size -> int
58 override_return ctx any -> int
59 sock_ops_cb_flags_set ctx any -> int
60 msg_redirect_map ctx map any any -> int
61 msg_apply_bytes ctx any -> int
62 msg_cork_bytes ctx any -> int
63 msg_pull_data ctx any any any -> int
64 bind ctx mem size -> int
65 xdp_adjust_tail ctx any -> int
66 skb_get_xfrm_state ctx any mem_out size any -> int
67 get_stack ctx mem_out size0 any -> int
68 skb_load_bytes_relative ctx any mem_out size any -> int
69 fib_lookup ctx mem_out size any -> int
70 sock_hash_update ctx map key any -> int
71 msg_redirect_hash ctx map key any -> int
72 sk_redirect_hash ctx map key any -> int
73 lwt_push_encap ctx any mem size -> int
74 lwt_seg6_store_bytes ctx any mem size -> int
75 lwt_seg6_adjust_srh ctx any any -> int
76 lwt_seg6_action ctx any mem size -> int
77 rc_repeat ctx -> int
78 rc_keydown ctx any any any -> int
79 skb_cgroup_id ctx -> int
80 get_current_cgroup_id -> int
81 get_local_storage map any -> value
82 sk_select_reuseport ctx map key any -> int
83 skb_ancestor_cgroup_id ctx any -> int
84 sk_lookup_tcp ctx mem size any any -> sock?
85 sk_lookup_udp ctx mem size any any -> sock?
86 sk_release sock_any -> int
87 map_push_elem map value any -> int
88 map_pop_elem map value_out -> int
89 map_peek_elem map value_out -> int
90 msg_push_data ctx any any any -> int
91 msg_pop_data ctx any any any -> int
92 rc_pointer_rel ctx any any -> int
93 spin_lock lock -> void
94 spin_unlock lock -> void
95 sk_fullsock sock_common -> sock?
96 tcp_sock sock_common -> tcp_sock?
97 skb_ecn_set_ce ctx -> int
98 get_listener_sock sock_common -> sock?
99 skc_lookup_tcp ctx mem size any any -> sock_common?
100 tcp_check_syncookie sock_any mem size mem size -> int
101 sysctl_get_name ctx mem_out size any -> int
102 sysctl_get_current_value ctx mem_out size -> int
103 sysctl_get_new_value ctx mem_out size -> int
104 sysctl_set_new_value ctx mem size -> int
105 strtol mem size any long_out -> int
106 strtoul mem size any long_out -> int
107 sk_storage_get map sock_any value? any -> value?
108 sk_storage_delete map sock_any -> int
109 send_signal any -> int
110 tcp_gen_syncookie sock_any mem size mem size -> int
111 skb_output btf map any mem size0 -> int
112 probe_read_user mem_out size0 any -> int
113 probe_read_kernel mem_out size0 any -> int
114 probe_read_user_str mem_out size0 any -> int
115 probe_read_kernel_str mem_out size0 any -> int
116 tcp_send_ack btf any -> int
117 send_signal_thread any -> int
118 jiffies64 -> int
119 read_branch_records ctx mem_out? size0 any -> int
120 get_ns_current_pid_tgid any any mem_out size -> int
121 xdp_output btf map any mem size0 -> int
122 get_netns_cookie ctx -> int
123 get_current_ancestor_cgroup_id any -> int
124 sk_assign ctx sock_any any -> int
125 ktime_get_boot_ns -> int
126 seq_printf btf mem size mem? size0 -> int
127 seq_write btf mem size0 -> int
128 sk_cgroup_id sock_any -> int
129 sk_ancestor_cgroup_id sock_any any -> int
130 ringbuf_output map mem size0 any -> int
131 ringbuf_reserve map alloc any -> record?
132 ringbuf_submit record any -> void
133 ringbuf_discard record any -> void
134 ringbuf_query map any -> int
135 csum_level ctx any -> int
136 skc_to_tcp6_sock sock_any -> btf?
137 skc_to_tcp_sock sock_any -> btf?
138 skc_to_tcp_timewait_sock sock_any -> btf?
139 skc_to_tcp_request_sock sock_any -> btf?
140 skc_to_udp6_sock sock_any -> btf?
141 get_task_stack btf mem_out size0 any -> int
142 load_hdr_opt ctx mem_out size any -> int
143 store_hdr_opt ctx mem size any -> int
144 reserve_hdr_opt ctx any any -> int
145 inode_storage_get map btf value? any -> value?
146 inode_storage_delete map btf -> int
147 d_path btf mem_out size0 -> int
148 copy_from_user mem_out size0 any -> int
149 snprintf_btf mem_out size mem size any -> int
150 seq_printf_btf btf mem size0 any -> int
151 skb_cgroup_classid ctx -> int
152 redirect_neigh any mem? size0 any -> int
153 per_cpu_ptr percpu_btf any -> percpu?
154 this_cpu_ptr percpu_btf -> percpu
155 redirect_peer any any -> int
156 task_storage_get map btf value? any -> value?
157 task_storage_delete map btf -> int
158 get_current_task_btf -> btf
159 bprm_opts_set btf any -> int
160 ktime_get_coarse_ns -> int
161 ima_inode_hash btf mem_out size -> int
162 sock_from_file btf -> btf?
163 check_mtu ctx any long_out any any -> int
164 for_each_map_elem map func stack? any -> int
165 snprintf mem_out? size0 str mem? size0 -> int
166 sys_bpf any mem size -> int
167 btf_find_by_name_kind mem size any any -> int
168 sys_close any -> int
169 timer_init timer map any -> int
170 timer_set_callback timer func -> int
171 timer_start timer any any -> int
172 timer_cancel timer -> int
173 get_func_ip ctx -> int
174 get_attach_cookie ctx -> int
175 task_pt_regs btf -> btf
176 get_branch_snapshot mem_out size0 any -> int
177 trace_vprintk mem size mem? size0 -> int
178 skc_to_unix_sock sock_any -> btf?
179 kallsyms_lookup_name mem size0 any long_out -> int
180 find_vma btf any func stack? any -> int
181 loop any func stack? any -> int
182 strncmp mem size str -> int
183 get_func_arg ctx any long_out -> int
184 get_func_ret ctx long_out -> int
185 get_func_arg_cnt ctx -> int
186 get_retval -> int
187 set_retval any -> int
188 xdp_get_buff_len ctx -> int
189 xdp_load_bytes ctx any mem_out size -> int
190 xdp_store_bytes ctx any mem size -> int
191 copy_from_user_task mem_out size0 any btf any -> int
192 skb_set_tstamp ctx any any -> int
193 ima_file_hash btf mem_out size -> int
194 kptr_xchg kptr btf -> kptr?
195 map_lookup_percpu_elem map key any -> value?
196 skc_to_mptcp_sock sock_any -> btf?
197 dynptr_from_mem mem_out size0 any dynptr_out -> int
198 ringbuf_reserve_dynptr map any any dynptr_out -> int
199 ringbuf_submit_dynptr dynptr_record any -> void
200 ringbuf_discard_dynptr dynptr_record any -> void
201 dynptr_read mem_out size0 dynptr any any -> int
202 dynptr_write dynptr any mem size0 any -> int
203 dynptr_data dynptr any alloc -> dynptr_mem?
204 tcp_raw_gen_syncookie_ipv4 mem mem size0 -> int
205 tcp_raw_gen_syncookie_ipv6 mem mem size0 -> int
206 tcp_raw_check_syncookie_ipv4 mem mem -> int
207 tcp_raw_check_syncookie_ipv6 mem mem -> int
208 ktime_get_tai_ns -> int
209 user_ringbuf_drain map func stack? any -> int
210 cgrp_storage_get map btf value? any -> value?
211 cgrp_storage_delete map btf -> int
"""
"""A line for each helper: number, name, arguments (values of `Argument`), result (a value of `Returns`)."""

GPL = "4 6 22 25 27 35 45 55 56 67 69 100 110 112-115 119 158 163 165 169-173 175-177 191 204-207"
"""Helpers for GPL-compatible programs only."""

CHANGES_PACKET = "9-13 18 19 31 38 39 43 44 50 54 63 65 73-76 90 91 143 144"
"""Linux 6.18, ``net/core/filter.c``, ``bpf_helper_changes_pkt_data``."""

COMMON = (
    "1-3 5-8 12 14-17 22 35 37 42 55 80 87-89 93 94 105 106 109 112-115 117 118 120 123 125 130-134 141 148 149 153 "
    "154 156-158 164 165 169-172 175-177 180-182 191 194 195 197-203 208-211"
)
"""Helpers that every type may call."""
_SOCKET_CASTS = "136-140 160 178 196"
_CLASSIFIER = (
    "9-11 13 18-21 23-26 28-34 38-41 43 46-48 50 66 68 69 79 83-86 95-100 107 108 110 122 124 135 151 152 155 163 192 "
    "204-207 " + _SOCKET_CASTS
)
_TRACE = "4 25 27 45 67 173 174"
_ROUTE = "24-26 28 33 34 39 " + _SOCKET_CASTS

FURTHER: dict[ProgramType, str] = {
    ProgramType.SOCKET_FILTER: "25 26 46 47 68 122 " + _SOCKET_CASTS,
    ProgramType.KPROBE: _TRACE,
    ProgramType.SCHED_CLS: _CLASSIFIER,
    ProgramType.SCHED_ACT: _CLASSIFIER,
    ProgramType.TRACEPOINT: _TRACE,
    ProgramType.XDP: "23 25 28 44 51 54 65 69 84-86 99 100 110 163 188-190 204-207 " + _SOCKET_CASTS,
    ProgramType.PERF_EVENT: "56 119 " + _TRACE,
    ProgramType.CGROUP_SKB: "25 26 46 47 68 79 81 83-86 95-99 107 108 122 128 129 " + _SOCKET_CASTS,
    ProgramType.CGROUP_SOCK: "25 46 81 107 122 160 186 187",
    ProgramType.LWT_IN: "73 " + _ROUTE,
    ProgramType.LWT_OUT: _ROUTE,
    ProgramType.LWT_XMIT: "9-11 13 20 21 23 29 30 38 40 41 43 73 135 " + _ROUTE,
    ProgramType.SOCK_OPS: "25 46 49 53 57 59 70 81 96 107 108 122 142-144 " + _SOCKET_CASTS,
    ProgramType.SK_SKB: "9 25 26 38 39 43 46 47 50 52 72 84-86 99 " + _SOCKET_CASTS,
    ProgramType.CGROUP_DEVICE: "25 81",
    ProgramType.SK_MSG: "25 60-63 71 90 91 107 108 122 " + _SOCKET_CASTS,
    ProgramType.RAW_TRACEPOINT: _TRACE,
    ProgramType.CGROUP_SOCK_ADDR: "25 46 49 57 64 81 84-86 99 107 108 122 186 187 " + _SOCKET_CASTS,
    ProgramType.LWT_SEG6LOCAL: "74-76 " + _ROUTE,
    ProgramType.SK_REUSEPORT: "26 46 68 82 160",
    ProgramType.FLOW_DISSECTOR: "26 " + _SOCKET_CASTS,
    ProgramType.CGROUP_SYSCTL: "25 81 101-104 160",
    ProgramType.RAW_TRACEPOINT_WRITABLE: _TRACE,
    ProgramType.CGROUP_SOCKOPT: "25 49 57 81 96 107 108 122 186 187",
    ProgramType.SK_LOOKUP: "25 86 124 " + _SOCKET_CASTS,
}
"""What each type may call beyond `COMMON`."""
