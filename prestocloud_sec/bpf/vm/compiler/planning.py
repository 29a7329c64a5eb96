# SPDX-License-Identifier: Apache-2.0
"""From a machine's program to code: what decides it, what it is called on the disk, and LLVM's part."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import replace
from functools import cache
from typing import Any

from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.bpf.helpers.native import NATIVE
from prestocloud_sec.bpf.isa import Atomic, CallHelper, ImmKind, Load, LoadAcquire, LoadImm64, Store, StoreRelease
from prestocloud_sec.bpf.maps.hash_layout import HashWord
from prestocloud_sec.bpf.maps.kinds import MapType
from prestocloud_sec.bpf.maps.layout import LOOKUP, Descriptor
from prestocloud_sec.bpf.vm import layout
from prestocloud_sec.bpf.vm.compiler import cache as disk
from prestocloud_sec.bpf.vm.compiler.emit import module_text
from prestocloud_sec.bpf.vm.compiler.llvm import Code, compile_object, host_name, level_for, load_object
from prestocloud_sec.bpf.vm.compiler.lookups import KEY_SIZES, MapFacts
from prestocloud_sec.bpf.vm.compiler.plan import WRITTEN_OUT, Plan
from prestocloud_sec.bpf.vm.compiler.provenance import PACKET, SCALAR, UNKNOWN, Environment, Kind, Origin, origins
from prestocloud_sec.bpf.vm.context import ContextKind
from prestocloud_sec.bpf.vm.layout import FUNCTION_HANDLES, MAP_HANDLES
from prestocloud_sec.bpf.vm.machine import Machine
from prestocloud_sec.wire import shown, whole

__all__ = ["compile_program", "plan_of"]

_LARGEST_WALK = 20_000
"""Instructions of the largest program whose pointers are looked into."""
_PACKET_FIELDS = {ContextKind.XDP: frozenset({0, 4, 8}), ContextKind.SKB: frozenset({76, 80, 140})}


def plan_of(machine: Machine, number: int = 0, *, checks: bool = True) -> Plan:
    """Return what decides what one of a machine's programs is compiled to."""
    program = machine.runnable[number]
    loads: dict[int, int] = {}
    known: dict[int, Origin] = {}
    maps: dict[int, MapFacts] = {}
    for index, instruction in enumerate(program.instructions):
        if not isinstance(instruction, LoadImm64) or instruction.kind is ImmKind.INTEGER:
            continue
        value = loads[index] = machine.load_value(number, index)
        if instruction.kind is ImmKind.FUNCTION:
            known[index] = Origin(Kind.FUNCTION, value ^ FUNCTION_HANDLES)
            continue
        handle = instruction.kind in {ImmKind.MAP_FD, ImmKind.MAP_INDEX}
        at = value ^ MAP_HANDLES if handle else (value >> layout.REGION_SHIFT) - layout.MAP_VALUES
        known[index] = Origin(Kind.MAP if handle else Kind.VALUE, at)
        found = machine.maps[at]
        if found.values is not None:
            maps[at] = _facts_of(found)
    kind = machine.context.kind
    first = (
        Origin(Kind.CONTEXT, 0, 0) if kind is not ContextKind.OPAQUE else PACKET if program.type is None else UNKNOWN
    )
    entry = (SCALAR, first, *[SCALAR] * 8, Origin(Kind.FRAME, 0, 0))
    environment = Environment(entry, known, _PACKET_FIELDS.get(kind, frozenset()))
    functions = tuple(sorted(machine.functions[number]))
    walked: Sequence[Any] = ()
    if len(program.instructions) <= _LARGEST_WALK:
        walked = origins(program, environment, functions)
    foreign = frozenset(
        i.number for i in program.instructions if isinstance(i, CallHelper) and machine.overrides(i.number)
    )
    size = machine.context.layout.size if machine.context.layout is not None else 0
    return Plan(
        program=program,
        origins=walked,
        loads=loads,
        maps=maps,
        functions=functions,
        native=NATIVE - foreign,
        foreign=foreign,
        special=frozenset(n for n in WRITTEN_OUT if not machine.overrides(n)),
        context=(size, machine.context.writable if size else False),
        checks=checks,
    )


def _facts_of(found: Any) -> MapFacts:
    """Return what is known of a map; how it is looked up only where that needs no Python and no processor's number."""
    words = found.descriptor
    simple = words[Descriptor.NATIVE] & LOOKUP and words[Descriptor.CPUS] == 1
    chained = simple and found.type is MapType.HASH and words[HashWord.SEEDS_AT]
    return MapFacts(
        len(found.values),
        found.value_size,
        found.value_stride,
        not found.program_reads_only,
        entries=found.max_entries if simple and found.type is MapType.ARRAY else 0,
        key=found.key_size if chained and found.key_size in KEY_SIZES else 0,
    )


def _key(plan: Plan, kind: int, level: int, *, loop: bool) -> str:
    """Return the name of what a plan is compiled to."""
    told = (
        plan.loads,
        plan.maps,
        sorted(plan.native),
        sorted(plan.foreign),
        sorted(plan.special),
        plan.checks,
        sorted(plan.facts),
        plan.program.type,
        kind,
        level,
        loop,
    )
    return disk.name_of(_version(), host_name().encode(), plan.program.to_bytes(), repr(told).encode())


@cache
def _version() -> bytes:
    """Return what tells one version of this compiler from another: its own source, and where it looks for things."""
    from pathlib import Path

    here = Path(__file__).parent
    return b"".join(
        path.read_bytes()
        for path in sorted(
            [
                *here.glob("*.py"),
                here.parent / "layout.py",
                *(here.parents[1] / "maps").glob("*layout.py"),
                *(here.parents[1] / "helpers" / name for name in ("ids.py", "native.py")),
            ]
        )
    )


def compile_program(
    machine: Machine,
    number: int = 0,
    *,
    checks: bool = True,
    keep: bool = True,
    loop: bool = False,
    facts: frozenset[int] = frozenset(),
) -> Code:
    """Return the code of one of a machine's programs, compiled or taken from the disk.

    Parameters
    ----------
    machine : Machine
    number : int
        Which of its programs.
    checks : bool
        False leaves out every test of memory accesses: **the program can then touch all of this process**.
    keep : bool
        Whether the cache on disk is used.
    loop : bool
        Whether there is to be a `packetloop` besides.
    facts : frozenset of int
        Instructions whose access is proved to lie in the region that the walk expects, so that it needs no test:
        what `prestocloud_sec.bpf.verifier.proofs.proved` gives for a verdict and this machine.

    Raises
    ------
    BpfMisuseError
        If an argument is of another type, there is no such program, or a fact is of no access to memory.
    """
    if not isinstance(machine, Machine):
        raise BpfMisuseError(
            f"{shown(machine)} is no machine",
            where="compile_program",
            expected="a Machine",
            hint="Machine(program, maps=...) makes one of a program",
        )
    number = whole(number, "compile_program, number", 0, len(machine.programs) - 1, error=BpfMisuseError)
    _check_facts(machine, number, facts)
    plan = replace(plan_of(machine, number, checks=checks), facts=facts)
    level = level_for(len(plan.program.instructions))
    kind = machine.context.kind
    name = _key(plan, int(kind), level, loop=loop) if keep else ""
    found = _kept(name, loop=loop) if keep else None
    if found is not None:
        return found
    data = compile_object(module_text(plan, loop=kind if loop else None), level)
    if keep:
        disk.put(name, data)
    return load_object(data, loop=loop)[0]


def _check_facts(machine: Machine, number: int, facts: object) -> None:
    """Refuse what does not name accesses of a program: a test that is left out by mistake is a hole."""
    if not isinstance(facts, Set):
        raise BpfMisuseError(
            f"{type(facts).__name__} is no set of instructions",
            where="compile_program, facts",
            expected="a set of indices",
            hint="prestocloud_sec.bpf.verifier.proofs.proved(verdict, machine) gives it",
        )
    instructions = machine.programs[number].instructions
    for index in facts:
        if (
            type(index) is not int
            or not 0 <= index < len(instructions)
            or not isinstance(instructions[index], Load | LoadAcquire | Store | StoreRelease | Atomic)
        ):
            raise BpfMisuseError(
                f"{shown(index)} is no access to memory",
                where="compile_program, facts",
                expected="indices of loads, stores and atomic operations",
            )


def _kept(name: str, *, loop: bool) -> Code | None:
    """Return the code that is on the disk under a name; None where not all that a program must have is there."""
    data = disk.get(name)
    if data is None:
        return None
    code = load_object(data, loop=loop)[0]
    whole = code.main and code.callback and (code.packets or not loop)
    return code if whole else None
