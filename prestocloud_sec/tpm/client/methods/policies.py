# SPDX-License-Identifier: Apache-2.0
# Written by scripts/tpm_client_methods.py from prestocloud_sec/tpm/spec/commands/policies.py; edit that, and run it.
"""Enhanced authorization: a method for each command."""

from __future__ import annotations

from typing import Annotated

from prestocloud_sec.tpm.client.core import Sessions
from prestocloud_sec.tpm.client.executor import Executor, live
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

__all__ = ["PoliciesMethods"]


class PoliciesMethods(Executor):
    """Enhanced authorization: a method for each command."""

    def policy_signed(
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
        """Continue a policy by an authorization that a key signed (Part 3, 23.3).

        Parameters
        ----------
        authObject : TPMI_DH_OBJECT
            The key that signed.
        policySession : TPMI_SH_POLICY
            The session.
        nonceTPM : TPM2B_NONCE
            Nonce of the TPM; empty for any session.
        cpHashA : TPM2B_DIGEST
            CpHash of the one command; empty for any.
        policyRef : TPM2B_NONCE
            What tells this authorization from others; may be empty.
        expiration : INT32
            Seconds from the start of the session; negative for a ticket, 0 for no limit.
        auth : TPMT_SIGNATURE
            The signature.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        PolicySigned.Response
            With timeout, policyTicket.
        """
        return self.execute(
            PolicySigned(
                live(self, authObject), live(self, policySession), nonceTPM, cpHashA, policyRef, expiration, auth
            ),
            sessions,
        )

    def policy_secret(
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
        """Continue a policy by the authValue of an entity (Part 3, 23.4).

        Parameters
        ----------
        authHandle : TPMI_DH_ENTITY
            Who authorizes.
        policySession : TPMI_SH_POLICY
            The session.
        nonceTPM : TPM2B_NONCE
            Nonce of the TPM; empty for any session.
        cpHashA : TPM2B_DIGEST
            CpHash of the one command; empty for any.
        policyRef : TPM2B_NONCE
            What tells this authorization from others; may be empty.
        expiration : INT32
            Seconds from the start of the session; negative for a ticket, 0 for no limit.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        PolicySecret.Response
            With timeout, policyTicket.
        """
        return self.execute(
            PolicySecret(live(self, authHandle), live(self, policySession), nonceTPM, cpHashA, policyRef, expiration),
            sessions,
        )

    def policy_ticket(
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
        """Continue a policy by a ticket of PolicySigned or PolicySecret (Part 3, 23.5).

        Parameters
        ----------
        policySession : TPMI_SH_POLICY
            The session.
        timeout : TPM2B_TIMEOUT
            Timeout of the authorization.
        cpHashA : TPM2B_DIGEST
            CpHash of the authorization.
        policyRef : TPM2B_NONCE
            PolicyRef of the authorization.
        authName : TPM2B_NAME
            Name of what authorized.
        ticket : TPMT_TK_AUTH
            The ticket.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(PolicyTicket(live(self, policySession), timeout, cpHashA, policyRef, authName, ticket), sessions)

    def policy_or(
        self, policySession: TPMI_SH_POLICY, pHashList: Annotated[TPML_DIGEST, AtLeast(2)], *, sessions: Sessions = None
    ) -> None:
        """Continue a policy if it satisfied one of several branches (Part 3, 23.6).

        Parameters
        ----------
        policySession : TPMI_SH_POLICY
            The session.
        pHashList : Annotated[TPML_DIGEST, AtLeast(2)]
            The branches, one of which is the policy so far.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(PolicyOR(live(self, policySession), pHashList), sessions)

    def policy_pcr(
        self,
        policySession: TPMI_SH_POLICY,
        pcrDigest: TPM2B_DIGEST,
        pcrs: TPML_PCR_SELECTION,
        *,
        sessions: Sessions = None,
    ) -> None:
        """Continue a policy if PCRs have given values (Part 3, 23.7).

        Parameters
        ----------
        policySession : TPMI_SH_POLICY
            The session.
        pcrDigest : TPM2B_DIGEST
            Digest of their values; empty for those of now.
        pcrs : TPML_PCR_SELECTION
            The PCRs.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(PolicyPCR(live(self, policySession), pcrDigest, pcrs), sessions)

    def policy_locality(
        self, policySession: TPMI_SH_POLICY, locality: TPMA_LOCALITY, *, sessions: Sessions = None
    ) -> None:
        """Limit a policy to localities (Part 3, 23.8).

        Parameters
        ----------
        policySession : TPMI_SH_POLICY
            The session.
        locality : TPMA_LOCALITY
            The localities.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(PolicyLocality(live(self, policySession), locality), sessions)

    def policy_nv(
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
        """Continue a policy by the contents of an NV index (Part 3, 23.9).

        Parameters
        ----------
        authHandle : TPMI_RH_NV_AUTH
            Who authorizes.
        nvIndex : TPMI_RH_NV_INDEX
            The index.
        policySession : TPMI_SH_POLICY
            The session.
        operandB : TPM2B_OPERAND
            What to compare with.
        offset : UINT16
            Where to start.
        operation : TPM_EO
            How to compare.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(
            PolicyNV(
                live(self, authHandle), live(self, nvIndex), live(self, policySession), operandB, offset, operation
            ),
            sessions,
        )

    def policy_counter_timer(
        self,
        policySession: TPMI_SH_POLICY,
        operandB: TPM2B_OPERAND,
        offset: UINT16,
        operation: TPM_EO,
        *,
        sessions: Sessions = None,
    ) -> None:
        """Continue a policy by time, clock or their counters (Part 3, 23.10).

        Parameters
        ----------
        policySession : TPMI_SH_POLICY
            The session.
        operandB : TPM2B_OPERAND
            What to compare with.
        offset : UINT16
            Where to start.
        operation : TPM_EO
            How to compare.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(PolicyCounterTimer(live(self, policySession), operandB, offset, operation), sessions)

    def policy_command_code(self, policySession: TPMI_SH_POLICY, code_: TPM_CC, *, sessions: Sessions = None) -> None:
        """Limit a policy to one command (Part 3, 23.11).

        Parameters
        ----------
        policySession : TPMI_SH_POLICY
            The session.
        code_ : TPM_CC
            The command.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(PolicyCommandCode(live(self, policySession), code_), sessions)

    def policy_physical_presence(self, policySession: TPMI_SH_POLICY, *, sessions: Sessions = None) -> None:
        """Limit a policy to physical presence (Part 3, 23.12).

        Parameters
        ----------
        policySession : TPMI_SH_POLICY
            The session.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(PolicyPhysicalPresence(live(self, policySession)), sessions)

    def policy_cp_hash(
        self, policySession: TPMI_SH_POLICY, cpHashA: TPM2B_DIGEST, *, sessions: Sessions = None
    ) -> None:
        """Limit a policy to one command with its parameters (Part 3, 23.13).

        Parameters
        ----------
        policySession : TPMI_SH_POLICY
            The session.
        cpHashA : TPM2B_DIGEST
            CpHash of the command.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(PolicyCpHash(live(self, policySession), cpHashA), sessions)

    def policy_name_hash(
        self, policySession: TPMI_SH_POLICY, nameHash: TPM2B_DIGEST, *, sessions: Sessions = None
    ) -> None:
        """Limit a policy to the entities of a command (Part 3, 23.14).

        Parameters
        ----------
        policySession : TPMI_SH_POLICY
            The session.
        nameHash : TPM2B_DIGEST
            Digest of the Names.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(PolicyNameHash(live(self, policySession), nameHash), sessions)

    def policy_duplication_select(
        self,
        policySession: TPMI_SH_POLICY,
        objectName: TPM2B_NAME,
        newParentName: TPM2B_NAME,
        includeObject: TPMI_YES_NO,
        *,
        sessions: Sessions = None,
    ) -> None:
        """Limit a policy to duplication to one parent (Part 3, 23.15).

        Parameters
        ----------
        policySession : TPMI_SH_POLICY
            The session.
        objectName : TPM2B_NAME
            Name of the object.
        newParentName : TPM2B_NAME
            Name of the new parent.
        includeObject : TPMI_YES_NO
            Whether the object is part of the policy.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(
            PolicyDuplicationSelect(live(self, policySession), objectName, newParentName, includeObject), sessions
        )

    def policy_authorize(
        self,
        policySession: TPMI_SH_POLICY,
        approvedPolicy: TPM2B_DIGEST,
        policyRef: TPM2B_NONCE,
        keySign: TPM2B_NAME,
        checkTicket: TPMT_TK_VERIFIED,
        *,
        sessions: Sessions = None,
    ) -> None:
        """Replace a policy that a key approved by that approval (Part 3, 23.16).

        Parameters
        ----------
        policySession : TPMI_SH_POLICY
            The session.
        approvedPolicy : TPM2B_DIGEST
            The policy that was approved.
        policyRef : TPM2B_NONCE
            What was signed with the policy; may be empty.
        keySign : TPM2B_NAME
            Name of the key that approved it.
        checkTicket : TPMT_TK_VERIFIED
            Ticket of VerifySignature.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(
            PolicyAuthorize(live(self, policySession), approvedPolicy, policyRef, keySign, checkTicket), sessions
        )

    def policy_auth_value(self, policySession: TPMI_SH_POLICY, *, sessions: Sessions = None) -> None:
        """Add the authValue of the entity to the HMAC of the policy session (Part 3, 23.17).

        Parameters
        ----------
        policySession : TPMI_SH_POLICY
            The session.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(PolicyAuthValue(live(self, policySession)), sessions)

    def policy_password(self, policySession: TPMI_SH_POLICY, *, sessions: Sessions = None) -> None:
        """Add the authValue of the entity, in clear, to the policy session (Part 3, 23.18).

        Parameters
        ----------
        policySession : TPMI_SH_POLICY
            The session.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(PolicyPassword(live(self, policySession)), sessions)

    def policy_get_digest(self, policySession: TPMI_SH_POLICY, *, sessions: Sessions = None) -> TPM2B_DIGEST:
        """Return the policy digest of a session (Part 3, 23.19).

        Parameters
        ----------
        policySession : TPMI_SH_POLICY
            The session.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        TPM2B_DIGEST
            The digest.
        """
        return self.execute(PolicyGetDigest(live(self, policySession)), sessions).policyDigest

    def policy_nv_written(
        self, policySession: TPMI_SH_POLICY, writtenSet: TPMI_YES_NO, *, sessions: Sessions = None
    ) -> None:
        """Continue a policy by whether an NV index was written (Part 3, 23.20).

        Parameters
        ----------
        policySession : TPMI_SH_POLICY
            The session.
        writtenSet : TPMI_YES_NO
            Whether it shall have been written.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(PolicyNvWritten(live(self, policySession), writtenSet), sessions)

    def policy_template(
        self, policySession: TPMI_SH_POLICY, templateHash: TPM2B_DIGEST, *, sessions: Sessions = None
    ) -> None:
        """Limit a policy to the creation of one kind of object (Part 3, 23.21).

        Parameters
        ----------
        policySession : TPMI_SH_POLICY
            The session.
        templateHash : TPM2B_DIGEST
            Digest of the template.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(PolicyTemplate(live(self, policySession), templateHash), sessions)

    def policy_authorize_nv(
        self,
        authHandle: TPMI_RH_NV_AUTH,
        nvIndex: TPMI_RH_NV_INDEX,
        policySession: TPMI_SH_POLICY,
        *,
        sessions: Sessions = None,
    ) -> None:
        """Replace a policy that an NV index holds by that index (Part 3, 23.22).

        Parameters
        ----------
        authHandle : TPMI_RH_NV_AUTH
            Who authorizes.
        nvIndex : TPMI_RH_NV_INDEX
            The index.
        policySession : TPMI_SH_POLICY
            The session.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(
            PolicyAuthorizeNV(live(self, authHandle), live(self, nvIndex), live(self, policySession)), sessions
        )

    def policy_capability(
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
        """Continue a policy by a capability of the TPM (revision 1.83, TPM2_PolicyCapability).

        Parameters
        ----------
        policySession : TPMI_SH_POLICY
            The session.
        operandB : TPM2B_OPERAND
            What to compare with.
        offset : UINT16
            Where to start.
        operation : TPM_EO
            How to compare.
        capability : TPM_CAP
            What to compare.
        property : UINT32
            The property.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(
            PolicyCapability(live(self, policySession), operandB, offset, operation, capability, property), sessions
        )

    def policy_parameters(
        self, policySession: TPMI_SH_POLICY, pHash: TPM2B_DIGEST, *, sessions: Sessions = None
    ) -> None:
        """Limit a policy to a command with parameters, whatever its entities (revision 1.83, TPM2_PolicyParameters).

        Parameters
        ----------
        policySession : TPMI_SH_POLICY
            The session.
        pHash : TPM2B_DIGEST
            Digest of command code and parameters.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(PolicyParameters(live(self, policySession), pHash), sessions)

    def policy_transport_spdm(
        self,
        policySession: TPMI_SH_POLICY,
        reqKeyName: TPM2B_NAME,
        tpmKeyName: TPM2B_NAME,
        *,
        sessions: Sessions = None,
    ) -> None:
        """Limit a policy to commands from a secure channel (revision 1.83, TPM2_PolicyTransportSPDM).

        Parameters
        ----------
        policySession : TPMI_SH_POLICY
            The session.
        reqKeyName : TPM2B_NAME
            Name of the requester's key; empty for any.
        tpmKeyName : TPM2B_NAME
            Name of the TPM's key; empty for any.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(PolicyTransportSPDM(live(self, policySession), reqKeyName, tpmKeyName), sessions)
