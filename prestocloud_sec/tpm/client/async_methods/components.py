# SPDX-License-Identifier: Apache-2.0
# Written by scripts/tpm_client_methods.py from prestocloud_sec/tpm/spec/commands/components.py; edit that, and run it.
"""Attached components and countdown timers: a method for each command, to be awaited."""

from __future__ import annotations

from prestocloud_sec.tpm.client.core import Sessions
from prestocloud_sec.tpm.client.executor import AsyncExecutor, live
from prestocloud_sec.tpm.spec.commands.components import AC_GetCapability, AC_Send, ACT_SetTimeout, Policy_AC_SendSelect
from prestocloud_sec.tpm.spec.constants import TPM_AT
from prestocloud_sec.tpm.spec.interfaces import (
    TPMI_DH_OBJECT,
    TPMI_RH_AC,
    TPMI_RH_ACT,
    TPMI_RH_NV_AUTH,
    TPMI_SH_POLICY,
    TPMI_YES_NO,
    UINT32,
)
from prestocloud_sec.tpm.spec.structures.buffers import TPM2B_MAX_BUFFER, TPM2B_NAME
from prestocloud_sec.tpm.spec.structures.capabilities import TPMS_AC_OUTPUT

__all__ = ["AsyncComponentsMethods"]


class AsyncComponentsMethods(AsyncExecutor):
    """Attached components and countdown timers: a method for each command."""

    async def ac_get_capability(
        self, ac: TPMI_RH_AC, capability: TPM_AT, count: UINT32, *, sessions: Sessions = None
    ) -> AC_GetCapability.Response:
        """Return what an attached component is and has (Part 3, 32.2)."""
        return await self.execute(AC_GetCapability(live(self, ac), capability, count), sessions)

    async def ac_send(
        self,
        sendObject: TPMI_DH_OBJECT,
        authHandle: TPMI_RH_NV_AUTH,
        ac: TPMI_RH_AC,
        acDataIn: TPM2B_MAX_BUFFER,
        *,
        sessions: Sessions = None,
    ) -> TPMS_AC_OUTPUT:
        """Send an object to an attached component (Part 3, 32.3)."""
        response = await self.execute(
            AC_Send(live(self, sendObject), live(self, authHandle), live(self, ac), acDataIn), sessions
        )
        return response.acDataOut

    async def policy_ac_send_select(
        self,
        policySession: TPMI_SH_POLICY,
        objectName: TPM2B_NAME,
        authHandleName: TPM2B_NAME,
        acName: TPM2B_NAME,
        includeObject: TPMI_YES_NO,
        *,
        sessions: Sessions = None,
    ) -> None:
        """Limit a policy to sending to one attached component (Part 3, 32.4)."""
        await self.execute(
            Policy_AC_SendSelect(live(self, policySession), objectName, authHandleName, acName, includeObject), sessions
        )

    async def act_set_timeout(self, actHandle: TPMI_RH_ACT, startTimeout: UINT32, *, sessions: Sessions = None) -> None:
        """Start or stop a countdown timer (Part 3, 33.2)."""
        await self.execute(ACT_SetTimeout(live(self, actHandle), startTimeout), sessions)
