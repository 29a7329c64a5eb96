# SPDX-License-Identifier: Apache-2.0
"""Programs to be judged, by us and by a kernel: with their maps, as JSON, and smaller while they stay as interesting.

A program is made smaller as a list of `Cell` objects, each of which knows what it leads to, so that instructions can be
left out and jumps still lead where they did.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from prestocloud_sec.bpf.errors import BpfError, BpfMisuseError, DecodeError
from prestocloud_sec.bpf.isa import CallKfunc, ImmKind, Instruction, LoadImm64
from prestocloud_sec.bpf.maps.kinds import MapType
from prestocloud_sec.bpf.object import Btf, FuncInfo
from prestocloud_sec.bpf.program import Program
from prestocloud_sec.bpf.program_type import ProgramType
from prestocloud_sec.bpf.symbols import Symbols
from prestocloud_sec.bpf.verifier.environment import Environment
from prestocloud_sec.bpf.verifier.explore import Explorer
from prestocloud_sec.bpf.verifier.maps import MapSpec
from prestocloud_sec.bpf.verifier.rejection import Rejected, Rule
from prestocloud_sec.bpf.verifier.state import State
from prestocloud_sec.bpf.verifier.verdict import Verdict
from prestocloud_sec.bpf.verifier.verify import judge
from prestocloud_sec.errors import PrestoCloudError
from prestocloud_sec.wire import shown

__all__ = ["Cell", "TooLong", "Trial", "assembled", "cells_of", "smaller"]

_MAP_LOADS = frozenset({ImmKind.MAP_FD, ImmKind.MAP_VALUE_FD})


class TooLong(Exception):  # noqa: N818 - it is a result
    """A program takes longer to be judged than was allowed."""


class Cell:
    """An instruction whose place is not known yet.

    Attributes
    ----------
    instruction : Instruction
    target : Cell or None
        What it leads to.
    kfunc : str
        The kernel function that it calls by name.
    type : int
        The type of the function that begins with it, by its id; 0 for none.
    """

    __slots__ = ("instruction", "kfunc", "target", "type")

    def __init__(self, instruction: Instruction, target: Cell | None = None, kfunc: str = "", type: int = 0) -> None:
        self.instruction = instruction
        self.target = target
        self.kfunc = kfunc
        self.type = type


def cells_of(program: Program) -> list[Cell]:
    """Return a program's instructions as cells.

    Raises
    ------
    JumpTargetError
        If some instruction leads nowhere.
    """
    names = program.symbols.kfuncs
    cells = [Cell(i, kfunc=names.get(index, "")) for index, i in enumerate(program.instructions)]
    for slot, id in program.func_info.functions.items() if program.func_info is not None else ():
        index = program.index_at(slot)
        if index is not None:
            cells[index].type = id
    for cell, target in zip(cells, program.targets, strict=True):
        cell.target = cells[target] if target is not None else None
    return cells


def assembled(cells: Sequence[Cell], btf: Btf | None, type: ProgramType | None, license: str = "GPL") -> Program:
    """Return the program that cells make; what leads nowhere any more keeps its distance.

    Parameters
    ----------
    cells : sequence of Cell
    btf : Btf or None
        What the types of functions are in.
    type, license
        As for `Program`.

    Raises
    ------
    BpfMisuseError
        If a distance does not fit.
    """
    kfuncs = {index: c.kfunc for index, c in enumerate(cells) if c.kfunc and isinstance(c.instruction, CallKfunc)}
    functions, slot = {}, 0
    for cell in cells:
        if cell.type:
            functions[slot] = cell.type
        slot += cell.instruction.slots
    types = FuncInfo(btf, functions) if btf is not None else None
    return Program(_linked(cells), type=type, license=license, symbols=Symbols(kfuncs=kfuncs), func_info=types)


def _linked(cells: Sequence[Cell]) -> list[Instruction]:
    places, slot = {}, 0
    for cell in cells:
        places[id(cell)] = slot
        slot += cell.instruction.slots
    found: list[Instruction] = []
    for cell in cells:
        i: Any = cell.instruction
        there = places.get(id(cell.target)) if cell.target is not None else None
        if there is not None:
            distance = there - places[id(cell)] - 1
            i = replace(i, **{"value" if isinstance(i, LoadImm64) else "offset": distance})
        found.append(i)
    return found


def _without(program: Program, gone: Iterable[int]) -> Program:
    """Return a program with instructions left out; what led to one leads to the next that is left."""
    cells = cells_of(program)
    left_out = set(gone)
    following: list[Cell | None] = [None] * (len(cells) + 1)
    for index in range(len(cells) - 1, -1, -1):
        following[index] = following[index + 1] if index in left_out else cells[index]
    stands_for = {id(cell): following[index] for index, cell in enumerate(cells)}
    kept = [cell for index, cell in enumerate(cells) if index not in left_out]
    for cell in kept:
        if cell.target is not None:
            cell.target = stands_for[id(cell.target)] or kept[-1]
    btf = program.func_info.btf if program.func_info is not None else None
    return assembled(kept, btf, program.type, program.license)


@dataclass(frozen=True, slots=True)
class Trial:
    """A program, and as what it is loaded.

    Attributes
    ----------
    program : Program
        With its type.
    attach : int
        ``expected_attach_type``.
    maps : tuple of MapSpec
        What its loads count.
    processors : int
        How many the machine has that it is judged for; 0 if that is not known.
    """

    program: Program
    attach: int = 0
    maps: tuple[MapSpec, ...] = field(default=(), repr=False)
    processors: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.program, Program) or self.program.type is None:
            raise BpfMisuseError(f"{shown(self.program)}", where="Trial.program", expected="a Program with a type")

    @property
    def type(self) -> ProgramType:
        """The program's type."""
        return self.program.type or ProgramType.UNSPEC

    @property
    def specs(self) -> dict[int, MapSpec]:
        """What each load of a map loads, by the load's index; loads of others are left out."""
        return {
            index: self.maps[i.value]
            for index, i in enumerate(self.program.instructions)
            if isinstance(i, LoadImm64) and i.kind in _MAP_LOADS and 0 <= i.value < len(self.maps)
        }

    @property
    def used(self) -> dict[int, MapSpec]:
        """The maps that it refers to, by number."""
        return {
            i.value: self.maps[i.value]
            for i in self.program.instructions
            if isinstance(i, LoadImm64) and i.kind in _MAP_LOADS and 0 <= i.value < len(self.maps)
        }

    def environment(self) -> Environment:
        """Return a new environment to judge it in."""
        return Environment(self.program, self.type, self.specs, attach=self.attach, processors=self.processors)

    def judge(self) -> Verdict:
        """Return our verdict."""
        return judge(self.program, self.environment, self.type)

    def rule(self, most: int) -> Rule | None:
        """Return the rule that it breaks, None if it is accepted: the bare verdict, in bounded time.

        Raises
        ------
        TooLong
            If the judgement goes through more than `most` instructions.
        """
        count = 0

        def observe(_: int, _state: State) -> None:
            nonlocal count
            count += 1
            if count > most:
                raise TooLong

        try:
            Explorer(self.environment(), observe=observe).run()
        except Rejected as rejected:
            return rejected.rule
        except DecodeError:  # a jump that leads nowhere
            return Rule.STRUCTURE
        return None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        program = self.program
        told: dict[str, Any] = {
            "type": self.type.name,
            "attach": self.attach,
            "bytes": program.to_bytes().hex(),
            "maps": {str(number): _spec_to_json(spec) for number, spec in sorted(self.used.items())},
        }
        if program.symbols.kfuncs:
            told["kfuncs"] = {str(index): name for index, name in program.symbols.kfuncs.items()}
        if program.func_info is not None:
            told["btf"] = program.func_info.btf.to_bytes().hex()
            told["func_info"] = program.func_info.records().hex()
        return told

    @classmethod
    def from_json(cls, told: Any) -> Trial:
        """Return what `to_json` told.

        Raises
        ------
        BpfError
            If that is not it.
        """
        try:
            kind = ProgramType[told["type"]]
            kfuncs = {int(index): name for index, name in told.get("kfuncs", {}).items()}
            types = None
            if "btf" in told:
                btf = Btf.from_bytes(bytes.fromhex(told["btf"]))
                types = FuncInfo.from_records(btf, bytes.fromhex(told["func_info"]))
            code, symbols = bytes.fromhex(told["bytes"]), Symbols(kfuncs=kfuncs)
            program = Program.from_bytes(code, type=kind, license="GPL", symbols=symbols, func_info=types)
            given = {int(number): _spec_of_json(spec) for number, spec in told["maps"].items()}
            attach = int(told["attach"])
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise BpfError("it is no trial", where="trial", expected="what Trial.to_json gives") from error
        most = max(given, default=-1)
        if most >= _MOST_MAPS or min(given, default=0) < 0:
            raise BpfError(f"map {most}", where="trial, maps", expected=f"numbers below {_MOST_MAPS}")
        nothing = MapSpec(MapType.ARRAY, 4, 4, 1)
        return cls(program, attach, tuple(given.get(number, nothing) for number in range(most + 1)))

    def __str__(self) -> str:
        return f"{self.type.name}, attach {self.attach}\n{self.program.disassemble(helpers=True, labels=False)}"


_MOST_MAPS = 256


def _spec_to_json(spec: MapSpec) -> list[Any]:
    told: list[Any] = [spec.type.name, spec.key_size, spec.value_size, spec.max_entries, int(spec.flags)]
    return told if spec.inner is None else [*told, _spec_to_json(spec.inner)]


def _spec_of_json(told: Any) -> MapSpec:
    kind, key, value, entries, flags, *inner = told
    held = _spec_of_json(inner[0]) if inner else None
    return MapSpec(MapType[kind], int(key), int(value), int(entries), int(flags), inner=held)


def smaller(trial: Trial, same: Callable[[Trial], bool], *, most: int = 400, seconds: float = 30.0) -> Trial:
    """Return the smallest trial that was found by leaving out instructions, and is still as interesting.

    Parameters
    ----------
    trial : Trial
    same : callable
        Whether another trial is as interesting.
    most : int
        How often to ask at most.
    seconds : float
        How long to ask at most.
    """
    asked = 0
    end = time.monotonic() + seconds
    chunk = max(len(trial.program.instructions) // 2, 1)
    while True:
        at, changed = 0, False
        while at < len(trial.program.instructions):
            if asked >= most or time.monotonic() > end:
                return trial
            gone = range(at, min(at + chunk, len(trial.program.instructions)))
            try:
                proposal = replace(trial, program=_without(trial.program, gone))
            except (PrestoCloudError, IndexError):
                at += chunk
                continue
            asked += 1
            if same(proposal):
                trial, changed = proposal, True
            else:
                at += chunk
        if chunk > 1:
            chunk = chunk // 2
        elif not changed:
            return trial
