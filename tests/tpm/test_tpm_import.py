# SPDX-License-Identifier: Apache-2.0
"""Importing the TPM pillar is cheap: only what is asked for is loaded, and no class is looked at before its use."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

import pytest

from prestocloud_sec import tpm
from prestocloud_sec.tpm import spec

LIMIT = 0.070
"""Seconds for the package; what a TPM library in Python takes today is twice as long."""
LIMIT_OF_ALL = 0.350
"""Seconds for every declaration, on a machine that does other things as well."""

PROBE = """
import sys, time
start = time.perf_counter()
import {module}
took = time.perf_counter() - start
import json
heavy = ("numba", "numpy", "click", "rich", "ctypes", "socket", "asyncio")
loaded = [m for m in heavy if m in sys.modules]
print(json.dumps([took, loaded, "prestocloud_sec.tpm.codec.install" in sys.modules]))
"""


def probe(module: str) -> tuple[float, list[str], bool]:
    code = PROBE.format(module=module)
    runs = []
    for _ in range(5):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
        runs.append(json.loads(done.stdout))
    return statistics.median(run[0] for run in runs), runs[0][1], runs[0][2]


@pytest.mark.parametrize(
    ("module", "limit"), [("prestocloud_sec.tpm", LIMIT), ("prestocloud_sec.tpm.spec", LIMIT_OF_ALL)]
)
def test_import_is_cheap(module: str, limit: float) -> None:
    took, heavy, codec = probe(module)
    assert heavy == []
    assert not codec
    assert took < limit, took


def test_types_of_the_specification_are_found_by_name() -> None:
    assert tpm.TPM_ALG_ID is spec.TPM_ALG_ID
    assert tpm.TPMT_PUBLIC is spec.TPMT_PUBLIC
    for name in ("TPM_NOTHING", "Load", "spec_"):
        with pytest.raises(AttributeError):
            getattr(tpm, name)
