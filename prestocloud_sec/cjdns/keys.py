# SPDX-License-Identifier: Apache-2.0
"""A node's private key, what it signs, and (from `identity`, `base32` and `keysearch`) all that goes with a key.

`PrivateKey` holds a secret: it prints only its public half, compares in constant time, refuses to be pickled, and can
be wiped. `PublicKey`, `Address` and `NodeName` are values; see `prestocloud_sec.cjdns.identity` for the rule that makes
an address of a key.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

import nacl.bindings as sodium

from prestocloud_sec.cjdns import sign as signatures
from prestocloud_sec.cjdns._layout import octets
from prestocloud_sec.cjdns.base32 import base32_decode, base32_encode
from prestocloud_sec.cjdns.errors import CjdnsMisuseError, KeyEncodingError, KeyLengthError, SignatureError
from prestocloud_sec.cjdns.identity import (
    HEX_KEY,
    KEY_SIZE,
    Address,
    NodeName,
    PublicKey,
    address_bytes,
    exact_bytes,
    exact_text,
    parse_ip,
)
from prestocloud_sec.wire import result_of

if TYPE_CHECKING:
    from prestocloud_sec.cjdns.keysearch import Progress
    from prestocloud_sec.wire import BytesLike

__all__ = [
    "KEY_SIZE",
    "Address",
    "NodeName",
    "PrivateKey",
    "PublicKey",
    "address_bytes",
    "base32_decode",
    "base32_encode",
    "parse_ip",
    "search_vanity",
    "signing_key_to_curve",
    "verify_signature",
]

_GENERATE_LIMIT = 100_000  # an honest random source fails this often with probability (255/256)**100000 < 2**-560

Random = Callable[[int], bytes]


def drawn(random: Random, size: int) -> bytes:
    """Take `size` bytes from an injected random source, and hold it to its promise."""
    data = result_of(random, size, name="random", expected=f"{size} bytes", error=CjdnsMisuseError)
    # Exactly `bytes`: a subclass can lie about its length.
    if type(data) is not bytes or len(data) != size:
        raise CjdnsMisuseError(
            "the random source did not return what it was asked for", where="random", expected=f"{size} bytes"
        )
    return data


class PrivateKey:
    """A node's Curve25519 private key: 32 bytes as they are stored, which X25519 clamps when it uses them.

    Comparison takes constant time. Pickling is refused, because a secret does not belong in a pickle, and a copy is the
    object itself, because a second copy of a secret would outlive `wipe`.

    Parameters
    ----------
    raw : bytes-like, 32 bytes
        The secret. It need not give a valid address: temporary keys are private keys too.

    Raises
    ------
    KeyLengthError
        If the bytes are not 32.
    """

    __slots__ = ("_public", "_secret")

    def __init__(self, raw: BytesLike) -> None:
        self._secret: bytearray | None = bytearray(exact_bytes(raw, KEY_SIZE, "private key", KeyLengthError))
        self._public: PublicKey | None = None

    @classmethod
    def generate(cls, *, random: Random = os.urandom) -> PrivateKey:
        """Draw keys until one gives an address in fc00::/8: 256 of them in the mean, some 6 ms of work.

        Parameters
        ----------
        random : callable
            Returns as many fresh random bytes as it is asked for.

        Raises
        ------
        CjdnsMisuseError
            If `random` returns something else, or never a key that fits, because it repeats itself.
        """
        for _ in range(_GENERATE_LIMIT):
            key = cls(drawn(random, KEY_SIZE))
            if key.public.is_routable:
                return key
            key.wipe()
        raise CjdnsMisuseError(
            f"no valid address in {_GENERATE_LIMIT} keys",
            where="random",
            expected="a source that does not repeat itself",
        )

    @classmethod
    def parse(cls, text: str) -> PrivateKey:
        """Read a private key from 64 hexadecimal digits, as cjdroute.conf holds it.

        Raises
        ------
        KeyLengthError
            If there are fewer or more characters.
        KeyEncodingError
            If one of them is not a hexadecimal digit. The message does not repeat the text.
        """
        exact_text(text, "private key")
        if len(text) != 2 * KEY_SIZE:
            raise KeyLengthError(f"{len(text)} characters", where="private key", expected="64 hexadecimal digits")
        if not HEX_KEY.fullmatch(text):
            raise KeyEncodingError(
                "a character is not a hexadecimal digit", where="private key", expected="64 hexadecimal digits"
            )
        return cls(bytes.fromhex(text))

    @property
    def raw(self) -> bytes:
        """The 32 secret bytes, as a copy that `wipe` does not reach."""
        return bytes(self._live())

    @property
    def public(self) -> PublicKey:
        """The public key (computed once)."""
        secret = self._live()
        if self._public is None:
            self._public = PublicKey(sodium.crypto_scalarmult_base(bytes(secret)))
        return self._public

    @property
    def address(self) -> Address:
        """The node's address.

        Raises
        ------
        AddressError
            If the public key does not hash into fc00::/8.
        """
        return self.public.address

    @property
    def signing_public(self) -> bytes:
        """The Ed25519 public key (32 bytes) that verifies what `sign` makes."""
        return signatures.signing_public(self._live())

    def sign(self, message: BytesLike, *, random: Random = os.urandom) -> bytes:
        """Return the Ed25519 signature (64 bytes) of `message`, made as cjdns makes it (``Sign_signMsg``).

        Raises
        ------
        CjdnsMisuseError
            If `message` is not bytes-like, or `random` does not return the 32 bytes it is asked for.
        """
        data = octets(message, "message")
        return signatures.sign(self._live(), data, drawn(random, 32))

    def wipe(self) -> None:
        """Overwrite the secret with zeros; any later use raises CjdnsMisuseError. Wiping twice is harmless."""
        if self._secret is not None:
            signatures.wipe(self._secret)
            self._secret = None

    def _live(self) -> bytearray:
        if self._secret is None:
            raise CjdnsMisuseError("the key was wiped", where="private key", expected="no use after wipe()")
        return self._secret

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PrivateKey):
            return NotImplemented
        return hmac.compare_digest(self._live(), other._live())

    def __hash__(self) -> int:
        return hash(self.public)

    def __repr__(self) -> str:
        return "PrivateKey(wiped)" if self._secret is None else f"PrivateKey(public='{self.public}')"

    def __copy__(self) -> PrivateKey:
        return self

    def __deepcopy__(self, memo: object) -> PrivateKey:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise CjdnsMisuseError(
            "a private key does not go into a pickle", where="private key", hint="store .raw where secrets are kept"
        )


def signing_key_to_curve(signing_public: BytesLike) -> PublicKey:
    """Return the Curve25519 key of the node that signs with `signing_public` (``Sign_publicSigningKeyToCurve25519``).

    Raises
    ------
    KeyLengthError
        If the key is not 32 bytes.
    KeyFormatError
        If it is not a point of prime order on Ed25519.
    """
    return PublicKey(signatures.edwards_to_curve(exact_bytes(signing_public, KEY_SIZE, "signing key", KeyLengthError)))


def verify_signature(
    message: BytesLike, signature: BytesLike, signing_public: BytesLike, *, signer: PublicKey | None = None
) -> PublicKey:
    """Verify a signature and return the node key of whoever made it.

    The Ed25519 key is not what names a node; a caller who knows whom to expect passes `signer`, any other looks at the
    key that is returned.

    Parameters
    ----------
    message : bytes-like
        What was signed, of any length.
    signature : bytes-like, 64 bytes
        What `PrivateKey.sign` made.
    signing_public : bytes-like, 32 bytes
        The signer's Ed25519 key, `PrivateKey.signing_public`.
    signer : PublicKey, optional
        The Curve25519 key that `signing_public` must belong to.

    Raises
    ------
    SignatureError
        If the signature is not 64 bytes, does not verify, or was made by another node than `signer`.
    KeyFormatError
        If `signing_public` is not an Ed25519 key.
    """
    data = octets(message, "message")
    raw = exact_bytes(signature, signatures.SIGNATURE_SIZE, "signature", SignatureError)
    edwards = exact_bytes(signing_public, KEY_SIZE, "signing key", KeyLengthError)
    if signer is not None and not isinstance(signer, PublicKey):
        raise CjdnsMisuseError(f"{type(signer).__name__} is not a key", where="signer", expected="PublicKey")
    key = signing_key_to_curve(edwards)
    if signer is not None and key != signer:
        raise SignatureError(f"the signing key belongs to {key}", where="signer", expected=str(signer))
    signatures.verify(data, raw, edwards)
    return key


def search_vanity(
    prefix: str,
    *,
    progress: Callable[[Progress], None] | None = None,
    limit: int | None = None,
    random: Random = os.urandom,
) -> PrivateKey:
    """Search for a key whose address begins with `prefix`; see `prestocloud_sec.cjdns.keysearch.search_vanity`."""
    from prestocloud_sec.cjdns import keysearch

    return keysearch.search_vanity(prefix, progress=progress, limit=limit, random=random)
