# SPDX-License-Identifier: Apache-2.0
"""Start-up and tests: commands of TPM 2.0 (Library, Part 3, clauses 9 and 10)."""

from __future__ import annotations

from prestocloud_sec.tpm.spec.constants import TPM_CC, TPM_RC, TPM_SU
from prestocloud_sec.tpm.spec.declare import Command, SessionUse
from prestocloud_sec.tpm.spec.interfaces import TPMI_YES_NO
from prestocloud_sec.tpm.spec.structures.basic import TPML_ALG
from prestocloud_sec.tpm.spec.structures.buffers import TPM2B_MAX_BUFFER

__all__ = [
    "GetTestResult",
    "IncrementalSelfTest",
    "SelfTest",
    "Shutdown",
    "Startup",
]


class Startup(Command):
    """Start the TPM after power was applied or a reset (Part 3, 9.3)."""

    code = TPM_CC.Startup
    sessions = SessionUse.NEVER
    nv = True

    startupType: TPM_SU
    """With or without the state of before."""

    class Response(Command.Response):
        """Nothing comes back."""


class Shutdown(Command):
    """Prepare the TPM for losing its power (Part 3, 9.4)."""

    code = TPM_CC.Shutdown
    nv = True

    shutdownType: TPM_SU
    """What becomes of the state."""

    class Response(Command.Response):
        """Nothing comes back."""


class SelfTest(Command):
    """Test all functions, or those that were not tested yet (Part 3, 10.2)."""

    code = TPM_CC.SelfTest
    nv = True

    fullTest: TPMI_YES_NO
    """Everything, or what is left."""

    class Response(Command.Response):
        """Nothing comes back."""


class IncrementalSelfTest(Command):
    """Test some algorithms (Part 3, 10.3)."""

    code = TPM_CC.IncrementalSelfTest
    nv = True

    toTest: TPML_ALG
    """The algorithms."""

    class Response(Command.Response):
        """What comes back."""

        toDoList: TPML_ALG
        """Those that are still to test."""


class GetTestResult(Command):
    """Return what the self-test found (Part 3, 10.4)."""

    code = TPM_CC.GetTestResult

    class Response(Command.Response):
        """What comes back."""

        outData: TPM2B_MAX_BUFFER
        """What the manufacturer says of it."""
        testResult: TPM_RC
        """TPM_RC.SUCCESS, or what failed."""
