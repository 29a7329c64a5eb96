# SPDX-License-Identifier: Apache-2.0
"""How a reference policy is held against a quote.

Only what the quote vouches for counts: values that lead to the digest that was signed, and logs that lead to those
values. What the policy constrains and the quote does not cover, fails. The first measurement that should not be there
is named.

Measurements are told by their digests, which the PCRs vouch for. What a log says about them (a path, a variable) is
believed only where the digest is that of the data.

Sources: TCG PC Client Platform Firmware Profile 1.06, sections 3.3.4 (what goes into which PCR) and 3.3.4.8 (PCR 7 and
secure boot); Linux kernel 6.1, ``security/integrity/ima/ima_crypto.c`` (``ima_calc_boot_aggregate``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from prestocloud_sec.tpm._banks import bank_name
from prestocloud_sec.tpm.eventlog.constants import EventType
from prestocloud_sec.tpm.eventlog.event import Event
from prestocloud_sec.tpm.eventlog.ima import ImaLog
from prestocloud_sec.tpm.eventlog.ima_entry import ImaEntry
from prestocloud_sec.tpm.eventlog.log import EventLog
from prestocloud_sec.tpm.eventlog.variables import UefiVariable
from prestocloud_sec.tpm.hashes import hash_of

if TYPE_CHECKING:
    from prestocloud_sec.tpm.attest.reference import ReferencePolicy
    from prestocloud_sec.tpm.attest.verdict import Findings
    from prestocloud_sec.tpm.eventlog.faults import Measurement
    from prestocloud_sec.tpm.eventlog.replaying import Log

__all__ = ["Evaluation"]

_SECURE_BOOT_PCR = 7
_GLOBAL_VARIABLE = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
_BOOT_AGGREGATE = "boot_aggregate"
_AGGREGATED = {"sha1": 8}  # PCRs 0 to 7; with any other hash 0 to 9, since Linux 5.8


class Evaluation:
    """One policy held against one quote.

    Parameters
    ----------
    policy : ReferencePolicy
        What should be.
    findings : Findings
        Where the clauses go.
    values : mapping of bank to mapping of int to bytes, or None
        The values that the quote vouches for; None where there are none.
    logs : tuple of EventLog and ImaLog
        Logs that lead to them.
    """

    __slots__ = ("_findings", "_logs", "_policy", "_quoted", "_values")

    def __init__(
        self,
        policy: ReferencePolicy,
        findings: Findings,
        values: Mapping[int, Mapping[int, bytes]] | None,
        logs: tuple[Log, ...],
    ) -> None:
        self._policy = policy
        self._findings = findings
        self._values = values
        self._quoted: Mapping[int, bytes] = {} if values is None else values.get(policy.bank, {})
        self._logs = logs

    def run(self) -> None:
        """Note a clause for everything that the policy has something to say of."""
        policy, findings, bank = self._policy, self._findings, bank_name(self._policy.bank)
        checks: tuple[tuple[str, bool, set[int], Callable[[], None]], ...] = (
            ("values", bool(policy.values), set(policy.values), self._check_values),
            ("measurements", bool(policy.measurements), set(policy.measurements), self._check_measurements),
            ("required", bool(policy.required), set(policy.required), self._check_required),
            ("forbidden", bool(policy.forbidden), set(), self._check_forbidden),
            ("secure boot", policy.secure_boot is not None, {_SECURE_BOOT_PCR}, self._check_secure_boot),
            ("files", policy.files is not None, set(), self._check_files),
        )
        for name, is_asked, constrained, check in checks:
            if not is_asked:
                continue
            uncovered = ", ".join(str(pcr) for pcr in sorted(constrained) if pcr not in self._quoted)
            if self._values is None:
                findings.note(name, None, "no value is vouched for by a quote")
            elif uncovered:
                findings.note(name, False, f"not quoted: PCR {uncovered} of {bank}")
            elif name != "values" and not self._logs:
                findings.note(name, None, "no log leads to the values")
            else:
                check()

    def _check_values(self) -> None:
        wrong = [
            f"PCR {pcr} is {self._quoted[pcr].hex()}"
            for pcr in sorted(self._policy.values)
            if self._quoted[pcr] not in self._policy.values[pcr]
        ]
        pcrs = ", ".join(map(str, sorted(self._policy.values)))
        self._findings.note(
            "values",
            not wrong,
            "; ".join(wrong) or f"PCR {pcrs} of {bank_name(self._policy.bank)} are as they should be",
        )

    def _events(self) -> Iterator[tuple[Event, bytes]]:
        """Yield the events of boot logs that a quote vouches for, with their digests."""
        for log in self._logs:
            if isinstance(log, EventLog):
                for event in log:
                    digest = event.digest(self._policy.bank)
                    if event.is_extended and event.pcr in self._quoted and digest is not None:
                        yield event, digest

    def _entries(self) -> Iterator[tuple[ImaEntry, bool]]:
        """Yield the entries of kernel logs that a quote vouches for, and whether what they say is what was measured."""
        for log in self._logs:
            if isinstance(log, ImaLog):
                misfits = {entry.number for entry in log.misfits}
                own = bank_name(self._policy.bank) == log.algorithm
                for entry in log:
                    if entry.pcr in self._quoted:
                        yield entry, not (own and entry.number in misfits)

    def _check_measurements(self) -> None:
        count = 0
        for event, digest in self._events():
            allowed = self._policy.measurements.get(event.pcr)
            if allowed is None:
                continue
            if digest not in allowed:
                self._fail("measurements", event, f"not in the reference: {event}, {digest.hex()}")
                return
            count += 1
        self._findings.note("measurements", True, f"{count} measurements, all in the reference")

    def _check_required(self) -> None:
        there = {(event.pcr, digest) for event, digest in self._events()}
        lacking = [
            f"PCR {pcr} {words or digest.hex()}"
            for pcr, digests in sorted(self._policy.required.items())
            for digest, words in digests.items()
            if (pcr, digest) not in there
        ]
        count = sum(map(len, self._policy.required.values()))
        self._findings.note(
            "required", not lacking, f"not measured: {', '.join(lacking)}" if lacking else f"all {count} are there"
        )

    def _check_forbidden(self) -> None:
        for event, digest in self._events():
            if digest in self._policy.forbidden:
                self._fail("forbidden", event, f"{event}: {self._policy.forbidden[digest] or digest.hex()}")
                return
        for entry, _ in self._entries():
            content = entry.file_digest
            if content is not None and content[1] in self._policy.forbidden:
                self._fail("forbidden", entry, f"{entry}: {self._policy.forbidden[content[1]] or content[1].hex()}")
                return
        self._findings.note("forbidden", True, f"none of {len(self._policy.forbidden)} is there")

    def _check_secure_boot(self) -> None:
        found = None
        for event, _ in self._events():
            payload = event.payload
            if event.pcr == _SECURE_BOOT_PCR and event.type == EventType.SEPARATOR:
                break  # what comes later, not the firmware measured
            if event.pcr != _SECURE_BOOT_PCR or event.type != EventType.EFI_VARIABLE_DRIVER_CONFIG:
                continue
            if not event.digest_fits(self._policy.bank):
                self._fail("secure boot", event, f"what the log says is not what was measured: {event}")
                return
            if (
                isinstance(payload, UefiVariable)
                and payload.name == "SecureBoot"
                and str(payload.guid) == _GLOBAL_VARIABLE
            ):
                found = payload.contents is True
                if found is not self._policy.secure_boot:
                    self._fail("secure boot", event, f"it is {'on' if found else 'off'}")
                    return
        if found is None:
            self._findings.note("secure boot", False, "PCR 7 has no measurement of the variable SecureBoot")
        else:
            self._findings.note("secure boot", True, f"it is {'on' if found else 'off'}")

    def _check_files(self) -> None:
        allowed: Mapping[str, frozenset[bytes]] = self._policy.files or {}
        count = 0
        for entry, is_believed in self._entries():
            words = None if is_believed else "what the log says is not what was measured"
            content = entry.file_digest
            if entry.is_violation:
                words = words or (None if self._policy.allow_violations else "it was written while it was measured")
            elif content is None or entry.path is None:
                words = words or "its template tells no content"
            elif entry.path == _BOOT_AGGREGATE and entry.path not in allowed:
                words = words or self._aggregate(content)
            elif content[1] not in allowed.get(entry.path, ()):
                words = words or f"not in the reference: {content[0]}:{content[1].hex()}"
            if words is not None:
                self._fail("files", entry, f"{entry}: {words}")
                return
            count += 1
        if count == 0:
            self._findings.note("files", False, "no log of the kernel tells of any file in a PCR that was quoted")
        else:
            self._findings.note("files", True, f"{count} files, all in the reference")

    def _aggregate(self, content: tuple[str, bytes]) -> str | None:
        """Return what is wrong with the digest of PCRs that a log of the kernel begins with; None if nothing is."""
        name, digest = content
        if name != bank_name(self._policy.bank):
            return f"it is of the bank {name}, which was not quoted"
        count = _AGGREGATED.get(name, 10)
        lacking = [str(pcr) for pcr in range(count) if pcr not in self._quoted]
        if lacking:
            return f"the PCRs it is of were not all quoted: {', '.join(lacking)} lack"
        found = hash_of(name).digest(*(self._quoted[pcr] for pcr in range(count)))
        return None if found == digest else "the kernel was started from other PCRs"

    def _fail(self, name: str, measurement: Event | ImaEntry, words: str) -> None:
        """Note a clause that fails because of a measurement, and keep that if it is the first that broke trust."""

        def order(found: Measurement) -> tuple[bool, int]:
            return isinstance(found, ImaEntry), found.number  # the kernel measures after the firmware

        first = self._findings.culprit
        if first is None or order(measurement) < order(first):
            self._findings.culprit = measurement
        self._findings.note(name, False, words)
