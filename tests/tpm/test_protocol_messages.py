# SPDX-License-Identifier: Apache-2.0
"""Messages of the attestation protocol: one way to write each, and nothing else is read."""

from __future__ import annotations

import copy
import hashlib
import pickle
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.testing.tpm_protocol import messages
from prestocloud_sec.tpm.attest import Clause, ClauseState, Verdict
from prestocloud_sec.tpm.errors import TpmFormatError, TpmMisuseError
from prestocloud_sec.tpm.eventlog import Event
from prestocloud_sec.tpm.protocol import Challenge, Decision, Enrol, Evidence, WantedLogs
from prestocloud_sec.tpm.protocol.messages import EnrolKind, digest, message_type, transcript

KINDS = (Enrol, Challenge, Evidence, Decision)


@given(messages())
def test_a_message_is_read_as_it_was_written(message):
    raw = message.encode()
    again = type(message).decode(raw)
    assert again == message
    assert again.encode() == raw
    assert hash(again) == hash(message)
    assert message_type(raw) == message.TYPE
    assert pickle.loads(pickle.dumps(message)) == copy.deepcopy(message) == message  # noqa: S301
    for kind in KINDS:
        if kind is not type(message):
            with pytest.raises(TpmFormatError, match="type"):
                kind.decode(raw)


@given(messages(), st.data())
def test_no_change_is_hidden_and_no_end_is_missing(message, data):
    raw = message.encode()
    for wrong in (raw[: data.draw(st.integers(0, len(raw) - 1))], raw + b"\0"):
        with pytest.raises(TpmFormatError):
            type(message).decode(wrong)
    bad = bytearray(raw)
    bad[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = type(message).decode(bytes(bad))
    except TpmFormatError:
        return
    assert found.encode() == bad
    assert found != message


@given(st.binary(max_size=80), st.sampled_from(KINDS))
def test_any_bytes_are_a_message_or_refused(raw, kind):
    for given_bytes in (raw, b"PSRA\x01" + bytes([kind.TYPE]) + raw):
        try:
            found = kind.decode(given_bytes)
        except TpmFormatError:
            continue
        assert found.encode() == given_bytes


def test_fields_are_where_the_documentation_puts_them():
    enrol = Enrol(EnrolKind.ENDORSED, bytes(range(32)), b"ak", b"ek!", (b"one", b"two"))
    assert enrol.encode() == (
        b"PSRA\x01\x01\x01" + bytes(range(32)) + b"\0\0\0\x02ak\0\0\0\x03ek!\0\x02\0\0\0\x03one\0\0\0\x03two"
    )
    challenge = Challenge(b"x" * 16, b"n" * 32, 258, b"sel", WantedLogs.BOOT, b"id", b"sec")
    assert challenge.encode() == (
        b"PSRA\x01\x02" + b"x" * 16 + b"n" * 32 + struct.pack(">Q", 258) + b"\0\0\0\x03sel\x01\0\0\0\x02id\0\0\0\x03sec"
    )
    evidence = Evidence(b"x" * 16, b"p" * 32, b"at", b"si", (b"v",), b"boot", b"")
    blobs = b"\0\0\0\x20" + b"p" * 32 + b"\0\0\0\x02at\0\0\0\x02si\0\x01\0\0\0\x01v\0\0\0\x04boot\0\0\0\0"
    assert evidence.encode() == b"PSRA\x01\x03" + b"x" * 16 + blobs
    assert evidence.without_proof() == Evidence(b"x" * 16, b"", b"at", b"si", (b"v",), b"boot").encode()
    verdict = Verdict("x", (Clause("nonce", ClauseState.NOT_CHECKED, "é"),))
    decision = Decision.of(b"x" * 16, verdict, is_accepted=True, issued=1, expires=2)
    clause = b"\0\x01\0\x05nonce\x02\0\x02\xc3\xa9"
    assert decision.encode() == (
        b"PSRA\x01\x04" + b"x" * 16 + b"\x01" + clause + b"\0\0" + struct.pack(">QQH", 1, 2, 0) + bytes(64)
    )
    assert decision.verdict.clauses == verdict.clauses


def test_transcripts_are_over_digests_for_one_purpose():
    one, two = (hashlib.sha256(message).digest() for message in (b"one", b"two"))
    assert transcript("label", digest(b"one"), digest(b"two")) == hashlib.sha256(b"label\0" + one + two).digest()
    assert transcript("other", one, two) != transcript("label", one, two)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (Enrol, b"\x01" + bytes(32) + b"\xff\xff\xff\xff"),
        (Enrol, b"\x01" + bytes(32) + b"\0\0\x10\x01" + bytes(4097)),
        (Enrol, b"\x01" + bytes(32) + bytes(8) + b"\xff\xff"),
        (Enrol, b"\x03" + bytes(32) + bytes(10)),
        (Enrol, b"\x02" + bytes(32) + bytes(10)),
        (Enrol, b"\x02" + bytes(32) + b"\0\0\0\x01a" + bytes(4) + b"\0\x01" + bytes(4)),
        (Enrol, b"\x01" + bytes(32) + bytes(8) + b"\0\x01" + bytes(4)),
        (Challenge, bytes(56) + bytes(4) + b"\x04" + bytes(8)),
        (Challenge, bytes(56) + bytes(4) + b"\x01" + bytes(8)),
        (Challenge, bytes(56) + bytes(4) + b"\0" + b"\0\0\0\x01i" + bytes(4)),
        (Evidence, bytes(16) + b"\0\0\0\x21" + bytes(33)),
        (Evidence, bytes(16) + bytes(12) + b"\x01\x01"),
        (Evidence, bytes(16) + bytes(14) + b"\x02\0\0\x01"),
        (Decision, bytes(16) + b"\x02" + bytes(84)),
        (Decision, bytes(16) + b"\x01" + bytes(86)),
        (Decision, bytes(16) + b"\0" + b"\0\x01\0\x01a\x03\0\0" + bytes(84)),
        (Decision, bytes(16) + b"\0" + b"\0\x01\0\x01\xff\x00\0\0" + bytes(84)),
        (Decision, bytes(16) + b"\0" + b"\0\x02" + b"\0\x01a\x00\0\0" * 2 + bytes(84)),
        (Decision, bytes(16) + b"\x01" + b"\0\x01\0\x01a\x01\0\0" + bytes(84)),
    ],
)
def test_what_breaks_a_limit_or_does_not_go_together_is_refused(kind, body):
    with pytest.raises(TpmFormatError):
        kind.decode(b"PSRA\x01" + bytes([kind.TYPE]) + body)


@pytest.mark.parametrize("head", [b"", b"PSRA", b"PSRA\x02\x01", b"PSRB\x01\x01", b"PSRA\x01"])
def test_other_versions_and_other_things_are_refused(head):
    with pytest.raises(TpmFormatError):
        message_type(head)
    for kind in KINDS:
        with pytest.raises(TpmFormatError):
            kind.decode(head + bytes(100))


GOOD = (bytes(16), bytes(32), 0, b"", WantedLogs.NONE, b"", b"")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Enrol(7, bytes(32), b"", b"", (b"x",)),
        lambda: Enrol("x", bytes(32), b"", b"", (b"x",)),
        lambda: Enrol(2, bytes(31), b"", b"", (b"x",)),
        lambda: Enrol(2, bytes(32), b"", b"", b"xxx"),
        lambda: Enrol(2, bytes(32), b"", b"", 7),
        lambda: Enrol(2, bytes(32), b"", b"", (7,)),
        lambda: Enrol(2, bytes(32), b"", b"", (b"x",) * 9),
        lambda: Enrol(2, bytes(32), b"", b"", (bytes(16385),)),
        lambda: Challenge(*GOOD[:2], -1, *GOOD[3:]),
        lambda: Challenge(*GOOD[:4], 8, *GOOD[5:]),
        lambda: Challenge(*GOOD[:3], "x", *GOOD[4:]),
        lambda: Evidence(bytes(16), bytes(33), b"", b""),
        lambda: Evidence(bytes(16), b"", b"", b"", (bytes(65),)),
        lambda: Decision(bytes(16), 2, (), "", 0, 0),
        lambda: Decision(bytes(16), 0, (7,), "", 0, 0),
        lambda: Decision(bytes(16), 0, (), 7, 0, 0),
        lambda: Decision(bytes(16), 0, (), "x" * 2001, 0, 0),
        lambda: Decision(bytes(16), 0, (), "\ud800", 0, 0),
        lambda: Decision(bytes(16), 1, (), "", 0, 0),
        lambda: Decision.of(bytes(16), Verdict("x", ()), is_accepted=False, issued=0, expires=1 << 64),
        lambda: Enrol.decode("text"),
        lambda: message_type(7),
    ],
)
def test_what_makes_no_message_is_refused(make):
    with pytest.raises(TpmMisuseError):
        make()


def test_words_that_are_too_long_are_cut():
    clauses = (Clause("a", ClauseState.FAILS, "é" * 3000), Clause("b", ClauseState.FAILS, "half \ud800"))
    culprit = Event(4, 0xD, (), "\ud800 words".encode("utf-16-le", "surrogatepass"))
    verdict = Verdict("x", clauses, culprit=culprit)
    decision = Decision.of(bytes(16), verdict, is_accepted=False, issued=0, expires=0)
    assert Decision.decode(decision.encode()) == decision
    assert decision.clauses[0].words.endswith("é...")
    assert len(decision.clauses[0].words.encode()) <= 2000
    assert "event 0: PCR 4 EV_IPL" in decision.culprit
