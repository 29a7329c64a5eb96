# SPDX-License-Identifier: Apache-2.0
"""Non-volatile storage: commands of TPM 2.0 (Library, Part 3, clause 31)."""

from __future__ import annotations

from prestocloud_sec.tpm.spec.constants import TPM_CC
from prestocloud_sec.tpm.spec.declare import AuthRole, Command, OrNull, handle
from prestocloud_sec.tpm.spec.interfaces import (
    TPMI_DH_OBJECT,
    TPMI_RH_NV_AUTH,
    TPMI_RH_NV_INDEX,
    TPMI_RH_PLATFORM,
    TPMI_RH_PROVISION,
    UINT16,
    UINT64,
)
from prestocloud_sec.tpm.spec.structures.buffers import (
    TPM2B_ATTEST,
    TPM2B_AUTH,
    TPM2B_DATA,
    TPM2B_MAX_NV_BUFFER,
    TPM2B_NAME,
)
from prestocloud_sec.tpm.spec.structures.nv import TPM2B_NV_PUBLIC, TPM2B_NV_PUBLIC_2
from prestocloud_sec.tpm.spec.structures.schemes import TPMT_SIG_SCHEME, TPMT_SIGNATURE

__all__ = [
    "NV_Certify",
    "NV_ChangeAuth",
    "NV_DefineSpace",
    "NV_DefineSpace2",
    "NV_Extend",
    "NV_GlobalWriteLock",
    "NV_Increment",
    "NV_Read",
    "NV_ReadLock",
    "NV_ReadPublic",
    "NV_ReadPublic2",
    "NV_SetBits",
    "NV_UndefineSpace",
    "NV_UndefineSpaceSpecial",
    "NV_Write",
    "NV_WriteLock",
]


class NV_DefineSpace(Command):
    """Define an NV index (Part 3, 31.3)."""

    code = TPM_CC.NV_DefineSpace
    nv = True

    authHandle: TPMI_RH_PROVISION = handle(auth=AuthRole.USER)
    """Who authorizes."""
    auth: TPM2B_AUTH
    """AuthValue of the new index."""
    publicInfo: TPM2B_NV_PUBLIC
    """Public area of the new index."""

    class Response(Command.Response):
        """Nothing comes back."""


class NV_UndefineSpace(Command):
    """Remove an NV index (Part 3, 31.4)."""

    code = TPM_CC.NV_UndefineSpace
    nv = True

    authHandle: TPMI_RH_PROVISION = handle(auth=AuthRole.USER)
    """Who authorizes."""
    nvIndex: TPMI_RH_NV_INDEX = handle()
    """The index."""

    class Response(Command.Response):
        """Nothing comes back."""


class NV_UndefineSpaceSpecial(Command):
    """Remove an NV index that only its policy can remove (Part 3, 31.5)."""

    code = TPM_CC.NV_UndefineSpaceSpecial
    nv = True

    nvIndex: TPMI_RH_NV_INDEX = handle(auth=AuthRole.ADMIN)
    """The index."""
    platform: TPMI_RH_PLATFORM = handle(auth=AuthRole.USER)
    """The platform."""

    class Response(Command.Response):
        """Nothing comes back."""


class NV_ReadPublic(Command):
    """Return the public area and the Name of an NV index (Part 3, 31.6)."""

    code = TPM_CC.NV_ReadPublic

    nvIndex: TPMI_RH_NV_INDEX = handle()
    """The index."""

    class Response(Command.Response):
        """What comes back."""

        nvPublic: TPM2B_NV_PUBLIC
        """Public area of the index."""
        nvName: TPM2B_NAME
        """Name of the index."""


class NV_Write(Command):
    """Write to an NV index (Part 3, 31.7)."""

    code = TPM_CC.NV_Write
    nv = True

    authHandle: TPMI_RH_NV_AUTH = handle(auth=AuthRole.USER)
    """Who authorizes."""
    nvIndex: TPMI_RH_NV_INDEX = handle()
    """The index."""
    data: TPM2B_MAX_NV_BUFFER
    """The bytes."""
    offset: UINT16
    """Where to start."""

    class Response(Command.Response):
        """Nothing comes back."""


class NV_Increment(Command):
    """Count an NV counter up (Part 3, 31.8)."""

    code = TPM_CC.NV_Increment
    nv = True

    authHandle: TPMI_RH_NV_AUTH = handle(auth=AuthRole.USER)
    """Who authorizes."""
    nvIndex: TPMI_RH_NV_INDEX = handle()
    """The index."""

    class Response(Command.Response):
        """Nothing comes back."""


class NV_Extend(Command):
    """Extend an NV index with data (Part 3, 31.9)."""

    code = TPM_CC.NV_Extend
    nv = True

    authHandle: TPMI_RH_NV_AUTH = handle(auth=AuthRole.USER)
    """Who authorizes."""
    nvIndex: TPMI_RH_NV_INDEX = handle()
    """The index."""
    data: TPM2B_MAX_NV_BUFFER
    """The data."""

    class Response(Command.Response):
        """Nothing comes back."""


class NV_SetBits(Command):
    """Set bits of an NV index (Part 3, 31.10)."""

    code = TPM_CC.NV_SetBits
    nv = True

    authHandle: TPMI_RH_NV_AUTH = handle(auth=AuthRole.USER)
    """Who authorizes."""
    nvIndex: TPMI_RH_NV_INDEX = handle()
    """The index."""
    bits: UINT64
    """Bits to set."""

    class Response(Command.Response):
        """Nothing comes back."""


class NV_WriteLock(Command):
    """Lock an NV index against writing (Part 3, 31.11)."""

    code = TPM_CC.NV_WriteLock
    nv = True

    authHandle: TPMI_RH_NV_AUTH = handle(auth=AuthRole.USER)
    """Who authorizes."""
    nvIndex: TPMI_RH_NV_INDEX = handle()
    """The index."""

    class Response(Command.Response):
        """Nothing comes back."""


class NV_GlobalWriteLock(Command):
    """Lock all NV indices with GLOBALLOCK against writing (Part 3, 31.12)."""

    code = TPM_CC.NV_GlobalWriteLock
    nv = True

    authHandle: TPMI_RH_PROVISION = handle(auth=AuthRole.USER)
    """Who authorizes."""

    class Response(Command.Response):
        """Nothing comes back."""


class NV_Read(Command):
    """Read from an NV index (Part 3, 31.13)."""

    code = TPM_CC.NV_Read

    authHandle: TPMI_RH_NV_AUTH = handle(auth=AuthRole.USER)
    """Who authorizes."""
    nvIndex: TPMI_RH_NV_INDEX = handle()
    """The index."""
    size: UINT16
    """How many bytes."""
    offset: UINT16
    """Where to start."""

    class Response(Command.Response):
        """What comes back."""

        data: TPM2B_MAX_NV_BUFFER
        """The bytes."""


class NV_ReadLock(Command):
    """Lock an NV index against reading (Part 3, 31.14)."""

    code = TPM_CC.NV_ReadLock
    nv = True

    authHandle: TPMI_RH_NV_AUTH = handle(auth=AuthRole.USER)
    """Who authorizes."""
    nvIndex: TPMI_RH_NV_INDEX = handle()
    """The index."""

    class Response(Command.Response):
        """Nothing comes back."""


class NV_ChangeAuth(Command):
    """Set the authValue of an NV index (Part 3, 31.15)."""

    code = TPM_CC.NV_ChangeAuth
    nv = True

    nvIndex: TPMI_RH_NV_INDEX = handle(auth=AuthRole.ADMIN)
    """The index."""
    newAuth: TPM2B_AUTH
    """The new authValue."""

    class Response(Command.Response):
        """Nothing comes back."""


class NV_Certify(Command):
    """Attest the contents of an NV index (Part 3, 31.16)."""

    code = TPM_CC.NV_Certify

    signHandle: OrNull[TPMI_DH_OBJECT] = handle(auth=AuthRole.USER)
    """The key that signs; NULL for no signature."""
    authHandle: TPMI_RH_NV_AUTH = handle(auth=AuthRole.USER)
    """Who authorizes."""
    nvIndex: TPMI_RH_NV_INDEX = handle()
    """The index."""
    qualifyingData: TPM2B_DATA
    """Nonce of the verifier."""
    inScheme: OrNull[TPMT_SIG_SCHEME]
    """The scheme; NULL for that of the key."""
    size: UINT16
    """How many bytes; 0, with offset 0, for a digest of all."""
    offset: UINT16
    """Where to start."""

    class Response(Command.Response):
        """What comes back."""

        certifyInfo: TPM2B_ATTEST
        """The attestation."""
        signature: OrNull[TPMT_SIGNATURE]
        """The signature."""


class NV_DefineSpace2(Command):
    """Define an NV index of any kind (revision 1.83, TPM2_NV_DefineSpace2)."""

    code = TPM_CC.NV_DefineSpace2
    nv = True

    authHandle: TPMI_RH_PROVISION = handle(auth=AuthRole.USER)
    """Who authorizes."""
    auth: TPM2B_AUTH
    """AuthValue of the new index."""
    publicInfo: TPM2B_NV_PUBLIC_2
    """Public area of the new index."""

    class Response(Command.Response):
        """Nothing comes back."""


class NV_ReadPublic2(Command):
    """Return the public area and the Name of an NV index of any kind (revision 1.83, TPM2_NV_ReadPublic2)."""

    code = TPM_CC.NV_ReadPublic2

    nvIndex: TPMI_RH_NV_INDEX = handle()
    """The index."""

    class Response(Command.Response):
        """What comes back."""

        nvPublic: TPM2B_NV_PUBLIC_2
        """Public area of the index."""
        nvName: TPM2B_NAME
        """Name of the index."""
