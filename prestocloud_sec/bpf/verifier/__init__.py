# SPDX-License-Identifier: Apache-2.0
"""The verifier: the judgement of the Linux kernel over BPF programs, with reasons.

`prestocloud_sec.bpf.verify` gives a `Verdict`; a refusal names a `Rule`; `find_witness` looks for an input that does
the damage, and `proved` says which tests of memory accesses the compiler can leave out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestocloud_sec._lazy import lazy

if TYPE_CHECKING:
    from prestocloud_sec.bpf.verifier.contexts import Access as Access
    from prestocloud_sec.bpf.verifier.corpus import Corpus as Corpus
    from prestocloud_sec.bpf.verifier.maps import MapSpec as MapSpec
    from prestocloud_sec.bpf.verifier.proofs import proved as proved
    from prestocloud_sec.bpf.verifier.rejection import Rule as Rule
    from prestocloud_sec.bpf.verifier.verdict import Verdict as Verdict
    from prestocloud_sec.bpf.verifier.witness import find_witness as find_witness

_HOMES: dict[str, str] = {
    "Access": "contexts",
    "Corpus": "corpus",
    "MapSpec": "maps",
    "Rule": "rejection",
    "Verdict": "verdict",
    "find_witness": "witness",
    "proved": "proofs",
}

__all__ = list(_HOMES)

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(__name__, _HOMES)
