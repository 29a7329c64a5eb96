# SPDX-License-Identifier: Apache-2.0
"""A TPM to work with: commands, handles, sessions, at the other end of a transport.

`connect` makes a `Client`, `connect_async` an `AsyncClient`. What both know and decide is in `Core`, which yields bytes
and is sent bytes; `blocking`, `asynchronous` and `opening` are its edges to the world.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestocloud_sec._lazy import lazy

if TYPE_CHECKING:
    from prestocloud_sec.tpm.client.asynchronous import AsyncClient as AsyncClient
    from prestocloud_sec.tpm.client.blocking import Client as Client
    from prestocloud_sec.tpm.client.core import Core as Core
    from prestocloud_sec.tpm.client.handles import AsyncObject as AsyncObject
    from prestocloud_sec.tpm.client.handles import AsyncSessionHandle as AsyncSessionHandle
    from prestocloud_sec.tpm.client.handles import Handle as Handle
    from prestocloud_sec.tpm.client.handles import Hierarchy as Hierarchy
    from prestocloud_sec.tpm.client.handles import NvIndex as NvIndex
    from prestocloud_sec.tpm.client.handles import Object as Object
    from prestocloud_sec.tpm.client.handles import Pcr as Pcr
    from prestocloud_sec.tpm.client.handles import PersistentObject as PersistentObject
    from prestocloud_sec.tpm.client.handles import SessionHandle as SessionHandle
    from prestocloud_sec.tpm.client.lockout import Lockout as Lockout
    from prestocloud_sec.tpm.client.opening import connect as connect
    from prestocloud_sec.tpm.client.opening import connect_async as connect_async
    from prestocloud_sec.tpm.client.properties import Properties as Properties
    from prestocloud_sec.tpm.client.protection import Protection as Protection

_HOMES: dict[str, str] = {
    "AsyncClient": "asynchronous",
    "AsyncObject": "handles",
    "AsyncSessionHandle": "handles",
    "Client": "blocking",
    "Core": "core",
    "Handle": "handles",
    "Hierarchy": "handles",
    "Lockout": "lockout",
    "NvIndex": "handles",
    "Object": "handles",
    "Pcr": "handles",
    "PersistentObject": "handles",
    "Properties": "properties",
    "Protection": "protection",
    "SessionHandle": "handles",
    "connect": "opening",
    "connect_async": "opening",
}

__all__ = list(_HOMES)

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(__name__, _HOMES)
