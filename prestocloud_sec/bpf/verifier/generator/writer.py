# SPDX-License-Identifier: Apache-2.0
"""Programs under construction for a verifier: instructions, labels, and which registers hold numbers.

A `Writer` is what pieces (`prestocloud_sec.bpf.verifier.generator.pieces`) write with. It knows enough of a program to
write what a kernel takes, and is careless now and then, so that some of it is refused.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prestocloud_sec.bpf.helpers.prototypes import by_name
from prestocloud_sec.bpf.isa import (
    Alu,
    AluOp,
    Branch,
    BranchOp,
    CallHelper,
    CallKfunc,
    CallLocal,
    Imm,
    ImmKind,
    Instruction,
    Jump,
    Load,
    LoadImm64,
    MayGoto,
    Store,
)
from prestocloud_sec.bpf.object import Btf, declare
from prestocloud_sec.bpf.program import Program
from prestocloud_sec.bpf.verifier.generator.tables import DECLARATIONS, ENDING, GLOBAL, PAIR, Target
from prestocloud_sec.bpf.verifier.trials import Cell, assembled

__all__ = ["Label", "Writer"]

_DESCRIBED = 0.35
_INTERESTING = (0, 1, -1, 2, 7, 8, 15, 16, 31, 32, 47, 48, 63, 64, 0xFF, 0x100, 0x7FFF, 0xFFFF, 0x10000)
_EXTREME = (0x7FFFFFFF, -0x80000000, -0x7FFFFFFF, 0x1FFFFFFF, 0x20000000, -2, -8, -0xFFFF)


class Label:
    """A place that is given later."""

    __slots__ = ("cell",)

    def __init__(self) -> None:
        self.cell: Cell | None = None


class Writer:
    """See the head of this module.

    Attributes
    ----------
    rng : random.Random
    target : Target
    careless : float
        How likely each choice is a wrong one.
    ready : set of int
        Registers that hold numbers.
    written : set of int
        Offsets of stack bytes that were written on every way.
    described : bool
        Whether BTF says what the functions are, so that some may be judged by themselves.
    """

    def __init__(self, rng: random.Random, target: Target, careless: float) -> None:
        self.rng = rng
        self.target = target
        self.careless = careless
        self.cells: list[Cell] = []
        self.ready: set[int] = set()
        self.written: set[int] = set()
        self.depth = 0
        self.functions: list[tuple[Cell, str]] = []
        self.described = rng.random() < _DESCRIBED
        self._linkages: dict[str, bool] = {}
        self._open: list[Label] = []
        self._leads: list[tuple[Cell, Label]] = []

    # --- Choices.

    def slips(self, often: float = 1.0) -> bool:
        """Whether to be careless here."""
        return self.rng.random() < self.careless * often

    def chance(self, likely: float) -> bool:
        """Return True as likely as that."""
        return self.rng.random() < likely

    def constant(self) -> int:
        """Return a number for an immediate."""
        rng = self.rng
        draw = rng.random()
        if draw < 0.6:
            return rng.choice(_INTERESTING)
        if draw < 0.75:
            return rng.choice(_EXTREME)
        if draw < 0.9:
            return rng.choice((1, -1)) * (1 << rng.randrange(31)) + rng.choice((0, 0, -1, 1))
        return rng.randint(-(1 << 31), (1 << 31) - 1)

    def some(self) -> int:
        """Return a register that holds a number, unless careless."""
        if self.slips(0.3) or not self.ready:
            return self.rng.randrange(11)
        return self.rng.choice(sorted(self.ready))

    def free(self) -> int:
        """Return a register to write to."""
        if self.slips(0.05):
            return self.rng.choice((6, 10))
        return self.rng.choice((0, 1, 2, 3, 4, 5, 7, 8))

    # --- Instructions.

    def add(self, instruction: Instruction) -> Cell:
        """Append an instruction."""
        cell = Cell(instruction)
        for label in self._open:
            label.cell = cell
        self._open.clear()
        self.cells.append(cell)
        return cell

    def place(self, label: Label) -> None:
        """Let a label stand for the next instruction."""
        self._open.append(label)

    def lead(self, instruction: Instruction, label: Label) -> None:
        """Append an instruction that leads to a label."""
        self._leads.append((self.add(instruction), label))

    def alu(self, op: AluOp, dst: int, src: int | Imm, bits: int = 64) -> None:
        """Append arithmetic."""
        self.add(Alu(op, bits, dst, src))

    def mov(self, dst: int, src: int | Imm, bits: int = 64) -> None:
        """Append a move."""
        self.add(Alu(AluOp.MOV, bits, dst, src))

    def load(self, size: int, dst: int, base: int, offset: int, *, signed: bool = False) -> None:
        """Append a load."""
        self.add(Load(size, signed and size < 8, dst, base, max(min(offset, 32767), -32768)))

    def store(self, size: int, base: int, offset: int, src: int | Imm) -> None:
        """Append a store."""
        self.add(Store(size, base, max(min(offset, 32767), -32768), src))

    def branch(self, op: BranchOp, dst: int, src: int | Imm, label: Label, bits: int = 64) -> None:
        """Append a branch."""
        self.lead(Branch(op, bits, dst, src, 0), label)

    def jump(self, label: Label) -> None:
        """Append a jump."""
        self.lead(Jump(0), label)

    def may_goto(self, label: Label) -> None:
        """Append a loop's emergency exit."""
        self.lead(MayGoto(0), label)

    def map(self, dst: int, number: int) -> None:
        """Append a load of a map."""
        self.add(LoadImm64(dst, ImmKind.MAP_FD, number))

    def call(self, helper: int | str) -> None:
        """Append a call of a helper, by number or name; r0 is a number, or for the caller to say."""
        self.add(CallHelper(by_name()[helper].number if isinstance(helper, str) else helper))
        self.lose()
        self.ready.add(0)

    def lose(self) -> None:
        """Note that r0 to r5 hold nothing any more."""
        self.ready -= {0, 1, 2, 3, 4, 5}

    def call_function(self, name: str) -> None:
        """Append a call of a function that is written later."""
        self.functions.append((self.add(CallLocal(0)), name))
        self.lose()
        self.ready.add(0)

    def is_global(self, name: str) -> bool:
        """Whether a function is to be judged by itself."""
        if not self.described:
            return False
        if name not in self._linkages:
            self._linkages[name] = name in GLOBAL and (name in ENDING or self.chance(0.6))
        return self._linkages[name]

    def kfunc(self, name: str) -> None:
        """Append a call of a kernel function."""
        self.add(CallKfunc(0)).kfunc = name
        self.lose()

    def function(self, dst: int, name: str) -> None:
        """Append a load of a function's address."""
        self.functions.append((self.add(LoadImm64(dst, ImmKind.FUNCTION, 0)), name))

    def frame(self, dst: int, offset: int) -> None:
        """Append what makes a register point to the stack."""
        self.mov(dst, 10)
        self.alu(AluOp.ADD, dst, Imm(offset))
        self.ready.discard(dst)

    def fill(self, offset: int, size: int) -> None:
        """Append stores of numbers to `size` bytes of the stack; careless ones are left out."""
        while size > 0:
            width = next(w for w in (8, 4, 2, 1) if w <= size and not offset % w)
            if not self.slips(0.5):
                src: int | Imm = self.some() if self.chance(0.4) and self.ready else Imm(self.rng.randint(0, 5))
                self.store(width, 10, offset, src)
                self.written.update(range(offset, offset + width))
            offset, size = offset + width, size - width

    @contextmanager
    def piece(self) -> Iterator[Label]:
        """Write something that can be left by a jump to the label given; what it finds out is forgotten behind it."""
        end, ready, written = Label(), self.ready.copy(), self.written.copy()
        self.depth += 1
        yield end
        self.depth -= 1
        self.place(end)
        self.ready &= ready
        self.written &= written

    # --- The whole.

    def finish(self, functions: dict[str, Callable[[Writer], None]]) -> Program:
        """Write the functions that were called, and link everything."""
        starts: dict[str, Cell] = {}
        while self.functions:
            pending, self.functions = self.functions, []
            for cell, name in pending:
                if name not in starts:
                    at = len(self.cells)
                    functions[name](self)
                    starts[name] = self.cells[at]
                cell.target = starts[name]
        for cell, label in self._leads:
            cell.target = label.cell
        return assembled(self.cells, self._types(starts) if self.described else None, self.target.type)

    def _types(self, starts: dict[str, Cell]) -> Btf:
        """Say of the functions what they are."""
        linkages = {name: "" if self.is_global(name) else "static " for name in starts}
        # Places instead of slots, which are not known yet: only the ids are taken, and they go with the cells.
        texts = {n: linkages[name] + DECLARATIONS[name] for n, name in enumerate(starts, 1)}
        types = declare({0: "int program(void *ctx)", **texts}, PAIR)
        ids = list(types.functions.values())
        for cell, id in zip((self.cells[0], *starts.values()), ids, strict=True):
            cell.type = id
        return types.btf
