# SPDX-License-Identifier: Apache-2.0
# Written by scripts/tpm_client_methods.py from prestocloud_sec/tpm/spec/commands/signing.py; edit that, and run it.
"""Signing, verifying and command audit: a method for each command."""

from __future__ import annotations

from prestocloud_sec.tpm.client.core import Sessions
from prestocloud_sec.tpm.client.executor import Executor, live
from prestocloud_sec.tpm.spec.commands.signing import SetCommandCodeAuditStatus, Sign, VerifySignature
from prestocloud_sec.tpm.spec.declare import OrNull
from prestocloud_sec.tpm.spec.interfaces import TPMI_ALG_HASH, TPMI_DH_OBJECT, TPMI_RH_PROVISION
from prestocloud_sec.tpm.spec.structures.basic import TPML_CC, TPMT_TK_HASHCHECK, TPMT_TK_VERIFIED
from prestocloud_sec.tpm.spec.structures.buffers import TPM2B_DIGEST
from prestocloud_sec.tpm.spec.structures.schemes import TPMT_SIG_SCHEME, TPMT_SIGNATURE

__all__ = ["SigningMethods"]


class SigningMethods(Executor):
    """Signing, verifying and command audit: a method for each command."""

    def verify_signature(
        self, keyHandle: TPMI_DH_OBJECT, digest: TPM2B_DIGEST, signature: TPMT_SIGNATURE, *, sessions: Sessions = None
    ) -> TPMT_TK_VERIFIED:
        """Verify a signature by a loaded key (Part 3, 20.1).

        Parameters
        ----------
        keyHandle : TPMI_DH_OBJECT
            The key.
        digest : TPM2B_DIGEST
            The digest.
        signature : TPMT_SIGNATURE
            The signature.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        TPMT_TK_VERIFIED
            Ticket for PolicyAuthorize.
        """
        return self.execute(VerifySignature(live(self, keyHandle), digest, signature), sessions).validation

    def sign(
        self,
        keyHandle: TPMI_DH_OBJECT,
        digest: TPM2B_DIGEST,
        inScheme: OrNull[TPMT_SIG_SCHEME],
        validation: TPMT_TK_HASHCHECK,
        *,
        sessions: Sessions = None,
    ) -> TPMT_SIGNATURE:
        """Sign a digest (Part 3, 20.2).

        Parameters
        ----------
        keyHandle : TPMI_DH_OBJECT
            The key.
        digest : TPM2B_DIGEST
            The digest.
        inScheme : OrNull[TPMT_SIG_SCHEME]
            The scheme; NULL for that of the key.
        validation : TPMT_TK_HASHCHECK
            Ticket of Hash, where the key is restricted; else an empty one.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        TPMT_SIGNATURE
            The signature.
        """
        return self.execute(Sign(live(self, keyHandle), digest, inScheme, validation), sessions).signature

    def set_command_code_audit_status(
        self,
        auth: TPMI_RH_PROVISION,
        auditAlg: OrNull[TPMI_ALG_HASH],
        setList: TPML_CC,
        clearList: TPML_CC,
        *,
        sessions: Sessions = None,
    ) -> None:
        """Choose the commands that are audited, or the hash of the audit (Part 3, 21.2).

        Parameters
        ----------
        auth : TPMI_RH_PROVISION
            Who authorizes.
        auditAlg : OrNull[TPMI_ALG_HASH]
            Hash of the audit; NULL for no change.
        setList : TPML_CC
            Commands to add.
        clearList : TPML_CC
            Commands to remove.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(SetCommandCodeAuditStatus(live(self, auth), auditAlg, setList, clearList), sessions)
