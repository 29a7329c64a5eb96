# SPDX-License-Identifier: Apache-2.0
"""A loop over the packets of a batch with the program written into it, for programs that only read.

The twin of ``_run_on`` in `prestocloud_sec.bpf.vm.batch_kernel`, which calls a compiled program for each packet. Here
LLVM sees both: where a packet lies stays in registers, and of what a run begins with only that is written which the
program could come to see.
"""

from __future__ import annotations

from dataclasses import dataclass

from prestocloud_sec.bpf.vm import layout
from prestocloud_sec.bpf.vm.batch_layout import Batch
from prestocloud_sec.bpf.vm.compiler.runtime import LITTLE, state_word
from prestocloud_sec.bpf.vm.context import SK_BUFF, XDP_MD, ContextKind, network_order
from prestocloud_sec.bpf.vm.layout import State

__all__ = ["Begin", "loop_text"]

AHEAD = 64
"""So many packets ahead of the one that runs, headers are asked for: memory takes longer than most programs."""
_ETHERNET = 14
_CONTEXT = layout.CONTEXT << layout.REGION_SHIFT
_IPV4, _IPV6 = network_order(0x0800), network_order(0x86DD)


@dataclass(frozen=True, slots=True)
class Begin:
    """What has to be written before each packet.

    Attributes
    ----------
    kind : ContextKind
        Which context there is.
    link_layer : bool
        Whether packets begin with an Ethernet header.
    raw : bool
        Whether r1 and r2 are address and length of the packet.
    regions : bool
        Whether the program can reach memory through the region table, the context included.
    words : bool
        Whether it can come to see the state's words about the packet.
    fuel, random, redirects : bool
        Whether it counts instructions, draws random numbers, says where packets go.
    """

    kind: ContextKind
    link_layer: bool
    raw: bool
    regions: bool
    words: bool
    fuel: bool
    random: bool
    redirects: bool


def _store(name: str, kind: str, value: str, base: str, offset: int) -> str:
    return f"  %{name} = getelementptr i8, ptr %{base}, i64 {offset}\n  store {kind} {value}, ptr %{name}, align 1\n"


def _protocol(begin: Begin) -> str:
    """Return what finds ``%protocol``, as it lies in memory."""
    if begin.link_layer:
        read = "  %typep = getelementptr i8, ptr %packet, i64 12\n  %type = load i16, ptr %typep, align 1\n"
        found = "  %seen = zext i16 %type to i32\n"
        least = _ETHERNET
    else:
        read = "  %byte = load i8, ptr %packet, align 1\n  %version = lshr i8 %byte, 4\n"
        found = (
            "  %is4 = icmp eq i8 %version, 4\n  %is6 = icmp eq i8 %version, 6\n"
            f"  %six = select i1 %is6, i32 {_IPV6}, i32 0\n  %seen = select i1 %is4, i32 {_IPV4}, i32 %six\n"
        )
        least = 1
    return (
        f"  %short = icmp ult i64 %length, {least}\n  br i1 %short, label %told, label %tell\ntell:\n{read}{found}"
        "  br label %told\ntold:\n  %protocol = phi i32 [ 0, %ask ], [ %seen, %tell ]\n"
    )


def _bounds(offset: int) -> str:
    """Return what writes ``data`` and ``data_end``, neighbours in both contexts, in one piece.

    Code that reads both at once would otherwise wait until the second has reached the cache.
    """
    high, low = ("%end", str(layout.PACKET_DATA)) if LITTLE else (str(layout.PACKET_DATA), "%end")
    return f"  %upper = shl i64 {high}, 32\n  %both = or i64 %upper, {low}\n" + _store(
        "ce", "i64", "%both", "context", offset
    )


def _context(begin: Begin) -> str:
    if begin.kind is ContextKind.XDP:
        return _bounds(XDP_MD.fields["data"].offset)
    if begin.kind is ContextKind.SKB:
        fields = SK_BUFF.fields
        return (
            _protocol(begin)
            + "  %length32 = trunc i64 %length to i32\n"
            + _store("cl", "i32", "%length32", "context", fields["len"].offset)
            + _store("cp", "i32", "%protocol", "context", fields["protocol"].offset)
            + _bounds(fields["data"].offset)
        )
    return ""


def _begin(begin: Begin) -> str:
    """Return what writes down that a packet begins."""
    text = []
    if begin.regions:
        at = 8 * layout.REGION_WORDS * layout.PACKET
        text.append(_context(begin))
        text.append(_store("rs", "i64", "%length", "table", at + 8 * layout.SIZE))
        text.append(_store("re", "i64", "%length", "table", at + 8 * layout.ELEMENT))
        text.append(_store("rh", "i64", "%host", "table", at + 8 * layout.HOST))
    if begin.words:
        text.append(f"  %buffer = sub i64 %host, {layout.HEADROOM}\n")
        text.append(_store("sp", "i64", "%buffer", "state", 8 * State.PACKET_AT))
        text.append(_store("se", "i64", "%end", "state", 8 * State.DATA_END))
        if begin.link_layer:
            text.append(
                f"  %longer = icmp ugt i64 %length, {_ETHERNET}\n"
                f"  %header = select i1 %longer, i64 {_ETHERNET}, i64 %length\n"
            )
            text.append(_store("sn", "i64", "%header", "state", 8 * State.NETWORK_OFFSET))
    if begin.redirects:
        text.append(_store("sr", "i64", "0", "state", 8 * State.REDIRECT))
    if begin.random:
        text.append(
            "  %fixed = icmp ne i64 %seed, 0\n  br i1 %fixed, label %sow, label %sown\nsow:\n"
            + _store("sx", "i64", "%seed", "state", 8 * State.RANDOM)
            + "  br label %sown\nsown:\n"
        )
    if begin.fuel:
        text.append(_store("sf", "i64", "%fuel", "state", 8 * State.FUEL))
    return "".join(text)


def _arguments(begin: Begin) -> str:
    """Return what finds r1 and r2."""
    if not begin.raw:
        return f"  %r1 = add i64 {_CONTEXT}, 0\n  %r2 = add i64 0, 0\n"
    return (
        "  %empty = icmp eq i64 %length, 0\n"
        f"  %r1 = select i1 %empty, i64 0, i64 {layout.PACKET_DATA}\n  %r2 = add i64 %length, 0\n"
    )


_POINTERS = (
    ("state", Batch.STATE_AT),
    ("table", Batch.TABLE_AT),
    ("context", Batch.CONTEXT_AT),
    ("source", Batch.SOURCE_AT),
    ("offsets", Batch.OFFSETS_AT),
    ("lengths", Batch.LENGTHS_AT),
    ("values", Batch.VALUES_AT),
)
_NUMBERS = (("size", Batch.SOURCE_SIZE), ("count", Batch.COUNT), ("fuel", Batch.FUEL), ("seed", Batch.SEED))


def loop_text(begin: Begin) -> str:
    """Return ``i64 packets(ptr batch, i64 first)``, which calls ``body`` for each packet from `first` on.

    It returns the index of the packet that it stopped at: one that does not lie in the buffer, one whose run left a
    fault in the state, or that behind the last.
    """
    words = "".join(
        f"  %{name}w = getelementptr i8, ptr %batch, i64 {8 * word}\n  %{name} = load {kind}, ptr %{name}w, align 8\n"
        for kind, rows in (("ptr", _POINTERS), ("i64", _NUMBERS))
        for name, word in rows
    )
    arguments = "ptr %state, i64 0, i64 %r1, i64 %r2, i64 %host, i64 %length, ptr %context"
    return f"""
declare void @llvm.prefetch.p0(ptr, i32, i32, i32)

define i64 @packets(ptr %batch, i64 %first) nounwind {{
entry:
{words}  %last = sub i64 %count, 1
  br label %turn
turn:
  %index = phi i64 [ %first, %entry ], [ %following, %next ]
  %more = icmp slt i64 %index, %count
  br i1 %more, label %look, label %out
look:
  %lengthp = getelementptr i64, ptr %lengths, i64 %index
  %length = load i64, ptr %lengthp, align 8
  %offsetp = getelementptr i64, ptr %offsets, i64 %index
  %offset = load i64, ptr %offsetp, align 8
  %fits = icmp ule i64 %length, %size
  %room = sub i64 %size, %length
  %lies = icmp ule i64 %offset, %room
  %inside = and i1 %fits, %lies
  br i1 %inside, label %ask, label %out, !prof !1
ask:
  %far = add i64 %index, {AHEAD}
  %beyond = icmp sgt i64 %far, %last
  %then = select i1 %beyond, i64 %last, i64 %far
  %thenp = getelementptr i64, ptr %offsets, i64 %then
  %later = load i64, ptr %thenp, align 8
  %header1 = getelementptr i8, ptr %source, i64 %later
  %header2 = getelementptr i8, ptr %header1, i64 63
  call void @llvm.prefetch.p0(ptr %header1, i32 0, i32 3, i32 1)
  call void @llvm.prefetch.p0(ptr %header2, i32 0, i32 3, i32 1)
  %packet = getelementptr i8, ptr %source, i64 %offset
  %host = ptrtoint ptr %packet to i64
  %end = add i64 %length, {layout.PACKET_DATA}
{_begin(begin)}{_arguments(begin)}  %value = call i64 @body({arguments})
{state_word("faultp", State.FAULT)}  %fault = load i64, ptr %faultp, align 8
  %bad = icmp ne i64 %fault, 0
  br i1 %bad, label %out, label %next, !prof !0
next:
  %valuep = getelementptr i64, ptr %values, i64 %index
  store i64 %value, ptr %valuep, align 8
  %following = add i64 %index, 1
  br label %turn
out:
  ret i64 %index
}}
"""
