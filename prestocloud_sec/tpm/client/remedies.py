# SPDX-License-Identifier: Apache-2.0
"""What the client does of its own accord about a refusal, as a table by response code; and what it adds to errors.

Each remedy is tried once for a command, but for making room, which ends when nothing is left to bring out. After a
remedy the command is put together anew and sent again: a command that was refused has done nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from prestocloud_sec.tpm.client.capabilities import everything
from prestocloud_sec.tpm.client.entities import NV, Entity
from prestocloud_sec.tpm.client.lockout import lockout_error
from prestocloud_sec.tpm.client.residence import Steps, asked
from prestocloud_sec.tpm.errors import TpmResponseError
from prestocloud_sec.tpm.session import Session
from prestocloud_sec.tpm.spec.commands import SelfTest
from prestocloud_sec.tpm.spec.constants import TPM_CAP, TPM_CC, TPM_HT, TPM_RC

if TYPE_CHECKING:
    from prestocloud_sec.tpm.client.calls import Call
    from prestocloud_sec.tpm.client.core import Core
    from prestocloud_sec.tpm.client.lifetime import Lifetime

__all__ = ["reconcile", "remedied"]


class Refusal(NamedTuple):
    """A command that the TPM has refused.

    Attributes
    ----------
    core : Core
        The client.
    call : Call
        The command as it was sent.
    error : TpmResponseError
        What it said.
    """

    core: Core
    call: Call
    error: TpmResponseError


Remedy: TypeAlias = Callable[[Refusal], Steps[bool]]
"""Returns whether to send the command again, or raises an error that says more."""

_SESSION_NOT_LOADED = range(TPM_RC.REFERENCE_S0, TPM_RC.REFERENCE_S0 + 3)


def remedied(core: Core, call: Call, error: TpmResponseError, tried: set[str]) -> Steps[bool]:
    """Do something about a refusal.

    Parameters
    ----------
    core : Core
        The client.
    call : Call
        The command that was refused.
    error : TpmResponseError
        What it said.
    tried : set of str
        What was tried for this command; added to.

    Returns
    -------
    bool
        Whether the command is to be sent again.
    """
    code = error.rc & 0xFFFF
    keep = [*call.entities, *_sessions(core, call)]
    if (yield from core.residence.make_room(code, keep)):
        return True
    remedy = _REMEDIES.get(code)
    if remedy is None or remedy.__name__ in tried:
        _doubt(call)
        return False
    tried.add(remedy.__name__)
    return (yield from remedy(Refusal(core, call, error)))


def _doubt(call: Call) -> None:
    """Have Names of what others can change asked for again: the refusal may be because of them."""
    for entity in call.entities:
        if entity.kind == TPM_HT.PERSISTENT or entity.kind in NV:
            entity.forget_name()


def _sessions(core: Core, call: Call) -> list[Entity]:
    found = []
    for use in call.uses:
        entity = core.registry.find(use.session.handle)
        if isinstance(use.session, Session) and entity is not None and entity.session is use.session:
            found.append(entity)
    return found


def _start(refused: Refusal) -> Steps[bool]:
    core, call, error = refused
    if not core.startup or call.plan.code == TPM_CC.Startup:
        return False
    sessions = _sessions(core, call)
    yield from core.start()
    chosen = () if core.protection is None else core.protection.sessions
    if any(entity.gone and entity not in chosen for entity in (*call.entities, *sessions)):
        error.hint = "it has been started now, but what the command names went with the power"
        raise error
    return True


def _test(_refused: Refusal) -> Steps[bool]:
    yield from asked(SelfTest(False))
    return True


def _start_sessions(refused: Refusal) -> Steps[bool]:
    """Start sessions of the client's own choice anew, which somebody flushed."""
    core, call, _ = refused
    yield from ()
    return core.protection is not None and core.protection.renew(core, _sessions(core, call))


def _explain_lockout(refused: Refusal) -> Steps[bool]:
    raise (yield from lockout_error(refused.error, refused.call))


_REMEDIES: Mapping[int, Remedy] = {
    TPM_RC.INITIALIZE: _start,
    TPM_RC.NEEDS_TEST: _test,
    TPM_RC.LOCKOUT: _explain_lockout,
    **dict.fromkeys(_SESSION_NOT_LOADED, _start_sessions),
}


def reconcile(core: Lifetime) -> Steps[None]:
    """Find out what is still there, after a command that may have ended objects and indices without saying which."""
    for kind in (TPM_HT.TRANSIENT, TPM_HT.PERSISTENT, TPM_HT.NV_INDEX):
        there: tuple[Any, ...] = yield from everything(TPM_CAP.HANDLES, kind << 24)
        for entity in core.registry:
            if entity.kind != kind or not entity.resident:
                continue
            if int.from_bytes(entity.real, "big") not in there:
                core.registry.drop(entity, "a command on its whole hierarchy ended it")
            elif kind != TPM_HT.TRANSIENT:
                entity.forget_name()
