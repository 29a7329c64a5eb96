# SPDX-License-Identifier: Apache-2.0
"""A model TPM with a few entities, and what starts sessions with it and runs commands in them."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from prestocloud_sec.tpm.salt import Salt
from prestocloud_sec.tpm.session import (
    AuthValue,
    Binding,
    Exchange,
    ParameterCipher,
    SessionKind,
    SessionStart,
    SessionState,
    Use,
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
