# SPDX-License-Identifier: Apache-2.0
"""Commands under way: what was sent, and what takes the response.

A `Call` has an `Exchanging`: an `Exchange` of `prestocloud_sec.tpm.session`, or `Passwords`, its short form for
passwords and for no sessions at all. `SingleCall` is the short form for the most frequent of the others: one handle,
and one session that authorizes it and does nothing else. A test holds the short forms to the bytes of the long one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from prestocloud_sec.tpm.client.frames import compose, not_known, split
from prestocloud_sec.tpm.client.plan import HEAD, SESSIONS
from prestocloud_sec.tpm.errors import TpmFormatError, TpmTrailingBytesError, TpmTruncatedError, TransportRefusedError
from prestocloud_sec.tpm.session.place import Place

if TYPE_CHECKING:
    from prestocloud_sec.tpm.client.entities import Entity
    from prestocloud_sec.tpm.client.plan import Plan
    from prestocloud_sec.tpm.session import Session, Use

__all__ = ["Call", "Exchanging", "Passwords", "SingleCall"]

_ANSWER = b"\0\0\1\0\0"
"""The TPMS_AUTH_RESPONSE of a password session."""


class Exchanging(Protocol):
    """What a command was authorized with, until its response comes."""

    authorizations: bytes
    parameters: bytes

    def accept(self, parameters: bytes, authorizations: bytes, /) -> bytes:
        """Return the parameters of the response, checked and decrypted."""

    def refused(self) -> None:
        """Say that the TPM refused the command."""

    def lost(self) -> None:
        """Say that no response will come."""


class Passwords:
    """Passwords, or no session at all.

    Parameters
    ----------
    parameters : bytes
        The parameter area.
    entities : sequence of Entity
        What is authorized.
    """

    __slots__ = ("_expected", "authorizations", "parameters")

    def __init__(self, parameters: bytes, entities: tuple[Entity, ...] = ()) -> None:
        self.parameters = parameters
        self.authorizations = b"".join([entity.password_field() for entity in entities])
        self._expected = _ANSWER * len(entities)

    def accept(self, parameters: bytes, authorizations: bytes, /) -> bytes:
        """Return the parameters of the response; TpmFormatError if its authorization area is not of passwords."""
        if authorizations != self._expected:
            raise TpmFormatError(
                f"{len(authorizations)} bytes",
                where="authorization area of the response",
                expected=f"that of {len(self._expected) // len(_ANSWER)} password sessions",
            )
        return parameters

    def refused(self) -> None:
        """Nothing has changed."""

    def lost(self) -> None:
        """Nothing is kept that could be out of step."""


class Call:
    """A command as it was sent.

    Attributes
    ----------
    plan : Plan
        Which command.
    command : Command
        The command.
    entities : tuple of Entity
        Its handles.
    uses : tuple of Use
        Its sessions.
    frame : bytes
        What to send.
    ends : bool
        Whether a session ends with it.
    """

    __slots__ = ("_exchange", "command", "ends", "entities", "frame", "plan", "uses")

    def __init__(
        self, plan: Plan, command: Any, entities: tuple[Entity, ...], uses: tuple[Use, ...], exchange: Exchanging
    ) -> None:
        self.plan = plan
        self.command = command
        self.entities = entities
        self.uses = uses
        self.frame = compose(plan, b"".join([entity.real for entity in entities]), exchange)
        self.ends = any(not use.continue_session for use in uses)
        self._exchange = exchange

    def accept(self, response: bytes) -> tuple[int, bytes]:
        """Return handle (0 if there is none) and parameters of a response that says success, checked and decrypted.

        Raises
        ------
        ResponseHmacError
            If it was changed on the way.
        TpmFormatError
            If it is no response to this command.
        """
        exchange = self._exchange
        handle, parameters, area = split(self.plan, response, sessions=bool(exchange.authorizations))
        return handle, exchange.accept(parameters, area)

    def failed(self, error: BaseException) -> NoReturn:
        """Say that the command could not be sent, or its response not be had; raise what to tell the caller.

        Sessions are of no use any more, unless it is known that the TPM did not see the command.
        """
        if not isinstance(error, TransportRefusedError):
            self.lost()
            raise error
        self.refused()
        handles = [int.from_bytes(entity.real, "big") for entity in self.entities]
        unknown = not_known(error, self.plan.command, handles)
        raise error if unknown is None else unknown from error

    def refused(self) -> None:
        """Say that the TPM refused the command; sessions are as they were."""
        self._exchange.refused()

    def lost(self) -> None:
        """Say that no response will come; sessions are of no use any more."""
        self._exchange.lost()


class SingleCall(Call):
    """A command with one handle, authorized by one session that does nothing else.

    Parameters
    ----------
    plan : Plan
        Which command; `Plan.single` says whether it is one.
    command : Command
        The command.
    entity : Entity
        Its handle, whose Name is known.
    session : Session
        The session, which goes on.
    """

    __slots__ = ("_place", "_session")

    def __init__(self, plan: Plan, command: Any, entity: Entity, session: Session) -> None:
        session.check_ready()
        self.plan = plan
        self.command = command
        self.entities = (entity,)
        self.uses = (use := session.default,)
        self.ends = False
        self._session = session
        name = entity.name or b""
        parameters: bytes = command.encode_parameters()
        place = self._place = Place(session, use, name, entity.auth)
        area = place.field(session.algorithm.new(plan.head + name + parameters).digest(), b"")
        head = HEAD.pack(SESSIONS, HEAD.size + 8 + len(area) + len(parameters), plan.code)
        self.frame = b"".join((head, entity.real, len(area).to_bytes(4, "big"), area, parameters))
        session.began()

    def accept(self, response: bytes) -> tuple[int, bytes]:
        """Return 0, and the parameters of the response, checked; errors as of `Call.accept`."""
        place, session, size = self._place, self._session, len(response)
        start = size - place.width
        parameters = response[14:start]
        if start < 14 or HEAD.unpack_from(response) != (SESSIONS, size, 0) or start != 14 + _size(response):
            self._misfit(response)
        session.check_waiting()
        digest = session.algorithm.new(self.plan.response_head + parameters).digest()
        nonce, attributes = place.answer(1, response, start, digest, None)
        session.rolled(nonce, attributes)
        return 0, parameters

    def _misfit(self, response: bytes) -> NoReturn:
        """Raise what is wrong with a response whose parts are not as long as they should be."""
        _, _, area = split(self.plan, response, sessions=True)
        kind = TpmTruncatedError if len(area) < self._place.width else TpmTrailingBytesError
        expected = f"{self._place.width}"
        raise kind(f"{len(area)} bytes", where="authorization area of the response", expected=expected)

    def refused(self) -> None:
        """Say that the TPM refused the command; the session is as it was."""
        self._session.ended(known=True)

    def lost(self) -> None:
        """Say that no response will come; the session is of no use any more."""
        self._session.ended(known=False)


def _size(response: bytes) -> int:
    """Return the parameterSize."""
    return int.from_bytes(response[10:14], "big")
