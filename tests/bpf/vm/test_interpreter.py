# SPDX-License-Identifier: Apache-2.0
"""The fast interpreter: what only it can get wrong, each case with the answer that the rules give.

Equality with the readable engine on generated programs stands in ``test_interpreter_against_reference``.
"""

from __future__ import annotations

import gc
import struct
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from prestocloud_sec.bpf import Program, ProgramType, assemble
from prestocloud_sec.bpf.maps.array import ArrayMap
from prestocloud_sec.bpf.vm import layout, reference
from prestocloud_sec.bpf.vm.fault import FaultKind
from prestocloud_sec.bpf.vm.interpreter import execute, interpreter_of
from prestocloud_sec.bpf.vm.layout import State
from prestocloud_sec.bpf.vm.machine import PORTION, Machine
from prestocloud_sec.bpf.vm.result import Result

U64 = (1 << 64) - 1


def typed(text: str, type_: ProgramType | None = None) -> Program:
    return Program(assemble(text.replace(";", "\n")).instructions, type=type_)


def run(text: str, packet: bytes = b"", *, type_: ProgramType | None = None, **options: Any) -> Result:
    """Run a program on the interpreter, and check that the readable engine says the same."""
    results = []
    for engine in (reference.execute, execute):
        machine = Machine(typed(text, type_), seed=1, now=1, **options)
        machine.start(packet)
        engine(machine)
        results.append(machine.finish())
    assert results[0] == results[1]
    return results[1]


def fault_of(result: Result) -> tuple[FaultKind, int, int | None, int | None]:
    assert result.fault is not None
    return result.fault.kind, result.fault.instruction, result.fault.address, result.fault.size


def nested(function: Callable[..., int]) -> Callable[..., int]:
    """Make a helper of a function that is given what runs callbacks."""

    def helper(machine: Machine, *registers: int) -> int:
        assert machine.caller is not None
        return function(machine.caller, *registers)

    helper.machine = True  # type: ignore[attr-defined]
    return helper


# --- Memory that was allowed once is not allowed for ever.


def test_a_window_closes_when_the_packet_shrinks() -> None:
    text = """
        r6 = r1
        r7 = *(u32 *)(r1 + 0)
        r8 = *(u8 *)(r7 + 59)
        r2 = -10
        call 65
        if r0 != 0 goto +1
        r0 = *(u8 *)(r7 + 59)
        exit
    """
    assert fault_of(run(text, bytes(60), type_=ProgramType.XDP)) == (FaultKind.READ, 6, layout.PACKET_DATA + 59, 1)


def test_a_window_moves_with_the_packet() -> None:
    text = """
        r6 = r1
        r7 = *(u32 *)(r1 + 0)
        r8 = *(u8 *)(r7 + 0)
        r2 = 2
        call 44
        r7 = *(u32 *)(r6 + 0)
        r0 = *(u8 *)(r7 + 0)
        r0 <<= 8
        r0 |= r8
        exit
    """
    assert run(text, bytes(range(1, 61)), type_=ProgramType.XDP).value == 0x0301


def test_a_window_closes_with_its_frame() -> None:
    text = """
        call inner
        r1 = r0
        r0 = *(u64 *)(r1 - 8)
        exit
    inner:
        r1 = r10
        *(u64 *)(r1 - 8) = 7
        r2 = *(u64 *)(r1 - 8)
        r0 = r10
        exit
    """
    assert fault_of(run(text)) == (FaultKind.READ, 2, layout.stack_top(1) - 8, 8)


def test_a_callee_sees_its_caller_s_frame_and_a_new_one_of_its_own() -> None:
    text = """
        r6 = 0
        r1 = r10
        r1 += -16
        call inner
        call inner2
        r0 = *(u64 *)(r10 - 16)
        r0 += r6
        exit
    inner:
        *(u64 *)(r1 + 0) = 5
        *(u64 *)(r10 - 16) = 9
        r6 = 4
        exit
    inner2:
        r6 = *(u64 *)(r10 - 16)
        r0 = r6
        exit
    """
    assert run(text).value == 5


def test_reading_does_not_open_a_window_for_writing() -> None:
    text = "r0 = *(u32 *)(r1 + 0); *(u32 *)(r1 + 0) = 1; exit"
    result = run(text, bytes(20), type_=ProgramType.XDP)
    assert fault_of(result) == (FaultKind.WRITE, 1, layout.CONTEXT << 32, 4)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 8, 9])
@pytest.mark.parametrize(("width", "bits"), [(1, 8), (2, 16), (4, 32), (8, 64)])
def test_a_window_ends_where_its_region_does(size: int, width: int, bits: int) -> None:
    """After an access that is allowed, with the window open, all places around the end."""
    packet = bytes(range(1, size + 1))
    for offset in range(-9, size + 2):
        text = f"r3 = *(u8 *)(r1 + 0); r0 = *(u{bits} *)(r1 {'+' if offset >= 0 else '-'} {abs(offset)}); exit"
        result = run(text, packet)
        if 0 <= offset <= size - width:
            assert result.value == int.from_bytes(packet[offset : offset + width], "little")
        else:
            assert fault_of(result) == (FaultKind.READ, 1, layout.PACKET_DATA + offset, width)


@pytest.mark.parametrize(("offset", "allowed"), [(0, True), (1, False), (2, False), (4, False), (6, False), (8, True)])
def test_a_window_shows_one_element(offset: int, allowed: bool) -> None:
    """Values of 4 bytes stand 8 bytes apart; what lies between them is nobody's."""
    text = f"""
        *(u32 *)(r10 - 4) = 1
        r1 = map[id:0]
        r2 = r10
        r2 += -4
        call 1
        *(u32 *)(r0 + 0) = 6
        *(u32 *)(r0 + {offset}) = 7
        r1 = r0
        r0 = *(u32 *)(r0 + 0)
        exit
    """
    array = ArrayMap("u4", 4)
    result = run(text, maps=[array])
    if allowed:
        assert result.value == (7 if offset == 0 else 6)
        assert array.array.tolist() == ([0, 7, 0, 0] if offset == 0 else [0, 6, 7, 0])
    else:
        address = (layout.MAP_VALUES << layout.REGION_SHIFT) + 8 + offset
        assert fault_of(result) == (FaultKind.WRITE, 6, address, 4)


def test_addresses_wrap() -> None:
    assert run("r1 += r1; r1 -= 65792; r0 = *(u8 *)(r1 + 1); exit", b"ab").value == ord("b")
    address = (1 << 64) - 1
    assert fault_of(run("r1 = -1; r0 = *(u8 *)(r1 + 0); exit")) == (FaultKind.READ, 1, address, 1)
    assert fault_of(run("r1 = 0; r0 = *(u8 *)(r1 - 1); exit")) == (FaultKind.READ, 1, address, 1)


@pytest.mark.parametrize("offset", [-512, -511, -9, -8])
def test_the_frame_from_end_to_end(offset: int) -> None:
    text = f"r1 = 81985529216486895 ll; *(u64 *)(r10 - {-offset}) = r1; r0 = *(u64 *)(r10 - {-offset}); exit"
    assert run(text).value == 0x0123456789ABCDEF


@pytest.mark.parametrize("offset", [-513, -7, 0, 8])
def test_around_the_frame(offset: int) -> None:
    text = f"*(u64 *)(r10 {'+' if offset >= 0 else '-'} {abs(offset)}) = r1; r0 = 0; exit"
    assert fault_of(run(text)) == (FaultKind.WRITE, 0, (layout.stack_top(0) + offset) & U64, 8)


@pytest.mark.parametrize("misplaced", [1, 2, 3, 4, 5, 6, 7])
def test_atomics_where_the_processor_s_own_do_not_reach(misplaced: int) -> None:
    text = f"""
        r1 = 72623859790382856 ll
        *(u64 *)(r10 - {16 - misplaced}) = r1
        r2 = 1
        lock *(u64 *)(r10 - {16 - misplaced}) += r2
        r3 = 3
        r3 = atomic_fetch_xor((u32 *)(r10 - {16 - misplaced}), r3)
        r0 = *(u64 *)(r10 - {16 - misplaced})
        r0 -= r3
        exit
    """
    before = 72623859790382856 + 1
    assert run(text).value == (before ^ 3) - (before & 0xFFFFFFFF)


# --- Fuel.

LOOP = "r1 = 0; r0 = 5; again: r1 += 1; if r1 < r2 goto again; exit"


def test_fuel_is_used_up_to_the_last_drop() -> None:
    """Each way back costs 2."""
    text = LOOP.replace("r1 < r2", "r1 < 11")
    assert run(text, limit=20).value == 5
    assert run(text, limit=20).charged == 20
    result = run(text, limit=19)
    assert fault_of(result) == (FaultKind.LIMIT, 3, None, None)
    assert result.charged == 18


def test_a_jump_to_itself_costs_one() -> None:
    result = run("goto -1", limit=1000)
    assert (fault_of(result)[:2], result.charged) == ((FaultKind.LIMIT, 0), 1000)


def test_portions_add_up_to_the_limit() -> None:
    limit = 2 * PORTION + 7
    machine = Machine(typed("r0 = 0; again: r0 += 1; goto again"), limit=limit, time_limit=1000.0)
    machine.start()
    execute(machine)
    result = machine.finish()
    assert (fault_of(result)[:2], result.charged) == ((FaultKind.LIMIT, 2), limit - 1)
    assert int(machine.state[State.R0]) == limit // 2 + 1


CALLBACKS = """
    r1 = 8388608
    r2 = back ll
    r3 = 0
    r4 = 0
    call 181
    exit
back:
    r0 = 0
    exit
"""


@pytest.mark.parametrize(
    ("text", "blamed"),
    [("r0 = 0; again: r0 += 1; goto again", 2), (CALLBACKS, 4), (f"call main; exit; main: {CALLBACKS}", 6)],
)
def test_time_is_looked_at_between_portions(text: str, blamed: int) -> None:
    machine = Machine(typed(text), time_limit=1000.0)
    machine.start()
    machine.state[State.DEADLINE] = 1
    execute(machine)
    result = machine.finish()
    assert fault_of(result)[:2] == (FaultKind.TIME, blamed)
    assert result.charged in {PORTION, PORTION - 1}


def test_callbacks_are_paid_for_one_by_one() -> None:
    assert run(CALLBACKS.replace("8388608", "100"), limit=100).value == 100
    assert fault_of(run(CALLBACKS.replace("8388608", "101"), limit=100))[:2] == (FaultKind.LIMIT, 4)
    assert run(CALLBACKS.replace("8388608", "8388609")).value == -7 & U64


# --- Callbacks and calls.


def test_a_callback_counts_and_stops() -> None:
    text = """
        r6 = 3
        r1 = 10
        r2 = back ll
        r3 = r10
        r4 = 0
        call 181
        r0 <<= 8
        r1 = *(u64 *)(r10 - 8)
        r0 |= r1
        r0 += r6
        exit
    back:
        r3 = *(u64 *)(r2 - 8)
        r3 += r1
        r3 += *(u64 *)(r10 - 8)
        *(u64 *)(r2 - 8) = r3
        *(u64 *)(r10 - 8) = 100
        r6 = 77
        r0 = 0
        if r1 != 6 goto +1
        r0 = 9
        exit
    """.replace("r3 += *(u64 *)(r10 - 8)", "r4 = *(u64 *)(r10 - 8)\nr3 += r4")
    assert run(text).value == (7 << 8 | 0 + 1 + 2 + 3 + 4 + 5 + 6) + 3


def test_callbacks_within_callbacks_end_at_eight_frames() -> None:
    text = """
        r1 = 1
        call back
        exit
    back:
        r1 = 1
        r2 = back ll
        r3 = 0
        r4 = 0
        call 181
        r0 = 0
        exit
    """
    assert fault_of(run(text)) == (FaultKind.DEPTH, 7, None, None)


def test_no_function_is_no_callback() -> None:
    for handle in (0, -1, (layout.FUNCTION_HANDLES | 99) - (1 << 64), layout.MAP_HANDLES - (1 << 64)):
        text = f"r1 = 1; r2 = {handle} ll; r3 = 0; r4 = 0; call 181; exit"
        assert fault_of(run(text)) == (FaultKind.CALL, 4, None, None)
        assert run(text.replace("r1 = 1;", "r1 = 0;")).value == 0


def test_calls_through_a_register() -> None:
    assert run("r1 = seven ll; callx r1; exit; seven: r0 = 7; exit").value == 7
    assert run("r1 = 8; callx r1; exit", cpu=3).value == 3
    assert fault_of(run("r1 = -1; callx r1; exit", helpers={-1: lambda *_: 5})) == (FaultKind.HELPER, 1, None, None)
    assert run("call -1; exit", helpers={-1: lambda *_: 5}).value == 5


# --- Helpers in Python.


def test_python_gets_the_registers_and_the_program_goes_on() -> None:
    seen: list[Sequence[int]] = []

    def helper(*registers: int) -> int:
        seen.append(registers)
        return -3

    text = """
        r1 = -1
        r2 = 2
        r3 = 3
        r4 = 4
        r5 = 5
        call inner
        r0 += r9
        exit
    inner:
        r6 = 6
        call 1000
        r0 += r1
        r0 += r5
        r0 += r6
        exit
    """
    assert run(text, helpers={1000: helper}).value == 3
    assert seen == [(U64, 2, 3, 4, 5)] * 2


def test_a_helper_may_call_back() -> None:
    text = """
        r6 = 1
        r1 = back ll
        r2 = 40
        call 1000
        r0 += r6
        exit
    back:
        r6 = 2
        *(u64 *)(r10 - 8) = 1
        r1 += *(u64 *)(r10 - 8)
        r0 = r1
        exit
    """.replace("r1 += *(u64 *)(r10 - 8)", "r3 = *(u64 *)(r10 - 8)\nr1 += r3")
    helper = nested(lambda call, handle, value, *_: call(handle, (value,)) + call(handle, (value + 1,)))
    assert run(text, helpers={1000: helper}, time_limit=1000.0).value == 41 + 42 + 1


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("r0 = *(u8 *)(r1 + 0); exit", (FaultKind.READ, 4, 0, 1)),
        ("r0 = 1; goto -2", (FaultKind.LIMIT, 5, None, None)),
        ("call 1001; exit", (FaultKind.HELPER, 4, None, None)),
    ],
)
def test_a_fault_under_a_helper_is_blamed_where_it_happens(body: str, expected: tuple[Any, ...]) -> None:
    text = f"r1 = back ll; r2 = 0; call 1000; exit; back: {body}"
    helper = nested(lambda call, handle, *_: call(handle, (0,)))
    assert fault_of(run(text, helpers={1000: helper}, limit=100)) == expected


def test_a_helper_that_calls_nothing_is_blamed_itself() -> None:
    helper = nested(lambda call, handle, *_: call(handle, ()))
    assert fault_of(run("r1 = 5; call 1000; exit", helpers={1000: helper})) == (FaultKind.CALL, 1, None, None)


def test_what_a_helper_raises_stays_in_the_result() -> None:
    def helper(*_: int) -> int:
        raise KeyError

    assert fault_of(run("r0 = 1; call 1000; exit", helpers={1000: helper})) == (FaultKind.HELPER, 1, None, None)


def test_own_helpers_come_before_native_ones() -> None:
    for number in (7, 8, 12, 181, 164):
        assert run(f"call {number}; exit", helpers={number: lambda *_: 99}).value == 99


def test_a_missing_byte_ends_its_function() -> None:
    text = "call inner; r0 += 5; exit; inner: r0 = *(u8 *)skb[3]; r0 = 7; exit"
    assert run(text, b"abc", type_=ProgramType.SOCKET_FILTER).value == 5
    assert run(text, b"abcd", type_=ProgramType.SOCKET_FILTER).value == 12
    assert run("r0 = *(u8 *)skb[3]; r0 = 7; exit", b"abc", type_=ProgramType.SOCKET_FILTER).value == 0


# --- The machine stays as it was.


def test_a_machine_runs_again_and_again() -> None:
    machine = Machine(typed("call inner; exit; inner: r0 = *(u8 *)(r1 + 1); exit"))
    for packet, value in ((b"ab", ord("b")), (b"a", None), (b"", None), (b"xyz", ord("y"))):
        machine.start(packet)
        execute(machine)
        assert machine.finish().value == value


def test_a_kernel_loop_needs_no_python() -> None:
    """What a loop over packets does: `begin` after any kind of end, then arguments, then `interpret`."""
    from prestocloud_sec.bpf.vm.interpreter_kernel import begin, interpret
    from prestocloud_sec.bpf.vm.interpreter_layout import Status

    text = """
        call inner
        exit
    inner:
        r3 = *(u64 *)(r10 - 8)
        *(u64 *)(r10 - 8) = 1
        r0 = *(u8 *)(r1 + 2)
        r0 += r3
        exit
    """
    machine = Machine(typed(text))
    machine.start(b"abc")
    interpreter = interpreter_of(machine)
    interpreter.refresh(machine)
    state = machine.state
    ends = []
    for first in (layout.PACKET_DATA, layout.PACKET_DATA + 1, layout.PACKET_DATA):
        begin(interpreter.state_at)
        state[State.FUEL], state[State.R0 + 1] = 10, first
        assert interpret(interpreter.state_at, interpreter.desk_at) == Status.DONE
        ends.append((int(state[State.FAULT]), int(state[State.RESULT])))
    assert ends == [(0, ord("c")), (FaultKind.READ, 0), (0, ord("c"))]


def test_a_machine_is_let_go() -> None:
    machine = Machine(typed("r0 = 1; exit"))
    machine.start()
    execute(machine)
    gone = weakref.ref(machine)
    del machine
    gc.collect()
    assert gone() is None


def test_classic_loads_know_their_headers() -> None:
    packet = struct.pack(">BHIQ", 1, 2, 3, 4)
    for offset, value in ((0, 1), (-0x100000, 3), (-0x200000 + 3, 3), (-1, 0), (-0x200001, 0), (7, 4)):
        size = {0: 8, 3: 32}.get(offset, 8)
        machine = Machine(typed(f"r0 = *(u{size} *)skb[{offset}]; exit", ProgramType.SOCKET_FILTER))
        machine.start(packet, network_offset=6, mac_offset=3)
        execute(machine)
        got = machine.finish().value
        expected = {0: 1, -0x100000: packet[6], -0x200000 + 3: packet[6], 7: packet[7]}.get(offset, 0)
        assert got == expected, (offset, value)
