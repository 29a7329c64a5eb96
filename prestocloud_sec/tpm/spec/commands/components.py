# SPDX-License-Identifier: Apache-2.0
"""Attached components and countdown timers: commands of TPM 2.0 (Library, Part 3, clauses 32 and 33)."""

from __future__ import annotations

from prestocloud_sec.tpm.spec.constants import TPM_AT, TPM_CC
from prestocloud_sec.tpm.spec.declare import AuthRole, Command, SessionUse, handle
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
from prestocloud_sec.tpm.spec.structures.capabilities import TPML_AC_CAPABILITIES, TPMS_AC_OUTPUT

__all__ = [
    "ACT_SetTimeout",
    "AC_GetCapability",
    "AC_Send",
    "Policy_AC_SendSelect",
]


class AC_GetCapability(Command):
    """Return what an attached component is and has (Part 3, 32.2)."""

    code = TPM_CC.AC_GetCapability

    ac: TPMI_RH_AC = handle()
    """The component."""
    capability: TPM_AT
    """First of what to ask for."""
    count: UINT32
    """Most of them."""

    class Response(Command.Response):
        """What comes back."""

        moreData: TPMI_YES_NO
        """Whether there are more."""
        capabilitiesData: TPML_AC_CAPABILITIES
        """The answer."""


class AC_Send(Command):
    """Send an object to an attached component (Part 3, 32.3)."""

    code = TPM_CC.AC_Send

    sendObject: TPMI_DH_OBJECT = handle(auth=AuthRole.DUP)
    """The object."""
    authHandle: TPMI_RH_NV_AUTH = handle(auth=AuthRole.USER)
    """Who authorizes it."""
    ac: TPMI_RH_AC = handle()
    """The component."""
    acDataIn: TPM2B_MAX_BUFFER
    """Data of the component's own."""

    class Response(Command.Response):
        """What comes back."""

        acDataOut: TPMS_AC_OUTPUT
        """Answer of the component."""


class Policy_AC_SendSelect(Command):
    """Limit a policy to sending to one attached component (Part 3, 32.4)."""

    code = TPM_CC.Policy_AC_SendSelect
    sessions = SessionUse.REQUIRED

    policySession: TPMI_SH_POLICY = handle()
    """The session."""
    objectName: TPM2B_NAME
    """Name of the object."""
    authHandleName: TPM2B_NAME
    """Name of what authorizes."""
    acName: TPM2B_NAME
    """Name of the component."""
    includeObject: TPMI_YES_NO
    """Whether the object is part of the policy."""

    class Response(Command.Response):
        """Nothing comes back."""


class ACT_SetTimeout(Command):
    """Start or stop a countdown timer (Part 3, 33.2)."""

    code = TPM_CC.ACT_SetTimeout

    actHandle: TPMI_RH_ACT = handle(auth=AuthRole.USER)
    """The timer."""
    startTimeout: UINT32
    """Seconds; 0 stops it."""

    class Response(Command.Response):
        """Nothing comes back."""
