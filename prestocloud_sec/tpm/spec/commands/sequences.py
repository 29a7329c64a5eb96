# SPDX-License-Identifier: Apache-2.0
"""Hash, HMAC and event sequences: commands of TPM 2.0 (Library, Part 3, clause 17)."""

from __future__ import annotations

from prestocloud_sec.tpm.spec.constants import TPM_CC
from prestocloud_sec.tpm.spec.declare import AuthRole, Command, OrNull, handle
from prestocloud_sec.tpm.spec.interfaces import (
    TPMI_ALG_HASH,
    TPMI_ALG_MAC_SCHEME,
    TPMI_DH_OBJECT,
    TPMI_DH_PCR,
    TPMI_RH_HIERARCHY,
)
from prestocloud_sec.tpm.spec.structures.basic import TPML_DIGEST_VALUES, TPMT_TK_HASHCHECK
from prestocloud_sec.tpm.spec.structures.buffers import TPM2B_AUTH, TPM2B_DIGEST, TPM2B_MAX_BUFFER

__all__ = [
    "EventSequenceComplete",
    "HMAC_Start",
    "HashSequenceStart",
    "MAC_Start",
    "SequenceComplete",
    "SequenceUpdate",
]


class HMAC_Start(Command):
    """Start an HMAC sequence; a TPM since revision 1.46 takes it for MAC_Start (Part 3, 17.2)."""

    code = TPM_CC.HMAC_Start

    handle: TPMI_DH_OBJECT = handle(auth=AuthRole.USER)
    """The key."""
    auth: TPM2B_AUTH
    """AuthValue of the sequence."""
    hashAlg: OrNull[TPMI_ALG_HASH]
    """The hash; NULL for that of the key."""

    class Response(Command.Response):
        """What comes back."""

        sequenceHandle: TPMI_DH_OBJECT = handle()
        """The sequence."""


class MAC_Start(Command):
    """Start a sequence that computes a MAC (Part 3, 17.3)."""

    code = TPM_CC.MAC_Start

    handle: TPMI_DH_OBJECT = handle(auth=AuthRole.USER)
    """The key."""
    auth: TPM2B_AUTH
    """AuthValue of the sequence."""
    inScheme: OrNull[TPMI_ALG_MAC_SCHEME]
    """CMAC, or a hash; NULL for that of the key."""

    class Response(Command.Response):
        """What comes back."""

        sequenceHandle: TPMI_DH_OBJECT = handle()
        """The sequence."""


class HashSequenceStart(Command):
    """Start a sequence that computes a hash, or an event sequence (Part 3, 17.4)."""

    code = TPM_CC.HashSequenceStart

    auth: TPM2B_AUTH
    """AuthValue of the sequence."""
    hashAlg: OrNull[TPMI_ALG_HASH]
    """The hash; NULL for an event sequence."""

    class Response(Command.Response):
        """What comes back."""

        sequenceHandle: TPMI_DH_OBJECT = handle()
        """The sequence."""


class SequenceUpdate(Command):
    """Add data to a sequence (Part 3, 17.5)."""

    code = TPM_CC.SequenceUpdate

    sequenceHandle: TPMI_DH_OBJECT = handle(auth=AuthRole.USER)
    """The sequence."""
    buffer: TPM2B_MAX_BUFFER
    """The data."""

    class Response(Command.Response):
        """Nothing comes back."""


class SequenceComplete(Command):
    """Add the last data to a sequence, and return its result (Part 3, 17.6)."""

    code = TPM_CC.SequenceComplete
    flushed = True

    sequenceHandle: TPMI_DH_OBJECT = handle(auth=AuthRole.USER)
    """The sequence."""
    buffer: TPM2B_MAX_BUFFER
    """The data."""
    hierarchy: OrNull[TPMI_RH_HIERARCHY]
    """Hierarchy of the ticket."""

    class Response(Command.Response):
        """What comes back."""

        result: TPM2B_DIGEST
        """The digest or MAC."""
        validation: TPMT_TK_HASHCHECK
        """Ticket: the data did not look like the TPM's own."""


class EventSequenceComplete(Command):
    """Add the last data to an event sequence, return its digests, and extend a PCR with them (Part 3, 17.7)."""

    code = TPM_CC.EventSequenceComplete
    nv = True
    flushed = True

    pcrHandle: OrNull[TPMI_DH_PCR] = handle(auth=AuthRole.USER)
    """The PCR."""
    sequenceHandle: TPMI_DH_OBJECT = handle(auth=AuthRole.USER)
    """The sequence."""
    buffer: TPM2B_MAX_BUFFER
    """The data."""

    class Response(Command.Response):
        """What comes back."""

        results: TPML_DIGEST_VALUES
        """Its digests, one of each bank."""
