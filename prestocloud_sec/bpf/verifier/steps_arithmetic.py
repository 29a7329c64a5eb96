# SPDX-License-Identifier: Apache-2.0
"""Steps through arithmetic (Linux 6.18, ``check_alu_op``, ``adjust_reg_min_max_vals``)."""

from __future__ import annotations

from prestocloud_sec.bpf.isa import (
    AddressSpaceCast,
    Alu,
    AluOp,
    Extend,
    Imm,
    Negate,
    Swap,
    SwapKind,
)
from prestocloud_sec.bpf.verifier import arithmetic
from prestocloud_sec.bpf.verifier.pointers import moved
from prestocloud_sec.bpf.verifier.registers import (
    NUMBER,
    Kind,
    Register,
    low_half,
    number,
)
from prestocloud_sec.bpf.verifier.rejection import Rejected, Rule
from prestocloud_sec.bpf.verifier.scalar import S32_MAX, S32_MIN, Scalar, signed32
from prestocloud_sec.bpf.verifier.state import State
from prestocloud_sec.bpf.verifier.tnum import U32
from prestocloud_sec.bpf.verifier.walk import Walk

__all__ = ["ArithmeticSteps"]


_SHIFTS = frozenset({AluOp.LSH, AluOp.RSH, AluOp.ARSH})
_DIVISIONS = frozenset({AluOp.DIV, AluOp.MOD, AluOp.SDIV, AluOp.SMOD})


def _check_constant(op: AluOp, bits: int, value: int) -> None:
    """Check a constant that cannot be shifted or divided by; where nothing leads, the kernel does not look."""
    if op in _SHIFTS and not 0 <= value < bits:
        raise Rejected(Rule.STRUCTURE, f"invalid shift {value}", "EINVAL", hint=f"0 to {bits - 1}")
    if op in _DIVISIONS and not value:
        raise Rejected(Rule.STRUCTURE, "div by zero", "EINVAL")


class ArithmeticSteps(Walk):
    """What moves and computes."""

    def alu(self, state: State, i: Alu, index: int) -> int:
        """Arithmetic, and moves."""
        source = self.operand(state, i.src)
        if i.op is AluOp.MOV:
            self.write(i.dst)
            self._move(state, i, source)
        else:
            self.read(state, i.dst)
            if isinstance(i.src, Imm):
                _check_constant(i.op, i.bits, i.src.value)
            self.write(i.dst)
            self._compute(state, i, source)
        self.step(state, index)
        return index + 1

    def _move(self, state: State, i: Alu, source: Register) -> None:
        registers = state.registers
        if i.bits == 64:
            if isinstance(i.src, int):
                source = self.shared(state, i.src, source)
            registers[i.dst] = source
        elif source.is_pointer:
            if not self.env.privileged:
                raise Rejected(Rule.POINTER_LEAK, f"R{i.src} partial copy of pointer")
            registers[i.dst] = low_half(NUMBER)
        else:
            narrow = source.number.umax <= 0xFFFF_FFFF
            if narrow and isinstance(i.src, int):
                source = self.shared(state, i.src, source)
            registers[i.dst] = low_half(source if narrow else source.but(id=0, delta=0, narrow=False))

    def _compute(self, state: State, i: Alu, source: Register) -> None:
        registers = state.registers
        held = registers[i.dst]
        if held.is_pointer or source.is_pointer:
            registers[i.dst] = self._pointers(state, i, held, source)
            return
        result = arithmetic.alu(i.op, i.bits, held.number, source.number)
        by = self._moved_by(i, held, source)
        if by is not None:
            registers[i.dst] = Register(Kind.NUMBER, result, id=held.id, delta=by, narrow=bool(by) and i.bits == 32)
            return
        registers[i.dst] = number(result)

    def _moved_by(self, i: Alu, held: Register, source: Register) -> int | None:
        """Return by how much a number with copies is moved, None where that is not kept in mind.

        In 32 bits only where the number has no more: the copies would not follow otherwise.
        """
        if i.op not in (AluOp.ADD, AluOp.SUB) or not held.id or held.delta or not self.env.privileged:
            return None
        if i.bits == 32:
            if not source.number.is_const32 or held.number.umax > U32:
                return None
            by = signed32(source.number.tnum.value)
        else:
            if not source.number.is_const or not S32_MIN <= source.number.smin <= S32_MAX:
                return None
            by = source.number.smin
        by = -by if i.op is AluOp.SUB else by
        return by if S32_MIN < by <= S32_MAX else None

    def _pointers(self, state: State, i: Alu, held: Register, source: Register) -> Register:
        """Return a sum with a pointer."""
        if held.is_pointer and source.is_pointer:
            if i.op is AluOp.SUB and self.env.privileged:
                return NUMBER
            raise Rejected(
                Rule.POINTER_ARITHMETIC, f"R{i.dst} pointer {'-=' if i.op is AluOp.SUB else i.op} pointer prohibited"
            )
        if i.bits == 32:
            if i.op is AluOp.SUB and self.env.privileged:
                return NUMBER
            raise Rejected(
                Rule.POINTER_ARITHMETIC,
                f"R{i.dst} 32-bit pointer arithmetic prohibited",
                hint="addresses have 64 bits",
            )
        if held.is_pointer:
            if isinstance(i.src, int):
                self.need(state, i.src)
            return moved(self.env, i.op, held, source, name=i.dst, first=True)
        self.need(state, i.dst)
        return moved(self.env, i.op, source, held, name=i.src if isinstance(i.src, int) else i.dst, first=False)

    def cast(self, _state: State, _: AddressSpaceCast, _index: int) -> int:
        """Refuse what only programs with an arena can do."""
        raise Rejected(
            Rule.STRUCTURE,
            "addr_space_cast insn can only be used in a program that has an associated arena",
            "EINVAL",
        )

    def negate(self, state: State, i: Negate, index: int) -> int:
        """Change the sign."""
        held = self.read(state, i.dst)
        self.write(i.dst)
        self._no_pointer(i.dst, held)
        scalar = Scalar.unknown() if held.is_pointer else held.number
        state.registers[i.dst] = number(arithmetic.negate(i.bits, scalar))
        self.step(state, index)
        return index + 1

    def swap(self, state: State, i: Swap, index: int) -> int:
        """Swap bytes, or cut off those above; a number of 64 bits in the order of bytes that it has stays itself."""
        held = self.read(state, i.dst)
        self.write(i.dst)
        self._no_pointer(i.dst, held)
        if held.is_pointer:
            state.registers[i.dst] = NUMBER
        elif i.kind is not SwapKind.LE:
            state.registers[i.dst] = number(arithmetic.swap(i.width // 8, held.number))
        elif i.width < 64:
            cut = held.number.copy()
            cut.truncate(i.width // 8)
            state.registers[i.dst] = number(cut)
        self.step(state, index)
        return index + 1

    def _no_pointer(self, register: int, held: Register) -> None:
        if held.is_pointer and not self.env.privileged:
            raise Rejected(Rule.POINTER_ARITHMETIC, f"R{register} pointer arithmetic prohibited")

    def extend(self, state: State, i: Extend, index: int) -> int:
        """Extend the sign."""
        source = self.read(state, i.src)
        self.write(i.dst)
        if source.is_pointer:
            if not self.env.privileged:
                raise Rejected(Rule.POINTER_LEAK, f"R{i.src} sign-extension part of pointer")
            source = NUMBER
        size = i.width // 8
        fits = source.number.umax < 1 << i.width - 1
        if fits:
            source = self.shared(state, i.src, source)
        extended = arithmetic.sign_extend(size, i.bits, source.number)
        state.registers[i.dst] = source.but(number=extended) if fits else number(extended)
        self.step(state, index)
        return index + 1
