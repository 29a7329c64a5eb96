# SPDX-License-Identifier: Apache-2.0
"""Clock, attestations and sessions (TPM 2.0 Library, Part 2, clauses 10.11 to 10.13).

Tables are numbered as in revision 1.59.
"""

from __future__ import annotations

from typing import Annotated

from prestocloud_sec.tpm.spec.attributes import TPMA_SESSION
from prestocloud_sec.tpm.spec.constants import TPM_ALG_ID, TPM_GENERATED, TPM_ST
from prestocloud_sec.tpm.spec.declare import Member, OrNull, Secret, Structure, Union, selected_by
from prestocloud_sec.tpm.spec.interfaces import (
    TPMI_SH_AUTH_SESSION,
    TPMI_ST_ATTEST,
    TPMI_YES_NO,
    UINT16,
    UINT32,
    UINT64,
)
from prestocloud_sec.tpm.spec.structures.basic import TPML_PCR_SELECTION
from prestocloud_sec.tpm.spec.structures.buffers import (
    TPM2B_AUTH,
    TPM2B_DATA,
    TPM2B_DIGEST,
    TPM2B_MAX_NV_BUFFER,
    TPM2B_NAME,
    TPM2B_NONCE,
)

__all__ = [
    "TPMS_ATTEST",
    "TPMS_AUTH_COMMAND",
    "TPMS_AUTH_RESPONSE",
    "TPMS_CERTIFY_INFO",
    "TPMS_CLOCK_INFO",
    "TPMS_COMMAND_AUDIT_INFO",
    "TPMS_CREATION_INFO",
    "TPMS_NV_CERTIFY_INFO",
    "TPMS_NV_DIGEST_CERTIFY_INFO",
    "TPMS_QUOTE_INFO",
    "TPMS_SESSION_AUDIT_INFO",
    "TPMS_TIME_ATTEST_INFO",
    "TPMS_TIME_INFO",
    "TPMU_ATTEST",
]


class TPMS_CLOCK_INFO(Structure):
    """Clock, and what it is counted against (Part 2, table 121)."""

    clock: UINT64
    """Milliseconds that the TPM was powered, over its life."""
    resetCount: UINT32
    """TPM Resets since the last TPM2_Clear."""
    restartCount: UINT32
    """Starts and hash sequences since the last TPM Reset."""
    safe: TPMI_YES_NO
    """Whether no greater clock was ever told."""


class TPMS_TIME_INFO(Structure):
    """Time and clock (Part 2, table 122)."""

    time: UINT64
    """Milliseconds since the TPM was powered."""
    clockInfo: TPMS_CLOCK_INFO
    """The clock."""


class TPMS_TIME_ATTEST_INFO(Structure):
    """What TPM2_GetTime attests (Part 2, table 123)."""

    time: TPMS_TIME_INFO
    """Time and clock."""
    firmwareVersion: UINT64
    """Version of the firmware."""


class TPMS_CERTIFY_INFO(Structure):
    """What TPM2_Certify attests (Part 2, table 124)."""

    name: TPM2B_NAME
    """Name of the object."""
    qualifiedName: TPM2B_NAME
    """Its qualified Name."""


class TPMS_QUOTE_INFO(Structure):
    """What TPM2_Quote attests (Part 2, table 125)."""

    pcrSelect: TPML_PCR_SELECTION
    """The PCRs, those of the request that exist."""
    pcrDigest: TPM2B_DIGEST
    """Hash of their values, by the hash of the signing scheme."""


class TPMS_COMMAND_AUDIT_INFO(Structure):
    """What TPM2_GetCommandAuditDigest attests (Part 2, table 126)."""

    auditCounter: UINT64
    """How often the audit digest was started."""
    digestAlg: TPM_ALG_ID
    """Hash of the audit."""
    auditDigest: TPM2B_DIGEST
    """Audit digest: all audited commands since it was started."""
    commandDigest: TPM2B_DIGEST
    """Digest of the list of audited command codes."""


class TPMS_SESSION_AUDIT_INFO(Structure):
    """What TPM2_GetSessionAuditDigest attests (Part 2, table 127)."""

    exclusiveSession: TPMI_YES_NO
    """Whether no command was given outside of the session."""
    sessionDigest: TPM2B_DIGEST
    """Audit digest of the session."""


class TPMS_CREATION_INFO(Structure):
    """What TPM2_CertifyCreation attests (Part 2, table 128)."""

    objectName: TPM2B_NAME
    """Name of the object."""
    creationHash: TPM2B_DIGEST
    """Digest of its creation data."""


class TPMS_NV_CERTIFY_INFO(Structure):
    """What TPM2_NV_Certify attests (Part 2, table 129)."""

    indexName: TPM2B_NAME
    """Name of the index."""
    offset: UINT16
    """Where the bytes start."""
    nvContents: TPM2B_MAX_NV_BUFFER
    """The bytes."""


class TPMS_NV_DIGEST_CERTIFY_INFO(Structure):
    """What TPM2_NV_Certify attests where size and offset are 0 (Part 2, table 130)."""

    indexName: TPM2B_NAME
    """Name of the index."""
    nvDigest: TPM2B_DIGEST
    """Hash of all its bytes."""


TPMU_ATTEST = Annotated[
    (
        TPMS_CERTIFY_INFO
        | TPMS_CREATION_INFO
        | TPMS_QUOTE_INFO
        | TPMS_COMMAND_AUDIT_INFO
        | TPMS_SESSION_AUDIT_INFO
        | TPMS_TIME_ATTEST_INFO
        | TPMS_NV_CERTIFY_INFO
        | TPMS_NV_DIGEST_CERTIFY_INFO
    ),
    Union(
        Member("certify", TPMS_CERTIFY_INFO, (TPM_ST.ATTEST_CERTIFY,)),
        Member("creation", TPMS_CREATION_INFO, (TPM_ST.ATTEST_CREATION,)),
        Member("quote", TPMS_QUOTE_INFO, (TPM_ST.ATTEST_QUOTE,)),
        Member("commandAudit", TPMS_COMMAND_AUDIT_INFO, (TPM_ST.ATTEST_COMMAND_AUDIT,)),
        Member("sessionAudit", TPMS_SESSION_AUDIT_INFO, (TPM_ST.ATTEST_SESSION_AUDIT,)),
        Member("time", TPMS_TIME_ATTEST_INFO, (TPM_ST.ATTEST_TIME,)),
        Member("nv", TPMS_NV_CERTIFY_INFO, (TPM_ST.ATTEST_NV,)),
        Member("nvDigest", TPMS_NV_DIGEST_CERTIFY_INFO, (TPM_ST.ATTEST_NV_DIGEST,)),
    ),
]
"""What is attested (Part 2, table 132)."""


class TPMS_ATTEST(Structure):
    """What a TPM signs to attest something (Part 2, table 133)."""

    magic: TPM_GENERATED
    """TPM_GENERATED.VALUE: no TPM signs other data that starts so."""
    type: TPMI_ST_ATTEST
    """Kind of attestation."""
    qualifiedSigner: TPM2B_NAME
    """Qualified Name of the key that signs."""
    extraData: TPM2B_DATA
    """What the caller wanted in it: his nonce."""
    clockInfo: TPMS_CLOCK_INFO
    """The clock, obfuscated for keys outside of endorsement and platform hierarchy."""
    firmwareVersion: UINT64
    """Version of the firmware, obfuscated likewise."""
    attested: TPMU_ATTEST = selected_by("type")
    """What is attested."""


class TPMS_AUTH_COMMAND(Structure):
    """Session of a command (Part 2, table 135)."""

    sessionHandle: OrNull[TPMI_SH_AUTH_SESSION]
    """Session; TPM_RH.PW for a password."""
    nonce: TPM2B_NONCE
    """Nonce of the caller."""
    sessionAttributes: TPMA_SESSION
    """How the session is used."""
    hmac: Secret[TPM2B_AUTH]
    """HMAC, or the password."""


class TPMS_AUTH_RESPONSE(Structure):
    """Session of a response (Part 2, table 136)."""

    nonce: TPM2B_NONCE
    """Nonce of the TPM."""
    sessionAttributes: TPMA_SESSION
    """What became of the session."""
    hmac: TPM2B_AUTH
    """HMAC."""
