# SPDX-License-Identifier: Apache-2.0
"""One step of a policy: what all of them have in common.

Source: TPM 2.0 Library, Part 1, clause 19 (Enhanced authorization); Part 3, clause 23.

A policy's digest begins with zeros. Most steps put something behind it and hash the whole::

    P = H(P || commandCode || arguments)

Steps that somebody signs or authorizes (`policy_update`) do so twice, the second time even without a reference::

    P = H(P || commandCode || Name);  P = H(P || policyRef)

Steps that offer alternatives begin anew from zeros.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from prestocloud_sec.tpm.errors import PolicyError
from prestocloud_sec.tpm.hashes import HashAlgorithm
from prestocloud_sec.tpm.spec.constants import TPM_CC

if TYPE_CHECKING:
    from prestocloud_sec.tpm.policy.kinds import Kind
    from prestocloud_sec.tpm.policy.policy import Policy
    from prestocloud_sec.tpm.policy.run import Course

__all__ = ["STEPS", "Step", "policy_update", "sized"]


def policy_update(digest: bytes, algorithm: HashAlgorithm, code: int, name: bytes, policy_ref: bytes) -> bytes:
    """Return the digest after a step that an entity has signed or authorized (Part 3, 23.2.3, PolicyUpdate)."""
    first = algorithm.digest(digest, code.to_bytes(4, "big"), name)
    return algorithm.digest(first, policy_ref)


def sized(digest: bytes, algorithm: HashAlgorithm, where: str) -> bytes:
    """Return a digest that has to be of the policy's hash; PolicyError if it is of another."""
    if len(digest) != algorithm.size:
        raise PolicyError(f"{len(digest)} bytes", where=where, expected=f"a digest of {algorithm.name}")
    return digest


STEPS: dict[str, type[Step]] = {}
"""Every class of steps, by the name of its command."""


class Step:
    """Base of the steps, which are frozen values; each class is named as its command, without TPM2_Policy.

    `kinds` says what its fields hold; `op` and `code` are name and code of the command.
    """

    __slots__ = ()

    op: ClassVar[str]
    code: ClassVar[int]
    kinds: ClassVar[Mapping[str, Kind]] = {}

    def __init_subclass__(cls) -> None:
        name = f"Policy{cls.__name__}"
        if name in TPM_CC.__members__:
            cls.op, cls.code = name, int(TPM_CC[name])
            STEPS[name] = cls

    def __post_init__(self) -> None:
        for name, kind in self.kinds.items():
            held = kind.admit(getattr(self, name), f"{type(self).__name__}.{name}")
            object.__setattr__(self, name, held)

    def extend(self, digest: bytes, algorithm: HashAlgorithm) -> bytes:
        """Return the policy's digest after this step.

        Raises
        ------
        PolicyError
            If a digest in the step is not of this hash.
        """
        return self._hashed(digest, algorithm)

    def _hashed(self, digest: bytes, algorithm: HashAlgorithm, *arguments: bytes) -> bytes:
        """Return the digest of the policy so far, the command's code, and arguments."""
        return algorithm.digest(digest, self.code.to_bytes(4, "big"), *arguments)

    def run(self, course: Course) -> Generator[Any, Any, None]:  # noqa: ARG002  (that of a command needs it)
        """Yield what has to be done in a policy session, taking the answers; see `Policy.run`."""
        raise PolicyError(f"{type(self).__name__} is no command", where="step", expected="one of those in STEPS")

    def words(self) -> str:
        """Return what the step asks for, for a line of the tree."""
        return ""

    @property
    def children(self) -> tuple[tuple[str, Policy | bytes], ...]:
        """The policies that this one depends on, each with what it is."""
        return ()

    def __rshift__(self, other: Step | Policy) -> Policy:
        from prestocloud_sec.tpm.policy.policy import Policy

        return Policy(self) >> other

    def __add__(self, other: Step | Policy) -> Policy:
        return self >> other

    def __str__(self) -> str:
        words = self.words()
        return f"{type(self).__name__} {words}" if words else type(self).__name__
