# SPDX-License-Identifier: Apache-2.0
"""Moving objects and sessions out of the TPM and into it, where it has no room for all of them.

A bare TPM holds three transient objects and three sessions, some more. What was used the longest time ago is saved
(TPM2_ContextSave) and, if it is an object, flushed; it is loaded again (TPM2_ContextLoad) when a command needs it. What
a command is about stays. The context of a key is kept and used again; that of a sequence or a session is good once.

A TPM numbers the contexts of sessions, and saves none when the oldest is too far behind (TPM_PT.CONTEXT_GAP_MAX; Part
1, 30.5). Long before that, the oldest is loaded and saved again.

Functions here are generators: they yield commands, are sent the responses, and return what they are for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Generator
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from prestocloud_sec.tpm.client.entities import Entity
from prestocloud_sec.tpm.client.frames import code_of, not_known, plain, refusal, split
from prestocloud_sec.tpm.client.plan import PLANS, plan_of
from prestocloud_sec.tpm.errors import (
    HandleError,
    TpmFormatError,
    TpmResponseError,
    TpmTrailingBytesError,
    TransportRefusedError,
)
from prestocloud_sec.tpm.spec.commands import ContextLoad, ContextSave, FlushContext, GetCapability
from prestocloud_sec.tpm.spec.constants import TPM_CAP, TPM_PT, TPM_RC
from prestocloud_sec.tpm.spec.declare import Command

if TYPE_CHECKING:
    from prestocloud_sec.tpm.client.entities import Registry

__all__ = ["Residence", "Steps", "asked", "some_properties"]

R = TypeVar("R")

Steps: TypeAlias = Generator[bytes, bytes, R]
"""Yields commands, is sent responses, returns something."""

_NO_ROOM_FOR_OBJECTS = frozenset({TPM_RC.OBJECT_MEMORY, TPM_RC.OBJECT_HANDLES, TPM_RC.MEMORY})
_NO_ROOM_FOR_SESSIONS = frozenset({TPM_RC.SESSION_MEMORY})
_SMALLEST_GAP = 255


def asked(command: Command, *handles: bytes) -> Steps[tuple[int, bytes]]:
    """Send a command without sessions; return handle and parameters of the response, or raise what it refuses with."""
    try:
        response = yield plain(command, *handles)
    except TransportRefusedError as error:
        named = [int.from_bytes(handle, "big") for handle in handles] or [getattr(command, "flushHandle", 0)]
        unknown = not_known(error, type(command), named)
        raise error if unknown is None else unknown from error
    if code_of(response):
        raise refusal(response, type(command))
    plan = plan_of(command)
    handle, parameters, _ = split(plan, response, sessions=False)
    if parameters and plan.nothing is not None:
        where = f"response to {type(command).__name__}"
        raise TpmTrailingBytesError(f"{len(parameters)} bytes", where=where, offset=plan.start, expected="none")
    return handle, parameters


def some_properties(first: int, count: int) -> Steps[dict[int, int]]:
    """Ask for properties of the TPM (TPM_PT), and return their values by number; what it does not tell is left out."""
    _, parameters = yield from asked(GetCapability(TPM_CAP.TPM_PROPERTIES, first, count))
    answer = GetCapability.Response.decode_parameters(parameters).capabilityData
    if answer.capability != TPM_CAP.TPM_PROPERTIES:
        found, expected = f"0x{int(answer.capability):x}", f"0x{TPM_CAP.TPM_PROPERTIES:x}"
        raise TpmFormatError(found, where="capability", expected=expected)
    return {int(each.property): each.value for each in answer.data}


class Residence:
    """What is in the TPM, and what is saved.

    Parameters
    ----------
    registry : Registry
        All entities.
    """

    __slots__ = ("_gap", "_registry", "moves")

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._gap = 0
        self.moves = 0
        """How often something was saved or loaded."""

    def load(self, entity: Entity, keep: Collection[Entity]) -> Steps[None]:
        """Bring an entity into the TPM, and others than those of `keep` out of it if need be."""
        while entity.context is not None:  # else somebody saved it for himself; the TPM will say that it is not there
            response = yield plain(ContextLoad(entity.context))  # which `make_room` may have saved anew
            rc = code_of(response)
            if not rc:
                self._loaded(entity, response)
                return
            if (yield from self.make_room(rc, keep)):
                continue
            if entity.is_session and (yield from self._is_loaded(entity)):  # a response was lost when it was loaded
                entity.context, entity.resident = None, True
                return
            if entity.is_session:
                with contextlib.suppress(TpmResponseError):
                    yield from asked(FlushContext(entity.number))
            self._registry.drop(entity, "its saved context cannot be loaded any more")
            raise refusal(response, ContextLoad)

    def _loaded(self, entity: Entity, response: bytes) -> None:
        """Note where the TPM has loaded an entity."""
        handle, _, _ = split(PLANS[ContextLoad], response, sessions=False)
        if handle >> 24 != entity.kind or (entity.is_session and handle != entity.number):
            expected = f"{entity.number:08x}" if entity.is_session else "80xxxxxx"
            raise TpmFormatError(f"0x{handle:08x}", where="response to ContextLoad", offset=10, expected=expected)
        self.moves += 1
        entity.real = handle.to_bytes(4, "big")
        entity.resident = True
        if entity.changes:
            entity.context = None

    def save(self, entity: Entity) -> Steps[None]:
        """Bring an entity out of the TPM; where somebody else has done that before, it is gone."""
        try:
            if entity.context is None:
                _, parameters = yield from asked(ContextSave(entity.number), entity.real)
                entity.context = ContextSave.Response.decode_parameters(parameters).context
            if not entity.is_session:
                yield from asked(FlushContext(int.from_bytes(entity.real, "big")))
        except HandleError:
            self._registry.drop(entity, "somebody flushed it out of the TPM")
            return
        self.moves += 1
        entity.resident = False
        if entity.is_session:
            yield from self._keep_up(entity)

    def make_room(self, rc: int, keep: Collection[Entity]) -> Steps[bool]:
        """Bring out what was used the longest time ago, of the kind that a response code says there is no room for.

        Returns
        -------
        bool
            Whether there is room now. Not, if the code says something else, or nothing is left to bring out.
        """
        if rc not in _NO_ROOM_FOR_OBJECTS and rc not in _NO_ROOM_FOR_SESSIONS:
            return False
        sessions = rc in _NO_ROOM_FOR_SESSIONS
        movable = [
            entity
            for entity in self._registry
            if entity.resident and entity.is_evictable and entity.is_session is sessions and entity not in keep
        ]
        if not movable:
            return False
        yield from self.save(min(movable, key=lambda entity: entity.used))
        return True

    def _keep_up(self, newest: Entity) -> Steps[None]:
        """Save the oldest session anew, if it is about to fall too far behind; there is room to load it now."""
        if not self._gap:
            self._gap = yield from self._widest_gap()
        saved = [e for e in self._registry if e.is_session and not e.resident and e.context is not None]
        if newest.context is None or not saved:
            return
        oldest = min(saved, key=_sequence)
        if _sequence(newest) - _sequence(oldest) > self._gap // 2:
            yield from self.load(oldest, (oldest,))
            _, parameters = yield from asked(ContextSave(oldest.number), oldest.real)
            oldest.context = ContextSave.Response.decode_parameters(parameters).context
            oldest.resident = False

    def _is_loaded(self, entity: Entity) -> Steps[bool]:
        """Ask whether a session is in the TPM; sessions of both kinds are listed from 02000000 on, if loaded."""
        loaded = 0x02000000 | entity.number & 0xFFFFFF
        _, parameters = yield from asked(GetCapability(TPM_CAP.HANDLES, loaded, 1))
        listed = GetCapability.Response.decode_parameters(parameters).capabilityData.data
        return any(handle & 0xFFFFFF == entity.number & 0xFFFFFF for handle in listed)

    def _widest_gap(self) -> Steps[int]:
        found = yield from some_properties(TPM_PT.CONTEXT_GAP_MAX, 1)
        return max(found.get(TPM_PT.CONTEXT_GAP_MAX, _SMALLEST_GAP), 2)


def _sequence(entity: Entity) -> int:
    return entity.context.sequence if entity.context is not None else 0
