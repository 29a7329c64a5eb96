# SPDX-License-Identifier: Apache-2.0
"""The two key derivation functions of TPM 2.0.

Sources: TPM 2.0 Library, Part 1, 11.4.10.2 (KDFa, from NIST SP 800-108 in counter mode) and 11.4.10.3 (KDFe, from
NIST SP 800-56A, one-step).

Both write the label with a zero byte after it, and write that byte where there is no label too.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from prestocloud_sec.tpm._secrets import LARGEST, buffer
from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.tpm.hashes import HashAlgorithm, HashName, hash_of
from prestocloud_sec.wire import whole

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["kdfa", "kdfe"]

_MOST_BITS = 8 * LARGEST


def _label(label: str | BytesLike) -> bytes:
    """Return a label with its zero byte."""
    if isinstance(label, str):
        try:
            raw = label.encode("ascii")
        except UnicodeError as error:
            raise TpmMisuseError("not ASCII", where="label", expected="the letters of the specification") from error
    else:
        raw = buffer(label, "label")
    if b"\0" in raw:
        raise TpmMisuseError("a zero byte", where="label", expected="none: the one at the end is added here")
    return raw + b"\0"


def _cut(material: bytes, bits: int) -> bytes:
    """Return the first bytes that hold `bits`; where they are not whole bytes, the top of the first one is masked."""
    size = -(-bits // 8)
    if bits % 8:
        return bytes((material[0] & (1 << bits % 8) - 1,)) + material[1:size]
    return material[:size]


def kdfa_of(algorithm: HashAlgorithm, key: bytes | bytearray, fixed: bytes, bits: int) -> bytes:
    """Return KDFa over ``label || 00 || contextU || contextV``, for callers within this pillar that have it ready."""
    fixed += bits.to_bytes(4, "big")
    base = hmac.new(key, None, algorithm.name)
    blocks = []
    for counter in range(1, -(-bits // (8 * algorithm.size)) + 1):
        block = base.copy()
        block.update(counter.to_bytes(4, "big") + fixed)
        blocks.append(block.digest())
    return _cut(b"".join(blocks), bits)


def kdfa(
    hash: HashName,
    key: BytesLike,
    label: str | BytesLike,
    context_u: BytesLike = b"",
    context_v: BytesLike = b"",
    bits: int | None = None,
) -> bytes:
    """Derive key material from a key with HMAC.

    Parameters
    ----------
    hash : HashAlgorithm, int or str
        The hash of the HMAC.
    key : bytes-like
        The HMAC key; may be empty.
    label : str or bytes-like
        What the result is for (``"ATH"``, ``"CFB"``, ``"STORAGE"``), without the zero byte at its end.
    context_u, context_v : bytes-like
        The two contexts, one after the other in the input.
    bits : int, optional
        Size of the result in bits; without it that of a digest.

    Returns
    -------
    bytes
        ``ceil(bits / 8)`` bytes; bits beyond `bits` at the top of the first are zero.

    Raises
    ------
    TpmMisuseError
        If an argument has the wrong type, or `bits` is negative or more than a TPM2B holds.
    """
    algorithm = hash_of(hash)
    size = 8 * algorithm.size if bits is None else whole(bits, "bits", 0, _MOST_BITS, error=TpmMisuseError)
    fixed = _label(label) + buffer(context_u, "context_u") + buffer(context_v, "context_v")
    return kdfa_of(algorithm, buffer(key, "key"), fixed, size)


def kdfe(
    hash: HashName,
    z: BytesLike,
    label: str | BytesLike,
    party_u: BytesLike = b"",
    party_v: BytesLike = b"",
    bits: int | None = None,
) -> bytes:
    """Derive key material from a secret that two parties agreed on, with a hash.

    Parameters
    ----------
    hash : HashAlgorithm, int or str
        The hash.
    z : bytes-like
        The x-coordinate of the product, padded to the size of the field.
    label : str or bytes-like
        What the result is for (``"SECRET"``, ``"DUPLICATE"``, ``"IDENTITY"``), without the zero byte at its end.
    party_u, party_v : bytes-like
        The x-coordinates of the ephemeral and of the static public key, padded to the size of the field.
    bits : int, optional
        Size of the result in bits; without it that of a digest.

    Returns
    -------
    bytes
        ``ceil(bits / 8)`` bytes; bits beyond `bits` at the top of the first are zero.

    Raises
    ------
    TpmMisuseError
        If an argument has the wrong type, or `bits` is negative or more than a TPM2B holds.
    """
    algorithm = hash_of(hash)
    size = 8 * algorithm.size if bits is None else whole(bits, "bits", 0, _MOST_BITS, error=TpmMisuseError)
    fixed = buffer(z, "z") + _label(label) + buffer(party_u, "party_u") + buffer(party_v, "party_v")
    blocks = [
        algorithm.digest(counter.to_bytes(4, "big"), fixed)
        for counter in range(1, -(-size // (8 * algorithm.size)) + 1)
    ]
    return _cut(b"".join(blocks), size)
