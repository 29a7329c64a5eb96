# SPDX-License-Identifier: Apache-2.0
# Written by scripts/tpm_client_methods.py from prestocloud_sec/tpm/spec/commands/symmetric.py; edit that, and run it.
"""Symmetric cryptography and random numbers: a method for each command."""

from __future__ import annotations

from prestocloud_sec.tpm.client.core import Sessions
from prestocloud_sec.tpm.client.executor import Executor, live
from prestocloud_sec.tpm.spec.commands.symmetric import (
    HMAC,
    MAC,
    EncryptDecrypt,
    EncryptDecrypt2,
    GetRandom,
    Hash,
    StirRandom,
)
from prestocloud_sec.tpm.spec.declare import OrNull, Secret
from prestocloud_sec.tpm.spec.interfaces import (
    TPMI_ALG_CIPHER_MODE,
    TPMI_ALG_HASH,
    TPMI_ALG_MAC_SCHEME,
    TPMI_DH_OBJECT,
    TPMI_RH_HIERARCHY,
    TPMI_YES_NO,
    UINT16,
)
from prestocloud_sec.tpm.spec.structures.buffers import TPM2B_DIGEST, TPM2B_IV, TPM2B_MAX_BUFFER, TPM2B_SENSITIVE_DATA

__all__ = ["SymmetricMethods"]


class SymmetricMethods(Executor):
    """Symmetric cryptography and random numbers: a method for each command."""

    def encrypt_decrypt(
        self,
        keyHandle: TPMI_DH_OBJECT,
        decrypt: TPMI_YES_NO,
        mode: OrNull[TPMI_ALG_CIPHER_MODE],
        ivIn: TPM2B_IV,
        inData: Secret[TPM2B_MAX_BUFFER],
        *,
        sessions: Sessions = None,
    ) -> EncryptDecrypt.Response:
        """Encrypt or decrypt by a block cipher; the data cannot be encrypted on its way (Part 3, 15.2).

        Parameters
        ----------
        keyHandle : TPMI_DH_OBJECT
            The key.
        decrypt : TPMI_YES_NO
            Decrypt, or encrypt.
        mode : OrNull[TPMI_ALG_CIPHER_MODE]
            Mode of the block cipher; NULL for that of the key.
        ivIn : TPM2B_IV
            Initial value.
        inData : Secret[TPM2B_MAX_BUFFER]
            The data.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        EncryptDecrypt.Response
            With outData, ivOut.
        """
        return self.execute(EncryptDecrypt(live(self, keyHandle), decrypt, mode, ivIn, inData), sessions)

    def encrypt_decrypt2(
        self,
        keyHandle: TPMI_DH_OBJECT,
        inData: Secret[TPM2B_MAX_BUFFER],
        decrypt: TPMI_YES_NO,
        mode: OrNull[TPMI_ALG_CIPHER_MODE],
        ivIn: TPM2B_IV,
        *,
        sessions: Sessions = None,
    ) -> EncryptDecrypt2.Response:
        """Encrypt or decrypt by a block cipher (Part 3, 15.3).

        Parameters
        ----------
        keyHandle : TPMI_DH_OBJECT
            The key.
        inData : Secret[TPM2B_MAX_BUFFER]
            The data.
        decrypt : TPMI_YES_NO
            Decrypt, or encrypt.
        mode : OrNull[TPMI_ALG_CIPHER_MODE]
            Mode of the block cipher; NULL for that of the key.
        ivIn : TPM2B_IV
            Initial value.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        EncryptDecrypt2.Response
            With outData, ivOut.
        """
        return self.execute(EncryptDecrypt2(live(self, keyHandle), inData, decrypt, mode, ivIn), sessions)

    def hash(
        self,
        data: TPM2B_MAX_BUFFER,
        hashAlg: TPMI_ALG_HASH,
        hierarchy: OrNull[TPMI_RH_HIERARCHY],
        *,
        sessions: Sessions = None,
    ) -> Hash.Response:
        """Hash data (Part 3, 15.4).

        Parameters
        ----------
        data : TPM2B_MAX_BUFFER
            The data.
        hashAlg : TPMI_ALG_HASH
            The hash.
        hierarchy : OrNull[TPMI_RH_HIERARCHY]
            Hierarchy of the ticket.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        Hash.Response
            With outHash, validation.
        """
        return self.execute(Hash(data, hashAlg, hierarchy), sessions)

    def hmac(
        self,
        handle: TPMI_DH_OBJECT,
        buffer: TPM2B_MAX_BUFFER,
        hashAlg: OrNull[TPMI_ALG_HASH],
        *,
        sessions: Sessions = None,
    ) -> TPM2B_DIGEST:
        """Compute an HMAC; a TPM since revision 1.46 takes it for MAC (Part 3, 15.5).

        Parameters
        ----------
        handle : TPMI_DH_OBJECT
            The key.
        buffer : TPM2B_MAX_BUFFER
            The data.
        hashAlg : OrNull[TPMI_ALG_HASH]
            The hash; NULL for that of the key.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        TPM2B_DIGEST
            The HMAC.
        """
        return self.execute(HMAC(live(self, handle), buffer, hashAlg), sessions).outHMAC

    def mac(
        self,
        handle: TPMI_DH_OBJECT,
        buffer: TPM2B_MAX_BUFFER,
        inScheme: OrNull[TPMI_ALG_MAC_SCHEME],
        *,
        sessions: Sessions = None,
    ) -> TPM2B_DIGEST:
        """Compute an HMAC or a block cipher MAC (Part 3, 15.6).

        Parameters
        ----------
        handle : TPMI_DH_OBJECT
            The key.
        buffer : TPM2B_MAX_BUFFER
            The data.
        inScheme : OrNull[TPMI_ALG_MAC_SCHEME]
            CMAC, or a hash; NULL for that of the key.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        TPM2B_DIGEST
            The MAC.
        """
        return self.execute(MAC(live(self, handle), buffer, inScheme), sessions).outMAC

    def get_random(self, bytesRequested: UINT16, *, sessions: Sessions = None) -> Secret[TPM2B_DIGEST]:
        """Return random bytes (Part 3, 16.1).

        Parameters
        ----------
        bytesRequested : UINT16
            How many.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        Secret[TPM2B_DIGEST]
            The bytes, perhaps fewer.
        """
        return self.execute(GetRandom(bytesRequested), sessions).randomBytes

    def stir_random(self, inData: TPM2B_SENSITIVE_DATA, *, sessions: Sessions = None) -> None:
        """Add entropy to the random number generator (Part 3, 16.2).

        Parameters
        ----------
        inData : TPM2B_SENSITIVE_DATA
            The data.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(StirRandom(inData), sessions)
