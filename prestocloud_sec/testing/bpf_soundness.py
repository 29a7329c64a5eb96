# SPDX-License-Identifier: Apache-2.0
"""What the verifier accepts never faults: generated programs by the million, each on many inputs.

``python -m prestocloud_sec.testing.bpf_soundness --accepted 1000000 --seed 1 --state FILE`` judges generated programs
(`prestocloud_sec.bpf.verifier.generator`), runs every one that is accepted in the reference interpreter, and keeps in
FILE how far it came, what was refused and why, how runs ended, and every fault with what makes it again. Started with
the same FILE, it goes on.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from prestocloud_sec.bpf.errors import BpfError
from prestocloud_sec.bpf.isa import Load, LoadAcquire
from prestocloud_sec.bpf.verifier.explore import Explorer
from prestocloud_sec.bpf.verifier.generator import generate
from prestocloud_sec.bpf.verifier.inputs import Inputs, Stage, context_size
from prestocloud_sec.bpf.verifier.shadows import Stopped, Violated
from prestocloud_sec.bpf.verifier.state import State
from prestocloud_sec.bpf.verifier.trials import TooLong, Trial
from prestocloud_sec.bpf.verifier.watching import Watch
from prestocloud_sec.bpf.vm import layout
from prestocloud_sec.bpf.vm.fault import Fault, FaultKind
from prestocloud_sec.bpf.vm.machine import Machine
from prestocloud_sec.bpf.vm.memory import Trap
from prestocloud_sec.bpf.vm.reference import execute

__all__ = ["Outcome", "check", "run_campaign"]

_RUNS = 6
_MOST_PROCESSED = 20_000
"""Instructions of the judgement of one program; what takes more is not counted, as it would take all the time."""
_LONGEST_RUN = 1 << 13
"""Instructions of a run; only loops of helpers take more, and turn as they did before."""
_LENGTHS = (0, 1, 13, 14, 15, 20, 33, 34, 42, 64, 100, 300)
_PATTERNS = (b"\0", b"\xff", b"\x01", b"\x80", b"\x7f")
_STEPS = (1, 10, 20, 30, 40, 50, 75, 100)
_HARMLESS = frozenset({FaultKind.LIMIT, FaultKind.TIME})
_PLAYED = 8
"""Results of helpers, and lookups, that differ from run to run; those after them are 0, and find nothing."""
_DESCRIPTION = "read of a map's own description"
_SAVED_EVERY = 30.0
_U64 = (1 << 64) - 1


@dataclass
class Outcome:
    """What came of a campaign.

    Attributes
    ----------
    seed : int
    generated : int
        Programs so far; the next one has this number.
    accepted : int
    runs : int
        Of accepted programs.
    seconds : float
    refused : Counter
        By the rule that is broken.
    types : Counter
        Accepted programs by type.
    lengths : Counter
        Accepted programs that have so many instructions or more.
    ends : Counter
        How runs ended: ``value``, or the kind of a fault.
    skipped : Counter
        Programs that were not judged or not run, by the reason.
    faults : list of dict
        What to tell of each fault.
    """

    seed: int = 1
    generated: int = 0
    accepted: int = 0
    runs: int = 0
    seconds: float = 0.0
    refused: Counter[str] = field(default_factory=Counter)
    types: Counter[str] = field(default_factory=Counter)
    lengths: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    faults: list[dict[str, Any]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        judged = self.accepted + sum(self.refused.values())
        return {
            "seed": self.seed,
            "generated": self.generated,
            "accepted": self.accepted,
            "refused_share": round(sum(self.refused.values()) / judged, 4) if judged else None,
            "runs": self.runs,
            "faults": len(self.faults),
            "seconds": round(self.seconds, 1),
            "refused": dict(self.refused.most_common()),
            "types": dict(self.types.most_common()),
            "lengths": {str(n): self.lengths[str(n)] for n in _STEPS},
            "ends": dict(self.ends.most_common()),
            "skipped": dict(self.skipped.most_common()),
            "cases": self.faults,
        }

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Outcome:
        """Return what `to_json` told."""
        made = cls(told["seed"], told["generated"], told["accepted"], told["runs"], told["seconds"])
        for name in ("refused", "types", "lengths", "ends", "skipped"):
            setattr(made, name, Counter(told[name]))
        made.faults = list(told["cases"])
        return made


def check(case: Trial, rng: random.Random, *, runs: int = _RUNS) -> Counter[str]:
    """Run an accepted program on random inputs; return how the runs ended.

    Parameters
    ----------
    case : Trial
    rng : random.Random
        What the inputs are made from.
    runs : int

    Returns
    -------
    Counter
        ``value`` and kinds of faults; the message of a fault under ``!``.
    """
    stage = Stage(case.program, case.specs)
    ends: Counter[str] = Counter()
    machine = stage.machine(Inputs(), limit=_LONGEST_RUN)
    _watched(machine, stage, case, rng, ends)
    stage.at_call = lambda _: _number(rng)
    for _ in range(runs):
        _prepare(machine, stage, rng)
        execute(machine)
        fault = machine.finish().fault
        if fault is not None and _is_description(fault):
            ends[_DESCRIPTION] += 1
            continue
        ends["value" if fault is None else fault.kind.name] += 1
        if fault is not None and fault.kind not in _HARMLESS:
            ends[f"!{fault}"] += 1
    return ends


def _watched(machine: Machine, stage: Stage, case: Trial, rng: random.Random, ends: Counter[str]) -> None:
    """Run once watched: what the machine lets pass is seen there, such as an access to another element than meant."""
    _prepare(machine, stage, rng)
    values: dict[Hashable, int] = {("return", number): _number(rng) for number in range(_PLAYED)}
    values |= {("there", number): rng.randrange(2) for number in range(_PLAYED)}
    run = Watch(machine, stage, case.environment(), values)
    try:
        run.go()
    except Stopped:
        ends["watched, not to the end"] += 1
    except Violated as seen:
        if seen.at_a_place and _varies(case, seen.instruction):
            ends["watched, to a place that varies"] += 1
            return
        ends["VIOLATED"] += 1
        ends[f"!instruction {seen.instruction}: {seen.what}"] += 1
    except Trap:  # told by the runs that are not watched, if it is one
        ends["watched, trapped"] += 1
    else:
        ends["watched"] += 1


def _varies(case: Trial, instruction: int) -> bool:
    """Whether the verifier does not know the place that an instruction reads, on some way to it."""
    found = False

    def observe(index: int, state: State) -> None:
        nonlocal found
        i = case.program.instructions[index]
        if index == instruction and isinstance(i, Load | LoadAcquire):
            found = found or not state.registers[i.base].number.is_const

    Explorer(case.environment(), observe=observe).run()
    return found


def _is_description(fault: Fault) -> bool:
    """Whether a privileged program read what the kernel keeps of a map, as it may; here there is no such memory."""
    address = fault.address or 0
    return fault.kind is FaultKind.READ and layout.MAP_HANDLES <= address < layout.FUNCTION_HANDLES


def _number(rng: random.Random) -> int:
    draw = rng.random()
    if draw < 0.3:
        return rng.getrandbits(64)
    if draw < 0.6:
        return rng.randrange(64)
    return ((1 << rng.randrange(64)) + rng.choice((0, -1, 1)) - rng.choice((0, 1 << 63))) & _U64


def _bytes(rng: random.Random, size: int) -> bytes:
    return rng.randbytes(size) if rng.random() < 0.6 else rng.choice(_PATTERNS) * size


def _prepare(machine: Machine, stage: Stage, rng: random.Random) -> None:
    """Start a machine on a random packet and context, with random numbers in its maps."""
    size = rng.choice(_LENGTHS) if rng.random() < 0.8 else rng.randrange(80)
    inputs = Inputs(_bytes(rng, size), _bytes(rng, context_size(stage.program)))
    machine.start(inputs.packet, stage.context(inputs))
    for found, spec in zip(machine.maps, stage.specs, strict=False):
        if found.values is not None and spec.inner is None:
            found.values[:] = np.frombuffer(_bytes(rng, len(found.values)), np.uint8)


def run_campaign(
    outcome: Outcome,
    accepted: int,
    *,
    seconds: float | None = None,
    report: Callable[[Outcome], None] | None = None,
) -> Outcome:
    """Go on with a campaign.

    Parameters
    ----------
    outcome : Outcome
        How far it came; changed.
    accepted : int
        Stop after so many accepted programs, counted from the first.
    seconds : float, optional
        Stop after so long, counted from now.
    report : callable, optional
        Called with the outcome after each program.
    """
    begun, before = time.monotonic(), outcome.seconds
    while outcome.accepted < accepted:
        _one(outcome)
        outcome.seconds = before + time.monotonic() - begun
        if report is not None:
            report(outcome)
        if seconds is not None and time.monotonic() - begun > seconds:
            break
    return outcome


def _one(outcome: Outcome) -> None:
    number = outcome.generated
    outcome.generated += 1
    rng = random.Random(f"{outcome.seed} {number}")  # noqa: S311 - to be repeated, not to be secret
    case = generate(rng)
    try:
        rule = case.rule(_MOST_PROCESSED)
    except TooLong:
        outcome.skipped["too long to judge"] += 1
        return
    except Exception as error:  # a bug of the verifier: told, and gone on
        outcome.skipped[f"verifier: {type(error).__name__}"] += 1
        outcome.faults.append({"number": number, "crash": repr(error), "bytes": case.program.to_bytes().hex()})
        return
    if rule is not None:
        outcome.refused[rule.name] += 1
        return
    outcome.accepted += 1
    outcome.types[case.type.name] += 1
    size = len(case.program.instructions)
    for least in _STEPS:
        outcome.lengths[str(least)] += size >= least
    try:
        ends = check(case, rng)
    except BpfError as error:
        outcome.skipped[f"not runnable: {error}"[:80]] += 1
        return
    for end, count in ends.items():
        if end.startswith("!"):
            outcome.faults.append(
                {"number": number, "type": case.type.name, "fault": end[1:], "bytes": case.program.to_bytes().hex()}
            )
        else:
            outcome.ends[end] += count
            outcome.runs += count


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; 1 if an accepted program faulted."""
    parser = argparse.ArgumentParser(prog="python -m prestocloud_sec.testing.bpf_soundness", description=__doc__)
    parser.add_argument("--accepted", type=int, default=10_000, help="programs to accept, and run")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=None, help="stop after so long")
    parser.add_argument("--state", type=Path, default=None, help="file to keep the outcome in, and to go on from")
    given = parser.parse_args(arguments)
    outcome = Outcome(given.seed)
    if given.state is not None and given.state.exists():
        outcome = Outcome.from_json(json.loads(given.state.read_text()))
    saved = time.monotonic()

    def save() -> None:
        if given.state is not None:
            draft = given.state.with_suffix(".new")
            draft.write_text(json.dumps(outcome.to_json(), indent=1))
            draft.replace(given.state)

    def report(_: Outcome) -> None:
        nonlocal saved
        if time.monotonic() - saved > _SAVED_EVERY:
            saved = time.monotonic()
            save()
            if sys.stderr.isatty():
                print(f"\r{outcome.accepted:,} accepted, {len(outcome.faults)} faults", end="", file=sys.stderr)

    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)  # what is made for a program is gone with it: to look for it costs a tenth
    run_campaign(outcome, given.accepted, seconds=given.seconds, report=report)
    save()
    print(json.dumps(outcome.to_json(), indent=1))
    return 1 if outcome.faults else 0


if __name__ == "__main__":
    sys.exit(main())
