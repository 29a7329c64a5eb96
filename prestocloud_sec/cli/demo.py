# SPDX-License-Identifier: Apache-2.0
"""``prestocloud-sec demo``: the guided run, as lines, as a live table, as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from prestocloud_sec.cli.base import ExitCode, json_option, new_console, printable, show_rows

if TYPE_CHECKING:
    from prestocloud_sec.demo import Event, Journey, Summary
    from prestocloud_sec.demo.trust import Trust

__all__ = ["demo"]


@click.command(short_help="Run an edge device with its TPM, a relay, a gateway and packet filters.")
@click.option("--trace", is_flag=True, help="Print every packet's journey, layer by layer.")
@click.option(
    "--tpm", "uri", metavar="URI", help="The edge device's TPM, such as device:/dev/tpmrm0.  [default: embedded:]"
)
@json_option
@click.pass_context
def demo(ctx: click.Context, trace: bool, uri: str | None, as_json: bool) -> None:
    """Run an edge device, a relay and a gateway as processes that exchange IPv6 packets, encrypted, over UDP.

    A fourth process carries the datagrams between them and shows what an eavesdropper could read. All on this machine,
    on the loopback interface; no rights are needed.

    Then the same packets go through tcpdump's filters, on every engine of BPF. The first time, engines are compiled.

    Then the gateway attests the edge device by its TPM, which gives a secret in the right state only. The TPM is one in
    this process (libtpms) unless told otherwise. A real one is used for PCR 16, which is reset, and keeps nothing.
    """
    from prestocloud_sec import demo as guided

    if as_json:
        summary = guided.run(trace=trace, tpm=uri)
        print(json.dumps(summary.to_dict()))
    else:
        console = new_console()
        with _Board(console) as board:
            summary = guided.run(trace=trace, tpm=uri, report=board.report)
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
    "filtered": lambda d: (
        f"{d['expression']!r} keeps {d['kept']} packets on every engine"
        if d["equal"]
        else f"{d['expression']!r}: THE ENGINES DIFFER"
    ),
    "state": lambda d: (
        f"{d['name']}: {'accepted' if d['accepted'] else 'NOT ACCEPTED'} by the gateway, "
        f"the TPM {'gives' if d['unsealed'] else 'KEEPS'} the secret"
    ),
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
    show_rows(
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
    console.print()
    _show_filters(console, summary)
    console.print()
    if summary.trust is not None:
        _show_trust(console, summary.trust)


def _show_filters(console: Console, summary: Summary) -> None:
    """Print how many packets a second each engine filters."""
    filters = summary.filters
    whose = "compiled by tcpdump just now" if filters.compiled_by_tcpdump else "as tcpdump compiled them"
    console.print(f"{filters.packets} packets through {len(filters.rows)} filters, {whose}")
    console.print("size: instructions, and those of the translation to eBPF; then packets a second on each engine")
    engines = list(filters.rows[0].packets_per_second)
    table = Table("filter", "size", "kept", *engines)
    for row in filters.rows:
        rates = (_rate(row.packets_per_second[engine]) for engine in engines)
        table.add_row(Text(row.expression), f"{row.instructions}, {row.translated}", str(row.kept), *rates)
    console.print(table)


def _rate(value: float) -> str:
    """Return a number of packets with two digits and a unit."""
    for unit, scale in ((" M", 1e6), (" k", 1e3)):
        if value >= scale:
            return f"{value / scale:,.1f}{unit}"
    return f"{value:,.0f}"


def _show_trust(console: Console, trust: Trust) -> None:
    """Print what the gateway and the TPM made of the device in each state."""
    if trust.missing:
        console.print(printable(f"without a TPM: {trust.missing}"))
        return
    console.print(printable(f"the edge device's TPM: {trust.tpm}"))
    console.print(f"attested in four messages: {', '.join(f'{name} {size} bytes' for name, size in trust.messages)}")
    table = Table("state", "gateway", "secret", "attested in", "unsealed in")
    for state in trust.states:
        times = (f"{1e3 * seconds:.1f} ms" for seconds in (state.attest_seconds, state.unseal_seconds))
        told = "accepts" if state.accepted else "refuses", "given" if state.unsealed else "kept"
        table.add_row(state.name, *told, *times)
    console.print(table)
    for state in trust.states:
        if state.culprit:
            console.print(printable(f"{state.name}, says the gateway: {state.culprit}"))
        if state.words:
            console.print(printable(f"{state.name}, says the TPM: {state.words}"))
    if trust.problem:
        console.print(printable(f"not to its end: {trust.problem}"))
