# SPDX-License-Identifier: Apache-2.0
"""What all commands share: exit codes, polite failure, reading and printing."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from enum import IntEnum
from pathlib import Path
from typing import Any, NoReturn

import click
from rich.console import Console
from rich.text import Text

from prestocloud_sec.errors import InputError, MisuseError, PrestoCloudError, UnavailableError

__all__ = [
    "EPILOG",
    "NAME",
    "STDIN_LIMIT",
    "Command",
    "ExitCode",
    "answer",
    "file_bytes",
    "hex_bytes",
    "json_option",
    "new_console",
    "printable",
    "show_rows",
    "stdin_bytes",
    "stdin_text",
]

NAME = "prestocloud-sec"
STDIN_LIMIT = 1 << 20
"""Most bytes that a command reads from standard input."""


class ExitCode(IntEnum):
    """What the command tells the shell."""

    OK = 0
    FAILED = 1
    """The input was refused, or what was asked for did not succeed."""
    USAGE = 2
    """The command was called in a way that its help does not describe."""
    UNAVAILABLE = 3
    """Something optional is not on this machine."""
    INTERRUPTED = 130
    """Ended by Ctrl-C."""
    PIPE = 141
    """Whoever read the output stopped reading."""


EPILOG = (
    "Exit codes: 0 done; 1 the input was refused, or what was asked for did not succeed; 2 wrong usage; "
    "3 something optional is missing here; 130 interrupted; 141 the reader of the output went away."
)


def printable(text: str) -> str:
    """Return `text` as one line that can do nothing to a terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _fail(error: Exception, message: str, code: ExitCode, *, as_json: bool) -> int:
    """Report a failure in the form that was asked for; return the exit code."""
    if as_json:
        told: dict[str, Any] = {"kind": type(error).__name__, "message": message, "code": int(code)}
        for part in ("what", "where", "expected", "hint"):
            if getattr(error, part, None) is not None and isinstance(error, PrestoCloudError):
                told[part] = getattr(error, part)
        print(json.dumps({"error": told}), flush=True)
    else:
        with suppress(OSError):  # nobody is left to tell
            print(f"{NAME}: {printable(message)}", file=sys.stderr)
    return int(code)


def _code_of(error: PrestoCloudError) -> ExitCode:
    if isinstance(error, MisuseError):
        return ExitCode.USAGE
    return ExitCode.UNAVAILABLE if isinstance(error, UnavailableError) else ExitCode.FAILED


def _prepare_output() -> None:
    """Make every text printable in every locale, and a closed stream harmless."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, io.StringIO())
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _abandon_output() -> None:
    """Point standard output at nothing, so that the interpreter can close it without complaint."""
    with suppress(OSError):
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, sys.stdout.fileno())
        os.close(devnull)


class Command(click.Group):
    """The root of the command: it turns every way to fail into an exit code and one line."""

    def main(self, args: Sequence[str] | None = None, *_: Any, **__: Any) -> NoReturn:
        """Run the command line and leave with an exit code."""
        given = list(sys.argv[1:] if args is None else args)
        _prepare_output()
        try:
            code = self._run(given, as_json="--json" in given)
        except BrokenPipeError:
            _abandon_output()
            code = int(ExitCode.PIPE)
        except OSError as error:
            _abandon_output()
            code = _fail(error, error.strerror or str(error), ExitCode.FAILED, as_json=False)
        sys.exit(code)

    def _run(self, given: list[str], *, as_json: bool) -> int:
        try:
            result = super().main(args=given, prog_name=NAME, standalone_mode=False)
            sys.stdout.flush()
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            return int(ExitCode.USAGE)
        except click.ClickException as error:
            return _fail(error, f"{error.format_message()} (see --help)", ExitCode.USAGE, as_json=as_json)
        except PrestoCloudError as error:
            return _fail(error, str(error), _code_of(error), as_json=as_json)
        except (click.Abort, KeyboardInterrupt):
            print(f"{NAME}: interrupted", file=sys.stderr)
            return int(ExitCode.INTERRUPTED)
        return result if isinstance(result, int) else int(ExitCode.OK)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; a reader that went away has a code of its own."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # taken here, before click answers it with a code that means something else
            _abandon_output()
            ctx.exit(ExitCode.PIPE)


def stdin_bytes(limit: int = STDIN_LIMIT) -> bytes:
    """Read standard input, up to `limit` bytes."""
    if sys.stdin is None:
        raise InputError("closed", where="standard input", expected="text")
    data = sys.stdin.buffer.read(limit + 1)
    if len(data) > limit:
        raise InputError("too long", where="standard input", expected=f"at most {limit} bytes")
    return data


def file_bytes(path: str, limit: int) -> bytes:
    """Read a file, up to `limit` bytes; an InputError says what the system refused."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(limit + 1)
    except (OSError, ValueError) as error:  # a ValueError is a path with a zero byte
        raise InputError(getattr(error, "strerror", None) or "no path", where=path, expected="a file") from error
    if len(data) > limit:
        raise InputError("too long", where=path, expected=f"at most {limit} bytes")
    return data


def stdin_text(limit: int = STDIN_LIMIT) -> str:
    """Read ASCII text from standard input, up to `limit` bytes."""
    data = stdin_bytes(limit)
    if not data.isascii():
        raise InputError("not ASCII", where="standard input", expected="ASCII text")
    return data.decode("ascii")


def hex_bytes(text: str, where: str) -> bytes:
    """Return the bytes that pairs of hexadecimal digits stand for."""
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise InputError("not bytes in hexadecimal", where=where, expected="pairs of hexadecimal digits") from error


class _Console(Console):
    """A console that says so when the reader of its output went away."""

    def on_broken_pipe(self) -> NoReturn:
        _abandon_output()
        raise click.exceptions.Exit(ExitCode.PIPE)


def new_console() -> Console:
    """Return a console that prints text as it is."""
    console = _Console(highlight=False, markup=False, soft_wrap=True)
    if not console.width:  # COLUMNS=0, at which rich prints nothing at all
        console.width = 80
    return console


def show_rows(rows: Iterable[tuple[str, object]]) -> None:
    """Print names and values, one a line."""
    kept = [(name, str(value)) for name, value in rows]
    width = max(len(name) for name, _ in kept)
    console = new_console()
    for name, value in kept:
        console.print(Text.assemble((f"{name:<{width}}", "bold"), "  ", printable(value)))


def answer(as_json: bool, values: dict[str, object]) -> None:
    """Print the result of a command: as it is for a machine, as rows for a human."""
    if as_json:
        print(json.dumps(values))
    else:
        show_rows((name.replace("_", " "), value) for name, value in values.items())


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for machines.")
