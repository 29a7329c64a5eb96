# SPDX-License-Identifier: Apache-2.0
"""What finding the nearest nodes costs, beside a linear scan in C, and what a router's own table costs.

Every call gets targets it has not seen for a while, so that neither caches nor branch predictor know the answers.
"""

from __future__ import annotations

import ctypes
import itertools
import random
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.conftest import Versus
from prestocloud_sec.cjdns.keys import Address
from prestocloud_sec.cjdns.routing import NearestIndex, NodeStore
from prestocloud_sec.cjdns.switch import V3X5X8, RouteLabel

Scan = Callable[[NDArray[np.uint8]], int]

BATCH, RING = 256, 64

C_SCANS = r"""
#include <stdint.h>
#include <string.h>

/* The addresses as they are: 16 bytes in network order. */
int64_t scan(const uint8_t *addresses, int64_t count, const uint8_t *target) {
    uint64_t aim[2], best_high = ~0ull, best_low = ~0ull;
    int64_t found = -1;
    memcpy(aim, target, 16);
    for (int64_t i = 0; i < count; i++) {
        uint64_t words[2];
        memcpy(words, addresses + 16 * i, 16);
        uint64_t high = __builtin_bswap64(words[1] ^ aim[1]), low = __builtin_bswap64(words[0] ^ aim[0]);
        if (high < best_high || (high == best_high && low < best_low)) {
            best_high = high; best_low = low; found = i;
        }
    }
    return found;
}

/* The addresses made into metrics beforehand, the two halves in arrays of their own. */
int64_t scan_metrics(const uint64_t *highs, const uint64_t *lows, int64_t count, uint64_t high, uint64_t low) {
    uint64_t best_high = ~0ull, best_low = ~0ull;
    int64_t found = -1;
    for (int64_t i = 0; i < count; i++) {
        uint64_t h = highs[i] ^ high, l = lows[i] ^ low;
        if (h < best_high || (h == best_high && l < best_low)) { best_high = h; best_low = l; found = i; }
    }
    return found;
}
"""


def random_addresses(rng: np.random.Generator, count: int) -> NDArray[np.uint8]:
    rows = rng.integers(0, 256, (count, 16), dtype=np.uint8)
    rows[:, 0] = 0xFC
    return rows


@dataclass(frozen=True)
class Crowd:
    """1e5 addresses, their index, and the targets to find."""

    addresses: NDArray[np.uint8]
    index: NearestIndex
    batches: list[NDArray[np.uint8]]


@pytest.fixture(scope="module")
def crowd() -> Crowd:
    rng = np.random.default_rng(1)
    addresses = random_addresses(rng, 100_000)
    return Crowd(addresses, NearestIndex(addresses), [random_addresses(rng, BATCH) for _ in range(RING)])


def scans_of(crowd: Crowd, path: Path) -> tuple[Scan, Scan]:
    """Both scans in C, for one target: over the addresses as they are, and over metrics made of them beforehand."""
    library = ctypes.CDLL(str(path))
    library.scan.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p]
    library.scan_metrics.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_uint64, ctypes.c_uint64]
    library.scan.restype = library.scan_metrics.restype = ctypes.c_int64
    words = crowd.addresses.view(">u8").astype(np.uint64)
    highs, lows = np.ascontiguousarray(words[:, 1]), np.ascontiguousarray(words[:, 0])

    def scan(row: NDArray[np.uint8]) -> int:
        return int(library.scan(crowd.addresses.ctypes.data, len(crowd.addresses), row.ctypes.data))

    def scan_metrics(row: NDArray[np.uint8]) -> int:
        low, high = (int(word) for word in row.view(">u8"))
        return int(library.scan_metrics(highs.ctypes.data, lows.ctypes.data, len(highs), high, low))

    for row, found in zip(crowd.batches[0], crowd.index.nearest_batch(crowd.batches[0])[:, 0], strict=True):
        assert scan(row) == scan_metrics(row) == found
    return scan, scan_metrics


def test_nearest_batch(versus: Versus, c_library: Callable[[str], Path], crowd: Crowd) -> None:
    scan, _ = scans_of(crowd, c_library(C_SCANS))
    index, ring, rows = crowd.index, itertools.cycle(crowd.batches), itertools.cycle(crowd.batches[0])
    versus(
        "nearest node, batch of 256, over 1e5 nodes",
        lambda: index.nearest_batch(next(ring)),
        lambda: scan(next(rows)),
        against="linear scan in C",
        target=0.0003,
        units=BATCH,
        peer_units=1,
        note=f"{index.nbytes / len(index):.1f} bytes a node",
    )


def test_nearest_batch_against_metrics(versus: Versus, c_library: Callable[[str], Path], crowd: Crowd) -> None:
    _, scan = scans_of(crowd, c_library(C_SCANS))
    index, ring, rows = crowd.index, itertools.cycle(crowd.batches), itertools.cycle(crowd.batches[0])
    versus(
        "nearest node, batch of 256, over 1e5 nodes, the scan prepared",
        lambda: index.nearest_batch(next(ring)),
        lambda: scan(next(rows)),
        against="linear scan in C over metrics made beforehand",
        units=BATCH,
        peer_units=1,
    )


def test_eight_nearest(versus: Versus, crowd: Crowd) -> None:
    index, ring = crowd.index, itertools.cycle(crowd.batches)
    name = "8 nearest nodes, batch of 256, over 1e5 nodes"
    versus.report(name, lambda: index.nearest_batch(next(ring), 8), units=BATCH)


def test_nearest_one(versus: Versus) -> None:
    rng = np.random.default_rng(2)
    small = NearestIndex(random_addresses(rng, 1000))
    large = NearestIndex(random_addresses(rng, 10_000_000))
    targets = [row.tobytes() for row in random_addresses(rng, 1 << 16)]
    one, other = itertools.cycle(targets), itertools.cycle(targets)
    versus(
        "one nearest-node call, 1e7 nodes against 1e3",
        lambda: large.nearest(next(one)),
        lambda: small.nearest(next(other)),
        against="the same call over 1e3 nodes",
        target=1.5,
        note=f"{large.nbytes / len(large):.1f} bytes a node",
    )


def full_store(rng: random.Random) -> NodeStore:
    store = NodeStore(Address(b"\xfc" + rng.randbytes(15)))
    for slot in range(2, 8):
        store.discover(Address(b"\xfc" + rng.randbytes(15)), RouteLabel.from_path([slot], V3X5X8), now=0.0)
    for _ in range(122):
        path = RouteLabel.from_path([rng.randrange(2, 8), rng.randrange(2, 250)], V3X5X8)
        store.discover(Address(b"\xfc" + rng.randbytes(15)), path, now=0.0)
    return store


@pytest.mark.parametrize("work", ["8 nearest", "next hop", "reply"])
def test_node_store(versus: Versus, work: str) -> None:
    rng = random.Random(3)
    tracemalloc.start()
    store = full_store(rng)
    size = tracemalloc.get_traced_memory()[0] / len(store)
    tracemalloc.stop()
    targets = itertools.cycle([Address(b"\xfc" + rng.randbytes(15)) for _ in range(1000)])
    labels = itertools.cycle([node.label for node in store])
    calls: dict[str, Callable[[], Any]] = {
        "8 nearest": lambda: store.nearest(next(targets)),
        "next hop": lambda: store.next_hop(next(targets)),
        "reply": lambda: store.reply(next(labels), latency=0.1, now=1.0),
    }
    versus.report(f"node store of {len(store)} nodes, {work}", calls[work], note=f"{size:.0f} bytes a node")
