# SPDX-License-Identifier: Apache-2.0
"""Symmetric cryptography and random numbers: commands of TPM 2.0 (Library, Part 3, clauses 15 and 16)."""

from __future__ import annotations

from prestocloud_sec.tpm.spec.constants import TPM_CC
from prestocloud_sec.tpm.spec.declare import AuthRole, Command, OrNull, Secret, handle
from prestocloud_sec.tpm.spec.interfaces import (
    TPMI_ALG_CIPHER_MODE,
    TPMI_ALG_HASH,
    TPMI_ALG_MAC_SCHEME,
    TPMI_DH_OBJECT,
    TPMI_RH_HIERARCHY,
    TPMI_YES_NO,
    UINT16,
)
from prestocloud_sec.tpm.spec.structures.basic import TPMT_TK_HASHCHECK
from prestocloud_sec.tpm.spec.structures.buffers import TPM2B_DIGEST, TPM2B_IV, TPM2B_MAX_BUFFER, TPM2B_SENSITIVE_DATA

__all__ = [
    "HMAC",
    "MAC",
    "EncryptDecrypt",
    "EncryptDecrypt2",
    "GetRandom",
    "Hash",
    "StirRandom",
]


class EncryptDecrypt(Command):
    """Encrypt or decrypt by a block cipher; the data cannot be encrypted on its way (Part 3, 15.2)."""

    code = TPM_CC.EncryptDecrypt

    keyHandle: TPMI_DH_OBJECT = handle(auth=AuthRole.USER)
    """The key."""
    decrypt: TPMI_YES_NO
    """Decrypt, or encrypt."""
    mode: OrNull[TPMI_ALG_CIPHER_MODE]
    """Mode of the block cipher; NULL for that of the key."""
    ivIn: TPM2B_IV
    """Initial value."""
    inData: Secret[TPM2B_MAX_BUFFER]
    """The data."""

    class Response(Command.Response):
        """What comes back."""

        outData: Secret[TPM2B_MAX_BUFFER]
        """The data."""
        ivOut: TPM2B_IV
        """Initial value for the next data."""


class EncryptDecrypt2(Command):
    """Encrypt or decrypt by a block cipher (Part 3, 15.3)."""

    code = TPM_CC.EncryptDecrypt2

    keyHandle: TPMI_DH_OBJECT = handle(auth=AuthRole.USER)
    """The key."""
    inData: Secret[TPM2B_MAX_BUFFER]
    """The data."""
    decrypt: TPMI_YES_NO
    """Decrypt, or encrypt."""
    mode: OrNull[TPMI_ALG_CIPHER_MODE]
    """Mode of the block cipher; NULL for that of the key."""
    ivIn: TPM2B_IV
    """Initial value."""

    class Response(Command.Response):
        """What comes back."""

        outData: Secret[TPM2B_MAX_BUFFER]
        """The data."""
        ivOut: TPM2B_IV
        """Initial value for the next data."""


class Hash(Command):
    """Hash data (Part 3, 15.4)."""

    code = TPM_CC.Hash

    data: TPM2B_MAX_BUFFER
    """The data."""
    hashAlg: TPMI_ALG_HASH
    """The hash."""
    hierarchy: OrNull[TPMI_RH_HIERARCHY]
    """Hierarchy of the ticket."""

    class Response(Command.Response):
        """What comes back."""

        outHash: TPM2B_DIGEST
        """The digest."""
        validation: TPMT_TK_HASHCHECK
        """Ticket: the data did not look like the TPM's own."""


class HMAC(Command):
    """Compute an HMAC; a TPM since revision 1.46 takes it for MAC (Part 3, 15.5)."""

    code = TPM_CC.HMAC

    handle: TPMI_DH_OBJECT = handle(auth=AuthRole.USER)
    """The key."""
    buffer: TPM2B_MAX_BUFFER
    """The data."""
    hashAlg: OrNull[TPMI_ALG_HASH]
    """The hash; NULL for that of the key."""

    class Response(Command.Response):
        """What comes back."""

        outHMAC: TPM2B_DIGEST
        """The HMAC."""


class MAC(Command):
    """Compute an HMAC or a block cipher MAC (Part 3, 15.6)."""

    code = TPM_CC.MAC

    handle: TPMI_DH_OBJECT = handle(auth=AuthRole.USER)
    """The key."""
    buffer: TPM2B_MAX_BUFFER
    """The data."""
    inScheme: OrNull[TPMI_ALG_MAC_SCHEME]
    """CMAC, or a hash; NULL for that of the key."""

    class Response(Command.Response):
        """What comes back."""

        outMAC: TPM2B_DIGEST
        """The MAC."""


class GetRandom(Command):
    """Return random bytes (Part 3, 16.1)."""

    code = TPM_CC.GetRandom

    bytesRequested: UINT16
    """How many."""

    class Response(Command.Response):
        """What comes back."""

        randomBytes: Secret[TPM2B_DIGEST]
        """The bytes, perhaps fewer."""


class StirRandom(Command):
    """Add entropy to the random number generator (Part 3, 16.2)."""

    code = TPM_CC.StirRandom
    nv = True

    inData: TPM2B_SENSITIVE_DATA
    """The data."""

    class Response(Command.Response):
        """Nothing comes back."""
