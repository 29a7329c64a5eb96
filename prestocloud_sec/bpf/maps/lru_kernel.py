# SPDX-License-Identifier: Apache-2.0
"""LRU hash maps in compiled code; how they work stands in `prestocloud_sec.bpf.maps.lru_layout`.

In names here a *set* is a triple of lists (active, inactive, free), `lru` is the address of the words of `LruWord`, and
`at` that of the map's descriptor. Everything but a lookup holds the map's lock.
"""

from __future__ import annotations

import errno
from typing import Any

from numba import types

from prestocloud_sec._jit import kernel
from prestocloud_sec.bpf._raw_kernel import load8, store8
from prestocloud_sec.bpf.maps._words_kernel import (
    copy_key,
    entry,
    fits,
    lock,
    set_entry,
    set_word,
    unlock,
    word,
)
from prestocloud_sec.bpf.maps.hash_kernel import bucket_of, find, link, put_value, unlink
from prestocloud_sec.bpf.maps.hash_layout import HashWord
from prestocloud_sec.bpf.maps.layout import Descriptor
from prestocloud_sec.bpf.maps.lru_layout import FIRST_LIST_WORD, OWN_TARGET, Held, LruWord

__all__ = ["delete", "lookup", "prepare", "store", "update"]

_I, _U = types.int64, types.uint64
_NONE = _I(-1)
_NOEXIST, _EXIST = _U(1), _U(2)
_EEXIST, _ENOENT = _I(-errno.EEXIST), _I(-errno.ENOENT)
_EINVAL, _ENOMEM = _I(-errno.EINVAL), _I(-errno.ENOMEM)
_ACTIVE, _INACTIVE, _FREE = _I(Held.ACTIVE), _I(Held.INACTIVE), _I(Held.FREE)
_LOCAL_FREE, _PENDING = _I(Held.LOCAL_FREE), _I(Held.PENDING)

# --- Lists.


@kernel(inline="always")
def _before(lru: Any, node: Any) -> Any:
    return entry(word(lru, LruWord.BEFORE_AT), node)


@kernel(inline="always")
def _after(lru: Any, node: Any) -> Any:
    return entry(word(lru, LruWord.AFTER_AT), node)


@kernel()
def _take_out(lru: Any, node: Any) -> Any:
    """Take a node out of its list."""
    before, after = _before(lru, node), _after(lru, node)
    set_entry(word(lru, LruWord.AFTER_AT), before, after)
    set_entry(word(lru, LruWord.BEFORE_AT), after, before)


@kernel()
def _put_first(lru: Any, head: Any, node: Any) -> Any:
    """Put a node that is in no list at the head of one."""
    after = _after(lru, head)
    set_entry(word(lru, LruWord.AFTER_AT), head, node)
    set_entry(word(lru, LruWord.BEFORE_AT), node, head)
    set_entry(word(lru, LruWord.AFTER_AT), node, after)
    set_entry(word(lru, LruWord.BEFORE_AT), after, node)


@kernel(inline="always")
def _head(lru: Any, which: Any, held: Any) -> Any:
    """Return the head of a list of a set."""
    return word(lru, LruWord.HEADS) + _I(3) * which + held


@kernel(inline="always")
def _local(lru: Any, cpu: Any, held: Any) -> Any:
    """Return the head of a processor's list of free or of pending elements."""
    return word(lru, LruWord.HEADS) + _I(3) + _I(2) * cpu + (held - _LOCAL_FREE)


@kernel(inline="always")
def _held(lru: Any, node: Any) -> Any:
    return _I(load8(word(lru, LruWord.HELD_AT) + node))


@kernel(inline="always")
def _set_held(lru: Any, node: Any, held: Any) -> Any:
    store8(word(lru, LruWord.HELD_AT) + node, _U(held))


@kernel(inline="always")
def _seen(lru: Any, node: Any) -> Any:
    return load8(word(lru, LruWord.SEEN_AT) + node) != _U(0)


@kernel(inline="always")
def _set_seen(lru: Any, node: Any, seen: Any) -> Any:
    store8(word(lru, LruWord.SEEN_AT) + node, _U(seen))


@kernel(inline="always")
def _set_words(which: Any) -> Any:
    return _I(FIRST_LIST_WORD) + _I(3) * which


@kernel()
def _count(lru: Any, which: Any, held: Any, change: Any) -> Any:
    """Count an element in or out; free ones are not counted."""
    if held <= _INACTIVE:
        place = _set_words(which) + held
        set_word(lru, place, word(lru, place) + change)


@kernel()
def _step_rotation(lru: Any, which: Any, node: Any) -> Any:
    """Let the rotation of the inactive list not go on at a node that leaves it."""
    place = _set_words(which) + _I(2)
    if word(lru, place) == node:
        set_word(lru, place, _before(lru, node))


@kernel()
def _move(lru: Any, which: Any, node: Any, held: Any) -> Any:
    """Put an element of a set at the head of one of its lists, unseen."""
    was = _held(lru, node)
    if was != held:
        _count(lru, which, was, _I(-1))
        _count(lru, which, held, _I(1))
        _set_held(lru, node, held)
    _set_seen(lru, node, 0)
    _step_rotation(lru, which, node)
    _take_out(lru, node)
    _put_first(lru, _head(lru, which, held), node)


@kernel()
def _free(lru: Any, which: Any, node: Any, head: Any, held: Any) -> Any:
    """Move an element of a set to a list of free ones."""
    _step_rotation(lru, which, node)
    _count(lru, which, _held(lru, node), _I(-1))
    _set_held(lru, node, held)
    _take_out(lru, node)
    _put_first(lru, head, node)


# --- Making room.


@kernel()
def _evict(at: Any, node: Any) -> Any:
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
    head = _head(lru, which, _ACTIVE)
    first = _after(lru, head)
    node = _before(lru, head)
    scanned = _I(0)
    while node != head:
        before = _before(lru, node)
        _move(lru, which, node, _ACTIVE if _seen(lru, node) else _INACTIVE)
        scanned += _I(1)
        if scanned == word(lru, LruWord.SCANS) or node == first:
            return
        node = before


@kernel()
def _rotate_inactive(lru: Any, which: Any) -> Any:
    """Move what was seen of the inactive list to the active one, from where this was left off."""
    head = _head(lru, which, _INACTIVE)
    if _after(lru, head) == head:
        return
    place = _set_words(which) + _I(2)
    node = word(lru, place)
    last = _after(lru, node)
    if last == head:
        last = _after(lru, last)
    following = head
    scanned = _I(0)
    while scanned < word(lru, LruWord.SCANS):
        if node == head:
            node = _before(lru, node)
            if node == head:
                break
            continue
        following = _before(lru, node)
        if _seen(lru, node):
            _move(lru, which, node, _ACTIVE)
        if node == last:
            break
        node = following
        scanned += _I(1)
    set_word(lru, place, following)


@kernel()
def _rotate(lru: Any, which: Any) -> Any:
    words = _set_words(which)
    if word(lru, words + _INACTIVE) < word(lru, words + _ACTIVE):
        _rotate_active(lru, which)
    _rotate_inactive(lru, which)


@kernel()
def _shrink(at: Any, lru: Any, which: Any, wanted: Any, head: Any, held: Any) -> Any:
    """Move up to `wanted` elements that nobody saw to a list of free ones; if there are none, one that was seen."""
    inactive = _head(lru, which, _INACTIVE)
    node = _before(lru, inactive)
    shrunk, scanned = _I(0), _I(0)
    while node != inactive:
        before = _before(lru, node)
        if _seen(lru, node):
            _move(lru, which, node, _ACTIVE)
        elif _evict(at, node):
            _free(lru, which, node, head, held)
            shrunk += _I(1)
            if shrunk == wanted:
                break
        scanned += _I(1)
        if scanned == word(lru, LruWord.SCANS):
            break
        node = before
    if shrunk > _I(0):
        return
    if _after(lru, inactive) == inactive:
        inactive = _head(lru, which, _ACTIVE)
    node = _before(lru, inactive)
    while node != inactive:
        before = _before(lru, node)
        if _evict(at, node):
            _free(lru, which, node, head, held)
            return
        node = before


# --- Taking and giving back.


@kernel()
def _take_first(lru: Any, head: Any) -> Any:
    """Take the first node out of a list; -1 if there is none."""
    node = _after(lru, head)
    if node == head:
        return _NONE
    _take_out(lru, node)
    return node


@kernel()
def _fetch(at: Any, lru: Any, cpu: Any) -> Any:
    """Let a processor's pending elements join the common lists, and fill its stock of free ones."""
    pending = _local(lru, cpu, _PENDING)
    node = _before(lru, pending)
    while node != pending:
        before = _before(lru, node)
        held = _ACTIVE if _seen(lru, node) else _INACTIVE
        _count(lru, _I(0), held, _I(1))
        _set_held(lru, node, held)
        _set_seen(lru, node, 0)
        _take_out(lru, node)
        _put_first(lru, _head(lru, _I(0), held), node)
        node = before
    _rotate(lru, _I(0))
    target = word(lru, LruWord.TARGET)
    stock = _local(lru, cpu, _LOCAL_FREE)
    free = _head(lru, _I(0), _FREE)
    fetched = _I(0)
    node = _after(lru, free)
    while node != free and fetched < target:
        after = _after(lru, node)
        _free(lru, _I(0), node, stock, _LOCAL_FREE)
        fetched += _I(1)
        node = after
    if fetched < target:
        _shrink(at, lru, _I(0), target - fetched, stock, _LOCAL_FREE)


@kernel()
def _take_pending(at: Any, lru: Any, cpu: Any) -> Any:
    """Evict the oldest of a processor's pending elements, one that nobody saw if there is one; -1 if there is none."""
    head = _local(lru, cpu, _PENDING)
    for forced in range(2):
        node = _before(lru, head)
        while node != head:
            if (forced or not _seen(lru, node)) and _evict(at, node):
                _take_out(lru, node)
                return node
            node = _before(lru, node)
    return _NONE


@kernel()
def _steal(at: Any, lru: Any, cpu: Any) -> Any:
    """Take an element from the stocks of the processors, in turn; -1 if none has any."""
    place = word(lru, LruWord.STEAL) + cpu
    first = word(lru, place)
    victim, node = first, _NONE
    while True:
        node = _take_first(lru, _local(lru, victim, _LOCAL_FREE))
        if node < _I(0):
            node = _take_pending(at, lru, victim)
        victim = (victim + _I(1)) % word(lru, LruWord.CPUS)
        if node >= _I(0) or victim == first:
            break
    set_word(lru, place, victim)
    return node


@kernel()
def _take(at: Any, lru: Any, cpu: Any) -> Any:
    """Return an element that is free, making room if need be; -1 if there is none."""
    if word(lru, LruWord.COMMON) == _I(0):
        _rotate(lru, cpu)
        free = _head(lru, cpu, _FREE)
        if _after(lru, free) == free:
            _shrink(at, lru, cpu, _I(OWN_TARGET), free, _FREE)
        node = _after(lru, free)
        if node == free:
            return _NONE
        _move(lru, cpu, node, _INACTIVE)
        return node
    stock = _local(lru, cpu, _LOCAL_FREE)
    node = _take_first(lru, stock)
    if node < _I(0):
        _fetch(at, lru, cpu)
        node = _take_first(lru, stock)
    if node < _I(0):
        node = _steal(at, lru, cpu)
    if node >= _I(0):
        set_entry(word(lru, LruWord.OWNER_AT), node, cpu)
        _set_held(lru, node, _PENDING)
        _set_seen(lru, node, 0)
        _put_first(lru, _local(lru, cpu, _PENDING), node)
    return node


@kernel()
def _give_back(lru: Any, node: Any) -> Any:
    """Let an element be free."""
    owner = entry(word(lru, LruWord.OWNER_AT), node)
    if word(lru, LruWord.COMMON) == _I(0):
        _move(lru, owner, node, _FREE)
    elif _held(lru, node) == _PENDING:
        _set_held(lru, node, _LOCAL_FREE)
        _set_seen(lru, node, 0)
        _take_out(lru, node)
        _put_first(lru, _local(lru, owner, _LOCAL_FREE), node)
    else:
        _move(lru, _I(0), node, _FREE)


@kernel()
def prepare(at: Any) -> Any:
    """Make all lists, with every slot free."""
    lru = word(at, HashWord.LRU_AT)
    slots, cpus = word(at, HashWord.SLOTS), word(lru, LruWord.CPUS)
    common = word(lru, LruWord.COMMON) != _I(0)
    heads = _I(3) + _I(2) * cpus if common else _I(3) * cpus
    for head in range(slots, slots + heads):
        set_entry(word(lru, LruWord.BEFORE_AT), head, head)
        set_entry(word(lru, LruWord.AFTER_AT), head, head)
    share = slots // cpus
    for node in range(slots):
        which = _I(0) if common else node // share
        set_entry(word(lru, LruWord.OWNER_AT), node, which)
        _set_held(lru, node, _FREE)
        _put_first(lru, _head(lru, which, _FREE), node)
    for which in range(_I(1) if common else cpus):
        set_word(lru, _set_words(which) + _I(2), _head(lru, which, _INACTIVE))


# --- What engines call.


@kernel()
def lookup(at: Any, key_at: Any, cpu: Any) -> Any:
    """Return the offset of a processor's value, or -1; the element counts as used."""
    slot = find(at, key_at)
    cpus = word(at, Descriptor.CPUS)
    cpu = _I(cpu) if cpus > _I(1) else _I(0)
    if slot < _I(0) or cpu < _I(0) or cpu >= cpus:
        return _NONE
    seen = word(word(at, HashWord.LRU_AT), LruWord.SEEN_AT) + slot
    if load8(seen) == _U(0):
        store8(seen, _U(1))
    return (slot * cpus + cpu) * word(at, Descriptor.STRIDE)


@kernel()
def _insert(at: Any, node: Any, key_at: Any, value_at: Any, cpu: Any) -> Any:
    put_value(at, node, value_at, cpu, True)
    stored = word(at, Descriptor.KEYS_AT) + word(at, Descriptor.KEY_STRIDE) * node
    copy_key(stored, key_at, word(at, Descriptor.KEY_SIZE))
    link(at, node, bucket_of(at, key_at))


@kernel()
def _store(at: Any, key_at: Any, value_at: Any, flags: Any, cpu: Any) -> Any:
    """Do what `store` says, the lock being held."""
    lru = word(at, HashWord.LRU_AT)
    owner = max(cpu, _I(0)) % word(lru, LruWord.CPUS)
    in_place = word(at, Descriptor.CPUS) > _I(1) or word(at, Descriptor.TYPE) == _I(10)
    node = _NONE
    if not in_place or flags != _EXIST:
        node = _take(at, lru, owner)
        if node < _I(0):
            return _ENOMEM
    slot = find(at, key_at)
    if (slot >= _I(0) and flags == _NOEXIST) or (slot < _I(0) and flags == _EXIST):
        if node >= _I(0):
            _give_back(lru, node)
        return _EEXIST if slot >= _I(0) else _ENOENT
    if slot < _I(0):
        _insert(at, node, key_at, value_at, cpu)
        set_word(at, Descriptor.COUNT, word(at, Descriptor.COUNT) + _I(1))
    elif in_place:
        _set_seen(lru, slot, 1)
        put_value(at, slot, value_at, cpu, False)
        if node >= _I(0):
            _give_back(lru, node)
    else:
        _insert(at, node, key_at, value_at, cpu)
        _set_seen(lru, node, 1)
        unlink(at, slot, bucket_of(at, key_at))
        _give_back(lru, slot)
    return _I(0)


@kernel()
def store(at: Any, key_at: Any, value_at: Any, flags: Any, cpu: Any) -> Any:
    """Store a value, or with `cpu` -1 the values of all processors; return 0 or a negative errno."""
    if not fits(flags):
        return _EINVAL
    lock(at + _I(8 * HashWord.LOCK))
    result = _store(at, key_at, value_at, _U(flags), _I(cpu))
    unlock(at + _I(8 * HashWord.LOCK))
    return result


@kernel()
def update(at: Any, key_at: Any, value_at: Any, flags: Any, cpu: Any) -> Any:
    """Store a processor's value, as a program does; return 0 or a negative errno."""
    cpus = word(at, Descriptor.CPUS)
    if _I(cpu) < _I(0) or (cpus > _I(1) and _I(cpu) >= cpus):
        return _EINVAL
    return store(at, key_at, value_at, flags, _I(cpu))


@kernel()
def delete(at: Any, key_at: Any) -> Any:
    """Remove a key; return 0 or a negative errno."""
    lock(at + _I(8 * HashWord.LOCK))
    slot = find(at, key_at)
    result = _ENOENT
    if slot >= _I(0):
        unlink(at, slot, bucket_of(at, key_at))
        set_word(at, Descriptor.COUNT, word(at, Descriptor.COUNT) - _I(1))
        _give_back(word(at, HashWord.LRU_AT), slot)
        result = _I(0)
    unlock(at + _I(8 * HashWord.LOCK))
    return result
