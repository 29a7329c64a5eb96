# SPDX-License-Identifier: Apache-2.0
"""Keys, parents and objects that the tests of protection share; each is made once."""

from __future__ import annotations

import functools
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from prestocloud_sec.tpm.pem import public_area_of
from prestocloud_sec.tpm.protect import (
    SoftwareParent,
)
from prestocloud_sec.tpm.session import ParameterCipher
from prestocloud_sec.tpm.spec import (
    TPM_ALG_ID,
    TPMA_OBJECT,
    TPMS_KEYEDHASH_PARMS,
    TPMT_KEYEDHASH_SCHEME,
    TPMT_PUBLIC,
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
