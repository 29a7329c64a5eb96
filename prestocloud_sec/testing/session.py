# SPDX-License-Identifier: Apache-2.0
"""Looking into CryptoAuth sessions, and what tests throw at them."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from prestocloud_sec.cjdns.cryptoauth import AuthField, HandshakeHeader, Session
from prestocloud_sec.cjdns.cryptoauth.exchange import Exchange
from prestocloud_sec.cjdns.keys import PrivateKey

__all__ = [
    "Clock",
    "ExchangeState",
    "SeededRandom",
    "SessionPair",
    "SessionSnapshot",
    "auth_fields",
    "damaged",
    "handshake_headers",
    "node_key",
    "node_keys",
    "payloads",
    "snapshot",
    "state_of",
]


@dataclass(frozen=True, slots=True, repr=False)
class ExchangeState:
    """All that an `Exchange` is. Holds secrets, and therefore prints nothing.

    Attributes
    ----------
    next_nonce, initiator, established, authenticated
        As in `Exchange`.
    temporary, temporary_public, peer_temporary : bytes, 32 bytes each
        Zero where unknown.
    secret : bytes, 32 bytes
        Of the data phase, zero before it has begun.
    base, bits : int
        The replay window.
    user : bytes
        The login of the peer, empty if it has none.
    """

    next_nonce: int
    initiator: bool
    established: bool
    authenticated: bool
    temporary: bytes
    temporary_public: bytes
    peer_temporary: bytes
    secret: bytes
    base: int
    bits: int
    user: bytes


@dataclass(frozen=True, slots=True, repr=False)
class SessionSnapshot:
    """All that a session remembers, but for its statistics and what it can compute again."""

    live: ExchangeState
    pending: ExchangeState | None
    owed: bool
    until: float
    heard: float
    peer_key: bytes | None
    provisional: bool
    accepted: tuple[bytes, ...]
    spent: tuple[bytes, ...]
    own: tuple[bytes, ...]


def _exchange_state(exchange: Exchange) -> ExchangeState:
    cipher = exchange.cipher
    return ExchangeState(
        exchange.next_nonce,
        exchange.initiator,
        exchange.established,
        exchange.authenticated,
        bytes(exchange.temporary),
        exchange.temporary_public,
        exchange.peer_temporary,
        bytes(32) if cipher is None else bytes(cipher._key),
        exchange.window.base,
        exchange.window.bits,
        b"" if exchange.user is None else exchange.user.login,
    )


def state_of(session: Session) -> ExchangeState:
    """Return the state of the live exchange of a session, secrets included."""
    return _exchange_state(session._live)


def snapshot(session: Session) -> SessionSnapshot:
    """Return all that a session remembers; two snapshots are equal if nothing that matters has changed between them."""
    pending, guard, peer = session._pending, session._guard, session._peer
    return SessionSnapshot(
        _exchange_state(session._live),
        None if pending is None else _exchange_state(pending.exchange),
        pending is not None and pending.owed,
        0.0 if pending is None else pending.until,
        session._heard,
        peer.key,
        peer.provisional,
        tuple(guard.accepted),
        tuple(guard.spent),
        tuple(guard.own),
    )


class SeededRandom:
    """A repeatable source of "random" bytes for tests; two with different seeds give different bytes.

    >>> SeededRandom("a")(4) == SeededRandom("a")(4) != SeededRandom("b")(4)
    True
    """

    def __init__(self, seed: object) -> None:
        self._seed = repr(seed).encode()
        self._count = 0

    def __call__(self, size: int) -> bytes:
        """Return the next `size` bytes."""
        self._count += 1
        return hashlib.shake_256(self._seed + b"/%d" % self._count).digest(size)


class Clock:
    """A clock that stands still until somebody moves it."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Move on."""
        self.now += seconds


@functools.cache
def node_key(number: int) -> PrivateKey:
    """Return the private key of test node `number`; its public key gives an address."""
    return PrivateKey.generate(random=SeededRandom(("node", number)))


def node_keys() -> st.SearchStrategy[PrivateKey]:
    """Return private keys of eight test nodes."""
    return st.integers(0, 7).map(node_key)


def payloads(max_size: int = 256) -> st.SearchStrategy[bytes]:
    """Return payloads from empty to `max_size` bytes."""
    return st.binary(max_size=max_size)


def auth_fields() -> st.SearchStrategy[AuthField]:
    """Return authentication fields, those that no receiver accepts included."""
    return st.builds(
        AuthField,
        st.one_of(st.integers(0, 2), st.integers(0, 255)),
        st.binary(min_size=7, max_size=7),
        st.integers(0, 0xFFFF),
        st.booleans(),
        st.integers(0, 0x7FFF),
    )


def handshake_headers() -> st.SearchStrategy[HandshakeHeader]:
    """Return handshake headers of any kind, with bytes that need not authenticate."""
    sizes = [st.binary(min_size=size, max_size=size) for size in (24, 32, 16, 32)]
    return st.builds(HandshakeHeader, st.one_of(st.integers(0, 5), st.integers(0, 0xFFFFFFFF)), auth_fields(), *sizes)


@st.composite
def damaged(draw: st.DrawFn, packet: bytes) -> bytes:
    """Return `packet` with bits flipped, its end cut off, bytes added, or a part overwritten; never as it was."""
    how = draw(st.sampled_from(("flip", "cut", "add", "overwrite")))
    if how == "flip":
        changed = bytearray(packet)
        for at in draw(st.sets(st.integers(0, 8 * len(packet) - 1), min_size=1, max_size=4)):
            changed[at // 8] ^= 1 << at % 8
        return bytes(changed)
    if how == "cut":
        return packet[: draw(st.integers(0, len(packet) - 1))]
    if how == "add":
        return packet + draw(st.binary(min_size=1, max_size=32))
    at = draw(st.integers(0, len(packet) - 1))
    other = packet[:at] + draw(st.binary(min_size=1, max_size=48)) + packet[at + 48 :]
    return other if other != packet else packet + b"\0"


@dataclass(slots=True)
class SessionPair:
    """Two sessions with each other's keys, one clock, and repeatable randomness.

    Attributes
    ----------
    a, b : Session
        The ends.
    clock : Clock
        What both go by.
    """

    a: Session
    b: Session
    clock: Clock

    @classmethod
    def make(cls, a: Mapping[str, Any] | None = None, b: Mapping[str, Any] | None = None, **both: Any) -> SessionPair:
        """Make two sessions between test nodes 0 and 1; `a` and `b` are arguments of one side, `both` of both."""
        clock = Clock()
        keys = node_key(0), node_key(1)
        sides = []
        for mine, other, extra in ((0, 1, a), (1, 0, b)):
            settings = {"peer_key": keys[other].public, "random": SeededRandom(mine), **both, **(extra or {})}
            sides.append(Session(keys[mine], clock=clock, **settings))
        first, second = sides
        return cls(first, second, clock)

    def establish(self) -> SessionPair:
        """Make the whole handshake, with `a` as the initiator."""
        for sender, receiver in ((self.a, self.b), (self.b, self.a), (self.a, self.b), (self.b, self.a)):
            receiver.decrypt(sender.encrypt(b""))
        return self
