# SPDX-License-Identifier: Apache-2.0
"""What a session holds: settings, exchanges, counts and clocks; how it is made, looked at, reset and closed.

`SessionCore` is the lower half of `prestocloud_sec.cjdns.cryptoauth.session.Session`, without the protocol: nothing
here reads or makes a packet.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from prestocloud_sec.cjdns.cryptoauth.auth import Credentials
from prestocloud_sec.cjdns.cryptoauth.exchange import INIT, SENT_HELLO, Exchange, SessionState
from prestocloud_sec.cjdns.cryptoauth.handshake import FIRST_DATA_NONCE, HANDSHAKE_SIZE
from prestocloud_sec.cjdns.cryptoauth.peer import Peer
from prestocloud_sec.cjdns.cryptoauth.pending import HelloGuard, Pending
from prestocloud_sec.cjdns.cryptoauth.profiles import Profile, profile_of
from prestocloud_sec.cjdns.cryptoauth.secrets import KeepsSecrets
from prestocloud_sec.cjdns.cryptoauth.statistics import COUNTED, Counters, Statistics
from prestocloud_sec.cjdns.cryptoauth.users import User, Users
from prestocloud_sec.cjdns.errors import CjdnsError, CjdnsMisuseError
from prestocloud_sec.cjdns.keys import PrivateKey, PublicKey, drawn
from prestocloud_sec.wire import shown, whole

if TYPE_CHECKING:
    from typing import Self

    from prestocloud_sec.wire import BytesLike

__all__ = ["DEFAULT_MAX_DERIVATIONS", "FOREVER", "NONCES_EXHAUSTED", "SESSION_SECONDS", "SETUP_SECONDS", "SessionCore"]

SETUP_SECONDS = 10.0
"""A handshake without data from the peer is given up after this time."""

SESSION_SECONDS = 60.0
"""An established session without data from the peer is given up after this time."""

NONCES_EXHAUSTED = 0xFFFFFFF0
"""A session whose next nonce is this or more starts over."""

FOREVER = float("inf")
"""Later than any time."""

DEFAULT_MAX_DERIVATIONS = 4096
"""Rounds of SHA-256 that a packet can make us do at most (some milliseconds)."""


class SessionCore(KeepsSecrets):
    """The state of a session, and everything about it that is not the handling of a packet; see `Session`."""

    __slots__ = (
        "__weakref__",
        "_authenticate",
        "_clock",
        "_counters",
        "_guard",
        "_heard",
        "_live",
        "_now",
        "_parks",
        "_peer",
        "_pending",
        "_quirks",
        "_random",
        "_retired",
    )

    def __init__(
        self,
        private_key: PrivateKey,
        *,
        peer_key: PublicKey | None = None,
        users: Users | None = None,
        require_auth: bool = False,
        password: BytesLike | None = None,
        login: BytesLike | None = None,
        profile: str = "cjdns",
        quirks: bool = False,
        authenticate: bool = True,
        derivations: int = 0,
        max_derivations: int = DEFAULT_MAX_DERIVATIONS,
        random: Callable[[int], bytes] = os.urandom,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not isinstance(private_key, PrivateKey):
            raise _wrong_type("private_key", private_key, "PrivateKey")
        if peer_key is not None and not isinstance(peer_key, PublicKey):
            raise _wrong_type("peer_key", peer_key, "PublicKey")
        if users is not None and not isinstance(users, Users):
            raise _wrong_type("users", users, "Users")
        if not callable(random) or not callable(clock):
            raise _wrong_type("clock" if callable(random) else "random", None, "a callable")
        if type(max_derivations) is not int:
            raise _wrong_type("max_derivations", max_derivations, "int")
        variant = profile_of(profile)
        if not authenticate and not variant.plain_data:
            raise CjdnsMisuseError("packets always carry authenticators", where="authenticate", expected="True")
        self._authenticate = authenticate
        self._quirks = quirks
        self._parks = authenticate and not quirks
        self._random = random
        self._clock = clock
        self._now = clock if clock is time.monotonic else self._foreign_time
        self._peer = Peer(
            private_key,
            peer_key,
            users,
            require_auth=require_auth,
            profile=variant,
            authenticate=authenticate,
            quirks=quirks,
            max_derivations=max_derivations,
        )
        self._guard = HelloGuard()
        self._counters = Counters()
        self._retired = (0, 0, 0)
        self._pending: Pending | None = None
        self._live = Exchange(authenticated=authenticate)
        self._peer.credentials = _credentials(password, login, derivations, variant)
        self._heard = self._now()

    # --- what a caller sees

    @property
    def state(self) -> SessionState:
        """The state as cjdns names it."""
        return self._live.state

    @property
    def established(self) -> bool:
        """Whether a data packet of the peer was decrypted since the last reset."""
        return self._live.established

    @property
    def initiator(self) -> bool:
        """Whether we said hello (and the peer did not overrule it)."""
        return self._live.initiator

    @property
    def peer_key(self) -> PublicKey | None:
        """The peer's permanent key, or None while it is not known."""
        return None if self._peer.key is None else PublicKey(self._peer.key)

    @property
    def user(self) -> User | None:
        """The user that the peer authenticated as in the handshake of this session."""
        return self._live.user

    @property
    def statistics(self) -> Statistics:
        """What was counted until now."""
        counted = {name: getattr(self._counters, name) for name in COUNTED}
        window = self._live.window
        duplicates, lost, out_of_range = self._retired
        return Statistics(
            **counted,
            refused=dict(self._counters.refused),
            duplicates=duplicates + window.duplicates,
            lost=lost + window.lost,
            out_of_range=out_of_range + window.out_of_range,
        )

    @property
    def overhead(self) -> int:
        """Bytes that the next packet adds to its payload: 120 in the handshake, then 20 (or 4 without authenticators).

        As things stand; if a timer runs out before the packet is made, it is 120 again.
        """
        if self._live.next_nonce < FIRST_DATA_NONCE or (self._pending is not None and self._pending.owed):
            return HANDSHAKE_SIZE
        return self._live.data_cipher().overhead

    def mtu(self, link: int) -> int:
        """Return the longest payload whose packet fits a link that carries packets of `link` bytes, as things stand.

        Raises
        ------
        CjdnsMisuseError
            If `link` is not an integer.
        """
        return max(0, whole(link, "link", None, error=CjdnsMisuseError) - self.overhead)

    def __repr__(self) -> str:
        peer = "unknown peer" if self._peer.key is None else PublicKey(self._peer.key).hex
        return f"<Session {self.state.name} with {peer}>"

    # --- resets and timers

    def reset(self, now: float | None = None) -> None:
        """Give up the session: the next packet is a hello. Temporary keys and secrets are wiped."""
        self._reset(self._time(now))

    def reset_if_timeout(self, now: float | None = None) -> bool:
        """Reset if no data came for 10 s (60 s if established), and return whether that gave anything up.

        Never in SENT_HELLO. `encrypt` does this by itself.
        """
        return self._time_out(self._time(now))

    def _time_out(self, at: float) -> bool:
        idle = at - self._heard
        live = self._live
        if idle < SETUP_SECONDS or (idle < SESSION_SECONDS and live.established) or live.next_nonce == SENT_HELLO:
            return False
        lost = live.next_nonce != INIT
        self._counters.timeouts += lost
        self._reset(at)
        self._heard = at
        return lost

    def set_auth(
        self,
        password: BytesLike | None,
        login: BytesLike | None = None,
        now: float | None = None,
        *,
        derivations: int = 0,
    ) -> None:
        """Set what we tell the peer, or with None that we tell nothing; resets if that is a change.

        Raises
        ------
        CjdnsMisuseError
            If there is a login but no password, or an argument is of the wrong type.
        """
        at = self._time(now)
        peer = self._peer
        old, new = peer.credentials, _credentials(password, login, derivations, peer.profile)
        same = old == new
        if self._quirks and old is not None and new is not None:
            same = old.secret == new.secret  # C looks at the password alone, and keeps the old login
        if not same:
            peer.credentials = new
            self._reset(at)

    def close(self) -> None:
        """Wipe every secret of the session, which can then only be thrown away or, with its peer's key, start over.

        A ``with`` statement does it at its end.
        """
        self._reset(self._heard)  # not now: a clock that fails shall not keep secrets alive
        self._peer.wipe()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.close()

    def _reset(self, now: float) -> None:
        if self._live.next_nonce:
            self._counters.resets += 1
        self._drop_pending()
        self._replace(Exchange(authenticated=self._authenticate))
        self._peer.forget_unproven()
        if not self._quirks:  # count the 10 s of a handshake from here (C does not)
            self._heard = now

    def _expire(self, now: float) -> None:
        """Give up the pending handshake if its time has run out."""
        if self._pending is not None and now >= self._pending.until:
            self._counters.pending_expired += 1
            self._drop_pending()

    def _drop_pending(self) -> None:
        if self._pending is not None:
            self._pending.exchange.wipe()
            self._pending = None

    def _replace(self, exchange: Exchange) -> None:
        """Put another exchange in the place of the live one, whose secrets are wiped."""
        window = self._live.window
        duplicates, lost, out_of_range = self._retired
        self._retired = (duplicates + window.duplicates, lost + window.lost, out_of_range + window.out_of_range)
        self._live.wipe()
        self._live = exchange

    # --- small change

    def _foreign_time(self) -> float:
        return self._checked(self._clock())

    def _time(self, now: float | None) -> float:
        return self._now() if now is None else self._checked(now)

    @staticmethod
    def _checked(at: float) -> float:
        if (type(at) is not float and not isinstance(at, int)) or not -FOREVER < at < FOREVER:
            raise CjdnsMisuseError(f"{shown(at)} is no time", where="now", expected="seconds")
        try:
            return float(at)
        except OverflowError as error:
            raise CjdnsMisuseError(f"{shown(at)} is no time", where="now", expected="seconds") from error

    def _draw(self, size: int) -> bytes:
        return drawn(self._random, size)

    def _count_out(self, packet: bytes) -> None:
        self._counters.packets_out += 1
        self._counters.bytes_out += len(packet)

    def _refusal(self, error: CjdnsError) -> CjdnsError:
        refused = self._counters.refused
        name = type(error).__name__
        refused[name] = refused.get(name, 0) + 1
        return error


def _wrong_type(name: str, value: object, expected: str) -> CjdnsMisuseError:
    return CjdnsMisuseError(f"{type(value).__name__}", where=name, expected=expected)


def _credentials(
    password: BytesLike | None, login: BytesLike | None, derivations: int, profile: Profile
) -> Credentials | None:
    if not isinstance(derivations, int) or (derivations and not profile.derivations):
        raise CjdnsMisuseError(shown(derivations), where="derivations", expected="0 in this profile")
    if password is not None:
        return Credentials.of(password, login, derivations=derivations)
    if login is not None or derivations:
        raise CjdnsMisuseError("no password", where="password", expected="one to go with the login or derivations")
    return None
