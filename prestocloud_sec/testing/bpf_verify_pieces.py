# SPDX-License-Identifier: Apache-2.0
"""What generated programs for verifiers are made of: pieces that do one thing as a person would, or carelessly.

Registers: r6 keeps the context, r7 and r8 numbers, r9 belongs to the piece that is written; r0 to r5 are scratch. A
piece may contain others. Wherever a check is due, a careless `Writer` leaves it out, or makes it wrong by one.
"""

from __future__ import annotations

from collections.abc import Callable

from prestocloud_sec.bpf.isa import (
    Alu,
    AluOp,
    Atomic,
    AtomicOp,
    BranchOp,
    Exit,
    Extend,
    Imm,
    ImmKind,
    LegacyLoad,
    LoadAcquire,
    LoadImm64,
    Negate,
    StoreRelease,
    Swap,
    SwapKind,
)
from prestocloud_sec.bpf.program_type import SKB_TYPES, ProgramType
from prestocloud_sec.testing import bpf_verify_writer as maps
from prestocloud_sec.testing.bpf_verify_writer import MAPS, Label, Writer

__all__ = ["FUNCTIONS", "PIECES", "finish", "start"]

SIZES = (1, 2, 4, 8)
_ARITHMETIC = tuple(op for op in AluOp if op is not AluOp.MOV)
_KEYED = (
    maps.ARRAY,
    maps.ARRAY,
    maps.HASH,
    maps.PER_CPU,
    maps.LRU,
    maps.CONSTANTS,
    maps.TRIE,
    maps.WRITE_ONLY,
    maps.ODD,
)
_LEGACY = frozenset({ProgramType.SOCKET_FILTER, ProgramType.SCHED_CLS, ProgramType.CGROUP_SKB})
_TRACING = frozenset({ProgramType.KPROBE, ProgramType.TRACEPOINT, ProgramType.RAW_TRACEPOINT, ProgramType.PERF_EVENT})
_FLIP = {
    BranchOp.GT: BranchOp.LT,
    BranchOp.GE: BranchOp.LE,
    BranchOp.LT: BranchOp.GT,
    BranchOp.LE: BranchOp.GE,
}

# --- Numbers.


def arithmetic(w: Writer) -> None:
    """Compute with numbers."""
    for _ in range(w.rng.randint(1, 3)):
        dst, bits = w.some(), w.rng.choice((64, 64, 32))
        if dst == 6 and not w.slips():
            continue
        op = w.rng.choice(_ARITHMETIC)
        src: int | Imm = w.some() if w.chance(0.5) else Imm(w.constant())
        if isinstance(src, Imm) and not w.slips(0.3):
            if op in (AluOp.LSH, AluOp.RSH, AluOp.ARSH):
                src = Imm(w.rng.randrange(bits))
            elif op in (AluOp.DIV, AluOp.MOD, AluOp.SDIV, AluOp.SMOD) and not src.value:
                src = Imm(3)
        w.alu(op, dst, src, bits)


def unary(w: Writer) -> None:
    """Negate, swap, extend, move."""
    dst, src, rng = w.some(), w.some(), w.rng
    match rng.randrange(4):
        case 0:
            w.add(Negate(rng.choice((32, 64)), dst))
        case 1:
            w.add(Swap(rng.choice(tuple(SwapKind)), rng.choice((16, 32, 64)), dst))
        case 2:
            bits = rng.choice((32, 64))
            w.add(Extend(bits, dst, src, rng.choice((8, 16, 32) if bits == 64 else (8, 16))))
        case _:
            dst = w.free()
            w.mov(dst, src, rng.choice((32, 64, 64)))
            w.ready.add(dst)


def constant(w: Writer) -> None:
    """Load a number."""
    dst = w.free()
    if w.chance(0.3):
        w.add(LoadImm64(dst, ImmKind.INTEGER, w.rng.getrandbits(64) >> w.rng.randrange(64)))
    else:
        w.mov(dst, Imm(w.constant()), w.rng.choice((64, 64, 32)))
    w.ready.add(dst)


def unknown(w: Writer, dst: int) -> int:
    """Make a register hold something that only a run tells; return the greatest number it may be, -1 for any."""
    rng = w.rng
    match rng.randrange(4):
        case 0:
            w.call("get_prandom_u32")
            if dst:
                w.mov(dst, 0)
            most = -1
        case 1 | 2 if w.target.fields:
            offset, size = rng.choice(w.target.fields)
            w.load(size, dst, 6, offset)
            most = (1 << 8 * size) - 1 if size < 8 else -1
        case _:
            size = rng.choice(SIZES)
            offset = -8 * rng.randint(1, 8)
            w.call("get_prandom_u32")
            w.store(8, 10, offset, 0)
            w.written.update(range(offset, offset + 8))
            w.load(size, dst, 10, offset + rng.choice((0, 0, 8 - size)), signed=w.chance(0.2))
            most = (1 << 8 * size) - 1 if size < 8 else -1
    w.ready.add(dst)
    return most


def surprise(w: Writer) -> None:
    """Let r7 or r8 hold something unknown."""
    unknown(w, w.rng.choice((7, 8)))


def narrow(w: Writer, register: int, most: int, end: Label) -> None:
    """Let a register be within 0 to `most`, or leave to `end`; carelessly by one too much, or not quite."""
    rng = w.rng
    wrong = w.slips()
    limit = most + (rng.choice((1, 1, 2, 8, most)) if wrong else 0)
    bits = rng.choice((64, 64, 32)) if w.chance(0.25 if wrong else 0.05) else 64
    match rng.randrange(10):
        case 0 | 1:
            mask = (1 << limit.bit_length()) - 1 if wrong else (1 << (limit + 1).bit_length() - 1) - 1
            w.alu(AluOp.AND, register, Imm(mask & 0x7FFFFFFF), rng.choice((64, 32)))
        case 2:
            keep = max((limit + 1).bit_length() - 1, 0)
            w.alu(AluOp.LSH, register, Imm(32), 64)
            w.alu(AluOp.RSH, register, Imm(min(64 - keep, 63)), 64)
        case 3:
            w.alu(AluOp.MOD, register, Imm(limit + 1), rng.choice((64, 32)))
        case 4:
            w.branch(BranchOp.GT, register, Imm(limit), end, bits)
        case 5:
            w.branch(BranchOp.GE, register, Imm(limit + 1), end, bits)
        case 6:
            w.branch(BranchOp.SGT, register, Imm(limit), end, bits)
            if not w.slips(2):
                w.branch(BranchOp.SLT, register, Imm(0), end, bits)
        case 7:
            inside = Label()
            w.branch(BranchOp.LE, register, Imm(limit), inside, bits)
            w.jump(end)
            w.place(inside)
        case 8:
            inside = Label()
            w.mov(4 if register != 4 else 5, Imm(limit + 1))
            w.branch(BranchOp.LT, register, 4 if register != 4 else 5, inside, bits)
            w.jump(end)
            w.place(inside)
        case _:  # below 32 bits first, then exactly
            w.mov(register, register, 32)
            w.branch(BranchOp.GT, register, Imm(limit), end, 64)


def index(w: Writer, register: int, most: int, end: Label) -> None:
    """Let a register be an unknown number within 0 to `most`, by some way that a person may go."""
    rng = w.rng
    unknown(w, register)
    parts = rng.choice((1, 1, 1, 2))
    if parts == 2 and most >= 4:
        narrow(w, register, most // 2 if w.chance(0.7) else most, end)
        match rng.randrange(5):
            case 0:
                w.alu(AluOp.ADD, register, Imm(most - most // 2 if not w.slips() else most))
            case 1:
                w.alu(AluOp.LSH, register, Imm(1))
            case 2:
                w.alu(AluOp.MUL, register, Imm(2))
            case 3:
                other = 3 if register != 3 else 2
                w.mov(other, register)
                w.alu(rng.choice((AluOp.ADD, AluOp.OR, AluOp.XOR, AluOp.SUB)), register, other)
            case _:
                w.alu(AluOp.RSH, register, Imm(rng.randrange(3)))
    else:
        if w.chance(0.2):
            w.alu(rng.choice((AluOp.ADD, AluOp.SUB, AluOp.AND, AluOp.OR, AluOp.RSH)), register, Imm(rng.randint(0, 9)))
        narrow(w, register, most, end)
    if w.chance(0.1) and most >= 16:
        w.alu(AluOp.AND, register, Imm(~(rng.choice((1, 3, 7)))))
    if w.chance(0.1):
        copy(w, register)


def copy(w: Writer, register: int) -> None:
    """Put a register on the stack, and get it back."""
    offset = -8 * w.rng.randint(1, 8)
    size = 8 if not w.slips(3) else w.rng.choice((4, 2, 1))
    w.store(size, 10, offset, register)
    w.written.update(range(offset, offset + size))
    w.load(size, register, 10, offset)


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


# --- Maps.


def key(w: Writer, number: int) -> None:
    """Write a key to the stack; r2 points at it, r1 is the map."""
    size = MAPS[number].key_size
    offset = -8 * w.rng.randint(1, 8)
    if w.slips(0.5):
        w.frame(2, w.rng.choice((0, 8, -4, -512, -520, offset)))
    else:
        if size == 4:
            w.store(4, 10, offset, Imm(w.rng.randint(0, 4)))
        else:
            w.store(8, 10, offset, Imm(w.rng.randint(0, 8)))
        w.written.update(range(offset, offset + size))
        w.frame(2, offset)
    w.map(1, number if not w.slips(0.3) else w.rng.randrange(len(MAPS)))
    w.ready.discard(1)


def lookup(w: Writer) -> None:
    """Look a value up, and use it if it is there."""
    rng = w.rng
    number = rng.choice(_KEYED)
    spec = MAPS[number]
    with w.piece() as end:
        key(w, number)
        w.call("map_lookup_elem")
        w.ready.discard(0)
        pointer = 0
        if w.chance(0.4):
            pointer = 9
            w.mov(9, 0)
        if w.chance(0.1):
            w.store(8, 10, -80, 0)
            w.written.update(range(-80, -72))
        tested = 0 if w.chance(0.3) else pointer
        if not w.slips():
            null(w, tested, end)
        how = {"write": number != maps.CONSTANTS or w.slips(), "read": number != maps.WRITE_ONLY or w.slips()}
        for _ in range(rng.randint(1, 2)):
            if w.chance(0.4):
                vary(w, pointer, spec.value_size, end, **how)
                break
            use(w, pointer, spec.value_size, **how)
            if pointer in w.ready:
                break


def null(w: Writer, register: int, end: Label) -> None:
    """Leave to `end` where a pointer is null."""
    match w.rng.randrange(5):
        case 0 | 1:
            w.branch(BranchOp.EQ, register, Imm(0), end)
        case 2 | 3:
            there = Label()
            w.branch(BranchOp.NE, register, Imm(0), there)
            w.jump(end)
            w.place(there)
        case _:
            w.mov(5, Imm(0))
            w.branch(BranchOp.EQ, register, 5, end)


def direct(w: Writer) -> None:
    """Use a map's value by its address."""
    number = w.rng.choice((maps.GLOBALS, maps.CONSTANTS))
    size = MAPS[number].value_size
    write = number == maps.GLOBALS or w.slips()
    with w.piece() as end:
        offset = w.rng.choice((0, 8, size - 8)) if not w.slips() else w.rng.choice((size, size - 1, size + 1))
        w.add(LoadImm64(9, ImmKind.MAP_VALUE_FD, number, offset))
        if w.chance(0.5):
            use(w, 9, size - offset, write=write)
        else:
            vary(w, 9, size - offset, end, write=write)


def nested(w: Writer) -> None:
    """Look up in a map that is in a map."""
    with w.piece() as end:
        w.store(4, 10, -4, Imm(w.rng.randint(0, 2)))
        w.frame(2, -4)
        w.map(1, maps.NESTED)
        w.call("map_lookup_elem")
        if not w.slips():
            null(w, 0, end)
        w.mov(1, 0)
        w.store(4, 10, -4, Imm(0))
        w.frame(2, -4)
        w.call("map_lookup_elem")
        if not w.slips():
            null(w, 0, end)
        use(w, 0, 8)


def change(w: Writer) -> None:
    """Update or delete an element."""
    number = w.rng.choice(_KEYED)
    key(w, number)
    if w.chance(0.7):
        w.store(8, 10, -88, 2)
        size = MAPS[number].value_size
        offset = -160
        w.fill(offset, -(-size // 8) * 8)
        w.frame(3, offset)
        w.load(8, 2, 10, -88)
        w.written.update(range(-88, -80))
        w.mov(4, Imm(w.rng.choice((0, 0, 1, 2))))
        w.call("map_update_elem")
    else:
        w.call("map_delete_elem")


def queue(w: Writer) -> None:
    """Push to a queue, pop or peek."""
    which = w.rng.choice(("map_push_elem", "map_pop_elem", "map_peek_elem"))
    if which == "map_push_elem":
        w.fill(-8, 8)
    w.frame(2, -8 if not w.slips() else -4)
    w.map(1, maps.QUEUE if not w.slips(0.5) else w.rng.randrange(len(MAPS)))
    w.mov(3, Imm(0))
    w.call(which)
    w.written.update(range(-8, 0))


def ring(w: Writer) -> None:
    """Reserve a record of a ring buffer, fill it and submit or discard it."""
    rng = w.rng
    with w.piece() as end:
        size = rng.choice((8, 16, 24, 4))
        w.map(1, maps.RING)
        w.mov(2, Imm(size))
        if w.slips(0.3):
            unknown(w, 8)
            w.mov(2, 8)
            w.map(1, maps.RING)
        w.mov(3, Imm(0))
        w.call("ringbuf_reserve")
        if not w.slips(0.5):
            null(w, 0, end)
        w.mov(9, 0)
        w.ready.discard(0)
        use(w, 9, size)
        if w.slips(0.5) and w.depth < 3:
            branch(w)
        if not w.slips():
            w.mov(1, 9)
            w.mov(2, Imm(0))
            w.call(rng.choice(("ringbuf_submit", "ringbuf_discard")))
            w.ready.discard(0)
            if w.slips():
                use(w, 9, size)


def output(w: Writer) -> None:
    """Hand memory to a helper, with its length."""
    rng = w.rng
    with w.piece() as end:
        size = rng.choice((8, 16, 32))
        offset = -size - 8 * rng.randint(0, 4)
        w.fill(offset, size)
        if w.chance(0.5):
            index(w, 8, size - 1, end)
            if not w.slips() and w.chance(0.7):
                w.alu(AluOp.ADD, 8, Imm(1))
            length = 8
        else:
            w.mov(8, Imm(size if not w.slips() else rng.choice((0, -1, size + 1, 512))))
            length = 8
        match rng.randrange(4):
            case 0:
                w.map(1, maps.RING)
                w.frame(2, offset)
                w.mov(3, length)
                w.mov(4, Imm(0))
                w.call("ringbuf_output")
            case 1 if w.target.type in SKB_TYPES or w.target.type is ProgramType.XDP or w.slips():
                w.frame(1, offset)
                w.mov(2, length if w.slips(3) else Imm(size - size % 4))
                w.frame(3, offset)
                w.mov(4, Imm(size - size % 4))
                w.mov(5, Imm(0))
                w.call("csum_diff")
            case 2 if w.target.type in SKB_TYPES or w.slips():
                w.mov(1, 6)
                w.mov(2, Imm(rng.choice((0, 14, 0x7FFF))))
                w.frame(3, offset)
                w.mov(4, length)
                w.call("skb_load_bytes")
            case _:
                w.frame(1, offset)
                w.mov(2, length)
                w.mov(3, 7 if 7 in w.ready else Imm(0))
                if w.target.type in _TRACING or w.slips():
                    w.call("probe_read_kernel")
                else:
                    w.call("trace_printk")


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


def call(w: Writer) -> None:
    """Call a function of the program."""
    rng = w.rng
    which = rng.choice(("sum", "fill", "read"))
    if which == "sum":
        w.mov(1, w.some())
        w.mov(2, w.some())
        w.mov(3, Imm(3))
    elif which == "fill":
        w.frame(1, -16)
        w.mov(2, 7 if 7 in w.ready else Imm(1))
        w.written.update(range(-16, 0))
    else:
        w.mov(1, 6 if not w.slips() else 7)
    w.call_function(which)


def callback(w: Writer) -> None:
    """Let a helper call a function several times."""
    w.fill(-32, 16)
    if w.chance(0.5):
        if w.chance(0.5) and 7 in w.ready:
            w.mov(1, 7)
        else:
            w.mov(1, Imm(w.rng.choice((0, 1, 5, 100))))
        w.function(2, "turn")
        w.frame(3, -32)
    else:
        w.map(1, w.rng.choice((maps.ARRAY, maps.HASH)))
        w.function(2, "element")
        w.frame(3, -32)
    which = (
        "loop"
        if isinstance(w.cells[-3].instruction, LoadImm64) and w.functions[-1][1] == "turn"
        else "for_each_map_elem"
    )
    w.mov(4, Imm(0 if not w.slips() else 1))
    w.call(which)


# --- Helpers of types.


def plain(w: Writer) -> None:
    """Call a helper without arguments, or one that this type hardly has."""
    number = w.rng.choice(("ktime_get_ns", "get_prandom_u32", "get_smp_processor_id"))
    w.call(number if not w.slips() else w.rng.randrange(1, 212))


def adjust(w: Writer) -> None:
    """Let a helper move the packet's ends; pointers to it are stale then."""
    kind = w.target.type
    if w.target.packet is None:
        return
    with w.piece() as end:
        data, last = w.target.packet
        w.load(4, 9, 6, data)
        w.load(4, 3, 6, last)
        w.ready -= {3, 4}
        compare(w, 9, 3, 4, 8, end)
        w.mov(1, 6)
        if kind is ProgramType.XDP:
            w.mov(2, Imm(w.rng.choice((-8, 4, 0))))
            w.call(w.rng.choice(("xdp_adjust_head", "xdp_adjust_tail", "xdp_adjust_meta")))
        elif kind is ProgramType.SCHED_CLS or w.slips():
            w.mov(2, Imm(w.rng.choice((0, 20, 60))))
            if w.chance(0.5):
                w.call("skb_pull_data")
            else:
                w.mov(3, Imm(0))
                w.call("skb_change_tail")
        else:
            w.call("get_prandom_u32")
        if not w.slips() and kind in (ProgramType.XDP, ProgramType.SCHED_CLS):
            w.load(4, 9, 6, data)
            w.load(4, 3, 6, last)
            w.ready -= {3, 4}
            compare(w, 9, 3, 4, 8, end)
        use(w, 9, 8, write=w.target.writable, atomic=False)


def legacy(w: Writer) -> None:
    """Load from the packet as classic programs do."""
    if w.target.type not in _LEGACY and not w.slips():
        return
    size = w.rng.choice((1, 2, 4))
    if w.chance(0.6):
        w.add(LegacyLoad(size, False, 0, w.rng.choice((0, 12, 14, 23, -0x100000))))
    else:
        w.add(LegacyLoad(size, True, w.some(), w.rng.choice((0, 4))))
    w.lose()
    w.ready.add(0)


def tail(w: Writer) -> None:
    """Go on to another program."""
    w.mov(1, 6)
    w.map(2, maps.PROGRAMS if not w.slips() else w.rng.randrange(len(MAPS)))
    w.mov(3, w.some() if w.chance(0.5) else Imm(w.rng.randint(0, 5)))
    w.call("tail_call")
    if not w.slips():
        w.ready.discard(0)


def odd(w: Writer) -> None:
    """Do what a privileged program may do with pointers, or nobody."""
    rng = w.rng
    pointer = rng.choice((6, 10))
    match rng.randrange(9):
        case 0:
            w.mov(1, pointer)
            w.alu(AluOp.SUB, 1, pointer)
            w.ready.discard(1)
        case 1:
            w.mov(1, pointer)
            w.alu(rng.choice((AluOp.MUL, AluOp.AND, AluOp.LSH)) if w.slips(3) else AluOp.ADD, 1, Imm(8))
            w.ready.discard(1)
        case 2:
            w.mov(1, pointer, 32)
            w.ready.add(1)
        case 3:
            with w.piece() as end:
                w.branch(rng.choice((BranchOp.EQ, BranchOp.NE, BranchOp.GT)), pointer, rng.choice((Imm(0), 10, 7)), end)
                some(w)
        case 4:
            w.mov(1, 10)
            w.alu(AluOp.ADD, 1, Imm(rng.choice((-8, -520, 8))))
            w.load(8, 0, 1, rng.choice((0, -8, 8, 512)))
            w.ready.discard(1)
            w.ready.add(0)
        case 5:
            w.mov(1, 7)
            w.alu(AluOp.ADD, 1, pointer)
            w.ready.discard(1)
            if w.slips():
                w.load(8, 0, 1, -8)
        case 6:
            w.add(LoadAcquire(8, 0, 10, -8))
            w.ready.add(0)
        case 7:
            w.add(StoreRelease(8, 10, -8, w.some()))
            w.written.update(range(-8, 0))
        case _:
            w.add(Alu(AluOp.SUB, 32, 1 if 1 in w.ready else 7, Imm(1)))


# --- Functions.


def _function(w: Writer, body: Callable[[Writer], None]) -> None:
    kept = w.ready, w.written, w.depth
    w.ready, w.written, w.depth = set(), set(), 3
    body(w)
    w.ready, w.written, w.depth = kept


def _sum(w: Writer) -> None:
    w.ready = {1, 2, 3}
    arithmetic(w)
    if w.chance(0.3):
        stack(w)
    w.mov(0, w.rng.choice((1, 2, 3)))
    if w.slips():
        w.call_function("sum")
    w.add(Exit())


def _fill(w: Writer) -> None:
    w.ready = {2}
    w.store(8, 1, 0, 2)
    w.store(8, 1, 8 if not w.slips() else 16, Imm(7))
    if w.chance(0.3):
        w.load(8, 2, 1, 0)
    w.mov(0, 2 if not w.slips() else 1)
    w.add(Exit())


def _read(w: Writer) -> None:
    w.mov(0, Imm(0))
    for offset, size in w.target.fields[:1]:
        w.load(size, 0, 1, offset)
    w.add(Exit())


def _turn(w: Writer) -> None:
    w.ready = {1}
    w.mov(0, Imm(0))
    w.ready.add(0)
    with w.piece() as end:
        if w.chance(0.5):
            w.branch(w.rng.choice((BranchOp.GT, BranchOp.LT)), 1, Imm(w.rng.choice((1, 8, 100))), end)
        use(w, 2, 16)
        w.mov(0, Imm(w.rng.choice((0, 1)) if not w.slips() else 2))
    w.mov(0, Imm(0)) if w.chance(0.8) else w.alu(AluOp.AND, 0, Imm(1))
    w.add(Exit())


def _element(w: Writer) -> None:
    use(w, 3, 8, atomic=False)
    w.frame(1, -8)
    w.store(8, 1, 0, Imm(0))
    w.mov(0, Imm(0 if not w.slips() else 2))
    w.add(Exit())


FUNCTIONS: dict[str, Callable[[Writer], None]] = {
    name: lambda w, body=body: _function(w, body)  # type: ignore[misc]
    for name, body in (("sum", _sum), ("fill", _fill), ("read", _read), ("turn", _turn), ("element", _element))
}
"""The functions that pieces call, by name."""


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


_SIMPLE = (arithmetic, arithmetic, unary, constant, surprise, stack, context, spill, plain)
PIECES: tuple[Callable[[Writer], None], ...] = (
    *_SIMPLE,
    stack_pointer, stack_pointer,
    packet, packet, packet, packet,
    lookup, lookup, lookup, lookup,
    direct, direct,
    nested, change, queue, ring, ring, output, output,
    branch, branch, branch, loop, loop, leave, call, callback,
    adjust, legacy, tail, odd, odd,
)  # fmt: skip
"""What a program is made of, the frequent ones more than once."""
