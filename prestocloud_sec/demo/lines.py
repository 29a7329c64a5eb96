# SPDX-License-Identifier: Apache-2.0
"""How the demo's processes talk to the one that started them: one JSON object a line, orders in, events out.

A process ends when its standard input does, so that none outlives the run that started it. An order that cannot be read
ends it too, with `InputError`.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from prestocloud_sec.errors import InputError, PrestoCloudError

__all__ = ["Lines", "LoopbackPoll", "bind_loopback", "emit", "main_loop", "member"]

LONGEST = 1 << 20
"""Bytes of the longest order."""

T = TypeVar("T")


def emit(event: str, **data: Any) -> None:
    """Write one event to standard output."""
    sys.stdout.write(json.dumps({"event": event, **data}, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def member(order: object, name: str, kind: type[T]) -> T:
    """Return a member of an order, which is of that kind.

    Raises
    ------
    InputError
        If it is missing, or of another kind.
    """
    value = order.get(name) if isinstance(order, Mapping) else None
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise InputError(f"{type(value).__name__}", where=f"order, {name}", expected=kind.__name__)
    return value


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
        """Yield the orders that have arrived; set `ended` at the end of the input.

        Raises
        ------
        InputError
            If a line is too long, or is not a JSON object.
        """
        chunk = os.read(self.descriptor, 65536)
        if not chunk:
            self.ended = True
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > LONGEST:
            raise InputError("a line without an end", where="orders", expected=f"at most {LONGEST} bytes")
        for line in whole:
            try:
                order = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise InputError("a line that is not JSON", where="orders", expected="an object a line") from error
            if not isinstance(order, dict):
                raise InputError(f"{type(order).__name__}", where="orders", expected="an object a line")
            yield order


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


def main_loop(name: str, run: Callable[[], None]) -> None:
    """Run a process of the demo: an error ends it with one line, a reader of its events that went away with none."""
    try:
        run()
    except PrestoCloudError as error:
        sys.exit(f"{name}: {error}")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:  # orders from a file, which cannot be waited for; no socket left
        sys.exit(f"{name}: {error.strerror or error}")
