# SPDX-License-Identifier: Apache-2.0
"""The beginning of a session: TPM2_StartAuthSession.

Source: TPM 2.0 Library, Part 3, 11.1; Part 1, 17.6.8 to 17.6.14 (session key creation).
"""

from __future__ import annotations

import os
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from prestocloud_sec.tpm._secrets import KeepsSecrets, Random, buffer, drawn, wipe
from prestocloud_sec.tpm.errors import SessionStateError, TpmFormatError, TpmMisuseError
from prestocloud_sec.tpm.hashes import HashName, hash_of
from prestocloud_sec.tpm.salt import Salt
from prestocloud_sec.tpm.session.cipher import ParameterCipher
from prestocloud_sec.tpm.session.formulas import session_key
from prestocloud_sec.tpm.session.sessions import Binding, HmacSession, PolicySession
from prestocloud_sec.wire import shown, whole

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["SessionKind", "SessionStart"]


class SessionKind(IntEnum):
    """What a session is for; the numbers are TPM_SE (Part 2, 6.11)."""

    HMAC = 0
    POLICY = 1
    TRIAL = 3


class SessionStart(KeepsSecrets):
    """What to ask of TPM2_StartAuthSession, and what its answer makes: a session.

    Parameters
    ----------
    kind : SessionKind
        HMAC, policy or trial.
    hash : HashAlgorithm, int or str
        The hash of the session: of its HMACs, and of its policy.
    cipher : ParameterCipher, optional
        How to encrypt parameters.
    salt : Salt, optional
        A secret shared with a key of the TPM, whose handle is to be the command's *tpmKey*; see
        `prestocloud_sec.tpm.salt`. Without one, TPM_RH_NULL.
    binding : Binding, optional
        The entity whose handle is to be the command's *bind*. Without one, TPM_RH_NULL.
    nonce_size : int, optional
        Length of all nonces of the session, from 16 to the size of the hash, which it is if not given.
    random : callable
        Returns as many fresh random bytes as it is asked for, here and in the session.

    Raises
    ------
    TpmMisuseError
        If an argument has the wrong type, or is out of range.

    Attributes
    ----------
    nonce_caller : bytes
        The command's *nonceCaller*.
    """

    __slots__ = ("_binding", "_cipher", "_hash", "_kind", "_random", "_salt", "_secret", "nonce_caller")

    def __init__(
        self,
        kind: SessionKind = SessionKind.HMAC,
        *,
        hash: HashName = "sha256",
        cipher: ParameterCipher | None = None,
        salt: Salt | None = None,
        binding: Binding | None = None,
        nonce_size: int | None = None,
        random: Random = os.urandom,
    ) -> None:
        try:
            self._kind = SessionKind(kind)
        except Exception:  # not there, or whatever a foreign __hash__ raises
            raise TpmMisuseError(shown(kind), where="SessionStart.kind", expected="a SessionKind") from None
        self._hash = hash_of(hash, "SessionStart.hash")
        given = (("cipher", cipher, ParameterCipher), ("salt", salt, Salt), ("binding", binding, Binding))
        for name, value, wanted in given:
            if value is not None and not isinstance(value, wanted):
                where = f"SessionStart.{name}"
                raise TpmMisuseError(f"{type(value).__name__}", where=where, expected=f"{wanted.__name__} or None")
        size = self._hash.size if nonce_size is None else nonce_size
        size = whole(size, "SessionStart.nonce_size", 16, self._hash.size, error=TpmMisuseError)
        self._cipher = cipher
        self._salt = salt
        self._binding = None if binding is None else Binding(binding.name, binding.value)
        self._random = random
        self._secret: bytearray | None = bytearray(b"" if salt is None else salt.secret)
        self.nonce_caller = drawn(random, size)

    @property
    def encrypted_salt(self) -> bytes:
        """The command's *encryptedSalt*; empty where there is no salt."""
        return b"" if self._salt is None else self._salt.encrypted

    @property
    def parameters(self) -> bytes:
        """The parameter area of the command."""
        fields = (
            len(self.nonce_caller).to_bytes(2, "big"),
            self.nonce_caller,
            len(self.encrypted_salt).to_bytes(2, "big"),
            self.encrypted_salt,
            bytes((self._kind,)),
            b"\x00\x10" if self._cipher is None else self._cipher.encode(),
            self._hash.id.to_bytes(2, "big"),
        )
        return b"".join(fields)

    def answered(self, handle: int, nonce_tpm: BytesLike) -> HmacSession | PolicySession:
        """Return the session that the TPM has made; this object is done.

        Parameters
        ----------
        handle : int
            The response's *sessionHandle*.
        nonce_tpm : bytes-like
            The response's *nonceTPM*.

        Raises
        ------
        TpmFormatError
            If the handle is not one of such a session, or the nonce not as long as ours.
        SessionStateError
            If this was called before.
        TpmMisuseError
            If an argument has the wrong type.
        """
        number = whole(handle, "handle", 0, 0xFFFFFFFF, error=TpmMisuseError)
        nonce = buffer(nonce_tpm, "nonce_tpm")
        if self._secret is None:
            raise SessionStateError("has made its session", where=repr(self), expected="one answer to one command")
        first = 0x02 if self._kind is SessionKind.HMAC else 0x03
        if number >> 24 != first:
            raise TpmFormatError(f"0x{number:08x}", where="sessionHandle", expected=f"0x{first:02x}......")
        if len(nonce) != len(self.nonce_caller):
            raise TpmFormatError(f"{len(nonce)} bytes", where="nonceTPM", expected=f"{len(self.nonce_caller)}")
        bind = None if self._binding is None else self._binding.value
        key = session_key(self._hash, nonce_tpm=nonce, nonce_caller=self.nonce_caller, bind=bind, salt=self._secret)
        wipe(self._secret)
        self._secret = None
        common: dict[str, Any] = {
            "hash": self._hash,
            "nonce_tpm": nonce,
            "session_key": key,
            "cipher": self._cipher,
            "random": self._random,
        }
        if self._kind is SessionKind.HMAC:
            return HmacSession(number, binding=self._binding, **common)
        if self._binding is not None:
            self._binding.value.wipe()
        return PolicySession(number, is_trial=self._kind is SessionKind.TRIAL, **common)

    def __repr__(self) -> str:
        return f"SessionStart({self._kind.name}, hash={self._hash.name!r})"
