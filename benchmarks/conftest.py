# SPDX-License-Identifier: Apache-2.0
"""Benchmarks as ratios: every piece of work beside its peer or floor, interleaved in one process.

``versus(name, ours, peer, ...)`` times both in turn (ours, peer, ours, peer, ...), so that a machine whose speed drifts
slows both; the ratio of the medians is what counts. pytest-benchmark times ours once more for its own report and keeps
the ratio in ``extra_info``. ``--results FILE`` writes all rows as a Markdown table.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

Work = Callable[[], Any]


@dataclass(frozen=True)
class Row:
    """One measured ratio; times are seconds for one unit of work."""

    name: str
    against: str
    ours: float
    peer: float | None
    target: float | None
    note: str

    @property
    def ratio(self) -> float | None:
        return None if self.peer is None else self.ours / self.peer


ROWS: list[Row] = []


def _once(work: Work, loops: int) -> float:
    start = time.perf_counter()
    for _ in range(loops):
        work()
    return time.perf_counter() - start


def _calibrate(work: Work, least: float) -> int:
    """How many calls take at least `least` seconds."""
    loops = 1
    while True:
        taken = _once(work, loops)
        if taken >= least:
            return loops
        loops = max(loops + 1, int(loops * least / max(taken, 1e-7) * 1.1))


def _nothing() -> None:
    """Stand for work that was measured elsewhere."""


class Versus:
    """Times `ours` against `peer` and records the ratio."""

    def __init__(self, benchmark: Any) -> None:
        self._benchmark = benchmark
        self._timed = False

    def __call__(
        self,
        name: str,
        ours: Work,
        peer: Work,
        *,
        against: str,
        target: float | None = None,
        units: int = 1,
        peer_units: int | None = None,
        rounds: int = 15,
        least: float = 0.02,
        note: str = "",
    ) -> float:
        """Record the ratio per unit of work; one call of `ours` does `units`, of `peer` `peer_units`."""
        peer_units = units if peer_units is None else peer_units
        ours(), peer()  # both warm: compiled, cached, paged in
        n, m = _calibrate(ours, least), _calibrate(peer, least)
        mine, theirs = [], []
        for _ in range(rounds):
            mine.append(_once(ours, n) / n / units)
            theirs.append(_once(peer, m) / m / peer_units)
        row = Row(name, against, statistics.median(mine), statistics.median(theirs), target, note)
        ROWS.append(row)
        self._benchmark.extra_info.update(against=against, ratio=row.ratio, target=target, peer_seconds=row.peer)
        self._again(ours, rounds=5, iterations=n)
        return statistics.median(mine) / statistics.median(theirs)

    def _again(self, work: Work, **how: int) -> None:
        """Time the work once more for pytest-benchmark's own report, which takes one row of a test: the first."""
        if self._timed:
            return
        self._timed = True
        self._benchmark.pedantic(work, **how)

    def report(
        self, name: str, ours: Work, *, units: int = 1, rounds: int = 15, least: float = 0.02, note: str = ""
    ) -> float:
        """Record the seconds for one unit of work that has no peer."""
        ours()
        n = _calibrate(ours, least)
        row = Row(
            name, "(none)", statistics.median(_once(ours, n) / n / units for _ in range(rounds)), None, None, note
        )
        ROWS.append(row)
        self._again(ours, rounds=5, iterations=n)
        return row.ours

    def record(
        self, name: str, *, against: str, ours: float, peer: float | None, target: float | None = None, note: str = ""
    ) -> None:
        """Record a row measured elsewhere (both figures in seconds)."""
        self._benchmark.extra_info.update(against=against, seconds=ours, peer_seconds=peer, target=target)
        self._again(_nothing, rounds=1)
        ROWS.append(Row(name, against, ours, peer, target, note))


@pytest.fixture
def versus(benchmark: Any) -> Versus:
    return Versus(benchmark)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--results", default=None, help="write the table of ratios to this Markdown file")


def _seconds(value: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9)):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value / 1e-12:.3g} ps"


def _machine() -> str:
    model = "unknown processor"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    flags = "AVX-512" if cpuinfo.exists() and "avx512f" in cpuinfo.read_text() else "no AVX-512"
    return f"{os.cpu_count()} x {model} ({flags}), Linux {platform.release()}, CPython {platform.python_version()}"


def _page(table: list[str], config: pytest.Config) -> str:
    """Return RESULTS.md: what was run, on what, and the table."""
    command = " ".join([".venv/bin/python -m pytest", *config.invocation_params.args])
    return f"""# Results

Every row is a ratio: ours and what it is measured against take turns in one process, so that a machine whose speed
drifts slows both; the ratio is that of the medians. Times are for one unit of the work. `make bench` runs them again;
this page was written on {time.strftime("%Y-%m-%d", time.gmtime())} by

```sh
{command}
```

on {_machine()}.

{chr(10).join(table)}
"""


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if not ROWS:
        return
    lines = ["| work | against | ours | peer | ratio | target | note |", "|---|---|---|---|---|---|---|"]
    for row in ROWS:
        ratio = "" if row.ratio is None else f"{row.ratio:.4g}"
        target = "reported" if row.target is None else f"<= {row.target:g}"
        peer = "" if row.peer is None else _seconds(row.peer)
        lines.append(
            f"| {row.name} | {row.against} | {_seconds(row.ours)} | {peer} | {ratio} | {target} | {row.note} |"
        )
    terminalreporter.section("ratios")
    for line in lines:
        terminalreporter.write_line(line)
    path = config.getoption("--results")
    if path:
        Path(path).write_text(_page(lines, config))
    terminalreporter.write_line(_machine())


def compile_c(source: str, directory: Path) -> Path:
    """Compile C text into a shared library with the flags that the ratios are defined by; skip where there is no cc."""
    c_file, library = directory / "peer.c", directory / "peer.so"
    c_file.write_text(source)
    try:
        subprocess.run(
            ["cc", "-O3", "-march=native", "-shared", "-fPIC", "-o", str(library), str(c_file)],
            check=True,
            capture_output=True,
        )
    except FileNotFoundError:
        pytest.skip("no C compiler (cc) to build the peer with")
    except subprocess.CalledProcessError as error:
        sys.stderr.write(error.stderr.decode())
        raise
    return library


@pytest.fixture
def c_library(tmp_path: Path) -> Callable[[str], Path]:
    """Compile C text to a shared library: ``ctypes.CDLL(c_library(source))``."""
    return lambda source: compile_c(source, tmp_path)
