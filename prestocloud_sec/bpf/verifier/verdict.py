# SPDX-License-Identifier: Apache-2.0
"""The verifier's answer: accepted or not, and why; what is known at each instruction; how to mend it."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.bpf.verifier.rejection import Rejected, Rule
from prestocloud_sec.wire import shown

if TYPE_CHECKING:
    from prestocloud_sec.bpf.program import Program
    from prestocloud_sec.bpf.program_type import ProgramType
    from prestocloud_sec.bpf.verifier.environment import Environment
    from prestocloud_sec.bpf.verifier.facts import Facts
    from prestocloud_sec.bpf.verifier.paths import PathStep
    from prestocloud_sec.bpf.verifier.profiles import Profile
    from prestocloud_sec.bpf.verifier.state import State
    from prestocloud_sec.bpf.verifier.witness import NoWitness, Witness

__all__ = ["KernelAnswer", "Verdict"]

_SHOWN_STEPS = 12
"""Steps of a way that the short forms show: the last ones."""
_SHOWN_ROWS = 400
"""Instructions that the table of a notebook shows."""


@dataclass(frozen=True, slots=True)
class KernelAnswer:
    """What the running kernel said of a program.

    Attributes
    ----------
    accepted : bool
    errno : str or None
        The name of its errno; None where it took the program.
    message : str
        The last thing that its log says of the reason.
    log : str
        Its whole log, at level 1.
    agrees : bool
        Whether its verdict is ours.
    """

    accepted: bool
    errno: str | None
    message: str
    log: str = field(repr=False)
    agrees: bool

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it, without the log."""
        return {"accepted": self.accepted, "errno": self.errno, "message": self.message, "agrees": self.agrees}

    def __str__(self) -> str:
        said = "accepts it" if self.accepted else f"refuses it [{self.errno}]: {self.message}"
        return f"{said} ({'as here' if self.agrees else 'which is not what is said here'})"


class Verdict:
    """What `verify` found; true where the program is accepted.

    Attributes
    ----------
    program : Program or None
        What was judged; None where the bytes were none.
    type : ProgramType
        As what.
    profile : Profile
        By whose rules.
    accepted : bool
        Whether the kernel would take it.
    reason : Rule or None
        The rule that is broken.
    message : str
        What is wrong, much as the kernel's log says it; empty where nothing is.
    errno : str or None
        The name of what bpf(2) would give: ``EACCES``, ``EINVAL``, ...
    instruction : int or None
        Index of the instruction that is to blame, where one is; of bytes that are no program, the slot. Texts say
        `slot`, as the kernel and listings do: a 64-bit load is one instruction of two slots.
    hint : str
        What would mend it, where that is known.
    processed, states : int
        Instructions gone through on all ways, and states that were kept to compare later ones with.
    witness : Witness or NoWitness or None
        Where one was asked for: what `prestocloud_sec.bpf.verifier.witness` found, inputs with which the reference
        interpreter really commits the fault, or how far they were looked for.
    kernel : KernelAnswer or None
        Where it was asked for: what the running kernel said.

    Notes
    -----
    `path`, `facts` and `log` go through the program again when they are first asked for.
    """

    __slots__ = (
        "_again",
        "_facts",
        "_path",
        "accepted",
        "errno",
        "hint",
        "instruction",
        "kernel",
        "message",
        "processed",
        "profile",
        "program",
        "reason",
        "states",
        "type",
        "witness",
    )

    program: Program | None
    type: ProgramType
    profile: Profile
    accepted: bool
    reason: Rule | None
    message: str
    errno: str | None
    instruction: int | None
    hint: str
    processed: int
    states: int
    witness: Witness | NoWitness | None
    kernel: KernelAnswer | None
    _again: Callable[[], Environment] | None
    _facts: Facts | None
    _path: tuple[PathStep, ...] | None

    def __init__(
        self,
        program: Program | None,
        type: ProgramType,
        profile: Profile,
        rejected: Rejected | None,
        *,
        processed: int = 0,
        states: int = 0,
        again: Callable[[], Environment] | None = None,
    ) -> None:
        given = {
            "program": program,
            "type": type,
            "profile": profile,
            "accepted": rejected is None,
            "reason": rejected.rule if rejected is not None else None,
            "message": rejected.what if rejected is not None else "",
            "errno": rejected.errno if rejected is not None else None,
            "instruction": rejected.instruction if rejected is not None else None,
            "hint": rejected.hint if rejected is not None else "",
            "processed": processed,
            "states": states,
            "witness": None,
            "kernel": None,
            "_again": again,
            "_facts": None,
            "_path": None,
        }
        for name, value in given.items():
            object.__setattr__(self, name, value)

    def but(self, **changes: Any) -> Verdict:
        """Return the same verdict with other attributes; for `witness` and `kernel`, which are found later."""
        made = Verdict.__new__(Verdict)
        for name in Verdict.__slots__:
            object.__setattr__(made, name, changes[name] if name in changes else getattr(self, name))
        return made

    def __reduce__(self) -> tuple[object, ...]:
        """Verdicts are copied and pickled without what they find anew when it is asked for, and without witnesses."""
        found = {name: getattr(self, name) for name in Verdict.__slots__}
        return _restored, (found | {"_facts": None, "_path": None, "witness": None},)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"verdicts do not change: cannot set {name!r}")

    def __bool__(self) -> bool:
        return self.accepted

    @property
    def slot(self) -> int | None:
        """Where the instruction that is to blame begins, in units of eight bytes: what the kernel counts in."""
        if self.program is None or self.instruction is None:
            return self.instruction
        last = len(self.program.instructions)
        return self.program.slot_of(self.instruction) if self.instruction < last else len(self.program)

    @property
    def again(self) -> Callable[[], Environment] | None:
        """What gives a new environment of the same program, to go through it once more; None where that cannot be."""
        return self._again

    # --- Why.

    @property
    def path(self) -> tuple[PathStep, ...]:
        """The way that leads to the fault, the faulty instruction last; empty for an accepted program.

        Only the instruction itself, without a state, where the program is refused for its structure; nothing where no
        single instruction is to blame.
        """
        if self._path is None:
            object.__setattr__(self, "_path", self._find_path())
        return self._path or ()

    def _find_path(self) -> tuple[PathStep, ...]:
        from prestocloud_sec.bpf.disassembler import line_text
        from prestocloud_sec.bpf.verifier.paths import PathStep, way_to_fault

        program = self.program
        if self.accepted or program is None:
            return ()
        way: list[tuple[int, State | None]] = []
        if self._again is not None:
            way = way_to_fault(self._again, self.instruction)
        elif self.instruction is not None:
            way = [(self.instruction, None)]
        count = len(program.instructions)
        return tuple(
            PathStep(index, program.slot_of(index), program.instructions[index], line_text(program, index), state)
            for index, state in way
            if 0 <= index < count
        )

    @property
    def facts(self) -> Facts | None:
        """What is true before each instruction of an accepted program; None for one that is refused."""
        if self._facts is None and self.accepted and self._again is not None:
            from prestocloud_sec.bpf.verifier.facts import facts_of

            object.__setattr__(self, "_facts", facts_of(self._again, self.processed))
        return self._facts

    def log(self, level: int = 1) -> str:
        """Return a log as the kernel writes it.

        Parameters
        ----------
        level : {1, 2}
            1: the way that was refused, or little for an accepted program. 2: all ways, with their states.

        Raises
        ------
        BpfMisuseError
            If there is no such level.
        """
        from prestocloud_sec.bpf.verifier.log import log_of

        return log_of(self, level)

    def explain(self) -> str:
        """Return the verdict as text for people: what is wrong, how the program gets there, what would mend it."""
        if self.accepted:
            lines = [f"accepted: {self._measure()}"]
            return "\n".join(lines if self.kernel is None else [*lines, f"the running kernel: {self.kernel}"])
        where = f"instruction {self.slot}: " if self.instruction is not None else ""
        lines = [f"refused [{self.errno}]: {where}{self.message}", f"the rule: {self.reason}"]
        lines.append(f"judged as {self.type.name}")
        if self.hint:
            lines.append(f"to mend it: {self.hint}")
        path = self.path
        if path:
            way = "the way there" if len(path) <= _SHOWN_STEPS else f"the last {_SHOWN_STEPS} steps there"
            lines.append(f"{way}{self._beginning(path[0].slot)}:")
            shown_steps = path[-_SHOWN_STEPS:]
            width = max(len(str(step)) for step in shown_steps)
            lines += [f"    {step!s:<{width}}  ; {step.relevant}".rstrip(" ;") for step in shown_steps]
        if self.witness is not None:
            lines.append(f"witness: {self.witness}")
        if self.kernel is not None:
            lines.append(f"the running kernel: {self.kernel}")
        return "\n".join(lines)

    def _beginning(self, slot: int) -> str:
        """Return in which function a way begins, if that is not the first."""
        info = self.program.func_info if self.program is not None else None
        if not slot or info is None or slot not in info.functions:
            return ""
        return f", in {info.btf.name(info.functions[slot])}, which is judged by itself"

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as JSON has it; with the way for a refused program."""
        return {
            "accepted": self.accepted,
            "type": self.type.name.lower(),
            "profile": str(self.profile),
            "rule": self.reason.name if self.reason is not None else None,
            "message": self.message or None,
            "errno": self.errno,
            "instruction": self.instruction,
            "slot": self.slot,
            "hint": self.hint or None,
            "processed": self.processed,
            "states": self.states,
            "path": [{"slot": step.slot, "text": step.text, "registers": dict(step.registers)} for step in self.path],
            "witness": None if self.witness is None else self.witness.to_json(),
            "kernel": None if self.kernel is None else self.kernel.to_json(),
        }

    def _measure(self) -> str:
        return f"{self.processed} instructions gone through, {self.states} states kept"

    def __repr__(self) -> str:
        kind = self.type.name
        if self.accepted:
            return f"<Verdict: accepted as {kind}, {self._measure()}>"
        where = f" at instruction {self.slot}" if self.instruction is not None else ""
        return f"<Verdict: refused as {kind} [{self.errno}]{where}: {shown_text(self.message)}>"

    def __str__(self) -> str:
        return self.explain()

    # --- Pictures.

    def _repr_html_(self) -> str:
        if self.accepted:
            return f"<p><b>accepted</b>: {html.escape(self._measure())}</p>" + self._facts_table()
        head = [f"<b>refused</b> [{html.escape(str(self.errno))}]: {html.escape(self.message)}"]
        head.append(f"rule: {html.escape(str(self.reason))}")
        if self.hint:
            head.append(f"to mend it: {html.escape(self.hint)}")
        if self.witness is not None:
            head.append(f"witness: {html.escape(str(self.witness))}")
        rows = [(str(step.slot), step.text, step.known) for step in self.path[-_SHOWN_ROWS:]]
        return f"<p>{'<br/>'.join(head)}</p>" + _table(rows, last=True)

    def _facts_table(self) -> str:
        from prestocloud_sec.bpf.disassembler import line_text

        program, facts = self.program, self.facts
        if program is None or facts is None:
            return ""
        rows = []
        for index in range(min(len(facts), _SHOWN_ROWS)):
            held = facts[index]
            known = "never reached" if held is None else ", ".join(f"{name}={value}" for name, value in held.items())
            rows.append((str(program.slot_of(index)), line_text(program, index), known))
        return _table(rows)

    def to_svg(self) -> str:
        """Return the program's control-flow graph, with what is known beside each instruction, as an SVG document.

        The way to the fault is marked, and the instruction that is to blame; of an accepted program the registers that
        each instruction reads, and what never is reached.

        Raises
        ------
        BpfMisuseError
            If the program has no graph: it has no instructions, or its jumps lead nowhere.
        """
        from prestocloud_sec.bpf.cfg import ControlFlowGraph
        from prestocloud_sec.bpf.drawing import svg

        if self.program is None or not self.program.instructions or self._again is None:
            raise BpfMisuseError(
                "there is no graph of it", where="Verdict.to_svg", expected="a program whose jumps lead somewhere"
            )
        notes, marks = self._notes()
        return svg(ControlFlowGraph(self.program), notes=notes, marks=marks)

    def _repr_svg_(self) -> str | None:
        try:
            return self.to_svg()
        except BpfMisuseError:
            return None

    def _notes(self) -> tuple[Mapping[int, str], Mapping[int, str]]:
        """Return what to write beside instructions, and how to mark them."""
        if self.accepted:
            facts = self.facts
            held = list(facts) if facts is not None else []
            return {
                index: "never reached" if row is None else ", ".join(f"{name}={value}" for name, value in row.items())
                for index, row in enumerate(held)
            }, {}
        path = self.path
        notes = {step.index: step.known for step in path}
        marks = {step.index: "way" for step in path}
        if self.instruction is not None:
            notes[self.instruction] = self.message
            marks[self.instruction] = "fault"
        return notes, marks


def _restored(values: Mapping[str, Any]) -> Verdict:
    made = Verdict.__new__(Verdict)
    for name in Verdict.__slots__:
        object.__setattr__(made, name, values[name])
    return made


def shown_text(text: str) -> str:
    """Return a message on one short line."""
    return shown(text)[1:-1] if len(text) > 100 else text


def _table(rows: list[tuple[str, str, str]], *, last: bool = False) -> str:
    """Return a table of instructions; `last` marks the last one."""
    said = []
    for position, row in enumerate(rows):
        style = ' style="background:#ffebe9"' if last and position == len(rows) - 1 else ""
        cells = "".join(f'<td style="text-align:left"><code>{html.escape(cell)}</code></td>' for cell in row)
        said.append(f"<tr{style}>{cells}</tr>")
    head = "".join(f'<th style="text-align:left">{name}</th>' for name in ("slot", "instruction", "known before it"))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(said)}</tbody></table>"
