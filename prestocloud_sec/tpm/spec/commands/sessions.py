# SPDX-License-Identifier: Apache-2.0
"""Sessions: commands of TPM 2.0 (Library, Part 3, clause 11)."""

from __future__ import annotations

from prestocloud_sec.tpm.spec.constants import TPM_CC, TPM_SE
from prestocloud_sec.tpm.spec.declare import Command, OrNull, handle
from prestocloud_sec.tpm.spec.interfaces import (
    TPMI_ALG_HASH,
    TPMI_DH_ENTITY,
    TPMI_DH_OBJECT,
    TPMI_SH_AUTH_SESSION,
    TPMI_SH_POLICY,
)
from prestocloud_sec.tpm.spec.structures.buffers import TPM2B_ENCRYPTED_SECRET, TPM2B_NONCE
from prestocloud_sec.tpm.spec.structures.schemes import TPMT_SYM_DEF

__all__ = [
    "PolicyRestart",
    "StartAuthSession",
]


class StartAuthSession(Command):
    """Start an HMAC, policy or trial session (Part 3, 11.1)."""

    code = TPM_CC.StartAuthSession

    tpmKey: OrNull[TPMI_DH_OBJECT] = handle()
    """Key that the salt is encrypted for; NULL for no salt."""
    bind: OrNull[TPMI_DH_ENTITY] = handle()
    """Entity whose authValue goes into the session key; NULL for none."""
    nonceCaller: TPM2B_NONCE
    """First nonce of the caller, at least 16 bytes."""
    encryptedSalt: TPM2B_ENCRYPTED_SECRET
    """The salt, encrypted for tpmKey."""
    sessionType: TPM_SE
    """Kind of session."""
    symmetric: OrNull[TPMT_SYM_DEF]
    """How parameters are encrypted; NULL for not at all."""
    authHash: TPMI_ALG_HASH
    """Hash of the session."""

    class Response(Command.Response):
        """What comes back."""

        sessionHandle: TPMI_SH_AUTH_SESSION = handle()
        """The session."""
        nonceTPM: TPM2B_NONCE
        """First nonce of the TPM."""


class PolicyRestart(Command):
    """Start the policy of a session anew (Part 3, 11.2)."""

    code = TPM_CC.PolicyRestart

    sessionHandle: TPMI_SH_POLICY = handle()
    """The session."""

    class Response(Command.Response):
        """Nothing comes back."""
