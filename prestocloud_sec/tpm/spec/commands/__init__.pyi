# SPDX-License-Identifier: Apache-2.0
# For type checkers: mypy takes no name from a star that another star has brought.
# ruff: noqa: F403
from collections.abc import Mapping

from prestocloud_sec.tpm.spec.commands.asymmetric import *
from prestocloud_sec.tpm.spec.commands.attestation import *
from prestocloud_sec.tpm.spec.commands.components import *
from prestocloud_sec.tpm.spec.commands.duplication import *
from prestocloud_sec.tpm.spec.commands.hierarchies import *
from prestocloud_sec.tpm.spec.commands.management import *
from prestocloud_sec.tpm.spec.commands.nv import *
from prestocloud_sec.tpm.spec.commands.objects import *
from prestocloud_sec.tpm.spec.commands.pcr import *
from prestocloud_sec.tpm.spec.commands.policies import *
from prestocloud_sec.tpm.spec.commands.sequences import *
from prestocloud_sec.tpm.spec.commands.sessions import *
from prestocloud_sec.tpm.spec.commands.signing import *
from prestocloud_sec.tpm.spec.commands.startup import *
from prestocloud_sec.tpm.spec.commands.symmetric import *
from prestocloud_sec.tpm.spec.declare import Command

COMMANDS: Mapping[int, type[Command]]
COMMANDS_BY_NAME: Mapping[str, type[Command]]
