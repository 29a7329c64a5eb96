# SPDX-License-Identifier: Apache-2.0
"""A CryptoAuth session: the handshake, the data phase, and every transition between their states.

Sources: cjdns v21.1 ``crypto/CryptoAuth.c`` (behaviour), cjdns Whitepaper, "CryptoAuth"; PrEstoCloud deliverable, 3.3.

Rules
-----
Two nodes that know each other's permanent Curve25519 keys (or one that knows the other's) agree on temporary keys while
they already talk: every packet of the handshake carries a payload. The *initiator* says hello, the *responder* answers
with a key packet, the initiator's first data packet finishes::

    initiator                                        responder
    INIT            -- hello (0), payload -------->  INIT
    SENT_HELLO                                       RECEIVED_HELLO
                    <------- key (2), payload -----
    RECEIVED_KEY                                     SENT_KEY
                    -- data, nonce 4 ------------->
                                                     ESTABLISHED
                    <------- data, nonce 6 --------
    ESTABLISHED

Until the answer comes, a side repeats: hellos as *repeat hello* (1), keys as *repeat key* (3), with the same temporary
key, so that any of them may be lost. Packets are 120 bytes longer than their payload during the handshake, then 20.

One counter, ``next_nonce``, is both the state (0 to 4) and the nonce of the next data packet (4 and up). The data
packet that establishes a side adds 3 to it; so the responder's first nonce is 6, and an initiator's nonces have a gap.
Which half of the box nonce the counter goes into tells the two directions apart.

The payload of a handshake packet is encrypted and authenticated, but it can be replayed, and who later steals the
permanent keys can read it. Data packets resist both.

Theory of operation
-------------------
A `Session` holds a `Peer` (permanent keys, passwords), one live `Exchange` (temporary keys, counter, replay window),
and perhaps one `Pending`. To *reset* is to replace the exchange with a new one; nothing else is forgotten.

Sending looks at ``next_nonce`` alone: 0 and 1 make a hello, 2 and 3 a key packet, 4 and more data. Receiving checks
length, keys and user in the order of the C code, opens the box, and only then looks into `TRANSITIONS`, by the kind of
the packet, by whether its temporary key is the one we hold, and by the phase. Everything that can be refused is refused
before anything is changed.

Nobody acts on a timer: `Session.reset_if_timeout` is evaluated by each `encrypt`, and a caller evaluates it before it
gives a packet to `decrypt`, as cjdns nodes do (for an established session that is a matter of taste). Without data from
the peer for 10 s a handshake is given up, after 60 s a session; never in SENT_HELLO, because the answer might come the
moment after. Times are seconds of `now`; cjdns' own "second" is 1024 ms long, which no peer can tell.

With ``quirks=True`` a session is C's in every byte and state, which includes two faults that the default does not have:

1. A data packet that *fails* to decrypt while the handshake waits for its last step moves the replay window to behind
   its nonce, so that one forged packet makes the genuine one fail. By default the window moves on success only.
2. An authentic hello always restarts a session, though it may be a recording. By default it opens a pending handshake
   beside the session; see `prestocloud_sec.cjdns.cryptoauth.pending` for how and why. The table's PARK is that; with
   quirks PARK is TAKE.

Two smaller deviations of the default: the 10 s of a handshake also begin when a hello or key packet is taken (C leaves
the clock alone, so that a long idle session throws the peer's first hello away), and `set_auth` with another login
under the same password resets too. None of the four changes a packet's form or meaning; a peer with quirks
interoperates.
"""

from __future__ import annotations

import struct
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from prestocloud_sec.cjdns._layout import octets, view
from prestocloud_sec.cjdns.cryptoauth.batch_session import BatchSession
from prestocloud_sec.cjdns.cryptoauth.cipher import LARGEST
from prestocloud_sec.cjdns.cryptoauth.core import NONCES_EXHAUSTED, SESSION_SECONDS, SETUP_SECONDS
from prestocloud_sec.cjdns.cryptoauth.exchange import INIT, RECEIVED_HELLO, RECEIVED_KEY, SENT_KEY, Exchange, Phase
from prestocloud_sec.cjdns.cryptoauth.handshake import (
    CONNECT_TO_ME_FILLER,
    FIRST_DATA_NONCE,
    HANDSHAKE_SIZE,
    ClearHeader,
    PacketKind,
    clear_header,
    connect_to_me,
    open_box,
)
from prestocloud_sec.cjdns.cryptoauth.pending import Pending, remember
from prestocloud_sec.cjdns.cryptoauth.replay import WIDTH
from prestocloud_sec.cjdns.cryptoauth.secrets import PairSecret
from prestocloud_sec.cjdns.cryptoauth.users import User
from prestocloud_sec.cjdns.errors import (
    CjdnsError,
    CjdnsMisuseError,
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

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["TRANSITIONS", "Action", "Session"]


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


class _Offer(NamedTuple):
    """What an authentic handshake packet brings."""

    kind: int
    temporary_key: bytes
    user: User | None
    authenticated: bool


class Session(BatchSession):
    """One CryptoAuth session: payloads in and packets out on one side, packets in and payloads out on the other.

    This is the wrapped interface of the deliverable without the interface: whatever carries bytes to the peer, as best
    it can, carries what `encrypt` returns, and `decrypt` gets what arrives, in any order, perhaps twice or never.

    Parameters
    ----------
    private_key : PrivateKey
        Our permanent key.
    peer_key : PublicKey, optional
        The peer's. Without it the session takes the key of the first authentic hello, and cannot speak first.
    users : Users, optional
        Who may connect with a password.
    require_auth : bool
        Refuse whoever does not.
    password, login : bytes-like, optional
        What we tell the peer; without a login it is found by the password.
    profile : str
        ``"cjdns"`` or ``"deliverable"``; see `prestocloud_sec.cjdns.cryptoauth.profiles`.
    quirks : bool
        Behave in every byte and state as cjdns v21.1 does, faults included; see the head of this module.
    authenticate : bool
        Whether data packets must carry authenticators. ``False`` is for ``profile="deliverable"`` alone, and makes
        data packets that **anybody on the way can change unnoticed**.
    derivations : int
        Rounds of SHA-256 over the password beyond the first, 0 to 65535; for ``profile="deliverable"`` alone.
    max_derivations : int
        Most rounds to do for a peer; a handshake that names more is refused.
    random : callable
        Returns as many fresh random bytes as it is asked for.
    clock : callable
        Returns the time in seconds, for calls without `now`, and once when the session is made.

    Raises
    ------
    CjdnsMisuseError
        If an argument has the wrong type or does not go with the profile.
    AddressError
        If `peer_key` does not hash into fc00::/8 (not checked with quirks).

    Notes
    -----
    A session is used by one thread at a time. It cannot be pickled: it holds secrets.
    """

    __slots__ = ()

    # --- sending

    def encrypt(self, payload: BytesLike, *, now: float | None = None) -> bytes:
        """Return the packet that carries `payload`: a handshake packet, or data.

        Parameters
        ----------
        payload : bytes-like
            Any number of bytes. During the handshake an empty payload is how a node only asks for a session.
        now : float, optional
            Seconds; without it the session's clock is asked.

        Raises
        ------
        CjdnsMisuseError
            If the payload is not bytes-like, `now` no time, or the peer's key is not known yet.
        SmallOrderError
            If the peer's key is no key.
        """
        live = self._live
        at = self._now() if now is None else self._checked(now)
        cipher = live.cipher
        if cipher is not None and self._pending is None:
            nonce = live.next_nonce
            idle = at - self._heard
            if nonce < NONCES_EXHAUSTED and (idle < SETUP_SECONDS or (idle < SESSION_SECONDS and live.established)):
                quick = cipher.seal_quickly
                if quick is not None and type(payload) is bytes and len(payload) <= LARGEST:
                    packet = quick(nonce, payload)
                else:
                    packet = cipher.seal(nonce, payload)
                live.next_nonce = nonce + 1
                counters = self._counters
                counters.packets_out += 1
                counters.bytes_out += len(packet)
                return packet
        return self._encrypt_slowly(bytes(view(payload, "payload")), at)

    def connect_to_me(self) -> bytes:
        """Return a packet that asks whoever receives it to say hello to us, for when we do not know its key.

        Only in ``profile="deliverable"`` (PrEstoCloud deliverable, 3.3, header type 1). It carries nothing but our key.

        Raises
        ------
        CjdnsMisuseError
            In another profile, or if the peer's key is known.
        """
        if not self._peer.profile.connect_to_me:
            raise CjdnsMisuseError("there is no connect-to-me packet in this profile", where="Session.connect_to_me")
        if self._peer.key is not None:
            raise CjdnsMisuseError("the peer's key is known", where="Session.connect_to_me", expected="encrypt")
        packet = connect_to_me(self._peer.own, self._draw(CONNECT_TO_ME_FILLER))
        self._count_out(packet)
        return packet

    def _encrypt_slowly(self, payload: bytes, now: float) -> bytes:
        self._time_out(now)
        if self._live.next_nonce >= NONCES_EXHAUSTED:
            self._reset(now)
        if self._pending is not None:
            self._expire(now)
        live, pending = self._live, self._pending
        if pending is not None and pending.owed:
            packet = self._handshake_of(pending.exchange, payload)
            pending.owed = False
        elif live.next_nonce < FIRST_DATA_NONCE:
            packet = self._handshake_of(live, payload)
        else:
            packet = live.start().seal(live.next_nonce, payload)
            live.next_nonce += 1
        self._count_out(packet)
        return packet

    def _handshake_of(self, exchange: Exchange, payload: bytes) -> bytes:
        packet = exchange.make_handshake(self._peer, payload, self._draw)
        if not self._quirks:
            remember(self._guard.own, exchange.temporary_public)
        self._counters.handshakes_out += 1
        return packet

    # --- receiving

    def decrypt(self, packet: BytesLike, *, now: float | None = None) -> bytes:
        """Return the payload of a packet; a handshake packet's may be empty.

        A packet that is refused changes nothing but the statistics, and is answered with nothing: drop it. (With quirks
        it may move the replay window, see the head of this module.) A connect-to-me packet, where the profile has them,
        gives an empty payload if the session did not know its peer, which it now does: the next `encrypt` says hello.

        Parameters
        ----------
        packet : bytes-like
            What arrived.
        now : float, optional
            Seconds; without it the session's clock is asked.

        Raises
        ------
        RuntError
            If it is shorter than its header (1).
        NoSessionError
            If it is data and there are no keys yet (2).
        EstablishedKeyPacketError, StrayKeyError
            If it is a key packet and the session is established (5) or has said no hello (10).
        WrongPermanentKeyError, AddressError
            If it is from another node (6), or from none in fc00::/8.
        AddressRestrictedError, AuthenticationRequiredError, UnrecognizedAuthenticationError
            If its user may not connect from there (7), is missing (8) or unknown (9).
        HandshakeDecryptionError, DecryptionError
            If it does not authenticate (11, 15).
        ZeroTemporaryKeyError
            If its temporary key is no key (12).
        InvalidHandshakeError
            If it is a duplicate, a recording, or of another handshake (13).
        ReplayError
            If its nonce was seen, or is too old to tell (14).
        CjdnsMisuseError
            If `packet` is not bytes-like, or `now` no time.
        """
        data = packet if type(packet) is bytes else octets(packet, "packet")
        live = self._live
        at = self._now() if now is None else self._checked(now)
        cipher = live.cipher
        size = len(data)
        if not live.established or cipher is None or size < cipher.overhead:
            return self._decrypt_slowly(data, at, None)
        (nonce,) = _word(data)
        if nonce < FIRST_DATA_NONCE or nonce == CONNECT_TO_ME:
            return self._decrypt_slowly(data, at, None)
        quick = cipher.open_quickly
        payload = quick(nonce, data) if quick is not None and size <= LARGEST else None
        if payload is None:
            try:
                payload = cipher.open_as(nonce, data)
            except DecryptionError as refused:
                return self._decrypt_slowly(data, at, refused)
        window = live.window
        offset = nonce - window.base
        if 0 <= offset < WIDTH and not window.bits >> offset & 1:  # as `ReplayWindow.accept`, for the usual packet
            window.bits |= 1 << offset
        elif not window.accept(nonce):
            raise self._refusal(_replayed(nonce))
        if self._heard < at:
            self._heard = at
        counters = self._counters
        counters.packets_in += 1
        counters.bytes_in += size
        return payload

    def _decrypt_slowly(self, packet: bytes, now: float, refused: DecryptionError | None) -> bytes:
        """Receive any packet; `refused` is why the live session could not open this one, if that was tried."""
        if self._pending is not None:
            self._expire(now)
        try:
            payload = self._receive(packet, now, refused)
        except CjdnsError as error:
            self._refusal(error)
            raise
        self._counters.packets_in += 1
        self._counters.bytes_in += len(packet)
        return payload

    def _receive(self, packet: bytes, now: float, refused: DecryptionError | None) -> bytes:
        least = 20 if self._live.authenticated else 4
        if len(packet) < least:
            raise RuntError(f"{len(packet)} bytes", where="packet", expected=f"at least {least}")
        (word,) = _word(packet)
        if word < FIRST_DATA_NONCE:
            return self._receive_handshake(packet, word, now)
        if word == CONNECT_TO_ME and self._peer.profile.connect_to_me:
            return self._receive_connect_to_me(packet)
        action = _DATA_ROW[self._live.phase]
        if action is OPEN:
            return self._receive_data(packet, word, now, refused)
        if action is FINISH:
            return self._receive_final(packet, word, now)
        raise NoSessionError("data, but no keys were agreed on", where="packet", hint="say hello with encrypt()")

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
        """Receive data in an established session: its own, or the first of a pending one."""
        live = self._live
        if refused is None:
            try:
                payload = live.start().open(packet)
            except DecryptionError as error:
                return self._promote(packet, nonce, now, error)
            if not live.window.accept(nonce):
                raise _replayed(nonce)
            self._heard = now
            return payload
        return self._promote(packet, nonce, now, refused)

    def _receive_final(self, packet: bytes, nonce: int, now: float) -> bytes:
        """Receive the data that establishes a session."""
        live = self._live
        try:
            payload = live.data_cipher().open(packet)
        except DecryptionError as error:
            if not self._quirks:
                return self._promote(packet, nonce, now, error)
            live.window.restart(nonce + 1)
            raise
        if not live.window.accept(nonce):
            if self._quirks:
                live.window.restart(nonce + 1)
            raise _replayed(nonce)
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
        if not hello and peer.key is not None and not peer.profile.key_packets_name_sender:
            header = header._replace(public_key=peer.key)
        peer.check_key(header.public_key, hello=hello)
        user, password_secret = peer.authenticate_header(header)
        if early is STRAY:
            raise StrayKeyError("a key packet, but we sent no hello", where="handshake.kind", offset=0)
        pair = peer.pair_with(header.public_key)
        temporary_key, payload = self._open_handshake(packet, header, password_secret, pair if hello else None)
        if hello and not self._quirks:
            self._guard.check(header.nonce, temporary_key)
        action = row[temporary_key == live.peer_temporary][phase]
        if action is CROSS:
            stands = header.public_key >= peer.own and header.public_key == peer.key
            action = DELIVER if stands else TAKE
        offer = _Offer(kind, temporary_key, user, self._authenticate or header.authenticate or user is not None)
        self._act(action, offer, now)
        if hello and not self._quirks:
            remember(self._guard.accepted, header.nonce)
        peer.meet(header.public_key, pair)
        self._counters.handshakes_in += 1
        return payload

    def _open_handshake(
        self, packet: bytes, header: ClearHeader, password_secret: bytes | None, pair: PairSecret | None
    ) -> tuple[bytes, bytes]:
        """Return temporary key and payload; `pair` is that of the permanent keys for a hello, None for a key packet."""
        try:
            if pair is not None:
                secret = pair.get(self._peer.private, header.public_key, password_secret)
            else:
                secret = self._live.pair.get(self._live.temporary, header.public_key, password_secret)
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
        if self._live.next_nonce == INIT:  # nothing to give up
            self._respond(self._live, offer)
        else:
            taken = Exchange()
            self._respond(taken, offer)
            self._counters.resets += 1
            self._drop_pending()
            self._replace(taken)
        self._start_clock(now)

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
            self._start_clock(now)

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


def _replayed(nonce: int) -> ReplayError:
    return ReplayError(f"nonce {nonce} was seen before, or is too old to tell", where="packet", hint="drop it")


def _not_authentic(what: str) -> HandshakeDecryptionError:
    return HandshakeDecryptionError(
        what, where="handshake", hint="forged, damaged, for another node, or made with another password: drop it"
    )


def _bad_temporary_key(what: str) -> ZeroTemporaryKeyError:
    return ZeroTemporaryKeyError(f"the temporary key is {what}", where="handshake", hint="drop it")
