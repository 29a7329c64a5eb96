# SPDX-License-Identifier: Apache-2.0
"""The programs of a machine: their numbers, where their functions begin, and what their loads of maps give.

Programs reached through a program array are numbered as maps are; when such an array was changed, `ProgramTable.link`
does so anew, and `generation` tells engines that kept something about programs.
"""

from __future__ import annotations

import itertools
from typing import Any

from prestocloud_sec.bpf.entries import functions_of
from prestocloud_sec.bpf.errors import BpfMisuseError, ProgramError
from prestocloud_sec.bpf.isa import ImmKind, LoadImm64
from prestocloud_sec.bpf.program import Program
from prestocloud_sec.bpf.vm import layout
from prestocloud_sec.bpf.vm.context import ContextKind
from prestocloud_sec.bpf.vm.layout import FUNCTION_HANDLES, MAP_HANDLES
from prestocloud_sec.bpf.vm.runnable import as_run, check_runnable
from prestocloud_sec.bpf.vm.services import Services
from prestocloud_sec.wire import shown

__all__ = ["ProgramTable"]

_MOST_SHOWN = 8
"""Names of maps that an error lists."""


class ProgramTable(Services):
    """What helpers use, and the programs.

    Parameters
    ----------
    kind, cpu, now
        As for `Services`.
    given : dict
        The maps that programs may refer to, by position, number or name.

    Attributes
    ----------
    programs : list of Program
        By number; 0 is the one that runs begin with.
    runnable : list of Program
        The same programs as engines run them: what they call of the kernel by name is a helper with a number.
    functions : list of frozenset of int
        For each program, the instructions that its functions begin with.
    """

    def __init__(self, kind: ContextKind, cpu: int, now: int | None, given: dict[Any, Any]) -> None:
        super().__init__(kind, cpu, now)
        self._given = given
        self._kfuncs: dict[str, int] = {}
        """Numbers of the kernel functions that programs may call by name; the machine enters them."""
        self.programs: list[Program] = []
        self.runnable: list[Program] = []
        self.functions: list[frozenset[int]] = []
        self._program_numbers: dict[int, int] = {}
        self._linked: dict[int, int] = {}

    @property
    def program(self) -> Program:
        """The program that runs begin with."""
        return self.programs[0]

    def _add_program(self, program: Program) -> int:
        known = self._program_numbers.get(id(program))
        if known is not None:
            return known
        check_runnable(program, self._kfuncs)
        for instruction in program.instructions:
            if isinstance(instruction, LoadImm64) and instruction.kind not in {ImmKind.INTEGER, ImmKind.FUNCTION}:
                self._map_for(program, instruction)
        number = self._program_numbers[id(program)] = len(self.programs)
        self.programs.append(program)
        self.runnable.append(as_run(program, self._kfuncs))
        self.functions.append(functions_of(program))
        self.generation += 1
        return number

    def _map_for(self, program: Program, load: LoadImm64) -> int:
        """Return the number of the map that a load refers to."""
        name = None
        if program.symbols.maps and load.kind in {ImmKind.MAP_FD, ImmKind.MAP_VALUE_FD}:
            names = program.symbols.map_names
            name = names[load.value] if 0 <= load.value < len(names) else None
        for key in (name, load.value):
            found = None if key is None else self._given.get(key)
            if found is not None:
                return self.number_of(found)
        wanted = f"the map {shown(name)}" if name is not None else f"map {load.value}"
        given = ", ".join(shown(key) for key in itertools.islice(self._given, _MOST_SHOWN))
        raise ProgramError(
            f"it refers to {wanted}, which was not given",
            where="maps",
            hint=f"maps= has {given}" if given else "give maps= by position, number or name, or --map",
        )

    def program_number(self, program: Program) -> int:
        """Return the number of a program that a program array holds."""
        return self._add_program(program)

    def link(self) -> None:
        """Give a number to every program that tail calls can reach.

        Raises
        ------
        ProgramError
            If one of them cannot be run, or is of another type than the machine's program.
        """
        at = 0
        while at < len(self.maps):
            found = self.maps[at]
            if found.holds_programs and self._linked.get(at) != found.generation:
                generation = found.generation
                for program in found.programs():
                    self._check_type(program)
                    self._add_program(program)
                self._linked[at] = generation
            at += 1

    def _check_type(self, program: Program) -> None:
        """Refuse a program that sees another context, as the kernel's ``bpf_prog_map_compatible`` does."""
        if program.type != self.program.type:
            shown = ["no type" if type_ is None else type_.name for type_ in (program.type, self.program.type)]
            raise ProgramError(
                f"a tail call leads to a program of {shown[0]}", where="maps", expected=f"programs of {shown[1]}"
            )

    def load_value(self, number: int, index: int) -> int:
        """Return what a 64-bit load gives: instruction `index` of program `number`."""
        program = self.programs[number]
        load = program.instructions[index]
        if not isinstance(load, LoadImm64):
            raise BpfMisuseError(f"instruction {index} is no 64-bit load", where="Machine.load_value")
        match load.kind:
            case ImmKind.INTEGER:
                return load.value
            case ImmKind.FUNCTION:
                return FUNCTION_HANDLES | (program.targets[index] or 0)
            case ImmKind.MAP_FD | ImmKind.MAP_INDEX:
                return MAP_HANDLES | self._map_for(program, load)
            case _:
                base = layout.MAP_VALUES + self._map_for(program, load) << layout.REGION_SHIFT
                return base + load.second
