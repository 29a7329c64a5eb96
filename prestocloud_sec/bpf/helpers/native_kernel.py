# SPDX-License-Identifier: Apache-2.0
"""Helpers that run without Python, for the interpreter and for compiled programs.

Each is a twin of the function of its name among the implementations in this package, and gives the same results,
errors and faults. What one cannot do here it *declines*: it leaves the helper's number in `State.HELPER`, nothing else
done, and the engine lets Python do it. Faults are left in the state without the instruction, which the engine knows.
In both cases what it returns means nothing, so an engine sets `State.HELPER` to 0 before a call and looks at it, and at
`State.FAULT`, behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from numba import types

from prestocloud_sec._jit import kernel
from prestocloud_sec.bpf._raw_kernel import clear, load8, load32, load64, move, store64
from prestocloud_sec.bpf.helpers.actions import INGRESS, TC_ACT_REDIRECT, TC_ACT_SHOT, XDP_ABORTED, XDP_REDIRECT
from prestocloud_sec.bpf.helpers.ids import HelperId, KfuncId
from prestocloud_sec.bpf.helpers.native_access_kernel import decline, readable, writable
from prestocloud_sec.bpf.helpers.native_kfuncs_kernel import (
    h_iter_num_destroy,
    h_iter_num_new,
    h_iter_num_next,
)
from prestocloud_sec.bpf.helpers.native_maps_kernel import (
    h_map_delete_elem,
    h_map_lookup_elem,
    h_map_lookup_percpu_elem,
    h_map_update_elem,
)
from prestocloud_sec.bpf.vm import layout
from prestocloud_sec.bpf.vm.context import ContextKind
from prestocloud_sec.bpf.vm.layout import SKF_LL_OFF, SKF_NET_OFF, State

__all__ = ["ENTRIES", "SIGNATURE", "packet_word"]

_U = types.uint64
_U32 = _U(0xFFFFFFFF)
_XDP = _U(ContextKind.XDP)
_KTIME_GET_NS, _SKB_LOAD_BYTES = int(HelperId.KTIME_GET_NS), int(HelperId.SKB_LOAD_BYTES)
_EFAULT, _EINVAL = _U(-14 % (1 << 64)), _U(-22 % (1 << 64))


@kernel()
def packet_host(state_at: Any, offset: Any, size: Any) -> Any:
    """Return where `size` bytes of the packet, from its byte `offset` on, lie in this process; 0 if it is shorter."""
    start = types.int64(load64(state_at + 8 * State.DATA))
    length = types.int64(load64(state_at + 8 * State.DATA_END)) - start
    if offset < 0 or size > length or offset > length - size:
        return types.int64(0)
    return types.int64(load64(state_at + 8 * State.PACKET_AT)) + (start - layout.PACKET_BUFFER) + offset


# --- Time, chance, place.


@kernel()
def h_ktime_get_ns(state_at: Any) -> Any:
    """Return the time if the caller fixed it."""
    now = load64(state_at + 8 * State.NOW)
    return now if now != _U(0) else decline(state_at, _KTIME_GET_NS)


@kernel()
def h_get_prandom_u32(state_at: Any) -> Any:
    """Return 32 bits of xorshift64* (Vigna, "An experimental exploration of Marsaglia's xorshift generators")."""
    word = load64(state_at + 8 * State.RANDOM)
    word ^= word >> _U(12)
    word ^= word << _U(25)
    word ^= word >> _U(27)
    store64(state_at + 8 * State.RANDOM, word)
    return word * _U(0x2545F4914F6CDD1D) >> _U(32)


@kernel()
def h_get_smp_processor_id(state_at: Any) -> Any:
    """Return the processor's number."""
    return load64(state_at + 8 * State.CPU)


# --- Packets.


@kernel()
def h_redirect(state_at: Any, interface: Any, flags: Any) -> Any:
    """Say which interface the packet goes to."""
    if load64(state_at + 8 * State.CONTEXT_KIND) == _XDP:
        allowed, refused, done = _U(0), _U(XDP_ABORTED), _U(XDP_REDIRECT)
    else:
        allowed, refused, done = _U(INGRESS), _U(TC_ACT_SHOT), _U(TC_ACT_REDIRECT)
    if flags & ~allowed != _U(0):
        return refused
    store64(state_at + 8 * State.REDIRECT, _U(1))
    store64(state_at + 8 * State.REDIRECT_TARGET, interface & _U32)
    store64(state_at + 8 * State.REDIRECT_FLAGS, flags)
    store64(state_at + 8 * State.REDIRECT_MAP, _U(0))
    return done


@kernel()
def h_skb_load_bytes(state_at: Any, offset: Any, to: Any, size: Any) -> Any:
    """Copy packet bytes to memory; zeros and an error where the packet does not have them."""
    size &= _U32
    if size == _U(0):
        return decline(state_at, _SKB_LOAD_BYTES)
    target = writable(state_at, to, size)
    if target == 0:
        return _U(0)
    source = packet_host(state_at, types.int64(offset & _U32), types.int64(size))
    if source == 0:
        clear(target, types.int64(size))
        return _EFAULT
    move(target, source, types.int64(size))
    return _U(0)


@kernel()
def packet_word(state_at: Any, offset: Any, size: Any) -> Any:
    """Return what a classic load gives, in host order, or -1 where there is nothing.

    Parameters
    ----------
    state_at : int64
        The state.
    offset : int64
        From the start of the packet; from `SKF_NET_OFF` on from the network header, from `SKF_LL_OFF` on from the
        link-layer header.
    size : int64
        1, 2 or 4.
    """
    if offset < 0:
        if offset >= SKF_NET_OFF:
            offset += types.int64(load64(state_at + 8 * State.NETWORK_OFFSET)) - SKF_NET_OFF
        elif offset >= SKF_LL_OFF and types.int64(load64(state_at + 8 * State.MAC_OFFSET)) >= 0:
            offset += types.int64(load64(state_at + 8 * State.MAC_OFFSET)) - SKF_LL_OFF
    host = packet_host(state_at, offset, size)
    if host == 0:
        return types.int64(-1)
    value = types.int64(load8(host))
    for i in range(1, size):
        value = value << 8 | types.int64(load8(host + i))
    return value


# --- Checksums: twins of `prestocloud_sec.bpf.helpers.checksum`.


@kernel()
def _normal(total: Any) -> Any:
    """Return a one's complement sum as 32 bits that are 0 only if it is."""
    return (total - _U(1)) % _U32 + _U(1) if total != _U(0) else total


@kernel()
def _ones_sum(host: Any, size: Any, seed: Any) -> Any:
    """Return the 32-bit sum of `size` bytes, zeros added to a multiple of four, and a seed."""
    total = seed  # 2**30 words of 32 bits do not reach 64
    whole = host + (size & ~3)
    for at in range(host, whole, 4):
        total += load32(at)
    for place in range(size & 3):
        total += load8(whole + place) << _U(8 * place)
    return _normal(total)


@kernel()
def h_csum_diff(state_at: Any, start: Any, start_size: Any, to: Any, to_size: Any, seed: Any) -> Any:
    """Return what a sum changes to when one piece of memory becomes another, folded to 16 bits."""
    start_size, to_size, total = start_size & _U32, to_size & _U32, seed & _U32
    old, new = types.int64(0), types.int64(0)
    if start_size != _U(0):
        old = readable(state_at, start, start_size)
        if old == 0:
            return _U(0)
    if to_size != _U(0):
        new = readable(state_at, to, to_size)
        if new == 0:
            return _U(0)
    if old != 0 and new != 0:
        total = _normal(
            _ones_sum(new, types.int64(to_size), total) + (_ones_sum(old, types.int64(start_size), _U(0)) ^ _U32)
        )
    elif new != 0:
        total = _ones_sum(new, types.int64(to_size), total)
    elif old != 0:
        total = _ones_sum(old, types.int64(start_size), total ^ _U32) ^ _U32
    return (total - _U(1)) % _U(0xFFFF) + _U(1) if total != _U(0) else total


# --- The functions as engines call them: all with five registers.


def _map_lookup_elem(state_at: Any, r1: Any, r2: Any, r3: Any, r4: Any, r5: Any) -> Any:  # noqa: ARG001
    return h_map_lookup_elem(state_at, r1, r2)


def _map_update_elem(state_at: Any, r1: Any, r2: Any, r3: Any, r4: Any, r5: Any) -> Any:  # noqa: ARG001
    return h_map_update_elem(state_at, r1, r2, r3, r4)


def _map_delete_elem(state_at: Any, r1: Any, r2: Any, r3: Any, r4: Any, r5: Any) -> Any:  # noqa: ARG001
    return h_map_delete_elem(state_at, r1, r2)


def _map_lookup_percpu_elem(state_at: Any, r1: Any, r2: Any, r3: Any, r4: Any, r5: Any) -> Any:  # noqa: ARG001
    return h_map_lookup_percpu_elem(state_at, r1, r2, r3)


def _ktime_get_ns(state_at: Any, r1: Any, r2: Any, r3: Any, r4: Any, r5: Any) -> Any:  # noqa: ARG001
    return h_ktime_get_ns(state_at)


def _get_prandom_u32(state_at: Any, r1: Any, r2: Any, r3: Any, r4: Any, r5: Any) -> Any:  # noqa: ARG001
    return h_get_prandom_u32(state_at)


def _get_smp_processor_id(state_at: Any, r1: Any, r2: Any, r3: Any, r4: Any, r5: Any) -> Any:  # noqa: ARG001
    return h_get_smp_processor_id(state_at)


def _redirect(state_at: Any, r1: Any, r2: Any, r3: Any, r4: Any, r5: Any) -> Any:  # noqa: ARG001
    return h_redirect(state_at, r1, r2)


def _skb_load_bytes(state_at: Any, r1: Any, r2: Any, r3: Any, r4: Any, r5: Any) -> Any:  # noqa: ARG001
    return h_skb_load_bytes(state_at, r2, r3, r4)


def _csum_diff(state_at: Any, r1: Any, r2: Any, r3: Any, r4: Any, r5: Any) -> Any:
    return h_csum_diff(state_at, r1, r2, r3, r4, r5)


def _iter_num_new(state_at: Any, r1: Any, r2: Any, r3: Any, r4: Any, r5: Any) -> Any:  # noqa: ARG001
    return h_iter_num_new(state_at, r1, r2, r3)


def _iter_num_next(state_at: Any, r1: Any, r2: Any, r3: Any, r4: Any, r5: Any) -> Any:  # noqa: ARG001
    return h_iter_num_next(state_at, r1)


def _iter_num_destroy(state_at: Any, r1: Any, r2: Any, r3: Any, r4: Any, r5: Any) -> Any:  # noqa: ARG001
    return h_iter_num_destroy(state_at, r1)


ENTRIES: Mapping[int, Callable[..., Any]] = {
    HelperId.MAP_LOOKUP_ELEM: _map_lookup_elem,
    HelperId.MAP_UPDATE_ELEM: _map_update_elem,
    HelperId.MAP_DELETE_ELEM: _map_delete_elem,
    HelperId.KTIME_GET_NS: _ktime_get_ns,
    HelperId.GET_PRANDOM_U32: _get_prandom_u32,
    HelperId.GET_SMP_PROCESSOR_ID: _get_smp_processor_id,
    HelperId.REDIRECT: _redirect,
    HelperId.SKB_LOAD_BYTES: _skb_load_bytes,
    HelperId.CSUM_DIFF: _csum_diff,
    HelperId.MAP_LOOKUP_PERCPU_ELEM: _map_lookup_percpu_elem,
    KfuncId.BPF_ITER_NUM_NEW: _iter_num_new,
    KfuncId.BPF_ITER_NUM_NEXT: _iter_num_next,
    KfuncId.BPF_ITER_NUM_DESTROY: _iter_num_destroy,
}
"""Functions to compile (`prestocloud_sec.bpf.helpers.native`), by the helper's number."""
SIGNATURE = types.uint64(types.int64, *[types.uint64] * 5)
