# SPDX-License-Identifier: Apache-2.0
"""The commands of TPM 2.0 (Library, Part 3), one declaration each, by chapter.

`COMMANDS` finds a command by its code. A code can have two names for two forms of one command: 155 is MAC, 15B is
MAC_Start; their older names HMAC and HMAC_Start make the same bytes, and take a hash instead of any MAC scheme.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from prestocloud_sec.tpm.spec.commands import asymmetric as asymmetric
from prestocloud_sec.tpm.spec.commands import attestation as attestation
from prestocloud_sec.tpm.spec.commands import components as components
from prestocloud_sec.tpm.spec.commands import duplication as duplication
from prestocloud_sec.tpm.spec.commands import hierarchies as hierarchies
from prestocloud_sec.tpm.spec.commands import management as management
from prestocloud_sec.tpm.spec.commands import nv as nv
from prestocloud_sec.tpm.spec.commands import objects as objects
from prestocloud_sec.tpm.spec.commands import pcr as pcr
from prestocloud_sec.tpm.spec.commands import policies as policies
from prestocloud_sec.tpm.spec.commands import sequences as sequences
from prestocloud_sec.tpm.spec.commands import sessions as sessions
from prestocloud_sec.tpm.spec.commands import signing as signing
from prestocloud_sec.tpm.spec.commands import startup as startup
from prestocloud_sec.tpm.spec.commands import symmetric as symmetric
from prestocloud_sec.tpm.spec.commands.asymmetric import *  # noqa: F403
from prestocloud_sec.tpm.spec.commands.attestation import *  # noqa: F403
from prestocloud_sec.tpm.spec.commands.components import *  # noqa: F403
from prestocloud_sec.tpm.spec.commands.duplication import *  # noqa: F403
from prestocloud_sec.tpm.spec.commands.hierarchies import *  # noqa: F403
from prestocloud_sec.tpm.spec.commands.management import *  # noqa: F403
from prestocloud_sec.tpm.spec.commands.nv import *  # noqa: F403
from prestocloud_sec.tpm.spec.commands.objects import *  # noqa: F403
from prestocloud_sec.tpm.spec.commands.pcr import *  # noqa: F403
from prestocloud_sec.tpm.spec.commands.policies import *  # noqa: F403
from prestocloud_sec.tpm.spec.commands.sequences import *  # noqa: F403
from prestocloud_sec.tpm.spec.commands.sessions import *  # noqa: F403
from prestocloud_sec.tpm.spec.commands.signing import *  # noqa: F403
from prestocloud_sec.tpm.spec.commands.startup import *  # noqa: F403
from prestocloud_sec.tpm.spec.commands.symmetric import *  # noqa: F403
from prestocloud_sec.tpm.spec.declare import Command

__all__ = [
    "COMMANDS",
    "COMMANDS_BY_NAME",
]
__all__ += asymmetric.__all__
__all__ += attestation.__all__
__all__ += components.__all__
__all__ += duplication.__all__
__all__ += hierarchies.__all__
__all__ += management.__all__
__all__ += nv.__all__
__all__ += objects.__all__
__all__ += pcr.__all__
__all__ += policies.__all__
__all__ += sequences.__all__
__all__ += sessions.__all__
__all__ += signing.__all__
__all__ += startup.__all__
__all__ += symmetric.__all__

_OLDER = ("HMAC", "HMAC_Start")

COMMANDS_BY_NAME: Mapping[str, type[Command]] = MappingProxyType(
    {name: globals()[name] for name in sorted(__all__) if not name.startswith("COMMANDS")}
)
"""Every command by its name."""

COMMANDS: Mapping[int, type[Command]] = MappingProxyType(
    {command.code: command for name, command in COMMANDS_BY_NAME.items() if name not in _OLDER}
)
"""Every command by its code."""
