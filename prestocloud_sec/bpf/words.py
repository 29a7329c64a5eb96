# SPDX-License-Identifier: Apache-2.0
"""Machine words as Python integers: registers are unsigned here, int64 arrays and C hold the same bits signed."""

from __future__ import annotations

__all__ = ["signed"]


def signed(value: int, bits: int = 64) -> int:
    """Return the low `bits` bits of a number as a signed one, in two's complement.

    >>> signed(0xFF, 8), signed(-1), signed((1 << 64) - 2)
    (-1, -1, -2)
    """
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> bits - 1 else value
