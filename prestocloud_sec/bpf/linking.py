# SPDX-License-Identifier: Apache-2.0
"""From instructions with names in them to a program: what the assembler and the builder share.

Slots are known as soon as an instruction is added, targets only when all are; so an instruction that refers to a name
waits as a `Named` until `Draft.finish`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.bpf.isa import Exit, Instruction
from prestocloud_sec.bpf.program import Symbols
from prestocloud_sec.errors import PrestoCloudError
from prestocloud_sec.wire import shown

__all__ = ["Draft", "Named", "Reference", "Statement"]


class Reference(Enum):
    """What a name stands for."""

    PLACE = auto()
    """Where a jump leads: its offset in slots."""
    FUNCTION = auto()
    """The start of a local function: its offset in slots."""
    MAP = auto()
    """A map: its position among the names of maps."""
    KFUNC = auto()
    """A kernel function: 0, as its number is not known here."""


_PLACES = frozenset({Reference.PLACE, Reference.FUNCTION})
"""What a label of the program has to define."""


@dataclass(frozen=True, slots=True)
class Named:
    """An instruction that lacks a number, to be had from a name.

    Attributes
    ----------
    make : callable
        Takes the number, returns the instruction.
    refers : Reference
        What the number counts.
    name : str
        The name.
    slots : int
        Slots that the instruction takes.
    """

    make: Callable[[int], Instruction]
    refers: Reference
    name: str
    slots: int = 1

    def build(self, number: int) -> Instruction:
        """Return the instruction, or raise what `too_far` makes."""
        try:
            return self.make(number)
        except BpfMisuseError as error:
            raise self.too_far(number, error.expected) from error

    def too_far(self, number: int, expected: str | None) -> PrestoCloudError:
        """Make the error for a number that does not fit."""
        return BpfMisuseError(f"{shown(self.name)} is {number} slots away", expected=expected)

    def instead(self) -> Instruction | None:
        """Return the instruction that a name which nothing defines stands for, if there is one."""
        return None

    def unknown(self, known: Iterable[str]) -> PrestoCloudError:
        """Make the error for a name that nothing defines."""
        expected = ", ".join(map(shown, itertools.islice(known, 8))) or "a label"
        return BpfMisuseError(f"nothing defines {shown(self.name)}", expected=expected)


Statement = Instruction | Named


class Draft:
    """Instructions and labels in the order they come.

    Attributes
    ----------
    labels : dict of str to int
        The slot of each name so far.
    """

    def __init__(self) -> None:
        self.labels: dict[str, int] = {}
        self._statements: list[Statement] = []
        self._slots: list[int] = []
        self._end = 0

    @property
    def slots(self) -> int:
        """Slots of all instructions so far."""
        return self._end

    def add(self, statement: Statement) -> None:
        """Append an instruction."""
        self._statements.append(statement)
        self._slots.append(self._end)
        self._end += statement.slots

    def label(self, name: str) -> None:
        """Let a name, which must be new, stand for the place of the next instruction."""
        self.labels[name] = self._end

    def define_exit(self) -> None:
        """Let the name ``exit``, used but not defined, stand for the first exit, as in bpf_conformance."""
        used = any(isinstance(s, Named) and s.refers in _PLACES and s.name == "exit" for s in self._statements)
        if used and "exit" not in self.labels:
            for slot, statement in zip(self._slots, self._statements, strict=True):
                if isinstance(statement, Exit):
                    self.labels["exit"] = slot
                    return

    def finish(self) -> tuple[Sequence[Instruction], Symbols]:
        """Give every name its number; return the instructions and the names.

        A label that is called or whose address is taken counts as a function, any other as a place.
        """
        called: set[str] = set()
        maps: dict[int, str] = {}
        kfuncs: dict[int, str] = {}
        numbers: dict[str, int] = {}
        instructions: list[Instruction] = []
        for index, (slot, statement) in enumerate(zip(self._slots, self._statements, strict=True)):
            if not isinstance(statement, Named):
                instructions.append(statement)
                continue
            name = statement.name
            if statement.refers in _PLACES and name not in self.labels:
                other = statement.instead()
                if other is None:
                    raise statement.unknown(self.labels)
                instructions.append(other)
                continue
            if statement.refers is Reference.MAP:
                maps[index] = name
                number = numbers.setdefault(name, len(numbers))
            elif statement.refers is Reference.KFUNC:
                kfuncs[index] = name
                number = 0
            else:
                number = self.labels[name] - slot - 1
                if statement.refers is Reference.FUNCTION:
                    called.add(name)
            instructions.append(statement.build(number))
        places = {name: slot for name, slot in self.labels.items() if name not in called}
        functions = {name: slot for name, slot in self.labels.items() if name in called}
        return instructions, Symbols(places, functions, maps, kfuncs)
