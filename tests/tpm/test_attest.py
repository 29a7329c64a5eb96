# SPDX-License-Identifier: Apache-2.0
"""Attestations of a pretended TPM, right ones and such as are wrong in one place: the verdict says in which."""

from __future__ import annotations

import copy
import hashlib
import pickle
import struct

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.testing.tpm_device import UNRESTRICTED_SIGNING, PretendTpm, two_bytes
from prestocloud_sec.testing.tpm_logs import EV_SEPARATOR, agile_log, measured
from prestocloud_sec.tpm.attest import (
    AuditedCommand,
    Clause,
    ClauseState,
    Grade,
    Verdict,
    audit_digest,
    verify_certify,
    verify_command_audit,
    verify_creation,
    verify_nv,
    verify_quote,
    verify_session_audit,
    verify_time,
)
from prestocloud_sec.tpm.errors import TpmMisuseError, VerificationError
from prestocloud_sec.tpm.eventlog import EventLog
from prestocloud_sec.tpm.pcr import PcrBanks
from prestocloud_sec.tpm.pem import public_to_pem
from prestocloud_sec.tpm.spec import (
    TPM_ALG_ID,
    TPMA_OBJECT,
    TPMS_ATTEST,
    TPMS_CLOCK_INFO,
    TPMS_NV_PUBLIC,
    TPMT_PUBLIC,
    TPMT_SIGNATURE,
)

TPM = PretendTpm(PcrBanks(["sha1", "sha256"]))
for _pcr in range(16):
    TPM.pcrs.event(_pcr, b"measurement %d" % _pcr)
AK = TPM.create_ak()
OTHER = TPM.create_ak()
NONCE = bytes(range(20))
SELECTION = bytes.fromhex("00000002 000b 03 810100 0004 03 000000")
ATTEST, SIGNATURE = AK.quote(SELECTION, NONCE)
EXPECTED = {
    "nonce": NONCE,
    "pcrs": TPM.pcrs,
    "selection": "sha256:0,7,8",
    "signer": AK.qualified_name,
    "since": TPMS_CLOCK_INFO(123000, 7, 2, True),
    "firmware": TPM.firmware,
}
CLAUSES = ["format", "magic", "signature", "key", "type", "nonce", "signer", "clock", "firmware"]


def failed(verdict: Verdict) -> set[str]:
    return {clause.name for clause in verdict.failed}


def test_a_right_quote_holds_in_every_clause():
    verdict = verify_quote(ATTEST, SIGNATURE, AK.public, **EXPECTED)
    assert [clause.name for clause in verdict] == [*CLAUSES, "selection", "pcr digest", "log"]
    assert {clause.name for clause in verdict.unchecked} == {"log"}
    assert verdict.grade is Grade.PARTIAL
    assert verdict.accepts(*CLAUSES, "selection", "pcr digest")
    assert not verdict.accepts()
    verdict.require("signature", "nonce")
    with pytest.raises(VerificationError, match=r"log \(not checked\): none was given"):
        verdict.require()
    assert verdict.attest == TPMS_ATTEST.decode(ATTEST)


def test_all_forms_of_arguments_are_taken():
    for attest in (ATTEST, bytearray(ATTEST), TPMS_ATTEST.decode(ATTEST)):
        for signature in (SIGNATURE, memoryview(SIGNATURE), TPMT_SIGNATURE.decode(SIGNATURE)):
            for key in (AK.public, TPMT_PUBLIC.decode(AK.public), AK.private.public_key(), public_to_pem(AK.public)):
                verdict = verify_quote(attest, signature, key, nonce=NONCE)
                assert verdict["signature"].holds
                assert verdict["key"].holds is (key == AK.public or isinstance(key, TPMT_PUBLIC))
    values = {"sha256": {pcr: TPM.pcrs.read(pcr, "sha256") for pcr in (0, 7, 8)}}
    assert verify_quote(ATTEST, SIGNATURE, AK.public, pcrs=values)["pcr digest"].holds


def test_nothing_given_means_nothing_checked():
    verdict = verify_quote(ATTEST, SIGNATURE, AK.public)
    assert {clause.name for clause in verdict.held} == {"format", "magic", "signature", "key", "type"}
    assert failed(verdict) == set()
    assert verdict.grade is Grade.PARTIAL


@pytest.mark.parametrize(
    ("changes", "clauses"),
    [
        ({"nonce": NONCE[:-1]}, {"nonce"}),
        ({"nonce": b""}, {"nonce"}),
        ({"selection": "sha256:0,7"}, {"selection"}),
        ({"selection": "sha1:0,7,8"}, {"selection"}),
        ({"signer": OTHER.qualified_name}, {"signer"}),
        ({"signer": None, "parent": 0x40000001}, {"signer"}),
        ({"since": TPMS_CLOCK_INFO(123457, 7, 2, True)}, {"clock"}),
        ({"since": TPMS_CLOCK_INFO(123000, 6, 2, True)}, {"clock"}),
        ({"since": TPMS_CLOCK_INFO(123000, 7, 1, True)}, {"clock"}),
        ({"firmware": 1}, {"firmware"}),
        ({"pcrs": PcrBanks(["sha256"])}, {"pcr digest"}),
        ({"pcrs": {"sha256": {0: bytes(32)}}}, {"pcr digest"}),
        ({"pcrs": {}}, {"pcr digest"}),
    ],
)
def test_the_clause_that_fails_is_named(changes, clauses):
    verdict = verify_quote(ATTEST, SIGNATURE, AK.public, **{**EXPECTED, **changes})
    assert failed(verdict) == clauses
    assert verdict.grade is Grade.NONE
    assert not verdict.accepts("signature")
    with pytest.raises(VerificationError, match="fails"):
        verdict.require("format")


def test_another_key_did_not_sign():
    verdict = verify_quote(ATTEST, SIGNATURE, OTHER.public, **EXPECTED)
    assert failed(verdict) == {"signature"}
    assert verdict["pcr digest"].holds
    verdict = verify_quote(ATTEST, SIGNATURE, b"no key", **EXPECTED)
    assert failed(verdict) == {"signature", "key"}
    odd = verify_quote(ATTEST, SIGNATURE, ec.generate_private_key(ec.SECP384R1()).public_key(), **EXPECTED)
    assert failed(odd) == {"signature"}


def test_a_key_that_is_not_restricted_proves_nothing_unless_it_may():
    loose = TPM.create_ak(UNRESTRICTED_SIGNING)
    attest, signature = loose.quote(SELECTION, NONCE)
    verdict = verify_quote(attest, signature, loose.public, nonce=NONCE)
    assert failed(verdict) == {"key"}
    verdict = verify_quote(attest, signature, loose.public, nonce=NONCE, allow_unrestricted=True)
    assert failed(verdict) == set()
    assert verdict["key"].holds


def test_the_parent_tells_the_signer():
    verdict = verify_quote(ATTEST, SIGNATURE, AK.public, parent=0x4000000B)
    assert verdict["signer"].holds
    assert verify_quote(ATTEST, SIGNATURE, AK.private.public_key(), parent=0x4000000B)["signer"].state is (
        ClauseState.NOT_CHECKED
    )
    with pytest.raises(TpmMisuseError, match="both"):
        verify_quote(ATTEST, SIGNATURE, AK.public, parent=0x4000000B, signer=b"")


@given(st.integers(0, len(ATTEST) - 1), st.integers(0, 7))
def test_no_bit_of_an_attestation_can_be_changed(at, bit):
    bad = bytearray(ATTEST)
    bad[at] ^= 1 << bit
    verdict = verify_quote(bytes(bad), SIGNATURE, AK.public, **EXPECTED)
    assert "signature" in failed(verdict)
    if at < 4:
        assert failed(verdict) >= {"magic", "signature"} or not verdict["format"].holds


@given(st.integers(0, len(SIGNATURE) - 1), st.integers(0, 7))
def test_no_bit_of_a_signature_can_be_changed(at, bit):
    bad = bytearray(SIGNATURE)
    bad[at] ^= 1 << bit
    verdict = verify_quote(ATTEST, bytes(bad), AK.public, **EXPECTED)
    assert not verdict["signature"].holds
    assert not verdict.accepts("signature")


@given(st.binary(max_size=80), st.binary(max_size=80), st.binary(max_size=80))
def test_any_bytes_get_a_verdict(attest, signature, key):
    for args in ((attest, SIGNATURE, AK.public), (ATTEST, signature, AK.public), (ATTEST, SIGNATURE, key)):
        for verify in (verify_quote, verify_certify, verify_creation, verify_nv, verify_time, verify_session_audit):
            verdict = verify(*args, nonce=NONCE)
            assert verdict.grade is Grade.NONE or verify is verify_quote
            assert str(verdict)
    for cut in (0, 10, len(ATTEST) - 1):
        assert "format" in failed(verify_quote(ATTEST[:cut], SIGNATURE, AK.public))


def test_logs_lead_to_the_values_that_were_quoted():
    built = agile_log(
        ("sha256",), [measured(pcr, EV_SEPARATOR, bytes(4), ("sha256",), b"measurement %d" % pcr) for pcr in range(16)]
    )
    log = EventLog.decode(built.data)
    verdict = verify_quote(ATTEST, SIGNATURE, AK.public, **EXPECTED, logs=[log])
    assert verdict["log"].holds
    assert verdict.grade is Grade.FULL
    assert verdict.accepts()
    without = verify_quote(ATTEST, SIGNATURE, AK.public, **{**EXPECTED, "pcrs": None}, logs=[log])
    assert without["pcr digest"].holds
    assert without["log"].holds
    short = EventLog(tuple(event for event in log if event.pcr != 8))
    verdict = verify_quote(ATTEST, SIGNATURE, AK.public, **EXPECTED, logs=[short])
    assert failed(verdict) == {"log"}
    assert "PCR 8" in verdict["log"].words
    more = EventLog((*log.events, log[9]))
    verdict = verify_quote(ATTEST, SIGNATURE, AK.public, **EXPECTED, logs=[more])
    assert failed(verdict) == {"log"}
    assert verdict.culprit == more[17]
    assert "event 17" in str(verdict)
    assert "event 17" in verdict._repr_html_()
    without = verify_quote(ATTEST, SIGNATURE, AK.public, **{**EXPECTED, "pcrs": None}, logs=[more])
    assert failed(without) == {"pcr digest"}
    assert without["log"].state is ClauseState.NOT_CHECKED


def test_an_attestation_of_another_kind_is_told():
    attest, signature = AK.attest(0x8019, NONCE, struct.pack(">Q", 9) + TPM.clock.encode() + bytes(8))
    verdict = verify_quote(attest, signature, AK.public, nonce=NONCE)
    assert failed(verdict) == {"type"}
    assert verdict["signature"].holds
    assert "pcr digest" not in verdict
    for verify in (verify_certify, verify_creation, verify_nv, verify_session_audit, verify_command_audit):
        assert "type" in failed(verify(ATTEST, SIGNATURE, AK.public))


OBJECT = OTHER.public
OBJECT_NAME = OTHER.name


def test_a_certified_object():
    attest, signature = AK.attest(0x8017, NONCE, two_bytes(OBJECT_NAME) + two_bytes(OTHER.qualified_name))
    args = attest, signature, AK.public
    verdict = verify_certify(
        *args, nonce=NONCE, object_public=OBJECT, object_parent=0x4000000B, attributes=TPMA_OBJECT.fixedTPM
    )
    assert {clause.name for clause in verdict.held} >= {"name", "qualified name", "attributes", "signature", "nonce"}
    assert verify_certify(*args, object_public=TPMT_PUBLIC.decode(OBJECT))["name"].holds
    assert failed(verify_certify(*args, object_public=AK.public)) == {"name"}
    assert failed(verify_certify(*args, object_public=OBJECT[:-1])) == {"name"}
    assert failed(verify_certify(*args, object_public=OBJECT, object_parent=0x40000001)) == {"qualified name"}
    assert failed(verify_certify(*args, object_public=OBJECT, attributes=TPMA_OBJECT.decrypt)) == {"attributes"}
    nothing = verify_certify(*args, attributes=TPMA_OBJECT.fixedTPM)
    assert {"name", "qualified name", "attributes"} <= {clause.name for clause in nothing.unchecked}


def creation_data(outside: bytes = b"outside") -> bytes:
    return bytes(4) + two_bytes(b"") + b"\1" + struct.pack(">H", 0x0B) + two_bytes(AK.name) * 2 + two_bytes(outside)


def test_a_created_object():
    data = creation_data()
    attested = two_bytes(OBJECT_NAME) + two_bytes(hashlib.sha256(data).digest())
    args = (*AK.attest(0x801A, NONCE, attested), AK.public)
    verdict = verify_creation(*args, nonce=NONCE, object_public=OBJECT, creation_data=data)
    assert {clause.name for clause in verdict.held} >= {"name", "creation data"}
    assert failed(verify_creation(*args, creation_data=creation_data(b"other"))) == {"creation data"}
    assert failed(verify_creation(*args, creation_data=data + b"\0")) == {"creation data"}
    assert failed(verify_creation(*args, object_public=AK.public, creation_data=data)) == {"name"}
    odd = two_bytes(b"\x12\x34" + bytes(32)) + two_bytes(hashlib.sha256(data).digest())
    assert failed(verify_creation(*AK.attest(0x801A, NONCE, odd), AK.public, creation_data=data)) == {"creation data"}


NV_PUBLIC = struct.pack(">IHIHH", 0x01500001, 0x0B, 0x00020002, 0, 8)
NV_NAME = b"\0\x0b" + hashlib.sha256(NV_PUBLIC).digest()


@pytest.mark.parametrize("is_digest", [False, True])
def test_contents_of_an_nv_index(is_digest):
    content = b"contents"
    if is_digest:
        attested = two_bytes(NV_NAME) + two_bytes(hashlib.sha256(content).digest())
    else:
        attested = two_bytes(NV_NAME) + struct.pack(">H", 0) + two_bytes(content)
    args = (*AK.attest(0x801C if is_digest else 0x8014, NONCE, attested), AK.public)
    for public in (NV_PUBLIC, TPMS_NV_PUBLIC.decode(NV_PUBLIC)):
        verdict = verify_nv(*args, nonce=NONCE, nv_public=public, contents=content, offset=0)
        assert {clause.name for clause in verdict.held} >= {"name", "offset", "contents"}
    assert failed(verify_nv(*args, contents=b"other")) == {"contents"}
    assert failed(verify_nv(*args, offset=1)) == {"offset"}
    assert failed(verify_nv(*args, nv_public=NV_PUBLIC[:-1] + b"\7")) == {"name"}
    assert failed(verify_nv(*args, nv_public=b"short")) == {"name"}
    assert {clause.name for clause in verify_nv(*args).unchecked} >= {"name", "offset", "contents"}


COMMANDS = [
    AuditedCommand(0x17B, (), bytes.fromhex("0008"), bytes.fromhex("00080102030405060708")),
    AuditedCommand(0x182, (bytes.fromhex("00000010"),), b"digests", b""),
]


def digest_of(commands, algorithm: str) -> bytes:
    state = bytes(hashlib.new(algorithm).digest_size)
    for code, names, sent, received in commands:
        cp = hashlib.new(algorithm, struct.pack(">I", code) + b"".join(names) + sent).digest()
        rp = hashlib.new(algorithm, struct.pack(">II", 0, code) + received).digest()
        state = hashlib.new(algorithm, state + cp + rp).digest()
    return state


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha384"])
def test_an_audited_session(algorithm):
    assert audit_digest(COMMANDS, algorithm) == digest_of(COMMANDS, algorithm)
    assert audit_digest(COMMANDS[1:], algorithm, audit_digest(COMMANDS[:1], algorithm)) == digest_of(
        COMMANDS, algorithm
    )
    attested = b"\1" + two_bytes(digest_of(COMMANDS, algorithm))
    args = (*AK.attest(0x8016, NONCE, attested), AK.public)
    verdict = verify_session_audit(*args, nonce=NONCE, commands=COMMANDS, exclusive=True)
    assert {clause.name for clause in verdict.held} >= {"session digest", "exclusive"}
    assert verify_session_audit(*args, commands=COMMANDS, session_hash=algorithm)["session digest"].holds
    for wrong in ([], COMMANDS[:1], COMMANDS[::-1]):
        assert failed(verify_session_audit(*args, commands=wrong)) == {"session digest"}
    assert failed(verify_session_audit(*args, exclusive=False)) == {"exclusive"}
    odd = (*AK.attest(0x8016, NONCE, b"\0" + two_bytes(b"odd")), AK.public)
    assert failed(verify_session_audit(*odd, commands=[])) == {"session digest"}


def test_audited_commands():
    codes = [0x182, 0x13D, 0x15E]
    listed = hashlib.sha256(b"".join(struct.pack(">I", code) for code in sorted(codes))).digest()
    attested = struct.pack(">QH", 3, 0x0B) + two_bytes(digest_of(COMMANDS, "sha256")) + two_bytes(listed)
    args = (*AK.attest(0x8015, NONCE, attested), AK.public)
    verdict = verify_command_audit(*args, nonce=NONCE, codes=codes, commands=COMMANDS)
    assert {clause.name for clause in verdict.held} >= {"audited commands", "audit digest"}
    assert verify_command_audit(*args, digest=digest_of(COMMANDS, "sha256"))["audit digest"].holds
    assert failed(verify_command_audit(*args, codes=codes[1:])) == {"audited commands"}
    assert failed(verify_command_audit(*args, commands=COMMANDS[1:])) == {"audit digest"}
    odd = (*AK.attest(0x8015, NONCE, struct.pack(">QH", 3, 0x10) + two_bytes(b"") * 2), AK.public)
    assert failed(verify_command_audit(*odd, codes=codes)) == {"audited commands"}


def test_the_clock():
    for safe in (True, False):
        clock = struct.pack(">QIIB", 1000, 1, 2, safe)
        args = (*AK.attest(0x8019, NONCE, struct.pack(">Q", 77) + clock + bytes(8)), AK.public)
        verdict = verify_time(*args, nonce=NONCE)
        assert verdict["safe"].holds is safe
        assert verdict.attest.attested.time.time == 77
        assert failed(verdict) == set()


def test_a_verdict_is_neither_true_nor_false():
    verdict = verify_quote(ATTEST, SIGNATURE, AK.public)
    for ask in (bool, lambda v: not v, lambda v: v and True):
        with pytest.raises(TpmMisuseError, match="neither true nor false"):
            ask(verdict)


def test_a_verdict_is_a_value():
    verdict = verify_quote(ATTEST, SIGNATURE, AK.public, nonce=NONCE)
    assert verify_quote(ATTEST, SIGNATURE, AK.public, nonce=NONCE) == verdict
    assert pickle.loads(pickle.dumps(verdict)) == copy.deepcopy(verdict) == verdict  # noqa: S301
    assert "nonce" in verdict
    assert "nonsense" not in verdict
    assert len(list(verdict)) == len(verdict)
    assert "signature" in verdict._repr_html_()
    assert "+ signature: by this key, over sha256" in str(verdict)
    assert Verdict("nothing", ()).grade is Grade.NONE
    assert not Verdict("nothing", ()).accepts()
    with pytest.raises(VerificationError, match="nothing was verified"):
        Verdict("nothing", ()).require()


GOOD = Clause("a", ClauseState.HOLDS, "")


@pytest.mark.parametrize(
    "call",
    [
        lambda: Clause(7, ClauseState.HOLDS, ""),
        lambda: Clause("a", "holds", ""),
        lambda: Clause("a", ClauseState.HOLDS, None),
        lambda: Verdict(7, ()),
        lambda: Verdict("x", 7),
        lambda: Verdict("x", (7,)),
        lambda: Verdict("x", (GOOD, GOOD)),
        lambda: Verdict("x", (GOOD,))["b"],
        lambda: Verdict("x", (GOOD,)).accepts("b"),
        lambda: Verdict("x", (GOOD,)).require("b"),
        lambda: verify_quote(7, SIGNATURE, AK.public),
        lambda: verify_quote("text", SIGNATURE, AK.public),
        lambda: verify_quote(ATTEST, 7, AK.public),
        lambda: verify_quote(ATTEST, SIGNATURE, 7),
        lambda: verify_quote(ATTEST, SIGNATURE, AK.public, nonce="text"),
        lambda: verify_quote(ATTEST, SIGNATURE, AK.public, pcrs=7),
        lambda: verify_quote(ATTEST, SIGNATURE, AK.public, selection=7),
        lambda: verify_quote(ATTEST, SIGNATURE, AK.public, logs=7),
        lambda: verify_quote(ATTEST, SIGNATURE, AK.public, logs=[7]),
        lambda: verify_quote(ATTEST, SIGNATURE, AK.public, policy=7),
        lambda: verify_quote(ATTEST, SIGNATURE, AK.public, signer=7),
        lambda: verify_quote(ATTEST, SIGNATURE, AK.public, parent="x"),
        lambda: verify_quote(ATTEST, SIGNATURE, AK.public, since=7),
        lambda: verify_quote(ATTEST, SIGNATURE, AK.public, firmware="1"),
        lambda: verify_certify(ATTEST, SIGNATURE, AK.public, object_public=7),
        lambda: verify_certify(ATTEST, SIGNATURE, AK.public, attributes="x"),
        lambda: verify_certify(ATTEST, SIGNATURE, AK.public, object_parent="x"),
        lambda: verify_creation(ATTEST, SIGNATURE, AK.public, creation_data=7),
        lambda: verify_nv(ATTEST, SIGNATURE, AK.public, nv_public=7),
        lambda: verify_nv(ATTEST, SIGNATURE, AK.public, contents="x"),
        lambda: verify_nv(ATTEST, SIGNATURE, AK.public, offset=-1),
        lambda: verify_session_audit(ATTEST, SIGNATURE, AK.public, commands=7),
        lambda: verify_session_audit(ATTEST, SIGNATURE, AK.public, commands=[7]),
        lambda: verify_session_audit(ATTEST, SIGNATURE, AK.public, session_hash="md5"),
        lambda: verify_session_audit(ATTEST, SIGNATURE, AK.public, exclusive=7),
        lambda: verify_command_audit(ATTEST, SIGNATURE, AK.public, codes=["x"]),
        lambda: verify_command_audit(ATTEST, SIGNATURE, AK.public, commands=[], digest=b""),
        lambda: audit_digest([(1, 2, 3, 4)], "sha1"),
        lambda: audit_digest([(1, (), b"", "x")], "sha1"),
        lambda: audit_digest([], "sha1", b"short"),
    ],
)
def test_wrong_arguments_are_refused(call):
    with pytest.raises(TpmMisuseError):
        call()


def test_a_signature_that_cannot_be_checked_here_is_not_accepted():
    halves = b"".join(two_bytes(bytes(32)) for _ in range(2))
    for scheme in (0x001B, 0x001C):
        verdict = verify_quote(ATTEST, struct.pack(">HH", scheme, 0x0B) + halves, AK.public, **EXPECTED)
        assert verdict["signature"].state is ClauseState.NOT_CHECKED
        assert verdict["pcr digest"].state is ClauseState.NOT_CHECKED
        assert not verdict.accepts("signature")
    assert "signature" in failed(verify_quote(ATTEST, b"\0\x10", AK.public))
    assert TPMT_SIGNATURE.decode(b"\0\x10").sigAlg == TPM_ALG_ID.NULL


def test_the_repr_of_a_verdict_is_short() -> None:
    verdict = verify_quote(ATTEST, SIGNATURE, AK.public)
    assert len(repr(verdict)) <= 200
    assert repr(verdict).startswith("<Verdict on ")
    assert f"trust {verdict.grade.value}; {len(verdict.held)} of {len(verdict)} clauses hold" in repr(verdict)
    assert f"not checked: {verdict.unchecked[0].name!r}" in repr(verdict)
    many = tuple(Clause(f"{'x' * 300}{number}", ClauseState.FAILS, "words") for number in range(20))
    assert len(repr(Verdict("y" * 1000, many))) <= 300
    assert "and 19 more" in repr(Verdict("y", many))
