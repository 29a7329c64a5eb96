# SPDX-License-Identifier: Apache-2.0
"""Making room in LRU hash maps, in compiled code: which elements go, as ``kernel/bpf/bpf_lru_list.c`` chooses them.

Names are those of `prestocloud_sec.bpf.maps.lru_lists_kernel`; `at` is the address of the map's descriptor, whose lock
is held.
"""

from __future__ import annotations

from typing import Any

from numba import types

from prestocloud_sec._jit import kernel
from prestocloud_sec.bpf.maps._words_kernel import set_word, word
from prestocloud_sec.bpf.maps.hash_kernel import bucket_of, find, unlink
from prestocloud_sec.bpf.maps.layout import Descriptor
from prestocloud_sec.bpf.maps.lru_layout import LruWord
from prestocloud_sec.bpf.maps.lru_lists_kernel import (
    ACTIVE,
    INACTIVE,
    free_to,
    head_of,
    move_to,
    node_after,
    node_before,
    was_seen,
    words_of,
)

__all__ = ["evict", "rotate", "shrink"]

_I = types.int64


@kernel()
def evict(at: Any, node: Any) -> Any:
    """Remove an element from its chain; tell whether it was there."""
    key_at = word(at, Descriptor.KEYS_AT) + word(at, Descriptor.KEY_STRIDE) * node
    if find(at, key_at) != node:
        return False
    unlink(at, node, bucket_of(at, key_at))
    set_word(at, Descriptor.COUNT, word(at, Descriptor.COUNT) - _I(1))
    return True


@kernel()
def _rotate_active(lru: Any, which: Any) -> Any:
    """Give what was seen of the active list another round, and move the rest to the inactive list."""
    head = head_of(lru, which, ACTIVE)
    first = node_after(lru, head)
    node = node_before(lru, head)
    scanned = _I(0)
    while node != head:
        before = node_before(lru, node)
        move_to(lru, which, node, ACTIVE if was_seen(lru, node) else INACTIVE)
        scanned += _I(1)
        if scanned == word(lru, LruWord.SCANS) or node == first:
            return
        node = before


@kernel()
def _rotate_inactive(lru: Any, which: Any) -> Any:
    """Move what was seen of the inactive list to the active one, from where this was left off."""
    head = head_of(lru, which, INACTIVE)
    if node_after(lru, head) == head:
        return
    place = words_of(which) + _I(2)
    node = word(lru, place)
    last = node_after(lru, node)
    if last == head:
        last = node_after(lru, last)
    following = head
    scanned = _I(0)
    while scanned < word(lru, LruWord.SCANS):
        if node == head:
            node = node_before(lru, node)
            if node == head:
                break
            continue
        following = node_before(lru, node)
        if was_seen(lru, node):
            move_to(lru, which, node, ACTIVE)
        if node == last:
            break
        node = following
        scanned += _I(1)
    set_word(lru, place, following)


@kernel()
def rotate(lru: Any, which: Any) -> Any:
    """Look at the ends of a set's lists: some elements change from one to the other."""
    words = words_of(which)
    if word(lru, words + INACTIVE) < word(lru, words + ACTIVE):
        _rotate_active(lru, which)
    _rotate_inactive(lru, which)


@kernel()
def shrink(at: Any, lru: Any, which: Any, wanted: Any, head: Any, held: Any) -> Any:
    """Move up to `wanted` elements that nobody saw to a list of free ones; if there are none, one that was seen."""
    inactive = head_of(lru, which, INACTIVE)
    node = node_before(lru, inactive)
    shrunk, scanned = _I(0), _I(0)
    while node != inactive:
        before = node_before(lru, node)
        if was_seen(lru, node):
            move_to(lru, which, node, ACTIVE)
        elif evict(at, node):
            free_to(lru, which, node, head, held)
            shrunk += _I(1)
            if shrunk == wanted:
                break
        scanned += _I(1)
        if scanned == word(lru, LruWord.SCANS):
            break
        node = before
    if shrunk > _I(0):
        return
    if node_after(lru, inactive) == inactive:
        inactive = head_of(lru, which, ACTIVE)
    node = node_before(lru, inactive)
    while node != inactive:
        before = node_before(lru, node)
        if evict(at, node):
            free_to(lru, which, node, head, held)
            return
        node = before
