# SPDX-License-Identifier: Apache-2.0
"""What every way to a TPM has in common: one command in, one response out.

A `Transport` carries bytes and knows of them only the first ten (TPM 2.0 Library, Part 1, clause 18): tag, size and
code. What only some can do (cancel, change the locality, turn the power off and on, save the whole state) are small
protocols of their own; `require` finds them through wrappers and says in words where they are missing.

What is true of all:

- A command whose size field is not its length is refused before anything is sent.
- A response is exactly as long as it says it is, from 10 bytes to the limit of the transport (4096 unless told
  otherwise). Nothing is allocated because a peer claims to be about to send it.
- Every wait ends. How long it may take depends on the command (`Timeouts`).
- After an error the transport is either usable or closed; `closed` and the error say which. One whose answer did not
  come in time is usable: the late answer is dropped when it comes, and commands are refused as busy until then.
- Threads may share a transport; their commands take turns. `close` may be called at any time, by any thread, and twice.
- A child made by fork has no part in its parent's transports: there they are closed, without harm to the parent.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TypeVar, cast, runtime_checkable

from prestocloud_sec.tpm._given import octets
from prestocloud_sec.tpm.errors import TpmMisuseError, TpmUnavailableError, TransportProtocolError
from prestocloud_sec.wire import shown

if TYPE_CHECKING:
    from prestocloud_sec.tpm.transport.snapshot import Snapshot
    from prestocloud_sec.wire import BytesLike

__all__ = [
    "HEADER_BYTES",
    "LIMIT_BYTES",
    "Cancellable",
    "HasLocality",
    "HasPower",
    "HasSnapshots",
    "MeasuresLaunch",
    "Transport",
    "Wrapper",
    "command_of",
    "require",
    "response_of",
]

HEADER_BYTES = 10
"""Bytes of tag (2), size (4) and code (4) that every command and every response starts with."""

LIMIT_BYTES = 4096
"""The longest command and response unless a transport is told otherwise: the buffer of Linux and of libtpms."""

SIZE_AND_CODE = struct.Struct(">II")
"""Size and code as they stand in a command or response, from its third byte."""


class Transport(Protocol):
    """A way to a TPM."""

    @property
    def name(self) -> str:
        """What the transport leads to, such as ``device:/dev/tpmrm0``."""

    @property
    def closed(self) -> bool:
        """Whether it can no longer be used."""

    def transceive(self, command: BytesLike, /) -> bytes:
        """Send a command and return the response to it.

        Parameters
        ----------
        command : bytes-like
            A whole command: tag, size, code, and what follows.

        Returns
        -------
        bytes
            The whole response, whatever its response code says.

        Raises
        ------
        TpmMisuseError
            If `command` is no bytes, shorter than its header, or not as long as it says.
        TransportError
            If the way to the TPM failed.
        """

    def close(self) -> None:
        """Give back what the transport holds; nothing happens where that was done before."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


@runtime_checkable
class Cancellable(Protocol):
    """Can ask the TPM to give up the command it is working on."""

    def cancel(self) -> None:
        """Ask for it, from another thread than the one that waits; the TPM answers TPM_RC_CANCELED, or as usual."""


@runtime_checkable
class HasLocality(Protocol):
    """Can say from which locality the commands come."""

    def set_locality(self, locality: int) -> None:
        """Set the locality (0 to 4, or 32 to 255) of all later commands."""


@runtime_checkable
class HasPower(Protocol):
    """Can turn the TPM's power off and on again."""

    def power_cycle(self) -> None:
        """Do it without warning; the TPM then waits for TPM2_Startup."""


@runtime_checkable
class HasSnapshots(Protocol):
    """Can save the whole state of the TPM and bring it back."""

    def snapshot(self) -> Snapshot:
        """Return the state as it is between two commands."""

    def restore(self, snapshot: Snapshot) -> None:
        """Bring back a state; the TPM goes on as if nothing had happened since."""


@runtime_checkable
class MeasuresLaunch(Protocol):
    """Can give the signals of a dynamic root of trust (TPM 2.0 Library, Part 1, 34.3; Part 3, clause 22)."""

    def measure_launch(self, data: BytesLike) -> None:
        """Send _TPM_Hash_Start, _TPM_Hash_Data with `data`, and _TPM_Hash_End: PCR 17 to 22 start anew."""


_WORDS: dict[object, str] = {
    Cancellable: "cancel a command",
    HasLocality: "set the locality",
    HasPower: "turn the power off and on",
    HasSnapshots: "save and restore the TPM's state",
    MeasuresLaunch: "signal a measured launch",
}

Capability = TypeVar("Capability")


def require(transport: Transport, capability: Callable[..., Capability]) -> Capability:
    """Return what of a transport has a capability: itself, or what it wraps.

    Parameters
    ----------
    transport : Transport
        Where to look.
    capability : type
        `Cancellable`, `HasLocality`, `HasPower`, `HasSnapshots` or `MeasuresLaunch`.

    Raises
    ------
    TpmUnavailableError
        If the transport cannot do it.
    TpmMisuseError
        If `capability` is none of these.

    >>> from prestocloud_sec.tpm.transport import Replayer
    >>> require(Replayer([]), Cancellable)
    Traceback (most recent call last):
    ...
    prestocloud_sec.tpm.errors.TpmUnavailableError: a recording: this transport cannot cancel a command
    """
    words = _WORDS.get(capability) if isinstance(capability, type) else None
    if words is None:
        raise TpmMisuseError(
            f"{shown(capability)} is no capability",
            where="require",
            expected="Cancellable, HasLocality, HasPower, HasSnapshots or MeasuresLaunch",
        )
    found: object = transport
    while isinstance(found, Wrapper):
        found = found.inner
    if not isinstance(found, cast("type[Capability]", capability)):
        name = getattr(found, "name", type(found).__name__)
        raise TpmUnavailableError(f"this transport cannot {words}", where=name if isinstance(name, str) else None)
    return found


def command_of(command: BytesLike, limit: int = LIMIT_BYTES) -> bytes:
    """Return a command as bytes if it is as long as it says, and can be sent.

    Parameters
    ----------
    command : bytes-like
        A whole command.
    limit : int
        The longest that the transport takes.

    Raises
    ------
    TpmMisuseError
        If it cannot be sent. A TPM waits for the rest of a command that is shorter than it says, and swtpm answers none
        that says it is shorter than its header.
    """
    data = octets(command, "command")
    if len(data) < HEADER_BYTES:
        raise TpmMisuseError(f"{len(data)} bytes", where="command", expected=f"a header of {HEADER_BYTES} bytes")
    size: int = SIZE_AND_CODE.unpack_from(data, 2)[0]
    if size != len(data):
        raise TpmMisuseError(
            f"the size field says {size}", where="command.commandSize (offset 2)", expected=f"{len(data)}, its length"
        )
    if size > limit:
        raise TpmMisuseError(f"{size} bytes", where="command", expected=f"{limit} at most")
    return data


def response_of(response: bytes, where: str, limit: int = LIMIT_BYTES) -> bytes:
    """Return a response if it is exactly as long as it says.

    Raises
    ------
    TransportProtocolError
        If it is not.
    """
    if len(response) < HEADER_BYTES:
        raise TransportProtocolError(
            f"{len(response)} bytes came back", where=where, expected=f"a header of {HEADER_BYTES} bytes"
        )
    size: int = SIZE_AND_CODE.unpack_from(response, 2)[0]
    if size != len(response) or size > limit:
        raise TransportProtocolError(
            f"a response of {len(response)} bytes says it has {size}", where=where, expected=f"{limit} at most"
        )
    return response


def _has(thing: object, name: str) -> bool:
    """Tell whether something has an attribute; one that raises, whatever it is, it does not have."""
    try:
        getattr(thing, name)
    except Exception:
        return False
    return True


class Wrapper:
    """A transport that does something to what passes to and from another one, and closes it when it is closed."""

    __slots__ = ("inner",)

    def __init__(self, inner: Transport) -> None:
        for needed in ("transceive", "close", "name", "closed"):
            if not _has(inner, needed):
                raise TpmMisuseError(
                    f"{shown(inner)} has no {needed}", where=type(self).__name__, expected="a transport"
                )
        self.inner = inner

    @property
    def name(self) -> str:
        """What the wrapped transport leads to."""
        return self.inner.name

    @property
    def closed(self) -> bool:
        """Whether the wrapped transport can no longer be used."""
        return self.inner.closed

    def transceive(self, command: BytesLike, /) -> bytes:
        """Send a command and return the response to it."""
        return self.inner.transceive(command)

    def close(self) -> None:
        """Close the wrapped transport."""
        self.inner.close()

    def __enter__(self) -> Self:
        self.inner.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.inner!r}>"
