# SPDX-License-Identifier: Apache-2.0
"""Responses that are not those of the TPM, or of another command: refused, and nothing changes."""

from __future__ import annotations

from typing import Any

import pytest

from prestocloud_sec.tpm.errors import (
    ResponseHmacError,
    SessionStateError,
    TpmFormatError,
    TpmInputError,
)
from prestocloud_sec.tpm.session import (
    PASSWORD,
    Exchange,
    Session,
    SessionKind,
    SessionState,
    authorize,
)
from tests.tpm.session.bench import (
    BOTH,
    LOAD,
    OBJECT,
    Bench,
)
from tests.tpm.session.model import Answer


@pytest.fixture
def under_way() -> tuple[Bench, list[Any], Exchange, Answer]:
    bench = Bench.make()
    sessions = [bench.session(hash="sha1"), bench.session(cipher="aes128", salted=True), bench.session(hash="sha384")]
    uses = [sessions[0], sessions[1], sessions[2].use(audit=True)]
    exchange = authorize(LOAD, [OBJECT], b"\0\5hello", uses, [bench.value(OBJECT)], encryptable=BOTH)
    return bench, sessions, exchange, bench.send(exchange, [OBJECT], 1)


def seen(sessions: list[Session]) -> list[Any]:
    return [(s.nonce_tpm, s.state, s.audit_digest, s.is_exclusive) for s in sessions]


def test_every_flipped_bit_of_a_response_is_refused_and_changes_nothing(
    under_way: tuple[Bench, list[Any], Exchange, Answer],
) -> None:
    _, sessions, exchange, answer = under_way
    before = seen(sessions)
    whole = answer.parameters + answer.area
    for bit in range(8 * len(whole)):
        forged = bytearray(whole)
        forged[bit // 8] ^= 0x80 >> bit % 8
        cut = len(answer.parameters)
        with pytest.raises(TpmInputError):
            exchange.accept(bytes(forged[:cut]), bytes(forged[cut:]))
        assert seen(sessions) == before
    assert exchange.accept(answer.parameters, answer.area) == b"\0\5olleh" + LOAD.to_bytes(4, "big")
    assert seen(sessions) != before


def test_every_cut_and_every_longer_response_is_refused(
    under_way: tuple[Bench, list[Any], Exchange, Answer],
) -> None:
    _, sessions, exchange, answer = under_way
    before = seen(sessions)
    for size in range(len(answer.area)):
        with pytest.raises(TpmFormatError):
            exchange.accept(answer.parameters, answer.area[:size])
    for size in range(len(answer.parameters)):
        with pytest.raises(ResponseHmacError):
            exchange.accept(answer.parameters[:size], answer.area)
    for parameters, area in ((answer.parameters + b"\0", answer.area), (answer.parameters, answer.area + b"\0")):
        with pytest.raises(TpmInputError):
            exchange.accept(parameters, area)
    assert seen(sessions) == before


def test_answers_without_an_hmac_are_held_to_their_form() -> None:
    bench = Bench.make()
    policy = bench.session(SessionKind.POLICY)
    exchange = authorize(LOAD, [OBJECT, OBJECT], b"\0\0", [PASSWORD, policy], [bench.value(OBJECT), b""])
    answer = bench.send(exchange, [OBJECT, OBJECT], 2)
    plain = b"\0\0\1\0\0"
    assert answer.area.startswith(plain)
    for wrong in (b"\0\0\0\0\0", b"\0\1\1\0\0", b"\0\0\1\0\1"):
        with pytest.raises(TpmFormatError):
            exchange.accept(answer.parameters, wrong + answer.area[5:])
    for bit in (3, 4, 5, 6, 7):
        area = bytearray(answer.area)
        area[-3] ^= 1 << bit
        with pytest.raises(TpmFormatError, match="attributes"):
            exchange.accept(answer.parameters, bytes(area))
    exchange.accept(answer.parameters, answer.area)


def test_the_attributes_of_the_response_end_the_session() -> None:
    bench = Bench.make()
    policy = bench.session(SessionKind.POLICY)
    exchange = authorize(LOAD, [OBJECT], b"\0\0", [policy], [b""])
    answer = bench.send(exchange, [OBJECT], 1)
    exchange.accept(answer.parameters, answer.area[:-3] + b"\0\0\0")
    assert policy.state is SessionState.CLOSED


def test_what_was_to_be_encrypted_must_be_there() -> None:
    """An HMAC that is right over parameters that are not: what a TPM with a fault would send."""
    bench = Bench.make()
    policy = bench.session(SessionKind.POLICY, cipher="xor")
    exchange = authorize(LOAD, [OBJECT], b"\0\0", [policy], [b""], encryptable=(False, True))
    answer = bench.send(exchange, [OBJECT], 1)
    for parameters in (b"", b"\0", b"\0\5abcd", b"\xff\xff"):
        with pytest.raises(TpmFormatError):
            exchange.accept(parameters, answer.area)
    assert policy.state is SessionState.WAITING


def test_a_recorded_response_is_not_taken_again() -> None:
    bench = Bench.make()
    session = bench.session(salted=True)
    exchange = authorize(LOAD, [OBJECT], b"\0\0", [session], [bench.value(OBJECT)])
    answer = bench.send(exchange, [OBJECT], 1)
    exchange.accept(answer.parameters, answer.area)
    with pytest.raises(SessionStateError):
        exchange.accept(answer.parameters, answer.area)
    again = authorize(LOAD, [OBJECT], b"\0\0", [session], [bench.value(OBJECT)])
    with pytest.raises(ResponseHmacError):
        again.accept(answer.parameters, answer.area)
