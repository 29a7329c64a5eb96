# SPDX-License-Identifier: Apache-2.0
"""One record of an event log: what was extended into which PCR, and what the log says about it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from prestocloud_sec.tpm._banks import bank_id
from prestocloud_sec.tpm._given import octets
from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.tpm.eventlog.constants import MOST_PCRS, EventType, event_name
from prestocloud_sec.tpm.eventlog.origins import origin_of
from prestocloud_sec.tpm.eventlog.payloads import Payload, decode_payload, summary
from prestocloud_sec.tpm.hashes import HashName, hash_of
from prestocloud_sec.wire import items_of, shown, whole

__all__ = ["Digest", "Event"]


class Digest(NamedTuple):
    """What was extended into one bank: the bank's algorithm, and the digest."""

    algorithm: int
    value: bytes


@dataclass(frozen=True, slots=True)
class Event:
    """One record of an event log.

    Attributes
    ----------
    pcr : int
        The PCR that was extended; for EV_NO_ACTION anything, also the handle of an NV index.
    type : EventType or int
        What was measured; a plain number where the profile has no name for it.
    digests : tuple of Digest
        What was extended into each bank, in the order of the log; no bank twice.
    data : bytes
        What the log says about it; `payload` reads it.
    number : int
        The position in its log, from 0. Not part of the value.
    """

    pcr: int
    type: int
    digests: tuple[Digest, ...]
    data: bytes
    number: int = field(default=0, compare=False)

    def __post_init__(self) -> None:
        for name in ("pcr", "type", "number"):
            held = whole(getattr(self, name), f"Event.{name}", 0, 0xFFFFFFFF, error=TpmMisuseError)
            object.__setattr__(self, name, held)
        with contextlib.suppress(ValueError):
            object.__setattr__(self, "type", EventType(self.type))
        if self.pcr >= MOST_PCRS and self.is_extended:
            raise TpmMisuseError(
                f"{event_name(self.type)} in PCR {self.pcr}", where="Event.pcr", expected=f"0 to {MOST_PCRS - 1}"
            )
        object.__setattr__(self, "data", octets(self.data, "Event.data", most=0xFFFFFFFF))
        object.__setattr__(self, "digests", _digests(self.digests))

    @property
    def is_extended(self) -> bool:
        """Whether the event was extended into its PCR; EV_NO_ACTION is there to be read only."""
        return self.type != EventType.NO_ACTION

    @property
    def name(self) -> str:
        """The specification's name of the type."""
        return event_name(self.type)

    @property
    def payload(self) -> Payload:
        """The data as what the type says it is; see `decode_payload`."""
        return decode_payload(self.type, self.data)

    @property
    def summary(self) -> str:
        """One short line about the data."""
        return summary(self.payload)

    def digest(self, bank: HashName) -> bytes | None:
        """Return what was extended into a bank; None if nothing was."""
        number = bank_id(bank)
        return next((found.value for found in self.digests if found.algorithm == number), None)

    def digest_fits(self, bank: HashName) -> bool | None:
        """Tell whether the digest is that of the data.

        Returns
        -------
        bool or None
            None where that cannot be told: nothing was extended into the bank, or what was hashed is not in the log.
        """
        value, origin = self.digest(bank), origin_of(self.pcr, self.type, self.data)
        if value is None or not self.is_extended or not origin.contents:
            return None
        digest = hash_of(bank).digest
        if any(digest(content) == value for content in origin.contents):
            return True
        return False if origin.binding else None

    def __str__(self) -> str:
        return f"event {self.number}: PCR {self.pcr} {self.name}: {self.summary}"


def _digests(given: Any) -> tuple[Digest, ...]:
    where = "Event.digests"
    held = []
    for item in items_of(given, where, "an iterable of pairs", error=TpmMisuseError):
        if not isinstance(item, tuple) or len(item) != 2:
            raise TpmMisuseError(shown(item), where=where, expected="a pair of algorithm and digest")
        held.append(Digest(bank_id(item[0], f"{where}.algorithm"), octets(item[1], f"{where}.value")))
    if len({digest.algorithm for digest in held}) != len(held):
        raise TpmMisuseError("one bank twice", where=where, expected="each bank once")
    return tuple(held)
