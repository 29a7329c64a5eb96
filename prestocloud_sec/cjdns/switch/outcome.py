# SPDX-License-Identifier: Apache-2.0
"""What becomes of a packet in a switch, the error packet it may be answered with, and how outcomes are counted.

The rules are those of cjdns v21.1, ``switch/SwitchCore.c``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, TypeAlias

from prestocloud_sec.cjdns.constants import CONTROL_HANDLE, ErrorType
from prestocloud_sec.cjdns.control import Error
from prestocloud_sec.cjdns.errors import CjdnsMisuseError
from prestocloud_sec.cjdns.headers import SwitchHeader
from prestocloud_sec.cjdns.switch.label import bit_reverse_64
from prestocloud_sec.wire import whole

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = [
    "LEAST_REPORTED",
    "Drop",
    "DropReason",
    "ErrorReply",
    "Forward",
    "InterfaceState",
    "Outcome",
    "SwitchCounters",
    "error_packet",
]

LEAST_REPORTED = 16
"""Fewest bytes of a packet that an error is sent for: its header and the handle after it."""


class DropReason(IntEnum):
    """Why a packet went nowhere and nobody was told. Negative, so that batches can write it where errors stand."""

    RUNT = -1
    """It is shorter than a switch header."""
    SHIFT_OVERFLOW = -2
    """Its label shift would pass 63: it has used up more than a label."""
    ERRORS_SUPPRESSED = -3
    """It was refused, and its header asks for no errors."""
    CAUSE_TOO_SHORT = -4
    """It was refused, and has fewer than 16 bytes, too few for its sender to know it again."""


class InterfaceState(IntEnum):
    """What an interface's number stands for."""

    ABSENT = 0
    UP = 1
    DOWN = 2


@dataclass(frozen=True, slots=True)
class Forward:
    """The packet goes on: `packet`, its header rewritten, out of `interface` (1 is the router)."""

    interface: int
    packet: bytes


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """The packet is refused for the reason `error`: `packet`, an error packet, goes back into `interface`."""

    interface: int
    packet: bytes
    error: ErrorType


@dataclass(frozen=True, slots=True)
class Drop:
    """The packet is gone."""

    reason: DropReason


Outcome: TypeAlias = Forward | ErrorReply | Drop
"""What became of a packet."""


@dataclass(frozen=True, slots=True)
class SwitchCounters:
    """How many packets had which outcome, since the switch was made.

    Attributes
    ----------
    forwarded : int
        Packets that went on, to the router too.
    errors : mapping of ErrorType to int
        Packets answered with an error packet.
    drops : mapping of DropReason to int
        Packets that went nowhere.
    """

    forwarded: int
    errors: Mapping[ErrorType, int]
    drops: Mapping[DropReason, int]

    def __post_init__(self) -> None:
        whole(self.forwarded, "SwitchCounters.forwarded", error=CjdnsMisuseError)
        for name, counts in (("errors", self.errors), ("drops", self.drops)):
            if not isinstance(counts, Mapping) or not all(isinstance(count, int) for count in counts.values()):
                raise CjdnsMisuseError("no counts", where=f"SwitchCounters.{name}", expected="a mapping to int")

    @property
    def total(self) -> int:
        """All packets."""
        return self.forwarded + sum(self.errors.values()) + sum(self.drops.values())


def error_packet(cause: BytesLike, error: ErrorType) -> bytes:
    """Build the packet that tells a sender why a switch refused its packet.

    Parameters
    ----------
    cause : bytes-like
        The refused packet as it came in, switch header first; its first 256 bytes go into the error.
    error : ErrorType
        The reason.

    Returns
    -------
    bytes
        Switch header (the cause's label bit-reversed, errors suppressed), then the error control frame.

    Raises
    ------
    HeaderError
        If `cause` is shorter than 16 bytes: the switch drops that without a word.
    CjdnsMisuseError
        If `cause` is not bytes-like, or `error` not a number of 32 bits.
    """
    refusal = Error.about(error, cause)
    back = SwitchHeader(bit_reverse_64(refusal.cause.label), congestion=1, suppress_errors=True)
    return b"".join((back.encode(), CONTROL_HANDLE.to_bytes(4, "big"), refusal.encode()))
