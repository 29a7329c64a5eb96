# SPDX-License-Identifier: Apache-2.0
"""`AsyncClient`: a TPM at the other end of a transport, for asyncio.

It decides nothing: `Core` does, for both kinds of clients. What is said of `Client` is true here, with ``await``.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from prestocloud_sec.errors import PrestoCloudError
from prestocloud_sec.tpm._given import octets
from prestocloud_sec.tpm.client import queries
from prestocloud_sec.tpm.client.async_methods import AsyncMethods
from prestocloud_sec.tpm.client.capabilities import everything
from prestocloud_sec.tpm.client.core import Answered, Core, Sessions, listed
from prestocloud_sec.tpm.client.executor import live
from prestocloud_sec.tpm.client.handles import AsyncObject, AsyncSessionHandle, NvIndex, PersistentObject
from prestocloud_sec.tpm.client.lockout import Lockout, read_lockout
from prestocloud_sec.tpm.client.properties import Properties
from prestocloud_sec.tpm.client.standing import Standing, protection_of
from prestocloud_sec.tpm.client.starting import start_session
from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.tpm.session import SessionKind
from prestocloud_sec.tpm.spec.commands import StartAuthSession
from prestocloud_sec.tpm.spec.constants import TPM_CAP, TPM_PT
from prestocloud_sec.tpm.transport.aio import AsyncRetrying
from prestocloud_sec.tpm.transport.quirks import Quirk, quirks_of

if TYPE_CHECKING:
    from prestocloud_sec.tpm._secrets import Random
    from prestocloud_sec.tpm.client.protection import Protection
    from prestocloud_sec.tpm.client.residence import Steps
    from prestocloud_sec.tpm.hashes import HashName
    from prestocloud_sec.tpm.session import ParameterCipher
    from prestocloud_sec.tpm.transport.aio import AsyncTransport
    from prestocloud_sec.tpm.transport.retry import RetryPolicy
    from prestocloud_sec.wire import BytesLike

__all__ = ["AsyncClient"]

R = TypeVar("R")


class AsyncClient(AsyncMethods, Standing):
    """A TPM, for asyncio; tasks may share a client, and their commands take turns.

    Parameters
    ----------
    transport : AsyncTransport
        The way to the TPM, which the client owns from now on.
    protect, startup, retry, random
        As for `Client`.
    """

    def __init__(
        self,
        transport: AsyncTransport,
        *,
        protect: bool | Protection = False,
        startup: bool = True,
        retry: RetryPolicy | None = None,
        random: Random = secrets.token_bytes,
    ) -> None:
        self._send = AsyncRetrying(transport, retry).transceive
        self.transport = transport
        self.core = Core(startup=startup, random=random)
        self._lock = asyncio.Lock()
        self._ended = False
        self.protect(protect)

    # --- the three levels

    async def raw(self, command: BytesLike) -> bytes:
        """Send the bytes of a command, and return those of the response (see `Client.raw`)."""
        return await self._send(octets(command, "command"))

    async def execute(self, command: Answered[R], sessions: Sessions = None) -> R:
        """Carry out a command and return its response (see `Client.execute`)."""
        return await self.run(self.core.execute(command, listed(sessions)))

    # --- carrying out

    async def run(self, steps: Steps[R], /) -> R:
        """Carry out what takes several commands: a generator that yields commands and is sent the responses."""
        async with self._lock:
            try:
                command = next(steps)
                while True:
                    try:
                        response = await self._send(command)
                    except BaseException as error:
                        command = steps.throw(error)
                    else:
                        command = steps.send(response)
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]

    async def _ask(self, make: Callable[[], Steps[R]]) -> R:
        """Carry out what takes several commands, of a TPM that may have to be started first."""
        return await self.run(self.core.powered(make))

    # --- what is asked of the TPM as a whole

    async def capability(self, capability: TPM_CAP, first: int = 0) -> tuple[Any, ...]:
        """Return all that the TPM lists under a capability (see `Client.capability`)."""
        return await self._ask(lambda: everything(capability, first))

    async def properties(self) -> Properties:
        """Return the properties of the TPM: maker, firmware, limits."""
        return await self._ask(queries.read_properties)

    async def quirks(self) -> tuple[Quirk, ...]:
        """Return what is known of TPMs of this maker and firmware that one does not expect."""
        properties = await self.properties()
        return quirks_of(properties.get(TPM_PT.MANUFACTURER, 0), properties.firmware)

    async def lockout_state(self) -> Lockout:
        """Return where the protection against dictionary attacks stands."""
        return await self._ask(read_lockout)

    # --- handles

    async def persistent(self, handle: int) -> PersistentObject:
        """Return a persistent object (see `Client.persistent`)."""
        return PersistentObject(self, await self._ask(lambda: queries.find_persistent(self.core, handle)))

    async def nv_index(self, handle: int) -> NvIndex:
        """Return an NV index (see `Client.nv_index`)."""
        return NvIndex(self, await self._ask(lambda: queries.nv_index(self.core, handle)))

    async def object(self, handle: int) -> AsyncObject[None]:
        """Return a transient object that is in the TPM (see `Client.object`)."""
        return AsyncObject(self, await self._ask(lambda: queries.find_object(self.core, handle)), None)

    async def start_session(
        self,
        kind: SessionKind = SessionKind.HMAC,
        *,
        hash: HashName = "sha256",
        cipher: ParameterCipher | None = None,
        salt_key: int | None = None,
        bind: int | None = None,
        nonce_size: int | None = None,
    ) -> AsyncSessionHandle[StartAuthSession.Response]:
        """Start a session (see `Client.start_session`)."""
        entity, response = await self._ask(
            lambda: start_session(
                self.core,
                kind,
                hash=hash,
                cipher=cipher,
                salt_key=None if salt_key is None else live(self, salt_key),
                bind=None if bind is None else live(self, bind),
                nonce_size=nonce_size,
            )
        )
        return AsyncSessionHandle(self, entity, response)

    def protect(self, protect: bool | Protection = True) -> None:
        """Say whether commands for which no sessions are given go in sessions (see `Protection`)."""
        self.core.protection = protection_of(protect)

    # --- the end

    @property
    def closed(self) -> bool:
        """Whether the client cannot be used any more: it was closed, or the way to the TPM has ended."""
        return self._ended or self.transport.closed

    async def close(self) -> None:
        """Flush what is left in the TPM, overwrite secrets, and close the transport (see `Client.close`)."""
        if self._ended:
            return
        self._ended = True
        try:
            if not self.transport.closed:
                with contextlib.suppress(PrestoCloudError):
                    await self.run(queries.close_all(self.core))
        finally:
            self.core.end("the client was closed")
            await self.transport.close()

    async def __aenter__(self) -> Self:
        if self.closed:
            raise TpmMisuseError("was closed", where=repr(self), hint="connect again")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        state = ", closed" if self.closed else ""
        protection = "" if self.core.protection is None else f", protect={self.core.protection!r}"
        return f"<AsyncClient of {self.transport.name}{protection}{state}>"
