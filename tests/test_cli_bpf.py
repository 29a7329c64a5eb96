# SPDX-License-Identifier: Apache-2.0
"""The commands of ``prestocloud-sec bpf``: results, refusals, and bpf_conformance's protocol."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestocloud_sec.bpf import Program, assemble
from tests.test_cli import answer, call, refused

TEXT = "r0 = *(u8 *)(r1 + 1)\nexit"
HEX = assemble(TEXT).to_bytes().hex()
LOOP = "r1 = 3\nagain:\nr1 -= 1\nif r1 != 0 goto again\nr0 = 7\nexit"
DDD = "2\n40 0 0 12\n22 0 0 0\n"
ENGINES = ["auto", "reference", "interpreter", "compiled"]


class TestText:
    def test_asm(self) -> None:
        assert call("bpf", "asm", TEXT).stdout.strip() == HEX
        assert answer("bpf", "asm", TEXT) == {"instructions": 2, "bytes": HEX}
        assert call("bpf", "asm", "-", stdin=TEXT).stdout.strip() == HEX

    def test_asm_of_classic_text(self) -> None:
        made = call("bpf", "asm", "--classic", "ldh [12]\nret a").stdout.strip()
        assert made == "280000000c000000" + "1600000000000000"

    def test_asm_reads_files(self, tmp_path: Path) -> None:
        (tmp_path / "p.s").write_text(TEXT)
        (tmp_path / "p.bin").write_bytes(bytes.fromhex(HEX))
        assert call("bpf", "asm", str(tmp_path / "p.s")).stdout.strip() == HEX
        assert call("bpf", "disasm", str(tmp_path / "p.bin")).stdout.splitlines()[-1].strip() == "exit"

    @pytest.mark.parametrize(("syntax", "first"), [("kernel", "r0 = *(u8 *)(r1 + 1)"), ("mnemonic", "ldxb r0, [r1+1]")])
    def test_disasm(self, syntax: str, first: str) -> None:
        lines = call("bpf", "disasm", HEX, "--syntax", syntax).stdout.splitlines()
        assert lines[0].strip().replace("%", "") == first
        assert assemble(answer("bpf", "disasm", HEX)["text"]).to_bytes().hex() == HEX

    def test_disasm_of_what_tcpdump_prints(self) -> None:
        assert "ldh [12]" in call("bpf", "disasm", "--classic", "-", stdin=DDD).stdout

    @pytest.mark.parametrize(
        "words", [["asm", "r0 = = 1"], ["disasm", "ff" * 8], ["disasm", "abc"], ["asm", "--classic", "jeq"]]
    )
    def test_what_is_no_program(self, words: list[str]) -> None:
        refused(1, "bpf", *words)

    def test_explain(self) -> None:
        shown = call("bpf", "explain", LOOP).stdout
        assert "a loop" in shown
        told = answer("bpf", "explain", LOOP)
        assert told["back"] == [[1, 1]]
        assert len(told["blocks"]) == 3
        assert call("bpf", "explain", LOOP, "--format", "dot").stdout.startswith("digraph")
        assert "<svg" in call("bpf", "explain", LOOP, "--format", "svg").stdout


class TestRunning:
    @pytest.mark.parametrize("engine", ENGINES)
    def test_run(self, engine: str) -> None:
        assert answer("bpf", "run", TEXT, "--packet", "0a0b", "--engine", engine) == {
            "value": 11,
            "packet": "0a0b",
            "fault": None,
        }
        assert "11" in call("bpf", "run", HEX, "--packet", "0a0b", "--engine", engine).stdout

    def test_a_fault(self) -> None:
        assert "packet" in call("bpf", "run", TEXT, "--packet", "0a").stderr
        failed = call("bpf", "run", TEXT, "--packet", "0a", "--json")
        assert failed.exit_code == 1
        assert "packet" in json.loads(failed.stdout)["fault"]

    def test_limits_and_traces(self) -> None:
        assert "limit" in call("bpf", "run", "again:\ngoto again", "--limit", "50").stderr
        assert "r1 -= 1" in call("bpf", "run", LOOP, "--trace").stdout

    def test_types(self) -> None:
        text = "r2 = *(u32 *)(r1 + 0)\nr0 = *(u32 *)(r1 + 4)\nr0 -= r2\nexit"
        assert answer("bpf", "run", text, "--type", "xdp", "--packet", "00" * 20)["value"] == 20
        assert answer("bpf", "run", "ldh [12]\nret a", "--classic", "--packet", "00" * 12 + "0800")["value"] == 0x800

    def test_bench(self) -> None:
        told = answer("bpf", "bench", TEXT, "--packet", "0a0b", "--count", "2000")
        assert set(told) == {"reference", "interpreter", "compiled"}
        assert all(figures["nanoseconds"] > 0 for figures in told.values())
        assert "ns a packet" in call("bpf", "bench", TEXT, "--packet", "0a0b", "--count", "1000").stdout

    @pytest.mark.parametrize(
        "words",
        [
            ["run"],
            ["run", TEXT, "--engine", "fast"],
            ["run", TEXT, "--limit", "0"],
            ["bench", TEXT, "--count", "0"],
            ["explain"],
        ],
    )
    def test_wrong_usage(self, words: list[str]) -> None:
        refused(2, "bpf", *words)

    @pytest.mark.parametrize("words", [["run", TEXT, "--packet", "0"], ["run", "r0 = 1"], ["run", "goto +9\nexit"]])
    def test_what_cannot_run(self, words: list[str]) -> None:
        refused(1, "bpf", *words)


class TestPlugin:
    """The protocol of bpf_conformance: program on standard input, memory as argument, all in hexadecimal."""

    @pytest.mark.parametrize("engine", ENGINES)
    def test_a_result(self, engine: str) -> None:
        done = call("bpf", "conformance-plugin", "0aff", "--engine", engine, stdin=HEX)
        assert (done.exit_code, done.stdout) == (0, "ff\n")

    def test_memory_may_be_missing_empty_or_spaced(self) -> None:
        both = assemble("r0 = r1\nr0 |= r2\nexit").to_bytes().hex()
        for words in ([], [""]):
            assert call("bpf", "conformance-plugin", *words, stdin=both).stdout == "0\n"
        assert call("bpf", "conformance-plugin", "0a ff", stdin=HEX).stdout == "ff\n"

    def test_all_64_bits_are_printed(self) -> None:
        text = assemble("r0 = -1\nexit").to_bytes().hex()
        assert call("bpf", "conformance-plugin", stdin=text).stdout == "f" * 16 + "\n"

    def test_a_fault_is_an_error(self) -> None:
        done = call("bpf", "conformance-plugin", "0a", stdin=HEX)
        assert done.exit_code == 1
        assert done.stdout == ""
        assert "packet" in done.stderr

    @pytest.mark.parametrize("stdin", ["", "zz", "95", "00" * 8])
    def test_what_is_no_program(self, stdin: str) -> None:
        done = call("bpf", "conformance-plugin", stdin=stdin)
        assert done.exit_code == 1
        assert done.stderr.count("\n") == 1

    def test_as_a_process(self) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "prestocloud_sec", "bpf", "conformance-plugin", "0a0b", "--engine", "reference"],
            input=HEX,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "b\n", "")


@given(st.binary(max_size=80), st.binary(max_size=20))
@settings(max_examples=40)
def test_any_program_ends_in_one_line(data: bytes, memory: bytes) -> None:
    done = call("bpf", "conformance-plugin", memory.hex(), "--engine", "reference", stdin=data.hex())
    assert done.exit_code in (0, 1)
    assert (done.stderr if done.exit_code else done.stdout).count("\n") == 1


def test_programs_of_the_plugin_are_programs() -> None:
    assert Program.from_bytes(bytes.fromhex(HEX)).disassemble().split("\n")[0].strip() == TEXT.split("\n")[0]
