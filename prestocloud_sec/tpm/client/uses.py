# SPDX-License-Identifier: Apache-2.0
"""What a caller may give as the sessions of a command, and what the client makes of it.

Source: TPM 2.0 Library, Part 1, clause 18: the sessions that authorize the handles of a command come first, in the
order of the handles, and three (MAX_SESSION_NUM) are the most.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from prestocloud_sec.tpm.client.handles import AsyncSessionHandle, SessionHandle, Transient
from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.tpm.session import MOST_SESSIONS, PASSWORD, PasswordAuthorization, Session, Use
from prestocloud_sec.wire import items_of

if TYPE_CHECKING:
    from prestocloud_sec.tpm.client.plan import Plan

__all__ = ["SessionLike", "Sessions", "listed", "uses_of"]

SessionLike: TypeAlias = Transient[Any] | Session | Use | PasswordAuthorization
"""A session: a handle of the client, a session machine, what `use` of either makes, or `PASSWORD`."""

Sessions: TypeAlias = "Sequence[SessionLike] | None"
"""The sessions of a command, in order: the first ones authorize its handles, further ones encrypt or audit. None lets
the client choose; handles for which no session is left are authorized by password."""


def listed(sessions: Sessions) -> Sessions:
    """Return the caller's sessions as a sequence that can be gone through again.

    A command may have to be put together more than once. An iterator would be empty by then, and the command go with a
    password in the place of the session.
    """
    if sessions is None or type(sessions) is tuple or type(sessions) is list:
        return sessions
    return tuple(items_of(sessions, "sessions", "sessions", error=TpmMisuseError))


def uses_of(plan: Plan, sessions: Sequence[SessionLike]) -> tuple[Use, ...]:
    """Return what the caller gave as sessions, with a password for each handle that none is left for.

    Raises
    ------
    TpmMisuseError
        If one of them is no session, the command takes none, or there are more than `MOST_SESSIONS`.
    """
    uses = []
    for given in sessions:
        if isinstance(given, Use):
            uses.append(given)
            continue
        found = given.session if isinstance(given, SessionHandle | AsyncSessionHandle) else given
        if not isinstance(found, Session | PasswordAuthorization):
            raise TpmMisuseError(
                f"a {type(given).__name__}", where="sessions", expected="sessions, PASSWORD, or what use() makes"
            )
        uses.append(found.default)
    if len(uses) < plan.auths:
        uses += [PASSWORD.default] * (plan.auths - len(uses))
    if uses and not plan.takes_sessions:
        name = plan.command.__name__
        raise TpmMisuseError(f"{name} takes no sessions", where="sessions", expected="none")
    if len(uses) > MOST_SESSIONS:
        raise TpmMisuseError(f"{len(uses)} sessions", where="sessions", expected=f"at most {MOST_SESSIONS}")
    return tuple(uses)
