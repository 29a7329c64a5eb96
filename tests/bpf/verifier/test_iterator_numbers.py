# SPDX-License-Identifier: Apache-2.0
"""Iterators by number: calls that say no name are judged by what the caller says that they stand for."""

from __future__ import annotations

from typing import Any

import pytest

from prestocloud_sec.bpf import assemble, verify
from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.bpf.verifier.rejection import Rule
from tests.bpf.verifier.answers import XDP
from tests.bpf.verifier.iterators import KFUNCS, SUM, numbers_for

NUMBERS = {name: 1000 + position for position, name in enumerate(KFUNCS)}
NAMES = {number: name for name, number in NUMBERS.items()}
NUMBERED = assemble(numbers_for(SUM, NUMBERS), type=XDP)


def test_they_are_judged_by_what_the_caller_says_they_stand_for() -> None:
    named, verdict = verify(assemble(SUM, type=XDP)), verify(NUMBERED, kfuncs=NAMES)
    assert (verdict.accepted, verdict.processed, verdict.states) == (True, named.processed, named.states)


def test_they_are_refused_where_nothing_says_it() -> None:
    verdict = verify(NUMBERED)
    assert (verdict.errno, verdict.reason, verdict.instruction) == ("EACCES", Rule.HELPER, 4)
    assert "kfuncs=" in verdict.hint
    assert "#1000" in verdict.message


def test_names_go_before_what_the_caller_says() -> None:
    assert verify(assemble(SUM, type=XDP), kfuncs={0: "bpf_iter_bits_new"})


@pytest.mark.parametrize(
    "kfuncs",
    [5, "x", b"x", [1], [(1, "x")], {"x": "x"}, {1: 2}, {1: b"x"}, {1: None}, {None: "x"}, {True: "x"}, {1.0: "x"}],
    ids=repr,
)
def test_what_says_nothing(kfuncs: Any) -> None:
    with pytest.raises(BpfMisuseError, match="kfuncs"):
        verify(assemble(SUM, type=XDP), kfuncs=kfuncs)


def test_the_log_has_them() -> None:
    lines = verify(NUMBERED, kfuncs=NAMES).log(2).splitlines()
    assert "      4: .123...... (85) call bpf_iter_num_new#1000" in lines
    assert "4: (85) call kernel-function" in verify(NUMBERED).log(1)
