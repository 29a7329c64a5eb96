# SPDX-License-Identifier: Apache-2.0
"""A TPM in this process: libtpms, called through ctypes.

Several may run at once; each has its state in memory, where it ends with the transport, or in a directory, where the
next one finds it. A command takes as long as it takes: there is no time-out in front of a function call, but another
thread may `cancel`. While one runs, other threads of the interpreter do.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from prestocloud_sec.tpm._given import instance, octets, text
from prestocloud_sec.tpm._secrets import flag
from prestocloud_sec.tpm.errors import TransportRefusedError
from prestocloud_sec.tpm.transport.base import HEADER_BYTES, LIMIT_BYTES, SIZE_AND_CODE, command_of
from prestocloud_sec.tpm.transport.control import locality_of
from prestocloud_sec.tpm.transport.libtpms import PERMANENT, VOLATILE, borrow, find, give_back
from prestocloud_sec.tpm.transport.lifetime import BaseTransport
from prestocloud_sec.tpm.transport.snapshot import Snapshot
from prestocloud_sec.tpm.transport.storage import DirectoryStorage, MemoryStorage, Storage

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["SHUTDOWN_CLEAR", "STARTUP_CLEAR", "EmbeddedTransport"]

STARTUP_CLEAR = bytes.fromhex("80010000000c000001440000")
"""TPM2_Startup(TPM_SU_CLEAR)."""

SHUTDOWN_CLEAR = bytes.fromhex("80010000000c000001450000")
"""TPM2_Shutdown(TPM_SU_CLEAR)."""

_WITH_SESSIONS = 23
"""A command of fewer bytes has no session, and so nothing secret; it may be kept."""

_unpack = SIZE_AND_CODE.unpack_from


class EmbeddedTransport(BaseTransport):
    """A TPM of its own, in this process.

    Parameters
    ----------
    directory : str or path, optional
        Where the state is kept, in the form that swtpm has it; in memory where none is given.
    startup : bool
        Whether TPM2_Startup is sent at once, as the firmware of a computer does.
    library : str, optional
        The libtpms to use; the one that the system's loader finds unless told otherwise.

    Raises
    ------
    TpmUnavailableError
        If there is no libtpms, or the directory cannot be used.
    TransportBusyError
        If another TPM runs with this state.
    TransportRefusedError
        If libtpms cannot read the state.

    Notes
    -----
    A state that is kept is put to rest in order: `close` sends TPM2_Shutdown before it turns the TPM off. (A TPM that
    loses power without that may count it against its dictionary-attack limit.)

    >>> with EmbeddedTransport() as tpm:
    ...     len(tpm.transceive(bytes.fromhex("80010000000c0000017b0010")))
    28
    """

    __slots__ = (
        "_arguments",
        "_cancelling",
        "_checked",
        "_fault",
        "_length",
        "_library",
        "_locality",
        "_process",
        "_response",
        "_running",
        "_storage",
    )

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        *,
        startup: bool = True,
        library: str | None = None,
    ) -> None:
        path = find() if library is None else text(library, "library")
        flag(startup, "startup")
        storage: Storage = MemoryStorage() if directory is None else DirectoryStorage(directory)
        try:
            copy = borrow(path)
            try:
                copy.power_on(storage)
            except BaseException:
                give_back(copy)
                raise
        except BaseException:
            storage.close()
            raise
        # Looked up once: libtpms answers in a microsecond, and this is all that is added to it.
        self._process: Callable[..., int] = copy.process
        self._arguments = copy.arguments
        self._response = copy.response
        self._length = copy.length
        self._fault = copy.fault
        self._library = copy
        self._storage = storage
        self._cancelling = threading.Lock()
        self._checked: bytes | None = None
        self._running = True
        self._locality = 0
        super().__init__("embedded" if directory is None else f"embedded:dir={os.fspath(directory)}")
        if startup:
            try:
                self.transceive(STARTUP_CLEAR)
            except BaseException:
                self.close()
                raise

    def transceive(self, command: BytesLike, /) -> bytes:
        """Have a command carried out and return the response to it (see `Transport.transceive`).

        Raises
        ------
        TpmMisuseError
            If `command` is no command.
        TransportClosedError
            If the transport was closed.
        TransportRefusedError
            If the TPM's state could not be written. The TPM has answered the command with a failure; it is usable.
        """
        if self._lock.locked():
            self._refuse_within("transceive")
        with self._lock:
            if command is self._checked:  # the very same bytes are not looked at twice
                size = len(command)
            else:
                if type(command) is not bytes:
                    command = command_of(command)
                size = len(command)
                if not HEADER_BYTES <= size <= LIMIT_BYTES or _unpack(command, 2)[0] != size:
                    command_of(command)  # says what is wrong
                if size < _WITH_SESSIONS:
                    self._checked = command
                else:  # libtpms decrypts a parameter where it stands; what the caller has is not to change
                    command = command[:2] + command[2:]
            pointer, length, capacity = self._arguments
            result = self._process(pointer, length, capacity, command, size)
            if result or self._fault:
                self._failed(result)
            if (got := self._length.value) < HEADER_BYTES:
                self._failed(result)
            response: bytes = self._response[:got]
            return response

    def cancel(self) -> None:
        """Ask, from another thread, for the running command to be given up.

        libtpms heeds it while it looks for RSA primes, makes ECC signatures and tests itself.
        """
        with self._cancelling:
            self._refuse_if_closed()
            self._library.cancel()

    def set_locality(self, locality: int) -> None:
        """Set the locality (0 to 4, or 32 to 255) of all later commands."""
        number = locality_of(locality)
        with self._lock:
            self._refuse_if_closed()
            self._library.set_locality(number)
            self._locality = number

    def measure_launch(self, data: BytesLike) -> None:
        """Signal a measured launch: PCR 17 to 22 start anew, and PCR 17 is extended with the digest of `data`."""
        raw = octets(data, "data")
        with self._lock:
            self._refuse_if_closed()
            self._library.measure_launch(raw)
            self._library.raise_fault()

    def power_cycle(self) -> None:
        """Turn the TPM off and on, without warning; it waits for TPM2_Startup then. The locality is 0 again."""
        with self._lock:
            self._refuse_if_closed()
            self._library.power_off()
            self._locality = 0
            self._power_on()

    def snapshot(self) -> Snapshot:
        """Return the state as it is between two commands."""
        with self._lock:
            self._refuse_if_closed()
            return self._state()

    def restore(self, snapshot: Snapshot) -> None:
        """Bring back a state, as `snapshot` returned it here or from a swtpm; no TPM2_Startup is needed.

        Raises
        ------
        TransportRefusedError
            If libtpms cannot read it; the TPM goes on with the state it had.
        """
        instance(snapshot, Snapshot, "snapshot")
        with self._lock:
            self._refuse_if_closed()
            before = self._state()
            self._library.power_off()
            try:
                self._library.power_on(self._storage, snapshot.permanent, snapshot.volatile)
            except BaseException:
                self._power_on(before)
                raise
            self._library.set_locality(self._locality)

    def _state(self) -> Snapshot:
        return Snapshot(self._library.state(PERMANENT), self._library.state(VOLATILE))

    def _power_on(self, state: Snapshot | None = None) -> None:
        """Turn the TPM on; where that fails there is none any more, and the transport is closed."""
        try:
            self._library.power_on(self._storage, *((state.permanent, state.volatile) if state else ()))
            self._library.set_locality(self._locality)
        except BaseException as error:
            self._running = False
            self._shut(f"the TPM could not be turned on again ({error})")
            raise

    def _failed(self, result: int) -> NoReturn:
        self._library.raise_fault()
        raise TransportRefusedError(
            f"libtpms could not take the command (result {result:#x}, {self._length.value} bytes of response)",
            number=result,
            where=self._name,
        )

    def _gone(self, *_: object) -> NoReturn:
        raise self._closed_error()

    def _release(self) -> None:
        self._process = self._gone
        with self._cancelling:
            pass  # who asked for a cancellation before has done so: the library can go to another TPM
        if self._running:
            if self._storage.persistent:
                self._library.process(*self._arguments, SHUTDOWN_CLEAR, len(SHUTDOWN_CLEAR))
            self._library.power_off()
            give_back(self._library)
        self._storage.close()

    def _abandon(self) -> None:
        self._process = self._gone
        self._storage.close()
