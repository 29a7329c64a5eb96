# SPDX-License-Identifier: Apache-2.0
"""PCRs of a TPM read as a whole, and foretold: what they will be after measurements that are yet to come.

Sources: TPM 2.0 Library, Part 3, 22.2 to 22.4; Part 1, 17.2 (extend).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from prestocloud_sec.tpm._banks import bank_id, bank_name
from prestocloud_sec.tpm._given import instance, octets
from prestocloud_sec.tpm.errors import TpmFormatError, TpmMisuseError
from prestocloud_sec.tpm.eventlog.comparing import pcr_values
from prestocloud_sec.tpm.eventlog.event import Digest
from prestocloud_sec.tpm.eventlog.log import EventLog
from prestocloud_sec.tpm.eventlog.replaying import Replay, replay
from prestocloud_sec.tpm.hashes import HashName, hash_of
from prestocloud_sec.tpm.pcr.banks import PCRS, PcrBanks
from prestocloud_sec.tpm.pcr.selection import PcrSelection
from prestocloud_sec.tpm.spec.constants import TPM_ALG_ID, TPM_CAP
from prestocloud_sec.tpm.spec.structures.basic import TPMT_HA
from prestocloud_sec.tpm.use._doing import client_of
from prestocloud_sec.wire import items_of, shown, whole

if TYPE_CHECKING:
    from prestocloud_sec.tpm.client import Client
    from prestocloud_sec.tpm.pcr.selection import SelectionLike
    from prestocloud_sec.wire import BytesLike

    ValuesLike: TypeAlias = "PcrBanks | Replay | Mapping[Any, Mapping[int, bytes]]"

__all__ = ["Values", "extend_pcr", "foretell", "foretell_log", "pcr_banks", "read_pcrs", "values_of"]

Values: TypeAlias = dict[int, dict[int, bytes]]
"""Values of PCRs, by bank (TPM_ALG_ID) and number."""

_TRIES = 8


def pcr_banks(client: Client) -> dict[HashName, tuple[int, ...]]:
    """Return the PCRs that are allocated in each bank."""
    rows = client_of(client).capability(TPM_CAP.PCRS)
    return {bank: pcrs for bank, pcrs in PcrSelection.of_list(rows).banks.items() if pcrs}


def read_pcrs(client: Client, selection: SelectionLike | None = None) -> Values:
    """Return the values of PCRs, all of the same moment.

    A TPM tells eight at a time, and how often its PCRs have changed so far: if they did in between, they are all read
    again. (PCRs 16, 21, 22 and 23 do not count there.)

    Parameters
    ----------
    client : Client
        The TPM.
    selection : PcrSelection, str or mapping, optional
        Which; all if not given.

    Raises
    ------
    TpmMisuseError
        If the TPM has no such PCR, or `selection` is none.
    TpmResponseError
        If the TPM does not know the hash of a bank.
    TpmFormatError
        If they never stand still.

    >>> from prestocloud_sec.tpm import connect
    >>> with connect("embedded:") as client:
    ...     read_pcrs(client, "sha256:0,17")[11][17].hex()[:8], len(read_pcrs(client)[11])
    ('ffffffff', 24)
    """
    tpm = client_of(client)
    wanted = PcrSelection.of(selection) if selection is not None else PcrSelection.of(pcr_banks(tpm))
    for _ in range(_TRIES):
        found = _read_once(tpm, wanted)
        if found is not None:
            return found
    raise TpmFormatError("PCRs change all the time", where="PCR_Read", hint="read fewer of them")


def _read_once(client: Client, wanted: PcrSelection) -> Values | None:
    """Return the values; None if they changed in between."""
    found: Values = {}
    left, counter = set(wanted), None
    while left:
        banks: dict[HashName, list[int]] = {}
        for bank, pcr in left:
            banks.setdefault(bank, []).append(pcr)
        answer = client.pcr_read(PcrSelection.of(banks).to_list())
        told = list(PcrSelection.of_list(answer.pcrSelectionOut))
        if not told or not set(told) <= left or len(told) != len(answer.pcrValues):
            bank, pcr = min(left)
            raise TpmMisuseError(f"no PCR {pcr} of {bank_name(bank)} in this TPM", where="selection")
        if counter is not None and answer.pcrUpdateCounter != counter:
            return None
        counter = answer.pcrUpdateCounter
        for (bank, pcr), value in zip(told, answer.pcrValues, strict=True):
            found.setdefault(bank, {})[pcr] = value
        left -= set(told)
    return {bank: dict(sorted(pcrs.items())) for bank, pcrs in sorted(found.items())}


def extend_pcr(client: Client, pcr: int, digests: Mapping[HashName, BytesLike]) -> None:
    """Extend a PCR with digests; ``client.pcr_event`` takes data, and has the TPM hash them.

    Parameters
    ----------
    client : Client
        The TPM.
    pcr : int
        0 to 23.
    digests : mapping of bank to bytes-like
        A digest for each bank that is to be extended.

    Raises
    ------
    LocalityError
        If the PCR is not extended from here.
    """
    number = whole(pcr, "pcr", 0, PCRS - 1, error=TpmMisuseError)
    rows = [TPMT_HA(TPM_ALG_ID(bank), value) for bank, value in _digests(digests, "digests").items()]
    client_of(client).pcr_extend(number, tuple(rows))


def values_of(values: ValuesLike, where: str = "values") -> Values:
    """Return values given in any form people have them in; TpmMisuseError if they are none."""
    if isinstance(values, PcrBanks):
        return values.values()
    if not isinstance(values, Mapping | Replay):
        raise TpmMisuseError(shown(values), where=where, expected="PcrBanks, a Replay, or a mapping of banks")
    return pcr_values(values)


def foretell(values: ValuesLike, extends: Iterable[tuple[int, Mapping[HashName, BytesLike] | BytesLike]]) -> Values:
    """Return what PCRs will be after measurements that are yet to come.

    Parameters
    ----------
    values : PcrBanks, Replay or mapping
        What they are now.
    extends : iterable of pairs
        PCR, and either its digests by bank, or the data that will be measured.

    Returns
    -------
    dict
        Values by bank and PCR. A bank that there is no digest of stays as it is.

    Raises
    ------
    TpmMisuseError
        If an argument is not what it should be, or the value of a PCR is not known.

    >>> now = {"sha256": {16: bytes(32)}}
    >>> foretell(now, [(16, b"version 2")])[11][16].hex()[:16]
    '518210b779c24ee6'
    """
    found = {bank: dict(pcrs) for bank, pcrs in values_of(values).items()}
    for pair in items_of(extends, "extends", "pairs of PCR and measurement", error=TpmMisuseError):
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise TpmMisuseError(shown(pair), where="extends", expected="a pair of PCR and measurement")
        pcr = whole(pair[0], "extends.pcr", 0, PCRS - 1, error=TpmMisuseError)
        if isinstance(pair[1], Mapping):
            digests = _digests(pair[1], "extends.digests")
        else:
            raw = octets(pair[1], "extends.data")
            digests = {bank: hash_of(bank).digest(raw) for bank in found}
        touched = {bank: value for bank, value in digests.items() if pcr in found.get(bank, {})}
        if not touched:
            raise TpmMisuseError(f"no value of PCR {pcr}", where="values", expected="those that are extended")
        for bank, value in touched.items():
            found[bank][pcr] = hash_of(bank).digest(found[bank][pcr], value)
    return found


def foretell_log(log: EventLog, changes: Mapping[int, Mapping[HashName, BytesLike] | None]) -> Values:
    """Return where an event log will lead when some of its measurements will be others: after an update, say.

    Parameters
    ----------
    log : EventLog
        The log of this start.
    changes : mapping of int to mapping
        For the number of an event, its new digests by bank; None if it will not be there.

    Returns
    -------
    dict
        Values by bank and PCR, of the PCRs that the log extends.

    Raises
    ------
    TpmMisuseError
        If there is no such event, or a digest is missing or not of its bank.
    """
    held = instance(log, EventLog, "log")
    if not isinstance(changes, Mapping):
        raise TpmMisuseError(shown(changes), where="changes", expected="a mapping of event numbers")
    wanted: Mapping[int, Any] = changes
    numbers = {whole(number, "changes", 0, len(held) - 1, error=TpmMisuseError) for number in wanted}
    events = []
    for event in held.events:
        change = wanted.get(event.number) if event.number in numbers else {}
        if change is None:
            continue
        if event.number in numbers:
            new = _digests(change, f"changes[{event.number}]")
            missing = [bank_name(old.algorithm) for old in event.digests if old.algorithm not in new]
            if missing:
                raise TpmMisuseError(f"no digest of {missing[0]}", where=f"changes[{event.number}]")
            event = replace(event, digests=tuple(Digest(old.algorithm, new[old.algorithm]) for old in event.digests))
        events.append(event)
    after = replay(EventLog(tuple(events), dynamic_launch=held.dynamic_launch))
    return {bank: dict(pcrs) for bank, pcrs in after.values.items()}


def _digests(digests: Any, where: str) -> dict[int, bytes]:
    if not isinstance(digests, Mapping) or not digests:
        hint = "client.pcr_event() takes data" if isinstance(digests, bytes | bytearray) else None
        raise TpmMisuseError(shown(digests), where=where, expected="a mapping with a digest for each bank", hint=hint)
    return {bank_id(bank, where): octets(value, where, hash_of(bank, where).size) for bank, value in digests.items()}
