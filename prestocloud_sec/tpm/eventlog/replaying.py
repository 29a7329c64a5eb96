# SPDX-License-Identifier: Apache-2.0
"""Where a log leads: the PCR values that follow from its measurements.

A PCR starts at zero, or, for the PCRs of a dynamic launch (17 to 22) that was not made, at all ones, and every
measurement makes it ``H(PCR || digest)``. PCR 0 starts with the locality of the start in its last byte, where the log
tells of one: it does so in an event StartupLocality, or, with a hardware CRTM, by the event EV_EFI_HCRTM_EVENT, which
means locality 4.

Logs of the firmware and of the kernel (`prestocloud_sec.tpm.eventlog.ima`) are replayed alike, and one after the other
where both extended the same PCR.

Sources: TPM 2.0 Library, Part 1, 17.2 (extend) and 34.3 (H-CRTM); TCG PC Client Platform Firmware Profile 1.06,
sections 3.3.3 and 10.4.5.3 (StartupLocality); TCG PC Client Platform TPM Profile 1.06, section 4.6.2 (start values).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from prestocloud_sec.tpm._banks import bank_id, bank_name, known_bank
from prestocloud_sec.tpm._given import octets
from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.tpm.eventlog.constants import MOST_PCRS, EventType
from prestocloud_sec.tpm.eventlog.faults import Link
from prestocloud_sec.tpm.eventlog.firmware import StartupLocality
from prestocloud_sec.tpm.eventlog.ima import ImaLog
from prestocloud_sec.tpm.eventlog.log import EventLog
from prestocloud_sec.tpm.eventlog.origins import origin_of
from prestocloud_sec.tpm.hashes import HashName, hash_of
from prestocloud_sec.wire import items_of, shown, whole

if TYPE_CHECKING:
    Log: TypeAlias = EventLog | ImaLog
    PcrValues: TypeAlias = Mapping[Any, Mapping[int, bytes]]

__all__ = ["Replay", "banks_of", "links_of", "logs_from", "other_starts", "replay", "start_value"]

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
        Logs that may tell from which locality the TPM was started, and whether it was launched dynamically.
    """
    if pcr in _DYNAMIC:
        is_launched = any(isinstance(log, EventLog) and log.dynamic_launch for log in logs)
        return (b"\0" if is_launched else b"\xff") * size
    locality = max((_locality_of(log) for log in logs), default=0) if pcr == 0 else 0
    return bytes(size - 1) + bytes((locality,))


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


def logs_from(given: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return what was given for logs; TpmMisuseError if something is none."""
    for log in given:
        if not isinstance(log, EventLog | ImaLog):
            raise TpmMisuseError(shown(log), where="logs", expected="an EventLog or an ImaLog")
    return given


def _items(given: Any, where: str) -> Iterable[tuple[Any, Any]]:
    if not isinstance(given, Mapping):
        raise TpmMisuseError(shown(given), where=where, expected="a mapping of banks to mappings of PCRs to values")
    return given.items()


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
    >>> print(replay(log))
    sha1:0 b2a83b0ebf2f8374299a5b2bdfc31ea955ad7236
    """

    values: Mapping[int, Mapping[int, bytes]]

    def __post_init__(self) -> None:
        where = "Replay.values"
        held = {}
        for bank, pcrs in _items(self.values, where):
            held[bank_id(bank, where)] = MappingProxyType(
                {
                    whole(pcr, where, 0, MOST_PCRS - 1, error=TpmMisuseError): octets(value, where)
                    for pcr, value in _items(pcrs, where)
                }
            )
        object.__setattr__(self, "values", MappingProxyType(held))

    def __getitem__(self, bank: HashName) -> Mapping[int, bytes]:
        number = bank_id(bank)
        if number not in self.values:
            banks = ", ".join(map(bank_name, self.values)) or "none at all"
            raise TpmMisuseError(f"no bank {bank_name(number)}", where="Replay", expected=banks)
        return self.values[number]

    def __str__(self) -> str:
        return "\n".join(
            f"{bank_name(bank)}:{pcr} {value.hex()}"
            for bank, pcrs in self.values.items()
            for pcr, value in pcrs.items()
        )

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
    held = logs_from(logs)
    values: dict[int, dict[int, bytes]] = {}
    for bank in banks_of(held) if banks is None else items_of(banks, "banks", "banks", error=TpmMisuseError):
        algorithm = hash_of(bank, "banks")
        pcrs = {}
        for pcr, links in sorted(links_of(held, algorithm).items()):
            state = start_value(pcr, algorithm.size, held)
            for link in links:
                state = algorithm.new(state + link.value).digest()
            pcrs[pcr] = state
        values[bank_id(algorithm)] = pcrs
    return Replay(values)


def banks_of(logs: tuple[Log, ...]) -> list[int]:
    """Return the banks of logs whose hash is known here."""
    found: list[int] = []
    for log in logs:
        found += [bank for bank in log.banks if bank not in found and known_bank(bank) is not None]
    return found


def other_starts(pcr: int, size: int, start: bytes) -> list[bytes]:
    """Return what else a PCR can start with."""
    if pcr in _DYNAMIC:
        return [value for value in (bytes(size), b"\xff" * size) if value != start]
    if pcr != 0:
        return []
    return [value for value in (bytes(size - 1) + bytes((locality,)) for locality in (0, 3, 4)) if value != start]
