# SPDX-License-Identifier: Apache-2.0
"""The three kinds of authorization: a password, an HMAC session, a policy session.

Sources: TPM 2.0 Library, Part 1, clauses 17 (Authorizations), 18 (Session use), 19 (Enhanced authorization). What is
stated below about sessions of both kinds is as libtpms 0.9.2 does it, and the tests hold it to that.

Rules
-----
What keys the HMAC of a session that authorizes a handle:

=====================================  =================================  ==========================
session                                key of the HMAC                    the field
=====================================  =================================  ==========================
password                               none                               the value itself
HMAC                                   session key || value               HMAC
HMAC, bound to just this entity        session key                        HMAC
policy, after PolicyAuthValue          session key || value               HMAC
policy, after PolicyPassword           none                               the value itself
policy, otherwise                      session key                        HMAC; empty if the key is
=====================================  =================================  ==========================

A session that authorizes nothing is there to encrypt or to audit, and has the session key alone. *Bound to just this
entity* means: its Name and its value are what they were when the session was started. (The Name of an NV index changes
with its first write.) The first audit of a session ends its being bound. A response is keyed as its command was, but
for commands that change the value: there the response is keyed with the new one.

The key of parameter encryption always has the value of the handle that the session authorizes, in all kinds.

A policy session forgets its policy (and what of the above came with it) with every command that it was used in and that
went well, even if it only encrypted.

Theory of operation
-------------------
A session holds its key and the TPM's last nonce, and knows which command is under way with it. `authorize` makes an
`Exchange` of a command and its sessions; only when the exchange has checked every HMAC of the response do the nonces of
all of them roll. A response that is refused leaves everything as it was, so that the genuine one, if it comes, is still
taken. If none comes, nobody knows whether the TPM's nonce has rolled, and the session is of no use any more.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from prestocloud_sec.tpm._secrets import KeepsSecrets, Random, buffer, drawn, flag, wipe
from prestocloud_sec.tpm.errors import SessionStateError, TpmMisuseError
from prestocloud_sec.tpm.hashes import HashName, hash_of
from prestocloud_sec.tpm.session.auth_value import AuthValue, auth_value
from prestocloud_sec.tpm.session.cipher import ParameterCipher
from prestocloud_sec.tpm.session.formulas import audit_extend
from prestocloud_sec.wire import whole

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = [
    "PASSWORD",
    "Binding",
    "HmacSession",
    "PasswordAuthorization",
    "PolicySession",
    "Session",
    "SessionState",
    "Use",
]

CONTINUE, AUDIT_EXCLUSIVE, AUDIT_RESET, DECRYPT, ENCRYPT, AUDIT = 0x01, 0x02, 0x04, 0x20, 0x40, 0x80
"""The bits of TPMA_SESSION (Part 2, 8.4)."""

_RS_PW = 0x40000009
_POLICY_AUTH_VALUE, _POLICY_PASSWORD, _POLICY_RESTART = 0x016B, 0x018C, 0x0180
_LEAST_NONCE = 16


class SessionState(Enum):
    """What a session is good for."""

    READY = "ready"
    """A command can be authorized."""
    WAITING = "waiting"
    """A command is under way; its exchange waits for the response."""
    LOST = "lost"
    """The response to a command never came: the TPM's nonce is not known."""
    CLOSED = "closed"
    """It has ended, here or in the TPM."""


_WHY_NOT = {
    SessionState.WAITING: ("a command is under way", "give its response to the exchange, or call its `lost`"),
    SessionState.LOST: ("the response to a command was lost, and with it the TPM's nonce", "flush it, start another"),
    SessionState.CLOSED: ("has ended", "start another"),
}


class PasswordAuthorization:
    """Authorization by the plain value: the value of the handle goes to the TPM as it is (Part 1, 17.4).

    Whoever listens on the way to the TPM reads it. It is for TPMs in the same process, and for empty values.
    """

    __slots__ = ("default",)

    handle: Final = _RS_PW
    """TPM_RS_PW."""

    def __init__(self) -> None:
        self.default = Use(self)

    def __repr__(self) -> str:
        return "PasswordAuthorization()"


class Session(KeepsSecrets):
    """What HMAC and policy sessions have in common."""

    __slots__ = (
        "_audit_digest",
        "_cached",
        "_cached_for",
        "_cipher",
        "_exclusive",
        "_handle",
        "_key",
        "_last_nonce",
        "_nonce_tpm",
        "_random",
        "_state",
        "algorithm",
        "default",
        "prefix",
    )

    _FIRST_HANDLE: int

    def __init__(
        self,
        handle: int,
        *,
        hash: HashName,
        nonce_tpm: BytesLike,
        session_key: BytesLike,
        cipher: ParameterCipher | None,
        random: Random,
    ) -> None:
        name = type(self).__name__
        first = self._FIRST_HANDLE
        self._handle = whole(handle, f"{name}.handle", first, first | 0xFFFFFF, error=TpmMisuseError)
        self.algorithm = hash_of(hash, f"{name}.hash")
        nonce, key = buffer(nonce_tpm, f"{name}.nonce_tpm"), buffer(session_key, f"{name}.session_key")
        if not _LEAST_NONCE <= len(nonce) <= self.algorithm.size:
            expected = f"{_LEAST_NONCE} to {self.algorithm.size}, the size of the hash"
            raise TpmMisuseError(f"{len(nonce)} bytes", where=f"{name}.nonce_tpm", expected=expected)
        if len(key) not in (0, self.algorithm.size):
            raise TpmMisuseError(
                f"{len(key)} bytes", where=f"{name}.session_key", expected=f"0 or {self.algorithm.size}"
            )
        if cipher is not None and not isinstance(cipher, ParameterCipher):
            raise TpmMisuseError(f"{type(cipher).__name__}", where=f"{name}.cipher", expected="ParameterCipher or None")
        if not callable(random):
            raise TpmMisuseError(f"{type(random).__name__} cannot be called", where="random", expected="token_bytes")
        self._key = bytearray(key)
        self._nonce_tpm = nonce
        self._cipher = cipher
        self._random = random
        self._state = SessionState.READY
        self._last_nonce = b""
        self._cached: Any = None
        self._cached_for: bytearray | None = None
        self._audit_digest: bytes | None = None
        self._exclusive = False
        self.default = Use(self)
        self.prefix = self._handle.to_bytes(4, "big") + len(nonce).to_bytes(2, "big")

    # --- what can be seen

    @property
    def handle(self) -> int:
        """The session's handle."""
        return self._handle

    @property
    def hash(self) -> str:
        """The name of the session's hash."""
        return self.algorithm.name

    @property
    def cipher(self) -> ParameterCipher | None:
        """How it encrypts parameters, if it can."""
        return self._cipher

    @property
    def state(self) -> SessionState:
        """What the session is good for."""
        return self._state

    @property
    def nonce_tpm(self) -> bytes:
        """The TPM's last nonce."""
        return self._nonce_tpm

    @property
    def audit_digest(self) -> bytes | None:
        """The digest over all audited commands and responses; None before the first."""
        return self._audit_digest

    @property
    def is_exclusive(self) -> bool:
        """Whether the TPM said, with the last audited command, that no other had come between."""
        return self._exclusive

    def use(
        self,
        *,
        decrypt: bool | None = None,
        encrypt: bool | None = None,
        audit: bool = False,
        audit_reset: bool = False,
        audit_exclusive: bool = False,
        continue_session: bool = True,
    ) -> Use:
        """Return this session with what it is to do in a command, for `authorize`; see `Use`."""
        return Use(
            self,
            decrypt=decrypt,
            encrypt=encrypt,
            audit=audit,
            audit_reset=audit_reset,
            audit_exclusive=audit_exclusive,
            continue_session=continue_session,
        )

    def wipe(self) -> None:
        """Overwrite the session key; the session is closed. The TPM is told by TPM2_FlushContext, not from here."""
        wipe(self._key)
        self._cached = self._cached_for = None
        self._state = SessionState.CLOSED

    def __repr__(self) -> str:
        parts = [f"handle=0x{self._handle:08x}", f"hash={self.algorithm.name!r}"]
        if self._cipher is not None:
            parts.append(f"cipher={self._cipher!r}")
        return f"{type(self).__name__}({', '.join(parts)}, state={self._state.value!r})"

    # --- for exchanges

    def check_ready(self) -> None:
        """Raise SessionStateError if no command can be authorized now."""
        if self._state is not SessionState.READY:
            what, hint = _WHY_NOT[self._state]
            raise SessionStateError(what, where=repr(self), hint=hint)

    def keyed(self, value: bytearray | None) -> Any:
        """Return the HMAC that is keyed with the session key, then `value`; its caller takes a copy."""
        if self._cached is not None and value is self._cached_for:
            return self._cached
        key = self._key + (value or b"")
        made = hmac.new(key, None, self.algorithm.name)
        wipe(key)
        self._cached, self._cached_for = made, value
        return made

    def draw_nonce(self) -> bytes:
        """Return a new nonce; what was drawn last cannot come again."""
        nonce = drawn(self._random, len(self._nonce_tpm))
        if nonce == self._last_nonce:
            raise TpmMisuseError(
                "the same nonce again", where="random", expected="a source that does not repeat itself"
            )
        self._last_nonce = nonce
        return nonce

    @property
    def is_plain(self) -> bool:
        """Whether the value of the handle is given in plain."""
        return False

    @property
    def is_always_keyed(self) -> bool:
        """Whether there is an HMAC even if no authorization value keys it."""
        return True

    def includes(self, _name: bytes, _value: AuthValue) -> bool:
        """Say whether a value goes into the HMAC where the session authorizes the entity of a name."""
        return True

    def began(self) -> None:
        """Note that a command is under way."""
        self._state = SessionState.WAITING

    def ended(self, *, known: bool) -> None:
        """Note that the command was refused, or that nobody knows."""
        if self._state is SessionState.WAITING:
            self._state = SessionState.READY if known else SessionState.LOST

    def rolled(self, nonce_tpm: bytes, attributes: int) -> None:
        """Note that the command went well."""
        self._nonce_tpm = nonce_tpm
        self._state = SessionState.READY
        if not attributes & CONTINUE:
            self.wipe()

    def audited(self, cp_hash: bytes, rp_hash: bytes, attributes: int, *, reset: bool) -> None:
        """Note that the command went well, and was audited."""
        before = self.algorithm.zeros if reset or self._audit_digest is None else self._audit_digest
        self._audit_digest = audit_extend(self.algorithm, before, cp_hash, rp_hash)
        self._exclusive = bool(attributes & AUDIT_EXCLUSIVE)


@dataclass(frozen=True, slots=True)
class Binding:
    """The entity that a session is bound to, as it was when the session was started.

    Attributes
    ----------
    name : bytes
        Its Name.
    value : AuthValue
        Its authorization value; kept as a copy of its own, so that the entity's can be wiped.

    Raises
    ------
    TpmMisuseError
        If an argument has the wrong type.
    """

    name: bytes
    value: AuthValue

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", buffer(self.name, "Binding.name"))
        object.__setattr__(self, "value", AuthValue(auth_value(self.value).live()))

    __hash__ = None  # type: ignore[assignment]


class HmacSession(Session):
    """An HMAC session as it is after TPM2_StartAuthSession; `SessionStart` makes one.

    Parameters
    ----------
    handle : int
        02xxxxxx.
    hash : HashAlgorithm, int or str
        The hash of the session.
    nonce_tpm : bytes-like
        The TPM's nonce; its length, from 16 bytes to that of a digest, is that of every nonce to come.
    session_key : bytes-like
        What `session_key` gives; empty for a session that is neither bound nor salted.
    cipher : ParameterCipher, optional
        How to encrypt parameters. With one, the first parameter of each command and response is encrypted where it
        can be, unless `use` says otherwise.
    binding : Binding, optional
        What the session is bound to.
    random : callable
        Returns as many fresh random bytes as it is asked for.

    Raises
    ------
    TpmMisuseError
        If an argument has the wrong type or size.

    Notes
    -----
    A session is used by one thread at a time. It cannot be pickled or copied: it holds secrets, and its nonces roll.
    """

    __slots__ = ("_binding",)

    _FIRST_HANDLE = 0x02000000

    def __init__(
        self,
        handle: int,
        *,
        hash: HashName,
        nonce_tpm: BytesLike,
        session_key: BytesLike = b"",
        cipher: ParameterCipher | None = None,
        binding: Binding | None = None,
        random: Random = secrets.token_bytes,
    ) -> None:
        super().__init__(handle, hash=hash, nonce_tpm=nonce_tpm, session_key=session_key, cipher=cipher, random=random)
        if binding is not None and not isinstance(binding, Binding):
            raise TpmMisuseError(f"{type(binding).__name__}", where="HmacSession.binding", expected="Binding or None")
        if binding is not None and not self._key:
            raise TpmMisuseError("empty", where="HmacSession.session_key", expected="a key: bound sessions have one")
        self._binding = binding

    @property
    def is_bound(self) -> bool:
        """Whether the session is bound to an entity, and was never used for audit."""
        return self._binding is not None

    def includes(self, _name: bytes, _value: AuthValue) -> bool:
        """Say whether a value goes into the HMAC where the session authorizes the entity of a name."""
        bound = self._binding
        return bound is None or bound.name != _name or bound.value != _value

    def audited(self, cp_hash: bytes, rp_hash: bytes, attributes: int, *, reset: bool) -> None:
        """Note that the command went well, and was audited: an audit session is not bound."""
        super().audited(cp_hash, rp_hash, attributes, reset=reset)
        self._unbind()

    def wipe(self) -> None:
        """Overwrite the session key and the value it is bound to; the session is closed."""
        super().wipe()
        self._unbind()

    def _unbind(self) -> None:
        if self._binding is not None:
            self._binding.value.wipe()
            self._binding = None


class PolicySession(Session):
    """A policy session, or a trial session, as it is after TPM2_StartAuthSession; `SessionStart` makes one.

    Whoever sends a policy command for it says so with `policy_command`, because two of them change what the session's
    HMAC is keyed with. `prestocloud_sec.tpm.policy` does that for whole policies.

    Parameters
    ----------
    handle : int
        03xxxxxx.
    hash, nonce_tpm, session_key, cipher, random
        As for `HmacSession`.
    is_trial : bool
        Whether it only computes a digest; then it authorizes nothing.

    Raises
    ------
    TpmMisuseError
        If an argument has the wrong type or size.
    """

    __slots__ = ("_needs", "is_trial")

    _FIRST_HANDLE = 0x03000000

    def __init__(
        self,
        handle: int,
        *,
        hash: HashName,
        nonce_tpm: BytesLike,
        session_key: BytesLike = b"",
        cipher: ParameterCipher | None = None,
        is_trial: bool = False,
        random: Random = secrets.token_bytes,
    ) -> None:
        super().__init__(handle, hash=hash, nonce_tpm=nonce_tpm, session_key=session_key, cipher=cipher, random=random)
        self.is_trial = flag(is_trial, "PolicySession.is_trial")
        self._needs = 0

    @property
    def needs_auth_value(self) -> bool:
        """Whether the entity's value is to key the HMAC (after TPM2_PolicyAuthValue)."""
        return self._needs == _POLICY_AUTH_VALUE

    @property
    def needs_password(self) -> bool:
        """Whether the entity's value is to be given in plain (after TPM2_PolicyPassword)."""
        return self._needs == _POLICY_PASSWORD

    is_plain = needs_password

    @property
    def is_always_keyed(self) -> bool:
        """Whether there is an HMAC even if no authorization value keys it: not without a session key."""
        return bool(self._key)

    def policy_command(self, code: int) -> None:
        """Take note of a policy command that the TPM has executed for this session.

        Parameters
        ----------
        code : int
            Its TPM_CC. The later of TPM2_PolicyAuthValue and TPM2_PolicyPassword counts; TPM2_PolicyRestart forgets
            both; others change nothing here.

        Raises
        ------
        TpmMisuseError
            If it is no integer.
        """
        number = whole(code, "code", 0, 0xFFFFFFFF, error=TpmMisuseError)
        if number in (_POLICY_AUTH_VALUE, _POLICY_PASSWORD):
            self._needs = number
        elif number == _POLICY_RESTART:
            self._needs = 0

    def check_ready(self) -> None:
        """Raise SessionStateError if no command can be authorized now."""
        super().check_ready()
        if self.is_trial:
            raise SessionStateError(
                "a trial session authorizes nothing", where=repr(self), hint="start a policy session"
            )

    def includes(self, _name: bytes, _value: AuthValue) -> bool:
        """Say whether a value goes into the HMAC where the session authorizes the entity of a name."""
        return self._needs == _POLICY_AUTH_VALUE

    def rolled(self, nonce_tpm: bytes, attributes: int) -> None:
        """Note that the command went well: the policy is to be executed again."""
        super().rolled(nonce_tpm, attributes)
        self._needs = 0


@dataclass(frozen=True, slots=True)
class Use:
    """A session, and what it is to do in one command.

    Attributes
    ----------
    session : PasswordAuthorization, HmacSession or PolicySession
        Who authorizes, encrypts or audits.
    decrypt, encrypt : bool, optional
        Whether to encrypt the first parameter of the command, and to have that of the response encrypted. (The words
        are the TPM's: it *decrypts* what we send.) None leaves it to `authorize`: yes, if the session has a cipher,
        the parameter is a TPM2B, and no session before does it.
    audit : bool
        Whether to extend the session's audit digest by this command.
    audit_reset : bool
        Whether to begin the digest anew.
    audit_exclusive : bool
        Whether to refuse the command if another came between this one and the last that was audited.
    continue_session : bool
        Whether the session lives on; if not, it ends when the command has gone well.
    attributes : int
        The TPMA_SESSION bits of the above, without those that are left to `authorize`.

    Raises
    ------
    TpmMisuseError
        If an argument has the wrong type, or asks of the session what it cannot do.
    """

    session: PasswordAuthorization | Session
    decrypt: bool | None = None
    encrypt: bool | None = None
    audit: bool = False
    audit_reset: bool = False
    audit_exclusive: bool = False
    continue_session: bool = True
    attributes: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        session = self.session
        if not isinstance(session, PasswordAuthorization | Session):
            raise TpmMisuseError(f"{type(session).__name__} is no session", where="session", expected="a session")
        attributes = 0
        for name, bit in _BITS.items():
            value = getattr(self, name)
            if (value is not None or bit not in (DECRYPT, ENCRYPT)) and flag(value, f"Use.{name}"):
                attributes |= bit
        if attributes & (AUDIT_RESET | AUDIT_EXCLUSIVE) and not attributes & AUDIT:
            raise TpmMisuseError(
                "no audit", where="Use.audit", expected="True with audit_reset, audit_exclusive"
            )
        if attributes & AUDIT and not isinstance(session, HmacSession):
            raise TpmMisuseError(f"{type(session).__name__}", where="Use.audit", expected="an HMAC session")
        if attributes & (DECRYPT | ENCRYPT) and (isinstance(session, PasswordAuthorization) or session.cipher is None):
            raise TpmMisuseError(
                "the session has no cipher", where="Use", hint="start it with cipher=ParameterCipher()"
            )
        object.__setattr__(self, "attributes", attributes)

    __hash__ = None  # type: ignore[assignment]


_BITS = {
    "decrypt": DECRYPT,
    "encrypt": ENCRYPT,
    "audit": AUDIT,
    "audit_reset": AUDIT_RESET,
    "audit_exclusive": AUDIT_EXCLUSIVE,
    "continue_session": CONTINUE,
}

PASSWORD: Final = PasswordAuthorization()
"""The password authorization; it has no state, so one is enough."""
