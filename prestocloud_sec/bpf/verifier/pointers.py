# SPDX-License-Identifier: Apache-2.0
"""Sums of pointers and numbers (Linux 6.18, ``adjust_ptr_min_max_vals``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestocloud_sec.bpf.isa import AluOp
from prestocloud_sec.bpf.verifier import arithmetic
from prestocloud_sec.bpf.verifier.registers import NAMES, Kind, Register
from prestocloud_sec.bpf.verifier.rejection import Rejected, Rule
from prestocloud_sec.bpf.verifier.scalar import S64_MIN, Scalar

if TYPE_CHECKING:
    from prestocloud_sec.bpf.verifier.environment import Environment

__all__ = ["check_given", "moved"]

_MOST_OFFSET = 1 << 29
_BOUND = "bound the number from below and above first: mask it, or compare it"
_FIXED = frozenset({Kind.MAP, Kind.PACKET_END, Kind.FUNCTION, Kind.FLOW_KEYS}) | frozenset(
    {Kind.SOCKET, Kind.SOCKET_COMMON, Kind.TCP_SOCKET, Kind.XDP_SOCKET}
)
"""Pointers that cannot be moved."""


def moved(env: Environment, op: AluOp, pointer: Register, number: Register, *, name: int, first: bool) -> Register:
    """Return a pointer plus or minus a number.

    Parameters
    ----------
    env : Environment
    op : AluOp
    pointer, number : Register
    name : int
        The register that holds the pointer, for messages.
    first : bool
        Whether the pointer is the first operand.

    Raises
    ------
    Rejected
        If pointers of this kind cannot be moved, or not by this.
    """
    kind = pointer.kind
    scalar = number.number
    if pointer.nullable:
        raise Rejected(
            Rule.NULL,
            f"R{name} pointer arithmetic on {NAMES[kind]}_or_null prohibited, null-check it first",
            hint="compare it with 0 first",
        )
    nothing = kind is Kind.MAP and scalar.is_const and not scalar.tnum.value and op is AluOp.ADD
    known = kind is Kind.FLOW_KEYS and scalar.is_const
    if kind in _FIXED and not nothing and not known:
        raise Rejected(Rule.POINTER_ARITHMETIC, f"R{name} pointer arithmetic on {NAMES[kind]} prohibited")
    if op not in (AluOp.ADD, AluOp.SUB):
        raise Rejected(
            Rule.POINTER_ARITHMETIC, f"R{name} pointer arithmetic with {op} operator prohibited", hint="only + and -"
        )
    _check_number(scalar, kind)
    if op is AluOp.SUB:
        if not first:
            raise Rejected(Rule.POINTER_ARITHMETIC, f"R{name} tried to subtract pointer from scalar")
        if kind is Kind.STACK:
            raise Rejected(Rule.POINTER_ARITHMETIC, f"R{name} subtraction from stack pointer prohibited")
    result = _fixed(op, pointer, scalar) if scalar.is_const else None
    if result is None:
        varying = arithmetic.alu(op, 64, pointer.number, scalar)
        result = pointer.but(number=varying)
        if kind in (Kind.PACKET, Kind.PACKET_META):
            # Where it is now is not known, so a comparison says something of its copies alone.
            result = result.but(
                id=env.new_id(), range=0 if op is AluOp.ADD or scalar.smin < 0 else max(pointer.range, 0)
            )
    if op is AluOp.SUB and kind in (Kind.PACKET, Kind.PACKET_META) and not scalar.is_const and scalar.smin < 0:
        result = result.but(range=0)
    _check_moved(result, kind)
    if not env.privileged:
        _check_unprivileged(result)
    return result


def _check_number(scalar: Scalar, kind: Kind) -> None:
    if scalar.is_const and not -_MOST_OFFSET < scalar.smin < _MOST_OFFSET:
        raise Rejected(
            Rule.POINTER_ARITHMETIC,
            f"math between {NAMES[kind]} pointer and {scalar.smin} is not allowed",
            "EINVAL",
            hint="offsets are less than 2**29",
        )
    if scalar.smin == S64_MIN:
        raise Rejected(
            Rule.POINTER_ARITHMETIC,
            f"math between {NAMES[kind]} pointer and register with unbounded min value is not allowed",
            "EINVAL",
            hint="bound the number from below: mask it, or compare it",
        )
    if scalar.smin >= _MOST_OFFSET or scalar.smin <= -_MOST_OFFSET:
        raise Rejected(
            Rule.POINTER_ARITHMETIC,
            f"value {scalar.smin} makes {NAMES[kind]} pointer be out of bounds",
            "EINVAL",
            hint=_BOUND,
        )


def _fixed(op: AluOp, pointer: Register, scalar: Scalar) -> Register | None:
    """Return a pointer moved by a number that is known, if the sum of fixed parts stays 32 bits."""
    by = scalar.smin if op is AluOp.ADD else -scalar.smin
    offset = pointer.offset + by
    if not -(1 << 31) <= offset < 1 << 31:
        return None
    # What was found to be at the packet's end or beyond is not any more when it is moved back. (Linux 6.18 forgets
    # that: it takes programs that go on where it thinks that they cannot.)
    back = by < 0 and pointer.range < 0
    return pointer.but(offset=offset, range=0) if back else pointer.but(offset=offset)


def _check_moved(result: Register, kind: Kind) -> None:
    number = result.number
    if number.is_const and not -_MOST_OFFSET < number.smin < _MOST_OFFSET:
        raise Rejected(Rule.POINTER_ARITHMETIC, f"{NAMES[kind]} pointer offset {number.smin} is not allowed", "EINVAL")
    if not -_MOST_OFFSET < result.offset < _MOST_OFFSET:
        raise Rejected(
            Rule.POINTER_ARITHMETIC, f"{NAMES[kind]} pointer offset {result.offset} is not allowed", "EINVAL"
        )
    if number.smin == S64_MIN:
        raise Rejected(
            Rule.POINTER_ARITHMETIC,
            f"math between {NAMES[kind]} pointer and register with unbounded min value is not allowed",
            "EINVAL",
        )
    if number.smin >= _MOST_OFFSET or number.smin <= -_MOST_OFFSET:
        raise Rejected(
            Rule.POINTER_ARITHMETIC,
            f"value {number.smin} makes {NAMES[kind]} pointer be out of bounds",
            "EINVAL",
            hint=_BOUND,
        )


def _check_unprivileged(result: Register) -> None:
    """Keep to what speculation cannot use: a place on the stack or in a value that is not inside is never computed."""
    if result.kind is Kind.STACK and not result.number.is_const:
        raise Rejected(Rule.PRIVILEGE, "variable stack access prohibited for !root")
    if result.kind is Kind.STACK and not -512 <= result.offset + result.number.smin < 0:
        raise Rejected(Rule.PRIVILEGE, "stack pointer arithmetic goes out of range, prohibited for !root")
    if result.kind is Kind.MAP_VALUE and result.map is not None:
        least, most = result.offset + result.number.smin, result.offset + result.number.umax
        if least < 0 or most >= result.map.value_size:
            raise Rejected(Rule.PRIVILEGE, "pointer arithmetic of map value goes out of range, prohibited for !root")


_MOVABLE = frozenset(
    {Kind.STACK, Kind.PACKET, Kind.PACKET_META, Kind.MAP_KEY, Kind.MAP_VALUE, Kind.MEMORY, Kind.BUFFER, Kind.NUMBER}
)
"""What functions may be given with an offset."""


def check_given(name: int, held: Register) -> None:
    """Check that a function is given a pointer as it was got, if that is of a kind that has to be.

    Raises
    ------
    Rejected
    """
    if held.kind in _MOVABLE and not held.nullable:
        return
    if held.offset or not held.number.is_const or held.number.tnum.value:
        raise Rejected(
            Rule.ARGUMENT,
            f"dereference of modified {NAMES[held.kind]} ptr R{name} off={held.offset} disallowed"
            if held.kind is not Kind.NOTHING
            else f"R{name} !read_ok",
            hint="give the pointer as it was got" if held.kind is not Kind.NOTHING else f"r{name} holds nothing here",
            register=name,
        )
