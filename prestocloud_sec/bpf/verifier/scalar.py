# SPDX-License-Identifier: Apache-2.0
"""What is known of a number in a register: four ranges and a tnum, which teach each other.

A `Scalar` stands for all 64-bit words that lie in each of four ranges (signed and unsigned, of the whole word and of
its low half) and agree with the known bits of a `Tnum`. The ranges say what comparisons need, the tnum what masks and
shifts need; neither follows from the other, but each narrows the other, and `sync` lets them do so.

The rules are those of Linux 6.18 (``kernel/bpf/verifier.c``, ``reg_bounds_sync`` and what it calls), so that a verdict
comes out as the kernel's does: what it does not deduce, this does not deduce either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestocloud_sec.bpf.verifier.tnum import U32, U64, UNKNOWN, Tnum

if TYPE_CHECKING:
    from typing import Self

__all__ = ["S32_MAX", "S32_MIN", "S64_MAX", "S64_MIN", "Scalar", "signed", "signed32"]

S64_MIN, S64_MAX = -(1 << 63), (1 << 63) - 1
S32_MIN, S32_MAX = -(1 << 31), (1 << 31) - 1
_HIGH = U64 ^ U32
_SIGN, _SIGN32 = 1 << 63, 1 << 31
_FULL = (U64, U32, S64_MIN, S64_MAX, S32_MIN, S32_MAX)


def signed(word: int) -> int:
    """Return a 64-bit word read as a signed number."""
    word &= U64
    return word - (1 << 64) if word >> 63 else word


def signed32(word: int) -> int:
    """Return the low 32 bits of a word read as a signed number."""
    word &= U32
    return word - (1 << 32) if word >> 31 else word


def only_word(tnum: Tnum, least: int, most: int) -> int | None:
    """Return the one word from `least` to `most` (unsigned) that a tnum stands for, None if there may be several.

    The kernel's rule (6.18.y, ``__update_reg64_bounds``), which is not asked where there is none.
    """
    following = tnum.after(least)
    if least in tnum:
        return least if following > most else None
    if following == tnum.most or (following <= most and tnum.after(following) > most):
        return following
    return None


class Scalar:
    """The words that a register may hold.

    Attributes
    ----------
    tnum : Tnum
        Its known bits.
    umin, umax : int
        Unsigned range of the whole word; both ends belong to it.
    smin, smax : int
        Signed range of the whole word.
    umin32, umax32, smin32, smax32 : int
        The same of the low 32 bits.

    Examples
    --------
    >>> Scalar.const(5)
    Scalar(5)
    >>> 7 in Scalar.bounded(3, 9), 12 in Scalar.bounded(3, 9)
    (True, False)
    """

    __slots__ = ("smax", "smax32", "smin", "smin32", "tnum", "umax", "umax32", "umin", "umin32")

    tnum: Tnum
    umin: int
    umax: int
    smin: int
    smax: int
    umin32: int
    umax32: int
    smin32: int
    smax32: int

    # --- Making one.

    @classmethod
    def unknown(cls) -> Self:
        """Return what stands for every word."""
        made = cls.__new__(cls)
        made.tnum = UNKNOWN
        made.unbound()
        made.unbound32()
        return made

    @classmethod
    def const(cls, value: int) -> Self:
        """Return what stands for one word, which is taken modulo 2**64."""
        made = cls.__new__(cls)
        word = value & U64
        made.tnum = Tnum(word, 0)
        made.umin = made.umax = word
        made.smin = made.smax = signed(word)
        made.umin32 = made.umax32 = word & U32
        made.smin32 = made.smax32 = signed32(word)
        return made

    @classmethod
    def bounded(cls, least: int, most: int) -> Self:
        """Return what stands for the unsigned words from `least` to `most`."""
        made = cls.unknown()
        made.umin, made.umax = least, most
        made.sync()
        return made

    def copy(self) -> Self:
        """Return another that says the same."""
        made = self.__class__.__new__(self.__class__)
        made.tnum = self.tnum
        made.umin, made.umax, made.smin, made.smax = self.umin, self.umax, self.smin, self.smax
        made.umin32, made.umax32, made.smin32, made.smax32 = self.umin32, self.umax32, self.smin32, self.smax32
        return made

    # --- Looking at it.

    @property
    def is_const(self) -> bool:
        """Whether it stands for one word."""
        return not self.tnum.mask

    @property
    def is_const32(self) -> bool:
        """Whether the low 32 bits are known."""
        return not self.tnum.mask & U32

    @property
    def is_unknown(self) -> bool:
        """Whether it stands for every word."""
        return self == _ANY

    @property
    def possible(self) -> bool:
        """Whether no range is empty; where two things known contradict each other, no word is left."""
        return (
            self.umin <= self.umax
            and self.smin <= self.smax
            and self.umin32 <= self.umax32
            and self.smin32 <= self.smax32
        )

    @property
    def settled(self) -> bool:
        """Whether all that is known says one word: nothing more can be learnt of it."""
        return (
            not self.tnum.mask
            and self.umin == self.umax
            and self.smin == self.smax
            and self.umin32 == self.umax32
            and self.smin32 == self.smax32
        )

    def __contains__(self, word: object) -> bool:
        """Whether it stands for a word (an int modulo 2**64)."""
        if not isinstance(word, int):
            return False
        return (
            word in self.tnum
            and self.umin <= word & U64 <= self.umax
            and self.smin <= signed(word) <= self.smax
            and self.umin32 <= word & U32 <= self.umax32
            and self.smin32 <= signed32(word) <= self.smax32
        )

    def covers(self, other: Scalar) -> bool:
        """Whether it stands for all that `other` stands for, as far as ranges and tnum tell each by itself."""
        return (
            self.umin <= other.umin
            and self.umax >= other.umax
            and self.smin <= other.smin
            and self.smax >= other.smax
            and self.umin32 <= other.umin32
            and self.umax32 >= other.umax32
            and self.smin32 <= other.smin32
            and self.smax32 >= other.smax32
            and self.tnum.covers(other.tnum)
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Scalar):
            return NotImplemented
        return self is other or (self.umin == other.umin and self._all() == other._all())

    def __hash__(self) -> int:
        return hash(self._all())

    def _all(self) -> tuple[object, ...]:
        return (
            self.tnum,
            self.umin,
            self.umax,
            self.smin,
            self.smax,
            self.umin32,
            self.umax32,
            self.smin32,
            self.smax32,
        )

    def __repr__(self) -> str:
        return f"Scalar({self})"

    def __str__(self) -> str:
        """Say what is known, and nothing that is not."""
        if self.is_const:
            return str(self.smin)
        said = [f"{name}={getattr(self, name):{form}}" for name, form, most in _SHOWN if getattr(self, name) != most]
        if not self.tnum.is_unknown:
            said.append(f"tnum={self.tnum}")
        return ", ".join(said)

    # --- What operations do to it (on a copy).

    def unbound(self) -> None:
        """Forget the ranges of the whole word."""
        self.umin, self.umax, self.smin, self.smax = 0, U64, S64_MIN, S64_MAX

    def unbound32(self) -> None:
        """Forget the ranges of the low half."""
        self.umin32, self.umax32, self.smin32, self.smax32 = 0, U32, S32_MIN, S32_MAX

    def take(self, other: Scalar) -> None:
        """Say what `other` says."""
        self.tnum = other.tnum
        self.umin, self.umax, self.smin, self.smax = other.umin, other.umax, other.smin, other.smax
        self.umin32, self.umax32, self.smin32, self.smax32 = other.umin32, other.umax32, other.smin32, other.smax32

    def sync(self) -> None:
        """Let ranges and tnum teach each other, in the kernel's order and no further.

        `sync_readably` says how; this does the same on local variables, and leaves out what cannot change anything.
        """
        value, mask = self.tnum
        umin, umax, smin, smax = self.umin, self.umax, self.smin, self.smax
        umin32, umax32, smin32, smax32 = self.umin32, self.umax32, self.smin32, self.smax32
        if mask == U64 and umin == umin32 == 0 and (umax, umax32, smin, smax, smin32, smax32) == _FULL:
            return
        for turn in (0, 1):
            # What the bits say of the ranges.
            if mask != U64:
                most = value | mask
                umin, umax = value if value > umin else umin, most if most < umax else umax
                sign = mask & _SIGN
                least, most = signed(value | sign), signed(most & ~sign)
                smin, smax = least if least > smin else smin, most if most < smax else smax
                low, free = value & U32, mask & U32
                most = low | free
                umin32, umax32 = low if low > umin32 else umin32, most if most < umax32 else umax32
                sign = free & _SIGN32
                least, most = signed32(low | sign), signed32(most & ~sign)
                smin32, smax32 = least if least > smin32 else smin32, most if most < smax32 else smax32
                word = only_word(Tnum(value, mask), umin, umax) if mask and umin != umax else None
                if word is not None:
                    self.take(Scalar.const(word))
                    return
            if turn:
                break
            for _ in range(3):
                before = (umin, umax, smin, smax, umin32, umax32, smin32, smax32, value, mask)
                # What the whole word says of its low half.
                if umin >> 32 == umax >> 32:
                    least, most = umin & U32, umax & U32
                    if least <= most:
                        umin32, umax32 = least if least > umin32 else umin32, most if most < umax32 else umax32
                    least, most = (least ^ _SIGN32) - _SIGN32, (most ^ _SIGN32) - _SIGN32
                    if least <= most:
                        smin32, smax32 = least if least > smin32 else smin32, most if most < smax32 else smax32
                elif (umin >> 32) + 1 == umax >> 32:
                    least, most = signed32(umin), signed32(umax)
                    if least < 0 <= most:
                        smin32, smax32 = least if least > smin32 else smin32, most if most < smax32 else smax32
                if smin >> 32 == smax >> 32:
                    least, most = smin & U32, smax & U32
                    if least <= most:
                        umin32, umax32 = least if least > umin32 else umin32, most if most < umax32 else umax32
                    least, most = (least ^ _SIGN32) - _SIGN32, (most ^ _SIGN32) - _SIGN32
                    if least <= most:
                        smin32, smax32 = least if least > smin32 else smin32, most if most < smax32 else smax32
                elif (smin >> 32) + 1 & U32 == smax >> 32 & U32:
                    least, most = signed32(smin), signed32(smax)
                    if least < 0 <= most:
                        smin32, smax32 = least if least > smin32 else smin32, most if most < smax32 else smax32
                least, most = (umin32 ^ _SIGN32) - _SIGN32, (umax32 ^ _SIGN32) - _SIGN32
                if least <= most:
                    smin32, smax32 = least if least > smin32 else smin32, most if most < smax32 else smax32
                least, most = smin32 & U32, smax32 & U32
                if least <= most:
                    umin32, umax32 = least if least > umin32 else umin32, most if most < umax32 else umax32
                # What signed and unsigned ranges say of each other.
                least, most = (umin ^ _SIGN) - _SIGN, (umax ^ _SIGN) - _SIGN
                if least <= most:
                    smin, smax = least if least > smin else smin, most if most < smax else smax
                least, most = smin & U64, smax & U64
                if least <= most:
                    umin, umax = least if least > umin else umin, most if most < umax else umax
                elif umax < least:
                    smin = signed(umin)
                    umax = most if most < umax else umax
                elif most < umin:
                    smax = signed(umax)
                    umin = least if least > umin else umin
                # What the low half says of the whole word.
                least, most = umin & _HIGH | umin32, umax & _HIGH | umax32
                umin, umax = least if least > umin else umin, most if most < umax else umax
                least, most = smin & ~U32 | umin32, smax & ~U32 | umax32
                smin, smax = least if least > smin else smin, most if most < smax else smax
                if smin32 >= 0 and smin >= S32_MIN and smax <= S32_MAX:
                    smin = umin = smin32
                    smax = umax = smax32
                    value, mask = Tnum(value, mask).intersect(Tnum.range(smin, smax))
                if before == (umin, umax, smin, smax, umin32, umax32, smin32, smax32, value, mask):
                    break
            # What the ranges say of the bits.
            low = (1 << (umin ^ umax).bit_length()) - 1
            mask &= low
            value = (value | umin & ~low) & ~mask
            low = (1 << (umin32 ^ umax32).bit_length()) - 1
            free = mask & (low | _HIGH)
            value, mask = (value | umin32 & ~low) & ~free, free
        self.tnum = Tnum(value, mask)
        self.umin, self.umax, self.smin, self.smax = umin, umax, smin, smax
        self.umin32, self.umax32, self.smin32, self.smax32 = umin32, umax32, smin32, smax32

    def sync_readably(self) -> None:
        """Let ranges and tnum teach each other: what `sync` does, step by step.

        Sound: every step takes an end of a range to a bound that something else known implies, and never beyond it.
        """
        self.learn_from_bits()
        self._deduce()
        self._deduce()
        self._deduce()
        self._learn_bits()
        self.learn_from_bits()

    def learn_from_bits(self) -> None:
        """Narrow the ranges to what the known bits allow: unknown bits all 0 at least, all 1 at most.

        A signed word is least with its sign bit set, if it can be.
        """
        value, mask = self.tnum
        most = value | mask
        if value > self.umin:
            self.umin = value
        if most < self.umax:
            self.umax = most
        self.smin = max(self.smin, signed(value | mask & 1 << 63))
        self.smax = min(self.smax, signed(most & ~(mask & 1 << 63)))
        value, mask = value & U32, mask & U32
        most = value | mask
        if value > self.umin32:
            self.umin32 = value
        if most < self.umax32:
            self.umax32 = most
        self.smin32 = max(self.smin32, signed32(value | mask & 1 << 31))
        self.smax32 = min(self.smax32, signed32(most & ~(mask & 1 << 31)))
        word = only_word(self.tnum, self.umin, self.umax)
        if word is not None:
            self.take(Scalar.const(word))

    def _deduce(self) -> None:
        self._deduce_low()
        self._deduce_signs()
        self._deduce_whole()

    def _deduce_low(self) -> None:
        """Narrow the ranges of the low half by those of the whole word, and each by the other."""
        if self.umin >> 32 == self.umax >> 32:  # the low half counts on from umin to umax without a wrap
            self._narrow_unsigned32(self.umin & U32, self.umax & U32)
            self._narrow_signed32(signed32(self.umin), signed32(self.umax))
        if self.smin >> 32 == self.smax >> 32:
            self._narrow_unsigned32(self.smin & U32, self.smax & U32)
            self._narrow_signed32(signed32(self.smin), signed32(self.smax))
        # The upper halves are neighbours, and the low half goes from a negative number through 0 to a positive one.
        if (self.umin >> 32) + 1 & U32 == self.umax >> 32 and signed32(self.umin) < 0 <= signed32(self.umax):
            self._narrow_signed32(signed32(self.umin), signed32(self.umax))
        if (self.smin >> 32) + 1 & U32 == self.smax >> 32 & U32 and signed32(self.smin) < 0 <= signed32(self.smax):
            self._narrow_signed32(signed32(self.smin), signed32(self.smax))
        self._narrow_signed32(signed32(self.umin32), signed32(self.umax32))
        self._narrow_unsigned32(self.smin32 & U32, self.smax32 & U32)

    def _narrow_unsigned32(self, least: int, most: int) -> None:
        if least <= most:
            self.umin32, self.umax32 = max(self.umin32, least), min(self.umax32, most)

    def _narrow_signed32(self, least: int, most: int) -> None:
        if least <= most:
            self.smin32, self.smax32 = max(self.smin32, least), min(self.smax32, most)

    def _deduce_signs(self) -> None:
        """Narrow the signed and the unsigned range of the whole word by each other.

        Where neither crosses the point at which the other wraps, they are the same range. Where the unsigned one
        crosses into negative numbers and the signed one into positive ones, they overlap at one end or both; if at one
        only, that is where the word is.
        """
        if signed(self.umin) <= signed(self.umax):
            self.smin, self.smax = max(self.smin, signed(self.umin)), min(self.smax, signed(self.umax))
        if self.smin & U64 <= self.smax & U64:
            self.umin, self.umax = max(self.umin, self.smin & U64), min(self.umax, self.smax & U64)
        elif self.umax < self.smin & U64:
            self.smin = signed(self.umin)
            self.umax = min(self.umax, self.smax & U64)
        elif self.smax & U64 < self.umin:
            self.smax = signed(self.umax)
            self.umin = max(self.umin, self.smin & U64)

    def _deduce_whole(self) -> None:
        """Narrow the whole word's ranges by those of the low half.

        An end of a range lowers no further than its upper half with the low half's own least, and likewise above. A
        word that fits 32 signed bits, and whose low half is not negative, is its low half.
        """
        self.umin = max(self.umin, self.umin & _HIGH | self.umin32)
        self.umax = min(self.umax, self.umax & _HIGH | self.umax32)
        self.smin = max(self.smin, (self.smin & ~U32) | self.umin32)
        self.smax = min(self.smax, (self.smax & ~U32) | self.umax32)
        if self.smin32 >= 0 and self.smin >= S32_MIN and self.smax <= S32_MAX:
            self.smin = self.umin = self.smin32
            self.smax = self.umax = self.smax32
            self.tnum = self.tnum.intersect(Tnum.range(self.smin, self.smax))

    def _learn_bits(self) -> None:
        """Learn bits from the unsigned ranges: those above the first in which the ends differ."""
        whole = self.tnum.intersect(Tnum.range(self.umin, self.umax))
        low = whole.low.intersect(Tnum.range(self.umin32, self.umax32))
        self.tnum = whole.with_low(low)

    # --- Widths.

    def keep_low(self) -> None:
        """Make the upper half zero: what every 32-bit operation does to its result."""
        self.tnum = self.tnum.low
        self.umin, self.umax = self.umin32, self.umax32
        if self.smin32 >= 0 and self.smax32 >= 0:
            self.smin, self.smax = self.smin32, self.smax32
        else:
            self.smin, self.smax = self.umin32, self.umax32
        self.sync()

    def truncate(self, size: int) -> None:
        """Keep the low `size` bytes (1, 2, 4 or 8), zeros above: what a narrow load of a known word gives."""
        if size == 8:
            return
        limit = (1 << 8 * size) - 1
        self.tnum = self.tnum.cast(size)
        if self.umin & ~limit == self.umax & ~limit:
            self.umin, self.umax = self.umin & limit, self.umax & limit
        else:
            self.umin, self.umax = 0, limit
        self.smin, self.smax = self.umin, self.umax
        if size < 4:
            self.unbound32()
        self.sync()


_SHOWN = (
    ("smin", "d", S64_MIN),
    ("smax", "d", S64_MAX),
    ("umin", "d", 0),
    ("umax", "#x", U64),
    ("smin32", "d", S32_MIN),
    ("smax32", "d", S32_MAX),
    ("umin32", "d", 0),
    ("umax32", "#x", U32),
)
_ANY = Scalar.unknown()
