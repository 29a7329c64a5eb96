# SPDX-License-Identifier: Apache-2.0
"""Our side of the wire: one link to a cjdroute, made of the library's objects and one UDP socket.

A `Neighbour` does what a minimal node does: outer session, switch, answers to control frames, one inner session for
each far node, a router. It keeps everything that came, so that tests can look at it. There is no thread: time passes
only while `run` waits for something.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from prestocloud_sec.cjdns.constants import CONTROL_HANDLE
from prestocloud_sec.cjdns.control import ControlFrame, KeyPing, Ping, RPathQuery
from prestocloud_sec.cjdns.cryptoauth import Session, SessionState, Users
from prestocloud_sec.cjdns.errors import CjdnsError
from prestocloud_sec.cjdns.headers import ContentType, DataHeader, SwitchHeader
from prestocloud_sec.cjdns.ipv6 import rebuild_header
from prestocloud_sec.cjdns.keys import Address, PrivateKey, PublicKey
from prestocloud_sec.cjdns.routing.messages import PING, Query, Reply, decode_message
from prestocloud_sec.cjdns.routing.router import Action, Router, SearchDone
from prestocloud_sec.cjdns.switch import ROUTER, V3X5X8, Drop, ErrorReply, RouteLabel, Switch
from tests.interop.cjdroute import LOOPBACK

VERSION = 21
HANDSHAKE = 120
SCHEME = V3X5X8.serialize()

F = TypeVar("F", bound=ControlFrame)


@dataclass
class Far:
    """An inner session, with the handles of both ends and the label of the way there."""

    session: Session
    address: Address
    label: RouteLabel
    our_handle: int
    their_handle: int | None = None


@dataclass
class Heard:
    """Everything that came."""

    datagrams: list[bytes] = field(default_factory=list)
    frames: list[bytes] = field(default_factory=list)
    control: list[tuple[RouteLabel, ControlFrame]] = field(default_factory=list)
    messages: list[tuple[Address, Query | Reply]] = field(default_factory=list)
    packets: list[bytes] = field(default_factory=list)
    tunnel: list[bytes] = field(default_factory=list)
    refused: list[CjdnsError] = field(default_factory=list)
    inner_handshakes: list[bytes] = field(default_factory=list)
    searches: list[SearchDone] = field(default_factory=list)

    def of(self, kind: type[F]) -> list[F]:
        """Return the control frames of one kind."""
        return [frame for _, frame in self.control if isinstance(frame, kind)]

    def queries(self) -> list[Query]:
        """Return the queries."""
        return [message for _, message in self.messages if isinstance(message, Query)]

    def reply(self, txid: bytes) -> Reply | None:
        """Return the reply to a query."""
        return next((m for _, m in self.messages if isinstance(m, Reply) and m.txid == txid), None)


class Neighbour:
    """A node made of this library, on a link to a cjdroute.

    Parameters
    ----------
    key : PrivateKey
        Our identity.
    remote : tuple of (str, int)
        Where the cjdroute listens.
    remote_key : PublicKey
        Its key; not used for the session where `waits`, so that the session learns it.
    password, login
        What we tell it.
    users : Users, optional
        Whom we let in.
    waits : bool
        Whether the session lets only users in, and does not know who will come.

    Attributes
    ----------
    tap : callable
        Shown what the outer session opens; what it says yes to goes no further.
    """

    def __init__(
        self,
        key: PrivateKey,
        remote: tuple[str, int] | None,
        remote_key: PublicKey,
        *,
        password: bytes | None = None,
        login: bytes | None = None,
        users: Users | None = None,
        waits: bool = False,
    ) -> None:
        self.key = key
        self.remote = remote
        self.remote_key = remote_key
        self.waits = waits
        self._auth: dict[str, Any] = {"password": password, "login": login, "users": users, "require_auth": waits}
        self._ahead = 0.0
        self.tap: Callable[[bytes], bool] = lambda _: False
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((LOOPBACK, 0))
        self.socket.setblocking(False)
        self.sent: list[bytes] = []
        self.start_over()

    def start_over(self) -> None:
        """Forget everything but the keys and the socket, as a process that was restarted does."""
        known = None if self.waits else self.remote_key
        self.outer = Session(self.key, peer_key=known, clock=self.clock, **self._auth)
        self.switch = Switch()
        self.slot, self.label = self.switch.add_interface()
        self.far: dict[Address, Far] = {}
        self.by_handle: dict[int, Far] = {}
        self.router = Router(self.key.public, version=VERSION, maintain=False)
        self.heard = Heard()
        self._next_handle = 4 + int.from_bytes(os.urandom(3), "big") % 99_000

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Neighbour:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def endpoint(self) -> str:
        """Where our socket is bound."""
        return f"{LOOPBACK}:{self.socket.getsockname()[1]}"

    def another_port(self) -> None:
        """Move to another port."""
        self.socket.close()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((LOOPBACK, 0))
        self.socket.setblocking(False)

    # -- time ----------------------------------------------------------------------------------------------------------

    def clock(self) -> float:
        """Return the time as our objects see it."""
        return time.monotonic() + self._ahead

    def sleep(self, seconds: float) -> None:
        """Let time pass for our objects alone."""
        self._ahead += seconds

    def run(
        self,
        until: Callable[[], object] = lambda: False,
        *,
        seconds: float,
        every: float = 0.5,
        nudge: Callable[[], object] | None = None,
    ) -> bool:
        """Receive until something is so, or for some seconds; return whether it is. `nudge` repeats what was lost."""
        return run([self], until, seconds=seconds, every=every, nudge=nudge)

    def tick(self) -> None:
        """Receive what is there, and let the router see the time."""
        while select.select([self.socket], [], [], 0)[0]:
            datagram, source = self.socket.recvfrom(65536)
            if self.remote is None:
                self.remote = source
            if source == self.remote:
                self.receive(datagram)
        self._route(self.router.tick(self.clock()))

    def connect(self, *, seconds: float = 10.0) -> bool:
        """Knock until the outer session is established."""
        self.knock()
        return self.run(lambda: self.outer.established, seconds=seconds, nudge=self.knock)

    # -- what we send --------------------------------------------------------------------------------------------------

    def knock(self) -> Ping:
        """Send a switch ping to whoever is on the link."""
        ping = Ping(VERSION, os.urandom(12))
        self.control(ping)
        return ping

    def control(self, frame: ControlFrame, label: int | None = None) -> None:
        """Send a control frame along a label; without one, to the neighbour."""
        content = CONTROL_HANDLE.to_bytes(4, "big") + frame.encode()
        self._from_router(self.label if label is None else label, content)

    def reach(self, key: PublicKey, label: int | None = None) -> Far:
        """Open an inner session, by default with the neighbour."""
        label = self.label if label is None else RouteLabel(label)
        far = Far(Session(self.key, peer_key=key, clock=self.clock), key.address, label, self._next_handle)
        self._next_handle += 1
        self.far[far.address] = self.by_handle[far.our_handle] = far
        return far

    def ask(self, address: Address, kind: bytes = PING, target: bytes | None = None) -> bytes:
        """Send a DHT query; return its transaction id."""
        query = Query(kind=kind, target=target, txid=os.urandom(12), version=VERSION, scheme=SCHEME)
        self.send(address, ContentType.CJDHT, query.encode())
        return query.txid

    def send(self, address: Address, content_type: int, payload: bytes) -> None:
        """Send a payload through the inner session with `address`."""
        far = self.far[address]
        plaintext = DataHeader(content_type).encode() + payload
        far.session.reset_if_timeout()
        if far.session.overhead >= HANDSHAKE:
            message = far.session.encrypt(far.our_handle.to_bytes(4, "big") + plaintext)
        else:
            assert far.their_handle is not None
            message = far.their_handle.to_bytes(4, "big") + far.session.encrypt(plaintext)
        self._from_router(far.label, message)

    def search(self, target: Address) -> None:
        """Look for a node; the end of it is in ``heard.searches``."""
        self._route(self.router.search(target, now=self.clock())[1])

    def _route(self, actions: Sequence[Action]) -> None:
        """Do what the router says."""
        for action in actions:
            if isinstance(action, SearchDone):
                self.heard.searches.append(action)
                continue
            far = self.far.get(action.address)
            if far is None:
                assert action.key is not None
                far = self.reach(action.key, action.label)
            far.label = action.label
            self.send(far.address, ContentType.CJDHT, action.message.encode())

    def transmit(self, datagram: bytes) -> None:
        """Put bytes on the wire as they are."""
        assert self.remote is not None
        self.sent.append(datagram)
        self.socket.sendto(datagram, self.remote)

    def _from_router(self, label: int, content: bytes) -> None:
        self._switch(ROUTER, SwitchHeader(int(label), version=1).encode() + content)

    def _switch(self, interface: int, frame: bytes) -> None:
        outcome = self.switch.forward(interface, frame)
        if isinstance(outcome, Drop):
            return
        assert isinstance(outcome, ErrorReply) or outcome.interface in (ROUTER, self.slot)
        if outcome.interface == ROUTER:
            self._to_router(outcome.packet)
        else:
            self.transmit(self.outer.encrypt(outcome.packet))

    # -- what comes ----------------------------------------------------------------------------------------------------

    def receive(self, datagram: bytes) -> None:
        """Take one datagram through all layers."""
        self.heard.datagrams.append(datagram)
        try:
            self.outer.reset_if_timeout()
            frame = self.outer.decrypt(datagram)
        except CjdnsError as refused:
            self.heard.refused.append(refused)
            return
        self.heard.frames.append(frame)
        if self.tap(frame):
            return
        if self.outer.established or frame[7:8] == b"\1":
            self._switch(self.slot, frame)

    def _to_router(self, frame: bytes) -> None:
        header, content = SwitchHeader.split(frame)
        back = RouteLabel(header.label).reversed()
        message = bytes(content)
        first = int.from_bytes(message[:4], "big")
        try:
            if first == CONTROL_HANDLE:
                self._control(ControlFrame.decode(message[4:]), back)
            elif first < SessionState.RECEIVED_KEY:
                self._inner_handshake(message, back)
            elif first in self.by_handle:  # else it is for a session of before we started over
                far = self.by_handle[first]
                self._content(far, far.session.decrypt(message[4:]))
        except CjdnsError as refused:
            self.heard.refused.append(refused)

    def _control(self, frame: ControlFrame, back: RouteLabel) -> None:
        self.heard.control.append((back, frame))
        if isinstance(frame, Ping):
            self.control(frame.reply(version=VERSION), back)
        elif isinstance(frame, KeyPing):
            self.control(frame.reply(self.key.public.raw, version=VERSION), back)
        elif isinstance(frame, RPathQuery):
            self.control(frame.reply(int(back), version=VERSION), back)

    def _inner_handshake(self, message: bytes, back: RouteLabel) -> None:
        self.heard.inner_handshakes.append(message)
        peer = PublicKey(message[40:72])
        known = self.far.get(peer.address)
        far = self.reach(peer, back) if known is None else known
        far.session.reset_if_timeout()
        plaintext = far.session.decrypt(message)
        far.their_handle = int.from_bytes(plaintext[:4], "big")
        far.label = back
        self._content(far, plaintext[4:])

    def _content(self, far: Far, plaintext: bytes) -> None:
        header, payload = DataHeader.split(plaintext)
        if header.content_type <= 255:
            head = rebuild_header(far.address, self.key.address, header.content_type, len(payload))
            self.heard.packets.append(head + bytes(payload))
        elif header.content_type == ContentType.IPTUN:
            self.heard.tunnel.append(bytes(payload))
        elif header.content_type == ContentType.CJDHT:
            message = decode_message(payload)
            self.heard.messages.append((far.address, message))
            key = far.session.peer_key
            assert key is not None
            self._route(self.router.received(message, address=far.address, key=key, label=far.label, now=self.clock()))


def run(
    neighbours: Sequence[Neighbour],
    until: Callable[[], object] = lambda: False,
    *,
    seconds: float,
    every: float = 0.5,
    nudge: Callable[[], object] | None = None,
) -> bool:
    """Let some neighbours receive until something is so, or for some seconds; return whether it is so."""
    deadline = time.monotonic() + seconds
    next_nudge = time.monotonic() + every
    while not until():
        now = time.monotonic()
        if now >= deadline:
            return False
        if nudge is not None and now >= next_nudge:
            nudge()
            next_nudge = now + every
        select.select([each.socket for each in neighbours], [], [], min(0.05, deadline - now))
        for each in neighbours:
            each.tick()
    return True
