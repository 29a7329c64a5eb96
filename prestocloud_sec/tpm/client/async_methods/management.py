# SPDX-License-Identifier: Apache-2.0
# Written by scripts/tpm_client_methods.py from prestocloud_sec/tpm/spec/commands/management.py; edit that, and run it.
"""Management, firmware, contexts, clock and capabilities: a method for each command, to be awaited."""

from __future__ import annotations

from prestocloud_sec.tpm.client.core import Sessions
from prestocloud_sec.tpm.client.executor import AsyncExecutor, live
from prestocloud_sec.tpm.client.handles import AsyncObject, AsyncSessionHandle
from prestocloud_sec.tpm.spec.commands.management import (
    ClockRateAdjust,
    ClockSet,
    ContextLoad,
    ContextSave,
    EvictControl,
    FieldUpgradeData,
    FieldUpgradeStart,
    FirmwareRead,
    FlushContext,
    GetCapability,
    PP_Commands,
    ReadClock,
    SetAlgorithmSet,
    SetCapability,
    TestParms,
)
from prestocloud_sec.tpm.spec.constants import TPM_CAP, TPM_CLOCK_ADJUST
from prestocloud_sec.tpm.spec.interfaces import (
    TPMI_DH_CONTEXT,
    TPMI_DH_OBJECT,
    TPMI_DH_PERSISTENT,
    TPMI_RH_HIERARCHY,
    TPMI_RH_PLATFORM,
    TPMI_RH_PROVISION,
    UINT32,
    UINT64,
)
from prestocloud_sec.tpm.spec.structures.attestation import TPMS_TIME_INFO
from prestocloud_sec.tpm.spec.structures.basic import TPML_CC
from prestocloud_sec.tpm.spec.structures.buffers import TPM2B_DIGEST, TPM2B_MAX_BUFFER
from prestocloud_sec.tpm.spec.structures.capabilities import TPM2B_SET_CAPABILITY_DATA
from prestocloud_sec.tpm.spec.structures.objects import TPMS_CONTEXT, TPMT_PUBLIC_PARMS
from prestocloud_sec.tpm.spec.structures.schemes import TPMT_SIGNATURE

__all__ = ["AsyncManagementMethods"]


class AsyncManagementMethods(AsyncExecutor):
    """Management, firmware, contexts, clock and capabilities: a method for each command."""

    async def pp_commands(
        self, auth: TPMI_RH_PLATFORM, setList: TPML_CC, clearList: TPML_CC, *, sessions: Sessions = None
    ) -> None:
        """Choose the commands that need physical presence (Part 3, 26.2)."""
        await self.execute(PP_Commands(live(self, auth), setList, clearList), sessions)

    async def set_algorithm_set(
        self, authHandle: TPMI_RH_PLATFORM, algorithmSet: UINT32, *, sessions: Sessions = None
    ) -> None:
        """Choose a set of algorithms, in a manner of the vendor (Part 3, 26.3)."""
        await self.execute(SetAlgorithmSet(live(self, authHandle), algorithmSet), sessions)

    async def field_upgrade_start(
        self,
        authorization: TPMI_RH_PLATFORM,
        keyHandle: TPMI_DH_OBJECT,
        fuDigest: TPM2B_DIGEST,
        manifestSignature: TPMT_SIGNATURE,
        *,
        sessions: Sessions = None,
    ) -> None:
        """Start an upgrade of the firmware (Part 3, 27.2)."""
        await self.execute(
            FieldUpgradeStart(live(self, authorization), live(self, keyHandle), fuDigest, manifestSignature), sessions
        )

    async def field_upgrade_data(
        self, fuData: TPM2B_MAX_BUFFER, *, sessions: Sessions = None
    ) -> FieldUpgradeData.Response:
        """Send a part of the new firmware (Part 3, 27.3)."""
        return await self.execute(FieldUpgradeData(fuData), sessions)

    async def firmware_read(self, sequenceNumber: UINT32, *, sessions: Sessions = None) -> TPM2B_MAX_BUFFER:
        """Return a part of the firmware (Part 3, 27.4)."""
        response = await self.execute(FirmwareRead(sequenceNumber), sessions)
        return response.fuData

    async def context_save(self, saveHandle: TPMI_DH_CONTEXT, *, sessions: Sessions = None) -> TPMS_CONTEXT:
        """Save a session or an object outside of the TPM (Part 3, 28.2)."""
        response = await self.execute(ContextSave(live(self, saveHandle)), sessions)
        return response.context

    async def context_load(
        self, context: TPMS_CONTEXT, *, sessions: Sessions = None
    ) -> AsyncObject[ContextLoad.Response] | AsyncSessionHandle[ContextLoad.Response]:
        """Load a saved session or object (Part 3, 28.3)."""
        response = await self.execute(ContextLoad(context), sessions)
        return self._loaded(response.loadedHandle, response)

    async def flush_context(self, flushHandle: TPMI_DH_CONTEXT, *, sessions: Sessions = None) -> None:
        """Remove a loaded session or object (Part 3, 28.4)."""
        await self.execute(FlushContext(flushHandle), sessions)

    async def evict_control(
        self,
        auth: TPMI_RH_PROVISION,
        objectHandle: TPMI_DH_OBJECT,
        persistentHandle: TPMI_DH_PERSISTENT,
        *,
        sessions: Sessions = None,
    ) -> None:
        """Make an object persistent, or remove a persistent one (Part 3, 28.5)."""
        await self.execute(EvictControl(live(self, auth), live(self, objectHandle), persistentHandle), sessions)

    async def read_clock(self, *, sessions: Sessions = None) -> TPMS_TIME_INFO:
        """Return time and clock (Part 3, 29.1)."""
        response = await self.execute(ReadClock(), sessions)
        return response.currentTime

    async def clock_set(self, auth: TPMI_RH_PROVISION, newTime: UINT64, *, sessions: Sessions = None) -> None:
        """Set the clock forward (Part 3, 29.2)."""
        await self.execute(ClockSet(live(self, auth), newTime), sessions)

    async def clock_rate_adjust(
        self, auth: TPMI_RH_PROVISION, rateAdjust: TPM_CLOCK_ADJUST, *, sessions: Sessions = None
    ) -> None:
        """Change the rate of the clock (Part 3, 29.3)."""
        await self.execute(ClockRateAdjust(live(self, auth), rateAdjust), sessions)

    async def get_capability(
        self, capability: TPM_CAP, property: UINT32, propertyCount: UINT32, *, sessions: Sessions = None
    ) -> GetCapability.Response:
        """Return what the TPM is and has (Part 3, 30.2)."""
        return await self.execute(GetCapability(capability, property, propertyCount), sessions)

    async def test_parms(self, parameters: TPMT_PUBLIC_PARMS, *, sessions: Sessions = None) -> None:
        """Ask whether the TPM supports parameters of an object (Part 3, 30.3)."""
        await self.execute(TestParms(parameters), sessions)

    async def set_capability(
        self, authHandle: TPMI_RH_HIERARCHY, setCapabilityData: TPM2B_SET_CAPABILITY_DATA, *, sessions: Sessions = None
    ) -> None:
        """Set a capability (revision 1.83, TPM2_SetCapability)."""
        await self.execute(SetCapability(live(self, authHandle), setCapabilityData), sessions)
