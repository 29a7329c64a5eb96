# SPDX-License-Identifier: Apache-2.0
"""Recorded policies: digests of trial sessions are computed without one, and what is in the steps is what it says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prestocloud_sec.tpm import policy
from prestocloud_sec.tpm._banks import bank_name
from prestocloud_sec.tpm.hashes import hash_of
from prestocloud_sec.tpm.names import handle_name, name_of
from prestocloud_sec.tpm.pcr import PcrSelection
from prestocloud_sec.tpm.policy import Policy, Step
from prestocloud_sec.tpm.policy.compared import FIELDS, OPERATIONS
from prestocloud_sec.tpm.spec import TPM_ALG_ID, TPM_CC, TPM_RH, TPMS_NV_PUBLIC, TPMT_HA, TPMT_PUBLIC
from tests.conformance.family import Case, Family
from tests.conformance.tpm_attestations import listed
from tests.conformance.tpm_names import exact, judged


def unhex(text: str) -> bytes:
    return bytes.fromhex(text)


def index_of(step: Case) -> TPMS_NV_PUBLIC:
    """Return the NV index of a step, which has the recorded Name."""
    public: TPMS_NV_PUBLIC = exact(TPMS_NV_PUBLIC, unhex(step["nv_public_hex"]))
    assert name_of(public).hex() == step["nv_name_hex"]
    return public


def pcr(step: Case, hash: str, before: Policy) -> Step:
    selection = PcrSelection.of({row["hash"]: row["pcrs"] for row in step["selection"]})
    assert selection.encode().hex() == step["selection_hex"]
    assert PcrSelection.decode(unhex(step["selection_hex"])) == selection
    values = {bank: {int(n): unhex(value) for n, value in pcrs.items()} for bank, pcrs in step["pcrs"].items()}
    assert {bank: sorted(pcrs) for bank, pcrs in values.items()} == {
        bank_name(bank): sorted(pcrs) for bank, pcrs in selection.banks.items()
    }
    made = policy.PCR(selection, values=values)
    assert made.pcr_digest(hash_of(hash)).hex() == step["pcr_digest_hex"]
    by_digest = policy.PCR(selection, digest=unhex(step["pcr_digest_hex"]))
    assert Policy(made).digest(hash) == Policy(by_digest).digest(hash)
    return made


def command_code(step: Case, hash: str, before: Policy) -> Step:
    assert TPM_CC[step["code_name"]] == step["code"]
    return policy.CommandCode(step["code"])


def secret(step: Case, hash: str, before: Policy) -> Step:
    name = unhex(step["entity_name_hex"])
    entities = {"owner": TPM_RH.OWNER, "endorsement": TPM_RH.ENDORSEMENT, "platform": TPM_RH.PLATFORM}
    entities |= {"lockout": TPM_RH.LOCKOUT, "null": TPM_RH.NULL}
    if step["entity"] in entities:
        assert name == handle_name(entities[step["entity"]])
        return policy.Secret(entities[step["entity"]], unhex(step["policy_ref_hex"]))  # type: ignore[arg-type]
    assert step["entity"] in ("object", "nv", "key", "primary", "pcr")
    assert len(name) == 2 + hash_of(int.from_bytes(name[:2], "big")).size
    return policy.Secret(name, unhex(step["policy_ref_hex"]))


def signed(step: Case, hash: str, before: Policy) -> Step:
    public = exact(TPMT_PUBLIC, unhex(step["key_public_hex"]))
    assert name_of(public).hex() == step["entity_name_hex"]
    nonce = unhex(step["nonce_tpm_hex"])
    made = policy.Signed(
        public,
        unhex(step["policy_ref_hex"]),
        step["expiration"],
        unhex(step["cp_hash_hex"]),
        with_nonce=bool(nonce),
    )
    assert made.to_sign(nonce).hex() == step["to_sign_hex"]
    made.check(unhex(step["signature_hex"]), nonce)
    by_name = policy.Signed(unhex(step["entity_name_hex"]), unhex(step["policy_ref_hex"]))
    assert Policy(made).digest(hash) == Policy(by_name).digest(hash)
    return made


def compared(step: Case) -> dict[str, Any]:
    row = OPERATIONS[step["operation"]]
    assert row.number == step["operation"]
    assert row.name == step["operation_name"]
    return {"operand": unhex(step["operand_hex"]), "operation": step["operation"], "offset": step["offset"]}


def nv(step: Case, hash: str, before: Policy) -> Step:
    return policy.NV(index_of(step), **compared(step))


def counter_timer(step: Case, hash: str, before: Policy) -> Step:
    made = policy.CounterTimer(**compared(step))
    assert FIELDS[step["field"]].offset == step["offset"]
    if made.field is not None:
        value = int(step["operand_hex"], 16)
        assert made == policy.CounterTimer.of(step["field"], step["operation_name"], value)
    return made


def name_hash(step: Case, hash: str, before: Policy) -> Step:
    made = policy.NameHash.of(hash, [unhex(name) for name in step["names_hex"]])
    assert made.digest.hex() == step["name_hash_hex"]
    return made


def duplication_select(step: Case, hash: str, before: Policy) -> Step:
    names = unhex(step["new_parent_name_hex"]), unhex(step["object_name_hex"])
    return policy.DuplicationSelect(*names, include_object=step["include_object"])


def authorize(step: Case, hash: str, before: Policy) -> Step:
    public = exact(TPMT_PUBLIC, unhex(step["key_public_hex"]))
    assert name_of(public).hex() == step["key_name_hex"]
    approved = before.digest(hash)
    assert approved.hex() == step["approved_policy_hex"]
    made = policy.Authorize(public, unhex(step["policy_ref_hex"]), before, unhex(step["signature_hex"]))  # type: ignore[arg-type]
    made.check(approved)
    return made


def authorize_nv(step: Case, hash: str, before: Policy) -> Step:
    approved = exact(TPMT_HA, unhex(step["nv_contents_hex"]))
    assert (approved.hashAlg, approved.digest) == (TPM_ALG_ID(hash_of(hash).id), before.digest(hash))
    return policy.AuthorizeNV(index_of(step), before)


STEPS: dict[str, Callable[[Case, str, Policy], Step]] = {
    "PolicyPCR": pcr,
    "PolicyAuthValue": lambda step, hash, before: policy.AuthValue(),
    "PolicyPassword": lambda step, hash, before: policy.Password(),
    "PolicyPhysicalPresence": lambda step, hash, before: policy.PhysicalPresence(),
    "PolicyCommandCode": command_code,
    "PolicyLocality": lambda step, hash, before: policy.Locality(step["locality"]),
    "PolicyNvWritten": lambda step, hash, before: policy.NvWritten(step["written_set"]),
    "PolicySecret": secret,
    "PolicySigned": signed,
    "PolicyNV": nv,
    "PolicyCounterTimer": counter_timer,
    "PolicyDuplicationSelect": duplication_select,
    "PolicyNameHash": name_hash,
    "PolicyCpHash": lambda step, hash, before: policy.CpHash(unhex(step["cp_hash_hex"])),
    "PolicyTemplate": lambda step, hash, before: policy.Template(unhex(step["template_hash_hex"])),
    "PolicyOR": lambda step, hash, before: policy.OR(*map(unhex, step["branches_hex"])),
    "PolicyAuthorize": authorize,
    "PolicyAuthorizeNV": authorize_nv,
}


def check_policy(case: Case) -> None:
    assert case["kind"] == "+".join(step["op"] for step in case["steps"])
    made = Policy()
    for step in case["steps"]:
        made >>= STEPS[step["op"]](step, case["hash"], made)
    assert made.digest(case["hash"]).hex() == case["digest_hex"]
    assert len(unhex(case["digest_hex"])) == hash_of(case["hash"]).size
    assert Policy.from_json(made.to_json()) == made
    assert Policy.from_json(made.to_json()).digest(case["hash"]).hex() == case["digest_hex"]


REMARKS = frozenset({"id", "name", "why", "skip", "source", "steps.tool"})

FILES = {"policies.json": Family(judged(check_policy), REMARKS, listed)}
