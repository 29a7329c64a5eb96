# SPDX-License-Identifier: Apache-2.0
"""What a batch tells its kernels: the words of an int64 array.

Arrays are handed over by address: numba counts references to array objects in a loop that calls foreign code, which
takes longer than many a program runs.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = ["BATCH_WORDS", "Batch"]


class Batch(IntEnum):
    """Words of a batch. Those that end in ``_AT`` are addresses of this process."""

    STATE_AT = 0
    TABLE_AT = 1
    """The region table."""
    CONTEXT_AT = 2
    """Bytes of the context, or 0."""
    CONTEXT_SIZE = 3
    KIND = 4
    """`ContextKind`."""
    LINK_LAYER = 5
    """1 if packets begin with an Ethernet header."""
    COPIES = 6
    """1 if each packet is copied into the machine's buffer and then out of it; 0 if it is read where it lies."""
    BUFFER_AT = 7
    """The machine's buffer, headroom included."""
    ROOM = 8
    """Bytes that packets may grow to behind the headroom, at least."""
    FUEL = 9
    SEED = 10
    """What the random generator is set to before each packet, or 0 to let it run on."""
    RAW = 11
    """1 if r1 and r2 are address and length of the packet."""
    FUNCTION_AT = 12
    """A compiled program."""
    DESK_AT = 13
    """The interpreter's desk."""
    WRITTEN = 14
    """Bytes of the output buffer that are used; where to go on."""
    COUNT = 15
    """Packets."""
    SOURCE_AT = 16
    SOURCE_SIZE = 17
    """The arena's buffer, and its bytes."""
    OFFSETS_AT = 18
    LENGTHS_AT = 19
    """int64 for each packet."""
    VALUES_AT = 20
    """Result: r0, uint64."""
    FAULTS_AT = 21
    """Result: `FaultKind`, uint8."""
    PLACES_AT = 22
    """Result: the faulting instruction, int32."""
    TOUCHED_AT = 23
    """Result: address and size of a faulting access, two uint64."""
    CHANGED_AT = 24
    """Result: whether the packet is another, uint8."""
    OUT_AT = 25
    OUT_SIZE = 26
    """Result: buffer for the packets afterwards, and its bytes."""
    OUT_OFFSETS_AT = 27
    OUT_LENGTHS_AT = 28
    """Result: where they are in it, int64."""
    PLAIN = 29
    """1 if a run that ends without a fault changes nothing of the state but fuel: no calls, no copies."""


BATCH_WORDS = 32
