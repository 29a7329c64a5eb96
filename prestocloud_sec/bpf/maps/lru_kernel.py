# SPDX-License-Identifier: Apache-2.0
"""LRU hash maps in compiled code; how they work stands in `prestocloud_sec.bpf.maps.lru_layout`.

As in `prestocloud_sec.bpf.maps.lru_lists_kernel`, a *set* is a triple of lists and `lru` the address of the words of
`LruWord`; `at` is that of the map's descriptor. Everything but a lookup holds the map's lock.
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
    put_value,
    set_entry,
    set_word,
    unlock,
    value_place,
    word,
)
from prestocloud_sec.bpf.maps.hash_kernel import bucket_of, find, link, unlink
from prestocloud_sec.bpf.maps.hash_layout import HashWord
from prestocloud_sec.bpf.maps.kinds import MapType
from prestocloud_sec.bpf.maps.layout import Descriptor
from prestocloud_sec.bpf.maps.lru_layout import OWN_TARGET, LruWord
from prestocloud_sec.bpf.maps.lru_lists_kernel import (
    ACTIVE,
    FREE,
    INACTIVE,
    LOCAL_FREE,
    PENDING,
    count,
    free_to,
    head_of,
    held_in,
    local_head,
    move_to,
    node_after,
    node_before,
    put_first,
    set_held,
    set_seen,
    take_out,
    was_seen,
    words_of,
)
from prestocloud_sec.bpf.maps.lru_room_kernel import evict, rotate, shrink

__all__ = ["delete", "lookup", "prepare", "store", "update"]

_I, _U = types.int64, types.uint64
_NONE = _I(-1)
_NOEXIST, _EXIST = _U(1), _U(2)
_EEXIST, _ENOENT = _I(-errno.EEXIST), _I(-errno.ENOENT)
_EINVAL, _ENOMEM = _I(-errno.EINVAL), _I(-errno.ENOMEM)
_LRU_PERCPU_HASH = _I(MapType.LRU_PERCPU_HASH)

# --- Taking and giving back.


@kernel()
def _take_first(lru: Any, head: Any) -> Any:
    """Take the first node out of a list; -1 if there is none."""
    node = node_after(lru, head)
    if node == head:
        return _NONE
    take_out(lru, node)
    return node


@kernel()
def _fetch(at: Any, lru: Any, cpu: Any) -> Any:
    """Let a processor's pending elements join the common lists, and fill its stock of free ones."""
    pending = local_head(lru, cpu, PENDING)
    node = node_before(lru, pending)
    while node != pending:
        before = node_before(lru, node)
        held = ACTIVE if was_seen(lru, node) else INACTIVE
        count(lru, _I(0), held, _I(1))
        set_held(lru, node, held)
        set_seen(lru, node, 0)
        take_out(lru, node)
        put_first(lru, head_of(lru, _I(0), held), node)
        node = before
    rotate(lru, _I(0))
    target = word(lru, LruWord.TARGET)
    stock = local_head(lru, cpu, LOCAL_FREE)
    free = head_of(lru, _I(0), FREE)
    fetched = _I(0)
    node = node_after(lru, free)
    while node != free and fetched < target:
        after = node_after(lru, node)
        free_to(lru, _I(0), node, stock, LOCAL_FREE)
        fetched += _I(1)
        node = after
    if fetched < target:
        shrink(at, lru, _I(0), target - fetched, stock, LOCAL_FREE)


@kernel()
def _take_pending(at: Any, lru: Any, cpu: Any) -> Any:
    """Evict the oldest of a processor's pending elements, one that nobody saw if there is one; -1 if there is none."""
    head = local_head(lru, cpu, PENDING)
    for forced in range(2):
        node = node_before(lru, head)
        while node != head:
            if (forced or not was_seen(lru, node)) and evict(at, node):
                take_out(lru, node)
                return node
            node = node_before(lru, node)
    return _NONE


@kernel()
def _steal(at: Any, lru: Any, cpu: Any) -> Any:
    """Take an element from the stocks of the processors, in turn; -1 if none has any."""
    place = word(lru, LruWord.STEAL) + cpu
    first = word(lru, place)
    victim, node = first, _NONE
    while True:
        node = _take_first(lru, local_head(lru, victim, LOCAL_FREE))
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
        rotate(lru, cpu)
        free = head_of(lru, cpu, FREE)
        if node_after(lru, free) == free:
            shrink(at, lru, cpu, _I(OWN_TARGET), free, FREE)
        node = node_after(lru, free)
        if node == free:
            return _NONE
        move_to(lru, cpu, node, INACTIVE)
        return node
    stock = local_head(lru, cpu, LOCAL_FREE)
    node = _take_first(lru, stock)
    if node < _I(0):
        _fetch(at, lru, cpu)
        node = _take_first(lru, stock)
    if node < _I(0):
        node = _steal(at, lru, cpu)
    if node >= _I(0):
        set_entry(word(lru, LruWord.OWNER_AT), node, cpu)
        set_held(lru, node, PENDING)
        set_seen(lru, node, 0)
        put_first(lru, local_head(lru, cpu, PENDING), node)
    return node


@kernel()
def _give_back(lru: Any, node: Any) -> Any:
    """Let an element be free."""
    owner = entry(word(lru, LruWord.OWNER_AT), node)
    if word(lru, LruWord.COMMON) == _I(0):
        move_to(lru, owner, node, FREE)
    elif held_in(lru, node) == PENDING:
        set_held(lru, node, LOCAL_FREE)
        set_seen(lru, node, 0)
        take_out(lru, node)
        put_first(lru, local_head(lru, owner, LOCAL_FREE), node)
    else:
        move_to(lru, _I(0), node, FREE)


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
        set_held(lru, node, FREE)
        put_first(lru, head_of(lru, which, FREE), node)
    for which in range(_I(1) if common else cpus):
        set_word(lru, words_of(which) + _I(2), head_of(lru, which, INACTIVE))


# --- What engines call.


@kernel()
def lookup(at: Any, key_at: Any, cpu: Any) -> Any:
    """Return the offset of a processor's value, or -1; the element counts as used."""
    slot = find(at, key_at)
    if slot < _I(0):
        return _NONE
    seen = word(word(at, HashWord.LRU_AT), LruWord.SEEN_AT) + slot
    place = value_place(at, slot, cpu)
    if place >= _I(0) and load8(seen) == _U(0):
        store8(seen, _U(1))
    return place


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
    in_place = word(at, Descriptor.CPUS) > _I(1) or word(at, Descriptor.TYPE) == _LRU_PERCPU_HASH
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
        set_seen(lru, slot, 1)
        put_value(at, slot, value_at, cpu, False)
        if node >= _I(0):
            _give_back(lru, node)
    else:
        _insert(at, node, key_at, value_at, cpu)
        set_seen(lru, node, 1)
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
