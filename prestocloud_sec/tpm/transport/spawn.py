# SPDX-License-Identifier: Apache-2.0
"""A swtpm of one's own: started when the transport is opened, ended when it is closed.

`SpawnedTransport` talks to it over sockets that nobody else has a name of; when this process ends in whatever way,
swtpm sees them close and ends too (its option ``--terminate``). `SwtpmServer` starts one that listens on TCP ports of
the loopback, for programs such as tpm2-tools to share.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from prestocloud_sec.tpm.errors import (
    TpmUnavailableError,
    TransportError,
    TransportTimeoutError,
)
from prestocloud_sec.tpm.transport.base import LIMIT_BYTES
from prestocloud_sec.tpm.transport.control import SwtpmControl
from prestocloud_sec.tpm.transport.embedded import SHUTDOWN_CLEAR
from prestocloud_sec.tpm.transport.process import PROGRAM, REST_SECONDS, SwtpmProcess
from prestocloud_sec.tpm.transport.swtpm import HOST, Controlled, SwtpmTransport
from prestocloud_sec.tpm.transport.timeouts import Timeouts

__all__ = ["SpawnedTransport", "SwtpmServer"]

_START_SECONDS = 10.0
_POLL_SECONDS = 0.005
_TRIES = 20


class SpawnedTransport(Controlled):
    """A transport to a swtpm that is started here and ends with it.

    Parameters
    ----------
    directory : str or path, optional
        Where the state is kept; in a temporary directory, that ends with the transport, where none is given.
    startup : bool
        Whether TPM2_Startup is sent at once, as the firmware of a computer does.
    program : str
        What to run.
    timeouts : Timeouts or float, optional
        How long to wait for responses.
    limit : int
        The longest command and response in bytes.

    Raises
    ------
    TpmUnavailableError
        If there is no swtpm, or it does not start.
    TransportBusyError
        If another TPM runs with this state.

    Notes
    -----
    A state that is kept is put to rest in order: `close` sends TPM2_Shutdown before it ends swtpm.
    """

    __slots__ = ("_child", "_control")

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        *,
        startup: bool = True,
        program: str = PROGRAM,
        timeouts: Timeouts | float | None = None,
        limit: int = LIMIT_BYTES,
    ) -> None:
        timeouts = Timeouts.of(timeouts)
        (ours, its), (our_control, its_control) = socket.socketpair(), socket.socketpair()
        try:
            with its, its_control:
                self._child = SwtpmProcess(
                    directory,
                    program,
                    [
                        *("--fd", str(its.fileno())),
                        *("--ctrl", f"type=unixio,clientfd={its_control.fileno()}"),
                        *("--flags", f"not-need-init,startup-{'clear' if startup else 'none'}"),
                        "--terminate",
                    ],
                    (its.fileno(), its_control.fileno()),
                )
        except BaseException:
            ours.close()
            our_control.close()
            raise
        self._control = SwtpmControl(our_control)
        try:
            self._control.capabilities()  # answers once the TPM runs
        except BaseException as error:
            ours.close()
            self._control.close()
            failed = self._child.failure()
            raise failed if isinstance(error, TransportError) else error from None
        name = "spawn" if directory is None else f"spawn:dir={self._child.directory}"
        try:
            super().__init__(ours, name, timeouts=timeouts, limit=limit)
        except BaseException:
            self._control.close()
            self._child.end()
            raise

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._child.pid

    @contextlib.contextmanager
    def control(self) -> Iterator[SwtpmControl]:
        """Return the control channel, for a ``with`` block; it stays open."""
        self._refuse_if_closed()
        yield self._control

    def _epitaph(self) -> str:
        return self._child.ended()

    def _release(self) -> None:
        if self._child.persistent and self._owed is None:
            with contextlib.suppress(OSError):
                self._socket.settimeout(REST_SECONDS)
                self._socket.sendall(SHUTDOWN_CLEAR)
                self._socket.recv(LIMIT_BYTES)
        super()._release()
        self._control.close()
        self._child.end()

    def _abandon(self) -> None:
        super()._release()
        self._child.disown()


class SwtpmServer:
    """A swtpm that listens on two neighbouring TCP ports of the loopback, for several programs in turn.

    Parameters
    ----------
    directory : str or path, optional
        Where the state is kept; in a temporary directory where none is given.
    startup : bool
        Whether TPM2_Startup is sent at once.
    program : str
        What to run.

    Raises
    ------
    TpmUnavailableError
        If there is no swtpm, or it does not start.
    TransportBusyError
        If another TPM runs with this state.

    Notes
    -----
    swtpm serves one data connection at a time: close a transport before another program connects.
    """

    __slots__ = ("_child", "address", "control_address")

    address: tuple[str, int]
    """Host and port of the data channel."""
    control_address: tuple[str, int]
    """Host and port of the control channel."""

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        *,
        startup: bool = True,
        program: str = PROGRAM,
    ) -> None:
        for _ in range(_TRIES):
            port = _free_pair()
            child = SwtpmProcess(
                directory,
                program,
                [
                    *("--server", f"type=tcp,port={port},bindaddr={HOST}"),
                    *("--ctrl", f"type=tcp,port={port + 1},bindaddr={HOST}"),
                    *("--flags", f"not-need-init,startup-{'clear' if startup else 'none'}"),
                ],
            )
            try:
                running = _answers((HOST, port + 1), child)
            except BaseException:
                child.end()
                raise
            if running:
                self._child: SwtpmProcess | None = child
                self.address, self.control_address = (HOST, port), (HOST, port + 1)
                return
            failed = child.failure()
            if "address" not in failed.what.lower():  # bind: somebody was quicker
                break
        raise failed

    @property
    def uri(self) -> str:
        """The text that opens a transport to it."""
        return f"swtpm:host={self.address[0]},port={self.address[1]}"

    def open(self, *, timeouts: Timeouts | float | None = None) -> SwtpmTransport:
        """Return a transport to it."""
        return SwtpmTransport(self.address, self.control_address, timeouts=timeouts)

    def close(self) -> None:
        """End it; nothing happens where that was done before."""
        child, self._child = self._child, None
        if child is None:
            return
        try:
            with SwtpmControl(self.control_address, seconds=REST_SECONDS) as control:
                control.shutdown()
        except (TransportError, TpmUnavailableError):
            pass  # it has ended, or is at work: it is made to end
        child.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_child", None) is not None:
            with contextlib.suppress(Exception):
                self.close()

    def __repr__(self) -> str:
        return f"<SwtpmServer {self.uri}{', ended' if self._child is None else ''}>"


def _free_pair() -> int:
    """Return a port of the loopback that is free, and the next one too."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind((HOST, 0))
            port: int = first.getsockname()[1]
            with contextlib.suppress(OSError, OverflowError):
                second.bind((HOST, port + 1))
                return port


def _answers(address: tuple[str, int], child: SwtpmProcess) -> bool:
    """Wait until a swtpm answers on its control channel; False where it ends instead."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        try:
            with SwtpmControl(address, seconds=_START_SECONDS) as control:
                control.capabilities()
        except (TpmUnavailableError, TransportError):
            if child.has_ended():
                return False
            time.sleep(_POLL_SECONDS)
        else:
            return True
    raise TransportTimeoutError(f"swtpm did not start within {_START_SECONDS:g} s", where="spawn")
