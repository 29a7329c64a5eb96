# SPDX-License-Identifier: Apache-2.0
"""The commands of ``prestocloud-sec bpf`` that judge programs: one, and a file of recorded verdicts."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prestocloud_sec.cli.base import ExitCode, json_option, new_console, printable, show_rows
from prestocloud_sec.cli.bpf_input import classic_option, map_option, maps_of, program_argument, program_of
from prestocloud_sec.errors import InputError
from prestocloud_sec.wire import shown

if TYPE_CHECKING:
    from prestocloud_sec.bpf.program_type import ProgramType
    from prestocloud_sec.bpf.verifier.corpus import Case
    from prestocloud_sec.bpf.verifier.verdict import Verdict

__all__ = ["verify", "verify_corpus"]

_LIMIT = "Refuse it after so many instructions gone through; each takes some 30 to 50 us."
_CORPUS_LIMIT = 1 << 28
"""Most bytes of a file of recorded verdicts."""
_MOST_DIGITS = 10
"""Digits of numbers of 32 bits."""
_ENDS = (
    "Exit codes: 0 accepted; 1 refused, or the input is no program; 2 wrong usage; "
    "3 the running kernel cannot be asked here."
)


def _type_named(_ctx: click.Context, _parameter: click.Parameter, name: str) -> ProgramType:
    from prestocloud_sec.bpf.program_type import ProgramType

    known = {kind.name.lower(): kind for kind in ProgramType if kind is not ProgramType.UNSPEC}
    found = known.get(name.lower())
    if found is None:
        raise click.BadParameter(f"{shown(name)} is no type of program; there are {', '.join(known)}")
    return found


def _pairs(given: tuple[str, ...], expected: str, *, numbered: bool = False) -> dict[int | str, str]:
    """Return what ``KEY=TEXT`` options say; keys of digits are numbers, and all have to be if they are `numbered`."""
    found: dict[int | str, str] = {}
    for text in given:
        key, equals, value = text.partition("=")
        name = key.strip()
        digits = name.lstrip("0") or "0"
        place = int(digits) if name.isascii() and name.isdigit() and len(digits) <= _MOST_DIGITS else name
        if not equals or not name or (numbered and isinstance(place, str)):
            raise click.BadParameter(f"{shown(text)}; expected {expected}")
        if place in found:
            raise click.BadParameter(f"{shown(name)} is there twice")
        found[place] = value
    return found


def _functions_of(_ctx: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> dict[int | str, str]:
    return _pairs(given, "PLACE=TEXT")


def _kfuncs_of(_ctx: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> dict[int | str, str]:
    return _pairs(given, "NUMBER=NAME", numbered=True)


@click.command(short_help="Judge PROGRAM as the kernel would.", epilog=_ENDS)
@program_argument
@click.option(
    "--type",
    "kind",
    callback=_type_named,
    default="socket_filter",
    metavar="NAME",
    show_default=True,
    help="Where it is to run: xdp, sched_cls, cgroup_skb, kprobe, ...",
)
@classic_option
@map_option
@click.option("--profile", type=click.Choice(["kernel", "linux-4.11"]), default="kernel", show_default=True)
@click.option("--attach", type=click.IntRange(0, 0xFFFF_FFFF), default=0, help="The number of the place it is for.")
@click.option("--unprivileged", is_flag=True, help="Judge it as loaded without CAP_BPF and CAP_PERFMON.")
@click.option("--strict-alignment", is_flag=True, help="Every access has to be aligned.")
@click.option("--license", "licence", metavar="TEXT", help="The program's licence.  [default: GPL]")
@click.option("--log", "log_level", type=click.IntRange(1, 2), help="Print a log as the kernel writes it.")
@click.option("--kernel", "ask_kernel", is_flag=True, help="Load it into the running kernel, too, and compare.")
@click.option("--witness", is_flag=True, help="Look for inputs with which a refused program does the damage.")
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=1_000_000, show_default=True, help=_LIMIT)
@click.option(
    "--function",
    "functions",
    multiple=True,
    metavar="PLACE=TEXT",
    callback=_functions_of,
    help="What a function is, in C, by its name, label or slot: 0='int main(void *ctx)'. All, or none.",
)
@click.option("--structs", default="", metavar="TEXT", help="The structs that --function refers to, in C.")
@click.option(
    "--kfunc",
    "kfuncs",
    multiple=True,
    metavar="NUMBER=NAME",
    callback=_kfuncs_of,
    help="The function of the kernel that a number in the program is.",
)
@click.option("--processors", type=click.IntRange(1, 8192), help="How many the machine has that is to run it.")
@json_option
@click.pass_context
def verify(
    ctx: click.Context,
    /,
    program: str,
    kind: ProgramType,
    classic: bool,
    declared: tuple[str, ...],
    log_level: int | None,
    ask_kernel: bool,
    licence: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Judge PROGRAM as the kernel's verifier would, and say why.

    For a program that is refused: the rule it breaks, the instruction, the way that leads there with what is known at
    each step, and what would mend it. The exit code is 0 for a program that is accepted and 1 for one that is not.
    """
    verdict = _judged(program, kind, classic, licence, maps_of(declared), ask_kernel, options)
    if as_json:
        told = verdict.to_json()
        if log_level is not None:
            told["log"] = verdict.log(log_level)
        print(json.dumps(told))
    else:
        console = new_console()
        if log_level is not None:
            console.print("\n".join(map(printable, verdict.log(log_level).splitlines())))
        console.print("\n".join(map(printable, verdict.explain().splitlines())))
    if not verdict.accepted:
        ctx.exit(ExitCode.FAILED)


def _judged(
    program: str,
    kind: ProgramType,
    classic: bool,
    licence: str | None,
    maps: dict[str, Any],
    ask_kernel: bool,
    options: dict[str, Any],
) -> Verdict:
    from prestocloud_sec.bpf import verify as judge

    if options["structs"] and not options["functions"]:
        raise click.UsageError("--structs says something only of what --function declares")
    made = program_of(program, classic=classic)
    if options["functions"]:
        made = made.declaring(options["functions"], structs=options["structs"])
    return judge(
        made,
        type=kind,
        maps=maps,
        profile=options["profile"],
        attach=options["attach"],
        privileged=not options["unprivileged"],
        strict_alignment=options["strict_alignment"],
        license=licence,
        witness=options["witness"],
        limit=options["limit"],
        kfuncs=options["kfuncs"],
        processors=options["processors"],
        compare_with_kernel=ask_kernel,
    )


@click.command(
    "verify-corpus",
    short_help="Judge a file of recorded verdicts.",
    epilog="Exit codes: 0 all was judged, whatever came of it; 1 the file is none; 2 wrong usage.",
)
@click.argument("file", metavar="FILE")
@click.option("--witness", is_flag=True, help="Look for a witness of each refusal for EACCES, too.")
@click.option("--progress", is_flag=True, help="Say on standard error how far it is.")
@json_option
def verify_corpus(file: str, witness: bool, progress: bool, as_json: bool) -> None:
    """Judge every program of FILE, a JSON file of the schema that the kernel's own tests were recorded in.

    Programs that the recording kernel skipped, or could not load for reasons of its environment, are left out.
    """
    from prestocloud_sec.bpf.verifier.corpus import Corpus

    corpus = Corpus.from_json(_text_of(file))
    total = sum(case.counts for case in corpus)

    def tell(judged: int, case: Case, _: Verdict) -> None:
        print(f"\r{judged}/{total}  {printable(case.name)[:60]:<60}", end="", file=sys.stderr, flush=True)

    tally = corpus.judge(witness=witness, progress=tell if progress else None)
    if progress:
        print(file=sys.stderr)
    if as_json:
        print(json.dumps(tally.to_json()))
        return
    rows: list[tuple[str, object]] = [("compared", tally.compared), ("agree", tally.agree)]
    rows += [("accepted, the kernel refuses", f"{case['name']} [{case['errno']}]") for case in tally.false_accept]
    rows += [("refused, the kernel accepts", case["name"]) for case in tally.false_reject]
    if witness:
        rows.append(("witnesses", f"{tally.confirmed} confirmed of {tally.unsafe}"))
    show_rows(rows)


def _text_of(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            data = file.read(_CORPUS_LIMIT + 1)
    except (OSError, ValueError) as error:  # a ValueError is a path with a zero byte
        raise InputError(getattr(error, "strerror", None) or "no path", where=path, expected="a file") from error
    if len(data) > _CORPUS_LIMIT:
        raise InputError("too long", where=path, expected=f"at most {_CORPUS_LIMIT} bytes")
    return data
