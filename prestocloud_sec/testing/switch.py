# SPDX-License-Identifier: Apache-2.0
"""Hypothesis strategies for schemes, labels, paths and switches, and a mesh of switches whose links are emulated.

The mesh is a test's network: `SwitchMesh.travel` carries a packet from switch to switch until it reaches a router or is
gone, and reports every hop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from hypothesis import strategies as st

from prestocloud_sec.cjdns.errors import CjdnsMisuseError
from prestocloud_sec.cjdns.switch import (
    F4,
    F8,
    ROUTER,
    V3X5X8,
    V4X8,
    Drop,
    EncodingForm,
    EncodingScheme,
    ErrorReply,
    RouteLabel,
    Switch,
)

__all__ = [
    "BUILT_IN",
    "MESH_ROUTE_BITS",
    "Journey",
    "MeshHop",
    "SwitchMesh",
    "encoding_forms",
    "encoding_schemes",
    "meshes",
    "paths",
    "route_labels",
    "routes",
    "switch_packets",
    "switch_schemes",
    "switches",
]

BUILT_IN = (V3X5X8, V4X8, F4, F8)
"""The schemes that cjdns can be built with."""

MESH_ROUTE_BITS = 49
"""Most bits of a route in a mesh: leaves room for the zeros that a last hop with a wide way back needs."""


def route_labels() -> st.SearchStrategy[RouteLabel]:
    """Draw any label: all 64-bit numbers, with short ones and those near the limits of splicing made more likely."""
    short = st.integers(0, 63).flatmap(lambda bits: st.integers(1 << bits, (2 << bits) - 1))
    return st.one_of(st.integers(0, 2**64 - 1), short).map(RouteLabel)


def encoding_forms() -> st.SearchStrategy[list[EncodingForm]]:
    """Draw forms that may or may not make a scheme."""
    form = st.builds(EncodingForm, st.integers(0, 33), st.integers(0, 33), st.integers(0, 2**33))
    return st.lists(form, max_size=4)


@st.composite
def encoding_schemes(
    draw: st.DrawFn, *, most_forms: int = 5, most_bits: int = 31, complete: bool | None = None
) -> EncodingScheme:
    """Draw any sane scheme.

    Parameters
    ----------
    draw : callable
        Given by Hypothesis.
    most_forms : int
        Most forms of a scheme; 1 gives fixed-width schemes only.
    most_bits : int
        Most bits of a director without its prefix, 1 to 31.
    complete : bool, optional
        Whether every label begins with one of the forms; None for either.
    """
    count = draw(st.integers(1, min(most_forms, most_bits)))
    if count == 1:
        return EncodingScheme([EncodingForm(draw(st.integers(1, most_bits)))])
    # A prefix code is the leaves of a binary tree: grow one by splitting leaves, and leave some out if need be.
    leaves = [(1, 0), (1, 1)]
    spare = 0 if complete else draw(st.integers(complete is False, 2))
    while len(leaves) < count + spare:
        length, value = leaves.pop(draw(st.integers(0, len(leaves) - 1)))
        leaves += [(length + 1, value), (length + 1, value | 1 << length)]
    chosen = draw(st.permutations(leaves))[:count]
    bits = sorted(draw(st.sets(st.integers(1, most_bits), min_size=count, max_size=count)))
    return EncodingScheme(EncodingForm(b, length, value) for b, (length, value) in zip(bits, chosen, strict=True))


def _has_router(scheme: EncodingScheme) -> bool:
    return max(scheme.numbers.widths) <= 10 and scheme.numbers.table[1][1] == ROUTER


def switch_schemes() -> st.SearchStrategy[EncodingScheme]:
    """Draw schemes that a `Switch` can have: the built-in ones, and others in which ``0..01`` means the router."""
    own = encoding_schemes(most_forms=3, most_bits=7).filter(_has_router)
    return st.one_of(st.sampled_from(BUILT_IN), own)


def paths(scheme: EncodingScheme, *, most_bits: int = 59) -> st.SearchStrategy[list[int]]:
    """Draw interface numbers, the router's left out, whose smallest directors fit in a label together."""
    numbers = scheme.numbers
    least = min(numbers.widths)
    interface = st.integers(0, min(numbers.count, 1 << 16) - 1).filter(lambda number: number != ROUTER)
    listed = st.lists(interface, max_size=min(most_bits // least, 12))

    def fitting(path: list[int]) -> list[int]:
        used = 0
        for index, number in enumerate(path):
            used += numbers.width_for(number)
            if used > most_bits:
                return path[:index]
        return path

    return listed.map(fitting)


@st.composite
def switches(draw: st.DrawFn, *, schemes: st.SearchStrategy[EncodingScheme] | None = None) -> Switch:
    """Draw a switch with some interfaces attached, some detached again and some down."""
    switch = Switch(draw(switch_schemes() if schemes is None else schemes))
    for _ in range(min(draw(st.sampled_from((2, 9, 40, 256))), switch.free)):
        switch.add_interface()
    own = [number for number in switch.interfaces if number != ROUTER]
    if own:
        for number in draw(st.sets(st.sampled_from(own), max_size=4)):
            draw(st.sampled_from((switch.remove, switch.set_down)))(number)
    return switch


@st.composite
def switch_packets(draw: st.DrawFn, scheme: EncodingScheme = V3X5X8) -> bytes:
    """Draw packets for a switch: mostly a header with a label that leads somewhere, sometimes any bytes at all."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=40))
    label = draw(st.one_of(route_labels(), paths(scheme).map(lambda path: RouteLabel.from_path(path, scheme))))
    flags = draw(st.sampled_from((0, 0, 0, 1, 2, 255)))
    shift = draw(st.one_of(st.just(0x40), st.integers(0, 255)))
    payload = draw(st.one_of(st.binary(min_size=4, max_size=8), st.binary(max_size=300)))
    return label.to_bytes(8, "big") + bytes((flags, shift)) + draw(st.binary(min_size=2, max_size=2)) + payload


class MeshHop(NamedTuple):
    """One switch on the way of a packet.

    Attributes
    ----------
    node : int
        Which switch.
    came_from, left_by : int
        Its interfaces.
    received, sent : bytes
        The packet as it came and as it left: another one where the switch answered with an error.
    """

    node: int
    came_from: int
    left_by: int
    received: bytes
    sent: bytes


@dataclass(frozen=True, slots=True)
class Journey:
    """Where a packet went.

    Attributes
    ----------
    hops : tuple of MeshHop
        Every switch in turn.
    arrived : int or None
        The node whose router got the packet, or None if it is gone.
    packet : bytes
        The packet as its router got it; empty if it is gone.
    errors : int
        How many switches on the way answered with an error.
    """

    hops: tuple[MeshHop, ...]
    arrived: int | None
    packet: bytes
    errors: int


@dataclass(slots=True)
class SwitchMesh:
    """Switches and the links between them.

    Attributes
    ----------
    switches : list of Switch
        By node.
    links : dict
        (node, interface) to the (node, interface) on the other side, both ways.
    """

    switches: list[Switch]
    links: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)

    def connect(self, a: int, b: int) -> tuple[int, int]:
        """Join two different nodes by a new link; return the interface number at each."""
        if a == b:
            raise CjdnsMisuseError("a link from a node to itself", where="SwitchMesh.connect", expected="two nodes")
        at_a, at_b = self.switches[a].add_interface()[0], self.switches[b].add_interface()[0]
        self.links[a, at_a], self.links[b, at_b] = (b, at_b), (a, at_a)
        return at_a, at_b

    def label(self, route: Sequence[tuple[int, int]], came_from: int = ROUTER) -> RouteLabel:
        """Write the label of a route, every director just wide enough for the way back.

        Parameters
        ----------
        route : sequence of (node, interface)
            The switches on the way and the interface to leave each by.
        came_from : int
            The interface of the first switch by which the packet enters.
        """
        value, used = 0, 0
        for node, interface in route:
            numbers = self.switches[node].scheme.numbers
            fits = [width for width in numbers.returns[interface] if width in numbers.returns[came_from]]
            width = min(fits)
            value |= numbers.compress(interface, width) << used
            used += width
            came_from = self.links[node, interface][1]
        return RouteLabel(value | 1 << used)

    def travel(self, node: int, packet: bytes, came_from: int = ROUTER) -> Journey:
        """Carry a packet that enters switch `node` by `came_from` to where it ends; error packets travel on."""
        hops: list[MeshHop] = []
        errors = 0
        while True:
            outcome = self.switches[node].forward(came_from, packet)
            if isinstance(outcome, Drop):
                return Journey(tuple(hops), None, b"", errors)
            errors += isinstance(outcome, ErrorReply)
            hops.append(MeshHop(node, came_from, outcome.interface, packet, outcome.packet))
            packet = outcome.packet
            if outcome.interface == ROUTER:
                return Journey(tuple(hops), node, packet, errors)
            beyond = self.links.get((node, outcome.interface))
            if beyond is None:
                return Journey(tuple(hops), None, b"", errors)
            node, came_from = beyond


@st.composite
def meshes(draw: st.DrawFn, *, most_nodes: int = 5) -> SwitchMesh:
    """Draw a connected mesh of switches with schemes of their own; unused interfaces make some numbers large."""
    count = draw(st.integers(2, most_nodes))
    mesh = SwitchMesh([Switch(draw(switch_schemes())) for _ in range(count)])
    for switch in mesh.switches:
        for _ in range(min(draw(st.sampled_from((0, 0, 5, 30, 200))), switch.free - count - 2)):
            switch.add_interface()
    pairs = [(draw(st.integers(0, node - 1)), node) for node in range(1, count)]
    pairs += draw(st.lists(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)), max_size=count))
    for a, b in pairs:
        if a != b and mesh.switches[a].free and mesh.switches[b].free:
            mesh.connect(a, b)
    return mesh


@st.composite
def routes(
    draw: st.DrawFn,
    mesh: SwitchMesh,
    *,
    start: int | None = None,
    most_hops: int = 8,
    most_bits: int = MESH_ROUTE_BITS,
) -> list[tuple[int, int]]:
    """Draw a walk through a mesh, from the router of node `start`: (node, interface to leave by) of each switch."""
    node = draw(st.sampled_from(sorted({node for node, _ in mesh.links}))) if start is None else start
    walk: list[tuple[int, int]] = []
    for _ in range(draw(st.integers(1, most_hops))):
        interface = draw(st.sampled_from(sorted(at for owner, at in mesh.links if owner == node)))
        longer = [*walk, (node, interface)]
        if mesh.label(longer).log2 > most_bits:
            break
        walk = longer
        node = mesh.links[node, interface][0]
    return walk
