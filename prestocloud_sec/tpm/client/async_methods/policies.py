# SPDX-License-Identifier: Apache-2.0
# Written by scripts/tpm_client_methods.py from prestocloud_sec/tpm/spec/commands/policies.py; edit that, and run it.
"""Enhanced authorization: a method for each command, to be awaited."""

from __future__ import annotations

from typing import Annotated

from prestocloud_sec.tpm.client.core import Sessions
from prestocloud_sec.tpm.client.executor import AsyncExecutor, live
from prestocloud_sec.tpm.spec.attributes import TPMA_LOCALITY
from prestocloud_sec.tpm.spec.commands.policies import (
    PolicyAuthorize,
    PolicyAuthorizeNV,
    PolicyAuthValue,
    PolicyCapability,
    PolicyCommandCode,
    PolicyCounterTimer,
    PolicyCpHash,
    PolicyDuplicationSelect,
    PolicyGetDigest,
    PolicyLocality,
    PolicyNameHash,
    PolicyNV,
    PolicyNvWritten,
    PolicyOR,
    PolicyParameters,
    PolicyPassword,
    PolicyPCR,
    PolicyPhysicalPresence,
    PolicySecret,
    PolicySigned,
    PolicyTemplate,
    PolicyTicket,
    PolicyTransportSPDM,
)
from prestocloud_sec.tpm.spec.constants import TPM_CAP, TPM_CC, TPM_EO
from prestocloud_sec.tpm.spec.declare import AtLeast
from prestocloud_sec.tpm.spec.interfaces import (
    INT32,
    TPMI_DH_ENTITY,
    TPMI_DH_OBJECT,
    TPMI_RH_NV_AUTH,
    TPMI_RH_NV_INDEX,
    TPMI_SH_POLICY,
    TPMI_YES_NO,
    UINT16,
    UINT32,
)
from prestocloud_sec.tpm.spec.structures.basic import TPML_DIGEST, TPML_PCR_SELECTION, TPMT_TK_AUTH, TPMT_TK_VERIFIED
from prestocloud_sec.tpm.spec.structures.buffers import (
    TPM2B_DIGEST,
    TPM2B_NAME,
    TPM2B_NONCE,
    TPM2B_OPERAND,
    TPM2B_TIMEOUT,
)
from prestocloud_sec.tpm.spec.structures.schemes import TPMT_SIGNATURE

__all__ = ["AsyncPoliciesMethods"]


class AsyncPoliciesMethods(AsyncExecutor):
    """Enhanced authorization: a method for each command."""

    async def policy_signed(
        self,
        authObject: TPMI_DH_OBJECT,
        policySession: TPMI_SH_POLICY,
        nonceTPM: TPM2B_NONCE,
        cpHashA: TPM2B_DIGEST,
        policyRef: TPM2B_NONCE,
        expiration: INT32,
        auth: TPMT_SIGNATURE,
        *,
        sessions: Sessions = None,
    ) -> PolicySigned.Response:
        """Continue a policy by an authorization that a key signed (Part 3, 23.3)."""
        return await self.execute(
            PolicySigned(
                live(self, authObject), live(self, policySession), nonceTPM, cpHashA, policyRef, expiration, auth
            ),
            sessions,
        )

    async def policy_secret(
        self,
        authHandle: TPMI_DH_ENTITY,
        policySession: TPMI_SH_POLICY,
        nonceTPM: TPM2B_NONCE,
        cpHashA: TPM2B_DIGEST,
        policyRef: TPM2B_NONCE,
        expiration: INT32,
        *,
        sessions: Sessions = None,
    ) -> PolicySecret.Response:
        """Continue a policy by the authValue of an entity (Part 3, 23.4)."""
        return await self.execute(
            PolicySecret(live(self, authHandle), live(self, policySession), nonceTPM, cpHashA, policyRef, expiration),
            sessions,
        )

    async def policy_ticket(
        self,
        policySession: TPMI_SH_POLICY,
        timeout: TPM2B_TIMEOUT,
        cpHashA: TPM2B_DIGEST,
        policyRef: TPM2B_NONCE,
        authName: TPM2B_NAME,
        ticket: TPMT_TK_AUTH,
        *,
        sessions: Sessions = None,
    ) -> None:
        """Continue a policy by a ticket of PolicySigned or PolicySecret (Part 3, 23.5)."""
        await self.execute(
            PolicyTicket(live(self, policySession), timeout, cpHashA, policyRef, authName, ticket), sessions
        )

    async def policy_or(
        self, policySession: TPMI_SH_POLICY, pHashList: Annotated[TPML_DIGEST, AtLeast(2)], *, sessions: Sessions = None
    ) -> None:
        """Continue a policy if it satisfied one of several branches (Part 3, 23.6)."""
        await self.execute(PolicyOR(live(self, policySession), pHashList), sessions)

    async def policy_pcr(
        self,
        policySession: TPMI_SH_POLICY,
        pcrDigest: TPM2B_DIGEST,
        pcrs: TPML_PCR_SELECTION,
        *,
        sessions: Sessions = None,
    ) -> None:
        """Continue a policy if PCRs have given values (Part 3, 23.7)."""
        await self.execute(PolicyPCR(live(self, policySession), pcrDigest, pcrs), sessions)

    async def policy_locality(
        self, policySession: TPMI_SH_POLICY, locality: TPMA_LOCALITY, *, sessions: Sessions = None
    ) -> None:
        """Limit a policy to localities (Part 3, 23.8)."""
        await self.execute(PolicyLocality(live(self, policySession), locality), sessions)

    async def policy_nv(
        self,
        authHandle: TPMI_RH_NV_AUTH,
        nvIndex: TPMI_RH_NV_INDEX,
        policySession: TPMI_SH_POLICY,
        operandB: TPM2B_OPERAND,
        offset: UINT16,
        operation: TPM_EO,
        *,
        sessions: Sessions = None,
    ) -> None:
        """Continue a policy by the contents of an NV index (Part 3, 23.9)."""
        await self.execute(
            PolicyNV(
                live(self, authHandle), live(self, nvIndex), live(self, policySession), operandB, offset, operation
            ),
            sessions,
        )

    async def policy_counter_timer(
        self,
        policySession: TPMI_SH_POLICY,
        operandB: TPM2B_OPERAND,
        offset: UINT16,
        operation: TPM_EO,
        *,
        sessions: Sessions = None,
    ) -> None:
        """Continue a policy by time, clock or their counters (Part 3, 23.10)."""
        await self.execute(PolicyCounterTimer(live(self, policySession), operandB, offset, operation), sessions)

    async def policy_command_code(
        self, policySession: TPMI_SH_POLICY, code_: TPM_CC, *, sessions: Sessions = None
    ) -> None:
        """Limit a policy to one command (Part 3, 23.11)."""
        await self.execute(PolicyCommandCode(live(self, policySession), code_), sessions)

    async def policy_physical_presence(self, policySession: TPMI_SH_POLICY, *, sessions: Sessions = None) -> None:
        """Limit a policy to physical presence (Part 3, 23.12)."""
        await self.execute(PolicyPhysicalPresence(live(self, policySession)), sessions)

    async def policy_cp_hash(
        self, policySession: TPMI_SH_POLICY, cpHashA: TPM2B_DIGEST, *, sessions: Sessions = None
    ) -> None:
        """Limit a policy to one command with its parameters (Part 3, 23.13)."""
        await self.execute(PolicyCpHash(live(self, policySession), cpHashA), sessions)

    async def policy_name_hash(
        self, policySession: TPMI_SH_POLICY, nameHash: TPM2B_DIGEST, *, sessions: Sessions = None
    ) -> None:
        """Limit a policy to the entities of a command (Part 3, 23.14)."""
        await self.execute(PolicyNameHash(live(self, policySession), nameHash), sessions)

    async def policy_duplication_select(
        self,
        policySession: TPMI_SH_POLICY,
        objectName: TPM2B_NAME,
        newParentName: TPM2B_NAME,
        includeObject: TPMI_YES_NO,
        *,
        sessions: Sessions = None,
    ) -> None:
        """Limit a policy to duplication to one parent (Part 3, 23.15)."""
        await self.execute(
            PolicyDuplicationSelect(live(self, policySession), objectName, newParentName, includeObject), sessions
        )

    async def policy_authorize(
        self,
        policySession: TPMI_SH_POLICY,
        approvedPolicy: TPM2B_DIGEST,
        policyRef: TPM2B_NONCE,
        keySign: TPM2B_NAME,
        checkTicket: TPMT_TK_VERIFIED,
        *,
        sessions: Sessions = None,
    ) -> None:
        """Replace a policy that a key approved by that approval (Part 3, 23.16)."""
        await self.execute(
            PolicyAuthorize(live(self, policySession), approvedPolicy, policyRef, keySign, checkTicket), sessions
        )

    async def policy_auth_value(self, policySession: TPMI_SH_POLICY, *, sessions: Sessions = None) -> None:
        """Add the authValue of the entity to the HMAC of the policy session (Part 3, 23.17)."""
        await self.execute(PolicyAuthValue(live(self, policySession)), sessions)

    async def policy_password(self, policySession: TPMI_SH_POLICY, *, sessions: Sessions = None) -> None:
        """Add the authValue of the entity, in clear, to the policy session (Part 3, 23.18)."""
        await self.execute(PolicyPassword(live(self, policySession)), sessions)

    async def policy_get_digest(self, policySession: TPMI_SH_POLICY, *, sessions: Sessions = None) -> TPM2B_DIGEST:
        """Return the policy digest of a session (Part 3, 23.19)."""
        response = await self.execute(PolicyGetDigest(live(self, policySession)), sessions)
        return response.policyDigest

    async def policy_nv_written(
        self, policySession: TPMI_SH_POLICY, writtenSet: TPMI_YES_NO, *, sessions: Sessions = None
    ) -> None:
        """Continue a policy by whether an NV index was written (Part 3, 23.20)."""
        await self.execute(PolicyNvWritten(live(self, policySession), writtenSet), sessions)

    async def policy_template(
        self, policySession: TPMI_SH_POLICY, templateHash: TPM2B_DIGEST, *, sessions: Sessions = None
    ) -> None:
        """Limit a policy to the creation of one kind of object (Part 3, 23.21)."""
        await self.execute(PolicyTemplate(live(self, policySession), templateHash), sessions)

    async def policy_authorize_nv(
        self,
        authHandle: TPMI_RH_NV_AUTH,
        nvIndex: TPMI_RH_NV_INDEX,
        policySession: TPMI_SH_POLICY,
        *,
        sessions: Sessions = None,
    ) -> None:
        """Replace a policy that an NV index holds by that index (Part 3, 23.22)."""
        await self.execute(
            PolicyAuthorizeNV(live(self, authHandle), live(self, nvIndex), live(self, policySession)), sessions
        )

    async def policy_capability(
        self,
        policySession: TPMI_SH_POLICY,
        operandB: TPM2B_OPERAND,
        offset: UINT16,
        operation: TPM_EO,
        capability: TPM_CAP,
        property: UINT32,
        *,
        sessions: Sessions = None,
    ) -> None:
        """Continue a policy by a capability of the TPM (revision 1.83, TPM2_PolicyCapability)."""
        await self.execute(
            PolicyCapability(live(self, policySession), operandB, offset, operation, capability, property), sessions
        )

    async def policy_parameters(
        self, policySession: TPMI_SH_POLICY, pHash: TPM2B_DIGEST, *, sessions: Sessions = None
    ) -> None:
        """Limit a policy to a command with parameters, whatever its entities (revision 1.83, TPM2_PolicyParameters)."""
        await self.execute(PolicyParameters(live(self, policySession), pHash), sessions)

    async def policy_transport_spdm(
        self,
        policySession: TPMI_SH_POLICY,
        reqKeyName: TPM2B_NAME,
        tpmKeyName: TPM2B_NAME,
        *,
        sessions: Sessions = None,
    ) -> None:
        """Limit a policy to commands from a secure channel (revision 1.83, TPM2_PolicyTransportSPDM)."""
        await self.execute(PolicyTransportSPDM(live(self, policySession), reqKeyName, tpmKeyName), sessions)
