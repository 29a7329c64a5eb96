# SPDX-License-Identifier: Apache-2.0
"""Tries in compiled code; how they work stands in `prestocloud_sec.bpf.maps.lpm_layout`.

A *link* is where the number of a node stands, plus 1: the address of a uint32 behind a key, or of the word of the
root.
"""

from __future__ import annotations

import errno
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from prestocloud_sec._jit import kernel
from prestocloud_sec.bpf._raw_kernel import load8, load32, load64, move, store32
from prestocloud_sec.bpf.maps._words_kernel import entry, fits, lock, set_entry, set_word, swap64, unlock, word
from prestocloud_sec.bpf.maps.layout import Descriptor
from prestocloud_sec.bpf.maps.lpm_layout import LpmWord

__all__ = ["collect", "delete", "find", "following", "lookup", "store", "update"]

_I, _U = types.int64, types.uint64
_NONE, _DATA = _I(-1), _I(4)
_NOEXIST, _EXIST = _U(1), _U(2)
_EEXIST, _ENOENT = _I(-errno.EEXIST), _I(-errno.ENOENT)
_ENOSPC, _EINVAL, _ENOMEM = _I(-errno.ENOSPC), _I(-errno.EINVAL), _I(-errno.ENOMEM)


def _leading(_typing: Any, _value: Any) -> Any:
    """Return how many of the highest bits of a number are 0; of 0, 64."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), generate


leading_zeros: Any = intrinsic(_leading)


@kernel(inline="always")
def _bits(at: Any) -> Any:
    """Return how many bits the data of a key has."""
    return (word(at, Descriptor.KEY_SIZE) - _DATA) * _I(8)


@kernel(inline="always")
def _row(at: Any, node: Any) -> Any:
    """Return where the prefix of a node is."""
    return word(at, Descriptor.KEYS_AT) + word(at, Descriptor.KEY_STRIDE) * node


@kernel(inline="always")
def _bit(key_at: Any, place: Any) -> Any:
    """Return a bit of a prefix, the first being the highest of the first byte."""
    return _I((load8(key_at + _DATA + (place >> _I(3))) >> _U(_I(7) - (place & _I(7)))) & _U(1))


@kernel(inline="always")
def _child_link(at: Any, node: Any, bit: Any) -> Any:
    return _row(at, node) + word(at, Descriptor.KEY_STRIDE) - _I(8) + _I(4) * bit


@kernel(inline="always")
def _is_branch(at: Any, node: Any) -> Any:
    return node > word(at, LpmWord.SLOTS)


@kernel()
def _agreeing(left: Any, right: Any, limit: Any) -> Any:
    """Return in how many of the first `limit` bits two prefixes agree.

    Read are only bytes that have a bit before `limit`.
    """
    left += _DATA
    right += _DATA
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


@kernel()
def _find_short(at: Any, key_at: Any, size: Any) -> Any:
    """Do what `find` says for 4 or 8 bytes of data, which fit into a register."""
    length = _I(load32(key_at))
    data = swap64(load32(key_at + _DATA) if size == _I(4) else load64(key_at + _DATA))
    keys, stride = word(at, Descriptor.KEYS_AT), word(at, Descriptor.KEY_STRIDE)
    last = word(at, LpmWord.SLOTS)
    found = _NONE
    node = word(at, LpmWord.ROOT) - _I(1)
    while node >= _I(0):
        row = keys + stride * node
        bits = _I(load32(row))
        if bits > length:
            break
        own = load32(row + _DATA) if size == _I(4) else load64(row + _DATA)
        if bits > _I(0) and (swap64(own) ^ data) >> _U(_I(64) - bits) != _U(0):
            break
        if node <= last:
            found = node
        if bits == length:
            break
        bit = _I((data >> _U(_I(63) - bits)) & _U(1))
        node = _I(load32(row + stride - _I(8) + _I(4) * bit)) - _I(1)
    return found


@kernel()
def find(at: Any, key_at: Any) -> Any:
    """Return the element with the longest prefix that a key begins with, its own length being the limit; or -1."""
    length = _I(load32(key_at))
    size = word(at, Descriptor.KEY_SIZE) - _DATA
    if length > size * _I(8):
        return _NONE
    if size == _I(4) or size == _I(8):
        return _find_short(at, key_at, size)
    found = _NONE
    node = word(at, LpmWord.ROOT) - _I(1)
    while node >= _I(0):
        row = _row(at, node)
        bits = _I(load32(row))
        if bits > length or _agreeing(row, key_at, bits) < bits:
            break
        if not _is_branch(at, node):
            found = node
        if bits == length:
            break
        node = _I(load32(_child_link(at, node, _bit(key_at, bits)))) - _I(1)
    return found


@kernel()
def lookup(at: Any, key_at: Any, cpu: Any) -> Any:  # noqa: ARG001  (as for other kinds)
    """Return the offset of the value of the longest prefix that agrees, or -1."""
    found = find(at, key_at)
    return _NONE if found < _I(0) else found * word(at, Descriptor.STRIDE)


# --- Nodes.


@kernel()
def _take_slot(at: Any) -> Any:
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
def _free_slot(at: Any, slot: Any) -> Any:
    freed = word(at, LpmWord.FREED)
    set_entry(word(at, LpmWord.FREE_AT), freed, slot)
    set_word(at, LpmWord.FREED, freed + _I(1))
    set_word(at, Descriptor.COUNT, word(at, Descriptor.COUNT) - _I(1))


@kernel()
def _take_branch(at: Any) -> Any:
    freed = word(at, LpmWord.BRANCH_FREED)
    if freed > _I(0):
        set_word(at, LpmWord.BRANCH_FREED, freed - _I(1))
        return entry(word(at, LpmWord.BRANCH_FREE_AT), freed - _I(1))
    fresh = word(at, LpmWord.BRANCH_FRESH)
    set_word(at, LpmWord.BRANCH_FRESH, fresh + _I(1))
    return fresh


@kernel()
def _free_branch(at: Any, branch: Any) -> Any:
    freed = word(at, LpmWord.BRANCH_FREED)
    set_entry(word(at, LpmWord.BRANCH_FREE_AT), freed, branch)
    set_word(at, LpmWord.BRANCH_FREED, freed + _I(1))


@kernel()
def _fill(at: Any, node: Any, key_at: Any, left: Any, right: Any) -> Any:
    """Write a node: its prefix, and its children, plus 1."""
    move(_row(at, node), key_at, word(at, Descriptor.KEY_SIZE))
    store32(_child_link(at, node, _I(0)), _U(left))
    store32(_child_link(at, node, _I(1)), _U(right))


@kernel()
def _fill_like(at: Any, node: Any, key_at: Any, model: Any) -> Any:
    """Write a node with the children of another."""
    left, right = _I(load32(_child_link(at, model, _I(0)))), _I(load32(_child_link(at, model, _I(1))))
    _fill(at, node, key_at, left, right)


@kernel()
def _put(at: Any, node: Any, value_at: Any) -> Any:
    """Write the value of an element."""
    target = word(at, Descriptor.VALUES_AT) + word(at, Descriptor.STRIDE) * node
    move(target, value_at, word(at, Descriptor.VALUE_SIZE))


# --- Changes.


@kernel()
def _descend(at: Any, key_at: Any) -> Any:
    """Go down to where a prefix is or would be.

    Returns
    -------
    link, above, agreeing : int64
        The link that leads there; the one that leads to the node before, 0 if there is none; the bits in which the node
        there and the key agree.
    """
    length = _I(load32(key_at))
    link, above, agreeing = at + _I(8 * LpmWord.ROOT), _I(0), _I(0)
    node = _I(load32(link)) - _I(1)
    while node >= _I(0):
        row = _row(at, node)
        bits = _I(load32(row))
        agreeing = _agreeing(row, key_at, min(bits, length))
        if agreeing != bits or bits == length:
            break
        above = link
        link = _child_link(at, node, _bit(key_at, bits))
        node = _I(load32(link)) - _I(1)
    return link, above, agreeing


@kernel()
def _replace(at: Any, link: Any, node: Any, key_at: Any, value_at: Any) -> Any:
    """Let the spare element take the place of one with the same prefix."""
    spare = word(at, LpmWord.SPARE)
    _put(at, spare, value_at)
    _fill_like(at, spare, key_at, node)
    store32(link, _U(spare + _I(1)))
    set_word(at, LpmWord.SPARE, node)


@kernel()
def _insert(at: Any, link: Any, node: Any, agreeing: Any, slot: Any, key_at: Any) -> Any:
    """Put a new element where a link leads, above, beside or instead of the node that is there."""
    length = _I(load32(key_at))
    if node < _I(0):
        _fill(at, slot, key_at, _I(0), _I(0))
    elif agreeing == length:
        if _I(load32(_row(at, node))) == length:
            _fill_like(at, slot, key_at, node)
            _free_branch(at, node)
        elif _bit(_row(at, node), length) != _I(0):
            _fill(at, slot, key_at, _I(0), node + _I(1))
        else:
            _fill(at, slot, key_at, node + _I(1), _I(0))
    else:
        _fill(at, slot, key_at, _I(0), _I(0))
        branch = _take_branch(at)
        if _bit(key_at, agreeing) != _I(0):
            _fill(at, branch, _row(at, node), node + _I(1), slot + _I(1))
        else:
            _fill(at, branch, _row(at, node), slot + _I(1), node + _I(1))
        store32(_row(at, branch), _U(agreeing))
        slot = branch
    store32(link, _U(slot + _I(1)))


@kernel()
def _store(at: Any, key_at: Any, value_at: Any, flags: Any) -> Any:
    """Do what `store` says, the lock being held."""
    length = _I(load32(key_at))
    link, _, agreeing = _descend(at, key_at)
    node = _I(load32(link)) - _I(1)
    if node >= _I(0) and not _is_branch(at, node) and agreeing == length and _I(load32(_row(at, node))) == length:
        if flags == _NOEXIST:
            return _EEXIST
        _replace(at, link, node, key_at, value_at)
        return _I(0)
    if flags == _EXIST:
        return _ENOENT
    slot = _take_slot(at)
    if slot < _I(0):
        return slot
    _put(at, slot, value_at)
    _insert(at, link, node, agreeing, slot, key_at)
    set_word(at, Descriptor.COUNT, word(at, Descriptor.COUNT) + _I(1))
    return _I(0)


@kernel()
def store(at: Any, key_at: Any, value_at: Any, flags: Any, cpu: Any) -> Any:  # noqa: ARG001  (as for other kinds)
    """Store the value of a prefix; return 0 or a negative errno."""
    if not fits(flags) or _I(load32(key_at)) > _bits(at):
        return _EINVAL
    lock(at + _I(8 * LpmWord.LOCK))
    result = _store(at, key_at, value_at, _U(flags))
    unlock(at + _I(8 * LpmWord.LOCK))
    return result


update = store


@kernel()
def _remove(at: Any, key_at: Any) -> Any:
    """Do what `delete` says, the lock being held."""
    length = _I(load32(key_at))
    link, above, agreeing = _descend(at, key_at)
    node = _I(load32(link)) - _I(1)
    if node < _I(0) or _is_branch(at, node) or agreeing != length or _I(load32(_row(at, node))) != length:
        return _ENOENT
    left, right = _I(load32(_child_link(at, node, _I(0)))), _I(load32(_child_link(at, node, _I(1))))
    if left != _I(0) and right != _I(0):
        branch = _take_branch(at)
        _fill(at, branch, _row(at, node), left, right)
        store32(link, _U(branch + _I(1)))
    elif left == _I(0) and right == _I(0) and above != _I(0) and _is_branch(at, _I(load32(above)) - _I(1)):
        parent = _I(load32(above)) - _I(1)
        other = _child_link(at, parent, _I(0))
        if other == link:
            other = _child_link(at, parent, _I(1))
        store32(above, load32(other))
        _free_branch(at, parent)
    else:
        store32(link, _U(left + right))
    _free_slot(at, node)
    return _I(0)


@kernel()
def delete(at: Any, key_at: Any) -> Any:
    """Remove a prefix; return 0 or a negative errno."""
    if _I(load32(key_at)) > _bits(at):
        return _EINVAL
    lock(at + _I(8 * LpmWord.LOCK))
    result = _remove(at, key_at)
    unlock(at + _I(8 * LpmWord.LOCK))
    return result


# --- Order: children before their parents, and so longer prefixes before shorter ones.


@kernel()
def _first_below(at: Any, node: Any) -> Any:
    """Return the element that comes first in the order of those at and below a node."""
    found = node
    while node >= _I(0):
        found = node
        left = _I(load32(_child_link(at, node, _I(0)))) - _I(1)
        node = left if left >= _I(0) else _I(load32(_child_link(at, node, _I(1)))) - _I(1)
    return found


@kernel()
def following(at: Any, key_at: Any, given: Any) -> Any:
    """Return the element behind a prefix, the first if it is not there, or if not `given`; -1 at the end."""
    root = word(at, LpmWord.ROOT) - _I(1)
    if root < _I(0):
        return _NONE
    if not given or _I(load32(key_at)) > _bits(at):
        return _first_below(at, root)
    length = _I(load32(key_at))
    path = np.empty(_bits(at) + _I(2), np.int64)
    depth = _I(0)
    node = root
    while True:
        row = _row(at, node)
        bits = _I(load32(row))
        path[depth] = node
        if bits > length or _agreeing(row, key_at, bits) != bits:
            return _first_below(at, root)
        if bits == length:
            break
        node = _I(load32(_child_link(at, node, _bit(key_at, bits)))) - _I(1)
        if node < _I(0):
            return _first_below(at, root)
        depth += _I(1)
    if _is_branch(at, node):
        return _first_below(at, root)
    while depth > _I(0):
        parent = path[depth - 1]
        right = _I(load32(_child_link(at, parent, _I(1)))) - _I(1)
        if right >= _I(0) and right != node:
            return _first_below(at, right)
        if not _is_branch(at, parent):
            return parent
        node = parent
        depth -= _I(1)
    return _NONE


@kernel()
def collect(at: Any, slots: Any) -> Any:
    """Write the elements into an array of int64, in their order; return how many there are."""
    lock(at + _I(8 * LpmWord.LOCK))
    path = np.empty(_bits(at) + _I(2), np.int64)
    turn = np.zeros(_bits(at) + _I(2), np.int64)
    found, depth = _I(0), _I(-1)
    node = word(at, LpmWord.ROOT) - _I(1)
    if node >= _I(0):
        depth = _I(0)
        path[0] = node
    while depth >= _I(0):
        node = path[depth]
        bit = turn[depth]
        turn[depth] = bit + _I(1)
        if bit == _I(2):
            if not _is_branch(at, node) and found < len(slots):
                slots[found] = node
                found += _I(1)
            depth -= _I(1)
            continue
        child = _I(load32(_child_link(at, node, bit))) - _I(1)
        if child >= _I(0):
            depth += _I(1)
            path[depth] = child
            turn[depth] = _I(0)
    unlock(at + _I(8 * LpmWord.LOCK))
    return found
