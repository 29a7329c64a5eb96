# SPDX-License-Identifier: Apache-2.0
"""Instructions and their bytes: both directions, every reserved field, and what Linux 6.18 said of each encoding."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import json
import pickle
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestocloud_sec.bpf import Program, ProgramType, Symbols, disassemble, isa
from prestocloud_sec.bpf.disassembler import instruction_text
from prestocloud_sec.bpf.errors import BpfMisuseError, DecodeError, JumpTargetError, MapError, errno_symbol
from prestocloud_sec.bpf.isa import (
    Alu,
    AluOp,
    Atomic,
    AtomicOp,
    Branch,
    BranchOp,
    CallLocal,
    CallRegister,
    Exit,
    Extend,
    Imm,
    ImmKind,
    Instruction,
    Jump,
    LegacyLoad,
    Load,
    LoadImm64,
    MayGoto,
    decode,
    encode,
)
from prestocloud_sec.bpf.isa.table import ROWS, Carries, Row
from prestocloud_sec.errors import MisuseError
from prestocloud_sec.testing.bpf_isa import instructions, nearly_programs, programs

PROBE = Path(__file__).resolve().parents[3] / "shared" / "facts" / "bpf-isa-probe.json"
EXIT = bytes.fromhex("9500000000000000")


def slot(opcode: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> bytes:
    return struct.pack("<BBhi", opcode, dst | src << 4, off, imm)


def refusal(data: bytes) -> DecodeError | None:
    try:
        decode(data)
    except DecodeError as error:
        return error
    return None


class TestBothDirections:
    @given(instructions())
    def test_encode_then_decode(self, instruction: Instruction) -> None:
        encoded = instruction.encode()
        assert len(encoded) == 8 * instruction.slots
        assert decode(encoded) == (instruction,)

    @settings(max_examples=400)
    @given(nearly_programs())
    def test_decode_then_encode(self, data: bytes) -> None:
        error = refusal(data)
        if error is None:
            assert encode(decode(data)) == data
        else:
            assert error.instruction is not None
            assert 0 <= error.instruction < len(data) // 8
            assert error.field

    @given(st.binary(max_size=64))
    def test_any_bytes(self, data: bytes) -> None:
        with contextlib.suppress(DecodeError):
            assert encode(decode(data)) == data

    @given(st.integers(0, 255), st.binary(min_size=7, max_size=7))
    def test_any_slot(self, opcode: int, rest: bytes) -> None:
        with contextlib.suppress(DecodeError):
            assert encode(decode(bytes([opcode]) + rest)) == bytes([opcode]) + rest

    def test_every_class_has_a_row_and_every_row_its_bytes(self) -> None:
        assert {row.make for row in ROWS} == set(get_args(Instruction))
        assert len({(row.make, tuple(sorted(row.fixed.items(), key=str)), str(row.imm)) for row in ROWS}) == len(ROWS)


# Written by hand from RFC 9669: section 3.1 (layout), the tables of sections 4.1 to 4.3, 5.1 to 5.5, and its examples.
FROM_THE_RFC = [
    ("0700000001000000", Alu(AluOp.ADD, 64, 0, Imm(1))),
    ("0c12000000000000", Alu(AluOp.ADD, 32, 2, 1)),
    ("3702010003000000", Alu(AluOp.SDIV, 64, 2, Imm(3))),
    ("9c21010000000000", Alu(AluOp.SMOD, 32, 1, 2)),
    ("bf21080000000000", Extend(64, 1, 2, 8)),
    ("bf21200000000000", Extend(64, 1, 2, 32)),
    ("d401000010000000", isa.Swap(isa.SwapKind.LE, 16, 1)),
    ("dc01000040000000", isa.Swap(isa.SwapKind.BE, 64, 1)),
    ("d701000020000000", isa.Swap(isa.SwapKind.BSWAP, 32, 1)),
    ("8701000000000000", isa.Negate(64, 1)),
    ("0600000003000000", Jump(3, wide=True)),
    ("0500fdff00000000", Jump(-3)),
    ("ad12050000000000", Branch(BranchOp.LT, 64, 2, 1, 5)),
    ("6602ffffe7ffffff", Branch(BranchOp.SGT, 32, 2, Imm(-25), -1)),
    ("8500000007000000", isa.CallHelper(7)),
    ("85100000fbffffff", CallLocal(-5)),
    ("8520020009000000", isa.CallKfunc(9, 2)),
    ("9500000000000000", Exit()),
    ("61210400ffffff00"[:8] + "00000000", Load(4, False, 1, 2, 4)),
    ("9121fcff00000000", Load(1, True, 1, 2, -4)),
    ("7a0af8ff07000000", isa.Store(8, 10, -8, Imm(7))),
    ("6b1a0200" + "00000000", isa.Store(2, 10, 2, 1)),
    ("db21080000000000", Atomic(AtomicOp.ADD, False, 8, 1, 8, 2)),
    ("c321080041000000", Atomic(AtomicOp.OR, True, 4, 1, 8, 2)),
    ("db210000e1000000", Atomic(AtomicOp.XCHG, True, 8, 1, 0, 2)),
    ("c3210000f1000000", Atomic(AtomicOp.CMPXCHG, True, 4, 1, 0, 2)),
    ("1801000088776655" + "0000000044332211", LoadImm64(1, ImmKind.INTEGER, 0x1122334455667788)),
    ("1821000004000000" + "0000000010000000", LoadImm64(1, ImmKind.MAP_VALUE_FD, 4, 16)),
    ("1846000002000000" + "0000000000000000", LoadImm64(6, ImmKind.FUNCTION, 2)),
    ("280000000c000000", LegacyLoad(2, False, 0, 12)),
    ("5030000001000000", LegacyLoad(1, True, 3, 1)),
    ("8d03000000000000", CallRegister(3)),
    ("8d00000003000000", CallRegister(3, "imm")),
]


@pytest.mark.parametrize(("encoded", "instruction"), FROM_THE_RFC)
def test_encodings_of_the_rfc(encoded: str, instruction: Instruction) -> None:
    assert decode(bytes.fromhex(encoded)) == (instruction,)
    assert instruction.encode().hex() == encoded


class TestReservedFields:
    @pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.opcode:02x}-{row.make.__name__}")
    def test_each_constant_of_each_row(self, row: Row) -> None:
        """Another value in a constant field is refused by name, or makes another instruction that another row has."""
        fields = {name: getattr(row, name) for name in ("dst", "src", "off", "imm")}
        base = {name: (1 if isinstance(field, Carries) else field) for name, field in fields.items()}
        second = slot(0, imm=row.next_imm if isinstance(row.next_imm, int) else 3) if row.next_imm is not None else b""
        assert isinstance(decode(slot(row.opcode, **base) + second)[0], row.make)
        for name, field in fields.items():
            if isinstance(field, Carries):
                continue
            for value in {field ^ 1, 7, 15 if name in {"dst", "src"} else -1}:
                data = slot(row.opcode, **{**base, name: value}) + second
                others = [getattr(r, name) for r in ROWS if r.opcode == row.opcode]
                possible = any(isinstance(other, Carries) or other == value for other in others)
                error = refusal(data)
                if error is None:
                    assert possible, f"{name} = {value} went unnoticed"
                    assert encode(decode(data)) == data
                else:
                    assert error.instruction == 0
                    assert error.field == name or (possible and error.field in {*fields, "next imm"})

    def test_names_of_slot_and_field(self) -> None:
        with pytest.raises(DecodeError) as caught:
            decode(EXIT + slot(0x18) + slot(0) + slot(0x0F, 1, 2, 0, 9))
        assert (caught.value.instruction, caught.value.field) == (3, "imm")
        assert "instruction 3, field imm: 9" in str(caught.value)
        assert caught.value.expected == "0"

    @pytest.mark.parametrize(
        ("data", "field"),
        [
            (slot(0x00), "opcode"),
            (slot(0x07, 11), "dst"),
            (slot(0x0F, 1, 15), "src"),
            (slot(0x37, 1, 0, 2, 4), "off"),
            (slot(0xBF, 1, 2, 1, 0), "off"),
            (slot(0xDB, 1, 2, 0, 0x10), "imm"),
            (slot(0x18, 1, 7), "src"),
            (slot(0x18, 1), "next"),
            (slot(0x18, 1) + slot(1), "next opcode"),
            (slot(0x18, 1) + slot(0, 1), "next dst"),
            (slot(0x18, 1) + slot(0, 0, 1), "next src"),
            (slot(0x18, 1) + slot(0, 0, 0, 1), "next off"),
            (slot(0x18, 1, 1) + slot(0, 0, 0, 0, 1), "next imm"),
            (slot(0x8D, 3, 0, 0, 2), "imm"),
            (slot(0x8D, 0, 0, 0, 11), "imm"),
        ],
    )
    def test_which_field(self, data: bytes, field: str) -> None:
        with pytest.raises(DecodeError) as caught:
            decode(data)
        assert caught.value.field == field

    @pytest.mark.parametrize("size", [1, 7, 9, 15])
    def test_no_whole_number_of_slots(self, size: int) -> None:
        with pytest.raises(DecodeError, match="multiple of 8"):
            decode(bytes(size))

    def test_not_bytes(self) -> None:
        with pytest.raises(MisuseError):
            decode("9500000000000000")  # type: ignore[arg-type]


VERIFIER_MATTERS = {
    "div by zero": "a value that the verifier forbids, and a machine defines as 0",
    "invalid shift": "a value that the verifier forbids, and a machine masks",
    "unreachable insn": "control flow",
    "last insn is not an exit": "control flow",
    "fd 0 is not pointing to valid bpf_map": "there is no such map",
    "fd_idx without fd_array": "there is no array of descriptors",
    "pseudo btf_id 0": "there is no such variable",
    "addr_space_cast insn can only be used in a program that has an associated arena": "there is no arena",
    "not allowed for this program type": "program type",
    "frame pointer is read only": "what registers hold",
    "!read_ok": "what registers hold",
    "invalid write to stack": "memory",
    "misaligned stack access": "memory",
    "unknown opcode 8d": "calls through a register, which other machines have",
}
"""Why the kernel refused what is a right encoding all the same, by what its log says."""


def test_what_linux_said_of_each_encoding() -> None:
    if not PROBE.exists():
        pytest.skip("../shared is not here, with what Linux 6.18 said of each encoding")
    rows = json.loads(PROBE.read_text())["rows"]
    assert len(rows) > 200
    wrong, refused = [], 0
    for name, encoded, verdict, _, *log in rows:
        try:
            decode(bytes.fromhex(encoded))
        except DecodeError:
            refused += 1
            if verdict != "REJECT":
                wrong.append(f"{name}: refused here, accepted by Linux")
        else:
            text = " ".join(log[0]) if log else ""
            if verdict == "REJECT" and not any(reason in text for reason in VERIFIER_MATTERS):
                wrong.append(f"{name}: accepted here, refused by Linux: {text}")
    assert not wrong, "\n".join(wrong)
    assert refused > 60


class TestConstruction:
    @given(
        st.sampled_from(get_args(Instruction)),
        st.lists(
            st.integers(-(1 << 65), 1 << 65)
            | st.integers(-2, 70)
            | st.booleans()
            | st.sampled_from([*AluOp, *BranchOp, *AtomicOp, *isa.SwapKind, *ImmKind, "dst", "imm", "add", 1.0, None])
            | st.integers(-(1 << 31), (1 << 31) - 1).map(Imm),
            min_size=6,
            max_size=6,
        ),
    )
    def test_an_instruction_has_bytes_or_does_not_exist(
        self, kind: Callable[..., Instruction], values: list[Any]
    ) -> None:
        arguments = values[: len(inspect.signature(kind).parameters)]
        with contextlib.suppress(BpfMisuseError):
            instruction = kind(*arguments)
            assert decode(instruction.encode()) == (instruction,)

    @pytest.mark.parametrize("value", [1 << 31, -(1 << 31) - 1, 1.5, True, "1"])
    def test_an_immediate_has_32_bits(self, value: Any) -> None:
        with pytest.raises(BpfMisuseError, match=r"Imm\.value"):
            Imm(value)

    def test_a_register_is_no_immediate(self) -> None:
        assert Alu(AluOp.ADD, 64, 0, 5) != Alu(AluOp.ADD, 64, 0, Imm(5))
        assert repr(Alu(AluOp.ADD, 64, 0, Imm(5))) == "Alu(op=<AluOp.ADD: 'add'>, bits=64, dst=0, src=Imm(5))"

    @given(instructions())
    def test_values(self, instruction: Instruction) -> None:
        assert pickle.loads(pickle.dumps(instruction)) == instruction  # noqa: S301
        assert hash(instruction) == hash(dataclasses.replace(instruction))
        for field in dataclasses.fields(instruction):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(instruction, field.name, 3)

    def test_only_instructions_are_encoded(self) -> None:
        with pytest.raises(BpfMisuseError, match="not an instruction"):
            encode([Exit(), "exit"])  # type: ignore[list-item]


def seconds(work: Callable[[], object]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


class TestSize:
    def test_ten_megabytes_that_are_no_program(self) -> None:
        garbage = EXIT * 1_250_000 + bytes(8)
        with pytest.raises(DecodeError) as caught:
            decode(garbage)
        assert caught.value.instruction == 1_250_000

    def test_time_grows_as_the_program_does(self) -> None:
        def program(count: int) -> bytes:
            return b"".join(slot(0xB7, imm=value) for value in range(count))

        small, large = program(10_000), program(80_000)
        quick = min(seconds(lambda: decode(small)) for _ in range(3))
        assert min(seconds(lambda: decode(large)) for _ in range(3)) < 30 * quick, "8 times the program"


class TestProgram:
    @given(programs())
    def test_slots_and_indexes(self, program: Program) -> None:
        assert Program.from_bytes(program.to_bytes(), symbols=program.symbols) == program
        assert Program.from_bytes(program.to_bytes()).instructions == program.instructions
        assert len(program) == len(program.to_bytes()) // 8
        at = 0
        for index, instruction in enumerate(program):
            assert program.slot_of(index) == at
            assert program.index_at(at) == index
            assert all(program.index_at(inside) is None for inside in range(at + 1, at + instruction.slots))
            at += instruction.slots
        assert program.index_at(at) is None
        for outside in (-1, len(program.instructions)):
            with pytest.raises(BpfMisuseError):
                program.slot_of(outside)

    @given(programs())
    def test_targets(self, program: Program) -> None:
        for index, target in enumerate(program.targets):
            instruction = program.instructions[index]
            offset = getattr(instruction, "offset", None) if not hasattr(instruction, "base") else None
            if isinstance(instruction, LoadImm64) and instruction.kind is ImmKind.FUNCTION:
                offset = instruction.value
            if offset is None:
                assert target is None
            else:
                assert target is not None
                assert program.slot_of(target) == program.slot_of(index) + 1 + offset

    @pytest.mark.parametrize(
        ("instruction", "field"),
        [
            (Jump(5), "off"),
            (Jump(-2), "off"),
            (Jump(1, wide=True), "imm"),
            (Branch(BranchOp.EQ, 64, 0, Imm(1), 5), "off"),
            (MayGoto(5), "off"),
            (CallLocal(1), "imm"),
            (LoadImm64(1, ImmKind.FUNCTION, 9), "imm"),
            (Jump(2), "off"),
        ],
    )
    def test_targets_that_are_none(self, instruction: Instruction, field: str) -> None:
        program = Program(
            [instruction, LoadImm64(0, ImmKind.INTEGER, 0), *([Exit()] if instruction != Jump(2) else [])]
        )
        with pytest.raises(JumpTargetError) as caught:
            _ = program.targets
        assert (caught.value.instruction, caught.value.field) == (0, field)

    def test_equality_is_that_of_the_bytes(self) -> None:
        one = Program([Exit()], name="one", type=ProgramType.XDP, symbols=Symbols({"a": 0}))
        assert one == Program([Exit()], name="other") != Program([Exit(), Exit()])
        assert hash(one) == hash(Program.from_bytes(EXIT))
        assert one != EXIT

    def test_what_kernel_functions_are_called_counts(self) -> None:
        one, other = (Program([isa.CallKfunc(0)], symbols=Symbols(kfuncs={0: name})) for name in ("one", "other"))
        assert one.to_bytes() == other.to_bytes()
        assert one != other
        assert one != Program([isa.CallKfunc(0)])
        assert hash(one) == hash(other)

    @given(programs())
    def test_copies_keep_everything(self, program: Program) -> None:
        other = pickle.loads(pickle.dumps(program))  # noqa: S301
        assert (other, other.symbols, other.type) == (program, program.symbols, program.type)

    def test_programs_do_not_change(self) -> None:
        program = Program([Exit()])
        for name in ("instructions", "name", "symbols", "anything"):
            with pytest.raises(AttributeError):
                setattr(program, name, ())
        with pytest.raises(TypeError):
            program.symbols.labels["a"] = 0  # type: ignore[index]

    @pytest.mark.parametrize(
        "symbols",
        [
            Symbols({"a": 1}),
            Symbols(functions={"a": 4}),
            Symbols({"a": -1}),
            Symbols(maps={1: "m"}),
            Symbols(maps={7: "m"}),
            Symbols(maps={0: "m"}),
            Symbols(kfuncs={0: "f"}),
            Symbols(kfuncs={1: "f"}),
            Symbols(kfuncs={-1: "f"}),
            Symbols(kfuncs={7: "f"}),
        ],
    )
    def test_symbols_of_nothing(self, symbols: Symbols) -> None:
        with pytest.raises(BpfMisuseError):
            Program([LoadImm64(1, ImmKind.MAP_FD, 3), Exit()], symbols=symbols)

    @pytest.mark.parametrize(
        "make",
        [
            lambda: Program(5),  # type: ignore[arg-type]
            lambda: Program([5]),  # type: ignore[list-item]
            lambda: Program([Exit()], name=b"x"),  # type: ignore[arg-type]
            lambda: Program([Exit()], type=6),  # type: ignore[arg-type]
            lambda: Program([Exit()], symbols={"a": 0}),  # type: ignore[arg-type]
            lambda: Program([Exit()]).slot_of("0"),  # type: ignore[arg-type]
            lambda: Symbols({"a": "b"}),  # type: ignore[dict-item]
            lambda: Symbols([("a", 0)]),  # type: ignore[arg-type]
            lambda: Symbols(maps={"a": 0}),  # type: ignore[dict-item]
            lambda: Symbols(kfuncs={0: 1}),  # type: ignore[dict-item]
            lambda: Program([isa.CallKfunc(5)], symbols=Symbols(kfuncs={0: "f"})),
            lambda: Program([isa.CallKfunc(0, 1)], symbols=Symbols(kfuncs={0: "f"})),
            lambda: encode(5),  # type: ignore[arg-type]
            lambda: disassemble([Exit()]),  # type: ignore[arg-type]
            lambda: instruction_text("exit"),  # type: ignore[arg-type]
        ],
    )
    def test_values_of_other_types(self, make: Callable[[], object]) -> None:
        with pytest.raises(BpfMisuseError) as caught:
            make()
        assert caught.value.expected

    def test_one_name_for_two_things(self) -> None:
        with pytest.raises(BpfMisuseError):
            Symbols({"a": 0}, {"a": 1})

    def test_short_and_long_forms(self) -> None:
        program = Program([Alu(AluOp.MOV, 64, 0, Imm(1))] * 5 + [Exit()], name="five", type=ProgramType.XDP)
        assert repr(program) == "<Program 'five' XDP, 6 slots: r0 = 1; r0 = 1; r0 = 1; r0 = 1; ...>"
        assert (
            Program([Branch(BranchOp.SLT, 64, 1, 2, 0), Exit()])._repr_html_()
            == "<pre>if r1 s&lt; r2 goto +0\nexit</pre>"
        )
        assert repr(Program([])) == "<Program, 0 slots: >"


class TestErrors:
    def test_the_kernel_has_a_number_that_user_space_has_not(self) -> None:
        assert [errno_symbol(number) for number in (2, 7, 17, 524, 9999)] == [
            "ENOENT",
            "E2BIG",
            "EEXIST",
            "ENOTSUPP",
            "E9999",
        ]
        assert MapError(2, "no such key").symbol == "ENOENT"


def test_objects_are_told_from_instructions() -> None:
    with pytest.raises(DecodeError, match=r"an ELF object; .* \(llvm-objcopy"):
        Program.from_bytes(b"\x7fELF\x02\x01\x01" + bytes(57))
