# SPDX-License-Identifier: Apache-2.0
"""Seccomp filters: what they compute, live in a child process, and what several decide together."""

from __future__ import annotations

import ctypes
import dataclasses
import os
import signal
import struct
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestocloud_sec.bpf.classic import (
    ClassicInstruction,
    ClassicProgram,
    LoadPacket,
    SeccompAction,
    SeccompData,
    assemble,
    decide,
    run_filters,
)
from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.errors import MisuseError
from prestocloud_sec.testing.bpf_classic import programs, seccomp_data
from tests.bpf.classic.kernel import fork
from tests.bpf.classic.test_checker import PR_SET_NO_NEW_PRIVS, SECCOMP_SET_MODE_FILTER, SYS_SECCOMP

ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}.get(os.uname().machine)  # include/uapi/linux/audit.h
NUMBER = 5000
"""A system call that there is not."""
BEGIN = f"ld [0]\njeq #{NUMBER}, +1\nret #0x7fff0000"
ENDS = [f"rsh #{shift}\nand #0xfff\nor #0x50000\nret a" for shift in (0, 12, 24)]
"""Return twelve bits of A as an errno."""
KILLED = -signal.SIGSYS

needs_seccomp = pytest.mark.skipif(
    SYS_SECCOMP is None or ARCH is None, reason="kernel lacks a number for seccomp that is known here"
)


def outcome(filters: list[bytes], args: tuple[int, ...]) -> int:
    """Return the errno (0 without one) of the call `NUMBER` under filters, or `KILLED`; in a child process."""
    reading, writing = os.pipe()
    libc = ctypes.CDLL(None, use_errno=True)
    values = [ctypes.c_ulong(value) for value in args]
    child = fork()
    if child == 0:
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        for code in filters:
            buffer = ctypes.create_string_buffer(code, len(code))
            option = struct.pack("<H6xQ", len(code) // 8, ctypes.addressof(buffer))
            if libc.syscall(SYS_SECCOMP, SECCOMP_SET_MODE_FILTER, 0, option):
                os._exit(1)
        ctypes.set_errno(0)
        failed = libc.syscall(ctypes.c_long(NUMBER), *values)
        os.write(writing, struct.pack("<i", ctypes.get_errno() if failed else 0))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in {0, KILLED}
    return int.from_bytes(told, "little") if status == 0 else KILLED


def expected(result: int) -> int:
    """Return the outcome that an action has."""
    if result & 0xFFFF0000 == SeccompAction.ERRNO:
        return min(result & 0xFFFF, 4095)
    assert result & 0xFFFF0000 in {SeccompAction.KILL_THREAD, SeccompAction.KILL_PROCESS}
    return KILLED


def known(instruction: ClassicInstruction) -> ClassicInstruction:
    """Return an instruction that does not load the place of the call, which changes."""
    if isinstance(instruction, LoadPacket) and instruction.offset in {8, 12}:
        return dataclasses.replace(instruction, offset=16)
    return instruction


@needs_seccomp
@settings(max_examples=40)
@given(
    programs(profile="seccomp", ending=(), max_size=30),
    st.lists(st.integers(0, 40) | st.integers(0, (1 << 64) - 1), min_size=6, max_size=6).map(tuple),
)
def test_the_kernel_computes_the_same(body: ClassicProgram, args: tuple[int, ...]) -> None:
    call = SeccompData(NUMBER, ARCH or 0, args=args)
    for end in ENDS:
        program = ClassicProgram([*assemble(BEGIN), *map(known, body), *assemble(end)])
        assert outcome([program.to_bytes()], args) == expected(program.run_seccomp(call))


@needs_seccomp
@pytest.mark.parametrize(
    "results",
    [
        [0x50001, 0x50002],
        [0x50002, 0x50001],
        [0x7FFF0000, 0x50003],
        [0x50003, 0x7FFF0005],
        [0x50003, 0],
        [0x80000000, 0x50003],
        [0x7FC00000, 0x50003],
        [0x7FF00000, 0x50004, 0x7FFC0000],
        [0x50005, 0x50006, 0x50007],
        [0x7FFF0000, 0x0005FFFF],
        [0x60001, 0x50009],
    ],
    ids=lambda results: "-".join(f"{result:x}" for result in results),
)
def test_the_kernel_decides_the_same(results: list[int]) -> None:
    filters = [assemble(f"{BEGIN}\nret #{result}") for result in results]
    call = SeccompData(NUMBER, ARCH or 0)
    decided = run_filters(filters, call)
    assert decided == decide(reversed(results))
    assert outcome([program.to_bytes() for program in filters], ()) == expected(decided)


def test_an_action_wins_by_its_rank() -> None:
    """The order is that of seccomp(2): kill process, kill thread, trap, errno, notify, trace, log, allow."""
    order = ["KILL_PROCESS", "KILL_THREAD", "TRAP", "ERRNO", "USER_NOTIF", "TRACE", "LOG", "ALLOW"]
    for rank, name in enumerate(order):
        for other in order[rank:]:
            assert decide([SeccompAction[other], SeccompAction[name]]) == SeccompAction[name]
    assert len(order) == len(SeccompAction)


def test_the_bytes_of_a_call() -> None:
    """The layout is that of seccomp(2), ``struct seccomp_data``; by ctypes, which knows C's rules."""

    class Layout(ctypes.Structure):
        _fields_ = (
            ("nr", ctypes.c_int),
            ("arch", ctypes.c_uint32),
            ("instruction_pointer", ctypes.c_uint64),
            ("args", ctypes.c_uint64 * 6),
        )

    wanted = Layout(-3, 0xC000003E, 1 << 40, (1, 2, (1 << 64) - 1, 4, 5, 0))
    assert SeccompData(-3, 0xC000003E, 1 << 40, (1, 2, (1 << 64) - 1, 4, 5)).to_bytes() == bytes(wanted)


@given(seccomp_data())
def test_loads_of_a_call(call: SeccompData) -> None:
    words = struct.unpack("=16I", call.to_bytes())
    for index, word in enumerate(words):
        program = assemble(f"ld [{4 * index}]\nret a")
        assert program.run_seccomp(call) == program.run_seccomp(bytearray(call.to_bytes())) == word
    args = (*call.args, *[0] * (6 - len(call.args)))
    low = words[4] if sys.byteorder == "little" else words[5]
    assert low == args[0] & 0xFFFFFFFF


def test_the_length_is_that_of_the_structure() -> None:
    assert assemble("ldx #len\nld #len\nadd x\nret a").run_seccomp(bytes(64)) == 128


@pytest.mark.parametrize("data", [b"", bytes(63), bytes(65), "text", None, 5])
def test_data_that_is_no_call(data: Any) -> None:
    with pytest.raises(MisuseError):
        assemble("ret #0").run_seccomp(data)


@pytest.mark.parametrize(
    "fields",
    [
        {"nr": 1 << 31},
        {"nr": None},
        {"nr": 1, "arch": -1},
        {"nr": 1, "instruction_pointer": 1 << 64},
        {"nr": 1, "args": (1, 2, 3, 4, 5, 6, 7)},
        {"nr": 1, "args": [1]},
        {"nr": 1, "args": (1 << 64,)},
    ],
)
def test_calls_that_do_not_fit(fields: dict[str, Any]) -> None:
    with pytest.raises(BpfMisuseError, match=r"SeccompData\."):
        SeccompData(**fields)


@pytest.mark.parametrize("results", [[], [1 << 32], [-1], ["allow"]])
def test_results_that_are_none(results: list[Any]) -> None:
    with pytest.raises(BpfMisuseError, match="decide"):
        decide(results)
    with pytest.raises(BpfMisuseError, match="decide"):
        run_filters([], bytes(64))
