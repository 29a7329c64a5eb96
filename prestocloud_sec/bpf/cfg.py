# SPDX-License-Identifier: Apache-2.0
"""The control-flow graph of a program: basic blocks, edges, functions, loops.

A block begins at the first instruction, at every target of a jump or call, and after every instruction that may jump or
end. Local calls are no edges: a call continues in its own block, and the function it calls is an entry of its own, as
in the kernel's verifier (Linux ``kernel/bpf/verifier.c``, ``check_cfg``). Everything here takes time in proportion to
the program.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.bpf.isa import Branch, CallLocal, Exit, ImmKind, Instruction, Jump, LoadImm64, MayGoto
from prestocloud_sec.bpf.program import Program
from prestocloud_sec.wire import shown

__all__ = ["Block", "ControlFlowGraph", "Edge", "EdgeKind"]


class EdgeKind(StrEnum):
    """Why one block follows another."""

    FALL = "fall"
    """The next instruction in line; where a branch ends the block, its condition does not hold."""
    TAKEN = "taken"
    """A branch whose condition holds, or a loop budget that is used up."""
    JUMP = "jump"
    """An unconditional jump."""


@dataclass(frozen=True, slots=True)
class Block:
    """Instructions that run one after the other.

    Attributes
    ----------
    number : int
        Position among the blocks, in program order.
    start, end : int
        Index of the first instruction, and of the one after the last.
    function : int
        Number of the block that the function it belongs to begins with; of the first one that reaches it, where several
        do; its own where nothing reaches it.
    """

    number: int
    start: int
    end: int
    function: int


@dataclass(frozen=True, slots=True)
class Edge:
    """From block to block, by number."""

    source: int
    target: int
    kind: EdgeKind


_ENDS_BLOCK = (Jump, Branch, MayGoto, Exit)


class ControlFlowGraph:
    """The graph of a program.

    Parameters
    ----------
    program : Program
        With at least one instruction.

    Attributes
    ----------
    program : Program
        What the graph is of.
    blocks : tuple of Block
        In program order.
    edges : tuple of Edge
        By source; of a branch, the way on comes before the jump.
    entries : tuple of int
        Numbers of the blocks that functions begin with, the program's own first.

    Raises
    ------
    JumpTargetError
        If a jump or call leads nowhere.
    BpfMisuseError
        If the program is empty, or none.

    Examples
    --------
    >>> from prestocloud_sec.bpf import assemble
    >>> graph = ControlFlowGraph(assemble('''
    ...     r0 = 3
    ... again:
    ...     r0 -= 1
    ...     if r0 != 0 goto again
    ...     exit'''))
    >>> [(block.start, block.end) for block in graph.blocks]
    [(0, 1), (1, 3), (3, 4)]
    >>> [(edge.source, edge.target, str(edge.kind)) for edge in graph.edges]
    [(0, 1, 'fall'), (1, 2, 'fall'), (1, 1, 'taken')]
    >>> [(edge.source, edge.target) for edge in graph.back_edges]
    [(1, 1)]
    """

    def __init__(self, program: Program) -> None:
        if not isinstance(program, Program) or not program.instructions:
            raise BpfMisuseError(
                f"{shown(program)} has no instructions", where="ControlFlowGraph", expected="a Program"
            )
        self.program = program
        starts = sorted(self._leaders())
        self._number_at = {start: number for number, start in enumerate(starts)}
        self._spans = list(zip(starts, [*starts[1:], len(program.instructions)], strict=True))
        self.edges = tuple(edge for number in range(len(starts)) for edge in self._edges_from(number))
        self._out: list[list[Edge]] = [[] for _ in starts]
        self._in: list[list[Edge]] = [[] for _ in starts]
        for edge in self.edges:
            self._out[edge.source].append(edge)
            self._in[edge.target].append(edge)
        self.entries = self._find_entries()
        self.blocks = self._make_blocks()

    def _leaders(self) -> set[int]:
        instructions, targets = self.program.instructions, self.program.targets
        leaders = {0} | {target for target in targets if target is not None}
        for index, instruction in enumerate(instructions[:-1]):
            if isinstance(instruction, _ENDS_BLOCK):
                leaders.add(index + 1)
        return leaders

    def _edges_from(self, number: int) -> Iterator[Edge]:
        last = self._spans[number][1] - 1
        instruction = self.program.instructions[last]
        following = self._number_at.get(last + 1)
        target = self.program.targets[last]
        if following is not None and not isinstance(instruction, Jump | Exit):
            yield Edge(number, following, EdgeKind.FALL)
        if target is not None and isinstance(instruction, Jump | Branch | MayGoto):
            kind = EdgeKind.JUMP if isinstance(instruction, Jump) else EdgeKind.TAKEN
            yield Edge(number, self._number_at[target], kind)

    def _find_entries(self) -> tuple[int, ...]:
        called = {
            self._number_at[target]
            for instruction, target in zip(self.program.instructions, self.program.targets, strict=True)
            if target is not None and _refers_to_function(instruction)
        }
        return (0, *sorted(called - {0}))

    def _make_blocks(self) -> tuple[Block, ...]:
        owner: dict[int, int] = {}
        for entry in self.entries:
            queue = [entry]
            while queue:
                number = queue.pop()
                if number not in owner:
                    owner[number] = entry
                    queue += [edge.target for edge in self._out[number] if edge.target not in owner]
        return tuple(
            Block(number, start, end, owner.get(number, number)) for number, (start, end) in enumerate(self._spans)
        )

    def successors(self, number: int) -> tuple[Edge, ...]:
        """Return the edges that leave a block.

        Raises
        ------
        BpfMisuseError
            If there is no such block.
        """
        return tuple(self._of(self._out, number))

    def predecessors(self, number: int) -> tuple[Edge, ...]:
        """Return the edges that enter a block.

        Raises
        ------
        BpfMisuseError
            If there is no such block.
        """
        return tuple(self._of(self._in, number))

    def _of(self, edges: list[list[Edge]], number: int) -> list[Edge]:
        if not isinstance(number, int) or not 0 <= number < len(edges):
            raise BpfMisuseError(f"no block {shown(number)}", expected=f"0..{len(edges) - 1}")
        return edges[number]

    def instructions(self, number: int) -> tuple[Instruction, ...]:
        """Return the instructions of a block.

        Raises
        ------
        BpfMisuseError
            If there is no such block.
        """
        self._of(self._out, number)
        start, end = self._spans[number]
        return self.program.instructions[start:end]

    @cached_property
    def reachable(self) -> frozenset[int]:
        """The blocks that some function reaches from its beginning."""
        queue, seen = list(self.entries), set(self.entries)
        while queue:
            for edge in self._out[queue.pop()]:
                if edge.target not in seen:
                    seen.add(edge.target)
                    queue.append(edge.target)
        return frozenset(seen)

    @cached_property
    def falls_off(self) -> tuple[int, ...]:
        """The blocks from which running on would leave the program (which the kernel refuses): the last, or none."""
        last = self.program.instructions[-1]
        return () if isinstance(last, Jump | Exit) else (len(self.blocks) - 1,)

    @cached_property
    def back_edges(self) -> tuple[Edge, ...]:
        """The edges to a block that a depth-first walk is still in: every loop has one, and nothing else does.

        The walk begins at the entries, then at blocks that none of them reaches.
        """
        fresh, open_, done = 0, 1, 2
        state = [fresh] * len(self.blocks)
        found: list[Edge] = []
        for root in (*self.entries, *range(len(self.blocks))):
            if state[root] != fresh:
                continue
            state[root] = open_
            stack = [(root, iter(self._out[root]))]
            while stack:
                number, edges = stack[-1]
                edge = next(edges, None)
                if edge is None:
                    state[number] = done
                    stack.pop()
                elif state[edge.target] == open_:
                    found.append(edge)
                elif state[edge.target] == fresh:
                    state[edge.target] = open_
                    stack.append((edge.target, iter(self._out[edge.target])))
        return tuple(sorted(found, key=lambda edge: (edge.source, edge.target)))

    def to_dot(self) -> str:
        """Return the graph in the DOT language of Graphviz."""
        from prestocloud_sec.bpf.drawing import dot

        return dot(self)

    def to_svg(self) -> str:
        """Return the graph as a drawing: a complete SVG document."""
        from prestocloud_sec.bpf.drawing import svg

        return svg(self)

    def _repr_svg_(self) -> str:
        return self.to_svg()

    def __repr__(self) -> str:
        counts = (
            f"{len(self.blocks)} blocks, {len(self.edges)} edges, {len(self.entries)} functions, "
            f"{len(self.back_edges)} back edges"
        )
        return f"<ControlFlowGraph: {counts}>"


def _refers_to_function(instruction: Instruction) -> bool:
    match instruction:
        case CallLocal() | LoadImm64(kind=ImmKind.FUNCTION):
            return True
        case _:
            return False
