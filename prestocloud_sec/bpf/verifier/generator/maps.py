# SPDX-License-Identifier: Apache-2.0
"""Pieces of generated programs that use maps and ring buffers, and hand memory to helpers."""

from __future__ import annotations

from prestocloud_sec.bpf.isa import (
    AluOp,
    BranchOp,
    Imm,
    ImmKind,
    LoadImm64,
)
from prestocloud_sec.bpf.program_type import SKB_TYPES, ProgramType
from prestocloud_sec.bpf.verifier.generator import tables as maps
from prestocloud_sec.bpf.verifier.generator.memory import use, vary
from prestocloud_sec.bpf.verifier.generator.numbers import (
    index,
    unknown,
)
from prestocloud_sec.bpf.verifier.generator.tables import MAPS
from prestocloud_sec.bpf.verifier.generator.writer import Label, Writer

__all__ = ["change", "direct", "lookup", "nested", "output", "queue", "ring"]

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
_TRACING = frozenset({ProgramType.KPROBE, ProgramType.TRACEPOINT, ProgramType.RAW_TRACEPOINT, ProgramType.PERF_EVENT})

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
