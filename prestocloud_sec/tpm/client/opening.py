# SPDX-License-Identifier: Apache-2.0
"""From the name of a way to a TPM to a client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestocloud_sec.tpm.client.blocking import Client
from prestocloud_sec.tpm.transport.uris import open_transport

if TYPE_CHECKING:
    from prestocloud_sec.tpm.client.asynchronous import AsyncClient
    from prestocloud_sec.tpm.client.protection import Protection
    from prestocloud_sec.tpm.transport.retry import RetryPolicy
    from prestocloud_sec.tpm.transport.timeouts import Timeouts

__all__ = ["connect", "connect_async"]


def connect(
    uri: str | None = None,
    *,
    protect: bool | Protection = False,
    startup: bool = True,
    timeouts: Timeouts | float | None = None,
    retry: RetryPolicy | None = None,
) -> Client:
    """Return a client of a TPM.

    Parameters
    ----------
    uri : str, optional
        The way to it: ``device:/dev/tpmrm0``, ``swtpm:path=/run/tpm``, ``embedded:dir=state`` and others (see
        `prestocloud_sec.tpm.transport.uris`). Without it, a TPM in this process that ends with the client.
    protect : bool or Protection
        Whether commands for which no sessions are given go in HMAC sessions that are salted for a key of the TPM and
        encrypt parameters (see `prestocloud_sec.tpm.client.protection`).
    startup : bool
        Whether a TPM that waits for TPM2_Startup gets one.
    timeouts : Timeouts or float, optional
        How long to wait for responses.
    retry : RetryPolicy, optional
        How often a command is sent again when the TPM says so.

    Returns
    -------
    Client
        The client; ``with`` closes it, and what it has left in the TPM.

    Raises
    ------
    TransportUriError
        If the text names no way.
    TpmUnavailableError
        If a library, a program, a device or a server is not there.
    TransportBusyError
        If somebody else has the TPM.
    TpmMisuseError
        If an argument is not what it should be.

    >>> with connect("embedded:") as client:
    ...     len(client.get_random(16)), client.owner
    (16, Hierarchy(OWNER))
    """
    transport = open_transport(uri, timeouts=timeouts)
    try:
        return Client(transport, protect=protect, startup=startup, retry=retry)
    except BaseException:
        transport.close()
        raise


async def connect_async(
    uri: str | None = None,
    *,
    protect: bool | Protection = False,
    startup: bool = True,
    timeouts: Timeouts | float | None = None,
    retry: RetryPolicy | None = None,
) -> AsyncClient:
    """Return a client of a TPM for asyncio; parameters and errors as of `connect`."""
    # Imported here: asyncio is a third of what the rest takes to import.
    from prestocloud_sec.tpm.client.asynchronous import AsyncClient
    from prestocloud_sec.tpm.transport.aio import open_async_transport

    transport = await open_async_transport(uri, timeouts=timeouts)
    try:
        return AsyncClient(transport, protect=protect, startup=startup, retry=retry)
    except BaseException:
        await transport.close()
        raise
