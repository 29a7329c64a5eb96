# SPDX-License-Identifier: Apache-2.0
"""What a watched run (`prestocloud_sec.bpf.verifier.watching`) keeps of registers and branches, and how it can end."""

from __future__ import annotations

from typing import NamedTuple

from prestocloud_sec.bpf.isa import (
    BranchOp,
)
from prestocloud_sec.bpf.verifier.expressions import Node, constant
from prestocloud_sec.bpf.verifier.maps import MapSpec
from prestocloud_sec.bpf.verifier.registers import Kind
from prestocloud_sec.bpf.verifier.rejection import Rule

__all__ = ["NOTHING", "Decision", "Shadow", "Stopped", "Violated", "as_number"]


class Violated(BaseException):
    """What no program may do was done; never leaves this package's search for witnesses.

    Attributes
    ----------
    rule : Rule
    instruction : int
    what : str
        One sentence.
    at_a_place : bool
        Whether it is forbidden only where the verifier knows the place: a part of a kept address may be read by
        privileged programs where that varies.
    """

    def __init__(self, rule: Rule, instruction: int, what: str, *, at_a_place: bool = False) -> None:
        super().__init__(what)
        self.rule = rule
        self.instruction = instruction
        self.what = what
        self.at_a_place = at_a_place


class Stopped(BaseException):
    """A run took too many steps."""


class Shadow(NamedTuple):
    """What a register holds on a run.

    Attributes
    ----------
    kind : Kind
    node : Node
        Its number, by the inputs.
    spec : MapSpec or None
        Of a map, or memory of one.
    token : int
        Of what is acquired, which call gave it; shared by what was made from it.
    base : int
        Of a pointer to a map's value, where that begins.
    """

    kind: Kind
    node: Node
    spec: MapSpec | None = None
    token: int = 0
    base: int = 0


class Decision(NamedTuple):
    """A branch that a run came to.

    Attributes
    ----------
    position : int
        How many instructions were carried out before.
    op, bits, left, right
        The comparison.
    taken : bool
    """

    position: int
    op: BranchOp
    bits: int
    left: Node
    right: Node
    taken: bool


ZERO = constant(0)
NOTHING = Shadow(Kind.NOTHING, ZERO)


def as_number(node: Node) -> Shadow:
    """Return what a register holds that holds a number."""
    return Shadow(Kind.NUMBER, node)
