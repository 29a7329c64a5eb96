# SPDX-License-Identifier: Apache-2.0
"""What programs may read and write of their context: a row for each field, and for each type of program its fields.

Sources: Linux 6.18, ``include/uapi/linux/bpf.h`` for the fields, and for what may be done with each the functions that
a type of program registers as ``is_valid_access`` (``net/core/filter.c``, ``kernel/bpf/cgroup.c``,
``kernel/trace/bpf_trace.c``). A field's row is its name, offset, size, and how it may be read:

====  =============================================================
mode  loads that are allowed
====  =============================================================
f     the whole field
n     the whole field, or a naturally aligned part of it
w     as ``n``, and eight aligned bytes of an array of 32-bit fields
s     the whole field, or a part of it from its first byte on
p     the whole field; it gives a pointer
====  =============================================================
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from prestocloud_sec.bpf.verifier.registers import Kind

__all__ = ["CONTEXTS", "Access", "Field", "Layout", "Pointer"]


class Field(NamedTuple):
    """One field; see the head of this module."""

    name: str
    offset: int
    size: int
    mode: str


class Pointer(NamedTuple):
    """What kind of pointer a field gives."""

    kind: Kind
    nullable: bool = False


def _fields(text: str) -> tuple[Field, ...]:
    """Read rows of fields; one with ``[n]`` after its name is that many in a row."""
    found = []
    for line in text.strip().splitlines():
        name, offset, size, mode = line.split()
        base, _, count = name.rstrip("]").partition("[")
        found += [Field(base, int(offset) + turn * int(size), int(size), mode) for turn in range(int(count or 1))]
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Layout:
    """The fields of a structure.

    Attributes
    ----------
    fields : tuple of Field
    size : int
        Bytes of the structure; nothing lies beyond.
    """

    fields: tuple[Field, ...]
    size: int

    def find(self, offset: int) -> Field | None:
        """Return the field that a byte belongs to."""
        for row in self.fields:
            if row.offset <= offset < row.offset + row.size:
                return row
        return None


SK_BUFF = Layout(
    _fields("""
    len 0 4 n
    pkt_type 4 4 n
    mark 8 4 n
    queue_mapping 12 4 n
    protocol 16 4 n
    vlan_present 20 4 n
    vlan_tci 24 4 n
    vlan_proto 28 4 n
    priority 32 4 n
    ingress_ifindex 36 4 n
    ifindex 40 4 n
    tc_index 44 4 n
    cb 48 20 c
    hash 68 4 n
    tc_classid 72 4 n
    data 76 4 p
    data_end 80 4 p
    napi_id 84 4 n
    family 88 4 n
    remote_ip4 92 4 f
    local_ip4 96 4 f
    remote_ip6[4] 100 4 f
    local_ip6[4] 116 4 f
    remote_port 132 4 n
    local_port 136 4 n
    data_meta 140 4 p
    flow_keys 144 8 p
    tstamp 152 8 f
    wire_len 160 4 n
    gso_segs 164 4 n
    sk 168 8 p
    gso_size 176 4 n
    tstamp_type 180 1 f
    hwtstamp 184 8 f
    """),
    192,
)
_PEER = frozenset({"family", "remote_ip4", "local_ip4", "remote_ip6", "local_ip6", "remote_port", "local_port"})

XDP_MD = Layout(
    _fields("""
    data 0 4 p
    data_end 4 4 p
    data_meta 8 4 p
    ingress_ifindex 12 4 f
    rx_queue_index 16 4 f
    egress_ifindex 20 4 f
    """),
    24,
)
SOCK = Layout(
    _fields("""
    bound_dev_if 0 4 f
    family 4 4 s
    type 8 4 s
    protocol 12 4 s
    mark 16 4 f
    priority 20 4 f
    src_ip4 24 4 n
    src_ip6[4] 28 4 n
    src_port 44 4 s
    dst_port 48 2 4
    dst_ip4 52 4 n
    dst_ip6[4] 56 4 n
    state 72 4 s
    rx_queue_mapping 76 4 s
    """),
    80,
)
TCP_SOCK = Layout(_fields("counters[20] 0 4 f\nbytes_received 80 8 f\nbytes_acked 88 8 f\nmore[4] 96 4 f"), 112)
XDP_SOCK = Layout(_fields("queue_id 0 4 f"), 4)
FLOW_KEYS_SIZE = 56
SOCK_ADDR = Layout(
    _fields("""
    user_family 0 4 f
    user_ip4 4 4 n
    user_ip6[4] 8 4 w
    user_port 24 4 n
    family 28 4 f
    type 32 4 f
    protocol 36 4 f
    msg_src_ip4 40 4 n
    msg_src_ip6[4] 44 4 w
    sk 64 8 p
    """),
    72,
)
SOCK_OPS = Layout(
    _fields("""
    op 0 4 f
    reply 4 4 f
    replylong[3] 8 4 f
    words[17] 20 4 f
    state 88 4 f
    more[18] 92 4 f
    sk_txhash 164 4 f
    bytes_received 168 8 f
    bytes_acked 176 8 f
    sk 184 8 p
    skb_data 192 8 p
    skb_data_end 200 8 p
    skb_len 208 4 f
    skb_tcp_flags 212 4 s
    skb_hwtstamp 216 8 f
    """),
    224,
)
SK_MSG = Layout(_fields("data 0 8 p\ndata_end 8 8 p\nwords[14] 16 4 f\nsk 72 8 p"), 80)
SK_LOOKUP = Layout(
    _fields("""
    sk 0 8 p
    family 8 4 n
    protocol 12 4 n
    remote_ip4 16 4 n
    remote_ip6[4] 20 4 n
    remote_port 36 4 n
    local_ip4 40 4 n
    local_ip6[4] 44 4 n
    local_port 60 4 n
    ingress_ifindex 64 4 n
    """),
    72,
)
SK_REUSEPORT = Layout(
    _fields("""
    data 0 8 p
    data_end 8 8 p
    len 16 4 n
    eth_protocol 20 4 h
    ip_protocol 24 4 n
    bind_inany 28 4 n
    hash 32 4 f
    sk 40 8 p
    migrating_sk 48 8 p
    """),
    56,
)
DEVICE = Layout(_fields("access_type 0 4 n\nmajor 4 4 f\nminor 8 4 f"), 12)
SYSCTL = Layout(_fields("write 0 4 n\nfile_pos 4 4 n"), 8)
SOCKOPT = Layout(
    _fields("""
    sk 0 8 p
    optval 8 8 p
    optval_end 16 8 p
    level 24 4 f
    optname 28 4 f
    optlen 32 4 f
    retval 36 4 f
    """),
    40,
)
PERF_EVENT = Layout(_fields("regs[21] 0 8 f\nsample_period 168 8 n\naddr 176 8 n"), 184)
REGISTERS = Layout(_fields("regs[21] 0 8 n"), 168)


@dataclass(frozen=True, slots=True)
class Access:
    """What a type of program may do with its context.

    Attributes
    ----------
    layout : Layout
    hidden : frozenset of str
        Fields of the layout that it may not read.
    writable : frozenset of str
        Fields that it may write, whole.
    pointers : mapping of str to Pointer
        What fields of mode ``p`` give; those that are not here cannot be read.
    only_at : mapping of str to frozenset of int
        Fields that exist only where the program is to be attached at one of these places.
    writable_at : mapping of str to frozenset of int
        Fields that may be written only there.
    raw : tuple of (int, int, int) or None
        Where no field begins: the first byte, that behind the last, and the alignment; any aligned load is allowed.
    """

    layout: Layout
    hidden: frozenset[str] = frozenset()
    writable: frozenset[str] = frozenset()
    pointers: dict[str, Pointer] = field(default_factory=dict)
    only_at: dict[str, frozenset[int]] = field(default_factory=dict)
    writable_at: dict[str, frozenset[int]] = field(default_factory=dict)
    raw: tuple[int, int] | None = None


_DATA = {"data": Pointer(Kind.PACKET), "data_end": Pointer(Kind.PACKET_END)}
_META = {**_DATA, "data_meta": Pointer(Kind.PACKET_META)}
_SKB_SOCKET = {"sk": Pointer(Kind.SOCKET_COMMON, nullable=True)}
_SOCKET = {"sk": Pointer(Kind.SOCKET)}


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_V4, _V6 = frozenset({8, 10, 14, 19, 29, 31}), frozenset({9, 11, 15, 20, 30, 32})
"""Places of socket addresses: bind, connect, sendmsg, recvmsg, getpeername, getsockname."""
_LWT = Access(
    SK_BUFF,
    _names("tc_classid data_meta tstamp wire_len hwtstamp tstamp_type") | _PEER,
    _names("mark priority cb"),
    _DATA | _SKB_SOCKET,
)
_TC = Access(
    SK_BUFF,
    _PEER,
    _names("mark tc_index priority tc_classid cb tstamp queue_mapping"),
    _META | _SKB_SOCKET,
)

CONTEXTS: dict[str, Access] = {
    "SOCKET_FILTER": Access(
        SK_BUFF,
        _names("tc_classid tstamp wire_len hwtstamp tstamp_type") | _PEER,
        _names("cb"),
        _SKB_SOCKET,
    ),
    "SCHED_CLS": _TC,
    "SCHED_ACT": _TC,
    "CGROUP_SKB": Access(
        SK_BUFF,
        _names("tc_classid data_meta wire_len tstamp_type"),
        _names("mark priority cb tstamp"),
        _DATA | _SKB_SOCKET,
    ),
    "LWT_IN": _LWT,
    "LWT_OUT": _LWT,
    "LWT_XMIT": _LWT,
    "LWT_SEG6LOCAL": _LWT,
    "SK_SKB": Access(
        SK_BUFF,
        _names("tc_classid data_meta tstamp wire_len hwtstamp mark tstamp_type"),
        _names("tc_index priority"),
        _DATA | _SKB_SOCKET,
    ),
    "FLOW_DISSECTOR": Access(
        SK_BUFF,
        frozenset(row.name for row in SK_BUFF.fields) - {"data", "data_end", "flow_keys"},
        frozenset(),
        _DATA | {"flow_keys": Pointer(Kind.FLOW_KEYS)},
    ),
    "XDP": Access(XDP_MD, pointers=_META, only_at={"egress_ifindex": frozenset({33})}),
    "CGROUP_SOCK": Access(
        SOCK,
        frozenset(),
        _names("bound_dev_if mark priority"),
        only_at={
            "bound_dev_if": frozenset({2, 34}),
            "mark": frozenset({2, 34}),
            "priority": frozenset({2, 34}),
            "src_ip4": frozenset({12}),
            "src_ip6": frozenset({13}),
            "src_port": frozenset({12, 13}),
        },
    ),
    "CGROUP_SOCK_ADDR": Access(
        SOCK_ADDR,
        frozenset(),
        _names("user_ip4 user_ip6 user_port msg_src_ip4 msg_src_ip6"),
        _SOCKET,
        only_at={
            "user_ip4": _V4,
            "user_ip6": _V6,
            "msg_src_ip4": frozenset({14}),
            "msg_src_ip6": frozenset({15}),
        },
    ),
    "SOCK_OPS": Access(
        SOCK_OPS,
        frozenset(),
        _names("reply sk_txhash"),
        {
            "sk": Pointer(Kind.SOCKET, nullable=True),
            "skb_data": Pointer(Kind.PACKET),
            "skb_data_end": Pointer(Kind.PACKET_END),
        },
    ),
    "SK_MSG": Access(SK_MSG, pointers=_DATA | _SOCKET),
    "SK_LOOKUP": Access(SK_LOOKUP, pointers={"sk": Pointer(Kind.SOCKET, nullable=True)}),
    "SK_REUSEPORT": Access(
        SK_REUSEPORT,
        pointers=_DATA | _SOCKET | {"migrating_sk": Pointer(Kind.SOCKET_COMMON, nullable=True)},
    ),
    "CGROUP_DEVICE": Access(DEVICE),
    "CGROUP_SYSCTL": Access(SYSCTL, writable=_names("file_pos")),
    "CGROUP_SOCKOPT": Access(
        SOCKOPT,
        frozenset(),
        _names("level optname optlen retval"),
        {
            "optval": Pointer(Kind.PACKET),
            "optval_end": Pointer(Kind.PACKET_END),
            **_SOCKET,
        },
        only_at={"retval": frozenset({21})},
        writable_at={"level": frozenset({22}), "optname": frozenset({22})},
    ),
    "PERF_EVENT": Access(PERF_EVENT),
    "KPROBE": Access(REGISTERS),
    "TRACEPOINT": Access(Layout((), 8192), raw=(8, 8192)),
    "RAW_TRACEPOINT": Access(Layout((), 96), raw=(0, 96)),
    "RAW_TRACEPOINT_WRITABLE": Access(
        Layout(_fields("buffer 0 8 p"), 96), pointers={"buffer": Pointer(Kind.BUFFER)}, raw=(0, 96)
    ),
}
"""By the name of the type of program."""

SOCKETS: dict[Kind, Access] = {
    Kind.SOCKET: Access(SOCK),
    Kind.SOCKET_COMMON: Access(SOCK, _names("type protocol mark priority")),
    Kind.TCP_SOCKET: Access(TCP_SOCK),
    Kind.XDP_SOCKET: Access(XDP_SOCK),
}
"""What may be read of sockets; nothing may be written."""


def allowed(access: Access, offset: int, size: int, *, write: bool, attach: int) -> Pointer | bool:
    """Return whether an access of a context or socket is allowed, or what pointer it gives.

    Parameters
    ----------
    access : Access
    offset, size : int
        Bytes.
    write : bool
    attach : int
        Where the program is to be attached (``expected_attach_type``).
    """
    layout = access.layout
    if not 0 <= offset < layout.size or offset % size:
        return False
    row = layout.find(offset)
    if access.raw is not None and (row is None or row.offset != offset):
        first, last = access.raw
        return not write and first <= offset and offset + size <= last
    if row is None or row.name in access.hidden or attach not in access.only_at.get(row.name, (attach,)):
        return False
    if write:
        if row.name not in access.writable or attach not in access.writable_at.get(row.name, (attach,)):
            return False
        if row.mode == "c":
            return offset + size <= row.offset + row.size
        return size == row.size or (row.mode == "w" and size == 8 and _within(layout, row.name, offset, 8))
    if row.mode == "p":
        return access.pointers.get(row.name, False) if (offset, size) == (row.offset, row.size) else False
    return _readable(layout, row, offset, size)


def _within(layout: Layout, name: str, offset: int, size: int) -> bool:
    return all((row := layout.find(place)) is not None and row.name == name for place in range(offset, offset + size))


def _readable(layout: Layout, row: Field, offset: int, size: int) -> bool:
    match row.mode:
        case "f":
            return (offset, size) == (row.offset, row.size)
        case "s":
            return offset == row.offset and size <= row.size
        case "c":
            return offset + size <= row.offset + row.size
        case "w":
            return offset + size <= row.offset + row.size or (size == 8 and _within(layout, row.name, offset, 8))
        case "4":  # a 16-bit field that was a 32-bit one
            return offset + size <= row.offset + row.size or (offset == row.offset and size == 4)
        case "h":  # at least two bytes
            return size >= 2 and offset + size <= row.offset + row.size
        case _:
            return offset + size <= row.offset + row.size
