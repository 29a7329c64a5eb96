# SPDX-License-Identifier: Apache-2.0
"""How PCR banks are named: by the number of their hash algorithm, whether that is known here or not."""

from __future__ import annotations

from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.tpm.hashes import HashAlgorithm, HashName, hash_of
from prestocloud_sec.tpm.spec.constants import TPM_ALG_ID
from prestocloud_sec.wire import whole

__all__ = ["bank_id", "bank_name", "known_bank"]


def known_bank(number: int) -> HashAlgorithm | None:
    """Return the algorithm of a bank; None if its number is none that is known."""
    try:
        return hash_of(number)
    except TpmMisuseError:
        return None


def bank_id(bank: HashName, name: str = "bank") -> int:
    """Return the number of a bank given by name, number or algorithm; those of known algorithms have a name.

    >>> bank_id("sha256"), bank_id(0x1234)
    (<TPM_ALG_ID.SHA256: 11>, 4660)
    """
    if isinstance(bank, int):
        number = whole(bank, name, 0, 0xFFFF, error=TpmMisuseError)
        return number if known_bank(number) is None else TPM_ALG_ID(number)
    return TPM_ALG_ID(hash_of(bank, name).id)


def bank_name(bank: HashName) -> str:
    """Return what people call a bank, ``sha256``; one that is not known is told by its number, ``0x1234``."""
    number = bank_id(bank)
    known = known_bank(number)
    return f"{number:#06x}" if known is None else known.name
