# SPDX-License-Identifier: Apache-2.0
"""``prestocloud-sec bpf`` fed with junk, with what never ends and with what is too large: one line, one exit code."""

from __future__ import annotations

import os
import random
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.test_cli import call, refused

EXIT = bytes.fromhex("9500000000000000")
HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
JUNK = random.Random(7).randbytes(4096)
READERS = [["asm"], ["disasm"], ["explain"], ["run"], ["bench"], ["disasm", "--classic"], ["run", "--classic"]]


def process(*words: str, stdin: bytes, **more: object) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "prestocloud_sec", "bpf", *words]
    return subprocess.run(command, input=stdin, capture_output=True, check=False, timeout=120, **more)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize("words", READERS, ids=" ".join)
@pytest.mark.parametrize("stdin", [JUNK, b"\0" * 64, b"\xff" * 63, "exit".encode("utf-16"), b"\xef\xbb\xbf\0"])
def test_junk_is_one_line(words: list[str], stdin: bytes) -> None:
    done = process(*words, "-", stdin=stdin)
    assert done.returncode in (1, 2)
    assert (done.stdout, done.stderr.count(b"\n")) == (b"", 1)
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("words", READERS, ids=" ".join)
def test_folders_and_files_that_are_not_there(words: list[str], tmp_path: Path) -> None:
    for given in (str(tmp_path), str(tmp_path / "nothing.s")):
        refused(1, "bpf", *words, given)


def test_what_is_too_large_is_refused_before_it_is_made() -> None:
    refused(2, "bpf", "bench", "exit", "--count", str(1 << 24), "--packet", "00" * 1000)
    for declared in ("array,4,1,999999999", "array,4,999999999,1", "hash,\u0663,4,1", "hash,4,4,99999999999"):
        refused(2, "bpf", "run", "exit", "--map", f"m={declared}")


def test_what_never_ends_is_not_timed() -> None:
    start = time.monotonic()
    assert "limit" in call("bpf", "bench", "again:\ngoto again").stderr
    assert "packet" in call("bpf", "bench", "r0 = *(u8 *)(r1 + 5)\nexit", "--packet", "00").stderr
    assert time.monotonic() - start < 60


def test_captures_that_are_none(tmp_path: Path) -> None:
    record = struct.pack("<IIII", 1, 1, 60, 60)
    for number, data in enumerate(
        (
            b"",
            JUNK,
            HEADER[:23],
            HEADER + record[:9],
            HEADER + record + b"short",
            HEADER + struct.pack("<IIII", *[1 << 31] * 4),
        )
    ):
        path = tmp_path / f"{number}.pcap"
        path.write_bytes(data)
        refused(1, "bpf", "filter", "exit", str(path))


@pytest.mark.parametrize(
    "words", [["disasm"], ["explain"], ["explain", "--format", "dot"], ["explain", "--format", "svg"]]
)
def test_long_programs_are_printed_in_seconds(words: list[str]) -> None:
    calls = "".join(f"call f{number}\n" for number in range(8000)) + "exit\n"
    text = calls + "".join(f"f{number}:\nexit\n" for number in range(8000))
    start = time.process_time()
    assert call("bpf", *words, "-", stdin=text).exit_code == 0
    assert time.process_time() - start < 20


@pytest.mark.parametrize(
    "words", [["asm"], ["disasm"], ["explain"], ["explain", "--json"], ["run", "--trace"]], ids=" ".join
)
def test_a_reader_that_went_away(words: list[str]) -> None:
    inlet, outlet = os.pipe()
    os.close(inlet)
    command = [sys.executable, "-m", "prestocloud_sec", "bpf", *words, "-"]
    done = subprocess.run(
        command, input=b"r0 = 1\n" * 5000 + b"exit", stdout=outlet, stderr=subprocess.PIPE, check=False, timeout=120
    )
    os.close(outlet)
    assert (done.returncode, done.stderr) == (141, b"")
