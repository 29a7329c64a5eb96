# SPDX-License-Identifier: Apache-2.0
"""Signatures with a node's key, verified by an Ed25519 library that knows nothing of cjdns."""

from __future__ import annotations

import hashlib
from typing import Any

import nacl.exceptions
import nacl.signing
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestocloud_sec.cjdns.errors import CjdnsMisuseError, KeyFormatError, KeyLengthError, SignatureError
from prestocloud_sec.cjdns.keys import PrivateKey, PublicKey, signing_key_to_curve, verify_signature
from prestocloud_sec.testing.keys import private_keys, seeded_random

NODE = PrivateKey.generate(random=seeded_random(b"test_keys_sign"))
PRIME = 2**255 - 19


@settings(max_examples=50)
@given(private_keys(), st.binary(max_size=300))
def test_an_ed25519_library_verifies_it_and_the_key_converts_to_the_nodes(key: PrivateKey, message: bytes) -> None:
    signature = key.sign(message)
    nacl.signing.VerifyKey(key.signing_public).verify(message, signature)
    assert verify_signature(message, signature, key.signing_public) == key.public
    assert verify_signature(message, signature, key.signing_public, signer=key.public) == key.public


@given(private_keys())
def test_the_conversion_is_the_birational_map(key: PrivateKey) -> None:
    y = int.from_bytes(key.signing_public, "little") % 2**255
    u = (1 + y) * pow(1 - y, -1, PRIME) % PRIME
    assert signing_key_to_curve(key.signing_public).raw == u.to_bytes(32, "little") == key.public.raw


@settings(max_examples=50)
@given(st.binary(min_size=1, max_size=60), st.integers(0, 2**16), st.integers(0, 7))
def test_any_changed_bit_of_message_or_signature_is_noticed(message: bytes, at: int, bit: int) -> None:
    signed = bytearray(NODE.sign(message) + message)
    signed[at % len(signed)] ^= 1 << bit
    with pytest.raises(SignatureError):
        verify_signature(signed[64:], signed[:64], NODE.signing_public)


def test_the_random_bytes_enter_the_nonce_only() -> None:
    first = NODE.sign(b"message", random=lambda size: bytes(size))
    assert first == NODE.sign(b"message", random=lambda size: bytes(size))
    assert first[:32] != NODE.sign(b"message", random=lambda size: b"\1" * size)[:32]
    assert first[:32] != NODE.sign(b"another", random=lambda size: bytes(size))[:32]


def test_another_signer_is_refused() -> None:
    signature = NODE.sign(b"m")
    with pytest.raises(SignatureError, match="belongs to"):
        verify_signature(b"m", signature, NODE.signing_public, signer=PublicKey(bytes(32)))
    other = PrivateKey(hashlib.sha256(b"other").digest())
    with pytest.raises(SignatureError, match="does not verify"):
        verify_signature(b"m", signature, other.signing_public)


@pytest.mark.parametrize("size", [0, 63, 65])
def test_a_signature_has_64_bytes(size: int) -> None:
    with pytest.raises(SignatureError):
        verify_signature(b"m", bytes(size), NODE.signing_public)


@pytest.mark.parametrize(
    "point", [bytes(32), b"\1" + bytes(31), (PRIME - 1).to_bytes(32, "little"), b"\2" + bytes(31), b"\xff" * 32]
)
def test_a_point_of_small_order_or_off_the_curve_is_no_signing_key(point: bytes) -> None:
    with pytest.raises(KeyFormatError):
        signing_key_to_curve(point)
    with pytest.raises(KeyFormatError):
        verify_signature(b"m", bytes(64), point)


@given(st.binary(max_size=40), st.binary(max_size=70), st.binary(max_size=40))
def test_any_bytes_are_refused_by_type(message: bytes, signature: bytes, key: bytes) -> None:
    with pytest.raises((KeyFormatError, SignatureError)):
        verify_signature(message, signature, key)


@given(st.binary(min_size=64, max_size=64), st.binary(min_size=32, max_size=32))
def test_any_bytes_of_the_right_sizes_are_refused_by_type(signature: bytes, key: bytes) -> None:
    with pytest.raises((KeyFormatError, SignatureError)):
        verify_signature(b"m", signature, key)


@pytest.mark.parametrize(
    "call",
    [
        lambda: NODE.sign(b"m", random=lambda size: bytes(size - 1)),
        lambda: NODE.sign(b"m", random=None),  # type: ignore[arg-type]
        lambda: verify_signature("m", bytes(64), bytes(32)),  # type: ignore[arg-type]
        lambda: verify_signature(b"m", 64, bytes(32)),  # type: ignore[arg-type]
        lambda: verify_signature(b"m", bytes(64), None),  # type: ignore[arg-type]
        lambda: verify_signature(b"m", bytes(64), bytes(32), signer=bytes(32)),  # type: ignore[arg-type]
        lambda: signing_key_to_curve("00"),  # type: ignore[arg-type]
    ],
)
def test_wrong_use(call: Any) -> None:
    with pytest.raises(CjdnsMisuseError):
        call()


def test_a_short_signing_key() -> None:
    with pytest.raises(KeyLengthError):
        signing_key_to_curve(bytes(31))
