# SPDX-License-Identifier: Apache-2.0
"""Pieces of generated programs that access the stack, the context and the packet."""

from __future__ import annotations

from prestocloud_sec.bpf.isa import (
    AluOp,
    Atomic,
    AtomicOp,
    BranchOp,
    Imm,
)
from prestocloud_sec.bpf.verifier.generator.numbers import (
    SIZES,
    index,
)
from prestocloud_sec.bpf.verifier.generator.writer import Label, Writer

__all__ = ["compare", "context", "packet", "spill", "stack", "stack_pointer", "use", "vary"]

_FLIP = {
    BranchOp.GT: BranchOp.LT,
    BranchOp.GE: BranchOp.LE,
    BranchOp.LT: BranchOp.GT,
    BranchOp.LE: BranchOp.GE,
}

# --- Memory.


def use(w: Writer, base: int, size: int, *, write: bool = True, read: bool = True, atomic: bool = True) -> None:
    """Access memory of `size` bytes at a pointer, at a place that is known."""
    rng = w.rng
    width = rng.choice([s for s in SIZES if s <= max(size, 1)])
    offset = rng.randrange(0, max(size - width, 0) + 1)
    if w.slips():
        offset = rng.choice((size, size - width + 1, -1, -width, size + 100))
    draw = rng.random()
    dst = rng.choice([r for r in (0, 1, 2, 3, 4, 5, 7, 8) if r != base or w.slips()])
    if draw < 0.5 and read:
        w.load(width, dst, base, offset, signed=w.chance(0.15))
        w.ready.add(dst)
    elif draw < 0.9 and write:
        w.store(width, base, offset, w.some() if w.chance(0.5) else Imm(w.constant()))
    elif write and read and atomic and size >= 8:
        width = rng.choice((4, 8))
        place = width * rng.randrange(size // width)
        if w.slips():
            place = rng.choice((place + 1, size, -8))
        op = rng.choice(tuple(AtomicOp))
        fetch = w.chance(0.5) or op in (AtomicOp.XCHG, AtomicOp.CMPXCHG)
        if op is AtomicOp.CMPXCHG and 0 not in w.ready and not w.slips():
            w.mov(0, Imm(0))
        src = w.some()
        if src in (6, 9, 10):
            src = 7
        w.add(Atomic(op, fetch, width, base, place, src))
    elif write:
        w.store(width, base, offset, Imm(1))
    else:
        w.load(width, dst, base, offset)


def vary(w: Writer, base: int, size: int, end: Label, **how: bool) -> None:
    """Access memory of `size` bytes at a pointer, at a place that only a run tells."""
    rng = w.rng
    width = rng.choice([s for s in SIZES if s <= max(size, 1)])
    fixed = rng.randrange(0, max(size - width, 0) // 2 + 1)
    register = rng.choice([r for r in (1, 2, 3, 5, 8) if r != base])
    if base < 6:
        w.mov(9, base)
        base = 9
    index(w, register, max(size - width - fixed, 0), end)
    w.alu(AluOp.ADD if not w.slips(0.5) else rng.choice((AluOp.SUB, AluOp.MUL, AluOp.OR)), base, register)
    if w.slips():
        fixed += rng.choice((1, -1, 8))
    use_at(w, base, fixed, width, **how)


def use_at(w: Writer, base: int, offset: int, width: int, *, write: bool = True, read: bool = True) -> None:
    """Access memory at a pointer."""
    dst = w.rng.choice([r for r in (0, 1, 2, 3, 4, 5) if r != base])
    if (w.chance(0.5) and read) or not write:
        w.load(width, dst, base, offset, signed=w.chance(0.1))
    else:
        w.store(width, base, offset, 7 if 7 in w.ready and w.chance(0.5) else Imm(w.constant()))


def stack(w: Writer) -> None:
    """Store to the stack, and load from it."""
    rng = w.rng
    for _ in range(rng.randint(1, 3)):
        size = rng.choice(SIZES)
        offset = -size * rng.randint(1, 64 // size)
        if w.slips():
            offset = rng.choice((0, -1, 8, -513, -520, offset + 1, -512))
        if w.chance(0.5):
            src: int | Imm = w.some() if w.chance(0.6) else Imm(w.constant())
            w.store(size, 10, offset, src)
            w.written.update(range(offset, offset + size))
        elif w.written.issuperset(range(offset, offset + size)) or w.slips(3):
            dst = w.free()
            w.load(size, dst, 10, offset, signed=w.chance(0.15))
            w.ready.add(dst)
        else:
            w.store(size, 10, offset, Imm(w.constant()))
            w.written.update(range(offset, offset + size))


def stack_pointer(w: Writer) -> None:
    """Access the stack at a place that only a run tells, or through a copy of r10."""
    with w.piece() as end:
        size = w.rng.choice((8, 16, 32))
        offset = -size - 8 * w.rng.randint(0, 4)
        w.fill(offset, size)
        w.frame(9, offset)
        if w.chance(0.5):
            use(w, 9, size)
        else:
            vary(w, 9, size, end)


def spill(w: Writer) -> None:
    """Keep a pointer on the stack, and go on with what is loaded again."""
    offset = -8 * w.rng.randint(1, 8)
    which = w.rng.choice((6, 10, 6))
    w.store(8, 10, offset, which)
    if w.slips():
        w.store(w.rng.choice((1, 4)), 10, offset + w.rng.choice((0, 4)), Imm(0))
    w.load(8 if not w.slips() else 4, 1, 10, offset)
    w.ready.discard(1)
    w.written.update(range(offset, offset + 8))
    if which == 6 and w.target.fields:
        place, size = w.rng.choice(w.target.fields)
        w.load(size, 0, 1, place)
    else:
        w.store(8, 1, -8, Imm(0))
        w.written.update(range(-8, 0))
        w.load(8, 0, 1, -8)
    w.ready.add(0)


def context(w: Writer) -> None:
    """Read or write a field of the context."""
    rng, target = w.rng, w.target
    if w.slips(2):
        size = rng.choice(SIZES)
        offset = rng.choice((rng.randrange(0, target.size + 8), size * rng.randrange(target.size // size + 2)))
        if w.chance(0.6):
            w.load(size, w.free(), 6, offset, signed=w.chance(0.1))
        else:
            w.store(size, 6, offset, w.some() if w.chance(0.6) else Imm(0))
        return
    if target.writes and w.chance(0.4):
        offset, size = rng.choice(target.writes)
        w.store(size, 6, offset, w.some() if w.chance(0.7) else Imm(w.constant()))
    elif target.fields:
        offset, size = rng.choice(target.fields)
        dst = w.free()
        w.load(size, dst, 6, offset)
        w.ready.add(dst)


def packet(w: Writer) -> None:
    """Read or write bytes of the packet, after comparing with its end."""
    if w.target.packet is None:
        return
    rng = w.rng
    with w.piece() as end:
        data, last = w.target.packet
        if w.slips(0.5):
            data, last = last, data
        w.load(4, 2, 6, data)
        w.load(4, 3, 6, last)
        w.ready -= {2, 3}
        size = rng.choice((1, 2, 4, 8, 14, 20, 34, 64))
        pointer = 2
        if w.chance(0.35):
            limit = rng.choice((7, 15, 63, 255, 0xFFF, 0xFFFF - size))
            w.mov(9, 2)
            w.store(8, 10, -72, 3)
            index(w, 5, limit, end)
            w.alu(AluOp.ADD, 9, 5)
            w.load(8, 3, 10, -72)
            w.written.update(range(-72, -64))
            w.ready -= {3}
            pointer = 9
        shift = rng.choice((0, 0, 0, 4, 14))
        if shift:
            w.alu(AluOp.ADD, pointer, Imm(shift))
        compare(w, pointer, 3, 4, size, end)
        w.ready -= {4}
        writes = w.target.writable or w.slips()
        for _ in range(rng.randint(1, 2)):
            if w.chance(0.1) and size >= 4:
                vary(w, pointer, size, end, write=writes)
                break
            use(w, pointer, size, write=writes, atomic=w.slips())
            if pointer not in (2, 9) or (pointer in w.ready):
                break


def compare(w: Writer, pointer: int, last: int, scratch: int, size: int, end: Label) -> None:
    """Compare a pointer and `size` bytes more with the packet's end; behind it, they are there."""
    rng = w.rng
    known = size - (rng.choice((1, size)) if w.slips() else 0)
    w.mov(scratch, pointer)
    w.alu(AluOp.ADD, scratch, Imm(known))
    op = rng.choice((BranchOp.GT, BranchOp.GT, BranchOp.LE, BranchOp.GE, BranchOp.LT))
    if w.slips(0.3):
        op = rng.choice((BranchOp.EQ, BranchOp.NE, BranchOp.SGT))
    inside = Label()
    if w.chance(0.3) and op in _FLIP:
        first, second, shown = last, scratch, _FLIP[op]
    else:
        first, second, shown = scratch, last, op
    if op in (BranchOp.GT, BranchOp.GE):
        w.branch(shown, first, second, end)
    elif op in (BranchOp.LE, BranchOp.LT):
        w.branch(shown, first, second, inside)
        w.jump(end)
        w.place(inside)
    else:
        w.branch(shown, first, second, end)
