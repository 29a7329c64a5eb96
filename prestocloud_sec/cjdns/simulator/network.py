# SPDX-License-Identifier: Apache-2.0
"""The nodes of a simulated network and their links: what there is. What happens among them is the simulator's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from random import Random

from prestocloud_sec.cjdns.constants import PROTOCOL_VERSION
from prestocloud_sec.cjdns.errors import CjdnsMisuseError
from prestocloud_sec.cjdns.keys import Address, PublicKey
from prestocloud_sec.cjdns.routing._checks import check_type
from prestocloud_sec.cjdns.routing.nodestore import NodeStore
from prestocloud_sec.cjdns.routing.router import Router
from prestocloud_sec.cjdns.routing.rules import check_reading
from prestocloud_sec.cjdns.simulator.fabric import MOST_LINKS, Fabric, Link, check_latency
from prestocloud_sec.cjdns.simulator.keyring import Keyring
from prestocloud_sec.cjdns.simulator.liars import Lie, LyingResponder
from prestocloud_sec.cjdns.simulator.node import SimulatedNode
from prestocloud_sec.cjdns.simulator.warm import Tables, sample
from prestocloud_sec.cjdns.switch import V3X5X8
from prestocloud_sec.wire import items_of, result_of, shown, whole

__all__ = ["Network"]

_MOST_NODES = 1_000_000


def _pairs(edges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return edges as a list, or raise CjdnsMisuseError."""
    found = []
    for edge in items_of(edges, "edges", "pairs of nodes", error=CjdnsMisuseError):
        try:
            a, b = edge
        except Exception as error:  # whatever a foreign pair raises
            raise CjdnsMisuseError(shown(edge), where="edges", expected="pairs of nodes") from error
        found.append(
            (
                whole(a, "edges", 0, _MOST_NODES - 1, error=CjdnsMisuseError),
                whole(b, "edges", 0, _MOST_NODES - 1, error=CjdnsMisuseError),
            )
        )
    return found


class Network:
    """The nodes and links of a `Simulator`, which is one and documents the parameters.

    Attributes
    ----------
    now : float
        Simulated seconds.
    nodes : list of SimulatedNode
        All there ever were, by number.
    fabric : Fabric
        Their switches, and the links between them.
    keyring : Keyring
        Their keys.
    """

    def __init__(self, seed: int, *, keys: str, loss: float, maintain: bool, reading: str, capacity: int) -> None:
        if not isinstance(seed, int):
            raise CjdnsMisuseError(f"a {type(seed).__name__}", where="seed", expected="an int")
        check_type(maintain, bool, "maintain")
        self._capacity = whole(capacity, "capacity", 1, error=CjdnsMisuseError)
        self._reading = check_reading(reading)
        self._maintain = maintain
        self.seed = seed
        self.now = 0.0
        self.nodes: list[SimulatedNode] = []
        self.fabric = Fabric(self._generator("loss"), loss=loss)
        self.keyring = Keyring(self._generator("keys"), keys)
        self._tables: Tables | None = None
        self._bytes = self._generator("routers").randbytes
        self._by_address: dict[Address, int] = {}

    def _generator(self, name: str) -> Random:
        """Make a generator of its own for each purpose, so that one's use does not shift another's numbers."""
        seed = self.seed if self.seed.bit_length() <= 256 else hex(self.seed)  # a huge number has no decimal text
        return Random(f"{seed}/{name}")  # noqa: S311 - a simulation must be repeatable

    # -- what a simulator adds ----------------------------------------------------------------------------------------

    def _joined(self, node: SimulatedNode) -> None:
        """Take note that a node has come or has got a link."""

    def _parted(self, a: int, b: int) -> None:
        """Take note that a link is gone."""

    # -- building --------------------------------------------------------------------------------------------------

    def add_node(self, *, key: PublicKey | None = None) -> int:
        """Add a node without links.

        Parameters
        ----------
        key : PublicKey, optional
            Its key; a new one where not given.

        Returns
        -------
        int
            Its number.

        Raises
        ------
        CjdnsMisuseError
            If there is a node with this address already.
        AddressError
            If the key has no address.
        """
        if key is not None and not isinstance(key, PublicKey):
            raise CjdnsMisuseError(shown(key), where="key", expected="PublicKey or None")
        key = self.keyring.make() if key is None else key
        address = self.keyring.address_of(key)
        if address in self._by_address:
            raise CjdnsMisuseError(f"{address} is there already", where="add_node", expected="another key")
        number = self.fabric.add()
        self._by_address[address] = number
        self.nodes.append(SimulatedNode(number, key, address, self._make_router))
        self._joined(self.nodes[number])
        return number

    def _make_router(self, node: SimulatedNode) -> Router:
        """Make a node's router, and fill its table where the network is warm."""
        router = Router(
            node.key,
            store=NodeStore(node.address, capacity=self._capacity),
            reading=self._reading,
            random=self._bytes,
            address_of=self.keyring.address_of,
            maintain=self._maintain,
        )
        if self._tables is not None and node.number < len(self._tables.counts):
            for link in (self.fabric.between(node.number, peer) for peer in self.fabric.peers(node.number)):
                self._meet(router, link)
            for number, label, form in self._tables.of(node.number):
                known = self.nodes[number]
                router.store.discover(
                    known.address, label, key=known.key, version=PROTOCOL_VERSION, inverse_form=form, now=0.0
                )
        return router

    def _warm(
        self,
        edges: Iterable[tuple[int, int]],
        latency: float | Callable[[int, int], float],
        per_bucket: int,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        """Build a network that has no node yet, and compute what each would know after a long time."""
        for a, b, seconds in self._planned(edges, latency):
            self._add_up_to(max(a, b))
            self.fabric.link(a, b, seconds)
        addresses = [node.address for node in self.nodes]
        self._tables = sample(self.fabric, addresses, per_bucket=per_bucket, progress=progress)

    def build(self, edges: Iterable[tuple[int, int]], *, latency: float | Callable[[int, int], float] = 0.01) -> None:
        """Add the nodes that edges name and that are not there yet, and link them.

        Parameters
        ----------
        edges : iterable of (int, int)
            As `topology` gives them.
        latency : float or callable
            Seconds one way, or what gives them for a pair of nodes.

        Raises
        ------
        CjdnsMisuseError
            If an edge cannot be added. None is, then.
        """
        planned = self._planned(edges, latency)
        for a, b, seconds in planned:
            self._add_up_to(max(a, b))
            self.link(a, b, latency=seconds)

    def _add_up_to(self, number: int) -> None:
        while len(self.nodes) <= number:
            self.add_node()

    def _planned(
        self, edges: Iterable[tuple[int, int]], latency: float | Callable[[int, int], float]
    ) -> list[tuple[int, int, float]]:
        """Return edges with their latencies, or raise CjdnsMisuseError before anything is built from them."""
        planned: dict[tuple[int, int], tuple[int, int, float]] = {}
        degrees: Counter[int] = Counter()
        for a, b in _pairs(edges):
            for node, other in ((a, b), (b, a)):
                if node < len(self.nodes):
                    self._alive(node)
                    linked = self.fabric.peers(node)
                else:
                    linked = []
                degrees[node] += 1
                if other in linked or degrees[node] + len(linked) > MOST_LINKS:
                    raise CjdnsMisuseError(
                        f"{a} and {b}", where="edges", expected=f"pairs not linked yet, {MOST_LINKS} links for a node"
                    )
            if a == b or (min(a, b), max(a, b)) in planned:
                raise CjdnsMisuseError(f"{a} and {b}", where="edges", expected="two nodes, each pair once")
            seconds = latency
            if callable(latency):
                seconds = result_of(latency, a, b, name="latency", expected="a function of two", error=CjdnsMisuseError)
            planned[min(a, b), max(a, b)] = (a, b, check_latency(seconds))
        return list(planned.values())

    def link(self, a: int, b: int, *, latency: float = 0.01) -> Link:
        """Join two nodes: each learns the other as a direct peer.

        Parameters
        ----------
        a, b : int
            Nodes that are not linked.
        latency : float
            Seconds one way.

        Raises
        ------
        CjdnsMisuseError
            If they cannot be linked.
        """
        one, other = self._alive(a), self._alive(b)
        routers = (one.router, other.router)  # a warm table is made from the links there were at first
        link = self.fabric.link(a, b, latency)
        self._meet(routers[0], link)
        self._meet(routers[1], self.fabric.between(b, a))
        self._joined(one)
        self._joined(other)
        return link

    def _meet(self, router: Router, link: Link) -> None:
        """Let a router know the direct peer at the other end of a link."""
        peer = self.nodes[link.b]
        router.store.discover(
            peer.address,
            self.fabric.switches[link.a].label_of(link.interface_a),
            key=peer.key,
            version=PROTOCOL_VERSION,
            inverse_form=V3X5X8.form_of(self.fabric.switches[link.b].label_of(link.interface_b)),
            now=self.now,
        )

    def unlink(self, a: int, b: int) -> None:
        """Take a link away: both ends forget every route that begins with it, and messages on it are lost.

        Raises
        ------
        CjdnsMisuseError
            If there is none.
        """
        found = self.fabric.between(a, b)
        self._alive(a)
        self._alive(b)
        for node, interface in ((a, found.interface_a), (b, found.interface_b)):
            label = self.fabric.switches[node].label_of(interface)
            self.nodes[node].router.store.purge(label)
        self.fabric.unlink(a, b)
        self._parted(a, b)

    def remove_node(self, node: int) -> None:
        """Let a node leave with all its links; its number is not used again. CjdnsMisuseError if it is not there."""
        leaver = self._alive(node)
        for peer in self.fabric.peers(node):
            self.unlink(node, peer)
        leaver.alive = False
        del self._by_address[leaver.address]

    def lie(self, node: int, lie: Lie | str) -> None:
        """Make a node answer with lies from now on.

        Parameters
        ----------
        node : int
        lie : Lie or str
            Which ones; see `liars.Lie`.

        Raises
        ------
        CjdnsMisuseError
            If there is no such node or lie.
        """
        liar = self._alive(node)
        chosen = next((each for each in Lie if isinstance(lie, Lie | str) and lie in (each, each.value)), None)
        if chosen is None:
            known = ", ".join(each.value for each in Lie)
            raise CjdnsMisuseError(shown(lie), where="lie", expected=f"one of {known}")
        liar.router.answers = LyingResponder(
            liar.router.answers,
            chosen,
            random=self._generator(f"liar {node}"),
            keyring=self.keyring,
            others=self.nodes,
            own=liar.address,
        )

    def _alive(self, node: int) -> SimulatedNode:
        if not isinstance(node, int) or not 0 <= node < len(self.nodes) or not self.nodes[node].alive:
            raise CjdnsMisuseError(f"no node {shown(node)}", where="Simulator", expected="a node that is there")
        return self.nodes[node]

    def alive(self) -> list[int]:
        """Return the numbers of the nodes that are there."""
        return [node.number for node in self.nodes if node.alive]

    def _number(self, node: int) -> int:
        if not isinstance(node, int) or not 0 <= node < len(self.nodes):
            raise CjdnsMisuseError(f"no node {shown(node)}", where="Simulator", expected=f"0..{len(self.nodes) - 1}")
        return node
