# SPDX-License-Identifier: Apache-2.0
"""What a batch tells its kernels: the words of an int64 array.

Arrays are handed over by address: numba counts references to array objects in a loop that calls foreign code, which
takes longer than many a program runs.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = ["BATCH_WORDS", "RECORD_WORDS", "Batch"]


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
    REDIRECTS = 7
    """1 if the program may call a redirect helper."""
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
    """Result: r0, uint64; every element is written."""
    FAULTS_AT = 21
    """Result: `FaultKind`, uint8; written where there is a fault."""
    RECORDS_AT = 22
    """Result: for each fault `RECORD_WORDS` words: index of the packet, instruction, address and size of an access."""
    RECORDS = 23
    """How many there are; set to 0 when they were taken out."""
    CHANGED_AT = 24
    """Result: whether the packet is another, uint8."""
    OUT_AT = 25
    OUT_SIZE = 26
    """Result: buffer for the packets afterwards, and its bytes."""
    OUT_OFFSETS_AT = 27
    OUT_LENGTHS_AT = 28
    """Result: where they are in it, int64."""
    PLAIN = 29
    """1 if a run that ends without a fault leaves nothing in the state that `run_compiled` does not write each time."""
    RECORDS_ROOM = 30
    """How many records there is room for."""
    LOOP_AT = 31
    """A compiled program's own loop over packets (`prestocloud_sec.bpf.vm.compiler.packetloop`), or 0."""


BATCH_WORDS = 32
RECORD_WORDS = 4
