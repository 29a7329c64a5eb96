# SPDX-License-Identifier: Apache-2.0
"""Handles as objects: each is the number that commands take, and knows what it is the number of.

What takes room in the TPM, a transient object or a session, closes itself: at the end of a ``with``, by `close`, or
when nobody refers to it any more. What is always there has nothing to close.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.tpm.session import AuthValueLike, PolicySession, Session, Use
from prestocloud_sec.tpm.spec.constants import TPM_RH

if TYPE_CHECKING:
    from collections.abc import Generator

    from prestocloud_sec.tpm.client.core import Core
    from prestocloud_sec.tpm.client.entities import Entity
    from prestocloud_sec.tpm.spec.structures import TPMS_NV_PUBLIC, TPMT_PUBLIC

__all__ = [
    "AsyncObject",
    "AsyncSessionHandle",
    "Handle",
    "Hierarchy",
    "NvIndex",
    "Object",
    "Pcr",
    "PersistentObject",
    "SessionHandle",
    "Transient",
]

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Owner(Protocol):
    """The client that made a handle."""

    core: Core


class BlockingOwner(Owner, Protocol):
    """A client whose methods return when the TPM has answered."""

    def run(self, steps: Generator[bytes, bytes, R], /) -> R:
        """Carry out what the core wants of the TPM."""


class AsyncOwner(Owner, Protocol):
    """A client whose methods are awaited."""

    async def run(self, steps: Generator[bytes, bytes, R], /) -> R:
        """Carry out what the core wants of the TPM."""


class Handle(int):
    """The handle of something in a TPM; commands take it wherever they take a number.

    It compares and hashes as its number does. It is neither copied nor pickled: what it stands for is in one TPM.
    """

    _owner: Owner
    _entity: Entity

    def __new__(cls, owner: Owner, entity: Entity) -> Self:
        """Stand for an entity; clients make handles."""
        made = super().__new__(cls, entity.number)
        made._owner = owner
        made._entity = entity
        return made

    @property
    def name(self) -> bytes:
        """The Name (Part 1, clause 16), as authorizations and policies have it."""
        name = self._entity.name
        if name is None:
            raise TpmMisuseError(f"the Name of {self!r} is not known", where="name", hint="ReadPublic tells it")
        return name

    @property
    def closed(self) -> bool:
        """Whether what it stands for is not there any more, as far as the client knows."""
        return bool(self._entity.gone)

    def set_auth(self, value: AuthValueLike) -> None:
        """Say which value authorizes it; commands use that from now on.

        Parameters
        ----------
        value : AuthValue, bytes-like or str
            The value. The client keeps a copy, and overwrites it with zeros when the entity is gone or the client
            closed. (What the TPM holds is changed by commands such as HierarchyChangeAuth, of which the client takes
            note by itself.)

        Raises
        ------
        TpmMisuseError
            If it is no value, or the entity is gone.
        """
        self._owner.core.registry.set_auth(self._entity, value)

    def __repr__(self) -> str:
        entity = self._entity
        parts = [f"0x{int(self):08x}"]
        if entity.name:
            parts.append(f"name={entity.name.hex()[:16]}...")
        if entity.gone:
            parts.append(f"gone: {entity.gone}")
        return f"{type(self).__name__}({', '.join(parts)})"

    def __str__(self) -> str:
        return repr(self)

    def __format__(self, spec: str) -> str:
        return format(int(self), spec) if spec else repr(self)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce_ex__(self, protocol: object) -> Any:
        raise TpmMisuseError("stands for something in one TPM", where=repr(self), expected="no pickle", hint="int() it")


class Hierarchy(Handle):
    """A hierarchy, or another permanent handle."""

    def __repr__(self) -> str:
        name = TPM_RH(int(self)).name if int(self) in _PERMANENT else f"0x{int(self):08x}"
        return f"Hierarchy({name})"


_PERMANENT = frozenset(map(int, TPM_RH))


class Pcr(Handle):
    """A platform configuration register."""

    def __repr__(self) -> str:
        return f"Pcr({int(self)})"


def _public_of(handle: Handle) -> TPMT_PUBLIC:
    from prestocloud_sec.tpm.spec.structures import TPMT_PUBLIC

    public = handle._entity.public
    if not isinstance(public, TPMT_PUBLIC):
        raise TpmMisuseError(f"the public area of {handle!r} is not known", where="public", hint="ReadPublic tells it")
    return public


class PersistentObject(Handle):
    """An object that survives restarts of the TPM."""

    @property
    def public(self) -> TPMT_PUBLIC:
        """The public area."""
        return _public_of(self)


class NvIndex(Handle):
    """An index of non-volatile memory."""

    @property
    def public(self) -> TPMS_NV_PUBLIC:
        """The public area, with the attributes that commands of this client have set since it was read."""
        from prestocloud_sec.tpm.spec.structures import TPMS_NV_PUBLIC

        public = self._entity.public
        if not isinstance(public, TPMS_NV_PUBLIC):
            raise TpmMisuseError(f"the public area of {self!r} is not known", where="public", hint="NV_ReadPublic it")
        return public


class Transient(Handle, Generic[R_co]):
    """What takes room in the TPM until it is closed.

    Attributes
    ----------
    response : Response
        The response to the command that made it; None where no command of this client did.
    """

    response: R_co

    def __new__(cls, owner: Owner, entity: Entity, response: R_co) -> Self:
        """Stand for an entity; clients make handles."""
        made = super().__new__(cls, owner, entity)
        made.response = response
        owner.core.faces.append((entity, 1))
        return made

    def __del__(self) -> None:
        # Only note it: this can run anywhere, in the middle of another thread's command too.
        owner: Owner | None = self.__dict__.get("_owner")
        if owner is not None:
            owner.core.faces.append((self._entity, -1))


class _OfObject(Transient[R_co]):
    @property
    def public(self) -> TPMT_PUBLIC:
        """The public area; sequences have none."""
        return _public_of(self)


class _OfSession(Transient[R_co]):
    @property
    def session(self) -> Session:
        """What computes the session's HMACs.

        Raises
        ------
        TpmMisuseError
            If the session was started with a salt that this client does not know.
        """
        session = self._entity.session
        if session is None:
            raise TpmMisuseError("its salt is not known here", where=repr(self), hint="start it with start_session()")
        return session

    @property
    def is_policy(self) -> bool:
        """Whether it is a policy or trial session."""
        return isinstance(self._entity.session, PolicySession) or self._entity.number >> 24 == 3

    def use(
        self,
        *,
        decrypt: bool | None = None,
        encrypt: bool | None = None,
        audit: bool = False,
        audit_reset: bool = False,
        audit_exclusive: bool = False,
        continue_session: bool = True,
    ) -> Use:
        """Return this session with what it is to do in a command; see `prestocloud_sec.tpm.session.Use`."""
        return Use(self.session, decrypt, encrypt, audit, audit_reset, audit_exclusive, continue_session)


class _Closing(Transient[R_co]):
    """Closes itself before it goes on."""

    _owner: BlockingOwner

    def close(self) -> None:
        """Flush it out of the TPM; nothing happens where that was done before."""
        self._owner.run(self._owner.core.flush(self._entity))

    def __enter__(self) -> Self:
        self._entity.check()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class _AsyncClosing(Transient[R_co]):
    """Closes itself where it is awaited."""

    _owner: AsyncOwner

    async def close(self) -> None:
        """Flush it out of the TPM; nothing happens where that was done before."""
        await self._owner.run(self._owner.core.flush(self._entity))

    async def __aenter__(self) -> Self:
        self._entity.check()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


class Object(_OfObject[R_co], _Closing[R_co]):
    """A transient object: a key, sealed data, or a sequence."""


class SessionHandle(_OfSession[R_co], _Closing[R_co]):
    """A session."""


class AsyncObject(_OfObject[R_co], _AsyncClosing[R_co]):
    """A transient object: a key, sealed data, or a sequence."""


class AsyncSessionHandle(_OfSession[R_co], _AsyncClosing[R_co]):
    """A session."""
