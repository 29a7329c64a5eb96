# SPDX-License-Identifier: Apache-2.0
"""Number compression: interface numbers to directors and back, for the switches of one scheme.

A scheme says how wide a director is; this says which director a given interface number gets. Three rules exist
(cjdns v21.1, ``switch/NumberCompress.h``), all of which make interface 1, the router, the director ``0..01``, so that a
label that consists of nothing but its closing 1 reaches the router:

- fixed width: the number itself;
- v3x5x8: in the 3-bit form 0 and 1 change places; the wider forms never hold 1, so higher numbers move down by one;
- every other variable width: the lowest bit is flipped.

Tables are built once for each scheme and indexed by the lowest bits of a label.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING

from prestocloud_sec.cjdns.errors import CjdnsMisuseError, LabelError
from prestocloud_sec.cjdns.switch.form import EncodingForm
from prestocloud_sec.cjdns.switch.label import bit_reverse_64
from prestocloud_sec.wire import shown, whole

if TYPE_CHECKING:
    from prestocloud_sec.cjdns.switch.scheme import EncodingScheme

__all__ = ["ROUTER", "TABLE_BITS", "NumberCompress"]

ROUTER = 1
"""The interface number of the switch's own router."""

TABLE_BITS = 10
"""Lowest bits of a label that a table is indexed by: the widest director of v3x5x8, and of any `Switch`."""


class NumberCompress:
    """The directors of a scheme's interface numbers.

    Parameters
    ----------
    scheme : EncodingScheme
        Any sane scheme. cjdns itself is built with v3x5x8, v4x8, f8 or f4.

    Examples
    --------
    >>> from prestocloud_sec.cjdns.switch import V3X5X8
    >>> numbers = V3X5X8.numbers
    >>> [hex(numbers.compress(2, width)) for width in (4, 7, 10)]
    ['0x5', '0x6', '0x4']
    >>> numbers.decompress(0x15), numbers.width_for(256)
    (2, 10)
    """

    def __init__(self, scheme: EncodingScheme) -> None:
        if not isinstance(getattr(scheme, "forms", None), tuple):  # EncodingScheme itself imports this module
            raise CjdnsMisuseError(f"a {type(scheme).__name__}", where="NumberCompress", expected="an EncodingScheme")
        self._scheme = scheme
        self._forms: dict[int, list[EncodingForm]] = {}
        for form in scheme.forms:
            self._forms.setdefault(form.width, []).append(form)
        self._self_in_all_widths = scheme.is_variable and scheme.is_self_route(1)
        last = scheme.forms[-1]
        self.count: int = (1 << last.bit_count) + scheme.is_358
        """How many interface numbers there are, 0 included."""
        self.widths: tuple[int, ...] = tuple(form.width for form in scheme.forms)
        """The widths of directors in bits, in the order of the forms."""

    def director_of(self, number: int, form: EncodingForm) -> int | None:
        """Return the director of a number without its prefix, or None where the form cannot hold the number.

        Raises
        ------
        CjdnsMisuseError
            If `number` is not an integer.
        """
        if type(number) is not int:
            number = whole(number, "interface", None, error=CjdnsMisuseError)
        _check_form(form)
        if self._scheme.is_358:
            if form.bit_count == self._scheme.forms[0].bit_count:
                director = number ^ 1 if number < 2 else number
            elif number == ROUTER:
                return None
            else:
                director = number - (number > ROUTER)
        else:
            director = number ^ 1 if self._scheme.is_variable else number
        return director if 0 <= director < 1 << form.bit_count else None

    def number_of(self, director: int, form: EncodingForm) -> int:
        """Return the interface number of a director that stands in `form` (the inverse of `director_of`)."""
        if type(director) is not int:
            director = whole(director, "director", error=CjdnsMisuseError)
        _check_form(form)
        if not self._scheme.is_358:
            return director ^ 1 if self._scheme.is_variable else director
        if form.bit_count == self._scheme.forms[0].bit_count:
            return director ^ 1 if director < 2 else director
        return director + (director > 0)

    def width_for(self, number: int) -> int:
        """How many bits the smallest director of an interface takes.

        Raises
        ------
        LabelError
            If the scheme has no director for it.
        """
        for form in self._scheme.forms:
            if self.director_of(number, form) is not None:
                return form.width
        raise LabelError(
            f"no director for interface {shown(number)}", where=repr(self._scheme), expected=f"0..{self.count - 1}"
        )

    def compress(self, number: int, width: int) -> int:
        """Return the director of an interface in `width` bits, its prefix included.

        The router's director is 1 in every width: a narrower director in a wider place, which the router at the end
        of the way back reads as its own.

        Raises
        ------
        LabelError
            If no form has this width, or the number does not fit in it.
        """
        if type(number) is not int or type(width) is not int:
            number = whole(number, "interface", None, error=CjdnsMisuseError)
            width = whole(width, "width", None, error=CjdnsMisuseError)
        if width not in self._forms:
            raise LabelError(
                f"no form of {shown(width)} bits", where=repr(self._scheme), expected=f"one of {self.widths}"
            )
        if number == ROUTER and self._self_in_all_widths:
            return 1
        for form in self._forms[width]:
            director = self.director_of(number, form)
            if director is not None:
                return form.encode(director)
        raise LabelError(f"interface {shown(number)} does not fit in {width} bits", where=repr(self._scheme))

    def decompress(self, label: int) -> int:
        """Return the interface number that the first director of a label names.

        Raises
        ------
        LabelError
            If the label begins with no form of the scheme.
        """
        form = self._scheme.forms[self._scheme.form_of(label)]
        return self.number_of(form.decode(label), form)

    @cached_property
    def table(self) -> tuple[tuple[int, int], ...]:
        """(width in bits, interface number) for every value of a label's lowest 10 bits.

        Where these begin with no form, the interface number is `count`, which no interface has.

        Raises
        ------
        CjdnsMisuseError
            If the scheme has directors of more than 10 bits: no switch is built with such a one.
        """
        self._check_widths()
        return tuple(self._entry(low) for low in range(1 << TABLE_BITS))

    def _check_widths(self) -> None:
        if max(self.widths) > TABLE_BITS or self.count > 1 << TABLE_BITS:
            raise CjdnsMisuseError(
                f"directors of {max(self.widths)} bits", where=repr(self._scheme), expected=f"at most {TABLE_BITS}"
            )

    def _entry(self, low: int) -> tuple[int, int]:
        for form in self._scheme.forms:
            if form.matches(low):
                return form.width, self.number_of(form.decode(low), form)
        return self.widths[0], self.count

    @cached_property
    def returns(self) -> tuple[dict[int, int], ...]:
        """For every interface number, by width: its director bit-reversed into the top of 64 bits.

        A width in which the number cannot be written is missing. This is what a switch puts into a label where it has
        shifted that many bits out.

        Raises
        ------
        CjdnsMisuseError
            As `table`: a scheme with wider directors can have 2**31 numbers.
        """
        self._check_widths()
        return tuple(self._returns_of(number) for number in range(self.count))

    def _returns_of(self, number: int) -> dict[int, int]:
        codes = {}
        for width in self._forms:
            with suppress(LabelError):
                codes[width] = bit_reverse_64(self.compress(number, width))
        return codes


def _check_form(form: object) -> None:
    if not isinstance(form, EncodingForm):
        raise CjdnsMisuseError(f"a {type(form).__name__}", where="form", expected="an EncodingForm")
