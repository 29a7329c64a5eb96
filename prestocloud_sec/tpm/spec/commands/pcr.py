# SPDX-License-Identifier: Apache-2.0
"""Platform configuration registers: commands of TPM 2.0 (Library, Part 3, clause 22)."""

from __future__ import annotations

from prestocloud_sec.tpm.spec.constants import TPM_CC
from prestocloud_sec.tpm.spec.declare import AuthRole, Command, OrNull, Secret, handle
from prestocloud_sec.tpm.spec.interfaces import TPMI_ALG_HASH, TPMI_DH_PCR, TPMI_RH_PLATFORM, TPMI_YES_NO, UINT32
from prestocloud_sec.tpm.spec.structures.basic import TPML_DIGEST, TPML_DIGEST_VALUES, TPML_PCR_SELECTION
from prestocloud_sec.tpm.spec.structures.buffers import TPM2B_DIGEST, TPM2B_EVENT

__all__ = [
    "PCR_Allocate",
    "PCR_Event",
    "PCR_Extend",
    "PCR_Read",
    "PCR_Reset",
    "PCR_SetAuthPolicy",
    "PCR_SetAuthValue",
]


class PCR_Extend(Command):
    """Extend a PCR with digests (Part 3, 22.2)."""

    code = TPM_CC.PCR_Extend
    nv = True

    pcrHandle: OrNull[TPMI_DH_PCR] = handle(auth=AuthRole.USER)
    """The PCR."""
    digests: TPML_DIGEST_VALUES
    """Digests, at most one of each bank."""

    class Response(Command.Response):
        """Nothing comes back."""


class PCR_Event(Command):
    """Hash an event, and extend a PCR with its digests (Part 3, 22.3)."""

    code = TPM_CC.PCR_Event
    nv = True

    pcrHandle: OrNull[TPMI_DH_PCR] = handle(auth=AuthRole.USER)
    """The PCR."""
    eventData: TPM2B_EVENT
    """The event."""

    class Response(Command.Response):
        """What comes back."""

        digests: TPML_DIGEST_VALUES
        """Its digests, one of each bank."""


class PCR_Read(Command):
    """Return values of PCRs, as many as fit (Part 3, 22.4)."""

    code = TPM_CC.PCR_Read

    pcrSelectionIn: TPML_PCR_SELECTION
    """The PCRs."""

    class Response(Command.Response):
        """What comes back."""

        pcrUpdateCounter: UINT32
        """How often PCRs were changed."""
        pcrSelectionOut: TPML_PCR_SELECTION
        """The PCRs returned."""
        pcrValues: TPML_DIGEST
        """Their values."""


class PCR_Allocate(Command):
    """Choose the PCRs that each bank has, from the next start on (Part 3, 22.5)."""

    code = TPM_CC.PCR_Allocate
    nv = True

    authHandle: TPMI_RH_PLATFORM = handle(auth=AuthRole.USER)
    """Who authorizes."""
    pcrAllocation: TPML_PCR_SELECTION
    """For each bank the PCRs it shall have."""

    class Response(Command.Response):
        """What comes back."""

        allocationSuccess: TPMI_YES_NO
        """Whether the TPM can do it."""
        maxPCR: UINT32
        """Most PCRs of a bank."""
        sizeNeeded: UINT32
        """Bytes that it would take."""
        sizeAvailable: UINT32
        """Bytes that there are."""


class PCR_SetAuthPolicy(Command):
    """Set the policy of a PCR (Part 3, 22.6)."""

    code = TPM_CC.PCR_SetAuthPolicy
    nv = True

    authHandle: TPMI_RH_PLATFORM = handle(auth=AuthRole.USER)
    """Who authorizes."""
    authPolicy: TPM2B_DIGEST
    """The policy; empty for none."""
    hashAlg: OrNull[TPMI_ALG_HASH]
    """Hash of the policy."""
    pcrNum: TPMI_DH_PCR
    """The PCR."""

    class Response(Command.Response):
        """Nothing comes back."""


class PCR_SetAuthValue(Command):
    """Set the authValue of a PCR (Part 3, 22.7)."""

    code = TPM_CC.PCR_SetAuthValue

    pcrHandle: TPMI_DH_PCR = handle(auth=AuthRole.USER)
    """The PCR."""
    auth: Secret[TPM2B_DIGEST]
    """The new authValue."""

    class Response(Command.Response):
        """Nothing comes back."""


class PCR_Reset(Command):
    """Set a PCR to its start value (Part 3, 22.8)."""

    code = TPM_CC.PCR_Reset
    nv = True

    pcrHandle: TPMI_DH_PCR = handle(auth=AuthRole.USER)
    """The PCR."""

    class Response(Command.Response):
        """Nothing comes back."""
