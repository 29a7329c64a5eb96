# SPDX-License-Identifier: Apache-2.0
"""Duplication: commands of TPM 2.0 (Library, Part 3, clause 13)."""

from __future__ import annotations

from prestocloud_sec.tpm.spec.constants import TPM_CC
from prestocloud_sec.tpm.spec.declare import AuthRole, Command, OrNull, Secret, handle
from prestocloud_sec.tpm.spec.interfaces import TPMI_DH_OBJECT
from prestocloud_sec.tpm.spec.structures.buffers import TPM2B_DATA, TPM2B_ENCRYPTED_SECRET, TPM2B_NAME, TPM2B_PRIVATE
from prestocloud_sec.tpm.spec.structures.objects import TPM2B_PUBLIC
from prestocloud_sec.tpm.spec.structures.schemes import TPMT_SYM_DEF_OBJECT

__all__ = [
    "Duplicate",
    "Import",
    "Rewrap",
]


class Duplicate(Command):
    """Encrypt an object for another parent (Part 3, 13.1)."""

    code = TPM_CC.Duplicate

    objectHandle: TPMI_DH_OBJECT = handle(auth=AuthRole.DUP)
    """The object."""
    newParentHandle: OrNull[TPMI_DH_OBJECT] = handle()
    """The new parent; NULL for no outer wrapper."""
    encryptionKeyIn: Secret[TPM2B_DATA]
    """Key of the inner wrapper; empty where the TPM makes it."""
    symmetricAlg: OrNull[TPMT_SYM_DEF_OBJECT]
    """Block cipher of the inner wrapper; NULL for none."""

    class Response(Command.Response):
        """What comes back."""

        encryptionKeyOut: Secret[TPM2B_DATA]
        """Key of the inner wrapper that the TPM made."""
        duplicate: TPM2B_PRIVATE
        """The encrypted secret part."""
        outSymSeed: TPM2B_ENCRYPTED_SECRET
        """The encrypted seed of the outer wrapper."""


class Rewrap(Command):
    """Encrypt a duplicate for another parent (Part 3, 13.2)."""

    code = TPM_CC.Rewrap

    oldParent: OrNull[TPMI_DH_OBJECT] = handle(auth=AuthRole.USER)
    """The old parent; NULL for no wrapper."""
    newParent: OrNull[TPMI_DH_OBJECT] = handle()
    """The new parent; NULL for no wrapper."""
    inDuplicate: TPM2B_PRIVATE
    """The encrypted secret part."""
    name: TPM2B_NAME
    """Name of the object."""
    inSymSeed: TPM2B_ENCRYPTED_SECRET
    """The encrypted seed of its outer wrapper; empty for none."""

    class Response(Command.Response):
        """What comes back."""

        outDuplicate: TPM2B_PRIVATE
        """The secret part, encrypted for the new parent."""
        outSymSeed: TPM2B_ENCRYPTED_SECRET
        """The encrypted seed of the outer wrapper."""


class Import(Command):
    """Make an object of a duplicate, below a parent (Part 3, 13.3)."""

    code = TPM_CC.Import

    parentHandle: TPMI_DH_OBJECT = handle(auth=AuthRole.USER)
    """The parent."""
    encryptionKey: Secret[TPM2B_DATA]
    """Key of the inner wrapper; empty for none."""
    objectPublic: TPM2B_PUBLIC
    """Public area of the object."""
    duplicate: TPM2B_PRIVATE
    """The encrypted secret part."""
    inSymSeed: TPM2B_ENCRYPTED_SECRET
    """The encrypted seed of its outer wrapper; empty for none."""
    symmetricAlg: OrNull[TPMT_SYM_DEF_OBJECT]
    """Block cipher of the inner wrapper; NULL for none."""

    class Response(Command.Response):
        """What comes back."""

        outPrivate: TPM2B_PRIVATE
        """Secret part, encrypted by the parent."""
