# SPDX-License-Identifier: Apache-2.0
"""All engines on generated programs: equal result or equal fault, by the million.

``python -m prestocloud_sec.testing.bpf_fuzz --programs 1000000 --seed 1`` prints, as JSON, how many programs ran, what
became of them, how many instructions they ran, and every difference with the seed that makes its program again.
Compared are r0, the fault (kind, instruction, address, size), packet, context, what was counted, and both maps.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from prestocloud_sec.bpf import ArrayMap, HashMap
from prestocloud_sec.bpf.isa import Atomic, CallHelper, LegacyLoad, Load, LoadAcquire, Store, StoreRelease
from prestocloud_sec.bpf.vm.compiler.engine import compile_together
from prestocloud_sec.bpf.vm.compiler.engine import execute as compiled
from prestocloud_sec.bpf.vm.interpreter import execute as interpreter
from prestocloud_sec.bpf.vm.machine import Machine
from prestocloud_sec.bpf.vm.reference import execute as reference
from prestocloud_sec.bpf.vm.trace import Trace
from prestocloud_sec.testing.bpf_generate import Generated, generate

__all__ = ["Outcome", "compare"]

_GROUP = 64
"""Programs that are compiled together."""
_LEVELS = (*[0] * 31, 2)
"""Levels of optimisation, taken in turn by the groups; at level 2 LLVM takes ten times as long as all else."""
_TOUCHES = (Load, Store, Atomic, LoadAcquire, StoreRelease, LegacyLoad, CallHelper)
_STEPS = (1, 5, 10, 20, 50, 100, 200, 500, 1000)
_FULL_COUNT = 16
"""Of so many programs, one is traced to count its instructions; tracing is slow."""


@dataclass
class Outcome:
    """What a comparison found.

    Attributes
    ----------
    programs : int
        Programs that ran on every engine.
    ends : Counter
        How they ended: ``value``, or the kind of the fault.
    traced : int
        Programs whose steps were counted.
    long_and_touching : int
        Of those, the ones that ran 20 instructions or more and touched memory, the packet or a map.
    steps : Counter
        Of those, how many ran so many instructions or more, by lower limit.
    levels : Counter
        Programs by LLVM's level of optimisation.
    differences : list
        What to tell of each program on which engines differed.
    """

    programs: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    traced: int = 0
    long_and_touching: int = 0
    steps: Counter[int] = field(default_factory=Counter)
    levels: Counter[int] = field(default_factory=Counter)
    differences: list[dict[str, Any]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the same as plain values."""
        return {
            "programs": self.programs,
            "ends": dict(self.ends),
            "traced": self.traced,
            "long_and_touching": self.long_and_touching,
            "steps": {str(limit): self.steps[limit] for limit in _STEPS},
            "levels": {str(level): count for level, count in sorted(self.levels.items())},
            "differences": self.differences,
        }


class _Maps:
    """The two maps that generated programs use, emptied before every run."""

    def __init__(self) -> None:
        self.array = ArrayMap(16, 4)
        self.hash = HashMap(4, 8, 8)

    def empty(self) -> None:
        values = self.array.values
        if values is not None:
            values[:] = 0
        for key in list(self.hash):
            self.hash.delete(key)

    def contents(self) -> tuple[bytes, tuple[Any, ...]]:
        values = self.array.values
        held = sorted((repr(key), repr(value)) for key, value in self.hash.items())
        return (b"" if values is None else values.tobytes(), tuple(held))


def _seen(machine: Machine, maps: _Maps, packet: bytes, execute: Callable[[Machine], None]) -> tuple[Any, ...]:
    """Run an engine; return everything that can be seen of the run."""
    maps.empty()
    machine.start(packet)
    execute(machine)
    result = machine.finish()
    fault = result.fault
    told = None if fault is None else (fault.kind.name, fault.instruction, fault.address, fault.size)
    return (result.value, told, result.packet, result.context, result.charged, result.redirect, maps.contents())


def _count(outcome: Outcome, machine: Machine, maps: _Maps, case: Generated) -> None:
    """Count what a program runs, step by step."""
    maps.empty()
    machine.start(case.packet)
    trace = Trace()
    reference(machine, trace)
    steps = len(trace)
    outcome.traced += 1
    for limit in _STEPS:
        outcome.steps[limit] += steps >= limit
    instructions = case.program.instructions
    touches = any(isinstance(instructions[step.instruction], _TOUCHES) for step in trace)
    outcome.long_and_touching += touches and steps >= 20


def _cases(seed: int, first: int, count: int) -> Iterator[tuple[int, Generated]]:
    for number in range(first, first + count):
        yield number, generate(random.Random(f"{seed} {number}"))  # noqa: S311 - to be repeated, not to be secret


def compare(seed: int, programs: int, *, first: int = 0, seconds: float | None = None, report: Any = None) -> Outcome:
    """Compare all engines on generated programs.

    Parameters
    ----------
    seed : int
        With the number of a program, what that program is made from.
    programs : int
        How many.
    first : int
        Number of the first.
    seconds : float, optional
        Stop after so long.
    report : callable, optional
        Called with the `Outcome` so far, now and then.
    """
    outcome, maps = Outcome(), _Maps()
    begun = time.monotonic()
    for group, start in enumerate(range(first, first + programs, _GROUP)):
        level = _LEVELS[group % len(_LEVELS)]
        cases = list(_cases(seed, start, min(_GROUP, first + programs - start)))
        machines = [
            Machine(case.program, maps=[maps.array, maps.hash], seed=number + 1, now=1 + number, limit=case.limit)
            for number, case in cases
        ]
        compile_together(machines, level)
        for (number, case), machine in zip(cases, machines, strict=True):
            expected = _seen(machine, maps, case.packet, reference)
            for name, engine in (("interpreter", interpreter), ("compiled", compiled)):
                found = _seen(machine, maps, case.packet, engine)
                if found != expected:
                    outcome.differences.append(
                        {"seed": seed, "number": number, "engine": name, "level": level, "found": repr(found)}
                        | {"expected": repr(expected), "bytes": case.program.to_bytes().hex()}
                    )
            outcome.ends["value" if expected[1] is None else expected[1][0]] += 1
            if number % _FULL_COUNT == 0:
                _count(outcome, machine, maps, case)
        outcome.programs += len(cases)
        outcome.levels[level] += len(cases)
        if report is not None:
            report(outcome)
        if seconds is not None and time.monotonic() - begun > seconds:
            break
    return outcome


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; 1 if engines differed."""
    parser = argparse.ArgumentParser(prog="python -m prestocloud_sec.testing.bpf_fuzz", description=__doc__)
    parser.add_argument("--programs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first program")
    parser.add_argument("--seconds", type=float, default=None, help="stop after so long")
    given = parser.parse_args(arguments)

    def report(outcome: Outcome) -> None:
        if sys.stderr.isatty():
            print(f"\r{outcome.programs:,} programs, {len(outcome.differences)} differences", end="", file=sys.stderr)

    outcome = compare(given.seed, given.programs, first=given.first, seconds=given.seconds, report=report)
    print(json.dumps(outcome.to_dict(), indent=1))
    return 1 if outcome.differences else 0


if __name__ == "__main__":
    sys.exit(main())
