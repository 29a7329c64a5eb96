# SPDX-License-Identifier: Apache-2.0
# Written by scripts/tpm_client_methods.py from prestocloud_sec/tpm/spec/commands/attestation.py; edit that, and run it.
"""Attestation: a method for each command."""

from __future__ import annotations

from prestocloud_sec.tpm.client.core import Sessions
from prestocloud_sec.tpm.client.executor import Executor, live
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

__all__ = ["AttestationMethods"]


class AttestationMethods(Executor):
    """Attestation: a method for each command."""

    def certify(
        self,
        objectHandle: TPMI_DH_OBJECT,
        signHandle: OrNull[TPMI_DH_OBJECT],
        qualifyingData: TPM2B_DATA,
        inScheme: OrNull[TPMT_SIG_SCHEME],
        *,
        sessions: Sessions = None,
    ) -> Certify.Response:
        """Attest that an object is loaded in the TPM (Part 3, 18.2).

        Parameters
        ----------
        objectHandle : TPMI_DH_OBJECT
            The object.
        signHandle : OrNull[TPMI_DH_OBJECT]
            The key that signs; NULL for no signature.
        qualifyingData : TPM2B_DATA
            Nonce of the verifier.
        inScheme : OrNull[TPMT_SIG_SCHEME]
            The scheme; NULL for that of the key.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        Certify.Response
            With certifyInfo, signature.
        """
        return self.execute(
            Certify(live(self, objectHandle), live(self, signHandle), qualifyingData, inScheme), sessions
        )

    def certify_creation(
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
        """Attest how an object was created (Part 3, 18.3).

        Parameters
        ----------
        signHandle : OrNull[TPMI_DH_OBJECT]
            The key that signs; NULL for no signature.
        objectHandle : TPMI_DH_OBJECT
            The object.
        qualifyingData : TPM2B_DATA
            Nonce of the verifier.
        creationHash : TPM2B_DIGEST
            Digest of its creation data.
        inScheme : OrNull[TPMT_SIG_SCHEME]
            The scheme; NULL for that of the key.
        creationTicket : TPMT_TK_CREATION
            Proof for CertifyCreation.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        CertifyCreation.Response
            With certifyInfo, signature.
        """
        return self.execute(
            CertifyCreation(
                live(self, signHandle), live(self, objectHandle), qualifyingData, creationHash, inScheme, creationTicket
            ),
            sessions,
        )

    def quote(
        self,
        signHandle: OrNull[TPMI_DH_OBJECT],
        qualifyingData: TPM2B_DATA,
        inScheme: OrNull[TPMT_SIG_SCHEME],
        PCRselect: TPML_PCR_SELECTION,
        *,
        sessions: Sessions = None,
    ) -> Quote.Response:
        """Attest the values of PCRs (Part 3, 18.4).

        Parameters
        ----------
        signHandle : OrNull[TPMI_DH_OBJECT]
            The key that signs; NULL for no signature.
        qualifyingData : TPM2B_DATA
            Nonce of the verifier.
        inScheme : OrNull[TPMT_SIG_SCHEME]
            The scheme; NULL for that of the key.
        PCRselect : TPML_PCR_SELECTION
            The PCRs.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        Quote.Response
            With quoted, signature.
        """
        return self.execute(Quote(live(self, signHandle), qualifyingData, inScheme, PCRselect), sessions)

    def get_session_audit_digest(
        self,
        privacyAdminHandle: TPMI_RH_ENDORSEMENT,
        signHandle: OrNull[TPMI_DH_OBJECT],
        sessionHandle: TPMI_SH_HMAC,
        qualifyingData: TPM2B_DATA,
        inScheme: OrNull[TPMT_SIG_SCHEME],
        *,
        sessions: Sessions = None,
    ) -> GetSessionAuditDigest.Response:
        """Attest the audit digest of a session (Part 3, 18.5).

        Parameters
        ----------
        privacyAdminHandle : TPMI_RH_ENDORSEMENT
            The privacy administrator.
        signHandle : OrNull[TPMI_DH_OBJECT]
            The key that signs; NULL for no signature.
        sessionHandle : TPMI_SH_HMAC
            The audit session.
        qualifyingData : TPM2B_DATA
            Nonce of the verifier.
        inScheme : OrNull[TPMT_SIG_SCHEME]
            The scheme; NULL for that of the key.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        GetSessionAuditDigest.Response
            With auditInfo, signature.
        """
        return self.execute(
            GetSessionAuditDigest(
                live(self, privacyAdminHandle),
                live(self, signHandle),
                live(self, sessionHandle),
                qualifyingData,
                inScheme,
            ),
            sessions,
        )

    def get_command_audit_digest(
        self,
        privacyHandle: TPMI_RH_ENDORSEMENT,
        signHandle: OrNull[TPMI_DH_OBJECT],
        qualifyingData: TPM2B_DATA,
        inScheme: OrNull[TPMT_SIG_SCHEME],
        *,
        sessions: Sessions = None,
    ) -> GetCommandAuditDigest.Response:
        """Attest the digest of audited commands, and start it anew (Part 3, 18.6).

        Parameters
        ----------
        privacyHandle : TPMI_RH_ENDORSEMENT
            The privacy administrator.
        signHandle : OrNull[TPMI_DH_OBJECT]
            The key that signs; NULL for no signature.
        qualifyingData : TPM2B_DATA
            Nonce of the verifier.
        inScheme : OrNull[TPMT_SIG_SCHEME]
            The scheme; NULL for that of the key.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        GetCommandAuditDigest.Response
            With auditInfo, signature.
        """
        return self.execute(
            GetCommandAuditDigest(live(self, privacyHandle), live(self, signHandle), qualifyingData, inScheme), sessions
        )

    def get_time(
        self,
        privacyAdminHandle: TPMI_RH_ENDORSEMENT,
        signHandle: OrNull[TPMI_DH_OBJECT],
        qualifyingData: TPM2B_DATA,
        inScheme: OrNull[TPMT_SIG_SCHEME],
        *,
        sessions: Sessions = None,
    ) -> GetTime.Response:
        """Attest time and clock (Part 3, 18.7).

        Parameters
        ----------
        privacyAdminHandle : TPMI_RH_ENDORSEMENT
            The privacy administrator.
        signHandle : OrNull[TPMI_DH_OBJECT]
            The key that signs; NULL for no signature.
        qualifyingData : TPM2B_DATA
            Nonce of the verifier.
        inScheme : OrNull[TPMT_SIG_SCHEME]
            The scheme; NULL for that of the key.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        GetTime.Response
            With timeInfo, signature.
        """
        return self.execute(
            GetTime(live(self, privacyAdminHandle), live(self, signHandle), qualifyingData, inScheme), sessions
        )

    def certify_x509(
        self,
        objectHandle: TPMI_DH_OBJECT,
        signHandle: OrNull[TPMI_DH_OBJECT],
        reserved: TPM2B_DATA,
        inScheme: OrNull[TPMT_SIG_SCHEME],
        partialCertificate: TPM2B_MAX_BUFFER,
        *,
        sessions: Sessions = None,
    ) -> CertifyX509.Response:
        """Sign a certificate over an object, completed by the TPM (Part 3, 18.8).

        Parameters
        ----------
        objectHandle : TPMI_DH_OBJECT
            The object.
        signHandle : OrNull[TPMI_DH_OBJECT]
            The key that signs; NULL for no signature.
        reserved : TPM2B_DATA
            Nothing.
        inScheme : OrNull[TPMT_SIG_SCHEME]
            The scheme; NULL for that of the key.
        partialCertificate : TPM2B_MAX_BUFFER
            The certificate, without what the TPM adds.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        CertifyX509.Response
            With addedToCertificate, tbsDigest, signature.
        """
        return self.execute(
            CertifyX509(live(self, objectHandle), live(self, signHandle), reserved, inScheme, partialCertificate),
            sessions,
        )
