# SPDX-License-Identifier: Apache-2.0
"""Which measurement of a log is at fault when the log does not lead to the PCR.

A PCR is the end of a chain of hashes, so it tells that something is wrong and not what. But a log that was changed in
one place mostly leads to the PCR again once that one change is undone, and no other change does that: hashes do not
collide. So the search tries, in this order,

- to stop early: the log holds more than was extended, or the PCR was read before the end;
- another start: from another locality, or with or without a dynamic launch;
- to replace digests that are not those of their own data by those that are;
- to leave out, exchange with its neighbour, or repeat, one measurement;

and names the measurement at which it succeeds, which is then proved to be at fault. Where nothing succeeds, a digest
that does not fit its data is named as a suspect, and else nothing: then the log lacks a measurement, or more than one
was changed, and only a reference can tell (`prestocloud_sec.tpm.attest.ReferencePolicy`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, Protocol

__all__ = ["Fault", "FaultKind", "Link", "Measurement", "locate"]

_MOST_STEPS = 200_000  # hashes; a fifth of a second


class Measurement(Protocol):
    """A record of a log: an `Event` of a boot, or an entry of the kernel's integrity measurements."""

    @property
    def number(self) -> int:
        """The position in its log."""

    @property
    def pcr(self) -> int:
        """The PCR that was extended."""


class FaultKind(Enum):
    """What is wrong with a log."""

    EXTRA = "was not extended"
    """The PCR is what it was just before this measurement: it, and all after it, are in the log alone."""

    START = "started from another value"
    """The PCR did not start as the log says: from another locality, or with or without a dynamic launch."""

    ALTERED = "has a digest that was altered"
    """The digest in the log is not the one that was extended; that of the data beside it is."""

    INSERTED = "was put in"
    """Without this measurement the log leads to the PCR."""

    SWAPPED = "was exchanged with the one after it"
    """In the other order the log leads to the PCR."""

    DROPPED = "was extended twice and is in the log once"
    """With this measurement repeated the log leads to the PCR."""

    SUSPECT = "has a digest that is not that of its data"
    """It may be at fault; that undoing it leads to the PCR could not be shown."""

    UNLOGGED = "was extended, and the log says nothing of it"
    """The PCR is not at its start, and no measurement of the log is in it."""

    UNKNOWN = "cannot be told from the log"
    """No single change of the log leads to the PCR: a measurement is missing, or several were changed."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a log, and the first measurement at fault.

    Attributes
    ----------
    kind : FaultKind
        What is wrong.
    measurement : Event or ImaEntry or None
        The first measurement at fault; None where none can be named.
    """

    kind: FaultKind
    measurement: Measurement | None = None

    @property
    def is_proved(self) -> bool:
        """Whether undoing the fault leads to the PCR."""
        return self.kind not in (FaultKind.SUSPECT, FaultKind.UNKNOWN)

    def __str__(self) -> str:
        subject = "the PCR" if self.measurement is None else str(self.measurement)
        if self.kind is FaultKind.UNKNOWN:
            return "which measurement is at fault cannot be told from the log"
        return f"{subject} {self.kind.value}"


class Link(NamedTuple):
    """A measurement in the chain of one PCR of one bank.

    Attributes
    ----------
    value : bytes
        What the log says was extended.
    others : tuple of bytes
        Digests of what the log says was measured, where `value` is none of them.
    measurement : Measurement
        The record it comes from.
    is_suspect : bool
        Whether `value` should be one of `others`.
    """

    value: bytes
    others: tuple[bytes, ...]
    measurement: Measurement
    is_suspect: bool = True


class _Chain:
    """The hashes of one PCR, with a bound on how many are computed."""

    def __init__(self, links: Sequence[Link], start: bytes, new: Callable[[bytes], object]) -> None:
        self.links = links
        self.values = [link.value for link in links]
        self._new = new
        self.left = _MOST_STEPS
        self.states = [start]
        for value in self.values:
            self.states.append(self.extend(self.states[-1], value))

    def extend(self, state: bytes, value: bytes) -> bytes:
        found: bytes = self._new(state + value).digest()  # type: ignore[attr-defined]
        return found

    def run(self, state: bytes, values: Sequence[bytes]) -> bytes | None:
        """Return where `values` lead from a state; None once the bound is reached."""
        self.left -= len(values)
        if self.left < 0:
            return None
        for value in values:
            state = self.extend(state, value)
        return state


def _changes(chain: _Chain) -> Iterator[tuple[FaultKind, int, bytes, Sequence[bytes]]]:
    """Yield every single change: its kind, the measurement, the state before it, and what follows in its place."""
    values, states = chain.values, chain.states
    for at, link in enumerate(chain.links):
        for other in link.others:
            yield FaultKind.ALTERED, at, states[at], [other, *values[at + 1 :]]
    mended = [link.others[0] if link.others and link.is_suspect else link.value for link in chain.links]
    first = next((at for at, link in enumerate(chain.links) if link.others and link.is_suspect), None)
    if first is not None:
        yield FaultKind.ALTERED, first, states[first], mended[first:]
    for at in range(len(values)):
        yield FaultKind.INSERTED, at, states[at], values[at + 1 :]
    for at in range(len(values) - 1):
        yield FaultKind.SWAPPED, at, states[at], [values[at + 1], values[at], *values[at + 2 :]]
    for at in range(len(values)):
        yield FaultKind.DROPPED, at, states[at + 1], values[at:]


def locate(
    links: Sequence[Link], start: bytes, target: bytes, new: Callable[[bytes], object], starts: Sequence[bytes] = ()
) -> Fault | None:
    """Return what is wrong with a chain that should lead from `start` to `target`; None if it does lead there.

    Parameters
    ----------
    links : sequence of Link
        The measurements of one PCR in one bank, in order.
    start, target : bytes
        The value that the PCR started with, and the one it has.
    new : callable
        The bank's hash, as hashlib makes it.
    starts : sequence of bytes
        Other values that the PCR may have started with.
    """
    chain = _Chain(links, start, new)
    if chain.states[-1] == target:
        return None
    if not links:
        return Fault(FaultKind.START if target in starts else FaultKind.UNLOGGED)
    for link, state in zip(links, chain.states, strict=False):
        if state == target:
            return Fault(FaultKind.EXTRA, link.measurement)
    if any(chain.run(other, chain.values) == target for other in starts):
        return Fault(FaultKind.START)
    for kind, at, state, values in _changes(chain):
        found = chain.run(state, values)
        if found == target:
            return Fault(kind, links[at].measurement)
        if found is None:
            break
    suspect = next((link.measurement for link in links if link.others and link.is_suspect), None)
    return Fault(FaultKind.UNKNOWN) if suspect is None else Fault(FaultKind.SUSPECT, suspect)
