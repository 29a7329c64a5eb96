# SPDX-License-Identifier: Apache-2.0
"""Programs written in Python: each statement about the builder's registers and memory is one instruction.

The statements read as the kernel syntax does: ``b.r0 = b.u32[b.r1 + 4]`` is ``r0 = *(u32 *)(r1 + 4)``. Nothing is
rewritten or optimised; `Builder.program` gives exactly what assembling the text would give.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import overload

from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.bpf.isa import (
    ALWAYS_FETCH,
    REGISTERS,
    AddressSpaceCast,
    Alu,
    AluOp,
    Atomic,
    AtomicOp,
    CallHelper,
    CallKfunc,
    CallLocal,
    CallRegister,
    Exit,
    ImmKind,
    Instruction,
    Jump,
    LegacyLoad,
    LoadAcquire,
    LoadImm64,
    MayGoto,
    StoreRelease,
    Swap,
)
from prestocloud_sec.bpf.linking import Draft, Named, Reference, Statement
from prestocloud_sec.bpf.operands import (
    Cell,
    Condition,
    Memory,
    Register,
    Value,
    Wide,
    Written,
    immediate,
    sized_register,
    unsigned_cell,
    whole_register,
)
from prestocloud_sec.bpf.program import Program, ProgramType
from prestocloud_sec.bpf.syntax import SWAPS, check_symbol
from prestocloud_sec.wire import shown

__all__ = ["Builder"]


class _RegisterOf:
    """An attribute of a builder that reads as a register, and emits an instruction when it is assigned to."""

    def __init__(self, number: int, bits: int) -> None:
        self._number = number
        self._bits = bits

    @overload
    def __get__(self, builder: None, owner: type) -> _RegisterOf: ...
    @overload
    def __get__(self, builder: Builder, owner: type) -> Register: ...
    def __get__(self, builder: Builder | None, owner: type) -> Register | _RegisterOf:
        return self if builder is None else Register(self._number, self._bits, builder.emit)

    def __set__(self, builder: Builder, value: Value) -> None:
        if isinstance(value, Written) and (value.number, value.bits) == (self._number, self._bits):
            return
        if type(value) is int or not hasattr(value, "into"):
            builder.emit(Alu(AluOp.MOV, self._bits, self._number, immediate(value, self._bits)))
        else:
            builder.emit(value.into(self._number, self._bits))


class Builder:
    """A program under construction.

    Attributes
    ----------
    r0, ..., r10 : Register
        64-bit registers; assigning emits an instruction, and so do ``+=`` and the other operators with assignment.
    w0, ..., w10 : Register
        Their low 32 bits.
    u8, u16, u32, u64, s8, s16, s32 : Memory
        Memory by size: ``b.r0 = b.s8[b.r1]`` loads, ``b.u64[b.r10 - 8] = b.r1`` stores.

    Every statement that Python accepts but no instruction does raises `BpfMisuseError`.

    Examples
    --------
    >>> b = Builder()
    >>> b.r0 = 0
    >>> b.goto("done", when=b.r2 < 14)
    >>> b.r0 = b.u16[b.r1 + 12]
    >>> b.swap("be16", b.r0)
    >>> b.label("done")
    >>> b.exit()
    >>> print(b.program().disassemble())
        r0 = 0
        if r2 < 14 goto done
        r0 = *(u16 *)(r1 + 12)
        r0 = be16 r0
    done:
        exit
    """

    r0, r1, r2, r3, r4, r5, r6, r7, r8, r9, r10 = (_RegisterOf(number, 64) for number in range(REGISTERS))
    w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10 = (_RegisterOf(number, 32) for number in range(REGISTERS))

    def __init__(self) -> None:
        self._draft = Draft()

    def __setattr__(self, name: str, value: object) -> None:
        if name != "_draft" and not isinstance(getattr(type(self), name, None), _RegisterOf):
            raise BpfMisuseError(
                f"{shown(name)} is no register",
                where="Builder",
                expected="r0 to r10 or w0 to w10 on the left of =, or memory such as b.u32[b.r10 - 4]",
            )
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        return f"<Builder, {self._draft.slots} slots so far>"

    def emit(self, instruction: Statement) -> None:
        """Append an instruction as it is."""
        if not isinstance(instruction, Named | Instruction):
            raise BpfMisuseError(
                f"{shown(instruction)} is no instruction", expected="an object of prestocloud_sec.bpf.isa"
            )
        self._draft.add(instruction)

    @property
    def u8(self) -> Memory:
        """Memory as bytes."""
        return Memory(1, False, self.emit)

    @property
    def u16(self) -> Memory:
        """Memory as 16-bit numbers."""
        return Memory(2, False, self.emit)

    @property
    def u32(self) -> Memory:
        """Memory as 32-bit numbers."""
        return Memory(4, False, self.emit)

    @property
    def u64(self) -> Memory:
        """Memory as 64-bit numbers."""
        return Memory(8, False, self.emit)

    @property
    def s8(self) -> Memory:
        """Memory as signed bytes; only to load from."""
        return Memory(1, True, self.emit)

    @property
    def s16(self) -> Memory:
        """Memory as signed 16-bit numbers; only to load from."""
        return Memory(2, True, self.emit)

    @property
    def s32(self) -> Memory:
        """Memory as signed 32-bit numbers; only to load from."""
        return Memory(4, True, self.emit)

    def imm64(self, value: int) -> Wide:
        """Return a 64-bit number to assign, -2**63..2**64 - 1."""
        if type(value) is not int or not -(1 << 63) <= value < 1 << 64:
            raise BpfMisuseError(f"{shown(value)} does not fit 64 bits", expected="-2**63..2**64 - 1")
        return Wide(lambda dst: LoadImm64(dst, ImmKind.INTEGER, value & (1 << 64) - 1))

    def map(self, which: str | int) -> Wide:
        """Return a map to assign, by name or by descriptor."""
        return _map(which, ImmKind.MAP_FD, 0)

    def map_value(self, which: str | int, offset: int = 0) -> Wide:
        """Return the address of a byte of a map's first value, by the map's name or descriptor."""
        return _map(which, ImmKind.MAP_VALUE_FD, offset)

    def function(self, name: str) -> Wide:
        """Return the address of a function of this program."""
        check_symbol(name)
        return Wide(lambda dst: Named(lambda n: LoadImm64(dst, ImmKind.FUNCTION, n), Reference.FUNCTION, name, slots=2))

    def label(self, name: str) -> None:
        """Give the place of the next instruction a name.

        Raises
        ------
        BpfMisuseError
            If the name is taken, or not a word.
        """
        check_symbol(name)
        if name in self._draft.labels:
            raise BpfMisuseError(f"{shown(name)} is already defined", where="label", expected="a name of its own")
        self._draft.label(name)

    def goto(self, target: str | int, *, when: Condition | None = None, wide: bool = False) -> None:
        """Jump to a label, or a number of slots from the next instruction; only `when` a condition holds, if given.

        Parameters
        ----------
        target : str or int
            Where to.
        when : Condition, optional
            As ``b.r0 == 1``, ``b.w1 < b.w2``, ``b.r1 & 4``, ``b.r1.slt(-1)`` make it.
        wide : bool
            Use the form with 32 bits of distance (``gotol``), which has no condition.
        """
        if when is None:
            self._jump(target, lambda offset: Jump(offset, wide=wide))
        elif isinstance(when, Condition) and not wide:
            self._jump(target, when.branch)
        else:
            raise BpfMisuseError("no such jump", where="goto", expected="a condition such as b.r0 == 1, or wide=True")

    def may_goto(self, target: str | int) -> None:
        """Jump once the budget for loops is used up."""
        self._jump(target, MayGoto)

    def _jump(self, target: str | int, make: Callable[[int], Instruction], refers: Reference = Reference.PLACE) -> None:
        if isinstance(target, str):
            check_symbol(target)
            self.emit(Named(make, refers, target))
        else:
            self.emit(make(target))

    def call(self, helper: int | str) -> None:
        """Call a helper by its number, or one of the kernel by its name.

        Raises
        ------
        BpfMisuseError
            If there is no helper of that name, or the number is none of 32 bits.
        """
        if isinstance(helper, str):
            from prestocloud_sec.bpf.helpers.prototypes import prototype

            row = prototype(helper)
            if row is None:
                raise BpfMisuseError(
                    f"there is no helper {shown(helper)}", where="call", expected="a name such as bpf_map_lookup_elem"
                )
            helper = row.number
        self.emit(CallHelper(helper))

    def call_local(self, target: str | int) -> None:
        """Call a function of this program."""
        self._jump(target, CallLocal, Reference.FUNCTION)

    def call_kfunc(self, identifier: int | str, index: int = 0) -> None:
        """Call a kernel function by its name, or by its BTF identifier and the index of its BTF descriptor.

        Raises
        ------
        BpfMisuseError
            If the name is no word or has an index besides, or a number does not fit.
        """
        if not isinstance(identifier, str):
            self.emit(CallKfunc(identifier, index))
            return
        check_symbol(identifier)
        if type(index) is not int or index:
            raise BpfMisuseError(
                f"{shown(index)} is no index of a name",
                where="call_kfunc",
                expected="0: a name is looked up by a loader",
            )
        self.emit(Named(CallKfunc, Reference.KFUNC, identifier))

    def call_register(self, register: Register) -> None:
        """Call what a register holds (``callx``)."""
        self.emit(CallRegister(whole_register(register)))

    def exit(self) -> None:
        """Return."""
        self.emit(Exit())

    def swap(self, kind: str, register: Register) -> None:
        """Swap bytes in place: `kind` is ``le``, ``be`` or ``bswap`` with 16, 32 or 64, as in ``be16``."""
        if not isinstance(kind, str) or kind not in SWAPS:
            raise BpfMisuseError(f"{shown(kind)} is no swap", where="swap", expected=" or ".join(SWAPS))
        self.emit(Swap(*SWAPS[kind], whole_register(register)))

    def cast(self, dst: Register, src: Register, *, target: int, source: int) -> None:
        """Cast an address between the kernel's space (0) and an arena's (1)."""
        self.emit(AddressSpaceCast(whole_register(dst), whole_register(src), target, source))

    def atomic(self, op: str, cell: Cell, src: Register, *, fetch: bool = False) -> None:
        """Read, modify and write ``b.u32[...]`` or ``b.u64[...]`` in one step.

        Parameters
        ----------
        op : {"add", "or", "and", "xor", "xchg", "cmpxchg"}
            What to do; ``cmpxchg`` compares with r0.
        cell : Cell
            Where.
        src : Register
            The operand, which gets the old value if it is fetched (for ``cmpxchg``, r0 gets it).
        fetch : bool
            Whether to fetch; ``xchg`` and ``cmpxchg`` always do.
        """
        if not isinstance(op, str) or op not in set(AtomicOp):
            raise BpfMisuseError(f"{shown(op)} is no atomic operation", where="atomic", expected=", ".join(AtomicOp))
        operation = AtomicOp(op)
        always = operation in ALWAYS_FETCH
        at = unsigned_cell(cell).address
        self.emit(Atomic(operation, always or fetch, cell.size, at.base, at.offset, sized_register(src, cell.size)))

    def load_acquire(self, dst: Register, cell: Cell) -> None:
        """Load with acquire ordering."""
        at = unsigned_cell(cell).address
        self.emit(LoadAcquire(cell.size, sized_register(dst, cell.size), at.base, at.offset))

    def store_release(self, cell: Cell, src: Register) -> None:
        """Store with release ordering."""
        at = unsigned_cell(cell).address
        self.emit(StoreRelease(cell.size, at.base, at.offset, sized_register(src, cell.size)))

    def load_packet(self, size: int, offset: int, register: Register | None = None) -> None:
        """Load 1, 2 or 4 bytes of the packet into r0, in host byte order, at an offset that a register may add to."""
        src = 0 if register is None else whole_register(register)
        self.emit(LegacyLoad(size, register is not None, src, immediate(offset, 32).value))

    def program(self, *, type: ProgramType | None = None, name: str = "", license: str = "") -> Program:
        """Return the program so far.

        Raises
        ------
        BpfMisuseError
            If a name is used but not defined, or a jump is too far for its form.
        """
        instructions, symbols = self._draft.finish()
        return Program(instructions, type=type, name=name, license=license, symbols=symbols)


def _map(which: str | int, kind: ImmKind, second: int) -> Wide:
    if isinstance(which, str):
        name = which
        check_symbol(name)
        return Wide(lambda dst: Named(lambda n: LoadImm64(dst, kind, n, second), Reference.MAP, name, slots=2))
    return Wide(lambda dst: LoadImm64(dst, kind, which, second))
