# SPDX-License-Identifier: Apache-2.0
"""Signatures of TPMs, checked without one.

RSASSA is PKCS #1 v1.5 and RSAPSS is PSS with MGF1 of the same hash; TPMs differ in the length of the salt, so any is
accepted. The two halves of an ECDSA signature are big-endian numbers whose leading zeros may be missing. Where the key
comes as a public area, its own scheme has to fit the signature: a key that may sign with one scheme alone did not make
a signature of another.

Sources: TPM 2.0 Library, Part 1, annexes B.5, B.6 and C.4; Part 2, 11.3; Part 3, 20.1 (TPM2_VerifySignature). ECDAA,
SM2, ECSchnorr and EdDSA are not in pyca/cryptography in the form that TPMs have; they are refused by name.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)

from prestocloud_sec.tpm._given import instance, octets
from prestocloud_sec.tpm.errors import TpmFormatError, TpmMisuseError, TpmUnavailableError, VerificationError
from prestocloud_sec.tpm.hashes import HashAlgorithm, HashName, hash_of
from prestocloud_sec.tpm.pem import key_from
from prestocloud_sec.tpm.spec.attributes import TPMA_OBJECT
from prestocloud_sec.tpm.spec.constants import TPM_ALG_ID
from prestocloud_sec.tpm.spec.structures.basic import TPMT_HA
from prestocloud_sec.tpm.spec.structures.objects import TPMS_ECC_PARMS, TPMS_RSA_PARMS
from prestocloud_sec.tpm.spec.structures.schemes import (
    TPMS_SCHEME_HASH,
    TPMS_SIGNATURE_ECC,
    TPMS_SIGNATURE_RSA,
    TPMT_SIGNATURE,
)
from prestocloud_sec.wire import shown

if TYPE_CHECKING:
    from prestocloud_sec.tpm.pem import KeyLike
    from prestocloud_sec.tpm.public_keys import PublicKey
    from prestocloud_sec.tpm.spec.structures.objects import TPMT_PUBLIC
    from prestocloud_sec.wire import BytesLike

__all__ = ["signature_from_plain", "signature_hash", "signature_to_plain", "verify_hmac", "verify_signature"]

_RSA = (TPM_ALG_ID.RSASSA, TPM_ALG_ID.RSAPSS)
_SCHEMES = {"rsassa": TPM_ALG_ID.RSASSA, "rsapss": TPM_ALG_ID.RSAPSS, "ecdsa": TPM_ALG_ID.ECDSA}


def verify_signature(
    key: KeyLike,
    signature: TPMT_SIGNATURE | BytesLike,
    message: BytesLike | None = None,
    *,
    digest: BytesLike | None = None,
) -> None:
    """Check the signature of a message, or of its digest.

    Parameters
    ----------
    key : TPMT_PUBLIC, RSA or ECC public key, str, or bytes-like
        Who is said to have signed: a public area as a value or encoded, a key of pyca/cryptography, or PEM.
    signature : TPMT_SIGNATURE or bytes-like
        The signature, as a value or encoded.
    message : bytes-like
        What was signed.
    digest : bytes-like
        Its digest by the hash of the signature, in place of it.

    Raises
    ------
    VerificationError
        If the signature is not one of this key over this message; says why where that is known.
    TpmFormatError
        If bytes are not the structures they are given for.
    TpmMisuseError
        If an argument is of the wrong type, or there is not exactly one of message and digest.
    TpmUnavailableError
        If the scheme, the hash or the curve is not to be had here.
    """
    public_key, public = key_from(key)
    value = _signature(signature)
    algorithm = signature_hash(value)
    if (message is None) == (digest is None):
        raise TpmMisuseError("not exactly one of message and digest", where="verify_signature", expected="one of them")
    if message is not None:
        hashed = algorithm.digest(octets(message, "message"))
    else:
        hashed = octets(digest, "digest", algorithm.size)  # type: ignore[arg-type]
    if public is not None:
        _check_scheme(public, value, algorithm)
    try:
        _verify(public_key, value, hashed, algorithm)
    except InvalidSignature as error:
        raise VerificationError("the signature is not one of this key over this message", where="signature") from error
    except (UnsupportedAlgorithm, ValueError) as error:
        raise TpmUnavailableError(
            f"pyca/cryptography cannot check {_scheme_name(value)} with {algorithm.name}", where="signature"
        ) from error


def verify_hmac(key: BytesLike, signature: TPMT_SIGNATURE | BytesLike, message: BytesLike) -> None:
    """Check an HMAC that a TPM made in place of a signature; errors as for `verify_signature`.

    Parameters
    ----------
    key : bytes-like
        The secret key.
    signature : TPMT_SIGNATURE or bytes-like
        With the scheme TPM_ALG_HMAC.
    message : bytes-like
        What it is of.
    """
    secret, value = octets(key, "key"), _signature(signature)
    if value.sigAlg != TPM_ALG_ID.HMAC:
        raise VerificationError(f"a signature of scheme {_scheme_name(value)}", where="signature", expected="HMAC")
    algorithm, told = signature_hash(value), value.signature
    made = hmac.digest(secret, octets(message, "message"), algorithm.new)
    if not isinstance(told, TPMT_HA) or not hmac.compare_digest(made, told.digest):
        raise VerificationError("the HMAC is not one of this key over this message", where="signature")


def signature_hash(signature: TPMT_SIGNATURE) -> HashAlgorithm:
    """Return the hash of what was signed.

    Raises
    ------
    VerificationError
        If nothing was signed (scheme NULL).
    TpmUnavailableError
        If the scheme is none that can be checked here.
    """
    value = instance(signature, TPMT_SIGNATURE, "signature").signature
    if signature.sigAlg == TPM_ALG_ID.NULL:
        raise VerificationError("nothing was signed: the scheme is NULL", where="signature.sigAlg")
    if isinstance(value, TPMS_SIGNATURE_RSA) or (
        isinstance(value, TPMS_SIGNATURE_ECC) and signature.sigAlg == TPM_ALG_ID.ECDSA
    ):
        return hash_of(int(value.hash), "signature.hash", error=VerificationError)
    if isinstance(value, TPMT_HA):
        return hash_of(int(value.hashAlg), "signature.hashAlg", error=VerificationError)
    raise TpmUnavailableError(
        f"signatures of scheme {_scheme_name(signature)} cannot be checked here",
        where="signature.sigAlg",
        expected="RSASSA, RSAPSS, ECDSA or HMAC",
    )


def signature_to_plain(signature: TPMT_SIGNATURE | BytesLike) -> bytes:
    """Return a signature as other programs write it: the block of an RSA signature, or r and s of ECDSA in DER.

    Raises
    ------
    VerificationError
        If nothing was signed.
    TpmFormatError
        If the bytes are no TPMT_SIGNATURE.
    TpmMisuseError
        If the scheme has no such form (HMAC), or the argument is of the wrong type.
    TpmUnavailableError
        If the scheme is none that is known here.
    """
    value = _signature(signature)
    signature_hash(value)
    inner = value.signature
    if isinstance(inner, TPMS_SIGNATURE_RSA):
        return inner.sig
    if not isinstance(inner, TPMS_SIGNATURE_ECC):
        raise TpmMisuseError(_scheme_name(value), where="signature.sigAlg", expected="RSASSA, RSAPSS or ECDSA")
    return encode_dss_signature(int.from_bytes(inner.signatureR, "big"), int.from_bytes(inner.signatureS, "big"))


def signature_from_plain(plain: BytesLike, scheme: str, algorithm: HashName) -> TPMT_SIGNATURE:
    """Return a signature as TPMs have it.

    Parameters
    ----------
    plain : bytes-like
        The block of an RSA signature, or r and s of ECDSA in DER.
    scheme : str
        ``rsassa``, ``rsapss`` or ``ecdsa``.
    algorithm : str or int
        The hash of what was signed.

    Raises
    ------
    TpmFormatError
        If the bytes are no ECDSA signature.
    TpmMisuseError
        If an argument is of the wrong form.
    """
    raw = octets(plain, "plain", most=0xFFFF)
    if not isinstance(scheme, str) or scheme not in _SCHEMES:
        raise TpmMisuseError(shown(scheme), where="scheme", expected=", ".join(_SCHEMES))
    number, hashed = _SCHEMES[scheme], TPM_ALG_ID(hash_of(algorithm, "algorithm").id)
    if number in _RSA:
        return TPMT_SIGNATURE(number, TPMS_SIGNATURE_RSA(hashed, raw))
    try:
        r, s = decode_dss_signature(raw)
        halves = [half.to_bytes((half.bit_length() + 7) // 8, "big") for half in (r, s)]
    except (ValueError, OverflowError) as error:
        raise TpmFormatError("no ECDSA signature", where="plain", expected="r and s in DER") from error
    return TPMT_SIGNATURE(number, TPMS_SIGNATURE_ECC(hashed, *halves))


def _signature(signature: TPMT_SIGNATURE | BytesLike) -> TPMT_SIGNATURE:
    if isinstance(signature, TPMT_SIGNATURE):
        return signature
    return TPMT_SIGNATURE.decode(octets(signature, "signature"))


def _scheme_name(signature: TPMT_SIGNATURE) -> str:
    name = getattr(signature.sigAlg, "name", None)
    return name if isinstance(name, str) else f"{int(signature.sigAlg):#06x}"


def _check_scheme(public: TPMT_PUBLIC, signature: TPMT_SIGNATURE, algorithm: HashAlgorithm) -> None:
    """Refuse a signature that a key with this public area cannot have made."""
    if not TPMA_OBJECT.sign_encrypt & public.objectAttributes:
        raise VerificationError("the key does not sign", where="key.objectAttributes", expected="sign_encrypt")
    if not isinstance(public.parameters, TPMS_RSA_PARMS | TPMS_ECC_PARMS):
        return
    scheme, details = public.parameters.scheme.scheme, public.parameters.scheme.details
    if scheme == TPM_ALG_ID.NULL:
        return
    if scheme != signature.sigAlg:
        expected = getattr(scheme, "name", shown(scheme))
        raise VerificationError(
            f"a signature of {_scheme_name(signature)}", where="signature.sigAlg", expected=expected
        )
    if isinstance(details, TPMS_SCHEME_HASH) and int(details.hashAlg) != algorithm.id:
        expected = getattr(details.hashAlg, "name", shown(details.hashAlg))
        raise VerificationError(f"a signature with {algorithm.name}", where="signature.hash", expected=expected)


def _verify(key: PublicKey, signature: TPMT_SIGNATURE, digest: bytes, algorithm: HashAlgorithm) -> None:
    """Check a signature of a digest; InvalidSignature if it is wrong."""
    inner, is_rsa = signature.signature, isinstance(key, RSAPublicKey)
    if not isinstance(inner, TPMS_SIGNATURE_RSA if is_rsa else TPMS_SIGNATURE_ECC):
        kind = "an RSA" if is_rsa else "an ECC"
        raise VerificationError(
            f"a signature of {_scheme_name(signature)}", where="signature.sigAlg", expected=f"{kind} one"
        )
    try:
        hashed = algorithm.cryptography()
    except AttributeError as error:
        raise UnsupportedAlgorithm(algorithm.name) from error
    if isinstance(key, RSAPublicKey) and isinstance(inner, TPMS_SIGNATURE_RSA):
        pad: padding.AsymmetricPadding
        if signature.sigAlg == TPM_ALG_ID.RSASSA:
            pad = padding.PKCS1v15()
        else:
            pad = padding.PSS(padding.MGF1(hashed), padding.PSS.AUTO)
        key.verify(inner.sig, digest, pad, Prehashed(hashed))
    elif isinstance(key, EllipticCurvePublicKey):
        key.verify(signature_to_plain(signature), digest, ec.ECDSA(Prehashed(hashed)))
