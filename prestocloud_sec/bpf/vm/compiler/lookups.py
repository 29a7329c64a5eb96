# SPDX-License-Identifier: Apache-2.0
"""Lookups in array and hash maps as LLVM IR, for maps that are known when a program is compiled.

The twins of `prestocloud_sec.bpf.maps.array_kernel.lookup` and of `prestocloud_sec.bpf.maps.hash_kernel.find`, for keys
of one machine word. A program looks most things up in these, and the call of a helper takes longer than the lookup.
"""

from __future__ import annotations

from dataclasses import dataclass

from prestocloud_sec.bpf.maps.hash_layout import MULTIPLIER, HashWord
from prestocloud_sec.bpf.maps.layout import Descriptor
from prestocloud_sec.bpf.vm.compiler.runtime import state_word
from prestocloud_sec.bpf.vm.layout import State

__all__ = ["KEY_SIZES", "MapFacts", "bucket_search", "search_name"]

KEY_SIZES = (4, 8)
"""Bytes of the keys that hash maps are searched for here."""
_LOW = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class MapFacts:
    """What is known of a map when a program is compiled.

    Attributes
    ----------
    total, element, stride : int
        Bytes of all values, of one, and from one to the next.
    writable : bool
        Whether programs may write to values.
    entries : int
        Elements of an array that can be looked up here; 0 for other maps.
    key : int
        Bytes of the key of a hash map that can be looked up here; 0 for other maps.
    """

    total: int
    element: int
    stride: int
    writable: bool
    entries: int = 0
    key: int = 0


def search_name(size: int) -> str:
    """Return the name of the function that searches hash maps for keys of so many bytes."""
    return f"@search{size}"


def bucket_search(size: int) -> str:
    """Return a function from a hash map's number and a key to the slot of the key, or -1."""
    bits = f"i{8 * size}"
    word = "".join(
        f"  %{name}p = getelementptr i8, ptr %map, i64 {8 * index}\n  %{name} = load {kind}, ptr %{name}p, align 8\n"
        for name, index, kind in (
            ("seeds", HashWord.SEEDS_AT, "ptr"),
            ("shift", HashWord.SHIFT, "i64"),
            ("buckets", HashWord.BUCKETS_AT, "ptr"),
            ("chain", HashWord.CHAIN_AT, "ptr"),
            ("keys", Descriptor.KEYS_AT, "ptr"),
        )
    )
    seeds = "".join(
        f"  %s{n}p = getelementptr i8, ptr %seeds, i64 {8 * n}\n  %s{n} = load i64, ptr %s{n}p, align 8\n"
        for n in range(3)
    )
    widen = "  %part = zext i32 %key to i64\n" if size == 4 else "  %part = add i64 %key, 0\n"
    return f"""
define private i64 {search_name(size)}(ptr %state, i64 %number, {bits} %key) nounwind {{
{state_word("t", State.MAPS_AT)}  %table = load ptr, ptr %t, align 8
  %place = getelementptr i64, ptr %table, i64 %number
  %map = load ptr, ptr %place, align 8
{word}{seeds}{widen}  %high = lshr i64 %part, 32
  %low = and i64 %part, {_LOW}
  %x = add i64 %s1, %high
  %y = add i64 %s2, %low
  %xy = mul i64 %x, %y
  %sum = add i64 %s0, %xy
  %drawn = lshr i64 %sum, 32
  %folded = lshr i64 %drawn, 16
  %mixed = xor i64 %drawn, %folded
  %spread = mul i64 %mixed, {MULTIPLIER}
  %word = and i64 %spread, {_LOW}
  %amount = and i64 %shift, 63
  %bucket = lshr i64 %word, %amount
  %head = getelementptr i32, ptr %buckets, i64 %bucket
  br label %turn
turn:
  %from = phi ptr [ %head, %0 ], [ %next, %other ]
  %one = load i32, ptr %from, align 4
  %none = icmp eq i32 %one, 0
  br i1 %none, label %absent, label %compare
compare:
  %less = sub i32 %one, 1
  %slot = zext i32 %less to i64
  %keyp = getelementptr i64, ptr %keys, i64 %slot
  %found = load {bits}, ptr %keyp, align {size}
  %same = icmp eq {bits} %found, %key
  br i1 %same, label %present, label %other
other:
  %next = getelementptr i32, ptr %chain, i64 %slot
  br label %turn
present:
  ret i64 %slot
absent:
  ret i64 -1
}}
"""
