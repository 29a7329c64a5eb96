# SPDX-License-Identifier: Apache-2.0
# Written by scripts/tpm_client_methods.py from prestocloud_sec/tpm/spec/commands/attestation.py; edit that, and run it.
"""Attestation: a method for each command, to be awaited."""

from __future__ import annotations

from prestocloud_sec.tpm.client.core import Sessions
from prestocloud_sec.tpm.client.executor import AsyncExecutor, live
from prestocloud_sec.tpm.spec.commands.attestation import (
    Certify,
    CertifyCreation,
    CertifyX509,
    GetCommandAuditDigest,
    GetSessionAuditDigest,
    GetTime,
    Quote,
)
from prestocloud_sec.tpm.spec.declare import OrNull
from prestocloud_sec.tpm.spec.interfaces import TPMI_DH_OBJECT, TPMI_RH_ENDORSEMENT, TPMI_SH_HMAC
from prestocloud_sec.tpm.spec.structures.basic import TPML_PCR_SELECTION, TPMT_TK_CREATION
from prestocloud_sec.tpm.spec.structures.buffers import TPM2B_DATA, TPM2B_DIGEST, TPM2B_MAX_BUFFER
from prestocloud_sec.tpm.spec.structures.schemes import TPMT_SIG_SCHEME

__all__ = ["AsyncAttestationMethods"]


class AsyncAttestationMethods(AsyncExecutor):
    """Attestation: a method for each command."""

    async def certify(
        self,
        objectHandle: TPMI_DH_OBJECT,
        signHandle: OrNull[TPMI_DH_OBJECT],
        qualifyingData: TPM2B_DATA,
        inScheme: OrNull[TPMT_SIG_SCHEME],
        *,
        sessions: Sessions = None,
    ) -> Certify.Response:
        """Attest that an object is loaded in the TPM (Part 3, 18.2)."""
        return await self.execute(
            Certify(live(self, objectHandle), live(self, signHandle), qualifyingData, inScheme), sessions
        )

    async def certify_creation(
        self,
        signHandle: OrNull[TPMI_DH_OBJECT],
        objectHandle: TPMI_DH_OBJECT,
        qualifyingData: TPM2B_DATA,
        creationHash: TPM2B_DIGEST,
        inScheme: OrNull[TPMT_SIG_SCHEME],
        creationTicket: TPMT_TK_CREATION,
        *,
        sessions: Sessions = None,
    ) -> CertifyCreation.Response:
        """Attest how an object was created (Part 3, 18.3)."""
        return await self.execute(
            CertifyCreation(
                live(self, signHandle), live(self, objectHandle), qualifyingData, creationHash, inScheme, creationTicket
            ),
            sessions,
        )

    async def quote(
        self,
        signHandle: OrNull[TPMI_DH_OBJECT],
        qualifyingData: TPM2B_DATA,
        inScheme: OrNull[TPMT_SIG_SCHEME],
        PCRselect: TPML_PCR_SELECTION,
        *,
        sessions: Sessions = None,
    ) -> Quote.Response:
        """Attest the values of PCRs (Part 3, 18.4)."""
        return await self.execute(Quote(live(self, signHandle), qualifyingData, inScheme, PCRselect), sessions)

    async def get_session_audit_digest(
        self,
        privacyAdminHandle: TPMI_RH_ENDORSEMENT,
        signHandle: OrNull[TPMI_DH_OBJECT],
        sessionHandle: TPMI_SH_HMAC,
        qualifyingData: TPM2B_DATA,
        inScheme: OrNull[TPMT_SIG_SCHEME],
        *,
        sessions: Sessions = None,
    ) -> GetSessionAuditDigest.Response:
        """Attest the audit digest of a session (Part 3, 18.5)."""
        return await self.execute(
            GetSessionAuditDigest(
                live(self, privacyAdminHandle),
                live(self, signHandle),
                live(self, sessionHandle),
                qualifyingData,
                inScheme,
            ),
            sessions,
        )

    async def get_command_audit_digest(
        self,
        privacyHandle: TPMI_RH_ENDORSEMENT,
        signHandle: OrNull[TPMI_DH_OBJECT],
        qualifyingData: TPM2B_DATA,
        inScheme: OrNull[TPMT_SIG_SCHEME],
        *,
        sessions: Sessions = None,
    ) -> GetCommandAuditDigest.Response:
        """Attest the digest of audited commands, and start it anew (Part 3, 18.6)."""
        return await self.execute(
            GetCommandAuditDigest(live(self, privacyHandle), live(self, signHandle), qualifyingData, inScheme), sessions
        )

    async def get_time(
        self,
        privacyAdminHandle: TPMI_RH_ENDORSEMENT,
        signHandle: OrNull[TPMI_DH_OBJECT],
        qualifyingData: TPM2B_DATA,
        inScheme: OrNull[TPMT_SIG_SCHEME],
        *,
        sessions: Sessions = None,
    ) -> GetTime.Response:
        """Attest time and clock (Part 3, 18.7)."""
        return await self.execute(
            GetTime(live(self, privacyAdminHandle), live(self, signHandle), qualifyingData, inScheme), sessions
        )

    async def certify_x509(
        self,
        objectHandle: TPMI_DH_OBJECT,
        signHandle: OrNull[TPMI_DH_OBJECT],
        reserved: TPM2B_DATA,
        inScheme: OrNull[TPMT_SIG_SCHEME],
        partialCertificate: TPM2B_MAX_BUFFER,
        *,
        sessions: Sessions = None,
    ) -> CertifyX509.Response:
        """Sign a certificate over an object, completed by the TPM (Part 3, 18.8)."""
        return await self.execute(
            CertifyX509(live(self, objectHandle), live(self, signHandle), reserved, inScheme, partialCertificate),
            sessions,
        )
