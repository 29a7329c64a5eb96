# SPDX-License-Identifier: Apache-2.0
"""cjdns as a library: keys and addresses, CryptoAuth, switch, routing.

Names are imported from their modules where they are first used, so that importing this package stays cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass

_HOMES: dict[str, str] = {
    "PrivateKey": "keys",
    "PublicKey": "keys",
    "Address": "keys",
    "Session": "cryptoauth",
    "Users": "cryptoauth",
    "RouteLabel": "switch",
    "EncodingScheme": "switch",
    "Switch": "switch",
    "NodeStore": "routing",
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
