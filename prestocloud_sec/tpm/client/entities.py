# SPDX-License-Identifier: Apache-2.0
"""What the client knows of everything that has a handle: keys, NV indices, sessions, PCRs, hierarchies.

Handles are *numbers* here, and what calling code sees is the number that an entity has for as long as it lives. In the
TPM a transient object has another one each time it is loaded again; where two would be the same, the younger entity
gets a number of its own, from 80ffffff downwards. Everything else has the TPM's number.

An entity is *resident* if it is in the TPM now; a transient object or a session that is not has a saved *context*.
Persistent objects, NV indices, PCRs and hierarchies always are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.tpm.names import handle_name, name_of
from prestocloud_sec.tpm.session import AuthValue, AuthValueLike, Session, auth_value
from prestocloud_sec.tpm.spec.attributes import TPMA_NV
from prestocloud_sec.tpm.spec.constants import TPM_HT
from prestocloud_sec.wire import whole

if TYPE_CHECKING:
    from prestocloud_sec.tpm.spec.structures import TPMS_CONTEXT, TPMS_NV_PUBLIC, TPMT_PUBLIC

__all__ = ["PASSWORD_FIELD", "Entity", "Registry", "kind_of"]

PASSWORD_FIELD = bytes.fromhex("40000009 0000 01")
"""Session handle, nonce and attributes of a TPMS_AUTH_COMMAND with a password, which comes after its size."""

_EMPTY_PASSWORD = bytes.fromhex("00000009") + PASSWORD_FIELD + b"\0\0"
"""The authorization area, with its size, of one empty password."""

SESSIONS = (TPM_HT.HMAC_SESSION, TPM_HT.POLICY_SESSION)
NV = (TPM_HT.NV_INDEX, TPM_HT.EXTERNAL_NV, TPM_HT.PERMANENT_NV)
_ALWAYS_THERE = (TPM_HT.PCR, TPM_HT.PERMANENT, TPM_HT.PERSISTENT, TPM_HT.AC, *NV)
_CALLED_BY_HANDLE = (TPM_HT.PCR, TPM_HT.PERMANENT, TPM_HT.AC, *SESSIONS)
_QUICK = (TPM_HT.PCR, TPM_HT.PERMANENT)
_LAST_VIRTUAL, _FIRST_VIRTUAL = 0x80FFFFFF, 0x80800000


def kind_of(number: int) -> int:
    """Return the type of a handle (TPM_HT): its first byte."""
    return number >> 24


class Entity:
    """Something that has a handle.

    Attributes
    ----------
    number : int
        The handle, as calling code has it.
    real : bytes
        The handle, as the TPM has it, in four bytes.
    name : bytes or None
        The Name; None where it is not known.
    public : TPMT_PUBLIC, TPMS_NV_PUBLIC or None
        The public area that the Name is the digest of; None where it is not known, or there is none.
    auth : AuthValue
        The value that authorizes it; a copy, which is wiped when the entity is gone.
    session : Session or None
        Of a session, what computes its HMACs; None where its salt is not known here.
    context : TPMS_CONTEXT or None
        What the TPM gave to be loaded again later.
    resident : bool
        Whether it is in the TPM now.
    changes : bool
        Whether its context is of use only once: that of a session or a sequence.
    used : int
        When it was last used, in commands.
    faces : int
        How many objects in calling code stand for it, as far as that was looked at (`Core.faces`).
    gone : str
        Why it is not there any more; empty as long as it is.
    """

    __slots__ = (
        "auth",
        "changes",
        "context",
        "faces",
        "gone",
        "name",
        "number",
        "public",
        "real",
        "resident",
        "session",
        "used",
    )

    def __init__(self, number: int, *, real: int | None = None) -> None:
        self.number = number
        self.real = (number if real is None else real).to_bytes(4, "big")
        self.name: bytes | None = handle_name(number) if kind_of(number) in _CALLED_BY_HANDLE else None
        self.public: TPMT_PUBLIC | TPMS_NV_PUBLIC | None = None
        self.auth = AuthValue()
        self.session: Session | None = None
        self.context: TPMS_CONTEXT | None = None
        self.resident = True
        self.changes = kind_of(number) in SESSIONS
        self.used = 0
        self.faces = 0
        self.gone = ""

    @property
    def kind(self) -> int:
        """The type of the handle (TPM_HT)."""
        return self.number >> 24

    @property
    def is_session(self) -> bool:
        """Whether it is an HMAC or policy session."""
        return self.kind in SESSIONS

    @property
    def is_evictable(self) -> bool:
        """Whether it takes room in the TPM that it can be moved out of."""
        return self.kind == TPM_HT.TRANSIENT or self.kind in SESSIONS

    def password_field(self) -> bytes:
        """Return the TPMS_AUTH_COMMAND that authorizes it in plain."""
        live = self.auth.live()
        return PASSWORD_FIELD + len(live).to_bytes(2, "big") + live

    def describe(self, public: TPMT_PUBLIC | TPMS_NV_PUBLIC) -> None:
        """Take note of the public area, and of the Name that follows from it."""
        self.public, self.name = public, name_of(public)

    def set_nv_attributes(self, bits: TPMA_NV) -> None:
        """Take note that a command has set attributes of an NV index, which changes its Name."""
        from prestocloud_sec.tpm.spec.structures import TPMS_NV_PUBLIC

        if isinstance(self.public, TPMS_NV_PUBLIC) and self.public.attributes & bits != bits:
            self.describe(self.public.replace(attributes=self.public.attributes | bits))

    def forget_name(self) -> None:
        """Have the Name asked for again; of what is called by its handle it stays."""
        if kind_of(self.number) not in _CALLED_BY_HANDLE:
            self.name = self.public = None

    def end(self, why: str) -> None:
        """Take note that it is not there any more, and overwrite its secrets."""
        self.gone = self.gone or why
        self.resident = False
        self.context = None
        self.auth.wipe()
        if self.session is not None:
            self.session.wipe()

    def check(self) -> None:
        """Raise TpmMisuseError if it is not there any more."""
        if self.gone:
            raise TpmMisuseError(f"0x{self.number:08x} is gone: {self.gone}", where="handle")

    def __repr__(self) -> str:
        where = f"gone: {self.gone}" if self.gone else "in the TPM" if self.resident else "saved"
        return f"Entity(0x{self.number:08x}, {where})"


class Registry:
    """All entities, by the numbers that calling code has.

    Attributes
    ----------
    areas : dict
        For PCRs and permanent handles without an authorization value, by number: the handle, and the authorization area
        that goes with it. What is in there can be authorized without a look at anything else.
    """

    __slots__ = ("_entities", "_next", "areas")

    def __init__(self) -> None:
        self._entities: dict[int, Entity] = {}
        self._next = _LAST_VIRTUAL
        self.areas: dict[int, bytes] = {}

    def __iter__(self) -> Iterator[Entity]:
        return iter(list(self._entities.values()))

    def find(self, number: int) -> Entity | None:
        """Return an entity that is known."""
        return self._entities.get(number)

    def of(self, number: int) -> Entity:
        """Return the entity with a handle, which need not be known yet.

        What is always there is known from now on. A transient object or session that this client did not make is looked
        at anew each time, for whoever made it can give its handle to another.
        """
        found = self._entities.get(number)
        if found is None:
            found = Entity(number)
            if found.kind in _ALWAYS_THERE:
                self._keep(found)
        return found

    def arrived(self, real: int) -> Entity:
        """Return a new entity for a handle that the TPM has given out."""
        there = real.to_bytes(4, "big")
        for before in self:
            if before.real == there and (before.resident or before.is_session):
                self.drop(before, "the TPM gave its handle to another")  # else closing one would flush the other
        number = self._unused() if real in self._entities else real
        made = Entity(number, real=real)
        self._keep(made)
        return made

    def keep(self, entity: Entity) -> Entity:
        """Return an entity, which is known from now on."""
        self._keep(entity)
        return entity

    def drop(self, entity: Entity, why: str) -> None:
        """Take note that an entity is not there any more."""
        entity.end(why)
        if self._entities.get(entity.number) is entity:
            del self._entities[entity.number]
        self.areas.pop(entity.number, None)

    def set_auth(self, entity: Entity, value: AuthValueLike) -> None:
        """Take note of the value that authorizes an entity."""
        entity.check()
        given = auth_value(value)
        before, entity.auth = entity.auth, AuthValue(given.live())
        before.wipe()
        self._keep(entity)

    def _keep(self, entity: Entity) -> None:
        self._entities[entity.number] = entity
        if entity.kind in _QUICK and entity.auth.is_empty:
            self.areas[entity.number] = entity.real + _EMPTY_PASSWORD
        else:
            self.areas.pop(entity.number, None)

    def _unused(self) -> int:
        for _ in range(_FIRST_VIRTUAL, _LAST_VIRTUAL + 1):
            number = self._next
            self._next = number - 1 if number > _FIRST_VIRTUAL else _LAST_VIRTUAL
            if number not in self._entities:
                return number
        raise TpmMisuseError("no number is left for a further object", where="handle", hint="close some")


def number_of(handle: object, where: str = "handle") -> int:
    """Return a handle as a plain number.

    Raises
    ------
    TpmMisuseError
        If it is none.
    """
    return whole(handle, where, 0, 0xFFFFFFFF, error=TpmMisuseError)
