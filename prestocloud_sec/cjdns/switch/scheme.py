# SPDX-License-Identifier: Apache-2.0
"""Encoding schemes: how a switch writes the number of an interface into a route label.

A scheme is a list of forms. A fixed-width scheme has one; a variable-width scheme has several, told apart by a prefix
in the lowest bits of the director, so that small numbers get short directors and a label needs no marks between them
(PrEstoCloud deliverable, 3.2, "Encoding Scheme", "Encoding Form", "Director Prefix"; cjdns Whitepaper, "Encoding
schemes"). Every switch chooses its own and announces it, serialised, to those who route through it.

The rules are those of cjdns v21.1, ``switch/EncodingScheme.c`` and ``NumberCompress.h``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from prestocloud_sec.cjdns._layout import view
from prestocloud_sec.cjdns.errors import CjdnsMisuseError, LabelError, SchemeError
from prestocloud_sec.cjdns.switch.compress import NumberCompress
from prestocloud_sec.cjdns.switch.form import FIELD_BITS, LARGEST_FIELD, EncodingForm, as_forms, fault
from prestocloud_sec.cjdns.switch.label import MAX_ROUTE_BITS, RouteLabel
from prestocloud_sec.wire import shown

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["F4", "F8", "MAX_SERIALIZED", "V3X5X8", "V4X8", "EncodingScheme", "label_for"]

MAX_SERIALIZED = -(-LARGEST_FIELD * (2 * FIELD_BITS + LARGEST_FIELD) // 8)
"""Longest serialised scheme in bytes: bit counts rise from form to form, so there are at most 31 of them."""


class EncodingScheme:
    """A sane list of forms: what makes a row of directors readable without marks between them. Immutable.

    Parameters
    ----------
    forms : iterable of EncodingForm
        One form without a prefix (1 to 31 bits), or several with prefixes of 1 to 31 bits, each wider than the one
        before it, none of whose prefixes begins another.

    Raises
    ------
    SchemeError
        If the forms make no sane scheme.
    CjdnsMisuseError
        If something else than forms is given.

    Examples
    --------
    >>> scheme = EncodingScheme([EncodingForm(3, 1, 1), EncodingForm(5, 2, 2), EncodingForm(8, 2, 0)])
    >>> scheme == V3X5X8, scheme.serialize().hex()
    (True, '6114458100')
    """

    forms: tuple[EncodingForm, ...]

    def __init__(self, forms: Iterable[EncodingForm]) -> None:
        many = as_forms(forms)
        wrong = fault(many)
        if wrong is not None:
            raise SchemeError(wrong, where="EncodingScheme", expected="a sane list of forms")
        self.__dict__["forms"] = many

    def __setattr__(self, name: str, value: object) -> None:
        raise CjdnsMisuseError("an EncodingScheme does not change", where=f"EncodingScheme.{name}")

    def __delattr__(self, name: str) -> None:
        raise CjdnsMisuseError("an EncodingScheme does not change", where=f"EncodingScheme.{name}")

    @staticmethod
    def is_sane(forms: Iterable[EncodingForm]) -> bool:
        """Tell whether these forms make a scheme (cjdns v21.1, ``EncodingScheme_isSane``)."""
        return fault(as_forms(forms)) is None

    def __len__(self) -> int:
        return len(self.forms)

    def __iter__(self) -> Iterator[EncodingForm]:
        return iter(self.forms)

    def __eq__(self, other: object) -> bool:
        return self.forms == other.forms if isinstance(other, EncodingScheme) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.forms)

    def __reduce__(self) -> tuple[object, ...]:
        return (EncodingScheme, (self.forms,))

    def __repr__(self) -> str:
        name = _NAMES.get(self.forms)
        if name:
            return f"EncodingScheme.{name}"
        inner = ", ".join(f"({f.bit_count}, {f.prefix_length}, {f.prefix:#x})" for f in self.forms)
        return f"EncodingScheme[{inner}]"

    def _repr_html_(self) -> str:
        from prestocloud_sec.cjdns.switch._picture import scheme_html

        return scheme_html(self)

    @property
    def is_variable(self) -> bool:
        """Whether the scheme has several forms."""
        return len(self.forms) > 1

    @cached_property
    def is_358(self) -> bool:
        """Whether this is exactly v3x5x8, whose numbers are arranged in a way of their own."""
        return self.forms == _V3X5X8_FORMS

    @cached_property
    def numbers(self) -> NumberCompress:
        """The directors of this scheme's interface numbers."""
        return NumberCompress(self)

    # -- reading a label -----------------------------------------------------------------------------------------------

    def form_of(self, label: int) -> int:
        """Return the index of the form that a label's first director is in (``EncodingScheme_getFormNum``).

        Raises
        ------
        LabelError
            If no form matches, or the label does not have 64 bits.
        """
        label = RouteLabel(label)
        if not self.is_variable:
            return 0
        for index, form in enumerate(self.forms):
            if form.matches(label):
                return index
        raise LabelError(f"{label} begins with no form", where=repr(self), expected="a director of this scheme")

    def width_of(self, label: int) -> int:
        """How many bits a label's first director takes; LabelError if no form matches."""
        return self.forms[self.form_of(label)].width

    def parse_director(self, label: int) -> int:
        """Return the interface number that a label's first director names; LabelError if no form matches.

        Notes
        -----
        cjdns v21.1, ``EncodingScheme_parseDirector``.
        """
        return self.numbers.decompress(label)

    def is_self_route(self, label: int) -> bool:
        """Tell whether a label's first director is ``0..01``, the switch's own router. False if no form matches."""
        if type(label) not in (int, RouteLabel):
            label = RouteLabel(label)
        for form in self.forms:
            if form.matches(label):
                return label & ((1 << form.width) - 1) == 1
        return False

    def is_one_hop(self, label: int) -> bool:
        """Tell whether a label is one director and its closing 1; LabelError if no form matches."""
        return RouteLabel(label).log2 == self.width_of(label)

    # -- writing one ---------------------------------------------------------------------------------------------------

    def serialize_director(self, number: int, form: int | None = None) -> int:
        """Return the director of an interface, its prefix included (cjdns v21.1, ``EncodingScheme_serializeDirector``).

        Parameters
        ----------
        number : int
            The interface's number.
        form : int, optional
            Index of the form to write it in; the smallest that can hold it if None.

        Raises
        ------
        LabelError
            If the number does not fit, or there is no such form.
        """
        for each in self.forms if form is None else (self._form(form),):
            director = self.numbers.director_of(number, each)
            if director is not None:
                return each.encode(director)
        raise LabelError(
            f"interface {shown(number)} does not fit" + ("" if form is None else f" in form {form}"), where=repr(self)
        )

    def convert_label(self, label: int, form: int | None = None) -> RouteLabel:
        """Write a label's first director in another form, so that a wider or narrower return path fits.

        Parameters
        ----------
        label : int
            A label whose first director is this scheme's.
        form : int, optional
            Index of the form to use; the smallest that can hold the director (the canonical one) if None.

        Raises
        ------
        LabelError
            If no form matches, the director does not fit, the result would mean the router itself, would take more than
            59 bits, or a fixed-width or self director is asked to be in another form than the first.

        Notes
        -----
        cjdns v21.1, ``EncodingScheme_convertLabel``; what raises here gives all ones there.
        """
        label = RouteLabel(label)
        current = self.forms[self.form_of(label)]
        if not self.is_variable or self.is_self_route(label):
            if form is None or self._form(form) is self.forms[0]:
                return label
            raise LabelError(f"{label} cannot be in form {shown(form)}", where=repr(self), expected="form 0 or None")
        target = None if form is None else self._form(form)
        rest = label >> current.width
        chosen, director = self._recode(current.decode(label), current, target)
        if max(rest.bit_length() - 1, 0) + chosen.width > MAX_ROUTE_BITS:
            raise LabelError(f"{label} grows beyond {MAX_ROUTE_BITS} bits in that form", where=repr(self))
        result = RouteLabel(rest << chosen.width | chosen.encode(director))
        if self.is_self_route(result):
            raise LabelError(f"{label} would mean the router itself in that form", where=repr(self))
        return result

    def _form(self, index: int) -> EncodingForm:
        if not isinstance(index, int):
            raise CjdnsMisuseError(f"a {type(index).__name__}", where="form", expected="the index of a form")
        if not 0 <= index < len(self.forms):
            raise LabelError(f"no form {shown(index)}", where=repr(self), expected=f"0..{len(self.forms) - 1}")
        return self.forms[index]

    def _recode(self, director: int, current: EncodingForm, target: EncodingForm | None) -> tuple[EncodingForm, int]:
        """Move a director to another form: only v3x5x8 numbers them differently from form to form."""
        number = self.numbers.number_of(director, current) if self.is_358 else director
        for form in self.forms if target is None else (target,):
            moved = self.numbers.director_of(number, form) if self.is_358 else number
            if moved is not None and moved < 1 << form.bit_count:
                return form, moved
        raise LabelError(f"director {director:#x} does not fit in that form", where=repr(self))

    # -- the wire form -------------------------------------------------------------------------------------------------

    def serialize(self) -> bytes:
        """Return the wire form: for each form 5 bits prefix length, 5 bits bit count, the prefix; lowest bits first.

        Notes
        -----
        The bits fill little-endian bytes, zeros the end of the last (cjdns v21.1, ``EncodingScheme_serialize``).
        """
        value, used = 0, 0
        for form in self.forms:
            value |= (form.prefix_length | form.bit_count << 5 | form.prefix << 10) << used
            used += 2 * FIELD_BITS + form.prefix_length
        return value.to_bytes(-(-used // 8), "little")

    @classmethod
    def deserialize(cls, data: BytesLike) -> EncodingScheme:
        """Read the wire form of a scheme; zero bits may follow, as many as there are.

        Raises
        ------
        SchemeError
            If the bytes end inside a form, or the forms make no sane scheme.
        CjdnsMisuseError
            If `data` is not bytes-like.
        """
        given = view(data, "scheme")
        raw = bytes(given).rstrip(b"\0")
        if len(raw) > MAX_SERIALIZED:
            raise SchemeError(f"{len(raw)} bytes", where="scheme", expected=f"at most {MAX_SERIALIZED}")
        left, value = 8 * len(given), int.from_bytes(raw, "little")
        forms: list[EncodingForm] = []
        while value:
            prefix_length = value & LARGEST_FIELD
            size = 2 * FIELD_BITS + prefix_length
            if size > left:
                raise SchemeError(f"form {len(forms)} needs {size} bits, {left} are left", where="scheme")
            forms.append(
                EncodingForm(
                    value >> FIELD_BITS & LARGEST_FIELD,
                    prefix_length,
                    value >> 2 * FIELD_BITS & ((1 << prefix_length) - 1),
                )
            )
            value >>= size
            left -= size
        return cls(forms)


_V3X5X8_FORMS = (EncodingForm(3, 1, 0b1), EncodingForm(5, 2, 0b10), EncodingForm(8, 2, 0b00))

V3X5X8 = EncodingScheme(_V3X5X8_FORMS)
"""What cjdns is built with: directors of 4, 7 and 10 bits for 257 interfaces."""

V4X8 = EncodingScheme((EncodingForm(4, 1, 0b1), EncodingForm(8, 1, 0b0)))
"""Directors of 5 and 9 bits for 256 interfaces."""

F4 = EncodingScheme((EncodingForm(4),))
"""Fixed directors of 4 bits for 16 interfaces."""

F8 = EncodingScheme((EncodingForm(8),))
"""Fixed directors of 8 bits for 256 interfaces."""

_NAMES = {V3X5X8.forms: "V3X5X8", V4X8.forms: "V4X8", F4.forms: "F4", F8.forms: "F8"}


def label_for(target: int, asker: int, *, scheme: EncodingScheme = V3X5X8, wrap: bool = False) -> RouteLabel:
    """Widen the first director of a route so that the way back to whoever asks for it fits in its place.

    Parameters
    ----------
    target : int
        The route that is asked for, from the node that is asked.
    asker : int
        The route from that node to the asker.
    scheme : EncodingScheme
        That of the node that is asked.
    wrap : bool
        Drop the bits that leave the 64 at the top, as the C code does, instead of refusing.

    Raises
    ------
    LabelError
        If the first director of either is in no form, its number does not fit in the wider one, or (unless `wrap`) the
        result does not fit in 64 bits.

    Notes
    -----
    cjdns v21.1, ``NumberCompress_getLabelFor``.
    """
    if not isinstance(scheme, EncodingScheme):
        raise CjdnsMisuseError(f"a {type(scheme).__name__}", where="scheme", expected="an EncodingScheme")
    label, back = RouteLabel(target), RouteLabel(asker)
    width, needed = scheme.width_of(label), scheme.width_of(back)
    if width >= needed:
        return label
    director = scheme.numbers.compress(scheme.numbers.decompress(label), needed)
    result = (label >> width) << needed | director
    if result >> 64 and not wrap:
        raise LabelError(f"{label} grows beyond 64 bits with a director of {needed}", where="label_for")
    return RouteLabel(result & 0xFFFF_FFFF_FFFF_FFFF)
