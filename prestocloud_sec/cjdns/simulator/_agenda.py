# SPDX-License-Identifier: Apache-2.0
"""What is to happen, in order: the events of a simulation, and a hash over those that happened."""

from __future__ import annotations

import hashlib
import heapq
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from prestocloud_sec.cjdns.routing.messages import Query, Reply
    from prestocloud_sec.cjdns.switch import RouteLabel

    Content: TypeAlias = Query | Reply | bytes

__all__ = ["Agenda"]

_RECORD = struct.Struct("<dIIQ")


class Agenda:
    """Events ordered by time, those of one time in the order in which they were put in.

    An event is (time, node, source, label, message): a message from the node `source` arrives at `node`, with `label`
    as the route back; or, where label and message are None, the node has something to do on its own.
    """

    __slots__ = ("_hash", "_heap", "_put")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, int, int, RouteLabel | None, Content | None]] = []
        self._put = 0
        self._hash = hashlib.blake2b(digest_size=16)

    def put(
        self,
        time: float,
        node: int,
        source: int = 0,
        label: RouteLabel | None = None,
        message: Content | None = None,
    ) -> None:
        """Put an event in."""
        self._put += 1
        heapq.heappush(self._heap, (time, self._put, node, source, label, message))

    def due(self, until: float | None) -> bool:
        """Tell whether there is an event, no later than `until` where that is given."""
        return bool(self._heap) and (until is None or self._heap[0][0] <= until)

    def take(self) -> tuple[float, int, int, RouteLabel | None, Content | None]:
        """Take the next event out, and into the hash."""
        time, _, node, source, label, message = heapq.heappop(self._heap)
        self._hash.update(_RECORD.pack(time, node, source, label or 0))
        return time, node, source, label, message

    def drop(self, lost: Callable[[int, RouteLabel], bool]) -> int:
        """Take out the messages under way that `lost` picks by receiver and route back; return how many."""
        kept = [event for event in self._heap if event[4] is None or not lost(event[2], event[4])]
        dropped = len(self._heap) - len(kept)
        heapq.heapify(kept)
        self._heap = kept
        return dropped

    @property
    def trace(self) -> str:
        """A hash over all events taken so far: their times, places and labels."""
        return self._hash.hexdigest()
