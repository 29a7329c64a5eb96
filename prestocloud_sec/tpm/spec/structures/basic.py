# SPDX-License-Identifier: Apache-2.0
"""Digests, PCR selections, tickets and lists (TPM 2.0 Library, Part 2, clause 10).

Tables are numbered as in revision 1.59.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.tpm.spec.attributes import TPMA_ALGORITHM, TPMA_CC
from prestocloud_sec.tpm.spec.constants import TPM_ALG_ID, TPM_CC, TPM_RC, TPM_ST
from prestocloud_sec.tpm.spec.declare import (
    Allowed,
    Fixed,
    Listed,
    Member,
    OrNull,
    OrNullIfAsked,
    Structure,
    Union,
    selected_by,
)
from prestocloud_sec.tpm.spec.interfaces import TPM_HANDLE, TPMI_ALG_HASH, TPMI_RH_HIERARCHY
from prestocloud_sec.tpm.spec.structures.buffers import PCR_BITMAP, TPM2B_DIGEST
from prestocloud_sec.wire import items_of, whole

__all__ = [
    "TPML_ALG",
    "TPML_CC",
    "TPML_CCA",
    "TPML_DIGEST",
    "TPML_DIGEST_VALUES",
    "TPML_HANDLE",
    "TPML_PCR_SELECTION",
    "TPMS_ALGORITHM_DESCRIPTION",
    "TPMS_EMPTY",
    "TPMS_PCR_SELECT",
    "TPMS_PCR_SELECTION",
    "TPMT_HA",
    "TPMT_TK_AUTH",
    "TPMT_TK_CREATION",
    "TPMT_TK_HASHCHECK",
    "TPMT_TK_VERIFIED",
    "TPMU_HA",
    "TPMU_NAME",
    "bitmap_of",
    "pcrs_of",
]


def bitmap_of(pcrs: Iterable[int], size: int = 3) -> bytes:
    """Return the bit map of some PCRs, `size` bytes long or as long as it has to be (Part 2, table 93).

    >>> bitmap_of([0, 1, 9]).hex()
    '030200'
    """
    bits = 0
    for pcr in items_of(pcrs, "pcrs", "numbers of PCRs", error=TpmMisuseError):
        bits |= 1 << whole(pcr, "PCR", 0, 255, error=TpmMisuseError)
    least = whole(size, "size", 0, 32, error=TpmMisuseError)
    return bits.to_bytes(max(least, (bits.bit_length() + 7) // 8), "little")


def pcrs_of(bitmap: bytes) -> tuple[int, ...]:
    """Return the PCRs of a bit map, ascending."""
    bits = int.from_bytes(bitmap, "little")
    return tuple(pcr for pcr in range(bits.bit_length()) if bits >> pcr & 1)


class TPMS_EMPTY(Structure):
    """Nothing: what a scheme without parameters has (Part 2, table 77)."""


class TPMS_ALGORITHM_DESCRIPTION(Structure):
    """An algorithm and what it does (Part 2, table 78)."""

    alg: TPM_ALG_ID
    """The algorithm."""
    attributes: TPMA_ALGORITHM
    """What it is and does."""


TPMU_HA = Annotated[
    bytes,
    Union(
        Member("sha1", Fixed(20), (TPM_ALG_ID.SHA1,)),
        Member("sha256", Fixed(32), (TPM_ALG_ID.SHA256,)),
        Member("sha384", Fixed(48), (TPM_ALG_ID.SHA384,)),
        Member("sha512", Fixed(64), (TPM_ALG_ID.SHA512,)),
        Member("sm3_256", Fixed(32), (TPM_ALG_ID.SM3_256,)),
        Member("sha3_256", Fixed(32), (TPM_ALG_ID.SHA3_256,)),
        Member("sha3_384", Fixed(48), (TPM_ALG_ID.SHA3_384,)),
        Member("sha3_512", Fixed(64), (TPM_ALG_ID.SHA3_512,)),
        Member("null", None, (TPM_ALG_ID.NULL,)),
        Member("sha256_192", Fixed(24), (TPM_ALG_ID.SHA256_192,)),
        Member("shake256_192", Fixed(24), (TPM_ALG_ID.SHAKE256_192,)),
        Member("shake256_256", Fixed(32), (TPM_ALG_ID.SHAKE256_256,)),
        Member("shake256_512", Fixed(64), (TPM_ALG_ID.SHAKE256_512,)),
    ),
]
"""A digest, as long as its algorithm makes it (Part 2, table 79)."""


class TPMT_HA(Structure):
    """A digest with its algorithm (Part 2, table 80)."""

    hashAlg: OrNullIfAsked[TPMI_ALG_HASH]
    """The hash."""
    digest: TPMU_HA = selected_by("hashAlg")
    """The digest, without a size in front."""


TPMU_NAME = Annotated[TPMT_HA | int, Union(Member("digest", TPMT_HA), Member("handle", TPM_HANDLE))]
"""What a TPM2B_NAME holds; its size tells which (Part 2, table 91)."""


class TPMS_PCR_SELECT(Structure):
    """PCRs, whatever the bank (Part 2, table 93)."""

    pcrSelect: PCR_BITMAP
    """The PCRs, by bit."""

    @property
    def pcrs(self) -> tuple[int, ...]:
        """The selected PCRs, ascending."""
        return pcrs_of(self.pcrSelect)


class TPMS_PCR_SELECTION(Structure):
    """PCRs of one bank (Part 2, table 94)."""

    hash: TPMI_ALG_HASH
    """The bank."""
    pcrSelect: PCR_BITMAP
    """Its PCRs, by bit."""

    @classmethod
    def of(cls, hash: TPM_ALG_ID, pcrs: Iterable[int], *, size: int = 3) -> TPMS_PCR_SELECTION:
        """Return the selection of some PCRs of a bank; `size` is the least number of bytes in the bit map.

        Raises
        ------
        TpmMisuseError
            If a PCR has no place in any bit map.
        """
        return cls(hash, bitmap_of(pcrs, size))

    @property
    def pcrs(self) -> tuple[int, ...]:
        """The selected PCRs, ascending."""
        return pcrs_of(self.pcrSelect)


class TPMT_TK_CREATION(Structure):
    """Ticket: the TPM created this object (Part 2, table 97)."""

    tag: Annotated[TPM_ST, Allowed(TPM_ST.CREATION, rc=TPM_RC.TAG)]
    """TPM_ST.CREATION."""
    hierarchy: OrNull[TPMI_RH_HIERARCHY]
    """Hierarchy of the object; NULL for an empty ticket."""
    digest: TPM2B_DIGEST
    """HMAC over the name of the object and its creation hash."""


class TPMT_TK_VERIFIED(Structure):
    """Ticket: the TPM verified this signature (Part 2, table 98)."""

    tag: Annotated[TPM_ST, Allowed(TPM_ST.VERIFIED, rc=TPM_RC.TAG)]
    """TPM_ST.VERIFIED."""
    hierarchy: OrNull[TPMI_RH_HIERARCHY]
    """Hierarchy of the key; NULL for an empty ticket."""
    digest: TPM2B_DIGEST
    """HMAC over the digest and the name of the key."""


class TPMT_TK_AUTH(Structure):
    """Ticket: this authorization holds until a time (Part 2, table 99)."""

    tag: Annotated[TPM_ST, Allowed(TPM_ST.AUTH_SIGNED, TPM_ST.AUTH_SECRET, rc=TPM_RC.TAG)]
    """AUTH_SIGNED or AUTH_SECRET, after the command that made it."""
    hierarchy: OrNull[TPMI_RH_HIERARCHY]
    """Hierarchy of what authorized; NULL for an empty ticket."""
    digest: TPM2B_DIGEST
    """HMAC over timeout, cpHash, policyRef and name."""


class TPMT_TK_HASHCHECK(Structure):
    """Ticket: the TPM hashed data that did not look like its own (Part 2, table 100)."""

    tag: Annotated[TPM_ST, Allowed(TPM_ST.HASHCHECK, rc=TPM_RC.TAG)]
    """TPM_ST.HASHCHECK."""
    hierarchy: OrNull[TPMI_RH_HIERARCHY]
    """Hierarchy of the ticket; NULL for an empty ticket."""
    digest: TPM2B_DIGEST
    """HMAC over the digest."""


TPML_CC = Annotated[tuple[TPM_CC, ...], Listed(256, "commandCodes")]
"""Command codes (Part 2, table 106)."""

TPML_CCA = Annotated[tuple[TPMA_CC, ...], Listed(256, "commandAttributes")]
"""Command codes with what the commands do (Part 2, table 107)."""

TPML_ALG = Annotated[tuple[TPM_ALG_ID, ...], Listed(128, "algorithms")]
"""Algorithms (Part 2, table 108)."""

TPML_HANDLE = Annotated[tuple[TPM_HANDLE, ...], Listed(254, "handle")]
"""Handles (Part 2, table 109)."""

TPML_DIGEST = Annotated[tuple[TPM2B_DIGEST, ...], Listed(8, "digests")]
"""Digests (Part 2, table 110)."""

TPML_DIGEST_VALUES = Annotated[tuple[TPMT_HA, ...], Listed(16, "digests")]
"""Digests with their algorithms, one of each (Part 2, table 111)."""

TPML_PCR_SELECTION = Annotated[tuple[TPMS_PCR_SELECTION, ...], Listed(16, "pcrSelections")]
"""PCRs of several banks (Part 2, table 112)."""
