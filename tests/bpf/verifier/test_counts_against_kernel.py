# SPDX-License-Identifier: Apache-2.0
"""How many instructions are gone through, and how many states kept: as many as the running kernel says.

The two numbers are the same only where states are compared at the same places, cover the same states, and numbers are
needed for the same reasons; so they tell of differences long before a verdict does.
"""

from __future__ import annotations

import re
from collections import Counter
from contextlib import ExitStack

import pytest

from prestocloud_sec.bpf import ProgramType, assemble
from prestocloud_sec.bpf.errors import LoadError
from prestocloud_sec.bpf.linux import KernelMap, KernelProgram
from prestocloud_sec.bpf.maps.kinds import MapType
from prestocloud_sec.bpf.verifier.generator import numbered
from prestocloud_sec.bpf.verifier.hazards import may_crash_linux
from prestocloud_sec.bpf.verifier.maps import MapSpec
from prestocloud_sec.bpf.verifier.trials import TooLong, Trial
from tests.bpf.linux.kernel import as_recorded, needs_kernel

pytestmark = [as_recorded, needs_kernel]

COUNTS = re.compile(r"processed (\d+) insns .* total_states (\d+) ")
Counts = tuple[bool, int, int]
"""Whether a program was accepted, instructions, states."""


def made(spec: MapSpec, stack: ExitStack) -> KernelMap:
    return stack.enter_context(
        KernelMap(
            spec.type,
            key_size=spec.key_size,
            value_size=spec.value_size,
            max_entries=spec.max_entries,
            flags=spec.flags,
            inner=made(spec.inner, stack) if spec.inner is not None else None,
        )
    )


def ours(trial: Trial) -> Counts:
    verdict = trial.judge()
    return verdict.accepted, verdict.processed, verdict.states


def theirs(trial: Trial) -> Counts:
    with ExitStack() as stack:
        maps = {number: made(spec, stack) for number, spec in trial.used.items()}
        try:
            loaded = KernelProgram.load(
                trial.program, license="GPL", maps=maps, expected_attach_type=trial.attach, log_level=4
            )
        except LoadError as error:
            accepted, log = False, error.log
        else:
            with loaded:
                accepted, log = True, loaded.log
    found = COUNTS.search(log)
    assert found is not None, log
    return accepted, int(found[1]), int(found[2])


def trial_of(text: str) -> Trial:
    program = assemble(text, type=ProgramType.SCHED_CLS, license="GPL")
    return Trial(program, 0, (MapSpec(MapType.HASH, 4, 8, 8), MapSpec(MapType.RINGBUF, 0, 0, 4096)))


def chain(length: int) -> str:
    """Return branches that come together again, each with a pointer in another slot of the stack."""
    lines = ["r6 = r1"]
    for turn in range(1, length + 1):
        lines += [
            "call bpf_get_prandom_u32",
            f"if r0 == {turn * 2654435761 & 0x7FFFFFFF} goto +2",
            "r1 = r10",
            f"*(u64 *)(r1 - {8 * (turn % 36 + 1)}) = r6",
        ]
    return "\n".join([*lines, *["r0 = 42"] * (4 * length), "exit"])


@pytest.mark.parametrize("length", [5, 20, 36, 37, 100])
def test_chains(length: int) -> None:
    trial = trial_of(chain(length))
    assert ours(trial) == theirs(trial)


CALLING = "r3 = r10\nr3 += -16\nr4 = 0\ncall bpf_loop\n"
NO_NUMBER = """
    call bpf_get_prandom_u32
    r0 &= 31
    r0 += 1
    if r0 & 255 goto always
    r0 = 2
always:
    exit"""
STAYS = """
    call bpf_get_prandom_u32
    r9 = r0
    r8 = r0
    r8 += 0
    if r8 > 4 goto out
    r3 = r10
    r3 += -8
    r3 += r9
    *(u8 *)(r3 + 0) = 1
out:
    r0 = 0
    exit"""
RANGES_FORGOTTEN = """
    call bpf_get_prandom_u32
    r9 = r0
    if r9 > 4 goto out
    if {} goto out
    r3 = r10
    r3 += -5
    r3 += r9
    *(u8 *)(r3 + 0) = 1
out:
    r0 = 0
    exit"""
PROGRAMS = {
    "bits that cannot be 0": NO_NUMBER,
    "a copy that is moved by nothing": STAYS,
    "bits that are 0 forget ranges": RANGES_FORGOTTEN.format("r9 & 1"),
    "bits of a low half that are 0 forget ranges": RANGES_FORGOTTEN.format("w9 & 1"),
    "may_goto": "r6 = 0\nagain:\nmay_goto out\nr6 += 1\ngoto again\nout:\nr0 = 0\nexit",
    "may_goto, a number on the stack": """
        *(u64 *)(r10 - 8) = 0
    again:
        may_goto out
        r1 = *(u64 *)(r10 - 8)
        r1 += 1
        *(u64 *)(r10 - 8) = r1
        if r1 == 3 goto out
        goto again
    out:
        r0 = *(u64 *)(r10 - 8)
        r0 &= 1
        exit""",
    "may_goto, a number that is needed": """
        r6 = 0
        *(u64 *)(r10 - 16) = 0
        *(u64 *)(r10 - 8) = 0
    again:
        may_goto out
        if r6 > 15 goto out
        r7 = r10
        r7 += -16
        r7 += r6
        *(u8 *)(r7 + 0) = 1
        r6 += 1
        goto again
    out:
        r0 = 0
        exit""",
    "may_goto in may_goto": """
        r6 = 0
    again:
        may_goto out
        r7 = 0
    inner:
        may_goto more
        r7 += 1
        call bpf_get_prandom_u32
        if r0 == 5 goto more
        goto inner
    more:
        r6 += r7
        goto again
    out:
        r0 = 0
        exit""",
    "bpf_loop, a number of the caller's": f"""
        *(u64 *)(r10 - 16) = 0
        r1 = 10
        r2 = turn ll
        {CALLING}
        r0 = *(u64 *)(r10 - 16)
        r0 &= 1
        exit
    turn:
        r1 = *(u64 *)(r2 + 0)
        r1 += 1
        *(u64 *)(r2 + 0) = r1
        r0 = 0
        exit""",
    "bpf_loop, bytes become a kept number": f"""
        call bpf_get_prandom_u32
        *(u32 *)(r10 - 16) = r0
        *(u32 *)(r10 - 12) = r0
        r1 = 64
        r2 = turn ll
        {CALLING}
        r0 = 0
        exit
    turn:
        r1 = *(u32 *)(r2 + 0)
        r1 += 1
        *(u32 *)(r2 + 0) = r1
        r0 = 0
        exit""",
    "bpf_loop, one turn": f"""
        *(u64 *)(r10 - 16) = 0
        r1 = 1
        r2 = turn ll
        {CALLING}
        r0 = 0
        exit
    turn:
        r0 = *(u64 *)(r2 + 0)
        r0 &= 1
        exit""",
    "bpf_loop in bpf_loop": f"""
        *(u64 *)(r10 - 16) = 0
        r1 = 4
        r2 = turn ll
        {CALLING}
        r0 = 0
        exit
    turn:
        r6 = r2
        *(u64 *)(r10 - 16) = r1
        r1 = 3
        r2 = inner ll
        {CALLING}
        r1 = *(u64 *)(r10 - 16)
        *(u64 *)(r6 + 0) = r1
        r0 = 0
        exit
    inner:
        *(u64 *)(r2 + 0) = r1
        r0 = 0
        exit""",
    "for_each_map_elem": """
        *(u64 *)(r10 - 8) = 0
        r1 = map[id:0]
        r2 = turn ll
        r3 = r10
        r3 += -8
        r4 = 0
        call bpf_for_each_map_elem
        r0 = *(u64 *)(r10 - 8)
        r0 &= 1
        exit
    turn:
        r1 = *(u64 *)(r3 + 0)
        r2 = *(u64 *)(r4 + 0)
        r2 += r1
        *(u64 *)(r4 + 0) = r2
        r0 = 0
        if r1 != 9 goto out
        r0 = 1
    out:
        exit""",
    "calls that write the caller's stack": """
        r6 = r1
        *(u64 *)(r10 - 8) = r6
        *(u64 *)(r10 - 16) = 1
        call bpf_get_prandom_u32
        if r0 == 3 goto pass
        r0 = 2
    pass:
        *(u64 *)(r10 - 24) = r0
        r1 = r10
        r1 += -24
        call change
        r2 = *(u64 *)(r10 - 8)
        r0 = *(u32 *)(r2 + 0)
        r0 = *(u64 *)(r10 - 24)
        r0 &= 1
        exit
    change:
        r6 = *(u64 *)(r1 + 0)
        *(u64 *)(r10 - 8) = r1
        if r6 > 5 goto small
        r1 = *(u64 *)(r10 - 8)
        *(u64 *)(r1 + 8) = r6
        call again
        r0 = 0
        exit
    small:
        *(u64 *)(r1 + 0) = 4
        r0 = 1
        exit
    again:
        r2 = *(u64 *)(r1 + 0)
        if r2 > 3 goto out
        *(u64 *)(r1 + 0) = 0
    out:
        r0 = 0
        exit""",
    "a function that is called from two places": """
        call bpf_get_prandom_u32
        *(u64 *)(r10 - 8) = r0
        *(u64 *)(r10 - 16) = r0
        r1 = r10
        r1 += -8
        call change
        r1 = r10
        r1 += -16
        call change
        r0 = *(u64 *)(r10 - 16)
        if r0 == 4 goto out
        r0 = *(u64 *)(r10 - 8)
    out:
        r0 &= 1
        exit
    change:
        r2 = *(u64 *)(r1 + 0)
        if r2 > 5 goto small
        *(u64 *)(r1 + 0) = 4
        call bpf_get_prandom_u32
        if r0 > 8 goto small
    small:
        r0 = 0
        exit""",
    "a number that is kept, and compared": """
        call bpf_get_prandom_u32
        r6 = r0
        r6 &= 255
        *(u64 *)(r10 - 8) = r6
        if r6 < 16 goto few
        r0 = 0
        exit
    few:
        r1 = *(u64 *)(r10 - 8)
        r2 = r10
        r2 += -32
        *(u64 *)(r10 - 32) = 0
        *(u64 *)(r10 - 24) = 0
        r2 += r1
        *(u8 *)(r2 + 0) = 1
        r0 = *(u8 *)(r10 - 20)
        exit""",
    "halves of slots": """
        call bpf_get_prandom_u32
        *(u32 *)(r10 - 8) = r0
        *(u16 *)(r10 - 4) = r0
        call bpf_get_prandom_u32
        if r0 == 1 goto one
        *(u32 *)(r10 - 8) = 5
        goto both
    one:
        *(u32 *)(r10 - 16) = 5
    both:
        r1 = *(u32 *)(r10 - 8)
        if r1 > 5 goto out
        call bpf_get_prandom_u32
        if r0 == 4 goto out
        r1 = *(u16 *)(r10 - 8)
    out:
        r0 = 0
        exit""",
    "a number beside the beginning of a slot": """
        call bpf_get_prandom_u32
        r6 = r0
        r6 &= 255
        if r0 == 5 goto other
        r6 = 0
    other:
        call bpf_get_prandom_u32
        if r0 == 6 goto both
    both:
        *(u32 *)(r10 - 4) = r6
        call bpf_get_prandom_u32
        if r0 == 7 goto out
        r0 = *(u32 *)(r10 - 4)
    out:
        r0 = 0
        exit""",
    "slots that are not read any more": """
        r6 = r1
        call bpf_get_prandom_u32
        if r0 == 1 goto a
        *(u64 *)(r10 - 8) = r6
        goto b
    a:
        *(u64 *)(r10 - 8) = 3
    b:
        call bpf_get_prandom_u32
        if r0 == 2 goto c
        *(u64 *)(r10 - 16) = r0
        goto d
    c:
        *(u64 *)(r10 - 16) = 0
    d:
        call bpf_get_prandom_u32
        if r0 == 3 goto e
        *(u64 *)(r10 - 16) = 9
    e:
        r0 = *(u64 *)(r10 - 16)
        r0 &= 1
        exit""",
    "a loop that is counted": """
        r6 = 0
        r7 = 0
    again:
        call bpf_get_prandom_u32
        if r0 == 0 goto next
        r7 += 1
    next:
        r6 += 1
        if r6 < 20 goto again
        r0 = 0
        exit""",
    "a loop that is counted on the stack": """
        *(u64 *)(r10 - 8) = 0
    again:
        r1 = *(u64 *)(r10 - 8)
        r1 += 1
        *(u64 *)(r10 - 8) = r1
        call bpf_get_prandom_u32
        *(u64 *)(r10 - 16) = r0
        r1 = *(u64 *)(r10 - 8)
        if r1 < 30 goto again
        r0 = 0
        exit""",
    "a loop without an end": "again:\ncall bpf_get_prandom_u32\nif r0 == 0 goto again\ngoto again",
    "a loop that writes deeper": """
    again:
        *(u64 *)(r10 - 8) = 0
        call bpf_get_prandom_u32
        if r0 == 0 goto again
        r1 = *(u64 *)(r10 - 16)
        if r1 == 0 goto again
        r0 = 0
        exit""",
    "a stack that was never that deep": """
        r6 = 1
        call bpf_get_prandom_u32
        if r0 == 1 goto both
        r7 = 0
        r7 = 0
        r7 = 0
        r7 = 0
        *(u64 *)(r10 - 8) = r6
    both:
        r0 = *(u64 *)(r10 - 8)
        r0 = 0
        exit""",
    "an atomic operation anywhere on the stack": """
        *(u64 *)(r10 - 8) = 0
        *(u64 *)(r10 - 16) = 0
        call bpf_get_prandom_u32
        r0 &= 8
        r1 = r10
        r1 += -16
        r1 += r0
        r0 = atomic_fetch_add((u64 *)(r1 + 0), r0)
        r0 = 0
        exit""",
    "what was given back is a number": """
        r1 = map[id:1]
        r2 = 8
        r3 = 0
        call bpf_ringbuf_reserve
        if r0 == 0 goto out
        r9 = r0
        r1 = r9
        r2 = 0
        call bpf_ringbuf_discard
        r0 = r9
    out:
        r0 = 0
        exit""",
    "bytes that are swapped": """
        call bpf_get_prandom_u32
        r7 = r0
        r7 &= 255
        r7 = be16 r7
        if r7 < 65281 goto always
        r0 = r9
    always:
        r0 = 0
        exit""",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(name: str) -> None:
    trial = trial_of(PROGRAMS[name])
    assert ours(trial) == theirs(trial)


TURNS = f"""
    call bpf_get_prandom_u32
    *(u64 *)(r10 - 8) = r0
    *(u64 *)(r10 - 16) = 7
    r1 = r0
    r2 = turn ll
    {CALLING}
    r1 = *(u64 *)(r10 - 16)
    r0 = 0
    if r1 != 7 goto out
    r0 = 1
out:
    exit
turn:
    r0 = 0
    if r1 > 100 goto away
    r1 = *(u64 *)(r2 + 8)
    if r1 == 7 goto away
    *(u64 *)(r2 + 0) = r1
    r0 = 1
away:
    exit"""
FEW_PROCESSORS = """
    call bpf_get_smp_processor_id
    if r0 == -2 goto never
    r0 = 0
    exit
never:
    r0 = 1
    exit"""
NAMES = """
    call bpf_get_prandom_u32
    r7 = r0
again:
    r7 <<= r7
    *(u64 *)(r10 - 8) = r7
    goto again"""


@pytest.mark.parametrize(
    ("text", "accepted", "more"),
    [
        # A helper that calls back is a loop here, and the number of its turns is needed before it, and not given up.
        (TURNS, True, False),
        # How many processors there are is the machine's affair.
        (FEW_PROCESSORS, True, True),
        # A number that is kept has another identifier in each turn, and Linux 6.18 sees no loop in what changes.
        (NAMES, False, False),
    ],
    ids=["callback", "processors", "identifiers"],
)
def test_where_they_are_others(text: str, *, accepted: bool, more: bool) -> None:
    trial = trial_of(text)
    here, there = ours(trial), theirs(trial)
    assert (here[0], there[0]) == (accepted, accepted)
    assert (here[1] > there[1]) if more else (here[1] < there[1])


MOST = 50_000
"""Instructions of a judgement beyond which a generated program is left out."""


@pytest.mark.parametrize(("seed", "count"), [(2026, 150), (7, 300)])
def test_generated_programs(seed: int, count: int) -> None:
    seen: Counter[str] = Counter()
    for number in range(count):
        trial = numbered(seed, number)
        if may_crash_linux(trial.program):
            continue
        try:
            trial.rule(MOST)
        except TooLong:
            seen["too long"] += 1
            continue
        here, there = ours(trial), theirs(trial)
        if here[0] != there[0]:
            assert not here[0], (here, there, str(trial))  # what the kernel refuses is refused
            seen["verdict"] += 1
        else:
            assert here == there, str(trial)
            seen["accepted" if here[0] else "refused"] += 1
    assert seen["too long"] + seen["verdict"] <= 2
    assert min(seen["accepted"], seen["refused"]) > count / 3
