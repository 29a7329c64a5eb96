# SPDX-License-Identifier: Apache-2.0
"""Where everything lies for a running program: addresses, regions, and the words that engines share.

A program never sees an address of this process. Its addresses are ``region << 32 | offset``: the number of a region of
memory, and a place in it. So a wild pointer hits nothing, every engine computes the same numbers, and a fault can say
which region was meant. The packet is region 0 and begins at `PACKET_DATA`, so that the 32-bit ``data`` and ``data_end``
of a context hold whole addresses, and 0 is no address.

The native engines see the same memory through two arrays of 64-bit words. The *region table* has a row for each region;
an access of ``size`` bytes at ``address`` is allowed if, with all arithmetic modulo 2**64 and unsigned::

    offset = address - row[BASE]
    offset < row[SIZE] and size <= row[ELEMENT] and (offset & row[MASK]) <= row[ELEMENT] - size
    and row[FLAGS] has READABLE or WRITABLE

and its bytes then lie at ``row[HOST] + offset`` in this process. Regions of equal elements (the values of a map) have
the distance of two elements, a power of two, less one as `MASK`, so that no access reaches from one element into the
next or into the room between them; other regions have all ones there, and `ELEMENT` equal to `SIZE`.

The *state* is everything else that an engine reads or leaves behind: see the words below.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = [
    "BASE",
    "CONTEXT",
    "DYNAMIC",
    "DYNAMIC_REGIONS",
    "ELEMENT",
    "FLAGS",
    "FRAME_SIZE",
    "FUNCTION_HANDLES",
    "HEADROOM",
    "HOST",
    "MAP_HANDLES",
    "MAP_KEYS",
    "MAP_VALUES",
    "MASK",
    "MAX_FRAMES",
    "MAX_LOOPS",
    "MAX_MAPS",
    "MAX_TAIL_CALLS",
    "MAY_GOTO_LOOPS",
    "PACKET",
    "PACKET_BUFFER",
    "PACKET_DATA",
    "READABLE",
    "REGIONS",
    "REGION_SHIFT",
    "REGION_WORDS",
    "SIZE",
    "SKF_LL_OFF",
    "SKF_NET_OFF",
    "STACK",
    "STATE_WORDS",
    "WHOLE",
    "WRITABLE",
    "State",
    "place_of",
    "stack_top",
]

REGION_SHIFT = 32
"""Bits of an address that are its place in a region."""

# --- Numbers of regions.

PACKET = 0
"""From ``data_meta`` (or ``data``) to ``data_end``."""
CONTEXT = 1
"""What r1 points at in programs of the kernel's types."""
STACK = 2
"""The first of `MAX_FRAMES` regions, one for each stack frame; of a frame that is not in use, `SIZE` is 0."""
MAX_MAPS = 64
"""Maps that one program can refer to (Linux ``MAX_USED_MAPS``), maps within maps included."""
MAP_VALUES = 16
"""The region of the values of a machine's map 0; map i has ``MAP_VALUES + i``."""
MAP_KEYS = MAP_VALUES + MAX_MAPS
"""The same for the keys, which callbacks of ``for_each_map_elem`` may read."""
DYNAMIC = MAP_KEYS + MAX_MAPS
"""The first region of memory that helpers hand out, as ``ringbuf_reserve`` does."""
DYNAMIC_REGIONS = 64
REGIONS = 256
"""Rows of the region table; a higher number in an address is a fault."""

# --- Words of a row of the region table (uint64).

BASE = 0
"""Address of the first byte, as the program sees it."""
SIZE = 1
"""Bytes in all, 0 for a region that does not exist."""
HOST = 2
"""Address of the first byte in this process."""
MASK = 3
ELEMENT = 4
"""Bytes of one element that may be touched."""
FLAGS = 5
REGION_WORDS = 8

READABLE = 1
WRITABLE = 2
WHOLE = (1 << 64) - 1
"""`MASK` of a region that is one element."""

# --- Places and sizes.

HEADROOM = 256
"""Bytes before the data into which ``xdp_adjust_head`` and ``xdp_adjust_meta`` can grow (``XDP_PACKET_HEADROOM``)."""
PACKET_BUFFER = 0x1_0000
"""Address of the first byte of a packet's buffer, its headroom included."""
PACKET_DATA = PACKET_BUFFER + HEADROOM
"""Address of the first byte of the packet as it arrives."""
FRAME_SIZE = 512
"""Bytes of one stack frame (Linux ``MAX_BPF_STACK``); it begins as zeros."""
MAX_FRAMES = 8
"""Functions that can be active at once (Linux ``MAX_CALL_FRAMES``), callbacks included."""
MAX_TAIL_CALLS = 33
"""Tail calls of one run (Linux ``MAX_TAIL_CALL_CNT``); further ones fail, and the program goes on behind them."""
MAX_LOOPS = 8 * 1024 * 1024
"""Turns of the helper ``loop`` (Linux ``BPF_MAX_LOOPS``)."""
MAY_GOTO_LOOPS = MAX_LOOPS
"""How often one run passes ``may_goto`` before it jumps; the kernel also looks at a clock."""
SKF_NET_OFF, SKF_LL_OFF = -0x10_0000, -0x20_0000
"""Offsets of classic loads from which on they count from the network and from the link-layer header (Linux
``include/uapi/linux/filter.h``)."""

MAP_HANDLES = 0xFFFF_8000_0000_0000
"""What a 64-bit load of a map gives: this plus the map's number in the machine. Nothing lies there."""
FUNCTION_HANDLES = 0xFFFF_9000_0000_0000
"""What a 64-bit load of a function gives: this plus the index of its first instruction in its program."""


def stack_top(frame: int) -> int:
    """Return r10 of a frame, 0 being the outermost.

    >>> hex(stack_top(0))
    '0x200000200'
    """
    return (STACK + frame << REGION_SHIFT) + FRAME_SIZE


def place_of(address: int) -> tuple[str, int] | None:
    """Return the region of an address and the offset in it, or None where no region can be.

    Whether there is such a region in a machine, and how large it is, is not asked. Offsets in the packet count from its
    first byte as it arrives.

    >>> place_of(PACKET_DATA + 12), place_of(stack_top(1) - 8), place_of(0)
    (('packet', 12), ('stack frame 1', 504), None)
    """
    number, offset = address >> REGION_SHIFT, address & (1 << REGION_SHIFT) - 1
    if number < STACK + MAX_FRAMES and offset >> REGION_SHIFT - 1:  # no packet, context or frame is so large
        number, offset = number + 1, offset - (1 << REGION_SHIFT)
    if number == PACKET:
        return None if address < PACKET_BUFFER else ("packet", address - PACKET_DATA)
    if number == CONTEXT:
        return "context", offset
    for start, count, name in (
        (STACK, MAX_FRAMES, "stack frame"),
        (MAP_VALUES, MAX_MAPS, "values of map"),
        (MAP_KEYS, MAX_MAPS, "keys of map"),
        (DYNAMIC, DYNAMIC_REGIONS, "record"),
    ):
        if start <= number < start + count:
            return f"{name} {number - start}", offset
    return None


class State(IntEnum):
    """Words of the state (int64; addresses and registers are the same bits, unsigned).

    Words that end in ``_AT`` hold addresses of this process.
    """

    FAULT = 0
    """0, or the number of the `FaultKind` that ended the run."""
    FAULT_INSTRUCTION = 1
    """Index of the instruction that did it, in the program that is number `PROGRAM`."""
    FAULT_ADDRESS = 2
    FAULT_SIZE = 3
    FUEL = 4
    """What may still be charged before the limit is reached; see `prestocloud_sec.bpf.vm.fault.FaultKind.LIMIT`."""
    RESERVE = 5
    """Fuel that is handed out later, in portions, so that the clock is looked at in between; 0 without a time limit."""
    DEADLINE = 6
    """Nanoseconds of the monotonic clock, or 0."""
    REGIONS_AT = 7
    MAPS_AT = 8
    """Address of an array of addresses: of the descriptor of each map of the machine, by its number."""
    MAP_COUNT = 9
    HELPERS_AT = 10
    """Address of an array of addresses of compiled helpers, as the compiler numbers them."""
    PROGRAMS_AT = 11
    """Address of an array of addresses of compiled programs, by their number in the machine; 0 if not compiled."""
    PROGRAM = 12
    """Number of the program that runs: 0, or another after a tail call."""
    DEPTH = 13
    """Number of active frames less one."""
    TAIL_CALLS = 14
    MAY_GOTO = 15
    CPU = 16
    RANDOM = 17
    """State of the generator behind ``get_prandom_u32``."""
    NOW = 18
    """What ``ktime_get_ns`` gives where the caller fixed the time; 0 if it did not."""
    RESULT = 19
    """r0 at the end."""
    PACKET_AT = 20
    """Where the packet's buffer is, its headroom included."""
    PACKET_ROOM = 21
    """Bytes of that buffer."""
    DATA_META = 22
    DATA = 23
    DATA_END = 24
    """Addresses as the program sees them."""
    CONTEXT_KIND = 25
    """0: none or opaque; 1: ``xdp_md``; 2: ``__sk_buff``. Says where the context shows `DATA` and the others."""
    REDIRECT = 26
    """1 once a redirect helper was called; the next three words say where to."""
    REDIRECT_TARGET = 27
    REDIRECT_FLAGS = 28
    REDIRECT_MAP = 29
    """Number of the map plus 1; 0 for an interface."""
    CHANGED = 30
    """1 once the packet's bytes or bounds may have changed."""
    HELPER = 31
    """For the interpreter: number of the helper that Python is to run; arguments and result are in `R0` and on."""
    RESUME = 32
    """For the interpreter: index of the instruction to go on at."""
    R0 = 33
    """The first of eleven registers, for the interpreter between two calls of its kernel."""
    TRAMPOLINE_AT = 44
    """Address of the function that runs a helper in Python, for compiled code."""
    MACHINE = 45
    """Which machine this is, for that function."""
    NETWORK_OFFSET = 46
    """Offset of the network header in the packet, for classic loads relative to it."""
    MAC_OFFSET = 47
    """Offset of the link-layer header in the packet; -1 if the packet has none."""


STATE_WORDS = 64
