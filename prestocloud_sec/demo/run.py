# SPDX-License-Identifier: Apache-2.0
"""The guided end-to-end run: an edge device, a relay and a gateway as processes, and a wire that listens in.

Then come packet filters (`prestocloud_sec.demo.filters`) and the device's TPM (`prestocloud_sec.demo.trust`).

Four operating-system processes on loopback. The relay authorises the other two by password, login and address; the edge
device opens an end-to-end session with the gateway through it; then both play the conversation of the shipped capture.
What is measured is measured by the processes themselves on the system's monotonic clock, which they share.
"""

from __future__ import annotations

import json
import os
import secrets
import selectors
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from prestocloud_sec.cjdns.switch import RouteLabel
from prestocloud_sec.demo.capture import conversation
from prestocloud_sec.demo.filters import Filters, run_filters
from prestocloud_sec.errors import PrestoCloudError

if TYPE_CHECKING:
    from prestocloud_sec.demo.trust import Trust

__all__ = ["DemoError", "Event", "Hop", "Journey", "Summary", "run"]

_STATIONS = ("edge", "relay", "gateway")
_MARKERS = (b"edge-7", b"celsius", b"quick brown fox", b"HTTP/1.1", b"plaintext-marker")
_DEADLINE = 60.0


class DemoError(PrestoCloudError):
    """The demo could not be run to its end."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something a process told: `kind` names it, `data` holds its fields."""

    process: str
    kind: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Hop:
    """What one station did with one packet; `steps` are (layer, size in bytes, detail)."""

    station: str
    steps: tuple[tuple[str, int, str], ...]


@dataclass(frozen=True, slots=True)
class Journey:
    """One packet's way through all stations."""

    index: int
    hops: tuple[Hop, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """What the run showed. Times are in seconds, sizes in bytes."""

    packets: int
    packets_delivered: int
    payload_bytes: int
    wire_datagrams: int
    wire_bytes: int
    link_handshake_seconds: dict[str, float]
    session_handshake_seconds: float
    transit_seconds_median: float
    transit_seconds_p99: float
    relay_seconds_per_datagram: float
    addresses: dict[str, str]
    label_edge_to_gateway: str
    labels_on_the_way: tuple[tuple[str, str], ...]
    eavesdropper: dict[str, Any]
    filters: Filters
    journeys: tuple[Journey, ...] = ()
    trust: Trust | None = None

    @property
    def complete(self) -> bool:
        """Whether every packet arrived, no plain text was seen, all engines filtered alike, the TPM did its part."""
        arrived = self.packets_delivered == self.packets and self.eavesdropper["found"] == 0
        return arrived and self.filters.equal and (self.trust is None or self.trust.is_complete)

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as plain values, for JSON."""
        return {**asdict(self), "complete": self.complete}


@dataclass(slots=True)
class _Child:
    """A started process and what it has told so far."""

    name: str
    process: subprocess.Popen[bytes]
    rest: bytes = b""
    events: list[Event] = field(default_factory=list)

    def order(self, order: str, **data: Any) -> None:
        line = json.dumps({"order": order, **data}).encode() + b"\n"
        try:
            self.process.stdin.write(line)  # type: ignore[union-attr]
            self.process.stdin.flush()  # type: ignore[union-attr]
        except OSError as error:
            raise DemoError("ended before its time", where=f"{self.name} process") from error

    def last(self, kind: str) -> Event | None:
        return next((event for event in reversed(self.events) if event.kind == kind), None)


class _Run:
    def __init__(self, trace: bool, report: Callable[[Event], None]) -> None:
        self.trace = trace
        self.report = report
        self.children: dict[str, _Child] = {}
        self.selector = selectors.DefaultSelector()
        self.deadline = time.monotonic() + _DEADLINE

    # -- processes -------------------------------------------------------------------------------------------------

    def start(self, name: str, *words: str) -> _Child:
        process = subprocess.Popen(
            [sys.executable, "-m", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,  # Ctrl-C is for us; the children end when their orders do
        )
        child = _Child(name, process)
        self.children[name] = child
        if process.stdout is not None:
            os.set_blocking(process.stdout.fileno(), False)
            self.selector.register(process.stdout, selectors.EVENT_READ, child)
        return child

    def stop(self) -> None:
        for child in self.children.values():
            if child.process.stdin is not None:
                child.process.stdin.close()
        for child in self.children.values():
            try:
                child.process.wait(timeout=3)
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
            if child.process.stdout is not None:
                child.process.stdout.close()
        self.selector.close()

    def listen(self, seconds: float) -> None:
        for key, _ in self.selector.select(seconds):
            child: _Child = key.data
            chunk = os.read(key.fd, 1 << 16)
            if not chunk:
                raise DemoError("ended before its time", where=f"{child.name} process")
            *whole, child.rest = (child.rest + chunk).split(b"\n")
            for line in whole:
                try:
                    data = json.loads(line)
                    event = Event(child.name, data.pop("event"), data)
                except (ValueError, LookupError, AttributeError, TypeError) as error:
                    raise DemoError("told something that is no event", where=f"{child.name} process") from error
                child.events.append(event)
                self.report(event)

    def wait_for(self, what: str, ready: Callable[[], bool]) -> None:
        while not ready():
            left = self.deadline - time.monotonic()
            if left <= 0:
                raise DemoError(
                    f"no {what} within {_DEADLINE:.0f} s", where="demo", hint="run with --trace to see more"
                )
            self.listen(min(left, 0.2))

    def await_event(self, name: str, kind: str) -> Mapping[str, Any]:
        child = self.children[name]
        self.wait_for(f"event {kind!r} from the {name} process", lambda: child.last(kind) is not None)
        event = child.last(kind)
        return {} if event is None else event.data

    # -- the run ---------------------------------------------------------------------------------------------------

    def run(self) -> Summary:
        for name in _STATIONS:
            self.start(name, "prestocloud_sec.demo.process", name)
        wire = self.start("wire", "prestocloud_sec.demo.wire")
        ready = {name: self.await_event(name, "ready") for name in _STATIONS}
        ends = [("edge", "relay"), ("gateway", "relay")]
        wire.order(
            "links",
            links=[{"ends": [[name, ready[name]["port"]] for name in pair]} for pair in ends],
            markers=[marker.hex() for marker in _MARKERS],
        )
        links = self.await_event("wire", "ready")["links"]
        self._lay_links(ready, links)
        label = self._label_to_gateway()
        self.children["edge"].order("reach", key=ready["gateway"]["key"], label=str(label))
        self.await_event("edge", "session")
        self._play(ready)
        return self._summary(ready, label)

    def _lay_links(self, ready: Mapping[str, Mapping[str, Any]], links: list[list[int]]) -> None:
        accepted = []
        for name, (outer_port, relay_port) in zip(("edge", "gateway"), links, strict=True):
            credentials = {"password": secrets.token_urlsafe(24), "login": name}
            accepted.append({"port": relay_port, "accept": ready[name]["address"], **credentials})
            link = {"port": outer_port, "peer": ready["relay"]["key"], **credentials}
            self.children[name].order("links", links=[link], trace=self.trace)
        self.children["relay"].order("links", links=accepted, trace=self.trace)
        for name in ("edge", "gateway"):
            self.await_event(name, "linked")

    def _label_to_gateway(self) -> RouteLabel:
        to_relay = RouteLabel.parse(self.await_event("edge", "labels")["labels"][0])
        to_gateway = RouteLabel.parse(self.await_event("relay", "labels")["labels"][1])
        return to_gateway.splice(to_relay)

    def _play(self, ready: Mapping[str, Mapping[str, Any]]) -> None:
        ends = {"edge": ready["edge"]["address"], "gateway": ready["gateway"]["address"]}
        for name in ("gateway", "edge"):  # the edge device speaks first: the other knows the script by then
            self.children[name].order("play", **ends)
        for name in ends:
            self.await_event(name, "played")
        for child in self.children.values():
            child.order("report")
        for name in self.children:
            self.await_event(name, "report")

    # -- what it showed --------------------------------------------------------------------------------------------

    def _summary(self, ready: Mapping[str, Mapping[str, Any]], label: RouteLabel) -> Summary:
        reports = {name: self.await_event(name, "report") for name in self.children}
        sent = {**reports["edge"]["sent"], **reports["gateway"]["sent"]}
        received = {**reports["edge"]["received"], **reports["gateway"]["received"]}
        transit = sorted((received[i] - sent[i]) / 1e9 for i in received if i in sent)
        if not transit:
            raise DemoError("no packet arrived", where="demo")
        packets = conversation()
        work = reports["relay"]["work"]
        return Summary(
            packets=len(packets),
            packets_delivered=len(received),
            payload_bytes=sum(len(packet.data) for packet in packets),
            wire_datagrams=reports["wire"]["datagrams"],
            wire_bytes=reports["wire"]["bytes"],
            link_handshake_seconds={name: self.await_event(name, "linked")["seconds"] for name in ("edge", "gateway")},
            session_handshake_seconds=self.await_event("edge", "session")["seconds"],
            transit_seconds_median=statistics.median(transit),
            transit_seconds_p99=transit[min(len(transit) - 1, int(len(transit) * 0.99))],
            relay_seconds_per_datagram=statistics.median(work) / 1e9,
            addresses={name: ready[name]["address"] for name in _STATIONS},
            label_edge_to_gateway=str(label),
            labels_on_the_way=_labels_on_the_way(label),
            eavesdropper=dict(reports["wire"]),
            filters=run_filters(lambda row: self.report(Event("filters", "filtered", asdict(row)))),
            journeys=self._journeys() if self.trace else (),
        )

    def _journeys(self) -> tuple[Journey, ...]:
        """Put each packet's steps together: what left one station is what arrived at the next."""
        by_arrival: dict[str, Event] = {}
        starts: dict[int, Event] = {}
        for child in self.children.values():
            for event in child.events:
                if event.kind != "steps":
                    continue
                if event.data["arrived"] is not None:
                    by_arrival[event.data["arrived"]] = event
                elif event.data["index"] is not None:
                    starts.setdefault(event.data["index"], event)
        journeys = []
        for index, first in sorted(starts.items()):
            hops, event = [], first
            while True:
                hops.append(Hop(event.process, tuple((a, b, c) for a, b, c in event.data["steps"])))
                following = by_arrival.get(event.data["left"] or "")
                if following is None or len(hops) > len(_STATIONS):
                    break
                event = following
            journeys.append(Journey(index, tuple(hops)))
        return tuple(journeys)


def _labels_on_the_way(label: RouteLabel) -> tuple[tuple[str, str], ...]:
    """Walk the label from the edge device to the gateway; each entry is (place, label as it is there)."""
    from prestocloud_sec.cjdns.headers import SwitchHeader
    from prestocloud_sec.cjdns.switch import Forward, Switch

    places = [("edge, before its switch", 1), ("link edge - relay", 0), ("link relay - gateway", 0)]
    frame = SwitchHeader(label=int(label), version=1).encode()
    walked = []
    for place, arrives_on in places:
        walked.append((place, str(RouteLabel(int.from_bytes(frame[:8], "big")))))
        switch = Switch()
        switch.add_interface()
        switch.add_interface()
        outcome = switch.forward(arrives_on, frame)
        if not isinstance(outcome, Forward):
            break
        frame = outcome.packet
    arrived = RouteLabel(int.from_bytes(frame[:8], "big"))
    walked.append(("gateway, after its switch", str(arrived)))
    walked.append(("bit-reversed: the way back", str(arrived.reversed())))
    return tuple(walked)


def run(*, trace: bool = False, tpm: str | None = None, report: Callable[[Event], None] | None = None) -> Summary:
    """Run the demo and return what it showed.

    Parameters
    ----------
    trace : bool
        Keep each packet's journey, layer by layer (``Summary.journeys``).
    tpm : str, optional
        The edge device's TPM, as `prestocloud_sec.tpm.connect` takes it; one in this process if not given. Where there
        is no libtpms for that, ``Summary.trust`` says what to install, and the rest of the demo runs.
    report : callable, optional
        Called with each `Event` as the processes tell it, in the calling thread.

    Raises
    ------
    DemoError
        If a process ends before its time, or the run is not over within a minute.
    PrestoCloudError
        If a TPM is named that cannot be had.
    """
    from prestocloud_sec.demo.trust import opened, run_trust

    tell = report or (lambda _event: None)
    with opened(tpm) as client:  # first of all: one that is named and is not there need not be waited for
        made = _Run(trace, tell)
        try:
            summary = made.run()
        finally:
            made.stop()
        trust = run_trust(client, lambda state: tell(Event("device", "state", asdict(state))))
    return replace(summary, trust=trust)
