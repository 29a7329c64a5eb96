# SPDX-License-Identifier: Apache-2.0
"""Looking into CryptoAuth sessions, and what tests throw at them."""

from __future__ import annotations

from dataclasses import dataclass

from prestocloud_sec.cjdns.cryptoauth.exchange import Exchange
from prestocloud_sec.cjdns.cryptoauth.session import Session

__all__ = ["ExchangeState", "SessionSnapshot", "snapshot", "state_of"]


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
