# SPDX-License-Identifier: Apache-2.0
# Written by scripts/tpm_client_methods.py from prestocloud_sec/tpm/spec/commands/symmetric.py; edit that, and run it.
"""Symmetric cryptography and random numbers: a method for each command, to be awaited."""

from __future__ import annotations

from prestocloud_sec.tpm.client.core import Sessions
from prestocloud_sec.tpm.client.executor import AsyncExecutor, live
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

__all__ = ["AsyncSymmetricMethods"]


class AsyncSymmetricMethods(AsyncExecutor):
    """Symmetric cryptography and random numbers: a method for each command."""

    async def encrypt_decrypt(
        self,
        keyHandle: TPMI_DH_OBJECT,
        decrypt: TPMI_YES_NO,
        mode: OrNull[TPMI_ALG_CIPHER_MODE],
        ivIn: TPM2B_IV,
        inData: Secret[TPM2B_MAX_BUFFER],
        *,
        sessions: Sessions = None,
    ) -> EncryptDecrypt.Response:
        """Encrypt or decrypt by a block cipher; the data cannot be encrypted on its way (Part 3, 15.2)."""
        return await self.execute(EncryptDecrypt(live(self, keyHandle), decrypt, mode, ivIn, inData), sessions)

    async def encrypt_decrypt2(
        self,
        keyHandle: TPMI_DH_OBJECT,
        inData: Secret[TPM2B_MAX_BUFFER],
        decrypt: TPMI_YES_NO,
        mode: OrNull[TPMI_ALG_CIPHER_MODE],
        ivIn: TPM2B_IV,
        *,
        sessions: Sessions = None,
    ) -> EncryptDecrypt2.Response:
        """Encrypt or decrypt by a block cipher (Part 3, 15.3)."""
        return await self.execute(EncryptDecrypt2(live(self, keyHandle), inData, decrypt, mode, ivIn), sessions)

    async def hash(
        self,
        data: TPM2B_MAX_BUFFER,
        hashAlg: TPMI_ALG_HASH,
        hierarchy: OrNull[TPMI_RH_HIERARCHY],
        *,
        sessions: Sessions = None,
    ) -> Hash.Response:
        """Hash data (Part 3, 15.4)."""
        return await self.execute(Hash(data, hashAlg, hierarchy), sessions)

    async def hmac(
        self,
        handle: TPMI_DH_OBJECT,
        buffer: TPM2B_MAX_BUFFER,
        hashAlg: OrNull[TPMI_ALG_HASH],
        *,
        sessions: Sessions = None,
    ) -> TPM2B_DIGEST:
        """Compute an HMAC; a TPM since revision 1.46 takes it for MAC (Part 3, 15.5)."""
        response = await self.execute(HMAC(live(self, handle), buffer, hashAlg), sessions)
        return response.outHMAC

    async def mac(
        self,
        handle: TPMI_DH_OBJECT,
        buffer: TPM2B_MAX_BUFFER,
        inScheme: OrNull[TPMI_ALG_MAC_SCHEME],
        *,
        sessions: Sessions = None,
    ) -> TPM2B_DIGEST:
        """Compute an HMAC or a block cipher MAC (Part 3, 15.6)."""
        response = await self.execute(MAC(live(self, handle), buffer, inScheme), sessions)
        return response.outMAC

    async def get_random(self, bytesRequested: UINT16, *, sessions: Sessions = None) -> Secret[TPM2B_DIGEST]:
        """Return random bytes (Part 3, 16.1)."""
        response = await self.execute(GetRandom(bytesRequested), sessions)
        return response.randomBytes

    async def stir_random(self, inData: TPM2B_SENSITIVE_DATA, *, sessions: Sessions = None) -> None:
        """Add entropy to the random number generator (Part 3, 16.2)."""
        await self.execute(StirRandom(inData), sessions)
