# SPDX-License-Identifier: Apache-2.0
"""The metric: its laws, its rotation, and the array form against the readable one."""

from __future__ import annotations

import ipaddress
import itertools
import math
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.cjdns.errors import CjdnsMisuseError
from prestocloud_sec.cjdns.keys import Address
from prestocloud_sec.cjdns.routing import NearestIndex, bucket, closest, distance
from prestocloud_sec.cjdns.routing.metric import distances, metric, packed_rows, rotate, sort_by_distance, unrotate
from prestocloud_sec.testing.nodes import address_arrays, crowded_addresses

points = st.one_of(crowded_addresses(), st.binary(min_size=16, max_size=16))


def by_ipaddress(a: bytes, b: bytes) -> int:
    """Apply the definition on Python's own address type: XOR, then rotate by 64 bits."""
    raw = int(ipaddress.IPv6Address(a)) ^ int(ipaddress.IPv6Address(b))
    return ((raw << 64) | (raw >> 64)) % (1 << 128)


@given(points, points)
def test_definition_symmetry_and_identity(a: Address | bytes, b: Address | bytes) -> None:
    assert distance(a, b) == distance(b, a) == by_ipaddress(bytes(a), bytes(b))
    assert (distance(a, b) == 0) == (bytes(a) == bytes(b))


@given(points, points, points)
def test_triangle(a: Address | bytes, b: Address | bytes, c: Address | bytes) -> None:
    assert distance(a, c) == distance(a, b) ^ distance(b, c) <= distance(a, b) + distance(b, c)


@given(points, st.integers(0, 2**128 - 1))
def test_exactly_one_point_at_each_distance(a: Address | bytes, away: int) -> None:
    there = unrotate(metric(a) ^ away).to_bytes(16, "big")
    assert distance(a, there) == away
    other = unrotate(metric(a) ^ away ^ 1).to_bytes(16, "big")
    assert distance(a, other) != away


@given(points, points, points)
def test_closest_agrees_with_distance(target: Address | bytes, a: Address | bytes, b: Address | bytes) -> None:
    to_a, to_b = by_ipaddress(bytes(target), bytes(a)), by_ipaddress(bytes(target), bytes(b))
    assert closest(target, a, b) == (to_a > to_b) - (to_a < to_b) == -closest(target, b, a)


@given(points, points)
def test_bucket_counts_leading_equal_bits(a: Address | bytes, b: Address | bytes) -> None:
    text_a, text_b = (f"{int.from_bytes(bytes(x)[8:] + bytes(x)[:8], 'big'):0128b}" for x in (a, b))
    equal = next((i for i, (x, y) in enumerate(zip(text_a, text_b, strict=True)) if x != y), 128)
    assert bucket(a, b) == bucket(b, a) == equal


@given(points, st.lists(crowded_addresses(), max_size=12))
def test_sorting_puts_the_closest_first(target: Address | bytes, nodes: list[Address]) -> None:
    ordered = sort_by_distance(target, nodes)
    assert Counter(ordered) == Counter(nodes)
    assert all(closest(target, a, b) <= 0 for a, b in itertools.pairwise(ordered))


@given(points, address_arrays(max_size=12))
def test_array_form_equals_the_readable_one(target: Address | bytes, addresses: np.ndarray) -> None:
    words, away = rotate(addresses), distances(target, addresses)
    assert words.shape == away.shape == (len(addresses), 2)
    assert words.dtype == away.dtype == np.uint64
    for row, (high, low), (to_high, to_low) in zip(addresses, words.tolist(), away.tolist(), strict=True):
        assert metric(row.tobytes()) == high << 64 | low
        assert distance(target, row.tobytes()) == to_high << 64 | to_low


@given(points, address_arrays(min_size=1, max_size=40))
def test_compiled_form_agrees_with_the_readable_one(target: Address | bytes, addresses: np.ndarray) -> None:
    by_distance = sorted(range(len(addresses)), key=lambda i: distance(target, addresses[i].tobytes()))
    assert NearestIndex(addresses).nearest(target, len(addresses)) == by_distance


def test_known_values() -> None:
    a, b = Address.parse("fc00::1"), Address.parse("fc00::")
    assert distance(a, b) == 1 << 64  # the last bit of the address is bit 64 of the metric
    assert distance(Address.parse("fc01::"), b) == 1 << 48
    assert bucket(a, b) == 63
    assert bucket(a, a) == 128


@pytest.mark.parametrize("bad", [b"", b"\xfc" * 15, b"\xfc" * 17, "fc00::1", 5, None])
def test_wrong_points_are_misuse(bad: object) -> None:
    with pytest.raises(CjdnsMisuseError):
        distance(bad, Address.parse("fc00::"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros(16, np.uint8),
        np.zeros((2, 15), np.uint8),
        np.zeros((2, 16), np.int8),
        np.zeros((1, 2, 16), np.uint8),
        [[0] * 16],
        None,
    ],
)
def test_wrong_arrays_are_misuse(bad: object) -> None:
    with pytest.raises(CjdnsMisuseError, match="uint8"):
        packed_rows(bad, "addresses")  # type: ignore[arg-type]


def entropy(counts: Counter[int]) -> float:
    total = sum(counts.values())
    return -sum(n / total * math.log2(n / total) for n in counts.values())


def test_the_rotation_is_what_spreads_addresses() -> None:
    """The first eight bits of the address are fixed; those of the metric carry all the eight bits they can."""
    rng = random.Random(31)
    mesh = [Address(b"\xfc" + rng.randbytes(15)) for _ in range(20_000)]
    without = entropy(Counter(address.packed[0] for address in mesh))
    rotated = entropy(Counter(address.metric >> 120 for address in mesh))
    assert without == 0.0
    assert rotated > 7.98
    us = mesh[0]
    raw_bucket = Counter(128 - (int.from_bytes(a.packed) ^ int.from_bytes(us.packed)).bit_length() for a in mesh[1:])
    assert min(raw_bucket) >= 8  # without the rotation the eight largest buckets would stay empty
    assert min(bucket(us, a) for a in mesh[1:]) == 0
