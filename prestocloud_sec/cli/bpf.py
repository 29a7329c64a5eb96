# SPDX-License-Identifier: Apache-2.0
"""``prestocloud-sec bpf``: assemble, disassemble, run, time and explain programs; a plug-in for bpf_conformance."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prestocloud_sec.cli.base import (
    EPILOG,
    ExitCode,
    answer,
    hex_bytes,
    json_option,
    new_console,
    printable,
    stdin_bytes,
    stdin_text,
)
from prestocloud_sec.errors import InputError

if TYPE_CHECKING:
    from prestocloud_sec.bpf.classic import ClassicProgram
    from prestocloud_sec.bpf.program import Program

__all__ = ["bpf"]

PROGRAM_LIMIT = 1 << 25
"""Most bytes of a program that is read from a file or from standard input."""
ENGINES = ("auto", "reference", "interpreter", "compiled")
TYPES = ("raw", "socket_filter", "sched_cls", "sched_act", "xdp", "cgroup_skb")
_HEX = frozenset("0123456789abcdefABCDEF \t\r\n")


@click.group(epilog=EPILOG)
def bpf() -> None:
    """Programs of the packet filter, classic and extended, in user space.

    PROGRAM is a file, or - for standard input, or the program itself: assembler text, or its bytes in hexadecimal.
    """


# --- Reading programs ------------------------------------------------------------------------------------


def _source(given: str) -> str:
    """Return the text that PROGRAM names or is."""
    if given == "-":
        data = stdin_bytes(PROGRAM_LIMIT)
    elif len(given) < 4096 and "\n" not in given and "\0" not in given and os.path.isfile(given):  # noqa: PTH113
        with Path(given).open("rb") as file:
            data = file.read(PROGRAM_LIMIT + 1)
        if len(data) > PROGRAM_LIMIT:
            raise InputError("too long", where=given, expected=f"at most {PROGRAM_LIMIT} bytes")
    else:
        return given
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.hex()


def _is_hex(text: str) -> bool:
    return bool(text.strip()) and _HEX.issuperset(text)


def _program(given: str, *, type_name: str = "raw", classic: bool = False) -> Program:
    """Return the eBPF program that PROGRAM stands for; a classic one is translated."""
    from prestocloud_sec.bpf.assembler import assemble
    from prestocloud_sec.bpf.program import Program, ProgramType

    text = _source(given)
    if classic:
        return _classic(text).to_ebpf()
    kind = None if type_name == "raw" else ProgramType[type_name.upper()]
    if _is_hex(text):
        return Program.from_bytes(hex_bytes(text, "PROGRAM"), type=kind)
    return assemble(text, type=kind)


def _classic(text: str) -> ClassicProgram:
    """Return a classic program from bytes in hexadecimal, tcpdump's output (-ddd, -dd), or bpf_asm's syntax."""
    from prestocloud_sec.bpf import classic

    lines = text.split("\n")
    if lines[0].strip().isdecimal() and len(lines) > 1:
        return classic.ClassicProgram.from_ddd(text)
    if text.lstrip().startswith("{"):
        return classic.ClassicProgram.from_dd(text)
    if _is_hex(text):
        return classic.ClassicProgram.from_bytes(hex_bytes(text, "PROGRAM"))
    return classic.assemble(text)


program_argument = click.argument("program")
classic_option = click.option("--classic", is_flag=True, help="PROGRAM is classic BPF; it is translated.")
type_option = click.option(
    "--type",
    "type_name",
    type=click.Choice(TYPES),
    default="raw",
    show_default=True,
    help="What runs it: raw gets the packet's address in r1 and its length in r2, the others a context in r1.",
)
packet_option = click.option("--packet", default="", metavar="HEX", help="The packet, in hexadecimal.")
engine_option = click.option("--engine", type=click.Choice(ENGINES), default="auto", show_default=True)


# --- Text and bytes --------------------------------------------------------------------------------------


@bpf.command()
@program_argument
@click.option("--classic", is_flag=True, help="The text is classic BPF in bpf_asm's syntax.")
@json_option
def asm(program: str, classic: bool, as_json: bool) -> None:
    """Assemble PROGRAM and print its bytes in hexadecimal."""
    from prestocloud_sec.bpf.assembler import assemble

    text = _source(program)
    made: Program | ClassicProgram = _classic(text) if classic else assemble(text)
    if as_json:
        print(json.dumps({"instructions": len(made), "bytes": made.to_bytes().hex()}))
    else:
        print(made.to_bytes().hex())


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
@json_option
def disasm(program: str, classic: bool, syntax: str, as_json: bool) -> None:
    """Print PROGRAM as assembler text."""
    text = _classic(_source(program)).disassemble() if classic else _program(program).disassemble(syntax=syntax)
    if as_json:
        print(json.dumps({"text": text}))
    else:
        new_console().print("\n".join(map(printable, text.splitlines())))


@bpf.command()
@program_argument
@click.option("--format", "form", type=click.Choice(["text", "dot", "svg"]), default="text", show_default=True)
@classic_option
@json_option
def explain(program: str, form: str, classic: bool, as_json: bool) -> None:
    """Show the control flow of PROGRAM: its blocks, what follows what, and its loops."""
    from prestocloud_sec.bpf.cfg import ControlFlowGraph
    from prestocloud_sec.bpf.drawing import block_lines

    graph = ControlFlowGraph(_program(program, classic=classic))
    if as_json:
        edges = [{"from": edge.source, "to": edge.target, "kind": str(edge.kind)} for edge in graph.edges]
        back = [[edge.source, edge.target] for edge in graph.back_edges]
        blocks = [block_lines(graph, block.number) for block in graph.blocks]
        print(json.dumps({"blocks": blocks, "edges": edges, "back": back, "functions": list(graph.entries)}))
        return
    if form != "text":
        print(graph.to_dot() if form == "dot" else graph.to_svg())
        return
    console = new_console()
    back_edges = set(graph.back_edges)
    for block in graph.blocks:
        console.print(f"block {block.number}" + (" (a function begins)" if block.number in graph.entries else ""))
        for line in block_lines(graph, block.number):
            console.print(f"    {printable(line)}")
        for edge in graph.successors(block.number):
            loop = ", a loop" if edge in back_edges else ""
            console.print(f"  {edge.kind}: block {edge.target}{loop}")


# --- Running ---------------------------------------------------------------------------------------------


@bpf.command()
@program_argument
@packet_option
@type_option
@classic_option
@engine_option
@click.option("--limit", type=click.IntRange(min=1), help="Stop after so many instructions.")
@click.option("--trace", is_flag=True, help="Print every step (with the reference engine).")
@json_option
@click.pass_context
def run(
    ctx: click.Context,
    program: str,
    packet: str,
    type_name: str,
    classic: bool,
    engine: str,
    limit: int | None,
    trace: bool,
    as_json: bool,
) -> None:
    """Run PROGRAM once and print what it returned; a fault is told on standard error and ends with exit code 1."""
    options: dict[str, Any] = {} if limit is None else {"limit": limit}
    made = _program(program, type_name=type_name, classic=classic)
    if trace:
        options["trace"] = True
        engine = "reference"
    result = made.run(hex_bytes(packet, "--packet"), engine=engine, **options)
    if result.fault is not None and not as_json:
        if trace:
            new_console().print(str(result.trace))
        raise result.fault.error()
    values: dict[str, object] = {"value": result.value, "packet": result.packet.hex()}
    if as_json:
        values["fault"] = None if result.fault is None else str(result.fault)
        print(json.dumps(values))
        if result.fault is not None:
            ctx.exit(ExitCode.FAILED)
        return
    if trace:
        new_console().print(str(result.trace))
    answer(as_json, values)


@bpf.command()
@program_argument
@packet_option
@type_option
@classic_option
@click.option(
    "--count", type=click.IntRange(1, 1 << 24), default=100_000, show_default=True, help="Packets of a batch."
)
@json_option
def bench(program: str, packet: str, type_name: str, classic: bool, count: int, as_json: bool) -> None:
    """Time PROGRAM over a batch of equal packets on every engine; the reference engine gets a thousandth of them."""
    import numpy as np

    from prestocloud_sec.arena import PacketArena

    made = _program(program, type_name=type_name, classic=classic)
    data = np.frombuffer(hex_bytes(packet, "--packet"), np.uint8)
    told: dict[str, object] = {}
    for engine in ENGINES[1:]:
        packets = max(1, count // 1000) if engine == "reference" else count
        arena = PacketArena.uniform(packets, len(data))
        if len(data):
            arena.buffer.reshape(packets, len(data))[:] = data
        made.run_batch(arena, engine=engine)  # compiled and warm
        start = time.perf_counter()
        made.run_batch(arena, engine=engine)
        seconds = time.perf_counter() - start
        told[engine] = {"packets": packets, "nanoseconds": 1e9 * seconds / packets}
    if as_json:
        print(json.dumps(told))
        return
    rows = ((engine, figures) for engine, figures in told.items() if isinstance(figures, dict))
    answer(as_json, {engine: f"{figures['nanoseconds']:,.1f} ns a packet" for engine, figures in rows})


@bpf.command("conformance-plugin")
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
