# SPDX-License-Identifier: Apache-2.0
# Written by scripts/tpm_client_methods.py from prestocloud_sec/tpm/spec/commands/duplication.py; edit that, and run it.
"""Duplication: a method for each command, to be awaited."""

from __future__ import annotations

from prestocloud_sec.tpm.client.core import Sessions
from prestocloud_sec.tpm.client.executor import AsyncExecutor, live
from prestocloud_sec.tpm.spec.commands.duplication import Duplicate, Import, Rewrap
from prestocloud_sec.tpm.spec.declare import OrNull, Secret
from prestocloud_sec.tpm.spec.interfaces import TPMI_DH_OBJECT
from prestocloud_sec.tpm.spec.structures.buffers import TPM2B_DATA, TPM2B_ENCRYPTED_SECRET, TPM2B_NAME, TPM2B_PRIVATE
from prestocloud_sec.tpm.spec.structures.objects import TPM2B_PUBLIC
from prestocloud_sec.tpm.spec.structures.schemes import TPMT_SYM_DEF_OBJECT

__all__ = ["AsyncDuplicationMethods"]


class AsyncDuplicationMethods(AsyncExecutor):
    """Duplication: a method for each command."""

    async def duplicate(
        self,
        objectHandle: TPMI_DH_OBJECT,
        newParentHandle: OrNull[TPMI_DH_OBJECT],
        encryptionKeyIn: Secret[TPM2B_DATA],
        symmetricAlg: OrNull[TPMT_SYM_DEF_OBJECT],
        *,
        sessions: Sessions = None,
    ) -> Duplicate.Response:
        """Encrypt an object for another parent (Part 3, 13.1)."""
        return await self.execute(
            Duplicate(live(self, objectHandle), live(self, newParentHandle), encryptionKeyIn, symmetricAlg), sessions
        )

    async def rewrap(
        self,
        oldParent: OrNull[TPMI_DH_OBJECT],
        newParent: OrNull[TPMI_DH_OBJECT],
        inDuplicate: TPM2B_PRIVATE,
        name: TPM2B_NAME,
        inSymSeed: TPM2B_ENCRYPTED_SECRET,
        *,
        sessions: Sessions = None,
    ) -> Rewrap.Response:
        """Encrypt a duplicate for another parent (Part 3, 13.2)."""
        return await self.execute(
            Rewrap(live(self, oldParent), live(self, newParent), inDuplicate, name, inSymSeed), sessions
        )

    async def import_(
        self,
        parentHandle: TPMI_DH_OBJECT,
        encryptionKey: Secret[TPM2B_DATA],
        objectPublic: TPM2B_PUBLIC,
        duplicate: TPM2B_PRIVATE,
        inSymSeed: TPM2B_ENCRYPTED_SECRET,
        symmetricAlg: OrNull[TPMT_SYM_DEF_OBJECT],
        *,
        sessions: Sessions = None,
    ) -> TPM2B_PRIVATE:
        """Make an object of a duplicate, below a parent (Part 3, 13.3)."""
        response = await self.execute(
            Import(live(self, parentHandle), encryptionKey, objectPublic, duplicate, inSymSeed, symmetricAlg), sessions
        )
        return response.outPrivate
