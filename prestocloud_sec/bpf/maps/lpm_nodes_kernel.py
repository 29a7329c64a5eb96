# SPDX-License-Identifier: Apache-2.0
"""The nodes of tries in compiled code; what they are stands in `prestocloud_sec.bpf.maps.lpm_layout`.

A *link* is where the number of a node stands, plus 1: the address of a uint32 behind a key, or of the word of the
root.
"""

from __future__ import annotations

import errno
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from prestocloud_sec._jit import kernel
from prestocloud_sec.bpf._raw_kernel import load8, load32, load64, move, store32
from prestocloud_sec.bpf.maps._words_kernel import entry, set_entry, set_word, swap64, word
from prestocloud_sec.bpf.maps.layout import Descriptor
from prestocloud_sec.bpf.maps.lpm_layout import LpmWord

__all__ = [
    "DATA",
    "agreeing_bits",
    "bit_at",
    "bits_of",
    "child_link",
    "fill",
    "fill_like",
    "free_branch",
    "free_slot",
    "is_branch",
    "put_value",
    "row_of",
    "take_branch",
    "take_slot",
]

_I, _U = types.int64, types.uint64
DATA = _I(4)
"""Where the bits of a prefix begin, behind its length."""
_ENOSPC, _ENOMEM = _I(-errno.ENOSPC), _I(-errno.ENOMEM)


def _leading(_typing: Any, _value: Any) -> Any:
    """Return how many of the highest bits of a number are 0; of 0, 64."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), generate


leading_zeros: Any = intrinsic(_leading)


@kernel(inline="always")
def bits_of(at: Any) -> Any:
    """Return how many bits the data of a key has."""
    return (word(at, Descriptor.KEY_SIZE) - DATA) * _I(8)


@kernel(inline="always")
def row_of(at: Any, node: Any) -> Any:
    """Return where the prefix of a node is."""
    return word(at, Descriptor.KEYS_AT) + word(at, Descriptor.KEY_STRIDE) * node


@kernel(inline="always")
def bit_at(key_at: Any, place: Any) -> Any:
    """Return a bit of a prefix, the first being the highest of the first byte."""
    return _I((load8(key_at + DATA + (place >> _I(3))) >> _U(_I(7) - (place & _I(7)))) & _U(1))


@kernel(inline="always")
def child_link(at: Any, node: Any, bit: Any) -> Any:
    """Return the link to the child of a node whose next bit is `bit`."""
    return row_of(at, node) + word(at, Descriptor.KEY_STRIDE) - _I(8) + _I(4) * bit


@kernel(inline="always")
def is_branch(at: Any, node: Any) -> Any:
    """Tell whether a node only joins two children."""
    return node > word(at, LpmWord.SLOTS)


@kernel()
def agreeing_bits(left: Any, right: Any, limit: Any) -> Any:
    """Return in how many of the first `limit` bits two prefixes agree.

    Read are only bytes that have a bit before `limit`.
    """
    left += DATA
    right += DATA
    place = _I(0)
    while place + _I(64) <= limit:
        differing = load64(left + (place >> _I(3))) ^ load64(right + (place >> _I(3)))
        if differing != _U(0):
            return place + leading_zeros(swap64(differing))
        place += _I(64)
    if place + _I(24) < limit:
        differing = load32(left + (place >> _I(3))) ^ load32(right + (place >> _I(3)))
        if differing != _U(0):
            return min(place + leading_zeros(swap64(differing)), limit)
        place += _I(32)
    while place < limit:
        differing = load8(left + (place >> _I(3))) ^ load8(right + (place >> _I(3)))
        if differing != _U(0):
            return min(place + leading_zeros(differing) - _I(56), limit)
        place += _I(8)
    return limit


# --- Taking, giving back, filling.


@kernel()
def take_slot(at: Any) -> Any:
    """Return an element that is free, or a negative errno."""
    if word(at, Descriptor.COUNT) >= word(at, Descriptor.MAX_ENTRIES):
        return _ENOSPC
    freed = word(at, LpmWord.FREED)
    if freed > _I(0):
        set_word(at, LpmWord.FREED, freed - _I(1))
        return entry(word(at, LpmWord.FREE_AT), freed - _I(1))
    fresh = word(at, LpmWord.FRESH)
    if fresh >= word(at, LpmWord.SLOTS):
        return _ENOMEM
    set_word(at, LpmWord.FRESH, fresh + _I(1))
    return fresh


@kernel()
def free_slot(at: Any, slot: Any) -> Any:
    """Give an element back."""
    freed = word(at, LpmWord.FREED)
    set_entry(word(at, LpmWord.FREE_AT), freed, slot)
    set_word(at, LpmWord.FREED, freed + _I(1))
    set_word(at, Descriptor.COUNT, word(at, Descriptor.COUNT) - _I(1))


@kernel()
def take_branch(at: Any) -> Any:
    """Return a branch that is free; there are always enough."""
    freed = word(at, LpmWord.BRANCH_FREED)
    if freed > _I(0):
        set_word(at, LpmWord.BRANCH_FREED, freed - _I(1))
        return entry(word(at, LpmWord.BRANCH_FREE_AT), freed - _I(1))
    fresh = word(at, LpmWord.BRANCH_FRESH)
    set_word(at, LpmWord.BRANCH_FRESH, fresh + _I(1))
    return fresh


@kernel()
def free_branch(at: Any, branch: Any) -> Any:
    """Give a branch back."""
    freed = word(at, LpmWord.BRANCH_FREED)
    set_entry(word(at, LpmWord.BRANCH_FREE_AT), freed, branch)
    set_word(at, LpmWord.BRANCH_FREED, freed + _I(1))


@kernel()
def fill(at: Any, node: Any, key_at: Any, left: Any, right: Any) -> Any:
    """Write a node: its prefix, and its children, plus 1."""
    move(row_of(at, node), key_at, word(at, Descriptor.KEY_SIZE))
    store32(child_link(at, node, _I(0)), _U(left))
    store32(child_link(at, node, _I(1)), _U(right))


@kernel()
def fill_like(at: Any, node: Any, key_at: Any, model: Any) -> Any:
    """Write a node with the children of another."""
    left, right = _I(load32(child_link(at, model, _I(0)))), _I(load32(child_link(at, model, _I(1))))
    fill(at, node, key_at, left, right)


@kernel()
def put_value(at: Any, node: Any, value_at: Any) -> Any:
    """Write the value of an element."""
    target = word(at, Descriptor.VALUES_AT) + word(at, Descriptor.STRIDE) * node
    move(target, value_at, word(at, Descriptor.VALUE_SIZE))
