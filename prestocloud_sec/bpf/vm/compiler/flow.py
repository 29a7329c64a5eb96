# SPDX-License-Identifier: Apache-2.0
"""Jumps, branches and the end of a function."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestocloud_sec.bpf.isa import Branch, Exit, Jump, MayGoto
from prestocloud_sec.bpf.vm import layout
from prestocloud_sec.bpf.vm.compiler import arithmetic
from prestocloud_sec.bpf.vm.layout import State

if TYPE_CHECKING:
    from prestocloud_sec.bpf.vm.compiler.function import Function

__all__ = ["branch", "exit_", "jump", "may_goto"]


def jump(f: Function, _: Jump) -> None:
    """Go on elsewhere."""
    f.jump(f.targets[f.index] or 0)


def branch(f: Function, i: Branch) -> None:
    """Go on elsewhere on a condition; a jump back pays for what it leads to."""
    test = arithmetic.condition(f, i)
    target = f.targets[f.index] or 0
    if target <= f.index:
        edge = f.label()
        f.add(f"  br i1 {test}, label %{edge}, label %{f.name(f.index + 1)}\n{edge}:\n")
        f.jump(target)
    else:
        f.add(f"  br i1 {test}, label %{f.name(target)}, label %{f.name(f.index + 1)}\n")
    f.ended = True


def may_goto(f: Function, _: MayGoto) -> None:
    """Go on elsewhere once the run has passed here too often."""
    place = f.op(f"getelementptr i8, ptr %state, i64 {8 * State.MAY_GOTO}")
    passes = f.op(f"load i64, ptr {place}")
    over = f.op(f"icmp uge i64 {passes}, {layout.MAY_GOTO_LOOPS}")
    out, on = f.label(), f.label()
    f.add(f"  br i1 {over}, label %{out}, label %{on}\n{on}:\n")
    f.add(f"  store i64 {f.op(f'add i64 {passes}, 1')}, ptr {place}\n  br label %{f.name(f.index + 1)}\n{out}:\n")
    f.jump(f.targets[f.index] or 0)


def exit_(f: Function, _: Exit) -> None:
    """Return r0."""
    f.leave(f.get(0))
