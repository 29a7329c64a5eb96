# SPDX-License-Identifier: Apache-2.0
"""The syntax that clang, llvm-objdump and bpftool print: ``r0 = *(u32 *)(r1 + 4)``.

Accepts what LLVM's assembler accepts, and the forms that only the kernel's own disassembler prints (``goto pc+3``,
``atomic64_xchg``, ``map[id:4]``, lines that begin with a number and an opcode). What stands right of ``rN =`` is read
in `prestocloud_sec.bpf.assembler.values`.
"""

from __future__ import annotations

from collections.abc import Callable

from prestocloud_sec.bpf.assembler.statement import call, call_register, exit_, jump, may_goto, to_place
from prestocloud_sec.bpf.assembler.text import Cursor, suggestion
from prestocloud_sec.bpf.assembler.values import (
    Head,
    address,
    constant,
    extended,
    loaded,
    named_value,
    same,
    size_of_type,
    sizes,
)
from prestocloud_sec.bpf.isa import Alu, AluOp, Atomic, Branch, Instruction, Jump, Negate, Store, StoreRelease
from prestocloud_sec.bpf.linking import Statement
from prestocloud_sec.bpf.syntax import ALU_SIGNS, ATOMIC_SIGNS, BRANCH_SIGNS

__all__ = ["FIRST_WORDS", "parse", "starts"]

_ALU = {sign: op for op, sign in ALU_SIGNS.items()}
_BRANCH = {sign: op for op, sign in BRANCH_SIGNS.items()}
_ATOMIC = {sign: op for op, sign in ATOMIC_SIGNS.items()}


def starts(line: Cursor) -> bool:
    """Tell whether a line is of this syntax rather than of the other."""
    first = line.next.text
    if first == "lock":
        return line.peek(1) == "*"
    return line.at_register() or first == "*" or first in FIRST_WORDS


def parse(line: Cursor) -> Statement:
    """Read one instruction.

    Raises
    ------
    AssemblyError
        With the place of the first word that does not fit.
    """
    token = line.next
    if line.at_register():
        statement = _assignment(line)
    elif token.text == "*":
        statement = _store(line)
    elif token.text in FIRST_WORDS:
        line.take()
        statement = FIRST_WORDS[token.text](line)
    else:
        raise line.error(
            token,
            expected="an instruction, such as r0 = 1",
            hint=suggestion(token.text, FIRST_WORDS) if token.kind == "word" else None,
        )
    line.end()
    return statement


def _assignment(line: Cursor) -> Statement:
    target, dst, bits = line.register("rw")
    sign = line.next
    if sign.text not in _ALU:
        raise line.error(sign, expected="an assignment, such as = or +=")
    line.take()
    head = Head(line, target, dst, bits)
    if sign.text != "=":
        return Alu(_ALU[sign.text], bits, dst, line.operand(head.letter))
    value = line.next
    if value.kind == "number" or (value.text in {"+", "-"} and not line.register_after(1)):
        return constant(head)
    if line.at_register():
        # LLVM writes `r1 = w2` for the move of 32 bits where it needs the zero-extension
        _, src, src_bits = line.register("rw" if bits == 64 else "w")
        return Alu(AluOp.MOV, src_bits, dst, src)
    if line.accept("-"):
        same(head, line.register(head.letter)[0], "only a register itself can be negated")
        return Negate(bits, dst)
    if line.accept("("):
        return extended(head)
    if line.accept("*"):
        return loaded(head)
    return named_value(head)


def _store(line: Cursor) -> Instruction:
    line.expect("*")
    size = size_of_type(line)
    base, offset = address(line)
    line.expect("=", hint="read-modify-write needs `lock` in front" if line.next.text in _ATOMIC else None)
    return Store(size, base, offset, line.operand("r" if size == 8 else "rw"))


def _lock(line: Cursor) -> Instruction:
    line.expect("*")
    size = size_of_type(line, sizes(4, 8))
    base, offset = address(line)
    sign = line.next
    if sign.text not in _ATOMIC:
        raise line.error(sign, expected=" or ".join(_ATOMIC))
    line.take()
    return Atomic(_ATOMIC[sign.text], False, size, base, offset, line.register("r" if size == 8 else "wr")[1])


def _if(line: Cursor) -> Statement:
    left, dst, bits = line.register("rw")
    sign = line.next
    if sign.text not in _BRANCH:
        raise line.error(sign, expected="a comparison, such as == or s<")
    line.take()
    src = line.operand(left.text[0])
    line.expect("goto")
    return to_place(line, lambda offset: Branch(_BRANCH[sign.text], bits, dst, src, offset), 16)


def _store_release(line: Cursor) -> Instruction:
    line.expect("(")
    size = size_of_type(line)
    base, offset = address(line)
    line.expect(",")
    _, src, _ = line.register("r" if size == 8 else "wr")
    line.expect(")")
    return StoreRelease(size, base, offset, src)


FIRST_WORDS: dict[str, Callable[[Cursor], Statement]] = {
    "if": _if,
    "lock": _lock,
    "goto": jump(Jump, 16),
    "gotol": jump(lambda offset: Jump(offset, wide=True), 32),
    "may_goto": may_goto,
    "call": call,
    "callx": call_register,
    "exit": exit_,
    "store_release": _store_release,
}
"""What may begin a line besides a register and ``*``."""
