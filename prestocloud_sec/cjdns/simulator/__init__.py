# SPDX-License-Identifier: Apache-2.0
"""A deterministic simulator of cjdns routing: real labels and messages, simulated time, reproducible chance.

`Simulator` is the network, `topology` makes shapes for it, `Lie` says how nodes may lie, `Metrics` is what comes out.
"""

from __future__ import annotations

from prestocloud_sec.cjdns.simulator import topology
from prestocloud_sec.cjdns.simulator.fabric import Arrival, Fabric, Link, Lost
from prestocloud_sec.cjdns.simulator.keyring import Keyring
from prestocloud_sec.cjdns.simulator.liars import Lie
from prestocloud_sec.cjdns.simulator.metrics import NODE_COLUMNS, SEARCH_COLUMNS, Metrics, SearchRecord
from prestocloud_sec.cjdns.simulator.node import SimulatedNode
from prestocloud_sec.cjdns.simulator.simulator import Simulator

__all__ = [
    "NODE_COLUMNS",
    "SEARCH_COLUMNS",
    "Arrival",
    "Fabric",
    "Keyring",
    "Lie",
    "Link",
    "Lost",
    "Metrics",
    "SearchRecord",
    "SimulatedNode",
    "Simulator",
    "topology",
]
