# SPDX-License-Identifier: Apache-2.0
"""Every step of a run as a table: which instruction, what it changed, what it touched."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass

from prestocloud_sec.bpf.vm.layout import FRAME_SIZE, place_of

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
        The instruction in the kernel's syntax, with the names that its program has for maps, and those of helpers.
    registers : tuple of (int, int)
        Registers that changed, with their new values; after the call of a helper r0 in any case.
    touched : tuple of (str, int, int)
        Accesses to memory: ``read`` or ``write``, address, size.
    slot : int
        Where the instruction begins, in units of eight bytes: the number that texts say.
    """

    instruction: int
    program: int
    depth: int
    text: str
    registers: tuple[tuple[int, int], ...]
    touched: tuple[tuple[str, int, int], ...]
    slot: int

    def changes(self) -> str:
        """Return registers and memory as one text."""
        registers = [f"r{number}={value:#x}" for number, value in self.registers]
        memory = [f"{what} {size} at {_place(address, self.depth)}" for what, address, size in self.touched]
        return ", ".join([*registers, *memory])


def _place(address: int, depth: int) -> str:
    """Return an address as a program would have come by it."""
    found = place_of(address)
    if found is None:
        return f"{address:#x}"
    name, offset = found
    if f"stack frame {depth}" == name:
        name, offset = "r10", offset - FRAME_SIZE
    return f"{address:#x} ({name} {'-' if offset < 0 else '+'} {abs(offset)})"


class Trace:
    """The steps of one run, in the order in which they were begun; a step that ended in a fault is not among them.

    Parameters
    ----------
    most : int
        Steps that are kept; of longer runs, the first.

    Attributes
    ----------
    steps : list of Step
        Those that were carried out.
    complete : bool
        Whether every step was kept.
    stopped : Step or None
        The one that ended in a fault, without what it changed.
    reason : str
        What the fault was.
    """

    def __init__(self, most: int = MOST_STEPS) -> None:
        self.steps: list[Step] = []
        self.most = most
        self.complete = True
        self.stopped: Step | None = None
        self.reason = ""

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
        shown = self._lines()
        width = max((len(text) for _, text, _ in shown), default=0)
        lines = [f"{place}: {text:<{width}}  {changes}".rstrip() for place, text, changes in shown]
        if not self.complete:
            lines.insert(len(self), "...")
        return "\n".join(lines)

    def _lines(self) -> list[tuple[str, str, str]]:
        """Return place, instruction and changes of each step, and of the one that was stopped."""
        lines = [(f"{'  ' * step.depth}{step.slot:>5}", step.text, step.changes()) for step in self.steps]
        if self.stopped is not None:
            step = self.stopped
            lines.append((f"{'  ' * step.depth}{step.slot:>5}", step.text, f"stopped: {self.reason}"))
        return lines

    def __repr__(self) -> str:
        more = "" if self.complete else " and more"
        return f"<Trace: {len(self)} steps{more}{', then a fault' if self.stopped is not None else ''}>"

    def _repr_html_(self) -> str:
        shown = self.steps[:_SHOWN]
        head = "<tr><th>slot</th><th>instruction</th><th>changes</th></tr>"
        rows = "".join(
            f"<tr><td>{step.slot}</td><td><code>{html.escape(step.text)}</code></td>"
            f"<td>{html.escape(step.changes())}</td></tr>"
            for step in shown
        )
        if self.stopped is not None:
            rows += (
                f"<tr><td>{self.stopped.slot}</td><td><code>{html.escape(self.stopped.text)}</code></td>"
                f"<td>stopped: {html.escape(self.reason)}</td></tr>"
            )
        whole = self.complete and len(shown) == len(self)
        more = "" if whole else f"<caption>the first {len(shown)} steps</caption>"
        return f"<table>{more}{head}{rows}</table>"
