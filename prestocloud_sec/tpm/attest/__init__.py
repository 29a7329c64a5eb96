# SPDX-License-Identifier: Apache-2.0
"""Attestations checked without a TPM: quotes, certified and created objects, NV, time, audits.

Each check returns a `Verdict` that lists every clause that holds, fails, or was not checked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestocloud_sec._lazy import lazy

if TYPE_CHECKING:
    from prestocloud_sec.tpm.attest.audit import AuditedCommand as AuditedCommand
    from prestocloud_sec.tpm.attest.audit import audit_digest as audit_digest
    from prestocloud_sec.tpm.attest.audit import verify_command_audit as verify_command_audit
    from prestocloud_sec.tpm.attest.audit import verify_session_audit as verify_session_audit
    from prestocloud_sec.tpm.attest.audit import verify_time as verify_time
    from prestocloud_sec.tpm.attest.nv import verify_nv as verify_nv
    from prestocloud_sec.tpm.attest.objects import verify_certify as verify_certify
    from prestocloud_sec.tpm.attest.objects import verify_creation as verify_creation
    from prestocloud_sec.tpm.attest.quote import verify_quote as verify_quote
    from prestocloud_sec.tpm.attest.reference import ReferencePolicy as ReferencePolicy
    from prestocloud_sec.tpm.attest.statement import Expected as Expected
    from prestocloud_sec.tpm.attest.verdict import Clause as Clause
    from prestocloud_sec.tpm.attest.verdict import ClauseState as ClauseState
    from prestocloud_sec.tpm.attest.verdict import Grade as Grade
    from prestocloud_sec.tpm.attest.verdict import Verdict as Verdict

_HOMES: dict[str, str] = {
    "verify_quote": "quote",
    "verify_certify": "objects",
    "verify_creation": "objects",
    "verify_nv": "nv",
    "verify_time": "audit",
    "verify_session_audit": "audit",
    "verify_command_audit": "audit",
    "audit_digest": "audit",
    "AuditedCommand": "audit",
    "ReferencePolicy": "reference",
    "Verdict": "verdict",
    "Clause": "verdict",
    "ClauseState": "verdict",
    "Grade": "verdict",
    "Expected": "statement",
}

__all__ = list(_HOMES)

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(__name__, _HOMES)
