# SPDX-License-Identifier: Apache-2.0
"""The protocol of the TCG's reference simulator, over two TCP connections.

The data port takes a command number (u32, 8), a locality (u8), a size (u32) and the TPM command, and gives a size, the
response and an acknowledgement (u32, 0). The platform port takes numbers and acknowledges each (TPM 2.0 Library, Part
4, ``TpmTcpProtocol.h`` and ``TcpServer.c``; all big endian). swtpm's data channel understands the first of them, too
(``tpm-send-command-header``).
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from enum import IntEnum
from typing import TYPE_CHECKING, NoReturn

from prestocloud_sec.tpm._given import octets
from prestocloud_sec.tpm.errors import (
    TpmMisuseError,
    TpmUnavailableError,
    TransportClosedError,
    TransportRefusedError,
    TransportTimeoutError,
)
from prestocloud_sec.tpm.transport.base import LIMIT_BYTES, SIZE_AND_CODE, command_of
from prestocloud_sec.tpm.transport.control import locality_of
from prestocloud_sec.tpm.transport.framing import Collector
from prestocloud_sec.tpm.transport.lifetime import CLOSED_HERE, BaseTransport
from prestocloud_sec.tpm.transport.stream import (
    CONNECT_SECONDS,
    StreamTransport,
    address_of,
    connect,
    words_of,
    written,
)
from prestocloud_sec.tpm.transport.swtpm import HOST, PORT
from prestocloud_sec.tpm.transport.timeouts import Timeouts
from prestocloud_sec.wire import shown, whole

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["MssimPlatform", "MssimTransport", "Platform"]

_SEND_COMMAND = struct.Struct(">IBI")  # number, locality, size
_SEND, _SESSION_END = 8, 20
_PLATFORM_SECONDS = 10.0


class Platform(IntEnum):
    """What the platform port takes."""

    POWER_ON = 1
    POWER_OFF = 2
    PHYS_PRES_ON = 3
    PHYS_PRES_OFF = 4
    HASH_START = 5
    HASH_DATA = 6
    HASH_END = 7
    CANCEL_ON = 9
    CANCEL_OFF = 10
    NV_ON = 11
    NV_OFF = 12
    RESET = 17
    RESTART = 18
    SESSION_END = 20
    STOP = 21


def _host_and_port(address: tuple[str, int], name: str) -> tuple[str, int]:
    checked = address_of(address, name)
    if isinstance(checked, str):
        raise TpmMisuseError(shown(checked), where=name, expected="a host and a port")
    return checked


class MssimPlatform(BaseTransport):
    """The platform port of a simulator.

    Parameters
    ----------
    address : tuple of str and int
        Host and port.
    seconds : float
        How long to wait for an acknowledgement.
    connect_seconds : float
        How long the connection may take.

    Raises
    ------
    TpmUnavailableError
        If nobody listens there.
    """

    __slots__ = ("_seconds", "_socket")

    def __init__(
        self,
        address: tuple[str, int] = (HOST, PORT + 1),
        *,
        seconds: float = _PLATFORM_SECONDS,
        connect_seconds: float = CONNECT_SECONDS,
    ) -> None:
        checked = _host_and_port(address, "platform")
        name = f"simulator's platform port at {written(checked)}"
        self._seconds = Timeouts.of(seconds).ordinary
        self._socket = connect(checked, name, connect_seconds)
        super().__init__(name)

    def signal(self, number: Platform, body: bytes = b"") -> None:
        """Send a signal and wait for its acknowledgement.

        Parameters
        ----------
        number : Platform
            Which.
        body : bytes
            What belongs to it.

        Raises
        ------
        TransportRefusedError
            If it is acknowledged with another number than 0.
        TransportClosedError, TransportTimeoutError
            If the way failed; the connection is closed.
        """
        request = struct.pack(">I", whole(number, "number", 0, 0xFFFFFFFF, error=TpmMisuseError)) + octets(body, "body")
        with self._lock:
            self._refuse_if_closed()
            deadline = time.monotonic() + self._seconds
            answer = b""
            try:
                self._socket.settimeout(self._seconds)
                self._socket.sendall(request)
                while len(answer) < 4:
                    self._socket.settimeout(max(deadline - time.monotonic(), 1e-3))
                    chunk = self._socket.recv(4 - len(answer))
                    if not chunk:
                        self._failed(ConnectionResetError("the other end closed the connection"))
                    answer += chunk
            except OSError as error:
                self._failed(error)
            except BaseException:
                self._shut("a signal was interrupted")
                raise
        if any(answer):
            result = int.from_bytes(answer, "big")
            raise TransportRefusedError(
                f"{number!r} was acknowledged with {result:#x}", number=result, where=self._name
            )

    def _failed(self, error: OSError) -> NoReturn:
        if isinstance(error, TimeoutError):
            self._shut("an acknowledgement did not come in time")
            raise TransportTimeoutError(
                f"no acknowledgement within {self._seconds:g} s", where=self._name, hint="the connection is closed"
            ) from error
        closed = self._reason
        self._shut(words_of(error))
        if closed:
            raise self._closed_error() from error
        raise TransportClosedError(words_of(error), where=self._name, hint="the connection is closed") from error

    def _wake(self) -> None:
        if self._lock.locked():
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def _release(self) -> None:
        if self._reason == CLOSED_HERE:
            with contextlib.suppress(OSError):
                self._socket.sendall(struct.pack(">I", _SESSION_END))
        self._socket.close()

    def _abandon(self) -> None:
        self._socket.close()


class MssimTransport(StreamTransport):
    """A transport to a running simulator.

    Parameters
    ----------
    address : tuple of str and int
        Host and port of the data port.
    platform : tuple of str and int, optional
        The same of the platform port; the next port unless told otherwise.
    power_on : bool
        Whether the platform port is used: to turn on power and NV at once, and for `cancel`, `power_cycle` and
        `measure_launch`. The TPM then waits for TPM2_Startup, unless it has had it.
    timeouts : Timeouts or float, optional
        How long to wait for responses.
    limit : int
        The longest command and response in bytes.
    connect_seconds : float
        How long the connections may take.

    Raises
    ------
    TpmUnavailableError
        If nobody listens there.
    """

    __slots__ = ("_cancelled", "_cancelling", "_locality", "_platform")

    def __init__(
        self,
        address: tuple[str, int] = (HOST, PORT),
        platform: tuple[str, int] | None = None,
        *,
        power_on: bool = True,
        timeouts: Timeouts | float | None = None,
        limit: int = LIMIT_BYTES,
        connect_seconds: float = CONNECT_SECONDS,
    ) -> None:
        checked = _host_and_port(address, "address")
        name = f"mssim:{written(checked)}"
        self._locality = 0
        self._cancelled = False
        self._cancelling = threading.Lock()
        self._platform: MssimPlatform | None = None
        if power_on:
            if platform is None:
                platform = (checked[0], checked[1] + 1)
            self._platform = MssimPlatform(platform, connect_seconds=connect_seconds)
        try:
            if self._platform is not None:
                self._platform.signal(Platform.POWER_ON)
                self._platform.signal(Platform.NV_ON)
            super().__init__(connect(checked, name, connect_seconds), name, timeouts=timeouts, limit=limit)
        except BaseException:
            if self._platform is not None:
                self._platform.close()
            raise

    def transceive(self, command: BytesLike, /) -> bytes:
        """Send a command and return the response to it (see `StreamTransport.transceive`)."""
        data = command_of(command, self._limit)
        if self._lock.locked():
            self._refuse_within("transceive")
        with self._lock:
            if not self._ready:
                self._settle()
            wait = self._milliseconds(SIZE_AND_CODE.unpack_from(data, 2)[1], self._ordinary)
            self._ready = False
            self._send_rest(self._outgoing(data), 0, wait)
            response = self._gather(self._collector(), wait)
            if self._cancelled:
                self._answered()
            return response

    def cancel(self) -> None:
        """Ask, from another thread, for the running command to be given up."""
        platform = self._needed("cancel a command")
        with self._cancelling:
            if not self._ready:  # else no command runs, and the next one would be given up
                platform.signal(Platform.CANCEL_ON)
                self._cancelled = True

    def set_locality(self, locality: int) -> None:
        """Set the locality (0 to 4, or 32 to 255) of all later commands."""
        self._locality = locality_of(locality)

    def power_cycle(self) -> None:
        """Turn the TPM off and on, without warning; it waits for TPM2_Startup then."""
        platform = self._needed("turn the power off and on")
        with self._lock:
            self._refuse_if_closed()
            for signal in (Platform.POWER_OFF, Platform.POWER_ON, Platform.NV_ON):
                platform.signal(signal)

    def measure_launch(self, data: BytesLike) -> None:
        """Signal a measured launch: PCR 17 to 22 start anew, and PCR 17 is extended with the digest of `data`."""
        raw = octets(data, "data")
        platform = self._needed("signal a measured launch")
        with self._lock:
            self._refuse_if_closed()
            platform.signal(Platform.HASH_START)
            platform.signal(Platform.HASH_DATA, struct.pack(">I", len(raw)) + raw)
            platform.signal(Platform.HASH_END)

    def _needed(self, what: str) -> MssimPlatform:
        self._refuse_if_closed()
        if self._platform is None:
            raise TpmUnavailableError(f"without the platform port it cannot {what}", where=self._name)
        return self._platform

    def _outgoing(self, command: bytes) -> bytes:
        return _SEND_COMMAND.pack(_SEND, self._locality, len(command)) + command

    def _collector(self) -> Collector:
        return Collector(self._name, self._limit, framed=True)

    @property
    def _unfinished(self) -> bool:
        return self._cancelled

    def _answered(self) -> None:
        with self._cancelling:
            if self._cancelled and self._platform is not None:
                self._cancelled = False
                self._platform.signal(Platform.CANCEL_OFF)

    def _release(self) -> None:
        if self._reason == CLOSED_HERE:
            with contextlib.suppress(OSError):
                self._send(struct.pack(">I", _SESSION_END))
        super()._release()
        if self._platform is not None:
            self._platform.close()

    def _abandon(self) -> None:
        super()._release()
