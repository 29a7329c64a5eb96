# SPDX-License-Identifier: Apache-2.0
"""The attester: shows what its TPM says of it, to a verifier with its endorsement key, to others under a pseudonym.

A machine without input and output, and without a TPM: where one is needed it hands out a `Task`, and whoever has the
TPM carries it out and hands in what came of it. One attester is for one exchange.

::

    START -enrol-> ENROLLED -received(Challenge)-> CHALLENGED -evidence-> WAITING -received(Decision)-> DONE
                      `------ received(Decision) -------------------------------------------------------^

Under a pseudonym nothing but the certificate and one signature is shown: a challenge that asks for a quote or a secret
is refused, for either would tell which TPM it is.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from prestocloud_sec.tpm._given import octets
from prestocloud_sec.tpm._secrets import KeepsSecrets, drawn
from prestocloud_sec.tpm.errors import ExchangeError, TpmMisuseError, VerificationError
from prestocloud_sec.tpm.pcr.selection import PcrSelection
from prestocloud_sec.tpm.protocol.certificates import certificate_list, der_of
from prestocloud_sec.tpm.protocol.challenger import (
    DECISION_LABEL,
    PROOF_LABEL,
    QUOTE_LABEL,
    moment,
    signed_by_pseudonym,
)
from prestocloud_sec.tpm.protocol.messages import (
    Challenge,
    Decision,
    Enrol,
    EnrolKind,
    Evidence,
    WantedLogs,
    digest,
    message_type,
    transcript,
)
from prestocloud_sec.tpm.spec.structures.objects import TPMT_PUBLIC
from prestocloud_sec.tpm.spec.structures.schemes import TPMT_SIGNATURE
from prestocloud_sec.wire import items_of, shown

if TYPE_CHECKING:
    from typing import Self

    from prestocloud_sec.tpm._secrets import Random
    from prestocloud_sec.tpm.attest.verdict import Verdict
    from prestocloud_sec.tpm.protocol.certificates import CertificateLike
    from prestocloud_sec.wire import BytesLike

__all__ = ["Attester", "AttesterState", "Outcome", "Task"]


class AttesterState(Enum):
    """Where an attester is."""

    START = "start"
    ENROLLED = "enrolled"
    CHALLENGED = "challenged"
    WAITING = "waiting"
    DONE = "done"


_NEXT = {
    (AttesterState.START, "enrol"): AttesterState.ENROLLED,
    (AttesterState.ENROLLED, "challenge"): AttesterState.CHALLENGED,
    (AttesterState.ENROLLED, "decision"): AttesterState.DONE,
    (AttesterState.CHALLENGED, "evidence"): AttesterState.WAITING,
    (AttesterState.WAITING, "decision"): AttesterState.DONE,
}
"""From state and event to the next state; there is no other way."""


@dataclass(frozen=True, slots=True)
class Task:
    """What the TPM has to do for the evidence.

    Attributes
    ----------
    id_object, encrypted_secret : bytes
        For TPM2_ActivateCredential; both empty where there is no credential.
    selection : PcrSelection
        For TPM2_Quote; without PCRs where no quote is asked for.
    qualifying_data : bytes
        For TPM2_Quote: the digest of the exchange.
    to_sign : bytes
        For TPM2_Hash and TPM2_Sign, under a pseudonym; else empty.
    logs : WantedLogs
        Logs that are asked for.
    """

    id_object: bytes
    encrypted_secret: bytes
    selection: PcrSelection
    qualifying_data: bytes
    to_sign: bytes
    logs: WantedLogs


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was decided.

    Attributes
    ----------
    is_accepted : bool
        Whether the device is accepted.
    verdict : Verdict
        Every clause.
    culprit : str
        The measurement that broke trust, in words; empty if none did.
    expires : float
        Seconds since 1970 until which the decision is meant.
    certificates : tuple of bytes
        DER: the certificate of a pseudonym, and those above it; empty if none was issued.
    """

    is_accepted: bool
    verdict: Verdict
    culprit: str
    expires: float
    certificates: tuple[bytes, ...]


class Attester(KeepsSecrets):
    """One exchange, on the side of the device. Made by `endorsed` or `pseudonymous`.

    Examples
    --------
    >>> from prestocloud_sec.testing.tpm_device import Authority, PretendTpm, der
    >>> tpm, maker = PretendTpm(), Authority("maker")
    >>> certificate = maker.certify_ek(tpm.ek_private.public_key())
    >>> from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    >>> attester = Attester.endorsed(
    ...     tpm.create_ak().public, tpm.ek_public, [certificate], Ed25519PrivateKey.generate().public_key())
    >>> attester.enrol()[:6].hex(), attester.state.value
    ('505352410101', 'enrolled')
    """

    __slots__ = ("_digests", "_enrol", "_exchange", "_state", "_verifier_key")

    def __init__(self, enrol: Enrol, verifier_key: Ed25519PublicKey) -> None:
        if not isinstance(verifier_key, Ed25519PublicKey):
            raise TpmMisuseError(type(verifier_key).__name__, where="verifier_key", expected="an Ed25519PublicKey")
        if not isinstance(enrol, Enrol):
            raise TpmMisuseError(shown(enrol), where="enrol", expected="an Enrol", hint="use endorsed or pseudonymous")
        self._enrol = enrol
        self._verifier_key = verifier_key
        self._state = AttesterState.START
        self._digests: tuple[bytes, ...] = ()
        self._exchange = b""

    @classmethod
    def endorsed(
        cls,
        ak_public: TPMT_PUBLIC | BytesLike,
        ek_public: TPMT_PUBLIC | BytesLike,
        certificates: Iterable[CertificateLike],
        verifier_key: Ed25519PublicKey,
        *,
        random: Random | None = None,
    ) -> Self:
        """Return an attester that shows which TPM it has.

        Parameters
        ----------
        ak_public, ek_public : TPMT_PUBLIC or bytes-like
            Public areas of attestation and endorsement key.
        certificates : iterable of Certificate, DER or PEM
            That of the endorsement key, then those that lead towards a root.
        verifier_key : Ed25519PublicKey
            The key that decisions have to be signed with.
        random : callable, optional
            Returns fresh random bytes.

        Raises
        ------
        TpmFormatError
            If bytes are no certificate.
        TpmMisuseError
            If an argument is of the wrong form.
        """
        chain = tuple(der_of(certificate) for certificate in certificate_list(certificates, "certificates"))
        ak, ek = _area(ak_public, "ak_public"), _area(ek_public, "ek_public")
        return cls(Enrol(EnrolKind.ENDORSED, _fresh(random), ak, ek, chain), verifier_key)

    @classmethod
    def pseudonymous(
        cls,
        certificates: Iterable[CertificateLike],
        verifier_key: Ed25519PublicKey,
        *,
        random: Random | None = None,
    ) -> Self:
        """Return an attester that shows a certified key, and nothing of its TPM.

        Parameters
        ----------
        certificates : iterable of Certificate, DER or PEM
            Those of an `Outcome`.
        verifier_key, random
            As in `endorsed`.
        """
        chain = tuple(der_of(certificate) for certificate in certificate_list(certificates, "certificates"))
        return cls(Enrol(EnrolKind.PSEUDONYM, _fresh(random), b"", b"", chain), verifier_key)

    @property
    def state(self) -> AttesterState:
        """Where the exchange is."""
        return self._state

    def enrol(self) -> bytes:
        """Return the first message; TpmMisuseError if the exchange has begun."""
        following = self._following("enrol", TpmMisuseError)
        message = self._enrol.encode()
        self._digests, self._state = (digest(message),), following
        return message

    def received(self, message: BytesLike, now: float) -> Task | Outcome:
        """Take a message of the challenger.

        Parameters
        ----------
        message : bytes-like
            A Challenge or a Decision.
        now : float
            Seconds since 1970.

        Raises
        ------
        TpmFormatError
            If it is no such message.
        ExchangeError
            If it has no place here: out of order, of another exchange, its time over, or asking for more than may be
            shown.
        VerificationError
            If a decision is not signed by the challenger, or not for this exchange.
        TpmMisuseError
            If an argument is of the wrong type.
        """
        raw, when = octets(message, "message"), moment(now)
        if message_type(raw) == Challenge.TYPE:
            return self._challenged(raw, when.timestamp())
        return self._decided(raw, when.timestamp())

    def _challenged(self, raw: bytes, seconds: float) -> Task:
        challenge = Challenge.decode(raw)
        following = self._following("challenge", ExchangeError)
        if challenge.expires < seconds * 1000:
            raise ExchangeError("a challenge whose time is over", where="challenge.expires")
        selection = PcrSelection.decode(challenge.selection) if challenge.selection else PcrSelection()
        is_pseudonym = self._enrol.kind is EnrolKind.PSEUDONYM
        if is_pseudonym and (challenge.selection or challenge.id_object or challenge.logs):
            raise ExchangeError(
                "a challenge that asks for more than a signature",
                where="challenge",
                hint="it would tell which TPM it is",
            )
        if not is_pseudonym and not (len(selection) and challenge.id_object):
            raise ExchangeError("a challenge without quote or credential", where="challenge")
        self._digests = (*self._digests, digest(raw))
        self._exchange, self._state = challenge.exchange, following
        return Task(
            challenge.id_object,
            challenge.encrypted_secret,
            selection,
            b"" if is_pseudonym else transcript(QUOTE_LABEL, *self._digests),
            signed_by_pseudonym(*self._digests) if is_pseudonym else b"",
            challenge.logs,
        )

    def evidence(
        self,
        signature: TPMT_SIGNATURE | BytesLike,
        *,
        secret: BytesLike | None = None,
        attest: BytesLike = b"",
        values: Iterable[BytesLike] = (),
        boot_log: BytesLike = b"",
        kernel_log: BytesLike = b"",
    ) -> bytes:
        """Return the third message.

        Parameters
        ----------
        signature : TPMT_SIGNATURE or bytes-like
            That of the quote; under a pseudonym, of what was to be signed.
        secret : bytes-like, optional
            What TPM2_ActivateCredential returned.
        attest : bytes-like
            The quote.
        values : iterable of bytes-like
            The values that were quoted, in the order of its selection.
        boot_log, kernel_log : bytes-like
            The logs, as the kernel offers them.

        Raises
        ------
        TpmMisuseError
            If nothing was asked for, or an argument is of the wrong form, or more is shown than a pseudonym may.
        """
        following = self._following("evidence", TpmMisuseError)
        value = signature.encode() if isinstance(signature, TPMT_SIGNATURE) else octets(signature, "signature")
        held = tuple(items_of(values, "values", "an iterable of values", error=TpmMisuseError))
        shown_here = Evidence(self._exchange, b"", attest, value, held, boot_log, kernel_log)  # type: ignore[arg-type]
        if self._enrol.kind is EnrolKind.PSEUDONYM:
            if secret is not None or shown_here != Evidence(self._exchange, b"", b"", value):
                raise TpmMisuseError(
                    "more than a signature", where="evidence", expected="what cannot tell which TPM it is"
                )
        elif secret is None:
            raise TpmMisuseError("no secret", where="secret", expected="what TPM2_ActivateCredential returned")
        else:
            told = transcript(PROOF_LABEL, *self._digests, digest(shown_here.without_proof()))
            shown_here = replace(shown_here, proof=hmac.digest(octets(secret, "secret"), told, "sha256"))
        message = shown_here.encode()
        self._digests, self._state = (*self._digests, digest(message)), following
        return message

    def _decided(self, raw: bytes, seconds: float) -> Outcome:
        decision = Decision.decode(raw)
        following = self._following("decision", ExchangeError)
        told = transcript(DECISION_LABEL, *self._digests, digest(decision.unsigned()))
        try:
            self._verifier_key.verify(decision.signature, told)
        except InvalidSignature as error:
            raise VerificationError(
                "not signed by the challenger for this exchange", where="decision.signature"
            ) from error
        if decision.expires < seconds * 1000:
            raise ExchangeError("a decision whose time is over", where="decision.expires")
        self._state = following
        return Outcome(
            decision.is_accepted, decision.verdict, decision.culprit, decision.expires / 1000, decision.certificates
        )

    def _following(self, event: str, error: type[ExchangeError | TpmMisuseError]) -> AttesterState:
        found = _NEXT.get((self._state, event))
        if found is None:
            possible = ", ".join(sorted(name for state, name in _NEXT if state is self._state)) or "nothing more"
            raise error(f"no place for {event} in state {self._state.value}", where="attester", expected=possible)
        return found

    def __repr__(self) -> str:
        return f"<Attester {self._enrol.kind.name.lower()}: {self._state.value}>"


def _area(public: TPMT_PUBLIC | BytesLike, where: str) -> bytes:
    return public.encode() if isinstance(public, TPMT_PUBLIC) else octets(public, where)


def _fresh(random: Random | None) -> bytes:
    source: Callable[[int], bytes] = os.urandom if random is None else random
    return drawn(source, 32)
