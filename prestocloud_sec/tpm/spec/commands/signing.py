# SPDX-License-Identifier: Apache-2.0
"""Signing, verifying and command audit: commands of TPM 2.0 (Library, Part 3, clauses 20 and 21)."""

from __future__ import annotations

from prestocloud_sec.tpm.spec.constants import TPM_CC
from prestocloud_sec.tpm.spec.declare import AuthRole, Command, OrNull, handle
from prestocloud_sec.tpm.spec.interfaces import TPMI_ALG_HASH, TPMI_DH_OBJECT, TPMI_RH_PROVISION
from prestocloud_sec.tpm.spec.structures.basic import TPML_CC, TPMT_TK_HASHCHECK, TPMT_TK_VERIFIED
from prestocloud_sec.tpm.spec.structures.buffers import TPM2B_DIGEST
from prestocloud_sec.tpm.spec.structures.schemes import TPMT_SIG_SCHEME, TPMT_SIGNATURE

__all__ = [
    "SetCommandCodeAuditStatus",
    "Sign",
    "VerifySignature",
]


class VerifySignature(Command):
    """Verify a signature by a loaded key (Part 3, 20.1)."""

    code = TPM_CC.VerifySignature

    keyHandle: TPMI_DH_OBJECT = handle()
    """The key."""
    digest: TPM2B_DIGEST
    """The digest."""
    signature: TPMT_SIGNATURE
    """The signature."""

    class Response(Command.Response):
        """What comes back."""

        validation: TPMT_TK_VERIFIED
        """Ticket for PolicyAuthorize."""


class Sign(Command):
    """Sign a digest (Part 3, 20.2)."""

    code = TPM_CC.Sign

    keyHandle: TPMI_DH_OBJECT = handle(auth=AuthRole.USER)
    """The key."""
    digest: TPM2B_DIGEST
    """The digest."""
    inScheme: OrNull[TPMT_SIG_SCHEME]
    """The scheme; NULL for that of the key."""
    validation: TPMT_TK_HASHCHECK
    """Ticket of Hash, where the key is restricted; else an empty one."""

    class Response(Command.Response):
        """What comes back."""

        signature: TPMT_SIGNATURE
        """The signature."""


class SetCommandCodeAuditStatus(Command):
    """Choose the commands that are audited, or the hash of the audit (Part 3, 21.2)."""

    code = TPM_CC.SetCommandCodeAuditStatus
    nv = True

    auth: TPMI_RH_PROVISION = handle(auth=AuthRole.USER)
    """Who authorizes."""
    auditAlg: OrNull[TPMI_ALG_HASH]
    """Hash of the audit; NULL for no change."""
    setList: TPML_CC
    """Commands to add."""
    clearList: TPML_CC
    """Commands to remove."""

    class Response(Command.Response):
        """Nothing comes back."""
