# SPDX-License-Identifier: Apache-2.0
"""Enhanced authorization: commands of TPM 2.0 (Library, Part 3, clause 23)."""

from __future__ import annotations

from typing import Annotated

from prestocloud_sec.tpm.spec.attributes import TPMA_LOCALITY
from prestocloud_sec.tpm.spec.constants import TPM_CAP, TPM_CC, TPM_EO
from prestocloud_sec.tpm.spec.declare import AtLeast, AuthRole, Command, handle
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

__all__ = [
    "PolicyAuthValue",
    "PolicyAuthorize",
    "PolicyAuthorizeNV",
    "PolicyCapability",
    "PolicyCommandCode",
    "PolicyCounterTimer",
    "PolicyCpHash",
    "PolicyDuplicationSelect",
    "PolicyGetDigest",
    "PolicyLocality",
    "PolicyNV",
    "PolicyNameHash",
    "PolicyNvWritten",
    "PolicyOR",
    "PolicyPCR",
    "PolicyParameters",
    "PolicyPassword",
    "PolicyPhysicalPresence",
    "PolicySecret",
    "PolicySigned",
    "PolicyTemplate",
    "PolicyTicket",
    "PolicyTransportSPDM",
]


class PolicySigned(Command):
    """Continue a policy by an authorization that a key signed (Part 3, 23.3)."""

    code = TPM_CC.PolicySigned

    authObject: TPMI_DH_OBJECT = handle()
    """The key that signed."""
    policySession: TPMI_SH_POLICY = handle()
    """The session."""
    nonceTPM: TPM2B_NONCE
    """Nonce of the TPM; empty for any session."""
    cpHashA: TPM2B_DIGEST
    """CpHash of the one command; empty for any."""
    policyRef: TPM2B_NONCE
    """What tells this authorization from others; may be empty."""
    expiration: INT32
    """Seconds from the start of the session; negative for a ticket, 0 for no limit."""
    auth: TPMT_SIGNATURE
    """The signature."""

    class Response(Command.Response):
        """What comes back."""

        timeout: TPM2B_TIMEOUT
        """When the authorization ends."""
        policyTicket: TPMT_TK_AUTH
        """Ticket for PolicyTicket."""


class PolicySecret(Command):
    """Continue a policy by the authValue of an entity (Part 3, 23.4)."""

    code = TPM_CC.PolicySecret

    authHandle: TPMI_DH_ENTITY = handle(auth=AuthRole.USER)
    """Who authorizes."""
    policySession: TPMI_SH_POLICY = handle()
    """The session."""
    nonceTPM: TPM2B_NONCE
    """Nonce of the TPM; empty for any session."""
    cpHashA: TPM2B_DIGEST
    """CpHash of the one command; empty for any."""
    policyRef: TPM2B_NONCE
    """What tells this authorization from others; may be empty."""
    expiration: INT32
    """Seconds from the start of the session; negative for a ticket, 0 for no limit."""

    class Response(Command.Response):
        """What comes back."""

        timeout: TPM2B_TIMEOUT
        """When the authorization ends."""
        policyTicket: TPMT_TK_AUTH
        """Ticket for PolicyTicket."""


class PolicyTicket(Command):
    """Continue a policy by a ticket of PolicySigned or PolicySecret (Part 3, 23.5)."""

    code = TPM_CC.PolicyTicket

    policySession: TPMI_SH_POLICY = handle()
    """The session."""
    timeout: TPM2B_TIMEOUT
    """Timeout of the authorization."""
    cpHashA: TPM2B_DIGEST
    """CpHash of the authorization."""
    policyRef: TPM2B_NONCE
    """PolicyRef of the authorization."""
    authName: TPM2B_NAME
    """Name of what authorized."""
    ticket: TPMT_TK_AUTH
    """The ticket."""

    class Response(Command.Response):
        """Nothing comes back."""


class PolicyOR(Command):
    """Continue a policy if it satisfied one of several branches (Part 3, 23.6)."""

    code = TPM_CC.PolicyOR

    policySession: TPMI_SH_POLICY = handle()
    """The session."""
    pHashList: Annotated[TPML_DIGEST, AtLeast(2)]
    """The branches, one of which is the policy so far."""

    class Response(Command.Response):
        """Nothing comes back."""


class PolicyPCR(Command):
    """Continue a policy if PCRs have given values (Part 3, 23.7)."""

    code = TPM_CC.PolicyPCR

    policySession: TPMI_SH_POLICY = handle()
    """The session."""
    pcrDigest: TPM2B_DIGEST
    """Digest of their values; empty for those of now."""
    pcrs: TPML_PCR_SELECTION
    """The PCRs."""

    class Response(Command.Response):
        """Nothing comes back."""


class PolicyLocality(Command):
    """Limit a policy to localities (Part 3, 23.8)."""

    code = TPM_CC.PolicyLocality

    policySession: TPMI_SH_POLICY = handle()
    """The session."""
    locality: TPMA_LOCALITY
    """The localities."""

    class Response(Command.Response):
        """Nothing comes back."""


class PolicyNV(Command):
    """Continue a policy by the contents of an NV index (Part 3, 23.9)."""

    code = TPM_CC.PolicyNV

    authHandle: TPMI_RH_NV_AUTH = handle(auth=AuthRole.USER)
    """Who authorizes."""
    nvIndex: TPMI_RH_NV_INDEX = handle()
    """The index."""
    policySession: TPMI_SH_POLICY = handle()
    """The session."""
    operandB: TPM2B_OPERAND
    """What to compare with."""
    offset: UINT16
    """Where to start."""
    operation: TPM_EO
    """How to compare."""

    class Response(Command.Response):
        """Nothing comes back."""


class PolicyCounterTimer(Command):
    """Continue a policy by time, clock or their counters (Part 3, 23.10)."""

    code = TPM_CC.PolicyCounterTimer

    policySession: TPMI_SH_POLICY = handle()
    """The session."""
    operandB: TPM2B_OPERAND
    """What to compare with."""
    offset: UINT16
    """Where to start."""
    operation: TPM_EO
    """How to compare."""

    class Response(Command.Response):
        """Nothing comes back."""


class PolicyCommandCode(Command):
    """Limit a policy to one command (Part 3, 23.11)."""

    code = TPM_CC.PolicyCommandCode

    policySession: TPMI_SH_POLICY = handle()
    """The session."""
    code_: TPM_CC
    """The command."""

    class Response(Command.Response):
        """Nothing comes back."""


class PolicyPhysicalPresence(Command):
    """Limit a policy to physical presence (Part 3, 23.12)."""

    code = TPM_CC.PolicyPhysicalPresence

    policySession: TPMI_SH_POLICY = handle()
    """The session."""

    class Response(Command.Response):
        """Nothing comes back."""


class PolicyCpHash(Command):
    """Limit a policy to one command with its parameters (Part 3, 23.13)."""

    code = TPM_CC.PolicyCpHash

    policySession: TPMI_SH_POLICY = handle()
    """The session."""
    cpHashA: TPM2B_DIGEST
    """CpHash of the command."""

    class Response(Command.Response):
        """Nothing comes back."""


class PolicyNameHash(Command):
    """Limit a policy to the entities of a command (Part 3, 23.14)."""

    code = TPM_CC.PolicyNameHash

    policySession: TPMI_SH_POLICY = handle()
    """The session."""
    nameHash: TPM2B_DIGEST
    """Digest of the Names."""

    class Response(Command.Response):
        """Nothing comes back."""


class PolicyDuplicationSelect(Command):
    """Limit a policy to duplication to one parent (Part 3, 23.15)."""

    code = TPM_CC.PolicyDuplicationSelect

    policySession: TPMI_SH_POLICY = handle()
    """The session."""
    objectName: TPM2B_NAME
    """Name of the object."""
    newParentName: TPM2B_NAME
    """Name of the new parent."""
    includeObject: TPMI_YES_NO
    """Whether the object is part of the policy."""

    class Response(Command.Response):
        """Nothing comes back."""


class PolicyAuthorize(Command):
    """Replace a policy that a key approved by that approval (Part 3, 23.16)."""

    code = TPM_CC.PolicyAuthorize

    policySession: TPMI_SH_POLICY = handle()
    """The session."""
    approvedPolicy: TPM2B_DIGEST
    """The policy that was approved."""
    policyRef: TPM2B_NONCE
    """What was signed with the policy; may be empty."""
    keySign: TPM2B_NAME
    """Name of the key that approved it."""
    checkTicket: TPMT_TK_VERIFIED
    """Ticket of VerifySignature."""

    class Response(Command.Response):
        """Nothing comes back."""


class PolicyAuthValue(Command):
    """Add the authValue of the entity to the HMAC of the policy session (Part 3, 23.17)."""

    code = TPM_CC.PolicyAuthValue

    policySession: TPMI_SH_POLICY = handle()
    """The session."""

    class Response(Command.Response):
        """Nothing comes back."""


class PolicyPassword(Command):
    """Add the authValue of the entity, in clear, to the policy session (Part 3, 23.18)."""

    code = TPM_CC.PolicyPassword

    policySession: TPMI_SH_POLICY = handle()
    """The session."""

    class Response(Command.Response):
        """Nothing comes back."""


class PolicyGetDigest(Command):
    """Return the policy digest of a session (Part 3, 23.19)."""

    code = TPM_CC.PolicyGetDigest

    policySession: TPMI_SH_POLICY = handle()
    """The session."""

    class Response(Command.Response):
        """What comes back."""

        policyDigest: TPM2B_DIGEST
        """The digest."""


class PolicyNvWritten(Command):
    """Continue a policy by whether an NV index was written (Part 3, 23.20)."""

    code = TPM_CC.PolicyNvWritten

    policySession: TPMI_SH_POLICY = handle()
    """The session."""
    writtenSet: TPMI_YES_NO
    """Whether it shall have been written."""

    class Response(Command.Response):
        """Nothing comes back."""


class PolicyTemplate(Command):
    """Limit a policy to the creation of one kind of object (Part 3, 23.21)."""

    code = TPM_CC.PolicyTemplate

    policySession: TPMI_SH_POLICY = handle()
    """The session."""
    templateHash: TPM2B_DIGEST
    """Digest of the template."""

    class Response(Command.Response):
        """Nothing comes back."""


class PolicyAuthorizeNV(Command):
    """Replace a policy that an NV index holds by that index (Part 3, 23.22)."""

    code = TPM_CC.PolicyAuthorizeNV

    authHandle: TPMI_RH_NV_AUTH = handle(auth=AuthRole.USER)
    """Who authorizes."""
    nvIndex: TPMI_RH_NV_INDEX = handle()
    """The index."""
    policySession: TPMI_SH_POLICY = handle()
    """The session."""

    class Response(Command.Response):
        """Nothing comes back."""


class PolicyCapability(Command):
    """Continue a policy by a capability of the TPM (revision 1.83, TPM2_PolicyCapability)."""

    code = TPM_CC.PolicyCapability

    policySession: TPMI_SH_POLICY = handle()
    """The session."""
    operandB: TPM2B_OPERAND
    """What to compare with."""
    offset: UINT16
    """Where to start."""
    operation: TPM_EO
    """How to compare."""
    capability: TPM_CAP
    """What to compare."""
    property: UINT32
    """The property."""

    class Response(Command.Response):
        """Nothing comes back."""


class PolicyParameters(Command):
    """Limit a policy to a command with parameters, whatever its entities (revision 1.83, TPM2_PolicyParameters)."""

    code = TPM_CC.PolicyParameters

    policySession: TPMI_SH_POLICY = handle()
    """The session."""
    pHash: TPM2B_DIGEST
    """Digest of command code and parameters."""

    class Response(Command.Response):
        """Nothing comes back."""


class PolicyTransportSPDM(Command):
    """Limit a policy to commands from a secure channel (revision 1.83, TPM2_PolicyTransportSPDM)."""

    code = TPM_CC.PolicyTransportSPDM

    policySession: TPMI_SH_POLICY = handle()
    """The session."""
    reqKeyName: TPM2B_NAME
    """Name of the requester's key; empty for any."""
    tpmKeyName: TPM2B_NAME
    """Name of the TPM's key; empty for any."""

    class Response(Command.Response):
        """Nothing comes back."""
