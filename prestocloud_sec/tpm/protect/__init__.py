# SPDX-License-Identifier: Apache-2.0
"""What a TPM protects for others, done without one: credentials, duplicates, storage keys in software."""

from __future__ import annotations

from prestocloud_sec.tpm.protect.credential import Credential, activate_credential, make_credential
from prestocloud_sec.tpm.protect.duplicate import Duplicate, rewrap, unwrap, wrap
from prestocloud_sec.tpm.protect.parent import SoftwareParent, storage_public_of
from prestocloud_sec.tpm.protect.sensitive import check_binding, private_key_of, sensitive_of, unique_of

__all__ = [
    "Credential",
    "Duplicate",
    "SoftwareParent",
    "activate_credential",
    "check_binding",
    "make_credential",
    "private_key_of",
    "rewrap",
    "sensitive_of",
    "storage_public_of",
    "unique_of",
    "unwrap",
    "wrap",
]
