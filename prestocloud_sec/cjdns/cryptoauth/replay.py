# SPDX-License-Identifier: Apache-2.0
"""The replay window of cjdns: which packet numbers were seen (cjdns v21.1 ``crypto/ReplayProtector.h``).

Two numbers are the whole state: ``base``, and ``bits``, in which bit *i* says that number ``base + i`` was seen. A
number below the base is refused, because nobody remembers. A number more than 63 above it moves the base:

- by 32 while the lower half of the window is full: nothing is lost by that;
- otherwise so far that the number comes to lie at bit 47. Numbers that leave unseen are counted as lost, and are
  refused should they come after all.

So the window is 64 numbers wide but moves by this policy, not with the highest number seen; RFC 6479 windows accept
other packets. The check belongs *after* a packet has authenticated, or a forger could burn numbers.

This module knows nothing of packets or keys and can be used alone.
"""

from __future__ import annotations

from prestocloud_sec.cjdns.errors import CjdnsMisuseError
from prestocloud_sec.wire import whole

__all__ = ["ReplayWindow"]

WIDTH = 64
"""Numbers the window can tell apart."""

LANDING = 47
"""The bit at which a number beyond the window comes to lie; leaves 47 places for packets that were overtaken."""

_HALF = 0xFFFFFFFF
_U32 = 0xFFFFFFFF


class ReplayWindow:
    """Remembers which numbers of 32 bits were accepted.

    Parameters
    ----------
    base : int
        The lowest number to accept, 0 to 2**32 - 1.

    Raises
    ------
    CjdnsMisuseError
        If it is no such number.

    Attributes
    ----------
    base : int
        The lowest number that can still be accepted.
    bits : int
        Bit *i* is set if ``base + i`` was accepted (64 bits).
    duplicates : int
        Refused because seen before.
    lost : int
        Left the window unseen (modulo 2**32, as in C).
    out_of_range : int
        Refused because below the window.

    Examples
    --------
    >>> window = ReplayWindow()
    >>> [window.accept(number) for number in (5, 4, 5, 100, 36, 37)]
    [True, True, False, True, False, False]
    >>> window
    ReplayWindow(base=53, bits=0x800000000000, duplicates=1, lost=51, out_of_range=2)
    """

    __slots__ = ("base", "bits", "duplicates", "lost", "out_of_range")

    def __init__(self, base: int = 0) -> None:
        if type(base) is not int or not 0 <= base <= _U32:
            base = whole(base, "ReplayWindow.base", 0, _U32, error=CjdnsMisuseError)
        self.base = base
        self.bits = self.duplicates = self.lost = self.out_of_range = 0

    def accept(self, number: int) -> bool:
        """Return whether `number` (0 to 2**32 - 1) is new, and remember it if so; CjdnsMisuseError if it is another."""
        if type(number) is not int or number > _U32:
            number = whole(number, "number", None, _U32, error=CjdnsMisuseError)
        offset = number - self.base
        if offset >= WIDTH:
            offset = self._advance(offset)
        elif offset < 0:
            self.out_of_range += 1
            return False
        bit = 1 << offset
        if self.bits & bit:
            self.duplicates += 1
            return False
        self.bits |= bit
        return True

    def restart(self, base: int) -> None:
        """Accept from `base` (modulo 2**32) on, and forget which were seen; the counts stay."""
        if type(base) is not int:
            base = whole(base, "base", None, error=CjdnsMisuseError)
        self.base = base & _U32
        self.bits = 0

    def _advance(self, offset: int) -> int:
        """Move the window until `offset` lies in it; return what the offset is then."""
        while offset >= WIDTH:
            if self.bits & _HALF == _HALF:
                shift = 32
            else:
                shift = offset - LANDING
                self.lost = (self.lost + shift - self._seen_in(shift)) & _U32
            self.bits >>= shift
            self.base += shift
            offset -= shift
        return offset

    def _seen_in(self, shift: int) -> int:
        """How many of the numbers that a shift drops were seen.

        C keeps the shift in a signed 32-bit integer. From 2**31 on it is negative there, and only the low
        ``shift % 64`` bits are looked at; no counter of a session gets that far ahead, but recorded counts include it.
        """
        if shift >> 31:
            return (self.bits & (1 << (shift % WIDTH or WIDTH)) - 1).bit_count()
        return (self.bits & (1 << min(shift, WIDTH)) - 1).bit_count()

    def __repr__(self) -> str:
        return (
            f"ReplayWindow(base={self.base}, bits={self.bits:#x}, duplicates={self.duplicates}, lost={self.lost}, "
            f"out_of_range={self.out_of_range})"
        )
