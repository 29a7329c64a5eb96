# SPDX-License-Identifier: Apache-2.0
"""Functions of the kernel by name: which there are, whose they are, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from prestocloud_sec.arena import PacketArena
from prestocloud_sec.bpf import Builder, assemble
from prestocloud_sec.bpf.errors import BpfMisuseError, DecodeError
from prestocloud_sec.bpf.helpers.ids import KfuncId
from prestocloud_sec.bpf.helpers.registry import implementations
from prestocloud_sec.bpf.isa import CallKfunc
from prestocloud_sec.bpf.maps.array import ArrayMap
from prestocloud_sec.bpf.maps.kinds import MapFlag
from prestocloud_sec.bpf.maps.progarray import ProgArray
from prestocloud_sec.bpf.vm import FaultKind
from prestocloud_sec.bpf.vm.layout import stack_top
from tests.bpf.helpers.iterations import TURNS, counting, numbers_of, on_all


@pytest.mark.parametrize("name", [number.name.lower() for number in KfuncId])
@pytest.mark.parametrize(
    "place", ["r1 = 0", "r1 = r10", "r1 = r10\nr1 += -4", "r1 = -8", "r1 = map[read]\nr1 += 0", "r1 = map[read][0]+0"]
)
def test_an_iterator_where_nothing_may_be_written(name: str, place: str) -> None:
    program = assemble(f"{place}\nr2 = r10\nr2 += -8\nr3 = 1\ncall kfunc {name}\nexit")
    size = 16 if "bits" in name else 8
    fault = on_all(program, maps={"read": ArrayMap(16, 1, MapFlag.RDONLY_PROG)} if "map" in place else None).fault
    assert (fault.kind, fault.size) == (FaultKind.WRITE, size)
    assert isinstance(program.instructions[fault.instruction], CallKfunc)


def test_all_that_have_a_number_work() -> None:
    assert implementations().keys() >= set(KfuncId)


class TestNames:
    def test_programs_of_the_same_bytes_call_what_they_name(self) -> None:
        """Nothing that is kept by bytes, in memory or on disk, may be mixed up."""
        text = "r1 = r10\nr1 += -8\n*(u64 *)(r10 - 8) = 7\nr2 = 1\nr3 = 2\ncall kfunc {}\nr0 = *(u64 *)(r10 - 8)\nexit"
        expected = {"bpf_iter_num_new": 2 << 32, "bpf_iter_num_next": 0, "bpf_iter_num_destroy": 0, "mine": 7}
        programs = {name: assemble(text.format(name)) for name in expected}
        assert len({program.to_bytes() for program in programs.values()}) == 1
        for _ in range(2):
            for name, value in expected.items():
                helpers = {"mine": lambda *_: 0} if name == "mine" else None
                assert on_all(programs[name], helpers=helpers).value == value

    def test_a_trace_says_the_name(self) -> None:
        trace = assemble(counting(1, 2)).run(trace=True).trace
        assert trace is not None
        told = [(step.text, dict(step.registers)) for step in trace.steps if "kfunc" in step.text]
        assert [text for text, _ in told[:2]] == ["call kfunc bpf_iter_num_new", "call kfunc bpf_iter_num_next"]
        assert told[0][1][0] == 0
        assert told[1][1][0] == stack_top(0) - 8

    def test_functions_of_a_user(self) -> None:
        program = assemble("r1 = 5\nr2 = 6\ncall kfunc mine\nr6 = r0\ncall kfunc yours\nr0 += r6\nexit")
        helpers = {"mine": lambda a, b, *_: a * b, "yours": lambda *_: 12}
        assert on_all(program, helpers=helpers).value == 42
        assert program.run_batch(PacketArena.pack([b"a", b"b"]), helpers=helpers).values.tolist() == [42, 42]

    def test_others_for_those_that_are_here(self) -> None:
        helpers = {"bpf_iter_num_new": lambda *_: 9, "bpf_iter_num_next": lambda *_: 0}
        program = assemble("r1 = 0\ncall kfunc bpf_iter_num_new\nexit")
        assert on_all(program, helpers=helpers).value == 9

    def test_one_that_fails(self) -> None:
        fault = on_all(assemble("r0 = 0\ncall kfunc mine\nexit"), helpers={"mine": lambda *_: 1 // 0}).fault
        assert (fault.kind, fault.instruction) == (FaultKind.HELPER, 1)
        assert "kernel function 'mine' raised ZeroDivisionError" in fault.message

    def test_one_that_nobody_gave(self) -> None:
        with pytest.raises(DecodeError, match=r"instruction 1: there is no kernel function 'mine' here") as refused:
            assemble("r0 = 0\ncall kfunc mine\nexit").run()
        assert "bpf_iter_num_new" in str(refused.value.expected)
        assert "helpers=" in str(refused.value.hint)

    def test_one_without_a_name(self) -> None:
        with pytest.raises(DecodeError, match="it calls a kernel function by number"):
            assemble("r0 = 0\ncall kfunc 7\nexit").run()

    def test_a_name_that_the_program_does_not_call(self) -> None:
        with pytest.raises(BpfMisuseError, match="no helper 'mine'"):
            assemble("exit").run(helpers={"mine": lambda *_: 0})

    def test_after_a_tail_call(self) -> None:
        programs = ProgArray(2)
        programs[0] = assemble(counting(2, 6))
        caller = assemble("r1 = 0\nr2 = map[programs]\nr3 = 0\ncall bpf_tail_call\nr0 = 0\nexit")
        assert on_all(caller, maps={"programs": programs}).value == numbers_of(2, 6, TURNS)
        programs[1] = assemble("call kfunc mine\nexit")
        with pytest.raises(DecodeError, match="no kernel function 'mine'"):
            caller.run(maps={"programs": programs})


class TestBuilder:
    def test_by_name(self) -> None:
        b = Builder()
        b.call_kfunc("bpf_iter_num_new")
        b.call_kfunc(7, 2)
        b.exit()
        program = b.program()
        assert program.symbols.kfuncs == {0: "bpf_iter_num_new"}
        assert program == assemble("call kfunc bpf_iter_num_new\ncall kfunc 7, 2\nexit")

    @pytest.mark.parametrize("arguments", [("r1",), ("two words",), ("name", 1), ("name", None), (None,)])
    def test_what_is_no_name(self, arguments: tuple[Any, ...]) -> None:
        with pytest.raises(BpfMisuseError) as refused:
            Builder().call_kfunc(*arguments)
        assert refused.value.expected
