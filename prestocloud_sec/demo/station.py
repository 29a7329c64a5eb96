# SPDX-License-Identifier: Apache-2.0
"""One station of the demo: outer sessions, switch and inner sessions put together, without a socket.

A station is what the three processes of the demo (edge device, relay, gateway) each hold. Datagrams, IPv6 packets and
the time go in; actions come out. The path of a packet is the one of cjdns v21.1 (whitepaper, "Packet Lifecycle", as
running nodes do it today)::

    IPv6 packet -> data header -> inner CryptoAuth (end to end) -> handle -> switch header
                -> switch: one director off, return director on -> outer CryptoAuth (this link) -> datagram

and the reverse on the way in. A relay has no inner session at all: between opening the outer box of one link and
sealing that of the next it sees a switch header and opaque bytes.

The demo's topology is configured: a station is told the label of the station it talks to, it does not search for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field

from prestocloud_sec.cjdns._layout import octets
from prestocloud_sec.cjdns.constants import CONTROL_HANDLE, PROTOCOL_VERSION
from prestocloud_sec.cjdns.control import ControlFrame, Ping, Pong
from prestocloud_sec.cjdns.cryptoauth import HANDSHAKE_SIZE, Session, SessionState, Users
from prestocloud_sec.cjdns.cryptoauth.handshake import FIRST_DATA_NONCE
from prestocloud_sec.cjdns.errors import CjdnsError, CjdnsMisuseError, HeaderError
from prestocloud_sec.cjdns.headers import IP6_CONTENT_MAX, ContentType, DataHeader, SwitchHeader
from prestocloud_sec.cjdns.ipv6 import rebuild_header
from prestocloud_sec.cjdns.keys import Address, PrivateKey, PublicKey
from prestocloud_sec.cjdns.layers import packet_kind
from prestocloud_sec.cjdns.routing.messages import PING, Query, Reply, decode_message
from prestocloud_sec.cjdns.switch import ROUTER, V3X5X8, Drop, ErrorReply, Forward, RouteLabel, Switch
from prestocloud_sec.wire import shown

__all__ = ["Action", "Deliver", "Send", "Station", "Step"]

_MAX_INNER_SESSIONS = 64
_FIRST_HANDLE, _LAST_START = 4, 100_000


@dataclass(frozen=True, slots=True)
class Step:
    """One layer put on or taken off, for ``--trace``."""

    station: str
    layer: str
    size: int
    detail: str


@dataclass(frozen=True, slots=True)
class Send:
    """Put `datagram` on the link of `interface`."""

    interface: int
    datagram: bytes
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Deliver:
    """Hand an IPv6 packet to the user of this station."""

    packet: bytes
    steps: tuple[Step, ...] = ()


Action = Send | Deliver


@dataclass(slots=True)
class _Inner:
    """An end-to-end session: CryptoAuth, the two handles, and the label of the way there."""

    session: Session
    address: Address
    label: RouteLabel
    our_handle: int
    their_handle: int | None = None


@dataclass(slots=True)
class Counters:
    """What a station did, in packets and bytes."""

    datagrams_in: int = 0
    datagrams_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    switched: int = 0
    delivered: int = 0
    refused: int = 0
    switch_errors: int = 0


@dataclass(slots=True)
class Station:
    """Keys, switch and sessions of one station.

    Parameters
    ----------
    name : str
        How the trace calls it.
    key : PrivateKey
        Its identity; its address follows from it.
    random : callable
        ``random(n)`` gives n random bytes.
    trace : bool
        Whether actions carry the steps that made them.
    """

    name: str
    key: PrivateKey
    random: Callable[[int], bytes] = os.urandom
    trace: bool = False
    counters: Counters = field(default_factory=Counters)
    _switch: Switch = field(default_factory=Switch)
    _outer: dict[int, Session] = field(default_factory=dict)
    _link_label: dict[int, RouteLabel] = field(default_factory=dict)
    _inner: dict[Address, _Inner] = field(default_factory=dict)
    _by_handle: dict[int, _Inner] = field(default_factory=dict)
    _next_handle: int = 0
    _steps: list[Step] = field(default_factory=list)

    def __post_init__(self) -> None:
        start = int.from_bytes(self.random(4), "big") % (_LAST_START - _FIRST_HANDLE)
        self._next_handle = _FIRST_HANDLE + start

    # -- set-up ----------------------------------------------------------------------------------------------------

    def connect(
        self,
        *,
        peer_key: PublicKey | None = None,
        password: bytes | None = None,
        login: bytes | None = None,
        users: Users | None = None,
    ) -> int:
        """Add a link; return its switch interface. With `users`, wait for a peer that one of them authorises."""
        interface, label = self._switch.add_interface()
        self._outer[interface] = Session(
            self.key,
            peer_key=peer_key,
            users=users,
            require_auth=users is not None,
            password=password,
            login=login,
            random=self.random,
        )
        self._link_label[interface] = label
        return interface

    def link_label(self, interface: int) -> RouteLabel:
        """Return the label of the neighbour on `interface`."""
        return self._link_label[interface]

    def linked(self, interface: int) -> bool:
        """Whether the outer session of a link is established."""
        return self._outer[interface].established

    def half_linked(self, interface: int) -> bool:
        """Whether the neighbour's key packet is here, so that our next packet completes the outer handshake."""
        return self._outer[interface].state is SessionState.RECEIVED_KEY

    def reach(self, peer: PublicKey, label: RouteLabel) -> None:
        """Tell the station by which label another one is reached."""
        self._open_inner(peer, label)

    def connected(self, address: Address) -> bool:
        """Whether the inner session with `address` is established."""
        inner = self._inner.get(address)
        return inner is not None and inner.session.established

    def half_connected(self, address: Address) -> bool:
        """Whether our next packet completes the inner handshake with `address`."""
        inner = self._inner.get(address)
        return inner is not None and inner.session.state is SessionState.RECEIVED_KEY

    # -- what goes in ----------------------------------------------------------------------------------------------

    def knock(self, interface: int, now: float) -> list[Action]:
        """Send a switch ping to the neighbour: its reply, or our next knock, carries the outer handshake on."""
        ping = Ping(version=PROTOCOL_VERSION, opaque=self.random(12))
        header = SwitchHeader(label=int(self._link_label[interface]), version=1)
        self._steps = []
        self._step("control", len(ping.encode()), "switch ping to the neighbour")
        return self._from_router(header, CONTROL_HANDLE.to_bytes(4, "big") + ping.encode(), now)

    def greet(self, address: Address, now: float) -> list[Action]:
        """Send a DHT ping through the inner session: it, and the reply, carry the end-to-end handshake on."""
        self._steps = []
        ping = Query(txid=self.random(12), version=PROTOCOL_VERSION, scheme=V3X5X8.serialize(), kind=PING)
        return self._send_inner(self._inner[address], ContentType.CJDHT, ping.encode(), now)

    def packet_from_user(self, packet: bytes, now: float) -> list[Action]:
        """Encrypt an IPv6 packet for its destination. One without a session is dropped and counted."""
        self._steps = []
        packet = octets(packet, "packet")
        if len(packet) < 40 or packet[0] >> 4 != 6 or packet[8:24] != self.key.address.packed:
            self.counters.refused += 1
            return []
        try:
            inner = self._inner.get(Address(packet[24:40]))
        except CjdnsError:
            inner = None
        if inner is None:
            self.counters.refused += 1
            return []
        self._step("IPv6", len(packet), f"{self.key.address} -> {inner.address}, next header {packet[6]}")
        return self._send_inner(inner, packet[6], packet[40:], now)

    def datagram_received(self, interface: int, datagram: bytes, now: float) -> list[Action]:
        """Open a datagram of a link and do what its switch header says. What does not open is counted, not answered."""
        self._steps = []
        session = self._outer.get(interface) if isinstance(interface, int) else None
        if session is None:
            raise CjdnsMisuseError(f"no link {shown(interface)}", where="Station", expected="what connect() returned")
        datagram = octets(datagram, "datagram")
        self.counters.datagrams_in += 1
        self.counters.bytes_in += len(datagram)
        try:
            frame = session.decrypt(datagram, now=now)
        except CjdnsError:
            self.counters.refused += 1
            return []
        self._step("outer CryptoAuth opened", len(datagram), f"interface {interface}, {_kind(datagram)}")
        if len(frame) < SwitchHeader.SIZE:
            return []
        if not session.established and frame[7] != 1:
            return []  # until a neighbour is established it may talk to this station only, not through it
        return self._switch_frame(interface, frame, now)

    # -- switch ----------------------------------------------------------------------------------------------------

    def _from_router(self, header: SwitchHeader, message: bytes, now: float) -> list[Action]:
        self._step("switch header", SwitchHeader.SIZE + len(message), f"label {RouteLabel(header.label)}")
        return self._switch_frame(ROUTER, header.encode() + message, now)

    def _switch_frame(self, interface: int, frame: bytes, now: float) -> list[Action]:
        before = RouteLabel(int.from_bytes(frame[:8], "big"))
        outcome = self._switch.forward(interface, frame)
        if isinstance(outcome, Drop):
            self.counters.refused += 1
            return []
        if isinstance(outcome, ErrorReply):
            self.counters.switch_errors += 1
        after = RouteLabel(int.from_bytes(outcome.packet[:8], "big"))
        self._step(
            "switch", len(outcome.packet), f"interface {interface} -> {outcome.interface}, label {before} -> {after}"
        )
        if outcome.interface == ROUTER:
            return self._to_router(outcome.packet, now)
        if isinstance(outcome, Forward) and interface != ROUTER:
            self.counters.switched += 1
        session = self._outer[outcome.interface]
        if session.peer_key is None:  # nobody has said hello on that link: any neighbour can send a frame there
            self.counters.refused += 1
            return []
        datagram = session.encrypt(outcome.packet, now=now)
        self.counters.datagrams_out += 1
        self.counters.bytes_out += len(datagram)
        self._step("outer CryptoAuth sealed", len(datagram), f"interface {outcome.interface}, {_kind(datagram)}")
        return [Send(outcome.interface, datagram, tuple(self._steps))]

    # -- router ----------------------------------------------------------------------------------------------------

    def _to_router(self, frame: bytes, now: float) -> list[Action]:
        header = SwitchHeader.decode(frame[: SwitchHeader.SIZE])
        message = frame[SwitchHeader.SIZE :]
        back = RouteLabel(header.label).reversed()
        if len(message) < 4:
            return []
        first = int.from_bytes(message[:4], "big")
        try:
            if first == CONTROL_HANDLE:
                return self._control(message[4:], back, now)
            if first < FIRST_DATA_NONCE:
                return self._inner_handshake(message, back, now)
            return self._inner_data(first, message[4:], now)
        except CjdnsError:
            self.counters.refused += 1
            return []

    def _control(self, content: bytes, back: RouteLabel, now: float) -> list[Action]:
        frame = ControlFrame.decode(content)
        if isinstance(frame, Ping):
            reply = Pong(version=PROTOCOL_VERSION, opaque=frame.opaque)
            header = SwitchHeader(label=int(back), version=1)
            return self._from_router(header, CONTROL_HANDLE.to_bytes(4, "big") + reply.encode(), now)
        return []

    def _inner_handshake(self, message: bytes, back: RouteLabel, now: float) -> list[Action]:
        if len(message) < HANDSHAKE_SIZE + 4:
            raise HeaderError(
                f"{len(message)} bytes", where="inner handshake", expected=f"at least {HANDSHAKE_SIZE + 4}"
            )
        peer = PublicKey(message[40:72])
        known = self._inner.get(peer.address)
        inner = known if known is not None else self._make_inner(peer, back)
        plaintext = inner.session.decrypt(message, now=now)
        if len(plaintext) < 4:
            raise HeaderError("no handle", where="inner handshake", expected="4 bytes of handle first")
        if known is None:
            self._keep_inner(inner)
        inner.their_handle = int.from_bytes(plaintext[:4], "big")
        inner.label = back
        self._step("inner CryptoAuth opened", len(message), f"{_kind(message)}, handle {inner.their_handle}")
        return self._content(inner, plaintext[4:], now)

    def _inner_data(self, handle: int, packet: bytes, now: float) -> list[Action]:
        inner = self._by_handle.get(handle)
        if inner is None:
            raise HeaderError(f"no session has handle {handle}", where="session handle")
        plaintext = inner.session.decrypt(packet, now=now)
        self._step("inner CryptoAuth opened", len(packet) + 4, f"handle {handle}, {_kind(packet)}")
        return self._content(inner, plaintext, now)

    def _content(self, inner: _Inner, plaintext: bytes, now: float) -> list[Action]:
        header = DataHeader.decode(plaintext[: DataHeader.SIZE])
        payload = plaintext[DataHeader.SIZE :]
        if header.content_type == ContentType.CJDHT:
            message = decode_message(payload)
            if not isinstance(message, Query):
                return []
            pong = Reply(txid=message.txid, version=PROTOCOL_VERSION, scheme=V3X5X8.serialize())
            return self._send_inner(inner, ContentType.CJDHT, pong.encode(), now)
        if header.content_type > IP6_CONTENT_MAX:
            return []
        packet = rebuild_header(inner.address, self.key.address, header.content_type, len(payload)) + payload
        self.counters.delivered += 1
        self._step("IPv6", len(packet), f"{inner.address} -> {self.key.address}, next header {header.content_type}")
        return [Deliver(packet, tuple(self._steps))]

    # -- inner sessions --------------------------------------------------------------------------------------------

    def _make_inner(self, peer: PublicKey, label: RouteLabel) -> _Inner:
        session = Session(self.key, peer_key=peer, random=self.random)
        return _Inner(session, peer.address, label, self._next_handle)

    def _keep_inner(self, inner: _Inner) -> None:
        if len(self._inner) >= _MAX_INNER_SESSIONS:
            raise HeaderError("no room for another inner session", where="inner handshake")
        self._next_handle += 1
        self._inner[inner.address] = inner
        self._by_handle[inner.our_handle] = inner

    def _open_inner(self, peer: PublicKey, label: RouteLabel) -> None:
        inner = self._make_inner(peer, label)
        self._keep_inner(inner)

    def _send_inner(self, inner: _Inner, content_type: int, payload: bytes, now: float) -> list[Action]:
        plaintext = DataHeader(content_type=content_type).encode() + payload
        self._step("data header", len(plaintext), f"content type {content_type}")
        if inner.session.overhead >= HANDSHAKE_SIZE:
            message = inner.session.encrypt(inner.our_handle.to_bytes(4, "big") + plaintext, now=now)
            self._step("inner CryptoAuth sealed", len(message), _kind(message))
        elif inner.their_handle is None:
            return []
        else:
            packet = inner.session.encrypt(plaintext, now=now)
            message = inner.their_handle.to_bytes(4, "big") + packet
            self._step("inner CryptoAuth sealed", len(message), f"handle {inner.their_handle}, {_kind(packet)}")
        return self._from_router(SwitchHeader(label=int(inner.label), version=1), message, now)

    def _step(self, layer: str, size: int, detail: str) -> None:
        if self.trace:
            self._steps.append(Step(self.name, layer, size, detail))


def _kind(packet: bytes) -> str:
    kind = packet_kind(packet)
    return f"data, nonce {int.from_bytes(packet[:4], 'big')}" if kind == "data" else kind
