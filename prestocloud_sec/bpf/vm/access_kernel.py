# SPDX-License-Identifier: Apache-2.0
"""From an address that a program uses to one of this process, for native engines and helpers.

The twin of `prestocloud_sec.bpf.vm.memory.Memory.locate`; the rule stands in `prestocloud_sec.bpf.vm.layout`.
"""

from __future__ import annotations

from typing import Any

from numba import types

from prestocloud_sec._jit import kernel
from prestocloud_sec.bpf._raw_kernel import load64
from prestocloud_sec.bpf.vm import layout

__all__ = ["host_of"]

_SHIFT = types.uint64(layout.REGION_SHIFT)
_REGIONS = types.uint64(layout.REGIONS)
_ROW = 8 * layout.REGION_WORDS
_BASE, _SIZE, _HOST = 8 * layout.BASE, 8 * layout.SIZE, 8 * layout.HOST
_MASK, _ELEMENT, _FLAGS = 8 * layout.MASK, 8 * layout.ELEMENT, 8 * layout.FLAGS


@kernel()
def host_of(regions_at: Any, address: Any, size: Any, flag: Any) -> Any:
    """Return where `size` bytes at a program's `address` lie in this process (int64), or 0 if they may not be touched.

    Parameters
    ----------
    regions_at : int64
        The region table (`State.REGIONS_AT`).
    address, size : uint64
        As the program sees it; a size of 0 is allowed wherever one byte is.
    flag : uint64
        ``READABLE`` or ``WRITABLE``.
    """
    number = address >> _SHIFT
    if number >= _REGIONS:
        return types.int64(0)
    row = regions_at + types.int64(number) * _ROW
    offset = address - load64(row + _BASE)
    element = load64(row + _ELEMENT)
    if (
        offset >= load64(row + _SIZE)
        or size > element
        or (offset & load64(row + _MASK)) > element - size
        or load64(row + _FLAGS) & flag == types.uint64(0)
    ):
        return types.int64(0)
    return types.int64(load64(row + _HOST) + offset)
