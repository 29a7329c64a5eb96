# SPDX-License-Identifier: Apache-2.0
"""Where a TPM that runs in this process keeps its state: in memory, or in a directory as swtpm has it.

A directory holds ``tpm2-00.permall`` in swtpm's envelope and a file ``.lock`` (``src/swtpm/swtpm_nvstore_dir.c`` of
swtpm): swtpm can go on with a TPM that ran here, and the other way round, and neither starts while the other runs.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
from pathlib import Path
from typing import Protocol

from prestocloud_sec.tpm.errors import TpmMisuseError, TpmUnavailableError, TransportBusyError, TransportRefusedError
from prestocloud_sec.tpm.transport.snapshot import enveloped, from_envelope
from prestocloud_sec.tpm.transport.stream import words_of
from prestocloud_sec.wire import shown

__all__ = ["DirectoryStorage", "MemoryStorage", "Storage"]

_LARGEST = 1 << 24
_FLOCK = struct.Struct("hhqqi4x")  # struct flock of 64-bit Linux: l_type, l_whence, l_start, l_len, l_pid


class Storage(Protocol):
    """Holds the permanent state of one TPM."""

    persistent: bool
    """Whether the state outlives the process."""

    def load(self) -> bytes | None:
        """Return the state; None where there is none yet."""

    def store(self, state: bytes) -> None:
        """Keep a state instead of the one before; after an error that one is still there."""

    def close(self) -> None:
        """Give back what is held."""


class MemoryStorage:
    """State that ends with the process."""

    __slots__ = ("_state", "persistent")

    def __init__(self) -> None:
        self.persistent = False
        self._state: bytes | None = None

    def load(self) -> bytes | None:
        """Return the state; None where there is none yet."""
        return self._state

    def store(self, state: bytes) -> None:
        """Keep a state instead of the one before."""
        self._state = state

    def close(self) -> None:
        """Forget the state."""
        self._state = None


class DirectoryStorage:
    """State in files, written through to the disk before the TPM goes on.

    Parameters
    ----------
    directory : str or path
        The directory; it is made where there is none, for this user alone.

    Raises
    ------
    TransportBusyError
        If another TPM, here or in a swtpm, runs with this state.
    TpmUnavailableError
        If the directory cannot be made or written.
    """

    __slots__ = ("_lock", "directory", "persistent")

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        try:
            self.directory = Path(directory)
            os.fsencode(self.directory)
        except (TypeError, ValueError) as error:  # also text that no file system takes
            raise TpmMisuseError(f"{shown(directory)} is no path", where="dir", expected="a str or a path") from error
        if "\0" in str(self.directory) or not str(directory):
            raise TpmMisuseError(f"{shown(directory)} is no path", where="dir", expected="a str or a path")
        self.persistent = True
        self._lock = -1
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(self.directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
            # A lock of the open file, not of the process: it holds against TPMs of this process too.
            fcntl.fcntl(self._lock, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
        except OSError as error:
            self.close()
            if error.errno in {errno.EACCES, errno.EAGAIN} and self._locked_by_another(error):
                raise TransportBusyError(
                    "another TPM runs with this state", where=str(self.directory), hint="close it, or end that swtpm"
                ) from error
            raise TpmUnavailableError(
                f"no state can be kept here: {words_of(error)}", where=str(self.directory)
            ) from error

    @staticmethod
    def _locked_by_another(error: OSError) -> bool:
        return error.filename is None  # fcntl(2) names no file; open(2) and mkdir(2), which may give EACCES too, do

    def load(self) -> bytes | None:
        """Return the state; None where there is none yet.

        Raises
        ------
        TpmFormatError
            If the file is none of swtpm's, or encrypted.
        TransportRefusedError
            If it cannot be read.
        """
        try:
            with self._file.open("rb") as file:
                data = file.read(_LARGEST)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._error(error) from error
        return from_envelope(data, str(self._file))

    def store(self, state: bytes) -> None:
        """Keep a state instead of the one before: the file is replaced once the new one is on the disk.

        Raises
        ------
        TransportRefusedError
            If it cannot be written.
        """
        new = self.directory / "TMP2-00.permall"
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(new, flags, 0o640), "wb") as file:
                file.write(enveloped(state))
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._file)
            self._sync()
        except OSError as error:
            with contextlib.suppress(OSError):
                new.unlink(missing_ok=True)
            raise self._error(error) from error

    def close(self) -> None:
        """Let others have the state."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    @property
    def _file(self) -> Path:
        return self.directory / "tpm2-00.permall"

    def _sync(self) -> None:
        """Have the new name of the file on the disk too."""
        descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _error(self, error: OSError) -> TransportRefusedError:
        return TransportRefusedError(
            f"the TPM's state cannot be read or written: {words_of(error)}",
            number=error.errno or 0,
            where=str(self._file),
        )
