# SPDX-License-Identifier: Apache-2.0
"""The same transports for asyncio: an `AsyncTransport` is a `Transport` with ``await`` before it.

Sockets are waited for by the event loop itself. What is no socket runs in a thread of its own: a function call, a file,
and also a character device, for Linux holds a lock while the chip works and would make the event loop wait in epoll(7).
The rules are those of the threads: one command at a time, a typed error, usable or closed afterwards. A task that is
cancelled while it waits leaves its answer owed, as a time-out does.
"""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

from prestocloud_sec.tpm._given import instance
from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.tpm.transport.base import (
    SIZE_AND_CODE,
    Cancellable,
    HasLocality,
    HasPower,
    HasSnapshots,
    MeasuresLaunch,
    Transport,
    command_of,
    require,
)
from prestocloud_sec.tpm.transport.lifetime import CLOSED_HERE
from prestocloud_sec.tpm.transport.retry import AGAIN, RetryPolicy
from prestocloud_sec.tpm.transport.stream import StreamTransport
from prestocloud_sec.tpm.transport.uris import open_transport
from prestocloud_sec.wire import shown

if TYPE_CHECKING:
    from prestocloud_sec.tpm.transport.snapshot import Snapshot
    from prestocloud_sec.tpm.transport.timeouts import Timeouts
    from prestocloud_sec.wire import BytesLike

__all__ = ["AsyncAdapter", "AsyncRetrying", "AsyncTransport", "asynchronous", "open_async_transport"]

T = TypeVar("T")


class AsyncTransport(Protocol):
    """A way to a TPM, for asyncio."""

    @property
    def name(self) -> str:
        """What the transport leads to."""

    @property
    def closed(self) -> bool:
        """Whether it can no longer be used."""

    async def transceive(self, command: BytesLike, /) -> bytes:
        """Send a command and return the response to it; errors as of `Transport.transceive`."""

    async def close(self) -> None:
        """Give back what the transport holds; nothing happens where that was done before."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class AsyncAdapter:
    """An `AsyncTransport` around a transport, which it owns. What only some can do runs in a thread.

    Parameters
    ----------
    inner : Transport
        The transport.
    """

    __slots__ = ("_lock", "inner")

    def __init__(self, inner: Transport) -> None:
        self.inner = inner
        self._lock = asyncio.Lock()

    @property
    def name(self) -> str:
        """What the transport leads to."""
        return self.inner.name

    @property
    def closed(self) -> bool:
        """Whether it can no longer be used."""
        return self.inner.closed

    async def transceive(self, command: BytesLike, /) -> bytes:
        """Send a command and return the response to it."""
        return await self._between(functools.partial(self.inner.transceive, command))

    async def _between(self, work: Callable[[], T]) -> T:
        """Do something in a thread, between two commands."""
        async with self._lock:
            return await asyncio.to_thread(work)

    async def cancel(self) -> None:
        """Ask for the running command to be given up (see `Cancellable`)."""
        await asyncio.to_thread(require(self.inner, Cancellable).cancel)

    async def set_locality(self, locality: int) -> None:
        """Set the locality of all later commands (see `HasLocality`)."""
        await self._between(functools.partial(require(self.inner, HasLocality).set_locality, locality))

    async def power_cycle(self) -> None:
        """Turn the TPM off and on (see `HasPower`)."""
        await self._between(require(self.inner, HasPower).power_cycle)

    async def snapshot(self) -> Snapshot:
        """Return the state as it is between two commands (see `HasSnapshots`)."""
        return await self._between(require(self.inner, HasSnapshots).snapshot)

    async def restore(self, snapshot: Snapshot) -> None:
        """Bring back a state (see `HasSnapshots`)."""
        await self._between(functools.partial(require(self.inner, HasSnapshots).restore, snapshot))

    async def measure_launch(self, data: BytesLike) -> None:
        """Signal a measured launch (see `MeasuresLaunch`)."""
        await self._between(functools.partial(require(self.inner, MeasuresLaunch).measure_launch, data))

    async def close(self) -> None:
        """Give back what the transport holds; who waits for a response gets an error."""
        await asyncio.to_thread(self.inner.close)

    async def __aenter__(self) -> Self:
        self.inner.__enter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.inner!r}>"


class _Threaded(AsyncAdapter):
    """A transport whose commands run in a thread of its own.

    A task that is cancelled does not stop its command; the next one waits for that.
    """

    __slots__ = ("_thread",)

    def __init__(self, inner: Transport) -> None:
        super().__init__(inner)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tpm")

    async def _between(self, work: Callable[[], T]) -> T:
        if self.closed:
            return work()  # says so
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def close(self) -> None:
        await super().close()
        await asyncio.to_thread(self._thread.shutdown)  # what still waits for its turn finds the transport closed


class _Stream(AsyncAdapter):
    """A transport over a socket, which the event loop waits for."""

    __slots__ = ("_stream",)

    def __init__(self, stream: StreamTransport) -> None:
        super().__init__(stream)
        self._stream = stream

    async def transceive(self, command: BytesLike, /) -> bytes:
        stream = self._stream
        data = command_of(command, stream._limit)
        loop = asyncio.get_running_loop()
        async with self._lock:
            stream._refuse_if_closed()
            if not stream._ready:
                stream._settle()
            seconds = stream.timeouts.of_command(SIZE_AND_CODE.unpack_from(data, 2)[1])
            wait = math.ceil(seconds * 1000)
            stream._ready = False
            try:
                async with asyncio.timeout(seconds):
                    await loop.sock_sendall(stream._socket, stream._outgoing(data))
            except BaseException as error:
                stream._not_sent(error, wait)
            collector = stream._owed = stream._collector()
            try:
                async with asyncio.timeout(seconds):
                    response = None
                    while response is None:
                        chunk = await loop.sock_recv(stream._socket, collector.missing)
                        response = stream._fed(collector, chunk)
            except BaseException as error:
                if isinstance(error, TimeoutError) and error.errno is None:  # ours, not one of the connection
                    stream._late(wait)
                stream._not_received(error)
            stream._owed = None
            stream._ready = True
            if stream._unfinished:
                await asyncio.to_thread(stream._answered)
            return response

    async def close(self) -> None:
        stream = self._stream
        if self._lock.locked():
            with stream._waking:
                if not stream._released:
                    stream._reason = stream._reason or CLOSED_HERE
                    stream._cut()
        async with self._lock:
            await asyncio.to_thread(stream.close)


def asynchronous(transport: Transport) -> AsyncAdapter:
    """Return an `AsyncTransport` around a transport, which belongs to it from now on.

    Raises
    ------
    TpmMisuseError
        If `transport` is none.
    """
    if isinstance(transport, StreamTransport):
        return _Stream(transport)
    if not callable(getattr(transport, "transceive", None)):
        raise TpmMisuseError(shown(transport), where="asynchronous", expected="a transport")
    return _Threaded(transport)


async def open_async_transport(uri: str | None = None, *, timeouts: Timeouts | float | None = None) -> AsyncAdapter:
    """Open a way to a TPM, as `open_transport` does, without blocking the event loop."""
    return asynchronous(await asyncio.to_thread(open_transport, uri, timeouts=timeouts))


class AsyncRetrying:
    """An `AsyncTransport` that sends a command again when the TPM says so, within bounds (see `Retrying`).

    Parameters
    ----------
    transport : AsyncTransport
        The way to the TPM.
    policy : RetryPolicy, optional
        How often and how long.
    sleep : callable
        Waits for so many seconds.
    """

    __slots__ = ("_sleep", "inner", "policy")

    def __init__(
        self,
        transport: AsyncTransport,
        policy: RetryPolicy | None = None,
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        if not callable(getattr(transport, "transceive", None)):
            raise TpmMisuseError(shown(transport), where="AsyncRetrying", expected="a transport")
        self.inner = transport
        self.policy = RetryPolicy() if policy is None else instance(policy, RetryPolicy, "policy")
        self._sleep = sleep

    @property
    def name(self) -> str:
        """What the wrapped transport leads to."""
        return self.inner.name

    @property
    def closed(self) -> bool:
        """Whether the wrapped transport can no longer be used."""
        return self.inner.closed

    async def transceive(self, command: BytesLike, /) -> bytes:
        """Send a command, again if need be, and return the last response to it."""
        response = await self.inner.transceive(command)
        if response[6:10] in AGAIN:
            raw = command_of(command, 1 << 20)
            return await self.policy.repeat_async(self.inner.transceive, raw, response, self._sleep)
        return response

    async def close(self) -> None:
        """Close the wrapped transport."""
        await self.inner.close()

    async def __aenter__(self) -> Self:
        await self.inner.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()
