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

How a session works
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

from typing import TYPE_CHECKING, Any

from prestocloud_sec.cjdns._layout import octets, view
from prestocloud_sec.cjdns.cryptoauth import sodium
from prestocloud_sec.cjdns.cryptoauth.batch_session import BatchSession
from prestocloud_sec.cjdns.cryptoauth.cipher import LARGEST, WIRE_NONCE, readable, refused
from prestocloud_sec.cjdns.cryptoauth.core import NONCES_EXHAUSTED, SESSION_SECONDS, SETUP_SECONDS
from prestocloud_sec.cjdns.cryptoauth.handshake import (
    CONNECT_TO_ME_FILLER,
    FIRST_DATA_NONCE,
    PacketKind,
    connect_to_me,
)
from prestocloud_sec.cjdns.cryptoauth.machine import StateMachine, replayed
from prestocloud_sec.cjdns.cryptoauth.replay import WIDTH
from prestocloud_sec.cjdns.cryptoauth.sodium import new_scratch
from prestocloud_sec.cjdns.errors import CjdnsMisuseError

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["Session"]

_wire_nonce, _put_wire_nonce = WIRE_NONCE.unpack_from, WIRE_NONCE.pack_into
_pop, _push = sodium.SCRATCH.pop, sodium.SCRATCH.append
_seal: Any = None if sodium.LIBRARY is None else sodium.LIBRARY.seal
_open: Any = None if sodium.LIBRARY is None else sodium.LIBRARY.open
_CONNECT_TO_ME = int(PacketKind.CONNECT_TO_ME)
_OVERHEAD = 20
_BITS = tuple(1 << offset for offset in range(WIDTH))


class Session(StateMachine, BatchSession):
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
    A session is used by one thread at a time. It cannot be pickled: it holds secrets. `close` wipes them, and so does
    the end of ``with``.
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
        ask = self._now  # a slot: called as a method it would be looked for in every base class first
        at = ask() if now is None else self._checked(now)
        sealing = live.sealing
        if sealing is not None and self._pending is None:
            source = payload if type(payload) is bytes else readable(view(payload, "payload"))
            size, nonce, idle = len(source), live.next_nonce, at - self._heard
            if (
                size <= LARGEST
                and nonce < NONCES_EXHAUSTED
                and (idle < SETUP_SECONDS or (idle < SESSION_SECONDS and live.established))
            ):
                live.next_nonce = nonce + 1  # before libsodium lets other threads run
                key, send_nonce = sealing  # from here on `DataCipher.seal_quickly`, without the call
                try:
                    scratch = _pop()
                except IndexError:
                    scratch = new_scratch()
                _, box, memory = scratch
                _put_wire_nonce(memory, 0, nonce)
                _seal(box, source, size, send_nonce(nonce), key)
                size += _OVERHEAD
                packet: bytes = memory[:size]
                _push(scratch)
                counters = self._counters
                counters.packets_out += 1
                counters.bytes_out += size
                return packet
        return self._encrypt_slowly(payload if type(payload) is bytes else bytes(view(payload, "payload")), at)

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
        if now - self._heard >= SETUP_SECONDS:
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
            nonce = live.next_nonce
            live.next_nonce = nonce + 1
            packet = live.start().seal(nonce, payload)
        self._count_out(packet)
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
        live, ask = self._live, self._now
        at = ask() if now is None else self._checked(now)
        opening, size = live.opening, len(data)
        if opening is None or size < _OVERHEAD or size > LARGEST:
            return self._receive(data, at)
        (nonce,) = _wire_nonce(data)
        if nonce < FIRST_DATA_NONCE or nonce == _CONNECT_TO_ME:
            return self._receive(data, at)
        key, receive_nonce = opening  # from here on `DataCipher.open_quickly`, without the call
        try:
            scratch = _pop()
        except IndexError:
            scratch = new_scratch()
        out, _, memory = scratch
        if _open(out, data[4:], size - 4, receive_nonce(nonce), key):
            _push(scratch)
            return self._receive(data, at, refused())
        payload: bytes = memory[: size - _OVERHEAD]
        _push(scratch)
        window = live.window
        offset, seen = nonce - window.base, window.bits
        if 0 <= offset < WIDTH and not seen & (bit := _BITS[offset]):  # as `ReplayWindow.accept`, for the usual packet
            window.bits = seen | bit
        elif not window.accept(nonce):
            raise self._refusal(replayed(nonce))
        if self._heard < at:
            self._heard = at
        counters = self._counters
        counters.packets_in += 1
        counters.bytes_in += size
        return payload
