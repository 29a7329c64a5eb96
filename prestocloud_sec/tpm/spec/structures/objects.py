# SPDX-License-Identifier: Apache-2.0
"""Objects: public and secret parts, creation data, saved contexts (TPM 2.0 Library, Part 2, clauses 12, 14 and 15).

Tables are numbered as in revision 1.59.
"""

from __future__ import annotations

from typing import Annotated

from prestocloud_sec.tpm.spec.attributes import TPMA_LOCALITY, TPMA_OBJECT
from prestocloud_sec.tpm.spec.constants import TPM_ALG_ID
from prestocloud_sec.tpm.spec.declare import Boxed, Member, OrNull, OrNullIfAsked, Secret, Structure, Union, selected_by
from prestocloud_sec.tpm.spec.interfaces import (
    TPMI_ALG_HASH,
    TPMI_ALG_PUBLIC,
    TPMI_DH_SAVED,
    TPMI_ECC_CURVE,
    TPMI_RH_HIERARCHY,
    TPMI_RSA_KEY_BITS,
    UINT32,
    UINT64,
)
from prestocloud_sec.tpm.spec.structures.basic import TPML_PCR_SELECTION
from prestocloud_sec.tpm.spec.structures.buffers import (
    TPM2B_AUTH,
    TPM2B_CONTEXT_DATA,
    TPM2B_CONTEXT_SENSITIVE,
    TPM2B_DATA,
    TPM2B_DIGEST,
    TPM2B_ECC_PARAMETER,
    TPM2B_ENCRYPTED_SECRET,
    TPM2B_NAME,
    TPM2B_PRIVATE_KEY_RSA,
    TPM2B_PRIVATE_VENDOR_SPECIFIC,
    TPM2B_PUBLIC_KEY_RSA,
    TPM2B_SENSITIVE_DATA,
    TPM2B_SYM_KEY,
)
from prestocloud_sec.tpm.spec.structures.schemes import (
    TPMS_DERIVE,
    TPMS_ECC_POINT,
    TPMS_SYMCIPHER_PARMS,
    TPMT_ASYM_SCHEME,
    TPMT_ECC_SCHEME,
    TPMT_KDF_SCHEME,
    TPMT_KEYEDHASH_SCHEME,
    TPMT_RSA_SCHEME,
    TPMT_SYM_DEF_OBJECT,
)

__all__ = [
    "TPM2B_CREATION_DATA",
    "TPM2B_PUBLIC",
    "TPM2B_SENSITIVE",
    "TPM2B_SENSITIVE_CREATE",
    "TPMS_ASYM_PARMS",
    "TPMS_CONTEXT",
    "TPMS_CONTEXT_DATA",
    "TPMS_CREATION_DATA",
    "TPMS_ECC_PARMS",
    "TPMS_ID_OBJECT",
    "TPMS_KEYEDHASH_PARMS",
    "TPMS_RSA_PARMS",
    "TPMS_SENSITIVE_CREATE",
    "TPMT_PUBLIC",
    "TPMT_PUBLIC_PARMS",
    "TPMT_SENSITIVE",
    "TPMU_ENCRYPTED_SECRET",
    "TPMU_PUBLIC_ID",
    "TPMU_PUBLIC_PARMS",
    "TPMU_SENSITIVE_COMPOSITE",
    "TPMU_SENSITIVE_CREATE",
    "_PRIVATE",
]


TPMU_SENSITIVE_CREATE = Annotated[
    bytes | TPMS_DERIVE, Union(Member("create", TPM2B_SENSITIVE_DATA), Member("derive", TPMS_DERIVE))
]
"""What a TPM2B_SENSITIVE_DATA holds; the type of the parent tells which (Part 2, table 148)."""


class TPMS_SENSITIVE_CREATE(Structure):
    """Secrets of an object to be created (Part 2, table 150)."""

    userAuth: TPM2B_AUTH
    """Its authValue."""
    data: TPM2B_SENSITIVE_DATA
    """Data to seal, or key; empty where the TPM makes it."""


TPM2B_SENSITIVE_CREATE = Annotated[TPMS_SENSITIVE_CREATE, Boxed("sensitive")]
"""Secrets of an object to be created (Part 2, table 151)."""


TPMU_ENCRYPTED_SECRET = Annotated[
    bytes,
    Union(
        Member("ecc", TPM2B_ENCRYPTED_SECRET, (TPM_ALG_ID.ECC,)),
        Member("rsa", TPM2B_ENCRYPTED_SECRET, (TPM_ALG_ID.RSA,)),
        Member("symmetric", TPM2B_ENCRYPTED_SECRET, (TPM_ALG_ID.SYMCIPHER,)),
        Member("keyedHash", TPM2B_ENCRYPTED_SECRET, (TPM_ALG_ID.KEYEDHASH,)),
    ),
]
"""What a TPM2B_ENCRYPTED_SECRET holds; the type of the key tells which (Part 2, table 191)."""


class TPMS_KEYEDHASH_PARMS(Structure):
    """Parameters of a KEYEDHASH object (Part 2, table 195)."""

    scheme: OrNull[TPMT_KEYEDHASH_SCHEME]
    """What it does; NULL for sealed data."""


class TPMS_ASYM_PARMS(Structure):
    """What all asymmetric objects have for parameters (Part 2, table 196)."""

    symmetric: OrNull[TPMT_SYM_DEF_OBJECT]
    """Block cipher of a storage key, else NULL."""
    scheme: OrNull[TPMT_ASYM_SCHEME]
    """What the key does."""


class TPMS_RSA_PARMS(Structure):
    """Parameters of an RSA key (Part 2, table 197)."""

    symmetric: OrNull[TPMT_SYM_DEF_OBJECT]
    """Block cipher of a storage key, else NULL."""
    scheme: OrNull[TPMT_RSA_SCHEME]
    """What the key does."""
    keyBits: TPMI_RSA_KEY_BITS
    """Bits of the modulus."""
    exponent: UINT32
    """Public exponent; 0 for 65537."""


class TPMS_ECC_PARMS(Structure):
    """Parameters of an ECC key (Part 2, table 198)."""

    symmetric: OrNull[TPMT_SYM_DEF_OBJECT]
    """Block cipher of a storage key, else NULL."""
    scheme: OrNull[TPMT_ECC_SCHEME]
    """What the key does."""
    curveID: TPMI_ECC_CURVE
    """The curve."""
    kdf: OrNull[TPMT_KDF_SCHEME]
    """Key derivation; NULL, as no command uses it."""


TPMU_PUBLIC_ID = Annotated[
    bytes | TPMS_ECC_POINT | TPMS_DERIVE,
    Union(
        Member("keyedHash", TPM2B_DIGEST, (TPM_ALG_ID.KEYEDHASH,)),
        Member("sym", TPM2B_DIGEST, (TPM_ALG_ID.SYMCIPHER,)),
        Member("rsa", TPM2B_PUBLIC_KEY_RSA, (TPM_ALG_ID.RSA,)),
        Member("ecc", TPMS_ECC_POINT, (TPM_ALG_ID.ECC,)),
        Member("derive", TPMS_DERIVE),
    ),
]
"""What makes a public area unique: the public key, or a digest (Part 2, table 194)."""

TPMU_PUBLIC_PARMS = Annotated[
    TPMS_KEYEDHASH_PARMS | TPMS_SYMCIPHER_PARMS | TPMS_RSA_PARMS | TPMS_ECC_PARMS | TPMS_ASYM_PARMS,
    Union(
        Member("keyedHashDetail", TPMS_KEYEDHASH_PARMS, (TPM_ALG_ID.KEYEDHASH,)),
        Member("symDetail", TPMS_SYMCIPHER_PARMS, (TPM_ALG_ID.SYMCIPHER,)),
        Member("rsaDetail", TPMS_RSA_PARMS, (TPM_ALG_ID.RSA,)),
        Member("eccDetail", TPMS_ECC_PARMS, (TPM_ALG_ID.ECC,)),
        Member("asymDetail", TPMS_ASYM_PARMS),
    ),
]
"""Parameters of an object (Part 2, table 199)."""


class TPMT_PUBLIC_PARMS(Structure):
    """Parameters of an object with its type (Part 2, table 200)."""

    type: TPMI_ALG_PUBLIC
    """Type of the object."""
    parameters: TPMU_PUBLIC_PARMS = selected_by("type")
    """Its parameters."""


class TPMT_PUBLIC(Structure):
    """Public area of an object; its Name is the digest of these bytes (Part 2, table 201)."""

    type: TPMI_ALG_PUBLIC
    """Type of the object."""
    nameAlg: OrNullIfAsked[TPMI_ALG_HASH]
    """Hash of the Name, and of the policy; NULL for an object without Name."""
    objectAttributes: TPMA_OBJECT
    """What it may be used for."""
    authPolicy: TPM2B_DIGEST
    """Digest of its policy; empty for none."""
    parameters: TPMU_PUBLIC_PARMS = selected_by("type")
    """Parameters of its type."""
    unique: TPMU_PUBLIC_ID = selected_by("type")
    """The public key; for other types a digest of the secret."""


TPM2B_PUBLIC = Annotated[TPMT_PUBLIC | None, Boxed("publicArea")]
"""A public area, or nothing (Part 2, table 202)."""


TPMU_SENSITIVE_COMPOSITE = Annotated[
    bytes,
    Union(
        Member("rsa", TPM2B_PRIVATE_KEY_RSA, (TPM_ALG_ID.RSA,)),
        Member("ecc", TPM2B_ECC_PARAMETER, (TPM_ALG_ID.ECC,)),
        Member("bits", TPM2B_SENSITIVE_DATA, (TPM_ALG_ID.KEYEDHASH,)),
        Member("sym", TPM2B_SYM_KEY, (TPM_ALG_ID.SYMCIPHER,)),
        Member("any", TPM2B_PRIVATE_VENDOR_SPECIFIC),
    ),
]
"""The secret itself (Part 2, table 205)."""


class TPMT_SENSITIVE(Structure):
    """Secret part of an object (Part 2, table 206)."""

    sensitiveType: TPMI_ALG_PUBLIC
    """Type of the object."""
    authValue: TPM2B_AUTH
    """Its authValue; some TPMs pad it with zeros."""
    seedValue: Secret[TPM2B_DIGEST]
    """Seed of a storage key; for others what makes unique from the secret."""
    sensitive: Secret[TPMU_SENSITIVE_COMPOSITE] = selected_by("sensitiveType")
    """Prime of an RSA key, scalar of an ECC key, data or key of the others."""


TPM2B_SENSITIVE = Annotated[TPMT_SENSITIVE | None, Boxed("sensitiveArea")]
"""A secret part, or nothing (Part 2, table 207)."""


class _PRIVATE(Structure):
    """What a TPM2B_PRIVATE can hold; its form belongs to the TPM (Part 2, table 208)."""

    integrityOuter: TPM2B_DIGEST
    """HMAC by the parent."""
    integrityInner: TPM2B_DIGEST
    """Digest of the secret part, where there is an inner wrapper."""
    sensitive: Secret[TPM2B_SENSITIVE]
    """The secret part."""


class TPMS_ID_OBJECT(Structure):
    """Credential, encrypted for one key of one TPM (Part 2, table 210)."""

    integrityHMAC: TPM2B_DIGEST
    """HMAC over the encrypted credential and the Name of the key."""
    encIdentity: TPM2B_DIGEST
    """Encrypted credential: size and bytes."""


class TPMS_CREATION_DATA(Structure):
    """How an object was created (Part 2, table 223)."""

    pcrSelect: TPML_PCR_SELECTION
    """PCRs that the caller named."""
    pcrDigest: TPM2B_DIGEST
    """Hash of their values at that time."""
    locality: TPMA_LOCALITY
    """Locality of the command."""
    parentNameAlg: TPM_ALG_ID
    """NameAlg of the parent; NULL for a primary object."""
    parentName: TPM2B_NAME
    """Name of the parent; handle of the hierarchy of a primary object."""
    parentQualifiedName: TPM2B_NAME
    """Its qualified Name."""
    outsideInfo: TPM2B_DATA
    """What the caller wanted in it."""


TPM2B_CREATION_DATA = Annotated[TPMS_CREATION_DATA, Boxed("creationData")]
"""How an object was created (Part 2, table 224)."""


class TPMS_CONTEXT_DATA(Structure):
    """What a saved context can hold; its form belongs to the TPM (Part 2, table 219)."""

    integrity: TPM2B_DIGEST
    """HMAC."""
    encrypted: TPM2B_CONTEXT_SENSITIVE
    """Encrypted state."""


class TPMS_CONTEXT(Structure):
    """Saved object or session (Part 2, table 221)."""

    sequence: UINT64
    """Counter that tells saved contexts apart."""
    savedHandle: TPMI_DH_SAVED
    """What was saved."""
    hierarchy: OrNull[TPMI_RH_HIERARCHY]
    """Hierarchy of the object; NULL for a session."""
    contextBlob: TPM2B_CONTEXT_DATA
    """The state."""
