# SPDX-License-Identifier: Apache-2.0
# Written by scripts/tpm_client_methods.py from prestocloud_sec/tpm/spec/commands/asymmetric.py; edit that, and run it.
"""Asymmetric cryptography: a method for each command, to be awaited."""

from __future__ import annotations

from prestocloud_sec.tpm.client.core import Sessions
from prestocloud_sec.tpm.client.executor import AsyncExecutor, live
from prestocloud_sec.tpm.spec.commands.asymmetric import (
    Commit,
    EC_Ephemeral,
    ECC_Decrypt,
    ECC_Encrypt,
    ECC_Parameters,
    ECDH_KeyGen,
    ECDH_ZGen,
    RSA_Decrypt,
    RSA_Encrypt,
    ZGen_2Phase,
)
from prestocloud_sec.tpm.spec.declare import OrNull, Secret
from prestocloud_sec.tpm.spec.interfaces import TPMI_DH_OBJECT, TPMI_ECC_CURVE, TPMI_ECC_KEY_EXCHANGE, UINT16
from prestocloud_sec.tpm.spec.structures.buffers import (
    TPM2B_DATA,
    TPM2B_DIGEST,
    TPM2B_ECC_PARAMETER,
    TPM2B_MAX_BUFFER,
    TPM2B_PUBLIC_KEY_RSA,
    TPM2B_SENSITIVE_DATA,
)
from prestocloud_sec.tpm.spec.structures.schemes import (
    TPM2B_ECC_POINT,
    TPMS_ALGORITHM_DETAIL_ECC,
    TPMT_KDF_SCHEME,
    TPMT_RSA_DECRYPT,
)

__all__ = ["AsyncAsymmetricMethods"]


class AsyncAsymmetricMethods(AsyncExecutor):
    """Asymmetric cryptography: a method for each command."""

    async def rsa_encrypt(
        self,
        keyHandle: TPMI_DH_OBJECT,
        message: Secret[TPM2B_PUBLIC_KEY_RSA],
        inScheme: OrNull[TPMT_RSA_DECRYPT],
        label: TPM2B_DATA,
        *,
        sessions: Sessions = None,
    ) -> TPM2B_PUBLIC_KEY_RSA:
        """Encrypt by an RSA key (Part 3, 14.1)."""
        response = await self.execute(RSA_Encrypt(live(self, keyHandle), message, inScheme, label), sessions)
        return response.outData

    async def rsa_decrypt(
        self,
        keyHandle: TPMI_DH_OBJECT,
        cipherText: TPM2B_PUBLIC_KEY_RSA,
        inScheme: OrNull[TPMT_RSA_DECRYPT],
        label: TPM2B_DATA,
        *,
        sessions: Sessions = None,
    ) -> Secret[TPM2B_PUBLIC_KEY_RSA]:
        """Decrypt by an RSA key (Part 3, 14.2)."""
        response = await self.execute(RSA_Decrypt(live(self, keyHandle), cipherText, inScheme, label), sessions)
        return response.message

    async def ecdh_key_gen(self, keyHandle: TPMI_DH_OBJECT, *, sessions: Sessions = None) -> ECDH_KeyGen.Response:
        """Make an ephemeral key, and agree on a secret with a static one (Part 3, 14.3)."""
        return await self.execute(ECDH_KeyGen(live(self, keyHandle)), sessions)

    async def ecdh_zgen(
        self, keyHandle: TPMI_DH_OBJECT, inPoint: TPM2B_ECC_POINT, *, sessions: Sessions = None
    ) -> Secret[TPM2B_ECC_POINT]:
        """Agree on a secret with the holder of another key (Part 3, 14.4)."""
        response = await self.execute(ECDH_ZGen(live(self, keyHandle), inPoint), sessions)
        return response.outPoint

    async def ecc_parameters(self, curveID: TPMI_ECC_CURVE, *, sessions: Sessions = None) -> TPMS_ALGORITHM_DETAIL_ECC:
        """Return the parameters of a curve (Part 3, 14.5)."""
        response = await self.execute(ECC_Parameters(curveID), sessions)
        return response.parameters

    async def zgen_2phase(
        self,
        keyA: TPMI_DH_OBJECT,
        inQsB: TPM2B_ECC_POINT,
        inQeB: TPM2B_ECC_POINT,
        inScheme: TPMI_ECC_KEY_EXCHANGE,
        counter: UINT16,
        *,
        sessions: Sessions = None,
    ) -> ZGen_2Phase.Response:
        """Agree on secrets by a static and an ephemeral key of each side (Part 3, 14.6)."""
        return await self.execute(ZGen_2Phase(live(self, keyA), inQsB, inQeB, inScheme, counter), sessions)

    async def ecc_encrypt(
        self,
        keyHandle: TPMI_DH_OBJECT,
        plainText: Secret[TPM2B_MAX_BUFFER],
        inScheme: OrNull[TPMT_KDF_SCHEME],
        *,
        sessions: Sessions = None,
    ) -> ECC_Encrypt.Response:
        """Encrypt by an ECC key (Part 3, 14.7)."""
        return await self.execute(ECC_Encrypt(live(self, keyHandle), plainText, inScheme), sessions)

    async def ecc_decrypt(
        self,
        keyHandle: TPMI_DH_OBJECT,
        C1: TPM2B_ECC_POINT,
        C2: TPM2B_MAX_BUFFER,
        C3: TPM2B_DIGEST,
        inScheme: OrNull[TPMT_KDF_SCHEME],
        *,
        sessions: Sessions = None,
    ) -> Secret[TPM2B_MAX_BUFFER]:
        """Decrypt by an ECC key (Part 3, 14.8)."""
        response = await self.execute(ECC_Decrypt(live(self, keyHandle), C1, C2, C3, inScheme), sessions)
        return response.plainText

    async def commit(
        self,
        signHandle: TPMI_DH_OBJECT,
        P1: TPM2B_ECC_POINT,
        s2: TPM2B_SENSITIVE_DATA,
        y2: TPM2B_ECC_PARAMETER,
        *,
        sessions: Sessions = None,
    ) -> Commit.Response:
        """Make the commitment that an anonymous signature starts with (Part 3, 19.2)."""
        return await self.execute(Commit(live(self, signHandle), P1, s2, y2), sessions)

    async def ec_ephemeral(self, curveID: TPMI_ECC_CURVE, *, sessions: Sessions = None) -> EC_Ephemeral.Response:
        """Make an ephemeral key for ZGen_2Phase (Part 3, 19.3)."""
        return await self.execute(EC_Ephemeral(curveID), sessions)
