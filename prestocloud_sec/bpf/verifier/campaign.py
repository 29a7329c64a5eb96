# SPDX-License-Identifier: Apache-2.0
"""Our verdicts beside those of the running kernel, on as many programs as time allows.

Whoever runs a campaign says where programs come from; `prestocloud_sec.bpf.verifier.generator` makes some. Where the
verdicts differ, the program is made as small as it can be while they differ in the same way, and is kept. What a
campaign found so far is an `Outcome`, which goes to JSON and back, so that it can be gone on with.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any

from prestocloud_sec.bpf.errors import BpfError, BpfMisuseError, MapError
from prestocloud_sec.bpf.verifier.hazards import may_crash_linux
from prestocloud_sec.bpf.verifier.trials import TooLong, Trial, smaller
from prestocloud_sec.bpf.verifier.verdict import Verdict
from prestocloud_sec.wire import whole

__all__ = ["Outcome", "compare", "run_campaign"]

_EDGE = "prestocloud_sec.bpf.linux.verdicts"
"""What asks the running kernel; imported only where it is to be asked."""
_KEPT = 3
"""Cases that are kept of each class of disagreement."""
_MOST_CASES = 300
_MOST = 1 << 62
_MOST_PROCESSED = 50_000
"""Instructions of a judgement beyond which a program is left out: a kernel takes seconds for a million, we minutes."""


@dataclass
class Outcome:
    """What a campaign found so far.

    Attributes
    ----------
    seed : int
        What programs are made from, with their number.
    compared : int
        Programs so far; the next one has this number.
    agree : int
    verdicts : Counter
        ``ours / the kernel's``: each ``accepts`` or ``refuses``.
    errnos : Counter
        What the kernel gave for those that it refused.
    classes : Counter
        Of disagreements: who refuses, and why.
    cases : list of dict
        The smallest program of each disagreement, a few of each class: its number, class and `Trial.to_json`.
    failed : Counter
        Programs that could not be compared, by the reason.
    seconds : float
        Time that was spent.
    """

    seed: int = 1
    compared: int = 0
    agree: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    errnos: Counter[str] = field(default_factory=Counter)
    classes: Counter[str] = field(default_factory=Counter)
    cases: list[dict[str, Any]] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def refused_share(self) -> float:
        """How many of the programs the kernel refused, 0 to 1."""
        return sum(self.errnos.values()) / self.compared if self.compared else 0.0

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "seed": self.seed,
            "compared": self.compared,
            "agree": self.agree,
            "agreement": round(self.agree / self.compared, 5) if self.compared else None,
            "refused_share": round(self.refused_share, 4),
            "seconds": round(self.seconds, 1),
            "verdicts": dict(self.verdicts),
            "errnos": dict(self.errnos.most_common()),
            "classes": dict(self.classes.most_common()),
            "failed": dict(self.failed.most_common()),
            "cases": self.cases,
        }

    @classmethod
    def from_json(cls, told: Any) -> Outcome:
        """Return what `to_json` told.

        Raises
        ------
        BpfError
            If that is not it.
        """
        try:
            made = cls(int(told["seed"]), int(told["compared"]), int(told["agree"]), seconds=float(told["seconds"]))
            made.verdicts, made.errnos = Counter(dict(told["verdicts"])), Counter(dict(told["errnos"]))
            made.classes, made.failed = Counter(dict(told["classes"])), Counter(dict(told["failed"]))
            made.cases = list(told["cases"])
        except (KeyError, TypeError, ValueError) as error:
            raise BpfError(
                "it is no outcome of a campaign", where="outcome", expected="what Outcome.to_json gives"
            ) from error
        return made


def compare(trial: Trial) -> tuple[Verdict, str]:
    """Judge a program here and in the running kernel.

    Returns
    -------
    (Verdict, str)
        Ours, with the kernel's answer as ``kernel``; and in what they differ, empty where they do not.

    Raises
    ------
    UnavailableError
        If the kernel cannot be asked.
    MapError
        If the kernel does not make such a map.
    """
    edge = import_module(_EDGE)
    verdict = replace(trial, processors=edge.possible_cpus()).judge()
    answer = edge.ask(verdict, trial.used, attach=trial.attach, strict_alignment=False, license="GPL")
    verdict = verdict.but(kernel=answer)
    if answer.accepted is verdict.accepted:
        return verdict, ""
    if "E2BIG" in (verdict.errno, answer.errno):  # what the log ends with says where, not why
        return verdict, f"only {'we find' if answer.accepted else 'the kernel finds'} it too complex: E2BIG"
    if answer.accepted:
        return verdict, f"only we refuse it: {verdict.errno} {_told(verdict.message)}"
    return verdict, f"only the kernel refuses it: {answer.errno} {_told(answer.message)}"


def _told(message: str) -> str:
    """Return a message without its numbers, so that those of one kind are equal."""
    return re.sub(r"-?\b(0x[0-9a-f]+|\d+)\b", "N", re.sub(r"\b[Rr]\d+\b", "R", message))[:120]


def run_campaign(
    outcome: Outcome,
    generate: Callable[[int, int], Trial],
    programs: int,
    *,
    seconds: float | None = None,
    minimise: bool = True,
    report: Callable[[Outcome], None] | None = None,
) -> Outcome:
    """Go on with a campaign.

    Parameters
    ----------
    outcome : Outcome
        How far it came; changed.
    generate : callable
        Makes a program from the seed and its number, the same each time.
    programs : int
        Stop after so many, counted from the first.
    seconds : float, optional
        Stop after so long, counted from now.
    minimise : bool
        Whether to make what the verdicts differ on smaller.
    report : callable, optional
        Called with the outcome after each program.

    Raises
    ------
    UnavailableError
        If the kernel cannot be asked.
    BpfMisuseError
        If an argument is wrong.
    """
    if not isinstance(outcome, Outcome) or not callable(generate):
        raise BpfMisuseError("no campaign", where="run_campaign", expected="an Outcome, and what makes programs")
    programs = whole(programs, "programs", 0, _MOST, error=BpfMisuseError)
    begun, before = time.monotonic(), outcome.seconds
    while outcome.compared < programs:
        number = outcome.compared
        _one(outcome, generate(outcome.seed, number), number, minimise=minimise)
        outcome.seconds = before + time.monotonic() - begun
        if report is not None:
            report(outcome)
        if seconds is not None and time.monotonic() - begun > seconds:
            break
    return outcome


def _one(outcome: Outcome, trial: Trial, number: int, *, minimise: bool) -> None:
    outcome.compared += 1
    try:
        trial.rule(_MOST_PROCESSED)
        if may_crash_linux(trial.program):
            outcome.failed["it can crash Linux, which is not asked"] += 1
            return
        verdict, differs = compare(trial)
    except TooLong:
        outcome.failed[f"judging goes through more than {_MOST_PROCESSED} instructions"] += 1
        return
    except MapError as error:
        outcome.failed[_told(str(error))] += 1
        return
    answer = verdict.kernel
    if answer is None:
        return
    if answer.errno is not None:
        outcome.errnos[answer.errno] += 1
    ours, theirs = ("accepts" if accepted else "refuses" for accepted in (verdict.accepted, answer.accepted))
    outcome.verdicts[f"{ours} / {theirs}"] += 1
    if not differs:
        outcome.agree += 1
        return
    outcome.classes[differs] += 1
    if outcome.classes[differs] <= _KEPT and len(outcome.cases) < _MOST_CASES:
        quick = minimise and "E2BIG" not in differs  # each look at a program that is too complex takes seconds
        kept = smaller(trial, lambda proposal: _differs_so(proposal, differs)) if quick else trial
        outcome.cases.append({"number": number, "class": differs, "text": str(kept), **kept.to_json()})


def _differs_so(trial: Trial, wanted: str) -> bool:
    if may_crash_linux(trial.program):
        return False
    try:
        return compare(trial)[1] == wanted
    except MapError:
        return False
