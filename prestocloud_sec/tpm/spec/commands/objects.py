# SPDX-License-Identifier: Apache-2.0
"""Objects: commands of TPM 2.0 (Library, Part 3, clauses 12 and 24.1)."""

from __future__ import annotations

from prestocloud_sec.tpm.spec.constants import TPM_CC
from prestocloud_sec.tpm.spec.declare import AuthRole, Command, OrNull, Secret, handle
from prestocloud_sec.tpm.spec.interfaces import TPM_HANDLE, TPMI_DH_OBJECT, TPMI_DH_PARENT, TPMI_RH_HIERARCHY
from prestocloud_sec.tpm.spec.structures.basic import TPML_PCR_SELECTION, TPMT_TK_CREATION
from prestocloud_sec.tpm.spec.structures.buffers import (
    TPM2B_AUTH,
    TPM2B_DATA,
    TPM2B_DIGEST,
    TPM2B_ENCRYPTED_SECRET,
    TPM2B_ID_OBJECT,
    TPM2B_NAME,
    TPM2B_PRIVATE,
    TPM2B_SENSITIVE_DATA,
    TPM2B_TEMPLATE,
)
from prestocloud_sec.tpm.spec.structures.objects import (
    TPM2B_CREATION_DATA,
    TPM2B_PUBLIC,
    TPM2B_SENSITIVE,
    TPM2B_SENSITIVE_CREATE,
)

__all__ = [
    "ActivateCredential",
    "Create",
    "CreateLoaded",
    "CreatePrimary",
    "Load",
    "LoadExternal",
    "MakeCredential",
    "ObjectChangeAuth",
    "ReadPublic",
    "Unseal",
]


class Create(Command):
    """Create an object below a loaded parent (Part 3, 12.1)."""

    code = TPM_CC.Create

    parentHandle: TPMI_DH_OBJECT = handle(auth=AuthRole.USER)
    """The parent."""
    inSensitive: TPM2B_SENSITIVE_CREATE
    """AuthValue, and data or key to import."""
    inPublic: TPM2B_PUBLIC
    """Public area wanted."""
    outsideInfo: TPM2B_DATA
    """What shall be in the creation data."""
    creationPCR: TPML_PCR_SELECTION
    """PCRs whose values shall be in the creation data."""

    class Response(Command.Response):
        """What comes back."""

        outPrivate: TPM2B_PRIVATE
        """Secret part, encrypted by the parent."""
        outPublic: TPM2B_PUBLIC
        """Public area made."""
        creationData: TPM2B_CREATION_DATA
        """How it was created."""
        creationHash: TPM2B_DIGEST
        """Digest of the creation data."""
        creationTicket: TPMT_TK_CREATION
        """Proof for CertifyCreation."""


class Load(Command):
    """Load an object that its parent created or imported (Part 3, 12.2)."""

    code = TPM_CC.Load

    parentHandle: TPMI_DH_OBJECT = handle(auth=AuthRole.USER)
    """The parent."""
    inPrivate: TPM2B_PRIVATE
    """Secret part, encrypted by the parent."""
    inPublic: TPM2B_PUBLIC
    """Public area."""

    class Response(Command.Response):
        """What comes back."""

        objectHandle: TPM_HANDLE = handle()
        """The object."""
        name: TPM2B_NAME
        """Its Name."""


class LoadExternal(Command):
    """Load a public key, or a key with its secret part, that no parent protects (Part 3, 12.3)."""

    code = TPM_CC.LoadExternal

    inPrivate: TPM2B_SENSITIVE
    """Secret part; none for a public key."""
    inPublic: OrNull[TPM2B_PUBLIC]
    """Public area."""
    hierarchy: OrNull[TPMI_RH_HIERARCHY]
    """Hierarchy; NULL where there is a secret part."""

    class Response(Command.Response):
        """What comes back."""

        objectHandle: TPM_HANDLE = handle()
        """The object."""
        name: TPM2B_NAME
        """Its Name."""


class ReadPublic(Command):
    """Return the public area and the Names of a loaded object (Part 3, 12.4)."""

    code = TPM_CC.ReadPublic

    objectHandle: TPMI_DH_OBJECT = handle()
    """The object."""

    class Response(Command.Response):
        """What comes back."""

        outPublic: OrNull[TPM2B_PUBLIC]
        """Public area made."""
        name: TPM2B_NAME
        """Its Name."""
        qualifiedName: TPM2B_NAME
        """Its qualified Name."""


class ActivateCredential(Command):
    """Return a credential, if it was made for this object in this TPM (Part 3, 12.5)."""

    code = TPM_CC.ActivateCredential

    activateHandle: TPMI_DH_OBJECT = handle(auth=AuthRole.ADMIN)
    """The object that the credential is for."""
    keyHandle: TPMI_DH_OBJECT = handle(auth=AuthRole.USER)
    """The key that decrypts."""
    credentialBlob: TPM2B_ID_OBJECT
    """The encrypted credential."""
    secret: TPM2B_ENCRYPTED_SECRET
    """The encrypted seed of its protection."""

    class Response(Command.Response):
        """What comes back."""

        certInfo: Secret[TPM2B_DIGEST]
        """The credential."""


class MakeCredential(Command):
    """Encrypt a credential for a key and the Name of an object (Part 3, 12.6)."""

    code = TPM_CC.MakeCredential

    handle: TPMI_DH_OBJECT = handle()
    """Public key to encrypt for."""
    credential: Secret[TPM2B_DIGEST]
    """The credential."""
    objectName: TPM2B_NAME
    """Name of the object."""

    class Response(Command.Response):
        """What comes back."""

        credentialBlob: TPM2B_ID_OBJECT
        """The encrypted credential."""
        secret: TPM2B_ENCRYPTED_SECRET
        """The encrypted seed of its protection."""


class Unseal(Command):
    """Return sealed data (Part 3, 12.7)."""

    code = TPM_CC.Unseal

    itemHandle: TPMI_DH_OBJECT = handle(auth=AuthRole.USER)
    """The sealed object."""

    class Response(Command.Response):
        """What comes back."""

        outData: TPM2B_SENSITIVE_DATA
        """The data."""


class ObjectChangeAuth(Command):
    """Make a secret part with another authValue; the loaded object keeps its own (Part 3, 12.8)."""

    code = TPM_CC.ObjectChangeAuth

    objectHandle: TPMI_DH_OBJECT = handle(auth=AuthRole.ADMIN)
    """The object."""
    parentHandle: TPMI_DH_OBJECT = handle()
    """The parent."""
    newAuth: TPM2B_AUTH
    """The new authValue."""

    class Response(Command.Response):
        """What comes back."""

        outPrivate: TPM2B_PRIVATE
        """Secret part with the new authValue."""


class CreateLoaded(Command):
    """Create and load an object: primary, ordinary or derived, by its parent (Part 3, 12.9)."""

    code = TPM_CC.CreateLoaded

    parentHandle: OrNull[TPMI_DH_PARENT] = handle(auth=AuthRole.USER)
    """The parent."""
    inSensitive: TPM2B_SENSITIVE_CREATE
    """AuthValue, and data or key to import."""
    inPublic: TPM2B_TEMPLATE
    """Public area wanted; for a derived object with label and context."""

    class Response(Command.Response):
        """What comes back."""

        objectHandle: TPM_HANDLE = handle()
        """The object."""
        outPrivate: TPM2B_PRIVATE
        """Secret part, encrypted by the parent."""
        outPublic: TPM2B_PUBLIC
        """Public area made."""
        name: TPM2B_NAME
        """Its Name."""


class CreatePrimary(Command):
    """Create and load an object below a hierarchy (Part 3, 24.1)."""

    code = TPM_CC.CreatePrimary

    primaryHandle: OrNull[TPMI_RH_HIERARCHY] = handle(auth=AuthRole.USER)
    """The hierarchy."""
    inSensitive: TPM2B_SENSITIVE_CREATE
    """AuthValue, and data or key to import."""
    inPublic: TPM2B_PUBLIC
    """Public area wanted."""
    outsideInfo: TPM2B_DATA
    """What shall be in the creation data."""
    creationPCR: TPML_PCR_SELECTION
    """PCRs whose values shall be in the creation data."""

    class Response(Command.Response):
        """What comes back."""

        objectHandle: TPM_HANDLE = handle()
        """The object."""
        outPublic: TPM2B_PUBLIC
        """Public area made."""
        creationData: TPM2B_CREATION_DATA
        """How it was created."""
        creationHash: TPM2B_DIGEST
        """Digest of the creation data."""
        creationTicket: TPMT_TK_CREATION
        """Proof for CertifyCreation."""
        name: TPM2B_NAME
        """Its Name."""
