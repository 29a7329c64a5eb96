# SPDX-License-Identifier: Apache-2.0
"""Every step of a run as a table: which instruction, what it changed, what it touched."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Step", "Trace"]

MOST_STEPS = 100_000
"""Steps that a trace keeps, where nobody says otherwise."""

_SHOWN = 500
"""Rows of the table that notebooks show."""


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction that was carried out.

    Attributes
    ----------
    instruction : int
        Its index.
    program : int
        Number of its program, 0 unless there was a tail call.
    depth : int
        Active functions below it.
    text : str
        The instruction in the kernel's syntax.
    registers : tuple of (int, int)
        Registers that changed, with their new values.
    touched : tuple of (str, int, int)
        Accesses to memory: ``read`` or ``write``, address, size.
    """

    instruction: int
    program: int
    depth: int
    text: str
    registers: tuple[tuple[int, int], ...]
    touched: tuple[tuple[str, int, int], ...]

    def changes(self) -> str:
        """Return registers and memory as one text."""
        registers = [f"r{number}={value:#x}" for number, value in self.registers]
        memory = [f"{what} {size} at {address:#x}" for what, address, size in self.touched]
        return ", ".join([*registers, *memory])


class Trace:
    """The steps of one run, in the order in which they were begun; a step that ended in a fault is not among them.

    Parameters
    ----------
    most : int
        Steps that are kept; of longer runs, the first.
    """

    def __init__(self, most: int = MOST_STEPS) -> None:
        self.steps: list[Step] = []
        self.most = most
        self.complete = True
        """Whether every step was kept."""

    @property
    def full(self) -> bool:
        """Whether no more steps are kept."""
        return len(self.steps) >= self.most

    def add(self, step: Step, position: int) -> None:
        """Keep a step that was begun when there were `position` others."""
        self.steps.insert(position, step)

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    def __getitem__(self, index: int) -> Step:
        return self.steps[index]

    def __str__(self) -> str:
        width = max((len(step.text) for step in self.steps), default=0)
        lines = [
            f"{'  ' * step.depth}{step.instruction:>5}: {step.text:<{width}}  {step.changes()}".rstrip()
            for step in self.steps
        ]
        return "\n".join(lines if self.complete else [*lines, "..."])

    def __repr__(self) -> str:
        return f"<Trace: {len(self)} steps{'' if self.complete else ' and more'}>"

    def _repr_html_(self) -> str:
        shown = self.steps[:_SHOWN]
        head = "<tr><th>instruction</th><th></th><th>changes</th></tr>"
        rows = "".join(
            f"<tr><td>{step.instruction}</td><td><code>{html.escape(step.text)}</code></td>"
            f"<td>{html.escape(step.changes())}</td></tr>"
            for step in shown
        )
        whole = self.complete and len(shown) == len(self)
        more = "" if whole else f"<caption>the first {len(shown)} steps</caption>"
        return f"<table>{more}{head}{rows}</table>"
