# SPDX-License-Identifier: Apache-2.0
# For type checkers: mypy takes no name from a star that another star has brought.
# ruff: noqa: F403
from prestocloud_sec.tpm.spec.structures.attestation import *
from prestocloud_sec.tpm.spec.structures.basic import *
from prestocloud_sec.tpm.spec.structures.buffers import *
from prestocloud_sec.tpm.spec.structures.capabilities import *
from prestocloud_sec.tpm.spec.structures.nv import *
from prestocloud_sec.tpm.spec.structures.objects import *
from prestocloud_sec.tpm.spec.structures.schemes import *
