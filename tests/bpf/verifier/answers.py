# SPDX-License-Identifier: Apache-2.0
"""Small programs with what the kernel says of them, its answers live, and what logs and pictures say."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import NamedTuple

from prestocloud_sec.bpf import MapType, Program, ProgramType, Verdict, assemble, linux, verify
from prestocloud_sec.bpf.errors import LoadError
from prestocloud_sec.bpf.object import Btf, FuncInfo
from prestocloud_sec.bpf.verifier.maps import MapSpec

XDP = ProgramType.XDP
PROGRAMS = MapSpec(MapType.PROG_ARRAY, 4, 4, 1)
"""What ``map[programs]`` is."""
_COUNTS = re.compile(r"processed (\d+) insns .* total_states (\d+) ")
_OWN = re.compile(r"mark_precise|\([\d,]+\) (frame|live)|frame \d+: propagating|R\d+ offset is outside|SCC ")
"""How lines begin that only the kernel has."""


@dataclass(frozen=True)
class Case:
    """A program, and what the kernel answered.

    Attributes
    ----------
    text : str
        For the assembler.
    errno : str or None
        None if it is accepted.
    says : str
        What is said of the reason. Of parts with a semicolon between, each is in the kernel's log.
    told : str
        What the kernel says instead, where its words are others.
    kind : ProgramType
    functions : mapping
        Declarations, as for `Program.declaring`.
    types : str
        What these refer to.
    """

    text: str
    errno: str | None = None
    says: str = ""
    told: str = ""
    kind: ProgramType = XDP
    functions: Mapping[str | int, str] = field(default_factory=dict)
    types: str = "struct xdp_md {}; struct __sk_buff {}; struct small { u64 a; }; struct pair { u64 a, b; };"

    @property
    def program(self) -> Program:
        made = assemble(self.text, type=self.kind)
        return made.declaring(self.functions, structs=self.types) if self.functions else made


class Answer(NamedTuple):
    """What the kernel says: whether it takes a program, its errno, and its log."""

    accepted: bool
    errno: str | None
    log: str

    @property
    def counts(self) -> tuple[int, int]:
        """Instructions gone through, and states kept."""
        found = _COUNTS.search(self.log)
        assert found is not None, self.log
        return int(found[1]), int(found[2])


def judged(program: Program) -> Verdict:
    return verify(program, maps=[PROGRAMS])


def asked(program: Program, level: int = 4, licence: str = "GPL") -> Answer:
    """Ask the kernel; the program is gone again when the answer is there, and never runs."""
    with ExitStack() as stack:
        maps = []
        if program.symbols.maps:
            maps.append(stack.enter_context(linux.KernelMap(PROGRAMS.type, key_size=4, value_size=4, max_entries=1)))
        try:
            loaded = linux.KernelProgram.load(program, license=licence, maps=maps, log_level=level)
        except LoadError as error:
            return Answer(False, error.symbol, error.log)
        stack.enter_context(loaded)
        return Answer(True, None, loaded.log)


def check_ours(case: Case) -> None:
    """Check our verdict against what was written down."""
    verdict = judged(case.program)
    assert (verdict.accepted, verdict.errno) == (case.errno is None, case.errno), verdict
    assert case.says in verdict.message
    assert bool(case.says) is not verdict.accepted


def check_theirs(case: Case) -> None:
    """Check the kernel's answer against what was written down, and that it counted what we counted."""
    program = case.program
    verdict, answer = judged(program), asked(program)
    assert (answer.accepted, answer.errno) == (case.errno is None, case.errno), answer.log
    for part in (case.told or case.says).split("; "):
        assert part in answer.log
    if answer.accepted:
        assert (verdict.processed, verdict.states) == answer.counts


def described(text: str, btf: Btf, functions: Mapping[int, int], kind: ProgramType = XDP) -> Program:
    """Return a program with types that nobody would declare."""
    made = assemble(text, type=kind)
    return Program(made.instructions, type=kind, symbols=made.symbols, func_info=FuncInfo(btf, functions))


def plain(log: str) -> list[str]:
    """Return a log without what ours does not have: the kernel's looking back, names of maps, equal identifiers.

    What the kernel tells on a line of its own because it told of looking back before, is put behind its instruction.
    """
    lines: list[str] = []
    for line in log.splitlines():
        if _OWN.match(line):
            continue
        line = re.sub(r"r(\d) = (0xffff[0-9a-f]{12}|map\[\w+\])", r"r\1 = map", line)
        line = re.sub(r"\bid=\d+", "id=N", line.replace("map=flows,", "").replace("=P", "="))
        line = re.sub(r" +;", " ;", line).rstrip()
        bare = bool(lines) and re.match(r"\d+: \([^;]*$", lines[-1])
        if bare and re.match(r"\d+: (frame\d: ?)?R", line):
            lines[-1] += " ; " + line.partition(" ")[2]
            continue
        lines.append(line)
    return lines


def pictured(verdict: Verdict) -> tuple[list[tuple[str, ...]], list[str]]:
    """Return what a verdict's pictures say: the rows of its table, and the lines of its drawing, without alignment."""
    table = ElementTree.fromstring(f"<div>{verdict._repr_html_()}</div>")  # noqa: S314 - our own
    drawing = ElementTree.fromstring(verdict.to_svg())  # noqa: S314 - our own
    rows = [tuple("".join(cell.itertext()) for cell in row) for row in table.iter("tr")]
    lines = ["".join(line.itertext()) for line in drawing.iter("{http://www.w3.org/2000/svg}text")]
    return rows, [re.sub(r" +;", " ;", line) for line in lines]
