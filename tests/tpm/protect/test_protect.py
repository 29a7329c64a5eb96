# SPDX-License-Identifier: Apache-2.0
"""Secrets, credentials and duplicates in software: what is wrapped opens, and nothing else does."""

from __future__ import annotations

import contextlib
import copy
import functools
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from hypothesis import given, settings
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
from prestocloud_sec.tpm.names import name_of
from prestocloud_sec.tpm.pem import public_area_of
from prestocloud_sec.tpm.protect import (
    Credential,
    Duplicate,
    SoftwareParent,
    activate_credential,
    check_binding,
    make_credential,
    private_key_of,
    rewrap,
    sensitive_of,
    storage_public_of,
    unique_of,
    unwrap,
    wrap,
)
from prestocloud_sec.tpm.public_keys import curve_number, curve_of, public_key_of
from prestocloud_sec.tpm.salt import Purpose, Salt, draw_private_key, make_salt, recover_secret, share_secret
from prestocloud_sec.tpm.session import ParameterCipher
from prestocloud_sec.tpm.spec import (
    TPM_ALG_ID,
    TPM_ECC_CURVE,
    TPMA_OBJECT,
    TPMS_ECC_POINT,
    TPMS_KEYEDHASH_PARMS,
    TPMT_KEYEDHASH_SCHEME,
    TPMT_PUBLIC,
    TPMT_SENSITIVE,
)

NAME = b"\x00\x0b" + bytes(range(32))
CIPHERS = (
    ParameterCipher("aes", 128),
    ParameterCipher("aes", 192),
    ParameterCipher("aes", 256),
    ParameterCipher("camellia", 128),
    ParameterCipher("sm4", 128),
)
DATA = TPMT_PUBLIC(
    TPM_ALG_ID.KEYEDHASH,
    TPM_ALG_ID.SHA256,
    TPMA_OBJECT.userWithAuth,
    b"",
    TPMS_KEYEDHASH_PARMS(TPMT_KEYEDHASH_SCHEME(TPM_ALG_ID.NULL, None)),
    b"",
)


@functools.cache
def parent(
    kind: str, name_hash: str = "sha256", cipher: ParameterCipher = CIPHERS[0], curve: int = 3
) -> SoftwareParent:
    return SoftwareParent.generate(kind, size=2048, curve=curve, name_hash=name_hash, cipher=cipher)


@functools.cache
def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


KINDS = [("rsa", 3), ("ecc", 3), ("ecc", 4), ("ecc", 5), ("ecc", 0x30)]
KIND_IDS = ["rsa", "P-256", "P-384", "P-521", "Brainpool"]


# --- shared secrets


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


# --- credentials


@pytest.mark.parametrize(("kind", "curve"), KINDS, ids=KIND_IDS)
@pytest.mark.parametrize("cipher", CIPHERS, ids=str)
def test_credentials(kind: str, curve: int, cipher: ParameterCipher) -> None:
    held = parent(kind, "sha256", cipher, curve)
    for secret in (b"", b"s", b"a secret of 32 bytes............"):
        credential = make_credential(held.public, NAME, secret)
        assert activate_credential(held, NAME, credential) == secret
        assert Credential.from_file(credential.to_file()) == credential
        with pytest.raises(UnwrapError):
            activate_credential(held, NAME[:-1] + b"x", credential)
    with pytest.raises(TpmMisuseError):
        make_credential(held.public, NAME, bytes(33))


@given(data=st.data(), kind=st.sampled_from(["rsa", "ecc"]), secret=st.binary(max_size=32))
@settings(max_examples=40)
def test_broken_credentials(data: st.DataObject, kind: str, secret: bytes) -> None:
    held = parent(kind)
    file = make_credential(held.public, NAME, secret).to_file()
    other = data.draw(broken(st.just(file)))
    try:
        credential = Credential.from_file(other)
        assert credential.to_file() == other
        opened = activate_credential(held, NAME, credential)
    except TpmInputError:
        return
    assert other == file
    assert opened == secret


def test_what_is_no_credential() -> None:
    held = parent("ecc")
    for wrong in (
        b"",
        b"\xba\xdc",
        bytes(12),
        bytes.fromhex("badcc0de00000002") + bytes(4),
        make_credential(held.public, NAME, b"").to_file() + b"\0",
    ):
        with pytest.raises(TpmFormatError):
            Credential.from_file(wrong)
    good = make_credential(held.public, NAME, b"")
    calls: list[Callable[[], object]] = [
        lambda: Credential.from_file("text"),  # type: ignore[arg-type]
        lambda: Credential("", b"").to_file(),  # type: ignore[arg-type]
        lambda: activate_credential(held.public, NAME, good),  # type: ignore[arg-type]
        lambda: activate_credential(held, None, good),  # type: ignore[arg-type]
        lambda: activate_credential(held, NAME, good.id_object),  # type: ignore[arg-type]
        lambda: activate_credential(held, NAME, (None, b"")),  # type: ignore[arg-type]
        lambda: make_credential(held, NAME, b""),  # type: ignore[arg-type]
        lambda: make_credential(DATA, NAME, b""),
        lambda: make_credential(held.public, None, b""),  # type: ignore[arg-type]
        lambda: make_credential(held.public, NAME, "text"),  # type: ignore[arg-type]
        lambda: make_credential(public_area_of(rsa_key().public_key()), NAME, b""),
    ]
    for call in calls:
        with pytest.raises(TpmMisuseError):
            call()


def test_what_is_inside_a_credential_is_held_to_its_form() -> None:
    """An HMAC that is right over what is no TPM2B_DIGEST: what a signer with a fault would send."""
    from prestocloud_sec.tpm.protect.wrapping import protection_of, sized

    held = parent("ecc")
    for plain in (b"", b"\0", b"\0\5abcd", sized(bytes(33)), sized(b"x") + b"\0"):
        seed, encrypted = share_secret(held.public, Purpose.CREDENTIAL)
        wrapped = protection_of(held.public).wrap(seed, NAME, plain)
        with pytest.raises(TpmFormatError):
            activate_credential(held, NAME, (wrapped, encrypted))
    with pytest.raises(TpmFormatError, match="HMAC"):
        activate_credential(held, NAME, (sized(bytes(20)) + b"x", make_credential(held.public, NAME, b"")[1]))


# --- secret parts


def objects() -> list[tuple[TPMT_PUBLIC, Any]]:
    """Return an object of each type, with its secret."""
    key = ec.derive_private_key(77, ec.SECP384R1())
    symmetric = TPMT_PUBLIC.decode(bytes.fromhex("0025 000b 00020040 0000 0006 0080 0043 0000"))
    return [
        (public_area_of(rsa_key().public_key()), rsa_key()),
        (public_area_of(key.public_key(), name_hash="sha384"), key),
        (DATA, b"some data"),
        (symmetric, bytes(range(16))),
    ]


@pytest.mark.parametrize(("public", "secret"), objects(), ids=["rsa", "ecc", "keyedhash", "symcipher"])
def test_secret_parts(public: TPMT_PUBLIC, secret: Any) -> None:
    public, sensitive = sensitive_of(public, secret, "value")
    check_binding(public, sensitive)
    assert sensitive.authValue == b"value"
    if isinstance(secret, bytes):
        assert sensitive.sensitive == secret
        assert len(sensitive.seedValue) == 32
        assert public.unique == hash_of("sha256").digest(sensitive.seedValue, secret)
        assert public.unique == unique_of(public, sensitive.seedValue, secret)
        with pytest.raises(TpmMisuseError):
            private_key_of(public, sensitive)
    else:
        found = private_key_of(public, sensitive)
        assert found.public_key() == secret.public_key()
        numbers, wanted = found.private_numbers(), secret.private_numbers()
        same = ("private_value",) if isinstance(numbers, ec.EllipticCurvePrivateNumbers) else ("p", "q")
        assert all(getattr(numbers, name) == getattr(wanted, name) for name in same)
        assert sensitive.seedValue == b""
    other = bytearray(sensitive.sensitive)
    other[-1] ^= 1
    with pytest.raises(VerificationError):
        check_binding(public, sensitive.replace(sensitive=bytes(other)))
    wrong = TPMT_SENSITIVE(TPM_ALG_ID.RSA if public.type != TPM_ALG_ID.RSA else TPM_ALG_ID.ECC, b"", b"", b"\3")
    with pytest.raises(VerificationError):
        check_binding(public, wrong)


def test_numbers_that_are_no_private_key() -> None:
    rsa_public, _ = sensitive_of(*objects()[0])
    modulus = int.from_bytes(rsa_public.unique, "big")  # type: ignore[arg-type]
    primes = rsa_key().private_numbers()
    for number in (0, 1, 2, primes.p + 2, modulus, modulus - 1):
        secret = number.to_bytes(256, "big")
        with pytest.raises(VerificationError):
            check_binding(rsa_public, TPMT_SENSITIVE(TPM_ALG_ID.RSA, b"", b"", secret))
    check_binding(rsa_public, TPMT_SENSITIVE(TPM_ALG_ID.RSA, b"", b"", primes.q.to_bytes(128, "big")))
    ecc_public, _ = sensitive_of(*objects()[1])
    for number in (0, 1, 1 << 384):
        with pytest.raises(VerificationError):
            check_binding(ecc_public, TPMT_SENSITIVE(TPM_ALG_ID.ECC, b"", b"", number.to_bytes(49, "big")))


def test_what_makes_no_secret_part() -> None:
    public, key = objects()[1]
    calls: list[Callable[[], object]] = [
        lambda: sensitive_of(public, b"bytes"),
        lambda: sensitive_of(public, rsa_key()),
        lambda: sensitive_of(public, ec.generate_private_key(ec.SECP384R1())),
        lambda: sensitive_of(DATA, key),
        lambda: sensitive_of(DATA, None),  # type: ignore[arg-type]
        lambda: sensitive_of(DATA, b"", bytes(32) + b"x"),
        lambda: sensitive_of(None, b""),  # type: ignore[arg-type]
        lambda: sensitive_of(DATA, b"", random=lambda size: b""),
        lambda: unique_of(None, b"", b""),  # type: ignore[arg-type]
        lambda: unique_of(DATA, "x", b""),  # type: ignore[arg-type]
        lambda: check_binding(DATA, b""),  # type: ignore[arg-type]
        lambda: check_binding(b"", b""),  # type: ignore[arg-type]
    ]
    for call in calls:
        with pytest.raises(TpmMisuseError):
            call()


# --- duplicates


@pytest.mark.parametrize(("public", "secret"), objects(), ids=["rsa", "ecc", "keyedhash", "symcipher"])
@pytest.mark.parametrize("cipher", [None, CIPHERS[0], CIPHERS[2]], ids=str)
@pytest.mark.parametrize("to", [None, "rsa", "ecc"])
def test_duplicates(public: TPMT_PUBLIC, secret: Any, cipher: ParameterCipher | None, to: str | None) -> None:
    public, sensitive = sensitive_of(public, secret, b"auth")
    held = None if to is None else parent(to, "sha384", CIPHERS[2])
    duplicate = wrap(public, sensitive, None if held is None else held.public, cipher=cipher)
    assert (duplicate.seed == b"") == (to is None)
    assert len(duplicate.inner_key) == (0 if cipher is None else cipher.bits // 8)
    assert unwrap(duplicate, public, held) == sensitive
    assert duplicate.inner_key.hex() not in repr(duplicate) or not duplicate.inner_key
    if to is None and cipher is None:
        assert duplicate.duplicate[2:] == sensitive.encode()
        return
    other = public.replace(objectAttributes=public.objectAttributes | TPMA_OBJECT.noDA)
    with pytest.raises(UnwrapError):
        unwrap(duplicate, other, held)
    if cipher is not None:
        changed = bytearray(duplicate.inner_key)
        changed[0] ^= 1
        with pytest.raises(UnwrapError):
            unwrap(Duplicate(duplicate.duplicate, duplicate.seed, bytes(changed), cipher), public, held)
        again = wrap(public, sensitive, inner_key=duplicate.inner_key, cipher=cipher)
        assert again.inner_key == duplicate.inner_key


def test_the_inner_wrap_is_written_out_here_once_more() -> None:
    public, sensitive = sensitive_of(DATA, b"data")
    duplicate = wrap(public, sensitive, cipher=CIPHERS[0], inner_key=bytes(range(16)))
    blob = len(sensitive.encode()).to_bytes(2, "big") + sensitive.encode()
    plain = b"\0\x20" + hash_of("sha256").digest(blob, name_of(public)) + blob
    block = Cipher(algorithms.AES(bytes(range(16))), modes.ECB()).encryptor()  # noqa: S305
    made, feedback = b"", bytes(16)
    for at in range(0, len(plain), 16):
        stream = block.update(feedback)
        feedback = bytes(a ^ b for a, b in zip(plain[at : at + 16], stream, strict=False))
        made += feedback
    assert duplicate.duplicate == made


@given(data=st.data(), inner=st.booleans(), to=st.sampled_from(["rsa", "ecc", None]))
@settings(max_examples=60)
def test_broken_duplicates(data: st.DataObject, inner: bool, to: str | None) -> None:
    public, sensitive = sensitive_of(DATA, b"data", b"auth")
    held = None if to is None else parent(to)
    cipher = CIPHERS[0] if inner else None
    duplicate = wrap(public, sensitive, None if held is None else held.public, cipher=cipher)
    which = data.draw(st.sampled_from(["duplicate", "seed"] if held else ["duplicate"]))
    other = {"duplicate": duplicate.duplicate, "seed": duplicate.seed}
    other[which] = data.draw(broken(st.just(other[which])))
    try:
        opened = unwrap(Duplicate(other["duplicate"], other["seed"], duplicate.inner_key, cipher), public, held)
    except TpmInputError:
        return
    # without a wrap nothing protects the authorization value
    if inner or held:
        assert opened == sensitive
    check_binding(public, opened)


def test_rewrapping() -> None:
    public, sensitive = sensitive_of(DATA, b"data")
    old, new = parent("rsa"), parent("ecc", "sha512", CIPHERS[2], 5)
    duplicate = wrap(public, sensitive, old.public, cipher=CIPHERS[0])
    moved = rewrap(duplicate, name_of(public), old, new.public)
    assert unwrap(moved, public, new) == sensitive
    bare = rewrap(moved, name_of(public), new, None)
    assert bare.seed == b""
    assert unwrap(bare, public) == sensitive
    assert unwrap(rewrap(bare, name_of(public), None, old.public), public, old) == sensitive
    with pytest.raises(UnwrapError):
        rewrap(duplicate, NAME, old, None)
    for wrong in ((None, NAME, old), (duplicate, None, old), (duplicate, NAME, None), (duplicate, NAME, old.public)):
        with pytest.raises(TpmMisuseError):
            rewrap(*wrong, None)  # type: ignore[arg-type]


def test_what_cannot_be_duplicated() -> None:
    public, sensitive = sensitive_of(DATA, b"data")
    held = parent("ecc")
    for attribute in (TPMA_OBJECT.fixedTPM, TPMA_OBJECT.fixedParent):
        fixed, secret = sensitive_of(DATA.replace(objectAttributes=attribute), b"data")
        with pytest.raises(TpmMisuseError):
            wrap(fixed, secret, held.public)
    guarded, secret = sensitive_of(DATA.replace(objectAttributes=TPMA_OBJECT.encryptedDuplication), b"data")
    for arguments in ({}, {"parent": held.public}, {"cipher": CIPHERS[0]}):
        with pytest.raises(TpmMisuseError, match="encryptedDuplication"):
            wrap(guarded, secret, **arguments)  # type: ignore[arg-type]
    both = wrap(guarded, secret, held.public, cipher=CIPHERS[0])
    assert unwrap(both, guarded, held) == secret
    good = wrap(public, sensitive, held.public)
    calls: list[Callable[[], object]] = [
        lambda: wrap(None, sensitive),  # type: ignore[arg-type]
        lambda: wrap(public, None),  # type: ignore[arg-type]
        lambda: wrap(public, sensitive, held),  # type: ignore[arg-type]
        lambda: wrap(public, sensitive, DATA),
        lambda: wrap(public, sensitive, cipher=ParameterCipher("xor", 11)),
        lambda: wrap(public, sensitive, cipher="aes"),  # type: ignore[arg-type]
        lambda: wrap(public, sensitive, inner_key=bytes(16)),
        lambda: wrap(public, sensitive, cipher=CIPHERS[0], inner_key=bytes(15)),
        lambda: wrap(public, sensitive, cipher=CIPHERS[0], inner_key="x" * 16),  # type: ignore[arg-type]
        lambda: unwrap(good, public),
        lambda: unwrap(good, public, held.public),  # type: ignore[arg-type]
        lambda: unwrap(good.duplicate, public, held),  # type: ignore[arg-type]
        lambda: unwrap(good, None, held),  # type: ignore[arg-type]
        lambda: Duplicate(None),  # type: ignore[arg-type]
        lambda: Duplicate(b"", b"", b"key"),
        lambda: Duplicate(b"", b"", b"", CIPHERS[0]),
        lambda: Duplicate(b"", b"", b"", "aes"),  # type: ignore[arg-type]
    ]
    for call in calls:
        with pytest.raises(TpmMisuseError):
            call()
    with pytest.raises(VerificationError):
        wrap(public.replace(unique=bytes(32)), sensitive)


# --- parents and public keys


@pytest.mark.parametrize(("kind", "curve"), KINDS, ids=KIND_IDS)
def test_parents(kind: str, curve: int) -> None:
    held = parent(kind, "sha256", CIPHERS[0], curve)
    assert held.name == name_of(held.public)
    assert held.public.objectAttributes == TPMA_OBJECT.userWithAuth | TPMA_OBJECT.restricted | TPMA_OBJECT.decrypt
    assert TPMT_PUBLIC.decode(held.public.encode()) == held.public
    pem = held._private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    again = SoftwareParent.from_pem(pem, held.public)
    secret, encrypted = share_secret(held.public, Purpose.SALT)
    assert again.recover(Purpose.SALT, encrypted) == secret
    assert SoftwareParent.from_pem(pem.decode()).public == storage_public_of(held._private.public_key())
    locked = held._private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"pw")
    )
    assert SoftwareParent.from_pem(locked, held.public, password=b"pw").name == held.name
    for password in (None, b"wrong"):
        with pytest.raises(TpmFormatError) as caught:
            SoftwareParent.from_pem(locked, password=password)
        assert caught.value.__cause__ is None
    assert "PRIVATE" not in repr(held)
    for copied in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TpmMisuseError):
            copied(held)


def test_what_is_no_parent() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    other = ec.generate_private_key(ec.SECP256R1())
    edwards = ed25519.Ed25519PrivateKey.generate()
    pem = edwards.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    calls: list[Callable[[], object]] = [
        lambda: SoftwareParent(None),  # type: ignore[arg-type]
        lambda: SoftwareParent(edwards),  # type: ignore[arg-type]
        lambda: SoftwareParent(key, b""),  # type: ignore[arg-type]
        lambda: SoftwareParent(key, public_area_of(key.public_key())),
        lambda: SoftwareParent(key, storage_public_of(other.public_key())),
        lambda: SoftwareParent(rsa_key(), storage_public_of(key.public_key())),
        lambda: SoftwareParent.from_pem(pem),
        lambda: SoftwareParent.from_pem(None),  # type: ignore[arg-type]
        lambda: SoftwareParent.from_pem(b"", password="x"),  # type: ignore[arg-type]
        lambda: SoftwareParent.generate("dsa"),
        lambda: SoftwareParent.generate("rsa", size=2000),
        lambda: SoftwareParent.generate("rsa", size="2048"),  # type: ignore[arg-type]
        lambda: SoftwareParent.generate("ecc", name_hash="md5"),
        lambda: SoftwareParent.generate("ecc", cipher=ParameterCipher("xor", 11)),
        lambda: storage_public_of(None),
    ]
    for call in calls:
        with pytest.raises(TpmMisuseError):
            call()
    for text in (b"", "", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", b"\xff"):
        with pytest.raises(TpmFormatError):
            SoftwareParent.from_pem(text)
    for curve in (0x10, 0x20, 0x9999, None, []):
        with pytest.raises(TpmUnavailableError):
            curve_of(curve)  # type: ignore[arg-type]
    with pytest.raises(TpmMisuseError):
        curve_number(ec.SECP256K1())
    with pytest.raises(TpmMisuseError):
        curve_number(None)  # type: ignore[arg-type]
    assert [curve_number(curve_of(number)) for number in (1, 2, 3, 4, 5, 0x30, 0x31, 0x32)] == [
        *(1, 2, 3, 4, 5, 0x30, 0x31, 0x32)
    ]
