# SPDX-License-Identifier: Apache-2.0
"""The state machine of a CryptoAuth session: what each packet of a handshake does, and the data that ends one.

`TRANSITIONS` is the machine; `StateMachine` carries it out. Its rules, and where it departs from the C code, are at the
head of `prestocloud_sec.cjdns.cryptoauth.session`. Sources: cjdns v21.1 ``crypto/CryptoAuth.c``, functions
``encryptHandshake`` and ``decryptHandshake`` and what calls them; PrEstoCloud deliverable, 3.3.
"""

from __future__ import annotations

import struct
from enum import Enum, auto
from typing import NamedTuple

from prestocloud_sec.cjdns.cryptoauth.core import SessionCore
from prestocloud_sec.cjdns.cryptoauth.exchange import INIT, RECEIVED_HELLO, RECEIVED_KEY, SENT_KEY, Exchange, Phase
from prestocloud_sec.cjdns.cryptoauth.handshake import (
    FIRST_DATA_NONCE,
    HANDSHAKE_SIZE,
    PacketKind,
    clear_header,
    open_box,
)
from prestocloud_sec.cjdns.cryptoauth.pending import Pending, remember
from prestocloud_sec.cjdns.cryptoauth.secrets import PairSecret
from prestocloud_sec.cjdns.cryptoauth.users import User
from prestocloud_sec.cjdns.errors import (
    CjdnsError,
    DecryptionError,
    EstablishedKeyPacketError,
    HandshakeDecryptionError,
    InvalidHandshakeError,
    NoSessionError,
    ReplayError,
    RuntError,
    SmallOrderError,
    StrayKeyError,
    ZeroTemporaryKeyError,
)

__all__ = ["TRANSITIONS", "Action", "StateMachine", "replayed"]


class Action(Enum):
    """What an opened handshake packet, or one that need not be opened, leads to."""

    TAKE = auto()
    """Reset; become the responder of this hello."""
    CROSS = auto()
    """Both said hello: the lower permanent key stays initiator. TAKE if that is the peer's, else DELIVER."""
    PARK = auto()
    """Keep the session and answer the hello beside it; with quirks, TAKE."""
    DELIVER = auto()
    """Nothing but the payload."""
    ADOPT = auto()
    """Take the responder's temporary key; we can send data."""
    READOPT = auto()
    """The same while we send data already; one nonce is skipped, as C does."""
    REFUSE = auto()
    """A duplicate, or of another handshake (13)."""
    STRAY = auto()
    """A key packet, but we are not the initiator (10)."""
    CLOSED = auto()
    """A key packet, but the session is established (5)."""
    NO_SESSION = auto()
    """Data before any keys (2)."""
    FINISH = auto()
    """The first data: if it decrypts, the session is established."""
    OPEN = auto()
    """Data."""


TAKE, CROSS, PARK, DELIVER, ADOPT, READOPT, REFUSE, STRAY, CLOSED, NO_SESSION, FINISH, OPEN = Action
NEW, HELD = False, True


def _table(text: str) -> dict[tuple[PacketKind, bool], tuple[Action, ...]]:
    """Read a row of phases, then rows of: kind of packet, whether we hold its temporary key, and actions."""
    (_, _, *phases), *rows = map(str.split, text.strip().splitlines())
    columns = sorted(range(len(Phase)), key=lambda column: Phase[phases[column]])
    return {
        (PacketKind[kind], key == "held"): tuple(Action[actions[column]] for column in columns)
        for kind, key, *actions in rows
    }


TRANSITIONS = _table("""
    packet       key  INIT       SENT_HELLO RECEIVED_HELLO SENT_KEY RECEIVED_KEY RUNNING ESTABLISHED
    HELLO        new  TAKE       CROSS      TAKE           PARK     PARK         PARK    PARK
    HELLO        held REFUSE     REFUSE     REFUSE         REFUSE   REFUSE       REFUSE  REFUSE
    REPEAT_HELLO new  TAKE       CROSS      TAKE           PARK     PARK         PARK    PARK
    REPEAT_HELLO held REFUSE     REFUSE     DELIVER        DELIVER  REFUSE       REFUSE  REFUSE
    KEY          new  STRAY      ADOPT      STRAY          STRAY    ADOPT        READOPT CLOSED
    KEY          held STRAY      ADOPT      STRAY          STRAY    REFUSE       REFUSE  CLOSED
    REPEAT_KEY   new  STRAY      ADOPT      STRAY          STRAY    REFUSE       REFUSE  CLOSED
    REPEAT_KEY   held STRAY      ADOPT      STRAY          STRAY    ADOPT        READOPT CLOSED
    DATA         new  NO_SESSION NO_SESSION NO_SESSION     FINISH   FINISH       FINISH  OPEN
""")
"""What to do, by kind of packet and whether it carries the peer's temporary key that we hold, in each `Phase`."""

_HANDSHAKE_ROWS = [(TRANSITIONS[kind, NEW], TRANSITIONS[kind, HELD]) for kind in sorted(PacketKind)[:4]]
_DATA_ROW = TRANSITIONS[PacketKind.DATA, NEW]

_word = struct.Struct(">I").unpack_from
REPEAT_HELLO = int(PacketKind.REPEAT_HELLO)
CONNECT_TO_ME = int(PacketKind.CONNECT_TO_ME)
_NO_KEY = bytes(32)


_new = tuple.__new__  # the constructor of a named tuple is written in Python and takes three times as long


class _Offer(NamedTuple):
    """What an authentic handshake packet brings."""

    kind: int
    temporary_key: bytes
    user: User | None
    authenticated: bool


class StateMachine(SessionCore):
    """The part of a `Session` that handshakes are made of."""

    __slots__ = ()

    # --- sending

    def _handshake_of(self, exchange: Exchange, payload: bytes) -> bytes:
        packet = exchange.make_handshake(self._peer, payload, self._random)
        if not self._quirks:
            remember(self._guard.own, exchange.temporary_public)
        self._counters.handshakes_out += 1
        return packet

    # --- receiving

    def _receive(self, packet: bytes, now: float, refused: DecryptionError | None = None) -> bytes:
        """Receive any packet; `refused` is why the live session could not open this one, if that was tried."""
        if self._pending is not None:
            self._expire(now)
        size = len(packet)
        try:
            least = 20 if self._live.authenticated else 4
            if size < least:
                raise RuntError(f"{size} bytes", where="packet", expected=f"at least {least}")
            (word,) = _word(packet)
            if word < FIRST_DATA_NONCE:
                payload = self._receive_handshake(packet, word, now)
            elif word == CONNECT_TO_ME and self._peer.profile.connect_to_me:
                payload = self._receive_connect_to_me(packet)
            else:
                payload = self._receive_data(packet, word, now, refused)
        except CjdnsError as error:
            self._refusal(error)
            raise
        counters = self._counters
        counters.packets_in += 1
        counters.bytes_in += size
        return payload

    def _receive_connect_to_me(self, packet: bytes) -> bytes:
        if len(packet) < HANDSHAKE_SIZE:
            raise RuntError(f"{len(packet)} bytes", where="connect-to-me", expected=f"{HANDSHAKE_SIZE}")
        if self._peer.key is not None:
            raise InvalidHandshakeError(
                "connect-to-me, but there is a session already", where="connect-to-me", hint="dropped silently"
            )
        self._peer.introduce(packet[40:72])
        return b""

    def _receive_data(self, packet: bytes, nonce: int, now: float, refused: DecryptionError | None) -> bytes:
        """Receive data: of the session, the first of it, or the first of a pending one."""
        live = self._live
        action = _DATA_ROW[live.phase]
        if action is FINISH:
            return self._receive_final(packet, nonce, now)
        if action is NO_SESSION:
            raise NoSessionError("data, but no keys were agreed on", where="packet", hint="say hello with encrypt()")
        if refused is not None:
            return self._promote(packet, nonce, now, refused)
        try:
            payload = live.start().open_as(nonce, packet)
        except DecryptionError as error:
            return self._promote(packet, nonce, now, error)
        if not live.window.accept(nonce):
            raise replayed(nonce)
        if self._heard < now:
            self._heard = now
        return payload

    def _receive_final(self, packet: bytes, nonce: int, now: float) -> bytes:
        """Receive the data that establishes a session."""
        live = self._live
        try:
            payload = live.data_cipher().open_as(nonce, packet)
        except DecryptionError as error:
            if not self._quirks:
                return self._promote(packet, nonce, now, error)
            live.window.restart(nonce + 1)
            raise
        if not live.window.accept(nonce):
            if self._quirks:
                live.window.restart(nonce + 1)
            raise replayed(nonce)
        self._establish(live, nonce, now)
        return payload

    def _promote(self, packet: bytes, nonce: int, now: float, refused: DecryptionError) -> bytes:
        """Try a packet that the live session refuses on the pending one, which takes its place if it opens."""
        pending = self._pending
        if pending is None or pending.exchange.next_nonce != SENT_KEY:
            raise refused
        exchange, reached = pending.exchange, self._live.next_nonce
        payload = exchange.data_cipher().open(packet)
        self._pending = None
        self._replace(exchange)
        self._counters.pending_promoted += 1
        self._establish(exchange, nonce, now)
        if reached > pending.beside:  # data of the old session went out meanwhile: stay ahead of the peer's window
            exchange.next_nonce = max(exchange.next_nonce, reached)
        return payload

    def _establish(self, exchange: Exchange, nonce: int, now: float) -> None:
        exchange.establish(nonce)
        if not exchange.initiator:
            remember(self._guard.spent, exchange.peer_temporary)
        self._heard = now
        self._counters.sessions += 1

    def _receive_handshake(self, packet: bytes, kind: int, now: float) -> bytes:
        live, peer = self._live, self._peer
        phase, hello = live.phase, kind <= REPEAT_HELLO
        row = _HANDSHAKE_ROWS[kind]
        early = row[NEW][phase]
        if early is CLOSED:
            raise EstablishedKeyPacketError("a key packet, but the session is established", where="handshake.kind")
        if len(packet) < HANDSHAKE_SIZE:
            raise RuntError(f"{len(packet)} bytes", where="handshake", expected=f"at least {HANDSHAKE_SIZE}")
        header = clear_header(packet)
        key = header.public_key
        if not hello and peer.key is not None and not peer.profile.key_packets_name_sender:
            key = peer.key
            header = header._replace(public_key=key)
        if key != peer.key:
            peer.check_key(key, hello=hello)
        user, password_secret = peer.authenticate_header(header)
        if early is STRAY:
            raise StrayKeyError("a key packet, but we sent no hello", where="handshake.kind", offset=0)
        pair = peer.pair_with(key)
        temporary_key, payload = self._open_handshake(packet, key, password_secret, pair if hello else None)
        remembers = hello and not self._quirks
        if remembers:
            self._guard.check(header.nonce, temporary_key)
        action = row[temporary_key == live.peer_temporary][phase]
        if action is CROSS:
            action = DELIVER if key >= peer.own and key == peer.key else TAKE
        authenticated = self._authenticate or header.authenticate or user is not None
        self._act(action, _new(_Offer, (kind, temporary_key, user, authenticated)), now)
        if remembers:
            remember(self._guard.accepted, header.nonce)
        if key != peer.key or peer.provisional:
            peer.meet(key, pair)
        self._counters.handshakes_in += 1
        return payload

    def _open_handshake(
        self, packet: bytes, key: bytes, password_secret: bytes | None, pair: PairSecret | None
    ) -> tuple[bytes, bytes]:
        """Return temporary key and payload; `pair` is that of the permanent keys for a hello, None for a key packet."""
        try:
            if pair is not None:
                secret = pair.get(self._peer.private, key, password_secret)
            else:
                secret = self._live.pair.get(self._live.temporary, key, password_secret)
        except SmallOrderError as error:
            raise _not_authentic("its permanent key is a point of small order") from error
        opened = open_box(packet, secret)
        if opened is None:
            raise _not_authentic("it does not authenticate")
        if opened[0] == _NO_KEY:
            raise _bad_temporary_key("zero")
        return opened

    def _act(self, action: Action, offer: _Offer, now: float) -> None:
        """Do what the table says about an authentic handshake packet."""
        if action is TAKE or action is PARK:
            if action is PARK and self._parks:
                self._park(offer, now)
            else:
                self._take(offer, now)
        elif action is ADOPT or action is READOPT:
            self._adopt(offer, now)
        elif action is DELIVER:
            self._live.window.restart(0)
        else:
            raise InvalidHandshakeError(
                "a duplicate, or of another handshake than the one under way", where="handshake", hint="drop it"
            )

    def _take(self, offer: _Offer, now: float) -> None:
        """Reset, and become the responder of a hello."""
        live = self._live
        if live.next_nonce == INIT:  # nothing to give up
            self._respond(live, offer)
        else:
            taken = Exchange()
            self._respond(taken, offer)
            self._counters.resets += 1
            self._drop_pending()
            self._replace(taken)
        if not self._quirks:  # count the 10 s of a handshake from here (C does not)
            self._heard = now

    def _adopt(self, offer: _Offer, now: float) -> None:
        """Take the temporary key of a key packet; we are the initiator."""
        live = self._live
        try:
            live.adopt(offer.temporary_key, offer.authenticated)
        except SmallOrderError as error:
            raise _bad_temporary_key("a point of small order") from error
        live.user = offer.user
        live.window.restart(0)
        if live.next_nonce > RECEIVED_KEY:
            live.next_nonce += 1
        else:
            live.next_nonce = RECEIVED_KEY
            if not self._quirks:
                self._heard = now

    def _park(self, offer: _Offer, now: float) -> None:
        """Answer a hello beside the session."""
        pending = self._pending
        if pending is None or pending.exchange.peer_temporary != offer.temporary_key:
            exchange = Exchange()
            self._respond(exchange, offer)
            if pending is not None:
                pending.exchange.wipe()
            self._pending = Pending(exchange, now, self._live.next_nonce)
            self._counters.pending_opened += 1
        elif offer.kind == REPEAT_HELLO:
            pending.hear(now)
        else:
            raise InvalidHandshakeError(
                "a duplicate of the hello that is being answered", where="hello", hint="drop it"
            )

    def _respond(self, exchange: Exchange, offer: _Offer) -> None:
        """Let an exchange that has not begun receive a hello; if that is refused, it still has not begun.

        The secret of our key packet is computed now, and with it that the temporary key is a key at all.
        """
        mine = self._peer.credentials
        try:
            exchange.pair.get(self._peer.private, offer.temporary_key, None if mine is None else mine.secret)
        except SmallOrderError as error:
            raise _bad_temporary_key("a point of small order") from error
        exchange.peer_temporary = offer.temporary_key
        exchange.next_nonce = RECEIVED_HELLO
        exchange.user = offer.user
        exchange.authenticated = offer.authenticated


def replayed(nonce: int) -> ReplayError:
    """Say that a nonce is not new."""
    return ReplayError(f"nonce {nonce} was seen before, or is too old to tell", where="packet", hint="drop it")


def _not_authentic(what: str) -> HandshakeDecryptionError:
    return HandshakeDecryptionError(
        what, where="handshake", hint="forged, damaged, for another node, or made with another password: drop it"
    )


def _bad_temporary_key(what: str) -> ZeroTemporaryKeyError:
    return ZeroTemporaryKeyError(f"the temporary key is {what}", where="handshake", hint="drop it")
