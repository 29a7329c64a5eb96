# SPDX-License-Identifier: Apache-2.0
"""Rows of the fast interpreter against what their module says they hold."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.bpf.errors import JumpTargetError, ProgramError
from prestocloud_sec.bpf.isa import (
    Alu,
    AluOp,
    Atomic,
    AtomicOp,
    Branch,
    BranchOp,
    CallHelper,
    CallKfunc,
    CallLocal,
    Exit,
    Imm,
    ImmKind,
    Instruction,
    Jump,
    LegacyLoad,
    Load,
    LoadImm64,
    MayGoto,
    Store,
    Swap,
    SwapKind,
)
from prestocloud_sec.bpf.program import Program
from prestocloud_sec.bpf.vm import layout
from prestocloud_sec.bpf.vm.decoded import (
    FIRST_BRANCH,
    FIRST_CHECKED,
    FIRST_CONTROL,
    OPERATIONS,
    ROW,
    Decoded,
    Operation,
    decode,
)
from prestocloud_sec.testing.bpf_isa import signed

MAPS = 0xFFFF_8000_0000_0007


def decoded(*instructions: Instruction) -> Decoded:
    return decode(Program(instructions), lambda _index: MAPS)


def row(result: Decoded, index: int) -> tuple[Operation, int, int, int, int]:
    operation, dst, src, displacement, operand = struct.unpack("<HBBiq", result.rows[index].tobytes())
    return OPERATIONS[operation], dst, src, displacement, operand


def only(instruction: Instruction) -> tuple[Operation, int, int, int, int]:
    return row(decoded(instruction, Exit()), 0)


def test_the_numbers_are_those_of_the_families() -> None:
    families = [operation[0] for operation in OPERATIONS]
    assert len(set(OPERATIONS)) == len(OPERATIONS)
    assert {operation[1] for operation in OPERATIONS[FIRST_CHECKED:FIRST_BRANCH]} == {"anywhere"}
    assert set(families[FIRST_BRANCH:FIRST_CONTROL]) == {"jump", "branch"}
    assert not {"jump", "branch", "exit", "atomic"} & set(families[:FIRST_CHECKED])


@given(signed(32), st.sampled_from(list(AluOp)))
def test_immediates_are_as_wide_as_the_operation(value: int, op: AluOp) -> None:
    assert only(Alu(op, 64, 3, Imm(value))) == (("alu", op, 64, "immediate"), 24, 0, 0, value)
    assert only(Alu(op, 32, 3, Imm(value))) == (("alu", op, 32, "immediate"), 24, 0, 0, value % (1 << 32))
    assert only(Alu(op, 64, 3, 9)) == (("alu", op, 64, "register"), 24, 72, 0, 0)


@given(st.integers(0, (1 << 64) - 1))
def test_a_64_bit_load_is_a_move_of_one_row(value: int) -> None:
    result = decoded(LoadImm64(2, ImmKind.INTEGER, value), Exit())
    operation, dst, _, _, operand = row(result, 0)
    assert (operation, dst, operand % (1 << 64)) == (("alu", AluOp.MOV, 64, "immediate"), 16, value)
    assert result.count == 2
    assert row(result, 1)[0] == ("exit",)
    assert row(result, 2)[0] == ("end",)


@pytest.mark.parametrize(
    "load",
    [
        LoadImm64(1, ImmKind.MAP_FD, 3),
        LoadImm64(1, ImmKind.MAP_INDEX, 0),
        LoadImm64(1, ImmKind.MAP_VALUE_FD, 3, 8),
        LoadImm64(1, ImmKind.MAP_VALUE_INDEX, 0, 8),
    ],
)
def test_what_a_map_is_the_machine_says(load: LoadImm64) -> None:
    asked = []

    def answer(index: int) -> int:
        asked.append(index)
        return MAPS

    result = decode(Program([load, Exit()]), answer)
    assert asked == [0]
    assert row(result, 0)[4] % (1 << 64) == MAPS


def test_functions_are_handles_of_their_index() -> None:
    result = decoded(LoadImm64(1, ImmKind.FUNCTION, 2), Exit(), Exit())
    assert row(result, 0)[4] % (1 << 64) == layout.FUNCTION_HANDLES | 2


def test_jumps_count_rows_not_slots() -> None:
    wide = LoadImm64(1, ImmKind.INTEGER, 5)
    branch = Branch(BranchOp.EQ, 32, 1, Imm(-1), -3)
    result = decoded(Jump(2), wide, branch, CallLocal(-5), MayGoto(0), Exit())
    assert row(result, 0)[3] == 2 * ROW
    assert row(result, 2) == (("branch", BranchOp.EQ, 32, "immediate"), 8, 0, -ROW, 0xFFFF_FFFF)
    assert row(result, 3)[3] == -3 * ROW
    assert row(result, 4)[3] == ROW


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_only_what_lies_within_the_frame_goes_unchecked(size: int) -> None:
    places = {
        offset: only(Load(size, False, 0, 10, offset))[0][1] for offset in (-32768, -513, -512, -size, 1 - size, 0)
    }
    assert places == {
        -32768: "anywhere",
        -513: "anywhere",
        -512: "frame",
        -size: "frame",
        1 - size: "anywhere",
        0: "anywhere",
    }
    assert only(Load(size, False, 0, 9, -size))[0][1] == "anywhere"


def test_accesses_say_size_and_right() -> None:
    assert only(Load(4, True, 1, 2, -7)) == (("load", "anywhere", 4, True), 8, 16, 4 | layout.READABLE << 8, -7)
    assert only(Store(2, 3, 5, 4)) == (("store", "anywhere", 2, "register"), 24, 32, 2 | layout.WRITABLE << 8, 5)
    atomic = Atomic(AtomicOp.OR, True, 8, 3, -8, 4)
    assert only(atomic) == (("atomic", AtomicOp.OR), 24, 32, 8 | layout.WRITABLE << 8 | 1 << 17, -8)
    assert only(LegacyLoad(2, True, 3, -5)) == (("legacy",), 0, 24, 2 | 1 << 8, -5)


@given(signed(16), signed(32))
def test_a_stored_immediate_shares_the_operand_with_the_offset(offset: int, value: int) -> None:
    operation, dst, _, displacement, operand = only(Store(8, 1, offset, Imm(value)))
    assert (operation, dst, displacement >> 16) == (("store", "anywhere", 8, "immediate"), 8, 1)
    assert (operand >> 32, operand % (1 << 32)) == (offset, value % (1 << 32))


def test_little_endian_swaps_only_cut() -> None:
    assert only(Swap(SwapKind.LE, 16, 1))[0] == ("truncate", 16)
    assert only(Swap(SwapKind.BE, 32, 1))[0] == ("swap", 32)
    assert only(Swap(SwapKind.BSWAP, 64, 1))[0] == ("swap", 64)


def test_helpers_keep_their_number() -> None:
    assert only(CallHelper(-3)) == (("call_helper",), 0, 0, 0, -3)


def test_rows_never_change() -> None:
    with pytest.raises(ValueError, match="read-only"):
        decoded(Exit()).rows[0, 0] = 1


@pytest.mark.parametrize("instruction", [CallKfunc(5), LoadImm64(1, ImmKind.BTF_VARIABLE, 3)])
def test_what_cannot_run_here_is_refused(instruction: Instruction) -> None:
    with pytest.raises(ProgramError, match=r"instruction 1: .* cannot run here"):
        decoded(Exit(), instruction)


def test_jumps_to_nowhere_are_refused() -> None:
    with pytest.raises(JumpTargetError):
        decoded(Jump(5), Exit())
