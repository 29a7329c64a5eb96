# SPDX-License-Identifier: Apache-2.0
"""The operations of every map that needs no Python, by one name each: what engines call.

All addresses are of this process (int64): the map's descriptor, a key of `Descriptor.KEY_SIZE` bytes, a value of
`Descriptor.VALUE_SIZE`. Whether a map can do an operation here says `Descriptor.NATIVE`; do not call it otherwise.
The kinds are told apart by branches, not by a table: a kernel that is called by address cannot be inlined.
"""

from __future__ import annotations

import errno
from typing import Any

from numba import types

from prestocloud_sec._jit import kernel
from prestocloud_sec.bpf.maps import array_kernel, hash_kernel, lpm_kernel, lru_kernel
from prestocloud_sec.bpf.maps._words_kernel import word
from prestocloud_sec.bpf.maps.kinds import MapType
from prestocloud_sec.bpf.maps.layout import Descriptor

__all__ = ["delete", "lookup", "step", "update"]

_I = types.int64
_NONE, _EINVAL = _I(-1), _I(-errno.EINVAL)
_HASH, _PERCPU_HASH = _I(MapType.HASH), _I(MapType.PERCPU_HASH)
_ARRAY, _PERCPU_ARRAY = _I(MapType.ARRAY), _I(MapType.PERCPU_ARRAY)
_LRU_HASH, _LRU_PERCPU_HASH = _I(MapType.LRU_HASH), _I(MapType.LRU_PERCPU_HASH)
_LPM_TRIE = _I(MapType.LPM_TRIE)

_array_lookup, _array_update, _array_step = array_kernel.lookup, array_kernel.update, array_kernel.step
_hash_lookup, _hash_update, _hash_step = hash_kernel.lookup, hash_kernel.update, hash_kernel.step
_hash_delete = hash_kernel.delete
_lru_lookup, _lru_update, _lru_delete = lru_kernel.lookup, lru_kernel.update, lru_kernel.delete
_lpm_lookup, _lpm_update, _lpm_delete = lpm_kernel.lookup, lpm_kernel.update, lpm_kernel.delete


@kernel()
def lookup(descriptor_at: Any, key_at: Any, cpu: Any) -> Any:
    """Return the offset of the value that a program on processor `cpu` sees, or -1."""
    kind = word(descriptor_at, Descriptor.TYPE)
    if kind in (_HASH, _PERCPU_HASH):
        return _hash_lookup(descriptor_at, key_at, cpu)
    if kind in (_ARRAY, _PERCPU_ARRAY):
        return _array_lookup(descriptor_at, key_at, cpu)
    if kind in (_LRU_HASH, _LRU_PERCPU_HASH):
        return _lru_lookup(descriptor_at, key_at, cpu)
    if kind == _LPM_TRIE:
        return _lpm_lookup(descriptor_at, key_at, cpu)
    return _NONE


@kernel()
def update(descriptor_at: Any, key_at: Any, value_at: Any, flags: Any, cpu: Any) -> Any:
    """Store the value of processor `cpu`; return 0 or a negative errno."""
    kind = word(descriptor_at, Descriptor.TYPE)
    if kind in (_HASH, _PERCPU_HASH):
        return _hash_update(descriptor_at, key_at, value_at, flags, cpu)
    if kind in (_ARRAY, _PERCPU_ARRAY):
        return _array_update(descriptor_at, key_at, value_at, flags, cpu)
    if kind in (_LRU_HASH, _LRU_PERCPU_HASH):
        return _lru_update(descriptor_at, key_at, value_at, flags, cpu)
    if kind == _LPM_TRIE:
        return _lpm_update(descriptor_at, key_at, value_at, flags, cpu)
    return _EINVAL


@kernel()
def delete(descriptor_at: Any, key_at: Any) -> Any:
    """Remove a key; return 0 or a negative errno."""
    kind = word(descriptor_at, Descriptor.TYPE)
    if kind in (_HASH, _PERCPU_HASH):
        return _hash_delete(descriptor_at, key_at)
    if kind in (_LRU_HASH, _LRU_PERCPU_HASH):
        return _lru_delete(descriptor_at, key_at)
    if kind == _LPM_TRIE:
        return _lpm_delete(descriptor_at, key_at)
    return _EINVAL


@kernel()
def step(descriptor_at: Any, slot: Any) -> Any:
    """Return the slot in use behind `slot`, the first for -1; -1 at the end."""
    kind = word(descriptor_at, Descriptor.TYPE)
    if kind in (_HASH, _PERCPU_HASH, _LRU_HASH, _LRU_PERCPU_HASH):
        return _hash_step(descriptor_at, slot)
    if kind in (_ARRAY, _PERCPU_ARRAY):
        return _array_step(descriptor_at, slot)
    return _NONE
