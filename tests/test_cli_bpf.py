# SPDX-License-Identifier: Apache-2.0
"""The commands of ``prestocloud-sec bpf``: results, refusals, and bpf_conformance's protocol."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import prestocloud_sec
from prestocloud_sec.bpf import Program, assemble
from prestocloud_sec.pcap import Capture
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

    def test_asm_says_that_names_are_lost(self) -> None:
        done = call("bpf", "asm", "call kfunc bpf_iter_num_next; exit")
        assert (done.exit_code, done.stdout) == (0, "85200000000000009500000000000000\n")
        assert "at 0 (bpf_iter_num_next)" in done.stderr
        assert answer("bpf", "asm", "call kfunc bpf_iter_num_next; exit")["kfuncs"] == {"0": "bpf_iter_num_next"}

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

    def test_disasm_with_names(self) -> None:
        text = "if r1 == 0 goto +1\ncall 1\nexit"
        assert call("bpf", "disasm", text).stdout.splitlines() == text.splitlines()
        named = call("bpf", "disasm", text, "--names").stdout.splitlines()
        assert named == ["    if r1 == 0 goto L2", "    call bpf_map_lookup_elem#1", "L2:", "    exit"]

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

    def test_a_semicolon_ends_an_instruction_of_one_line(self) -> None:
        assert call("bpf", "asm", TEXT.replace("\n", "; ")).stdout.strip() == HEX
        assert call("bpf", "asm", "r0 = *(u8 *)(r1 + 1) ; the second byte\nexit").stdout.strip() == HEX
        assert call("bpf", "asm", "-", stdin=TEXT.replace("\n", "; ")).stdout.strip() == HEX[:16]
        assert answer("bpf", "run", "--classic", "ldh [0]; ret a", "--packet", "0102")["value"] == 0x102

    @pytest.mark.parametrize("classic", [[], ["--classic"]])
    @pytest.mark.parametrize("name", ["none.bpf", "/nowhere/at/all", "./none"])
    def test_a_file_that_is_not_there(self, name: str, classic: list[str]) -> None:
        assert f"there is no file '{name}'" in refused(1, "bpf", "run", name, *classic)

    def test_what_is_wrong_in_a_file_is_told_by_its_line(self, tmp_path: Path) -> None:
        (tmp_path / "p.s").write_text("r0 = 1\nexot\n")
        assert "line 2, column 1" in refused(1, "bpf", "run", str(tmp_path / "p.s"))

    def test_objects_are_told_from_programs(self, tmp_path: Path) -> None:
        (tmp_path / "p.o").write_bytes(b"\x7fELF\x02\x01\x01" + bytes(57))
        assert "llvm-objcopy" in refused(1, "bpf", "disasm", str(tmp_path / "p.o"))

    def test_what_llvm_objdump_prints(self) -> None:
        dump = (
            "\np.o:\tfile format elf64-bpf\n\nDisassembly of section xdp:\n\n0000000000000000 <f>:\n"
            "       0:\t18 01 00 00 05 00 00 00 00 00 00 00 00 00 00 00\tr1 = 0x5 ll\n"
            "       2:\t05 00 00 00 00 00 00 00\tgoto +0x0 <f+0x18>\n"
            "       3:\tb7 00 00 00 02 00 00 00\tr0 = 0x2\n"
            "       4:\t95 00 00 00 00 00 00 00\texit\n"
        )
        assert call("bpf", "disasm", "-", stdin=dump).stdout.splitlines() == ["r1 = 5 ll", "goto +0", "r0 = 2", "exit"]
        assert answer("bpf", "run", "-", stdin=dump)["value"] == 2
        assert "several programs" in refused(1, "bpf", "disasm", "-", stdin=dump + dump)

    def test_lists_with_commas(self) -> None:
        assert "ldh [12]" in call("bpf", "disasm", "--classic", DDD.strip().replace("\n", ",")).stdout


class TestRunning:
    @pytest.mark.parametrize("engine", ENGINES)
    def test_run(self, engine: str) -> None:
        assert answer("bpf", "run", TEXT, "--packet", "0a0b", "--engine", engine) == {
            "value": 11,
            "packet": "0a0b",
            "log": [],
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

    def test_a_trace_is_shown_before_the_fault_that_ends_it(self) -> None:
        done = call("bpf", "run", "r2 = 3\nr0 = *(u8 *)(r1 + 9)\nexit", "--packet", "0a", "--trace")
        assert done.exit_code == 1
        assert "r2 = 3" in done.stdout
        assert "offset 9 of the packet" in done.stderr

    def test_what_a_program_prints_is_shown(self) -> None:
        text = "r1 = 0x0a6968 ll\n*(u64 *)(r10 - 8) = r1\nr1 = r10\nr1 += -8\nr2 = 4\ncall 6\nr0 = 0\nexit"
        assert answer("bpf", "run", text)["log"] == ["hi\n"]
        assert "log     hi\n" in call("bpf", "run", text).stdout

    @pytest.mark.parametrize(
        ("type_name", "value", "told"),
        [("xdp", 2, "XDP_PASS"), ("sched_cls", 2, "TC_ACT_SHOT"), ("sched_act", 0, "TC_ACT_OK"), ("raw", 255, "0xff")],
    )
    def test_results_are_told_by_name(self, type_name: str, value: int, told: str) -> None:
        assert f"value   {value} ({told})" in call("bpf", "run", f"r0 = {value}; exit", "--type", type_name).stdout

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


COUNT = """
    r6 = *(u32 *)(r1 + 0)
    r7 = *(u32 *)(r1 + 4)
    r2 = r6
    r2 += 21
    if r2 > r7 goto pass
    r3 = *(u8 *)(r6 + 20)
    *(u32 *)(r10 - 4) = r3
    r1 = map[protocols]
    r2 = r10
    r2 += -4
    call 1
    if r0 == 0 goto pass
    r1 = 1
    lock *(u64 *)(r0 + 0) += r1
pass:
    r0 = 2
    exit
"""


class TestCaptures:
    CAPTURE = str(Path(prestocloud_sec.__file__).parent / "demo" / "data" / "conversation.pcap")
    NEXT_HEADERS: ClassVar = Counter(bytes(packet)[20] for packet in Capture(Path(CAPTURE).read_bytes()).packets)

    @pytest.mark.parametrize("engine", ENGINES)
    def test_a_classic_filter(self, engine: str, tmp_path: Path) -> None:
        text, out = "ldb [20]; jeq #58, keep; ret #0; keep: ret #-1", tmp_path / "icmp.pcap"
        told = answer("bpf", "filter", "--classic", text, self.CAPTURE, "--engine", engine, "--out", str(out))
        kept = self.NEXT_HEADERS[58]
        assert told == {"packets": 87, "kept": kept, "faults": 0, "results": [[0, 87 - kept], [0xFFFFFFFF, kept]]}
        written = Capture(out.read_bytes())
        assert len(written) == kept
        assert all(bytes(packet)[20] == 58 for packet in written.packets)

    def test_maps_of_a_program(self) -> None:
        words = ["bpf", "filter", COUNT, self.CAPTURE, "--type", "xdp", "--map", "protocols=array,4,8,256"]
        told = answer(*words)
        assert told["kept"] == 87
        assert dict(map(tuple, told["maps"]["protocols"])) == self.NEXT_HEADERS
        shown = call(*words).stdout
        assert "result 2 (XDP_PASS)  87" in shown
        assert f"map protocols        58: {self.NEXT_HEADERS[58]}" in shown

    @pytest.mark.parametrize(
        ("type_name", "kept"),
        [("xdp", {2, 3, 4}), ("sched_cls", {0, 1, 3}), ("cgroup_skb", {1, 3, 5}), ("raw", {1, 2, 3, 4, 5})],
    )
    def test_verdicts(self, type_name: str, kept: set[int]) -> None:
        for verdict in range(6):
            told = answer("bpf", "filter", f"r0 = {verdict}; exit", self.CAPTURE, "--type", type_name)
            assert told["kept"] == (87 if verdict in kept else 0)

    def test_faults_are_told_and_keep_nothing(self) -> None:
        text = "r0 = *(u8 *)(r1 + 100); r0 = 1; exit"
        sizes = Capture(Path(self.CAPTURE).read_bytes()).packets.lengths
        told = answer("bpf", "filter", text, self.CAPTURE)
        assert (told["faults"], told["kept"]) == (int((sizes <= 100).sum()), int((sizes > 100).sum()))
        first = int((sizes <= 100).argmax())
        assert f"packet {first}: instruction 0: read of 1 byte" in call("bpf", "filter", text, self.CAPTURE).stdout

    def test_many_results_and_entries_are_cut_short(self, tmp_path: Path) -> None:
        (tmp_path / "many.pcap").write_bytes(Capture.pack([bytes([n] * 30) for n in range(1, 60)]).data)
        text = COUNT.replace("    r0 = 2", "    r0 = *(u32 *)(r10 - 4)")
        words = [
            "bpf",
            "filter",
            text,
            str(tmp_path / "many.pcap"),
            "--type",
            "xdp",
            "--map",
            "protocols=array,4,8,256",
        ]
        shown = call(*words).stdout
        assert "59 in all" in shown
        assert "59 entries in all" in shown
        assert len(answer(*words)["maps"]["protocols"]) == 59

    @pytest.mark.parametrize(
        ("declared", "entries"),
        [
            ("protocols=hash,4,8,9", []),
            ("protocols=percpu_array,4,8,9", None),
            ("protocols=lpm_trie,8,4,9", []),
            ("protocols=lru_hash,4,3,9", []),
            ("protocols=queue,0,4,9", [["entries", 0]]),
        ],
    )
    def test_kinds_of_maps(self, declared: str, entries: list[Any] | None) -> None:
        told = answer("bpf", "run", "r1 = map[protocols]; r0 = 0; exit", "--map", declared)
        assert told["maps"]["protocols"] == (entries or [])
        assert call("bpf", "run", "r1 = map[protocols]; r0 = 0; exit", "--map", declared).exit_code == 0

    @pytest.mark.parametrize(
        "declared",
        ["protocols", "=hash,4,8,9", "protocols=hash,4,8", "protocols=heap,4,8,9", "protocols=hash,4,8,-1", ""],
    )
    def test_what_declares_no_map(self, declared: str) -> None:
        assert "NAME=KIND,KEY,VALUE,ENTRIES" in refused(2, "bpf", "run", "exit", "--map", declared)

    def test_maps_that_the_kernel_would_not_make(self) -> None:
        assert "EINVAL" in refused(1, "bpf", "run", "exit", "--map", "protocols=hash,4,8,0")

    def test_files_that_cannot_be_read_or_written(self, tmp_path: Path) -> None:
        (tmp_path / "no.pcap").write_text("no capture at all, but some text")
        assert "magic" in refused(1, "bpf", "filter", "exit", str(tmp_path / "no.pcap"))
        assert "/nowhere/x: No such file" in refused(1, "bpf", "filter", "exit", "/nowhere/x")
        refused(1, "bpf", "filter", "exit", str(tmp_path))
        refused(1, "bpf", "filter", "exit", "a\0b")
        assert "/nowhere/x: No such file" in refused(1, "bpf", "filter", "exit", self.CAPTURE, "--out", "/nowhere/x")


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
