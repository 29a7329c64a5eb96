# SPDX-License-Identifier: Apache-2.0
"""What the methods of clients stand on: carrying out a command, and handle objects for what it has made.

The methods themselves (`prestocloud_sec.tpm.client.methods`, and for asyncio `async_methods`) are one for each command.
Their text is written by ``scripts/tpm_client_methods.py`` from the declarations, and a test keeps it equal to them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, TypeVar

from prestocloud_sec.tpm.client.core import Answered, Core, Sessions
from prestocloud_sec.tpm.client.handles import AsyncObject, AsyncSessionHandle, Handle, Object, SessionHandle, Transient
from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.tpm.spec.constants import TPM_HT

if TYPE_CHECKING:
    from prestocloud_sec.tpm.client.residence import Steps

__all__ = ["AsyncExecutor", "Executor", "live"]

R = TypeVar("R")


def live(client: object, handle: int) -> int:
    """Return a handle as a plain number, as commands hold it.

    Parameters
    ----------
    client : Client or AsyncClient
        The client that is to use it.
    handle : int or Handle
        The handle.

    Raises
    ------
    TpmMisuseError
        If it was closed; or if it stands for what is in the TPM by another client, whose number is here that of nothing
        or, worse, of something else.
    """
    if type(handle) is not int and isinstance(handle, Handle):
        handle._entity.check()
        if isinstance(handle, Transient) and handle._owner is not client:
            hint = "int() it, if both are on the same TPM and nothing between moves what is in it"
            raise TpmMisuseError(
                f"{handle!r} is another client's", where="handle", expected=f"one of {client!r}", hint=hint
            )
        return handle._entity.number
    return handle


class Executor(ABC):
    """A client whose methods return when the TPM has answered."""

    core: Core

    @abstractmethod
    def execute(self, command: Answered[R], sessions: Sessions = None) -> R:
        """Carry out a command and return its response."""

    @abstractmethod
    def run(self, steps: Steps[R], /) -> R:
        """Carry out what takes several commands."""

    def _object(self, number: int, response: R) -> Object[R]:
        return Object(self, self.core.registry.of(number), response)

    def _session(self, number: int, response: R) -> SessionHandle[R]:
        return SessionHandle(self, self.core.registry.of(number), response)

    def _loaded(self, number: int, response: R) -> Object[R] | SessionHandle[R]:
        """Return the handle of what a saved context was of."""
        return (self._object if number >> 24 == TPM_HT.TRANSIENT else self._session)(number, response)


class AsyncExecutor(ABC):
    """A client whose methods are awaited."""

    core: Core

    @abstractmethod
    async def execute(self, command: Answered[R], sessions: Sessions = None) -> R:
        """Carry out a command and return its response."""

    @abstractmethod
    async def run(self, steps: Steps[R], /) -> R:
        """Carry out what takes several commands."""

    def _object(self, number: int, response: R) -> AsyncObject[R]:
        return AsyncObject(self, self.core.registry.of(number), response)

    def _session(self, number: int, response: R) -> AsyncSessionHandle[R]:
        return AsyncSessionHandle(self, self.core.registry.of(number), response)

    def _loaded(self, number: int, response: R) -> AsyncObject[R] | AsyncSessionHandle[R]:
        """Return the handle of what a saved context was of."""
        return (self._object if number >> 24 == TPM_HT.TRANSIENT else self._session)(number, response)
