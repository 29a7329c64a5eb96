# SPDX-License-Identifier: Apache-2.0
"""The order of tries in compiled code: children before their parents, and so longer prefixes before shorter ones.

As the kernel walks through one (``kernel/bpf/lpm_trie.c``, ``trie_get_next_key``).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from prestocloud_sec._jit import kernel
from prestocloud_sec.bpf._raw_kernel import load32
from prestocloud_sec.bpf.maps._words_kernel import lock, unlock, word
from prestocloud_sec.bpf.maps.lpm_layout import LpmWord
from prestocloud_sec.bpf.maps.lpm_nodes_kernel import agreeing_bits, bit_at, bits_of, child_link, is_branch, row_of

__all__ = ["collect", "following"]

_I = types.int64
_NONE = _I(-1)


@kernel()
def _first_below(at: Any, node: Any) -> Any:
    """Return the element that comes first in the order of those at and below a node."""
    found = node
    while node >= _I(0):
        found = node
        left = _I(load32(child_link(at, node, _I(0)))) - _I(1)
        node = left if left >= _I(0) else _I(load32(child_link(at, node, _I(1)))) - _I(1)
    return found


@kernel()
def following(at: Any, key_at: Any, given: Any) -> Any:
    """Return the element behind a prefix, the first if it is not there, or if not `given`; -1 at the end."""
    root = word(at, LpmWord.ROOT) - _I(1)
    if root < _I(0):
        return _NONE
    if not given or _I(load32(key_at)) > bits_of(at):
        return _first_below(at, root)
    length = _I(load32(key_at))
    path = np.empty(bits_of(at) + _I(2), np.int64)
    depth = _I(0)
    node = root
    while True:
        row = row_of(at, node)
        bits = _I(load32(row))
        path[depth] = node
        if bits > length or agreeing_bits(row, key_at, bits) != bits:
            return _first_below(at, root)
        if bits == length:
            break
        node = _I(load32(child_link(at, node, bit_at(key_at, bits)))) - _I(1)
        if node < _I(0):
            return _first_below(at, root)
        depth += _I(1)
    if is_branch(at, node):
        return _first_below(at, root)
    while depth > _I(0):
        parent = path[depth - 1]
        right = _I(load32(child_link(at, parent, _I(1)))) - _I(1)
        if right >= _I(0) and right != node:
            return _first_below(at, right)
        if not is_branch(at, parent):
            return parent
        node = parent
        depth -= _I(1)
    return _NONE


@kernel()
def collect(at: Any, slots: Any) -> Any:
    """Write the elements into an array of int64, in their order; return how many there are."""
    lock(at + _I(8 * LpmWord.LOCK))
    path = np.empty(bits_of(at) + _I(2), np.int64)
    turn = np.zeros(bits_of(at) + _I(2), np.int64)
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
            if not is_branch(at, node) and found < len(slots):
                slots[found] = node
                found += _I(1)
            depth -= _I(1)
            continue
        child = _I(load32(child_link(at, node, bit))) - _I(1)
        if child >= _I(0):
            depth += _I(1)
            path[depth] = child
            turn[depth] = _I(0)
    unlock(at + _I(8 * LpmWord.LOCK))
    return found
