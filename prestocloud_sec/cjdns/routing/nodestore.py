# SPDX-License-Identifier: Apache-2.0
"""The node store: which nodes a router knows, and the best path to each.

`_linkgraph` keeps links and best paths. This module adds the rules of a router's table on top of it: what may come in,
what goes when it is full, what one's own address in an answer means, and the lookups that searches and forwarding make.

Who may come in
---------------
A path is either proven, by an authenticated packet that came over it, or told by another node. Both are discovered
alike: whoever tells a path lies on it, and could break it anyway. What nobody can talk away is a direct peer: a
single-hop path that leads to a peer leads to nobody else until it is purged. Our own address is never taken in, nor a
path that visits a node twice.

`_eviction` has the rules for a full store.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from prestocloud_sec.cjdns.errors import CjdnsMisuseError
from prestocloud_sec.cjdns.keys import Address, PublicKey
from prestocloud_sec.cjdns.routing._checks import check_time, check_type
from prestocloud_sec.cjdns.routing._eviction import spare_links, worst
from prestocloud_sec.cjdns.routing._linkgraph import Entry, Link, LinkGraph
from prestocloud_sec.cjdns.routing.known import KnownLink, Node, table, view
from prestocloud_sec.cjdns.routing.metric import bucket_of_metrics, metric
from prestocloud_sec.cjdns.switch.label import MAX_ROUTE_BITS, RouteLabel
from prestocloud_sec.cjdns.switch.scheme import V3X5X8, EncodingScheme
from prestocloud_sec.wire import items_of, shown

if TYPE_CHECKING:
    from prestocloud_sec.cjdns.routing.metric import AddressLike

__all__ = ["KnownLink", "Node", "NodeStore"]

_NOBODY: frozenset[Address] = frozenset()
_MAX_VERSION = (1 << 32) - 1  # what a message has room for


class NodeStore:
    """A router's table of nodes and links, with the best path to every node.

    Parameters
    ----------
    own : Address
        The address of the router itself.
    scheme : EncodingScheme
        The scheme of its own switch.
    capacity : int
        How many nodes to keep, direct peers not counted.
    link_capacity : int
        How many links to keep; more than there can be nodes.

    Raises
    ------
    CjdnsMisuseError
        If an argument has the wrong type or a capacity makes no sense.

    Examples
    --------
    >>> from prestocloud_sec.cjdns.routing import NodeStore
    >>> from prestocloud_sec.cjdns import Address, RouteLabel
    >>> us, a, b = (Address.parse(f"fc00::{i}") for i in (1, 2, 3))
    >>> store = NodeStore(us)
    >>> store.discover(a, RouteLabel(0x13), now=0.0).label
    RouteLabel('0000.0000.0000.0013')
    >>> store.discover(b, RouteLabel(0x15).splice(0x13), now=0.0).label  # behind a's slot 2
    RouteLabel('0000.0000.0000.0153')
    >>> [str(node.address)[-4:] for node in store.nearest(b)], store.next_hop(b).label
    (['0003', '0002'], RouteLabel('0000.0000.0000.0153'))
    """

    __slots__ = ("_graph", "capacity", "link_capacity", "own", "scheme")

    def __init__(
        self, own: Address, *, scheme: EncodingScheme = V3X5X8, capacity: int = 128, link_capacity: int = 4096
    ) -> None:
        check_type(own, Address, "own")
        check_type(scheme, EncodingScheme, "scheme")
        _whole(capacity, "capacity", 1)
        _whole(link_capacity, "link_capacity", 1)
        self.own = own
        self.scheme = scheme
        self.capacity = capacity
        self.link_capacity = link_capacity
        self._graph = LinkGraph(own, scheme)

    # -- what is known -------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """How many nodes a path leads to."""
        return len(self._graph.reachable)

    def __iter__(self) -> Iterator[Node]:
        """Yield every node that a path leads to, the closest to us in address space first."""
        return iter(self.nearest(self.own, max(1, len(self))))

    def __contains__(self, address: object) -> bool:
        entry = self._graph.entries.get(address) if isinstance(address, Address) else None
        return entry is not None and entry.label != 0

    def get(self, address: Address) -> Node | None:
        """Return a node that a path leads to, or None."""
        check_type(address, Address, "address")
        entry = self._graph.entries.get(address)
        return view(entry) if entry is not None and entry.label else None

    def by_path(self, label: int) -> Node | None:
        """Return the node that a path from us leads to, with its best path, or None if that is not known.

        Raises
        ------
        LabelError
            If `label` is no 64-bit number.
        """
        at, rest, taken = self._graph.follow(RouteLabel(label))
        return view(at) if rest == 1 and taken and at.label else None

    def peers(self) -> list[Node]:
        """Return the direct peers in the order of their labels; `label` and `cost` are those of the direct link."""
        links = [link for label, link in sorted(self._graph.root.outgoing.items()) if not link.multi_hop]
        return [
            Node(peer.address, peer.key, RouteLabel(link.label), peer.version, peer.scheme, link.cost)
            for link in links
            for peer in (link.child,)
        ]

    def links(self) -> list[KnownLink]:
        """Return all links, ours first, then by where they begin, and by label."""
        own = self.own
        found = sorted(self._graph.links(), key=lambda x: (x.parent.address != own, x.parent.metric, x.label))
        return [
            KnownLink(x.parent.address, x.child.address, RouteLabel(x.label), x.inverse_form, x.cost) for x in found
        ]

    def heard(self, address: Address) -> float | None:
        """Return the time at which a node was last discovered or replied, or None if it is not known."""
        check_type(address, Address, "address")
        entry = self._graph.entries.get(address)
        return entry.heard if entry is not None else None

    def latency(self, address: Address) -> float | None:
        """Return the rolling mean of a node's reply times in seconds, or None if it never replied."""
        check_type(address, Address, "address")
        entry = self._graph.entries.get(address)
        return entry.latency if entry is not None else None

    def least_recently_heard(self) -> Node | None:
        """Return the node to ping next: the one not heard of for longest; None if there is none."""
        known = self._graph.reachable.values()
        return view(min(known, key=lambda entry: (entry.heard, entry.metric))) if known else None

    # -- lookups -------------------------------------------------------------------------------------------------------

    def nearest(self, target: AddressLike, count: int = 8, *, exclude: Collection[Address] = _NOBODY) -> list[Node]:
        """Return up to `count` nodes that a path leads to, the closest to `target` first.

        Parameters
        ----------
        target : Address or bytes-like of 16 bytes
            Any point of the address space.
        count : int
            How many nodes at most.
        exclude : collection of Address
            Nodes to leave out.
        """
        point = metric(target)
        _whole(count, "count", 0)
        reachable = self._graph.reachable
        order = sorted(reachable, key=point.__xor__)
        if exclude is not _NOBODY:
            left_out = _metrics(exclude)
            order = [each for each in order if each not in left_out]
        return [view(reachable[each]) for each in order[:count]]

    def next_hop(self, destination: AddressLike) -> Node | None:
        """Choose the node to hand a packet to: a search of our own table with a single result.

        Returns
        -------
        Node or None
            The destination itself where a path to it is known; else the node closest to it, if it is closer than we
            are; else None. So from router to router the distance shrinks, and no packet circles.

        Notes
        -----
        PrEstoCloud deliverable, 3.2: a packet's next hop is selected as the answer to a search for its IPv6 destination
        is, "except in this case the selection contains only one node". cjdns v21 does not forward by address: there the
        result is where a search begins.
        """
        point = metric(destination)
        reachable = self._graph.reachable
        if not reachable:
            return None
        best = min(reachable, key=point.__xor__)
        return view(reachable[best]) if best ^ point < self._graph.root.metric ^ point else None

    # -- news ----------------------------------------------------------------------------------------------------------

    def discover(
        self,
        address: Address,
        path: int,
        *,
        key: PublicKey | None = None,
        version: int = 0,
        scheme: EncodingScheme = V3X5X8,
        inverse_form: int = 0,
        now: float,
    ) -> Node | None:
        """Learn that a path leads to a node.

        A path of one hop makes it a direct peer. A longer one is attached below the last known node on it. A node known
        already is updated.

        Parameters
        ----------
        address : Address
            The node at the end of the path.
        path : RouteLabel or int
            From us to the node.
        key, version, scheme
            What is known of the node; None and 0 leave what was known.
        inverse_form : int
            The form, in the node's own scheme, of the director by which it sends back towards us: `ei` in its messages.
        now : float
            Seconds on any clock that does not run backwards.

        Returns
        -------
        Node or None
            The node with its best path, which need not be `path`. None if nothing was learnt: the address is our own,
            the path leads to ourselves, visits a node twice, is longer than a label may be, cannot be read with the
            schemes of the nodes on it, is another direct peer's, or says of a nearer node that it has changed its
            scheme; or the table is full of better nodes.

        Raises
        ------
        LabelError
            If `path` is no 64-bit number.
        CjdnsMisuseError
            If an argument has the wrong type, or `inverse_form` is no form of `scheme`.
        """
        check_type(address, Address, "address")
        check_type(scheme, EncodingScheme, "scheme")
        if key is not None:
            check_type(key, PublicKey, "key")
        _whole(version, "version", 0, _MAX_VERSION)
        _whole(inverse_form, "inverse_form", 0)
        if inverse_form >= len(scheme.forms):
            raise CjdnsMisuseError(
                shown(inverse_form), where="inverse_form", expected=f"the index of one of {len(scheme.forms)} forms"
            )
        check_time(now)
        place = self._place(address, RouteLabel(path))
        if place is None:
            return None
        parent, label, known = place
        entry = self._entry(address, RouteLabel(path), scheme)
        if entry is None:
            return None
        entry.key = entry.key if key is None else key
        entry.version = version or entry.version
        entry.heard = now
        entry.view = None
        if known is not None and known.child is entry:
            if known.inverse_form != inverse_form:
                known.inverse_form = inverse_form
                self._graph.settle([entry])  # what hangs on it may have to be written wider, or not any more
        else:
            if known is not None:
                self._graph.detach([known])
            self._graph.attach(parent, entry, label, inverse_form)
            self._shrink(entry)
        return self.get(address)

    def reply(self, path: int, *, latency: float, now: float) -> bool:
        """Learn that a reply came over a path: every link of it gets cheaper by an eighth.

        Parameters
        ----------
        path : RouteLabel or int
            The path that was asked.
        latency : float
            Seconds from the question to the reply.
        now : float
            Seconds.

        Returns
        -------
        bool
            Whether the path is known.
        """
        check_time(latency, "latency")
        check_time(now)
        at, rest, taken = self._graph.follow(RouteLabel(path))
        if rest != 1 or not taken:
            return False
        at.heard = now
        at.latency = latency if at.latency is None else at.latency + (latency - at.latency) / 8
        for link in taken:
            link.replied()
        self._graph.reprice(taken)
        return True

    def timeout(self, path: int, *, now: float) -> bool:
        """Learn that no reply came over a path: its last link gets dearer by a seventh.

        Only the last one, because the links before it are known by the replies of the nodes before it.

        Returns
        -------
        bool
            Whether the path is known.
        """
        check_time(now)
        _, rest, taken = self._graph.follow(RouteLabel(path))
        if rest != 1 or not taken:
            return False
        taken[-1].timed_out()
        self._graph.reprice(taken[-1:])
        return True

    def purge(self, path: int) -> int:
        """Drop every link whose route begins with a path, and every node to which no other path leads then.

        This is what one's own address in an answer calls for: its path comes back to us, and so does all that is routed
        on from there (PrEstoCloud deliverable, 3.2: "a node SHOULD purge all entries from its table whose routes begin
        with that route"). It is also how a peer goes whose interface is down.

        Returns
        -------
        int
            How many nodes were dropped.

        Raises
        ------
        LabelError
            If `path` is no 64-bit number.
        CjdnsMisuseError
            If `path` has no hop: every route begins with that.
        """
        route = RouteLabel(path)
        if route < 2:
            raise CjdnsMisuseError(f"{route} has no hops", where="path", expected="a path to somewhere else")
        graph = self._graph
        before = {entry.metric for entry in graph.entries.values() if not entry.label}
        at, rest, taken = graph.follow(route)
        if rest == 1:
            graph.detach(taken[-1:])
        elif rest:
            graph.detach([link for link in at.outgoing.values() if RouteLabel(link.label).routes_through(rest)])
        # A path can be written in more than one way, so the rule is held to the letter as well.
        while beginning := [e for e in graph.reachable.values() if RouteLabel(e.label).routes_through(route)]:
            graph.detach([entry.best for entry in beginning if entry.best is not None])
        gone = [entry for entry in graph.entries.values() if not entry.label and entry.metric not in before]
        for entry in gone:
            graph.forget(entry)
        self._shrink()  # a peer that is none any more counts
        return len(gone)

    def remove(self, address: Address) -> bool:
        """Forget a node and all its links; nodes that only it led to are kept until their room is needed, unlisted.

        Returns
        -------
        bool
            Whether it was known.
        """
        check_type(address, Address, "address")
        entry = self._graph.entries.get(address)
        if entry is None:
            return False
        self._graph.forget(entry)
        return True

    # -- what may come in ----------------------------------------------------------------------------------------------

    def _place(self, address: Address, path: RouteLabel) -> tuple[Entry, int, Link | None] | None:
        """Return below which node, by which label and instead of which link a path hangs, or None if it must not."""
        if path.log2 > MAX_ROUTE_BITS:
            return None
        at, rest, taken = self._graph.follow(path)
        if address == self.own or rest == 0 or not (taken or rest > 1):
            return None
        if rest == 1:
            last = taken.pop()
            if last.child.address != address and last.parent is self._graph.root and not last.multi_hop:
                return None
            at, rest, known = last.parent, last.label, last
        else:
            known = None
        return None if any(link.child.address == address for link in taken) else (at, rest, known)

    def _entry(self, address: Address, path: RouteLabel, scheme: EncodingScheme) -> Entry | None:
        """Return the entry of a node, made new if need be; None if a far path says that its scheme has changed."""
        entry = self._graph.entries.get(address)
        if entry is None:
            entry = Entry(address, scheme)
            entry.bucket = bucket_of_metrics(entry.metric, self._graph.root.metric)
            self._graph.add(entry)
        elif entry.scheme != scheme:
            if entry.label and path.log2 > entry.label.bit_length() - 1:
                return None
            self._graph.detach(list(entry.outgoing.values()))  # their labels were in the old scheme
            entry.set_scheme(scheme)
        return entry

    def _shrink(self, newcomer: Entry | None = None) -> None:
        """Make room; `_eviction` says at whose expense."""
        graph = self._graph
        if graph.link_count > self.link_capacity:
            graph.detach(spare_links(graph, graph.link_count - self.link_capacity))
        while len(graph.entries) > self.capacity:
            counted = [entry for entry in graph.entries.values() if not graph.is_peer(entry)]
            if len(counted) <= self.capacity:
                break
            graph.forget(worst(graph, counted, newcomer, self.capacity))
            newcomer = None

    # -- for people ----------------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        counts = f"{len(self)} nodes, {len(self.peers())} of them peers, {self._graph.link_count} links"
        return f"NodeStore({self.own}: {counts})"

    def _repr_html_(self) -> str:
        """Show the store as a table in a notebook."""
        return table(repr(self), self._graph, [self._graph.entries[node.address] for node in self])


def _whole(value: object, where: str, least: int, most: int | None = None) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least or (most is not None and value > most):
        expected = f"an int of at least {least}" if most is None else f"an int from {least} to {most}"
        raise CjdnsMisuseError(shown(value), where=where, expected=expected)


def _metrics(addresses: Collection[Address]) -> set[int]:
    metrics = set()
    for address in items_of(addresses, "exclude", "a collection of Address", error=CjdnsMisuseError):
        check_type(address, Address, "exclude")
        metrics.add(address.metric)
    return metrics
