# SPDX-License-Identifier: Apache-2.0
# For type checkers: mypy takes no name from a star that another star has brought.
# ruff: noqa: F403
from prestocloud_sec.tpm.spec import attributes as attributes
from prestocloud_sec.tpm.spec import commands as commands
from prestocloud_sec.tpm.spec import constants as constants
from prestocloud_sec.tpm.spec import declare as declare
from prestocloud_sec.tpm.spec import interfaces as interfaces
from prestocloud_sec.tpm.spec import structures as structures
from prestocloud_sec.tpm.spec.attributes import *
from prestocloud_sec.tpm.spec.commands import *
from prestocloud_sec.tpm.spec.constants import *
from prestocloud_sec.tpm.spec.declare import Attributes as Attributes
from prestocloud_sec.tpm.spec.declare import AuthRole as AuthRole
from prestocloud_sec.tpm.spec.declare import Command as Command
from prestocloud_sec.tpm.spec.declare import SessionUse as SessionUse
from prestocloud_sec.tpm.spec.declare import Structure as Structure
from prestocloud_sec.tpm.spec.interfaces import *
from prestocloud_sec.tpm.spec.structures import *
