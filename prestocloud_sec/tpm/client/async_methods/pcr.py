# SPDX-License-Identifier: Apache-2.0
# Written by scripts/tpm_client_methods.py from prestocloud_sec/tpm/spec/commands/pcr.py; edit that, and run it.
"""Platform configuration registers: a method for each command, to be awaited."""

from __future__ import annotations

from prestocloud_sec.tpm.client.core import Sessions
from prestocloud_sec.tpm.client.executor import AsyncExecutor, live
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

__all__ = ["AsyncPcrMethods"]


class AsyncPcrMethods(AsyncExecutor):
    """Platform configuration registers: a method for each command."""

    async def pcr_extend(
        self, pcrHandle: OrNull[TPMI_DH_PCR], digests: TPML_DIGEST_VALUES, *, sessions: Sessions = None
    ) -> None:
        """Extend a PCR with digests (Part 3, 22.2)."""
        await self.execute(PCR_Extend(live(self, pcrHandle), digests), sessions)

    async def pcr_event(
        self, pcrHandle: OrNull[TPMI_DH_PCR], eventData: TPM2B_EVENT, *, sessions: Sessions = None
    ) -> TPML_DIGEST_VALUES:
        """Hash an event, and extend a PCR with its digests (Part 3, 22.3)."""
        response = await self.execute(PCR_Event(live(self, pcrHandle), eventData), sessions)
        return response.digests

    async def pcr_read(self, pcrSelectionIn: TPML_PCR_SELECTION, *, sessions: Sessions = None) -> PCR_Read.Response:
        """Return values of PCRs, as many as fit (Part 3, 22.4)."""
        return await self.execute(PCR_Read(pcrSelectionIn), sessions)

    async def pcr_allocate(
        self, authHandle: TPMI_RH_PLATFORM, pcrAllocation: TPML_PCR_SELECTION, *, sessions: Sessions = None
    ) -> PCR_Allocate.Response:
        """Choose the PCRs that each bank has, from the next start on (Part 3, 22.5)."""
        return await self.execute(PCR_Allocate(live(self, authHandle), pcrAllocation), sessions)

    async def pcr_set_auth_policy(
        self,
        authHandle: TPMI_RH_PLATFORM,
        authPolicy: TPM2B_DIGEST,
        hashAlg: OrNull[TPMI_ALG_HASH],
        pcrNum: TPMI_DH_PCR,
        *,
        sessions: Sessions = None,
    ) -> None:
        """Set the policy of a PCR (Part 3, 22.6)."""
        await self.execute(PCR_SetAuthPolicy(live(self, authHandle), authPolicy, hashAlg, pcrNum), sessions)

    async def pcr_set_auth_value(
        self, pcrHandle: TPMI_DH_PCR, auth: Secret[TPM2B_DIGEST], *, sessions: Sessions = None
    ) -> None:
        """Set the authValue of a PCR (Part 3, 22.7)."""
        await self.execute(PCR_SetAuthValue(live(self, pcrHandle), auth), sessions)

    async def pcr_reset(self, pcrHandle: TPMI_DH_PCR, *, sessions: Sessions = None) -> None:
        """Set a PCR to its start value (Part 3, 22.8)."""
        await self.execute(PCR_Reset(live(self, pcrHandle)), sessions)
