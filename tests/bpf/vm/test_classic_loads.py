# SPDX-License-Identifier: Apache-2.0
"""Classic loads that find nothing: the function that contains one returns 0 to its caller, as Linux lets it.

What is expected is written down by hand, and asked of the running kernel where it takes the program: it wants to be
told of every function what it returns, and takes no such load in the callback itself.
"""

from __future__ import annotations

import pytest

from prestocloud_sec.arena import PacketArena
from prestocloud_sec.bpf import Program, ProgramType, assemble
from prestocloud_sec.bpf.linux import KernelMap, KernelProgram
from prestocloud_sec.bpf.maps.kinds import MapType
from prestocloud_sec.bpf.maps.progarray import ProgArray
from prestocloud_sec.bpf.vm import layout
from prestocloud_sec.bpf.vm.compiler import engine as compiler
from prestocloud_sec.bpf.vm.machine import Machine
from tests.bpf.linux.kernel import needs_kernel
from tests.bpf.vm.engines import ENGINES, EXECUTE

MAIN, STATIC = "int main(struct __sk_buff *ctx)", "static int f(struct __sk_buff *ctx)"
LENGTHS = (14, 39, 40, 41, 42, 60)
BYTE = 3

KEEPS = """
    r6 = r1
    r7 = 5
    r8 = 6
    r9 = 7
    *(u64 *)(r10 - 8) = 1000
    call f
    r0 += r7
    r0 += r8
    r0 += r9
    r1 = *(u64 *)(r10 - 8)
    r0 += r1
    r1 = *(u32 *)(r6 + 0)
    r1 <<= 16
    r0 += r1
    exit
f:
    r6 = r1
    r7 = 100
    r8 = 200
    r9 = 300
    *(u64 *)(r10 - 8) = 9
    r0 = *(u8 *)skb[40]
    exit
"""
"""It returns the byte, what it had put into registers and its frame before, and the length in the upper half."""
CALLED = "r6 = r1\ncall f\nr0 += 1\nexit\nf:\n"
LOOPS = """
    *(u64 *)(r10 - 8) = r1
    r1 = 5
    r2 = turn ll
    r3 = r10
    r3 += -8
    r4 = 0
    call bpf_loop
    exit
turn:
    r1 = *(u64 *)(r2 + 0)
    call f
    if r0 == 0 goto out
    r0 = 1
out:
    exit
f:
    r6 = r1
    r0 = *(u8 *)skb[40]
    exit
"""

PROGRAMS: dict[str, tuple[str, dict[str | int, str], tuple[int, ...]]] = {
    "first": ("r6 = r1\nr0 = *(u8 *)skb[40]\nr0 += 1\nexit", {0: MAIN}, (0, 0, 0, 4, 4, 4)),
    "static": (f"{CALLED}r6 = r1\nr0 = *(u8 *)skb[40]\nr0 += 9\nexit", {0: MAIN, "f": STATIC}, (1, 1, 1, 13, 13, 13)),
    "global": (
        f"{CALLED}r6 = r1\nr0 = *(u8 *)skb[40]\nr0 += 9\nexit",
        {0: MAIN, "f": "int f(struct __sk_buff *ctx)"},
        (1, 1, 1, 13, 13, 13),
    ),
    "two bytes from a register": (
        f"{CALLED}r6 = r1\nr3 = 38\nr0 = *(u16 *)skb[r3 + 2]\nr0 += 9\nexit",
        {0: MAIN, "f": STATIC},
        (1, 1, 1, 1, 0x303 + 10, 0x303 + 10),
    ),
    "from the network header": (  # which test_run sets behind the 14 bytes of the link layer
        f"{CALLED}r6 = r1\nr0 = *(u8 *)skb[{layout.SKF_NET_OFF + 26}]\nr0 += 9\nexit",
        {0: MAIN, "f": STATIC},
        (1, 1, 1, 13, 13, 13),
    ),
    "function of a function": (
        f"{CALLED}call g\nr0 += 10\nexit\ng:\nr6 = r1\nr0 = *(u8 *)skb[40]\nr0 += 100\nexit",
        {0: MAIN, "f": STATIC, "g": "static int g(struct __sk_buff *ctx)"},
        (11, 11, 11, 114, 114, 114),
    ),
    "function before another": (
        f"{CALLED}r6 = r1\nr0 = *(u8 *)skb[40]\nr1 = r6\nr7 = r0\ncall g\nr0 += r7\nexit\n"
        "g:\nr6 = r1\nr0 = *(u8 *)skb[41]\nr0 += 20\nexit",
        {0: MAIN, "f": STATIC, "g": "static int g(struct __sk_buff *ctx)"},
        (1, 1, 1, 4, 27, 27),
    ),
    "what the caller keeps": (
        KEEPS,
        {0: MAIN, "f": STATIC},
        tuple(1018 + BYTE * (size > 40) + (size << 16) for size in LENGTHS),
    ),
    "function of a callback": (
        LOOPS,
        {0: MAIN, "turn": "static int turn(unsigned int n, void *c)", "f": STATIC},
        (5, 5, 5, 1, 1, 1),
    ),
}


def declared(name: str) -> Program:
    text, functions, _ = PROGRAMS[name]
    return assemble(text, type=ProgramType.SCHED_CLS).declaring(functions, structs="struct __sk_buff {};")


def packets() -> list[bytes]:
    return [bytes([BYTE]) * size for size in LENGTHS]


@needs_kernel
@pytest.mark.parametrize("name", PROGRAMS)
def test_what_the_kernel_says(name: str) -> None:
    with KernelProgram.load(declared(name)) as loaded:
        assert tuple(loaded.test_run(packet).value for packet in packets()) == PROGRAMS[name][2]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", PROGRAMS)
def test_each_engine_says_the_same(name: str, engine: str) -> None:
    """Whether BTF says what functions return or not."""
    for program in (declared(name), assemble(PROGRAMS[name][0], type=ProgramType.SCHED_CLS)):
        machine = Machine(program)
        found = []
        for packet in packets():
            machine.start(packet)
            EXECUTE[engine](machine)
            result = machine.finish()
            assert result.fault is None
            found.append(result.value)
        assert tuple(found) == PROGRAMS[name][2]


@pytest.mark.parametrize("many", [0, 1 << 30], ids=["loop", "calls"])
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", PROGRAMS)
def test_batches(monkeypatch: pytest.MonkeyPatch, name: str, engine: str, many: int) -> None:
    monkeypatch.setattr(compiler, "MANY", many)
    arena = PacketArena.pack(packets() * 3)
    result = declared(name).run_batch(arena, engine=engine)
    assert tuple(result.values.tolist()) == PROGRAMS[name][2] * 3
    assert not result.faults.any()


# --- A program that a function has gone on to.

GOES_ON = """
    r6 = r1
    r7 = 5
    call f
    r0 += 1
    r0 += r7
    exit
f:
    r2 = map[jumps] ll
    r3 = 0
    call bpf_tail_call
    r0 = 77
    exit
"""
GONE_ON_TO = "r6 = r1\nr7 = 50\nr0 = *(u8 *)skb[40]\nr0 += 100\nexit"
GONE_ON = (6, 6, 6, 109, 109, 109)


def test_a_program_that_was_gone_on_to_returns_to_the_function_s_caller() -> None:
    array = ProgArray(1)
    array[0] = assemble(GONE_ON_TO, type=ProgramType.SCHED_CLS)
    program = assemble(GOES_ON, type=ProgramType.SCHED_CLS)
    arena = PacketArena.pack(packets())
    for engine in ENGINES:
        values = [program.run(packet, maps=[array], engine=engine).value for packet in packets()]
        assert tuple(values) == GONE_ON
        assert tuple(program.run_batch(arena, maps=[array], engine=engine).values.tolist()) == GONE_ON


@needs_kernel
def test_the_kernel_of_a_program_that_was_gone_on_to() -> None:
    types = "struct __sk_buff {};"
    program = assemble(GOES_ON, type=ProgramType.SCHED_CLS).declaring({0: MAIN, "f": STATIC}, structs=types)
    other = assemble(GONE_ON_TO, type=ProgramType.SCHED_CLS).declaring({0: MAIN}, structs=types)
    with (
        KernelMap(MapType.PROG_ARRAY, key_size=4, value_size=4, max_entries=1) as jumps,
        KernelProgram.load(other) as inner,
    ):
        jumps.update(bytes(4), inner)
        with KernelProgram.load(program, maps={"jumps": jumps}) as loaded:
            assert tuple(loaded.test_run(packet).value for packet in packets()) == GONE_ON
