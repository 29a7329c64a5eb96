# SPDX-License-Identifier: Apache-2.0
"""Signatures as TPMs have them, made by pyca/cryptography and openssl's own forms, and changed in every part."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.tpm.errors import (
    TpmFormatError,
    TpmInputError,
    TpmMisuseError,
    TpmUnavailableError,
    VerificationError,
)
from prestocloud_sec.tpm.pem import key_from, public_area_of, public_from_pem, public_to_pem
from prestocloud_sec.tpm.public_keys import public_key_of
from prestocloud_sec.tpm.signatures import (
    signature_from_plain,
    signature_hash,
    signature_to_plain,
    verify_hmac,
    verify_signature,
)
from prestocloud_sec.tpm.spec import (
    TPM_ALG_ID,
    TPMA_OBJECT,
    TPMS_SIGNATURE_ECC,
    TPMS_SIGNATURE_RSA,
    TPMT_HA,
    TPMT_PUBLIC,
    TPMT_SIGNATURE,
)

RSA = rsa.generate_private_key(65537, 2048)
EC = {curve.name: ec.generate_private_key(curve) for curve in (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1())}
HASHES = {"sha1": hashes.SHA1(), "sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}  # noqa: S303
MESSAGE = b"a message to be signed"


def sign(scheme: str, algorithm: str, message: bytes, salt: int = 32) -> tuple[object, bytes]:
    """Return a key of pyca/cryptography and its signature in plain form."""
    hashed = HASHES[algorithm]
    if scheme == "rsassa":
        return RSA.public_key(), RSA.sign(message, padding.PKCS1v15(), hashed)
    if scheme == "rsapss":
        return RSA.public_key(), RSA.sign(message, padding.PSS(padding.MGF1(hashed), salt), hashed)
    key = EC[scheme.removeprefix("ecdsa-")]
    return key.public_key(), key.sign(message, ec.ECDSA(hashed))


SCHEMES = ["rsassa", "rsapss", *(f"ecdsa-{curve}" for curve in EC)]


@pytest.mark.parametrize("algorithm", HASHES)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_right_signatures_hold_in_every_form_of_the_key(scheme, algorithm):
    key, plain = sign(scheme, algorithm, MESSAGE)
    signature = signature_from_plain(plain, scheme.partition("-")[0], algorithm)
    public = public_area_of(key)
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    digest = hashlib.new(algorithm, MESSAGE).digest()
    for form in (key, public, public.encode(), bytearray(public.encode()), pem, pem.decode()):
        verify_signature(form, signature, MESSAGE)
        verify_signature(form, signature.encode(), digest=digest)
        with pytest.raises(VerificationError, match="not one of this key"):
            verify_signature(form, signature, MESSAGE + b"!")
    assert signature_to_plain(signature) == signature_to_plain(signature.encode()) == plain
    assert signature_hash(signature).name == algorithm


@pytest.mark.parametrize("salt", [0, 1, 20, 32, 222])
def test_salts_of_any_length_are_taken(salt):
    key, plain = sign("rsapss", "sha256", MESSAGE, salt)
    verify_signature(key, signature_from_plain(plain, "rsapss", "sha256"), MESSAGE)


SIGNED = {scheme: sign(scheme, "sha256", MESSAGE) for scheme in SCHEMES}


@given(st.sampled_from(SCHEMES), st.data())
def test_no_change_of_a_bit_is_taken(scheme, data):
    key, plain = SIGNED[scheme]
    raw = bytearray(signature_from_plain(plain, scheme.partition("-")[0], "sha256").encode())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises((TpmInputError, TpmUnavailableError)):
        verify_signature(public_area_of(key), bytes(raw), MESSAGE)


def test_leading_zeros_may_be_missing_or_there():
    for _ in range(2000):
        key, plain = sign("ecdsa-secp256r1", "sha256", MESSAGE)
        signature = signature_from_plain(plain, "ecdsa", "sha256")
        halves = (signature.signature.signatureR, signature.signature.signatureS)
        if any(len(half) < 32 for half in halves):
            break
    else:
        pytest.fail("no short half in 2000 signatures")
    verify_signature(key, signature, MESSAGE)
    padded = TPMS_SIGNATURE_ECC(TPM_ALG_ID.SHA256, *(half.rjust(32, b"\0") for half in halves))
    verify_signature(key, TPMT_SIGNATURE(TPM_ALG_ID.ECDSA, padded), MESSAGE)


@pytest.mark.parametrize("halves", [(b"", b""), (b"\0" * 32, b"\1"), (b"\xff" * 32, b"\xff" * 32), (b"\1", b"")])
def test_numbers_that_are_no_signature_are_refused(halves):
    key = EC["secp256r1"].public_key()
    wrong = TPMT_SIGNATURE(TPM_ALG_ID.ECDSA, TPMS_SIGNATURE_ECC(TPM_ALG_ID.SHA256, *halves))
    with pytest.raises(VerificationError):
        verify_signature(key, wrong, MESSAGE)


@pytest.mark.parametrize("size", [0, 1, 255, 257, 512])
def test_blocks_of_another_size_are_refused(size):
    for scheme in (TPM_ALG_ID.RSASSA, TPM_ALG_ID.RSAPSS):
        wrong = TPMT_SIGNATURE(scheme, TPMS_SIGNATURE_RSA(TPM_ALG_ID.SHA256, b"\1" * size))
        with pytest.raises(VerificationError):
            verify_signature(RSA.public_key(), wrong, MESSAGE)


def test_a_key_signs_with_its_own_scheme_only():
    key, plain = sign("rsassa", "sha256", MESSAGE)
    signature = signature_from_plain(plain, "rsassa", "sha256")
    verify_signature(public_area_of(key, scheme="rsassa"), signature, MESSAGE)
    with pytest.raises(VerificationError, match="expected RSAPSS"):
        verify_signature(public_area_of(key, scheme="rsapss"), signature, MESSAGE)
    with pytest.raises(VerificationError, match="expected SHA384"):
        verify_signature(public_area_of(key, scheme="rsassa", scheme_hash="sha384"), signature, MESSAGE)
    with pytest.raises(VerificationError, match="does not sign"):
        verify_signature(public_area_of(key, attributes=TPMA_OBJECT.decrypt), signature, MESSAGE)


def test_a_signature_of_another_kind_of_key_is_refused():
    for scheme, other in (("rsassa", EC["secp256r1"].public_key()), ("ecdsa-secp256r1", RSA.public_key())):
        _, plain = sign(scheme, "sha256", MESSAGE)
        with pytest.raises(VerificationError, match=r"an (RSA|ECC) one"):
            verify_signature(other, signature_from_plain(plain, scheme.partition("-")[0], "sha256"), MESSAGE)


def test_hmacs_stand_in_place_of_signatures():
    made = hmac.digest(b"key", MESSAGE, "sha256")
    signature = TPMT_SIGNATURE(TPM_ALG_ID.HMAC, TPMT_HA(TPM_ALG_ID.SHA256, made))
    verify_hmac(b"key", signature, MESSAGE)
    verify_hmac(bytearray(b"key"), signature.encode(), memoryview(MESSAGE))
    for key, message in ((b"other", MESSAGE), (b"key", b"other")):
        with pytest.raises(VerificationError) as caught:
            verify_hmac(key, signature, message)
        assert made.hex() not in str(caught.value)
    with pytest.raises(VerificationError):
        verify_signature(RSA.public_key(), signature, MESSAGE)
    with pytest.raises(VerificationError, match="expected HMAC"):
        verify_hmac(b"key", signature_from_plain(b"x", "rsassa", "sha256"), MESSAGE)
    with pytest.raises(TpmMisuseError):
        signature_to_plain(signature)


def test_what_is_not_signed_or_cannot_be_checked_is_told():
    nothing = TPMT_SIGNATURE(TPM_ALG_ID.NULL, None)
    with pytest.raises(VerificationError, match="nothing was signed"):
        verify_signature(RSA.public_key(), nothing, MESSAGE)
    halves = TPMS_SIGNATURE_ECC(TPM_ALG_ID.SHA256, b"\1", b"\1")
    for scheme in (TPM_ALG_ID.ECDAA, TPM_ALG_ID.SM2, TPM_ALG_ID.ECSCHNORR):
        with pytest.raises(TpmUnavailableError, match=scheme.name):
            verify_signature(EC["secp256r1"].public_key(), TPMT_SIGNATURE(scheme, halves), MESSAGE)
    sm3 = TPMT_SIGNATURE(TPM_ALG_ID.ECDSA, TPMS_SIGNATURE_ECC(TPM_ALG_ID.SM3_256, b"\1", b"\1"))
    with pytest.raises((TpmUnavailableError, VerificationError)):
        verify_signature(EC["secp256r1"].public_key(), sm3, digest=bytes(32))


@pytest.mark.parametrize("key", [RSA.public_key(), *(key.public_key() for key in EC.values())])
def test_keys_go_to_public_areas_and_pem_and_back(key):
    public = public_area_of(key, name_hash="sha384", scheme=None, policy=bytes(48))
    assert TPMT_PUBLIC.decode(public.encode()) == public
    assert public_key_of(public).public_numbers() == key.public_numbers()
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert public_to_pem(public) == public_to_pem(key) == public_to_pem(pem) == pem.decode()
    assert public_from_pem(pem, name_hash="sha384", policy=bytes(48)) == public
    assert public_from_pem(pem.decode()).nameAlg == TPM_ALG_ID.SHA256
    found, area = key_from(public)
    assert (found.public_numbers(), area) == (key.public_numbers(), public)
    assert key_from(pem)[1] is None


def test_unusual_exponents_are_kept():
    key = rsa.generate_private_key(3, 2048).public_key()
    assert public_area_of(key).parameters.exponent == 3
    assert public_key_of(public_area_of(key)).public_numbers().e == 3


SIGNATURE = signature_from_plain(bytes(256), "rsassa", "sha256")
ED = ed25519.Ed25519PrivateKey.generate().public_key()


@pytest.mark.parametrize(
    "call",
    [
        lambda: verify_signature(7, SIGNATURE, MESSAGE),
        lambda: verify_signature(None, SIGNATURE, MESSAGE),
        lambda: verify_signature(ED, SIGNATURE, MESSAGE),
        lambda: verify_signature(RSA, SIGNATURE, MESSAGE),
        lambda: verify_signature(RSA.public_key(), 7, MESSAGE),
        lambda: verify_signature(RSA.public_key(), "text", MESSAGE),
        lambda: verify_signature(RSA.public_key(), SIGNATURE),
        lambda: verify_signature(RSA.public_key(), SIGNATURE, MESSAGE, digest=bytes(32)),
        lambda: verify_signature(RSA.public_key(), SIGNATURE, "text"),
        lambda: verify_signature(RSA.public_key(), SIGNATURE, digest=bytes(31)),
        lambda: verify_signature(RSA.public_key(), SIGNATURE, digest=7),
        lambda: verify_hmac("key", SIGNATURE, MESSAGE),
        lambda: signature_from_plain(7, "rsassa", "sha256"),
        lambda: signature_from_plain(b"", "md5", "sha256"),
        lambda: signature_from_plain(b"", 7, "sha256"),
        lambda: signature_from_plain(b"", "rsassa", "md5"),
        lambda: signature_from_plain(bytes(1 << 16), "rsassa", "sha256"),
        lambda: signature_hash(7),
        lambda: public_area_of(ED),
        lambda: public_area_of(7),
        lambda: public_area_of(RSA.public_key(), scheme="ecdsa"),
        lambda: public_area_of(RSA.public_key(), scheme=7),
        lambda: public_area_of(RSA.public_key(), name_hash="md5"),
        lambda: public_area_of(RSA.public_key(), attributes="sign"),
        lambda: public_area_of(ec.generate_private_key(ec.SECP256K1()).public_key()),
        lambda: public_from_pem(public_to_pem(RSA.public_key()), nonsense=7),
        lambda: public_from_pem(7),
        lambda: public_to_pem(7),
    ],
)
def test_wrong_arguments_are_refused(call):
    with pytest.raises(TpmMisuseError):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: verify_signature(b"no key", SIGNATURE, MESSAGE),
        lambda: verify_signature("no key", SIGNATURE, MESSAGE),
        lambda: verify_signature("-----BEGIN PUBLIC KEY-----\n\ud800", SIGNATURE, MESSAGE),
        lambda: verify_signature(RSA.public_key(), b"no signature", MESSAGE),
        lambda: public_from_pem(ED.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)),
        lambda: signature_from_plain(b"no DER", "ecdsa", "sha256"),
        lambda: signature_from_plain(bytes.fromhex("3006020101020180"), "ecdsa", "sha256"),
    ],
)
def test_bytes_that_are_none_are_refused(call):
    with pytest.raises(TpmFormatError):
        call()


def test_a_public_area_of_no_key_is_told():
    public = public_area_of(EC["secp256r1"].public_key())
    off = public.replace(unique=public.unique.replace(x=b"\1" * 32))
    with pytest.raises(VerificationError, match="not on the curve"):
        verify_signature(off, SIGNATURE, MESSAGE)
