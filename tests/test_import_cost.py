# SPDX-License-Identifier: Apache-2.0
"""Importing the package costs milliseconds and brings in nothing heavy."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

PROBE = """
import sys, time
start = time.perf_counter()
import prestocloud_sec
took = time.perf_counter() - start
import json
print(json.dumps([took, sorted(m for m in ("numba", "llvmlite", "click", "rich", "numpy") if m in sys.modules)]))
"""
LIMIT = 0.050
"""Seconds; measured inside a fresh interpreter, so that its own start is not counted."""


def test_import_is_cheap() -> None:
    times = []
    for _ in range(7):
        done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True, timeout=60)
        took, heavy = json.loads(done.stdout)
        assert heavy == []
        times.append(took)
    assert statistics.median(times) < LIMIT, times
