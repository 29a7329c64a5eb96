# SPDX-License-Identifier: Apache-2.0
"""Schemes, block ciphers, points and signatures (TPM 2.0 Library, Part 2, clause 11).

Tables are numbered as in revision 1.59.
"""

from __future__ import annotations

from typing import Annotated

from prestocloud_sec.tpm.spec.constants import TPM_ALG_ID, TPM_ECC_CURVE
from prestocloud_sec.tpm.spec.declare import Boxed, Member, OrNull, OrNullIfAsked, Structure, Union, selected_by
from prestocloud_sec.tpm.spec.interfaces import (
    TPM_KEY_BITS,
    TPMI_AES_KEY_BITS,
    TPMI_ALG_ASYM_SCHEME,
    TPMI_ALG_ECC_SCHEME,
    TPMI_ALG_HASH,
    TPMI_ALG_KDF,
    TPMI_ALG_KEYEDHASH_SCHEME,
    TPMI_ALG_RSA_DECRYPT,
    TPMI_ALG_RSA_SCHEME,
    TPMI_ALG_SIG_SCHEME,
    TPMI_ALG_SYM,
    TPMI_ALG_SYM_MODE,
    TPMI_ALG_SYM_OBJECT,
    TPMI_CAMELLIA_KEY_BITS,
    TPMI_SM4_KEY_BITS,
    TPMI_TDES_KEY_BITS,
    UINT16,
)
from prestocloud_sec.tpm.spec.structures.basic import TPMS_EMPTY, TPMT_HA
from prestocloud_sec.tpm.spec.structures.buffers import TPM2B_ECC_PARAMETER, TPM2B_LABEL, TPM2B_PUBLIC_KEY_RSA

__all__ = [
    "TPM2B_ECC_POINT",
    "TPMS_ALGORITHM_DETAIL_ECC",
    "TPMS_DERIVE",
    "TPMS_ECC_POINT",
    "TPMS_ENC_SCHEME_OAEP",
    "TPMS_ENC_SCHEME_RSAES",
    "TPMS_KDF_SCHEME_KDF1_SP800_56A",
    "TPMS_KDF_SCHEME_KDF1_SP800_108",
    "TPMS_KDF_SCHEME_KDF2",
    "TPMS_KDF_SCHEME_MGF1",
    "TPMS_KEY_SCHEME_ECDH",
    "TPMS_KEY_SCHEME_ECMQV",
    "TPMS_KEY_SCHEME_SM2",
    "TPMS_SCHEME_ECDAA",
    "TPMS_SCHEME_HASH",
    "TPMS_SCHEME_HMAC",
    "TPMS_SCHEME_XOR",
    "TPMS_SIGNATURE_ECC",
    "TPMS_SIGNATURE_ECDAA",
    "TPMS_SIGNATURE_ECDSA",
    "TPMS_SIGNATURE_ECSCHNORR",
    "TPMS_SIGNATURE_EDDSA",
    "TPMS_SIGNATURE_EDDSA_PH",
    "TPMS_SIGNATURE_RSA",
    "TPMS_SIGNATURE_RSAPSS",
    "TPMS_SIGNATURE_RSASSA",
    "TPMS_SIGNATURE_SM2",
    "TPMS_SIG_SCHEME_ECDAA",
    "TPMS_SIG_SCHEME_ECDSA",
    "TPMS_SIG_SCHEME_ECSCHNORR",
    "TPMS_SIG_SCHEME_EDDSA",
    "TPMS_SIG_SCHEME_EDDSA_PH",
    "TPMS_SIG_SCHEME_RSAPSS",
    "TPMS_SIG_SCHEME_RSASSA",
    "TPMS_SIG_SCHEME_SM2",
    "TPMS_SYMCIPHER_PARMS",
    "TPMT_ASYM_SCHEME",
    "TPMT_ECC_SCHEME",
    "TPMT_KDF_SCHEME",
    "TPMT_KEYEDHASH_SCHEME",
    "TPMT_RSA_DECRYPT",
    "TPMT_RSA_SCHEME",
    "TPMT_SIGNATURE",
    "TPMT_SIG_SCHEME",
    "TPMT_SYM_DEF",
    "TPMT_SYM_DEF_OBJECT",
    "TPMU_ASYM_SCHEME",
    "TPMU_KDF_SCHEME",
    "TPMU_SCHEME_KEYEDHASH",
    "TPMU_SIGNATURE",
    "TPMU_SIG_SCHEME",
    "TPMU_SYM_DETAILS",
    "TPMU_SYM_KEY_BITS",
    "TPMU_SYM_MODE",
]


TPMU_SYM_KEY_BITS = Annotated[
    int | TPM_ALG_ID | None,
    Union(
        Member("tdes", TPMI_TDES_KEY_BITS, (TPM_ALG_ID.TDES,)),
        Member("aes", TPMI_AES_KEY_BITS, (TPM_ALG_ID.AES,)),
        Member("sm4", TPMI_SM4_KEY_BITS, (TPM_ALG_ID.SM4,)),
        Member("camellia", TPMI_CAMELLIA_KEY_BITS, (TPM_ALG_ID.CAMELLIA,)),
        Member("sym", TPM_KEY_BITS),
        Member("xor", TPMI_ALG_HASH, (TPM_ALG_ID.XOR,)),
        Member("null", None, (TPM_ALG_ID.NULL,)),
    ),
]
"""Bits of the key; for XOR the hash that makes its mask (Part 2, table 138)."""

TPMU_SYM_MODE = Annotated[
    TPM_ALG_ID | None,
    Union(
        Member("tdes", OrNull[TPMI_ALG_SYM_MODE], (TPM_ALG_ID.TDES,)),
        Member("aes", OrNull[TPMI_ALG_SYM_MODE], (TPM_ALG_ID.AES,)),
        Member("sm4", OrNull[TPMI_ALG_SYM_MODE], (TPM_ALG_ID.SM4,)),
        Member("camellia", OrNull[TPMI_ALG_SYM_MODE], (TPM_ALG_ID.CAMELLIA,)),
        Member("sym", OrNull[TPMI_ALG_SYM_MODE]),
        Member("xor", None, (TPM_ALG_ID.XOR,)),
        Member("null", None, (TPM_ALG_ID.NULL,)),
    ),
]
"""Mode of the block cipher; nothing for XOR (Part 2, table 139)."""

TPMU_SYM_DETAILS = Annotated[
    None,
    Union(
        Member("tdes", None, (TPM_ALG_ID.TDES,)),
        Member("aes", None, (TPM_ALG_ID.AES,)),
        Member("sm4", None, (TPM_ALG_ID.SM4,)),
        Member("camellia", None, (TPM_ALG_ID.CAMELLIA,)),
        Member("sym", None),
        Member("xor", None, (TPM_ALG_ID.XOR,)),
        Member("null", None, (TPM_ALG_ID.NULL,)),
    ),
]
"""Details of a block cipher; none has any (Part 2, table 140)."""


class TPMT_SYM_DEF(Structure):
    """How a session encrypts parameters (Part 2, table 141)."""

    algorithm: OrNullIfAsked[TPMI_ALG_SYM]
    """Block cipher, XOR or NULL."""
    keyBits: TPMU_SYM_KEY_BITS = selected_by("algorithm")
    """Bits of the key, or hash of XOR."""
    mode: TPMU_SYM_MODE = selected_by("algorithm")
    """Mode of the block cipher; a session uses CFB."""


class TPMT_SYM_DEF_OBJECT(Structure):
    """Block cipher of an object (Part 2, table 142)."""

    algorithm: OrNullIfAsked[TPMI_ALG_SYM_OBJECT]
    """Block cipher, or NULL."""
    keyBits: TPMU_SYM_KEY_BITS = selected_by("algorithm")
    """Bits of the key."""
    mode: TPMU_SYM_MODE = selected_by("algorithm")
    """Mode; NULL lets every command choose."""


class TPMS_SYMCIPHER_PARMS(Structure):
    """Parameters of a SYMCIPHER object (Part 2, table 144)."""

    sym: TPMT_SYM_DEF_OBJECT
    """Its block cipher."""


class TPMS_DERIVE(Structure):
    """What makes a derived object different from others of its parent (Part 2, table 146)."""

    label: TPM2B_LABEL
    """Purpose of the object."""
    context: TPM2B_LABEL
    """What tells it from others of that purpose."""


class TPMS_SCHEME_HASH(Structure):
    """Scheme with a hash (Part 2, table 152)."""

    hashAlg: TPMI_ALG_HASH
    """The hash."""


class TPMS_SCHEME_ECDAA(Structure):
    """Scheme ECDAA (Part 2, table 153)."""

    hashAlg: TPMI_ALG_HASH
    """The hash."""
    count: UINT16
    """Counter of the commitment that TPM2_Commit made."""


TPMS_SCHEME_HMAC = TPMS_SCHEME_HASH
"""HMAC (Part 2, table 155)."""


class TPMS_SCHEME_XOR(Structure):
    """Obfuscation by a mask (Part 2, table 156)."""

    hashAlg: TPMI_ALG_HASH
    """Hash of the mask."""
    kdf: OrNull[TPMI_ALG_KDF]
    """How the mask is derived."""


TPMU_SCHEME_KEYEDHASH = Annotated[
    TPMS_SCHEME_HASH | TPMS_SCHEME_XOR | None,
    Union(
        Member("hmac", TPMS_SCHEME_HMAC, (TPM_ALG_ID.HMAC,)),
        Member("xor", TPMS_SCHEME_XOR, (TPM_ALG_ID.XOR,)),
        Member("null", None, (TPM_ALG_ID.NULL,)),
    ),
]
"""Parameters of what a keyed-hash object does (Part 2, table 157)."""


class TPMT_KEYEDHASH_SCHEME(Structure):
    """What a keyed-hash object does (Part 2, table 158)."""

    scheme: OrNullIfAsked[TPMI_ALG_KEYEDHASH_SCHEME]
    """HMAC or XOR; NULL for sealed data, and for a key whose commands choose."""
    details: TPMU_SCHEME_KEYEDHASH = selected_by("scheme")
    """Parameters of the scheme."""


TPMS_SIG_SCHEME_RSASSA = TPMS_SCHEME_HASH
"""Parameters of RSASSA (Part 2, table 159)."""

TPMS_SIG_SCHEME_RSAPSS = TPMS_SCHEME_HASH
"""Parameters of RSAPSS (Part 2, table 159)."""

TPMS_SIG_SCHEME_ECDSA = TPMS_SCHEME_HASH
"""Parameters of ECDSA (Part 2, table 160)."""

TPMS_SIG_SCHEME_SM2 = TPMS_SCHEME_HASH
"""Parameters of SM2 (Part 2, table 160)."""

TPMS_SIG_SCHEME_ECSCHNORR = TPMS_SCHEME_HASH
"""Parameters of ECSCHNORR (Part 2, table 160)."""

TPMS_SIG_SCHEME_ECDAA = TPMS_SCHEME_ECDAA
"""Parameters of ECDAA (Part 2, table 160)."""

TPMS_SIG_SCHEME_EDDSA = TPMS_SCHEME_HASH
"""Parameters of EdDSA (revision 1.83)."""

TPMS_SIG_SCHEME_EDDSA_PH = TPMS_SCHEME_HASH
"""Parameters of EdDSA over a digest (revision 1.83)."""

TPMU_SIG_SCHEME = Annotated[
    TPMS_SCHEME_HASH | TPMS_SCHEME_ECDAA | None,
    Union(
        Member("rsassa", TPMS_SIG_SCHEME_RSASSA, (TPM_ALG_ID.RSASSA,)),
        Member("rsapss", TPMS_SIG_SCHEME_RSAPSS, (TPM_ALG_ID.RSAPSS,)),
        Member("ecdsa", TPMS_SIG_SCHEME_ECDSA, (TPM_ALG_ID.ECDSA,)),
        Member("ecdaa", TPMS_SIG_SCHEME_ECDAA, (TPM_ALG_ID.ECDAA,)),
        Member("sm2", TPMS_SIG_SCHEME_SM2, (TPM_ALG_ID.SM2,)),
        Member("ecschnorr", TPMS_SIG_SCHEME_ECSCHNORR, (TPM_ALG_ID.ECSCHNORR,)),
        Member("hmac", TPMS_SCHEME_HMAC, (TPM_ALG_ID.HMAC,)),
        Member("any", TPMS_SCHEME_HASH),
        Member("null", None, (TPM_ALG_ID.NULL,)),
        Member("eddsa", TPMS_SIG_SCHEME_EDDSA, (TPM_ALG_ID.EDDSA,)),
        Member("eddsa_ph", TPMS_SIG_SCHEME_EDDSA_PH, (TPM_ALG_ID.EDDSA_PH,)),
    ),
]
"""Parameters of a signing scheme (Part 2, table 161)."""


class TPMT_SIG_SCHEME(Structure):
    """How to sign (Part 2, table 162)."""

    scheme: OrNullIfAsked[TPMI_ALG_SIG_SCHEME]
    """The scheme; NULL for that of the key."""
    details: TPMU_SIG_SCHEME = selected_by("scheme")
    """Its parameters."""


TPMS_ENC_SCHEME_OAEP = TPMS_SCHEME_HASH
"""Parameters of OAEP (Part 2, table 163)."""

TPMS_ENC_SCHEME_RSAES = TPMS_EMPTY
"""Parameters of RSAES: none (Part 2, table 163)."""

TPMS_KEY_SCHEME_ECDH = TPMS_SCHEME_HASH
"""Parameters of ECDH (Part 2, table 164)."""

TPMS_KEY_SCHEME_ECMQV = TPMS_SCHEME_HASH
"""Parameters of ECMQV (Part 2, table 164)."""

TPMS_KEY_SCHEME_SM2 = TPMS_SCHEME_HASH
"""Parameters of SM2 key agreement (revision 1.83)."""

TPMS_KDF_SCHEME_MGF1 = TPMS_SCHEME_HASH
"""Parameters of MGF1 (Part 2, table 165)."""

TPMS_KDF_SCHEME_KDF1_SP800_56A = TPMS_SCHEME_HASH
"""Parameters of KDF1_SP800_56A (Part 2, table 165)."""

TPMS_KDF_SCHEME_KDF2 = TPMS_SCHEME_HASH
"""Parameters of KDF2 (Part 2, table 165)."""

TPMS_KDF_SCHEME_KDF1_SP800_108 = TPMS_SCHEME_HASH
"""Parameters of KDF1_SP800_108 (Part 2, table 165)."""

TPMU_KDF_SCHEME = Annotated[
    TPMS_SCHEME_HASH | None,
    Union(
        Member("mgf1", TPMS_KDF_SCHEME_MGF1, (TPM_ALG_ID.MGF1,)),
        Member("kdf1_sp800_56a", TPMS_KDF_SCHEME_KDF1_SP800_56A, (TPM_ALG_ID.KDF1_SP800_56A,)),
        Member("kdf2", TPMS_KDF_SCHEME_KDF2, (TPM_ALG_ID.KDF2,)),
        Member("kdf1_sp800_108", TPMS_KDF_SCHEME_KDF1_SP800_108, (TPM_ALG_ID.KDF1_SP800_108,)),
        Member("anyKdf", TPMS_SCHEME_HASH),
        Member("null", None, (TPM_ALG_ID.NULL,)),
    ),
]
"""Parameters of a key derivation (Part 2, table 166)."""


class TPMT_KDF_SCHEME(Structure):
    """How keys are derived from an agreed secret (Part 2, table 167)."""

    scheme: OrNullIfAsked[TPMI_ALG_KDF]
    """The key derivation, or NULL."""
    details: TPMU_KDF_SCHEME = selected_by("scheme")
    """Its parameters."""


TPMU_ASYM_SCHEME = Annotated[
    TPMS_SCHEME_HASH | TPMS_SCHEME_ECDAA | TPMS_EMPTY | None,
    Union(
        Member("ecdh", TPMS_KEY_SCHEME_ECDH, (TPM_ALG_ID.ECDH,)),
        Member("ecmqv", TPMS_KEY_SCHEME_ECMQV, (TPM_ALG_ID.ECMQV,)),
        Member("rsassa", TPMS_SIG_SCHEME_RSASSA, (TPM_ALG_ID.RSASSA,)),
        Member("rsapss", TPMS_SIG_SCHEME_RSAPSS, (TPM_ALG_ID.RSAPSS,)),
        Member("ecdsa", TPMS_SIG_SCHEME_ECDSA, (TPM_ALG_ID.ECDSA,)),
        Member("ecdaa", TPMS_SIG_SCHEME_ECDAA, (TPM_ALG_ID.ECDAA,)),
        Member("sm2", TPMS_SIG_SCHEME_SM2, (TPM_ALG_ID.SM2,)),
        Member("ecschnorr", TPMS_SIG_SCHEME_ECSCHNORR, (TPM_ALG_ID.ECSCHNORR,)),
        Member("rsaes", TPMS_ENC_SCHEME_RSAES, (TPM_ALG_ID.RSAES,)),
        Member("oaep", TPMS_ENC_SCHEME_OAEP, (TPM_ALG_ID.OAEP,)),
        Member("anySig", TPMS_SCHEME_HASH),
        Member("null", None, (TPM_ALG_ID.NULL,)),
        Member("eddsa", TPMS_SIG_SCHEME_EDDSA, (TPM_ALG_ID.EDDSA,)),
        Member("eddsa_ph", TPMS_SIG_SCHEME_EDDSA_PH, (TPM_ALG_ID.EDDSA_PH,)),
    ),
]
"""Parameters of what an asymmetric key does (Part 2, table 169)."""


class TPMT_ASYM_SCHEME(Structure):
    """What an asymmetric key does (Part 2, table 170)."""

    scheme: OrNullIfAsked[TPMI_ALG_ASYM_SCHEME]
    """The scheme, or NULL."""
    details: TPMU_ASYM_SCHEME = selected_by("scheme")
    """Its parameters."""


class TPMT_RSA_SCHEME(Structure):
    """What an RSA key does (Part 2, table 172)."""

    scheme: OrNullIfAsked[TPMI_ALG_RSA_SCHEME]
    """The scheme; NULL lets every command choose."""
    details: TPMU_ASYM_SCHEME = selected_by("scheme")
    """Its parameters."""


class TPMT_RSA_DECRYPT(Structure):
    """How an RSA key decrypts (Part 2, table 174)."""

    scheme: OrNullIfAsked[TPMI_ALG_RSA_DECRYPT]
    """OAEP or RSAES; NULL for that of the key, or no padding."""
    details: TPMU_ASYM_SCHEME = selected_by("scheme")
    """Its parameters."""


class TPMS_ECC_POINT(Structure):
    """Point on a curve (Part 2, table 179)."""

    x: TPM2B_ECC_PARAMETER
    """X coordinate."""
    y: TPM2B_ECC_PARAMETER
    """Y coordinate."""


TPM2B_ECC_POINT = Annotated[TPMS_ECC_POINT | None, Boxed("point")]
"""A point, or nothing (Part 2, table 180)."""


class TPMT_ECC_SCHEME(Structure):
    """What an ECC key does (Part 2, table 183)."""

    scheme: OrNullIfAsked[TPMI_ALG_ECC_SCHEME]
    """The scheme; NULL lets every command choose."""
    details: TPMU_ASYM_SCHEME = selected_by("scheme")
    """Its parameters."""


class TPMS_ALGORITHM_DETAIL_ECC(Structure):
    """Curve with its parameters (Part 2, table 184)."""

    curveID: TPM_ECC_CURVE
    """The curve."""
    keySize: UINT16
    """Bits of a key."""
    kdf: OrNull[TPMT_KDF_SCHEME]
    """Key derivation to use with it, or NULL."""
    sign: OrNull[TPMT_ECC_SCHEME]
    """Scheme to sign with, or NULL."""
    p: TPM2B_ECC_PARAMETER
    """Prime of the field."""
    a: TPM2B_ECC_PARAMETER
    """Coefficient a."""
    b: TPM2B_ECC_PARAMETER
    """Coefficient b."""
    gX: TPM2B_ECC_PARAMETER
    """X coordinate of the generator."""
    gY: TPM2B_ECC_PARAMETER
    """Y coordinate of the generator."""
    n: TPM2B_ECC_PARAMETER
    """Order of the generator."""
    h: TPM2B_ECC_PARAMETER
    """Cofactor."""


class TPMS_SIGNATURE_RSA(Structure):
    """RSA signature (Part 2, table 185)."""

    hash: TPMI_ALG_HASH
    """Hash of what was signed."""
    sig: TPM2B_PUBLIC_KEY_RSA
    """The signature, as long as the modulus."""


class TPMS_SIGNATURE_ECC(Structure):
    """Signature of an elliptic curve scheme (Part 2, table 187)."""

    hash: TPMI_ALG_HASH
    """Hash of what was signed."""
    signatureR: TPM2B_ECC_PARAMETER
    """R; leading zeros may be missing."""
    signatureS: TPM2B_ECC_PARAMETER
    """S; leading zeros may be missing."""


TPMS_SIGNATURE_RSASSA = TPMS_SIGNATURE_RSA
"""Signature of RSASSA (Part 2, table 186)."""

TPMS_SIGNATURE_RSAPSS = TPMS_SIGNATURE_RSA
"""Signature of RSAPSS (Part 2, table 186)."""

TPMS_SIGNATURE_ECDSA = TPMS_SIGNATURE_ECC
"""Signature of ECDSA (Part 2, table 188)."""

TPMS_SIGNATURE_ECDAA = TPMS_SIGNATURE_ECC
"""Signature of ECDAA (Part 2, table 188)."""

TPMS_SIGNATURE_SM2 = TPMS_SIGNATURE_ECC
"""Signature of SM2 (Part 2, table 188)."""

TPMS_SIGNATURE_ECSCHNORR = TPMS_SIGNATURE_ECC
"""Signature of ECSCHNORR (Part 2, table 188)."""

TPMS_SIGNATURE_EDDSA = TPMS_SIGNATURE_ECC
"""Signature of EdDSA (revision 1.83)."""

TPMS_SIGNATURE_EDDSA_PH = TPMS_SIGNATURE_ECC
"""Signature of EdDSA over a digest (revision 1.83)."""

TPMU_SIGNATURE = Annotated[
    TPMS_SIGNATURE_RSA | TPMS_SIGNATURE_ECC | TPMT_HA | TPMS_SCHEME_HASH | None,
    Union(
        Member("rsassa", TPMS_SIGNATURE_RSASSA, (TPM_ALG_ID.RSASSA,)),
        Member("rsapss", TPMS_SIGNATURE_RSAPSS, (TPM_ALG_ID.RSAPSS,)),
        Member("ecdsa", TPMS_SIGNATURE_ECDSA, (TPM_ALG_ID.ECDSA,)),
        Member("ecdaa", TPMS_SIGNATURE_ECDAA, (TPM_ALG_ID.ECDAA,)),
        Member("sm2", TPMS_SIGNATURE_SM2, (TPM_ALG_ID.SM2,)),
        Member("ecschnorr", TPMS_SIGNATURE_ECSCHNORR, (TPM_ALG_ID.ECSCHNORR,)),
        Member("hmac", TPMT_HA, (TPM_ALG_ID.HMAC,)),
        Member("any", TPMS_SCHEME_HASH),
        Member("null", None, (TPM_ALG_ID.NULL,)),
        Member("eddsa", TPMS_SIGNATURE_EDDSA, (TPM_ALG_ID.EDDSA,)),
        Member("eddsa_ph", TPMS_SIGNATURE_EDDSA_PH, (TPM_ALG_ID.EDDSA_PH,)),
    ),
]
"""A signature of some scheme (Part 2, table 189)."""


class TPMT_SIGNATURE(Structure):
    """Signature with its scheme (Part 2, table 190)."""

    sigAlg: OrNullIfAsked[TPMI_ALG_SIG_SCHEME]
    """The scheme; NULL where nothing was signed."""
    signature: TPMU_SIGNATURE = selected_by("sigAlg")
    """The signature."""
