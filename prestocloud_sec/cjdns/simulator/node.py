# SPDX-License-Identifier: Apache-2.0
"""One node of a simulated network: who it is, its router, and what it sent."""

from __future__ import annotations

from collections.abc import Callable

from prestocloud_sec.cjdns.keys import Address, PublicKey
from prestocloud_sec.cjdns.routing._checks import check_callable, check_type
from prestocloud_sec.cjdns.routing.router import Router

__all__ = ["SimulatedNode"]


class SimulatedNode:
    """One node of a simulated network.

    Attributes
    ----------
    number : int
        What the simulator calls it.
    key : PublicKey
    address : Address
    alive : bool
        False once it was removed.
    messages_sent, bytes_sent : int
        What it sent; bytes are counted only where the simulator encodes messages (``wire=True``).
    tick_at : float
        When it next does something on its own; infinity for never.
    """

    __slots__ = ("_make", "_router", "address", "alive", "bytes_sent", "key", "messages_sent", "number", "tick_at")

    def __init__(self, number: int, key: PublicKey, address: Address, make: Callable[[SimulatedNode], Router]) -> None:
        check_type(number, int, "number")
        check_type(key, PublicKey, "key")
        check_type(address, Address, "address")
        check_callable(make, "make")
        self.number = number
        self.key = key
        self.address = address
        self.alive = True
        self.messages_sent = 0
        self.bytes_sent = 0
        self.tick_at = float("inf")
        self._make = make
        self._router: Router | None = None

    def forget(self) -> None:
        """Drop its router and what that learnt; a new one is made when it is next used (filled, in a warm network)."""
        self._router = None
        self.tick_at = float("inf")

    @property
    def made(self) -> bool:
        """Whether its router has been used yet."""
        return self._router is not None

    @property
    def router(self) -> Router:
        """Its router, with its table; made when it is first used."""
        if self._router is None:
            self._router = self._make(self)
        return self._router
