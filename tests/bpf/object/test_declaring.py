# SPDX-License-Identifier: Apache-2.0
"""Programs whose functions are declared by name, label and slot, and places that are none of their functions."""

from __future__ import annotations

from typing import Any

import pytest

from prestocloud_sec.bpf import Program, ProgramType, assemble, verify
from prestocloud_sec.bpf.errors import BpfMisuseError, DeclarationError
from prestocloud_sec.bpf.isa import CallLocal, Exit
from prestocloud_sec.bpf.linux import KernelProgram
from tests.bpf.linux.kernel import needs_kernel

TEXT = """
    r1 = 5 ll
    if r1 != 5 goto end
    call twice
    r2 = each ll
    r1 = 2
    r3 = 0
    r4 = 0
    call bpf_loop
end:
    r0 = 2
    exit
twice:
    r0 = r1
    r0 <<= 1
    exit
each:
    r0 = 0
    exit
"""
MAIN, TWICE, EACH = "int main(struct xdp_md *ctx)", "static int twice(u64 of)", "static int each(u32 i, void *of)"
AT_TWICE, AT_EACH = 12, 15
"""Loads of 64 bits take two slots."""


def program() -> Program:
    return assemble(TEXT, type=ProgramType.XDP, name="main", license="GPL")


@pytest.mark.parametrize(
    "places",
    [{0: MAIN, "twice": TWICE, "each": EACH}, {AT_EACH: EACH, AT_TWICE: TWICE, 0: MAIN}],
    ids=["names", "slots"],
)
def test_names_and_slots(places: dict[str | int, str]) -> None:
    made = program().declaring(places)
    assert made.func_info is not None
    told = {slot: made.func_info.btf.describe(id) for slot, id in made.func_info.functions.items()}
    assert told == {0: MAIN, AT_TWICE: TWICE, AT_EACH: EACH}
    assert (made, made.type, made.name, made.license) == (program(), ProgramType.XDP, "main", "GPL")
    assert made.symbols == program().symbols


@needs_kernel
def test_the_kernel_takes_them_all_and_no_fewer() -> None:
    made = program().declaring({0: MAIN, "twice": TWICE, "each": EACH})
    with KernelProgram.load(made) as loaded:
        assert loaded.test_run(bytes(14)).value == 2
    some = program().declaring({0: MAIN, "twice": TWICE})
    assert verify(made).accepted
    assert not verify(some, compare_with_kernel=True).accepted


@pytest.mark.parametrize("place", ["none", "end", 1, 2, 3, AT_TWICE + 1, -1, 99, 1 << 80, True, None, 0.0, b"twice"])
def test_places_where_no_function_begins(place: Any) -> None:
    """No such name, within a 64-bit load, a jump's label, and what is neither name nor slot."""
    with pytest.raises(BpfMisuseError, match="there is no function") as refused:
        program().declaring({place: "int f(void)"})
    assert refused.value.hint == f"functions of the program: 0, {AT_TWICE} 'twice', {AT_EACH} 'each'"


def test_functions_that_are_there_twice() -> None:
    with pytest.raises(BpfMisuseError, match=f"'twice' and {AT_TWICE} are one function"):
        program().declaring({"twice": TWICE, AT_TWICE: TWICE})


@pytest.mark.parametrize("wrong", [None, [0], "int main(void)"])
def test_what_is_no_mapping(wrong: Any) -> None:
    with pytest.raises(BpfMisuseError, match="declaring"):
        program().declaring(wrong)


@pytest.mark.parametrize("text", [None, 5, b"int f(void)"])
def test_what_is_no_text(text: Any) -> None:
    with pytest.raises(BpfMisuseError):
        program().declaring({0: text})
    with pytest.raises(BpfMisuseError):
        program().declaring({}, structs=text)


def test_errors_name_the_slot() -> None:
    with pytest.raises(DeclarationError) as refused:
        program().declaring({"twice": "int twice("})
    assert (refused.value.slot, refused.value.column) == (AT_TWICE, 11)


def test_calls_that_lead_nowhere_begin_no_function() -> None:
    """Whether they lead anywhere is asked when the program is to run."""
    stray = Program([CallLocal(7), Exit()], type=ProgramType.XDP)
    assert stray.declaring({0: MAIN}).func_info is not None
    with pytest.raises(BpfMisuseError, match="there is no function 8"):
        stray.declaring({8: "int f(void)"})
    with pytest.raises(BpfMisuseError) as refused:
        Program([]).declaring({0: MAIN})
    assert refused.value.hint == "functions of the program: none"


def test_an_error_lists_so_many_functions() -> None:
    many = "\n".join(f"call f{number}" for number in range(40)) + "\nexit\n"
    many += "\n".join(f"f{number}:\nr0 = 0\nexit" for number in range(40))
    with pytest.raises(BpfMisuseError) as refused:
        assemble(many).declaring({"g": "int g(void)"})
    assert str(refused.value.hint).endswith("69 'f14', ...")
