# SPDX-License-Identifier: Apache-2.0
"""Hypothesis strategies of eBPF instructions, programs and bytes that are nearly programs."""

from __future__ import annotations

import dataclasses
import re
import struct
from collections.abc import Sequence

from hypothesis import strategies as st

from prestocloud_sec.bpf.isa import (
    FRAME_POINTER,
    REGISTERS,
    AddressSpaceCast,
    Alu,
    AluOp,
    Atomic,
    AtomicOp,
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
    SwapKind,
)
from prestocloud_sec.bpf.isa.table import ROWS
from prestocloud_sec.bpf.program import Program, Symbols
from prestocloud_sec.bpf.syntax import is_symbol

__all__ = ["immediates", "instructions", "nearly_programs", "programs", "registers", "signed"]


def registers(*, writable: bool = False) -> st.SearchStrategy[int]:
    """Register numbers; with `writable`, all but the frame pointer's."""
    return st.integers(0, FRAME_POINTER - 1 if writable else REGISTERS - 1)


def signed(bits: int) -> st.SearchStrategy[int]:
    """Signed numbers of some width, its limits often among them."""
    low, high = -(1 << bits - 1), (1 << bits - 1) - 1
    return st.sampled_from([0, 1, -1, low, high]) | st.integers(-256, 256) | st.integers(low, high)


def immediates() -> st.SearchStrategy[Imm]:
    """Immediate operands."""
    return signed(32).map(Imm)


def instructions() -> st.SearchStrategy[Instruction]:
    """Any instruction, each class as likely as any other; jumps lead anywhere."""
    return st.one_of(*_arithmetic(), *_memory(), _loads_of_64_bits(), *_control())


def _bits() -> st.SearchStrategy[int]:
    return st.sampled_from([32, 64])


def _arithmetic() -> list[st.SearchStrategy[Instruction]]:
    reg, operand = registers(), registers() | immediates()
    return [
        st.builds(Alu, st.sampled_from(AluOp), _bits(), reg, operand),
        st.builds(Negate, _bits(), reg),
        st.sampled_from([(32, 8), (32, 16), (64, 8), (64, 16), (64, 32)]).flatmap(
            lambda widths: st.builds(Extend, st.just(widths[0]), reg, reg, st.just(widths[1]))
        ),
        st.builds(Swap, st.sampled_from(SwapKind), st.sampled_from([16, 32, 64]), reg),
        st.sampled_from([(0, 1), (1, 0)]).flatmap(
            lambda spaces: st.builds(AddressSpaceCast, reg, reg, st.just(spaces[0]), st.just(spaces[1]))
        ),
    ]


def _memory() -> list[st.SearchStrategy[Instruction]]:
    reg, offset, size = registers(), signed(16), st.sampled_from([1, 2, 4, 8])
    wide_enough = st.sampled_from([4, 8])
    return [
        st.builds(Load, size, st.just(False), reg, reg, offset),
        st.builds(Load, st.sampled_from([1, 2, 4]), st.just(True), reg, reg, offset),
        st.builds(Store, size, reg, offset, reg | immediates()),
        st.sampled_from(AtomicOp).flatmap(
            lambda op: st.builds(
                Atomic,
                st.just(op),
                st.just(True) if op in {AtomicOp.XCHG, AtomicOp.CMPXCHG} else st.booleans(),
                wide_enough,
                reg,
                offset,
                reg,
            )
        ),
        st.builds(LoadAcquire, size, reg, reg, offset),
        st.builds(StoreRelease, size, reg, offset, reg),
        st.builds(LegacyLoad, st.sampled_from([1, 2, 4]), st.just(False), st.just(0), signed(32)),
        st.builds(LegacyLoad, st.sampled_from([1, 2, 4]), st.just(True), reg, signed(32)),
    ]


def _loads_of_64_bits() -> st.SearchStrategy[Instruction]:
    def of_kind(kind: ImmKind) -> st.SearchStrategy[Instruction]:
        value = st.integers(0, (1 << 64) - 1) | st.integers(0, 256) if kind is ImmKind.INTEGER else signed(32)
        has_second = kind in {ImmKind.MAP_VALUE_FD, ImmKind.MAP_VALUE_INDEX, ImmKind.BTF_VARIABLE}
        second = st.integers(0, (1 << 32) - 1) if has_second else st.just(0)
        return st.builds(LoadImm64, registers(), st.just(kind), value, second)

    return st.sampled_from(ImmKind).flatmap(of_kind)


def _control() -> list[st.SearchStrategy[Instruction]]:
    return [
        st.builds(Jump, signed(16), st.just(False)),
        st.builds(Jump, signed(32), st.just(True)),
        st.builds(Branch, st.sampled_from(BranchOp), _bits(), registers(), registers() | immediates(), signed(16)),
        st.builds(MayGoto, signed(16)),
        st.builds(CallHelper, st.integers(1, 211) | signed(32)),
        st.builds(CallLocal, signed(32)),
        st.builds(CallKfunc, signed(32), st.just(0) | signed(16)),
        st.builds(CallRegister, registers()),
        st.builds(CallRegister, st.integers(1, REGISTERS - 1), st.just("imm")),
        st.just(Exit()),
    ]


@st.composite
def programs(draw: st.DrawFn, *, max_size: int = 24, names: bool = True) -> Program:
    """Programs whose jumps and calls all lead to an instruction, and that end in an exit.

    Nothing else is promised: registers may be read before they are written, loops need not end.

    Parameters
    ----------
    max_size : int
        Instructions at most, the last exit included.
    names : bool
        Whether some places, maps and kernel functions have names.
    """
    body = draw(st.lists(instructions(), max_size=max_size - 1))
    code = [*body, Exit()]
    starts: list[int] = []
    slot = 0
    for instruction in code:
        starts.append(slot)
        slot += instruction.slots
    aimed = [
        _aimed(instruction, at, draw(st.sampled_from(starts))) for instruction, at in zip(code, starts, strict=True)
    ]
    if not names:
        return Program(aimed)
    aimed, maps = draw(_maps(aimed))
    aimed, kfuncs = draw(_kfuncs(aimed))
    places = draw(_places([*starts, slot]))
    return Program(aimed, symbols=dataclasses.replace(places, maps=maps, kfuncs=kfuncs))


def _aimed(instruction: Instruction, at: int, target: int) -> Instruction:
    """Return the instruction with its jump, if it has one, led from slot `at` to slot `target`."""
    match instruction:
        case Jump() | Branch() | MayGoto() | CallLocal():
            return dataclasses.replace(instruction, offset=target - at - 1)
        case LoadImm64(kind=ImmKind.FUNCTION):
            return dataclasses.replace(instruction, value=target - at - 1)
        case _:
            return instruction


_WORDS = st.sampled_from(["exit", "pc", "map", "local", "a", "b"]) | st.from_regex(
    re.compile(r"[A-Za-z_.$][A-Za-z0-9_.$]{0,6}", re.ASCII), fullmatch=True
).filter(is_symbol)


@st.composite
def _places(draw: st.DrawFn, starts: Sequence[int]) -> Symbols:
    """Names of some places; the end of a program can have one as well."""
    named = draw(st.dictionaries(_WORDS, st.sampled_from(starts), max_size=5))
    functions = draw(st.sets(st.sampled_from(sorted(named)))) if named else set()
    return Symbols(
        {name: slot for name, slot in named.items() if name not in functions},
        {name: slot for name, slot in named.items() if name in functions},
    )


@st.composite
def _maps(draw: st.DrawFn, code: Sequence[Instruction]) -> tuple[list[Instruction], dict[int, str]]:
    """Names for the maps of some loads, and the loads with the numbers that go with them."""
    numbers: dict[str, int] = {}
    named: dict[int, str] = {}
    changed = list(code)
    for index, instruction in enumerate(code):
        match instruction:
            case LoadImm64(kind=ImmKind.MAP_FD | ImmKind.MAP_VALUE_FD) if draw(st.booleans()):
                name = named[index] = draw(st.sampled_from(["flows", "id", "m.1"]))
                number = numbers.setdefault(name, len(numbers))
                changed[index] = dataclasses.replace(instruction, value=number)
    return changed, named


@st.composite
def _kfuncs(draw: st.DrawFn, code: Sequence[Instruction]) -> tuple[list[Instruction], dict[int, str]]:
    """Names for some kernel functions that are called, and the calls without the numbers that the names replace."""
    named: dict[int, str] = {}
    changed = list(code)
    for index, instruction in enumerate(code):
        if isinstance(instruction, CallKfunc) and draw(st.booleans()):
            named[index] = draw(_WORDS)
            changed[index] = CallKfunc(0)
    return changed, named


def nearly_programs(*, max_slots: int = 6) -> st.SearchStrategy[bytes]:
    """Bytes in whole slots: instructions, instructions with one byte changed, and fields put together at random."""
    right = instructions().map(lambda instruction: instruction.encode())
    changed = st.builds(
        lambda encoded, at, byte: encoded[: at % len(encoded)] + bytes([byte]) + encoded[at % len(encoded) + 1 :],
        right,
        st.integers(0, 15),
        st.integers(0, 255) | st.sampled_from([0, 1, 8, 16, 32]),
    )
    return st.lists(right | changed | _slots(), max_size=max_slots).map(b"".join)


def _slots() -> st.SearchStrategy[bytes]:
    """Slots of a known opcode, or of any, with fields that are often 0 or a number that some encoding knows."""
    nibble = st.sampled_from([0, 0, 0, 1, 2, 10, 11]) | st.integers(0, 15)
    return st.builds(
        lambda opcode, dst, src, off, imm: struct.pack("<BBhi", opcode, dst | src << 4, off, imm),
        st.sampled_from(sorted({row.opcode for row in ROWS})) | st.integers(0, 255),
        nibble,
        nibble,
        st.sampled_from([0, 0, 0, 1, 8, 16, 32, -1]) | signed(16),
        st.sampled_from([0, 0, 0, 1, 16, 32, 64, 0xE1, 0xF1, 0x100, 0x110, 0x10000]) | signed(32),
    )
