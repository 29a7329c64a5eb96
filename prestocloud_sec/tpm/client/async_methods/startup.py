# SPDX-License-Identifier: Apache-2.0
# Written by scripts/tpm_client_methods.py from prestocloud_sec/tpm/spec/commands/startup.py; edit that, and run it.
"""Start-up and tests: a method for each command, to be awaited."""

from __future__ import annotations

from prestocloud_sec.tpm.client.core import Sessions
from prestocloud_sec.tpm.client.executor import AsyncExecutor
from prestocloud_sec.tpm.spec.commands.startup import GetTestResult, IncrementalSelfTest, SelfTest, Shutdown, Startup
from prestocloud_sec.tpm.spec.constants import TPM_SU
from prestocloud_sec.tpm.spec.interfaces import TPMI_YES_NO
from prestocloud_sec.tpm.spec.structures.basic import TPML_ALG

__all__ = ["AsyncStartupMethods"]


class AsyncStartupMethods(AsyncExecutor):
    """Start-up and tests: a method for each command."""

    async def startup(self, startupType: TPM_SU, *, sessions: Sessions = None) -> None:
        """Start the TPM after power was applied or a reset (Part 3, 9.3)."""
        await self.execute(Startup(startupType), sessions)

    async def shutdown(self, shutdownType: TPM_SU, *, sessions: Sessions = None) -> None:
        """Prepare the TPM for losing its power (Part 3, 9.4)."""
        await self.execute(Shutdown(shutdownType), sessions)

    async def self_test(self, fullTest: TPMI_YES_NO, *, sessions: Sessions = None) -> None:
        """Test all functions, or those that were not tested yet (Part 3, 10.2)."""
        await self.execute(SelfTest(fullTest), sessions)

    async def incremental_self_test(self, toTest: TPML_ALG, *, sessions: Sessions = None) -> TPML_ALG:
        """Test some algorithms (Part 3, 10.3)."""
        response = await self.execute(IncrementalSelfTest(toTest), sessions)
        return response.toDoList

    async def get_test_result(self, *, sessions: Sessions = None) -> GetTestResult.Response:
        """Return what the self-test found (Part 3, 10.4)."""
        return await self.execute(GetTestResult(), sessions)
