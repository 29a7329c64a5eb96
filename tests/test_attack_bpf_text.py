# SPDX-License-Identifier: Apache-2.0
"""Text of programs that was made to take long, and programs that were made to be drawn for ever."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import pytest

from prestocloud_sec.bpf import ControlFlowGraph, Program, assemble, isa
from prestocloud_sec.bpf.classic import ClassicProgram
from prestocloud_sec.bpf.classic import assemble as assemble_classic
from prestocloud_sec.bpf.errors import AssemblyError, BpfError

READERS: dict[str, Callable[[str], object]] = {
    "auto": assemble,
    "kernel": lambda text: assemble(text, syntax="kernel"),
    "mnemonic": lambda text: assemble(text, syntax="mnemonic"),
    "classic": assemble_classic,
    "dd": ClassicProgram.from_dd,
    "ddd": ClassicProgram.from_ddd,
}
REPEATED = [
    *("/* ", "/*", "{1,0,0,0} /* ", "{6,0,0,0}, /* ", "1 /* ", "; /* \n", "// ", "/", "*", "(", "[", "-", "0x", "9"),
    *("a", "a:", " ", "\n", "\r", "\0", ",", "{", "ld #", "r0 = ", "jeq ", "lock ", "call a#", ".insn 1,", "'", "\\"),
]


def seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


@pytest.mark.parametrize("reader", READERS)
def test_time_grows_with_the_length_of_the_text_not_with_its_square(reader: str) -> None:
    read = READERS[reader]
    for part in REPEATED:

        def attempt(text: str) -> None:
            with contextlib.suppress(BpfError):
                read(text)

        assert seconds(lambda text=part * 60_000: attempt(text)) < 2, part  # type: ignore[misc]


def test_comments_in_initialisers() -> None:
    text = "/* one\n */ { 0x6, 0, /* { } */ 0, 0x1 }, // two\n{6,0,0/**/,0}//"
    assert ClassicProgram.from_dd(text) == ClassicProgram.from_ddd("2\n6 0 0 1\n6 0 0 0")


def test_a_comment_without_an_end_is_told_where_it_begins() -> None:
    with pytest.raises(AssemblyError, match="the comment does not end") as caught:
        ClassicProgram.from_dd("{ 6, 0, 0, 0 },\n  /* { 6, 0, 0, 0 }")
    assert (caught.value.line, caught.value.column) == (2, 3)


def branch(offset: int) -> bytes:
    return isa.Branch(isa.BranchOp.EQ, 64, 0, isa.Imm(1), offset).encode()


SHAPES: dict[str, Callable[[int], bytes]] = {
    "back to the start": lambda n: b"".join(branch(-index - 1) for index in range(n)),
    "one within another": lambda n: b"".join(branch(2 * (n - index)) for index in range(n)) + branch(0) * 2 * n,
    "all as far": lambda n: branch(n) * n + branch(0) * n,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_drawings_take_time_in_proportion_to_the_program(shape: str) -> None:
    graph = ControlFlowGraph(Program.from_bytes(SHAPES[shape](6000) + isa.Exit().encode()))
    drawn: list[str] = []
    assert seconds(lambda: drawn.append(graph.to_svg())) < 10
    assert drawn[0].count("<path") >= len(graph.edges)


def test_edges_beyond_the_last_lane_share_it() -> None:
    from prestocloud_sec.bpf import drawing

    lanes = drawing._lanes((0, index) for index in range(300))
    assert lanes[:100] == list(range(100))
    assert set(lanes[100:]) == {99}
    assert drawing._lanes([(0, 2), (3, 5), (5, 7), (0, 9), (8, 9)]) == [0, 0, 1, 2, 0]
