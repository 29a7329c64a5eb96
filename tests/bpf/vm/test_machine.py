# SPDX-License-Identifier: Apache-2.0
"""Machines: what programs may touch, where they are stopped, what they are given, and what callers may ask."""

from __future__ import annotations

import gc
import inspect
import re
import threading
import weakref
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestocloud_sec.bpf import ArrayMap, HashMap, Program, ProgramType, assemble
from prestocloud_sec.bpf.errors import BpfError, BpfMisuseError, DecodeError, FaultError, JumpTargetError, ProgramError
from prestocloud_sec.bpf.vm import FaultKind, Machine
from prestocloud_sec.bpf.vm.layout import PACKET_DATA
from prestocloud_sec.bpf.vm.machine import PORTION
from prestocloud_sec.errors import PrestoCloudError
from prestocloud_sec.testing.bpf_isa import nearly_programs

ENGINES = ("reference", "interpreter", "compiled")
each_engine = pytest.mark.parametrize("engine", ENGINES)


def run(text: str, engine: str, packet: bytes = b"", **options: Any) -> Any:
    type_ = options.pop("type", None)
    return assemble(text, type=type_).run(packet, engine=engine, **options)


class TestMemory:
    @each_engine
    @pytest.mark.parametrize(
        ("access", "size", "offset"),
        [
            ("r0 = *(u8 *)(r1 + 4)", 1, 4),
            ("r0 = *(u16 *)(r1 + 3)", 2, 3),
            ("r0 = *(u32 *)(r1 + 1)", 4, 1),
            ("r0 = *(u64 *)(r1 + 0)", 8, 0),
            ("r0 = *(u8 *)(r1 - 1)", 1, -1),
        ],
    )
    def test_a_read_outside_the_packet(self, engine: str, access: str, size: int, offset: int) -> None:
        fault = run(f"{access}\nexit", engine, b"abcd").fault
        assert (fault.kind, fault.instruction, fault.size) == (FaultKind.READ, 0, size)
        assert (fault.region, fault.offset, fault.address) == ("packet", offset, PACKET_DATA + offset)

    @each_engine
    def test_the_last_bytes_are_inside(self, engine: str) -> None:
        assert run("r0 = *(u32 *)(r1 + 0)\nexit", engine, b"\1\0\0\0").value == 1
        assert run("*(u8 *)(r1 + 3) = 9\nr0 = 0\nexit", engine, b"abcd").packet == b"abc\x09"

    @each_engine
    @pytest.mark.parametrize(
        "address", [0, 1, 0x100FF, 1 << 32, (1 << 64) - 1, (1 << 64) - 4, 300 << 32, 0xFFFF800000000000]
    )
    def test_pointers_to_nothing(self, engine: str, address: int) -> None:
        for access, kind in (("r0 = *(u64 *)(r2 + 4)", FaultKind.READ), ("*(u64 *)(r2 + 4) = 1", FaultKind.WRITE)):
            fault = run(f"r2 = {address:#x} ll\n{access}\nexit", engine).fault
            assert (fault.kind, fault.instruction) == (kind, 1)
            assert fault.address == (address + 4) % (1 << 64)

    @each_engine
    @pytest.mark.parametrize("offset", [-520, -513, -4, 0, 8])
    def test_accesses_that_leave_the_frame(self, engine: str, offset: int) -> None:
        result = run(f"*(u64 *)(r10 {offset:+d}) = 1\nr0 = 1\nexit".replace("-", "- ").replace("+", "+ "), engine)
        assert result.fault.kind is FaultKind.WRITE
        assert result.fault.region == "stack frame 0"
        assert result.fault.offset == 512 + offset

    @each_engine
    def test_a_frame_that_is_gone(self, engine: str) -> None:
        text = "call f\nr0 = *(u64 *)(r0 + 0)\nexit\nf:\n*(u64 *)(r10 - 8) = 5\nr0 = r10\nr0 += -8\nexit"
        fault = run(text, engine).fault
        assert (fault.kind, fault.instruction, fault.region) == (FaultKind.READ, 1, "stack frame 1")

    @each_engine
    def test_a_callee_uses_its_callers_frame(self, engine: str) -> None:
        text = "r1 = r10\nr1 += -8\ncall f\nr0 = *(u64 *)(r10 - 8)\nexit\nf:\n*(u64 *)(r1 + 0) = 77\nr0 = 0\nexit"
        assert run(text, engine).value == 77

    @each_engine
    def test_the_context_of_xdp_is_not_written(self, engine: str) -> None:
        fault = run("*(u32 *)(r1 + 0) = 1\nr0 = 0\nexit", engine, bytes(14), type=ProgramType.XDP).fault
        assert (fault.kind, fault.region, fault.offset) == (FaultKind.WRITE, "context", 0)

    @each_engine
    def test_values_of_a_map_do_not_reach_into_each_other(self, engine: str) -> None:
        table = ArrayMap(12, 3)
        text = """
            *(u32 *)(r10 - 4) = 1
            r2 = r10
            r2 += -4
            r1 = map[table]
            call 1
            r0 = *(u64 *)(r0 + {0})
            exit"""
        program = assemble(text.format(4))
        assert program.run(maps={"table": table}, engine=engine).value == 0
        fault = assemble(text.format(5)).run(maps={"table": table}, engine=engine).fault
        assert (fault.kind, fault.size) == (FaultKind.READ, 8)


class TestLimits:
    @each_engine
    def test_a_loop_without_end_stops(self, engine: str) -> None:
        result = run("again:\ngoto again", engine, limit=1000)
        assert result.fault.kind is FaultKind.LIMIT
        assert result.charged == 1000

    @each_engine
    @pytest.mark.parametrize(("limit", "ends"), [(29, False), (30, True)])
    def test_the_limit_is_exact(self, engine: str, limit: int, ends: bool) -> None:
        """Fifteen turns of two instructions jump back fifteen times."""
        result = run("r1 = 16\nagain:\nr1 -= 1\nif r1 != 0 goto again\nr0 = 3\nexit", engine, limit=limit)
        assert (result.fault is None) is ends

    @each_engine
    def test_time_runs_out(self, engine: str) -> None:
        result = run("again:\nr0 += 1\ngoto again", engine, limit=1 << 60, time_limit=0.05)
        assert (result.fault.kind, result.fault.instruction) == (FaultKind.TIME, 1)

    @each_engine
    def test_functions_that_call_themselves(self, engine: str) -> None:
        fault = run("call f\nexit\nf:\ncall f\nexit", engine).fault
        assert (fault.kind, fault.instruction) == (FaultKind.DEPTH, 2)

    @pytest.mark.parametrize("engine", ["interpreter", "compiled"])
    def test_may_goto_ends_every_loop(self, engine: str) -> None:
        result = run("again:\nmay_goto out\ngoto again\nout:\nr0 = 4\nexit", engine)
        assert result.value == 4

    @each_engine
    def test_a_helper_that_nobody_knows(self, engine: str) -> None:
        fault = run("r0 = 0\ncall 999\nexit", engine).fault
        assert (fault.kind, fault.instruction) == (FaultKind.HELPER, 1)

    @each_engine
    @pytest.mark.parametrize("value", [3, 4, 1 << 40])
    def test_calls_that_lead_nowhere(self, engine: str, value: int) -> None:
        """A handle of an instruction that begins no function is none."""
        fault = run(f"r2 = {0xFFFF900000000000 | value:#x} ll\ncallx r2\nexit\nr0 = 1\nexit", engine).fault
        assert fault.kind is FaultKind.HELPER


class TestRefusals:
    @pytest.mark.parametrize(
        ("text", "error"),
        [("r0 = 1", ProgramError), ("r10 = 1\nexit", DecodeError), ("goto +5\nexit", JumpTargetError)],
    )
    def test_programs_that_cannot_run(self, text: str, error: type[Exception]) -> None:
        with pytest.raises(error):
            assemble(text).run()

    def test_an_empty_program(self) -> None:
        with pytest.raises(ProgramError):
            Program([]).run()

    def test_a_map_that_is_missing(self) -> None:
        with pytest.raises(ProgramError, match="table"):
            assemble("r1 = map[table]\nr0 = 0\nexit").run()

    @pytest.mark.parametrize(
        "options",
        [
            {"limit": 0},
            {"limit": True},
            {"limit": 10**5000},
            {"time_limit": -1},
            {"time_limit": float("nan")},
            {"seed": -1},
            {"now": "x"},
            {"cpu": None},
            {"maps": 5},
            {"maps": [3]},
            {"helpers": 5},
            {"helpers": {"no_such_helper": abs}},
            {"helpers": {5: 5}},
            {"engine": "fast"},
            {"engine": None},
            {"trace": True, "engine": "compiled"},
            {"ctx": 5},
            {"network_offset": -1},
        ],
    )
    def test_wrong_arguments(self, options: dict[str, Any]) -> None:
        with pytest.raises(BpfMisuseError):
            assemble("r0 = 0\nexit").run(**options)

    @pytest.mark.parametrize("packet", [None, "text", 5, [1, 2]])
    def test_wrong_packets(self, packet: Any) -> None:
        with pytest.raises(PrestoCloudError):
            assemble("r0 = 0\nexit").run(packet)

    @given(nearly_programs(), st.binary(max_size=64))
    @settings(max_examples=40)
    def test_any_bytes_end_typed(self, data: bytes, packet: bytes) -> None:
        for engine in ENGINES:
            try:
                Program.from_bytes(data).run(packet, engine=engine, limit=500)
            except BpfError:
                continue


class TestHelpers:
    @each_engine
    def test_one_of_ones_own(self, engine: str) -> None:
        seen = []

        def mine(r1: int, r2: int, *rest: int) -> int:
            seen.append((r1, r2, rest))
            return r1 + r2

        result = run("r1 = 4\nr2 = 5\ncall 77\nexit", engine, helpers={77: mine})
        assert result.value == 9
        assert seen[0][:2] == (4, 5)

    @each_engine
    def test_one_instead_of_a_built_in(self, engine: str) -> None:
        assert run("call 8\nexit", engine, helpers={"get_smp_processor_id": lambda *_: 42}).value == 42

    @each_engine
    def test_one_that_fails(self, engine: str) -> None:
        def broken(*_: int) -> int:
            raise KeyError("secret")

        fault = run("call 77\nexit", engine, helpers={77: broken}).fault
        assert fault.kind is FaultKind.HELPER
        assert "KeyError" in fault.message
        assert "secret" not in fault.message

    @each_engine
    def test_chance_repeats_with_a_seed(self, engine: str) -> None:
        """The first number of xorshift64* from 1: state 0x2000001 times the multiplier, its upper half."""
        assert run("call 7\nexit", engine, seed=1).value == (0x2000001 * 0x2545F4914F6CDD1D % (1 << 64)) >> 32

    @each_engine
    def test_time_is_the_callers(self, engine: str) -> None:
        assert run("call 5\nexit", engine, now=123456789).value == 123456789

    @each_engine
    def test_loop(self, engine: str) -> None:
        text = """
            *(u64 *)(r10 - 8) = 0
            r1 = 10
            r2 = step ll
            r3 = r10
            r3 += -8
            r4 = 0
            call 181
            r6 = r0
            r0 = *(u64 *)(r10 - 8)
            r0 <<= 8
            r0 += r6
            exit
        step:
            r3 = *(u64 *)(r2 + 0)
            r3 += r1
            *(u64 *)(r2 + 0) = r3
            r0 = 0
            if r1 != 6 goto done
            r0 = 1
        done:
            exit"""
        result = run(text, engine)
        assert result.value == (0 + 1 + 2 + 3 + 4 + 5 + 6) << 8 | 7

    @each_engine
    def test_for_each(self, engine: str) -> None:
        table = HashMap(4, 8, 8)
        for key, value in ((1, 10), (2, 20), (3, 30)):
            table.update(key.to_bytes(4, "little"), value.to_bytes(8, "little"))
        text = """
            *(u64 *)(r10 - 8) = 0
            r1 = map[table]
            r2 = step ll
            r3 = r10
            r3 += -8
            r4 = 0
            call 164
            r6 = r0
            r0 = *(u64 *)(r10 - 8)
            r0 <<= 8
            r0 += r6
            exit
        step:
            r5 = *(u32 *)(r2 + 0)
            r3 = *(u64 *)(r3 + 0)
            r5 *= r3
            r3 = *(u64 *)(r4 + 0)
            r3 += r5
            *(u64 *)(r4 + 0) = r3
            r0 = 0
            exit"""
        assert run(text, engine, maps={"table": table}).value == (10 + 40 + 90) << 8 | 3


class TestContexts:
    @each_engine
    def test_xdp_sees_its_packet(self, engine: str) -> None:
        text = "r2 = *(u32 *)(r1 + 0)\nr3 = *(u32 *)(r1 + 4)\nr0 = r3\nr0 -= r2\nr4 = *(u8 *)(r2 + 13)\nr0 += r4\nexit"
        assert run(text, engine, bytes(13) + b"\x05", type=ProgramType.XDP).value == 14 + 5

    @each_engine
    def test_a_socket_buffer_has_fields(self, engine: str) -> None:
        packet = bytes(12) + b"\x08\x00" + bytes(6)
        for offset, expected in ((0, 20), (16, 0x0008), (8, 7)):
            result = run(
                f"r0 = *(u32 *)(r1 + {offset})\nexit", engine, packet, type=ProgramType.SCHED_CLS, ctx={"mark": 7}
            )
            assert result.value == expected

    @each_engine
    def test_what_a_program_writes_comes_back(self, engine: str) -> None:
        result = run("*(u32 *)(r1 + 8) = 99\nr0 = 0\nexit", engine, bytes(20), type=ProgramType.SCHED_CLS)
        assert result.context[8:12] == (99).to_bytes(4, "little")

    @each_engine
    def test_opaque_contexts_are_bytes(self, engine: str) -> None:
        result = run("r0 = *(u32 *)(r1 + 4)\n*(u8 *)(r1 + 0) = 1\nexit", engine, ctx=b"\0\0\0\0\5\0\0\0")
        assert (result.value, result.context[0]) == (5, 1)

    @each_engine
    def test_classic_loads(self, engine: str) -> None:
        packet = bytes(range(40))
        program = assemble("r6 = r1\nr0 = *(u16 *)skb[12]\nexit", type=ProgramType.SOCKET_FILTER)
        assert program.run(packet, engine=engine).value == 0x0C0D
        assert program.run(packet[:13], engine=engine).value == 0
        network = assemble("r6 = r1\nr0 = *(u8 *)skb[-0x100000]\nexit", type=ProgramType.SOCKET_FILTER)
        assert network.run(packet, engine=engine).value == 14

    @pytest.mark.parametrize(
        "ctx", [{"mark": -1}, {"mark": 1 << 32}, {"nothing": 1}, {"mark": "x"}, bytes(193), 5, object()]
    )
    def test_contexts_that_do_not_fit(self, ctx: Any) -> None:
        with pytest.raises(BpfMisuseError):
            assemble("r0 = 0\nexit", type=ProgramType.SCHED_CLS).run(bytes(20), ctx=ctx)


class TestResults:
    def test_a_fault_can_be_raised(self) -> None:
        with pytest.raises(FaultError, match="packet") as caught:
            assemble("r0 = *(u8 *)(r1 + 9)\nexit").run(b"ab").unwrap()
        assert (caught.value.kind, caught.value.offset) == ("read", 9)

    def test_a_trace_tells_every_step(self) -> None:
        result = assemble("r0 = *(u8 *)(r1 + 1)\nr0 += 1\nexit").run(b"ab", trace=True)
        assert result.trace is not None
        assert [step.instruction for step in result.trace] == [0, 1, 2]
        assert result.trace[0].registers == ((0, 98),)
        assert result.trace[0].touched == (("read", PACKET_DATA + 1, 1),)
        assert result.trace[1].registers == ((0, 99),)
        assert "r0 += 1" in str(result.trace)
        assert "<table>" in result.trace._repr_html_()

    def test_programs_die_with_their_machines(self) -> None:
        program = assemble("r0 = 1\nexit")
        for engine in ("reference", "compiled"):  # the interpreter keeps the rows of some programs
            program.run(engine=engine)
        gone = weakref.ref(program)
        del program
        gc.collect()
        assert gone() is None

    def test_threads_do_not_share_a_machine(self) -> None:
        program = assemble("r0 = *(u32 *)(r1 + 0)\nr2 = 200\nagain:\nr2 -= 1\nif r2 != 0 goto again\nexit")
        wrong: list[object] = []

        def work(number: int) -> None:
            for _ in range(200):
                result = program.run(number.to_bytes(4, "little"))
                if result.value != number:
                    wrong.append(result)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong

    def test_representations_are_short(self) -> None:
        program = assemble("r0 = 1\nexit")
        assert "0x1" in repr(program.run())
        assert "Machine" in repr(Machine(program))


def test_how_often_the_time_is_looked_at_is_what_is_written() -> None:
    text = inspect.getsource(FaultKind)
    assert re.findall(r"2\*\*(\d+)", text) == [str(PORTION.bit_length() - 1)]
    assert PORTION.bit_count() == 1
