# SPDX-License-Identifier: Apache-2.0
"""The older syntax of ubpf, rbpf and the bpf_conformance suite: ``ldxw r0, [r1+4]``.

One table gives each mnemonic the reader of its operands. Registers may be written ``%r0``; operands are separated by
commas or blanks; ``exit`` is a label of its own, see `prestocloud_sec.bpf.assembler.link`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from prestocloud_sec.bpf.assembler.statement import call, exit_, may_goto, named, to_place
from prestocloud_sec.bpf.assembler.text import Cursor, suggestion
from prestocloud_sec.bpf.isa import (
    ALWAYS_FETCH,
    AddressSpaceCast,
    Alu,
    AluOp,
    Atomic,
    AtomicOp,
    Branch,
    BranchOp,
    Extend,
    Imm,
    ImmKind,
    Jump,
    LegacyLoad,
    Load,
    LoadAcquire,
    LoadImm64,
    Negate,
    Store,
    StoreRelease,
    Swap,
    SwapKind,
)
from prestocloud_sec.bpf.linking import Reference, Statement
from prestocloud_sec.bpf.syntax import SIZE_SUFFIXES

__all__ = ["MNEMONICS", "parse", "starts"]

Reader = Callable[[Cursor], Statement]


def starts(line: Cursor) -> bool:
    """Tell whether a line is of this syntax rather than of the other."""
    first = line.next.text
    return first in MNEMONICS and not (first == "lock" and line.peek(1) == "*")


def parse(line: Cursor) -> Statement:
    """Read one instruction.

    Raises
    ------
    AssemblyError
        With the place of the first word that does not fit.
    """
    token = line.next
    reader = MNEMONICS.get(token.text)
    if reader is None:
        raise line.error(
            token,
            f"there is no instruction {token.text!r}" if token.kind == "word" and len(token.text) < 40 else None,
            expected="a mnemonic, such as mov",
            hint=suggestion(token.text, MNEMONICS) if token.kind == "word" else None,
        )
    line.take()
    statement = reader(line)
    line.end()
    return statement


def _register(line: Cursor) -> int:
    line.accept("%")
    return line.register("r")[1]


def _operand(line: Cursor) -> int | Imm:
    line.accept("%")
    return line.operand("r")


def _comma(line: Cursor) -> None:
    line.accept(",")  # blanks do as well


def _address(line: Cursor) -> tuple[int, int]:
    """Read ``[r1+4]``; return base register and offset."""
    line.expect("[")
    base = _register(line)
    offset = line.signed(16) if line.next.text in {"+", "-"} else 0
    line.expect("]")
    return base, offset


def _alu(line: Cursor, *, op: AluOp, bits: int) -> Statement:
    dst = _register(line)
    _comma(line)
    return Alu(op, bits, dst, _operand(line))


def _negate(line: Cursor, *, bits: int) -> Statement:
    return Negate(bits, _register(line))


def _extend(line: Cursor, *, bits: int, width: int) -> Statement:
    dst = _register(line)
    _comma(line)
    return Extend(bits, dst, _register(line), width)


def _swap(line: Cursor, *, kind: SwapKind, width: int) -> Statement:
    return Swap(kind, width, _register(line))


def _load(line: Cursor, *, size: int, signed: bool) -> Statement:
    dst = _register(line)
    _comma(line)
    base, offset = _address(line)
    return Load(size, signed, dst, base, offset)


def _load_acquire(line: Cursor, *, size: int) -> Statement:
    dst = _register(line)
    _comma(line)
    base, offset = _address(line)
    return LoadAcquire(size, dst, base, offset)


def _store_imm(line: Cursor, *, size: int) -> Statement:
    base, offset = _address(line)
    _comma(line)
    return Store(size, base, offset, Imm(line.signed(32)))


def _store_register(line: Cursor, *, size: int) -> Statement:
    base, offset = _address(line)
    _comma(line)
    return Store(size, base, offset, _register(line))


def _store_release(line: Cursor, *, size: int) -> Statement:
    base, offset = _address(line)
    _comma(line)
    return StoreRelease(size, base, offset, _register(line))


def _lock(line: Cursor) -> Statement:
    """Read ``fetch add32 [r1+0], r2`` after ``lock``."""
    fetch = line.accept("fetch")
    token = line.next
    name = token.text
    bits = 64
    for suffix in ("32", "64"):
        if name.endswith(suffix):
            name, bits = name[:-2], int(suffix)
            break
    if name not in _ATOMICS:
        raise line.error(token, expected=" or ".join(_ATOMICS), hint=suggestion(token.text, _ATOMICS))
    line.take()
    base, offset = _address(line)
    _comma(line)
    op = AtomicOp(name)
    return Atomic(op, fetch or op in ALWAYS_FETCH, bits // 8, base, offset, _register(line))


_ATOMICS = tuple(str(op) for op in AtomicOp)


def _legacy(line: Cursor, *, size: int, indirect: bool) -> Statement:
    src = 0
    if indirect:
        src = _register(line)
        _comma(line)
    return LegacyLoad(size, indirect, src, line.signed(32))


def _cast(line: Cursor) -> Statement:
    dst = _register(line)
    _comma(line)
    src = _register(line)
    _comma(line)
    target = line.number(0, 1)
    _comma(line)
    return AddressSpaceCast(dst, src, target, line.number(1 - target, 1 - target))


def _branch(line: Cursor, *, op: BranchOp, bits: int) -> Statement:
    dst = _register(line)
    _comma(line)
    src = _operand(line)
    _comma(line)
    return to_place(line, lambda offset: Branch(op, bits, dst, src, offset), 16)


def _jump(line: Cursor, *, wide: bool) -> Statement:
    return to_place(line, lambda offset: Jump(offset, wide=wide), 32 if wide else 16)


_LDDW_KINDS: dict[str, ImmKind] = {
    "map": ImmKind.MAP_FD,
    "map_value": ImmKind.MAP_VALUE_FD,
    "map_index": ImmKind.MAP_INDEX,
    "map_index_value": ImmKind.MAP_VALUE_INDEX,
    "btf": ImmKind.BTF_VARIABLE,
    "function": ImmKind.FUNCTION,
}
_BY_NAME = {ImmKind.MAP_FD, ImmKind.MAP_VALUE_FD}


def _lddw(line: Cursor) -> Statement:
    """Read ``r1, 5``, ``r1, map 4``, ``r1, map name``, ``r1, map_value 4, 16``, ``r1, function name`` and such."""
    dst = _register(line)
    _comma(line)
    word = line.next
    if word.kind != "word":
        return LoadImm64(dst, ImmKind.INTEGER, line.number(-(1 << 63), (1 << 64) - 1) & (1 << 64) - 1)
    if word.text not in _LDDW_KINDS:
        hint = suggestion(word.text, _LDDW_KINDS)
        raise line.error(word, expected=f"a number, or {', '.join(_LDDW_KINDS)}", hint=hint)
    line.take()
    kind = _LDDW_KINDS[word.text]
    if kind is ImmKind.FUNCTION:
        return to_place(line, lambda n: LoadImm64(dst, kind, n), 32, Reference.FUNCTION, slots=2)
    name = line.symbol("the name of a map") if kind in _BY_NAME and line.next.kind == "word" else None
    value = 0 if name else line.signed(32)
    second = 0
    if kind not in {ImmKind.MAP_FD, ImmKind.MAP_INDEX} and line.accept(","):
        second = line.number(0, (1 << 32) - 1)
    if name is None:
        return LoadImm64(dst, kind, value, second)
    return named(line, name, Reference.MAP, lambda n: LoadImm64(dst, kind, n, second), slots=2)


def _table() -> dict[str, Reader]:
    table: dict[str, Reader] = {}
    for op in AluOp:
        for suffix, bits in (("", 64), ("64", 64), ("32", 32)):
            table[f"{op}{suffix}"] = partial(_alu, op=op, bits=bits)
    for suffix, bits in (("", 64), ("64", 64), ("32", 32)):
        table[f"neg{suffix}"] = partial(_negate, bits=bits)
    for width, bits in ((8, 32), (16, 32), (8, 64), (16, 64), (32, 64)):
        table[f"movsx{width}{bits}"] = partial(_extend, bits=bits, width=width)
    for name, kind in (("le", SwapKind.LE), ("be", SwapKind.BE), ("swap", SwapKind.BSWAP), ("bswap", SwapKind.BSWAP)):
        for width in (16, 32, 64):
            table[f"{name}{width}"] = partial(_swap, kind=kind, width=width)
    for size, suffix in SIZE_SUFFIXES.items():
        table[f"ldx{suffix}"] = partial(_load, size=size, signed=False)
        table[f"st{suffix}"] = partial(_store_imm, size=size)
        table[f"stx{suffix}"] = partial(_store_register, size=size)
        table[f"ldacq{suffix}"] = partial(_load_acquire, size=size)
        table[f"strel{suffix}"] = partial(_store_release, size=size)
        if size < 8:
            table[f"ldxs{suffix}"] = partial(_load, size=size, signed=True)
            table[f"ldabs{suffix}"] = partial(_legacy, size=size, indirect=False)
            table[f"ldind{suffix}"] = partial(_legacy, size=size, indirect=True)
    for branch in BranchOp:
        for suffix, bits in (("", 64), ("32", 32)):
            table[f"{branch}{suffix}"] = partial(_branch, op=branch, bits=bits)
    return table | {
        "ja": partial(_jump, wide=False),
        "ja32": partial(_jump, wide=True),
        "lddw": _lddw,
        "lock": _lock,
        "addr_space_cast": _cast,
        "may_goto": may_goto,
        "call": call,
        "exit": exit_,
    }


MNEMONICS: dict[str, Reader] = _table()
"""Every mnemonic, with the reader of what follows it."""
