# SPDX-License-Identifier: Apache-2.0
"""The table of helpers against what the running kernel's verifier says of each, and against its own form."""

from __future__ import annotations

import itertools
import platform

import pytest

from prestocloud_sec.bpf import Program, ProgramType
from prestocloud_sec.bpf.errors import LoadError
from prestocloud_sec.bpf.helpers.ids import HelperId
from prestocloud_sec.bpf.helpers.prototypes import Argument, by_name, prototypes
from prestocloud_sec.bpf.isa import Alu, AluOp, CallHelper, Exit, Imm
from prestocloud_sec.bpf.linux import KernelProgram, available

ATTACH_TYPES = {
    ProgramType.CGROUP_SOCK_ADDR: (8, 9, 10, 11, 14, 15, 19, 20, 29, 30),
    ProgramType.CGROUP_SOCKOPT: (21, 22),
    ProgramType.CGROUP_SOCK: (2, 12, 13, 34),
    ProgramType.CGROUP_SKB: (0, 1),
    ProgramType.SK_LOOKUP: (36,),
    ProgramType.SK_REUSEPORT: (39, 40),
}
"""Where a type can be attached (``enum bpf_attach_type``), as far as what it may call depends on that."""
NOT_LOADABLE = {
    ProgramType.LIRC_MODE2,
    ProgramType.TRACING,
    ProgramType.STRUCT_OPS,
    ProgramType.EXT,
    ProgramType.LSM,
    ProgramType.SYSCALL,
    ProgramType.NETFILTER,
}
"""Types whose programs need more than instructions, so that their helpers cannot be asked for in this way."""
ASKED = sorted(set(ProgramType) - NOT_LOADABLE - {ProgramType.UNSPEC})
asks_6_18 = pytest.mark.skipif(
    not (available() and platform.release().startswith("6.18")),
    reason="kernel lacks bpf(2) for this user, or is not 6.18",
)


def log_of_call(number: int, type_: ProgramType, attach_type: int = 0, license_: str = "GPL") -> str:
    """Return what the verifier says of a program that does nothing but call a helper."""
    program = Program([Alu(AluOp.MOV, 64, 0, Imm(0)), CallHelper(number), Exit()])
    try:
        KernelProgram.load(program, type=type_, license=license_, expected_attach_type=attach_type).close()
    except LoadError as error:
        return error.log or pytest.fail(f"{type_.name}, attach type {attach_type}: {error}")
    return ""


@asks_6_18
@pytest.mark.parametrize("type_", ASKED)
def test_who_may_call_what(type_: ProgramType) -> None:
    callable_ = {
        number
        for number in prototypes()
        for attach_type in ATTACH_TYPES.get(type_, (0,))
        if "cannot use helper" not in log_of_call(number, type_, attach_type)
    }
    assert {number for number, row in prototypes().items() if type_ in row.types} == callable_


@asks_6_18
def test_what_only_gpl_programs_may_call() -> None:
    types = (ProgramType.KPROBE, ProgramType.PERF_EVENT, ProgramType.SCHED_CLS, ProgramType.XDP)
    restricted = {
        number
        for number in prototypes()
        if any("GPL-restricted" in log_of_call(number, type_, license_="Proprietary") for type_ in types)
    }
    assert {number for number, row in prototypes().items() if row.gpl} == restricted


@asks_6_18
def test_there_are_no_more_helpers() -> None:
    assert "invalid func" in log_of_call(max(prototypes()) + 1, ProgramType.XDP)
    assert sorted(prototypes()) == list(range(1, len(prototypes()) + 1))


def test_memory_comes_with_its_size() -> None:
    """But where the helper knows it: headers of TCP and IP, in the raw SYN cookie helpers."""
    memory = {Argument.MEMORY, Argument.MEMORY_OUT, Argument.MEMORY_OR_NULL, Argument.MEMORY_OUT_OR_NULL}
    alone = {
        row.name
        for row in prototypes().values()
        for argument, following in itertools.zip_longest(row.arguments, row.arguments[1:])
        if argument in memory and following not in {Argument.SIZE, Argument.SIZE_OR_ZERO}
    }
    assert alone == {f"tcp_raw_{what}_syncookie_ipv{version}" for what in ("gen", "check") for version in (4, 6)}


def test_names() -> None:
    assert len(by_name()) == len(prototypes())
    assert all(len(row.arguments) <= 5 for row in prototypes().values())
    assert {member.name.lower(): member.value for member in HelperId} == {
        member.name.lower(): by_name()[member.name.lower()].number for member in HelperId
    }
