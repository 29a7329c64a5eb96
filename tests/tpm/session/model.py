# SPDX-License-Identifier: Apache-2.0
"""The TPM's side of sessions, written a second time from the specification, with other tools.

Nothing of `prestocloud_sec.tpm.session` is used here: the key derivation is pyca/cryptography's, HMAC and hashes too,
CFB is made of single blocks. The model knows entities by Name, takes the bytes of a command apart by itself, and
answers as TPM 2.0 Library, Part 1, clauses 17 to 21 say (and libtpms does).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from random import Random

from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFHMAC, CounterLocation, Mode

HASHES = {"sha1": hashes.SHA1, "sha256": hashes.SHA256, "sha384": hashes.SHA384, "sha512": hashes.SHA512}

CONTINUE, EXCLUSIVE, RESET, DECRYPT, ENCRYPT, AUDIT = 1, 2, 4, 0x20, 0x40, 0x80
HIERARCHY_CHANGE_AUTH, CLEAR = 0x129, 0x126
LOCKOUT = bytes.fromhex("4000000a")

FAIL = 0x98E
ATTRIBUTES = 0x082


def digest(name: str, *parts: bytes) -> bytes:
    made = hashes.Hash(HASHES[name]())
    for part in parts:
        made.update(part)
    return made.finalize()


def mac(name: str, key: bytes, *parts: bytes) -> bytes:
    made = hmac.HMAC(key, HASHES[name]())
    for part in parts:
        made.update(part)
    return made.finalize()


def derive(name: str, key: bytes, label: bytes, u: bytes, v: bytes, size: int) -> bytes:
    """KDFa for whole bytes; pyca/cryptography wants a key, and HMAC takes an empty one for a zero byte."""
    kdf = KBKDFHMAC(
        algorithm=HASHES[name](),
        mode=Mode.CounterMode,
        length=size,
        rlen=4,
        llen=4,
        location=CounterLocation.BeforeFixed,
        label=label,
        context=u + v,
        fixed=None,
    )
    return kdf.derive(key or b"\0")


def cfb(key: bytes, iv: bytes, data: bytes, *, decrypt: bool) -> bytes:
    block = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305
    out, feedback = b"", iv
    for at in range(0, len(data), 16):
        part = data[at : at + 16]
        made = bytes(a ^ b for a, b in zip(part, block.update(feedback), strict=False))
        out += made
        feedback = part if decrypt else made
    return out


@dataclass
class ModelSession:
    """One session in the model."""

    hash: str
    cipher: str
    nonce: bytes
    key: bytes
    bound: tuple[bytes, bytes] | None
    is_policy: bool
    needs: str = ""
    audit: bytes | None = None


@dataclass
class Auth:
    """One TPMS_AUTH_COMMAND."""

    handle: int
    nonce: bytes
    attributes: int
    hmac: bytes
    value: bytes | None = None


@dataclass
class Model:
    """A TPM that has entities and sessions, and one command: it gives back what it is told, the first parameter turned.

    `executed` remembers the parameters of the last command in clear.
    """

    seed: int = 0
    entities: dict[bytes, bytes] = field(default_factory=dict)
    sessions: dict[int, ModelSession] = field(default_factory=dict)
    exclusive: int = 0
    executed: bytes = b""
    started: int = 0
    taken: dict[int, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)

    def start(
        self,
        kind: int,
        hash: str,
        cipher: str,
        nonce: bytes,
        *,
        salt: bytes = b"",
        bind: bytes | None = None,
    ) -> tuple[int, bytes]:
        mine = self.random.randbytes(len(nonce))
        key = b""
        if salt or bind is not None:
            secret = (self.entities[bind].rstrip(b"\0") if bind is not None else b"") + salt
            key = derive(hash, secret, b"ATH", mine, nonce, len(digest(hash)))
        self.started += 1
        handle = (0x02000000 if kind == 0 else 0x03000000) + self.started
        bound = (bind, self.entities[bind].rstrip(b"\0")) if bind is not None and kind == 0 else None
        self.sessions[handle] = ModelSession(hash, cipher, mine, key, bound, kind != 0)
        return handle, mine

    # --- commands

    def execute(self, code: int, names: list[bytes], authorized: int, area: bytes, parameters: bytes) -> Answer:
        """Answer a command whose first `authorized` handles need authorization; its parameters begin with a TPM2B."""
        auths = self.parse(area)
        for auth, name in zip(auths[:authorized], names, strict=False):
            auth.value = self.entities[name].rstrip(b"\0")
        if len(auths) < authorized:
            return Answer(ATTRIBUTES)
        crypt = {bit: [a for a in auths if a.attributes & bit] for bit in (DECRYPT, ENCRYPT)}
        if any(len(found) > 1 for found in crypt.values()):
            return Answer(ATTRIBUTES)
        command = struct.pack(">I", code) + b"".join(names) + parameters
        for index, auth in enumerate(auths):
            if not self.checks(auth, index, names, command, crypt):
                return Answer(FAIL)
        for auth in crypt[DECRYPT]:
            session = self.sessions[auth.handle]
            parameters = self.crypt(session, auth, parameters, auth.nonce, session.nonce, decrypt=True)
        self.executed = parameters
        size = struct.unpack_from(">H", parameters)[0] if parameters else 0
        if code == HIERARCHY_CHANGE_AUTH:
            self.entities[names[0]] = parameters[2 : 2 + size].rstrip(b"\0")
        if code == CLEAR:
            self.entities[LOCKOUT] = b""
        back = parameters[:2] + parameters[2 : 2 + size][::-1] + struct.pack(">I", code)
        return self.respond(code, names, auths, command, crypt, back)

    def parse(self, area: bytes) -> list[Auth]:
        auths, at = [], 0
        while at < len(area):
            handle, size = struct.unpack_from(">IH", area, at)
            nonce = area[at + 6 : at + 6 + size]
            at += 6 + size
            attributes, size = struct.unpack_from(">BH", area, at)
            auths.append(Auth(handle, nonce, attributes, area[at + 3 : at + 3 + size]))
            at += 3 + size
        assert at == len(area)
        return auths

    def checks(self, auth: Auth, index: int, names: list[bytes], command: bytes, crypt: dict[int, list[Auth]]) -> bool:
        if auth.handle == 0x40000009:
            return auth.nonce == b"" and auth.value is not None and auth.hmac.rstrip(b"\0") == auth.value
        session = self.sessions[auth.handle]
        if session.needs == "password" and auth.value is not None:
            return auth.hmac.rstrip(b"\0") == auth.value
        key = session.key + self.included(auth, session, names[index] if index < len(names) else b"")
        if not key and not auth.hmac:
            return True
        further = b""
        if index == 0 and auth.value is not None:
            others = [a for bit in (DECRYPT, ENCRYPT) for a in crypt[bit] if a is not auth]
            further = b"".join(self.sessions[a.handle].nonce for n, a in enumerate(others) if a not in others[:n])
        hashed = digest(session.hash, command)
        return auth.hmac == mac(session.hash, key, hashed, auth.nonce, session.nonce, further, bytes([auth.attributes]))

    def included(self, auth: Auth, session: ModelSession, name: bytes) -> bytes:
        """Return what of the entity's value keys the HMAC; noted for the response, which a new value may key."""
        auth_name = name if auth.value is not None else b""
        takes = auth.value is not None and (
            session.needs == "auth" if session.is_policy else session.bound != (name, auth.value)
        )
        self.taken[auth.handle] = auth_name if takes else b""
        return auth.value or b"" if takes else b""

    def crypt(
        self, session: ModelSession, auth: Auth, area: bytes, newer: bytes, older: bytes, *, decrypt: bool
    ) -> bytes:
        size = struct.unpack_from(">H", area)[0]
        data, key = area[2 : 2 + size], session.key + (auth.value or b"")
        if size and session.cipher == "xor":
            mask = derive(session.hash, key, b"XOR", newer, older, size)
            data = bytes(a ^ b for a, b in zip(data, mask, strict=True))
        elif size:
            length = int(session.cipher.removeprefix("aes")) // 8
            made = derive(session.hash, key, b"CFB", newer, older, length + 16)
            data = cfb(made[:length], made[length:], data, decrypt=decrypt)
        return area[:2] + data + area[2 + size :]

    def respond(
        self,
        code: int,
        names: list[bytes],
        auths: list[Auth],
        command: bytes,
        crypt: dict[int, list[Auth]],
        back: bytes,
    ) -> Answer:
        for auth in auths:
            if auth.handle != 0x40000009:
                session = self.sessions[auth.handle]
                session.nonce = self.random.randbytes(len(session.nonce))
        for auth in crypt[ENCRYPT]:
            session = self.sessions[auth.handle]
            if auth.value is not None:
                auth.value = self.entities[names[auths.index(auth)]]
            back = self.crypt(session, auth, back, session.nonce, auth.nonce, decrypt=False)
        whole = struct.pack(">II", 0, code) + back
        area, ended = b"", False
        audits = [auth for auth in auths if auth.attributes & AUDIT]
        for auth in audits:
            session = self.sessions[auth.handle]
            if session.audit is None or auth.attributes & RESET:
                session.audit, session.bound, self.exclusive = bytes(len(digest(session.hash))), None, auth.handle
            elif self.exclusive != auth.handle:
                self.exclusive = 0
            auth.attributes = auth.attributes & ~EXCLUSIVE | (EXCLUSIVE if self.exclusive == auth.handle else 0)
            hashed = digest(session.hash, command), digest(session.hash, whole)
            session.audit = digest(session.hash, session.audit, *hashed)
        if not audits:
            self.exclusive = 0
        for auth in auths:
            if auth.handle == 0x40000009:
                area += bytes.fromhex("0000010000")
                continue
            session = self.sessions[auth.handle]
            key = session.key
            if self.taken.get(auth.handle):
                key += self.entities[self.taken[auth.handle]]
            made = b""
            if not (session.needs == "password" and auth.value is not None) and (key or auth.hmac):
                attributes = bytes([auth.attributes])
                made = mac(session.hash, key, digest(session.hash, whole), session.nonce, auth.nonce, attributes)
            area += struct.pack(">H", len(session.nonce)) + session.nonce
            area += struct.pack(">BH", auth.attributes, len(made)) + made
            session.needs = ""
            if not auth.attributes & CONTINUE:
                ended = True
                del self.sessions[auth.handle]
        return Answer(0, back, area, ended=ended)


@dataclass
class Answer:
    """A response."""

    rc: int
    parameters: bytes = b""
    area: bytes = b""
    ended: bool = False
