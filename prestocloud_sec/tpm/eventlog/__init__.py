# SPDX-License-Identifier: Apache-2.0
"""Event logs: of the firmware's boot and of the kernel's integrity measurements, read, explained, and replayed to PCRs.

Names are imported from their modules where they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestocloud_sec._lazy import lazy

if TYPE_CHECKING:
    from prestocloud_sec.tpm.eventlog.comparing import Comparison as Comparison
    from prestocloud_sec.tpm.eventlog.comparing import PcrComparison as PcrComparison
    from prestocloud_sec.tpm.eventlog.comparing import compare as compare
    from prestocloud_sec.tpm.eventlog.comparing import kernel_log_at as kernel_log_at
    from prestocloud_sec.tpm.eventlog.constants import EventType as EventType
    from prestocloud_sec.tpm.eventlog.device_path import DevicePath as DevicePath
    from prestocloud_sec.tpm.eventlog.event import Digest as Digest
    from prestocloud_sec.tpm.eventlog.event import Event as Event
    from prestocloud_sec.tpm.eventlog.faults import Fault as Fault
    from prestocloud_sec.tpm.eventlog.faults import FaultKind as FaultKind
    from prestocloud_sec.tpm.eventlog.firmware import SpecIdEvent as SpecIdEvent
    from prestocloud_sec.tpm.eventlog.firmware import StartupLocality as StartupLocality
    from prestocloud_sec.tpm.eventlog.guid import Guid as Guid
    from prestocloud_sec.tpm.eventlog.ima import ImaLog as ImaLog
    from prestocloud_sec.tpm.eventlog.ima_entry import ImaEntry as ImaEntry
    from prestocloud_sec.tpm.eventlog.log import EventLog as EventLog
    from prestocloud_sec.tpm.eventlog.log import LogFormat as LogFormat
    from prestocloud_sec.tpm.eventlog.payloads import decode_payload as decode_payload
    from prestocloud_sec.tpm.eventlog.replaying import Replay as Replay
    from prestocloud_sec.tpm.eventlog.replaying import replay as replay
    from prestocloud_sec.tpm.eventlog.uefi import ImageLoad as ImageLoad
    from prestocloud_sec.tpm.eventlog.variables import UefiVariable as UefiVariable

_HOMES: dict[str, str] = {
    "EventLog": "log",
    "Event": "event",
    "Digest": "event",
    "LogFormat": "log",
    "EventType": "constants",
    "ImaLog": "ima",
    "ImaEntry": "ima_entry",
    "replay": "replaying",
    "compare": "comparing",
    "kernel_log_at": "comparing",
    "Replay": "replaying",
    "Comparison": "comparing",
    "PcrComparison": "comparing",
    "Fault": "faults",
    "FaultKind": "faults",
    "decode_payload": "payloads",
    "SpecIdEvent": "firmware",
    "StartupLocality": "firmware",
    "UefiVariable": "variables",
    "ImageLoad": "uefi",
    "DevicePath": "device_path",
    "Guid": "guid",
}

__all__ = list(_HOMES)

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(__name__, _HOMES)
