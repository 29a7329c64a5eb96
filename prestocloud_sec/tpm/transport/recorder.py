# SPDX-License-Identifier: Apache-2.0
"""Write down what passes to and from a TPM: one JSON object a line, ``command_hex`` and ``response_hex``.

A recording has whatever the commands have, passwords and sealed secrets in the clear among it: treat it as a secret.
"""

from __future__ import annotations

import io
import json
import os
import threading
from typing import TYPE_CHECKING

from prestocloud_sec.tpm.errors import TpmMisuseError, TpmUnavailableError
from prestocloud_sec.tpm.transport.base import Transport, Wrapper, command_of
from prestocloud_sec.tpm.transport.stream import words_of
from prestocloud_sec.wire import shown

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["Recorder"]


class Recorder(Wrapper):
    """A transport that writes down every exchange with the one it wraps.

    A command that fails on the way is not written: a recording has what a TPM answered. Closing the recorder closes
    both the transport and the file.

    Parameters
    ----------
    transport : Transport
        The way to the TPM.
    file : str or path
        Where to write; a file that exists is written anew, and none but this user may read a new one.

    Raises
    ------
    TpmMisuseError
        If an argument is of another type.
    TpmUnavailableError
        If the file cannot be written.
    """

    __slots__ = ("_file", "_lock", "path")

    def __init__(self, transport: Transport, file: str | os.PathLike[str]) -> None:
        super().__init__(transport)
        try:
            self.path = os.fspath(file)
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        except (TypeError, ValueError) as error:
            raise TpmMisuseError(f"{shown(file)} is no path", where="Recorder", expected="a str or a path") from error
        except OSError as error:
            raise TpmUnavailableError(f"it cannot be written: {words_of(error)}", where=shown(file)) from error
        self._file = io.FileIO(descriptor, "w")  # nothing is held back: what happened is on record when it has happened
        self._lock = threading.Lock()

    def transceive(self, command: BytesLike, /) -> bytes:
        """Send a command, write down what it was and what came back, and return that.

        Raises
        ------
        TpmUnavailableError
            If it cannot be written down; the TPM has carried out the command.
        """
        sent = command_of(command, 1 << 20)  # the limit is the wrapped transport's affair
        with self._lock:  # the order in the file is that in which the TPM saw them
            response = self.inner.transceive(sent)
            try:
                line = json.dumps({"command_hex": sent.hex(), "response_hex": response.hex()}).encode() + b"\n"
                written = self._file.write(line)
            except (OSError, ValueError) as error:  # ValueError: the file was closed
                what = words_of(error) if isinstance(error, OSError) else "the recorder is closed"
                raise TpmUnavailableError(f"the exchange cannot be written down: {what}", where=self.path) from error
            if written != len(line):
                raise TpmUnavailableError("the exchange could be written down in part only", where=self.path)
        return response

    def close(self) -> None:
        """Close the transport and the file."""
        try:
            self.inner.close()
        finally:
            self._file.close()
