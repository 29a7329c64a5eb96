# SPDX-License-Identifier: Apache-2.0
"""Small programs, one for each thing the verifier looks at: what it says of each, and what the running kernel does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from prestocloud_sec.bpf import Program, ProgramType, assemble
from prestocloud_sec.bpf.errors import KernelError, LoadError
from prestocloud_sec.bpf.isa import ImmKind, LoadImm64
from prestocloud_sec.bpf.maps.kinds import MapType
from prestocloud_sec.bpf.verifier.environment import Environment
from prestocloud_sec.bpf.verifier.explore import Explorer
from prestocloud_sec.bpf.verifier.maps import MapSpec
from prestocloud_sec.bpf.verifier.rejection import Rejected, Rule
from tests.bpf.linux.kernel import needs_kernel

XDP, TC, FILTER = ProgramType.XDP, ProgramType.SCHED_CLS, ProgramType.SOCKET_FILTER
SPECS = {
    "array": MapSpec(MapType.ARRAY, 4, 16, 4),
    "hash": MapSpec(MapType.HASH, 4, 8, 4),
    "ring": MapSpec(MapType.RINGBUF, 0, 0, 4096),
    "programs": MapSpec(MapType.PROG_ARRAY, 4, 4, 2),
}


@dataclass(frozen=True)
class Case:
    """A program and what is said of it; `rule` None where it is accepted."""

    name: str
    text: str
    rule: Rule | None = None
    type: ProgramType = XDP
    maps: tuple[str, ...] = ()
    processed: int | None = None


LOOKUP = "*(u32 *)(r10 - 4) = 0\nr2 = r10\nr2 += -4\nr1 = map[idx:0] ll\ncall 1\n"
PACKET = "r2 = *(u32 *)(r1 + 0)\nr3 = *(u32 *)(r1 + 4)\n"
END = "r0 = 0\nexit"
CASES = [
    Case("nothing", END, processed=2),
    Case("r0 is never written", "exit", Rule.UNINITIALISED),
    Case("a register that holds nothing", "r0 = r7\nexit", Rule.UNINITIALISED),
    Case("r2 when the program begins", "r0 = r2\nexit", Rule.UNINITIALISED),
    Case("the frame pointer is written", f"r10 = 1\n{END}", Rule.STRUCTURE),
    Case("an instruction that nothing reaches", f"goto +1\nr1 = 0\n{END}", Rule.STRUCTURE),
    Case("a shift that is too wide", f"r1 = 1\nr1 <<= 64\n{END}", Rule.STRUCTURE),
    # Stack.
    Case("a slot is kept and found", f"*(u64 *)(r10 - 8) = r1\nr1 = *(u64 *)(r10 - 8)\nr2 = *(u32 *)(r1 + 0)\n{END}"),
    Case("below the frame", f"*(u64 *)(r10 - 520) = 1\n{END}", Rule.STACK),
    Case("above the frame", f"*(u64 *)(r10 + 0) = 1\n{END}", Rule.STACK),
    Case("across the frame's end", f"*(u64 *)(r10 - 4) = 1\n{END}", Rule.ALIGNMENT),
    Case("a place that is not aligned", f"*(u64 *)(r10 - 12) = 1\n{END}", Rule.ALIGNMENT),
    Case("half of a kept pointer", f"*(u64 *)(r10 - 8) = r1\nr2 = *(u32 *)(r10 - 8)\n{END}", Rule.POINTER_LEAK),
    Case(
        "a pointer that was overwritten in part",
        f"*(u64 *)(r10 - 8) = r1\n*(u8 *)(r10 - 8) = 0\nr1 = *(u64 *)(r10 - 8)\nr2 = *(u32 *)(r1 + 0)\n{END}",
        Rule.MEMORY,
    ),
    Case(
        "a constant is found again",
        f"*(u64 *)(r10 - 8) = 3\nr2 = *(u64 *)(r10 - 8)\nif r2 == 3 goto +1\nr0 = r9\n{END}",
        processed=5,
    ),
    # Pointers.
    Case("a product of a pointer", f"r1 *= 2\n{END}", Rule.POINTER_ARITHMETIC),
    Case("half of a pointer", f"w1 += 1\n{END}", Rule.POINTER_ARITHMETIC),
    Case("pointers are added", f"r1 += r10\n{END}", Rule.POINTER_ARITHMETIC),
    Case(
        "a number that may be anything is added", f"r2 = *(u32 *)(r1 + 12)\nr2 <<= 32\nr10 = r10\n{END}", Rule.STRUCTURE
    ),
    Case("a context that was moved", f"r1 += 4\nr2 = *(u32 *)(r1 + 0)\n{END}", Rule.CONTEXT),
    # Context.
    Case("a field", f"r2 = *(u32 *)(r1 + 12)\n{END}"),
    Case("half a field of an XDP context", f"r2 = *(u16 *)(r1 + 12)\n{END}", Rule.CONTEXT),
    Case("half a field of a socket buffer", f"r2 = *(u16 *)(r1 + 0)\n{END}", type=TC),
    Case("behind the context", f"r2 = *(u32 *)(r1 + 24)\n{END}", Rule.CONTEXT),
    Case("an XDP context is written", f"*(u32 *)(r1 + 12) = 1\n{END}", Rule.CONTEXT),
    Case("the mark is written", f"*(u32 *)(r1 + 8) = 1\n{END}", type=TC),
    Case("a socket filter writes the mark", f"*(u32 *)(r1 + 8) = 1\n{END}", Rule.CONTEXT, FILTER),
    Case("a socket filter looks for the packet", f"r2 = *(u32 *)(r1 + 76)\n{END}", Rule.CONTEXT, FILTER),
    # Packets.
    Case("a byte that was asked for", f"{PACKET}r4 = r2\nr4 += 1\nif r4 > r3 goto +1\nr5 = *(u8 *)(r2 + 0)\n{END}"),
    Case("a byte that was not", f"{PACKET}r5 = *(u8 *)(r2 + 0)\n{END}", Rule.PACKET),
    Case(
        "one byte too many", f"{PACKET}r4 = r2\nr4 += 2\nif r4 > r3 goto +1\nr5 = *(u8 *)(r2 + 2)\n{END}", Rule.PACKET
    ),
    Case(
        "the wrong way of the comparison",
        f"{PACKET}r4 = r2\nr4 += 8\nif r4 < r3 goto +1\nr5 = *(u8 *)(r2 + 7)\n{END}",
        Rule.PACKET,
    ),
    Case("less leaves one byte more", f"{PACKET}r4 = r2\nr4 += 8\nif r4 >= r3 goto +1\nr5 = *(u8 *)(r2 + 8)\n{END}"),
    Case(
        "a place that varies",
        f"{PACKET}r4 = *(u32 *)(r1 + 12)\nr4 &= 15\nr2 += r4\nr5 = r2\nr5 += 4\nif r5 > r3 goto +1\n"
        f"r0 = *(u32 *)(r2 + 0)\n{END}",
    ),
    Case(
        "a helper that may move the packet",
        f"r6 = r1\n{PACKET}r4 = r2\nr4 += 4\nif r4 > r3 goto +5\nr7 = r2\nr1 = r6\nr2 = 0\ncall 44\n"
        f"r0 = *(u8 *)(r7 + 0)\n{END}",
        Rule.MEMORY,
    ),
    # Maps.
    Case("a value that may be missing", f"{LOOKUP}r0 = *(u64 *)(r0 + 0)\nexit", Rule.NULL, maps=("hash",)),
    Case("an element of an array that is there", f"{LOOKUP}r0 = *(u64 *)(r0 + 0)\nexit", maps=("array",)),
    Case(
        "an element behind an array",
        f"{LOOKUP.replace('= 0', '= 4', 1)}r0 = *(u64 *)(r0 + 0)\nexit",
        Rule.NULL,
        maps=("array",),
    ),
    Case("a value that is there", f"{LOOKUP}if r0 == 0 goto +1\nr0 = *(u64 *)(r0 + 8)\nexit", maps=("array",)),
    Case(
        "behind a value", f"{LOOKUP}if r0 == 0 goto +1\nr0 = *(u64 *)(r0 + 16)\nexit", Rule.MAP_VALUE, maps=("array",)
    ),
    Case("before a value", f"{LOOKUP}if r0 == 0 goto +1\nr0 = *(u64 *)(r0 - 1)\nexit", Rule.MAP_VALUE, maps=("array",)),
    Case(
        "a copy is tested",
        f"{LOOKUP}r6 = r0\nif r0 == 0 goto +1\nr0 = *(u64 *)(r6 + 0)\nr0 = 0\nexit",
        maps=("hash",),
    ),
    Case(
        "an index that is masked",
        f"r6 = *(u32 *)(r1 + 12)\n{LOOKUP}if r0 == 0 goto +3\nr6 &= 15\nr0 += r6\nr0 = *(u8 *)(r0 + 0)\nexit",
        maps=("array",),
    ),
    Case(
        "an index that is masked too little",
        f"r6 = *(u32 *)(r1 + 12)\n{LOOKUP}if r0 == 0 goto +3\nr6 &= 31\nr0 += r6\nr0 = *(u8 *)(r0 + 0)\nexit",
        Rule.MAP_VALUE,
        maps=("array",),
    ),
    Case("no key", f"r2 = r10\nr2 += -4\nr2 = 0\nr1 = map[idx:0] ll\ncall 1\n{END}", Rule.ARGUMENT, maps=("array",)),
    Case("a map of programs is looked into", f"{LOOKUP}{END}", Rule.MAP, maps=("programs",)),
    # Helpers.
    Case("a helper that does not exist", f"call 9999\n{END}", Rule.HELPER),
    Case("a helper of other types", f"call 26\n{END}", Rule.HELPER),
    Case("arguments that are missing", f"call 1\n{END}", Rule.ARGUMENT),
    Case("what a call leaves in r1", f"call 7\nr0 = r1\n{END}", Rule.UNINITIALISED),
    # References.
    Case(
        "a record is never given back",
        f"r1 = map[idx:0] ll\nr2 = 8\nr3 = 0\ncall 131\n{END}",
        Rule.REFERENCE,
        maps=("ring",),
    ),
    Case(
        "a record is given back",
        f"r1 = map[idx:0] ll\nr2 = 8\nr3 = 0\ncall 131\nif r0 == 0 goto +4\n*(u64 *)(r0 + 0) = 1\nr1 = r0\nr2 = 0\n"
        f"call 132\n{END}",
        maps=("ring",),
    ),
    Case(
        "a record is given back twice",
        f"r1 = map[idx:0] ll\nr2 = 8\nr3 = 0\ncall 131\nif r0 == 0 goto +6\nr6 = r0\nr1 = r0\nr2 = 0\ncall 132\n"
        f"r1 = r6\ncall 132\n{END}",
        Rule.ARGUMENT,
        maps=("ring",),
    ),
    # Loops and calls.
    Case("a loop that ends", f"r6 = 0\nl:\nr6 += 1\nif r6 < 10 goto l\n{END}", processed=23),
    Case("a loop that does not", f"l:\ngoto l\n{END}", Rule.STRUCTURE),
    Case("a loop whose end nothing changes", f"r6 = *(u32 *)(r1 + 12)\nl:\nif r6 != 5 goto l\n{END}", Rule.LOOP),
    Case("a function", "r1 = 1\ncall f\nexit\nf:\nr0 = r1\nexit"),
    Case("a function that returns its stack", "call f\nr0 = 0\nexit\nf:\nr0 = r10\nexit", Rule.RETURN),
    Case("a function that calls itself", "call f\nexit\nf:\ncall f\nr0 = 0\nexit", Rule.STACK_DEPTH),
    Case(
        "functions that need too much stack",
        "*(u64 *)(r10 - 512) = 0\ncall f\nexit\nf:\n*(u64 *)(r10 - 16) = 0\nr0 = 0\nexit",
        Rule.STACK_DEPTH,
    ),
]


def explored(case: Case) -> tuple[Explorer, Rejected | None]:
    program = assemble(case.text, type=case.type)
    loads = [i for i, x in enumerate(program.instructions) if isinstance(x, LoadImm64) and x.kind is ImmKind.MAP_INDEX]
    specs = {index: SPECS[case.maps[program.instructions[index].value]] for index in loads}  # type: ignore[union-attr]
    try:
        explorer = Explorer(Environment(program, case.type, specs))
    except Rejected as rejected:
        return None, rejected  # type: ignore[return-value]
    try:
        explorer.run()
    except Rejected as rejected:
        return explorer, rejected
    return explorer, None


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_verdict(case: Case) -> None:
    explorer, rejected = explored(case)
    assert (rejected and rejected.rule) == case.rule, rejected
    if rejected is not None:
        assert rejected.instruction is not None
    if case.processed is not None:
        assert explorer.processed == case.processed


@needs_kernel
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_running_kernel_agrees(case: Case) -> None:
    from prestocloud_sec.bpf.linux import KernelMap, KernelProgram

    maps: list[Any] = []
    try:
        for name in case.maps:
            spec = SPECS[name]
            maps.append(
                KernelMap(spec.type, key_size=spec.key_size, value_size=spec.value_size, max_entries=spec.max_entries)
            )
        program: Program = assemble(case.text, type=case.type)
        try:
            KernelProgram.load(program, maps=maps or None, license="GPL").close()
            loaded = True
        except (LoadError, KernelError):
            loaded = False
        assert loaded is (case.rule is None)
    finally:
        for made in maps:
            made.close()
