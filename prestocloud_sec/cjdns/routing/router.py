# SPDX-License-Identifier: Apache-2.0
"""The router: it periodically searches for things, responds to searches, and says where packets go.

These are its three functions (PrEstoCloud deliverable, 3.2, "Router"): `Router.tick` and `Router.search`, `received`,
and `next_hop`. The router is sans-I/O: messages and `now` go in, a list of actions comes out; randomness is injected.

- `Send`: hand this message to the inner session of that node, for that route.
- `SearchDone`: a search is over; its `found` says how the target was reached, if it was.

Rules: cjdns v21.1, ``dht/dhtcore/RouterModule.c`` (transaction ids, time-outs), ``dht/dhtcore/SearchRunner.c`` (how
many searches), ``dht/dhtcore/Janitor.c`` (what is asked without occasion; simplified here to two kinds of work, see
`Router.tick`), ``dht/Pathfinder.c``.

What a remote party can make grow is bounded: at most `MAX_SEARCHES` searches and `MAX_OUT` questions at a time, and
`MAX_UNLISTED` nodes that asked not to be listed. A reply counts only if its transaction id is one of ours that is still
out, and it comes from the node that was asked; all others are dropped and counted in `strays`.
"""

from __future__ import annotations

import hmac
import os
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from prestocloud_sec.cjdns.constants import PROTOCOL_VERSION
from prestocloud_sec.cjdns.errors import CjdnsMisuseError
from prestocloud_sec.cjdns.keys import Address, PublicKey, drawn
from prestocloud_sec.cjdns.routing._checks import address_from, check_callable, check_time, check_type
from prestocloud_sec.cjdns.routing._directors import director_table_of
from prestocloud_sec.cjdns.routing.messages import GET_PEERS, REPLY_NODES, Query, Reply
from prestocloud_sec.cjdns.routing.nodestore import NodeStore
from prestocloud_sec.cjdns.routing.responder import Answers, Responder
from prestocloud_sec.cjdns.routing.rules import compatible
from prestocloud_sec.cjdns.routing.search import DEFAULT_LIMITS, USER_LIMITS, Faults, Search, SearchLimits, admit
from prestocloud_sec.cjdns.switch import SELF, V3X5X8, EncodingScheme, RouteLabel

if TYPE_CHECKING:
    from prestocloud_sec.cjdns.routing.known import Node

__all__ = ["MAX_OUT", "MAX_SEARCHES", "MAX_UNLISTED", "Action", "Router", "SearchDone", "Send"]

MAX_SEARCHES = 30
"""Searches at a time."""

MAX_OUT = 64
"""Questions at a time that belong to no search."""

MAX_UNLISTED = 1024
"""Nodes that asked not to be listed; beyond that the one that asked longest ago is forgotten."""

_TXID_PREFIX = b"00"  # what v20 and later put before their own id; the other prefix, 01, is for supernodes
_HANDLE_SIZE, _COOKIE_SIZE = 4, 8
_TXID_SIZE = len(_TXID_PREFIX) + _HANDLE_SIZE + _COOKIE_SIZE
_CYCLE = 1.0  # seconds between two rounds of maintenance, give or take half
_SEARCH_EVERY = 4
_MAX_PAGES = 257 // (REPLY_NODES - 1) + 1  # a page repeats the highest peer of the one before; a switch has 257


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message to a node by a route."""

    address: Address
    key: PublicKey | None
    label: RouteLabel
    message: Query | Reply


@dataclass(frozen=True, slots=True)
class SearchDone:
    """A search is over."""

    id: int
    search: Search


Action: TypeAlias = Send | SearchDone


class RoundTrips:
    """The mean round-trip time of the last 256 seconds (cjdns v21.1, ``dht/dhtcore/RouterModule.c``, "gmrt")."""

    __slots__ = ("_count", "_slots", "_total")

    WINDOW = 256.0
    INITIAL = 5.0
    _SLOT = 8.0

    def __init__(self) -> None:
        self._slots: deque[tuple[float, float, int]] = deque()
        self._total, self._count = self.INITIAL, 1  # the first guess counts as one measurement that never ages

    def add(self, seconds: float, now: float) -> None:
        """Take a measurement."""
        begin = now - now % self._SLOT
        if self._slots and self._slots[-1][0] == begin:
            _, total, count = self._slots.pop()
            self._slots.append((begin, total + seconds, count + 1))
        else:
            self._slots.append((begin, seconds, 1))
        self._total += seconds
        self._count += 1
        while self._slots[0][0] < begin - self.WINDOW:
            _, total, count = self._slots.popleft()
            self._total -= total
            self._count -= count

    @property
    def mean(self) -> float:
        """Seconds."""
        return max(self._total, 0.0) / self._count


@dataclass(slots=True)
class _Out:
    """A question that is out."""

    cookie: bytes
    address: Address
    label: RouteLabel
    kind: bytes
    sent: float
    deadline: float
    search: int | None
    pages: int = 0  # of a list of peers: how many were asked for before this one


class Router:
    """One node's router.

    Parameters
    ----------
    key : PublicKey
        This node's key.
    store : NodeStore, optional
        What is known already.
    version : int
        The protocol version to speak.
    scheme : EncodingScheme
        That of this node's switch.
    reading : {"closer", "literal"}
        How rule one is read; see `rules`.
    random : callable
        Returns as many random bytes as it is asked for.
    address_of : callable
        The address of a key; raises AddressError where there is none.
    maintain : bool
        Whether `tick` searches and asks without occasion.

    Attributes
    ----------
    store : NodeStore
    answers : Answers
        Who answers queries; a `Responder`.
    searches : dict of int to Search
        Those under way, by id.
    faults : Faults
        What answers to questions outside searches held and no honest node says.
    strays : int
        Replies that answer no question of ours.
    """

    def __init__(
        self,
        key: PublicKey,
        *,
        store: NodeStore | None = None,
        version: int = PROTOCOL_VERSION,
        scheme: EncodingScheme = V3X5X8,
        reading: str = "closer",
        random: Callable[[int], bytes] = os.urandom,
        address_of: Callable[[PublicKey], Address] = Address.from_key,
        maintain: bool = True,
    ) -> None:
        check_type(key, PublicKey, "key")
        check_type(maintain, bool, "maintain")
        check_callable(address_of, "address_of")
        self.key = key
        self.address = address_from(address_of, key)
        if store is not None:
            check_type(store, NodeStore, "store")
        check_type(scheme, EncodingScheme, "scheme")
        self.store = NodeStore(self.address, scheme=scheme) if store is None else store
        self.searches: dict[int, Search] = {}
        self.faults = Faults()
        self.strays = 0
        self._unlisted: OrderedDict[Address, None] = OrderedDict()
        self.answers: Answers = Responder(
            self.store,
            own=self.address,
            version=version,
            scheme=scheme,
            reading=reading,
            unlisted=self._unlisted,
        )
        self._version = version
        self._es = scheme.serialize()
        self._directors = director_table_of(scheme)
        self._reading = reading
        self._random = random
        self._address_of = address_of
        self._maintain = maintain
        self._out: dict[int, _Out] = {}
        self._handle = int.from_bytes(drawn(random, _HANDLE_SIZE), "big")
        self._next_search = 0
        self._round_trips = RoundTrips()
        self._cycles = 0
        self._next_cycle: float | None = None
        self._rotation: list[Address] = []

    # -- the first function: search --------------------------------------------------------------------------------

    def search(self, target: Address, *, now: float, limits: SearchLimits = USER_LIMITS) -> tuple[int, list[Action]]:
        """Start looking for a node.

        Parameters
        ----------
        target : Address
        now : float
            Seconds.
        limits : SearchLimits

        Returns
        -------
        tuple of int and list of Action
            The search's id, also that of the `SearchDone` that ends it, and what is to be done now. Where
            `MAX_SEARCHES` are under way, the search ends at once, unfound.
        """
        check_time(now)
        check_type(target, Address, "target")
        check_type(limits, SearchLimits, "limits")
        identity = self._next_search
        self._next_search += 1
        search = Search(
            self.store,
            own=self.address,
            target=target,
            limits=limits,
            reading=self._reading,
            address_of=self._address_of,
        )
        if len(self.searches) >= MAX_SEARCHES:
            return identity, [SearchDone(identity, search)]
        self.searches[identity] = search
        return identity, self._step(identity, now)

    def tick(self, now: float) -> list[Action]:
        """Let time pass: questions time out, and every second or so something is asked without occasion.

        Each round asks one node of the table, in turn, for its peers, which shows whether it is still there and teaches
        the links around it; every fourth round starts a search, for this node's own address (so that those close to it
        hear of it, and it of them) and for a random one in turn.

        Parameters
        ----------
        now : float
            Seconds; never less than before.
        """
        check_time(now)
        actions: list[Action] = []
        for handle in [handle for handle, out in self._out.items() if out.deadline <= now]:
            out = self._out.pop(handle)
            self.store.timeout(out.label, now=now)
            search = self.searches.get(out.search) if out.search is not None else None
            if search is not None and out.search is not None:
                search.timeout()
                actions += self._step(out.search, now)
        if self._maintain and now >= (self._next_cycle or 0.0):
            if self._next_cycle is not None:
                actions += self._cycle(now)
            self._next_cycle = now + _CYCLE * (0.5 + self._fraction())
        return actions

    @property
    def next_tick(self) -> float | None:
        """When `tick` has something to do next, in seconds; None: only when something comes in."""
        times = [out.deadline for out in self._out.values()]
        if self._maintain:
            times.append(self._next_cycle or 0.0)
        return min(times, default=None)

    def _cycle(self, now: float) -> list[Action]:
        self._cycles += 1
        actions: list[Action] = []
        if not self._rotation:
            self._rotation = [node.address for node in self.store]
        node = self.store.get(self._rotation.pop()) if self._rotation else None
        if node is not None:
            actions += self._ask_peers(node.address, node.key, node.label, 0, now)
        if self._cycles % _SEARCH_EVERY == 0:
            if self._cycles % (2 * _SEARCH_EVERY):
                target = self.address
            else:
                target = Address(self.address.packed[:1] + drawn(self._random, 15))
            actions += self.search(target, now=now, limits=DEFAULT_LIMITS)[1]
        return actions

    def _ask_peers(
        self, address: Address, key: PublicKey | None, label: RouteLabel, first: int, now: float, pages: int = 0
    ) -> list[Action]:
        """Ask a node for its peers, from a label on."""
        if len(self._out) >= MAX_OUT:
            return []
        timeout = min(max(10 * self._round_trips.mean, 3.0), 30.0)
        target = first.to_bytes(8, "big")
        send = self._send(address, key, label, GET_PEERS, target, now, now + timeout, None)
        self._out[self._handle].pages = pages
        return [send]

    def _step(self, identity: int, now: float) -> list[Action]:
        """Let a search go on."""
        search = self.searches[identity]
        ask = search.next()
        if ask is None:
            del self.searches[identity]
            return [SearchDone(identity, search)]
        timeout = 4 * self._round_trips.mean
        timeout = min(max(timeout * (1 + self._fraction() / 2), 0.010), 10.0)
        return [
            self._send(ask.address, ask.key, ask.label, ask.kind, search.target.packed, now, now + timeout, identity)
        ]

    def _send(
        self,
        address: Address,
        key: PublicKey | None,
        label: RouteLabel,
        kind: bytes,
        target: bytes,
        now: float,
        deadline: float,
        search: int | None,
    ) -> Send:
        self._handle = handle = (self._handle + 1) & 0xFFFF_FFFF
        cookie = drawn(self._random, _COOKIE_SIZE)
        self._out[handle] = _Out(cookie, address, label, kind, now, deadline, search)
        query = Query(
            kind=kind,
            target=target,
            txid=_TXID_PREFIX + handle.to_bytes(_HANDLE_SIZE, "big") + cookie,
            version=self._version,
            form=self._directors.form(label),
            scheme=self._es,
        )
        return Send(address, key, label, query)

    def _fraction(self) -> float:
        """Draw a number from 0 to 1."""
        return int.from_bytes(drawn(self._random, 2), "big") / 0x1_0000

    # -- the second function: respond ------------------------------------------------------------------------------

    def received(
        self, message: Query | Reply, *, address: Address, key: PublicKey, label: RouteLabel, now: float
    ) -> list[Action]:
        """Take a message.

        Parameters
        ----------
        message : Query or Reply
            From `decode_message`.
        address, key
            Who sent it: the peer of the inner session it came through.
        label : RouteLabel
            The route back: the label that was found in the switch header, bit-reversed.
        now : float
            Seconds.
        """
        if not isinstance(message, Query | Reply):
            raise CjdnsMisuseError(f"a {type(message).__name__}", where="message", expected="a Query or Reply")
        check_type(address, Address, "address")
        check_type(key, PublicKey, "key")
        label = RouteLabel(label)
        check_time(now)
        message.check()
        if address == self.address or not compatible(self._version, message.version):
            return []
        if not message.listed:
            self._unlist(address)
        if isinstance(message, Query):
            self._heard(message, address, key, label, now)
            return [Send(address, key, label, self.answers.answer(message, asker=address, path=label))]
        out = self._take(message.txid, address)
        if out is None:
            self.strays += 1
            return []
        self._heard(message, address, key, label, now)
        self.store.reply(out.label, latency=now - out.sent, now=now)
        self._round_trips.add(now - out.sent, now)
        if out.search is None:
            return self._learn_peers(message, out, key, now)
        search = self.searches.get(out.search)
        if search is None:
            return []
        search.reply(message.nodes, now=now)
        return self._step(out.search, now)

    def _heard(self, message: Query | Reply, address: Address, key: PublicKey, label: RouteLabel, now: float) -> None:
        """Take note of who sent a message, unless it tells nothing that is not known."""
        known = self.store.get(address)
        scheme = message.encoding_scheme
        if (
            known is not None
            and known.label == label
            and known.key is not None
            and known.version == message.version
            and known.scheme == scheme
        ):
            return
        self.store.discover(
            address,
            label,
            key=key,
            version=message.version,
            scheme=scheme,
            inverse_form=message.form,
            now=now,
        )

    def _take(self, txid: bytes, address: Address) -> _Out | None:
        """Return the question that a reply answers, which then is no longer out."""
        if len(txid) != _TXID_SIZE or not txid.startswith(_TXID_PREFIX):
            return None
        handle = int.from_bytes(txid[2:6], "big")
        out = self._out.get(handle)
        if out is None or out.address != address or not hmac.compare_digest(out.cookie, txid[6:]):
            return None
        return self._out.pop(handle)

    def _learn_peers(self, reply: Reply, out: _Out, key: PublicKey, now: float) -> list[Action]:
        """Add the peers that a node named, and ask for the next page where this one is full."""
        nodes = reply.nodes or ()
        if len(nodes) > REPLY_NODES:
            self.faults.oversize += 1
            nodes = nodes[:REPLY_NODES]
        for entry in nodes:
            if entry.label == SELF and entry.key == key:
                continue  # a C node is among its own peers
            admitted = admit(
                entry, out.label, own=self.address, store=self.store, faults=self.faults, of=self._address_of
            )
            if admitted is not None:
                self.store.discover(admitted[0], admitted[1], key=entry.key, version=entry.version, now=now)
        if len(nodes) < REPLY_NODES or out.pages >= _MAX_PAGES:
            return []
        return self._ask_peers(out.address, key, out.label, max(entry.label for entry in nodes), now, out.pages + 1)

    def _unlist(self, address: Address) -> None:
        self._unlisted[address] = None
        self._unlisted.move_to_end(address)
        if len(self._unlisted) > MAX_UNLISTED:
            self._unlisted.popitem(last=False)

    # -- the third function: forward -------------------------------------------------------------------------------

    def next_hop(self, destination: Address) -> Node | None:
        """Return the node whose session and route a packet for an address is sent with: a search with one result.

        Parameters
        ----------
        destination : Address
            The packet's IPv6 destination.

        Returns
        -------
        Node or None
            The destination itself where it is known, otherwise the known node that is closest to it; None where this
            node itself is closer than every other.
        """
        return self.store.next_hop(destination)
