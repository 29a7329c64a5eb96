# SPDX-License-Identifier: Apache-2.0
"""Storage keys in software, and public keys."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from prestocloud_sec.tpm.errors import (
    TpmFormatError,
    TpmMisuseError,
    TpmUnavailableError,
)
from prestocloud_sec.tpm.names import name_of
from prestocloud_sec.tpm.pem import public_area_of
from prestocloud_sec.tpm.protect import (
    SoftwareParent,
    storage_public_of,
)
from prestocloud_sec.tpm.public_keys import curve_number, curve_of
from prestocloud_sec.tpm.salt import Purpose, share_secret
from prestocloud_sec.tpm.session import ParameterCipher
from prestocloud_sec.tpm.spec import (
    TPMA_OBJECT,
    TPMT_PUBLIC,
)
from tests.tpm.protect.keys import CIPHERS, KIND_IDS, KINDS, parent, rsa_key


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
