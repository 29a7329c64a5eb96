# SPDX-License-Identifier: Apache-2.0
"""HMAC sessions and policy sessions.

Sources: TPM 2.0 Library, Part 1, clauses 17 (Authorizations), 18 (Session use), 19 (Enhanced authorization). What is
stated below about sessions of both kinds is as libtpms 0.9.2 does it, and the tests hold it to that.

What keys an HMAC
-----------------
For a session that authorizes a handle:

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

How nonces roll
---------------
A session holds its key and the TPM's last nonce, and knows which command is under way with it. `authorize` makes an
`Exchange` of a command and its sessions; only when the exchange has checked every HMAC of the response do the nonces of
all of them roll. A response that is refused leaves everything as it was, so that the genuine one, if it comes, is still
taken. If none comes, nobody knows whether the TPM's nonce has rolled, and the session is of no use any more.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prestocloud_sec.tpm._secrets import Random, buffer, flag
from prestocloud_sec.tpm.errors import SessionStateError, TpmMisuseError
from prestocloud_sec.tpm.hashes import HashName
from prestocloud_sec.tpm.session.auth_value import AuthValue, auth_value
from prestocloud_sec.tpm.session.base import Session
from prestocloud_sec.tpm.session.cipher import ParameterCipher
from prestocloud_sec.wire import whole

if TYPE_CHECKING:
    from prestocloud_sec.tpm.session.base import Keying
    from prestocloud_sec.wire import BytesLike

__all__ = ["Binding", "HmacSession", "PolicySession"]

_POLICY_AUTH_VALUE, _POLICY_PASSWORD, _POLICY_RESTART = 0x016B, 0x018C, 0x0180


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

    audits = True
    _first_handle = 0x02000000

    def __init__(
        self,
        handle: int,
        *,
        hash: HashName,
        nonce_tpm: BytesLike,
        session_key: BytesLike = b"",
        cipher: ParameterCipher | None = None,
        binding: Binding | None = None,
        random: Random = os.urandom,
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

    def keying(self, name: bytes, value: AuthValue | None) -> Keying:
        """Return what a command is authorized with; see `Session.keying`."""
        if value is None:
            return self.keyed(None), False, b""
        bound = self._binding
        if bound is not None and bound.name == name and bound.value == value:
            return self.keyed(None), False, b""
        return self.keyed(value.live()), True, b""

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

    audits = False
    _first_handle = 0x03000000

    def __init__(
        self,
        handle: int,
        *,
        hash: HashName,
        nonce_tpm: BytesLike,
        session_key: BytesLike = b"",
        cipher: ParameterCipher | None = None,
        is_trial: bool = False,
        random: Random = os.urandom,
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

    def keying(self, name: bytes, value: AuthValue | None) -> Keying:  # noqa: ARG002  (no policy session is bound)
        """Return what a command is authorized with; see `Session.keying`."""
        if value is not None and self._needs == _POLICY_PASSWORD:
            return None, False, bytes(value.live())
        if value is not None and self._needs == _POLICY_AUTH_VALUE:
            return self.keyed(value.live()), True, b""
        return self.keyed(None) if self._key else None, False, b""

    def proves(self, value: AuthValue | None) -> bool:
        """Return whether the TPM finds out that a value is wrong: where the policy asks for it, or none is meant."""
        return value is None or bool(self._needs)

    def rolled(self, nonce_tpm: bytes, attributes: int) -> None:
        """Note that the command went well: the policy is to be executed again."""
        super().rolled(nonce_tpm, attributes)
        self._needs = 0
