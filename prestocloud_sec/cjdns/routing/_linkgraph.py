# SPDX-License-Identifier: Apache-2.0
"""What a node knows of the network as a graph of links, and the best path to every node in it.

Theory of operation
-------------------
A `Link` says: from `parent`, the route `label` leads to `child`, at a certain cost. Its label is in the parent's own
encoding scheme, the first director in its smallest (canonical) form; it usually is one hop, but may be several as long
as nobody told which nodes lie in between. The root of the graph is this node itself.

A path from us is *followed* through the graph by taking, at each node, the link whose label the rest of the path begins
with. What is left where no link fits any more hangs below the last node as a new link; and a link that passes through a
node learnt later is split there. So of the labels of a node's links none begins with another, and no two links fit.

The *best path* to a node is the cheapest row of links from the root whose labels can be spliced into one. Splicing has
two limits. A label holds 59 bits of directors. And every switch writes the director of the way back into the room that
the director of the way forward leaves; so where the way into a node was written in a wider form (`inverse_form`, an
index into that node's scheme) than the way out of it, the director of the way out is written in that wider form, too.
Both limits depend on the path so far, so that a node whose cheapest path is too long to be extended hides what lies
behind it on other paths; the C code behaves so, too.

Best paths are kept, not searched for. When links change, the nodes whose best path may have gone are set aside and
settled again in order of cost, as in Dijkstra's algorithm, from those that were not touched (Ramalingam and Reps, "An
incremental algorithm for a generalization of the shortest-path problem", 1996). Between paths of equal cost the
smaller label wins, so that the outcome does not depend on the order of events. The tree of best paths has no loop,
because every link costs something.

Behaviour: cjdns v21.1, ``dht/dhtcore/NodeStore.c`` (``extendRoute``, ``discoverLink``, ``findBestParent``).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator

from prestocloud_sec.cjdns.errors import LabelError
from prestocloud_sec.cjdns.keys import Address, PublicKey
from prestocloud_sec.cjdns.routing._directors import canonical_directors_of
from prestocloud_sec.cjdns.switch.label import MAX_ROUTE_BITS
from prestocloud_sec.cjdns.switch.scheme import EncodingScheme

__all__ = ["INITIAL_COST", "MAXIMUM_COST", "MINIMUM_COST", "MULTI_HOP_COST", "Entry", "Link", "LinkGraph"]

MINIMUM_COST = 1024
"""What a link costs at least."""

INITIAL_COST = 1 << 20
"""What a link costs that nothing is known about: replies bring it down."""

MULTI_HOP_COST = 1 << 20
"""What a link of several hops costs at least, so that a known way through the nodes in between is preferred."""

MAXIMUM_COST = (1 << 32) - 1
"""What a link costs at most."""

_WINDOW = 8  # a reply takes off one part in so many, a timeout adds it again


class Entry:
    """A node of the graph, with its best path: `label` 0 and `best` None where no path leads to it.

    `cost` is the sum over the links of that path. What the graph itself does not use (`bucket`, `key`, `version`,
    `heard`, `latency`, `view`) is its owner's; `view` is emptied whenever the best path may have changed.
    """

    __slots__ = (
        "address", "best", "bucket", "cost", "directors", "heard", "incoming", "key", "label", "latency", "metric",
        "outgoing", "scheme", "version", "view",
    )  # fmt: skip

    def __init__(self, address: Address, scheme: EncodingScheme) -> None:
        self.address = address
        self.metric = address.metric
        self.set_scheme(scheme)
        self.label = 0
        self.cost = 0
        self.best: Link | None = None
        self.incoming: list[Link] = []
        self.outgoing: dict[int, Link] = {}
        self.bucket = 0
        self.key: PublicKey | None = None
        self.version = 0
        self.heard = 0.0
        self.latency: float | None = None
        self.view: object = None

    def set_scheme(self, scheme: EncodingScheme) -> None:
        """Set the scheme of the node's switch; no link begins there."""
        self.scheme = scheme
        self.directors = canonical_directors_of(scheme)


class Link:
    """A way from one node to another; see the module. `serial` counts the links of a graph."""

    __slots__ = ("child", "cost", "form", "inverse_form", "label", "multi_hop", "parent", "serial")

    def __init__(self, parent: Entry, child: Entry, label: int, inverse_form: int, cost: int) -> None:
        self.parent = parent
        self.child = child
        self.label = label
        self.inverse_form = inverse_form
        self.form, width = parent.directors.form_and_width(label)
        self.multi_hop = label.bit_length() - 1 != width
        self.serial = 0
        self.set_cost(cost)

    def set_cost(self, cost: int) -> None:
        """Set the cost, within the limits of a link of its kind."""
        self.cost = min(max(cost, MULTI_HOP_COST if self.multi_hop else MINIMUM_COST), MAXIMUM_COST)

    def replied(self) -> None:
        """Make the link cheaper by an eighth."""
        self.set_cost(self.cost - self.cost // _WINDOW)

    def timed_out(self) -> None:
        """Make the link dearer by a seventh, which is what a reply takes off."""
        self.set_cost(self.cost * _WINDOW // (_WINDOW - 1))

    def route(self) -> int:
        """Return the label of the parent's best path and this link after it, or 0 where they make none."""
        parent = self.parent
        label, way_in = self.label, parent.best
        if way_in is not None and way_in.inverse_form > self.form:
            try:
                label = int(parent.scheme.convert_label(label, way_in.inverse_form))
            except LabelError:
                return 0
        before = parent.label.bit_length() - 1
        if before < 0 or before + label.bit_length() - 1 > MAX_ROUTE_BITS:
            return 0
        return (label ^ 1) << before ^ parent.label


class LinkGraph:
    """Links and nodes seen from one node, and the best path to each. Knows no limits and no time.

    Parameters
    ----------
    own : Address
        The node all paths begin at.
    scheme : EncodingScheme
        Its switch's scheme.
    """

    __slots__ = ("entries", "link_count", "reachable", "root", "serial")

    def __init__(self, own: Address, scheme: EncodingScheme) -> None:
        self.root = Entry(own, scheme)
        self.root.label = 1
        self.entries: dict[Address, Entry] = {}
        self.reachable: dict[int, Entry] = {}
        self.link_count = 0
        self.serial = 0

    def links(self) -> Iterator[Link]:
        """Yield every link, those of this node first."""
        for entry in (self.root, *self.entries.values()):
            yield from entry.outgoing.values()

    def is_peer(self, entry: Entry) -> bool:
        """Tell whether a single hop leads to a node."""
        return any(link.parent is self.root and not link.multi_hop for link in entry.incoming)

    # -- following a path ----------------------------------------------------------------------------------------------

    def follow(self, path: int, start: Entry | None = None) -> tuple[Entry, int, list[Link]]:
        """Walk a path over known links, from us or from another node.

        Returns
        -------
        Entry
            The node where the known links end.
        int
            What is left of the path there, canonical in that node's scheme: 1 at the end of the path, 0 if the rest is
            no route in that scheme.
        list of Link
            The links taken.
        """
        at, rest, taken = start or self.root, path, list[Link]()
        while rest > 1:
            rest = at.directors.canonical(rest)
            link = _fitting_link(at, rest)
            if link is None:
                break
            taken.append(link)
            rest >>= link.label.bit_length() - 1
            at = link.child
        return at, rest, taken

    # -- changing the graph --------------------------------------------------------------------------------------------

    def add(self, entry: Entry) -> None:
        """Take a node in; no link leads to it yet."""
        self.entries[entry.address] = entry

    def attach(self, parent: Entry, child: Entry, label: int, inverse_form: int) -> None:
        """Add a link, and let it split those that pass through its child. Best paths are settled.

        It hangs below the last known node on its route, and is left out where that leads to a known node anyway, or
        through its own child.
        """
        touched: dict[Entry, None] = {}
        waiting = [(parent, child, label, inverse_form, INITIAL_COST)]
        while waiting:  # every round takes links out and puts shorter ones up, so the rounds end
            parent, child, label, inverse_form, cost = waiting.pop()
            at, rest, taken = self.follow(label, parent)
            touched[child] = None
            if rest < 2 or at is child or any(link.child is child for link in taken):
                continue
            width = rest.bit_length() - 1
            longer = (other for other in at.outgoing.values() if other.label.bit_length() - 1 > width)
            for other in [other for other in longer if (other.label ^ rest) & ((1 << width) - 1) == 0]:
                self._take_out(other)
                waiting.append((child, other.child, other.label >> width, other.inverse_form, other.cost))
            self._insert(Link(at, child, rest, inverse_form, cost))
        self.settle(touched)

    def detach(self, links: Iterable[Link]) -> None:
        """Remove links. Best paths are settled."""
        touched: dict[Entry, None] = {}
        for link in links:
            self._take_out(link)
            if link.child.best is link:
                touched[link.child] = None
        if touched:
            self.settle(touched)

    def forget(self, entry: Entry) -> None:
        """Remove a node and all its links. Best paths are settled."""
        gone = [*entry.incoming, *entry.outgoing.values()]
        del self.entries[entry.address]
        self.detach(gone)

    def _insert(self, link: Link) -> None:
        link.serial = self.serial = self.serial + 1
        link.parent.outgoing[link.label] = link
        link.child.incoming.append(link)
        self.link_count += 1

    def _take_out(self, link: Link) -> None:
        del link.parent.outgoing[link.label]
        link.child.incoming.remove(link)
        self.link_count -= 1

    def reprice(self, links: Iterable[Link]) -> None:
        """Settle best paths after the costs of links have changed."""
        self.settle([link.child for link in links])

    # -- best paths ----------------------------------------------------------------------------------------------------

    def settle(self, touched: Iterable[Entry]) -> None:
        """Find the best paths again after the links into the nodes `touched` have changed in any way."""
        waiting: list[tuple[int, int, int, Link]] = []
        self._unsettle(touched, waiting)
        while waiting:
            cost, label, _, link = heapq.heappop(waiting)
            child = link.child
            if child.label and (child.cost, child.label) <= (cost, label):
                continue
            if link.parent.cost + link.cost != cost or link.route() != label:
                continue  # the parent has found a better path since; it has put this link in again
            if child.label:  # a path got better that nobody had touched: what hangs on it follows
                self._unsettle((child,), waiting)
            child.best, child.cost, child.label = link, cost, label
            self.reachable[child.metric] = child
            for onward in child.outgoing.values():
                _offer(onward, waiting)

    def _unsettle(self, entries: Iterable[Entry], waiting: list[tuple[int, int, int, Link]]) -> None:
        """Take away the best paths of nodes and of all that hang on them, and put the links into them up for choice."""
        aside: list[Entry] = []
        stack = list(entries)
        while stack:
            entry = stack.pop()
            entry.view = None
            stack += [link.child for link in entry.outgoing.values() if link.child.best is link]
            entry.best, entry.label, entry.cost = None, 0, 0
            self.reachable.pop(entry.metric, None)
            aside.append(entry)
        for entry in aside:
            for link in entry.incoming:
                _offer(link, waiting)


def _offer(link: Link, waiting: list[tuple[int, int, int, Link]]) -> None:
    """Put a link up as a way to its child, if a path leads to its parent and can be extended by it."""
    if link.parent.label:
        label = link.route()
        if label:
            heapq.heappush(waiting, (link.parent.cost + link.cost, label, link.serial, link))


def _fitting_link(at: Entry, rest: int) -> Link | None:
    """Return the link out of a node whose label `rest` begins with."""
    outgoing = at.outgoing
    if outgoing and rest:
        for width in range(at.scheme.forms[0].width, rest.bit_length()):
            link = outgoing.get(rest & ((1 << width) - 1) | 1 << width)
            if link is not None:
                return link
    return None
