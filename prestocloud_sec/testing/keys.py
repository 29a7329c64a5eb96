# SPDX-License-Identifier: Apache-2.0
"""Hypothesis strategies of keys, addresses and node names."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from hypothesis import strategies as st

from prestocloud_sec.cjdns.keys import KEY_SIZE, Address, NodeName, PrivateKey, PublicKey

__all__ = ["addresses", "node_names", "private_keys", "public_keys", "seeded_random"]


def seeded_random(seed: bytes) -> Callable[[int], bytes]:
    """Return a random source that gives the same bytes for the same seed: SHAKE-256 of the seed and a counter.

    For tests and simulations only.
    """
    counter = 0

    def random(size: int) -> bytes:
        nonlocal counter
        counter += 1
        return hashlib.shake_256(seed + counter.to_bytes(8, "big")).digest(size)

    return random


def private_keys(*, routable: bool = False) -> st.SearchStrategy[PrivateKey]:
    """Return a strategy of private keys; with `routable` (some 6 ms each), only keys whose address lies in fc00::/8."""
    if routable:
        return st.binary(min_size=8, max_size=8).map(lambda seed: PrivateKey.generate(random=seeded_random(seed)))
    return st.binary(min_size=KEY_SIZE, max_size=KEY_SIZE).map(PrivateKey)


def public_keys(*, routable: bool = False) -> st.SearchStrategy[PublicKey]:
    """Return a strategy of public keys, any 32 bytes; with `routable` (some 6 ms each), only keys of nodes."""
    if routable:
        return private_keys(routable=True).map(lambda key: key.public)
    return st.binary(min_size=KEY_SIZE, max_size=KEY_SIZE).map(PublicKey)


def addresses() -> st.SearchStrategy[Address]:
    """Return a strategy of addresses in fc00::/8; hardly any of them has a known key."""
    return st.binary(min_size=15, max_size=15).map(lambda rest: Address(b"\xfc" + rest))


def node_names() -> st.SearchStrategy[NodeName]:
    """Return a strategy of full node names of any version, label and node key."""
    return st.builds(NodeName, st.integers(1, 2**32 - 1), st.integers(0, 2**64 - 1), public_keys(routable=True))
