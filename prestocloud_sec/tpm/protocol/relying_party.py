# SPDX-License-Identifier: Apache-2.0
"""The relying party: wants to know that it talks to a device that a verifier accepted, and not to which.

Enrol shows the certificate of a pseudonym; the challenge is a nonce; evidence is a signature by the pseudonym's key
over the exchange. No quote is asked for: its clock, its PCRs and its logs would tell one device from another. What the
machine measured was judged by the verifier whose `PseudonymIssuer` certified the key, not longer ago than its
certificates are good.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from prestocloud_sec.tpm.attest.verdict import Findings, Verdict
from prestocloud_sec.tpm.errors import TpmFormatError, TpmMisuseError, TpmUnavailableError, VerificationError
from prestocloud_sec.tpm.pem import key_from
from prestocloud_sec.tpm.protocol.certificates import certificate_from, certificate_list, crl_list, name_text, walk
from prestocloud_sec.tpm.protocol.challenger import Challenger, Pending, signed_by_pseudonym
from prestocloud_sec.tpm.protocol.messages import Challenge, Enrol, EnrolKind, Evidence, WantedLogs
from prestocloud_sec.tpm.protocol.pseudonyms import is_pseudonym
from prestocloud_sec.tpm.signatures import verify_signature

if TYPE_CHECKING:
    from prestocloud_sec.tpm._secrets import Random
    from prestocloud_sec.tpm.protocol.certificates import CertificateLike
    from prestocloud_sec.tpm.public_keys import PublicKey

__all__ = ["RelyingParty"]


class RelyingParty(Challenger):
    """Accepts whoever holds a key that an issuer certified.

    Parameters
    ----------
    issuers : iterable of Certificate, DER or PEM
        Roots of the issuers that are trusted.
    signing_key : Ed25519PrivateKey
        Signs the decisions.
    crls : iterable of CertificateRevocationList
        Lists of certificates that are no longer good.
    random, challenge_seconds, decision_seconds, most_exchanges
        As in `Challenger`.
    """

    __slots__ = ("_crls", "_issuers")

    def __init__(
        self,
        issuers: Iterable[CertificateLike],
        signing_key: Ed25519PrivateKey,
        *,
        crls: Iterable[x509.CertificateRevocationList] = (),
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
        self._issuers = certificate_list(issuers, "issuers")
        self._crls = crl_list(crls)

    def _subject(self) -> str:
        return "a pseudonym"

    def _opened(self, enrol: Enrol, findings: Findings, when: datetime.datetime) -> tuple[Challenge, PublicKey] | None:
        if enrol.kind is not EnrolKind.PSEUDONYM:
            findings.note("certificate", False, "an endorsed key came, which tells more than a relying party may know")
            return None
        try:
            first, *others = [certificate_from(raw) for raw in enrol.certificates]
            fits = findings.note(
                "certificate", is_pseudonym(first), f"of {name_text(first.subject)}, for keys that attest"
            )
            if not fits:
                findings.note("certificate", False, "not of a key that attests")
            chain = walk(first, others, self._issuers, when, self._crls)
            findings.note("chain", True, f"leads to {name_text(chain.root.subject)}")
            key, _ = key_from(first.public_key())  # type: ignore[arg-type]
        except TpmFormatError as error:
            findings.note("certificate", False, str(error))
            return None
        except VerificationError as error:
            findings.note("chain", False, str(error))
            return None
        except (TpmMisuseError, ValueError, TypeError) as error:
            findings.note("certificate", False, f"no key of RSA or ECC: {error}")
            return None
        challenge = Challenge(bytes(16), bytes(32), 0, b"", WantedLogs.NONE, b"", b"")
        return (challenge, key) if fits else None

    def _judged(self, pending: Pending, evidence: Evidence, when: datetime.datetime) -> None:  # noqa: ARG002
        findings = pending.findings
        more = [evidence.proof, evidence.attest, *evidence.values, evidence.boot_log, evidence.kernel_log]
        findings.note(
            "nothing else", not any(more), "as it should be" if not any(more) else "more came than was asked for"
        )
        try:
            verify_signature(pending.context, evidence.signature, signed_by_pseudonym(*pending.digests))
        except TpmUnavailableError as error:
            findings.note("signature", None, str(error))
        except (TpmFormatError, VerificationError) as error:
            findings.note("signature", False, str(error))
        else:
            findings.note("signature", True, "by the key of the certificate, over this exchange")

    def _needed(self, verdict: Verdict) -> tuple[str, ...]:
        return tuple(clause.name for clause in verdict)
