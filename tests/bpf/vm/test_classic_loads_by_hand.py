# SPDX-License-Identifier: Apache-2.0
"""Classic loads that find nothing, where the kernel takes no program to ask it with: what follows from its rules."""

from __future__ import annotations

from typing import Any

import pytest

from prestocloud_sec.bpf import ProgramType, assemble
from prestocloud_sec.bpf.maps.array import ArrayMap
from prestocloud_sec.bpf.vm import layout
from prestocloud_sec.bpf.vm.fault import FaultKind
from prestocloud_sec.bpf.vm.machine import Machine
from prestocloud_sec.bpf.vm.trace import Step
from tests.bpf.vm.engines import ENGINES, EXECUTE


def run(text: str, engine: str, packet: bytes = bytes(20), **options: Any) -> Any:
    machine = Machine(assemble(text, type=ProgramType.SCHED_CLS), **options)
    machine.start(packet)
    EXECUTE[engine](machine)
    return machine.finish()


@pytest.mark.parametrize("engine", ENGINES)
def test_registers_are_as_after_an_exit(engine: str) -> None:
    text = """
        r6 = r1
        r1 = 1
        r2 = 2
        r3 = 3
        r4 = 4
        r5 = 5
        r7 = r10
        call f
        r0 += r1
        r0 += r2
        r0 += r3
        r0 += r4
        r0 += r5
        r7 -= r10
        r0 += r7
        exit
    f:
        r7 = r10
        r0 = 9
        r0 = *(u8 *)skb[r5 + 40]
        exit
    """
    result = run(text, engine)
    assert (result.value, result.fault) == (0, None)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_frame_of_the_function_is_gone(engine: str) -> None:
    text = "r6 = r1\ncall f\nr1 = {address} ll\nr0 = *(u8 *)(r1 + 0)\nexit\nf:\nr2 = r10\nr0 = *(u8 *)skb[40]\nexit"
    outer, inner = ((layout.STACK + frame << layout.REGION_SHIFT) + 504 for frame in (0, 1))
    assert run(text.format(address=outer), engine).value == 0
    fault = run(text.format(address=inner), engine).fault
    assert (fault.kind, fault.address, fault.size) == (FaultKind.READ, inner, 1)


@pytest.mark.parametrize("engine", ENGINES)
def test_callbacks_go_on(engine: str) -> None:
    """Of ``loop``, of ``for_each_map_elem``, and of a helper in Python, each with the load in the callback itself."""
    loop = "r6 = r1\nr1 = 5\nr2 = f ll\nr3 = 0\nr4 = 0\ncall bpf_loop\nexit\nf:\nr0 = *(u8 *)skb[40]\nr0 = 1\nexit"
    assert run(loop, engine).value == 5
    assert run(loop, engine, bytes(60)).value == 1
    each = loop.replace("r1 = 5", "r1 = map[id:0]").replace("bpf_loop", "bpf_for_each_map_elem")
    assert run(each, engine, maps=[ArrayMap(8, 3)]).value == 3
    assert run(each, engine, bytes(60), maps=[ArrayMap(8, 3)]).value == 1

    def helper(machine: Machine, handle: int, *_: int) -> int:
        assert machine.caller is not None
        return 10 + machine.caller(handle, ()) + machine.caller(handle, ())

    helper.machine = True  # type: ignore[attr-defined]
    asked = "r6 = r1\nr1 = f ll\ncall 1000\nr0 += 100\nexit\nf:\nr0 = *(u8 *)skb[40]\nr0 = 1\nexit"
    assert run(asked, engine, helpers={1000: helper}).value == 110
    assert run(asked, engine, bytes(60), helpers={1000: helper}).value == 112


@pytest.mark.parametrize("engine", ENGINES)
def test_a_callback_waits_for_fuel_with_its_offset_in_r0(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next turn is paid for where this one ends; a load that comes again for that has to find nothing again."""
    for module in ("interpreter", "reference_run", "machine", "compiler.engine"):
        monkeypatch.setattr(f"prestocloud_sec.bpf.vm.{module}.PORTION", 1)
    text = (
        "r6 = r1\nr1 = 5\nr2 = f ll\nr3 = 0\nr4 = 0\ncall bpf_loop\nexit\n"
        "f:\nr0 = 40\nr0 = *(u8 *)skb[r0 + 0]\nr0 = 1\nexit"
    )
    result = run(text, engine, limit=50, time_limit=1e6)
    assert (result.value, result.charged) == (5, 5)
    assert run(text, engine, limit=4, time_limit=1e6).fault.kind is FaultKind.LIMIT


def traced(text: str) -> list[Step]:
    trace = assemble(text, type=ProgramType.SCHED_CLS).run(bytes(20), trace=True).trace
    assert trace is not None
    return list(trace)


def test_a_trace_shows_the_return() -> None:
    text = "r6 = r1\nr7 = 8\ncall f\nr0 += 4\nexit\nf:\nr7 = 9\nr0 = 5\nr0 = *(u8 *)skb[40]\nexit"
    steps = traced(text)
    assert [(step.instruction, step.depth) for step in steps] == [
        (0, 0), (1, 0), (2, 0), (5, 1), (6, 1), (7, 1), (3, 0), (4, 0),
    ]  # fmt: skip
    assert [pair for pair in steps[5].registers if pair[0] in (0, 7)] == [(0, 0), (7, 8)]
    steps = traced("r0 = 5\nr0 = *(u8 *)skb[40]\nr0 = 6\nexit")
    assert [(step.instruction, step.registers) for step in steps] == [(0, ((0, 5),)), (1, ((0, 0),))]
