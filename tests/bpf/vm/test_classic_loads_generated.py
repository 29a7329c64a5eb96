# SPDX-License-Identifier: Apache-2.0
"""Generated programs whose functions end at classic loads: the readable interpreter and the fast one agree."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import pairwise

from prestocloud_sec.bpf import Program
from prestocloud_sec.bpf.isa import LegacyLoad
from prestocloud_sec.bpf.maps.array import ArrayMap
from prestocloud_sec.bpf.maps.hash import HashMap
from prestocloud_sec.bpf.vm import interpreter, reference
from prestocloud_sec.bpf.vm.machine import Machine
from prestocloud_sec.bpf.vm.trace import Trace
from prestocloud_sec.testing.bpf_generate import Generated, generate


def generated(count: int) -> Iterator[Generated]:
    for number in range(count):
        yield generate(random.Random(f"classic loads {number}"))


def returns(trace: Trace, program: Program) -> bool:
    """Whether a classic load of a function found nothing on a run."""
    steps = list(trace)
    return any(
        isinstance(program.instructions[step.instruction], LegacyLoad) and step.depth > following.depth
        for step, following in pairwise(steps)
    )


def test_generated_programs() -> None:
    """Those of them that have such a load in a function; `prestocloud_sec.testing.bpf_fuzz` compares far more."""
    seen = 0
    for case in generated(2000):
        if not any(isinstance(i, LegacyLoad) for i in case.program.instructions):
            continue
        trace = Trace()
        first, second = (
            Machine(case.program, maps=[ArrayMap(16, 4), HashMap(4, 8, 8)], seed=1, now=1, limit=case.limit)
            for _ in range(2)
        )
        first.start(case.packet)
        reference.execute(first, trace)
        second.start(case.packet)
        interpreter.execute(second)
        assert first.finish() == second.finish()
        seen += returns(trace, case.program)
    assert seen > 20
