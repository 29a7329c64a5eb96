# SPDX-License-Identifier: Apache-2.0
"""Helpers: what a program can call, declared as data, and those that work here.

`prestocloud_sec.bpf.helpers.prototypes` declares every helper of the kernel; `prototype` finds one by number or name.
`implementations` has those that mean something in a machine of our own: maps, packets, checksums, ring buffers, events,
text, time and chance. ``tail_call``, ``loop`` and ``for_each_map_elem`` run programs, so the engines do those
themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestocloud_sec._lazy import lazy

if TYPE_CHECKING:
    from prestocloud_sec.bpf.helpers import prototypes as prototypes
    from prestocloud_sec.bpf.helpers.prototypes import Argument as Argument
    from prestocloud_sec.bpf.helpers.prototypes import Prototype as Prototype
    from prestocloud_sec.bpf.helpers.prototypes import Returns as Returns
    from prestocloud_sec.bpf.helpers.prototypes import prototype as prototype
    from prestocloud_sec.bpf.helpers.registry import implementations as implementations

_HOMES: dict[str, str] = {
    "Argument": "prototypes",
    "Prototype": "prototypes",
    "Returns": "prototypes",
    "implementations": "registry",
    "prototype": "prototypes",
}

_ROOMS = ("prototypes",)

__all__ = list(_HOMES)

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(__name__, _HOMES, _ROOMS)
