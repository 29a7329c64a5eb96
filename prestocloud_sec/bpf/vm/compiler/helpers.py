# SPDX-License-Identifier: Apache-2.0
"""Helpers that are written out (lookups, tail calls, ``loop`` and the like), and which way a call of a helper takes."""

from __future__ import annotations

from collections.abc import Callable

from prestocloud_sec.bpf.helpers.ids import HelperId
from prestocloud_sec.bpf.isa import CallHelper, CallRegister
from prestocloud_sec.bpf.vm import layout
from prestocloud_sec.bpf.vm.compiler.access import pointer
from prestocloud_sec.bpf.vm.compiler.calls import after_call, check_service, deeper, give, native, python, registers
from prestocloud_sec.bpf.vm.compiler.function import Function
from prestocloud_sec.bpf.vm.compiler.lookups import search_name
from prestocloud_sec.bpf.vm.compiler.provenance import Kind
from prestocloud_sec.bpf.vm.compiler.runtime import Service
from prestocloud_sec.bpf.vm.fault import FaultKind
from prestocloud_sec.bpf.vm.layout import FUNCTION_HANDLES, MAP_HANDLES, READABLE

__all__ = ["call_helper", "call_register"]

_MOST_LOOPS = 8 * 1024 * 1024
_NO_HELPER = 1 << 62
_EINVAL, _E2BIG = (1 << 64) - 22, (1 << 64) - 7
_U32 = 0xFFFF_FFFF


def _lookup(f: Function) -> None:
    """``map_lookup_elem``, at once if it is known which map it is, and that is of a usual kind."""
    origin = f.origin(1)
    facts = f.plan.maps.get(origin.number) if origin.kind is Kind.MAP else None
    if facts is None or not (facts.entries or facts.key):
        native(f, HelperId.MAP_LOOKUP_ELEM)
        return
    known, other, done = f.label(), f.label(), f.label()
    test = f.op(f"icmp eq i64 {f.get(1)}, {MAP_HANDLES | origin.number}")
    f.add(f"  br i1 {test}, label %{known}, label %{other}, !prof !1\n{other}:\n")
    native(f, HelperId.MAP_LOOKUP_ELEM)
    f.add(f"  br label %{done}\n{known}:\n")
    bits = f"i{8 * (facts.key or 4)}"
    key = f.op(f"load {bits}, ptr {pointer(f, 2, 0, facts.key or 4, READABLE)}, align 1")
    if facts.entries:
        index = f.op(f"zext i32 {key} to i64")
        there = f.op(f"icmp ult i64 {index}, {facts.entries}")
    else:
        arguments = f"ptr %state, i64 {origin.number}, {bits} {key}"
        index = f.op(f"call i64 {search_name(facts.key)}({arguments})")
        there = f.op(f"icmp ne i64 {index}, -1")
    offset = f.op(f"mul i64 {index}, {facts.stride}")
    address = f.op(f"add i64 {offset}, {layout.MAP_VALUES + origin.number << layout.REGION_SHIFT}")
    give(f, f.op(f"select i1 {there}, i64 {address}, i64 0"), done)
    f.add(f"{done}:\n")


def _tail_call(f: Function) -> None:
    arguments = f"i64 {f.get(1)}, i64 {f.get(2)}, i64 {f.get(3)}, i64 %depth, i64 0"
    context = f.get(1)
    f.save_fuel()
    found = f.op(f"call i64 @service(ptr %state, i64 {Service.TAIL_CALL}, {arguments})")
    check_service(f)
    f.load_fuel()
    none = f.op(f"icmp eq i64 {found}, 0")
    fail, go, done = f.label(), f.label(), f.label()
    f.add(f"  br i1 {none}, label %{fail}, label %{go}\n{go}:\n")
    function = f.op(f"inttoptr i64 {found} to ptr")
    value = f.op(f"call i64 {function}(ptr %state, i64 %depth, i64 {context}, i64 0)")
    f.hide_frame()
    f.add(f"  ret i64 {value}\n{fail}:\n")
    give(f, 0, done)
    f.add(f"{done}:\n")


def _loop(f: Function) -> None:
    """``loop(count, function, context, flags)``."""
    wide, function, context, flags = (f.get(number) for number in range(1, 5))
    count = f.op(f"and i64 {wide}, {_U32}")
    done, refuse, sized, big, start = (f.label() for _ in range(5))
    f.add(f"  br i1 {f.op(f'icmp ne i64 {flags}, 0')}, label %{refuse}, label %{sized}\n{refuse}:\n")
    give(f, _EINVAL, done)
    f.add(f"{sized}:\n")
    f.add(f"  br i1 {f.op(f'icmp ugt i64 {count}, {_MOST_LOOPS}')}, label %{big}, label %{start}\n{big}:\n")
    give(f, _E2BIG, done)
    f.add(f"{start}:\n")
    _repeat(f, count, function, done, lambda turn: [turn, context, "0", "0", "0"])


def _repeat(f: Function, count: str, function: str, done: str, arguments: Callable[[str], list[str]]) -> None:
    """Call a function `count` times, or until it returns other than 0; give the number of calls."""
    slot = f"%n{f.new()[1:]}"
    f.slots.append(slot)
    f.add(f"  store i64 0, ptr {slot}\n")
    head, body, after = f.label(), f.label(), f.label()
    f.add(f"  br label %{head}\n{head}:\n")
    turn = f.op(f"load i64, ptr {slot}")
    f.add(f"  br i1 {f.op(f'icmp ult i64 {turn}, {count}')}, label %{body}, label %{after}\n{body}:\n")
    f.add(f"  store i64 {f.op(f'add i64 {turn}, 1')}, ptr {slot}\n")
    value = _dispatched(f, function, arguments(turn))
    f.put(0, value)
    f.add(f"  br i1 {f.op(f'icmp eq i64 {value}, 0')}, label %{head}, label %{after}\n{after}:\n")
    give(f, f.op(f"load i64, ptr {slot}"), done)
    f.add(f"{done}:\n")


def _dispatched(f: Function, handle: str, arguments: list[str]) -> str:
    """Call the function that a handle names; return its r0."""
    result = f"%v{f.new()[1:]}"
    function = f.op(f"sub i64 {handle}, {FUNCTION_HANDLES}")
    bad, join = f.label(), f.label()
    cases = [(entry, f.label()) for entry in f.plan.functions]
    table = " ".join(f"i64 {entry}, label %{name}" for entry, name in cases)
    f.add(f"  switch i64 {function}, label %{bad} [ {table} ]\n{bad}:\n")
    f.trap(FaultKind.CALL)
    joined = []
    for entry, name in cases:
        f.add(f"{name}:\n")
        depth = deeper(f)
        given = [f.get(0), *arguments, *(f.get(number) for number in range(6, 10))]
        listed = ", ".join(f"i64 {value}" for value in given)
        value = f.op(f"call i64 @f{entry}{f.plan.tag}(ptr %state, i64 {depth}, {listed})")
        after_call(f)
        last = f.label()
        f.add(f"  br label %{last}\n{last}:\n  br label %{join}\n")
        joined.append(f"[ {value}, %{last} ]")
    f.add(f"{join}:\n")
    if joined:
        f.add(f"  {result} = phi i64 {', '.join(joined)}\n")
        return result
    return "0"


def _for_each(f: Function) -> None:
    """``for_each_map_elem(map, function, context, flags)``."""
    handle, function, context, flags = (f.get(number) for number in range(1, 5))
    f.save_fuel()
    arguments = f"i64 {handle}, i64 {flags}, i64 %depth, i64 0, i64 0"
    table = f.op(f"call i64 @service(ptr %state, i64 {Service.ELEMENTS}, {arguments})")
    check_service(f)
    f.load_fuel()
    done, refuse, start = f.label(), f.label(), f.label()
    f.add(f"  br i1 {f.op(f'icmp ne i64 {flags}, 0')}, label %{refuse}, label %{start}\n{refuse}:\n")
    give(f, _EINVAL, done)
    f.add(f"{start}:\n")
    elements = f.op(f"inttoptr i64 {table} to ptr")
    count = f.op(f"load i64, ptr {elements}")

    def given(turn: str) -> list[str]:
        place = f.op(f"shl i64 {turn}, 4")
        key_at = f.op(f"getelementptr i8, ptr {elements}, i64 {f.op(f'add i64 {place}, 8')}")
        value_at = f.op(f"getelementptr i8, ptr {elements}, i64 {f.op(f'add i64 {place}, 16')}")
        return [handle, f.op(f"load i64, ptr {key_at}"), f.op(f"load i64, ptr {value_at}"), context, "0"]

    _repeat(f, count, function, done, given)


_SPECIAL: dict[int, Callable[[Function], None]] = {
    HelperId.TAIL_CALL: _tail_call,
    HelperId.LOOP: _loop,
    HelperId.FOR_EACH_MAP_ELEM: _for_each,
}


def call_helper(f: Function, i: CallHelper) -> None:
    """Call a helper by its number."""
    special = _SPECIAL.get(i.number)
    if special is not None and i.number in f.plan.special:
        special(f)
    elif i.number in f.plan.native:
        _lookup(f) if i.number == HelperId.MAP_LOOKUP_ELEM else native(f, i.number)
    else:
        python(f, str(i.number))


def call_register(f: Function, i: CallRegister) -> None:
    """Call what a register holds: a handle of a function, or the number of a helper."""
    value = f.get(i.register)
    function = f.op(f"sub i64 {value}, {FUNCTION_HANDLES}")
    other, done = f.label(), f.label()
    cases = [(entry, f.label()) for entry in f.plan.functions]
    table = " ".join(f"i64 {entry}, label %{name}" for entry, name in cases)
    f.add(f"  switch i64 {function}, label %{other} [ {table} ]\n")
    for entry, name in cases:
        f.add(f"{name}:\n")
        depth = deeper(f)
        returned = f.op(f"call i64 @f{entry}{f.plan.tag}(ptr %state, i64 {depth}, {registers(f)})")
        after_call(f)
        f.put(0, returned)
        f.clobber()
        f.add(f"  br label %{done}\n")
    specials = [(number, f.label()) for number in sorted(f.plan.special)]
    plain = f.label()
    table = " ".join(f"i64 {number}, label %{name}" for number, name in specials)
    f.add(f"{other}:\n  switch i64 {value}, label %{plain} [ {table} ]\n")
    for number, name in specials:
        f.add(f"{name}:\n")
        _SPECIAL[number](f)
        f.add(f"  br label %{done}\n")
    f.add(f"{plain}:\n")
    negative = f.op(f"icmp slt i64 {value}, 0")  # only a call by number has negative ones
    python(f, f.op(f"select i1 {negative}, i64 {_NO_HELPER}, i64 {value}"))
    f.add(f"  br label %{done}\n{done}:\n")
