# SPDX-License-Identifier: Apache-2.0
"""Starting sessions: salt, binding and nonces on this side, TPM2_StartAuthSession on the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestocloud_sec.tpm._given import instance
from prestocloud_sec.tpm.client.entities import Entity, number_of
from prestocloud_sec.tpm.client.residence import Steps
from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.tpm.hashes import HashName, hash_of
from prestocloud_sec.tpm.salt import make_salt
from prestocloud_sec.tpm.session import Binding, ParameterCipher, SessionKind, SessionStart
from prestocloud_sec.tpm.spec.commands import StartAuthSession
from prestocloud_sec.tpm.spec.constants import TPM_ALG_ID, TPM_RH, TPM_SE
from prestocloud_sec.tpm.spec.structures import TPMT_PUBLIC, TPMT_SYM_DEF

if TYPE_CHECKING:
    from prestocloud_sec.tpm.client.core import Core

__all__ = ["start_session"]

_NO_CIPHER = TPMT_SYM_DEF(TPM_ALG_ID.NULL, None, None)


def start_session(
    core: Core,
    kind: SessionKind = SessionKind.HMAC,
    *,
    hash: HashName = "sha256",
    cipher: ParameterCipher | None = None,
    salt_key: int | None = None,
    bind: int | None = None,
    nonce_size: int | None = None,
) -> Steps[tuple[Entity, StartAuthSession.Response]]:
    """Start a session; the parameters are those of `Client.start_session`."""
    key = TPM_RH.NULL if salt_key is None else number_of(salt_key, "salt_key")
    bound = TPM_RH.NULL if bind is None else number_of(bind, "bind")
    if cipher is not None:
        instance(cipher, ParameterCipher, "cipher")
    salt = binding = None
    if key != TPM_RH.NULL:
        entity = core.registry.of(key)
        if entity.public is None:
            yield from core.learn(entity)
        if not isinstance(entity.public, TPMT_PUBLIC):
            raise TpmMisuseError(f"0x{key:08x} is no key", where="salt_key", expected="an object that decrypts")
        salt = make_salt(entity.public, random=core.random)
    if bound != TPM_RH.NULL:
        entity = core.registry.of(bound)
        if entity.name is None:
            yield from core.learn(entity)
        binding = Binding(entity.name or b"", entity.auth)
    start = SessionStart(
        kind, hash=hash, cipher=cipher, salt=salt, binding=binding, nonce_size=nonce_size, random=core.random
    )
    command = StartAuthSession(
        tpmKey=key,
        bind=bound,
        nonceCaller=start.nonce_caller,
        encryptedSalt=start.encrypted_salt,
        sessionType=TPM_SE(kind),
        symmetric=_NO_CIPHER if cipher is None else TPMT_SYM_DEF.decode(cipher.encode()),
        authHash=TPM_ALG_ID(hash_of(hash).id),
    )
    core.starting = start
    try:
        response = yield from core.execute(command, ())
    finally:
        core.starting = None
    return core.registry.of(response.sessionHandle), response
