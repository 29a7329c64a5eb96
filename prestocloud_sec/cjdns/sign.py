# SPDX-License-Identifier: Apache-2.0
"""Ed25519 signatures made with a node's Curve25519 key (cjdns v21.1, ``crypto/Sign.c``).

A node owns one private key, and it is a Curve25519 key. To sign, cjdns uses the clamped private scalar *itself* as the
Ed25519 scalar, where RFC 8032 would first hash a seed. Both curves are two forms of one curve (RFC 7748, section 4.1),
so the public point is the same: the receiver verifies a plain Ed25519 signature, converts the signer's Edwards key
with ``u = (1 + y) / (1 - y)`` and holds the node's Curve25519 key, hence its address.

RFC 8032 draws the signature's nonce from the half of the hash that is not the scalar. Here there is no such half; cjdns
makes one from the scalar and 32 fresh random bytes: ``r = SHA512(SHA512(scalar || random)[32:64] || message) mod L``.

Everything here takes and returns bytes; `prestocloud_sec.cjdns.keys` gives it types. The curve and scalar arithmetic is
libsodium's, by way of PyNaCl.
"""

from __future__ import annotations

import hashlib

import nacl.bindings as sodium
import nacl.exceptions

from prestocloud_sec.cjdns._layout import octets, view
from prestocloud_sec.cjdns.errors import CjdnsMisuseError, KeyFormatError, SignatureError

__all__ = ["SIGNATURE_SIZE", "clamp", "edwards_to_curve", "sign", "signing_public", "verify", "wipe"]

KEY_SIZE = 32
"""Bytes of a key of either kind."""

SIGNATURE_SIZE = 64
"""Bytes of a signature: the point R and the scalar S, 32 each."""


def clamp(secret: bytes | bytearray) -> bytearray:
    """Return the scalar that Curve25519 makes of 32 bytes: a multiple of 8 with bit 254 set and bit 255 clear.

    Raises
    ------
    CjdnsMisuseError
        If `secret` is not 32 bytes.
    """
    scalar = bytearray(view(secret, "secret"))  # and no `bytes` in between, which could not be wiped
    if len(scalar) != KEY_SIZE:
        wipe(scalar)
        raise CjdnsMisuseError(f"{len(scalar)} bytes", where="secret", expected=f"{KEY_SIZE} bytes")
    scalar[0] &= 0xF8
    scalar[31] = (scalar[31] & 0x7F) | 0x40
    return scalar


def wipe(secret: bytearray) -> None:
    """Overwrite a buffer with zeros."""
    if not isinstance(secret, bytearray):
        raise CjdnsMisuseError(f"a {type(secret).__name__}", where="secret", expected="a bytearray")
    secret[:] = bytes(len(secret))


def signing_public(secret: bytes | bytearray) -> bytes:
    """Return the Ed25519 public key (32 bytes) of a Curve25519 private key (32 bytes)."""
    scalar = clamp(secret)
    try:
        return sodium.crypto_scalarmult_ed25519_base_noclamp(bytes(scalar))
    finally:
        wipe(scalar)


def _reduced(digest: bytes) -> bytes:
    """Return a 64-byte little-endian number modulo the order of the base point, as 32 bytes."""
    return sodium.crypto_core_ed25519_scalar_reduce(digest)


def sign(secret: bytes | bytearray, message: bytes, noise: bytes) -> bytes:
    """Return the signature (64 bytes) of `message`.

    Parameters
    ----------
    secret : bytes-like, 32 bytes
        The Curve25519 private key, as stored (it is clamped here).
    message : bytes
        What to sign, of any length.
    noise : bytes, 32 bytes
        Fresh random bytes. The same noise with the same message gives the same signature.
    """
    message, noise = octets(message, "message"), octets(noise, "noise", KEY_SIZE)
    scalar = clamp(secret)
    seed = bytearray(scalar + noise)
    try:
        public = sodium.crypto_scalarmult_ed25519_base_noclamp(bytes(scalar))
        prefix = hashlib.sha512(seed).digest()[32:]
        nonce = _reduced(hashlib.sha512(prefix + message).digest())
        commitment = sodium.crypto_scalarmult_ed25519_base_noclamp(nonce)
        challenge = _reduced(hashlib.sha512(commitment + public + message).digest())
        own = _reduced(bytes(scalar) + bytes(32))
        product = sodium.crypto_core_ed25519_scalar_mul(challenge, own)
        return commitment + sodium.crypto_core_ed25519_scalar_add(nonce, product)
    finally:
        wipe(scalar)
        wipe(seed)


def verify(message: bytes, signature: bytes, edwards: bytes) -> None:
    """Refuse a signature (64 bytes) of `message` that was not made with the Ed25519 key `edwards` (32 bytes).

    Raises
    ------
    SignatureError
        If it does not verify, or if the key is not a point that libsodium takes (small order, not canonical).
    """
    signed = octets(signature, "signature", SIGNATURE_SIZE) + octets(message, "message")
    try:
        sodium.crypto_sign_open(signed, octets(edwards, "signing key", KEY_SIZE))
    except nacl.exceptions.CryptoError as error:
        raise SignatureError(
            "the signature does not verify", expected="a signature of exactly this message by this key"
        ) from error


def edwards_to_curve(edwards: bytes) -> bytes:
    """Return the Curve25519 form (32 bytes) of an Ed25519 public key (32 bytes): ``u = (1 + y) / (1 - y)``.

    Raises
    ------
    KeyFormatError
        If the key is not a point of the curve's main subgroup.
    """
    try:
        return sodium.crypto_sign_ed25519_pk_to_curve25519(octets(edwards, "signing key", KEY_SIZE))
    except nacl.exceptions.CryptoError as error:
        raise KeyFormatError(
            "not a point of prime order on Ed25519", where="signing key", expected="an Ed25519 public key"
        ) from error
