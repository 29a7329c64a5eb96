# SPDX-License-Identifier: Apache-2.0
"""A policy as a value: steps in order, each of which may have further policies in it.

Source: TPM 2.0 Library, Part 1, clause 19 (Enhanced authorization).
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING, Any, NoReturn

from prestocloud_sec.tpm.errors import PolicyError, TpmMisuseError
from prestocloud_sec.tpm.hashes import HashAlgorithm, HashName, hash_of
from prestocloud_sec.tpm.policy.kinds import Kind
from prestocloud_sec.tpm.policy.step import Step
from prestocloud_sec.wire import shown

if TYPE_CHECKING:
    from prestocloud_sec.tpm.policy.run import Outcome, Request
    from prestocloud_sec.tpm.session import PolicySession

__all__ = ["APPROVED", "Policy"]

_DEEPEST = 16
_LONGEST_LABEL = 100


class Policy:
    """What has to hold for an object to be used.

    Steps are composed with ``>>`` or ``+``; all of them have to hold. `OR` offers alternatives. A policy is a value: it
    compares, hashes and prints as one, and goes to JSON and back without loss.

    Parameters
    ----------
    steps : Step or Policy
        The steps in order; those of a policy are taken one by one.
    label : str, optional
        What to call the policy where it is a branch; not a part of its digest.

    Raises
    ------
    PolicyError
        If something is no step, or policies are in policies more than 16 deep.

    Examples
    --------
    >>> from prestocloud_sec.tpm.policy import AuthValue, CommandCode, OR, Password
    >>> policy = CommandCode(0x15E) >> OR(AuthValue(), Password())
    >>> policy.digest("sha256").hex()[:16]
    'a4c3c7129e36a93f'
    """

    __slots__ = ("depth", "label", "steps")

    steps: tuple[Step, ...]
    label: str | None
    depth: int

    def __init__(self, *steps: Step | Policy, label: str | None = None) -> None:
        flat: list[Step] = []
        for step in steps:
            if isinstance(step, Policy):
                flat += step.steps
            elif isinstance(step, Step):
                flat.append(step)
            else:
                raise PolicyError(f"{type(step).__name__} is no step", where="Policy", expected="steps and policies")
        if label is not None and not _is_label(label):
            raise PolicyError(shown(label), where="Policy.label", expected="up to 100 printable characters, or None")
        inner = [child.depth for step in flat for _, child in step.children if isinstance(child, Policy)]
        depth = 1 + max(inner, default=0)
        if depth > _DEEPEST:
            raise PolicyError(f"{depth} policies in each other", where="Policy", expected=f"at most {_DEEPEST}")
        for name, value in (("steps", tuple(flat)), ("label", label), ("depth", depth)):
            object.__setattr__(self, name, value)

    # --- digests

    def digest(self, hash: HashName = "sha256") -> bytes:
        """Return the digest of the policy, which is an object's *authPolicy*; no TPM is needed.

        Parameters
        ----------
        hash : HashAlgorithm, int or str
            The hash of the policy: that of the session, and the nameAlg of the object.

        Raises
        ------
        PolicyError
            If a step has a digest of another hash.
        TpmMisuseError
            If there is no such hash.
        """
        algorithm = hash_of(hash)
        return self.extend(algorithm.zeros, algorithm)

    def digests(self, hash: HashName = "sha256") -> tuple[bytes, ...]:
        """Return the digest after each step, in order; errors as of `digest`."""
        algorithm = hash_of(hash)
        found, digest = [], algorithm.zeros
        for step in self.steps:
            digest = step.extend(digest, algorithm)
            found.append(digest)
        return tuple(found)

    def extend(self, digest: bytes, algorithm: HashAlgorithm) -> bytes:
        """Return the digest of another policy after the steps of this one too."""
        for step in self.steps:
            digest = step.extend(digest, algorithm)
        return digest

    # --- execution

    def run(
        self, session: PolicySession, *, choices: Iterable[int | str] = (), hierarchy: int = 0x40000001
    ) -> Generator[Request, Any, Outcome]:
        """Execute the policy in a session, without I/O: yield what has to be done, and take the answers.

        ``send`` an answer to each request, or ``throw`` the error that it ended with. The generator's return value says
        what came of it. The session notes what it has to know (`PolicySession.policy_command`).

        ===============  ==================================================================
        request          answer
        ===============  ==================================================================
        ``Run``          the response to its command, as the command's ``Response``
        ``Find``         the handle of the entity that has its Name
        ``Sign``         the signature over its message, by the key of its step
        ``Choose``       the branch to take: its number from 0, or its label
        ===============  ==================================================================

        Parameters
        ----------
        session : PolicySession
            A session of the policy's hash that has just been started, or used; a trial session too.
        choices : iterable of int or str
            The branches to take, in the order in which alternatives are met; asked for when there are no more.
        hierarchy : int
            Where public keys are loaded for the time that they are needed.

        Raises
        ------
        PolicyError
            If a step has a digest of another hash, or an answer is none.
        SessionStateError
            If the session has ended.
        """
        from prestocloud_sec.tpm.policy.run import Course

        return Course(session, choices, hierarchy).run(self)

    # --- texts

    def to_json(self, *, indent: int | None = 2) -> str:
        """Return the policy as JSON, which `from_json` takes back without loss."""
        from prestocloud_sec.tpm.policy.text import dump

        return json.dumps(dump(self), indent=indent, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Policy:
        """Return the policy that `to_json` has written.

        Raises
        ------
        PolicyFormatError
            If the text is not JSON, has keys it should not have or lacks some, or a value that is none.
        PolicyError
            If the policy cannot be.
        TpmMisuseError
            If `text` is neither text nor bytes, or a step cannot be.
        """
        from prestocloud_sec.tpm.policy.text import parse

        return parse(text)

    def __str__(self) -> str:
        from prestocloud_sec.tpm.policy.text import tree

        return tree(self)

    def __repr__(self) -> str:
        parts = [repr(step) for step in self.steps]
        if self.label is not None:
            parts.append(f"label={self.label!r}")
        return f"Policy({', '.join(parts)})"

    def _repr_html_(self) -> str:
        from prestocloud_sec.tpm.policy.text import html_tree

        return html_tree(self)

    # --- as a value

    def __rshift__(self, other: Step | Policy) -> Policy:
        """Return a policy of the steps of both; its label is this one's."""
        if not isinstance(other, Step | Policy):
            return NotImplemented
        return Policy(*self.steps, other, label=self.label)

    def __add__(self, other: Step | Policy) -> Policy:
        return self >> other

    def __len__(self) -> int:
        return len(self.steps)

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Policy):
            return NotImplemented
        return self.steps == other.steps and self.label == other.label

    def __hash__(self) -> int:
        return hash((self.steps, self.label))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"Policy.{name} is frozen")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"Policy.{name} is frozen")

    def __reduce__(self) -> tuple[object, ...]:
        return _revive, (self.steps, self.label)


def _is_label(label: object) -> bool:
    return isinstance(label, str) and label.isprintable() and 0 < len(label) <= _LONGEST_LABEL


def _revive(steps: tuple[Step, ...], label: str | None) -> Policy:
    return Policy(*steps, label=label)


class _Approved(Kind):
    """A policy; a single step is one too."""

    def admit(self, value: Any, where: str) -> Policy:
        if isinstance(value, Step):
            return Policy(value)
        if not isinstance(value, Policy):
            raise TpmMisuseError(type(value).__name__, where=where, expected="a Policy")
        return value

    def dump(self, value: Policy) -> Any:
        from prestocloud_sec.tpm.policy.text import dump

        return dump(value)

    def load(self, value: Any, where: str) -> Policy:
        from prestocloud_sec.tpm.policy.text import load

        return load(value, where)


APPROVED = _Approved()
"""A policy."""
