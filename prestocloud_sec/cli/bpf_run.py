# SPDX-License-Identifier: Apache-2.0
"""The commands of ``prestocloud-sec bpf`` that run a program: over one packet, over a capture, against the clock."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from prestocloud_sec.cli.base import ExitCode, answer, hex_bytes, json_option, new_console, printable, show_rows
from prestocloud_sec.cli.bpf_input import (
    ENGINES,
    capture_of,
    classic_option,
    engine_option,
    map_option,
    maps_of,
    packet_option,
    program_argument,
    program_of,
    type_option,
    write,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from prestocloud_sec.bpf.maps.base import Map

__all__ = ["bench", "filter_", "run"]

VERDICTS: Mapping[str, tuple[str, ...]] = {
    "xdp": ("XDP_ABORTED", "XDP_DROP", "XDP_PASS", "XDP_TX", "XDP_REDIRECT"),
    **dict.fromkeys(
        ("sched_cls", "sched_act"), ("TC_ACT_OK", "TC_ACT_RECLASSIFY", "TC_ACT_SHOT", "TC_ACT_PIPE", "TC_ACT_STOLEN")
    ),
}
"""What a result means to the kernel, by type of program (Linux ``uapi/linux/bpf.h``, ``uapi/linux/pkt_cls.h``)."""
_SHOWN_ENTRIES = 20
_LARGEST_BATCH = 1 << 28
"""Bytes of the packets of a batch."""


@click.command(short_help="Run PROGRAM once.")
@program_argument
@packet_option
@type_option
@classic_option
@engine_option
@map_option
@click.option("--limit", type=click.IntRange(min=1), help="Stop after so many instructions.  [default: 2**26]")
@click.option("--trace", is_flag=True, help="Print every step (with the reference engine).")
@json_option
@click.pass_context
def run(
    ctx: click.Context,
    program: str,
    packet: str,
    type_name: str,
    classic: bool,
    engine: str,
    declared: tuple[str, ...],
    limit: int | None,
    trace: bool,
    as_json: bool,
) -> None:
    """Run PROGRAM once and print what it returned; a fault is told on standard error and ends with exit code 1."""
    options: dict[str, Any] = {} if limit is None else {"limit": limit}
    made, maps = program_of(program, type_name=type_name, classic=classic), maps_of(declared)
    if trace:
        options["trace"] = True
        engine = "reference"
    result = made.run(hex_bytes(packet, "--packet"), engine=engine, maps=maps, **options)
    if as_json:
        values: dict[str, object] = {"value": result.value, "packet": result.packet.hex(), "log": list(result.log)}
        values["fault"] = None if result.fault is None else str(result.fault)
        if maps:
            values["maps"] = _entries_of_all(maps)
        print(json.dumps(values))
        if result.fault is not None:
            ctx.exit(ExitCode.FAILED)
        return
    if trace:
        new_console().print("\n".join(map(printable, str(result.trace).split("\n"))))
    if result.fault is not None:
        raise result.fault.error()
    rows: list[tuple[str, object]] = [
        ("value", _verdict(result.value or 0, type_name)),
        ("packet", result.packet.hex()),
    ]
    show_rows([*rows, *(("log", line.removesuffix("\n")) for line in result.log), *_map_rows(maps)])


def _verdict(value: int, type_name: str) -> str:
    """Return a result for people: decimal, hexadecimal, and what it means."""
    known = VERDICTS.get(type_name, ())
    number = value & 0xFFFF_FFFF
    return f"{value} ({known[number] if number < len(known) else hex(value)})"


def _plain(value: Any) -> Any:
    """Return a key or value as JSON has it."""
    if isinstance(value, bytes):
        return value.hex()
    return value.tolist() if hasattr(value, "tolist") else str(value) if isinstance(value, tuple) else value


def _entries(found: Map) -> list[tuple[Any, Any]]:
    """Return keys and values of a map without those that are 0; of a map without keys, how many there are."""
    if not hasattr(found, "items"):
        return [("entries", len(found))]
    pairs = [(_plain(key), _plain(value)) for key, value in found.items()]
    return [(key, value) for key, value in pairs if value and value != [0] * found.cpus]


def _entries_of_all(maps: Mapping[str, Map]) -> dict[str, list[tuple[Any, Any]]]:
    return {name: _entries(found) for name, found in maps.items()}


def _map_rows(maps: Mapping[str, Map]) -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = []
    for name, entries in _entries_of_all(maps).items():
        rows += [(f"map {name}", f"{key}: {value}") for key, value in entries[:_SHOWN_ENTRIES]]
        if len(entries) > _SHOWN_ENTRIES or not entries:
            rows.append((f"map {name}", f"{len(entries)} entries in all" if entries else "nothing but 0"))
    return rows


def _lets_through(type_name: str, results: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Return which results let a packet through."""
    import numpy as np

    verdicts = results.astype(np.uint32)
    match type_name:
        case "xdp":  # all but XDP_ABORTED, XDP_DROP, and what is no verdict
            through: NDArray[np.bool_] = np.isin(verdicts, (2, 3, 4))
        case "sched_cls" | "sched_act":  # all but TC_ACT_SHOT, TC_ACT_STOLEN, TC_ACT_QUEUED
            through = np.isin(verdicts, (2, 4, 5), invert=True)
        case "cgroup_skb":
            through = verdicts & 1 != 0
        case "socket_filter":
            through = verdicts != 0
        case _:
            through = results != 0
    return through


@click.command("filter", short_help="Run PROGRAM over the packets of a pcap file.")
@program_argument
@click.argument("capture", metavar="CAPTURE")
@type_option
@classic_option
@engine_option
@map_option
@click.option("--out", metavar="FILE", help="Write the packets that were kept to a pcap file.")
@json_option
def filter_(
    program: str,
    capture: str,
    type_name: str,
    classic: bool,
    engine: str,
    declared: tuple[str, ...],
    out: str | None,
    as_json: bool,
) -> None:
    """Run PROGRAM over every packet of CAPTURE, a pcap file, and count those that it keeps.

    Kept is what the kernel would let through: by its verdict, of XDP and traffic control; otherwise where the result is
    not 0. A packet at which the program faults is not kept. With tcpdump, which compiles expressions:

    tcpdump -ddd -y EN10MB 'udp port 53' | prestocloud-sec bpf filter --classic - CAPTURE
    """
    import numpy as np

    made, maps = program_of(program, type_name=type_name, classic=classic), maps_of(declared)
    read = capture_of(capture)
    batch = made.run_batch(read.packets, engine=engine, maps=maps)
    kept = _lets_through("socket_filter" if classic else type_name, batch.values) & (batch.faults == 0)
    if out is not None:
        write(out, read.select(kept).data)
    results, counts = np.unique(batch.values[batch.faults == 0], return_counts=True)
    faulty = np.flatnonzero(batch.faults)
    told = {"packets": len(read), "kept": int(np.count_nonzero(kept)), "faults": len(faulty)}
    by_result = sorted(zip(results.tolist(), counts.tolist(), strict=True), key=lambda row: -row[1])
    if as_json:
        more = {"maps": _entries_of_all(maps)} if maps else {}
        print(json.dumps({**told, "results": by_result, **more}))
        return
    rows: list[tuple[str, object]] = list(told.items())
    rows += [(f"result {_verdict(value, type_name)}", count) for value, count in by_result[:_SHOWN_ENTRIES]]
    if len(by_result) > _SHOWN_ENTRIES:
        rows.append(("results", f"{len(by_result)} in all"))
    if len(faulty):
        rows.append(("first fault", f"packet {faulty[0]}: {batch.fault(int(faulty[0]))}"))
    show_rows([*rows, *_map_rows(maps)])


@click.command(short_help="Time PROGRAM on every engine.")
@program_argument
@packet_option
@type_option
@classic_option
@click.option(
    "--count", type=click.IntRange(1, 1 << 24), default=100_000, show_default=True, help="Packets of a batch."
)
@json_option
def bench(program: str, packet: str, type_name: str, classic: bool, count: int, as_json: bool) -> None:
    """Time PROGRAM over a batch of equal packets on every engine; the reference engine gets a thousandth of them.

    A program that faults at the packet is not timed: the fault is told, and ends with exit code 1.
    """
    import numpy as np

    from prestocloud_sec.arena import PacketArena

    made = program_of(program, type_name=type_name, classic=classic)
    data = np.frombuffer(hex_bytes(packet, "--packet"), np.uint8)
    if len(data) * count > _LARGEST_BATCH:
        raise click.BadParameter(
            f"{count} packets of {len(data)} bytes; at most {_LARGEST_BATCH >> 20} MiB", param_hint="--count"
        )
    made.run(data, engine="interpreter").unwrap()  # one that never ends would be run for hours
    told: dict[str, object] = {}
    for engine in ENGINES[1:]:
        packets = max(1, count // 1000) if engine == "reference" else count
        arena = PacketArena.uniform(packets, len(data))
        if len(data):
            arena.buffer.reshape(packets, len(data))[:] = data
        made.run_batch(arena, engine=engine)  # compiled and warm
        start = time.perf_counter()
        made.run_batch(arena, engine=engine)
        seconds = time.perf_counter() - start
        told[engine] = {"packets": packets, "nanoseconds": 1e9 * seconds / packets}
    if as_json:
        print(json.dumps(told))
        return
    rows = ((engine, figures) for engine, figures in told.items() if isinstance(figures, dict))
    answer(as_json, {engine: f"{figures['nanoseconds']:,.1f} ns a packet" for engine, figures in rows})
