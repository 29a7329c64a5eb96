# SPDX-License-Identifier: Apache-2.0
"""Type checkers, and with them editors, know what each method takes and returns."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.slow
def test_mypy_knows_what_methods_return() -> None:
    pytest.importorskip("mypy", reason="mypy is not here")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--warn-unused-ignores", "tests/tpm/client/typed.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
