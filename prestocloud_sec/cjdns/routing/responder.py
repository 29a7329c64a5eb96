# SPDX-License-Identifier: Apache-2.0
"""Answers to the questions of other routers, out of a `NodeStore`.

Rules: PrEstoCloud deliverable, 3.2 ("Router"), for what an answer to a search must not hold (`rules`); cjdns v21.1,
``dht/dhtcore/RouterModule.c``, for what each question is answered with, and ``NodeStore_getClosestNodes`` for the
order: worst first, best last.

Running nodes leave rule one to the asker; here the responder keeps it too, as the deliverable demands. Rule two is kept
in every list of nodes: an asker can never check it, because only the responder knows which interface is which.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import TYPE_CHECKING, Protocol

from prestocloud_sec.cjdns.constants import PROTOCOL_VERSION
from prestocloud_sec.cjdns.errors import AddressError, CjdnsMisuseError
from prestocloud_sec.cjdns.keys import Address
from prestocloud_sec.cjdns.routing._checks import check_type
from prestocloud_sec.cjdns.routing._directors import director_table_of
from prestocloud_sec.cjdns.routing.messages import (
    FIND_NODE,
    GET_PEERS,
    MAX_VERSION,
    NEXT_HOP,
    REPLY_NODES,
    NodeEntry,
    Query,
    Reply,
)
from prestocloud_sec.cjdns.routing.nodestore import NodeStore
from prestocloud_sec.cjdns.routing.rules import Reading, check_reading, compatible, may_name
from prestocloud_sec.cjdns.switch import SELF, V3X5X8, EncodingScheme
from prestocloud_sec.wire import whole

if TYPE_CHECKING:
    from prestocloud_sec.cjdns.routing.known import Node

__all__ = ["Answers", "Responder"]


class Answers(Protocol):
    """Whatever answers queries: a `Responder`, or something that takes its place."""

    def answer(self, query: Query, *, asker: Address, path: int) -> Reply:
        """Return the reply to a query; see `Responder.answer`."""
        ...


class Responder:
    """Answers queries.

    Parameters
    ----------
    store : NodeStore
        What this node knows; it is only read.
    own : Address
        This node.
    version : int
        The protocol version this node says it speaks.
    scheme : EncodingScheme
        That of this node's switch: the labels in `store` begin with its directors.
    reading : {"closer", "literal"}
        How rule one is read; see `rules`.
    unlisted : container of Address
        Who may not be named (a node that says ``dnd``); looked at whenever a question is answered.
    """

    __slots__ = ("_directors", "_es", "_metric", "_reading", "_store", "_unlisted", "_version")

    def __init__(
        self,
        store: NodeStore,
        *,
        own: Address,
        version: int = PROTOCOL_VERSION,
        scheme: EncodingScheme = V3X5X8,
        reading: str = "closer",
        unlisted: Container[Address] = (),
    ) -> None:
        check_type(store, NodeStore, "store")
        check_type(own, Address, "own")
        whole(version, "version", 0, MAX_VERSION, error=CjdnsMisuseError)
        check_type(scheme, EncodingScheme, "scheme")
        check_type(unlisted, Container, "unlisted")
        self._store = store
        self._metric = own.metric
        self._version = version
        self._es = scheme.serialize()
        self._directors = director_table_of(scheme)
        self._reading: Reading = check_reading(reading)
        self._unlisted = unlisted

    def answer(self, query: Query, *, asker: Address, path: int) -> Reply:
        """Return the reply to a query.

        Parameters
        ----------
        query : Query
            The question.
        asker : Address
            Who asks.
        path : int
            The label from here to the asker, as the packet that brought the question gives it.

        Returns
        -------
        Reply
            With ``nodes`` of at most eight entries, worst first. None where there is nothing to name (a C node then
            leaves ``n`` out, and takes an empty one for no answer), for a ping, an unknown kind of question, and a
            ``gp`` for an address (the last step of a search, which only asks whether the target is there).
        """
        check_type(query, Query, "query")
        check_type(asker, Address, "asker")
        check_type(path, int, "path")
        query.check()
        entries: tuple[NodeEntry, ...] | None = None
        target = query.target
        if target is not None:
            if query.kind == FIND_NODE:
                entries = self._find(target, asker, path, query.version)
            elif query.kind == GET_PEERS and len(target) == 8:
                entries = self._peers(int.from_bytes(target, "big"), asker, path, query.version)
            elif query.kind == NEXT_HOP:
                entries = self._next_hop(target, asker, path, query.version)
        return Reply(
            nodes=entries or None,
            txid=query.txid,
            version=self._version,
            form=self._directors.form(path),
            scheme=self._es,
        )

    def _find(self, packed: bytes, asker: Address, path: int, version: int) -> tuple[NodeEntry, ...]:
        """Return the nodes nearest to a target that both rules allow."""
        try:
            target = Address(packed)
        except AddressError:
            return ()  # nothing in cjdns has such an address
        point, wanted = target.metric, 2 * REPLY_NODES
        entries: list[NodeEntry] = []
        looked_at = 0
        while True:
            near = self._store.nearest(target, wanted)  # never this node itself
            for node in near[looked_at:]:
                if may_name(node.address.metric, self._metric, point, self._reading):
                    entry = self._entry(node, asker, path, version)
                    if entry is not None:
                        entries.append(entry)
                        if len(entries) == REPLY_NODES:
                            return tuple(reversed(entries))
                elif self._reading == "closer":
                    return tuple(reversed(entries))  # in ascending distance: those after it are no closer
            if len(near) < wanted:
                return tuple(reversed(entries))
            looked_at, wanted = wanted, 2 * wanted

    def _peers(self, first: int, asker: Address, path: int, version: int) -> tuple[NodeEntry, ...]:
        """Return the direct peers next to a label, highest first: whoever wants more asks from the highest one.

        Only the first director of the label counts: C nodes ask with random labels of 32 bits, and answer so.
        """
        least = self._directors.first_hop(first) if first > SELF else first
        peers: Iterable[Node] = sorted(self._store.peers(), key=lambda node: node.label)
        entries = (self._entry(node, asker, path, version) for node in peers if node.label >= least)
        return tuple([entry for entry in entries if entry is not None][:REPLY_NODES][::-1])

    def _next_hop(self, packed: bytes, asker: Address, path: int, version: int) -> tuple[NodeEntry, ...]:
        """Return the one node by which this node would forward to a target."""
        try:
            target = Address(packed)
        except AddressError:
            return ()
        node = self._store.next_hop(target)
        if node is None or not may_name(node.address.metric, self._metric, target.metric, self._reading):
            return ()
        entry = self._entry(node, asker, path, version)
        return () if entry is None else (entry,)

    def _entry(self, node: Node, asker: Address, path: int, version: int) -> NodeEntry | None:
        """Return a node as it stands in an answer, or None where it may not be named to this asker."""
        label, key, directors = node.label, node.key, self._directors
        if (
            key is None
            or label <= SELF
            or directors.interface(label) == directors.interface(path)
            or node.address == asker
            or (version != node.version and not compatible(version, node.version))
            or node.address in self._unlisted
        ):
            return None
        widened = directors.widen(label, path)
        return NodeEntry(key, widened, node.version) if widened else None
