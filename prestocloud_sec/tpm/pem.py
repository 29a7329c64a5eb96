# SPDX-License-Identifier: Apache-2.0
"""Public keys in all forms that people have them in: a TPM's public area, a key of pyca/cryptography, PEM.

`public_key_of` (in `prestocloud_sec.tpm.public_keys`) goes from a public area to pyca/cryptography; here is the way
back, and PEM (SubjectPublicKeyInfo, RFC 5280, 4.1) both ways.

Source: TPM 2.0 Library, Part 2, 12.2.4 (TPMT_PUBLIC).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from prestocloud_sec.tpm._given import octets
from prestocloud_sec.tpm.errors import TpmFormatError, TpmMisuseError, TpmUnavailableError
from prestocloud_sec.tpm.hashes import HashName, hash_of
from prestocloud_sec.tpm.public_keys import curve_number, public_key_of
from prestocloud_sec.tpm.spec.attributes import TPMA_OBJECT
from prestocloud_sec.tpm.spec.constants import TPM_ALG_ID, TPM_ECC_CURVE
from prestocloud_sec.tpm.spec.structures.objects import TPMS_ECC_PARMS, TPMS_RSA_PARMS, TPMT_PUBLIC
from prestocloud_sec.tpm.spec.structures.schemes import (
    TPMS_ECC_POINT,
    TPMS_SCHEME_HASH,
    TPMT_ECC_SCHEME,
    TPMT_KDF_SCHEME,
    TPMT_RSA_SCHEME,
    TPMT_SYM_DEF_OBJECT,
)
from prestocloud_sec.wire import shown

if TYPE_CHECKING:
    from prestocloud_sec.tpm.public_keys import PublicKey
    from prestocloud_sec.wire import BytesLike

    KeyLike: TypeAlias = "TPMT_PUBLIC | PublicKey | str | BytesLike"

__all__ = ["KeyLike", "key_from", "public_area_of", "public_from_pem", "public_to_pem"]

_PEM_MARK = b"-----BEGIN"
_DEFAULT_EXPONENT = 65537
_RSA_SCHEMES = {"rsassa": TPM_ALG_ID.RSASSA, "rsapss": TPM_ALG_ID.RSAPSS}
_ECC_SCHEMES = {"ecdsa": TPM_ALG_ID.ECDSA}


def __getattr__(name: str) -> object:
    # At run time the alias is the documentation of what `key_from` takes.
    if name == "KeyLike":
        return TPMT_PUBLIC | RSAPublicKey | EllipticCurvePublicKey | str | bytes
    raise AttributeError(name)


def key_from(key: KeyLike, where: str = "key") -> tuple[PublicKey, TPMT_PUBLIC | None]:
    """Return a public key given in any form, for pyca/cryptography, and its public area where it was given as one.

    Parameters
    ----------
    key : TPMT_PUBLIC, RSA or ECC public key, str, or bytes-like
        A public area as a value or encoded, a key of pyca/cryptography, or PEM.

    Raises
    ------
    TpmFormatError
        If bytes or text hold neither a public area nor PEM of an RSA or ECC key.
    VerificationError
        If the numbers of a public area make no key.
    TpmMisuseError
        If it is something else.
    TpmUnavailableError
        If pyca/cryptography has no such curve.
    """
    if isinstance(key, RSAPublicKey | EllipticCurvePublicKey):
        return key, None
    if isinstance(key, TPMT_PUBLIC):
        return public_key_of(key), key
    if isinstance(key, RSAPrivateKey | EllipticCurvePrivateKey):
        expected = "a public area, a public key of RSA or ECC, or PEM"
        raise TpmMisuseError(type(key).__name__, where=where, expected=expected, hint="give its public_key()")
    raw = key.encode("utf-8", "replace") if isinstance(key, str) else octets(key, where)
    if isinstance(key, str) or raw.lstrip().startswith(_PEM_MARK):
        return _from_pem(raw, where), None
    public = TPMT_PUBLIC.decode(raw)
    return public_key_of(public), public


def _from_pem(raw: bytes, where: str) -> PublicKey:
    try:
        found = serialization.load_pem_public_key(raw)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise TpmFormatError(
            "no public key in PEM", where=where, expected="-----BEGIN PUBLIC KEY-----, and a key of RSA or ECC"
        ) from error
    if not isinstance(found, RSAPublicKey | EllipticCurvePublicKey):
        raise TpmFormatError(f"a {type(found).__name__}", where=where, expected="a key of RSA or ECC")
    return found


def public_area_of(
    key: PublicKey,
    *,
    name_hash: HashName = "sha256",
    attributes: TPMA_OBJECT = TPMA_OBJECT.userWithAuth | TPMA_OBJECT.sign_encrypt,
    scheme: str | None = None,
    scheme_hash: HashName = "sha256",
    policy: BytesLike = b"",
) -> TPMT_PUBLIC:
    """Return a public area for a key that pyca/cryptography has, as TPM2_LoadExternal takes it.

    Parameters
    ----------
    key : RSA or ECC public key
        The key.
    name_hash : str or int
        The hash of its Name.
    attributes : TPMA_OBJECT
        What it may be used for; by default to check signatures.
    scheme : str, optional
        ``rsassa``, ``rsapss`` or ``ecdsa``, the only scheme that it may be used with; by default any.
    scheme_hash : str or int
        The hash of that scheme.
    policy : bytes-like
        Digest of the policy that its use is bound to.

    Raises
    ------
    TpmMisuseError
        If a TPM has no such key, or an argument is of the wrong form.
    """
    if not isinstance(key, RSAPublicKey | EllipticCurvePublicKey):
        raise TpmMisuseError(shown(key), where="key", expected="a public key of RSA or ECC")
    is_rsa = isinstance(key, RSAPublicKey)
    known: dict[str, TPM_ALG_ID] = _RSA_SCHEMES if is_rsa else _ECC_SCHEMES
    if scheme is not None and (not isinstance(scheme, str) or scheme not in known):
        raise TpmMisuseError(shown(scheme), where="scheme", expected=f"{', '.join(known)}, or None")
    number = TPM_ALG_ID.NULL if scheme is None else known[scheme]
    details = None if scheme is None else TPMS_SCHEME_HASH(TPM_ALG_ID(hash_of(scheme_hash, "scheme_hash").id))
    head = TPM_ALG_ID(hash_of(name_hash, "name_hash").id), attributes, octets(policy, "policy")
    no_symmetric = TPMT_SYM_DEF_OBJECT(TPM_ALG_ID.NULL, None, None)
    if isinstance(key, RSAPublicKey):
        numbers = key.public_numbers()
        exponent = 0 if numbers.e == _DEFAULT_EXPONENT else numbers.e
        if exponent >> 32:
            raise TpmMisuseError(f"an exponent of {exponent.bit_length()} bits", where="key", expected="at most 32")
        return TPMT_PUBLIC(
            TPM_ALG_ID.RSA,
            *head,
            TPMS_RSA_PARMS(no_symmetric, TPMT_RSA_SCHEME(number, details), key.key_size, exponent),
            numbers.n.to_bytes((key.key_size + 7) // 8, "big"),
        )
    curve, point = TPM_ECC_CURVE(curve_number(key.curve)), key.public_numbers()
    size = (key.curve.key_size + 7) // 8
    no_kdf = TPMT_KDF_SCHEME(TPM_ALG_ID.NULL, None)
    return TPMT_PUBLIC(
        TPM_ALG_ID.ECC,
        *head,
        TPMS_ECC_PARMS(no_symmetric, TPMT_ECC_SCHEME(number, details), curve, no_kdf),
        TPMS_ECC_POINT(point.x.to_bytes(size, "big"), point.y.to_bytes(size, "big")),
    )


def public_to_pem(key: KeyLike) -> str:
    """Return a public key as PEM (SubjectPublicKeyInfo); errors as for `key_from`."""
    found, _ = key_from(key)
    form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    try:
        return found.public_bytes(*form).decode("ascii")
    except (ValueError, UnsupportedAlgorithm) as error:
        raise TpmUnavailableError("this key cannot be written as PEM", where="key") from error


def public_from_pem(pem: str | BytesLike, **options: object) -> TPMT_PUBLIC:
    """Return the public area of a key in PEM.

    Parameters
    ----------
    pem : str or bytes-like
        SubjectPublicKeyInfo of an RSA or ECC key.
    options
        Those of `public_area_of`.

    Raises
    ------
    TpmFormatError
        If it holds no such key.
    TpmMisuseError
        If a TPM has no such key, or an option is wrong.
    """
    raw = pem.encode("utf-8", "replace") if isinstance(pem, str) else octets(pem, "pem")
    try:
        return public_area_of(_from_pem(raw, "pem"), **options)  # type: ignore[arg-type]
    except TypeError as error:
        raise TpmMisuseError(shown(options), where="options", expected="those of public_area_of") from error
