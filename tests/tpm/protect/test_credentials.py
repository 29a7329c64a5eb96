# SPDX-License-Identifier: Apache-2.0
"""Credentials in software: what is wrapped opens, and nothing else does."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestocloud_sec.testing.tpm import broken
from prestocloud_sec.tpm.errors import (
    TpmFormatError,
    TpmInputError,
    TpmMisuseError,
    UnwrapError,
)
from prestocloud_sec.tpm.pem import public_area_of
from prestocloud_sec.tpm.protect import (
    Credential,
    activate_credential,
    make_credential,
)
from prestocloud_sec.tpm.salt import Purpose, share_secret
from prestocloud_sec.tpm.session import ParameterCipher
from tests.tpm.protect.keys import CIPHERS, DATA, KIND_IDS, KINDS, NAME, parent, rsa_key


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
