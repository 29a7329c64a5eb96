# SPDX-License-Identifier: Apache-2.0
"""Names for the kernel functions (kfuncs) that a program calls by the numbers of one kernel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.bpf.isa import CallKfunc, Instruction
from prestocloud_sec.bpf.program import Program
from prestocloud_sec.wire import pairs_of, shown

__all__ = ["named"]


def named(program: Program, kfuncs: Mapping[int, str]) -> Program:
    """Return a program with calls by name instead of those by number; see `Program.naming`.

    Raises
    ------
    BpfMisuseError
        If `kfuncs` is no mapping of numbers to names.
    """
    if not isinstance(kfuncs, Mapping):
        raise BpfMisuseError(f"{shown(kfuncs)}", where="naming", expected="a mapping of numbers to names")
    known: dict[int, str] = {}
    for number, name in pairs_of(kfuncs, "naming", error=BpfMisuseError):
        if type(number) is not int or not isinstance(name, str):
            raise BpfMisuseError(f"{shown(number)}: {shown(name)}", where="naming", expected="numbers and names")
        known[number] = name
    names = dict(program.symbols.kfuncs)
    placed: list[Instruction] = list(program.instructions)
    for index, i in enumerate(placed):
        if isinstance(i, CallKfunc) and not i.off and i.id in known and index not in names:
            placed[index], names[index] = CallKfunc(0), known[i.id]
    return Program(
        placed,
        type=program.type,
        name=program.name,
        license=program.license,
        symbols=replace(program.symbols, kfuncs=names),
        func_info=program.func_info,
    )
