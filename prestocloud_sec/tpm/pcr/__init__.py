# SPDX-License-Identifier: Apache-2.0
"""PCRs: selections of them, and those of a whole TPM in software."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestocloud_sec._lazy import lazy

if TYPE_CHECKING:
    from prestocloud_sec.tpm.pcr.banks import PROFILE as PROFILE
    from prestocloud_sec.tpm.pcr.banks import PcrBanks as PcrBanks
    from prestocloud_sec.tpm.pcr.banks import PcrRule as PcrRule
    from prestocloud_sec.tpm.pcr.selection import PcrSelection as PcrSelection
    from prestocloud_sec.tpm.pcr.selection import pcr_digest as pcr_digest

_HOMES: dict[str, str] = {
    "PcrSelection": "selection",
    "pcr_digest": "selection",
    "PcrBanks": "banks",
    "PcrRule": "banks",
    "PROFILE": "banks",
}

__all__ = list(_HOMES)

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(__name__, _HOMES)
