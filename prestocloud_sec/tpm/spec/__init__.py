# SPDX-License-Identifier: Apache-2.0
"""The specification of TPM 2.0 as declarations: constants, attributes, interface types, structures and commands.

Names are those of the TCG, so that whoever knows the specification finds everything, and who does not can look it up:
``TPM_ALG_ID.SHA256``, ``TPMA_OBJECT.fixedTPM``, ``TPMT_PUBLIC``. `declare` explains the notation.
"""

from __future__ import annotations

from prestocloud_sec.tpm.spec import attributes, commands, constants, declare, interfaces, structures
from prestocloud_sec.tpm.spec.attributes import *  # noqa: F403
from prestocloud_sec.tpm.spec.commands import *  # noqa: F403
from prestocloud_sec.tpm.spec.constants import *  # noqa: F403
from prestocloud_sec.tpm.spec.declare import Attributes, AuthRole, Command, SessionUse, Structure
from prestocloud_sec.tpm.spec.interfaces import *  # noqa: F403
from prestocloud_sec.tpm.spec.structures import *  # noqa: F403

__all__ = [
    "Attributes",
    "AuthRole",
    "Command",
    "SessionUse",
    "Structure",
    "attributes",
    "commands",
    "constants",
    "declare",
    "interfaces",
    "structures",
]
__all__ += attributes.__all__
__all__ += commands.__all__
__all__ += constants.__all__
__all__ += interfaces.__all__
__all__ += structures.__all__
