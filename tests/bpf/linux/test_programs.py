# SPDX-License-Identifier: Apache-2.0
"""Programs of the running kernel: what it takes and refuses and says of it, and what programs do to packets."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest

from prestocloud_sec.bpf import Program, ProgramType, assemble
from prestocloud_sec.bpf.errors import BpfMisuseError, KernelError, LoadError
from prestocloud_sec.bpf.isa import Alu, AluOp, Exit, Imm, ImmKind, Load, LoadImm64
from prestocloud_sec.bpf.linux import KernelMap, KernelProgram, loading
from prestocloud_sec.bpf.linux.attr import Attr, Command, make_buffer
from prestocloud_sec.bpf.linux.syscall import bpf
from prestocloud_sec.bpf.maps.kinds import MapType
from prestocloud_sec.errors import MisuseError
from tests.bpf.linux.kernel import RECORDED, as_recorded, done, needs_kernel, outcome, program, standard

pytestmark = needs_kernel

CALLS = RECORDED["calls"]["PROG_LOAD"]
XDP, SOCKET_FILTER, SCHED_CLS = ProgramType.XDP, ProgramType.SOCKET_FILTER, ProgramType.SCHED_CLS
PACKET = bytes(range(64))
VECTORS = Path(__file__).resolve().parents[2] / "vectors" / "bpf" / "perf" / "programs.json"
RESULTS = {"alu100": 2180770561, "csum1400": 16232, "tuple5": 1, "stackloop": 376287343, "cbpf_tcp80": 262144}
"""What the kernel gave for the benchmark programs when they were recorded."""

FIRST_BYTES = """
    r2 = *(u32 *)(r1 + 0)
    r3 = *(u32 *)(r1 + 4)
    r0 = 0
    r4 = r2
    r4 += 8
    if r4 > r3 goto out
"""


def refused(text: str | bytes, **options: Any) -> LoadError:
    made = assemble(text) if isinstance(text, str) else Program.from_bytes(text)
    with pytest.raises(LoadError) as caught:
        KernelProgram.load(made, **({"type": XDP} | options))
    return caught.value


def raw_load(type: int, code: bytes, *, log_level: int = 0, log_size: int = 0, flags: int = 0) -> str:
    attr = Attr(
        Command.PROG_LOAD,
        prog_type=type,
        insn_cnt=len(code) // 8,
        insns=make_buffer(code),
        license=make_buffer(b"GPL\0"),
        log_level=log_level,
        log_size=log_size,
        log_buf=make_buffer(log_size) if log_size else None,
        prog_flags=flags,
    )
    result = bpf(Command.PROG_LOAD, attr)
    if result >= 0:
        os.close(result)
    return "ok" if result >= 0 else KernelError(-result, "").symbol


@as_recorded
def test_what_is_refused_before_the_verifier_looks() -> None:
    code = assemble("r0 = 0\nexit").to_bytes()
    assert raw_load(XDP, b"") == CALLS["insn_cnt=0"]
    assert raw_load(XDP, code[:8]) == CALLS["no exit"]
    assert raw_load(999, code) == CALLS["bad type 999"]
    assert raw_load(0, code) == CALLS["type 0"]
    assert raw_load(XDP, code[:8] * 1_000_000 + code[8:]) == CALLS["1000001 insns"]
    assert raw_load(XDP, code, flags=1 << 20) == CALLS["unknown flag 1<<20"]
    assert raw_load(XDP, code, log_level=1, log_size=16) == CALLS["log_level=1 log_size=16 (too small)"]
    assert raw_load(XDP, code, log_level=1, log_size=8) == CALLS["log_size=8"]
    assert raw_load(XDP, code) == "ok"
    assert refused(b"").symbol == CALLS["insn_cnt=0"]
    assert refused(code[:8]).symbol == CALLS["no exit"]
    assert refused(code, type=ProgramType.UNSPEC).symbol == CALLS["type 0"]
    assert refused(code, flags=1 << 20).symbol == CALLS["unknown flag 1<<20"]


def test_a_refusal_tells_errno_and_log() -> None:
    error = refused("r0 = r5\nexit", name="uninit")
    assert (error.errno, error.symbol) == (13, "EACCES")
    assert "R5 !read_ok" in error.log
    assert str(error) == "XDP program 'uninit': the kernel refuses the program: R5 !read_ok [EACCES]"
    error = refused("r0 = *(u32 *)(r1 + 400)\nexit")
    assert error.symbol == "EACCES"
    assert "invalid bpf_context access off=400 size=4" in str(error)
    error = refused("goto +0\nr0 = 0\ngoto -2", type=SOCKET_FILTER)
    assert error.symbol == "EINVAL"
    assert error.log


@pytest.mark.parametrize("level", [1, 2])
def test_a_long_log_is_read_whole(level: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "_FIRST_LOG", 128)
    lines = "\n".join(f"r0 = {number}" for number in range(300))
    with KernelProgram.load(assemble(lines + "\nexit"), type=XDP, log_level=level) as loaded:
        assert "processed 301 insns" in loaded.log
        assert ("\n0: (b7) r0 = 0" in loaded.log) == ("299: (b7) r0 = 299" in loaded.log) == (level == 2)
    error = refused(lines + "\nr0 = r7\nexit", log_level=level)
    assert error.symbol == "EACCES"
    assert "0: (b7) r0 = 0" in error.log
    assert "R7 !read_ok" in str(error)


def test_a_log_beyond_all_room_does_not_change_the_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "_FIRST_LOG", 128)
    monkeypatch.setattr(loading, "_LONGEST_LOG", 512)
    lines = "\n".join(f"r0 = {number}" for number in range(300))
    with KernelProgram.load(assemble(lines + "\nexit"), type=XDP, log_level=2) as loaded:
        assert 0 < len(loaded.log) <= 512
        assert loaded.test_run(PACKET).value == 299
    assert refused(lines + "\nr0 = r7\nexit").symbol == "EACCES"


def test_without_a_level_there_is_no_log() -> None:
    with program() as loaded:
        assert loaded.log == ""


def test_what_a_program_says_of_itself() -> None:
    made = assemble("r0 = 2\nexit")
    with KernelProgram.load(made, type=XDP, name="pass_all") as loaded:
        info = loaded.info()
        assert (info.type, info.name, info.translated_size) == (XDP, "pass_all", 16)
        assert info.verified == 2
        assert info.jited_size > 0
        assert len(info.tag) == 16
        assert repr(loaded) == "<KernelProgram XDP 'pass_all'>"
        assert (loaded.type, loaded.name) == (XDP, "pass_all")
    assert repr(loaded) == "<KernelProgram XDP 'pass_all': closed>"
    own = Program.from_bytes(made.to_bytes(), type=SCHED_CLS, name="a rather/long name.1", license="Proprietary")
    with KernelProgram.load(own) as loaded:
        assert loaded.info().name == "a_rather_long_n"
        assert loaded.type is SCHED_CLS


def test_licences() -> None:
    traced = "r1 = r10\nr1 += -8\n*(u64 *)(r10 - 8) = 0\nr2 = 8\ncall 6\nr0 = 0\nexit"  # bpf_trace_printk: GPL only
    assert done(lambda: KernelProgram.load(assemble(traced), type=XDP)) == "ok"
    assert refused(traced, license="Proprietary").symbol == "EINVAL"
    free = Program.from_bytes(assemble(traced).to_bytes(), license="Dual MIT/GPL")
    assert done(lambda: KernelProgram.load(free, type=XDP)) == "ok"
    assert refused(Program.from_bytes(free.to_bytes(), license="Apache-2.0").to_bytes(), license="Apache-2.0")


COUNT = """
    r1 = map[{which}]
    r2 = r10
    r2 += -4
    *(u32 *)(r10 - 4) = 1
    call 1
    if r0 == 0 goto out
    r1 = 1
    lock *(u64 *)(r0 + 0) += r1
    r0 = *(u32 *)(r0 + 0)
out:
    exit
"""


@pytest.mark.parametrize("how", ["names", "sequence", "numbers"])
def test_maps_in_programs(how: str) -> None:
    text = COUNT.format(which="other").replace("    exit", "") + COUNT.format(which="hits").replace("out", "end")
    with standard("ARRAY") as hits, standard("HASH") as other:
        maps: Any = {"hits": hits, "other": other} if how == "names" else [other, hits]
        if how == "numbers":
            maps = dict(enumerate(maps))
        with KernelProgram.load(assemble(text), type=XDP, maps=maps) as loaded:
            assert [loaded.test_run(PACKET).value for _ in range(3)] == [1, 2, 3]
            assert loaded.test_run(PACKET, repeat=10).value == 13
        assert hits.lookup(struct.pack("<I", 1)) == struct.pack("<Q", 13)
        assert other.keys() == []


@pytest.mark.parametrize("kind", [ImmKind.MAP_INDEX, ImmKind.MAP_VALUE_INDEX, ImmKind.MAP_VALUE_FD])
@pytest.mark.parametrize("position", [0, 3])
def test_maps_by_position_and_their_values(kind: ImmKind, position: int) -> None:
    with KernelMap(MapType.ARRAY, key_size=4, value_size=16, max_entries=1) as there:
        there.update(bytes(4), struct.pack("<QQ", 7, 0xABCDEF))
        maps = {position: there}
        if kind is ImmKind.MAP_INDEX:
            load = (LoadImm64(1, kind, position), *assemble(COUNT.format(which="x")).instructions[1:])
            load = tuple(i if i != assemble("*(u32 *)(r10 - 4) = 1").instructions[0] else _zero() for i in load)
            expected = 8
        else:
            load = (LoadImm64(1, kind, position, 8), Load(8, False, 0, 1, 0), Exit())
            expected = 0xABCDEF
        with KernelProgram.load(Program(load), type=XDP, maps=maps) as loaded:
            assert loaded.test_run(PACKET).value == expected


def _zero() -> Any:
    return assemble("*(u32 *)(r10 - 4) = 0").instructions[0]


@pytest.mark.parametrize(
    ("maps", "says"),
    [
        (None, "instruction 0: there is no map 'hits'; expected a KernelMap"),
        ({}, "there is no map 'hits'"),
        ([], "there is no map 'hits'"),
        ({"misses": None}, "there is no map 'hits'"),
        ({"hits": 5}, "map 'hits' is 5"),
        (["hits"], "map 'hits' is 'hits'"),
        (7, "7 are no maps"),
    ],
)
def test_maps_that_are_missing(maps: Any, says: str) -> None:
    with pytest.raises(BpfMisuseError, match=says):
        KernelProgram.load(assemble(COUNT.format(which="hits")), type=XDP, maps=maps)


def test_maps_that_are_closed_or_beyond_any_list() -> None:
    with standard("ARRAY") as there:
        pass
    with pytest.raises(BpfMisuseError, match="it was closed"):
        KernelProgram.load(assemble(COUNT.format(which="hits")), type=XDP, maps=[there])
    for number in (-1, 1 << 20, -(1 << 31), (1 << 31) - 1):
        code = Program([LoadImm64(1, ImmKind.MAP_INDEX, number), Exit()])
        with standard("ARRAY") as there, pytest.raises(BpfMisuseError, match="more maps than there can be"):
            KernelProgram.load(code, type=XDP, maps={number: there})


def test_xdp_changes_and_shortens_and_lengthens_packets() -> None:
    write = FIRST_BYTES + "*(u16 *)(r2 + 0) = 0x1234\nr0 = 2\nout: exit"
    with program(XDP, write) as loaded:
        run = loaded.test_run(PACKET)
        assert (run.value, run.packet, run.ctx) == (2, b"\x34\x12" + PACKET[2:], b"")
        assert run.duration_ns < 1_000_000
        assert loaded.test_run(PACKET, repeat=1000).packet == run.packet
    with program(XDP, "r2 = 6\ncall 44\nexit") as loaded:  # bpf_xdp_adjust_head
        assert (loaded.test_run(PACKET).value, loaded.test_run(PACKET).packet) == (0, PACKET[6:])
    with program(XDP, "r2 = -20\ncall 44\nexit") as loaded:
        assert loaded.test_run(PACKET).packet[20:] == PACKET
    with program(XDP, "r2 = 100\ncall 65\nexit") as loaded:  # bpf_xdp_adjust_tail
        assert loaded.test_run(PACKET).packet == PACKET + bytes(100)


def test_contexts_of_xdp() -> None:
    with program(XDP, "r0 = *(u32 *)(r1 + 12)\nexit") as loaded:
        context = struct.pack("<6I", 0, len(PACKET), 0, 1, 0, 0)
        run = loaded.test_run(PACKET, ctx=context)
        assert run.value == 1
        assert run.ctx == context
        backwards = struct.pack("<6I", 8, 4, 0, 1, 0, 0)
        assert outcome(lambda: loaded.test_run(PACKET, ctx=backwards)) == "EINVAL"
        assert outcome(lambda: loaded.test_run(PACKET, ctx=context + bytes(40))) == "ok"
        assert outcome(lambda: loaded.test_run(PACKET, ctx=context + bytes(40) + b"\1")) == "E2BIG"


def test_contexts_of_socket_buffers() -> None:
    text = "*(u32 *)(r1 + 8) = 0x77\nr2 = *(u32 *)(r1 + 48)\n*(u32 *)(r1 + 52) = r2\nr0 = *(u32 *)(r1 + 0)\nexit"
    with program(SCHED_CLS, text) as loaded:
        context = bytearray(192)
        struct.pack_into("<I", context, 48, 0xC0FFEE)
        run = loaded.test_run(PACKET, ctx=context)
        assert run.value == len(PACKET)
        assert struct.unpack_from("<I", run.ctx, 8) == (0x77,)
        assert struct.unpack_from("<2I", run.ctx, 48) == (0xC0FFEE, 0xC0FFEE)
        assert run.packet == PACKET
        assert struct.unpack_from("<I", loaded.test_run(PACKET).ctx, 8) == (0x77,)
        struct.pack_into("<I", context, 4, 9)  # pkt_type cannot be chosen
        assert outcome(lambda: loaded.test_run(PACKET, ctx=context)) == "EINVAL"


def test_socket_filters_do_not_see_the_ethernet_header() -> None:
    with program(SOCKET_FILTER, "r6 = r1\nr0 = *(u8 *)skb[0]\nexit") as loaded:
        assert loaded.test_run(PACKET).value == PACKET[14]
    with program(SCHED_CLS, "r6 = r1\nr0 = *(u16 *)skb[0]\nexit") as loaded:
        assert loaded.test_run(PACKET).value == int.from_bytes(PACKET[:2], "big")
    with program(SOCKET_FILTER, "r0 = *(u32 *)(r1 + 0)\nexit") as loaded:
        assert loaded.test_run(PACKET).value == len(PACKET) - 14


@pytest.mark.parametrize("type", [XDP, SOCKET_FILTER, SCHED_CLS])
def test_packets_that_are_too_short(type: ProgramType) -> None:
    with program(type) as loaded:
        assert outcome(lambda: loaded.test_run(bytes(14))) in {"ok", "EINVAL"}
        assert outcome(lambda: loaded.test_run(bytes(15))) == "ok"
        for size in (0, 1, 13):
            with pytest.raises(KernelError, match=r"over \d+ bytes \[EINVAL\] \(of a packet it wants 14 bytes or more"):
                loaded.test_run(bytes(size))
        assert outcome(lambda: loaded.test_run(bytes(1 << 20))) != "ok"


def test_types_that_take_no_packet() -> None:
    with program(ProgramType.RAW_TRACEPOINT, "r0 = *(u64 *)(r1 + 8)\nexit") as loaded:
        run = loaded.test_run(ctx=struct.pack("<2Q", 5, 0x1_0000_0009))
        assert (run.value, run.packet, run.ctx) == (9, b"", b"")
        assert outcome(lambda: loaded.test_run(PACKET)) == "EINVAL"
        assert outcome(lambda: loaded.test_run(ctx=bytes(16), repeat=2)) == "EINVAL"
        assert outcome(lambda: loaded.test_run(ctx=bytes(104))) == "EINVAL"
    with program(ProgramType.TRACEPOINT) as loaded:
        assert outcome(loaded.test_run) == "ENOTSUPP"
    code = assemble("r2 = *(u32 *)(r1 + 0)\nr2 += 1\n*(u32 *)(r1 + 0) = r2\nr0 = 3\nexit")
    with KernelProgram.load(code, type=ProgramType.SYSCALL, flags=16) as loaded:  # it may only be sleepable
        run = loaded.test_run(ctx=struct.pack("<2I", 41, 7))
        assert (run.value, run.packet, run.ctx) == (3, b"", struct.pack("<2I", 42, 7))


@pytest.mark.parametrize("name", RESULTS)
def test_benchmark_programs_give_what_was_recorded(name: str) -> None:
    row = json.loads(VECTORS.read_text())[name]
    code = Program.from_bytes(bytes.fromhex(row.get("xdp") or row["ebpf_tc"]))
    with KernelProgram.load(code, type=XDP if "xdp" in row else SCHED_CLS) as loaded:
        assert loaded.test_run(bytes.fromhex(row["packet"])).value == RESULTS[name]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"program": b"\x95" + bytes(7)}, "is no program"),
        ({"program": None}, "is no program"),
        ({"type": None}, "is no type of program"),
        ({"type": 6}, "is no type of program"),
        ({"type": "XDP"}, "is no type of program"),
        ({"license": b"GPL"}, "is no licence"),
        ({"license": "G\0PL"}, "is no licence"),
        ({"license": "é"}, "is no licence"),
        ({"license": "x" * 128}, "is no licence"),
        ({"name": "x" * 17}, "prog_name"),
        ({"name": b"x"}, "prog_name"),
        ({"expected_attach_type": -1}, "expected_attach_type"),
        ({"flags": 1 << 32}, "prog_flags"),
        ({"flags": None}, "prog_flags"),
        ({"log_level": -1}, "log_level"),
        ({"log_level": "1"}, "log_level"),
        ({"kernel_version": 1.5}, "kern_version"),
    ],
)
def test_arguments_that_load_nothing(wrong: dict[str, Any], says: str) -> None:
    arguments = {"program": assemble("r0 = 0\nexit"), "type": XDP} | wrong
    with pytest.raises(BpfMisuseError, match=says):
        KernelProgram.load(arguments.pop("program"), **arguments)


def test_names_that_the_kernel_refuses() -> None:
    assert refused("r0 = 0\nexit", name="a b").symbol == "EINVAL"
    assert refused("r0 = 0\nexit", name="x" * 16).symbol == "EINVAL"


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"packet": "text"}, "packet"),
        ({"packet": None}, "packet"),
        ({"packet": 5}, "packet"),
        ({"ctx": 5}, "ctx"),
        ({"ctx": "x"}, "ctx"),
        ({"repeat": 0}, "repeat"),
        ({"repeat": -1}, "repeat"),
        ({"repeat": 1 << 32}, "repeat"),
        ({"repeat": 1.0}, "repeat"),
        ({"flags": -1}, "flags"),
        ({"flags": None}, "flags"),
        ({"cpu": 1 << 32}, "cpu"),
        ({"batch_size": "1"}, "batch_size"),
    ],
)
def test_arguments_that_run_nothing(wrong: dict[str, Any], says: str) -> None:
    with program() as loaded, pytest.raises(MisuseError, match=says):
        loaded.test_run(**({"packet": PACKET} | wrong))


def test_programs_are_not_made_of_descriptors() -> None:
    with pytest.raises(BpfMisuseError, match="programs are loaded"):
        KernelProgram()


def test_a_closed_program_does_not_run() -> None:
    with program() as loaded:
        pass
    for call in (lambda: loaded.test_run(PACKET), loaded.info, loaded.fileno):
        with pytest.raises(BpfMisuseError, match="it was closed"):
            call()


def test_flags_of_runs_that_the_kernel_does_not_know() -> None:
    with program() as loaded:
        assert outcome(lambda: loaded.test_run(PACKET, flags=1 << 30)) == "EINVAL"


def test_random_bytes_load_or_are_refused() -> None:
    import random

    source = random.Random(20261128)
    made = 0
    for _ in range(300):
        operations = source.choices(list(AluOp), k=4)
        slots = [Alu(op, 64, source.randrange(10), Imm(source.randrange(-9, 9))) for op in operations]
        answer = outcome(lambda slots=slots: KernelProgram.load(Program([*slots, Exit()]), type=XDP))
        assert answer in {"ok", "EINVAL", "EACCES"}
        made += answer == "ok"
    assert made < 300
