# SPDX-License-Identifier: Apache-2.0
"""Tries in compiled code: lookup and change; how they work stands in `prestocloud_sec.bpf.maps.lpm_layout`.

What a link is says `prestocloud_sec.bpf.maps.lpm_nodes_kernel`.
"""

from __future__ import annotations

import errno
from typing import Any

from numba import types

from prestocloud_sec._jit import kernel
from prestocloud_sec.bpf._raw_kernel import load32, load64, store32
from prestocloud_sec.bpf.maps._words_kernel import fits, lock, set_word, swap64, unlock, word
from prestocloud_sec.bpf.maps.layout import Descriptor
from prestocloud_sec.bpf.maps.lpm_layout import LpmWord
from prestocloud_sec.bpf.maps.lpm_nodes_kernel import (
    DATA,
    agreeing_bits,
    bit_at,
    bits_of,
    child_link,
    fill,
    fill_like,
    free_branch,
    free_slot,
    is_branch,
    put_value,
    row_of,
    take_branch,
    take_slot,
)
from prestocloud_sec.bpf.maps.lpm_order_kernel import collect, following

__all__ = ["collect", "delete", "find", "following", "lookup", "store", "update"]

_I, _U = types.int64, types.uint64
_NONE = _I(-1)
_NOEXIST, _EXIST = _U(1), _U(2)
_EEXIST, _ENOENT, _EINVAL = _I(-errno.EEXIST), _I(-errno.ENOENT), _I(-errno.EINVAL)


@kernel()
def _find_short(at: Any, key_at: Any, size: Any) -> Any:
    """Do what `find` says for 4 or 8 bytes of data, which fit into a register."""
    length = _I(load32(key_at))
    data = swap64(load32(key_at + DATA) if size == _I(4) else load64(key_at + DATA))
    keys, stride = word(at, Descriptor.KEYS_AT), word(at, Descriptor.KEY_STRIDE)
    last = word(at, LpmWord.SLOTS)
    found = _NONE
    node = word(at, LpmWord.ROOT) - _I(1)
    while node >= _I(0):
        row = keys + stride * node
        bits = _I(load32(row))
        if bits > length:
            break
        own = load32(row + DATA) if size == _I(4) else load64(row + DATA)
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
    size = word(at, Descriptor.KEY_SIZE) - DATA
    if length > size * _I(8):
        return _NONE
    if size == _I(4) or size == _I(8):
        return _find_short(at, key_at, size)
    found = _NONE
    node = word(at, LpmWord.ROOT) - _I(1)
    while node >= _I(0):
        row = row_of(at, node)
        bits = _I(load32(row))
        if bits > length or agreeing_bits(row, key_at, bits) < bits:
            break
        if not is_branch(at, node):
            found = node
        if bits == length:
            break
        node = _I(load32(child_link(at, node, bit_at(key_at, bits)))) - _I(1)
    return found


@kernel()
def lookup(at: Any, key_at: Any, cpu: Any) -> Any:  # noqa: ARG001  (as for other kinds)
    """Return the offset of the value of the longest prefix that agrees, or -1."""
    found = find(at, key_at)
    return _NONE if found < _I(0) else found * word(at, Descriptor.STRIDE)


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
        row = row_of(at, node)
        bits = _I(load32(row))
        agreeing = agreeing_bits(row, key_at, min(bits, length))
        if agreeing != bits or bits == length:
            break
        above = link
        link = child_link(at, node, bit_at(key_at, bits))
        node = _I(load32(link)) - _I(1)
    return link, above, agreeing


@kernel()
def _replace(at: Any, link: Any, node: Any, key_at: Any, value_at: Any) -> Any:
    """Let the spare element take the place of one with the same prefix."""
    spare = word(at, LpmWord.SPARE)
    put_value(at, spare, value_at)
    fill_like(at, spare, key_at, node)
    store32(link, _U(spare + _I(1)))
    set_word(at, LpmWord.SPARE, node)


@kernel()
def _insert(at: Any, link: Any, node: Any, agreeing: Any, slot: Any, key_at: Any) -> Any:
    """Put a new element where a link leads, above, beside or instead of the node that is there."""
    length = _I(load32(key_at))
    if node < _I(0):
        fill(at, slot, key_at, _I(0), _I(0))
    elif agreeing == length:
        if _I(load32(row_of(at, node))) == length:
            fill_like(at, slot, key_at, node)
            free_branch(at, node)
        elif bit_at(row_of(at, node), length) != _I(0):
            fill(at, slot, key_at, _I(0), node + _I(1))
        else:
            fill(at, slot, key_at, node + _I(1), _I(0))
    else:
        fill(at, slot, key_at, _I(0), _I(0))
        branch = take_branch(at)
        if bit_at(key_at, agreeing) != _I(0):
            fill(at, branch, row_of(at, node), node + _I(1), slot + _I(1))
        else:
            fill(at, branch, row_of(at, node), slot + _I(1), node + _I(1))
        store32(row_of(at, branch), _U(agreeing))
        slot = branch
    store32(link, _U(slot + _I(1)))


@kernel()
def _store(at: Any, key_at: Any, value_at: Any, flags: Any) -> Any:
    """Do what `store` says, the lock being held."""
    length = _I(load32(key_at))
    link, _, agreeing = _descend(at, key_at)
    node = _I(load32(link)) - _I(1)
    if node >= _I(0) and not is_branch(at, node) and agreeing == length and _I(load32(row_of(at, node))) == length:
        if flags == _NOEXIST:
            return _EEXIST
        _replace(at, link, node, key_at, value_at)
        return _I(0)
    if flags == _EXIST:
        return _ENOENT
    slot = take_slot(at)
    if slot < _I(0):
        return slot
    put_value(at, slot, value_at)
    _insert(at, link, node, agreeing, slot, key_at)
    set_word(at, Descriptor.COUNT, word(at, Descriptor.COUNT) + _I(1))
    return _I(0)


@kernel()
def store(at: Any, key_at: Any, value_at: Any, flags: Any, cpu: Any) -> Any:  # noqa: ARG001  (as for other kinds)
    """Store the value of a prefix; return 0 or a negative errno."""
    if not fits(flags) or _I(load32(key_at)) > bits_of(at):
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
    if node < _I(0) or is_branch(at, node) or agreeing != length or _I(load32(row_of(at, node))) != length:
        return _ENOENT
    left, right = _I(load32(child_link(at, node, _I(0)))), _I(load32(child_link(at, node, _I(1))))
    if left != _I(0) and right != _I(0):
        branch = take_branch(at)
        fill(at, branch, row_of(at, node), left, right)
        store32(link, _U(branch + _I(1)))
    elif left == _I(0) and right == _I(0) and above != _I(0) and is_branch(at, _I(load32(above)) - _I(1)):
        parent = _I(load32(above)) - _I(1)
        other = child_link(at, parent, _I(0))
        if other == link:
            other = child_link(at, parent, _I(1))
        store32(above, load32(other))
        free_branch(at, parent)
    else:
        store32(link, _U(left + right))
    free_slot(at, node)
    return _I(0)


@kernel()
def delete(at: Any, key_at: Any) -> Any:
    """Remove a prefix; return 0 or a negative errno."""
    if _I(load32(key_at)) > bits_of(at):
        return _EINVAL
    lock(at + _I(8 * LpmWord.LOCK))
    result = _remove(at, key_at)
    unlock(at + _I(8 * LpmWord.LOCK))
    return result
