# SPDX-License-Identifier: Apache-2.0
# Written by scripts/tpm_client_methods.py from prestocloud_sec/tpm/spec/commands/components.py; edit that, and run it.
"""Attached components and countdown timers: a method for each command."""

from __future__ import annotations

from prestocloud_sec.tpm.client.core import Sessions
from prestocloud_sec.tpm.client.executor import Executor, live
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

__all__ = ["ComponentsMethods"]


class ComponentsMethods(Executor):
    """Attached components and countdown timers: a method for each command."""

    def ac_get_capability(
        self, ac: TPMI_RH_AC, capability: TPM_AT, count: UINT32, *, sessions: Sessions = None
    ) -> AC_GetCapability.Response:
        """Return what an attached component is and has (Part 3, 32.2).

        Parameters
        ----------
        ac : TPMI_RH_AC
            The component.
        capability : TPM_AT
            First of what to ask for.
        count : UINT32
            Most of them.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        AC_GetCapability.Response
            With moreData, capabilitiesData.
        """
        return self.execute(AC_GetCapability(live(self, ac), capability, count), sessions)

    def ac_send(
        self,
        sendObject: TPMI_DH_OBJECT,
        authHandle: TPMI_RH_NV_AUTH,
        ac: TPMI_RH_AC,
        acDataIn: TPM2B_MAX_BUFFER,
        *,
        sessions: Sessions = None,
    ) -> TPMS_AC_OUTPUT:
        """Send an object to an attached component (Part 3, 32.3).

        Parameters
        ----------
        sendObject : TPMI_DH_OBJECT
            The object.
        authHandle : TPMI_RH_NV_AUTH
            Who authorizes it.
        ac : TPMI_RH_AC
            The component.
        acDataIn : TPM2B_MAX_BUFFER
            Data of the component's own.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        TPMS_AC_OUTPUT
            Answer of the component.
        """
        return self.execute(
            AC_Send(live(self, sendObject), live(self, authHandle), live(self, ac), acDataIn), sessions
        ).acDataOut

    def policy_ac_send_select(
        self,
        policySession: TPMI_SH_POLICY,
        objectName: TPM2B_NAME,
        authHandleName: TPM2B_NAME,
        acName: TPM2B_NAME,
        includeObject: TPMI_YES_NO,
        *,
        sessions: Sessions = None,
    ) -> None:
        """Limit a policy to sending to one attached component (Part 3, 32.4).

        Parameters
        ----------
        policySession : TPMI_SH_POLICY
            The session.
        objectName : TPM2B_NAME
            Name of the object.
        authHandleName : TPM2B_NAME
            Name of what authorizes.
        acName : TPM2B_NAME
            Name of the component.
        includeObject : TPMI_YES_NO
            Whether the object is part of the policy.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(
            Policy_AC_SendSelect(live(self, policySession), objectName, authHandleName, acName, includeObject), sessions
        )

    def act_set_timeout(self, actHandle: TPMI_RH_ACT, startTimeout: UINT32, *, sessions: Sessions = None) -> None:
        """Start or stop a countdown timer (Part 3, 33.2).

        Parameters
        ----------
        actHandle : TPMI_RH_ACT
            The timer.
        startTimeout : UINT32
            Seconds; 0 stops it.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(ACT_SetTimeout(live(self, actHandle), startTimeout), sessions)
