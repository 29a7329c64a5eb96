# SPDX-License-Identifier: Apache-2.0
"""Asymmetric cryptography: commands of TPM 2.0 (Library, Part 3, clauses 14 and 19)."""

from __future__ import annotations

from prestocloud_sec.tpm.spec.constants import TPM_CC
from prestocloud_sec.tpm.spec.declare import AuthRole, Command, OrNull, Secret, handle
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

__all__ = [
    "Commit",
    "ECC_Decrypt",
    "ECC_Encrypt",
    "ECC_Parameters",
    "ECDH_KeyGen",
    "ECDH_ZGen",
    "EC_Ephemeral",
    "RSA_Decrypt",
    "RSA_Encrypt",
    "ZGen_2Phase",
]


class RSA_Encrypt(Command):
    """Encrypt by an RSA key (Part 3, 14.1)."""

    code = TPM_CC.RSA_Encrypt

    keyHandle: TPMI_DH_OBJECT = handle()
    """The key."""
    message: Secret[TPM2B_PUBLIC_KEY_RSA]
    """The data."""
    inScheme: OrNull[TPMT_RSA_DECRYPT]
    """The padding; NULL for that of the key."""
    label: TPM2B_DATA
    """Label of OAEP, with a zero byte at its end; else empty."""

    class Response(Command.Response):
        """What comes back."""

        outData: TPM2B_PUBLIC_KEY_RSA
        """The encrypted data."""


class RSA_Decrypt(Command):
    """Decrypt by an RSA key (Part 3, 14.2)."""

    code = TPM_CC.RSA_Decrypt

    keyHandle: TPMI_DH_OBJECT = handle(auth=AuthRole.USER)
    """The key."""
    cipherText: TPM2B_PUBLIC_KEY_RSA
    """The encrypted data."""
    inScheme: OrNull[TPMT_RSA_DECRYPT]
    """The padding; NULL for that of the key."""
    label: TPM2B_DATA
    """Label of OAEP, with a zero byte at its end; else empty."""

    class Response(Command.Response):
        """What comes back."""

        message: Secret[TPM2B_PUBLIC_KEY_RSA]
        """The data."""


class ECDH_KeyGen(Command):
    """Make an ephemeral key, and agree on a secret with a static one (Part 3, 14.3)."""

    code = TPM_CC.ECDH_KeyGen

    keyHandle: TPMI_DH_OBJECT = handle()
    """The key."""

    class Response(Command.Response):
        """What comes back."""

        zPoint: Secret[TPM2B_ECC_POINT]
        """The secret point."""
        pubPoint: TPM2B_ECC_POINT
        """The ephemeral public key."""


class ECDH_ZGen(Command):
    """Agree on a secret with the holder of another key (Part 3, 14.4)."""

    code = TPM_CC.ECDH_ZGen

    keyHandle: TPMI_DH_OBJECT = handle(auth=AuthRole.USER)
    """The key."""
    inPoint: TPM2B_ECC_POINT
    """Public key of the other side."""

    class Response(Command.Response):
        """What comes back."""

        outPoint: Secret[TPM2B_ECC_POINT]
        """The secret point."""


class ECC_Parameters(Command):
    """Return the parameters of a curve (Part 3, 14.5)."""

    code = TPM_CC.ECC_Parameters

    curveID: TPMI_ECC_CURVE
    """The curve."""

    class Response(Command.Response):
        """What comes back."""

        parameters: TPMS_ALGORITHM_DETAIL_ECC
        """The parameters."""


class ZGen_2Phase(Command):
    """Agree on secrets by a static and an ephemeral key of each side (Part 3, 14.6)."""

    code = TPM_CC.ZGen_2Phase

    keyA: TPMI_DH_OBJECT = handle(auth=AuthRole.USER)
    """The static key."""
    inQsB: TPM2B_ECC_POINT
    """Static public key of the other side."""
    inQeB: TPM2B_ECC_POINT
    """Ephemeral public key of the other side."""
    inScheme: TPMI_ECC_KEY_EXCHANGE
    """The key exchange."""
    counter: UINT16
    """Number of the commitment."""

    class Response(Command.Response):
        """What comes back."""

        outZ1: Secret[TPM2B_ECC_POINT]
        """Secret of the static keys."""
        outZ2: Secret[TPM2B_ECC_POINT]
        """Secret of the ephemeral keys."""


class ECC_Encrypt(Command):
    """Encrypt by an ECC key (Part 3, 14.7)."""

    code = TPM_CC.ECC_Encrypt

    keyHandle: TPMI_DH_OBJECT = handle()
    """The key."""
    plainText: Secret[TPM2B_MAX_BUFFER]
    """The data."""
    inScheme: OrNull[TPMT_KDF_SCHEME]
    """The key derivation; NULL for that of the key."""

    class Response(Command.Response):
        """What comes back."""

        C1: TPM2B_ECC_POINT
        """The ephemeral public key."""
        C2: TPM2B_MAX_BUFFER
        """The encrypted data."""
        C3: TPM2B_DIGEST
        """Its integrity value."""


class ECC_Decrypt(Command):
    """Decrypt by an ECC key (Part 3, 14.8)."""

    code = TPM_CC.ECC_Decrypt

    keyHandle: TPMI_DH_OBJECT = handle(auth=AuthRole.USER)
    """The key."""
    C1: TPM2B_ECC_POINT
    """The ephemeral public key."""
    C2: TPM2B_MAX_BUFFER
    """The encrypted data."""
    C3: TPM2B_DIGEST
    """Its integrity value."""
    inScheme: OrNull[TPMT_KDF_SCHEME]
    """The key derivation; NULL for that of the key."""

    class Response(Command.Response):
        """What comes back."""

        plainText: Secret[TPM2B_MAX_BUFFER]
        """The data."""


class Commit(Command):
    """Make the commitment that an anonymous signature starts with (Part 3, 19.2)."""

    code = TPM_CC.Commit

    signHandle: TPMI_DH_OBJECT = handle(auth=AuthRole.USER)
    """The key that signs; NULL for no signature."""
    P1: TPM2B_ECC_POINT
    """A point on the curve."""
    s2: TPM2B_SENSITIVE_DATA
    """Bytes that x of the basepoint is derived from."""
    y2: TPM2B_ECC_PARAMETER
    """Y of the basepoint."""

    class Response(Command.Response):
        """What comes back."""

        K: TPM2B_ECC_POINT
        """The point K."""
        L: TPM2B_ECC_POINT
        """The point L."""
        E: TPM2B_ECC_POINT
        """The point E."""
        counter: UINT16
        """Number of the commitment."""


class EC_Ephemeral(Command):
    """Make an ephemeral key for ZGen_2Phase (Part 3, 19.3)."""

    code = TPM_CC.EC_Ephemeral

    curveID: TPMI_ECC_CURVE
    """The curve."""

    class Response(Command.Response):
        """What comes back."""

        Q: TPM2B_ECC_POINT
        """The ephemeral public key."""
        counter: UINT16
        """Number of the commitment."""
