# SPDX-License-Identifier: Apache-2.0
"""The hash algorithms a TPM can name, each with what `hashlib` and `cryptography` call it.

Sources: TCG Algorithm Registry, table "TCG Algorithm Identifiers"; TPM 2.0 Library, Part 2, 10.3.1 (TPMU_HA).
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from prestocloud_sec.errors import PrestoCloudError
from prestocloud_sec.tpm.errors import TpmMisuseError, TpmUnavailableError
from prestocloud_sec.wire import shown

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.hashes import HashAlgorithm as CryptographyHash

__all__ = ["HASHES", "HashAlgorithm", "HashName", "hash_of"]


@dataclass(frozen=True, slots=True, eq=False)
class HashAlgorithm:
    """One hash algorithm; there is one object for each, to be compared with ``is``.

    Attributes
    ----------
    id : int
        Its TPM_ALG_ID.
    name : str
        What `hashlib` calls it.
    size : int
        Length of a digest in bytes.
    block : int
        Length of a block in bytes, as HMAC needs it.
    new : callable
        Returns a hash object over the bytes it is given.
    """

    id: int
    name: str
    size: int
    block: int
    new: Callable[..., Any] = field(repr=False)

    def digest(self, *parts: bytes | bytearray | memoryview) -> bytes:
        """Return the digest of the parts, one after the other."""
        result: bytes = self.new(b"".join(parts)).digest()
        return result

    @property
    def zeros(self) -> bytes:
        """A digest of zeros, where PCRs and policies begin."""
        return bytes(self.size)

    def cryptography(self) -> CryptographyHash:
        """Return the algorithm as pyca/cryptography takes it."""
        from cryptography.hazmat.primitives import hashes

        kind = getattr(hashes, self.name.upper())
        made: CryptographyHash = kind()
        return made

    def __reduce__(self) -> tuple[object, ...]:
        return (hash_of, (self.id,))

    def __copy__(self) -> HashAlgorithm:
        return self

    def __deepcopy__(self, memo: object) -> HashAlgorithm:
        return self


def _sm3(*data: bytes) -> Any:
    try:
        return hashlib.new("sm3", *data)
    except ValueError as error:
        raise TpmUnavailableError("no SM3 in this Python's hashlib", where="hash", hint="use SHA-256") from error


HASHES: tuple[HashAlgorithm, ...] = (
    HashAlgorithm(0x0004, "sha1", 20, 64, functools.partial(hashlib.sha1, usedforsecurity=False)),
    HashAlgorithm(0x000B, "sha256", 32, 64, hashlib.sha256),
    HashAlgorithm(0x000C, "sha384", 48, 128, hashlib.sha384),
    HashAlgorithm(0x000D, "sha512", 64, 128, hashlib.sha512),
    HashAlgorithm(0x0012, "sm3", 32, 64, _sm3),
    HashAlgorithm(0x0027, "sha3_256", 32, 136, hashlib.sha3_256),
    HashAlgorithm(0x0028, "sha3_384", 48, 104, hashlib.sha3_384),
    HashAlgorithm(0x0029, "sha3_512", 64, 72, hashlib.sha3_512),
)
"""Every hash algorithm that is known here."""

HashName: TypeAlias = HashAlgorithm | int | str
"""A hash algorithm: its row of `HASHES`, its TPM_ALG_ID, or its name (``"sha256"``)."""

_FOUND: dict[object, HashAlgorithm] = {key: row for row in HASHES for key in (row, row.id, row.name)}


def hash_of(
    algorithm: HashName, where: str = "hash", *, error: Callable[..., PrestoCloudError] = TpmMisuseError
) -> HashAlgorithm:
    """Return the row of a hash algorithm.

    Parameters
    ----------
    algorithm : HashAlgorithm, int or str
        A row (which is returned as it is), a TPM_ALG_ID or a name.
    where : str
        What the error calls it.
    error : type
        The error to raise, for who has the number from outside.

    Raises
    ------
    TpmMisuseError
        Or `error`, if it is none of `HASHES`.

    >>> hash_of(0x000B).size, hash_of("sha1").block
    (32, 64)
    """
    try:
        return _FOUND[algorithm]
    except Exception:  # noqa: S110  (not there, or whatever a foreign __hash__ raises)
        pass
    if isinstance(algorithm, int):
        text = f"0x{algorithm:04x}" if 0 <= algorithm <= 0xFFFF else shown(algorithm)
    else:
        text = shown(algorithm)
    raise error(
        f"{text} is no hash algorithm that is known here", where=where, expected=", ".join(h.name for h in HASHES)
    )
