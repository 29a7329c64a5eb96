# SPDX-License-Identifier: Apache-2.0
"""What sessions of both kinds have in common, and what a session is to do in one command.

Sources: TPM 2.0 Library, Part 1, clauses 17 (Authorizations) and 18 (Session use); Part 2, 8.4 (TPMA_SESSION).
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from prestocloud_sec.tpm._secrets import KeepsSecrets, Random, buffer, drawn, flag, wipe
from prestocloud_sec.tpm.errors import SessionStateError, TpmMisuseError
from prestocloud_sec.tpm.hashes import HashName, hash_of
from prestocloud_sec.tpm.session.auth_value import AuthValue
from prestocloud_sec.tpm.session.cipher import ParameterCipher
from prestocloud_sec.wire import whole

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

    Keying: TypeAlias = tuple[Any, bool, bytes]

__all__ = ["PASSWORD", "PasswordAuthorization", "Session", "SessionState", "Use"]

CONTINUE, AUDIT_EXCLUSIVE, AUDIT_RESET, DECRYPT, ENCRYPT, AUDIT = 0x01, 0x02, 0x04, 0x20, 0x40, 0x80
"""The bits of TPMA_SESSION (Part 2, 8.4)."""

_RS_PW = 0x40000009
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

    cipher: Final = None
    """It encrypts nothing."""
    audits: Final = False
    """It audits nothing."""
    handle: Final = _RS_PW
    """TPM_RS_PW."""

    def __init__(self) -> None:
        self.default = Use(self)

    def __repr__(self) -> str:
        return "PasswordAuthorization()"


class Session(KeepsSecrets):
    """What HMAC and policy sessions have in common; the properties say what they are."""

    __slots__ = (
        "_audit_digest",
        "_cached",
        "_cached_for",
        "_exclusive",
        "_handle",
        "_key",
        "_last_nonce",
        "_nonce_size",
        "_random",
        "_state",
        "algorithm",
        "cipher",
        "default",
        "nonce_tpm",
        "prefix",
    )

    audits: bool
    """Whether sessions of this kind can audit."""
    _first_handle: int

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
        first = self._first_handle
        algorithm = hash_of(hash, f"{name}.hash")
        nonce, key = buffer(nonce_tpm, f"{name}.nonce_tpm"), buffer(session_key, f"{name}.session_key")
        if not _LEAST_NONCE <= len(nonce) <= algorithm.size:
            expected = f"{_LEAST_NONCE} to {algorithm.size}, the size of the hash"
            raise TpmMisuseError(f"{len(nonce)} bytes", where=f"{name}.nonce_tpm", expected=expected)
        if len(key) not in (0, algorithm.size):
            where = f"{name}.session_key"
            raise TpmMisuseError(f"{len(key)} bytes", where=where, expected=f"0 or {algorithm.size}")
        if cipher is not None and not isinstance(cipher, ParameterCipher):
            raise TpmMisuseError(f"{type(cipher).__name__}", where=f"{name}.cipher", expected="ParameterCipher or None")
        if not callable(random):
            raise TpmMisuseError(f"{type(random).__name__} cannot be called", where="random", expected="a function")
        self._handle = whole(handle, f"{name}.handle", first, first | 0xFFFFFF, error=TpmMisuseError)
        self.algorithm = algorithm
        """The session's hash."""
        self.cipher = cipher
        """How it encrypts parameters, if it can."""
        self.nonce_tpm = nonce
        """The TPM's last nonce."""
        self._key = bytearray(key)
        self._random = random
        self._nonce_size = len(nonce)
        self._last_nonce = b""
        self._state = SessionState.READY
        self._cached: Any = None
        self._cached_for: bytearray | None = None
        self._audit_digest: bytes | None = None
        self._exclusive = False
        self.default = Use(self)
        """This session in a command, with nothing said about what it is to do."""
        self.prefix = self._handle.to_bytes(4, "big") + len(nonce).to_bytes(2, "big")
        """The beginning of its TPMS_AUTH_COMMAND."""

    # --- what can be seen

    @property
    def handle(self) -> int:
        """The session's handle."""
        return self._handle

    @property
    def state(self) -> SessionState:
        """What the session is good for."""
        return self._state

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
        return Use(self, decrypt, encrypt, audit, audit_reset, audit_exclusive, continue_session)

    def wipe(self) -> None:
        """Overwrite the session key; the session is closed. The TPM is told by TPM2_FlushContext, not from here."""
        wipe(self._key)
        self._cached = self._cached_for = None
        self._state = SessionState.CLOSED

    def __repr__(self) -> str:
        parts = [f"handle=0x{self._handle:08x}", f"hash={self.algorithm.name!r}"]
        if self.cipher is not None:
            parts.append(f"cipher={self.cipher!r}")
        return f"{type(self).__name__}({', '.join(parts)}, state={self._state.value!r})"

    # --- for exchanges

    def check_ready(self) -> None:
        """Raise SessionStateError if no command can be authorized now."""
        if self._state is not SessionState.READY:
            what, hint = _WHY_NOT[self._state]
            raise SessionStateError(what, where=repr(self), hint=hint)

    def check_waiting(self) -> None:
        """Raise SessionStateError if no command is under way: the session was wiped in the meantime."""
        if self._state is not SessionState.WAITING:
            raise SessionStateError("has ended while a command was under way", where=repr(self), hint="start another")

    def draw_nonce(self) -> bytes:
        """Return a new nonce; what was drawn last cannot come again."""
        try:
            nonce = self._random(self._nonce_size)
        except TypeError:
            nonce = b""
        if type(nonce) is not bytes or len(nonce) != self._nonce_size:
            nonce = drawn(self._random, self._nonce_size)  # which says what is wrong
        if nonce == self._last_nonce:
            raise TpmMisuseError(
                "the same nonce again", where="random", expected="a source that does not repeat itself"
            )
        self._last_nonce = nonce
        return nonce

    def keying(self, name: bytes, value: AuthValue | None) -> Keying:  # noqa: ARG002  (both kinds need them)
        """Return what a command is authorized with.

        Parameters
        ----------
        name : bytes
            The Name of the handle that the session authorizes.
        value : AuthValue or None
            Its value; None where the session authorizes none.

        Returns
        -------
        key : hmac.HMAC or None
            To take a copy of; None where the field is no HMAC.
        included : bool
            Whether `value` is in the key.
        plain : bytes
            What the field is, where it is no HMAC.
        """
        raise TpmMisuseError("of neither kind", where=repr(self), expected="an HmacSession or a PolicySession")

    def proves(self, value: AuthValue | None) -> bool:  # noqa: ARG002  (policy sessions look at it)
        """Return whether the TPM finds out if this is not the value of the handle that the session authorizes."""
        return True

    def keyed(self, value: bytearray | None) -> Any:
        """Return the HMAC that is keyed with the session key, then `value`; its caller takes a copy."""
        if value is self._cached_for and self._cached is not None:
            return self._cached
        key = self._key + (value or b"")
        made = hmac.new(key, None, self.algorithm.name)
        wipe(key)
        self._cached, self._cached_for = made, value
        return made

    def cipher_key(self, value: AuthValue | None) -> bytearray:
        """Return the key that parameter encryption derives its keys from; its caller wipes it."""
        return self._key + (b"" if value is None else value.live())

    def began(self) -> None:
        """Note that a command is under way."""
        self._state = SessionState.WAITING

    def ended(self, *, known: bool) -> None:
        """Note that the command was refused, or that nobody knows."""
        if self._state is SessionState.WAITING:
            self._state = SessionState.READY if known else SessionState.LOST

    def rolled(self, nonce_tpm: bytes, attributes: int) -> None:
        """Note that the command went well."""
        self.nonce_tpm = nonce_tpm
        if attributes & CONTINUE:
            self._state = SessionState.READY
        else:
            self.wipe()

    def audited(self, cp_hash: bytes, rp_hash: bytes, attributes: int, *, reset: bool) -> None:
        """Note that the command went well, and was audited."""
        before = self.algorithm.zeros if reset or self._audit_digest is None else self._audit_digest
        self._audit_digest = self.algorithm.digest(before, cp_hash, rp_hash)
        self._exclusive = bool(attributes & AUDIT_EXCLUSIVE)


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
        the parameter is a TPM2B, and no other session does it.
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
            expected = "True with audit_reset and audit_exclusive"
            raise TpmMisuseError("no audit", where="Use.audit", expected=expected)
        if attributes & AUDIT and not session.audits:
            raise TpmMisuseError(f"{type(session).__name__}", where="Use.audit", expected="an HMAC session")
        if attributes & (DECRYPT | ENCRYPT) and session.cipher is None:
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
