# SPDX-License-Identifier: Apache-2.0
"""The client without its way to the TPM: what to send for a command, and what to make of the answer.

How a command is carried out
----------------------------
`Core.execute` is a generator, like everything here that takes more than one exchange with the TPM: it yields the bytes
of a command, is sent the bytes of the response, and returns what the command is for. Whoever drives it, with threads or
with asyncio, adds nothing but the sending. If sending fails the error is thrown into the generator, which notes what is
not known any more and lets it pass.

For each command, in this order:

1. what the command names is found in the `Registry`, and loaded if it had to make room;
2. sessions are chosen: what the caller gave, else what `Protection` says, else passwords;
3. the command is authorized and sent;
4. if it is refused, `remedies` may do something about it, and the command is put together anew;
5. HMACs of the response are checked, its first parameter decrypted, and the response read;
6. `changes` notes what is different from now on.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from prestocloud_sec.tpm.client.calls import Call, Exchanging, Passwords, SingleCall
from prestocloud_sec.tpm.client.changes import CHANGES, Done
from prestocloud_sec.tpm.client.entities import Entity
from prestocloud_sec.tpm.client.frames import refusal
from prestocloud_sec.tpm.client.handles import Transient
from prestocloud_sec.tpm.client.lifetime import Lifetime
from prestocloud_sec.tpm.client.plan import OK, PLANS, Plan, kinds_given, plan_of
from prestocloud_sec.tpm.client.remedies import remedied
from prestocloud_sec.tpm.client.residence import Steps, asked
from prestocloud_sec.tpm.client.uses import SessionLike, Sessions, listed, uses_of
from prestocloud_sec.tpm.errors import TpmFormatError, TpmMisuseError, TpmResponseError
from prestocloud_sec.tpm.session import (
    Session,
    SessionState,
    Use,
    authorize,
)
from prestocloud_sec.tpm.spec.commands import NV_ReadPublic, NV_ReadPublic2, ReadPublic
from prestocloud_sec.tpm.spec.constants import TPM_CC, TPM_HT

if TYPE_CHECKING:
    from prestocloud_sec.tpm._secrets import Random
    from prestocloud_sec.tpm.client.protection import Protection
    from prestocloud_sec.tpm.session import SessionStart

__all__ = ["Answered", "Core", "Sessions", "listed"]

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Answered(Protocol[R_co]):
    """A command; the protocol tells type checkers what its response is."""

    @property
    def Response(self) -> type[R_co]:  # noqa: N802  (the name of the declarations)
        """What comes back."""


class Core(Lifetime):
    """What a client knows and decides.

    Parameters
    ----------
    startup : bool
        Whether a TPM that waits for TPM2_Startup gets one.
    random : callable
        Returns as many fresh random bytes as it is asked for: the nonces of sessions.

    Attributes
    ----------
    protection : Protection or None
        Which sessions commands get that the caller names none for.
    starting : SessionStart or None
        The session that is being started, if the client does that itself.
    """

    __slots__ = ("_clock", "protection", "random", "starting")

    def __init__(self, *, startup: bool = True, random: Random = secrets.token_bytes) -> None:
        super().__init__(startup=startup)
        self.protection: Protection | None = None
        self.random = random
        self.starting: SessionStart | None = None
        self._clock = 0

    # --- a command

    def execute(self, command: Answered[R], sessions: Sessions = None) -> Steps[R]:
        """Carry out a command (see `Client.execute`)."""
        return (yield from self.resume(command, listed(sessions), None, b""))

    def resume(self, command: Answered[R], sessions: Sessions, call: Call | None, response: bytes) -> Steps[R]:
        """Carry out a command that was perhaps sent already, and refused.

        Parameters
        ----------
        command, sessions
            As for `Client.execute`.
        call : Call or None
            What `begin` returned, if the command was sent.
        response : bytes
            The response.
        """
        tried: set[str] = set()
        while True:
            if call is None:
                while (call := self.begin(command, sessions)) is None:
                    done = yield from self.powered(lambda: self.make_ready(command, sessions))
                    if done is not None:
                        return done  # type: ignore[no-any-return]
                try:
                    response = yield call.frame
                except BaseException as failure:
                    call.failed(failure)
            if response[6:10] == OK:
                answer: R = self.finish(call, response)
                yield from self.settle()
                return answer
            try:
                error = refusal(response, call.plan.command)
            except BaseException:
                call.lost()
                raise
            call.refused()
            if not (yield from remedied(self, call, error, tried)):
                raise error
            call = None

    def begin(self, command: Any, sessions: Sessions = None) -> Call | None:
        """Return a command as it can be sent now; None if other commands have to come first (`make_ready`).

        Raises
        ------
        TpmMisuseError
            If it is no command, what it names is gone, or the sessions are not for it.
        """
        plan = PLANS.get(type(command)) or plan_of(command)
        if self.faces or self.shaken or plan.code == _FLUSH:
            return None
        self._clock = clock = self._clock + 1
        if plan.single and isinstance(sessions, tuple | list):
            call = self._begin_single(plan, command, sessions)
            if call is not None:
                return call
        entities = tuple([self.registry.of(number) for number in plan.handles(command)])
        if sessions is not None:
            uses = uses_of(plan, sessions)
        elif self.protection is not None and plan.takes_sessions:
            chosen = self.protection.choose(plan, entities)
            if chosen is None:
                return None
            uses = chosen
        else:
            uses = ()
        own = self._sessions_of(uses) if uses else ()
        for entity in (*entities, *own):
            entity.used = clock
            if not entity.resident:
                entity.check()
                if entity.context is not None:
                    return None
            if own and entity.name is None:
                return None
        return Call(plan, command, entities, uses, self._authorized(plan, command, entities, uses))

    def _begin_single(self, plan: Plan, command: Any, sessions: Sequence[SessionLike]) -> Call | None:
        """Return a command with one handle and one session that only authorizes it; None if it is not that simple.

        What `begin` does for all commands is several times as much work.
        """
        if len(sessions) != 1 or plan.first is None:
            return None
        given, entity = sessions[0], self.registry.find(plan.first(command))
        if not isinstance(given, Transient) or entity is None or entity.name is None:
            return None
        own = given._entity
        if not (entity.resident and own.resident):
            return None
        session = own.session
        if session is None or (session.cipher is not None and plan.encrypts):
            return None
        own.used = entity.used = self._clock
        return SingleCall(plan, command, entity, session)

    def finish(self, call: Call, response: bytes) -> Any:
        """Check and read a response that says success, note what has changed, and return it.

        Raises
        ------
        ResponseHmacError
            If it was changed on the way.
        TpmFormatError
            If it is no response to this command.
        VerificationError
            If the TPM tells another Name than the one that follows from the public area.
        """
        plan = call.plan
        try:
            handle, parameters = call.accept(response)
        except BaseException:
            call.lost()
            raise
        if call.ends:
            self._sessions_ended(call.uses)
        if plan.nothing is not None and not parameters:
            answer: Any = plan.nothing
            made = None
        else:
            made = self._arrived(call, handle) if plan.answers else None
            try:
                answer = plan.response.decode_parameters(parameters, handles=() if made is None else (made.number,))
            except BaseException:
                self._doomed(made)
                raise
        change = CHANGES.get(plan.code)
        if change is not None:
            try:
                change(Done(self, call, answer, made))
            except BaseException:
                self._doomed(made)
                raise
        return answer

    def make_ready(self, command: Any, sessions: Sessions) -> Steps[Any]:
        """Do what has to come before a command; return its response, if that was all."""
        plan = plan_of(command)
        numbers = plan.handles(command)
        yield from self.settle()
        yield from self._bury(numbers)
        if plan.code == _FLUSH:
            known = self.registry.find(command.flushHandle)
            if known is not None:
                yield from self.flush(known)
            else:
                yield from asked(command)
            return plan.nothing
        entities = tuple([self.registry.of(number) for number in numbers])
        if sessions is not None:
            uses = uses_of(plan, sessions)
        elif self.protection is not None and plan.takes_sessions:
            uses = yield from self.protection.prepare(self, plan, entities)
        else:
            uses = ()
        own = self._sessions_of(uses)
        keep = (*entities, *own)
        for entity in keep:
            if not entity.resident:
                yield from self.residence.load(entity, keep)
            if own and entity.name is None:
                yield from self.learn(entity, keep)
        return None

    def _authorized(self, plan: Plan, command: Any, entities: tuple[Entity, ...], uses: tuple[Use, ...]) -> Exchanging:
        parameters: bytes = command.encode_parameters()
        auths = plan.auths
        if not uses:
            return Passwords(parameters, entities[:auths])
        if not any(isinstance(use.session, Session) for use in uses):
            if len(uses) > auths:
                raise TpmMisuseError(
                    f"{len(uses)} passwords", where="sessions", expected=f"{auths}, one for each handle to authorize"
                )
            return Passwords(parameters, entities[:auths])
        known = [entity.name or b"" for entity in entities]
        values = [entity.auth for entity in entities[:auths]]
        return authorize(plan.code, known, parameters, uses, values, encryptable=plan.encryptable)

    def _sessions_of(self, uses: tuple[Use, ...]) -> tuple[Entity, ...]:
        """Return those sessions that are in the registry; of others the caller has to see that they are loaded."""
        found = []
        for use in uses:
            session = use.session
            if isinstance(session, Session):
                entity = self.registry.of(session.handle)
                if entity.session is session or entity.session is None:
                    found.append(entity)
        return tuple(found)

    def _arrived(self, call: Call, handle: int) -> Entity:
        """Return the entity of a handle that came back: a new one, but for a session that was loaded again.

        Handles are in no digest that a session covers. One that such a command does not make would take the place of a
        hierarchy, say, and of its authorization value.
        """
        plan = call.plan
        kinds = kinds_given(call.command)
        if handle >> 24 not in kinds:
            where, expected = f"response to {plan.command.__name__}", " or ".join(f"{kind:02x}xxxxxx" for kind in kinds)
            raise TpmFormatError(f"0x{handle:08x}", where=where, offset=10, expected=expected)
        known = self.registry.find(handle) if plan.code == TPM_CC.ContextLoad else None
        made = known if known is not None and known.is_session else self.registry.arrived(handle)
        made.used = self._clock
        return made

    def _sessions_ended(self, uses: tuple[Use, ...]) -> None:
        for use in uses:
            session = use.session
            if isinstance(session, Session) and session.state is SessionState.CLOSED:
                entity = self.registry.find(session.handle)
                if entity is not None and entity.session is session:
                    self.registry.drop(entity, "it ended with its last command")

    def learn(self, entity: Entity, keep: Sequence[Entity] = ()) -> Steps[None]:
        """Ask the TPM for the public area of an entity, whose Name follows from it; `keep` stays in the TPM."""
        kind: Any = _PUBLIC.get(entity.kind, NV_ReadPublic2)
        command = kind(entity.number)
        parameters = None
        while parameters is None:
            try:
                _, parameters = yield from asked(command, entity.real)
            except TpmResponseError as error:  # a persistent object too takes room while it is read
                if not (yield from self.residence.make_room(error.rc & 0xFFFF, (entity, *keep))):
                    raise
        answer = kind.Response.decode_parameters(parameters)
        call = Call(plan_of(command), command, (entity,), (), Passwords(b""))
        CHANGES[kind.code](Done(self, call, answer, None))


_FLUSH = int(TPM_CC.FlushContext)

_PUBLIC: dict[int, Any] = {TPM_HT.TRANSIENT: ReadPublic, TPM_HT.PERSISTENT: ReadPublic, TPM_HT.NV_INDEX: NV_ReadPublic}
"""Which command reads the public area of what has one, by the type of its handle."""
