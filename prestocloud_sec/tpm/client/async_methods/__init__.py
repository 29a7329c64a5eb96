# SPDX-License-Identifier: Apache-2.0
# Written by scripts/tpm_client_methods.py.
"""A method for each command of TPM 2.0, to be awaited, by the chapters of Part 3."""

from __future__ import annotations

from prestocloud_sec.tpm.client.async_methods.asymmetric import AsyncAsymmetricMethods
from prestocloud_sec.tpm.client.async_methods.attestation import AsyncAttestationMethods
from prestocloud_sec.tpm.client.async_methods.components import AsyncComponentsMethods
from prestocloud_sec.tpm.client.async_methods.duplication import AsyncDuplicationMethods
from prestocloud_sec.tpm.client.async_methods.hierarchies import AsyncHierarchiesMethods
from prestocloud_sec.tpm.client.async_methods.management import AsyncManagementMethods
from prestocloud_sec.tpm.client.async_methods.nv import AsyncNvMethods
from prestocloud_sec.tpm.client.async_methods.objects import AsyncObjectsMethods
from prestocloud_sec.tpm.client.async_methods.pcr import AsyncPcrMethods
from prestocloud_sec.tpm.client.async_methods.policies import AsyncPoliciesMethods
from prestocloud_sec.tpm.client.async_methods.sequences import AsyncSequencesMethods
from prestocloud_sec.tpm.client.async_methods.sessions import AsyncSessionsMethods
from prestocloud_sec.tpm.client.async_methods.signing import AsyncSigningMethods
from prestocloud_sec.tpm.client.async_methods.startup import AsyncStartupMethods
from prestocloud_sec.tpm.client.async_methods.symmetric import AsyncSymmetricMethods

__all__ = ["AsyncMethods"]


class AsyncMethods(
    AsyncAsymmetricMethods,
    AsyncAttestationMethods,
    AsyncComponentsMethods,
    AsyncDuplicationMethods,
    AsyncHierarchiesMethods,
    AsyncManagementMethods,
    AsyncNvMethods,
    AsyncObjectsMethods,
    AsyncPcrMethods,
    AsyncPoliciesMethods,
    AsyncSequencesMethods,
    AsyncSessionsMethods,
    AsyncSigningMethods,
    AsyncStartupMethods,
    AsyncSymmetricMethods,
):
    """A method for each command: its name in small letters, its parameters as the specification calls them."""
