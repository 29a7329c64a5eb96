# SPDX-License-Identifier: Apache-2.0
"""The event log of a boot: what firmware and boot loaders measured into the PCRs, in order.

Two formats, both little-endian. With TPM 1.2 every record is ``pcr(4) type(4) sha1(20) size(4) data``. Since TPM 2.0
the first record still looks like that, is not extended, and names the banks ("Spec ID Event03"); those that follow are
``pcr(4) type(4) count(4) {algorithm(2) digest}* size(4) data``, so nobody can read them without the first.

A log is accepted whole or not at all: whatever does not fit raises, and nothing of it comes back. What follows the last
record in a dump of the memory that the log lay in is kept as `EventLog.padding`: the mark ffffffff with nothing but
zeros or ones behind it, or at least one whole record of zeros.

A log is evidence only together with the PCRs it leads to; `prestocloud_sec.tpm.eventlog.replaying` compares the two.

Sources: TCG PC Client Platform Firmware Profile 1.06, sections 10.2.1 and 10.2.2; TCG EFI Protocol Specification 1.0,
section 5.2; the Linux kernel 6.1, ``include/linux/tpm_eventlog.h``, for where a log of zeros ends. Where the profile
asks for all banks in every event and logs in the field do not have them, the log is read: a bank that an event leaves
out was not extended by it, as with TPM2_PCR_Extend.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import Enum
from html import escape
from typing import TYPE_CHECKING, overload

from prestocloud_sec.tpm._banks import bank_id, bank_name, known_bank
from prestocloud_sec.tpm._given import octets
from prestocloud_sec.tpm._secrets import flag
from prestocloud_sec.tpm.errors import TpmFormatError, TpmMisuseError
from prestocloud_sec.tpm.eventlog._layout import Source
from prestocloud_sec.tpm.eventlog.constants import END_MARK, MOST_PCRS, EventType, event_name
from prestocloud_sec.tpm.eventlog.event import Digest, Event
from prestocloud_sec.tpm.eventlog.firmware import SPEC_ID_03, SpecIdEvent
from prestocloud_sec.tpm.spec.constants import TPM_ALG_ID
from prestocloud_sec.wire import items_of, shown, whole

if TYPE_CHECKING:
    from typing import Self

    from prestocloud_sec.wire import BytesLike

__all__ = ["EventLog", "LogFormat"]

_SHA1_SIZE = 20
_HEADERS = {"sha1": 32, "crypto-agile": 16}
_SPEC_ID_OFFSET = 32


class LogFormat(Enum):
    """How the records of a log are laid out."""

    SHA1 = "sha1"
    CRYPTO_AGILE = "crypto-agile"


_ENDS = (END_MARK.to_bytes(4, "little"), bytes(4))


def _is_padding(tail: bytes, header: int) -> bool:
    if tail[:4] == _ENDS[0]:
        return not tail[4:].strip(b"\xff") or not tail[4:].strip(b"\0")
    return len(tail) >= header and not tail.strip(b"\0")


@dataclass(frozen=True, slots=True, repr=False)
class EventLog:
    r"""A whole event log.

    Attributes
    ----------
    events : tuple of Event
        All records, the one that names the banks included; each knows its position.
    padding : bytes
        What followed the last record in the buffer.
    dynamic_launch : bool
        Whether the log is one of a dynamic launch, which sets the PCRs 17 to 22 to zero before it measures. The bytes
        do not tell; without a launch these PCRs start with ones.

    Examples
    --------
    >>> log = EventLog.decode(bytes(4) + b"\x04\0\0\0" + bytes.fromhex("9069ca78e7450a285173431b3e52c5c25299e473") +
    ...                       b"\x04\0\0\0" + bytes(4))
    >>> log
    <EventLog sha1: 1 events in PCRs 0>
    >>> log[0].name, log[0].digest_fits("sha1")
    ('EV_SEPARATOR', True)
    """

    events: tuple[Event, ...]
    padding: bytes = b""
    dynamic_launch: bool = False
    spec_id: SpecIdEvent | None = field(init=False, compare=False, default=None)
    """What the first event of a crypto-agile log says; None in a log of SHA-1 alone."""

    def __post_init__(self) -> None:
        where = "EventLog.events"
        held = []
        for number, event in enumerate(items_of(self.events, where, "an iterable of Event", error=TpmMisuseError)):
            if not isinstance(event, Event):
                raise TpmMisuseError(shown(event), where=where, expected="only events")
            held.append(event if event.number == number else replace(event, number=number))
        if not held:
            raise TpmMisuseError("an empty log", where=where, expected="at least one event")
        object.__setattr__(self, "events", tuple(held))
        object.__setattr__(self, "padding", octets(self.padding, "EventLog.padding"))
        flag(self.dynamic_launch, "EventLog.dynamic_launch")
        if _is_spec_id(held[0]):
            object.__setattr__(self, "spec_id", _spec_id_of(held[0], where))
        self._check()

    def _check(self) -> None:
        """Refuse events that could not be read back as they are."""
        sizes: dict[int, int] = {TPM_ALG_ID.SHA1: _SHA1_SIZE} if self.spec_id is None else _sizes(self.spec_id)
        for event in self.events[0 if self.spec_id is None else 1 :]:
            where = f"EventLog.events[{event.number}]"
            for digest in event.digests:
                if sizes.get(digest.algorithm) != len(digest.value):
                    raise TpmMisuseError(
                        f"{len(digest.value)} bytes of {bank_name(digest.algorithm)}",
                        where=f"{where}.digests",
                        expected=", ".join(f"{size} of {bank_name(bank)}" for bank, size in sizes.items()),
                    )
            if self.spec_id is None and len(event.digests) != 1:
                raise TpmMisuseError(f"{len(event.digests)} digests", where=f"{where}.digests", expected="1")
            if not self._record(event).strip(b"\0"):
                raise TpmMisuseError("an event of zeros only", where=where, expected="a type, a digest or data")
        if self.padding and not _is_padding(self.padding, _HEADERS[self.format.value]):
            raise TpmMisuseError("bytes that are no padding", where="EventLog.padding", expected="ffffffff, or zeros")

    @property
    def format(self) -> LogFormat:
        """How the records are laid out."""
        return LogFormat.SHA1 if self.spec_id is None else LogFormat.CRYPTO_AGILE

    @property
    def banks(self) -> tuple[int, ...]:
        """The banks that the log says it is of, in its order."""
        return (TPM_ALG_ID.SHA1,) if self.spec_id is None else tuple(_sizes(self.spec_id))

    @property
    def pcrs(self) -> tuple[int, ...]:
        """The PCRs that the log extends, ascending."""
        return tuple(sorted({event.pcr for event in self.events if event.is_extended}))

    @property
    def misfits(self) -> tuple[Event, ...]:
        """The events with a digest that is not that of their data, though their type says it is."""
        known = [bank for bank in self.banks if known_bank(bank) is not None]
        return tuple(event for event in self.events if any(event.digest_fits(bank) is False for bank in known))

    def of_pcr(self, pcr: int) -> tuple[Event, ...]:
        """Return the events that were extended into a PCR, in order."""
        number = whole(pcr, "pcr", error=TpmMisuseError)
        return tuple(event for event in self.events if event.pcr == number and event.is_extended)

    @classmethod
    def decode(cls, data: BytesLike, *, dynamic_launch: bool = False) -> Self:
        """Return the log that `data` holds from its first to its last byte.

        Parameters
        ----------
        data : bytes-like
            The log.
        dynamic_launch : bool
            See `EventLog`.

        Raises
        ------
        TpmFormatError
            If anything does not fit: an event that goes past the end, more digests than the log has banks, a bank it
            does not have, an extended event in a PCR that does not exist. Says which event and where.
        TpmMisuseError
            If `data` is not bytes-like.
        """
        source, launched = Source(octets(data, "event log"), "event log"), flag(dynamic_launch, "dynamic_launch")
        try:
            events, padding = _read(source)
            return cls(tuple(events), padding, launched)
        except TpmMisuseError as error:
            raise TpmFormatError(
                error.what, where=error.where, offset=source.offset, expected=error.expected
            ) from error

    def encode(self) -> bytes:
        """Return the bytes of the log."""
        return b"".join(self._record(event) for event in self.events) + self.padding

    def _record(self, event: Event) -> bytes:
        head = event.pcr.to_bytes(4, "little") + event.type.to_bytes(4, "little")
        tail = len(event.data).to_bytes(4, "little") + event.data
        if self.spec_id is None or event.number == 0:
            return head + event.digests[0].value + tail
        digests = b"".join(digest.algorithm.to_bytes(2, "little") + digest.value for digest in event.digests)
        return head + len(event.digests).to_bytes(4, "little") + digests + tail

    def __len__(self) -> int:
        return len(self.events)

    def __iter__(self) -> Iterator[Event]:
        return iter(self.events)

    @overload
    def __getitem__(self, index: int) -> Event: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Event, ...]: ...
    def __getitem__(self, index: int | slice) -> Event | tuple[Event, ...]:
        if isinstance(index, slice):
            return self.events[index]
        count = len(self.events)
        return self.events[whole(index, "index", -count, count - 1, error=TpmMisuseError)]

    def __repr__(self) -> str:
        pcrs = ", ".join(map(str, self.pcrs)) or "none"
        return f"<EventLog {self.format.value}: {len(self.events)} events in PCRs {pcrs}>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{event.number}</td><td>{event.pcr}</td><td>{escape(event.name)}</td>"
            f"<td>{escape(event.summary)}</td></tr>"
            for event in self.events
        )
        head = "<tr><th>#</th><th>PCR</th><th>type</th><th>data</th></tr>"
        return f"<table><caption>{escape(repr(self)[1:-1])}</caption>{head}{rows}</table>"


def _is_spec_id(event: Event) -> bool:
    return event.type == EventType.NO_ACTION and event.data.startswith(SPEC_ID_03)


def _spec_id_of(event: Event, where: str) -> SpecIdEvent:
    """Return what the first event of a crypto-agile log says of its banks."""
    if event.pcr != 0 or event.digests != (Digest(TPM_ALG_ID.SHA1, bytes(_SHA1_SIZE)),):
        raise TpmMisuseError(
            "an event that names the banks, and a PCR or a digest beside it", where=f"{where}[0]", expected="zeros"
        )
    return SpecIdEvent.read_from(event.data, "event log.events[0].data", _SPEC_ID_OFFSET)


def _sizes(spec_id: SpecIdEvent) -> dict[int, int]:
    return {bank_id(bank.algorithm): bank.size for bank in spec_id.algorithms}


def _read(source: Source) -> tuple[list[Event], bytes]:
    """Take all records, then what may follow them."""
    if not source.left:
        raise source.refuse("no bytes", "events", "at least one event")
    first = _read_sha1(source, 0)
    events = [first]
    sizes = _sizes(_spec_id_of(first, "EventLog.events")) if _is_spec_id(first) else None
    header = _HEADERS["sha1" if sizes is None else "crypto-agile"]
    while source.left:
        if source.peek(4) in _ENDS and _is_padding(source.peek(), header):
            return events, source.rest()
        number = len(events)
        events.append(_read_sha1(source, number) if sizes is None else _read_agile(source, number, sizes))
    return events, b""


def _head(source: Source, place: str) -> tuple[int, int]:
    start = source.offset
    pcr, kind = source.uint(4, f"{place}.pcr"), source.uint(4, f"{place}.type")
    if pcr >= MOST_PCRS and kind != EventType.NO_ACTION:
        raise source.refuse(str(pcr), f"{place}.pcr", f"0 to {MOST_PCRS - 1} for {event_name(kind)}", offset=start)
    return pcr, kind


def _read_sha1(source: Source, number: int) -> Event:
    place = f"events[{number}]"
    pcr, kind = _head(source, place)
    digest = source.take(_SHA1_SIZE, f"{place}.digest")
    data = source.take(source.uint(4, f"{place}.size"), f"{place}.data")
    return Event(pcr, kind, (Digest(TPM_ALG_ID.SHA1, digest),), data, number)


def _read_agile(source: Source, number: int, sizes: dict[int, int]) -> Event:
    place = f"events[{number}]"
    pcr, kind = _head(source, place)
    start = source.offset
    count = source.uint(4, f"{place}.count")
    if count > len(sizes):
        raise source.refuse(f"{count} digests", f"{place}.count", f"at most {len(sizes)}, one a bank", offset=start)
    digests: dict[int, bytes] = {}
    for at in range(count):
        start = source.offset
        algorithm = source.uint(2, f"{place}.digests[{at}].algorithm")
        if algorithm not in sizes or algorithm in digests:
            banks = ", ".join(bank_name(bank) for bank in sizes)
            expected = f"each of {banks} at most once"
            raise source.refuse(bank_name(algorithm), f"{place}.digests[{at}].algorithm", expected, offset=start)
        digests[algorithm] = source.take(sizes[algorithm], f"{place}.digests[{at}].value")
    data = source.take(source.uint(4, f"{place}.size"), f"{place}.data")
    return Event(pcr, kind, tuple(Digest(*pair) for pair in digests.items()), data, number)
