# SPDX-License-Identifier: Apache-2.0
"""The four messages of a remote attestation, as values and as bytes.

::

    attester                                     challenger (a verifier, or a relying party)
       | -- Enrol: who I am, with certificates ------> |
       | <- Challenge: a nonce, a wrapped secret ----- |      or a Decision at once, if the certificates fail
       | -- Evidence: secret, quote, values, logs ---> |
       | <- Decision: every clause, signed ----------- |

All numbers are big-endian. Each message begins with ``PSRA``, the version 1 and its type; lists and bytes of any length
have their number in front and a limit (`prestocloud_sec.tpm.protocol._fields`). Each is bound to those before it: the
quote by its nonce, the secret's proof, and the signature of the decision are over digests of them as they were sent.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from enum import STRICT, IntEnum, IntFlag
from typing import TYPE_CHECKING, ClassVar

from prestocloud_sec.tpm._given import instance
from prestocloud_sec.tpm.attest.verdict import Clause, ClauseState, Verdict
from prestocloud_sec.tpm.protocol._fields import Blob, Field, Fixed, Listing, Message, Number, Row, Text, type_of

if TYPE_CHECKING:
    from typing import Self

__all__ = [
    "Challenge",
    "Decision",
    "Enrol",
    "EnrolKind",
    "Evidence",
    "WantedLogs",
    "digest",
    "message_type",
    "transcript",
]

_KIB = 1024
_CERTIFICATES = Listing("certificates", 8, Blob("certificate", 16 * _KIB))
MOST_VALUES = 256
"""Values of PCRs in one message: more than all 24 PCRs of ten banks."""
MOST_CLAUSES = 64
"""Clauses of a decision."""
MOST_WORDS = 2000
"""Bytes of UTF-8 that say why a clause holds or fails; longer words are cut."""
MOST_LOG = 32 * _KIB * _KIB
"""Bytes of one log."""

message_type = type_of


def digest(message: bytes) -> bytes:
    """Return what stands for a message in transcripts: its SHA-256."""
    return hashlib.sha256(message).digest()


def transcript(label: str, *digests: bytes) -> bytes:
    """Return a digest of messages as they were sent, for one purpose: ``SHA-256(label NUL digest1 digest2 ...)``."""
    return hashlib.sha256(label.encode("ascii") + b"\0" + b"".join(digests)).digest()


class EnrolKind(IntEnum):
    """As whom an attester comes."""

    ENDORSED = 1
    """As a TPM, with the certificate of its endorsement key: whoever reads that knows the device for ever."""
    PSEUDONYM = 2
    """As the holder of a certified key that says nothing about the TPM it is in."""


class WantedLogs(IntFlag, boundary=STRICT):
    """Which logs a challenge asks for."""

    NONE = 0
    BOOT = 1
    KERNEL = 2


@dataclass(frozen=True, slots=True)
class Enrol(Message):
    """The first message: who wants to be attested.

    Attributes
    ----------
    kind : EnrolKind
        As whom.
    nonce : bytes
        32 fresh bytes of the attester.
    ak_public, ek_public : bytes
        Public areas (TPMT_PUBLIC) of attestation and endorsement key; empty with a pseudonym.
    certificates : tuple of bytes
        DER: that of the endorsement key, or of the pseudonym, then those that lead towards a root.
    """

    TYPE: ClassVar[int] = 1
    FIELDS: ClassVar[tuple[Field, ...]] = (
        Number("kind", 1, EnrolKind),
        Fixed("nonce", 32),
        Blob("ak_public", 4 * _KIB),
        Blob("ek_public", 4 * _KIB),
        _CERTIFICATES,
    )

    kind: EnrolKind
    nonce: bytes
    ak_public: bytes
    ek_public: bytes
    certificates: tuple[bytes, ...]

    def problem(self) -> str | None:
        """Return what does not go together: a pseudonym with public areas, or an endorsed key without."""
        if self.kind is EnrolKind.PSEUDONYM and (self.ak_public or self.ek_public):
            return "a pseudonym that comes with public areas"
        if self.kind is EnrolKind.ENDORSED and not (self.ak_public and self.ek_public):
            return "an endorsed key without its public areas"
        return None if self.certificates else "no certificate"


@dataclass(frozen=True, slots=True)
class Challenge(Message):
    """The second message: what has to be shown.

    Attributes
    ----------
    exchange : bytes
        16 fresh bytes that name this run.
    nonce : bytes
        32 fresh bytes of the challenger.
    expires : int
        Milliseconds since 1970 after which no evidence is taken.
    selection : bytes
        TPML_PCR_SELECTION of what is to be quoted; empty where no quote is asked for.
    logs : WantedLogs
        Logs that are to come with it.
    id_object, encrypted_secret : bytes
        The credential that TPM2_ActivateCredential opens; empty for a pseudonym.
    """

    TYPE: ClassVar[int] = 2
    FIELDS: ClassVar[tuple[Field, ...]] = (
        Fixed("exchange", 16),
        Fixed("nonce", 32),
        Number("expires", 8),
        Blob("selection", _KIB),
        Number("logs", 1, WantedLogs),
        Blob("id_object", _KIB),
        Blob("encrypted_secret", _KIB),
    )

    exchange: bytes
    nonce: bytes
    expires: int
    selection: bytes
    logs: WantedLogs
    id_object: bytes
    encrypted_secret: bytes

    def problem(self) -> str | None:
        """Return what does not go together: half a credential, or logs without a quote."""
        if bool(self.id_object) is not bool(self.encrypted_secret):
            return "half a credential"
        return "logs without a quote" if self.logs and not self.selection else None


@dataclass(frozen=True, slots=True)
class Evidence(Message):
    """The third message: what is shown.

    Attributes
    ----------
    exchange : bytes
        That of the challenge.
    proof : bytes
        HMAC-SHA-256 by the secret of the credential over the transcript and the rest of this message; or empty.
    attest, signature : bytes
        The quote (TPMS_ATTEST) and its signature (TPMT_SIGNATURE); of a pseudonym, the signature alone.
    values : tuple of bytes
        The values that were quoted, in the order of the quote.
    boot_log, kernel_log : bytes
        The logs; empty where there are none.
    """

    TYPE: ClassVar[int] = 3
    FIELDS: ClassVar[tuple[Field, ...]] = (
        Fixed("exchange", 16),
        Blob("proof", 32),
        Blob("attest", 4 * _KIB),
        Blob("signature", 4 * _KIB),
        Listing("values", MOST_VALUES, Blob("value", 64)),
        Blob("boot_log", MOST_LOG),
        Blob("kernel_log", MOST_LOG),
    )

    exchange: bytes
    proof: bytes
    attest: bytes
    signature: bytes
    values: tuple[bytes, ...] = ()
    boot_log: bytes = b""
    kernel_log: bytes = b""

    def without_proof(self) -> bytes:
        """Return the bytes that the proof is over: the message with an empty proof."""
        return replace(self, proof=b"").encode()


_STATES = (ClauseState.HOLDS, ClauseState.FAILS, ClauseState.NOT_CHECKED)


@dataclass(frozen=True, slots=True)
class _WireClause:
    """A clause as it is on the wire: its state by number."""

    name: str
    state: int
    words: str


@dataclass(frozen=True, slots=True)
class Decision(Message):
    """The last message: what was found, and what follows from it.

    Attributes
    ----------
    exchange : bytes
        That of the challenge; zeros where there was none.
    is_accepted : bool
        Whether the challenger accepts the device.
    clauses : tuple
        Name, number of the state (0 holds, 1 fails, 2 not checked) and words of every clause; `verdict` has them as
        a value.
    culprit : str
        The measurement that broke trust, in words; empty if none did.
    issued, expires : int
        Milliseconds since 1970: when it was decided, and until when it is meant.
    certificates : tuple of bytes
        DER: a certificate of the attestation key that says nothing about its TPM, and those above it; empty if none was
        issued.
    signature : bytes
        64 bytes: Ed25519 by the challenger over the transcript and the rest of this message.
    """

    TYPE: ClassVar[int] = 4
    FIELDS: ClassVar[tuple[Field, ...]] = (
        Fixed("exchange", 16),
        Number("is_accepted", 1, lambda number: bool((0, 1).index(number))),
        Listing(
            "clauses",
            MOST_CLAUSES,
            Row(
                "clause",
                _WireClause,
                (
                    Text("name", 64),
                    Number("state", 1, lambda number: range(len(_STATES)).index(number)),
                    Text("words", MOST_WORDS),
                ),
            ),
        ),
        Text("culprit", MOST_WORDS),
        Number("issued", 8),
        Number("expires", 8),
        _CERTIFICATES,
        Fixed("signature", 64),
    )

    exchange: bytes
    is_accepted: bool
    clauses: tuple[_WireClause, ...]
    culprit: str
    issued: int
    expires: int
    certificates: tuple[bytes, ...] = ()
    signature: bytes = bytes(64)

    def problem(self) -> str | None:
        """Return what does not go together: one clause twice, or a device accepted though a clause fails."""
        names = [clause.name for clause in self.clauses]
        if len(set(names)) != len(names):
            return "one clause twice"
        if self.is_accepted and (not names or any(clause.state == 1 for clause in self.clauses)):
            return "a device that is accepted though a clause fails"
        return None

    @classmethod
    def of(
        cls,
        exchange: bytes,
        verdict: Verdict,
        *,
        is_accepted: bool,
        issued: int,
        expires: int,
        certificates: tuple[bytes, ...] = (),
    ) -> Self:
        """Return the message of a verdict, not signed yet; words that are too long are cut."""
        found = instance(verdict, Verdict, "verdict").clauses
        clauses = tuple(_WireClause(clause.name, _STATES.index(clause.state), _cut(clause.words)) for clause in found)
        culprit = "" if verdict.culprit is None else _cut(str(verdict.culprit))
        return cls(exchange, is_accepted, clauses, culprit, issued, expires, certificates)

    @property
    def verdict(self) -> Verdict:
        """The clauses as a verdict; the measurement that broke trust is there in words only (`culprit`)."""
        return Verdict("the decision", tuple(Clause(c.name, _STATES[c.state], c.words) for c in self.clauses))

    def unsigned(self) -> bytes:
        """Return the bytes that the signature is over: the message with zeros in its place."""
        return replace(self, signature=bytes(64)).encode()


def _cut(words: str) -> str:
    """Return words that fit into the message and can be encoded."""
    raw = words.encode("utf-8", "backslashreplace")
    return (
        words
        if len(raw) <= MOST_WORDS and raw.decode() == words
        else raw[: MOST_WORDS - 3].decode("utf-8", "ignore") + "..."
    )
