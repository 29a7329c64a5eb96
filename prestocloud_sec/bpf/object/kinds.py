# SPDX-License-Identifier: Apache-2.0
"""The numbers by which BTF says what a type is, who can see it, and what its bits mean.

Source: Linux 6.18, ``include/uapi/linux/btf.h``.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = ["MODIFIERS", "SEEN_THROUGH", "Encoding", "Kind", "Linkage"]


class Kind(IntEnum):
    """What a type is, by its number in BTF (``BTF_KIND_*``)."""

    VOID = 0
    INT = 1
    PTR = 2
    ARRAY = 3
    STRUCT = 4
    UNION = 5
    ENUM = 6
    FWD = 7
    TYPEDEF = 8
    VOLATILE = 9
    CONST = 10
    RESTRICT = 11
    FUNC = 12
    FUNC_PROTO = 13
    VAR = 14
    DATASEC = 15
    FLOAT = 16
    DECL_TAG = 17
    TYPE_TAG = 18
    ENUM64 = 19


class Linkage(IntEnum):
    """Who can see a function or a variable (``enum btf_func_linkage``)."""

    STATIC = 0
    GLOBAL = 1
    EXTERN = 2


class Encoding(IntEnum):
    """What the bits of an integer mean (``BTF_INT_*``)."""

    NONE = 0
    SIGNED = 1
    CHAR = 2
    BOOL = 4


MODIFIERS = frozenset({Kind.VOLATILE, Kind.CONST, Kind.RESTRICT, Kind.TYPE_TAG})
"""What says more of another type."""
SEEN_THROUGH = MODIFIERS | {Kind.TYPEDEF}
"""What only stands for another type: typedefs and modifiers."""
