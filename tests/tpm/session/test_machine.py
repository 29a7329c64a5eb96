# SPDX-License-Identifier: Apache-2.0
"""A caller and a model TPM over a way that loses, forges and repeats, while values change and sessions come and go.

What must hold at every step: what comes out of an exchange is what the TPM answered to what it was told; a response
that is forged or old is refused with a typed error and changes nothing, and the genuine one is taken after it; a
session that is ready has the nonce and the audit digest that the TPM has; one whose response was lost says so.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from prestocloud_sec.errors import PrestoCloudError
from prestocloud_sec.tpm.errors import SessionStateError, TpmInputError
from prestocloud_sec.tpm.session import (
    PASSWORD,
    AuthValue,
    Exchange,
    PasswordAuthorization,
    PolicySession,
    Session,
    SessionKind,
    SessionState,
    Use,
    auth_after,
    authorize,
)
from tests.tpm.session.bench import (
    CIPHERS,
    CLEAR,
    HASHES,
    HIERARCHY_CHANGE_AUTH,
    LOAD,
    LOCKOUT,
    OBJECT,
    OTHER,
    OWNER,
    POLICY_AUTH_VALUE,
    POLICY_PASSWORD,
    POLICY_PCR,
    Bench,
)
from tests.tpm.session.model import Answer

NAMES = (OBJECT, OTHER, OWNER, LOCKOUT)
FATES = (*("good",) * 8, *("forged", "old", "not sent") * 2, "lost before", "lost after", "forged, then lost")
MOST = 3
ALIVE = SessionState.READY, SessionState.WAITING


class CallerAndTpm(RuleBasedStateMachine):
    """The way in between is the machine."""

    def __init__(self) -> None:
        super().__init__()
        self.sessions: list[Session] = []
        self.old: list[Answer] = []

    @initialize(seed=st.integers(0, 3))
    def begin(self, seed: int) -> None:
        self.bench = Bench.make(seed)
        self.values = {name: self.bench.value(name) for name in NAMES}

    @precondition(lambda self: sum(s.state in ALIVE for s in self.sessions) < MOST)
    @rule(
        kind=st.sampled_from([SessionKind.HMAC, SessionKind.POLICY]),
        hash=st.sampled_from(HASHES),
        cipher=st.sampled_from(CIPHERS),
        salted=st.booleans(),
        bind=st.sampled_from([None, OBJECT, *NAMES]),
        nonce_size=st.integers(16, 20),
    )
    def start(self, **how: Any) -> None:
        self.sessions.append(self.bench.session(**how))

    @precondition(lambda self: any(isinstance(s, PolicySession) for s in self.sessions))
    @rule(
        data=st.data(),
        needs=st.sampled_from([(POLICY_AUTH_VALUE, "auth"), (POLICY_PASSWORD, "password"), (POLICY_PCR, None)]),
    )
    def policy(self, data: st.DataObject, needs: tuple[int, str | None]) -> None:
        session = data.draw(st.sampled_from([s for s in self.sessions if isinstance(s, PolicySession)]))
        session.policy_command(needs[0])
        kept = self.bench.model.sessions.get(session.handle)
        if kept is not None and needs[1] is not None:
            kept.needs = needs[1]

    @rule(name=st.sampled_from(NAMES), value=st.binary(max_size=5), told=st.integers(0, 9), seldom=st.integers(0, 3))
    def value_changes(self, name: bytes, value: bytes, told: int, seldom: int) -> None:
        """Somebody else changes a value, and perhaps says so."""
        if seldom < 3:  # Hypothesis likes small numbers
            return
        self.bench.model.entities[name] = value.rstrip(b"\0")
        if told:
            self.values[name] = AuthValue(value)

    @precondition(lambda self: self.sessions)
    @rule(data=st.data(), seldom=st.integers(0, 3))
    def wipe(self, data: st.DataObject, seldom: int) -> None:
        if seldom < 3:
            return
        session = self.sessions.pop(data.draw(st.integers(0, len(self.sessions) - 1)))
        session.wipe()
        self.bench.model.sessions.pop(session.handle, None)

    @precondition(lambda self: self.sessions)
    @rule(
        data=st.data(),
        code=st.sampled_from([LOAD, LOAD, LOAD, HIERARCHY_CHANGE_AUTH, CLEAR]),
        names=st.lists(st.sampled_from((OBJECT, *NAMES)), min_size=1, max_size=3),
        buffer=st.binary(max_size=40),
        rest=st.binary(max_size=3),
        fate=st.sampled_from(FATES),
    )
    def command(
        self, data: st.DataObject, code: int, names: list[bytes], buffer: bytes, rest: bytes, fate: str
    ) -> None:
        careless = not self.sessions or data.draw(st.integers(0, 9)) == 9
        uses = data.draw(st.lists(self.uses(), min_size=1, max_size=3) if careless else self.fit(), label="sessions")
        most = min(2 if code == LOAD else 1, len(names), len(uses))
        authorized = most - data.draw(st.integers(0, most - 1 if code != LOAD else most), label="not authorized")
        values = [self.values[name] for name in names[:authorized]]
        parameters = len(buffer).to_bytes(2, "big") + buffer + rest
        # commands that change the value have no parameters in their response
        encryptable = (True, code == LOAD)
        states = [s.state for s in self.sessions]
        try:
            exchange = authorize(code, names, parameters, uses, values, encryptable=encryptable)
        except PrestoCloudError as error:
            assert [s.state for s in self.sessions] == states
            self.explain(error, uses, authorized, encryptable)
            return
        # a wrong value goes unnoticed where no HMAC has it in its key, but garbles what it encrypts
        right = all(self.values[name] == self.bench.value(name) for name in names[:authorized])
        self.travel(data, exchange, names, authorized, parameters if right else None, fate)

    @st.composite
    @staticmethod
    def one_of(draw: st.DrawFn, sessions: list[Session]) -> list[Any]:
        """Return each session at most once, with what it can do."""
        chosen = draw(st.lists(st.sampled_from(sessions), min_size=1, max_size=3, unique_by=id))
        return [
            session.use(
                audit=(audit := session.audits and draw(st.booleans())),
                audit_reset=audit and draw(st.booleans()),
                continue_session=draw(st.integers(0, 19)) < 19,
            )
            for session in chosen
        ]

    def fit(self) -> st.SearchStrategy[list[Any]]:
        ready = [s for s in self.sessions if s.state is SessionState.READY]
        return self.one_of(ready) if ready else st.just([PASSWORD])

    def uses(self) -> st.SearchStrategy[Any]:
        plain: list[Any] = [PASSWORD, *self.sessions]
        with_flags = st.builds(
            lambda session, **flags: session.use(**flags),
            st.sampled_from(self.sessions or [None]),
            audit=st.booleans(),
            audit_reset=st.just(False),
            continue_session=st.sampled_from([True, True, True, False]),
        )
        # policy sessions refuse to audit
        able = [s for s in self.sessions if s.audits]
        resets = st.sampled_from([s.use(audit=True, audit_reset=True) for s in able] or [PASSWORD])
        kinds = [st.sampled_from(plain), resets]
        if self.sessions and all(s.audits for s in self.sessions):
            kinds.append(with_flags)
        return st.one_of(kinds)

    def explain(
        self, error: PrestoCloudError, uses: list[Any], authorized: int, encryptable: tuple[bool, bool]
    ) -> None:
        """Hold a refusal to a reason that can be seen from outside."""
        sessions = [use.session if isinstance(use, Use) else use for use in uses]
        real = [s for s in sessions if isinstance(s, Session)]
        reasons = [
            any(s.state is not SessionState.READY for s in real) and isinstance(error, SessionStateError),
            len(uses) < authorized,
            len(set(map(id, real))) < len(real),
            any(isinstance(s, PasswordAuthorization) for s in sessions[authorized:]),
            any(isinstance(s, Session) for s in sessions[authorized:]) and "nothing to do" in str(error),
            "does not ask for" in str(error)
            and any(
                isinstance(s, PolicySession) and s.cipher is not None and not (s.needs_auth_value or s.needs_password)
                for s in sessions[:authorized]
            ),
        ]
        assert any(reasons), error

    def travel(
        self,
        data: st.DataObject,
        exchange: Exchange,
        names: list[bytes],
        authorized: int,
        parameters: bytes | None,
        fate: str,
    ) -> None:
        """Bring a command to the TPM, or not, and its answer back, or another one.

        `parameters` are what the TPM is to be told; None where that can come out garbled.
        """
        if fate == "not sent":
            exchange.refused()
            return
        if fate == "lost before":
            exchange.lost()
            return
        model = self.bench.model
        model.executed = b""
        answer = self.bench.send(exchange, names, authorized)
        if answer.rc:
            assert parameters is None, "the TPM refuses what was authorized with the right values"
            exchange.refused()
            return
        assert parameters is None or model.executed == parameters
        if exchange.code != LOAD:
            changed = auth_after(exchange.code, names, model.executed)
            if changed is not None:
                self.values[names[0]] = changed
        if fate == "lost after":
            exchange.lost()
            return
        if fate.startswith("forged") and self.any_hmac(answer):
            self.forge(data, exchange, answer)
        if fate == "old" and self.old:
            self.replay(data, exchange, answer)
        self.old.append(answer)
        if fate.endswith("then lost"):
            exchange.lost()
            return
        back = exchange.accept(answer.parameters, answer.area)
        if parameters is not None:
            buffer = parameters[2 : 2 + int.from_bytes(parameters[:2], "big")]
            assert back == parameters[:2] + buffer[::-1] + exchange.code.to_bytes(4, "big")

    @staticmethod
    def any_hmac(answer: Answer) -> bool:
        """Say whether an HMAC covers the parameters."""
        at = 0
        while at < len(answer.area):
            at += 2 + int.from_bytes(answer.area[at : at + 2], "big") + 1
            size = int.from_bytes(answer.area[at : at + 2], "big")
            if size:
                return True
            at += 2
        return False

    def forge(self, data: st.DataObject, exchange: Exchange, answer: Answer) -> None:
        flipped = bytearray(answer.parameters)
        bit = data.draw(st.integers(0, 8 * len(flipped) - 1), label="flipped bit")
        flipped[bit // 8] ^= 1 << bit % 8
        self.refuse(exchange, bytes(flipped), answer.area)

    def replay(self, data: st.DataObject, exchange: Exchange, answer: Answer) -> None:
        other = data.draw(st.sampled_from(self.old), label="old answer")
        if (other.parameters, other.area) != (answer.parameters, answer.area) and self.any_hmac(answer):
            self.refuse(exchange, other.parameters, other.area)

    def refuse(self, exchange: Exchange, parameters: bytes, area: bytes) -> None:
        before = [(s.nonce_tpm, s.state, s.audit_digest, s.is_exclusive) for s in self.sessions]
        with pytest.raises(TpmInputError):
            exchange.accept(parameters, area)
        assert [(s.nonce_tpm, s.state, s.audit_digest, s.is_exclusive) for s in self.sessions] == before

    @invariant()
    def in_step(self) -> None:
        for session in self.sessions:
            kept = self.bench.model.sessions.get(session.handle)
            assert session.state is not SessionState.WAITING
            if session.state is SessionState.CLOSED:
                assert kept is None
            if session.state is SessionState.READY:
                assert kept is not None
                assert (session.nonce_tpm, session.audit_digest) == (kept.nonce, kept.audit)


TestCallerAndTpm = CallerAndTpm.TestCase
TestCallerAndTpm.settings = settings(stateful_step_count=40)
