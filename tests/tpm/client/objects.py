# SPDX-License-Identifier: Apache-2.0
"""What tests make keys, indices and sealed data from."""

from __future__ import annotations

import hashlib
import struct

from prestocloud_sec.tpm.spec.attributes import TPMA_NV, TPMA_OBJECT
from prestocloud_sec.tpm.spec.constants import TPM_ALG_ID, TPM_ECC_CURVE, TPM_NT, TPM_RH, TPM_ST
from prestocloud_sec.tpm.spec.structures import (
    TPMS_ECC_PARMS,
    TPMS_ECC_POINT,
    TPMS_KEYEDHASH_PARMS,
    TPMS_NV_PUBLIC,
    TPMS_PCR_SELECTION,
    TPMS_RSA_PARMS,
    TPMS_SCHEME_ECDAA,
    TPMS_SCHEME_HASH,
    TPMS_SCHEME_XOR,
    TPMS_SENSITIVE_CREATE,
    TPMS_SYMCIPHER_PARMS,
    TPMT_ECC_SCHEME,
    TPMT_HA,
    TPMT_KDF_SCHEME,
    TPMT_KEYEDHASH_SCHEME,
    TPMT_PUBLIC,
    TPMT_RSA_DECRYPT,
    TPMT_RSA_SCHEME,
    TPMT_SIG_SCHEME,
    TPMT_SYM_DEF,
    TPMT_SYM_DEF_OBJECT,
    TPMT_TK_HASHCHECK,
)

ALG, OBJECT, NV = TPM_ALG_ID, TPMA_OBJECT, TPMA_NV

NV_FIRST, NV_LAST = 0x01800100, 0x018001FF
PERSISTENT_FIRST, PERSISTENT_LAST = 0x81004200, 0x810042FF
"""The handles that tests use on a TPM that is not theirs."""

FIXED = OBJECT.fixedTPM | OBJECT.fixedParent
OWN = FIXED | OBJECT.sensitiveDataOrigin | OBJECT.userWithAuth | OBJECT.noDA
NO_CIPHER = TPMT_SYM_DEF_OBJECT(ALG.NULL, None, None)
AES = TPMT_SYM_DEF_OBJECT(ALG.AES, 128, ALG.CFB)
NO_SCHEME = TPMT_SIG_SCHEME(ALG.NULL, None)
NO_RSA_SCHEME = TPMT_RSA_SCHEME(ALG.NULL, None)
NO_ECC_SCHEME = TPMT_ECC_SCHEME(ALG.NULL, None)
NO_KDF = TPMT_KDF_SCHEME(ALG.NULL, None)
NO_POINT = TPMS_ECC_POINT(b"", b"")
SHA256 = TPMS_SCHEME_HASH(ALG.SHA256)
OAEP = TPMT_RSA_DECRYPT(ALG.OAEP, SHA256)
NO_SESSION_CIPHER = TPMT_SYM_DEF(ALG.NULL, None, None)
NO_TICKET = TPMT_TK_HASHCHECK(TPM_ST.HASHCHECK, TPM_RH.NULL, b"")
PCR_16 = (TPMS_PCR_SELECTION(ALG.SHA256, b"\0\0\1"),)


def secret(auth: bytes = b"", data: bytes = b"") -> TPMS_SENSITIVE_CREATE:
    """Return what goes into a new object."""
    return TPMS_SENSITIVE_CREATE(auth, data)


def digests(data: bytes) -> tuple[TPMT_HA, ...]:
    """Return a digest to extend a PCR with."""
    return (TPMT_HA(ALG.SHA256, data.ljust(32, b"\0")),)


def selection(*pcrs: int) -> tuple[TPMS_PCR_SELECTION, ...]:
    """Return a selection of PCRs of SHA-256."""
    bits = sum(1 << pcr for pcr in pcrs)
    return (TPMS_PCR_SELECTION(ALG.SHA256, bits.to_bytes(3, "little")),)


class Template:
    """Public areas, by what they are for."""

    def ecc(
        self,
        attributes: TPMA_OBJECT,
        scheme: TPMT_ECC_SCHEME = NO_ECC_SCHEME,
        cipher: TPMT_SYM_DEF_OBJECT = NO_CIPHER,
        policy: bytes = b"",
        curve: TPM_ECC_CURVE = TPM_ECC_CURVE.NIST_P256,
    ) -> TPMT_PUBLIC:
        parameters = TPMS_ECC_PARMS(cipher, scheme, curve, NO_KDF)
        return TPMT_PUBLIC(ALG.ECC, ALG.SHA256, attributes, policy, parameters, NO_POINT)

    def rsa(
        self,
        attributes: TPMA_OBJECT,
        scheme: TPMT_RSA_SCHEME = NO_RSA_SCHEME,
        cipher: TPMT_SYM_DEF_OBJECT = NO_CIPHER,
        policy: bytes = b"",
    ) -> TPMT_PUBLIC:
        parameters = TPMS_RSA_PARMS(cipher, scheme, 2048, 0)
        return TPMT_PUBLIC(ALG.RSA, ALG.SHA256, attributes, policy, parameters, b"")

    @property
    def storage(self) -> TPMT_PUBLIC:
        """A parent, of ECC."""
        return self.ecc(OWN | OBJECT.restricted | OBJECT.decrypt, cipher=AES)

    @property
    def signing(self) -> TPMT_PUBLIC:
        """A key that signs whatever it is given, with ECDSA."""
        return self.ecc(OWN | OBJECT.sign_encrypt, TPMT_ECC_SCHEME(ALG.ECDSA, SHA256))

    @property
    def attesting(self) -> TPMT_PUBLIC:
        """A key that signs what the TPM has made."""
        return self.ecc(OWN | OBJECT.restricted | OBJECT.sign_encrypt, TPMT_ECC_SCHEME(ALG.ECDSA, SHA256))

    @property
    def agreeing(self) -> TPMT_PUBLIC:
        """A key for ECDH."""
        return self.ecc(OWN | OBJECT.decrypt)

    @property
    def anonymous(self) -> TPMT_PUBLIC:
        """A key for ECDAA, on a curve that suits it."""
        scheme = TPMT_ECC_SCHEME(ALG.ECDAA, TPMS_SCHEME_ECDAA(ALG.SHA256, 0))
        return self.ecc(OWN | OBJECT.sign_encrypt, scheme, curve=TPM_ECC_CURVE.BN_P256)

    @property
    def decrypting(self) -> TPMT_PUBLIC:
        """An RSA key that decrypts."""
        return self.rsa(OWN | OBJECT.decrypt)

    @property
    def endorsing(self) -> TPMT_PUBLIC:
        """An RSA key that decrypts for the TPM alone."""
        return self.rsa(OWN | OBJECT.restricted | OBJECT.decrypt, cipher=AES)

    @property
    def movable(self) -> TPMT_PUBLIC:
        """A signing key that can be duplicated: its policy is PolicyCommandCode(Duplicate)."""
        free = OBJECT.sensitiveDataOrigin | OBJECT.userWithAuth | OBJECT.noDA | OBJECT.sign_encrypt
        policy = hashlib.sha256(bytes(32) + struct.pack(">II", 0x16C, 0x14B)).digest()
        return self.ecc(free, TPMT_ECC_SCHEME(ALG.ECDSA, SHA256), policy=policy)

    @property
    def cipher(self) -> TPMT_PUBLIC:
        """A key for AES in CFB mode."""
        attributes = OWN | OBJECT.sign_encrypt | OBJECT.decrypt
        return TPMT_PUBLIC(ALG.SYMCIPHER, ALG.SHA256, attributes, b"", TPMS_SYMCIPHER_PARMS(AES), b"")

    @property
    def hmac(self) -> TPMT_PUBLIC:
        """A key for HMAC with SHA-256."""
        scheme = TPMS_KEYEDHASH_PARMS(TPMT_KEYEDHASH_SCHEME(ALG.HMAC, SHA256))
        return TPMT_PUBLIC(ALG.KEYEDHASH, ALG.SHA256, OWN | OBJECT.sign_encrypt, b"", scheme, b"")

    @property
    def deriving(self) -> TPMT_PUBLIC:
        """A parent that derives its children."""
        scheme = TPMT_KEYEDHASH_SCHEME(ALG.XOR, TPMS_SCHEME_XOR(ALG.SHA256, ALG.KDF1_SP800_108))
        attributes = OWN | OBJECT.restricted | OBJECT.decrypt
        return TPMT_PUBLIC(ALG.KEYEDHASH, ALG.SHA256, attributes, b"", TPMS_KEYEDHASH_PARMS(scheme), b"")

    @property
    def sealed(self) -> TPMT_PUBLIC:
        """Sealed data."""
        scheme = TPMS_KEYEDHASH_PARMS(TPMT_KEYEDHASH_SCHEME(ALG.NULL, None))
        attributes = FIXED | OBJECT.userWithAuth | OBJECT.noDA
        return TPMT_PUBLIC(ALG.KEYEDHASH, ALG.SHA256, attributes, b"", scheme, b"")

    def index(
        self,
        handle: int = NV_FIRST,
        kind: TPM_NT = TPM_NT.ORDINARY,
        size: int = 16,
        more: TPMA_NV = TPMA_NV(0),  # noqa: B008
        policy: bytes = b"",
    ) -> TPMS_NV_PUBLIC:
        """Return an NV index that the owner and its own value read and write."""
        attributes = NV.OWNERWRITE | NV.AUTHWRITE | NV.OWNERREAD | NV.AUTHREAD | NV.NO_DA | more
        return TPMS_NV_PUBLIC(handle, ALG.SHA256, attributes.with_field("TPM_NT", kind), policy, size)
