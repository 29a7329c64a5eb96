# SPDX-License-Identifier: Apache-2.0
"""NV indices as objects: data, counters, bits, digests that are extended, and PINs.

Each class is one type of index. `define` makes an index, `open` finds one that is there. An index obeys its own
authorization value and nobody else, unless it is defined with a policy or for the owner; a PIN index obeys its owner.

Sources: TPM 2.0 Library, Part 1, clause 37 (NV memory); Part 2, clause 13; Part 3, clause 31.
"""

from __future__ import annotations

from prestocloud_sec.tpm.use.nv.counting import NvBits, NvCounter, NvExtend
from prestocloud_sec.tpm.use.nv.data import NvData
from prestocloud_sec.tpm.use.nv.pins import NvPinFail, NvPinPass
from prestocloud_sec.tpm.use.nv.space import NvSpace, read_nv

__all__ = ["NvBits", "NvCounter", "NvData", "NvExtend", "NvPinFail", "NvPinPass", "NvSpace", "read_nv"]
