# SPDX-License-Identifier: Apache-2.0
"""The verifier beside the kernel's own; compiled code with what it proves beside code without tests."""

from __future__ import annotations

import re
import statistics
from typing import Any

import pytest

from benchmarks.conftest import Versus
from benchmarks.test_bpf import NAMES, RUNS, bytes_of, one_packet, our_maps, seconds_of, straight
from prestocloud_sec.bpf import Program, ProgramType, assemble, verify
from prestocloud_sec.bpf.linux import KernelMap, KernelProgram, available
from prestocloud_sec.bpf.maps.kinds import MapType
from prestocloud_sec.bpf.verifier.maps import MapSpec
from prestocloud_sec.bpf.verifier.proofs import proved
from prestocloud_sec.bpf.vm.batch import run_batch
from prestocloud_sec.bpf.vm.compiler.engine import compiled_of
from prestocloud_sec.bpf.vm.compiler.planning import compile_program
from prestocloud_sec.bpf.vm.machine import Machine

ROUNDS = 9
STATISTICS = 4
"""The level of the kernel's log that says how long its verifier took."""


def diamonds(count: int) -> Program:
    """Return a program of so many branches whose ways join again, and where nothing depends on which was gone."""
    turn = "call 7\nif r0 > 5 goto +1\nr0 = 1"
    return assemble("\n".join([*[turn] * count, "r0 = 0", "exit"]), type=ProgramType.XDP)


def loop(turns: int) -> Program:
    """Return a loop that is gone through as often as it turns."""
    text = f"r6 = 0\nagain:\nr6 += 1\nr7 = r6\nr7 *= 3\nif r6 < {turns} goto again\nr0 = 0\nexit"
    return assemble(text, type=ProgramType.XDP)


def straight_program(size: int) -> Program:
    """Return arithmetic on a field of the context, without a branch."""
    body = straight(size - 2).instructions[:-2]
    head = assemble("r2 = *(u32 *)(r1 + 12)\nr1 = r2\nr0 = 0\nexit").instructions
    return Program([*head[:2], *body, *head[2:]], type=ProgramType.XDP)


def recorded(name: str) -> Program:
    """Return one of the programs that the machine is measured with, in the kernel's form."""
    if name == "cbpf_tcp80":
        return Program.from_bytes(bytes_of(name, "ebpf_tc"), type=ProgramType.SCHED_CLS)
    return Program.from_bytes(bytes_of(name, "xdp"), type=ProgramType.XDP)


WORK = {
    "4096 instructions in a row": lambda: straight_program(4096),
    "1000 diamonds": lambda: diamonds(1000),
    "a loop of 1000 turns": lambda: loop(1000),
    **{name: lambda name=name: recorded(name) for name in NAMES},
}


def kernel_seconds(program: Program, maps: Any) -> float:
    """Return how long the kernel's verifier took, by its own log."""
    with KernelProgram.load(program, maps=maps, log_level=STATISTICS) as loaded:
        found = re.search(r"verification time (\d+) usec", loaded.log)
    assert found is not None
    return int(found[1]) * 1e-6


@pytest.mark.parametrize("name", WORK)
def test_verifying(versus: Versus, name: str) -> None:
    if not available():
        pytest.skip("kernel lacks bpf(2) for us: nothing to measure beside")
    program = WORK[name]()
    specs = [MapSpec(MapType.HASH, 4, 4, 65536)] if name == "hashmap" else None
    maps = [KernelMap(MapType.HASH, key_size=4, value_size=4, max_entries=65536)] if specs else None
    assert verify(program, maps=specs).accepted
    ours, peer = [], []
    for _ in range(ROUNDS):
        ours.append(seconds_of(lambda: verify(program, maps=specs), 1))
        peer.append(kernel_seconds(program, maps))
    versus.record(
        f"verify {name}",
        against="the kernel's verifier, by its own log (whole microseconds)",
        ours=statistics.median(ours),
        peer=max(statistics.median(peer), 1e-6),
        target=150,
    )


# --- What the verifier proves, the compiler need not test.


@pytest.mark.parametrize("name", NAMES)
def test_compiled_with_facts_beside_no_tests(versus: Versus, name: str) -> None:
    program, maps, arena = recorded(name), our_maps(name), one_packet(name)
    took: dict[bool, list[float]] = {True: [], False: []}
    machines = {}
    for checks in took:
        machine = machines[checks] = Machine(program, maps=maps)
        facts = proved(verify(program, maps=maps), machine) if checks else frozenset()
        compiled_of(machine).take(compile_program(machine, checks=checks, keep=False, facts=facts))
    results = [run_batch(machine, arena, "compiled", 1).values for machine in machines.values()]
    assert (results[0] == results[1]).all()
    for _ in range(2 * ROUNDS):
        for checks, machine in machines.items():
            took[checks].append(seconds_of(lambda m=machine: run_batch(m, arena, "compiled", 1), RUNS[name]))
    versus.record(
        f"compiled {name} with what the verifier proves",
        against="compiled without any test",
        ours=statistics.median(took[True]),
        peer=statistics.median(took[False]),
        target=1.1,
        note="in the kernel's form, called for each packet",
    )
