# SPDX-License-Identifier: Apache-2.0
"""What a key costs: the batch search beside the plain loop, and the single operations."""

from __future__ import annotations

import hashlib
import os

import nacl.bindings

from benchmarks.conftest import Versus
from prestocloud_sec.cjdns.keys import PrivateKey, PublicKey, search_vanity, verify_signature
from prestocloud_sec.cjdns.keysearch import Walk, walk
from prestocloud_sec.cjdns.sign import clamp
from prestocloud_sec.testing.keys import seeded_random

NOTHING = (2**64 - 1, 0)  # a mask and value that no key meets: the search never ends


def plain_try() -> bool:
    """Try one key as the simple loop does."""
    public = nacl.bindings.crypto_scalarmult_base(os.urandom(32))
    return hashlib.sha512(hashlib.sha512(public).digest()).digest()[0] == 0xFC


def test_batch_search(versus: Versus) -> None:
    trail = Walk(int.from_bytes(clamp(os.urandom(32)), "little"))
    versus(
        "valid-address key search, batch",
        lambda: trail.search(*NOTHING, 1 << 62),
        plain_try,
        against="PyNaCl + hashlib loop, per tried key",
        target=0.02,
        units=trail.width,
        peer_units=1,
        note=f"per key; blocks of {trail.width} keys",
    )


def test_readable_walk(versus: Versus) -> None:
    trail = walk(int.from_bytes(clamp(os.urandom(32)), "little"))
    versus(
        "key walk in plain Python, with address",
        lambda: next(trail).is_routable,
        plain_try,
        against="PyNaCl + hashlib loop, per tried key",
    )


def test_generate_per_try(versus: Versus) -> None:
    tried = 0

    def count(size: int) -> bytes:
        nonlocal tried
        tried += 1
        return source(size)

    for number in range(16):
        source = seeded_random(bytes([number]))
        PrivateKey.generate(random=count)
    versus(
        "PrivateKey.generate, per tried key",
        lambda: [PrivateKey.generate(random=seeded_random(bytes([number]))) for number in range(16)],
        plain_try,
        against="PyNaCl + hashlib loop, per tried key",
        units=tried,
        peer_units=1,
        rounds=7,
    )


def test_generate(versus: Versus) -> None:
    versus.report("PrivateKey.generate", PrivateKey.generate, least=0.3, note="some 256 keys are tried")


def test_search_for_any_address(versus: Versus) -> None:
    versus.report("search_vanity('fc')", lambda: search_vanity("fc"), note="one block, once compiled")


def test_parse(versus: Versus) -> None:
    text = PrivateKey.generate(random=seeded_random(b"bench")).public.text
    versus.report("PublicKey.parse, with its address", lambda: PublicKey.parse(text))


def test_print(versus: Versus) -> None:
    key = PrivateKey.generate(random=seeded_random(b"bench")).public
    versus.report("PublicKey.text", lambda: key.text)


def test_sign(versus: Versus) -> None:
    key = PrivateKey.generate(random=seeded_random(b"bench"))
    versus.report("PrivateKey.sign, 200 B", lambda: key.sign(bytes(200)))


def test_verify(versus: Versus) -> None:
    key = PrivateKey.generate(random=seeded_random(b"bench"))
    public, signature = key.signing_public, key.sign(bytes(200))
    versus.report("verify_signature, 200 B", lambda: verify_signature(bytes(200), signature, public))
