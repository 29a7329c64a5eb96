# SPDX-License-Identifier: Apache-2.0
"""What executing a command needs to know of its declaration, looked up once for each command.

A `Plan` adds nothing to the declaration (`prestocloud_sec.tpm.spec.commands`): it holds its answers in the form in
which a command is put together and a response taken apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from struct import Struct
from typing import Any

from prestocloud_sec.tpm.client.changes import is_tracked
from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.tpm.session.changes import AFTER
from prestocloud_sec.tpm.spec.constants import TPM_CC, TPM_HT, TPM_SE
from prestocloud_sec.tpm.spec.declare import Command, SessionUse
from prestocloud_sec.wire import shown

__all__ = ["HEAD", "NO_SESSIONS", "OK", "SESSIONS", "Plan", "kinds_given", "plan_of"]

HEAD = Struct(">HII")
"""Tag, size and code: the beginning of every command and every response (Part 1, clause 18)."""

NO_SESSIONS, SESSIONS = 0x8001, 0x8002
"""The tags (TPM_ST)."""

OK = bytes(4)
"""The response code of success, as it stands in a response from its seventh byte."""

_PASSWORD_RESPONSE = bytes.fromhex("8002000000130000000000000000") + b"\0\0\1\0\0"
"""A response without handle and parameters, in one password session."""


def _no_handles(_command: Command) -> tuple[int, ...]:
    return ()


def _one(name: str) -> Callable[[Command], tuple[int, ...]]:
    get = attrgetter(name)
    return lambda command: (get(command),)


class Plan:
    """How a command is put together.

    Attributes
    ----------
    command, response : type
        The declarations.
    code : int
        The command code.
    head, response_head : bytes
        The code in four bytes, as digests of commands begin, and what those of responses begin with.
    handles : callable
        Returns the handles of a command, in order.
    count, auths : int
        How many handles it has; how many of them, the first ones, need an authorization.
    first : callable or None
        Returns the first handle.
    answers : int
        How many handles its response has.
    start : int
        Where in a response its handles end.
    sessions : SessionUse
        Whether it can carry sessions.
    encryptable : tuple of bool
        Whether the first parameter of command and response is a TPM2B.
    encrypts : bool
        Whether that of either is.
    nothing : Response or None
        The response of a command whose response has neither handles nor parameters.
    quick : bool
        Whether the command can be sent without looking at what the client holds: it has one handle, which it
        authorizes, or none, and neither makes nor changes anything that the client keeps track of.
    single : bool
        Whether it has one handle, which it authorizes, does not change the value that it is authorized with, and makes
        nothing that has a handle.
    bare_response : bytes
        The whole response of such a command, where `nothing` is in it.
    """

    __slots__ = (
        "answers",
        "auths",
        "bare_response",
        "code",
        "command",
        "count",
        "encryptable",
        "encrypts",
        "first",
        "handles",
        "head",
        "nothing",
        "quick",
        "response",
        "response_head",
        "sessions",
        "single",
        "start",
    )

    def __init__(self, command: type[Command], *, tracked: bool) -> None:
        names = command.handle_names
        self.command = command
        self.response = command.Response
        self.code = int(command.code)
        self.head = self.code.to_bytes(4, "big")
        self.count = len(names)
        self.auths = sum(role is not None for role in command.handle_auths)
        self.handles: Callable[[Any], tuple[int, ...]] = (
            _no_handles if not names else _one(names[0]) if len(names) == 1 else attrgetter(*names)
        )
        self.first: Callable[[Any], int] | None = attrgetter(names[0]) if names else None
        self.answers = len(self.response.handle_names)
        self.start = HEAD.size + 4 * self.answers
        self.sessions = command.sessions
        self.encryptable = (command.first_parameter_is_2b, self.response.first_parameter_is_2b)
        self.nothing = None if self.response.__match_args__ else self.response()
        self.quick = not tracked and self.count == self.auths and self.auths < 2 and not self.answers
        self.encrypts = any(self.encryptable)
        self.response_head = bytes(4) + self.head
        self.single = self.count == self.auths == 1 and not self.answers and self.code not in AFTER
        self.bare_response = _PASSWORD_RESPONSE if self.auths else HEAD.pack(NO_SESSIONS, HEAD.size, 0)

    @property
    def takes_sessions(self) -> bool:
        """Whether the command can carry sessions at all."""
        return self.sessions is not SessionUse.NEVER

    def __repr__(self) -> str:
        return f"Plan({self.command.__name__})"


PLANS: dict[type, Plan] = {}
"""The plans that were asked for so far, by command."""


def plan_of(command: object) -> Plan:
    """Return the plan of a command.

    Raises
    ------
    TpmMisuseError
        If it is no command that is declared.
    """
    plan = PLANS.get(type(command))
    if plan is None:
        if not isinstance(command, Command):
            expected = "a command of prestocloud_sec.tpm.spec"
            hint = "make one: it is a class" if isinstance(command, type) else None
            raise TpmMisuseError(f"{shown(command)} is no command", where="execute", expected=expected, hint=hint)
        kind = type(command)
        plan = PLANS[kind] = Plan(kind, tracked=is_tracked(kind))
    return plan


_GIVEN: Mapping[int, Callable[[Any], tuple[int, ...]]] = {
    TPM_CC.ContextLoad: lambda _: (TPM_HT.TRANSIENT, TPM_HT.HMAC_SESSION, TPM_HT.POLICY_SESSION),
    TPM_CC.StartAuthSession: lambda command: (
        TPM_HT.HMAC_SESSION if command.sessionType == TPM_SE.HMAC else TPM_HT.POLICY_SESSION,
    ),
}
"""The types of the handles that commands give out, where they are not those of objects."""


def kinds_given(command: Any) -> tuple[int, ...]:
    """Return the types (TPM_HT) that the handle in the response to a command can have."""
    given = _GIVEN.get(command.code)
    return (TPM_HT.TRANSIENT,) if given is None else given(command)
