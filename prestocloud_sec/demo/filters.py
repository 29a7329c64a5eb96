# SPDX-License-Identifier: Apache-2.0
"""The demo's second stage: the capture's packets through packet filters, classic and translated, on every engine.

The filters are tcpdump's, compiled for Ethernet frames. What tcpdump makes of each expression is shipped as it prints
it (``tcpdump -ddd``); where tcpdump is installed, the expressions are compiled afresh and those results are used. Each
filter runs as classic BPF with the readable interpreter, and translated to eBPF on the three engines; all must keep the
same packets.
"""

from __future__ import annotations

import math
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources

import numpy as np

from prestocloud_sec.arena import PacketArena
from prestocloud_sec.bpf import ClassicProgram
from prestocloud_sec.demo.capture import conversation

__all__ = ["ENGINES", "EXPRESSIONS", "FilterRow", "Filters", "frames", "run_filters", "shipped"]

EXPRESSIONS = (
    "ip6",
    "icmp6",
    "udp port 5683",
    "tcp port 80 and ip6 host 2001:db8::e",
    "ip6[4:2] > 100",
    "tcp port 8080",
    "greater 200",
)
ENGINES = ("classic", "reference", "interpreter", "compiled")
"""The readable interpreter of classic BPF, and the three engines of eBPF."""
_ETHERNET = bytes.fromhex("02000000000202000000000186dd")
"""Two addresses that nobody has, and the EtherType of IPv6."""
_COPIES = {"classic": 1, "reference": 1, "interpreter": 200, "compiled": 2000}
"""How many times over the capture is given to each engine."""
_TIMES = 3
"""How often each is timed: a run takes a millisecond, and the machine has other things to do. The best counts."""
_TCPDUMP_SECONDS = 20


@dataclass(frozen=True, slots=True)
class FilterRow:
    """One filter.

    Attributes
    ----------
    expression : str
        As for tcpdump.
    instructions, translated : int
        Of the classic program, and slots of the eBPF program.
    kept : int
        Packets of the capture that it keeps.
    equal : bool
        Whether all engines kept the same ones.
    packets_per_second : dict of str to float
        By engine.
    """

    expression: str
    instructions: int
    translated: int
    kept: int
    equal: bool
    packets_per_second: dict[str, float]


@dataclass(frozen=True, slots=True)
class Filters:
    """What the stage showed.

    Attributes
    ----------
    packets : int
        Packets of the capture.
    compiled_by_tcpdump : bool
        Whether tcpdump compiled the expressions just now; otherwise the shipped programs were used.
    rows : tuple of FilterRow
    """

    packets: int
    compiled_by_tcpdump: bool
    rows: tuple[FilterRow, ...]

    @property
    def equal(self) -> bool:
        """Whether all engines agreed on every packet and filter."""
        return all(row.equal for row in self.rows)


def shipped() -> dict[str, str]:
    """Return what ``tcpdump -ddd -y EN10MB`` printed for each expression."""
    text = resources.files("prestocloud_sec.demo").joinpath("data", "filters.ddd").read_text()
    found: dict[str, str] = {}
    for part in text.split("# ")[1:]:
        expression, _, program = part.partition("\n")
        found[expression] = program
    return found


def _fresh() -> dict[str, str] | None:
    """Return what tcpdump prints for each expression now, or None where it is not installed or does not answer."""
    tcpdump = shutil.which("tcpdump")
    if tcpdump is None:
        return None
    found = {}
    for expression in EXPRESSIONS:
        try:
            done = subprocess.run(
                [tcpdump, "-ddd", "-y", "EN10MB", expression],
                capture_output=True,
                text=True,
                timeout=_TCPDUMP_SECONDS,
                check=True,
            )
        except (OSError, subprocess.SubprocessError):
            return None
        found[expression] = done.stdout
    return found


def frames() -> list[bytes]:
    """Return the capture's packets as Ethernet frames."""
    return [_ETHERNET + packet.data for packet in conversation()]


def _repeated(packets: Sequence[bytes], copies: int) -> PacketArena:
    once = PacketArena.pack(packets)
    return PacketArena(once.buffer, np.tile(once.offsets, copies), np.tile(once.lengths, copies))


def _timed(program: ClassicProgram, engine: str, packets: Sequence[bytes]) -> tuple[list[int], float]:
    """Run a filter over the capture; return its results for one copy, and packets a second."""
    copies = _COPIES[engine]
    if engine == "classic":
        start = time.perf_counter()
        results = [program.run(packet) for packet in packets]
        return results, len(packets) / (time.perf_counter() - start)
    arena = _repeated(packets, copies)
    translated = program.to_ebpf()
    batch = translated.run_batch(arena, engine=engine)  # compiled for batches of this size, and its memory made
    seconds = math.inf
    for _ in range(_TIMES):
        start = time.perf_counter()
        batch = translated.run_batch(arena, engine=engine)
        seconds = min(seconds, time.perf_counter() - start)
    kept = batch.retvals.reshape(copies, len(packets))
    results = kept[0].tolist()
    same = not batch.faults.any() and bool((kept == kept[0]).all())
    return results if same else [], len(arena) / seconds


def _rows(
    programs: dict[str, str], packets: Sequence[bytes], report: Callable[[FilterRow], None]
) -> Iterator[FilterRow]:
    for expression in EXPRESSIONS:
        program = ClassicProgram.from_ddd(programs[expression])
        timed = {engine: _timed(program, engine, packets) for engine in ENGINES}
        expected = timed["classic"][0]
        row = FilterRow(
            expression=expression,
            instructions=len(program),
            translated=len(program.to_ebpf()),
            kept=sum(bool(result) for result in expected),
            equal=all(results == expected for results, _ in timed.values()),
            packets_per_second={engine: rate for engine, (_, rate) in timed.items()},
        )
        report(row)
        yield row


def run_filters(report: Callable[[FilterRow], None] | None = None) -> Filters:
    """Run every filter on every engine.

    Parameters
    ----------
    report : callable, optional
        Called with each row as it is there. The first run on a machine compiles the engines, which takes a while.
    """
    fresh = _fresh()
    packets = frames()
    rows = tuple(_rows(fresh or shipped(), packets, report or (lambda _row: None)))
    return Filters(len(packets), fresh is not None, rows)
