# SPDX-License-Identifier: Apache-2.0
"""Pieces of generated programs that go through what an iterator gives."""

from __future__ import annotations

from collections.abc import Callable

from prestocloud_sec.bpf.isa import AluOp, BranchOp, Imm
from prestocloud_sec.bpf.verifier.generator.memory import use
from prestocloud_sec.bpf.verifier.generator.numbers import arithmetic, narrow, unknown
from prestocloud_sec.bpf.verifier.generator.writer import Label, Writer
from prestocloud_sec.bpf.verifier.iterators import ITERATOR_KFUNCS

__all__ = ["iterate"]

_PLACES = (-200, -208, -216, -224)
_NAMES = tuple(ITERATOR_KFUNCS)


def iterate(w: Writer, some: Callable[[Writer], None]) -> None:
    """Go through numbers, or the bits of a word.

    Parameters
    ----------
    w : Writer
    some : callable
        Writes any piece.
    """
    kind = "num" if w.chance(0.8) else "bits"
    offset = -8 * w.depth + w.rng.choice(_PLACES) - 16 * (kind == "bits")
    ready = w.ready & {7, 8}
    with w.piece():
        top, out = Label(), Label()
        _new(w, kind, offset)
        w.ready.add(0)
        counted = w.chance(0.4)
        if counted:
            w.fill(-192, 32)
            w.mov(9, Imm(0))
        w.ready = ready.copy()
        w.place(top)
        _ask(w, kind, offset, out)
        with w.piece():
            _turn(w, out, some, counted=counted)
        w.ready &= ready
        if not w.slips(0.2):
            w.jump(top)
        w.place(out)
        if not w.slips(0.5):
            _at(w, offset)
            w.kfunc(f"bpf_iter_{kind}_destroy")
        w.ready = ready.copy()


def _at(w: Writer, offset: int) -> None:
    w.frame(1, offset if not w.slips(0.2) else offset + w.rng.choice((-8, 8, 4, 200)))


def _call(w: Writer, name: str) -> None:
    w.kfunc(name if not w.slips(0.3) else w.rng.choice(_NAMES))


def _new(w: Writer, kind: str, offset: int) -> None:
    if kind == "bits":
        w.fill(-72, 8)
        w.frame(2, -72)
        w.mov(3, Imm(w.rng.choice((0, 1, 1, 600))))
    else:
        if w.chance(0.3):
            unknown(w, 2)
        else:
            w.mov(2, Imm(w.rng.choice((0, 0, 1, -3))))
        w.mov(3, 7 if w.chance(0.2) and 7 in w.ready else Imm(w.rng.choice((0, 2, 5, 10, 100))))
    _at(w, offset)
    _call(w, f"bpf_iter_{kind}_new")


def _ask(w: Writer, kind: str, offset: int, out: Label) -> None:
    """Ask for one more, and leave where there is none."""
    if kind == "num" and w.chance(0.15):
        _at(w, offset)
        w.call_function("take")
        w.branch(BranchOp.EQ, 0, Imm(0), out)
        w.mov(0, Imm(0))
        w.ready.add(0)
        return
    _at(w, offset)
    _call(w, f"bpf_iter_{kind}_next")
    if not w.slips():
        w.branch(BranchOp.EQ, 0, Imm(0), out)
    if w.slips(0.3):
        w.store(4, 0, 0, Imm(1))
    else:
        w.load(4 if not w.slips(0.3) else 8, 2, 0, 0 if not w.slips(0.3) else 4)
        w.ready.add(2)


def _turn(w: Writer, out: Label, some: Callable[[Writer], None], *, counted: bool) -> None:
    """Do something with what was given."""
    if w.chance(0.3):
        w.branch(w.rng.choice((BranchOp.GT, BranchOp.EQ, BranchOp.SLT)), w.some(), Imm(w.constant()), out)
    if counted:
        with w.piece() as end:
            index = 2 if 2 in w.ready and w.chance(0.5) else 9
            w.mov(4, index)
            if not w.slips():
                narrow(w, 4, 3, end)
            w.alu(AluOp.LSH, 4, Imm(3))
            w.frame(3, -192)
            w.alu(AluOp.ADD, 3, 4)
            use(w, 3, 8)
            w.alu(AluOp.ADD, 9, Imm(1))
    if w.chance(0.4):
        arithmetic(w)
    if w.depth < 2 and w.chance(0.3):
        some(w)
