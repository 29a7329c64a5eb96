# SPDX-License-Identifier: Apache-2.0
"""Words of a descriptor that hash maps add, for their kernels and for the Python that sets them up.

Theory of operation
-------------------
An element lives in a *slot*: row s of the keys, and of the values. It never moves while its key keeps it, because
programs hold addresses into it. Which slot has a key is told by chains, as in the kernel: a table of buckets, each
holding the number of a slot plus 1 or 0, and for each slot the next of its chain. A new element comes first in its
chain.

An update of a key that is there does not write into its slot: it fills the *spare* slot, puts that in the old one's
place, and the old one becomes the spare. So whoever reads a value meets the old or the new one whole, and an address
looked up before still shows the old value, as in the kernel (``kernel/bpf/hashtab.c``, ``extra_elems``). Per-CPU values
are written in place, there as here.

Slots that were freed are used again, the last freed first; then those never used.

The bucket of a key comes from a universal family: with random words s, 32-bit halves x of the key, and everything
modulo 2**64, ``u = (s0 + sum (s[2i+1] + x[2i+1]) * (s[2i+2] + x[2i])) >> 32`` is uniform and pairwise independent
(Thorup, "High speed hashing for integers and strings", 2015, section 3), and a bijection of 32 bits whose highest bits
are taken keeps it so. Whoever does not know the words cannot choose keys that collide more than by chance. With
``ZERO_SEED`` it is the kernel's own function with the seed 0, for which such keys are easy to find.
"""

from __future__ import annotations

from enum import IntEnum

from prestocloud_sec.bpf.maps.layout import Descriptor

__all__ = ["MULTIPLIER", "HashWord"]

MULTIPLIER = 0x9E37_79B1
"""What spreads the hash over its 32 bits: the prime nearest to 2**32 divided by the golden ratio."""
_FIRST = int(Descriptor.PRIVATE)


class HashWord(IntEnum):
    """Words behind `Descriptor.PRIVATE` in the descriptor of a hash map."""

    LOCK = _FIRST
    """1 while the map changes; first in every kind of map that has kernels."""
    BUCKETS_AT = _FIRST + 1
    """uint32 of each bucket: the first slot of its chain, plus 1; 0 for none."""
    SHIFT = _FIRST + 2
    """32 less the binary logarithm of the number of buckets."""
    SEEDS_AT = _FIRST + 3
    """The random words (uint64), or 0 for the kernel's function with the seed 0."""
    CHAIN_AT = _FIRST + 4
    """uint32 of each slot: the next slot of its chain, plus 1; 0 for none. Stays as it was when a slot is freed."""
    FREE_AT = _FIRST + 5
    """uint32: stack of slots that were freed."""
    FREED = _FIRST + 6
    """How many there are."""
    FRESH = _FIRST + 7
    """The first slot that was never used."""
    SPARE = _FIRST + 8
    """The slot that the next update of a present key fills; -1 where values are written in place."""
    SLOTS = _FIRST + 9
    """Slots in all but the spare one."""
    LRU_AT = _FIRST + 10
    """Where the words of `prestocloud_sec.bpf.maps.lru_layout` are; 0 for maps that evict nothing."""
