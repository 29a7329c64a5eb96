# SPDX-License-Identifier: Apache-2.0
"""Programs written in Python are the programs that their text assembles to; what says nothing is refused."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given

from prestocloud_sec.bpf import Builder, Program, ProgramType, assemble
from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.bpf.isa import (
    AddressSpaceCast,
    Alu,
    AluOp,
    Atomic,
    Branch,
    BranchOp,
    CallHelper,
    CallKfunc,
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
    LoadAcquire,
    LoadImm64,
    MayGoto,
    Negate,
    Store,
    StoreRelease,
    Swap,
)
from prestocloud_sec.bpf.operands import Address, Condition, Memory, Register
from prestocloud_sec.testing.bpf_isa import programs

IN_PLACE: dict[AluOp, Callable[[Any, Any], Any]] = {
    AluOp.ADD: operator.iadd,
    AluOp.SUB: operator.isub,
    AluOp.MUL: operator.imul,
    AluOp.DIV: operator.itruediv,
    AluOp.MOD: operator.imod,
    AluOp.OR: operator.ior,
    AluOp.AND: operator.iand,
    AluOp.XOR: operator.ixor,
    AluOp.LSH: operator.ilshift,
    AluOp.RSH: operator.irshift,
}
COMPARE: dict[BranchOp, Callable[[Any, Any], Any]] = {
    BranchOp.EQ: operator.eq,
    BranchOp.NE: operator.ne,
    BranchOp.GT: operator.gt,
    BranchOp.GE: operator.ge,
    BranchOp.LT: operator.lt,
    BranchOp.LE: operator.le,
    BranchOp.SET: operator.and_,
}


class Speaker:
    """Says an instruction with the builder, as a person would."""

    def __init__(self) -> None:
        self.b = Builder()

    def register(self, number: int, bits: int = 64) -> Register:
        found = getattr(self.b, f"{'r' if bits == 64 else 'w'}{number}")
        assert isinstance(found, Register)
        return found

    def set(self, number: int, value: Any, bits: int = 64) -> None:
        setattr(self.b, f"{'r' if bits == 64 else 'w'}{number}", value)

    def operand(self, src: int | Imm, bits: int) -> Any:
        return src.value if isinstance(src, Imm) else self.register(src, bits)

    def memory(self, size: int, *, signed: bool = False) -> Memory:
        found = getattr(self.b, f"{'s' if signed else 'u'}{size * 8}")
        assert isinstance(found, Memory)
        return found

    def at(self, base: int, offset: int) -> Address:
        return self.register(base) - -offset if offset < 0 else self.register(base) + offset

    def condition(self, branch: Branch) -> Condition:
        left, right = self.register(branch.dst, branch.bits), self.operand(branch.src, branch.bits)
        if branch.op in COMPARE:
            found = COMPARE[branch.op](left, right)
        else:
            found = getattr(left, branch.op.removeprefix("j"))(right)
        assert isinstance(found, Condition)
        return found

    def say(self, instruction: Instruction, target: str | None, map_name: str | None) -> None:
        match instruction:
            case Alu() | Negate() | Extend() | Swap() | AddressSpaceCast():
                self.say_arithmetic(instruction)
            case Load() | Store() | Atomic() | LoadAcquire() | StoreRelease() | LegacyLoad():
                self.say_memory(instruction)
            case LoadImm64():
                self.say_load(instruction, target, map_name)
            case _:
                self.say_control(instruction, target)

    def say_arithmetic(self, instruction: Alu | Negate | Extend | Swap | AddressSpaceCast) -> None:
        match instruction:
            case Alu(AluOp.MOV, bits, dst, src):
                self.set(dst, self.operand(src, bits), bits)
            case Alu(op, bits, dst, src) if op in IN_PLACE:
                self.set(dst, IN_PLACE[op](self.register(dst, bits), self.operand(src, bits)), bits)
            case Alu(op, bits, dst, src):
                getattr(self.register(dst, bits), op)(self.operand(src, bits))
            case Negate(bits, dst):
                self.set(dst, -self.register(dst, bits), bits)
            case Extend(bits, dst, src, width):
                self.set(dst, getattr(self.register(src, bits), f"s{width}"), bits)
            case Swap(kind, width, dst):
                self.b.swap(f"{kind}{width}", self.register(dst))
            case AddressSpaceCast(dst, src, target, source):
                self.b.cast(self.register(dst), self.register(src), target=target, source=source)

    def say_memory(self, instruction: Load | Store | Atomic | LoadAcquire | StoreRelease | LegacyLoad) -> None:
        match instruction:
            case Load(size, signed, dst, base, offset):
                self.set(dst, self.memory(size, signed=signed)[self.at(base, offset)])
            case Store(size, base, offset, src):
                self.memory(size)[self.at(base, offset)] = self.operand(src, 64)
            case Atomic(op, fetch, size, base, offset, src):
                self.b.atomic(op, self.memory(size)[self.at(base, offset)], self.register(src), fetch=fetch)
            case LoadAcquire(size, dst, base, offset):
                self.b.load_acquire(self.register(dst), self.memory(size)[self.at(base, offset)])
            case StoreRelease(size, base, offset, src):
                self.b.store_release(self.memory(size)[self.at(base, offset)], self.register(src))
            case LegacyLoad(size, indirect, src, imm):
                self.b.load_packet(size, imm, self.register(src) if indirect else None)

    def say_load(self, load: LoadImm64, target: str | None, map_name: str | None) -> None:
        match load.kind:
            case ImmKind.INTEGER:
                self.set(load.dst, self.b.imm64(load.value))
            case ImmKind.MAP_FD:
                self.set(load.dst, self.b.map(map_name or load.value))
            case ImmKind.MAP_VALUE_FD:
                self.set(load.dst, self.b.map_value(map_name or load.value, load.second))
            case ImmKind.FUNCTION if target is not None:
                self.set(load.dst, self.b.function(target))
            case _:
                self.b.emit(load)

    def say_control(self, instruction: Instruction, target: str | None) -> None:
        match instruction:
            case Jump(offset, wide):
                self.b.goto(target or offset, wide=wide)
            case Branch(offset=offset):
                self.b.goto(target or offset, when=self.condition(instruction))
            case MayGoto(offset):
                self.b.may_goto(target or offset)
            case CallHelper(number):
                self.b.call(number)
            case CallLocal(offset):
                self.b.call_local(target or offset)
            case CallKfunc(identifier, index):
                self.b.call_kfunc(identifier, index)
            case CallRegister(register, "dst"):
                self.b.call_register(self.register(register))
            case Exit():
                self.b.exit()
            case _:
                self.b.emit(instruction)


def said(program: Program) -> Program:
    """Write a program anew with the builder, with its names."""
    speaker = Speaker()
    places = {**program.symbols.labels, **program.symbols.functions}
    names: dict[int, str] = {}
    for name in sorted(places, reverse=True):
        names[places[name]] = name
    for index, instruction in enumerate(program):
        for name, slot in places.items():
            if slot == program.slot_of(index):
                speaker.b.label(name)
        target = program.targets[index]
        aim = names.get(program.slot_of(target)) if target is not None else None
        kfunc = program.symbols.kfuncs.get(index)
        if kfunc is not None:
            speaker.b.call_kfunc(kfunc)
        else:
            speaker.say(instruction, aim, program.symbols.maps.get(index))
    for name, slot in places.items():
        if slot == len(program):
            speaker.b.label(name)
    return speaker.b.program()


@given(programs())
def test_it_builds_what_the_text_assembles_to(program: Program) -> None:
    built = said(program)
    assert built == program
    assembled = assemble(program.disassemble())
    assert built == assembled
    assert built.symbols == assembled.symbols
    assert built.disassemble() == program.disassemble()


def test_a_program_as_a_person_writes_it() -> None:
    b = Builder()
    b.r6 = b.r1
    b.r0 = 0
    b.r2 = b.u32[b.r6]
    b.r3 = b.u32[b.r6 + 4]
    b.r2 += 14
    b.goto("out", when=b.r2 > b.r3)
    b.r4 = b.s16[b.r2 - 2]
    b.w4 &= 0xFFFF
    b.goto("out", when=b.w4 != 0xFFFFFFFF)
    b.r1 = b.map("flows")
    b.u64[b.r10 - 8] = b.r4
    b.u8[b.r10 - 9] = 255
    b.r2 = b.r10
    b.r2 -= 8
    b.call(1)
    b.goto("out", when=b.r0.slt(0))
    b.atomic("add", b.u64[b.r0], b.r4, fetch=True)
    b.r5 = b.imm64(-1)
    b.label("out")
    b.exit()
    assert b.program() == assemble(
        """
        r6 = r1
        r0 = 0
        r2 = *(u32 *)(r6 + 0)
        r3 = *(u32 *)(r6 + 4)
        r2 += 14
        if r2 > r3 goto out
        r4 = *(s16 *)(r2 - 2)
        w4 &= 65535
        if w4 != 0xffffffff goto out
        r1 = map[flows]
        *(u64 *)(r10 - 8) = r4
        *(u8 *)(r10 - 9) = 255
        r2 = r10
        r2 -= 8
        call 1
        if r0 s< 0 goto out
        r4 = atomic_fetch_add((u64 *)(r0 + 0), r4)
        r5 = -1 ll
    out:
        exit"""
    )


def test_each_statement_is_one_instruction() -> None:
    b = Builder()
    b.r1 //= b.r2
    b.r1.arsh(3)
    b.r1.sdiv(b.r2)
    b.r1.smod(7)
    b.r1 = b.r1
    b.w1 = b.w2.s8
    b.r1 = -b.r1
    b.w1 = b.u8[b.r2]
    assert b.program() == assemble(
        "r1 /= r2\nr1 s>>= 3\nr1 s/= r2\nr1 s%= 7\nr1 = r1\nw1 = (s8)w2\nr1 = -r1\nr1 = *(u8 *)(r2 + 0)"
    )


def test_what_a_program_carries() -> None:
    b = Builder()
    b.exit()
    program = b.program(type=ProgramType.XDP, name="drop", license="GPL")
    assert (program.type, program.name, program.license) == (ProgramType.XDP, "drop", "GPL")
    b.exit()
    assert (len(program), len(b.program())) == (1, 2)


def assign(name: str, value: Callable[[Builder], Any]) -> Callable[[Builder], None]:
    return lambda b: setattr(b, name, value(b))


MISUSES: dict[str, Callable[[Builder], Any]] = {
    "a number too large": assign("r0", lambda b: 1 << 31),
    "a number too large for the store": lambda b: operator.setitem(b.u64, b.r1, 1 << 31),
    "a float": assign("r0", lambda b: 1.5),
    "a bool": assign("r0", lambda b: True),
    "text": assign("r0", lambda b: "r1"),
    "a 32-bit register into a 64-bit one": assign("r0", lambda b: b.w1),
    "widths mixed": lambda b: operator.iadd(b.r0, b.w1),
    "widths compared": lambda b: b.r0 == b.w1,
    "another register negated": assign("r0", lambda b: -b.r1),
    "an extension of other width": assign("w0", lambda b: b.r1.s8),
    "an extension that is none": assign("w0", lambda b: b.w1.s32),
    "a signed load into 32 bits": assign("w0", lambda b: b.s8[b.r1]),
    "a load of 64 bits into 32": assign("w0", lambda b: b.u64[b.r1]),
    "a large number into 32 bits": assign("w0", lambda b: b.imm64(5)),
    "65 bits": lambda b: b.imm64(1 << 64),
    "an address of a 32-bit register": lambda b: b.w1 + 4,
    "an address of two registers": lambda b: b.r1 + b.r2,
    "an address that is a number": lambda b: b.u8[5],
    "an offset too far": assign("r0", lambda b: b.u8[b.r1 + 40000]),
    "a signed store": lambda b: operator.setitem(b.s8, b.r1, 5),
    "a 64-bit store of 32 bits": lambda b: operator.setitem(b.u64, b.r1, b.w2),
    "a condition asked for": lambda b: bool(b.r1 == 5),
    "conditions chained": lambda b: 1 < b.r1 < 5,
    "a jump on no condition": lambda b: b.goto("a", when=True),
    "a wide branch": lambda b: b.goto("a", when=b.r1 == 1, wide=True),
    "a jump to a register": lambda b: b.goto("r1"),
    "a jump too far": lambda b: b.goto(40000),
    "a jump to nothing": lambda b: b.goto(None),
    "a label twice": lambda b: (b.label("a"), b.label("a")),
    "a label that is no word": lambda b: b.label("a b"),
    "a swap of 8 bits": lambda b: b.swap("be8", b.r1),
    "a swap of half a register": lambda b: b.swap("be16", b.w1),
    "an unknown atomic operation": lambda b: b.atomic("nand", b.u64[b.r1], b.r2),
    "an atomic byte": lambda b: b.atomic("add", b.u8[b.r1], b.r2),
    "an atomic operation on signed memory": lambda b: b.atomic("add", b.s32[b.r1], b.r2),
    "an atomic operation on an address": lambda b: b.atomic("add", b.r1 + 8, b.r2),
    "half an operand": lambda b: b.atomic("add", b.u64[b.r1], b.w2),
    "a call of nothing": lambda b: b.call("map_lookup"),
    "a call of half a register": lambda b: b.call_register(b.w1),
    "a cast to itself": lambda b: b.cast(b.r1, b.r2, target=0, source=0),
    "a map that is neither": lambda b: (assign("r1", lambda b: b.map(1.5)))(b),
    "no instruction": lambda b: b.emit("exit"),
    "a packet of 8 bytes": lambda b: b.load_packet(8, 0),
}


@pytest.mark.parametrize("misuse", MISUSES.values(), ids=MISUSES)
def test_what_says_nothing(misuse: Callable[[Builder], Any]) -> None:
    b = Builder()
    with pytest.raises(BpfMisuseError) as caught:
        misuse(b)
    assert caught.value.expected
    assert b.program() == Program([])


def test_names_that_nothing_defines() -> None:
    b = Builder()
    b.label("here")
    b.goto("there")
    with pytest.raises(BpfMisuseError, match="nothing defines 'there'; expected 'here'"):
        b.program()
    b.label("there")
    assert b.program() == assemble("goto +0")


def test_a_label_too_far_away() -> None:
    b = Builder()
    b.goto("end")
    for _ in range(40000):
        b.exit()
    b.label("end")
    with pytest.raises(BpfMisuseError, match="40000 slots away"):
        b.program()


def test_a_register_says_its_name_and_has_no_hash() -> None:
    b = Builder()
    assert (repr(b.r3), repr(b.w10)) == ("r3", "w10")
    with pytest.raises(TypeError):
        hash(b.r3)


@pytest.mark.parametrize(("name", "sign"), [("sgt", "s>"), ("sge", "s>="), ("slt", "s<"), ("sle", "s<=")])
@pytest.mark.parametrize("bits", ["r", "w"])
def test_signed_comparisons_are_the_ones_they_are_called(name: str, sign: str, bits: str) -> None:
    b = Builder()
    left, right = getattr(b, f"{bits}1"), getattr(b, f"{bits}2")
    b.goto("end", when=getattr(left, name)(right))
    b.label("end")
    b.exit()
    assert b.program() == assemble(f"if {bits}1 {sign} {bits}2 goto +0\nexit")


def test_helpers_by_name() -> None:
    b = Builder()
    b.call("bpf_map_lookup_elem")
    b.call("map_lookup_elem")
    b.call(1)
    b.exit()
    assert set(b.program().instructions[:3]) == {CallHelper(1)}
    for name in ("bpf_no_such", "", "1"):
        with pytest.raises(BpfMisuseError, match="there is no helper"):
            b.call(name)
    assert len(b.program()) == 4


@pytest.mark.parametrize("name", ["r11", "R1", "w11", "u32", "program", "anything", "_other"])
def test_what_is_no_register_is_not_assigned_to(name: str) -> None:
    b = Builder()
    b.r0 = 1
    with pytest.raises(BpfMisuseError, match="no register"):
        setattr(b, name, 5)
    b.exit()
    assert b.program() == assemble("r0 = 1\nexit")
