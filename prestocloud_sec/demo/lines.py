# SPDX-License-Identifier: Apache-2.0
"""How the demo's processes talk to the one that started them: one JSON object a line, orders in, events out.

A process ends when its standard input does, so that none outlives the run that started it.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

__all__ = ["Lines", "LoopbackPoll", "bind_loopback", "emit"]


def emit(event: str, **data: Any) -> None:
    """Write one event to standard output."""
    sys.stdout.write(json.dumps({"event": event, **data}, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def bind_loopback() -> socket.socket:
    """Return a non-blocking UDP socket on a free port of 127.0.0.1, with room for a burst."""
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    udp.bind(("127.0.0.1", 0))
    udp.setblocking(False)
    return udp


class Lines:
    """Orders from standard input, read without blocking."""

    def __init__(self, descriptor: int = 0) -> None:
        self.descriptor = descriptor
        self._rest = b""
        self.ended = False

    def read(self) -> Iterator[Mapping[str, Any]]:
        """Yield the orders that have arrived; set `ended` at the end of the input."""
        chunk = os.read(self.descriptor, 65536)
        if not chunk:
            self.ended = True
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        for line in whole:
            yield json.loads(line)


class LoopbackPoll:
    """Waits for orders and datagrams together."""

    def __init__(self, on_order: Callable[[Mapping[str, Any]], None]) -> None:
        self._lines = Lines()
        self._on_order = on_order
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._lines.descriptor, selectors.EVENT_READ, None)

    def listen(self, udp: socket.socket, on_datagram: Callable[[bytes, tuple[str, int]], None]) -> None:
        """Call `on_datagram` with each datagram that comes to `udp`."""
        self._selector.register(udp, selectors.EVENT_READ, (udp, on_datagram))

    def wait(self, seconds: float) -> bool:
        """Handle whatever comes within `seconds`; False once the orders have ended."""
        for key, _ in self._selector.select(seconds):
            if key.data is None:
                for order in self._lines.read():
                    self._on_order(order)
                continue
            udp, on_datagram = key.data
            for _ in range(256):  # a burst, then a look at the others
                try:
                    datagram, source = udp.recvfrom(65536)
                except BlockingIOError:
                    break
                on_datagram(datagram, source)
        return not self._lines.ended
