# SPDX-License-Identifier: Apache-2.0
"""Internet checksums as the kernel's helpers compute them: in the machine's byte order, without swapping (RFC 1071).

A 32-bit sum is one's complement: it is 0 only if everything added was 0, otherwise 1 to 2**32 - 1. The numbers below
are what 16- or 32-bit words read as on this machine; one's complement sums do not care which order that is.

The flags are those of Linux ``include/uapi/linux/bpf.h``, ``BPF_F_*`` of ``bpf_l4_csum_replace``; what they do, 6.18
``net/core/filter.c`` (behaviour).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from prestocloud_sec.bpf.helpers.numbers import fail, u32
from prestocloud_sec.bpf.helpers.registry import implements

if TYPE_CHECKING:
    from prestocloud_sec.bpf.vm.machine import Machine

__all__ = ["fold", "ones_sum"]

_U16, _U32 = 0xFFFF, 0xFFFF_FFFF
_FIELD = 2

SIZE_MASK = 0xF
"""Bytes of what changes (``BPF_F_HDR_FIELD_MASK``)."""
PSEUDO_HEADER = 0x10
"""What changes is in the pseudo header too; the sum of a packet whose sum the card will check would change."""
MARK_MANGLED_0 = 0x20
"""0 means that there is no checksum, as in UDP."""
MARK_ENFORCE = 0x40
"""Write one nevertheless."""
IPV6 = 0x80
"""What changes is an IPv6 address."""


def ones_sum(data: bytes, seed: int = 0) -> int:
    """Return the 32-bit sum of `data`, zeros added to a multiple of four bytes, and `seed`.

    >>> hex(ones_sum(bytes([1, 0, 0, 0, 2, 0, 0, 0]), 0xFFFF_FFFF))
    '0x3'
    """
    words = memoryview(data + bytes(-len(data) % 4)).cast("I")
    return _normal(sum(words) + seed)


def _end_around(total: int, most: int) -> int:
    """Return a one's complement sum as a number up to `most`, which stands for 0 unless nothing was added."""
    return (total - 1) % most + 1 if total else 0


def _normal(total: int) -> int:
    return _end_around(total, _U32)


def fold(total: int) -> int:
    """Return a 32-bit sum as 16 bits, not inverted.

    >>> hex(fold(0x0001_FFFF))
    '0x1'
    """
    return _end_around(total, _U16)


def _replace16(field: int, old: int, new: int) -> int:
    total = (~field & _U16) + (~old & _U16)
    total = (total & _U16) + (total >> 16)
    total += new & _U16
    return ~((total & _U16) + (total >> 16)) & _U16


def _by_difference(field: int, difference: int) -> int:
    return ~fold(_normal(difference + (~field & _U16 | 0xFFFF_0000))) & _U16


def _changed(field: int, old: int, new: int, size: int) -> int | None:
    """Return the new field for a size of the flags, or None if there is no such size."""
    match size:
        case 0 if not old:
            return _by_difference(field, u32(new))
        case 2:
            return _replace16(field, old & _U16, new & _U16)
        case 4:
            return _replace32(field, u32(old), u32(new))
        case _:
            return None


def _replace32(field: int, old: int, new: int) -> int:
    inverted = ~field & _U32
    return ~fold(_normal(_normal(inverted + (~old & _U32)) + new)) & _U16


@implements("csum_diff")
def csum_diff(machine: Machine, start: int, start_size: int, to: int, to_size: int, seed: int) -> int:
    """Return what the sum `seed` changes to when one piece of memory becomes another, folded to 16 bits.

    Folded since Linux 6.13; before, the 32-bit sum came back as it was, and sizes had to be multiples of four.
    """
    start_size, to_size, total = u32(start_size), u32(to_size), u32(seed)
    old = machine.memory.read(start, start_size) if start_size else b""
    new = machine.memory.read(to, to_size) if to_size else b""
    if old and new:
        total = _normal(ones_sum(new, total) + (~ones_sum(old) & _U32))
    elif new:
        total = ones_sum(new, total)
    elif old:
        total = ~ones_sum(old, ~total & _U32) & _U32
    return fold(total)


@implements("l3_csum_replace")
def l3_csum_replace(machine: Machine, context: int, offset: int, old: int, new: int, flags: int) -> int:  # noqa: ARG001
    """Update the checksum field at `offset` of the packet for a change of 2 or 4 bytes, or by a difference (0)."""
    if flags & ~SIZE_MASK:
        return fail("EINVAL")
    field = _field(machine, u32(offset))
    if field is None:
        return fail("EFAULT")
    changed = _changed(field, old, new, flags & SIZE_MASK)
    return _write(machine, u32(offset), changed)


@implements("l4_csum_replace")
def l4_csum_replace(machine: Machine, context: int, offset: int, old: int, new: int, flags: int) -> int:  # noqa: ARG001
    """Do the same for TCP and UDP; with `MARK_MANGLED_0` a field of 0 (no checksum) stays, and 0 is written as ffff."""
    if flags & ~(SIZE_MASK | PSEUDO_HEADER | MARK_MANGLED_0 | MARK_ENFORCE | IPV6):
        return fail("EINVAL")
    field = _field(machine, u32(offset))
    if field is None:
        return fail("EFAULT")
    mangled = bool(flags & MARK_MANGLED_0)
    if mangled and not flags & MARK_ENFORCE and not field:
        return 0
    changed = _changed(field, old, new, flags & SIZE_MASK)
    if changed == 0 and mangled:
        changed = _U16
    return _write(machine, u32(offset), changed)


def _field(machine: Machine, offset: int) -> int | None:
    """Return the 16 bits at `offset`, or None where the kernel finds no field."""
    if offset > _U16 or offset % 2:
        return None
    data = machine.packet_bytes(offset, _FIELD)
    return None if data is None else int.from_bytes(data, sys.byteorder)


def _write(machine: Machine, offset: int, field: int | None) -> int:
    if field is None:
        return fail("EINVAL")
    machine.packet_store(offset, field.to_bytes(_FIELD, sys.byteorder))
    return 0
