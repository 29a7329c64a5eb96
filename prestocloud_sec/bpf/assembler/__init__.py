# SPDX-License-Identifier: Apache-2.0
"""Text to programs, in the syntax of clang and bpftool or in the older mnemonic one.

`prestocloud_sec.bpf.assembler.text` makes tokens, ``kernel`` (with ``values``) and ``mnemonic`` read one line each,
``link`` turns names into numbers. One instruction to a line; comments begin with ``;``, ``#`` or ``//``; a label is a
name and a colon; jumps lead to a label or ``+N``/``-N`` slots from the next instruction.
"""

from __future__ import annotations

from prestocloud_sec.bpf.assembler.link import link
from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.bpf.program import Program, ProgramType
from prestocloud_sec.bpf.syntax import check_syntax

__all__ = ["assemble"]


def assemble(
    text: str, *, syntax: str = "auto", type: ProgramType | None = None, name: str = "", license: str = ""
) -> Program:
    """Assemble a program.

    Parameters
    ----------
    text : str
        One instruction to a line.
    syntax : {"auto", "kernel", "mnemonic"}
        What to accept; ``auto`` tells by the first word of each line.
    type, name, license
        What the program is to carry; see `Program`.

    Returns
    -------
    Program
        With the labels, functions and names of maps of the text in its ``symbols``.

    Raises
    ------
    AssemblyError
        If a line is no instruction, a number does not fit, or a name is not defined; it has the line and column.
    BpfMisuseError
        If `text` is no str, or `syntax` none of the three.

    Examples
    --------
    >>> program = assemble('''
    ...     r0 = 0
    ...     if r1 == 0 goto done   ; no packet
    ...     r0 = *(u8 *)(r1 + 9)
    ... done:
    ...     exit
    ... ''')
    >>> program.to_bytes().hex(" ", 8)
    'b700000000000000 1501010000000000 7110090000000000 9500000000000000'
    >>> assemble("exot", syntax="kernel")
    Traceback (most recent call last):
    ...
    prestocloud_sec.bpf.errors.AssemblyError: line 1, column 1: unexpected 'exot'; expected ... (did you mean 'exit'?)
    """
    if not isinstance(text, str):
        raise BpfMisuseError(f"{text.__class__.__name__} is no text", where="assemble", expected="a str")
    check_syntax(syntax, auto=True)
    instructions, symbols = link(text, syntax)
    return Program(instructions, type=type, name=name, license=license, symbols=symbols)
