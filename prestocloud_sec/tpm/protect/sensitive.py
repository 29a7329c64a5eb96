# SPDX-License-Identifier: Apache-2.0
"""Secret parts of objects: made of keys and data, turned back into them, and held against their public parts.

Sources: TPM 2.0 Library, Part 1, 27.5 to 27.7 (object structures); Part 2, 12.3.2 (TPMT_SENSITIVE).

=========  ===================================================  ============================================
type       the secret (*sensitive*)                             what ties it to the public area (*unique*)
=========  ===================================================  ============================================
RSA        one prime of the modulus                             the modulus
ECC        the private number, padded to the size of the field  the point
KEYEDHASH  data, or an HMAC key                                 H(seedValue || data), with the nameAlg
SYMCIPHER  a symmetric key                                      H(seedValue || key), with the nameAlg
=========  ===================================================  ============================================
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from prestocloud_sec.tpm._secrets import Random, buffer, drawn
from prestocloud_sec.tpm.errors import TpmMisuseError, VerificationError
from prestocloud_sec.tpm.hashes import hash_of
from prestocloud_sec.tpm.public_keys import curve_of, public_key_of
from prestocloud_sec.tpm.session.auth_value import AuthValueLike, auth_value
from prestocloud_sec.tpm.spec.constants import TPM_ALG_ID
from prestocloud_sec.tpm.spec.structures.objects import TPMT_PUBLIC, TPMT_SENSITIVE

if TYPE_CHECKING:
    from prestocloud_sec.tpm.salt import SoftwareKey
    from prestocloud_sec.wire import BytesLike

__all__ = ["check_binding", "private_key_of", "sensitive_of", "unique_of"]

_WITH_SEED = (TPM_ALG_ID.KEYEDHASH, TPM_ALG_ID.SYMCIPHER)


def sensitive_of(
    public: TPMT_PUBLIC,
    secret: SoftwareKey | BytesLike,
    auth: AuthValueLike = b"",
    *,
    random: Random = os.urandom,
) -> tuple[TPMT_PUBLIC, TPMT_SENSITIVE]:
    """Return an object's two parts for a secret: to be loaded by TPM2_LoadExternal, or wrapped for TPM2_Import.

    Parameters
    ----------
    public : TPMT_PUBLIC
        The public area. Of a KEYEDHASH or SYMCIPHER object its *unique* does not count: it is computed.
    secret : RSA or ECC private key, or bytes-like
        A private key of pyca/cryptography for an RSA or ECC object; data or a symmetric key for the others.
    auth : AuthValue, bytes-like or str
        The object's authorization value, at most as long as a digest of its nameAlg.
    random : callable
        Returns as many fresh random bytes as it is asked for: for the seed of KEYEDHASH and SYMCIPHER objects, which
        keeps *unique* from telling a secret that can be guessed.

    Returns
    -------
    public : TPMT_PUBLIC
        The public area, with the right *unique*.
    sensitive : TPMT_SENSITIVE
        The secret part.

    Raises
    ------
    TpmMisuseError
        If an argument has the wrong type, or the secret does not belong to the public area.
    """
    _check_public(public)
    algorithm = hash_of(public.nameAlg, "public.nameAlg")
    value = auth_value(auth).raw
    if len(value) > algorithm.size:
        raise TpmMisuseError(f"{len(value)} bytes", where="auth", expected=f"at most {algorithm.size}")
    if public.type in _WITH_SEED:
        data, seed = buffer(secret, "secret"), drawn(random, algorithm.size)  # type: ignore[arg-type]
        public = public.replace(unique=unique_of(public, seed, data))
        return public, TPMT_SENSITIVE(public.type, value, seed, data)
    sensitive = TPMT_SENSITIVE(public.type, value, b"", _number_of(public, secret))
    try:
        check_binding(public, sensitive)
    except VerificationError as error:
        raise TpmMisuseError(error.what, where="secret", expected="the private key of the public area") from None
    return public, sensitive


def unique_of(public: TPMT_PUBLIC, seed: BytesLike, data: BytesLike) -> bytes:
    """Return *unique* of a KEYEDHASH or SYMCIPHER object.

    Parameters
    ----------
    public : TPMT_PUBLIC
        Has the nameAlg.
    seed : bytes-like
        *seedValue*.
    data : bytes-like
        The data or key.

    Raises
    ------
    TpmMisuseError
        If an argument has the wrong type.
    """
    _check_public(public)
    return hash_of(public.nameAlg, "public.nameAlg").digest(buffer(seed, "seed"), buffer(data, "data"))


def check_binding(public: TPMT_PUBLIC, sensitive: TPMT_SENSITIVE) -> None:
    """Check that two parts are those of one object.

    Raises
    ------
    VerificationError
        If they are not.
    TpmMisuseError
        If an argument has the wrong type.
    TpmUnavailableError
        If pyca/cryptography has no such curve.
    """
    _check_public(public)
    if not isinstance(sensitive, TPMT_SENSITIVE):
        raise TpmMisuseError(type(sensitive).__name__, where="sensitive", expected="a TPMT_SENSITIVE")
    if sensitive.sensitiveType != public.type:
        what = f"type {sensitive.sensitiveType.name}"
        raise VerificationError(what, where="sensitive", expected=public.type.name)
    if public.type in _WITH_SEED:
        fits = unique_of(public, sensitive.seedValue, sensitive.sensitive) == public.unique
    else:
        fits = _key_or_none(public, sensitive.sensitive) is not None
    if not fits:
        raise VerificationError("not the secret of this public area", where="sensitive")


def private_key_of(public: TPMT_PUBLIC, sensitive: TPMT_SENSITIVE) -> SoftwareKey:
    """Return the private key of an RSA or ECC object, as pyca/cryptography has it.

    Raises
    ------
    VerificationError
        If the parts are not those of one object.
    TpmMisuseError
        If it is another type of object, or an argument has the wrong type.
    TpmUnavailableError
        If pyca/cryptography has no such curve.
    """
    check_binding(public, sensitive)
    if public.type in _WITH_SEED:
        raise TpmMisuseError(f"type {public.type.name}", where="public", expected="RSA or ECC")
    found: SoftwareKey = _key_or_none(public, sensitive.sensitive)
    return found


def _check_public(public: object) -> None:
    if not isinstance(public, TPMT_PUBLIC):
        raise TpmMisuseError(type(public).__name__, where="public", expected="a TPMT_PUBLIC")


def _number_of(public: TPMT_PUBLIC, secret: object) -> bytes:
    """Return what the secret part has of a private key."""
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    if public.type == TPM_ALG_ID.RSA and isinstance(secret, rsa.RSAPrivateKey):
        return secret.private_numbers().p.to_bytes(secret.key_size // 16, "big")
    if public.type == TPM_ALG_ID.ECC and isinstance(secret, ec.EllipticCurvePrivateKey):
        return secret.private_numbers().private_value.to_bytes((secret.key_size + 7) // 8, "big")
    expected = f"a private key for {public.type.name}"
    raise TpmMisuseError(f"{type(secret).__name__}", where="secret", expected=expected)


def _key_or_none(public: TPMT_PUBLIC, secret: bytes) -> Any:
    """Return the private key that a secret is, if the public area is its other half."""
    key: Any = public_key_of(public)
    number = int.from_bytes(secret, "big")
    if public.type == TPM_ALG_ID.RSA:
        return _rsa(key.public_numbers(), number)
    from cryptography.hazmat.primitives.asymmetric import ec

    parameters: Any = public.parameters
    try:
        found = ec.derive_private_key(number, curve_of(parameters.curveID))
    except ValueError:  # zero, or not below the order
        return None
    return found if found.public_key() == key else None


def _rsa(numbers: Any, prime: int) -> Any:
    from cryptography.hazmat.primitives.asymmetric import rsa

    if prime < 3 or numbers.n % prime or prime == numbers.n:
        return None
    other = numbers.n // prime
    try:
        d = pow(numbers.e, -1, (prime - 1) * (other - 1))
        crt = rsa.rsa_crt_dmp1(d, prime), rsa.rsa_crt_dmq1(d, other), rsa.rsa_crt_iqmp(prime, other)
        return rsa.RSAPrivateNumbers(prime, other, d, *crt, numbers).private_key()
    except ValueError:  # the factors are no primes
        return None
