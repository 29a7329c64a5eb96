# SPDX-License-Identifier: Apache-2.0
# Written by scripts/tpm_client_methods.py from prestocloud_sec/tpm/spec/commands/nv.py; edit that, and run it.
"""Non-volatile storage: a method for each command."""

from __future__ import annotations

from prestocloud_sec.tpm.client.core import Sessions
from prestocloud_sec.tpm.client.executor import Executor, live
from prestocloud_sec.tpm.spec.commands.nv import (
    NV_Certify,
    NV_ChangeAuth,
    NV_DefineSpace,
    NV_DefineSpace2,
    NV_Extend,
    NV_GlobalWriteLock,
    NV_Increment,
    NV_Read,
    NV_ReadLock,
    NV_ReadPublic,
    NV_ReadPublic2,
    NV_SetBits,
    NV_UndefineSpace,
    NV_UndefineSpaceSpecial,
    NV_Write,
    NV_WriteLock,
)
from prestocloud_sec.tpm.spec.declare import OrNull
from prestocloud_sec.tpm.spec.interfaces import (
    TPMI_DH_OBJECT,
    TPMI_RH_NV_AUTH,
    TPMI_RH_NV_INDEX,
    TPMI_RH_PLATFORM,
    TPMI_RH_PROVISION,
    UINT16,
    UINT64,
)
from prestocloud_sec.tpm.spec.structures.buffers import TPM2B_AUTH, TPM2B_DATA, TPM2B_MAX_NV_BUFFER
from prestocloud_sec.tpm.spec.structures.nv import TPM2B_NV_PUBLIC, TPM2B_NV_PUBLIC_2
from prestocloud_sec.tpm.spec.structures.schemes import TPMT_SIG_SCHEME

__all__ = ["NvMethods"]


class NvMethods(Executor):
    """Non-volatile storage: a method for each command."""

    def nv_define_space(
        self, authHandle: TPMI_RH_PROVISION, auth: TPM2B_AUTH, publicInfo: TPM2B_NV_PUBLIC, *, sessions: Sessions = None
    ) -> None:
        """Define an NV index (Part 3, 31.3).

        Parameters
        ----------
        authHandle : TPMI_RH_PROVISION
            Who authorizes.
        auth : TPM2B_AUTH
            AuthValue of the new index.
        publicInfo : TPM2B_NV_PUBLIC
            Public area of the new index.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(NV_DefineSpace(live(self, authHandle), auth, publicInfo), sessions)

    def nv_undefine_space(
        self, authHandle: TPMI_RH_PROVISION, nvIndex: TPMI_RH_NV_INDEX, *, sessions: Sessions = None
    ) -> None:
        """Remove an NV index (Part 3, 31.4).

        Parameters
        ----------
        authHandle : TPMI_RH_PROVISION
            Who authorizes.
        nvIndex : TPMI_RH_NV_INDEX
            The index.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(NV_UndefineSpace(live(self, authHandle), live(self, nvIndex)), sessions)

    def nv_undefine_space_special(
        self, nvIndex: TPMI_RH_NV_INDEX, platform: TPMI_RH_PLATFORM, *, sessions: Sessions = None
    ) -> None:
        """Remove an NV index that only its policy can remove (Part 3, 31.5).

        Parameters
        ----------
        nvIndex : TPMI_RH_NV_INDEX
            The index.
        platform : TPMI_RH_PLATFORM
            The platform.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(NV_UndefineSpaceSpecial(live(self, nvIndex), live(self, platform)), sessions)

    def nv_read_public(self, nvIndex: TPMI_RH_NV_INDEX, *, sessions: Sessions = None) -> NV_ReadPublic.Response:
        """Return the public area and the Name of an NV index (Part 3, 31.6).

        Parameters
        ----------
        nvIndex : TPMI_RH_NV_INDEX
            The index.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        NV_ReadPublic.Response
            With nvPublic, nvName.
        """
        return self.execute(NV_ReadPublic(live(self, nvIndex)), sessions)

    def nv_write(
        self,
        authHandle: TPMI_RH_NV_AUTH,
        nvIndex: TPMI_RH_NV_INDEX,
        data: TPM2B_MAX_NV_BUFFER,
        offset: UINT16,
        *,
        sessions: Sessions = None,
    ) -> None:
        """Write to an NV index (Part 3, 31.7).

        Parameters
        ----------
        authHandle : TPMI_RH_NV_AUTH
            Who authorizes.
        nvIndex : TPMI_RH_NV_INDEX
            The index.
        data : TPM2B_MAX_NV_BUFFER
            The bytes.
        offset : UINT16
            Where to start.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(NV_Write(live(self, authHandle), live(self, nvIndex), data, offset), sessions)

    def nv_increment(
        self, authHandle: TPMI_RH_NV_AUTH, nvIndex: TPMI_RH_NV_INDEX, *, sessions: Sessions = None
    ) -> None:
        """Count an NV counter up (Part 3, 31.8).

        Parameters
        ----------
        authHandle : TPMI_RH_NV_AUTH
            Who authorizes.
        nvIndex : TPMI_RH_NV_INDEX
            The index.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(NV_Increment(live(self, authHandle), live(self, nvIndex)), sessions)

    def nv_extend(
        self,
        authHandle: TPMI_RH_NV_AUTH,
        nvIndex: TPMI_RH_NV_INDEX,
        data: TPM2B_MAX_NV_BUFFER,
        *,
        sessions: Sessions = None,
    ) -> None:
        """Extend an NV index with data (Part 3, 31.9).

        Parameters
        ----------
        authHandle : TPMI_RH_NV_AUTH
            Who authorizes.
        nvIndex : TPMI_RH_NV_INDEX
            The index.
        data : TPM2B_MAX_NV_BUFFER
            The data.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(NV_Extend(live(self, authHandle), live(self, nvIndex), data), sessions)

    def nv_set_bits(
        self, authHandle: TPMI_RH_NV_AUTH, nvIndex: TPMI_RH_NV_INDEX, bits: UINT64, *, sessions: Sessions = None
    ) -> None:
        """Set bits of an NV index (Part 3, 31.10).

        Parameters
        ----------
        authHandle : TPMI_RH_NV_AUTH
            Who authorizes.
        nvIndex : TPMI_RH_NV_INDEX
            The index.
        bits : UINT64
            Bits to set.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(NV_SetBits(live(self, authHandle), live(self, nvIndex), bits), sessions)

    def nv_write_lock(
        self, authHandle: TPMI_RH_NV_AUTH, nvIndex: TPMI_RH_NV_INDEX, *, sessions: Sessions = None
    ) -> None:
        """Lock an NV index against writing (Part 3, 31.11).

        Parameters
        ----------
        authHandle : TPMI_RH_NV_AUTH
            Who authorizes.
        nvIndex : TPMI_RH_NV_INDEX
            The index.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(NV_WriteLock(live(self, authHandle), live(self, nvIndex)), sessions)

    def nv_global_write_lock(self, authHandle: TPMI_RH_PROVISION, *, sessions: Sessions = None) -> None:
        """Lock all NV indices with GLOBALLOCK against writing (Part 3, 31.12).

        Parameters
        ----------
        authHandle : TPMI_RH_PROVISION
            Who authorizes.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(NV_GlobalWriteLock(live(self, authHandle)), sessions)

    def nv_read(
        self,
        authHandle: TPMI_RH_NV_AUTH,
        nvIndex: TPMI_RH_NV_INDEX,
        size: UINT16,
        offset: UINT16,
        *,
        sessions: Sessions = None,
    ) -> TPM2B_MAX_NV_BUFFER:
        """Read from an NV index (Part 3, 31.13).

        Parameters
        ----------
        authHandle : TPMI_RH_NV_AUTH
            Who authorizes.
        nvIndex : TPMI_RH_NV_INDEX
            The index.
        size : UINT16
            How many bytes.
        offset : UINT16
            Where to start.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        TPM2B_MAX_NV_BUFFER
            The bytes.
        """
        return self.execute(NV_Read(live(self, authHandle), live(self, nvIndex), size, offset), sessions).data

    def nv_read_lock(
        self, authHandle: TPMI_RH_NV_AUTH, nvIndex: TPMI_RH_NV_INDEX, *, sessions: Sessions = None
    ) -> None:
        """Lock an NV index against reading (Part 3, 31.14).

        Parameters
        ----------
        authHandle : TPMI_RH_NV_AUTH
            Who authorizes.
        nvIndex : TPMI_RH_NV_INDEX
            The index.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(NV_ReadLock(live(self, authHandle), live(self, nvIndex)), sessions)

    def nv_change_auth(self, nvIndex: TPMI_RH_NV_INDEX, newAuth: TPM2B_AUTH, *, sessions: Sessions = None) -> None:
        """Set the authValue of an NV index (Part 3, 31.15).

        Parameters
        ----------
        nvIndex : TPMI_RH_NV_INDEX
            The index.
        newAuth : TPM2B_AUTH
            The new authValue.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(NV_ChangeAuth(live(self, nvIndex), newAuth), sessions)

    def nv_certify(
        self,
        signHandle: OrNull[TPMI_DH_OBJECT],
        authHandle: TPMI_RH_NV_AUTH,
        nvIndex: TPMI_RH_NV_INDEX,
        qualifyingData: TPM2B_DATA,
        inScheme: OrNull[TPMT_SIG_SCHEME],
        size: UINT16,
        offset: UINT16,
        *,
        sessions: Sessions = None,
    ) -> NV_Certify.Response:
        """Attest the contents of an NV index (Part 3, 31.16).

        Parameters
        ----------
        signHandle : OrNull[TPMI_DH_OBJECT]
            The key that signs; NULL for no signature.
        authHandle : TPMI_RH_NV_AUTH
            Who authorizes.
        nvIndex : TPMI_RH_NV_INDEX
            The index.
        qualifyingData : TPM2B_DATA
            Nonce of the verifier.
        inScheme : OrNull[TPMT_SIG_SCHEME]
            The scheme; NULL for that of the key.
        size : UINT16
            How many bytes; 0, with offset 0, for a digest of all.
        offset : UINT16
            Where to start.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        NV_Certify.Response
            With certifyInfo, signature.
        """
        return self.execute(
            NV_Certify(
                live(self, signHandle),
                live(self, authHandle),
                live(self, nvIndex),
                qualifyingData,
                inScheme,
                size,
                offset,
            ),
            sessions,
        )

    def nv_define_space2(
        self,
        authHandle: TPMI_RH_PROVISION,
        auth: TPM2B_AUTH,
        publicInfo: TPM2B_NV_PUBLIC_2,
        *,
        sessions: Sessions = None,
    ) -> None:
        """Define an NV index of any kind (revision 1.83, TPM2_NV_DefineSpace2).

        Parameters
        ----------
        authHandle : TPMI_RH_PROVISION
            Who authorizes.
        auth : TPM2B_AUTH
            AuthValue of the new index.
        publicInfo : TPM2B_NV_PUBLIC_2
            Public area of the new index.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(NV_DefineSpace2(live(self, authHandle), auth, publicInfo), sessions)

    def nv_read_public2(self, nvIndex: TPMI_RH_NV_INDEX, *, sessions: Sessions = None) -> NV_ReadPublic2.Response:
        """Return the public area and the Name of an NV index of any kind (revision 1.83, TPM2_NV_ReadPublic2).

        Parameters
        ----------
        nvIndex : TPMI_RH_NV_INDEX
            The index.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        NV_ReadPublic2.Response
            With nvPublic, nvName.
        """
        return self.execute(NV_ReadPublic2(live(self, nvIndex)), sessions)
