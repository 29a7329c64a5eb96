# SPDX-License-Identifier: Apache-2.0
"""Hashes, HMACs and block ciphers done by the TPM, of data of any length.

A TPM takes so many bytes at a time (TPM_PT.INPUT_BUFFER, at least 1024); longer data go in parts. This is slow compared
with hashlib, and there for the keys that are in the TPM, and for the tickets that it gives for what it has hashed.

Sources: TPM 2.0 Library, Part 3, clause 15 (symmetric), clause 17 (sequences); Part 1, 32.4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prestocloud_sec.tpm._given import instance, octets
from prestocloud_sec.tpm.client.handles import Handle
from prestocloud_sec.tpm.errors import CommandUnknownError, TpmMisuseError
from prestocloud_sec.tpm.hashes import HashName, hash_of
from prestocloud_sec.tpm.spec.constants import TPM_ALG_ID, TPM_RH
from prestocloud_sec.tpm.spec.structures.basic import TPMT_TK_HASHCHECK
from prestocloud_sec.tpm.spec.structures.objects import TPMT_PUBLIC
from prestocloud_sec.tpm.use._doing import client_of, handle_of

if TYPE_CHECKING:
    from prestocloud_sec.tpm.client import Client
    from prestocloud_sec.wire import BytesLike

__all__ = ["decrypt_data", "encrypt_data", "hash_data", "hmac_data"]

_PART = 1024
"""As many bytes as every TPM takes (TCG PC Client Platform TPM Profile)."""
_BLOCK = 16
"""Bytes of a block of AES, SM4 and Camellia."""


def hash_data(
    client: Client, data: BytesLike, hash: HashName = "sha256", *, hierarchy: int = TPM_RH.OWNER
) -> tuple[bytes, TPMT_TK_HASHCHECK]:
    """Have the TPM hash data.

    Parameters
    ----------
    client : Client
        The TPM.
    data : bytes-like
        Any number of bytes.
    hash : HashAlgorithm, int or str
        The hash.
    hierarchy : int
        Whose ticket.

    Returns
    -------
    digest : bytes
        The digest.
    ticket : TPMT_TK_HASHCHECK
        Proof that the TPM has hashed it, and that it does not look like a statement of the TPM's own; restricted keys
        sign what there is such a ticket for. An empty one where it does look so.

    >>> from prestocloud_sec.tpm import connect
    >>> with connect("embedded:") as client:
    ...     digest, _ = hash_data(client, bytes(5000))
    >>> import hashlib
    >>> digest == hashlib.sha256(bytes(5000)).digest()
    True
    """
    tpm, raw, number = client_of(client), octets(data, "data"), _algorithm(hash)
    if len(raw) <= _PART:
        answer = tpm.hash(raw, number, hierarchy)
        return answer.outHash, answer.validation
    with tpm.hash_sequence_start(b"", number) as sequence:
        for start in range(0, len(raw) - _PART, _PART):
            tpm.sequence_update(sequence, raw[start : start + _PART])
        done = tpm.sequence_complete(sequence, raw[_last(len(raw)) :], hierarchy)
    return done.result, done.validation


def hmac_data(client: Client, key: Handle, data: BytesLike) -> bytes:
    """Have the TPM make an HMAC.

    Parameters
    ----------
    client : Client
        The TPM.
    key : Handle
        A key of `hmac_template`, which says which hash.
    data : bytes-like
        Any number of bytes.
    """
    tpm, held, raw = client_of(client), handle_of(key, "key"), octets(data, "data")
    if len(raw) <= _PART:
        return tpm.mac(held, raw, TPM_ALG_ID.NULL)
    with tpm.mac_start(held, b"", TPM_ALG_ID.NULL) as sequence:
        for start in range(0, len(raw) - _PART, _PART):
            tpm.sequence_update(sequence, raw[start : start + _PART])
        return tpm.sequence_complete(sequence, raw[_last(len(raw)) :], TPM_RH.NULL).result


def encrypt_data(client: Client, key: Handle, data: BytesLike, iv: BytesLike) -> bytes:
    """Have the TPM encrypt data with a block cipher. Nothing says whether they were changed afterwards.

    Parameters
    ----------
    client : Client
        The TPM.
    key : Handle
        A key of `symmetric_template`, which says which cipher and mode.
    data : bytes-like
        Any number of bytes; of CBC, whole blocks.
    iv : bytes-like
        16 bytes that were not used with this key before, such as ``client.get_random(16)``.

    Raises
    ------
    TpmMisuseError
        If an argument is not what it should be.
    TpmResponseError
        If the TPM refuses, as many do: the command is optional, and subject to export rules.
    """
    return _crypted(client, key, data, iv, decrypt=False)


def decrypt_data(client: Client, key: Handle, data: BytesLike, iv: BytesLike) -> bytes:
    """Have the TPM decrypt data; parameters and errors as of `encrypt_data`."""
    return _crypted(client, key, data, iv, decrypt=True)


def _crypted(client: Client, key: Handle, data: BytesLike, iv: BytesLike, *, decrypt: bool) -> bytes:
    tpm, held = client_of(client), handle_of(key, "key")
    raw, vector = octets(data, "data"), octets(iv, "iv", _BLOCK)
    public = instance(getattr(held, "public", None), TPMT_PUBLIC, "key.public")
    if public.type != TPM_ALG_ID.SYMCIPHER:
        raise TpmMisuseError(f"type {public.type.name}", where="key", expected="SYMCIPHER")
    flag: Any = decrypt
    found = []
    older = False
    for start in range(0, max(len(raw), 1), _PART):
        part = raw[start : start + _PART]
        if not older:
            try:
                answer: Any = tpm.encrypt_decrypt2(held, part, flag, TPM_ALG_ID.NULL, vector)
            except CommandUnknownError:
                older = True
        if older:
            answer = tpm.encrypt_decrypt(held, flag, TPM_ALG_ID.NULL, vector, part)
        found.append(answer.outData)
        vector = answer.ivOut
    return b"".join(found)


def _algorithm(hash: HashName) -> TPM_ALG_ID:
    return TPM_ALG_ID(hash_of(hash).id)


def _last(size: int) -> int:
    """Return where the last part of so many bytes begins."""
    return (size - 1) // _PART * _PART
