# SPDX-License-Identifier: Apache-2.0
# Written by scripts/tpm_client_methods.py from prestocloud_sec/tpm/spec/commands/hierarchies.py; edit that, and run it.
"""Hierarchies and dictionary attacks: a method for each command."""

from __future__ import annotations

from prestocloud_sec.tpm.client.core import Sessions
from prestocloud_sec.tpm.client.executor import Executor, live
from prestocloud_sec.tpm.spec.commands.hierarchies import (
    ChangeEPS,
    ChangePPS,
    Clear,
    ClearControl,
    DictionaryAttackLockReset,
    DictionaryAttackParameters,
    HierarchyChangeAuth,
    HierarchyControl,
    ReadOnlyControl,
    SetPrimaryPolicy,
)
from prestocloud_sec.tpm.spec.declare import OrNull
from prestocloud_sec.tpm.spec.interfaces import (
    TPMI_ALG_HASH,
    TPMI_RH_CLEAR,
    TPMI_RH_ENABLES,
    TPMI_RH_HIERARCHY,
    TPMI_RH_HIERARCHY_AUTH,
    TPMI_RH_HIERARCHY_POLICY,
    TPMI_RH_LOCKOUT,
    TPMI_RH_PLATFORM,
    TPMI_YES_NO,
    UINT32,
)
from prestocloud_sec.tpm.spec.structures.buffers import TPM2B_AUTH, TPM2B_DIGEST

__all__ = ["HierarchiesMethods"]


class HierarchiesMethods(Executor):
    """Hierarchies and dictionary attacks: a method for each command."""

    def hierarchy_control(
        self, authHandle: TPMI_RH_HIERARCHY, enable: TPMI_RH_ENABLES, state: TPMI_YES_NO, *, sessions: Sessions = None
    ) -> None:
        """Enable or disable a hierarchy (Part 3, 24.2).

        Parameters
        ----------
        authHandle : TPMI_RH_HIERARCHY
            Who authorizes.
        enable : TPMI_RH_ENABLES
            The hierarchy, or NV indices of the platform.
        state : TPMI_YES_NO
            Enable or disable.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(HierarchyControl(live(self, authHandle), enable, state), sessions)

    def set_primary_policy(
        self,
        authHandle: TPMI_RH_HIERARCHY_POLICY,
        authPolicy: TPM2B_DIGEST,
        hashAlg: OrNull[TPMI_ALG_HASH],
        *,
        sessions: Sessions = None,
    ) -> None:
        """Set the policy of a hierarchy (Part 3, 24.3).

        Parameters
        ----------
        authHandle : TPMI_RH_HIERARCHY_POLICY
            Who authorizes.
        authPolicy : TPM2B_DIGEST
            The policy; empty for none.
        hashAlg : OrNull[TPMI_ALG_HASH]
            Hash of the policy.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(SetPrimaryPolicy(live(self, authHandle), authPolicy, hashAlg), sessions)

    def change_pps(self, authHandle: TPMI_RH_PLATFORM, *, sessions: Sessions = None) -> None:
        """Replace the platform seed: objects of the platform end (Part 3, 24.4).

        Parameters
        ----------
        authHandle : TPMI_RH_PLATFORM
            Who authorizes.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(ChangePPS(live(self, authHandle)), sessions)

    def change_eps(self, authHandle: TPMI_RH_PLATFORM, *, sessions: Sessions = None) -> None:
        """Replace the endorsement seed: objects of the endorsement hierarchy end (Part 3, 24.5).

        Parameters
        ----------
        authHandle : TPMI_RH_PLATFORM
            Who authorizes.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(ChangeEPS(live(self, authHandle)), sessions)

    def clear(self, authHandle: TPMI_RH_CLEAR, *, sessions: Sessions = None) -> None:
        """Remove the owner: storage seed, authValues and objects of owner and endorsement end (Part 3, 24.6).

        Parameters
        ----------
        authHandle : TPMI_RH_CLEAR
            Who authorizes.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(Clear(live(self, authHandle)), sessions)

    def clear_control(self, auth: TPMI_RH_CLEAR, disable: TPMI_YES_NO, *, sessions: Sessions = None) -> None:
        """Allow or forbid Clear (Part 3, 24.7).

        Parameters
        ----------
        auth : TPMI_RH_CLEAR
            Who authorizes.
        disable : TPMI_YES_NO
            Forbid or allow.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(ClearControl(live(self, auth), disable), sessions)

    def hierarchy_change_auth(
        self, authHandle: TPMI_RH_HIERARCHY_AUTH, newAuth: TPM2B_AUTH, *, sessions: Sessions = None
    ) -> None:
        """Set the authValue of a hierarchy (Part 3, 24.8).

        Parameters
        ----------
        authHandle : TPMI_RH_HIERARCHY_AUTH
            Who authorizes.
        newAuth : TPM2B_AUTH
            The new authValue.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(HierarchyChangeAuth(live(self, authHandle), newAuth), sessions)

    def dictionary_attack_lock_reset(self, lockHandle: TPMI_RH_LOCKOUT, *, sessions: Sessions = None) -> None:
        """Forget the wrong authorizations counted (Part 3, 25.2).

        Parameters
        ----------
        lockHandle : TPMI_RH_LOCKOUT
            The lockout authority.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(DictionaryAttackLockReset(live(self, lockHandle)), sessions)

    def dictionary_attack_parameters(
        self,
        lockHandle: TPMI_RH_LOCKOUT,
        newMaxTries: UINT32,
        newRecoveryTime: UINT32,
        lockoutRecovery: UINT32,
        *,
        sessions: Sessions = None,
    ) -> None:
        """Set how many wrong authorizations lead to lockout, and how long it lasts (Part 3, 25.3).

        Parameters
        ----------
        lockHandle : TPMI_RH_LOCKOUT
            The lockout authority.
        newMaxTries : UINT32
            How many wrong authorizations lead to lockout.
        newRecoveryTime : UINT32
            Seconds until one is forgotten; 0 disables the protection.
        lockoutRecovery : UINT32
            Seconds until lockoutAuth may be tried again; 0 for the next start.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(
            DictionaryAttackParameters(live(self, lockHandle), newMaxTries, newRecoveryTime, lockoutRecovery), sessions
        )

    def read_only_control(self, authHandle: TPMI_RH_PLATFORM, state: TPMI_YES_NO, *, sessions: Sessions = None) -> None:
        """Put the TPM into read-only mode, or out of it (revision 1.83, TPM2_ReadOnlyControl).

        Parameters
        ----------
        authHandle : TPMI_RH_PLATFORM
            Who authorizes.
        state : TPMI_YES_NO
            Into it, or out of it.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(ReadOnlyControl(live(self, authHandle), state), sessions)
