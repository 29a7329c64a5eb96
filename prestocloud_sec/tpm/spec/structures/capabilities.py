# SPDX-License-Identifier: Apache-2.0
"""What a TPM tells about itself (TPM 2.0 Library, Part 2, clauses 10.8 to 10.10 and 16).

Tables are numbered as in revision 1.59.
"""

from __future__ import annotations

from typing import Annotated, Any

from prestocloud_sec.tpm.spec.attributes import TPMA_ACT, TPMA_ALGORITHM
from prestocloud_sec.tpm.spec.constants import TPM_ALG_ID, TPM_AT, TPM_CAP, TPM_ECC_CURVE, TPM_PT, TPM_PT_PCR
from prestocloud_sec.tpm.spec.declare import Boxed, Listed, Member, OrNull, Structure, Union, selected_by
from prestocloud_sec.tpm.spec.interfaces import TPM_HANDLE, UINT32
from prestocloud_sec.tpm.spec.structures.basic import (
    TPML_CC,
    TPML_CCA,
    TPML_HANDLE,
    TPML_PCR_SELECTION,
    TPMT_HA,
    pcrs_of,
)
from prestocloud_sec.tpm.spec.structures.buffers import PCR_BITMAP, TPM2B_NAME, TPM2B_VENDOR_PROPERTY
from prestocloud_sec.tpm.spec.structures.objects import TPM2B_PUBLIC

__all__ = [
    "TPM2B_SET_CAPABILITY_DATA",
    "TPML_ACT_DATA",
    "TPML_AC_CAPABILITIES",
    "TPML_ALG_PROPERTY",
    "TPML_ECC_CURVE",
    "TPML_PUB_KEY",
    "TPML_SPDM_SESSION_INFO",
    "TPML_TAGGED_PCR_PROPERTY",
    "TPML_TAGGED_POLICY",
    "TPML_TAGGED_TPM_PROPERTY",
    "TPML_VENDOR_PROPERTY",
    "TPMS_ACT_DATA",
    "TPMS_AC_OUTPUT",
    "TPMS_ALG_PROPERTY",
    "TPMS_CAPABILITY_DATA",
    "TPMS_SET_CAPABILITY_DATA",
    "TPMS_SPDM_SESSION_INFO",
    "TPMS_TAGGED_PCR_SELECT",
    "TPMS_TAGGED_POLICY",
    "TPMS_TAGGED_PROPERTY",
    "TPMU_CAPABILITIES",
    "TPMU_SET_CAPABILITIES",
]


class TPMS_ALG_PROPERTY(Structure):
    """An algorithm and what it does (Part 2, table 101)."""

    alg: TPM_ALG_ID
    """The algorithm."""
    algProperties: TPMA_ALGORITHM
    """What it is and does."""


class TPMS_TAGGED_PROPERTY(Structure):
    """A property of the TPM (Part 2, table 102)."""

    property: TPM_PT
    """Which."""
    value: UINT32
    """Its value."""


class TPMS_TAGGED_PCR_SELECT(Structure):
    """A property of PCRs (Part 2, table 103)."""

    tag: TPM_PT_PCR
    """Which."""
    pcrSelect: PCR_BITMAP
    """The PCRs that have it, by bit."""

    @property
    def pcrs(self) -> tuple[int, ...]:
        """The selected PCRs, ascending."""
        return pcrs_of(self.pcrSelect)


class TPMS_TAGGED_POLICY(Structure):
    """Policy of a permanent handle (Part 2, table 104)."""

    handle: TPM_HANDLE
    """The handle."""
    policyHash: OrNull[TPMT_HA]
    """Its policy; TPMs answer NULL where there is none."""


class TPMS_ACT_DATA(Structure):
    """An authenticated countdown timer (Part 2, table 105)."""

    handle: TPM_HANDLE
    """Its handle."""
    timeout: UINT32
    """Seconds left."""
    attributes: TPMA_ACT
    """Its state."""


class TPMS_SPDM_SESSION_INFO(Structure):
    """Keys of a secure channel (revision 1.83)."""

    reqKeyName: TPM2B_NAME
    """Name of the requester's key; empty for none."""
    tpmKeyName: TPM2B_NAME
    """Name of the TPM's key; empty for none."""


class TPMS_AC_OUTPUT(Structure):
    """What an attached component reports (Part 2, table 227)."""

    tag: TPM_AT
    """What it is."""
    data: UINT32
    """Its value."""


TPML_ALG_PROPERTY = Annotated[tuple[TPMS_ALG_PROPERTY, ...], Listed(255, "algProperties")]
"""Algorithms (Part 2, table 113)."""

TPML_TAGGED_TPM_PROPERTY = Annotated[tuple[TPMS_TAGGED_PROPERTY, ...], Listed(255, "tpmProperty")]
"""Properties of the TPM (Part 2, table 114)."""

TPML_TAGGED_PCR_PROPERTY = Annotated[tuple[TPMS_TAGGED_PCR_SELECT, ...], Listed(255, "pcrProperty")]
"""Properties of PCRs (Part 2, table 115)."""

TPML_ECC_CURVE = Annotated[tuple[TPM_ECC_CURVE, ...], Listed(512, "eccCurves")]
"""Curves (Part 2, table 116)."""

TPML_TAGGED_POLICY = Annotated[tuple[TPMS_TAGGED_POLICY, ...], Listed(64, "policies")]
"""Policies of permanent handles (Part 2, table 117)."""

TPML_ACT_DATA = Annotated[tuple[TPMS_ACT_DATA, ...], Listed(64, "actData")]
"""Authenticated countdown timers (Part 2, table 118)."""

TPML_AC_CAPABILITIES = Annotated[tuple[TPMS_AC_OUTPUT, ...], Listed(128, "acCapabilities")]
"""What an attached component reports (Part 2, table 228)."""

TPML_SPDM_SESSION_INFO = Annotated[tuple[TPMS_SPDM_SESSION_INFO, ...], Listed(16, "spdmSessionInfo")]
"""Secure channels (revision 1.83)."""

TPML_VENDOR_PROPERTY = Annotated[tuple[TPM2B_VENDOR_PROPERTY, ...], Listed(64, "vendorData")]
"""Properties of the vendor (revision 1.83)."""

TPML_PUB_KEY = Annotated[tuple[TPM2B_PUBLIC, ...], Listed(16, "pubKeys")]
"""Public keys of the TPM (revision 1.83)."""

TPMU_CAPABILITIES = Annotated[
    tuple[Any, ...],
    Union(
        Member("algorithms", TPML_ALG_PROPERTY, (TPM_CAP.ALGS,)),
        Member("handles", TPML_HANDLE, (TPM_CAP.HANDLES,)),
        Member("command", TPML_CCA, (TPM_CAP.COMMANDS,)),
        Member("ppCommands", TPML_CC, (TPM_CAP.PP_COMMANDS,)),
        Member("auditCommands", TPML_CC, (TPM_CAP.AUDIT_COMMANDS,)),
        Member("assignedPCR", TPML_PCR_SELECTION, (TPM_CAP.PCRS,)),
        Member("tpmProperties", TPML_TAGGED_TPM_PROPERTY, (TPM_CAP.TPM_PROPERTIES,)),
        Member("pcrProperties", TPML_TAGGED_PCR_PROPERTY, (TPM_CAP.PCR_PROPERTIES,)),
        Member("eccCurves", TPML_ECC_CURVE, (TPM_CAP.ECC_CURVES,)),
        Member("authPolicies", TPML_TAGGED_POLICY, (TPM_CAP.AUTH_POLICIES,)),
        Member("actData", TPML_ACT_DATA, (TPM_CAP.ACT,)),
        Member("pubKeys", TPML_PUB_KEY, (TPM_CAP.PUB_KEYS,)),
        Member("spdmSessionInfo", TPML_SPDM_SESSION_INFO, (TPM_CAP.SPDM_SESSION_INFO,)),
    ),
]
"""The answer to TPM2_GetCapability, by what was asked for (Part 2, table 119)."""


class TPMS_CAPABILITY_DATA(Structure):
    """The answer to TPM2_GetCapability (Part 2, table 120)."""

    capability: TPM_CAP
    """What was asked for."""
    data: TPMU_CAPABILITIES = selected_by("capability")
    """The list."""


TPMU_SET_CAPABILITIES = Annotated[int, Union(Member("reserved", UINT32))]
"""What TPM2_SetCapability sets; nothing is defined yet (revision 1.83)."""


class TPMS_SET_CAPABILITY_DATA(Structure):
    """What TPM2_SetCapability sets (revision 1.83)."""

    setCapability: TPM_CAP
    """Which capability."""
    data: TPMU_SET_CAPABILITIES = selected_by("setCapability")
    """Its value."""


TPM2B_SET_CAPABILITY_DATA = Annotated[TPMS_SET_CAPABILITY_DATA, Boxed("setCapabilityData")]
"""What TPM2_SetCapability sets (revision 1.83)."""
