# SPDX-License-Identifier: Apache-2.0
"""Pieces of generated programs that call helpers of their type, and do what few may."""

from __future__ import annotations

from prestocloud_sec.bpf.isa import (
    Alu,
    AluOp,
    BranchOp,
    Imm,
    LegacyLoad,
    LoadAcquire,
    StoreRelease,
)
from prestocloud_sec.bpf.program_type import ProgramType
from prestocloud_sec.bpf.verifier.generator import tables as maps
from prestocloud_sec.bpf.verifier.generator.memory import compare, use
from prestocloud_sec.bpf.verifier.generator.numbers import arithmetic
from prestocloud_sec.bpf.verifier.generator.tables import MAPS
from prestocloud_sec.bpf.verifier.generator.writer import Writer

__all__ = ["LEGACY", "adjust", "legacy", "odd", "plain", "tail"]

LEGACY = frozenset({ProgramType.SOCKET_FILTER, ProgramType.SCHED_CLS, ProgramType.CGROUP_SKB})
"""Types that load words of packets; the last one is refused when it does."""

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
    if w.target.type not in LEGACY and not w.slips():
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
                arithmetic(w)
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
