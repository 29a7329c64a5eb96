# SPDX-License-Identifier: Apache-2.0
"""Words of a descriptor that tries add, for their kernels and for the Python that sets them up.

Theory of operation
-------------------
As in the kernel (``kernel/bpf/lpm_trie.c``) a trie is binary and skips bits in which nothing branches. A *node* has a
prefix and up to two children, whose prefixes are longer and agree with its own; the next bit says which. Nodes are of
two kinds: *elements*, which users stored, and *branches*, which only join two children. A lookup goes down as long as
the prefixes agree, and remembers the last element: not more steps than a key has bits, and about the logarithm of the
number of elements.

Nodes are numbers. Those below `SLOTS` + 1 are elements: their number is also the slot of their value (one is spare,
see `prestocloud_sec.bpf.maps.hash_layout`). Those from there on are branches; there are always fewer of them than
elements. Row n of the keys is node n: the length of its prefix in bits (uint32 of this machine's byte order), the
bits, and at the end of the row its children, two uint32, each a node's number plus 1, or 0 for none.
"""

from __future__ import annotations

from enum import IntEnum

from prestocloud_sec.bpf.maps.layout import Descriptor

__all__ = ["LpmWord"]

_FIRST = int(Descriptor.PRIVATE)


class LpmWord(IntEnum):
    """Words behind `Descriptor.PRIVATE` in the descriptor of a trie."""

    LOCK = _FIRST
    """1 while the map changes."""
    ROOT = _FIRST + 1
    """The first node, plus 1; 0 for none."""
    SLOTS = _FIRST + 2
    """Elements that there is storage for, but for the spare one."""
    SPARE = _FIRST + 3
    """The slot that the next update of a present key fills."""
    FREE_AT = _FIRST + 4
    FREED = _FIRST + 5
    FRESH = _FIRST + 6
    """Elements that were freed (a stack of uint32), and the first that was never used."""
    BRANCH_FREE_AT = _FIRST + 7
    BRANCH_FREED = _FIRST + 8
    BRANCH_FRESH = _FIRST + 9
    """The same for branches."""
