# SPDX-License-Identifier: Apache-2.0
"""The translation to eBPF: its shape, and that it returns what the readable interpreter of classic programs does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestocloud_sec.arena import PacketArena
from prestocloud_sec.bpf import ControlFlowGraph, Program, ProgramType
from prestocloud_sec.bpf.classic import (
    Ancillary,
    ClassicProgram,
    PacketMetadata,
    PrivateHelper,
    SeccompData,
    assemble,
)
from prestocloud_sec.bpf.isa import CallHelper, Exit, Jump
from prestocloud_sec.bpf.linux import KernelProgram
from prestocloud_sec.testing.bpf_classic import metadata, programs, seccomp_data
from tests.bpf.classic.test_checker import VECTORS, code_of
from tests.bpf.classic.test_reference import PACKETS
from tests.bpf.linux.kernel import needs_kernel

VECTORS_OF_BPF = Path(__file__).resolve().parents[2] / "vectors" / "bpf"
PERFORMANCE = json.loads((VECTORS_OF_BPF / "perf" / "programs.json").read_text())
ENGINES = ("reference", "interpreter", "compiled")
INTERPRETED = ENGINES[:2]


def lines(text: str) -> list[str]:
    return assemble(text).to_ebpf().disassemble().splitlines()


BEGIN = ["w0 = 0", "w7 = 0", "r6 = r1"]


@pytest.mark.parametrize(
    ("text", "translated"),
    [
        ("ldh [12]\nret a", ["r0 = *(u16 *)skb[12]", "exit"]),
        ("ldb [x + 3]\nret a", ["r0 = *(u8 *)skb[r7 + 3]", "exit"]),
        ("ret #-1", ["w0 = -1", "exit"]),
        ("ld #5\nst M[0]\nldx M[0]\nret a", ["w0 = 5", "*(u32 *)(r10 - 4) = r0", "r7 = *(u32 *)(r10 - 4)", "exit"]),
        ("ld #0\nst M[15]\nret a", ["w0 = 0", "*(u32 *)(r10 - 64) = r0", "exit"]),
        ("div x\nret a", ["if r7 != 0 goto +2", "w0 = 0", "exit", "w0 /= w7", "exit"]),
        ("div #3\nret a", ["w0 /= 3", "exit"]),
        ("ld len\nldx len\nret a", ["r0 = *(u32 *)(r6 + 0)", "r7 = *(u32 *)(r6 + 0)", "exit"]),
        ("tax\ntxa\nneg\nret a", ["r7 = r0", "r0 = r7", "w0 = -w0", "exit"]),
        ("ldxb 4*([14]&0xf)\nret a", ["r8 = r0", "r0 = *(u8 *)skb[14]", "w0 &= 15", "w0 <<= 2", "r7 = r0", "r0 = r8"]),
        ("jeq #8, +1\nneg\nret a", ["if r0 == 8 goto +1", "w0 = -w0", "exit"]),
        ("jne #8, +1\nneg\nret a", ["if r0 != 8 goto +1", "w0 = -w0", "exit"]),
        ("jle #8, +1\nneg\nret a", ["if r0 <= 8 goto +1", "w0 = -w0", "exit"]),
        ("jlt x, +1\nneg\nret a", ["if r0 < r7 goto +1", "w0 = -w0", "exit"]),
        ("jset #8, +0, +1\nneg\nret a", ["if r0 & 8 goto +1", "goto +1", "w0 = -w0", "exit"]),
        ("jeq #8, +1, +2\nneg\nneg\nret a", ["if r0 == 8 goto +2", "goto +2", "w0 = -w0", "w0 = -w0", "exit"]),
        ("jeq #-1, +1\nneg\nret a", ["w8 = -1", "if r0 == r8 goto +1", "w0 = -w0", "exit"]),
        ("jmp +1\nneg\nret a", ["goto +1", "w0 = -w0", "exit"]),
        ("ld mark\nret a", ["r0 = *(u32 *)(r6 + 8)", "exit"]),
        ("ld proto\nret a", ["r0 = *(u32 *)(r6 + 16)", "r0 = be16 r0", "exit"]),
        ("ld ifidx\nret a", ["r8 = *(u32 *)(r6 + 40)", "if r8 != 0 goto +1", "exit", "w0 = w8", "exit"]),
    ],
)
def test_shape(text: str, translated: list[str]) -> None:
    assert lines(text)[: len(BEGIN)] == BEGIN
    assert lines(text)[len(BEGIN) :][: len(translated)] == translated


def test_type_and_identity() -> None:
    program = assemble("ret #0")
    assert program.to_ebpf().type is ProgramType.SOCKET_FILTER
    assert program.to_ebpf() is program.to_ebpf()
    assert program.to_ebpf("seccomp").type is None


def test_private_numbers() -> None:
    """Programs call what they must with numbers that no kernel helper has."""
    called = {
        name: [i.number for i in assemble(f"ld {name}\nret a").to_ebpf() if isinstance(i, CallHelper)]
        for name in ("poff", "nla", "nlan", "hatype", "rand", "cpu", "mark")
    }
    assert called == {
        "poff": [PrivateHelper.SKB_GET_PAY_OFFSET],
        "nla": [PrivateHelper.SKB_GET_NLATTR],
        "nlan": [PrivateHelper.SKB_GET_NLATTR_NEST],
        "hatype": [PrivateHelper.SKB_GET_HATYPE],
        "rand": [7],
        "cpu": [8],
        "mark": [],
    }
    assert min(PrivateHelper) == 0x70000000


def test_the_longest_program_reaches_its_end() -> None:
    """Every jump fits 16 bits, also where the instructions between become most."""
    text = "jmp end\n" + "ldxb 4*([0]&0xf)\n" * 4094 + "end: ret #3"
    program = assemble(text)
    translated = program.to_ebpf()
    assert len(translated) == 3 + 1 + 6 * 4094 + 2
    assert translated.run(b"\0", engine="reference").value == program.run(b"\0") == 3
    assert isinstance(translated.instructions[3], Jump)
    assert isinstance(translated.instructions[-1], Exit)


def results(program: ClassicProgram, packet: bytes, given_: PacketMetadata, engines: tuple[str, ...]) -> set[Any]:
    translated = program.to_ebpf()
    found = [translated.run(packet, engine=engine, **given_.run_options()) for engine in engines]
    return {result.fault or result.value for result in found}


@settings(max_examples=200)
@given(programs(ancillary=list(Ancillary)), st.binary(max_size=120), metadata())
def test_interpreters_give_the_same(program: ClassicProgram, packet: bytes, given_: PacketMetadata) -> None:
    assert results(program, packet, given_, INTERPRETED) == {program.run(packet, metadata=given_)}


@settings(max_examples=25)
@given(programs(max_size=40, ancillary=list(Ancillary)), st.binary(max_size=120), metadata())
def test_the_compiler_gives_the_same(program: ClassicProgram, packet: bytes, given_: PacketMetadata) -> None:
    assert results(program, packet, given_, ("compiled",)) == {program.run(packet, metadata=given_)}


@given(programs(ancillary=[Ancillary.PROTOCOL, Ancillary.PAY_OFFSET, Ancillary.NLATTR]), st.binary(max_size=120))
def test_frames_without_metadata(program: ClassicProgram, packet: bytes) -> None:
    frame = packet[:12] + b"\x08\x00" + packet[14:] if len(packet) >= 14 else packet
    for engine in INTERPRETED:
        assert program.to_ebpf().run(frame, engine=engine).value == program.run(frame)


@settings(max_examples=10)
@given(programs(max_size=30), st.lists(st.binary(max_size=80), min_size=1, max_size=40))
def test_batches(program: ClassicProgram, packets: list[bytes]) -> None:
    arena = PacketArena.pack(packets)
    for engine in ENGINES:
        batch = program.run_batch(arena, engine=engine)
        assert not batch.faults.any()
        assert batch.values.tolist() == [program.run(packet) for packet in packets]


@pytest.mark.parametrize("row", VECTORS["filters"][::9], ids=lambda row: row["expr"][:40])
def test_recorded_filters_in_batches(row: dict[str, Any]) -> None:
    if row.get("kernel_attach_errno"):
        return
    program = ClassicProgram.from_bytes(code_of(row))
    wanted = np.array([bit == "1" for bit in row["match"]])
    for engine in ("interpreter", "compiled"):
        assert ((program.run_batch(PacketArena.pack(PACKETS), engine=engine).values != 0) == wanted).all()


def test_the_benchmark_program() -> None:
    """The kernel's own translation of the same filter, recorded, is another program with the same answers."""
    row = PERFORMANCE["cbpf_tcp80"]
    program = ClassicProgram.from_bytes(bytes.fromhex(row["cbpf"]))
    theirs = Program.from_bytes(bytes.fromhex(row["ebpf_tc"]), type=ProgramType.SCHED_CLS)
    packets = [bytes.fromhex(row["packet"]), *PACKETS]
    assert program.run(packets[0]) == 262144
    ours = [program.to_ebpf().run(packet, engine="interpreter").value for packet in packets]
    assert ours == [theirs.run(packet, engine="interpreter").value for packet in packets]
    assert ours == [program.run(packet) for packet in packets]
    assert len(program.to_ebpf()) <= len(theirs)


@needs_kernel
@settings(max_examples=60)
@given(programs(ancillary=[Ancillary.MARK, Ancillary.QUEUE, Ancillary.VLAN_TAG]), st.data())
def test_the_kernels_verifier_takes_translations(program: ClassicProgram, data: st.DataObject) -> None:
    """What is translated is right by the rules of eBPF too, but for dead code, and returns the same there."""
    packet = data.draw(st.binary(min_size=14, max_size=120))
    graph = ControlFlowGraph(program.to_ebpf())
    if len(graph.reachable) < len(graph.blocks):
        return
    with KernelProgram.load(program.to_ebpf(), type=ProgramType.SCHED_CLS) as loaded:
        result = loaded.test_run(packet)
    assert result.value == program.run(packet, metadata=PacketMetadata.of_frame(packet))


@given(programs(profile="seccomp"), seccomp_data())
def test_seccomp_filters(program: ClassicProgram, call: SeccompData) -> None:
    translated = program.to_ebpf("seccomp")
    for engine in INTERPRETED:
        assert translated.run(call.to_bytes(), engine=engine).value == program.run_seccomp(call)
