# SPDX-License-Identifier: Apache-2.0
"""A policy on its way through a session: what it asks for, and what it keeps in mind.

Nothing here talks to a TPM. `Course` is handed through the steps; each yields requests and takes the answers.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from prestocloud_sec.tpm.errors import PolicyError, TpmMisuseError
from prestocloud_sec.tpm.hashes import HashAlgorithm
from prestocloud_sec.tpm.names import name_of
from prestocloud_sec.tpm.policy.kinds import Encoded
from prestocloud_sec.tpm.session import PolicySession
from prestocloud_sec.tpm.spec.attributes import TPMA_NV
from prestocloud_sec.tpm.spec.commands.management import FlushContext
from prestocloud_sec.tpm.spec.commands.objects import LoadExternal
from prestocloud_sec.tpm.spec.constants import TPM_RH
from prestocloud_sec.tpm.spec.declare import Command
from prestocloud_sec.tpm.spec.structures.nv import TPMS_NV_PUBLIC
from prestocloud_sec.tpm.spec.structures.objects import TPMT_PUBLIC
from prestocloud_sec.tpm.spec.structures.schemes import TPMT_SIGNATURE
from prestocloud_sec.wire import items_of, shown, whole

if TYPE_CHECKING:
    from prestocloud_sec.tpm.policy.branching import OR, Authorize
    from prestocloud_sec.tpm.policy.policy import Policy
    from prestocloud_sec.tpm.policy.signed import Signed, Ticket

__all__ = ["Choose", "Course", "Find", "Outcome", "Request", "Run", "Sign"]


@dataclass(frozen=True, slots=True)
class Run:
    """A command is to be executed; the answer is its response.

    Attributes
    ----------
    command : Command
        The command. Its declaration says whether its first handle needs authorization.
    """

    command: Command


@dataclass(frozen=True, slots=True)
class Find:
    """An entity is needed; the answer is its handle.

    Attributes
    ----------
    name : bytes
        Its Name.
    """

    name: bytes


@dataclass(frozen=True, slots=True)
class Sign:
    """A signature is needed; the answer is a TPMT_SIGNATURE.

    Attributes
    ----------
    step : Signed or Authorize
        What it is for; has the key.
    message : bytes
        What is to be signed.
    """

    step: Signed | Authorize
    message: bytes


@dataclass(frozen=True, slots=True)
class Choose:
    """A branch is to be chosen; the answer is its number from 0, or its label.

    Attributes
    ----------
    step : OR
        Has the branches.
    """

    step: OR


Request: TypeAlias = Run | Find | Sign | Choose
"""What a policy asks for."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What has come of a policy.

    Attributes
    ----------
    digest : bytes
        The digest that the session should have now.
    path : tuple of int
        The branches that were taken, in the order in which alternatives were met.
    tickets : tuple of Ticket
        The tickets that the TPM has given; each can stand for its step as long as it is valid.
    """

    digest: bytes
    path: tuple[int, ...]
    tickets: tuple[Ticket, ...]


_READERS = (
    (TPMA_NV.AUTHREAD, None),
    (TPMA_NV.OWNERREAD, TPM_RH.OWNER),
    (TPMA_NV.PPREAD, TPM_RH.PLATFORM),
    (TPMA_NV.POLICYREAD, None),
)
"""Who may read an NV index, by its attributes; None for the index itself."""

_SIGNATURE = Encoded(TPMT_SIGNATURE)


class Course:
    """A policy on its way.

    Parameters
    ----------
    session : PolicySession
        Where it is executed.
    choices : iterable of int or str
        Branches that are chosen already.
    hierarchy : int
        Where public keys are loaded.
    """

    __slots__ = ("_choices", "_hierarchy", "_session", "algorithm", "digest", "handle", "path", "tickets")

    def __init__(self, session: PolicySession, choices: Iterable[int | str], hierarchy: int) -> None:
        if not isinstance(session, PolicySession):
            raise TpmMisuseError(type(session).__name__, where="session", expected="a PolicySession")
        self._session = session
        self._choices: Iterator[int | str] = items_of(choices, "choices", "numbers or labels", error=TpmMisuseError)
        self._hierarchy = whole(hierarchy, "hierarchy", 0, 0xFFFFFFFF, error=TpmMisuseError)
        self.algorithm: HashAlgorithm = session.algorithm
        """The hash of the session."""
        self.handle = session.handle
        """Its handle."""
        self.digest = self.algorithm.zeros
        """The digest of the steps so far."""
        self.path: list[int] = []
        self.tickets: list[Ticket] = []

    @property
    def nonce(self) -> bytes:
        """The TPM's last nonce in the session."""
        return self._session.nonce_tpm

    def run(self, policy: Policy) -> Generator[Request, Any, Outcome]:
        """Yield all that a policy asks for; see `Policy.run`."""
        yield from self.steps(policy)
        return Outcome(self.digest, tuple(self.path), tuple(self.tickets))

    def steps(self, policy: Policy) -> Generator[Request, Any, None]:
        """Yield what the steps of a policy ask for."""
        for step in policy.steps:
            after = step.extend(self.digest, self.algorithm)
            yield from step.run(self)
            self.digest = after

    # --- requests

    def plain(self, command: Command) -> Generator[Request, Any, Any]:
        """Yield a command, and return its response."""
        response = yield Run(command)
        if not isinstance(response, type(command).Response):
            expected = f"the response to {type(command).__name__}"
            raise PolicyError(type(response).__name__, where="answer", expected=expected)
        return response

    def command(self, command: Command) -> Generator[Request, Any, Any]:
        """Yield a command on the session, return its response, and let the session know."""
        response = yield from self.plain(command)
        self._session.policy_command(command.code)
        return response

    def entity(self, name: bytes) -> Generator[Request, Any, int]:
        """Return the handle of an entity, having asked for it where its Name does not tell."""
        if len(name) == 4:
            return int.from_bytes(name, "big")
        handle = yield Find(name)
        return whole(handle, "answer", 0, 0xFFFFFFFF, error=PolicyError)

    def index(self, index: TPMS_NV_PUBLIC | bytes) -> Generator[Request, Any, tuple[int, int]]:
        """Return the handle of an NV index, and of who may read it."""
        if isinstance(index, bytes):
            handle = yield from self.entity(index)
            return handle, handle
        for attribute, reader in _READERS:
            if index.attributes & attribute:
                return index.nvIndex, index.nvIndex if reader is None else reader
        raise PolicyError(
            f"0x{index.nvIndex:08x} cannot be read", where="index", expected="an attribute that allows it"
        )

    def signature(self, step: Signed | Authorize, message: bytes) -> Generator[Request, Any, TPMT_SIGNATURE]:
        """Return a signature that was asked for."""
        answer = yield Sign(step, message)
        signature: TPMT_SIGNATURE = _SIGNATURE.admit(answer, "answer")
        return signature

    def with_key(
        self, key: TPMT_PUBLIC | bytes, work: Callable[[int], Generator[Request, Any, Any]]
    ) -> Generator[Request, Any, Any]:
        """Return what `work` returns for the handle of a key; a public area is loaded for as long as it takes."""
        if isinstance(key, bytes):
            handle = yield from self.entity(key)
            return (yield from work(handle))
        loaded = yield from self.plain(LoadExternal(None, key, self._hierarchy))
        try:
            self._check_name(loaded.name, key)
            result = yield from work(loaded.objectHandle)
        except Exception:  # whatever was thrown in: the key does not stay behind
            yield Run(FlushContext(loaded.objectHandle))
            raise
        yield Run(FlushContext(loaded.objectHandle))
        return result

    @staticmethod
    def _check_name(name: bytes, key: TPMT_PUBLIC) -> None:
        if name != name_of(key):
            raise PolicyError("the TPM gives the key another Name", where="answer", expected=name_of(key).hex())

    def choice(self, step: OR) -> Generator[Request, Any, int]:
        """Return which branch to take, having asked where there is a choice."""
        possible = [
            number
            for number, branch in enumerate(step.branches)
            if not isinstance(branch, bytes) or branch == self.digest
        ]
        if not possible:
            raise PolicyError("no branch is known by more than its digest", where="OR", expected="a policy")
        answer = next(self._choices, None)
        if answer is None:
            answer = possible[0] if len(possible) == 1 else (yield Choose(step))
        chosen = _numbered(step, answer)
        if chosen not in possible:
            raise PolicyError(f"{shown(answer)} is no branch to take", where="OR", expected=f"one of {possible}")
        self.path.append(chosen)
        return chosen

    def ticket(self, ticket: Ticket) -> None:
        """Keep a ticket, if it is one."""
        if not ticket.is_null:
            self.tickets.append(ticket)


def _numbered(step: OR, answer: int | str) -> int:
    if isinstance(answer, str):
        labels = [None if isinstance(branch, bytes) else branch.label for branch in step.branches]
        if labels.count(answer) != 1:
            raise PolicyError(f"{shown(answer)} is no label of one branch", where="OR", expected=f"one of {labels}")
        return labels.index(answer)
    return whole(answer, "choice", 0, len(step.branches) - 1, error=PolicyError)
