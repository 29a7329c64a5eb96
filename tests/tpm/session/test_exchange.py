# SPDX-License-Identifier: Apache-2.0
"""Sessions against the model of the TPM's side: every hash, cipher, way to start a session, and role in a command."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.tpm.session import (
    PASSWORD,
    PolicySession,
    Session,
    SessionKind,
    SessionState,
    auth_after,
    authorize,
)
from tests.tpm.session.bench import (
    BOTH,
    CIPHERS,
    CLEAR,
    HASHES,
    HIERARCHY_CHANGE_AUTH,
    LOAD,
    LOCKOUT,
    OBJECT,
    OBJECT_CHANGE_AUTH,
    OTHER,
    OWNER,
    POLICY_AUTH_VALUE,
    POLICY_PASSWORD,
    POLICY_PCR,
    POLICY_RESTART,
    Bench,
)

BINDS = {"unbound": None, "bound": OBJECT, "bound to another": OTHER}


@pytest.mark.parametrize("kind", [SessionKind.HMAC, SessionKind.POLICY])
@pytest.mark.parametrize("salted", [False, True])
@pytest.mark.parametrize("bind", BINDS)
@pytest.mark.parametrize("cipher", CIPHERS)
@pytest.mark.parametrize("hash", HASHES)
def test_every_kind_of_session(kind: SessionKind, hash: str, cipher: str, salted: bool, bind: str) -> None:
    bench = Bench.make()
    session = bench.session(kind, hash, cipher, salted=salted, bind=BINDS[bind])
    if kind is SessionKind.POLICY and cipher != "null":
        with pytest.raises(TpmMisuseError, match="does not ask for"):
            bench.run([session], [OBJECT, OTHER], authorized=1)
        names = [OTHER, OBJECT]  # whose value is empty
    else:
        names = [OBJECT, OTHER]
    for _ in range(3):
        bench.run([session], names, authorized=1)
    bench.run([session.use(decrypt=False, encrypt=False)], [OBJECT])
    bench.run([session], [OWNER], encryptable=(False, False))
    assert a_wrong_value_is_noticed(bench, session) == (kind is SessionKind.HMAC)
    bench.run([session.use(continue_session=False)], names[:1])
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


def run_or_refuse(bench: Bench, session: PolicySession, name: bytes, *, asked: bool) -> None:
    """Run a command; a value that the policy does not ask for keys no encryption, whoever asks for that."""
    if asked or session.cipher is None or bench.value(name).is_empty:
        bench.run([session], [name])
        return
    for use in (session, session.use(encrypt=True), session.use(decrypt=True, encrypt=False)):
        with pytest.raises(TpmMisuseError, match="does not ask for"):
            bench.run([use], [name])
        assert session.state is SessionState.READY
    further = bench.session(cipher="xor")
    for uses in ([session, further], [session.use(decrypt=False, encrypt=False), further]):
        bench.run(uses, [name])
    bench.run([session.use(decrypt=False, encrypt=False)], [name])


def test_who_proves_the_value_encrypts_before_who_does_not() -> None:
    bench = Bench.make()
    policy, further = bench.session(SessionKind.POLICY, cipher="aes128"), bench.session(cipher="xor")
    for value, code, attributes in (
        (b"", POLICY_PCR, [0x01, 0x61]),
        (b"v", POLICY_PCR, [0x01, 0x61]),
        (b"v", POLICY_AUTH_VALUE, [0x61]),
        (b"v", POLICY_PASSWORD, [0x61]),
    ):
        policy.policy_command(code)
        uses = [policy, further][: len(attributes)]
        exchange = authorize(LOAD, [OBJECT], b"\0\1x", uses, [value], encryptable=BOTH)
        assert [a.attributes for a in bench.model.parse(exchange.authorizations)] == attributes
        exchange.refused()


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
        run_or_refuse(bench, session, name, asked=bool(needs))
        assert not session.needs_auth_value
        assert not session.needs_password
    session.policy_command(POLICY_PASSWORD)
    session.policy_command(POLICY_AUTH_VALUE)
    model.needs = "auth"
    bench.run([session], [name])
    session.policy_command(POLICY_AUTH_VALUE)
    session.policy_command(POLICY_RESTART)
    run_or_refuse(bench, session, name, asked=False)


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
