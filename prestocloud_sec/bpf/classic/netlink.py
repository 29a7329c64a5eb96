# SPDX-License-Identifier: Apache-2.0
"""The search for netlink attributes that classic programs can ask for.

An attribute is a length (u16, with these four bytes) and a type (u16, the upper two bits flags), both in this machine's
byte order, then data; the next begins at a multiple of four behind it. Sources: Linux ``include/net/netlink.h``,
"Attribute Format", and 6.18 ``net/core/filter.c``, ``bpf_skb_get_nlattr`` (behaviour).
"""

from __future__ import annotations

import sys

__all__ = ["find_attribute", "find_nested"]

_HEADER = 4
_TYPE_MASK = 0x3FFF


def _header(packet: bytes, at: int, rest: int) -> tuple[int, int] | None:
    """Return length and type of the attribute at `at` of which `rest` bytes are there; None if it is none."""
    if rest < _HEADER:
        return None
    length = int.from_bytes(packet[at : at + 2], sys.byteorder)
    kind = int.from_bytes(packet[at + 2 : at + 4], sys.byteorder)
    return (length, kind & _TYPE_MASK) if _HEADER <= length <= rest else None


def _find(packet: bytes, at: int, rest: int, kind: int) -> int:
    while (header := _header(packet, at, rest)) is not None:
        if header[1] == kind:
            return at
        step = header[0] + 3 & ~3
        at, rest = at + step, rest - step
    return 0


def find_attribute(packet: bytes, start: int, kind: int) -> int:
    """Return the offset of the first attribute of a type, from offset `start` on; 0 if there is none."""
    return _find(packet, start, len(packet) - start, kind)


def find_nested(packet: bytes, start: int, kind: int) -> int:
    """Return the offset of the first attribute of a type within the one at offset `start`; 0 if there is none."""
    header = _header(packet, start, len(packet) - start)
    return 0 if header is None else _find(packet, start + _HEADER, header[0] - _HEADER, kind)
