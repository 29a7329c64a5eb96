# SPDX-License-Identifier: Apache-2.0
"""Declarations of a program's functions, found by the names and slots that the program has for them.

Source: Linux 6.18, ``kernel/bpf/verifier.c`` (``add_subprog_and_kfunc``): a function begins where the program does, and
where something calls it or takes its address.
"""

from __future__ import annotations

from collections.abc import Mapping

from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.bpf.isa import CallLocal, ImmKind, LoadImm64
from prestocloud_sec.bpf.object.declarations import declare
from prestocloud_sec.bpf.program import Program, target_slot
from prestocloud_sec.wire import pairs_of, shown

__all__ = ["declared"]

_MOST_NAMED = 16
"""Functions that an error lists."""


def declared(program: Program, functions: Mapping[str | int, str], structs: str = "") -> Program:
    """Return a program with the types that declarations in C give its functions; see `Program.declaring`.

    Raises
    ------
    BpfMisuseError
        If there is no such function, one is there twice, or an argument is of the wrong type.
    DeclarationError
        If a text declares none.
    """
    if not isinstance(functions, Mapping):
        raise BpfMisuseError(f"{shown(functions)}", where="declaring", expected="a mapping of places to text")
    named = {**program.symbols.labels, **program.symbols.functions}
    begun = _function_slots(program)
    found: dict[int, str] = {}
    keys: dict[int, object] = {}
    for key, text in pairs_of(functions, "declaring", error=BpfMisuseError):
        slot = named.get(key) if isinstance(key, str) else key
        if type(slot) is not int or slot not in begun:
            raise BpfMisuseError(
                f"there is no function {shown(key)}",
                where="declaring",
                expected="names or slots of functions",
                hint=f"functions of the program: {_listed(begun, named)}",
            )
        if slot in found:
            raise BpfMisuseError(
                f"{shown(keys[slot])} and {shown(key)} are one function",
                where="declaring",
                expected="each function once",
            )
        found[slot], keys[slot] = text, key
    return Program(
        program.instructions,
        type=program.type,
        name=program.name,
        license=program.license,
        symbols=program.symbols,
        func_info=declare(found, structs),
    )


def _function_slots(program: Program) -> set[int]:
    """Return where functions begin."""
    begun = {0} if program.instructions else set()
    for index, instruction in enumerate(program.instructions):
        slot = program.slot_of(index)
        match instruction:
            case CallLocal() | LoadImm64(kind=ImmKind.FUNCTION):
                target = target_slot(instruction, slot)
                if target is not None and program.index_at(target) is not None:
                    begun.add(target)
    return begun


def _listed(begun: set[int], named: Mapping[str, int]) -> str:
    """Return functions as an error lists them: the slots, each with its names."""
    names: dict[int, list[str]] = {}
    for name, slot in named.items():
        names.setdefault(slot, []).append(shown(name))
    listed = [" ".join([str(slot), *names.get(slot, [])]) for slot in sorted(begun)[:_MOST_NAMED]]
    return ", ".join(listed) + ", ..." * (len(begun) > _MOST_NAMED) or "none"
