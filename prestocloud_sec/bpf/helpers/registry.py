# SPDX-License-Identifier: Apache-2.0
"""Where the helpers and kernel functions that work here are found by their number.

An implementation is a function of the machine and of as many registers as its prototype has arguments. Registers are
unsigned 64-bit numbers; the result is any integer, of which the low 64 bits go into r0 (errors are negative, as in the
kernel). It reads and writes the program's memory through the machine, whose refusals become faults of the program.
A kernel function is a helper that has no number in the kernel, but a name: `kfunc_numbers` says which it has here.
"""

from __future__ import annotations

import importlib
import operator
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.bpf.helpers.ids import GIVEN_KFUNCS, KfuncId
from prestocloud_sec.bpf.helpers.prototypes import by_name
from prestocloud_sec.bpf.vm.arguments import pairs_of
from prestocloud_sec.wire import shown

if TYPE_CHECKING:
    from prestocloud_sec.bpf.vm.machine import Machine

__all__ = [
    "Helper",
    "enter",
    "implementations",
    "implements",
    "implements_kfunc",
    "kfunc_numbers",
    "user_helpers",
]

Helper = Callable[["Machine", int, int, int, int, int], int]
"""A helper as the machine calls it: always with five registers."""

_ROOMS = ("checksum", "classic", "kfuncs", "maps", "packet", "system")
_FOUND: dict[int, Helper] = {}

F = TypeVar("F", bound=Callable[..., int])


def implements(name: str) -> Callable[[F], F]:
    """Return a decorator that enters a function as the helper of this name, which must have a prototype."""
    row = by_name()[name]
    return _entering(row.number, len(row.arguments))


def implements_kfunc(number: KfuncId, count: int) -> Callable[[F], F]:
    """Return a decorator that enters a function as a kernel function of so many arguments."""
    return _entering(number, count)


def _entering(number: int, count: int) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        def helper(machine: Machine, *registers: int) -> int:
            return function(machine, *registers[:count])

        _FOUND[number] = helper
        return function

    return decorate


def enter(number: int, helper: Helper) -> None:
    """Enter a helper under a number that has no prototype."""
    _FOUND[number] = helper


def kfunc_numbers(names: Iterable[str]) -> dict[str, int]:
    """Return the numbers of the kernel functions that work here, and of others that a program calls by these names."""
    known = {number.kfunc_name: int(number) for number in KfuncId}
    others = sorted(set(names) - known.keys())
    return known | {name: GIVEN_KFUNCS + place for place, name in enumerate(others)}


def user_helpers(given: object, kfuncs: Mapping[str, int] = MappingProxyType({})) -> dict[int, Helper]:
    """Return a caller's helpers by number.

    Parameters
    ----------
    given : mapping or None
        Functions of r1 to r5, all of them, by number, by the name of a kernel function, or by that of a prototype. One
        whose attribute ``machine`` is true is given the machine first.
    kfuncs : mapping
        The numbers of kernel functions by name; where a program calls one of the name of a helper, it is what is meant.

    Raises
    ------
    BpfMisuseError
        If it is no such mapping.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise BpfMisuseError(f"{type(given).__name__} holds no helpers", where="helpers", expected="a mapping")
    found: dict[int, Helper] = {}
    for key, function in pairs_of(given, "helpers"):
        number = _number_of(key, kfuncs) if isinstance(key, str) else key
        if type(number) is not int or not -(1 << 31) <= number < 1 << 31:
            raise BpfMisuseError(
                f"no helper {shown(key)}",
                where="helpers",
                expected="a number of 32 bits, or a name: of a helper, or of a kernel function that the program calls",
                hint="what only programs behind tail calls call cannot be given",
            )
        if not callable(function):
            raise BpfMisuseError(f"{type(function).__name__}", where=f"helpers[{shown(key)}]", expected="a function")
        found[number] = function if getattr(function, "machine", False) else _of_registers(function)
    return found


def _number_of(name: str, kfuncs: Mapping[str, int]) -> int | None:
    """Return the number of what a name means; None if it means nothing."""
    if name in kfuncs:
        return kfuncs[name]
    row = by_name().get(name.removeprefix("bpf_"))
    return row.number if row is not None else None


def _of_registers(function: Callable[..., Any]) -> Helper:
    def helper(_machine: Machine, *registers: int) -> int:
        return operator.index(function(*registers))

    return helper


@cache
def implementations() -> Mapping[int, Helper]:
    """Return the helpers that work here, by number: ``helper(machine, r1, r2, r3, r4, r5) -> int``."""
    for room in _ROOMS:
        importlib.import_module(f"prestocloud_sec.bpf.helpers.{room}")
    return MappingProxyType(_FOUND)
