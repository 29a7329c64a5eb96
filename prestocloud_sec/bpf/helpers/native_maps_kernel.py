# SPDX-License-Identifier: Apache-2.0
"""Map helpers without Python: the part of `prestocloud_sec.bpf.helpers.native_kernel` that knows maps.

A map is found by its handle, the rest is the map's own kernel. Declined is what is no map, a map whose kernels cannot
do it, and an update or deletion whose key or value lies in a map itself: Python copies both before it changes anything.
"""

from __future__ import annotations

from typing import Any

from numba import types

from prestocloud_sec._jit import kernel
from prestocloud_sec.bpf._raw_kernel import load64
from prestocloud_sec.bpf.helpers.ids import HelperId
from prestocloud_sec.bpf.helpers.native_access_kernel import decline, readable
from prestocloud_sec.bpf.maps.layout import DELETE, LOOKUP, UPDATE, Descriptor
from prestocloud_sec.bpf.maps.native_kernel import delete, lookup, update
from prestocloud_sec.bpf.vm import layout
from prestocloud_sec.bpf.vm.layout import State

__all__ = ["h_map_delete_elem", "h_map_lookup_elem", "h_map_lookup_percpu_elem", "h_map_update_elem"]

_U = types.uint64
_U32 = _U(0xFFFFFFFF)
_MAP_LOOKUP_ELEM, _MAP_LOOKUP_PERCPU_ELEM = int(HelperId.MAP_LOOKUP_ELEM), int(HelperId.MAP_LOOKUP_PERCPU_ELEM)
_MAP_UPDATE_ELEM, _MAP_DELETE_ELEM = int(HelperId.MAP_UPDATE_ELEM), int(HelperId.MAP_DELETE_ELEM)
_LOOKUP, _UPDATE, _DELETE = _U(LOOKUP), _U(UPDATE), _U(DELETE)


@kernel()
def _descriptor_of(state_at: Any, handle: Any, operation: Any) -> Any:
    """Return the address of the descriptor of a map whose kernels can do an operation, or 0."""
    number = handle - _U(layout.MAP_HANDLES)
    if number >= load64(state_at + 8 * State.MAP_COUNT):
        return types.int64(0)
    maps = types.int64(load64(state_at + 8 * State.MAPS_AT))
    descriptor = types.int64(load64(maps + 8 * types.int64(number)))
    if descriptor == 0 or load64(descriptor + 8 * Descriptor.NATIVE) & operation == _U(0):
        return types.int64(0)
    return descriptor


@kernel()
def _in_map(address: Any) -> Any:
    """Tell whether an address is in a map's region, or in one that a helper handed out."""
    return address >> _U(layout.REGION_SHIFT) >= _U(layout.MAP_VALUES)


@kernel()
def _find(state_at: Any, handle: Any, key: Any, cpu: Any, number: Any) -> Any:
    """Return the address of a value, as the program sees it, or 0."""
    descriptor = _descriptor_of(state_at, handle, _LOOKUP)
    if descriptor == 0:
        return decline(state_at, number)
    key_at = readable(state_at, key, load64(descriptor + 8 * Descriptor.KEY_SIZE))
    if key_at == 0:
        return _U(0)
    offset = types.int64(lookup(descriptor, key_at, cpu))
    if offset < 0:
        return _U(0)
    region = handle - _U(layout.MAP_HANDLES) + _U(layout.MAP_VALUES)
    return (region << _U(layout.REGION_SHIFT)) + _U(offset)


@kernel()
def h_map_lookup_elem(state_at: Any, handle: Any, key: Any) -> Any:
    """Return the address of the value, or 0."""
    return _find(state_at, handle, key, types.int64(load64(state_at + 8 * State.CPU)), _MAP_LOOKUP_ELEM)


@kernel()
def h_map_lookup_percpu_elem(state_at: Any, handle: Any, key: Any, cpu: Any) -> Any:
    """Return the address of another processor's value, or 0."""
    descriptor = _descriptor_of(state_at, handle, _LOOKUP)
    if descriptor == 0:
        return decline(state_at, _MAP_LOOKUP_PERCPU_ELEM)
    cpus = load64(descriptor + 8 * Descriptor.CPUS)
    if cpus == _U(1) or cpu & _U32 >= cpus:  # it may be no per-CPU map
        return decline(state_at, _MAP_LOOKUP_PERCPU_ELEM)
    return _find(state_at, handle, key, types.int64(cpu & _U32), _MAP_LOOKUP_PERCPU_ELEM)


@kernel()
def h_map_update_elem(state_at: Any, handle: Any, key: Any, value: Any, flags: Any) -> Any:
    """Store a value; 0 or a negative errno."""
    descriptor = _descriptor_of(state_at, handle, _UPDATE)
    if descriptor == 0 or _in_map(key) or _in_map(value):
        return decline(state_at, _MAP_UPDATE_ELEM)
    key_at = readable(state_at, key, load64(descriptor + 8 * Descriptor.KEY_SIZE))
    if key_at == 0:
        return _U(0)
    value_at = readable(state_at, value, load64(descriptor + 8 * Descriptor.VALUE_SIZE))
    if value_at == 0:
        return _U(0)
    return _U(update(descriptor, key_at, value_at, flags, types.int64(load64(state_at + 8 * State.CPU))))


@kernel()
def h_map_delete_elem(state_at: Any, handle: Any, key: Any) -> Any:
    """Remove an element; 0 or a negative errno."""
    descriptor = _descriptor_of(state_at, handle, _DELETE)
    if descriptor == 0 or _in_map(key):
        return decline(state_at, _MAP_DELETE_ELEM)
    key_at = readable(state_at, key, load64(descriptor + 8 * Descriptor.KEY_SIZE))
    if key_at == 0:
        return _U(0)
    return _U(delete(descriptor, key_at))
