# SPDX-License-Identifier: Apache-2.0
"""A running swtpm, over TCP or a UNIX socket.

The data channel carries bare commands and responses (swtpm ``src/swtpm/swtpm_io.c``). swtpm serves one data connection
at a time: a second one is accepted by the kernel, but its commands are answered only when the first is closed. What is
no command (locality, power, the state) goes over the control channel, for whose address each such call makes a
connection of its own, so that other programs may use it in between.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prestocloud_sec.tpm._given import instance, octets
from prestocloud_sec.tpm.errors import TpmUnavailableError, TransportRefusedError
from prestocloud_sec.tpm.transport.base import LIMIT_BYTES
from prestocloud_sec.tpm.transport.control import SwtpmControl, locality_of
from prestocloud_sec.tpm.transport.control_numbers import Blob
from prestocloud_sec.tpm.transport.snapshot import Snapshot, enveloped, from_envelope
from prestocloud_sec.tpm.transport.stream import (
    CONNECT_SECONDS,
    Address,
    StreamTransport,
    address_of,
    connect,
    written,
)
from prestocloud_sec.tpm.transport.timeouts import Timeouts

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["HOST", "PORT", "Controlled", "SwtpmTransport"]

HOST, PORT = "127.0.0.1", 2321
"""Where swtpm and the reference simulator listen unless told otherwise; the control channel is at the next port."""


class Controlled(StreamTransport):
    """A data channel with a control channel beside it.

    Parameters
    ----------
    connected : socket.socket
        The data channel.
    name : str
        What it leads to.
    timeouts, limit
        As for `StreamTransport`.
    """

    __slots__ = ()

    def control(self) -> contextlib.AbstractContextManager[SwtpmControl]:
        """Return the control channel, for a ``with`` block.

        Raises
        ------
        TpmUnavailableError
            If no address of a control channel is known.
        """
        raise TpmUnavailableError("no control channel", where=self._name)

    def cancel(self) -> None:
        """Ask for the running command to be given up.

        swtpm looks at its control channel only between commands: the request waits for the command, and cancels
        nothing. It is here for emulators that do hear it.
        """
        with self.control() as control:
            control.cancel()

    def set_locality(self, locality: int) -> None:
        """Set the locality (0 to 4) of all later commands."""
        with self.control() as control:
            control.set_locality(locality_of(locality))

    def power_cycle(self) -> None:
        """Turn the TPM off and on, without warning; it waits for TPM2_Startup then."""
        with self.control() as control:
            control.init()

    def measure_launch(self, data: BytesLike) -> None:
        """Signal a measured launch: PCR 17 to 22 start anew, and PCR 17 is extended with the digest of `data`."""
        raw = octets(data, "data")
        with self.control() as control:
            control.hash_start()
            control.hash_data(raw)
            control.hash_end()

    def snapshot(self) -> Snapshot:
        """Return the state as it is between two commands."""
        with self._lock, self.control() as control:
            return _state_of(control)

    def restore(self, snapshot: Snapshot) -> None:
        """Bring back a state, as `snapshot` returned it here or from ``embedded:``.

        Raises
        ------
        TransportRefusedError
            If swtpm cannot read it; the TPM goes on with the state it had.
        """
        instance(snapshot, Snapshot, "snapshot")
        with self._lock, self.control() as control:
            before = _state_of(control)
            try:
                _run_with(control, snapshot)
            except TransportRefusedError:
                _run_with(control, before)
                raise


def _state_of(control: SwtpmControl) -> Snapshot:
    control.store_volatile()
    return Snapshot(
        from_envelope(control.get_state(Blob.PERMANENT), "permanent state"),
        from_envelope(control.get_state(Blob.VOLATILE), "volatile state"),
    )


def _run_with(control: SwtpmControl, snapshot: Snapshot) -> None:
    control.stop()
    control.set_state(Blob.PERMANENT, enveloped(snapshot.permanent, migration=True))
    control.set_state(Blob.VOLATILE, enveloped(snapshot.volatile, migration=True))
    control.init(delete_volatile=True)


class SwtpmTransport(Controlled):
    """A transport to a swtpm that somebody else has started.

    Parameters
    ----------
    address : tuple of str and int, or str
        Host and port of the data channel, or the path of its UNIX socket.
    control : tuple of str and int, or str, optional
        The same of the control channel. For a host and port, the next port unless told otherwise.
    timeouts : Timeouts or float, optional
        How long to wait for responses.
    limit : int
        The longest command and response in bytes.
    connect_seconds : float
        How long the connection may take.

    Raises
    ------
    TpmMisuseError
        If an argument is of another type, or out of range.
    TpmUnavailableError
        If nobody listens there.
    TransportTimeoutError
        If nobody answers in time.
    """

    __slots__ = ("_control_address",)

    def __init__(
        self,
        address: Address = (HOST, PORT),
        control: Address | None = None,
        *,
        timeouts: Timeouts | float | None = None,
        limit: int = LIMIT_BYTES,
        connect_seconds: float = CONNECT_SECONDS,
    ) -> None:
        address = address_of(address, "address")
        if control is None and not isinstance(address, str) and address[1] < 65535:
            control = (address[0], address[1] + 1)
        self._control_address = None if control is None else address_of(control, "control")
        name = f"swtpm:{written(address)}"
        super().__init__(connect(address, name, connect_seconds), name, timeouts=timeouts, limit=limit)

    @contextlib.contextmanager
    def control(self) -> Iterator[SwtpmControl]:
        """Connect to the control channel, for a ``with`` block.

        Raises
        ------
        TpmUnavailableError
            If its address is not known, or nobody listens there.
        """
        if self._control_address is None:
            raise TpmUnavailableError(
                "no control channel is known", where=self._name, hint="give its address: swtpm:path=...,control=..."
            )
        with SwtpmControl(self._control_address) as channel:
            yield channel
