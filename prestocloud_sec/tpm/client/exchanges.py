# SPDX-License-Identifier: Apache-2.0
"""Two short forms of `prestocloud_sec.tpm.session.Exchange`, for what most commands are.

`Passwords` has nothing but passwords, and `Single` one session that authorizes one handle and neither encrypts nor
audits. Both do what `authorize` and its exchange do in these cases; a test holds them to the same bytes.
"""

from __future__ import annotations

from typing import Protocol

from prestocloud_sec.tpm.client.entities import Entity
from prestocloud_sec.tpm.errors import TpmFormatError, TpmTrailingBytesError, TpmTruncatedError
from prestocloud_sec.tpm.session import Session, Use
from prestocloud_sec.tpm.session.place import Place

__all__ = ["Exchanging", "Passwords", "Single"]

_ANSWER = b"\0\0\1\0\0"
"""The TPMS_AUTH_RESPONSE of a password session."""


class Exchanging(Protocol):
    """What a command was authorized with, until its response comes; `Exchange` is one."""

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


class Single:
    """One session that authorizes one handle, and does nothing else.

    Parameters
    ----------
    head : bytes
        The command code, in four bytes.
    names : bytes
        The Names of all handles, one after the other.
    parameters : bytes
        The parameter area.
    session : Session
        The session.
    use : Use
        What it is to do: go on, or end.
    entity : Entity
        The first handle, with its Name known.
    """

    __slots__ = ("_head", "_place", "_session", "authorizations", "parameters")

    def __init__(
        self, head: bytes, names: bytes, parameters: bytes, session: Session, use: Use, entity: Entity
    ) -> None:
        session.check_ready()
        self.parameters = parameters
        self._head = b"\0\0\0\0" + head
        self._session = session
        place = self._place = Place(session, use, entity.name or b"", entity.auth)
        self.authorizations = place.field(session.algorithm.new(head + names + parameters).digest(), b"")
        session.began()

    def accept(self, parameters: bytes, authorizations: bytes, /) -> bytes:
        """Return the parameters of the response, checked; errors as of `Exchange.accept`."""
        place = self._place
        if len(authorizations) != place.width:
            kind = TpmTruncatedError if len(authorizations) < place.width else TpmTrailingBytesError
            raise kind(
                f"{len(authorizations)} bytes", where="authorization area of the response", expected=f"{place.width}"
            )
        session = self._session
        session.check_waiting()
        digest = session.algorithm.new(self._head + parameters).digest()
        nonce, attributes = place.answer(1, authorizations, 0, digest, None)
        session.rolled(nonce, attributes)
        return parameters

    def refused(self) -> None:
        """Say that the TPM refused the command; the session is as it was."""
        self._session.ended(known=True)

    def lost(self) -> None:
        """Say that no response will come; the session is of no use any more."""
        self._session.ended(known=False)
