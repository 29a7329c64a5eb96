# SPDX-License-Identifier: Apache-2.0
"""Memory of maps: numpy arrays of zeros that never move, and cost nothing until they are written to.

Programs and kernels hold addresses into these arrays. Large ones are anonymous mappings of their own, so that a map of
a million entries, of which three are used, takes the pages of three.
"""

from __future__ import annotations

import errno
import mmap
import sys
from typing import TYPE_CHECKING

import numpy as np

from prestocloud_sec.bpf.errors import MapError

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

__all__ = ["WINDOW", "address_of", "power_of_two", "rounded", "stride_of", "view", "wipe", "zeros"]

WINDOW = 1 << 32
"""Bytes of a map's values that a program can address."""
_LARGE = 1 << 16
_NO_RESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)


def power_of_two(number: int) -> int:
    """Return the least power of two that is not below `number`.

    >>> power_of_two(1), power_of_two(5), power_of_two(8)
    (1, 8, 8)
    """
    return 1 << max(number - 1, 0).bit_length()


def rounded(size: int) -> int:
    """Return the least multiple of 8 that is not below `size`.

    >>> rounded(8), rounded(9)
    (8, 16)
    """
    return (size + 7) & ~7


def stride_of(size: int) -> int:
    """Return the distance of elements of `size` bytes: a power of two, 8 or more."""
    return max(power_of_two(size), 8)


def zeros(size: int) -> NDArray[np.uint8]:
    """Return `size` bytes of zeros, aligned to 8, whose address stays.

    Raises
    ------
    MapError
        ENOMEM, if the system does not give them.
    """
    if size <= _LARGE:
        return np.zeros(rounded(size) // 8, np.uint64).view(np.uint8)[:size]
    try:
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE
        return np.frombuffer(mmap.mmap(-1, size, flags=flags), np.uint8)
    except (MemoryError, OSError, OverflowError, ValueError) as error:
        raise MapError(errno.ENOMEM, f"no memory for {size} bytes", where="map") from error


def address_of(array: NDArray[Any]) -> int:
    """Return where an array lies in this process."""
    return int(array.ctypes.data)


def wipe(array: NDArray[np.uint8]) -> None:
    """Set all bytes to 0; pages that were never written to are read alone, so that they still cost nothing."""
    for start in range(0, len(array), _LARGE):
        part = array[start : start + _LARGE]
        if part.any():
            part[:] = 0


def view(array: NDArray[Any]) -> memoryview:
    """Return a view of an array that is quick to index from Python."""
    return memoryview(array)  # type: ignore[arg-type,unused-ignore]
