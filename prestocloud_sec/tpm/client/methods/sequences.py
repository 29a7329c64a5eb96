# SPDX-License-Identifier: Apache-2.0
# Written by scripts/tpm_client_methods.py from prestocloud_sec/tpm/spec/commands/sequences.py; edit that, and run it.
"""Hash, HMAC and event sequences: a method for each command."""

from __future__ import annotations

from prestocloud_sec.tpm.client.core import Sessions
from prestocloud_sec.tpm.client.executor import Executor, live
from prestocloud_sec.tpm.client.handles import Object
from prestocloud_sec.tpm.spec.commands.sequences import (
    EventSequenceComplete,
    HashSequenceStart,
    HMAC_Start,
    MAC_Start,
    SequenceComplete,
    SequenceUpdate,
)
from prestocloud_sec.tpm.spec.declare import OrNull
from prestocloud_sec.tpm.spec.interfaces import (
    TPMI_ALG_HASH,
    TPMI_ALG_MAC_SCHEME,
    TPMI_DH_OBJECT,
    TPMI_DH_PCR,
    TPMI_RH_HIERARCHY,
)
from prestocloud_sec.tpm.spec.structures.basic import TPML_DIGEST_VALUES
from prestocloud_sec.tpm.spec.structures.buffers import TPM2B_AUTH, TPM2B_MAX_BUFFER

__all__ = ["SequencesMethods"]


class SequencesMethods(Executor):
    """Hash, HMAC and event sequences: a method for each command."""

    def hmac_start(
        self, handle: TPMI_DH_OBJECT, auth: TPM2B_AUTH, hashAlg: OrNull[TPMI_ALG_HASH], *, sessions: Sessions = None
    ) -> Object[HMAC_Start.Response]:
        """Start an HMAC sequence; a TPM since revision 1.46 takes it for MAC_Start (Part 3, 17.2).

        Parameters
        ----------
        handle : TPMI_DH_OBJECT
            The key.
        auth : TPM2B_AUTH
            AuthValue of the sequence.
        hashAlg : OrNull[TPMI_ALG_HASH]
            The hash; NULL for that of the key.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        Object[HMAC_Start.Response]
            The sequence.
        """
        response = self.execute(HMAC_Start(live(self, handle), auth, hashAlg), sessions)
        return self._object(response.sequenceHandle, response)

    def mac_start(
        self,
        handle: TPMI_DH_OBJECT,
        auth: TPM2B_AUTH,
        inScheme: OrNull[TPMI_ALG_MAC_SCHEME],
        *,
        sessions: Sessions = None,
    ) -> Object[MAC_Start.Response]:
        """Start a sequence that computes a MAC (Part 3, 17.3).

        Parameters
        ----------
        handle : TPMI_DH_OBJECT
            The key.
        auth : TPM2B_AUTH
            AuthValue of the sequence.
        inScheme : OrNull[TPMI_ALG_MAC_SCHEME]
            CMAC, or a hash; NULL for that of the key.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        Object[MAC_Start.Response]
            The sequence.
        """
        response = self.execute(MAC_Start(live(self, handle), auth, inScheme), sessions)
        return self._object(response.sequenceHandle, response)

    def hash_sequence_start(
        self, auth: TPM2B_AUTH, hashAlg: OrNull[TPMI_ALG_HASH], *, sessions: Sessions = None
    ) -> Object[HashSequenceStart.Response]:
        """Start a sequence that computes a hash, or an event sequence (Part 3, 17.4).

        Parameters
        ----------
        auth : TPM2B_AUTH
            AuthValue of the sequence.
        hashAlg : OrNull[TPMI_ALG_HASH]
            The hash; NULL for an event sequence.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        Object[HashSequenceStart.Response]
            The sequence.
        """
        response = self.execute(HashSequenceStart(auth, hashAlg), sessions)
        return self._object(response.sequenceHandle, response)

    def sequence_update(
        self, sequenceHandle: TPMI_DH_OBJECT, buffer: TPM2B_MAX_BUFFER, *, sessions: Sessions = None
    ) -> None:
        """Add data to a sequence (Part 3, 17.5).

        Parameters
        ----------
        sequenceHandle : TPMI_DH_OBJECT
            The sequence.
        buffer : TPM2B_MAX_BUFFER
            The data.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(SequenceUpdate(live(self, sequenceHandle), buffer), sessions)

    def sequence_complete(
        self,
        sequenceHandle: TPMI_DH_OBJECT,
        buffer: TPM2B_MAX_BUFFER,
        hierarchy: OrNull[TPMI_RH_HIERARCHY],
        *,
        sessions: Sessions = None,
    ) -> SequenceComplete.Response:
        """Add the last data to a sequence, and return its result (Part 3, 17.6).

        Parameters
        ----------
        sequenceHandle : TPMI_DH_OBJECT
            The sequence.
        buffer : TPM2B_MAX_BUFFER
            The data.
        hierarchy : OrNull[TPMI_RH_HIERARCHY]
            Hierarchy of the ticket.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        SequenceComplete.Response
            With result, validation.
        """
        return self.execute(SequenceComplete(live(self, sequenceHandle), buffer, hierarchy), sessions)

    def event_sequence_complete(
        self,
        pcrHandle: OrNull[TPMI_DH_PCR],
        sequenceHandle: TPMI_DH_OBJECT,
        buffer: TPM2B_MAX_BUFFER,
        *,
        sessions: Sessions = None,
    ) -> TPML_DIGEST_VALUES:
        """Add the last data to an event sequence, return its digests, and extend a PCR with them (Part 3, 17.7).

        Parameters
        ----------
        pcrHandle : OrNull[TPMI_DH_PCR]
            The PCR.
        sequenceHandle : TPMI_DH_OBJECT
            The sequence.
        buffer : TPM2B_MAX_BUFFER
            The data.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        TPML_DIGEST_VALUES
            Its digests, one of each bank.
        """
        return self.execute(
            EventSequenceComplete(live(self, pcrHandle), live(self, sequenceHandle), buffer), sessions
        ).results
