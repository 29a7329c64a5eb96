# SPDX-License-Identifier: Apache-2.0
"""Programs to text, in the syntax of clang and bpftool or in the older mnemonic one.

What is printed assembles to the same bytes. Where several spellings exist, the kernel syntax is LLVM's (as ``clang -S``
prints it: 32-bit operands of atomic operations as ``w`` registers, those of plain loads and stores as ``r``), and the
kernel's for what LLVM cannot name (``map[id:4]``, ``call pc+3``, ``subprog[+3]``).
"""

from __future__ import annotations

from typing import assert_never

from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.bpf.isa import (
    AddressSpaceCast,
    Alu,
    Atomic,
    AtomicOp,
    Branch,
    CallHelper,
    CallKfunc,
    CallLocal,
    CallRegister,
    Exit,
    Extend,
    Imm,
    ImmKind,
    Instruction,
    Jump,
    LegacyLoad,
    Load,
    LoadAcquire,
    LoadImm64,
    MayGoto,
    Negate,
    Reg,
    Store,
    StoreRelease,
    Swap,
    SwapKind,
)
from prestocloud_sec.bpf.program import Program, target_slot
from prestocloud_sec.bpf.syntax import (
    ALU_SIGNS,
    ATOMIC_SIGNS,
    BRANCH_SIGNS,
    SIGNED_TYPES,
    SIZE_SUFFIXES,
    TYPES,
    check_syntax,
    is_symbol,
)
from prestocloud_sec.wire import shown

__all__ = ["disassemble", "instruction_text"]

_INDENT = "    "


def disassemble(program: Program, *, syntax: str = "kernel", labels: bool | None = None) -> str:
    """Return a program as text, one instruction to a line.

    Parameters
    ----------
    program : Program
        What to print; its symbols name places, functions and maps.
    syntax : {"kernel", "mnemonic"}
        ``r0 = *(u32 *)(r1 + 4)`` or ``ldxw r0, [r1+4]``.
    labels : bool, optional
        True: give every target a label, ``L<slot>`` or ``func_<slot>`` where the program has no name for it. False:
        numbers only. By default, the names that the program has, and numbers elsewhere.

    Returns
    -------
    str
        Lines without a newline after the last. It assembles to the same bytes; where `labels` is not False, also to the
        same names, as far as they are words.

    Raises
    ------
    BpfMisuseError
        If there is no such syntax, or an argument is of another type.

    Examples
    --------
    >>> from prestocloud_sec.bpf import assemble
    >>> program = assemble('''
    ...     ldxw r0, [r1+4]
    ...     jeq r0, 0, +1
    ...     mov32 r0, 7
    ...     exit''')
    >>> print(disassemble(program))
    r0 = *(u32 *)(r1 + 4)
    if r0 == 0 goto +1
    w0 = 7
    exit
    >>> print(disassemble(program, syntax="mnemonic", labels=True))
        ldxw r0, [r1+4]
        jeq r0, 0, L3
        mov32 r0, 7
    L3:
        exit
    """
    check_syntax(syntax)
    if not isinstance(program, Program):
        raise BpfMisuseError(f"{shown(program)} is no program", where="disassemble", expected="a Program")
    if not isinstance(labels, bool | None):
        raise BpfMisuseError(f"{shown(labels)} says nothing of labels", where="labels", expected="a bool or None")
    names = _Names(program, labels)
    at_slot = names.at_slot
    lines: list[str] = []
    slot = 0
    for index, instruction in enumerate(program.instructions):
        lines.extend(f"{name}:" for name in at_slot.get(slot, ()))
        text = instruction_text(instruction, syntax=syntax, target=names.target(index), map_name=names.map(index))
        lines.append(_INDENT + text if at_slot else text)
        slot += instruction.slots
    lines.extend(f"{name}:" for name in at_slot.get(slot, ()))
    return "\n".join(lines)


class _Names:
    """Which name each place of a program gets in its text.

    Where a place has several names, all are printed and the first in the alphabet is used: a rule that the text itself
    tells, so that text made from text is the same again.
    """

    def __init__(self, program: Program, labels: bool | None) -> None:
        self._program = program
        self._maps = program.symbols.maps if labels is not False else {}
        self.at_slot: dict[int, list[str]] = {}
        if labels is False:
            return
        symbols = program.symbols
        for name, slot in sorted({**symbols.labels, **symbols.functions}.items()):
            if is_symbol(name):
                self.at_slot.setdefault(slot, []).append(name)
        if labels:
            self._invent()

    def _invent(self) -> None:
        used = {name for names in self.at_slot.values() for name in names}
        for index, instruction in enumerate(self._program.instructions):
            slot = self._slot(index)
            if slot is None or slot in self.at_slot:
                continue
            name = f"{'func_' if isinstance(instruction, CallLocal | LoadImm64) else 'L'}{slot}"
            while name in used:
                name += "_"
            used.add(name)
            self.at_slot[slot] = [name]

    def _slot(self, index: int) -> int | None:
        """Return the slot that an instruction leads to, if it is a place that can have a name."""
        slot = target_slot(self._program.instructions[index], self._program.slot_of(index))
        if slot is None or (slot != len(self._program) and self._program.index_at(slot) is None):
            return None
        return slot

    def target(self, index: int) -> str | None:
        """Return the name of the place that an instruction leads to."""
        slot = self._slot(index)
        return None if slot is None else self.at_slot.get(slot, [None])[0]

    def map(self, index: int) -> str | None:
        """Return the name of the map that a load refers to, if it is a word."""
        name = self._maps.get(index)
        return name if name is not None and is_symbol(name) else None


def instruction_text(
    instruction: Instruction, *, syntax: str = "kernel", target: str | None = None, map_name: str | None = None
) -> str:
    """Return one instruction as text.

    Parameters
    ----------
    instruction : Instruction
        What to print.
    syntax : {"kernel", "mnemonic"}
        As in `disassemble`.
    target, map_name : str, optional
        The name of the place or function it leads to, or of the map it refers to, instead of a number.

    Raises
    ------
    BpfMisuseError
        If there is no such syntax, or an argument is of another type.
    """
    check_syntax(syntax)
    for name, where in ((target, "target"), (map_name, "map_name")):
        if not isinstance(name, str | None):
            raise BpfMisuseError(f"{shown(name)} is no name", where=where, expected="a str or None")
    if not isinstance(instruction, Instruction):
        raise BpfMisuseError(f"{shown(instruction)} is no instruction", expected="an object of prestocloud_sec.bpf.isa")
    write = _kernel if syntax == "kernel" else _mnemonic
    return write(instruction, target, map_name)


def _number(offset: int, blank: str = "") -> str:
    """Write a displacement with its sign apart: ``+ 4``, ``-4``."""
    return f"{'-' if offset < 0 else '+'}{blank}{abs(offset)}"


def _signed64(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _at(base: Reg, offset: int) -> str:
    return f"r{base} {_number(offset, ' ')}"


def _kernel_operand(src: Reg | Imm, bits: int) -> str:
    return str(src.value) if isinstance(src, Imm) else f"{'r' if bits == 64 else 'w'}{src}"


def _kernel(instruction: Instruction, target: str | None, map_name: str | None) -> str:
    match instruction:
        case Alu(op, bits, dst, src):
            return f"{_letter(bits)}{dst} {ALU_SIGNS[op]} {_kernel_operand(src, bits)}"
        case Negate(bits, dst):
            return f"{_letter(bits)}{dst} = -{_letter(bits)}{dst}"
        case Extend(bits, dst, src, width):
            return f"{_letter(bits)}{dst} = (s{width}){_letter(bits)}{src}"
        case Swap(kind, width, dst):
            return f"r{dst} = {kind}{width} r{dst}"
        case AddressSpaceCast(dst, src, to, source):
            return f"r{dst} = addr_space_cast(r{src}, {to}, {source})"
        case Load(size, signed, dst, base, offset):
            return f"r{dst} = *({(SIGNED_TYPES if signed else TYPES)[size]} *)({_at(base, offset)})"
        case Store(size, base, offset, src):
            return f"*({TYPES[size]} *)({_at(base, offset)}) = {_kernel_operand(src, 64)}"
        case Atomic():
            return _kernel_atomic(instruction)
        case LoadAcquire(size, dst, base, offset):
            return f"{_letter(size * 8)}{dst} = load_acquire(({TYPES[size]} *)({_at(base, offset)}))"
        case StoreRelease(size, base, offset, src):
            return f"store_release(({TYPES[size]} *)({_at(base, offset)}), {_letter(size * 8)}{src})"
        case LoadImm64():
            return _kernel_immediate(instruction, target, map_name)
        case LegacyLoad(size, indirect, src, imm):
            register = f"r{src} {_number(imm, ' ')}" if imm else f"r{src}"
            return f"r0 = *({TYPES[size]} *)skb[{register if indirect else imm}]"
        case Jump(offset, wide):
            return f"{'gotol' if wide else 'goto'} {target or _number(offset)}"
        case Branch(op, bits, dst, src, offset):
            condition = f"{_letter(bits)}{dst} {BRANCH_SIGNS[op]} {_kernel_operand(src, bits)}"
            return f"if {condition} goto {target or _number(offset)}"
        case MayGoto(offset):
            return f"may_goto {target or _number(offset)}"
        case CallHelper(number):
            return f"call {number}"
        case CallLocal(offset):
            return f"call {target or 'pc' + _number(offset)}"
        case CallKfunc(number, off):
            return f"call kfunc {number}, {off}" if off else f"call kfunc {number}"
        case CallRegister(register, encoding):
            return f"callx r{register}" + (", imm" if encoding == "imm" else "")
        case Exit():
            return "exit"
        case _:
            assert_never(instruction)


def _letter(bits: int) -> str:
    return "r" if bits == 64 else "w"


def _kernel_atomic(instruction: Atomic) -> str:
    op, size, letter = instruction.op, instruction.size, _letter(instruction.size * 8)
    at, src = _at(instruction.base, instruction.offset), f"{letter}{instruction.src}"
    width = "_64" if size == 8 else "32_32"
    if op is AtomicOp.XCHG:
        return f"{src} = xchg{width}({at}, {src})"
    if op is AtomicOp.CMPXCHG:
        return f"{letter}0 = cmpxchg{width}({at}, {letter}0, {src})"
    if instruction.fetch:
        return f"{src} = atomic_fetch_{op}(({TYPES[size]} *)({at}), {src})"
    return f"lock *({TYPES[size]} *)({at}) {ATOMIC_SIGNS[op]} {src}"


def _kernel_immediate(instruction: LoadImm64, target: str | None, map_name: str | None) -> str:
    value, second = instruction.value, instruction.second
    match instruction.kind:
        case ImmKind.INTEGER:
            right = f"{_signed64(value)} ll"
        case ImmKind.MAP_FD:
            right = f"map[{map_name or f'id:{value}'}]"
        case ImmKind.MAP_VALUE_FD:
            right = f"map[{map_name or f'id:{value}'}][0]+{second}"
        case ImmKind.MAP_INDEX:
            right = f"map[idx:{value}]"
        case ImmKind.MAP_VALUE_INDEX:
            right = f"map[idx:{value}][0]+{second}"
        case ImmKind.BTF_VARIABLE:
            right = f"btf[id:{value}, fd:{second}]" if second else f"btf[id:{value}]"
        case ImmKind.FUNCTION:
            right = f"{target} ll" if target else f"subprog[{_number(value)}]"
        case _:
            assert_never(instruction.kind)
    return f"r{instruction.dst} = {right}"


def _mnemonic_operand(src: Reg | Imm) -> str:
    return str(src.value) if isinstance(src, Imm) else f"r{src}"


def _cell(base: Reg, offset: int) -> str:
    return f"[r{base}{_number(offset) if offset else ''}]"


def _half(bits: int) -> str:
    return "" if bits == 64 else "32"


def _mnemonic(instruction: Instruction, target: str | None, map_name: str | None) -> str:
    match instruction:
        case Alu(op, bits, dst, src):
            return f"{op}{_half(bits)} r{dst}, {_mnemonic_operand(src)}"
        case Negate(bits, dst):
            return f"neg{_half(bits)} r{dst}"
        case Extend(bits, dst, src, width):
            return f"movsx{width}{bits} r{dst}, r{src}"
        case Swap(kind, width, dst):
            return f"{'swap' if kind is SwapKind.BSWAP else kind}{width} r{dst}"
        case AddressSpaceCast(dst, src, to, source):
            return f"addr_space_cast r{dst}, r{src}, {to}, {source}"
        case Load(size, signed, dst, base, offset):
            return f"ldx{'s' if signed else ''}{SIZE_SUFFIXES[size]} r{dst}, {_cell(base, offset)}"
        case Store(size, base, offset, src):
            name = "st" if isinstance(src, Imm) else "stx"
            return f"{name}{SIZE_SUFFIXES[size]} {_cell(base, offset)}, {_mnemonic_operand(src)}"
        case Atomic(op, fetch, size, base, offset, src):
            always = op in {AtomicOp.XCHG, AtomicOp.CMPXCHG}
            name = f"lock {'fetch ' if fetch and not always else ''}{op}{_half(size * 8)}"
            return f"{name} {_cell(base, offset)}, r{src}"
        case LoadAcquire(size, dst, base, offset):
            return f"ldacq{SIZE_SUFFIXES[size]} r{dst}, {_cell(base, offset)}"
        case StoreRelease(size, base, offset, src):
            return f"strel{SIZE_SUFFIXES[size]} {_cell(base, offset)}, r{src}"
        case LoadImm64():
            return _mnemonic_immediate(instruction, target, map_name)
        case LegacyLoad(size, indirect, src, imm):
            return f"ld{'ind' if indirect else 'abs'}{SIZE_SUFFIXES[size]} {f'r{src}, ' if indirect else ''}{imm}"
        case Jump(offset, wide):
            return f"{'ja32' if wide else 'ja'} {target or _number(offset)}"
        case Branch(op, bits, dst, src, offset):
            return f"{op}{_half(bits)} r{dst}, {_mnemonic_operand(src)}, {target or _number(offset)}"
        case MayGoto(offset):
            return f"may_goto {target or _number(offset)}"
        case CallHelper(number):
            return f"call {number}"
        case CallLocal(offset):
            return f"call local {target or _number(offset)}"
        case CallKfunc(number, off):
            return f"call runtime {number}, {off}" if off else f"call runtime {number}"
        case CallRegister(register, encoding):
            return f"call r{register}" + (", imm" if encoding == "imm" else "")
        case Exit():
            return "exit"
        case _:
            assert_never(instruction)


def _mnemonic_immediate(instruction: LoadImm64, target: str | None, map_name: str | None) -> str:
    value, second = instruction.value, instruction.second
    match instruction.kind:
        case ImmKind.INTEGER:
            right = str(_signed64(value))
        case ImmKind.MAP_FD:
            right = f"map {map_name or value}"
        case ImmKind.MAP_VALUE_FD:
            right = f"map_value {map_name or value}, {second}"
        case ImmKind.MAP_INDEX:
            right = f"map_index {value}"
        case ImmKind.MAP_VALUE_INDEX:
            right = f"map_index_value {value}, {second}"
        case ImmKind.BTF_VARIABLE:
            right = f"btf {value}, {second}" if second else f"btf {value}"
        case ImmKind.FUNCTION:
            right = f"function {target or _number(value)}"
        case _:
            assert_never(instruction.kind)
    return f"lddw r{instruction.dst}, {right}"
