# SPDX-License-Identifier: Apache-2.0
"""Ways to a TPM: a device, an emulator, a simulator, a library in this process, a recording.

`open_transport` opens one by its name, such as ``device:/dev/tpmrm0``; each is also a class of its own. What is true of
all stands in `prestocloud_sec.tpm.transport.base`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestocloud_sec._lazy import lazy

if TYPE_CHECKING:
    from prestocloud_sec.tpm.transport.aio import AsyncAdapter as AsyncAdapter
    from prestocloud_sec.tpm.transport.aio import AsyncRetrying as AsyncRetrying
    from prestocloud_sec.tpm.transport.aio import AsyncTransport as AsyncTransport
    from prestocloud_sec.tpm.transport.aio import asynchronous as asynchronous
    from prestocloud_sec.tpm.transport.aio import open_async_transport as open_async_transport
    from prestocloud_sec.tpm.transport.base import Cancellable as Cancellable
    from prestocloud_sec.tpm.transport.base import HasLocality as HasLocality
    from prestocloud_sec.tpm.transport.base import HasPower as HasPower
    from prestocloud_sec.tpm.transport.base import HasSnapshots as HasSnapshots
    from prestocloud_sec.tpm.transport.base import MeasuresLaunch as MeasuresLaunch
    from prestocloud_sec.tpm.transport.base import Transport as Transport
    from prestocloud_sec.tpm.transport.base import require as require
    from prestocloud_sec.tpm.transport.control import SwtpmControl as SwtpmControl
    from prestocloud_sec.tpm.transport.control_numbers import Blob as Blob
    from prestocloud_sec.tpm.transport.control_numbers import ControlCapability as ControlCapability
    from prestocloud_sec.tpm.transport.device import DeviceTransport as DeviceTransport
    from prestocloud_sec.tpm.transport.embedded import EmbeddedTransport as EmbeddedTransport
    from prestocloud_sec.tpm.transport.mssim import MssimPlatform as MssimPlatform
    from prestocloud_sec.tpm.transport.mssim import MssimTransport as MssimTransport
    from prestocloud_sec.tpm.transport.mssim import Platform as Platform
    from prestocloud_sec.tpm.transport.quirks import Quirk as Quirk
    from prestocloud_sec.tpm.transport.quirks import maker as maker
    from prestocloud_sec.tpm.transport.quirks import quirks_of as quirks_of
    from prestocloud_sec.tpm.transport.recorder import Recorder as Recorder
    from prestocloud_sec.tpm.transport.replayer import Replayer as Replayer
    from prestocloud_sec.tpm.transport.retry import Retrying as Retrying
    from prestocloud_sec.tpm.transport.retry import RetryPolicy as RetryPolicy
    from prestocloud_sec.tpm.transport.snapshot import Snapshot as Snapshot
    from prestocloud_sec.tpm.transport.spawn import SpawnedTransport as SpawnedTransport
    from prestocloud_sec.tpm.transport.spawn import SwtpmServer as SwtpmServer
    from prestocloud_sec.tpm.transport.stream import StreamTransport as StreamTransport
    from prestocloud_sec.tpm.transport.swtpm import SwtpmTransport as SwtpmTransport
    from prestocloud_sec.tpm.transport.timeouts import Timeouts as Timeouts
    from prestocloud_sec.tpm.transport.uris import TransportUri as TransportUri
    from prestocloud_sec.tpm.transport.uris import open_transport as open_transport
    from prestocloud_sec.tpm.transport.uris import parse_uri as parse_uri

_HOMES: dict[str, str] = {
    "AsyncAdapter": "aio",
    "AsyncRetrying": "aio",
    "AsyncTransport": "aio",
    "Blob": "control_numbers",
    "Cancellable": "base",
    "ControlCapability": "control_numbers",
    "DeviceTransport": "device",
    "EmbeddedTransport": "embedded",
    "HasLocality": "base",
    "HasPower": "base",
    "HasSnapshots": "base",
    "MeasuresLaunch": "base",
    "MssimPlatform": "mssim",
    "MssimTransport": "mssim",
    "Platform": "mssim",
    "Quirk": "quirks",
    "Recorder": "recorder",
    "Replayer": "replayer",
    "RetryPolicy": "retry",
    "Retrying": "retry",
    "Snapshot": "snapshot",
    "SpawnedTransport": "spawn",
    "StreamTransport": "stream",
    "SwtpmControl": "control",
    "SwtpmServer": "spawn",
    "SwtpmTransport": "swtpm",
    "Timeouts": "timeouts",
    "Transport": "base",
    "TransportUri": "uris",
    "asynchronous": "aio",
    "maker": "quirks",
    "open_async_transport": "aio",
    "open_transport": "uris",
    "parse_uri": "uris",
    "quirks_of": "quirks",
    "require": "base",
}

__all__ = list(_HOMES)

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(__name__, _HOMES)
