# SPDX-License-Identifier: Apache-2.0
"""Sessions against the model of the TPM's side: every hash, cipher, way to start a session, and role in a command."""

from __future__ import annotations

import copy
import hashlib
import itertools
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestocloud_sec.tpm.errors import (
    ResponseHmacError,
    SessionStateError,
    TpmFormatError,
    TpmInputError,
    TpmMisuseError,
)
from prestocloud_sec.tpm.salt import Salt
from prestocloud_sec.tpm.session import (
    PASSWORD,
    AuthValue,
    Binding,
    Exchange,
    HmacSession,
    ParameterCipher,
    PolicySession,
    Session,
    SessionKind,
    SessionStart,
    SessionState,
    Use,
    auth_after,
    authorize,
)
from tests.tpm.session.model import Answer, Model

HASHES = ("sha1", "sha256", "sha384", "sha512")
CIPHERS = ("null", "aes128", "aes256", "xor")
OBJECT = b"\x00\x0b" + hashlib.sha256(b"an object").digest()
OTHER = b"\x00\x0b" + hashlib.sha256(b"another").digest()
OWNER, LOCKOUT = bytes.fromhex("40000001"), bytes.fromhex("4000000a")
LOAD, CLEAR, HIERARCHY_CHANGE_AUTH, OBJECT_CHANGE_AUTH = 0x157, 0x126, 0x129, 0x150
POLICY_AUTH_VALUE, POLICY_PASSWORD, POLICY_RESTART, POLICY_PCR = 0x16B, 0x18C, 0x180, 0x17F
BOTH = (True, True)


def seeded(seed: object) -> Callable[[int], bytes]:
    """Return a source of bytes that never repeats itself."""
    count = itertools.count()
    return lambda size: hashlib.shake_256(repr((seed, next(count))).encode()).digest(size)


def cipher_of(name: str) -> ParameterCipher | None:
    if name == "null":
        return None
    return ParameterCipher("xor", 0x000B) if name == "xor" else ParameterCipher("aes", int(name[3:]))


@dataclass
class Bench:
    """A model TPM with two objects, a hierarchy and lockout, and what starts sessions with it."""

    model: Model

    @classmethod
    def make(cls, seed: int = 0) -> Bench:
        values = {OBJECT: b"object value", OTHER: b"", OWNER: b"owner\0\0", LOCKOUT: b"lock"}
        return cls(Model(seed, dict(values)))

    def value(self, name: bytes) -> AuthValue:
        return AuthValue(self.model.entities[name])

    def session(
        self,
        kind: SessionKind = SessionKind.HMAC,
        hash: str = "sha256",
        cipher: str = "null",
        *,
        salted: bool = False,
        bind: bytes | None = None,
        nonce_size: int | None = None,
    ) -> Any:
        salt = Salt(b"a salt of 24 bytes......", b"encrypted") if salted else None
        start = SessionStart(
            kind,
            hash=hash,
            cipher=cipher_of(cipher),
            salt=salt,
            binding=None if bind is None else Binding(bind, self.value(bind)),
            nonce_size=nonce_size,
            random=seeded((kind, hash, cipher, len(self.model.sessions))),
        )
        secret = b"" if salt is None else salt.secret
        return start.answered(*self.model.start(kind, hash, cipher, start.nonce_caller, salt=secret, bind=bind))

    def send(self, exchange: Exchange, names: list[bytes], authorized: int) -> Answer:
        return self.model.execute(exchange.code, names, authorized, exchange.authorizations, exchange.parameters)

    def run(
        self,
        sessions: list[Any],
        names: list[bytes],
        *,
        authorized: int | None = None,
        code: int = LOAD,
        parameters: bytes = b"\0\x05hello rest",
        encryptable: tuple[bool, bool] = BOTH,
    ) -> bytes:
        """Run a command, and hold what the TPM executed and answered to what was meant."""
        count = len(names) if authorized is None else authorized
        values = [self.value(name) for name in names[:count]]
        exchange = authorize(code, names, parameters, sessions, values, encryptable=encryptable)
        answer = self.send(exchange, names, count)
        assert answer.rc == 0
        assert self.model.executed == parameters
        back = exchange.accept(answer.parameters, answer.area)
        size = int.from_bytes(parameters[:2], "big")
        assert back == parameters[:2] + parameters[2 : 2 + size][::-1] + code.to_bytes(4, "big")
        for handle, kept in self.model.sessions.items():
            for given_ in sessions:
                session = given_.session if isinstance(given_, Use) else given_
                if session.handle == handle:
                    assert session.nonce_tpm == kept.nonce
                    assert session.audit_digest == kept.audit
                    assert session.state is SessionState.READY
        return back


BINDS = {"unbound": None, "bound": OBJECT, "bound to another": OTHER}


@pytest.mark.parametrize("kind", [SessionKind.HMAC, SessionKind.POLICY])
@pytest.mark.parametrize("salted", [False, True])
@pytest.mark.parametrize("bind", BINDS)
@pytest.mark.parametrize("cipher", CIPHERS)
@pytest.mark.parametrize("hash", HASHES)
def test_every_kind_of_session(kind: SessionKind, hash: str, cipher: str, salted: bool, bind: str) -> None:
    bench = Bench.make()
    session = bench.session(kind, hash, cipher, salted=salted, bind=BINDS[bind])
    for _ in range(3):
        bench.run([session], [OBJECT, OTHER], authorized=1)
    bench.run([session.use(decrypt=False, encrypt=False)], [OBJECT])
    bench.run([session], [OWNER], encryptable=(False, False))
    assert a_wrong_value_is_noticed(bench, session) == (kind is SessionKind.HMAC)
    bench.run([session.use(continue_session=False)], [OBJECT])
    assert session.state is SessionState.CLOSED
    assert not bench.model.sessions


def a_wrong_value_is_noticed(bench: Bench, session: Session) -> bool:
    """Say whether the TPM refuses a command that was authorized with a wrong value."""
    exchange = authorize(LOAD, [OBJECT], b"\0\0", [session.use(decrypt=False, encrypt=False)], [b"wrong"])
    rc = bench.send(exchange, [OBJECT], 1).rc
    exchange.refused()
    if rc == 0:
        bench.model.sessions[session.handle].nonce = session.nonce_tpm
    return rc != 0


@pytest.mark.parametrize("salted", [False, True])
@pytest.mark.parametrize("cipher", CIPHERS)
@pytest.mark.parametrize("name", [OBJECT, OTHER])
def test_policy_sessions_need_the_value_that_their_policy_says(cipher: str, salted: bool, name: bytes) -> None:
    bench = Bench.make()
    session = bench.session(SessionKind.POLICY, "sha256", cipher, salted=salted)
    model = bench.model.sessions[session.handle]
    for code, needs in ((POLICY_AUTH_VALUE, "auth"), (POLICY_PASSWORD, "password"), (POLICY_PCR, "")):
        session.policy_command(code)
        model.needs = needs
        assert (session.needs_auth_value, session.needs_password) == (needs == "auth", needs == "password")
        bench.run([session], [name])
        assert not session.needs_auth_value
        assert not session.needs_password
    session.policy_command(POLICY_PASSWORD)
    session.policy_command(POLICY_AUTH_VALUE)
    model.needs = "auth"
    bench.run([session], [name])
    session.policy_command(POLICY_AUTH_VALUE)
    session.policy_command(POLICY_RESTART)
    bench.run([session], [name])


def test_a_policy_session_that_only_encrypts_gives_no_value() -> None:
    bench = Bench.make()
    for code, needs in ((POLICY_AUTH_VALUE, "auth"), (POLICY_PASSWORD, "password")):
        session = bench.session(SessionKind.POLICY, "sha256", "aes128", salted=True)
        session.policy_command(code)
        bench.model.sessions[session.handle].needs = needs
        bench.run([PASSWORD, session], [OBJECT])
        assert not session.needs_auth_value
        assert not session.needs_password


ROLES = [
    ("password, one that encrypts", ["password", "aes128"], 1),
    ("HMAC, one that encrypts", ["null", "xor"], 1),
    ("HMAC, one for each direction", ["null", "aes128-d", "xor-e"], 1),
    ("the other order", ["null", "aes128-e", "xor-d"], 1),
    ("one that encrypts and one that is there", ["aes256-d", "xor-e"], 1),
    ("two handles, two sessions, a third encrypts", ["null", "aes128-n", "aes256"], 2),
    ("two handles, the second encrypts", ["null", "aes128"], 2),
    ("two passwords, a third encrypts", ["password", "password", "xor"], 2),
    ("no handle, encrypts", ["aes128"], 0),
    ("no handle, three", ["aes128-d", "xor-e", "null-a"], 0),
    ("audits and encrypts", ["null", "aes128-a"], 1),
    ("audits and authorizes", ["null-a"], 1),
]


@pytest.mark.parametrize(("roles", "authorized"), [r[1:] for r in ROLES], ids=[r[0] for r in ROLES])
@pytest.mark.parametrize("salted", [False, True])
def test_several_sessions(roles: list[str], authorized: int, salted: bool) -> None:
    bench = Bench.make()
    hashes = itertools.cycle(("sha256", "sha384", "sha1"))
    uses: list[Any] = []
    for role in roles:
        if role == "password":
            uses.append(PASSWORD)
            continue
        cipher, _, what = role.partition("-")
        session = bench.session(SessionKind.HMAC, next(hashes), cipher, salted=salted)
        options: dict[str, dict[str, Any]] = {
            "": {},
            "a": {"audit": True},
            "d": {"decrypt": True, "encrypt": False},
            "e": {"decrypt": False, "encrypt": True},
            "n": {"decrypt": False, "encrypt": False},
        }
        uses.append(session.use(**options[what]))
    names = [OBJECT, OTHER][: max(authorized, 0)]
    for _ in range(3):
        bench.run(uses, names, authorized=authorized)


def test_the_choice_of_who_encrypts_falls_on_the_first_that_can() -> None:
    bench = Bench.make()
    first, second, third = (bench.session(cipher=c) for c in ("null", "aes128", "xor"))
    exchange = authorize(LOAD, [OBJECT], b"\0\1x", [first, second, third.use(audit=True)], [b"v"], encryptable=BOTH)
    assert [a.attributes for a in bench.model.parse(exchange.authorizations)] == [0x01, 0x61, 0x81]
    exchange.refused()
    named = [first, second, third.use(encrypt=True)]
    exchange = authorize(LOAD, [OBJECT], b"\0\1x", named, [b"v"], encryptable=BOTH)
    assert [a.attributes for a in bench.model.parse(exchange.authorizations)] == [0x01, 0x21, 0x41]
    exchange.refused()
    exchange = authorize(LOAD, [OBJECT], b"\0\1x", [second.use(decrypt=False)], [b"v"], encryptable=(True, False))
    assert [a.attributes for a in bench.model.parse(exchange.authorizations)] == [0x01]


def test_values_that_a_command_changes() -> None:
    for code, name, parameters, after in (
        (HIERARCHY_CHANGE_AUTH, OWNER, b"\0\x06new\0\0\0", b"new"),
        (HIERARCHY_CHANGE_AUTH, OTHER, b"\0\x03any", b"any"),
        (HIERARCHY_CHANGE_AUTH, OWNER, b"\0\0", b""),
        (CLEAR, LOCKOUT, b"\0\0", b""),
        (CLEAR, OWNER, b"\0\0", None),
        (OBJECT_CHANGE_AUTH, OBJECT, b"\0\x03new", None),
    ):
        told = auth_after(code, [name], parameters)
        assert (None if told is None else told.raw) == after
        for kind, bind in ((0, None), (0, name), (0, OBJECT), (1, None)):
            bench = Bench.make()
            session = bench.session(SessionKind(kind), cipher="aes128", bind=bind)
            if kind:
                session.policy_command(POLICY_AUTH_VALUE)
                bench.model.sessions[session.handle].needs = "auth"
            # none of these commands has parameters in its response
            bench.run([session], [name], code=code, parameters=parameters, encryptable=(True, False))
            if not kind:
                bench.run([session], [name])  # a session bound to the entity as it was is not bound any more


def test_an_audit_session_is_not_bound_any_more() -> None:
    bench = Bench.make()
    session = bench.session(bind=OBJECT)
    assert session.is_bound
    bench.run([session], [OBJECT])
    bench.run([session.use(audit=True)], [OBJECT])
    assert not session.is_bound
    bench.run([session], [OBJECT])


def test_audit_digests_and_exclusiveness() -> None:
    bench = Bench.make()
    session, other = bench.session(hash="sha384"), bench.session()
    assert session.audit_digest is None
    bench.run([session.use(audit=True)], [OBJECT])
    first = session.audit_digest
    assert session.is_exclusive
    bench.run([session.use(audit=True, audit_exclusive=True)], [OBJECT])
    assert session.is_exclusive
    assert session.audit_digest not in (first, None)
    bench.run([other], [OBJECT])
    bench.run([session.use(audit=True)], [OBJECT])
    assert not session.is_exclusive
    bench.run([session.use(audit=True, audit_reset=True)], [OBJECT])
    assert session.is_exclusive


def test_a_name_that_changes_ends_the_binding() -> None:
    bench = Bench.make()
    session = bench.session(bind=OBJECT)
    bench.model.entities[b"\0\x0brenamed"] = bench.model.entities[OBJECT]
    bench.run([session], [b"\0\x0brenamed"])
    bench.model.entities[OBJECT] = b"changed"
    bench.run([session], [OBJECT])


# --- responses that are not


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


# --- commands that are not


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


# --- the cipher as a value


@given(
    st.sampled_from(
        [("aes", 128), ("aes", 192), ("aes", 256), ("sm4", 128), ("camellia", 192), ("tdes", 192), ("xor", 4)]
    )
)
def test_ciphers_encode_and_decode(pair: tuple[str, int]) -> None:
    cipher = ParameterCipher(*pair)
    assert ParameterCipher.decode(cipher.encode()) == cipher
    data = b"some parameter of a command"
    made = cipher.encrypt("sha256", b"key", bytes(32), bytes(16), data)
    assert made != data
    assert len(made) == len(data)
    assert cipher.decrypt("sha256", b"key", bytes(32), bytes(16), made) == data
    assert cipher.encrypt("sha256", b"key", bytes(32), bytes(16), b"") == b""


@given(st.binary(max_size=8))
@settings(max_examples=300)
def test_no_bytes_are_a_cipher_by_mistake(data: bytes) -> None:
    try:
        cipher = ParameterCipher.decode(data)
    except TpmFormatError:
        return
    assert (b"\0\x10" if cipher is None else cipher.encode()) == data


def test_what_is_no_cipher() -> None:
    for arguments in (("des", 56), ("aes", 129), ("aes", "128"), ("aes", True), (6, 128), ("xor", 6), ("xor", None)):
        with pytest.raises(TpmMisuseError):
            ParameterCipher(*arguments)  # type: ignore[arg-type]
    for wrong in ("0006", "00060080", "000600800042", "00060081004300", "000600810043", "000a0010", "0025", ""):
        with pytest.raises(TpmFormatError):
            ParameterCipher.decode(bytes.fromhex(wrong))
    with pytest.raises(TpmMisuseError):
        ParameterCipher.decode("0010")  # type: ignore[arg-type]
