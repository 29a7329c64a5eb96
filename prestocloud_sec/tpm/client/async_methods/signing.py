# SPDX-License-Identifier: Apache-2.0
# Written by scripts/tpm_client_methods.py from prestocloud_sec/tpm/spec/commands/signing.py; edit that, and run it.
"""Signing, verifying and command audit: a method for each command, to be awaited."""

from __future__ import annotations

from prestocloud_sec.tpm.client.core import Sessions
from prestocloud_sec.tpm.client.executor import AsyncExecutor, live
from prestocloud_sec.tpm.spec.commands.signing import SetCommandCodeAuditStatus, Sign, VerifySignature
from prestocloud_sec.tpm.spec.declare import OrNull
from prestocloud_sec.tpm.spec.interfaces import TPMI_ALG_HASH, TPMI_DH_OBJECT, TPMI_RH_PROVISION
from prestocloud_sec.tpm.spec.structures.basic import TPML_CC, TPMT_TK_HASHCHECK, TPMT_TK_VERIFIED
from prestocloud_sec.tpm.spec.structures.buffers import TPM2B_DIGEST
from prestocloud_sec.tpm.spec.structures.schemes import TPMT_SIG_SCHEME, TPMT_SIGNATURE

__all__ = ["AsyncSigningMethods"]


class AsyncSigningMethods(AsyncExecutor):
    """Signing, verifying and command audit: a method for each command."""

    async def verify_signature(
        self, keyHandle: TPMI_DH_OBJECT, digest: TPM2B_DIGEST, signature: TPMT_SIGNATURE, *, sessions: Sessions = None
    ) -> TPMT_TK_VERIFIED:
        """Verify a signature by a loaded key (Part 3, 20.1)."""
        response = await self.execute(VerifySignature(live(self, keyHandle), digest, signature), sessions)
        return response.validation

    async def sign(
        self,
        keyHandle: TPMI_DH_OBJECT,
        digest: TPM2B_DIGEST,
        inScheme: OrNull[TPMT_SIG_SCHEME],
        validation: TPMT_TK_HASHCHECK,
        *,
        sessions: Sessions = None,
    ) -> TPMT_SIGNATURE:
        """Sign a digest (Part 3, 20.2)."""
        response = await self.execute(Sign(live(self, keyHandle), digest, inScheme, validation), sessions)
        return response.signature

    async def set_command_code_audit_status(
        self,
        auth: TPMI_RH_PROVISION,
        auditAlg: OrNull[TPMI_ALG_HASH],
        setList: TPML_CC,
        clearList: TPML_CC,
        *,
        sessions: Sessions = None,
    ) -> None:
        """Choose the commands that are audited, or the hash of the audit (Part 3, 21.2)."""
        await self.execute(SetCommandCodeAuditStatus(live(self, auth), auditAlg, setList, clearList), sessions)
