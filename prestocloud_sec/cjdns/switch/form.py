# SPDX-License-Identifier: Apache-2.0
"""Encoding forms: the single ways to write a director that a scheme is made of, and which of them go together.

The rules are those of cjdns v21.1, ``switch/EncodingScheme.c`` (``EncodingScheme_isSane``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from prestocloud_sec.cjdns.errors import CjdnsMisuseError, SchemeError
from prestocloud_sec.cjdns.switch.label import MAX_ROUTE_BITS
from prestocloud_sec.wire import items_of, shown, whole

__all__ = ["FIELD_BITS", "LARGEST_FIELD", "EncodingForm"]

FIELD_BITS = 5
"""Bits of each of the two counts in a serialised form."""

LARGEST_FIELD = (1 << FIELD_BITS) - 1
"""Most bits of a prefix, and of a director without it."""

_WIDEST = 1024  # bits of any number in a form, sane or not


@dataclass(frozen=True, slots=True)
class EncodingForm:
    """One way to write a director: `prefix` in the lowest bits, the director proper above it.

    Attributes
    ----------
    bit_count : int
        Bits of the director without its prefix.
    prefix_length : int
        Bits of the prefix; 0 in a fixed-width scheme.
    prefix : int
        The prefix as a number.

    Notes
    -----
    Numbers of up to 1024 bits are accepted here; what a scheme may be made of is `EncodingScheme`'s to judge.

    Raises
    ------
    SchemeError
        If a number is negative or larger than that.
    CjdnsMisuseError
        If one is not an integer.
    """

    bit_count: int
    prefix_length: int = 0
    prefix: int = 0

    def __post_init__(self) -> None:
        for name in ("bit_count", "prefix_length", "prefix"):
            value = getattr(self, name)
            if not isinstance(value, int):
                raise CjdnsMisuseError(f"a {type(value).__name__}", where=f"EncodingForm.{name}", expected="an int")
            if value < 0 or value.bit_length() > _WIDEST or (name != "prefix" and value > _WIDEST):
                raise SchemeError(shown(value), where=f"EncodingForm.{name}", expected=f"0 to {_WIDEST} bits")

    @property
    def width(self) -> int:
        """Bits of the whole director, prefix included."""
        return self.bit_count + self.prefix_length

    def matches(self, label: int) -> bool:
        """Tell whether a label's first director is in this form."""
        if type(label) is not int:
            label = whole(label, "label", None, error=CjdnsMisuseError)
        return (label ^ self.prefix) & ((1 << self.prefix_length) - 1) == 0

    def encode(self, director: int) -> int:
        """Put the prefix below a director."""
        if type(director) is not int:
            director = whole(director, "director", None, error=CjdnsMisuseError)
        return director << self.prefix_length | self.prefix

    def decode(self, label: int) -> int:
        """Take the director, without its prefix, out of a label that begins with this form."""
        if type(label) is not int:
            label = whole(label, "label", None, error=CjdnsMisuseError)
        return label >> self.prefix_length & ((1 << self.bit_count) - 1)


def fault(forms: tuple[EncodingForm, ...]) -> str | None:
    """Say why these forms are no sane scheme; None if they are one."""
    if not forms:
        return "no forms"
    if len(forms) == 1:
        if forms[0].prefix_length or forms[0].prefix:
            return "a fixed-width form with a prefix"
        return None if 1 <= forms[0].bit_count <= LARGEST_FIELD else f"a form of {forms[0].bit_count} bits"
    for index, form in enumerate(forms):
        if not 1 <= form.prefix_length <= LARGEST_FIELD:
            return f"form {index} has a prefix of {form.prefix_length} bits"
        if form.prefix >> form.prefix_length:
            return f"form {index}: prefix {form.prefix:#x} does not fit in {form.prefix_length} bits"
        if not 1 <= form.bit_count <= LARGEST_FIELD or form.width > MAX_ROUTE_BITS:
            return f"form {index} has {form.bit_count} bits"
        if index and form.bit_count <= forms[index - 1].bit_count:
            return f"form {index} is not wider than the one before it"
        for other in forms[:index]:
            shared = min(form.prefix_length, other.prefix_length)
            if (form.prefix ^ other.prefix) & ((1 << shared) - 1) == 0:
                return f"the prefix of form {index} cannot be told from an earlier one"
    return None


def as_forms(forms: Iterable[EncodingForm]) -> tuple[EncodingForm, ...]:
    """Make a tuple of forms, or raise CjdnsMisuseError if they are none."""
    given = items_of(forms, "EncodingScheme", "an iterable of EncodingForm", error=CjdnsMisuseError)
    many = tuple(islice(given, LARGEST_FIELD + 1))  # bit counts rise from form to form: one more is one too many
    for form in many:
        if not isinstance(form, EncodingForm):
            raise CjdnsMisuseError(f"a {type(form).__name__}", where="EncodingScheme", expected="EncodingForm")
    return many
