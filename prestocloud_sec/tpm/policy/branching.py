# SPDX-License-Identifier: Apache-2.0
"""Steps that offer alternatives: branches, and policies that somebody approves later.

Source: TPM 2.0 Library, Part 3, 23.6 (PolicyOR), 23.16 (PolicyAuthorize), 23.22 (PolicyAuthorizeNV).

The digest of a branch is that of all steps before the alternative, then its own: the TPM compares what the session has
come to. After the alternative the digest does not tell any more which branch it was.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from prestocloud_sec.tpm._given import octets
from prestocloud_sec.tpm.errors import PolicyError, PolicyFormatError, TpmMisuseError
from prestocloud_sec.tpm.hashes import HashAlgorithm, hash_of
from prestocloud_sec.tpm.names import name_of
from prestocloud_sec.tpm.policy.kinds import DIGEST, INDEX, KEY, Encoded, Kind, Maybe, Octets, shown_bytes
from prestocloud_sec.tpm.policy.policy import APPROVED, Policy
from prestocloud_sec.tpm.policy.signed import check_signature
from prestocloud_sec.tpm.policy.step import Step, policy_update, sized
from prestocloud_sec.tpm.spec.commands.policies import PolicyAuthorize, PolicyAuthorizeNV, PolicyOR
from prestocloud_sec.tpm.spec.commands.signing import VerifySignature
from prestocloud_sec.tpm.spec.structures.nv import TPMS_NV_PUBLIC
from prestocloud_sec.tpm.spec.structures.objects import TPMT_PUBLIC
from prestocloud_sec.tpm.spec.structures.schemes import TPMT_SIGNATURE
from prestocloud_sec.wire import items_of, shown

if TYPE_CHECKING:
    from prestocloud_sec.tpm.policy.run import Course
    from prestocloud_sec.wire import BytesLike

__all__ = ["OR", "Authorize", "AuthorizeNV", "any_of"]

_LEAST, _MOST = 2, 8
_REF = Octets(64)
_NO_STEPS = Policy()
_FOUND: ContextVar[dict[tuple[int, bytes, int], tuple[bytes, ...]] | None] = ContextVar("_FOUND", default=None)
"""What the alternatives inside of one have come to so far: by the step, the digest before it, and the hash.

A policy may be a branch at many places, in others that are branches at many places in turn. Where the steps before have
come to the same digest it does not have to be gone through again.
"""


class _Branches(Kind):
    """Policies, or digests of policies that are not known here."""

    def admit(self, value: Any, where: str) -> tuple[Policy | bytes, ...]:
        found = list(items_of(value, where, "policies or digests", error=TpmMisuseError))
        if not _LEAST <= len(found) <= _MOST:
            expected = f"{_LEAST} to {_MOST}"
            raise PolicyError(f"{len(found)} branches", where=where, expected=expected, hint="any_of takes more")
        return tuple(
            APPROVED.admit(branch, where) if isinstance(branch, Policy | Step) else DIGEST.admit(branch, where)
            for branch in found
        )

    def dump(self, value: Any) -> Any:
        return [{"digest": b.hex()} if isinstance(b, bytes) else APPROVED.dump(b) for b in value]

    def load(self, value: Any, where: str) -> Any:
        if not isinstance(value, list):
            raise PolicyFormatError(shown(value), where=where, expected="an array")
        return [
            DIGEST.load(branch["digest"], f"{where}[{number}].digest")
            if isinstance(branch, dict) and set(branch) == {"digest"}
            else APPROVED.load(branch, f"{where}[{number}]")
            for number, branch in enumerate(value)
        ]


@dataclass(frozen=True, slots=True, init=False, repr=False)
class OR(Step):
    """One of some branches has to hold.

    Parameters
    ----------
    branches : Policy, Step or bytes
        Two to eight. Of a branch that is not known here it is enough to know its digest: that of the whole policy up to
        the end of the branch.

    Raises
    ------
    PolicyError
        If there are fewer or more.
    """

    branches: tuple[Policy | bytes, ...]

    kinds: ClassVar[Mapping[str, Kind]] = {"branches": _Branches()}

    def __init__(self, *branches: Policy | Step | BytesLike) -> None:
        object.__setattr__(self, "branches", branches)
        Step.__post_init__(self)

    @property
    def children(self) -> tuple[tuple[str, Policy | bytes], ...]:
        """The branches."""
        return tuple((f"branch {number}", branch) for number, branch in enumerate(self.branches))

    def digests(self, digest: bytes, algorithm: HashAlgorithm) -> tuple[bytes, ...]:
        """Return the digests of the branches; `digest` is that of the steps before.

        Raises
        ------
        PolicyError
            If a digest in a branch is not of this hash.
        """
        found = _FOUND.get()
        if found is None:  # this is the outermost one, which keeps all that are in it alive
            token = _FOUND.set({})
            try:
                return self._digests(digest, algorithm)
            finally:
                _FOUND.reset(token)
        key = id(self), digest, algorithm.id
        if key not in found:
            found[key] = self._digests(digest, algorithm)
        return found[key]

    def _digests(self, digest: bytes, algorithm: HashAlgorithm) -> tuple[bytes, ...]:
        return tuple(
            sized(branch, algorithm, f"OR.branches[{number}]")
            if isinstance(branch, bytes)
            else branch.extend(digest, algorithm)
            for number, branch in enumerate(self.branches)
        )

    def extend(self, digest: bytes, algorithm: HashAlgorithm) -> bytes:
        """Return the policy's digest after this step; errors as of `digests`."""
        return self._hashed(algorithm.zeros, algorithm, *self.digests(digest, algorithm))

    def run(self, course: Course) -> Generator[Any, Any, None]:
        """Yield the request for a choice if there is one, what the branch yields, and the command."""
        digests = self.digests(course.digest, course.algorithm)
        chosen = yield from course.choice(self)
        branch = self.branches[chosen]
        if isinstance(branch, Policy):
            yield from course.steps(branch)
        yield from course.command(PolicyOR(course.handle, digests))

    def __repr__(self) -> str:
        return f"OR({', '.join(map(repr, self.branches))})"

    def words(self) -> str:
        """Return how many branches there are."""
        return f"of {len(self.branches)} branches"


def any_of(*branches: Policy | Step) -> Policy:
    """Return the policy that one of any number of policies holds: alternatives of alternatives where there are many.

    Raises
    ------
    PolicyError
        If there are no branches, more than eight to the power of fifteen, or one is no policy.
    """
    policies = [APPROVED.admit(branch, "any_of") for branch in branches]
    if not policies:
        raise PolicyError("no branches", where="any_of", expected="at least one")
    while len(policies) > _MOST:
        groups = [policies[at : at + _MOST] for at in range(0, len(policies), _MOST)]
        policies = [Policy(OR(*group)) if len(group) > 1 else group[0] for group in groups]
    return Policy(OR(*policies)) if len(policies) > 1 else policies[0]


@dataclass(frozen=True, slots=True)
class Authorize(Step):
    """A policy has to hold that the holder of a key has approved, now or later.

    Attributes
    ----------
    key : TPMT_PUBLIC or bytes
        The public area of the key, or its Name.
    policy_ref : bytes
        A reference: at most 64 bytes that are a part of the policy.
    approved : Policy
        What is approved besides the steps before. Not a part of the digest.
    signature : TPMT_SIGNATURE or bytes, optional
        The approval: the signature over `to_sign`, with the key's nameAlg for its hash. Without it the signer is asked
        when the policy is executed. Not a part of the digest.
    """

    key: TPMT_PUBLIC | bytes
    policy_ref: bytes = b""
    approved: Policy = _NO_STEPS
    signature: TPMT_SIGNATURE | None = None

    kinds: ClassVar[Mapping[str, Kind]] = {
        "key": KEY,
        "policy_ref": _REF,
        "approved": APPROVED,
        "signature": Maybe(Encoded(TPMT_SIGNATURE)),
    }

    @property
    def name(self) -> bytes:
        """The Name of the key."""
        return self.key if isinstance(self.key, bytes) else name_of(self.key)

    @property
    def children(self) -> tuple[tuple[str, Policy | bytes], ...]:
        """What is approved."""
        return (("approved", self.approved),) if self.approved.steps else ()

    def to_sign(self, approved_policy: BytesLike) -> bytes:
        """Return the bytes that the signer signs, hashed with the nameAlg of the key.

        Parameters
        ----------
        approved_policy : bytes-like
            The digest of what is approved: of all steps before, and of `approved`.
        """
        return octets(approved_policy, "approved_policy") + self.policy_ref

    def check(self, approved_policy: BytesLike, signature: TPMT_SIGNATURE | BytesLike | None = None) -> None:
        """Check an approval, or the step's own; see `prestocloud_sec.tpm.signatures.verify_signature`.

        Raises
        ------
        VerificationError
            If it is not one of this key over `to_sign`.
        TpmMisuseError
            If there is none, or the key is known by its Name alone.
        """
        found = self.signature if signature is None else signature
        check_signature(self.key, found, self.to_sign(approved_policy), "Authorize.check")

    def extend(self, digest: bytes, algorithm: HashAlgorithm) -> bytes:  # noqa: ARG002  (it begins anew)
        """Return the policy's digest after this step, which does not depend on what was approved."""
        return policy_update(algorithm.zeros, algorithm, self.code, self.name, self.policy_ref)

    def run(self, course: Course) -> Generator[Any, Any, None]:
        """Yield what the approved policy yields, what checks the approval, and the command."""
        yield from course.steps(self.approved)
        approved = course.digest
        signature = self.signature
        if signature is None:
            signature = yield from course.signature(self, self.to_sign(approved))
        digest = hash_of(int.from_bytes(self.name[:2], "big")).digest(self.to_sign(approved))

        def verified(handle: int) -> Generator[Any, Any, Any]:
            return course.plain(VerifySignature(handle, digest, signature))

        response = yield from course.with_key(self.key, verified)
        fields = approved, self.policy_ref, self.name, response.validation
        yield from course.command(PolicyAuthorize(course.handle, *fields))

    def words(self) -> str:
        """Return by whom."""
        ref = f", ref {shown_bytes(self.policy_ref)}" if self.policy_ref else ""
        return f"by {shown_bytes(self.name)}{ref}"


@dataclass(frozen=True, slots=True)
class AuthorizeNV(Step):
    """A policy has to hold whose digest an NV index has (as a TPMT_HA), now or later.

    Attributes
    ----------
    index : TPMS_NV_PUBLIC or bytes
        The index, by its public area or by its Name.
    approved : Policy
        What the index has the digest of, besides the steps before. Not a part of the digest.
    """

    index: TPMS_NV_PUBLIC | bytes
    approved: Policy = _NO_STEPS

    kinds: ClassVar[Mapping[str, Kind]] = {"index": INDEX, "approved": APPROVED}

    @property
    def name(self) -> bytes:
        """The Name of the index."""
        return self.index if isinstance(self.index, bytes) else name_of(self.index)

    @property
    def children(self) -> tuple[tuple[str, Policy | bytes], ...]:
        """What is approved."""
        return (("approved", self.approved),) if self.approved.steps else ()

    def extend(self, digest: bytes, algorithm: HashAlgorithm) -> bytes:  # noqa: ARG002  (it begins anew)
        """Return the policy's digest after this step, which does not depend on what was approved."""
        return self._hashed(algorithm.zeros, algorithm, self.name)

    def run(self, course: Course) -> Generator[Any, Any, None]:
        """Yield what the approved policy yields, and the command, which reads the index."""
        yield from course.steps(self.approved)
        handle, reader = yield from course.index(self.index)
        yield from course.command(PolicyAuthorizeNV(reader, handle, course.handle))

    def words(self) -> str:
        """Return which index."""
        return f"in {shown_bytes(self.index) if isinstance(self.index, bytes) else f'0x{self.index.nvIndex:08x}'}"
