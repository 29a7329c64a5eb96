# SPDX-License-Identifier: Apache-2.0
"""Bytes with a size in front of them: the simple TPM2B of Part 2.

A value is the bytes alone. Where the specification leaves the limit to the implementation, the limit here is above
that of any TPM known today, so that what a TPM takes is never refused. Tables are numbered as in revision 1.59.
"""

from __future__ import annotations

from typing import Annotated

from prestocloud_sec.tpm.spec.declare import Sized

__all__ = [
    "PCR_BITMAP",
    "TPM2B_ATTEST",
    "TPM2B_AUTH",
    "TPM2B_CONTEXT_DATA",
    "TPM2B_CONTEXT_SENSITIVE",
    "TPM2B_DATA",
    "TPM2B_DERIVE",
    "TPM2B_DIGEST",
    "TPM2B_ECC_PARAMETER",
    "TPM2B_ENCRYPTED_SECRET",
    "TPM2B_EVENT",
    "TPM2B_ID_OBJECT",
    "TPM2B_IV",
    "TPM2B_LABEL",
    "TPM2B_MAX_BUFFER",
    "TPM2B_MAX_NV_BUFFER",
    "TPM2B_NAME",
    "TPM2B_NONCE",
    "TPM2B_OPERAND",
    "TPM2B_PRIVATE",
    "TPM2B_PRIVATE_KEY_RSA",
    "TPM2B_PRIVATE_VENDOR_SPECIFIC",
    "TPM2B_PUBLIC_KEY_RSA",
    "TPM2B_SENSITIVE_DATA",
    "TPM2B_SYM_KEY",
    "TPM2B_TEMPLATE",
    "TPM2B_TIMEOUT",
    "TPM2B_VENDOR_PROPERTY",
]


TPM2B_DIGEST = Annotated[bytes, Sized(64)]
"""A digest (Part 2, table 81)."""

TPM2B_DATA = Annotated[bytes, Sized(66)]
"""Data no longer than a digest with its algorithm (Part 2, table 82)."""

TPM2B_NONCE = TPM2B_DIGEST
"""A nonce (Part 2, table 83)."""

TPM2B_AUTH = Annotated[bytes, Sized(64, secret=True)]
"""An authValue, marshalled like a digest (Part 2, table 84)."""

TPM2B_OPERAND = TPM2B_DIGEST
"""What TPM2_PolicyNV and TPM2_PolicyCounterTimer compare with (Part 2, table 85)."""

TPM2B_EVENT = Annotated[bytes, Sized(1024)]
"""What TPM2_PCR_Event hashes (Part 2, table 86)."""

TPM2B_MAX_BUFFER = Annotated[bytes, Sized(4096)]
"""Data; a TPM takes TPM_PT.INPUT_BUFFER bytes at most (Part 2, table 87)."""

TPM2B_MAX_NV_BUFFER = Annotated[bytes, Sized(4096)]
"""Contents of an NV index; a TPM takes TPM_PT.NV_BUFFER_MAX bytes at most (Part 2, table 88)."""

TPM2B_TIMEOUT = Annotated[bytes, Sized(8)]
"""When an authorization ends, in a form that belongs to the TPM (Part 2, table 89)."""

TPM2B_IV = Annotated[bytes, Sized(16)]
"""An initial value, one block long (Part 2, table 90)."""

TPM2B_NAME = Annotated[bytes, Sized(68, "name")]
"""A Name: a hash algorithm and a digest, or a handle (Part 2, table 92)."""

TPM2B_ATTEST = Annotated[bytes, Sized(4096, "attestationData")]
"""A TPMS_ATTEST; the bytes are what is signed (Part 2, table 134)."""

TPM2B_SYM_KEY = Annotated[bytes, Sized(32, secret=True)]
"""Key of a block cipher (Part 2, table 143)."""

TPM2B_LABEL = Annotated[bytes, Sized(32)]
"""A label or context of a derived object (Part 2, table 145)."""

TPM2B_DERIVE = Annotated[bytes, Sized(68)]
"""A TPMS_DERIVE (Part 2, table 147)."""

TPM2B_SENSITIVE_DATA = Annotated[bytes, Sized(2048, secret=True)]
"""Data to seal, or key to import; a TPM takes MAX_SYM_DATA bytes (128) at most (Part 2, table 149)."""

TPM2B_PUBLIC_KEY_RSA = Annotated[bytes, Sized(1024)]
"""Number as long as an RSA modulus, most significant byte first (Part 2, table 175)."""

TPM2B_PRIVATE_KEY_RSA = Annotated[bytes, Sized(2560, secret=True)]
"""One prime of an RSA key (Part 2, table 177)."""

TPM2B_ECC_PARAMETER = Annotated[bytes, Sized(128)]
"""A coordinate or scalar, most significant byte first (Part 2, table 178)."""

TPM2B_ENCRYPTED_SECRET = Annotated[bytes, Sized(1024, "secret")]
"""A seed or salt: encrypted by RSA, or the TPMS_ECC_POINT of an ephemeral key (Part 2, table 192)."""

TPM2B_TEMPLATE = Annotated[bytes, Sized(4096)]
"""A TPMT_PUBLIC, or for a derived object its variant with a TPMS_DERIVE as unique (Part 2, table 203)."""

TPM2B_PRIVATE_VENDOR_SPECIFIC = Annotated[bytes, Sized(2560, secret=True)]
"""Secret part in a form that belongs to the TPM (Part 2, table 204)."""

TPM2B_PRIVATE = Annotated[bytes, Sized(4096)]
"""Secret part of an object, encrypted by its parent (Part 2, table 209)."""

TPM2B_ID_OBJECT = Annotated[bytes, Sized(256, "credential")]
"""A TPMS_ID_OBJECT, whose credential is encrypted (Part 2, table 211)."""

TPM2B_CONTEXT_SENSITIVE = Annotated[bytes, Sized(4096)]
"""Encrypted part of a saved context (Part 2, table 218)."""

TPM2B_CONTEXT_DATA = Annotated[bytes, Sized(4096)]
"""A saved context; only its TPM can read it (Part 2, table 220)."""

TPM2B_VENDOR_PROPERTY = Annotated[bytes, Sized(512)]
"""A property in a form that belongs to the vendor (revision 1.83)."""

PCR_BITMAP = Annotated[bytes, Sized(32, "pcrSelect", code="B", size_name="sizeofSelect", rc=0x084)]
"""PCRs by bit: PCR n is bit n % 8 of byte n // 8 (Part 2, tables 93, 94 and 103)."""
