# SPDX-License-Identifier: Apache-2.0
"""Numbers of which some bits are known: the tristate numbers ("tnums") of Linux's verifier.

A `Tnum` has two words. A bit that is set in `mask` is unknown; any other bit is what it is in `value`, where unknown
bits are 0. It stands for every 64-bit word that agrees with it in the known bits. Each operation below gives a tnum
that stands for at least all results that the operation can have on words its operands stand for: it is *sound*; why,
stands beside each.

The names and the results are those of Linux 6.18 (``kernel/bpf/tnum.c``; its multiplication is that of 6.18, which is
tighter than before). The arithmetic is described by Vishwanathan, Shachnai, Narayana and Nagarakatte, "Sound, Precise,
and Fast Abstract Interpretation with Tristate Numbers" (CGO 2022).
"""

from __future__ import annotations

from typing import NamedTuple

from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.wire import shown

__all__ = ["UNKNOWN", "ZERO", "Tnum"]

U64 = (1 << 64) - 1
U32 = (1 << 32) - 1


class Tnum(NamedTuple):
    """A 64-bit word of which some bits are known.

    Attributes
    ----------
    value : int
        The known bits that are 1; unsigned, 64 bits.
    mask : int
        The unknown bits; no bit of `value`.

    Examples
    --------
    >>> Tnum.range(8, 11)
    Tnum(0x8, 0x3)
    >>> Tnum.range(8, 11) + Tnum.const(4)
    Tnum(0xc, 0x3)
    >>> 9 in Tnum.range(8, 11), 12 in Tnum.range(8, 11)
    (True, False)
    """

    value: int
    mask: int

    @classmethod
    def of(cls, value: int, mask: int) -> Tnum:
        """Make a tnum from words that come from outside.

        Raises
        ------
        BpfMisuseError
            If either is no unsigned word of 64 bits, or they have a bit in common.
        """
        for name, word in (("value", value), ("mask", mask)):
            if type(word) is not int or not 0 <= word <= U64:
                raise BpfMisuseError(f"{shown(word)} is no word", where=f"Tnum.{name}", expected="0..2**64 - 1")
        if value & mask:
            raise BpfMisuseError("a bit is both known and unknown", where="Tnum", expected="value & mask == 0")
        return cls(value, mask)

    @classmethod
    def const(cls, value: int) -> Tnum:
        """Return what stands for one word alone; `value` is taken modulo 2**64."""
        return cls(value & U64, 0)

    @classmethod
    def range(cls, least: int, most: int) -> Tnum:
        """Return what stands for all words from `least` to `most`, both unsigned.

        Sound: above the highest bit in which the two differ they are equal, and so is every word between them; all
        bits from there on are unknown.
        """
        size = (least ^ most).bit_length()
        if size > 63:
            return UNKNOWN
        low = (1 << size) - 1
        return cls(least & ~low, low)

    @property
    def is_const(self) -> bool:
        """Whether it stands for one word."""
        return not self.mask

    @property
    def is_unknown(self) -> bool:
        """Whether it stands for every word."""
        return self.mask == U64

    @property
    def most(self) -> int:
        """The greatest word it stands for: every unknown bit 1. The least is `value`."""
        return self.value | self.mask

    def __contains__(self, word: object) -> bool:
        """Whether it stands for a word (an int modulo 2**64)."""
        return isinstance(word, int) and (word & U64 & ~self.mask) == self.value

    def covers(self, other: Tnum) -> bool:
        """Whether it stands for all that `other` stands for: what is known here is known there, and equal."""
        return not other.mask & ~self.mask and self.value == other.value & ~self.mask

    # --- Arithmetic.

    def __add__(self, other: Tnum) -> Tnum:  # type: ignore[override]
        """Add.

        Sound: the least sum has carries where every sum has them, the greatest wherever any has. A bit whose carry is
        the same in both, and whose operands are known, is therefore the same in all.
        """
        low = self.value + other.value & U64
        high = low + self.mask + other.mask & U64
        unknown = high ^ low | self.mask | other.mask
        return Tnum(low & ~unknown, unknown)

    def __sub__(self, other: Tnum) -> Tnum:
        """Subtract; sound as addition is, with borrows: fewest with `self` greatest and `other` least."""
        middle = self.value - other.value & U64
        unknown = (middle + self.mask ^ middle - other.mask) & U64 | self.mask | other.mask
        return Tnum(middle & ~unknown, unknown)

    def __and__(self, other: Tnum) -> Tnum:
        """Conjunction: a bit is known where both are, or where either is known to be 0."""
        ones = self.value & other.value
        return Tnum(ones, self.most & other.most & ~ones)

    def __or__(self, other: Tnum) -> Tnum:
        """Disjunction: a bit is known where both are, or where either is known to be 1."""
        ones = self.value | other.value
        return Tnum(ones, (self.mask | other.mask) & ~ones)

    def __xor__(self, other: Tnum) -> Tnum:
        """Exclusive disjunction: a bit is known where both are."""
        unknown = self.mask | other.mask
        return Tnum((self.value ^ other.value) & ~unknown, unknown)

    def __mul__(self, other: Tnum) -> Tnum:  # type: ignore[override]
        """Multiply, as by hand: shift and add.

        Sound: for each bit of `self` from the lowest, `other`, shifted, is added (as `+` does) if the bit is 1; where
        it is unknown, what follows stands for the sum with and without (as `union` does).
        """
        value, mask, other_value, other_mask = self.value, self.mask, other.value, other.mask
        known = unknown = place = 0
        while value | mask and unknown >> place != U64 >> place:  # once all above is unknown, it stays so
            if (value | mask) & 1:
                low = known + other_value & U64
                varies = (low + unknown + other_mask & U64) ^ low | unknown | other_mask
                low &= ~varies
                if mask & 1:  # with and without it
                    varies |= unknown | known ^ low
                    low &= known & ~varies
                known, unknown = low, varies
            value, mask, place = value >> 1, mask >> 1, place + 1
            other_value, other_mask = other_value << 1 & U64, other_mask << 1 & U64
        return Tnum(known, unknown)

    def lsh(self, shift: int) -> Tnum:
        """Shift left; known and unknown bits move alike."""
        return Tnum(self.value << shift & U64, self.mask << shift & U64)

    def rsh(self, shift: int) -> Tnum:
        """Shift right, zeros from the left; known and unknown bits move alike."""
        return Tnum(self.value >> shift, self.mask >> shift)

    def arsh(self, shift: int, bits: int = 64) -> Tnum:
        """Shift right within the low 32 or all 64 bits, the sign from the left; an unknown sign stays unknown."""
        limit = (1 << bits) - 1
        return Tnum(_arsh(self.value, shift, bits) & limit, _arsh(self.mask, shift, bits) & limit)

    def __neg__(self) -> Tnum:
        """Change the sign."""
        return ZERO - self

    def after(self, word: int) -> int:
        """Return the least word that it stands for and that is greater than `word`; the greatest, if none is.

        Words it stands for differ in their unknown bits alone, so counting on means adding 1 there: known bits, and
        those below the highest known bit in which `word` is ahead, are filled with ones, for the carry to pass.
        """
        if word >= self.most:
            return self.most
        if word < self.value:
            return self.value
        ahead = word - self.value
        filled = ahead | (1 << (ahead & ~self.mask).bit_length()) - 1 | U64 ^ self.mask
        return self.value | filled + 1 & self.mask

    # --- Sets.

    def intersect(self, other: Tnum) -> Tnum:
        """Return what stands for all words that both stand for: what either knows.

        If they know different things of a bit there is no such word, and the result says nothing.
        """
        unknown = self.mask & other.mask
        return Tnum((self.value | other.value) & ~unknown, unknown)

    def union(self, other: Tnum) -> Tnum:
        """Return what stands for all words that either stands for: what both know and agree on."""
        unknown = self.mask | other.mask | self.value ^ other.value
        return Tnum(self.value & other.value & ~unknown, unknown)

    # --- Parts.

    def cast(self, size: int) -> Tnum:
        """Return the low `size` bytes (1, 2, 4 or 8), zeros above."""
        low = (1 << 8 * size) - 1
        return Tnum(self.value & low, self.mask & low)

    @property
    def low(self) -> Tnum:
        """The low 32 bits, zeros above."""
        return Tnum(self.value & U32, self.mask & U32)

    def with_low(self, low: Tnum) -> Tnum:
        """Return the same with other low 32 bits."""
        return Tnum(self.value & ~U32 | low.value & U32, self.mask & ~U32 | low.mask & U32)

    def sign_extend(self, size: int) -> Tnum:
        """Return the low `size` bytes with their sign in all bits above; an unknown sign is unknown there too."""
        bits = 8 * size
        return Tnum(_extend(self.value, bits), _extend(self.mask, bits))

    def swapped(self, size: int) -> Tnum:
        """Return the low `size` bytes in the reverse order, zeros above."""
        low = self.cast(size)
        value, mask = (int.from_bytes(bits.to_bytes(size, "little"), "big") for bits in (low.value, low.mask))
        return Tnum(value, mask)

    def aligned(self, size: int) -> bool:
        """Whether every word is a multiple of `size`, a power of two."""
        return not self.most & size - 1

    def __repr__(self) -> str:
        return f"Tnum({self.value:#x}, {self.mask:#x})"

    def __str__(self) -> str:
        """Write it as the kernel's log does."""
        return f"({self.value:#x}; {self.mask:#x})"


def _extend(word: int, bits: int) -> int:
    low = word & (1 << bits) - 1
    return (low - (1 << bits)) & U64 if low >> bits - 1 else low


def _arsh(word: int, shift: int, bits: int) -> int:
    low = word & (1 << bits) - 1
    return (low - (1 << bits) if low >> bits - 1 else low) >> shift


ZERO = Tnum(0, 0)
UNKNOWN = Tnum(0, U64)
"""What stands for every word."""
