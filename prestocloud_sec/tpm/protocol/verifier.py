# SPDX-License-Identifier: Apache-2.0
"""The verifier: binds an attestation key to a certified TPM, and judges what that TPM measured.

Enrol shows the certificate of an endorsement key and the public areas of both keys. If the certificate leads to a root
that is trusted, the challenge carries a secret that only a TPM with both keys can unwrap (TPM2_MakeCredential), a fresh
nonce and a selection of PCRs. Evidence proves the secret with an HMAC over the whole exchange, and brings a quote whose
nonce is the digest of the exchange, the values, and the logs. They are held against a `ReferencePolicy`.

A device that is accepted gets a certificate for its key from a `PseudonymIssuer`, if there is one.

Sources: TPM 2.0 Library, Part 1, clause 24 (credentials); TCG Trusted Attestation Protocol use cases 1.0, section 4.
The messages are those of `prestocloud_sec.tpm.protocol.messages`.
"""

from __future__ import annotations

import datetime
import hmac
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from prestocloud_sec.tpm._banks import bank_name, known_bank
from prestocloud_sec.tpm._given import instance, text
from prestocloud_sec.tpm._secrets import drawn
from prestocloud_sec.tpm.attest.quote import verify_quote
from prestocloud_sec.tpm.attest.reference import ReferencePolicy
from prestocloud_sec.tpm.attest.verdict import Findings, Verdict
from prestocloud_sec.tpm.errors import (
    TpmFormatError,
    TpmInputError,
    TpmMisuseError,
    TpmUnavailableError,
    VerificationError,
)
from prestocloud_sec.tpm.eventlog.comparing import kernel_log_at
from prestocloud_sec.tpm.eventlog.constants import MOST_PCRS
from prestocloud_sec.tpm.eventlog.ima import ImaLog
from prestocloud_sec.tpm.eventlog.log import EventLog
from prestocloud_sec.tpm.names import name_of
from prestocloud_sec.tpm.pcr.selection import PcrSelection
from prestocloud_sec.tpm.protocol.certificates import certificate_from, certificate_list, crl_list
from prestocloud_sec.tpm.protocol.challenger import PROOF_LABEL, QUOTE_LABEL, Challenger, Pending
from prestocloud_sec.tpm.protocol.ek import check_ak, check_ek
from prestocloud_sec.tpm.protocol.messages import Challenge, Enrol, EnrolKind, Evidence, WantedLogs
from prestocloud_sec.tpm.protocol.pseudonyms import PseudonymIssuer
from prestocloud_sec.tpm.spec.structures.attestation import TPMS_ATTEST, TPMS_QUOTE_INFO
from prestocloud_sec.tpm.spec.structures.objects import TPMT_PUBLIC
from prestocloud_sec.wire import items_of, result_of, shown

if TYPE_CHECKING:
    from typing import TypeAlias

    from prestocloud_sec.tpm._secrets import Random
    from prestocloud_sec.tpm.eventlog.replaying import Log
    from prestocloud_sec.tpm.pcr.selection import SelectionLike
    from prestocloud_sec.tpm.protocol.certificates import CertificateLike

    MakeCredential: TypeAlias = Callable[[TPMT_PUBLIC, bytes, bytes], tuple[bytes, bytes]]

__all__ = ["Verifier"]

T = TypeVar("T")

_SECRET_SIZE = 32

_MAY_BE_UNCHECKED = {"signer", "clock", "firmware", "ek revocation"}
"""Clauses that nothing was given to check with: an accepted device may lack them."""


class _Keys(NamedTuple):
    """The attestation key of an exchange, and the secret that was wrapped for it."""

    ak: TPMT_PUBLIC
    secret: bytes


class Verifier(Challenger):
    """Judges devices by their endorsement certificates, their quotes and their logs.

    Parameters
    ----------
    roots : iterable of Certificate, DER or PEM
        Roots of the makers of TPMs that are trusted.
    signing_key : Ed25519PrivateKey
        Signs the decisions.
    make_credential : callable, optional
        ``make_credential(ek_public, name, secret)`` returns what TPM2_MakeCredential returns for an endorsement key's
        public area: the contents of TPM2B_ID_OBJECT and of TPM2B_ENCRYPTED_SECRET. By default that is done in software
        (`prestocloud_sec.tpm.protect.credential`).
    selection : PcrSelection, str or mapping
        What is to be quoted. PCRs that programs extend without telling a log (systemd does, in 11 and 15) cannot be
        judged by one, and are better left out where a log is asked for.
    policy : ReferencePolicy, optional
        What values and measurements should be.
    logs : WantedLogs, optional
        Which logs are asked for; by default those that the policy needs. A log of the kernel may be ahead of the quote:
        what it holds beyond is not looked at.
    intermediates : iterable of Certificate, DER or PEM
        Certificates between the roots and endorsement keys, for devices that do not send them.
    crls : iterable of CertificateRevocationList
        Lists of certificates that are no longer good.
    makers : collection of str, optional
        Makers whose TPMs are accepted, such as ``STM`` or ``id:53544D20``; all unless told otherwise.
    issuer : PseudonymIssuer, optional
        Certifies the keys of devices that are accepted.
    random, challenge_seconds, decision_seconds, most_exchanges
        As in `Challenger`.
    """

    __slots__ = (
        "_crls",
        "_intermediates",
        "_issuer",
        "_logs",
        "_make_credential",
        "_makers",
        "_policy",
        "_roots",
        "_selection",
    )

    def __init__(
        self,
        roots: Iterable[CertificateLike],
        signing_key: Ed25519PrivateKey,
        make_credential: MakeCredential | None = None,
        *,
        selection: SelectionLike = "sha256:0,1,2,3,4,5,6,7",
        policy: ReferencePolicy | None = None,
        logs: WantedLogs | None = None,
        intermediates: Iterable[CertificateLike] = (),
        crls: Iterable[x509.CertificateRevocationList] = (),
        makers: Collection[str] | None = None,
        issuer: PseudonymIssuer | None = None,
        random: Random | None = None,
        challenge_seconds: int = 60,
        decision_seconds: int = 3600,
        most_exchanges: int = 1000,
    ) -> None:
        super().__init__(
            signing_key,
            challenge_seconds=challenge_seconds,
            decision_seconds=decision_seconds,
            most_exchanges=most_exchanges,
            random=random,
        )
        if make_credential is None:
            make_credential = self._in_software
        elif not callable(make_credential):
            raise TpmMisuseError(shown(make_credential), where="make_credential", expected="a callable")
        self._roots = certificate_list(roots, "roots")
        self._intermediates = certificate_list(intermediates, "intermediates")
        self._make_credential = make_credential
        self._selection = PcrSelection.of(selection)
        if len(self._selection) == 0:
            raise TpmMisuseError("no PCR", where="selection", expected="at least one")
        self._policy = None if policy is None else instance(policy, ReferencePolicy, "policy")
        self._logs = _logs_for(self._policy) if logs is None else instance(logs, WantedLogs, "logs")
        self._crls = crl_list(crls)
        if makers is not None:
            if isinstance(makers, str):
                raise TpmMisuseError(shown(makers), where="makers", expected="a collection of names")
            makers = frozenset(
                text(maker, "makers") for maker in items_of(makers, "makers", "names", error=TpmMisuseError)
            )
        self._makers = makers
        self._issuer = None if issuer is None else instance(issuer, PseudonymIssuer, "issuer")

    def _subject(self) -> str:
        return "a device"

    def _opened(self, enrol: Enrol, findings: Findings, when: datetime.datetime) -> tuple[Challenge, _Keys] | None:
        if enrol.kind is not EnrolKind.ENDORSED:
            findings.note("ek certificate", False, "a pseudonym came, and a verifier wants to know the TPM")
            return None
        certificates = [_or_none(certificate_from, raw) for raw in enrol.certificates]
        others = [certificate for certificate in certificates[1:] if certificate is not None]
        ek, ak = _or_none(TPMT_PUBLIC.decode, enrol.ek_public), _or_none(TPMT_PUBLIC.decode, enrol.ak_public)
        is_ek = check_ek(
            findings,
            certificates[0],
            [*others, *self._intermediates],
            ek,
            roots=self._roots,
            crls=self._crls,
            makers=self._makers,
            now=when,
        )
        is_ak = check_ak(findings, ak)
        if not is_ek or not is_ak or ek is None or ak is None:
            return None
        secret = drawn(self._random, min(_SECRET_SIZE, _digest_size(ek)))
        try:
            wrapped = result_of(
                *(self._make_credential, ek, name_of(ak), secret),
                name="make_credential",
                expected="a function of three",
                error=TpmMisuseError,
            )
            if not isinstance(wrapped, tuple) or len(wrapped) != 2:
                raise TpmMisuseError(type(wrapped).__name__, where="make_credential", expected="two bytes objects")
            challenge = Challenge(bytes(16), bytes(32), 0, self._selection.encode(), self._logs, *wrapped)
        except (TpmInputError, TpmUnavailableError) as error:
            findings.note("credential", False, f"none can be made for this endorsement key: {error}")
            return None
        return challenge, _Keys(ak, secret)

    def _in_software(self, ek: TPMT_PUBLIC, name: bytes, secret: bytes) -> tuple[bytes, bytes]:
        from prestocloud_sec.tpm.protect.credential import make_credential

        try:
            return make_credential(ek, name, secret, random=self._random)
        except TpmMisuseError as error:  # a certified key in a public area that is none of a storage key
            raise VerificationError(error.what, where=error.where, expected=error.expected) from error

    def _judged(self, pending: Pending, evidence: Evidence, when: datetime.datetime) -> None:  # noqa: ARG002
        findings, keys = pending.findings, pending.context
        wanted = hmac.digest(keys.secret, pending.transcript(PROOF_LABEL, evidence.without_proof()), "sha256")
        proved = hmac.compare_digest(evidence.proof, wanted)
        words = "the TPM of the endorsement key has the attestation key" if proved else "the secret was not unwrapped"
        findings.note("credential", proved, words)
        logs, values = _read_logs(findings, self._logs, evidence), _values(findings, evidence)
        if values is not None and logs and isinstance(logs[-1], ImaLog):
            logs[-1] = kernel_log_at(values, logs[-1], *logs[:-1])
        verdict = verify_quote(
            evidence.attest,
            evidence.signature,
            keys.ak,
            nonce=pending.transcript(QUOTE_LABEL),
            pcrs=values,
            selection=self._selection,
            logs=logs,
            policy=self._policy,
        )
        findings.merge({clause.name: clause for clause in verdict})
        findings.attest, findings.culprit = verdict.attest, verdict.culprit

    def _needed(self, verdict: Verdict) -> tuple[str, ...]:
        optional = _MAY_BE_UNCHECKED | (set() if self._logs else {"log"})
        return tuple(clause.name for clause in verdict if clause.name not in optional)

    def _issued(self, context: _Keys, when: datetime.datetime) -> tuple[bytes, ...]:
        return () if self._issuer is None else self._issuer.issue(context.ak, when)


def _digest_size(ek: TPMT_PUBLIC) -> int:
    """Return how long a secret for an endorsement key may be; as long as any where its hash is not known."""
    known = known_bank(int(ek.nameAlg))
    return _SECRET_SIZE if known is None else known.size


def _logs_for(policy: ReferencePolicy | None) -> WantedLogs:
    """Return the logs that a policy needs."""
    if policy is None:
        return WantedLogs.NONE
    wanted = WantedLogs.NONE
    if policy.measurements or policy.required or policy.forbidden or policy.secure_boot is not None:
        wanted |= WantedLogs.BOOT
    return wanted if policy.files is None else wanted | WantedLogs.KERNEL


def _or_none(decode: Callable[[bytes], T], raw: bytes) -> T | None:
    try:
        return decode(raw)
    except TpmFormatError:
        return None


def _read_logs(findings: Findings, wanted: WantedLogs, evidence: Evidence) -> list[Log]:
    """Return the logs that came, and note the clause ``logs read`` where any was asked for."""
    rows: tuple[tuple[WantedLogs, str, bytes, Callable[[bytes], Log]], ...] = (
        (WantedLogs.BOOT, "boot log", evidence.boot_log, EventLog.decode),
        (WantedLogs.KERNEL, "kernel log", evidence.kernel_log, ImaLog.decode),
    )
    found: list[Log] = []
    problems = []
    for kind, name, raw, decode in rows:
        if not kind & wanted:
            continue
        if not raw:
            problems.append(f"no {name} came")
            continue
        try:
            found.append(decode(raw))
        except TpmFormatError as error:
            problems.append(f"{name}: {error}")
    if wanted:
        counted = ", ".join(f"{len(log)} records" for log in found)
        findings.note("logs read", not problems, "; ".join(problems) or counted)
    return found if not problems else []


def _values(findings: Findings, evidence: Evidence) -> Mapping[int, Mapping[int, bytes]] | None:
    """Return the values that came, by bank and PCR of the quote that they are said to be of."""
    try:
        info = TPMS_ATTEST.decode(evidence.attest, lenient=True).attested
    except TpmFormatError:
        return None
    if not isinstance(info, TPMS_QUOTE_INFO):
        return None
    found: dict[int, dict[int, bytes]] = {}
    try:
        quoted = list(PcrSelection.of_list(info.pcrSelect))
    except TpmMisuseError:  # the quote's own clauses tell of it
        return None
    if len(quoted) != len(evidence.values):
        findings.note("values came", False, f"{len(evidence.values)} values for {len(quoted)} PCRs")
        return None
    for (bank, pcr), value in zip(quoted, evidence.values, strict=True):
        algorithm = known_bank(bank)
        if algorithm is None or len(value) != algorithm.size or pcr >= MOST_PCRS:
            findings.note("values came", False, f"{len(value)} bytes for PCR {pcr} of {bank_name(bank)}")
            return None
        found.setdefault(bank, {})[pcr] = value
    return found
