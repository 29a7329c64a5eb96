# SPDX-License-Identifier: Apache-2.0
"""The descriptor of a map: what compiled code knows of it.

A descriptor is an int64 array that belongs to the map and never moves, and so are the arrays whose addresses it holds.
Offsets into the values are bytes from `VALUES_AT`; a machine adds the base of the region where it shows them.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = ["DELETE", "DESCRIPTOR_WORDS", "ITERATE", "LOOKUP", "UPDATE", "Descriptor"]

LOOKUP, UPDATE, DELETE, ITERATE = 1, 2, 4, 8
"""Bits of `Descriptor.NATIVE`."""


class Descriptor(IntEnum):
    """Words of a map's descriptor."""

    TYPE = 0
    """`MapType`."""
    KEY_SIZE = 1
    VALUE_SIZE = 2
    """Bytes of a key, and of a value, as the map was made with."""
    MAX_ENTRIES = 3
    FLAGS = 4
    """`MapFlag` bits that the map was made with."""
    STRIDE = 5
    """Bytes from one value to the next: a power of two, `VALUE_SIZE` or more, at least 8."""
    KEY_STRIDE = 6
    """Bytes from one stored key to the next: a power of two, at least 8."""
    VALUES_AT = 7
    KEYS_AT = 8
    """Addresses of the first value and the first stored key; 0 where there is none (arrays store no keys)."""
    CPUS = 9
    """Values of each element: 1, or for per-CPU maps the processors; that of processor c in slot s is s * CPUS + c."""
    NATIVE = 10
    """Which operations kernels can do without Python: bits `LOOKUP`, `UPDATE`, `DELETE`, `ITERATE`."""
    COUNT = 11
    """Elements that exist; for arrays `MAX_ENTRIES`."""
    PRIVATE = 12
    """The first word that means what the map's own kernels say."""


DESCRIPTOR_WORDS = 32
