# SPDX-License-Identifier: Apache-2.0
"""Arguments and results as C sees them: register words cut to a width, errors as negative numbers."""

from __future__ import annotations

import errno

__all__ = ["fail", "s32", "u32"]

_U32 = 0xFFFF_FFFF
_S32_SIGN = 0x8000_0000


def u32(word: int) -> int:
    """Return the low 32 bits of a register.

    >>> hex(u32(0x1_2345_6789))
    '0x23456789'
    """
    return word & _U32


def s32(word: int) -> int:
    """Return the low 32 bits of a register as a signed number.

    >>> s32(0xFFFF_FFFF)
    -1
    """
    return ((word & _U32) ^ _S32_SIGN) - _S32_SIGN


def fail(symbol: str) -> int:
    """Return what a helper gives for an error.

    >>> fail("ENOENT")
    -2
    """
    number: int = getattr(errno, symbol)
    return -number
