# SPDX-License-Identifier: Apache-2.0
"""The readable interpreter of classic programs: the oracle of whatever runs them faster.

A checked program needs no limits: jumps lead forwards, so it ends after at most as many steps as it has instructions.

Sources: Linux 6.18, ``net/core/filter.c``, ``bpf_convert_filter`` and the functions that translated programs call
(behaviour); ``Documentation/networking/filter.rst``. Where libpcap's interpreter differs: there a shift by an X of 32
or more gives 0 (here the low five bits count), and X + k does not wrap.
"""

from __future__ import annotations

import operator
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from prestocloud_sec.bpf.classic.ancillary import LINK_BASE, NETWORK_BASE, Ancillary
from prestocloud_sec.bpf.classic.checker import MEMORY_WORDS
from prestocloud_sec.bpf.classic.instructions import (
    Alu,
    Branch,
    ClassicInstruction,
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
    Register,
    Return,
    Store,
)
from prestocloud_sec.bpf.classic.metadata import PacketMetadata
from prestocloud_sec.bpf.classic.netlink import find_attribute, find_nested
from prestocloud_sec.bpf.classic.seccomp import SeccompData, seccomp_bytes
from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.wire import shown, view_of

if TYPE_CHECKING:
    from prestocloud_sec.bpf.classic.program import ClassicProgram
    from prestocloud_sec.wire import BytesLike

__all__ = ["run", "run_seccomp"]

_U32 = 0xFFFF_FFFF
_NEGATIVE = 0x8000_0000
_SHIFT = 31


class _Ended(Exception):  # noqa: N818  (an end is no error)
    """The program ends with this value, without a ``ret``."""

    def __init__(self, value: int = 0) -> None:
        super().__init__(value)
        self.value = value


class _Run(ABC):
    """The state of one run: A, X, M[], and what loads see."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.registers = {Register.A: 0, Register.X: 0}
        self.memory = [0] * MEMORY_WORDS

    @property
    def a(self) -> int:
        """The accumulator."""
        return self.registers[Register.A]

    @a.setter
    def a(self, value: int) -> None:
        self.registers[Register.A] = value & _U32

    @property
    def x(self) -> int:
        """The index register."""
        return self.registers[Register.X]

    @abstractmethod
    def load(self, i: LoadPacket) -> int:
        """Return what a load gives."""

    def operand(self, operand: int | Register) -> int:
        """Return the value of an operand."""
        return self.registers[operand] if isinstance(operand, Register) else operand

    def go(self, instructions: tuple[ClassicInstruction, ...]) -> int:
        """Run a checked program."""
        at = 0
        try:
            while True:
                instruction = instructions[at]
                at += 1 + (_STEPS[type(instruction)](self, instruction) or 0)
        except _Ended as end:
            return end.value


class _PacketRun(_Run):
    """A run over a packet."""

    def __init__(self, data: bytes, metadata: PacketMetadata) -> None:
        super().__init__(data)
        self.metadata = metadata
        linear = metadata.linear_length
        self.linear = len(data) if linear is None else min(linear, len(data))

    def load(self, i: LoadPacket) -> int:
        which = i.ancillary
        if which is not None:
            return _ANCILLARY[which](self)
        return self.packet(i.offset + self.x if i.indirect else i.offset, i.size)

    def packet(self, offset: int, size: int) -> int:
        """Return bytes of the packet as a number; end the program if it does not have them."""
        offset &= _U32
        end = len(self.data)
        if offset >= _NEGATIVE:
            offset, end = self.from_header(offset), self.linear
        if offset + size > end:
            raise _Ended
        return int.from_bytes(self.data[offset : offset + size], "big")

    def from_header(self, offset: int) -> int:
        """Return the place of an offset that counts from a header."""
        if offset >= NETWORK_BASE:
            return self.metadata.network_offset + offset - NETWORK_BASE
        if offset >= LINK_BASE and self.metadata.mac_offset is not None:
            return self.metadata.mac_offset + offset - LINK_BASE
        raise _Ended


class _SeccompRun(_Run):
    """A run over a system call: words in the machine's own order, all of them there."""

    def load(self, i: LoadPacket) -> int:
        return int.from_bytes(self.data[i.offset : i.offset + i.size], sys.byteorder)


# --- Ancillary data.


def _of_device(value: Callable[[PacketMetadata], int]) -> Callable[[_PacketRun], int]:
    def load(run: _PacketRun) -> int:
        if run.metadata.ifindex == 0:  # the translated program leaves at once, and A is its result
            raise _Ended(run.a)
        return value(run.metadata)

    return load


def _netlink(search: Callable[[bytes, int, int], int]) -> Callable[[_PacketRun], int]:
    def load(run: _PacketRun) -> int:
        return search(run.data, run.a, run.x) if run.linear == len(run.data) else 0

    return load


_ANCILLARY: dict[Ancillary, Callable[[_PacketRun], int]] = {
    Ancillary.PROTOCOL: lambda run: run.metadata.protocol,
    Ancillary.PKTTYPE: lambda run: run.metadata.pkt_type,
    Ancillary.IFINDEX: _of_device(lambda metadata: metadata.ifindex),
    Ancillary.NLATTR: _netlink(find_attribute),
    Ancillary.NLATTR_NEST: _netlink(find_nested),
    Ancillary.MARK: lambda run: run.metadata.mark,
    Ancillary.QUEUE: lambda run: run.metadata.queue,
    Ancillary.HATYPE: _of_device(lambda metadata: metadata.hatype),
    Ancillary.RXHASH: lambda run: run.metadata.rxhash,
    Ancillary.CPU: lambda run: run.metadata.cpu,
    Ancillary.ALU_XOR_X: lambda run: run.a ^ run.x,
    Ancillary.VLAN_TAG: lambda run: run.metadata.vlan_tci,
    Ancillary.VLAN_TAG_PRESENT: lambda run: int(run.metadata.vlan_present),
    Ancillary.PAY_OFFSET: lambda run: run.metadata.find_payload(run.data),
    Ancillary.RANDOM: lambda run: run.metadata.draw(),
    Ancillary.VLAN_TPID: lambda run: run.metadata.vlan_tpid,
}


# --- Instructions. A step returns how many instructions to skip, or nothing.


def _load_packet(run: _Run, i: LoadPacket) -> None:
    run.a = run.load(i)


def _load_constant(run: _Run, i: LoadConstant) -> None:
    run.registers[i.register] = i.value


def _load_length(run: _Run, i: LoadLength) -> None:
    run.registers[i.register] = len(run.data)


def _load_memory(run: _Run, i: LoadMemory) -> None:
    run.registers[i.register] = run.memory[i.index]


def _load_header_length(run: _PacketRun, i: LoadHeaderLength) -> None:
    run.registers[Register.X] = 4 * (run.packet(i.offset, 1) & 15)


def _store(run: _Run, i: Store) -> None:
    run.memory[i.index] = run.registers[i.register]


_ARITHMETIC: dict[Operation, Callable[[int, int], int]] = {
    Operation.ADD: operator.add,
    Operation.SUB: operator.sub,
    Operation.MUL: operator.mul,
    Operation.DIV: operator.floordiv,
    Operation.MOD: operator.mod,
    Operation.OR: operator.or_,
    Operation.AND: operator.and_,
    Operation.XOR: operator.xor,
    Operation.LSH: lambda a, b: a << (b & _SHIFT),
    Operation.RSH: lambda a, b: a >> (b & _SHIFT),
}


def _alu(run: _Run, i: Alu) -> None:
    value = run.operand(i.operand)
    if value == 0 and i.op in {Operation.DIV, Operation.MOD}:
        raise _Ended
    run.a = _ARITHMETIC[i.op](run.a, value)


def _negate(run: _Run, i: Negate) -> None:  # noqa: ARG001
    run.a = -run.a


def _jump(run: _Run, i: Jump) -> int:  # noqa: ARG001
    return i.distance


_COMPARE: dict[Condition, Callable[[int, int], bool]] = {
    Condition.EQ: operator.eq,
    Condition.GT: operator.gt,
    Condition.GE: operator.ge,
    Condition.SET: lambda a, b: bool(a & b),
}


def _branch(run: _Run, i: Branch) -> int:
    return i.jt if _COMPARE[i.op](run.a, run.operand(i.operand)) else i.jf


def _return(run: _Run, i: Return) -> None:
    raise _Ended(run.operand(i.value))


def _copy(run: _Run, i: Copy) -> None:
    run.registers[i.to] = run.a if i.to is Register.X else run.x


_STEPS: dict[type, Callable[[Any, Any], int | None]] = {
    LoadPacket: _load_packet,
    LoadConstant: _load_constant,
    LoadLength: _load_length,
    LoadMemory: _load_memory,
    LoadHeaderLength: _load_header_length,
    Store: _store,
    Alu: _alu,
    Negate: _negate,
    Jump: _jump,
    Branch: _branch,
    Return: _return,
    Copy: _copy,
}


def run(program: ClassicProgram, packet: BytesLike, metadata: PacketMetadata | None = None) -> int:
    """Run a program over a packet; see `ClassicProgram.run`."""
    program.check()
    data = bytes(view_of(packet, name="packet"))
    if metadata is None:
        metadata = PacketMetadata.of_frame(data)
    if not isinstance(metadata, PacketMetadata):
        raise BpfMisuseError(f"{shown(metadata)} is none", where="metadata", expected="PacketMetadata")
    return _PacketRun(data, metadata).go(program.instructions)


def run_seccomp(program: ClassicProgram, data: SeccompData | BytesLike) -> int:
    """Run a program over a system call; see `ClassicProgram.run_seccomp`."""
    program.check("seccomp")
    return _SeccompRun(seccomp_bytes(data)).go(program.instructions)
