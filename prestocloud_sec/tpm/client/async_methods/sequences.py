# SPDX-License-Identifier: Apache-2.0
# Written by scripts/tpm_client_methods.py from prestocloud_sec/tpm/spec/commands/sequences.py; edit that, and run it.
"""Hash, HMAC and event sequences: a method for each command, to be awaited."""

from __future__ import annotations

from prestocloud_sec.tpm.client.core import Sessions
from prestocloud_sec.tpm.client.executor import AsyncExecutor, live
from prestocloud_sec.tpm.client.handles import AsyncObject
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

__all__ = ["AsyncSequencesMethods"]


class AsyncSequencesMethods(AsyncExecutor):
    """Hash, HMAC and event sequences: a method for each command."""

    async def hmac_start(
        self, handle: TPMI_DH_OBJECT, auth: TPM2B_AUTH, hashAlg: OrNull[TPMI_ALG_HASH], *, sessions: Sessions = None
    ) -> AsyncObject[HMAC_Start.Response]:
        """Start an HMAC sequence; a TPM since revision 1.46 takes it for MAC_Start (Part 3, 17.2)."""
        response = await self.execute(HMAC_Start(live(self, handle), auth, hashAlg), sessions)
        return self._object(response.sequenceHandle, response)

    async def mac_start(
        self,
        handle: TPMI_DH_OBJECT,
        auth: TPM2B_AUTH,
        inScheme: OrNull[TPMI_ALG_MAC_SCHEME],
        *,
        sessions: Sessions = None,
    ) -> AsyncObject[MAC_Start.Response]:
        """Start a sequence that computes a MAC (Part 3, 17.3)."""
        response = await self.execute(MAC_Start(live(self, handle), auth, inScheme), sessions)
        return self._object(response.sequenceHandle, response)

    async def hash_sequence_start(
        self, auth: TPM2B_AUTH, hashAlg: OrNull[TPMI_ALG_HASH], *, sessions: Sessions = None
    ) -> AsyncObject[HashSequenceStart.Response]:
        """Start a sequence that computes a hash, or an event sequence (Part 3, 17.4)."""
        response = await self.execute(HashSequenceStart(auth, hashAlg), sessions)
        return self._object(response.sequenceHandle, response)

    async def sequence_update(
        self, sequenceHandle: TPMI_DH_OBJECT, buffer: TPM2B_MAX_BUFFER, *, sessions: Sessions = None
    ) -> None:
        """Add data to a sequence (Part 3, 17.5)."""
        await self.execute(SequenceUpdate(live(self, sequenceHandle), buffer), sessions)

    async def sequence_complete(
        self,
        sequenceHandle: TPMI_DH_OBJECT,
        buffer: TPM2B_MAX_BUFFER,
        hierarchy: OrNull[TPMI_RH_HIERARCHY],
        *,
        sessions: Sessions = None,
    ) -> SequenceComplete.Response:
        """Add the last data to a sequence, and return its result (Part 3, 17.6)."""
        return await self.execute(SequenceComplete(live(self, sequenceHandle), buffer, hierarchy), sessions)

    async def event_sequence_complete(
        self,
        pcrHandle: OrNull[TPMI_DH_PCR],
        sequenceHandle: TPMI_DH_OBJECT,
        buffer: TPM2B_MAX_BUFFER,
        *,
        sessions: Sessions = None,
    ) -> TPML_DIGEST_VALUES:
        """Add the last data to an event sequence, return its digests, and extend a PCR with them (Part 3, 17.7)."""
        response = await self.execute(
            EventSequenceComplete(live(self, pcrHandle), live(self, sequenceHandle), buffer), sessions
        )
        return response.results
