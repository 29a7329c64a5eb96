# SPDX-License-Identifier: Apache-2.0
# Written by scripts/tpm_client_methods.py from prestocloud_sec/tpm/spec/commands/duplication.py; edit that, and run it.
"""Duplication: a method for each command."""

from __future__ import annotations

from prestocloud_sec.tpm.client.core import Sessions
from prestocloud_sec.tpm.client.executor import Executor, live
from prestocloud_sec.tpm.spec.commands.duplication import Duplicate, Import, Rewrap
from prestocloud_sec.tpm.spec.declare import OrNull, Secret
from prestocloud_sec.tpm.spec.interfaces import TPMI_DH_OBJECT
from prestocloud_sec.tpm.spec.structures.buffers import TPM2B_DATA, TPM2B_ENCRYPTED_SECRET, TPM2B_NAME, TPM2B_PRIVATE
from prestocloud_sec.tpm.spec.structures.objects import TPM2B_PUBLIC
from prestocloud_sec.tpm.spec.structures.schemes import TPMT_SYM_DEF_OBJECT

__all__ = ["DuplicationMethods"]


class DuplicationMethods(Executor):
    """Duplication: a method for each command."""

    def duplicate(
        self,
        objectHandle: TPMI_DH_OBJECT,
        newParentHandle: OrNull[TPMI_DH_OBJECT],
        encryptionKeyIn: Secret[TPM2B_DATA],
        symmetricAlg: OrNull[TPMT_SYM_DEF_OBJECT],
        *,
        sessions: Sessions = None,
    ) -> Duplicate.Response:
        """Encrypt an object for another parent (Part 3, 13.1).

        Parameters
        ----------
        objectHandle : TPMI_DH_OBJECT
            The object.
        newParentHandle : OrNull[TPMI_DH_OBJECT]
            The new parent; NULL for no outer wrapper.
        encryptionKeyIn : Secret[TPM2B_DATA]
            Key of the inner wrapper; empty where the TPM makes it.
        symmetricAlg : OrNull[TPMT_SYM_DEF_OBJECT]
            Block cipher of the inner wrapper; NULL for none.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        Duplicate.Response
            With encryptionKeyOut, duplicate, outSymSeed.
        """
        return self.execute(
            Duplicate(live(self, objectHandle), live(self, newParentHandle), encryptionKeyIn, symmetricAlg), sessions
        )

    def rewrap(
        self,
        oldParent: OrNull[TPMI_DH_OBJECT],
        newParent: OrNull[TPMI_DH_OBJECT],
        inDuplicate: TPM2B_PRIVATE,
        name: TPM2B_NAME,
        inSymSeed: TPM2B_ENCRYPTED_SECRET,
        *,
        sessions: Sessions = None,
    ) -> Rewrap.Response:
        """Encrypt a duplicate for another parent (Part 3, 13.2).

        Parameters
        ----------
        oldParent : OrNull[TPMI_DH_OBJECT]
            The old parent; NULL for no wrapper.
        newParent : OrNull[TPMI_DH_OBJECT]
            The new parent; NULL for no wrapper.
        inDuplicate : TPM2B_PRIVATE
            The encrypted secret part.
        name : TPM2B_NAME
            Name of the object.
        inSymSeed : TPM2B_ENCRYPTED_SECRET
            The encrypted seed of its outer wrapper; empty for none.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        Rewrap.Response
            With outDuplicate, outSymSeed.
        """
        return self.execute(
            Rewrap(live(self, oldParent), live(self, newParent), inDuplicate, name, inSymSeed), sessions
        )

    def import_(
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
        """Make an object of a duplicate, below a parent (Part 3, 13.3).

        Parameters
        ----------
        parentHandle : TPMI_DH_OBJECT
            The parent.
        encryptionKey : Secret[TPM2B_DATA]
            Key of the inner wrapper; empty for none.
        objectPublic : TPM2B_PUBLIC
            Public area of the object.
        duplicate : TPM2B_PRIVATE
            The encrypted secret part.
        inSymSeed : TPM2B_ENCRYPTED_SECRET
            The encrypted seed of its outer wrapper; empty for none.
        symmetricAlg : OrNull[TPMT_SYM_DEF_OBJECT]
            Block cipher of the inner wrapper; NULL for none.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        TPM2B_PRIVATE
            Secret part, encrypted by the parent.
        """
        return self.execute(
            Import(live(self, parentHandle), encryptionKey, objectPublic, duplicate, inSymSeed, symmetricAlg), sessions
        ).outPrivate
