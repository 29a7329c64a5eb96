# SPDX-License-Identifier: Apache-2.0
"""Kernel functions that run without Python: the iterator over numbers.

Twins of those in `prestocloud_sec.bpf.helpers.kfuncs`.
"""

from __future__ import annotations

from typing import Any

from numba import types

from prestocloud_sec._jit import kernel
from prestocloud_sec.bpf._raw_kernel import load32, store32, store64
from prestocloud_sec.bpf.helpers.native_access_kernel import writable
from prestocloud_sec.bpf.vm import layout

__all__ = ["h_iter_num_destroy", "h_iter_num_new", "h_iter_num_next"]

_U = types.uint64
_U32, _SIGN = _U(0xFFFFFFFF), _U(0x80000000)
_EINVAL, _E2BIG = _U(-22 % (1 << 32)), _U(-7 % (1 << 32))
_SIZE = _U(8)


@kernel()
def _s32(word: Any) -> Any:
    """Return the low 32 bits of a word as a signed number."""
    return types.int64((word & _U32) ^ _SIGN) - types.int64(_SIGN)


@kernel()
def h_iter_num_new(state_at: Any, iterator: Any, start: Any, end: Any) -> Any:
    """Begin to count; an iterator that is refused has nothing to give."""
    host = writable(state_at, iterator, _SIZE)
    if host == 0:
        return _U(0)
    first, last = _s32(start), _s32(end)
    if first > last or last - first > layout.MAX_LOOPS:
        store64(host, _U(0))
        return _EINVAL if first > last else _E2BIG
    store32(host, _U(first - 1) & _U32)
    store32(host + 4, _U(last) & _U32)
    return _U(0)


@kernel()
def h_iter_num_next(state_at: Any, iterator: Any) -> Any:
    """Return the address of the next number, which is the iterator's own; 0 if there is none."""
    host = writable(state_at, iterator, _SIZE)
    if host == 0:
        return _U(0)
    following = _s32(load32(host) + _U(1))
    if following >= _s32(load32(host + 4)):
        store64(host, _U(0))
        return _U(0)
    store32(host, _U(following) & _U32)
    return iterator


@kernel()
def h_iter_num_destroy(state_at: Any, iterator: Any) -> Any:
    """Leave an iterator that has nothing to give."""
    host = writable(state_at, iterator, _SIZE)
    if host != 0:
        store64(host, _U(0))
    return _U(0)
