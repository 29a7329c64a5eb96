# SPDX-License-Identifier: Apache-2.0
"""Encryption of the first parameter of a command or a response.

Sources: TPM 2.0 Library, Part 1, clause 21 (Session-based encryption); Part 2, 11.1.6 (TPMT_SYM_DEF).

The first parameter can be encrypted where it is a TPM2B; its size stays in clear. Key and initial vector come anew for
each command and each response from the nonces, so that nothing is ever encrypted twice with the same::

    block cipher    key || IV = KDFa(hash, sessionValue, "CFB", nonceNewer, nonceOlder, bits of both)
    XOR             mask      = KDFa(hash, sessionValue, "XOR", nonceNewer, nonceOlder, bits of the parameter)

*sessionValue* is the session key, then the authorization value of the handle that the session authorizes, if it does.
The TPM takes the value that the entity has, also where the session is bound to it, and where it is a policy session
whose policy does not ask for the value. In that last case no HMAC has it in its key: were the value that is known on
this side another one, the TPM would take garbage for the parameter, or this side for the answer, and neither would
notice. So `authorize` leaves encryption to another session where there is one, and refuses such a session with a value
that is not empty. Of an empty one it cannot tell whether that is true; a further session makes sure.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prestocloud_sec.tpm._secrets import buffer
from prestocloud_sec.tpm.errors import TpmFormatError, TpmMisuseError, TpmTrailingBytesError, TpmTruncatedError
from prestocloud_sec.tpm.hashes import HashAlgorithm, HashName, hash_of
from prestocloud_sec.tpm.kdf import kdfa_of
from prestocloud_sec.wire import shown

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["BLOCK_CIPHERS", "BlockCipher", "ParameterCipher", "cfb_decrypt", "cfb_encrypt"]

_ALG_XOR, _ALG_NULL, _ALG_CFB = 0x000A, 0x0010, 0x0043


def _decrepit(name: str) -> Callable[[], Any]:
    """Return what fetches a cipher that pyca/cryptography keeps apart from those it recommends."""

    def fetch() -> Any:
        from cryptography.hazmat.decrepit.ciphers import algorithms

        return getattr(algorithms, name)

    return fetch


def _primitive(name: str) -> Callable[[], Any]:
    def fetch() -> Any:
        from cryptography.hazmat.primitives.ciphers import algorithms

        return getattr(algorithms, name)

    return fetch


@dataclass(frozen=True, slots=True, eq=False)
class BlockCipher:
    """A block cipher that a TPM can name.

    Attributes
    ----------
    id : int
        Its TPM_ALG_ID.
    name : str
        What people call it.
    block : int
        Length of a block, and so of an initial vector, in bytes.
    bits : tuple of int
        The sizes a key can have.
    fetch : callable
        Returns its class in pyca/cryptography.
    """

    id: int
    name: str
    block: int
    bits: tuple[int, ...]
    fetch: Callable[[], Any]


BLOCK_CIPHERS: dict[int, BlockCipher] = {
    row.id: row
    for row in (
        BlockCipher(0x0006, "aes", 16, (128, 192, 256), _primitive("AES")),
        BlockCipher(0x0013, "sm4", 16, (128,), _primitive("SM4")),
        BlockCipher(0x0026, "camellia", 16, (128, 192, 256), _decrepit("Camellia")),
        BlockCipher(0x0003, "tdes", 8, (128, 192), _decrepit("TripleDES")),
    )
}
"""Every block cipher that is known here, by TPM_ALG_ID."""

_BY_NAME = {row.name: row for row in BLOCK_CIPHERS.values()}


def _cfb(cipher: BlockCipher, key: bytes, iv: bytes) -> Any:
    from cryptography.hazmat.primitives.ciphers import Cipher

    try:  # where cryptography 47 and later keep it
        from cryptography.hazmat.decrepit.ciphers.modes import CFB
    except ImportError:
        from cryptography.hazmat.primitives.ciphers.modes import CFB
    return Cipher(cipher.fetch()(key), CFB(iv))


def cfb_encrypt(cipher: BlockCipher, key: bytes, iv: bytes, data: bytes) -> bytes:
    """Return `data` encrypted in CFB mode; sizes are the caller's to get right."""
    encryptor = _cfb(cipher, key, iv).encryptor()
    result: bytes = encryptor.update(data) + encryptor.finalize()
    return result


def cfb_decrypt(cipher: BlockCipher, key: bytes, iv: bytes, data: bytes) -> bytes:
    """Return `data` decrypted in CFB mode; sizes are the caller's to get right."""
    decryptor = _cfb(cipher, key, iv).decryptor()
    result: bytes = decryptor.update(data) + decryptor.finalize()
    return result


@dataclass(frozen=True, slots=True)
class ParameterCipher:
    """How a session encrypts parameters; what TPM2_StartAuthSession calls *symmetric*.

    Attributes
    ----------
    name : str
        ``"aes"``, ``"sm4"``, ``"camellia"``, ``"tdes"`` (all in CFB mode), or ``"xor"``.
    bits : int
        Size of the key; for XOR the TPM_ALG_ID of the hash that the field of this name holds on the wire. (The mask is
        made with the hash of the session, whatever the field says: so do the reference code and libtpms.)

    Raises
    ------
    TpmMisuseError
        If there is no such cipher, or not with such a key.

    >>> ParameterCipher("aes", 128).encode().hex()
    '000600800043'
    >>> ParameterCipher.decode(bytes.fromhex("000a000b"))
    ParameterCipher(name='xor', bits=11)
    """

    name: str = "aes"
    bits: int = 128

    def __post_init__(self) -> None:
        name, bits = self.name, self.bits
        if type(name) is not str or (name != "xor" and name not in _BY_NAME):
            raise TpmMisuseError(
                f"{shown(name)} is no cipher", where="ParameterCipher.name", expected=", ".join((*_BY_NAME, "xor"))
            )
        if name == "xor":
            object.__setattr__(self, "bits", hash_of(bits, "ParameterCipher.bits").id)
        elif type(bits) is not int or bits not in _BY_NAME[name].bits:
            sizes = ", ".join(map(str, _BY_NAME[name].bits))
            raise TpmMisuseError(f"{shown(bits)} bits", where="ParameterCipher.bits", expected=sizes)

    @classmethod
    def decode(cls, data: BytesLike) -> ParameterCipher | None:
        """Return the cipher of an encoded TPMT_SYM_DEF; None for TPM_ALG_NULL.

        Raises
        ------
        TpmFormatError
            If the bytes are no TPMT_SYM_DEF, or one of another mode than CFB.
        TpmMisuseError
            If `data` is not bytes-like.
        """
        raw = buffer(data, "TPMT_SYM_DEF")
        algorithm = int.from_bytes(raw[:2], "big") if len(raw) >= 2 else -1
        size = {_ALG_NULL: 2, _ALG_XOR: 4}.get(algorithm, 6)
        if len(raw) < size:
            raise TpmTruncatedError(f"{len(raw)} bytes", where="TPMT_SYM_DEF", expected=f"{size}")
        if len(raw) > size:
            raise TpmTrailingBytesError(f"{len(raw) - size} bytes too many", where="TPMT_SYM_DEF", offset=size)
        if algorithm == _ALG_NULL:
            return None
        row = BLOCK_CIPHERS.get(algorithm)
        if algorithm != _ALG_XOR and row is None:
            raise TpmFormatError(f"0x{algorithm:04x} is no cipher", where="TPMT_SYM_DEF.algorithm", offset=0)
        if row is not None and int.from_bytes(raw[4:], "big") != _ALG_CFB:
            raise TpmFormatError("not CFB", where="TPMT_SYM_DEF.mode", offset=4, expected="0x0043")
        try:
            return cls("xor" if row is None else row.name, int.from_bytes(raw[2:4], "big"))
        except TpmMisuseError as error:
            raise TpmFormatError(error.what, where="TPMT_SYM_DEF.keyBits", offset=2, expected=error.expected) from error

    def encode(self) -> bytes:
        """Return the TPMT_SYM_DEF."""
        if self.name == "xor":
            return struct.pack(">HH", _ALG_XOR, self.bits)
        return struct.pack(">HHH", _BY_NAME[self.name].id, self.bits, _ALG_CFB)

    def encrypt(
        self, hash: HashName, key: BytesLike, nonce_newer: BytesLike, nonce_older: BytesLike, data: BytesLike
    ) -> bytes:
        """Return the encrypted buffer of a TPM2B.

        Parameters
        ----------
        hash : HashAlgorithm, int or str
            The session's hash.
        key : bytes-like
            Session key, then authorization value; see the head of this module.
        nonce_newer, nonce_older : bytes-like
            The sender's new nonce, and the other side's last.
        data : bytes-like
            The buffer, without its size.

        Raises
        ------
        TpmMisuseError
            If an argument has the wrong type.
        """
        args = hash_of(hash), buffer(key, "key"), buffer(nonce_newer, "nonce"), buffer(nonce_older, "nonce")
        return self.apply(*args, buffer(data, "parameter"), cfb_encrypt)

    def decrypt(
        self, hash: HashName, key: BytesLike, nonce_newer: BytesLike, nonce_older: BytesLike, data: BytesLike
    ) -> bytes:
        """Return the decrypted buffer of a TPM2B; the parameters are those of `encrypt`."""
        args = hash_of(hash), buffer(key, "key"), buffer(nonce_newer, "nonce"), buffer(nonce_older, "nonce")
        return self.apply(*args, buffer(data, "parameter"), cfb_decrypt)

    def apply(
        self,
        algorithm: HashAlgorithm,
        key: bytes | bytearray,
        newer: bytes,
        older: bytes,
        data: bytes,
        function: Callable[[BlockCipher, bytes, bytes, bytes], bytes],
    ) -> bytes:
        """Encrypt or decrypt, with `cfb_encrypt` or `cfb_decrypt`, for callers within this pillar."""
        size = len(data)
        if not size:
            return data
        if self.name == "xor":
            mask = kdfa_of(algorithm, key, b"XOR\0" + newer + older, 8 * size)
            return (int.from_bytes(data, "big") ^ int.from_bytes(mask, "big")).to_bytes(size, "big")
        row = _BY_NAME[self.name]
        material = kdfa_of(algorithm, key, b"CFB\0" + newer + older, self.bits + 8 * row.block)
        cut = self.bits // 8
        return function(row, material[:cut], material[cut:], data)
