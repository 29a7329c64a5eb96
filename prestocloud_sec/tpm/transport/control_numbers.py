# SPDX-License-Identifier: Apache-2.0
"""The numbers of swtpm's control channel (swtpm ``include/swtpm/tpm_ioctl.h``, libtpms ``tpm_error.h``)."""

from __future__ import annotations

from enum import IntEnum, IntFlag

__all__ = ["RESULTS", "Blob", "Control", "ControlCapability"]


class Control(IntEnum):
    """Commands of the control channel."""

    GET_CAPABILITY = 1
    INIT = 2
    SHUTDOWN = 3
    GET_TPMESTABLISHED = 4
    SET_LOCALITY = 5
    HASH_START = 6
    HASH_DATA = 7
    HASH_END = 8
    CANCEL_TPM_CMD = 9
    STORE_VOLATILE = 10
    RESET_TPMESTABLISHED = 11
    GET_STATEBLOB = 12
    SET_STATEBLOB = 13
    STOP = 14
    GET_CONFIG = 15
    SET_DATAFD = 16
    SET_BUFFERSIZE = 17
    GET_INFO = 18
    LOCK_STORAGE = 19


class ControlCapability(IntFlag):
    """What a swtpm's control channel can do."""

    INIT = 1 << 0
    SHUTDOWN = 1 << 1
    GET_TPMESTABLISHED = 1 << 2
    SET_LOCALITY = 1 << 3
    HASHING = 1 << 4
    CANCEL_TPM_CMD = 1 << 5
    STORE_VOLATILE = 1 << 6
    RESET_TPMESTABLISHED = 1 << 7
    GET_STATEBLOB = 1 << 8
    SET_STATEBLOB = 1 << 9
    STOP = 1 << 10
    GET_CONFIG = 1 << 11
    SET_DATAFD = 1 << 12
    SET_BUFFERSIZE = 1 << 13
    GET_INFO = 1 << 14
    SEND_COMMAND_HEADER = 1 << 15
    LOCK_STORAGE = 1 << 16


class Blob(IntEnum):
    """The parts of a TPM's state."""

    PERMANENT = 1
    VOLATILE = 2
    SAVESTATE = 3


RESULTS = {
    0x03: "a bad parameter",
    0x05: "the TPM cannot do this now",
    0x09: "it failed",
    0x0A: "the command is not known, or not while the TPM is running, or not while it is stopped",
    0x11: "too little memory",
    0x1F: "an error of input or output",
    0x26: "the TPM is running",
    0x2E: "a bad version",
    0x3D: "a bad locality",
    0x800: "there is none",
    0x101: "the TPM is in failure mode",
}
"""What the results of the control channel mean (libtpms ``tpm_error.h``)."""
