# SPDX-License-Identifier: Apache-2.0
"""One exchange of temporary keys and the data phase it leads to: all that a reset of a session throws away."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any

from prestocloud_sec.cjdns.cryptoauth import handshake, sodium
from prestocloud_sec.cjdns.cryptoauth.cipher import DataCipher
from prestocloud_sec.cjdns.cryptoauth.peer import Peer
from prestocloud_sec.cjdns.cryptoauth.replay import ReplayWindow
from prestocloud_sec.cjdns.cryptoauth.secrets import KeepsSecrets, PairSecret, plain_secret
from prestocloud_sec.cjdns.cryptoauth.users import User
from prestocloud_sec.cjdns.keys import Random, drawn
from prestocloud_sec.cjdns.sign import wipe

__all__ = [
    "ESTABLISHED",
    "INIT",
    "RECEIVED_HELLO",
    "RECEIVED_KEY",
    "RUNNING",
    "SENT_HELLO",
    "SENT_KEY",
    "Exchange",
    "Phase",
    "SessionState",
]

_NO_KEY = bytes(32)


class SessionState(IntEnum):
    """The states of a session by the names and numbers of cjdns v21.1 (``crypto/CryptoAuth.h``)."""

    INIT = 0
    """Nothing sent, nothing received."""
    SENT_HELLO = 1
    """We sent a hello and are the initiator."""
    RECEIVED_HELLO = 2
    """The peer's hello came; we are the responder."""
    SENT_KEY = 3
    """We answered it with a key packet."""
    RECEIVED_KEY = 4
    """The peer's key packet came: we can send data, but have not received any."""
    ESTABLISHED = 100
    """A data packet of the peer was decrypted."""


class Phase(IntEnum):
    """The columns of the transition table: `SessionState`, with RECEIVED_KEY told apart by whether data was sent."""

    INIT = 0
    SENT_HELLO = 1
    RECEIVED_HELLO = 2
    SENT_KEY = 3
    RECEIVED_KEY = 4
    RUNNING = 5
    ESTABLISHED = 6


INIT, SENT_HELLO, RECEIVED_HELLO, SENT_KEY, RECEIVED_KEY, RUNNING, ESTABLISHED = map(int, Phase)
"""The phases as plain integers, which `Exchange.next_nonce` starts from and counts on."""

_PHASES = tuple(Phase)


class Exchange(KeepsSecrets):
    """The keys, counter and replay window of one run of the handshake.

    Attributes
    ----------
    next_nonce : int
        0 to 3: what the next handshake packet says it is. From 4 on: the nonce of the next data packet.
    initiator : bool
        Whether we sent the hello.
    established : bool
        Whether a data packet of the peer was decrypted.
    authenticated : bool
        Whether data packets carry an authenticator.
    temporary : bytearray, 32 bytes
        Our temporary private key; zero until drawn.
    temporary_public, peer_temporary : bytes, 32 bytes
        The temporary public keys; zero until known.
    pair : PairSecret
        The secret of key packets (the responder's permanent with the initiator's temporary key).
    cipher : DataCipher or None
        Set from the moment on when we send data.
    sealing, opening : tuple or None
        Those of the cipher, the one from then on, the other from the moment on when the peer's data has come.
    window : ReplayWindow
        Of the peer's nonces.
    user : User or None
        Whom the peer authenticated as.
    """

    __slots__ = (
        "_made",
        "authenticated",
        "cipher",
        "established",
        "initiator",
        "next_nonce",
        "opening",
        "pair",
        "peer_temporary",
        "sealing",
        "temporary",
        "temporary_public",
        "user",
        "window",
    )

    def __init__(self, *, authenticated: bool = True) -> None:
        self.next_nonce = INIT
        self.initiator = self.established = False
        self.authenticated = authenticated
        self.temporary = bytearray(32)
        self.temporary_public = self.peer_temporary = _NO_KEY
        self.pair = PairSecret()
        self.window = ReplayWindow()
        self.user: User | None = None
        self.cipher: DataCipher | None = None
        self._made: DataCipher | None = None
        self.sealing: tuple[Any, Callable[[int], bytes]] | None = None
        self.opening: tuple[Any, Callable[[int], bytes]] | None = None

    @property
    def phase(self) -> Phase:
        """The column of the transition table."""
        if self.established:
            return _PHASES[ESTABLISHED]
        return _PHASES[self.next_nonce if self.next_nonce < RUNNING else RUNNING]

    @property
    def state(self) -> SessionState:
        """The state as cjdns names it."""
        if self.established:
            return SessionState.ESTABLISHED
        return SessionState(min(self.next_nonce, SessionState.RECEIVED_KEY))

    def make_handshake(self, peer: Peer, payload: bytes, random: Random) -> bytes:
        """Return the next handshake packet (`next_nonce` is below 4) with a payload, and go on to the next state.

        Draws 36 random bytes (filler of the authentication field, nonce of the box) and, when the packet is no repeat,
        32 more for a new temporary key. A repeat sends the same temporary key again.

        Raises
        ------
        CjdnsMisuseError
            If the peer's key is not known.
        SmallOrderError
            If it is a point of small order.
        """
        kind = self.next_nonce
        hello = kind < RECEIVED_HELLO
        to = peer.key
        if to is None:
            raise peer.unknown()
        mine = peer.credentials
        password_secret = None if mine is None else mine.secret
        if hello:
            secret = peer.pair_with(to).get(peer.private, to, password_secret)
        else:
            secret = self.pair.get(peer.private, self.peer_temporary, password_secret)
        repeat = kind & 1
        noise = drawn(random, 36 if repeat else 68)
        if not repeat:
            private = noise[36:]
            self.temporary_public = sodium.public_key(private)
            self.temporary[:] = private
        self.initiator = hello
        if mine is not None:
            self.authenticated = True
        self.next_nonce = SENT_HELLO if hello else SENT_KEY
        return handshake.seal(
            kind, peer.auth_field(noise), noise[12:36], peer.own, self.temporary_public, payload, secret
        )

    def adopt(self, peer_temporary: bytes, authenticated: bool) -> None:
        """Take the peer's temporary key from its key packet, and whether data packets are to carry authenticators.

        Raises
        ------
        SmallOrderError
            If the key is a point of small order; nothing is changed then.
        """
        authenticated = authenticated or self.authenticated
        if peer_temporary != self.peer_temporary or authenticated != self.authenticated:
            secret = plain_secret(bytes(self.temporary), peer_temporary)
            if self._made is not None:
                self._forget_cipher()
            self._made = DataCipher(secret, initiator=True, authenticated=authenticated)
        self.peer_temporary = peer_temporary
        self.authenticated = authenticated

    def data_cipher(self) -> DataCipher:
        """Return the cipher of the data phase; both temporary keys must be known. Computed once."""
        made = self._made
        if made is None:
            secret = plain_secret(bytes(self.temporary), self.peer_temporary)
            made = self._made = DataCipher(secret, initiator=self.initiator, authenticated=self.authenticated)
        return made

    def start(self) -> DataCipher:
        """Begin the data phase: we send data."""
        cipher = self.cipher = self.data_cipher()
        self.sealing = cipher.sealing
        return cipher

    def establish(self, nonce: int) -> None:
        """Count the peer's first data packet, which had this nonce, as decrypted."""
        cipher = self.cipher = self.data_cipher()
        self.sealing, self.opening = cipher.sealing, cipher.opening
        self.established = True
        self.next_nonce += 3
        self.window.restart(nonce + 1)

    def wipe(self) -> None:
        """Overwrite every secret of the exchange, which cannot be used afterwards."""
        wipe(self.temporary)
        self.pair.wipe()
        self._forget_cipher()

    def _forget_cipher(self) -> None:
        if self._made is not None:
            self._made.wipe()
        self._made = self.cipher = self.sealing = self.opening = None
