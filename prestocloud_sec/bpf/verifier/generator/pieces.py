# SPDX-License-Identifier: Apache-2.0
"""What generated programs for verifiers are made of: pieces that do one thing as a person would, or carelessly.

Registers: r6 keeps the context, r7 and r8 numbers, r9 belongs to the piece that is written; r0 to r5 are scratch. A
piece may contain others. Wherever a check is due, a careless `Writer` leaves it out, or makes it wrong by one.
"""

from __future__ import annotations

from collections.abc import Callable

from prestocloud_sec.bpf.isa import (
    AluOp,
    BranchOp,
    Exit,
    Imm,
)
from prestocloud_sec.bpf.verifier.generator.functions import FUNCTIONS, call, callback
from prestocloud_sec.bpf.verifier.generator.helpers import adjust, legacy, odd, plain, tail
from prestocloud_sec.bpf.verifier.generator.iterators import iterate
from prestocloud_sec.bpf.verifier.generator.maps import change, direct, lookup, nested, output, queue, ring
from prestocloud_sec.bpf.verifier.generator.memory import context, packet, spill, stack, stack_pointer, use
from prestocloud_sec.bpf.verifier.generator.numbers import (
    arithmetic,
    constant,
    surprise,
    unary,
    unknown,
)
from prestocloud_sec.bpf.verifier.generator.writer import Label, Writer

__all__ = ["FUNCTIONS", "PIECES", "finish", "some", "start"]

# --- Ways.


def condition(w: Writer, label: Label) -> None:
    """Branch on some number."""
    rng = w.rng
    src: int | Imm = w.some() if w.chance(0.3) else Imm(w.constant())
    w.branch(rng.choice(tuple(BranchOp)), w.some(), src, label, rng.choice((64, 64, 32)))


def branch(w: Writer) -> None:
    """Do one thing or another."""
    otherwise, behind = Label(), Label()
    with w.piece() as end:
        before, written = w.ready.copy(), w.written.copy()
        condition(w, otherwise)
        some(w)
        first, first_written = w.ready.copy(), w.written.copy()
        w.ready, w.written = before, written
        if w.chance(0.5):
            w.jump(behind)
            w.place(otherwise)
            some(w)
            w.place(behind)
        else:
            w.place(otherwise)
        w.ready &= first
        w.written &= first_written
        del end


def loop(w: Writer) -> None:
    """Do something several times."""
    rng = w.rng
    with w.piece() as end:
        top = Label()
        count = rng.choice((2, 3, 5, 9, 20)) if not w.slips(0.01) else 100_000
        w.fill(-192, 32)
        kept = w.ready.copy()
        w.mov(9, Imm(0))
        bounded = w.chance(0.2)
        if bounded:
            unknown(w, 8)
            w.alu(AluOp.AND, 8, Imm(rng.choice((3, 7, 15))))
            w.mov(9, Imm(0))
        w.ready &= {7}
        w.place(top)
        if w.chance(0.05) or w.slips():
            w.may_goto(end)
        if w.chance(0.5):
            arithmetic(w)
        if w.chance(0.5):
            w.frame(3, -192)
            w.mov(4, 9)
            if not w.slips():
                w.alu(AluOp.AND, 4, Imm(3))
            w.alu(AluOp.LSH, 4, Imm(3))
            w.alu(AluOp.ADD, 3, 4)
            use(w, 3, 8)
        elif w.depth < 2 and w.chance(0.3):
            condition(w, end)
        w.ready &= kept
        step = rng.choice((1, 1, 2)) if not w.slips() else 0
        if step:
            w.alu(AluOp.ADD, 9, Imm(step))
        limit: int | Imm = 8 if bounded and w.chance(0.5) else Imm(count)
        until = (BranchOp.NE,) if step == 1 and isinstance(limit, Imm) else ()
        w.branch(rng.choice((BranchOp.LT, BranchOp.SLT, BranchOp.LE, *until)), 9, limit, top, rng.choice((64, 32)))


def leave(w: Writer) -> None:
    """End the program early."""
    with w.piece() as end:
        condition(w, end)
        result(w)
        w.add(Exit())


# --- Beginning and end.


def start(w: Writer) -> None:
    """Keep the context, and let r7 and r8 hold numbers."""
    w.mov(6, 1)
    if w.slips(0.2):
        return
    for register in (7, 8):
        if w.chance(0.6):
            unknown(w, register)
        else:
            w.mov(register, Imm(w.constant()))
            w.ready.add(register)


def result(w: Writer) -> None:
    """Let r0 be something that may be returned."""
    least, most = w.target.results
    if w.slips():
        w.mov(0, w.some() if w.chance(0.5) else Imm(most + 1))
    elif 0 in w.ready and w.chance(0.4):
        if most <= 3:
            w.alu(AluOp.AND, 0, Imm(most))
    elif w.chance(0.2):
        w.mov(0, w.some())
        w.alu(AluOp.AND, 0, Imm(most))
    else:
        w.mov(0, Imm(w.rng.randint(least, most)))


def finish(w: Writer) -> None:
    """Return from the program."""
    if not w.slips(0.2):
        result(w)
    w.add(Exit())


def some(w: Writer) -> None:
    """Write a piece, one that contains none where it is contained in two."""
    w.rng.choice(PIECES if w.depth < 2 else _SIMPLE)(w)


def iterators(w: Writer) -> None:
    """Go through what an iterator gives."""
    iterate(w, some)


_SIMPLE = (arithmetic, arithmetic, unary, constant, surprise, stack, context, spill, plain)
PIECES: tuple[Callable[[Writer], None], ...] = (
    *_SIMPLE,
    stack_pointer, stack_pointer,
    packet, packet, packet, packet,
    lookup, lookup, lookup, lookup,
    direct, direct,
    nested, change, queue, ring, ring, output, output,
    branch, branch, branch, loop, loop, leave, call, call, callback, iterators, iterators,
    adjust, legacy, tail, odd, odd,
)  # fmt: skip
"""What a program is made of, the frequent ones more than once."""
