# SPDX-License-Identifier: Apache-2.0
"""Management, firmware, contexts, clock and capabilities: commands of TPM 2.0 (Library, Part 3, clauses 26 to 30)."""

from __future__ import annotations

from prestocloud_sec.tpm.spec.constants import TPM_CAP, TPM_CC, TPM_CLOCK_ADJUST
from prestocloud_sec.tpm.spec.declare import AuthRole, Command, OrNull, SessionUse, handle
from prestocloud_sec.tpm.spec.interfaces import (
    TPMI_DH_CONTEXT,
    TPMI_DH_OBJECT,
    TPMI_DH_PERSISTENT,
    TPMI_RH_HIERARCHY,
    TPMI_RH_PLATFORM,
    TPMI_RH_PROVISION,
    TPMI_YES_NO,
    UINT32,
    UINT64,
)
from prestocloud_sec.tpm.spec.structures.attestation import TPMS_TIME_INFO
from prestocloud_sec.tpm.spec.structures.basic import TPML_CC, TPMT_HA
from prestocloud_sec.tpm.spec.structures.buffers import TPM2B_DIGEST, TPM2B_MAX_BUFFER
from prestocloud_sec.tpm.spec.structures.capabilities import TPM2B_SET_CAPABILITY_DATA, TPMS_CAPABILITY_DATA
from prestocloud_sec.tpm.spec.structures.objects import TPMS_CONTEXT, TPMT_PUBLIC_PARMS
from prestocloud_sec.tpm.spec.structures.schemes import TPMT_SIGNATURE

__all__ = [
    "ClockRateAdjust",
    "ClockSet",
    "ContextLoad",
    "ContextSave",
    "EvictControl",
    "FieldUpgradeData",
    "FieldUpgradeStart",
    "FirmwareRead",
    "FlushContext",
    "GetCapability",
    "PP_Commands",
    "ReadClock",
    "SetAlgorithmSet",
    "SetCapability",
    "TestParms",
]


class PP_Commands(Command):
    """Choose the commands that need physical presence (Part 3, 26.2)."""

    code = TPM_CC.PP_Commands
    nv = True

    auth: TPMI_RH_PLATFORM = handle(auth=AuthRole.USER)
    """Who authorizes."""
    setList: TPML_CC
    """Commands to add."""
    clearList: TPML_CC
    """Commands to remove."""

    class Response(Command.Response):
        """Nothing comes back."""


class SetAlgorithmSet(Command):
    """Choose a set of algorithms, in a manner of the vendor (Part 3, 26.3)."""

    code = TPM_CC.SetAlgorithmSet
    nv = True

    authHandle: TPMI_RH_PLATFORM = handle(auth=AuthRole.USER)
    """Who authorizes."""
    algorithmSet: UINT32
    """Number of the set."""

    class Response(Command.Response):
        """Nothing comes back."""


class FieldUpgradeStart(Command):
    """Start an upgrade of the firmware (Part 3, 27.2)."""

    code = TPM_CC.FieldUpgradeStart

    authorization: TPMI_RH_PLATFORM = handle(auth=AuthRole.ADMIN)
    """The platform."""
    keyHandle: TPMI_DH_OBJECT = handle()
    """The key of the manufacturer."""
    fuDigest: TPM2B_DIGEST
    """Digest of the first block."""
    manifestSignature: TPMT_SIGNATURE
    """Signature of the manufacturer."""

    class Response(Command.Response):
        """Nothing comes back."""


class FieldUpgradeData(Command):
    """Send a part of the new firmware (Part 3, 27.3)."""

    code = TPM_CC.FieldUpgradeData
    nv = True

    fuData: TPM2B_MAX_BUFFER
    """Part of the firmware."""

    class Response(Command.Response):
        """What comes back."""

        nextDigest: OrNull[TPMT_HA]
        """Digest of the block that is expected next; NULL at the end."""
        firstDigest: TPMT_HA
        """Digest of the first block."""


class FirmwareRead(Command):
    """Return a part of the firmware (Part 3, 27.4)."""

    code = TPM_CC.FirmwareRead

    sequenceNumber: UINT32
    """Number of the part, from 0."""

    class Response(Command.Response):
        """What comes back."""

        fuData: TPM2B_MAX_BUFFER
        """Part of the firmware."""


class ContextSave(Command):
    """Save a session or an object outside of the TPM (Part 3, 28.2)."""

    code = TPM_CC.ContextSave
    sessions = SessionUse.NEVER

    saveHandle: TPMI_DH_CONTEXT = handle()
    """What to save."""

    class Response(Command.Response):
        """What comes back."""

        context: TPMS_CONTEXT
        """The saved context."""


class ContextLoad(Command):
    """Load a saved session or object (Part 3, 28.3)."""

    code = TPM_CC.ContextLoad
    sessions = SessionUse.NEVER

    context: TPMS_CONTEXT
    """The saved context."""

    class Response(Command.Response):
        """What comes back."""

        loadedHandle: TPMI_DH_CONTEXT = handle()
        """What was loaded."""


class FlushContext(Command):
    """Remove a loaded session or object (Part 3, 28.4)."""

    code = TPM_CC.FlushContext
    sessions = SessionUse.NEVER

    flushHandle: TPMI_DH_CONTEXT
    """What to remove."""

    class Response(Command.Response):
        """Nothing comes back."""


class EvictControl(Command):
    """Make an object persistent, or remove a persistent one (Part 3, 28.5)."""

    code = TPM_CC.EvictControl
    nv = True

    auth: TPMI_RH_PROVISION = handle(auth=AuthRole.USER)
    """Who authorizes."""
    objectHandle: TPMI_DH_OBJECT = handle()
    """The object, loaded or persistent."""
    persistentHandle: TPMI_DH_PERSISTENT
    """Handle to give it, or to remove."""

    class Response(Command.Response):
        """Nothing comes back."""


class ReadClock(Command):
    """Return time and clock (Part 3, 29.1)."""

    code = TPM_CC.ReadClock

    class Response(Command.Response):
        """What comes back."""

        currentTime: TPMS_TIME_INFO
        """Time and clock."""


class ClockSet(Command):
    """Set the clock forward (Part 3, 29.2)."""

    code = TPM_CC.ClockSet
    nv = True

    auth: TPMI_RH_PROVISION = handle(auth=AuthRole.USER)
    """Who authorizes."""
    newTime: UINT64
    """Milliseconds, not less than the clock now."""

    class Response(Command.Response):
        """Nothing comes back."""


class ClockRateAdjust(Command):
    """Change the rate of the clock (Part 3, 29.3)."""

    code = TPM_CC.ClockRateAdjust

    auth: TPMI_RH_PROVISION = handle(auth=AuthRole.USER)
    """Who authorizes."""
    rateAdjust: TPM_CLOCK_ADJUST
    """How."""

    class Response(Command.Response):
        """Nothing comes back."""


class GetCapability(Command):
    """Return what the TPM is and has (Part 3, 30.2)."""

    code = TPM_CC.GetCapability

    capability: TPM_CAP
    """What to ask for."""
    property: UINT32
    """First of them."""
    propertyCount: UINT32
    """Most of them."""

    class Response(Command.Response):
        """What comes back."""

        moreData: TPMI_YES_NO
        """Whether there are more."""
        capabilityData: TPMS_CAPABILITY_DATA
        """The answer."""


class TestParms(Command):
    """Ask whether the TPM supports parameters of an object (Part 3, 30.3)."""

    code = TPM_CC.TestParms

    parameters: TPMT_PUBLIC_PARMS
    """The parameters."""

    class Response(Command.Response):
        """Nothing comes back."""


class SetCapability(Command):
    """Set a capability (revision 1.83, TPM2_SetCapability)."""

    code = TPM_CC.SetCapability
    nv = True

    authHandle: TPMI_RH_HIERARCHY = handle(auth=AuthRole.USER)
    """Who authorizes."""
    setCapabilityData: TPM2B_SET_CAPABILITY_DATA
    """What to set."""

    class Response(Command.Response):
        """Nothing comes back."""
