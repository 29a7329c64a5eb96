# SPDX-License-Identifier: Apache-2.0
"""Registers, stack slots and instructions as the kernel's log writes them.

The forms are those of Linux 6.18 (``kernel/bpf/log.c``, ``print_verifier_state``; ``kernel/bpf/disasm.c``): ranges that
are equal share a number (``smin=smin32=0``), what is not known is left out, numbers of 16 bits are decimal and larger
ones hexadecimal. Three things differ: maps have the name that the program gives them instead of an address, functions
of the kernel that are called by name have no number, and numbers have no ``P`` for *precise*, which the kernel adds
when it looks back.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from prestocloud_sec.bpf.isa import (
    Alu,
    AluOp,
    Atomic,
    AtomicOp,
    Branch,
    BranchOp,
    CallHelper,
    CallKfunc,
    CallLocal,
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
    Store,
    StoreRelease,
    Swap,
    SwapKind,
)
from prestocloud_sec.bpf.verifier.registers import NAMES, Kind, Register
from prestocloud_sec.bpf.verifier.scalar import S32_MAX, S32_MIN, S64_MAX, S64_MIN, Scalar
from prestocloud_sec.bpf.verifier.state import Byte, Frame, Slot, State
from prestocloud_sec.bpf.verifier.tnum import U32, U64

if TYPE_CHECKING:
    from prestocloud_sec.bpf.program import Program

__all__ = ["changed_text", "frame_text", "instruction_text", "ranges_text", "register_text", "slot_text", "touched"]

_S16_MIN, _S16_MAX, _U16_MAX = -(1 << 15), (1 << 15) - 1, (1 << 16) - 1
_BOUNDS: tuple[tuple[str, int], ...] = (
    ("smin", S64_MIN),
    ("smax", S64_MAX),
    ("umin", 0),
    ("umax", U64),
    ("smin32", S32_MIN),
    ("smax32", S32_MAX),
    ("umin32", 0),
    ("umax32", U32),
)
"""The ends of ranges in the kernel's order, and what each is where nothing is known."""
_HAS_MAP = frozenset({Kind.MAP, Kind.MAP_KEY, Kind.MAP_VALUE})
_HAS_RANGE = frozenset({Kind.PACKET, Kind.PACKET_META})
_BYTES = {Byte.INVALID: "?", Byte.SPILL: "r", Byte.MISC: "m", Byte.ZERO: "0", Byte.ITERATOR: "i"}


def _signed(number: int) -> str:
    return str(number) if _S16_MIN <= number <= _S16_MAX else hex(number & U64)


def _unsigned(number: int) -> str:
    return str(number) if number <= _U16_MAX else hex(number)


def _told(name: str, number: int) -> int:
    """Return an end of a range as the kernel compares and prints it: what is long, of 32 bits, has these bits only."""
    return number & U32 if name in {"smin32", "smax32"} and not _S16_MIN <= number <= _S16_MAX else number


def ranges_text(scalar: Scalar) -> str:
    """Return what is known of a number that is not a single one; empty where nothing is.

    >>> ranges_text(Scalar.bounded(0, 10))
    'smin=smin32=0,smax=umax=smax32=umax32=10,var_off=(0x0; 0xf)'
    """
    left = {name: _told(name, getattr(scalar, name)) for name, most in _BOUNDS if getattr(scalar, name) != most}
    said = []
    for position, (name, _) in enumerate(_BOUNDS):
        if name not in left:
            continue
        value = left.pop(name)
        names = [name]
        for other, _ in _BOUNDS[position + 2 :: 2]:  # of the same end: the least, or the greatest
            if left.get(other) == value:
                del left[other]
                names.append(other)
        said.append(f"{'='.join(names)}={_signed(value) if name[0] == 's' else _unsigned(value)}")
    if not scalar.tnum.is_unknown:
        said.append(f"var_off=({scalar.tnum.value:#x}; {scalar.tnum.mask:#x})")
    return ",".join(said)


def register_text(register: Register, depth: int = 0) -> str:
    """Return what a register holds.

    Parameters
    ----------
    register : Register
    depth : int
        The frame it is seen from: pointers into another frame name it.
    """
    kind, scalar = register.kind, register.number
    if kind is Kind.NOTHING:
        return "?"
    if kind is Kind.NUMBER and scalar.is_const:
        return _signed(scalar.smin)
    name = NAMES[kind] + ("_or_null" if register.nullable else "")
    if kind is Kind.STACK:
        name += f"[{register.frame}]" if register.frame != depth else ""
        if scalar.is_const:
            return f"{name}{register.offset + scalar.smin}"
    if register.ring:
        name = "ringbuf_" + name
    elif register.read_only:
        name = "rdonly_" + name
    return f"{name}({','.join(_parts(register))})"


def _parts(register: Register) -> list[str]:
    kind, scalar = register.kind, register.number
    said = []
    if register.id:
        said.append(f"id={register.id}" + (f"{register.delta:+d}" if register.delta else ""))
    if register.reference:
        said.append(f"ref_obj_id={register.reference}")
    if kind in _HAS_MAP and register.map is not None:
        said.append(f"ks={register.map.key_size},vs={register.map.value_size}")
    if kind is not Kind.NUMBER and register.offset:
        said.append(f"off={_signed(register.offset)}")
    if kind in _HAS_RANGE:
        said.append(f"r={_unsigned(register.range & U64)}")
    if kind is Kind.MEMORY:
        said.append(f"sz={register.size}")
    if not scalar.is_const:
        ranges = ranges_text(scalar)
        said += [ranges] if ranges else []
    elif scalar.tnum.value:
        said.append(f"imm={_signed(scalar.smin)}")
    return said


def slot_text(slot: Slot, depth: int = 0) -> str:
    """Return what a slot of the stack holds: its bytes from the highest down, and the register that it keeps."""
    if slot.iterator is not None:
        held = slot.iterator
        state = "active" if held.active else "drained"
        return f"iter_{held.type}(ref_id={held.reference},state={state},depth={held.depth})"
    kinds = "".join(_BYTES[byte] for byte in reversed(slot.bytes))
    if slot.register is not None and slot.bytes[0] == Byte.SPILL:
        return kinds.partition("r")[0] + register_text(slot.register, depth)
    return kinds


def frame_text(
    state: State, depth: int = -1, *, registers: Collection[int] | None = None, slots: Collection[int] | None = None
) -> str:
    """Return what is known in a frame, in one line; empty where nothing is.

    Parameters
    ----------
    state : State
    depth : int
        Which frame; -1 for the function that runs.
    registers, slots : collection of int, optional
        What to tell of (slots by ``offset // 8``); None for all.
    """
    depth %= len(state.frames)
    frame: Frame = state.frames[depth]
    said = [f"frame{depth}:"] if depth else []
    for number, register in enumerate(frame.registers):
        if register.kind is not Kind.NOTHING and (registers is None or number in registers):
            said.append(f"R{number}={register_text(register, depth)}")
    for number in sorted(frame.stack, reverse=True):
        slot = frame.stack[number]
        upper = slot.iterator is not None and not slot.iterator.reference  # told with its lowest slot
        if any(slot.bytes) and not upper and (slots is None or number in slots):
            said.append(f"fp{8 * number}={slot_text(slot, depth)}")
    if slots is None:
        said += _held(state, frame)
    return " ".join(said)


def changed_text(state: State, registers: Collection[int], slots: Collection[int]) -> str:
    """Return what an instruction changed, as the log has it behind the instruction: what is held is always told."""
    known = frame_text(state, registers=registers, slots=slots)
    return " ".join(filter(None, [known, *_held(state, state.frame)]))


def _held(state: State, frame: Frame) -> list[str]:
    """Return what has to be released, and whether a helper called the function."""
    said = []
    if state.references:
        said.append("refs=" + ",".join(str(reference) for reference, _ in state.references))
    if frame.callback is not None:
        said.append("cb")
    return said


# --- Instructions.

_SIZES = {1: "u8", 2: "u16", 4: "u32", 8: "u64"}
_ALU: dict[AluOp, str] = {
    AluOp.ADD: "+=",
    AluOp.SUB: "-=",
    AluOp.MUL: "*=",
    AluOp.DIV: "/=",
    AluOp.SDIV: "s/=",
    AluOp.MOD: "%=",
    AluOp.SMOD: "s%=",
    AluOp.OR: "|=",
    AluOp.AND: "&=",
    AluOp.XOR: "^=",
    AluOp.LSH: "<<=",
    AluOp.RSH: ">>=",
    AluOp.ARSH: "s>>=",
    AluOp.MOV: "=",
}
_BRANCHES: dict[BranchOp, str] = {
    BranchOp.EQ: "==",
    BranchOp.NE: "!=",
    BranchOp.GT: ">",
    BranchOp.GE: ">=",
    BranchOp.LT: "<",
    BranchOp.LE: "<=",
    BranchOp.SET: "&",
    BranchOp.SGT: "s>",
    BranchOp.SGE: "s>=",
    BranchOp.SLT: "s<",
    BranchOp.SLE: "s<=",
}
_ATOMIC = {AtomicOp.ADD: "+=", AtomicOp.OR: "|=", AtomicOp.AND: "&=", AtomicOp.XOR: "^="}
_SWAPS = {SwapKind.LE: "le", SwapKind.BE: "be", SwapKind.BSWAP: "bswap"}


def instruction_text(program: Program, index: int, kernel_name: str = "") -> str:
    r"""Return an instruction as the kernel's log has it: its opcode, and what it does.

    Parameters
    ----------
    program : Program
    index : int
    kernel_name : str
        The function of the kernel that it calls, where the program has only its number.

    Examples
    --------
    >>> from prestocloud_sec.bpf import assemble
    >>> instruction_text(assemble("if r0 > 10 goto +0\nexit"), 0)
    '(25) if r0 > 0xa goto pc+0'
    """
    opcode, i = program.to_bytes()[8 * program.slot_of(index)], program.instructions[index]
    if isinstance(i, CallKfunc):
        return f"({opcode:02x}) {_kernel_call(i, kernel_name or program.symbols.kfuncs.get(index, ''))}"
    return f"({opcode:02x}) {_body(program, index, i)}"


def _kernel_call(i: CallKfunc, name: str) -> str:
    if not name:
        return "call kernel-function"
    return f"call {name}#{i.id}" if i.id else f"call {name}"


def _letter(bits: int) -> str:
    return "w" if bits == 32 else "r"


def _at(size: int, base: int, offset: int, sign: str = "u") -> str:
    return f"*({sign}{_SIZES[size][1:]} *)(r{base} {offset:+d})"


def _source(source: int | Imm, bits: int = 64) -> str:
    return str(source.value) if isinstance(source, Imm) else f"{_letter(bits)}{source}"


def _body(program: Program, index: int, i: Instruction) -> str:
    match i:
        case Alu(op, bits, dst, src):
            return f"{_letter(bits)}{dst} {_ALU[op]} {_source(src, bits)}"
        case Negate(bits, dst):
            return f"{_letter(bits)}{dst} = -{_letter(bits)}{dst}"
        case Extend(bits, dst, src, width):
            return f"{_letter(bits)}{dst} = (s{width}){_letter(bits)}{src}"
        case Swap(kind, width, dst):
            return f"r{dst} = {_SWAPS[kind]}{width} r{dst}"
        case Load(size, signed, dst, base, offset):
            return f"r{dst} = {_at(size, base, offset, 's' if signed else 'u')}"
        case LoadAcquire(size, dst, base, offset):
            return f"r{dst} = load_acquire(({_SIZES[size]} *)(r{base} {offset:+d}))"
        case Store(size, base, offset, src):
            return f"{_at(size, base, offset)} = {_source(src)}"
        case StoreRelease(size, base, offset, src):
            return f"store_release(({_SIZES[size]} *)(r{base} {offset:+d}), r{src})"
        case Atomic():
            return _atomic(i)
        case LoadImm64():
            return f"r{i.dst} = {_loaded(program, index, i)}"
        case LegacyLoad(size, indirect, src, imm):
            return f"r0 = *({_SIZES[size]} *)skb[{f'r{src} + ' if indirect else ''}{imm}]"
        case _:
            return _control(i)


def _control(i: Instruction) -> str:
    match i:
        case Jump(offset, wide):
            return f"goto{'l' if wide else ''} pc{offset:+d}"
        case MayGoto(offset):
            return f"may_goto pc{offset:+d}"
        case Branch(op, bits, dst, src, offset):
            right = hex(src.value & U32) if isinstance(src, Imm) else f"{_letter(bits)}{src}"
            return f"if {_letter(bits)}{dst} {_BRANCHES[op]} {right} goto pc{offset:+d}"
        case CallHelper(number):
            from prestocloud_sec.bpf.helpers.prototypes import prototype

            row = prototype(number)
            return f"call {f'bpf_{row.name}' if row is not None else 'unknown'}#{number}"
        case CallLocal(offset):
            return f"call pc{offset:+d}"
        case Exit():
            return "exit"
        case _:
            return str(i)


def _atomic(i: Atomic) -> str:
    place, wide = f"({_SIZES[i.size]} *)(r{i.base} {i.offset:+d})", "64" if i.size == 8 else ""
    if i.op is AtomicOp.CMPXCHG:
        return f"r0 = atomic{wide}_cmpxchg({place}, r0, r{i.src})"
    if i.op is AtomicOp.XCHG:
        return f"r{i.src} = atomic{wide}_xchg({place}, r{i.src})"
    if i.fetch:
        return f"r{i.src} = atomic{wide}_fetch_{i.op}({place}, r{i.src})"
    return f"lock *{place} {_ATOMIC[i.op]} r{i.src}"


def _loaded(program: Program, index: int, i: LoadImm64) -> str:
    if i.kind in (ImmKind.INTEGER, ImmKind.FUNCTION):
        return hex(i.value)
    name = program.symbols.maps.get(index) or str(i.value)
    return f"map[{name}]" + (f"+{i.second}" if i.kind in (ImmKind.MAP_VALUE_FD, ImmKind.MAP_VALUE_INDEX) else "")


def touched(i: Instruction) -> frozenset[int]:
    """Return the registers that an instruction reads or writes: the ones that the log tells of behind it."""
    match i:
        case Alu(op, _, dst, src):
            found = {dst, src} if op is not AluOp.MOV or type(src) is int else {dst}
        case Branch(_, _, dst, src) | Extend(_, dst, src):
            found = {dst, src}
        case Negate(_, dst) | Swap(_, _, dst) | LoadImm64(dst):
            found = {dst}
        case Load(_, _, dst, base) | LoadAcquire(_, dst, base):
            found = {dst, base}
        case Store(_, base, _, src) | StoreRelease(_, base, _, src):
            found = {base, src}
        case Atomic(op, _, _, base, _, src):
            found = {base, src, 0} if op is AtomicOp.CMPXCHG else {base, src}
        case CallHelper() | CallKfunc() | CallLocal():
            found = {0, 1, 2, 3, 4, 5}
        case LegacyLoad(_, indirect, src):
            found = {0, 6, src} if indirect else {0, 6}
        case _:
            found = set()
    return frozenset(register for register in found if type(register) is int)
