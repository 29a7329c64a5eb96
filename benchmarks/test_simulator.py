# SPDX-License-Identifier: Apache-2.0
"""What the simulator adds to a search: per query, against one nearest-node call in a table of the same network.

The floor is `NodeStore.nearest` with the number of nodes that a responder asks for, on the tables of the nodes that
were asked, for the targets they were asked for: what answering a query needs at the very least. On top of it come, for
each query, two walks through switches, two events, the answer, its double-check, and what both ends learn from it.

Every search is a fresh one, from a node that has not searched before and for a target it does not know: a search that
is repeated finds its target in the table. So there is no loop over one piece of work here; batches of different
searches are timed, each beside its floor, both in processor time, as nothing can be repeated until a disturbance shows.
The nodes they meet are met once before, all tables made anew, then timed.
"""

from __future__ import annotations

import random
import statistics
import time
import tracemalloc
from typing import Any

from benchmarks.conftest import Versus
from prestocloud_sec.cjdns.routing.messages import REPLY_NODES
from prestocloud_sec.cjdns.simulator import Simulator, topology

NODES = 10_000
BATCHES, BATCH = 15, 20


def _searches(sim: Simulator, pairs: list[tuple[int, int]]) -> float:
    start = time.thread_time()
    for node, target in pairs:
        sim.search(node, target)
    return time.thread_time() - start


def _floor(sim: Simulator, records: list[Any]) -> float:
    """Seconds for one nearest-node call per query of these searches: each once, on the table of the node asked."""
    numbers = {node.address: node.number for node in sim.nodes}
    calls = [
        (sim.nodes[numbers[step.address]].router.store.nearest, record.target)
        for record in records
        for step in record.steps
    ]
    start = time.thread_time()
    for nearest, target in calls:
        nearest(target, 2 * REPLY_NODES)
    return time.thread_time() - start


def _memory(sim: Simulator, nodes: list[int]) -> float:
    """Bytes that a node takes once something happened to it: its router and its table."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for node in nodes:
            _ = sim.nodes[node].router
        return (tracemalloc.get_traced_memory()[0] - before) / len(nodes)
    finally:
        tracemalloc.stop()


def test_search_among_ten_thousand_nodes(versus: Versus, benchmark: Any) -> None:
    tracemalloc.start()
    edges = topology.regular(NODES, seed=1)
    sim = Simulator.warm(edges, seed=1)
    idle = tracemalloc.get_traced_memory()[0] / NODES
    tracemalloc.stop()
    draw = random.Random(2)
    seekers = draw.sample(range(NODES), BATCHES * BATCH)
    pairs = [(seeker, draw.randrange(NODES)) for seeker in seekers]
    _searches(sim, pairs)
    met = [node for node in sim.nodes if node.made]
    for node in met:
        node.forget()
    for node in met:
        _ = node.router
    first = len(sim.records)
    ours, peers = [], []
    for at in range(0, len(pairs), BATCH):
        taken = _searches(sim, pairs[at : at + BATCH])
        records = list(sim.records)[first + at :]
        ours.append(taken / BATCH)
        peers.append(_floor(sim, records) / BATCH)
    records = list(sim.records)[first:]
    queries = sum(record.queries for record in records) / len(records)
    found = sum(record.found for record in records) / len(records)
    benchmark.extra_info.update(queries=queries, found=found)
    unmet = [node.number for node in sim.nodes if not node.made]
    used = _memory(sim, unmet[:200])
    versus.record(
        f"simulator: one search among {NODES:,} nodes",
        against="its queries times one nearest-node call",
        ours=statistics.median(ours),
        peer=statistics.median(peers),
        target=20,
        note=f"{queries:.1f} queries a search, {found:.1%} found; {used / 1024:.0f} KiB for a node that took part, "
        f"{idle / 1024:.1f} KiB for one that did not",
    )
