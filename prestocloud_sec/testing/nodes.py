# SPDX-License-Identifier: Apache-2.0
"""Strategies for nodes: addresses that crowd together, arrays of them, and small networks with true paths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import strategies as st

from prestocloud_sec.cjdns.errors import LabelError
from prestocloud_sec.cjdns.keys import Address
from prestocloud_sec.cjdns.switch import F4, F8, V3X5X8, V4X8, EncodingScheme, RouteLabel

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Network", "Way", "address_arrays", "crowded_addresses", "networks"]

_POINT = Address(b"\xfc" + bytes(range(1, 16)))


@st.composite
def crowded_addresses(draw: st.DrawFn, *, near: Address = _POINT) -> Address:
    """Draw addresses that share many leading metric bits with `near`, or few: a random draw hardly ever does."""
    keep = draw(st.integers(0, 128))
    noise = draw(st.integers(0, (1 << 128) - 1)) >> keep
    metric = near.metric ^ noise
    packed = metric.to_bytes(16, "big")
    return Address(b"\xfc" + packed[9:] + packed[:8])


@st.composite
def address_arrays(draw: st.DrawFn, *, min_size: int = 0, max_size: int = 64) -> NDArray[np.uint8]:
    """Draw arrays uint8[n, 16] of addresses in which some repeat and some share long prefixes."""
    one = st.one_of(crowded_addresses(), st.binary(min_size=15, max_size=15).map(lambda b: Address(b"\xfc" + b)))
    rows = draw(st.lists(one, min_size=min_size, max_size=max_size))
    rows += draw(st.lists(st.sampled_from(rows), max_size=max_size - len(rows))) if rows else []
    return np.frombuffer(bytearray(b"".join(row.packed for row in rows)), np.uint8).reshape(-1, 16)


@dataclass(frozen=True, slots=True)
class Way:
    """A path through a network that a switch would take: where it ends, and by which labels.

    Attributes
    ----------
    label : RouteLabel
        From node 0 to the end.
    nodes : tuple of int
        The nodes visited, node 0 first.
    inverse_form : int
        The form, in the scheme of the last node, of the director that leads back along the path.
    """

    label: RouteLabel
    nodes: tuple[int, ...]
    inverse_form: int


@dataclass(frozen=True)
class Network:
    """A fixed network of switches, as the truth to hold a node store against; node 0 is "us".

    Attributes
    ----------
    addresses : tuple of Address
    schemes : tuple of EncodingScheme
    slots : tuple of dict
        For each node: interface number -> (neighbour, interface number there).
    """

    addresses: tuple[Address, ...]
    schemes: tuple[EncodingScheme, ...]
    slots: tuple[dict[int, tuple[int, int]], ...]

    def director(self, node: int, slot: int, width: int = 0) -> tuple[int, int]:
        """Return the director of a node's interface in the smallest form of at least `width` bits, and its width."""
        numbers = self.schemes[node].numbers
        for form in self.schemes[node].forms:
            director = numbers.director_of(slot, form)
            if director is not None and form.width >= width:
                return form.encode(director), form.width
        raise LabelError(f"interface {slot} does not fit", where="Network.director")

    def way(self, slots: list[int]) -> Way | None:
        """Return the way out of the given interfaces, one after the other; None if it has no label or no such link.

        Written from the rule of the switch alone: the director of the way back takes the room of the director of the
        way forward, which therefore has to be at least as wide.
        """
        at, back, label, used = 0, None, 0, 0
        nodes, width_back = [0], 0
        for slot in slots:
            if slot not in self.slots[at]:
                return None
            if back is not None:
                width_back = self.director(at, back)[1]
            try:
                director, width = self.director(at, slot, width_back)
            except LabelError:
                return None
            label |= director << used
            used += width
            at, back = self.slots[at][slot]
            nodes.append(at)
        if used > 59 or back is None:
            return None
        width_back = self.director(at, back)[1]
        widths = [form.width for form in self.schemes[at].forms]
        return Way(RouteLabel(label | 1 << used), tuple(nodes), widths.index(width_back))

    def walk(self, label: int) -> int | None:
        """Return the node that a packet with this label ends at; None if a switch on the way would refuse it."""
        at, came = 0, 1
        rest = int(label)
        while rest != 1:
            scheme = self.schemes[at]
            try:
                number, width = scheme.parse_director(rest), scheme.width_of(rest)
                narrowest = self.director(at, came)[1] if at or len(self.slots[at]) > 1 else 0
            except LabelError:
                return None
            if number not in self.slots[at] or rest >> width == 0 or (at and narrowest > width):
                return None
            rest >>= width
            at, came = self.slots[at][number]
        return at


_SCHEMES = (V3X5X8, V3X5X8, V3X5X8, V4X8, F8, F4)


@st.composite
def networks(draw: st.DrawFn, *, max_nodes: int = 7) -> Network:
    """Draw connected networks of a few nodes with distinct addresses, mixed schemes, narrow and wide interfaces."""
    count = draw(st.integers(2, max_nodes))
    addresses = draw(st.lists(crowded_addresses(), min_size=count, max_size=count, unique=True))
    schemes = [draw(st.sampled_from(_SCHEMES)) for _ in range(count)]
    slots: list[dict[int, tuple[int, int]]] = [{} for _ in range(count)]

    def free(node: int) -> int | None:
        fits = [n for n in (0, *range(2, 16)) if n not in slots[node]]
        wide = [n for n in (40, 90, 200, 255) if n not in slots[node] and schemes[node] != F4]
        pool = fits[:2] + wide
        return draw(st.sampled_from(pool)) if pool else None

    pairs = [(draw(st.integers(0, new - 1)), new) for new in range(1, count)]
    extra = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1))
    pairs += [(a, b) for a, b in draw(st.lists(extra, max_size=count)) if a != b]
    for a, b in pairs:
        here, there = free(a), free(b)
        if here is not None and there is not None:
            slots[a][here], slots[b][there] = (b, there), (a, here)
    return Network(tuple(addresses), tuple(schemes), tuple(slots))
