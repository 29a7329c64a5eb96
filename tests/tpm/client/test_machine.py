# SPDX-License-Identifier: Apache-2.0
"""A client that does anything in any order, against a model that knows no TPM: objects, sequences, sessions, contexts.

What must hold: whatever is alive in the model works, with its value and its state, however often it was moved out of
the TPM; whatever is not says so; the TPM never holds what the client does not know; numbers are never given out twice.
"""

from __future__ import annotations

import gc
import hashlib
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from prestocloud_sec.tpm import Client, connect
from prestocloud_sec.tpm.client import Object, SessionHandle
from prestocloud_sec.tpm.errors import (
    BadAuthError,
    ResponseHmacError,
    SessionStateError,
    TpmMisuseError,
    TpmResponseError,
    TransportTimeoutError,
)
from prestocloud_sec.tpm.session import ParameterCipher, SessionKind
from prestocloud_sec.tpm.spec.commands import PCR_Extend
from prestocloud_sec.tpm.spec.constants import TPM_ALG_ID, TPM_CAP, TPM_CC, TPM_HT, TPM_NT, TPM_RH
from prestocloud_sec.tpm.spec.structures import TPMS_CONTEXT
from tests.tpm.client.conftest import IS_OURS, URI
from tests.tpm.client.exercises import DATA, DIGEST, verify
from tests.tpm.client.fakes import Listening
from tests.tpm.client.objects import (
    NO_SCHEME,
    NO_TICKET,
    NV_FIRST,
    PERSISTENT_FIRST,
    Template,
    digests,
    secret,
)

AUTHS = st.sampled_from([b"", b"value", b"another value"])
TEMPLATE = Template()


@dataclass(eq=False)
class Key:
    """A signing key or sealed data, as the model has it."""

    handle: Object[Any] | None
    number: int
    name: bytes
    auth: bytes
    is_sealed: bool


@dataclass(eq=False)
class Sequence:
    """A hash sequence."""

    handle: Object[Any]
    auth: bytes
    data: bytes = b""


@dataclass(eq=False)
class OneSession:
    """A session; `lost` if the response to its last command never came."""

    handle: SessionHandle[Any]
    lost: bool = False


@dataclass(eq=False)
class Saved:
    """A context that was saved by hand."""

    context: TPMS_CONTEXT
    key: Key


class Anything(RuleBasedStateMachine):
    """Does anything in any order."""

    keys = Bundle("keys")
    sequences = Bundle("sequences")
    sessions = Bundle("sessions")
    contexts = Bundle("contexts")

    def __init__(self) -> None:
        super().__init__()
        self.listening = Listening(connect(URI).transport)
        self.client = Client(self.listening)
        self.alive: list[Key | Sequence] = []
        self.running: list[OneSession] = []
        self.persistent: dict[int, tuple[bytes, bytes]] = {}
        self.count: int | None = None
        self.pcr = self.client.pcr_read(selection()).pcrValues[0]
        self.epoch = 0

    @initialize()
    def parent(self) -> None:
        self.root = self.client.create_primary(TPM_RH.OWNER, secret(b"root"), TEMPLATE.storage, b"", ())

    # --- objects

    @rule(target=keys, auth=AUTHS, sealed=st.booleans())
    def make_key(self, auth: bytes, *, sealed: bool) -> Key:
        public = TEMPLATE.sealed if sealed else TEMPLATE.signing
        made = self.client.create(self.root, secret(auth, DATA if sealed else b""), public, b"", ())
        loaded = self.client.load(self.root, made.outPrivate, made.outPublic)
        loaded.set_auth(auth)
        key = Key(loaded, int(loaded), loaded.name, auth, sealed)
        self.alive.append(key)
        return key

    @rule(key=keys, session=sessions | st.none())
    def use_key(self, key: Key, session: OneSession | None) -> None:
        if session is not None and (session.lost or session not in self.running):
            session = None
        sessions = None if session is None or session.handle.is_policy else [session.handle]
        self.try_key(key, sessions)

    def try_key(self, key: Key, sessions: Any) -> None:
        if key not in self.alive:
            if key.handle is not None:
                with pytest.raises(TpmMisuseError):
                    self.client.read_public(key.handle)
            return
        assert key.handle is not None
        if key.is_sealed:
            assert self.client.unseal(key.handle, sessions=sessions) == DATA
        else:
            signature = self.client.sign(key.handle, DIGEST, NO_SCHEME, NO_TICKET, sessions=sessions)
            verify(key.handle.public, DATA, signature)

    @rule(key=keys)
    def use_key_with_a_wrong_value(self, key: Key) -> None:
        if key in self.alive and key.handle is not None:
            key.handle.set_auth(b"wrong")
            with pytest.raises(BadAuthError):
                self.try_key(key, None)
            key.handle.set_auth(key.auth)

    @rule(key=consumes(keys), how=st.sampled_from(["close", "flush", "forget"]))
    def end_key(self, key: Key, how: str) -> None:
        if key not in self.alive:
            return
        self.alive.remove(key)
        assert key.handle is not None
        if how == "close":
            key.handle.close()
        elif how == "flush":
            self.client.flush_context(key.handle)
        else:
            key.handle = None
            gc.collect()

    @rule(key=keys)
    def keep_key(self, key: Key) -> None:
        if key in self.alive and PERSISTENT_FIRST not in self.persistent:
            self.client.evict_control(self.client.owner, key.handle, PERSISTENT_FIRST)
            self.persistent[PERSISTENT_FIRST] = (key.name, key.auth)

    @rule()
    def use_persistent(self) -> None:
        for number, (name, auth) in self.persistent.items():
            kept = self.client.persistent(number)
            assert kept.name == name
            kept.set_auth(auth)
            assert self.client.read_public(kept).name == name

    @rule()
    def drop_persistent(self) -> None:
        for number in list(self.persistent):
            self.client.evict_control(self.client.owner, number, number)
            del self.persistent[number]

    # --- sequences

    @rule(target=sequences, auth=AUTHS)
    def make_sequence(self, auth: bytes) -> Sequence:
        made = Sequence(self.client.hash_sequence_start(auth, TPM_ALG_ID.SHA256), auth)
        self.alive.append(made)
        return made

    @rule(sequence=sequences, data=st.binary(max_size=100))
    def add_to_sequence(self, sequence: Sequence, data: bytes) -> None:
        if sequence in self.alive:
            self.client.sequence_update(sequence.handle, data)
            sequence.data += data

    @rule(sequence=consumes(sequences))
    def complete_sequence(self, sequence: Sequence) -> None:
        if sequence in self.alive:
            answer = self.client.sequence_complete(sequence.handle, b"end", TPM_RH.NULL)
            assert answer.result == hashlib.sha256(sequence.data + b"end").digest()
            assert sequence.handle.closed
            self.alive.remove(sequence)

    # --- sessions

    @rule(
        target=sessions,
        kind=st.sampled_from([SessionKind.HMAC, SessionKind.POLICY]),
        cipher=st.sampled_from([None, ParameterCipher("aes", 128), ParameterCipher("xor", 0x000B)]),
        salted=st.booleans(),
        bound=st.booleans(),
    )
    def start(self, kind: SessionKind, cipher: ParameterCipher | None, *, salted: bool, bound: bool) -> OneSession:
        if len(self.running) > 12:
            self.end(self.running[0], by_command=False)
        made = OneSession(
            self.client.start_session(
                kind, cipher=cipher, salt_key=self.root if salted else None, bind=self.root if bound else None
            )
        )
        self.running.append(made)
        return made

    @rule(session=sessions)
    def extend(self, session: OneSession) -> None:
        if session not in self.running or session.handle.is_policy:
            return
        if session.lost:
            with pytest.raises(SessionStateError):
                self.client.pcr_extend(16, digests(b"x"), sessions=[session.handle])
            return
        self.client.pcr_extend(16, digests(b"x"), sessions=[session.handle])
        self.pcr = hashlib.sha256(self.pcr + digests(b"x")[0].digest).digest()

    @rule(session=sessions)
    def step(self, session: OneSession) -> None:
        if session in self.running and session.handle.is_policy and not session.lost:
            before = self.client.policy_get_digest(session.handle)
            self.client.policy_command_code(session.handle, TPM_CC.Sign) if before == bytes(32) else None
            self.client.policy_restart(session.handle)
            assert self.client.policy_get_digest(session.handle) == bytes(32)

    @rule(session=sessions, executed=st.booleans())
    def lose_a_response(self, session: OneSession, *, executed: bool) -> None:
        if session not in self.running or session.lost or session.handle.is_policy:
            return
        inner = self.listening.inner

        class Lossy:
            def transceive(self, command: bytes) -> bytes:
                if executed:
                    inner.transceive(command)
                raise TransportTimeoutError("lost")

        self.client.pcr_extend(16, digests(b"x"), sessions=[session.handle])  # so that it is in the TPM
        self.listening.inner = Lossy()  # type: ignore[assignment]
        try:
            with pytest.raises(TransportTimeoutError):
                self.client.execute(PCR_Extend(16, digests(b"x")), [session.handle])
        finally:
            self.listening.inner = inner
        session.lost = True
        self.pcr = self.client.pcr_read(selection()).pcrValues[0]

    @rule(session=sessions, bit=st.integers(0, 7))
    def forge_a_response(self, session: OneSession, bit: int) -> None:
        if session not in self.running or session.lost or session.handle.is_policy:
            return
        self.client.pcr_extend(16, digests(b"x"), sessions=[session.handle])  # so that it is in the TPM
        self.listening.after = lambda response: response[:-1] + bytes((response[-1] ^ 1 << bit,))
        try:
            with pytest.raises(ResponseHmacError):
                self.client.pcr_extend(16, digests(b"x"), sessions=[session.handle])
        finally:
            self.listening.after = bytes
        session.lost = True
        self.pcr = self.client.pcr_read(selection()).pcrValues[0]

    @rule(session=consumes(sessions), by_command=st.booleans())
    def end(self, session: OneSession, *, by_command: bool) -> None:
        if session not in self.running:
            return
        self.running.remove(session)
        if by_command and not session.lost and not session.handle.is_policy:
            self.client.pcr_extend(16, digests(b"x"), sessions=[session.handle.use(continue_session=False)])
            self.pcr = hashlib.sha256(self.pcr + digests(b"x")[0].digest).digest()
        session.handle.close()
        assert session.handle.closed

    # --- contexts

    @rule(target=contexts, key=keys)
    def save(self, key: Key) -> Any:
        if key not in self.alive:
            return multiple()
        return Saved(self.client.context_save(key.handle), key)  # type: ignore[arg-type]

    @rule(target=keys, saved=contexts)
    def load(self, saved: Saved) -> Any:
        if saved.context.sequence < self.epoch:
            return multiple()
        loaded: Any = self.client.context_load(saved.context)
        loaded.set_auth(saved.key.auth)
        key = Key(loaded, int(loaded), saved.key.name, saved.key.auth, saved.key.is_sealed)
        assert self.client.read_public(loaded).name == key.name
        self.alive.append(key)
        return key

    @rule(session=sessions)
    def save_and_load_session(self, session: OneSession) -> None:
        if session in self.running:
            context = self.client.context_save(session.handle)
            assert self.client.context_load(context) == session.handle

    # --- non-volatile memory

    @rule()
    def count_up(self) -> None:
        if self.count is None:
            self.client.nv_define_space(self.client.owner, b"nv", TEMPLATE.index(kind=TPM_NT.COUNTER, size=8))
        index = self.client.nv_index(NV_FIRST)
        index.set_auth(b"nv")
        with self.client.start_session() as session:
            self.client.nv_increment(index, index, sessions=[session])
            value = int.from_bytes(self.client.nv_read(index, index, 8, 0, sessions=[session]), "big")
        assert self.count is None or value == self.count + 1
        self.count = value

    # --- the client as a whole

    @rule(protect=st.booleans())
    def protect(self, *, protect: bool) -> None:
        self.client.protect(protect)
        assert len(self.client.get_random(8)) == 8

    @rule()
    def restart(self) -> None:
        """Turn the TPM off and on; the client finds out by itself."""
        if not IS_OURS:
            return
        self.listening.inner.power_cycle()  # type: ignore[attr-defined]
        assert len(self.client.get_random(4)) == 4
        for each in (*self.alive, *self.running):
            assert each.handle is not None
            assert each.handle.closed
        self.alive, self.running = [], []
        self.pcr = bytes(32)
        self.epoch = 1 << 62
        self.root = self.client.create_primary(TPM_RH.OWNER, secret(b"root"), TEMPLATE.storage, b"", ())

    @invariant()
    def everything_is_known(self) -> None:
        if not hasattr(self, "root"):
            return
        numbers = [each.handle for each in (*self.alive, *self.running) if each.handle is not None]
        assert len(set(map(int, numbers))) == len(numbers)
        assert not any(each.closed for each in numbers)
        assert self.client.pcr_read(selection()).pcrValues[0] == self.pcr
        resident = {
            int.from_bytes(each.real, "big")
            for each in self.client.core.registry
            if each.resident and each.kind == TPM_HT.TRANSIENT
        }
        assert set(self.client.capability(TPM_CAP.HANDLES, 0x80000000)) == resident

    def teardown(self) -> None:
        self.client.protect(protect=False)
        self.drop_persistent()
        if self.count is not None:
            self.client.nv_undefine_space(self.client.owner, NV_FIRST)
        self.client.close()
        for each in (*self.alive, *self.running):
            assert each.handle is None or each.handle.closed


def selection() -> Any:
    from tests.tpm.client.objects import selection as of

    return of(16)


class TestAnything(Anything.TestCase):  # type: ignore[name-defined,misc]
    settings = settings(
        max_examples=25 if IS_OURS else 5,
        stateful_step_count=40,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )

    @pytest.fixture(autouse=True)
    def _there_is_a_tpm(self, uri: str) -> None:
        """Skip where there is none."""


_ = TpmResponseError
