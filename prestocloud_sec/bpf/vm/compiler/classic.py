# SPDX-License-Identifier: Apache-2.0
"""Loads of packet words in network order, which return from the function where there is none (classic BPF).

The function that contains the load returns 0 to whatever called it, as after an exit (Linux ``net/core/filter.c``,
``bpf_gen_ld_abs``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestocloud_sec.bpf.isa import LegacyLoad

if TYPE_CHECKING:
    from prestocloud_sec.bpf.vm.compiler.function import Function

__all__ = ["legacy_load"]


def legacy_load(f: Function, i: LegacyLoad) -> None:
    """Load a word of the packet."""
    bits = 8 * i.size
    if i.indirect or i.imm < 0:
        value = _anywhere(f, i)
    else:
        f.uses_data = True
        size = f.op("load i64, ptr %dsize")
        test = f.op(f"icmp uge i64 {size}, {i.imm + i.size}")
        good = f.label()
        f.add(f"  br i1 {test}, label %{good}, label %{f.nothing()}\n{good}:\n")
        value = _word_at(f, str(i.imm), bits)
    f.put(0, value)
    f.clobber()


def _word_at(f: Function, offset: str, bits: int) -> str:
    """Return the word in network order at an offset of the packet that is there."""
    host = f.op("load i64, ptr %dhost")
    pointer = f.op(f"inttoptr i64 {f.op(f'add i64 {host}, {offset}')} to ptr")
    word = f.op(f"load i{bits}, ptr {pointer}, align 1")
    if bits > 8:
        word = f.op(f"call i{bits} @llvm.bswap.i{bits}(i{bits} {word})")
    return f.op(f"zext i{bits} {word} to i64")


def _anywhere(f: Function, i: LegacyLoad) -> str:
    f.uses_data = True
    narrow = f.op(f"trunc i64 {f.get(i.src)} to i32") if i.indirect else "0"
    offset = f.op(f"sext i32 {f.op(f'add i32 {narrow}, {i.imm}')} to i64")
    size = f.op("load i64, ptr %dsize")
    room = f.op(f"sub i64 {size}, {i.size}")
    fits, forward = f.op(f"icmp sle i64 {offset}, {room}"), f.op(f"icmp sge i64 {offset}, 0")
    near, far, join = f.label(), f.label(), f.label()
    f.add(f"  br i1 {f.op(f'and i1 {fits}, {forward}')}, label %{near}, label %{far}\n{near}:\n")
    fast = _word_at(f, offset, 8 * i.size)
    f.add(f"  br label %{join}\n{far}:\n")
    slow = f.op(f"call preserve_mostcc i64 @packet_word(ptr %state, i64 {offset}, i64 {i.size})")
    none = f.op(f"icmp slt i64 {slow}, 0")
    f.add(f"  br i1 {none}, label %{f.nothing()}, label %{join}\n{join}:\n")
    return f.op(f"phi i64 [ {fast}, %{near} ], [ {slow}, %{far} ]")
