# SPDX-License-Identifier: Apache-2.0
"""Where the helpers that work here are found by their number.

An implementation is a function of the machine and of as many registers as its prototype has arguments. Registers are
unsigned 64-bit numbers; the result is any integer, of which the low 64 bits go into r0 (errors are negative, as in the
kernel). It reads and writes the program's memory through the machine, whose refusals become faults of the program.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from prestocloud_sec.bpf.helpers.prototypes import by_name

if TYPE_CHECKING:
    from prestocloud_sec.bpf.vm.machine import Machine

__all__ = ["Helper", "call_with", "implementations", "implements"]

Helper = Callable[["Machine", int, int, int, int, int], int]
"""A helper as the machine calls it: always with five registers."""

_ROOMS = ("checksum", "maps", "packet", "system")
_FOUND: dict[int, Helper] = {}

F = TypeVar("F", bound=Callable[..., int])


def implements(name: str) -> Callable[[F], F]:
    """Return a decorator that enters a function as the helper of this name, which must have a prototype."""
    row = by_name()[name]
    count = len(row.arguments)

    def enter(function: F) -> F:
        def helper(machine: Machine, *registers: int) -> int:
            return function(machine, *registers[:count])

        _FOUND[row.number] = helper
        return function

    return enter


def call_with(function: Callable[..., Any]) -> Helper:
    """Return a user's function of registers alone as a helper."""

    def helper(_machine: Machine, *registers: int) -> int:
        return int(function(*registers))

    return helper


@cache
def implementations() -> Mapping[int, Helper]:
    """Return the helpers that work here, by number: ``helper(machine, r1, r2, r3, r4, r5) -> int``."""
    for room in _ROOMS:
        importlib.import_module(f"prestocloud_sec.bpf.helpers.{room}")
    return MappingProxyType(_FOUND)
