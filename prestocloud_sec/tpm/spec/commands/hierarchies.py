# SPDX-License-Identifier: Apache-2.0
"""Hierarchies and dictionary attacks: commands of TPM 2.0 (Library, Part 3, clauses 24 and 25)."""

from __future__ import annotations

from prestocloud_sec.tpm.spec.constants import TPM_CC
from prestocloud_sec.tpm.spec.declare import AuthRole, Command, OrNull, handle
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

__all__ = [
    "ChangeEPS",
    "ChangePPS",
    "Clear",
    "ClearControl",
    "DictionaryAttackLockReset",
    "DictionaryAttackParameters",
    "HierarchyChangeAuth",
    "HierarchyControl",
    "ReadOnlyControl",
    "SetPrimaryPolicy",
]


class HierarchyControl(Command):
    """Enable or disable a hierarchy (Part 3, 24.2)."""

    code = TPM_CC.HierarchyControl
    nv = True
    extensive = True

    authHandle: TPMI_RH_HIERARCHY = handle(auth=AuthRole.USER)
    """Who authorizes."""
    enable: TPMI_RH_ENABLES
    """The hierarchy, or NV indices of the platform."""
    state: TPMI_YES_NO
    """Enable or disable."""

    class Response(Command.Response):
        """Nothing comes back."""


class SetPrimaryPolicy(Command):
    """Set the policy of a hierarchy (Part 3, 24.3)."""

    code = TPM_CC.SetPrimaryPolicy
    nv = True

    authHandle: TPMI_RH_HIERARCHY_POLICY = handle(auth=AuthRole.USER)
    """Who authorizes."""
    authPolicy: TPM2B_DIGEST
    """The policy; empty for none."""
    hashAlg: OrNull[TPMI_ALG_HASH]
    """Hash of the policy."""

    class Response(Command.Response):
        """Nothing comes back."""


class ChangePPS(Command):
    """Replace the platform seed: objects of the platform end (Part 3, 24.4)."""

    code = TPM_CC.ChangePPS
    nv = True
    extensive = True

    authHandle: TPMI_RH_PLATFORM = handle(auth=AuthRole.USER)
    """Who authorizes."""

    class Response(Command.Response):
        """Nothing comes back."""


class ChangeEPS(Command):
    """Replace the endorsement seed: objects of the endorsement hierarchy end (Part 3, 24.5)."""

    code = TPM_CC.ChangeEPS
    nv = True
    extensive = True

    authHandle: TPMI_RH_PLATFORM = handle(auth=AuthRole.USER)
    """Who authorizes."""

    class Response(Command.Response):
        """Nothing comes back."""


class Clear(Command):
    """Remove the owner: storage seed, authValues and objects of owner and endorsement end (Part 3, 24.6)."""

    code = TPM_CC.Clear
    nv = True
    extensive = True

    authHandle: TPMI_RH_CLEAR = handle(auth=AuthRole.USER)
    """Who authorizes."""

    class Response(Command.Response):
        """Nothing comes back."""


class ClearControl(Command):
    """Allow or forbid Clear (Part 3, 24.7)."""

    code = TPM_CC.ClearControl
    nv = True

    auth: TPMI_RH_CLEAR = handle(auth=AuthRole.USER)
    """Who authorizes."""
    disable: TPMI_YES_NO
    """Forbid or allow."""

    class Response(Command.Response):
        """Nothing comes back."""


class HierarchyChangeAuth(Command):
    """Set the authValue of a hierarchy (Part 3, 24.8)."""

    code = TPM_CC.HierarchyChangeAuth
    nv = True

    authHandle: TPMI_RH_HIERARCHY_AUTH = handle(auth=AuthRole.USER)
    """Who authorizes."""
    newAuth: TPM2B_AUTH
    """The new authValue."""

    class Response(Command.Response):
        """Nothing comes back."""


class DictionaryAttackLockReset(Command):
    """Forget the wrong authorizations counted (Part 3, 25.2)."""

    code = TPM_CC.DictionaryAttackLockReset
    nv = True

    lockHandle: TPMI_RH_LOCKOUT = handle(auth=AuthRole.USER)
    """The lockout authority."""

    class Response(Command.Response):
        """Nothing comes back."""


class DictionaryAttackParameters(Command):
    """Set how many wrong authorizations lead to lockout, and how long it lasts (Part 3, 25.3)."""

    code = TPM_CC.DictionaryAttackParameters
    nv = True

    lockHandle: TPMI_RH_LOCKOUT = handle(auth=AuthRole.USER)
    """The lockout authority."""
    newMaxTries: UINT32
    """How many wrong authorizations lead to lockout."""
    newRecoveryTime: UINT32
    """Seconds until one is forgotten; 0 disables the protection."""
    lockoutRecovery: UINT32
    """Seconds until lockoutAuth may be tried again; 0 for the next start."""

    class Response(Command.Response):
        """Nothing comes back."""


class ReadOnlyControl(Command):
    """Put the TPM into read-only mode, or out of it (revision 1.83, TPM2_ReadOnlyControl)."""

    code = TPM_CC.ReadOnlyControl
    nv = True

    authHandle: TPMI_RH_PLATFORM = handle(auth=AuthRole.USER)
    """Who authorizes."""
    state: TPMI_YES_NO
    """Into it, or out of it."""

    class Response(Command.Response):
        """Nothing comes back."""
