# SPDX-License-Identifier: Apache-2.0
"""Non-volatile indices (TPM 2.0 Library, Part 2, clause 13).

Tables are numbered as in revision 1.59.
"""

from __future__ import annotations

from typing import Annotated

from prestocloud_sec.tpm.spec.attributes import TPMA_NV, TPMA_NV_EXP
from prestocloud_sec.tpm.spec.constants import TPM_HT
from prestocloud_sec.tpm.spec.declare import Boxed, Member, Structure, Union, selected_by
from prestocloud_sec.tpm.spec.interfaces import TPMI_ALG_HASH, TPMI_RH_NV_EXP_INDEX, TPMI_RH_NV_INDEX, UINT16, UINT32
from prestocloud_sec.tpm.spec.structures.buffers import TPM2B_DIGEST

__all__ = [
    "TPM2B_NV_PUBLIC",
    "TPM2B_NV_PUBLIC_2",
    "TPMS_NV_PIN_COUNTER_PARAMETERS",
    "TPMS_NV_PUBLIC",
    "TPMS_NV_PUBLIC_EXP_ATTR",
    "TPMT_NV_PUBLIC_2",
    "TPMU_NV_PUBLIC_2",
]


class TPMS_NV_PIN_COUNTER_PARAMETERS(Structure):
    """Contents of a PIN index (Part 2, table 214)."""

    pinCount: UINT32
    """Uses counted."""
    pinLimit: UINT32
    """Uses allowed."""


class TPMS_NV_PUBLIC(Structure):
    """Public area of an NV index; its Name is the digest of these bytes (Part 2, table 216)."""

    nvIndex: TPMI_RH_NV_INDEX
    """Handle of the index."""
    nameAlg: TPMI_ALG_HASH
    """Hash of the Name, and of the policy."""
    attributes: TPMA_NV
    """What it is, who may use it, and its state."""
    authPolicy: TPM2B_DIGEST
    """Digest of its policy; empty for none."""
    dataSize: UINT16
    """Bytes that it holds."""


TPM2B_NV_PUBLIC = Annotated[TPMS_NV_PUBLIC, Boxed("nvPublic")]
"""Public area of an NV index (Part 2, table 217)."""


class TPMS_NV_PUBLIC_EXP_ATTR(Structure):
    """Public area of an NV index with attributes of 64 bits (revision 1.83)."""

    nvIndex: TPMI_RH_NV_EXP_INDEX
    """Handle of the index."""
    nameAlg: TPMI_ALG_HASH
    """Hash of the Name, and of the policy."""
    attributes: TPMA_NV_EXP
    """What it is, who may use it, and its state."""
    authPolicy: TPM2B_DIGEST
    """Digest of its policy; empty for none."""
    dataSize: UINT16
    """Bytes that it holds."""


TPMU_NV_PUBLIC_2 = Annotated[
    TPMS_NV_PUBLIC | TPMS_NV_PUBLIC_EXP_ATTR,
    Union(
        Member("nvIndex", TPMS_NV_PUBLIC, (TPM_HT.NV_INDEX,)),
        Member("externalNV", TPMS_NV_PUBLIC_EXP_ATTR, (TPM_HT.EXTERNAL_NV,)),
        Member("permanentNV", TPMS_NV_PUBLIC, (TPM_HT.PERMANENT_NV,)),
    ),
]
"""Public area of an NV index of any kind (revision 1.83)."""


class TPMT_NV_PUBLIC_2(Structure):
    """Public area of an NV index with its kind (revision 1.83)."""

    handleType: TPM_HT
    """Kind of the index."""
    nvPublic2: TPMU_NV_PUBLIC_2 = selected_by("handleType")
    """Its public area."""


TPM2B_NV_PUBLIC_2 = Annotated[TPMT_NV_PUBLIC_2, Boxed("nvPublic2")]
"""Public area of an NV index of any kind (revision 1.83)."""
