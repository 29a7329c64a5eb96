# SPDX-License-Identifier: Apache-2.0
"""The simple types of TPM 2.0 and its interface types (Library, Part 2, clauses 5, 9, 11 and 13).

An interface type is a simple type of which only some values may occur in a place; what a TPM answers to the others
stands beside them. The tables of Part 2 leave the limits of a range to the implementation (how many PCRs and sessions
there are, and how many objects can be loaded); here a range is what the type of the handle allows, because the library
speaks to any TPM, and a resource manager counts its virtual handles from the end of the range.
"""

from __future__ import annotations

from typing import Annotated

from prestocloud_sec.tpm.spec.constants import TPM_ALG_ID, TPM_ECC_CURVE, TPM_RC, TPM_RH, TPM_ST
from prestocloud_sec.tpm.spec.declare import Allowed, Number, Range

__all__ = [
    "BYTE",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "TPMI_AES_KEY_BITS",
    "TPMI_ALG_ASYM",
    "TPMI_ALG_ASYM_SCHEME",
    "TPMI_ALG_CIPHER_MODE",
    "TPMI_ALG_ECC_SCHEME",
    "TPMI_ALG_HASH",
    "TPMI_ALG_KDF",
    "TPMI_ALG_KEYEDHASH_SCHEME",
    "TPMI_ALG_MAC_SCHEME",
    "TPMI_ALG_PUBLIC",
    "TPMI_ALG_RSA_DECRYPT",
    "TPMI_ALG_RSA_SCHEME",
    "TPMI_ALG_SIG_SCHEME",
    "TPMI_ALG_SYM",
    "TPMI_ALG_SYM_MODE",
    "TPMI_ALG_SYM_OBJECT",
    "TPMI_CAMELLIA_KEY_BITS",
    "TPMI_DH_CONTEXT",
    "TPMI_DH_ENTITY",
    "TPMI_DH_OBJECT",
    "TPMI_DH_PARENT",
    "TPMI_DH_PCR",
    "TPMI_DH_PERSISTENT",
    "TPMI_DH_SAVED",
    "TPMI_ECC_CURVE",
    "TPMI_ECC_KEY_EXCHANGE",
    "TPMI_RH_AC",
    "TPMI_RH_ACT",
    "TPMI_RH_BASE_HIERARCHY",
    "TPMI_RH_CLEAR",
    "TPMI_RH_ENABLES",
    "TPMI_RH_ENDORSEMENT",
    "TPMI_RH_HIERARCHY",
    "TPMI_RH_HIERARCHY_AUTH",
    "TPMI_RH_HIERARCHY_POLICY",
    "TPMI_RH_LOCKOUT",
    "TPMI_RH_NV_AUTH",
    "TPMI_RH_NV_DEFINED_INDEX",
    "TPMI_RH_NV_EXP_INDEX",
    "TPMI_RH_NV_INDEX",
    "TPMI_RH_NV_LEGACY_INDEX",
    "TPMI_RH_OWNER",
    "TPMI_RH_PLATFORM",
    "TPMI_RH_PROVISION",
    "TPMI_RSA_KEY_BITS",
    "TPMI_SH_AUTH_SESSION",
    "TPMI_SH_HMAC",
    "TPMI_SH_POLICY",
    "TPMI_SM4_KEY_BITS",
    "TPMI_ST_ATTEST",
    "TPMI_ST_COMMAND_TAG",
    "TPMI_TDES_KEY_BITS",
    "TPMI_YES_NO",
    "TPM_ALGORITHM_ID",
    "TPM_AUTHORIZATION_SIZE",
    "TPM_HANDLE",
    "TPM_KEY_BITS",
    "TPM_KEY_SIZE",
    "TPM_MODIFIER_INDICATOR",
    "TPM_PARAMETER_SIZE",
    "UINT8",
    "UINT16",
    "UINT32",
    "UINT64",
]

ALG, RH, RC = TPM_ALG_ID, TPM_RH, TPM_RC

# --- integers (5.1, 5.3, 7.1) -----------------------------------------------------------------------------------------

UINT8 = Annotated[int, Number("B")]
BYTE = Annotated[int, Number("B")]
INT8 = Annotated[int, Number("b")]
UINT16 = Annotated[int, Number("H")]
INT16 = Annotated[int, Number("h")]
UINT32 = Annotated[int, Number("I")]
INT32 = Annotated[int, Number("i")]
UINT64 = Annotated[int, Number("Q")]
INT64 = Annotated[int, Number("q")]

TPM_ALGORITHM_ID = UINT32
TPM_MODIFIER_INDICATOR = UINT32
TPM_AUTHORIZATION_SIZE = UINT32
TPM_PARAMETER_SIZE = UINT32
TPM_KEY_SIZE = UINT16
TPM_KEY_BITS = UINT16

TPM_HANDLE = Annotated[int, Allowed(Range(0, 0xFFFFFFFF))]
"""Any handle; one that `TPM_RH` knows is held as its member."""

TPMI_YES_NO = Annotated[bool, Allowed(0, 1, rc=RC.VALUE, code="B")]
"""Yes or no (9.2)."""

# --- handles (9.3 to 9.26) --------------------------------------------------------------------------------------------

_PCRS = Range(0, 31)
_NV_INDICES = Range(0x01000000, 0x01FFFFFF)
_HMAC_SESSIONS = Range(0x02000000, 0x02FFFFFF)
_POLICY_SESSIONS = Range(0x03000000, 0x03FFFFFF)
_EXTERNAL_NV = Range(0x11000000, 0x11FFFFFF)
_PERMANENT_NV = Range(0x12000000, 0x12FFFFFF)
_TRANSIENT = Range(0x80000000, 0x80FFFFFF)
_PERSISTENT = Range(0x81000000, 0x81FFFFFF)
_ATTACHED = Range(0x90000000, 0x90FFFFFF)
_VENDOR_AUTHS = Range(RH.AUTH_00, RH.AUTH_FF)
_TIMERS = Range(RH.ACT_0, RH.ACT_F)
_OF_FIRMWARE = (RH.FW_OWNER, RH.FW_ENDORSEMENT, RH.FW_PLATFORM, RH.FW_NULL)
_OF_VERSIONS = Range(RH.SVN_OWNER_BASE, RH.SVN_NULL_BASE + 0xFFFF)

TPMI_DH_OBJECT = Annotated[int, Allowed(_TRANSIENT, _PERSISTENT, null=RH.NULL, rc=RC.VALUE)]
"""A loaded object (9.3)."""
TPMI_DH_PARENT = Annotated[
    int,
    Allowed(
        *(_TRANSIENT, _PERSISTENT, RH.OWNER, RH.PLATFORM, RH.ENDORSEMENT),
        *(*_OF_FIRMWARE, _OF_VERSIONS),
        null=RH.NULL,
        rc=RC.VALUE,
    ),
]
"""A hierarchy, or an object that can have children (9.4)."""
TPMI_DH_PERSISTENT = Annotated[int, Allowed(_PERSISTENT, rc=RC.VALUE)]
"""A persistent object (9.5)."""
TPMI_DH_ENTITY = Annotated[
    int,
    Allowed(
        *(RH.OWNER, RH.ENDORSEMENT, RH.PLATFORM, RH.LOCKOUT),
        *(_TRANSIENT, _PERSISTENT, _NV_INDICES, _PCRS, _VENDOR_AUTHS),
        *(_EXTERNAL_NV, _PERMANENT_NV),
        null=RH.NULL,
        rc=RC.VALUE,
    ),
]
"""Whatever has an authValue (9.6)."""
TPMI_DH_PCR = Annotated[int, Allowed(_PCRS, null=RH.NULL, rc=RC.VALUE)]
"""A PCR (9.7)."""
TPMI_SH_AUTH_SESSION = Annotated[int, Allowed(_HMAC_SESSIONS, _POLICY_SESSIONS, null=RH.PW, rc=RC.VALUE)]
"""A session that authorizes; its NULL stands for a password (9.8)."""
TPMI_SH_HMAC = Annotated[int, Allowed(_HMAC_SESSIONS, rc=RC.VALUE)]
"""An HMAC session (9.9)."""
TPMI_SH_POLICY = Annotated[int, Allowed(_POLICY_SESSIONS, rc=RC.VALUE)]
"""A policy or trial session (9.10)."""
TPMI_DH_CONTEXT = Annotated[int, Allowed(_HMAC_SESSIONS, _POLICY_SESSIONS, _TRANSIENT, rc=RC.VALUE)]
"""What can be saved away (9.11)."""
TPMI_DH_SAVED = Annotated[
    int, Allowed(_HMAC_SESSIONS, _POLICY_SESSIONS, 0x80000000, 0x80000001, 0x80000002, rc=RC.VALUE)
]
"""What was saved away: a session, or an object (80000000), sequence (...1) or stClear object (...2) (9.12)."""
TPMI_RH_HIERARCHY = Annotated[
    int,
    Allowed(
        *(RH.OWNER, RH.PLATFORM, RH.ENDORSEMENT),
        *(*_OF_FIRMWARE, _OF_VERSIONS),
        null=RH.NULL,
        rc=RC.VALUE,
    ),
]
"""A hierarchy (9.13)."""
TPMI_RH_BASE_HIERARCHY = Annotated[int, Allowed(RH.OWNER, RH.PLATFORM, RH.ENDORSEMENT, rc=RC.VALUE)]
"""A hierarchy that is not bound to firmware (revision 1.83)."""
TPMI_RH_ENABLES = Annotated[
    int, Allowed(RH.OWNER, RH.PLATFORM, RH.ENDORSEMENT, RH.PLATFORM_NV, null=RH.NULL, rc=RC.VALUE)
]
"""What TPM2_HierarchyControl enables (9.14)."""
TPMI_RH_HIERARCHY_AUTH = Annotated[int, Allowed(RH.OWNER, RH.PLATFORM, RH.ENDORSEMENT, RH.LOCKOUT, rc=RC.VALUE)]
"""What TPM2_HierarchyChangeAuth changes the authValue of (9.15)."""
TPMI_RH_HIERARCHY_POLICY = Annotated[
    int, Allowed(RH.OWNER, RH.PLATFORM, RH.ENDORSEMENT, RH.LOCKOUT, _TIMERS, rc=RC.VALUE)
]
"""What TPM2_SetPrimaryPolicy sets the policy of (9.16)."""
TPMI_RH_PLATFORM = Annotated[int, Allowed(RH.PLATFORM, rc=RC.VALUE)]
"""The platform (9.17)."""
TPMI_RH_OWNER = Annotated[int, Allowed(RH.OWNER, null=RH.NULL, rc=RC.VALUE)]
"""The owner (9.18)."""
TPMI_RH_ENDORSEMENT = Annotated[int, Allowed(RH.ENDORSEMENT, null=RH.NULL, rc=RC.VALUE)]
"""The privacy administrator (9.19)."""
TPMI_RH_PROVISION = Annotated[int, Allowed(RH.OWNER, RH.PLATFORM, rc=RC.VALUE)]
"""Who provisions the TPM (9.20)."""
TPMI_RH_CLEAR = Annotated[int, Allowed(RH.LOCKOUT, RH.PLATFORM, rc=RC.VALUE)]
"""Who can clear it (9.21)."""
TPMI_RH_NV_AUTH = Annotated[int, Allowed(RH.PLATFORM, RH.OWNER, _NV_INDICES, _EXTERNAL_NV, _PERMANENT_NV, rc=RC.VALUE)]
"""Who authorizes an NV command (9.22)."""
TPMI_RH_LOCKOUT = Annotated[int, Allowed(RH.LOCKOUT, rc=RC.VALUE)]
"""The authority over lockout (9.23)."""
TPMI_RH_NV_INDEX = Annotated[int, Allowed(_NV_INDICES, _EXTERNAL_NV, _PERMANENT_NV, rc=RC.VALUE)]
"""An NV index (9.24); the second and third kind from revision 1.83 on."""
TPMI_RH_NV_DEFINED_INDEX = Annotated[int, Allowed(_NV_INDICES, _EXTERNAL_NV, rc=RC.VALUE)]
"""An NV index that a command defined (revision 1.83)."""
TPMI_RH_NV_LEGACY_INDEX = Annotated[int, Allowed(_NV_INDICES, rc=RC.VALUE)]
"""An NV index with attributes of 32 bits (revision 1.83)."""
TPMI_RH_NV_EXP_INDEX = Annotated[int, Allowed(_EXTERNAL_NV, rc=RC.VALUE)]
"""An NV index with attributes of 64 bits (revision 1.83)."""
TPMI_RH_AC = Annotated[int, Allowed(_ATTACHED, rc=RC.VALUE)]
"""An attached component (9.25)."""
TPMI_RH_ACT = Annotated[int, Allowed(_TIMERS, rc=RC.VALUE)]
"""An authenticated countdown timer (9.26)."""

# --- algorithms (9.27 to 9.37) ----------------------------------------------------------------------------------------

_HASHES = (
    *(ALG.SHA1, ALG.SHA256, ALG.SHA384, ALG.SHA512, ALG.SM3_256, ALG.SHA3_256, ALG.SHA3_384, ALG.SHA3_512),
    *(ALG.SHA256_192, ALG.SHAKE256_192, ALG.SHAKE256_256, ALG.SHAKE256_512),
)
"""The hash algorithms; those in the second row from revision 1.83 on."""

_BLOCK_CIPHERS = (ALG.TDES, ALG.AES, ALG.SM4, ALG.CAMELLIA)
_MODES = (ALG.CTR, ALG.OFB, ALG.CBC, ALG.CFB, ALG.ECB)
_ASYM_SIGNING = (ALG.RSASSA, ALG.RSAPSS, ALG.ECDSA, ALG.ECDAA, ALG.SM2, ALG.ECSCHNORR, ALG.EDDSA, ALG.EDDSA_PH)

TPMI_ALG_HASH = Annotated[TPM_ALG_ID, Allowed(*_HASHES, null=ALG.NULL, rc=RC.HASH)]
"""A hash (9.27)."""
TPMI_ALG_ASYM = Annotated[TPM_ALG_ID, Allowed(ALG.RSA, ALG.ECC, null=ALG.NULL, rc=RC.ASYMMETRIC)]
"""An asymmetric algorithm (9.28)."""
TPMI_ALG_SYM = Annotated[TPM_ALG_ID, Allowed(*_BLOCK_CIPHERS, ALG.XOR, null=ALG.NULL, rc=RC.SYMMETRIC)]
"""What encrypts a parameter (9.29)."""
TPMI_ALG_SYM_OBJECT = Annotated[TPM_ALG_ID, Allowed(*_BLOCK_CIPHERS, null=ALG.NULL, rc=RC.SYMMETRIC)]
"""A block cipher (9.30)."""
TPMI_ALG_SYM_MODE = Annotated[TPM_ALG_ID, Allowed(*_MODES, ALG.CMAC, null=ALG.NULL, rc=RC.MODE)]
"""A mode of a block cipher, MAC included (9.31)."""
TPMI_ALG_KDF = Annotated[
    TPM_ALG_ID,
    Allowed(ALG.MGF1, ALG.KDF1_SP800_56A, ALG.KDF2, ALG.KDF1_SP800_108, null=ALG.NULL, rc=RC.KDF),
]
"""A key derivation (9.32)."""
TPMI_ALG_SIG_SCHEME = Annotated[TPM_ALG_ID, Allowed(*_ASYM_SIGNING, ALG.HMAC, null=ALG.NULL, rc=RC.SCHEME)]
"""A signing scheme (9.33)."""
TPMI_ECC_KEY_EXCHANGE = Annotated[TPM_ALG_ID, Allowed(ALG.ECDH, ALG.ECMQV, ALG.SM2, null=ALG.NULL, rc=RC.SCHEME)]
"""A key exchange of two phases (9.34)."""
TPMI_ST_COMMAND_TAG = Annotated[TPM_ST, Allowed(TPM_ST.NO_SESSIONS, TPM_ST.SESSIONS, rc=RC.BAD_TAG)]
"""The tag of a command (9.35)."""
TPMI_ALG_MAC_SCHEME = Annotated[TPM_ALG_ID, Allowed(ALG.CMAC, *_HASHES, null=ALG.NULL, rc=RC.SYMMETRIC)]
"""A MAC: CMAC, or the hash of an HMAC (9.36)."""
TPMI_ALG_CIPHER_MODE = Annotated[TPM_ALG_ID, Allowed(*_MODES, null=ALG.NULL, rc=RC.MODE)]
"""A mode of a block cipher that encrypts (9.37)."""

TPMI_ST_ATTEST = Annotated[
    TPM_ST,
    Allowed(
        *(TPM_ST.ATTEST_CERTIFY, TPM_ST.ATTEST_QUOTE, TPM_ST.ATTEST_SESSION_AUDIT, TPM_ST.ATTEST_COMMAND_AUDIT),
        *(TPM_ST.ATTEST_TIME, TPM_ST.ATTEST_CREATION, TPM_ST.ATTEST_NV, TPM_ST.ATTEST_NV_DIGEST),
        rc=RC.VALUE,
    ),
]
"""A kind of attestation (10.12.10)."""

# --- keys and schemes (11 and 12) -------------------------------------------------------------------------------------

TPMI_TDES_KEY_BITS = Annotated[int, Allowed(128, 192, rc=RC.VALUE, code="H")]
"""Bits of a triple DES key (11.1.1)."""
TPMI_AES_KEY_BITS = Annotated[int, Allowed(128, 192, 256, rc=RC.VALUE, code="H")]
"""Bits of an AES key (11.1.1)."""
TPMI_SM4_KEY_BITS = Annotated[int, Allowed(128, rc=RC.VALUE, code="H")]
"""Bits of an SM4 key (11.1.1)."""
TPMI_CAMELLIA_KEY_BITS = Annotated[int, Allowed(128, 192, 256, rc=RC.VALUE, code="H")]
"""Bits of a Camellia key (11.1.1)."""
TPMI_ALG_KEYEDHASH_SCHEME = Annotated[TPM_ALG_ID, Allowed(ALG.HMAC, ALG.XOR, null=ALG.NULL, rc=RC.VALUE)]
"""What a keyed-hash object does (11.1.19)."""
TPMI_ALG_ASYM_SCHEME = Annotated[
    TPM_ALG_ID,
    Allowed(*_ASYM_SIGNING, ALG.ECDH, ALG.ECMQV, ALG.RSAES, ALG.OAEP, null=ALG.NULL, rc=RC.VALUE),
]
"""What an asymmetric key does (11.2.3.4)."""
TPMI_ALG_RSA_SCHEME = Annotated[TPM_ALG_ID, Allowed(ALG.RSAES, ALG.OAEP, *_ASYM_SIGNING, null=ALG.NULL, rc=RC.VALUE)]
"""What an RSA key does (11.2.4.1)."""
TPMI_ALG_RSA_DECRYPT = Annotated[TPM_ALG_ID, Allowed(ALG.RSAES, ALG.OAEP, null=ALG.NULL, rc=RC.VALUE)]
"""How an RSA key decrypts (11.2.4.3)."""
TPMI_RSA_KEY_BITS = Annotated[int, Allowed(1024, 2048, 3072, 4096, rc=RC.VALUE, code="H")]
"""Bits of an RSA key (11.2.4.6)."""
TPMI_ALG_ECC_SCHEME = Annotated[TPM_ALG_ID, Allowed(*_ASYM_SIGNING, ALG.ECDH, ALG.ECMQV, null=ALG.NULL, rc=RC.SCHEME)]
"""What an ECC key does (11.2.5.4)."""
TPMI_ECC_CURVE = Annotated[
    TPM_ECC_CURVE, Allowed(*(curve for curve in TPM_ECC_CURVE if curve != TPM_ECC_CURVE.NONE), rc=RC.CURVE)
]
"""A curve (11.2.5.5)."""
TPMI_ALG_PUBLIC = Annotated[TPM_ALG_ID, Allowed(ALG.RSA, ALG.KEYEDHASH, ALG.ECC, ALG.SYMCIPHER, rc=RC.TYPE)]
"""A type of object (12.2.2)."""
