# SPDX-License-Identifier: Apache-2.0
"""Atomic read-modify-write for the interpreter (RFC 9669, section 5.3).

Programs in several threads may share a map, so an aligned operation is one atomic instruction of the processor. Where
the address is not aligned, which BPF machines allow and not all processors do, it is a plain load and store.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from prestocloud_sec._jit import kernel
from prestocloud_sec.bpf.isa import AtomicOp
from prestocloud_sec.bpf.vm.decoded import NUMBERS

__all__ = ["FIRST_ATOMIC", "exchange"]

_OPS = tuple(AtomicOp)
FIRST_ATOMIC = NUMBERS["atomic", _OPS[0]]
"""The number of the first atomic operation in `prestocloud_sec.bpf.vm.decoded.OPERATIONS`."""
_WORD = ir.IntType(64)
_PLAIN: dict[AtomicOp, Callable[[Any, Any, Any], Any]] = {
    AtomicOp.ADD: lambda b, old, new: b.add(old, new),
    AtomicOp.OR: lambda b, old, new: b.or_(old, new),
    AtomicOp.AND: lambda b, old, new: b.and_(old, new),
    AtomicOp.XOR: lambda b, old, new: b.xor(old, new),
    AtomicOp.XCHG: lambda _b, _old, new: new,
}


def _aligned(b: Any, op: AtomicOp, pointer: Any, value: Any, expected: Any) -> Any:
    """Emit the processor's own operation; return the old value."""
    if op is AtomicOp.CMPXCHG:
        return b.extract_value(b.cmpxchg(pointer, expected, value, "seq_cst", "seq_cst"), 0)
    return b.atomic_rmw(op.value, pointer, value, "seq_cst")


def _unaligned(b: Any, op: AtomicOp, pointer: Any, value: Any, expected: Any) -> Any:
    """Emit the same in steps; return the old value."""
    old = b.load(pointer, align=1)
    if op is AtomicOp.CMPXCHG:
        new = b.select(b.icmp_unsigned("==", old, expected), value, old)
    else:
        new = _PLAIN[op](b, old, value)
    b.store(new, pointer, align=1)
    return old


def _updater(bits: int) -> Any:
    integer = ir.IntType(bits)

    def update(_typing: Any, _op: Any, _host: Any, _value: Any, _expected: Any) -> Any:
        def generate(_context: Any, b: Any, _signature: Any, arguments: Any) -> Any:
            number, host, value, expected = arguments
            value, expected = (b.trunc(x, integer) if bits < 64 else x for x in (value, expected))
            odd = b.trunc(b.and_(host, _WORD(bits // 8 - 1)), ir.IntType(3))
            which = b.or_(b.shl(number, _WORD(1)), b.zext(b.icmp_unsigned("!=", odd, odd.type(0)), _WORD))
            pointer = b.inttoptr(host, integer.as_pointer())
            end = b.append_basic_block("end")
            arms = b.switch(which, end)
            with b.goto_block(end):
                old = b.phi(integer)
            old.add_incoming(integer(0), b.block)
            for place, op in enumerate(_OPS):
                for step, emit in enumerate((_aligned, _unaligned)):
                    arm = b.append_basic_block(f"{op.value}_{step}")
                    arms.add_case(_WORD(2 * place + step), arm)
                    b.position_at_end(arm)
                    old.add_incoming(emit(b, op, pointer, value, expected), b.block)
                    b.branch(end)
            b.position_at_end(end)
            return b.zext(old, _WORD) if bits < 64 else old

        return types.uint64(types.int64, types.int64, types.uint64, types.uint64), generate

    update.__name__ = f"update{bits}"
    return intrinsic(update)


_update32: Any = _updater(32)
_update64: Any = _updater(64)


@kernel()
def exchange(operation: Any, size: Any, host: Any, value: Any, expected: Any) -> Any:
    """Do an atomic operation on memory; return what was there before, zero-extended.

    Parameters
    ----------
    operation : int64
        The operation's number less `FIRST_ATOMIC`.
    size : uint64
        4 or 8.
    host : int64
        Address in this process.
    value, expected : uint64
        The operand, and for a compare-and-exchange what it compares with.
    """
    if size == types.uint64(4):
        return _update32(operation, host, value, expected)
    return _update64(operation, host, value, expected)
