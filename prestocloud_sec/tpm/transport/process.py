# SPDX-License-Identifier: Apache-2.0
"""The process of a swtpm that was started here: its state, what it writes, and its end."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from prestocloud_sec.tpm.errors import TpmMisuseError, TpmUnavailableError, TransportBusyError
from prestocloud_sec.tpm.transport.stream import words_of
from prestocloud_sec.wire import shown

__all__ = ["PROGRAM", "REST_SECONDS", "SwtpmProcess", "available"]

PROGRAM = "swtpm"
"""What is run unless told otherwise."""

REST_SECONDS = 2.0
"""How long the last command may take, and then how long swtpm may take to end before it is made to."""
_EPITAPH_SECONDS = 0.5
_LOG_BYTES = 4096
_LOG_SHOWN = 200


def available(program: str = PROGRAM) -> bool:
    """Return whether swtpm is here."""
    return shutil.which(program) is not None


def _found(program: str) -> str:
    path = shutil.which(program) if isinstance(program, str) and "\0" not in program else None
    if path is None:
        raise TpmUnavailableError(
            f"there is no program {shown(program)}", where="spawn", hint="on Debian and Ubuntu: apt-get install swtpm"
        )
    return path


def _path(directory: str | os.PathLike[str]) -> str:
    path = os.fspath(directory) if isinstance(directory, str | os.PathLike) else None
    if not isinstance(path, str) or not path or "," in path or "\0" in path:
        raise TpmMisuseError(shown(directory), where="dir", expected="a path without comma, as swtpm takes it")
    return path


class SwtpmProcess:
    """A running swtpm, with the directory of its state and what it has written.

    Parameters
    ----------
    directory : str or path, optional
        The state; a temporary one that goes with the process where none is given.
    program : str
        What to run.
    arguments : sequence of str
        What comes after the options that all have.
    descriptors : sequence of int
        What it inherits.
    """

    __slots__ = ("_log", "_process", "_temporary", "directory")

    def __init__(
        self,
        directory: str | os.PathLike[str] | None,
        program: str,
        arguments: Sequence[str],
        descriptors: Sequence[int] = (),
    ) -> None:
        path = _found(program)
        self._temporary: str | None = None
        try:
            if directory is None:
                # No TemporaryDirectory: its finalizer would run in forked children too, and take the state away.
                self.directory = self._temporary = tempfile.mkdtemp(prefix="swtpm-")
            else:
                self.directory = _path(directory)
                Path(self.directory).mkdir(mode=0o700, parents=True, exist_ok=True)
            self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (end closes it)
        except OSError as error:
            raise TpmUnavailableError(
                f"no state can be kept in {shown(directory)}: {words_of(error)}", where="spawn"
            ) from error
        try:
            self._process = subprocess.Popen(
                [path, "socket", "--tpm2", "--tpmstate", f"dir={self.directory}", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                pass_fds=descriptors,
                start_new_session=True,  # Ctrl-C is for us: the TPM must live until it is put to rest
            )
        except OSError as error:
            self._clean()
            raise TpmUnavailableError(f"{path} cannot be run: {words_of(error)}", where="spawn") from error

    @property
    def persistent(self) -> bool:
        """Whether the state outlives the process."""
        return self._temporary is None

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def has_ended(self) -> bool:
        """Return whether it runs no more."""
        return self._process.poll() is not None

    def ended(self) -> str:
        """Return how it ended, and what it wrote last; empty while it runs."""
        try:
            status = self._process.wait(_EPITAPH_SECONDS)
        except subprocess.TimeoutExpired:
            return ""
        how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        return f"; swtpm {how}{self.last_words()}"

    def last_words(self) -> str:
        """Return the end of what it wrote, for a message."""
        with contextlib.suppress(OSError):
            self._log.seek(max(0, self._log.seek(0, os.SEEK_END) - _LOG_BYTES))
            lines = self._log.read(_LOG_BYTES).decode(errors="replace").split("\n")
            told = " / ".join(line.strip() for line in lines if line.strip() and "disconnected" not in line)
            return f", saying: {told[-_LOG_SHOWN:]}" if told else ""
        return ""

    def end(self) -> None:
        """Wait for it to end, make it end where it does not, and clean up."""
        for number in (0, signal.SIGTERM, signal.SIGKILL):
            if number:
                self._process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(REST_SECONDS)
                break
        self._clean()

    def _clean(self) -> None:
        self._log.close()
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def disown(self) -> None:
        """Forget the process, which is the parent's of this forked one."""
        self._process.returncode = 0
        self._log.close()

    def failure(self) -> TransportBusyError | TpmUnavailableError:
        """Return the error for one that ended as soon as it was started, and clean up."""
        told = self.last_words()
        self.end()
        if "lock" in told.lower():
            return TransportBusyError(
                "another TPM runs with this state", where=self.directory, hint="close it, or end that swtpm"
            )
        return TpmUnavailableError(f"swtpm did not start{told}", where="spawn")
