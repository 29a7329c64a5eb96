# SPDX-License-Identifier: Apache-2.0
"""Logs held against the PCRs of a TPM: whether they lead there, and which measurement is at fault where they do not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING

from prestocloud_sec.tpm._banks import bank_id, bank_name
from prestocloud_sec.tpm._given import octets
from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.tpm.eventlog.constants import MOST_PCRS
from prestocloud_sec.tpm.eventlog.faults import Fault, Measurement, locate
from prestocloud_sec.tpm.eventlog.replaying import Replay, banks_of, links_of, logs_from, other_starts, start_value
from prestocloud_sec.tpm.hashes import hash_of
from prestocloud_sec.wire import shown, whole

if TYPE_CHECKING:
    from prestocloud_sec.tpm.eventlog.ima import ImaLog
    from prestocloud_sec.tpm.eventlog.replaying import Log, PcrValues

__all__ = ["Comparison", "PcrComparison", "compare", "kernel_log_at", "pcr_values"]


@dataclass(frozen=True, slots=True)
class PcrComparison:
    """One PCR of one bank: where the logs lead, and what the TPM has.

    Attributes
    ----------
    bank, pcr : int
        Which PCR.
    replayed : bytes
        Where the logs lead; the start value where they do not extend it.
    actual : bytes
        What the TPM has.
    measurements : int
        How many the logs have of it.
    fault : Fault or None
        What is wrong; None where the two are equal.
    """

    bank: int
    pcr: int
    replayed: bytes
    actual: bytes
    measurements: int
    fault: Fault | None = None

    @property
    def matches(self) -> bool:
        """Whether the logs lead to what the TPM has."""
        return self.fault is None

    def __str__(self) -> str:
        place = f"PCR {self.pcr} ({bank_name(self.bank)})"
        if self.fault is None:
            return f"{place}: {self.measurements} measurements lead to its value"
        return f"{place}: {self.fault}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """All PCRs that were compared.

    Attributes
    ----------
    pcrs : tuple of PcrComparison
        By bank, then PCR.
    uncompared : tuple of (int, int)
        Bank and PCR of what the logs extend and no value was given for.
    misfits : tuple of Event or ImaEntry
        Measurements whose digest is not that of their data. Where the PCR matches, the digest is what was extended,
        so the data was altered (or the firmware does not follow the profile): do not believe it.
    """

    pcrs: tuple[PcrComparison, ...]
    uncompared: tuple[tuple[int, int], ...] = ()
    misfits: tuple[Measurement, ...] = ()

    @property
    def matches(self) -> bool:
        """Whether the logs lead to every value that was given, and to at least one."""
        return bool(self.pcrs) and all(row.matches for row in self.pcrs)

    @property
    def first_misfit(self) -> Measurement | None:
        """The first measurement whose digest is not that of its data."""
        return next(iter(self.misfits), None)

    @property
    def faults(self) -> tuple[PcrComparison, ...]:
        """The PCRs that the logs do not lead to."""
        return tuple(row for row in self.pcrs if not row.matches)

    @property
    def first_fault(self) -> Fault | None:
        """The fault whose measurement comes first in its log, proved ones before suspects; None without faults."""
        found = [row.fault for row in self.pcrs if row.fault is not None]

        def order(fault: Fault) -> tuple[bool, bool, int]:
            number = 0 if fault.measurement is None else fault.measurement.number
            return (fault.measurement is None, not fault.is_proved, number)

        return min(found, key=order, default=None)

    def __str__(self) -> str:
        return "\n".join(map(str, self.pcrs)) or "nothing was compared"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{bank_name(row.bank)}</td><td>{row.pcr}</td><td>{'yes' if row.matches else 'no'}</td>"
            f"<td>{escape(str(row.fault or ''))}</td></tr>"
            for row in self.pcrs
        )
        return f"<table><tr><th>bank</th><th>PCR</th><th>matches</th><th>fault</th></tr>{rows}</table>"


def compare(pcrs: PcrValues | Replay, *logs: Log) -> Comparison:
    """Compare PCR values with where logs lead, and name the first measurement at fault of each PCR that differs.

    Parameters
    ----------
    pcrs : mapping of bank to mapping of int to bytes
        What the TPM has. A PCR that no log extends has to be at its start.
    logs : EventLog or ImaLog
        In the order in which they were written.

    Raises
    ------
    TpmMisuseError
        If an argument is of the wrong form, or a value of the wrong size.
    """
    held, given = logs_from(logs), pcr_values(pcrs)
    rows = []
    uncompared: list[tuple[int, int]] = [
        (bank, pcr) for bank in banks_of(held) for pcr in sorted(links_of(held, bank)) if pcr not in given.get(bank, {})
    ]
    for bank, values in given.items():
        algorithm, chains = hash_of(bank), links_of(held, bank)
        for pcr, actual in values.items():
            links = chains.get(pcr, [])
            start = start_value(pcr, algorithm.size, held)
            others = other_starts(pcr, algorithm.size, start)
            fault = locate(links, start, actual, algorithm.new, others)
            replayed = start
            for link in links:
                replayed = algorithm.new(replayed + link.value).digest()
            rows.append(PcrComparison(bank, pcr, replayed, actual, len(links), fault))
    return Comparison(tuple(rows), tuple(uncompared), tuple(misfit for log in held for misfit in log.misfits))


def kernel_log_at(pcrs: PcrValues | Replay, log: ImaLog, *before: Log) -> ImaLog:
    """Return the part of a kernel's log that was written when PCRs had some values.

    The kernel goes on measuring while a quote is made and its log is read, so the log may be ahead. Whether the kernel
    is one that extends other banks with SHA-1 and zeros (before 5.8) is found out too.

    Parameters
    ----------
    pcrs : mapping of bank to mapping of int to bytes
        The values.
    log : ImaLog
        The log, as it was read afterwards.
    before : EventLog or ImaLog
        Logs of what extended the same PCRs before.

    Returns
    -------
    ImaLog
        The log up to the entry that led to the values; as it was given where none did.
    """
    given, held = pcr_values(pcrs), logs_from((log, *before))
    for padded in (log.sha1_padded, not log.sha1_padded):
        variant = replace(log, sha1_padded=padded)
        for bank, values in given.items():
            for pcr in (pcr for pcr in log.pcrs if pcr in values):
                count = _entries_until(variant, pcr, bank, values[pcr], held[1:])
                if count is not None:
                    return replace(variant, entries=variant.entries[:count])
    return log


def _entries_until(log: ImaLog, pcr: int, bank: int, value: bytes, before: tuple[Log, ...]) -> int | None:
    """Return how many entries lead a PCR to a value: as many as do, those of other PCRs that follow included."""
    algorithm = hash_of(bank)
    state = start_value(pcr, algorithm.size, before)
    for link in links_of(before, algorithm).get(pcr, []):
        state = algorithm.new(state + link.value).digest()
    found = 0 if state == value else None
    for count, (number, link) in enumerate(log.links(algorithm), start=1):
        if number == pcr:
            state = algorithm.new(state + link.value).digest()
            if state != value and found is not None:
                return found
        if state == value:
            found = count
    return found


def pcr_values(pcrs: PcrValues | Replay) -> dict[int, dict[int, bytes]]:
    """Return PCR values as they are held: by bank's number and PCR; TpmMisuseError if they are not of that form."""
    expected = "a mapping of banks to mappings of PCRs to values"
    given: object = pcrs.values if isinstance(pcrs, Replay) else pcrs
    if not isinstance(given, Mapping):
        raise TpmMisuseError(shown(pcrs), where="pcrs", expected=expected)
    found: dict[int, dict[int, bytes]] = {}
    for bank, values in given.items():
        algorithm = hash_of(bank, "pcrs")
        if not isinstance(values, Mapping):
            raise TpmMisuseError(shown(values), where=f"pcrs[{algorithm.name}]", expected=expected)
        row = found.setdefault(bank_id(algorithm), {})
        for pcr, value in values.items():
            number = whole(pcr, f"pcrs[{algorithm.name}]", 0, MOST_PCRS - 1, error=TpmMisuseError)
            row[number] = octets(value, f"pcrs[{algorithm.name}][{number}]", algorithm.size)
    return found
