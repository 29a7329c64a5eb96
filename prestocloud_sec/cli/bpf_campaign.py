# SPDX-License-Identifier: Apache-2.0
"""``prestocloud-sec bpf verify-campaign``: our verdicts beside the running kernel's, on generated programs."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from prestocloud_sec.cli.base import ExitCode, json_option, printable, show_rows
from prestocloud_sec.errors import InputError

if TYPE_CHECKING:
    from prestocloud_sec.bpf.verifier.campaign import Outcome

__all__ = ["verify_campaign"]

_STATE_LIMIT = 1 << 26
_SAVED_EVERY = 10.0
_MOST = (1 << 62) - 1


@click.command(
    "verify-campaign",
    short_help="Compare verdicts with the running kernel's.",
    epilog="Exit codes: 0 all verdicts are equal; 1 some differ; 2 wrong usage; 3 the kernel cannot be asked here.",
)
@click.option("--programs", type=click.IntRange(1, _MOST), default=1000, show_default=True, help="How many in all.")
@click.option("--seed", type=click.IntRange(0, _MOST), default=1, show_default=True, help="What they are made from.")
@click.option("--seconds", type=click.FloatRange(min=0), help="Stop after so long.")
@click.option("--state", metavar="FILE", help="Keep the outcome in FILE, and go on from it.")
@click.option("--as-they-are", is_flag=True, help="Keep programs on which verdicts differ as they are, not smaller.")
@click.option("--progress/--no-progress", default=None, help="Say on standard error how far it is.  [default: tty]")
@json_option
@click.pass_context
def verify_campaign(
    ctx: click.Context,
    programs: int,
    seed: int,
    seconds: float | None,
    state: str | None,
    as_they_are: bool,
    progress: bool | None,
    as_json: bool,
) -> None:
    """Judge generated programs, load each into the running kernel, and tell where the verdicts differ.

    About half of the programs are refused. Where the verdicts differ, the program is made as small as it can be and is
    kept in the outcome. With --state, a campaign that was interrupted goes on where it was; its seed stays.
    """
    from prestocloud_sec.bpf.linux.host import require
    from prestocloud_sec.bpf.verifier.campaign import Outcome, run_campaign
    from prestocloud_sec.bpf.verifier.generator import numbered

    require()
    outcome = _read(Path(state)) if state is not None else None
    found = outcome if outcome is not None else Outcome(seed)
    watch = _Watch(Path(state) if state is not None else None, programs, progress)
    try:
        run_campaign(found, numbered, programs, seconds=seconds, minimise=not as_they_are, report=watch.report)
    finally:
        watch.save(found)
    watch.end()
    if as_json:
        print(json.dumps(found.to_json()))
    else:
        _show(found)
    if found.agree != found.compared - sum(found.failed.values()):
        ctx.exit(ExitCode.FAILED)


class _Watch:
    """Tells how a campaign goes, and keeps what it found."""

    def __init__(self, state: Path | None, programs: int, progress: bool | None) -> None:
        self._state = state
        self._programs = programs
        self._tells = sys.stderr.isatty() if progress is None else progress
        self._told = self._saved = time.monotonic()

    def report(self, outcome: Outcome) -> None:
        now = time.monotonic()
        if self._tells and now - self._told > 0.2:
            self._told = now
            differ = sum(outcome.classes.values())
            text = (
                f"\r{outcome.compared:,} of {self._programs:,}, {outcome.refused_share:.0%} refused, {differ} differ "
            )
            print(text, end="", file=sys.stderr, flush=True)
        if now - self._saved > _SAVED_EVERY:
            self._saved = now
            self.save(outcome)

    def save(self, outcome: Outcome) -> None:
        if self._state is None:
            return
        draft = self._state.with_name(self._state.name + ".new")
        draft.write_text(json.dumps(outcome.to_json(), indent=1))
        draft.replace(self._state)

    def end(self) -> None:
        if self._tells:
            print(file=sys.stderr)


def _read(path: Path) -> Outcome | None:
    """Return what a file keeps, None if there is none yet."""
    from prestocloud_sec.bpf.verifier.campaign import Outcome

    try:
        with path.open("rb") as file:
            data = file.read(_STATE_LIMIT + 1)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(
            getattr(error, "strerror", None) or "no path", where=str(path), expected="a file of a campaign"
        ) from error
    try:
        told = json.loads(data[:_STATE_LIMIT])
    except (ValueError, RecursionError) as error:
        raise InputError("it is no JSON", where=str(path), expected="a file that a campaign wrote") from error
    return Outcome.from_json(told)


def _show(outcome: Outcome) -> None:
    rows: list[tuple[str, object]] = [
        ("compared", outcome.compared),
        ("agree", f"{outcome.agree} ({outcome.agree / max(outcome.compared, 1):.2%})"),
        ("the kernel refuses", f"{outcome.refused_share:.1%}"),
    ]
    rows += [("could not be compared", f"{count} x {reason}") for reason, count in outcome.failed.most_common()]
    rows += [("differ", f"{count} x {reason}") for reason, count in outcome.classes.most_common()]
    show_rows(rows)
    for case in outcome.cases:
        print(f"\n{printable(str(case['class']))}")
        print("\n".join(map(printable, str(case["text"]).splitlines())))
