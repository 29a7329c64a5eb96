# SPDX-License-Identifier: Apache-2.0
"""Names of places, functions, maps and kernel functions: what the text of a program says and its bytes do not."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.bpf.isa import CallKfunc, ImmKind, Instruction, LoadImm64
from prestocloud_sec.wire import shown

__all__ = ["Symbols", "check_symbols"]


def _frozen(mapping: object, key: type, value: type, where: str) -> MappingProxyType[Any, Any]:
    try:
        given = dict(mapping) if isinstance(mapping, Mapping) else None
    except Exception:  # whatever a foreign mapping raises
        given = None
    if given is None or not all(isinstance(k, key) and isinstance(v, value) for k, v in given.items()):
        raise BpfMisuseError(
            f"{shown(mapping)} names nothing",
            where=f"Symbols.{where}",
            expected=f"a mapping of {key.__name__} to {value.__name__}",
        )
    return MappingProxyType(given)


@dataclass(frozen=True, slots=True)
class Symbols:
    """Names that bytes do not carry.

    Attributes
    ----------
    labels : mapping of str to int
        Name of a place, and its slot.
    functions : mapping of str to int
        Name of a local function, and the slot it starts at.
    maps : mapping of int to str
        Index of a 64-bit load, and the name of the map it refers to. The load's number is then a placeholder: the
        position of the name among the program's map names.
    kfuncs : mapping of int to str
        Index of a call of a kernel function, and the function's name. The call's numbers are then 0: which number the
        function has, only the kernel knows that a program is loaded into.
    map_names : tuple of str
        The names of the maps, each once, in the order of their first use; found out, not given.
    """

    labels: Mapping[str, int] = field(default_factory=dict)
    functions: Mapping[str, int] = field(default_factory=dict)
    maps: Mapping[int, str] = field(default_factory=dict)
    kfuncs: Mapping[int, str] = field(default_factory=dict)
    map_names: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, key, value in (
            ("labels", str, int),
            ("functions", str, int),
            ("maps", int, str),
            ("kfuncs", int, str),
        ):
            object.__setattr__(self, name, _frozen(getattr(self, name), key, value, name))
        twice = self.labels.keys() & self.functions.keys()
        if twice:
            raise BpfMisuseError(
                f"{shown(min(twice))} is a label and a function", where="symbols", expected="one of the two"
            )
        names = tuple(dict.fromkeys(self.maps[index] for index in sorted(self.maps)))
        object.__setattr__(self, "map_names", names)

    def __reduce__(self) -> tuple[object, ...]:
        return (Symbols, (dict(self.labels), dict(self.functions), dict(self.maps), dict(self.kfuncs)))


def check_symbols(symbols: Symbols, instructions: Sequence[Instruction], slots: Container[int], end: int) -> None:
    """Refuse names of what a program does not have.

    Parameters
    ----------
    symbols : Symbols
    instructions : sequence of Instruction
        The program.
    slots : container of int
        The slots that its instructions begin at.
    end : int
        The slot behind its last.

    Raises
    ------
    BpfMisuseError
        If a place lies elsewhere, or an instruction has not the form that its name asks for.
    """
    for what in ("labels", "functions"):
        for name, slot in getattr(symbols, what).items():
            if slot not in slots and slot != end:
                raise BpfMisuseError(
                    f"{shown(name)} is at slot {shown(slot)}",
                    where=f"symbols.{what}",
                    expected="the slot of an instruction",
                )
    positions = {name: position for position, name in enumerate(symbols.map_names)}
    for index, name in symbols.maps.items():
        load = instructions[index] if 0 <= index < len(instructions) else None
        match load:
            case LoadImm64(kind=ImmKind.MAP_FD | ImmKind.MAP_VALUE_FD, value=value) if value == positions[name]:
                continue
        raise BpfMisuseError(
            f"instruction {shown(index)} refers to no map {shown(name)}",
            where="symbols.maps",
            expected=f"a load of map {positions[name]}, the position of its name",
        )
    for index, name in symbols.kfuncs.items():
        if not 0 <= index < len(instructions) or instructions[index] != CallKfunc(0):
            raise BpfMisuseError(
                f"instruction {shown(index)} calls no kernel function {shown(name)}",
                where="symbols.kfuncs",
                expected="a call of a kernel function whose numbers are 0",
            )
