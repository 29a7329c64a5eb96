# SPDX-License-Identifier: Apache-2.0
"""``prestocloud-sec bpf``: assemble, disassemble and explain programs, run them; a plug-in for bpf_conformance."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from prestocloud_sec.cli.base import EPILOG, ExitCode, hex_bytes, json_option, printable, stdin_text
from prestocloud_sec.cli.bpf_campaign import verify_campaign
from prestocloud_sec.cli.bpf_input import (
    PROGRAM_LIMIT,
    classic_of,
    classic_option,
    engine_option,
    program_argument,
    program_of,
    source_of,
)
from prestocloud_sec.cli.bpf_run import bench, filter_, run
from prestocloud_sec.cli.bpf_verify import verify, verify_corpus

if TYPE_CHECKING:
    from prestocloud_sec.bpf.classic import ClassicProgram
    from prestocloud_sec.bpf.program import Program

__all__ = ["bpf"]


@click.group(epilog=EPILOG)
def bpf() -> None:
    """Programs of the packet filter, classic and extended, in user space.

    PROGRAM is a file, or - for standard input, or the program itself: assembler text, or its bytes in hexadecimal.
    On one line, as in 'r0 = 2; exit', a semicolon ends an instruction.
    """


# --- Text and bytes --------------------------------------------------------------------------------------


@bpf.command()
@program_argument
@click.option("--classic", is_flag=True, help="The text is classic BPF in bpf_asm's syntax.")
@json_option
def asm(program: str, classic: bool, as_json: bool) -> None:
    """Assemble PROGRAM and print its bytes in hexadecimal.

    Kernel functions that it calls by name have no number in them; it says so on standard error.
    """
    if classic:
        made: Program | ClassicProgram = classic_of(program, source_of(program))
        names: dict[int, str] = {}
    else:
        made = assembled = program_of(program)
        names = {assembled.slot_of(index): name for index, name in sorted(assembled.symbols.kfuncs.items())}
    if as_json:
        named = {"kfuncs": names} if names else {}
        print(json.dumps({"instructions": len(made), "bytes": made.to_bytes().hex(), **named}))
        return
    print(made.to_bytes().hex())
    if names:
        told = printable(", ".join(f"{slot} ({name})" for slot, name in names.items()))
        click.echo(f"bytes hold no names: the calls of kernel functions at {told} have the number 0", err=True)


@bpf.command()
@program_argument
@click.option("--classic", is_flag=True, help="The bytes are classic BPF.")
@click.option(
    "--syntax",
    type=click.Choice(["kernel", "mnemonic"]),
    default="kernel",
    show_default=True,
    help="What clang and bpftool print, or what older tools write.",
)
@click.option("--names", is_flag=True, help="Give names to jump targets, functions and helpers.")
@json_option
def disasm(program: str, classic: bool, syntax: str, names: bool, as_json: bool) -> None:
    """Print PROGRAM as assembler text."""
    if classic:
        text = classic_of(program, source_of(program)).disassemble()
    else:
        text = program_of(program).disassemble(syntax=syntax, labels=True if names else None, helpers=names)
    if as_json:
        print(json.dumps({"text": text}))
    else:
        print("\n".join(map(printable, text.splitlines())))


@bpf.command(short_help="Show the control flow of PROGRAM.")
@program_argument
@click.option("--format", "form", type=click.Choice(["text", "dot", "svg"]), default="text", show_default=True)
@classic_option
@json_option
def explain(program: str, form: str, classic: bool, as_json: bool) -> None:
    """Show the control flow of PROGRAM: its blocks, what follows what, and its loops."""
    from prestocloud_sec.bpf.cfg import ControlFlowGraph
    from prestocloud_sec.bpf.drawing import block_lines

    graph = ControlFlowGraph(program_of(program, classic=classic))
    if as_json:
        edges = [{"from": edge.source, "to": edge.target, "kind": str(edge.kind)} for edge in graph.edges]
        back = [[edge.source, edge.target] for edge in graph.back_edges]
        blocks = [block_lines(graph, block.number) for block in graph.blocks]
        print(json.dumps({"blocks": blocks, "edges": edges, "back": back, "functions": list(graph.entries)}))
        return
    if form != "text":
        print(graph.to_dot() if form == "dot" else graph.to_svg())
        return
    back_edges, entries = set(graph.back_edges), set(graph.entries)
    for block in graph.blocks:
        print(f"block {block.number}" + (" (a function begins)" if block.number in entries else ""))
        for line in block_lines(graph, block.number):
            print(f"    {printable(line)}")
        for edge in graph.successors(block.number):
            loop = ", a loop" if edge in back_edges else ""
            print(f"  {edge.kind}: block {edge.target}{loop}")


# --- Running and judging ---------------------------------------------------------------------------------


for command in (run, filter_, bench, verify, verify_corpus, verify_campaign):
    bpf.add_command(command)


@bpf.command("conformance-plugin", short_help="Speak bpf_conformance's protocol.")
@click.argument("memory", default="")
@engine_option
@click.pass_context
def conformance_plugin(ctx: click.Context, memory: str, engine: str) -> None:
    """Speak bpf_conformance's protocol.

    The program's bytes come in hexadecimal on standard input. MEMORY, in hexadecimal, is what r1 points at, and r2 its
    length; without it both are 0. r0 is printed in hexadecimal. A fault exits with 1 and says what it was.
    """
    from prestocloud_sec.bpf.program import Program

    made = Program.from_bytes(hex_bytes(stdin_text(PROGRAM_LIMIT), "standard input"))
    result = made.run(hex_bytes(memory, "MEMORY"), engine=engine)
    if result.fault is not None:
        print(printable(str(result.fault)), file=sys.stderr)
        ctx.exit(ExitCode.FAILED)
    print(f"{result.value:x}")
