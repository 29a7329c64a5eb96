# SPDX-License-Identifier: Apache-2.0
"""What verifiers and relying parties have in common: exchanges that are named once, answered once, and end in time.

A challenger is a machine without input and output: a message and the time go in, a message comes out. It remembers an
exchange from its challenge to the first evidence that names it, right or wrong; a second one is refused, so no nonce is
used twice. Exchanges that nobody answers are forgotten after their time, and no more than a number are under way at
once, however many messages come.

Theory of operation: `received` looks at the type of the message. An Enrol opens an exchange (`_opened` of the subclass
says what is to be challenged, or that nothing is, and then the decision comes at once). An Evidence closes it
(`_judged` of the subclass adds its clauses). Every decision is signed with the challenger's Ed25519 key over all
messages before it.
"""

from __future__ import annotations

import datetime
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from prestocloud_sec.tpm._given import octets
from prestocloud_sec.tpm._secrets import KeepsSecrets, drawn
from prestocloud_sec.tpm.attest.verdict import Findings, Verdict
from prestocloud_sec.tpm.errors import ExchangeError, TpmMisuseError
from prestocloud_sec.tpm.protocol.messages import (
    Challenge,
    Decision,
    Enrol,
    Evidence,
    digest,
    message_type,
    transcript,
)
from prestocloud_sec.wire import shown, whole

if TYPE_CHECKING:
    from prestocloud_sec.tpm._secrets import Random
    from prestocloud_sec.wire import BytesLike

__all__ = [
    "DECISION_LABEL",
    "PROOF_LABEL",
    "QUOTE_LABEL",
    "SIGN_LABEL",
    "Challenger",
    "Pending",
    "Step",
    "moment",
    "signed_by_pseudonym",
]

QUOTE_LABEL = "prestocloud-sec attestation 1 quote"
PROOF_LABEL = "prestocloud-sec attestation 1 proof"
SIGN_LABEL = "prestocloud-sec attestation 1 pseudonym"
DECISION_LABEL = "prestocloud-sec attestation 1 decision"

_NO_EXCHANGE = bytes(16)
_LATEST = 1 << 40  # seconds; the year 36812, which no clock that is right will tell


def signed_by_pseudonym(*digests: bytes) -> bytes:
    """Return what the key of a pseudonym signs of an exchange: bytes that never look like an attestation."""
    return f"{SIGN_LABEL}\0".encode() + transcript(SIGN_LABEL, *digests)


def moment(now: float) -> datetime.datetime:
    """Return a time, given in seconds since 1970, as a datetime; TpmMisuseError if it is none."""
    # The comparison is false for what is no number, too; and an integer may be too large to become a float.
    if not isinstance(now, int | float) or isinstance(now, bool) or not 0 <= now < _LATEST:
        raise TpmMisuseError(shown(now), where="now", expected="seconds since 1970")
    try:
        return datetime.datetime.fromtimestamp(now, datetime.UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise TpmMisuseError(shown(now), where="now", expected="a time before the year 10000") from error


@dataclass(frozen=True, slots=True)
class Step:
    """What a message led to.

    Attributes
    ----------
    message : bytes
        The answer, to be sent back.
    verdict : Verdict or None
        What was found, once it is decided.
    is_accepted : bool or None
        Whether the device is accepted; None before it is decided.
    """

    message: bytes
    verdict: Verdict | None = None
    is_accepted: bool | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Pending:
    """An exchange under way.

    Attributes
    ----------
    exchange : bytes
        Its name.
    digests : tuple of bytes
        What stands for its messages so far.
    expires : float
        Seconds since 1970 after which no evidence is taken.
    findings : Findings
        What was found so far.
    context : object
        What the subclass needs to judge the answer.
    """

    exchange: bytes
    digests: tuple[bytes, ...]
    expires: float
    findings: Findings
    context: Any

    def transcript(self, label: str, *more: bytes) -> bytes:
        """Return the digest of the exchange so far, and of further messages, for one purpose."""
        return transcript(label, *self.digests, *map(digest, more))


class Challenger(KeepsSecrets, ABC):
    """Base of the machines that challenge and decide.

    Parameters
    ----------
    signing_key : Ed25519PrivateKey
        Signs the decisions.
    challenge_seconds : int
        How long evidence is waited for.
    decision_seconds : int
        How long a decision is meant.
    most_exchanges : int
        How many may be under way at once.
    random : callable, optional
        Returns fresh random bytes; the machine's own unless told otherwise.
    """

    __slots__ = ("_challenge_seconds", "_decision_seconds", "_key", "_most", "_pending", "_random")

    def __init__(
        self,
        signing_key: Ed25519PrivateKey,
        *,
        challenge_seconds: int = 60,
        decision_seconds: int = 3600,
        most_exchanges: int = 1000,
        random: Random | None = None,
    ) -> None:
        if not isinstance(signing_key, Ed25519PrivateKey):
            raise TpmMisuseError(type(signing_key).__name__, where="signing_key", expected="an Ed25519PrivateKey")
        self._key = signing_key
        self._challenge_seconds = whole(challenge_seconds, "challenge_seconds", 1, 86400, error=TpmMisuseError)
        self._decision_seconds = whole(decision_seconds, "decision_seconds", 1, 366 * 86400, error=TpmMisuseError)
        self._most = whole(most_exchanges, "most_exchanges", 1, 1 << 20, error=TpmMisuseError)
        self._random: Callable[[int], bytes] = os.urandom if random is None else random
        self._pending: dict[bytes, Pending] = {}

    @property
    def exchanges(self) -> int:
        """How many exchanges are under way."""
        return len(self._pending)

    def received(self, message: BytesLike, now: float) -> Step:
        """Take a message of an attester and return what to answer.

        Parameters
        ----------
        message : bytes-like
            An Enrol or an Evidence.
        now : float
            Seconds since 1970.

        Raises
        ------
        TpmFormatError
            If it is no such message. Nothing needs to be answered.
        ExchangeError
            If it names an exchange that is not under way, or too many are. Nothing needs to be answered.
        TpmMisuseError
            If an argument is of the wrong type.
        """
        raw, when = octets(message, "message"), moment(now)
        if message_type(raw) == Enrol.TYPE:
            return self._enrolled(raw, when)
        return self._shown(raw, when)

    def tick(self, now: float) -> int:
        """Forget exchanges whose time is over, and return how many are left."""
        seconds = moment(now).timestamp()
        self._pending = {name: pending for name, pending in self._pending.items() if seconds <= pending.expires}
        return len(self._pending)

    def _enrolled(self, raw: bytes, when: datetime.datetime) -> Step:
        enrol = Enrol.decode(raw)
        if len(self._pending) >= self._most and self.tick(when.timestamp()) >= self._most:
            raise ExchangeError(
                f"{self._most} exchanges are under way", where="enrol", hint="let the attester come again later"
            )
        findings = Findings(self._subject())
        opened = self._opened(enrol, findings, when)
        if opened is None:
            return self._decided(Pending(_NO_EXCHANGE, (digest(raw),), 0, findings, None), None, when)
        challenge, context = opened
        expires = when.timestamp() + self._challenge_seconds
        exchange, nonce = drawn(self._random, 16), drawn(self._random, 32)
        if exchange in self._pending or exchange == _NO_EXCHANGE:
            raise TpmMisuseError("the random source repeats itself", where="random", expected="fresh bytes")
        sent = replace(challenge, exchange=exchange, nonce=nonce, expires=int(expires * 1000)).encode()
        self._pending[exchange] = Pending(exchange, (digest(raw), digest(sent)), expires, findings, context)
        return Step(sent)

    def _shown(self, raw: bytes, when: datetime.datetime) -> Step:
        evidence = Evidence.decode(raw)
        pending = self._pending.pop(evidence.exchange, None)
        if pending is None:
            raise ExchangeError(
                "an exchange that is not under way", where="evidence.exchange", hint="it was answered, or never opened"
            )
        in_time = when.timestamp() <= pending.expires
        late = when.timestamp() - pending.expires
        pending.findings.note("in time", in_time, "before its end" if in_time else f"{late:.0f} seconds late")
        self._judged(pending, evidence, when)
        return self._decided(pending, raw, when)

    def _decided(self, pending: Pending, evidence: bytes | None, when: datetime.datetime) -> Step:
        verdict = pending.findings.verdict()
        is_accepted = evidence is not None and verdict.accepts(*self._needed(verdict))
        certificates = self._issued(pending.context, when) if is_accepted else ()
        issued = int(when.timestamp() * 1000)
        decision = Decision.of(
            pending.exchange,
            verdict,
            is_accepted=is_accepted,
            issued=issued,
            expires=issued + self._decision_seconds * 1000,
            certificates=certificates,
        )
        before = () if evidence is None else (evidence,)
        signature = self._key.sign(pending.transcript(DECISION_LABEL, *before, decision.unsigned()))
        return Step(replace(decision, signature=signature).encode(), verdict, is_accepted)

    @abstractmethod
    def _subject(self) -> str:
        """Return what the verdict is about."""

    @abstractmethod
    def _opened(self, enrol: Enrol, findings: Findings, when: datetime.datetime) -> tuple[Challenge, Any] | None:
        """Return the challenge without its name, nonce and time, and a context; None to decide at once."""

    @abstractmethod
    def _judged(self, pending: Pending, evidence: Evidence, when: datetime.datetime) -> None:
        """Note what the evidence shows."""

    @abstractmethod
    def _needed(self, verdict: Verdict) -> tuple[str, ...]:
        """Return the clauses that have to hold for the device to be accepted; one that fails is never overlooked."""

    def _issued(self, context: Any, when: datetime.datetime) -> tuple[bytes, ...]:  # noqa: ARG002
        """Return the certificates that go to a device that is accepted."""
        return ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self._pending)} exchanges under way>"
