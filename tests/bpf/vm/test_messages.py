# SPDX-License-Identifier: Apache-2.0
"""What a fault says to people: which bytes, of what, and why not those."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.arena import PacketArena
from prestocloud_sec.bpf import ArrayMap, HashMap, Program, ProgramType, Symbols, assemble
from prestocloud_sec.bpf.errors import BpfMisuseError, ProgramError
from prestocloud_sec.bpf.isa import ImmKind, LoadImm64
from prestocloud_sec.bpf.vm import reference
from prestocloud_sec.bpf.vm.fault import Fault
from prestocloud_sec.bpf.vm.layout import PACKET_DATA, place_of
from prestocloud_sec.bpf.vm.machine import Machine
from prestocloud_sec.bpf.vm.trace import Trace

ENGINES = ["reference", "interpreter", "compiled"]
each_engine = pytest.mark.parametrize("engine", ENGINES)


def fault_of(text: str, engine: str = "reference", packet: bytes = b"", **options: Any) -> Fault:
    found = assemble(text, type=options.pop("type", None)).run(packet, engine=engine, **options).fault
    assert found is not None
    return found


@each_engine
@pytest.mark.parametrize(
    ("text", "packet", "words"),
    [
        ("r0 = *(u8 *)(r1 + 4)\nexit", b"abcd", ["read of 1 byte at", "offset 4 of the packet, which has 4 bytes"]),
        ("r0 = *(u32 *)(r1 + 1)\nexit", b"abcd", ["read of 4 bytes at", "offset 1 of the packet, which has 4 bytes"]),
        ("r0 = *(u8 *)(r1 - 1)\nexit", b"abcd", ["offset -1 of the packet, which has 4 bytes"]),
        ("r1 = 0x10100\nr0 = *(u8 *)(r1 + 0)\nexit", b"", ["offset 0 of the packet, which is empty"]),
        ("r0 = *(u64 *)(r10 - 520)\nexit", b"", ["stack frame 0 (r10 - 520), which has 512 bytes"]),
        ("*(u64 *)(r10 - 4) = 1\nexit", b"", ["write of 8 bytes at", "stack frame 0 (r10 - 4), which has 512 bytes"]),
        ("*(u64 *)(r10 + 0) = 1\nexit", b"", ["(r10 + 0)"]),
        ("r1 = 0\nr0 = *(u64 *)(r1 + 8)\nexit", b"x", ["at 0x8: a null pointer leads to no memory"]),
        ("r1 = 0xffff800000000000 ll\nr0 = *(u64 *)(r1 + 0)\nexit", b"x", ["a map is no memory"]),
        ("r1 = f ll\nr0 = *(u64 *)(r1 + 0)\nexit\nf:\nr0 = 0\nexit", b"x", ["a function is no memory"]),
        ("r1 = 0x1234567800000000 ll\nr0 = *(u64 *)(r1 + 0)\nexit", b"x", ["no memory is there"]),
        (
            "call f\nr0 = *(u64 *)(r0 + 0)\nexit\nf:\nr0 = r10\nr0 += -8\nexit",
            b"",
            ["stack frame 1 (r10 - 8), which is not there"],
        ),
    ],
)
def test_memory(engine: str, text: str, packet: bytes, words: list[str]) -> None:
    message = fault_of(text, engine, packet).message
    assert all(part in message for part in words), message


@each_engine
def test_memory_that_may_only_be_read(engine: str) -> None:
    assert fault_of("*(u32 *)(r1 + 4) = 0\nexit", engine, bytes(60), type=ProgramType.XDP).message.endswith(
        "offset 4 of the context, which may not be written"
    )
    assert "offset 100 of the context, which has 24 bytes" in str(
        fault_of("r0 = *(u32 *)(r1 + 100)\nexit", engine, bytes(60), type=ProgramType.XDP)
    )


@each_engine
def test_entries_of_a_map(engine: str) -> None:
    text = """
        *(u32 *)(r10 - 4) = 1
        r1 = map[table]
        r2 = r10
        r2 += -4
        call 1
        r0 = *(u64 *)(r0 + {0})
        exit
    """
    table = ArrayMap(12, 3, name="table")
    inside = fault_of(text.format(8), engine, maps={"table": table})
    assert inside.message.endswith("of the values of map 'table', byte 8 of an entry of 12 bytes")
    behind = fault_of(text.format(4000), engine, maps={"table": table})
    assert behind.message.endswith(f"of the values of map 'table', which have {len(table.values)} bytes")


def test_a_null_pointer_is_in_no_region() -> None:
    fault = fault_of("r1 = 0\nr0 = *(u8 *)(r1 + 0)\nexit", packet=b"x")
    assert (fault.region, fault.offset, fault.address) == (None, None, 0)


def _divides(*_registers: int) -> int:
    return 1 // 0


@each_engine
def test_a_helper_that_raises_is_told_with_its_place(engine: str) -> None:
    message = fault_of("call 1000\nexit", engine, helpers={1000: _divides}).message
    line = _divides.__code__.co_firstlineno + 1
    assert message == f"helper 1000 raised ZeroDivisionError (test_messages.py, line {line})"


@each_engine
def test_so_is_one_that_takes_the_machine(engine: str) -> None:
    def helper(_machine: Any, *registers: int) -> int:
        return _divides(*registers)

    helper.machine = True  # type: ignore[attr-defined]
    assert "(test_messages.py, line " in fault_of("call 1000\nexit", engine, helpers={1000: helper}).message


@each_engine
@pytest.mark.parametrize(
    ("helper", "kind"),
    [
        (lambda only: only, "TypeError"),
        *((lambda *_, given=given: given, "TypeError") for given in (None, "5", 1.5, b"5")),
    ],
)
def test_what_is_no_helper_is_told_what_one_is(engine: str, helper: Any, kind: str) -> None:
    message = fault_of("call 1000\nexit", engine, helpers={1000: helper}).message
    assert message == f"helper 1000 raised {kind}; it is a function of r1 to r5 that returns an integer"


@each_engine
def test_faults_of_a_batch(engine: str) -> None:
    arena = PacketArena.pack([b"abcde", b"abc", b""])
    batch = assemble("r0 = *(u8 *)(r1 + 4)\nexit").run_batch(arena, engine=engine)
    assert batch.fault(0) is None
    short = batch.fault(1)
    assert short is not None
    assert (short.region, short.offset) == ("packet", 4)
    assert short.message == "read of 1 byte at 0x10104: offset 4 of the packet, which has 3 bytes"
    empty = batch.fault(2)
    assert empty is not None
    assert (empty.region, empty.message) == (None, "read of 1 byte at 0x4: no memory is there")


@each_engine
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("again:\ngoto again", "the limit of counted instructions is used up"),
        ("call 9999\nexit", "a helper does not exist here, or raised an error"),
        ("r1 = 0\ncall 1\nexit", "no such map"),
        ("f:\ncall f\nexit", "more than eight functions are active"),
        ("*(u64 *)(r10 - 516) = 1\nexit", "write of 8 bytes at 0x1fffffffc: offset -4 of the stack frame 0"),
        ("*(u64 *)(r10 - 4) = 1\nexit", "write of 8 bytes at 0x2000001fc: offset 508 of the stack frame 0"),
    ],
)
def test_other_faults_of_a_batch(engine: str, text: str, told: str) -> None:
    fault = assemble(text).run_batch(PacketArena.pack([b"x"]), engine=engine, limit=100).fault(0)
    assert fault is not None
    assert fault.message == told


@given(st.integers(0, (1 << 64) - 1) | st.integers(0, 1 << 40) | st.integers(0, 8).map(lambda n: n << 32))
def test_any_address_has_a_place_or_none(address: int) -> None:
    found = place_of(address)
    if found is not None:
        name, offset = found
        assert name.split()[0] in {"packet", "context", "stack", "values", "keys", "record"}
        assert (address - offset) % (1 << 32) in {0, PACKET_DATA}


class TestTraces:
    LOOKUP = """
        *(u32 *)(r10 - 4) = 7
        r1 = map[seen]
        r2 = r10
        r2 += -4
        call bpf_map_lookup_elem
        r0 = *(u64 *)(r0 + 0)
        exit
    """

    def test_a_trace_ends_with_what_was_stopped(self) -> None:
        result = assemble(self.LOOKUP).run(maps={"seen": HashMap(4, 8, 10)}, trace=True)
        trace = result.trace
        assert trace is not None
        assert result.fault is not None
        assert [step.instruction for step in trace] == [0, 1, 2, 3, 4]
        lines = str(trace).splitlines()
        assert lines[0].endswith("*(u32 *)(r10 - 4) = 7       write 4 at 0x2000001fc (r10 - 4)")
        assert "r1 = map[seen]" in lines[1]
        assert "call bpf_map_lookup_elem#1  r0=0x0, r1=0x0, r2=0x0" in lines[4]
        assert lines[5].split(": ", 1)[1].startswith("r0 = *(u64 *)(r0 + 0)       stopped: read of 8 bytes at 0x0")
        assert lines[5].endswith(result.fault.message)
        assert trace.stopped is not None
        assert (trace.stopped.instruction, trace.stopped.depth) == (5, 0)
        assert repr(trace) == "<Trace: 5 steps, then a fault>"
        assert f"stopped: {result.fault.message}" in trace._repr_html_()

    def test_one_that_ends_well_was_not_stopped(self) -> None:
        trace = assemble("r0 = *(u8 *)(r1 + 1)\nexit").run(b"ab", trace=True).trace
        assert trace is not None
        assert (trace.stopped, repr(trace)) == (None, "<Trace: 2 steps>")
        assert str(trace).splitlines()[0].endswith("r0=0x62, read 1 at 0x10101 (packet + 1)")

    def test_the_instruction_of_a_callee_or_callback_is_the_one(self) -> None:
        called = assemble("call f\nexit\nf:\nr2 = 1\nr0 = *(u8 *)(r10 + 0)\nexit").run(trace=True).trace
        looped = assemble("r1 = 2\nr2 = f ll\nr3 = 0\nr4 = 0\ncall 181\nexit\nf:\nr0 = *(u8 *)(r10 + 0)\nexit")
        again = looped.run(trace=True).trace
        for trace, index in ((called, 3), (again, 6)):
            assert trace is not None
            assert trace.stopped is not None
            assert (trace.stopped.instruction, trace.stopped.depth) == (index, 1)

    def test_frames_of_others_are_told_by_their_number(self) -> None:
        text = "r1 = r10\nr1 += -8\ncall f\nexit\nf:\n*(u64 *)(r1 + 0) = 7\nr0 = 0\nexit"
        assert "write 8 at 0x2000001f8 (stack frame 0 + 504)" in str(assemble(text).run(trace=True).trace)

    def test_names_that_are_no_words_are_not_printed(self) -> None:
        program = Program(
            [LoadImm64(1, ImmKind.MAP_FD, 0), *assemble("r0 = 0\nexit")], symbols=Symbols(maps={0: "a\x1b[2J"})
        )
        trace = program.run(maps=[ArrayMap(8, 1)], trace=True).trace
        assert "r1 = map[id:0]" in str(trace)

    def test_a_long_one_that_faults_says_both(self) -> None:
        machine = Machine(assemble("r1 = 90\nagain:\nr1 -= 1\nif r1 != 0 goto again\nr0 = *(u8 *)(r1 + 0)\nexit"))
        machine.start()
        trace = Trace(50)
        reference.execute(machine, trace)
        assert str(trace).splitlines()[-2] == "..."
        assert "r0 = *(u8 *)(r1 + 0)" in str(trace).splitlines()[-1]


@pytest.mark.parametrize(
    ("maps", "hint"),
    [
        (None, "give maps= by position, number or name, or --map"),
        ({"sean": ArrayMap(8, 1), 7: ArrayMap(8, 1)}, "maps= has 'sean', 7"),
        ({str(n): ArrayMap(8, 1) for n in range(20)}, "maps= has '0', '1', '2', '3', '4', '5', '6', '7'"),
    ],
)
def test_a_map_that_is_missing_beside_those_that_are_there(maps: Any, hint: str) -> None:
    with pytest.raises(ProgramError) as caught:
        assemble("r1 = map[seen]\nr0 = 0\nexit").run(maps=maps)
    assert caught.value.what == "it refers to the map 'seen', which was not given"
    assert caught.value.hint == hint


def test_a_list_of_packets_is_told_how_to_become_an_arena() -> None:
    with pytest.raises(BpfMisuseError, match=r"a PacketArena \(prestocloud_sec\.arena\.PacketArena\.pack"):
        assemble("exit").run_batch([b"packet"])  # type: ignore[arg-type]
