# SPDX-License-Identifier: Apache-2.0
"""Ways to a TPM that do to commands and responses what tests want."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from prestocloud_sec.tpm.codec.frame import CommandFrame
from prestocloud_sec.tpm.errors import TransportClosedError
from prestocloud_sec.tpm.transport.base import Transport, Wrapper

REFUSED = bytes.fromhex("8001 0000000a 00000143")
"""TPM_RC_COMMAND_CODE."""


class Answering:
    """No TPM at all: a function answers."""

    name = "answering"

    def __init__(self, answer: Callable[[bytes], bytes] = lambda _: REFUSED) -> None:
        self.answer = answer
        self.sent: list[bytes] = []
        self.closed = False

    def transceive(self, command: bytes, /) -> bytes:
        if self.closed:
            raise TransportClosedError("it is closed", where=self.name)
        self.sent.append(bytes(command))
        return self.answer(bytes(command))

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> Answering:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class AsyncAnswering:
    """The same, to be awaited."""

    name = "answering"

    def __init__(self, inner: Answering) -> None:
        self.inner = inner

    @property
    def closed(self) -> bool:
        return self.inner.closed

    async def transceive(self, command: bytes, /) -> bytes:
        return self.inner.transceive(command)

    async def close(self) -> None:
        self.inner.close()


class Listening(Wrapper):
    """A TPM, and somebody who sees everything that passes, and changes what he wants."""

    def __init__(self, inner: Transport) -> None:
        super().__init__(inner)
        self.passed: list[tuple[bytes, bytes]] = []
        self.before: Callable[[bytes], bytes] = lambda command: command
        self.after: Callable[[bytes], bytes] = lambda response: response

    def transceive(self, command: bytes, /) -> bytes:
        response = self.after(self.inner.transceive(self.before(bytes(command))))
        self.passed.append((bytes(command), response))
        return response

    @property
    def codes(self) -> list[int]:
        """The codes of the commands that have passed."""
        return [int.from_bytes(command[6:10], "big") for command, _ in self.passed]

    @property
    def all_bytes(self) -> bytes:
        """Everything that has passed."""
        return b"".join(command + response for command, response in self.passed)


def parameters(command: bytes) -> bytes:
    """Return the parameter area of a command."""
    return CommandFrame.decode(command).parameters
