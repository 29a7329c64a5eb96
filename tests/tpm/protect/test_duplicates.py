# SPDX-License-Identifier: Apache-2.0
"""Duplicates in software: with one wrap, both or none, and broken in every way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from prestocloud_sec.testing.tpm import broken
from prestocloud_sec.tpm.errors import (
    TpmInputError,
    TpmMisuseError,
    UnwrapError,
    VerificationError,
)
from prestocloud_sec.tpm.hashes import hash_of
from prestocloud_sec.tpm.names import name_of
from prestocloud_sec.tpm.protect import (
    Duplicate,
    check_binding,
    rewrap,
    sensitive_of,
    unwrap,
    wrap,
)
from prestocloud_sec.tpm.session import ParameterCipher
from prestocloud_sec.tpm.spec import (
    TPMA_OBJECT,
    TPMT_PUBLIC,
)
from tests.tpm.protect.keys import CIPHERS, DATA, NAME, objects, parent


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
