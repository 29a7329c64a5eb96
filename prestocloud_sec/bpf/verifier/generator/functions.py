# SPDX-License-Identifier: Apache-2.0
"""Functions that generated programs call, or hand to helpers, and the pieces that do."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from prestocloud_sec.bpf.isa import AluOp, BranchOp, Exit, Imm, ImmKind, LegacyLoad, LoadImm64
from prestocloud_sec.bpf.verifier.generator import tables as maps
from prestocloud_sec.bpf.verifier.generator.helpers import LEGACY
from prestocloud_sec.bpf.verifier.generator.memory import stack, use
from prestocloud_sec.bpf.verifier.generator.numbers import arithmetic
from prestocloud_sec.bpf.verifier.generator.writer import Label, Writer

__all__ = ["FUNCTIONS", "call", "callback"]


def call(w: Writer) -> None:
    """Call a function of the program."""
    rng = w.rng
    names = ["sum", "fill", "read"]
    if w.described:
        names += ["maybe", "other"] + ["word"] * (w.target.type in LEGACY)
    which = rng.choice(names)
    if which == "sum":
        w.mov(1, w.some())
        w.mov(2, w.some())
        w.mov(3, Imm(3))
    elif which in ("fill", "maybe"):
        if which == "maybe" and w.chance(0.3):
            w.mov(1, Imm(0))
        elif w.chance(0.7):
            w.frame(1, -16 if not w.slips() else -8)
            w.written.update(range(-16, 0))
        else:
            w.add(LoadImm64(1, ImmKind.MAP_VALUE_FD, maps.GLOBALS if not w.slips() else maps.CONSTANTS, 8))
        w.mov(2, 7 if 7 in w.ready else Imm(1))
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
        helper = "loop"
    else:
        w.map(1, w.rng.choice((maps.ARRAY, maps.HASH)))
        w.function(2, "element")
        helper = "for_each_map_elem"
    w.frame(3, -32)
    w.mov(4, Imm(0 if not w.slips() else 1))
    w.call(helper)


# --- The functions.


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


def _maybe(w: Writer) -> None:
    end = Label()
    w.mov(0, Imm(0))
    if not w.slips():
        w.branch(BranchOp.EQ, 1, Imm(0), end)
    w.load(w.rng.choice((4, 8)), 0, 1, w.rng.choice((0, 8)))
    w.store(8, 1, w.rng.choice((0, 8)), 2)
    w.place(end)
    w.add(Exit())


def _read(w: Writer) -> None:
    w.mov(0, Imm(0))
    for offset, size in w.target.fields[:1]:
        w.load(size, 0, 1, offset)
    w.add(Exit())


def _word(w: Writer) -> None:
    """Load a word of the packet, which ends the function where there is none."""
    w.mov(6, 1)
    if w.chance(0.5):
        w.store(8, 10, -8, Imm(5))
    w.add(LegacyLoad(w.rng.choice((1, 2, 4)), False, 0, w.rng.choice((0, 14, 23))))
    if w.chance(0.5):
        w.mov(0, Imm(3))
    w.add(Exit())


def _other(w: Writer) -> None:
    """Go on to another program, for good."""
    w.map(2, maps.PROGRAMS)
    w.mov(3, Imm(w.rng.randint(0, 5)))
    w.call("tail_call")
    w.mov(0, Imm(w.rng.randint(0, 3)))
    w.add(Exit())


def _take(w: Writer) -> None:
    """Ask an iterator of the caller's for a number."""
    end = Label()
    w.kfunc("bpf_iter_num_next")
    w.branch(BranchOp.EQ, 0, Imm(0), end)
    w.mov(0, Imm(1))
    w.place(end)
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


_BODIES: dict[str, Callable[[Writer], None]] = {
    "sum": _sum,
    "fill": _fill,
    "maybe": _maybe,
    "read": _read,
    "word": _word,
    "other": _other,
    "take": _take,
    "turn": _turn,
    "element": _element,
}
FUNCTIONS: dict[str, Callable[[Writer], None]] = {name: partial(_function, body=body) for name, body in _BODIES.items()}
"""The functions that pieces call, by name."""
