# SPDX-License-Identifier: Apache-2.0
# Written by scripts/tpm_client_methods.py from prestocloud_sec/tpm/spec/commands/management.py; edit that, and run it.
"""Management, firmware, contexts, clock and capabilities: a method for each command."""

from __future__ import annotations

from prestocloud_sec.tpm.client.core import Sessions
from prestocloud_sec.tpm.client.executor import Executor, live
from prestocloud_sec.tpm.client.handles import Object, SessionHandle
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

__all__ = ["ManagementMethods"]


class ManagementMethods(Executor):
    """Management, firmware, contexts, clock and capabilities: a method for each command."""

    def pp_commands(
        self, auth: TPMI_RH_PLATFORM, setList: TPML_CC, clearList: TPML_CC, *, sessions: Sessions = None
    ) -> None:
        """Choose the commands that need physical presence (Part 3, 26.2).

        Parameters
        ----------
        auth : TPMI_RH_PLATFORM
            Who authorizes.
        setList : TPML_CC
            Commands to add.
        clearList : TPML_CC
            Commands to remove.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(PP_Commands(live(self, auth), setList, clearList), sessions)

    def set_algorithm_set(
        self, authHandle: TPMI_RH_PLATFORM, algorithmSet: UINT32, *, sessions: Sessions = None
    ) -> None:
        """Choose a set of algorithms, in a manner of the vendor (Part 3, 26.3).

        Parameters
        ----------
        authHandle : TPMI_RH_PLATFORM
            Who authorizes.
        algorithmSet : UINT32
            Number of the set.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(SetAlgorithmSet(live(self, authHandle), algorithmSet), sessions)

    def field_upgrade_start(
        self,
        authorization: TPMI_RH_PLATFORM,
        keyHandle: TPMI_DH_OBJECT,
        fuDigest: TPM2B_DIGEST,
        manifestSignature: TPMT_SIGNATURE,
        *,
        sessions: Sessions = None,
    ) -> None:
        """Start an upgrade of the firmware (Part 3, 27.2).

        Parameters
        ----------
        authorization : TPMI_RH_PLATFORM
            The platform.
        keyHandle : TPMI_DH_OBJECT
            The key of the manufacturer.
        fuDigest : TPM2B_DIGEST
            Digest of the first block.
        manifestSignature : TPMT_SIGNATURE
            Signature of the manufacturer.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(
            FieldUpgradeStart(live(self, authorization), live(self, keyHandle), fuDigest, manifestSignature), sessions
        )

    def field_upgrade_data(self, fuData: TPM2B_MAX_BUFFER, *, sessions: Sessions = None) -> FieldUpgradeData.Response:
        """Send a part of the new firmware (Part 3, 27.3).

        Parameters
        ----------
        fuData : TPM2B_MAX_BUFFER
            Part of the firmware.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        FieldUpgradeData.Response
            With nextDigest, firstDigest.
        """
        return self.execute(FieldUpgradeData(fuData), sessions)

    def firmware_read(self, sequenceNumber: UINT32, *, sessions: Sessions = None) -> TPM2B_MAX_BUFFER:
        """Return a part of the firmware (Part 3, 27.4).

        Parameters
        ----------
        sequenceNumber : UINT32
            Number of the part, from 0.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        TPM2B_MAX_BUFFER
            Part of the firmware.
        """
        return self.execute(FirmwareRead(sequenceNumber), sessions).fuData

    def context_save(self, saveHandle: TPMI_DH_CONTEXT, *, sessions: Sessions = None) -> TPMS_CONTEXT:
        """Save a session or an object outside of the TPM (Part 3, 28.2).

        Parameters
        ----------
        saveHandle : TPMI_DH_CONTEXT
            What to save.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        TPMS_CONTEXT
            The saved context.
        """
        return self.execute(ContextSave(live(self, saveHandle)), sessions).context

    def context_load(
        self, context: TPMS_CONTEXT, *, sessions: Sessions = None
    ) -> Object[ContextLoad.Response] | SessionHandle[ContextLoad.Response]:
        """Load a saved session or object (Part 3, 28.3).

        Parameters
        ----------
        context : TPMS_CONTEXT
            The saved context.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        Object[ContextLoad.Response] | SessionHandle[ContextLoad.Response]
            What was loaded.
        """
        response = self.execute(ContextLoad(context), sessions)
        return self._loaded(response.loadedHandle, response)

    def flush_context(self, flushHandle: TPMI_DH_CONTEXT, *, sessions: Sessions = None) -> None:
        """Remove a loaded session or object (Part 3, 28.4).

        Parameters
        ----------
        flushHandle : TPMI_DH_CONTEXT
            What to remove.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(FlushContext(flushHandle), sessions)

    def evict_control(
        self,
        auth: TPMI_RH_PROVISION,
        objectHandle: TPMI_DH_OBJECT,
        persistentHandle: TPMI_DH_PERSISTENT,
        *,
        sessions: Sessions = None,
    ) -> None:
        """Make an object persistent, or remove a persistent one (Part 3, 28.5).

        Parameters
        ----------
        auth : TPMI_RH_PROVISION
            Who authorizes.
        objectHandle : TPMI_DH_OBJECT
            The object, loaded or persistent.
        persistentHandle : TPMI_DH_PERSISTENT
            Handle to give it, or to remove.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(EvictControl(live(self, auth), live(self, objectHandle), persistentHandle), sessions)

    def read_clock(self, *, sessions: Sessions = None) -> TPMS_TIME_INFO:
        """Return time and clock (Part 3, 29.1).

        Parameters
        ----------
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        TPMS_TIME_INFO
            Time and clock.
        """
        return self.execute(ReadClock(), sessions).currentTime

    def clock_set(self, auth: TPMI_RH_PROVISION, newTime: UINT64, *, sessions: Sessions = None) -> None:
        """Set the clock forward (Part 3, 29.2).

        Parameters
        ----------
        auth : TPMI_RH_PROVISION
            Who authorizes.
        newTime : UINT64
            Milliseconds, not less than the clock now.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(ClockSet(live(self, auth), newTime), sessions)

    def clock_rate_adjust(
        self, auth: TPMI_RH_PROVISION, rateAdjust: TPM_CLOCK_ADJUST, *, sessions: Sessions = None
    ) -> None:
        """Change the rate of the clock (Part 3, 29.3).

        Parameters
        ----------
        auth : TPMI_RH_PROVISION
            Who authorizes.
        rateAdjust : TPM_CLOCK_ADJUST
            How.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(ClockRateAdjust(live(self, auth), rateAdjust), sessions)

    def get_capability(
        self, capability: TPM_CAP, property: UINT32, propertyCount: UINT32, *, sessions: Sessions = None
    ) -> GetCapability.Response:
        """Return what the TPM is and has (Part 3, 30.2).

        Parameters
        ----------
        capability : TPM_CAP
            What to ask for.
        property : UINT32
            First of them.
        propertyCount : UINT32
            Most of them.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        GetCapability.Response
            With moreData, capabilityData.
        """
        return self.execute(GetCapability(capability, property, propertyCount), sessions)

    def test_parms(self, parameters: TPMT_PUBLIC_PARMS, *, sessions: Sessions = None) -> None:
        """Ask whether the TPM supports parameters of an object (Part 3, 30.3).

        Parameters
        ----------
        parameters : TPMT_PUBLIC_PARMS
            The parameters.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(TestParms(parameters), sessions)

    def set_capability(
        self, authHandle: TPMI_RH_HIERARCHY, setCapabilityData: TPM2B_SET_CAPABILITY_DATA, *, sessions: Sessions = None
    ) -> None:
        """Set a capability (revision 1.83, TPM2_SetCapability).

        Parameters
        ----------
        authHandle : TPMI_RH_HIERARCHY
            Who authorizes.
        setCapabilityData : TPM2B_SET_CAPABILITY_DATA
            What to set.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(SetCapability(live(self, authHandle), setCapabilityData), sessions)
