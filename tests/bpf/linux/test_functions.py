# SPDX-License-Identifier: Apache-2.0
"""Programs that hand functions to helpers: what the running kernel is told of their functions, and what it says."""

from __future__ import annotations

import pytest

from prestocloud_sec.bpf import ProgramType, assemble
from prestocloud_sec.bpf.errors import KernelError, LoadError
from prestocloud_sec.bpf.linux import KernelProgram
from prestocloud_sec.bpf.linux.functions import KernelBtf, describe_functions, needs_btf
from tests.bpf.linux.kernel import needs_kernel

pytestmark = needs_kernel

TURNS = """
    r1 = 5
    r2 = turn ll
    r3 = r10
    r3 += -8
    *(u64 *)(r10 - 8) = 0
    r4 = 0
    call bpf_loop
    r0 = *(u64 *)(r10 - 8)
    exit
turn:
    r3 = *(u64 *)(r2 + 0)
    r3 += r1
    *(u64 *)(r2 + 0) = r3
    r0 = 0
    exit
"""


def test_a_callback_runs() -> None:
    program = assemble(TURNS, type=ProgramType.XDP, license="GPL")
    assert needs_btf(program)
    with KernelProgram.load(program) as loaded:
        assert loaded.test_run(bytes(14)).value == 0 + 1 + 2 + 3 + 4


def test_every_function_is_described_by_its_slot() -> None:
    types, records, count = describe_functions(assemble(TURNS, type=ProgramType.XDP))
    with types:
        assert count == 2
        places = [int.from_bytes(records.raw[8 * n : 8 * n + 4], "little") for n in range(count)]
    assert places == [0, 10]


def test_types_of_its_own_go_before() -> None:
    declared = {0: "int main(struct xdp_md *ctx)", "turn": "static int turn(u32 index, u64 *sum)"}
    program = assemble(TURNS, type=ProgramType.XDP, license="GPL").declaring(declared)
    types, records, count = describe_functions(program)
    types.close()
    assert program.func_info is not None
    assert (records.raw[: 8 * count], count) == (program.func_info.records(), 2)
    with KernelProgram.load(program) as loaded:
        assert loaded.test_run(bytes(14)).value == 0 + 1 + 2 + 3 + 4


def test_a_refusal_stays_one() -> None:
    with pytest.raises(LoadError) as refused:
        KernelProgram.load(assemble(TURNS.replace("r0 = 0\n    exit", "r0 = 9\n    exit"), type=ProgramType.XDP))
    assert refused.value.symbol == "EINVAL"
    assert "callback" in refused.value.log


def test_types_that_are_none() -> None:
    with pytest.raises(KernelError):
        KernelBtf.of(b"no types")


def test_plain_programs_need_none() -> None:
    assert not needs_btf(assemble("call add\nexit\nadd:\nr0 = 1\nexit", type=ProgramType.XDP))
