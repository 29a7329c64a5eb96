# SPDX-License-Identifier: Apache-2.0
"""libtpms opens what was wrapped in software, and what it wraps opens in software."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from prestocloud_sec.tpm.errors import UnwrapError
from prestocloud_sec.tpm.names import name_of
from prestocloud_sec.tpm.pem import public_area_of
from prestocloud_sec.tpm.policy import CommandCode, DuplicationSelect, Policy
from prestocloud_sec.tpm.protect import (
    Credential,
    Duplicate,
    SoftwareParent,
    activate_credential,
    make_credential,
    private_key_of,
    sensitive_of,
    unwrap,
    wrap,
)
from prestocloud_sec.tpm.session import AuthValue as Value
from prestocloud_sec.tpm.session import ParameterCipher
from prestocloud_sec.tpm.spec import (
    TPM_ALG_ID,
    TPM_CC,
    TPM_RH,
    TPMA_OBJECT,
    TPMS_SCHEME_HASH,
    TPMS_SENSITIVE_CREATE,
    TPMT_PUBLIC,
    TPMT_RSA_DECRYPT,
    TPMT_SYM_DEF_OBJECT,
    ActivateCredential,
    Create,
    Import,
    Load,
    LoadExternal,
    MakeCredential,
    RSA_Decrypt,
    Unseal,
)
from prestocloud_sec.tpm.spec import Duplicate as DuplicateCommand
from tests.tpm.live import NO_PCRS, SEAL, SIGN_RSA, STORAGE_ECC, STORAGE_RSA, Live, RefusedError, available

pytestmark = available()

SECRET = b"what was sealed"
DUPLICABLE = TPMA_OBJECT.userWithAuth | TPMA_OBJECT.noDA
NO_CIPHER = TPMT_SYM_DEF_OBJECT(TPM_ALG_ID.NULL, None, None)
CIPHERS = [None, ParameterCipher("aes", 128), ParameterCipher("aes", 256)]
STORAGE = {"rsa": STORAGE_RSA, "ecc": STORAGE_ECC}


@functools.cache
def software(kind: str, name_hash: str, cipher: ParameterCipher) -> SoftwareParent:
    return SoftwareParent.generate(kind, name_hash=name_hash, cipher=cipher)


@functools.cache
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    made = Live()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def tidy(live: Live) -> Iterator[None]:
    """Leave nothing loaded for the next test."""
    yield
    live.tidy()


# --- credentials


@pytest.mark.parametrize("kind", ["rsa", "ecc"])
def test_the_tpm_activates_our_credentials(live: Live, kind: str) -> None:
    key, object_ = live.primary(STORAGE[kind]), live.primary(SIGN_RSA)
    for secret in (b"a secret", bytes(32)):
        credential = make_credential(live.public(key), live.name(object_), secret)
        answer = live.execute(ActivateCredential(object_, key, *credential))  # type: ignore[arg-type]
        assert answer.certInfo == secret
    wrong = make_credential(live.public(key), live.name(key), b"a secret")
    with pytest.raises(RefusedError) as caught:
        live.execute(ActivateCredential(object_, key, *wrong))  # type: ignore[arg-type]
    assert caught.value.rc == 0x1DF


@pytest.mark.parametrize("kind", ["rsa", "ecc"])
@pytest.mark.parametrize("name_hash", ["sha1", "sha256", "sha384", "sha512"])
@pytest.mark.parametrize("cipher", CIPHERS[1:], ids=str)
def test_we_activate_the_credentials_of_the_tpm(live: Live, kind: str, name_hash: str, cipher: ParameterCipher) -> None:
    parent = software(kind, name_hash, cipher)
    loaded = live.execute(LoadExternal(None, parent.public, TPM_RH.OWNER))
    assert loaded.name == parent.name
    name = live.name(live.primary(SIGN_RSA))
    made = live.execute(MakeCredential(loaded.objectHandle, b"a secret", name))
    credential = Credential(made.credentialBlob, made.secret)
    assert activate_credential(parent, name, credential) == b"a secret"
    with pytest.raises(UnwrapError):
        activate_credential(parent, parent.name, credential)


# --- duplicates


def duplicable(live: Live, storage: int, template: TPMT_PUBLIC, data: bytes = b"") -> tuple[int, TPMT_PUBLIC]:
    """Return an object of the TPM that a policy allows to be duplicated."""
    policy = Policy(CommandCode(TPM_CC.Duplicate)).digest()
    public = template.replace(objectAttributes=template.objectAttributes, authPolicy=policy)
    made = live.execute(Create(storage, TPMS_SENSITIVE_CREATE(b"value", data), public, b"", NO_PCRS))  # type: ignore[arg-type]
    handle = live.execute(Load(storage, made.outPrivate, made.outPublic)).objectHandle  # type: ignore[arg-type]
    return live.loaded(handle, made.outPublic, b"value"), made.outPublic


TEMPLATES = {
    "sealed": TPMT_PUBLIC.decode(SEAL),
    "rsa": TPMT_PUBLIC.decode(bytes.fromhex("0001 000b 00060460 0000 0010 0010 0800 00000000 0000")),
    "ecc": TPMT_PUBLIC.decode(bytes.fromhex("0023 000b 00060460 0000 0010 0010 0003 0010 0000 0000")),
    "symmetric": TPMT_PUBLIC.decode(bytes.fromhex("0025 000b 00060460 0000 0006 0080 0043 0000")),
}


@pytest.mark.parametrize("what", TEMPLATES)
@pytest.mark.parametrize("kind", ["rsa", "ecc", None])
@pytest.mark.parametrize("cipher", CIPHERS, ids=str)
def test_we_unwrap_what_the_tpm_duplicates(
    live: Live, what: str, kind: str | None, cipher: ParameterCipher | None
) -> None:
    storage = live.primary(STORAGE_ECC)
    handle, public = duplicable(live, storage, TEMPLATES[what], SECRET if what == "sealed" else b"")
    live.flush(storage)
    parent = None if kind is None else software(kind, "sha384", CIPHERS[2])
    target = (
        TPM_RH.NULL if parent is None else live.execute(LoadExternal(None, parent.public, TPM_RH.OWNER)).objectHandle
    )
    if parent is not None:
        live.names[target] = parent.name
    session = live.policy()
    live.satisfy(Policy(CommandCode(TPM_CC.Duplicate)), session)
    symmetric = NO_CIPHER if cipher is None else TPMT_SYM_DEF_OBJECT.decode(cipher.encode())
    made = live.execute(DuplicateCommand(handle, target, b"", symmetric), [session])  # type: ignore[arg-type]
    duplicate = Duplicate(made.duplicate, made.outSymSeed, made.encryptionKeyOut, cipher)
    sensitive = unwrap(duplicate, public, parent)
    assert Value(sensitive.authValue) == Value(b"value")
    if what == "sealed":
        assert sensitive.sensitive == SECRET
    elif what != "symmetric":
        key: Any = private_key_of(public, sensitive)
        assert public_area_of(key.public_key()).unique == public.unique


@pytest.mark.parametrize("what", ["sealed", "rsa", "ecc", "symmetric"])
@pytest.mark.parametrize("kind", ["rsa", "ecc"])
@pytest.mark.parametrize("cipher", CIPHERS, ids=str)
@pytest.mark.parametrize("outer", [True, False])
def test_the_tpm_imports_what_we_wrap(
    live: Live, what: str, kind: str, cipher: ParameterCipher | None, outer: bool
) -> None:
    storage = live.primary(STORAGE[kind])
    template = TEMPLATES[what].replace(
        objectAttributes=TEMPLATES[what].objectAttributes & ~TPMA_OBJECT.sensitiveDataOrigin
    )
    secret: Any = SECRET
    if what == "rsa":
        secret = rsa_key()
    elif what == "ecc":
        secret = ec.generate_private_key(ec.SECP256R1())
    elif what == "symmetric":
        secret = bytes(range(16))
    if what in ("rsa", "ecc"):
        template = template.replace(unique=public_area_of(secret.public_key()).unique)
    public, sensitive = sensitive_of(template, secret, b"value")
    duplicate = wrap(public, sensitive, live.public(storage) if outer else None, cipher=cipher)
    command = Import(storage, duplicate.inner_key, public, duplicate.duplicate, duplicate.seed, duplicate.symmetric)  # type: ignore[arg-type]
    private = live.execute(command).outPrivate
    handle = live.execute(Load(storage, private, public)).objectHandle  # type: ignore[arg-type]
    live.loaded(handle, public, b"value")
    assert live.public(handle) == public
    if what == "sealed":
        assert live.execute(Unseal(handle)).outData == SECRET  # type: ignore[arg-type]
    if outer:
        wrong = wrap(public, sensitive, SoftwareParent.generate("ecc").public, cipher=cipher)
        with pytest.raises(RefusedError):
            live.execute(Import(storage, wrong.inner_key, public, wrong.duplicate, wrong.seed, wrong.symmetric))  # type: ignore[arg-type]


def test_secret_parts_are_loaded_as_they_are(live: Live) -> None:
    key = rsa_key()
    template = public_area_of(key.public_key(), attributes=TPMA_OBJECT.userWithAuth | TPMA_OBJECT.decrypt)
    public, sensitive = sensitive_of(template, key, b"value")
    handle = live.execute(LoadExternal(sensitive, public, TPM_RH.NULL)).objectHandle
    live.loaded(handle, public, b"value")
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    scheme = TPMT_RSA_DECRYPT(TPM_ALG_ID.OAEP, TPMS_SCHEME_HASH(TPM_ALG_ID.SHA256))
    encrypted = key.public_key().encrypt(b"hello", oaep)
    assert live.execute(RSA_Decrypt(handle, encrypted, scheme, b"")).message == b"hello"
    data, secret = sensitive_of(TEMPLATES["sealed"], b"data", b"value")
    handle = live.execute(LoadExternal(secret, data, TPM_RH.NULL)).objectHandle
    live.loaded(handle, data, b"value")
    assert live.execute(Unseal(handle), [live.hmac()]).outData == b"data"


def test_a_policy_that_selects_the_new_parent(live: Live) -> None:
    parent, other = SoftwareParent.generate("ecc"), SoftwareParent.generate("ecc")
    policy = Policy(DuplicationSelect(parent.name))
    storage = live.primary(STORAGE_ECC)
    template = TEMPLATES["sealed"].replace(authPolicy=policy.digest())
    made = live.execute(Create(storage, TPMS_SENSITIVE_CREATE(b"", SECRET), template, b"", NO_PCRS))  # type: ignore[arg-type]
    handle = live.execute(Load(storage, made.outPrivate, made.outPublic)).objectHandle  # type: ignore[arg-type]
    live.loaded(handle, made.outPublic)
    live.flush(storage)
    session = live.policy()
    for target, allowed in ((other, False), (parent, True)):
        loaded = live.execute(LoadExternal(None, target.public, TPM_RH.OWNER)).objectHandle
        live.names[loaded] = target.name
        live.satisfy(Policy(DuplicationSelect(parent.name, name_of(made.outPublic))), session)
        command = DuplicateCommand(handle, loaded, b"", NO_CIPHER)  # type: ignore[arg-type]
        if not allowed:
            with pytest.raises(RefusedError):
                live.execute(command, [session])
            live.flush(session)
            session = live.policy()
            continue
        answer = live.execute(command, [session])
        assert unwrap(Duplicate(answer.duplicate, answer.outSymSeed), made.outPublic, parent).sensitive == SECRET
