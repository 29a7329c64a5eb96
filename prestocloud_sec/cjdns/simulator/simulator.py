# SPDX-License-Identifier: Apache-2.0
"""A deterministic network of routers: real labels, real messages, simulated time.

Theory of operation
-------------------
Every node is a `Router` with its `NodeStore`, and a `Switch` in the `Fabric`. Events wait in a heap, ordered by time
and then by the order in which they were made; the only sources of chance are generators seeded from the simulator's
seed. So the same calls with the same seed give the same events, as `Simulator.trace` (a hash over all of them) shows.

There are two kinds of event: a message arrives at a node, or a node has something to do on its own (a question times
out, a round of maintenance is due). What a node does in answer is walked through the fabric at once (see `fabric`) and
becomes an arrival, unless it gets lost.

Left out: CryptoAuth sessions and the time they take, switch errors on their way back (a question to a dead route simply
times out), congestion. The sender of a message is what the simulator says it is, as a session would.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from math import inf

from prestocloud_sec.cjdns.errors import CjdnsError, CjdnsMisuseError
from prestocloud_sec.cjdns.keys import Address
from prestocloud_sec.cjdns.routing._checks import check_callable, check_time, check_type
from prestocloud_sec.cjdns.routing.messages import Query, Reply, decode_message
from prestocloud_sec.cjdns.routing.router import Action, SearchDone, Send
from prestocloud_sec.cjdns.routing.search import USER_LIMITS, SearchLimits
from prestocloud_sec.cjdns.simulator._agenda import Agenda
from prestocloud_sec.cjdns.simulator._drawing import network_svg, summary_html
from prestocloud_sec.cjdns.simulator.fabric import Arrival
from prestocloud_sec.cjdns.simulator.metrics import Metrics, SearchRecord, tables
from prestocloud_sec.cjdns.simulator.network import Network
from prestocloud_sec.cjdns.simulator.node import SimulatedNode
from prestocloud_sec.cjdns.switch import RouteLabel
from prestocloud_sec.wire import result_of, shown, whole

__all__ = ["Simulator"]

_MAX_RECORDS = 1_000_000
_PROGRESS_EVERY = 4096


class Simulator(Network):
    """A network of routers.

    Parameters
    ----------
    seed : int
        Decides everything that is left to chance.
    keys : {"registered", "hashed"}
        What kind of keys nodes get; see `keyring`.
    wire : bool
        Encode and decode every message, instead of handing over the object. The events are the same.
    loss : float
        Probability that one link loses one packet.
    maintain : bool
        Whether nodes search and ask without occasion (`Router.tick`).
    reading : {"closer", "literal"}
        How rule one is read; see `routing.rules`.
    capacity : int
        How many nodes a table holds besides direct peers.

    Attributes
    ----------
    now : float
        Simulated seconds.
    nodes : list of SimulatedNode
    events : int
        How many events were processed.
    lost : Counter
        Packets that reached nobody, by reason.
    records : deque of SearchRecord
        Searches that are over and were started by `search` or `start_search`, the last million.

    Examples
    --------
    >>> sim = Simulator(seed=1)
    >>> a, b, c = (sim.add_node() for _ in range(3))
    >>> _ = sim.link(a, b), sim.link(b, c)
    >>> record = sim.search(a, c)
    >>> record.found, record.hops, str(record.label)
    (True, 2, '0000.0000.0000.0153')
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        keys: str = "registered",
        wire: bool = False,
        loss: float = 0.0,
        maintain: bool = True,
        reading: str = "closer",
        capacity: int = 128,
    ) -> None:
        super().__init__(seed, keys=keys, loss=loss, maintain=maintain, reading=reading, capacity=capacity)
        check_type(wire, bool, "wire")
        self.events = 0
        self.lost: Counter[str] = Counter()
        self.records: deque[SearchRecord] = deque(maxlen=_MAX_RECORDS)
        self._wire = wire
        self._agenda = Agenda()
        self._wanted: dict[tuple[int, int], float] = {}  # (node, search id) of searches to record -> when they began

    # -- building --------------------------------------------------------------------------------------------------

    @classmethod
    def warm(
        cls,
        edges: Iterable[tuple[int, int]],
        *,
        seed: int = 0,
        latency: float | Callable[[int, int], float] = 0.01,
        per_bucket: int = 8,
        progress: Callable[[int, int], None] | None = None,
        keys: str = "registered",
        wire: bool = False,
        loss: float = 0.0,
        reading: str = "closer",
        capacity: int = 128,
    ) -> Simulator:
        """Make a network whose tables are as after a long time; see `warm`. Nodes do not maintain them any more.

        Parameters
        ----------
        edges : iterable of (int, int)
            As `topology` gives them.
        seed, keys, wire, loss, reading, capacity
            As of `Simulator`.
        latency : float or callable
            As of `build`.
        per_bucket : int
            How many nodes of each bucket a table has.
        progress : callable, optional
            Called with the number of tables done and their total.

        Notes
        -----
        What a node knows is computed at once for all nodes; its table is filled from that when the node is first met
        with. So a network of ten thousand nodes costs memory for those that something happens to.
        """
        made = cls(seed, keys=keys, wire=wire, loss=loss, maintain=False, reading=reading, capacity=capacity)
        made._warm(edges, latency, per_bucket, progress)
        return made

    def _joined(self, node: SimulatedNode) -> None:
        if self._maintain or node.made:
            self._reschedule(node)

    def _parted(self, a: int, b: int) -> None:
        dropped = self._agenda.drop(lambda node, back: self.fabric.broken(node, back, (a, b)))
        if dropped:
            self.lost["LINK_DOWN"] += dropped

    # -- searching -------------------------------------------------------------------------------------------------

    def start_search(self, node: int, target: int | Address, *, limits: SearchLimits = USER_LIMITS) -> None:
        """Let a node begin to search; what comes of it will be in `records`.

        Parameters
        ----------
        node : int
            Who searches.
        target : int or Address
            For whom: a node, or any address.
        limits : SearchLimits
        """
        seeker = self._alive(node)
        if not isinstance(limits, SearchLimits):
            raise CjdnsMisuseError(shown(limits), where="limits", expected="SearchLimits")
        address = target if isinstance(target, Address) else self.nodes[self._number(target)].address
        identity, actions = seeker.router.search(address, now=self.now, limits=limits)
        self._wanted[node, identity] = self.now
        self._perform(seeker, actions)

    def search(self, node: int, target: int | Address, *, limits: SearchLimits = USER_LIMITS) -> SearchRecord:
        """Let a node search, and run until the search is over.

        Parameters and errors as in `start_search`.

        Returns
        -------
        SearchRecord
        """
        before = len(self._wanted)
        self.start_search(node, target, limits=limits)
        while len(self._wanted) > before:
            self._step()
        return self.records[-1]

    # -- running ---------------------------------------------------------------------------------------------------

    def run(
        self,
        until: float | None = None,
        *,
        progress: Callable[[float, int], None] | None = None,
        most: int | None = None,
    ) -> int:
        """Process events.

        Parameters
        ----------
        until : float, optional
            Up to this time, in simulated seconds. Where not given: until nothing is left to do, which never comes while
            nodes maintain their tables; then `most` is needed.
        progress : callable, optional
            Called now and then with the time and the number of events processed so far.
        most : int, optional
            Most events to process.

        Returns
        -------
        int
            How many were processed.

        Raises
        ------
        CjdnsMisuseError
            If an argument has the wrong type; or if there is no end to it: neither `until` nor `most`, while nodes
            maintain their tables.
        """
        if isinstance(until, float) and until == inf:
            until = None
        if until is not None:
            check_time(until, "until")
        if most is not None:
            most = whole(most, "most", None, error=CjdnsMisuseError)
        if progress is not None:
            check_callable(progress, "progress")
        if until is None and most is None and self._maintain and any(node.alive for node in self.nodes):
            raise CjdnsMisuseError("would never end", where="run", expected="until or most, as nodes maintain tables")
        done = 0
        while self._agenda.due(until) and (most is None or done < most):
            self._step()
            done += 1
            if progress is not None and done % _PROGRESS_EVERY == 0:
                _report(progress, self.now, done)
        if until is not None and until > self.now and (most is None or done < most):
            self.now = float(until)
        if progress is not None:
            _report(progress, self.now, done)
        return done

    @property
    def trace(self) -> str:
        """A hash over all events so far: their times, places and labels. Equal traces, equal runs."""
        return self._agenda.trace

    def _step(self) -> None:
        """Process the next event."""
        time, number, source, label, message = self._agenda.take()
        self.now = time
        self.events += 1
        node = self.nodes[number]
        if not node.alive:
            return
        if label is not None and message is not None:
            self._arrive(node, self.nodes[source], label, message)
        elif time == node.tick_at:
            node.tick_at = float("inf")
            self._perform(node, node.router.tick(time))

    def _arrive(
        self, node: SimulatedNode, sender: SimulatedNode, label: RouteLabel, message: Query | Reply | bytes
    ) -> None:
        if isinstance(message, bytes):
            try:
                message = decode_message(message)
            except CjdnsError:
                self.lost["UNREADABLE"] += 1
                return
        actions = node.router.received(message, address=sender.address, key=sender.key, label=label, now=self.now)
        self._perform(node, actions)

    def _perform(self, node: SimulatedNode, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Send):
                self._send(node, action)
            else:
                self._finished(node, action)
        self._reschedule(node)

    def _send(self, node: SimulatedNode, send: Send) -> None:
        node.messages_sent += 1
        message: Query | Reply | bytes = send.message
        if self._wire:
            message = send.message.encode()
            node.bytes_sent += len(message)
        where = self.fabric.walk(node.number, send.label)
        if not isinstance(where, Arrival):
            self.lost[where.reason] += 1
        elif self.nodes[where.node].address != send.address:
            self.lost["WRONG_NODE"] += 1  # the inner session is with somebody else: it does not decrypt there
        else:
            self._agenda.put(self.now + where.latency, where.node, node.number, where.back, message)

    def _reschedule(self, node: SimulatedNode) -> None:
        due = node.router.next_tick
        if due is not None and due < node.tick_at:
            node.tick_at = max(due, self.now)
            self._agenda.put(node.tick_at, node.number)

    def _finished(self, node: SimulatedNode, done: SearchDone) -> None:
        began = self._wanted.pop((node.number, done.id), None)
        if began is not None:
            self.records.append(
                SearchRecord.of(node.number, done.search, began, self.now, self._route_hops(node, done))
            )

    def _route_hops(self, node: SimulatedNode, done: SearchDone) -> int:
        if done.search.found is None:
            return -1
        where = self.fabric.walk(node.number, done.search.found.label)
        return where.hops if isinstance(where, Arrival) else -1

    # -- looking ---------------------------------------------------------------------------------------------------

    def metrics(self) -> Metrics:
        """Return what happened so far as tables (numpy structured arrays); see `metrics.Metrics`."""
        return tables(self.nodes, self.records, self.fabric)

    def __repr__(self) -> str:
        links = len(self.fabric.links())
        size = f"{len(self.alive())} nodes, {links} links"
        return f"Simulator(seed={shown(self.seed)}, {size}, {self.now:.3f} s, {self.events} events)"

    def _repr_html_(self) -> str:
        """Return a summary, and for a small network its picture."""
        return summary_html(self)

    def _repr_svg_(self) -> str | None:
        """Draw the network; None for more than a hundred nodes."""
        return network_svg(self)


def _report(progress: Callable[[float, int], None], now: float, done: int) -> None:
    result_of(progress, now, done, name="progress", expected="a function of two", error=CjdnsMisuseError)
