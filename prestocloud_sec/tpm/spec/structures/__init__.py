# SPDX-License-Identifier: Apache-2.0
"""The structures, unions and lists of TPM 2.0 (Library, Part 2), by what they are for."""

from __future__ import annotations

from prestocloud_sec.tpm.spec.structures import attestation as attestation
from prestocloud_sec.tpm.spec.structures import basic as basic
from prestocloud_sec.tpm.spec.structures import buffers as buffers
from prestocloud_sec.tpm.spec.structures import capabilities as capabilities
from prestocloud_sec.tpm.spec.structures import nv as nv
from prestocloud_sec.tpm.spec.structures import objects as objects
from prestocloud_sec.tpm.spec.structures import schemes as schemes
from prestocloud_sec.tpm.spec.structures.attestation import *  # noqa: F403
from prestocloud_sec.tpm.spec.structures.basic import *  # noqa: F403
from prestocloud_sec.tpm.spec.structures.buffers import *  # noqa: F403
from prestocloud_sec.tpm.spec.structures.capabilities import *  # noqa: F403
from prestocloud_sec.tpm.spec.structures.nv import *  # noqa: F403
from prestocloud_sec.tpm.spec.structures.objects import *  # noqa: F403
from prestocloud_sec.tpm.spec.structures.schemes import *  # noqa: F403

__all__: list[str] = []
__all__ += attestation.__all__
__all__ += basic.__all__
__all__ += buffers.__all__
__all__ += capabilities.__all__
__all__ += nv.__all__
__all__ += objects.__all__
__all__ += schemes.__all__
