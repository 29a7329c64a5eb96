# SPDX-License-Identifier: Apache-2.0
"""Hypothesis strategies of PCR selections and of what is done to PCRs.

>>> from hypothesis import find
>>> find(pcr_selections(), lambda selection: len(selection.rows) == 1)
PcrSelection.of('sha1:none')
"""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import strategies as st

from prestocloud_sec.tpm.pcr import PcrSelection
from prestocloud_sec.tpm.spec.constants import TPM_ALG_ID

__all__ = ["PcrChange", "pcr_changes", "pcr_selections"]

_BANKS = (TPM_ALG_ID.SHA1, TPM_ALG_ID.SHA256, TPM_ALG_ID.SHA384, TPM_ALG_ID.SHA512)
_SIZES = dict(zip(_BANKS, (20, 32, 48, 64), strict=True))


def pcr_selections(*, most: int = 4) -> st.SearchStrategy[PcrSelection]:
    """Return a strategy of selections with up to `most` rows; banks may come twice, and bit maps have any size."""
    rows = st.tuples(st.sampled_from(_BANKS), st.binary(min_size=3, max_size=4))
    return st.lists(rows, max_size=most).map(lambda found: PcrSelection(tuple(found)))


class PcrChange(NamedTuple):
    """Something done to PCRs.

    Attributes
    ----------
    kind : str
        ``extend``, ``event``, ``reset`` or ``launch`` (a dynamic one, which has no PCR).
    pcr, locality : int
        To which PCR, from where.
    digests : tuple of (int, bytes)
        What is extended into which banks; a bank may come twice.
    data : bytes
        What is measured by an event or a launch.
    """

    kind: str
    pcr: int
    locality: int
    digests: tuple[tuple[int, bytes], ...]
    data: bytes


@st.composite
def pcr_changes(draw: st.DrawFn) -> PcrChange:
    """Return a strategy of changes, allowed ones and others."""
    kind = draw(st.sampled_from(("extend", "extend", "extend", "event", "reset", "launch")))
    banks = draw(st.lists(st.sampled_from(_BANKS), max_size=5)) if kind == "extend" else []
    digests = tuple((bank, draw(st.binary(min_size=_SIZES[bank], max_size=_SIZES[bank]))) for bank in banks)
    pcr = draw(st.sampled_from((0, 7, 15, 16, 17, 18, 19, 20, 21, 22, 23)))
    data = draw(st.binary(max_size=30)) if kind in ("event", "launch") else b""
    return PcrChange(kind, pcr, draw(st.integers(0, 4)), digests, data)
