# SPDX-License-Identifier: Apache-2.0
"""Hellos that come to a session which needs none: how a replayed one is kept from doing harm.

**The fault.** In cjdns v21.1 an authentic hello restarts a session in whatever state it is, because the peer may have
lost its own. But a hello proves only that the peer made it at some time: it carries nothing of ours that is fresh. One
that was recorded years ago, sent again by anybody, ends a live session; the true peer knows nothing of it, and both
talk past each other until a timer runs out (10 or 60 seconds). Every recording can be used again and again.

**The cure.** From SENT_KEY on, a session does not give up what it has. It opens a *pending* handshake beside it, and
answers the hello with exactly one key packet, in place of the next packet it would have sent. What proves that the
peer is alive is its first data packet under the pending secret, which mixes in a temporary key that we drew just now;
that packet promotes the pending handshake to be the session, and the old secrets are wiped.

- A peer that did restart gets its key packet with our next packet and is connected with its own next one, as with C.
  What we sent of the old session in between is lost, as with C. But a C node in want of its last step (fault 1 at the
  head of `prestocloud_sec.cjdns.cryptoauth.session`) has moved its replay window behind each such packet that came;
  the promoted session therefore goes on counting where the old one stopped, or its first packet would be lost too.
- A replayed hello costs one payload, the one that went into the key packet, which the true peer refuses (it is
  established, or its temporary key is another). The session stays.

Every further hello of the pending handshake (a repeat, since the peer goes on sending those until it gets a key) earns
one more key packet. There is one pending handshake; a hello with another temporary key replaces it; 10 seconds after
its last hello it is given up.

**What is remembered**, in tables of 256 that forget the oldest:

- the box nonces of accepted hellos: the same packet is never accepted twice, so a recording costs one payload in all,
  not one each time. Genuine repeats have fresh nonces and are never caught by this;
- temporary keys of the peer that have completed a handshake with us: a peer that got that far never says hello with
  that key again, so whatever does is a recording;
- our own temporary keys: a hello is sealed with a secret that is the same in both directions and names its sender only
  in clear, so our own one, sent back with the peer's key written into it, would authenticate.

A table in memory ends with the process. A restarted node accepts one payload of each recorded hello again, and its own
recorded ones turned around; that is how the protocol is (PrEstoCloud deliverable, 3.3: handshake traffic "is not secure
against replay attacks"). No session comes of it.

Where data packets carry no authenticator (``authenticate=False``), nothing can be proved by one; such sessions take
hellos as C does.
"""

from __future__ import annotations

from prestocloud_sec.cjdns.cryptoauth.exchange import Exchange
from prestocloud_sec.cjdns.errors import InvalidHandshakeError

__all__ = ["PENDING_SECONDS", "HelloGuard", "Memory", "Pending", "remember"]

PENDING_SECONDS = 10.0
"""How long after its last hello a pending handshake is kept."""

REMEMBERED = 256
"""Nonces and keys remembered of each kind."""


class Pending:
    """A handshake beside a live session, of which we are the responder.

    Attributes
    ----------
    exchange : Exchange
        In RECEIVED_HELLO or SENT_KEY.
    owed : bool
        Whether the peer's latest hello is still to be answered.
    until : float
        When it is given up, in seconds.
    beside : int
        The nonce that the live session had come to when this began.
    """

    __slots__ = ("beside", "exchange", "owed", "until")

    def __init__(self, exchange: Exchange, now: float, beside: int) -> None:
        self.exchange = exchange
        self.beside = beside
        self.hear(now)

    def hear(self, now: float) -> None:
        """Owe an answer to a hello of this handshake, which came now."""
        self.owed = True
        self.until = now + PENDING_SECONDS


Memory = dict[bytes, None]
"""A set that knows its oldest member; `remember` adds to it."""


def remember(seen: Memory, item: bytes) -> None:
    """Add `item`, and forget the oldest member if there are more than `REMEMBERED`."""
    seen[item] = None
    if len(seen) > REMEMBERED:
        del seen[next(iter(seen))]


class HelloGuard:
    """Tells fresh hellos from recordings as far as memory reaches.

    Attributes
    ----------
    accepted : Memory
        Box nonces of hellos that were accepted (24 bytes each).
    spent : Memory
        The peer's temporary keys that completed a handshake (32 bytes each).
    own : Memory
        Temporary public keys that we sent (32 bytes each).
    """

    __slots__ = ("accepted", "own", "spent")

    def __init__(self) -> None:
        self.accepted: Memory = {}
        self.spent: Memory = {}
        self.own: Memory = {}

    def check(self, nonce: bytes, temporary_key: bytes) -> None:
        """Refuse a hello that is known to be a recording.

        Raises
        ------
        InvalidHandshakeError
            If the packet was accepted before, its temporary key is spent, or it is our own.
        """
        if nonce in self.accepted:
            what = "this very packet was accepted before"
        elif temporary_key in self.spent:
            what = "its temporary key has completed a handshake already"
        elif temporary_key in self.own:
            what = "its temporary key is one of ours: somebody sent our hello back"
        else:
            return
        raise InvalidHandshakeError(what, where="hello", hint="a recording or a duplicate: drop it")
