# SPDX-License-Identifier: Apache-2.0
"""What a branch says about registers: numbers and their copies, null, how far packets reach.

Follows Linux 6.18 (``check_cond_jmp_op``, ``is_branch_taken``, ``try_match_pkt_pointers``, ``mark_ptr_or_null_regs``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestocloud_sec.bpf.isa import AluOp, Branch, BranchOp, Imm
from prestocloud_sec.bpf.maps.kinds import MapType
from prestocloud_sec.bpf.verifier import arithmetic, refine
from prestocloud_sec.bpf.verifier.registers import ZERO, ZERO_NUMBER, Kind, Register, known
from prestocloud_sec.bpf.verifier.rejection import Rejected, Rule
from prestocloud_sec.bpf.verifier.scalar import Scalar

if TYPE_CHECKING:
    from prestocloud_sec.bpf.verifier.environment import Environment
    from prestocloud_sec.bpf.verifier.state import State

__all__ = ["foreseen", "learn", "operands"]

_MAX_PACKET_OFFSET = 0xFFFF
AT_END, BEYOND_END = -1, -2
"""Instead of `Register.range`: the pointer is known to be at the packet's end or beyond it, or beyond it."""
_NEVER_NULL = frozenset(
    {
        Kind.SOCKET,
        Kind.TCP_SOCKET,
        Kind.SOCKET_COMMON,
        Kind.MAP_VALUE,
        Kind.MAP_KEY,
        Kind.MEMORY,
        Kind.MAP,
    }
)


def operands(state: State, i: Branch) -> tuple[Register, Register]:
    """Return what a branch compares."""
    registers = state.registers
    if isinstance(i.src, Imm):
        return registers[i.dst], known(i.src.value)
    return registers[i.dst], registers[i.src]


def foreseen(i: Branch, left: Register, right: Register) -> bool | None:
    """Return whether the branch is always taken (or never), or None."""
    if left.kind.is_packet and right.kind.is_packet and i.bits == 64:
        return _packet_foreseen(i.op, left, right)
    if not left.is_pointer and not right.is_pointer:
        return refine.foreseen(i.op, i.bits, left.number, right.number)
    if i.bits == 32 or i.op not in (BranchOp.EQ, BranchOp.NE):
        return None
    pointer, number = (left, right) if left.is_pointer else (right, left)
    if number.is_pointer or not number.is_null or pointer.nullable or pointer.kind not in _NEVER_NULL:
        return None
    return i.op is BranchOp.NE


def learn(env: Environment, i: Branch, taken: State, ahead: State) -> tuple[bool, bool]:
    """Tell both states what the branch says: `taken` where it is, `ahead` where it is not; whether each can be.

    No number satisfies what is known on a way that cannot be gone.

    Raises
    ------
    Rejected
        If such pointers cannot be compared.
    """
    left, right = operands(ahead, i)
    if not left.is_pointer and not right.is_pointer:
        return _learn_numbers(taken, i, left, right, True), _learn_numbers(ahead, i, left, right, False)
    if i.bits == 64 and i.op in (BranchOp.EQ, BranchOp.NE):
        if isinstance(i.src, int) and left.is_pointer and right.is_pointer and left.nullable != right.nullable:
            one = left if left.nullable else right
            _not_null(env, taken if i.op is BranchOp.EQ else ahead, one)
            return True, True
        if isinstance(i.src, Imm) and right.is_null and left.nullable:
            null, good = (taken, ahead) if i.op is BranchOp.EQ else (ahead, taken)
            _null(null, left)
            _not_null(env, good, left)
            return True, True
    if isinstance(i.src, int) and i.bits == 64 and _packets(i, left, right, taken, ahead):
        return True, True
    if not env.privileged:
        raise Rejected(Rule.POINTER_LEAK, f"R{i.dst} pointer comparison prohibited")
    return True, True


# --- Numbers.


def _learn_numbers(state: State, i: Branch, left: Register, right: Register, taken: bool) -> bool:
    a, b = refine.refined(i.op, i.bits, left.number, right.number, taken)
    if not a.possible or not b.possible:
        return False
    registers = state.registers
    registers[i.dst] = left.but(number=a)
    if isinstance(i.src, int):
        registers[i.src] = right.but(number=b)
        if right.id:
            spread(state, registers[i.src])
    if left.id:
        spread(state, registers[i.dst])
    return True


def spread(state: State, source: Register) -> None:
    """Tell all copies of a number what is known of it, those too that are more by a constant."""
    identifier = source.id
    for where, index, register in state.places():
        if register.id == identifier and register.kind is Kind.NUMBER and register is not source:
            if register.delta == source.delta:
                state.put(where, index, register.but(number=source.number))
            elif not (register.delta and source.delta and register.narrow != source.narrow):
                by = Scalar.const(register.delta - source.delta)
                bits = 32 if register.narrow or source.narrow else 64
                state.put(where, index, register.but(number=arithmetic.alu(AluOp.ADD, bits, source.number, by)))


# --- Null.


def _null(state: State, pointer: Register) -> None:
    """Let a pointer and its copies be the number 0; what it would have referred to was not acquired."""
    if pointer.reference and pointer.reference == pointer.id:
        state.release(pointer.reference)
    for where, index, register in state.places():
        if register.id == pointer.id and register.nullable:
            state.put(where, index, ZERO)


def _not_null(env: Environment, state: State, pointer: Register) -> None:
    for where, index, register in state.places():
        if register.id == pointer.id and register.nullable:
            state.put(where, index, certain(env, register))


def certain(env: Environment, pointer: Register) -> Register:
    """Return what a pointer is when it is not null: a value of a map of maps is a map, one of sockets a socket."""
    spec = pointer.map
    if pointer.kind is Kind.MAP_VALUE and spec is not None:
        if spec.inner is not None:
            return Register(Kind.MAP, ZERO_NUMBER, map=spec.inner, map_id=env.new_id())
        if spec.type is MapType.XSKMAP:
            return Register(Kind.XDP_SOCKET, ZERO_NUMBER)
        if spec.type in (MapType.SOCKMAP, MapType.SOCKHASH):
            return Register(Kind.SOCKET, ZERO_NUMBER, id=pointer.id, reference=pointer.reference)
    keeps = pointer.reference or (spec is not None and spec.spin_lock is not None)
    return pointer.but(nullable=False, id=pointer.id if keeps else 0)


# --- Packets.

_SIDES: dict[BranchOp, tuple[bool, bool]] = {
    BranchOp.GT: (False, False),
    BranchOp.LT: (True, True),
    BranchOp.GE: (False, True),
    BranchOp.LE: (True, False),
}
"""For ``pointer op end``: whether the good way is where the branch is taken, and whether a byte more lies in."""
_TURNED = {BranchOp.GT: BranchOp.LT, BranchOp.LT: BranchOp.GT, BranchOp.GE: BranchOp.LE, BranchOp.LE: BranchOp.GE}


def _packets(i: Branch, left: Register, right: Register, taken: State, ahead: State) -> bool:
    """Learn how far a packet reaches from a comparison with its end; whether it was one."""
    op = i.op
    if op not in _SIDES:
        return False
    if _is_end(left, right):
        left, right, op = right, left, _TURNED[op]
    elif not _is_end(right, left):
        return False
    good_is_taken, open_end = _SIDES[op]
    good, bad = (taken, ahead) if good_is_taken else (ahead, taken)
    _reach(good, left, open_end)
    if left.kind is Kind.PACKET:
        name = i.dst if op is i.op else i.src
        if isinstance(name, int):
            bad.registers[name] = bad.registers[name].but(range=AT_END if open_end else BEYOND_END)
    return True


def _packet_foreseen(op: BranchOp, left: Register, right: Register) -> bool | None:
    """Return what is known of a comparison of a pointer that was found to be at the packet's end or beyond."""
    if left.kind is Kind.PACKET_END:
        left, right, op = right, left, _TURNED.get(op, op)
    if right.kind is not Kind.PACKET_END or left.range >= 0:
        return None
    if op in (BranchOp.GT, BranchOp.LE) and left.range == BEYOND_END:
        return op is BranchOp.GT
    if op in (BranchOp.GE, BranchOp.LT):
        return op is BranchOp.GE
    return None


def _is_end(end: Register, pointer: Register) -> bool:
    if pointer.kind is Kind.PACKET:
        return end.kind is Kind.PACKET_END
    start = end.kind is Kind.PACKET and not end.offset and end.number.is_const and not end.number.tnum.value
    return pointer.kind is Kind.PACKET_META and start


def _reach(state: State, pointer: Register, open_end: bool) -> None:
    """Let all pointers with the same base reach as far as this one points (and, `open_end`, one byte more)."""
    if pointer.offset < 0 or (not pointer.offset and open_end):
        return
    if pointer.number.umax > _MAX_PACKET_OFFSET or pointer.number.umax + pointer.offset > _MAX_PACKET_OFFSET:
        return
    reach = pointer.offset + open_end
    for where, index, register in state.places():
        if register.kind is pointer.kind and register.id == pointer.id and register.range < reach:
            state.put(where, index, register.but(range=reach))
