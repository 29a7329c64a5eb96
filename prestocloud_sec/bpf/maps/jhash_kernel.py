# SPDX-License-Identifier: Apache-2.0
"""The kernel's hash of keys (``include/linux/jhash.h``) in compiled code; see `prestocloud_sec.bpf.maps.jhash`."""

from __future__ import annotations

from typing import Any

from numba import types

from prestocloud_sec._jit import kernel
from prestocloud_sec.bpf._raw_kernel import load8, load32
from prestocloud_sec.bpf.maps.jhash import INITIAL

__all__ = ["jhash"]

_I, _U = types.int64, types.uint64
_LOW = _U(0xFFFF_FFFF)


@kernel(inline="always")
def _turn(value: Any, bits: Any) -> Any:
    """Rotate 32 bits to the left."""
    return ((value << _U(bits)) | (value >> _U(32 - bits))) & _LOW


@kernel()
def _mix(a: Any, b: Any, c: Any) -> Any:
    a = ((a - c) & _LOW) ^ _turn(c, 4)
    c = (c + b) & _LOW
    b = ((b - a) & _LOW) ^ _turn(a, 6)
    a = (a + c) & _LOW
    c = ((c - b) & _LOW) ^ _turn(b, 8)
    b = (b + a) & _LOW
    a = ((a - c) & _LOW) ^ _turn(c, 16)
    c = (c + b) & _LOW
    b = ((b - a) & _LOW) ^ _turn(a, 19)
    a = (a + c) & _LOW
    c = ((c - b) & _LOW) ^ _turn(b, 4)
    b = (b + a) & _LOW
    return a, b, c


@kernel()
def _tail(at: Any, size: Any) -> Any:
    """Return up to four bytes as one little-endian number."""
    value = _U(0)
    for place in range(min(size, _I(4))):
        value |= load8(at + place) << (_U(8) * _U(place))
    return value


@kernel()
def jhash(at: Any, size: Any, seed: Any) -> Any:
    """Return the hash of `size` bytes."""
    a = (_U(INITIAL) + _U(size) + seed) & _LOW
    b, c = a, a
    while size > _I(12):
        a = (a + load32(at)) & _LOW
        b = (b + load32(at + 4)) & _LOW
        c = (c + load32(at + 8)) & _LOW
        a, b, c = _mix(a, b, c)
        at += _I(12)
        size -= _I(12)
    if size > _I(0):
        a = (a + _tail(at, size)) & _LOW
        if size > _I(4):
            b = (b + _tail(at + 4, size - _I(4))) & _LOW
        if size > _I(8):
            c = (c + _tail(at + 8, size - _I(8))) & _LOW
        c = ((c ^ b) - _turn(b, 14)) & _LOW
        a = ((a ^ c) - _turn(c, 11)) & _LOW
        b = ((b ^ a) - _turn(a, 25)) & _LOW
        c = ((c ^ b) - _turn(b, 16)) & _LOW
        a = ((a ^ c) - _turn(c, 4)) & _LOW
        b = ((b ^ a) - _turn(a, 14)) & _LOW
        c = ((c ^ b) - _turn(b, 24)) & _LOW
    return c
