# SPDX-License-Identifier: Apache-2.0
"""Control flow: blocks and edges against the bytes, loops against reachability, drawings as others read them."""

from __future__ import annotations

import itertools
import re
import struct
import time
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given

from prestocloud_sec.bpf import ControlFlowGraph, Program, Symbols, assemble
from prestocloud_sec.bpf.cfg import EdgeKind
from prestocloud_sec.bpf.errors import BpfMisuseError, JumpTargetError
from prestocloud_sec.bpf.isa import Exit, Jump
from prestocloud_sec.testing.bpf_isa import programs

SVG = "{http://www.w3.org/2000/svg}"

LOOP = """
    r6 = 0
again:
    r6 += 1
    call twice
    if r0 == 0 goto done
    goto again
done:
    exit
twice:
    if r1 != 0 goto +2
    r0 = 0
    exit
    r9 = 9
    exit
"""


def successors_from_bytes(data: bytes) -> dict[int, set[int]]:
    """Return where control can go from each slot, read off the bytes: the rules of RFC 9669, section 4.3, once more."""
    found: dict[int, set[int]] = {}
    at = 0
    while at < len(data) // 8:
        opcode, _, off, imm = struct.unpack_from("<BBhi", data, at * 8)
        size = 2 if opcode == 0x18 else 1
        following = at + size
        if opcode == 0x95:
            found[at] = set()
        elif opcode == 0x05:
            found[at] = {following + off}
        elif opcode == 0x06:
            found[at] = {following + imm}
        elif opcode & 7 in {5, 6} and opcode & 0xF0 not in {0x80, 0x90}:
            found[at] = {following, following + off}
        else:
            found[at] = {following}
        at = following
    return found


def reaches(edges: dict[int, set[int]], start: int) -> set[int]:
    """Return every block that one or more edges lead to from `start`."""
    seen: set[int] = set()
    queue = [start]
    while queue:
        for target in edges[queue.pop()] - seen:
            seen.add(target)
            queue.append(target)
    return seen


class TestAgainstTheBytes:
    @given(programs())
    def test_blocks_are_the_program_cut_up(self, program: Program) -> None:
        graph = ControlFlowGraph(program)
        together = [i for block in graph.blocks for i in graph.instructions(block.number)]
        assert tuple(together) == program.instructions
        assert [block.number for block in graph.blocks] == list(range(len(graph.blocks)))
        assert all(block.start < block.end for block in graph.blocks)

    @given(programs())
    def test_control_goes_where_the_bytes_say(self, program: Program) -> None:
        graph = ControlFlowGraph(program)
        after = successors_from_bytes(program.to_bytes())
        starts = {program.slot_of(block.start): block.number for block in graph.blocks}
        for block in graph.blocks:
            slots = [program.slot_of(index) for index in range(block.start, block.end)]
            for slot, following in itertools.pairwise(slots):
                assert after[slot] == {following}, "control leaves within a block"
            assert not set(slots[1:]) & {t for targets in after.values() for t in targets if len(targets) == 2}
            expected = {starts[target] for target in after[slots[-1]]}
            assert {edge.target for edge in graph.successors(block.number)} == expected

    @given(programs())
    def test_successors_and_predecessors_are_the_edges(self, program: Program) -> None:
        graph = ControlFlowGraph(program)
        numbers = range(len(graph.blocks))
        assert [edge for n in numbers for edge in graph.successors(n)] == list(graph.edges)
        assert sorted(map(str, (edge for n in numbers for edge in graph.predecessors(n)))) == sorted(
            map(str, graph.edges)
        )
        assert all(edge.target == n for n in numbers for edge in graph.predecessors(n))

    @given(programs())
    def test_loops(self, program: Program) -> None:
        graph = ControlFlowGraph(program)
        all_edges: dict[int, set[int]] = {block.number: set() for block in graph.blocks}
        without_back: dict[int, set[int]] = {block.number: set() for block in graph.blocks}
        for edge in graph.edges:
            all_edges[edge.source].add(edge.target)
            if edge not in graph.back_edges:
                without_back[edge.source].add(edge.target)
        for block in graph.blocks:
            assert block.number not in reaches(without_back, block.number), "a loop without a back edge"
        for edge in graph.back_edges:
            assert edge.source == edge.target or edge.source in reaches(all_edges, edge.target), "no loop"

    @given(programs())
    def test_functions(self, program: Program) -> None:
        graph = ControlFlowGraph(program)
        edges: dict[int, set[int]] = {block.number: set() for block in graph.blocks}
        for edge in graph.edges:
            edges[edge.source].add(edge.target)
        seen: set[int] = set()
        for entry in graph.entries:
            seen |= {entry} | reaches(edges, entry)
        assert graph.reachable == seen
        for block in graph.blocks:
            if block.number in seen:
                assert block.function in graph.entries
                assert block.number == block.function or block.number in reaches(edges, block.function)
            else:
                assert block.function == block.number


class TestExample:
    def test_a_loop_and_a_function(self) -> None:
        graph = ControlFlowGraph(assemble(LOOP))
        assert [(b.start, b.end, b.function) for b in graph.blocks] == [
            *((0, 1, 0), (1, 4, 0), (4, 5, 0), (5, 6, 0)),
            *((6, 7, 4), (7, 9, 4), (9, 11, 4)),
        ]
        assert graph.entries == (0, 4)
        assert [(e.source, e.target) for e in graph.back_edges] == [(2, 1)]

    def test_kinds_of_edges(self) -> None:
        graph = ControlFlowGraph(assemble("if r1 == 0 goto +2\nmay_goto +1\ngoto -2\nexit"))
        assert [(e.source, e.target, e.kind) for e in graph.edges] == [
            (0, 1, EdgeKind.FALL),
            (0, 3, EdgeKind.TAKEN),
            (1, 2, EdgeKind.FALL),
            (1, 3, EdgeKind.TAKEN),
            (2, 1, EdgeKind.JUMP),
        ]

    def test_a_branch_to_the_next_instruction_is_two_edges(self) -> None:
        graph = ControlFlowGraph(assemble("if r1 == 0 goto +0\nexit"))
        assert [(e.source, e.target, e.kind) for e in graph.edges] == [(0, 1, EdgeKind.FALL), (0, 1, EdgeKind.TAKEN)]

    def test_a_function_whose_address_is_taken(self) -> None:
        graph = ControlFlowGraph(assemble("r1 = f ll\nexit\nr0 = 9\nexit\nf: exit"))
        assert graph.entries == (0, 2)
        assert graph.reachable == {0, 2}
        assert [block.function for block in graph.blocks] == [0, 1, 2]

    @pytest.mark.parametrize(
        ("text", "falls_off"),
        [("exit", ()), ("goto -1", ()), ("r0 = 1", (0,)), ("if r1 == 0 goto -1", (0,)), ("exit\ncall 1", (1,))],
    )
    def test_running_off_the_end(self, text: str, falls_off: tuple[int, ...]) -> None:
        assert ControlFlowGraph(assemble(text)).falls_off == falls_off

    def test_what_has_no_graph(self) -> None:
        with pytest.raises(BpfMisuseError):
            ControlFlowGraph(Program([]))
        with pytest.raises(JumpTargetError):
            ControlFlowGraph(Program([Jump(1), Exit()]))
        graph = ControlFlowGraph(Program([Exit()]))
        for ask in (graph.successors, graph.predecessors, graph.instructions):
            for number in (-1, 1):
                with pytest.raises(BpfMisuseError):
                    ask(number)

    def test_a_long_program_is_no_trouble(self) -> None:
        body = "r0 += 1\nif r0 == 0 goto -1\n" * 20_000
        begin = time.process_time()
        program = assemble(body + "exit")
        assembled = time.process_time()
        graph = ControlFlowGraph(program)
        assert len(graph.back_edges) == 20_000
        assert len(graph.blocks) == 40_001
        assert time.process_time() - assembled < assembled - begin + 5


class TestDrawings:
    @given(programs())
    def test_dot_has_every_block_and_edge(self, program: Program) -> None:
        graph = ControlFlowGraph(program)
        text = graph.to_dot()
        nodes = re.findall(r"^ +b(\d+) \[label=\"(?:[^\"\\]|\\.)*\"\];$", text, re.MULTILINE)
        assert sorted(map(int, nodes)) == list(range(len(graph.blocks)))
        edges = re.findall(r"^ +b(\d+) -> b(\d+) \[color=\"#[0-9a-f]{6}\"(, style=\"dashed\")?\];$", text, re.MULTILINE)
        assert [(int(a), int(b)) for a, b, _ in edges] == [(e.source, e.target) for e in graph.edges]
        assert sum(bool(dashed) for _, _, dashed in edges) == sum(edge in graph.back_edges for edge in graph.edges)
        assert text.count("{") == text.count("}") == 1 + len(graph.entries)

    @given(programs())
    def test_svg_has_every_instruction_and_edge(self, program: Program) -> None:
        graph = ControlFlowGraph(program)
        root = ElementTree.fromstring(graph.to_svg())  # noqa: S314 - our own
        lines = [element.text or "" for element in root.iter(f"{SVG}text")]
        assert len(lines) == len(program.instructions)
        assert [int(line.split(":")[0]) for line in lines] == [program.slot_of(i) for i in range(len(lines))]
        paths = [path for path in root.findall(f"{SVG}path") if path.get("marker-end")]
        assert len(paths) == len(graph.edges)
        width, height = float(root.get("width", "")), float(root.get("height", ""))
        for box in root.findall(f"{SVG}rect")[1:]:
            assert 0 <= float(box.get("x", "")) <= float(box.get("x", "")) + float(box.get("width", "")) <= width
            assert float(box.get("y", "")) + float(box.get("height", "")) <= height
        for path in paths:
            across = [float(x) for x in re.findall(r"[MH]([\d.]+)", path.get("d", ""))]
            assert all(0 < x < width for x in across)

    def test_names_in_drawings_are_quoted(self) -> None:
        program = Program(
            assemble("if r1 s< r2 goto +0\ncall pc-2").instructions, name='a"\\', symbols=Symbols({}, {'m"': 0})
        )
        graph = ControlFlowGraph(program)
        assert 'digraph "a\\"\\\\" {' in graph.to_dot()
        assert 'label="m\\""' in graph.to_dot()
        assert "r1 s&lt; r2" in graph.to_svg()
        assert graph._repr_svg_() == graph.to_svg()

    def test_functions_are_clusters(self) -> None:
        text = ControlFlowGraph(assemble(LOOP)).to_dot()
        assert re.findall(r"label=\"(\w+)\";", text) == ["main", "twice"]
        assert repr(ControlFlowGraph(assemble(LOOP))) == (
            "<ControlFlowGraph: 7 blocks, 6 edges, 2 functions, 1 back edges>"
        )


def test_lines_of_a_block_have_the_names_of_maps_and_helpers() -> None:
    graph = ControlFlowGraph(assemble("r1 = map[seen]\ncall 1\nexit"))
    for drawn in (graph.to_dot(), graph.to_svg()):
        assert "0: r1 = map[seen]" in drawn
        assert "2: call bpf_map_lookup_elem#1" in drawn
