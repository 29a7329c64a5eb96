# SPDX-License-Identifier: Apache-2.0
"""Quotes: whether PCRs are what somebody says they are, and whether that is good enough.

A quote signs which PCRs were looked at and one digest of all their values. The values travel beside it, and the logs
that lead to them: nothing of either is believed before it leads to that digest. With a `ReferencePolicy` the values
and the measurements are then held against what they should be, and the first measurement that should not be there is
named.

The digest is by the hash of the signature, not by that of the key's Name.

Sources: TPM 2.0 Library, Part 2, 10.12.1 (TPMS_QUOTE_INFO); Part 3, 18.4 (TPM2_Quote).
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from prestocloud_sec.tpm._banks import bank_name, known_bank
from prestocloud_sec.tpm._given import instance
from prestocloud_sec.tpm.attest.reference import ReferencePolicy
from prestocloud_sec.tpm.attest.statement import Expected, open_statement
from prestocloud_sec.tpm.attest.verdict import Findings, Verdict
from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.tpm.eventlog.comparing import compare, pcr_values
from prestocloud_sec.tpm.eventlog.replaying import replay, start_value
from prestocloud_sec.tpm.hashes import HashAlgorithm, hash_of
from prestocloud_sec.tpm.pcr.banks import PCRS, PcrBanks
from prestocloud_sec.tpm.pcr.selection import PcrSelection
from prestocloud_sec.tpm.spec.constants import TPM_ST
from prestocloud_sec.tpm.spec.structures.attestation import TPMS_QUOTE_INFO
from prestocloud_sec.wire import items_of

if TYPE_CHECKING:
    from prestocloud_sec.tpm.attest.statement import SignatureLike
    from prestocloud_sec.tpm.eventlog.replaying import Log, PcrValues
    from prestocloud_sec.tpm.pcr.selection import SelectionLike
    from prestocloud_sec.tpm.pem import KeyLike
    from prestocloud_sec.tpm.spec.structures.attestation import TPMS_ATTEST, TPMS_CLOCK_INFO
    from prestocloud_sec.wire import BytesLike

__all__ = ["verify_quote"]

Values = dict[int, dict[int, bytes]]


def verify_quote(
    attest: BytesLike | TPMS_ATTEST,
    signature: SignatureLike,
    key: KeyLike,
    *,
    nonce: BytesLike | None = None,
    pcrs: PcrValues | PcrBanks | None = None,
    selection: SelectionLike | None = None,
    logs: Iterable[Log] = (),
    policy: ReferencePolicy | None = None,
    signer: BytesLike | None = None,
    parent: BytesLike | int | None = None,
    since: TPMS_CLOCK_INFO | None = None,
    firmware: int | None = None,
    allow_unrestricted: bool = False,
) -> Verdict:
    """Verify a quote without a TPM.

    Parameters
    ----------
    attest : bytes-like or TPMS_ATTEST
        What the TPM signed, as it was received.
    signature : TPMT_SIGNATURE or bytes-like
        Its signature.
    key : TPMT_PUBLIC, RSA or ECC public key, str, or bytes-like
        The attestation key: its public area (as a value or encoded), a key of pyca/cryptography, or PEM.
    nonce : bytes-like, optional
        What was given to TPM2_Quote as qualifyingData.
    pcrs : mapping of bank to mapping of int to bytes, or PcrBanks, optional
        The values that are said to have been quoted. Only those that the quote is about are looked at.
    selection : PcrSelection, str or mapping, optional
        What was to be quoted; clause ``selection``.
    logs : iterable of EventLog and ImaLog
        The logs that are said to lead to the values, in the order in which they were written.
    policy : ReferencePolicy, optional
        What values and measurements should be.
    signer, parent, since, firmware, allow_unrestricted
        As in `Expected`.

    Returns
    -------
    Verdict
        With clauses ``format``, ``magic``, ``signature``, ``key``, ``type``, ``nonce``, ``signer``, ``clock``,
        ``firmware``, ``selection``, ``pcr digest``, ``log``, and those of the policy.

    Raises
    ------
    TpmMisuseError
        If an argument is of the wrong type. What bytes hold raises nothing: it becomes a clause.
    """
    expected = Expected(signer, parent, since, firmware, allow_unrestricted)  # type: ignore[arg-type]
    asked = None if selection is None else PcrSelection.of(selection)
    given = None if pcrs is None else _values(pcrs)
    held = tuple(items_of(logs, "logs", "an iterable of logs", error=TpmMisuseError))
    compare({}, *held)  # refuses what is no log
    if policy is not None:
        instance(policy, ReferencePolicy, "policy")
    opened = open_statement("a quote", (TPM_ST.ATTEST_QUOTE,), attest, signature, key, nonce, expected)
    if isinstance(opened, Findings):
        return opened.verdict()
    findings, info = opened.findings, opened.attest.attested
    if not isinstance(info, TPMS_QUOTE_INFO):  # the type says so, and the structure follows from it
        return findings.verdict()
    try:
        quoted = PcrSelection.of_list(info.pcrSelect)
    except TpmMisuseError as error:  # more, or larger, than any TPM selects
        findings.note("selection", False, str(error))
        return findings.verdict()
    _check_selection(findings, quoted, asked)
    values = _check_digest(findings, quoted, given, info.pcrDigest, opened.hash, held)
    trusted = values if findings.holds("signature") and findings.holds("pcr digest") else None
    _check_logs(findings, trusted, held)
    if policy is not None:
        policy.evaluate(findings, trusted, held if findings.holds("log") else ())
    return findings.verdict()


def _check_selection(findings: Findings, quoted: PcrSelection, asked: PcrSelection | None) -> None:
    words = f"{quoted or 'nothing'} was quoted"
    if asked is None:
        findings.note("selection", None, f"{words}; what should be was not given")
    else:
        fits = set(asked) == set(quoted)
        findings.note("selection", fits, words if fits else f"{words}; expected {asked}")


def _values(pcrs: Any) -> Values:
    return pcr_values(pcrs.values() if isinstance(pcrs, PcrBanks) else pcrs)


def _check_digest(
    findings: Findings,
    quoted: PcrSelection,
    given: Values | None,
    digest: bytes,
    algorithm: HashAlgorithm | None,
    logs: tuple[Log, ...],
) -> Values | None:
    """Check that values lead to the digest that was signed, and return those that were quoted."""
    source = "the values"
    if given is None and logs:
        source, given = "the values that the logs lead to", _replayed(quoted, logs)
    if given is None:
        findings.note("pcr digest", None, f"{digest.hex()}; no values were given")
        return None
    if algorithm is None:
        findings.note("pcr digest", None, "the signature, whose hash it is by, cannot be read")
        return None
    missing = [f"{bank_name(bank)}:{pcr}" for bank, pcr in quoted if pcr not in given.get(bank, {})]
    if missing:
        findings.note("pcr digest", False, f"{source} lack {', '.join(missing)}")
        return None
    found = quoted.digest(given, algorithm)
    if not hmac.compare_digest(found, digest):
        findings.note("pcr digest", False, f"{source} lead to {found.hex()}; signed was {digest.hex()}")
        return None
    findings.note("pcr digest", True, f"{source} of {quoted or 'no PCR'} lead to what was signed")
    chosen: Values = {}
    for bank, pcr in quoted:
        chosen.setdefault(bank, {})[pcr] = given[bank][pcr]
    return chosen


def _replayed(quoted: PcrSelection, logs: tuple[Log, ...]) -> Values:
    """Return where logs lead, start values included, for the PCRs that were quoted."""
    found: Values = {}
    known = [bank for bank in quoted.banks if known_bank(bank) is not None]
    for bank, pcrs in replay(*logs, banks=known).values.items():
        size = hash_of(bank).size
        found[bank] = {
            pcr: pcrs[pcr] if pcr in pcrs else start_value(pcr, size, logs) for pcr in quoted.banks[bank] if pcr < PCRS
        }
    return found


def _check_logs(findings: Findings, values: Mapping[int, Mapping[int, bytes]] | None, logs: tuple[Log, ...]) -> None:
    if not logs:
        findings.note("log", None, "none was given")
        return
    if values is None:
        findings.note("log", None, "there are no values that it could be held against")
        return
    found = compare(values, *logs)
    if found.matches:
        count = sum(row.measurements for row in found.pcrs)
        findings.note("log", True, f"{count} measurements lead to the values")
    else:
        fault = found.first_fault
        findings.culprit = None if fault is None else fault.measurement
        findings.note("log", False, "; ".join(str(row) for row in found.faults) or "no PCR was quoted")
