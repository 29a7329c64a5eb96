# SPDX-License-Identifier: Apache-2.0
"""Remote attestation in four messages, as machines without input and output.

A `Verifier` learns which TPM a device has and judges what it measured; a `RelyingParty` learns only that some verifier
accepted it. The device's side of both is an `Attester`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestocloud_sec._lazy import lazy

if TYPE_CHECKING:
    from prestocloud_sec.tpm.protocol.attester import Attester as Attester
    from prestocloud_sec.tpm.protocol.attester import AttesterState as AttesterState
    from prestocloud_sec.tpm.protocol.attester import Outcome as Outcome
    from prestocloud_sec.tpm.protocol.attester import Task as Task
    from prestocloud_sec.tpm.protocol.challenger import Step as Step
    from prestocloud_sec.tpm.protocol.ek import TpmModel as TpmModel
    from prestocloud_sec.tpm.protocol.ek import tpm_model as tpm_model
    from prestocloud_sec.tpm.protocol.messages import Challenge as Challenge
    from prestocloud_sec.tpm.protocol.messages import Decision as Decision
    from prestocloud_sec.tpm.protocol.messages import Enrol as Enrol
    from prestocloud_sec.tpm.protocol.messages import Evidence as Evidence
    from prestocloud_sec.tpm.protocol.messages import WantedLogs as WantedLogs
    from prestocloud_sec.tpm.protocol.pseudonyms import PseudonymIssuer as PseudonymIssuer
    from prestocloud_sec.tpm.protocol.relying_party import RelyingParty as RelyingParty
    from prestocloud_sec.tpm.protocol.verifier import Verifier as Verifier

_HOMES: dict[str, str] = {
    "Attester": "attester",
    "AttesterState": "attester",
    "Task": "attester",
    "Outcome": "attester",
    "Verifier": "verifier",
    "RelyingParty": "relying_party",
    "PseudonymIssuer": "pseudonyms",
    "Step": "challenger",
    "Enrol": "messages",
    "Challenge": "messages",
    "Evidence": "messages",
    "Decision": "messages",
    "WantedLogs": "messages",
    "TpmModel": "ek",
    "tpm_model": "ek",
}

__all__ = list(_HOMES)

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(__name__, _HOMES)
