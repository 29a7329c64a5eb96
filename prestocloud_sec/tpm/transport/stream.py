# SPDX-License-Identifier: Apache-2.0
"""A TPM at the other end of a stream socket, TCP or UNIX.

One thread at a time sends a command whole and waits for the whole response. A response that does not come in time, or
whose wait was interrupted, is *owed*: it is dropped when it comes, and until then commands are refused as busy; so a
response is never taken for that of another command. Whatever else goes wrong closes the transport.

A TPM in software answers sooner than a sleeping thread is woken. So the wait begins with some looks at the socket;
where these do not help, as with slow commands or a single processor, ever more commands go without them.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import select
import socket
import time
from typing import TYPE_CHECKING, NoReturn, TypeAlias

from prestocloud_sec.tpm._given import text
from prestocloud_sec.tpm.errors import (
    TpmMisuseError,
    TpmUnavailableError,
    TransportClosedError,
    TransportProtocolError,
    TransportTimeoutError,
)
from prestocloud_sec.tpm.transport.base import HEADER_BYTES, LIMIT_BYTES, SIZE_AND_CODE, command_of
from prestocloud_sec.tpm.transport.framing import Collector
from prestocloud_sec.tpm.transport.lifetime import BaseTransport
from prestocloud_sec.tpm.transport.timeouts import Timeouts, seconds_of
from prestocloud_sec.wire import shown, whole

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["CONNECT_SECONDS", "Address", "StreamTransport", "address_of", "connect", "written"]

Address: TypeAlias = tuple[str, int] | str
"""Host and TCP port, or the path of a UNIX socket."""

CONNECT_SECONDS = 10.0
"""How long a connection may take unless told otherwise."""

_LATE = "the transport is usable: the late answer will be dropped when it comes, and commands are refused until then"
_GONE = "the transport is closed; whether the TPM carried out the command is not known"
_LOOKS = 40
"""How often to look for a response before sleeping: about ten microseconds, in which emulators answer most commands."""
_LONGEST_PAUSE = 1023
"""How many commands, at most, go without looking after it did not help."""
_unpack = SIZE_AND_CODE.unpack_from


def address_of(address: Address, name: str) -> Address:
    """Return an address if it is one.

    Raises
    ------
    TpmMisuseError
        If it is not.
    """
    if isinstance(address, tuple) and len(address) == 2:
        host, port = text(address[0], f"{name}.host"), whole(address[1], f"{name}.port", 1, 65535, error=TpmMisuseError)
        return host, port
    if isinstance(address, str | os.PathLike):
        path = os.fspath(address)
        if isinstance(path, str) and path and "\0" not in path:
            return path
    raise TpmMisuseError(shown(address), where=name, expected="a host and a port, or the path of a UNIX socket")


def written(address: Address) -> str:
    """Return an address as the text that names a transport has it."""
    return f"path={address}" if isinstance(address, str) else f"host={address[0]},port={address[1]}"


def connect(address: Address, name: str, seconds: float = CONNECT_SECONDS) -> socket.socket:
    """Return a socket that is connected to an address.

    Raises
    ------
    TpmUnavailableError
        If nobody listens there.
    TransportTimeoutError
        If nobody answers in time.
    """
    seconds = seconds_of(seconds, "connect_seconds")
    try:
        if not isinstance(address, str):
            connected = socket.create_connection(address, timeout=seconds)
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connected
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connected.settimeout(seconds)
            connected.connect(address)
        except BaseException:
            connected.close()
            raise
    except TimeoutError as error:
        raise TransportTimeoutError(f"no connection within {seconds:g} s", where=name) from error
    except (OSError, UnicodeError) as error:  # the latter from host names that no resolver takes
        raise TpmUnavailableError(
            f"no connection: {words_of(error)}", where=name, hint="is the emulator running, and is the address its own?"
        ) from error
    return connected


def _milliseconds(seconds: float) -> int:
    return math.ceil(seconds * 1000)


def words_of(error: OSError | UnicodeError) -> str:
    """Return what an error of the system says, without its number."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


class StreamTransport(BaseTransport):
    """A transport over a connected socket that carries bare commands and responses.

    Parameters
    ----------
    connected : socket.socket
        The socket, which the transport owns from now on.
    name : str
        What it leads to.
    timeouts : Timeouts or float, optional
        How long to wait for responses.
    limit : int
        The longest command and response in bytes.
    """

    __slots__ = (
        "_ask",
        "_limit",
        "_milliseconds",
        "_ordinary",
        "_owed",
        "_pause",
        "_pauses",
        "_poll",
        "_ready",
        "_receive",
        "_send",
        "_socket",
        "_timeouts",
    )

    def __init__(
        self,
        connected: socket.socket,
        name: str,
        *,
        timeouts: Timeouts | float | None = None,
        limit: int = LIMIT_BYTES,
    ) -> None:
        try:
            self._timeouts = Timeouts.of(timeouts)
            self._limit = whole(limit, "limit", HEADER_BYTES, 1 << 20, error=TpmMisuseError)
            connected.setblocking(False)
            poll = select.poll()
            poll.register(connected, select.POLLIN)
        except BaseException:
            connected.close()
            raise
        self._socket = connected
        # Looked up once: over a UNIX socket the rest of a command takes ten microseconds.
        self._send = connected.send
        self._poll = poll.poll
        self._receive = connected.recv
        self._milliseconds = {code: _milliseconds(each) for code, each in self._timeouts.by_code.items()}.get
        self._ordinary = _milliseconds(self._timeouts.ordinary)
        self._ask = self._limit + 1  # one more than a response has, so that what does not belong to it is seen
        self._owed: Collector | None = None
        self._pause = 0  # commands that are yet to go without looking
        self._pauses = 0  # how many these were the last time
        self._ready = True
        super().__init__(name)

    def transceive(self, command: BytesLike, /) -> bytes:
        """Send a command and return the response to it (see `Transport.transceive`).

        Raises
        ------
        TpmMisuseError
            If `command` is no command.
        TransportTimeoutError
            If the response does not come in time. The transport is usable; the answer will be dropped when it comes.
        TransportBusyError
            If such an answer is still out. The command was not sent.
        TransportClosedError
            If the other end closed, or this one. The transport is closed.
        TransportProtocolError
            If what comes is no response. The transport is closed.
        """
        if self._lock.locked():
            self._refuse_within("transceive")
        with self._lock:
            if type(command) is not bytes or len(command) < HEADER_BYTES:
                command = command_of(command, self._limit)
            size, code = _unpack(command, 2)
            if not len(command) == size <= self._limit:
                command_of(command, self._limit)  # says what is wrong
            if not self._ready:
                self._settle()
            wait = self._milliseconds(code, self._ordinary)
            self._ready = False
            try:
                sent = self._send(command)
            except BlockingIOError:
                sent = 0
            except BaseException as error:
                self._not_sent(error, wait)
            if sent != size:
                self._send_rest(command, sent, wait)
            try:
                if self._pause:
                    self._pause -= 1
                    is_there: object = self._poll(wait)
                else:
                    is_there = self._comes_soon() or self._poll(wait)
                response = self._receive(self._ask) if is_there else None
            except BaseException as error:
                self._not_received(error)
            if response is None:
                self._late(wait)
            if 9 < len(response) == _unpack(response, 2)[0] < self._ask:
                self._ready = True
                return response
            return self._gather(self._collector(), wait, response)

    def _comes_soon(self) -> bool:
        """Look for a response some times; where there is none, have some commands go without."""
        look = self._poll
        for _ in range(_LOOKS):
            if look(0):
                self._pauses = 0
                return True
        self._pause = self._pauses = min(2 * self._pauses + 1, _LONGEST_PAUSE)
        return False

    @property
    def timeouts(self) -> Timeouts:
        """How long it waits for responses."""
        return self._timeouts

    # What other framings, and asyncio, do otherwise:

    def _outgoing(self, command: bytes) -> bytes:
        """Return what is sent for a command."""
        return command

    def _collector(self) -> Collector:
        """Return what puts the response together."""
        return Collector(self._name, self._limit)

    @property
    def _unfinished(self) -> bool:
        """Whether `_answered` has something to do."""
        return False

    def _answered(self) -> None:
        """Do what is to be done once a response is there."""

    def _send_rest(self, outgoing: bytes, sent: int, wait: int) -> None:
        """Send what the system did not take at once."""
        try:
            self._socket.settimeout(wait / 1000)
            self._socket.sendall(memoryview(outgoing)[sent:])
            self._socket.setblocking(False)
        except BaseException as error:
            self._not_sent(error, wait)

    def _gather(self, collector: Collector, wait: int, chunk: bytes | None = None) -> bytes:
        """Receive a response in parts, of which the first may have come."""
        self._owed = collector
        deadline = time.monotonic() + wait / 1000
        response = None if chunk is None else self._fed(collector, chunk)
        while response is None:
            try:
                left = max(_milliseconds(deadline - time.monotonic()), 0)
                chunk = self._receive(collector.missing) if self._poll(left) else None
            except BaseException as error:
                self._not_received(error)
            if chunk is None:
                self._late(wait)
            response = self._fed(collector, chunk)
        self._owed = None
        self._ready = True
        return response

    def _late(self, wait: int) -> NoReturn:
        """Say that the time is over; the answer is owed."""
        collector = self._owed = self._owed or self._collector()
        raise TransportTimeoutError(
            f"no whole response within {wait / 1000:g} s; {collector.received} bytes have come",
            where=self._name,
            hint=_LATE,
        )

    def _fed(self, collector: Collector, chunk: bytes) -> bytes | None:
        if not chunk:
            self._ended(collector.received)
        try:
            return collector.feed(chunk)
        except TransportProtocolError as error:
            self._shut(f"what came was no response ({error.what})")
            raise

    def _settle(self) -> None:
        """Drop the answer that is owed, if it has come."""
        self._refuse_if_closed()
        collector = self._owed = self._owed or self._collector()
        try:
            while self._fed(collector, self._receive(collector.missing)) is None:
                pass
        except BlockingIOError:
            raise self._busy() from None
        except OSError as error:
            self._broken(error)
        self._owed = None
        self._ready = True

    def _not_sent(self, error: BaseException, wait: int) -> NoReturn:
        """Go on from an error while a command was sent: how much of it has gone is not known."""
        if isinstance(error, TimeoutError):
            self._shut("a command could not be sent in time")
            raise TransportTimeoutError(
                f"the command was not taken within {wait / 1000:g} s", where=self._name, hint=_GONE
            ) from error
        if isinstance(error, OSError):
            self._broken(error)
        self._shut("it was interrupted while it sent a command")
        raise error

    def _not_received(self, error: BaseException) -> NoReturn:
        """Go on from an error while a response was waited for."""
        if isinstance(error, OSError):
            self._broken(error)
        if self._owed is not None and self._owed.received:
            self._shut("it was interrupted in the middle of a response")
        raise error

    def _broken(self, error: OSError) -> NoReturn:
        if self._reason:  # close() was called meanwhile
            self._shut("")
            raise self._closed_error() from error
        gone = error.errno in {errno.ECONNRESET, errno.EPIPE}
        what = "the other end closed the connection" if gone else f"the connection failed: {words_of(error)}"
        self._lost(what, error)

    def _ended(self, received: int) -> NoReturn:
        if self._reason:
            self._shut("")
            raise self._closed_error()
        self._lost(f"the other end closed the connection after {received} bytes of a response", None)

    def _lost(self, what: str, cause: BaseException | None) -> NoReturn:
        what += self._epitaph()
        self._shut(what)
        raise TransportClosedError(what, where=self._name, hint=_GONE) from cause

    def _epitaph(self) -> str:
        """Return what else is known of the end of the other side, to be added to the message."""
        return ""

    def _wake(self) -> None:
        self._ready = False  # who comes in from now on finds out that it is closed; who is in waits for the socket
        if self._lock.locked():
            self._cut()

    def _cut(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def _release(self) -> None:
        self._ready = False
        self._socket.close()
