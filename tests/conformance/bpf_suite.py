# SPDX-License-Identifier: Apache-2.0
"""The bpf_conformance suite on every engine; and its assembler text, where it is there, against the assembler.

A user-space machine follows the suite also where the kernel's verifier refuses a program (shifts beyond the width,
``callx``). What the kernel returned has to agree with what the suite expects, or the file contradicts itself.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from prestocloud_sec.bpf import Program, assemble
from tests.conformance.bpf_programs import ENGINES, bytes_of
from tests.conformance.family import Case, Family, tests_of

MASK = 0xFFFF_FFFF
_NOT_TESTS = ("ubpf", "ubpf_match", "groups", "isa", "opcode_outside_spec_table", "name")


def sections_of(text: str) -> dict[str, list[str]]:
    """Return the lines of a ``.data`` file by section, without comments and empty lines."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        code = line.partition("#")[0].rstrip()
        if "--" in code:
            lines = found.setdefault(code.replace("-", " ").strip(), [])
        elif code.strip():
            lines.append(code)
    return found


def load_suite(path: Path) -> Any:
    """Read the index, and beside it the file of each test where there is one."""
    document = json.loads(path.read_bytes())
    for test in document["tests"]:
        file = path.parent / test["name"]
        if file.is_file():
            test["data"] = file.read_text()
    return document


def compare_text(case: Case) -> None:
    """Compare what the assembler makes of a test's text, and what the file says besides, with the index."""
    sections = sections_of(case["data"])
    if sections.get("raw"):
        data = b"".join(int(word, 0).to_bytes(8, "little") for line in sections["raw"] for word in line.split())
    else:
        data = assemble("\n".join(sections["asm"]), syntax="mnemonic").to_bytes()
    assert data == bytes_of(case)
    assert bytes.fromhex("".join(sections.get("mem", ()))) == bytes.fromhex(case["mem_hex"])
    assert int(sections["result"][-1], 0) == int(case["result"], 16)


def compare(case: Case, document: Case) -> None:
    data, expected = bytes_of(case), int(case["result"], 16)
    assert case["error"] == "", "a test that expects an error: what the machine says has no rule here"
    program = Program.from_bytes(data)
    assert program.to_bytes() == data
    for syntax in ("mnemonic", "kernel"):
        assert assemble(program.disassemble(syntax=syntax), syntax=syntax).to_bytes() == data, syntax
    if "data" in case:
        compare_text(case)
    for engine in ENGINES:
        result = program.run(bytes.fromhex(case["mem_hex"]), engine=engine)
        assert result.fault is None, f"{engine}: {result.fault}"
        assert result.value == expected, engine
    accepted = {"ACCEPT": True, "REJECT": False}[case["kernel_6_18_verdict"]]
    assert accepted is ("kernel_retval32" in case)
    if accepted:
        assert case["kernel_match"] is (case["kernel_retval32"] == expected & MASK)


FILES = {
    "conformance/index.json": Family(compare, frozenset(_NOT_TESTS), tests_of, load_suite),
}
