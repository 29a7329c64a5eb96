# SPDX-License-Identifier: Apache-2.0
"""What callers give a machine, checked: numbers, times, maps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.bpf.maps.base import Map
from prestocloud_sec.wire import items_of, shown

__all__ = ["given_maps", "pairs_of", "seconds", "whole"]

_U64 = (1 << 64) - 1


def whole(value: object, name: str, low: int, high: int) -> int:
    """Return an integer from `low` to `high`; BpfMisuseError if it is none."""
    if isinstance(value, np.integer):
        value = int(value)
    if type(value) is not int or not low <= value <= high:
        told = value if type(value) is int and abs(value) <= _U64 else type(value).__name__
        raise BpfMisuseError(f"{told}", where=name, expected=f"an integer {low}..{high}")
    return value


def seconds(value: object) -> float | None:
    """Return a time limit in seconds, or None; BpfMisuseError if it is none."""
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e9:
        return float(value)
    raise BpfMisuseError(f"{type(value).__name__} is no time", where="time_limit", expected="seconds above 0, or None")


def given_maps(maps: object) -> dict[Any, Any]:
    """Return maps by position, number or name; BpfMisuseError if there is something that is no map."""
    if maps is None:
        return {}
    pairs: Iterable[tuple[object, object]]
    if isinstance(maps, Mapping):
        pairs = pairs_of(maps, "maps")
    elif isinstance(maps, Sequence) and not isinstance(maps, str | bytes):
        pairs = enumerate(items_of(maps, "maps", "a sequence of maps", error=BpfMisuseError))
    else:
        raise BpfMisuseError(
            f"{type(maps).__name__} holds no maps", where="maps", expected="a sequence, or a mapping by name or number"
        )
    given: dict[Any, Any] = {}
    for key, value in pairs:  # one by one: what is no map ends it, however many there are
        if not isinstance(key, str | int | np.integer):
            raise BpfMisuseError(f"{shown(key)} names no map", where="maps", expected="names or numbers")
        if not isinstance(value, Map):
            raise BpfMisuseError(f"{type(value).__name__} is no map", where=f"maps[{shown(key)}]", expected="a map")
        given[key] = value
    return given


def pairs_of(mapping: Mapping[Any, Any], name: str) -> Iterable[tuple[Any, Any]]:
    """Return the pairs of a caller's mapping; BpfMisuseError if it does not give them."""
    try:
        return tuple(mapping.items())
    except Exception as error:  # whatever a foreign mapping raises
        raise BpfMisuseError(
            f"{type(mapping).__name__} cannot be gone through", where=name, expected="a mapping"
        ) from error
