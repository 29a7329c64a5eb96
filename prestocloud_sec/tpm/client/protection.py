# SPDX-License-Identifier: Apache-2.0
"""Sessions of the client's own choice, for whoever does not trust the way to the TPM.

A password goes to the TPM as it is, and whoever sits on the bus reads it, changes commands and makes up responses. With
a `Protection`, commands for which the caller names no sessions go in an HMAC session instead: authorization values
never leave this process, the first parameter is encrypted in both directions where it can be, and whatever was changed
on the way is found out. The session is salted for a key of the TPM.

How good that is depends on the key. Against someone who only listens any key of the TPM will do. Against someone who is
in between, it has to be known that the key *is* the TPM's: compare `Protection.key_name` with the Name that was noted
when the TPM was enrolled, or give a key whose Name you know.

What does not go in such a session: commands that take none, and those that neither authorize nor have a parameter that
can be encrypted (GetCapability, ReadClock, PCR_Read). Whoever needs such answers to be genuine audits them, or asks for
a signature.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestocloud_sec.tpm._given import instance
from prestocloud_sec.tpm.client.entities import Entity, number_of
from prestocloud_sec.tpm.client.plan import Plan
from prestocloud_sec.tpm.client.residence import Steps
from prestocloud_sec.tpm.client.starting import start_session
from prestocloud_sec.tpm.errors import HandleError, TpmMisuseError, TpmResponseError
from prestocloud_sec.tpm.hashes import HashName, hash_of
from prestocloud_sec.tpm.session import PASSWORD, ParameterCipher, SessionState, Use
from prestocloud_sec.tpm.spec.attributes import TPMA_OBJECT
from prestocloud_sec.tpm.spec.commands import CreatePrimary, StartAuthSession
from prestocloud_sec.tpm.spec.constants import TPM_ALG_ID, TPM_ECC_CURVE, TPM_RH
from prestocloud_sec.tpm.spec.structures import (
    TPMS_ECC_PARMS,
    TPMS_ECC_POINT,
    TPMS_RSA_PARMS,
    TPMS_SENSITIVE_CREATE,
    TPMT_ECC_SCHEME,
    TPMT_KDF_SCHEME,
    TPMT_PUBLIC,
    TPMT_RSA_SCHEME,
    TPMT_SYM_DEF_OBJECT,
)

if TYPE_CHECKING:
    from prestocloud_sec.tpm.client.core import Core

__all__ = ["USUAL_KEYS", "Protection"]

USUAL_KEYS = (0x81000001, 0x81010001, 0x81010002)
"""Where a provisioned TPM has its storage root key and endorsement keys (TCG TPM v2.0 Provisioning Guidance, 7.8)."""

ALG = TPM_ALG_ID
_STORAGE = (
    TPMA_OBJECT.fixedTPM
    | TPMA_OBJECT.fixedParent
    | TPMA_OBJECT.sensitiveDataOrigin
    | TPMA_OBJECT.userWithAuth
    | TPMA_OBJECT.noDA
    | TPMA_OBJECT.restricted
    | TPMA_OBJECT.decrypt
)
_AES = TPMT_SYM_DEF_OBJECT(ALG.AES, 128, ALG.CFB)


def _templates() -> tuple[TPMT_PUBLIC, ...]:
    """Return what to make a key of for a TPM that has none: of ECC, which is fast, or else of RSA."""
    ecc = TPMS_ECC_PARMS(
        _AES, TPMT_ECC_SCHEME(ALG.NULL, None), TPM_ECC_CURVE.NIST_P256, TPMT_KDF_SCHEME(ALG.NULL, None)
    )
    rsa = TPMS_RSA_PARMS(_AES, TPMT_RSA_SCHEME(ALG.NULL, None), 2048, 0)
    return (
        TPMT_PUBLIC(ALG.ECC, ALG.SHA256, _STORAGE, b"", ecc, TPMS_ECC_POINT(b"", b"")),
        TPMT_PUBLIC(ALG.RSA, ALG.SHA256, _STORAGE, b"", rsa, b""),
    )


class Protection:
    """Which sessions commands get that the caller names none for.

    Parameters
    ----------
    key : int or Handle, optional
        The key of the TPM that sessions are salted for: a persistent handle, say, or a key that was loaded. If not
        given, the first of `USUAL_KEYS` that is there, and else a key that is made in the null hierarchy and forgotten.
    hash : HashAlgorithm, int or str
        The hash of the sessions.
    cipher : ParameterCipher, optional
        How they encrypt parameters; None for not at all.

    Raises
    ------
    TpmMisuseError
        If an argument is not what it should be.
    """

    __slots__ = ("_key", "_key_name", "cipher", "hash", "sessions")

    def __init__(
        self,
        key: int | None = None,
        *,
        hash: HashName = "sha256",
        cipher: ParameterCipher | None = ParameterCipher("aes", 128),  # noqa: B008  (it is frozen)
    ) -> None:
        number_of(0 if key is None else key, "Protection.key")
        self._key = key  # the very object: a handle that nobody refers to closes itself
        self._key_name = b""
        self.hash = hash_of(hash, "Protection.hash")
        self.cipher = None if cipher is None else instance(cipher, ParameterCipher, "Protection.cipher")
        self.sessions: list[Entity] = []

    @property
    def key_name(self) -> bytes:
        """The Name of the key that the last session was salted for; empty before the first."""
        return self._key_name

    def __repr__(self) -> str:
        key = "" if self._key is None else f"0x{self._key:08x}, "
        return f"Protection({key}hash={self.hash.name!r}, cipher={self.cipher!r})"

    # --- for the core

    def choose(self, plan: Plan, entities: tuple[Entity, ...]) -> tuple[Use, ...] | None:
        """Return the sessions for a command; None if one has to be started first (`prepare`).

        The first handle gets an HMAC session, and with it everything else of the command is protected; further ones get
        one of their own if their value is not empty, for a password would show it.
        """
        if plan.command is StartAuthSession or not (plan.auths or (self.cipher is not None and any(plan.encryptable))):
            return ()
        uses: list[Use] = []
        number = 0
        for index in range(max(plan.auths, 1)):
            if index and entities[index].auth.is_empty:
                uses.append(PASSWORD.default)
                continue
            if number == len(self.sessions):
                return None
            entity = self.sessions[number]
            if entity.gone or entity.session is None or entity.session.state is not SessionState.READY:
                return None
            uses.append(entity.session.default)
            number += 1
        return tuple(uses)

    def prepare(self, core: Core, plan: Plan, entities: tuple[Entity, ...]) -> Steps[tuple[Use, ...]]:
        """Return the sessions for a command; those that it takes are started if need be."""
        while (uses := self.choose(plan, entities)) is None:
            yield from self._start_one(core)
        return uses

    def renew(self, core: Core, entities: list[Entity]) -> bool:
        """Give up those sessions of these that are of our choice; return whether there are any."""
        ours = [entity for entity in entities if entity in self.sessions]
        for entity in ours:
            core.registry.drop(entity, "somebody flushed it out of the TPM")
        return bool(ours)

    def _start_one(self, core: Core) -> Steps[None]:
        """Start a session in the place of the first one that is of no use, or one more."""
        for entity in self.sessions:
            if entity.gone or entity.session is None or entity.session.state is not SessionState.READY:
                self.sessions.remove(entity)
                yield from core.flush(entity)
                break
        key, made = yield from self._salt_key(core)
        try:
            entity, _ = yield from start_session(core, hash=self.hash, cipher=self.cipher, salt_key=key)
            self._key_name = core.registry.of(key).name or b""
        finally:
            if made is not None:
                yield from core.flush(made)
        self.sessions.append(entity)

    def _salt_key(self, core: Core) -> Steps[tuple[int, Entity | None]]:
        """Return the key to salt a session for; and again, if it is to be flushed afterwards."""
        if self._key is not None:
            return self._key, None
        for number in USUAL_KEYS:
            entity = core.registry.of(number)
            try:
                if entity.name is None:
                    yield from core.learn(entity)
            except HandleError:
                core.registry.drop(entity, "nothing has this handle")
                continue
            public = entity.public
            if isinstance(public, TPMT_PUBLIC) and public.objectAttributes & TPMA_OBJECT.decrypt:
                return number, None
        refusal: TpmResponseError | None = None
        for template in _templates():
            command = CreatePrimary(TPM_RH.NULL, TPMS_SENSITIVE_CREATE(b"", b""), template, b"", ())
            try:
                response = yield from core.execute(command, ())
            except TpmResponseError as error:
                refusal = error
            else:
                return response.objectHandle, core.registry.of(response.objectHandle)
        raise TpmMisuseError(
            "the TPM makes none of the usual keys", where="Protection.key", hint="name a key that decrypts"
        ) from refusal
