# SPDX-License-Identifier: Apache-2.0
"""What a label begins with, in two forms: a table for one's own switch, a memory for the switches of others.

One's own scheme is one that a switch is built with, so its directors have at most 10 bits, and `DirectorTable` knows
what each of the 1024 ways to begin a label means. What others say of theirs can be any sane scheme, with directors of
up to 59 bits; of such a one `CanonicalDirectors` remembers the directors it was asked for.
"""

from __future__ import annotations

from functools import lru_cache

from prestocloud_sec.cjdns.errors import LabelError
from prestocloud_sec.cjdns.switch.scheme import EncodingScheme

__all__ = ["CanonicalDirectors", "DirectorTable", "canonical_directors_of", "director_table_of"]

_REMEMBERED = 2048  # directors of a scheme that are kept recoded: all of v3x5x8, and a bound for wider ones


class DirectorTable:
    """The first directors of labels in the scheme of a switch, looked up instead of parsed.

    Parameters
    ----------
    scheme : EncodingScheme
        One that a switch can be built with (directors of at most 10 bits).
    """

    __slots__ = ("_table", "_wider", "widths")

    def __init__(self, scheme: EncodingScheme) -> None:
        self._table = scheme.numbers.table
        self.widths = scheme.numbers.widths
        """Widths of directors in bits, in the order of the scheme's forms."""
        self._wider = {
            (number, width): scheme.numbers.compress(number, width)
            for number in range(scheme.numbers.count)
            for width in self.widths
            if width >= scheme.numbers.width_for(number)
        }

    def interface(self, label: int) -> int:
        """Return the number of the interface that a label begins with."""
        return self._table[label & 1023][1]

    def form(self, label: int) -> int:
        """Return the index of the form that a label begins with."""
        return self.widths.index(self._table[label & 1023][0])

    def first_hop(self, label: int) -> int:
        """Return the one-hop route out of the interface that a label begins with, in the form it begins with."""
        width = self._table[label & 1023][0]
        return label & ((1 << width) - 1) | 1 << width

    def widen(self, label: int, back: int) -> int:
        """Return `label` with a first director at least as wide as that of `back`, or 0 where it would not fit.

        The same as `label_for(label, back)`, which see, without its checks and objects.
        """
        width, number = self._table[label & 1023]
        needed = self._table[back & 1023][0]
        if width >= needed:
            return label
        widened = (label >> width) << needed | self._wider[number, needed]
        return 0 if widened >> 64 else widened


@lru_cache(maxsize=16)
def director_table_of(scheme: EncodingScheme) -> DirectorTable:
    """Return the table of a scheme, made once.

    Raises
    ------
    CjdnsMisuseError
        If no switch can be built with the scheme.
    """
    return DirectorTable(scheme)


class CanonicalDirectors:
    """The first directors of labels in one scheme, recoded: what `EncodingScheme` says of them, remembered."""

    __slots__ = ("_known", "_mask", "_scheme")

    def __init__(self, scheme: EncodingScheme) -> None:
        self._scheme = scheme
        self._mask = (1 << max(form.width for form in scheme.forms)) - 1
        self._known: dict[int, tuple[int, int, int, int] | None] = {}

    def canonical(self, label: int) -> int:
        """Return a label with its first director in the smallest form, or 0 if it is no route out of such a switch."""
        first = self._first(label)
        if first is None:
            return 0
        width, director, small, _ = first
        rest = label >> width
        return rest << small | director if rest else 0

    def form_and_width(self, label: int) -> tuple[int, int]:
        """Return the form that the first director of a canonical label is in, and its width."""
        first = self._first(label)
        return (first[3], first[2]) if first is not None else (0, 0)

    def _first(self, label: int) -> tuple[int, int, int, int] | None:
        """Return the first director's width, and what it is in the smallest form: the director, its width, the form."""
        low = label & self._mask
        try:
            return self._known[low]
        except KeyError:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            found = self._known[low] = self._recode(low)
            return found

    def _recode(self, low: int) -> tuple[int, int, int, int] | None:
        try:
            if self._scheme.is_self_route(low):
                return None
            width = self._scheme.width_of(low)
            small = self._scheme.convert_label(low & ((1 << width) - 1) | 1 << width)
            return width, small ^ 1 << small.log2, small.log2, self._scheme.form_of(small)
        except LabelError:
            return None


@lru_cache(maxsize=64)
def canonical_directors_of(scheme: EncodingScheme) -> CanonicalDirectors:
    """Return the directors of a scheme; the nodes of a network share few schemes."""
    return CanonicalDirectors(scheme)
