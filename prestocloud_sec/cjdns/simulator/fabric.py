# SPDX-License-Identifier: Apache-2.0
"""Switches and the links between them: where a packet with a real label ends, and how long that takes.

Every step is made by the `Switch` that real packets go through (`Switch.step`), so a route that works here works on a
wire, and one that a real switch refuses is refused here. A packet's whole way is walked at the moment it is sent, on
the links as they are then, and it arrives after the sum of their latencies. A link that goes down takes with it the
packets under way whose route crosses it (the simulator drops them, by `Fabric.broken`): otherwise one could come in
through an interface that is no more, and its receiver take the sender for a direct peer again.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from prestocloud_sec.cjdns.errors import CjdnsMisuseError
from prestocloud_sec.cjdns.routing._checks import check_type
from prestocloud_sec.cjdns.switch import ROUTER, RouteLabel, bit_reverse_64
from prestocloud_sec.cjdns.switch.switch import Switch
from prestocloud_sec.wire import shown

__all__ = ["MOST_LINKS", "Arrival", "Fabric", "Link", "Lost"]

MOST_LINKS = 256
"""Links of one node: a switch has 257 interfaces, and one is its router's."""


_LONGEST = 64  # hops: each shifts the label by at least a bit, and the label shift of a packet ends at 63
_SHIFT_LIMIT = 63
_SLOWEST = 1e9  # seconds: added up, still finite


@dataclass(frozen=True, slots=True)
class Link:
    """One link, seen from its first end.

    Attributes
    ----------
    a, b : int
        The nodes at its ends.
    interface_a, interface_b : int
        The number of the interface at either end.
    latency : float
        Seconds one way.
    """

    a: int
    b: int
    interface_a: int
    interface_b: int
    latency: float


@dataclass(frozen=True, slots=True)
class Arrival:
    """A packet reached a router: whose, the route back from there, seconds on the way, links crossed."""

    node: int
    back: RouteLabel
    latency: float
    hops: int


@dataclass(frozen=True, slots=True)
class Lost:
    """A packet reached nobody: at which node it ended, and why."""

    node: int
    reason: str


def check_latency(latency: object) -> float:
    """Return seconds that a packet may take over a link; CjdnsMisuseError if `latency` is none."""
    if not isinstance(latency, int | float) or not 0.0 <= latency <= _SLOWEST:
        raise CjdnsMisuseError(shown(latency), where="latency", expected="seconds, from 0 to 1e9")
    return latency


class Fabric:
    """All switches and links of a network.

    Parameters
    ----------
    random : random.Random
        Decides which packets get lost.
    loss : float
        Probability that one link loses one packet, 0 to 1.
    """

    def __init__(self, random: Random, *, loss: float = 0.0) -> None:
        check_type(random, Random, "random")
        if not isinstance(loss, int | float) or not 0.0 <= loss <= 1.0:
            raise CjdnsMisuseError(shown(loss), where="loss", expected="a probability")
        self._random = random
        self.loss = loss
        self.switches: list[Switch] = []
        # Per node: interface -> (peer, its interface, latency), and peer -> interface.
        self._wires: list[dict[int, tuple[int, int, float]]] = []
        self._between: list[dict[int, int]] = []

    def add(self) -> int:
        """Add a switch without links; return its number."""
        self.switches.append(Switch())
        self._wires.append({})
        self._between.append({})
        return len(self.switches) - 1

    def link(self, a: int, b: int, latency: float) -> Link:
        """Join two switches, each at its lowest free interface.

        Raises
        ------
        CjdnsMisuseError
            If they are the same or joined already, do not exist, or one has no free interface.
        """
        self._check(a)
        self._check(b)
        if a == b or b in self._between[a]:
            raise CjdnsMisuseError(f"{a} and {b}", where="link", expected="two nodes that are not linked")
        latency = check_latency(latency)
        if not (self.switches[a].free and self.switches[b].free):
            raise CjdnsMisuseError("no free interface", where="link", expected=f"at most {MOST_LINKS} links for a node")
        interface_a = self.switches[a].add_interface()[0]
        interface_b = self.switches[b].add_interface()[0]
        self._wires[a][interface_a] = (b, interface_b, latency)
        self._wires[b][interface_b] = (a, interface_a, latency)
        self._between[a][b], self._between[b][a] = interface_a, interface_b
        return Link(a, b, interface_a, interface_b, latency)

    def unlink(self, a: int, b: int) -> Link:
        """Take a link away; its interface numbers are free again. CjdnsMisuseError if there is none."""
        found = self.between(a, b)
        for node, peer, interface in ((a, b, found.interface_a), (b, a, found.interface_b)):
            self.switches[node].remove(interface)
            del self._wires[node][interface]
            del self._between[node][peer]
        return found

    def between(self, a: int, b: int) -> Link:
        """Return the link between two nodes, seen from the first; CjdnsMisuseError if there is none."""
        self._check(a)
        self._check(b)
        if b not in self._between[a]:
            raise CjdnsMisuseError(f"{a} and {b}", where="link", expected="two nodes that are linked")
        interface = self._between[a][b]
        _, other, latency = self._wires[a][interface]
        return Link(a, b, interface, other, latency)

    def peers(self, node: int) -> list[int]:
        """Return the nodes at the other ends of a node's links, in the order of its interfaces."""
        self._check(node)
        return [self._wires[node][interface][0] for interface in sorted(self._wires[node])]

    def ends(self, node: int) -> list[tuple[int, int, int]]:
        """Return (peer, own interface, its interface) for a node's links, in the order of its interfaces."""
        self._check(node)
        return [(peer, interface, other) for interface, (peer, other, _) in sorted(self._wires[node].items())]

    def links(self) -> list[Link]:
        """Return every link once."""
        return [
            Link(a, b, interface, other, latency)
            for a, wires in enumerate(self._wires)
            for interface, (b, other, latency) in sorted(wires.items())
            if a < b
        ]

    def _check(self, node: int) -> None:
        if not isinstance(node, int) or not 0 <= node < len(self.switches):
            raise CjdnsMisuseError(f"no node {shown(node)}", where="Fabric", expected=f"0..{len(self.switches) - 1}")

    def walk(self, source: int, label: int) -> Arrival | Lost:
        """Carry a packet from a node's router along a label.

        Parameters
        ----------
        source : int
            The node that sends it.
        label : int
            The label it is sent with.

        Returns
        -------
        Arrival or Lost
        """
        self._check(source)
        return self._walk(source, label, self.loss)

    def broken(self, source: int, label: int, ends: tuple[int, int]) -> bool:
        """Tell whether a label from a node's router now stops at one of two nodes, whose link was taken away."""
        self._check(source)
        check_type(ends, tuple, "ends")
        where = self._walk(source, label, 0.0)
        return isinstance(where, Lost) and where.node in ends

    def _walk(self, source: int, label: int, loss: float) -> Arrival | Lost:
        switches, wires = self.switches, self._wires
        node, interface, current = source, ROUTER, int(RouteLabel(label))
        latency, shift = 0.0, 0
        for hops in range(_LONGEST):
            step = switches[node].step(interface, current)
            if not isinstance(step, tuple):
                return Lost(node, step.name)
            out, current, width = step
            shift += width
            if shift > _SHIFT_LIMIT:
                return Lost(node, "SHIFT_OVERFLOW")
            if out == ROUTER:
                return Arrival(node, RouteLabel(bit_reverse_64(current)), latency, hops)
            if loss and self._random.random() < loss:
                return Lost(node, "LOSS")
            node, interface, wait = wires[node][out]
            latency += wait
        return Lost(node, "SHIFT_OVERFLOW")

    def distances(self, source: int) -> list[int]:
        """Return the fewest links from a node to every node; -1 where there is no way."""
        self._check(source)
        found = [-1] * len(self.switches)
        found[source] = 0
        frontier = [source]
        while frontier:
            ahead: list[int] = []
            for node in frontier:
                for peer, _, _ in self._wires[node].values():
                    if found[peer] < 0:
                        found[peer] = found[node] + 1
                        ahead.append(peer)
            frontier = ahead
        return found
