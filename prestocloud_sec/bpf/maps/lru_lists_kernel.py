# SPDX-License-Identifier: Apache-2.0
"""The lists of LRU hash maps in compiled code; what they are for stands in `prestocloud_sec.bpf.maps.lru_layout`.

In names here a *set* is a triple of lists (active, inactive, free) and `lru` is the address of the words of `LruWord`.
Whatever changes a list holds the map's lock.
"""

from __future__ import annotations

from typing import Any

from numba import types

from prestocloud_sec._jit import kernel
from prestocloud_sec.bpf._raw_kernel import load8, store8
from prestocloud_sec.bpf.maps._words_kernel import entry, set_entry, set_word, word
from prestocloud_sec.bpf.maps.lru_layout import FIRST_LIST_WORD, Held, LruWord

__all__ = [
    "ACTIVE",
    "FREE",
    "INACTIVE",
    "LOCAL_FREE",
    "PENDING",
    "count",
    "free_to",
    "head_of",
    "held_in",
    "local_head",
    "move_to",
    "node_after",
    "node_before",
    "put_first",
    "set_held",
    "set_seen",
    "take_out",
    "was_seen",
    "words_of",
]

_I, _U = types.int64, types.uint64
ACTIVE, INACTIVE, FREE = _I(Held.ACTIVE), _I(Held.INACTIVE), _I(Held.FREE)
LOCAL_FREE, PENDING = _I(Held.LOCAL_FREE), _I(Held.PENDING)
"""`Held`, as kernels compare it."""


@kernel(inline="always")
def node_before(lru: Any, node: Any) -> Any:
    """Return the node before another in its list."""
    return entry(word(lru, LruWord.BEFORE_AT), node)


@kernel(inline="always")
def node_after(lru: Any, node: Any) -> Any:
    """Return the node behind another in its list."""
    return entry(word(lru, LruWord.AFTER_AT), node)


@kernel()
def take_out(lru: Any, node: Any) -> Any:
    """Take a node out of its list."""
    before, after = node_before(lru, node), node_after(lru, node)
    set_entry(word(lru, LruWord.AFTER_AT), before, after)
    set_entry(word(lru, LruWord.BEFORE_AT), after, before)


@kernel()
def put_first(lru: Any, head: Any, node: Any) -> Any:
    """Put a node that is in no list at the head of one."""
    after = node_after(lru, head)
    set_entry(word(lru, LruWord.AFTER_AT), head, node)
    set_entry(word(lru, LruWord.BEFORE_AT), node, head)
    set_entry(word(lru, LruWord.AFTER_AT), node, after)
    set_entry(word(lru, LruWord.BEFORE_AT), after, node)


@kernel(inline="always")
def head_of(lru: Any, which: Any, held: Any) -> Any:
    """Return the head of a list of a set."""
    return word(lru, LruWord.HEADS) + _I(3) * which + held


@kernel(inline="always")
def local_head(lru: Any, cpu: Any, held: Any) -> Any:
    """Return the head of a processor's list of free or of pending elements."""
    return word(lru, LruWord.HEADS) + _I(3) + _I(2) * cpu + (held - LOCAL_FREE)


@kernel(inline="always")
def held_in(lru: Any, node: Any) -> Any:
    """Return which list an element is in: a `Held`."""
    return _I(load8(word(lru, LruWord.HELD_AT) + node))


@kernel(inline="always")
def set_held(lru: Any, node: Any, held: Any) -> Any:
    """Write down which list an element is in."""
    store8(word(lru, LruWord.HELD_AT) + node, _U(held))


@kernel(inline="always")
def was_seen(lru: Any, node: Any) -> Any:
    """Tell whether a program looked an element up."""
    return load8(word(lru, LruWord.SEEN_AT) + node) != _U(0)


@kernel(inline="always")
def set_seen(lru: Any, node: Any, seen: Any) -> Any:
    """Write down whether a program looked an element up."""
    store8(word(lru, LruWord.SEEN_AT) + node, _U(seen))


@kernel(inline="always")
def words_of(which: Any) -> Any:
    """Return the first of the three words of a set."""
    return _I(FIRST_LIST_WORD) + _I(3) * which


@kernel()
def count(lru: Any, which: Any, held: Any, change: Any) -> Any:
    """Count an element in or out; free ones are not counted."""
    if held <= INACTIVE:
        place = words_of(which) + held
        set_word(lru, place, word(lru, place) + change)


@kernel()
def _step_rotation(lru: Any, which: Any, node: Any) -> Any:
    """Let the rotation of the inactive list not go on at a node that leaves it."""
    place = words_of(which) + _I(2)
    if word(lru, place) == node:
        set_word(lru, place, node_before(lru, node))


@kernel()
def move_to(lru: Any, which: Any, node: Any, held: Any) -> Any:
    """Put an element of a set at the head of one of its lists, unseen."""
    was = held_in(lru, node)
    if was != held:
        count(lru, which, was, _I(-1))
        count(lru, which, held, _I(1))
        set_held(lru, node, held)
    set_seen(lru, node, 0)
    _step_rotation(lru, which, node)
    take_out(lru, node)
    put_first(lru, head_of(lru, which, held), node)


@kernel()
def free_to(lru: Any, which: Any, node: Any, head: Any, held: Any) -> Any:
    """Move an element of a set to a list of free ones."""
    _step_rotation(lru, which, node)
    count(lru, which, held_in(lru, node), _I(-1))
    set_held(lru, node, held)
    take_out(lru, node)
    put_first(lru, head, node)
