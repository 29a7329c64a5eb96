# SPDX-License-Identifier: Apache-2.0
"""Policies as values: composed, computed without a TPM, executed in a session, printed, and kept as JSON.

>>> policy = PCR("sha256:16", values={"sha256": {16: bytes(32)}}) >> AuthValue()
>>> print(policy)
policy of 2 steps
├─ PCR sha256:16 = 0000000000000000…
└─ AuthValue
>>> Policy.from_json(policy.to_json()) == policy
True
"""

from __future__ import annotations

from prestocloud_sec.tpm.policy.branching import OR, Authorize, AuthorizeNV, any_of
from prestocloud_sec.tpm.policy.compared import NV, PCR, CounterTimer
from prestocloud_sec.tpm.policy.plain import (
    AuthValue,
    CommandCode,
    CpHash,
    DuplicationSelect,
    Locality,
    NameHash,
    NvWritten,
    Password,
    PhysicalPresence,
    Template,
)
from prestocloud_sec.tpm.policy.policy import Policy
from prestocloud_sec.tpm.policy.run import Choose, Find, Outcome, Request, Run, Sign
from prestocloud_sec.tpm.policy.signed import Secret, Signed, Ticket
from prestocloud_sec.tpm.policy.step import Step

__all__ = [
    "NV",
    "OR",
    "PCR",
    "AuthValue",
    "Authorize",
    "AuthorizeNV",
    "Choose",
    "CommandCode",
    "CounterTimer",
    "CpHash",
    "DuplicationSelect",
    "Find",
    "Locality",
    "NameHash",
    "NvWritten",
    "Outcome",
    "Password",
    "PhysicalPresence",
    "Policy",
    "Request",
    "Run",
    "Secret",
    "Sign",
    "Signed",
    "Step",
    "Template",
    "Ticket",
    "any_of",
]
