# SPDX-License-Identifier: Apache-2.0
"""The fourth process: it carries every datagram of the demo between the stations, and reads what it can.

``python -m prestocloud_sec.demo.wire``. For each link it holds two sockets on loopback, one towards each end; what
comes in at one leaves from the other, unchanged. It has no key. What it can tell is what any eavesdropper on the
links can: sizes, the first four bytes (kind of handshake packet, or nonce), and in handshake packets the permanent
public key of the sender. It also looks for the markers it is told, which are plain text of the capture; finding one
would mean that cjdns leaks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from prestocloud_sec.cjdns.cryptoauth import HANDSHAKE_SIZE
from prestocloud_sec.cjdns.keys import PublicKey
from prestocloud_sec.cjdns.layers import packet_kind
from prestocloud_sec.demo.lines import LoopbackPoll, bind_loopback, emit, main_loop, member
from prestocloud_sec.errors import InputError
from prestocloud_sec.wire import whole

__all__ = ["Eavesdropper", "main"]

_SHOW_OF_EACH_KIND = 2


class Eavesdropper:
    """Counts and classifies datagrams as somebody without keys can."""

    def __init__(self, markers: list[bytes]) -> None:
        self.markers = markers
        self.datagrams = 0
        self.bytes = 0
        self.kinds: dict[str, int] = {}
        self.keys: set[str] = set()
        self.found = 0
        self._shown: dict[tuple[str, str], int] = {}

    def overhear(self, way: str, datagram: bytes) -> dict[str, Any] | None:
        """Note a datagram; return what to show of it, for the first few of each kind and way."""
        self.datagrams += 1
        self.bytes += len(datagram)
        first = int.from_bytes(datagram[:4], "big")
        kind = packet_kind(datagram) if len(datagram) >= 20 else "runt"
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        self.found += sum(marker in datagram for marker in self.markers)
        readable = f"nonce {first}"
        if kind not in ("data", "runt") and len(datagram) >= HANDSHAKE_SIZE:
            key = PublicKey(datagram[40:72]).text
            self.keys.add(key)
            readable = f"permanent key {key[:8]}..."
        seen = self._shown.get((way, kind), 0)
        self._shown[way, kind] = seen + 1
        if seen >= _SHOW_OF_EACH_KIND:
            return None
        return {"way": way, "size": len(datagram), "kind": kind, "readable": readable, "bytes": datagram[:48].hex()}


class Wire:
    """The sockets of all links, and the eavesdropper on them."""

    def __init__(self) -> None:
        self.poll = LoopbackPoll(self.order)
        self.eavesdropper = Eavesdropper([])

    def order(self, order: Mapping[str, Any]) -> None:
        """``links`` lays the links, ``report`` asks for the totals; InputError for an order that cannot be read."""
        kind = member(order, "order", str)
        if kind == "links":
            self.eavesdropper.markers = [_marker(marker) for marker in member(order, "markers", list)]
            emit("ready", links=[self._lay(link) for link in member(order, "links", list)])
        elif kind == "report":
            ear = self.eavesdropper
            emit(
                "report",
                datagrams=ear.datagrams,
                bytes=ear.bytes,
                kinds=ear.kinds,
                keys=sorted(ear.keys),
                markers=len(ear.markers),
                found=ear.found,
            )

    def _lay(self, link: Mapping[str, Any]) -> list[int]:
        ends = member(link, "ends", list)
        if len(ends) != 2 or not all(isinstance(end, list) and len(end) == 2 for end in ends):
            raise InputError("not two ends", where="order, ends", expected="a name and a port for each of two")
        (name_a, port_a), (name_b, port_b) = ends
        port_a, port_b = (whole(port, "order, port", 1, 0xFFFF) for port in (port_a, port_b))
        socket_a, socket_b = bind_loopback(), bind_loopback()

        def carry(way: str, out: Any, port: int, from_port: int) -> Callable[[bytes, tuple[str, int]], None]:
            def forward(datagram: bytes, source: tuple[str, int]) -> None:
                if source[1] != from_port:
                    return
                shown = self.eavesdropper.overhear(way, datagram)
                out.sendto(datagram, ("127.0.0.1", port))
                if shown is not None:
                    emit("overheard", **shown)

            return forward

        self.poll.listen(socket_a, carry(f"{name_a} -> {name_b}", socket_b, port_b, port_a))
        self.poll.listen(socket_b, carry(f"{name_b} -> {name_a}", socket_a, port_a, port_b))
        return [socket_a.getsockname()[1], socket_b.getsockname()[1]]

    def run(self) -> None:
        """Carry datagrams until the orders end."""
        told = 0
        while self.poll.wait(0.05):
            ear = self.eavesdropper
            if ear.datagrams != told:
                told = ear.datagrams
                emit("counters", datagrams_in=told, datagrams_out=told, bytes_in=ear.bytes, bytes_out=ear.bytes)


def _marker(text: object) -> bytes:
    try:
        return bytes.fromhex(text)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise InputError("not hexadecimal", where="order, markers", expected="hexadecimal digits") from error


def main() -> None:
    """Run the wire."""
    main_loop("wire", lambda: Wire().run())


if __name__ == "__main__":
    main()
