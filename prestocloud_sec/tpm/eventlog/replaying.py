# SPDX-License-Identifier: Apache-2.0
"""Where a log leads: the PCR values that follow from its measurements, and how they differ from those of a TPM.

A PCR starts at zero, or, for the PCRs of a dynamic launch (17 to 22), at all ones, and every measurement makes it
``H(PCR || digest)``. PCR 0 starts with the locality of the start in its last byte, where the log tells of one: it does
so in an event StartupLocality, or, with a hardware CRTM, by the event EV_EFI_HCRTM_EVENT, which means locality 4.

Logs of the firmware and of the kernel (`prestocloud_sec.tpm.eventlog.ima`) are replayed alike, and one after the other
where both extended the same PCR.

Sources: TPM 2.0 Library, Part 1, 17.2 (extend) and 34.3 (H-CRTM); TCG PC Client Platform Firmware Profile 1.06,
sections 3.3.3 and 10.4.5.3 (StartupLocality); TCG PC Client Platform TPM Profile 1.06, section 4.6.2 (start values).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from html import escape
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from prestocloud_sec.tpm._banks import bank_id, bank_name
from prestocloud_sec.tpm._given import octets
from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.tpm.eventlog.constants import MOST_PCRS, EventType
from prestocloud_sec.tpm.eventlog.faults import Fault, Link, Measurement, locate
from prestocloud_sec.tpm.eventlog.firmware import StartupLocality
from prestocloud_sec.tpm.eventlog.log import EventLog
from prestocloud_sec.tpm.eventlog.origins import origin_of
from prestocloud_sec.tpm.hashes import HashName, hash_of
from prestocloud_sec.wire import items_of, shown, whole

if TYPE_CHECKING:
    from prestocloud_sec.tpm.eventlog.ima import ImaLog

    Log: TypeAlias = EventLog | ImaLog
    PcrValues: TypeAlias = Mapping[Any, Mapping[int, bytes]]

__all__ = ["Comparison", "PcrComparison", "Replay", "compare", "kernel_log_at", "links_of", "replay", "start_value"]

_DYNAMIC = range(17, 23)
_HCRTM_LOCALITY = 4


def _locality_of(log: object) -> int:
    """Return the locality from which the TPM was started, as far as a log tells."""
    if not isinstance(log, EventLog):
        return 0
    for event in log:
        if event.pcr != 0:
            continue
        if event.is_extended:
            # A hardware CRTM measures before anything else can; of others the profile asks to tell before they measure.
            if event.type == EventType.EFI_HCRTM_EVENT:
                return _HCRTM_LOCALITY
            break
        payload = event.payload
        if isinstance(payload, StartupLocality):
            return payload.locality
    return 0


def start_value(pcr: int, size: int, logs: Iterable[object] = ()) -> bytes:
    """Return what a PCR starts with.

    Parameters
    ----------
    pcr : int
        Its number.
    size : int
        Bytes of a digest of its bank.
    logs : iterable of EventLog
        Logs that may tell from which locality the TPM was started.
    """
    if pcr in _DYNAMIC:
        return b"\xff" * size
    locality = max((_locality_of(log) for log in logs), default=0) if pcr == 0 else 0
    return bytes(size - 1) + bytes((locality,))


def _other_starts(pcr: int, size: int, start: bytes) -> list[bytes]:
    """Return what else a PCR can start with."""
    if pcr in _DYNAMIC:
        return [value for value in (bytes(size), b"\xff" * size) if value != start]
    if pcr != 0:
        return []
    return [value for value in (bytes(size - 1) + bytes((locality,)) for locality in (0, 3, 4)) if value != start]


def links_of(logs: Iterable[Log], bank: HashName) -> dict[int, list[Link]]:
    """Return, for each PCR that logs extend in a bank, its measurements in order."""
    algorithm = hash_of(bank)
    found: dict[int, list[Link]] = {}
    for log in logs:
        for pcr, link in _links_of_boot(log, algorithm.id) if isinstance(log, EventLog) else log.links(algorithm):
            found.setdefault(pcr, []).append(link)
    return found


def _links_of_boot(log: EventLog, bank: int) -> Iterator[tuple[int, Link]]:
    digest = hash_of(bank).digest
    for event in log:
        value = event.digest(bank) if event.is_extended else None
        if value is None:
            continue
        origin = origin_of(event.pcr, event.type, event.data)
        others = tuple(digest(content) for content in origin.contents)
        yield event.pcr, Link(value, () if value in others else others, event, origin.binding)


def _logs(given: tuple[Any, ...]) -> tuple[Any, ...]:
    for log in given:
        if not isinstance(log, EventLog) and not hasattr(log, "links"):
            raise TpmMisuseError(shown(log), where="logs", expected="an EventLog or an ImaLog")
    return given


@dataclass(frozen=True, slots=True)
class Replay:
    r"""Where logs lead.

    Attributes
    ----------
    values : mapping of int to mapping of int to bytes
        By bank and PCR; only PCRs that the logs extend in that bank.

    Examples
    --------
    >>> log = EventLog.decode(bytes(4) + b"\x04\0\0\0" + bytes.fromhex("9069ca78e7450a285173431b3e52c5c25299e473") +
    ...                       b"\x04\0\0\0" + bytes(4))
    >>> replay(log)["sha1"][0].hex()
    'b2a83b0ebf2f8374299a5b2bdfc31ea955ad7236'
    """

    values: Mapping[int, Mapping[int, bytes]]

    def __getitem__(self, bank: HashName) -> Mapping[int, bytes]:
        number = bank_id(bank)
        if number not in self.values:
            banks = ", ".join(map(bank_name, self.values)) or "none at all"
            raise TpmMisuseError(f"no bank {bank_name(number)}", where="Replay", expected=banks)
        return self.values[number]

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{bank_name(bank)}</td><td>{pcr}</td><td><code>{value.hex()}</code></td></tr>"
            for bank, pcrs in self.values.items()
            for pcr, value in pcrs.items()
        )
        return f"<table><tr><th>bank</th><th>PCR</th><th>value</th></tr>{rows}</table>"


def replay(*logs: Log, banks: Iterable[HashName] | None = None) -> Replay:
    """Return the PCR values that follow from logs.

    Parameters
    ----------
    logs : EventLog or ImaLog
        In the order in which they were written.
    banks : iterable of str or int, optional
        Which banks; by default those of the logs whose hash is known here.

    Raises
    ------
    TpmMisuseError
        If a log is none, or a bank is not of a known hash.
    """
    held = _logs(logs)
    values = {}
    for bank in _banks_of(held) if banks is None else items_of(banks, "banks", "banks", error=TpmMisuseError):
        algorithm = hash_of(bank, "banks")
        pcrs = {}
        for pcr, links in sorted(links_of(held, algorithm).items()):
            state = start_value(pcr, algorithm.size, held)
            for link in links:
                state = algorithm.new(state + link.value).digest()
            pcrs[pcr] = state
        values[bank_id(algorithm)] = MappingProxyType(pcrs)
    return Replay(MappingProxyType(values))


def _banks_of(logs: tuple[Log, ...]) -> list[int]:
    found: list[int] = []
    for log in logs:
        found += [bank for bank in log.banks if bank not in found and _is_known(bank)]
    return found


def _is_known(bank: int) -> bool:
    try:
        hash_of(bank)
    except TpmMisuseError:
        return False
    return True


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
    held, given = _logs(logs), pcr_values(pcrs)
    rows = []
    uncompared: list[tuple[int, int]] = [
        (bank, pcr)
        for bank in _banks_of(held)
        for pcr in sorted(links_of(held, bank))
        if pcr not in given.get(bank, {})
    ]
    for bank, values in given.items():
        algorithm, chains = hash_of(bank), links_of(held, bank)
        for pcr, actual in values.items():
            links = chains.get(pcr, [])
            start = start_value(pcr, algorithm.size, held)
            others = _other_starts(pcr, algorithm.size, start)
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
    given, held = pcr_values(pcrs), _logs((log, *before))
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
