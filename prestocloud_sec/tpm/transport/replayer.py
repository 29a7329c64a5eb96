# SPDX-License-Identifier: Apache-2.0
"""A TPM that is a recording: it takes the commands that were recorded, in their order, and gives the responses."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Self

from prestocloud_sec.tpm._given import octets
from prestocloud_sec.tpm.errors import ReplayError, TpmFormatError, TpmMisuseError, TpmUnavailableError
from prestocloud_sec.tpm.transport.base import SIZE_AND_CODE, command_of
from prestocloud_sec.tpm.transport.lifetime import BaseTransport
from prestocloud_sec.tpm.transport.stream import words_of
from prestocloud_sec.wire import items_of, shown

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["Replayer"]

_LONGEST_LINE = 1 << 18


class Replayer(BaseTransport):
    """A transport to a recording.

    Parameters
    ----------
    pairs : iterable of (bytes, bytes)
        Commands and responses.
    name : str
        What it is called.

    Raises
    ------
    TpmMisuseError
        If `pairs` are none.

    >>> pair = bytes.fromhex("80010000000c0000017b0002"), bytes.fromhex("80010000000e0000000000021f2e")
    >>> with Replayer([pair]) as recording:
    ...     recording.transceive(pair[0]).hex(), recording.remaining
    ('80010000000e0000000000021f2e', 0)
    """

    __slots__ = ("_next", "pairs")

    pairs: tuple[tuple[bytes, bytes], ...]
    """Commands and responses."""

    def __init__(self, pairs: Iterable[tuple[BytesLike, BytesLike]], *, name: str = "a recording") -> None:
        found = []
        for number, pair in enumerate(items_of(pairs, "pairs", "commands with responses", error=TpmMisuseError)):
            if not isinstance(pair, tuple) or len(pair) != 2:
                raise TpmMisuseError(shown(pair), where=f"pairs[{number}]", expected="a command and a response")
            command, response = pair
            found.append((octets(command, f"pairs[{number}].command"), octets(response, f"pairs[{number}].response")))
        self.pairs = tuple(found)
        self._next = 0
        super().__init__(name)

    @classmethod
    def read(cls, file: str | os.PathLike[str]) -> Self:
        """Return a transport to a recording that a `Recorder` wrote; other members of its lines are passed over.

        Raises
        ------
        TpmMisuseError
            If `file` is no path.
        TpmUnavailableError
            If it cannot be read.
        TpmFormatError
            If a line is not an exchange.
        """
        try:
            path = Path(file)
            with path.open("rb") as lines:
                return cls(_pairs(lines, str(path)), name=f"replay:{path}")
        except (TypeError, ValueError) as error:
            raise TpmMisuseError(f"{shown(file)} is no path", where="Replayer", expected="a str or a path") from error
        except OSError as error:
            raise TpmUnavailableError(f"it cannot be read: {words_of(error)}", where=shown(file)) from error

    @property
    def remaining(self) -> int:
        """How many exchanges have not been replayed yet."""
        return len(self.pairs) - self._next

    def transceive(self, command: BytesLike, /) -> bytes:
        """Return the response to a command, if it is the one that was recorded next.

        Raises
        ------
        ReplayError
            If it is another one, or none is left. The recording stays where it is.
        """
        given = command_of(command, 1 << 20)
        with self._lock:
            self._refuse_if_closed()
            if self._next == len(self.pairs):
                raise ReplayError(
                    f"the recording ends after {len(self.pairs)} commands; {_code(given)} is one more", where=self._name
                )
            recorded, response = self.pairs[self._next]
            if given != recorded:
                raise self._other(given, recorded)
            self._next += 1
            return response

    def _other(self, given: bytes, recorded: bytes) -> ReplayError:
        """Return the error for a command that is not the recorded one. It shows no bytes: they may be secret."""
        pairs = zip(given, recorded, strict=False)
        first = next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(given), len(recorded)))
        return ReplayError(
            f"{_code(given)} of {len(given)} bytes is not what was recorded, from byte {first}",
            where=f"{self._name}, command {self._next + 1} of {len(self.pairs)}",
            expected=f"{_code(recorded)} of {len(recorded)} bytes",
            hint="are nonces and other random bytes the same as then?",
        )


def _code(command: bytes) -> str:
    if len(command) < 10:
        return "a fragment"
    code: int = SIZE_AND_CODE.unpack_from(command, 2)[1]
    return f"command {code:#x}"


def _pairs(lines: Iterable[bytes], name: str) -> Iterator[tuple[bytes, bytes]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{name}:{number}"
        try:
            if len(line) > _LONGEST_LINE:
                raise TpmFormatError(f"a line of {len(line)} bytes", where=where, expected=f"{_LONGEST_LINE} at most")
            entry = json.loads(line)
            yield bytes.fromhex(entry["command_hex"]), bytes.fromhex(entry["response_hex"])
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise TpmFormatError(
                "no exchange", where=where, expected="a JSON object with command_hex and response_hex"
            ) from error
