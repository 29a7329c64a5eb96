# SPDX-License-Identifier: Apache-2.0
"""What a session counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["COUNTED", "Counters", "Statistics"]


COUNTED = (
    "packets_in",
    "packets_out",
    "bytes_in",
    "bytes_out",
    "handshakes_in",
    "handshakes_out",
    "sessions",
    "resets",
    "timeouts",
    "pending_expired",
    "pending_opened",
    "pending_promoted",
)
"""The numbers that `Counters` counts and `Statistics` shows."""


class Counters:
    """The running counts of a session; plain integers, because every packet adds to them."""

    # Slots and no defaults: where the class has a value of that name too, the interpreter looks in both places, always.
    __slots__ = (*COUNTED, "refused")

    def __init__(self) -> None:
        self.packets_in = self.packets_out = self.bytes_in = self.bytes_out = 0
        self.handshakes_in = self.handshakes_out = self.sessions = self.resets = self.timeouts = 0
        self.pending_expired = self.pending_opened = self.pending_promoted = 0
        self.refused: dict[str, int] = {}


@dataclass(frozen=True, slots=True)
class Statistics:
    """What a session has counted since it was made.

    Attributes
    ----------
    packets_in, bytes_in : int
        Packets accepted, handshakes included, and their bytes as they were on the wire.
    packets_out, bytes_out : int
        Packets made, handshakes included, and their bytes on the wire.
    handshakes_in, handshakes_out : int
        Of these, handshake packets.
    sessions : int
        Times a session was established.
    resets : int
        Times a session, established or not, was given up: by time-out, nonce exhaustion, a hello, or the caller.
    timeouts : int
        Of these, by time-out.
    pending_opened, pending_promoted, pending_expired : int
        Handshakes begun beside a live session; how many of them took its place, and how many ran out of time.
    refused : mapping of str to int
        Refused packets by the name of the error.
    duplicates, lost, out_of_range : int
        Counts of the replay windows: numbers seen twice, never seen, and too old to tell.
    """

    packets_in: int = 0
    bytes_in: int = 0
    packets_out: int = 0
    bytes_out: int = 0
    handshakes_in: int = 0
    handshakes_out: int = 0
    sessions: int = 0
    resets: int = 0
    timeouts: int = 0
    pending_opened: int = 0
    pending_promoted: int = 0
    pending_expired: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    duplicates: int = 0
    lost: int = 0
    out_of_range: int = 0
