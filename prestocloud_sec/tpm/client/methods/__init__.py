# SPDX-License-Identifier: Apache-2.0
# Written by scripts/tpm_client_methods.py.
"""A method for each command of TPM 2.0, by the chapters of Part 3."""

from __future__ import annotations

from prestocloud_sec.tpm.client.methods.asymmetric import AsymmetricMethods
from prestocloud_sec.tpm.client.methods.attestation import AttestationMethods
from prestocloud_sec.tpm.client.methods.components import ComponentsMethods
from prestocloud_sec.tpm.client.methods.duplication import DuplicationMethods
from prestocloud_sec.tpm.client.methods.hierarchies import HierarchiesMethods
from prestocloud_sec.tpm.client.methods.management import ManagementMethods
from prestocloud_sec.tpm.client.methods.nv import NvMethods
from prestocloud_sec.tpm.client.methods.objects import ObjectsMethods
from prestocloud_sec.tpm.client.methods.pcr import PcrMethods
from prestocloud_sec.tpm.client.methods.policies import PoliciesMethods
from prestocloud_sec.tpm.client.methods.sequences import SequencesMethods
from prestocloud_sec.tpm.client.methods.sessions import SessionsMethods
from prestocloud_sec.tpm.client.methods.signing import SigningMethods
from prestocloud_sec.tpm.client.methods.startup import StartupMethods
from prestocloud_sec.tpm.client.methods.symmetric import SymmetricMethods

__all__ = ["Methods"]


class Methods(
    AsymmetricMethods,
    AttestationMethods,
    ComponentsMethods,
    DuplicationMethods,
    HierarchiesMethods,
    ManagementMethods,
    NvMethods,
    ObjectsMethods,
    PcrMethods,
    PoliciesMethods,
    SequencesMethods,
    SessionsMethods,
    SigningMethods,
    StartupMethods,
    SymmetricMethods,
):
    """A method for each command: its name in small letters, its parameters as the specification calls them."""
