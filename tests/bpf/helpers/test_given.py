# SPDX-License-Identifier: Apache-2.0
"""Helpers and kernel functions that a caller gives: which of both a name means, and names that mean nothing."""

from __future__ import annotations

from typing import Any

import pytest

from prestocloud_sec.bpf import Program, assemble
from prestocloud_sec.bpf.errors import BpfMisuseError, DecodeError
from prestocloud_sec.bpf.maps.progarray import ProgArray

ENGINES = ("reference", "interpreter", "compiled")


def values(program: Program, **options: Any) -> set[int]:
    """Return what a program returns on the engines."""
    return {program.run(engine=engine, **options).value for engine in ENGINES}


@pytest.mark.parametrize("name", ["redirect", "bpf_redirect", "bpf_loop"])
def test_a_kernel_function_goes_before_the_helper_of_its_name(name: str) -> None:
    program = assemble(f"r1 = 6\ncall kfunc {name}\nexit")
    with pytest.raises(DecodeError) as refused:
        program.run()
    assert f"helpers={{'{name}': function}}" in str(refused.value.hint)
    assert values(program, helpers={name: lambda of, *_: of * 7}) == {42}


def test_both_can_be_given() -> None:
    """The helper by another of its names, or its number."""
    program = assemble("r1 = 1\ncall 23\nr6 = r0\nr1 = 2\ncall kfunc redirect\nr0 += r6\nexit")
    for helper in ("bpf_redirect", 23):
        assert values(program, helpers={"redirect": lambda of, *_: 10 * of, helper: lambda of, *_: 100 * of}) == {120}


def test_without_a_kernel_function_it_is_the_helper() -> None:
    for name in ("redirect", "bpf_redirect", 23):
        assert values(assemble("r1 = 4\ncall 23\nexit"), helpers={name: lambda of, *_: of + 1}) == {5}


def test_names_behind_tail_calls_do_not_count() -> None:
    programs = ProgArray(1)
    programs[0] = assemble("call kfunc mine\nexit")
    text = "r1 = 0\nr2 = map[programs]\nr3 = 0\ncall bpf_tail_call\n{}r0 = 0\nexit"
    maps, helpers = {"programs": programs}, {"mine": lambda *_: 9}
    with pytest.raises(DecodeError) as refused:
        assemble(text.format("")).run(maps=maps)
    assert "if the program that runs begin with calls it" in str(refused.value.hint)
    with pytest.raises(BpfMisuseError, match="no helper 'mine'") as misused:
        assemble(text.format("")).run(maps=maps, helpers=helpers)
    assert "tail calls" in str(misused.value.hint)
    assert values(assemble(text.format("call kfunc mine\n")), maps=maps, helpers=helpers) == {9}
