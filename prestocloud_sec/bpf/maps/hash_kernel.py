# SPDX-License-Identifier: Apache-2.0
"""Hash maps in compiled code: what `prestocloud_sec.bpf.maps.hash` and the engines call.

How it works stands in `prestocloud_sec.bpf.maps.hash_layout`; the rules are the kernel's (``kernel/bpf/hashtab.c``).
Addresses are int64 and of this process. A lookup takes no lock; whatever changes the map does.
"""

from __future__ import annotations

import errno
from typing import Any

from numba import types

from prestocloud_sec._jit import kernel
from prestocloud_sec.bpf._raw_kernel import load32, load64
from prestocloud_sec.bpf.maps._words_kernel import (
    copy_key,
    entry,
    fits,
    lock,
    put_value,
    same_key,
    set_entry,
    set_word,
    short_key,
    unlock,
    value_place,
    word,
)
from prestocloud_sec.bpf.maps.hash_layout import MULTIPLIER, HashWord
from prestocloud_sec.bpf.maps.jhash_kernel import jhash
from prestocloud_sec.bpf.maps.layout import Descriptor

__all__ = [
    "bucket_of",
    "collect",
    "delete",
    "find",
    "link",
    "lookup",
    "step",
    "store",
    "unlink",
    "update",
]

_I, _U = types.int64, types.uint64
_NONE = _I(-1)
_NOEXIST, _EXIST = _U(1), _U(2)
_EEXIST, _ENOENT = _I(-errno.EEXIST), _I(-errno.ENOENT)
_E2BIG, _EINVAL, _ENOMEM = _I(-errno.E2BIG), _I(-errno.EINVAL), _I(-errno.ENOMEM)
_LOW = _U(0xFFFF_FFFF)
_ODD = _U(MULTIPLIER)


@kernel()
def _universal(seeds: Any, key_at: Any, size: Any) -> Any:
    """Return 32 bits that are uniform and pairwise independent over random seeds.

    Where bytes are left over, the last eight of the key are taken again: that loses nothing.
    """
    if size < _I(8):
        part = short_key(key_at, size)
        total = load64(seeds) + (load64(seeds + 8) + (part >> _U(32))) * (load64(seeds + 16) + (part & _LOW))
        return total >> _U(32)
    total = load64(seeds)
    pair = seeds + _I(8)
    place = _I(0)
    while place < size:
        part = load64(key_at + min(place, size - _I(8)))
        total += (load64(pair) + (part >> _U(32))) * (load64(pair + 8) + (part & _LOW))
        place += _I(8)
        pair += _I(16)
    return total >> _U(32)


@kernel()
def bucket_of(at: Any, key_at: Any) -> Any:
    """Return the number of the bucket of a key (int64)."""
    seeds = word(at, HashWord.SEEDS_AT)
    size = word(at, Descriptor.KEY_SIZE)
    shift = _U(word(at, HashWord.SHIFT))
    if seeds == _I(0):
        return _I(jhash(key_at, size, _U(0)) & (_LOW >> shift))
    mixed = _universal(seeds, key_at, size)
    mixed = (mixed ^ (mixed >> _U(16))) * _ODD & _LOW
    return _I(mixed >> shift)


@kernel()
def find(at: Any, key_at: Any) -> Any:
    """Return the slot of a key, or -1.

    The common sizes have loops of their own: keys stay in registers, and a comparison is one load.
    """
    size = word(at, Descriptor.KEY_SIZE)
    chain = word(at, HashWord.CHAIN_AT)
    keys = word(at, Descriptor.KEYS_AT)
    following = entry(word(at, HashWord.BUCKETS_AT), bucket_of(at, key_at))
    if size == _I(4):
        short = load32(key_at)
        while following != _I(0):
            slot = following - _I(1)
            if load32(keys + _I(8) * slot) == short:
                return slot
            following = entry(chain, slot)
    elif size == _I(8):
        first = load64(key_at)
        while following != _I(0):
            slot = following - _I(1)
            if load64(keys + _I(8) * slot) == first:
                return slot
            following = entry(chain, slot)
    elif size == _I(16):
        first, second = load64(key_at), load64(key_at + 8)
        while following != _I(0):
            slot = following - _I(1)
            if load64(keys + _I(16) * slot) == first and load64(keys + _I(16) * slot + 8) == second:
                return slot
            following = entry(chain, slot)
    else:
        stride = word(at, Descriptor.KEY_STRIDE)
        while following != _I(0):
            slot = following - _I(1)
            if same_key(keys + stride * slot, key_at, size):
                return slot
            following = entry(chain, slot)
    return _NONE


@kernel()
def lookup(at: Any, key_at: Any, cpu: Any) -> Any:
    """Return the offset of a processor's value, or -1."""
    slot = find(at, key_at)
    return _NONE if slot < _I(0) else value_place(at, slot, cpu)


@kernel()
def link(at: Any, slot: Any, bucket: Any) -> Any:
    """Put a slot first in the chain of a bucket."""
    buckets = word(at, HashWord.BUCKETS_AT)
    set_entry(word(at, HashWord.CHAIN_AT), slot, entry(buckets, bucket))
    set_entry(buckets, bucket, slot + _I(1))


@kernel()
def unlink(at: Any, slot: Any, bucket: Any) -> Any:
    """Take a slot out of the chain of a bucket; its own successor stays written."""
    buckets = word(at, HashWord.BUCKETS_AT)
    chain = word(at, HashWord.CHAIN_AT)
    following = entry(buckets, bucket)
    if following == slot + _I(1):
        set_entry(buckets, bucket, entry(chain, slot))
        return
    while following != _I(0):
        before = following - _I(1)
        following = entry(chain, before)
        if following == slot + _I(1):
            set_entry(chain, before, entry(chain, slot))
            return


@kernel()
def _take(at: Any) -> Any:
    """Return a slot that is free, or a negative errno."""
    freed = word(at, HashWord.FREED)
    if freed > _I(0):
        set_word(at, HashWord.FREED, freed - _I(1))
        return entry(word(at, HashWord.FREE_AT), freed - _I(1))
    fresh = word(at, HashWord.FRESH)
    if word(at, Descriptor.COUNT) >= word(at, Descriptor.MAX_ENTRIES):
        return _E2BIG
    if fresh >= word(at, HashWord.SLOTS):
        return _ENOMEM
    set_word(at, HashWord.FRESH, fresh + _I(1))
    return fresh


@kernel()
def _store(at: Any, key_at: Any, value_at: Any, flags: Any, cpu: Any) -> Any:
    """Do what `store` says, the lock being held."""
    slot = find(at, key_at)
    keys, stride = word(at, Descriptor.KEYS_AT), word(at, Descriptor.KEY_STRIDE)
    size = word(at, Descriptor.KEY_SIZE)
    if slot < _I(0):
        if flags == _EXIST:
            return _ENOENT
        slot = _take(at)
        if slot < _I(0):
            return slot
        put_value(at, slot, value_at, cpu, True)
        copy_key(keys + stride * slot, key_at, size)
        link(at, slot, bucket_of(at, key_at))
        set_word(at, Descriptor.COUNT, word(at, Descriptor.COUNT) + _I(1))
        return _I(0)
    if flags == _NOEXIST:
        return _EEXIST
    spare = word(at, HashWord.SPARE)
    if spare < _I(0):
        put_value(at, slot, value_at, cpu, False)
        return _I(0)
    put_value(at, spare, value_at, cpu, True)
    copy_key(keys + stride * spare, key_at, size)
    bucket = bucket_of(at, key_at)
    link(at, spare, bucket)
    unlink(at, slot, bucket)
    set_word(at, HashWord.SPARE, slot)
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
    if cpus > _I(1) and (_I(cpu) < _I(0) or _I(cpu) >= cpus):
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
        freed = word(at, HashWord.FREED)
        set_entry(word(at, HashWord.FREE_AT), freed, slot)
        set_word(at, HashWord.FREED, freed + _I(1))
        set_word(at, Descriptor.COUNT, word(at, Descriptor.COUNT) - _I(1))
        result = _I(0)
    unlock(at + _I(8 * HashWord.LOCK))
    return result


@kernel()
def step(at: Any, slot: Any) -> Any:
    """Return the slot behind `slot` in the order of buckets, the first for -1; -1 at the end.

    A slot that was freed meanwhile still knows where its chain went on.
    """
    slot = _I(slot)
    buckets = word(at, HashWord.BUCKETS_AT)
    bucket = _I(0)
    if slot >= _I(0):
        following = entry(word(at, HashWord.CHAIN_AT), slot)
        if following != _I(0):
            return following - _I(1)
        bucket = bucket_of(at, word(at, Descriptor.KEYS_AT) + word(at, Descriptor.KEY_STRIDE) * slot) + _I(1)
    last = _I(_LOW >> _U(word(at, HashWord.SHIFT)))
    while bucket <= last:
        following = entry(buckets, bucket)
        if following != _I(0):
            return following - _I(1)
        bucket += _I(1)
    return _NONE


@kernel()
def collect(at: Any, slots: Any) -> Any:
    """Write the slots in use into an array of int64, in their order; return how many there are."""
    lock(at + _I(8 * HashWord.LOCK))
    found = _I(0)
    slot = step(at, _NONE)
    while slot >= _I(0) and found < len(slots):
        slots[found] = slot
        found += _I(1)
        slot = step(at, slot)
    unlock(at + _I(8 * HashWord.LOCK))
    return found
