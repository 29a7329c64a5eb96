# SPDX-License-Identifier: Apache-2.0
"""Outputs that take nothing, and a terminal without columns, do not break the command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

BAD = ("cjdns", "label", "nonsense")


def run(*words: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "prestocloud_sec", *words],
        stderr=options.pop("stderr", subprocess.PIPE),  # type: ignore[call-overload]
        check=False,
        timeout=60,
        **options,
    )


@pytest.mark.parametrize("words", [BAD, (*BAD, "--json"), ("cjdns", "--json"), ("--help",)])
def test_a_full_disk_is_one_line_also_for_what_went_wrong(words: tuple[str, ...]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = run(*words, stdout=full)
    assert done.returncode in (1, 2)
    assert done.stderr.count(b"\n") == 1


def test_an_error_for_a_reader_that_went_away() -> None:
    inlet, outlet = os.pipe()
    os.close(inlet)
    done = run(*BAD, "--json", stdout=outlet)
    os.close(outlet)
    assert (done.returncode, done.stderr) == (141, b"")


def test_nobody_to_tell_an_error() -> None:
    with Path("/dev/full").open("wb") as full:
        assert run(*BAD, stdout=subprocess.PIPE, stderr=full).returncode == 1


def test_a_terminal_without_columns() -> None:
    label = "0000.0000.0000.0153"
    done = run("cjdns", "label", label, stdout=subprocess.PIPE, env={**os.environ, "COLUMNS": "0"})
    assert label.encode() in done.stdout
