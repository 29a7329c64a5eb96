# SPDX-License-Identifier: Apache-2.0
"""The kernel's rules: what it refused and accepted when asked, recorded and live, for sockets and for seccomp."""

from __future__ import annotations

import base64
import ctypes
import json
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given

from prestocloud_sec.bpf.classic import ClassicProgram, assemble, check
from prestocloud_sec.bpf.errors import BpfMisuseError, ClassicError
from prestocloud_sec.testing.bpf_classic import nearly_programs, programs
from tests.bpf.classic.kernel import filtered, fork

VECTORS = json.loads((Path(__file__).resolve().parents[2] / "vectors" / "bpf" / "cbpf_filters.json").read_text())


def code_of(row: dict[str, Any]) -> bytes:
    if "insns_hex" in row:
        return bytes.fromhex(row["insns_hex"])
    return zlib.decompress(base64.b64decode(row["insns_zb64"]))


def refusal(code: bytes, profile: str = "socket") -> str | None:
    try:
        ClassicProgram.from_bytes(code).check(profile)
    except ClassicError as error:
        return error.symbol
    return None


@pytest.mark.parametrize("row", VECTORS["invalid"], ids=lambda row: row["name"])
def test_recorded_verdicts(row: dict[str, Any]) -> None:
    assert refusal(code_of(row)) == row["kernel_errno"]


def test_recorded_filters() -> None:
    for row in VECTORS["filters"]:
        assert refusal(code_of(row)) == row.get("kernel_attach_errno"), row["expr"]


def i(code: int, jt: int = 0, jf: int = 0, k: int = 0) -> bytes:
    return struct.pack("<HBBI", code, jt, jf, k)


RET, READ, WRITE = i(0x06), i(0x60, k=3), i(0x02, k=3)
AFTER_RETURN = i(0x15, 2) + i(0x05, k=3) + RET + WRITE + i(0x05, k=1) + RET + READ + RET
"""M[3] is written on the only way to the read, but a ret before it counts as a way as well."""


@given(nearly_programs(max_size=5))
@example(AFTER_RETURN)
@example(WRITE + i(0x15, 0, 1) + RET + READ + RET)
@example(i(0x15, 0, 1) + WRITE + READ + RET)
def test_nearly_programs(code: bytes) -> None:
    with filtered() as pair:
        assert refusal(code) == pair.refusal(code)


@given(programs(max_size=40))
def test_programs_that_are_drawn_are_right(program: ClassicProgram) -> None:
    with filtered() as pair:
        assert pair.refusal(program.to_bytes()) is None
    program.check()


def test_length() -> None:
    with filtered() as pair:
        for count in (1, 4096, 4097):
            code = RET * count
            assert refusal(code) == pair.refusal(code) == (None if count <= 4096 else "EINVAL")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "0 instructions; expected 1..4096"),
        ("tax", "instruction 0, field code: the program can run on behind its last instruction; expected ret"),
        ("ld #1\nld M[2]\nret a", "instruction 1, field k: M[2] is read before it is written"),
        ("st M[16]\nret a", "instruction 0, field k: there is no M[16]; expected M[0]..M[15]"),
        ("div #0\nret a", "instruction 0, field k: div by 0"),
        ("mod #0\nret a", "instruction 0, field k: mod by 0"),
        ("rsh #32\nret a", "instruction 0, field k: rsh by 32; expected 0..31"),
        (
            "jmp +1\nret a",
            "instruction 0, field k: it leads to 2, outside the program; expected an instruction up to 1",
        ),
        ("jeq #1, +0, +1\nret a", "instruction 0, field jf: it leads to 2"),
        ("jeq #1, +1\nret a", "instruction 0, field jt: it leads to 2"),
        ("ld [0xfffff001]\nret a", "instruction 0, field k: there is no ancillary data 0xfffff001"),
    ],
)
def test_errors_say_what_is_wrong(text: str, said: str) -> None:
    program = assemble(text)
    for call in (program.check, lambda: check(program), lambda: program.run(b""), program.to_ebpf):
        with pytest.raises(ClassicError) as caught:
            call()
        assert str(caught.value).startswith(said)
        assert caught.value.symbol == "EINVAL"


def test_misuse() -> None:
    program = assemble("ret #0")
    for profile in ("tcp", None, 5):
        with pytest.raises(BpfMisuseError, match="is no profile; expected 'socket' or 'seccomp'"):
            program.check(profile)  # type: ignore[arg-type]
        with pytest.raises(BpfMisuseError, match="is no profile"):
            program.to_ebpf(profile)  # type: ignore[arg-type]
    with pytest.raises(BpfMisuseError, match="is no program"):
        check(b"12345678")  # type: ignore[arg-type]


# --- Seccomp. The kernel takes a filter for good, so a child process asks.

PR_SET_NO_NEW_PRIVS, SECCOMP_SET_MODE_FILTER = 38, 1
SYS_SECCOMP = {"x86_64": 317, "aarch64": 277}.get(os.uname().machine)
REFUSED = 97


def kernel_takes(code: bytes) -> bool:
    """Whether the kernel takes a seccomp filter, which must allow everything that it decides on."""
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(code, len(code))
    option = struct.pack("<H6xQ", len(code) // 8, ctypes.addressof(buffer))
    child = fork()
    if child == 0:
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        os._exit(REFUSED if libc.syscall(SYS_SECCOMP, SECCOMP_SET_MODE_FILTER, 0, option) else 0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status != REFUSED


ALLOW = i(0x06, k=0x7FFF0000)
SECCOMP_INSTRUCTIONS = [
    *(i(code, k=k) for code in (0x20, 0x28, 0x30, 0x40, 0xB1) for k in (0, 4, 6, 60, 64)),
    *(i(code, k=1) for code in (0x00, 0x01, 0x80, 0x81, 0x02, 0x03, 0x84, 0x07, 0x87, 0x16)),
    *(i(0x04 | op << 4 | x, k=1) for op in range(11) for x in (0, 8)),
    *(i(code) for code in (0x05, 0x15, 0x1D, 0x25, 0x2D, 0x35, 0x3D, 0x45, 0x4D, 0x0E, 0x34, 0x64)),
    i(0x20, k=0xFFFFF000),
    i(0x60, k=3),
]


@pytest.mark.skipif(SYS_SECCOMP is None, reason="kernel lacks a number for seccomp that is known here")
def test_seccomp_takes_what_the_kernel_takes() -> None:
    verdicts = set()
    for instruction in SECCOMP_INSTRUCTIONS:
        code = instruction + ALLOW
        ours = refusal(code, "seccomp") is None
        assert ours == kernel_takes(code), code.hex(" ", 8)
        verdicts.add(ours)
    assert verdicts == {True, False}


@given(programs(profile="seccomp"))
def test_programs_that_are_drawn_for_seccomp_are_right_for_sockets_too(program: ClassicProgram) -> None:
    program.check("seccomp")
    with filtered() as pair:
        assert pair.refusal(program.to_bytes()) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ld [64]\nret a", "instruction 0, field k: no word of seccomp data is at 64; expected a multiple of 4"),
        ("ld [2]\nret a", "instruction 0, field k: no word of seccomp data is at 2"),
        ("ldh [0]\nret a", "instruction 0, field code: seccomp filters do not have this instruction"),
        ("mod #2\nret a", "instruction 0, field code: seccomp filters do not have this"),
        ("ldxb 4*([0]&0xf)\nret a", "instruction 0, field code: seccomp filters do not have this"),
    ],
)
def test_what_seccomp_has_not(text: str, said: str) -> None:
    program = assemble(text)
    program.check()
    for call in (lambda: program.check("seccomp"), lambda: program.run_seccomp(bytes(64))):
        with pytest.raises(ClassicError) as caught:
            call()
        assert str(caught.value).startswith(said)
