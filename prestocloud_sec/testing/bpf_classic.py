# SPDX-License-Identifier: Apache-2.0
"""Hypothesis strategies of classic BPF: instructions, programs the kernel takes, text and bytes that are nearly so.

>>> from hypothesis import find
>>> program = find(programs(), lambda program: len(program) > 2)
>>> program.check()
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import strategies as st

from prestocloud_sec.bpf.classic import (
    Alu,
    Ancillary,
    Branch,
    ClassicInstruction,
    ClassicProgram,
    Condition,
    Copy,
    Jump,
    LoadConstant,
    LoadHeaderLength,
    LoadLength,
    LoadMemory,
    LoadPacket,
    Negate,
    Operation,
    PacketMetadata,
    Register,
    Return,
    SeccompAction,
    SeccompData,
    Store,
)
from prestocloud_sec.bpf.classic.ancillary import LINK_BASE, NETWORK_BASE
from prestocloud_sec.bpf.classic.syntax import MNEMONICS
from prestocloud_sec.bpf.classic.table import ROWS

__all__ = ["instructions", "metadata", "nearly_programs", "nearly_text", "programs", "seccomp_data", "words"]

_U32 = 0xFFFF_FFFF
_WORDS = 16
_ALL = (1 << _WORDS) - 1
_NEAR = 96
"""Packet offsets that are drawn most."""


def words() -> st.SearchStrategy[int]:
    """Unsigned numbers of 32 bits, small ones and limits often among them."""
    limits = st.sampled_from([0, 1, 31, 32, 0x7FFF_FFFF, 0x8000_0000, 0x8000_0001, _U32 - 1, _U32])
    return limits | st.integers(0, 300) | st.integers(0, _U32)


def _offsets() -> st.SearchStrategy[int]:
    relative = st.sampled_from([NETWORK_BASE, LINK_BASE]).flatmap(lambda base: st.integers(base, base + _NEAR))
    near = st.integers(0, _NEAR)
    return near | near | near | relative | st.sampled_from(Ancillary).map(lambda which: which.offset) | words()


def instructions() -> st.SearchStrategy[ClassicInstruction]:
    """Any instruction, each class as likely as any other; jumps lead anywhere, M[] is any number."""
    register, byte = st.sampled_from(Register), st.integers(0, 255)
    index = st.integers(0, _WORDS - 1) | words()
    return st.one_of(
        st.builds(LoadPacket, st.sampled_from([1, 2, 4]), st.booleans(), _offsets()),
        st.builds(LoadConstant, register, words()),
        st.builds(LoadLength, register),
        st.builds(LoadMemory, register, index),
        st.builds(LoadHeaderLength, _offsets()),
        st.builds(Store, register, index),
        st.builds(Alu, st.sampled_from(Operation), words() | st.just(Register.X)),
        st.just(Negate()),
        st.builds(Jump, st.integers(0, 12) | words()),
        st.builds(Branch, st.sampled_from(Condition), words() | st.just(Register.X), byte, byte),
        st.builds(Return, words() | st.just(Register.A)),
        st.builds(Copy, register),
    )


@dataclass
class _Plan:
    """What is drawn for one program, and the words of M[] that each instruction finds written."""

    draw: st.DrawFn
    count: int
    profile: str
    portable: bool
    ancillary: Sequence[Ancillary]
    reached: list[int] = field(default_factory=list)
    written: int = 0

    def body(self) -> list[ClassicInstruction]:
        """Return the instructions before the ending."""
        self.reached = [_ALL] * (self.count + 1)
        body = []
        for index in range(self.count):
            self.written &= self.reached[index]
            body.append(self.one(index))
        self.written &= self.reached[self.count]
        return body

    def one(self, index: int) -> ClassicInstruction:
        kinds = [*_DRAWN, *_DRAWN, "jump", "branch", "branch"]
        if self.written:
            kinds += ["read", "read"]
        kind = self.draw(st.sampled_from(kinds))
        if kind in {"jump", "branch"}:
            return self.jump(index, kind)
        made: ClassicInstruction = getattr(self, kind)()
        return made

    def ahead(self, index: int, most: int) -> int:
        return self.draw(st.integers(0, min(most, self.count - index - 1)))

    def jump(self, index: int, kind: str) -> ClassicInstruction:
        distance = self.ahead(index, 8)
        self.reached[index + 1 + distance] &= self.written
        made: ClassicInstruction = Jump(distance)
        if kind == "branch":
            other = self.ahead(index, 8)
            self.reached[index + 1 + other] &= self.written
            operand = self.draw(words() | st.just(Register.X))
            made = Branch(self.draw(st.sampled_from(Condition)), operand, distance, other)
        self.written = _ALL
        return made

    def store(self) -> ClassicInstruction:
        made = Store(self.draw(st.sampled_from(Register)), self.draw(st.integers(0, _WORDS - 1)))
        self.written |= 1 << made.index
        return made

    def read(self) -> ClassicInstruction:
        known = [index for index in range(_WORDS) if self.written >> index & 1]
        return LoadMemory(self.index_register(), self.draw(st.sampled_from(known)))

    def index_register(self) -> Register:
        return Register.A if self.portable else self.draw(st.sampled_from(Register))

    def packet(self) -> ClassicInstruction:
        if self.profile == "seccomp":
            return LoadPacket(4, False, 4 * self.draw(st.integers(0, 15)))
        size = self.draw(st.sampled_from([1, 2, 4]))
        if self.draw(st.booleans()):
            return LoadPacket(size, True, self.draw(st.integers(0, _NEAR) if self.portable else _offsets()))
        offset = self.draw(st.integers(0, _NEAR) if self.portable else _offsets())
        if offset >= Ancillary.PROTOCOL.offset:
            offset = self.draw(st.sampled_from(self.ancillary)).offset if self.ancillary else 0
        return LoadPacket(size, False, offset)

    def header(self) -> ClassicInstruction:
        if self.profile == "seccomp":
            return LoadLength(self.draw(st.sampled_from(Register)))
        return LoadHeaderLength(self.draw(st.integers(0, _NEAR)))

    def constant(self) -> ClassicInstruction:
        register = self.draw(st.sampled_from(Register))
        near = self.portable and register is Register.X
        return LoadConstant(register, self.draw(st.integers(0, _NEAR) if near else words()))

    def length(self) -> ClassicInstruction:
        return LoadLength(self.draw(st.sampled_from(Register)))

    def alu(self) -> ClassicInstruction:
        ops = [op for op in Operation if self.profile != "seccomp" or op is not Operation.MOD]
        op = self.draw(st.sampled_from(ops))
        shift = op in {Operation.LSH, Operation.RSH}
        if self.draw(st.booleans()) and not (self.portable and shift):
            return Alu(op, Register.X)
        if shift:
            return Alu(op, self.draw(st.integers(0, 31)))
        divides = op in {Operation.DIV, Operation.MOD}
        return Alu(op, self.draw(words().filter(bool) if divides else words()))

    def negate(self) -> ClassicInstruction:
        return Negate()

    def copy(self) -> ClassicInstruction:
        return Copy(self.index_register())


_DRAWN = ("packet", "packet", "header", "constant", "length", "alu", "alu", "negate", "copy", "store")


@st.composite
def programs(
    draw: st.DrawFn,
    *,
    max_size: int = 24,
    ending: Sequence[ClassicInstruction] | None = None,
    profile: str = "socket",
    portable: bool = False,
    ancillary: Sequence[Ancillary] = (),
) -> ClassicProgram:
    """Programs that the kernel takes.

    Parameters
    ----------
    max_size : int
        Instructions at most, without the ending.
    ending : sequence of ClassicInstruction, optional
        What stands at the end, and is reached from everywhere; one return, if not given.
    profile : {"socket", "seccomp"}
        Whose rules they keep.
    portable : bool
        Leave out what libpcap does otherwise than the kernel: shifts by X, and X so large that X + k wraps; and what
        libpcap does not know.
    ancillary : sequence of Ancillary
        Ancillary data that may be loaded.
    """
    plan = _Plan(draw, draw(st.integers(0, max_size)), profile, portable, ancillary)
    body = plan.body()
    if ending is None:
        actions = st.sampled_from(SeccompAction).map(int)
        values = actions if profile == "seccomp" else words()
        ending = [Return(draw(values | st.just(Register.A)))]
    return ClassicProgram([*body, *ending])


def nearly_programs(*, max_size: int = 6) -> st.SearchStrategy[bytes]:
    """Bytes in whole instructions: known opcodes and others, with fields that matter to some rule."""
    code = st.sampled_from(sorted({row.code for row in ROWS})) | st.integers(0, 255) | st.integers(0, 0xFFFF)
    jump = st.sampled_from([0, 0, 1, 2, 3, 255])
    fields = st.builds(lambda *values: struct.pack("<HBBI", *values), code, jump, jump, _offsets() | st.integers(0, 17))
    end = st.sampled_from([b"", b"", struct.pack("<HBBI", 6, 0, 0, _U32), struct.pack("<HBBI", 0x16, 0, 0, 0)])
    return st.builds(lambda body, last: b"".join(body) + last, st.lists(fields, max_size=max_size), end)


def nearly_text() -> st.SearchStrategy[str]:
    """Text put together from the words and signs of the assembler."""
    signs = ["[", "]", "(", ")", "#", ",", ":", "+", "-", "*", "&", "%", "x", "a", "M", "\n", ";", "/*", "*/", "msh"]
    numbers = ["0", "4", "12", "0xf", "0x800", "070", "08", "0b11", "4294967295", "4294967296", "9" * 50]
    pieces = st.sampled_from([*MNEMONICS, *signs, *numbers, "len", "proto", "poff", "L1", "L1:", "loop", "é", "\0"])
    return st.lists(pieces, max_size=24).map(" ".join) | st.text(max_size=40)


@st.composite
def metadata(draw: st.DrawFn) -> PacketMetadata:
    """Metadata of packets; the protocol is one with which a payload can be found, or another that is not 0."""
    u16, u32 = st.integers(0, 0xFFFF), words()
    return PacketMetadata(
        protocol=draw(st.sampled_from([0x0800, 0x86DD, 0x8100]) | st.integers(1, 0xFFFF)),
        pkt_type=draw(st.integers(0, 7)),
        ifindex=draw(st.integers(0, 3) | st.integers(0, 0x7FFF_FFFF)),
        mark=draw(u32),
        queue=draw(u16),
        hatype=draw(u16),
        rxhash=draw(u32),
        cpu=draw(u16),
        vlan_tci=draw(u16),
        vlan_present=draw(st.booleans()),
        vlan_tpid=draw(st.sampled_from([0x8100, 0x88A8]) | u16),
        network_offset=draw(st.integers(0, 60)),
        mac_offset=draw(st.none() | st.integers(0, 60)),
        pay_offset=draw(st.none() | u32),
        random=draw(u32.map(lambda value: lambda: value)),
    )


def seccomp_data() -> st.SearchStrategy[SeccompData]:
    """System calls."""
    u64 = st.integers(0, 300) | st.integers(0, (1 << 64) - 1)
    return st.builds(
        SeccompData,
        st.integers(-1, 500) | st.integers(-(1 << 31), (1 << 31) - 1),
        st.sampled_from([0xC000_003E, 0xC000_00B7]) | words(),
        u64,
        st.lists(u64, max_size=6).map(tuple),
    )
