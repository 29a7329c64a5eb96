# SPDX-License-Identifier: Apache-2.0
"""Generated programs for verifiers: the same for the same seed, well-formed, about half refused, and of every sort."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from prestocloud_sec.bpf import Program
from prestocloud_sec.bpf.isa import Branch, CallHelper, CallLocal, ImmKind, LoadImm64
from prestocloud_sec.bpf.symbols import Symbols
from prestocloud_sec.bpf.verifier.generator.tables import TYPES
from prestocloud_sec.bpf.verifier.trials import TooLong, Trial
from prestocloud_sec.testing.bpf_verify import MAPS, generate, mutated, numbered, spoiled, trials


def test_a_seed_says_everything() -> None:
    made = [generate(random.Random(seed)) for seed in range(50)]
    assert made == [generate(random.Random(seed)) for seed in range(50)]
    assert len({trial.program.to_bytes() for trial in made}) > 45
    assert numbered(3, 4) == numbered(3, 4) != numbered(3, 5)


def again(trial: Trial) -> Program:
    """Return a trial's program from its bytes, and the names that these do not carry."""
    names = Symbols(kfuncs=trial.program.symbols.kfuncs)
    return Program.from_bytes(trial.program.to_bytes(), type=trial.type, symbols=names)


@given(trials())
@settings(max_examples=100, deadline=None)
def test_programs_decode_to_themselves_and_refer_to_maps_that_are_there(trial: Trial) -> None:
    assert again(trial) == trial.program
    for i in trial.program.instructions:
        if isinstance(i, LoadImm64) and i.kind in (ImmKind.MAP_FD, ImmKind.MAP_VALUE_FD):
            assert 0 <= i.value < len(MAPS)
    assert set(trial.used.values()) <= set(MAPS)


@given(trials(mutate=0), st.data())
@settings(max_examples=100, deadline=None)
def test_spoiled_programs_decode_too(trial: Trial, data: st.DataObject) -> None:
    other = data.draw(spoiled(trial))
    assert (other.type, other.attach) == (trial.type, trial.attach)
    assert again(other) == other.program


def test_most_that_is_spoiled_is_another_program() -> None:
    rng = random.Random(1)
    changed = 0
    for seed in range(100):
        trial = generate(random.Random(seed), mutate=0)
        changed += mutated(rng, trial).program != trial.program
    assert changed > 80


def test_between_30_and_70_in_100_are_refused_for_many_reasons() -> None:
    rules: Counter[str] = Counter()
    judged = 0
    for number in range(400):
        try:
            rule = numbered(9, number).rule(5_000)
        except TooLong:
            continue
        judged += 1
        if rule is not None:
            rules[rule.name] += 1
    assert 0.3 < sum(rules.values()) / judged < 0.7
    assert len(rules) >= 10
    assert rules.most_common(1)[0][1] < sum(rules.values()) / 2


def test_all_types_and_all_sorts_of_instructions_occur() -> None:
    types: Counter[str] = Counter()
    calls: Counter[int] = Counter()
    classes: Counter[str] = Counter()
    back = 0
    for number in range(1500):
        trial = numbered(10, number)
        types[trial.type.name] += 1
        targets = trial.program.targets
        for index, i in enumerate(trial.program.instructions):
            classes[type(i).__name__] += 1
            target = targets[index]
            back += isinstance(i, Branch) and target is not None and target <= index
            if isinstance(i, CallHelper):
                calls[i.number] += 1
    assert set(types) == {target.type.name for target in TYPES}
    assert {"Alu", "Load", "Store", "Atomic", "Branch", "Jump", "LoadImm64", "LegacyLoad", "Extend", "Swap"} <= set(
        classes
    )
    assert classes[CallLocal.__name__] > 20
    assert back > 50
    assert {1, 2, 3, 12, 26, 28, 38, 44, 87, 131, 132, 133, 164, 181} <= set(calls)
