# SPDX-License-Identifier: Apache-2.0
"""Recorded attestations and signatures of a TPM, and copies broken on purpose, against the verification without one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from prestocloud_sec.tpm._banks import bank_name
from prestocloud_sec.tpm.attest import (
    AuditedCommand,
    Verdict,
    verify_certify,
    verify_command_audit,
    verify_creation,
    verify_nv,
    verify_quote,
    verify_session_audit,
    verify_time,
)
from prestocloud_sec.tpm.errors import VerificationError
from prestocloud_sec.tpm.hashes import hash_of
from prestocloud_sec.tpm.pcr import PcrSelection
from prestocloud_sec.tpm.pem import public_from_pem, public_to_pem
from prestocloud_sec.tpm.signatures import signature_from_plain, signature_hash, verify_signature
from prestocloud_sec.tpm.spec import (
    TPM_ALG_ID,
    TPMS_ATTEST,
    TPMS_CERTIFY_INFO,
    TPMS_CLOCK_INFO,
    TPMS_COMMAND_AUDIT_INFO,
    TPMS_CREATION_INFO,
    TPMS_NV_CERTIFY_INFO,
    TPMS_NV_DIGEST_CERTIFY_INFO,
    TPMS_QUOTE_INFO,
    TPMS_SESSION_AUDIT_INFO,
    TPMS_TIME_ATTEST_INFO,
    TPMT_PUBLIC,
    TPMT_SIGNATURE,
)
from tests.conformance.family import Case, Family

COMMON = ("format", "magic", "type", "signature", "nonce")


def listed(document: Any) -> Sequence[Case]:
    """Return the cases of a file that is a list of them."""
    found: Sequence[Case] = document
    return found


def raw(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text)


def clock(info: TPMS_CLOCK_INFO) -> dict[str, object]:
    return {
        "clock": info.clock,
        "reset_count": info.resetCount,
        "restart_count": info.restartCount,
        "safe": bool(info.safe),
    }


def firmware(version: int) -> str:
    return f"{version:016x}"


def quoted(info: TPMS_QUOTE_INFO) -> dict[str, object]:
    rows = [
        {"hash": bank_name(row.hash), "select_hex": row.pcrSelect.hex(), "pcrs": list(row.pcrs)}
        for row in info.pcrSelect
    ]
    return {"pcr_select": rows, "pcr_digest_hex": info.pcrDigest.hex()}


ATTESTED: dict[type, Callable[[Any], dict[str, object]]] = {
    TPMS_QUOTE_INFO: quoted,
    TPMS_CERTIFY_INFO: lambda i: {"name_hex": i.name.hex(), "qualified_name_hex": i.qualifiedName.hex()},
    TPMS_CREATION_INFO: lambda i: {"object_name_hex": i.objectName.hex(), "creation_hash_hex": i.creationHash.hex()},
    TPMS_NV_CERTIFY_INFO: lambda i: {
        "index_name_hex": i.indexName.hex(),
        "offset": i.offset,
        "nv_contents_hex": i.nvContents.hex(),
    },
    TPMS_NV_DIGEST_CERTIFY_INFO: lambda i: {"index_name_hex": i.indexName.hex(), "nv_digest_hex": i.nvDigest.hex()},
    TPMS_TIME_ATTEST_INFO: lambda i: {
        "time": i.time.time,
        "clock_info": clock(i.time.clockInfo),
        "firmware_version_hex": firmware(i.firmwareVersion),
    },
    TPMS_COMMAND_AUDIT_INFO: lambda i: {
        "audit_counter": i.auditCounter,
        "digest_alg": bank_name(i.digestAlg),
        "audit_digest_hex": i.auditDigest.hex(),
        "command_digest_hex": i.commandDigest.hex(),
    },
    TPMS_SESSION_AUDIT_INFO: lambda i: {
        "exclusive_session": bool(i.exclusiveSession),
        "session_digest_hex": i.sessionDigest.hex(),
    },
}


def decoded(attest: TPMS_ATTEST) -> dict[str, object]:
    """Return what was signed in the form of the recorded cases."""
    return {
        "magic_hex": f"{int(attest.magic):08x}",
        "type_hex": f"{int(attest.type):04x}",
        "qualified_signer_hex": attest.qualifiedSigner.hex(),
        "extra_data_hex": attest.extraData.hex(),
        "clock_info": clock(attest.clockInfo),
        "firmware_version_hex": firmware(attest.firmwareVersion),
        "attested": ATTESTED[type(attest.attested)](attest.attested),
    }


def pcrs_of(case: Case) -> dict[str, dict[int, bytes]] | None:
    given = case["pcrs"]
    if given is None:
        return None
    return {bank: {int(pcr): bytes.fromhex(value) for pcr, value in values.items()} for bank, values in given.items()}


def audited_of(case: Case) -> list[AuditedCommand] | None:
    if case["audited"] is None:
        return None
    return [
        AuditedCommand(
            entry["command_code"],
            tuple(map(bytes.fromhex, entry["names_hex"])),
            bytes.fromhex(entry["parameters_hex"]),
            bytes.fromhex(entry["response_parameters_hex"]),
        )
        for entry in case["audited"]
    ]


def quote(case: Case, common: Mapping[str, Any], args: tuple[Any, ...]) -> Verdict:
    pcrs = pcrs_of(case)
    selection = None if pcrs is None else PcrSelection.of({bank: list(values) for bank, values in pcrs.items()})
    return verify_quote(*args, **common, pcrs=pcrs, selection=selection)


def certify(case: Case, common: Mapping[str, Any], args: tuple[Any, ...]) -> Verdict:
    return verify_certify(*args, **common, object_public=raw(case["object_public_hex"]))


def creation(case: Case, common: Mapping[str, Any], args: tuple[Any, ...]) -> Verdict:
    public, data = raw(case["object_public_hex"]), raw(case["creation_data_hex"])
    return verify_creation(*args, **common, object_public=public, creation_data=data)


def nv(case: Case, common: Mapping[str, Any], args: tuple[Any, ...]) -> Verdict:
    return verify_nv(*args, **common, nv_public=raw(case["nv_public_hex"]), contents=raw(case["nv_contents_hex"]))


def time(case: Case, common: Mapping[str, Any], args: tuple[Any, ...]) -> Verdict:
    return verify_time(*args, **common)


def session_audit(case: Case, common: Mapping[str, Any], args: tuple[Any, ...]) -> Verdict:
    return verify_session_audit(*args, **common, commands=audited_of(case))


def command_audit(case: Case, common: Mapping[str, Any], args: tuple[Any, ...]) -> Verdict:
    assert case["audited"] is None
    return verify_command_audit(*args, **common, codes=case["audited_codes"])


Verify = Callable[[Case, Mapping[str, Any], tuple[Any, ...]], Verdict]

KINDS: dict[str, tuple[int, Verify, dict[str, str]]] = {
    "quote": (0x8018, quote, {"pcrs": "pcr digest"}),
    "certify": (0x8017, certify, {"object_public_hex": "name"}),
    "creation": (0x801A, creation, {"object_public_hex": "name", "creation_data_hex": "creation data"}),
    "nv": (0x8014, nv, {"nv_public_hex": "name", "nv_contents_hex": "contents"}),
    "nv_digest": (0x801C, nv, {"nv_public_hex": "name", "nv_contents_hex": "contents"}),
    "time": (0x8019, time, {}),
    "session_audit": (0x8016, session_audit, {"audited": "session digest"}),
    "command_audit": (0x8015, command_audit, {"audited_codes": "audited commands"}),
}
"""By kind: the tag of the structure, the check, and which clause has to hold where a field is not null."""

BROKEN = (
    ("signature", {"signature", "magic"}),
    ("nonce", {"nonce"}),
    ("pcr digest", {"pcr digest"}),
    ("name", {"name"}),
    ("digest must not match", {"contents", "creation data", "session digest", "audited commands"}),
    ("hash must not match", {"contents", "creation data", "session digest", "audited commands"}),
)
"""Words of ``why``, and the clauses that alone may fail where it has them: a copy is broken in one place."""

OF_KINDS = ("pcrs", "pcr_digest_hex", "object_public_hex", "creation_data_hex", "nv_public_hex", "nv_contents_hex")
OF_AUDITS = ("audited", "audited_codes")


def check_key(case: Case) -> TPMT_PUBLIC:
    """Check that the public area and the PEM beside it are of one key."""
    public = TPMT_PUBLIC.decode(bytes.fromhex(case["public_hex"]))
    assert public.encode().hex() == case["public_hex"]
    if public.type in (TPM_ALG_ID.RSA, TPM_ALG_ID.ECC):
        assert public_to_pem(public) == public_to_pem(case["public_pem"])
        assert public_from_pem(case["public_pem"]).unique == public.unique
    else:
        assert case["public_pem"] is None
    return public


def check_scheme(case: Case) -> TPMT_SIGNATURE:
    signature = TPMT_SIGNATURE.decode(bytes.fromhex(case["signature_hex"]))
    assert signature.encode().hex() == case["signature_hex"]
    assert signature.sigAlg.name.lower() == case["scheme"]
    assert signature_hash(signature) is hash_of(case["hash"])
    return signature


def one_bit_off(value: str) -> Iterator[str]:
    """Yield hexadecimal values that differ from a value by one bit."""
    data = bytearray.fromhex(value)
    for at in range(len(data)):
        for bit in range(8):
            data[at] ^= 1 << bit
            yield data.hex()
            data[at] ^= 1 << bit


def check_break(case: Case, fields: Mapping[str, str], verify: Callable[[Case], Verdict]) -> None:
    """Check that a value said to be wrong by one bit is right but for that bit."""
    field = re.match(r"(?:PCR value (\w+):(\d+)|(\w+_hex)) differs by one bit", case["why"] or "")
    if field is None:
        return
    bank, pcr, name = field.groups()
    place, key = (case, name) if name else (case["pcrs"][bank], pcr)
    broken = place[key]
    try:
        assert any(verify(case)[fields[name or "pcrs"]].holds for place[key] in one_bit_off(broken))
    finally:
        place[key] = broken


def compare_attestation(case: Case, document: Case) -> None:
    check_key(case)
    tag, verify, fields = KINDS[case["kind"]]
    attest = bytes.fromhex(case["attest_hex"])
    read = TPMS_ATTEST.decode(attest, lenient=True)
    assert read.encode() == attest
    assert decoded(read) == case["expected"]
    assert read.type == tag
    foreign = {*OF_KINDS, *OF_AUDITS} - {*fields, *(("pcr_digest_hex",) if case["kind"] == "quote" else ())}
    assert not [field for field in foreign if case[field] is not None]
    check_scheme(case)
    common = {"nonce": bytes.fromhex(case["extra_data_hex"]), "allow_unrestricted": True}
    args = attest, bytes.fromhex(case["signature_hex"])
    wanted = [*COMMON, *(clause for field, clause in fields.items() if case[field] is not None)]
    for key in (bytes.fromhex(case["public_hex"]), case["public_pem"]):
        verdict = verify(case, common, (*args, key))
        assert verdict.attest == read
        accepted = verdict.accepts(*wanted)
        if case["kind"] == "quote":
            accepted = accepted and verdict["selection"].holds
            assert case["pcr_digest_hex"] == case["expected"]["attested"]["pcr_digest_hex"]
        if case["skip"] is None:
            assert accepted is case["valid"], str(verdict)
        check_break(case, fields, lambda changed: verify(changed, common, (*args, key)))  # noqa: B023
        assert verdict["key"].holds or key == case["public_pem"]
        may_fail = next((clauses for words, clauses in BROKEN if words in (case["why"] or "")), None)
        if may_fail is not None:
            assert {clause.name for clause in verdict.failed} <= may_fail


def compare_signature(case: Case, document: Case) -> None:
    public = check_key(case)
    signature = check_scheme(case)
    assert case["kind"] == ("hmac" if signature.sigAlg == TPM_ALG_ID.HMAC else "asymmetric")
    if case["kind"] == "hmac":
        assert case["skip"] is not None
        assert case["valid"] is True
        assert signature_hash(signature).size == len(signature.signature.digest)
        return
    signatures = [signature]
    if case["plain_hex"] is not None:
        signatures.append(signature_from_plain(bytes.fromhex(case["plain_hex"]), case["scheme"], case["hash"]))
    message = bytes.fromhex(case["message_hex"])
    for key in (public, case["public_pem"]):
        try:
            for each in signatures:
                verify_signature(key, each, message)
            accepted = True
        except VerificationError:
            accepted = False
        if case["skip"] is None:
            assert accepted is case["valid"]


def load(path: Path) -> Any:
    return json.loads(path.read_bytes())


INFORMATIONAL = frozenset({"id", "why", "skip", "source", "public_pem_source"})

FILES = {
    "attestations.json": Family(compare_attestation, INFORMATIONAL, listed, load),
    "signatures.json": Family(compare_signature, INFORMATIONAL, listed, load),
}
