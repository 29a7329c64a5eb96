# SPDX-License-Identifier: Apache-2.0
"""swtpm's control channel: power, locality, the signals of a measured launch, the state as blobs.

A request is a command (u32) and what belongs to it, a reply a result (u32, 0 where it was done) and what belongs to
that, all big endian (swtpm ``include/swtpm/tpm_ioctl.h``, ``src/swtpm/ctrlchannel.c``).

swtpm serves one control connection at a time, and in the same thread that carries out TPM commands. So a second
`SwtpmControl` waits until the first is closed, and every request waits until a running TPM command is done: `cancel` is
accepted, but cancels nothing that runs (swtpm 0.7 to 0.10).
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import time
from typing import TYPE_CHECKING, Any, NoReturn

from prestocloud_sec.tpm._given import octets
from prestocloud_sec.tpm.errors import (
    TpmMisuseError,
    TransportClosedError,
    TransportProtocolError,
    TransportRefusedError,
    TransportTimeoutError,
)
from prestocloud_sec.tpm.transport.control_numbers import RESULTS, Blob, Control, ControlCapability
from prestocloud_sec.tpm.transport.lifetime import BaseTransport
from prestocloud_sec.tpm.transport.stream import (
    CONNECT_SECONDS,
    Address,
    address_of,
    connect,
    words_of,
    written,
)
from prestocloud_sec.tpm.transport.timeouts import seconds_of
from prestocloud_sec.wire import whole

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["SwtpmControl", "locality_of"]

CONTROL_SECONDS = 60.0
"""How long a reply may take unless told otherwise; a TPM command that runs meanwhile has to end first."""

_LONGEST_STATE = 1 << 22
_HASH_CHUNK = 4096


def locality_of(locality: int, most: int = 255) -> int:
    """Return a locality if it is one (0 to 4, and 32 to `most`).

    Raises
    ------
    TpmMisuseError
        If it is not.
    """
    number = whole(locality, "locality", 0, most, error=TpmMisuseError)
    if 4 < number < 32:
        raise TpmMisuseError(str(number), where="locality", expected="0 to 4, or 32 to 255 (TPMA_LOCALITY)")
    return number


class SwtpmControl(BaseTransport):
    """The control channel of a running swtpm.

    Every method raises `TransportRefusedError` where swtpm refuses (its `number` is the result), and
    `TransportTimeoutError` and `TransportClosedError` as a transport does; after these two the connection is closed.

    Parameters
    ----------
    address : tuple of str and int, or str
        Host and port, or path of the UNIX socket, or a connected socket, which the object owns from now on.
    seconds : float
        How long to wait for a reply.
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
        address: Address | socket.socket,
        *,
        seconds: float = CONTROL_SECONDS,
        connect_seconds: float = CONNECT_SECONDS,
    ) -> None:
        self._seconds = seconds_of(seconds, "seconds")
        if isinstance(address, socket.socket):
            self._socket, name = address, "swtpm's control channel"
        else:
            address = address_of(address, "control")
            name = f"swtpm's control channel at {written(address)}"
            self._socket = connect(address, name, connect_seconds)
        super().__init__(name)

    def capabilities(self) -> ControlCapability:
        """Return what this swtpm's control channel can do."""
        return ControlCapability(self._call(Control.GET_CAPABILITY, answer=">I")[0])

    def init(self, *, delete_volatile: bool = False) -> None:
        """Turn the TPM off and on; it waits for TPM2_Startup then.

        Parameters
        ----------
        delete_volatile : bool
            Whether a stored volatile state is deleted once it was read.
        """
        self._call(Control.INIT, struct.pack(">I", bool(delete_volatile)))

    def stop(self) -> None:
        """Turn the TPM off. Its commands are answered with TPM_RC_FAILURE until `init`."""
        self._call(Control.STOP)

    def shutdown(self) -> None:
        """End swtpm."""
        self._call(Control.SHUTDOWN)

    def tpm_established(self) -> bool:
        """Return the bit that a measured launch sets."""
        return bool(self._call(Control.GET_TPMESTABLISHED, answer=">Bxxx")[0])

    def reset_tpm_established(self, locality: int) -> None:
        """Clear that bit, as from a locality; 3 and 4 may."""
        self._call(Control.RESET_TPMESTABLISHED, bytes([locality_of(locality)]))

    def set_locality(self, locality: int) -> None:
        """Set the locality (0 to 4) of all later TPM commands."""
        self._call(Control.SET_LOCALITY, bytes([locality_of(locality)]))

    def hash_start(self) -> None:
        """Give the signal _TPM_Hash_Start: PCR 17 to 22 start anew."""
        self._call(Control.HASH_START)

    def hash_data(self, data: BytesLike) -> None:
        """Give the signal _TPM_Hash_Data."""
        raw = octets(data, "data")
        for start in range(0, len(raw), _HASH_CHUNK):
            chunk = raw[start : start + _HASH_CHUNK]
            self._call(Control.HASH_DATA, struct.pack(">I", len(chunk)) + chunk)

    def hash_end(self) -> None:
        """Give the signal _TPM_Hash_End: PCR 17 is extended with the digest of the data."""
        self._call(Control.HASH_END)

    def cancel(self) -> None:
        """Ask for the running TPM command to be given up; swtpm hears it only when none runs any more."""
        self._call(Control.CANCEL_TPM_CMD)

    def store_volatile(self) -> None:
        """Have swtpm write the volatile state beside the permanent one, for the next `init` to read."""
        self._call(Control.STORE_VOLATILE)

    def get_state(self, blob: Blob, *, decrypted: bool = True) -> bytes:
        """Return a part of the TPM's state in swtpm's envelope; refused with 0x800 where there is none.

        Parameters
        ----------
        blob : Blob
            Which part.
        decrypted : bool
            Whether to ask for it in the clear, where swtpm has a key for its files.
        """
        kind = whole(blob, "blob", 1, 3, error=TpmMisuseError)
        state = b""
        while True:
            body = struct.pack(">III", bool(decrypted), kind, len(state))
            with self._lock:
                self._refuse_if_closed()
                _, total, size = self._exchange(Control.GET_STATEBLOB, body, ">III")
                if total > _LONGEST_STATE or size > total - len(state):
                    self._absurd(f"a state of {total} bytes, of which {size} after {len(state)}")
                state += self._exactly(size, time.monotonic() + self._seconds)
            if len(state) == total:
                return state
            if not size:
                self._absurd(f"a state of {total} bytes of which only {len(state)} come")

    def set_state(self, blob: Blob, state: BytesLike, *, encrypted: bool = False) -> None:
        """Hand swtpm a part of a TPM's state, in its envelope; the TPM must be stopped, and runs with it after `init`.

        Parameters
        ----------
        blob : Blob
            Which part; the permanent one comes first.
        state : bytes-like
            What `get_state` returned.
        encrypted : bool
            Whether it is encrypted with the key that this swtpm has for its files.
        """
        raw = octets(state, "state", most=_LONGEST_STATE)
        kind = whole(blob, "blob", 1, 3, error=TpmMisuseError)
        self._call(Control.SET_STATEBLOB, struct.pack(">III", 2 * bool(encrypted), kind, len(raw)) + raw)

    def config(self) -> int:
        """Return which keys are set: bit 0, one for files, bit 1, one for migration."""
        return int(self._call(Control.GET_CONFIG, answer=">I")[0])

    def buffer_size(self, size: int = 0) -> tuple[int, int, int]:
        """Set the longest command and response (the TPM must be stopped) or, with 0, ask for it.

        Returns
        -------
        tuple of int
            Bytes now, least, most.
        """
        wanted = whole(size, "size", 0, 0xFFFFFFFF, error=TpmMisuseError)
        now, least, most = self._call(Control.SET_BUFFERSIZE, struct.pack(">I", wanted), ">III")
        return now, least, most

    def info(self, flags: int = 7) -> dict[str, Any]:
        """Return what libtpms tells of itself: by default the specification, the attributes and the key sizes."""
        body = struct.pack(">QII", whole(flags, "flags", 0, (1 << 64) - 1, error=TpmMisuseError), 0, 0)
        with self._lock:
            self._refuse_if_closed()
            total, size = self._exchange(Control.GET_INFO, body, ">II")
            if size > _LONGEST_STATE or size > total:
                self._absurd(f"{total} bytes of information, of which {size}")
            told = self._exactly(size, time.monotonic() + self._seconds)
        try:
            found = json.loads(told.rstrip(b"\0"))
        except ValueError:  # UnicodeDecodeError and JSONDecodeError are
            found = None
        if not isinstance(found, dict):
            self._absurd(f"{size} bytes of information that are no JSON object")
        return found

    def lock_storage(self, retries: int = 0) -> None:
        """Lock the state against other processes (swtpm 0.8 and later), trying again every 10 ms."""
        self._call(Control.LOCK_STORAGE, struct.pack(">I", whole(retries, "retries", 0, 1 << 20, error=TpmMisuseError)))

    def set_data_fd(self, connected: socket.socket) -> None:
        """Give swtpm the socket to take TPM commands from; over a UNIX socket, and where it has none yet."""
        if not isinstance(connected, socket.socket) or self._socket.family != socket.AF_UNIX:
            raise TpmMisuseError(
                "no descriptor can be passed", where=self.name, expected="a socket, and a UNIX socket to pass it over"
            )
        self._call(Control.SET_DATAFD, descriptor=connected.fileno())

    # --- The exchange ---------------------------------------------------------------------------------------------

    def _call(
        self, command: Control, body: bytes = b"", answer: str = ">", *, descriptor: int | None = None
    ) -> tuple[Any, ...]:
        with self._lock:
            self._refuse_if_closed()
            return self._exchange(command, body, answer, descriptor)

    def _exchange(self, command: Control, body: bytes, answer: str, descriptor: int | None = None) -> tuple[Any, ...]:
        """Send a request and return the fields of the reply, without the result."""
        deadline = time.monotonic() + self._seconds
        try:
            self._socket.settimeout(self._seconds)
            request = struct.pack(">I", command) + body
            if descriptor is None:
                self._socket.sendall(request)
            else:
                socket.send_fds(self._socket, [request], [descriptor])
        except BaseException as error:
            self._failed(error)
        result = int.from_bytes(self._exactly(4, deadline), "big")
        if result:
            self._drain()
            raise TransportRefusedError(
                f"{command.name} was refused with {result:#x}: {RESULTS.get(result, 'a result that has no name')}",
                number=result,
                where=self._name,
            )
        layout = struct.Struct(answer)
        return layout.unpack(self._exactly(layout.size, deadline))

    def _exactly(self, size: int, deadline: float) -> bytes:
        """Receive so many bytes."""
        data = bytearray()
        while len(data) < size:
            try:
                self._socket.settimeout(max(deadline - time.monotonic(), 1e-3))
                chunk = self._socket.recv(min(size - len(data), 1 << 16))
            except BaseException as error:
                self._failed(error)
            if not chunk:
                self._failed(ConnectionResetError("the other end closed the connection"))
            data += chunk
        return bytes(data)

    def _drain(self) -> None:
        """Read what some refusals have after the result."""
        self._socket.settimeout(0)
        with contextlib.suppress(OSError):
            self._socket.recv(64)

    def _absurd(self, what: str) -> NoReturn:
        self._shut(f"what came was no reply ({what})")
        raise TransportProtocolError(what, where=self._name, hint="the connection is closed")

    def _failed(self, error: BaseException) -> NoReturn:
        """Go on from an error in an exchange: where the next reply begins is no longer known."""
        closed = self._reason
        what = words_of(error) if isinstance(error, OSError) else "an exchange was interrupted"
        self._shut(what)
        if closed:
            raise self._closed_error() from error
        if isinstance(error, TimeoutError):
            raise TransportTimeoutError(
                f"no reply within {self._seconds:g} s",
                where=self._name,
                hint="the connection is closed; swtpm serves one at a time, and none while a TPM command runs",
            ) from error
        if isinstance(error, OSError):
            raise TransportClosedError(what, where=self._name, hint="the connection is closed") from error
        raise error

    def _wake(self) -> None:
        if self._lock.locked():
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def _release(self) -> None:
        self._socket.close()
