# SPDX-License-Identifier: Apache-2.0
"""Hashes and paddings of pyca/cryptography in a TPM's terms.

A padding object does not tell what it was made of but in private attributes; they are read here and, for the length of
a salt, in `RsaKey`.

Sources: TPM 2.0 Library, Part 1, B.4 (OAEP) and B.7 (PSS); Part 3, 14.2 (RSA_Decrypt).
"""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import OAEP, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.tpm.hashes import HASHES, HashAlgorithm
from prestocloud_sec.tpm.spec.constants import TPM_ALG_ID
from prestocloud_sec.tpm.spec.structures.basic import TPMS_EMPTY
from prestocloud_sec.tpm.spec.structures.schemes import TPMS_SCHEME_HASH, TPMT_RSA_DECRYPT
from prestocloud_sec.wire import shown

__all__ = ["check_mgf", "decryption_of", "plain_hash", "row_of"]

ALG = TPM_ALG_ID

_HASHES: dict[str, HashAlgorithm] = {row.name.replace("_", "-"): row for row in HASHES}
"""Hash algorithms by what pyca/cryptography calls them."""


def plain_hash(algorithm: Any) -> Any:
    """Return the hash, that of a digest that was made before (``Prehashed``) too."""
    return algorithm._algorithm if isinstance(algorithm, Prehashed) else algorithm


def row_of(algorithm: Any) -> HashAlgorithm:
    """Return the hash that a TPM has for one of pyca/cryptography; TpmMisuseError if it has none."""
    row = _HASHES.get(algorithm.name) if isinstance(algorithm, hashes.HashAlgorithm) else None
    if row is None:
        raise TpmMisuseError(shown(algorithm), where="algorithm", expected=f"one of {', '.join(_HASHES)}")
    return row


def check_mgf(padding: Any, row: HashAlgorithm) -> None:
    """Refuse, by TpmMisuseError, MGF1 with another hash: a TPM has one for both (Part 1, B.4 and B.7)."""
    if row_of(padding._mgf._algorithm) is not row:
        raise TpmMisuseError("MGF1 with another hash", where="padding", expected=f"{row.name}, as a TPM has it")


def decryption_of(padding: Any) -> tuple[TPMT_RSA_DECRYPT, bytes]:
    """Return scheme and label of TPM2_RSA_Decrypt for a padding; TpmMisuseError if a TPM does not take it off."""
    if isinstance(padding, PKCS1v15):
        return TPMT_RSA_DECRYPT(ALG.RSAES, TPMS_EMPTY()), b""
    if not isinstance(padding, OAEP):
        raise TpmMisuseError(shown(padding), where="padding", expected="OAEP or PKCS1v15")
    row = row_of(padding._algorithm)
    check_mgf(padding, row)
    label = padding._label or b""
    if label and label[-1]:
        raise TpmMisuseError("a label", where="padding", expected="one that ends with a zero byte, or none")
    return TPMT_RSA_DECRYPT(ALG.OAEP, TPMS_SCHEME_HASH(ALG(row.id))), label
