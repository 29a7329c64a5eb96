# SPDX-License-Identifier: Apache-2.0
"""The protection that a storage key gives to what leaves a TPM: encryption, and an HMAC over it and a Name.

Source: TPM 2.0 Library, Part 1, 22.4 (Protection of secrets: outer wrap) and 24 (Credential protection).

From a seed that is shared with the key (`prestocloud_sec.tpm.salt`) come two keys, with the key's nameAlg::

    symKey  = KDFa(nameAlg, seed, "STORAGE", Name, "", bits of the key's cipher)
    hmacKey = KDFa(nameAlg, seed, "INTEGRITY", "", "", bits of nameAlg)
    encrypted = CFB(symKey, IV = 0, plain)
    protected = TPM2B(HMAC(hmacKey, encrypted || Name)) || encrypted

Name is that of the object that is protected, so that it cannot be given out for another.
"""

from __future__ import annotations

import hmac
from typing import Any, NamedTuple

from prestocloud_sec.tpm.errors import TpmFormatError, TpmMisuseError, TpmTruncatedError, UnwrapError
from prestocloud_sec.tpm.hashes import HashAlgorithm, hash_of
from prestocloud_sec.tpm.kdf import kdfa_of
from prestocloud_sec.tpm.session.cipher import BLOCK_CIPHERS, BlockCipher, cfb_decrypt, cfb_encrypt
from prestocloud_sec.tpm.spec.constants import TPM_ALG_ID
from prestocloud_sec.tpm.spec.structures.objects import TPMT_PUBLIC
from prestocloud_sec.wire import shown

__all__ = ["Protection", "protection_of", "sized", "split_sized"]


def sized(data: bytes) -> bytes:
    """Return a TPM2B of bytes."""
    return len(data).to_bytes(2, "big") + data


def split_sized(data: bytes, where: str) -> tuple[bytes, bytes]:
    """Return what the TPM2B at the beginning holds, and the rest; TpmFormatError if it ends too soon."""
    stop = 2 + int.from_bytes(data[:2], "big")
    if len(data) < 2 or len(data) < stop:
        raise TpmTruncatedError(f"{len(data)} bytes", where=where, expected=f"{max(stop, 2)}")
    return data[2:stop], data[stop:]


class Protection(NamedTuple):
    """How a storage key protects.

    Attributes
    ----------
    algorithm : HashAlgorithm
        Its nameAlg.
    cipher : BlockCipher
        Its cipher.
    bits : int
        The size of the cipher's keys.
    """

    algorithm: HashAlgorithm
    cipher: BlockCipher
    bits: int

    def _encryption_key(self, seed: bytes, name: bytes) -> bytes:
        return kdfa_of(self.algorithm, seed, b"STORAGE\0" + name, self.bits)

    def _integrity(self, seed: bytes, encrypted: bytes, name: bytes) -> bytes:
        key = kdfa_of(self.algorithm, seed, b"INTEGRITY\0", 8 * self.algorithm.size)
        return hmac.digest(key, encrypted + name, self.algorithm.name)

    def wrap(self, seed: bytes, name: bytes, plain: bytes) -> bytes:
        """Return `plain` protected for the object `name`."""
        encrypted = cfb_encrypt(self.cipher, self._encryption_key(seed, name), bytes(self.cipher.block), plain)
        return sized(self._integrity(seed, encrypted, name)) + encrypted

    def unwrap(self, seed: bytes, name: bytes, protected: bytes, where: str) -> bytes:
        """Return what is protected.

        Raises
        ------
        UnwrapError
            If the HMAC is wrong: for another key or object, or changed. Nothing is decrypted then.
        TpmFormatError
            If there is no HMAC of the right size.
        """
        integrity, encrypted = split_sized(protected, where)
        if len(integrity) != self.algorithm.size:
            raise TpmFormatError(f"an HMAC of {len(integrity)} bytes", where=where, expected=f"{self.algorithm.size}")
        if not hmac.compare_digest(integrity, self._integrity(seed, encrypted, name)):
            raise UnwrapError("the HMAC is wrong", where=where, hint="changed, or for another key or object")
        return cfb_decrypt(self.cipher, self._encryption_key(seed, name), bytes(self.cipher.block), encrypted)


def protection_of(public: TPMT_PUBLIC) -> Protection:
    """Return how a storage key protects.

    Raises
    ------
    TpmMisuseError
        If the public area is not that of a storage key.
    """
    if not isinstance(public, TPMT_PUBLIC):
        raise TpmMisuseError(type(public).__name__, where="parent", expected="a TPMT_PUBLIC")
    symmetric: Any = getattr(public.parameters, "symmetric", None)
    cipher = BLOCK_CIPHERS.get(symmetric.algorithm) if symmetric is not None else None
    if cipher is None or symmetric.mode != TPM_ALG_ID.CFB or symmetric.keyBits not in cipher.bits:
        what = "no cipher" if symmetric is None else shown(symmetric)
        raise TpmMisuseError(what, where="parent", expected="a storage key, whose cipher is a block cipher in CFB mode")
    return Protection(hash_of(public.nameAlg, "parent.nameAlg"), cipher, symmetric.keyBits)
