# SPDX-License-Identifier: Apache-2.0
# Written by scripts/tpm_client_methods.py from prestocloud_sec/tpm/spec/commands/pcr.py; edit that, and run it.
"""Platform configuration registers: a method for each command."""

from __future__ import annotations

from prestocloud_sec.tpm.client.core import Sessions
from prestocloud_sec.tpm.client.executor import Executor, live
from prestocloud_sec.tpm.spec.commands.pcr import (
    PCR_Allocate,
    PCR_Event,
    PCR_Extend,
    PCR_Read,
    PCR_Reset,
    PCR_SetAuthPolicy,
    PCR_SetAuthValue,
)
from prestocloud_sec.tpm.spec.declare import OrNull, Secret
from prestocloud_sec.tpm.spec.interfaces import TPMI_ALG_HASH, TPMI_DH_PCR, TPMI_RH_PLATFORM
from prestocloud_sec.tpm.spec.structures.basic import TPML_DIGEST_VALUES, TPML_PCR_SELECTION
from prestocloud_sec.tpm.spec.structures.buffers import TPM2B_DIGEST, TPM2B_EVENT

__all__ = ["PcrMethods"]


class PcrMethods(Executor):
    """Platform configuration registers: a method for each command."""

    def pcr_extend(
        self, pcrHandle: OrNull[TPMI_DH_PCR], digests: TPML_DIGEST_VALUES, *, sessions: Sessions = None
    ) -> None:
        """Extend a PCR with digests (Part 3, 22.2).

        Parameters
        ----------
        pcrHandle : OrNull[TPMI_DH_PCR]
            The PCR.
        digests : TPML_DIGEST_VALUES
            Digests, at most one of each bank.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(PCR_Extend(live(self, pcrHandle), digests), sessions)

    def pcr_event(
        self, pcrHandle: OrNull[TPMI_DH_PCR], eventData: TPM2B_EVENT, *, sessions: Sessions = None
    ) -> TPML_DIGEST_VALUES:
        """Hash an event, and extend a PCR with its digests (Part 3, 22.3).

        Parameters
        ----------
        pcrHandle : OrNull[TPMI_DH_PCR]
            The PCR.
        eventData : TPM2B_EVENT
            The event.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        TPML_DIGEST_VALUES
            Its digests, one of each bank.
        """
        return self.execute(PCR_Event(live(self, pcrHandle), eventData), sessions).digests

    def pcr_read(self, pcrSelectionIn: TPML_PCR_SELECTION, *, sessions: Sessions = None) -> PCR_Read.Response:
        """Return values of PCRs, as many as fit (Part 3, 22.4).

        Parameters
        ----------
        pcrSelectionIn : TPML_PCR_SELECTION
            The PCRs.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        PCR_Read.Response
            With pcrUpdateCounter, pcrSelectionOut, pcrValues.
        """
        return self.execute(PCR_Read(pcrSelectionIn), sessions)

    def pcr_allocate(
        self, authHandle: TPMI_RH_PLATFORM, pcrAllocation: TPML_PCR_SELECTION, *, sessions: Sessions = None
    ) -> PCR_Allocate.Response:
        """Choose the PCRs that each bank has, from the next start on (Part 3, 22.5).

        Parameters
        ----------
        authHandle : TPMI_RH_PLATFORM
            Who authorizes.
        pcrAllocation : TPML_PCR_SELECTION
            For each bank the PCRs it shall have.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        PCR_Allocate.Response
            With allocationSuccess, maxPCR, sizeNeeded, sizeAvailable.
        """
        return self.execute(PCR_Allocate(live(self, authHandle), pcrAllocation), sessions)

    def pcr_set_auth_policy(
        self,
        authHandle: TPMI_RH_PLATFORM,
        authPolicy: TPM2B_DIGEST,
        hashAlg: OrNull[TPMI_ALG_HASH],
        pcrNum: TPMI_DH_PCR,
        *,
        sessions: Sessions = None,
    ) -> None:
        """Set the policy of a PCR (Part 3, 22.6).

        Parameters
        ----------
        authHandle : TPMI_RH_PLATFORM
            Who authorizes.
        authPolicy : TPM2B_DIGEST
            The policy; empty for none.
        hashAlg : OrNull[TPMI_ALG_HASH]
            Hash of the policy.
        pcrNum : TPMI_DH_PCR
            The PCR.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(PCR_SetAuthPolicy(live(self, authHandle), authPolicy, hashAlg, pcrNum), sessions)

    def pcr_set_auth_value(
        self, pcrHandle: TPMI_DH_PCR, auth: Secret[TPM2B_DIGEST], *, sessions: Sessions = None
    ) -> None:
        """Set the authValue of a PCR (Part 3, 22.7).

        Parameters
        ----------
        pcrHandle : TPMI_DH_PCR
            The PCR.
        auth : Secret[TPM2B_DIGEST]
            The new authValue.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(PCR_SetAuthValue(live(self, pcrHandle), auth), sessions)

    def pcr_reset(self, pcrHandle: TPMI_DH_PCR, *, sessions: Sessions = None) -> None:
        """Set a PCR to its start value (Part 3, 22.8).

        Parameters
        ----------
        pcrHandle : TPMI_DH_PCR
            The PCR.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(PCR_Reset(live(self, pcrHandle)), sessions)
