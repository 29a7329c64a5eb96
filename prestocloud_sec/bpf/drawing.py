# SPDX-License-Identifier: Apache-2.0
"""Control-flow graphs as text for Graphviz, and as drawings that need no other program.

The drawing keeps program order from top to bottom, so that it reads beside a listing: what leads down is drawn on the
right, what leads up (loops) on the left, each edge in the innermost lane that is free over its length.
"""

from __future__ import annotations

import html
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prestocloud_sec.bpf.disassembler import line_text

if TYPE_CHECKING:
    from prestocloud_sec.bpf.cfg import ControlFlowGraph, Edge

__all__ = ["block_lines", "dot", "svg"]

_COLOURS = {"fall": "#555555", "taken": "#1a7f37", "jump": "#0550ae"}
_BACK = "#cf222e"
_LONGEST_NOTE = 100
"""Characters of what is said of an instruction."""
_FILLS = {"way": "#fff8c5", "fault": "#ffc1ba"}
"""How a marked instruction is marked."""


def block_lines(graph: ControlFlowGraph, number: int, notes: Mapping[int, str] | None = None) -> list[str]:
    """Return the instructions of a block as text, each with its slot in front, and behind it what there is to say.

    Parameters
    ----------
    graph : ControlFlowGraph
    number : int
        The block.
    notes : mapping of int to str, optional
        What to say of instructions, by index.
    """
    program = graph.program
    block = graph.blocks[number]
    lines = [f"{program.slot_of(index)}: {line_text(program, index)}" for index in range(block.start, block.end)]
    told = [_short((notes or {}).get(index, "")) for index in range(block.start, block.end)]
    if not any(told):
        return lines
    width = max(len(line) for line, note in zip(lines, told, strict=True) if note)
    return [f"{line:<{width}}  ; {note}" if note else line for line, note in zip(lines, told, strict=True)]


def _short(note: str) -> str:
    return note if len(note) <= _LONGEST_NOTE else f"{note[: _LONGEST_NOTE - 3]}..."


def _colour(edge: Edge, back: frozenset[Edge]) -> str:
    return _BACK if edge in back else _COLOURS[edge.kind]


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def dot(graph: ControlFlowGraph) -> str:
    """Return the graph in DOT: a box for each block, a cluster for each function."""
    back = frozenset(graph.back_edges)
    name = _escaped(graph.program.name or "program")
    lines = [f'digraph "{name}" {{', '    node [shape=box, fontname="monospace", fontsize=10];']
    members: dict[int, list[int]] = {}
    for block in graph.blocks:
        members.setdefault(block.function, []).append(block.number)
    names = {slot: name for name, slot in reversed(list(graph.program.symbols.functions.items()))}
    for function in graph.entries:
        lines += [f"    subgraph cluster_{function} {{", f'        label="{_function_name(graph, function, names)}";']
        lines += [f"        {_node(graph, number)}" for number in members.pop(function, [])]
        lines.append("    }")
    for unreached in members.values():
        lines += [f"    {_node(graph, number)}" for number in unreached]
    for edge in graph.edges:
        style = ', style="dashed"' if edge in back else ""
        lines.append(f'    b{edge.source} -> b{edge.target} [color="{_colour(edge, back)}"{style}];')
    return "\n".join([*lines, "}"])


def _function_name(graph: ControlFlowGraph, function: int, names: Mapping[int, str]) -> str:
    slot = graph.program.slot_of(graph.blocks[function].start)
    return _escaped(names[slot]) if slot in names else "main" if function == 0 else f"func_{slot}"


def _node(graph: ControlFlowGraph, number: int) -> str:
    text = "".join(_escaped(line) + "\\l" for line in block_lines(graph, number))
    return f'b{number} [label="{text}"];'


_CHARACTER = 7.25  # width of a character at the font size below, which is that of common monospace fonts
_FONT_SIZE = 12
_LINE = 16
_PADDING = 8
_GAP = 28
_LANE = 14
_MOST_LANES = 100
"""Lanes beside the blocks; a wider drawing shows nobody more."""
_MARGIN = 20


@dataclass(frozen=True, slots=True)
class _Box:
    left: float
    top: float
    width: float
    height: float
    lines: list[str]

    @property
    def right(self) -> float:
        return self.left + self.width

    @property
    def bottom(self) -> float:
        return self.top + self.height


class _Lane:
    """Spans of blocks that do not meet."""

    def __init__(self) -> None:
        self._begins: list[int] = []
        self._ends: list[int] = []

    def take(self, low: int, high: int) -> bool:
        """Take a span if it meets none that is here."""
        at = bisect_right(self._begins, high)
        if at and self._ends[at - 1] >= low:
            return False
        self._begins.insert(at, low)
        self._ends.insert(at, high)
        return True


def _lanes(spans: Iterable[tuple[int, int]]) -> list[int]:
    """Give each span of blocks the lowest lane in which it meets no other; shorter spans choose first.

    There are no more than `_MOST_LANES`: what finds no room in them shares the outermost.
    """
    chosen: dict[int, int] = {}
    lanes: list[_Lane] = []
    numbered = sorted(enumerate(spans), key=lambda item: (item[1][1] - item[1][0], item[1]))
    for position, (low, high) in numbered:
        lane = next((at for at, lane in enumerate(lanes) if lane.take(low, high)), len(lanes))
        if lane == len(lanes) < _MOST_LANES:
            lanes.append(_Lane())
            lanes[lane].take(low, high)
        chosen[position] = min(lane, _MOST_LANES - 1)
    return [chosen[position] for position in range(len(chosen))]


def svg(
    graph: ControlFlowGraph, *, notes: Mapping[int, str] | None = None, marks: Mapping[int, str] | None = None
) -> str:
    """Return the graph as an SVG document.

    Parameters
    ----------
    graph : ControlFlowGraph
    notes : mapping of int to str, optional
        What to write beside instructions, by index.
    marks : mapping of int to {"way", "fault"}, optional
        Instructions to mark.
    """
    down = [edge for edge in graph.edges if edge.target > edge.source + 1]
    up = [edge for edge in graph.edges if edge.target <= edge.source]
    down_lanes = _lanes((edge.source, edge.target) for edge in down)
    up_lanes = _lanes((edge.target, edge.source) for edge in up)
    left = _MARGIN + _LANE * (max(up_lanes, default=-1) + 2)
    boxes = _boxes(graph, left, notes)
    widest = max(box.right for box in boxes)
    width = widest + _LANE * (max(down_lanes, default=-1) + 2) + _MARGIN
    height = boxes[-1].bottom + _MARGIN
    back = frozenset(graph.back_edges)
    parts = [_header(width, height)]
    for box, block in zip(boxes, graph.blocks, strict=True):
        fills = [_FILLS.get((marks or {}).get(index, "")) for index in range(block.start, block.end)]
        parts.append(_box(box, block.number in graph.reachable, fills))
    parts += [
        _straight(boxes[edge.source], boxes[edge.target], _colour(edge, back))
        for edge in graph.edges
        if edge.target == edge.source + 1
    ]
    for edges, lanes, side in ((down, down_lanes, widest), (up, up_lanes, left)):
        for edge, lane in zip(edges, lanes, strict=True):
            x = side + _LANE * (lane + 1) if side == widest else side - _LANE * (lane + 1)
            parts.append(_around(boxes[edge.source], boxes[edge.target], x, _colour(edge, back)))
    return "\n".join([*parts, "</svg>"])


def _boxes(graph: ControlFlowGraph, left: float, notes: Mapping[int, str] | None) -> list[_Box]:
    boxes = []
    top: float = _MARGIN
    for block in graph.blocks:
        lines = block_lines(graph, block.number, notes)
        width = max(map(len, lines)) * _CHARACTER + 2 * _PADDING
        box = _Box(left, top, width, len(lines) * _LINE + _PADDING, lines)
        boxes.append(box)
        top = box.bottom + _GAP
    return boxes


def _header(width: float, height: float) -> str:
    markers = "".join(
        f'<marker id="a{colour[1:]}" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" '
        f'orient="auto"><path d="M0 0L8 4L0 8z" fill="{colour}"/></marker>'
        for colour in (*_COLOURS.values(), _BACK)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}" font-family="monospace" font-size="{_FONT_SIZE}">'
        f'<defs>{markers}</defs><rect width="100%" height="100%" fill="#ffffff"/>'
    )


def _box(box: _Box, reachable: bool, fills: Sequence[str | None]) -> str:
    fill = "#f6f8fa" if reachable else "#ffebe9"
    marked = "".join(
        f'<rect x="{box.left + 1:g}" y="{box.top + _LINE * row + 4:g}" width="{box.width - 2:g}" height="{_LINE}" '
        f'fill="{colour}"/>'
        for row, colour in enumerate(fills)
        if colour is not None
    )
    rows = "".join(
        f'<text x="{box.left + _PADDING:g}" y="{box.top + _LINE * (row + 1):g}" xml:space="preserve">'
        f"{html.escape(line)}</text>"
        for row, line in enumerate(box.lines)
    )
    return (
        f'<rect x="{box.left:g}" y="{box.top:g}" width="{box.width:g}" height="{box.height:g}" rx="3" '
        f'fill="{fill}" stroke="#57606a"/>{marked}{rows}'
    )


def _path(points: str, colour: str) -> str:
    return f'<path d="{points}" fill="none" stroke="{colour}" marker-end="url(#a{colour[1:]})"/>'


def _straight(source: _Box, target: _Box, colour: str) -> str:
    x = source.left + 3 * _PADDING
    return _path(f"M{x:g} {source.bottom:g}V{target.top:g}", colour)


def _around(source: _Box, target: _Box, x: float, colour: str) -> str:
    """Draw an edge out of the side of one box, along a lane, into the side of another."""
    rightward = x > source.left
    begin = source.right if rightward else source.left
    end = target.right if rightward else target.left
    return _path(f"M{begin:g} {source.bottom - 6:g}H{x:g}V{target.top + 8:g}H{end:g}", colour)
