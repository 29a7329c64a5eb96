# SPDX-License-Identifier: Apache-2.0
"""Shared secrets: both sides come to the same, and nobody else does."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.testing.tpm import broken
from prestocloud_sec.tpm.errors import (
    TpmFormatError,
    TpmInputError,
    TpmMisuseError,
    TpmUnavailableError,
    UnwrapError,
    VerificationError,
)
from prestocloud_sec.tpm.hashes import hash_of
from prestocloud_sec.tpm.pem import public_area_of
from prestocloud_sec.tpm.public_keys import public_key_of
from prestocloud_sec.tpm.salt import Purpose, Salt, draw_private_key, make_salt, recover_secret, share_secret
from prestocloud_sec.tpm.spec import (
    TPM_ALG_ID,
    TPM_ECC_CURVE,
    TPMS_ECC_POINT,
)
from tests.tpm.protect.keys import CIPHERS, DATA, KIND_IDS, KINDS, parent, rsa_key


@pytest.mark.parametrize(("kind", "curve"), KINDS, ids=KIND_IDS)
@pytest.mark.parametrize("purpose", Purpose)
@pytest.mark.parametrize("name_hash", ["sha1", "sha256", "sha512"])
def test_shared_secrets(kind: str, curve: int, purpose: Purpose, name_hash: str) -> None:
    held = parent(kind, name_hash, CIPHERS[0], curve)
    secret, encrypted = share_secret(held.public, purpose)
    assert len(secret) == hash_of(name_hash).size
    assert held.recover(purpose, encrypted) == secret
    assert share_secret(held.public, purpose)[0] != secret
    for other in set(Purpose) - {purpose}:
        try:
            assert held.recover(other, encrypted) != secret
        except UnwrapError:
            assert kind == "rsa"


def test_the_secret_of_a_curve_is_the_one_of_nist() -> None:
    held = parent("ecc", "sha384", CIPHERS[0], 5)
    secret, encrypted = share_secret(held.public, Purpose.DUPLICATE)
    point = TPMS_ECC_POINT.decode(encrypted)
    assert len(point.x) == len(point.y) == 66
    numbers = ec.EllipticCurvePublicNumbers(
        int.from_bytes(point.x, "big"), int.from_bytes(point.y, "big"), ec.SECP521R1()
    )
    z = held._private.exchange(ec.ECDH(), numbers.public_key())  # type: ignore[union-attr, call-arg]
    unique: Any = held.public.unique
    kdf = ConcatKDFHash(hash_of("sha384").cryptography(), 48, b"DUPLICATE\0" + point.x + unique.x)
    assert kdf.derive(z) == secret


@given(data=st.data(), kind=st.sampled_from(["rsa", "ecc"]))
def test_broken_secrets(data: st.DataObject, kind: str) -> None:
    held = parent(kind)
    secret, encrypted = share_secret(held.public, Purpose.CREDENTIAL)
    other = data.draw(broken(st.just(encrypted)))
    if other == encrypted:
        return
    with contextlib.suppress(TpmInputError):
        assert held.recover(Purpose.CREDENTIAL, other) != secret


def test_randomness_is_injected() -> None:
    held = parent("ecc")
    given_: list[int] = []

    def counted(size: int) -> bytes:
        given_.append(size)
        return bytes(size - 1) + b"\5"

    first, second = (share_secret(held.public, Purpose.SALT, random=counted) for _ in range(2))
    assert first == second
    assert given_ == [32, 32]
    point = TPMS_ECC_POINT.decode(first[1])
    key = ec.derive_private_key(5, ec.SECP256R1()).public_key().public_numbers()
    assert (int.from_bytes(point.x, "big"), int.from_bytes(point.y, "big")) == (key.x, key.y)
    secret, _ = share_secret(parent("rsa").public, Purpose.SALT, random=lambda size: b"r" * size)
    assert secret == b"r" * 32
    for bad in (lambda size: bytes(size - 1), lambda size: None, None, bytes):  # the last: never a private key
        with pytest.raises(TpmMisuseError):
            share_secret(held.public, Purpose.SALT, random=bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP521R1(), ec.BrainpoolP256R1()], ids=lambda c: c.name)
def test_private_keys_are_drawn_by_trial(curve: ec.EllipticCurve) -> None:
    draws = iter([b"\xff", b"\0", b"\x01"])
    key = draw_private_key(curve, lambda size: next(draws) * size)
    number = int.from_bytes(b"\1" * ((curve.key_size + 7) // 8), "big") >> -curve.key_size % 8
    assert key.private_numbers().private_value == number
    assert next(draws, None) is None


def test_what_shares_no_secret() -> None:
    public = parent("ecc").public
    signing = public_area_of(ec.generate_private_key(ec.SECP256R1()).public_key())
    nowhere = public.replace(unique=TPMS_ECC_POINT(b"\1", b"\1"))
    foreign: Any = public.parameters
    for key, error in (
        (signing, TpmMisuseError),
        (DATA, TpmMisuseError),
        (None, TpmMisuseError),
        (public.encode(), TpmMisuseError),
        (nowhere, VerificationError),
        (public.replace(parameters=foreign.replace(curveID=TPM_ECC_CURVE.BN_P256)), TpmUnavailableError),
        (parent("rsa").public.replace(unique=bytes(256)), VerificationError),
        (parent("rsa").public.replace(unique=b"\xff" * 255 + b"\xfe"), VerificationError),
        (parent("rsa").public.replace(nameAlg=TPM_ALG_ID.SHA3_256), TpmUnavailableError),
    ):
        with pytest.raises(error):
            make_salt(key)  # type: ignore[arg-type]
    with pytest.raises(TpmMisuseError):
        share_secret(public, "SECRET")  # type: ignore[arg-type]
    private = parent("ecc")._private
    for wrong in (None, 7, ec.generate_private_key(ec.SECP256R1()), rsa_key()):
        with pytest.raises(TpmMisuseError):
            recover_secret(wrong, public, Purpose.SALT, b"")  # type: ignore[arg-type]
    for bad in (
        b"",
        b"\0",
        b"\0\1\1\0\1\1",
        b"\xff\xff" * 40,
        bytes(68),
        TPMS_ECC_POINT(bytes(32), bytes(32)).encode(),
    ):
        with pytest.raises(TpmFormatError):
            recover_secret(private, public, Purpose.SALT, bad)
    with pytest.raises(TpmMisuseError):
        recover_secret(private, public, Purpose.SALT, "text")  # type: ignore[arg-type]


def test_a_secret_longer_than_its_hash_is_refused() -> None:
    """OAEP takes it, a TPM does not."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    held = parent("rsa")
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), b"SECRET\0")
    encrypted = public_key_of(held.public).encrypt(bytes(33), oaep)  # type: ignore[union-attr, call-arg, arg-type]
    with pytest.raises(UnwrapError):
        held.recover(Purpose.SALT, encrypted)


def test_salts() -> None:
    salt = make_salt(parent("ecc").public)
    assert "secret" not in repr(salt)
    assert salt.secret.hex() not in repr(salt)
    for arguments in ((b"", b"x"), (b"x", b""), (None, b"x"), (b"x", "x")):
        with pytest.raises(TpmMisuseError):
            Salt(*arguments)  # type: ignore[arg-type]
