# SPDX-License-Identifier: Apache-2.0
"""Who leaves a full node store.

Direct peers do not count and never go. Of the others, those that no path leads to go first. Then goes the worst: the
one for which the first 32 bits of its distance from us, as a number, plus the cost of its path is highest, among those
that carry nobody else's best path and are not among the best four of their bucket (cjdns v21.1, ``NodeStore.c``,
``getWorstNode``). A *bucket* is what shares the same number of leading bits with our own address.

Keys can be ground so that their addresses fall into one bucket, and the rule above favours a bucket that is close to
us. Therefore, unlike in the C code, a newcomer whose bucket already holds an eighth of the store can only replace a
node of the same bucket. However many keys of one bucket somebody makes, they displace at most an eighth of the store,
and never the best four of another bucket.
"""

from __future__ import annotations

from collections import Counter, defaultdict

from prestocloud_sec.cjdns.routing._linkgraph import Entry, Link, LinkGraph
from prestocloud_sec.cjdns.routing.metric import ADDRESS_BITS

__all__ = ["BUCKET_SIZE", "SHARE", "spare_links", "worst"]

BUCKET_SIZE = 4
"""How many nodes of each bucket stay when the store is full."""

SHARE = 8
"""One part in so many of the store is what a single bucket may take from the others."""

_PREFIX_SHIFT = ADDRESS_BITS - 32  # what ranks nodes is the first 32 bits of their distance, as ``Address_getPrefix``


def worst(graph: LinkGraph, counted: list[Entry], newcomer: Entry | None, capacity: int) -> Entry:
    """Return the node that has to go.

    Parameters
    ----------
    graph : LinkGraph
    counted : list of Entry
        All nodes that count: those that are no direct peers. At least one.
    newcomer : Entry or None
        The node that came in last, if one did; it may be the one that goes.
    capacity : int
        How many nodes there may be.
    """
    own = graph.root.metric

    def badness(entry: Entry) -> tuple[int, int]:
        away = entry.metric ^ own
        return (away >> _PREFIX_SHIFT) + entry.cost, away

    unreachable = [entry for entry in counted if not entry.label]
    if unreachable:
        return max(unreachable, key=badness)
    carrying = {entry.best.parent for entry in graph.reachable.values() if entry.best is not None}
    ends = [entry for entry in counted if entry not in carrying]
    crowd = Counter(entry.bucket for entry in counted)
    if newcomer is not None and crowd[newcomer.bucket] * SHARE > capacity:
        same = [entry for entry in ends if entry.bucket == newcomer.bucket]
        if same:
            return max(same, key=badness)
    buckets: dict[int, list[Entry]] = defaultdict(list)
    for entry in sorted(counted, key=badness):
        buckets[entry.bucket].append(entry)
    kept = {entry for each in buckets.values() for entry in each[:BUCKET_SIZE]}
    return max([entry for entry in ends if entry not in kept] or ends or counted, key=badness)


def spare_links(graph: LinkGraph, count: int) -> list[Link]:
    """Return `count` links to drop: the dearest that carry no best path, then the dearest; none to a direct peer."""
    idle = [link for link in graph.links() if link.parent is not graph.root or link.multi_hop]
    idle.sort(key=lambda link: (link.child.best is not link, link.cost, link.serial), reverse=True)
    return idle[:count]
