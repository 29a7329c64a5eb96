# SPDX-License-Identifier: Apache-2.0
"""Looking for a node: ask the closest known node for closer ones, add what it names, go on with those.

`Search` is the asker's side of one search, without I/O: `next` says whom to ask, `reply` and `timeout` say what came of
it. Who sends, counts the time and recognises replies is `router`.

Rules: PrEstoCloud deliverable, 3.2 ("Router"); cjdns v21.1, ``dht/dhtcore/SearchRunner.c`` and ``SearchStore.c``.

Theory of operation
-------------------
Candidates wait in a list, closest to the target last; one is asked at a time. What a reply names is double-checked
before anything is done with it (`admit`, rule one). What fails is dropped and counted, so that a liar costs a search
at most the requests that it can waste:

- **Rule one** (MUST): a node that is not closer to the target than the node that names it.
- A key that hashes into no address of fc00::/8.
- A route that cannot be: label 0, the answerer's own label (a loop of no hops), a route too long to be spliced.
- More than eight nodes: only the last eight, the best by the order of an honest reply, are looked at.
- **One's own address** (SHOULD): every route that begins with the route to it comes back through here, and is purged.

Rule two cannot be checked here: only the answerer knows which of its interfaces lead where. It is kept on its honour.

Ends: a search asks at most `SearchLimits.requests` nodes; every asked node is strictly closer to the target than the
one that named it, and no (address, label) is asked twice, so it can neither circle nor go on for ever, whatever it is
told. An address is asked again only by another route, after it did not answer by the first.

A node whose nominees do not answer is no longer believed: after `_DISTRUST` of them its other nominees wait until all
others have been asked. Otherwise one liar that names eight nodes next to the target that do not exist would use up the
requests before an honest path gets its turn.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from prestocloud_sec.cjdns.errors import AddressError, CjdnsMisuseError
from prestocloud_sec.cjdns.keys import Address, PublicKey
from prestocloud_sec.cjdns.routing._checks import address_from, check_callable, check_time, check_type
from prestocloud_sec.cjdns.routing.messages import FIND_NODE, GET_PEERS, REPLY_NODES, NodeEntry, check_entries
from prestocloud_sec.cjdns.routing.nodestore import NodeStore
from prestocloud_sec.cjdns.routing.rules import Reading, check_reading, may_name
from prestocloud_sec.cjdns.switch import SELF, RouteLabel
from prestocloud_sec.cjdns.switch.label import MAX_ROUTE_BITS
from prestocloud_sec.wire import whole

__all__ = ["DEFAULT_LIMITS", "USER_LIMITS", "Ask", "Faults", "Search", "SearchLimits", "Step", "admit"]

_MAX_CANDIDATES = 64
_ROUTES_PER_NODE = 3
_DISTRUST = 2


@dataclass(frozen=True, slots=True)
class SearchLimits:
    """How much one search may ask.

    Attributes
    ----------
    requests : int
        Most questions sent.
    requests_if_found : int
        Once the target has answered, the search ends as soon as this many have been sent.
    """

    requests: int
    requests_if_found: int

    def __post_init__(self) -> None:
        whole(self.requests, "SearchLimits.requests", 1, 1000, error=CjdnsMisuseError)
        whole(self.requests_if_found, "SearchLimits.requests_if_found", 1, self.requests, error=CjdnsMisuseError)


USER_LIMITS = SearchLimits(20, 3)
"""For a search that a packet waits for (cjdns v21.1, ``dht/Pathfinder.c``)."""

DEFAULT_LIMITS = SearchLimits(8, 8)
"""For a search that keeps the table fresh (cjdns v21.1, ``SearchRunner_DEFAULT_MAX_REQUESTS``)."""


class Ask(NamedTuple):
    """A question to send: ``fn`` for the target, or ``gp`` where the node asked is the target itself.

    Attributes
    ----------
    address, key
        The node to ask.
    label : RouteLabel
        The route to it.
    kind : bytes
        `FIND_NODE` or `GET_PEERS`.
    source : Address or None
        Who named the node; None where it was known before the search.
    """

    address: Address
    key: PublicKey | None
    label: RouteLabel
    kind: bytes
    source: Address | None


@dataclass(slots=True)
class Faults:
    """What a search was told that no honest node says, each discarded and counted."""

    rule_one: int = 0
    """Nodes that are not closer to the target than whoever named them."""
    bad_key: int = 0
    """Keys that hash into no address."""
    bad_route: int = 0
    """Labels that lead nowhere: 0, or the answerer's own place."""
    oversize: int = 0
    """Replies of more than eight nodes."""
    own_address: int = 0
    """Times one's own address came back (an honest node can say that too)."""
    too_long: int = 0
    """Routes that do not fit into a label any more (no lie)."""

    def lies(self) -> int:
        """Count what cannot have been said in good faith."""
        return self.rule_one + self.bad_key + self.bad_route + self.oversize


class Step(NamedTuple):
    """One question of a search: who was asked, how far from the target, by which route, named by whom, what came."""

    address: Address
    distance: int
    label: RouteLabel
    source: Address | None
    outcome: str


@dataclass(slots=True)
class _Asked:
    """What is known of an address that was asked: the routes tried, and whether it ever answered."""

    labels: list[int] = field(default_factory=list)
    answered: bool = False


class _Candidate(NamedTuple):
    rank: int  # minus the distance: the list is ascending, and the best is popped from its end
    label: int
    address: Address
    key: PublicKey | None
    source: Address | None


def admit(
    entry: NodeEntry,
    via: RouteLabel,
    *,
    own: Address,
    store: NodeStore,
    faults: Faults,
    of: Callable[[PublicKey], Address] = Address.from_key,
) -> tuple[Address, RouteLabel] | None:
    """Return address and route of a node in a reply, or None where it is no use; what was wrong is counted in `faults`.

    Parameters
    ----------
    entry : NodeEntry
        As it came.
    via : RouteLabel
        The route to the node that answers; what is returned begins with it.
    own : Address
        This node. Where the entry is this very node, all routes in `store` that begin with the route are purged.
    store : NodeStore
    faults : Faults
    of : callable
        The address of a key; raises AddressError where there is none.
    """
    check_entries((entry,), "entry")
    via = RouteLabel(via)
    check_type(own, Address, "own")
    check_type(store, NodeStore, "store")
    check_type(faults, Faults, "faults")
    try:
        address = address_from(of, entry.key)
    except AddressError:
        faults.bad_key += 1
        return None
    label = entry.label
    if label <= SELF or label >> 64:
        faults.bad_route += 1
        return None
    shift = via.bit_length() - 1
    fits = shift + label.bit_length() - 1 <= MAX_ROUTE_BITS
    if address == own:
        faults.own_address += 1
        if fits:
            store.purge(RouteLabel((label ^ 1) << shift ^ via))
        return None
    if not fits:
        faults.too_long += 1
        return None
    return address, RouteLabel((label ^ 1) << shift ^ via)


class Search:
    """The asker's side of one search.

    Parameters
    ----------
    store : NodeStore
        What this node knows. Discoveries are added; own addresses that come back are purged.
    own : Address
        This node.
    target : Address
        Whom to look for.
    limits : SearchLimits
        When to give up.
    reading : {"closer", "literal"}
        How rule one is read; see `rules`.
    address_of : callable
        The address of a key; raises AddressError where there is none.

    Attributes
    ----------
    steps : list of Step
        What was asked, in order.
    faults : Faults
        What was discarded.
    found : Ask or None
        How the target was reached when it answered first.
    """

    __slots__ = (
        "_address_of",
        "_asked",
        "_candidates",
        "_failures",
        "_later",
        "_limits",
        "_own",
        "_pending",
        "_point",
        "_reading",
        "_store",
        "faults",
        "found",
        "steps",
        "target",
    )

    def __init__(
        self,
        store: NodeStore,
        *,
        own: Address,
        target: Address,
        limits: SearchLimits = USER_LIMITS,
        reading: str = "closer",
        address_of: Callable[[PublicKey], Address] = Address.from_key,
    ) -> None:
        check_type(store, NodeStore, "store")
        check_type(own, Address, "own")
        check_type(target, Address, "target")
        check_type(limits, SearchLimits, "limits")
        check_callable(address_of, "address_of")
        self._store = store
        self._own = own
        self.target = target
        self._point = target.metric
        self._limits = limits
        self._reading: Reading = check_reading(reading)
        self._address_of = address_of
        self._candidates: list[_Candidate] = []
        self._later: list[_Candidate] = []
        self._asked: dict[Address, _Asked] = {}
        self._failures: dict[Address, int] = {}
        self._pending: Ask | None = None
        self.faults = Faults()
        self.found: Ask | None = None
        self.steps: list[Step] = []
        for node in reversed(store.nearest(target, limits.requests)):  # a store never holds its own address
            rank = -(node.address.metric ^ self._point)
            self._candidates.append(_Candidate(rank, node.label, node.address, node.key, None))

    @property
    def pending(self) -> Ask | None:
        """The question that is out, if one is."""
        return self._pending

    def next(self) -> Ask | None:
        """Return the next question to send, or None: the search is over.

        Raises
        ------
        CjdnsMisuseError
            If a question is still out: one node is asked at a time.
        """
        if self._pending is not None:
            raise CjdnsMisuseError("a question is still out", where="Search.next", expected="reply or timeout first")
        if len(self.steps) >= self._limits.requests:
            return None
        if self.found is not None and len(self.steps) >= self._limits.requests_if_found:
            return None
        while self._candidates or self._later:
            candidate = (self._candidates or self._later).pop()
            asked = self._asked.get(candidate.address)
            if asked is None:
                asked = self._asked[candidate.address] = _Asked()
            elif asked.answered or candidate.label in asked.labels or len(asked.labels) >= _ROUTES_PER_NODE:
                continue
            asked.labels.append(candidate.label)
            kind = GET_PEERS if candidate.address == self.target else FIND_NODE
            self._pending = Ask(candidate.address, candidate.key, RouteLabel(candidate.label), kind, candidate.source)
            return self._pending
        return None

    def timeout(self) -> None:
        """Take note that the node asked did not answer in time.

        Raises
        ------
        CjdnsMisuseError
            If no question is out.
        """
        ask = self._finish("timeout")
        if ask.source is not None:
            failures = self._failures[ask.source] = self._failures.get(ask.source, 0) + 1
            if failures == _DISTRUST:
                self._later += [c for c in self._candidates if c.source == ask.source]
                self._later.sort(key=_rank)
                del self._later[:-_MAX_CANDIDATES]
                self._candidates = [c for c in self._candidates if c.source != ask.source]

    def reply(self, nodes: tuple[NodeEntry, ...] | None, *, now: float) -> None:
        """Take the answer of the node asked.

        Parameters
        ----------
        nodes : tuple of NodeEntry, or None
            As `Reply.nodes` has them; checked here, whatever they are.
        now : float
            Seconds.

        Raises
        ------
        CjdnsMisuseError
            If no question is out.
        """
        check_time(now)
        if nodes is not None:
            check_entries(nodes, "nodes")
        ask = self._finish("reply")
        self._asked[ask.address].answered = True
        if ask.address == self.target:
            self.found = self.found or ask
        if not nodes:
            return
        if len(nodes) > REPLY_NODES:
            self.faults.oversize += 1
            nodes = nodes[-REPLY_NODES:]
        if ask.kind == FIND_NODE:
            for entry in nodes:
                self._named(entry, ask, now)

    def _finish(self, outcome: str) -> Ask:
        ask = self._pending
        if ask is None:
            raise CjdnsMisuseError("no question is out", where="Search", expected="next() first")
        self._pending = None
        self.steps.append(Step(ask.address, ask.address.metric ^ self._point, ask.label, ask.source, outcome))
        return ask

    def _named(self, entry: NodeEntry, ask: Ask, now: float) -> None:
        """Check one node of a reply; add it to the table and to the search."""
        admitted = admit(entry, ask.label, own=self._own, store=self._store, faults=self.faults, of=self._address_of)
        if admitted is None:
            return
        address, path = admitted
        metric = address.metric
        if not may_name(metric, ask.address.metric, self._point, self._reading):
            self.faults.rule_one += 1
            return
        node = self._store.get(address)
        if node is None or node.label.bit_length() > path.bit_length():  # news: a new node, or a shorter way to it
            node = self._store.discover(address, path, key=entry.key, version=entry.version, now=now)
        if node is not None and node.label.bit_length() < path.bit_length():
            path = node.label
        asked = self._asked.get(address)
        if asked is None or not (asked.answered or path in asked.labels):
            self._add(_Candidate(-(metric ^ self._point), path, address, entry.key, ask.address))

    def _add(self, candidate: _Candidate) -> None:
        waiting = self._candidates
        if candidate.source is not None and self._failures.get(candidate.source, 0) >= _DISTRUST:
            waiting = self._later
        insort(waiting, candidate, key=_rank)
        if len(waiting) > _MAX_CANDIDATES:
            del waiting[0]


def _rank(candidate: _Candidate) -> int:
    return candidate.rank
