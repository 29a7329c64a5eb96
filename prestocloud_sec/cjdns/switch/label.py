# SPDX-License-Identifier: Apache-2.0
"""Route labels: paths through the network as 64-bit numbers, and their algebra.

A label is a row of directors, the first one in the least significant bits, closed by a single 1 bit. Every switch reads
its director at the low end, shifts it out, and puts the bit-reversed director of the way back in at the top; the
number that reaches the end is therefore, bit-reversed, the label of the return path (PrEstoCloud deliverable, 3.2,
"Switch"; cjdns Whitepaper, "The Switch").

Nothing here knows a switch or a connection: a label is a value, and all operations are plain arithmetic on 64 bits
(cjdns v21.1, ``switch/LabelSplicer.h``, ``util/Bits.h``, ``util/AddrTools.h``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, SupportsIndex

from prestocloud_sec.cjdns.errors import CjdnsMisuseError, LabelError
from prestocloud_sec.cjdns.headers import label_text
from prestocloud_sec.wire import items_of, whole

if TYPE_CHECKING:
    from prestocloud_sec.cjdns.switch.scheme import EncodingScheme

__all__ = ["LABEL_BITS", "MAX_ROUTE_BITS", "SELF", "Hop", "RouteLabel", "bit_reverse_64"]

LABEL_BITS = 64
"""Width of a label in bits."""

MAX_ROUTE_BITS = 59
"""Most bits the directors of a spliced or converted route may take, the closing 1 not counted."""

_ALL_ONES = 0xFFFF_FFFF_FFFF_FFFF
_TEXT = re.compile(r"[0-9a-fA-F]{4}(?:\.[0-9a-fA-F]{4}){3}", re.ASCII)
_REVERSED_BYTES = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def bit_reverse_64(value: int) -> int:
    """Mirror the 64 bits of `value`: bit 0 becomes bit 63.

    Raises
    ------
    LabelError
        If `value` is not a 64-bit unsigned number.

    Examples
    --------
    >>> hex(bit_reverse_64(0xcaa8000000000000))
    '0x1553'
    """
    try:
        return int.from_bytes(value.to_bytes(8, "little").translate(_REVERSED_BYTES), "big")
    except (OverflowError, AttributeError, TypeError) as error:
        raise _not_a_label(value) from error


def _not_a_label(value: object) -> LabelError | CjdnsMisuseError:
    if isinstance(value, int):
        return LabelError(f"a number of {value.bit_length()} bits", where="label", expected="0 to 2**64 - 1")
    return CjdnsMisuseError(f"a {type(value).__name__}", where="label", expected="an int of 64 bits")


class Hop(NamedTuple):
    """One switch's part of a label.

    Attributes
    ----------
    interface : int
        The number of the interface that the switch sends the packet out of.
    director : int
        The director as it stands in the label, prefix included.
    width : int
        How many bits of the label it takes.
    """

    interface: int
    director: int
    width: int


class RouteLabel(int):
    """A path through the network: an immutable 64-bit number with cjdns' label algebra.

    It is an ``int`` in every other respect: arithmetic gives plain numbers, and it compares and hashes as one.

    Parameters
    ----------
    value : int
        The label as a number, 0 to 2**64 - 1. On the wire it is 8 bytes, big-endian.

    Raises
    ------
    LabelError
        If `value` does not fit in 64 bits.
    CjdnsMisuseError
        If `value` is not an integer.

    Examples
    --------
    >>> RouteLabel(0x13)
    RouteLabel('0000.0000.0000.0013')
    >>> RouteLabel.parse("0000.0000.0000.0015").splice(RouteLabel(0x13))
    RouteLabel('0000.0000.0000.0153')
    """

    __slots__ = ()

    def __new__(cls, value: SupportsIndex = 1) -> RouteLabel:
        """Refuse what is not a 64-bit number."""
        if not isinstance(value, int):
            value = whole(value, "label", None, error=CjdnsMisuseError)  # numpy's integers
        if not 0 <= value <= _ALL_ONES:
            raise _not_a_label(value)
        return int.__new__(cls, value)

    @classmethod
    def parse(cls, text: str) -> RouteLabel:
        """Read a label as cjdns prints it: four groups of exactly four hex digits, with dots between.

        Both cases of letters are accepted; nothing else is, white space included.

        Raises
        ------
        LabelError
            If the text has any other shape.
        CjdnsMisuseError
            If `text` is not a string.
        """
        if not isinstance(text, str):
            raise CjdnsMisuseError(f"a {type(text).__name__}", where="RouteLabel.parse", expected="a string")
        if not _TEXT.fullmatch(text):
            shown = text if len(text) <= 40 else text[:40] + "..."
            raise LabelError(f"{shown!r} is not a label", where="label", expected="the form 0000.0000.0000.0013")
        return cls(int(text.replace(".", ""), 16))

    def __str__(self) -> str:
        return label_text(self)

    def __repr__(self) -> str:
        return f"RouteLabel('{self}')"

    @property
    def log2(self) -> int:
        """Index of the highest bit that is set: the number of bits that the directors take. 0 for the label 0."""
        return max(self.bit_length() - 1, 0)

    def splice(self, via: int) -> RouteLabel:
        """Go `via` first and then here: the label of both routes walked one after the other.

        Parameters
        ----------
        via : int
            The route to the node at which this label begins.

        Raises
        ------
        LabelError
            If the two together take more than 59 bits.

        Notes
        -----
        cjdns v21.1, ``LabelSplicer_splice``. The closing 1 of `via` makes room for this route.
        """
        first = RouteLabel(via)
        if self.log2 + first.log2 > MAX_ROUTE_BITS:
            raise LabelError(
                f"a route of {self.log2} bits after one of {first.log2}",
                where="splice",
                expected=f"{MAX_ROUTE_BITS} bits together",
                hint="the destination is too far away to be reached by one label",
            )
        return RouteLabel(((self ^ 1) << first.log2) ^ first)

    def unsplice(self, mid: int) -> RouteLabel:
        """Return what is left of this route at the end of `mid`.

        Meaningful only where `routes_through(mid)`; like the C code, this does not check it
        (cjdns v21.1, ``LabelSplicer_unsplice``).

        Raises
        ------
        LabelError
            If `mid` is no 64-bit number.
        """
        return RouteLabel(self >> RouteLabel(mid).log2)

    def routes_through(self, mid: int) -> bool:
        """Tell whether this route begins with the route `mid` (cjdns v21.1, ``LabelSplicer_routesThrough``).

        Raises
        ------
        LabelError
            If `mid` is no 64-bit number.
        """
        first = RouteLabel(mid)
        if first > self:
            return False
        mask = (1 << first.log2) - 1
        return first < 2 or (self & mask) == (first & mask)

    def reversed(self) -> RouteLabel:
        """Mirror all 64 bits: turns the label found at the end of a path into that of the way back."""
        return RouteLabel(bit_reverse_64(self))

    def director_width(self, scheme: EncodingScheme | None = None) -> int:
        """How many bits the first director takes in `scheme` (v3x5x8); LabelError if no form of it matches."""
        return _one(scheme).width_of(self)

    def is_one_hop(self, scheme: EncodingScheme | None = None) -> bool:
        """Tell whether one director of `scheme` (v3x5x8) stands before the closing 1; LabelError if no form matches."""
        return _one(scheme).is_one_hop(self)

    def hops(self, schemes: EncodingScheme | Iterable[EncodingScheme] | None = None) -> tuple[Hop, ...]:
        """Split the label into directors, up to the closing 1 or the first director that means "this router".

        Parameters
        ----------
        schemes : EncodingScheme or iterable of EncodingScheme, optional
            The scheme of all switches on the way, or that of each in turn; where those run out, the last one is
            taken to hold for the rest. Where not given, v3x5x8, with which cjdns is built.

        Raises
        ------
        LabelError
            If a director fits no form of its scheme, or the label ends without a closing 1.
        CjdnsMisuseError
            If `schemes` is empty.
        """
        found: list[Hop] = []
        rest: int = self
        in_turn = iter(_each(schemes))
        scheme = next(in_turn)
        while rest != 1 and not scheme.is_self_route(rest):
            width = scheme.width_of(rest)
            if rest >> width == 0:
                raise LabelError(
                    f"{self} ends inside a director",
                    where=f"label, after {len(found)} hops",
                    expected="a 1 bit after the last director",
                )
            found.append(Hop(scheme.numbers.decompress(rest), rest & ((1 << width) - 1), width))
            rest >>= width
            scheme = next(in_turn, scheme)
        return tuple(found)

    def path(self, schemes: EncodingScheme | Iterable[EncodingScheme] | None = None) -> list[int]:
        """List the interface numbers on the way, for a human; arguments and errors as in `hops`.

        Examples
        --------
        >>> RouteLabel.parse("0000.0000.0000.0153").path()
        [0, 2]
        """
        return [hop.interface for hop in self.hops(schemes)]

    @classmethod
    def from_path(
        cls, interfaces: Iterable[int], schemes: EncodingScheme | Iterable[EncodingScheme] | None = None
    ) -> RouteLabel:
        """Build the label of a path: the inverse of `path`, each director in its smallest form.

        Parameters
        ----------
        interfaces : iterable of int
            The number of the interface to leave each switch by.
        schemes : EncodingScheme or iterable of EncodingScheme, optional
            As in `hops`.

        Raises
        ------
        LabelError
            If an interface has no director in its scheme, or the directors take more than 59 bits.
        CjdnsMisuseError
            If `interfaces` are not integers, or `schemes` is empty.
        """
        value, used = 0, 0
        in_turn = iter(_each(schemes))
        scheme = next(in_turn)
        given = items_of(interfaces, "RouteLabel.from_path", "interface numbers", error=CjdnsMisuseError)
        for number in islice(given, LABEL_BITS):
            width = scheme.numbers.width_for(number)
            value |= scheme.numbers.compress(number, width) << used
            used += width
            if used > MAX_ROUTE_BITS:
                raise LabelError(
                    "the path is too long for a label", where="RouteLabel.from_path", expected="at most 59 bits"
                )
            scheme = next(in_turn, scheme)
        return cls(value | 1 << used)

    def drawing(self, schemes: EncodingScheme | Iterable[EncodingScheme] | None = None) -> str:
        """Draw the path as an SVG: a box for each hop with its interface and its director's bits.

        Arguments and errors as in `hops`.
        """
        from prestocloud_sec.cjdns.switch._picture import path_svg

        return path_svg(self, self.hops(schemes))

    def _repr_svg_(self) -> str | None:
        """Draw the path for a notebook, read in the common scheme v3x5x8; None where it does not parse in that."""
        try:
            return self.drawing()
        except LabelError:
            return None


def _one(scheme: EncodingScheme | None) -> EncodingScheme:
    from prestocloud_sec.cjdns.switch.scheme import V3X5X8, EncodingScheme  # which imports this module

    if scheme is None:
        return V3X5X8
    if not isinstance(scheme, EncodingScheme):
        raise CjdnsMisuseError(f"a {type(scheme).__name__}", where="scheme", expected="an EncodingScheme")
    return scheme


def _each(schemes: EncodingScheme | Iterable[EncodingScheme] | None) -> Sequence[EncodingScheme]:
    """Make a non-empty sequence of one scheme or many; no label has more directors than bits."""
    from prestocloud_sec.cjdns.switch.scheme import EncodingScheme

    if schemes is None or isinstance(schemes, EncodingScheme):
        return (_one(schemes),)
    given = items_of(schemes, "schemes", "an EncodingScheme, or several", error=CjdnsMisuseError)
    many = tuple(_one(scheme) for scheme in islice(given, LABEL_BITS))
    if not many:
        raise CjdnsMisuseError("no scheme to read the label by", where="schemes", expected="one EncodingScheme or more")
    return many


SELF = RouteLabel(1)
"""The label of the router that a switch belongs to: no hop at all."""
