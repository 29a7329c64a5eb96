# SPDX-License-Identifier: Apache-2.0
"""Words that say which elements of an LRU map go when room is needed.

Theory of operation
-------------------
The kernel (``kernel/bpf/bpf_lru_list.c``) does not keep elements in the order of their use, which would make every
lookup a write. It keeps two lists, *active* and *inactive*, and for each element one bit, *seen*, which a lookup by a
program sets. When room is needed it looks at up to `SCANS` elements from the end of a list at a time: those seen go
to the head of the active list with their bit cleared, others from the active to the inactive list, and out of the
inactive list.

Of a map with lists in common, each processor has a stock of free elements and a list of *pending* ones, those it
filled since it last fetched free ones, which then join the common lists. It fetches up to `TARGET` at once, so that
many elements go when one is needed, and less than `max_entries` may be used. Where nothing can be had, it takes from
the stocks of other processors. With ``NO_COMMON_LRU`` each processor has lists of its own, and `max_entries` is
divided among them.

All of that is done here as there, so that the same operations on the same processor evict the same elements. Lists
are doubly linked through two tables of slot numbers, in which the heads of lists come behind the slots.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = ["FIRST_LIST_WORD", "LOCAL_TARGET", "OWN_TARGET", "Held", "LruWord"]

LOCAL_TARGET = 128
"""Free elements that a processor fetches at most, and elements looked at, of maps with lists in common."""
OWN_TARGET = 4
"""The same where each processor has its own lists."""


class Held(IntEnum):
    """Which list an element is in."""

    ACTIVE = 0
    INACTIVE = 1
    FREE = 2
    LOCAL_FREE = 3
    PENDING = 4


class LruWord(IntEnum):
    """Words at `HashWord.LRU_AT`."""

    COMMON = 0
    """1 if all processors share the lists."""
    CPUS = 1
    SCANS = 2
    TARGET = 3
    BEFORE_AT = 4
    AFTER_AT = 5
    """uint32 of each slot and head: its neighbours in its list."""
    HELD_AT = 6
    """uint8 of each slot: `Held`."""
    SEEN_AT = 7
    """uint8 of each slot: 1 if a program looked it up."""
    OWNER_AT = 8
    """uint32 of each slot: the processor that has it, or had it last."""
    HEADS = 9
    """Number of the first head of a list. There are three for each set of lists (active, inactive, free); then, if they
    are common, two for each processor (free, pending)."""
    STEAL = 10
    """The first of a word for each processor: whose stock it looks into next. In maps with lists in common."""


FIRST_LIST_WORD = 11
"""The first of three words for each set of lists: elements in active and inactive, and where its rotation goes on."""
