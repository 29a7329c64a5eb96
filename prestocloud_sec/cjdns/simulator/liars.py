# SPDX-License-Identifier: Apache-2.0
"""Routers that answer with lies: what a search has to stand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from enum import Enum
from random import Random
from typing import TYPE_CHECKING

from prestocloud_sec.cjdns.constants import PROTOCOL_VERSION
from prestocloud_sec.cjdns.keys import Address, PublicKey
from prestocloud_sec.cjdns.routing.messages import FIND_NODE, REPLY_NODES, NodeEntry, Query, Reply
from prestocloud_sec.cjdns.simulator.keyring import Keyring

if TYPE_CHECKING:
    from prestocloud_sec.cjdns.routing.responder import Answers
    from prestocloud_sec.cjdns.simulator.node import SimulatedNode

__all__ = ["Lie", "LyingResponder"]


class Lie(Enum):
    """What a liar answers when it is asked for nodes close to a target: at most eight nodes, but for `OVERSIZE`."""

    FURTHER = "further"
    """Real nodes that are further from the target than the liar: what rule one forbids."""
    OWN_ADDRESS = "own_address"
    """The asker itself."""
    BOGUS_LABELS = "bogus_labels"
    """Real nodes that are closer, with routes that lead anywhere."""
    SELF_LOOP = "self_loop"
    """Real nodes that are closer, all at the liar's own place (label 1)."""
    OVERSIZE = "oversize"
    """Forty real nodes, with routes that lead anywhere."""
    BAD_KEYS = "bad_keys"
    """Keys that have no address."""
    PHANTOMS = "phantoms"
    """Nodes next to the target that do not exist, as somebody could name who has ground keys for that."""


class LyingResponder:
    """Takes the place of a node's responder: honest to every question but ``fn``.

    Parameters
    ----------
    honest : Answers
        What it replaces.
    lie : Lie
        What it says.
    random : random.Random
    keyring : Keyring
        To make keys with, and tell their addresses.
    others : sequence of SimulatedNode
        The network: a liar may know all of it.
    own : Address
        The liar.

    Attributes
    ----------
    told : Counter
        How many entries of each kind it has sent, by `Lie`.
    """

    __slots__ = ("_honest", "_keyring", "_liar", "_lie", "_others", "_random", "told")

    def __init__(
        self,
        honest: Answers,
        lie: Lie,
        *,
        random: Random,
        keyring: Keyring,
        others: Sequence[SimulatedNode],
        own: Address,
    ) -> None:
        self._honest = honest
        self._lie = lie
        self._random = random
        self._keyring = keyring
        self._others = others
        self._liar = own
        self.told: Counter[Lie] = Counter()

    def answer(self, query: Query, *, asker: Address, path: int) -> Reply:
        """Return the reply: that of the honest responder, with other nodes in it if it was asked for some."""
        reply = self._honest.answer(query, asker=asker, path=path)
        if query.kind != FIND_NODE or query.target is None:
            return reply
        entries = self._entries(Address(query.target), asker)
        self.told[self._lie] += len(entries)
        return replace(reply, nodes=tuple(entries))

    def _entries(self, target: Address, asker: Address) -> list[NodeEntry]:
        lie = self._lie
        if lie is Lie.OWN_ADDRESS:
            keys = [node.key for node in self._others if node.address == asker]
            return [self._entry(key) for key in keys]
        if lie is Lie.BAD_KEYS:
            return [self._entry(self._without_address()) for _ in range(REPLY_NODES)]
        if lie is Lie.PHANTOMS:
            return [self._entry(self._next_to(target)) for _ in range(REPLY_NODES)]
        if lie is Lie.OVERSIZE:
            return [self._entry(self._random.choice(self._others).key) for _ in range(5 * REPLY_NODES)]
        point, mine = target.metric, self._liar.metric ^ target.metric
        fits = [
            node.key
            for node in self._random.sample(self._others, min(len(self._others), 512))
            if node.address not in (asker, self._liar)
            and ((node.address.metric ^ point) > mine) == (lie is Lie.FURTHER)
        ]
        label = 1 if lie is Lie.SELF_LOOP else None
        return [self._entry(key, label) for key in fits[:REPLY_NODES]]

    def _entry(self, key: PublicKey, label: int | None = None) -> NodeEntry:
        return NodeEntry(key, self._random.randrange(2, 1 << 20) if label is None else label, PROTOCOL_VERSION)

    def _without_address(self) -> PublicKey:
        key = PublicKey(self._random.randbytes(32))
        while key.is_routable:
            key = PublicKey(self._random.randbytes(32))
        return key

    def _next_to(self, target: Address) -> PublicKey:
        """Make a key whose address shares all but the last two bytes that count with the target's."""
        packed = bytearray(target.packed)
        packed[6] ^= self._random.randrange(1, 256)  # bytes 0..7 count last
        packed[7] ^= self._random.randrange(256)
        return self._keyring.register(PublicKey(self._random.randbytes(32)), Address(bytes(packed)))
