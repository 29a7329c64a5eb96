# SPDX-License-Identifier: Apache-2.0
# Written by scripts/tpm_client_methods.py from prestocloud_sec/tpm/spec/commands/objects.py; edit that, and run it.
"""Objects: a method for each command."""

from __future__ import annotations

from prestocloud_sec.tpm.client.core import Sessions
from prestocloud_sec.tpm.client.executor import Executor, live
from prestocloud_sec.tpm.client.handles import Object
from prestocloud_sec.tpm.spec.commands.objects import (
    ActivateCredential,
    Create,
    CreateLoaded,
    CreatePrimary,
    Load,
    LoadExternal,
    MakeCredential,
    ObjectChangeAuth,
    ReadPublic,
    Unseal,
)
from prestocloud_sec.tpm.spec.declare import OrNull, Secret
from prestocloud_sec.tpm.spec.interfaces import TPMI_DH_OBJECT, TPMI_DH_PARENT, TPMI_RH_HIERARCHY
from prestocloud_sec.tpm.spec.structures.basic import TPML_PCR_SELECTION
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
from prestocloud_sec.tpm.spec.structures.objects import TPM2B_PUBLIC, TPM2B_SENSITIVE, TPM2B_SENSITIVE_CREATE

__all__ = ["ObjectsMethods"]


class ObjectsMethods(Executor):
    """Objects: a method for each command."""

    def create(
        self,
        parentHandle: TPMI_DH_OBJECT,
        inSensitive: TPM2B_SENSITIVE_CREATE,
        inPublic: TPM2B_PUBLIC,
        outsideInfo: TPM2B_DATA,
        creationPCR: TPML_PCR_SELECTION,
        *,
        sessions: Sessions = None,
    ) -> Create.Response:
        """Create an object below a loaded parent (Part 3, 12.1).

        Parameters
        ----------
        parentHandle : TPMI_DH_OBJECT
            The parent.
        inSensitive : TPM2B_SENSITIVE_CREATE
            AuthValue, and data or key to import.
        inPublic : TPM2B_PUBLIC
            Public area wanted.
        outsideInfo : TPM2B_DATA
            What shall be in the creation data.
        creationPCR : TPML_PCR_SELECTION
            PCRs whose values shall be in the creation data.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        Create.Response
            With outPrivate, outPublic, creationData, creationHash, creationTicket.
        """
        return self.execute(Create(live(self, parentHandle), inSensitive, inPublic, outsideInfo, creationPCR), sessions)

    def load(
        self,
        parentHandle: TPMI_DH_OBJECT,
        inPrivate: TPM2B_PRIVATE,
        inPublic: TPM2B_PUBLIC,
        *,
        sessions: Sessions = None,
    ) -> Object[Load.Response]:
        """Load an object that its parent created or imported (Part 3, 12.2).

        Parameters
        ----------
        parentHandle : TPMI_DH_OBJECT
            The parent.
        inPrivate : TPM2B_PRIVATE
            Secret part, encrypted by the parent.
        inPublic : TPM2B_PUBLIC
            Public area.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        Object[Load.Response]
            The object.
        """
        response = self.execute(Load(live(self, parentHandle), inPrivate, inPublic), sessions)
        return self._object(response.objectHandle, response)

    def load_external(
        self,
        inPrivate: TPM2B_SENSITIVE,
        inPublic: OrNull[TPM2B_PUBLIC],
        hierarchy: OrNull[TPMI_RH_HIERARCHY],
        *,
        sessions: Sessions = None,
    ) -> Object[LoadExternal.Response]:
        """Load a public key, or a key with its secret part, that no parent protects (Part 3, 12.3).

        Parameters
        ----------
        inPrivate : TPM2B_SENSITIVE
            Secret part; none for a public key.
        inPublic : OrNull[TPM2B_PUBLIC]
            Public area.
        hierarchy : OrNull[TPMI_RH_HIERARCHY]
            Hierarchy; NULL where there is a secret part.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        Object[LoadExternal.Response]
            The object.
        """
        response = self.execute(LoadExternal(inPrivate, inPublic, hierarchy), sessions)
        return self._object(response.objectHandle, response)

    def read_public(self, objectHandle: TPMI_DH_OBJECT, *, sessions: Sessions = None) -> ReadPublic.Response:
        """Return the public area and the Names of a loaded object (Part 3, 12.4).

        Parameters
        ----------
        objectHandle : TPMI_DH_OBJECT
            The object.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        ReadPublic.Response
            With outPublic, name, qualifiedName.
        """
        return self.execute(ReadPublic(live(self, objectHandle)), sessions)

    def activate_credential(
        self,
        activateHandle: TPMI_DH_OBJECT,
        keyHandle: TPMI_DH_OBJECT,
        credentialBlob: TPM2B_ID_OBJECT,
        secret: TPM2B_ENCRYPTED_SECRET,
        *,
        sessions: Sessions = None,
    ) -> Secret[TPM2B_DIGEST]:
        """Return a credential, if it was made for this object in this TPM (Part 3, 12.5).

        Parameters
        ----------
        activateHandle : TPMI_DH_OBJECT
            The object that the credential is for.
        keyHandle : TPMI_DH_OBJECT
            The key that decrypts.
        credentialBlob : TPM2B_ID_OBJECT
            The encrypted credential.
        secret : TPM2B_ENCRYPTED_SECRET
            The encrypted seed of its protection.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        Secret[TPM2B_DIGEST]
            The credential.
        """
        return self.execute(
            ActivateCredential(live(self, activateHandle), live(self, keyHandle), credentialBlob, secret), sessions
        ).certInfo

    def make_credential(
        self,
        handle: TPMI_DH_OBJECT,
        credential: Secret[TPM2B_DIGEST],
        objectName: TPM2B_NAME,
        *,
        sessions: Sessions = None,
    ) -> MakeCredential.Response:
        """Encrypt a credential for a key and the Name of an object (Part 3, 12.6).

        Parameters
        ----------
        handle : TPMI_DH_OBJECT
            Public key to encrypt for.
        credential : Secret[TPM2B_DIGEST]
            The credential.
        objectName : TPM2B_NAME
            Name of the object.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        MakeCredential.Response
            With credentialBlob, secret.
        """
        return self.execute(MakeCredential(live(self, handle), credential, objectName), sessions)

    def unseal(self, itemHandle: TPMI_DH_OBJECT, *, sessions: Sessions = None) -> TPM2B_SENSITIVE_DATA:
        """Return sealed data (Part 3, 12.7).

        Parameters
        ----------
        itemHandle : TPMI_DH_OBJECT
            The sealed object.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        TPM2B_SENSITIVE_DATA
            The data.
        """
        return self.execute(Unseal(live(self, itemHandle)), sessions).outData

    def object_change_auth(
        self,
        objectHandle: TPMI_DH_OBJECT,
        parentHandle: TPMI_DH_OBJECT,
        newAuth: TPM2B_AUTH,
        *,
        sessions: Sessions = None,
    ) -> TPM2B_PRIVATE:
        """Make a secret part with another authValue; the loaded object keeps its own (Part 3, 12.8).

        Parameters
        ----------
        objectHandle : TPMI_DH_OBJECT
            The object.
        parentHandle : TPMI_DH_OBJECT
            The parent.
        newAuth : TPM2B_AUTH
            The new authValue.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        TPM2B_PRIVATE
            Secret part with the new authValue.
        """
        return self.execute(
            ObjectChangeAuth(live(self, objectHandle), live(self, parentHandle), newAuth), sessions
        ).outPrivate

    def create_loaded(
        self,
        parentHandle: OrNull[TPMI_DH_PARENT],
        inSensitive: TPM2B_SENSITIVE_CREATE,
        inPublic: TPM2B_TEMPLATE,
        *,
        sessions: Sessions = None,
    ) -> Object[CreateLoaded.Response]:
        """Create and load an object: primary, ordinary or derived, by its parent (Part 3, 12.9).

        Parameters
        ----------
        parentHandle : OrNull[TPMI_DH_PARENT]
            The parent.
        inSensitive : TPM2B_SENSITIVE_CREATE
            AuthValue, and data or key to import.
        inPublic : TPM2B_TEMPLATE
            Public area wanted; for a derived object with label and context.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        Object[CreateLoaded.Response]
            The object.
        """
        response = self.execute(CreateLoaded(live(self, parentHandle), inSensitive, inPublic), sessions)
        return self._object(response.objectHandle, response)

    def create_primary(
        self,
        primaryHandle: OrNull[TPMI_RH_HIERARCHY],
        inSensitive: TPM2B_SENSITIVE_CREATE,
        inPublic: TPM2B_PUBLIC,
        outsideInfo: TPM2B_DATA,
        creationPCR: TPML_PCR_SELECTION,
        *,
        sessions: Sessions = None,
    ) -> Object[CreatePrimary.Response]:
        """Create and load an object below a hierarchy (Part 3, 24.1).

        Parameters
        ----------
        primaryHandle : OrNull[TPMI_RH_HIERARCHY]
            The hierarchy.
        inSensitive : TPM2B_SENSITIVE_CREATE
            AuthValue, and data or key to import.
        inPublic : TPM2B_PUBLIC
            Public area wanted.
        outsideInfo : TPM2B_DATA
            What shall be in the creation data.
        creationPCR : TPML_PCR_SELECTION
            PCRs whose values shall be in the creation data.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        Object[CreatePrimary.Response]
            The object.
        """
        response = self.execute(
            CreatePrimary(live(self, primaryHandle), inSensitive, inPublic, outsideInfo, creationPCR), sessions
        )
        return self._object(response.objectHandle, response)
