# SPDX-License-Identifier: Apache-2.0
"""Commands that cannot be authorized, sessions that cannot be made, and where secrets must not show."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from prestocloud_sec.tpm.errors import (
    SessionStateError,
    TpmFormatError,
    TpmMisuseError,
)
from prestocloud_sec.tpm.salt import Salt
from prestocloud_sec.tpm.session import (
    PASSWORD,
    AuthValue,
    Binding,
    Exchange,
    HmacSession,
    PolicySession,
    SessionKind,
    SessionStart,
    SessionState,
    Use,
    authorize,
)
from tests.tpm.session.bench import (
    BOTH,
    HIERARCHY_CHANGE_AUTH,
    LOAD,
    OBJECT,
    OTHER,
    Bench,
)


def test_one_command_at_a_time() -> None:
    bench = Bench.make()
    session = bench.session()
    exchange = authorize(LOAD, [OBJECT], b"", [session], [b""])
    with pytest.raises(SessionStateError, match="under way"):
        authorize(LOAD, [OBJECT], b"", [session], [b""])
    exchange.refused()
    with pytest.raises(SessionStateError):
        exchange.lost()
    bench.run([session], [OBJECT])
    exchange = authorize(LOAD, [OBJECT], b"", [session], [b""])
    exchange.lost()
    assert session.state is SessionState.LOST
    with pytest.raises(SessionStateError, match="lost"):
        authorize(LOAD, [OBJECT], b"", [session], [b""])
    with pytest.raises(SessionStateError):
        exchange.accept(b"", b"")


def test_a_session_that_is_wiped_while_it_waits_stays_closed() -> None:
    bench = Bench.make()
    for end in (Exchange.lost, Exchange.refused):
        session = bench.session(salted=True, bind=OBJECT)
        exchange = authorize(LOAD, [OBJECT], b"", [session], [b""])
        session.wipe()
        end(exchange)
        assert session.state is SessionState.CLOSED
        assert not any(session._key)
        with pytest.raises(SessionStateError, match="ended"):
            authorize(LOAD, [OBJECT], b"", [session], [b""])


def test_an_accepted_response_does_not_wake_a_session_that_was_wiped() -> None:
    bench = Bench.make()
    session = bench.session(salted=True)
    exchange = authorize(LOAD, [OBJECT], b"\0\0", [session], [bench.value(OBJECT)])
    answer = bench.send(exchange, [OBJECT], 1)
    session.wipe()
    with pytest.raises(SessionStateError):
        exchange.accept(answer.parameters, answer.area)
    assert session.state is SessionState.CLOSED


def test_what_authorize_refuses() -> None:
    bench = Bench.make()
    session, cipher = bench.session(), bench.session(cipher="aes128")
    trial = bench.session(SessionKind.TRIAL)
    value = AuthValue(b"v")
    wiped = AuthValue(b"v")
    wiped.wipe()
    good: dict[str, Any] = {
        "code": LOAD,
        "names": [OBJECT],
        "parameters": b"\0\1x",
        "sessions": [session],
        "auths": [value],
        "encryptable": BOTH,
    }
    for changes in (
        {"code": -1},
        {"code": 1 << 32},
        {"code": "Load"},
        {"names": None},
        {"names": [7]},
        {"names": []},
        {"names": ["text"]},
        {"parameters": "text"},
        {"parameters": None},
        {"sessions": []},
        {"sessions": [session, cipher, bench.session(cipher="xor"), bench.session(cipher="xor")]},
        {"sessions": [None]},
        {"sessions": session},
        {"sessions": [trial]},
        {"sessions": [session, session.use(audit=True)]},
        {"sessions": [cipher, PASSWORD]},
        {"sessions": [cipher, session]},
        {"sessions": [cipher], "auths": [], "encryptable": (False, False)},
        {"sessions": [cipher.use(decrypt=True)], "encryptable": (False, True)},
        {"sessions": [cipher.use(encrypt=True)], "encryptable": (True, False)},
        {"sessions": [cipher.use(decrypt=True), bench.session(cipher="xor").use(decrypt=True)]},
        {"sessions": [cipher], "parameters": b"\0\2x"},
        {"sessions": [cipher], "parameters": b"\0"},
        {"auths": [value, value]},
        {"auths": [value, value], "names": [OBJECT, OTHER]},
        {"auths": [None]},
        {"auths": None},
        {"auths": [wiped]},
        {"encryptable": None},
        {"encryptable": (1, 0)},
        {"encryptable": (True,)},
        {"code": HIERARCHY_CHANGE_AUTH, "parameters": b"\0\5x"},
        {"code": HIERARCHY_CHANGE_AUTH, "parameters": b""},
    ):
        with pytest.raises(TpmMisuseError):
            authorize(**{**good, **changes})
        assert session.state is SessionState.READY, changes
        assert cipher.state is SessionState.READY, changes
    exchange = authorize(**good)
    for arguments in ((None, b""), (b"", None), ("", "")):
        with pytest.raises(TpmMisuseError):
            exchange.accept(*arguments)  # type: ignore[arg-type]


def test_bytes_like_is_as_good_as_bytes() -> None:
    bench = Bench.make()
    session = bench.session(cipher="aes128")
    parameters = bytearray(b"\0\5hello")
    given_ = LOAD, (memoryview(OBJECT),), parameters, iter([session]), (b"object value" for _ in range(1))
    exchange = authorize(*given_, encryptable=BOTH)  # type: ignore[arg-type]
    answer = bench.send(exchange, [OBJECT], 1)
    assert exchange.accept(memoryview(answer.parameters), bytearray(answer.area)).startswith(b"\0\5olleh")


@pytest.mark.parametrize(
    "changes",
    [
        {"handle": 0x03000000},
        {"handle": 0x80000000},
        {"handle": -1},
        {"handle": None},
        {"hash": "md5"},
        {"nonce_tpm": bytes(15)},
        {"nonce_tpm": bytes(33)},
        {"nonce_tpm": "text"},
        {"session_key": bytes(31)},
        {"session_key": None},
        {"cipher": "aes"},
        {"binding": OBJECT},
        {"binding": Binding(OBJECT, AuthValue())},
        {"random": None},
    ],
)
def test_what_a_session_refuses(changes: dict[str, Any]) -> None:
    good: dict[str, Any] = {"handle": 0x02000000, "hash": "sha256", "nonce_tpm": bytes(32)}
    HmacSession(**good)
    with pytest.raises(TpmMisuseError):
        HmacSession(**{**good, **changes})


@pytest.mark.parametrize("bad", [lambda size: bytes(size - 1), lambda size: "x" * size, lambda: b"", lambda size: None])
def test_what_is_no_source_of_nonces(bad: Any) -> None:
    session = HmacSession(0x02000000, hash="sha256", nonce_tpm=bytes(32), random=bad)
    with pytest.raises(TpmMisuseError):
        authorize(LOAD, [OBJECT], b"", [session], [b""])
    with pytest.raises(TpmMisuseError):
        SessionStart(random=bad)


def test_a_nonce_is_not_used_twice() -> None:
    session = HmacSession(0x02000000, hash="sha256", nonce_tpm=bytes(32), random=bytes)
    authorize(LOAD, [OBJECT], b"", [session], [b""]).refused()
    with pytest.raises(TpmMisuseError, match="nonce again"):
        authorize(LOAD, [OBJECT], b"", [session], [b""])


def test_what_a_use_refuses() -> None:
    bench = Bench.make()
    session, policy = bench.session(), bench.session(SessionKind.POLICY, cipher="xor")
    for arguments in (
        {"session": None},
        {"session": session, "decrypt": True},
        {"session": session, "encrypt": True},
        {"session": session, "audit": 1},
        {"session": session, "audit_reset": True},
        {"session": session, "audit_exclusive": True},
        {"session": session, "continue_session": None},
        {"session": policy, "audit": True},
        {"session": policy, "decrypt": "yes"},
        {"session": PASSWORD, "audit": True},
        {"session": PASSWORD, "encrypt": True},
    ):
        with pytest.raises(TpmMisuseError):
            Use(**arguments)


def test_what_a_start_refuses() -> None:
    for arguments in (
        {"kind": 2},
        {"kind": "hmac"},
        {"kind": []},
        {"hash": "md5"},
        {"cipher": "aes"},
        {"salt": b"salt"},
        {"binding": b"name"},
        {"nonce_size": 15},
        {"nonce_size": 33},
        {"nonce_size": "32"},
    ):
        with pytest.raises(TpmMisuseError):
            SessionStart(**arguments)  # type: ignore[arg-type]
    start = SessionStart(SessionKind.HMAC, nonce_size=20)
    for answer in ((0x03000000, bytes(20)), (0x02000000, bytes(21))):
        with pytest.raises(TpmFormatError):
            start.answered(*answer)
    for wrong in ((None, bytes(20)), (0x02000000, "x"), (1 << 32, bytes(20))):
        with pytest.raises(TpmMisuseError):
            start.answered(*wrong)  # type: ignore[arg-type]
    assert isinstance(start.answered(0x02000000, bytes(20)), HmacSession)
    with pytest.raises(SessionStateError):
        start.answered(0x02000000, bytes(20))
    trial = SessionStart(SessionKind.TRIAL).answered(0x03000001, bytes(32))
    assert isinstance(trial, PolicySession)
    assert trial.is_trial


# --- secrets


def test_secrets_are_not_shown_and_not_copied() -> None:
    bench = Bench.make()
    session = bench.session(salted=True, bind=OBJECT, cipher="aes128")
    exchange = authorize(LOAD, [OBJECT], b"\0\0", [session], [b"a password"])
    start = SessionStart(salt=Salt(b"saltsecret", b"public"), binding=Binding(OBJECT, AuthValue(b"bindsecret")))
    for held in (session, exchange, start, session.default):
        for shown in (repr(held), str(held)):
            for secret in (bytes(session._key), b"a password", b"saltsecret", b"bindsecret"):
                assert repr(secret)[2:-1] not in shown
                assert secret.hex() not in shown
        with pytest.raises(TpmMisuseError):
            pickle.dumps(held)
        with pytest.raises(TpmMisuseError):
            copy.deepcopy(held)


def test_authorization_values() -> None:
    value = AuthValue("pässword")
    assert value.raw == "pässword".encode()
    assert value == AuthValue(value.raw + bytes(5))
    assert value != AuthValue(b"other")
    assert value != value.raw
    assert copy.copy(value) is copy.deepcopy(value) is value
    assert AuthValue().is_empty
    assert "ssword" not in repr(value)
    with pytest.raises(TpmMisuseError):
        pickle.dumps(value)
    with pytest.raises(TypeError):
        hash(value)
    for wrong in (None, 7, "\ud800", bytes(70000)):
        with pytest.raises(TpmMisuseError) as caught:
            AuthValue(wrong)  # type: ignore[arg-type]
        assert caught.value.__cause__ is None or "ud800" not in str(caught.value.__cause__)
    value.wipe()
    value.wipe()
    assert repr(value) == "AuthValue(wiped)"
    for use in (lambda: value.raw, lambda: value.is_empty, lambda: value == AuthValue()):
        with pytest.raises(TpmMisuseError):
            use()


def test_the_binding_is_a_copy_of_its_own() -> None:
    bench = Bench.make()
    value = bench.value(OBJECT)
    start = SessionStart(binding=Binding(OBJECT, value))
    value.wipe()
    session = start.answered(*bench.model.start(0, "sha256", "null", start.nonce_caller, bind=OBJECT))
    assert isinstance(session, HmacSession)
    bench.run([session], [OBJECT])
