# SPDX-License-Identifier: Apache-2.0
"""What the interpreter keeps for a machine besides the state that all engines share: its desk, an int64 array.

Most of it are *windows*: the last place where an access through a register was allowed, kept for each register and
right (`READABLE`, `WRITABLE`), so that the next access nearby needs one comparison instead of a row of the region
table. A window is never larger than what the table allows, and all are closed whenever the table may have changed.
"""

from __future__ import annotations

from enum import IntEnum

from prestocloud_sec.bpf.helpers.ids import HelperId
from prestocloud_sec.bpf.vm.layout import MAX_FRAMES

__all__ = [
    "DESK_WORDS",
    "FOR_EACH",
    "FRAME_WORDS",
    "LOCAL",
    "LOOP",
    "NESTED",
    "OURS",
    "PROGRAM_WORDS",
    "TAIL_CALL",
    "WINDOW",
    "Desk",
    "Frame",
    "Status",
    "Window",
]

WINDOW = 64
"""Bytes of a register's two windows, the one for reads first."""


class Window(IntEnum):
    """Bytes in a window, of which there are two behind each other for each register."""

    BASE = 0
    """Address of the first byte, as the program sees it (u64)."""
    DELTA = 8
    """What is added to such an address to get the one in this process (u64)."""
    LIMITS = 16
    """Four u32, for accesses of 1, 2, 4 and 8 bytes: they may begin at `BASE` and as many bytes less one after it."""
    WRITES = 32
    """Where the second window, for writes, begins."""


class Desk(IntEnum):
    """Words of a desk. Those that end in ``_AT`` are addresses of this process."""

    WINDOWS = 0
    """The windows of r0 to r10."""
    FRAME_AT = 88
    """Address of the end of the active stack frame, where r10 points."""
    CODE_AT = 89
    """Address of the first row of the running program (`prestocloud_sec.bpf.vm.decoded`)."""
    CODE_COUNT = 90
    """Its instructions."""
    PROGRAMS_AT = 91
    """Address of `PROGRAM_WORDS` words for each program of the machine: those two, and `FUNCTIONS_AT`."""
    PROGRAM_COUNT = 92
    NATIVE_AT = 93
    """Address of an address for each place of a helper (`native_place`): that of a native one, `OURS`, or 0."""
    TAILS_AT = 94
    """Address of an address for each possible map: 0, or for a program array that of how many of its places are written
    down, and of a number for each of these: that of its program, or -1."""
    INNER = 95
    """1 if a window may show a stack frame that ends before the run does."""
    STATUS = 96
    """Why the kernel returns: a `Status`."""
    BLAMED = 97
    """Index of the instruction that a lack of fuel is blamed on, and the number of its program."""
    BLAMED_PROGRAM = 98
    ELEMENTS_AT = 99
    """Address of the addresses of key and value of each element, once Python has said which a map has; otherwise 0."""
    ELEMENTS = 100
    """How many there are."""
    TAIL = 101
    """Once Python has looked into a place that is not written down: 1 more than the number of the program there, or 1
    less than 0 where there is none; otherwise 0."""
    FUNCTIONS_AT = 102
    """Address of a byte for each instruction of the running program: 1 where a function begins."""
    FRAMES = 104
    """`MAX_FRAMES` records of `FRAME_WORDS` words: how to go on when that frame's function returns."""


class Frame(IntEnum):
    """Words of a frame's record; the outermost frame's is not used."""

    KIND = 0
    """`LOCAL` for a local call; the helper's number, `LOOP` or `FOR_EACH`, for its callback; `NESTED` for a callback of
    a helper in Python."""
    RETURN_AT = 1
    """Address of the row to go on at."""
    PROGRAM = 2
    """Number of the program that row is in: the called function may have gone elsewhere by a tail call."""
    R6 = 3
    """The caller's r6 to r9."""
    CALLBACK_AT = 7
    """Address of the callback's first row."""
    CONTEXT = 8
    """What callbacks are given unchanged."""
    DONE = 9
    """Callbacks made so far."""
    TOTAL = 10
    """Callbacks to make."""
    MAP = 11
    """Handle of the map that is gone through."""
    ELEMENTS_AT = 12
    """Address of the addresses of key and value of its elements."""


TAIL_CALL, FOR_EACH, LOOP = int(HelperId.TAIL_CALL), int(HelperId.FOR_EACH_MAP_ELEM), int(HelperId.LOOP)
LOCAL, NESTED = 0, 1
"""Numbers of helpers that lead to other code, and of other kinds of frames."""
OURS = 1
"""Instead of an address: the helper leads to other code, and is the interpreter's own work."""
FRAME_WORDS = 16
PROGRAM_WORDS = 3
DESK_WORDS = Desk.FRAMES + MAX_FRAMES * FRAME_WORDS


class Status(IntEnum):
    """Why the kernel returned."""

    DONE = 0
    """`State.RESULT` or `State.FAULT` is there."""
    HELPER = 1
    """Python is to run helper `State.HELPER`; the program goes on at `State.RESUME`, which is behind the call."""
    FUEL = 2
    """The portion of fuel is used up, and there is a reserve; the program goes on at `State.RESUME`, the same place."""
    TAIL_CALL = 3
    """Python is to say which program a place holds (`Desk.TAIL`); then the call at `State.RESUME` is done again."""
    ITERATE = 4
    """Python is to say which elements a map has; then the call at `State.RESUME` is done again."""
    RETURNED = 5
    """A callback of a helper in Python has returned."""
