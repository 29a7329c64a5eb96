# SPDX-License-Identifier: Apache-2.0
"""Routing: distance in address space, the node store, and searches.

Names are imported from their modules where they are first used; a lookup among many addresses needs numba, the rest
does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestocloud_sec._lazy import lazy

if TYPE_CHECKING:
    from prestocloud_sec.cjdns.routing.metric import bucket as bucket
    from prestocloud_sec.cjdns.routing.metric import closest as closest
    from prestocloud_sec.cjdns.routing.metric import distance as distance
    from prestocloud_sec.cjdns.routing.nearest import NearestIndex as NearestIndex
    from prestocloud_sec.cjdns.routing.nodestore import KnownLink as KnownLink
    from prestocloud_sec.cjdns.routing.nodestore import Node as Node
    from prestocloud_sec.cjdns.routing.nodestore import NodeStore as NodeStore

_HOMES: dict[str, str] = {
    "distance": "metric",
    "closest": "metric",
    "bucket": "metric",
    "NearestIndex": "nearest",
    "KnownLink": "nodestore",
    "Node": "nodestore",
    "NodeStore": "nodestore",
}

__all__ = list(_HOMES)

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(__name__, _HOMES)
