# SPDX-License-Identifier: Apache-2.0
"""How two keys, and perhaps a password, become the secret of a box.

Sources: cjdns v21.1 ``crypto/CryptoAuth.c``, ``getSharedSecret``; PrEstoCloud deliverable, 3.3, "Authentication Field".

::

    without a password    HSalsa20(X25519(mine, hers), 0)                 NaCl's crypto_box_beforenm
    with a password       SHA256(X25519(mine, hers) || SHA256(password))  no HSalsa20

Which keys go in depends on the packet:

==================  ==========================================  ===================================  =========
packet              sender                                      receiver                             password
==================  ==========================================  ===================================  =========
hello               its permanent x the peer's permanent        the same two                         sender's
key                 its *permanent* x the peer's temporary      its temporary x peer's permanent     sender's
data                its temporary x the peer's temporary        the same two                         none
==================  ==========================================  ===================================  =========

A password is mixed with the raw product, so that one who can compute the product (somebody who broke the curve, or
stole the private keys) still cannot open a handshake without the password.

A point of small order makes every product zero, a secret that everybody knows. libsodium refuses such a product, and
so does `SmallOrderError` here, in both profiles and with quirks too.
"""

from __future__ import annotations

import hashlib
from typing import NoReturn

import nacl.bindings as sodium

from prestocloud_sec.cjdns.cryptoauth.sodium import beforenm, check_keys
from prestocloud_sec.cjdns.errors import CjdnsMisuseError, SmallOrderError
from prestocloud_sec.cjdns.keys import PrivateKey
from prestocloud_sec.cjdns.sign import wipe

__all__ = ["KeepsSecrets", "PairSecret", "mix_password", "plain_secret", "raw_product"]


def _small_order() -> SmallOrderError:
    return SmallOrderError(
        "a point of small order", where="public key", expected="a key that somebody drew", hint="do not talk to it"
    )


def raw_product(private: bytes, public: bytes) -> bytes:
    """Return the 32 bytes of X25519.

    Raises
    ------
    SmallOrderError
        If the product is zero.
    """
    check_keys(private, public)
    try:
        return sodium.crypto_scalarmult(private, public)
    except RuntimeError as error:
        raise _small_order() from error


def plain_secret(private: bytes, public: bytes) -> bytes:
    """Return the secret without a password.

    Raises
    ------
    SmallOrderError
        If the product is zero.
    """
    secret = beforenm(public, private)
    if secret is None:
        raise _small_order()
    return secret


def mix_password(product: bytes, password_secret: bytes) -> bytes:
    """Return the secret with a password: SHA-256 over the raw product and the password's secret (32 bytes each)."""
    return hashlib.sha256(product + password_secret).digest()


class KeepsSecrets:
    """Base of what is neither copied nor pickled: it holds secrets, or counters that must count for one holder only."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        """Refuse: two copies of a session would seal with the same nonces, which opens the packets of both."""
        raise CjdnsMisuseError(
            "holds secrets", where=type(self).__name__, expected="no copy and no pickle", hint="hand the object around"
        )


class PairSecret(KeepsSecrets):
    """The secrets of one pair of keys with and without passwords; each scalar multiplication is done once.

    Holds two secrets of 32 bytes at most, however many passwords are tried.
    """

    __slots__ = ("_plain", "_product")

    def __init__(self) -> None:
        self._plain: bytearray | None = None
        self._product: bytearray | None = None

    def get(self, private: PrivateKey | bytes | bytearray, public: bytes, password_secret: bytes | None) -> bytes:
        """Return the secret of the pair; `private` and `public` must be the same at every call.

        A private key is looked at only where there is something to compute.

        Raises
        ------
        SmallOrderError
            If `public` is a point of small order.
        """
        if password_secret is None:
            if self._plain is not None:
                return bytes(self._plain)
            secret = beforenm(public, private.raw if isinstance(private, PrivateKey) else bytes(private))
            if secret is None:
                raise _small_order()
            self._plain = bytearray(secret)
            return secret
        if self._product is None:
            self._product = bytearray(
                raw_product(private.raw if isinstance(private, PrivateKey) else bytes(private), public)
            )
        return mix_password(bytes(self._product), password_secret)

    def wipe(self) -> None:
        """Forget the secrets; the next `get` computes them anew, perhaps for another pair."""
        if self._plain is not None:
            wipe(self._plain)
        if self._product is not None:
            wipe(self._product)
        self._plain = self._product = None
