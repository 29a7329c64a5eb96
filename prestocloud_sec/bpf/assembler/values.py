# SPDX-License-Identifier: Apache-2.0
"""What may stand right of ``rN =`` in the kernel syntax: one reader for each kind of value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from prestocloud_sec.bpf.assembler.statement import named
from prestocloud_sec.bpf.assembler.text import Cursor, Token, suggestion
from prestocloud_sec.bpf.isa import (
    AddressSpaceCast,
    Alu,
    AluOp,
    Atomic,
    AtomicOp,
    Extend,
    Imm,
    ImmKind,
    Instruction,
    LegacyLoad,
    Load,
    LoadAcquire,
    LoadImm64,
    Swap,
)
from prestocloud_sec.bpf.linking import Reference, Statement
from prestocloud_sec.bpf.syntax import ATOMIC_SIGNS, SIGNED_TYPES, SWAPS, TYPES

__all__ = ["Head", "address", "constant", "extended", "loaded", "named_value", "same", "size_of_type", "sizes"]

_SIZES = {name: size for size, name in TYPES.items()}
_SIGNED_SIZES = {name: size for size, name in SIGNED_TYPES.items()}
_FETCHES = {
    f"{prefix}_fetch_{op}": (op, size)
    for op in ATOMIC_SIGNS
    for prefix, size in (("atomic", None), ("atomic64", 8), ("atomic32", 4))
}
_EXCHANGES = {
    "xchg_64": (AtomicOp.XCHG, 8, False),
    "xchg32_32": (AtomicOp.XCHG, 4, False),
    "cmpxchg_64": (AtomicOp.CMPXCHG, 8, False),
    "cmpxchg32_32": (AtomicOp.CMPXCHG, 4, False),
    "atomic64_xchg": (AtomicOp.XCHG, 8, True),
    "atomic_xchg": (AtomicOp.XCHG, 4, True),
    "atomic64_cmpxchg": (AtomicOp.CMPXCHG, 8, True),
    "atomic_cmpxchg": (AtomicOp.CMPXCHG, 4, True),
}
"""Operation, size, and whether the address is written with its type (as the kernel prints it; LLVM does not)."""

_LOAD64_DUMPED = 0x18
"""What bpftool writes before a 64-bit load, whose text does not tell it from a plain assignment."""
_MAP_KINDS = {"id": ImmKind.MAP_FD, "fd": ImmKind.MAP_FD, "idx": ImmKind.MAP_INDEX}
_VALUE_KINDS = {ImmKind.MAP_FD: ImmKind.MAP_VALUE_FD, ImmKind.MAP_INDEX: ImmKind.MAP_VALUE_INDEX}


@dataclass(frozen=True, slots=True)
class Head:
    """A line read as far as ``rN =``."""

    line: Cursor
    target: Token
    dst: int
    bits: int

    @property
    def letter(self) -> str:
        """``r`` or ``w``: what the registers right of the sign have to begin with."""
        return self.target.text[0]

    def whole(self) -> int:
        """Return the register; refuse its 32-bit name where the instruction always writes all of it."""
        if self.letter != "r":
            raise self.line.error(self.target, expected=f"r{self.dst}", hint="the instruction writes all 64 bits")
        return self.dst


def sizes(*wanted: int) -> dict[str, int]:
    """Return the unsigned types with these sizes in bytes."""
    return {name: size for name, size in _SIZES.items() if size in wanted}


def size_of_type(line: Cursor, types: Mapping[str, int] = _SIZES) -> int:
    """Read ``(u32 *)``; return the size in bytes."""
    line.expect("(")
    token = line.next
    if token.text not in types:
        raise line.error(token, expected=" or ".join(types))
    line.take()
    line.expect("*")
    line.expect(")")
    return types[token.text]


def address(line: Cursor, *, parentheses: bool = True) -> tuple[int, int]:
    """Read ``(r1 + 4)``, or without the parentheses; return base register and offset."""
    if parentheses:
        line.expect("(")
    _, base, _ = line.register("r")
    offset = line.signed(16) if line.next.text in {"+", "-"} else 0
    if parentheses:
        line.expect(")")
    return base, offset


def same(head: Head, found: Token, why: str) -> None:
    """Refuse a register that is not the one on the left."""
    if found.text != head.target.text:
        raise head.line.error(found, expected=head.target.text, hint=why)


def constant(head: Head) -> Statement:
    """Read ``5`` or ``5 ll``."""
    line = head.line
    if line.dump_opcode == _LOAD64_DUMPED or "ll" in {line.peek(1), line.peek(2)}:
        value = line.number(-(1 << 63), (1 << 64) - 1)
        line.accept("ll")
        return LoadImm64(head.whole(), ImmKind.INTEGER, value & (1 << 64) - 1)
    return Alu(AluOp.MOV, head.bits, head.dst, Imm(line.signed(32)))


def extended(head: Head) -> Instruction:
    """Read ``s8)r2``, after an opening parenthesis."""
    line = head.line
    kind = line.next
    widths = [name for name, size in _SIGNED_SIZES.items() if head.bits == 64 or size < 4]
    if kind.text not in widths:
        raise line.error(kind, expected=" or ".join(widths))
    line.take()
    line.expect(")")
    return Extend(head.bits, head.dst, line.register(head.letter)[1], _SIGNED_SIZES[kind.text] * 8)


def loaded(head: Head) -> Instruction:
    """Read ``(u32 *)(r1 + 4)`` or ``(u32 *)skb[4]``, after a star."""
    line = head.line
    kind = line.peek(1)
    types = _SIZES | _SIGNED_SIZES if head.letter == "r" else sizes(1, 2, 4)
    size = size_of_type(line, types)
    if line.accept("skb"):
        return _packet(head, size, kind)
    base, offset = address(line)
    return Load(size, kind in _SIGNED_SIZES, head.dst, base, offset)


def _packet(head: Head, size: int, kind: str) -> Instruction:
    """Read ``[r3 + 7]`` after ``r0 = *(u16 *)skb``."""
    line = head.line
    bracket = line.expect("[")
    if head.dst or kind not in sizes(1, 2, 4):
        raise line.error(bracket, "no such load from the packet", expected="r0 = *(u8|u16|u32 *)skb[...]")
    indirect = line.at_register()
    src = line.register("r")[1] if indirect else 0
    imm = line.signed(32) if not indirect or line.next.text in {"+", "-"} else 0
    line.expect("]")
    head.whole()
    return LegacyLoad(size, indirect, src, imm)


def named_value(head: Head) -> Statement:
    """Read a value that begins with a word."""
    line, word = head.line, head.line.next
    if word.text in _ADDRESSES and line.peek(1) == "[":
        line.take()
        return _ADDRESSES[word.text](line, head.whole())
    if line.peek(1) == "ll":
        symbol = line.symbol("the name of a function")
        line.take()
        dst = head.whole()
        return named(line, symbol, Reference.FUNCTION, lambda n: LoadImm64(dst, ImmKind.FUNCTION, n), slots=2)
    if word.text in _OPERATIONS:
        line.take()
        return _OPERATIONS[word.text](head, word)
    raise line.error(
        word,
        expected="a register, a number, *(u32 *)(r1 + 4), ...",
        hint=suggestion(word.text, (*_OPERATIONS, *_ADDRESSES)) if word.kind == "word" else None,
    )


def _swap(head: Head, word: Token) -> Instruction:
    kind, width = SWAPS[word.text]
    same(head, head.line.register(head.letter)[0], "bytes are swapped in place")
    return Swap(kind, width, head.whole())


def _check_width(head: Head, size: int) -> None:
    if size == 8 and head.letter != "r":
        raise head.line.error(head.target, expected=f"r{head.dst}", hint="the operation has 64 bits")


def _fetch(head: Head, word: Token) -> Instruction:
    """Read ``((u64 *)(r1 + 0), r3)`` after ``atomic_fetch_add``."""
    line = head.line
    op, named_size = _FETCHES[word.text]
    line.expect("(")
    size = size_of_type(line, sizes(4, 8) if named_size is None else sizes(named_size))
    _check_width(head, size)
    base, offset = address(line)
    line.expect(",")
    same(head, line.register(head.letter)[0], "the old value replaces the operand")
    line.expect(")")
    return Atomic(op, True, size, base, offset, head.dst)


def _exchange(head: Head, word: Token) -> Instruction:
    """Read ``(r1 + 8, r2)`` after ``xchg_64``, ``(r1 + 8, r0, r2)`` after ``cmpxchg_64``."""
    line = head.line
    op, size, typed = _EXCHANGES[word.text]
    line.expect("(")
    if typed:
        size_of_type(line, sizes(size))
    base, offset = address(line, parentheses=typed)
    _check_width(head, size)
    line.expect(",")
    found, src, _ = line.register(head.letter)
    if op is AtomicOp.CMPXCHG:
        if head.dst:
            raise line.error(head.target, expected=f"{head.letter}0", hint="the old value goes to r0")
        same(head, found, "memory is compared with r0")
        line.expect(",")
        src = line.register(head.letter)[1]
    else:
        same(head, found, "the old value replaces the operand")
    line.expect(")")
    return Atomic(op, True, size, base, offset, src)


def _load_acquire(head: Head, _word: Token) -> Instruction:
    line = head.line
    line.expect("(")
    size = size_of_type(line)
    _check_width(head, size)
    base, offset = address(line)
    line.expect(")")
    return LoadAcquire(size, head.dst, base, offset)


def _cast(head: Head, _word: Token) -> Instruction:
    line = head.line
    line.expect("(")
    _, src, _ = line.register("r")
    line.expect(",")
    target = line.number(0, 1)
    line.expect(",")
    source = line.number(1 - target, 1 - target)
    line.expect(")")
    return AddressSpaceCast(head.whole(), src, target, source)


_OPERATIONS: dict[str, Callable[[Head, Token], Statement]] = {
    **dict.fromkeys(SWAPS, _swap),
    **dict.fromkeys(_FETCHES, _fetch),
    **dict.fromkeys(_EXCHANGES, _exchange),
    "load_acquire": _load_acquire,
    "addr_space_cast": _cast,
}


def _map(line: Cursor, dst: int) -> Statement:
    """Read ``[id:4]``, ``[idx:4]`` or ``[name]``, and ``[0]+16`` where the address is that of a value."""
    line.expect("[")
    token = line.next
    kind = ImmKind.MAP_FD
    number: int | None = None
    if line.peek(1) == ":":
        if token.text not in _MAP_KINDS:
            raise line.error(token, expected=" or ".join(_MAP_KINDS))
        line.take()
        line.take()
        kind, number = _MAP_KINDS[token.text], line.signed(32)
    elif token.kind == "number":
        raise line.error(token, expected="a name or id:N", hint="map[id:4] is a map by its descriptor")
    else:
        line.symbol("the name of a map, or id:N")
    line.expect("]")
    second = 0
    if line.accept("[", "0", "]"):
        kind = _VALUE_KINDS[kind]
        second = line.number(0, (1 << 32) - 1) if line.next.text == "+" else 0
    line.accept("ll")
    if number is not None:
        return LoadImm64(dst, kind, number, second)
    return named(line, token, Reference.MAP, lambda n: LoadImm64(dst, kind, n, second), slots=2)


def _subprogram(line: Cursor, dst: int) -> Statement:
    """Read ``[+3]``: a function by its distance."""
    line.expect("[")
    offset = line.signed(32)
    line.expect("]")
    line.accept("ll")
    return LoadImm64(dst, ImmKind.FUNCTION, offset)


def _variable(line: Cursor, dst: int) -> Statement:
    """Read ``[id:7]`` or ``[id:7, fd:3]``: a kernel variable by its BTF identifier."""
    line.expect("[")
    line.expect("id")
    line.expect(":")
    value, second = line.signed(32), 0
    if line.accept(",", "fd", ":"):
        second = line.number(0, (1 << 32) - 1)
    line.expect("]")
    line.accept("ll")
    return LoadImm64(dst, ImmKind.BTF_VARIABLE, value, second)


_ADDRESSES: dict[str, Callable[[Cursor, int], Statement]] = {"map": _map, "subprog": _subprogram, "btf": _variable}
