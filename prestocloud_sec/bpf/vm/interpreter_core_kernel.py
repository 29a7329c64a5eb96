# SPDX-License-Identifier: Apache-2.0
"""The interpreter's inner loop: operations that compute, reach memory, and branch.

The loop is one LLVM ``switch`` whose arms are generated from `OPERATIONS`, a few lines for each family. It goes on
until it meets a row that it cannot do alone, and returns that row's address, with nothing of it done:

- an access that no window covers;
- a backward branch that would be taken, and costs more fuel than there is;
- an operation from `FIRST_CONTROL` on.

Registers are the state's words `State.R0` and on. All arithmetic is on unsigned words modulo 2**64 or 2**32; shifts are
masked, a division by 0 gives 0 and a remainder by 0 the dividend (RFC 9669, section 4.1).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from prestocloud_sec._jit import kernel
from prestocloud_sec.bpf.isa import AluOp, BranchOp
from prestocloud_sec.bpf.vm.decoded import FIRST_CONTROL, OPERATIONS, ROW
from prestocloud_sec.bpf.vm.interpreter_layout import WINDOW, Desk, Window
from prestocloud_sec.bpf.vm.layout import State

__all__ = ["run_core"]

_WORD = ir.IntType(64)
_INTEGER = {bits: ir.IntType(bits) for bits in (1, 8, 16, 32, 64)}


def _divide(signed: bool, remainder: bool) -> Callable[[Any, Any, Any], Any]:
    def emit(b: Any, x: Any, y: Any) -> Any:
        kind = x.type
        zero, one = kind(0), kind(1)
        none = b.icmp_unsigned("==", y, zero)
        divisor = b.select(none, one, y)
        if signed:  # the least number by -1 traps on some processors: by 1 it gives the same
            least = kind(1 << kind.width - 1)
            wraps = b.and_(b.icmp_unsigned("==", x, least), b.icmp_unsigned("==", y, kind(-1)))
            divisor = b.select(wraps, one, divisor)
        if remainder:
            return b.select(none, x, b.srem(x, divisor) if signed else b.urem(x, divisor))
        return b.select(none, zero, b.sdiv(x, divisor) if signed else b.udiv(x, divisor))

    return emit


def _shift(name: str) -> Callable[[Any, Any, Any], Any]:
    return lambda b, x, y: getattr(b, name)(x, b.and_(y, y.type(y.type.width - 1)))


_ALU: dict[AluOp, Callable[[Any, Any, Any], Any]] = {
    AluOp.ADD: lambda b, x, y: b.add(x, y),
    AluOp.SUB: lambda b, x, y: b.sub(x, y),
    AluOp.MUL: lambda b, x, y: b.mul(x, y),
    AluOp.DIV: _divide(signed=False, remainder=False),
    AluOp.SDIV: _divide(signed=True, remainder=False),
    AluOp.MOD: _divide(signed=False, remainder=True),
    AluOp.SMOD: _divide(signed=True, remainder=True),
    AluOp.OR: lambda b, x, y: b.or_(x, y),
    AluOp.AND: lambda b, x, y: b.and_(x, y),
    AluOp.XOR: lambda b, x, y: b.xor(x, y),
    AluOp.LSH: _shift("shl"),
    AluOp.RSH: _shift("lshr"),
    AluOp.ARSH: _shift("ashr"),
    AluOp.MOV: lambda _b, _x, y: y,
}

_COMPARE: dict[BranchOp, Callable[[Any, Any, Any], Any]] = {
    BranchOp.EQ: lambda b, x, y: b.icmp_unsigned("==", x, y),
    BranchOp.NE: lambda b, x, y: b.icmp_unsigned("!=", x, y),
    BranchOp.GT: lambda b, x, y: b.icmp_unsigned(">", x, y),
    BranchOp.GE: lambda b, x, y: b.icmp_unsigned(">=", x, y),
    BranchOp.LT: lambda b, x, y: b.icmp_unsigned("<", x, y),
    BranchOp.LE: lambda b, x, y: b.icmp_unsigned("<=", x, y),
    BranchOp.SET: lambda b, x, y: b.icmp_unsigned("!=", b.and_(x, y), x.type(0)),
    BranchOp.SGT: lambda b, x, y: b.icmp_signed(">", x, y),
    BranchOp.SGE: lambda b, x, y: b.icmp_signed(">=", x, y),
    BranchOp.SLT: lambda b, x, y: b.icmp_signed("<", x, y),
    BranchOp.SLE: lambda b, x, y: b.icmp_signed("<=", x, y),
}


class _Core:
    """The loop while it is being generated."""

    def __init__(self, builder: Any, state: Any, desk: Any, start: Any) -> None:
        self.b = builder
        self.state, self.desk = state, desk
        self.registers = builder.add(state, _WORD(8 * State.R0))
        self.fuel = builder.add(state, _WORD(8 * State.FUEL))
        entry = builder.block
        self.head = builder.append_basic_block("row")
        self.taken = builder.append_basic_block("taken")
        self.stop = builder.append_basic_block("stop")
        builder.branch(self.head)
        builder.position_at_end(self.head)
        self.at = builder.phi(_WORD)
        self.at.add_incoming(start, entry)
        operation = builder.load(self._pointer(self.at, 16), align=8)
        arms = builder.switch(operation, self.stop)
        for number, row in enumerate(OPERATIONS[:FIRST_CONTROL]):
            arm = builder.append_basic_block("_".join(map(str, row)))
            arms.add_case(_INTEGER[16](number), arm)
            builder.position_at_end(arm)
            getattr(self, "do_" + row[0])(*row[1:])
        builder.position_at_end(self.taken)
        self._take()
        builder.position_at_end(self.stop)

    # --- What a row holds.

    def _pointer(self, address: Any, bits: int) -> Any:
        return self.b.inttoptr(address, _INTEGER[bits].as_pointer())

    def _field(self, at: int, bits: int, *, signed: bool = False, as_bits: int = 64) -> Any:
        value = self.b.load(self._pointer(self.b.add(self.at, _WORD(at)), bits), align=bits // 8)
        if bits == as_bits:
            return value
        return (self.b.sext if signed else self.b.zext)(value, _INTEGER[as_bits])

    def _operand(self) -> Any:
        return self._field(8, 64)

    def _displacement(self) -> Any:
        return self._field(4, 32, signed=True)

    def _dst(self) -> Any:
        return self._field(2, 8)

    def _src(self) -> Any:
        return self._field(3, 8)

    def _read(self, register: Any, bits: int = 64) -> Any:
        return self.b.load(self._pointer(self.b.add(self.registers, register), bits), align=8)

    def _write(self, register: Any, value: Any) -> None:
        if value.type != _WORD:
            value = self.b.zext(value, _WORD)
        self.b.store(value, self._pointer(self.b.add(self.registers, register), 64), align=8)

    def _second(self, form: str, bits: int) -> Any:
        if form == "register":
            return self._read(self._src(), bits)
        return self._field(8, bits, as_bits=bits)

    # --- Where to go.

    def _go(self, at: Any) -> None:
        self.at.add_incoming(at, self.b.block)
        self.b.branch(self.head)

    def _next(self) -> None:
        self._go(self.b.add(self.at, _WORD(ROW)))

    def _take(self) -> None:
        """Jump; a backward jump first pays one for each row from its target to itself."""
        b = self.b
        displacement = self._displacement()
        at = b.add(self.at, displacement)
        back, forth, paid = (b.append_basic_block(name) for name in ("back", "forth", "paid"))
        b.cbranch(b.icmp_signed("<=", displacement, _WORD(0)), back, forth)
        b.position_at_end(forth)
        self._go(at)
        b.position_at_end(back)
        cost = b.sub(_WORD(1), b.ashr(displacement, _WORD(4)))
        fuel = b.load(self._pointer(self.fuel, 64), align=8)
        b.cbranch(b.icmp_signed(">=", fuel, cost), paid, self.stop)
        b.position_at_end(paid)
        b.store(b.sub(fuel, cost), self._pointer(self.fuel, 64), align=8)
        self._go(at)

    # --- The families.

    def do_alu(self, op: AluOp, bits: int, form: str) -> None:
        dst = self._dst()
        first = None if op is AluOp.MOV else self._read(dst, bits)
        self._write(dst, _ALU[op](self.b, first, self._second(form, bits)))
        self._next()

    def do_negate(self, bits: int) -> None:
        dst = self._dst()
        self._write(dst, self.b.neg(self._read(dst, bits)))
        self._next()

    def do_extend(self, bits: int, width: int) -> None:
        self._write(self._dst(), self.b.sext(self._read(self._src(), width), _INTEGER[bits]))
        self._next()

    def do_truncate(self, width: int) -> None:
        dst = self._dst()
        self._write(dst, self._read(dst, width))
        self._next()

    def do_swap(self, width: int) -> None:
        dst = self._dst()
        self._write(dst, self.b.bswap(self._read(dst, width)))
        self._next()

    def do_jump(self) -> None:
        self.b.branch(self.taken)

    def do_branch(self, op: BranchOp, bits: int, form: str) -> None:
        on = self.b.append_basic_block("on")
        holds = _COMPARE[op](self.b, self._read(self._dst(), bits), self._second(form, bits))
        self.b.cbranch(holds, self.taken, on)
        self.b.position_at_end(on)
        self._next()

    def do_load(self, place: str, size: int, signed: bool) -> None:
        host = self._host(place, size, self._src, self._operand(), Window.BASE)
        value = self.b.load(self._pointer(host, 8 * size), align=1)
        self._write(self._dst(), self.b.sext(value, _WORD) if signed else value)
        self._next()

    def do_store(self, place: str, size: int, form: str) -> None:
        operand = self._operand()
        offset = self.b.ashr(operand, _WORD(32)) if form == "immediate" else operand
        host = self._host(place, size, self._dst, offset, Window.WRITES)
        if form == "register":
            value = self._read(self._src(), 8 * size)
        elif size == 8:
            value = self.b.sext(self.b.trunc(operand, _INTEGER[32]), _WORD)
        else:
            value = self.b.trunc(operand, _INTEGER[8 * size])
        self.b.store(value, self._pointer(host, 8 * size), align=1)
        self._next()

    def _host(self, place: str, size: int, base: Callable[[], Any], offset: Any, window_at: int) -> Any:
        """Return where in this process an access goes; leave the loop if that is not known."""
        b = self.b
        if place == "frame":
            top = b.load(self._pointer(b.add(self.desk, _WORD(8 * Desk.FRAME_AT)), 64), align=8)
            return b.add(top, offset)
        register = base()
        address = b.add(self._read(register), offset)
        window = b.add(self.desk, b.mul(register, _WORD(WINDOW // 8)))

        def word(at: int, bits: int) -> Any:
            return b.load(self._pointer(b.add(window, _WORD(8 * Desk.WINDOWS + window_at + at)), bits), align=bits // 8)

        inside = b.sub(address, word(Window.BASE, 64))
        limit = b.zext(word(Window.LIMITS + 4 * (size.bit_length() - 1), 32), _WORD)
        known = b.append_basic_block("known")
        b.cbranch(b.icmp_unsigned("<", inside, limit), known, self.stop)
        b.position_at_end(known)
        return b.add(address, word(Window.DELTA, 64))


def _core(_typing: Any, _state: Any, _desk: Any, _at: Any) -> Any:
    """Run rows from the one at an address on; return the address of the row that needs more."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return _Core(builder, *arguments).at

    return types.int64(types.int64, types.int64, types.int64), generate


_loop: Any = intrinsic(_core)


@kernel()
def run_core(state_at: Any, desk_at: Any, at: Any) -> Any:
    """Run rows from the one at address `at` on; return the address of the row that needs more.

    Parameters
    ----------
    state_at, desk_at : int64
        Addresses of the state and of the desk; its windows and frame must be right.
    at : int64
        Address of a row of the running program.
    """
    return _loop(state_at, desk_at, at)
