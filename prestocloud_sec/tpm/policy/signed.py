# SPDX-License-Identifier: Apache-2.0
"""Steps that need somebody else: the holder of a secret, or of a private key, or a ticket that either has given.

Source: TPM 2.0 Library, Part 3, 23.3 (PolicySigned), 23.4 (PolicySecret), 23.5 (PolicyTicket); Part 2, 10.7.5
(TPMT_TK_AUTH).

What a signer signs is ``nonceTPM || expiration || cpHash || policyRef``, each of which may be left out by leaving it
empty or zero. With *nonceTPM* the signature is good in one session only; with *expiration* so many seconds from the
session's start; with *cpHash* for one command only. Without any it is good for ever. A negative expiration asks the TPM
for a ticket, which stands for the signature in other sessions as long as that time runs.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from prestocloud_sec.tpm._given import octets
from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.tpm.hashes import HashAlgorithm
from prestocloud_sec.tpm.names import name_of
from prestocloud_sec.tpm.policy.kinds import DIGEST, FLAG, KEY, NAME, Encoded, Kind, Maybe, Octets, Whole, shown_bytes
from prestocloud_sec.tpm.policy.step import Step, policy_update
from prestocloud_sec.tpm.signatures import verify_signature
from prestocloud_sec.tpm.spec.commands.policies import PolicySecret, PolicySigned, PolicyTicket
from prestocloud_sec.tpm.spec.constants import TPM_CC, TPM_RH, TPM_ST
from prestocloud_sec.tpm.spec.structures.basic import TPMT_TK_AUTH
from prestocloud_sec.tpm.spec.structures.objects import TPMT_PUBLIC
from prestocloud_sec.tpm.spec.structures.schemes import TPMT_SIGNATURE

if TYPE_CHECKING:
    from prestocloud_sec.tpm.policy.run import Course
    from prestocloud_sec.wire import BytesLike

__all__ = ["Secret", "Signed", "Ticket", "check_signature"]

_REF = Octets(64)
_SECONDS = Whole(-(1 << 31), (1 << 31) - 1)
_LIMITS = {"policy_ref": _REF, "expiration": _SECONDS, "cp_hash": DIGEST, "with_nonce": FLAG}


def check_signature(
    key: TPMT_PUBLIC | bytes, signature: TPMT_SIGNATURE | BytesLike | None, message: bytes, where: str
) -> None:
    """Check a signature that a step needs.

    Parameters
    ----------
    key : TPMT_PUBLIC or bytes
        The key of the step; its Name does not do.
    signature : TPMT_SIGNATURE, bytes-like or None
        The signature.
    message : bytes
        What is signed.
    where : str
        What errors call the place.

    Raises
    ------
    VerificationError
        If it is not one of this key over `message`.
    TpmMisuseError
        If there is none, or the key is known by its Name alone.
    """
    if signature is None or isinstance(key, bytes):
        what = "no signature" if signature is None else "only the Name of the key is known"
        raise TpmMisuseError(what, where=where, expected="a signature and a public area")
    verify_signature(key, signature, message)


def _limited(step: Secret | Signed) -> str:
    """Return reference and limits as a tree shows them."""
    words = [f" ref {shown_bytes(step.policy_ref)}"] if step.policy_ref else []
    words += [f" for {abs(step.expiration)} s"] if step.expiration else []
    words += [" for one command"] if step.cp_hash else []
    words += [" for one session"] if step.with_nonce else []
    return ",".join(words)


@dataclass(frozen=True, slots=True)
class Secret(Step):
    """Whoever knows the authorization value of some entity has to agree.

    Attributes
    ----------
    entity : bytes or int
        The Name of the entity; of a hierarchy its handle, which is its Name.
    policy_ref : bytes
        A reference: at most 64 bytes that are a part of the policy.
    expiration : int
        Seconds; see the head of this module. Not a part of the digest, like what follows.
    cp_hash : bytes
        The cpHash of the only command it is good for; empty for any.
    with_nonce : bool
        Whether the time runs from now on, for this session only.
    """

    entity: bytes
    policy_ref: bytes = b""
    expiration: int = 0
    cp_hash: bytes = b""
    with_nonce: bool = False

    kinds: ClassVar[Mapping[str, Kind]] = {"entity": NAME, **_LIMITS}

    def extend(self, digest: bytes, algorithm: HashAlgorithm) -> bytes:
        """Return the policy's digest after this step."""
        return policy_update(digest, algorithm, self.code, self.entity, self.policy_ref)

    def run(self, course: Course) -> Generator[Any, Any, None]:
        """Yield the command, which the entity's value authorizes."""
        handle = yield from course.entity(self.entity)
        nonce = course.nonce if self.with_nonce else b""
        limits = nonce, self.cp_hash, self.policy_ref, self.expiration
        response = yield from course.command(PolicySecret(handle, course.handle, *limits))
        course.ticket(Ticket(self.entity, response.policyTicket, response.timeout, self.policy_ref, self.cp_hash))

    def words(self) -> str:
        """Return whose secret."""
        return f"of {_entity(self.entity)}{_limited(self)}"


@dataclass(frozen=True, slots=True)
class Signed(Step):
    """Whoever holds a private key has to agree.

    Attributes
    ----------
    key : TPMT_PUBLIC or bytes
        The public area of the key, or its Name.
    policy_ref : bytes
        A reference: at most 64 bytes that are a part of the policy.
    expiration : int
        Seconds; see the head of this module. Not a part of the digest, like what follows.
    cp_hash : bytes
        The cpHash of the only command it is good for; empty for any.
    with_nonce : bool
        Whether it is good for one session only.
    signature : TPMT_SIGNATURE or bytes, optional
        The signature over `to_sign`; without it the signer is asked when the policy is executed.

    Raises
    ------
    TpmMisuseError
        If there is a signature though every session needs its own.
    """

    key: TPMT_PUBLIC | bytes
    policy_ref: bytes = b""
    expiration: int = 0
    cp_hash: bytes = b""
    with_nonce: bool = False
    signature: TPMT_SIGNATURE | None = None

    kinds: ClassVar[Mapping[str, Kind]] = {"key": KEY, **_LIMITS, "signature": Maybe(Encoded(TPMT_SIGNATURE))}

    def __post_init__(self) -> None:
        Step.__post_init__(self)
        if self.with_nonce and self.signature is not None:
            raise TpmMisuseError("a signature, though each session needs its own", where="Signed", expected="None")

    @property
    def name(self) -> bytes:
        """The Name of the key."""
        return self.key if isinstance(self.key, bytes) else name_of(self.key)

    def to_sign(self, nonce_tpm: BytesLike = b"") -> bytes:
        """Return the bytes that the signer signs, hashed with the hash of the scheme.

        Parameters
        ----------
        nonce_tpm : bytes-like
            The session's `nonce_tpm`, where the step has `with_nonce`.

        Raises
        ------
        TpmMisuseError
            If there is a nonce where there should be none, or none where there should be one.
        """
        nonce = octets(nonce_tpm, "nonce_tpm")
        if bool(nonce) != self.with_nonce:
            expected = "the session's nonce" if self.with_nonce else "none"
            raise TpmMisuseError(f"{len(nonce)} bytes", where="nonce_tpm", expected=expected)
        return nonce + self.expiration.to_bytes(4, "big", signed=True) + self.cp_hash + self.policy_ref

    def check(self, signature: TPMT_SIGNATURE | BytesLike | None = None, nonce_tpm: BytesLike = b"") -> None:
        """Check a signature, or the step's own; see `prestocloud_sec.tpm.signatures.verify_signature`.

        Raises
        ------
        VerificationError
            If it is not one of this key over `to_sign`.
        TpmMisuseError
            If there is none, or the key is known by its Name alone.
        """
        check_signature(
            self.key, self.signature if signature is None else signature, self.to_sign(nonce_tpm), "Signed.check"
        )

    def extend(self, digest: bytes, algorithm: HashAlgorithm) -> bytes:
        """Return the policy's digest after this step."""
        return policy_update(digest, algorithm, self.code, self.name, self.policy_ref)

    def run(self, course: Course) -> Generator[Any, Any, None]:
        """Yield what loads the key, the request for a signature if there is none, and the command."""
        nonce = course.nonce if self.with_nonce else b""
        signature = self.signature
        if signature is None:
            signature = yield from course.signature(self, self.to_sign(nonce))
        limits = nonce, self.cp_hash, self.policy_ref, self.expiration

        def signed_by(handle: int) -> Generator[Any, Any, Any]:
            return course.command(PolicySigned(handle, course.handle, *limits, signature))

        response = yield from course.with_key(self.key, signed_by)
        course.ticket(Ticket(self.name, response.policyTicket, response.timeout, self.policy_ref, self.cp_hash))

    def words(self) -> str:
        """Return by whom."""
        return f"by {shown_bytes(self.name)}{_limited(self)}"


@dataclass(frozen=True, slots=True)
class Ticket(Step):
    """A ticket of the TPM stands for `Secret` or `Signed`, whose digest the step has.

    Attributes
    ----------
    entity : bytes
        The Name of the entity or key that agreed.
    ticket : TPMT_TK_AUTH or bytes
        What the TPM gave.
    timeout : bytes
        What the TPM gave with it.
    policy_ref : bytes
        The reference of the step that it stands for.
    cp_hash : bytes
        The cpHash of that step.

    Raises
    ------
    TpmMisuseError
        If the ticket is of another kind.
    """

    entity: bytes
    ticket: TPMT_TK_AUTH
    timeout: bytes
    policy_ref: bytes = b""
    cp_hash: bytes = b""

    kinds: ClassVar[Mapping[str, Kind]] = {
        "entity": NAME,
        "ticket": Encoded(TPMT_TK_AUTH),
        "timeout": Octets(64),
        "policy_ref": _REF,
        "cp_hash": DIGEST,
    }

    def __post_init__(self) -> None:
        Step.__post_init__(self)
        if self.ticket.tag not in _STANDS_FOR:
            raise TpmMisuseError(f"tag 0x{self.ticket.tag:04x}", where="Ticket.ticket", expected="8023 or 8025")

    @property
    def is_null(self) -> bool:
        """Whether the TPM gave no ticket, because none was asked for."""
        return self.ticket.hierarchy == TPM_RH.NULL and not self.ticket.digest

    def extend(self, digest: bytes, algorithm: HashAlgorithm) -> bytes:
        """Return the policy's digest after this step, which is that after the step the ticket stands for."""
        return policy_update(digest, algorithm, _STANDS_FOR[self.ticket.tag], self.entity, self.policy_ref)

    def run(self, course: Course) -> Generator[Any, Any, None]:
        """Yield the command."""
        fields = self.timeout, self.cp_hash, self.policy_ref, self.entity, self.ticket
        yield from course.command(PolicyTicket(course.handle, *fields))

    def words(self) -> str:
        """Return what the ticket stands for."""
        by = "secret" if self.ticket.tag == TPM_ST.AUTH_SECRET else "signature"
        ref = f", ref {shown_bytes(self.policy_ref)}" if self.policy_ref else ""
        return f"for the {by} of {_entity(self.entity)}{ref}"


_STANDS_FOR = {TPM_ST.AUTH_SECRET: int(TPM_CC.PolicySecret), TPM_ST.AUTH_SIGNED: int(TPM_CC.PolicySigned)}
"""Tags of tickets, and the commands whose digest they give."""


def _entity(name: bytes) -> str:
    """Return a Name as a tree shows it."""
    handle = int.from_bytes(name, "big") if len(name) == 4 else None
    if handle is None:
        return shown_bytes(name)
    return TPM_RH(handle).name.lower() if handle in set(TPM_RH) else f"0x{handle:08x}"
