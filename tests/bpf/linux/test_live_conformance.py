# SPDX-License-Identifier: Apache-2.0
"""Recorded programs once more, by the running kernel: what it accepts, it must answer as our machines do.

Extended programs run through ``BPF_PROG_TEST_RUN``, classic ones as filters of a pair of sockets. The conformance suite
and Linux's own table are read beside the checkout, where they are; the filters belong to the project.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from prestocloud_sec.bpf import ClassicProgram, Program, ProgramType, assemble
from prestocloud_sec.bpf.classic import PacketMetadata
from prestocloud_sec.bpf.errors import ClassicError, KernelError, LoadError
from prestocloud_sec.bpf.linux import KernelProgram
from tests.bpf.classic.kernel import UNIX, filtered
from tests.bpf.linux.kernel import needs_kernel, version
from tests.conformance import bpf_linux
from tests.conformance.bpf_programs import bytes_of
from tests.conformance.harness import REPOSITORY

SHARED = REPOSITORY.parent / "shared" / "vectors" / "bpf"
FILTERS: dict[str, Any] = json.loads((REPOSITORY / "tests" / "vectors" / "bpf" / "cbpf_filters.json").read_text())
ETHERNET = 14
MASK = 0xFFFF_FFFF
RECORDED = (6, 18)
"""The kernel that the verdicts are from."""
LARGE = 1_000_000 if os.environ.get("HYPOTHESIS_PROFILE") == "thorough" else 4096
"""Instructions beyond which the kernel is not asked: its verifier takes twenty seconds over each of 75 programs."""

beside = pytest.mark.skipif(not SHARED.is_dir(), reason="../shared vectors are not there")


def read(path: Path, key: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text())[key] if path.is_file() else []
    return found


SUITE = read(SHARED / "conformance" / "index.json", "tests")
TABLE = read(SHARED / "test_bpf.json", "tests")
INTERNAL = [test for test in TABLE if test["kind"] == "internal" and test["n_insns"] <= LARGE]
CLASSIC = [test for test in TABLE if test["kind"] == "classic"]


def load(program: Program) -> KernelProgram | None:
    """Load a program; None where the verifier refuses it."""
    try:
        return KernelProgram.load(program, license="GPL")
    except LoadError:
        return None


# --- The conformance suite ---------------------------------------------------------------------------------


def after_prologue(data: bytes, size: int) -> Program:
    """Return a program for XDP that finds what machines in user space give it: r1 the packet, r2 its size."""
    prologue = assemble(f"""
        r3 = *(u32 *)(r1 + 0)
        r4 = *(u32 *)(r1 + 4)
        r5 = r3
        r5 += {size}
        if r5 <= r4 goto +2
        r0 = 0
        exit
        r1 = r3
        r2 = {size}
    """)
    return Program.from_bytes(prologue.to_bytes() * bool(size) + data, type=ProgramType.XDP)


@beside
@needs_kernel
@pytest.mark.parametrize("case", SUITE, ids=lambda case: case["name"])
def test_the_suite(case: dict[str, Any]) -> None:
    memory = bytes.fromhex(case["mem_hex"])
    loaded = load(after_prologue(bytes_of(case), len(memory)))
    if version() == RECORDED:
        assert (loaded is not None) is (case["kernel_6_18_verdict"] == "ACCEPT")
    if loaded is None:
        return
    with loaded:
        told = loaded.test_run(memory.ljust(ETHERNET, b"\0"))
    here = Program.from_bytes(bytes_of(case)).run(memory)
    assert here.fault is None
    assert told.value == here.retval
    assert told.packet == here.packet.ljust(ETHERNET, b"\0")


# --- Linux's own table -------------------------------------------------------------------------------------


@beside
@needs_kernel
@pytest.mark.parametrize("case", INTERNAL, ids=lambda case: str(case["index"]))
def test_the_table(case: dict[str, Any]) -> None:
    program = Program(bpf_linux.internal_program(case), type=ProgramType.SOCKET_FILTER)
    loaded = load(program)
    if version() == RECORDED:
        expected = {"ACCEPT": (True,), "REJECT": (False,)}.get(case["kernel_6_18_verifier"], (True, False))
        assert (loaded is not None) in expected
    if loaded is None:
        return
    with loaded:
        for subtest in case["subtests"]:
            packet = bpf_linux.packet_of(case, subtest)
            told = loaded.test_run(bytes(ETHERNET) + packet)  # socket filters see what follows the Ethernet header
            here = program.run(packet, network_offset=0, mac_offset=-1)
            assert here.fault is None
            assert told.value == here.retval


@beside
@pytest.mark.parametrize("case", CLASSIC, ids=lambda case: str(case["index"]))
def test_classic_programs_of_the_table(case: dict[str, Any]) -> None:
    with filtered() as pair:
        told = pair.refusal(bytes_of(case))
        if told == "ENOMEM":  # translated, it is longer than what a socket may have; the program itself is right
            assert bpf_linux.refusal(bytes_of(case)) == 0
            return
        assert (told is None) is (bpf_linux.refusal(bytes_of(case)) == 0)
        for subtest in case["subtests"] if told is None else ():
            packet = bpf_linux.packet_of(case, subtest) or b"\0"
            kept = ClassicProgram.from_bytes(bytes_of(case)).run(packet, metadata=UNIX)
            assert pair.kept(packet) == min(kept, len(packet))


# --- Filters -----------------------------------------------------------------------------------------------

PACKETS = [packet for packet in (bytes.fromhex(packet["hex"]) for packet in FILTERS["packets"]) if packet]


def test_filters_on_a_socket() -> None:
    differing = []
    with filtered() as pair:
        for case in FILTERS["filters"]:
            program = ClassicProgram.from_bytes(bytes_of(case))
            assert pair.refusal(program.to_bytes()) is None
            for index, packet in enumerate(PACKETS):
                if pair.kept(packet) != min(program.run(packet, metadata=UNIX), len(packet)):
                    differing.append((case["expr"], index))
    assert not differing


def test_programs_that_a_socket_takes_or_not() -> None:
    differing = []
    with filtered() as pair:
        for case in FILTERS["invalid"]:
            here = None
            try:
                ClassicProgram.from_bytes(bytes_of(case)).check()
            except ClassicError as error:
                here = error.symbol
            told = pair.refusal(bytes_of(case))
            if here != told:
                differing.append((case["name"], here, told))
    assert not differing


@needs_kernel
def test_translated_filters() -> None:
    """The kernel takes our translation, and it does there what the classic program does here."""
    differing = []
    metadata = PacketMetadata(ifindex=1)
    for number, case in enumerate(FILTERS["filters"]):
        program = ClassicProgram.from_bytes(bytes_of(case))
        with KernelProgram.load(program.to_ebpf(), license="GPL") as loaded:
            for packet in PACKETS[number % 7 :: 7]:
                told = loaded.test_run(bytes(ETHERNET) + packet).value
                if told != program.run(packet, metadata=metadata):
                    differing.append((case["expr"], packet.hex()))
    assert not differing


@needs_kernel
def test_a_translation_that_calls_the_kernels_own_functions_is_not_for_it() -> None:
    """What ``__sk_buff`` has no field for comes from functions that only the kernel's own translation may call."""
    with pytest.raises(KernelError):
        KernelProgram.load(ClassicProgram.from_ddd("2,32 0 0 4294963252,22 0 0 0").to_ebpf())
