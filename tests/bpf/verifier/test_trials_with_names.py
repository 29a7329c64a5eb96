# SPDX-License-Identifier: Apache-2.0
"""Trials with names of the kernel's functions and with types of their own: they come back from JSON, and are judged."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestocloud_sec.bpf import ProgramType, assemble
from prestocloud_sec.bpf.verifier.rejection import Rule
from prestocloud_sec.bpf.verifier.trials import TooLong, Trial
from prestocloud_sec.testing.bpf_verify import mutated, numbered


def test_they_come_back_from_json() -> None:
    names = types = 0
    for number in range(200):
        trial = numbered(11, number)
        again = Trial.from_json(json.loads(json.dumps(trial.to_json())))
        assert again.program == trial.program
        assert again.program.symbols.kfuncs == trial.program.symbols.kfuncs
        assert again.program.func_info == trial.program.func_info
        assert (again.attach, again.used) == (trial.attach, trial.used)
        names += bool(trial.program.symbols.kfuncs)
        types += trial.program.func_info is not None
    assert names >= 20
    assert types >= 20


@given(st.integers(0, 1 << 32), st.integers(0, 1 << 32))
@settings(max_examples=60, deadline=None)
def test_the_bare_rule_of_spoiled_ones_is_the_verdict_s(number: int, seed: int) -> None:
    trial = mutated(random.Random(seed), numbered(11, number))
    try:
        rule = trial.rule(2_000)
    except TooLong:
        return
    assert trial.judge().reason is rule


@pytest.mark.parametrize("type", [ProgramType.TRACING, ProgramType.SK_LOOKUP])
def test_but_for_what_is_refused_before_it_is_looked_at(type: ProgramType) -> None:
    """No generated trial is of such a type, or for such a place."""
    trial = Trial(assemble("r0 = 0\nexit", type=type))
    assert trial.rule(2_000) is None
    assert trial.judge().reason is Rule.TYPE
