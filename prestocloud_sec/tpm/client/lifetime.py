# SPDX-License-Identifier: Apache-2.0
"""What comes and goes in a TPM, but for the commands that bring and take it: starts, flushes, handles out of use."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TypeVar

from prestocloud_sec.tpm.client.entities import Entity, Registry
from prestocloud_sec.tpm.client.remedies import reconcile
from prestocloud_sec.tpm.client.residence import Residence, Steps, asked
from prestocloud_sec.tpm.errors import InitializeError, TpmResponseError
from prestocloud_sec.tpm.spec.commands import FlushContext, Startup
from prestocloud_sec.tpm.spec.constants import TPM_HT, TPM_RH, TPM_SU

__all__ = ["Lifetime"]

R = TypeVar("R")


class Lifetime:
    """What a client knows of what is in the TPM; `Core` adds the commands.

    Parameters
    ----------
    startup : bool
        Whether a TPM that waits for TPM2_Startup gets one.

    Attributes
    ----------
    registry : Registry
        Everything that has a handle.
    residence : Residence
        What is in the TPM.
    faces : deque
        Handle objects that came (1) and went (-1), with their entities; threads and the garbage collector append.
    has_started : bool
        Whether this client has sent TPM2_Startup, so that it also has to send TPM2_Shutdown.
    shaken : bool
        Whether a command may have ended objects and indices without saying which.
    """

    __slots__ = ("_left", "faces", "has_started", "registry", "residence", "shaken", "startup")

    def __init__(self, *, startup: bool) -> None:
        self.registry = Registry()
        self.residence = Residence(self.registry)
        self.startup = startup
        self.faces: deque[tuple[Entity, int]] = deque()
        self.has_started = False
        self.shaken = False
        self._left: list[Entity] = []  # what to flush after the command that it is in

    def settle(self) -> Steps[None]:
        """Do what was put off for a command, and find out what it has ended without saying so."""
        while self._left:
            yield from self.flush(self._left.pop())
        if self.shaken:
            yield from reconcile(self)
            self.shaken = False

    def _doomed(self, made: Entity | None) -> None:
        """Have what was made flushed with the next command."""
        if made is not None:
            self.faces.append((made, 0))

    def flush(self, entity: Entity) -> Steps[None]:
        """Flush a transient object or a session; nothing happens where it is gone already."""
        if entity.gone or not entity.is_evictable:
            return
        if not entity.resident and not entity.is_session:
            self.registry.drop(entity, "it was closed")  # it is in no TPM
            return
        try:
            yield from asked(FlushContext(int.from_bytes(entity.real, "big")))
        except TpmResponseError as error:
            if error.rc & 0xBF not in _ABSENT and error.rc & 0xFFF not in _ABSENT:
                raise
        finally:
            self.registry.drop(entity, "it was closed")

    def _bury(self, numbers: tuple[int, ...]) -> Steps[None]:
        """Flush what no handle object stands for any more, but for what the command is about."""
        left: dict[int, Entity] = {}
        while self.faces:
            entity, came = self.faces.popleft()
            entity.faces += came
            if came <= 0 and not entity.faces and not entity.gone:
                left[entity.number] = entity
        for entity in left.values():
            if entity.faces:
                continue
            if entity.number in numbers:
                self._left.append(entity)
            else:
                yield from self.flush(entity)

    def powered(self, make: Callable[[], Steps[R]]) -> Steps[R]:
        """Do something that takes commands, once more if the TPM turns out to need a start.

        Parameters
        ----------
        make : callable
            Returns the generator of what is to be done.
        """
        try:
            return (yield from make())
        except InitializeError:
            if not self.startup:
                raise
        yield from self.start()
        return (yield from make())

    def start(self) -> Steps[None]:
        """Start a TPM that was not, or lost its power: nothing that was in it is there any more."""
        try:
            yield from asked(Startup(TPM_SU.CLEAR))
            self.has_started = True
        except InitializeError:
            pass  # it has been started meanwhile
        self.restarted(state=False)

    def restarted(self, *, state: bool) -> None:
        """Note that the TPM was started: what was in it is not any more.

        Parameters
        ----------
        state : bool
            Whether it went on with a saved state; then saved contexts are good still.
        """
        for entity in self.registry:
            if entity.is_evictable:
                if entity.resident or not state:
                    self.registry.drop(entity, "the TPM was started anew")
            else:
                entity.forget_name()
        for entity in self.registry:
            if not state and (entity.kind == TPM_HT.PCR or entity.number == TPM_RH.PLATFORM):
                self.registry.set_auth(entity, b"")

    def end(self, why: str) -> None:
        """Note that there is no way to the TPM any more."""
        for entity in self.registry:
            self.registry.drop(entity, why)


_ABSENT = frozenset({0x084, 0x08B, *range(0x910, 0x917)})
"""Base codes that say that there is nothing to flush: VALUE, HANDLE, REFERENCE_H0 to H6."""
