# SPDX-License-Identifier: Apache-2.0
"""Secrets that are shared with a key of a TPM: salts of sessions, seeds of credentials and of duplicates.

Source: TPM 2.0 Library, Part 1, annexes B (RSA) and C (ECC): B.10 and C.6 (secret sharing).

Whoever has the public area of a decryption key can share a secret with its TPM. How, depends on the key::

    RSA     the secret is drawn, and encrypted with OAEP: the key's nameAlg is the hash, the label has a zero at its end
    ECC     an ephemeral key is drawn; Z = the x-coordinate of the product with the TPM's key;
            secret = KDFe(nameAlg, Z, label, x of the ephemeral key, x of the TPM's key);
            what is sent is the ephemeral point

The label says what the secret is for, and keeps a secret for one purpose from being taken for another.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeAlias

from prestocloud_sec.tpm._secrets import Random, buffer, drawn
from prestocloud_sec.tpm.errors import TpmFormatError, TpmMisuseError, TpmUnavailableError, UnwrapError
from prestocloud_sec.tpm.hashes import HashAlgorithm, hash_of
from prestocloud_sec.tpm.kdf import kdfe
from prestocloud_sec.tpm.public_keys import public_key_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurve, EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from prestocloud_sec.tpm.spec.structures.objects import TPMT_PUBLIC
    from prestocloud_sec.wire import BytesLike

    SoftwareKey: TypeAlias = RSAPrivateKey | EllipticCurvePrivateKey

__all__ = ["Purpose", "Salt", "draw_private_key", "make_salt", "recover_secret", "share_secret"]

_ALG_RSA = 0x0001
_DECRYPT = 1 << 17  # TPMA_OBJECT
_TRIALS = 1000
"""An honest source fails so often with probability below 2**-1000: half of all numbers, at least, are keys."""


class Purpose(Enum):
    """What a secret is shared for; the value is the label."""

    SALT = "SECRET"
    """The salt of a session (TPM2_StartAuthSession)."""
    CREDENTIAL = "IDENTITY"
    """The seed of a credential (TPM2_MakeCredential, TPM2_ActivateCredential)."""
    DUPLICATE = "DUPLICATE"
    """The seed of an outer wrap (TPM2_Duplicate, TPM2_Rewrap, TPM2_Import)."""


@dataclass(frozen=True, slots=True)
class Salt:
    """A secret that is shared with a key of a TPM, as a session takes it.

    Attributes
    ----------
    secret : bytes
        The secret; not shown.
    encrypted : bytes
        The *encryptedSalt* of TPM2_StartAuthSession: what a TPM2B_ENCRYPTED_SECRET holds.

    Raises
    ------
    TpmMisuseError
        If an argument is not bytes-like, or empty.
    """

    secret: bytes = field(repr=False)
    encrypted: bytes

    def __post_init__(self) -> None:
        for name in ("secret", "encrypted"):
            held = buffer(getattr(self, name), f"Salt.{name}")
            if not held:
                raise TpmMisuseError("empty", where=f"Salt.{name}", expected="bytes")
            object.__setattr__(self, name, held)


def make_salt(public: TPMT_PUBLIC, *, random: Random = os.urandom) -> Salt:
    """Return a salt that only the TPM which holds a key can read; `share_secret` says what can be wrong.

    Parameters
    ----------
    public : TPMT_PUBLIC
        A decryption key, RSA or ECC, whose handle is to be the *tpmKey* of TPM2_StartAuthSession.
    random : callable
        Returns as many fresh random bytes as it is asked for.
    """
    return Salt(*share_secret(public, Purpose.SALT, random=random))


def share_secret(public: TPMT_PUBLIC, purpose: Purpose, *, random: Random = os.urandom) -> tuple[bytes, bytes]:
    """Draw a secret that only the holder of a private key can find out.

    Parameters
    ----------
    public : TPMT_PUBLIC
        The RSA or ECC key.
    purpose : Purpose
        What the secret is for.
    random : callable
        Returns as many fresh random bytes as it is asked for. (OAEP draws its own seed from the system.)

    Returns
    -------
    secret, encrypted : bytes
        As long as a digest of the key's nameAlg; and what goes to the TPM, in a TPM2B_ENCRYPTED_SECRET.

    Raises
    ------
    VerificationError
        If the public area is no key: a point that is not on its curve.
    TpmMisuseError
        If an argument has the wrong type, or the key is none that decrypts.
    TpmUnavailableError
        If pyca/cryptography lacks the curve, or OAEP with this hash.
    """
    key, algorithm, label = _checked(public, purpose)
    if public.type == _ALG_RSA:
        secret = drawn(random, algorithm.size)
        return secret, _oaep(key.encrypt, secret, algorithm, label)
    from cryptography.hazmat.primitives.asymmetric import ec

    ephemeral = draw_private_key(key.curve, random)
    z = ephemeral.exchange(ec.ECDH(), key)
    point = _coordinates(ephemeral.public_key())
    secret = kdfe(algorithm, z, label, point[0], _coordinates(key)[0])
    return secret, b"".join(len(part).to_bytes(2, "big") + part for part in point)


def draw_private_key(curve: EllipticCurve, random: Random) -> EllipticCurvePrivateKey:
    """Draw a private key, by trial (FIPS 186-5, A.2.2).

    Raises
    ------
    TpmMisuseError
        If `random` returns something else than what it is asked for, or never a number that fits.
    """
    from cryptography.hazmat.primitives.asymmetric import ec

    bits = curve.key_size
    for _ in range(_TRIALS):
        number = int.from_bytes(drawn(random, (bits + 7) // 8), "big") >> -bits % 8
        try:
            return ec.derive_private_key(number, curve)
        except ValueError:  # zero, or not below the order
            continue
    raise TpmMisuseError(
        f"no private key in {_TRIALS} draws", where="random", expected="a source that does not repeat itself"
    )


def recover_secret(private: SoftwareKey, public: TPMT_PUBLIC, purpose: Purpose, encrypted: BytesLike) -> bytes:
    """Find out a shared secret with the private key, as a TPM does.

    Parameters
    ----------
    private : RSAPrivateKey or EllipticCurvePrivateKey
        The private key of pyca/cryptography.
    public : TPMT_PUBLIC
        Its public area, which has the nameAlg.
    purpose : Purpose
        What the secret is for.
    encrypted : bytes-like
        What a TPM2B_ENCRYPTED_SECRET holds.

    Raises
    ------
    UnwrapError
        If it does not decrypt: it was changed, or is for another key or purpose.
    TpmFormatError
        If it is no point on the curve of the key.
    TpmMisuseError
        If an argument has the wrong type, or the private key does not belong to the public area.
    TpmUnavailableError
        If pyca/cryptography lacks the curve, or OAEP with this hash.
    """
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    key, algorithm, label = _checked(public, purpose)
    raw = buffer(encrypted, "encrypted")
    if not isinstance(private, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) or private.public_key() != key:
        raise TpmMisuseError("not the private key of this public area", where="private")
    if public.type == _ALG_RSA:
        secret = _oaep(private.decrypt, raw, algorithm, label)  # type: ignore[union-attr]
        if len(secret) > algorithm.size:
            raise UnwrapError(f"{len(secret)} bytes", where="shared secret", expected=f"at most {algorithm.size}")
        return secret
    ephemeral = _point(raw, key.curve)
    z = private.exchange(ec.ECDH(), ephemeral)  # type: ignore[union-attr]
    return kdfe(algorithm, z, label, _coordinates(ephemeral)[0], _coordinates(key)[0])


def _checked(public: TPMT_PUBLIC, purpose: Purpose) -> tuple[Any, HashAlgorithm, str]:
    """Return the public key, its nameAlg and the label."""
    if not isinstance(purpose, Purpose):
        raise TpmMisuseError(f"{type(purpose).__name__}", where="purpose", expected="a Purpose")
    key = public_key_of(public)
    if not public.objectAttributes & _DECRYPT:
        raise TpmMisuseError("the key does not decrypt", where="public", expected="the attribute decrypt")
    return key, hash_of(public.nameAlg, "public.nameAlg"), purpose.value


def _oaep(function: Any, data: bytes, algorithm: HashAlgorithm, label: str) -> bytes:
    """Encrypt or decrypt with OAEP; the zero after the label is a part of it."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import padding

    hashed = algorithm.cryptography()
    oaep = padding.OAEP(mgf=padding.MGF1(hashed), algorithm=hashed, label=label.encode() + b"\0")
    try:
        result: bytes = function(data, oaep)
    except UnsupportedAlgorithm as error:
        raise TpmUnavailableError(f"no OAEP with {algorithm.name} in pyca/cryptography", where="nameAlg") from error
    except ValueError:
        # Without its cause, and all faults alike: which check failed is what an attacker would like to know.
        raise UnwrapError("does not decrypt", where="shared secret", hint="made for another key or purpose") from None
    return result


def _coordinates(key: Any) -> tuple[bytes, bytes]:
    """Return the coordinates of a public key, each as long as the field."""
    numbers, size = key.public_numbers(), (key.curve.key_size + 7) // 8
    return numbers.x.to_bytes(size, "big"), numbers.y.to_bytes(size, "big")


def _point(raw: bytes, curve: EllipticCurve) -> Any:
    """Return the public key that a TPMS_ECC_POINT is."""
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicNumbers

    from prestocloud_sec.tpm.spec.structures.schemes import TPMS_ECC_POINT

    point = TPMS_ECC_POINT.decode(raw)
    x, y = (int.from_bytes(part, "big") for part in (point.x, point.y))
    try:
        return EllipticCurvePublicNumbers(x, y, curve).public_key()
    except ValueError as error:
        raise TpmFormatError(
            "not on the curve", where="ephemeral point", expected=f"a point of {curve.name}"
        ) from error
