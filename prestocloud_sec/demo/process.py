# SPDX-License-Identifier: Apache-2.0
"""The operating-system process around a station: one UDP socket on loopback, orders on standard input, events out.

``python -m prestocloud_sec.demo.process edge`` (or ``relay``, ``gateway``). The private key is made here and never
leaves. Orders: ``links`` (where the neighbours are and how they authenticate), ``reach`` (a station and its label),
``play`` (begin the conversation). Both ends know the capture: whoever's packet is next sends it, the other waits for
it, as the real programs in the capture did.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from prestocloud_sec.cjdns.cryptoauth import Users
from prestocloud_sec.cjdns.keys import Address, PrivateKey, PublicKey
from prestocloud_sec.cjdns.switch import RouteLabel
from prestocloud_sec.demo.capture import CAPTURE_EDGE, conversation, readdress
from prestocloud_sec.demo.lines import LoopbackPoll, bind_loopback, emit, main_loop, member
from prestocloud_sec.demo.station import Action, Deliver, Send, Station
from prestocloud_sec.wire import whole

__all__ = ["StationProcess", "main"]

_KNOCK_EVERY = 0.25
_STALL = 1.0
_TICK = 0.05


class StationProcess:
    """A station, its socket, and its part in the conversation."""

    def __init__(self, role: str) -> None:
        self.role = role
        self.station = Station(role, PrivateKey.generate())
        self.udp = bind_loopback()
        self.poll = LoopbackPoll(self.order)
        self.poll.listen(self.udp, self.datagram)
        self.ports: dict[int, int] = {}  # interface -> port of the wire
        self.interfaces: dict[int, int] = {}  # port of the wire -> interface
        self.waiting: dict[int, float] = {}  # interface -> when its first datagram went out
        self.initiates: set[int] = set()
        self.peer: Address | None = None
        self.peer_since = 0.0
        self.peer_told = False
        self.script: list[bytes] | None = None
        self.mine: list[bool] = []
        self.cursor = 0
        self.last_progress = 0.0
        self.next_knock = 0.0
        self.sent: dict[int, int] = {}
        self.received: dict[int, int] = {}
        self.told: dict[str, int] = {}
        self.work: list[int] = []  # nanoseconds spent on each datagram that came in
        emit(
            "ready",
            port=self.udp.getsockname()[1],
            key=self.station.key.public.text,
            address=str(self.station.key.address),
        )

    # -- orders ----------------------------------------------------------------------------------------------------

    def order(self, order: Mapping[str, Any]) -> None:
        """Do what the starting process asks.

        Raises
        ------
        PrestoCloudError
            If the order lacks a member, or one has the wrong type or form.
        """
        kind = member(order, "order", str)
        if kind == "links":
            self.station.trace = member(order, "trace", bool)
            labels = [self._link(link) for link in member(order, "links", list)]
            emit("labels", labels=[str(label) for label in labels])
        elif kind == "reach":
            key = PublicKey.parse(member(order, "key", str))
            self.station.reach(key, RouteLabel.parse(member(order, "label", str)))
            self.peer, self.peer_since = key.address, time.monotonic()
            self._act(self.station.greet(self.peer, self.peer_since))
        elif kind == "play":
            self._prepare(*(Address.parse(member(order, end, str)) for end in ("edge", "gateway")))
            self._speak()
        elif kind == "report":
            self._report()

    def _link(self, link: Mapping[str, Any]) -> RouteLabel:
        password, login = (member(link, name, str).encode("utf-8", "surrogatepass") for name in ("password", "login"))
        port = whole(member(link, "port", int), "order, port", 1, 0xFFFF)
        if "accept" in link:
            users = Users()
            users.add(password, login=login, restrict_to=Address.parse(member(link, "accept", str)))
            interface = self.station.connect(users=users)
        else:
            peer = PublicKey.parse(member(link, "peer", str))
            interface = self.station.connect(peer_key=peer, password=password, login=login)
            self.initiates.add(interface)
        self.ports[interface] = port
        self.interfaces[port] = interface
        self.waiting[interface] = time.monotonic()
        return self.station.link_label(interface)

    # -- datagrams -------------------------------------------------------------------------------------------------

    def datagram(self, datagram: bytes, source: tuple[str, int]) -> None:
        """Take a datagram from the wire."""
        interface = self.interfaces.get(source[1])
        if interface is None:
            return
        start = time.monotonic_ns()
        actions = self.station.datagram_received(interface, datagram, start / 1e9)
        self._act(actions, arrived=datagram)
        self.work.append(time.monotonic_ns() - start)
        self._complete_handshakes(interface, start / 1e9)
        self._tell_progress()

    def _complete_handshakes(self, interface: int, now: float) -> None:
        """Answer a key packet at once; whatever else is lost, the next tick repeats."""
        if interface in self.initiates and self.station.half_linked(interface):
            self._act(self.station.knock(interface, now))
        if self.peer is not None and not self.peer_told and self.station.half_connected(self.peer):
            self._act(self.station.greet(self.peer, now))

    def _act(self, actions: list[Action], arrived: bytes | None = None, index: int | None = None) -> None:
        for action in actions:
            if isinstance(action, Send):
                self.udp.sendto(action.datagram, ("127.0.0.1", self.ports[action.interface]))
            elif self._heard(action):
                index = self.cursor - 1
            if action.steps and (self.script is not None or self.role == "relay"):
                emit(
                    "steps",
                    index=index,
                    arrived=_mark(arrived),
                    left=_mark(action.datagram) if isinstance(action, Send) else None,
                    steps=[[s.layer, s.size, s.detail] for s in action.steps],
                )
        if self.script is not None and arrived is not None:
            self._speak()

    # -- the conversation ------------------------------------------------------------------------------------------

    def _prepare(self, edge: Address, gateway: Address) -> None:
        self.script, self.mine = [], []
        for packet in conversation():
            outward = packet.source == CAPTURE_EDGE
            ends = (edge, gateway) if outward else (gateway, edge)
            self.script.append(readdress(packet.data, ends[0].packed, ends[1].packed))
            self.mine.append(outward == (self.role == "edge"))
        self.last_progress = time.monotonic()

    def _heard(self, action: Deliver) -> bool:
        """Note a delivered packet; True if it is the one that the conversation waits for."""
        if self.script is None:
            return False
        expected = self.cursor < len(self.script) and not self.mine[self.cursor]
        if not expected or action.packet != self._arriving(self.script[self.cursor]):
            return False
        self.received[self.cursor] = time.monotonic_ns()
        self.cursor += 1
        self.last_progress = time.monotonic()
        return True

    @staticmethod
    def _arriving(packet: bytes) -> bytes:
        """Return the packet as cjdns delivers it: flow label and class 0, hop limit 42; the rest unchanged."""
        return b"\x60\0\0\0" + packet[4:7] + bytes([42]) + packet[8:]

    def _speak(self) -> None:
        """Send our packets until it is the other's turn."""
        while self.script is not None and self.cursor < len(self.script) and self.mine[self.cursor]:
            self._say(self.cursor)
            self.cursor += 1
            self.last_progress = time.monotonic()
        if self.script is not None and self.cursor == len(self.script) and self.last_progress:
            self.last_progress = 0.0
            emit("played", packets=len(self.script))

    def _say(self, index: int) -> None:
        if self.script is None:
            return
        now = time.monotonic_ns()
        self.sent[index] = now
        self._act(self.station.packet_from_user(self.script[index], now / 1e9), index=index)

    def _repeat_last_turn(self) -> None:
        """Say our last packets again: one of the two directions lost something."""
        index = min(self.cursor, len(self.mine))
        while index and not self.mine[index - 1]:
            index -= 1
        first = index
        while first and self.mine[first - 1]:
            first -= 1
        for turn in range(first, index):
            self._say(turn)

    # -- time ------------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Carry handshakes on until they are complete; get over a lost packet."""
        now = time.monotonic()
        if now >= self.next_knock:
            self.next_knock = now + _KNOCK_EVERY
            for interface in self.ports:
                if interface in self.initiates and not self.station.linked(interface):
                    self._act(self.station.knock(interface, now))
            if self.peer is not None and not self.station.connected(self.peer):
                self._act(self.station.greet(self.peer, now))
        if self.script is not None and self.last_progress and now - self.last_progress > _STALL:
            self.last_progress = now
            self._repeat_last_turn()
        self._tell_progress()
        self._tell_counters()

    def _tell_progress(self) -> None:
        now = time.monotonic()
        for interface, since in list(self.waiting.items()):
            if self.station.linked(interface):
                del self.waiting[interface]
                emit("linked", interface=interface, seconds=now - since)
        if self.peer is not None and not self.peer_told and self.station.connected(self.peer):
            self.peer_told = True
            emit("session", address=str(self.peer), seconds=now - self.peer_since)

    def _tell_counters(self) -> None:
        counters = asdict(self.station.counters)
        if counters != self.told:
            self.told = counters
            emit("counters", **counters)

    def _report(self) -> None:
        self._tell_counters()
        emit(
            "report",
            sent=self.sent,
            received=self.received,
            work=self.work,
            cursor=self.cursor,
        )

    def run(self) -> None:
        """Work until the orders end."""
        while self.poll.wait(_TICK):
            self.tick()


def _mark(datagram: bytes | None) -> str | None:
    """Name a datagram, so that its journey can be put together from what each process saw."""
    return None if datagram is None else hashlib.sha256(datagram).hexdigest()[:16]


def main() -> None:
    """Run the station named on the command line."""
    role = sys.argv[1] if len(sys.argv) == 2 else ""
    if role not in {"edge", "relay", "gateway"}:
        sys.exit("usage: python -m prestocloud_sec.demo.process edge|relay|gateway")
    main_loop(role, lambda: StationProcess(role).run())


if __name__ == "__main__":
    main()
