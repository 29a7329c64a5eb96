# SPDX-License-Identifier: Apache-2.0
"""The hash that the kernel's maps use, to be read: Bob Jenkins' ``lookup3`` (2006, in the public domain).

Linux has it as ``jhash`` for bytes and ``jhash2`` for 32-bit words (``include/linux/jhash.h``), which agree on a
little-endian machine. The order of a map made with ``ZERO_SEED``, the false positives of such a Bloom filter, and the
numbers of stack traces follow from it.
"""

from __future__ import annotations

__all__ = ["INITIAL", "jhash"]

INITIAL = 0xDEAD_BEEF
_MASK = 0xFFFF_FFFF


def _turn(value: int, bits: int) -> int:
    return (value << bits | value >> 32 - bits) & _MASK


def _mix(a: int, b: int, c: int) -> tuple[int, int, int]:
    for bits in (4, 6, 8, 16, 19, 4):
        a = ((a - c) & _MASK) ^ _turn(c, bits)
        c = (c + b) & _MASK
        a, b, c = b, c, a
    return a, b, c


def _finish(a: int, b: int, c: int) -> int:
    for bits in (14, 11, 25, 16, 4, 14, 24):
        c = ((c ^ b) - _turn(b, bits)) & _MASK
        a, b, c = b, c, a
    return b


def jhash(data: bytes, seed: int = 0) -> int:
    """Return the hash of a key as the kernel's maps compute it.

    >>> hex(jhash(b"Four score and seven years ago"))
    '0x17770551'
    """
    words = [int.from_bytes(data[place : place + 4], "little") for place in range(0, len(data), 4)]
    a = b = c = (INITIAL + len(data) + seed) & _MASK
    while words:
        first, second, third = [*words[:3], 0, 0][:3]
        a, b, c = (a + first) & _MASK, (b + second) & _MASK, (c + third) & _MASK
        words = words[3:]
        if not words:
            return _finish(a, b, c)
        a, b, c = _mix(a, b, c)
    return c
