# SPDX-License-Identifier: Apache-2.0
"""Routing: distance in address space, the node store, and searches.

Names are imported from their modules where they are first used; a lookup among many addresses needs numba, the rest
does not.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prestocloud_sec.cjdns.routing.metric import bucket as bucket
    from prestocloud_sec.cjdns.routing.metric import closest as closest
    from prestocloud_sec.cjdns.routing.metric import distance as distance
    from prestocloud_sec.cjdns.routing.nearest import NearestIndex as NearestIndex
    from prestocloud_sec.cjdns.routing.nodestore import Node as Node
    from prestocloud_sec.cjdns.routing.nodestore import NodeStore as NodeStore

_HOMES: dict[str, str] = {
    "distance": "metric",
    "closest": "metric",
    "bucket": "metric",
    "NearestIndex": "nearest",
    "Node": "nodestore",
    "NodeStore": "nodestore",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
