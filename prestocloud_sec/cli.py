# SPDX-License-Identifier: Apache-2.0
"""The command line, ``prestocloud-sec``: every subcommand is a thin call of the library.

With ``--json`` a command prints one JSON object, also when it fails (``{"error": {...}}``). The exit codes are those of
`ExitCode`. An error of this package is one line on standard error, never a traceback. This is the only module that
imports click and rich.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NoReturn

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from prestocloud_sec import __version__
from prestocloud_sec.errors import InputError, MisuseError, PrestoCloudError, UnavailableError

if TYPE_CHECKING:
    from prestocloud_sec.cjdns.keysearch import Progress
    from prestocloud_sec.demo import Event, Journey, Summary

__all__ = ["ExitCode", "main"]

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

# --- Failing politely ------------------------------------------------------------------------------------


def _printable(text: str) -> str:
    """Return `text` as one line that can do nothing to a terminal."""
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
            print(f"{NAME}: {_printable(message)}", file=sys.stderr)
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


class _Command(click.Group):
    """The root of the command: it turns every way to fail into an exit code and one line."""

    def main(self, args: Sequence[str] | None = None, *_: Any, **__: Any) -> NoReturn:
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
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # taken here, before click answers it with a code that means something else
            _abandon_output()
            ctx.exit(ExitCode.PIPE)


# --- Reading and printing --------------------------------------------------------------------------------


def _stdin() -> str:
    """Read ASCII text from standard input, up to `STDIN_LIMIT` bytes."""
    if sys.stdin is None:
        raise InputError("closed", where="standard input", expected="text")
    data = sys.stdin.buffer.read(STDIN_LIMIT + 1)
    if len(data) > STDIN_LIMIT:
        raise InputError("too long", where="standard input", expected=f"at most {STDIN_LIMIT} bytes")
    if not data.isascii():
        raise InputError("not ASCII", where="standard input", expected="ASCII text")
    return data.decode("ascii")


def _hex_bytes(text: str, where: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise InputError("not bytes in hexadecimal", where=where, expected="pairs of hexadecimal digits") from error


class _Console(Console):
    """A console that says so when the reader of its output went away."""

    def on_broken_pipe(self) -> NoReturn:
        _abandon_output()
        raise click.exceptions.Exit(ExitCode.PIPE)


def _console() -> Console:
    console = _Console(highlight=False, markup=False, soft_wrap=True)
    if not console.width:  # COLUMNS=0, at which rich prints nothing at all
        console.width = 80
    return console


def _show(rows: Iterable[tuple[str, object]]) -> None:
    """Print names and values, one a line."""
    kept = [(name, str(value)) for name, value in rows]
    width = max(len(name) for name, _ in kept)
    console = _console()
    for name, value in kept:
        console.print(Text.assemble((f"{name:<{width}}", "bold"), "  ", _printable(value)))


def _answer(as_json: bool, values: dict[str, object]) -> None:
    """Print the result of a command: as it is for a machine, as rows for a human."""
    if as_json:
        print(json.dumps(values))
    else:
        _show((name.replace("_", " "), value) for name, value in values.items())


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for machines.")


@click.group(cls=_Command, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name=NAME)
def main() -> None:
    """Use the security layer of PrEstoCloud from the command line."""


@main.group(epilog=EPILOG)
def cjdns() -> None:
    """Keys, addresses, route labels and packets of cjdns."""


# --- Keys ------------------------------------------------------------------------------------------------


@cjdns.command()
@click.option(
    "--prefix", metavar="fcXX", help="Search for an address that begins so; each digit takes 16 times as long."
)
@click.option("--limit", type=click.IntRange(min=1), help="Give up after so many keys (with --prefix).")
@json_option
def keygen(prefix: str | None, limit: int | None, as_json: bool) -> None:
    """Make a key pair; print the private key, the public key and the address.

    The private key is a secret: whoever has it is that node.
    """
    from prestocloud_sec.cjdns.keys import PrivateKey, search_vanity

    if prefix is None:
        if limit is not None:
            raise click.UsageError("--limit goes with --prefix")
        key = PrivateKey.generate()
    else:
        status = Console(stderr=True).status("searching") if sys.stderr.isatty() and not as_json else nullcontext()
        with status as spinner:

            def progress(so_far: Progress) -> None:
                if spinner is not None:
                    spinner.update(
                        f"{so_far.tried:,} keys of about {so_far.expected:,} tried, {so_far.rate:,.0f} a second"
                    )

            key = search_vanity(prefix, progress=progress, limit=limit)
    if sys.stdout.isatty() and not as_json:
        print("The private key is a secret: whoever has it is this node.", file=sys.stderr)
    _answer(as_json, {"private": key.raw.hex(), "public": key.public.text, "address": str(key.address)})
    key.wipe()


@cjdns.command()
@click.argument("key", required=False)
@click.option("--private", is_flag=True, help="Read a private key (64 hexadecimal digits) from standard input.")
@json_option
def address(key: str | None, private: bool, as_json: bool) -> None:
    """Print the address of KEY, a public key in its .k form or as 64 hexadecimal digits."""
    from prestocloud_sec.cjdns.keys import PrivateKey, PublicKey

    if private == (key is not None):
        raise click.UsageError("give either KEY or --private")
    public = PublicKey.parse(key) if key is not None else PrivateKey.parse(_stdin().strip()).public
    _answer(as_json, {"address": str(public.address), "public": public.text, "hex": public.hex})


# --- Labels ----------------------------------------------------------------------------------------------


@cjdns.command()
@click.argument("label")
@click.option(
    "--scheme",
    "names",
    multiple=True,
    type=click.Choice(["v3x5x8", "v4x8", "f4", "f8"], case_sensitive=False),
    help="Encoding scheme of the switches; given several times, of each switch in turn.  [default: v3x5x8]",
)
@json_option
def label(label: str, names: tuple[str, ...], as_json: bool) -> None:
    """Explain LABEL, a route label such as 0000.0000.0000.0153.

    Prints the interface of each switch on its way, and the label with its bits reversed: at the end of a path, where
    each switch has put the way back into the high bits, that is the label of the way back.
    """
    from prestocloud_sec.cjdns import switch

    route = switch.RouteLabel.parse(label)
    hops = route.hops([getattr(switch, name.upper()) for name in names or ("v3x5x8",)])
    if as_json:
        steps = [{"interface": h.interface, "director": h.director, "bits": h.width} for h in hops]
        print(json.dumps({"label": str(route), "hops": steps, "reversed": str(route.reversed())}))
        return
    _show(
        [
            ("label", route),
            *(
                (f"hop {n}", f"interface {h.interface}, director {h.director:0{h.width}b}")
                for n, h in enumerate(hops, 1)
            ),
            ("then", "the router of the last switch"),
            ("reversed", route.reversed()),
        ]
    )


@cjdns.command()
@click.argument("go")
@click.argument("via")
@json_option
def splice(go: str, via: str, as_json: bool) -> None:
    """Print the label of the route VIA followed by the route GO."""
    from prestocloud_sec.cjdns.switch import RouteLabel

    _answer(as_json, {"label": str(RouteLabel.parse(go).splice(RouteLabel.parse(via)))})


# --- Packets ---------------------------------------------------------------------------------------------


@cjdns.command()
@click.argument("packet", metavar="HEX|-")
@click.option(
    "--as",
    "kind",
    type=click.Choice(["datagram", "ethernet", "switch", "content"]),
    default="datagram",
    show_default=True,
    help="What it is: a UDP payload, an Ethernet frame, what an outer session carries (a switch header and what "
    "follows it, control frames included), or what an inner session carries.",
)
@click.option("--handshake", is_flag=True, help="The content came out of a handshake packet (with --as content).")
@json_option
@click.pass_context
def decode(ctx: click.Context, packet: str, kind: str, handshake: bool, as_json: bool) -> None:
    """Take a packet apart, header by header; nothing is decrypted. It is given in hexadecimal, or - reads it."""
    from prestocloud_sec.cjdns.layers import decode_layers

    data = _hex_bytes(_stdin(), "standard input") if packet == "-" else _hex_bytes(packet, "HEX")
    match kind:
        case "switch":
            layers = decode_layers(outer=data)
        case "content":
            layers = decode_layers(inner=data, inner_handshake=handshake)
        case _:
            layers = decode_layers(data, link="ethernet" if kind == "ethernet" else "udp")
    if as_json:
        print(json.dumps({"layers": layers.as_list()}))
    else:
        _console().print(str(layers))
    if any(layer.problem for layer in layers):
        ctx.exit(ExitCode.FAILED)


# --- Demo ------------------------------------------------------------------------------------------------


@main.command()
@click.option("--trace", is_flag=True, help="Print every packet's journey, layer by layer.")
@json_option
@click.pass_context
def demo(ctx: click.Context, trace: bool, as_json: bool) -> None:
    """Run an edge device, a relay and a gateway as processes that exchange IPv6 packets, encrypted, over UDP.

    A fourth process carries the datagrams between them and shows what an eavesdropper could read. All on this machine,
    on the loopback interface; no rights are needed.
    """
    from prestocloud_sec import demo as guided

    if as_json:
        summary = guided.run(trace=trace)
        print(json.dumps(summary.to_dict()))
    else:
        console = _console()
        with _Board(console) as board:
            summary = guided.run(trace=trace, report=board.report)
        for journey in summary.journeys:
            _show_journey(console, journey)
        _show_summary(console, summary)
    if not summary.complete:
        ctx.exit(ExitCode.FAILED)


_PROCESSES = ("edge", "relay", "gateway", "wire")


class _Board:
    """What the processes of the demo tell: a line for each event, and on a terminal a live table below them."""

    _COUNTED = ("datagrams_in", "datagrams_out", "bytes_in", "bytes_out", "switched", "delivered", "refused")

    def __init__(self, console: Console) -> None:
        self._console = console
        self._counters: dict[str, Mapping[str, int]] = {name: {} for name in _PROCESSES}
        self._live = Live(console=console, get_renderable=self._table) if console.is_terminal else None

    def __enter__(self) -> _Board:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def report(self, event: Event) -> None:
        if event.kind == "counters":
            self._counters[event.process] = event.data
        told = _TOLD.get(event.kind)
        if told is not None:
            self._console.print(f"{event.process:<8} {told(event.data)}")

    def _table(self) -> Table:
        table = Table("process", *(name.replace("_", " ") for name in self._COUNTED))
        for name, counted in self._counters.items():
            table.add_row(name, *(f"{counted[key]:,}" if key in counted else "" for key in self._COUNTED))
        return table


_TOLD: dict[str, Callable[[Any], str]] = {
    "ready": lambda d: f"ready, address {d['address']}" if "address" in d else "carries the datagrams of all links",
    "labels": lambda d: f"label of each neighbour: {', '.join(d['labels'])}",
    "linked": lambda d: f"handshake on interface {d['interface']} complete after {1e3 * d['seconds']:.1f} ms",
    "session": lambda d: f"session end to end with {d['address']} after {1e3 * d['seconds']:.1f} ms",
    "overheard": lambda d: f"{d['way']}: {d['size']} bytes, {d['kind']}, readable: {d['readable']}",
    "played": lambda d: f"conversation over, {d['packets']} packets",
}


def _show_journey(console: Console, journey: Journey) -> None:
    console.print(f"\npacket {journey.index}")
    for hop in journey.hops:
        console.print(f"  {hop.station}")
        for layer, size, detail in hop.steps:
            console.print(f"    {layer:<24} {size:>5} bytes  {detail}")


def _show_summary(console: Console, summary: Summary) -> None:
    ear = summary.eavesdropper
    console.print()
    _show(
        [
            ("packets", f"{summary.packets_delivered} of {summary.packets} delivered, {summary.payload_bytes} bytes"),
            ("on the wire", f"{summary.wire_datagrams} datagrams, {summary.wire_bytes} bytes"),
            *(
                (f"handshake {name} - relay", f"{1e3 * seconds:.1f} ms")
                for name, seconds in summary.link_handshake_seconds.items()
            ),
            ("handshake edge - gateway", f"{1e3 * summary.session_handshake_seconds:.1f} ms"),
            (
                "packet, end to end",
                f"{1e3 * summary.transit_seconds_median:.2f} ms median, {1e3 * summary.transit_seconds_p99:.2f} ms p99",
            ),
            ("relay, each datagram", f"{1e6 * summary.relay_seconds_per_datagram:.0f} us"),
            *((f"label, {place}", text) for place, text in summary.labels_on_the_way),
            (
                "eavesdropper",
                f"{', '.join(f'{count} {kind}' for kind, count in ear['kinds'].items())} packets; {len(ear['keys'])} "
                f"permanent keys; {ear['found']} of {ear['markers']} plain-text markers found",
            ),
        ]
    )
