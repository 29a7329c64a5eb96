# SPDX-License-Identifier: Apache-2.0
"""The formulas of sessions: pure functions of bytes, that need no TPM and remember nothing.

Sources: TPM 2.0 Library, Part 1, clause 16 (Names and cpHash), clause 17 (Authorizations and acknowledgments), clause
31 (Audit). Two rules are as libtpms 0.9.2 and the reference code have them, where Part 1 can be read otherwise: the
nonces of a decrypt and of an encrypt session go only into the HMAC of a first session *that authorizes a handle*, and
rpHash does not cover the handle of a response.

::

    cpHash  = H(commandCode || Name1 || Name2 ... || parameters, as they are sent)
    rpHash  = H(responseCode || commandCode || parameters, as they are received)
    HMAC    = HMAC(sessionKey || authValue, pHash || nonceNewer || nonceOlder || further nonces || attributes)
    key     = KDFa(H, authValue of the bound entity || salt, "ATH", nonceTPM, nonceCaller, bits of H)
    audit   = H(audit || cpHash || rpHash)
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from typing import TYPE_CHECKING

from prestocloud_sec.tpm._given import octets
from prestocloud_sec.tpm._secrets import buffer
from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.tpm.hashes import HashName, hash_of
from prestocloud_sec.tpm.kdf import kdfa_of
from prestocloud_sec.tpm.session.auth_value import AuthValueLike, auth_value
from prestocloud_sec.wire import items_of, whole

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["audit_extend", "command_hmac", "cp_hash", "response_hmac", "rp_hash", "session_key"]


def _u32(value: int, where: str) -> bytes:
    return whole(value, where, 0, 0xFFFFFFFF, error=TpmMisuseError).to_bytes(4, "big")


def cp_hash(hash: HashName, code: int, names: Iterable[BytesLike], parameters: BytesLike) -> bytes:
    """Return the digest of a command.

    Parameters
    ----------
    hash : HashAlgorithm, int or str
        The hash of the session (or of a policy).
    code : int
        The TPM_CC.
    names : iterable of bytes-like
        The Name of each handle in the handle area, in order: ``nameAlg || H(public)`` of objects and NV indexes, the
        handle itself (4 bytes) of PCRs, sessions and permanent handles.
    parameters : bytes-like
        The parameter area as it is sent, which is encrypted where a session encrypts.

    Raises
    ------
    TpmMisuseError
        If an argument has the wrong type.
    """
    found = [buffer(name, "name") for name in items_of(names, "names", "bytes", error=TpmMisuseError)]
    area = octets(parameters, "parameters")
    return hash_of(hash).digest(_u32(code, "code"), *found, area)


def rp_hash(hash: HashName, code: int, parameters: BytesLike, *, rc: int = 0) -> bytes:
    """Return the digest of a response.

    Parameters
    ----------
    hash : HashAlgorithm, int or str
        The hash of the session.
    code : int
        The TPM_CC of the command.
    parameters : bytes-like
        The parameter area as it is received, without a handle before it.
    rc : int
        The response code; 0 in every response that has sessions.

    Raises
    ------
    TpmMisuseError
        If an argument has the wrong type.
    """
    area = octets(parameters, "parameters")
    return hash_of(hash).digest(_u32(rc, "rc"), _u32(code, "code"), area)


def session_key(
    hash: HashName,
    *,
    nonce_tpm: BytesLike,
    nonce_caller: BytesLike,
    bind: AuthValueLike | None = None,
    salt: BytesLike = b"",
) -> bytes:
    """Return the key that a new session and the TPM have in common.

    Parameters
    ----------
    hash : HashAlgorithm, int or str
        The hash of the session.
    nonce_tpm, nonce_caller : bytes-like
        The nonces of TPM2_StartAuthSession's response and command.
    bind : AuthValue, bytes-like or str, optional
        The authorization value of the entity that the session is bound to. A session can be bound to an entity whose
        value is empty, which is not the same as not being bound.
    salt : bytes-like
        The salt before encryption; empty where there is none.

    Returns
    -------
    bytes
        As many as the hash gives; none where the session is neither bound nor salted.

    Raises
    ------
    TpmMisuseError
        If an argument has the wrong type.
    """
    algorithm, seed = hash_of(hash), buffer(salt, "salt")
    if bind is None and not seed:
        return b""
    key = (b"" if bind is None else auth_value(bind).live()) + seed
    fixed = b"ATH\0" + buffer(nonce_tpm, "nonce_tpm") + buffer(nonce_caller, "nonce_caller")
    return kdfa_of(algorithm, key, fixed, 8 * algorithm.size)


def command_hmac(
    hash: HashName,
    key: BytesLike,
    cp_hash: BytesLike,
    nonce_caller: BytesLike,
    nonce_tpm: BytesLike,
    attributes: int,
    *,
    nonce_decrypt: BytesLike = b"",
    nonce_encrypt: BytesLike = b"",
) -> bytes:
    """Return the HMAC of one session of a command.

    Parameters
    ----------
    hash : HashAlgorithm, int or str
        The hash of the session.
    key : bytes-like
        Session key, then authorization value where the session needs it.
    cp_hash : bytes-like
        The digest of the command with the same hash.
    nonce_caller, nonce_tpm : bytes-like
        The caller's new nonce, and the TPM's last.
    attributes : int
        The TPMA_SESSION byte.
    nonce_decrypt, nonce_encrypt : bytes-like
        In the HMAC of a first session that authorizes a handle: the TPM's last nonce of the decrypt session, and of the
        encrypt session, each if it is another one. Where one session is both, as `nonce_decrypt` alone.

    Raises
    ------
    TpmMisuseError
        If an argument has the wrong type.
    """
    return _hmac(hash, key, attributes, cp_hash, nonce_caller, nonce_tpm, nonce_decrypt, nonce_encrypt)


def response_hmac(
    hash: HashName, key: BytesLike, rp_hash: BytesLike, nonce_tpm: BytesLike, nonce_caller: BytesLike, attributes: int
) -> bytes:
    """Return the HMAC of one session of a response.

    Parameters
    ----------
    hash, key
        As for the command, but that a command which changed the authorization value has changed the key too.
    rp_hash : bytes-like
        The digest of the response with the same hash.
    nonce_tpm, nonce_caller : bytes-like
        The TPM's new nonce, and the one that the command had.
    attributes : int
        The TPMA_SESSION byte of the response.

    Raises
    ------
    TpmMisuseError
        If an argument has the wrong type.
    """
    return _hmac(hash, key, attributes, rp_hash, nonce_tpm, nonce_caller)


def _hmac(hash: HashName, key: BytesLike, attributes: int, *parts: BytesLike) -> bytes:
    message = b"".join(buffer(part, "HMAC input") for part in parts)
    byte = whole(attributes, "attributes", 0, 0xFF, error=TpmMisuseError).to_bytes(1, "big")
    return hmac.digest(buffer(key, "key"), message + byte, hash_of(hash).name)


def audit_extend(hash: HashName, digest: BytesLike, cp_hash: BytesLike, rp_hash: BytesLike) -> bytes:
    """Return the audit digest of a session after one more command; it begins with zeros.

    Raises
    ------
    TpmMisuseError
        If an argument has the wrong type.
    """
    parts = buffer(digest, "digest"), buffer(cp_hash, "cp_hash"), buffer(rp_hash, "rp_hash")
    return hash_of(hash).digest(*parts)
