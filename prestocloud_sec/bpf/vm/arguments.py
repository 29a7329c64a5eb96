# SPDX-License-Identifier: Apache-2.0
"""What callers give a machine, checked: numbers, times, maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.wire import shown

__all__ = ["given_maps", "seconds", "whole"]

_U64 = (1 << 64) - 1


def whole(value: object, name: str, low: int, high: int) -> int:
    """Return an integer from `low` to `high`; BpfMisuseError if it is none."""
    if isinstance(value, np.integer):
        value = int(value)
    if type(value) is not int or not low <= value <= high:
        shown = value if type(value) is int and abs(value) <= _U64 else type(value).__name__
        raise BpfMisuseError(f"{shown}", where=name, expected=f"an integer {low}..{high}")
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
    if isinstance(maps, Mapping):
        given = dict(maps)
    elif isinstance(maps, Sequence) and not isinstance(maps, str | bytes):
        given = dict(enumerate(maps))
    else:
        raise BpfMisuseError(
            f"{type(maps).__name__} holds no maps", where="maps", expected="a sequence, or a mapping by name or number"
        )
    for key, value in given.items():
        if not hasattr(value, "descriptor"):
            raise BpfMisuseError(f"{type(value).__name__} is no map", where=f"maps[{shown(key)}]", expected="a map")
    return given
