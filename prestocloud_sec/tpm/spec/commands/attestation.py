# SPDX-License-Identifier: Apache-2.0
"""Attestation: commands of TPM 2.0 (Library, Part 3, clause 18)."""

from __future__ import annotations

from prestocloud_sec.tpm.spec.constants import TPM_CC
from prestocloud_sec.tpm.spec.declare import AuthRole, Command, OrNull, handle
from prestocloud_sec.tpm.spec.interfaces import TPMI_DH_OBJECT, TPMI_RH_ENDORSEMENT, TPMI_SH_HMAC
from prestocloud_sec.tpm.spec.structures.basic import TPML_PCR_SELECTION, TPMT_TK_CREATION
from prestocloud_sec.tpm.spec.structures.buffers import TPM2B_ATTEST, TPM2B_DATA, TPM2B_DIGEST, TPM2B_MAX_BUFFER
from prestocloud_sec.tpm.spec.structures.schemes import TPMT_SIG_SCHEME, TPMT_SIGNATURE

__all__ = [
    "Certify",
    "CertifyCreation",
    "CertifyX509",
    "GetCommandAuditDigest",
    "GetSessionAuditDigest",
    "GetTime",
    "Quote",
]


class Certify(Command):
    """Attest that an object is loaded in the TPM (Part 3, 18.2)."""

    code = TPM_CC.Certify

    objectHandle: TPMI_DH_OBJECT = handle(auth=AuthRole.ADMIN)
    """The object."""
    signHandle: OrNull[TPMI_DH_OBJECT] = handle(auth=AuthRole.USER)
    """The key that signs; NULL for no signature."""
    qualifyingData: TPM2B_DATA
    """Nonce of the verifier."""
    inScheme: OrNull[TPMT_SIG_SCHEME]
    """The scheme; NULL for that of the key."""

    class Response(Command.Response):
        """What comes back."""

        certifyInfo: TPM2B_ATTEST
        """The attestation."""
        signature: OrNull[TPMT_SIGNATURE]
        """The signature."""


class CertifyCreation(Command):
    """Attest how an object was created (Part 3, 18.3)."""

    code = TPM_CC.CertifyCreation

    signHandle: OrNull[TPMI_DH_OBJECT] = handle(auth=AuthRole.USER)
    """The key that signs; NULL for no signature."""
    objectHandle: TPMI_DH_OBJECT = handle()
    """The object."""
    qualifyingData: TPM2B_DATA
    """Nonce of the verifier."""
    creationHash: TPM2B_DIGEST
    """Digest of its creation data."""
    inScheme: OrNull[TPMT_SIG_SCHEME]
    """The scheme; NULL for that of the key."""
    creationTicket: TPMT_TK_CREATION
    """Proof for CertifyCreation."""

    class Response(Command.Response):
        """What comes back."""

        certifyInfo: TPM2B_ATTEST
        """The attestation."""
        signature: OrNull[TPMT_SIGNATURE]
        """The signature."""


class Quote(Command):
    """Attest the values of PCRs (Part 3, 18.4)."""

    code = TPM_CC.Quote

    signHandle: OrNull[TPMI_DH_OBJECT] = handle(auth=AuthRole.USER)
    """The key that signs; NULL for no signature."""
    qualifyingData: TPM2B_DATA
    """Nonce of the verifier."""
    inScheme: OrNull[TPMT_SIG_SCHEME]
    """The scheme; NULL for that of the key."""
    PCRselect: TPML_PCR_SELECTION
    """The PCRs."""

    class Response(Command.Response):
        """What comes back."""

        quoted: TPM2B_ATTEST
        """The attestation."""
        signature: OrNull[TPMT_SIGNATURE]
        """The signature."""


class GetSessionAuditDigest(Command):
    """Attest the audit digest of a session (Part 3, 18.5)."""

    code = TPM_CC.GetSessionAuditDigest

    privacyAdminHandle: TPMI_RH_ENDORSEMENT = handle(auth=AuthRole.USER)
    """The privacy administrator."""
    signHandle: OrNull[TPMI_DH_OBJECT] = handle(auth=AuthRole.USER)
    """The key that signs; NULL for no signature."""
    sessionHandle: TPMI_SH_HMAC = handle()
    """The audit session."""
    qualifyingData: TPM2B_DATA
    """Nonce of the verifier."""
    inScheme: OrNull[TPMT_SIG_SCHEME]
    """The scheme; NULL for that of the key."""

    class Response(Command.Response):
        """What comes back."""

        auditInfo: TPM2B_ATTEST
        """The attestation."""
        signature: OrNull[TPMT_SIGNATURE]
        """The signature."""


class GetCommandAuditDigest(Command):
    """Attest the digest of audited commands, and start it anew (Part 3, 18.6)."""

    code = TPM_CC.GetCommandAuditDigest
    nv = True

    privacyHandle: TPMI_RH_ENDORSEMENT = handle(auth=AuthRole.USER)
    """The privacy administrator."""
    signHandle: OrNull[TPMI_DH_OBJECT] = handle(auth=AuthRole.USER)
    """The key that signs; NULL for no signature."""
    qualifyingData: TPM2B_DATA
    """Nonce of the verifier."""
    inScheme: OrNull[TPMT_SIG_SCHEME]
    """The scheme; NULL for that of the key."""

    class Response(Command.Response):
        """What comes back."""

        auditInfo: TPM2B_ATTEST
        """The attestation."""
        signature: OrNull[TPMT_SIGNATURE]
        """The signature."""


class GetTime(Command):
    """Attest time and clock (Part 3, 18.7)."""

    code = TPM_CC.GetTime

    privacyAdminHandle: TPMI_RH_ENDORSEMENT = handle(auth=AuthRole.USER)
    """The privacy administrator."""
    signHandle: OrNull[TPMI_DH_OBJECT] = handle(auth=AuthRole.USER)
    """The key that signs; NULL for no signature."""
    qualifyingData: TPM2B_DATA
    """Nonce of the verifier."""
    inScheme: OrNull[TPMT_SIG_SCHEME]
    """The scheme; NULL for that of the key."""

    class Response(Command.Response):
        """What comes back."""

        timeInfo: TPM2B_ATTEST
        """The attestation."""
        signature: OrNull[TPMT_SIGNATURE]
        """The signature."""


class CertifyX509(Command):
    """Sign a certificate over an object, completed by the TPM (Part 3, 18.8)."""

    code = TPM_CC.CertifyX509

    objectHandle: TPMI_DH_OBJECT = handle(auth=AuthRole.ADMIN)
    """The object."""
    signHandle: OrNull[TPMI_DH_OBJECT] = handle(auth=AuthRole.USER)
    """The key that signs; NULL for no signature."""
    reserved: TPM2B_DATA
    """Nothing."""
    inScheme: OrNull[TPMT_SIG_SCHEME]
    """The scheme; NULL for that of the key."""
    partialCertificate: TPM2B_MAX_BUFFER
    """The certificate, without what the TPM adds."""

    class Response(Command.Response):
        """What comes back."""

        addedToCertificate: TPM2B_MAX_BUFFER
        """What the TPM added."""
        tbsDigest: TPM2B_DIGEST
        """Digest of what was signed."""
        signature: TPMT_SIGNATURE
        """The signature."""
