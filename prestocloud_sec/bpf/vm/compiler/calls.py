# SPDX-License-Identifier: Apache-2.0
"""Calls: of functions of the program, of helpers in machine code, and of helpers in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestocloud_sec.bpf.helpers.native import native_place
from prestocloud_sec.bpf.isa import CallLocal
from prestocloud_sec.bpf.vm import layout
from prestocloud_sec.bpf.vm.fault import FaultKind
from prestocloud_sec.bpf.vm.layout import State

if TYPE_CHECKING:
    from prestocloud_sec.bpf.vm.compiler.function import Function

__all__ = ["after_call", "call_local", "check_service", "deeper", "give", "native", "python", "registers"]


def deeper(f: Function) -> str:
    """Return the depth of a function that is called, having tested and paid for it."""
    depth = f.op("add i64 %depth, 1")
    many = f.op(f"icmp uge i64 {depth}, {layout.MAX_FRAMES}")
    bad, good = f.label(), f.label()
    f.add(f"  br i1 {many}, label %{bad}, label %{good}, !prof !0\n{bad}:\n")
    f.trap(FaultKind.DEPTH)
    f.add(f"{good}:\n")
    f.charge(1)
    f.save_fuel()
    return depth


def after_call(f: Function) -> None:
    """Write what follows a call of a function of the program."""
    f.check_fault()
    if f.moves:
        f.add("  store i64 %program, ptr %programp\n")
    f.load_fuel()
    f.see_packet()


def registers(f: Function) -> str:
    """Return all registers but r10, as arguments."""
    return ", ".join(f"i64 {f.get(number)}" for number in range(10))


def call_local(f: Function, _: CallLocal) -> None:
    """Call a function of the program."""
    depth = deeper(f)
    value = f.op(f"call i64 @f{f.targets[f.index]}{f.plan.tag}(ptr %state, i64 {depth}, {registers(f)})")
    after_call(f)
    f.put(0, value)
    f.clobber()


def _arguments(f: Function) -> str:
    return ", ".join(f"i64 {f.get(number)}" for number in range(1, 6))


def native(f: Function, number: int) -> None:
    """Call a helper that needs no Python; Python, if it declines."""
    given = _arguments(f)
    table = f.op(f"load ptr, ptr {f.op(f'getelementptr i8, ptr %state, i64 {8 * State.HELPERS_AT}')}")
    place = f.op(f"getelementptr i8, ptr {table}, i64 {8 * native_place(number)}")
    function = f.op(f"load ptr, ptr {place}")
    asked = f.op(f"getelementptr i8, ptr %state, i64 {8 * State.HELPER}")
    f.add(f"  store i64 0, ptr {asked}\n")
    value = f.op(f"call i64 {function}(ptr %state, {given})")
    _check_blamed(f)
    declined = f.op(f"icmp ne i64 {f.op(f'load i64, ptr {asked}')}, 0")
    slow, quick, join = f.label(), f.label(), f.label()
    f.add(f"  br i1 {declined}, label %{slow}, label %{quick}, !prof !0\n{slow}:\n")
    f.save_fuel()
    late = f.op(f"call i64 @help(ptr %state, i64 {number}, {given})")
    from_ = _check_blamed(f)
    f.add(f"  br label %{join}\n{quick}:\n  br label %{join}\n{join}:\n")
    f.put(0, f.op(f"phi i64 [ {late}, %{from_} ], [ {value}, %{quick} ]"))
    f.clobber()


def _check_blamed(f: Function) -> str:
    """Leave if a helper left a fault, which is this instruction's; return the block that goes on."""
    fault = f.op("load i64, ptr %state")
    bad_test = f.op(f"icmp ne i64 {fault}, 0")
    bad, good = f.label(), f.label()
    place = f.new()
    f.add(
        f"  br i1 {bad_test}, label %{bad}, label %{good}, !prof !0\n{bad}:\n"
        f"  {place} = getelementptr i8, ptr %state, i64 {8 * State.FAULT_INSTRUCTION}\n"
        f"  store i64 {f.index}, ptr {place}\n  br label %fault\n{good}:\n"
    )
    return good


def python(f: Function, number: str) -> None:
    """Call a helper in Python, which may change the packet and run callbacks."""
    given = _arguments(f)
    f.save_fuel()
    _depth_word(f)
    if not number.isdecimal() or int(number) in f.plan.foreign:
        _save_registers(f)
    value = f.op(f"call i64 @help(ptr %state, i64 {number}, {given})")
    check_service(f)
    f.load_fuel()
    f.see_packet()
    f.put(0, value)
    f.clobber()


def _save_registers(f: Function) -> None:
    """Write down what a callback of a user's helper finds in r0 and r6 to r9."""
    for number in (0, *range(6, 10)):
        place = f.op(f"getelementptr i8, ptr %state, i64 {8 * (State.R0 + number)}")
        f.add(f"  store i64 {f.get(number)}, ptr {place}\n")


def _depth_word(f: Function) -> None:
    place = f.op(f"getelementptr i8, ptr %state, i64 {8 * State.DEPTH}")
    f.add(f"  store i64 %depth, ptr {place}\n")


def check_service(f: Function) -> None:
    """Leave if Python left a fault; one without an instruction (-1) is this one's."""
    fault = f.op("load i64, ptr %state")
    bad_test = f.op(f"icmp ne i64 {fault}, 0")
    bad, mine, good = f.label(), f.label(), f.label()
    f.add(f"  br i1 {bad_test}, label %{bad}, label %{good}, !prof !0\n{bad}:\n")
    place = f.op(f"getelementptr i8, ptr %state, i64 {8 * State.FAULT_INSTRUCTION}")
    unknown = f.op(f"icmp slt i64 {f.op(f'load i64, ptr {place}')}, 0")
    f.add(
        f"  br i1 {unknown}, label %{mine}, label %gone\n{mine}:\n"
        f"  store i64 {f.index}, ptr {place}\n  br label %gone\n{good}:\n"
    )


def give(f: Function, value: str | int, done: str) -> None:
    """Write a helper's result, and go on at the block `done`."""
    f.put(0, value)
    f.clobber()
    f.add(f"  br label %{done}\n")
