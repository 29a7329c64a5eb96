# SPDX-License-Identifier: Apache-2.0
"""Types of events, and which of them are not extended.

Source: TCG PC Client Platform Firmware Profile 1.06, section 10.4.1, tables of event types; those that only logs of
TPM 1.2 have are from the PC Client Implementation Specification for Conventional BIOS 1.21, section 11.3.1.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = ["END_MARK", "MOST_PCRS", "EventType", "event_name"]

MOST_PCRS = 32
"""No TPM 2.0 selection in use reaches further; a PC has 24."""

END_MARK = 0xFFFFFFFF
"""In a dump of the memory that a log lay in, this stands where the PCR of one more event would."""


class EventType(IntEnum):
    """What an event says was measured; ``EV_`` stands before each name in the specification."""

    PREBOOT_CERT = 0x0
    POST_CODE = 0x1
    UNUSED = 0x2
    NO_ACTION = 0x3
    """Information for whoever reads the log: nothing was extended."""
    SEPARATOR = 0x4
    ACTION = 0x5
    EVENT_TAG = 0x6
    S_CRTM_CONTENTS = 0x7
    S_CRTM_VERSION = 0x8
    CPU_MICROCODE = 0x9
    PLATFORM_CONFIG_FLAGS = 0xA
    TABLE_OF_DEVICES = 0xB
    COMPACT_HASH = 0xC
    IPL = 0xD
    IPL_PARTITION_DATA = 0xE
    NONHOST_CODE = 0xF
    NONHOST_CONFIG = 0x10
    NONHOST_INFO = 0x11
    OMIT_BOOT_DEVICE_EVENTS = 0x12
    POST_CODE2 = 0x13
    EFI_VARIABLE_DRIVER_CONFIG = 0x80000001
    EFI_VARIABLE_BOOT = 0x80000002
    EFI_BOOT_SERVICES_APPLICATION = 0x80000003
    EFI_BOOT_SERVICES_DRIVER = 0x80000004
    EFI_RUNTIME_SERVICES_DRIVER = 0x80000005
    EFI_GPT_EVENT = 0x80000006
    EFI_ACTION = 0x80000007
    EFI_PLATFORM_FIRMWARE_BLOB = 0x80000008
    EFI_HANDOFF_TABLES = 0x80000009
    EFI_PLATFORM_FIRMWARE_BLOB2 = 0x8000000A
    EFI_HANDOFF_TABLES2 = 0x8000000B
    EFI_VARIABLE_BOOT2 = 0x8000000C
    EFI_GPT_EVENT2 = 0x8000000D
    EFI_HCRTM_EVENT = 0x80000010
    EFI_VARIABLE_AUTHORITY = 0x800000E0
    EFI_SPDM_FIRMWARE_BLOB = 0x800000E1
    EFI_SPDM_FIRMWARE_CONFIG = 0x800000E2
    EFI_SPDM_DEVICE_POLICY = 0x800000E3
    EFI_SPDM_DEVICE_AUTHORITY = 0x800000E4


def event_name(event_type: int) -> str:
    """Return the specification's name of a type of event, or its number where it has none.

    >>> event_name(4), event_name(0x12345678)
    ('EV_SEPARATOR', '0x12345678')
    """
    try:
        return f"EV_{EventType(event_type).name}"
    except ValueError:
        return f"{event_type:#010x}"
