# SPDX-License-Identifier: Apache-2.0
"""What commands change in what the client knows, as a table by command code.

A row is carried out when the TPM has said success and every HMAC of the response has been checked. Most commands have
none. Where the TPM tells a Name, it is computed anew from the public area, and the two have to be equal: the Name is
what authorizations are for, and it is not taken on trust.

Sources: TPM 2.0 Library, Part 3, the commands; Part 1, clauses 16 (Names), 17.6.4 (changed values), 37.2.3 (locks).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from prestocloud_sec.tpm.client.entities import NV, Entity
from prestocloud_sec.tpm.errors import TpmFormatError, TpmMisuseError, VerificationError
from prestocloud_sec.tpm.names import name_of
from prestocloud_sec.tpm.session import AuthValue, HmacSession, PolicySession, Session, auth_after, session_key
from prestocloud_sec.tpm.session.cipher import ParameterCipher
from prestocloud_sec.tpm.session.sessions import Binding
from prestocloud_sec.tpm.spec.attributes import TPMA_NV
from prestocloud_sec.tpm.spec.constants import TPM_CC, TPM_HT, TPM_RH, TPM_SE, TPM_SU
from prestocloud_sec.tpm.spec.declare import Command

if TYPE_CHECKING:
    from prestocloud_sec.tpm._secrets import Random
    from prestocloud_sec.tpm.client.calls import Call
    from prestocloud_sec.tpm.client.core import Core

__all__ = ["CHANGES", "Done", "is_tracked"]


class Done(NamedTuple):
    """A command that the TPM has carried out.

    Attributes
    ----------
    core : Core
        The client.
    call : Call
        The command as it was sent.
    response : Response
        The response.
    made : Entity or None
        The entity whose handle came back.
    """

    core: Core
    call: Call
    response: Any
    made: Entity | None

    @property
    def command(self) -> Any:
        """The command."""
        return self.call.command

    @property
    def new(self) -> Entity:
        """The entity whose handle came back, of a command whose response has one."""
        if self.made is None:
            raise TpmMisuseError("no handle came back", where=self.call.plan.command.__name__)
        return self.made


Change: TypeAlias = Callable[[Done], None]


def is_tracked(command: type[Command]) -> bool:
    """Tell whether a command changes anything that the client keeps track of."""
    return int(command.code) in CHANGES or command.code == TPM_CC.FlushContext


# --- objects ----------------------------------------------------------------------------------------------------------


def _named(entity: Entity, public: Any, name: bytes) -> None:
    """Take note of a public area; the Name that follows from it has to be the one that the TPM tells."""
    computed = name_of(public)
    if computed != name:
        raise VerificationError(
            f"the TPM says {name.hex() or 'none'}",
            where=f"Name of 0x{entity.number:08x}",
            expected=f"{computed.hex() or 'none'}, by its public area",
            hint="somebody changed the command or the response on the way",
        )
    entity.public, entity.name = public, computed


def _created(done: Done) -> None:
    _named(done.new, done.response.outPublic, done.response.name)
    done.core.registry.set_auth(done.new, done.command.inSensitive.userAuth)


def _loaded(done: Done) -> None:
    _named(done.new, done.command.inPublic, done.response.name)


def _loaded_external(done: Done) -> None:
    _named(done.new, done.command.inPublic, done.response.name)
    if done.command.inPrivate is not None:
        done.core.registry.set_auth(done.new, done.command.inPrivate.authValue)


def _sequence_started(done: Done) -> None:
    done.new.name = b""  # sequences have an empty one (Part 1, 32.4.5)
    done.new.changes = True
    done.core.registry.set_auth(done.new, done.command.auth)


def _first_completed(done: Done) -> None:
    done.core.registry.drop(done.call.entities[0], "the sequence was completed")


def _second_completed(done: Done) -> None:
    done.core.registry.drop(done.call.entities[1], "the sequence was completed")


def _evicted(done: Done) -> None:
    """Note that an object has a persistent twin now, or that a persistent object has ended."""
    source, registry = done.call.entities[1], done.core.registry
    if source.kind == TPM_HT.PERSISTENT:
        registry.drop(source, "it is not persistent any more")
        return
    kept = registry.of(int(done.command.persistentHandle))
    kept.name, kept.public = source.name, source.public
    registry.set_auth(kept, source.auth)


def _read_public(done: Done) -> None:
    entity, response = done.call.entities[0], done.response
    if entity.changes or response.outPublic is None:
        return
    if entity.kind == TPM_HT.TRANSIENT and entity.name is not None and entity.name != response.name:
        raise VerificationError(
            f"the TPM says {response.name.hex()}",
            where=f"Name of 0x{entity.number:08x}",
            expected=f"{entity.name.hex()}, as it was before",
            hint="somebody changed the response, or put another object in its place",
        )
    _named(entity, response.outPublic, response.name)


# --- contexts ---------------------------------------------------------------------------------------------------------


def _saved(done: Done) -> None:
    entity = done.call.entities[0]
    if entity.is_session:
        entity.context, entity.resident = done.response.context, False


def _context_loaded(done: Done) -> None:
    if done.new.is_session:
        done.new.context, done.new.resident = None, True


# --- sessions ---------------------------------------------------------------------------------------------------------


def _session_started(done: Done) -> None:
    command, response = done.command, done.response
    if len(response.nonceTPM) != len(command.nonceCaller):
        expected = f"{len(command.nonceCaller)}, as ours has"
        raise TpmFormatError(f"{len(response.nonceTPM)} bytes", where="nonceTPM", expected=expected)
    if done.core.starting is not None:
        done.new.session = done.core.starting.answered(response.sessionHandle, response.nonceTPM)
    elif command.tpmKey == TPM_RH.NULL:  # else there is a salt, which only who encrypted it knows
        entity = None if command.bind == TPM_RH.NULL else done.call.entities[1]
        done.new.session = _unsalted(command, response, entity, done.core.random)


def _unsalted(command: Any, response: Any, bind: Entity | None, random: Random) -> Session:
    """Return the session that a StartAuthSession without salt has made."""
    value = None if bind is None else bind.auth
    known: dict[str, Any] = {
        "hash": int(command.authHash),
        "nonce_tpm": response.nonceTPM,
        "session_key": session_key(
            int(command.authHash), nonce_tpm=response.nonceTPM, nonce_caller=command.nonceCaller, bind=value
        ),
        "cipher": ParameterCipher.decode(command.symmetric.encode()),
        "random": random,
    }
    if command.sessionType != TPM_SE.HMAC:
        return PolicySession(response.sessionHandle, is_trial=command.sessionType == TPM_SE.TRIAL, **known)
    binding = None if bind is None or bind.name is None else Binding(bind.name, bind.auth)
    return HmacSession(response.sessionHandle, binding=binding, **known)


def _policy_changed(done: Done) -> None:
    for entity in done.call.entities:
        if isinstance(entity.session, PolicySession):
            entity.session.policy_command(done.call.plan.code)


# --- authorization values ---------------------------------------------------------------------------------------------


def _auth_changed(done: Done) -> None:
    entity = done.call.entities[0]
    value = auth_after(done.call.plan.code, [entity.name or b""], done.command.encode_parameters())
    if value is not None:
        done.core.registry.set_auth(entity, value)


def _emptied(*numbers: int) -> Change:
    """Return what notes that hierarchies have lost their values, and that objects and indices may have ended."""

    def note(done: Done) -> None:
        for number in numbers:
            done.core.registry.set_auth(done.core.registry.of(number), AuthValue())
        done.core.shaken = True

    return note


# --- non-volatile memory ----------------------------------------------------------------------------------------------


def _defined(done: Done) -> None:
    public = done.command.publicInfo
    public = getattr(public, "nvPublic2", public)
    index = done.core.registry.of(int(public.nvIndex))
    index.forget_name()
    if index.kind == TPM_HT.NV_INDEX:
        index.describe(public)
    done.core.registry.set_auth(index, done.command.auth)


def _undefined(done: Done) -> None:
    for entity in done.call.entities:
        if entity.kind in NV:
            done.core.registry.drop(entity, "the index is not defined any more")


def _nv_attributes(bits: TPMA_NV) -> Change:
    def note(done: Done) -> None:
        done.call.entities[1].set_nv_attributes(bits)

    return note


def _all_locked(done: Done) -> None:
    for entity in done.core.registry:
        if entity.kind in NV and entity.public is not None and entity.public.attributes & TPMA_NV.GLOBALLOCK:  # type: ignore[union-attr]
            entity.set_nv_attributes(TPMA_NV.WRITELOCKED)


def _read_nv_public(done: Done) -> None:
    _named(done.call.entities[0], done.response.nvPublic, done.response.nvName)


def _read_nv_public_2(done: Done) -> None:
    if done.call.entities[0].kind == TPM_HT.NV_INDEX:
        _named(done.call.entities[0], done.response.nvPublic.nvPublic2, done.response.nvName)
    else:  # how the Names of the other kinds are made is in none of the documents that this follows
        done.call.entities[0].name = done.response.nvName


# --- the TPM as a whole -----------------------------------------------------------------------------------------------


def _started(done: Done) -> None:
    done.core.restarted(state=done.command.startupType == TPM_SU.STATE)


CC = TPM_CC

CHANGES: Mapping[int, Change] = {
    CC.CreatePrimary: _created,
    CC.CreateLoaded: _created,
    CC.Load: _loaded,
    CC.LoadExternal: _loaded_external,
    CC.MAC_Start: _sequence_started,
    CC.HashSequenceStart: _sequence_started,
    CC.SequenceComplete: _first_completed,
    CC.EventSequenceComplete: _second_completed,
    CC.EvictControl: _evicted,
    CC.ReadPublic: _read_public,
    CC.ContextSave: _saved,
    CC.ContextLoad: _context_loaded,
    CC.StartAuthSession: _session_started,
    CC.PolicyAuthValue: _policy_changed,
    CC.PolicyPassword: _policy_changed,
    CC.PolicyRestart: _policy_changed,
    CC.HierarchyChangeAuth: _auth_changed,
    CC.NV_ChangeAuth: _auth_changed,
    CC.PCR_SetAuthValue: _auth_changed,
    CC.Clear: _emptied(TPM_RH.OWNER, TPM_RH.ENDORSEMENT, TPM_RH.LOCKOUT),
    CC.ChangeEPS: _emptied(TPM_RH.ENDORSEMENT),
    CC.ChangePPS: _emptied(),
    CC.HierarchyControl: _emptied(),
    CC.NV_DefineSpace: _defined,
    CC.NV_DefineSpace2: _defined,
    CC.NV_UndefineSpace: _undefined,
    CC.NV_UndefineSpaceSpecial: _undefined,
    CC.NV_Write: _nv_attributes(TPMA_NV.WRITTEN),
    CC.NV_Increment: _nv_attributes(TPMA_NV.WRITTEN),
    CC.NV_Extend: _nv_attributes(TPMA_NV.WRITTEN),
    CC.NV_SetBits: _nv_attributes(TPMA_NV.WRITTEN),
    CC.NV_WriteLock: _nv_attributes(TPMA_NV.WRITELOCKED),
    CC.NV_ReadLock: _nv_attributes(TPMA_NV.READLOCKED),
    CC.NV_GlobalWriteLock: _all_locked,
    CC.NV_ReadPublic: _read_nv_public,
    CC.NV_ReadPublic2: _read_nv_public_2,
    CC.Startup: _started,
}
"""What each command changes, by its code; codes that are not here change nothing that the client keeps track of."""
