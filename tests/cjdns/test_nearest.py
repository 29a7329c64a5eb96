# SPDX-License-Identifier: Apache-2.0
"""NearestIndex against a full scan, and what it costs when somebody grinds keys into one bucket."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.cjdns.errors import CjdnsMisuseError
from prestocloud_sec.cjdns.keys import Address
from prestocloud_sec.cjdns.routing import NearestIndex
from prestocloud_sec.cjdns.routing.metric import distance, distances
from prestocloud_sec.testing.nodes import address_arrays, crowded_addresses


def scan(target: bytes, addresses: np.ndarray, k: int) -> list[int]:
    """All distances, sorted, ties in the order of the input."""
    away = distances(target, addresses)
    return np.lexsort((away[:, 1], away[:, 0]))[:k].tolist()


def random_addresses(rng: np.random.Generator, count: int) -> np.ndarray:
    rows = rng.integers(0, 256, (count, 16), dtype=np.uint8)
    rows[:, 0] = 0xFC
    return rows


@given(address_arrays(), st.lists(crowded_addresses(), min_size=1, max_size=5), st.integers(1, 70))
def test_equals_a_full_scan(addresses: np.ndarray, targets: list[Address], k: int) -> None:
    index = NearestIndex(addresses)
    rows = np.array([list(target.packed) for target in targets], np.uint8)
    batch = index.nearest_batch(rows, k)
    assert batch.shape == (len(targets), k)
    assert batch.dtype == np.int64
    for target, row in zip(targets, batch.tolist(), strict=True):
        expected = scan(target.packed, addresses, k)
        assert index.nearest(target, k) == expected
        assert index.nearest(target) == expected[:1]
        assert row == expected + [-1] * (k - len(expected))
    assert index.nearest_batch(rows)[:, 0].tolist() == [
        scan(t.packed, addresses, 1)[0] if len(index) else -1 for t in targets
    ]


@pytest.mark.parametrize("count", [1, 7, 8, 9, 1000, 30_000])
def test_random_addresses(count: int) -> None:
    rng = np.random.default_rng(count)
    addresses, targets = random_addresses(rng, count), random_addresses(rng, 60)
    targets[:10] = addresses[rng.integers(0, count, 10)]
    index = NearestIndex(addresses)
    for k in (1, 2, 9):
        expected = [scan(t.tobytes(), addresses, k) for t in targets]
        assert [
            row[: len(e)] for row, e in zip(index.nearest_batch(targets, k).tolist(), expected, strict=True)
        ] == expected
        assert [index.nearest(t.tobytes(), k) for t in targets] == expected


@pytest.mark.parametrize("shared", [20, 29, 30, 40, 64, 100, 110])
def test_keys_ground_into_one_bucket_stay_cheap(shared: int) -> None:
    """1e5 addresses that agree in their first `shared` metric bits: a handful of partings each, never a scan."""
    rng = np.random.default_rng(shared)
    count = 100_000
    metrics = rng.permutation(count).tolist() if shared > 100 else rng.integers(0, 1 << 62, count).tolist()
    prefix = int.from_bytes(b"\x5a" * 16, "big") >> (128 - shared) << (128 - shared)
    free = 128 - shared
    words = [prefix | (m << max(0, free - 62)) & ((1 << free) - 1) | m & ((1 << min(free, 62)) - 1) for m in metrics]
    packed = b"".join((w & (1 << 64) - 1).to_bytes(8, "big") + (w >> 64).to_bytes(8, "big") for w in words)
    ground = np.frombuffer(packed, np.uint8).reshape(-1, 16)
    honest = random_addresses(rng, 2000)
    addresses = np.concatenate((honest, ground))
    index = NearestIndex(addresses)
    inside = ground[rng.integers(0, count, 8)].copy()
    inside[:, 7] ^= rng.integers(0, 256, 8, dtype=np.uint8)
    bound = 128 * (math.log2(len(addresses)) + 2)  # the guarantee
    usual = 8 * math.log2(len(addresses)) * 3
    for target in (*inside, *honest[:3], *random_addresses(rng, 3)):
        point = target.tobytes()
        expected = scan(point, addresses, 3)
        assert index.nearest(point, 3) == expected
        assert index.nearest(point) == expected[:1]
        assert index.steps(point) <= min(bound, usual)


def test_the_worst_shape_keeps_the_bound() -> None:
    """Keys at all distances 2**i of a target, many times over, make every parting as uneven as it can be."""
    target = bytes.fromhex("fc" + "77" * 15)
    centre = int.from_bytes(target[8:] + target[:8], "big")
    rng = np.random.default_rng(5)
    metrics = [centre ^ (1 << bit) ^ int(low) for bit in range(30, 120) for low in rng.integers(0, 1 << 30, 1000)]
    packed = b"".join((m & (1 << 64) - 1).to_bytes(8, "big") + (m >> 64).to_bytes(8, "big") for m in metrics)
    addresses = np.frombuffer(packed, np.uint8).reshape(-1, 16)
    index = NearestIndex(addresses)
    assert index.nearest(target, 20) == scan(target, addresses, 20)
    assert index.steps(target) <= 128 * (math.log2(len(addresses)) + 2)
    assert index.steps(target) < len(addresses) / 40


def test_a_lookup_does_not_grow_with_the_number_of_nodes() -> None:
    rng = np.random.default_rng(9)
    targets = random_addresses(rng, 300)
    looked_at = {}
    for count in (1000, 300_000):
        index = NearestIndex(random_addresses(rng, count))
        looked_at[count] = np.mean([index.steps(t.tobytes()) for t in targets])
        assert index.nbytes < count * 23 + 1000
    assert looked_at[300_000] < looked_at[1000] + 4


def test_many_equal_addresses_come_in_the_order_of_the_input() -> None:
    addresses = np.zeros((50, 16), np.uint8)
    addresses[:, 0] = 0xFC
    addresses[::5, 15] = 1
    index = NearestIndex(addresses)
    ones, zeros = list(range(0, 50, 5)), [i for i in range(50) if i % 5]
    assert index.nearest(addresses[0].tobytes(), 50) == ones + zeros
    assert index.nearest(addresses[1].tobytes(), 45) == zeros + ones[:5]


def test_the_input_may_be_read_only_or_strided_and_is_copied() -> None:
    rng = np.random.default_rng(3)
    wide = np.zeros((40, 32), np.uint8)
    wide[:, ::2] = random_addresses(rng, 40)
    view = wide[:, ::2]
    index = NearestIndex(view)
    expected = scan(view[3].tobytes(), view, 4)
    frozen = view[:5].copy()
    frozen.flags.writeable = False
    assert index.nearest_batch(frozen, 4)[3].tolist() == index.nearest_batch(view[:5], 4)[3].tolist() == expected
    wide[:] = 0
    assert index.nearest_batch(frozen, 4)[3].tolist() == expected


def test_no_addresses() -> None:
    index = NearestIndex(np.zeros((0, 16), np.uint8))
    target = Address.parse("fc00::1")
    assert index.nearest(target) == index.nearest(target, 3) == []
    assert index.nearest_batch(np.zeros((2, 16), np.uint8), 3).tolist() == [[-1] * 3] * 2
    assert index.steps(target) == 0
    assert len(index) == 0
    assert index.nearest_batch(np.zeros((0, 16), np.uint8)).shape == (0, 1)


def test_from_addresses() -> None:
    nodes = [Address.parse(f"fc00::{i}") for i in (5, 9, 12)]
    index = NearestIndex.from_addresses(nodes)
    assert len(index) == 3
    assert [nodes[i] for i in index.nearest(nodes[1], 3)] == sorted(nodes, key=lambda n: distance(n, nodes[1]))
    assert "3 addresses" in repr(index)


@pytest.mark.parametrize(
    "call",
    [
        lambda index: index.nearest("fc00::1"),
        lambda index: index.nearest(b"\xfc" * 15),
        lambda index: index.nearest(b"\xfc" * 16, 0),
        lambda index: index.nearest(b"\xfc" * 16, -1),
        lambda index: index.nearest(b"\xfc" * 16, "2"),
        lambda index: index.nearest_batch(np.zeros((2, 15), np.uint8)),
        lambda index: index.nearest_batch(np.zeros((2, 16), np.uint16)),
        lambda index: index.nearest_batch([[0] * 16]),
        lambda index: index.nearest_batch(None),
        lambda index: index.nearest_batch(np.zeros((2, 16), np.uint8), 1.5),
        lambda index: index.steps(b""),
        lambda index: NearestIndex([b"\xfc" * 16]),
        lambda index: NearestIndex.from_addresses([1, 2]),
    ],
)
def test_misuse(call: object) -> None:
    index = NearestIndex(np.full((3, 16), 0xFC, np.uint8))
    with pytest.raises(CjdnsMisuseError):
        call(index)  # type: ignore[operator]


def test_the_store_does_not_load_numba() -> None:
    code = "import sys; from prestocloud_sec.cjdns.routing import NodeStore, NearestIndex"
    code += "; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
