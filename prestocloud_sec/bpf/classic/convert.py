# SPDX-License-Identifier: Apache-2.0
"""From classic programs to eBPF, as the kernel does it before it runs one.

A lives in r0, X in r7, the context in r6; M[k] is the word at -4 * (k + 1) of the stack frame. All arithmetic is of 32
bits, so that both registers stay zero-extended and can be compared with 64-bit jumps. A branch is one jump where one of
its two ways is the next instruction, otherwise two. Loads of packet bytes are the loads that eBPF has kept for this;
they end the program with 0 just as classic ones do. Ancillary data comes from fields of ``__sk_buff``; what has no
field there comes from helpers, for which the kernel uses functions of its own (see
`prestocloud_sec.bpf.classic.private`).

Source: Linux 6.18, ``net/core/filter.c``, ``bpf_convert_filter``, ``convert_bpf_extensions`` (behaviour; the tests run
both, and the kernel).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from prestocloud_sec.bpf.classic import instructions as classic
from prestocloud_sec.bpf.classic.ancillary import Ancillary
from prestocloud_sec.bpf.classic.checker import SECCOMP_DATA_SIZE
from prestocloud_sec.bpf.classic.instructions import Condition, Operation, Register
from prestocloud_sec.bpf.classic.private import PrivateHelper
from prestocloud_sec.bpf.helpers.ids import HelperId
from prestocloud_sec.bpf.isa import (
    FRAME_POINTER,
    Alu,
    AluOp,
    Branch,
    BranchOp,
    CallHelper,
    Exit,
    Imm,
    Instruction,
    Jump,
    LegacyLoad,
    Load,
    Negate,
    Store,
    Swap,
    SwapKind,
)
from prestocloud_sec.bpf.program import Program, ProgramType
from prestocloud_sec.bpf.vm.context import SK_BUFF

if TYPE_CHECKING:
    from prestocloud_sec.bpf.classic.program import ClassicProgram

__all__ = ["convert"]

_A, _X, _CONTEXT, _SCRATCH = 0, 7, 6, 8
_ARG1, _ARG2, _ARG3 = 1, 2, 3
_REGISTERS = {Register.A: _A, Register.X: _X}
_SIGN = 0x8000_0000

Piece = Instruction | tuple[Branch | Jump, int]
"""An instruction; or a jump with the classic instruction that it leads to."""


def _imm(value: int) -> Imm:
    """Return an unsigned number of 32 bits as an immediate, which is signed."""
    return Imm((value ^ _SIGN) - _SIGN)


def _move(dst: int, src: int | Imm, bits: int = 32) -> Alu:
    return Alu(AluOp.MOV, bits, dst, src)


def _slot(index: int) -> int:
    return -4 * (index + 1)


_CLEAR = (_move(_A, Imm(0)), _move(_X, Imm(0)), _move(_CONTEXT, _ARG1, 64))
"""What a program begins with. The kernel has ``w0 ^= w0`` here, which its verifier would not let a program do."""
_LEAVE_WITH_0 = (_move(_A, Imm(0)), Exit())


# --- Loads.


def _field(name: str, register: int = _A) -> Load:
    return Load(4, False, register, _CONTEXT, SK_BUFF.fields[name].offset)


def _host_order(name: str) -> list[Piece]:
    return [_field(name), Swap(SwapKind.BE, 16, _A)]


def _of_device(*load: Instruction) -> list[Piece]:
    """Return a load that ends the program, with A, where the packet has no device."""
    return [_field("ifindex", _SCRATCH), Branch(BranchOp.NE, 64, _SCRATCH, Imm(0), 1), Exit(), *load]


def _call(number: int) -> list[Piece]:
    """Return a call with context, A and X as arguments, whose result is cut to 32 bits."""
    arguments = (_move(_ARG1, _CONTEXT, 64), _move(_ARG2, _A, 64), _move(_ARG3, _X, 64))
    return [*arguments, CallHelper(number), _move(_A, _A)]


_ANCILLARY: dict[Ancillary, list[Piece]] = {
    Ancillary.PROTOCOL: _host_order("protocol"),
    Ancillary.PKTTYPE: [_field("pkt_type")],
    Ancillary.IFINDEX: _of_device(_move(_A, _SCRATCH)),
    Ancillary.NLATTR: _call(PrivateHelper.SKB_GET_NLATTR.value),
    Ancillary.NLATTR_NEST: _call(PrivateHelper.SKB_GET_NLATTR_NEST.value),
    Ancillary.MARK: [_field("mark")],
    Ancillary.QUEUE: [_field("queue_mapping")],
    Ancillary.HATYPE: _of_device(
        _move(_ARG1, _CONTEXT, 64), CallHelper(PrivateHelper.SKB_GET_HATYPE.value), _move(_A, _A)
    ),
    Ancillary.RXHASH: [_field("hash")],
    Ancillary.CPU: _call(HelperId.GET_SMP_PROCESSOR_ID.value),
    Ancillary.ALU_XOR_X: [Alu(AluOp.XOR, 32, _A, _X)],
    Ancillary.VLAN_TAG: [_field("vlan_tci")],
    Ancillary.VLAN_TAG_PRESENT: [_field("vlan_present")],
    Ancillary.PAY_OFFSET: _call(PrivateHelper.SKB_GET_PAY_OFFSET.value),
    Ancillary.RANDOM: _call(HelperId.GET_PRANDOM_U32.value),
    Ancillary.VLAN_TPID: _host_order("vlan_proto"),
}


def _load_packet(i: classic.LoadPacket, _index: int) -> list[Piece]:
    if i.ancillary is not None:
        return _ANCILLARY[i.ancillary]
    return [LegacyLoad(i.size, i.indirect, _X if i.indirect else 0, _imm(i.offset).value)]


def _load_seccomp(i: classic.LoadPacket, _index: int) -> list[Piece]:
    return [Load(4, False, _A, _CONTEXT, i.offset)]


def _load_constant(i: classic.LoadConstant, _index: int) -> list[Piece]:
    return [_move(_REGISTERS[i.register], _imm(i.value))]


def _load_length(i: classic.LoadLength, _index: int) -> list[Piece]:
    return [_field("len", _REGISTERS[i.register])]


def _length_of_seccomp(i: classic.LoadLength, _index: int) -> list[Piece]:
    return [_move(_REGISTERS[i.register], Imm(SECCOMP_DATA_SIZE))]


def _load_memory(i: classic.LoadMemory, _index: int) -> list[Piece]:
    return [Load(4, False, _REGISTERS[i.register], FRAME_POINTER, _slot(i.index))]


def _store(i: classic.Store, _index: int) -> list[Piece]:
    return [Store(4, FRAME_POINTER, _slot(i.index), _REGISTERS[i.register])]


def _load_header_length(i: classic.LoadHeaderLength, _index: int) -> list[Piece]:
    return [
        _move(_SCRATCH, _A, 64),
        LegacyLoad(1, False, 0, _imm(i.offset).value),
        Alu(AluOp.AND, 32, _A, Imm(15)),
        Alu(AluOp.LSH, 32, _A, Imm(2)),
        _move(_X, _A, 64),
        _move(_A, _SCRATCH, 64),
    ]


# --- Arithmetic, jumps, returns.

_OPERATIONS = {op: AluOp(op.value) for op in Operation}


def _alu(i: classic.Alu, _index: int) -> list[Piece]:
    if not isinstance(i.operand, Register):
        return [Alu(_OPERATIONS[i.op], 32, _A, _imm(i.operand))]
    operation = Alu(_OPERATIONS[i.op], 32, _A, _X)
    if i.op in {Operation.DIV, Operation.MOD}:
        return [Branch(BranchOp.NE, 64, _X, Imm(0), len(_LEAVE_WITH_0)), *_LEAVE_WITH_0, operation]
    return [operation]


def _negate(_i: classic.Negate, _index: int) -> list[Piece]:
    return [Negate(32, _A)]


def _copy(i: classic.Copy, _index: int) -> list[Piece]:
    return [_move(_X, _A, 64) if i.to is Register.X else _move(_A, _X, 64)]


def _return(i: classic.Return, _index: int) -> list[Piece]:
    return [Exit()] if isinstance(i.value, Register) else [_move(_A, _imm(i.value)), Exit()]


def _jump(i: classic.Jump, index: int) -> list[Piece]:
    return [(Jump(0), index + 1 + i.distance)]


_CONDITIONS = {
    Condition.EQ: BranchOp.EQ,
    Condition.GT: BranchOp.GT,
    Condition.GE: BranchOp.GE,
    Condition.SET: BranchOp.SET,
}
_INVERTED = {Condition.EQ: BranchOp.NE, Condition.GT: BranchOp.LE, Condition.GE: BranchOp.LT}


def _branch(i: classic.Branch, index: int) -> list[Piece]:
    pieces: list[Piece] = []
    operand: int | Imm = _X
    if not isinstance(i.operand, Register):
        operand = _imm(i.operand)
        if i.operand >= _SIGN:  # a 64-bit jump would extend the sign
            pieces.append(_move(_SCRATCH, operand))
            operand = _SCRATCH
    taken, other = index + 1 + i.jt, index + 1 + i.jf
    if i.jf and not i.jt and i.op in _INVERTED:
        pieces.append((Branch(_INVERTED[i.op], 64, _A, operand, 0), other))
        return pieces
    pieces.append((Branch(_CONDITIONS[i.op], 64, _A, operand, 0), taken))
    if i.jf:
        pieces.append((Jump(0), other))
    return pieces


_PIECES: dict[type, Callable[[Any, int], list[Piece]]] = {
    classic.LoadPacket: _load_packet,
    classic.LoadConstant: _load_constant,
    classic.LoadLength: _load_length,
    classic.LoadMemory: _load_memory,
    classic.LoadHeaderLength: _load_header_length,
    classic.Store: _store,
    classic.Alu: _alu,
    classic.Negate: _negate,
    classic.Jump: _jump,
    classic.Branch: _branch,
    classic.Return: _return,
    classic.Copy: _copy,
}
_SECCOMP_PIECES = _PIECES | {classic.LoadPacket: _load_seccomp, classic.LoadLength: _length_of_seccomp}


def convert(program: ClassicProgram, profile: str) -> Program:
    """Translate a program that was checked; see `ClassicProgram.to_ebpf`.

    No instruction becomes more than six, and a program has 4096 at most, so that every jump fits its 16 bits.
    """
    seccomp = profile == "seccomp"
    table = _SECCOMP_PIECES if seccomp else _PIECES
    pieces = [table[type(i)](i, index) for index, i in enumerate(program.instructions)]
    return Program(_linked(pieces), type=None if seccomp else ProgramType.SOCKET_FILTER)


def _linked(pieces: Sequence[Sequence[Piece]]) -> Iterator[Instruction]:
    """Yield the instructions with the distances of their jumps filled in; each takes one slot."""
    starts = []
    at = len(_CLEAR)
    for group in pieces:
        starts.append(at)
        at += len(group)
    yield from _CLEAR
    at = len(_CLEAR)
    for group in pieces:
        for piece in group:
            at += 1
            if isinstance(piece, tuple):
                yield replace(piece[0], offset=starts[piece[1]] - at)
            else:
                yield piece
