# SPDX-License-Identifier: Apache-2.0
"""The switch: forwarding by route labels, without state for connections and without cryptography.

`EncodingScheme` says how a switch writes interface numbers into labels, `RouteLabel` is a path and its algebra,
`Switch` forwards packets one at a time or in batches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestocloud_sec._lazy import lazy
from prestocloud_sec.cjdns.switch.compress import ROUTER, NumberCompress
from prestocloud_sec.cjdns.switch.form import EncodingForm
from prestocloud_sec.cjdns.switch.label import SELF, Hop, RouteLabel, bit_reverse_64
from prestocloud_sec.cjdns.switch.outcome import (
    Drop,
    DropReason,
    ErrorReply,
    Forward,
    InterfaceState,
    Outcome,
    SwitchCounters,
    error_packet,
)
from prestocloud_sec.cjdns.switch.scheme import F4, F8, V3X5X8, V4X8, EncodingScheme, label_for
from prestocloud_sec.cjdns.switch.switch import Switch

if TYPE_CHECKING:
    from prestocloud_sec.cjdns.switch.batch import BatchForwarded

__all__ = [
    "F4",
    "F8",
    "ROUTER",
    "SELF",
    "V3X5X8",
    "V4X8",
    "BatchForwarded",
    "Drop",
    "DropReason",
    "EncodingForm",
    "EncodingScheme",
    "ErrorReply",
    "Forward",
    "Hop",
    "InterfaceState",
    "NumberCompress",
    "Outcome",
    "RouteLabel",
    "Switch",
    "SwitchCounters",
    "bit_reverse_64",
    "error_packet",
    "label_for",
]

_HOMES: dict[str, str] = {"BatchForwarded": "batch"}  # batches need numpy; one packet does not

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(__name__, _HOMES)
